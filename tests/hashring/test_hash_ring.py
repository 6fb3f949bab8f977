"""The hash ring: where keys go, what moves, what is refused."""

import copy
import enum
import itertools
import os
import pickle
import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.hashring import (
    DuplicateNode,
    EmptyRing,
    FrozenAnchor,
    FrozenMaglev,
    FrozenRendezvous,
    FrozenRing,
    HashRing,
    InvalidSnapshot,
    Move,
    UnknownNode,
)

HUGE = pytest.param(1 << 40_000, id="huge")
SECONDS = float(os.environ.get("PENSTOCK_RING_SECONDS", "1.5"))  # that nodes come and go
KEYS = [f"key:{i}" for i in range(2000)]
NAMED = ["xxh3_64", "xxh64", "murmur3_32", "sha256-be64", "md5-be32", "murmur2", "murmur3-cassandra", "crc16"]
names = st.sets(st.text("abcdefgh", min_size=1, max_size=3), min_size=1, max_size=12)
weights = st.sampled_from([0.001, 0.25, 0.5, 1.0, 1.7, 2.0, 3.25])
memberships = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), weights, min_size=1, max_size=12)


def small(nodes=(), **options):
    return HashRing(nodes, **{"vnodes": 20, **options})


def reference():
    """The ring of the textbook."""
    return HashRing(["cache-a", "cache-b", "cache-c"], vnodes=50, hash="sha256-be64")


# ---- the reference ring


def test_reference_ring_places_its_keys_where_the_original_does():
    ring = reference()
    keys = ["user:alice", "user:bob", "session:xyz", "product:123", "cart:456"]
    assert "".join(ring.get_node(key)[-1] for key in keys) == "acaac"
    ring.add_node("cache-d")
    assert "".join(ring.get_node(key)[-1] for key in keys) == "acaac"


def test_reference_ring_moves_what_the_original_moves():
    ring, keys = reference(), [f"key:{i}" for i in range(100_000)]
    before = ring.get_many(keys)
    assert Counter(before) == {"cache-a": 38108, "cache-b": 31258, "cache-c": 30634}
    ring.add_node("cache-d")
    after = ring.get_many(keys)
    assert Counter(after) == {"cache-a": 27846, "cache-b": 23679, "cache-c": 24812, "cache-d": 23663}
    assert {new for old, new in zip(before, after, strict=True) if old != new} == {"cache-d"}
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 23663
    ring.remove_node("cache-d")
    assert ring.get_many(keys) == before


# ---- frozen: these answers must never change


def test_placements_are_frozen():
    ring = HashRing(["a", "b", "c"])
    assert "".join(ring.get_many([f"key:{i}" for i in range(40)])) == FROZEN_DEFAULT
    assert ring.points()[:3] == FROZEN_POINTS
    assert ring.fingerprint() == FROZEN_FINGERPRINT


@pytest.mark.parametrize("name", NAMED)
def test_placements_of_every_hash_are_frozen(name):
    assert (
        "".join(HashRing(["a", "b", "c"], hash=name).get_many([f"key:{i}" for i in range(24)]))
        == FROZEN[name]
    )


def test_seeded_placements_are_frozen():
    keys = [f"key:{i}" for i in range(24)]
    assert "".join(HashRing(["a", "b", "c"], seed=2**63 + 1).get_many(keys)) == FROZEN["seeded"]


FROZEN_DEFAULT = "bacababcabcacbaccbbaabbabccabacacbacabba"
FROZEN_POINTS = [(71134969204444438, "a"), (113592266327187950, "b"), (125123374247949316, "a")]
FROZEN_FINGERPRINT = "ac85f82201e99ab3"
FROZEN = {
    "xxh3_64": "bacababcabcacbaccbbaabba",
    "xxh64": "abbacccbacbcaccbcbbbcaab",
    "murmur3_32": "ccabcaabaabbcaacccacabca",
    "sha256-be64": "bccbbcbccccaaccbbbcccaca",
    "md5-be32": "cbbbacbaccaabcbbabbbacbb",
    "murmur2": "aaabbbaccabcbcabbacbcbcb",
    "murmur3-cassandra": "aababbcccbbbcabbbcacabba",
    "crc16": "bbbbbbbbbbccccaaaabbcccc",
    "seeded": "bcaacbbbbaaaccbbcaababcc",
}


# ---- what moves


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=3), unique=True, max_size=12), st.randoms())
def test_order_of_nodes_never_matters(nodes, random):
    ring = small(nodes)
    shuffled = random.sample(nodes, len(nodes))
    other = small()
    for name in shuffled:
        other.add_node(name)
    assert other.snapshot() == ring.snapshot() == small(shuffled).snapshot()
    assert other.points() == ring.points() == small(shuffled).points()


