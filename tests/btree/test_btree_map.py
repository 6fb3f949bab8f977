"""BTreeMap: a mapping in the order of its keys; what it adds to its twin."""

import copy
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Mapping, MutableMapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._twins import implementation
from penstock.btree import (
    BTreeMap,
    BTreeMultiMap,
    BTreeSet,
    FrozenTree,
    KeyOverflow,
    TreeChanged,
    UnsortedKeys,
)
from penstock.btree.btree import MapTree
from penstock.errors import InvalidType, InvalidValue, PenstockError

small_ints = st.integers(-20, 20)
dicts = st.dictionaries(small_ints, st.integers(0, 9), max_size=30)
TYPES = [
    ("int64", "int64"),
    ("int64", "object"),
    ("float64", "float64"),
    ("object", "object"),
    ("object", "int64"),
]
every_type = pytest.mark.parametrize("types", TYPES, ids=" to ".join)


def made(items=(), types=("object", "object")):
    key_type, value_type = types
    tree = BTreeMap(items, key_type=key_type, value_type=value_type)
    tree.check()
    return tree


class Named(BTreeMap):
    """A subclass with a constructor of its own and an attribute."""

    def __init__(self, name):
        super().__init__(key_type="int64")
        self.name = name


# ---- making one


def test_importing_the_package_leaves_numpy_alone():
    code = "import sys, penstock.btree; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", ["key_type", "value_type"])
@pytest.mark.parametrize("cls", [BTreeMap, BTreeMultiMap])
def test_only_none_lets_from_sorted_choose_the_types(cls, name):
    with pytest.raises(InvalidValue, match=f"{name} must be one of object, int64.*, got ''"):
        cls.from_sorted([1], [2], **{name: ""})


@pytest.mark.parametrize(
    "items",
    [{2: "b", 1: "a"}, [(2, "b"), (1, "a")], iter([(2, "b"), (1, "a")]), [[2, "b"], (1, "a")]],
    ids=["dict", "list", "iterator", "lists"],
)
def test_items_come_from_mappings_and_pairs_in_any_order(items):
    tree = made(items)
    assert list(tree.items()) == [(1, "a"), (2, "b")]


def test_last_of_equal_keys_counts():
    assert dict(made([(1, "a"), (2, "b"), (1, "c")]).items()) == {1: "c", 2: "b"}


def test_any_object_with_keys_is_a_mapping():
    class Pairs:
        def keys(self):
            return [3, 1]

        def __getitem__(self, key):
            return key * 10

    assert dict(made(Pairs()).items()) == {1: 10, 3: 30}


@every_type
def test_tree_is_made_from_a_tree(types):
    first = made({3: 1, 1: 2}, types)
    for other_types in (types, ("object", "object")):
        assert list(made(first, other_types).items()) == [(1, 2), (3, 1)]


def test_mapping_is_read_by_its_keys_whatever_it_derives_from():
    class Backwards(dict):
        def keys(self):
            return reversed(list(super().keys()))

        __iter__ = keys

    assert dict(made(Backwards({1: "a", 2: "b", 3: "c"})).items()) == {1: "a", 2: "b", 3: "c"}


def test_map_of_a_multimap_keeps_the_last_of_each_key():
    assert dict(made(BTreeMultiMap([(1, "a"), (1, "b"), (2, "c")])).items()) == {1: "b", 2: "c"}


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([(1, 2), (3,)], InvalidValue, r"items must be pairs of a key and a value, got \(3,\) at index 1"),
        ([1], InvalidValue, "items must be pairs of a key and a value, got 1 at index 0"),
        (7, InvalidType, "items must be a mapping or an iterable of pairs, got 7"),
    ],
)
def test_items_that_are_no_pairs_are_refused(items, error, message):
    with pytest.raises(error, match=message):
        BTreeMap(items)
    tree = made({1: 2})
    with pytest.raises(error, match=message):
        tree.update(items)
    assert dict(tree.items()) == {1: 2}


