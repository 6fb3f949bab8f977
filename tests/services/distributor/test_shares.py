"""Shares: the contract's clauses on who gets what, and keys that stay where they are."""

import json
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.services.distributor.config import AnalyzerConfig, GroupConfig
from penstock.services.distributor.shares import NEVER_OVERLOADED, Shares

WEIGHTS = {"a1": 0.4, "a2": 0.3, "a3": 0.2, "a4": 0.1}
WEIGHTED, STICKY = GroupConfig("g"), GroupConfig("g", balance="sticky")


def analyzers(weights, **tiers):
    return [
        AnalyzerConfig(id_, "http://h/", weight, tier=tiers.get(id_, 0)) for id_, weight in weights.items()
    ]


def nothing_waits(id_):
    return 0


def shares_of(weights=WEIGHTS, group=WEIGHTED, load=nothing_waits, **tiers):
    return Shares(analyzers(weights, **tiers), group, load)


@pytest.fixture
def shares():
    return shares_of()


integers = st.integers(1, 50) | st.sampled_from([1, 100, 1000])
weight_sets = st.dictionaries(st.sampled_from([f"a{n}" for n in range(8)]), integers, min_size=1)


class Fluid:
    """What everybody is owed, in exact fractions: the promise, written down once more."""

    def __init__(self, weights):
        self.weights = {id_: Fraction(weight) for id_, weight in weights.items()}
        self.owed = dict.fromkeys(weights, Fraction())

    def deal(self, winner, up):
        whole = sum(self.weights[id_] for id_ in up)
        for id_ in up:
            self.owed[id_] += self.weights[id_] / whole
        self.owed[winner] -= 1

    def change(self, weights):
        self.weights = {id_: Fraction(weight) for id_, weight in weights.items()}
        before, self.owed = self.owed, {id_: self.owed.get(id_, Fraction()) for id_ in weights}
        gone = sum(owed for id_, owed in before.items() if id_ not in weights)
        if gone > 0:  # forgiven to those that are ahead, as much as each is ahead
            self.take_off([id_ for id_, owed in self.owed.items() if owed < 0], gone)
        if gone < 0:
            self.take_off([id_ for id_, owed in self.owed.items() if owed > 0], gone)

    def take_off(self, ids, gone):
        whole = sum(self.owed[id_] for id_ in ids)
        for id_ in ids:
            self.owed[id_] += gone * self.owed[id_] / abs(whole) * (-1 if gone > 0 else 1)

    @property
    def ahead(self):
        return {id_: -float(owed) for id_, owed in self.owed.items()}


TINY = Fraction(1, 10**6)  # packets; more than all that is rounded to units of 2**-32 in a test


def within_reach(owed, leeway=0):
    """Whether the k highest sum to no more than turns can lead to, for every k; the highest to n / 2."""
    n, highest = len(owed), sorted(owed, reverse=True)
    return all(2 * sum(highest[:k]) <= k * (n - k) + min(k, n - k) + leeway for k in range(n + 1))


# C1: exact shares


@given(weight_sets, st.sampled_from([1, 2, 10, 100]))
def test_every_cycle_is_exact_and_every_prefix_within_one_packet(weights, divisor):
    shares = shares_of({id_: weight / divisor for id_, weight in weights.items()})
    cycle = sum(weights.values())
    fluid = Fluid(weights)
    for _ in range(2):
        picked = shares.assign(cycle)
        assert Counter(picked) == weights
        for winner in picked[:500]:
            fluid.deal(winner, weights)
            assert all(abs(owed) < 1 for owed in fluid.owed.values()) or len(weights) == 1
        fluid = Fluid(weights)


def test_decimals_count_as_they_are_written(shares):
    assert Counter(shares.assign(10)) == {"a1": 4, "a2": 3, "a3": 2, "a4": 1}
    assert Counter(shares.assign(1000)) == {"a1": 400, "a2": 300, "a3": 200, "a4": 100}
    assert shares.targets == pytest.approx(WEIGHTS)


@given(st.lists(st.integers(0, 100), max_size=10))
def test_batches_of_any_sizes_are_one_sequence(batches):
    shares, whole = shares_of(), shares_of()
    picked = [id_ for n in batches for id_ in shares.assign(n)]
    assert picked == whole.assign(sum(batches))


# C2: shares under change

steps = st.lists(
    st.tuples(st.just("assign"), st.integers(1, 40))
    | st.tuples(st.sampled_from(["up", "down"]), st.sampled_from([f"a{n}" for n in range(8)])),
    max_size=60,
)


