/* message_type -- the classes of messages as CPython sees them: made, called, set and freed without detours.
 *
 * type.__new__ makes every class a type of the garbage collector. A message is a tree, which counting
 * references frees alone, so its class is taken from the collector here: an object is 16 bytes smaller, and
 * none is ever visited. msgspec's Struct with gc=False is the model.
 *
 * That happens when a class is linked, which is before its first instance: whatever makes one asks for the plan
 * of its class first. */
#ifndef PS_MESSAGE_TYPE_H
#define PS_MESSAGE_TYPE_H

#include <Python.h>
#include <string.h>

#include "message_plan.h"

static PyTypeObject *ps_root; /* _Message, which all of them derive from */

static PyObject *ps_alloc(PyTypeObject *type, Py_ssize_t Py_UNUSED(n))
{
    PyObject *made = PyObject_Malloc((size_t)type->tp_basicsize);
    if (made == NULL)
        return PyErr_NoMemory();
    memset(made, 0, (size_t)type->tp_basicsize);
    return PyObject_Init(made, type);
}

static inline ps_message *ps_new_message(const ps_plan *plan)
{
    return (ps_message *)ps_alloc(plan->type, 0);
}

enum { PS_DEALLOC_DEEPEST = 100 };

/* The GIL guards these. Where a finalizer lets another thread in, both count together, and the first one in frees
 * what had to wait: a thread's own variables would cost more than all the rest of this. */
static int ps_dealloc_depth;
static ps_message *ps_dealloc_later; /* linked through `unknown`, which is free by then */

static void ps_free_message(ps_message *message)
{
    PyTypeObject *type = Py_TYPE(message);
    PyObject **end = (PyObject **)((char *)message + type->tp_basicsize);
    for (PyObject **slot = (PyObject **)(message + 1); slot < end; slot++)
        Py_XDECREF(*slot);
    PyObject_Free(message);
    Py_DECREF(type);
}

/* A chain of a million messages must not take a million frames: below a certain depth they wait in a list. */
static void ps_dealloc(PyObject *self)
{
    ps_message *message = (ps_message *)self;
    if (Py_TYPE(self)->tp_finalize && PyObject_CallFinalizerFromDealloc(self) < 0)
        return; /* it lives on */
    Py_CLEAR(message->unknown);
    if (ps_dealloc_depth >= PS_DEALLOC_DEEPEST) {
        message->unknown = (PyObject *)ps_dealloc_later;
        ps_dealloc_later = message;
        return;
    }
    ps_dealloc_depth++;
    ps_free_message(message);
    while (ps_dealloc_depth == 1 && ps_dealloc_later) {
        message = ps_dealloc_later;
        ps_dealloc_later = (ps_message *)message->unknown;
        ps_free_message(message);
    }
    ps_dealloc_depth--;
}

static PyObject *ps_construct(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names);

/* Makes a class that has no instances yet one of ours. */
static void ps_adopt(PyTypeObject *type)
{
    type->tp_flags &= ~Py_TPFLAGS_HAVE_GC;
    type->tp_traverse = NULL;
    type->tp_clear = NULL;
    type->tp_alloc = ps_alloc;
    type->tp_dealloc = ps_dealloc;
    type->tp_free = PyObject_Free;
    type->tp_vectorcall = ps_construct;
    PyType_Modified(type);
}

/* Order.__new__(Order): all slots empty, which is as good as not set. */
static PyObject *ps_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(keywords))
{
    return ps_plan_of(type) ? ps_alloc(type, 0) : NULL;
}

/* Called once: `root` is what all classes of messages derive from, `meta` their metaclass, whose calls are to
 * reach tp_vectorcall as those of type itself do. */
static void ps_set_root(PyTypeObject *root, PyTypeObject *meta)
{
    ps_root = root;
    root->tp_new = ps_new;
    meta->tp_vectorcall_offset = PyType_Type.tp_vectorcall_offset;
    meta->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    PyType_Modified(root);
    PyType_Modified(meta);
}

/* ---- setting a member of a oneof ---- */

static int ps_set_attribute(PyObject *self, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr(self, name, value) < 0)
        return -1;
    if (ps_is_unset(value))
        return 0;
    const ps_plan *plan = ps_plan_of(Py_TYPE(self));
    if (plan == NULL)
        return -1;
    for (uint32_t i = 0; i < plan->n_fields; i++)
        if (plan->fields[i].name == name ||
            (!PyUnicode_CheckExact(name) && PyUnicode_Compare(plan->fields[i].name, name) == 0)) {
            if (plan->fields[i].oneof != PS_NO_ONEOF)
                ps_clear_siblings((ps_message *)self, plan, &plan->fields[i]);
            return 0;
        }
    return 0;
}

/* Called for classes with oneofs before their first instance is made. False for one that overrides __setattr__ in
 * Python: that ends at object.__setattr__, which refuses where a class on the way sets in C, so none does then. */
