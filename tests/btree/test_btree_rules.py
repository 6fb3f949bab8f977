"""Trees of every kind and key type against a sorted list and SQLite: both twins in step, whatever is done.

PENSTOCK_TREE_EXAMPLES multiplies how much is tried; 1 takes about half a minute.
"""

import os
import random
from importlib import import_module

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tree_models import CLASSES, KEYS, VALUES, Model, Table

from penstock.btree.errors import FrozenTree

EFFORT = float(os.environ.get("PENSTOCK_TREE_EXAMPLES", "1"))
TWINS = [import_module(f"penstock.btree._btree_{impl}") for impl in ("c", "py")]

near = st.integers(0, 300)
codes = near | st.integers(0, 6000) | st.integers(-14, -1)
maybe_codes = st.none() | codes
value_codes = st.integers(0, 9)
some_codes = st.lists(codes, max_size=12)
includes = st.sampled_from([(True, False), (True, True), (False, False), (False, True)])
limits = st.none() | st.integers(0, 200)


def plain(result):
    """A result that may be compared: what an iterator yields, what an array holds and of which type it is."""
    if isinstance(result, np.ndarray):
        return "array", str(result.dtype), result.tolist()
    if isinstance(result, tuple | list):
        return type(result), [plain(part) for part in result]
    if hasattr(result, "__next__"):
        return [plain(part) for part in result]
    return type(result), repr(result) if isinstance(result, float) else result


def outcome(call, tree):
    try:
        return "returned", plain(call(tree))
    except Exception as error:
        return "raised", error


