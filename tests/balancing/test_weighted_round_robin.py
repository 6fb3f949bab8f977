"""What weighted round robin promises, on both twins."""

import gc
import json
import math
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.balancing import NoMemberUp, UnknownMember
from penstock.errors import InvalidType
from twins import both_twins, load

MODULE = "penstock.balancing.weighted_round_robin"
WeightedRoundRobin = both_twins(MODULE)

SHARES = {"A": 40, "B": 30, "C": 20, "D": 10}
A_UNIT_A_CHANGE = Fraction(1, 1 << 32)  # rounding: one unit or less for each member at each up or down


def picked(balancer, n):
    return [balancer.pick() for _ in range(n)]


class Share:
    """What each member should have had by now, in exact fractions, less what it had."""

    def __init__(self, weights):
        self.weights = weights
        self.owed = dict.fromkeys(weights, Fraction(0))

    def follow(self, up, winner):
        total = sum(self.weights[member] for member in up)
        for member in up:
            self.owed[member] += Fraction(self.weights[member], total)
        self.owed[winner] -= 1

    def furthest(self):
        return max(abs(owed) for owed in self.owed.values())


# Shares


def test_members_are_picked_by_weight_and_spread_out(WeightedRoundRobin):
    assert "".join(picked(WeightedRoundRobin(SHARES), 20)) == "ABCABADCBAABCABADCBA"


def test_hundred_thousand_picks_are_shared_exactly(WeightedRoundRobin):
    balancer = WeightedRoundRobin(SHARES)
    assert Counter(picked(balancer, 100_000)) == {"A": 40_000, "B": 30_000, "C": 20_000, "D": 10_000}
    assert set(balancer.credits().values()) == {0}


def test_every_window_of_a_whole_cycle_holds_each_member_as_often_as_its_weight(WeightedRoundRobin):
    sequence = picked(WeightedRoundRobin(SHARES), 500)
    for start in range(len(sequence) - 10):
        assert Counter(sequence[start : start + 10]) == {"A": 4, "B": 3, "C": 2, "D": 1}


def test_equal_weights_take_turns_in_order(WeightedRoundRobin):
    assert "".join(picked(WeightedRoundRobin(dict.fromkeys("XYZ", 1)), 7)) == "XYZXYZX"


def test_single_member_is_always_picked(WeightedRoundRobin):
    assert picked(WeightedRoundRobin({"only": 3}), 3) == ["only"] * 3


def test_nobody_is_a_pick_late_where_the_highest_credit_alone_would_leave_one_so(WeightedRoundRobin):
    weights = {"A": 12, "B": 12, "C": 3, "D": 1, "E": 1}
    balancer, share = WeightedRoundRobin(weights), Share(weights)
    for _ in range(29):
        share.follow(weights, balancer.pick())
        assert share.furthest() <= Fraction(7, 8)


