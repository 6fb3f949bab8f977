"""The figures that ordered maps are held to, each beside its goal; what is missed comes first.

Goals in nanoseconds hold for a machine, so they are compared as multiples of an empty method of a C type,
which is timed in the same race; where a figure is made of cache misses rather than of instructions that says
less, and the ratios to the peers say more. A sorted pair of numpy arrays, which cannot be inserted into, is
shown beside the peers, and is one of them for single ranks and for batches only.

Where a goal cannot be reached, the table says beside it how many times as fast as the peer would be what
does only the part that nobody can leave out: the floor, a contestant of the same race.

Memory is measured in a fresh process for each contestant; keys and values that are objects are there before,
and not counted.
"""

import subprocess
import sys
from functools import partial
from sqlite3 import connect
from typing import NamedTuple

import btree_memory
import numpy as np
import pytest
from btree_workloads import (
    FULL,
    RANGE,
    ROW,
    ROW_BITS,
    ROWS_A_KEY,
    SMALL,
    SQLiteMap,
    SQLiteMultiMap,
    batch_by_batch,
    bounds_of,
    built_indexes,
    calls,
    calls_between,
    empty_calls,
    grown_trees,
    int_tree,
    iterates,
    lists_of_rows,
    looks_up,
    multimap,
    other_ints,
    packed,
    pairs_to_index,
    random_ints,
    random_texts,
    shuffled,
    stored,
    stores,
    text_tree,
)
from BTrees.LLBTree import LLBTree, LLTreeSet
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from figures import table, verdict
from sortedcontainers import SortedDict

from btree.go_random import orders  # of the tests
from conftest import EMPTY_METHOD
from penstock.btree import BTreeMap, Table
from penstock.btree._btree_py import MapTree as PurePythonMap

EMPTY = "empty method of a C type"
PURE = "penstock, pure Python"
BEST_PEER = "the best"
MISSES = "dict"  # a look-up in it is misses of the cache, and hardly a step besides
ORDERED = "floor: keys seen to ascend, all references taken"
MADE = "floor: as many ints and tuples made"


class Goal(NamedTuple):
    """What one operation may take, on the machine that the goal was set on."""

    contestant: str
    nanoseconds: float


class Lead(NamedTuple):
    """How many times as fast as a peer a contestant has to be; below 1 it may be slower."""

    contestant: str
    peer: str
    times: float
    floor: str | None = None
    """Who in the race does only what cannot be left out."""


@pytest.fixture(scope="module")
def tables():
    """Two tables, of goals and of leads, that are filled at the end: what is missed comes first."""
    goals = table("Ordered maps, a figure of table 5.5 each", "figure", "ns", "goal", "× empty", "goal", "")
    leads = table(
        "Ordered maps, times as fast as a peer", "operation", "peer", "times", "goal", "at the floor", ""
    )
    rows = {"goals": [], "leads": []}
    yield goals, leads, rows
    for filled, found in ((goals, rows["goals"]), (leads, rows["leads"])):
        for row in sorted(found, key=lambda row: row[-1] != "missed"):
            filled.add_row(*row)


@pytest.fixture
def held(race, show, smoke, tables):
    """held(title, contestants, operations, *lines) races the contestants and judges goals and leads."""
    goals, leads, rows = tables
    if not rows["goals"]:
        show(goals)
        show(leads)

    def run(title, contestants, operations, *lines):
        medians = race(title, contestants | {EMPTY: empty_calls(operations)}, operations)
        for line in lines:
            _, _, variant = line.contestant.partition(", ")
            name = f"{title} ({variant})" if variant else title
            if isinstance(line, Goal):
                rows["goals"].append((name, *judged_goal(line, medians, smoke)))
            else:
                rows["leads"].append((name, *judged_lead(line, medians, smoke)))

    return run


def judged_goal(goal, medians, smoke):
    figure, nanoseconds = medians[goal.contestant], goal.nanoseconds
    ratio, wanted = figure / medians[EMPTY], nanoseconds / EMPTY_METHOD
    return (
        f"{figure:,.1f}",
        f"{nanoseconds:,}",
        f"{ratio:.2f}",
        f"{wanted:.2f}",
        verdict(ratio <= wanted, smoke),
    )


