"""One pattern in this process, and what it costs."""

import gc
import sys
from collections.abc import Callable
from contextlib import aclosing
from time import monotonic_ns, perf_counter_ns, process_time
from typing import Any, Self

from penstock.clock import NANOSECONDS
from penstock.probing import open_engine
from penstock.probing.exchange import Exchange
from penstock.probing.request import Request
from penstock.services.lab.measured import Cost, Measured
from penstock.services.lab.memory import peak_rss
from penstock.services.lab.patterns import PATTERNS, Settings
from penstock.services.lab.records import Records, latencies_of, percentiles_of

__all__ = ["run_pattern"]

SAMPLES = 100  # of the allocator's blocks; each looks at every pool
MOST_CONNECTIONS = 20_000


class Meter:
    """Watches the garbage collector and the allocator of this process while it is entered."""

    def __init__(self) -> None:
        self.collections = [0, 0, 0]
        self.collecting = self._began = 0
        self._blocks = self._most_blocks = 0

    def __enter__(self) -> Self:
        gc.collect()
        self.rss_before = peak_rss()
        self._blocks = self._most_blocks = sys.getallocatedblocks()
        self._cpu = process_time()
        gc.callbacks.append(self._collected)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._collected)
        self.sample()
        self._cpu = process_time() - self._cpu

    def sample(self) -> None:
        """Looks how many blocks there are."""
        self._most_blocks = max(self._most_blocks, sys.getallocatedblocks())

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self.sample()  # before they are freed
            self._began = perf_counter_ns()
        else:
            self.collections[info["generation"]] += 1
            self.collecting += perf_counter_ns() - self._began

    def cost(self) -> Cost:
        """What was used between enter and exit."""
        return Cost(
            peak_rss=peak_rss(),
            rss_before=self.rss_before,
            peak_blocks=self._most_blocks - self._blocks,
            collections=self.collections,
            collecting=round(self.collecting / NANOSECONDS, 6),
            cpu=round(self._cpu, 4),
        )


async def run_pattern(
    name: str, settings: Settings, progress: Callable[[int], None] = lambda done: None
) -> Measured:
    """Makes all requests as the pattern does.

    Args:
        name: of the pattern.
        settings: the same for all patterns.
        progress: told now and then how many have ended.
    """
    records, meter = Records(), Meter()
    request = Request(settings.url, keep_alive=True)
    every = max(1, settings.requests // SAMPLES)
    connections = min(settings.requests, MOST_CONNECTIONS)
    async with open_engine(settings.engine, connections=connections) as engine:

        async def fetch(number: int) -> Exchange:
            records.begin()
            begun = monotonic_ns()
            exchange = await engine.exchange(request, settings.timeout)
            records.end(begun, monotonic_ns(), exchange)
            if len(records) % every == 0:
                meter.sample()
                progress(len(records))
            return exchange

        outcomes = PATTERNS[name].start(fetch, range(settings.requests), settings)
        with meter:
            begun = monotonic_ns()
            async with aclosing(outcomes):
                async for _ in outcomes:
                    pass
            seconds = (monotonic_ns() - begun) / NANOSECONDS
        cost = meter.cost()  # before the figures below take memory of their own
        return measured(name, engine.name, records, seconds, cost)


def measured(name: str, engine: str, records: Records, seconds: float, cost: Cost) -> Measured:
    how: dict[str, Any] = {"pattern": name, "engine": engine, "requests": len(records), "cost": cost}
    return Measured(
        **how,
        seconds=round(seconds, 6),
        good=records.good,
        outcomes=records.outcomes(),
        latency=latencies_of(records.latency),
        service=latencies_of(records.service),
        percentiles=percentiles_of(records.latency),
        peak_in_flight=records.peak_in_flight,
        mean_in_flight=round(records.mean_in_flight(seconds), 3),
        slices=records.slices(),
        first=records.first(),
    )
