/* message_copy -- deep copies of messages, and whether two are equal. */
#ifndef PS_MESSAGE_COPY_H
#define PS_MESSAGE_COPY_H

#include <Python.h>
#include <string.h>

#include "message_plan.h"
#include "message_read.h"
#include "message_type.h"
#include "message_write.h"

static PyObject *ps_copy_message(PyObject *message, uint32_t depth);

/* What no field can hold is shared: it is refused when it is written. */
static inline PyObject *ps_copy_value(PyObject *value, uint32_t depth)
{
    return PyObject_TypeCheck(value, ps_root) ? ps_copy_message(value, depth) : Py_NewRef(value);
}

/* Of a list or a tuple. */
static PyObject *ps_copy_list(PyObject *sequence, uint32_t depth)
{
    PyObject *made = ps_list_with_room(PySequence_Fast_GET_SIZE(sequence));
    for (Py_ssize_t i = 0; made && i < PySequence_Fast_GET_SIZE(sequence); i++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(sequence, i));
        if (ps_append(made, ps_copy_value(item, depth)) < 0)
            Py_CLEAR(made);
        Py_DECREF(item);
    }
    return made;
}

static PyObject *ps_copy_map(const ps_plan_field *field, PyObject *map, uint32_t depth)
{
    PyObject *made = PyDict_Copy(map), *key, *value;
    if (made == NULL || !ps_is_message(field))
        return made;
    for (Py_ssize_t at = 0; made && PyDict_Next(made, &at, &key, &value);) {
        PyObject *copy = ps_copy_value(value, depth);
        if (copy == NULL || PyDict_SetItem(made, key, copy) < 0) /* in place: `made` is nobody else's */
            Py_CLEAR(made);
        Py_XDECREF(copy);
    }
    return made;
}

static PyObject *ps_copy_slot(const ps_plan_field *field, PyObject *value, uint32_t depth)
{
    if (field->array)
        return ps_hooks.copied_array(value);
    if (field->shape == PS_REPEATED && (PyList_Check(value) || PyTuple_Check(value)))
        return ps_copy_list(value, depth);
    if (field->shape == PS_MAP && PyDict_Check(value))
        return ps_copy_map(field, value, depth);
    return ps_copy_value(value, depth);
}

/* `depth`: of the message around it, 0 for none. */
static PyObject *ps_copy_message(PyObject *message, uint32_t depth)
{
    if (++depth > PS_WRITE_DEEPEST) {
        ps_hooks.refuse_depth();
        return NULL;
    }
    const ps_plan *plan = ps_plan_of(Py_TYPE(message));
    ps_message *original = (ps_message *)message, *made = plan ? ps_new_message(plan) : NULL;
    for (uint32_t i = 0; made && i < plan->n_fields; i++) {
        const ps_plan_field *field = &plan->fields[i];
        PyObject *value = Py_XNewRef(*ps_slot(original, field));
        PyObject *copy = value ? ps_copy_slot(field, value, depth) : ps_initial(field);
        *ps_slot(made, field) = copy;
        if (copy == NULL)
            Py_CLEAR(made);
        Py_XDECREF(value);
    }
    if (made && original->unknown && (made->unknown = PyBytes_FromObject(original->unknown)) == NULL)
        Py_CLEAR(made);
    return (PyObject *)made;
}

/* ---- equality: 1, 0, or -1 for an exception ---- */

static int ps_same_messages(PyObject *one, PyObject *other, uint32_t depth);

static int ps_same_values(PyObject *one, PyObject *other, uint32_t depth)
{
    if (one == other)
        return 1;
    if (PyObject_TypeCheck(one, ps_root) && PyObject_TypeCheck(other, ps_root))
        return ps_same_messages(one, other, depth);
    return PyObject_RichCompareBool(one, other, Py_EQ);
}

