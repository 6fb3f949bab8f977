"""How long a keyed limiter takes to say yes or no, and what a key costs."""

import random
import sys
from importlib import import_module

PLENTY = "1000000000/second"


class RateLimiter:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        limiter = import_module(f"penstock.ratelimit._limiter_{impl}").RateLimiter
        self.plenty = limiter(PLENTY)
        self.two = limiter(PLENTY, "10000000/second")
        self.none_left = limiter("1/day")
        self.none_left.allow("key")
        self.counter = limiter(PLENTY, algorithm="sliding_counter")
        self.log = limiter("1000/ms", algorithm="sliding_window")
        keys = [f"client-{number}" for number in range(10_000)]
        self.keys = random.Random(1).choices(keys, [1 / (rank + 1) for rank in range(10_000)], k=10_000)
        self.full = limiter("1/day", maxsize=1_000)
        self.stream = iter(range(10**9))

    def time_allow_1k(self, impl):
        allow = self.plenty.allow
        for _ in range(1_000):
            allow("key")

    def time_allow_two_quotas_1k(self, impl):
        allow = self.two.allow
        for _ in range(1_000):
            allow("key")

    def time_refuse_1k(self, impl):
        allow = self.none_left.allow
        for _ in range(1_000):
            allow("key")

    def time_allow_sliding_counter_1k(self, impl):
        allow = self.counter.allow
        for _ in range(1_000):
            allow("key")

    def time_allow_sliding_window_1k(self, impl):
        allow = self.log.allow
        for _ in range(1_000):
            allow("key")

    def time_check_1k(self, impl):
        check = self.plenty.check
        for _ in range(1_000):
            check("key")

    def time_allow_zipf_10k(self, impl):
        allow = self.plenty.allow
        for key in self.keys:
            allow(key)

    def time_allow_many_zipf_10k(self, impl):
        self.plenty.allow_many(self.keys)

    def time_newcomers_without_room_1k(self, impl):
        allow, stream = self.full.allow, self.stream
        for _ in range(1_000):
            allow(next(stream))


class RateLimiterMemory:
    """Keys not counted; of the compiled twin, whose size sys.getsizeof knows in full."""

    def track_bytes_per_key_of_100k(self):
        limiter = import_module("penstock.ratelimit._limiter_c").RateLimiter("1/day", maxsize=100_000)
        limiter.allow_many(range(100_000))
        return sys.getsizeof(limiter) / 100_000

    track_bytes_per_key_of_100k.unit = "bytes"