@pytest.mark.parametrize("impl", ["c", "py"])
@given(weights=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_every_prefix_is_within_tijdemans_bound_and_every_cycle_exact(impl, weights):
    balancer = load(MODULE, impl)(dict(enumerate(weights)))
    share = Share(balancer.weights)
    bound = 1 - Fraction(1, max(2 * len(weights) - 2, 2))
    for cycle in range(2):
        for _ in range(balancer.total):
            share.follow(balancer.members, balancer.pick())
            assert share.furthest() <= bound
        assert share.furthest() == 0, f"after cycle {cycle}"


# Ups and downs


def test_share_of_a_member_that_is_down_goes_to_the_others_in_proportion(WeightedRoundRobin):
    balancer = WeightedRoundRobin(SHARES)
    balancer.mark_down("A")
    assert balancer.up == ("B", "C", "D")
    assert Counter(picked(balancer, 60)) == {"B": 30, "C": 20, "D": 10}


def test_credit_waits_while_a_member_is_down(WeightedRoundRobin):
    balancer = WeightedRoundRobin(SHARES)
    picked(balancer, 3)
    owed = balancer.credits()["D"]
    assert owed == Fraction(3, 10)
    balancer.mark_down("D")
    picked(balancer, 1_000)
    assert abs(balancer.credits()["D"] - owed) <= 4 * A_UNIT_A_CHANGE
    balancer.mark_up("D")
    picked(balancer, 7)
    assert abs(sum(balancer.credits().values())) == 0


def test_member_down_and_up_between_two_picks_leaves_no_trace(WeightedRoundRobin):
    flapped, calm = WeightedRoundRobin(SHARES), WeightedRoundRobin(SHARES)
    for _ in range(100):
        for member in "ABCD":
            flapped.mark_down(member)
        for member in "DBCA":
            flapped.mark_up(member)
        assert flapped.pick() == calm.pick()
    assert flapped.state() == calm.state()


def test_marks_may_be_repeated(WeightedRoundRobin):
    balancer = WeightedRoundRobin({"A": 1, "B": 1})
    balancer.mark_down("A")
    balancer.mark_down("A")
    balancer.mark_up("B")
    assert balancer.up == ("B",)
    balancer.mark_up("A")
    assert balancer.up == balancer.members == ("A", "B")


def test_no_member_up_is_an_error_that_changes_nothing(WeightedRoundRobin):
    balancer = WeightedRoundRobin(SHARES)
    picked(balancer, 3)
    before = balancer.state()
    for member in "ABCD":
        balancer.mark_down(member)
    for pick in (balancer.pick, lambda: balancer.pick_many(5), lambda: balancer.pick_many(100_000)):
        with pytest.raises(NoMemberUp, match="a pick needs at least 1 member up, got 0 of 4") as refused:
            pick()
        assert isinstance(refused.value, (PenstockError, LookupError))
    assert balancer.pick_many(0).size == 0
    assert balancer.up == ()
    assert balancer.state() == before
    for member in "ABCD":
        balancer.mark_up(member)
    assert "".join(picked(balancer, 7)) == "ABADCBA"


def flap(balancer, rounds, every):
    """Marks one member at a time down and up again, and follows the share; members are integers."""
    share = Share(balancer.weights)
    worst = Fraction(0)
    for turn in range(rounds):
        victim = turn // 2 % len(balancer.members)
        (balancer.mark_up if turn % 2 else balancer.mark_down)(victim)
        up = balancer.up
        for winner in balancer.pick_many(every):
            share.follow(up, int(winner))
        worst = max(worst, share.furthest())
    return worst


def test_flapping_every_seven_picks_never_puts_a_member_two_picks_off(WeightedRoundRobin):
    assert flap(WeightedRoundRobin({0: 4, 1: 3, 2: 2, 3: 1}), 600, 7) < 2


def test_million_picks_with_flapping_every_seven_never_put_a_member_one_pick_off():
    balancer = load(MODULE, "c")({0: 40, 1: 30, 2: 20, 3: 10})
    weights, one_pick, owed = np.array([4.0, 3, 2, 1]), np.eye(4), np.zeros(4)
    worst = 0.0
    for turn in range(1_000_000 // 7):
        victim = turn // 2 % 4
        (balancer.mark_up if turn % 2 else balancer.mark_down)(victim)
        share = weights.copy()
        if turn % 2 == 0:
            share[victim] = 0
        path = owed + (share / share.sum() - one_pick[balancer.pick_many(7)]).cumsum(axis=0)
        worst = max(worst, np.abs(path).max())
        owed = path[-1]
    assert worst < 1
    still_owed = [float(credit) for credit in balancer.credits().values()]
    assert still_owed == pytest.approx(owed, abs=1e-5)  # rounding: units of 2^-32 a change and less


@pytest.mark.parametrize("seed", range(40))
def test_random_schedules_never_put_a_member_two_picks_off(WeightedRoundRobin, seed):
    chance = random.Random(seed)
    weights = {i: chance.choice([1, 2, 7, chance.randint(1, 1_000)]) for i in range(chance.randint(2, 8))}
    balancer = WeightedRoundRobin(weights)
    share = Share(balancer.weights)
    for _ in range(300):
        (balancer.mark_up if chance.random() < 0.5 else balancer.mark_down)(chance.choice(list(weights)))
        up = balancer.up
        for _ in range(chance.randint(0, 3) if up else 0):
            share.follow(up, balancer.pick())
            assert share.furthest() < 2


@pytest.mark.parametrize("seed", range(40))
def test_cycles_are_exact_again_a_cycle_after_the_last_change(WeightedRoundRobin, seed):
    chance = random.Random(seed)
    balancer = WeightedRoundRobin({i: chance.randint(1, 30) for i in range(chance.randint(2, 8))})
    flap(balancer, rounds=30, every=chance.randint(1, 9))  # even: all are up afterwards
    balancer.pick_many(balancer.total)
    for _ in range(5):
        cycle = Counter(balancer.pick_many(balancer.total).tolist())
        assert cycle == Counter(balancer.weights)


@pytest.mark.parametrize("impl", ["c", "py"])
@given(data=st.data())
def test_any_schedule_keeps_every_member_within_half_its_number_of_picks(impl, data):
    weights = data.draw(st.lists(st.integers(1, 1_000), min_size=2, max_size=8))
    balancer = load(MODULE, impl)(dict(enumerate(weights)))
    share = Share(balancer.weights)
    for up in data.draw(st.lists(st.sets(st.integers(0, len(weights) - 1), min_size=1), max_size=60)):
        for member in balancer.members:
            (balancer.mark_up if member in up else balancer.mark_down)(member)
        share.follow(up, balancer.pick())
        assert share.furthest() <= Fraction(len(weights), 2)
        assert sum(balancer.credits().values()) == 0


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.data())
def test_credits_are_what_the_exact_share_owes(weights, data):
    balancer = load(MODULE, "c")(dict(enumerate(weights)))
    share = Share(balancer.weights)
    marks = data.draw(st.lists(st.tuples(st.sampled_from(balancer.members), st.booleans())))
    for changes, (member, up) in enumerate(marks, start=1):
        (balancer.mark_up if up else balancer.mark_down)(member)
        if balancer.up:
            share.follow(balancer.up, balancer.pick())
        for member, credit in balancer.credits().items():
            assert abs(credit - share.owed[member]) <= changes * len(weights) * A_UNIT_A_CHANGE


# Both twins, batches, states

steps = st.lists(
    st.one_of(
        st.tuples(st.just("pick"), st.none()),
        st.tuples(st.just("pick_many"), st.integers(0, 40)),
        st.tuples(st.sampled_from(["mark_down", "mark_up"]), st.integers(0, 7)),
        st.tuples(st.sampled_from(["save", "restore"]), st.none()),
    ),
    max_size=60,
)


@given(st.lists(st.integers(1, 10) | st.integers(1, 10**5), min_size=1, max_size=8), steps)
def test_twins_agree_pick_for_pick_and_unit_for_unit(weights, steps):
    compiled, plain = (load(MODULE, impl)(dict(enumerate(weights))) for impl in ("c", "py"))
    saved = plain.state()
    for step, argument in steps:
        if step == "save":
            saved = plain.state()
        elif step == "restore":
            compiled.restore(saved)
            plain.restore(saved)
        elif step.startswith("mark"):
            for twin in (compiled, plain):
                getattr(twin, step)(argument % len(weights))
        elif compiled.up:
            arguments = () if argument is None else (argument,)
            assert np.array_equal(*(getattr(twin, step)(*arguments) for twin in (compiled, plain)))
        assert compiled.state() == plain.state()
        assert compiled.up == plain.up
        assert compiled.credits() == plain.credits()


def test_twins_agree_with_a_thousand_members():
    chance = random.Random(7)
    weights = {i: chance.randint(1, 1_000) for i in range(1_000)}
    compiled, plain = (load(MODULE, impl)(weights) for impl in ("c", "py"))
    for _ in range(200):
        member, mark = chance.randrange(1_000), chance.choice(["mark_down", "mark_down", "mark_up"])
        for twin in (compiled, plain):
            getattr(twin, mark)(member)
        assert compiled.pick() == plain.pick()
    assert compiled.state() == plain.state()


@pytest.mark.parametrize("n", [0, 1, 9, 6_000])  # 6,000 picks among 4 are made without the GIL
def test_batch_is_as_many_single_picks(WeightedRoundRobin, n):
    one_by_one, at_once = WeightedRoundRobin(SHARES), WeightedRoundRobin(SHARES)
    picked(one_by_one, 3)
    picked(at_once, 3)
    winners = at_once.pick_many(n)
    assert winners.dtype == np.intp
    assert winners.shape == (n,)
    assert [at_once.members[i] for i in winners] == picked(one_by_one, n)
    assert at_once.state() == one_by_one.state()


def test_importing_and_picking_one_by_one_does_not_import_numpy():
    code = (
        "import sys; from penstock.balancing import WeightedRoundRobin as W; W({'A': 1}).pick(); "
        "assert 'numpy' not in sys.modules; W({'A': 1}).pick_many(1); assert 'numpy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_state_survives_json_and_a_new_balancer_goes_on_from_it(WeightedRoundRobin):
    old, new = WeightedRoundRobin(SHARES), WeightedRoundRobin(SHARES)
    old.mark_down("B")
    picked(old, 17)
    new.restore(json.loads(json.dumps(old.state())))
    assert new.credits() == old.credits()
    old.mark_up("B")
    assert picked(new, 100) == picked(old, 100)


def test_restore_undoes_a_batch_and_leaves_the_marks(WeightedRoundRobin):
    balancer = WeightedRoundRobin(SHARES)
    picked(balancer, 4)
    before = balancer.state()
    first = balancer.pick_many(25)
    balancer.restore(before)
    assert balancer.state() == before
    assert np.array_equal(balancer.pick_many(25), first)
    balancer.mark_down("C")
    balancer.restore(before)
    assert balancer.up == ("A", "B", "D")
    assert "C" not in picked(balancer, 50)


def test_state_is_a_copy(WeightedRoundRobin):
    balancer = WeightedRoundRobin(SHARES)
    state = balancer.state()
    state["credits"][0] = state["weights"][0] = 99
    assert balancer.state() == {"weights": [4, 3, 2, 1], "scale": 10, "credits": [0, 0, 0, 0]}


PICK = 10 << 32  # units of a pick while all of SHARES are up


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weights": [4, 3, 2]}, ValueError, "state must be of weights [4, 3, 2, 1], got [4, 3, 2]"),
        ({"weights": [40, 30, 20, 10]}, ValueError, "state must be of weights [4, 3, 2, 1], got [40, "),
        ({"scale": 0}, ValueError, "scale must be >= 1 and <= 10, got 0"),
        ({"scale": 11}, ValueError, "scale must be >= 1 and <= 10, got 11"),
        ({"scale": 10**5000}, ValueError, "scale must be >= 1 and <= 10, got a huge int"),
        ({"scale": 10.0}, TypeError, "state must be made of integers, got {"),
        ({"scale": True}, TypeError, "state must be made of integers, got {"),
        ({"credits": [0, 0, 0]}, ValueError, "credits must be 4 that sum to 0, got [0, 0, 0]"),
        ({"credits": [0] * 5}, ValueError, "credits must be 4 that sum to 0, got [0, 0, 0, 0, 0]"),
        ({"credits": [1, 0, 0, 0]}, ValueError, "credits must be 4 that sum to 0, got [1, 0, 0, 0]"),
        ({"credits": [2 * PICK + 1, -2 * PICK - 1, 0, 0]}, ValueError, "within 2.0 picks"),
        ({"credits": [2 * PICK, 2 * PICK, -2 * PICK, -2 * PICK]}, ValueError, "within 2.0 picks"),
        ({"credits": [1 << 70, -1 << 70, 0, 0]}, ValueError, "within 2.0 picks"),
        ({"credits": "0000"}, TypeError, "state must be made of integers, got {"),
        ({"credits": [0, 0, 0, "0"]}, TypeError, "state must be made of integers, got {"),
        ({"credits": None}, TypeError, "state must be made of integers, got {"),
        ({"surplus": 1}, TypeError, "state must have the keys weights, scale, credits, got {"),
    ],
)
def test_impossible_states_are_refused_and_change_nothing(WeightedRoundRobin, change, error, message):
    balancer = WeightedRoundRobin(SHARES)
    picked(balancer, 3)
    before = balancer.state()
    with pytest.raises(error, match=re.escape(message)) as refused:
        balancer.restore(before | change)
    assert isinstance(refused.value, PenstockError)
    assert balancer.state() == before


