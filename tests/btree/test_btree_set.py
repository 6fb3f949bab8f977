"""BTreeSet: a set in the order of its keys; what it adds to its twin."""

import copy
import pickle
from collections.abc import MutableSet

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.btree import BTreeMap, BTreeMultiMap, BTreeSet, FrozenTree, UnsortedKeys
from penstock.btree.btree import SetTree
from penstock.errors import InvalidValue, PenstockError

small_ints = st.integers(-20, 20)
sets = st.sets(small_ints, max_size=30)
KEY_TYPES = ["int64", "float64", "object"]
every_type = pytest.mark.parametrize("key_type", KEY_TYPES)


def made(keys=(), key_type="object"):
    tree = BTreeSet(keys, key_type=key_type)
    tree.check()
    return tree


@every_type
@pytest.mark.parametrize(
    "kind", [list, set, iter, tuple, dict.fromkeys, np.array, BTreeSet, BTreeMap.fromkeys]
)
def test_keys_come_from_any_iterable(key_type, kind):
    assert list(made(kind([3, 1, 2]), key_type)) == [1, 2, 3]


def test_keys_come_from_a_multimap():
    assert list(made(BTreeMultiMap([(2, 1), (1, 1), (2, 3)]))) == [1, 2]


@pytest.mark.parametrize(
    ("dtype", "key_type"), [("int8", "int64"), ("uint64", "uint64"), ("float32", "float64")]
)
def test_array_chooses_the_key_type(dtype, key_type):
    tree = BTreeSet.from_sorted(np.array([1, 2], dtype))
    assert (tree.key_type, tree.value_type, list(tree)) == (key_type, None, [1, 2])


def test_sorted_keys_are_loaded_and_unsorted_refused():
    tree = BTreeSet.from_sorted(range(5000))
    tree.check()
    assert list(tree) == list(range(5000))
    for keys in ([1, 3, 2], [1, 1], np.array([2, 1])):
        with pytest.raises(UnsortedKeys):
            BTreeSet.from_sorted(keys)


def test_it_is_a_mutable_set_on_the_twin():
    tree = made([1])
    assert isinstance(tree, MutableSet)
    assert BTreeSet[int].__origin__ is BTreeSet
    for name in ("add", "discard", "remove", "__contains__", "__iter__", "range"):
        assert getattr(BTreeSet, name) is getattr(SetTree, name)
    with pytest.raises(TypeError, match="unhashable"):
        hash(tree)
    with pytest.raises(TypeError):
        BTreeSet(3)


def test_last_key_is_popped():
    tree = made("ab")
    assert (tree.pop(), tree.pop()) == ("b", "a")
    with pytest.raises(KeyError, match="the tree is empty"):
        tree.pop()


@given(sets, sets, sets)
def test_methods_are_those_of_a_set(first, second, third):
    for key_type in KEY_TYPES:
        tree = made(first, key_type)
        for others in [(second, third), (made(second, key_type), list(third)), (), (dict.fromkeys(second),)]:
            models = [set(other) for other in others]
            for name in ("union", "intersection", "difference"):
                result = getattr(tree, name)(*others)
                result.check()
                assert type(result) is BTreeSet
                assert list(result) == sorted(getattr(first, name)(*models))
            for name in ("update", "intersection_update", "difference_update"):
                changed, model = tree.copy(), set(first)
                getattr(changed, name)(*others)
                getattr(model, name)(*models)
                changed.check()
                assert list(changed) == sorted(model)
        for other in (second, made(second, key_type), list(second)):
            assert list(tree.symmetric_difference(other)) == sorted(first ^ second)
            changed = tree.copy()
            changed.symmetric_difference_update(other)
            assert list(changed) == sorted(first ^ second)
            assert tree.isdisjoint(other) == first.isdisjoint(second)
            assert tree.issubset(other) == first.issubset(second)
            assert tree.issuperset(other) == first.issuperset(second)
        assert list(tree) == sorted(first)


@given(sets, sets)
def test_operators_are_those_of_a_set(first, second):
    for key_type in KEY_TYPES:
        tree = made(first, key_type)
        for other in (second, made(second, key_type), frozenset(second), dict.fromkeys(second).keys()):
            for result, expected in [
                (tree | other, first | second), (tree & other, first & second),
                (tree - other, first - second), (tree ^ other, first ^ second),
            ]:  # fmt: skip
                assert type(result) is BTreeSet
                assert result.key_type == key_type
                assert list(result) == sorted(expected)
            assert (tree <= other, tree < other) == (first <= second, first < second)
            assert (tree >= other, tree > other) == (first >= second, first > second)
            assert (tree == other, tree != other) == (first == second, first != second)
        for result, expected in [
            (second | tree, first | second), (second & tree, first & second),
            (second - tree, second - first), (second ^ tree, first ^ second),
        ]:  # fmt: skip
            assert type(result) is BTreeSet
            assert list(result) == sorted(expected)
        for other in (second, made(second, key_type)):
            changed = tree.copy()
            changed |= other
            assert list(changed) == sorted(first | second)
            changed &= first
            assert list(changed) == sorted(first)
            changed -= other
            assert list(changed) == sorted(first - second)
            changed ^= other
            assert list(changed) == sorted(first | second)
            changed.check()


