"""Contexts: deadlines and cancellation that go down, and never up."""

import asyncio
import gc
import weakref
from contextlib import suppress

import pytest
from gated_work import others, settle
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from penstock.fanout import Context, ContextCancelled, ContextInUse, DeadlineExceeded
from virtual_time import run_in_virtual_time, virtual_time


@pytest.fixture
def clock():
    return ManualClock()


virtual = virtual_time()


def test_root_has_no_deadline_and_lasts(clock):
    root = Context(clock=clock)
    assert root.deadline is None
    assert root.remaining() is None
    assert root.error is None
    clock.advance(10**9)
    assert not root.done
    root.check()


def test_deadline_passes_with_the_clock(clock):
    context = Context(clock=clock).with_timeout(2.0)
    assert context.deadline == 2 * NANOSECONDS
    clock.advance(1.5)
    assert context.remaining() == 0.5
    assert not context.done
    clock.advance(0.5)
    assert context.done
    assert context.remaining() == 0.0
    with pytest.raises(DeadlineExceeded, match="its deadline has passed") as late:
        context.check()
    assert isinstance(late.value, TimeoutError)
    assert isinstance(late.value, PenstockError)


def test_child_never_outlives_the_deadline_of_its_parent(clock):
    parent = Context(clock=clock).with_timeout(2.0)
    assert parent.with_timeout(5.0).deadline == parent.deadline
    assert parent.with_timeout(1.0).deadline == NANOSECONDS
    assert parent.with_deadline(10**15).deadline == parent.deadline
    assert parent.with_cancel().deadline == parent.deadline
    assert parent.with_value("key", 1).deadline == parent.deadline


def test_endless_timeout_is_no_deadline(clock):
    assert Context(clock=clock).with_timeout(float("inf")).remaining() is None


def test_timeout_of_nothing_is_over(clock):
    assert Context(clock=clock).with_timeout(0).done


def test_cancelling_goes_down_and_not_up(clock):
    root = Context(clock=clock)
    middle, aunt = root.with_cancel(), root.with_cancel()
    leaf = middle.with_timeout(5).with_value("a", 1)
    middle.cancel("user left")
    assert (root.done, aunt.done, middle.done, leaf.done) == (False, False, True, True)
    assert leaf.remaining() == 0.0
    with pytest.raises(ContextCancelled, match="it was cancelled: user left"):
        leaf.check()


def test_child_of_what_is_over_is_over(clock):
    parent = Context(clock=clock).with_cancel()
    parent.cancel()
    assert parent.with_timeout(5).done


def test_first_reason_stays(clock):
    context = Context(clock=clock).with_timeout(1)
    context.cancel("first")
    context.cancel("second")
    clock.advance(2)
    assert "first" in str(context.error)


def test_cancelling_after_the_deadline_changes_nothing(clock):
    context = Context(clock=clock).with_timeout(1)
    clock.advance(2)
    context.cancel()
    assert isinstance(context.error, DeadlineExceeded)


def test_very_long_line_of_descent_is_cancelled(clock):
    root = leaf = Context(clock=clock)
    line = [root]
    for _ in range(20_000):
        leaf = leaf.with_cancel()
        line.append(leaf)
    root.cancel()
    assert leaf.done
    while line:
        line.pop()  # from the leaf up, so that no destructor recurses


def test_parent_does_not_keep_its_children_alive():
    root = Context()
    child = weakref.ref(root.with_timeout(100))
    gc.collect()
    assert child() is None


def test_values_come_from_the_nearest_ancestor():
    root = Context()
    outer = root.with_value("user", "anna").with_value("trace", 7)
    inner = outer.with_timeout(5).with_value("user", "bert")
    assert inner.value("user") == "bert"
    assert inner.value("trace") == 7
    assert outer.value("user") == "anna"
    assert root.value("user", "nobody") == "nobody"
    assert root.value(None) is None


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_timeout_that_is_no_duration_is_refused(seconds):
    with pytest.raises(ValueError, match=f"seconds must be >= 0, got {seconds}"):
        Context().with_timeout(seconds)


def test_timeout_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="seconds must be a number, got str"):
        Context().with_timeout("5")


def test_deadline_that_is_no_int_is_refused():
    with pytest.raises(TypeError, match="at_ns must be an int, got float"):
        Context().with_deadline(1.5)


def test_body_is_cancelled_at_the_deadline(virtual, clock):
    async def run():
        with pytest.raises(DeadlineExceeded):
            async with Context(clock=clock).with_timeout(2.5):
                await asyncio.sleep(100)
        return clock.now

    assert 2.5 * NANOSECONDS <= virtual(run()) < 2.5001 * NANOSECONDS


def test_deadline_of_the_caller_ends_the_callee(virtual, clock):
    async def callee(context):
        async with context.with_timeout(5.0) as own:
            assert own.remaining() == pytest.approx(2.0)
            await asyncio.sleep(100)

    async def run():
        async with Context(clock=clock).with_timeout(2.0) as context:
            await callee(context)

    with pytest.raises(DeadlineExceeded):
        virtual(run())
    assert clock.now < 2.0001 * NANOSECONDS


def test_own_deadline_of_the_callee_does_not_end_the_caller(virtual, clock):
    async def run():
        async with Context(clock=clock).with_timeout(2.0) as context:
            with pytest.raises(DeadlineExceeded):
                async with context.with_timeout(1.0):
                    await asyncio.sleep(100)
            await asyncio.sleep(0.5)
            assert not context.done
        return "fine"

    assert virtual(run()) == "fine"


