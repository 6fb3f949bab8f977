/* message_write -- from messages to bytes, in one pass forward.
 *
 * There is no pass that finds sizes first, so none can disagree with what is written when Python code that the
 * writing calls (__index__, __float__), or another thread meanwhile, changes a message. The lengths of
 * sub-messages are written behind their content, into a place left free before it. Whatever may run Python code
 * holds references to what it works on, and reads sizes anew after it. */
#ifndef PS_MESSAGE_WRITE_H
#define PS_MESSAGE_WRITE_H

#include <Python.h>
#include <string.h>

#include "message_number.h"
#include "message_plan.h"
#include "utf8.h"
#include "varint.h"
#include "wire_writer.h"

enum { PS_WRITE_DEEPEST = 1000 };

typedef struct {
    uint8_t *start, *at, *end; /* of the memory in use */
    PyObject *bytes;           /* that memory, once the caller's own did not suffice */
    uint32_t depth;
    bool deterministic;
    bool partial;    /* required fields may be unset */
    PyObject *steps; /* after a failure: the way to it, from the innermost field to the outermost */
} ps_writer;

static void ps_writer_init(ps_writer *writer, uint8_t *memory, size_t size, bool deterministic, bool partial)
{
    *writer = (ps_writer){.start = memory, .at = memory, .end = memory + size,
                          .deterministic = deterministic, .partial = partial};
}

static void ps_writer_free(ps_writer *writer)
{
    Py_CLEAR(writer->bytes);
    Py_CLEAR(writer->steps);
}

static int ps_grow(ps_writer *writer, size_t needed)
{
    size_t used = (size_t)(writer->at - writer->start), size = 2 * (size_t)(writer->end - writer->start);
    if (needed > (size_t)PY_SSIZE_T_MAX / 4 || size > (size_t)PY_SSIZE_T_MAX / 4) {
        PyErr_NoMemory();
        return -1;
    }
    if (size < used + needed)
        size = used + needed;
    if (writer->bytes == NULL) {
        writer->bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (writer->bytes)
            memcpy(PyBytes_AS_STRING(writer->bytes), writer->start, used);
    } else {
        _PyBytes_Resize(&writer->bytes, (Py_ssize_t)size);
    }
    if (writer->bytes == NULL)
        return -1;
    writer->start = (uint8_t *)PyBytes_AS_STRING(writer->bytes);
    writer->at = writer->start + used;
    writer->end = writer->start + size;
    return 0;
}

static inline int ps_room(ps_writer *writer, size_t needed)
{
    return (size_t)(writer->end - writer->at) >= needed ? 0 : ps_grow(writer, needed);
}

/* What was written; the writer has it no more. */
static PyObject *ps_written(ps_writer *writer)
{
    Py_ssize_t size = writer->at - writer->start;
    if (writer->bytes == NULL)
        return PyBytes_FromStringAndSize((char *)writer->start, size);
    PyObject *bytes = writer->bytes;
    writer->bytes = NULL;
    _PyBytes_Resize(&bytes, size);
    return bytes;
}

/* ---- the way to a failure ---- */

/* Notes a step while the failure goes outwards; `place` is an index, a key or NULL, and is taken over.
 * Returns -1, for the caller to return. */
static int ps_step(ps_writer *writer, const ps_plan_field *field, PyObject *place)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (writer->steps == NULL)
        writer->steps = PyList_New(0);
    PyObject *step = place ? PyTuple_Pack(2, field->name, place) : PyTuple_Pack(1, field->name);
    if (writer->steps && step)
        PyList_Append(writer->steps, step);
    Py_XDECREF(step);
    Py_XDECREF(place);
    PyErr_Restore(type, value, traceback);
    return -1;
}

/* ---- text and bytes ---- */

/* `sparing`: whether zero, which needs no record, gets none. */
static int ps_write_content(ps_writer *writer, const ps_plan_field *field, const void *content, size_t size,
                            bool sparing)
{
    if (size == 0 && sparing)
        return 0;
    if (ps_room(writer, PS_WIRE_ROOM + size) < 0)
        return -1;
    uint8_t *at = ps_wire_put_tag(writer->at, &field->tag);
    writer->at = ps_wire_put_bytes(at, content, size);
    return 0;
}