@settings(max_examples=300)
@given(weight_sets, steps)
def test_nobody_is_further_off_than_half_the_number_of_analyzers_under_any_ups_and_downs(weights, schedule):
    shares, twin, fluid, down = shares_of(weights), shares_of(weights), Fluid(weights), set()
    for what, value in schedule:
        if what == "assign":
            picked = shares.assign(value)
            assert picked == twin.assign(value), "the same schedule gives the same sequence"
            up = weights.keys() - down
            assert shares.up == [id_ for id_ in weights if id_ in up]
            assert len(picked) == (value if up else 0)
            for winner in picked:
                assert winner in up
                fluid.deal(winner, up)
                assert within_reach(fluid.owed.values(), leeway=TINY)
            assert shares.ahead == pytest.approx(fluid.ahead, abs=1e-6)
        elif value in weights:
            for each in (shares, twin):
                (each.mark_up if what == "up" else each.mark_down)(value)
            (down.discard if what == "up" else down.add)(value)


@pytest.mark.parametrize("changes", [False, True], ids=["ups and downs", "changes too"])
def test_nobody_is_two_packets_off_under_random_schedules(changes):
    random, worst = Random(7), 0.0
    for _ in range(300):
        weights = {f"a{n}": random.choice(RANDOM_WEIGHTS) for n in range(8)}
        shares = shares_of(weights)
        for _ in range(40):
            if changes and random.random() < 0.3:
                weights.pop(random.choice(sorted(weights)))
                weights[f"a{random.randrange(8)}"] = random.choice(RANDOM_WEIGHTS)
                shares.change(analyzers(weights))
            for id_ in weights:
                (shares.mark_up if random.random() < 0.6 else shares.mark_down)(id_)
            for _ in range(random.randrange(9)):
                shares.assign(1)
                worst = max(worst, *map(abs, shares.ahead.values()))
    assert 1 < worst < 1.5


RANDOM_WEIGHTS = [1, 1, 1, 2, 3, 5, 10, 50, 100, 1000]


def test_flapping_every_seven_packets_bends_no_share():
    shares, fluid = shares_of(), Fluid({"a1": 4, "a2": 3, "a3": 2, "a4": 1})
    up = set(WEIGHTS)
    for turn in range(3000):
        if turn % 2:
            shares.mark_down("a2")
            up.discard("a2")
        else:
            shares.mark_up("a2")
            up.add("a2")
        for winner in shares.assign(7):
            fluid.deal(winner, up)
    assert all(abs(owed) < 1.5 for owed in fluid.owed.values())


def test_one_that_comes_back_gets_its_share_and_no_more():
    shares = shares_of()
    shares.assign(3)
    shares.mark_down("a1")
    shares.assign(10_000)
    shares.mark_up("a1")
    assert 38 <= shares.assign(100).count("a1") <= 42


changes = st.lists(
    st.tuples(st.just("assign"), st.integers(1, 20))
    | st.tuples(st.sampled_from(["flip", "weigh", "remove"]), st.integers(0, 7), integers),
    max_size=50,
)


@settings(max_examples=300)
@given(weight_sets, changes)
def test_same_bound_holds_while_analyzers_come_go_and_are_weighed_anew(weights, schedule):
    shares, fluid, up = shares_of(weights), Fluid(weights), set(weights)
    for what, *values in schedule:
        if what == "assign":
            for winner in shares.assign(values[0]):
                assert winner in up
                fluid.deal(winner, up)
                assert within_reach(fluid.owed.values(), leeway=TINY)
            assert shares.ahead == pytest.approx(fluid.ahead, abs=1e-6)
            continue
        id_, weight = f"a{values[0]}", values[1]
        if what == "flip" and id_ in weights:
            (shares.mark_down if id_ in up else shares.mark_up)(id_)
            up ^= {id_}
        elif what != "flip":
            if what == "weigh":
                up |= {id_} - weights.keys()
                weights = {**weights, id_: weight}
            elif len(weights) > 1:
                weights = {other: weight for other, weight in weights.items() if other != id_}
                up.discard(id_)
            shares.change(analyzers(weights))
            fluid.change(weights)
            if not within_reach(fluid.owed.values()):
                fluid.owed = {other: -Fraction(ahead) for other, ahead in shares.ahead.items()}
                assert within_reach(fluid.owed.values(), leeway=TINY)
        assert shares.up == [other for other in weights if other in up]


