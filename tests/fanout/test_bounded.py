"""What bounded fan-out promises, without waiting for time to pass."""

import asyncio
from contextlib import aclosing

import pytest
from gated_work import Work, async_range, double, others, settle
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.fanout import bounded


@pytest.fixture
def work():
    return Work()


@pytest.mark.parametrize("items", [range, async_range], ids=["iterable", "async iterable"])
async def test_every_item_gets_a_result(items):
    assert sorted([result async for result in bounded(double, items(7), limit=3)]) == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("ordered", [False, True])
async def test_no_items_are_no_results(ordered):
    assert [result async for result in bounded(double, [], limit=3, ordered=ordered)] == []


async def test_results_come_as_they_finish(work):
    async with aclosing(bounded(work, range(3), limit=3)) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        work.finish(1)
        assert await first == 1
        work.finish(2)
        assert await anext(results) == 2
        work.finish(0)
        assert await anext(results) == 0
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_ordered_results_wait_for_those_before_them(work):
    async with aclosing(bounded(work, range(3), limit=3, ordered=True)) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        work.finish(2)
        work.finish(1)
        await settle()
        assert not first.done()
        work.finish(0)
        assert await first == 0
        assert [result async for result in results] == [1, 2]


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_consumer_that_does_not_come_back_stops_the_pulling(ordered):
    pulled = []

    def endless():
        item = 0
        while True:
            pulled.append(item)
            yield item
            item += 1

    async with aclosing(bounded(double, endless(), limit=4, ordered=ordered)) as results:
        await anext(results)
        await settle()
        assert len(pulled) == 5  # one in the consumer's hands, four in the slots
        await anext(results)
        await settle()
        assert len(pulled) == 6


async def test_a_slow_first_item_holds_back_no_more_than_the_limit(work):
    async with aclosing(bounded(work, range(100), limit=4, ordered=True)) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        for item in (1, 2, 3):
            work.finish(item)
        await settle()
        assert sorted(work.gates) == [0, 1, 2, 3]
        work.finish(0)
        assert await first == 0


async def test_results_come_while_the_source_has_nothing_more_yet(work):
    more = asyncio.Event()

    async def source():
        yield "first"
        await more.wait()
        yield "second"

    async with aclosing(bounded(work, source(), limit=2)) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        work.finish("first")
        assert await first == "first"
        more.set()
        second = asyncio.ensure_future(anext(results))
        await settle()
        work.finish("second")
        assert await second == "second"


async def test_nothing_starts_before_the_first_result_is_asked_for(work):
    results = bounded(work, range(3), limit=2)
    await settle()
    assert not work.gates
    await results.aclose()
    assert not others()


@pytest.mark.parametrize("ordered", [False, True])
async def test_failure_reaches_the_consumer_with_its_item_and_stops_the_rest(work, ordered):
    results = bounded(work, range(10), limit=3, ordered=ordered)
    first = asyncio.ensure_future(anext(results))
    await settle()
    work.fail(0, ConnectionError("no route"))
    with pytest.raises(ConnectionError, match="no route") as failure:
        await first
    assert failure.value.__notes__ == ["while working on 0"]
    assert not work.in_progress
    assert not others()


async def test_the_note_of_a_failure_stays_short(work):
    async def fail(item):
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad") as failure:
        await anext(bounded(fail, ["x" * 10**6], limit=1))
    assert len(failure.value.__notes__[0]) < 100


async def test_item_that_cannot_be_shown_does_not_hide_the_failure():
    async def fail(item):
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad") as failure:
        await anext(bounded(fail, [10**5_000], limit=1))  # Python refuses to write so many digits
    assert failure.value.__notes__ == ["while working on an item of type int"]