static int ps_write_wide_text(ps_writer *writer, const ps_plan_field *field, PyObject *value)
{
    size_t n = (size_t)PyUnicode_GET_LENGTH(value), size = 0;
    const void *text = PyUnicode_DATA(value);
    int width = PyUnicode_KIND(value);
    bool fine = true;
    if (width == PyUnicode_1BYTE_KIND)
        size = ps_utf8_size_ucs1(text, n);
    else if (width == PyUnicode_2BYTE_KIND)
        fine = ps_utf8_size_ucs2(text, n, !field->utf8, &size);
    else
        fine = ps_utf8_size_ucs4(text, n, !field->utf8, &size);
    if (!fine)
        return ps_refuse(field, value);
    if (ps_room(writer, PS_WIRE_ROOM + size) < 0)
        return -1;
    uint8_t *at = ps_varint_write(ps_wire_put_tag(writer->at, &field->tag), size);
    if (width == PyUnicode_1BYTE_KIND)
        writer->at = ps_utf8_write_ucs1(at, text, n);
    else if (width == PyUnicode_2BYTE_KIND)
        writer->at = ps_utf8_write_ucs2(at, text, n);
    else
        writer->at = ps_utf8_write_ucs4(at, text, n);
    return 0;
}

static inline int ps_write_text(ps_writer *writer, const ps_plan_field *field, PyObject *value, bool sparing)
{
    if (!PyUnicode_Check(value))
        return ps_refuse(field, value);
    if (PyUnicode_IS_ASCII(value))
        return ps_write_content(writer, field, PyUnicode_DATA(value), (size_t)PyUnicode_GET_LENGTH(value),
                                sparing);
    return ps_write_wide_text(writer, field, value);
}

static int ps_write_bytes(ps_writer *writer, const ps_plan_field *field, PyObject *value, bool sparing)
{
    if (PyBytes_Check(value))
        return ps_write_content(writer, field, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value),
                                sparing);
    if (!PyByteArray_Check(value) && !PyMemoryView_Check(value))
        return ps_refuse(field, value);
    Py_buffer view;
    if (PyObject_GetBuffer(value, &view, PyBUF_FULL_RO) < 0)
        return -1;
    int status = 0;
    if (PyBuffer_IsContiguous(&view, 'C')) {
        status = ps_write_content(writer, field, view.buf, (size_t)view.len, sparing);
    } else {
        PyObject *copy = PyObject_Bytes(value);
        status = copy ? ps_write_content(writer, field, PyBytes_AS_STRING(copy), (size_t)view.len, sparing)
                      : -1;
        Py_XDECREF(copy);
    }
    PyBuffer_Release(&view);
    return status;
}

/* ---- messages ---- */

static int ps_write_fields(ps_writer *writer, const ps_plan *plan, ps_message *message);

static int ps_enter(ps_writer *writer)
{
    return ++writer->depth <= PS_WRITE_DEEPEST ? 0 : ps_hooks.refuse_depth();
}

/* Leaves room for a tag and for a length whose size is guessed; returns where the content begins. */
static inline size_t ps_open(ps_writer *writer, const ps_plan_field *field)
{
    writer->at = ps_wire_put_tag(writer->at, &field->tag) + field->length_size;
    return (size_t)(writer->at - writer->start);
}

/* `reserved` is what the guess was when the length was left out: writing within may have changed it. */
static inline int ps_close(ps_writer *writer, const ps_plan_field *field, size_t content, uint8_t reserved)
{
    if (ps_room(writer, PS_WIRE_LENGTH_GROWTH) < 0)
        return -1;
    uint8_t *end = writer->at;
    writer->at = ps_wire_close(writer->start + content, reserved, end);
    ((ps_plan_field *)field)->length_size = (uint8_t)(reserved + (writer->at - end));
    return 0;
}

static int ps_write_message(ps_writer *writer, const ps_plan_field *field, PyObject *value)
{
    if (Py_TYPE(value) != field->child->type && !PyObject_TypeCheck(value, field->child->type))
        return ps_refuse(field, value);
    if (ps_enter(writer) < 0 || ps_room(writer, PS_WIRE_ROOM) < 0)
        return -1;
    int status;
    ps_message *message = (ps_message *)Py_NewRef(value);
    if (field->kind == PS_KIND_GROUP) {
        writer->at = ps_wire_put_tag(writer->at, &field->tag);
        status = ps_write_fields(writer, field->child, message);
        if (status == 0 && (status = ps_room(writer, PS_WIRE_ROOM)) == 0) {
            uint8_t *end_tag = writer->at;
            writer->at = ps_wire_put_tag(writer->at, &field->tag);
            *end_tag += 1; /* the wire type after that of a start */
        }
    } else {
        uint8_t reserved = field->length_size;
        size_t content = ps_open(writer, field);
        status = ps_write_fields(writer, field->child, message);
        if (status == 0)
            status = ps_close(writer, field, content, reserved);
    }
    Py_DECREF(message);
    writer->depth--;
    return status;
}

