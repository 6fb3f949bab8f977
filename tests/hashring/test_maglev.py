"""Maglev: the table, both twins of it, and the classes over it."""

import copy
import math
import pickle
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring.errors import DuplicateNode, EmptyRing, InvalidSnapshot, UnknownNode
from penstock.hashring.maglev import FrozenMaglev, MaglevTable
from penstock.hashring.rendezvous import FrozenRendezvous
from twins import load

MODULE = "penstock.hashring.maglev_slots"
on_both_twins = pytest.mark.parametrize("impl", ["c", "py"])

HUGE = pytest.param(1 << 40_000, id="huge")
PRIMES = [13, 17, 101, 251]
HUNDRED = [f"node-{i}" for i in range(100)]
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
memberships = st.dictionaries(
    names, st.sampled_from([1e-6, 0.1, 0.5, 1.0, 2.0, 7.0]), min_size=1, max_size=13
)
keys = st.lists(
    st.text(st.characters(codec="utf-8")) | st.binary() | st.integers(-(2**63), 2**64 - 1), max_size=20
)


def arguments(impl, nodes, size, hash="xxh3_64"):
    nodes = dict(sorted(nodes.items()))
    return tuple(nodes), load("penstock.hashring.key_hash", impl)(hash), size, list(nodes.values())


def made(impl, *args, **options):
    return load(MODULE, impl)(*arguments(impl, *args, **options))


def held(table):
    """The name in each slot."""
    return np.array(table.nodes, object)[table.slots()]


@given(memberships, st.sampled_from(PRIMES), keys)
def test_twins_agree_on_every_slot_and_key(nodes, size, keys):
    compiled, plain = made("c", nodes, size), made("py", nodes, size)
    assert compiled.slots().tolist() == plain.slots().tolist()
    assert compiled.slots().dtype == plain.slots().dtype == np.uint16
    assert compiled.get_many(keys) == plain.get_many(keys) == [plain.get_node(key) for key in keys]
    for key in keys:
        assert list(compiled.iter_nodes(key)) == list(plain.iter_nodes(key))
        assert compiled.get_nodes(key, 3) == plain.get_nodes(key, 3)
    where = np.array([0, 1, size, 2**63, 2**64 - 1], np.uint64)
    assert compiled.locate_many(where).tolist() == plain.locate_many(where).tolist()


@on_both_twins
def test_slots_are_frozen(impl):
    table = made(impl, {"a": 1.0, "b": 1.0, "c": 2.0}, 13)
    assert "".join("abc"[node] for node in table.slots()) == "ccccabababcac"


def test_placements_are_frozen():
    table = MaglevTable(HUNDRED)
    assert [table.get_node(key) for key in ("user:alice", b"cart:456", 7, -7)] == [
        "node-3",
        "node-23",
        "node-65",
        "node-8",
    ]
    assert table.get_nodes("user:alice", 4) == ["node-3", "node-36", "node-38", "node-74"]


@given(memberships, st.sampled_from(PRIMES), st.integers(0, 2**64 - 1))
def test_preference_is_what_the_following_slots_hold(nodes, size, position):
    table = made("c", nodes, size, hash=lambda _: position)
    slots = np.roll(table.slots(), -(position % size)).tolist()
    assert list(table.iter_nodes("any")) == [table.nodes[node] for node in dict.fromkeys(slots)]


@given(memberships, st.sampled_from(PRIMES))
def test_slots_are_in_proportion_to_weights_but_for_one(nodes, size):
    table = FrozenMaglev(nodes, table_size=size)
    counts = Counter(held(table).tolist())
    greatest = max(nodes.values())
    assert all(counts[name] >= 1 for name in nodes)
    turns = {name: (counts[name] - 1) * (greatest / weight) for name, weight in nodes.items()}  # the last one
    following = {name: counts[name] * (greatest / weight) for name, weight in nodes.items()}
    assert max(turns.values()) <= min(following.values())


def test_shares_of_a_hundred_nodes_are_even_to_1_percent():
    shares = MaglevTable(HUNDRED).distribution().values()
    assert max(shares) * 100 <= 1.01
    assert min(shares) * 100 >= 0.99
    assert sum(shares) == pytest.approx(1)