static bool ps_watch_oneofs(PyTypeObject *type)
{
    if (type->tp_setattro == PyObject_GenericSetAttr || type->tp_setattro == ps_set_attribute) {
        type->tp_setattro = ps_set_attribute;
        PyType_Modified(type);
        return true;
    }
    for (PyTypeObject *base = type->tp_base; base; base = base->tp_base)
        if (base->tp_setattro == ps_set_attribute) {
            base->tp_setattro = PyObject_GenericSetAttr;
            PyType_Modified(base);
        }
    return false;
}

/* ---- construction ---- */

/* The position in plan->fields of the argument `name`, -1 if there is none. `expected` is the position in the
 * order of declaration after that of the last argument: most calls name fields in that order. */
static int32_t ps_find_argument(const ps_plan *plan, PyObject *name, uint32_t *expected)
{
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        uint32_t at = *expected + i < plan->n_fields ? *expected + i : *expected + i - plan->n_fields;
        if (plan->fields[plan->declared[at]].name == name) {
            *expected = at + 1 < plan->n_fields ? at + 1 : 0;
            return plan->declared[at];
        }
    }
    for (uint32_t i = 0; i < plan->n_fields; i++) /* a name that was made at run time and not interned */
        if (PyUnicode_Compare(plan->fields[i].name, name) == 0)
            return (int32_t)i;
    return -1;
}

/* What the slot takes of an argument: lists, dicts and arrays as they are, other iterables as a list. */
static PyObject *ps_argument(const ps_plan_field *field, PyObject *value)
{
    if (field->shape != PS_REPEATED || field->array || PyList_Check(value) || PyUnicode_Check(value) ||
        PyBytes_Check(value) || Py_TYPE(value)->tp_iter == NULL)
        return Py_NewRef(value);
    return PySequence_List(value);
}

/* Whether another member of its oneof is set. `seen` has a bit for each of the first 64 oneofs of which a member
 * was set already, so that the others need not be looked at for the first one. */
static bool ps_has_sibling(ps_message *message, const ps_plan *plan, const ps_plan_field *field, uint64_t *seen)
{
    uint64_t bit = field->oneof < 64 ? UINT64_C(1) << field->oneof : 0;
    if (bit && !(*seen & bit)) {
        *seen |= bit;
        return false;
    }
    const ps_plan_oneof *oneof = &plan->oneofs[field->oneof];
    for (uint32_t i = 0; i < oneof->n; i++) {
        const ps_plan_field *other = &plan->fields[plan->oneof_fields[oneof->first + i]];
        if (other != field && !ps_is_unset(*ps_slot(message, other)))
            return true;
    }
    return false;
}

/* Makes all slots of a message empty. */
static void ps_empty(ps_message *message, const ps_plan *plan)
{
    Py_CLEAR(message->unknown);
    for (uint32_t i = 0; i < plan->n_fields; i++)
        Py_CLEAR(*ps_slot(message, &plan->fields[i]));
}

/* Sets fields of a message whose slots are empty by keywords. */
static int ps_set_arguments(ps_message *message, const ps_plan *plan, PyObject *names,
                            PyObject *const *values)
{
    uint32_t expected = 0;
    uint64_t seen = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        int32_t at = ps_find_argument(plan, PyTuple_GET_ITEM(names, i), &expected);
        if (at < 0)
            return ps_hooks.refuse_arguments(Py_TYPE(message), 0, names, values);
        if (values[i] == Py_None)
            continue;
        const ps_plan_field *field = &plan->fields[at];
        if (field->oneof != PS_NO_ONEOF && ps_has_sibling(message, plan, field, &seen))
            return ps_hooks.refuse_arguments(Py_TYPE(message), 0, names, values);
        PyObject *value = ps_argument(field, values[i]);
        if (value == NULL)
            return -1;
        Py_XSETREF(*ps_slot(message, field), value);
    }
    return ps_fill(message, plan);
}

/* Order(order_id=1) */
static PyObject *ps_construct(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    PyTypeObject *type = (PyTypeObject *)self;
    if (type->tp_init != ps_root->tp_init || type->tp_new != ps_root->tp_new) { /* a class with its own */
        PyObject *positional = NULL, *keywords = names ? PyDict_New() : NULL, *made = NULL;
        Py_ssize_t n = PyVectorcall_NARGS(nargsf);
        if ((names && keywords == NULL) || (positional = PyTuple_New(n)) == NULL)
            goto done;
        for (Py_ssize_t i = 0; i < n; i++)
            PyTuple_SET_ITEM(positional, i, Py_NewRef(args[i]));
        for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++)
            if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(names, i), args[n + i]) < 0)
                goto done;
        made = PyType_Type.tp_call(self, positional, keywords);
    done:
        Py_XDECREF(positional);
        Py_XDECREF(keywords);
        return made;
    }
    const ps_plan *plan = ps_plan_of(type);
    if (plan == NULL)
        return NULL;
    if (PyVectorcall_NARGS(nargsf) > 0) {
        ps_hooks.refuse_arguments(type, PyVectorcall_NARGS(nargsf), names, args);
        return NULL;
    }
    ps_message *made = ps_new_message(plan);
    if (made && (names ? ps_set_arguments(made, plan, names, args) : ps_fill(made, plan)) < 0)
        Py_CLEAR(made);
    return (PyObject *)made;
}

#endif