async def test_work_may_close_the_fan_out_that_it_works_for():
    enough, ended = asyncio.Event(), []

    async def work(item):
        try:
            if item == 2:
                await enough.wait()
                await results.aclose()
            elif item:
                await asyncio.Event().wait()
        finally:
            ended.append(item)

    async with asyncio.timeout(60):
        results = bounded(work, range(3), limit=3)
        await anext(results)
        enough.set()
        await settle()
        assert ended == [0, 1, 2]
    assert not others()


async def test_two_failures_at_once_raise_the_first_and_lose_no_warning(work):
    results = bounded(work, range(2), limit=2)
    first = asyncio.ensure_future(anext(results))
    await settle()
    work.fail(1, ValueError("one"))
    work.fail(0, ValueError("zero"))
    with pytest.raises(ValueError, match="one"):
        await first
    assert not others()


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_failing_source_is_raised_after_the_results_before_it(ordered, asynchronous):
    def broken():
        yield 1
        yield 2
        raise OSError("disk gone")

    async def async_broken():
        for item in broken():
            yield item

    source = async_broken() if asynchronous else broken()
    results = bounded(double, source, limit=5, ordered=ordered)
    assert sorted([await anext(results), await anext(results)]) == [2, 4]
    with pytest.raises(OSError, match="disk gone"):
        await anext(results)
    assert not others()


@pytest.mark.parametrize("ordered", [False, True])
async def test_closing_ends_everything_in_progress(work, ordered):
    results = bounded(work, range(10), limit=3, ordered=ordered)
    first = asyncio.ensure_future(anext(results))
    await settle()
    work.finish(0)
    await first
    await settle()
    assert len(work.in_progress) == 3
    await results.aclose()
    assert not work.in_progress
    assert not others()


async def test_cancelling_the_consumer_ends_everything_in_progress(work):
    async def consume():
        async for _ in bounded(work, range(10), limit=3):
            pass

    consumer = asyncio.create_task(consume())
    await settle()
    assert len(work.in_progress) == 3
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert not work.in_progress
    assert not others()


async def test_second_cancellation_still_waits_for_work_that_cleans_up():
    started, may_end, ended = asyncio.Event(), asyncio.Event(), []

    async def stubborn(item):
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
            ended.append(item)

    async def consume():
        async for _ in bounded(stubborn, ["work"], limit=1):
            pass

    consumer = asyncio.create_task(consume())
    await started.wait()
    consumer.cancel()
    await settle()
    consumer.cancel()
    await settle()
    assert not consumer.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert ended == ["work"]


async def test_source_that_waits_is_left_when_the_consumer_goes():
    left = asyncio.Event()

    async def silent():
        try:
            await asyncio.Event().wait()
            yield 0
        finally:
            left.set()

    results = bounded(double, silent(), limit=1)
    waiting = asyncio.ensure_future(anext(results))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert left.is_set()
    assert not others()


@given(st.integers(0, 40), st.integers(1, 8), st.booleans(), st.randoms(use_true_random=False))
def test_any_order_of_finishing_keeps_every_promise(count, limit, ordered, chance):
    async def run():
        work, pulled, results = Work(), [], []

        def source():
            for item in range(count):
                pulled.append(item)
                yield item

        async def consume():
            async for result in bounded(work, source(), limit=limit, ordered=ordered):
                results.append(result)
                assert len(pulled) <= len(results) + limit

        consumer = asyncio.create_task(consume())
        await settle()
        while not consumer.done():
            work.finish(chance.choice(sorted(work.in_progress)))
            await settle()
        await consumer
        assert work.most == min(count, limit)
        assert not others()
        return results

    results = asyncio.run(run())
    assert sorted(results) == list(range(count))
    assert results == sorted(results) or not ordered


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_refused_at_once(limit):
    with pytest.raises(ValueError, match=f"limit must be >= 1, got {limit}") as refused:
        bounded(double, [], limit=limit)
    assert isinstance(refused.value, PenstockError)


def test_limit_that_is_no_number_is_refused_at_once():
    with pytest.raises(TypeError, match="limit must be an int, got float"):
        bounded(double, [], limit=2.5)
