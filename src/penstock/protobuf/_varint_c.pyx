"""Varints, compiled: the twin of _varint_py.py over csrc/varint.c."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLong, PyLong_CheckExact
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from penstock.errors import InvalidValue
from penstock.protobuf._varint_py import (
    LARGEST,
    MASK,
    array_of,
    checked_dtype,
    checked_position,
    checked_value,
    no_varint,
    not_bytes,
)
from penstock.protobuf.errors import DecodeError, EncodeError

__all__ = ["decode_varint", "decode_varints", "encode_varint", "encode_varints", "zigzag_decode", "zigzag_encode"]

cdef extern from "varint.h" nogil:
    enum:
        PS_VARINT_MOST

    uint64_t ps_zigzag64(int64_t value)
    int64_t ps_unzigzag64(uint64_t word)
    const uint8_t *ps_varint_read(const uint8_t *at, const uint8_t *end, uint64_t *value)
    uint8_t *ps_varint_write(uint8_t *at, uint64_t value)
    bint ps_varints_count(const uint8_t *at, size_t size, size_t *count, size_t *bad)
    bint ps_varints_to_u64(const uint8_t *at, size_t size, bint zigzag, uint64_t *values, size_t n)
    bint ps_varints_to_u32(const uint8_t *at, size_t size, bint zigzag, uint32_t *values, size_t n)
    bint ps_varints_to_bool(const uint8_t *at, size_t size, uint8_t *values, size_t n)
    size_t ps_varints_size_u64(const uint64_t *values, size_t n, bint zigzag)
    size_t ps_varints_size_i32(const int32_t *values, size_t n, bint zigzag)
    size_t ps_varints_size_u32(const uint32_t *values, size_t n)
    uint8_t *ps_varints_write_u64(uint8_t *at, size_t size, const uint64_t *values, size_t n, bint zigzag)
    uint8_t *ps_varints_write_i32(uint8_t *at, size_t size, const int32_t *values, size_t n, bint zigzag)
    uint8_t *ps_varints_write_u32(uint8_t *at, size_t size, const uint32_t *values, size_t n)
    void ps_varints_write_bool(uint8_t *at, const uint8_t *values, size_t n)

cdef enum Width:  # as the kernel tells them apart; signs do not matter where all 64 bits are there
    WORDS
    SIGNED
    UNSIGNED
    BOOLS

cdef size_t LONG_BATCH = 30_000  # bytes to read or values to write, some 30 us: less is not worth the GIL


def encode_varint(value, /):
    """The shortest varint of `value`, 1 to 10 bytes.

    A signed integer of protobuf (int32, int64, an enum) is its two's complement in 64 bits: write
    `encode_varint(value & 2**64 - 1)`; sint32 and sint64 are `encode_varint(zigzag_encode(value))`.

    Args:
        value: 0 to 2**64 - 1.

    Raises:
        EncodeError: value is out of its range.
        TypeError: value is no int.

    Source: https://protobuf.dev/programming-guides/encoding#varints
    """
    cdef uint8_t octets[PS_VARINT_MOST]
    cdef uint8_t *end = ps_varint_write(octets, unsigned_of(value, EncodeError))
    return PyBytes_FromStringAndSize(<char *>octets, end - octets)


def decode_varint(data, position=0, /):
    """The varint at `position` and the position behind it.

    As protobuf does, it takes varints that are longer than they need be, up to 10 bytes, and drops the bits
    above the 64th.

    Args:
        data: bytes, or what lends them.
        position: 0 to len(data), bytes.

    Returns:
        The value, 0 to 2**64 - 1, and the position of the byte after its last.

    Raises:
        DecodeError: data ends within the varint, or it is longer than 10 bytes; `offset` is `position`.
        ValueError: position is out of its range.
        TypeError: data has no contiguous buffer, or position is no int.
    """
    cdef Py_buffer view
    if PyBytes_CheckExact(data):
        return varint_at(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), position)
    borrow(data, &view)
    try:
        return varint_at(<const uint8_t *>view.buf, view.len, position)
    finally:
        PyBuffer_Release(&view)


def zigzag_encode(value, /):
    """The number that stands for a signed one: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...

    Args:
        value: -2**63 to 2**63 - 1.

    Returns:
        0 to 2**64 - 1; 0 to 2**32 - 1 for what fits 32 bits, so it serves sint32 and sint64.

    Raises:
        EncodeError: value is out of its range.
        TypeError: value is no int.
    """
    return ps_zigzag64(signed_of(value))


def zigzag_decode(value, /):
    """The signed number that `value` stands for; the way back from `zigzag_encode`.

    Args:
        value: 0 to 2**64 - 1.

    Returns:
        -2**63 to 2**63 - 1.

    Raises:
        ValueError: value is out of its range.
        TypeError: value is no int.
    """
    return ps_unzigzag64(unsigned_of(value, InvalidValue))


def encode_varints(values, /, *, zigzag=False):
    """The varints of all values, back to back: a packed field of protobuf without its tag and length.

    Lets go of the GIL when there are many.

    Args:
        values: (n,) integers or bools, an array or a sequence. A negative one is written as its two's
            complement in 64 bits, so it takes 10 bytes, unless `zigzag`.
        zigzag: whether to write `zigzag_encode` of each value, as sint32 and sint64 are.

    Returns:
        n to 10 n bytes.

    Raises:
        EncodeError: a value has more than 64 bits, or is above 2**63 - 1 with `zigzag`.
        ValueError: values has not one dimension.
        TypeError: values are no integers.
    """
    cdef Py_buffer view
    cdef bint zigzagged = zigzag
    array = array_of(values, zigzagged)
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    try:
        return varints_of(&view, width_of(array.dtype), zigzagged)
    finally:
        PyBuffer_Release(&view)


def decode_varints(data, /, *, dtype="uint64", zigzag=False):
    """All varints of `data`, back to back: the content of a packed field of protobuf.

    Each keeps what fits the dtype, as protobuf does: int64 and uint64 the low 64 bits, int32 and uint32 the
    low 32, and bool is whether any bit of the 64 is set. Lets go of the GIL when there are many.

    Args:
        data: bytes, or what lends them.
        dtype: uint64, int64, uint32, int32 or bool, by name or as numpy writes it.
        zigzag: whether to take `zigzag_decode` of each, for sint32 and sint64; dtype is int32 or int64.

    Returns:
        (n,) of that dtype, n the number of varints.

    Raises:
        DecodeError: data ends within a varint, or one is longer than 10 bytes; `offset` is where it begins.
        ValueError: dtype is none of the five, or not signed with `zigzag`.
        TypeError: data has no contiguous buffer.
    """
    cdef Py_buffer view
    cdef bint zigzagged = zigzag
    kind = checked_dtype(dtype, zigzagged)
    borrow(data, &view)
    try:
        return values_of(&view, kind, zigzagged)
    finally:
        PyBuffer_Release(&view)


cdef inline uint64_t unsigned_of(object value, object error) except? 0:
    """A value of 0 to MASK; `error` for others."""
    cdef int overflow = 1
    cdef int64_t number = -1
    if PyLong_CheckExact(value):
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if not overflow and number >= 0:
        return <uint64_t>number
    try:
        return PyLong_AsUnsignedLongLong(value)
    except (OverflowError, TypeError):
        return PyLong_AsUnsignedLongLong(checked_value(value, 0, MASK, error))


cdef inline int64_t signed_of(object value) except? 0:
    """A value of -LARGEST - 1 to LARGEST."""
    cdef int overflow = 1
    cdef int64_t number = 0
    if PyLong_CheckExact(value):
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
    return checked_value(value, -1 - LARGEST, LARGEST) if overflow else number


cdef inline tuple varint_at(const uint8_t *octets, Py_ssize_t size, object position):
    cdef uint64_t value
    cdef int overflow = 1
    cdef int64_t start = 0
    if PyLong_CheckExact(position):
        start = PyLong_AsLongLongAndOverflow(position, &overflow)
    if overflow or not 0 <= start <= size:
        start = checked_position(position, size)
    cdef const uint8_t *end = ps_varint_read(octets + start, octets + size, &value)
    if end == NULL:
        raise no_varint(size, start)
    return value, end - octets


cdef int borrow(object data, Py_buffer *view) except -1:
    """The contiguous buffer of `data`, for PyBuffer_Release to give back."""
    try:
        return PyObject_GetBuffer(data, view, PyBUF_SIMPLE)
    except (TypeError, ValueError, BufferError):
        raise not_bytes(data) from None


cdef Width width_of(dtype):
    if dtype.itemsize == 8:
        return WORDS
    if dtype.itemsize == 1:
        return BOOLS
    return SIGNED if dtype.kind == "i" else UNSIGNED


cdef bytes varints_of(const Py_buffer *view, Width width, bint zigzag):
    cdef size_t n = <size_t>(view.len // view.itemsize)
    cdef size_t size
    cdef uint8_t *at
    cdef uint8_t *end
    cdef bint long_batch = n >= LONG_BATCH
    if long_batch:
        with nogil:
            size = size_of(view.buf, n, width, zigzag)
    else:
        size = size_of(view.buf, n, width, zigzag)
    cdef bytes octets = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
    at = <uint8_t *>PyBytes_AS_STRING(octets)
    if long_batch:
        with nogil:
            end = write(at, size, view.buf, n, width, zigzag)
    else:
        end = write(at, size, view.buf, n, width, zigzag)
    if end != at + size:
        raise EncodeError("values must not change while they are written")
    return octets


cdef object values_of(const Py_buffer *view, dtype, bint zigzag):
    import numpy as np

    cdef const uint8_t *octets = <const uint8_t *>view.buf
    cdef size_t size = <size_t>view.len
    cdef size_t n = 0
    cdef size_t bad = 0
    cdef bint fine
    cdef bint long_batch = size >= LONG_BATCH
    cdef Width width = width_of(dtype)
    cdef Py_buffer found
    if long_batch:
        with nogil:
            fine = ps_varints_count(octets, size, &n, &bad)
    else:
        fine = ps_varints_count(octets, size, &n, &bad)
    if not fine:
        raise no_varint(size, bad)
    values = np.empty(n, dtype)
    PyObject_GetBuffer(values, &found, PyBUF_WRITABLE)
    try:
        if long_batch:
            with nogil:
                fine = read(octets, size, found.buf, n, width, zigzag)
        else:
            fine = read(octets, size, found.buf, n, width, zigzag)
    finally:
        PyBuffer_Release(&found)
    if not fine:
        raise DecodeError("data must not change while it is read", offset=0)
    return values


cdef size_t size_of(const void *values, size_t n, Width width, bint zigzag) noexcept nogil:
    if width == WORDS:
        return ps_varints_size_u64(<const uint64_t *>values, n, zigzag)
    if width == SIGNED:
        return ps_varints_size_i32(<const int32_t *>values, n, zigzag)
    if width == UNSIGNED:
        return ps_varints_size_u32(<const uint32_t *>values, n)
    return n


cdef uint8_t *write(uint8_t *at, size_t size, const void *values, size_t n, Width width, bint zigzag) noexcept nogil:
    if width == WORDS:
        return ps_varints_write_u64(at, size, <const uint64_t *>values, n, zigzag)
    if width == SIGNED:
        return ps_varints_write_i32(at, size, <const int32_t *>values, n, zigzag)
    if width == UNSIGNED:
        return ps_varints_write_u32(at, size, <const uint32_t *>values, n)
    ps_varints_write_bool(at, <const uint8_t *>values, n)
    return at + n


cdef bint read(const uint8_t *octets, size_t size, void *values, size_t n, Width width, bint zigzag) noexcept nogil:
    if width == WORDS:
        return ps_varints_to_u64(octets, size, zigzag, <uint64_t *>values, n)
    if width == BOOLS:
        return ps_varints_to_bool(octets, size, <uint8_t *>values, n)
    return ps_varints_to_u32(octets, size, zigzag, <uint32_t *>values, n)