def test_types_are_the_trees_own_words():
    tree = made((), ("int64", "float64"))
    assert (tree.key_type, tree.value_type) == ("int64", "float64")
    with pytest.raises(InvalidValue, match="key_type must be one of"):
        BTreeMap(key_type="int32")
    with pytest.raises(InvalidType, match=r"key must be an int for key_type 'int64', got 1\.5"):
        tree[1.5] = 1
    with pytest.raises(KeyOverflow):
        tree[1 << 63] = 1


def test_fromkeys_gives_all_keys_one_value():
    tree = BTreeMap.fromkeys("cab", 7, value_type="int64")
    assert list(tree.items()) == [("a", 7), ("b", 7), ("c", 7)]
    assert list(BTreeMap.fromkeys([1]).items()) == [(1, None)]


# ---- from_sorted


@pytest.mark.parametrize(
    ("dtype", "key_type"),
    [
        ("int64", "int64"),
        ("int16", "int64"),
        ("uint64", "uint64"),
        ("uint8", "uint64"),
        ("float64", "float64"),
        ("float32", "float64"),
        ("O", "object"),
    ],
)
def test_keys_of_an_array_choose_the_key_type(dtype, key_type):
    tree = BTreeMap.from_sorted(np.array([1, 2, 5], dtype), ["a", "b", "c"])
    assert (tree.key_type, tree.value_type) == (key_type, "object")
    assert list(tree.items()) == [(1, "a"), (2, "b"), (5, "c")]
    tree.check()


@pytest.mark.parametrize(
    ("dtype", "value_type"), [("int32", "int64"), ("float64", "float64"), ("uint64", "int64")]
)
def test_values_of_an_array_choose_the_value_type(dtype, value_type):
    tree = BTreeMap.from_sorted([1, 2], np.array([3, 4], dtype))
    assert (tree.key_type, tree.value_type) == ("object", value_type)
    assert list(tree.values()) == [3, 4]


def test_types_that_are_given_are_taken():
    tree = BTreeMap.from_sorted(np.arange(3), np.arange(3), key_type="float64", value_type="object")
    assert (tree.key_type, tree.value_type) == ("float64", "object")


def test_many_sorted_entries_are_loaded():
    tree = BTreeMap.from_sorted(range(10_000), range(10_000, 20_000), fill=1.0)
    tree.check()
    assert len(tree) == 10_000
    assert tree[4567] == 14_567


@pytest.mark.parametrize("keys", [[1, 3, 2], [1, 1], np.array([1, 3, 2]), np.array([1, 1])], ids=str)
def test_keys_that_do_not_ascend_are_refused(keys):
    with pytest.raises(UnsortedKeys, match=r"keys must ascend, got \d after \d at index \d"):
        BTreeMap.from_sorted(keys, list(range(len(keys))))


def test_different_lengths_are_refused():
    with pytest.raises(InvalidValue, match="keys and values must be of one length, got 3 and 2"):
        BTreeMap.from_sorted([1, 2, 3], [1, 2])


def test_fill_out_of_its_range_is_refused():
    with pytest.raises(InvalidValue, match="fill"):
        BTreeMap.from_sorted([1], [2], fill=1.5)


def test_new_trees_are_of_the_subclass_without_its_constructor():
    tree = Named.from_sorted(np.arange(4), [1, 2, 3, 4])
    assert type(tree) is Named
    for other in (
        tree.copy(),
        tree.snapshot(),
        tree | {9: 9},
        tree & {1},
        tree - {1},
        tree ^ {1: 1},
        {8: 8} | tree,
    ):
        assert type(other) is Named
        assert not hasattr(other, "name")


# ---- the mapping protocol


def test_hot_methods_are_those_of_the_twin():
    for name in (
        "__getitem__",
        "__setitem__",
        "__delitem__",
        "__contains__",
        "__len__",
        "__iter__",
        "get",
        "range",
    ):
        assert getattr(BTreeMap, name) is getattr(MapTree, name)
    with pytest.raises(AttributeError):
        BTreeMap().attribute = 1


def test_it_is_a_mutable_mapping():
    tree = made({2: "b", 1: "a"})
    assert isinstance(tree, MutableMapping)
    assert isinstance(tree, Mapping)
    assert dict(tree) == {1: "a", 2: "b"}
    assert {**made({"a": 1})} == {"a": 1}
    match tree:
        case {1: first, **rest}:
            assert (first, rest) == ("a", {2: "b"})
        case _:
            pytest.fail("no mapping to match")


