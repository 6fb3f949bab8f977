"""Keyed rate limiter: a limit for each client, user, route or whatever else has a key."""

from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.ratelimit._limiter_py import LimiterStats

__all__ = ["LimiterStats", "RateLimiter"]

if TYPE_CHECKING:
    from penstock.ratelimit._limiter_py import RateLimiter
else:
    RateLimiter = twin(__name__).RateLimiter
