"""Rendezvous hashing: both twins, exact shares, and keys that stay."""

import copy
import math
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring._mix_py import mix64
from penstock.hashring._rendezvous_bids_py import ln_inverse
from penstock.hashring.errors import DuplicateNode, EmptyRing, UnknownNode
from penstock.hashring.key_hash import KeyHash
from penstock.hashring.rendezvous import FrozenRendezvous, RendezvousHash
from twins import load

MODULE = "penstock.hashring.rendezvous_bids"
on_both_twins = pytest.mark.parametrize("impl", ["c", "py"])

HUNDRED = [f"node-{i}" for i in range(100)]
KEYS = range(20_000)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
weights = st.sampled_from([1.0, 2.0]) | st.floats(1e-6, 1e6)
memberships = st.dictionaries(names, weights, min_size=1, max_size=20)
keys = st.lists(
    st.text(st.characters(codec="utf-8")) | st.binary() | st.integers(-(2**63), 2**64 - 1), max_size=20
)
words = st.integers(0, 2**64 - 1)


def arguments(impl, nodes, hash="xxh3_64"):
    nodes = dict(sorted(nodes.items()))
    return tuple(nodes), load("penstock.hashring.key_hash", impl)(hash), list(nodes.values())


def made(impl, *args, **options):
    return load(MODULE, impl)(*arguments(impl, *args, **options))


def placed(placement):
    return placement.get_many(KEYS)


def chi_square(found, shares):
    counts, total = Counter(found), sum(shares.values())
    expected = {name: len(found) * share / total for name, share in shares.items()}
    return sum((counts[name] - expected[name]) ** 2 / expected[name] for name in shares)


@given(memberships, keys)
def test_twins_agree_on_every_key(nodes, keys):
    compiled, plain = made("c", nodes), made("py", nodes)
    assert compiled.get_many(keys) == plain.get_many(keys) == [plain.get_node(key) for key in keys]
    for key in keys:
        assert list(compiled.iter_nodes(key)) == list(plain.iter_nodes(key))
        assert compiled.get_nodes(key, 3) == plain.get_nodes(key, 3)


@given(memberships, st.lists(words, min_size=1, max_size=20))
def test_twins_agree_at_every_position(nodes, positions):
    where = np.array([0, 2**64 - 1, *positions], np.uint64)
    assert made("c", nodes).locate_many(where).tolist() == made("py", nodes).locate_many(where).tolist()


@given(memberships, words)
def test_bids_are_as_defined(nodes, position):
    """With the logarithm of the platform, which is as good as exact: bids are hardly ever so near."""
    placement = made("c", nodes, hash=lambda _: position)
    draws = {name: mix64(position ^ KeyHash()(name)) for name in nodes}
    arrivals = {name: -math.log((2 * (draws[name] >> 16) + 1) / 2**49) / nodes[name] for name in nodes}
    assert list(placement.iter_nodes("any")) == sorted(
        nodes, key=lambda name: (arrivals[name], -draws[name], name)
    )


def test_placements_are_frozen():
    even, uneven = (
        RendezvousHash(HUNDRED),
        RendezvousHash({name: 1 + i / 10 for i, name in enumerate(HUNDRED)}),
    )
    some = ("user:alice", b"cart:456", 7, -7)
    assert [even.get_node(key) for key in some] == ["node-97", "node-92", "node-3", "node-85"]
    assert [uneven.get_node(key) for key in some] == ["node-97", "node-92", "node-97", "node-85"]
    assert uneven.get_nodes("user:alice", 4) == ["node-97", "node-68", "node-80", "node-52"]


# ---- the logarithm


@given(words)
def test_logarithm_is_right_to_a_few_bits(draw):
    exact = -math.log((2 * (draw >> 16) + 1) / 2**49)
    assert abs(ln_inverse(draw) - exact) <= exact * 2**-50


@given(st.sampled_from([1, 0.5**0.5, 0.5, 0.5**1.5, 0.25, 0.125]), st.integers(1, 2**17))
def test_logarithm_never_rises_with_the_draw(edge, below):
    top = int(edge * 2**48) - below
    assert ln_inverse(top << 16) < ln_inverse((top - 1) << 16)
    assert ln_inverse(top << 16) == ln_inverse((top << 16) + 0xFFFF)


@pytest.mark.parametrize(
    ("draw", "logarithm"),
    [  # the same values are in tests/csrc/fuzz_rendezvous_bids.c
        (0, "0x1.0fb6b4b37945bp+5"),
        (1 << 16, "0x1.06ecbf7622c43p+5"),
        (0x0123456789ABCDEF, "0x1.5aa16394d4931p+2"),
        (1 << 63, "0x1.62e42fefa39cfp-1"),
        (0xB504F333F9DE6484, "0x1.62e42fefa39e6p-2"),
        (0xFEDCBA9876543210, "0x1.23eb9913549c7p-8"),
        (2**64 - 1, "0x1.0000000000004p-49"),
    ],
)
def test_logarithm_is_frozen_to_the_last_bit(draw, logarithm):
    assert ln_inverse(draw).hex() == logarithm


# ---- shares


def test_equal_nodes_get_equal_shares():
    assert (
        chi_square(placed(RendezvousHash(HUNDRED[:10])), dict.fromkeys(HUNDRED[:10], 1)) < 27.9
    )  # 1 in 1000


