"""BTreeMultiMap: values of one key in the order in which they came; what it adds to its twin."""

import copy
import pickle
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.btree import BTreeMap, BTreeMultiMap, BTreeSet, UnsortedKeys
from penstock.btree.btree import MultiMapTree
from penstock.errors import InvalidType, InvalidValue

pairs = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 99)), max_size=40)
TYPES = [("int64", "int64"), ("float64", "object"), ("object", "object"), ("object", "float64")]
every_type = pytest.mark.parametrize("types", TYPES, ids=" to ".join)


def made(items=(), types=("object", "object")):
    tree = BTreeMultiMap(items, key_type=types[0], value_type=types[1])
    tree.check()
    return tree


def in_order(items):
    return sorted(items, key=lambda item: item[0])  # stable: equal keys stay as they came


@given(pairs, pairs)
def test_equal_keys_stand_in_the_order_in_which_they_came(first, second):
    for types in TYPES:
        for more in (second, iter(second), made(second, types), made(second)):
            tree = made(first, types)
            assert list(tree.items()) == in_order(first)
            tree.update(more)
            tree.check()
            assert list(tree.items()) == in_order(first + in_order(second))


def test_items_come_from_mappings():
    assert list(made({2: "b", 1: "a"}).items()) == [(1, "a"), (2, "b")]
    assert list(made(BTreeMap({2: "b", 1: "a"})).items()) == [(1, "a"), (2, "b")]


def test_it_is_no_mapping_and_its_hot_methods_are_those_of_the_twin():
    tree = made([(1, "a")])
    assert not isinstance(tree, Mapping)
    assert BTreeMultiMap[int, str].__origin__ is BTreeMultiMap
    with pytest.raises(TypeError):
        tree[1]
    for name in ("add", "get_all", "remove", "range", "__contains__"):
        assert getattr(BTreeMultiMap, name) is getattr(MultiMapTree, name)
    with pytest.raises(TypeError, match="unhashable"):
        hash(tree)


def test_update_that_fails_changes_nothing():
    tree = made([(1, "a")])
    with pytest.raises(TypeError):
        tree.update([(2, "b"), ("x", "c")])
    with pytest.raises(InvalidValue, match="items must be pairs"):
        tree.update([(2, "b"), (3,)])
    assert list(tree.items()) == [(1, "a")]


def test_sorted_entries_are_loaded():
    tree = BTreeMultiMap.from_sorted(np.repeat(np.arange(1000), 3), np.arange(3000))
    tree.check()
    assert (tree.key_type, tree.value_type) == ("int64", "int64")
    assert tree.get_all(500) == [1500, 1501, 1502]
    with pytest.raises(UnsortedKeys):
        BTreeMultiMap.from_sorted([1, 2, 1], "abc")


@given(pairs)
def test_views_show_every_entry(items):
    tree, expected = made(items), in_order(items)
    assert list(tree.keys()) == [key for key, _ in expected]
    assert list(tree.values()) == [value for _, value in expected]
    assert list(tree.items()) == expected
    for view in (tree.keys(), tree.values(), tree.items()):
        assert len(view) == len(items)
        assert list(reversed(view)) == list(view)[::-1]
    for key, value in [(3, 4), *items[:3]]:
        assert (key in tree.keys()) == any(key == each for each, _ in items)  # noqa: SIM118
        assert (value in tree.values()) == any(value == each for _, each in items)
        assert ((key, value) in tree.items()) == ((key, value) in items)
    assert "no pair" not in tree.items()
    assert repr(tree.keys()).startswith("EntryKeys(<BTreeMultiMap of ")


@given(pairs, pairs)
def test_equal_are_those_with_equal_entries_in_the_same_order(first, second):
    for types in TYPES:
        assert (made(first, types) == made(second)) == (in_order(first) == in_order(second))
        assert made(first, types) == made(first, types)


def test_order_of_equal_keys_counts_for_equality():
    assert made([(1, "a"), (1, "b")]) != made([(1, "b"), (1, "a")])
    assert made([(1, "a")]) != {1: "a"}


@given(pairs, pairs)
def test_set_algebra_goes_by_keys(first, second):
    keys, own = {key for key, _ in second}, {key for key, _ in first}
    first, second = in_order(first), in_order(second)
    common = [item for item in first if item[0] in keys]
    apart = [item for item in first if item[0] not in keys]
    toggled = in_order(apart + [item for item in second if item[0] not in own])
    for types in TYPES:
        mine, its = made(first, types), made(second, types)
        for result, expected in [
            (mine | its, in_order(first + second)), (mine & its, common), (mine - its, apart),
            (mine ^ its, toggled), (mine & keys, common), (mine - keys, apart),
            (mine & BTreeSet(keys), common),
            (dict(second) | mine, in_order([*dict(second).items(), *first])),
        ]:  # fmt: skip
            result.check()
            assert type(result) is BTreeMultiMap
            assert list(result.items()) == expected
        for change, expected in [
            (mine.copy().__ior__, in_order(first + second)), (mine.copy().__iand__, common),
            (mine.copy().__isub__, apart), (mine.copy().__ixor__, toggled),
        ]:  # fmt: skip
            result = change(its)
            result.check()
            assert list(result.items()) == expected
        assert list(mine.items()) == first


@every_type
def test_set_algebra_with_far_fewer(types):
    many, few = made([(n // 3, n) for n in range(900)], types), made([(7, 1), (7, 2), (1000, 3)], types)
    assert list((many & few).items()) == [(7, 21), (7, 22), (7, 23)]
    assert list((few & many).items()) == [(7, 1), (7, 2)]
    assert len(many - few) == 897
    assert list((few - many).items()) == [(1000, 3)]


@given(pairs, pairs)
def test_join_has_a_row_for_each_pair_of_entries(first, second):
    expected = [
        (key, value, other)
        for key, value in in_order(first)
        for match, other in in_order(second)
        if key == match
    ]
    for types in TYPES:
        assert list(made(first, types).merge_join(made(second, types))) == expected


@every_type
def test_join_is_the_same_where_one_side_is_far_smaller(types):
    many, few = made([(n // 3, n) for n in range(300)], types), made([(7, 1), (7, 2), (1000, 3)], types)
    rows = [(7, value, other) for value in (21, 22, 23) for other in (1, 2)]
    assert list(many.merge_join(few)) == rows
    assert list(few.merge_join(many)) == [(7, other, value) for other in (1, 2) for value in (21, 22, 23)]


@every_type
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda tree: pickle.loads(pickle.dumps(tree))])
def test_copies_have_the_same_entries_and_change_apart(types, again):
    tree = made([(n % 50, n) for n in range(500)], types)
    other = again(tree)
    assert (type(other), other.key_type, other.value_type) == (BTreeMultiMap, *types)
    assert list(other.items()) == list(tree.items())
    other.pop_all(3)
    assert len(tree) == 500
    other.check()


def test_file_has_what_the_multimap_has(tmp_path):
    tree = made([(n % 50, n) for n in range(500)], ("int64", "int64"))
    tree.save(tmp_path / "multimap")
    assert BTreeMultiMap.load(tmp_path / "multimap") == tree


def test_places_prefixes_and_repr():
    tree = made([("ab", 1), ("b", 2), ("ab", 3)])
    assert tree.at[1] == ("ab", 3)
    assert tree.at[1:] == [("ab", 3), ("b", 2)]
    assert list(tree.prefix("a")) == [("ab", 1), ("ab", 3)]
    assert repr(tree) == "<BTreeMultiMap of 3 entries, object to object>"
    with pytest.raises(InvalidType):
        tree.prefix(3)