def judged_lead(lead, medians, smoke):
    peer = best_peer(medians) if lead.peer == BEST_PEER else lead.peer
    times = medians[peer] / medians[lead.contestant]
    floor = "" if lead.floor is None else f"{medians[peer] / medians[lead.floor]:.2f}"
    return peer, f"{times:.2f}", f"≥ {lead.times:.2f}", floor, verdict(times >= lead.times, smoke)


def best_peer(medians):
    """The fastest of those that are ordered maps, as ours are."""
    ordered = ("SortedDict", "OOBTree", "LLBTree", "SQLite")
    return min((name for name in medians if name.startswith(ordered)), key=medians.__getitem__)


@pytest.fixture(scope="module")
def sizes(pytestconfig):
    return SMALL if pytestconfig.getoption("benchmark_disable") else FULL


@pytest.fixture(scope="module")
def trees(sizes):
    return grown_trees(sizes.keys)


@pytest.fixture(scope="module")
def indexes(sizes):
    return built_indexes(sizes.keys)


# ---- one key


def test_lookup_among_a_million_ints(held, trees, sizes):
    queries = shuffled(random_ints(sizes.keys))
    asked = {
        "penstock": trees.ours,
        "penstock, object keys": trees.objects,
        PURE: trees.pure_python,
        "SortedDict": trees.sorted_dict,
        "OOBTree": trees.oo,
        "LLBTree": trees.ll,
        "dict": {key: key for key in random_ints(sizes.keys).tolist()},
    }
    held(
        "lookup, 1M int",
        {name: batch_by_batch(looks_up, tree, queries, sizes.batch) for name, tree in asked.items()}
        | {"SQLite": batch_by_batch(selects, trees.sqlite, queries, sizes.batch)},
        sizes.batch,
        Goal("penstock", 280),
        Goal("penstock, object keys", 1_300),
        Lead("penstock", "LLBTree", 976 / 280, MISSES),
        Lead("penstock, object keys", "OOBTree", 3_314 / 1_300),
        Lead(PURE, "SortedDict", 1 / 1.3),
    )


def selects(tree, keys):
    """One value a query, as it is looked up in SQL."""

    def select(key, execute=tree.execute):
        return execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()[0]

    return calls(select, keys)


def test_lookup_among_texts(held, sizes):
    texts = random_texts(sizes.texts)
    queries = shuffled(texts)
    asked = {
        "penstock": stored(text_tree(), texts),
        "penstock, object keys": stored(BTreeMap(), texts),
        PURE: stored(PurePythonMap("str"), texts),
        "SortedDict": stored(SortedDict(), texts),
        "OOBTree": stored(OOBTree(), texts),
        "dict": stored({}, texts),
    }
    held(
        "lookup, 100k str",
        {name: batch_by_batch(looks_up, tree, queries, sizes.batch) for name, tree in asked.items()},
        sizes.batch,
        Goal("penstock", 450),
        Goal("penstock, object keys", 450),
        Lead("penstock", "OOBTree", 1_229 / 450),
    )


def test_insert_ints(held, sizes):
    keys = random_ints(sizes.inserted).tolist()
    makers = {
        "penstock": int_tree,
        "penstock, object keys": BTreeMap,
        PURE: PurePythonMap,
        "SortedDict": SortedDict,
        "OOBTree": OOBTree,
        "LLBTree": LLBTree,
        "dict": dict,
    }
    held(
        "insert, 50k int from empty",
        {name: stores(make, keys) for name, make in makers.items()}
        | {"SQLite, in one transaction": lambda: SQLiteMap().insert(keys, keys)},
        len(keys),
        Goal("penstock", 160),
        Lead("penstock", "LLBTree", 210 / 160),
        Lead(PURE, "SortedDict", 1 / 1.3),
    )


def test_insert_texts(held, sizes):
    keys = random_texts(sizes.inserted)
    makers = {
        "penstock": text_tree,
        "penstock, object keys": BTreeMap,
        PURE: PurePythonMap,
        "SortedDict": SortedDict,
        "OOBTree": OOBTree,
        "dict": dict,
    }
    held(
        "insert, 50k str from empty",
        {name: stores(make, keys) for name, make in makers.items()},
        len(keys),
        Goal("penstock", 500),
        Goal("penstock, object keys", 500),
        Lead("penstock", "OOBTree", 856 / 500),
        Lead(PURE, "SortedDict", 1 / 1.3),
    )


