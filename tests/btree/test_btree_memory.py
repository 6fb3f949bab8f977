"""Who holds what for how long: references, cycles, memory given back, and memory that is not to be had."""

import gc
import itertools
import subprocess
import sys
import weakref

import numpy as np
import pytest
from tree_keys import Key, filled, made, put

from penstock.btree.errors import FrozenTree, TreeChanged

REFUSALS = (TypeError, KeyError, IndexError, ValueError, FrozenTree)


class Thing:
    """Something that is counted: the references to it are those of the trees and of the test alone."""


class Name(str):
    """The same as a key."""


def references(things):
    gc.collect()
    return [sys.getrefcount(thing) for thing in things]


def use(tree, keys, values):
    """Most that can be done to a tree of objects, also what fails."""
    kind = type(tree).__name__
    with_values = [] if kind == "SetTree" else [values]
    tree.insert_many(keys, *with_values)
    for key, value in zip(keys, values, strict=True):
        put(tree, key, value)
        put(tree, key, key)
    for key in keys[::3]:
        assert key in tree
        (
            tree.rank(key),
            tree.floor_item(key),
            tree.higher_item(key),
            tree.select(-1),
            tree.first_item(),
            tree.last_item(),
        )
        list(itertools.islice(tree.range(key), 70))
        list(tree.keys_range(None, key, reverse=True, limit=70))
        next(tree.range(), None)
        next(reversed(tree))
    tree.rank_many(keys), tree.contains_many(keys), tree._entries_at(3, 90)
    for call in (
        lambda: tree.rank(object()),
        lambda: put(tree, object(), values[0]),
        lambda: tree.insert_many([*keys, object()], *([] if kind == "SetTree" else [[*values, values[0]]])),
        lambda: tree.insert_many(keys[::-1], *with_values, sorted=True),
        lambda: tree.delete_many([keys[0], object()]),
        lambda: tree.split_off(object()),
        lambda: tree.select(10**6),
        lambda: made(type(tree))._load_sorted(keys[::-1], None if kind == "SetTree" else values, 0.9, True),
    ):
        with pytest.raises(REFUSALS):
            call()
    iterator = tree.range()
    next(iterator)
    tree.pop_first()
    with pytest.raises(TreeChanged):
        next(iterator)
    if kind == "MapTree":
        assert tree[keys[50]] is keys[50]
        (
            tree.get(keys[51]),
            tree.get_many(keys[60:90]),
            tree.pop(keys[52]),
            tree.setdefault(keys[53], 5),
            tree.get_many(keys, default=keys),
        )
        with pytest.raises(KeyError):
            tree[keys[52]]
        with pytest.raises(KeyError):
            tree.get_many([keys[52]])
        list(tree.values_range())
    elif kind == "SetTree":
        tree.discard(keys[50]), tree.remove(keys[51])
        with pytest.raises(KeyError):
            tree.remove(keys[51])
    else:
        tree.get_all(keys[50]), tree.pop_all(keys[51]), tree.remove(keys[52], values[52]), tree.get_many(keys)
        with pytest.raises(KeyError):
            tree.remove(keys[52], 77)
        list(tree.values_range())
    snapshot, other = tree.snapshot(), tree.copy()
    other.delete_range(keys[100], keys[200])
    tree.delete_many(keys[150:160])
    tree.pop_at(20), tree.pop_last(), tree.pop_first()
    right = tree.split_off(keys[170])
    right.insert_many(keys, *with_values)
    other.clear()
    with pytest.raises(FrozenTree):
        snapshot.clear()
    for each in (tree, snapshot, other, right):
        each.check()
    again = made(type(tree))
    again._load_sorted(keys, None if kind == "SetTree" else values, 0.9, True)
    return [tree, snapshot, right, again, again.copy(), iter(again), again.range(keys[3], keys[60])]


@pytest.mark.parametrize(
    "key_of", [lambda n: Name(f"{n:05}"), Key, lambda n: (n, Thing), lambda n: 2**40 + n]
)
def test_references_are_given_back_to_the_last_one(Tree, key_of):
    keys, values = [key_of(n) for n in range(300)], [Thing() for _ in range(300)]
    keys_before, values_before = references(keys), references(values)
    for _ in range(3):
        left = use(made(Tree), keys, values)
        assert references(keys) != keys_before
        del left
        assert references(keys) == keys_before
        assert references(values) == values_before


