"""Pipelines: what stages promise together."""

import asyncio
from contextlib import aclosing
from functools import partial

import pytest
from gated_work import Work, double, others, settle
from hypothesis import given
from hypothesis import strategies as st

from penstock.fanout import pipeline, rate_limited, stage


async def same(item):
    return item


async def increment(item):
    await asyncio.sleep(0)
    return item + 1


async def test_every_item_passes_all_stages_in_turn():
    stages = stage(increment, limit=3), stage(double, limit=2), stage(increment)
    assert sorted([result async for result in pipeline(range(5), *stages)]) == [3, 5, 7, 9, 11]
    assert not others()


async def test_pipeline_without_stages_gives_the_items():
    assert [item async for item in pipeline("abc")] == ["a", "b", "c"]


async def test_stages_work_at_the_same_time():
    first, second = Work(), Work()
    async with aclosing(pipeline(range(9), stage(first, limit=2), stage(second, limit=2))) as results:
        result = asyncio.ensure_future(anext(results))
        await settle()
        first.finish(0)
        first.finish(1)
        await settle()
        assert first.in_progress == {2, 3}
        assert second.in_progress == {0, 1}
        second.finish(1)
        assert await result == 1


async def test_stage_without_queue_holds_its_results_in_its_slots():
    first, second = Work(), Work()
    async with aclosing(pipeline(range(9), stage(first, limit=2), stage(second, limit=1))) as results:
        result = asyncio.ensure_future(anext(results))
        await settle()
        for item in (0, 1, 2):
            first.finish(item)
            await settle()
        assert second.in_progress == {0}
        assert not first.in_progress - {3}
        assert sorted(first.gates) == [0, 1, 2]  # 1 and 2 wait in the two slots
        second.finish(0)
        assert await result == 0


async def test_queue_lets_a_stage_go_on_while_its_results_wait():
    first, second = Work(), Work()
    stages = stage(first, limit=1, queue=2), stage(second, limit=1)
    async with aclosing(pipeline(range(9), *stages)) as results:
        result = asyncio.ensure_future(anext(results))
        await settle()
        for item in (0, 1, 2):
            first.finish(item)
            await settle()
        assert first.in_progress == {3}  # 1 and 2 are in the queue, 0 in the second stage
        first.finish(3)
        await settle()
        assert not first.in_progress  # three wait, in the queue of two and in the slot
        second.finish(0)
        assert await result == 0
        await settle()
        assert first.in_progress == {4}


async def test_failure_in_a_middle_stage_comes_after_the_results_behind_it():
    async def picky(item):
        if item == 2:
            raise ValueError("not two")
        return item

    last = Work()
    results = pipeline(range(9), stage(same), stage(picky, ordered=True), stage(last, limit=5))
    first = asyncio.ensure_future(anext(results))
    await settle()
    assert last.in_progress == {0, 1}
    last.finish(0)
    last.finish(1)
    assert sorted([await first, await anext(results)]) == [0, 1]
    with pytest.raises(ValueError, match="not two") as failure:
        await anext(results)
    assert failure.value.__notes__ == ["while working on 2"]
    assert not others()


async def test_cancelling_ends_all_stages():
    first, second = Work(), Work()

    async def consume():
        async for _ in pipeline(range(9), stage(first, limit=3), stage(second, limit=3)):
            pass

    consumer = asyncio.create_task(consume())
    await settle()
    first.finish(0)
    await settle()
    assert first.in_progress
    assert second.in_progress
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert not first.in_progress
    assert not second.in_progress
    assert not others()


async def test_any_pattern_can_be_a_stage():
    class Open:
        async def acquire_async(self):
            return True

    stages = stage(increment), partial(rate_limited, double, limiter=Open(), limit=2)
    assert sorted([result async for result in pipeline(range(3), *stages)]) == [2, 4, 6]


@given(
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_stages_in_order_keep_the_order_and_hold_no_more_than_they_may(count, sizes, chance):
    async def run():
        works, pulled, results = [Work() for _ in sizes], [], []

        def source():
            for item in range(count):
                pulled.append(item)
                yield item

        stages = [
            stage(work, limit=limit, queue=queue, ordered=True)
            for work, (limit, queue) in zip(works, sizes, strict=True)
        ]

        async def consume():
            async for result in pipeline(source(), *stages):
                results.append(result)  # noqa: PERF401  # counted while it goes on

        consumer = asyncio.create_task(consume())
        await settle(30)
        while not consumer.done():
            work = chance.choice([work for work in works if work.in_progress])
            work.finish(chance.choice(sorted(work.in_progress)))
            await settle(30)
            assert len(pulled) - len(results) <= sum(limit + queue for limit, queue in sizes)
        for work, (limit, _) in zip(works, sizes, strict=True):
            assert work.most <= limit
        assert not others()
        return results

    assert asyncio.run(run()) == list(range(count))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"limit": 0}, "limit must be >= 1, got 0"),
        ({"queue": -1}, "queue must be >= 0, got -1"),
    ],
)
def test_sizes_out_of_range_are_refused_at_once(how, message):
    with pytest.raises(ValueError, match=message):
        stage(double, **how)
