"""All URLs: bounded fan-out to the probe, fan-in to the sinks."""

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from penstock.fanout import bounded
from penstock.services.http_attempt import open_session
from penstock.services.pinger.model import PingResult, Target
from penstock.services.pinger.probe import Prober
from penstock.services.request_settings import RequestSettings

__all__ = ["Settings", "Sink", "ping_all"]

Sink = Callable[[PingResult], None]
"""Takes one result after the other; may not block for long."""


@dataclass(frozen=True, slots=True)
class Settings(RequestSettings):
    """How to ping: see RequestSettings; another attempt follows no answer, 429 and 5xx."""

    timeout: float = 1.2


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
