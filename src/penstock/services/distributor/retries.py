"""When packets that failed are tried again."""

from heapq import heappop, heappush

from penstock.clock import NANOSECONDS, Clock
from penstock.services.distributor.change import Stored

__all__ = ["Retries"]

MILLISECOND = 1_000_000


class Retries:
    """Packets by the time of their next attempt.

    Args:
        clock: nanoseconds, by which they wait.
        wall: unix nanoseconds, by which their times are stored.
    """

    def __init__(self, clock: Clock, wall: Clock) -> None:
        self._clock = clock
        self._wall = wall
        self._heap: list[tuple[int, int, Stored]] = []  # (due, seq, packet)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, packet: Stored, longest_wait: float) -> None:
        """Takes up a packet until it is due.

        Args:
            packet: with its `due_ms`.
            longest_wait: seconds; should the wall clock have been set back.
        """
        wait = max(0, packet.due_ms - self._wall() // MILLISECOND) * MILLISECOND
        due = self._clock() + min(wait, round(longest_wait * NANOSECONDS))
        heappush(self._heap, (due, packet.seq, packet))

    def take_due(self, most: int) -> list[Stored]:
        """Up to so many packets whose time has come, the earliest first."""
        now = self._clock()
        due: list[Stored] = []
        while self._heap and self._heap[0][0] <= now and len(due) < most:
            due.append(heappop(self._heap)[2])
        return due

    @property
    def wait(self) -> float | None:
        """Seconds until the next one is due; None when there is none."""
        return (self._heap[0][0] - self._clock()) / NANOSECONDS if self._heap else None