class Trees(RuleBasedStateMachine):
    """What all trees have in common. `kind` and `spec` (the keys) are those of the subclass."""

    kind = spec = None

    @initialize(
        size=st.sampled_from([0, 1, 40, 300, 300, 2000, 6000]),
        seed=st.integers(0, 9),
        value_type=st.sampled_from(["object", "object", "int64", "float64"]),
        fill=st.sampled_from([0.5, 0.9, 1.0]),
    )
    def begin(self, size, seed, value_type, fill):
        self.value_type = None if self.kind == "set" else value_type
        types = [self.spec.key_type] if self.kind == "set" else [self.spec.key_type, value_type]
        self.twins = [getattr(twin, CLASSES[self.kind])(*types) for twin in TWINS]
        self.model, self.table = Model(self.kind, self.spec, self.value_type), Table(self.kind, self.spec)
        self.snapshots = []
        picked = random.Random(seed)
        codes = [picked.randrange(8000) for _ in range(size)]
        self.preload([(self.spec[code], self.value(code % 10)) for code in codes], fill)

    def preload(self, entries, fill):
        """Many entries at once, so that a tree has several levels from the start."""
        for entry in entries:
            self.model.put(*entry)
        self.table.put(*entries)
        for tree in self.twins:
            tree._load_sorted(
                list(self.model.keys), None if self.kind == "set" else list(self.model.values), fill, True
            )

    def teardown(self):
        if hasattr(self, "table"):
            self.entries_are_the_same()
            self.snapshots_are_the_same()
            self.table.close()

    # ---- how they are compared ----

    def value(self, code):
        return None if self.kind == "set" else VALUES[self.value_type](code)

    def agree(self, call):
        """The same result from all, of the same types; the same error, of the twins in the same words."""
        compiled, fallback = [outcome(call, tree) for tree in self.twins]
        how, expected = outcome(call, self.model)
        assert compiled[0] == fallback[0] == how
        if how == "returned":
            assert fallback[1] == expected
            assert compiled[1] == expected
        else:
            assert type(compiled[1]) is type(fallback[1])
            assert plain(compiled[1].args) == plain(fallback[1].args)
            assert isinstance(fallback[1], type(expected))
        return expected

    def rows(self, entries):
        return [self.table.row(*entry) for entry in entries]

    def as_rows(self, items):
        return self.rows([(item, None) for item in items] if self.kind == "set" else items)

    def first_row(self, *bounds, **options):
        return self.table.rows(*bounds, **options, limit=1)

    @invariant()
    def all_are_the_same(self):
        if not hasattr(self, "twins"):
            return
        model = self.model
        assert self.table.count() == len(model)
        for tree in self.twins:
            tree.check()
            assert len(tree) == len(model)
            assert list(tree.keys_range()) == model.keys
        if len(model) < 500:
            self.entries_are_the_same()

    def entries_are_the_same(self):
        """Looks closer: at the types of keys and values, and at SQLite."""
        types = list(map(type, self.model.keys))
        for tree in self.twins:
            assert list(tree.range()) == self.model.items()
            assert list(map(type, tree)) == types
            if self.kind != "set":
                assert list(map(repr, tree.values_range())) == list(map(repr, self.model.values))
        self.table_is_the_same()

    def table_is_the_same(self):
        assert self.table.rows() == self.rows(self.model.entries())

    def snapshots_are_the_same(self):
        for trees, model in self.snapshots:
            for tree in trees:
                tree.check()
                assert tree.frozen
                assert list(tree.range()) == model.items()

    # ---- looking ----

    @rule(code=codes)
    def neighbours(self, code):
        key = self.spec[code]
        for name in ("floor_item", "lower_item", "ceiling_item", "higher_item"):
            self.agree(lambda tree, name=name: getattr(tree, name)(key))
        assert self.model.rank(key) == self.table.count(None, key)
        assert self.model.rank_right(key) == self.table.count(None, key, include=(True, True))
        for found, row in (
            (self.model.floor_item(key), self.first_row(None, key, include=(True, True), reverse=True)),
            (self.model.lower_item(key), self.first_row(None, key, reverse=True)),
            (self.model.ceiling_item(key), self.first_row(key)),
            (self.model.higher_item(key), self.first_row(key, include=(False, False))),
        ):
            assert self.as_rows([] if found is None else [found]) == row

    @rule(code=codes)
    def place(self, code):
        key = self.spec[code]
        self.agree(lambda tree: tree.rank(key))
        self.agree(lambda tree: tree.rank_right(key))
        self.agree(lambda tree: key in tree)

    @rule(index=st.integers(-9, 9) | st.integers(-6000, 6000))
    def select(self, index):
        self.agree(lambda tree: tree.select(index))

    @rule()
    def ends(self):
        self.agree(lambda tree: tree.first_item())
        self.agree(lambda tree: tree.last_item())
        self.agree(lambda tree: reversed(tree))

    @rule(low=maybe_codes, high=maybe_codes, include=includes, reverse=st.booleans(), limit=limits)
    def range(self, low, high, include, reverse, limit):
        bounds = [None if code is None else self.spec[code] for code in (low, high)]
        options = {"include": include, "reverse": reverse, "limit": limit}
        self.agree(lambda tree: tree.range(*bounds, **options))
        self.agree(lambda tree: tree.keys_range(*bounds, **options))
        if self.kind != "set":
            self.agree(lambda tree: tree.values_range(*bounds, **options))
        self.agree(lambda tree: tree.count(*bounds, include=include))
        assert self.table.rows(*bounds, **options) == self.as_rows(self.model.range(*bounds, **options))
        assert self.table.count(*bounds, include=include) == self.model.count(*bounds, include=include)

    @precondition(lambda self: self.spec.key_type in ("int64", "uint64", "float64"))
    @rule(low=maybe_codes, high=maybe_codes, include=includes)
    def range_arrays(self, low, high, include):
        bounds = [None if code is None else self.spec[code] for code in (low, high)]
        self.agree(lambda tree: tree.range_arrays(*bounds, include=include))

    @rule(start=codes, stop=codes)
    def slice(self, start, stop):
        start, stop = sorted(max(0, min(index, len(self.model))) for index in (start, stop))
        self.agree(lambda tree: tree._entries_at(start, stop))

    @rule(codes=some_codes | st.lists(codes, min_size=40, max_size=80))
    def look_up_many(self, codes):
        keys = [self.spec[code] for code in codes]
        self.agree(lambda tree: tree.rank_many(keys))
        self.agree(lambda tree: tree.contains_many(keys))

    # ---- taking away ----

    @rule(times=st.integers(1, 3) | st.integers(30, 150), last=st.booleans())
    def pop_end(self, times, last):
        for _ in range(times):
            if last:
                self.agree(lambda tree: tree.pop_last())
            else:
                self.agree(lambda tree: tree.pop_first())
            self.table.delete_end(last=last)

    @rule(index=st.integers(-9, 9) | st.integers(-6000, 6000))
    def pop_at(self, index):
        if -len(self.model) <= index < len(self.model):
            self.table.delete_at(index % len(self.model))
        self.agree(lambda tree: tree.pop_at(index))

    @rule(codes=some_codes)
    def delete_many(self, codes):
        keys = [self.spec[code] for code in codes]
        self.agree(lambda tree: tree.delete_many(keys))
        for key in keys:
            self.table.delete(key)

    @rule(start=near | codes, n=st.integers(100, 1500), step=st.integers(1, 3))
    def delete_very_many(self, start, n, step):
        """Leaves of a whole part of the tree become small, and are merged."""
        keys = self.model.keys[slice(max(0, start), max(0, start) + n * step, step)]
        self.agree(lambda tree: tree.delete_many(keys))
        for key in keys:
            self.table.delete(key)

    @rule(low=maybe_codes, high=maybe_codes, include=includes)
    def delete_range(self, low, high, include):
        bounds = [None if code is None else self.spec[code] for code in (low, high)]
        expected = self.table.delete_range(*bounds, include=include)
        self.agree(lambda tree: tree.delete_range(*bounds, include=include))
        assert len(self.model) == self.table.count(), expected

    @precondition(lambda self: len(getattr(self, "model", ())) < 100)
    @rule()
    def clear(self):
        self.agree(lambda tree: tree.clear())
        self.table.delete_range()

    # ---- trees of trees ----

    @rule(code=codes, keep_right=st.booleans())
    def split_off(self, code, keep_right):
        key = self.spec[code]
        lefts, left = self.twins, self.model
        rights, right = [tree.split_off(key) for tree in lefts], left.split_off(key)
        if keep_right:
            lefts, left, rights, right = rights, right, lefts, left
            self.table.delete_range(None, key)
        else:
            self.table.delete_range(key)
        self.twins, self.model = lefts, left
        for tree in rights:
            tree.check()
            assert list(tree.range()) == right.items()

    @rule()
    def snapshot(self):
        trees = [tree.snapshot() for tree in self.twins]
        self.snapshots = [*self.snapshots[-3:], (trees, self.model.copy())]

    @precondition(lambda self: getattr(self, "snapshots", ()))
    @rule(which=st.integers(0, 3))
    def let_go_of_a_snapshot(self, which):
        del self.snapshots[which % len(self.snapshots)]

    @precondition(lambda self: getattr(self, "snapshots", ()))
    @rule(which=st.integers(0, 3))
    def go_back(self, which):
        trees, model = self.snapshots[which % len(self.snapshots)]
        for tree in trees:
            with pytest.raises(FrozenTree):
                tree.pop_first()
        self.twins, self.model = [tree.copy() for tree in trees], model.copy()
        self.table.delete_range()
        self.table.put(*model.entries())

    @rule(keep=st.booleans())
    def copy(self, keep):
        others = [tree.copy() for tree in self.twins]
        others, self.twins = (self.twins, others) if keep else (others, self.twins)
        for tree in others:
            tree.clear()

    @rule()
    def compare_with_snapshots(self):
        self.snapshots_are_the_same()


