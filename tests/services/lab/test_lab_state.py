"""The simulated server's state: a function of its seed and of when requests come."""

import math
from itertools import pairwise
from random import Random
from statistics import mean

import pytest

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from penstock.services.lab.config import LATENCIES, Behaviour
from penstock.services.lab.latency import latency_model, reflected
from penstock.services.lab.state import ServerState

CALM = {"error_rate": 0, "overload": 0}


@pytest.fixture
def clock():
    return ManualClock(10**15)


def answers(state, clock, count, gap):
    """What becomes of so many requests, `gap` seconds apart."""
    given = []
    for _ in range(count):
        given.append(state.arrive())
        clock.advance(gap)
    return given


def delays(state, clock, count, gap):
    return [answer.delay_ns / NANOSECONDS for answer in answers(state, clock, count, gap)]


# The same again


@pytest.mark.parametrize("latency", LATENCIES)
def test_same_seed_and_arrivals_give_the_same_answers(latency):
    behaviour = Behaviour(latency=latency, overload=2, hang=0.01, reset=0.01, limit=900.0)
    runs = []
    for start in (0, 77):  # whatever the clock counts from
        clock = ManualClock(start)
        runs.append(answers(ServerState(behaviour, clock), clock, 2000, 0.001))
    assert runs[0] == runs[1]


def test_another_seed_gives_other_answers():
    runs = []
    for seed in (1, 2):
        clock = ManualClock()
        runs.append(answers(ServerState(Behaviour(seed=seed), clock), clock, 100, 0.001))
    assert runs[0] != runs[1]


def test_walk_is_the_same_for_every_client_whatever_else_happens():
    walks = []
    for gap, settings in ((0.1, CALM), (0.0001, {"overload": 1, "error_rate": 0.5})):
        clock = ManualClock()
        state = ServerState(Behaviour(full_rate=0, **settings), clock)
        given = answers(state, clock, 500, gap)
        walks.append([answer.delay_ns if answer.status == 200 else None for answer in given])
    pairs = [(calm, busy) for calm, busy in zip(*walks, strict=True) if busy is not None]
    assert 50 < len(pairs) < 450
    assert all(calm == busy for calm, busy in pairs)


# Latency


def test_walk_stays_within_its_range_and_fills_it(clock):
    state = ServerState(Behaviour(full_rate=0, **CALM), clock)
    seen = delays(state, clock, 20_000, 0.001)
    assert 0 <= min(seen) < 0.01
    assert 0.29 < max(seen) <= 0.3
    assert mean(seen) == pytest.approx(0.15, abs=0.03)


def test_walk_walks(clock):
    """From one request to the next it makes small steps; drawn anew each time it would jump by a third."""
    state = ServerState(Behaviour(full_rate=0, **CALM), clock)
    seen = delays(state, clock, 5_000, 0.001)
    steps = [abs(after - before) for before, after in pairwise(seen)]
    assert 0 < mean(steps) < 0.3 / 20
    assert max(steps) < 0.3 / 8


@pytest.mark.parametrize(
    ("place", "thrown_back"), [(0.3, 0.3), (-0.2, 0.2), (1.2, 0.8), (1.0, 1.0), (2.5, 0.5), (-1.7, 0.3)]
)
def test_walls_throw_the_walk_back(place, thrown_back):
    assert reflected(place) == pytest.approx(thrown_back)


def test_walk_does_not_stick_to_its_walls(clock):
    seen = delays(ServerState(Behaviour(full_rate=0, **CALM), clock), clock, 20_000, 0.001)
    assert sum(delay in (0.0, 0.3) for delay in seen) == 0


@pytest.mark.parametrize(("latency", "low", "high"), [
    ("constant", 0.3, 0.3), ("uniform", 0.145, 0.155), ("lognormal", 0.04, 0.055), ("pareto", 0.006, 0.012),
])  # fmt: skip
def test_models_have_their_means(clock, latency, low, high):
    state = ServerState(Behaviour(latency=latency, full_rate=0, **CALM), clock)
    assert low <= mean(delays(state, clock, 20_000, 0.001)) <= high


@pytest.mark.parametrize("latency", LATENCIES)
def test_no_model_exceeds_the_longest_latency(latency):
    share = latency_model(latency, Random(3))
    assert all(0 <= share() <= 1 for _ in range(20_000))


def test_latency_scales_with_the_rate(clock):
    state = ServerState(Behaviour(latency="constant", full_rate=1000, **CALM), clock)
    slow = delays(state, clock, 2_000, 0.01)[-1]
    fast = delays(state, clock, 4_000, 0.002)[-1]
    too_fast = delays(state, clock, 8_000, 0.0001)[-1]
    assert slow == pytest.approx(0.03, rel=0.02)
    assert fast == pytest.approx(0.15, rel=0.01)
    assert too_fast == 0.3


def test_rate_is_forgotten_while_nobody_asks(clock):
    state = ServerState(Behaviour(**CALM), clock)
    answers(state, clock, 5_000, 0.001)
    assert state.rate == pytest.approx(1000, rel=0.01)
    clock.advance(10)
    assert state.rate < 0.01


# Errors


def test_one_of_a_hundred_fails_without_any_load(clock):
    state = ServerState(Behaviour(), clock)
    answers(state, clock, 20_000, 1.0)
    assert state.counts[500] == pytest.approx(200, abs=45)
    assert set(state.counts) == {200, 500}


def crowd(state, clock, in_flight, rounds):
    """Keeps so many requests in flight: the next comes when one has been answered."""
    statuses = []
    pending = sorted(clock.now for _ in range(in_flight))
    for _ in range(rounds):
        clock.now = max(clock.now, pending.pop(0))
        answer = state.arrive()
        statuses.append(answer.status)
        pending.append(clock.now + answer.delay_ns)
        pending.sort()
    return statuses


