"""All requests: bounded fan-out to the call, fan-in to the sinks."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from penstock.clock import Clock
from penstock.fanout import bounded
from penstock.services.caller.call import Caller, before_sending
from penstock.services.caller.flow import Flow
from penstock.services.caller.model import BadLine, Call, Request
from penstock.services.caller.pace import Pace
from penstock.services.http_attempt import open_session
from penstock.services.request_settings import RequestSettings

__all__ = ["Settings", "Sink", "call_all"]

Sink = Callable[[Call], None]
"""Takes one row after the other; may not block for long."""


@dataclass(frozen=True, slots=True)
class Settings(RequestSettings):
    """How to call: see RequestSettings, and Caller.call for when there is another attempt.

    Attributes:
        headers: of all requests that have none of that name.
    """

    headers: Mapping[str, str] = field(default_factory=dict)


async def call_all(
    requests: Iterable[Request | BadLine] | AsyncIterable[Request | BadLine],
    sinks: Sequence[Sink],
    pace: Pace,
    settings: Settings | None = None,
    *,
    flow: Flow | None = None,
    clock: Clock | None = None,
) -> None:
    """Sends every request and gives each row to every sink, in the order in which they finish.

    Requests are pulled as slots become free. When the task is cancelled, what is in progress gets no row.

    Args:
        requests: in the order in which they take their turns.
        sinks: get the rows.
        pace: the limit.
        settings: None for the defaults.
        flow: is told what happens, for who wants to know.
        clock: returns int nanoseconds; None for the monotonic clock of the system.

    Raises:
        Exception: whatever a sink or the source of the requests raises; the run ends there.
    """
    settings = settings or Settings()
    flow = flow or Flow(settings.concurrency, clock)
    async with open_session(settings.concurrency, traces=[before_sending()]) as session:
        caller = Caller(
            session,
            pace,
            flow,
            timeout=settings.timeout,
            retries=settings.retries,
            backoff=settings.backoff,
            headers=settings.headers,
            clock=clock,
        )
        async with aclosing(bounded(caller.call, requests, limit=settings.concurrency)) as calls:
            async for call in calls:
                for sink in sinks:
                    sink(call)
