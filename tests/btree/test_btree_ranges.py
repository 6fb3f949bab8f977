"""Ranges of trees: which entries they hold, in which order, and what becomes of one if the tree changes."""

import random
from importlib import import_module
from itertools import islice, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_keys import filled, made, put, refuses

from penstock.btree.errors import TreeChanged

INCLUDES = list(product([True, False], repeat=2))


def keys_between(keys, low, high, include):
    return [
        key
        for key in keys
        if (low is None or key > low or (key == low and include[0]))
        and (high is None or key < high or (key == high and include[1]))
    ]


def key_list(tree, items):
    return list(items) if type(tree).__name__ == "SetTree" else [key for key, _ in items]


@pytest.mark.parametrize("key_type", ["object", "int64", "float64"])
def test_range_holds_the_keys_between_its_ends(Tree, key_type):
    keys = list(range(0, 24, 2))
    tree = filled(made(Tree, key_type), keys)
    ends = [None, *range(-1, 25)]
    for low, high, include in product(ends, ends, INCLUDES):
        expected = keys_between(keys, low, high, include)
        assert key_list(tree, tree.range(low, high, include=include)) == expected
        assert list(tree.keys_range(low, high, include=include)) == expected
        assert key_list(tree, tree.range(low, high, include=include, reverse=True)) == expected[::-1]
        assert tree.count(low, high, include=include) == len(expected)


def test_range_begins_with_its_end_and_leaves_out_the_other_if_nothing_is_said(Tree):
    tree = filled(made(Tree, "int64"), range(10))
    assert list(tree.keys_range(3, 6)) == [3, 4, 5]
    assert list(tree.keys_range(min=3, max=6)) == [3, 4, 5]
    assert tree.count(3, 6) == 3
    assert tree.count() == 10
    assert tree.delete_range(3, 6) == 3
    assert list(tree) == [0, 1, 2, 6, 7, 8, 9]


def test_range_whose_ends_are_the_wrong_way_round_is_empty(Tree):
    for key_type in ("object", "int64"):
        tree = filled(made(Tree, key_type), range(10))
        for include in INCLUDES:
            assert list(tree.range(6, 3, include=include)) == []
            assert list(tree.range(6, 3, include=include, reverse=True)) == []
            assert tree.count(6, 3, include=include) == 0
            assert tree.delete_range(6, 3, include=include) == 0
        assert len(tree) == 10
        tree.check()


@pytest.mark.parametrize("reverse", [False, True])
def test_limit_ends_a_range(Tree, reverse):
    tree = filled(made(Tree, "int64"), range(1000))
    expected = list(range(100, 900))[:: -1 if reverse else 1]
    for limit in (0, 1, 2, 58, 59, 60, 500, 799, 800, 801, 10**6, 2**70, np.int64(5), True):
        found = list(tree.keys_range(100, 900, reverse=reverse, limit=limit))
        assert found == expected[: int(limit)]
    assert list(tree.keys_range(100, 900, reverse=reverse, limit=None)) == expected


def test_include_may_be_a_list(Tree):
    tree = filled(made(Tree, "int64"), range(5))
    assert list(tree.keys_range(1, 3, include=[False, True])) == [2, 3]


def test_ranges_give_keys_values_and_items_alike(twin):
    for name, key_type in product(["MapTree", "MultiMapTree"], ["object", "int64", "str"]):
        tree = getattr(twin, name)(key_type)
        keys = [f"{n:05}" for n in range(3000)] if key_type == "str" else list(range(3000))
        filled(tree, random.Random(5).sample(keys, len(keys)), value=lambda key: f"of {key}")
        pairs = [(key, f"of {key}") for key in keys]
        for reverse in (False, True):
            step = -1 if reverse else 1
            assert list(tree.range(reverse=reverse)) == pairs[::step]
            assert list(tree.range(keys[70], keys[2900], reverse=reverse)) == pairs[70:2900][::step]
            assert (
                list(tree.values_range(keys[70], keys[2900], reverse=reverse))
                == [v for _, v in pairs[70:2900]][::step]
            )
        assert list(tree) == keys
        assert list(reversed(tree)) == keys[::-1]


