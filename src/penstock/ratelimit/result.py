"""Result: what a limiter decided, and what the caller may be told about it."""

from fractions import Fraction
from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.clock import NANOSECONDS

__all__ = ["RateLimitResult"]

if TYPE_CHECKING:
    from penstock.ratelimit._result_py import RateLimitResult
else:
    RateLimitResult = twin(__name__).RateLimitResult


def restored(
    allowed: bool, limit: int, remaining: int, retry_ns: int, reset_ns: int, window_ns: int
) -> RateLimitResult:
    """A result from a pickle, which names this function: it may come from a process with the other twin."""
    retry_after, reset_after, window = (
        Fraction(each, NANOSECONDS) for each in (retry_ns, reset_ns, window_ns)
    )
    return RateLimitResult(allowed, limit, remaining, retry_after, reset_after, window)  # type: ignore[arg-type]
