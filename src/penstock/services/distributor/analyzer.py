"""One analyzer: its health, its pace, and what waits for it."""

import asyncio

import msgspec

from penstock.clock import NANOSECONDS, Clock
from penstock.ratelimit import TokenBucket
from penstock.services.distributor.backlog import Queue, Source
from penstock.services.distributor.change import Stored
from penstock.services.distributor.circuit import Circuit
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.latency import Latency
from penstock.services.distributor.pace import Pace

__all__ = ["Analyzer"]


class Analyzer:
    """One analyzer as the distributor sees it now.

    Attributes:
        config: who it is.
        addressed: the same with its timeout, as whoever carries packets to it is told.
        circuit: its health.
        pace: how much it gets at a time.
        source: its cold packets.
        queue: packets in memory that wait for it.
        wanted: set when there may be something to deliver to it.
        in_flight: packets that are on their way to it.
        deliveries: the deliveries that carry them.
        left_alone_until: when it may be sent something again, by the clock.
        retrying: pending packets that it was the last to fail, wherever they are.
        most_retrying: how many of those there may be before it is sent only what has failed already.
        delivering: how long deliveries took that were answered.
        last_error: why it failed last, in plain words; empty when it never did.
    """

    __slots__ = (
        "_bucket", "_clock", "_paced_by", "addressed", "circuit", "config", "deliveries", "delivering",
        "in_flight", "last_error", "left_alone_until", "linger", "most_retrying", "pace", "queue", "retrying",
        "source", "timeout", "wanted",
    )  # fmt: skip

    def __init__(self, config: AnalyzerConfig, settings: Config, source: Source, clock: Clock) -> None:
        self.config = config
        self.circuit = Circuit(
            probes_to_fall=settings.probes_to_fall,
            errors_to_fall=settings.errors_to_fall,
            probes_to_rise=settings.probes_to_rise,
            clock=clock,
        )
        self.source = source
        self.queue = Queue(0)
        self.wanted = asyncio.Event()
        self.in_flight = 0
        self.deliveries = 0
        self.left_alone_until = 0
        self.retrying = 0
        self.most_retrying = 1
        self.delivering = Latency(clock)
        self.last_error = ""
        self._clock = clock
        self._paced_by: tuple[int, bool, int, int] | None = None
        self.pace: Pace
        self.take_settings(config, settings)

    def take_settings(self, config: AnalyzerConfig, settings: Config) -> None:
        """Begins to deliver by these settings."""
        self.config = config
        self.linger = settings.linger if config.linger is None else config.linger
        self.timeout = config.timeout or settings.analyzer_timeout
        self.addressed = msgspec.structs.replace(config, timeout=self.timeout)
        paced_by = (
            config.concurrency or settings.concurrency,
            settings.adaptive_concurrency,
            config.batch_packets or settings.batch_packets,
            config.batch_bytes or settings.batch_bytes,
        )
        if paced_by != self._paced_by:  # else what was learned stays
            self._paced_by = paced_by
            most, adaptive, packets, size = paced_by
            self.pace = Pace(
                most=most, adaptive=adaptive, batch_packets=packets, batch_bytes=size, clock=self._clock
            )
        rate = config.rate_limit
        self._bucket = TokenBucket(rate, max(rate, 1.0), clock=self._clock) if rate else None

    @property
    def most_in_flight(self) -> int:
        """Packets that may be on their way to it."""
        return self.pace.most * self.pace.batch_packets

    @property
    def is_up(self) -> bool:
        """Whether it gets packets."""
        return self.circuit.takes_packets

    @property
    def waiting(self) -> int:
        """Packets that wait for it, in memory or not."""
        return len(self.queue) + self.source.packets

    @property
    def load(self) -> int:
        """Packets that wait for it or are on their way to it."""
        return len(self.queue) + self.source.packets + self.in_flight

    def put(self, packet: Stored) -> None:
        """Queues a packet for it."""
        self.queue.put(packet)
        self.wanted.set()

    def take(self) -> list[Stored]:
        """The next batch, as large as its pace and its rate allow; on its way from now on."""
        batch = self.queue.take(self._next_packets, self.pace.batch_bytes)
        if batch:
            if self._bucket is not None:
                self._bucket.allow(len(batch))
            self.in_flight += len(batch)
            self.deliveries += 1
        return batch

    @property
    def _next_packets(self) -> int:
        """Packets in the next batch, at the most; a second's worth where there is a limit of its rate."""
        waiting = self.queue.failed if self.retrying >= self.most_retrying else len(self.queue)
        most = min(self.pace.batch_packets, waiting)
        rate = self.config.rate_limit
        return most if rate is None else min(most, max(1, int(rate)))

    def failed_one(self) -> None:
        """A packet failed, and it was the last to have it."""
        self.retrying += 1

    def failed_one_less(self) -> None:
        """A packet that it was the last to fail has ended, or has failed again."""
        self.retrying -= 1
        if self.retrying + 1 == self.most_retrying:
            self.wanted.set()

    def landed(self, packets: int, size: int) -> None:
        """Packets of a delivery, and the bytes of their bodies, are on their way no more."""
        self.in_flight -= packets
        self.queue.bytes -= size

    def obstacle(self, now: int) -> float | None:
        """Seconds until it may be sent its next batch: 0 for now, None when only an event can tell."""
        if not self._next_packets or self.deliveries >= self.pace.limit:
            return None
        if not self.circuit.may_deliver(self.deliveries):
            return None
        if self.left_alone_until > now:
            return (self.left_alone_until - now) / NANOSECONDS
        return 0.0 if self._bucket is None else self._bucket.retry_after(self._next_packets)