def test_it_takes_types_as_a_generic_class():
    assert BTreeMap[int, str].__origin__ is BTreeMap
    assert dict(BTreeMap[int, str]({1: "a"}).items()) == {1: "a"}


def test_it_can_be_referred_to_weakly():
    tree = made({1: "a"})
    assert weakref.ref(tree)() is tree


def test_it_has_no_hash():
    with pytest.raises(TypeError, match="unhashable"):
        hash(made())


@given(dicts, small_ints, small_ints)
def test_views_are_those_of_a_dict_in_order(items, key, value):
    tree = made(items)
    ordered = dict(sorted(items.items()))
    for name in ("keys", "values", "items"):
        view, model = getattr(tree, name)(), getattr(ordered, name)()
        assert list(view) == list(model)
        assert list(reversed(view)) == list(reversed(model))
        assert len(view) == len(model)
    assert tree.keys() == ordered.keys()
    assert tree.items() == ordered.items()
    assert tree.keys() & {key} == ordered.keys() & {key}
    assert (key in tree.keys()) == (key in ordered)  # noqa: SIM118
    assert ((key, value) in tree.items()) == ((key, value) in ordered.items())
    assert (value in tree.values()) == (value in ordered.values())


def test_views_follow_the_tree_and_find_what_is_the_same():
    nan = float("nan")
    tree = made({1: nan})
    values, items = tree.values(), tree.items()
    assert nan in values
    assert (1, nan) in items
    assert (1, 2) not in items
    assert "no pair" not in items
    tree[2] = "b"
    assert len(values) == 2
    assert (2, "b") in items


def test_iteration_ends_when_entries_come_or_go():
    tree = made({1: "a", 2: "b"})
    for view in (tree.keys(), tree.values(), tree.items()):
        step = iter(view)
        next(step)
        tree[len(tree) + 1] = "new"
        with pytest.raises(TreeChanged):
            next(step)


def test_last_item_is_popped():
    tree = made({1: "a", 2: "b"})
    assert tree.popitem() == (2, "b")
    assert tree.popitem() == (1, "a")
    with pytest.raises(KeyError, match="the tree is empty"):
        tree.popitem()


@given(dicts, dicts)
def test_update_does_what_a_dicts_does(first, second):
    for types in TYPES:
        for other in (second, list(second.items()), made(second, types), made(second)):
            tree = made(first, types)
            tree.update(other)
            tree.check()
            assert dict(tree.items()) == {**first, **second}


def test_update_takes_names():
    tree = made({"a": 1})
    tree.update({"b": 2}, c=3, a=4)
    assert dict(tree.items()) == {"a": 4, "b": 2, "c": 3}
    tree.update()
    assert len(tree) == 3


@every_type
def test_update_that_fails_changes_nothing(types):
    tree = made({1: 1, 5: 5}, types)
    with pytest.raises(TypeError):
        tree.update([(7, 7), ("a", 1), (1, 9)])
    assert dict(tree.items()) == {1: 1, 5: 5}
    tree.check()


def test_tree_may_be_updated_with_itself():
    tree = made({1: 1, 5: 5})
    tree.update(tree)
    assert dict(tree.items()) == {1: 1, 5: 5}


# ---- equality


@given(dicts, dicts)
def test_equal_are_those_with_equal_items(first, second):
    for types in TYPES:
        assert (made(first, types) == made(second)) == (first == second)
        assert (made(first, types) == second) == (first == second)
        assert (made(first, types) != made(second, types)) == (first != second)
        assert made(first, types) == made(dict(reversed(first.items())), types)


def test_trees_of_keys_that_cannot_be_compared_are_not_equal():
    assert made({1: 1}) != made({"a": 1})
    assert made({1: 1}, ("int64", "int64")) != {"a": 1}
    assert made({(1, (2,)): 1}) == {(1, (2,)): 1}
    unhashable = BTreeMap([([1], 2)])
    assert unhashable != {1: 2}
    assert unhashable == BTreeMap([([1], 2)])
    assert made({1: 1}) != [(1, 1)]
    assert made({1: 1}) != 1


