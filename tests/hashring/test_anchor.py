"""AnchorHash: both twins, keys that stay, and a state that travels."""

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring.anchor import AnchorHash, FrozenAnchor
from penstock.hashring.errors import DuplicateNode, EmptyRing, InvalidSnapshot, UnknownNode
from penstock.hashring.snapshot import dumped
from twins import load

MODULE = "penstock.hashring.anchor_buckets"
on_both_twins = pytest.mark.parametrize("impl", ["c", "py"])

HUGE = pytest.param(1 << 40_000, id="huge")
HUNDRED = [f"node-{i}" for i in range(100)]
KEYS = range(20_000)
keys = st.lists(
    st.text(st.characters(codec="utf-8")) | st.binary() | st.integers(-(2**63), 2**64 - 1), max_size=20
)
words = st.integers(0, 2**64 - 1)


@st.composite
def states(draw):
    """Capacity, the bucket of each node, and the buckets that were removed."""
    used = draw(st.permutations(range(draw(st.integers(1, 30)))))
    working = draw(st.integers(1, len(used)))
    return len(used) + draw(st.integers(0, 40)), used[:working], used[working:]


def arguments(impl, state, hash="xxh3_64"):
    capacity, buckets, removed = state
    nodes = tuple(f"node-{i:02}" for i in range(len(buckets)))
    return nodes, load("penstock.hashring.key_hash", impl)(hash), capacity, buckets, removed


def made(impl, *args, **options):
    return load(MODULE, impl)(*arguments(impl, *args, **options))


def placed(placement):
    return placement.get_many(KEYS)


@given(states(), keys)
def test_twins_agree_on_every_key(state, keys):
    compiled, plain = made("c", state), made("py", state)
    assert compiled.get_many(keys) == plain.get_many(keys) == [plain.get_node(key) for key in keys]
    for key in keys:
        assert list(compiled.iter_nodes(key)) == list(plain.iter_nodes(key))
        assert compiled.get_nodes(key, 3) == plain.get_nodes(key, 3)


@given(states(), st.lists(words, min_size=1, max_size=20))
def test_twins_agree_at_every_position(state, positions):
    where = np.array([0, 2**64 - 1, *positions], np.uint64)
    assert made("c", state).locate_many(where).tolist() == made("py", state).locate_many(where).tolist()


def test_placements_are_frozen():
    placement = AnchorHash(HUNDRED)
    some = ("user:alice", b"cart:456", 7, -7)
    assert [placement.get_node(key) for key in some] == ["node-5", "node-1", "node-72", "node-59"]
    for name in ("node-5", "node-50", "node-17"):
        placement.remove_node(name)
    placement.add_node("new")
    assert [placement.get_node(key) for key in some] == ["node-93", "node-1", "node-72", "node-59"]
    assert placement.get_nodes("user:alice", 4) == ["node-93", "node-39", "node-0", "node-27"]


# ---- what moves


@given(states(), st.data())
def test_keys_of_a_removed_node_move_and_no_others(state, data):
    before = FrozenAnchor.from_bytes(snapshot_of(state))
    name = data.draw(st.sampled_from(before.nodes))
    after = before.without_node(name)
    for key in range(100) if after.nodes else ():
        order = before.get_nodes(key, 2)
        assert after.get_node(key) == (order[1] if order[0] == name else order[0])


@given(states())
def test_added_node_gets_all_that_moves(state):
    before = FrozenAnchor.from_bytes(snapshot_of((state[0] + 1, *state[1:])))
    after = before.with_node("new")
    for key in range(100):
        assert after.get_node(key) in {before.get_node(key), "new"}


@given(states(), st.data())
def test_nodes_that_are_added_take_the_places_of_those_removed_last(state, data):
    before = FrozenAnchor.from_bytes(snapshot_of(state))
    leaving = data.draw(st.permutations(before.nodes))[: data.draw(st.integers(0, len(before) - 1))]
    after = before
    for name in leaving:
        after = after.without_node(name)
    for name in reversed(leaving):
        after = after.with_node(f"new-{name}")
    for key in range(100):
        order = [f"new-{name}" if name in leaving else name for name in before.iter_nodes(key)]
        assert list(after.iter_nodes(key)) == order