# ---- many keys


def test_load_of_sorted_pairs(held, sizes):
    array = np.sort(random_ints(sizes.loaded))
    keys = array.tolist()

    pairs = list(zip(keys, keys, strict=True))  # BTrees takes no iterator

    def pure_python():
        PurePythonMap()._load_sorted(keys, keys, 0.9, True)

    types = {"key_type": "int64", "value_type": "int64"}
    held(
        "200k sorted pairs loaded",
        {
            "penstock": lambda: BTreeMap.from_sorted(array, array),
            "penstock, from lists": lambda: BTreeMap.from_sorted(keys, keys, **types),
            "penstock, object keys": lambda: BTreeMap.from_sorted(keys, keys),
            "penstock, from a list of pairs": lambda: BTreeMap(pairs, **types),
            PURE: pure_python,
            "SortedDict": lambda: SortedDict(pairs),
            "OOBTree": lambda: OOBTree(pairs),
            "LLBTree": lambda: LLBTree(pairs),
            "SQLite": lambda: SQLiteMap().insert(keys, keys),
            "dict": lambda: dict(pairs),
            ORDERED: lambda: (sorted(keys), keys[:]),
        },
        len(keys),
        Goal("penstock", 25),
        Goal("penstock, from lists", 120),
        Goal("penstock, object keys", 120),
        Lead("penstock", BEST_PEER, 5),
        Lead("penstock, from lists", BEST_PEER, 5),
        Lead("penstock, object keys", BEST_PEER, 5, ORDERED),
        Lead(PURE, "SortedDict", 1 / 1.3),
    )


@pytest.mark.parametrize(("order", "goal"), [("random", 30), ("sorted", 10)])
def test_lookups_in_a_batch(held, trees, sizes, order, goal):
    queries = np.array(shuffled(random_ints(sizes.keys)))
    if order == "sorted":
        queries.sort()
    ours, (ascending, values) = trees.ours, trees.arrays
    held(
        f"get_many, 1M {order}",
        {
            "penstock": partial(ours.get_many, queries),
            "penstock, loaded": partial(BTreeMap.from_sorted(ascending, values).get_many, queries),
            "penstock, with a default": partial(ours.get_many, queries, 0),
            "penstock, rank_many": partial(ours.rank_many, queries),
            "np.searchsorted": partial(ascending.searchsorted, queries),
            "np.searchsorted, and the values": lambda: values[ascending.searchsorted(queries)],
        },
        len(queries),
        Goal("penstock", goal),
        Lead("penstock", "np.searchsorted", 3),
    )


# ---- ranges


def test_keys_of_a_range(held, trees):
    bounds = bounds_of(trees.arrays.keys)
    irange = trees.sorted_dict.irange
    between = "SELECT key FROM entries WHERE key >= ? AND key < ? ORDER BY key"
    select, arrays = trees.sqlite.execute, trees.arrays
    asked = {
        "penstock": lambda low, high: list(trees.ours.keys_range(low, high)),
        "penstock, object keys": lambda low, high: list(trees.objects.keys_range(low, high)),
        PURE: lambda low, high: list(trees.pure_python.keys_range(low, high)),
        "SortedDict": lambda low, high: list(irange(low, high, (True, False))),
        "OOBTree": lambda low, high: list(trees.oo.keys(low, high, False, True)),
        "LLBTree": lambda low, high: list(trees.ll.keys(low, high, False, True)),
        "SQLite": lambda low, high: [key for (key,) in select(between, (low, high))],
        "numpy, sorted arrays": lambda low, high: arrays.slice(low, high)[0].tolist(),
    }
    held(
        "range of 100, a key",
        {name: calls_between(function, bounds) for name, function in asked.items()},
        RANGE * len(bounds),
        Goal("penstock", 45),
        Goal("penstock, object keys", 45),
        Lead("penstock", BEST_PEER, 124 / 45),
        Lead(PURE, "SortedDict", 1 / 1.3),
    )