def test_nan_as_value_is_equal_as_in_a_dict_if_it_is_the_same_object():
    nan = float("nan")
    assert made({1: nan}) == {1: nan}
    assert made({1: nan}, ("int64", "float64")) != made({1: nan}, ("int64", "float64"))


# ---- repr, copies, pickles


def test_repr_tells_size_and_types_and_no_contents():
    assert repr(made({1: "secret"})) == "<BTreeMap of 1 entry, object to object>"
    assert repr(made({1: 2, 2: 3}, ("int64", "float64"))) == "<BTreeMap of 2 entries, int64 to float64>"
    assert repr(made().snapshot()) == "<BTreeMap of 0 entries, object to object, frozen>"


@every_type
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda tree: pickle.loads(pickle.dumps(tree))])
def test_copies_have_the_same_entries_and_change_apart(types, again):
    tree = made({n: n % 7 for n in range(1000)}, types)
    other = again(tree)
    assert type(other) is BTreeMap
    assert (other.key_type, other.value_type) == types
    assert other == tree
    other[1] = 99
    del other[2]
    assert (tree[1], tree[2]) == (1, 2)
    other.check()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_pickles(protocol):
    tree = made({"a": [1]})
    assert pickle.loads(pickle.dumps(tree, protocol)) == tree


def test_deep_copy_copies_the_values():
    tree = made({"a": [1]})
    copy.deepcopy(tree)["a"].append(2)
    copy.copy(tree)["a"].append(3)
    assert tree["a"] == [1, 3]


def test_tree_that_contains_itself_is_pickled():
    tree = made({"a": 1})
    tree["self"] = tree
    for other in (pickle.loads(pickle.dumps(tree)), copy.deepcopy(tree)):
        assert other["self"] is other
        assert other["a"] == 1


def test_pickle_keeps_the_attributes_of_a_subclass():
    tree = Named("ours")
    tree[1] = "a"
    other = pickle.loads(pickle.dumps(tree))
    assert (type(other), other.name, dict(other.items())) == (Named, "ours", {1: "a"})


class Marked(BTreeMap):
    """A subclass with slots, one of them under a private name, and its own idea of setting them."""

    __slots__ = ("__hidden", "mark", "unset")

    def hide(self, value):
        object.__setattr__(self, "_Marked__hidden", value)

    def hidden(self):
        return self.__hidden

    def __setattr__(self, name, value):
        if name == "mark":
            raise AttributeError("mark must stay")
        super().__setattr__(name, value)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda tree: pickle.loads(pickle.dumps(tree))])
@pytest.mark.parametrize("seen", [lambda tree: tree, BTreeMap.snapshot])
def test_pickle_keeps_the_slots_of_a_subclass(again, seen):
    tree = seen(Marked({1: 2}))
    tree.hide([3])
    object.__setattr__(tree, "mark", 4)
    other = again(tree)
    assert (dict(other), other.hidden(), other.mark, other.frozen) == ({1: 2}, [3], 4, tree.frozen)
    assert not hasattr(other, "unset")


def test_pickle_keeps_what_a_snapshot_was_given():
    snapshot = Named("a").snapshot()
    snapshot.taken = 5
    other = pickle.loads(pickle.dumps(snapshot))
    assert (other.taken, other.frozen) == (5, True)


def test_pickled_snapshot_is_a_snapshot():
    other = pickle.loads(pickle.dumps(made({1: "a"}).snapshot()))
    assert other.frozen
    with pytest.raises(FrozenTree):
        other[2] = "b"
    assert dict(other.copy().items()) == {1: "a"}


def test_pickle_with_entries_out_of_order_is_refused():
    function, arguments, state = made({1: "a", 2: "b"}).__reduce__()
    tree = function(*arguments)
    with pytest.raises(UnsortedKeys):
        tree.__setstate__(([2, 1], *state[1:]))
    assert len(tree) == 0