static int ps_same_lists(PyObject *one, PyObject *other, uint32_t depth)
{
    int same = PyList_GET_SIZE(one) == PyList_GET_SIZE(other);
    for (Py_ssize_t i = 0; same == 1 && i < PyList_GET_SIZE(one) && i < PyList_GET_SIZE(other); i++) {
        PyObject *first = Py_NewRef(PyList_GET_ITEM(one, i)), *second = Py_NewRef(PyList_GET_ITEM(other, i));
        same = ps_same_values(first, second, depth);
        Py_DECREF(first);
        Py_DECREF(second);
    }
    return same;
}

static int ps_same_maps(PyObject *one, PyObject *other, uint32_t depth)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, n = PyDict_GET_SIZE(one);
    int same = n == PyDict_GET_SIZE(other);
    while (same == 1 && n-- > 0 && PyDict_Next(one, &at, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        PyObject *found = Py_XNewRef(PyDict_GetItemWithError(other, key));
        same = found ? ps_same_values(value, found, depth) : PyErr_Occurred() ? -1 : 0;
        Py_XDECREF(found);
        Py_DECREF(key);
        Py_DECREF(value);
    }
    return same;
}

/* Whether a value means the same as a slot that is not set. */
static int ps_means_unset(const ps_plan_field *field, PyObject *value)
{
    if (field->shape == PS_SINGULAR)
        return field->presence == PS_IMPLICIT ? PyObject_RichCompareBool(value, field->initial, Py_EQ) : 0;
    Py_ssize_t size = PyObject_Size(value);
    if (size < 0 && PyErr_ExceptionMatches(PyExc_TypeError)) { /* no list, dict or array at all */
        PyErr_Clear();
        return 0;
    }
    return size < 0 ? -1 : size == 0;
}

static bool ps_is_sequence(PyObject *value) { return PyList_Check(value) || PyTuple_Check(value); }

static int ps_same_slots(const ps_plan_field *field, PyObject *one, PyObject *other, uint32_t depth)
{
    if (one == other || (ps_is_unset(one) && ps_is_unset(other)))
        return 1;
    if (ps_is_unset(one))
        return ps_means_unset(field, other);
    if (ps_is_unset(other))
        return ps_means_unset(field, one);
    bool is_repeated = field->shape == PS_REPEATED;
    if (field->array || (is_repeated && !(ps_is_sequence(one) && ps_is_sequence(other))))
        return ps_hooks.same_arrays(one, other);
    if (is_repeated && PyList_Check(one) && PyList_Check(other))
        return ps_same_lists(one, other, depth);
    if (field->shape == PS_MAP && PyDict_Check(one) && PyDict_Check(other))
        return ps_same_maps(one, other, depth);
    return ps_same_values(one, other, depth);
}

static bool ps_same_unknown(const ps_message *one, const ps_message *other)
{
    Py_ssize_t size, other_size;
    const char *bytes = ps_unknown_bytes(one, &size), *other_bytes = ps_unknown_bytes(other, &other_size);
    return size == other_size && memcmp(bytes, other_bytes, (size_t)size) == 0;
}

/* `depth`: of the messages around them, 0 for none. */
static int ps_same_messages(PyObject *one, PyObject *other, uint32_t depth)
{
    if (++depth > PS_WRITE_DEEPEST)
        return ps_hooks.refuse_depth();
    if (Py_TYPE(one) != Py_TYPE(other))
        return 0;
    const ps_plan *plan = ps_plan_of(Py_TYPE(one));
    if (plan == NULL)
        return -1;
    int same = ps_same_unknown((ps_message *)one, (ps_message *)other);
    for (uint32_t i = 0; same == 1 && i < plan->n_fields; i++) {
        PyObject *first = Py_XNewRef(*ps_slot((ps_message *)one, &plan->fields[i]));
        PyObject *second = Py_XNewRef(*ps_slot((ps_message *)other, &plan->fields[i]));
        same = ps_same_slots(&plan->fields[i], first, second, depth);
        Py_XDECREF(first);
        Py_XDECREF(second);
    }
    return same;
}

#endif
