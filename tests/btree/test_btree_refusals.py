"""What trees refuse: keys of another type or out of range, wherever they come in; it changes nothing."""

import math
import struct
from contextlib import suppress
from fractions import Fraction
from importlib import import_module

import numpy as np
import pytest
from tree_keys import filled, made, refuses

from penstock.btree.errors import KeyOverflow, UnsortedKeys
from penstock.errors import InvalidType, InvalidValue, PenstockError

EVERY_TREE = {  # the name of the argument, and the call
    "in": ("key", lambda tree, key: key in tree),
    "floor_item": ("key", lambda tree, key: tree.floor_item(key)),
    "lower_item": ("key", lambda tree, key: tree.lower_item(key)),
    "ceiling_item": ("key", lambda tree, key: tree.ceiling_item(key)),
    "higher_item": ("key", lambda tree, key: tree.higher_item(key)),
    "rank": ("key", lambda tree, key: tree.rank(key)),
    "rank_right": ("key", lambda tree, key: tree.rank_right(key)),
    "split_off": ("key", lambda tree, key: tree.split_off(key)),
    "count from": ("min", lambda tree, key: tree.count(key)),
    "count to": ("max", lambda tree, key: tree.count(None, key)),
    "range from": ("min", lambda tree, key: tree.range(key)),
    "range to": ("max", lambda tree, key: tree.range(max=key)),
    "range back": ("min", lambda tree, key: tree.range(min=key, reverse=True, limit=0)),
    "keys_range from": ("min", lambda tree, key: tree.keys_range(key)),
    "keys_range to": ("max", lambda tree, key: tree.keys_range(None, key)),
    "delete_range from": ("min", lambda tree, key: tree.delete_range(key)),
    "delete_range to": ("max", lambda tree, key: tree.delete_range(max=key)),
}
EVERY_BATCH = {
    "rank_many": lambda tree, keys: tree.rank_many(keys),
    "contains_many": lambda tree, keys: tree.contains_many(keys),
    "delete_many": lambda tree, keys: tree.delete_many(keys),
}
ONLY = {
    "MapTree": {
        "[]": ("key", lambda tree, key: tree[key]),
        "[] =": ("key", lambda tree, key: tree.__setitem__(key, 1)),
        "del []": ("key", lambda tree, key: tree.__delitem__(key)),
        "get": ("key", lambda tree, key: tree.get(key)),
        "setdefault": ("key", lambda tree, key: tree.setdefault(key, 1)),
        "pop": ("key", lambda tree, key: tree.pop(key)),
        "pop with a default": ("key", lambda tree, key: tree.pop(key, None)),
        "values_range": ("min", lambda tree, key: tree.values_range(key)),
    },
    "SetTree": {
        "add": ("key", lambda tree, key: tree.add(key)),
        "discard": ("key", lambda tree, key: tree.discard(key)),
        "remove": ("key", lambda tree, key: tree.remove(key)),
    },
    "MultiMapTree": {
        "add": ("key", lambda tree, key: tree.add(key, 1)),
        "remove": ("key", lambda tree, key: tree.remove(key, 1)),
        "get": ("key", lambda tree, key: tree.get(key)),
        "get_all": ("key", lambda tree, key: tree.get_all(key)),
        "pop_all": ("key", lambda tree, key: tree.pop_all(key)),
        "values_range": ("max", lambda tree, key: tree.values_range(None, key)),
    },
}
ONLY_BATCHES = {
    "MapTree": {
        "get_many": lambda tree, keys: tree.get_many(keys),
        "get_many with a default": lambda tree, keys: tree.get_many(keys, default=0),
        "insert_many": lambda tree, keys: tree.insert_many(keys, [1] * len(keys)),
        "insert_many sorted": lambda tree, keys: tree.insert_many(keys, [1] * len(keys), sorted=True),
        "_load_sorted": lambda tree, keys: type(tree)(tree.key_type)._load_sorted(
            keys, [1] * len(keys), 0.9, True
        ),
    },
    "SetTree": {
        "insert_many": lambda tree, keys: tree.insert_many(keys),
        "insert_many sorted": lambda tree, keys: tree.insert_many(keys, sorted=True),
        "_load_sorted": lambda tree, keys: type(tree)(tree.key_type)._load_sorted(keys, None, 0.9, True),
    },
    "MultiMapTree": {
        "get_many": lambda tree, keys: tree.get_many(keys),
        "insert_many": lambda tree, keys: tree.insert_many(keys, [1] * len(keys)),
        "insert_many sorted": lambda tree, keys: tree.insert_many(keys, [1] * len(keys), sorted=True),
        "_load_sorted": lambda tree, keys: type(tree)(tree.key_type)._load_sorted(
            keys, [1] * len(keys), 0.9, True
        ),
    },
}
GOOD = {
    "int64": [3, 5, 9],
    "uint64": [3, 5, 9],
    "float64": [0.5, 2.0, 9.0],
    "str": ["a", "b", "cc"],
    "bytes": [b"a", b"b"],
}
INT64 = "key must be in [-9223372036854775808, 9223372036854775807] for key_type 'int64', got {}"
UINT64 = "key must be in [0, 18446744073709551615] for key_type 'uint64', got {}"


