"""How the simulated server behaves, and where it listens."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from penstock.errors import InvalidValue

__all__ = ["LATENCIES", "Behaviour", "Config", "LatencyName"]

LatencyName = Literal["walk", "constant", "uniform", "lognormal", "pareto"]
LATENCIES: tuple[LatencyName, ...] = get_args(LatencyName)
"""The models of latency, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the simulated server does to requests.

    Attributes:
        latency: how long answers take: a random `walk` that reflects at 0 and at max_latency; `constant`;
            `uniform` from 0 to max_latency; `lognormal` around a tenth of max_latency; `pareto`, from a
            hundredth of it, with a long tail. None is ever above max_latency.
        max_latency: seconds, > 0 and <= 60.
        full_rate: requests a second from which on answers take as long as the model says; below they are
            faster in proportion. 0 when they do not depend on the rate.
        error_rate: share of the requests that fail with 500 whatever the load is.
        overload: in flight beyond which the server may fall into its error state, the more likely the more
            there are; 0 for never.
        servers: how many requests are worked on at once, the others wait in a queue; 0 for all.
        queue: how many may wait; more are refused with 503.
        limit: requests a second beyond which the answer is 429 with Retry-After; 0 for no limit.
        hang: share of the requests that are never answered.
        reset: share of the requests whose connection is reset in place of an answer.
        seed: of all dice; the same seed and the same arrivals give the same answers.
    """

    latency: LatencyName = "walk"
    max_latency: float = 0.3
    full_rate: float = 5_000.0
    error_rate: float = 0.01
    overload: int = 10
    servers: int = 0
    queue: int = 1_000
    limit: float = 0.0
    hang: float = 0.0
    reset: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.latency not in LATENCIES:
            raise InvalidValue(f"latency must be one of {', '.join(LATENCIES)}, got {self.latency!r}")
        if not 0 < self.max_latency <= 60:
            raise InvalidValue(f"max_latency must be > 0 and <= 60 seconds, got {self.max_latency}")
        for name in ("error_rate", "hang", "reset"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidValue(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if self.error_rate + self.hang + self.reset > 1:
            raise InvalidValue("error_rate, hang and reset must be at most 1 together")
        for name in ("full_rate", "limit"):
            rate = getattr(self, name)
            if not (0 <= rate <= 1e9 and isfinite(rate)):
                raise InvalidValue(f"{name} must be >= 0 and <= 1e9 a second, got {rate}")
        for name in ("overload", "servers", "queue"):
            if not 0 <= getattr(self, name) <= 1_000_000:
                raise InvalidValue(f"{name} must be >= 0 and <= 1000000, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where the server listens and what it bears.

    Attributes:
        host: address.
        port: 0 for a free one.
        max_connections: open at once; more are closed at once.
        idle_timeout: seconds within which the next whole request has to come, and an answer has to be taken.
        drain_timeout: seconds that answers under way get at the end.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    max_connections: int = 20_000
    idle_timeout: float = 75.0
    drain_timeout: float = 5.0
