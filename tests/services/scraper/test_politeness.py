"""Whose turn it is: rates, pauses, fairness between hosts, memory. Time is a manual clock."""

from functools import partial

import pytest

from penstock.clock import ManualClock
from penstock.ratelimit import RateLimiter
from penstock.services.scraper import politeness as module
from penstock.services.scraper.politeness import LOW, NO_ROOM, WINDOW, Politeness
from penstock.services.scraper.visit import Visit


@pytest.fixture(name="clock")
def a_clock():
    return ManualClock(10**9)


def polite(clock, *, gate=None, load=None, per_host=8, rate=None, burst=1):
    return Politeness(
        gate or (lambda visit, lane: visit),
        load or (lambda lane: None),
        clock,
        per_host=per_host,
        rate=rate,
        burst=burst,
    )


def visits(host, numbers):
    return [Visit(number, f"http://{host}/{number}", host) for number in numbers]


def add_all(politeness, *found):
    for visit in found:
        politeness.add(visit)


def taken(politeness):
    """Takes all that may go now; gives nothing back."""
    found = []
    while (visit := politeness.take()) is not None:
        found.append(visit)
    return found


def test_hosts_take_turns(clock):
    politeness = polite(clock)
    add_all(politeness, *visits("a", [1, 2, 3]), *visits("b", [4]), *visits("c", [5, 6]))
    assert [visit.id for visit in taken(politeness)] == [1, 4, 5, 2, 6, 3]


def test_a_host_gets_so_many_requests_at_once(clock):
    politeness = polite(clock, per_host=2)
    add_all(politeness, *visits("a", [1, 2, 3]))
    first, second = taken(politeness)
    assert politeness.take() is None
    politeness.release(second)
    assert politeness.take().id == 3
    politeness.release(first)


def test_a_host_gets_so_many_requests_a_second_and_holds_up_no_other(clock):
    politeness = polite(clock, rate=2.0)
    add_all(politeness, *visits("a", [1, 2, 3]), *visits("b", [4]))
    assert [visit.id for visit in taken(politeness)] == [1, 4]
    assert politeness.next_at() == clock() + 500_000_000
    clock.advance(0.499)
    assert taken(politeness) == []
    clock.advance(0.001)
    assert [visit.id for visit in taken(politeness)] == [2]


def test_a_host_for_which_the_limiter_has_no_room_waits_for_it(clock, monkeypatch):
    monkeypatch.setattr(module, "RateLimiter", partial(RateLimiter, maxsize=2))
    politeness = polite(clock, rate=0.1)
    add_all(politeness, *visits("a", [1]), *visits("b", [2]), *visits("c", [3]))
    assert [visit.id for visit in taken(politeness)] == [1, 2]
    assert politeness.next_at() == clock() + round(NO_ROOM * 1e9)
    clock.advance(10)
    assert [visit.id for visit in taken(politeness)] == [3]


def test_a_rate_below_one_a_second_and_no_whole_number_holds(clock):
    politeness = polite(clock, rate=0.4, burst=2)
    add_all(politeness, *visits("a", [1, 2, 3]))
    assert [visit.id for visit in taken(politeness)] == [1, 2]
    clock.advance(2.5)
    assert [visit.id for visit in taken(politeness)] == [3]


def test_a_crawl_delay_lets_one_go_at_a_time_and_counts_from_its_start(clock):
    politeness = polite(clock)
    politeness.lane("a").crawl_delay = 3 * 10**9
    add_all(politeness, *visits("a", [1, 2, 3]))
    (first,) = taken(politeness)
    clock.advance(4)
    assert taken(politeness) == []  # the first one still goes on
    politeness.release(first)
    (second,) = taken(politeness)
    politeness.release(second)
    clock.advance(2.999)
    assert taken(politeness) == []
    clock.advance(0.001)
    assert [visit.id for visit in taken(politeness)] == [3]


def test_a_host_that_asked_for_a_pause_gets_it(clock):
    politeness = polite(clock)
    add_all(politeness, *visits("a", [1]), *visits("b", [2]))
    politeness.hold(politeness.lane("a"), 30)
    politeness.hold(politeness.lane("a"), 1)  # shortens nothing
    assert [visit.id for visit in taken(politeness)] == [2]
    assert politeness.waiting == 1
    clock.advance(29)
    assert taken(politeness) == []
    clock.advance(1)
    assert [visit.id for visit in taken(politeness)] == [1]
    assert politeness.waiting == 0


def test_a_second_attempt_goes_when_its_time_has_come_before_the_others_of_its_host(clock):
    politeness = polite(clock)
    add_all(politeness, *visits("a", [1, 2]))
    first = politeness.take()
    politeness.add_later(first, 1.5)
    politeness.release(first)
    second = politeness.take()
    assert second.id == 2
    assert politeness.pending == 2
    assert politeness.take() is None
    assert politeness.next_at() == clock() + 1_500_000_000
    clock.advance(1.5)
    add_all(politeness, *visits("a", [3]))
    assert [visit.id for visit in taken(politeness)] == [1, 3]