def test_tree_holds_each_key_and_value_once(Tree):
    keys, values = [Name(f"{n:05}") for n in range(300)], [Thing() for _ in range(300)]
    keys_before, values_before = references(keys), references(values)
    tree = made(Tree)
    for n in range(300):
        put(tree, keys[n], values[n])
    held = 0 if Tree.__name__ == "SetTree" else 1
    for _ in range(2):
        more = [after - before for before, after in zip(keys_before, references(keys), strict=True)]
        assert sum(more) < 310  # beside the leaves, the fallback's list of the last key of each leaf
        assert min(more) == 1
        assert references(values) == [n + held for n in values_before]
        tree.clear()
        assert references(keys) == keys_before
        assert references(values) == values_before
        tree.insert_many(keys, *([values] if held else []))
        tree.check()


def test_removed_entries_are_let_go_at_once(Tree):
    class Own(Key):
        pass

    removals = [
        lambda tree: tree.pop_first(),
        lambda tree: tree.pop_last(),
        lambda tree: tree.pop_at(100),
        lambda tree: tree.delete_many([Key(100), Key(101)]),
        lambda tree: tree.delete_range(Key(50), Key(250)),
        lambda tree: tree.split_off(Key(7)),
        lambda tree: tree.clear(),
    ]
    for remove in removals:
        tree = made(Tree)
        for n in range(300):
            put(tree, Own(n), Thing())
        watched = [weakref.ref(key) for key in tree]
        remove(tree)
        alive = {id(key) for key in tree}
        assert all((ref() is not None) == (id(ref()) in alive) for ref in watched)
        assert sum(ref() is not None for ref in watched) == len(tree)
        tree.check()


@pytest.mark.parametrize("key_type", ["object", "int64", "str"])
@pytest.mark.parametrize("through", ["tree", "snapshot", "iterator", "copy written apart"])
def test_collector_finds_cycles_through_a_tree(twin, key_type, through):
    for name in ("MapTree", "MultiMapTree"):
        tree = getattr(twin, name)(key_type)
        keys = [f"{n:03}" for n in range(300)] if key_type == "str" else list(range(300))
        thing = Thing()
        filled(tree, keys, value=lambda key, thing=thing: thing)
        thing.tree = tree
        if through == "snapshot":
            thing.tree = tree.snapshot()
        elif through == "iterator":
            thing.tree = tree.range()
        elif through == "copy written apart":  # what two trees share keeps its objects alive, see copy()
            thing.tree = [tree, tree.copy()]
            tree.delete_many(keys[::2])
            filled(tree, keys, value=lambda key, thing=thing: thing)
        watched = weakref.ref(thing)
        del thing, tree
        gc.collect()
        assert watched() is None, name


@pytest.mark.parametrize("taken", ["new", "used again"])
def test_collector_finds_cycles_through_an_item(twin, taken):
    tree, thing = filled(twin.MapTree(), range(100)), Thing()
    tree[50] = thing
    items = tree.range()
    if taken == "used again":
        for _ in range(50):  # numbers, of which the collector need not know, let go at once
            next(items)
    thing.item = next(item for item in items if item[1] is thing)
    watched = weakref.ref(thing)
    del tree, thing, items
    gc.collect()
    assert watched() is None


def test_collector_need_not_know_items_that_refer_to_nothing(twin):
    tree, thing = filled(twin.MapTree(), range(100)), Thing()
    tree[50] = thing
    items = list(tree.range())
    gc.collect()  # in which Python itself comes to that
    assert [key for key, value in items if value is thing] == [50]
    assert [item[0] for item in items if gc.is_tracked(item)] == [50]


def test_collector_finds_cycles_through_keys(Tree):
    tree = made(Tree)
    for n in range(300):
        key = Key(n)
        key.tree = tree
        put(tree, key, n)
    watched = weakref.ref(key)
    del tree, key
    gc.collect()
    assert watched() is None


def test_collector_sees_what_a_tree_holds(twin):
    thing = Thing()
    tree = filled(twin.MapTree(), range(300), value=lambda key: thing)
    assert gc.is_tracked(tree)
    held = gc.get_referents(tree)
    if twin.__name__.endswith("_c"):
        assert sum(each is thing for each in held) == 300
    for typed in (twin.MapTree("int64", "int64"), twin.SetTree("float64")):
        assert thing not in gc.get_referents(typed)


def test_collection_in_the_middle_of_everything_does_no_harm(Tree):
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(3):
            use(made(Tree), [Key(n) for n in range(300)], [Thing() for _ in range(300)])
    finally:
        gc.set_threshold(*before)


def test_subclass_with_attributes_is_collected(twin):
    class Sub(twin.MapTree):
        pass

    tree = Sub("int64")
    tree.me = tree
    tree[1] = tree
    watched = weakref.ref(tree)
    del tree
    gc.collect()
    assert watched() is None


