"""Which ranges are hot, and where to split them."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from penstock.sharding.keys import shown
from penstock.sharding.shard_map import Range

__all__ = ["RangeTraffic", "TrafficReport"]

SAMPLE_KEYS = 128
"""Keys that are remembered of each range, however many calls it has."""


@dataclass(frozen=True, slots=True)
class RangeTraffic:
    """The calls on one range since it is in the map, or since the counts were set to zero.

    Attributes:
        range: as people write it, such as `[1, 10000]`.
        reads: gets, and pages of scans.
        writes: puts and deletes, each key.
        share: of all calls on all ranges, 0.0 to 1.0.
        split_at: a key that parts the calls evenly, from a sample of them; None when they are too few, or
            nearly all for one key, which no split can part.
    """

    range: str
    reads: int
    writes: int
    share: float
    split_at: Any


@dataclass(frozen=True, slots=True)
class TrafficReport:
    """The calls on all ranges; `str()` makes a table of it.

    Attributes:
        epoch: of the map.
        ranges: in the order of their keys.
    """

    epoch: int
    ranges: tuple[RangeTraffic, ...]

    @property
    def hottest(self) -> RangeTraffic:
        """The range with most calls."""
        return max(self.ranges, key=lambda range_: range_.share)

    def __str__(self) -> str:
        lines = [("range", "reads", "writes", "share", "split at")]
        for hot in self.ranges:
            at = "" if hot.split_at is None else shown(hot.split_at)
            lines.append((hot.range, f"{hot.reads:,}", f"{hot.writes:,}", f"{hot.share:.1%}", at))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if place in (0, 4) else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


class Traffic:
    """Counts the calls on one range and keeps a fair sample of their keys.

    Source: Vitter, Random Sampling with a Reservoir, 1985, algorithm R.
    """

    __slots__ = ("_sample", "reads", "writes")

    def __init__(self) -> None:
        self.reads = 0
        self.writes = 0
        self._sample: list[Any] = []

    def read(self, key: Any) -> None:
        """Counts one read."""
        self.reads += 1
        self._remember(key)

    def write(self, key: Any) -> None:
        """Counts one write."""
        self.writes += 1
        self._remember(key)

    def split_at(self) -> Any:
        """A key with about half of the calls below it, or None."""
        if len(self._sample) < SAMPLE_KEYS // 4:
            return None
        keys = sorted(self._sample)
        middle = len(keys) // 2
        candidates = [place for place in range(1, len(keys)) if keys[place - 1] < keys[place]]
        best = min(candidates, key=lambda place: abs(place - middle), default=0)
        return keys[best] if len(keys) // 8 <= best <= len(keys) - len(keys) // 8 else None

    def _remember(self, key: Any) -> None:
        if len(self._sample) < SAMPLE_KEYS:
            self._sample.append(key)
        elif (place := int(random.random() * (self.reads + self.writes))) < SAMPLE_KEYS:
            self._sample[place] = key


def reported(epoch: int, traffic: Iterable[tuple[Range[Any, Any], Traffic]]) -> TrafficReport:
    """The report of these counts."""
    counts = list(traffic)
    total = sum(count.reads + count.writes for _, count in counts) or 1
    return TrafficReport(
        epoch,
        tuple(
            RangeTraffic(
                str(range_), count.reads, count.writes, (count.reads + count.writes) / total, count.split_at()
            )
            for range_, count in counts
        ),
    )