class Indexed:
    """Stands for an int, as numpy's ints do."""

    def __init__(self, index):
        self.index = index

    def __index__(self):
        return self.index

    def __repr__(self):
        return f"Indexed({self.index})"


class BadIndex:
    def __index__(self):
        raise ZeroDivisionError("no index today")


BAD = [  # key_type, key, error, words
    ("int64", 2**63, KeyOverflow, INT64.format(2**63)),
    ("int64", -(2**63) - 1, KeyOverflow, INT64.format(-(2**63) - 1)),
    ("int64", 2**64, KeyOverflow, INT64.format(2**64)),
    ("int64", 2**64 + 5, KeyOverflow, INT64.format(2**64 + 5)),
    ("int64", -(2**100), KeyOverflow, INT64.format(-(2**100))),
    ("int64", np.uint64(2**63), KeyOverflow, None),
    ("int64", Indexed(2**63), KeyOverflow, None),
    ("int64", 1.5, InvalidType, "key must be an int for key_type 'int64', got 1.5"),
    ("int64", 3.0, InvalidType, "key must be an int for key_type 'int64', got 3.0"),
    ("int64", math.nan, InvalidType, "key must be an int for key_type 'int64', got nan"),
    ("int64", "a", InvalidType, "key must be an int for key_type 'int64', got 'a'"),
    ("int64", b"3", InvalidType, "key must be an int for key_type 'int64', got b'3'"),
    ("int64", (3,), InvalidType, "key must be an int for key_type 'int64', got (3,)"),
    ("int64", Fraction(3), InvalidType, None),
    ("int64", 3j, InvalidType, None),
    ("int64", object, InvalidType, None),
    ("uint64", 2**64, KeyOverflow, UINT64.format(2**64)),
    ("uint64", -1, KeyOverflow, UINT64.format(-1)),
    ("uint64", -(2**63), KeyOverflow, UINT64.format(-(2**63))),
    ("uint64", -(2**64) + 3, KeyOverflow, UINT64.format(-(2**64) + 3)),
    ("uint64", np.int8(-1), KeyOverflow, None),
    ("uint64", "3", InvalidType, "key must be an int for key_type 'uint64', got '3'"),
    ("uint64", 3.0, InvalidType, "key must be an int for key_type 'uint64', got 3.0"),
    ("float64", math.nan, InvalidValue, "key must not be NaN"),
    ("float64", -math.nan, InvalidValue, "key must not be NaN"),
    ("float64", struct.unpack("<d", b"\1\0\0\0\0\0\xf0\x7f")[0], InvalidValue, "key must not be NaN"),
    ("float64", np.float64("nan"), InvalidValue, "key must not be NaN"),
    ("float64", np.float32("nan"), InvalidValue, "key must not be NaN"),
    ("float64", 10**400, KeyOverflow, None),
    ("float64", "2.0", InvalidType, None),
    ("float64", b"2.0", InvalidType, None),
    ("float64", 2j, InvalidType, None),
    ("float64", (2.0,), InvalidType, None),
    ("str", 3, InvalidType, "key must be a str for key_type 'str', got 3"),
    ("str", b"a", InvalidType, "key must be a str for key_type 'str', got b'a'"),
    ("bytes", "a", InvalidType, "key must be bytes for key_type 'bytes', got 'a'"),
    ("bytes", bytearray(b"a"), InvalidType, None),
    ("bytes", memoryview(b"a"), InvalidType, None),
    ("bytes", 3, InvalidType, None),
]
NONE_IS_AN_OPEN_END = "min", "max"


def plain_tree(Tree, key_type):
    return filled(made(Tree, key_type), GOOD[key_type])


