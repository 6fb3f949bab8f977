"""What the flow says of a run: counts, the busiest second, and what held it back."""

import pytest

from penstock.clock import ManualClock
from penstock.services.caller.flow import Flow


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def flow(clock):
    return Flow(2, clock)


def test_busiest_second_is_any_second_and_not_one_of_the_clocks(flow, clock):
    for moment in (0.0, 0.9, 0.95, 1.0, 1.5, 1.89, 3.0):
        clock.now = round(moment * 1e9)
        flow.count_sent()
    assert flow.sent == 7
    assert flow.most_in_a_second == 5  # from 0.9 to 1.89


def test_second_ends_before_it_has_passed(flow, clock):
    flow.count_sent()
    clock.advance(1.0)
    flow.count_sent()
    assert flow.most_in_a_second == 1


def test_time_counts_for_the_limit_while_something_waits_for_it(flow, clock):
    with flow.during("busy"), flow.during("busy"), flow.during("waiting"):
        clock.advance(3)
        assert flow.in_flight == 1
    assert (flow.limited, flow.full) == (3.0, 0.0)


def test_time_counts_for_the_slots_while_all_are_taken_and_nothing_waits(flow, clock):
    with flow.during("busy"):
        clock.advance(1)  # one slot is free, so nothing is held back
        with flow.during("busy"):
            clock.advance(2)
            with flow.during("pausing"):
                clock.advance(4)
                assert flow.in_flight == 1
    assert (flow.limited, flow.full) == (0.0, 6.0)
    assert flow.seconds == 7.0