def test_weights_change_without_a_burst_for_anybody():
    shares = shares_of()
    shares.assign(13)
    before = shares.ahead
    shares.change(analyzers({**WEIGHTS, "a4": 0.4}))
    assert shares.ahead == pytest.approx(before)
    picked = Counter(shares.assign(1300))
    assert all(
        abs(picked[id_] - due) <= 2 for id_, due in {"a1": 400, "a2": 300, "a3": 200, "a4": 400}.items()
    )


def test_change_to_the_same_weights_changes_nothing():
    shares, twin = shares_of(), shares_of()
    for each in (shares, twin):
        each.assign(13)
        each.mark_down("a2")
        each.assign(13)
        each.reassign("a1")
    shares.change(analyzers({id_: 10 * weight for id_, weight in WEIGHTS.items()}))
    assert shares.state() == twin.state()
    assert shares.assign(100) == twin.assign(100)
    assert [shares.reassign(None) for _ in range(30)] == [twin.reassign(None) for _ in range(30)]


def test_what_one_that_leaves_was_owed_is_forgiven_to_those_that_had_it():
    shares = shares_of({"a": 1, "b": 1, "c": 2})
    assert shares.assign(1) == ["c"]
    assert shares.ahead == pytest.approx({"a": -0.25, "b": -0.25, "c": 0.5})
    shares.change(analyzers({"b": 1, "c": 2, "d": 5}))
    assert shares.ahead == pytest.approx({"b": -0.25, "c": 0.25, "d": 0})
    shares.change(analyzers({"c": 2}))
    assert shares.ahead == {"c": 0}
    shares.change(analyzers({"x": 1, "y": 1}))
    assert shares.ahead == {"x": 0, "y": 0}


def test_weights_too_far_apart_are_refused_and_change_nothing(shares):
    shares.assign(3)
    before = shares.state()
    with pytest.raises(ValueError, match="weights must reduce to integers that sum to <= 1000000"):
        shares.change(analyzers({"a1": 1, "a2": 1_000_000}))
    assert shares.state() == before
    assert shares.up == list(WEIGHTS)


def test_nobody_is_picked_when_nobody_is_up(shares):
    for id_ in WEIGHTS:
        shares.mark_down(id_)
    assert shares.assign(10) == []
    assert shares.reassign("a1") is shares.reassign(None, "key") is None
    assert shares.up == []
    shares.change([])
    assert (shares.assign(10), shares.targets, shares.ahead, shares.state()) == ([], {}, {}, {})


def test_unknown_analyzer_is_told_with_the_known_ones(shares):
    for mark in (shares.mark_up, shares.mark_down):
        with pytest.raises(LookupError, match="analyzer must be one of a1, a2, a3, a4, got 'a5'"):
            mark("a5")


# C3: packets that are dealt again


def test_packet_that_is_dealt_again_goes_to_somebody_else_while_there_is_somebody(shares):
    moved = Counter(shares.reassign("a1") for _ in range(600))
    assert moved == {"a2": 300, "a3": 200, "a4": 100}
    assert shares.up == list(WEIGHTS)
    for id_ in ("a2", "a3", "a4"):
        shares.mark_down(id_)
    assert shares.reassign("a1") == "a1"
    shares.mark_down("a1")
    shares.mark_up("a4")
    assert shares.reassign("a1") == "a4", "one that is down is avoided anyway"
    assert shares.reassign("none of these") == "a4"


def test_dealing_again_bends_no_share(shares):
    picked = []
    for _ in range(50):
        picked += shares.assign(7)
        shares.reassign("a1")
        shares.reassign(None)
    assert picked == shares_of().assign(350)


# Tiers


def test_higher_tier_gets_packets_only_while_no_lower_one_has_an_analyzer_up():
    shares = shares_of({"a": 1, "b": 3, "x": 2, "y": 1, "z": 1}, x=1, y=1, z=7)
    assert shares.targets == {"a": 0.25, "b": 0.75, "x": 0, "y": 0, "z": 0}
    assert Counter(shares.assign(8)) == {"a": 2, "b": 6}
    shares.mark_down("a")
    assert set(shares.assign(8)) == {"b"}
    assert shares.reassign("b") == "b", "the tier is not left for a single failure"
    shares.mark_down("b")
    assert Counter(shares.assign(9)) == {"x": 6, "y": 3}
    assert shares.reassign("x") == "y"
    shares.mark_down("x")
    shares.mark_down("y")
    assert set(shares.assign(9)) == {"z"}
    shares.mark_up("y")
    assert set(shares.assign(9)) == {"y"}