@settings(max_examples=60)
@given(
    keys=st.lists(st.text("ab\x00\xff\u0100\U0001f40d", max_size=12), max_size=200),
    low=st.none() | st.text("ab\x00\xff\u0100\U0001f40d", max_size=12),
    high=st.none() | st.text("ab\x00\xff\u0100\U0001f40d", max_size=12),
    include=st.sampled_from(INCLUDES),
)
def test_texts_are_in_the_order_of_their_code_points(keys, low, high, include):
    for impl in ("c", "py"):
        module = import_module(f"penstock.btree._btree_{impl}")
        for key_type in ("str", "object"):
            tree = filled(module.SetTree(key_type), keys)
            tree.check()
            assert list(tree) == sorted(set(keys))
            assert list(tree.range(low, high, include=include)) == keys_between(
                sorted(set(keys)), low, high, include
            )


@settings(max_examples=60)
@given(
    keys=st.lists(st.binary(max_size=12), max_size=200),
    low=st.binary(max_size=12),
    high=st.none() | st.binary(max_size=12),
)
def test_bytes_are_in_their_own_order(keys, low, high):
    for impl in ("c", "py"):
        module = import_module(f"penstock.btree._btree_{impl}")
        for key_type in ("bytes", "object"):
            tree = filled(module.SetTree(key_type), keys)
            tree.check()
            assert list(tree) == sorted(set(keys))
            assert list(tree.range(low, high)) == keys_between(sorted(set(keys)), low, high, (True, False))


@settings(max_examples=60)
@given(keys=st.lists(st.floats(allow_nan=False) | st.integers(-(2**60), 2**60), max_size=100))
def test_floats_are_in_their_own_order(keys):
    for impl in ("c", "py"):
        module = import_module(f"penstock.btree._btree_{impl}")
        tree = filled(module.SetTree("float64"), keys)
        tree.check()
        assert list(tree) == sorted({float(key) for key in keys})
        mixed = filled(module.SetTree("object"), keys)
        mixed.check()
        assert list(mixed) == sorted(set(keys))


numbers = st.integers(-3, 3) | st.integers() | st.floats(-4, 4)


@settings(max_examples=100)
@given(
    keys=st.lists(
        st.tuples(numbers) | st.tuples(numbers, numbers) | st.tuples(numbers, numbers, st.text("ab")),
        max_size=80,
    )
)
def test_tuples_are_in_their_own_order(keys):
    for impl in ("c", "py"):
        module = import_module(f"penstock.btree._btree_{impl}")
        tree = filled(module.SetTree(), keys)
        tree.check()
        assert list(tree) == sorted(set(keys))
        for key in keys:
            assert key in tree
            assert tree.rank(key) == sorted(set(keys)).index(key)


def test_part_of_a_tuple_is_before_all_that_begin_with_it(Tree):
    keys = [(a, f"{b:02}", c) for a in range(5) for b in range(20) for c in range(3)]
    tree = filled(made(Tree), random.Random(1).sample(keys, len(keys)))
    assert list(tree) == keys
    assert list(tree.keys_range((2,), (3,))) == [key for key in keys if key[0] == 2]
    assert list(tree.keys_range((2, "05"), (2, "05", 2))) == [(2, "05", 0), (2, "05", 1)]
    assert tree.rank(()) == 0


# ---- arrays ----


@pytest.mark.parametrize("key_type", ["int64", "uint64", "float64"])
@pytest.mark.parametrize("value_type", ["object", "int64", "float64"])
def test_arrays_of_a_range_are_of_the_tree_s_types(twin, key_type, value_type):
    for name in ("MapTree", "MultiMapTree"):
        tree = getattr(twin, name)(key_type, value_type)
        filled(tree, range(2000), value=lambda key: key * 3)
        for low, high in [(None, None), (5, 1000), (7, 7), (1000, 5), (1999, None), (None, 0)]:
            keys, values = tree.range_arrays(low, high)
            expected = keys_between(range(2000), low, high, (True, False))
            assert keys.dtype == key_type
            assert values.dtype == value_type
            assert keys.tolist() == expected
            assert values.tolist() == [key * 3 for key in expected]
            assert keys.flags.c_contiguous
            assert keys.flags.writeable
        found, _ = tree.range_arrays(5, 8, include=(False, True))
        assert found.tolist() == [6, 7, 8]
        found[:] = 1  # its own memory
        assert list(tree) == list(range(2000))
    keys = filled(twin.SetTree(key_type), range(2000)).range_arrays(10, 20)
    assert isinstance(keys, np.ndarray)
    assert keys.dtype == key_type
    assert keys.tolist() == list(range(10, 20))