def test_size_grows_and_shrinks_with_the_entries(Tree):
    for key_type in ("object", "int64"):
        tree = made(Tree, key_type)
        empty = sys.getsizeof(tree)
        filled(tree, range(20_000))
        full = sys.getsizeof(tree)
        assert full > empty + 20_000 * 8
        assert full < empty + 20_000 * 100
        tree.delete_range(100, 19_900)
        assert sys.getsizeof(tree) < empty + full / 4
        tree.clear()
        assert sys.getsizeof(tree) <= empty + 4096
        assert tree.stats()["node_bytes"] <= 4096


def test_deleting_one_by_one_gives_nodes_back(Tree):
    for order in (lambda keys: keys, lambda keys: keys[::-1], lambda keys: keys[::2] + keys[1::2]):
        tree = filled(made(Tree, "int64"), range(6000))
        full = tree.stats()
        for key in order(list(range(6000)))[:5900]:
            tree.delete_range(key, key, include=(True, True))
        tree.check()
        left = tree.stats()
        assert left["entries"] == 100
        assert left["node_bytes"] < full["node_bytes"] / 5
        assert left["height"] <= full["height"]


def test_stats_tell_the_shape(Tree):
    tree = made(Tree, "int64", "int64")
    assert set(tree.stats()) == {
        "entries", "height", "leaves", "inner_nodes", "node_bytes", "shared_nodes", "bytes_per_entry", "fill",
    }  # fmt: skip
    assert tree.stats()["entries"] == tree.stats()["leaves"] == tree.stats()["height"] == 0
    filled(tree, range(10_000), value=int)
    stats = tree.stats()
    assert stats["entries"] == 10_000
    assert stats["leaves"] > 1
    assert stats["height"] >= 2
    assert 0 < stats["fill"] <= 1
    assert stats["bytes_per_entry"] == pytest.approx(stats["node_bytes"] / 10_000)
    assert stats["shared_nodes"] == 0


def run(code, impl):
    prelude = f"""
import gc, resource, sys
from penstock.btree._btree_{impl} import MapTree, MultiMapTree, SetTree

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
"""
    return subprocess.run(
        [sys.executable, "-c", prelude + code], check=True, timeout=120, text=True, capture_output=True
    ).stdout