def test_lower_tier_comes_back_without_a_debt():
    shares = shares_of({"a": 1, "b": 3, "x": 1}, x=1)
    expected = shares_of({"a": 1, "b": 3}).assign(203)
    first = shares.assign(3)
    for id_ in ("a", "b"):
        shares.mark_down(id_)
    ahead = shares.ahead
    assert shares.assign(1000) == ["x"] * 1000
    assert shares.ahead == ahead
    for id_ in ("a", "b"):
        shares.mark_up(id_)
    assert first + shares.assign(200) == expected


def test_one_that_moves_to_another_tier_begins_there_anew_and_as_it_was_up_or_down():
    shares = shares_of({"a": 1, "b": 1, "c": 1, "d": 1})
    shares.assign(2)
    shares.mark_down("d")
    shares.change(analyzers({"a": 1, "b": 1, "c": 1, "d": 1}, c=1, d=1))
    assert shares.ahead["c"] == shares.ahead["d"] == 0
    assert shares.up == ["a", "b", "c"]
    assert sum(shares.ahead.values()) == pytest.approx(0)


# Over a restart


@given(st.integers(0, 60), st.integers(0, 60), st.sets(st.sampled_from(sorted(WEIGHTS))))
def test_sequence_goes_on_where_it_was(before, after, down):
    shares, next_life = shares_of(a4=1), shares_of(a4=1)
    for each in (shares, next_life):
        for id_ in down:
            each.mark_down(id_)
    shares.assign(before)
    for _ in range(before):
        shares.reassign("a2")
    next_life.restore(json.loads(json.dumps(shares.state())))
    assert next_life.assign(after) == shares.assign(after)
    assert [next_life.reassign("a1") for _ in range(20)] == [shares.reassign("a1") for _ in range(20)]
    assert next_life.ahead == shares.ahead


def test_of_other_analyzers_and_weights_what_still_fits_is_kept(shares):
    shares.assign(13)
    state = json.loads(json.dumps(shares.state()))
    others = {"a2": 0.3, "a1": 0.9, "a4": 0.1, "new": 1}
    next_life, changed = shares_of(others), shares
    next_life.restore(state)
    changed.change(analyzers(others))
    assert next_life.ahead == pytest.approx(changed.ahead)
    assert next_life.assign(100) == changed.assign(100)


GOOD = shares_of().state()
nonsense = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    | st.sampled_from([10**400, -1, [], GOOD, GOOD["0"], GOOD["0"]["first"]]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["0", "ids", "first", "again", "weights", "scale", "credits"]), inner, max_size=4),
)  # fmt: skip


@given(nonsense)
def test_state_that_makes_no_sense_is_a_new_beginning(state):
    shares = shares_of()
    shares.restore(state)
    assert Counter(shares.assign(10)) == {"a1": 4, "a2": 3, "a3": 2, "a4": 1}


@given(st.sampled_from(["ids", "first", "again"]), nonsense)
def test_half_a_state_does_no_harm(part, value):
    shares = shares_of()
    state = shares.state()
    state["0"][part] = value
    shares.restore(state)
    assert Counter(shares.assign(10)) == {"a1": 4, "a2": 3, "a3": 2, "a4": 1}


# Sticky


def keys(n):
    return [f"key-{number}" for number in range(n)]


def homes_of(shares, of=200):
    return dict(zip(keys(of), shares.assign(of, keys(of)), strict=True))


def test_key_stays_with_its_analyzer_and_analyzers_get_keys_by_weight():
    shares = shares_of(group=STICKY)
    homes = homes_of(shares, of=5000)
    for key, id_ in zip(keys(1000), shares.assign(1000, keys(1000)), strict=True):
        assert homes[key] == id_
    counts = Counter(homes.values())
    for id_, weight in WEIGHTS.items():
        assert counts[id_] == pytest.approx(5000 * weight, rel=0.15)
    assert homes_of(shares_of(group=STICKY), of=5000) == homes, "in every process"


@given(st.permutations(sorted(WEIGHTS)))
def test_only_keys_of_one_that_falls_move_and_they_come_back_with_it(order):
    shares = shares_of(group=STICKY)
    before = [homes_of(shares)]
    for id_ in order[:-1]:
        shares.mark_down(id_)
        homes = homes_of(shares)
        for key, home in before[-1].items():
            assert home == homes[key] or home == id_
            assert homes[key] != id_
        before.append(homes)
    for id_ in reversed(order[:-1]):
        before.pop()
        shares.mark_up(id_)
        assert homes_of(shares) == before[-1]


