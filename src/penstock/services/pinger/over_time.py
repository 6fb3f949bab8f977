"""How pings went over the time of a run, in bounded memory."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil

from penstock.observability.histogram import Histogram
from penstock.services.pinger.figures import HIGHEST_NS
from penstock.services.pinger.model import PingResult

__all__ = ["OverTime", "Slice"]

SLICES = 240
FIRST_SLICE_S = 0.05
FINEST_NS = 1_000


@dataclass(slots=True)
class Slice:
    """The pings that began in a stretch of time.

    Attributes:
        good: good ones.
        failed: failed ones.
        took: nanoseconds from when answered ones were due to their last byte, to one digit.
    """

    good: int = 0
    failed: int = 0
    took: Histogram = field(default_factory=lambda: Histogram(FINEST_NS, HIGHEST_NS, 1))

    def merge(self, other: "Slice") -> None:
        """Counts what another counted besides."""
        self.good += other.good
        self.failed += other.failed
        self.took.merge(other.took)


def merged(slices: Iterable[Slice]) -> Slice:
    all_ = Slice()
    for one in slices:
        all_.merge(one)
    return all_


class OverTime:
    """Sorts pings by when they began into at most 240 slices.

    A slice is 50 ms long at first; when they are used up, each two become one of twice the length.

    Attributes:
        slice_s: seconds of a slice.
        slices: oldest first; the first begins with the earliest ping that came first.
    """

    def __init__(self) -> None:
        self.slice_s = FIRST_SLICE_S
        self.slices: list[Slice] = []
        self._begin: float | None = None

    def add(self, result: PingResult) -> None:
        """Counts one ping; a sink."""
        at = result.timestamp.timestamp() - result.late / 1e9
        if self._begin is None:
            self._begin = at
        place = max(int((at - self._begin) / self.slice_s), 0)  # one that ended later may have begun earlier
        while place >= SLICES:
            self._halve()
            place = int((at - self._begin) / self.slice_s)
        while len(self.slices) <= place:
            self.slices.append(Slice())
        one = self.slices[place]
        one.good += result.ok
        one.failed += not result.ok
        if result.status:
            one.took.record(min(result.total, one.took.limit))

    def with_at_least(self, pings: int) -> tuple[float, list[Slice]]:
        """Seconds of a slice, and slices with so many pings on average, or ten times as long."""
        total = sum(one.good + one.failed for one in self.slices)
        together = min(ceil(pings * len(self.slices) / max(total, 1)), 10)
        if together <= 1:
            return self.slice_s, self.slices
        starts = range(0, len(self.slices), together)
        return self.slice_s * together, [merged(self.slices[at : at + together]) for at in starts]

    def _halve(self) -> None:
        self.slice_s *= 2
        halved = self.slices[::2]
        for one, other in zip(halved, self.slices[1::2], strict=False):
            one.merge(other)
        self.slices = halved