def test_loop_that_wakes_early_does_not_end_the_body_early(clock):
    async def run():
        with pytest.raises(DeadlineExceeded):
            async with Context(clock=slower).with_timeout(1.0):
                await asyncio.sleep(100)
        assert NANOSECONDS <= slower() < NANOSECONDS + 2_000

    def slower():  # the loop is a thousandth ahead of it
        return clock.now - clock.now // 1_000

    run_in_virtual_time(run(), clock)


def test_remaining_is_what_asyncio_timeout_takes(virtual, clock):
    async def run():
        context = Context(clock=clock).with_timeout(3.0)
        await asyncio.sleep(1)
        async with asyncio.timeout(context.remaining()):
            await asyncio.sleep(100)

    with pytest.raises(TimeoutError):
        virtual(run())
    assert clock.now == pytest.approx(3 * NANOSECONDS, abs=1_000)


async def test_body_is_cancelled_when_the_context_is():
    context = Context().with_cancel()
    cleaned = []

    async def body():
        async with context:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned.append(True)

    task = asyncio.create_task(body())
    await settle()
    context.cancel("shutting down")
    with pytest.raises(ContextCancelled, match="shutting down") as over:
        await task
    assert isinstance(over.value.__cause__, asyncio.CancelledError)
    assert cleaned


async def test_cancelled_parent_ends_every_body_below_it():
    root = Context()

    async def body():
        async with root.with_timeout(100) as own, own.with_value("a", 1):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(body()) for _ in range(5)]
    await settle()
    root.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, ContextCancelled) for outcome in outcomes)
    assert all(task.cancelling() == 0 for task in tasks)


async def test_cancelling_from_its_own_body_ends_it_at_its_next_await():
    async with Context() as quiet:
        quiet.cancel()
    await asyncio.sleep(0)  # nothing is left of it

    async def body():
        async with Context() as context:
            context.cancel("enough")
            await asyncio.Event().wait()

    with pytest.raises(ContextCancelled, match="enough"):
        await body()


async def test_cancellation_by_somebody_else_stays_one():
    async def body():
        async with Context().with_timeout(100):
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancellation_by_somebody_else_in_the_same_turn_wins():
    context = Context()

    async def body():
        async with context:
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await settle()
    context.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_exception_of_the_body_is_not_replaced():
    with pytest.raises(KeyError, match="mine"):
        async with Context().with_timeout(100):
            raise KeyError("mine")


async def test_context_is_over_when_its_body_has_ended():
    async with Context().with_timeout(100) as context:
        child = context.with_cancel()
    assert child.done
    with pytest.raises(ContextCancelled, match="its block has ended"):
        context.check()


async def test_what_is_over_does_not_begin():
    begun = []
    context = Context().with_timeout(0)
    with pytest.raises(DeadlineExceeded):
        async with context:
            begun.append(True)
    assert not begun


async def test_context_is_entered_once():
    async with Context() as context:
        with pytest.raises(ContextInUse, match="enter a child"):
            await context.__aenter__()


async def test_waiting_for_the_end():
    context = Context().with_timeout(100)
    waiters = [asyncio.create_task(context.wait()) for _ in range(3)]
    await settle()
    waiters[0].cancel()
    await asyncio.wait([waiters[0]])
    context.cancel()
    await asyncio.gather(*waiters[1:])
    await context.wait()
    assert not others()


async def test_waiter_that_is_cancelled_in_the_turn_of_the_end_leaves_no_error_in_the_loop():
    met = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: met.append(context))
    context = Context()
    waiter = asyncio.create_task(context.wait())
    await settle()
    context.cancel()
    waiter.cancel()
    await settle()
    assert waiter.cancelled()
    assert not met


@pytest.mark.parametrize("seconds", [100, 0.001])
async def test_context_is_freed_when_its_block_has_ended_without_the_collector(seconds):
    async def body():
        async with Context().with_timeout(seconds) as context:
            seen.append(weakref.ref(context))
            await asyncio.sleep(0 if seconds > 1 else 100)

    seen = []
    gc.disable()
    try:
        for _ in range(3):
            with suppress(DeadlineExceeded):
                await body()
        await settle()
        assert [context() for context in seen] == [None] * 3
    finally:
        gc.enable()


def test_waiting_ends_at_the_deadline(virtual, clock):
    async def run():
        await Context(clock=clock).with_timeout(3).wait()
        return clock.now

    assert virtual(run()) == pytest.approx(3 * NANOSECONDS, abs=2_000)


@given(
    st.lists(st.tuples(st.integers(0, 10), st.one_of(st.none(), st.floats(0, 10))), max_size=20),
    st.lists(st.one_of(st.integers(0, 20), st.floats(0.001, 3.0)), max_size=10),
)
def test_a_context_is_over_exactly_when_it_or_an_ancestor_is(tree, events):
    clock = ManualClock()
    contexts, parents, cancelled = [Context(clock=clock)], [None], set()
    for parent, seconds in tree:
        place = parent % len(contexts)
        above = contexts[place]
        contexts.append(above.with_cancel() if seconds is None else above.with_timeout(seconds))
        parents.append(place)

    def over(place):
        while place is not None:
            deadline = contexts[place].deadline
            if place in cancelled or (deadline is not None and clock() >= deadline):
                return True
            place = parents[place]
        return False

    for event in events:
        if isinstance(event, int):
            place = event % len(contexts)
            contexts[place].cancel()
            cancelled.add(place)
        else:
            clock.advance(event)
        assert [context.done for context in contexts] == [over(place) for place in range(len(contexts))]
