"""What every balancer promises, whatever its policy: membership, health, slow start, zones, leases."""

import asyncio
import gc
import random
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.balancing import (
    Balancer,
    DuplicateMember,
    ExactWeighted,
    LeastConnections,
    NoMemberUp,
    OutlierDetection,
    PeakEwma,
    PowerOfTwoChoices,
    RoundRobin,
    SlowStart,
    SmoothWeighted,
    UnknownMember,
    WeightedLeastConnections,
)
from penstock.clock import ManualClock
from penstock.errors import InvalidType, InvalidValue
from virtual_time import run_once, virtual_time

virtual = virtual_time()


@pytest.fixture
def clock():
    return ManualClock()


def picked(balancer, n):
    return [done(balancer.pick()) for _ in range(n)]


def done(lease, error=None):
    lease.release(error)
    return lease.member


def fail(balancer, name, times):
    """Lets work of that member fail."""
    others = [other for other in balancer.members if other != name]
    for _ in range(times):
        done(balancer.pick(avoid=others), "failed")


def statuses(balancer):
    return {name: figures.status for name, figures in balancer.stats().items()}


# Leases


def test_lease_is_active_until_it_is_released_and_the_first_release_counts():
    balancer = Balancer({"a": 1})
    lease = balancer.pick()
    assert repr(lease) == "<Lease of 'a', active>"
    assert balancer.stats()["a"].active == 1
    assert lease.release()
    assert not lease.release("too late")
    assert not lease.cancel()
    assert repr(lease) == "<Lease of 'a', released>"
    figures = balancer.stats()["a"]
    assert (figures.active, figures.picks, figures.failures) == (0, 1, 0)


def test_block_releases_and_its_exception_is_a_failure():
    balancer = Balancer({"a": 1})
    with balancer.pick() as lease:
        assert lease.member == "a"
    with pytest.raises(ZeroDivisionError), balancer.pick():
        raise ZeroDivisionError
    with balancer.pick() as lease:
        lease.release("answered 503")
    figures = balancer.stats()["a"]
    assert (figures.active, figures.picks, figures.failures) == (0, 3, 2)


