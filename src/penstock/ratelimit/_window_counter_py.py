"""Sliding window counter, pure Python. Its compiled twin does the same in csrc/window_counter.c."""

from datetime import timedelta
from threading import Lock
from typing import NoReturn

from penstock.clock import Clock, checked_clock
from penstock.ratelimit._copying import refuse_copy
from penstock.ratelimit._result_py import RateLimitResult, result_of
from penstock.ratelimit._sliding_window_py import MAX_MOMENT
from penstock.ratelimit.quota import Quota, checked_units

__all__ = ["SlidingWindowCounter"]

Counts = tuple[int, int, int]
"""Number of the window, from 0 on, units in it, and units in the one before."""


class SlidingWindowCounter:
    """Nearly `limit` units in any stretch of `period` seconds, in 16 bytes whatever the limit: two counters.

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

    __slots__ = ("_clock", "_counts", "_epoch", "_limit", "_lock", "_period", "_period_ns")

    def __init__(self, limit: int, period: float | timedelta = 1.0, *, clock: Clock | None = None) -> None:
        quota = Quota(limit, period)
        self._limit = quota.limit
        self._period = quota.period
        self._period_ns = quota.period_ns
        self._clock = checked_clock(clock)
        self._epoch = self._clock()
        self._counts: Counts = (0, 0, 0)
        self._lock = Lock()  # held over a few steps that call nothing, so nothing can run within

    def __repr__(self) -> str:
        return f"SlidingWindowCounter(limit={self._limit}, period={self._period})"

    def __reduce__(self) -> NoReturn:
        refuse_copy(self)

    @property
    def limit(self) -> int:
        """Units that every window allows."""
        return self._limit

    @property
    def period(self) -> float:
        """Seconds."""
        return self._period

    def allow(self, n: int = 1, /) -> bool:
        """Takes `n` units if they fit; never waits.

        Args:
            n: units, 1 to `limit`.

        Returns:
            True: they are taken. False: too few are left, none taken.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int.
        """
        checked_units(n, self._limit)
        return self._take(n, self._elapsed())[0]

    def check(self, n: int = 1, /) -> RateLimitResult:
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
        checked_units(n, self._limit)
        elapsed = self._elapsed()
        allowed, counts = self._take(n, elapsed)
        return self._result(counts, elapsed, allowed, n)

    def peek(self) -> RateLimitResult:
        """What `check` would find for one unit; takes none."""
        elapsed = self._elapsed()
        counts = self._counts
        return self._result(counts, elapsed, self._wait(counts, elapsed, 1) == 0, 1)

    def retry_after(self, n: int = 1, /) -> float:
        """Seconds until `n` units fit if nobody takes any until then; takes none.

        Args:
            n: units, 1 to `limit`.

        Returns:
            Seconds, 0.0 when `allow(n)` would succeed now; to the nanosecond when rounded to it.

        Raises:
            ValueError: n is out of its range, so it could never be allowed.
            TypeError: n is no int.
        """
        checked_units(n, self._limit)
        elapsed = self._elapsed()
        return self._wait(self._counts, elapsed, n) / 1e9  # a float, as C divides

    def refund(self, n: int = 1, /) -> None:
        """Takes back up to `n` units of the present window.

        Args:
            n: units, 1 to `limit`.

        Raises:
            ValueError: n is out of its range.
            TypeError: n is no int.
        """
        checked_units(n, self._limit)
        elapsed = self._elapsed()
        while True:
            counts = self._counts
            number, current, previous = counts
            if self._seen(counts, elapsed)[0][0] != number:
                return
            if self._replace(counts, (number, max(current - n, 0), previous)):
                return

    def reset(self) -> None:
        """Forgets all hits."""
        with self._lock:
            self._counts = (0, 0, 0)

    def _take(self, n: int, elapsed: int) -> tuple[bool, Counts]:
        """Whether `n` units were taken, and the counts after that."""
        while True:
            counts = self._counts
            seen, offset = self._seen(counts, elapsed)
            if not self._fits(seen, offset, n):
                return False, counts
            number, current, previous = seen
            taken = (number, current + n, previous)
            if self._replace(counts, taken):
                return True, taken

    def _replace(self, seen: Counts, counts: Counts) -> bool:
        """Makes `counts` of what was `seen`; False if others were faster."""
        with self._lock:
            if self._counts is not seen:
                return False
            self._counts = counts
            return True

    def _seen(self, counts: Counts, elapsed: int) -> tuple[Counts, int]:
        """The counts as they stand, and the nanoseconds of their window that have passed."""
        number, offset = divmod(elapsed, self._period_ns)
        last, current, _ = counts
        if number == last:
            return counts, offset
        if number < last:
            return counts, 0
        return (number, 0, current if number == last + 1 else 0), offset

    def _fits(self, seen: Counts, offset: int, n: int) -> bool:
        _, current, previous = seen
        room = self._limit - current - n
        return room >= 0 and previous * (self._period_ns - offset) <= room * self._period_ns

    def _wait(self, counts: Counts, elapsed: int, n: int) -> int:
        """Nanoseconds until `n` units fit."""
        seen, offset = self._seen(counts, elapsed)
        if self._fits(seen, offset, n):
            return 0
        number, current, previous = seen
        room = self._limit - current - n
        if room < 0:  # not in this window, whose units are the previous ones of the next
            number, previous, room = number + 1, current, self._limit - n
        # the first offset with previous * (period - offset) <= room * period; that of a whole period is the
        # start of the window after
        offset = self._period_ns - room * self._period_ns // previous if previous > room else 0
        return number * self._period_ns + offset - elapsed

    def _result(self, counts: Counts, elapsed: int, allowed: bool, n: int) -> RateLimitResult:
        (number, current, previous), offset = self._seen(counts, elapsed)
        weighed = -(-previous * (self._period_ns - offset) // self._period_ns)
        windows = 2 if current else 1 if previous else 0
        return result_of(
            allowed,
            self._limit,
            max(self._limit - current - weighed, 0),  # below 0: the last window weighs more after a step back
            0 if allowed else self._wait(counts, elapsed, n),
            (number + windows) * self._period_ns - elapsed if windows else 0,
            self._period_ns,
        )

    def _elapsed(self) -> int:
        """Nanoseconds since the counter was made; a clock before that counts as then."""
        return min(max(self._clock() - self._epoch, 0), MAX_MOMENT)