@given(memberships, st.text("xyz", min_size=1, max_size=3), weights, st.sampled_from(NAMED))
def test_added_node_takes_keys_and_nothing_else_moves(nodes, name, weight, hash):
    ring = small(nodes, hash=hash)
    before = ring.get_many(KEYS)
    ring.add_node(name, weight)
    for old, new in zip(before, ring.get_many(KEYS), strict=True):
        assert new in (old, name)
    ring.remove_node(name)
    assert ring.get_many(KEYS) == before


@given(memberships.filter(lambda nodes: len(nodes) > 1), st.data())
def test_removed_node_gives_its_keys_to_the_next_and_nothing_else_moves(nodes, data):
    ring = small(nodes)
    name = data.draw(st.sampled_from(sorted(nodes)))
    orders = [ring.get_nodes(key, 2) for key in KEYS[:500]]
    ring.remove_node(name)
    assert ring.get_many(KEYS[:500]) == [order[order[0] == name] for order in orders]


@given(memberships, st.data(), weights)
def test_weight_moves_keys_to_or_from_its_node_only(nodes, data, weight):
    ring = small(nodes)
    name = data.draw(st.sampled_from(sorted(nodes)))
    before = ring.get_many(KEYS)
    ring.set_weight(name, weight)
    for old, new in zip(before, ring.get_many(KEYS), strict=True):
        assert old == new or (new == name if weight > nodes[name] else old == name)
    assert ring.weights[name] == weight
    assert ring.snapshot() == small({**nodes, name: weight}).snapshot()
    assert ring.points() == small({**nodes, name: weight}).points()


@given(memberships, memberships, st.sampled_from(["xxh3_64", "murmur3_32", "crc16"]))
def test_diff_says_exactly_which_keys_move(nodes, others, hash):
    ring, other = small(nodes, hash=hash), small(others, hash=hash)
    moves = ring.diff(other)
    assert ring.diff(other.snapshot()) == moves
    for key, old, new in zip(KEYS[:200], ring.get_many(KEYS[:200]), other.get_many(KEYS[:200]), strict=True):
        value = ring.hash(key)
        covering = [move for move in moves if move.start <= value <= move.end]
        assert covering == [] if old == new else [move[2:] for move in covering] == [(old, new)]
    for move, following in itertools.pairwise(moves):
        assert move.end < following.start
        assert move.end + 1 < following.start or move[2:] != following[2:]
    moving = sum(move.end - move.start + 1 for move in moves)
    assert moves.fraction == pytest.approx(moving / 2**ring.hash.bits)
    assert sum(moves.between().values()) == pytest.approx(moves.fraction)


def test_nothing_moves_between_equal_rings():
    assert list(small(["a", "b"]).diff(small(["b", "a"]))) == []
    assert list(small().diff(small())) == []


def test_everything_moves_to_and_from_nowhere():
    ring, empty = small(["a"]), small()
    assert list(ring.diff(empty)) == [Move(0, 2**64 - 1, "a", None)]
    assert list(empty.diff(ring)) == [Move(0, 2**64 - 1, None, "a")]
    assert empty.diff(ring).fraction == 1


def test_diff_reads_as_a_table():
    table = str(reference().diff(HashRing(["cache-a", "cache-b"], vnodes=50, hash="sha256-be64")))
    assert table.splitlines()[0] == "30.601% of all hashes move, in 31 ranges"
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "cache-c -> cache-a" in table


def test_rings_of_different_hashes_have_no_diff():
    with pytest.raises(InvalidValue, match=r"^other must hash keys by KeyHash\('xxh3_64'\), got KeyHash"):
        small(["a"]).diff(small(["a"], seed=1))
    with pytest.raises(InvalidType, match=r"^other must be a ring, got dict$"):
        small(["a"]).diff({})


# ---- shares


@given(memberships)
def test_node_has_points_by_its_weight_and_at_least_one(nodes):
    points = Counter(owner for _, owner in small(nodes).points())
    assert points == {name: max(1, int(20 * weight + 0.5)) for name, weight in nodes.items()}


def test_exact_shares_are_those_of_many_keys():
    ring = small({"a": 1, "b": 2, "c": 3})
    exact, counted = ring.distribution(), ring.distribution(200_000)
    assert sum(exact.values()) == pytest.approx(1)
    assert exact == pytest.approx(counted, abs=0.003)
    keys = Counter(ring.get_many([f"{i}" for i in range(100_000)]))
    assert exact == pytest.approx({name: count / 100_000 for name, count in keys.items()}, abs=0.01)


def test_shares_of_one_and_of_no_node():
    assert small(["a"]).distribution() == {"a": 1.0}
    assert small().distribution() == {}


def test_hundred_nodes_of_160_points_are_as_even_as_expected():
    """A share varies by 1 / sqrt(160) = 8 %: of 100, the largest is usually 20 % above the mean."""
    rings = [HashRing([f"{name}{i}" for i in range(100)]) for name in ("a", "db-", "cache", "10.0.0.", "n")]
    shares = [ring.distribution().values() for ring in rings]
    assert sum(max(each) for each in shares) / len(shares) * 100 < 1.25
    assert sum(min(each) for each in shares) / len(shares) * 100 > 0.75


