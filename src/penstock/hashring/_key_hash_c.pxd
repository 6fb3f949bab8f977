"""A compiled KeyHash, for the modules that hash keys without Python.

At this level the two calls have `_of` in their names, as a class has one member of a name:
`position_of(key, &out)` for `position(key)`, `positions_of(keys, n, out)` for `positions(keys)`.
A module that cimports this one needs no kernel of it: what is inlined is all in the header.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const uint8_t *PyUnicode_1BYTE_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef extern from "key_hash.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef enum ps_hash_kind:
        PS_HASH_KINDS

    ctypedef struct ps_key_hash:
        uint64_t seed
        ps_hash_kind kind
        uint32_t shift

    ctypedef struct ps_key:
        const uint8_t *bytes
        size_t size
        size_t at

    bint ps_key_hash_is_short(const ps_key_hash *hash, size_t size)
    uint64_t ps_xxh3_64_short(const uint8_t *bytes, size_t size, uint64_t seed)


cdef inline bint find_bytes(object key, const uint8_t **bytes, size_t *size):
    """Where the bytes of a key are. False: it is neither ASCII text nor bytes, and there are none yet."""
    if PyUnicode_CheckExact(key) and PyUnicode_IS_COMPACT_ASCII(key):
        bytes[0], size[0] = PyUnicode_1BYTE_DATA(key), <size_t>PyUnicode_GET_LENGTH(key)
        return True
    if PyBytes_CheckExact(key):
        bytes[0], size[0] = <const uint8_t *>PyBytes_AS_STRING(key), <size_t>PyBytes_GET_SIZE(key)
        return True
    return False


cdef enum:
    HELD = 1024  # keys


cdef struct held_keys:  # keys of a list that are hashed without the GIL
    size_t n
    ps_key keys[HELD]
    PyObject *owners[HELD]  # of the bytes


@cython.final
cdef class KeyHash:
    cdef ps_key_hash hash
    cdef object _name, _function
    cdef bint begun

    # The position of a key: its hash, moved up to the highest of 64 bits.
    cdef inline int position_of(self, object key, uint64_t *out) except -1:
        cdef const uint8_t *bytes
        cdef size_t size
        if not find_bytes(key, &bytes, &size):
            return self.position_of_any(key, out)
        if ps_key_hash_is_short(&self.hash, size):
            out[0] = ps_xxh3_64_short(bytes, size, self.hash.seed)
            return 0
        return self.position_of_bytes(key, bytes, size, out)

    # The positions of n keys: a list or tuple, or an array as _key_hash_py.checked_keys lets it through.
    # Lets go of the GIL again and again, unless the hash is a callable. `out` has room for n.
    cdef int positions_of(self, object keys, Py_ssize_t n, uint64_t *out) except -1

    cdef int position_of_bytes(self, object key, const uint8_t *bytes, size_t size, uint64_t *out) except -1
    cdef int position_of_any(self, object key, uint64_t *out) except -1
    cdef int positions_called(self, object keys, Py_ssize_t n, uint64_t *out) except -1
    cdef int positions_of_list(self, object keys, Py_ssize_t n, uint64_t *out) except -1
    cdef Py_ssize_t take_turn(self, held_keys *held, object keys, Py_ssize_t start, Py_ssize_t stop,
                              uint64_t *out) except -1
    cdef int hash_or_hold(self, held_keys *held, object key, size_t at, uint64_t *out) except -1
    cdef int positions_of_padded(self, object keys, Py_ssize_t n, uint64_t *out) except -1
    cdef int positions_of_text(self, object keys, Py_ssize_t n, uint64_t *out) except -1
    cdef int positions_of_words(self, object keys, Py_ssize_t n, uint64_t *out) except -1
    cdef tuple identity(self)
    cdef object placed(self, object keys)