@pytest.mark.parametrize("ending", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
def test_work_that_was_given_up_says_nothing_of_its_member(ending, clock):
    balancer = Balancer({"a": 1}, outliers=OutlierDetection(consecutive_failures=1), clock=clock)
    lease = balancer.pick()
    clock.advance(5)
    with pytest.raises(ending), lease:
        raise ending
    figures = balancer.stats()["a"]
    assert (figures.active, figures.failures, figures.latency, figures.status) == (0, 0, None, "up")


def test_latency_is_a_peak_that_fades(clock):
    balancer = Balancer({"a": 1}, policy=PeakEwma(decay=10.0), clock=clock)
    for seconds in (0.1, 2.0):
        with balancer.pick():
            clock.advance(seconds)
    assert balancer.stats()["a"].latency == 2.0
    clock.advance(100)
    with balancer.pick():
        clock.advance(0.1)
    assert balancer.stats()["a"].latency == pytest.approx(0.1, rel=0.01)


def test_error_may_be_anything_but_none():
    balancer = Balancer({"a": 1})
    for error in (False, 0, "", ValueError()):
        done(balancer.pick(), error)
    assert balancer.stats()["a"].failures == 4


def test_picks_without_leases_are_counted_but_never_active():
    balancer = Balancer({"a": 2, "b": 1}, policy=ExactWeighted())
    assert Counter(balancer.pick_many(3_000)) == {"a": 2_000, "b": 1_000}
    assert balancer.pick_many(0) == []
    assert balancer.pick_many(2, avoid=["a"]) == ["b", "b"]
    assert [(figures.picks, figures.active) for figures in balancer.stats().values()] == [
        (2_000, 0),
        (1_002, 0),
    ]


def test_avoided_members_are_passed_over_this_time():
    balancer = Balancer(dict.fromkeys("abc", 1), policy=RoundRobin())
    assert done(balancer.pick(avoid=["a", "b"])) == "c"
    assert done(balancer.pick(avoid=["a", "nobody"])) == "b"
    with pytest.raises(NoMemberUp, match="a pick needs at least 1 member that may be picked, got 0 of 3"):
        balancer.pick(avoid=["a", "b", "c"])


# Members


def test_balancer_may_begin_without_members():
    balancer = Balancer({})
    with pytest.raises(LookupError, match="a pick needs at least 1 member that may be picked, got 0 of 0"):
        balancer.pick()
    with pytest.raises(NoMemberUp):
        balancer.pick_many(1)
    balancer.add("a")
    assert picked(balancer, 2) == ["a", "a"]


def test_members_come_and_go_while_work_is_under_way():
    balancer = Balancer({"a": 1}, policy=LeastConnections())
    first = balancer.pick()
    balancer.add("b", 2.5)
    assert (balancer.members, len(balancer), "b" in balancer, "c" in balancer) == (("a", "b"), 2, True, False)
    assert balancer.weights == {"a": 1, "b": 2.5}
    second = balancer.pick()
    balancer.remove("a")
    assert (first.member, second.member, balancer.members) == ("a", "b", ("b",))
    assert first.release()
    assert picked(balancer, 2) == ["b", "b"]
    balancer.add("a")
    assert balancer.stats()["a"].picks == 0, "it is another one"


def test_weight_changes_at_run_time():
    balancer = Balancer({"a": 1, "b": 1})
    balancer.set_weight("a", 3)
    assert Counter(picked(balancer, 400)) == {"a": 300, "b": 100}
    assert balancer.stats()["a"].weight == balancer.stats()["a"].effective_weight == 3


def test_update_makes_a_mapping_the_members_and_leaves_the_rest_alone():
    balancer = Balancer({"a": 1, "b": 1, "c": 1}, policy=LeastConnections())
    leases = [balancer.pick() for _ in range(3)]
    balancer.mark_down("b")
    balancer.update({"d": 1, "b": 2, "a": 1})
    assert balancer.weights == {"a": 1, "b": 2, "d": 1}
    assert {name: figures.active for name, figures in balancer.stats().items()} == {"a": 1, "b": 1, "d": 0}
    assert balancer.up == ("a", "d")
    assert all(lease.release() for lease in leases)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda b: b.add("a"), DuplicateMember, "member must be new, got 'a'"),
        (lambda b: b.add("z", 0), InvalidValue, "weight of 'z' must be > 0 and <= 1000000000, got 0"),
        (lambda b: b.add("z", "1"), InvalidType, "weight of 'z' must be an int or float, got str"),
        (lambda b: b.set_weight("a", -1), InvalidValue, "weight of 'a' must be > 0 .*, got -1"),
        (lambda b: b.set_weight("z", 1), UnknownMember, "member must be one of 'a', 'b', got 'z'"),
        (lambda b: b.remove("z"), UnknownMember, "member must be one of 'a', 'b', got 'z'"),
        (lambda b: b.mark_down("z"), UnknownMember, "member must be one of 'a', 'b', got 'z'"),
        (lambda b: b.mark_up("z"), UnknownMember, "member must be one of 'a', 'b', got 'z'"),
        (lambda b: b.drain("z"), UnknownMember, "member must be one of 'a', 'b', got 'z'"),
        (lambda b: b.undrain("z"), UnknownMember, "member must be one of 'a', 'b', got 'z'"),
        (lambda b: b.update({"a": 2, "c": float("nan")}), InvalidValue, "weight of 'c' must be .*, got nan"),
        (lambda b: b.update(["a"]), InvalidType, "members must be a mapping of name to weight, got list"),
        (lambda b: b.pick(avoid="a"), InvalidType, "avoid must be a collection of names, got str"),
        (lambda b: b.pick(avoid=iter("a")), InvalidType, "avoid must be a collection of names, got str_"),
        (lambda b: b.pick_many(2, avoid=7), InvalidType, "avoid must be a collection of names, got int"),
        (lambda b: b.pick_many(-1), InvalidValue, "n must be >= 0 and <= 10000000 picks, got -1"),
        (lambda b: b.pick_many(1.5), InvalidType, "n must be an integer, got float"),
    ],
)  # fmt: skip
def test_change_that_cannot_be_is_refused_and_changes_nothing(change, error, text):
    balancer = Balancer({"a": 1, "b": 2})
    with pytest.raises(error, match=text) as caught:
        change(balancer)
    assert isinstance(caught.value, PenstockError)
    assert balancer.weights == {"a": 1, "b": 2}
    assert set(statuses(balancer).values()) == {"up"}