# ---- replicas


@given(memberships, st.text(), st.integers(0, 15))
def test_replicas_are_distinct_nodes_and_the_first_is_the_node(nodes, key, n):
    ring = small(nodes)
    replicas = ring.get_nodes(key, n)
    assert len(set(replicas)) == len(replicas) == min(n, len(nodes))
    assert list(ring.iter_nodes(key))[: len(replicas)] == replicas
    assert replicas[:1] == [ring.get_node(key)][:n]
    assert sorted(ring.iter_nodes(key)) == sorted(nodes)


def test_replicas_of_many_nodes_are_found_too():
    nodes = [f"node{i}" for i in range(300)]
    ring = small(nodes)
    assert sorted(ring.get_nodes("key", 1000)) == sorted(ring.iter_nodes("key")) == sorted(nodes)
    assert list(ring.iter_nodes("key")) == ring.get_nodes("key", 300)


def test_replicas_stand_in_distinct_zones():
    zone = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c"}
    ring = small(list(zone))
    for key in KEYS[:200]:
        replicas = ring.get_nodes(key, 3, distinct_by=zone.get)
        assert {zone[node] for node in replicas} == {"a", "b", "c"}
        assert replicas == sorted(replicas, key=list(ring.iter_nodes(key)).index)
        assert ring.get_nodes(key, 2, distinct_by=zone.__getitem__) == replicas[:2]
    assert ring.get_nodes("key", 9, distinct_by=lambda node: 0) == [ring.get_node("key")]
    assert ring.get_nodes("key", 0, distinct_by=zone.get) == []


def test_iteration_goes_on_in_the_membership_in_which_it_began():
    ring = small(["a", "b", "c"])
    order = list(ring.iter_nodes("key"))
    nodes = ring.iter_nodes("key")
    seen = [next(nodes)]
    ring.update(["x"])
    assert seen + list(nodes) == order


@pytest.mark.parametrize("n", [-1, pytest.param(-1 << 40_000, id="huge")])
def test_less_than_no_replicas_are_refused(n):
    with pytest.raises(InvalidValue, match=r"^n must be >= 0 nodes, got"):
        small(["a"]).get_nodes("key", n)


@pytest.mark.parametrize(("n", "kind"), [(1.0, "float"), ("2", "str"), (None, "NoneType"), (True, "bool")])
def test_number_of_replicas_is_an_int(n, kind):
    with pytest.raises(InvalidType, match=f"^n must be an int, got {kind}$"):
        small(["a"]).get_nodes("key", n)


def test_zone_function_is_callable_and_its_error_reaches_the_caller():
    with pytest.raises(InvalidType, match=r"^distinct_by must be callable, got dict$"):
        small(["a"]).get_nodes("key", 1, distinct_by={})
    with pytest.raises(ZeroDivisionError):
        small(["a"]).get_nodes("key", 1, distinct_by=lambda node: 1 / 0)


# ---- keys


@given(st.text(st.characters(codec="utf-8")))
def test_text_and_its_bytes_are_one_key(key):
    ring = small(list("abcdefgh"))
    assert ring.get_node(key) == ring.get_node(key.encode()) == ring.get_node(bytearray(key.encode()))


@given(st.integers(-(2**63), 2**64 - 1))
def test_integer_is_the_key_of_its_eight_bytes(key):
    ring = small(list("abcdefgh"))
    assert ring.get_node(key) == ring.get_node((key % 2**64).to_bytes(8, "little"))


@pytest.mark.parametrize("key", [2**64, -(2**63) - 1, HUGE])
def test_larger_integers_are_refused(key):
    for call in (lambda: small(["a"]).get_node(key), lambda: small(["a"]).get_many([key])):
        with pytest.raises(InvalidValue, match=r"^key must be >= -2\*\*63 and < 2\*\*64, got"):
            call()


def test_lone_surrogate_is_refused():
    ring = small(["a"])
    for call in (
        lambda: ring.get_node("\ud800"),
        lambda: ring.get_nodes("\ud800", 1),
        lambda: ring.iter_nodes("\ud800"),
        lambda: ring.get_many(["\ud800"]),
        lambda: ring.get_many(np.array(["\ud800"])),
        lambda: ring.add_node("\ud800"),
    ):
        with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
            call()


@pytest.mark.parametrize("key", [1.5, None, ("a",), ["a"], object()])
def test_other_keys_are_refused(key):
    for call in (lambda: small(["a"]).get_node(key), lambda: small(["a"]).get_many([key])):
        with pytest.raises(InvalidType, match=f"^key must be a str, bytes or int, got {type(key).__name__}$"):
            call()


