"""Sliding window, compiled: the twin of _sliding_window_py.py over csrc/sliding_window.c."""

cimport cython
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport int64_t, uint32_t

from penstock.clock import checked_clock
from penstock.ratelimit._copying import refuse_copy
from penstock.ratelimit._result_c cimport RateLimitResult, result_of
from penstock.ratelimit.quota import Quota, checked_units

__all__ = ["SlidingWindow"]

cdef extern from "clock.h" nogil:
    int64_t ps_monotonic_ns()

cdef extern from "sliding_window.h":
    ctypedef enum ps_status:
        PS_OK
        PS_NO_MEMORY

    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size) noexcept
        void (*release)(void *memory) noexcept

    ctypedef struct ps_window:
        int64_t period
        int64_t epoch
        uint32_t limit

    ctypedef struct ps_sliding_window:
        uint32_t capacity

    void ps_sliding_window_free(ps_sliding_window *log, ps_allocator allocator) noexcept
    ps_status ps_sliding_window_take(ps_sliding_window *log, const ps_window *window, int64_t now,
                                     uint32_t n, ps_allocator allocator) noexcept
    uint32_t ps_sliding_window_units(const ps_sliding_window *log, const ps_window *window,
                                     int64_t now) noexcept
    int64_t ps_sliding_window_wait(const ps_sliding_window *log, const ps_window *window, int64_t now,
                                   uint32_t n) noexcept
    int64_t ps_sliding_window_reset(const ps_sliding_window *log, const ps_window *window,
                                    int64_t now) noexcept
    void ps_sliding_window_refund(ps_sliding_window *log, uint32_t n) noexcept

cdef object ONE = 1  # what the default argument is, so that allow() needs no arithmetic
cdef ps_allocator ALLOCATOR
ALLOCATOR.resize = PyMem_Realloc
ALLOCATOR.release = PyMem_Free


