"""The points of a ring: both twins against each other and against the definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring.errors import EmptyRing
from twins import both_twins, load

RingPoints = both_twins("penstock.hashring.ring_points")
SCHEMES = ("replicas", "ketama", "ketama-weighted")
names = st.lists(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), unique=True, max_size=30
).map(sorted)
keys = st.lists(
    st.text(st.characters(codec="utf-8")) | st.binary() | st.integers(-(2**63), 2**64 - 1), max_size=30
)


def made(impl, nodes, scheme="replicas", counts=None, hash="xxh3_64"):
    key_hash = load("penstock.hashring.key_hash", impl)(hash)
    counts = [4 * (1 + i % 3) for i in range(len(nodes))] if counts is None else counts
    return load("penstock.hashring.ring_points", impl)(tuple(nodes), key_hash, scheme, counts)


def both(*args, **options):
    return made("c", *args, **options), made("py", *args, **options)


def lookups(ring, keys):
    return (
        [ring.get_node(key) for key in keys],
        ring.get_many(keys),
        [ring.get_nodes(key, 3) for key in keys],
        [list(ring.iter_nodes(key)) for key in keys],
    )


def require_same(compiled, plain, keys):
    for one, other in zip(compiled._arrays(), plain._arrays(), strict=True):
        assert one.tolist() == other.tolist()
    if compiled.nodes:
        assert lookups(compiled, keys) == lookups(plain, keys)
        where = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
        assert compiled.locate_many(where).tolist() == plain.locate_many(where).tolist()


@given(names, keys, st.sampled_from(SCHEMES))
def test_twins_agree_on_every_point_and_key(nodes, keys, scheme):
    require_same(*both(nodes, scheme), keys)


@given(names, keys, st.sampled_from(["xxh64", "murmur3_32", "sha256-be64", "murmur2", "crc16"]))
def test_twins_agree_for_every_hash(nodes, keys, hash):
    require_same(*both(nodes, hash=hash), keys)


@given(names.filter(len), st.data(), keys, st.sampled_from(SCHEMES))
def test_one_node_more_or_less_is_the_same_as_a_new_ring(nodes, data, keys, scheme):
    at = data.draw(st.integers(0, len(nodes) - 1))
    others = nodes[:at] + nodes[at + 1 :]
    counts = [4 * data.draw(st.integers(1, 5)) for _ in nodes]
    rest = counts[:at] + counts[at + 1 :]
    for impl in ("c", "py"):
        whole, less = made(impl, nodes, scheme, counts), made(impl, others, scheme, rest)
        if others:
            grown = type(whole).__new__(type(whole))
            grown._begin_with(less, tuple(nodes), at, scheme, counts[at])
            require_same(grown, whole, keys)
            shrunk = type(whole).__new__(type(whole))
            shrunk._begin_without(whole, tuple(others), at)
            require_same(shrunk, less, keys)


@given(names.filter(len), st.text(st.characters(codec="utf-8")))
def test_key_belongs_to_the_first_point_not_below_its_hash(nodes, key):
    for ring in both(nodes):
        points, owners = ring._arrays()
        position = ring.hash.position(key)
        following = [(point - position) % 2**64 for point in points.tolist()]
        assert ring.get_node(key) == nodes[owners[following.index(min(following))]]


def test_equal_points_belong_to_the_name_that_sorts_first():
    for ring in both(["a", "b", "c"], hash=lambda data: 7):
        assert ring.get_many(["x", "y"]) == ["a", "a"]
        assert ring.get_nodes("x", 3) == ["a", "b", "c"]


def test_crowded_points_are_found_too():
    def crowded(data):
        return int.from_bytes(data[-2:].ljust(2, b"0"), "big")

    compiled, plain = both([f"node{i}" for i in range(100)], counts=[40] * 100, hash=crowded)
    require_same(compiled, plain, [bytes([i, j]) for i in range(0, 256, 5) for j in range(0, 256, 7)])


def test_ring_without_nodes_says_so(RingPoints):
    ring = RingPoints(
        (), made("py", []).hash if "py" in RingPoints.__module__ else made("c", []).hash, "replicas", []
    )
    assert len(ring) == 0
    for call in (
        lambda: ring.get_node("a"),
        lambda: ring.get_nodes("a", 1),
        lambda: ring.iter_nodes("a"),
        lambda: ring.get_many(["a"]),
        lambda: ring.get_many(np.array([1])),
        lambda: ring.locate_many(np.array([1], np.uint64)),
    ):
        with pytest.raises(EmptyRing, match=r"^Ring has no nodes$"):
            call()


def test_too_many_points_are_refused_before_they_are_made(RingPoints):
    hash = made("py" if "py" in RingPoints.__module__ else "c", []).hash
    with pytest.raises(InvalidValue, match=r"^points of a ring must be <= 16777216, got 20000000"):
        RingPoints(("a", "b"), hash, "replicas", [10_000_000, 10_000_000])
    with pytest.raises(InvalidValue, match="counts must be one for each of 2 nodes, got 1"):
        RingPoints(("a", "b"), hash, "replicas", [1])
    for counts in ([0, 0], [5, -1]):
        with pytest.raises(InvalidValue, match=r"^counts must be >= 0, and some above, got \["):
            RingPoints(("a", "b"), hash, "replicas", counts)


def test_positions_are_those_that_a_kernel_can_read(RingPoints):
    ring = made("py" if "py" in RingPoints.__module__ else "c", ["a", "b"])
    for positions, message in (
        ([1], r"must be a numpy array, got list"),
        (np.array([1]), r"must be \(n,\) uint64, got \(1,\) int64"),
        (np.array([1], ">u8"), r"must be \(n,\) uint64, got \(1,\) >u8"),
        (np.zeros((1, 2), np.uint64), r"must be \(n,\) uint64, got \(1, 2\) uint64"),
        (np.zeros(4, np.uint64)[::2], "must be contiguous and aligned"),
        (np.frombuffer(bytearray(9), np.uint64, offset=1), "must be contiguous and aligned"),
    ):
        with pytest.raises(InvalidType, match=f"^positions {message}"):
            ring.locate_many(positions)


def test_node_without_points_comes_last(RingPoints):
    impl = "py" if "py" in RingPoints.__module__ else "c"
    ring = made(impl, [f"n{i:02}" for i in range(40)], counts=[i % 2 for i in range(40)])
    order = ring.get_nodes("key", 40)
    assert sorted(order[:20]) == [f"n{i:02}" for i in range(1, 40, 2)]
    assert order[20:] == [f"n{i:02}" for i in range(0, 40, 2)]
    assert list(ring.iter_nodes("key")) == order


def test_frozen_ring_is_initialised_once(RingPoints):
    ring = made("py" if "py" in RingPoints.__module__ else "c", ["a", "b"])
    with pytest.raises(InvalidValue, match="must be initialised once"):
        ring.__init__(("c",), ring.hash, "replicas", [1])
    with pytest.raises(InvalidValue, match="must be initialised once"):
        ring._begin_without(ring, ("b",), 0)
    assert ring.nodes == ("a", "b")
