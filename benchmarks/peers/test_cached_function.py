"""The decorator beside those that people use today: hits among 1,000 results, 1,000 calls a time.

Single flight is what penstock, cachebox, moka-py (asked to), theine and async-lru do; functools and
cachetools compute a result as often as it is missed at once, so they are measured as what they are, and
cachetools once more with a condition, which makes it wait. A method's results are kept by one cache for all
objects, except by cachebox and cachetools, which look the cache up at the object. Coroutine functions are
awaited within one task of one running loop; cachetools and functools cannot remember what those return.
"""

import asyncio
from functools import lru_cache, partial
from operator import attrgetter
from threading import Condition

import cachebox
import cachetools
import moka_py
import pytest
from async_lru import alru_cache
from cache_workloads import KEYS, SIZE, calls, empty_calls
from theine import Memoize

from penstock.cache._cached_function_py import CachedFunction as PurePythonCachedFunction
from penstock.cache.cached_function import cached

AWAITS = 10  # times all keys in one call, so that entering the loop weighs nothing

OURS = {
    "penstock": cached(maxsize=SIZE),
    "penstock, sieve": cached(maxsize=SIZE, policy="sieve"),
    "penstock, pure Python": partial(PurePythonCachedFunction, maxsize=SIZE),
}
FLOORS = {"empty method of a C type": empty_calls}


def moka():
    return moka_py.cached(SIZE, policy="lru", wait_concurrent=True)


def decorators():
    """Ours and those of others, with new caches."""
    return OURS | {
        "functools.lru_cache": lru_cache(SIZE),
        "cachebox": cachebox.cached(cachebox.LRUCache(SIZE)),
        "cachetools": cachetools.cached(cachetools.LRUCache(SIZE)),
        "cachetools (condition)": cachetools.cached(cachetools.LRUCache(SIZE), condition=Condition()),
        "moka-py": moka(),
        "theine (tinylfu)": Memoize(SIZE, None),
    }


def calls_with_two(function):
    def run():
        for key in KEYS:
            function(key, 1)

    return run


def known(run):
    """`run`, after a run in which everything was computed."""
    run()
    return run


def test_hit_with_one_argument(race):
    contestants = {name: known(calls(decorate(lambda key: key))) for name, decorate in decorators().items()}
    race("@cached, a hit with one str", contestants | FLOORS, SIZE)


def test_hit_with_two_arguments(race):
    contestants = {
        name: known(calls_with_two(decorate(lambda key, n: key))) for name, decorate in decorators().items()
    }
    race("@cached, a hit with a str and an int", contestants | FLOORS, SIZE)


def owner_of(decorate, cache=None):
    """An object with a decorated method."""

    class Owner:
        def __init__(self):
            self.cache = cache

        @decorate
        def method(self, key):
            return key

    return Owner()


def test_hit_of_a_method(race):
    at_class = OURS | {
        "functools.lru_cache": lru_cache(SIZE),
        "moka-py": moka(),
        "theine (tinylfu)": Memoize(SIZE, None),
    }
    owners = {name: owner_of(decorate) for name, decorate in at_class.items()} | {
        "cachebox": owner_of(cachebox.cached(attrgetter("cache")), cachebox.LRUCache(SIZE)),
        "cachetools": owner_of(cachetools.cachedmethod(attrgetter("cache")), cachetools.LRUCache(SIZE)),
    }
    contestants = {name: known(calls(owner.method)) for name, owner in owners.items()}
    race("@cached, a hit of a method", contestants | FLOORS, SIZE)


@pytest.fixture
def loop():
    with asyncio.Runner() as runner:
        yield runner.get_loop()


async def same(key):
    return key


def awaits(loop, function):
    async def await_all():
        for _ in range(AWAITS):
            for key in KEYS:
                await function(key)

    return lambda: loop.run_until_complete(await_all())


def test_hit_of_a_coroutine_function(race, loop):
    functions = {name: decorate(same) for name, decorate in OURS.items()} | {
        "async-lru": alru_cache(SIZE)(same),
        "cachebox": cachebox.cached(cachebox.LRUCache(SIZE))(same),
        "moka-py": moka()(same),
        "theine (tinylfu)": Memoize(SIZE, None)(same),
        "empty coroutine function": same,
    }
    contestants = {name: known(awaits(loop, function)) for name, function in functions.items()}
    race("@cached, a hit of a coroutine function, awaited", contestants, AWAITS * SIZE)