@given(states())
def test_order_of_preference_is_that_of_failing_over(state):
    placement = FrozenAnchor.from_bytes(snapshot_of(state))
    order = list(placement.iter_nodes("key"))
    assert sorted(order) == list(placement.nodes)
    for name in order:
        assert placement.get_node("key") == name
        placement = placement.without_node(name)


def snapshot_of(state):
    capacity, buckets, removed = state
    nodes = [(f"node-{i:02}", bucket) for i, bucket in enumerate(buckets)]
    return dumped("anchor", FrozenAnchor.content_type(nodes, removed, capacity, "xxh3_64", 0))


def test_shares_are_even_and_stay_so():
    placement = AnchorHash(HUNDRED)
    for leaving, most in ([], 148.2), (HUNDRED[::2], 85.4), (HUNDRED[1:81:2], 27.9):  # 1 in 1000 is beyond
        for name in leaving:
            placement.remove_node(name)
        counts, expected = Counter(placed(placement)), len(KEYS) / len(placement)
        assert sum((counts[name] - expected) ** 2 / expected for name in placement.nodes) < most


def test_keys_of_a_removed_node_go_evenly_to_the_others():
    placement = AnchorHash(HUNDRED[:5])
    before = placed(placement)
    placement.remove_node("node-2")
    moved = Counter(new for old, new in zip(before, placed(placement), strict=True) if old == "node-2")
    expected = before.count("node-2") / 4
    assert sum((count - expected) ** 2 / expected for count in moved.values()) < 16.3  # 3 degrees of freedom


def test_update_keeps_the_keys_of_the_nodes_that_stay():
    placement = AnchorHash(["a", "b", "c", "d"])
    before = placed(placement)
    placement.update(["b", "d", "x", "y"])
    names = {"a": "x", "c": "y"}
    assert placed(placement) == [names.get(node, node) for node in before]
    placement.update([])
    assert placement.nodes == ()
    placement.update(["a", "b", "c", "d"])
    assert placement.snapshot() != FrozenAnchor(["a", "b", "c", "d"])  # it remembers in which order they left


# ---- what is refused


def test_refused_changes_change_nothing():
    placement = AnchorHash(["a", "b"], capacity=2)
    before = placement.snapshot()
    with pytest.raises(InvalidValue, match=r"^nodes must be <= capacity, which is 2, got 3$"):
        placement.add_node("c")
    with pytest.raises(DuplicateNode, match=r"^name of a node must be new, got 'a' again$"):
        placement.add_node("a")
    with pytest.raises(UnknownNode, match=r"^name of a node must be one of 'a', 'b', got 'c'$"):
        placement.remove_node("c")
    with pytest.raises(UnknownNode):
        placement.set_weight("c", 1)
    with pytest.raises(InvalidValue, match=r"^weight of 'a' must be 1 in an AnchorHash, got 2$"):
        placement.set_weight("a", 2)
    with pytest.raises(InvalidValue, match=r"^weight of 'c' must be 1 in an AnchorHash, got 0.5$"):
        placement.add_node("c", 0.5)
    with pytest.raises(InvalidValue, match=r"^weight of 'b' must be 1 in an AnchorHash, got 2.0$"):
        placement.update({"a": 1, "b": 2})
    placement.set_weight("a", 1.0)
    assert placement.snapshot() is before


@pytest.mark.parametrize("capacity", [0, -1, 2**24 + 1, HUGE])
def test_capacity_out_of_range_is_refused(capacity):
    with pytest.raises(InvalidValue, match=r"^capacity must be >= 1 and <= 16777216 nodes, got ") as caught:
        AnchorHash(["a"], capacity=capacity)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("capacity", [128.0, "128", True])
def test_capacity_that_is_no_int_is_refused(capacity):
    with pytest.raises(InvalidType, match=rf"^capacity must be an int, got {type(capacity).__name__}$"):
        AnchorHash(["a"], capacity=capacity)


def test_capacity_is_four_times_the_nodes_or_more_unless_it_is_said():
    assert [AnchorHash(HUNDRED[:n]).capacity for n in (0, 32, 33, 100)] == [128, 128, 256, 512]
    assert AnchorHash(HUNDRED, capacity=100).capacity == 100


