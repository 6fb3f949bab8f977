"""How many packets wait, and whether there is room for more."""

from collections import deque

from penstock.clock import NANOSECONDS, Clock
from penstock.services.distributor.config import Config

__all__ = ["Room"]

DRAIN_SECONDS = 10
"""How far back the pace of draining is looked at."""
LONGEST_WAIT = 60.0
WAIT_WHILE_NOTHING_LEAVES = 10.0


class Bound:
    """One bound of what waits. When it was reached, nothing comes in before enough has left."""

    __slots__ = ("is_shut", "low", "most", "now", "unit")

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.now = 0
        self.most = 0
        self.low = 0.0
        self.is_shut = False

    def fits(self, more: int) -> bool:
        """Whether so many may come in now."""
        return not self.is_shut and self.now + more <= self.most

    def refuse(self) -> str:
        """Says in words why no more may come in, and shuts if the low-water mark has been passed."""
        self.is_shut = self.now >= self.low
        below = f", and more are taken below {self.low:.0f}" if self.low < self.most else ""
        return f"{self.now} {self.unit} are waiting already, at most {self.most} are held{below}"

    def count(self, more: int) -> None:
        """Counts in, or out what is negative."""
        self.now += more
        if self.now < self.low:
            self.is_shut = False

    @property
    def excess(self) -> float:
        """How many must leave before more may come in."""
        return self.now - self.low if self.is_shut else 0.0


class Room:
    """Counts what waits, in packets and in bytes, and says no when either is too much.

    Args:
        config: the bounds.
        clock: nanoseconds.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._packets = Bound("packets")
        self._bytes = Bound("bytes")
        self._clock = clock
        self._left: deque[list[int]] = deque()  # second of the clock, packets and bytes that left in it
        self.change(config)

    def change(self, config: Config) -> None:
        """Takes other bounds."""
        self._packets.most, self._bytes.most = config.max_pending, config.max_pending_bytes
        for bound in (self._packets, self._bytes):
            bound.low = bound.most * config.low_water
            bound.count(0)

    @property
    def packets(self) -> int:
        """Packets that wait."""
        return self._packets.now

    @property
    def bytes(self) -> int:
        """Bytes of their bodies."""
        return self._bytes.now

    @property
    def is_shut(self) -> bool:
        """Whether nothing fits, be it ever so small."""
        return self._packets.is_shut or self._bytes.is_shut

    def fits(self, packets: int, size: int) -> bool:
        """Whether so many packets may come in now."""
        return self._packets.fits(packets) and self._bytes.fits(size)

    def refuse(self, packets: int, size: int) -> str:
        """Why packets that do not fit may not come in, in words."""
        refusing = self._bytes if self._packets.fits(packets) else self._packets
        return refusing.refuse()

    def count(self, packets: int, size: int) -> None:
        """Counts packets in, or with negative numbers those out again that never were in."""
        self._packets.count(packets)
        self._bytes.count(size)

    def leave(self, packets: int, size: int) -> None:
        """Counts packets out that have been delivered or given up."""
        self.count(-packets, -size)
        second = self._clock() // NANOSECONDS
        if self._left and self._left[-1][0] == second:
            self._left[-1][1] += packets
            self._left[-1][2] += size
        else:
            self._left.append([second, packets, size])
            self._forget_before(second - DRAIN_SECONDS)

    def retry_after(self) -> float:
        """Seconds until there is room again, at the pace at which packets have left lately."""
        second = self._clock() // NANOSECONDS
        self._forget_before(second - DRAIN_SECONDS)
        if not self._left:
            return WAIT_WHILE_NOTHING_LEAVES
        span = second - self._left[0][0] + 1
        packets, size = (sum(each[what] for each in self._left) / span for what in (1, 2))
        wait = max(self._packets.excess / max(packets, 0.01), self._bytes.excess / max(size, 0.01))
        return min(max(wait, 1.0), LONGEST_WAIT)

    def _forget_before(self, second: int) -> None:
        while self._left and self._left[0][0] < second:
            self._left.popleft()