@pytest.mark.parametrize(
    "weight",
    [0, -1, 0.0, float("nan"), float("inf"), 10**9 + 1, 10**5000, -(10**5000), 1e10],
    ids=lambda weight: type(weight).__name__,
)
def test_weight_out_of_range_is_refused(weight):
    with pytest.raises(InvalidValue, match=r"weight of 'a' must be > 0 and <= 1000000000, got") as caught:
        Balancer({"a": weight})
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("weight", [None, "1", Decimal(1), 1j])
def test_weight_of_another_type_is_refused(weight):
    with pytest.raises(InvalidType, match="weight of 'a' must be an int or float, got"):
        Balancer({"a": weight})


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"policy": "round robin"}, InvalidType, "policy must be a Policy, got 'round robin'"),
        ({"policy": RoundRobin}, InvalidType, "policy must be a Policy, got <class"),
        ({"slow_start": 0}, InvalidValue, "window must be > 0 and <= 1000000000 seconds, got 0"),
        ({"slow_start": "fast"}, InvalidType, "window must be a number, got str"),
        ({"outliers": True}, InvalidType, "outliers must be an OutlierDetection or None, got bool"),
        ({"panic_threshold": 1.5}, InvalidValue, "panic_threshold must be >= 0 and <= 1, got 1.5"),
        ({"panic_threshold": float("nan")}, InvalidValue, "panic_threshold must be >= 0 and <= 1, got nan"),
        ({"panic_threshold": "half"}, InvalidType, "panic_threshold must be a number, got str"),
        ({"zone_of": {"a": "eu"}}, InvalidType, "zone_of must be callable or None, got dict"),
        ({"clock": 7}, InvalidType, "clock must be callable or None, got int"),
    ],
)
def test_setting_that_cannot_be_is_refused(settings, error, text):
    with pytest.raises(error, match=re.escape(text)):
        Balancer({"a": 1}, **settings)


def test_members_are_bounded():
    many = dict.fromkeys(range(10_000), 1)
    balancer = Balancer(many)
    with pytest.raises(InvalidValue, match="members must be at most 10000, got 10001"):
        balancer.add("one more")
    with pytest.raises(InvalidValue, match="members must be at most 10000, got 10001"):
        Balancer({**many, "one more": 1})


def test_balancer_says_what_it_is():
    assert repr(Balancer({"a": 1, "b": 1})) == "<Balancer of 2 members, SmoothWeighted>"
    policy = LeastConnections()
    assert Balancer({}, policy=policy).policy is policy


# Up and down


def test_member_that_is_down_is_not_picked_until_it_is_up():
    balancer = Balancer({"a": 1, "b": 1, "c": 2})
    balancer.mark_down("c")
    balancer.mark_down("c")
    assert balancer.up == ("a", "b")
    assert Counter(picked(balancer, 100)) == {"a": 50, "b": 50}
    balancer.mark_up("c")
    balancer.mark_up("a")
    assert statuses(balancer) == {"a": "up", "b": "up", "c": "up"}
    assert Counter(picked(balancer, 100))["c"] == 50


def test_nobody_is_picked_when_all_are_down():
    balancer = Balancer({"a": 1, "b": 1})
    for name in "ab":
        balancer.mark_down(name)
    with pytest.raises(NoMemberUp, match="a pick needs at least 1 member that may be picked, got 0 of 2"):
        balancer.pick()


# Slow start


def test_member_that_joins_warms_up_as_envoys_formula_says(clock):
    balancer = Balancer({"a": 1, "b": 1}, slow_start=10.0, clock=clock)
    balancer.add("c", 2)
    weights = []
    for _ in range(6):
        picked(balancer, 1)
        weights.append(balancer.stats()["c"].effective_weight)
        clock.advance(2)
    assert weights == pytest.approx([0.2, 0.4, 0.8, 1.2, 1.6, 2.0])
    assert [figures.effective_weight for figures in balancer.stats().values()] == [1, 1, 2]


@pytest.mark.parametrize(("aggression", "factor"), [(1.0, 0.25), (2.0, 0.5), (0.5, 0.1)])
def test_aggression_bends_the_rise(aggression, factor, clock):
    balancer = Balancer({"a": 1}, slow_start=SlowStart(8.0, aggression=aggression), clock=clock)
    balancer.mark_down("a")
    balancer.mark_up("a")
    clock.advance(2)
    assert balancer.stats()["a"].effective_weight == pytest.approx(factor)


