"""All URLs: bounded fan-out to the probe, fan-in to the sinks."""

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from math import isfinite

from penstock.errors import InvalidValue
from penstock.fanout import bounded
from penstock.resilience import ExponentialBackoff
from penstock.services.http_attempt import open_session
from penstock.services.pinger.model import PingResult, Target
from penstock.services.pinger.probe import Prober

__all__ = ["Settings", "Sink", "ping_all"]

Sink = Callable[[PingResult], None]
"""Takes one result after the other; may not block for long."""

BACKOFF = ExponentialBackoff(0.2, limit=10.0, jitter="equal")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to ping.

    Attributes:
        concurrency: URLs in progress at once, >= 1.
        timeout: seconds for one attempt, > 0.
        retries: further attempts where the first got no answer, or 429, or 5xx; >= 0.
        backoff: seconds between attempts.
    """

    concurrency: int = 8
    timeout: float = 1.2
    retries: int = 0
    backoff: ExponentialBackoff = BACKOFF

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise InvalidValue(f"concurrency must be >= 1, got {self.concurrency!r}")
        if not (self.timeout > 0 and isfinite(self.timeout)):
            raise InvalidValue(f"timeout must be > 0 seconds and finite, got {self.timeout!r}")
        if self.retries < 0:
            raise InvalidValue(f"retries must be >= 0, got {self.retries!r}")


async def ping_all(
    targets: Iterable[Target] | AsyncIterable[Target], sinks: Sequence[Sink], settings: Settings | None = None
) -> None:
    """Pings every target and gives each result to every sink, in the order in which they finish.

    Targets are pulled as slots become free. When the task is cancelled, what is in progress gets no row.

    Raises:
        Exception: whatever a sink or the source of the targets raises; the run ends there.
    """
    settings = settings or Settings()
    async with open_session(settings.concurrency) as session:
        prober = Prober(session, timeout=settings.timeout, retries=settings.retries, backoff=settings.backoff)
        async with aclosing(bounded(prober.ping, targets, limit=settings.concurrency)) as results:
            async for result in results:
                for sink in sinks:
                    sink(result)
