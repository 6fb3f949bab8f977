"""Lines: those who wait for the keys of a limiter, first come first served for each key."""

from collections.abc import Hashable
from typing import Protocol

from penstock.clock import Clock
from penstock.ratelimit._line import Line
from penstock.ratelimit._waiting import MAX_WAITING
from penstock.ratelimit.errors import LimiterFull

__all__ = ["Lines"]


class Takes(Protocol):
    """What lines need of a limiter."""

    def _take_at(self, key: Hashable, n: int, at: int, /) -> int:
        """Takes and returns 0, or returns the nanoseconds after `at` until it is worth asking again."""


class Lines:
    """The line of each key that somebody waits for; none of a key that nobody does.

    Args:
        limiter: asked with `_take_at` by whoever stands first.
        clock: returns int nanoseconds.
        max_keys: keys that may be waited for at once; for one more LimiterFull is raised.

    Attributes:
        by_key: the lines; empty when nobody waits. It stays the same dict.
    """

    __slots__ = ("_clock", "_limiter", "_max_keys", "by_key")

    def __init__(self, limiter: Takes, clock: Clock, max_keys: int) -> None:
        self._limiter = limiter
        self._clock = clock
        self._max_keys = max_keys
        self.by_key: dict[Hashable, Line] = {}

    def stand(self, key: Hashable) -> bool:
        """Whether somebody waits for `key`."""
        line = self.by_key.get(key)
        return line is not None and len(line) > 0

    def acquire(self, key: Hashable, n: int, timeout: float | None) -> bool:
        """Waits in the line of `key`; False if `n` units were not there within `timeout` seconds."""
        while True:
            line = self._line_of(key)
            try:
                taken = line.acquire(n, timeout)
            finally:
                self._forget(key, line)
            if taken is not None:
                return taken

    async def acquire_async(self, key: Hashable, n: int, timeout: float | None) -> bool:
        """As `acquire`, while other tasks run."""
        while True:
            line = self._line_of(key)
            try:
                taken = await line.acquire_async(n, timeout)
            finally:
                self._forget(key, line)
            if taken is not None:
                return taken

    def wake_all(self) -> None:
        """Has everybody who waits read the clock again, which may raise by now."""
        for line in self.by_key.copy().values():
            line.wake_all()

    def _line_of(self, key: Hashable) -> Line:
        line = self.by_key.get(key)
        if line is not None and not line.ended:
            return line
        if line is not None:
            self._forget(key, line)
        elif len(self.by_key) >= self._max_keys:
            raise LimiterFull(f"at most {self._max_keys} keys may be waited for at once")
        limiter = self._limiter
        new = Line(lambda n, at: limiter._take_at(key, n, at), self._clock, max_waiting=MAX_WAITING)
        return self.by_key.setdefault(key, new)

    def _forget(self, key: Hashable, line: Line) -> None:
        """Drops a line that has ended."""
        if not line.ended or self.by_key.get(key) is not line:
            return
        popped = self.by_key.pop(key, None)
        if popped is not None and popped is not line:  # another thread has just begun a new one
            self.by_key.setdefault(key, popped)