class Maps(Trees):
    kind = "map"

    @rule(code=codes, value=value_codes)
    def put(self, code, value):
        key, value = self.spec[code], self.value(value)
        self.agree(lambda tree: tree.__setitem__(key, value))
        self.table.put((key, value))

    @rule(start=codes, n=st.integers(1, 150), step=st.sampled_from([-7, -1, 1, 7, 401]), value=value_codes)
    def put_a_run(self, start, n, step, value):
        value = self.value(value)
        for code in range(start, start + n * step, step):
            key = self.spec[code]
            for tree in (*self.twins, self.model):
                tree[key] = value
            self.table.put((key, value))

    @rule(code=codes, value=value_codes)
    def setdefault(self, code, value):
        key, value = self.spec[code], self.value(value)
        if key not in self.model:
            self.table.put((key, value))
        self.agree(lambda tree: tree.setdefault(key, value))

    @rule(code=codes)
    def get(self, code):
        key = self.spec[code]
        self.agree(lambda tree: tree[key])
        self.agree(lambda tree: tree.get(key))
        self.agree(lambda tree: tree.get(key, "default"))

    @rule(code=codes)
    def delete(self, code):
        key = self.spec[code]
        self.agree(lambda tree: tree.__delitem__(key))
        self.table.delete(key)

    @rule(code=codes, default=st.just(()) | st.just((None,)))
    def pop(self, code, default):
        key = self.spec[code]
        self.agree(lambda tree: tree.pop(key, *default))
        self.table.delete(key)

    @rule(codes=some_codes, default=value_codes)
    def get_many(self, codes, default):
        keys, default = [self.spec[code] for code in codes], self.value(default)
        self.agree(lambda tree: tree.get_many(keys))
        self.agree(lambda tree: tree.get_many(keys, default=default))

    @rule(codes=some_codes | st.lists(codes, min_size=40, max_size=80), sort=st.booleans(), value=value_codes)
    def insert_many(self, codes, sort, value):
        keys = [self.spec[code] for code in codes]
        keys = sorted(keys) if sort else keys
        values = [self.value((value + i) % 10) for i in range(len(keys))]
        self.agree(lambda tree: tree.insert_many(keys, values, sorted=sort))
        self.table.put(*zip(keys, values, strict=True))

    @rule(start=codes, n=st.integers(500, 3000), step=st.sampled_from([1, 3, 7]), value=value_codes)
    def insert_very_many(self, start, n, step, value):
        keys = [self.spec[code % 8000] for code in range(start, start + n * step, step)]
        values = [self.value(value)] * n
        self.agree(lambda tree: tree.insert_many(keys, values))
        self.table.put(*zip(keys, values, strict=True))