@pytest.mark.parametrize("weights", [(1, 2, 3, 4), (0.1, 0.1, 0.25, 7.5), (1e-6, 1e-6, 1e-6, 3e-6)])
def test_shares_are_those_of_the_weights(weights):
    shares = dict(zip("abcd", weights, strict=True))
    assert chi_square(placed(RendezvousHash(shares)), shares) < 16.3  # 3 degrees of freedom, 1 in 1000


def test_second_choice_is_by_weight_among_the_others():
    placement = FrozenRendezvous({"a": 1, "b": 2, "c": 3, "d": 4})
    pairs = [placement.get_nodes(key, 2) for key in KEYS]
    second = [then for first, then in pairs if first == "d"]
    assert chi_square(second, {"a": 1, "b": 2, "c": 3}) < 13.8  # 2 degrees of freedom, 1 in 1000


# ---- what moves


@given(memberships, names, weights)
def test_new_node_gets_all_that_moves(nodes, name, weight):
    assume(name not in nodes)
    before = FrozenRendezvous(nodes)
    after = before.with_node(name, weight)
    for key in range(100):
        assert after.get_node(key) in {before.get_node(key), name}
        assert [node for node in after.iter_nodes(key) if node != name] == list(before.iter_nodes(key))


@given(memberships.filter(lambda nodes: len(nodes) > 1), st.data())
def test_removed_node_loses_its_keys_to_the_next_in_order(nodes, data):
    name = data.draw(st.sampled_from(sorted(nodes)))
    before = FrozenRendezvous(nodes)
    after = before.without_node(name)
    for key in range(100):
        order = list(before.iter_nodes(key))
        assert list(after.iter_nodes(key)) == [node for node in order if node != name]


@given(memberships, st.data(), weights)
def test_higher_weight_only_draws_keys_to_its_node(nodes, data, weight):
    name = data.draw(st.sampled_from(sorted(nodes)))
    low, high = sorted([nodes[name], weight])
    lighter, heavier = FrozenRendezvous({**nodes, name: low}), FrozenRendezvous({**nodes, name: high})
    for key in range(100):
        assert heavier.get_node(key) in {lighter.get_node(key), name}


def test_node_that_is_added_and_removed_leaves_no_trace():
    placement = RendezvousHash(HUNDRED)
    before = placed(placement)
    placement.add_node("new", 3.5)
    assert placed(placement).count("new") > 500
    placement.remove_node("new")
    assert placed(placement) == before
    assert placement.snapshot() == FrozenRendezvous(HUNDRED)


def test_refused_changes_change_nothing():
    placement = RendezvousHash({"a": 1, "b": 2})
    before = placement.snapshot()
    with pytest.raises(DuplicateNode, match=r"^name of a node must be new, got 'a' again$"):
        placement.add_node("a")
    with pytest.raises(UnknownNode, match=r"^name of a node must be one of 'a', 'b', got 'c'$"):
        placement.remove_node("c")
    with pytest.raises(UnknownNode):
        placement.set_weight("c", 1)
    for weight in (0, -1.0, math.nan, math.inf, 1 << 40_000):
        with pytest.raises(InvalidValue, match=r"^weight of 'a' must be >= 1e-06 and <= 1e\+06, got "):
            placement.set_weight("a", weight)
    with pytest.raises(InvalidType, match=r"^weight of 'a' must be a number, got str$"):
        placement.set_weight("a", "1")
    assert placement.snapshot() is before


def test_nobody_bids_when_there_are_no_nodes():
    placement = RendezvousHash()
    with pytest.raises(EmptyRing, match=r"^Ring has no nodes$"):
        placement.get_node("key")
    placement.add_node("a", 0.5)
    assert placement.get_nodes("key", 5) == ["a"]


@on_both_twins
@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, math.nan], [1.0, math.inf], [1.0, 1.0, 1.0]])
def test_weights_that_are_not_those_of_the_nodes_are_refused(impl, weights):
    nodes, key_hash, _ = arguments(impl, {"a": 1, "b": 1})
    with pytest.raises(InvalidValue, match=r"^weights must be > 0, one for each of 2 nodes, got \["):
        load(MODULE, impl)(nodes, key_hash, weights)


@on_both_twins
def test_placement_is_initialised_once(impl):
    placement = made(impl, {"a": 1})
    with pytest.raises(
        InvalidValue, match=r"^a frozen placement must be initialised once, got a second time$"
    ):
        placement.__init__(*arguments(impl, {"a": 1, "b": 1}))
    assert (placement.nodes, placement.get_node("key")) == (("a",), "a")


def test_equal_members_are_equal_wherever_they_are():
    placement = RendezvousHash({"a": 1, "b": 2.5}, seed=7)
    frozen = placement.snapshot()
    for same in (
        FrozenRendezvous.from_bytes(placement.to_bytes()),
        RendezvousHash.from_bytes(placement.to_bytes()).snapshot(),
        pickle.loads(pickle.dumps(frozen)),
        pickle.loads(pickle.dumps(placement)).snapshot(),
        copy.deepcopy(frozen),
        FrozenRendezvous({"b": 2.5, "a": 1}, seed=7),
    ):
        assert same == frozen
        assert hash(same) == hash(frozen)
        assert same.fingerprint() == frozen.fingerprint()
        assert placed(same) == placed(frozen)
    assert frozen != FrozenRendezvous({"a": 1, "b": 2.5})
    assert frozen != FrozenRendezvous({"a": 1, "b": 2}, seed=7)