@every_type
def test_pickle_of_this_twin_is_read_by_the_other(types, tmp_path):
    file = tmp_path / "tree"
    file.write_bytes(pickle.dumps(made({1: 5, 9: 6}, types)))
    program = (
        "import pickle, sys; from penstock._twins import implementation\n"
        "tree = pickle.loads(open(sys.argv[1], 'rb').read()); tree.check()\n"
        "assert dict(tree.items()) == {1: 5, 9: 6}, tree\n"
        "tree[10] = 7\n"
        "open(sys.argv[1], 'wb').write(pickle.dumps(tree)); print(implementation)\n"
    )
    other = {"c": "py", "py": "c"}[implementation]
    ran = subprocess.run(
        [sys.executable, "-c", program, str(file)],
        env={**os.environ, "PENSTOCK_IMPL": other}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == other
    again = pickle.loads(file.read_bytes())
    assert dict(again.items()) == {1: 5, 9: 6, 10: 7}
    assert (again.key_type, again.value_type) == types


def test_file_has_what_the_tree_has(tmp_path):
    tree = made({1: 5, 9: 6}, ("int64", "int64"))
    tree.save(tmp_path / "tree")
    for mmap in (True, False):
        again = Named.load(tmp_path / "tree", mmap=mmap)
        assert (type(again), again == tree) == (Named, True)


# ---- places and prefixes


@given(
    st.integers(0, 90),
    st.none() | st.integers(-99, 99),
    st.none() | st.integers(-99, 99),
    st.integers(-50, 50),
)
def test_slices_are_those_of_a_list(length, start, stop, step):
    tree = made({n: -n for n in range(length)})
    items = list(tree.items())
    part = slice(start, stop, step or None)
    assert tree.at[part] == items[part]


def test_places_are_those_of_a_list():
    tree = made({n: -n for n in range(100)})
    assert tree.at[3] == (3, -3)
    assert tree.at[-1] == (99, -99)
    assert len(tree.at) == 100
    assert list(tree.at) == list(tree.items())
    assert list(reversed(tree.at)) == list(tree.items())[::-1]
    with pytest.raises(IndexError, match=r"index must be in \[-100, 100\), got 100"):
        tree.at[100]
    with pytest.raises(TypeError):
        tree.at["a"]
    with pytest.raises(ValueError, match="slice step cannot be zero"):
        tree.at[::0]


texts = st.text("ab\u00ff\u0100\ud7ff\ue000\U0010ffff", max_size=4)


@given(st.sets(texts, max_size=40), texts)
def test_prefix_finds_the_keys_that_begin_with_a_str(keys, prefix):
    expected = [(key, key) for key in sorted(keys) if key.startswith(prefix)]
    for key_type in ("str", "object"):
        assert list(made(((key, key) for key in keys), (key_type, "object")).prefix(prefix)) == expected


@given(
    st.sets(st.binary(max_size=3), max_size=40),
    st.binary(max_size=2) | st.sampled_from([b"\xff", b"\xff\xff"]),
)
def test_prefix_finds_the_keys_that_begin_with_bytes(keys, prefix):
    expected = [(key, 1) for key in sorted(keys) if key.startswith(prefix)]
    for key_type in ("bytes", "object"):
        assert list(made(((key, 1) for key in keys), (key_type, "object")).prefix(prefix)) == expected


@given(
    st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), max_size=20),
    st.integers(0, 3),
)
def test_prefix_finds_the_keys_whose_first_elements_are_given(keys, length):
    tree = made((key, sum(key)) for key in keys)
    for prefix in {key[:length] for key in keys} | {(7,), ()}:
        assert list(tree.prefix(prefix)) == [(k, sum(k)) for k in sorted(keys) if k[: len(prefix)] == prefix]


@pytest.mark.parametrize(
    ("key_type", "prefix", "message"),
    [
        ("int64", "1", "key_type must be 'object', 'str' or 'bytes' for a prefix, got 'int64'"),
        ("str", b"a", "prefix must be of type str for key_type 'str', got b'a'"),
        ("bytes", "a", "prefix must be of type bytes for key_type 'bytes', got 'a'"),
        ("object", 1, "prefix must be of type str or bytes or tuple for key_type 'object', got 1"),
    ],
)
def test_prefix_that_no_key_can_have_is_refused(key_type, prefix, message):
    with pytest.raises(InvalidType, match=message):
        made((), (key_type, "object")).prefix(prefix)