@pytest.mark.parametrize(("key_type", "key", "error", "words"), BAD, ids=lambda value: str(value)[:30])
def test_key_of_another_type_or_range_is_refused_wherever_it_comes_in(Tree, key_type, key, error, words):
    tree = plain_tree(Tree, key_type)
    before = list(tree.range())
    for name, call in (EVERY_TREE | ONLY[Tree.__name__]).values():
        with refuses(error, words and name + words.removeprefix("key")) as refused:
            call(tree, key)
        assert isinstance(refused.value, PenstockError)
        tree.check()
        assert list(tree.range()) == before


@pytest.mark.parametrize(("key_type", "key", "error", "words"), BAD, ids=lambda value: str(value)[:30])
def test_key_of_another_type_or_range_is_refused_in_every_batch(Tree, key_type, key, error, words):
    tree = plain_tree(Tree, key_type)
    before = list(tree.range())
    good = GOOD[key_type]
    for call in (EVERY_BATCH | ONLY_BATCHES[Tree.__name__]).values():
        for keys in ([key], [*good, key], [key, *good], (*good[:1], key, *good[1:])):
            with pytest.raises(error) as refused:
                call(tree, keys)
            assert isinstance(refused.value, PenstockError)
            tree.check()
            assert list(tree.range()) == before


@pytest.mark.parametrize("key_type", GOOD)
def test_none_is_no_key_but_an_open_end(Tree, key_type):
    tree = plain_tree(Tree, key_type)
    for name, call in (EVERY_TREE | ONLY[Tree.__name__]).values():
        if name == "key":
            with pytest.raises(InvalidType):
                call(tree, None)
    assert list(tree.range(None, None)) == list(tree.range())
    assert list(tree) == GOOD[key_type]
    tree.check()


@pytest.mark.parametrize("key_type", ["int64", "uint64", "float64"])
def test_error_of_a_key_that_fails_to_tell_its_number_passes(Tree, key_type):
    tree = plain_tree(Tree, key_type)
    for _, call in (EVERY_TREE | ONLY[Tree.__name__]).values():
        with refuses(ZeroDivisionError, "no index today"):
            call(tree, BadIndex())
    tree.check()
    assert list(tree) == GOOD[key_type]


def test_error_of_a_key_that_fails_to_be_a_float_passes(Tree):
    class BadFloat:
        def __float__(self):
            raise ZeroDivisionError("no float today")

    tree = plain_tree(Tree, "float64")
    for _, call in (EVERY_TREE | ONLY[Tree.__name__]).values():
        with refuses(ZeroDivisionError, "no float today"):
            call(tree, BadFloat())
    assert list(tree) == GOOD["float64"]


def test_index_that_changes_the_tree_does_no_harm(Tree):
    """Conversion of a key runs before the tree is looked at."""

    class Clears:
        def __index__(self):
            tree.clear()
            return 5

    for _, call in (EVERY_TREE | ONLY[Tree.__name__]).values():
        tree = plain_tree(Tree, "int64")
        with suppress(KeyError):
            call(tree, Clears())
        tree.check()
        assert list(tree) in ([], [5])


@pytest.mark.parametrize(
    ("key_type", "keys", "stored"),
    [
        ("int64", [True, np.int8(7), Indexed(9), np.uint64(11), -(2**63)], [-(2**63), 1, 7, 9, 11]),
        ("uint64", [False, np.int8(7), Indexed(9), np.uint64(2**64 - 1), 2**63], [0, 7, 9, 2**63, 2**64 - 1]),
        ("float64", [True, np.float32(0.5), Fraction(1, 4), Indexed(9), -0.0, 2**70, math.inf, -math.inf],
         [-math.inf, 0.0, 0.25, 0.5, 1.0, 9.0, 2.0**70, math.inf]),
    ],
)  # fmt: skip
def test_numbers_of_other_types_are_taken_where_nothing_is_lost(Tree, key_type, keys, stored):
    tree = filled(made(Tree, key_type), keys)
    found = list(tree)
    assert found == stored
    assert set(map(type, found)) == {float if key_type == "float64" else int}
    assert all(key in tree for key in keys)
    assert [tree.rank(key) for key in stored] == list(range(len(stored)))
    tree.check()