def test_shares_are_counted_when_samples_are_asked_for():
    table = MaglevTable(HUNDRED[:4])
    assert table.distribution(1000) == table.snapshot().distribution(1000) != table.distribution()
    assert max(table.distribution(100_000).values()) < 0.26
    assert MaglevTable().distribution() == {}


@given(memberships, st.randoms(use_true_random=False))
def test_order_of_nodes_never_matters(nodes, rng):
    shuffled = list(nodes.items())
    rng.shuffle(shuffled)
    grown = MaglevTable(table_size=101)
    for name, weight in shuffled:
        grown.add_node(name, weight)
    assert grown.snapshot() == FrozenMaglev(nodes, table_size=101)
    assert held(grown.snapshot()).tolist() == held(FrozenMaglev(nodes, table_size=101)).tolist()


@pytest.mark.parametrize("count", [3, 10, 100, 500])
def test_few_slots_move_that_need_not(count):
    before = FrozenMaglev(f"node-{i}" for i in range(count))
    grown, shrunk = before.with_node("new"), before.without_node("node-1")
    old, new, rest = held(before), held(grown), held(shrunk)
    assert ((old != new) & (new != "new")).mean() < 0.013
    assert ((old != rest) & (old != "node-1")).mean() < 0.013


def test_nodes_come_and_go_and_change_their_weight():
    table = MaglevTable(["a", "b"], table_size=1009)
    table.add_node("c", 2.0)
    assert table.weights == {"a": 1.0, "b": 1.0, "c": 2.0}
    assert table.distribution()["c"] == pytest.approx(0.5, abs=0.002)
    table.set_weight("a", 5)
    assert table.weights["a"] == 5.0
    table.remove_node("b")
    assert table.nodes == ("a", "c")
    table.update({"x": 1, "y": 2})
    assert table.snapshot() == FrozenMaglev({"y": 2, "x": 1}, table_size=1009)
    assert table.table_size == 1009


def test_refused_changes_change_nothing():
    table = MaglevTable({"a": 1, "b": 2}, table_size=3)
    before = table.snapshot()
    with pytest.raises(DuplicateNode, match=r"^name of a node must be new, got 'a' again$"):
        table.add_node("a")
    with pytest.raises(UnknownNode, match=r"^name of a node must be one of 'a', 'b', got 'c'$"):
        table.remove_node("c")
    with pytest.raises(UnknownNode):
        table.set_weight("c", 1)
    with pytest.raises(InvalidValue, match=r"^weight of 'a' must be >= 1e-06 and <= 1e\+06, got 0$"):
        table.set_weight("a", 0)
    with pytest.raises(InvalidValue, match=r"^nodes must be <= 3 in a table of 3, got 4$"):
        table.update("abcd"[i] for i in range(4))
    assert table.snapshot() is before


@pytest.mark.parametrize(
    ("size", "following"), [(65536, 65537), (4, 5), (1001, 1009), (4_999_998, 4_999_999)]
)
def test_size_that_is_no_prime_is_refused_and_the_next_one_named(size, following):
    with pytest.raises(
        InvalidValue, match=rf"^table_size must be a prime, got {size}: the next one is {following}$"
    ):
        MaglevTable(["a"], table_size=size)


@pytest.mark.parametrize("size", [1, 0, -7, 5_000_012, HUGE])
def test_size_out_of_range_is_refused(size):
    with pytest.raises(InvalidValue, match=r"^table_size must be >= 2 and <= 5000011, got ") as caught:
        MaglevTable(["a"], table_size=size)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("size", [65537.0, "65537", True, None])
def test_size_that_is_no_int_is_refused(size):
    with pytest.raises(InvalidType, match=rf"^table_size must be an int, got {type(size).__name__}$"):
        MaglevTable(["a"], table_size=size)


def test_smallest_and_largest_tables_work():
    assert sorted(MaglevTable(["a", "b"], table_size=2).iter_nodes("key")) == ["a", "b"]
    table = FrozenMaglev(["a", "b", "c"], table_size=5_000_011)
    assert Counter(table.slots().tolist()).most_common(1)[0][1] == 1_666_671
    assert set(table.get_many(["1", "2", "3", "4", "5", "6"])) == {"a", "b", "c"}