@pytest.mark.parametrize("state", [None, [], "state", {}, {"credits": [0, 0, 0, 0]}, 7])
def test_what_is_no_state_is_refused(WeightedRoundRobin, state):
    with pytest.raises(TypeError, match="state must have the keys weights, scale, credits"):
        WeightedRoundRobin(SHARES).restore(state)


def test_furthest_states_that_picks_could_lead_to_are_taken(WeightedRoundRobin):
    balancer = WeightedRoundRobin(SHARES)
    state = {"weights": [4, 3, 2, 1], "scale": 10, "credits": [2 * PICK, PICK, -PICK, -2 * PICK]}
    balancer.restore(state)
    assert balancer.state() == state
    assert "".join(picked(balancer, 4)) == "AABA"


# Threads


def run_together(*tasks):
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_share_a_balancer_exactly(WeightedRoundRobin):
    balancer = WeightedRoundRobin(SHARES)
    counts = []

    def pick_one_by_one():
        counts.append(Counter(picked(balancer, 20_000)))

    def pick_batches():
        for _ in range(5):
            winners = np.bincount(balancer.pick_many(10_000), minlength=4)
            counts.append(Counter(dict(zip(balancer.members, winners.tolist(), strict=True))))

    run_together(pick_one_by_one, pick_batches, pick_one_by_one, pick_batches)
    assert sum(counts, Counter()) == {"A": 56_000, "B": 42_000, "C": 28_000, "D": 14_000}
    assert set(balancer.credits().values()) == {0}