cdef class SlidingWindow:
    """SlidingWindow(limit, period=1.0, *, clock=None)\n--\n
    At most `limit` units in any stretch of `period` seconds, to the nanosecond: a log of all hits.

    A hit counts for `period` seconds, the last nanosecond included; then it is forgotten. Threads may share
    a window; nothing waits, and no object or thread works in the background.

    It costs 8 bytes for each unit that counts, up to `8 * limit`, rounded up to a power of two; the memory is
    kept until `reset`. Where that is too much, SlidingWindowCounter takes 16 bytes in all.

    Args:
        limit: units, 1 to 2**30.
        period: seconds, or a timedelta; at least 1 ns for a unit, and at most 36 years.
        clock: returns int nanoseconds that do not go back; None for the monotonic clock of the system. One
            that goes back counts as standing still.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no number of its kind, or clock is not callable.

    Source: example 37 of the system design examples (sliding window log), with a ring in place of a filter.
    """

    cdef ps_window window
    cdef ps_sliding_window log
    cdef object _period, _clock

    def __cinit__(self):
        self.window.limit = self.window.period = 1  # for one that nobody initialises

    def __init__(self, limit, period=1.0, *, clock=None):
        cdef ps_window window
        quota = Quota(limit, period)
        window.limit = quota.limit
        window.period = quota.period_ns
        if clock is not None:
            clock = checked_clock(clock)
        window.epoch = ps_monotonic_ns() if clock is None else clock()
        with cython.critical_section(self):
            self.window = window
            self._period = quota.period
            self._clock = clock
            ps_sliding_window_free(&self.log, ALLOCATOR)

    def __dealloc__(self):
        ps_sliding_window_free(&self.log, ALLOCATOR)

    def __repr__(self):
        return f"SlidingWindow(limit={self.limit}, period={self._period})"

    def __sizeof__(self):
        return object.__sizeof__(self) + <size_t>self.log.capacity * sizeof(int64_t)

    def __reduce__(self):
        refuse_copy(self)

    @property
    def limit(self):
        """Units that any stretch of the period allows."""
        return self.window.limit

    @property
    def period(self):
        """Seconds."""
        return self._period

    def allow(self, n=1, /):
        """Takes `n` units if they fit; never waits.

        Args:
            n: units, 1 to `limit`.

        Returns:
            True: they are taken. False: too few are left, none taken.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int.
        """
        cdef uint32_t units = self.units_of(n)
        cdef int64_t now = self.now()
        cdef ps_status status
        with cython.critical_section(self):
            status = ps_sliding_window_take(&self.log, &self.window, now, units, ALLOCATOR)
        if status == PS_NO_MEMORY:
            raise MemoryError
        return status == PS_OK

    def check(self, n=1, /):
        """Takes `n` units if they fit, as `allow` does, and tells how the window stands then.

        Args:
            n: units, 1 to `limit`.

        Returns:
            `reset_after` is the time for which the newest hit still counts, the period after a hit that was
            allowed. After `retry_after`, to the nanosecond, `n` units fit if nobody takes any until then.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int.
        """
        cdef uint32_t units = self.units_of(n)
        cdef int64_t now = self.now()
        cdef ps_status status
        cdef int64_t remaining, wait = 0, left
        with cython.critical_section(self):
            status = ps_sliding_window_take(&self.log, &self.window, now, units, ALLOCATOR)
            remaining, left = self.remaining_at(now), self.left_at(now)
            if status != PS_OK:
                wait = ps_sliding_window_wait(&self.log, &self.window, now, units)
        if status == PS_NO_MEMORY:
            raise MemoryError
        return result_of(status == PS_OK, self.window.limit, remaining, wait, left, self.window.period)

    def peek(self):
        """What `check` would find for one unit; takes none."""
        cdef int64_t now = self.now()
        cdef int64_t remaining, wait, left
        with cython.critical_section(self):
            remaining, left = self.remaining_at(now), self.left_at(now)
            wait = ps_sliding_window_wait(&self.log, &self.window, now, 1)
        return result_of(wait == 0, self.window.limit, remaining, wait, left, self.window.period)

    def retry_after(self, n=1, /):
        """Seconds until `n` units fit if nobody takes any until then; takes none.

        Args:
            n: units, 1 to `limit`.

        Returns:
            Seconds, 0.0 when `allow(n)` would succeed now; to the nanosecond when rounded to it.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int.
        """
        cdef uint32_t units = self.units_of(n)
        cdef int64_t now = self.now()
        cdef int64_t wait
        with cython.critical_section(self):
            wait = ps_sliding_window_wait(&self.log, &self.window, now, units)
        return <double>wait / 1e9

    def refund(self, n=1, /):
        """Takes back the newest `n` units, or all that there are.

        Args:
            n: units, 1 to `limit`.

        Raises:
            ValueError: n is out of its range.
            TypeError: n is no int.
        """
        cdef uint32_t units = self.units_of(n)
        with cython.critical_section(self):
            ps_sliding_window_refund(&self.log, units)

    def reset(self):
        """Forgets all hits, and gives their memory back."""
        with cython.critical_section(self):
            ps_sliding_window_free(&self.log, ALLOCATOR)

    cdef inline int64_t remaining_at(self, int64_t now):
        return <int64_t>self.window.limit - ps_sliding_window_units(&self.log, &self.window, now)

    cdef inline int64_t left_at(self, int64_t now):
        """For how long the newest hit still counts: it is gone one nanosecond later."""
        return max(ps_sliding_window_reset(&self.log, &self.window, now) - 1, 0)

    cdef inline int64_t units_of(self, n) except -1:
        cdef int overflow = 0
        cdef int64_t units
        if n is ONE:
            return 1
        if type(n) is int:
            units = PyLong_AsLongLongAndOverflow(n, &overflow)
            if 1 <= units <= self.window.limit and not overflow:
                return units
        return checked_units(n, self.window.limit)

    cdef inline int64_t now(self) except? -1:
        if self._clock is None:
            return ps_monotonic_ns()
        return self._clock()
