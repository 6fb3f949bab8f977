"""The compiled ResponseParser, for the engines that receive without Python."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t

cdef extern from "http_response.h" nogil:
    ctypedef enum ps_status:
        PS_OK
        PS_REFUSED

    ctypedef enum ps_http_problem:
        PS_HTTP_BAD_CHUNK
        PS_HTTP_EARLY_END

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size)
        void (*release)(void *memory)

    ctypedef struct ps_http_limits:
        size_t max_head
        uint64_t max_body
        uint64_t keep_body

    ctypedef struct ps_http_buffer:
        uint8_t *bytes
        size_t size

    ctypedef struct ps_http:
        uint16_t status
        bint keep_alive
        bint truncated
        size_t head_size
        size_t reason_at
        size_t reason_size
        uint64_t size
        ps_http_buffer head
        ps_http_buffer body
        ps_http_problem problem
        bint begun
        uint8_t culprit
        size_t line_at
        ps_http_limits limits

    bint ps_http_done(const ps_http *answer)
    bint ps_http_head_done(const ps_http *answer)


cdef class ResponseParser:
    cdef ps_http answer

    # Takes bytes up to the end of the answer and says how many; raises BadResponse, MemoryError.
    cdef Py_ssize_t take(self, const uint8_t *bytes, size_t size) except -1
    cdef object failure(self)
