"""Whom each policy picks; equal to nginx and Finagle where it says so."""

from collections import Counter
from fractions import Fraction
from itertools import groupby
from math import exp
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.balancing import (
    Affinity,
    Balancer,
    ExactWeighted,
    LeastConnections,
    NoMemberUp,
    PeakEwma,
    Policy,
    PowerOfTwoChoices,
    RoundRobin,
    SmoothWeighted,
    WeightedLeastConnections,
    WeightedRoundRobin,
)
from penstock.balancing.balancer import fraction_of
from penstock.clock import ManualClock
from penstock.errors import InvalidType, InvalidValue
from penstock.hashring import HashRing, MaglevTable, RendezvousHash

POLICIES = [
    RoundRobin,
    SmoothWeighted,
    ExactWeighted,
    LeastConnections,
    WeightedLeastConnections,
    PowerOfTwoChoices,
    PeakEwma,
]


def picked(balancer, n):
    """The next `n` picks, each done at once."""
    return [done(balancer.pick()) for _ in range(n)]


def done(lease):
    lease.release()
    return lease.member


# Round robin


def test_round_robin_takes_turns_in_order_whatever_the_weights():
    balancer = Balancer({"a": 1, "b": 9, "c": 1}, policy=RoundRobin())
    assert "".join(picked(balancer, 7)) == "abcabca"


def test_round_robin_goes_on_behind_the_last_one_while_members_come_and_go():
    balancer = Balancer(dict.fromkeys("abcd", 1), policy=RoundRobin())
    assert "".join(picked(balancer, 2)) == "ab"
    balancer.mark_down("c")
    assert "".join(picked(balancer, 2)) == "da"
    balancer.remove("b")
    balancer.mark_up("c")
    balancer.add("e")
    assert "".join(picked(balancer, 5)) == "cdeac"


def test_round_robin_takes_turns_in_each_zone_by_itself():
    balancer = Balancer({"a1": 1, "a2": 1, "a3": 1, "b1": 1, "b2": 1}, zone="a", zone_of=lambda n: n[0],
                        policy=RoundRobin())  # fmt: skip
    balancer.mark_down("a1")
    balancer.mark_down("a2")
    counts = Counter(picked(balancer, 300))
    assert counts["a3"] == pytest.approx(300 * 1.4 / 3, abs=1)
    assert abs(counts["b1"] - counts["b2"]) <= 1


# Weighted round robin


def nginx_order(weights, rounds):
    """ngx_http_upstream_get_peer, in the words of its author; `rounds` says who is up at each pick."""
    current, order = [0] * len(weights), []
    for up in rounds:
        for i in up:
            current[i] += weights[i]
        best = max(up, key=lambda i: (current[i], -i))
        current[best] -= sum(weights[i] for i in up)
        order.append(best)
    return order


def test_smooth_weighted_has_the_order_that_nginx_documents():
    assert "".join(picked(Balancer({"a": 5, "b": 1, "c": 1}), 7)) == "aabacaa"
    assert nginx_order([5, 1, 1], [range(3)] * 7) == [0, 0, 1, 0, 2, 0, 0]


@given(data=st.data())
def test_smooth_weighted_equals_nginx_while_members_go_down_and_come_back(data):
    weights = data.draw(st.lists(st.integers(1, 1000), min_size=1, max_size=8))
    members = range(len(weights))
    rounds = data.draw(
        st.lists(st.sets(st.sampled_from(members), min_size=1).map(sorted), min_size=1, max_size=60)
    )
    balancer = Balancer(dict(enumerate(weights)), policy=SmoothWeighted())
    order = []
    for up in rounds:
        for member in members:
            (balancer.mark_up if member in up else balancer.mark_down)(member)
        order += picked(balancer, 1)
    assert order == nginx_order(weights, rounds)


def longest_run(members):
    return max(len(list(run)) for _, run in groupby(members))


@pytest.mark.parametrize("zone", [None, "b"])
def test_weight_that_falls_leaves_no_burst_behind(zone):
    weights = {"a": 1000, "b1": 1, "b2": 1000}
    balancer = Balancer(weights, zone=zone, zone_of=lambda name: name[0])
    balancer.pick_many(500)
    balancer.update({"a": 1000, "b1": 1, "b2": 1} if zone else {"a": 1, "b1": 1, "b2": 1})
    assert longest_run(balancer.pick_many(100)) <= 3


