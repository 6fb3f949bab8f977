"""What every pattern that does work on items promises, whatever its own rule is."""

import asyncio
import sys
from contextlib import aclosing
from functools import partial

import pytest
from gated_work import Work, async_range, at_once, double, others, settle
from hypothesis import given
from hypothesis import strategies as st

from penstock.fanout import (
    AimdLimit,
    backpressure,
    bounded,
    pipeline,
    rate_limited,
    sequential,
    stage,
    unbounded,
)


class Open:
    """A limiter that never says no."""

    async def acquire_async(self):
        await asyncio.sleep(0)
        return True


def piped(work, items, **how):
    async def same(item):
        return item

    return pipeline(items, stage(same, limit=2), stage(work, limit=3, **how))


def watched(work, items, **how):
    return backpressure(work, items, law=AimdLimit(initial=3, maximum=3), **how)


CONCURRENT = {
    "unbounded": unbounded,
    "bounded": partial(bounded, limit=3),
    "backpressure": watched,
    "rate_limited": partial(rate_limited, limiter=Open(), limit=3),
    "pipeline": piped,
}
HELD_BACK = {name: pattern for name, pattern in CONCURRENT.items() if name != "unbounded"}
ALL = {"sequential": sequential, **CONCURRENT}

each = pytest.mark.parametrize("fan_out", ALL.values(), ids=ALL)
each_concurrent = pytest.mark.parametrize("fan_out", CONCURRENT.values(), ids=CONCURRENT)
each_held_back = pytest.mark.parametrize("fan_out", HELD_BACK.values(), ids=HELD_BACK)


@pytest.fixture
def work():
    return Work()


@each
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_every_item_gets_its_result(fan_out, asynchronous):
    items = async_range(20) if asynchronous else range(20)
    assert sorted([result async for result in fan_out(double, items)]) == list(range(0, 40, 2))
    assert not others()


@each
async def test_no_items_are_no_results(fan_out):
    assert [result async for result in fan_out(double, [])] == []


@each
async def test_nothing_starts_before_the_first_result_is_asked_for(fan_out, work):
    results = fan_out(work, range(3))
    await settle()
    assert not work.gates
    await results.aclose()
    assert not others()


@each_concurrent
async def test_results_come_as_they_finish(fan_out, work):
    async with aclosing(fan_out(work, range(3))) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        work.finish(1)
        assert await first == 1


@each_concurrent
async def test_ordered_results_wait_for_those_before_them(fan_out, work):
    async with aclosing(fan_out(work, range(3), ordered=True)) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        work.finish(2)
        work.finish(1)
        await settle()
        assert not first.done()
        work.finish(0)
        assert await first == 0
        assert [result async for result in results] == [1, 2]


@each
async def test_failure_reaches_the_consumer_with_its_item_and_stops_the_rest(fan_out, work):
    results = fan_out(work, range(10))
    first = asyncio.ensure_future(anext(results))
    await settle()
    work.fail(0, ConnectionError("no route"))
    with pytest.raises(ConnectionError, match="no route") as failure:
        await first
    assert failure.value.__notes__ == ["while working on 0"]
    assert not work.in_progress
    assert not others()


@each
async def test_failing_source_is_raised_after_the_results_before_it(fan_out):
    async def broken():
        yield 1
        yield 2
        raise OSError("disk gone")

    results = fan_out(double, broken())
    assert sorted([await anext(results), await anext(results)]) == [2, 4]
    with pytest.raises(OSError, match="disk gone"):
        await anext(results)
    assert not others()


@each
async def test_exception_of_the_consumer_ends_everything(fan_out):
    async def consume():
        async with aclosing(fan_out(double, range(100))) as results:
            async for _ in results:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await consume()
    assert not others()


@each
async def test_closing_ends_everything_in_progress(fan_out, work):
    results = fan_out(work, range(10))
    first = asyncio.ensure_future(anext(results))
    await settle()
    work.finish(0)
    assert await first == 0
    await settle()
    await results.aclose()
    assert not work.in_progress
    assert not others()


@each_concurrent
async def test_work_that_cleans_up_has_ended_when_a_twice_cancelled_consumer_has(fan_out):
    started, may_end, ended = asyncio.Event(), asyncio.Event(), []

    async def stubborn(item):
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
            ended.append(item)

    async def consume():
        async with aclosing(fan_out(stubborn, ["work"])) as results:
            async for _ in results:
                pass

    consumer = asyncio.create_task(consume())
    await started.wait()
    for _ in range(2):
        consumer.cancel()
        await settle()
    assert not consumer.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert ended == ["work"]
    assert not others()


