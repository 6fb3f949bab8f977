"""Ordered maps beside those that people use today, in what no goal was set for.

The rest is in test_btree_goals.py.

What a peer cannot do is done as its users do it, or left out: SortedDict has no ranges of items and BTrees no
indices; neither takes many entries at once but by `update`, and neither gives a snapshot but by a copy.
"""

import pytest
from btree_workloads import (
    FULL,
    SMALL,
    calls,
    int_tree,
    iterates,
    looks_up,
    random_ints,
    shuffled,
    stored,
    stores,
)
from BTrees.LLBTree import LLBTree, LLTreeSet
from BTrees.LLBTree import union as union_of_trees
from BTrees.OOBTree import OOBTree
from sortedcontainers import SortedDict, SortedSet

from penstock.btree import BTreeMap, BTreeSet
from penstock.btree._btree_py import MapTree as PurePythonMap


@pytest.fixture(scope="module")
def sizes(pytestconfig):
    return SMALL if pytestconfig.getoption("benchmark_disable") else FULL


@pytest.fixture(scope="module")
def keys(sizes):
    """Those of trees that hold as much as an application often has, in random order."""
    return random_ints(sizes.texts).tolist()


@pytest.fixture
def trees(keys):
    return {
        "penstock": stored(int_tree(), keys),
        "penstock, object keys": stored(BTreeMap(), keys),
        "penstock, pure Python": stored(PurePythonMap(), keys),
        "SortedDict": SortedDict(zip(keys, keys, strict=True)),
        "OOBTree": stored(OOBTree(), keys),
        "LLBTree": stored(LLBTree(), keys),
    }


# ---- one entry


def test_lookup_of_ints(race, trees, keys, sizes):
    queries = shuffled(keys)[: sizes.batch]
    floors = {"dict": looks_up(stored({}, keys), queries)}
    asked = {name: looks_up(tree, queries) for name, tree in trees.items()}
    race("100,000 int keys: a lookup", asked | floors, len(queries))


def test_lookup_of_tuples(race, sizes):
    pairs = [(int(n) % 1_000, int(n)) for n in random_ints(sizes.texts) >> 20]
    queries = [(first, second) for first, second in reversed(pairs)][: sizes.batch]
    makers = {
        "penstock": BTreeMap,
        "penstock, pure Python": PurePythonMap,
        "SortedDict": SortedDict,
        "OOBTree": OOBTree,
    }
    asked = {name: looks_up(stored(make(), pairs), queries) for name, make in makers.items()}
    race("100,000 keys of two ints: a lookup", asked, len(queries))


def test_select(race, trees, keys, sizes):
    indices = [key % len(keys) for key in keys[: sizes.batch]]
    asked = {name: calls(tree.select, indices) for name, tree in trees.items() if name.startswith("penstock")}
    asked["SortedDict"] = calls(trees["SortedDict"].peekitem, indices)
    race("100,000 int keys: the i-th item", asked, len(indices))


def test_append(race, sizes):
    ascending = sorted(random_ints(sizes.inserted).tolist())
    makers = {
        "penstock": int_tree,
        "penstock, object keys": BTreeMap,
        "penstock, pure Python": PurePythonMap,
        "SortedDict": SortedDict,
        "OOBTree": OOBTree,
        "LLBTree": LLBTree,
        "dict": dict,
    }
    race(
        "50,000 ascending int keys stored from empty",
        {name: stores(make, ascending) for name, make in makers.items()},
        len(ascending),
    )


def test_delete_and_insert(race, trees, keys, sizes):
    changed = shuffled(keys)[: sizes.batch]

    def comes_and_goes(tree):
        def run():
            for key in changed:
                del tree[key]
            for key in changed:
                tree[key] = key

        return run

    race(
        "100,000 int keys: one deleted, or stored",
        {name: comes_and_goes(tree) for name, tree in trees.items()},
        2 * len(changed),
    )


def test_queue(race, trees, sizes):
    """As schedulers and timeouts use it: the least key goes, a greater one comes."""

    def turns(tree, pop_first):
        def run():
            for _ in range(sizes.batch):
                key = pop_first()[0]
                tree[key + (1 << 20)] = key

        return run

    def popped_from(tree):
        return lambda: (key := tree.minKey(), tree.pop(key))

    ours = {name: (tree, tree.pop_first) for name, tree in trees.items() if name.startswith("penstock")}
    sorted_dict = trees["SortedDict"]
    contestants = ours | {
        "SortedDict": (sorted_dict, lambda: sorted_dict.popitem(0)),
        "OOBTree": (trees["OOBTree"], popped_from(trees["OOBTree"])),
        "LLBTree": (trees["LLBTree"], popped_from(trees["LLBTree"])),
    }
    race(
        "100,000 int keys: the least taken out, another stored",
        {name: turns(*contestant) for name, contestant in contestants.items()},
        sizes.batch,
    )