@pytest.fixture
def eager_collector():
    """Collects garbage after every few objects, so that destructors run wherever they may."""
    before = gc.get_threshold()
    gc.set_threshold(5)
    yield
    gc.set_threshold(*before)


class Ring:
    """Garbage that only the collector frees, and that calls something then."""

    def __init__(self, call):
        self.itself, self.call = self, call

    def __del__(self):
        self.call()


def test_destructor_that_runs_in_the_middle_may_use_the_balancer(WeightedRoundRobin, eager_collector):
    balancer = WeightedRoundRobin({member: member for member in range(1, 21)})
    winners = []

    def use():
        balancer.mark_down(7)
        winners.append(balancer.pick())
        balancer.mark_up(7)

    def work():
        for _ in range(300):
            Ring(use)
            winners.append(balancer.pick())
            balancer.mark_up(3)
            winners.extend(balancer.members[i] for i in balancer.pick_many(20))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it waits for itself"
    gc.collect()
    assert len(winners) == 300 * 22
    assert sum(balancer.credits().values()) == 0
    assert all(abs(owed) < 2 for owed in balancer.credits().values())


def test_marks_of_other_threads_fall_before_or_after_a_batch(WeightedRoundRobin):
    balancer = WeightedRoundRobin({"A": 1, "B": 1})
    batches = []

    def flap():
        for _ in range(200):
            balancer.mark_down("B")
            balancer.mark_up("B")

    def pick():
        batches.extend(balancer.pick_many(20_000) for _ in range(10))

    run_together(flap, pick)
    for winners in batches:
        assert winners.sum() in (0, 10_000), "B out for the whole batch, or for none of it"


