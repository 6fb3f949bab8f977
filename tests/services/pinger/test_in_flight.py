"""What was in flight over time: exact while it is short, bounded when it is long."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.services.pinger.in_flight import FIRST_SLICE_NS, SLICES, InFlight, merged, spark_line

SLICE = FIRST_SLICE_NS


def test_each_slice_has_the_most_that_were_in_flight():
    flight = InFlight(1000)
    flight.enter(1000)
    flight.enter(1000)
    flight.leave(1000 + SLICE // 2)
    flight.leave(1000 + 2 * SLICE)
    assert flight.most(1000 + 3 * SLICE) == [2, 1, 1, 0]
    assert flight.now == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**10)), max_size=200))
def test_peaks_are_kept_and_memory_is_bounded_however_long_it_takes(steps):
    flight, at, now, peak = InFlight(0), 0, 0, 0
    for enters, wait in steps:
        at += wait
        if enters:
            flight.enter(at)
            now += 1
        elif now:
            flight.leave(at)
            now -= 1
        peak = max(peak, now)
    most = flight.most(at)
    assert len(most) <= SLICES
    assert max(most) == peak
    assert most[-1] >= now
    assert len(most) == at // flight.slice_ns + 1


def test_a_process_that_stood_still_for_a_year_is_no_matter():
    flight = InFlight(0)
    flight.enter(0)
    assert max(flight.most(365 * 86_400 * 10**9)) == 1


def test_runs_that_began_together_add_up():
    assert merged([(SLICE, [1, 2, 3]), (SLICE, [4])]) == (SLICE, [5, 2, 3])
    assert merged([(SLICE, [1, 2, 3]), (2 * SLICE, [4, 4])]) == (2 * SLICE, [6, 7])


def test_what_another_counts_can_be_seen_and_gone_on_with():
    flight = InFlight(0)
    flight.see(SLICE, 7)
    assert flight.most(SLICE) == [0, 7]
    flight.resume(2 * SLICE, [3, 4], 2)
    flight.leave(3 * SLICE)
    assert (flight.most(3 * SLICE), flight.now) == ([3, 4], 1)


def test_spark_line_is_scaled_to_the_most():
    assert spark_line([0, 1, 4, 8], 10) == " ▁▄█"
    assert spark_line([0, 8, 0, 8], 2) == "██"
    assert spark_line([1] * 1000, 60) == "█" * 60
    assert spark_line([], 10) == spark_line([0, 0], 10) == ""
