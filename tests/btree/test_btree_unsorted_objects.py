"""Batches of objects in any order: sorted as `<` says, equal keys in the order in which they came."""

import random
import sys
from collections import Counter
from contextlib import suppress
from fractions import Fraction
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tree_keys import made

from penstock.btree.errors import UnsortedKeys

ALIKE = "same eight "  # characters: their hints are one
KINDS = {
    "ints": st.integers(-20, 20),
    "ints beyond int64": st.integers(-(1 << 63) - 3, -(1 << 63) + 3)
    | st.integers((1 << 63) - 3, (1 << 63) + 3),
    "floats": st.floats(allow_nan=False),
    "strs": st.text(st.sampled_from("ab\xff\u0101\U0001f600"), max_size=3),
    "strs that begin alike": st.integers(0, 30).map(lambda number: f"{ALIKE}{number}"),
    "bytes": st.binary(max_size=3) | st.binary(min_size=8, max_size=10),
    "tuples": st.tuples(st.integers(0, 3), st.text("ab", max_size=2)),
    "tuples of what has no family": st.tuples(st.fractions(0, 2, max_denominator=3)),
    "tuples that hold fractions": st.tuples(st.integers(0, 2), st.fractions(0, 2, max_denominator=3)),
    "ints and floats": st.integers(-9, 9) | st.floats(-9, 9),
    "ints and bools": st.integers(-1, 2) | st.booleans(),
    "fractions": st.fractions(0, 2, max_denominator=3),
}
TWINS = {name: import_module(f"penstock.btree._btree_{name}") for name in ("c", "py")}
every_twin = pytest.mark.parametrize("trees", TWINS.values(), ids=TWINS)
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def latest(pairs):
    """The pairs in order; of equal keys the first, with the last one's value."""
    found = []
    for key, value in sorted(pairs, key=lambda pair: pair[0]):
        if found and not found[-1][0] < key:
            found[-1] = found[-1][0], value
        else:
            found.append((key, value))
    return found


@every_twin
@every_kind
@given(data=st.data())
def test_a_map_keeps_the_first_of_equal_keys_and_the_last_value(trees, kind, data):
    keys, held = data.draw(st.lists(kind, max_size=40)), data.draw(st.lists(kind, max_size=12))
    tree = trees.MapTree()
    assert tree.insert_many(held, range(-len(held), 0)) == len(tree)
    tree.insert_many(keys, range(len(keys)))
    tree.check()
    everything = [*zip(held, range(-len(held), 0), strict=True), *zip(keys, range(len(keys)), strict=True)]
    assert list(map(repr, tree.range())) == list(map(repr, latest(everything)))


@every_twin
@every_kind
@given(data=st.data())
def test_a_multimap_keeps_equal_keys_in_the_order_in_which_they_came(trees, kind, data):
    keys = data.draw(st.lists(kind, max_size=40))
    tree = trees.MultiMapTree()
    assert tree.insert_many(keys, range(len(keys))) == len(keys)
    tree.check()
    assert list(map(repr, tree.range())) == [
        repr((keys[at], at)) for at in sorted(range(len(keys)), key=keys.__getitem__)
    ]


@pytest.mark.parametrize("size", [999, 1_000, 5_000])
@pytest.mark.parametrize(
    "key", [int, float, str, lambda number: f"{ALIKE}{number}", lambda number: (number % 7, number)]
)
def test_batches_small_and_large_are_sorted(twin, size, key):
    numbers = random.Random(size).sample(range(10 * size), size)
    keys = list(map(key, numbers))
    tree = twin.MapTree()
    assert tree.insert_many(keys, numbers) == size
    tree.check()
    assert list(tree.range()) == sorted(zip(keys, numbers, strict=True))


