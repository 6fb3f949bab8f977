"""What a cache takes in memory beside its keys and values, measured by a script in a process of its own.

usage: cache_memory.py CONTESTANT ENTRIES

Prints the growth of resident memory in bytes, and the entries held, after ENTRIES were stored in a cache of
that size. Keys and values were there before, and so was the code.
"""

import gc
import sys
from ctypes import CDLL
from pathlib import Path
from resource import getpagesize

ANY_ENTRIES = 10  # stored beforehand, so that what is loaded or made for the first entry is not counted
TTL = 3600


def subscripted(make):
    """Fills what `make(maxsize)` returns by subscripts."""

    def fill(keys, values):
        cache = make(len(keys))
        for key, value in zip(keys, values, strict=True):
            cache[key] = value
        return cache, len(cache)

    return fill


def penstock(**options):
    def load():
        from penstock.cache import Cache

        return subscripted(lambda size: Cache(size, **options))

    return load


def dictionary():
    return subscripted(lambda size: {})


def cachebox_lru():
    import cachebox

    return subscripted(cachebox.LRUCache)


def cachebox_ttl():
    import cachebox

    return subscripted(lambda size: cachebox.TTLCache(size, TTL))


def lru_dict():
    from lru import LRU

    return subscripted(LRU)


def cachetools_lru():
    import cachetools

    return subscripted(cachetools.LRUCache)


def cachetools_ttl():
    import cachetools

    return subscripted(lambda size: cachetools.TTLCache(size, TTL))


def functools_lru():
    from functools import lru_cache

    def fill(keys, values):
        following = iter(values)
        function = lru_cache(len(keys))(lambda key: next(following))
        for key in keys:
            function(key)
        return function, function.cache_info().currsize

    return fill


def moka():
    from moka_py import Moka

    def fill(keys, values):
        cache = Moka(len(keys))
        for key, value in zip(keys, values, strict=True):
            cache.set(key, value)
        cache.run_pending_tasks()
        return cache, cache.count()

    return fill


def theine():
    from theine import Cache

    def fill(keys, values):
        cache = Cache(len(keys))
        for key, value in zip(keys, values, strict=True):
            cache.set(key, value)
        return cache, len(cache)

    return fill


CONTESTANTS = {
    "penstock, lru": penstock(),
    "penstock, lru with ttl": penstock(ttl=TTL),
    "penstock, fifo": penstock(policy="fifo"),
    "penstock, sieve": penstock(policy="sieve"),
    "penstock, s3fifo": penstock(policy="s3fifo"),
    "penstock, tinylfu": penstock(policy="tinylfu"),
    "penstock, lfu": penstock(policy="lfu"),
    "dict": dictionary,
    "cachebox, LRUCache": cachebox_lru,
    "cachebox, TTLCache": cachebox_ttl,
    "lru-dict": lru_dict,
    "functools.lru_cache": functools_lru,
    "cachetools, LRUCache": cachetools_lru,
    "cachetools, TTLCache": cachetools_ttl,
    "moka-py": moka,
    "theine": theine,
}


def resident_bytes():
    """Resident memory of this process, after what is free was given back."""
    gc.collect()
    CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()


def growth(contestant, entries):
    """Bytes by which memory grew when `contestant` was filled, and the entries that it then held."""
    fill = CONTESTANTS[contestant]()
    keys, values = [f"key:{n}" for n in range(entries)], [f"value:{n}" for n in range(entries)]
    fill(keys[:ANY_ENTRIES], values[:ANY_ENTRIES])
    before = resident_bytes()
    cache, held = fill(keys, values)
    after = resident_bytes()
    del cache  # not before memory was read
    return after - before, held


if __name__ == "__main__":
    print(*growth(sys.argv[1], int(sys.argv[2])))