# ---- many keys


@given(st.lists(st.text(st.characters(codec="utf-8")) | st.binary() | st.integers(-(2**63), 2**64 - 1)))
def test_batch_answers_what_single_calls_do(keys):
    ring = small(list("abcdefgh"))
    expected = [ring.get_node(key) for key in keys]
    assert ring.get_many(keys) == ring.get_many(tuple(keys)) == ring.get_many(iter(keys)) == expected
    assert ring.snapshot().get_many(keys) == expected


@pytest.mark.parametrize(
    "keys",
    [
        np.array([b"", b"a", b"user:17", b"x" * 40]),
        np.array(["", "a", "Zürich", "日本", "x" * 40]),
        np.array([0, 1, -1, 2**62]),
        np.array([0, 2**64 - 1], np.uint64),
        np.array([1, -1], np.int8),
        np.array(["a", b"b", 3], object),
        np.arange(20)[::-3],
        np.array(["a", "b", "c", "d"])[::2],
        np.array([], "S3"),
    ],
    ids=lambda keys: keys.dtype.str,
)
def test_array_of_keys_gives_indices_of_nodes(keys):
    ring = small(list("abcdefgh"))
    indices = ring.get_many(keys)
    assert indices.dtype == np.int32
    assert [ring.nodes[index] for index in indices] == [ring.get_node(key) for key in keys.tolist()]


def test_array_may_have_a_shape_and_the_answer_a_place():
    ring = small(list("abc"))
    keys = np.arange(12).reshape(3, 4)
    out = np.full((3, 4), -1, np.int32)
    assert ring.get_many(keys, out=out) is out
    assert out.ravel().tolist() == ring.get_many(keys.ravel()).tolist()
    assert ring.get_many(keys.T).tolist() == out.T.tolist()


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.zeros(3, np.int64), InvalidValue),
        (np.zeros(2, np.int32), InvalidValue),
        (np.zeros((3, 1), np.int32), InvalidValue),
        (np.zeros(6, np.int32)[::2], InvalidValue),
        ([0, 0, 0], InvalidType),
    ],
)
def test_place_of_the_answer_must_fit(out, error):
    with pytest.raises(error, match=r"^out must be"):
        small(list("abc")).get_many(np.arange(3), out=out)
    with pytest.raises(InvalidType, match=r"^out must be None unless keys is a numpy array$"):
        small(list("abc")).get_many(["a"], out=np.zeros(1, np.int32))


def test_read_only_answer_is_refused():
    out = np.zeros(3, np.int32)
    out.flags.writeable = False
    with pytest.raises(InvalidValue, match="writeable"):
        small(list("abc")).get_many(np.arange(3), out=out)


@pytest.mark.parametrize("keys", [np.array([1.5]), np.array([True]), np.array(["2026-01-01"], "M8[D]")])
def test_array_of_other_things_is_refused(keys):
    with pytest.raises(InvalidType, match=r"^keys must be an array of str, bytes or integers, got"):
        small(list("abc")).get_many(keys)


@pytest.mark.parametrize("keys", [5, None, "user:17", b"user:17", bytearray(b"17"), np.str_("user:17")])
def test_one_key_is_no_batch(keys):
    message = f"^keys must be a list, a tuple or an array of keys, got {type(keys).__name__}$"
    for call in (small(list("abc")).get_many, small(list("abc")).snapshot().get_many):
        with pytest.raises(InvalidType, match=message):
            call(keys)


def test_memory_that_is_not_aligned_is_no_place_for_the_answer():
    odd = np.frombuffer(bytearray(4 * 3 + 1), np.int32, offset=1)
    with pytest.raises(
        InvalidValue, match=r"^out must be contiguous, aligned and writeable, got other memory$"
    ):
        small(list("abc")).get_many(np.arange(3), out=odd)


def test_answer_may_lie_where_the_keys_do():
    ring, keys = small(list("abcdefgh")), np.arange(40, dtype=np.int32)
    expected = ring.get_many(keys.copy()).tolist()
    assert ring.get_many(keys, out=keys).tolist() == expected
    wide = np.arange(40, dtype=np.int64)
    assert ring.get_many(wide, out=wide.view(np.int32)[1:41]).tolist() == expected


class Column(np.ndarray):
    """An array of a class of the caller's own."""


class Liar(np.ndarray):
    """One that has another number of keys than it says."""

    def ravel(self):
        return np.arange(7)


def test_array_of_any_class_is_an_array():
    ring, keys = small(list("abc")), np.arange(9)
    assert ring.get_many(keys.view(Column)).tolist() == ring.get_many(keys).tolist()
    with pytest.raises(
        InvalidValue, match=r"^keys must not change while they are hashed, got other ones at 3$"
    ):
        ring.get_many(np.arange(3).view(Liar))


# ---- nodes