def test_member_that_leaves_takes_the_debts_to_the_others_with_it():
    balancer = Balancer({"a": 1000, "b": 1, "c": 1})
    assert Counter(balancer.pick_many(501)) == {"a": 500, "b": 1}
    balancer.remove("a")
    assert longest_run(balancer.pick_many(100)) <= 3


@given(data=st.data())
def test_smooth_weighted_keeps_shares_whatever_the_weights_were_before(data):
    weight = st.integers(1, 10**6)
    names = "abcd"
    balancer = Balancer({name: data.draw(weight) for name in names})
    for _ in range(data.draw(st.integers(0, 5))):
        balancer.pick_many(data.draw(st.integers(0, 300)))
        balancer.set_weight(data.draw(st.sampled_from(names)), data.draw(weight))
    small = {name: data.draw(st.integers(1, 9)) for name in names}
    balancer.update(small)
    total = sum(small.values())
    counts = Counter(balancer.pick_many(20 * total))
    assert all(abs(counts[name] - 20 * small[name]) <= total for name in names)


@pytest.mark.parametrize("policy", [SmoothWeighted, ExactWeighted])
def test_weights_are_shares_exactly(policy):
    balancer = Balancer({"a": 40, "b": 30, "c": 20, "d": 10}, policy=policy())
    for _ in range(3):
        assert Counter(picked(balancer, 10)) == {"a": 4, "b": 3, "c": 2, "d": 1}


@given(data=st.data())
def test_exact_weighted_is_weighted_round_robin_also_while_members_go_down(data):
    weights = data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=6))
    names = range(len(weights))
    balancer = Balancer(dict(enumerate(weights)), policy=ExactWeighted())
    twin = WeightedRoundRobin(dict(enumerate(weights)))
    for up in data.draw(st.lists(st.sets(st.sampled_from(names), min_size=1), max_size=30)):
        for name in names:
            for either in (balancer, twin):
                (either.mark_up if name in up else either.mark_down)(name)
        assert done(balancer.pick()) == twin.pick()
    assert balancer.policy.credits() == twin.credits()
    assert balancer.policy.state() == twin.state()


def test_exact_weighted_goes_on_from_a_state():
    weights = {"a": 40, "b": 30, "c": 20, "d": 10}
    first, second = Balancer(weights, policy=ExactWeighted()), Balancer(weights, policy=ExactWeighted())
    head = first.pick_many(7)
    second.policy.restore(first.policy.state())
    whole = WeightedRoundRobin(weights)
    assert head + second.pick_many(13) == [whole.pick() for _ in range(20)]
    assert first.policy.weights == {"a": 4, "b": 3, "c": 2, "d": 1}
    assert first.policy.credits()["a"] == Fraction(7 * 4, 10) - head.count("a")


def test_exact_weighted_begins_anew_when_a_weight_changes():
    balancer = Balancer({"a": 3, "b": 1}, policy=ExactWeighted())
    balancer.pick_many(3)
    balancer.set_weight("a", 1)
    assert balancer.pick_many(4) == ["a", "b", "a", "b"]


def test_exact_weighted_refuses_weights_without_a_fine_proportion_and_nothing_changes():
    balancer = Balancer({"a": 1, "b": 1}, policy=ExactWeighted())
    with pytest.raises(InvalidValue, match="weights must reduce to integers"):
        balancer.set_weight("a", 0.1234567891)
    with pytest.raises(InvalidValue, match="weights must reduce to integers"):
        balancer.add("c", 1e-9)
    assert balancer.weights == {"a": 1, "b": 1}
    assert Counter(balancer.pick_many(100)) == {"a": 50, "b": 50}


def test_exact_weighted_without_members_has_no_state():
    policy = ExactWeighted()
    Balancer({}, policy=policy)
    assert policy.weights == policy.credits() == {}
    assert policy.state() == {"weights": [], "scale": 0, "credits": []}
    with pytest.raises(InvalidValue, match="state must be restored to a balancer with members, got one"):
        policy.restore({"weights": [1], "scale": 1, "credits": [0]})


# Least connections


def test_least_connections_picks_the_least_busy_and_the_first_among_equals():
    balancer = Balancer({"a": 1, "b": 5, "c": 1}, policy=LeastConnections())
    leases = [balancer.pick() for _ in range(4)]
    assert [lease.member for lease in leases] == ["a", "b", "c", "a"]
    leases[1].release()
    assert balancer.pick().member == "b"
    leases[2].release()
    leases[0].release()
    assert balancer.pick().member == "c", "a has one still"