/* ---- one value with its tag ---- */

static inline int ps_write_value(ps_writer *writer, const ps_plan_field *field, PyObject *value, bool sparing)
{
    switch (field->kind) {
    case PS_KIND_STRING:
        return ps_write_text(writer, field, value, sparing);
    case PS_KIND_BYTES:
        return ps_write_bytes(writer, field, value, sparing);
    case PS_KIND_MESSAGE:
    case PS_KIND_GROUP:
        return ps_write_message(writer, field, value);
    default:
        break;
    }
    uint64_t bits = 0;
    if (ps_number(field, value, &bits) < 0)
        return -1;
    if (sparing && bits == field->zero)
        return 0;
    if (ps_room(writer, PS_WIRE_ROOM) < 0)
        return -1;
    writer->at = ps_put_number(ps_wire_put_tag(writer->at, &field->tag), field->kind, bits);
    return 0;
}

/* ---- lists: `sequence` is a list or a tuple; what a list gets meanwhile is not written ---- */

static inline bool ps_has_item(PyObject *sequence, Py_ssize_t i)
{
    return i < PySequence_Fast_GET_SIZE(sequence);
}

static int ps_write_list(ps_writer *writer, const ps_plan_field *field, PyObject *sequence)
{
    Py_ssize_t n = PySequence_Fast_GET_SIZE(sequence);
    for (Py_ssize_t i = 0; i < n && ps_has_item(sequence, i); i++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(sequence, i));
        int status = ps_write_value(writer, field, item, false);
        Py_DECREF(item);
        if (status < 0)
            return ps_step(writer, field, PyLong_FromSsize_t(i));
    }
    return 0;
}

static int ps_write_packed(ps_writer *writer, const ps_plan_field *field, PyObject *sequence)
{
    Py_ssize_t n = PySequence_Fast_GET_SIZE(sequence);
    if (n == 0)
        return 0;
    if (ps_room(writer, PS_WIRE_ROOM) < 0)
        return -1;
    uint8_t reserved = field->length_size;
    size_t content = ps_open(writer, field);
    for (Py_ssize_t i = 0; i < n && ps_has_item(sequence, i); i++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(sequence, i));
        uint64_t bits = 0;
        int status = ps_number(field, item, &bits);
        Py_DECREF(item);
        if (status < 0)
            return ps_step(writer, field, PyLong_FromSsize_t(i));
        if (ps_room(writer, PS_VARINT_MOST) < 0)
            return -1;
        writer->at = ps_put_number(writer->at, field->kind, bits);
    }
    return ps_close(writer, field, content, reserved);
}

/* ---- arrays ---- */

/* Whether the buffer holds the field's own kind of numbers, in memory as the kernels take them. */
static bool ps_has_items_of(const ps_plan_field *field, const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    if (*format == '<' || *format == '=' || *format == '@')
        format++;
    if (view->ndim != 1 || view->itemsize != (Py_ssize_t)ps_item_size(field->kind) || !*format || format[1])
        return false;
    switch (field->kind) {
    case PS_KIND_BOOL:
        return *format == '?';
    case PS_KIND_DOUBLE:
        return *format == 'd';
    case PS_KIND_FLOAT:
        return *format == 'f';
    case PS_KIND_UINT32:
    case PS_KIND_UINT64:
    case PS_KIND_FIXED32:
    case PS_KIND_FIXED64:
        return strchr("ILQ", *format) != NULL;
    default:
        return strchr("ilq", *format) != NULL;
    }
}

/* The bits of an item, as ps_number gives them. */
static uint64_t ps_item(int kind, const char *at)
{
    uint64_t bits = 0;
    size_t width = ps_item_size(kind);
    memcpy(&bits, at, width);
    if (width == 4 && (kind == PS_KIND_INT32 || kind == PS_KIND_SINT32 || kind == PS_KIND_ENUM))
        return (uint64_t)(int64_t)(int32_t)bits;
    return kind == PS_KIND_BOOL ? bits != 0 : bits;
}