def test_error_state_does_not_come_up_to_the_load_that_is_borne(clock):
    state = ServerState(Behaviour(overload=10, error_rate=0, full_rate=0), clock)
    assert set(crowd(state, clock, 10, 20_000)) == {200}


def test_error_state_comes_and_goes_and_takes_longer_the_higher_the_load(clock):
    shares = []
    for load in (15, 30, 300):
        state = ServerState(Behaviour(overload=10, error_rate=0, full_rate=0), clock)
        statuses = crowd(state, clock, load, 20_000)
        assert {200, 503} == set(statuses)
        shares.append(statuses.count(503) / len(statuses))
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.065, abs=0.03)  # 1 in 200 comes, 1 in 30 goes, half of them fail
    assert shares[-1] == pytest.approx(0.5, abs=0.02)


def test_error_state_is_left_when_the_load_has_gone(clock):
    state = ServerState(Behaviour(overload=10, error_rate=0, full_rate=0), clock)
    crowd(state, clock, 300, 5_000)
    clock.advance(60)
    answers(state, clock, 500, 1.0)
    assert not state.in_error_state
    assert {answer.status for answer in answers(state, clock, 100, 1.0)} == {200}


def test_hanging_and_reset_requests_have_their_shares(clock):
    state = ServerState(Behaviour(hang=0.1, reset=0.2, error_rate=0.3, overload=0), clock)
    answers(state, clock, 10_000, 0.1)
    shares = {fate: state.counts[fate] / 10_000 for fate in ("hang", "reset", 500, 200)}
    assert shares == pytest.approx({"hang": 0.1, "reset": 0.2, 500: 0.3, 200: 0.4}, abs=0.02)


def test_what_hangs_is_not_in_flight(clock):
    state = ServerState(Behaviour(hang=1.0, error_rate=0), clock)
    answers(state, clock, 100, 0.0)
    assert state.in_flight == 0


# Limits


def test_in_flight_is_what_has_not_been_answered_yet(clock):
    state = ServerState(Behaviour(latency="constant", max_latency=1, full_rate=0, **CALM), clock)
    answers(state, clock, 8, 0.25)
    assert state.in_flight == 3  # of the last three of them; the fourth last is due just now
    clock.advance(10)
    assert state.in_flight == 0


def test_beyond_the_limit_clients_are_told_when_to_come_back(clock):
    state = ServerState(Behaviour(limit=2, **CALM), clock)
    first, second = state.arrive(), state.arrive()
    assert (first.status, second.status, second.retry_after) == (200, 429, 1)
    clock.advance(second.retry_after)
    assert state.arrive().status == 200


def test_queue_of_servers_obeys_littles_law(clock):
    """What is in the system is the rate times the time in it, whatever the distribution: L = λW."""
    settings = {"latency": "lognormal", "max_latency": 1, "full_rate": 0, "servers": 4, **CALM}
    state = ServerState(Behaviour(**settings), clock)
    gap, count = 0.04, 20_000
    inside, times = [], []
    for _ in range(count):
        times.append(state.arrive().delay_ns / NANOSECONDS)
        clock.advance(gap)
        inside.append(state.in_flight)
    # counted just before arrivals, a request is in the system at floor(W / gap) of them
    assert mean(inside) == pytest.approx(mean(math.floor(time / gap) for time in times), rel=0.02)
    assert mean(inside) > 2


def test_latency_has_a_knee_where_the_servers_are_all_busy(clock):
    waits = {}
    for load in (0.5, 0.9, 1.5):
        settings = {"latency": "constant", "max_latency": 0.1, "full_rate": 0, "servers": 5, **CALM}
        state = ServerState(Behaviour(queue=100, **settings), clock)
        given = answers(state, clock, 2_000, 0.1 / 5 / load)
        waits[load] = max(answer.delay_ns for answer in given if answer.status == 200) / NANOSECONDS
        assert (503 in {answer.status for answer in given}) == (load > 1)
    assert waits[0.5] == waits[0.9] == 0.1
    assert waits[1.5] == pytest.approx(0.1 * (100 + 5) / 5, rel=0.02)  # the queue is full


def test_requests_wait_in_the_order_in_which_they_came(clock):
    settings = {"latency": "constant", "max_latency": 0.5, "full_rate": 0, "servers": 1, **CALM}
    state = ServerState(Behaviour(**settings), clock)
    assert delays(state, clock, 3, 0.0) == [0.5, 1.0, 1.5]


# Settings


@pytest.mark.parametrize(("setting", "value", "said"), [
    ("latency", "slow", "latency must be one of walk, constant, uniform, lognormal, pareto, got 'slow'"),
    ("max_latency", 0, "max_latency must be > 0 and <= 60 seconds, got 0"),
    ("max_latency", math.nan, "max_latency must be > 0 and <= 60 seconds, got nan"),
    ("error_rate", 1.1, "error_rate must be from 0 to 1, got 1.1"),
    ("hang", -1, "hang must be from 0 to 1, got -1"),
    ("reset", 1.0, "error_rate, hang and reset must be at most 1 together"),
    ("full_rate", math.inf, "full_rate must be >= 0 and <= 1e9 a second, got inf"),
    ("limit", -1, "limit must be >= 0 and <= 1e9 a second, got -1"),
    ("servers", -1, "servers must be >= 0 and <= 1000000, got -1"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(setting, value, said):
    with pytest.raises(PenstockError) as refused:
        Behaviour(**{setting: value})
    assert str(refused.value) == said
