"""Token bucket, compiled: the twin of _token_bucket_py.py over csrc/token_bucket.c."""

cimport cython
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.math cimport llrint
from libc.stdint cimport int64_t, uint64_t

from penstock.ratelimit._result_c cimport result_of

from math import floor

from penstock.clock import checked_clock
from penstock.ratelimit._copying import refuse_copy
from penstock.ratelimit._reservations import Ledger
from penstock.ratelimit._token_bucket_py import Pace, checked_pace, cost_in_ticks, only_quota
from penstock.ratelimit._waiting import checked_timeout

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

    int64_t ps_pace_first(const ps_pace *pace, int64_t tick)
    void ps_token_bucket_init(ps_token_bucket *bucket, ps_pace pace, int64_t missing)
    ps_status ps_token_bucket_take(ps_token_bucket *bucket, int64_t now, int64_t cost)
    int64_t ps_token_bucket_level(const ps_token_bucket *bucket, int64_t now)
    int64_t ps_token_bucket_wait(const ps_token_bucket *bucket, int64_t now, int64_t cost)
    int64_t ps_token_bucket_full_at(const ps_token_bucket *bucket)
    ps_status ps_token_bucket_swap(ps_token_bucket *bucket, int64_t seen, int64_t then)
    ps_status ps_token_bucket_change(ps_token_bucket *bucket, ps_pace pace, int64_t seen, int64_t then)

cdef object ONE = 1  # what the default argument is, so that allow() needs no arithmetic


