"""Counts and percentiles of one target's pings, or of all, in memory that does not grow with them."""

from collections import Counter
from collections.abc import Iterator
from typing import Self

from penstock.observability.histogram import Histogram
from penstock.services.pinger.model import PingResult

__all__ = ["PHASES", "Figures", "TargetFigures", "Times"]

PHASES = ("dns", "connect", "tls", "wait", "transfer")
"""Of Phases, in the order in which they are gone through."""

HIGHEST_NS = 3_600_000_000_000
FINEST_NS = 1_000  # a smaller difference is nothing to a network, and histograms of a target stay small

MAX_KINDS = 200
"""Kinds of errors that are told apart; the words of some hold what a server says."""

OTHER_KINDS = "other errors"


class Times:
    """A histogram, that takes little memory as long as there is little in it: many targets are pinged once.

    Args:
        digits: to which values are told apart.
    """

    FEW = 64

    __slots__ = ("_digits", "_few", "_histogram")

    def __init__(self, digits: int) -> None:
        self._digits = digits
        self._few: list[int] = []
        self._histogram: Histogram | None = None

    @classmethod
    def of(cls, histogram: Histogram) -> Self:
        """One that goes on with a histogram."""
        times = cls(histogram.digits)
        times._histogram = histogram
        return times

    @property
    def histogram(self) -> Histogram:
        """All that was recorded; to be read only."""
        return self._made() if self._histogram is None else self._histogram

    def record(self, nanoseconds: int) -> None:
        """Counts one value."""
        if self._histogram is not None:
            self._histogram.record(nanoseconds)
            return
        self._few.append(nanoseconds)
        if len(self._few) >= self.FEW:
            self._histogram, self._few = self._made(), []

    def merge(self, other: "Times") -> None:
        """Counts what another counted besides."""
        for value in other._few:
            self.record(value)
        if other._histogram is not None:
            if self._histogram is None:
                self._histogram, self._few = self._made(), []
            self._histogram.merge(other._histogram)

    def _made(self) -> Histogram:
        histogram = Histogram(FINEST_NS, HIGHEST_NS, self._digits)
        for value in self._few:
            histogram.record(value)
        return histogram


class Figures:
    """What became of pings, and how long the answered ones took.

    Args:
        title: of the target, or empty for all.
        digits: to which percentiles are exact.

    Attributes:
        pings: counted.
        failed: that were not ok.
        recovered: that were ok on a later attempt than the first.
        warned: that were ok, with a warning.
        attempts: made for them.
        size: bytes of bodies, of the last attempts.
        statuses: answers by HTTP status.
        errors: failures by their kind, the words before a colon.
        phases: nanoseconds of all answered last attempts together, by phase.
    """

    def __init__(self, title: str = "", digits: int = 3) -> None:
        self.title = title
        self.pings = self.failed = self.recovered = self.warned = self.attempts = self.size = 0
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.phases: Counter[str] = Counter()
        self._total, self._service, self._latency = Times(digits), Times(digits), Times(digits)

    @property
    def total(self) -> Histogram:
        """Nanoseconds from when an answered ping was due to its last byte."""
        return self._total.histogram

    @property
    def service(self) -> Histogram:
        """Nanoseconds from sending to the last byte, of the last attempt."""
        return self._service.histogram

    @property
    def latency(self) -> Histogram:
        """Nanoseconds of the last attempt."""
        return self._latency.histogram

    def take_times(self, total: Histogram, service: Histogram, latency: Histogram) -> None:
        """Puts what somebody else has measured in the place of what was."""
        self._total, self._service, self._latency = Times.of(total), Times.of(service), Times.of(latency)

    def add(self, result: PingResult) -> None:
        """Counts one ping."""
        self.pings += 1
        self.attempts += result.attempts
        state = result.state
        self.failed += state == "failed"
        self.recovered += state == "recovered"
        self.warned += state == "warned"
        if not result.status:
            self._count_error(result.error.partition(":")[0], 1)
            return
        self.statuses[result.status] += 1
        latency = min(round(result.latency_ms * 1e6), HIGHEST_NS)
        self._latency.record(latency)
        self._total.record(min(result.total, HIGHEST_NS) or latency)
        service = 0
        for hop in result.hops:
            spent = hop.exchange.phases
            service += spent.wait + spent.transfer
            self.size += hop.exchange.size
            for phase in PHASES:
                self.phases[phase] += getattr(spent, phase)
        self._service.record(min(service, HIGHEST_NS))

    def merge(self, other: "Figures") -> None:
        """Counts what another counted besides."""
        for name in ("pings", "failed", "recovered", "warned", "attempts", "size"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.statuses.update(other.statuses)
        for kind, count in other.errors.items():
            self._count_error(kind, count)
        for name in ("_total", "_service", "_latency"):
            getattr(self, name).merge(getattr(other, name))
        self.phases.update(other.phases)

    @property
    def answered(self) -> int:
        """Pings with an answer, whatever its status."""
        return self.statuses.total()

    @property
    def error_share(self) -> float | None:
        """Failed pings of all; None before the first."""
        return self.failed / self.pings if self.pings else None

    def percentile(self, share: float) -> float | None:
        """Seconds within which that share of the answers came, from when they were due; None without one."""
        return seconds(self.total.percentile(share))

    @property
    def least(self) -> float | None:
        """Seconds of the fastest answer."""
        return seconds(self.total.min)

    @property
    def most(self) -> float | None:
        """Seconds of the slowest answer."""
        return seconds(self.total.max)

    @property
    def mean(self) -> float | None:
        """Seconds of an answer on average."""
        return seconds(self.total.mean)

    def mean_phase(self, phase: str) -> float:
        """Seconds that an answer spent in a phase on average, 0 without any."""
        return self.phases[phase] / max(self.answered, 1) / 1e9

    def _count_error(self, kind: str, count: int) -> None:
        if kind not in self.errors and len(self.errors) >= MAX_KINDS:
            kind = OTHER_KINDS
        self.errors[kind] += count


class TargetFigures:
    """Figures of every target, of the first thousand one by one and of the others together.

    Attributes:
        others: all further targets; None when there are none.
    """

    MOST = 1_000
    DIGITS = 2

    def __init__(self) -> None:
        self.others: Figures | None = None
        self._by_title: dict[str, Figures] = {}

    def add(self, result: PingResult) -> None:
        """Counts one ping for its target."""
        self._of(result.title).add(result)

    def merge(self, other: "TargetFigures") -> None:
        """Counts what another counted besides."""
        for title, figures in other._by_title.items():
            self._of(title).merge(figures)
        if other.others is not None:
            self._rest().merge(other.others)

    def __iter__(self) -> Iterator[Figures]:
        return iter(self._by_title.values())

    def __len__(self) -> int:
        return len(self._by_title)

    def get(self, title: str) -> Figures | None:
        """The figures of the target of that title; None where it was not pinged, or is among the others."""
        return self._by_title.get(title)

    def _of(self, title: str) -> Figures:
        figures = self._by_title.get(title)
        if figures is None:
            if len(self._by_title) >= self.MOST:
                return self._rest()
            figures = self._by_title[title] = Figures(title, self.DIGITS)
        return figures

    def _rest(self) -> Figures:
        if self.others is None:
            self.others = Figures("other targets", self.DIGITS)
        return self.others


def seconds(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
