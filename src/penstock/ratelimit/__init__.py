"""Rate limiting: who may go now, and who has to wait how long."""

from penstock.ratelimit.errors import LimiterFull, RateLimitExceeded
from penstock.ratelimit.quota import Quota
from penstock.ratelimit.result import RateLimitResult
from penstock.ratelimit.token_bucket import TokenBucket

__all__ = ["LimiterFull", "Quota", "RateLimitExceeded", "RateLimitResult", "TokenBucket"]
