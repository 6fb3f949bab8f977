"""How long something has taken lately."""

from penstock.clock import NANOSECONDS, Clock
from penstock.observability import Histogram

__all__ = ["Latency"]

MICROSECOND = 1_000
MILLISECOND = 1_000_000
HOUR = 3600 * NANOSECONDS
TURN = 60 * NANOSECONDS


class Latency:
    """Percentiles of durations of the last one to two minutes; some 20 KiB.

    Two histograms take turns: one counts, the other has counted the minute before.

    Args:
        clock: nanoseconds.
    """

    __slots__ = ("_before", "_clock", "_now", "_turn")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now, self._before = (Histogram(MICROSECOND, HOUR, 2) for _ in range(2))
        self._turn = clock() // TURN

    def record_since(self, began: int) -> None:
        """Counts what began then, by the clock, and is over now."""
        self._take_turns()
        self._now.record(min(max(self._clock() - began, 0), HOUR))

    def percentiles(self) -> dict[str, float | None]:
        """The median and the 99th percentile in milliseconds; None when nothing was counted."""
        self._take_turns()
        both = self._now.copy()
        both.merge(self._before)
        return {f"p{percent}": in_ms(both.percentile(percent / 100)) for percent in (50, 99)}

    def _take_turns(self) -> None:
        turn = self._clock() // TURN
        if turn == self._turn:
            return
        self._now, self._before = self._before, self._now
        self._now.reset()
        if turn != self._turn + 1:
            self._before.reset()
        self._turn = turn


def in_ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / MILLISECOND, 3)
