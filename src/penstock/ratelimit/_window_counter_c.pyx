"""Sliding window counter, compiled: the twin of _window_counter_py.py over csrc/window_counter.c."""

cimport cython
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint32_t

from penstock.clock import checked_clock
from penstock.ratelimit._copying import refuse_copy
from penstock.ratelimit._result_c cimport RateLimitResult, result_of
from penstock.ratelimit.quota import Quota, checked_units

__all__ = ["SlidingWindowCounter"]

cdef extern from "clock.h" nogil:
    int64_t ps_monotonic_ns()

cdef extern from "window_counter.h":
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_window:
        int64_t period
        int64_t epoch
        uint32_t limit

    ctypedef struct ps_window_counter:
        int64_t number
        uint32_t current
        uint32_t previous

    ps_status ps_window_counter_take(ps_window_counter *counter, const ps_window *window, bint slides,
                                     int64_t now, uint32_t n) noexcept
    uint32_t ps_window_counter_units(const ps_window_counter *counter, const ps_window *window, bint slides,
                                     int64_t now) noexcept
    int64_t ps_window_counter_wait(const ps_window_counter *counter, const ps_window *window, bint slides,
                                   int64_t now, uint32_t n) noexcept
    int64_t ps_window_counter_reset(const ps_window_counter *counter, const ps_window *window, bint slides,
                                    int64_t now) noexcept
    void ps_window_counter_refund(ps_window_counter *counter, const ps_window *window, bint slides,
                                  int64_t now, uint32_t n) noexcept

cdef object ONE = 1  # what the default argument is, so that allow() needs no arithmetic
cdef bint SLIDES = True


cdef class SlidingWindowCounter:
    """SlidingWindowCounter(limit, period=1.0, *, clock=None)\n--\n
    Nearly `limit` units in any stretch of `period` seconds, in 16 bytes whatever the limit: two counters.

    Time is cut into windows of a period. What counts is the units of the present window and those of the
    last one, by the share of it that the last `period` seconds still cover, as if they had come evenly
    spread. Threads may share a counter; nothing waits, and no object or thread works in the background.

    In no window more than `limit` units are allowed, in any other stretch of `period` seconds fewer than
    `2 * limit`. Evenly spread units count as they are, or as one more. SlidingWindow is exact.

    Args:
        limit: units, 1 to 2**30.
        period: seconds, or a timedelta; at least 1 ns for a unit, and at most 36 years.
        clock: returns int nanoseconds that do not go back; None for the monotonic clock of the system. One
            that goes back counts as standing still, at most back to the start of the window.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no number of its kind, or clock is not callable.

    Source: J. Desgats, How we built rate limiting capable of scaling to millions of domains, 2017.
    """

    cdef ps_window window
    cdef ps_window_counter counter
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
            self.counter = ps_window_counter(0, 0, 0)

    def __repr__(self):
        return f"SlidingWindowCounter(limit={self.limit}, period={self._period})"

    def __reduce__(self):
        refuse_copy(self)

    @property
    def limit(self):
        """Units that every window allows."""
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
            status = ps_window_counter_take(&self.counter, &self.window, SLIDES, now, units)
        return status == PS_OK

    def check(self, n=1, /):
        """Takes `n` units if they fit, as `allow` does, and tells how the window stands then.

        Args:
            n: units, 1 to `limit`.

        Returns:
            `remaining` is rounded down to whole units. `reset_after` is the time until no unit counts, one to
            two periods after a hit. After `retry_after`, to the nanosecond, `n` units fit if nobody takes any
            until then.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int.
        """
        cdef uint32_t units = self.units_of(n)
        cdef int64_t now = self.now()
        cdef ps_status status
        cdef int64_t remaining, wait = 0, left
        with cython.critical_section(self):
            status = ps_window_counter_take(&self.counter, &self.window, SLIDES, now, units)
            remaining, left = self.remaining_at(now), self.left_at(now)
            if status != PS_OK:
                wait = ps_window_counter_wait(&self.counter, &self.window, SLIDES, now, units)
        return result_of(status == PS_OK, self.window.limit, remaining, wait, left, self.window.period)

    def peek(self):
        """What `check` would find for one unit; takes none."""
        cdef int64_t now = self.now()
        cdef int64_t remaining, wait, left
        with cython.critical_section(self):
            remaining, left = self.remaining_at(now), self.left_at(now)
            wait = ps_window_counter_wait(&self.counter, &self.window, SLIDES, now, 1)
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
            wait = ps_window_counter_wait(&self.counter, &self.window, SLIDES, now, units)
        return <double>wait / 1e9

    def refund(self, n=1, /):
        """Takes back up to `n` units of the present window.

        Args:
            n: units, 1 to `limit`.

        Raises:
            ValueError: n is out of its range.
            TypeError: n is no int.
        """
        cdef uint32_t units = self.units_of(n)
        cdef int64_t now = self.now()
        with cython.critical_section(self):
            ps_window_counter_refund(&self.counter, &self.window, SLIDES, now, units)

    def reset(self):
        """Forgets all hits."""
        with cython.critical_section(self):
            self.counter = ps_window_counter(0, 0, 0)

    cdef inline int64_t remaining_at(self, int64_t now):
        return <int64_t>self.window.limit - ps_window_counter_units(&self.counter, &self.window, SLIDES, now)

    cdef inline int64_t left_at(self, int64_t now):
        return ps_window_counter_reset(&self.counter, &self.window, SLIDES, now)

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