# The clock is read before anything else: it may be Python code, in which set_rate can come between. From then on
# a call holds its bucket: by the GIL, or where there is none by the critical section.
cdef class TokenBucket:
    """TokenBucket(rate, capacity, *, initial=None, clock=None)\n--\n
    A bucket that fills with `rate` tokens a second up to `capacity`, and gives them away.

    Exact for every rate, however long it runs: `TokenBucket(7, 7)` gives 604,800 tokens a day. Threads and
    event loops may share a bucket; no object or thread works in the background.

    First come, first served: whoever reserves or waits is charged at once, as a debt if need be, and as long
    as there are debts `allow` refuses everybody.

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
    cdef object _rate, _capacity, _clock, ledger

    def __cinit__(self):
        cdef ps_pace pace  # of one that nobody initialises
        pace.speed, pace.token, pace.depth, pace.epoch = 1, 1, 1, 0
        ps_token_bucket_init(&self.bucket, pace, 0)

    def __init__(self, rate, capacity, *, initial=None, clock=None):
        cdef ps_pace pace
        pace.speed, pace.token, pace.depth, missing = checked_pace(rate, capacity, initial)
        real_clock = checked_clock(clock)
        self._clock = None if clock is None else real_clock
        pace.epoch = self.now()
        self.describe(rate, capacity)
        ps_token_bucket_init(&self.bucket, pace, missing)
        self.ledger = Ledger(real_clock, Pace(pace.speed, pace.token, pace.depth, pace.epoch, rate, capacity))

    @classmethod
    def from_quota(cls, quota, *, initial=None, clock=None):
        """A bucket of `quota.limit` tokens every `quota.period` seconds, that holds `quota.burst`.

        Args:
            quota: a Quota, or a string such as `100/second; burst=200`.
            initial: as for the class.
            clock: as for the class.

        Raises:
            ValueError: it is no quota, or several, or `initial` is out of its range.
            TypeError: it is neither a Quota nor a string.
        """
        each = only_quota(quota)
        return cls(each.rate, each.burst, initial=initial, clock=clock)

    def __repr__(self):
        return f"TokenBucket(rate={self._rate!r}, capacity={self._capacity!r})"

    def __reduce__(self):
        refuse_copy(self)

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
        cdef int64_t now = self.now()
        cdef double there
        with cython.critical_section(self):
            there = <double>ps_token_bucket_level(&self.bucket, now) / <double>self.bucket.pace.token
        return there

    def allow(self, n=1, /):
        """Takes `n` tokens if they are there; never waits.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Returns:
            True: the tokens are taken. False: too few, none taken.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
        """
        return self.take(n)

    def acquire(self, n=1, /, *, timeout=None):
        """Takes `n` tokens, and blocks the thread until they are there. First come, first served.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.
            timeout: seconds to wait at most; 0 for not at all, None for no end. What would take longer is
                refused at once, without a wait.

        Returns:
            True: the tokens are taken. False: they would not be there within `timeout`, none are taken.

        Raises:
            ValueError: n is out of its range, or timeout is negative or nan.
            LimiterFull: a million wait already, or so many that it would take 36 years.
        """
        if timeout is not None:
            checked_timeout(timeout)
        return self.take(n) or self.ledger.acquire(self, n, timeout)

    async def acquire_async(self, n=1, /, *, timeout=None):
        """As `acquire`, while other tasks run. A task that is cancelled gives its tokens back.

        Tasks of several event loops, and threads in `acquire`, wait in one line.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.
            timeout: seconds to wait at most; 0 for not at all, None for no end. What would take longer is
                refused at once, without a wait.

        Returns:
            True: the tokens are taken. False: they would not be there within `timeout`, none are taken.

        Raises:
            ValueError: n is out of its range, or timeout is negative or nan.
            LimiterFull: a million wait already, or so many that it would take 36 years.
        """
        if timeout is not None:
            checked_timeout(timeout)
        return self.take(n) or await self.ledger.acquire_async(self, n, timeout)

    def reserve(self, n=1, /):
        """Takes `n` tokens now or, if they are not there, as soon as they will be; never waits.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Returns:
            The promise: `delay` seconds from now the tokens are there, `cancel()` gives it back.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            LimiterFull: a million are pending already, or so many that it would take 36 years.
        """
        return self.ledger.reserve(self, n)

    def refund(self, n=1, /):
        """Puts `n` tokens back that were taken and not used, never above `capacity`.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Raises:
            ValueError: n is out of its range.
        """
        self.ledger.refund(self, n)

    def peek(self):
        """What `allow()` would say now, and how full the bucket is; takes none."""
        cdef int64_t now = self.now()
        cdef int64_t token, there
        cdef ps_pace *pace = &self.bucket.pace
        with cython.critical_section(self):
            token = pace.token
            there = ps_token_bucket_level(&self.bucket, now)
            result = result_of(
                there >= token,
                pace.depth // token,
                there // token,
                ps_token_bucket_wait(&self.bucket, now, token),
                ps_token_bucket_wait(&self.bucket, now, pace.depth),
                ps_pace_first(pace, pace.depth),
            )
        return result

    def retry_after(self, n=1, /):
        """Seconds until `n` tokens will be there if nobody takes any until then; takes none.

        Args:
            n: tokens, > 0 and at most `capacity`; may be a fraction.

        Returns:
            Seconds, 0.0 when `allow(n)` would succeed now; to the nanosecond when rounded to it.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
        """
        cdef int64_t now = self.now()
        cdef int64_t wait
        with cython.critical_section(self):
            wait = ps_token_bucket_wait(&self.bucket, now, self.cost_of(n))
        return <double>wait / 1e9

    def set_rate(self, rate, capacity=None):
        """Fills with `rate` tokens a second from now on.

        The tokens that are there stay, up to the new capacity. What was promised stays promised, and comes at
        the new rate.

        Args:
            rate: tokens a second, > 0 and at most 1e9.
            capacity: tokens the full bucket holds, >= 1; None leaves it as it is.

        Raises:
            ValueError: an argument is out of its range, or to fill an empty bucket or to keep what was
                promised would take over 36 years. Nothing has changed then.
            TypeError: an argument is no number.
        """
        size = self._capacity if capacity is None else capacity
        speed, token, depth, _ = checked_pace(rate, size, None)
        self.ledger.set_pace(self, Pace(speed, token, depth, self.bucket.pace.epoch, rate, size))

    @property
    def _full_at(self):
        return ps_token_bucket_full_at(&self.bucket)

    def _swap(self, int64_t seen, int64_t then):
        return ps_token_bucket_swap(&self.bucket, seen, then) == PS_OK

    def _change(self, pace, int64_t seen, int64_t then):
        cdef ps_pace new
        cdef bint changed
        new.speed, new.token, new.depth, new.epoch, rate, capacity = pace
        old = self._rate, self._capacity  # they end after this step, not within it
        with cython.critical_section(self):
            changed = ps_token_bucket_change(&self.bucket, new, seen, then) == PS_OK
            if changed:
                self.describe(rate, capacity)
        return changed

    cdef inline bint take(self, n) except -1:
        cdef int64_t now = self.now()
        cdef bint taken
        with cython.critical_section(self):
            taken = ps_token_bucket_take(&self.bucket, now, self.cost_of(n)) == PS_OK
        return taken

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
        return self.odd_cost_of(n)

    cdef int64_t odd_cost_of(self, n) except -1:
        cdef ps_pace pace
        while True:
            pace = self.bucket.pace
            cost = cost_in_ticks(n, self._capacity, pace.token)  # may be Python code of others
            if pace.token == self.bucket.pace.token and pace.depth == self.bucket.pace.depth:
                return cost

    cdef int describe(self, rate, capacity) except -1:
        self._rate = rate
        self._capacity = capacity
        self.plain = min(floor(capacity), 1 << 53)
        return 0

    cdef inline int64_t now(self) except? -1:
        if self._clock is None:
            return ps_monotonic_ns()
        return self._clock()
