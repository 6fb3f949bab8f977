/* message_read -- from a tape of wire_tape to messages. The tape is true to the schema and within all limits, so
 * nothing here can fail but for memory, and where a message that the user changed is merged into. */
#ifndef PS_MESSAGE_READ_H
#define PS_MESSAGE_READ_H

#include <Python.h>
#include <string.h>

#include "message_growing.h"
#include "message_plan.h"
#include "message_strings.h"
#include "message_type.h"
#include "varint.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "fixed-width numbers and arrays are copied as they lie: big-endian machines run the fallback"
#endif

typedef struct {
    const uint8_t *bytes;
    const ps_tape_record *at; /* the next record */
    ps_growing *growing;
    bool keep_unknown;
} ps_reader;

/* ---- one value ---- */

static PyObject *ps_read_enum(const ps_enum *members, int64_t number)
{
    if (members == NULL)
        return PyLong_FromLongLong(number);
    if (members->n_members) {
        int64_t at = number - members->low;
        if (at >= 0 && at < members->n_members && members->members[at])
            return Py_NewRef(members->members[at]);
        return PyLong_FromLongLong(number);
    }
    PyObject *plain = PyLong_FromLongLong(number);
    PyObject *member = plain ? PyDict_GetItemWithError(members->by_number, plain) : NULL;
    if (member == NULL)
        return PyErr_Occurred() ? (Py_XDECREF(plain), NULL) : plain;
    Py_DECREF(plain);
    return Py_NewRef(member);
}

/* The object of the bits that a tape gives for a number of that kind. */
static inline PyObject *ps_read_number(const ps_plan_field *field, uint64_t bits)
{
    switch (field->kind) {
    case PS_KIND_DOUBLE: {
        double value;
        memcpy(&value, &bits, sizeof value);
        return PyFloat_FromDouble(value);
    }
    case PS_KIND_FLOAT: {
        uint32_t half = (uint32_t)bits;
        float value;
        memcpy(&value, &half, sizeof value);
        return PyFloat_FromDouble((double)value);
    }
    case PS_KIND_BOOL:
        return PyBool_FromLong(bits != 0);
    case PS_KIND_ENUM:
        return ps_read_enum(field->members, (int64_t)bits);
    case PS_KIND_UINT64:
    case PS_KIND_FIXED64:
        return PyLong_FromUnsignedLongLong(bits);
    default: /* the tape has signs extended */
        return PyLong_FromLongLong((int64_t)bits);
    }
}

static inline PyObject *ps_read_value(const ps_reader *reader, const ps_plan_field *field,
                                      const ps_tape_record *record)
{
    if (record->op == PS_TAPE_SCALAR)
        return ps_read_number(field, record->value);
    const char *text = (const char *)reader->bytes + record->value;
    switch (record->op) {
    case PS_TAPE_ASCII:
        return ps_read_ascii((ps_plan_field *)field, text, record->size_or_run);
    case PS_TAPE_TEXT:
        return PyUnicode_DecodeUTF8(text, record->size_or_run, field->utf8 ? NULL : "surrogateescape");
    default:
        return PyBytes_FromStringAndSize(text, record->size_or_run);
    }
}

/* ---- unknown fields ---- */

static int ps_keep_unknown(ps_message *message, const char *bytes, size_t size)
{
    if (message->unknown == NULL) {
        message->unknown = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
        return message->unknown ? 0 : -1;
    }
    if (PyBytes_CheckExact(message->unknown)) { /* which copies share; what grows is its message's own */
        PyObject *growing = PyByteArray_FromObject(message->unknown);
        if (growing == NULL)
            return -1;
        Py_SETREF(message->unknown, growing);
    }
    Py_ssize_t old = PyByteArray_GET_SIZE(message->unknown);
    if (PyByteArray_Resize(message->unknown, old + (Py_ssize_t)size) < 0)
        return -1;
    memcpy(PyByteArray_AS_STRING(message->unknown) + old, bytes, size);
    return 0;
}

