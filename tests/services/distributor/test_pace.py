"""Pace: how many deliveries at a time, found over a simulated analyzer on a manual clock."""

import heapq
from itertools import pairwise
from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import NANOSECONDS, ManualClock
from penstock.services.distributor.pace import REGROWTH, Pace


def pace_of(clock=None, *, most=64, adaptive=True, batch_packets=500, batch_bytes=1 << 20):
    return Pace(
        most=most, adaptive=adaptive, batch_packets=batch_packets, batch_bytes=batch_bytes,
        clock=clock or ManualClock(),
    )  # fmt: skip


class Analyzer:
    """Works on so many deliveries at a time; others wait in line. There is always more to deliver.

    Args:
        workers: deliveries at a time.
        seconds: that one takes a worker; `per_packet` comes on top.
        noise: deviation of the logarithm of that.
        sizes: of the deliveries, in packets.
    """

    def __init__(
        self, pace, clock, workers, *, seconds=0.1, per_packet=0.0, noise=0.1, sizes=(500,), timeout=10.0
    ):
        self.pace, self.clock, self.random = pace, clock, Random(7)
        self.seconds, self.per_packet, self.noise, self.sizes = seconds, per_packet, noise, sizes
        self.timeout = timeout
        self.free = [0] * workers
        self.under_way = []
        self.delivered = 0

    def run(self, seconds):
        """Delivers for so long; returns the limits that were seen."""
        end, limits = self.clock.now + round(seconds * NANOSECONDS), []
        while self.clock.now < end:
            while len(self.under_way) < self.pace.limit:
                self.begin()
            until, began, packets = heapq.heappop(self.under_way)
            self.clock.now = max(self.clock.now, until)
            took = (until - began) / NANOSECONDS
            if took < self.timeout:
                self.delivered += 1
                self.pace.succeeded(took, packets)
            else:
                self.pace.failed("timeout")
            assert 1 <= self.pace.limit <= self.pace.most
            limits.append(self.pace.limit)
        return limits

    def begin(self):
        packets = self.random.choice(self.sizes)
        takes = (self.seconds + self.per_packet * packets) * self.random.lognormvariate(0, self.noise)
        begins = max(self.clock.now, heapq.heappop(self.free))
        ends = begins + round(takes * NANOSECONDS)
        heapq.heappush(self.free, ends)
        answered = min(ends, self.clock.now + round(self.timeout * NANOSECONDS))
        heapq.heappush(self.under_way, (answered, self.clock.now, packets))
        self.pace.started(len(self.under_way))


def analyzer_of(workers, *, most=64, **settings):
    clock = ManualClock()
    return Analyzer(pace_of(clock, most=most), clock, workers, **settings)


def median(limits):
    return sorted(limits)[len(limits) // 2]


# How many at a time


@pytest.mark.parametrize("workers", [1, 2, 4, 10, 25])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2, 0.5])
def test_limit_settles_between_what_the_analyzer_works_on_and_twice_that_or_little_more(workers, noise):
    analyzer = analyzer_of(workers, noise=noise)
    analyzer.run(30)
    delivered = analyzer.delivered
    limits = analyzer.run(300)
    assert 0.9 * workers <= median(limits) <= 2 * workers + 4
    assert max(limits) <= 3 * workers + 6
    worked = (analyzer.delivered - delivered) / (300 / analyzer.seconds * workers)
    assert worked >= 0.9 * exp(-noise * noise / 2), "the analyzer is kept busy"


def test_limit_is_all_there_may_be_where_more_make_nothing_slower():
    analyzer = analyzer_of(1000, most=16)
    analyzer.run(5)
    assert median(analyzer.run(60)) >= 12


def test_limit_rises_by_one_a_round_from_one():
    analyzer = analyzer_of(1000, noise=0.0)
    limits = analyzer.run(2)
    rounds = [
        limits[0],
        *(later for earlier, later in pairwise(limits) if later != earlier),
    ]
    assert rounds == list(range(2, 2 + len(rounds)))
    assert len(rounds) == pytest.approx(20, abs=2)


def test_limit_does_not_rise_while_it_is_not_used():
    clock = ManualClock()
    pace = pace_of(clock)
    analyzer = Analyzer(pace, clock, 1000, noise=0.0)
    analyzer.run(1)
    limit = pace.limit
    for _ in range(100):
        pace.started(limit - 1)
        clock.advance(0.1)
        pace.succeeded(0.1, 500)
    assert pace.limit == limit
    for _ in range(3):
        pace.started(limit)
        clock.advance(0.1)
        pace.succeeded(0.1, 500)
    assert pace.limit > limit


def test_stall_brings_it_down_and_is_forgotten_when_it_is_over():
    analyzer = analyzer_of(8)
    assert 8 <= median(analyzer.run(60)) <= 24
    analyzer.seconds = 20.0  # everything takes longer than there is patience
    assert min(analyzer.run(200)) == 1
    analyzer.seconds = 0.1
    analyzer.run(60)
    assert 8 <= median(analyzer.run(60)) <= 24


def test_analyzer_that_becomes_slower_for_good_is_kept_as_busy_as_before():
    analyzer = analyzer_of(8)
    assert 8 <= median(analyzer.run(60)) <= 24
    analyzer.seconds = 0.5
    analyzer.run(60)
    assert 8 <= median(analyzer.run(120)) <= 24


