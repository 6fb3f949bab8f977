"""Many keys at once: the same as one by one, all or nothing, from arrays and from anything iterable."""

import array
import itertools
import random

import numpy as np
import pytest
from tree_keys import filled, made, put, refuses

from penstock.btree.errors import TreeChanged, UnsortedKeys
from penstock.errors import InvalidValue

TYPED = ["int64", "uint64", "float64"]
FORMS = {
    "array": lambda keys, dtype: np.array(keys, dtype),
    "strided array": lambda keys, dtype: np.repeat(np.array(keys, dtype), 2)[::2],
    "backward array": lambda keys, dtype: np.array(keys[::-1], dtype)[::-1],
    "big-endian array": lambda keys, dtype: np.array(keys, np.dtype(dtype).newbyteorder(">")),
    "read-only array": lambda keys, dtype: read_only(np.array(keys, dtype)),
    "array of objects": lambda keys, dtype: np.array(keys, object),
    "array of small ints": lambda keys, dtype: np.array(keys, np.uint16),
    "array.array": lambda keys, dtype: array.array(
        {"int64": "q", "uint64": "Q", "float64": "d"}[dtype], keys
    ),
    "memoryview": lambda keys, dtype: memoryview(np.array(keys, dtype)),
    "list": lambda keys, dtype: list(keys),
    "tuple": lambda keys, dtype: tuple(keys),
    "generator": lambda keys, dtype: (key for key in keys),
    "range": lambda keys, dtype: keys if isinstance(keys, range) else list(keys),
    "list of numpy's ints": lambda keys, dtype: [np.int32(key) for key in keys],
}


def read_only(keys):
    keys.flags.writeable = False
    return keys


def values_for(Tree, keys, value=str):
    return [] if Tree.__name__ == "SetTree" else [[value(key) for key in keys]]