def nginx_least(weights, active, current):
    """ngx_http_upstream_get_least_conn_peer, for members that never failed."""
    least = min(Fraction(n, w) for n, w in zip(active, weights, strict=True))
    equals = [i for i, n in enumerate(active) if Fraction(n, weights[i]) == least]
    if len(equals) == 1:
        return equals[0]
    for i in equals:
        current[i] += weights[i]
    best = max(equals, key=lambda i: (current[i], -i))
    current[best] -= sum(weights[i] for i in equals)
    return best


@given(
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    steps=st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=60),
)
def test_weighted_least_connections_equals_nginx(weights, steps):
    balancer = Balancer(dict(enumerate(weights)), policy=WeightedLeastConnections())
    active, current, leases = [0] * len(weights), [0] * len(weights), []
    for step in steps:
        if step is None or not leases:
            expected = nginx_least(weights, active, current)
            active[expected] += 1
            leases.append(balancer.pick())
            assert leases[-1].member == expected
        else:
            lease = leases.pop(step % len(leases))
            active[lease.member] -= 1
            lease.release()
    assert [figures.active for figures in balancer.stats().values()] == active


# Two choices


def test_two_choices_never_pick_the_busiest():
    balancer = Balancer(dict.fromkeys("abc", 1), policy=PowerOfTwoChoices(random=Random(3).random))
    busy = [balancer.pick() for _ in range(30)]
    for lease in busy:
        if lease.member != "b":
            lease.release()
    held = balancer.stats()["b"].active
    assert held >= 5
    assert Counter(picked(balancer, 300))["b"] == 0


def test_two_choices_spread_idle_members_by_weight():
    balancer = Balancer({"a": 1, "b": 2, "c": 5}, policy=PowerOfTwoChoices(random=Random(1).random))
    counts = Counter(picked(balancer, 8_000))
    assert counts["a"] == pytest.approx(1_000, rel=0.15)
    assert counts["b"] == pytest.approx(2_000, rel=0.1)
    assert counts["c"] == pytest.approx(5_000, rel=0.1)


def test_two_choices_keep_the_busiest_near_the_mean():
    balancer = Balancer(dict.fromkeys(range(100), 1), policy=PowerOfTwoChoices(random=Random(5).random))
    for _ in range(1_000):
        balancer.pick()
    assert max(figures.active for figures in balancer.stats().values()) <= 13


@pytest.mark.parametrize("policy", [PowerOfTwoChoices, PeakEwma])
def test_choices_can_be_repeated_with_equal_dice(policy):
    def run(random):
        balancer = Balancer(
            {i: 1 + i % 3 for i in range(9)}, policy=policy(random=random), clock=ManualClock()
        )
        return [balancer.pick().member for _ in range(200)]

    foreign = Random(7)
    seeded = run(Random(7).random)
    assert seeded == run(Random(7).random) == run(lambda: foreign.random())
    assert seeded != run(Random(8).random)


@given(
    weights=st.lists(st.one_of(st.integers(1, 10**9), st.floats(1e-9, 1e9)), min_size=2, max_size=6),
    dice=st.lists(st.floats(0, 1), min_size=1, max_size=4),
)
def test_two_different_members_are_drawn_whatever_the_dice(weights, dice):
    drawn = []

    class Spy(PowerOfTwoChoices):
        def narrow(self, group, key, now):
            drawn.append(super().narrow(group, key, now))
            return drawn[-1]

    rolls = iter(dice * 50)
    balancer = Balancer(dict(enumerate(weights)), policy=Spy(random=lambda: next(rolls)))
    picked(balancer, 20)
    assert all(one is not other for one, other in drawn)
    assert len(drawn) == 20


# Peak EWMA


class FinaglesMetric:
    """com.twitter.finagle.loadbalancer.p2c.P2CPeakEwma.Metric, line by line."""

    def __init__(self, now, tau):
        self.tau, self.stamp, self.pending, self.cost = tau, now, 0, 0.0

    def observe(self, rtt, now):
        td = max(now - self.stamp, 0)
        w = exp(-td / self.tau)
        self.cost = rtt if rtt > self.cost else self.cost * w + rtt * (1.0 - w)
        self.stamp = now

    def get(self, now):
        self.observe(0, now)
        if self.cost == 0.0 and self.pending != 0:
            return 0x7FFFFFFFFFFF + self.pending
        return self.cost * (self.pending + 1)