def test_negative_zero_is_zero_as_a_float_key(Tree):
    tree = filled(made(Tree, "float64"), [-0.0])
    assert [math.copysign(1, key) for key in tree] == [1.0]
    assert 0.0 in tree
    assert -0.0 in tree
    assert tree.rank(0.0) == tree.rank(-0.0) == 0
    assert tree.count(-0.0, 0.0, include=(True, True)) == 1
    assert (
        math.copysign(1, tree.range_arrays()[0][0] if Tree.__name__ != "SetTree" else tree.range_arrays()[0])
        == 1
    )


VALUES = [
    ("int64", 2**63, OverflowError),
    ("int64", -(2**63) - 1, OverflowError),
    ("int64", 1.5, InvalidType),
    ("int64", None, InvalidType),
    ("int64", "1", InvalidType),
    ("float64", 10**400, OverflowError),
    ("float64", "1", InvalidType),
    ("float64", None, InvalidType),
    ("float64", 1j, InvalidType),
]


@pytest.mark.parametrize("key_type", ["object", "int64", "str"])
@pytest.mark.parametrize(("value_type", "value", "error"), VALUES, ids=str)
def test_value_of_another_type_or_range_is_refused(twin, key_type, value_type, value, error):
    one, two = GOOD["str" if key_type == "str" else "int64"][:2]
    for name in ("MapTree", "MultiMapTree"):
        tree = getattr(twin, name)(key_type, value_type)
        calls = [
            lambda tree: tree.insert_many([one, two], [1, value]),
            lambda tree: tree.insert_many([one, two], [value, 1], sorted=True),
            lambda tree: tree._load_sorted([one, two], [1, value], 0.9, True),
        ]
        if name == "MapTree":
            calls += [lambda tree: tree.__setitem__(one, value), lambda tree: tree.setdefault(two, value)]
        else:
            calls += [lambda tree: tree.add(one, value)]
        for call in calls:
            with pytest.raises(error, match="value") as refused:
                call(tree)
            assert isinstance(refused.value, PenstockError)
            tree.check()
            assert list(tree.range()) == []


def test_values_of_a_type_come_back_as_that_type(twin):
    for name in ("MapTree", "MultiMapTree"):
        ints, floats = getattr(twin, name)("int64", "int64"), getattr(twin, name)("object", "float64")
        filled(ints, range(3), value=lambda key: [True, Indexed(7), np.int16(-3)][key])
        filled(floats, range(4), value=lambda key: [1, np.float32(0.5), math.nan, -0.0][key])
        assert list(map(repr, ints.values_range())) == ["1", "7", "-3"]
        assert list(map(repr, floats.values_range())) == ["1.0", "0.5", "nan", "-0.0"]


ARGUMENTS = {
    "include of one": lambda tree: tree.range(include=(True,)),
    "include of three": lambda tree: tree.count(include=(True, True, True)),
    "include no pair": lambda tree: tree.range(include=True),
    "include of ints": lambda tree: tree.range(include=(1, 0)),
    "include of a set": lambda tree: tree.delete_range(include={True, False}),
    "include of None": lambda tree: tree.delete_range(include=None),
    "limit below 0": lambda tree: tree.range(limit=-1),
    "limit a float": lambda tree: tree.range(limit=1.0),
    "limit a str": lambda tree: tree.keys_range(limit="1"),
    "limit far below 0": lambda tree: tree.keys_range(limit=-(2**70)),
    "index a float": lambda tree: tree.select(1.0),
    "index a str": lambda tree: tree.pop_at("1"),
    "index None": lambda tree: tree.select(None),
    "keys no iterable": lambda tree: tree.rank_many(3),
    "keys None": lambda tree: tree.contains_many(None),
    "keys of two dimensions": lambda tree: tree.delete_many(np.zeros((2, 3), int)),
    "keys of no dimension": lambda tree: tree.delete_many(np.array(3)),
}


@pytest.mark.parametrize("key_type", ["int64", "float64"])
@pytest.mark.parametrize("call", ARGUMENTS.values(), ids=ARGUMENTS)
def test_wrong_arguments_are_refused(Tree, key_type, call):
    tree = plain_tree(Tree, key_type)
    with pytest.raises((TypeError, ValueError)):
        call(tree)
    tree.check()
    assert list(tree) == GOOD[key_type]


def test_index_out_of_range_is_told_with_the_range(Tree):
    tree = filled(made(Tree, "int64"), [1, 2, 3])
    for call in (tree.select, tree.pop_at):
        for index in (3, 5, -4, 2**70, -(2**70)):
            with refuses(IndexError, f"index must be in [-3, 3), got {index}"):
                call(index)
        assert list(tree) == [1, 2, 3]
    tree.clear()
    for index in (0, -1):
        with pytest.raises(IndexError):
            tree.select(index)