def test_change_moves_only_keys_that_go_to_or_from_what_changed():
    fleets = [
        {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "c": 3, "d": 2}, {"a": 1, "b": 2, "c": 0.5, "d": 2},
        {"a": 1, "b": 2, "c": 3.5, "d": 2}, {"b": 2, "c": 3.5, "d": 2},
    ]  # fmt: skip
    shares = shares_of(fleets[0], STICKY)
    for old, new in pairwise(fleets):
        [changed] = {id_ for id_ in old.keys() | new.keys() if old.get(id_) != new.get(id_)}
        before = homes_of(shares)
        shares.change(analyzers(new))
        moved = [(before[key], home) for key, home in homes_of(shares).items() if before[key] != home]
        assert moved
        assert all(changed in move for move in moved)


def test_overloaded_analyzer_keeps_no_more_than_its_share_of_what_waits():
    waiting = dict.fromkeys(WEIGHTS, 0)
    shares = shares_of(group=STICKY, load=waiting.__getitem__)
    for _ in range(100):
        for id_ in shares.assign(500, ["one hot key"] * 500):
            waiting[id_] += 1
    total = sum(waiting.values())
    assert total == 50_000
    for id_, weight in WEIGHTS.items():
        assert waiting[id_] <= max(NEVER_OVERLOADED, 1.25 * weight * total + 1)
    parts = sorted(waiting[id_] / (weight * total) for id_, weight in WEIGHTS.items())
    assert parts[1:] == pytest.approx([1.25] * 3, abs=0.01)
    assert parts[0] < 1, "the last in the key's order gets what is left"


def test_little_that_waits_is_no_overload():
    waiting = {"a1": NEVER_OVERLOADED - 11, "a2": 0, "a3": 0, "a4": 0}
    shares = shares_of(group=STICKY, load=waiting.__getitem__)
    key = next(key for key, home in homes_of(shares_of(group=STICKY)).items() if home == "a1")
    assert shares.assign(10, [key] * 10) == ["a1"] * 10
    assert set(shares.assign(20, [key] * 20)[11:]) & {"a2", "a3", "a4"}


def test_keys_of_the_overloaded_come_back_when_it_is_not_any_more():
    waiting = dict.fromkeys(WEIGHTS, 0)
    shares = shares_of(group=STICKY, load=waiting.__getitem__)
    homes = homes_of(shares)
    waiting["a1"] = 1_000_000
    for key, home in homes_of(shares).items():
        assert home != "a1"
        assert home == homes[key] or homes[key] == "a1"
    waiting["a1"] = 0
    assert homes_of(shares) == homes


def test_packets_without_a_key_are_dealt_by_weight_between_those_that_have_one():
    shares = shares_of(group=STICKY)
    mixed = [None if n % 2 else "key" for n in range(200)]
    picked = shares.assign(200, mixed)
    assert len(set(picked[::2])) == 1
    assert picked[1::2] == shares_of().assign(100)
    assert shares.assign(10) == shares_of().assign(10)


def test_weighted_group_does_not_look_at_keys(shares):
    assert shares.assign(50, ["key"] * 50) == shares_of().assign(50)
    assert {shares.reassign("a1", "key") for _ in range(20)} == {"a2", "a3", "a4"}


def test_key_that_is_dealt_again_goes_to_the_next_in_its_order():
    waiting = dict.fromkeys(WEIGHTS, 0)
    shares = shares_of(group=STICKY, load=waiting.__getitem__)
    for key in keys(50):
        [home] = shares.assign(1, [key])
        second = shares.reassign(home, key)
        shares.mark_down(home)
        assert shares.assign(1, [key]) == [second]
        shares.mark_up(home)
        assert shares.reassign(None, key) == home, "its analyzer is well, somebody else was not"
        waiting[second] = 1_000_000
        assert shares.reassign(home, key) not in (home, second)
        waiting[second] = 0


def test_sticky_key_is_dealt_again_to_its_own_when_there_is_nobody_else():
    shares = shares_of({"a": 1}, STICKY)
    assert shares.reassign("a", "key") == "a"
    shares = shares_of({"a": 1, "b": 1, "x": 1}, STICKY, x=1)
    assert {shares.reassign("a", key) for key in keys(20)} == {"b"}


@given(
    st.lists(st.none() | st.text(max_size=5), max_size=30),
    st.lists(st.integers(0, 10**6), min_size=4, max_size=4),
)
def test_sticky_packets_always_go_to_somebody_who_is_up(some_keys, loads):
    waiting = dict(zip(WEIGHTS, loads, strict=True))
    shares = shares_of(group=STICKY, load=waiting.__getitem__)
    shares.mark_down("a1")
    assert set(shares.assign(len(some_keys), some_keys)) <= {"a2", "a3", "a4"}
    assert {shares.reassign("a3", key) for key in some_keys} <= {"a2", "a4"}
