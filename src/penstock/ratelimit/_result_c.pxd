"""What compiled limiters fill in."""

from libc.stdint cimport int64_t


cdef class RateLimitResult:
    cdef bint _allowed
    cdef int64_t _limit
    cdef int64_t _remaining
    cdef int64_t _retry_ns
    cdef int64_t _reset_ns
    cdef int64_t _window_ns
    cdef tuple fields(self)


cdef inline RateLimitResult result_of(bint allowed, int64_t limit, int64_t remaining, int64_t retry_ns,
                                      int64_t reset_ns, int64_t window_ns):
    """A result of nanoseconds, as limiters have them."""
    cdef RateLimitResult result = RateLimitResult.__new__(RateLimitResult)
    result._allowed = allowed
    result._limit = limit
    result._remaining = remaining
    result._retry_ns = retry_ns
    result._reset_ns = reset_ns
    result._window_ns = window_ns
    return result
