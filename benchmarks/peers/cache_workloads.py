"""What caches are asked to do in the races: loops as cheap as Python can make them, and streams of keys."""

from itertools import cycle

import numpy as np

SIZE = 1_000  # entries of a hot cache, and operations in one call
KEYS = [f"key:{n}" for n in range(SIZE)]


def looks_up(cache, keys=KEYS):
    """Returns a callable that subscripts `cache` with every key."""

    def run():
        for key in keys:
            cache[key]

    return run


def calls(function, keys=KEYS):
    """Returns a callable that calls `function(key)` for every key."""

    def run():
        for key in keys:
            function(key)

    return run


def gets(cache, keys=KEYS):
    return calls(cache.get, keys)


def stores(cache, keys=KEYS):
    def run():
        for key in keys:
            cache[key] = key

    return run


def sets(cache, keys=KEYS):
    """For caches without subscripts."""
    put = cache.set

    def run():
        for key in keys:
            put(key, key)

    return run


def puts_for(put, ttl):
    """Stores each entry with a time to live of its own, the third argument of the peers."""

    def run():
        for key in KEYS:
            put(key, key, ttl)

    return run


def sets_for(cache, ttl):
    """The same as penstock spells it."""
    put = cache.set

    def run():
        for key in KEYS:
            put(key, key, ttl=ttl)

    return run


def each_in_turn(operation, cache, batches):
    """Returns a callable that does `operation` with the next of `batches` at each call."""
    runs = cycle([operation(cache, batch) for batch in batches])
    return lambda: next(runs)()


def gets_or_stores(cache, keys):
    get = cache.get

    def run():
        for key in keys:
            if get(key) is None:
                cache[key] = key

    return run


def filled(cache, keys=KEYS):
    """`cache`, when it holds all `keys`; each is its own value.

    A race of hits is one only if nothing was refused or evicted meanwhile, so that is checked.
    """
    put = getattr(cache, "__setitem__", None) or cache.set
    for key in keys:
        put(key, key)
    found = cache.get
    assert all(found(key) in (key, (key, True)) for key in keys), "an entry is missing"
    return cache


def in_batches(keys, size):
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def fresh_keys(size):
    """Batches that together hold 20 times as many keys as a cache of `size`.

    They come in the order in which they lie in memory, which else would depend on what ran before.
    """
    return in_batches(sorted((f"stream:{n}" for n in range(20 * size)), key=id), SIZE)


def scattered_keys(count):
    """`count` keys whose order says nothing about where they lie in memory."""
    names = [f"key:{n}" for n in range(count)]
    return [names[n] for n in np.random.default_rng(4).permutation(count)]


def zipf(keys, requests, exponent=0.99):
    """`requests` of `keys`, the first being the most popular; always the same ones.

    Drawn as YCSB and the benchmarks of golang-fifo draw them, so that hit ratios can be compared with
    theirs: only the first two keys have exactly their share, and the stream is a little more skewed.

    Source: Gray et al., Quickly Generating Billion-Record Synthetic Databases, SIGMOD 1994.
    """
    count = len(keys)
    zeta = (np.arange(1, count + 1, dtype=np.float64) ** -exponent).sum()
    zeta_of_two = 1 + 0.5**exponent
    eta = (1 - (2 / count) ** (1 - exponent)) / (1 - zeta_of_two / zeta)
    drawn = np.random.default_rng(99).random(requests)
    ranks = (count * (1 - eta * (1 - drawn)) ** (1 / (1 - exponent))).astype(np.int64)
    ranks[drawn * zeta < zeta_of_two] = 1
    ranks[drawn * zeta < 1] = 0
    return [keys[rank] for rank in ranks]


def empty_calls():
    method = "".isascii
    for _ in range(SIZE):
        method()
