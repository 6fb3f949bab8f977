"""The caches beside those that people use today: 1,000 entries in front, 100,000 under a Zipf stream.

What a peer cannot do is left out, not imitated: moka-py and theine have no subscripts, so they are seen
where methods are called; functools.lru_cache only looks up, since storing is calling a function; lru-dict
has no ttl; theine has none but that of each entry; cachetools asks a function for that of each entry.
moka-py and theine put off part of their work, and do it in batches within the calls that are timed. At scale
they would take most of the time of a race, and are left out too.
"""

from datetime import timedelta
from functools import lru_cache, partial
from itertools import chain
from typing import NamedTuple

import cachebox
import cachetools
import pytest
from cache_workloads import (
    KEYS,
    SIZE,
    calls,
    each_in_turn,
    empty_calls,
    filled,
    fresh_keys,
    gets,
    gets_or_stores,
    in_batches,
    looks_up,
    puts_for,
    scattered_keys,
    sets,
    sets_for,
    stores,
    zipf,
)
from lru import LRU
from moka_py import Moka
from theine import Cache as Theine

from penstock.cache import Cache
from penstock.cache._cache_py import Cache as PurePythonCache

TTL = 3600
CHURNED = 10_000

OURS = {
    "penstock": Cache,
    "penstock, sieve": partial(Cache, policy="sieve"),
    "penstock, tinylfu": partial(Cache, policy="tinylfu"),
    "penstock, pure Python": PurePythonCache,
}
SUBSCRIPTED = OURS | {
    "lru-dict": LRU,
    "cachebox": cachebox.LRUCache,
    "cachetools": cachetools.LRUCache,
}
CALLED = {
    "moka-py": partial(Moka, policy="lru"),
    "theine (tinylfu)": Theine,
}
SUBSCRIPTED_WITH_TTL = {
    "penstock": partial(Cache, ttl=TTL),
    "penstock, pure Python": partial(PurePythonCache, ttl=TTL),
    "cachebox": partial(cachebox.TTLCache, global_ttl=TTL),
    "cachetools": partial(cachetools.TTLCache, ttl=TTL),
}
CALLED_WITH_TTL = {"moka-py": partial(Moka, ttl=TTL, policy="lru")}
FLOORS = {"empty method of a C type": empty_calls}

AT_SCALE = {
    "penstock": Cache,
    "penstock, sieve": partial(Cache, policy="sieve"),
    "penstock, s3fifo": partial(Cache, policy="s3fifo"),
    "penstock, tinylfu": partial(Cache, policy="tinylfu"),
    "cachebox": cachebox.LRUCache,
    "lru-dict": LRU,
    "cachetools": cachetools.LRUCache,
}
AT_SCALE_WITH_TTL = {
    name: make for name, make in SUBSCRIPTED_WITH_TTL.items() if name != "penstock, pure Python"
}


def every(operation, makers, *args):
    """`operation` on a full cache of each kind."""
    return {name: operation(filled(make(SIZE)), *args) for name, make in makers.items()}


def memoized():
    function = lru_cache(SIZE)(lambda key: key)
    for key in KEYS:
        function(key)
    return calls(function)


def test_hit_by_subscript(race):
    floors = {"functools.lru_cache": memoized(), "dict": looks_up(filled({}))} | FLOORS
    race("a hit by subscript", every(looks_up, SUBSCRIPTED) | floors, SIZE)


def test_hit_by_get(race):
    floors = {"dict": gets(filled({}))} | FLOORS
    race("a hit by get", every(gets, SUBSCRIPTED | CALLED) | floors, SIZE)


def test_miss_by_get(race):
    absent = [f"absent:{n}" for n in range(SIZE)]
    floors = {"dict": gets(filled({}), absent)} | FLOORS
    race("a miss by get", every(gets, SUBSCRIPTED | CALLED, absent) | floors, SIZE)


def test_replace(race):
    floors = {"dict": stores(filled({}))} | FLOORS
    race("a value replaced", every(stores, SUBSCRIPTED) | every(sets, CALLED) | floors, SIZE)


