"""Once, and single flight for each key: one call for all who ask."""

import asyncio
from contextvars import ContextVar

import pytest
from gated_work import Work, others, settle
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.fanout import Once, OnceReentered, SingleFlight


class Calls:
    """A function whose calls end when the test says so."""

    def __init__(self):
        self.work = Work()
        self.count = 0

    async def __call__(self):
        self.count += 1
        return await self.work(self.count)

    def finish(self):
        self.work.finish(self.count)

    def fail(self, error):
        self.work.fail(self.count, error)


@pytest.fixture
def calls():
    return Calls()


@pytest.fixture(params=["once", "flight"])
def ask(request, calls):
    """Both ways to ask for one call."""
    if request.param == "once":
        return Once(calls)
    flights = SingleFlight()
    return lambda: flights.do("key", calls)


def asking(ask, count):
    async def one():
        return await ask()

    return [asyncio.create_task(one()) for _ in range(count)]


async def test_all_who_ask_at_once_get_the_result_of_one_call(ask, calls):
    tasks = asking(ask, 5)
    await settle()
    calls.finish()
    assert await asyncio.gather(*tasks) == [1] * 5
    assert calls.count == 1
    assert not others()


async def test_later_calls_get_the_result_at_once(calls):
    once = Once(calls)
    (task,) = asking(once, 1)
    await settle()
    assert not once.done
    calls.finish()
    assert await task == 1
    assert once.done
    assert await once() == 1
    assert calls.count == 1


async def test_single_flight_remembers_nothing(calls):
    flights = SingleFlight()
    for expected in (1, 2):
        task = asyncio.create_task(flights.do("key", calls))
        await settle()
        assert len(flights) == 1
        calls.finish()
        assert await task == expected
        await settle()
        assert len(flights) == 0


async def test_keys_fly_apart():
    flights, work = SingleFlight(), Work()
    tasks = [asyncio.create_task(flights.do(key, lambda key=key: work(key))) for key in "aab"]
    await settle()
    assert work.in_progress == {"a", "b"}
    work.finish("a")
    work.finish("b")
    assert await asyncio.gather(*tasks) == ["a", "a", "b"]


async def test_exception_goes_to_all_who_wait_and_the_next_tries_again(ask, calls):
    tasks = asking(ask, 3)
    await settle()
    calls.fail(ConnectionError("refused"))
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["refused"] * 3
    (again,) = asking(ask, 1)
    await settle()
    calls.finish()
    assert await again == 2


async def test_kept_failure_is_as_final_as_a_result(calls):
    once = Once(calls, keep_failure=True)
    (task,) = asking(once, 1)
    await settle()
    calls.fail(ConnectionError("refused"))
    depths = []
    for call in (lambda: task, once, once):
        with pytest.raises(ConnectionError, match="refused") as failure:
            await call()
        depths.append(len(failure.traceback))
    assert once.done
    assert calls.count == 1
    assert depths[1] == depths[2]  # its traceback does not grow with every call


async def test_cancelled_caller_leaves_the_others_undisturbed(ask, calls):
    first, second = asking(ask, 2)
    await settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    calls.finish()
    assert await second == 1


async def test_last_caller_to_leave_cancels_the_call_and_waits_for_its_end():
    may_end, ended = asyncio.Event(), []

    async def stubborn():
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
            ended.append(True)

    once = Once(stubborn)
    tasks = asking(once, 2)
    await settle()
    for task in tasks:
        task.cancel()
    await settle()
    assert [task.done() for task in tasks] == [True, False]
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    assert ended
    assert not once.done
    assert not others()


@pytest.mark.parametrize("kind", ["once", "flight"])
async def test_caller_who_comes_while_a_left_call_still_ends_waits_for_that_and_calls_anew(kind):
    may_end, running = asyncio.Event(), []

    async def stubborn():
        running.append(1)
        assert len(running) == 1
        try:
            if not may_end.is_set():
                await asyncio.Event().wait()
            return "second"
        finally:
            await may_end.wait()
            running.pop()

    once, flights = Once(stubborn), SingleFlight()
    ask = once if kind == "once" else lambda: flights.do("key", stubborn)
    (first,) = asking(ask, 1)
    await settle()
    first.cancel()
    await settle()
    later = asking(ask, 2)
    await settle()
    assert not any(task.done() for task in later)
    may_end.set()
    assert await asyncio.gather(*later) == ["second"] * 2
    assert first.cancelled()
    assert not others()


async def test_call_that_somebody_else_cancels_is_cancelled_for_all_and_not_done(calls):
    once = Once(calls)
    tasks = asking(once, 2)
    await settle()
    (call,) = others() - set(tasks)
    call.cancel()
    for task in tasks:
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not once.done


async def test_call_that_ends_in_the_turn_of_its_cancellation_keeps_its_exception_quiet(ask, calls):
    (task,) = asking(ask, 1)
    await settle()
    calls.fail(ValueError("late"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert not others()


async def test_function_that_asks_for_itself_is_told_so():
    async def itself():
        return await once()

    once = Once(itself)
    with pytest.raises(OnceReentered, match="own result") as refused:
        await once()
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize("kind", ["once", "flight"])
async def test_function_that_asks_for_itself_while_it_is_being_cancelled_is_told_so(kind):
    refused = []

    async def itself():
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await ask()
            except OnceReentered as error:
                refused.append(error)

    once, flights = Once(itself), SingleFlight()
    ask = once if kind == "once" else lambda: flights.do("key", itself)
    (task,) = asking(ask, 1)
    await settle()
    task.cancel()
    await settle()
    assert task.cancelled()
    assert len(refused) == 1
    assert not others()


async def test_it_runs_in_the_context_of_the_first_who_called():
    who = ContextVar("who", default="nobody")

    async def name():
        return who.get()

    once = Once(name)
    who.set("first")
    assert await once() == "first"


@given(st.lists(st.sampled_from(["ask", "cancel", "turn", "finish", "fail"]), max_size=40), st.randoms())
def test_there_are_never_two_calls_at_once_and_no_caller_is_forgotten(steps, chance):
    async def run():
        calls, tasks = Calls(), []
        once = Once(calls)
        for step in steps:
            if step == "ask":
                tasks += asking(once, 1)
            elif step == "cancel" and tasks:
                chance.choice(tasks).cancel()
            elif step in ("finish", "fail") and calls.work.in_progress:
                gate = calls.work.gates[calls.count]
                if not gate.done():
                    calls.finish() if step == "finish" else calls.fail(ValueError("no"))
            else:
                await asyncio.sleep(0)
            assert len(calls.work.in_progress) <= 1
        await settle()
        while calls.work.in_progress:
            calls.finish()
            await settle()
        assert all(task.done() for task in tasks)
        assert not others()
        for task in tasks:
            if not task.cancelled():
                task.exception()

    asyncio.run(run())