@on_both_twins
@pytest.mark.parametrize(
    ("buckets", "removed"),
    [
        ([0], []),
        ([0, 0], []),
        ([0, 2], []),
        ([0, 1], [1]),
        ([0, -1], [1]),
        ([0, 1.0], []),
        ([0, 4], [1, 2, 3]),
    ],
)
def test_buckets_that_cannot_be_are_refused(impl, buckets, removed):
    nodes, key_hash, *_ = arguments(impl, (4, [0, 1], []))
    with pytest.raises(InvalidValue, match=r"^buckets "):
        load(MODULE, impl)(nodes, key_hash, 4, buckets, removed)


@on_both_twins
def test_placement_is_initialised_once(impl):
    placement = made(impl, (1, [0], []))
    with pytest.raises(
        InvalidValue, match=r"^a frozen placement must be initialised once, got a second time$"
    ):
        placement.__init__(*arguments(impl, (9, [1, 0], [])))
    assert (placement.nodes, placement.capacity, placement.get_node("key")) == (("node-00",), 1, "node-00")


def test_without_nodes_no_key_has_one():
    placement = AnchorHash(["a"])
    placement.remove_node("a")
    with pytest.raises(EmptyRing, match=r"^Ring has no nodes$"):
        placement.get_node("key")
    placement.add_node("b")
    assert placement.get_nodes("key", 5) == ["b"]


# ---- the same elsewhere


def with_a_past():
    placement = AnchorHash(HUNDRED[:10], capacity=40, seed=3)
    for name in ("node-3", "node-7", "node-1"):
        placement.remove_node(name)
    placement.add_node("new")
    return placement


def test_state_travels_with_all_that_went_before():
    placement = with_a_past()
    frozen = placement.snapshot()
    for same in (
        FrozenAnchor.from_bytes(placement.to_bytes()),
        AnchorHash.from_bytes(placement.to_bytes()).snapshot(),
        pickle.loads(pickle.dumps(frozen)),
        pickle.loads(pickle.dumps(placement)).snapshot(),
        copy.deepcopy(frozen),
        with_a_past().snapshot(),
    ):
        assert same == frozen
        assert hash(same) == hash(frozen)
        assert same.fingerprint() == frozen.fingerprint()
        assert placed(same) == placed(frozen)
        assert placed(same.with_node("next")) == placed(frozen.with_node("next"))


def test_same_nodes_with_another_past_are_not_equal():
    one, other = AnchorHash(HUNDRED[:10]), AnchorHash(HUNDRED[:10])
    for name in ("node-3", "node-7"):
        one.remove_node(name)
    for name in ("node-7", "node-3"):
        other.remove_node(name)
    assert one.nodes == other.nodes
    assert one.snapshot() != other.snapshot()
    assert one.fingerprint() != other.fingerprint()


def test_last_bucket_that_is_left_is_as_if_it_had_never_been_used():
    placement = AnchorHash(["a", "b", "c", "d"])
    placement.remove_node("d")
    placement.remove_node("c")
    assert placement.snapshot() == FrozenAnchor(["a", "b"])
    assert placed(placement) == placed(FrozenAnchor(["a", "b"]))


@pytest.mark.parametrize(
    ("nodes", "removed", "capacity"),
    [
        ([("a", 0), ("a", 1)], [], 8),
        ([("a", 0), ("b", 0)], [], 8),
        ([("a", 0), ("b", 1)], [7], 8),
        ([("a", 0), ("b", 2)], [1], 2),
        ([("", 0)], [], 8),
        ([("a", 0)], [], 2**40),
    ],
)
def test_snapshot_of_what_cannot_be_is_refused(nodes, removed, capacity):
    content = FrozenAnchor.content_type(nodes, removed, capacity, "xxh3_64", 0)
    with pytest.raises(InvalidValue):
        FrozenAnchor.from_bytes(dumped("anchor", content))


def test_snapshot_of_another_shape_is_refused():
    content = [[["a", "0"]], [], 8, "xxh3_64", 0]
    with pytest.raises(InvalidSnapshot, match=r"^content of a snapshot must be that of its kind: "):
        FrozenAnchor.from_bytes(dumped("anchor", content))
