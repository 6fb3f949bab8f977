"""The figures that the caches are held to, each beside its goal: time, memory, hit ratio.

Memory is measured in a fresh process for each contestant; keys and values are there before, and not counted.
Hit ratios are compared with those that the benchmark of golang-fifo has published, for the same Zipf stream,
cache size and number of requests.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import cache_memory
import cachebox
import pytest
from cache_workloads import (
    KEYS,
    SIZE,
    calls,
    each_in_turn,
    filled,
    fresh_keys,
    gets,
    looks_up,
    scattered_keys,
    sets_for,
    stores,
    zipf,
)
from figures import table, verdict
from lru import LRU
from moka_py import Moka
from theine import Cache as Theine

from penstock.cache import Cache
from penstock.cache.cached_function import cached

TTL = 3600
CHURNED = 10_000
AWAITS = 10  # times all keys in one call, so that entering the loop weighs nothing


def churns(make):
    """Stores what is not there in a full cache of 10,000."""
    batches = fresh_keys(CHURNED)
    run = each_in_turn(stores, make(CHURNED), batches)
    for _ in batches:
        run()
    return run


def remembers(decorate):
    """Calls a decorated function whose results are known."""
    run = calls(decorate(lambda key: key))
    run()
    return run


def awaits_hits(loop):
    """Awaits a decorated coroutine function whose results are known."""

    @cached(maxsize=SIZE)
    async def same(key):
        return key

    async def await_all():
        for _ in range(AWAITS):
            for key in KEYS:
                await same(key)

    return lambda: loop.run_until_complete(await_all())


def test_goals_of_the_caches(goals):
    plain, timed = filled(Cache(SIZE)), filled(Cache(SIZE, ttl=TTL))
    with asyncio.Runner() as runner:
        goals(
            "Caches of 1,000 str keys",
            {
                "a hit by subscript": (looks_up(plain), SIZE, 30),
                "a hit by get": (gets(plain), SIZE, 40),
                "a value replaced": (stores(plain), SIZE, 40),
                "get, with a ttl": (gets(timed), SIZE, 55),
                "set, with a ttl": (stores(timed), SIZE, 75),
                "set, with a ttl of its own": (sets_for(filled(Cache(SIZE)), TTL), SIZE, 90),
                "one of 10,000 evicted": (churns(Cache), SIZE, 110),
                "@cached, a hit with one str": (remembers(cached(maxsize=SIZE)), SIZE, 75),
                "@cached, a hit awaited": (awaits_hits(runner.get_loop()), AWAITS * SIZE, 220),
            },
        )


class Line(NamedTuple):
    """How long penstock may take for something: at most so many times what a peer takes in the same race."""

    title: str
    peer: str
    ours: Callable[[], Callable[[], object]]
    """Makes what is raced, and so does the next."""
    theirs: Callable[[], Callable[[], object]]
    most: float


def full(operation, make):
    """Makes `operation` on a full cache."""
    return lambda: operation(filled(make(SIZE)))


def timed_cache(size):
    return Cache(size, ttl=TTL)


def timed_cachebox(size):
    return cachebox.TTLCache(size, TTL)


def remembered_by(decorator):
    """Makes calls of a function that `decorator()` decorates."""
    return lambda: remembers(decorator())


HIT = "@cached, a hit"
OURS = remembered_by(lambda: cached(maxsize=SIZE))
FUNCTOOLS = remembered_by(lambda: lru_cache(SIZE))
CACHEBOX = remembered_by(lambda: cachebox.cached(cachebox.LRUCache(SIZE)))
LINES = (
    Line(HIT, "functools.lru_cache", OURS, FUNCTOOLS, 1.2),
    Line(HIT, "cachebox.cached", OURS, CACHEBOX, 1 / 4),
    Line("a hit by subscript", "lru-dict", full(looks_up, Cache), full(looks_up, LRU), 1),
    Line("one of 10,000 evicted", "cachebox", partial(churns, Cache), partial(churns, cachebox.LRUCache), 1),
    Line("get, with a ttl", "cachebox", full(gets, timed_cache), full(gets, timed_cachebox), 1),
    Line("set, with a ttl", "cachebox", full(stores, timed_cache), full(stores, timed_cachebox), 1),
)


@pytest.fixture(scope="module")
def ratios():
    """One table for the races of all lines."""
    rows = table("The caches as multiples of a peer", "operation", "peer", "ratio", "goal", "")
    rows.caption = "8 threads on one SieveCache, >= 3 times one: not run: no free-threaded interpreter"
    return rows


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.title} / {line.peer}")
def test_ratio_to_a_peer(race, show, ratios, smoke, line):
    if line is LINES[0]:
        show(ratios)
    medians = race(line.title, {"penstock": line.ours(), line.peer: line.theirs()}, SIZE)
    ratio = medians["penstock"] / medians[line.peer]
    judged = verdict(ratio <= line.most, smoke)
    ratios.add_row(line.title, line.peer, f"{ratio:.2f}", f"≤ {line.most:.2f}", judged)


MEMORY_GOALS = {
    "penstock, lru": 56,
    "penstock, lru with ttl": 64,
    "penstock, fifo": 60,
    "penstock, sieve": 60,
    "penstock, s3fifo": 60,
    "penstock, tinylfu": 60,
    "penstock, lfu": 60,
}
"""Bytes an entry. Those of LRU come from table 2.5 of the specification, the others from the issue."""


def bytes_an_entry(contestant, entries):
    """What an entry costs beside its key and value, and how many of the entries were held."""
    command = [sys.executable, cache_memory.__file__, contestant, str(entries)]
    grown, held = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(grown) / int(held), int(held)


def test_memory_of_an_entry(show, smoke):
    entries = 10_000 if smoke else 1_000_000
    rows = table(f"Resident memory, {entries:,} entries", "cache", "entries held", "bytes each", "goal", "")
    for contestant in cache_memory.CONTESTANTS:
        figure, held = bytes_an_entry(contestant, entries)
        assert held > entries * 0.95, f"{contestant} holds {held} entries only"
        goal = MEMORY_GOALS.get(contestant)
        judged = ("", "") if goal is None else (str(goal), verdict(figure <= goal, smoke))
        rows.add_row(contestant, f"{held:,}", f"{figure:.1f}", *judged)
    show(rows)


PUBLISHED = {"lru": 36.57, "sieve": 47.41, "s3fifo": 47.17, "tinylfu": 47.37}
"""Hits of 100 requests that golang-fifo's benchmark found: Zipf 0.99, a cache of 0.1 % of 500,000 items.

