"""What placements are asked to do in the races, in loops as cheap as Python can make them."""

from itertools import cycle

import jump
import mmh3
import numpy as np
import uhashring
from xxhash import xxh3_64_intdigest

from hashring import HashRing as AmirsHashRing
from penstock.hashring import HashRing

VNODES = 160  # points a node; the default of uhashring, too
SIZE = 1_000  # keys that are asked for again and again, and lookups in one call
KEYS = [f"user:{n}" for n in range(SIZE)]

BATCH = 100_000  # keys in one batch
MILLION = 1_000_000
SLICE = 25_000  # of a million keys, asked for in one call


def names(count):
    """Addresses, as nodes often have for names."""
    return [f"10.0.{n // 250}.{n % 250}:6379" for n in range(count)]


NODES = names(100)
MANY_NODES = names(1_000)
NEW_NODE = "10.9.9.9:6379"


# ---- what is asked


def calls(function, keys=KEYS):
    """Returns a callable that calls `function(key)` for every key."""

    def run():
        for key in keys:
            function(key)

    return run


def calls_with(function, argument, keys=KEYS):
    """Returns a callable that calls `function(key, argument)` for every key."""

    def run():
        for key in keys:
            function(key, argument)

    return run


def looks_up(mapping, keys=KEYS):
    """Returns a callable that subscripts `mapping` with every key."""

    def run():
        for key in keys:
            mapping[key]

    return run


def slice_by_slice(operation, subject, keys):
    """Returns a callable that does `operation` with the next slice of the keys at each call.

    Before a key comes again, all others have pushed it out of the processor's caches.
    """
    runs = cycle([operation(subject, keys[start : start + SLICE]) for start in range(0, len(keys), SLICE)])
    return lambda: next(runs)()


def comes_and_goes(ring, name):
    """Returns a callable that adds a node and removes it: two changes."""
    add, remove = ring.add_node, ring.remove_node

    def run():
        add(name)
        remove(name)

    return run


def takes_and_gives_back(ring):
    """Returns a callable that acquires a node for every key and releases it at once."""
    acquire, release = ring.acquire, ring.release

    def run():
        for key in KEYS:
            release(acquire(key))

    return run


def first_three(ring, keys=KEYS):
    """Returns a callable that asks uhashring for three nodes for every key, as a list of names."""
    walk = ring.range

    def run():
        for key in keys:
            [node["nodename"] for node in walk(key, size=3)]

    return run


# ---- keys


def in_order(count):
    """Distinct keys, in the order in which they lie in memory, more or less."""
    return [f"user:{n}" for n in range(count)]


def scattered(count):
    """The same in an order that says nothing about where they lie in memory."""
    keys = in_order(count)
    return [keys[n] for n in np.random.default_rng(5).permutation(count)]


def array_of(keys):
    """The keys as bytes of one width, as a column of a table holds them."""
    return np.array([key.encode() for key in keys], "S16")


# ---- rings of 160 points a node, unless there is no way to say so


def penstock_ring(nodes, **options):
    return HashRing(nodes, vnodes=VNODES, **options)


def uhashring_md5(nodes):
    return uhashring.HashRing(nodes, vnodes=VNODES)


def uhashring_mmh3(nodes):
    return uhashring.HashRing(nodes, vnodes=VNODES, hash_fn=mmh3.hash)


def uhashring_ketama(nodes):
    """40 digests of four points."""
    return uhashring.HashRing(nodes, vnodes=VNODES // 4, hash_fn="ketama")


def hashring_md5(nodes):
    """Always 40 digests of three points, 120 a node."""
    return AmirsHashRing(nodes)


def jump_over_xxh3(key):
    """Not a ring: what users of jump hash write for keys that are text."""
    return NODES[jump.hash(xxh3_64_intdigest(key.encode()), len(NODES))]