def test_arrays_of_a_range_hold_whole_keys(twin):
    tree = filled(twin.SetTree("uint64"), [0, 2**63 - 1, 2**63, 2**64 - 1])
    assert tree.range_arrays().tolist() == [0, 2**63 - 1, 2**63, 2**64 - 1]
    floats = [float("-inf"), -1e308, -5e-324, 0.0, 5e-324, 0.1, float("inf")]
    tree = filled(twin.SetTree("float64"), floats)
    assert tree.range_arrays().tolist() == floats
    assert tree.range_arrays(-1e308, 0.0, include=(False, True)).tolist() == [-5e-324, 0.0]


# ---- what is deleted ----


@pytest.mark.parametrize("key_type", ["object", "int64", "str"])
@pytest.mark.parametrize("seed", range(8))
def test_deleted_range_is_gone_and_nothing_else(Tree, key_type, seed):
    dice = random.Random(seed)
    keys = [f"{n:05}" if key_type == "str" else n for n in range(dice.choice([10, 100, 1000, 8000]))]
    tree, left = filled(made(Tree, key_type), keys), list(keys)
    while len(left) > 2:
        low, high = sorted(dice.sample(range(len(left)), 2))
        if dice.random() < 0.7:
            high = min(high, low + dice.choice([1, 2, 60, 300]))
        include = dice.choice(INCLUDES)
        first, last = low + (not include[0]), high + include[1]
        assert tree.delete_range(left[low], left[high], include=include) == max(0, last - first)
        del left[first : max(first, last)]
        tree.check()
        assert list(tree) == left
        if len(left) > 1 and dice.random() < 0.5:
            assert tree.delete_range(None, left[1]) == 1
            del left[0]
    assert tree.delete_range() == len(left)
    assert list(tree) == []
    tree.check()


# ---- a tree that changes under its iterators ----

ITERATORS = {
    "iter": lambda tree: iter(tree),
    "reversed": lambda tree: reversed(tree),
    "range": lambda tree: tree.range(),
    "range back": lambda tree: tree.range(reverse=True),
    "range of a part": lambda tree: tree.range(10, 900),
    "range of a part, back": lambda tree: tree.range(10, 900, reverse=True, limit=500),
    "keys_range": lambda tree: tree.keys_range(),
    "keys_range back": lambda tree: tree.keys_range(reverse=True),
    "values_range": lambda tree: tree.values_range(),
    "values_range back": lambda tree: tree.values_range(reverse=True),
}
CHANGES = {
    "insert": lambda tree: put(tree, 5000, "new"),
    "insert in front": lambda tree: put(tree, -1, "new"),
    "insert many": lambda tree: tree.insert_many([5001, 5002], *values_for(tree, 2)),
    "delete many": lambda tree: tree.delete_many([500, 600]),
    "delete range": lambda tree: tree.delete_range(300, 400),
    "pop first": lambda tree: tree.pop_first(),
    "pop last": lambda tree: tree.pop_last(),
    "pop at": lambda tree: tree.pop_at(500),
    "clear": lambda tree: tree.clear(),
    "split off": lambda tree: tree.split_off(500),
    "one for one": lambda tree: (tree.pop_first(), put(tree, 0, "0")),
}
NO_CHANGES = {
    "delete absent keys": lambda tree: tree.delete_many([5000]),
    "delete nothing": lambda tree: tree.delete_many([]),
    "delete an empty range": lambda tree: tree.delete_range(2000, 3000),
    "insert nothing": lambda tree: tree.insert_many([], *values_for(tree, 0)),
    "split off nothing": lambda tree: tree.split_off(2000),
    "look": lambda tree: (tree.rank(5), tree.count(3, 9), tree.floor_item(7), tree.select(4), 5 in tree),
    "read arrays": lambda tree: tree.range_arrays() if tree.key_type != "object" else None,
    "look up many": lambda tree: (tree.rank_many([1, 2]), tree.contains_many(range(1000))),
    "snapshot": lambda tree: tree.snapshot(),
    "copy": lambda tree: tree.copy(),
    "a copy that changes": lambda tree: tree.copy().clear(),
    "another iterator": lambda tree: list(tree),
    "check": lambda tree: (tree.check(), tree.stats()),
}


