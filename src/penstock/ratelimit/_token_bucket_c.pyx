"""Token bucket, compiled: the twin of _token_bucket_py.py over csrc/token_bucket.c."""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.math cimport llrint
from libc.stdint cimport int64_t, uint64_t

from math import floor

from penstock.clock import checked_clock
from penstock.ratelimit._token_bucket_py import checked_pace, cost_in_ticks

__all__ = ["TokenBucket"]

cdef extern from "clock.h" nogil:
    int64_t ps_monotonic_ns()

cdef extern from "token_bucket.h" nogil:
    ctypedef enum ps_status:
        PS_OK

    ctypedef struct ps_pace:
        uint64_t speed
        int64_t token
        int64_t depth
        int64_t epoch

    ctypedef struct ps_token_bucket:
        ps_pace pace

    void ps_token_bucket_init(ps_token_bucket *bucket, ps_pace pace, int64_t missing)
    ps_status ps_token_bucket_take(ps_token_bucket *bucket, int64_t now, int64_t cost)
    int64_t ps_token_bucket_level(const ps_token_bucket *bucket, int64_t now)
    int64_t ps_token_bucket_wait(const ps_token_bucket *bucket, int64_t now, int64_t cost)

cdef object ONE = 1  # what the default argument is, so that allow() needs no arithmetic


cdef class TokenBucket:
    """TokenBucket(rate, capacity, *, initial=None, clock=None)\n--\n
    A bucket that fills with `rate` tokens a second up to `capacity`, and gives them away.

    Exact for every rate, however long it runs: `TokenBucket(7, 7)` gives 604,800 tokens a day. Threads
    may share a bucket; nothing waits, and no object or thread works in the background.

    Args:
        rate: tokens a second, > 0 and at most 1e9. Fractions are welcome.
        capacity: tokens the full bucket holds, >= 1: the largest burst.
        initial: tokens at the start, 0 to `capacity`; None for a full bucket.
        clock: returns int nanoseconds that do not go back; None for the monotonic clock of the system.

    Raises:
        ValueError: an argument is out of its range, or an empty bucket would take over 36 years to fill.
        TypeError: an argument is no number, or clock is not callable.

    Source: ITU-T I.371, generic cell rate algorithm; one int64 of state.
    """

    cdef ps_token_bucket bucket
    cdef double plain  # the largest n whose ticks are computed here; more than that, or odd types, elsewhere
    cdef object _rate, _capacity, _clock

    def __init__(self, rate, capacity, *, initial=None, clock=None):
        cdef ps_pace pace
        pace.speed, pace.token, pace.depth, missing = checked_pace(rate, capacity, initial)
        checked_clock(clock)
        self._rate = rate
        self._capacity = capacity
        self.plain = min(floor(capacity), 1 << 53)
        self._clock = clock
        pace.epoch = self.now()
        ps_token_bucket_init(&self.bucket, pace, missing)

    def __repr__(self):
        return f"TokenBucket(rate={self._rate!r}, capacity={self._capacity!r})"

    @property
    def rate(self):
        """Tokens a second."""
        return self._rate

    @property
    def capacity(self):
        """Tokens that the full bucket holds."""
        return self._capacity

    @property
    def tokens(self):
        """Tokens that are there now, 0 to `capacity`."""
        return <double>ps_token_bucket_level(&self.bucket, self.now()) / <double>self.bucket.pace.token

    def allow(self, n=1, /):
        """Takes `n` tokens if they are there; never waits.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Returns:
            True: the tokens are taken. False: too few, none taken.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
        """
        cdef int64_t cost = self.cost_of(n)
        return ps_token_bucket_take(&self.bucket, self.now(), cost) == PS_OK

    def retry_after(self, n=1, /):
        """Seconds until `n` tokens will be there if nobody takes any until then; takes none.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Returns:
            Seconds, 0.0 when `allow(n)` would succeed now; to the nanosecond when rounded to it.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
        """
        cdef int64_t cost = self.cost_of(n)
        return <double>ps_token_bucket_wait(&self.bucket, self.now(), cost) / 1e9

    cdef inline int64_t cost_of(self, n) except -1:
        cdef int overflow = 0
        cdef double amount = 0
        if n is ONE:
            return self.bucket.pace.token
        if type(n) is int:
            amount = <double>PyLong_AsLongLongAndOverflow(n, &overflow)
        elif type(n) is float:
            amount = n
        if 0 < amount <= self.plain and not overflow:
            return max(1, llrint(amount * <double>self.bucket.pace.token))  # to even, as round() does
        return cost_in_ticks(n, self._capacity, self.bucket.pace.token)

    cdef inline int64_t now(self) except? -1:
        if self._clock is None:
            return ps_monotonic_ns()
        return self._clock()
