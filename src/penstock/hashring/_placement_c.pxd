"""What a compiled placement consists of, for the modules of this room that call it without Python."""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from penstock.hashring._key_hash_c cimport KeyHash


cdef class Placement:
    cdef tuple _nodes
    cdef KeyHash _hash
    cdef object __weakref__

    cdef int refuse_twice(self) except -1
    cdef int begin(self, tuple nodes, KeyHash hash) except -1
    cdef uint32_t locate(self, uint64_t position) noexcept nogil
    cdef void locate_all(self, const uint64_t *positions, Py_ssize_t n, int32_t *indices) noexcept nogil
    cdef int order(self, uint64_t position, Py_ssize_t n, uint32_t *indices) except -1