def values_for(tree, n):
    return [] if type(tree).__name__ == "SetTree" else [["new"] * n]


def iterators(tree):
    return {
        name: make
        for name, make in ITERATORS.items()
        if hasattr(tree, "values_range") or "values" not in name
    }


@pytest.mark.parametrize("key_type", ["object", "int64"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_iterator_notices_that_entries_came_or_went(Tree, key_type, change):
    for make in iterators(made(Tree)).values():
        for steps in (0, 1, 3, 200):
            tree = filled(made(Tree, key_type), range(1000))
            iterator = make(tree)
            taken = list(islice(iterator, steps))
            assert len(taken) == steps
            change(tree)
            with refuses(TreeChanged, "the tree was changed during iteration") as refused:
                next(iterator)
            assert isinstance(refused.value, RuntimeError)
            tree.check()


@pytest.mark.parametrize("key_type", ["object", "int64"])
@pytest.mark.parametrize("act", NO_CHANGES.values(), ids=NO_CHANGES)
def test_iterator_goes_on_where_no_entry_came_or_went(Tree, key_type, act):
    for make in iterators(made(Tree)).values():
        tree = filled(made(Tree, key_type), range(1000))
        expected = list(make(tree))
        for steps in (0, 1, 200, len(expected)):
            iterator = make(tree)
            taken = list(islice(iterator, steps))
            act(tree)
            assert taken + list(iterator) == expected


@pytest.mark.parametrize("key_type", ["object", "int64", "str"])
@pytest.mark.parametrize("value_type", ["object", "int64"])
def test_values_may_be_replaced_during_iteration_and_are_seen(twin, key_type, value_type):
    keys = [f"{n:05}" if key_type == "str" else n for n in range(1000)]
    for reverse in (False, True):
        tree = filled(twin.MapTree(key_type, value_type), keys, value=lambda key: 0)
        ahead = dict(pairwise(keys[::-1] if reverse else keys))
        seen = []
        for key, value in tree.range(reverse=reverse):
            seen.append(value)
            tree[key] = -1
            if key in ahead:
                tree[ahead[key]] = len(seen)
        assert seen == list(range(1000))
        assert set(tree.values_range()) == {-1}
        tree.check()


def test_replaced_value_is_seen_after_a_snapshot_took_the_leaves(twin):
    """The tree writes into a copy of the leaf that the iterator stands in."""
    for key_type in ("int64", "object"):
        tree = filled(twin.MapTree(key_type), range(300))
        values, items, back = tree.values_range(), tree.range(), tree.range(reverse=True)
        next(values), next(items), next(back)
        snapshot = tree.snapshot()
        for key in range(300):
            tree[key] = "new"
        assert set(values) == {"new"}
        assert {value for _, value in items} == {"new"}
        assert {value for _, value in back} == {"new"}
        assert list(snapshot.values_range()) == list(map(str, range(300)))


def test_iterator_that_has_ended_stays_ended(Tree):
    tree = filled(made(Tree, "int64"), range(3))
    iterator = tree.range()
    assert len(list(iterator)) == 3
    assert list(iterator) == []
    assert iter(iterator) is iterator


def test_iterator_keeps_its_tree(Tree):
    for make in iterators(made(Tree)).values():
        tree = filled(made(Tree), range(1000))
        expected = list(make(tree))
        iterator = make(tree)
        del tree
        assert list(iterator) == expected


def test_items_that_were_given_out_stay_as_they_were(twin):
    """Iterators may use a tuple again, but only when nobody else holds it."""
    for name in ("MapTree", "MultiMapTree"):
        tree = filled(getattr(twin, name)("int64"), range(500))
        kept = [item for item in tree.range()]  # noqa: C416
        assert kept == [(key, str(key)) for key in range(500)]
        iterator = tree.range()
        first = next(iterator)
        second = next(iterator)
        assert (first, second) == ((0, "0"), (1, "1"))
        assert [hash(item) for item in tree.range()] == [hash(item) for item in kept]


def test_range_looks_at_its_ends_when_it_is_called(Tree):
    tree = filled(made(Tree), range(10))
    with pytest.raises(TypeError):
        tree.range("a")
    with pytest.raises(TypeError):
        tree.keys_range(None, "a", reverse=True)
    tree.check()
