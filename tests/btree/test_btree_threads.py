"""Threads: snapshots are read while their tree is written, batches run without the interpreter's lock."""

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tree_keys import LastAct, filled, made, put

from penstock.btree.errors import TreeChanged

THREADS = 8


@pytest.fixture(autouse=True)
def switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(*works):
    """Every work in a thread of its own, all at once; the first error is raised."""
    start = threading.Barrier(len(works))

    def begin(work):
        start.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result() for done in [pool.submit(begin, work) for work in works]]


def reader(snapshot, expected, seed):
    """Reads a snapshot in many ways, and finds every time what it held when it was taken."""

    def read():
        dice = random.Random(seed)
        for _ in range(6):
            assert list(snapshot.range()) == expected
            assert len(snapshot) == len(expected)
            for _ in range(50):
                at = dice.randrange(len(expected))
                item = expected[at]
                key = item[0] if isinstance(item, tuple) else item
                assert snapshot.select(at) == item
                assert key in snapshot
                assert snapshot.ceiling_item(key) is not None
            keys = list(snapshot)[::3]
            assert (snapshot.rank_many(keys) == [i * 3 for i in range(len(keys))]).all()
            assert snapshot.contains_many(keys).all()
            snapshot.check()
        return True

    return read


@pytest.mark.parametrize("key_type", ["object", "int64", "float64"])
def test_eight_threads_read_snapshots_while_one_writes(Tree, key_type):
    tree = filled(made(Tree, key_type), range(0, 6000, 2))
    snapshots = []
    for n in range(THREADS):
        snapshots.append((tree.snapshot(), list(tree.range())))
        put(tree, 100_000 + n, "more")

    def write():
        dice = random.Random(3)
        for n in range(300):
            key = dice.randrange(6000)
            put(tree, key, "written")
            tree.delete_many([key + 1, key + 2])
            if n % 20 == 0:
                tree.delete_range(key, key + 200)
                tree.insert_many(range(key, key + 300), *([] if Tree.__name__ == "SetTree" else [[n] * 300]))
            if n % 50 == 0:
                tree.check()
        return True

    readers = [reader(snapshot, expected, n) for n, (snapshot, expected) in enumerate(snapshots)]
    assert all(together(write, *readers))
    tree.check()
    for snapshot, expected in snapshots:
        assert list(snapshot.range()) == expected


@pytest.mark.parametrize("key_type", ["object", "int64"])
def test_snapshots_are_taken_and_dropped_by_threads_while_one_writes(Tree, key_type):
    tree = filled(made(Tree, key_type), range(3000))

    def write():
        for key in range(3000, 3600):
            put(tree, key, "written")
            tree.pop_first()
        return True

    def take():
        for _ in range(60):
            snapshot = tree.snapshot()
            first, *_, last = snapshot
            assert len(snapshot) in (3000, 3001)
            assert last - first == len(snapshot) - 1
            copied = snapshot.copy()
            copied.delete_range(first, first + 1000)
            del snapshot
            copied.check()
        return True

    assert all(together(write, *[take] * (THREADS - 1)))
    tree.check()
    assert list(tree) == list(range(600, 3600))


@pytest.mark.parametrize("value_type", ["object", "int64"])
def test_batches_run_while_another_thread_writes(twin, value_type):
    """What a batch finds is from one moment: either of before a change or of after it."""
    rounds = 100 if twin.__name__.endswith("_c") else 10
    tree = twin.MapTree("int64", value_type)
    keys = np.arange(0, 40_000, 2)
    tree._load_sorted(keys, keys.tolist() if value_type == "object" else keys, 0.9, True)

    def write():
        for n in range(rounds):
            tree.insert_many(np.arange(1, 4001, 2), [-1] * 2000)
            tree.delete_many(np.arange(1, 4001, 2))
            if n % 25 == 0:
                tree.check()
        return True

    def look_up():
        for _ in range(rounds // 3):
            there = tree.contains_many(np.arange(1, 4001, 2))
            assert there.all() or not there.any()
            ranks = tree.rank_many(keys)
            assert ranks[-1] in (19_999, 21_999)
            assert (np.diff(ranks) > 0).all()
            assert list(tree.get_many(keys)) == keys.tolist()
            found, values = tree.range_arrays()
            assert len(found) == len(values)
            assert len(found) in (20_000, 22_000)
            assert (np.diff(found) > 0).all()
        return True

    assert all(together(write, look_up, look_up))
    tree.check()
    assert len(tree) == 20_000


def test_batches_of_two_writers_are_each_whole(twin):
    for name in ("MapTree", "SetTree", "MultiMapTree"):
        tree = made(getattr(twin, name), "int64", "int64")

        def insert(offset, tree=tree, name=name):
            for n in range(20):
                keys = np.arange(offset, 60_000, 4)[n::20]
                values = [] if name == "SetTree" else [keys]
                assert tree.insert_many(keys, *values) == len(keys)
            return True

        assert all(together(*[lambda offset=offset, insert=insert: insert(offset) for offset in range(4)]))
        tree.check()
        assert list(tree) == list(range(60_000))


def test_iterator_meets_a_writer_and_says_so(Tree):
    """An iterator whose tree another thread changes ends with an error, never with nonsense."""
    tree = filled(made(Tree, "int64"), range(2000))

    def write():
        for key in range(2000, 2500):
            put(tree, key)
            tree.pop_first()
        return True

    def read():
        whole = 0
        for _ in range(50):
            try:
                found = list(tree.keys_range())
            except TreeChanged:
                continue
            assert found == list(range(found[0], found[0] + len(found)))
            whole += 1
        return True

    assert all(together(write, read, read))
    tree.check()


def test_destructors_run_in_whichever_thread_lets_go(twin):
    """Values change the tree when they die, in eight threads at once."""
    tree = twin.MapTree("int64")
    died = []

    def last_act():
        died.append(1)
        tree.get(7), tree.rank(9)
        tree.setdefault(10**6 + len(died) % 50, None)

    def work(offset):
        def run():
            for n in range(300):
                tree[offset + n % 40] = LastAct(last_act)
                if n % 7 == 0:
                    tree.delete_range(offset, offset + 20)
                if n % 50 == 0:
                    tree.copy().clear()
                    tree.snapshot()
            return True

        return run

    assert all(together(*[work(1000 * n) for n in range(THREADS)]))
    tree.check()
    left = sum(isinstance(value, LastAct) for value in tree.values_range())
    assert len(died) == THREADS * 300 - left
    tree.clear()
    tree.check()
    assert len(died) == THREADS * 300


def test_last_holder_of_shared_nodes_may_be_any_thread(Tree):
    """Copies are dropped by threads at the same time, each of them perhaps the last that holds a node."""

    class Value:
        alive = 0

        def __init__(self):
            Value.alive += 1

        def __del__(self):
            Value.alive -= 1

    for _ in range(5):
        tree = filled(
            made(Tree, "int64" if Tree.__name__ != "SetTree" else "object"),
            range(1500),
            value=lambda key: Value(),
        )
        copies = [tree.copy() for _ in range(THREADS)]
        del tree

        def drop(copied):
            def run():
                copied.pop()[0].delete_range(100, 700)
                return True

            return run

        assert all(together(*[drop([[copied]]) for copied in copies]))
        del copies
    if Tree.__name__ != "SetTree":
        assert Value.alive == 0