static size_t ps_items_size(int kind, const void *items, size_t n)
{
    switch (kind) {
    case PS_KIND_INT64:
    case PS_KIND_UINT64:
    case PS_KIND_SINT64:
        return ps_varints_size_u64(items, n, kind == PS_KIND_SINT64);
    case PS_KIND_INT32:
    case PS_KIND_ENUM:
    case PS_KIND_SINT32:
        return ps_varints_size_i32(items, n, kind == PS_KIND_SINT32);
    case PS_KIND_UINT32:
        return ps_varints_size_u32(items, n);
    default:
        return n * ps_item_size(kind);
    }
}

/* NULL when the items no longer take `size` bytes: code without the GIL changes the array. */
static uint8_t *ps_put_array(uint8_t *at, size_t size, int kind, const void *items, size_t n)
{
    switch (kind) {
    case PS_KIND_INT64:
    case PS_KIND_UINT64:
    case PS_KIND_SINT64:
        return ps_varints_write_u64(at, size, items, n, kind == PS_KIND_SINT64);
    case PS_KIND_INT32:
    case PS_KIND_ENUM:
    case PS_KIND_SINT32:
        return ps_varints_write_i32(at, size, items, n, kind == PS_KIND_SINT32);
    case PS_KIND_UINT32:
        return ps_varints_write_u32(at, size, items, n);
    case PS_KIND_BOOL:
        ps_varints_write_bool(at, items, n);
        return at + n;
    default:
        memcpy(at, items, size);
        return at + size;
    }
}

static int ps_write_items(ps_writer *writer, const ps_plan_field *field, const char *items, size_t n)
{
    if (n == 0)
        return 0;
    if (!field->packed) {
        for (size_t i = 0; i < n; i++, items += ps_item_size(field->kind)) {
            if (ps_room(writer, PS_WIRE_ROOM) < 0)
                return -1;
            uint8_t *at = ps_wire_put_tag(writer->at, &field->tag);
            writer->at = ps_put_number(at, field->kind, ps_item(field->kind, items));
        }
        return 0;
    }
    size_t size = ps_items_size(field->kind, items, n);
    if (ps_room(writer, PS_WIRE_ROOM + size) < 0)
        return -1;
    uint8_t *at = ps_varint_write(ps_wire_put_tag(writer->at, &field->tag), size);
    uint8_t *end = ps_put_array(at, size, field->kind, items, n);
    if (end != at + size) {
        PyErr_SetString(PyExc_RuntimeError, "an array was changed while it was written");
        return -1;
    }
    writer->at = end;
    return 0;
}

static int ps_write_array(ps_writer *writer, const ps_plan_field *field, PyObject *value)
{
    Py_buffer view;
    if (PyObject_CheckBuffer(value) && PyObject_GetBuffer(value, &view, PyBUF_ND | PyBUF_FORMAT) == 0) {
        int status = 1;
        if (ps_has_items_of(field, &view))
            status = ps_write_items(writer, field, view.buf, (size_t)view.shape[0]);
        PyBuffer_Release(&view);
        if (status <= 0)
            return status;
    }
    PyErr_Clear(); /* it was not contiguous, say */
    PyObject *array = ps_hooks.as_array(field, value);
    if (array == NULL || PyObject_GetBuffer(array, &view, PyBUF_ND) < 0) {
        Py_XDECREF(array);
        return -1;
    }
    int status = ps_write_items(writer, field, view.buf, (size_t)view.len / ps_item_size(field->kind));
    PyBuffer_Release(&view);
    Py_DECREF(array);
    return status;
}

static int ps_write_repeated(ps_writer *writer, const ps_plan_field *field, PyObject *value)
{
    int status = -1;
    if (field->array) {
        Py_INCREF(value);
        status = ps_write_array(writer, field, value);
        Py_DECREF(value);
        return status < 0 ? ps_step(writer, field, NULL) : 0;
    }
    bool is_sequence = PyList_Check(value) || PyTuple_Check(value);
    PyObject *sequence = is_sequence ? Py_NewRef(value) : ps_hooks.elements(field, value);
    if (sequence == NULL)
        return ps_step(writer, field, NULL);
    status = field->packed ? ps_write_packed(writer, field, sequence) : ps_write_list(writer, field, sequence);
    Py_DECREF(sequence);
    return status;
}

/* ---- maps ---- */