def test_items_of_a_range(held, trees):
    bounds = bounds_of(trees.arrays.keys)
    sorted_dict, arrays = trees.sorted_dict, trees.arrays
    between = "SELECT key, value FROM entries WHERE key >= ? AND key < ? ORDER BY key"

    def zipped(low, high):
        keys, values = arrays.slice(low, high)
        return list(zip(keys.tolist(), values.tolist(), strict=True))

    asked = {
        "penstock": lambda low, high: list(trees.ours.range(low, high)),
        "penstock, object keys": lambda low, high: list(trees.objects.range(low, high)),
        "penstock, range_arrays": trees.ours.range_arrays,
        PURE: lambda low, high: list(trees.pure_python.range(low, high)),
        "SortedDict": lambda low, high: [
            (key, sorted_dict[key]) for key in sorted_dict.irange(low, high, (True, False))
        ],
        "OOBTree": lambda low, high: list(trees.oo.items(low, high, False, True)),
        "LLBTree": lambda low, high: list(trees.ll.items(low, high, False, True)),
        "SQLite": lambda low, high: trees.sqlite.execute(between, (low, high)).fetchall(),
        "numpy, sorted arrays": zipped,
        MADE: lambda low, high: list(enumerate(range(low, low + RANGE), high)),
    }
    held(
        "range of 100, an item",
        {name: calls_between(function, bounds) for name, function in asked.items()},
        RANGE * len(bounds),
        Goal("penstock", 60),
        Goal("penstock, object keys", 60),
        Goal("penstock, range_arrays", 3),
        Lead("penstock", BEST_PEER, 5, MADE),
        Lead("penstock, object keys", BEST_PEER, 5),
        Lead("penstock, range_arrays", BEST_PEER, 5),
        Lead(PURE, "SortedDict", 1 / 1.3),
    )


# ---- order


def test_rank(held, trees, sizes):
    """SQLite is left out: it counts one by one, some milliseconds for each rank."""
    queries = other_ints(sizes.keys, sizes.batch).tolist()
    asked = {
        "penstock": trees.ours.rank,
        "penstock, object keys": trees.objects.rank,
        PURE: trees.pure_python.rank,
        "SortedDict": trees.sorted_dict.bisect_left,
        "numpy, sorted arrays": trees.arrays.keys.searchsorted,
        MISSES: {key: key for key in random_ints(sizes.keys).tolist()}.get,
    }
    held(
        "rank among 1M",
        {name: batch_by_batch(calls, function, queries, sizes.batch) for name, function in asked.items()},
        sizes.batch,
        Goal("penstock", 350),
        Lead("penstock", BEST_PEER, 5),
        Lead("penstock, object keys", BEST_PEER, 5),
        Lead("penstock", "numpy, sorted arrays", 5, MISSES),
        Lead(PURE, "SortedDict", 1 / 1.3),
    )


def test_nearest_keys(held, trees, sizes):
    queries = other_ints(sizes.keys, sizes.batch).tolist()
    queries = [min(max(key, trees.ours.first_item()[0]), trees.ours.last_item()[0]) for key in queries]
    sorted_dict, execute = trees.sorted_dict, trees.sqlite.execute
    floor = "SELECT key, value FROM entries WHERE key <= ? ORDER BY key DESC LIMIT 1"
    asked = {
        "penstock": trees.ours.floor_item,
        "penstock, ceiling_item": trees.ours.ceiling_item,
        "penstock, object keys": trees.objects.floor_item,
        PURE: trees.pure_python.floor_item,
        "SortedDict": lambda key: sorted_dict.peekitem(sorted_dict.bisect_right(key) - 1),
        "OOBTree, key only": trees.oo.maxKey,
        "LLBTree, key only": trees.ll.maxKey,
        "SQLite": lambda key: execute(floor, (key,)).fetchone(),
    }
    held(
        "floor_item among 1M",
        {name: calls(function, queries) for name, function in asked.items()},
        len(queries),
        Goal("penstock", 330),
        Goal("penstock, ceiling_item", 330),
        Lead("penstock", "SortedDict", 4_200 / 330),
        Lead(PURE, "SortedDict", 1 / 1.3),
    )


# ---- rows of a key, as a database's index has them


