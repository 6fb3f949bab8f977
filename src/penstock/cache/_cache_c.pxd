"""What a compiled cache consists of, for the modules of this room that call it without Python."""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "cache.h" nogil:
    ctypedef enum ps_policy:
        PS_LRU
        PS_FIFO
        PS_LFU
        PS_SIEVE
        PS_S3FIFO
        PS_TINYLFU

    ctypedef enum ps_cause:
        PS_EXPLICIT
        PS_REPLACED
        PS_SIZE
        PS_EXPIRED
        PS_CLEARED

    ctypedef struct ps_slot:
        void *key
        void *value
        int64_t deadline

    ctypedef struct ps_eviction:
        ps_policy policy

    ctypedef struct ps_cache:
        ps_eviction eviction
        uint32_t limit
        uint32_t used
        uint32_t removed
        int64_t max_weight
        int64_t weight
        bint has_extras
        uint64_t removals[5]


cdef class Cache:
    cdef ps_cache kept
    cdef uint64_t version  # changes whenever a slot is handed out or taken back
    cdef int64_t lifetime, idle
    cdef double _jitter
    cdef bint timed  # an entry has had a deadline
    cdef Py_ssize_t hits, misses, inserts, rejections
    cdef object _ttl, _tti, _weigher, _on_remove, _clock, __weakref__
    cdef readonly object _flights
    cdef dict computed  # the table of flights: not empty while something is computed

    @cython.final
    cdef object found(self, key, otherwise)

    @cython.final
    cdef int64_t begin(self) except? -1
    @cython.final
    cdef uint32_t lookup(self, key) except? 0xFFFFFFFF
    @cython.final
    cdef object missing(self, key)
    @cython.final
    cdef list entries(self, bint with_times)
    @cython.final
    cdef int restore_times(self, key, int64_t most, int64_t until) except -1
    @cython.final
    cdef int64_t given(self, ttl) except -1
    @cython.final
    cdef int64_t begin_life(self, int64_t lifetime) except -1
    @cython.final
    cdef void live_from(self, uint32_t slot, int64_t now, int64_t lifetime) noexcept
    @cython.final
    cdef int64_t weigh(self, key, value) except -1
    @cython.final
    cdef object store(self, key, value, int64_t lifetime, bint keep)
    @cython.final
    cdef int insert(
        self, key, value, uint32_t hashed, int64_t weight, int64_t now, int64_t lifetime
    ) except -1
    @cython.final
    cdef object replace(
        self, uint32_t slot, key, value, int64_t weight, int64_t now, int64_t lifetime, bint keep
    )
    @cython.final
    cdef int reject(self, key, value) except -1
    @cython.final
    cdef object remove(self, key)
    @cython.final
    cdef int drop(self, uint32_t slot, ps_cause cause) except -1
    @cython.final
    cdef int settle(self) except -1
    @cython.final
    cdef int settle_all(self) except -1
    @cython.final
    cdef int shrink(self) except -1
    @cython.final
    cdef uint32_t find_by_comparing(self, key, uint32_t hashed) except? 0xFFFFFFFF
    @cython.final
    cdef bint compare(self, PyObject *held, key) except -1