def test_empty_table_has_no_node_for_a_key():
    table = MaglevTable()
    with pytest.raises(EmptyRing, match=r"^Ring has no nodes$"):
        table.get_node("key")
    with pytest.raises(EmptyRing, match=r"^Ring has no nodes$"):
        table.get_nodes("key", 2)
    with pytest.raises(EmptyRing, match=r"^Ring has no nodes$"):
        table.get_many(["key"])
    assert table.snapshot().slots().tolist() == []
    table.add_node("a")
    assert table.get_node("key") == "a"


@on_both_twins
@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, math.nan], [1.0, math.inf], [1.0, 1.0, 1.0]])
def test_weights_that_are_not_those_of_the_nodes_are_refused(impl, weights):
    nodes, key_hash, size, _ = arguments(impl, {"a": 1, "b": 1}, 13)
    with pytest.raises(InvalidValue, match=r"^weights must be > 0, one for each of 2 nodes, got \["):
        load(MODULE, impl)(nodes, key_hash, size, weights)


@on_both_twins
def test_table_is_initialised_once(impl):
    table = made(impl, {"a": 1}, 13)
    with pytest.raises(
        InvalidValue, match=r"^a frozen placement must be initialised once, got a second time$"
    ):
        table.__init__(*arguments(impl, {"a": 1, "b": 1}, 17))
    assert (table.nodes, table.table_size, table.get_node("key")) == (("a",), 13, "a")


# ---- the same elsewhere


def test_equal_tables_are_equal_wherever_they_are():
    table = MaglevTable({"a": 1, "b": 2.5}, table_size=101, seed=7)
    frozen = table.snapshot()
    for same in (
        FrozenMaglev.from_bytes(table.to_bytes()),
        MaglevTable.from_bytes(table.to_bytes()).snapshot(),
        pickle.loads(pickle.dumps(frozen)),
        pickle.loads(pickle.dumps(table)).snapshot(),
        copy.deepcopy(frozen),
        FrozenMaglev({"b": 2.5, "a": 1}, table_size=101, seed=7),
    ):
        assert same == frozen
        assert hash(same) == hash(frozen)
        assert same.fingerprint() == frozen.fingerprint()
        assert same.slots().tolist() == frozen.slots().tolist()


def test_tables_of_other_settings_are_not_equal():
    frozen = FrozenMaglev(["a", "b"], table_size=101)
    for other in (
        FrozenMaglev(["a", "b"], table_size=103),
        FrozenMaglev(["a", "b"], table_size=101, seed=1),
        FrozenMaglev({"a": 1, "b": 2}, table_size=101),
        FrozenMaglev(["a"], table_size=101),
        FrozenRendezvous(["a", "b"]),
    ):
        assert frozen != other
        assert frozen.fingerprint() != other.fingerprint()


def test_table_with_a_hash_of_ones_own_is_pickled_but_has_no_bytes():
    frozen = FrozenMaglev(["a", "b"], hash=hash_of_length)
    assert pickle.loads(pickle.dumps(frozen)) == frozen
    assert frozen.with_node("c").hash.function is hash_of_length
    with pytest.raises(InvalidType, match=r"^hash must have a name to be written, got a callable$"):
        frozen.to_bytes()


def hash_of_length(key):
    return len(key)


def test_damaged_snapshots_are_refused():
    data = FrozenMaglev(["a", "b"], table_size=101).to_bytes()
    rng = random.Random(5)
    for _ in range(50):
        at = rng.randrange(len(data))
        damaged = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        with pytest.raises(InvalidSnapshot):
            FrozenMaglev.from_bytes(damaged)
        with pytest.raises(InvalidSnapshot):
            FrozenMaglev.from_bytes(data[:at])
    with pytest.raises(InvalidSnapshot, match=r"^kind of a snapshot must be rendezvous, got b'maglev'$"):
        FrozenRendezvous.from_bytes(data)
