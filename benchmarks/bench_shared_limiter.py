"""How long a limiter that processes share takes to say yes or no."""

import tempfile
from importlib import import_module
from pathlib import Path


class SharedRateLimiter:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        limiter = import_module(f"penstock.ratelimit._shared_limiter_{impl}").SharedRateLimiter
        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        self.plenty = limiter("1000000000/s", path=folder / "plenty")
        self.two = limiter("1000000000/s", "1000000000/minute", path=folder / "two")
        self.empty = limiter("1/day", path=folder / "empty")
        self.empty.allow("key")
        self.keys = [f"198.51.{i >> 8}.{i & 255}" for i in range(1_000)]

    def teardown(self, impl):
        for limiter in (self.plenty, self.two, self.empty):
            limiter.close()
        self.folder.cleanup()

    def time_allow_1k(self, impl):
        allow = self.plenty.allow
        for _ in range(1_000):
            allow("key")

    def time_allow_two_quotas_1k(self, impl):
        allow = self.two.allow
        for _ in range(1_000):
            allow("key")

    def time_refuse_1k(self, impl):
        allow = self.empty.allow
        for _ in range(1_000):
            allow("key")

    def time_check_1k(self, impl):
        check = self.plenty.check
        for _ in range(1_000):
            check("key")

    def time_allow_1k_keys(self, impl):
        allow = self.plenty.allow
        for key in self.keys:
            allow(key)

    def time_allow_many_1k_keys(self, impl):
        self.plenty.allow_many(self.keys)