@given(
    steps=st.lists(st.tuples(st.integers(0, 2 * 10**9), st.integers(0, 5), st.booleans()), max_size=60),
    decay=st.sampled_from([0.001, 1.0, 10.0]),
)
def test_peak_ewma_chooses_as_finagle_does(steps, decay):
    clock = ManualClock(10**12)
    balancer = Balancer({0: 1, 1: 1}, policy=PeakEwma(decay, random=lambda: 0.0), clock=clock)
    metrics = [FinaglesMetric(clock.now, decay * 1e9) for _ in range(2)]
    leases = []
    for elapsed, which, finish in steps:
        clock.now += elapsed
        if finish and leases:
            lease, since = leases.pop(which % len(leases))
            lease.release()
            metric = metrics[lease.member]
            metric.pending -= 1
            metric.observe(clock.now - since, clock.now)
        else:
            loads = [metric.get(clock.now) for metric in metrics]
            lease = balancer.pick()
            leases.append((lease, clock.now))
            if loads[0] != pytest.approx(loads[1], rel=1e-9):
                assert lease.member == loads.index(min(loads))
            metrics[lease.member].pending += 1


def test_peak_ewma_leaves_a_slow_member_at_once_and_tries_it_again_later():
    clock = ManualClock()
    balancer = Balancer({"fast": 1, "slow": 1}, policy=PeakEwma(10.0, random=Random(1).random), clock=clock)

    def serve(n):
        members = []
        for _ in range(n):
            with balancer.pick() as lease:
                clock.advance(0.010 if lease.member == "fast" else 1.0)
            members.append(lease.member)
        return Counter(members)

    serve(4)
    assert serve(200)["slow"] == 0
    clock.advance(120)
    assert serve(200)["slow"] >= 1, "what was seen has faded"


def test_peak_ewma_does_not_take_fast_failures_for_speed():
    clock = ManualClock()
    balancer = Balancer({"well": 1, "broken": 1}, policy=PeakEwma(random=Random(1).random), clock=clock)
    for _ in range(20):
        lease = balancer.pick()
        clock.advance(0.050)
        lease.release()
    before = balancer.stats()["broken"].latency
    lease = balancer.pick(avoid=["well"])
    clock.advance(0.000_001)
    lease.release(ConnectionRefusedError())
    assert balancer.stats()["broken"].latency == pytest.approx(before, rel=0.05)


def requests_at_broken(clock, balancer, seconds):
    """Requests that a member gets that fails after 0.1 ms, while the others take 50 ms; five at a time."""
    running = []
    end = clock.now + seconds * 10**9
    failed = 0
    while clock.now < end:
        while len(running) < 5:
            lease = balancer.pick()
            running.append((clock.now + (100_000 if lease.member == "broken" else 50_000_000), lease))
        running.sort(key=lambda each: each[0])
        clock.now, lease = running.pop(0)
        failed += lease.member == "broken"
        lease.release(ConnectionRefusedError() if lease.member == "broken" else None)
    for _, lease in running:
        lease.cancel()
    return failed


@pytest.mark.parametrize("was_well", [False, True])
def test_peak_ewma_is_not_drawn_to_who_fails_fast(was_well):
    clock = ManualClock()
    balancer = Balancer(
        {"one": 1, "broken": 1, "two": 1}, policy=PeakEwma(random=Random(1).random), clock=clock
    )
    if was_well:
        for _ in range(60):
            with balancer.pick():
                clock.advance(0.050)
    assert requests_at_broken(clock, balancer, 20) < 30
    assert 1 <= requests_at_broken(clock, balancer, 60) < 30, "it is tried again"


def test_peak_ewma_forgets_failures_at_the_first_success():
    clock = ManualClock()
    balancer = Balancer({"a": 1, "b": 1}, policy=PeakEwma(random=lambda: 0.0), clock=clock)

    def serve(name, error=None):
        lease = balancer.pick(avoid=[other for other in "ab" if other != name])
        clock.advance(0.050)
        lease.release(error)

    serve("b")
    for _ in range(9):
        serve("a", "failed")
    assert done(balancer.pick()) == "b"
    assert balancer.stats()["a"].latency == pytest.approx(0.050, rel=0.1), "failing makes nobody slow"
    serve("a")
    clock.advance(0.001)
    assert done(balancer.pick(avoid=["b"])) == "a"
    serve("b")
    assert done(balancer.pick()) == "a"