@each
@pytest.mark.parametrize("turns", range(40))
async def test_cancelling_after_any_turn_of_the_loop_leaves_nothing_behind(fan_out, turns):
    entered, left = [], []

    async def slow(item):
        entered.append(item)
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        finally:
            left.append(item)
        return item

    async def consume():
        async with aclosing(fan_out(slow, async_range(30))) as results:
            async for _ in results:
                await asyncio.sleep(0)

    consumer = asyncio.create_task(consume())
    for _ in range(turns):
        await asyncio.sleep(0)
    was_done = consumer.done()
    consumer.cancel()
    await asyncio.wait([consumer])
    assert consumer.cancelled() or was_done
    assert sorted(entered) == sorted(left)
    assert not others()


@each_concurrent
@pytest.mark.parametrize("ordered", [False, True])
async def test_cancelled_consumer_is_cancelled_whatever_its_work_makes_of_that(fan_out, ordered):
    started, took = asyncio.Event(), []

    async def stubborn(item):
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return item

    async def consume():
        async with aclosing(fan_out(stubborn, range(5), ordered=ordered)) as results:
            async for result in results:
                took.append(result)  # noqa: PERF401  # none is to come

    consumer = asyncio.create_task(consume())
    await started.wait()
    await settle()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert not took
    assert not others()


@each_concurrent
async def test_source_that_swallows_its_cancellation_gets_nothing_more_started(fan_out):
    started = []

    async def stubborn():
        yield 0
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # as a library does that meets it in the turn of its answer
                yield 1

    async def work(item):
        started.append(item)
        return item

    async with asyncio.timeout(60), aclosing(fan_out(work, stubborn())) as results:
        assert await anext(results) == 0
        await settle()
    assert set(started) == {0}
    assert not others()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 is the first with eager tasks")
@each
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_tasks_that_begin_at_once_change_nothing(fan_out, asynchronous):
    async def quick(item):
        return 2 * item

    asyncio.get_running_loop().set_task_factory(at_once)
    for work in (quick, double):
        items = async_range(20) if asynchronous else range(20)
        assert sorted([result async for result in fan_out(work, items)]) == list(range(0, 40, 2))
    assert not others()


@each_held_back
async def test_a_consumer_that_does_not_come_back_stops_the_pulling(fan_out):
    pulled = []

    def endless():
        item = 0
        while True:
            pulled.append(item)
            yield item
            item += 1

    async with aclosing(fan_out(double, endless())) as results:
        await anext(results)
        await settle()
        held = len(pulled)
        assert held <= 6  # one in the consumer's hands, three in the slots, two in a stage before them
        await anext(results)
        await settle()
        assert len(pulled) == held + 1


@each
@given(count=st.integers(0, 25), failing=st.integers(0, 40), chance=st.randoms(use_true_random=False))
def test_any_order_of_finishing_gives_each_item_once_up_to_a_failure(fan_out, count, failing, chance):
    async def run():
        work, results = Work(), []

        async def consume():
            async with aclosing(fan_out(work, range(count))) as source:
                async for result in source:
                    results.append(result)  # noqa: PERF401  # one at a time: what came before a failure stays

        consumer = asyncio.create_task(consume())
        await settle()
        while not consumer.done():
            item = chance.choice(sorted(work.in_progress))
            if item == failing:
                work.fail(item, ValueError(item))
            else:
                work.finish(item)
            await settle()
        assert isinstance(consumer.exception(), ValueError) == (failing < count)
        assert not work.in_progress
        assert not others()
        return results

    results = asyncio.run(run())
    assert len(set(results)) == len(results)
    if failing >= count:
        assert sorted(results) == list(range(count))


async def test_sequential_pulls_only_when_the_consumer_comes_back():
    pulled = []

    def source():
        for item in range(3):
            pulled.append(item)
            yield item

    results = sequential(double, source())
    assert await anext(results) == 0
    assert pulled == [0]
    assert await anext(results) == 2
    assert pulled == [0, 1]
    await results.aclose()


async def test_sequential_works_in_the_task_of_its_consumer():
    async def task_of(item):
        return asyncio.current_task()

    assert [task async for task in sequential(task_of, "ab")] == [asyncio.current_task()] * 2


async def test_unbounded_has_everything_in_progress_at_once(work):
    async with aclosing(unbounded(work, range(1_000))) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        assert len(work.in_progress) == 1_000
        work.finish(7)
        assert await first == 7
