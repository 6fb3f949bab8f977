"""The sliding windows beside those of others, asked as fast as it goes.

With nine tenths of the limit in use the faster one fills its window sooner, and refuses while others still
record; with the limit reached all of them refuse. Theirs have keys and are asked for one; limits and
pyrate-limiter keep a log, as SlidingWindow does, throttled-py and rust-py-rate-limit two counters.
"""

import pytest
import throttled
from limits import RateLimitItemPerHour
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate
from rust_py_rate_limit import RateLimiter as RustRateLimiter

from penstock.ratelimit import SlidingWindow, SlidingWindowCounter
from penstock.ratelimit._sliding_window_py import SlidingWindow as PurePythonSlidingWindow

LARGE = 100_000
HOUR = 3600


@pytest.mark.parametrize("limit", [5, LARGE])
@pytest.mark.parametrize("tenths", [9, 10])
def test_allow_near_the_limit(race, limit, tenths):
    used = limit * tenths // 10
    state = "limit reached" if used == limit else "nine tenths in use"
    ours = [each(limit, HOUR) for each in (SlidingWindow, SlidingWindowCounter, PurePythonSlidingWindow)]
    assert all(each.allow(used) for each in ours)

    item = RateLimitItemPerHour(limit)
    moving = MovingWindowRateLimiter(MemoryStorage())
    assert moving.hit(item, "key", cost=used)
    quota = throttled.per_hour(limit)
    counting = throttled.Throttled("key", using="sliding_window", quota=quota, store=throttled.MemoryStore())
    assert not counting.limit(cost=used).limited
    log = Limiter(InMemoryBucket([Rate(limit, Duration.HOUR)]))
    assert log.try_acquire("key", used, blocking=False)
    rust = RustRateLimiter(limit, HOUR, algorithm="sliding")
    assert all(rust.allow("key") for _ in range(used))

    race(
        f"SlidingWindow({limit:,}, 3600).allow(), {state}",
        {
            "penstock": ours[0].allow,
            "penstock, counter": ours[1].allow,
            "penstock, pure Python": ours[2].allow,
            "rust-py-rate-limit (counter)": lambda: rust.allow("key"),
            "limits (moving window)": lambda: moving.hit(item, "key"),
            "throttled-py (counter)": counting.limit,
            "pyrate-limiter (log)": lambda: log.try_acquire("key", blocking=False),
            "empty method of a C type": "".isascii,
        },
    )


def test_check_and_allow_of_100000_units(race):
    moving = SlidingWindow(LARGE, 1e-3)  # hits leave it as fast as others come: all are allowed
    full = SlidingWindow(LARGE, 1e6)
    assert full.allow(LARGE)
    counter = SlidingWindowCounter(2**30, 1e3)
    race(
        f"penstock's windows of {LARGE:,}; the first is SlidingWindow.check(), allowed",
        {
            "penstock": moving.check,
            "SlidingWindow.check(), refused": full.check,
            "SlidingWindow.allow(), allowed": moving.allow,
            "SlidingWindow.allow(), refused": full.allow,
            "SlidingWindowCounter.check()": counter.check,
            "SlidingWindowCounter.allow()": counter.allow,
            "empty method of a C type": "".isascii,
        },
    )
