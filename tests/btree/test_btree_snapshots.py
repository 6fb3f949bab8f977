"""Snapshots and copies: the entries of one moment, whatever becomes of the tree they were taken from."""

import copy
import gc
import pickle
import random
import weakref

import pytest
from tree_keys import filled, made, put, refuses

from penstock.btree.errors import FrozenTree
from penstock.errors import PenstockError

FROZEN = "the tree is frozen: it is a snapshot; copy() gives one to change"
EVERY_CHANGE = {
    "clear": lambda tree: tree.clear(),
    "pop_first": lambda tree: tree.pop_first(),
    "pop_last": lambda tree: tree.pop_last(),
    "pop_at": lambda tree: tree.pop_at(0),
    "delete_many": lambda tree: tree.delete_many([1]),
    "delete_range": lambda tree: tree.delete_range(0, 5),
    "split_off": lambda tree: tree.split_off(1),
}
CHANGES = {
    "MapTree": EVERY_CHANGE
    | {
        "[] =": lambda tree: tree.__setitem__(1, "new"),
        "del []": lambda tree: tree.__delitem__(1),
        "setdefault": lambda tree: tree.setdefault(10**6, "new"),
        "pop": lambda tree: tree.pop(1),
        "insert_many": lambda tree: tree.insert_many([1], ["new"]),
        "_load_sorted": lambda tree: tree._load_sorted([1], ["new"], 0.9, True),
    },
    "SetTree": EVERY_CHANGE
    | {
        "add": lambda tree: tree.add(10**6),
        "discard": lambda tree: tree.discard(1),
        "remove": lambda tree: tree.remove(1),
        "insert_many": lambda tree: tree.insert_many([10**6]),
        "_load_sorted": lambda tree: tree._load_sorted([1], None, 0.9, True),
    },
    "MultiMapTree": EVERY_CHANGE
    | {
        "add": lambda tree: tree.add(1, "new"),
        "remove": lambda tree: tree.remove(1, "1"),
        "pop_all": lambda tree: tree.pop_all(1),
        "insert_many": lambda tree: tree.insert_many([1], ["new"]),
        "_load_sorted": lambda tree: tree._load_sorted([1], ["new"], 0.9, True),
    },
}
key_types = pytest.mark.parametrize("key_type", ["object", "int64", "float64"])


@key_types
def test_snapshot_refuses_every_change(Tree, key_type):
    for size in (0, 3, 1000):
        snapshot = filled(made(Tree, key_type), range(size)).snapshot()
        assert snapshot.frozen
        assert type(snapshot) is Tree
        before = list(snapshot.range())
        for change in CHANGES[Tree.__name__].values():
            with refuses(FrozenTree, FROZEN) as refused:
                change(snapshot)
            assert isinstance(refused.value, PenstockError | TypeError)
            assert list(snapshot.range()) == before
        snapshot.check()


@key_types
def test_every_change_of_a_tree_leaves_its_snapshot_as_it_was(Tree, key_type):
    for name, change in CHANGES[Tree.__name__].items():
        if name == "_load_sorted":
            continue
        for size in (3, 50, 1000, 5000):
            tree = filled(made(Tree, key_type), range(size))
            before = list(tree.range())
            snapshot = tree.snapshot()
            change(tree)
            assert list(snapshot.range()) == before
            assert len(snapshot) == size
            snapshot.check()
            tree.check()


@key_types
def test_copy_and_tree_change_apart(Tree, key_type):
    for name, change in CHANGES[Tree.__name__].items():
        if name == "_load_sorted":
            continue
        tree = filled(made(Tree, key_type), range(2000))
        before = list(tree.range())
        other = tree.copy()
        assert type(other) is Tree
        assert not other.frozen
        assert not tree.frozen
        change(other)
        assert list(tree.range()) == before
        change(tree)
        assert list(tree.range()) == list(other.range())
        put(tree, 10**7, "more")
        put(other, 10**8, "other")
        assert 10**8 not in tree
        assert 10**7 not in other
        tree.check()
        other.check()


def test_snapshot_of_a_snapshot_is_itself(Tree):
    snapshot = filled(made(Tree), range(3)).snapshot()
    assert snapshot.snapshot() is snapshot
    assert snapshot.copy() is not snapshot


def test_snapshot_outlives_its_tree(Tree):
    tree = filled(made(Tree), range(1000))
    before = list(tree.range())
    snapshot = tree.snapshot()
    copied = snapshot.copy()
    del tree
    assert list(snapshot.range()) == before
    del snapshot
    assert list(copied.range()) == before
    copied.clear()
    copied.check()


def test_snapshot_keeps_types_and_subclass(twin):
    class Sub(twin.MapTree):
        __slots__ = ()

    tree = filled(Sub("int64", "float64"), range(100), value=float)
    for other in (tree.snapshot(), tree.copy(), tree.snapshot().copy(), tree.split_off(50)):
        assert type(other) is Sub
        assert (other.key_type, other.value_type) == ("int64", "float64")
        other.check()