@pytest.mark.parametrize("odd", [0, 3, 7])
@pytest.mark.parametrize("is_sorted", [False, True])
def test_keys_without_a_common_order_are_refused_wherever_they_stand(twin, odd, is_sorted):
    keys = [8, 6, 4, 2, 1, 3, 5, 7]
    keys[odd] = "x"
    tree = twin.MapTree()
    tree.insert_many([10, 20, 30], "abc")
    with pytest.raises((TypeError, UnsortedKeys)):
        tree.insert_many(keys, keys, sorted=is_sorted)
    tree.check()
    assert list(tree.range()) == [(10, "a"), (20, "b"), (30, "c")]


def test_what_looks_sorted_at_the_front_and_is_not_is_refused(twin):
    for keys in ([1, 2, 3, 2], [1, 2, 3.5, 3], ["a", "b", "a"], [(1, Fraction(1)), (1, Fraction(0))]):
        with pytest.raises(UnsortedKeys, match=f"at index {len(keys) - 1}"):
            twin.MapTree().insert_many(keys, keys, sorted=True)
        with pytest.raises(UnsortedKeys, match=f"at index {len(keys) - 1}"):
            made(twin.SetTree)._load_sorted(keys, None, 0.9, True)


def test_a_list_of_another_class_is_what_its_iterator_gives(Tree):
    class Backwards(list):
        def __iter__(self):
            return reversed(list(self[:]))

    for key_type in ("int64", "object"):
        tree = made(Tree, key_type)
        if Tree.__name__ == "SetTree":
            tree.insert_many(Backwards([1, 2, 3]))
        else:
            tree.insert_many(Backwards([1, 2, 3]), Backwards("abc"))
            assert list(tree.range()) == [(1, "a"), (2, "b"), (3, "c")]
        assert list(tree) == [1, 2, 3]


BATCHES = {
    "sorted": lambda keys: keys,
    "unsorted": lambda keys: keys[::-1],
    "with equals": lambda keys: [*keys, *keys[::-1]],
    "with equals, sorted": lambda keys: sorted([*keys, *keys]),
    "of two types": lambda keys: [*keys, 0.5],
    "without an order": lambda keys: [*keys, "x"],
}


@pytest.mark.parametrize("form", [list, tuple])
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("held", [0, 20])
def test_a_batch_leaves_no_reference_besides_those_of_its_entries(Tree, batch, form, held):
    keys, values = [10**6 + number for number in range(200)], [f"value {number}" for number in range(400)]
    things = [*keys, *values]
    with_values = Tree.__name__ != "SetTree"
    entries = form(batch(keys))
    for key_type in ("object", "int64"):
        before = list(map(sys.getrefcount, things))
        tree = made(Tree, key_type)
        tree._load_sorted(keys[:held], values[:held] if with_values else None, 0.9, True)
        with suppress(TypeError):
            tree.insert_many(entries, *([form(values[: len(entries)])] if with_values else []))
        if "_c" in Tree.__module__:  # the fallback holds some keys twice
            uses = Counter(id(part) for item in tree.range() for part in (item if with_values else (item,)))
            now = map(sys.getrefcount, things)
            assert list(now) == [count + uses[id(each)] for each, count in zip(things, before, strict=True)]
        del tree
        assert list(map(sys.getrefcount, things)) == before


def test_to_remove_a_value_compares_none_behind_it(twin):
    class Counted:
        compared = 0

        def __init__(self, number):
            self.number = number

        def __eq__(self, other):
            Counted.compared += 1
            return self.number == other.number

        __hash__ = None

    tree = twin.MultiMapTree()
    tree.insert_many(["k"] * 3_000, list(map(Counted, range(3_000))))
    for gone in (0, 1, 50, 2_999):  # of what is left the first, the first, the 49th and the last
        place = sum(value.number < gone for value in tree.get_all("k"))
        Counted.compared = 0
        tree.remove("k", Counted(gone))
        assert Counted.compared == place + 1
    tree.check()
    assert [value.number for value in tree.get_all("k")] == [
        number for number in range(3_000) if number not in (0, 1, 50, 2_999)
    ]
    with pytest.raises(KeyError):
        tree.remove("k", Counted(50))
    assert len(tree) == 2_996