def test_nothing_of_a_host_goes_before_what_the_gate_puts_first(clock):
    known = set()

    def gate(visit, lane):
        if lane.host in known or visit.kind == "robots":
            return visit
        return Visit(0, f"http://{lane.host}/robots.txt", lane.host, "robots")

    politeness = polite(clock, gate=gate)
    add_all(politeness, *visits("a", [1, 2]), *visits("b", [3]))
    robots, other = taken(politeness)
    assert (robots.kind, robots.host, other.host) == ("robots", "a", "b")
    politeness.add_first(robots)  # redirected, or tried again: it alone may go
    politeness.release(robots)
    assert taken(politeness) == [robots]
    known.add("a")
    politeness.release(robots)
    politeness.unblock(politeness.lane("a"))
    assert [visit.id for visit in taken(politeness)] == [1, 2]


def test_what_is_refused_takes_no_token_and_no_place(clock):
    def gate(visit, lane):
        visit.refusal = "" if visit.id == 4 else "no"
        return visit

    politeness = polite(clock, gate=gate, rate=1.0, per_host=1)
    add_all(politeness, *visits("a", [1, 2, 3, 4, 5]))
    assert [visit.id for visit in taken(politeness)] == [1, 2, 3, 4]


def test_a_host_that_is_given_up_lets_its_visits_go_at_once(clock):
    politeness = polite(clock, rate=1.0, per_host=1)
    add_all(politeness, *visits("a", [1, 2, 3]))
    politeness.hold(politeness.lane("a"), 100)
    assert taken(politeness) == []
    politeness.give_up(politeness.lane("a"), "connection refused")
    assert [visit.id for visit in taken(politeness)] == [1, 2, 3]
    assert politeness.given_up == 1


def test_failures_that_went_on_at_the_same_time_count_as_one(clock):
    politeness = polite(clock)
    lane = politeness.lane("a")
    began = clock()
    clock.advance(1)
    assert [politeness.failed(lane, began) for _ in range(8)] == [1] * 8
    began = clock()
    clock.advance(1)
    assert politeness.failed(lane, began) == 2


def test_a_host_of_which_no_more_is_wanted_is_left_alone(clock):
    politeness = polite(clock)
    add_all(politeness, *visits("a", range(1, WINDOW + 10)), *visits("b", [5000]))
    politeness.close(politeness.lane("a"))
    add_all(politeness, *visits("a", [6000]))
    assert [visit.id for visit in taken(politeness)] == [5000]
    assert politeness.held == politeness.stored == 0


def test_memory_holds_a_window_of_a_host_and_the_rest_is_loaded_when_it_runs_low(clock):
    wanted = []
    politeness = polite(clock, load=wanted.append, per_host=10_000)
    everything = visits("a", range(1, 2 * WINDOW + 51))
    add_all(politeness, *everything)
    lane = politeness.lane("a")
    assert (len(lane.queue), lane.stored, politeness.held, politeness.stored) == (
        WINDOW,
        WINDOW + 50,
        WINDOW,
        WINDOW + 50,
    )
    order = [politeness.take().id for _ in range(WINDOW - LOW)]
    assert wanted == []
    order.append(politeness.take().id)
    order.append(politeness.take().id)
    assert wanted == [lane]  # once, however often it is asked meanwhile
    politeness.loaded(lane, everything[WINDOW : 2 * WINDOW])
    assert lane.loaded == 2 * WINDOW
    order += [visit.id for visit in taken(politeness)]
    assert wanted == [lane, lane]
    politeness.loaded(lane, everything[2 * WINDOW :])
    order += [visit.id for visit in taken(politeness)]
    assert order == [visit.id for visit in everything]
    assert politeness.pending == politeness.in_progress == len(everything)


def test_what_waits_in_the_state_since_an_earlier_run_is_loaded(clock):
    wanted = []
    politeness = polite(clock, load=wanted.append)
    politeness.add_stored("a", 2)
    assert politeness.take() is None
    assert wanted == [politeness.lane("a")]
    politeness.loaded(wanted[0], visits("a", [7, 9]))
    assert [visit.id for visit in taken(politeness)] == [7, 9]
    assert politeness.stored == 0


def test_a_state_that_holds_less_than_was_thought_ends_the_waiting(clock):
    politeness = polite(clock)
    politeness.add_stored("a", 5)
    politeness.take()
    politeness.loaded(politeness.lane("a"), [])
    assert politeness.pending == 0


def test_memory_for_all_hosts_together_is_bounded(clock, monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD", 10)
    politeness = polite(clock)
    for number in range(20):
        add_all(politeness, *visits(f"host{number}", [number + 1]))
    assert (politeness.held, politeness.stored) == (10, 10)