def test_new_trees_of_a_subclass_are_made_without_its_constructor(twin):
    made_by_init = []

    class Sub(twin.SetTree):
        def __init__(self, label):
            super().__init__("int64")
            made_by_init.append(label)

    tree = filled(Sub("only"), range(10))
    others = [tree.snapshot(), tree.copy(), tree.split_off(5)]
    assert made_by_init == ["only"]
    assert [len(other) for other in others] == [10, 10, 5]


def test_snapshot_costs_no_more_nodes(Tree):
    tree = filled(made(Tree, "int64"), range(5000))
    assert tree.stats()["shared_nodes"] == 0
    snapshot = tree.snapshot()
    assert snapshot.stats()["node_bytes"] == tree.stats()["node_bytes"]
    assert tree.stats()["shared_nodes"] > 0
    put(tree, 10**6, "new")
    assert tree.stats()["shared_nodes"] > 0  # only what was written is a copy
    del snapshot
    gc.collect()
    for key in list(tree):
        tree.delete_many([key])
        put(tree, key, "new")
    assert tree.stats()["shared_nodes"] == 0
    tree.check()


@pytest.mark.parametrize("seed", range(5))
@key_types
def test_many_snapshots_of_a_tree_that_goes_on(Tree, key_type, seed):
    dice = random.Random(seed)
    tree, held = filled(made(Tree, key_type), range(0, 9000, 3)), []
    for _ in range(150):
        act = dice.randrange(8)
        key = dice.randrange(9000)
        if act < 3:
            put(tree, key, str(act))
        elif act == 3:
            tree.delete_many(range(key, key + dice.choice([1, 10, 500])))
        elif act == 4:
            tree.delete_range(key, key + dice.choice([1, 100]))
        elif act == 5:
            keys = range(key, key + dice.choice([1, 30, 600]))
            tree.insert_many(keys, *([] if Tree.__name__ == "SetTree" else [["many"] * len(keys)]))
        elif act == 6 and held:
            tree = dice.choice(held)[0].copy()
        elif act == 7:
            held.append((tree.snapshot(), list(tree.range())))
            if len(held) > 5:
                held.pop(dice.randrange(5))
        tree.check()
    for snapshot, expected in held:
        snapshot.check()
        assert list(snapshot.range()) == expected
        assert [snapshot.select(i) for i in range(0, len(expected), 97)] == expected[::97]


def test_objects_live_as_long_as_the_last_tree_that_holds_them(twin):
    class Value:
        pass

    tree = twin.MapTree("int64")
    for key in range(500):
        tree[key] = Value()
    watched = weakref.ref(tree[250])
    snapshot = tree.snapshot()
    other = snapshot.copy()
    tree[250] = None
    assert watched() is snapshot[250] is other[250]
    del snapshot
    assert watched() is not None
    del other[250]
    assert watched() is None
    tree.check()
    other.check()


@key_types
def test_split_takes_what_is_not_less(Tree, key_type):
    for size in (0, 1, 50, 1000, 7000):
        for at in {-1, 0, 1, size // 3, size // 2, size - 1, size, size + 1}:
            tree = filled(made(Tree, key_type), range(size))
            snapshot = tree.snapshot()
            right = tree.split_off(at)
            assert type(right) is Tree
            assert list(tree) == [key for key in range(size) if key < at]
            assert list(right) == [key for key in range(size) if key >= at]
            tree.check()
            right.check()
            put(tree, -5, "new")
            put(right, size + 5, "new")
            right.delete_many([at])
            assert list(snapshot) == list(range(size))
            for each in (tree, right, snapshot):
                each.check()


def test_split_keeps_equal_keys_together(twin):
    tree = twin.MultiMapTree("int64")
    for i in range(900):
        tree.add(i // 300, i)
    right = tree.split_off(1)
    assert list(tree.range()) == [(0, i) for i in range(300)]
    assert list(right.range()) == [(i // 300, i) for i in range(300, 900)]


def test_copy_of_the_standard_library_is_a_copy(Tree):
    tree = filled(made(Tree, "int64"), range(100))
    other = copy.copy(tree)
    assert type(other) is Tree
    other.clear()
    assert len(tree) == 100
    assert not copy.copy(tree.snapshot()).frozen


def test_bare_tree_is_not_pickled_by_halves(Tree):
    """The public classes pickle; a bare tree either does so wholly, or says that it does not."""
    tree = filled(made(Tree, "int64"), range(100))
    for do in (copy.deepcopy, lambda tree: pickle.loads(pickle.dumps(tree))):
        try:
            other = do(tree)
        except (TypeError, pickle.PicklingError):
            continue
        assert list(other.range()) == list(tree.range())
        other.check()
        other.clear()
        assert len(tree) == 100
