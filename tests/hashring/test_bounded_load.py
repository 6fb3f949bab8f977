"""The ring with bounded loads: nobody carries more than its bound, and keys go no further than they must."""

import copy
import pickle
import threading
from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring import BoundedLoadRing, EmptyRing, HashRing, UnknownNode

NODES = ["a", "b", "c", "d"]


def bound(factor, total, weight, whole):
    """The most that a node may carry of `total`, rounded up; exact but for the floats themselves."""
    return ceil(total * (factor * weight / whole))


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([0.5, 1.0, 2.0, 5.0]), min_size=1),
    st.sampled_from([1.001, 1.1, 1.25, 2.0, 10.0]),
    st.lists(st.integers(0, 5), max_size=150),
)
def test_no_node_carries_more_than_its_bound(weights, factor, keys):
    ring = BoundedLoadRing(weights, factor=factor, vnodes=10)
    carried = Counter()
    for total, key in enumerate(keys, start=1):
        node = ring.acquire(key)
        carried[node] += 1
        assert carried[node] <= bound(factor, total, weights[node], sum(weights.values()))
    assert ring.loads() == {name: carried[name] for name in weights}


@given(st.lists(st.integers(0, 5), max_size=100))
def test_key_goes_to_the_first_node_with_room_in_its_order(keys):
    ring = BoundedLoadRing(NODES, vnodes=10)
    for key in keys:
        loads, capacity = ring.loads(), {name: ring.capacity(name) for name in NODES}
        expected = next(node for node in ring.iter_nodes(key) if loads[node] < capacity[node])
        assert ring.acquire(key) == expected


def test_one_hot_key_spreads_over_as_few_nodes_as_can_carry_it():
    ring = BoundedLoadRing(NODES)
    carried = Counter(ring.acquire_many(["hot"] * 1000))
    first, second, third, fourth = (carried[node] for node in ring.iter_nodes("hot"))
    assert 313 >= first >= second >= third >= 312 > fourth > 0
    assert ring.loads()[ring.get_node("hot")] == first


def test_without_load_keys_go_where_the_ring_says():
    ring, plain = BoundedLoadRing(NODES), HashRing(NODES)
    for i in range(500):
        node = ring.acquire(f"key:{i}")
        assert node == plain.get_node(f"key:{i}") == ring.get_node(f"key:{i}")
        ring.release(node)
    assert ring.loads() == dict.fromkeys(NODES, 0)


class Membership(RuleBasedStateMachine):
    """Nodes come and go while they carry something."""

    held = Bundle("held")

    def __init__(self):
        super().__init__()
        self.ring = BoundedLoadRing(["a"], vnodes=5, factor=1.5)
        self.weights = {"a": 1.0}
        self.carried = Counter()

    @rule(target=held, key=st.integers(0, 9))
    def acquire(self, key):
        if not self.weights:
            with pytest.raises(EmptyRing):
                self.ring.acquire(key)
            return None
        node = self.ring.acquire(key)
        self.carried[node] += 1
        total = sum(self.carried[name] for name in self.weights)
        assert self.carried[node] <= bound(1.5, total, self.weights[node], sum(self.weights.values()))
        return node

    @rule(node=consumes(held))
    def release(self, node):
        if node is not None:
            self.ring.release(node)
            self.carried[node] -= 1

    @rule(name=st.sampled_from("abcd"), weight=st.sampled_from([0.5, 1.0, 3.0]))
    def change(self, name, weight):
        if name not in self.weights:
            self.ring.add_node(name, weight)
        else:
            self.ring.set_weight(name, weight)
        self.weights[name] = weight

    @rule(name=st.sampled_from("abcd"))
    def remove(self, name):
        if self.weights.pop(name, None):
            self.ring.remove_node(name)

    @invariant()
    def loads_are_what_was_acquired(self):
        expected = {name: self.carried[name] for name in self.weights}
        assert self.ring.loads() == expected | {name: n for name, n in self.carried.items() if n}


TestMembership = Membership.TestCase


def test_release_of_what_carries_nothing_is_refused():
    ring = BoundedLoadRing(NODES)
    node = ring.acquire("key")
    ring.release(node)
    for name in (node, "x"):
        with pytest.raises(InvalidValue, match=r"^node must carry something to be released, got '[abcdx]'$"):
            ring.release(name)


def test_batch_that_fails_carries_nothing():
    ring = BoundedLoadRing(NODES)
    ring.acquire("key")
    before = ring.loads()
    for keys in (["a", "b", 1.5], "key", 5):
        with pytest.raises(InvalidType):
            ring.acquire_many(keys)
    assert ring.loads() == before


def test_destructor_may_release_while_the_ring_counts():
    """As one that runs in the middle of any call: here, when a weight is asked for."""
    ring = BoundedLoadRing(NODES)
    held = [ring.acquire("key") for _ in range(3)]
    with ring._lock:
        ring.release(held.pop())
    assert sum(ring.loads().values()) == 2
    assert type(ring.loads()) is dict


def test_capacity_of_an_unknown_node_is_refused():
    with pytest.raises(UnknownNode, match="must be one of 'a', 'b', 'c', 'd', got 'x'"):
        BoundedLoadRing(NODES).capacity("x")


@pytest.mark.parametrize("factor", [1, 0, -1, float("nan"), float("inf"), 1000.5])
def test_factor_has_bounds(factor):
    with pytest.raises(InvalidValue, match=r"^factor must be >= 1\.001 and <= 1000, got"):
        BoundedLoadRing(NODES, factor=factor)


@pytest.mark.parametrize("factor", ["1.25", None, True])
def test_factor_is_a_number(factor):
    with pytest.raises(InvalidType, match=r"^factor must be a number, got"):
        BoundedLoadRing(NODES, factor=factor)


def test_copy_begins_with_nothing_carried():
    ring = BoundedLoadRing({"a": 1, "b": 2}, factor=1.5)
    ring.acquire("key")
    for twin in (pickle.loads(pickle.dumps(ring)), copy.copy(ring), copy.deepcopy(ring)):
        assert type(twin) is BoundedLoadRing
        assert (twin.snapshot(), twin.factor, twin.loads()) == (ring.snapshot(), 1.5, {"a": 0, "b": 0})


def test_threads_together_keep_the_bound():
    ring = BoundedLoadRing(NODES)

    def work():
        for i in range(300):
            node = ring.acquire(i % 3)
            if i % 2:
                ring.release(node)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loads = ring.loads()
    assert sum(loads.values()) == 8 * 150
    for load in loads.values():
        assert load <= ceil(1.25 * (8 * 150 + 8) / 4)  # 8 more were there at most, when it was taken
