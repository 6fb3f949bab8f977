"""How long a token bucket takes to say yes or no, to promise, and to let wait."""

import asyncio
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

    def time_peek_1k(self, impl):
        peek = self.empty.peek
        for _ in range(1_000):
            peek()

    def time_acquire_async_tokens_there_1k(self, impl):
        async def many(acquire):
            for _ in range(1_000):
                await acquire()

        asyncio.run(many(self.never_empty.acquire_async))


class Reservations:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        self.bucket = import_module(f"penstock.ratelimit._token_bucket_{impl}").TokenBucket

    def time_reserve_and_cancel_behind_10k_others_1k(self, impl):
        bucket = self.bucket(1, 1, initial=0)
        others = [bucket.reserve() for _ in range(10_000)]
        for _ in range(1_000):
            bucket.reserve().cancel()
        del others

    def time_reserve_10k_cancel_from_the_front(self, impl):
        bucket = self.bucket(1, 1, initial=0)
        for each in [bucket.reserve() for _ in range(10_000)]:
            each.cancel()

    def time_wait_of_1k_tasks(self, impl):
        async def main():
            bucket = self.bucket(1e6, 1, initial=0)
            await asyncio.gather(*(bucket.acquire_async() for _ in range(1_000)))

        asyncio.run(main())