def test_ends_of_an_empty_tree_are_key_errors(Tree):
    tree = made(Tree)
    for call in (tree.first_item, tree.last_item, tree.pop_first, tree.pop_last):
        with pytest.raises(KeyError) as refused:
            call()
        assert refused.value.args == ("the tree is empty",)


def test_limits_and_dimensions_are_told_in_these_words(Tree):
    tree = made(Tree, "int64")
    with refuses(InvalidValue, "limit must be >= 0, got -1"):
        tree.range(limit=-1)
    with refuses(InvalidValue, "keys must be one-dimensional, got shape (2, 3)"):
        tree.rank_many(np.zeros((2, 3), np.int64))


@pytest.mark.parametrize(
    "arguments",
    [("int32",), ("",), ("INT64",), (None,), (3,), ("object ",), (b"object",), (["object"],), (int,)],
    ids=str,
)
def test_unknown_key_type_is_refused(Tree, arguments):
    with pytest.raises((InvalidValue, InvalidType), match="key_type"):
        Tree(*arguments)


@pytest.mark.parametrize("value_type", ["uint64", "str", "", None, 3, ["object"]], ids=str)
def test_unknown_value_type_is_refused(twin, value_type):
    for name in ("MapTree", "MultiMapTree"):
        with pytest.raises((InvalidValue, InvalidType), match="value_type"):
            getattr(twin, name)("int64", value_type)
    with pytest.raises(TypeError):
        twin.SetTree("int64", "object")


def test_arrays_of_a_range_are_for_typed_keys(Tree):
    for key_type in ("object", "str", "bytes"):
        with pytest.raises(InvalidType, match="key_type"):
            made(Tree, key_type).range_arrays()


def test_base_of_the_trees_is_not_made_by_itself(twin):
    for arguments in ((), ("int64",)):
        with pytest.raises(TypeError):
            twin.BTree(*arguments)
    for name in ("MapTree", "SetTree", "MultiMapTree"):
        assert issubclass(getattr(twin, name), twin.BTree)


UNSORTED = [
    ([1, 2, 5, 3, 4], "keys must ascend, got 3 after 5 at index 3"),
    ([2, 1], "keys must ascend, got 1 after 2 at index 1"),
    ([*range(1000), 998], "keys must ascend, got 998 after 999 at index 1000"),
]


@pytest.mark.parametrize("key_type", ["object", "int64", "uint64"])
@pytest.mark.parametrize(("keys", "words"), UNSORTED)
@pytest.mark.parametrize("form", [list, iter, np.array])
def test_unsorted_keys_are_refused_where_sorted_ones_are_promised(Tree, key_type, keys, words, form):
    values = [] if Tree.__name__ == "SetTree" else [[0] * len(keys)]
    if form is not np.array or key_type != "object":
        tree = made(Tree, key_type)
        with refuses(UnsortedKeys, words) as refused:
            tree._load_sorted(form(keys), (values or [None])[0], 0.9, True)
        assert isinstance(refused.value, InvalidValue)
        assert len(tree) == 0
        tree.check()
        with refuses(UnsortedKeys, words):
            tree.insert_many(form(keys), *values, sorted=True)
        assert len(tree) == 0
        tree.check()
        filled(tree, [7, 9])
        with refuses(UnsortedKeys, words):
            tree.insert_many(form(keys), *values, sorted=True)
        assert list(tree) == [7, 9]
        tree.check()


@pytest.mark.parametrize("key_type", ["object", "int64", "float64", "str"])
def test_equal_keys_are_unsorted_for_maps_and_sets_alone(Tree, key_type):
    keys = ["a", "b", "b", "c"] if key_type == "str" else [1, 2, 2, 3]
    tree = made(Tree, key_type)
    values = None if Tree.__name__ == "SetTree" else list("wxyz")
    if Tree.__name__ == "MultiMapTree":
        tree._load_sorted(keys, values, 0.9, True)
        assert list(tree.range()) == list(zip(keys, values, strict=True))
    else:
        with pytest.raises(UnsortedKeys, match=r"at index 2$"):
            tree._load_sorted(keys, values, 0.9, True)
        assert list(tree) == []
    tree.check()