# What is refused


@pytest.mark.parametrize(
    ("weights", "reduced"),
    [
        ({"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.1}, [4, 3, 2, 1]),
        ({"A": Decimal("0.4"), "B": 0.3, "C": Fraction(1, 5), "D": 0.1}, [4, 3, 2, 1]),
        ({"A": 40, "B": 30, "C": 20, "D": 10}, [4, 3, 2, 1]),
        ({"A": Fraction(1, 3), "B": Fraction(1, 6)}, [2, 1]),
        ({"A": 1e-300, "B": 3e-300}, [1, 3]),
        ({"A": 10**300, "B": 3 * 10**300}, [1, 3]),
        ({"A": Decimal("1e300"), "B": Decimal("2E+300")}, [1, 2]),
        ({"A": np.float64(0.1), "B": 0.3}, [1, 3]),
        ({"A": 999_999, "B": 1}, [999_999, 1]),
        (dict.fromkeys(range(1_000), 1_000), [1] * 1_000),
    ],
)
def test_weights_count_as_the_numbers_that_are_written(WeightedRoundRobin, weights, reduced):
    balancer = WeightedRoundRobin(weights)
    assert balancer.members == tuple(weights)
    assert balancer.weights == dict(zip(weights, reduced, strict=True))
    assert balancer.total == sum(reduced)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "weights must have 1 to 1000 members, got 0"),
        (dict.fromkeys(range(1_001), 1), "weights must have 1 to 1000 members, got 1001"),
        ({"A": 0}, "weight of 'A' must be > 0 and finite, got 0"),
        ({"A": 1, "B": -2}, "weight of 'B' must be > 0 and finite, got -2"),
        ({"A": -0.0}, "weight of 'A' must be > 0 and finite, got -0.0"),
        ({"A": math.nan}, "weight of 'A' must be > 0 and finite, got nan"),
        ({"A": math.inf}, "weight of 'A' must be > 0 and finite, got inf"),
        ({"A": Decimal("NaN")}, "weight of 'A' must be > 0 and finite, got Decimal('NaN')"),
        ({"A": Decimal("sNaN")}, "weight of 'A' must be > 0 and finite, got Decimal('sNaN')"),
        ({"A": Decimal("-Infinity")}, "weight of 'A' must be > 0 and finite, got Decimal('-Infinity')"),
        ({"A": 1_000_000, "B": 1}, "sum to <= 1000000, got a sum of 1000001"),
        ({"A": 1, "B": 10**6, "C": 10**6}, "sum to <= 1000000, got a sum of 2000001"),
        ({"A": 1, "B": 10**5000}, "sum to <= 1000000, got 1 to a huge Fraction"),
        ({"A": 10**5000, "B": 1}, "sum to <= 1000000, got 1 to a huge Fraction"),
        ({"A": math.pi, "B": 1}, "sum to <= 1000000, got 1 to Fraction(1000000000000000, 3141592653589793)"),
        ({i: Fraction(1, i + 1) for i in range(100)}, "sum to <= 1000000, got 1 to Fraction("),
    ],
)
def test_impossible_weights_are_refused(WeightedRoundRobin, weights, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        WeightedRoundRobin(weights)
    assert isinstance(refused.value, PenstockError)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("exponent", [999_999_999_999, -999_999_999_999, 401])
def test_decimal_that_would_fill_the_memory_is_refused(WeightedRoundRobin, exponent):
    with pytest.raises(ValueError, match=r"weight of 'A' must be 1e-400 to 1e400, got Decimal"):
        WeightedRoundRobin({"A": Decimal((0, (1,), exponent))})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([("A", 1)], "weights must be a mapping of member to weight, got list"),
        (None, "weights must be a mapping of member to weight, got NoneType"),
        ({"A": "4"}, "weight of 'A' must be a number, got str"),
        ({"A": None}, "weight of 'A' must be a number, got NoneType"),
        ({"A": 1j}, "weight of 'A' must be a number, got complex"),
    ],
)
def test_what_is_no_weight_is_refused(WeightedRoundRobin, weights, message):
    with pytest.raises(TypeError, match=re.escape(message)) as refused:
        WeightedRoundRobin(weights)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize("mark", ["mark_down", "mark_up"])
