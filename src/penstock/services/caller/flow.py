"""What a run is doing, and what held it back."""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import process_time_ns
from typing import Literal

from penstock.clock import NANOSECONDS, Clock, checked_clock

__all__ = ["Flow", "State"]

State = Literal["busy", "waiting", "pausing"]
"""A request has a slot; and therein waits for the limit, or pauses between attempts."""


class Flow:
    """Counts requests by what they are doing, and the time for which either bound was the one that held.

    Args:
        slots: requests that may be busy at once.
        clock: returns int nanoseconds; None for the monotonic clock of the system.
        cpu_clock: returns the int nanoseconds that this process has been computing.

    Attributes:
        sent: requests whose first byte has been sent, retries included.
        most_in_a_second: the most of them within any one second.
    """

    def __init__(self, slots: int, clock: Clock | None = None, *, cpu_clock: Clock = process_time_ns) -> None:
        self.slots = slots
        self.sent = 0
        self.most_in_a_second = 0
        self._clock = checked_clock(clock)
        self._cpu_clock = cpu_clock
        self._cpu_started = cpu_clock()
        self._now: Counter[State] = Counter()
        self._limited_ns = 0
        self._full_ns = 0
        self._seen = self._started = self._clock()
        self._last_second: deque[int] = deque()  # as long as the largest burst

    @contextmanager
    def during(self, state: State) -> Iterator[None]:
        """Counts one request more in this state while the block runs."""
        self._account()
        self._now[state] += 1
        try:
            yield
        finally:
            self._account()
            self._now[state] -= 1

    def count_sent(self) -> None:
        """Counts a request that is sent now."""
        now = self._clock()
        self.sent += 1
        self._last_second.append(now)
        while now - self._last_second[0] >= NANOSECONDS:
            self._last_second.popleft()
        self.most_in_a_second = max(self.most_in_a_second, len(self._last_second))

    def _account(self) -> None:
        now = self._clock()
        passed, self._seen = now - self._seen, now
        if self._now["waiting"]:
            self._limited_ns += passed
        elif self._now["busy"] >= self.slots:
            self._full_ns += passed

    @property
    def in_flight(self) -> int:
        """Requests that connect, are sent, or wait for their answer."""
        return self._now["busy"] - self._now["waiting"] - self._now["pausing"]

    @property
    def limited(self) -> float:
        """Seconds for which the limit held something back."""
        return self._limited_ns / NANOSECONDS

    @property
    def full(self) -> float:
        """Seconds for which the limit would have let something through, and no slot was free for it."""
        return self._full_ns / NANOSECONDS

    @property
    def computing(self) -> float:
        """Seconds of processor time that this process has used since the start, on all processors."""
        return (self._cpu_clock() - self._cpu_started) / NANOSECONDS

    @property
    def seconds(self) -> float:
        """Since the start."""
        return (self._clock() - self._started) / NANOSECONDS
