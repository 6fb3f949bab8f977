"""The settings of services that make many requests."""

from dataclasses import dataclass
from math import isfinite

from penstock.errors import InvalidValue
from penstock.resilience import ExponentialBackoff

__all__ = ["RequestSettings"]

BACKOFF = ExponentialBackoff(0.2, limit=10.0, jitter="equal")


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """How to make requests.

    Attributes:
        concurrency: requests in progress at once, >= 1.
        timeout: seconds for one attempt, > 0.
        retries: further attempts where another one may go better, >= 0.
        backoff: seconds between attempts.
    """

    concurrency: int = 8
    timeout: float = 10.0
    retries: int = 0
    backoff: ExponentialBackoff = BACKOFF

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise InvalidValue(f"concurrency must be >= 1, got {self.concurrency!r}")
        if not (self.timeout > 0 and isfinite(self.timeout)):
            raise InvalidValue(f"timeout must be > 0 seconds and finite, got {self.timeout!r}")
        if self.retries < 0:
            raise InvalidValue(f"retries must be >= 0, got {self.retries!r}")
