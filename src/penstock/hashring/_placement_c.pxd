"""What a compiled placement consists of, for the modules of this room that call it without Python."""

cimport cython
from libc.stdint cimport int32_t, uint32_t, uint64_t

from penstock.hashring._key_hash_c cimport KeyHash


@cython.no_gc_clear  # no lookup may find it half gone; a cycle leads through the hash, which is cleared
cdef class Placement:
    cdef tuple _nodes
    cdef KeyHash _hash
    cdef bint begun  # it has its nodes, maybe none, and keeps them
    cdef object __weakref__

    cdef int refuse_twice(self) except -1
    cdef int begin(self, tuple nodes, KeyHash hash) except -1
    cdef uint32_t locate(self, uint64_t position) noexcept nogil
    cdef void locate_all(self, const uint64_t *positions, Py_ssize_t n, int32_t *indices) noexcept nogil
    cdef int order(self, uint64_t position, Py_ssize_t n, uint32_t *indices) except -1