def test_unknown_member_is_refused_with_the_names_that_are_known(WeightedRoundRobin, mark):
    with pytest.raises(UnknownMember, match="member must be one of 'A', 'B', 'C', 'D', got 'E'") as refused:
        getattr(WeightedRoundRobin(SHARES), mark)("E")
    assert isinstance(refused.value, (PenstockError, LookupError))
    many = WeightedRoundRobin(dict.fromkeys(range(1_000), 1))
    with pytest.raises(LookupError, match=r"member must be one of 0, 1, 2, .*, 9, \.\.\., got 1000"):
        getattr(many, mark)(1_000)
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        getattr(many, mark)([])


@pytest.mark.parametrize("n", [-1, 10_000_001, pytest.param(10**5000, id="huge")])
def test_batch_out_of_bounds_is_refused_before_it_is_allocated(WeightedRoundRobin, n):
    with pytest.raises(
        ValueError, match=r"n must be >= 0 and <= 10000000 picks, got (-1|10000001|a huge int)"
    ):
        WeightedRoundRobin(SHARES).pick_many(n)


@pytest.mark.parametrize("n", [1.0, "1", None])
def test_batch_that_is_no_integer_is_refused(WeightedRoundRobin, n):
    with pytest.raises(TypeError, match=f"n must be an integer, got {type(n).__name__}"):
        WeightedRoundRobin(SHARES).pick_many(n)


