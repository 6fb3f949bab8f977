"""What a compiled histogram consists of, for modules that count without Python and merge at the end."""

cimport cython
from libc.stdint cimport int32_t, int64_t

cdef extern from "histogram.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size)
        void (*release)(void *memory)

    ctypedef struct ps_histogram:
        int64_t *counts
        int64_t total
        int64_t lowest
        int64_t highest
        int32_t length
        int32_t first
        int32_t last


cdef class Histogram:
    cdef ps_histogram counted
    cdef int64_t _limit
    cdef object layout, __weakref__

    @cython.final
    cdef int64_t value_of(self, value) except? -1
    @cython.final
    cdef int record_apart(self, const int64_t[::1] view) except -1
    @cython.final
    cdef bytes payload(self)
    @cython.final
    cdef refused(self, value, n)
    @cython.final
    cdef refused_many(self, const int64_t[::1] view, size_t done)