def churned(size):
    """Contestants that store what they do not hold, batch after batch, and evict as much."""
    batches = fresh_keys(size)
    kept = list(chain.from_iterable(batches))[:size]
    full = {name: filled(make(size), kept) for name, make in (SUBSCRIPTED | CALLED).items()}
    return {
        name: each_in_turn(sets if name in CALLED else stores, cache, batches) for name, cache in full.items()
    }


def test_store_and_evict(race):
    race("an entry stored and another evicted", churned(SIZE) | FLOORS, SIZE)


def test_store_and_evict_of_10_000(race):
    race("an entry stored and another of 10,000 evicted", churned(CHURNED) | FLOORS, SIZE)


def test_hit_with_ttl(race):
    floors = {"dict": gets(filled({}))} | FLOORS
    race("a hit by get, with a ttl", every(gets, SUBSCRIPTED_WITH_TTL | CALLED_WITH_TTL) | floors, SIZE)


def test_replace_with_ttl(race):
    race(
        "a value replaced, with a ttl",
        every(stores, SUBSCRIPTED_WITH_TTL) | every(sets, CALLED_WITH_TTL) | FLOORS,
        SIZE,
    )


def test_replace_with_a_ttl_of_its_own(race):
    ours = {"penstock": Cache, "penstock, pure Python": PurePythonCache}
    peers = {
        "cachebox (VTTLCache)": puts_for(filled(cachebox.VTTLCache(SIZE)).insert, TTL),
        "moka-py": puts_for(filled(Moka(SIZE, policy="lru")).set, TTL),
        "theine (tinylfu)": puts_for(filled(Theine(SIZE)).set, timedelta(seconds=TTL)),
    }
    race("a value replaced, with a ttl of its own", every(sets_for, ours, TTL) | peers | FLOORS, SIZE)


class Scale(NamedTuple):
    """Keys and requests that fit no cache of the processor."""

    size: int
    """Entries of a cache, a tenth of all keys."""
    keys: list[str]
    held: list[str]
    """As many keys as a cache holds, from all over memory."""
    requests: list[list[str]]
    """A Zipf stream in batches."""


@pytest.fixture(scope="module")
def scale(pytestconfig):
    size = 1_000 if pytestconfig.getoption("benchmark_disable") else 100_000
    keys = scattered_keys(10 * size)
    return Scale(size, keys, keys[:size][::-1], in_batches(zipf(keys, 20 * size), size))


def all_held(operation, makers, scale):
    """`operation` on every key of full caches, filled in another order than they are then asked."""
    caches = {name: make(scale.size) for name, make in makers.items()} | {"dict": {}}
    return {name: operation(filled(cache, sorted(scale.held)), scale.held) for name, cache in caches.items()}


def test_get_or_store_at_scale(race, scale):
    caches = {name: make(scale.size) for name, make in AT_SCALE.items()} | {"dict (keeps all)": {}}
    contestants = {
        name: each_in_turn(gets_or_stores, cache, scale.requests) for name, cache in caches.items()
    }
    for run in contestants.values():
        for _ in range(len(scale.requests) // 2):  # until every cache is full of what is asked for often
            run()
    race("100,000 of a million Zipf keys: get, and store what is missing", contestants, scale.size)


def test_hit_at_scale(race, scale):
    race("100,000 entries: a hit by get, in random order", all_held(gets, AT_SCALE, scale), scale.size)


def test_store_and_evict_at_scale(race, scale):
    caches = {name: filled(make(scale.size), scale.held) for name, make in AT_SCALE.items()}
    batches = in_batches(scale.keys, scale.size)
    race(
        "100,000 entries: one of a million stored, another evicted",
        {name: each_in_turn(stores, cache, batches) for name, cache in caches.items()},
        scale.size,
    )


def test_hit_with_ttl_at_scale(race, scale):
    contestants = all_held(gets, AT_SCALE_WITH_TTL, scale)
    race("100,000 entries with a ttl: a hit by get, in random order", contestants, scale.size)


def test_replace_with_ttl_at_scale(race, scale):
    contestants = all_held(stores, AT_SCALE_WITH_TTL, scale)
    race("100,000 entries with a ttl: a value replaced, in random order", contestants, scale.size)
