"""How long a cached function takes to find its result, to compute a new one, and with what arguments."""

import asyncio
from importlib import import_module

CALLS = 1_000


class CachedFunction:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        cached = import_module(f"penstock.cache._cached_function_{impl}").CachedFunction

        class Owner:
            @cached
            def method(self, x):
                return x

        async def same_async(x):
            return x

        self.one = cached(lambda x: x)
        self.two = cached(lambda x, y: x)
        self.named = cached(lambda x, *, y: x)
        self.timed = cached(lambda x: x, ttl=3600)
        self.refreshed = cached(lambda x: x, ttl=3600, refresh_after=1800)
        self.coroutine = cached(same_async)
        self.owner = Owner()
        self.loop = asyncio.new_event_loop()
        for function in (self.one, self.timed, self.refreshed):
            function("key")
        self.two("key", 1)
        self.named("key", y=1)
        self.owner.method("key")
        self.loop.run_until_complete(self.coroutine("key"))

    def teardown(self, impl):
        self.loop.close()

    def time_hit_1k(self, impl):
        function = self.one
        for _ in range(CALLS):
            function("key")

    def time_hit_with_two_arguments_1k(self, impl):
        function = self.two
        for _ in range(CALLS):
            function("key", 1)

    def time_hit_with_a_named_argument_1k(self, impl):
        function = self.named
        for _ in range(CALLS):
            function("key", y=1)

    def time_hit_with_ttl_1k(self, impl):
        function = self.timed
        for _ in range(CALLS):
            function("key")

    def time_hit_with_refresh_1k(self, impl):
        function = self.refreshed
        for _ in range(CALLS):
            function("key")

    def time_hit_of_a_method_1k(self, impl):
        owner = self.owner
        for _ in range(CALLS):
            owner.method("key")

    def time_hit_of_a_coroutine_function_1k(self, impl):
        async def call():
            function = self.coroutine
            for _ in range(CALLS):
                await function("key")

        self.loop.run_until_complete(call())

    def time_miss_1k(self, impl):
        function = self.one
        for n in range(CALLS):
            function(n)
        function.cache_clear()

    def time_miss_of_a_coroutine_function_1k(self, impl):
        async def call():
            function = self.coroutine
            for n in range(CALLS):
                await function(n)
            function.cache_clear()

        self.loop.run_until_complete(call())
