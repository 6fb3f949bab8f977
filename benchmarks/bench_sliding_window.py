"""How long a sliding window takes to say yes or no, and to tell how it stands."""

from importlib import import_module

LARGE = 100_000


class SlidingWindow:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        window = import_module(f"penstock.ratelimit._sliding_window_{impl}").SlidingWindow
        self.moving = window(LARGE, 1e-3)  # hits leave it as fast as others come
        self.full = window(LARGE, 1e6)
        self.full.allow(LARGE)

    def time_allow_100k_1k(self, impl):
        allow = self.moving.allow
        for _ in range(1_000):
            allow()

    def time_check_100k_1k(self, impl):
        check = self.moving.check
        for _ in range(1_000):
            check()

    def time_refuse_100k_1k(self, impl):
        allow = self.full.allow
        for _ in range(1_000):
            allow()

    def time_refuse_and_tell_100k_1k(self, impl):
        check = self.full.check
        for _ in range(1_000):
            check()
