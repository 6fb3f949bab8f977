"""What _message_c.pyx knows of the kernel csrc/wire_tape.c and of the C code beside it."""

from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "wire_tape.h" nogil:
    ctypedef struct ps_wire_message:
        const ps_wire_field *fields
        uint32_t n_fields
        uint32_t cost
        uint32_t n_dense
        const uint16_t *dense
    ctypedef struct ps_wire_field:
        uint32_t number
        uint8_t kind
        uint8_t shape
        uint8_t flags
        const ps_wire_message *child
        const int32_t *values
        uint32_t n_values
    ctypedef struct ps_wire_limits:
        uint64_t max_size, max_elements, max_memory, max_unknown
        uint32_t max_depth
        bint refuse_unknown
        bint keep_unknown
    ctypedef struct ps_wire_step:
        uint16_t field
        bint indexed
        uint64_t index
    ctypedef enum ps_wire_fault:
        PS_WIRE_FINE, PS_WIRE_TAG_TRUNCATED, PS_WIRE_TAG_TOO_LARGE, PS_WIRE_FIELD_ZERO, PS_WIRE_NO_SUCH_TYPE
        PS_WIRE_VALUE_TRUNCATED, PS_WIRE_VARINT_TOO_LONG, PS_WIRE_LENGTH_PAST_END, PS_WIRE_NOT_UTF8
        PS_WIRE_GROUP_OPEN, PS_WIRE_GROUP_MISMATCH, PS_WIRE_STRAY_END, PS_WIRE_PACKED_PARTIAL, PS_WIRE_TOO_DEEP
        PS_WIRE_TOO_LARGE, PS_WIRE_TOO_MANY, PS_WIRE_TOO_MUCH_MEMORY, PS_WIRE_TOO_MANY_UNKNOWN, PS_WIRE_UNKNOWN
        PS_WIRE_NO_MEMORY
    ctypedef struct ps_wire_error:
        ps_wire_fault fault
        size_t offset
        uint64_t detail[2]
        uint32_t n_steps
        ps_wire_step steps[1001]
    enum:
        PS_FIELD_UTF8
        PS_FIELD_ARRAY
        PS_MAP
        PS_REPEATED
        PS_SINGULAR
        PS_KIND_MESSAGE

cdef extern from "message_plan.h":
    ctypedef struct ps_wire_tag:
        pass
    ctypedef struct ps_message:
        PyObject *unknown
    ctypedef struct ps_enum:
        int64_t low
        int64_t n_members
        PyObject **members
        PyObject *by_number
    ctypedef struct ps_plan_field:
        uint8_t kind, shape, presence
        bint packed, array, utf8, closed
        ps_wire_tag tag
        uint64_t zero
        uint8_t length_size, cache_score
        uint16_t oneof
        Py_ssize_t offset
        PyObject *initial
        PyObject *name
        PyObject *descriptor
        const ps_plan *child
        const ps_enum *members
        ps_plan_field *entry
    ctypedef struct ps_plan_oneof:
        uint16_t first, n
    ctypedef struct ps_plan:
        ps_wire_message wire
        ps_plan_field *fields
        uint32_t n_fields
        uint16_t *declared
        uint16_t *slot_fields
        PyObject **initials
        ps_plan_oneof *oneofs
        uint32_t n_oneofs
        uint16_t *oneof_fields
        bint requires
        PyTypeObject *type
    ctypedef struct ps_message_hooks:
        const ps_plan *(*link)(PyTypeObject *) except NULL
        int (*refuse_arguments)(PyTypeObject *, Py_ssize_t, PyObject *, PyObject *const *) except -1
        int (*refuse_value)(const ps_plan_field *, PyObject *) except -1
        int (*refuse_slot)(const ps_plan_field *, PyObject *) except -1
        int (*refuse_depth)() except -1
        int (*refuse_unset)() except -1
        int (*check_keys)(const ps_plan_field *, PyObject *) except -1
        object (*sorted_keys)(const ps_plan_field *, PyObject *)
        object (*elements)(const ps_plan_field *, PyObject *)
        object (*new_array)(int, Py_ssize_t)
        object (*as_array)(const ps_plan_field *, PyObject *)
        int (*same_arrays)(PyObject *, PyObject *) except -1
        object (*copied_array)(PyObject *)
    ps_message_hooks ps_hooks
    enum:
        PS_IMPLICIT, PS_EXPLICIT, PS_REQUIRED, PS_NO_ONEOF
    void *ps_plan_memory(ps_plan *, size_t) except NULL
    void ps_plan_free(ps_plan *)
    const ps_plan *ps_plan_of(PyTypeObject *) except NULL
    PyObject *ps_plan_object(PyTypeObject *)
    void ps_set_plan(PyTypeObject *, PyObject *)
    ps_wire_tag ps_wire_tag_of(uint32_t number, uint32_t wire_type)
    PyObject **ps_slot(ps_message *, const ps_plan_field *)
    bint ps_is_message(const ps_plan_field *)
    bint ps_is_unset(PyObject *)
    int ps_fill(ps_message *, const ps_plan *) except -1

cdef extern from "message_type.h":
    void ps_adopt(PyTypeObject *)
    void ps_set_root(PyTypeObject *root, PyTypeObject *meta)
    bint ps_watch_oneofs(PyTypeObject *)
    void ps_empty(ps_message *, const ps_plan *)
    int ps_set_arguments(ps_message *, const ps_plan *, PyObject *, PyObject *const *) except -1

cdef extern from "message_read.h":
    PyObject *ps_read(const ps_plan *, ps_message *, const uint8_t *, size_t, const ps_wire_limits *, ps_wire_error *)

cdef extern from "message_write.h":
    ctypedef struct ps_writer:
        uint8_t *start
        uint8_t *at
        PyObject *steps
    void ps_writer_init(ps_writer *, uint8_t *memory, size_t size, bint deterministic, bint partial)
    void ps_writer_free(ps_writer *)
    int ps_write_root(ps_writer *, const ps_plan *, ps_message *)
    object ps_written(ps_writer *)
    enum:
        PS_WRITE_DEEPEST

cdef extern from "message_check.h":
    bint ps_is_ready(ps_message *, const ps_plan *, uint32_t)
    bint ps_is_complete(ps_message *, const ps_plan *)

cdef extern from "message_copy.h":
    object ps_copy_message(PyObject *, uint32_t)
    int ps_same_messages(PyObject *, PyObject *, uint32_t) except -1

cdef extern from "Python.h":
    """
    #include <structmember.h>
    static int ps_raised(void) { return -1; }
    static Py_ssize_t ps_member_offset(PyObject *member) { return ((PyMemberDescrObject *)member)->d_member->offset; }
    static int ps_is_slot_of(PyTypeObject *type, PyObject *member)
    {
        return Py_TYPE(member) == &PyMemberDescr_Type && PyType_IsSubtype(type, PyDescr_TYPE(member));
    }
    """
    int ps_raised() except -1  # turns an exception that C code left into one of Cython's
    Py_ssize_t ps_member_offset(object member)
    bint ps_is_slot_of(PyTypeObject *type, object member)
    PyObject *PyErr_Occurred()
    PyTypeObject *Py_TYPE(object)
    void Py_DECREF(object)
    ctypedef struct PyListObject:
        PyObject **ob_item