LEAKS = """
class Thing:
    pass

def rounds(n):
    for _ in range(n):
        for key_type in ("int64", "object", "str", "float64"):
            value_type = "int64" if key_type == "int64" else "object"
            keys = [str(key).zfill(6) for key in range(5000)] if key_type == "str" else list(range(5000))
            values = [1] * 5000 if value_type == "int64" else [Thing() for _ in keys]
            tree = MapTree(key_type, value_type)
            tree.insert_many(keys, values)
            for key in keys[::5]:
                tree[key] = values[0]
                tree[key]
                tree.floor_item(key)
            snapshot = tree.snapshot()
            other = tree.copy()
            other.delete_many(keys[::2])
            right = other.split_off(keys[2000])
            right.insert_many(keys, values)
            tree.delete_range(keys[10], keys[4000])
            list(snapshot.range())
            tree.get_many(keys, default=values[0]), tree.rank_many(keys)
            for key in keys[4000:4500]:
                del tree[key]
            many = MultiMapTree(key_type, value_type)
            many.insert_many(keys + keys, values + values)
            many.get_many(keys)
            many.delete_many(keys[::3])
            half = SetTree(key_type)
            half._load_sorted(keys, None, 0.9, True)
            iterator = half.range()
            next(iterator)
            try:
                tree.insert_many(keys + [object()], values + [values[0]])
            except TypeError:
                pass

rounds(3)
before = resident()
rounds(ROUNDS)
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("impl", "rounds"), [("c", 25), ("py", 8)])
def test_memory_does_not_grow_with_what_was_done(impl, rounds):
    """A round makes trees of about 10 MB; one forgotten node or one reference an entry would show."""
    grown = int(run(LEAKS.replace("ROUNDS", str(rounds)), impl))
    assert grown < rounds * 100_000, f"{grown} bytes in {rounds} rounds"


# ---- memory that is not to be had ----


FAILING = {
    "insert": lambda tree: put(tree, 301, "new"),
    "insert many": lambda tree: tree.insert_many(
        range(1, 600, 2), *([] if type(tree).__name__ == "SetTree" else [[None] * 300])
    ),
    "delete many": lambda tree: tree.delete_many(range(0, 600, 2)),  # the number of them is an int to be made
    "delete a range": lambda tree: tree.delete_range(20, 580),
    "pop": lambda tree: tree.pop_at(100),
    "split": lambda tree: tree.split_off(300),
    "copy": lambda tree: tree.copy(),
    "snapshot": lambda tree: tree.snapshot(),
    "read": lambda tree: list(tree.range()),
    "read back": lambda tree: list(tree.keys_range(100, 300, reverse=True)),
    "look up many": lambda tree: (tree.rank_many(range(100)), tree.contains_many(range(100))),
    "load": lambda tree: made(type(tree))._load_sorted(
        range(300), None if type(tree).__name__ == "SetTree" else range(300), 0.9, True
    ),
    "stats": lambda tree: (tree.stats(), tree.check()),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a generator cut short
@pytest.mark.parametrize("key_type", ["object", "int64"])
@pytest.mark.parametrize("call", FAILING.values(), ids=FAILING)
def test_failed_allocation_changes_nothing(Tree, key_type, call):
    """Python's allocator fails at one request after the other; the kernel's is failed by its fuzzer."""
    testcapi = pytest.importorskip(
        "_testcapi", reason="this Python has no allocator that can be made to fail"
    )
    call(filled(made(Tree, key_type), range(0, 600, 2)))  # what is loaded once is there
    for at in itertools.count():
        tree = filled(made(Tree, key_type), range(0, 600, 2))
        shared = tree.snapshot() if at % 2 else None
        before = list(tree.range())
        failed = False
        testcapi.set_nomemory(at, at + 1)
        try:
            call(tree)
        except MemoryError:
            failed = True
        finally:
            testcapi.remove_mem_hooks()
        tree.check()
        if failed:
            assert list(tree.range()) == before
        if shared is not None:
            shared.check()
            assert len(shared) == 300
        if not failed and at > 60:
            break
    put(tree, 5000, "more")
    tree.check()


@pytest.mark.parametrize("key_type", ["int64", "float64"])
def test_arrays_are_given_back(twin, key_type):
    keys = np.arange(1000).astype(key_type)
    before = sys.getrefcount(keys)
    for _ in range(3):
        tree = twin.SetTree(key_type)
        tree._load_sorted(keys, None, 0.9, True)
        tree.rank_many(keys), tree.contains_many(keys), tree.insert_many(keys), tree.delete_many(keys)
        assert sys.getrefcount(keys) == before


# ---- trees made anew where nobody expects it ----


class Remaking:
    """Where it dies, its tree gets other types."""

    def __init__(self, tree):
        self.tree = tree

    def __del__(self):
        if not len(self.tree):
            self.tree.__init__("int64", "int64")


def test_destructor_that_gives_the_tree_other_types_forgets_nothing(twin):
    for name in ("MapTree", "MultiMapTree"):
        tree = getattr(twin, name)()
        watched = []
        for n in range(1000):
            value = Remaking(tree)
            watched.append(weakref.ref(value))
            put(tree, n, value)
        del value
        tree.clear()
        assert [n for n, ref in enumerate(watched) if ref() is not None] == []
        put(tree, 1, 1)
        assert (tree.key_type, list(tree.range())) == ("int64", [(1, 1)])


@pytest.mark.parametrize("types", [["object", "int64"], ["int64", "object"]], ids=["to int64", "to object"])
def test_collection_that_gives_the_tree_other_types_does_no_harm(Tree, types):
    """What words stand for would change between the conversion of arguments and their use."""
    before, after = types
    with_values = [] if Tree.__name__ == "SetTree" else [[*range(1000, 1400)]]
    keys = list(range(400))
    calls = [
        lambda tree: tree.insert_many(keys, *with_values),
        lambda tree: tree.rank_many(keys),
        lambda tree: tree.contains_many(keys),
        lambda tree: tree.delete_many(keys),
        lambda tree: tree._load_sorted(keys, *(with_values or [None]), 0.9, True),
        lambda tree: list(tree.range()),
    ]
    if Tree.__name__ == "MapTree":
        calls.append(lambda tree: tree.get_many(keys, default=0))
    if Tree.__name__ == "MultiMapTree":
        calls.append(lambda tree: tree.get_many(keys))
    for call in calls:
        for at in range(12):
            tree = made(Tree, before, before)
            seen = itertools.count()

            def remake(phase, info, tree=tree, seen=seen, at=at):
                if phase == "start" and next(seen) == at and not len(tree):
                    tree.__init__(*[after] * (1 if not with_values else 2))

            thresholds = gc.get_threshold()
            gc.callbacks.append(remake)
            gc.set_threshold(1)
            try:
                call(tree)
            except TreeChanged:
                assert tree.key_type == after
            finally:
                gc.set_threshold(*thresholds)
                gc.callbacks.remove(remake)
            tree.check()
            assert list(tree) in ([], keys)
