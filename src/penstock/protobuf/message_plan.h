/* message_plan -- what the compiled twin knows of the class of a message: where its slots lie, how each travels.
 *
 * A plan is made once, when its class is first used, and changes no more but for the guesses in it. It borrows
 * all objects that it points to; the Plan object around it, of _message_c.pyx, keeps them. */
#ifndef PS_MESSAGE_PLAN_H
#define PS_MESSAGE_PLAN_H

#include <Python.h>

#include "wire_tape.h"
#include "wire_writer.h"

/* The part that every message has; a pointer to each slot of its class follows. */
typedef struct {
    PyObject_HEAD
    PyObject *unknown; /* NULL, bytes, or a bytearray that nobody else knows */
} ps_message;

typedef struct ps_plan ps_plan;

/* Number -> member of an enum. */
typedef struct {
    int64_t low;        /* the number of members[0] */
    int64_t n_members;  /* 0 where the numbers lie too far apart for a table */
    PyObject **members; /* NULL for numbers without a name */
    PyObject *by_number;
} ps_enum;

enum { PS_IMPLICIT, PS_EXPLICIT, PS_REQUIRED };

enum { PS_NO_ONEOF = UINT16_MAX };

typedef struct ps_plan_field {
    Py_ssize_t offset;   /* of its slot in the object */
    PyObject *initial;   /* in a new message: zero or None; NULL: a new list, dict or array */
    uint8_t kind;        /* ps_kind; of a map, that of its values */
    uint8_t shape;       /* ps_shape */
    uint8_t presence;
    bool packed, array, utf8, closed;
    uint8_t length_size; /* a guess: bytes of the length of the last message, entry or packed list written */
    ps_wire_tag tag;
    const struct ps_plan *child;
    uint64_t zero;       /* bits of the number that is not written where presence is implicit */
    const ps_enum *members;
    uint16_t oneof;      /* position in `oneofs` of its plan, or PS_NO_ONEOF */
    uint8_t cache_score; /* how well the cache of short strings served this field lately */
    uint8_t cache_skips;
    PyObject *name;      /* interned */
    PyObject *descriptor;
    struct ps_plan_field *entry; /* a map's key and value, as fields 1 and 2 without slots */
} ps_plan_field;

typedef struct {
    uint16_t first, n; /* in `oneof_fields` */
} ps_plan_oneof;

struct ps_plan {
    ps_wire_message wire;  /* its fields and `fields` below have the same positions */
    ps_plan_field *fields; /* ascending by number */
    uint32_t n_fields;
    uint16_t *declared;    /* positions in `fields`, in the order of declaration */
    uint16_t *slot_fields; /* slot, as they lie in the object -> position in `fields` */
    PyObject **initials;   /* slot -> `initial` of its field */
    ps_plan_oneof *oneofs;
    uint32_t n_oneofs;
    uint16_t *oneof_fields; /* positions in `fields` */
    bool requires;          /* it, or a message below it, has required fields */
    PyTypeObject *type;
    struct ps_plan_block *blocks; /* all memory that it points to */
};

struct ps_plan_block {
    struct ps_plan_block *next;
    void *unused; /* what follows is aligned for every type */
};

/* Zeroed memory that is freed with the plan. */
static void *ps_plan_memory(ps_plan *plan, size_t size)
{
    struct ps_plan_block *block = PyMem_Calloc(1, sizeof *block + size);
    if (block == NULL)
        return PyErr_NoMemory();
    block->next = plan->blocks;
    plan->blocks = block;
    return block + 1;
}

static void ps_plan_free(ps_plan *plan)
{
    while (plan->blocks) {
        struct ps_plan_block *block = plan->blocks;
        plan->blocks = block->next;
        PyMem_Free(block);
    }
}

/* What only Python can do; _message_c.pyx sets these when it is imported. They fail with an exception set and
 * -1 or NULL, and those called refuse_... do nothing else. */
typedef struct {
    const ps_plan *(*link)(PyTypeObject *type);
    /* What is wrong with the arguments of a constructor. */
    int (*refuse_arguments)(PyTypeObject *type, Py_ssize_t n_positional, PyObject *names,
                            PyObject *const *values);
    /* Why a value, an element, a map's key or value, cannot be written. */
    int (*refuse_value)(const ps_plan_field *field, PyObject *value);
    /* A field must have a list, a dict or a message instead. */
    int (*refuse_slot)(const ps_plan_field *field, PyObject *value);
    int (*refuse_depth)(void);
    int (*refuse_unset)(void);
    /* Whether all keys of a map can be written; else what is wrong. */
    int (*check_keys)(const ps_plan_field *field, PyObject *map);
    PyObject *(*sorted_keys)(const ps_plan_field *field, PyObject *map);
    /* The values to write, for a repeated field, of what is neither list nor tuple. */
    PyObject *(*elements)(const ps_plan_field *field, PyObject *value);
    PyObject *(*new_array)(int kind, Py_ssize_t n);
    /* The 1-d, contiguous array of the field's dtype that `value` amounts to. */
    PyObject *(*as_array)(const ps_plan_field *field, PyObject *value);
    int (*same_arrays)(PyObject *one, PyObject *other);
    PyObject *(*copied_array)(PyObject *value);
} ps_message_hooks;