def test_many_that_fail_at_once_count_as_one_failure():
    clock = ManualClock()
    balancer = Balancer({"a": 1, "b": 1}, policy=PeakEwma(random=lambda: 0.0), clock=clock)
    leases = [balancer.pick(avoid=["b"]) for _ in range(100)]
    clock.advance(0.050)
    for lease in leases:
        lease.release("failed")
    lease = balancer.pick(avoid=["a"])
    clock.advance(0.110)
    lease.release()
    assert done(balancer.pick()) == "a", "0.1 seconds, and not 2 ** 100 times as much"


# Affinity


class FakeRing:
    """Keys are numbers; a key's order of preference begins at the node of that number."""

    def __init__(self, nodes):
        self.nodes = sorted(nodes)

    def iter_nodes(self, key, /):
        for i in range(len(self.nodes)):
            yield self.nodes[(key + i) % len(self.nodes)]


def test_affinity_picks_the_first_in_the_keys_order_that_is_up():
    balancer = Balancer(dict.fromkeys("abc", 1), policy=Affinity(FakeRing))
    assert [done(balancer.pick(key)) for key in (0, 1, 2, 0)] == ["a", "b", "c", "a"]
    balancer.mark_down("b")
    assert [done(balancer.pick(key)) for key in (0, 1, 2)] == ["a", "c", "c"]
    balancer.mark_up("b")
    assert done(balancer.pick(1)) == "b"
    assert done(balancer.pick(1, avoid={"b"})) == "c"


