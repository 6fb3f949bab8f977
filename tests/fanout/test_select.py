"""Select over several sources: what is ready first, and nothing lost."""

import asyncio
import sys

import pytest
from gated_work import async_range, at_once, others, settle
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.fanout import NothingReady, SelectBusy, SourcesEnded, select


async def endless(item):
    while True:
        yield item


async def test_takes_from_the_source_that_is_ready_first():
    slow, quick = asyncio.Queue(), asyncio.Queue()
    async with select(slow=slow.get, quick=quick.get) as ready:
        taking = asyncio.ensure_future(ready.take())
        await settle()
        assert not taking.done()
        quick.put_nowait("b")
        assert await taking == ("quick", "b")
        slow.put_nowait("a")
        assert await ready.take() == ("slow", "a")
    assert not others()


async def test_sources_that_always_have_something_take_turns():
    async with select(a=endless(1), b=endless(2), c=endless(3)) as ready:
        taken = [(await ready.take())[0] for _ in range(30)]
    assert {name: taken.count(name) for name in "abc"} == {"a": 10, "b": 10, "c": 10}


async def test_iteration_ends_with_the_last_source():
    async with select(few=async_range(2), more=async_range(5)) as ready:
        taken = [pair async for pair in ready]
    assert sorted(taken) == [("few", 0), ("few", 1)] + [("more", item) for item in range(5)]
    assert [item for name, item in taken if name == "more"] == list(range(5))


async def test_taking_from_sources_that_have_ended_says_so():
    async with select(empty=async_range(0)) as ready:
        with pytest.raises(SourcesEnded, match="all have ended") as ended:
            await ready.take()
        assert isinstance(ended.value, EOFError)
        with pytest.raises(SourcesEnded):
            await ready.take(timeout=1, default=None)


async def test_no_sources_have_ended():
    async with select() as ready:
        assert [pair async for pair in ready] == []


async def test_default_is_what_there_is_when_nothing_is_ready():
    queue = asyncio.Queue()
    async with select(queue=queue.get) as ready:
        assert await ready.take(timeout=0, default="nothing") == "nothing"
        queue.put_nowait(1)
        assert await ready.take(timeout=0, default="nothing") == ("queue", 1)


async def test_what_is_ready_at_the_first_take_is_found_without_waiting():
    queue = asyncio.Queue()
    queue.put_nowait("here")
    async with select(queue=queue.get) as ready:
        assert await ready.take(timeout=0) == ("queue", "here")


async def test_timeout_raises_and_loses_nothing():
    queue = asyncio.Queue()
    async with select(queue=queue.get) as ready:
        with pytest.raises(NothingReady, match=r"ready within 0\.001 seconds, none was") as late:
            await ready.take(timeout=0.001)
        assert isinstance(late.value, TimeoutError)
        assert isinstance(late.value, PenstockError)
        queue.put_nowait("late")
        await settle()
        assert ready.untaken() == [("queue", "late")]
        assert await ready.take() == ("queue", "late")


async def test_cancelled_take_loses_nothing():
    queue = asyncio.Queue()
    async with select(queue=queue.get) as ready:
        taking = asyncio.ensure_future(ready.take())
        await settle()
        queue.put_nowait(1)
        await asyncio.sleep(0)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert await ready.take() == ("queue", 1)


@pytest.mark.parametrize("turns", range(12))
async def test_cancelling_a_take_after_any_turn_of_the_loop_loses_nothing(turns):
    taken = []

    async with select(a=async_range(4), b=async_range(4)) as ready:

        async def consume():
            while True:
                taken.append(await ready.take())  # each by itself, until it is cancelled

        consumer = asyncio.create_task(consume())
        for _ in range(turns):
            await asyncio.sleep(0)
        consumer.cancel()
        await asyncio.wait([consumer])
        taken += [pair async for pair in ready]
    assert sorted(taken) == [(name, item) for name in "ab" for item in range(4)]


async def test_exception_of_a_source_is_raised_once_and_the_others_go_on():
    async def broken():
        yield 1
        raise OSError("line cut")

    async with select(good=async_range(3), bad=broken()) as ready:
        taken = []

        async def consume():
            while True:
                taken.append(await ready.take())

        with pytest.raises(OSError, match="line cut") as failure:
            await consume()
        assert failure.value.__notes__ == ["from source 'bad'"]
        taken += [pair async for pair in ready]
    assert sorted(taken) == [("bad", 1), ("good", 0), ("good", 1), ("good", 2)]