def test_index_built(held, sizes):
    keys, rows = pairs_to_index(sizes.keys)
    key_list, row_list = keys.tolist(), rows.tolist()

    held(
        "index of 1M unsorted pairs built",
        {
            "penstock": lambda: multimap().insert_many(keys, rows),
            "penstock, from lists": lambda: multimap().insert_many(key_list, row_list),
            "SortedDict of lists": lambda: SortedDict(lists_of_rows(key_list, row_list)),
            "LOBTree of lists": lambda: LOBTree(lists_of_rows(key_list, row_list)),
            "LLTreeSet, packed": lambda: LLTreeSet(packed(keys, rows)),
            "SQLite": lambda: SQLiteMultiMap().insert(key_list, row_list),
            "numpy, argsort": lambda: np.argsort(keys, kind="stable"),
        },
        len(key_list),
        Goal("penstock", 250),
        Goal("penstock, from lists", 250),
        Lead("penstock", "SortedDict of lists", 5),
        Lead("penstock, from lists", "SortedDict of lists", 2),
    )


def test_index_grown(held, sizes):
    keys, rows = (array.tolist() for array in pairs_to_index(sizes.loaded))

    def added():
        add = multimap().add
        for key, row in zip(keys, rows, strict=True):
            add(key, row)

    def packed_added():
        add = LLTreeSet().add
        for key, row in zip(keys, rows, strict=True):
            add(key << ROW_BITS | row)

    def appended():
        lists = SortedDict()
        for key, row in zip(keys, rows, strict=True):
            if (rows_of_key := lists.get(key)) is None:
                lists[key] = [row]
            else:
                rows_of_key.append(row)

    held(
        "index of 200k pairs, a pair added",
        {"penstock": added, "LLTreeSet, packed": packed_added, "SortedDict of lists": appended},
        len(keys),
        Lead("penstock", "LLTreeSet, packed", 2),
    )


def test_rows_of_a_key(held, indexes, sizes):
    queries = other_keys(sizes)
    select = "SELECT value FROM entries WHERE key = ?"
    execute, arrays = indexes.sqlite.execute, indexes.arrays

    def unpacked(key):
        low = key << ROW_BITS
        return [pair & ROW for pair in indexes.packed.keys(low, low | ROW)]

    asked = {
        "penstock": indexes.ours.get_all,
        "penstock, object keys": indexes.objects.get_all,
        "LLTreeSet, packed": unpacked,
        "SQLite": lambda key: [row for (row,) in execute(select, (key,))],
        "numpy, sorted arrays": lambda key: arrays.slice(key, key + 1)[1].tolist(),
        "SortedDict of lists, the list itself": indexes.sorted_dict.__getitem__,
        "LOBTree of lists, the list itself": indexes.lo.__getitem__,
    }
    held(
        "10 rows of a key, a list",
        {name: calls(function, queries) for name, function in asked.items()},
        len(queries),
        Goal("penstock", 700),
        Lead("penstock", "LLTreeSet, packed", 4),
    )


def other_keys(sizes):
    """Keys of an index, at random."""
    keys = sizes.keys // ROWS_A_KEY
    return np.random.default_rng(13).integers(0, keys - RANGE, min(sizes.batch, 5_000)).tolist()


def test_rows_of_a_range(held, indexes, sizes):
    bounds = [(key, key + RANGE) for key in other_keys(sizes)[:RANGE]]
    select = "SELECT value FROM entries WHERE key >= ? AND key < ? ORDER BY key, value"
    execute, arrays = indexes.sqlite.execute, indexes.arrays
    lists, trees_of_lists = indexes.sorted_dict, indexes.lo

    def unpacked(low, high):
        return [pair & ROW for pair in indexes.packed.keys(low << ROW_BITS, (high << ROW_BITS) - 1)]

    asked = {
        "penstock": lambda low, high: list(indexes.ours.values_range(low, high)),
        "penstock, as arrays": indexes.ours.range_arrays,
        "penstock, object keys": lambda low, high: list(indexes.objects.values_range(low, high)),
        "LLTreeSet, packed": unpacked,
        "SortedDict of lists": lambda low, high: [
            row for key in lists.irange(low, high, (True, False)) for row in lists[key]
        ],
        "LOBTree of lists": lambda low, high: [
            row for rows in trees_of_lists.values(low, high, False, True) for row in rows
        ],
        "SQLite": lambda low, high: [row for (row,) in execute(select, (low, high))],
        "numpy, sorted arrays": lambda low, high: arrays.slice(low, high)[1].tolist(),
        "numpy, sorted arrays, a view": arrays.slice,
    }
    rows = RANGE * ROWS_A_KEY
    held(
        "100 keys to 1,000 rows, a row",
        {name: calls_between(function, bounds) for name, function in asked.items()},
        rows * len(bounds),
        Lead("penstock", "LLTreeSet, packed", 4),
        Lead("penstock, as arrays", "LLTreeSet, packed", 20),
    )


