"""The patterns by name, as a comparison runs them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from penstock.errors import InvalidValue
from penstock.fanout import (
    AimdLimit,
    backpressure,
    bounded,
    pipeline,
    rate_limited,
    sequential,
    stage,
    unbounded,
)
from penstock.probing.engine import EngineName
from penstock.probing.exchange import Exchange
from penstock.ratelimit import TokenBucket

__all__ = ["PATTERNS", "Pattern", "Settings", "is_good"]

MOST_REQUESTS, MOST_WORKERS = 1_000_000, 10_000
LEAST_RATE, MOST_RATE = 0.001, 1e6
MOST_AT_ONCE = 1_000  # that backpressure may find out to be right
BURST = 0.02  # seconds of the rate that may start at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a comparison does with every pattern.

    Attributes:
        url: what is requested.
        requests: how often, 1 to 1,000,000.
        workers: requests in progress at once, where a pattern has a fixed bound; 1 to 10,000.
        rate: requests a second, where a pattern has one; 0.001 to 1e6.
        timeout: seconds for a request.
        engine: that makes them.

    Raises:
        ValueError: a number is out of its range.
    """

    url: str = ""
    requests: int = 7_500
    workers: int = 15
    rate: float = 500.0
    timeout: float = 30.0
    engine: EngineName = "auto"

    def __post_init__(self) -> None:
        for name, most in (("requests", MOST_REQUESTS), ("workers", MOST_WORKERS)):
            if not 1 <= getattr(self, name) <= most:
                raise InvalidValue(f"{name} must be >= 1 and <= {most}, got {getattr(self, name)}")
        if not LEAST_RATE <= self.rate <= MOST_RATE:
            raise InvalidValue(f"rate must be >= {LEAST_RATE} and <= {MOST_RATE:g} a second, got {self.rate}")


Fetch = Callable[[int], Awaitable[Exchange]]
Start = Callable[[Fetch, Iterable[int], Settings], AsyncGenerator[Any, None]]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way to make many requests.

    Attributes:
        words: what it does, in a line.
        start: makes the requests; a generator of what comes of them.
    """

    words: str
    start: Start


def is_good(exchange: Exchange) -> bool:
    """Whether the answer is one that a client can use."""
    return 200 <= exchange.status < 400


def start_pipeline(fetch: Fetch, numbers: Iterable[int], settings: Settings) -> AsyncGenerator[Any, None]:
    async def judge(exchange: Exchange) -> bool:
        return is_good(exchange)

    return pipeline(
        numbers, stage(fetch, limit=settings.workers, queue=settings.workers), stage(judge, limit=1)
    )


def start_backpressure(fetch: Fetch, numbers: Iterable[int], settings: Settings) -> AsyncGenerator[Any, None]:
    law = AimdLimit(
        initial=settings.workers,
        maximum=max(MOST_AT_ONCE, settings.workers),
        backoff=0.5,  # as TCP does
        tolerance=3.0,  # the server is slower for whoever asks faster, also far below its limit
        memory=2.0,  # a client at rest has seen a latency that this server gives to no busy one
    )
    return backpressure(fetch, numbers, law=law, failed=lambda exchange: not is_good(exchange))


def start_rate_limited(fetch: Fetch, numbers: Iterable[int], settings: Settings) -> AsyncGenerator[Any, None]:
    bucket = TokenBucket(settings.rate, max(1.0, settings.rate * BURST))
    return rate_limited(fetch, numbers, limiter=bucket, limit=settings.workers)


PATTERNS = {
    "sequential": Pattern(
        "one request after the other", lambda fetch, numbers, settings: sequential(fetch, numbers)
    ),
    "unbounded": Pattern("all requests at once", lambda fetch, numbers, settings: unbounded(fetch, numbers)),
    "bounded": Pattern(
        "never more at once than there are workers",
        lambda fetch, numbers, settings: bounded(fetch, numbers, limit=settings.workers),
    ),
    "backpressure": Pattern("as many at once as the server bears, found out on the way", start_backpressure),
    "pipeline": Pattern("workers that fetch, and behind them one that judges", start_pipeline),
    "rate-limited": Pattern("workers that start no faster than a rate", start_rate_limited),
}
"""Every pattern of penstock.fanout that makes many requests, in the order of a comparison."""