class Sets(Trees):
    kind = "set"

    @rule(code=codes)
    def add(self, code):
        key = self.spec[code]
        self.agree(lambda tree: tree.add(key))
        self.table.put((key, None))

    @rule(start=codes, n=st.integers(1, 150), step=st.sampled_from([-7, -1, 1, 7, 401]))
    def add_a_run(self, start, n, step):
        for code in range(start, start + n * step, step):
            key = self.spec[code]
            for tree in (*self.twins, self.model):
                tree.add(key)
            self.table.put((key, None))

    @rule(code=codes)
    def discard(self, code):
        key = self.spec[code]
        self.agree(lambda tree: tree.discard(key))
        self.table.delete(key)

    @rule(code=codes)
    def remove(self, code):
        key = self.spec[code]
        self.agree(lambda tree: tree.remove(key))
        self.table.delete(key)

    @rule(codes=some_codes | st.lists(codes, min_size=40, max_size=80), sort=st.booleans())
    def insert_many(self, codes, sort):
        keys = [self.spec[code] for code in codes]
        keys = sorted(keys) if sort else keys
        self.agree(lambda tree: tree.insert_many(keys, sorted=sort))
        self.table.put(*[(key, None) for key in keys])

    @rule(start=codes, n=st.integers(500, 3000), step=st.sampled_from([1, 3, 7]))
    def insert_very_many(self, start, n, step):
        keys = [self.spec[code % 8000] for code in range(start, start + n * step, step)]
        self.agree(lambda tree: tree.insert_many(keys))
        self.table.put(*[(key, None) for key in keys])