def test_ring_without_nodes_says_so():
    ring = HashRing()
    assert (len(ring), list(ring), ring.nodes, ring.weights, ring.points()) == (0, [], (), {}, [])
    for call in (
        lambda: ring.get_node("a"),
        lambda: ring.get_nodes("a", 2),
        lambda: ring.iter_nodes("a"),
        lambda: ring.get_many(["a"]),
    ):
        with pytest.raises(EmptyRing, match=r"^Ring has no nodes$") as caught:
            call()
        assert isinstance(caught.value, PenstockError)
        assert isinstance(caught.value, LookupError)


def test_last_node_may_go_and_another_come():
    ring = small(["a"])
    ring.remove_node("a")
    assert len(ring) == 0
    ring.add_node("b", 0.5)
    assert ring.get_node("key") == "b"


def test_duplicate_nodes_are_refused_and_nothing_changes():
    ring = small(["a", "b"])
    with pytest.raises(DuplicateNode, match=r"^name of a node must be new, got 'a' again$"):
        ring.add_node("a", 2)
    with pytest.raises(DuplicateNode, match="'b' again"):
        ring.update(["b", "c", "b"])
    assert ring.weights == {"a": 1, "b": 1}


def test_unknown_nodes_are_refused():
    ring = small(["a", "b"])
    for call in (lambda: ring.remove_node("c"), lambda: ring.set_weight("c", 1)):
        with pytest.raises(UnknownNode, match=r"^name of a node must be one of 'a', 'b', got 'c'$"):
            call()
    with pytest.raises(UnknownNode, match="must be one of none, got 'a'"):
        small().remove_node("a")
    with pytest.raises(UnknownNode, match=r"'node0', .*, \.\.\., got"):
        small([f"node{i}" for i in range(50)]).remove_node("x" * 10**6)


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), 1e300, 1e-9, HUGE])
def test_weights_that_are_none_are_refused(weight):
    ring = small(["a"])
    for call in (
        lambda: ring.add_node("b", weight),
        lambda: ring.set_weight("a", weight),
        lambda: ring.update({"a": weight}),
        lambda: HashRing({"a": weight}),
    ):
        with pytest.raises(InvalidValue, match=r"^weight of '[ab]' must be >= 1e-06 and <= 1e\+06, got"):
            call()
    assert ring.weights == {"a": 1}


@pytest.mark.parametrize("weight", ["1", None, True, 1j])
def test_weight_is_a_number(weight):
    with pytest.raises(InvalidType, match=r"^weight of 'b' must be a number, got"):
        small(["a"]).add_node("b", weight)


@pytest.mark.parametrize("name", ["", "x" * 1025, "é" * 513])
def test_names_too_short_or_long_are_refused(name):
    with pytest.raises(InvalidValue, match=r"^name of a node must be 1 to 1024 bytes, got \d+ characters$"):
        small().add_node(name)


@pytest.mark.parametrize("nodes", ["abc", b"abc", 5, None])
def test_nodes_are_an_iterable_of_names(nodes):
    with pytest.raises(InvalidType, match=r"^nodes must be names, or a mapping of name to weight, got"):
        HashRing(nodes)
    with pytest.raises(InvalidType, match=r"^name of a node must be a str, got int$"):
        HashRing([1])


@pytest.mark.parametrize("vnodes", [0, -1, 1_000_001, HUGE])
def test_points_of_a_node_have_bounds(vnodes):
    with pytest.raises(InvalidValue, match=r"^vnodes must be >= 1 and <= 1000000, got"):
        HashRing(vnodes=vnodes)


class Rack(enum.StrEnum):
    NORTH = "north"
    __str__ = enum.Enum.__str__


class Longer(str):
    """A name that grows when it is written."""

    def __str__(self):
        return "x" * 20_000


def test_name_is_the_text_of_a_subclass_and_not_what_it_is_written_as():
    ring = HashRing([Rack.NORTH, Longer("south")])
    assert ring.nodes == ("north", "south")
    assert Rack.NORTH in ring
    assert {type(name) for name in ring.nodes} == {str}
    assert ring.points() == HashRing(["north", "south"]).points()


class Evasive(float):
    """A weight that says that it is in every range."""

    def __le__(self, other):
        return True

    def __ge__(self, other):
        return True

    def __float__(self):
        return float("nan")


def test_weight_is_what_it_is_as_a_float():
    with pytest.raises(InvalidValue, match=r"^weight of 'a' must be >= 1e-06"):
        HashRing({"a": Evasive(1)})


def test_points_of_a_ring_have_a_bound():
    with pytest.raises(
        InvalidValue, match=r"^points of a ring must be <= 16777216, got 160000000: fewer vnodes"
    ):
        HashRing({"a": 1e6})
    ring = small(["a"])
    with pytest.raises(InvalidValue, match="points of a ring"):
        ring.set_weight("a", 1e6)
    assert ring.weights == {"a": 1}