@pytest.mark.parametrize(
    "policy",
    [SmoothWeighted, WeightedLeastConnections, lambda: PowerOfTwoChoices(random=random.Random(1).random)],
)
def test_warming_member_gets_its_part(policy, clock):
    balancer = Balancer({"a": 1, "b": 1}, policy=policy(), slow_start=100.0, clock=clock)
    balancer.mark_down("b")
    balancer.mark_up("b")
    clock.advance(25)
    assert Counter(picked(balancer, 5_000))["b"] == pytest.approx(1_000, rel=0.1)
    clock.advance(75)
    assert Counter(picked(balancer, 2_000))["b"] == pytest.approx(1_000, rel=0.1)


def test_first_members_are_warm_and_a_new_weight_warms_on(clock):
    balancer = Balancer({"a": 1, "b": 1}, slow_start=10.0, clock=clock)
    assert balancer.stats()["a"].effective_weight == 1
    balancer.drain("a")
    balancer.undrain("a")
    clock.advance(5)
    balancer.set_weight("a", 8)
    assert balancer.stats()["a"].effective_weight == pytest.approx(4)


@given(
    window=st.floats(0.001, 1e6), aggression=st.floats(0.1, 10), min_weight=st.floats(0.001, 1),
    times=st.lists(st.floats(-10, 2e6), min_size=2),
)  # fmt: skip
def test_warming_weight_rises_from_its_minimum_to_the_whole(window, aggression, min_weight, times):
    slow_start = SlowStart(window, aggression, min_weight)
    factors = [slow_start.factor(elapsed) for elapsed in sorted(times)]
    assert factors == sorted(factors)
    assert all(min_weight <= factor <= 1 for factor in factors)
    assert slow_start.factor(window) == 1


def test_slow_start_without_a_rise_is_none(clock):
    balancer = Balancer({"a": 1}, slow_start=SlowStart(10.0, min_weight=1.0), clock=clock)
    balancer.add("b")
    assert balancer.stats()["b"].effective_weight == 1


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"window": 0}, "window must be > 0 and <= 1000000000 seconds, got 0"),
        ({"window": float("inf")}, "window must be > 0 and <= 1000000000 seconds, got inf"),
        ({"window": 1, "aggression": 0}, "aggression must be > 0 and <= 1000000000, got 0"),
        ({"window": 1, "min_weight": 1.5}, "min_weight must be > 0 and <= 1, got 1.5"),
        ({"window": 1, "min_weight": 0}, "min_weight must be > 0 and <= 1000000000, got 0"),
    ],
)
def test_slow_start_that_cannot_be_is_refused(settings, text):
    with pytest.raises(InvalidValue, match=text):
        SlowStart(**settings)


# Outliers


def balancer_of(n, clock, policy=None, **settings):
    return Balancer(
        dict.fromkeys("abcdefghij"[:n], 1),
        policy=policy or RoundRobin(),
        outliers=OutlierDetection(**settings),
        clock=clock,
    )


def test_failures_in_a_row_eject_a_member_until_its_time_is_up(clock):
    balancer = balancer_of(3, clock)
    fail(balancer, "a", 4)
    done(balancer.pick(avoid=["b", "c"]))
    fail(balancer, "a", 4)
    assert balancer.up == ("a", "b", "c"), "a success between them"
    fail(balancer, "a", 1)
    assert balancer.up == ("b", "c")
    assert statuses(balancer)["a"] == "ejected"
    clock.advance(29.999)
    assert set(picked(balancer, 10)) == {"b", "c"}
    clock.advance(0.001)
    assert set(picked(balancer, 10)) == {"a", "b", "c"}
    assert balancer.stats()["a"].ejections == 1


def test_every_ejection_lasts_one_base_time_longer_up_to_the_limit(clock):
    balancer = balancer_of(2, clock, consecutive_failures=1, interval=1e6, max_ejection=70.0)
    lasted = []
    for _ in range(4):
        fail(balancer, "a", 1)
        since = clock.now
        while "a" not in balancer.up:
            clock.advance(10)
        lasted.append((clock.now - since) / 1e9)
    assert lasted == [30, 60, 70, 70]


def test_every_interval_without_an_ejection_takes_one_off_the_next(clock):
    balancer = balancer_of(2, clock, consecutive_failures=1)
    clock.advance(5)
    for _ in range(3):
        fail(balancer, "a", 1)
        while "a" not in balancer.up:
            clock.advance(1)
    clock.advance(30)  # the interval in which it returned, then two more
    assert balancer.up == ("a", "b")
    fail(balancer, "a", 1)
    clock.advance(59)
    assert balancer.up == ("b",)
    clock.advance(1)
    assert balancer.up == ("a", "b")