/* A wrong key is what is reported, even if a value before it is wrong. */
static int ps_refuse_map(ps_writer *writer, const ps_plan_field *field, PyObject *map)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (ps_hooks.check_keys(field, map) == 0) {
        PyErr_Restore(type, value, traceback);
        return -1;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    Py_CLEAR(writer->steps);
    return ps_step(writer, field, NULL);
}

static int ps_write_entry(ps_writer *writer, const ps_plan_field *field, PyObject *key, PyObject *value)
{
    if (ps_enter(writer) < 0 || ps_room(writer, PS_WIRE_ROOM) < 0)
        return -1;
    uint8_t reserved = field->length_size;
    size_t content = ps_open(writer, field);
    if (ps_write_value(writer, &field->entry[0], key, false) < 0)
        return -1;
    if (ps_write_value(writer, &field->entry[1], value, false) < 0)
        return ps_step(writer, field, Py_NewRef(key));
    writer->depth--;
    return ps_close(writer, field, content, reserved);
}

static int ps_write_sorted(ps_writer *writer, const ps_plan_field *field, PyObject *map)
{
    PyObject *keys = ps_hooks.sorted_keys(field, map);
    int status = keys ? 0 : -1;
    for (Py_ssize_t i = 0; status == 0 && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = PyList_GET_ITEM(keys, i), *value = Py_XNewRef(PyDict_GetItemWithError(map, key));
        if (value)
            status = ps_write_entry(writer, field, key, value);
        else if (PyErr_Occurred())
            status = -1;
        Py_XDECREF(value);
    }
    Py_XDECREF(keys);
    return status;
}

static int ps_write_unsorted(ps_writer *writer, const ps_plan_field *field, PyObject *map)
{
    Py_ssize_t at = 0;
    PyObject *key, *value;
    for (Py_ssize_t n = PyDict_GET_SIZE(map); n > 0 && PyDict_Next(map, &at, &key, &value); n--) {
        Py_INCREF(key);
        Py_INCREF(value);
        int status = ps_write_entry(writer, field, key, value);
        Py_DECREF(key);
        Py_DECREF(value);
        if (status < 0)
            return -1;
    }
    return 0;
}

static int ps_write_map(ps_writer *writer, const ps_plan_field *field, PyObject *map)
{
    if (!PyDict_Check(map)) {
        ps_hooks.refuse_slot(field, map);
        return ps_step(writer, field, NULL);
    }
    if (PyDict_GET_SIZE(map) == 0)
        return 0;
    Py_INCREF(map);
    int status = writer->deterministic ? ps_write_sorted(writer, field, map)
                                       : ps_write_unsorted(writer, field, map);
    if (status < 0)
        status = ps_refuse_map(writer, field, map);
    Py_DECREF(map);
    return status;
}

/* ---- a message ---- */

static inline int ps_write_singular(ps_writer *writer, const ps_plan_field *field, PyObject *value)
{
    Py_INCREF(value);
    int status = ps_write_value(writer, field, value, field->presence == PS_IMPLICIT);
    Py_DECREF(value);
    return status < 0 ? ps_step(writer, field, NULL) : 0;
}

static int ps_write_fields(ps_writer *writer, const ps_plan *plan, ps_message *message)
{
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        const ps_plan_field *field = &plan->fields[i];
        PyObject *value = *ps_slot(message, field);
        if (ps_is_unset(value)) {
            if (field->presence != PS_REQUIRED || writer->partial)
                continue;
            ps_hooks.refuse_unset();
            return ps_step(writer, field, NULL);
        }
        int status;
        if (field->shape == PS_SINGULAR)
            status = value == field->initial ? 0 : ps_write_singular(writer, field, value);
        else if (field->shape == PS_REPEATED)
            status = ps_write_repeated(writer, field, value);
        else
            status = ps_write_map(writer, field, value);
        if (status < 0)
            return -1;
    }
    if (message->unknown == NULL)
        return 0;
    Py_ssize_t size;
    const char *bytes = ps_unknown_bytes(message, &size);
    if (ps_room(writer, (size_t)size) < 0)
        return -1;
    memcpy(writer->at, bytes, (size_t)size);
    writer->at += size;
    return 0;
}

/* The root message, at depth 1. */
static int ps_write_root(ps_writer *writer, const ps_plan *plan, ps_message *message)
{
    writer->depth = 1;
    return ps_write_fields(writer, plan, message);
}

#endif
