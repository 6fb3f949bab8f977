"""Backpressure: the law alone, on moments that the tests make up; then the pool, in virtual time."""

import asyncio
import random
from contextlib import aclosing

import pytest
from gated_work import Work, others, settle
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.clock import ManualClock
from penstock.fanout import AimdLimit, backpressure
from penstock.fanout.backpressure import RecentBest
from virtual_time import run_in_virtual_time

MS = 1_000_000


class Traffic:
    """Work that keeps a limit full, one round after the other, on a clock of its own."""

    def __init__(self, law):
        self.law = law
        self.now = 0

    def round(self, latency_ms, failures=0, share=1.0):
        """Results that make a round, `share` of the limit at once; the first `failures` of them failed."""
        left = max(self.law.limit, 10)
        while left:
            together = min(left, max(1, int(self.law.limit * share)))
            started = self.now = self.now + 1  # what starts in the moment of a decision counts as before it
            for _ in range(together):
                self.law.start(started)
            self.now += round(latency_ms * MS)
            for _ in range(together):
                self.law.finish(started, self.now, failures > 0)
                failures -= 1
            left -= together


def after(law, *rounds, **how):
    traffic = Traffic(law)
    for latency_ms in rounds:
        traffic.round(latency_ms, **how)
    return law.limit


def test_limit_doubles_until_the_first_congestion():
    assert after(AimdLimit(initial=10), 20, 20, 20) == 80


def test_limit_grows_by_one_a_round_after_the_first_congestion():
    law = AimdLimit(initial=20, backoff=0.5)
    assert after(law, 20, 50, 20, 20, 20) == 23  # doubled, halved, three times one more


def test_latency_up_to_the_tolerated_multiple_of_the_best_is_good():
    assert after(AimdLimit(initial=10, tolerance=2.0), 20, 40) == 40
    assert after(AimdLimit(initial=10, tolerance=2.0), 20, 41) == 16


def test_latency_below_a_millisecond_is_noise():
    assert after(AimdLimit(initial=10), 0.1, 1.0) == 40


def test_failures_above_the_tolerated_share_are_congestion():
    assert after(AimdLimit(initial=10, failure_share=0.1), 20, failures=1) == 20
    assert after(AimdLimit(initial=10, failure_share=0.1), 20, failures=2) == 8


def test_failures_that_come_quickly_are_not_taken_for_the_best_latency():
    law = AimdLimit(initial=10, failure_share=0.5)
    for _ in range(10):
        law.start(0)
    for _ in range(4):
        law.finish(0, 1, True)
    for _ in range(6):
        law.finish(0, 20 * MS, False)
    assert law.best == 0.02
    assert law.limit == 20


def test_one_slow_result_in_a_round_is_no_congestion():
    law = AimdLimit(initial=10)
    for _ in range(10):
        law.start(0)
    for latency in [20 * MS] * 9 + [5_000 * MS]:
        law.finish(0, latency, False)
    assert law.limit == 20


def test_a_burst_of_bad_results_from_before_a_decrease_counts_once():
    law = AimdLimit(initial=40, backoff=0.5)
    for _ in range(40):
        law.start(0)
    for _ in range(40):
        law.start(1)
    for _ in range(80):
        law.finish(0, 20 * MS, True)
    assert law.limit == 20


def test_limit_that_is_not_used_does_not_grow():
    assert after(AimdLimit(initial=20), 20, 20, 20, share=0.4) == 20
    assert after(AimdLimit(initial=20), 20, share=0.5) == 40


def test_limit_stays_within_its_bounds():
    assert after(AimdLimit(initial=10, minimum=4, maximum=25), *[20] * 5) == 25
    assert after(AimdLimit(initial=10, minimum=4), *[20] * 10, failures=10) == 4


