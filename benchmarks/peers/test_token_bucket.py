"""The token bucket beside the limiters that people use today, all asked for one token of plenty."""

from time import monotonic

import limits
import token_bucket
from rust_py_rate_limit import RateLimiter as RustRateLimiter

from penstock.ratelimit import TokenBucket
from penstock.ratelimit._token_bucket_py import TokenBucket as PurePythonTokenBucket


class HandWritten:
    """What people write themselves in ten lines; not safe to share among threads."""

    def __init__(self, rate, capacity):
        self.rate, self.capacity, self.tokens, self.last = rate, capacity, capacity, monotonic()

    def allow(self):
        now = monotonic()
        self.tokens = min(self.capacity, self.tokens + (now - self.last) * self.rate)
        self.last = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def test_allow_when_there_is_plenty(race):
    peer = token_bucket.Limiter(1e9, 10**9, token_bucket.MemoryStorage())
    window = limits.strategies.FixedWindowRateLimiter(limits.storage.MemoryStorage())
    item = limits.RateLimitItemPerSecond(10**9)
    rust = RustRateLimiter(10**9, 1)
    race(
        "TokenBucket.allow(), tokens there",
        {
            "penstock": TokenBucket(1e9, 1e9).allow,
            "penstock, pure Python": PurePythonTokenBucket(1e9, 1e9).allow,
            "hand-written Python": HandWritten(1e9, 1e9).allow,
            "rust-py-rate-limit (fixed window)": lambda: rust.allow("key"),
            "token-bucket": lambda: peer.consume("key"),
            "limits (fixed window)": lambda: window.hit(item, "key"),
            "empty method of a C type": "".isascii,
        },
    )
