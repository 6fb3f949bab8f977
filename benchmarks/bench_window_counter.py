"""How long a sliding window counter takes to say yes or no, and to tell how it stands."""

from importlib import import_module


class SlidingWindowCounter:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        counter = import_module(f"penstock.ratelimit._window_counter_{impl}").SlidingWindowCounter
        self.never_full = counter(2**30, 1e3)
        self.never_full.allow()
        self.full = counter(5, 1e6)
        self.full.allow(5)

    def time_allow_1k(self, impl):
        allow = self.never_full.allow
        for _ in range(1_000):
            allow()

    def time_check_1k(self, impl):
        check = self.never_full.check
        for _ in range(1_000):
            check()

    def time_refuse_1k(self, impl):
        allow = self.full.allow
        for _ in range(1_000):
            allow()

    def time_refuse_and_tell_1k(self, impl):
        check = self.full.check
        for _ in range(1_000):
            check()