static ps_message_hooks ps_hooks;

/* The plan that a type has, NULL for none yet. It lies in tp_cache: the collector visits that, and CPython itself
 * has no more use for it. */
static inline PyObject *ps_plan_object(PyTypeObject *type)
{
    return (PyObject *)__atomic_load_n((void **)&type->tp_cache, __ATOMIC_ACQUIRE);
}

/* The plan of a class of messages, made if it has none. */
static inline const ps_plan *ps_plan_of(PyTypeObject *type)
{
    PyObject *plan = ps_plan_object(type);
    return plan ? (const ps_plan *)(plan + 1) : ps_hooks.link(type);
}

/* Gives a type its plan, if no other thread has done so. */
static inline void ps_set_plan(PyTypeObject *type, PyObject *plan)
{
    void *none = NULL;
    Py_INCREF(plan);
    if (!__atomic_compare_exchange_n((void **)&type->tp_cache, &none, (void *)plan, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        Py_DECREF(plan);
}

static inline PyObject **ps_slot(ps_message *message, const ps_plan_field *field)
{
    return (PyObject **)((char *)message + field->offset);
}

/* The unknown fields, `size` bytes. */
static inline const char *ps_unknown_bytes(const ps_message *message, Py_ssize_t *size)
{
    PyObject *unknown = message->unknown;
    bool plain = unknown && PyBytes_CheckExact(unknown);
    *size = unknown == NULL ? 0 : plain ? PyBytes_GET_SIZE(unknown) : PyByteArray_GET_SIZE(unknown);
    return unknown == NULL ? "" : plain ? PyBytes_AS_STRING(unknown) : PyByteArray_AS_STRING(unknown);
}

static inline bool ps_is_message(const ps_plan_field *field)
{
    return field->kind == PS_KIND_MESSAGE || field->kind == PS_KIND_GROUP;
}

/* Bytes of an item of an array of that kind. */
static size_t ps_item_size(int kind)
{
    switch (kind) {
    case PS_KIND_BOOL:
        return 1;
    case PS_KIND_DOUBLE:
    case PS_KIND_INT64:
    case PS_KIND_UINT64:
    case PS_KIND_SINT64:
    case PS_KIND_FIXED64:
    case PS_KIND_SFIXED64:
        return 8;
    default:
        return 4;
    }
}

/* NULL and None both are "not set". */
static inline bool ps_is_unset(PyObject *value) { return value == NULL || value == Py_None; }

static inline PyObject *ps_empty_container(const ps_plan_field *field)
{
    if (field->array)
        return ps_hooks.new_array(field->kind, 0);
    return field->shape == PS_MAP ? PyDict_New() : PyList_New(0);
}

static inline PyObject *ps_initial(const ps_plan_field *field)
{
    return field->initial ? Py_NewRef(field->initial) : ps_empty_container(field);
}

/* Gives every empty slot what it holds in a new message. */
static inline int ps_fill(ps_message *message, const ps_plan *plan)
{
    PyObject **slots = (PyObject **)(message + 1);
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        if (slots[i])
            continue;
        PyObject *initial = plan->initials[i];
        slots[i] = initial ? Py_NewRef(initial) : ps_empty_container(&plan->fields[plan->slot_fields[i]]);
        if (slots[i] == NULL)
            return -1;
    }
    return 0;
}

/* Makes the other members of the field's oneof unset. */
static inline void ps_clear_siblings(ps_message *message, const ps_plan *plan, const ps_plan_field *field)
{
    const ps_plan_oneof *oneof = &plan->oneofs[field->oneof];
    for (uint32_t i = 0; i < oneof->n; i++) {
        const ps_plan_field *other = &plan->fields[plan->oneof_fields[oneof->first + i]];
        PyObject **slot = ps_slot(message, other);
        if (other != field && !ps_is_unset(*slot))
            Py_SETREF(*slot, Py_NewRef(Py_None));
    }
}

#endif