class Ordered:
    """A key with nothing but an order: neither == nor a hash tells two of them to be the same."""

    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        return self.number < other.number

    __hash__ = None


@given(sets, sets)
@pytest.mark.parametrize(
    ("wrapped", "plain"), [(Ordered, lambda key: key.number), (lambda n: (n, "x"), lambda key: key[0])]
)
def test_keys_need_an_order_and_nothing_else(wrapped, plain, first, second):
    one, other = (made(map(wrapped, numbers)) for numbers in (first, second))
    for result, expected in [
        (one | other, first | second), (one & other, first & second), (one - other, first - second),
        (one ^ other, first ^ second), (one.union(map(wrapped, second)), first | second),
    ]:  # fmt: skip
        result.check()
        assert [plain(key) for key in result] == sorted(expected)
    assert (one <= other, one >= other) == (first <= second, first >= second)
    assert one.isdisjoint(other) == first.isdisjoint(second)
    common = one & other
    assert all(key in one and key in other for key in common)


@every_type
def test_a_few_keys_against_many(key_type):
    many, few = made(range(0, 2000, 2), key_type), made([3, 4, 5, 1998], key_type)
    for first, second in ((many, few), (few, many)):
        one, other = set(first), set(second)
        assert list(first & second) == sorted(one & other)
        assert list(first - second) == sorted(one - other)
        assert list(first | second) == sorted(one | other)
        assert list(first ^ second) == sorted(one ^ other)
        assert not first.isdisjoint(second)
        assert not first.issubset(second)
    assert few.isdisjoint(range(7, 900, 2))


@every_type
def test_set_algebra_with_itself(key_type):
    tree = made(range(100), key_type)
    assert tree | tree == tree & tree == tree
    assert not tree - tree
    assert not tree ^ tree
    other = tree.copy()
    other &= other
    assert other == tree
    other -= other
    assert not other
    assert tree <= tree
    assert not tree < tree


def test_sets_of_keys_that_cannot_be_compared_are_not_equal():
    assert made([1]) != made(["a"])
    assert made([1], "int64") != {"a"}
    assert made([1], "int64") == made([1.0], "float64")
    assert made([2**53 + 1], "int64") != made([2.0**53], "float64")
    assert made([2**53], "int64") == made([2.0**53], "float64") == made([2**53], "uint64")
    assert BTreeSet([[1]]) != {1}
    assert made([1]) != [1]


@pytest.mark.parametrize("other", [[1], 5, None, {1: 2}])
def test_operators_take_sets_only(other):
    tree = made([1])
    for operate in (lambda: tree | other, lambda: tree & other, lambda: tree < other, lambda: other - tree):
        with pytest.raises(TypeError):
            operate()


def test_key_of_another_type_is_refused_and_changes_nothing():
    tree = made([1, 2], "int64")
    for attempt in (
        tree.update,
        tree.union,
        tree.intersection_update,
        tree.difference_update,
        tree.isdisjoint,
    ):
        with pytest.raises(PenstockError, match="must be an int for key_type 'int64', got 'a'"):
            attempt(["a"])
    assert list(tree) == [1, 2]
    with pytest.raises(InvalidValue, match="NaN"):
        tree = BTreeSet([float("nan")])


def test_update_takes_all_of_an_argument_or_none():
    tree = made([1])
    with pytest.raises(TypeError):
        tree.update([5], [7, "a"])
    assert list(tree) == [1, 5]


def test_snapshot_refuses_to_change():
    snapshot = made([1, 2]).snapshot()
    for attempt in (
        lambda: snapshot.update([3]), lambda: snapshot.intersection_update([1]), snapshot.pop,
        lambda: snapshot.difference_update([1]), lambda: snapshot.symmetric_difference_update([1]),
    ):  # fmt: skip
        with pytest.raises(FrozenTree):
            attempt()
    assert list(snapshot | {3}) == [1, 2, 3]


def test_repr_tells_size_and_type():
    assert repr(made([1, 2], "int64")) == "<BTreeSet of 2 entries, int64>"


