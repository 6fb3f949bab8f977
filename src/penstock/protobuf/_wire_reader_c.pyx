"""Wire reader, compiled: the twin of _wire_reader_py.py over csrc/wire_reader.c."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from penstock.protobuf._varint_py import not_bytes
from penstock.protobuf._wire_reader_py import WIRE_TYPES, checked_depth, refusal

__all__ = ["WireReader"]

cdef extern from "wire_reader.h" nogil:
    ctypedef enum ps_record_type:
        PS_RECORD_LENGTH
        PS_RECORD_GROUP

    ctypedef struct ps_record:
        uint32_t number
        ps_record_type type
        uint64_t value
        const uint8_t *content
        size_t size

    ctypedef enum ps_reader_fault:
        PS_READER_FINE

    ctypedef struct ps_reader_error:
        const uint8_t *tag
        uint64_t detail[2]

    ps_reader_fault ps_record_read(const uint8_t **at, const uint8_t *end, uint32_t max_depth, ps_record *record,
                                   ps_reader_error *error)

cdef tuple TYPES = WIRE_TYPES


@cython.no_gc  # a collector that cleared it would take the bytes away from under the pointers
cdef class WireReader:
    """WireReader(data, /, *, max_depth=100)\n--\n
    Iterates over one protobuf message that no schema is known of: `(field_number, wire_type, value)`.

    The value of a varint or of fixed bytes is an int, unsigned. That of length-delimited bytes and of a group
    is bytes, those between tag and end; where they are a message, a WireReader of its own reads it. A group
    is read whole, and all that lies in it is checked; what length-delimited bytes hold is not.

    A record that breaks a rule raises DecodeError; its `offset` is that of the tag at fault, which may lie
    within a group. `position` is then still where the record begins, and asking for it again raises again.
    While the reader lives, a bytearray that it reads cannot be resized.

    Args:
        data: bytes, or what lends them; not copied. Bytes that come out are copies.
        max_depth: how deep groups may be nested, the message itself being level 1; 1 to 1000.

    Raises:
        ValueError: max_depth is out of its range.
        TypeError: data has no contiguous buffer, or max_depth is no int.

    Source: https://protobuf.dev/programming-guides/encoding
    """

    cdef Py_buffer data  # held as long as the reader lives, so that the bytes stay where they are
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef uint32_t max_depth

    def __dealloc__(self):
        PyBuffer_Release(&self.data)  # none yet: does nothing

    def __init__(self, data, /, *, max_depth=100):
        cdef uint32_t depth = checked_depth(max_depth)
        cdef Py_buffer borrowed
        try:
            PyObject_GetBuffer(data, &borrowed, PyBUF_SIMPLE)
        except (TypeError, ValueError, BufferError):
            raise not_bytes(data) from None
        with cython.critical_section(self):
            self.data, borrowed = borrowed, self.data
            self.at = <const uint8_t *>self.data.buf
            self.end = self.at + self.data.len
            self.max_depth = depth
        PyBuffer_Release(&borrowed)

    @property
    def position(self):
        """Bytes from the start to the next record; the length of the message when there is none."""
        return self.at - <const uint8_t *>self.data.buf

    def __iter__(self):
        return self

    def __next__(self):
        with cython.critical_section(self):
            if self.at == self.end:
                raise StopIteration
            return self.next_record()

    cdef tuple next_record(self):
        cdef ps_record record
        cdef ps_reader_error error
        cdef ps_reader_fault fault = ps_record_read(&self.at, self.end, self.max_depth, &record, &error)
        if fault != PS_READER_FINE:
            offset = error.tag - <const uint8_t *>self.data.buf
            raise refusal(fault, offset, (error.detail[0], error.detail[1]), self.max_depth)
        if record.type == PS_RECORD_LENGTH or record.type == PS_RECORD_GROUP:
            value = PyBytes_FromStringAndSize(<const char *>record.content, <Py_ssize_t>record.size)
        else:
            value = record.value
        return record.number, TYPES[<int>record.type], value