@pytest.mark.parametrize("key_type", TYPED)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_batches_take_keys_in_every_form(Tree, key_type, form):
    tree = made(Tree, key_type)
    assert tree.insert_many(form(range(0, 3000, 2), key_type), *values_for(Tree, range(0, 3000, 2))) == 1500
    tree.check()
    assert list(tree) == list(range(0, 3000, 2))
    assert set(map(type, tree)) == {float if key_type == "float64" else int}
    wanted = range(100)
    ranks, contained = tree.rank_many(form(wanted, key_type)), tree.contains_many(form(wanted, key_type))
    assert ranks.dtype == np.int64
    assert ranks.tolist() == [(key + 1) // 2 for key in wanted]
    assert contained.dtype == bool
    assert contained.tolist() == [key % 2 == 0 for key in wanted]
    assert tree.delete_many(form(wanted, key_type)) == 50
    tree.check()
    assert list(tree) == list(range(100, 3000, 2))
    loaded = made(Tree, key_type)
    loaded._load_sorted(form(range(2000), key_type), (values_for(Tree, range(2000)) or [None])[0], 0.9, True)
    loaded.check()
    assert list(loaded) == list(range(2000))


@pytest.mark.parametrize("key_type", ["object", *TYPED, "str", "bytes"])
def test_batches_of_nothing_do_nothing(Tree, key_type):
    for keys in ([], (), iter([]), *([np.array([], key_type)] if key_type in TYPED else [])):
        tree = made(Tree, key_type)
        assert tree.insert_many(keys, *values_for(Tree, [])) == 0
        assert tree.delete_many([]) == 0
        assert tree.rank_many([]).tolist() == []
        assert tree.rank_many([]).dtype == np.int64
        assert tree.contains_many([]).dtype == bool
        tree._load_sorted([], (values_for(Tree, []) or [None])[0], 0.9, True)
        assert list(tree) == []
        tree.check()


@pytest.mark.parametrize("key_type", ["object", "int64", "float64", "str"])
@pytest.mark.parametrize("seed", range(6))
def test_batches_do_what_one_call_a_key_would(Tree, key_type, seed):
    dice = random.Random(seed)
    key_of = (lambda n: f"{n:06}") if key_type == "str" else (lambda n: n)
    many, single = made(Tree, key_type), made(Tree, key_type)
    for _ in range(12):
        size = dice.choice([1, 3, 60, 500, 4000])
        spread = dice.choice([50, 1000, 100_000])
        start = dice.randrange(100_000)
        keys = [key_of(start + dice.randrange(spread)) for _ in range(size)]
        if dice.random() < 0.5:
            keys.sort()
        if dice.random() < 0.7:
            before = len(single)
            numbers = [f"{key} {i}" for i, key in enumerate(keys)]
            for key, value in zip(keys, numbers, strict=True):
                put(single, key, value)
            values = [] if Tree.__name__ == "SetTree" else [numbers]
            ascending = keys == sorted(keys)
            assert many.insert_many(keys, *values, sorted=ascending) == len(single) - before
        else:
            keys += dice.sample(list(single), min(len(single), size))
            before = len(single)
            for key in keys:
                single.delete_range(key, key, include=(True, True))
            assert many.delete_many(keys) == before - len(single)
        many.check()
        assert list(many.range()) == list(single.range())
        keys += dice.sample(list(single), min(len(single), 50))
        assert many.rank_many(keys).tolist() == [single.rank(key) for key in keys]
        assert many.contains_many(keys).tolist() == [key in single for key in keys]


@pytest.mark.parametrize("key_type", TYPED)
@pytest.mark.parametrize("size", [1, 59, 60, 3000, 40_000])
def test_lookups_of_arrays_are_right_in_any_order(twin, key_type, size):
    dice = np.random.default_rng(size)
    keys = np.unique(dice.integers(0, 5 * size, size)).astype(key_type)
    tree = twin.MapTree(key_type, "int64")
    tree._load_sorted(keys, np.arange(len(keys)), 0.9, True)
    wanted = dice.integers(0, 5 * size + 3, 5000).astype(key_type)
    for asked in (wanted, np.sort(wanted), np.sort(wanted)[::-1], keys, keys[::-1], np.repeat(keys[:1], 100)):
        ranks = np.searchsorted(keys, asked)
        there = np.isin(asked, keys)
        assert (tree.rank_many(asked) == ranks).all()
        assert (tree.contains_many(asked) == there).all()
        found = tree.get_many(asked, default=-1)
        assert found.dtype == np.int64
        assert (found == np.where(there, ranks, -1)).all()
        assert (tree.get_many(asked[there]) == ranks[there]).all()


def test_last_of_equal_keys_wins_in_a_map(twin):
    for key_type in ("object", "int64"):
        for sort in (False, True):
            tree = twin.MapTree(key_type)
            tree[2] = "old"
            assert tree.insert_many([1, 2, 2, 3, 3, 3], list("abcdef"), sorted=sort) == 2
            assert list(tree.range()) == [(1, "a"), (2, "c"), (3, "f")]
            tree.check()
        assert tree.insert_many([3, 1, 3, 1], list("wxyz")) == 0
        assert list(tree.range()) == [(1, "z"), (2, "c"), (3, "y")]


def test_equal_keys_keep_the_order_given_in_a_multimap(twin):
    for key_type in ("object", "int64", "float64"):
        for value_type in ("object", "int64"):
            tree = twin.MultiMapTree(key_type, value_type)
            tree.add(5, -1)
            keys = [i * 7 % 10 for i in range(5000)]
            assert tree.insert_many(keys, range(5000)) == 5000
            assert tree.insert_many(sorted(keys), range(5000, 10_000), sorted=True) == 5000
            tree.add(5, 10_000)
            tree.check()
            for key in range(10):
                first = [i for i in range(5000) if keys[i] == key]
                second = [5000 + i for i, each in enumerate(sorted(keys)) if each == key]
                expected = [-1, *first, *second, 10_000] if key == 5 else first + second
                assert tree.get_all(key) == expected


def test_values_of_many_keys(twin):
    tree = filled(twin.MapTree("int64", "float64"), range(100), value=lambda key: key / 2)
    found = tree.get_many([5, 7, 5])
    assert found.dtype == np.float64
    assert found.tolist() == [2.5, 3.5, 2.5]
    assert tree.get_many([5, 1000], default=-1).tolist() == [2.5, -1.0]
    assert tree.get_many(np.array([], np.int64)).dtype == np.float64
    with pytest.raises(KeyError) as missing:
        tree.get_many([5, 1000, 2000])
    assert missing.value.args == (1000,)
    assert type(missing.value.args[0]) is int
    objects = filled(twin.MapTree("int64"), range(100))
    assert objects.get_many([5, 1000], default=None) == ["5", None]
    assert objects.get_many(np.array([7, 5])) == ["7", "5"]
    texts = filled(twin.MapTree("str", "int64"), ["a", "b"], value=ord)
    assert texts.get_many(["b", "a", "b"]) == [98, 97, 98]
    with pytest.raises(KeyError) as missing:
        texts.get_many(iter(["a", "zz", "y"]))
    assert missing.value.args == ("zz",)


def test_values_of_many_keys_of_a_multimap(twin):
    for key_type in ("object", "int64"):
        for value_type in ("object", "int64"):
            tree = twin.MultiMapTree(key_type, value_type)
            tree.insert_many([1, 1, 2, 3, 3, 3], range(6))
            values, offsets = tree.get_many([3, 9, 1, 1])
            assert offsets.dtype == np.int64
            assert offsets.tolist() == [0, 3, 3, 5, 7]
            assert list(values) == [3, 4, 5, 0, 1, 0, 1]
            if key_type == value_type == "int64":
                assert values.dtype == np.int64
            if value_type == "object":
                assert type(values) is list
            values, offsets = tree.get_many([])
            assert list(values) == []
            assert offsets.tolist() == [0]


@pytest.mark.parametrize("fill", [0.5, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("key_type", ["object", "int64", "str"])
def test_loaded_trees_are_as_full_as_asked_and_work_on(Tree, key_type, fill):
    for size in (0, 1, 2, 29, 30, 31, 58, 59, 60, 118, 119, 1000, 3540, 3541, 20_000):
        keys = [f"{n:06}" if key_type == "str" else n for n in range(size)]
        tree = made(Tree, key_type)
        tree._load_sorted(keys, (values_for(Tree, keys) or [None])[0], fill, True)
        tree.check()
        assert list(tree) == keys
        if size >= 20_000:
            assert tree.stats()["fill"] == pytest.approx(fill, abs=0.1)
        if size:
            assert tree.pop_at(size // 2) is not None
            put(tree, keys[size // 2], "again")
            put(tree, keys[0] + "0" if key_type == "str" else 0.5 if key_type == "object" else -1, "new")
        tree.check()
        assert len(tree) == (size + 1 if size else 0)


def test_loaded_values_stand_by_their_keys(twin):
    for name in ("MapTree", "MultiMapTree"):
        for key_type, value_type in itertools.product(
            ["object", "int64", "float64"], ["object", "int64", "float64"]
        ):
            tree = getattr(twin, name)(key_type, value_type)
            values = np.arange(5000) * 3
            tree._load_sorted(
                np.arange(5000), values if value_type != "object" else list(map(str, range(5000))), 0.9, True
            )
            tree.check()
            assert tree.get(4321) == ("4321" if value_type == "object" else 12963)
            assert [value for _, value in tree.range(10, 12)] == (
                ["10", "11"] if value_type == "object" else [30, 33]
            )


def test_unsorted_keys_without_a_check_are_found_by_check(twin):
    """check=False is a promise of the caller's; a broken promise is found, not followed into a crash."""
    tree = twin.SetTree()
    tree._load_sorted([3, 1, 2], None, 0.9, False)
    with pytest.raises(AssertionError):
        tree.check()
    assert len(tree) == 3
    assert len(list(tree)) == 3
    tree.clear()
    tree.check()
    typed = twin.SetTree("int64")
    with pytest.raises(UnsortedKeys):
        typed._load_sorted(np.array([3, 1, 2]), None, 0.9, False)


# ---- all or nothing ----


def broken_off(keys, at):
    """Keys that end with an error."""
    for index, key in enumerate(keys):
        if index == at:
            raise ZeroDivisionError("no more keys")
        yield key


@pytest.mark.parametrize("key_type", ["object", "int64", "str"])
def test_batch_whose_keys_end_with_an_error_does_nothing(Tree, key_type):
    keys = [f"{n:06}" if key_type == "str" else n for n in range(3000)]
    tree = filled(made(Tree, key_type), keys[:100])
    before = list(tree.range())
    for at in (0, 1, 2999):
        for call in (
            lambda keys: tree.insert_many(keys, *values_for(Tree, range(3000))),
            lambda keys: tree.insert_many(keys, *values_for(Tree, range(3000)), sorted=True),
            tree.delete_many,
            tree.rank_many,
            tree.contains_many,
        ):
            with refuses(ZeroDivisionError, "no more keys"):
                call(broken_off(keys, at))
            tree.check()
            assert list(tree.range()) == before
    if Tree.__name__ != "SetTree":
        with refuses(ZeroDivisionError, "no more keys"):
            tree.insert_many(keys[:50], broken_off(keys, 49))
        assert list(tree.range()) == before


def test_batch_whose_keys_cannot_be_compared_does_nothing(Tree):
    tree = filled(made(Tree), range(500))
    before = list(tree.range())
    keys = [5000, 5001, "a", 5002]
    for call in (
        lambda: tree.insert_many(keys, *values_for(Tree, keys)),
        lambda: tree.insert_many(keys, *values_for(Tree, keys), sorted=True),
        lambda: tree.delete_many([1, 2, "a", 3]),
        lambda: tree.rank_many([1, "a"]),
        lambda: tree.contains_many([1, "a"]),
    ):
        with pytest.raises(TypeError):
            call()
        tree.check()
        assert list(tree.range()) == before


def test_keys_that_change_the_tree_while_they_are_read(Tree):
    """The keys are read before the tree is touched."""
    for key_type in ("object", "int64"):
        tree = filled(made(Tree, key_type), range(500))

        def clearing():
            yield 1000
            tree.clear()  # noqa: B023
            yield 1001

        try:
            tree.insert_many(clearing(), *values_for(Tree, range(2)))
        except TreeChanged:
            assert list(tree) == []
        else:
            assert list(tree) == [1000, 1001]
        tree.check()
        filled(tree, range(500))
        try:
            removed = tree.delete_many(clearing())
        except TreeChanged:
            removed = 0
        assert removed == 0
        assert list(tree) == []
        tree.check()


def test_tree_may_be_given_itself(Tree):
    tree = filled(made(Tree, "int64"), range(500))
    assert tree.contains_many(tree).all()
    if Tree.__name__ == "SetTree":
        assert tree.insert_many(tree) == 0
    assert tree.delete_many(tree) == 500
    tree.check()


def test_array_that_was_loaded_may_change_afterwards(Tree):
    keys, values = np.arange(1000), np.arange(1000)
    tree = made(Tree, "int64", "int64")
    tree._load_sorted(keys, None if Tree.__name__ == "SetTree" else values, 0.9, True)
    expected = list(tree.range())
    keys[:], values[:] = 7, 8
    assert list(tree.range()) == expected
    tree.check()


def test_results_are_arrays_of_their_own(twin):
    tree = filled(twin.MapTree("int64", "int64"), range(100), value=lambda key: key)
    found = tree.get_many(np.arange(100))
    found[:] = -1
    assert tree[5] == 5


def test_two_dimensions_are_refused_with_the_shape(Tree):
    for key_type in ("int64", "object"):
        tree = made(Tree, key_type)
        for call in (tree.rank_many, tree.contains_many, tree.delete_many):
            with refuses(InvalidValue, "keys must be one-dimensional, got shape (2, 3)"):
                call(np.zeros((2, 3), np.int64))