@pytest.mark.parametrize("step", [1, 5, 15, 30])
def test_intervals_in_which_a_member_was_out_take_nothing_off_however_rarely_one_looks(step, clock):
    balancer = balancer_of(2, clock, consecutive_failures=1)
    fail(balancer, "a", 1)
    while "a" not in balancer.up:
        clock.advance(step)
    assert clock.now == 30 * 10**9
    fail(balancer, "a", 1)
    clock.advance(59)
    assert balancer.up == ("b",)
    clock.advance(1)
    assert balancer.up == ("a", "b")


@pytest.mark.parametrize(
    ("members", "max_ejected", "out"),
    [(10, 0.3, 3), (10, 0.29, 2), (3, 0.1, 1), (3, 0, 0), (3, 1, 3), (1, 0.1, 1)],
)
def test_ejected_are_at_most_so_many(members, max_ejected, out, clock):
    balancer = balancer_of(members, clock, max_ejected=max_ejected)
    for name in balancer.members:
        fail(balancer, name, 5)
    assert Counter(statuses(balancer).values())["ejected"] == out


def test_member_that_may_not_be_ejected_yet_is_after_as_many_failures_again(clock):
    balancer = balancer_of(3, clock)
    fail(balancer, "a", 5)
    clock.advance(20)
    fail(balancer, "b", 5)
    assert balancer.up == ("b", "c")
    clock.advance(10)
    fail(balancer, "b", 4)
    assert balancer.up == ("a", "b", "c")
    fail(balancer, "b", 1)
    assert balancer.up == ("a", "c")


def test_success_rate_far_below_the_others_ejects_at_the_end_of_the_interval(clock):
    balancer = balancer_of(6, clock, consecutive_failures=None)
    for turn in range(100):
        for _ in range(6):
            lease = balancer.pick()
            lease.release("failed" if lease.member == "c" and turn % 3 == 0 else None)
    assert len(balancer.up) == 6
    clock.advance(10)
    assert balancer.up == ("a", "b", "d", "e", "f")


def test_member_that_drains_takes_nobodys_place_among_the_ejected(clock):
    balancer = balancer_of(7, clock, consecutive_failures=None)
    for turn in range(100):
        for _ in range(7):
            lease = balancer.pick()
            lease.release("failed" if lease.member in "ag" and turn % 3 == 0 else None)
    balancer.drain("a")
    clock.advance(10)
    assert balancer.up == ("b", "c", "d", "e", "f")


@pytest.mark.parametrize(("members", "turns"), [(4, 100), (6, 99)])
def test_success_rates_of_few_say_nothing(members, turns, clock):
    balancer = balancer_of(members, clock, consecutive_failures=None)
    for turn in range(turns):
        for _ in range(members):
            lease = balancer.pick()
            lease.release("failed" if lease.member == "c" and turn % 3 == 0 else None)
    clock.advance(10)
    assert len(balancer.up) == members


def test_outcomes_of_one_interval_are_not_those_of_the_next(clock):
    balancer = balancer_of(6, clock, consecutive_failures=None)
    for _ in range(2):
        for _ in range(60 * 6):
            lease = balancer.pick()
            lease.release("failed" if lease.member == "c" else None)
        clock.advance(10)
        assert len(balancer.up) == 6


def test_success_rate_can_be_left_out(clock):
    balancer = balancer_of(6, clock, consecutive_failures=None, success_rate_stdev=None)
    for _ in range(600):
        lease = balancer.pick()
        lease.release("failed" if lease.member == "c" else None)
    clock.advance(10)
    assert len(balancer.up) == 6


def test_member_that_returns_from_an_ejection_warms_up(clock):
    balancer = Balancer({"a": 1, "b": 1}, slow_start=10.0, outliers=OutlierDetection(), clock=clock)
    fail(balancer, "a", 5)
    clock.advance(30)
    assert balancer.stats()["a"].effective_weight == pytest.approx(0.1)
    clock.advance(10)
    assert balancer.stats()["a"].effective_weight == 1


