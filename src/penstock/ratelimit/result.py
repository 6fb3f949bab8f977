"""Result: what a limiter decided, and what the caller may be told about it."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["RateLimitResult"]

if TYPE_CHECKING:
    from penstock.ratelimit._result_py import RateLimitResult
else:
    RateLimitResult = twin(__name__).RateLimitResult