def test_update_is_one_change_of_all_nodes():
    ring = small(["a", "b"])
    ring.update({"b": 2, "c": 1})
    assert ring.snapshot() == small({"b": 2, "c": 1}).snapshot()
    ring.update(name for name in "xy")
    assert ring.nodes == ("x", "y")
    ring.update([])
    assert len(ring) == 0


@pytest.mark.parametrize("nodes", ["abc", b"abc", 5, None])
def test_update_takes_what_the_constructor_does(nodes):
    ring = small(["a"])
    with pytest.raises(InvalidType, match=r"^nodes must be names, or a mapping of name to weight, got"):
        ring.update(nodes)
    assert ring.nodes == ("a",)


def test_nodes_without_end_are_refused():
    ring = small(["a"])
    for call in (HashRing, ring.update):
        with pytest.raises(InvalidValue, match=r"^nodes must be <= 1000000, got more$"):
            call(itertools.repeat("a"))
    assert ring.nodes == ("a",)


def test_contains_and_iterates_over_names():
    ring = small(["b", "a"])
    assert "a" in ring
    assert "c" not in ring
    assert 1 not in ring
    assert list(ring) == ["a", "b"] == list(ring.snapshot())
    assert repr(ring) == "<HashRing of 2 nodes>"
    assert repr(ring.snapshot()) == "<FrozenRing of 2 nodes>"


# ---- hashes


def test_hash_may_be_a_callable():
    seen = []

    def hash(data):
        seen.append(data)
        return len(data) * 2**60 % 2**64

    ring = HashRing(["a", "bb"], vnodes=2, hash=hash)
    assert set(seen) == {b"a:replica_0", b"a:replica_1", b"bb:replica_0", b"bb:replica_1"}
    assert ring.get_node("x" * 12) == "bb"
    assert ring.get_many(["x" * 11, "x" * 12, "x" * 13]) == ["a", "bb", "a"]
    assert ring.hash.function is hash
    with pytest.raises(InvalidType, match=r"^hash must have a name to be written, got a callable$"):
        ring.to_bytes()
    ring.add_node("c")
    assert ring.snapshot() == FrozenRing(["c", "bb", "a"], vnodes=2, hash=hash)
    assert ring.snapshot() != FrozenRing(["c", "bb", "a"], vnodes=2, hash=lambda data: 1)


@pytest.mark.parametrize(("value", "error"), [(-1, InvalidValue), (2**64, InvalidValue), ("1", InvalidType)])
def test_callable_that_returns_no_hash_is_refused(value, error):
    with pytest.raises(error, match=r"^hash of b'a:replica_0' must be"):
        HashRing(["a"], hash=lambda data: value)
    answers = [1] * 160
    ring = HashRing(["a"], hash=lambda data: answers.pop() if answers else value)
    for call in (lambda: ring.get_node("key"), lambda: ring.get_many(["key"]), lambda: ring.add_node("b")):
        with pytest.raises(error, match=r"^hash of b?'"):
            call()
    assert ring.nodes == ("a",)


def test_callable_that_puts_all_in_one_place_gives_all_to_one_node():
    ring = small(["a", "b"], hash=lambda data: 5)
    assert ring.distribution() == {"a": 1, "b": 0}
    assert ring.get_many(KEYS[:9]) == ["a"] * 9
    assert list(ring.iter_nodes("key")) == ["a", "b"]


def test_hash_of_a_ring_is_named_and_not_passed_on():
    """As a callable it would be one of 64 bits, and put all hashes of 32 bits at the start of the circle."""
    with pytest.raises(InvalidType, match=r"^name must be the name of a hash or a callable, got a KeyHash"):
        HashRing(["a", "b"], hash=small(hash="md5-be32").hash)


def test_callable_may_use_the_ring_that_it_hashes_for():
    ring = HashRing(["a"], vnodes=2, hash=lambda data: len(data))

    def hash(data):
        ring.update([f"{len(ring)}"])
        return 5

    other = HashRing(["a", "b"], vnodes=3, hash=hash)
    other.add_node("c")
    assert other.nodes == ("a", "b", "c")


def test_change_inside_a_change_is_not_lost():
    changes = ["y"]

    def hash(data):
        if data.startswith(b"x") and changes:
            ring.add_node(changes.pop())
        return len(data)

    ring = HashRing(["a"], vnodes=2, hash=hash)
    ring.add_node("x")
    assert ring.nodes == ("a", "x", "y")


def test_unknown_hash_and_seed_out_of_range_are_refused():
    with pytest.raises(InvalidValue, match=r"^name must be one of xxh3_64, .*, got 'md4'$"):
        HashRing(hash="md4")
    with pytest.raises(InvalidValue, match=r"^seed of sha256-be64 must be 0"):
        HashRing(hash="sha256-be64", seed=1)
    with pytest.raises(InvalidValue, match=r"^seed of xxh3_64 must be"):
        HashRing(seed=2**64)