class MultiMaps(Trees):
    kind = "multimap"

    @rule(code=codes, value=value_codes)
    def add(self, code, value):
        key, value = self.spec[code], self.value(value)
        self.agree(lambda tree: tree.add(key, value))
        self.table.put((key, value))

    @rule(code=codes, n=st.integers(1, 300))
    def add_equal_keys(self, code, n):
        """So many that they fill several leaves."""
        key = self.spec[code]
        for i in range(n):
            for tree in (*self.twins, self.model):
                tree.add(key, self.value(i % 10))
            self.table.put((key, self.value(i % 10)))

    @rule(start=codes, n=st.integers(1, 150), step=st.sampled_from([-7, -1, 1, 7, 401]), value=value_codes)
    def add_a_run(self, start, n, step, value):
        value = self.value(value)
        for code in range(start, start + n * step, step):
            key = self.spec[code]
            for tree in (*self.twins, self.model):
                tree.add(key, value)
            self.table.put((key, value))

    @rule(code=codes)
    def get(self, code):
        key = self.spec[code]
        self.agree(lambda tree: tree.get(key))
        self.agree(lambda tree: tree.get(key, "default"))
        self.agree(lambda tree: tree.get_all(key))

    @rule(code=codes, value=value_codes)
    def remove(self, code, value):
        key, value = self.spec[code], self.value(value)
        self.agree(lambda tree: tree.remove(key, value))
        self.table.delete_one(key, value)

    @rule(index=codes, which=st.integers(0, 9))
    def remove_what_is_there(self, index, which):
        if not 0 <= index < len(self.model):
            return
        key = self.model.keys[index]
        values = self.model.get_all(key)
        value = values[which % len(values)]
        self.agree(lambda tree: tree.remove(key, value))
        self.table.delete_one(key, value)

    @rule(code=codes)
    def pop_all(self, code):
        key = self.spec[code]
        self.agree(lambda tree: tree.pop_all(key))
        self.table.delete(key)

    @rule(codes=some_codes)
    def get_many(self, codes):
        keys = [self.spec[code] for code in codes]
        self.agree(lambda tree: tree.get_many(keys))

    @rule(codes=some_codes | st.lists(near, min_size=40, max_size=80), sort=st.booleans(), value=value_codes)
    def insert_many(self, codes, sort, value):
        keys = [self.spec[code] for code in codes]
        keys = sorted(keys) if sort else keys
        values = [self.value((value + i) % 10) for i in range(len(keys))]
        self.agree(lambda tree: tree.insert_many(keys, values, sorted=sort))
        self.table.put(*zip(keys, values, strict=True))

    @rule(start=codes, n=st.integers(500, 3000), step=st.sampled_from([0, 1, 3, 7]), value=value_codes)
    def insert_very_many(self, start, n, step, value):
        keys = [self.spec[(start + i * step) % 8000] for i in range(n)]
        values = [self.value((value + i) % 10) for i in range(n)]
        self.agree(lambda tree: tree.insert_many(keys, values))
        self.table.put(*zip(keys, values, strict=True))


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("machine", [Maps, Sets, MultiMaps], ids=lambda machine: machine.kind)
def test_twins_do_as_a_sorted_list_and_sqlite_do(machine, keys):
    case = type(f"{machine.__name__}Of{keys}", (machine,), {"spec": KEYS[keys]})
    run_state_machine_as_test(
        case, settings=settings(max_examples=max(1, int(10 * EFFORT)), stateful_step_count=30)
    )