# ---- many entries


def test_iteration(race, trees, keys):
    race(
        "100,000 int keys: all items, one after the other",
        {name: iterates_anew(tree) for name, tree in trees.items()},
        len(keys),
    )


def iterates_anew(tree):
    """Goes through all items, of what has no `items` by an unlimited range."""
    items = getattr(tree, "items", None) or tree.range
    return lambda: iterates(items())()


def test_unsorted_batch_into_a_tree(race, keys, sizes):
    array = random_ints(sizes.texts) + 1
    new = array.tolist()
    pairs = list(zip(new, new, strict=True))
    sorted_dict, oo, ll = (
        SortedDict(zip(keys, keys, strict=True)),
        stored(OOBTree(), keys),
        stored(LLBTree(), keys),
    )

    def ours(tree, keys_and_values):
        return lambda: tree.copy().insert_many(keys_and_values, keys_and_values)

    def theirs(tree, copied):
        return lambda: copied(tree).update(pairs)

    race(
        "100,000 int keys: a copy, and 100,000 random ones into it",
        {
            "penstock": ours(stored(int_tree(), keys), array),
            "penstock, object keys": ours(stored(BTreeMap(), keys), new),
            "SortedDict": theirs(sorted_dict, SortedDict),
            "OOBTree": theirs(oo, OOBTree),
            "LLBTree": theirs(ll, LLBTree),
        },
        len(new),
    )


def test_union(race, sizes):
    mine, others = random_ints(sizes.loaded), random_ints(sizes.loaded) + (random_ints(sizes.loaded) & 1)
    lists = mine.tolist(), others.tolist()

    def united(make):
        first, second = (make(keys) for keys in lists)
        return lambda: first | second

    def united_trees():
        first, second = (LLTreeSet(keys) for keys in lists)
        return lambda: union_of_trees(first, second)

    race(
        "two sets of 200,000 int keys united, a key of both",
        {
            "penstock": united(lambda keys: BTreeSet(keys, key_type="int64")),
            "penstock, object keys": united(BTreeSet),
            "SortedSet": united(SortedSet),
            "LLTreeSet": united_trees(),
            "set": united(set),
        },
        2 * len(mine),
    )


def test_snapshot_and_write(race, trees, keys):
    """What a reader's unchanging view costs the writer, who stores one value after it."""
    key = keys[0]

    def seen(tree, take):
        def run():
            view = take(tree)
            tree[key] = key
            return view

        return run

    ours = {
        name: seen(tree, lambda tree: tree.snapshot())
        for name, tree in trees.items()
        if name.startswith("penstock")
    }
    peers = {
        "SortedDict, copied": seen(trees["SortedDict"], SortedDict.copy),
        "OOBTree, copied": seen(trees["OOBTree"], OOBTree),
        "LLBTree, copied": seen(trees["LLBTree"], LLBTree),
        "dict, copied": seen(dict(trees["SortedDict"]), dict.copy),
    }
    race("100,000 int keys: a snapshot, and one write", ours | peers)


def test_delete_range(race, trees, keys):
    """From a copy of the tree, which for the peers is most of the work."""
    ascending = sorted(keys)
    low, high = ascending[len(keys) // 4], ascending[3 * len(keys) // 4]

    def from_a_sorted_dict(tree=trees["SortedDict"]):
        copy = tree.copy()
        for key in list(copy.irange(low, high)):
            del copy[key]

    def from_a_tree(tree):
        def run():
            copy = type(tree)(tree)
            for key in list(copy.keys(low, high)):
                del copy[key]

        return run

    ours = {
        name: lambda tree=tree: tree.copy().delete_range(low, high)
        for name, tree in trees.items()
        if name.startswith("penstock")
    }
    peers = {
        "SortedDict": from_a_sorted_dict,
        "OOBTree": from_a_tree(trees["OOBTree"]),
        "LLBTree": from_a_tree(trees["LLBTree"]),
    }
    race("100,000 int keys: a copy, and half of it deleted, a range", ours | peers)