# ---- set algebra


def check_algebra(first, second, types):
    """All of it, both ways, against dicts."""
    mine, its = made(first, types), made(second, types)
    keys = set(second)
    united = {**first, **second}
    common = {key: value for key, value in first.items() if key in second}
    apart = {key: value for key, value in first.items() if key not in second}
    toggled = {**apart, **{key: value for key, value in second.items() if key not in first}}
    for other in (its, made(second), second):
        for result, expected in [
            (mine | other, united), (mine.union(other), united), (mine & other, common),
            (mine.intersection(other), common), (mine - other, apart), (mine.difference(other), apart),
            (mine ^ other, toggled), (mine.symmetric_difference(other), toggled),
        ]:  # fmt: skip
            result.check()
            assert (result.key_type, result.value_type) == types
            assert list(result.items()) == sorted(expected.items())
    for other in (keys, BTreeSet(keys, key_type=types[0]), BTreeMultiMap([*second.items()] * 2)):
        assert dict((mine & other).items()) == common
        assert dict((mine - other).items()) == apart
    for reflected, expected in [
        (second | mine, {**second, **first}), (second & mine, {key: second[key] for key in common}),
        (second - mine, {key: second[key] for key in second if key not in first}), (second ^ mine, toggled),
    ]:  # fmt: skip
        assert dict(reflected.items()) == expected
    for change, expected in [("|", united), ("&", common), ("-", apart), ("^", toggled)]:
        for other in (its, second):
            tree = before = mine.copy()
            if change == "|":
                tree |= other
            elif change == "&":
                tree &= other
            elif change == "-":
                tree -= other
            else:
                tree ^= other
            assert tree is before
            tree.check()
            assert list(tree.items()) == sorted(expected.items())
    assert dict(mine.items()) == first
    assert dict(its.items()) == second


@given(dicts, dicts)
def test_set_algebra_is_that_of_dicts(first, second):
    for types in TYPES:
        check_algebra(first, second, types)


@every_type
@pytest.mark.parametrize("few", [0, 1, 5])
def test_set_algebra_is_the_same_where_one_side_is_far_smaller(types, few):
    many = {2 * n: n % 5 for n in range(700)}
    some = dict.fromkeys(range(7, 7 + few), 9)
    check_algebra(many, some, types)
    check_algebra(some, many, types)


@every_type
def test_set_algebra_takes_many_or_none(types):
    tree = made(dict.fromkeys(range(10), 0), types)
    assert dict(tree.union({10: 1}, {11: 2}).items()) == {**dict.fromkeys(range(10), 0), 10: 1, 11: 2}
    assert set(tree.intersection(range(5), [4, 3, 77])) == {3, 4}
    assert set(tree.difference(range(5), [9])) == {5, 6, 7, 8}
    for same in (tree.union(), tree.intersection(), tree.difference()):
        assert same == tree
        assert same is not tree
    assert not tree - tree
    assert not tree ^ tree
    assert tree & tree == tree | tree == tree


def test_set_algebra_of_a_snapshot_can_be_changed():
    snapshot = made({1: 1, 2: 2}).snapshot()
    for result in (
        snapshot | {},
        snapshot & {1},
        snapshot - {7},
        snapshot - {1},
        snapshot ^ {},
        snapshot.intersection(),
    ):
        result[5] = 5
    with pytest.raises(FrozenTree):
        snapshot |= {5: 5}


def test_old_key_stays_and_new_value_counts_in_a_union():
    result = made({1: "a"}) | {1.0: "b", 2.0: "c"}
    assert [(type(key), value) for key, value in result.items()] == [(int, "b"), (float, "c")]


@pytest.mark.parametrize("length", [2, 1000])
def test_intersection_has_the_own_keys_however_many_there_are(length):
    many = made(dict.fromkeys(range(length), "a"))
    assert [(type(key), value) for key, value in (many & {1.0}).items()] == [(int, "a")]
    assert [type(key) for key in BTreeSet(many) & {1.0}] == [int]
    assert [type(key) for key in made({1.0: "b"}) & many] == [float]