def test_iteration(held, indexes):
    held(
        "all of an index, a row",
        {
            "penstock": iterates(indexes.ours),
            "penstock, of 1M items": iterates(indexes.ours.items()),
            "LLTreeSet, packed": iterates(indexes.packed),
        },
        len(indexes.ours),
        Lead("penstock", "LLTreeSet, packed", 1.3),
    )


# ---- a table: example 45


def test_index_of_a_table(held, smoke):
    """100,000 orders, of which 12 are wanted, each a mapping; SQLite gives tuples."""
    rows = orders()[:2_000] if smoke else orders()
    user = rows[0]["user_id"] if smoke else 5_000
    indexed, plain, with_index = Table(rows), sqlite_orders(rows), sqlite_orders(rows)
    indexed.create_index("user_id")
    with_index.execute("CREATE INDEX by_user ON orders (user_id)")

    def selected(connection):
        query = "SELECT * FROM orders WHERE user_id = ? ORDER BY rowid"
        return lambda: connection.execute(query, (user,)).fetchall()

    def scanned_in_python():
        return [row for row in rows if row["user_id"] == user]

    found = indexed.index_scan("user_id", user)
    assert list(map(dict, found)) == scanned_in_python() == list(map(dict, indexed.scan(user_id=user)))
    assert [tuple(row.values()) for row in found] == selected(with_index)() == selected(plain)()
    assert smoke or len(found) == 12
    held(
        "12 of 100,000 rows",
        {
            "penstock": partial(indexed.index_scan, "user_id", user),
            "penstock, planned": partial(indexed.select, user_id=user),
            "penstock, scan": partial(indexed.scan, user_id=user),
            "a scan in Python": scanned_in_python,
            "SQLite, index": selected(with_index),
            "SQLite, scan": selected(plain),
        },
        1,
        Lead("penstock", "penstock, scan", 300),
        Lead("penstock, planned", "penstock, scan", 300),
    )


def sqlite_orders(rows):
    connection = connect(":memory:")
    columns = list(rows[0])
    connection.execute(f"CREATE TABLE orders ({', '.join(columns)})")
    marks = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO orders VALUES ({marks})", [tuple(row.values()) for row in rows])
    return connection


# ---- memory


MEMORY_GOALS = {
    "penstock, int64 to int64, loaded": 18,
    "penstock, int64 to int64, loaded full": 18,
    "penstock, int64 to int64, sorted inserts": 20,
    "penstock, int64 to int64, random inserts": 20,
    "penstock, objects, loaded": 20,
    "penstock, objects, random inserts": 20,
    "penstock, 10 rows a key": 13,
}
"""Bytes an entry. Those of what is loaded come from table 5.5 and from floors, the others from the issue."""


def bytes_an_entry(contestant, entries):
    command = [sys.executable, btree_memory.__file__, contestant, str(entries)]
    grown, held = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(grown) / int(held)


def test_memory_of_an_entry(show, smoke):
    entries = 10_000 if smoke else 1_000_000
    rows = table(f"Resident memory, {entries:,} int to int", "tree", "bytes an entry", "goal", "")
    found = []
    for contestant in btree_memory.CONTESTANTS:
        figure = bytes_an_entry(contestant, entries)
        goal = MEMORY_GOALS.get(contestant)
        judged = ("", "") if goal is None else (f"≤ {goal}", verdict(figure <= goal, smoke))
        found.append((contestant, f"{figure:.1f}", *judged))
    for row in sorted(found, key=lambda row: row[-1] != "missed"):
        rows.add_row(*row)
    show(rows)
