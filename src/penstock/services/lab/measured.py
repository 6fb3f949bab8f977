"""What a run of one pattern has cost, as it goes from process to process and into files."""

import msgspec

__all__ = ["Cost", "Latencies", "Measured", "Request", "Slice"]


class Latencies(msgspec.Struct, frozen=True):
    """Milliseconds of all requests that were answered, right to three digits."""

    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class Cost(msgspec.Struct, frozen=True):
    """What the client's process has used.

    Attributes:
        peak_rss: the most memory, bytes; all of the process.
        rss_before: bytes before the first request.
        peak_blocks: the most blocks of Python's allocator at once, above those before the first request.
        collections: of the garbage collector, by generation.
        collecting: seconds that they took.
        cpu: seconds of the processor, user and system.
    """

    peak_rss: int
    rss_before: int
    peak_blocks: int
    collections: list[int]
    collecting: float
    cpu: float


class Slice(msgspec.Struct, frozen=True):
    """A part of the run's time.

    Attributes:
        at: seconds from the first request to the begin of this part.
        in_flight: the most at once in it.
        answers: requests that ended in it.
        errors: those of them that were no good.
        p50: milliseconds, of the answers; None without any.
        p99: the same.
    """

    at: float
    in_flight: int
    answers: int
    errors: int
    p50: float | None
    p99: float | None


class Request(msgspec.Struct, frozen=True, array_like=True):
    """One of the first requests: seconds from the first one, and what came of it."""

    begin: float
    end: float
    outcome: str


class Measured(msgspec.Struct, frozen=True):
    """One pattern.

    Attributes:
        pattern: its name.
        engine: that made the requests.
        requests: how many there were.
        seconds: that all of them took together.
        good: answers below 400.
        outcomes: requests by status, or by where they failed.
        latency: from the moment at which the pattern began a request to its last byte; what waits in this
            process is in it.
        service: from handing a request to the kernel to the last byte of its answer.
        percentiles: share of requests, and milliseconds of latency, ascending.
        peak_in_flight: the most requests at once.
        mean_in_flight: over the time of the run.
        cost: what the process has used.
        slices: of the time, in order.
        first: requests, in the order in which they began.
        server: what the lab's server says of itself; empty for another server.
    """

    pattern: str
    engine: str
    requests: int
    seconds: float
    good: int
    outcomes: dict[str, int]
    latency: Latencies
    service: Latencies
    percentiles: list[tuple[float, float]]
    peak_in_flight: int
    mean_in_flight: float
    cost: Cost
    slices: list[Slice]
    first: list[Request]
    server: dict[str, object] = {}

    @property
    def errors(self) -> int:
        """Requests that came to no good."""
        return self.requests - self.good

    @property
    def goodput(self) -> float:
        """Good answers a second."""
        return self.good / self.seconds if self.seconds else 0.0