def test_failures_of_who_is_out_already_do_not_eject_again(clock):
    balancer = balancer_of(2, clock, consecutive_failures=2)
    leases = [balancer.pick(avoid=["b"]) for _ in range(6)]
    balancer.remove("b")
    gone = balancer_of(2, clock, consecutive_failures=1)
    late = gone.pick(avoid=["b"])
    gone.remove("a")
    late.release("failed")
    for lease in leases:
        lease.release("failed")
    assert balancer.stats()["a"].ejections == 1
    assert statuses(gone) == {"b": "up"}


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        (
            {"consecutive_failures": 0},
            InvalidValue,
            "consecutive_failures must be >= 1 and <= 1000000000, got 0",
        ),
        ({"consecutive_failures": 1.5}, InvalidType, "consecutive_failures must be an int, got float"),
        ({"interval": 0}, InvalidValue, "interval must be > 0 and <= 1000000000 seconds, got 0"),
        ({"base_ejection": -1}, InvalidValue, "base_ejection must be > 0 and <= 1000000000 seconds, got -1"),
        ({"max_ejection": 29}, InvalidValue, "max_ejection must be >= base_ejection 30.0 seconds, got 29"),
        ({"interval": 10**400}, InvalidValue, "interval must be > 0 and <= 1000000000 seconds, got 1000"),
        ({"max_ejected": 1.1}, InvalidValue, "max_ejected must be >= 0 and <= 1, got 1.1"),
        ({"success_rate_stdev": 0}, InvalidValue, "success_rate_stdev must be > 0 and <= 1000000000, got 0"),
        ({"success_rate_members": 0}, InvalidValue, "success_rate_members must be >= 1"),
        ({"success_rate_volume": 10**400}, InvalidValue, "success_rate_volume must be >= 1"),
    ],
)
def test_outlier_detection_that_cannot_be_is_refused(settings, error, text):
    with pytest.raises(error, match=re.escape(text)):
        OutlierDetection(**settings)


# Panic


def test_health_is_ignored_where_too_few_are_healthy():
    balancer = Balancer(dict.fromkeys("abcd", 1), policy=RoundRobin(), panic_threshold=0.5)
    balancer.mark_down("a")
    balancer.mark_down("b")
    assert set(picked(balancer, 8)) == {"c", "d"}, "half is enough"
    balancer.mark_down("c")
    assert set(picked(balancer, 8)) == {"a", "b", "c", "d"}
    assert balancer.up == ("d",)
    balancer.mark_up("a")
    assert set(picked(balancer, 8)) == {"a", "d"}


def test_panic_reaches_no_member_that_drains():
    balancer = Balancer(dict.fromkeys("abc", 1), policy=RoundRobin(), panic_threshold=1.0)
    balancer.drain("a")
    assert set(picked(balancer, 6)) == {"b", "c"}
    balancer.mark_down("b")
    assert set(picked(balancer, 6)) == {"b", "c"}


def test_panic_knows_no_zones():
    balancer = Balancer({"a": 1, "b": 1, "c": 1}, zone="a", zone_of=str, panic_threshold=0.5)
    assert set(picked(balancer, 9)) == {"a"}
    balancer.mark_down("a")
    balancer.mark_down("b")
    assert Counter(picked(balancer, 9)) == {"a": 3, "b": 3, "c": 3}


# Zones


def zoned(**settings):
    weights = {"eu-1": 1, "eu-2": 1, "eu-3": 2, "us-1": 1, "us-2": 2}
    return Balancer(weights, zone="eu", zone_of=lambda name: name[:2], **settings)


def test_local_zone_is_preferred_while_it_carries_the_load():
    balancer = zoned()
    assert Counter(picked(balancer, 40)) == {"eu-1": 10, "eu-2": 10, "eu-3": 20}
    balancer.mark_down("eu-1")
    assert {name[:2] for name in picked(balancer, 40)} == {"eu"}, "75 % of its weight"
    assert balancer.stats()["us-1"].zone == "us"


def test_what_the_local_zone_cannot_carry_goes_to_the_others_by_weight():
    balancer = zoned()
    balancer.mark_down("eu-3")
    assert Counter(picked(balancer, 1000)) == pytest.approx(
        {"eu-1": 350, "eu-2": 350, "us-1": 100, "us-2": 200}, abs=1
    )
    balancer.mark_down("eu-1")
    assert Counter(picked(balancer, 1000)) == pytest.approx({"eu-2": 350, "us-1": 217, "us-2": 433}, abs=1)
    balancer.mark_down("eu-2")
    assert Counter(picked(balancer, 90)) == {"us-1": 30, "us-2": 60}


