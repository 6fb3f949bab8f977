"""Placement of keys beside the packages that others use: one, many, replicas, nodes that come and go.

All have the same nodes, keys and points a node, but for hashring, which knows no other number than 120. Their
hashes differ, as each package has chosen one, and that is much of what is measured: hashing is part of every
lookup. mmh3 is the fastest that uhashring can be given here.
"""

from functools import partial

import clandestined
import jump
import mmh3
import numpy as np
import pylibmc
import pytest
from placement_workloads import (
    BATCH,
    KEYS,
    MANY_NODES,
    MILLION,
    NEW_NODE,
    NODES,
    SIZE,
    SLICE,
    array_of,
    calls,
    calls_with,
    comes_and_goes,
    first_three,
    hashring_md5,
    in_order,
    jump_over_xxh3,
    looks_up,
    names,
    penstock_ring,
    scattered,
    slice_by_slice,
    takes_and_gives_back,
    uhashring_ketama,
    uhashring_md5,
    uhashring_mmh3,
)
from pymemcache.client.rendezvous import RendezvousHash as PymemcacheRendezvousHash
from xxhash import xxh3_64_intdigest

from penstock.hashring import (
    AnchorHash,
    BoundedLoadRing,
    FrozenRing,
    HashRing,
    MaglevTable,
    RendezvousHash,
    jump_hash,
    jump_hash_many,
)

FEW_NODES = names(10)


def unsigned_mmh3(text, seed):
    return mmh3.hash(text, seed, signed=False)


def test_get_node(race):
    race(
        "The node of a str, 100 nodes of 160 points",
        {
            "penstock": calls(penstock_ring(NODES).get_node),
            "penstock, frozen": calls(FrozenRing(NODES).get_node),
            "uhashring, md5": calls(uhashring_md5(NODES).get_node),
            "uhashring, mmh3": calls(uhashring_mmh3(NODES).get_node),
            "hashring, md5, 120 points": calls(hashring_md5(NODES).get_node),
            "jump-consistent-hash over xxh3": calls(jump_over_xxh3),
            "a dict that knows every key": looks_up(dict.fromkeys(KEYS, NODES[0])),
            "empty method of a C type": calls_of_nothing,
        },
        SIZE,
    )


def calls_of_nothing():
    method = "".isascii
    for _ in KEYS:
        method()


@pytest.mark.parametrize("order", [in_order, scattered])
def test_get_node_among_a_million_keys(race, order):
    keys = order(MILLION)
    for_each = partial(slice_by_slice, calls, keys=keys)
    race(
        f"The node of a str, 100 nodes, a million keys {order.__name__.replace('_', ' ')}",
        {
            "penstock": for_each(penstock_ring(NODES).get_node),
            "uhashring, md5": for_each(uhashring_md5(NODES).get_node),
            "uhashring, mmh3": for_each(uhashring_mmh3(NODES).get_node),
            "jump-consistent-hash over xxh3": for_each(jump_over_xxh3),
            "a dict that knows every key": slice_by_slice(looks_up, dict.fromkeys(keys, NODES[0]), keys),
        },
        SLICE,
    )


def test_get_node_in_other_ways(race):
    race(
        "The node of a str, 100 nodes, other ways to place it",
        {
            "penstock": calls(penstock_ring(NODES).get_node),
            "penstock, BoundedLoadRing, taken and given back": takes_and_gives_back(BoundedLoadRing(NODES)),
            "penstock, MaglevTable": calls(MaglevTable(NODES).get_node),
            "penstock, AnchorHash": calls(AnchorHash(NODES).get_node),
            "penstock, RendezvousHash": calls(RendezvousHash(NODES).get_node),
        },
        SIZE,
    )


