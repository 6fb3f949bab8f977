"""The LRU cache beside the caches that people use today: 1,000 entries, 1,000 operations a call."""

from functools import lru_cache
from itertools import cycle, islice

import cachebox
import cachetools
from lru import LRU

from penstock.cache import LRUCache
from penstock.cache._lru_ttl_py import LRUCache as PurePythonLRUCache

SIZE = 1_000
KEYS = [f"key:{n}" for n in range(SIZE)]

CACHES = {
    "penstock": LRUCache,
    "penstock, pure Python": PurePythonLRUCache,
    "lru-dict": LRU,
    "cachebox": cachebox.LRUCache,
    "cachetools": cachetools.LRUCache,
}

CACHES_WITH_TTL = {
    "penstock": lambda size: LRUCache(size, ttl=3600),
    "penstock, pure Python": lambda size: PurePythonLRUCache(size, ttl=3600),
    "cachebox": lambda size: cachebox.TTLCache(size, 3600),
    "cachetools": lambda size: cachetools.TTLCache(size, 3600),
}


def filled(cache):
    for key in KEYS:
        cache[key] = key
    return cache


def looks_up(cache):
    def run():
        for key in KEYS:
            cache[key]

    return run


def gets(cache):
    get = cache.get

    def run():
        for key in KEYS:
            get(key)

    return run


def replaces(cache):
    def run():
        for key in KEYS:
            cache[key] = key

    return run


def churns(cache):
    stream = cycle([f"stream:{n}" for n in range(20 * SIZE)])

    def run():
        for key in islice(stream, SIZE):
            cache[key] = key

    return run


def memoized():
    @lru_cache(SIZE)
    def function(key):
        return key

    def run():
        for key in KEYS:
            function(key)

    return run


def empty_calls():
    call = "".isascii
    for _ in KEYS:
        call()


def every(operation, caches):
    return {name: operation(filled(cache(SIZE))) for name, cache in caches.items()}


def test_hit_by_subscript(race):
    floors = {
        "functools.lru_cache": memoized(),
        "dict": looks_up(filled({})),
        "empty methods of a C type": empty_calls,
    }
    race("a hit by subscript", every(looks_up, CACHES) | floors, len(KEYS))


def test_hit_by_get(race):
    race("a hit by get", every(gets, CACHES) | {"dict": gets(filled({}))}, len(KEYS))


def test_replace(race):
    race("a value replaced", every(replaces, CACHES) | {"dict": replaces(filled({}))}, len(KEYS))


def test_set_and_evict(race):
    race("an entry stored and another evicted", every(churns, CACHES), len(KEYS))


def test_hit_with_ttl(race):
    race("a hit by subscript, with a ttl", every(looks_up, CACHES_WITH_TTL), len(KEYS))


def test_replace_with_ttl(race):
    race("a value replaced, with a ttl", every(replaces, CACHES_WITH_TTL), len(KEYS))
