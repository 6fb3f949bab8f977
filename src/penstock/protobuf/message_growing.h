/* message_growing -- numpy arrays that are made of any number of records. */
#ifndef PS_MESSAGE_GROWING_H
#define PS_MESSAGE_GROWING_H

#include <Python.h>
#include <string.h>

#include "message_plan.h"

/* An array that more values came for after it was made. It takes the slot's place in a capsule and grows there,
 * so that many small records cost no more than one large one. */
typedef struct ps_growing {
    struct ps_growing *next;
    ps_message *message;
    const ps_plan_field *field;
    PyObject *capsule;
    char *items;
    size_t size, capacity; /* bytes */
} ps_growing;

/* Where the items of an array of ours lie; they stay there as long as it lives. */
static char *ps_items(PyObject *array)
{
    Py_buffer view;
    if (PyObject_GetBuffer(array, &view, PyBUF_WRITABLE) < 0)
        return NULL;
    PyBuffer_Release(&view);
    return view.buf;
}

#define PS_GROWING_NAME "penstock growing array"

static void ps_free_growing(PyObject *capsule)
{
    ps_growing *growing = PyCapsule_GetPointer(capsule, PS_GROWING_NAME);
    PyMem_Free(growing->items);
    PyMem_Free(growing);
}

/* What the array in a slot holds, as the first items of one that grows; nothing if there is none. */
static int ps_take_over(ps_growing *growing, const ps_plan_field *field, PyObject *array)
{
    Py_buffer view = {.len = 0};
    PyObject *plain = ps_is_unset(array) ? NULL : ps_hooks.as_array(field, array);
    if (!ps_is_unset(array) && (plain == NULL || PyObject_GetBuffer(plain, &view, PyBUF_SIMPLE) < 0)) {
        Py_XDECREF(plain);
        return -1;
    }
    growing->capacity = 2 * (size_t)view.len + 64;
    growing->items = PyMem_Malloc(growing->capacity);
    if (growing->items == NULL) {
        PyErr_NoMemory();
    } else if (view.len) {
        growing->size = (size_t)view.len;
        memcpy(growing->items, view.buf, growing->size);
    }
    if (plain)
        PyBuffer_Release(&view);
    Py_XDECREF(plain);
    return growing->items ? 0 : -1;
}

/* Puts an array that grows in the place of the one in the slot, and at the head of the list `all`. */
static ps_growing *ps_start_growing(ps_growing **all, ps_message *message, const ps_plan_field *field)
{
    ps_growing *growing = PyMem_Calloc(1, sizeof *growing);
    if (growing == NULL)
        return (ps_growing *)PyErr_NoMemory();
    PyObject *capsule = PyCapsule_New(growing, PS_GROWING_NAME, ps_free_growing);
    if (capsule == NULL) {
        PyMem_Free(growing);
        return NULL;
    }
    if (ps_take_over(growing, field, *ps_slot(message, field)) < 0) {
        Py_DECREF(capsule);
        return NULL;
    }
    growing->message = (ps_message *)Py_NewRef(message);
    growing->field = field;
    growing->capsule = Py_NewRef(capsule);
    growing->next = *all;
    *all = growing;
    Py_XSETREF(*ps_slot(message, field), capsule);
    return growing;
}

/* Room for n more items, in the array of a slot that was empty, or behind those that it has. */
static char *ps_more_items(ps_growing **all, ps_message *message, const ps_plan_field *field, size_t n)
{
    PyObject **slot = ps_slot(message, field);
    if (ps_is_unset(*slot)) {
        PyObject *array = ps_hooks.new_array(field->kind, (Py_ssize_t)n);
        if (array == NULL)
            return NULL;
        Py_XSETREF(*slot, array);
        return ps_items(array);
    }
    ps_growing *growing = PyCapsule_CheckExact(*slot) ? PyCapsule_GetPointer(*slot, PS_GROWING_NAME)
                                                      : ps_start_growing(all, message, field);
    if (growing == NULL)
        return NULL;
    size_t more = n * ps_item_size(field->kind);
    if (more > growing->capacity - growing->size) {
        size_t capacity = 2 * growing->capacity + more;
        char *items = PyMem_Realloc(growing->items, capacity);
        if (items == NULL)
            return (char *)PyErr_NoMemory();
        growing->items = items;
        growing->capacity = capacity;
    }
    growing->size += more;
    return growing->items + growing->size - more;
}

/* The array of what grew, NULL without memory. */
static PyObject *ps_grown(const ps_growing *growing)
{
    int kind = growing->field->kind;
    PyObject *array = ps_hooks.new_array(kind, (Py_ssize_t)(growing->size / ps_item_size(kind)));
    char *items = array ? ps_items(array) : NULL;
    if (items == NULL)
        Py_CLEAR(array);
    else
        memcpy(items, growing->items, growing->size);
    return array;
}

/* Puts arrays in the place of all that grew; after a failure, which stays the exception, None. */
static int ps_finish_growing(ps_growing **all)
{
    int status = PyErr_Occurred() ? -1 : 0;
    while (*all) {
        ps_growing *growing = *all;
        *all = growing->next;
        PyObject *array = status == 0 ? ps_grown(growing) : NULL;
        PyObject **slot = ps_slot(growing->message, growing->field), *capsule = growing->capsule;
        if (array == NULL)
            status = -1;
        if (*slot == capsule)
            Py_SETREF(*slot, Py_NewRef(array ? array : Py_None));
        Py_XDECREF(array);
        Py_DECREF(growing->message);
        Py_DECREF(capsule); /* and `growing` with it */
    }
    return status;
}

#endif