def test_get_node_by_ketama(race):
    servers = pylibmc.Client(NODES, behaviors={"ketama_weighted": True})
    race(
        "The node of a str by ketama, 100 nodes of 160 points",
        {
            "penstock": calls(HashRing(NODES, hash="ketama-weighted").get_node),
            "uhashring, ketama": calls(uhashring_ketama(NODES).get_node),
            "libmemcached by pylibmc, a number": calls(servers.hash),
        },
        SIZE,
    )


def test_get_three_nodes(race):
    race(
        "Three nodes for a str, 100 nodes of 160 points",
        {
            "penstock": calls_with(penstock_ring(NODES).get_nodes, 3),
            "uhashring, md5": first_three(uhashring_md5(NODES)),
            "uhashring, mmh3": first_three(uhashring_mmh3(NODES)),
        },
        SIZE,
    )


def test_get_many(race):
    keys = in_order(BATCH)
    array, ring = array_of(keys), penstock_ring(NODES)
    uhashring, uhashring_fast = uhashring_md5(NODES).get_node, uhashring_mmh3(NODES).get_node
    race(
        f"The nodes of {BATCH:,} keys, 100 nodes of 160 points, a key",
        {
            "penstock": partial(ring.get_many, keys),
            "penstock, numpy S16": partial(ring.get_many, array),
            "uhashring, md5": lambda: [uhashring(key) for key in keys],
            "uhashring, mmh3": lambda: [uhashring_fast(key) for key in keys],
            "jump-consistent-hash over xxh3": lambda: [jump_over_xxh3(key) for key in keys],
        },
        BATCH,
    )


def test_build(race):
    race(
        "A ring of 1,000 nodes of 160 points",
        {
            "penstock": partial(penstock_ring, MANY_NODES),
            "uhashring, md5": partial(uhashring_md5, MANY_NODES),
            "uhashring, mmh3": partial(uhashring_mmh3, MANY_NODES),
            "hashring, md5, 120 points": partial(hashring_md5, MANY_NODES),
        },
    )


@pytest.mark.parametrize("nodes", [NODES, MANY_NODES], ids=len)
def test_add_or_remove_a_node(race, nodes):
    race(
        f"One node more or less, {len(nodes):,} nodes of 160 points",
        {
            "penstock": comes_and_goes(penstock_ring(nodes), NEW_NODE),
            "uhashring, md5": comes_and_goes(uhashring_md5(nodes), NEW_NODE),
            "uhashring, mmh3": comes_and_goes(uhashring_mmh3(nodes), NEW_NODE),
        },
        2,
    )


def test_rendezvous(race):
    mmh3_for_pymemcache = PymemcacheRendezvousHash(FEW_NODES, hash_function=unsigned_mmh3)
    race(
        "The node of a str by rendezvous, 10 nodes",
        {
            "penstock": calls(RendezvousHash(FEW_NODES).get_node),
            "pymemcache": calls(PymemcacheRendezvousHash(FEW_NODES).get_node),
            "pymemcache, mmh3": calls(mmh3_for_pymemcache.get_node),
            "clandestined": calls(clandestined.RendezvousHash(FEW_NODES).find_node),
        },
        SIZE,
    )


def test_jump_hash(race):
    keys = [xxh3_64_intdigest(key.encode()) for key in KEYS]
    race(
        "jump_hash of an int, 100 buckets",
        {
            "penstock": calls_with(jump_hash, 100, keys),
            "jump-consistent-hash": calls_with(jump.hash, 100, keys),
        },
        SIZE,
    )


def test_jump_hash_many(race):
    keys = [xxh3_64_intdigest(key.encode()) for key in in_order(BATCH)]
    hash_one = jump.hash
    race(
        f"jump_hash of {BATCH:,} ints, 100 buckets, an int",
        {
            "penstock": partial(jump_hash_many, keys, 100),
            "penstock, numpy uint64": partial(jump_hash_many, np.array(keys, np.uint64), 100),
            "jump-consistent-hash": lambda: [hash_one(key, 100) for key in keys],
        },
        BATCH,
    )