def test_seed_changes_the_ring():
    assert small(["a", "b"]).get_many(KEYS) != small(["a", "b"], seed=1).get_many(KEYS)
    assert small(["a", "b"]).points() != small(["a", "b"], seed=1).points()


# ---- ketama


def test_ketama_takes_no_weights_and_no_vnodes():
    with pytest.raises(InvalidValue, match=r"^weight of 'b' must be 1 with hash='ketama', got 2"):
        HashRing({"a": 1, "b": 2}, hash="ketama")
    for hash in ("ketama", "ketama-weighted"):
        with pytest.raises(InvalidValue, match=f"^vnodes must be left out with hash='{hash}', got 100$"):
            HashRing(["a"], hash=hash, vnodes=100)
    with pytest.raises(InvalidValue, match=r"must be a whole number with hash='ketama-weighted', got 1.5"):
        HashRing({"a": 1.5}, hash="ketama-weighted")


@given(st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(1, 9), max_size=8), st.data())
def test_weighted_ketama_changes_as_if_built_anew(nodes, data):
    ring = HashRing(hash="ketama-weighted")
    for name, weight in nodes.items():
        ring.add_node(name, weight)
    assert ring.points() == HashRing(nodes, hash="ketama-weighted").points()
    assume(nodes)
    gone = data.draw(st.sampled_from(sorted(nodes)))
    ring.remove_node(gone)
    rest = {name: weight for name, weight in nodes.items() if name != gone}
    assert ring.points() == HashRing(rest, hash="ketama-weighted").points()


def test_server_too_light_for_a_point_comes_last_and_gets_no_key():
    """As in libmemcached, whose weights such a ring has."""
    ring = HashRing({"10.0.0.1:7000": 1, "10.0.0.2:7000": 1e6, "10.0.0.3:7000": 1}, hash="ketama-weighted")
    assert {node for _, node in ring.points()} == {"10.0.0.2:7000"}
    assert list(ring.iter_nodes("key")) == ["10.0.0.2:7000", "10.0.0.1:7000", "10.0.0.3:7000"]
    assert ring.get_nodes("key", 2) == ["10.0.0.2:7000", "10.0.0.1:7000"]
    assert ring.distribution() == {"10.0.0.1:7000": 0, "10.0.0.2:7000": 1, "10.0.0.3:7000": 0}
    crowd = HashRing({"big:1": 1e6} | {f"small:{i}": 1 for i in range(40)}, hash="ketama-weighted")
    assert crowd.get_nodes("key", 41) == list(crowd.iter_nodes("key"))
    assert sorted(crowd.iter_nodes("key")) == list(crowd.nodes)


# ---- snapshots


@given(memberships, st.sampled_from([*NAMED, "ketama-weighted"]))
def test_snapshot_in_bytes_makes_an_equal_ring(nodes, hash):
    nodes = {name: 1 + int(weight) for name, weight in nodes.items()} if "ketama" in hash else nodes
    ring = HashRing(nodes, hash=hash, seed=3 if hash.startswith("xxh") else 0)
    data = ring.to_bytes()
    assert HashRing.from_bytes(data).points() == ring.points()
    assert FrozenRing.from_bytes(data) == ring.snapshot()
    assert FrozenRing.from_bytes(data).fingerprint() == ring.fingerprint()


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (FrozenRing, {"vnodes": 7}),
        (FrozenMaglev, {"table_size": 101}),
        (FrozenRendezvous, {}),
        (FrozenAnchor, {"capacity": 9}),
    ],
)
@pytest.mark.parametrize("nodes", [[], ["a", "b"]])
def test_frozen_placement_cannot_begin_again(cls, settings, nodes):
    frozen = cls(nodes, **settings)
    before = frozen.content()
    with pytest.raises(InvalidValue, match=r"^a frozen placement must be initialised once"):
        frozen.__init__(["x", "y", "z"], seed=1)
    assert (frozen.content(), frozen.nodes, frozen.hash.seed) == (before, tuple(nodes), 0)
    assert frozen == cls(nodes, **settings)


def test_settings_of_a_frozen_ring_cannot_be_changed():
    with pytest.raises(AttributeError):
        FrozenRing(["a"]).vnodes = 3


def test_snapshot_stays_as_it_is():
    ring = small(["a", "b"])
    snapshot = ring.snapshot()
    before = snapshot.get_many(KEYS)
    ring.update(["x", "y"])
    assert snapshot.get_many(KEYS) == before
    assert snapshot.nodes == ("a", "b")


@given(memberships, memberships)
def test_equal_members_are_equal_and_hash_alike(nodes, others):
    one, other = small(nodes).snapshot(), small(others).snapshot()
    assert (one == other) == (nodes == others)
    assert (one.fingerprint() == other.fingerprint()) == (nodes == others)
    assert hash(one) == hash(small(nodes).snapshot())
    assert one != small(nodes, seed=1).snapshot()
    assert one != FrozenRing(nodes, vnodes=21)
    assert one != nodes


