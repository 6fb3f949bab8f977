"""How long a token bucket takes to say yes or no."""

from importlib import import_module


class TokenBucket:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        bucket = import_module(f"penstock.ratelimit._token_bucket_{impl}").TokenBucket
        self.never_empty = bucket(1e9, 1e9)
        self.empty = bucket(1e-6, 1, initial=0)

    def time_allow_1k(self, impl):
        allow = self.never_empty.allow
        for _ in range(1_000):
            allow()

    def time_allow_two_tokens_1k(self, impl):
        allow = self.never_empty.allow
        for _ in range(1_000):
            allow(2)

    def time_refuse_1k(self, impl):
        allow = self.empty.allow
        for _ in range(1_000):
            allow()

    def time_retry_after_1k(self, impl):
        retry_after = self.empty.retry_after
        for _ in range(1_000):
            retry_after()