def test_local_zone_gets_all_when_there_is_no_other():
    balancer = zoned()
    for name in ("us-1", "us-2", "eu-1", "eu-3"):
        balancer.mark_down(name)
    assert set(picked(balancer, 10)) == {"eu-2"}


def test_member_that_drains_is_no_part_of_its_zones_health():
    balancer = zoned()
    balancer.drain("eu-3")
    assert Counter(picked(balancer, 10)) == {"eu-1": 5, "eu-2": 5}


def test_zone_may_be_told_when_a_member_joins():
    balancer = Balancer({"x": 1}, zone="eu")
    balancer.add("y", zone="eu")
    assert set(picked(balancer, 5)) == {"y"}
    assert balancer.stats()["x"].zone is None


def test_other_zone_takes_what_the_local_one_must_not():
    balancer = zoned()
    assert {done(balancer.pick(avoid=["eu-1", "eu-2", "eu-3"])) for _ in range(6)} == {"us-1", "us-2"}


# Drain


def test_drained_is_heard_when_the_last_lease_is_released(virtual):
    async def scenario():
        balancer = Balancer({"a": 1, "b": 1}, policy=RoundRobin())
        leases = [balancer.pick() for _ in range(4)]
        balancer.drain("a")
        balancer.drain("a")
        waits = [asyncio.create_task(balancer.drained("a")) for _ in range(2)]
        await asyncio.sleep(1)
        assert set(picked(balancer, 3)) == {"b"}
        leases[0].release()
        await asyncio.sleep(1)
        assert not any(wait.done() for wait in waits)
        leases[2].release("failed")
        await asyncio.wait_for(asyncio.gather(*waits), 1)
        await balancer.drained("a")
        assert statuses(balancer) == {"a": "draining", "b": "up"}
        balancer.undrain("a")
        balancer.undrain("a")
        assert set(picked(balancer, 4)) == {"a", "b"}

    virtual(scenario())


def test_waiting_for_a_drain_may_be_given_up(virtual):
    async def scenario():
        balancer = Balancer({"a": 1})
        lease = balancer.pick()
        balancer.drain("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(balancer.drained("a"), 5)
        assert lease.release()
        with pytest.raises(NoMemberUp):
            balancer.pick()

    virtual(scenario())


def test_wait_ends_when_the_drain_is_taken_back(virtual):
    async def scenario():
        balancer = Balancer({"a": 1})
        lease = balancer.pick()
        balancer.drain("a")
        wait = asyncio.create_task(balancer.drained("a"))
        await asyncio.sleep(1)
        balancer.undrain("a")
        with pytest.raises(InvalidValue, match="member must be draining, got 'a', which is up"):
            await asyncio.wait_for(wait, 5)
        lease.release()

    virtual(scenario())


def test_drain_is_heard_from_a_member_that_was_removed_meanwhile_by_a_thread(virtual):
    async def scenario():
        balancer = Balancer({"a": 1, "b": 1}, policy=RoundRobin())
        lease = balancer.pick()
        balancer.drain("a")
        wait = asyncio.create_task(balancer.drained("a"))
        await asyncio.sleep(1)
        balancer.remove("a")
        await asyncio.to_thread(lease.release)
        await asyncio.wait_for(wait, 5)

    virtual(scenario())


def test_loop_that_is_gone_harms_no_release(clock):
    from virtual_time import VirtualTimeLoop

    balancer = Balancer({"a": 1})
    lease = balancer.pick()
    balancer.drain("a")
    loop = VirtualTimeLoop(clock)
    wait = loop.create_task(balancer.drained("a"))
    run_once(loop)
    loop.close()
    assert lease.release()
    assert balancer.stats()["a"].active == 0
    wait._log_destroy_pending = False


async def test_drained_needs_a_drain():
    balancer = Balancer({"a": 1})
    with pytest.raises(InvalidValue, match="member must be draining, got 'a', which is up"):
        await balancer.drained("a")


# Threads, and code of others


@pytest.mark.parametrize("policy", [RoundRobin, SmoothWeighted, ExactWeighted, LeastConnections, PeakEwma])
def test_threads_lose_no_pick_while_members_come_and_go(policy):
    balancer = Balancer(dict.fromkeys("abcd", 1), policy=policy(), outliers=OutlierDetection())
    end = threading.Event()

    def work():
        counts = Counter()
        while not end.is_set():
            with balancer.pick() as lease:
                counts[lease.member] += 1
        return counts

    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(work) for _ in range(4)]
        for turn in range(100):
            balancer.mark_down("a")
            balancer.add(turn)
            balancer.set_weight("b", 1 + turn % 3)
            balancer.mark_up("a")
            balancer.drain("c")
            balancer.undrain("c")
            balancer.remove(turn)
        end.set()
        counts = sum((job.result() for job in jobs), Counter())
    for name, figures in balancer.stats().items():
        assert (figures.active, figures.picks, figures.failures) == (0, counts[name], 0)


