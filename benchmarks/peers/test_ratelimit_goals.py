"""The figures that the rate limiters are held to, each beside its goal and an empty method of a C type."""

import asyncio
from functools import partial

from penstock.ratelimit import RateLimiter, SharedRateLimiter, SlidingWindow, TokenBucket

PLENTY = "1000000000/second"
CALLS = 1_000  # in one measured call


def keyed(call):
    """`call("key")`, many times, as cheaply as Python can."""
    for _ in range(CALLS):
        call("key")


def unkeyed(call):
    for _ in range(CALLS):
        call()


async def awaited(call):
    for _ in range(CALLS):
        await call()


def test_goals_of_the_rate_limiters(goals, tmp_path):
    bucket, limiter, two = TokenBucket(1e9, 1e9), RateLimiter(PLENTY), RateLimiter(PLENTY, "10000000/second")
    window = SlidingWindow(100_000, 0.001)
    keys = [f"client-{number}" for number in range(10_000)]
    with asyncio.Runner() as runner, SharedRateLimiter(PLENTY, path=tmp_path / "limits") as shared:
        goals(
            "Rate limiting",
            {
                "TokenBucket.allow()": (partial(unkeyed, bucket.allow), CALLS, 55),
                "RateLimiter.allow(key)": (partial(keyed, limiter.allow), CALLS, 75),
                "RateLimiter.allow(key), 2 quotas": (partial(keyed, two.allow), CALLS, 95),
                "RateLimiter.check(key)": (partial(keyed, limiter.check), CALLS, 150),
                "RateLimiter.allow_many, a key": (lambda: limiter.allow_many(keys), len(keys), 30),
                "SlidingWindow.allow(), 100,000": (partial(unkeyed, window.allow), CALLS, 90),
                "SharedRateLimiter.allow(key)": (partial(keyed, shared.allow), CALLS, 120),
                "await acquire_async()": (
                    lambda: runner.run(awaited(bucket.acquire_async)),
                    CALLS,
                    250,
                ),
            },
        )
