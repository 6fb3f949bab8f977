"""Sliding window, pure Python. Its compiled twin does the same in csrc/sliding_window.c."""

from array import array
from bisect import bisect_left
from datetime import timedelta
from threading import Lock
from typing import Final, NoReturn

from penstock.clock import Clock, checked_clock
from penstock.ratelimit._copying import refuse_copy
from penstock.ratelimit._result_py import RateLimitResult, result_of
from penstock.ratelimit.quota import Quota, checked_units

__all__ = ["SlidingWindow"]

MAX_MOMENT = 1 << 61  # nanoseconds from the start, 73 years; the clock counts as standing still from then on

LATEST: Final = 5  # its place in a Log

Log = tuple["array[int]", "array[int]", int, int, int, int]
"""Moment of each hit, units up to and with it, the first hit that is kept, the one after the last, the units
before the first, and the newest moment ever recorded.

Behind a log that is no longer the present one, its arrays may change.
"""


class SlidingWindow:
    """At most `limit` units in any stretch of `period` seconds, to the nanosecond: a log of all hits.

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

    __slots__ = ("_clock", "_epoch", "_limit", "_lock", "_log", "_period", "_period_ns")

    def __init__(self, limit: int, period: float | timedelta = 1.0, *, clock: Clock | None = None) -> None:
        quota = Quota(limit, period)
        self._limit = quota.limit
        self._period = quota.period
        self._period_ns = quota.period_ns
        self._clock = checked_clock(clock)
        self._epoch = self._clock()
        self._log = empty_log()
        self._lock = Lock()  # held over a few steps that call nothing, so nothing can run within

    def __repr__(self) -> str:
        return f"SlidingWindow(limit={self._limit}, period={self._period})"

    def __sizeof__(self) -> int:
        moments, totals = self._log[:2]
        return object.__sizeof__(self) + moments.__sizeof__() + totals.__sizeof__()

    def __reduce__(self) -> NoReturn:
        refuse_copy(self)

    @property
    def limit(self) -> int:
        """Units that any stretch of the period allows."""
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
        elapsed = self._elapsed()
        while True:
            log = self._log
            if self._units(log, elapsed) + n <= self._limit:
                if self._record(log, elapsed, n):
                    return True
            elif self._log is log:
                return False

    def check(self, n: int = 1, /) -> RateLimitResult:
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
        checked_units(n, self._limit)
        elapsed = self._elapsed()
        while True:
            log = self._log
            result = self._result(log, elapsed, n)
            if not result:
                if self._log is log:
                    return result
                continue
            left = max(elapsed, log[LATEST]) + self._period_ns - elapsed
            if self._record(log, elapsed, n):
                return result_of(True, self._limit, result.remaining - n, 0, left, self._period_ns)

    def peek(self) -> RateLimitResult:
        """What `check` would find for one unit; takes none."""
        elapsed = self._elapsed()
        while True:
            log = self._log
            result = self._result(log, elapsed, 1)
            if self._log is log:
                return result

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
        while True:
            log = self._log
            wait = self._wait(log, elapsed, n)
            if self._log is log:
                return wait / 1e9  # a float, as C divides

    def refund(self, n: int = 1, /) -> None:
        """Takes back the newest `n` units, or all that there are.

        Args:
            n: units, 1 to `limit`.

        Raises:
            ValueError: n is out of its range.
            TypeError: n is no int.
        """
        checked_units(n, self._limit)
        while True:
            log = self._log
            moments, totals, first, end, dropped, latest = log
            left = max(units_taken(log) - n, dropped)
            kept = end if first == end else bisect_left(totals, left, first, end - 1)
            if left > dropped:
                kept += 1  # the hit that holds the last unit that is left
            if self._replace(log, (moments, totals, first, kept, dropped, latest), kept - 1, None, left):
                return

    def reset(self) -> None:
        """Forgets all hits, and gives their memory back."""
        log = empty_log()
        with self._lock:
            self._log = log

    def _record(self, log: Log, elapsed: int, n: int) -> bool:
        """Adds a hit to `log`, drops those that count no more; False if it is no longer the present one."""
        moments, totals, _, end, _, latest = log
        moment = max(elapsed, latest)
        total = units_taken(log) + n
        first = self._first(log, moment)
        dropped = units_before(log, first)
        if end == len(moments):  # into new arrays, for others may be reading these
            moments, totals = with_room(moments, first, end), with_room(totals, first, end)
            first, end = 0, end - first
        return self._replace(log, (moments, totals, first, end + 1, dropped, moment), end, moment, total)

    def _replace(self, seen: Log, log: Log, last: int, moment: int | None, total: int) -> bool:
        """Makes `log` of what was `seen`, its last hit as given; False if others were faster."""
        moments, totals, first, _, _, _ = log
        with self._lock:
            if self._log is not seen:
                return False
            if moment is not None:
                moments[last] = moment
            if last >= first:
                totals[last] = total
            self._log = log
            return True

    def _first(self, log: Log, moment: int) -> int:
        """The oldest hit that counts at `moment`; the one behind the last when none does."""
        moments, _, first, end, _, _ = log
        return bisect_left(moments, moment - self._period_ns, first, end)

    def _units(self, log: Log, elapsed: int) -> int:
        """The units that count."""
        return units_taken(log) - units_before(log, self._first(log, max(elapsed, log[LATEST])))

    def _wait(self, log: Log, elapsed: int, n: int) -> int:
        """Nanoseconds until `n` units fit."""
        if self._units(log, elapsed) + n <= self._limit:
            return 0
        moments, totals, first, end, _, _ = log
        surplus = units_taken(log) + n - self._limit  # the hit that holds this unit must be gone
        return moments[bisect_left(totals, surplus, first, end - 1)] + self._period_ns + 1 - elapsed

    def _result(self, log: Log, elapsed: int, n: int) -> RateLimitResult:
        """How the window stands; allowed when `n` units fit."""
        moments, _, first, end, _, _ = log
        remaining = self._limit - self._units(log, elapsed)
        left = 0 if first == end else max(moments[end - 1] + self._period_ns - elapsed, 0)
        wait = 0 if n <= remaining else self._wait(log, elapsed, n)
        return result_of(n <= remaining, self._limit, remaining, wait, left, self._period_ns)

    def _elapsed(self) -> int:
        """Nanoseconds since the window was made; a clock before that counts as then."""
        return min(max(self._clock() - self._epoch, 0), MAX_MOMENT)


def empty_log() -> Log:
    return array("q"), array("q"), 0, 0, 0, 0


def units_taken(log: Log) -> int:
    """All units from the first one ever on, with those that have been dropped."""
    _, totals, first, end, dropped, _ = log
    return dropped if first == end else totals[end - 1]


def units_before(log: Log, hit: int) -> int:
    """The same up to a hit."""
    _, totals, first, _, dropped, _ = log
    return dropped if hit == first else totals[hit - 1]


def with_room(values: "array[int]", first: int, end: int) -> "array[int]":
    """The values from `first` to `end`, and room for as many more."""
    return values[first:end] + array("q", bytes(8 * max(4, end - first)))