def test_threads_that_add_at_once_all_join():
    balancer = Balancer({})
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(balancer.add, range(200)))
    assert sorted(balancer.members) == list(range(200))


def test_names_may_use_the_balancer_while_they_are_compared():
    class Curious:
        def __hash__(self):
            return 7

        def __eq__(self, other):
            balancer.pick().release()
            return self is other

    one, other = Curious(), Curious()
    balancer = Balancer({"a": 1})
    balancer.add(one)
    balancer.add(other)
    balancer.set_weight(other, 2)
    balancer.remove(other)
    assert len(balancer) == 2


def test_clock_may_use_the_balancer():
    class Clock:
        balancer = None

        def __call__(self):
            balancer, self.balancer = self.balancer, None
            if balancer:
                balancer.pick().release()
                self.balancer = balancer
            return 0

    clock = Clock()
    balancer = Balancer({"a": 1, "b": 1}, clock=clock)
    clock.balancer = balancer
    balancer.pick().release()
    assert sum(figures.picks for figures in balancer.stats().values()) >= 2


def test_clock_that_fails_changes_nothing():
    broken = []

    def clock():
        if broken:
            raise OSError("no clock")
        return 0

    balancer = Balancer({"a": 1}, clock=clock)
    lease = balancer.pick()
    broken.append(True)
    for change in (balancer.pick, lease.release, lambda: balancer.mark_down("a"), lambda: balancer.add("b")):
        with pytest.raises(OSError, match="no clock"):
            change()
    broken.clear()
    assert balancer.members == balancer.up == ("a",)
    assert lease.release()
    figures = balancer.stats()["a"]
    assert (figures.picks, figures.active) == (1, 0)


def test_destructors_may_use_the_balancer():
    balancer = Balancer({"a": 1, "b": 1})

    class Last:
        def __del__(self):
            balancer.pick().release()

    for _ in range(50):
        knot = Last()
        knot.knot = knot
        balancer.add(knot)
        balancer.remove(knot)
        del knot
        gc.collect()
    assert sum(figures.picks for figures in balancer.stats().values()) >= 50


# The reference's program, example 56


def test_reference_round_robin_gives_everyone_the_same():
    balancer = Balancer({"server-1": 1, "server-2": 1, "server-3": 2}, policy=RoundRobin())
    assert Counter(picked(balancer, 30)) == {"server-1": 10, "server-2": 10, "server-3": 10}


def test_reference_weighted_gives_the_strong_one_half_but_not_in_bursts():
    balancer = Balancer({"server-1": 1, "server-2": 1, "server-3": 2})
    sequence = picked(balancer, 40)
    assert Counter(sequence) == {"server-1": 10, "server-2": 10, "server-3": 20}
    assert all(sequence[i : i + 2] != ["server-3"] * 2 for i in range(0, 40, 4))


def test_reference_least_connections_ends_with_nobody_active(virtual):
    async def scenario():
        balancer = Balancer({"server-1": 1, "server-2": 1, "server-3": 2}, policy=LeastConnections())
        dice = random.Random(56)

        async def handle(lease, seconds):
            with lease:
                await asyncio.sleep(seconds)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(30):
                tasks.create_task(handle(balancer.pick(), dice.randint(1, 10) / 1000))
                await asyncio.sleep(0.001)
        figures = balancer.stats().values()
        assert [each.active for each in figures] == [0, 0, 0]
        assert sum(each.picks for each in figures) == 30
        assert all(5 <= each.picks <= 15 for each in figures)

    virtual(scenario())


def test_reference_without_servers_or_weights_says_so():
    with pytest.raises(NoMemberUp, match="got 0 of 0"):
        Balancer({}).pick()
    with pytest.raises(InvalidValue, match="weight of 'server-1' must be > 0"):
        Balancer({"server-1": 0, "server-2": 0})