def test_member_whose_hash_uses_the_balancer_does_no_harm(WeightedRoundRobin):
    class Meddler:
        balancer = None

        def __hash__(self):
            if self.balancer is not None:
                self.balancer.pick()
            return 1

    meddler = Meddler()
    balancer = WeightedRoundRobin({meddler: 1, "A": 1})
    meddler.balancer = balancer
    balancer.mark_down(meddler)
    assert balancer.up == ("A",)
    assert balancer.pick() == "A"


def test_second_init_is_refused_and_changes_nothing(WeightedRoundRobin):
    balancer = WeightedRoundRobin(SHARES)
    with pytest.raises(InvalidType, match="a WeightedRoundRobin is initialised once"):
        balancer.__init__({"other": 1})
    assert balancer.pick() == "A"


def test_compiled_balancer_without_init_does_not_crash():
    compiled = load(MODULE, "c")
    bare = compiled.__new__(compiled)
    with pytest.raises(LookupError, match="got 0 of 0"):
        bare.pick()
    with pytest.raises(LookupError, match="got 0 of 0"):
        bare.pick_many(10)
    assert (bare.members, bare.up, bare.weights, bare.credits(), bare.total) == ((), (), {}, {}, 0)


def test_repr_shows_the_weights(WeightedRoundRobin):
    assert repr(WeightedRoundRobin({"A": 0.5, "B": 1})) == "WeightedRoundRobin({'A': 1, 'B': 2})"


def test_type_of_the_members_can_be_named(WeightedRoundRobin):
    assert WeightedRoundRobin[str]({"A": 1}).pick() == "A"