def test_server_that_became_slower_for_good_is_the_new_measure_once_memory_has_passed():
    law = AimdLimit(initial=10, memory=10, backoff=0.5)
    traffic = Traffic(law)
    traffic.round(20)
    while traffic.now < 30_000 * MS:
        traffic.round(100)
    assert law.best == 0.1
    before = law.limit
    traffic.round(100)
    assert law.limit == before + 1


def test_best_latency_from_before_a_long_pause_is_forgotten():
    law = AimdLimit(initial=10, memory=10)
    traffic = Traffic(law)
    traffic.round(20)
    traffic.now += 3_600_000 * MS
    traffic.round(100)
    assert law.best == 0.1
    assert law.limit == 40  # not congested, the hour before is no measure


def test_best_latency_lasts_for_half_of_memory_and_never_longer_than_memory():
    best = RecentBest(10)
    for now, expected in {0: 0, 4: 0, 5: 0, 9: 0, 10: 5, 19: 10, 25: 25}.items():
        assert best.of(now, now) == expected


def test_cancelled_work_says_nothing():
    law = AimdLimit(initial=10)
    for _ in range(50):
        law.start(0)
        assert law.in_flight == 1
        law.finish(0, 10_000 * MS, None)
    assert law.in_flight == 0
    assert law.limit == 10
    assert law.history == ()


def test_history_tells_the_latest_changes_and_is_bounded():
    law = AimdLimit(initial=10, history=2)
    after(law, 20, 20, 50)
    assert [change.limit for change in law.history] == [40, 32]
    assert [change.at for change in law.history] == sorted(change.at for change in law.history)


