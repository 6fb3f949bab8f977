"""The keyed limiter beside the limiters that people use today, all asked for one unit of plenty."""

import random

import limits
import pytest
from pyrate_limiter import BucketFactory, InMemoryBucket, Limiter, MonotonicClock, Rate, RateItem
from rust_py_rate_limit import RateLimiter as RustRateLimiter
from throttled import Throttled, per_sec, store

from penstock.ratelimit import RateLimiter
from penstock.ratelimit._limiter_py import RateLimiter as PurePythonRateLimiter

PLENTY = 10**9  # a second
KEYS = [f"client-{number}" for number in range(100_000)]
ZIPF = random.Random(1).choices(KEYS, [1 / (rank + 1) for rank in range(len(KEYS))], k=len(KEYS))
CALLS = 1_000


class BucketEach(BucketFactory):
    """What the documentation of pyrate-limiter shows for many keys: a bucket for each name."""

    def __init__(self):
        self.clock = MonotonicClock()
        self.buckets = {}

    def wrap_item(self, name, weight=1):
        return RateItem(name, self.clock.now(), weight=weight)

    def get(self, item):
        bucket = self.buckets.get(item.name)
        if bucket is None:  # its log holds every hit, so plenty is little here: refusals are cheaper for it
            bucket = self.buckets[item.name] = InMemoryBucket([Rate(1_000, 1_000)])
        return bucket


def rust():
    return RustRateLimiter(PLENTY, 1, max_keys=1_000_000).allow


def of_limits():
    window = limits.strategies.FixedWindowRateLimiter(limits.storage.MemoryStorage())
    item = limits.RateLimitItemPerSecond(PLENTY)
    return lambda key: window.hit(item, key)


def of_throttled():
    throttle = Throttled(
        using="token_bucket",
        quota=per_sec(PLENTY, burst=PLENTY),
        store=store.MemoryStore(options={"MAX_SIZE": 1_000_000}),
    )
    return throttle.limit


def of_pyrate():
    limiter = Limiter(BucketEach())
    return lambda key: limiter.try_acquire(key, blocking=False)


CONTESTANTS = {
    "penstock": lambda: RateLimiter(f"{PLENTY}/second").allow,
    "penstock, pure Python": lambda: PurePythonRateLimiter(f"{PLENTY}/second").allow,
    "rust-py-rate-limit (fixed window)": rust,
    "throttled-py (token bucket)": of_throttled,
    "pyrate-limiter (log of 1,000, then refuses)": of_pyrate,
    "limits (fixed window)": of_limits,
}


def hot(call):
    def run():
        for _ in range(CALLS):
            call("client-1")

    return run


def over(call, keys):
    def run():
        for key in keys:
            call(key)

    return run


def empty_calls():
    method = "".isascii
    for _ in range(CALLS):
        method()


@pytest.fixture
def contestants():
    return {name: make() for name, make in CONTESTANTS.items()}


def test_allow_one_hot_key(race, contestants):
    measured = {name: hot(call) for name, call in contestants.items()}
    race("RateLimiter.allow(key), one key", measured | {"empty method of a C type": empty_calls}, CALLS)


def test_allow_100k_zipf_keys(race, contestants):
    table = dict.fromkeys(KEYS, 0)
    for call in contestants.values():  # every key is known before
        for key in KEYS:
            call(key)
    measured = {name: over(call, ZIPF) for name, call in contestants.items()}
    race(
        "RateLimiter.allow(key), 100,000 Zipf keys", measured | {"dict.get": over(table.get, ZIPF)}, len(ZIPF)
    )


def test_two_quotas(race):
    window = limits.strategies.FixedWindowRateLimiter(limits.storage.MemoryStorage())
    second, minute = limits.RateLimitItemPerSecond(PLENTY), limits.RateLimitItemPerMinute(PLENTY)
    quotas = f"{PLENTY}/second", f"{PLENTY}/minute"
    race(
        "two quotas for one key",
        {
            "penstock": hot(RateLimiter(*quotas).allow),
            "penstock, pure Python": hot(PurePythonRateLimiter(*quotas).allow),
            "limits (fixed window), one after the other": hot(
                lambda key: window.hit(second, key) and window.hit(minute, key)
            ),
            "empty method of a C type": empty_calls,
        },
        CALLS,
    )


def test_check_with_a_result(race):
    throttle = of_throttled()
    race(
        "RateLimiter.check(key): a full result",
        {
            "penstock": hot(RateLimiter(f"{PLENTY}/second").check),
            "penstock, pure Python": hot(PurePythonRateLimiter(f"{PLENTY}/second").check),
            "throttled-py (token bucket)": hot(throttle),
            "empty method of a C type": empty_calls,
        },
        CALLS,
    )


def test_allow_many(race):
    keys = KEYS[:10_000]
    many, single = (RateLimiter(f"{PLENTY}/second") for _ in range(2))
    pure = PurePythonRateLimiter(f"{PLENTY}/second")
    race(
        "RateLimiter.allow_many of 10,000 keys",
        {
            "penstock": lambda: many.allow_many(keys),
            "penstock, pure Python": lambda: pure.allow_many(keys),
            "penstock, a loop of allow": over(single.allow, keys),
            "rust-py-rate-limit, a loop": over(rust(), keys),
        },
        operations=10_000,
    )