async def test_source_that_somebody_else_cancels_is_no_source_that_has_ended():
    gone = asyncio.get_running_loop().create_future()
    gone.cancel()

    async def broken():
        await gone

    async with select(good=async_range(2), bad=broken) as ready:
        taken = []

        async def consume():
            while True:
                taken.append(await ready.take())

        with pytest.raises(asyncio.CancelledError) as failure:
            await consume()
        assert failure.value.__notes__ == ["from source 'bad'"]
        taken += [pair async for pair in ready]
    assert taken == [("good", 0), ("good", 1)]
    assert asyncio.current_task().cancelling() == 0


async def test_closing_that_is_cancelled_still_wakes_who_waits():
    left = asyncio.Event()

    async def stubborn():
        try:
            await asyncio.Event().wait()
        finally:
            await left.wait()

    ready = select(stubborn=stubborn, quick=endless(1))
    assert await ready.take() == ("quick", 1)
    taking = asyncio.ensure_future(ready.take())  # asks the quick one again
    closing = asyncio.create_task(ready.aclose())  # before that has begun
    await settle()
    closing.cancel()
    await settle()
    assert not closing.done()
    left.set()
    await asyncio.wait([closing])
    assert closing.cancelled()
    with pytest.raises(SourcesEnded):
        await taking
    assert not others()


@pytest.mark.parametrize(
    ("seconds", "error", "message"),
    [
        (-1, ValueError, "timeout must be >= 0 seconds or None, got -1"),
        (float("nan"), ValueError, "timeout must be >= 0 seconds or None, got nan"),
        ("1", TypeError, "timeout must be a number, got str"),
    ],
)
async def test_timeout_that_is_no_duration_is_refused(seconds, error, message):
    async with select(queue=asyncio.Queue().get) as ready:
        with pytest.raises(error, match=message):
            await ready.take(timeout=seconds)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 is the first with eager tasks")
async def test_tasks_that_begin_at_once_change_nothing():
    async def quick(count):
        for item in range(count):
            yield item

    asyncio.get_running_loop().set_task_factory(at_once)
    async with asyncio.timeout(60), select(a=quick(2), b=async_range(2)) as ready:
        assert sorted([pair async for pair in ready]) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


async def test_nothing_is_asked_of_a_source_before_the_first_take():
    asked = []

    async def source():
        asked.append(1)
        yield 1

    async with select(source=source()) as ready:
        await settle()
        assert not asked
        await ready.take()
        await settle()
        assert len(asked) == 1


async def test_closing_ends_the_waiting_and_keeps_what_nobody_took():
    left = asyncio.Event()

    async def silent():
        try:
            await asyncio.Event().wait()
            yield 0
        finally:
            left.set()

    ready = select(silent=silent(), a=async_range(3), b=async_range(3))
    first = await ready.take()
    await settle()
    await ready.aclose()
    assert left.is_set()
    assert not others()
    assert sorted([first, *ready.untaken()]) == [("a", 0), ("b", 0)]
    assert [pair async for pair in ready] == [pair for pair in [("a", 0), ("b", 0)] if pair != first]


async def test_closing_before_the_waiting_has_begun_ends_it():
    ready = select(queue=asyncio.Queue().get)
    taking = asyncio.ensure_future(ready.take())
    await asyncio.sleep(0)  # it has asked the source, which has not run yet
    await ready.aclose()
    with pytest.raises(SourcesEnded):
        await taking
    with pytest.raises(SourcesEnded):
        await ready.take()
    assert not others()


async def test_two_tasks_cannot_take_at_once():
    async with select(queue=asyncio.Queue().get) as ready:
        waiting = asyncio.ensure_future(ready.take())
        await settle()
        with pytest.raises(SelectBusy, match="one task at a time"):
            await ready.take()
        waiting.cancel()
        await asyncio.wait([waiting])


def test_what_is_no_source_is_refused_at_once():
    with pytest.raises(TypeError, match="source 'numbers' must be an async iterable or a function, got list"):
        select(numbers=[1, 2])


@given(st.lists(st.integers(0, 8), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_every_item_of_every_source_is_taken_once_and_in_its_order(counts, chance):
    async def uneven(count):
        for item in range(count):
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            yield item

    async def run():
        taken = {f"source{place}": [] for place in range(len(counts))}
        async with select(**{f"source{place}": uneven(count) for place, count in enumerate(counts)}) as ready:
            while True:
                try:
                    pair = await ready.take(timeout=chance.choice([0, None]), default=None)
                except SourcesEnded:
                    break
                if pair:
                    taken[pair[0]].append(pair[1])
        assert not others()
        return list(taken.values())

    assert asyncio.run(run()) == [list(range(count)) for count in counts]