@given(
    st.integers(1, 5),
    st.integers(5, 50),
    st.lists(st.tuples(st.floats(0.01, 1_000), st.integers(0, 20)), max_size=60),
)
def test_limit_never_leaves_its_bounds_and_never_jumps_up_by_more_than_double(minimum, maximum, rounds):
    law = AimdLimit(initial=5, minimum=minimum, maximum=maximum)
    traffic = Traffic(law)
    for latency, failures in rounds:
        before = law.limit
        traffic.round(latency, failures)
        assert minimum <= law.limit <= min(maximum, 2 * before)
        assert law.in_flight == 0


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"minimum": 0}, "minimum must be >= 1, got 0"),
        ({"minimum": 5, "maximum": 4}, "maximum must be >= 5, got 4"),
        ({"initial": 20, "maximum": 10}, "initial must be <= maximum, 10, got 20"),
        ({"backoff": 1.0}, "backoff must be > 0 and < 1, got 1.0"),
        ({"backoff": float("nan")}, "backoff must be > 0 and < 1, got nan"),
        ({"tolerance": 1.0}, "tolerance must be > 1, got 1.0"),
        ({"failure_share": -0.1}, "failure_share must be 0 to 1, got -0.1"),
        ({"memory": 0}, "memory must be > 0 and <= 1000000000 seconds, got 0"),
        ({"memory": float("inf")}, "memory must be > 0 and <= 1000000000 seconds, got inf"),
        ({"history": -1}, "history must be >= 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(how, message):
    with pytest.raises(ValueError, match=message) as refused:
        AimdLimit(**how)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize("name", ["initial", "minimum", "maximum", "backoff", "tolerance", "memory"])
def test_settings_that_are_no_numbers_are_refused(name):
    with pytest.raises(TypeError, match=f"{name} must be an? (int|number), got str") as refused:
        AimdLimit(**{name: "5"})
    assert isinstance(refused.value, PenstockError)


class Server:
    """Answers in 50 ms up to its capacity, beyond that ever later, and fails when it is flooded."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.in_flight = 0
        self.most = 0

    async def __call__(self, item):
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        load = self.in_flight / self.capacity
        await asyncio.sleep(0.05 * max(1.0, load) * random.Random(item).uniform(0.9, 1.1))
        self.in_flight -= 1
        return ConnectionError("flooded") if load > 4 else item


def test_pool_finds_what_a_server_bears():
    server, law = Server(capacity=20), AimdLimit(initial=4)

    async def run():
        async with aclosing(backpressure(server, range(4_000), law=law, clock=clock)) as results:
            return [result async for result in results]

    clock = ManualClock()
    results = run_in_virtual_time(run(), clock)
    assert len(results) == 4_000
    assert not any(isinstance(result, Exception) for result in results)
    late = [change.limit for change in law.history[len(law.history) // 2 :]]
    assert min(late) >= 15
    assert max(late) <= 50
    assert server.most <= 80
    assert law.in_flight == 0


def test_pool_backs_off_from_failures():
    server, law = Server(capacity=5), AimdLimit(initial=100, tolerance=1_000, backoff=0.5)

    async def run():
        async with aclosing(backpressure(server, range(2_000), law=law, clock=clock)) as results:
            return [result async for result in results]

    clock = ManualClock()
    failures = sum(isinstance(result, Exception) for result in run_in_virtual_time(run(), clock))
    assert 0 < failures < 300
    assert max(change.limit for change in law.history[-10:]) <= 25


async def test_shrinking_limit_lets_what_is_in_progress_end_and_starts_less():
    work, law = Work(), AimdLimit(initial=20, backoff=0.5)
    pool = backpressure(work, range(100), law=law, failed=lambda result: True, clock=ManualClock())
    async with aclosing(pool) as results:
        taker = asyncio.ensure_future(anext(results))
        await settle()
        assert len(work.in_progress) == law.in_flight == 20
        for item in range(20):
            work.finish(item)
        await taker
        for _ in range(19):
            await anext(results)
        await settle()
        assert law.limit == 10
        assert len(work.in_progress) == 10


async def test_growing_limit_starts_more_at_once():
    work, law = Work(), AimdLimit(initial=10)
    async with aclosing(backpressure(work, range(100), law=law, clock=ManualClock())) as results:
        taker = asyncio.ensure_future(anext(results))
        await settle()
        assert len(work.in_progress) == 10
        for item in range(10):
            work.finish(item)
        await taker
        await settle()
        assert law.limit == 20
        assert len(work.in_progress) == 11  # nine results still lie in their slots


async def test_exception_is_raised_and_counted():
    async def broken(item):
        raise ConnectionError("gone")

    class Counting(AimdLimit):
        outcomes: list = []  # noqa: RUF012  # one test, one law

        def finish(self, started, now, failed):
            self.outcomes.append(failed)
            super().finish(started, now, failed)

    law = Counting(initial=1)
    with pytest.raises(ConnectionError, match="gone") as failure:
        await anext(backpressure(broken, ["host"], law=law))
    assert failure.value.__notes__ == ["while working on 'host'"]
    assert law.outcomes == [True]
    assert law.in_flight == 0
    assert not others()


async def test_pool_without_a_law_makes_its_own():
    work = Work()
    async with aclosing(backpressure(work, range(50))) as results:
        taker = asyncio.ensure_future(anext(results))
        await settle()
        assert len(work.in_progress) == 10
        work.finish(3)
        assert await taker == 3


class Broken:
    """A law that allows a while, and then something that is no limit."""

    def __init__(self, first, then):
        self.limit = first
        self.then = then

    def start(self, now):
        pass

    def finish(self, started, now, failed):
        self.limit = self.then


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        (0, ValueError, "limit of the law must be >= 1, got 0"),
        (2.5, TypeError, "limit of the law must be an int, got float"),
    ],
)
async def test_law_that_allows_nothing_is_told_and_does_not_stop_everything(limit, error, message):
    async def work(item):
        return item

    with pytest.raises(error, match=message):
        backpressure(work, range(3), law=Broken(limit, 1))
    async with asyncio.timeout(60):
        with pytest.raises(error, match=message):
            await anext(backpressure(work, range(3), law=Broken(1, limit)))
    assert not others()