def test_affinity_makes_its_ring_anew_when_members_change():
    made = []

    def make(nodes):
        made.append(nodes)
        return FakeRing(nodes)

    balancer = Balancer({"a": 1, "b": 2}, policy=Affinity(make))
    balancer.add("c", 3)
    balancer.set_weight("a", 4)
    balancer.remove("b")
    balancer.mark_down("c")
    assert made == [{"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, {"a": 4, "b": 2, "c": 3}, {"a": 4, "c": 3}]
    assert done(balancer.pick(1)) == "a"


def test_affinity_passes_over_nodes_that_are_no_members():
    ring = FakeRing(["a", "b", "c"])
    balancer = Balancer({"b": 1, "z": 1}, policy=Affinity(ring))
    assert {done(balancer.pick(key)) for key in range(6)} == {"b"}
    balancer.remove("b")
    with pytest.raises(NoMemberUp, match="a pick needs at least 1 member that may be picked, got 0 of 1"):
        balancer.pick(0)


def test_affinity_needs_a_key():
    with pytest.raises(InvalidValue, match="key must be given where the policy is Affinity, got None"):
        Balancer({"a": 1}, policy=Affinity(FakeRing)).pick()


def test_affinity_needs_something_to_ask():
    with pytest.raises(InvalidType, match="ring must have iter_nodes or make what has, got int"):
        Affinity(7)


def test_key_stays_on_its_side_while_a_zone_carries_a_part():
    names = [f"{zone}{i}" for zone in "ab" for i in range(4)]
    balancer = Balancer(
        dict.fromkeys(names, 1), policy=Affinity(FakeRing), zone="a", zone_of=lambda name: name[0]
    )
    assert {done(balancer.pick(key))[0] for key in range(200)} == {"a"}
    for name in ("a0", "a1"):
        balancer.mark_down(name)
    homes = {key: done(balancer.pick(key)) for key in range(400)}
    assert {key: done(balancer.pick(key)) for key in range(400)} == homes
    local = sum(home[0] == "a" for home in homes.values())
    assert local == pytest.approx(400 * 0.7, abs=40)


@pytest.mark.parametrize("key", [17, -17, 2**64 - 1])
def test_number_is_on_one_side_whoever_made_it(key):
    assert fraction_of(key) == fraction_of((np.int64 if key < 2**63 else np.uint64)(key))


def test_key_may_be_a_number_too_long_to_be_written():
    assert 0 <= fraction_of(10**5000) < 1


@pytest.mark.parametrize("ring", [HashRing, MaglevTable, RendezvousHash])
def test_affinity_of_a_real_ring_moves_only_the_keys_of_the_member_that_is_out(ring):
    balancer = Balancer({"a": 1, "b": 1, "c": 2}, policy=Affinity(ring))
    before = {key: done(balancer.pick(key)) for key in range(500)}
    assert before == {key: ring({"a": 1, "b": 1, "c": 2}).get_node(key) for key in range(500)}
    balancer.mark_down("b")
    after = {key: done(balancer.pick(key)) for key in range(500)}
    assert {key for key in before if before[key] != after[key]} == {
        key for key in before if before[key] == "b"
    }
    balancer.mark_up("b")
    assert {key: done(balancer.pick(key)) for key in range(500)} == before
    balancer.add("d")
    with_d = ring({"a": 1, "b": 1, "c": 2, "d": 1})
    assert {key: done(balancer.pick(key)) for key in range(500)} == {
        key: with_d.get_node(key) for key in range(500)
    }


# Policies of others


class Last(Policy):
    takes_weights = False

    def narrow(self, group, key, now):
        return group[-1:]


def test_policy_of_ones_own_narrows_to_whom_it_wants():
    balancer = Balancer(dict.fromkeys("abc", 1), policy=Last())
    assert picked(balancer, 2) == ["c", "c"]
    assert balancer.pick_many(2) == ["c", "c"]
    balancer.mark_down("c")
    assert picked(balancer, 1) == ["b"]


def test_policy_is_asked_again_if_members_change_meanwhile():
    class Removes(Policy):
        def narrow(self, group, key, now):
            if "c" in balancer:
                balancer.remove("c")
            return group[-1:]

    balancer = Balancer(dict.fromkeys("abc", 1), policy=Removes())
    assert picked(balancer, 1) == ["b"]


def test_policy_that_fails_changes_nothing():
    class Fails(Policy):
        def narrow(self, group, key, now):
            raise RuntimeError("no idea")

    balancer = Balancer({"a": 1}, policy=Fails())
    with pytest.raises(RuntimeError, match="no idea"):
        balancer.pick()
    assert balancer.stats()["a"].picks == 0


@pytest.mark.parametrize("policy", [*POLICIES, lambda: PowerOfTwoChoices(random=Random(1).random)])
@pytest.mark.parametrize("weights", [{"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 1, "b": 2, "c": 3, "d": 4}])
def test_every_policy_picks_among_those_that_are_not_avoided(policy, weights):
    balancer = Balancer(weights, policy=policy())
    leases = [balancer.pick(avoid=["b"]) for _ in range(60)]
    assert {lease.member for lease in leases} == {"a", "c", "d"}
    assert set(balancer.pick_many(60, avoid=["a", "d"])) <= {"b", "c"}


@pytest.mark.parametrize("policy", POLICIES)
def test_policy_serves_one_balancer(policy):
    used = policy()
    Balancer({"a": 1}, policy=used)
    with pytest.raises(InvalidValue, match=f"policy must be of this balancer alone, got a {policy.__name__}"):
        Balancer({"a": 1}, policy=used)


@pytest.mark.parametrize("policy", [RoundRobin, ExactWeighted, LeastConnections])
def test_slow_start_is_refused_where_weights_that_change_mean_nothing(policy):
    with pytest.raises(InvalidValue, match=f"slow_start must be None with {policy.__name__}, .* got 30"):
        Balancer({"a": 1}, policy=policy(), slow_start=30)


@pytest.mark.parametrize("policy", [PowerOfTwoChoices, PeakEwma])
def test_dice_must_be_callable(policy):
    with pytest.raises(InvalidType, match="random must be callable, got int"):
        policy(random=7)


@pytest.mark.parametrize("decay", [0, -1.0, float("nan"), float("inf")])
def test_decay_must_be_positive(decay):
    with pytest.raises(InvalidValue, match="decay must be > 0 and <= 1000000000 seconds, got"):
        PeakEwma(decay)


@pytest.mark.parametrize("policy", POLICIES)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["pick", "release", "down", "up", "drain"]), st.integers(0, 4)), max_size=50
    )
)
def test_only_members_that_may_be_picked_are_and_active_is_what_is_out(policy, steps):
    balancer = Balancer({i: 1 + i for i in range(5)}, policy=policy())
    leases, down, draining = [], set(), set()
    for step, i in steps:
        if step == "pick":
            able = set(range(5)) - down - draining
            if able:
                leases.append(balancer.pick())
                assert leases[-1].member in able
            else:
                with pytest.raises(NoMemberUp):
                    balancer.pick()
        elif step == "release" and leases:
            leases.pop(i % len(leases)).release()
        elif step == "down":
            balancer.mark_down(i)
            down.add(i)
        elif step == "up":
            balancer.mark_up(i)
            balancer.undrain(i)
            down.discard(i)
            draining.discard(i)
        elif step == "drain":
            balancer.drain(i)
            draining.add(i)
    out = Counter(lease.member for lease in leases)
    assert {name: figures.active for name, figures in balancer.stats().items()} == {
        i: out[i] for i in range(5)
    }
