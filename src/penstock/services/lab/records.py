"""The requests of one run as they end, in 28 bytes each, and what can be told of them afterwards."""

from array import array
from collections import Counter
from math import ceil

from penstock.clock import NANOSECONDS
from penstock.observability.histogram import Histogram
from penstock.probing.exchange import Exchange
from penstock.services.lab.measured import Latencies, Request, Slice
from penstock.services.lab.patterns import is_good

__all__ = ["Records", "latencies_of", "percentiles_of"]

SLICES = 200
FIRST = 240
MILLISECOND = 1_000_000

SHARES = [1 - 10 ** (-tenths / 10) for tenths in range(51)]  # ten for each nine, to five nines


class Records:
    """Keeps the begin, the end and the outcome of every request.

    Attributes:
        latency: ns of those that were answered, as the pattern saw them.
        service: ns of the same, as the kernel and the engine saw them.
        in_flight: requests in progress.
        peak_in_flight: the most that there were.
    """

    def __init__(self) -> None:
        self.latency, self.service = Histogram(), Histogram()
        self.in_flight = self.peak_in_flight = 0
        self.good = 0
        self._begins, self._ends, self._outcomes = array("q"), array("q"), array("h")
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        """Requests that have ended."""
        return len(self._ends)

    def begin(self) -> None:
        """A request begins."""
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def end(self, begun: int, ended: int, exchange: Exchange) -> None:
        """A request has ended, with these ns of one clock."""
        self.in_flight -= 1
        good = is_good(exchange)
        self.good += good
        if exchange.status:
            self.latency.record(ended - begun)
            self.service.record(max(0, exchange.phases.service))
        self._begins.append(begun)
        self._ends.append(ended)
        number = self._number(str(exchange.status) if exchange.status else exchange.failure or "other")
        self._outcomes.append(number if good else ~number)  # the sign tells the good ones

    def _number(self, outcome: str) -> int:
        number = self._numbers.get(outcome)
        if number is None:
            number = self._numbers[outcome] = len(self._names)
            self._names.append(outcome)
        return number

    def _name(self, number: int) -> str:
        return self._names[number if number >= 0 else ~number]

    def outcomes(self) -> dict[str, int]:
        """Requests by status or failure, the most first."""
        counts = Counter(map(self._name, self._outcomes))
        return dict(counts.most_common())

    def mean_in_flight(self, seconds: float) -> float:
        """Over so many seconds."""
        busy = sum(self._ends) - sum(self._begins)
        return busy / NANOSECONDS / seconds if seconds else 0.0

    def first(self) -> list[Request]:
        """The first requests that began."""
        if not self._begins:
            return []
        origin = min(self._begins)
        order = sorted(range(len(self)), key=self._begins.__getitem__)[:FIRST]
        return [
            Request(
                round((self._begins[at] - origin) / NANOSECONDS, 6),
                round((self._ends[at] - origin) / NANOSECONDS, 6),
                self._name(self._outcomes[at]),
            )
            for at in order
        ]

    def slices(self) -> list[Slice]:
        """The run in equal parts of time."""
        if not self._begins:
            return []
        origin = min(self._begins)
        width = max(1, ceil((max(self._ends) - origin + 1) / SLICES))
        ended: list[list[int]] = [[] for _ in range(SLICES)]
        errors = [0] * SLICES
        for begun, end, outcome in zip(self._begins, self._ends, self._outcomes, strict=True):
            number = (end - origin) // width
            ended[number].append(end - begun)
            errors[number] += outcome < 0
        most = self._most_in_flight(origin, width)
        return [
            Slice(
                at=round(number * width / NANOSECONDS, 6),
                in_flight=most[number],
                answers=len(latencies),
                errors=errors[number],
                p50=nearest(latencies, 0.5),
                p99=nearest(latencies, 0.99),
            )
            for number, latencies in enumerate(ended)
        ]

    def _most_in_flight(self, origin: int, width: int) -> list[int]:
        """The most requests at once in each part; what ends and what begins at one moment do not overlap."""
        changes = sorted([*((end, -1) for end in self._ends), *((begun, 1) for begun in self._begins)])
        most = [0] * SLICES
        level = number = 0
        for at, change in changes:
            while (at - origin) // width > number:
                number += 1
                most[number] = level  # what was in flight already
            level += change
            most[number] = max(most[number], level)
        return most


def nearest(latencies: list[int], share: float) -> float | None:
    """Milliseconds within which that share of them lies (nearest rank)."""
    if not latencies:
        return None
    return round(sorted(latencies)[ceil(share * len(latencies)) - 1] / MILLISECOND, 3)


def latencies_of(histogram: Histogram) -> Latencies:
    """Milliseconds, 0 where there was no answer."""

    def at(share: float) -> float:
        return in_ms(histogram.percentile(share) or 0)

    return Latencies(
        mean=in_ms(histogram.mean or 0),
        p50=at(0.5),
        p90=at(0.9),
        p99=at(0.99),
        p999=at(0.999),
        max=in_ms(histogram.max or 0),
    )


def percentiles_of(histogram: Histogram) -> list[tuple[float, float]]:
    """Shares and milliseconds, as many as the count makes sense for."""
    shares = [share for share in SHARES if (1 - share) * histogram.count >= 1]
    return [
        (round(share, 6), in_ms(histogram.percentile(share) or 0))
        for share in [*shares, 1.0]
        if histogram.count
    ]


def in_ms(ns: float) -> float:
    return round(ns / MILLISECOND, 3)