def test_copies_and_pickles():
    for ring in (small({"a": 1, "b": 2}), HashRing(["a"], hash="ketama"), HashRing(["a", "b"], hash=length)):
        frozen = ring.snapshot()
        assert pickle.loads(pickle.dumps(frozen)) == frozen
        assert copy.copy(frozen) is copy.deepcopy(frozen) is frozen
        for twin in (pickle.loads(pickle.dumps(ring)), copy.copy(ring), copy.deepcopy(ring)):
            assert twin.snapshot() == frozen
            twin.add_node("c")
            assert "c" not in ring


def length(data):
    return len(data)


@given(st.data())
def test_damaged_snapshot_is_refused(data):
    whole = small({"a": 1, "b": 2}).to_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    for damaged in (whole[:at], bytes(changed), whole + b"x"):
        with pytest.raises(InvalidSnapshot):
            FrozenRing.from_bytes(damaged)


def test_snapshot_of_another_version_or_kind_says_so():
    whole = small(["a"]).to_bytes()
    with pytest.raises(InvalidSnapshot, match=r"^version of a snapshot must be 1, got 2$"):
        FrozenRing.from_bytes(whole[:4] + b"\x02" + whole[5:])
    with pytest.raises(InvalidSnapshot, match="must begin with b'PSHR' and a version, got b''"):
        FrozenRing.from_bytes(b"")
    with pytest.raises(InvalidType, match=r"^snapshot must be bytes, got str$"):
        FrozenRing.from_bytes("PSHR")


def test_forged_snapshot_is_checked_like_any_ring():
    from penstock.hashring.hash_ring import RingContent
    from penstock.hashring.snapshot import dumped

    def forged(nodes, vnodes=160, hash="xxh3_64", seed=0):
        return dumped("ring", RingContent(nodes, vnodes, hash, seed))

    assert FrozenRing.from_bytes(forged([("a", 1.0)])).nodes == ("a",)
    for content in (
        forged([("a", 1.0), ("a", 2.0)]),
        forged([("a", float("nan"))]),
        forged([("a", 1e6)]),
        forged([("", 1.0)]),
        forged([("a", 1.0)], vnodes=-1),
        forged([("a", 1.0)], hash="md4"),
        forged([("a", 1.0)], hash=5),
        forged([("a", 1.0)], hash=None),
        forged([("a", 1.0)], hash=[]),
        forged([("a", 1.0)], seed=-1),
        forged([("a", 1.0)], seed="1"),
        forged(5),
        forged([("a", 1.0, 2)]),
    ):
        with pytest.raises(InvalidSnapshot, match=r"^content of a snapshot must be"):
            FrozenRing.from_bytes(content)


def test_ring_begins_with_a_snapshot():
    frozen = FrozenRing(["a", "b"], vnodes=7)
    ring = HashRing.of(frozen)
    assert ring.snapshot() is frozen
    assert ring.vnodes == 7


# ---- threads


def test_every_answer_belongs_to_a_membership_that_existed():
    """Eight threads look keys up while nodes come and go; a batch is of one membership as a whole."""
    always = [f"always{i}" for i in range(5)]
    ring = small(always)
    keys = [f"key:{i}" for i in range(50)]
    coming = ["here", "there1", "there2"]
    extras = [extra for n in range(4) for extra in itertools.combinations(coming, n)]
    whole = {tuple(small(always + list(extra)).get_many(keys)) for extra in extras}
    possible = {key: set(nodes) for key, nodes in zip(keys, zip(*whole, strict=True), strict=True)}
    stop, wrong, answers = threading.Event(), [], Counter()

    def read(number):
        while not stop.is_set():
            for key in keys:
                node = ring.get_node(key)
                if node not in possible[key]:
                    wrong.append((key, node))
            batch = tuple(ring.get_many(keys))
            if batch not in whole:
                wrong.append(batch)
            replicas = ring.get_nodes("key:1", 3)
            if len(set(replicas)) != 3:
                wrong.append(replicas)
            answers[number] += 1

    readers = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for reader in readers:
        reader.start()
    until, changes = time.monotonic() + SECONDS, 0
    while time.monotonic() < until or (len(answers) < 8 and all(reader.is_alive() for reader in readers)):
        for name in coming:
            ring.add_node(name)
        for name in coming:
            ring.remove_node(name)
        changes += 6
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert changes > 5
    assert len(answers) == 8


def test_changes_from_many_threads_are_all_made():
    ring = small()

    def add(start):
        for i in range(25):
            ring.add_node(f"{start}-{i}")

    threads = [threading.Thread(target=add, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ring.snapshot() == small([f"{start}-{i}" for start in range(8) for i in range(25)]).snapshot()