That of LRU holds for any LRU cache, and so tells whether the stream is the same.
"""
TOLERANCE = 0.5  # points below what was published


def asked(cache):
    """How a mapping is asked whether it holds a key, and told to."""
    return cache.get, cache.__setitem__


def asked_by_methods(cache):
    return cache.get, cache.set


def asked_theine(cache):
    return (lambda key: cache.get(key)[0]), cache.set


RATIO_CONTESTANTS = {
    f"penstock, {policy}": lambda size, policy=policy: asked(Cache(size, policy=policy))
    for policy in ("lru", "fifo", "sieve", "s3fifo", "tinylfu", "lfu")
} | {
    "theine (tinylfu)": lambda size: asked_theine(Theine(size)),
    "moka-py (tinylfu)": lambda size: asked_by_methods(Moka(size)),
    "cachebox (lfu)": lambda size: asked(cachebox.LFUCache(size)),
}


def hit_ratio(get, put, requests):
    """Hits of 100 requests, where what is missing is stored."""
    hits = 0
    for key in requests:
        if get(key) is None:
            put(key, key)
        else:
            hits += 1
    return 100 * hits / len(requests)


def test_hit_ratio_under_a_zipf_stream(show, smoke):
    items, count = (20_000, 20_000) if smoke else (500_000, 7_500_000)
    requests = zipf(scattered_keys(items), count)
    title = f"Hits of 100 requests, Zipf 0.99 over {items:,} keys, {items // 1_000} entries"
    rows = table(title, "cache", "hits", "published", "difference", "")
    for name, make in RATIO_CONTESTANTS.items():
        figure = hit_ratio(*make(items // 1_000), requests)
        published = PUBLISHED.get(name.removeprefix("penstock, "))
        judged = ("", "", "")
        if published is not None:
            difference = figure - published
            judged = (f"{published:.2f}", f"{difference:+.2f}", verdict(difference >= -TOLERANCE, smoke))
        rows.add_row(name, f"{figure:.2f}", *judged)
    show(rows)