/* A closed enum's number without a name, out of a packed list: one unknown field. */
static int ps_keep_number(const ps_reader *reader, ps_message *message, const ps_wire_field *wire,
                          uint64_t number)
{
    if (!reader->keep_unknown)
        return 0;
    uint8_t record[2 * PS_VARINT_MOST];
    uint8_t *end = ps_varint_write(record, (uint64_t)wire->number << 3);
    end = ps_varint_write(end, number);
    return ps_keep_unknown(message, (const char *)record, (size_t)(end - record));
}

static bool ps_has_name(const ps_wire_field *field, int64_t number)
{
    uint32_t low = 0, high = field->n_values;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (field->values[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < field->n_values && field->values[low] == number;
}

/* ---- packed values ---- */

/* The bits of the next packed value, as a tape would give them. */
static uint64_t ps_next_packed(int kind, const uint8_t **at, const uint8_t *end)
{
    uint64_t bits = 0;
    switch (kind) {
    case PS_KIND_DOUBLE:
    case PS_KIND_FIXED64:
    case PS_KIND_SFIXED64:
        memcpy(&bits, *at, 8);
        *at += 8;
        return bits;
    case PS_KIND_FLOAT:
    case PS_KIND_FIXED32:
    case PS_KIND_SFIXED32: {
        uint32_t half;
        memcpy(&half, *at, 4);
        *at += 4;
        return kind == PS_KIND_SFIXED32 ? (uint64_t)(int64_t)(int32_t)half : half;
    }
    default:
        break;
    }
    *at = ps_varint_read(*at, end, &bits);
    switch (kind) {
    case PS_KIND_INT32:
    case PS_KIND_ENUM:
        return (uint64_t)(int64_t)(int32_t)bits;
    case PS_KIND_UINT32:
        return (uint32_t)bits;
    case PS_KIND_SINT32:
        return (uint64_t)(int64_t)ps_unzigzag32((uint32_t)bits);
    case PS_KIND_SINT64:
        return (uint64_t)ps_unzigzag64(bits);
    case PS_KIND_BOOL:
        return bits != 0;
    default:
        return bits;
    }
}

/* ---- lists ---- */

/* Appends and takes over `item`; NULL is an error already raised. */
static inline int ps_append(PyObject *list, PyObject *item)
{
    if (item == NULL)
        return -1;
    PyListObject *inner = (PyListObject *)list;
    Py_ssize_t size = Py_SIZE(list);
    if (size < inner->allocated) {
        inner->ob_item[size] = item;
        Py_SET_SIZE(inner, size + 1);
        return 0;
    }
    int status = PyList_Append(list, item);
    Py_DECREF(item);
    return status;
}

/* An empty list with room for n: never one whose items are NULL, which the collector could show to others. */
static PyObject *ps_list_with_room(Py_ssize_t n)
{
    PyObject *list = PyList_New(n);
    if (list)
        Py_SET_SIZE((PyListObject *)list, 0);
    return list;
}

/* The list in the slot, made if there is none, with room for n if so. */
static PyObject *ps_list_of(ps_message *message, const ps_plan_field *field, Py_ssize_t n)
{
    PyObject **slot = ps_slot(message, field);
    if (*slot && PyList_CheckExact(*slot))
        return *slot;
    PyObject *list = NULL;
    if (ps_is_unset(*slot))
        list = ps_list_with_room(n);
    else if (PyTuple_Check(*slot) || PyList_Check(*slot))
        list = PySequence_List(*slot);
    else
        ps_hooks.refuse_slot(field, *slot);
    if (list)
        Py_XSETREF(*slot, list);
    return list;
}

static int ps_read_packed(ps_reader *reader, ps_message *message, const ps_wire_field *wire,
                          const ps_plan_field *field, const ps_tape_record *record)
{
    uint64_t n = record->value >> 32;
    const uint8_t *at = reader->bytes + (uint32_t)record->value, *end = at + record->size_or_run;
    PyObject *list = n ? Py_XNewRef(ps_list_of(message, field, (Py_ssize_t)n)) : Py_NewRef(Py_None);
    int status = list ? 0 : -1;
    for (uint64_t i = 0; status == 0 && i < n; i++) {
        const uint8_t *raw = at;
        uint64_t bits = ps_next_packed(field->kind, &at, end);
        if (field->closed && !ps_has_name(wire, (int64_t)bits)) {
            ps_varint_read(raw, end, &bits);
            status = ps_keep_number(reader, message, wire, bits);
        } else {
            status = ps_append(list, ps_read_number(field, bits));
        }
    }
    Py_XDECREF(list);
    return status;
}

static PyObject *ps_read_message(ps_reader *reader, const ps_plan *plan);

/* How many values follow that are records of one field, `record` the first of them. */
static Py_ssize_t ps_run(const ps_tape_record *record)
{
    if (record->op == PS_TAPE_SCALAR || record->op == PS_TAPE_BEGIN)
        return record->size_or_run ? record->size_or_run : 1;
    Py_ssize_t n = 1;
    while (record[n].op >= PS_TAPE_ASCII && record[n].op <= PS_TAPE_BYTES && record[n].field == record->field)
        n++;
    return n;
}

static int ps_read_list(ps_reader *reader, ps_message *message, const ps_plan_field *field,
                        const ps_tape_record *record)
{
    Py_ssize_t n = ps_run(record);
    PyObject *list = Py_XNewRef(ps_list_of(message, field, n));
    if (list == NULL)
        return -1;
    int status = 0;
    reader->at = record;
    while (n-- > 0 && status == 0) {
        record = reader->at++;
        status = ps_append(list, ps_is_message(field) ? ps_read_message(reader, field->child)
                                                      : ps_read_value(reader, field, record));
    }
    Py_DECREF(list);
    return status;
}

/* ---- arrays ---- */

static void ps_put_items(int kind, const uint8_t *at, size_t size, char *items, size_t n)
{
    bool zigzag = kind == PS_KIND_SINT32 || kind == PS_KIND_SINT64;
    switch (kind) {
    case PS_KIND_BOOL:
        ps_varints_to_bool(at, size, (uint8_t *)items, n);
        return;
    case PS_KIND_INT64:
    case PS_KIND_UINT64:
    case PS_KIND_SINT64:
        ps_varints_to_u64(at, size, zigzag, (uint64_t *)items, n);
        return;
    case PS_KIND_INT32:
    case PS_KIND_UINT32:
    case PS_KIND_SINT32:
    case PS_KIND_ENUM:
        ps_varints_to_u32(at, size, zigzag, (uint32_t *)items, n);
        return;
    default:
        memcpy(items, at, size);
    }
}

/* Of a closed enum: only the numbers that have a name go to the array, as a list would have them. */
static int ps_read_closed_array(ps_reader *reader, ps_message *message, const ps_wire_field *wire,
                                const ps_plan_field *field, const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        uint64_t raw;
        at = ps_varint_read(at, end, &raw);
        int32_t number = (int32_t)raw;
        if (!ps_has_name(wire, number)) {
            if (ps_keep_number(reader, message, wire, raw) < 0)
                return -1;
            continue;
        }
        char *item = ps_more_items(&reader->growing, message, field, 1);
        if (item == NULL)
            return -1;
        memcpy(item, &number, sizeof number);
    }
    return 0;
}

static int ps_read_array(ps_reader *reader, ps_message *message, const ps_wire_field *wire,
                         const ps_plan_field *field, const ps_tape_record *record)
{
    if (record->op == PS_TAPE_PACKED) {
        size_t n = (size_t)(record->value >> 32), size = record->size_or_run;
        const uint8_t *at = reader->bytes + (uint32_t)record->value;
        if (field->closed)
            return ps_read_closed_array(reader, message, wire, field, at, at + size);
        char *items = n ? ps_more_items(&reader->growing, message, field, n) : NULL;
        if (items)
            ps_put_items(field->kind, at, size, items, n);
        return n == 0 || items ? 0 : -1;
    }
    Py_ssize_t n = ps_run(record);
    size_t width = ps_item_size(field->kind);
    char *items = ps_more_items(&reader->growing, message, field, (size_t)n);
    if (items == NULL)
        return -1;
    reader->at = record + n;
    for (; n-- > 0; record++, items += width)
        memcpy(items, &record->value, width); /* the low bytes come first */
    return 0;
}

/* ---- messages and maps ---- */

/* `seen` of a message without fields yet, and of one that may have some; see ps_read_fields. */
static const uint64_t ps_none_seen = 0;
static const uint64_t ps_any_seen = UINT64_MAX;

static int ps_read_fields(ps_reader *reader, ps_message *message, const ps_plan *plan, uint64_t seen);

static PyObject *ps_read_message(ps_reader *reader, const ps_plan *plan)
{
    ps_message *made = ps_new_message(plan);
    if (made && (ps_read_fields(reader, made, plan, ps_none_seen) < 0 || ps_fill(made, plan) < 0))
        Py_CLEAR(made);
    return (PyObject *)made;
}

/* Reads into the message that is `*place`, or into a new one there. */
static int ps_merge_message(ps_reader *reader, const ps_plan_field *field, PyObject **place)
{
    if (ps_is_unset(*place)) {
        PyObject *made = ps_read_message(reader, field->child);
        if (made == NULL)
            return -1;
        Py_XSETREF(*place, made);
        return 0;
    }
    if (!PyObject_TypeCheck(*place, field->child->type)) {
        ps_hooks.refuse_slot(field, *place);
        return -1;
    }
    ps_message *message = (ps_message *)Py_NewRef(*place);
    int status = ps_read_fields(reader, message, field->child, ps_any_seen);
    if (status == 0)
        status = ps_fill(message, field->child);
    Py_DECREF(message);
    return status;
}

static PyObject *ps_zero(const ps_plan_field *field)
{
    if (!ps_is_message(field))
        return Py_NewRef(field->initial);
    ps_message *made = ps_new_message(field->child);
    if (made && ps_fill(made, field->child) < 0)
        Py_CLEAR(made);
    return (PyObject *)made;
}

static int ps_read_entry(ps_reader *reader, PyObject *map, const ps_plan_field *field)
{
    PyObject *parts[2] = {NULL, NULL};
    int status = 0;
    const ps_tape_record *record;
    while (status == 0 && (record = reader->at++)->op != PS_TAPE_END) {
        if (record->op == PS_TAPE_UNKNOWN)
            continue;
        const ps_plan_field *part = &field->entry[record->field];
        if (record->op == PS_TAPE_BEGIN) {
            status = ps_merge_message(reader, part, &parts[record->field]);
        } else {
            PyObject *value = ps_read_value(reader, part, record);
            status = value ? 0 : -1;
            Py_XSETREF(parts[record->field], value);
        }
    }
    for (int i = 0; i < 2 && status == 0; i++)
        if (parts[i] == NULL && (parts[i] = ps_zero(&field->entry[i])) == NULL)
            status = -1;
    if (status == 0)
        status = PyDict_SetItem(map, parts[0], parts[1]);
    Py_XDECREF(parts[0]);
    Py_XDECREF(parts[1]);
    return status;
}

static int ps_read_map(ps_reader *reader, ps_message *message, const ps_plan_field *field,
                       const ps_tape_record *record)
{
    PyObject **slot = ps_slot(message, field);
    if (ps_is_unset(*slot)) {
        PyObject *made = PyDict_New();
        if (made == NULL)
            return -1;
        Py_XSETREF(*slot, made);
    } else if (!PyDict_Check(*slot)) {
        ps_hooks.refuse_slot(field, *slot);
        return -1;
    }
    PyObject *map = Py_NewRef(*slot);
    int status = 0;
    reader->at = record;
    for (Py_ssize_t n = ps_run(record); n > 0 && status == 0; n--) {
        reader->at++; /* the entry's BEGIN */
        status = ps_read_entry(reader, map, field);
    }
    Py_DECREF(map);
    return status;
}

static inline int ps_read_singular(ps_reader *reader, ps_message *message, const ps_plan *plan,
                                   const ps_plan_field *field, const ps_tape_record *record, uint64_t *seen)
{
    PyObject **slot = ps_slot(message, field);
    if (record->op == PS_TAPE_BEGIN) {
        if (ps_merge_message(reader, field, slot) < 0)
            return -1;
    } else {
        PyObject *value = ps_read_value(reader, field, record);
        if (value == NULL)
            return -1;
        Py_XSETREF(*slot, value);
    }
    if (field->oneof == PS_NO_ONEOF)
        return 0;
    uint64_t bit = field->oneof < 64 ? UINT64_C(1) << field->oneof : 0;
    if (bit == 0 || *seen & bit)
        ps_clear_siblings(message, plan, field);
    *seen |= bit;
    return 0;
}

/* Reads the records up to the END of this message. Slots that none belongs to stay as they are. `seen` has a bit
 * for each of the first 64 oneofs that may have a member set: only then are the others looked at. */
static int ps_read_fields(ps_reader *reader, ps_message *message, const ps_plan *plan, uint64_t seen)
{
    for (;;) {
        const ps_tape_record *record = reader->at++;
        if (record->op == PS_TAPE_END)
            return 0;
        int status;
        if (record->op == PS_TAPE_UNKNOWN) {
            const char *bytes = (const char *)reader->bytes + record->value;
            status = ps_keep_unknown(message, bytes, record->size_or_run);
        } else {
            const ps_plan_field *field = &plan->fields[record->field];
            const ps_wire_field *wire = &plan->wire.fields[record->field];
            if (field->shape == PS_SINGULAR)
                status = ps_read_singular(reader, message, plan, field, record, &seen);
            else if (field->shape == PS_MAP)
                status = ps_read_map(reader, message, field, record);
            else if (field->array)
                status = ps_read_array(reader, message, wire, field, record);
            else if (record->op == PS_TAPE_PACKED)
                status = ps_read_packed(reader, message, wire, field, record);
            else
                status = ps_read_list(reader, message, field, record);
        }
        if (status < 0)
            return -1;
    }
}

/* ---- the whole ---- */

enum { PS_TAPE_ON_STACK = 256, PS_LARGE_INPUT = 50000 };

static const ps_allocator ps_tape_memory = {PyMem_RawRealloc, PyMem_RawFree};

/* Reads bytes, which must not change meanwhile, into `message`, or into a new one of `plan` if that is NULL.
 * Returns it; NULL with `error` filled and no exception when the bytes are refused. */
static PyObject *ps_read(const ps_plan *plan, ps_message *message, const uint8_t *bytes, size_t size,
                         const ps_wire_limits *limits, ps_wire_error *error)
{
    ps_tape_record records[PS_TAPE_ON_STACK];
    ps_tape tape;
    ps_status status;
    ps_tape_init(&tape, ps_tape_memory, records, PS_TAPE_ON_STACK);
    if (size < PS_LARGE_INPUT) {
        status = ps_tape_read(&tape, &plan->wire, bytes, size, limits, error);
    } else {
        Py_BEGIN_ALLOW_THREADS
        status = ps_tape_read(&tape, &plan->wire, bytes, size, limits, error);
        Py_END_ALLOW_THREADS
    }
    PyObject *made = NULL;
    if (status == PS_OK) {
        ps_reader reader = {.bytes = bytes, .at = tape.records, .keep_unknown = limits->keep_unknown};
        if (message == NULL)
            made = ps_read_message(&reader, plan);
        else if (ps_read_fields(&reader, message, plan, ps_any_seen) == 0 && ps_fill(message, plan) == 0)
            made = Py_NewRef(message);
        if (reader.growing && ps_finish_growing(&reader.growing) < 0)
            Py_CLEAR(made);
    } else if (status == PS_NO_MEMORY) {
        PyErr_NoMemory();
    }
    ps_tape_free(&tape);
    return made;
}

#endif
