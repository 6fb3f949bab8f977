"""The pinger's own lag: how late this process is with what it wants to do."""

from typing import NamedTuple

from penstock.clock import Clock, monotonic_ns
from penstock.observability.histogram import Histogram
from penstock.timer import Handle, Timer

__all__ = ["Lag", "LagGauge"]

TICK_NS = 10_000_000


class Lag(NamedTuple):
    """Nanoseconds by which a process was late, over the ticks of a run.

    Attributes:
        p99: of 99 % of the ticks at most.
        most: of the latest.
        ticks: how many there were.
    """

    p99: int = 0
    most: int = 0
    ticks: int = 0


class LagGauge:
    """Asks to be woken every 10 ms, and notes how late that is.

    What keeps a tick waiting keeps everything waiting: a busy processor, a garbage collection, a sink that
    writes to a slow disk. A latency is known no better than that, where this process's clock measured it.

    Args:
        timer: wakes it.
        clock: the timer's.
    """

    def __init__(self, timer: Timer, clock: Clock = monotonic_ns) -> None:
        self.ticks = Histogram(highest=3_600_000_000_000)
        self._timer = timer
        self._clock = clock
        self._due = 0
        self._handle: Handle | None = None

    def start(self) -> None:
        """Ticks from now on, until `stop`."""
        self._wait()

    def stop(self) -> None:
        """Ticks no more; a tick that is overdue is counted as late as it is."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            late = self._clock() - self._due
            if late > 0:
                self._note(late)

    def _wait(self) -> None:
        self._due = self._clock() + TICK_NS
        self._handle = self._timer.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._note(max(self._clock() - self._due, 0))
        self._wait()

    def _note(self, late: int) -> None:
        self.ticks.record(min(late, 3_600_000_000_000))

    @property
    def lag(self) -> Lag:
        """What the ticks say so far."""
        return Lag(self.ticks.percentile(0.99) or 0, self.ticks.max or 0, self.ticks.count)