@pytest.mark.parametrize("other", [5, [(1, 2)], None, {1}])
def test_operators_take_mappings_only(other):
    tree = made({1: 1})
    with pytest.raises(TypeError):
        tree | other
    with pytest.raises(TypeError):
        tree ^ other
    with pytest.raises(TypeError):
        tree |= other


def test_keys_of_another_type_are_refused_and_change_nothing():
    tree = made({1: 1}, ("int64", "int64"))
    for other in ({"a": 1}, made({"a": 1}), made({1.5: 1}, ("float64", "int64"))):
        with pytest.raises(PenstockError):
            tree | other
        with pytest.raises(PenstockError):
            tree -= other
    assert dict(tree.items()) == {1: 1}


def test_comparison_that_raises_passes_through_set_algebra():
    class Stubborn:
        def __init__(self, number, fails=False):
            self.number, self.fails = number, fails

        def __lt__(self, other):
            if self.fails or other.fails:
                raise ArithmeticError("no order today")
            return self.number < other.number

    keys = [Stubborn(n) for n in range(50)]
    first, second = (BTreeMap((key, 0) for key in keys) for _ in range(2))
    keys[25].fails = True
    for attempt in (
        first.union,
        first.intersection,
        first.difference,
        first.symmetric_difference,
        first.__iand__,
    ):
        with pytest.raises(ArithmeticError):
            attempt(second)
    keys[25].fails = False
    assert list(first) == list(second) == keys
    first.check()


def test_comparison_that_changes_a_tree_leaves_set_algebra_whole():
    """What is read is read before anything is compared, so the result is of the trees as they were."""

    class Meddler:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            if meddling and len(first) > 10:
                first.popitem()
            return self.number < other.number

    meddling = False
    first = BTreeMap((Meddler(n), 0) for n in range(100))
    second = BTreeMap((Meddler(n), 0) for n in range(50, 150))
    meddling = True
    common = first & second
    meddling = False
    assert [key.number for key in common] == list(range(50, 100))
    assert len(first) == 10
    first.check()
    common.check()


# ---- joins


@given(dicts, dicts)
def test_join_gives_the_entries_whose_keys_both_have(first, second):
    expected = [(key, first[key], second[key]) for key in sorted(first.keys() & second.keys())]
    for types in TYPES:
        assert list(made(first, types).merge_join(made(second, types))) == expected


@every_type
def test_join_is_the_same_where_one_side_is_far_smaller(types):
    many, few = made({2 * n: n % 5 for n in range(500)}, types), made({3: 1, 4: 2, 600: 3}, types)
    assert list(many.merge_join(few)) == [(4, 2, 2), (600, 0, 3)]
    assert list(few.merge_join(many)) == [(4, 2, 2), (600, 3, 0)]


def test_join_with_a_multimap_has_a_row_for_each_of_its_entries():
    names, orders = BTreeMap({1: "ada", 2: "bob"}), BTreeMultiMap([(2, "x"), (1, "y"), (2, "z"), (3, "w")])
    assert list(names.merge_join(orders)) == [(1, "ada", "y"), (2, "bob", "x"), (2, "bob", "z")]


def test_join_is_of_the_trees_as_they_were():
    first, second = made({1: 1, 2: 2}), made({1: 1, 2: 2})
    rows = first.merge_join(second)
    first.clear()
    second[3] = 3
    assert list(rows) == [(1, 1, 1), (2, 2, 2)]


def test_join_refuses_what_has_no_keys_to_join():
    with pytest.raises(InvalidType, match=r"other must be a BTreeMap or a BTreeMultiMap, got \{1: 2}"):
        made().merge_join({1: 2})
    with pytest.raises(InvalidType, match="other must have key_type 'object', got 'int64'"):
        made().merge_join(made((), ("int64", "object")))


@pytest.mark.parametrize("key_type", ["int64", "object"])
def test_slice_of_places_is_of_one_moment(key_type):
    """As if another thread had emptied the tree between its length and its entries."""

    class Emptied(int):
        def __index__(self):
            tree.clear()
            return int(self)

    for step in (1, 40):
        tree = BTreeSet(range(100), key_type=key_type)
        assert tree.at[0 : Emptied(50) : step] == list(range(0, 50, step))
