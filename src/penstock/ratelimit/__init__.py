"""Rate limiting: who may go now, and who has to wait how long."""

from penstock.ratelimit._reservations import Reservation
from penstock.ratelimit.concurrency import ConcurrencyLimiter, NotAcquired
from penstock.ratelimit.errors import LimiterFull, RateLimiterUnavailable, RateLimitExceeded
from penstock.ratelimit.limiter import LimiterStats, RateLimiter
from penstock.ratelimit.quota import Quota
from penstock.ratelimit.result import RateLimitResult
from penstock.ratelimit.shared_limiter import SharedFileError, SharedRateLimiter, SharedStats
from penstock.ratelimit.sliding_window import SlidingWindow
from penstock.ratelimit.token_bucket import TokenBucket
from penstock.ratelimit.window_counter import SlidingWindowCounter

__all__ = [
    "ConcurrencyLimiter",
    "LimiterFull",
    "LimiterStats",
    "NotAcquired",
    "Quota",
    "RateLimitExceeded",
    "RateLimitResult",
    "RateLimiter",
    "RateLimiterUnavailable",
    "Reservation",
    "SharedFileError",
    "SharedRateLimiter",
    "SharedStats",
    "SlidingWindow",
    "SlidingWindowCounter",
    "TokenBucket",
]