@pytest.mark.parametrize("fill", [0.0, 0.49, 1.01, -1, math.nan, math.inf, "0.9", None, 2])
def test_fill_is_between_a_half_and_one(Tree, fill):
    tree = made(Tree, "int64")
    with pytest.raises((ValueError, TypeError), match="fill"):
        tree._load_sorted([1, 2], None if Tree.__name__ == "SetTree" else [1, 2], fill, True)
    assert len(tree) == 0


def test_loading_is_for_empty_trees(Tree):
    tree = filled(made(Tree, "int64"), [1])
    with pytest.raises(InvalidValue):
        tree._load_sorted([2, 3], None if Tree.__name__ == "SetTree" else [2, 3], 0.9, True)
    assert list(tree) == [1]
    tree.clear()
    tree._load_sorted([2, 3], None if Tree.__name__ == "SetTree" else [2, 3], 0.9, True)
    assert list(tree) == [2, 3]


@pytest.mark.parametrize("key_type", ["object", "int64", "str"])
def test_keys_and_values_are_of_one_length(twin, key_type):
    keys = ["a", "b", "c"] if key_type == "str" else [1, 2, 3]
    for name in ("MapTree", "MultiMapTree"):
        tree = getattr(twin, name)(key_type)
        words = "keys and values must be of one length, got 3 and 4"
        for sort in (False, True):
            with refuses(InvalidValue, words):
                tree.insert_many(keys, [1, 2, 3, 4], sorted=sort)
        with refuses(InvalidValue, words):
            tree._load_sorted(keys, [1, 2, 3, 4], 0.9, True)
        with pytest.raises(InvalidValue):
            tree._load_sorted(keys, [1, 2], 0.9, True)
        assert len(tree) == 0
        tree.check()


@pytest.mark.parametrize(
    ("key_type", "keys"),
    [
        ("int64", np.array([1.0, 2.5])),
        ("int64", np.array([2**63], np.uint64)),
        ("int64", np.array(["1"])),
        ("int64", np.array([1, None], object)),
        ("int64", np.array([2**70], object)),
        ("int64", np.array([1 + 0j])),
        ("int64", np.array(["2020-01-01"], "datetime64[D]")),
        ("uint64", np.array([-1])),
        ("uint64", np.array([1, -1], np.int8)),
        ("uint64", np.array([2**64], object)),
        ("uint64", np.array([-0.5])),
        ("float64", np.array([1.0, np.nan])),
        ("float64", np.array([np.nan], np.float32)),
        ("float64", np.array(["1.0"])),
        ("float64", np.array([1j])),
        ("float64", np.array([2**53 + 1])),
        ("float64", np.array([2**64 - 1], np.uint64)),
    ],
    ids=str,
)
def test_arrays_that_would_lose_something_are_refused(Tree, key_type, keys):
    tree = plain_tree(Tree, key_type)
    for name, call in (EVERY_BATCH | ONLY_BATCHES[Tree.__name__]).items():
        with pytest.raises((TypeError, ValueError, OverflowError)) as refused:
            call(tree, keys)
        assert isinstance(refused.value, PenstockError), name
        tree.check()
        assert list(tree) == GOOD[key_type]


def told(call, tree):
    try:
        call(tree)
    except Exception as error:
        return type(error), repr(error.args)
    return None


@pytest.mark.parametrize("name", ONLY)
def test_twins_refuse_in_the_same_words(name):
    twins = [getattr(import_module(f"penstock.btree._btree_{impl}"), name) for impl in ("c", "py")]
    calls = [
        (key_type, lambda tree, key=key, call=call: call(tree, key))
        for key_type, key, _, _ in BAD
        for _, call in (EVERY_TREE | ONLY[name]).values()
    ]
    calls += [
        (key_type, lambda tree, keys=keys, call=call: call(tree, keys))
        for key_type, key, _, _ in BAD
        for keys in ([key], [*GOOD[key_type], key])
        for call in (EVERY_BATCH | ONLY_BATCHES[name]).values()
    ]
    calls += [(key_type, call) for key_type in ("int64", "str") for call in ARGUMENTS.values()]
    calls += [
        ("int64", lambda tree, arguments=arguments: type(tree)(*arguments))
        for arguments in [("int32",), (None,), (3,)]
    ]
    values = None if name == "SetTree" else [1]
    calls += [
        ("int64", lambda tree, fill=fill: made(type(tree), "int64")._load_sorted([1], values, fill, True))
        for fill in (0.1, 2, math.nan, "1")
    ]
    for key_type, call in calls:
        compiled, fallback = [told(call, plain_tree(twin, key_type)) for twin in twins]
        assert compiled == fallback