def test_analyzer_that_becomes_quicker_for_good_gets_no_longer_queue():
    analyzer = analyzer_of(8, seconds=0.5)
    analyzer.run(120)
    analyzer.seconds = 0.1
    analyzer.run(60)
    assert 8 <= median(analyzer.run(120)) <= 24


def test_deliveries_of_all_sizes_are_compared_with_their_like():
    analyzer = analyzer_of(8, seconds=0.001, per_packet=0.0004, sizes=(1, 2, 5, 20, 100, 500))
    analyzer.run(30)
    assert 7 <= median(analyzer.run(120)) <= 20


def test_more_packets_at_a_time_are_no_sign_of_trouble():
    analyzer = analyzer_of(1000, seconds=0.001, per_packet=0.001, sizes=(10,), most=16)
    analyzer.run(30)
    limit = analyzer.pace.limit
    analyzer.sizes = (500,)
    assert min(analyzer.run(60)) >= min(limit, 12) - 2


@pytest.mark.parametrize("kind", ["timeout", "overloaded"])
def test_overload_takes_a_tenth_off_once_a_round(kind):
    clock = ManualClock()
    pace = pace_of(clock)
    Analyzer(pace, clock, 1000, noise=0.0).run(4)
    limit = pace.limit
    assert limit >= 30
    for _ in range(10):
        pace.failed(kind)
    assert pace.limit == int(limit * 0.9)
    clock.advance(0.11)
    pace.failed(kind)
    assert pace.limit == int(int(limit * 0.9) * 0.9)
    for _ in range(100):
        clock.advance(0.11)
        pace.failed(kind)
    assert pace.limit == 1


@pytest.mark.parametrize("kind", ["refused", "error"])
def test_refused_connections_and_errors_say_nothing_of_how_much_is_too_much(kind):
    clock = ManualClock()
    pace = pace_of(clock)
    Analyzer(pace, clock, 1000, noise=0.0).run(1)
    limit = pace.limit
    for _ in range(10):
        clock.advance(1.0)
        pace.failed(kind)
    assert pace.limit == limit


def test_limit_that_is_not_adaptive_stays():
    clock = ManualClock()
    pace = pace_of(clock, most=4, adaptive=False)
    assert pace.limit == 4
    pace.failed("timeout")
    Analyzer(pace, clock, 1, noise=0.5).run(10)
    assert pace.limit == 4


happenings = st.lists(
    st.tuples(st.just("started"), st.integers(0, 70))
    | st.tuples(st.just("succeeded"), st.floats(0, 100), st.integers(1, 1000))
    | st.tuples(st.just("failed"), st.sampled_from(["timeout", "refused", "overloaded", "error"]))
    | st.tuples(st.just("too_large"), st.integers(1, 1000), st.integers(1, 1 << 21))
    | st.tuples(st.just("advance"), st.floats(0, 100)),
    max_size=100,
)


@given(happenings, st.integers(1, 64), st.booleans())
def test_limit_and_batch_never_leave_their_bounds_whatever_happens(schedule, most, adaptive):
    clock = ManualClock()
    pace = pace_of(clock, most=most, adaptive=adaptive)
    for name, *arguments in schedule:
        before = pace.limit
        getattr(clock if name == "advance" else pace, name)(*arguments)
        assert 1 <= pace.limit <= most
        assert pace.limit <= before + 1
        assert 1 <= pace.batch_bytes <= 1 << 20
        assert pace.batch_packets == 500


# How large


def test_refused_size_is_halved_until_it_is_taken_and_not_exceeded_again():
    pace = pace_of(batch_bytes=1 << 20)
    taken = []
    for _ in range(50):
        size = pace.batch_bytes
        if size > 100_000:
            pace.too_large(100, size)
        else:
            pace.succeeded(0.1, 100)
            taken.append(size)
    assert len(taken) == 46, "four refusals, 1 MiB to 128 KiB"
    assert set(taken) == {1 << 16}


def test_size_is_tried_again_after_a_while_and_grows_back():
    clock = ManualClock()
    pace = pace_of(clock, batch_bytes=800)
    pace.too_large(100, 800)
    pace.too_large(100, 800)  # begun before the first answer
    assert pace.batch_bytes == 400
    for _ in range(10):
        pace.succeeded(0.1, 50)
    assert pace.batch_bytes == 400
    clock.advance(REGROWTH)
    pace.succeeded(0.1, 50)
    assert pace.batch_bytes == 800
    pace.succeeded(0.1, 50)
    assert pace.batch_bytes == 800, "never more than was configured"


def test_one_huge_packet_does_not_leave_deliveries_tiny():
    pace = pace_of(batch_bytes=1 << 20)
    packets, rest = 512, 512 * 500
    while packets > 1:  # the half with the huge one is refused each time, the other is taken
        pace.too_large(packets, 900_000 + rest)
        packets, rest = packets // 2, rest // 2
        pace.succeeded(0.1, packets)
    pace.too_large(1, 900_000)
    assert pace.batch_bytes > 400_000


def test_size_grows_at_once_up_to_what_was_refused():
    pace = pace_of(batch_bytes=1 << 20)
    for size in (1000, 64_000):
        pace.too_large(10, size)
    assert pace.batch_bytes == 500
    sizes = []
    for _ in range(10):
        pace.succeeded(0.1, 10)
        sizes.append(pace.batch_bytes)
    assert sizes == [1000, 2000, 4000, 8000, 16000, 32000, 32000, 32000, 32000, 32000]