@every_type
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda tree: pickle.loads(pickle.dumps(tree))])
def test_copies_have_the_same_keys_and_change_apart(key_type, again):
    tree = made(range(500), key_type)
    other = again(tree)
    assert (type(other), other.key_type, other == tree) == (BTreeSet, key_type, True)
    other.add(1000)
    assert len(tree) == 500


def test_file_has_what_the_set_has(tmp_path):
    tree = made(range(500), "uint64")
    tree.save(tmp_path / "set")
    assert BTreeSet.load(tmp_path / "set") == tree


def test_places_and_prefixes_give_keys():
    tree = made(["a", "ab", "b"])
    assert tree.at[1] == "ab"
    assert tree.at[::-1] == ["b", "ab", "a"]
    assert list(tree.prefix("a")) == ["a", "ab"]
    assert list(made([(1, 2), (1, 3), (2, 1)]).prefix((1,))) == [(1, 2), (1, 3)]


@pytest.mark.parametrize(
    "use",
    [
        BTreeSet,
        BTreeSet([1]).update,
        BTreeSet([1]).intersection,
        BTreeSet([1]).difference_update,
        BTreeSet([1], key_type="int64").isdisjoint,
    ],
)
def test_what_is_no_iterable_is_refused_by_name(use):
    with pytest.raises(PenstockError, match="keys must be an array or an iterable, got 5"):
        use(5)


class Touchy:
    """A key whose comparison can be made to fail, a number of times from now."""

    calls = None

    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        if Touchy.calls is not None:
            Touchy.calls -= 1
            if Touchy.calls < 0:
                raise ArithmeticError("touchy")
        return self.number < other.number

    def __eq__(self, other):
        return self.number == other.number

    __hash__ = None


@pytest.mark.parametrize("operator", ["__ior__", "__iand__", "__isub__", "__ixor__"])
@pytest.mark.parametrize("cls", [BTreeSet, BTreeMap, BTreeMultiMap])
def test_operator_that_fails_at_any_comparison_changes_nothing(cls, operator):
    def of(numbers):
        keys = [Touchy(each) for each in numbers]
        return cls(keys) if cls is BTreeSet else cls((key, key.number) for key in keys)

    def seen(tree):
        return [item.number if cls is BTreeSet else (item[0].number, item[1]) for item in tree.range()]

    failures = 0
    while True:
        tree, other = of([1, 3, 5, 7, 9]), of([2, 3, 8, 9, 10])
        before = seen(tree)
        Touchy.calls = failures
        try:
            getattr(tree, operator)(other)
            break
        except ArithmeticError:
            failures += 1
        finally:
            Touchy.calls = None
        assert seen(tree) == before
        tree.check()
    assert failures > 5
    assert seen(tree) != before


@given(st.lists(st.one_of(small_ints, st.booleans(), st.floats(allow_nan=False))), sets)
def test_keys_of_several_types_go_by_order_alone(keys, there):
    tree = BTreeSet(there)
    tree.update(keys)
    tree.check()
    assert list(tree) == sorted(there | set(keys))


def test_first_of_equal_keys_stays():
    for cls in (BTreeSet, BTreeMap.fromkeys):
        first, second = int("1" + "0" * 20), int("1" + "0" * 20)
        assert first is not second
        assert next(iter(cls([first, 1, second]))) == 1
        assert list(cls([first, 1, second]))[1] is first


@pytest.mark.parametrize(
    ("key_type", "keys", "words"),
    [
        ("str", ["a", 1], r"keys\[1\] must be a str for key_type 'str', got 1"),
        ("str", [2, 1], r"keys\[0\] must be a str for key_type 'str', got 2"),
        ("bytes", ["b", "a"], r"keys\[0\] must be bytes for key_type 'bytes', got 'b'"),
        ("object", [2.0, float("nan"), 1.0], r"keys\[1\] must not be NaN"),
    ],
)
def test_key_that_is_none_is_named_by_the_place_where_it_was_given(key_type, keys, words):
    with pytest.raises(PenstockError, match=words):
        BTreeSet(keys, key_type=key_type)


@pytest.mark.parametrize("key_type", ["int64", "object"])
def test_key_that_a_multimap_has_often_counts_once(key_type):
    tree = BTreeSet([1, 2, 3], key_type=key_type)
    often = BTreeMultiMap([(1, 0)] * 9, key_type=key_type)
    assert tree.issuperset(often)
    assert not tree.issubset(often)
    assert not BTreeSet([2], key_type=key_type).issuperset(often)
    assert BTreeSet([1], key_type=key_type).issubset(often)
