"""What single flight promises: one computation a key, for threads, tasks and several event loops."""

import asyncio
import contextlib
import contextvars
import gc
import os
import signal
import sys
import threading
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock import PenstockError
from penstock.cache._flights import CacheLoadDeadlock, Flights, likeness, peek
from penstock.cache._settings import MISSING
from penstock.clock import ManualClock
from twins import both_twins

Cache = both_twins("penstock.cache.cache")
PATIENCE = 20  # seconds after which a test that hangs fails


@pytest.fixture
def flights():
    return Flights()


@pytest.fixture
def cache(Cache):
    return Cache(100)


class Started:
    """A loader that says when it has begun and ends when it is told to."""

    def __init__(self, value="value"):
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.value, self.calls = value, 0

    def __call__(self, key):
        self.calls += 1
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class AsyncStarted:
    """The same for tasks of one loop."""

    def __init__(self, value="value"):
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.value, self.calls, self.cancelled = value, 0, 0

    async def __call__(self, key):
        self.calls += 1
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


def in_thread(function, *args):
    """Runs it in a new thread; `.result(timeout)` as of a future."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(function, *args)
    executor.shutdown(wait=False)
    return future


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0)


def wait_until(condition):
    pause = threading.Event()
    for _ in range(PATIENCE * 1000):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it never came to it")


def waiting(flights):
    """How many wait for what is being computed."""
    return sum(len(flight.waiters) for flight in list(flights.table))


def quiet(loader):
    """A loader of which no call is expected."""
    raise AssertionError(loader)


# ---- one at a time ----


def test_value_is_computed_stored_and_found_again(cache, flights):
    assert flights.get_or_compute(cache, "k", str.upper) == "K"
    assert flights.get_or_compute(cache, "k", quiet) == "K"
    assert cache["k"] == "K"
    assert len(flights) == 0


async def test_value_is_computed_stored_and_found_again_by_tasks(cache, flights):
    async def upper(key):
        return key.upper()

    assert await flights.get_or_compute_async(cache, "k", upper) == "K"
    assert await flights.get_or_compute_async(cache, "k", quiet) == "K"
    assert cache["k"] == "K"
    assert len(flights) == 0


async def test_none_is_a_value(cache, flights):
    async def nothing(key):
        return None

    assert flights.get_or_compute(cache, "a", lambda key: None) is None
    assert flights.get_or_compute(cache, "a", quiet) is None
    assert await flights.get_or_compute_async(cache, "b", nothing) is None
    assert await flights.get_or_compute_async(cache, "b", quiet) is None


def test_value_has_the_ttl_that_was_asked_for(Cache, flights):
    clock = ManualClock()
    cache = Cache(10, ttl=100, clock=clock)
    flights.get_or_compute(cache, "own", str.upper)
    flights.get_or_compute(cache, "short", str.upper, 1)
    clock.advance(1)
    assert list(cache) == ["own"]


def test_a_lookup_counts_one_hit_or_miss(cache, flights):
    flights.get_or_compute(cache, "k", str.upper)
    flights.get_or_compute(cache, "k", str.upper)
    assert cache.stats()[:2] == (1, 1)


async def test_loads_failures_and_their_time_are_counted(cache):
    clock = ManualClock()
    flights = Flights(clock)

    def fail(key):
        clock.now += 7
        raise ConnectionError

    async def load(key):
        clock.now += 30

    flights.get_or_compute(cache, "a", lambda key: clock.advance(1e-9))
    with pytest.raises(ConnectionError):
        flights.get_or_compute(cache, "b", fail)
    await flights.get_or_compute_async(cache, "c", load)
    assert (flights.loads, flights.load_failures, flights.load_ns) == (3, 1, 38)


@pytest.mark.parametrize("fn", [None, 5, "text"])
async def test_fn_that_is_not_callable_is_refused(cache, flights, fn):
    message = f"^fn must be callable, got {type(fn).__name__}$"
    with pytest.raises(TypeError, match=message):
        flights.get_or_compute(cache, "k", fn)
    with pytest.raises(PenstockError, match=message):
        await flights.get_or_compute_async(cache, "k", fn)


def test_unhashable_key_is_a_type_error_and_leaves_nothing(cache, flights):
    with pytest.raises(TypeError, match="unhashable"):
        flights.get_or_compute(cache, [], quiet)
    assert len(flights) == 0


# ---- stampedes ----


def test_a_thousand_threads_on_a_cold_key_load_once(cache, flights):
    load = Started()
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(flights.get_or_compute(cache, "k", load)))
        for _ in range(1000)
    ]
    stack = threading.stack_size(128 * 1024)
    try:
        for thread in threads:
            thread.start()
    finally:
        threading.stack_size(stack)
    wait_until(lambda: waiting(flights) == 999)
    load.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert got == ["value"] * 1000
    assert load.calls == flights.loads == 1
    assert len(flights) == 0


async def test_a_thousand_tasks_on_a_cold_key_load_once(cache, flights):
    load = AsyncStarted()
    tasks = [asyncio.create_task(flights.get_or_compute_async(cache, "k", load)) for _ in range(1000)]
    await until(lambda: waiting(flights) == 1000)
    load.go_on.set()
    assert await asyncio.gather(*tasks) == ["value"] * 1000
    assert load.calls == flights.loads == 1
    assert len(flights) == 0


def test_threads_that_come_all_the_time_load_once(cache, flights):
    """No pause between the end of the computation and the store through which a second could slip."""
    for turn in range(200):
        calls = []
        barrier = threading.Barrier(8)

        def ask(turn=turn, calls=calls, barrier=barrier):
            barrier.wait(PATIENCE)
            for _ in range(3):
                flights.get_or_compute(cache, turn, calls.append)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert calls == [turn]


def test_keys_do_not_wait_for_one_another(cache, flights):
    slow = Started()
    leader = in_thread(flights.get_or_compute, cache, "slow", slow)
    assert slow.begun.wait(PATIENCE)
    assert flights.get_or_compute(cache, "quick", str.upper) == "QUICK"
    slow.go_on.set()
    assert leader.result(PATIENCE) == "value"


async def test_thread_waits_for_a_task(cache, flights):
    load = AsyncStarted()
    leader = asyncio.create_task(flights.get_or_compute_async(cache, "k", load))
    await load.begun.wait()
    waiter = in_thread(flights.get_or_compute, cache, "k", quiet)
    await until(lambda: waiting(flights) == 2)
    load.go_on.set()
    assert await leader == await asyncio.wrap_future(waiter) == "value"


async def test_task_waits_for_a_thread_and_its_loop_goes_on(cache, flights):
    load = Started()
    leader = in_thread(flights.get_or_compute, cache, "k", load)
    await asyncio.to_thread(load.begun.wait)
    waiter = asyncio.create_task(flights.get_or_compute_async(cache, "k", quiet))
    await until(lambda: waiting(flights) == 1)  # which runs on the loop that is not blocked
    load.go_on.set()
    assert await waiter == leader.result(PATIENCE) == "value"


async def test_several_event_loops_share_a_flight(cache, flights):
    load = AsyncStarted()
    leader = asyncio.create_task(flights.get_or_compute_async(cache, "k", load))
    await load.begun.wait()
    others = [in_thread(asyncio.run, flights.get_or_compute_async(cache, "k", quiet)) for _ in range(3)]
    await until(lambda: waiting(flights) == 4)
    load.go_on.set()
    assert await asyncio.gather(leader, *map(asyncio.wrap_future, others)) == ["value"] * 4


async def test_load_has_the_context_variables_of_the_first_caller(cache, flights):
    user = contextvars.ContextVar("user", default="nobody")
    load = AsyncStarted()

    async def who(key):
        await load(key)
        return user.get()

    async def ask(name):
        user.set(name)
        return await flights.get_or_compute_async(cache, "k", who)

    tasks = [asyncio.create_task(ask(name)) for name in ("ann", "bob")]
    await until(lambda: waiting(flights) == 2)
    load.go_on.set()
    assert await asyncio.gather(*tasks) == ["ann", "ann"]


# ---- errors ----


async def test_error_of_the_loader_reaches_everybody_and_is_not_remembered(cache, flights):
    load = Started(OSError(5, "no disk"))
    threads = [in_thread(flights.get_or_compute, cache, "k", load) for _ in range(4)]
    tasks = [asyncio.create_task(flights.get_or_compute_async(cache, "k", load)) for _ in range(4)]
    await until(lambda: waiting(flights) == 7)
    load.go_on.set()
    for error in await asyncio.gather(*tasks, *map(asyncio.wrap_future, threads), return_exceptions=True):
        assert type(error) is OSError
        assert (error.errno, error.strerror) == (5, "no disk")
        assert "in __call__" in "".join(traceback.format_tb(error.__traceback__)), "the loader's own frame"
    assert load.calls == 1
    assert "k" not in cache
    assert flights.get_or_compute(cache, "k", str.upper) == "K"


async def test_first_caller_gets_the_exception_itself(cache, flights):
    error = LookupError("itself")

    def fail(key):
        raise error

    async def fail_async(key):
        raise error

    with pytest.raises(LookupError) as caught:
        flights.get_or_compute(cache, "k", fail)
    assert caught.value is error
    with pytest.raises(LookupError) as caught:
        await flights.get_or_compute_async(cache, "k", fail_async)
    assert caught.value is error


async def test_errors_keep_nothing_alive(cache, flights):
    class Witness:
        pass

    witnesses = []

    def fail(key):
        witness = Witness()
        witnesses.append(weakref.ref(witness))
        raise OSError

    async def fail_async(key):
        fail(key)

    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(OSError):
            flights.get_or_compute(cache, "k", fail)
        with contextlib.suppress(OSError):
            await flights.get_or_compute_async(cache, "k", fail_async)
        await asyncio.sleep(0)
        if sys.version_info >= (
            3,
            12,
        ):  # a frame that has ended knows its caller there: a cycle, to be collected
            gc.collect()
        assert [witness() for witness in witnesses] == [None, None]
    finally:
        gc.enable()


async def test_tracebacks_of_waiters_do_not_grow_with_their_number(cache, flights):
    load = AsyncStarted(OSError())
    tasks = [asyncio.create_task(flights.get_or_compute_async(cache, "k", load)) for _ in range(100)]
    await until(lambda: waiting(flights) == 100)
    load.go_on.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert len({id(error) for error in errors}) == 100
    assert max(len(traceback.extract_tb(error.__traceback__)) for error in errors) < 10


class Odd(Exception):
    """Takes other arguments than it keeps."""

    def __init__(self, name, *, code):
        super().__init__(f"{name} is odd")
        self.code = code


class Slotted(Exception):
    __slots__ = ("code",)


class Strict(Exception):
    def __new__(cls, a, b):
        return super().__new__(cls, a, b)

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 2),
        Odd("it", code=7),
        OSError(2, "gone", "file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad byte"),
        ImportError("not there", name="it"),
        KeyError("k"),
        ExceptionGroup("several", [OSError(), ValueError()]),
    ],
    ids=repr,
)
def test_likeness_of_an_exception_says_the_same(error):
    error.add_note("a note")
    error.__cause__ = LookupError("why")
    copied = likeness(error)
    assert copied is not error
    assert type(copied) is type(error)
    assert (str(copied), copied.args, repr(copied)) == (str(error), error.args, repr(error))
    assert vars(copied) == vars(error)
    assert copied.__cause__ is error.__cause__
    assert copied.__traceback__ is None
    for name in ("errno", "filename", "start", "reason", "name"):
        assert getattr(copied, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("error", [Slotted(), Strict(1, 2)], ids=repr)
def test_exception_that_cannot_be_copied_goes_round_itself(error, cache, flights):
    assert likeness(error) is error
    load = Started(error)
    asking = [in_thread(flights.get_or_compute, cache, "k", load) for _ in range(3)]
    wait_until(lambda: waiting(flights) == 2)
    load.go_on.set()
    assert {type(each.exception(PATIENCE)) for each in asking} == {type(error)}


def test_cache_that_refuses_the_value_is_an_error_for_all_and_leaves_nothing(cache, flights):
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^ttl must be > 0"):
            flights.get_or_compute(cache, "k", str.upper, float("nan"))
    assert len(flights) == 0
    assert len(cache) == 0


class Key:
    """A key whose hash is 1, and whose comparison does what the test says."""

    def __init__(self, name, compare=lambda: None):
        self.name, self.compare = name, compare

    def __hash__(self):
        return 1

    def __eq__(self, other):
        self.compare()
        if other is not self and isinstance(other, Key):
            other.compare()
        return isinstance(other, Key) and self.name == other.name


def test_keys_of_one_hash_are_told_apart(cache, flights):
    load = Started("a")
    leader = in_thread(flights.get_or_compute, cache, Key("a"), load)
    assert load.begun.wait(PATIENCE)
    assert flights.get_or_compute(cache, Key("b"), lambda key: key.name) == "b"
    same = in_thread(flights.get_or_compute, cache, Key("a"), quiet)
    wait_until(lambda: waiting(flights) == 1)
    load.go_on.set()
    assert leader.result(PATIENCE) == same.result(PATIENCE) == "a"


def test_comparison_that_raises_reaches_its_caller_and_nobody_else(cache, flights):
    def refuse():
        raise ArithmeticError("cannot compare")

    load = Started("a")
    leader = in_thread(flights.get_or_compute, cache, Key("a"), load)
    assert load.begun.wait(PATIENCE)
    with pytest.raises(ArithmeticError, match="cannot compare"):
        flights.get_or_compute(cache, Key("a", refuse), quiet)
    with pytest.raises(ArithmeticError, match="cannot compare"):
        flights.forget(Key("a", refuse))
    load.go_on.set()
    assert leader.result(PATIENCE) == "a"
    assert len(flights) == 0


def test_flight_leaves_the_table_though_its_key_can_be_compared_no_more(cache, flights):
    refused = []

    def refuse():
        if refused:
            raise ArithmeticError("cannot compare")

    loads = Started("a"), Started("b")
    leaders = [
        in_thread(flights.get_or_compute, cache, Key(str(n), refuse), load) for n, load in enumerate(loads)
    ]
    for load in loads:
        assert load.begun.wait(PATIENCE)
    refused.append(True)
    for load in loads:
        load.go_on.set()
    for leader in leaders:
        assert isinstance(leader.exception(PATIENCE), ArithmeticError | None)  # the cache compares
    assert len(flights) == 0


def test_comparison_may_ask_for_the_same_key(cache, flights):
    asked = []

    def ask():
        if not asked:
            asked.append(True)
            flights.get_or_compute(cache, Key("b"), lambda key: key.name)

    load = Started("a")
    leader = in_thread(flights.get_or_compute, cache, Key("a"), load)
    assert load.begun.wait(PATIENCE)
    assert flights.get_or_compute(cache, Key("b", ask), lambda key: key.name) == "b"
    assert asked
    load.go_on.set()
    assert leader.result(PATIENCE) == "a"


# ---- what would wait for ever ----


def deadlock(key):
    return pytest.raises(
        CacheLoadDeadlock, match=f"^key must not be needed to compute its own value, got {key!r}$"
    )


def test_loader_that_asks_for_its_own_key_is_told(cache, flights):
    def again(key):
        return flights.get_or_compute(cache, key, again)

    with deadlock("k"):
        flights.get_or_compute(cache, "k", again)
    assert len(flights) == 0
    assert issubclass(CacheLoadDeadlock, PenstockError)
    assert issubclass(CacheLoadDeadlock, RuntimeError)


async def test_coroutine_that_asks_for_its_own_key_is_told(cache, flights):
    async def again(key):
        return await flights.get_or_compute_async(cache, key, again)

    with deadlock("k"):
        await flights.get_or_compute_async(cache, "k", again)
    assert len(flights) == 0


async def test_keys_that_need_each_other_are_told_in_one_thread_and_in_one_task(cache, flights):
    def other(key):
        return flights.get_or_compute(cache, 1 - key, other)

    async def other_async(key):
        return await flights.get_or_compute_async(cache, 1 - key, other_async)

    with deadlock(0):
        flights.get_or_compute(cache, 0, other)
    with deadlock(0):
        await flights.get_or_compute_async(cache, 0, other_async)


def test_recursion_over_other_keys_is_no_deadlock(cache, flights):
    def fibonacci(n):
        if n < 2:
            return n
        return sum(flights.get_or_compute(cache, n - back, fibonacci) for back in (1, 2))

    assert flights.get_or_compute(cache, 30, fibonacci) == 832040


def test_two_threads_that_wait_for_each_other_are_told(Cache):
    """Each through a cache of its own, so that no single table shows it."""
    caches = Cache(2), Cache(2)
    flights = Flights(), Flights()
    barrier = threading.Barrier(2)

    def first(n):
        barrier.wait(PATIENCE)
        return flights[1 - n].get_or_compute(caches[1 - n], 1 - n, quiet)

    asking = [in_thread(flights[n].get_or_compute, caches[n], n, first) for n in (0, 1)]
    assert {type(each.exception(PATIENCE)) for each in asking} == {CacheLoadDeadlock}
    assert len(flights[0]) == len(flights[1]) == 0


async def test_two_tasks_that_wait_for_each_other_are_told(cache, flights):
    begun = {0: asyncio.Event(), 1: asyncio.Event()}

    async def first(n):
        begun[n].set()
        await begun[1 - n].wait()
        return await flights.get_or_compute_async(cache, 1 - n, quiet)

    asking = [flights.get_or_compute_async(cache, n, first) for n in (0, 1)]
    async with asyncio.timeout(PATIENCE):
        errors = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(error) for error in errors} == {CacheLoadDeadlock}


async def test_thread_and_task_that_wait_for_each_other_are_told(cache, flights):
    met = threading.Barrier(2)

    def in_a_thread(key):
        met.wait(PATIENCE)
        return flights.get_or_compute(cache, "task", quiet)

    async def in_a_task(key):
        await asyncio.to_thread(met.wait, PATIENCE)
        return await flights.get_or_compute_async(cache, "thread", quiet)

    thread = in_thread(flights.get_or_compute, cache, "thread", in_a_thread)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(CacheLoadDeadlock):
            await flights.get_or_compute_async(cache, "task", in_a_task)
    assert isinstance(thread.exception(PATIENCE), CacheLoadDeadlock)


async def test_thread_of_a_loop_does_not_wait_for_a_task_of_the_loop(cache, flights):
    load = AsyncStarted()
    leader = asyncio.create_task(flights.get_or_compute_async(cache, "k", load))
    await load.begun.wait()
    with deadlock("k"):
        flights.get_or_compute(cache, "k", quiet)
    load.go_on.set()
    assert await leader == "value"


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="a system without signals for threads")
def test_signal_handler_that_waits_within_a_wait_hides_no_deadlock(cache, flights):
    main, nested = threading.get_ident(), Started()
    handled = threading.Event()

    def handle(number, frame):
        flights.get_or_compute(cache, "nested", quiet)
        handled.set()

    def need_main(key):
        wait_until(lambda: waiting(flights) == 1)  # the main thread, for this key
        signal.pthread_kill(main, signal.SIGUSR1)
        wait_until(lambda: waiting(flights) == 2)  # and now for "nested" too
        nested.go_on.set()
        assert handled.wait(PATIENCE)
        return flights.get_or_compute(cache, "main", quiet)

    def need_other(key):
        return flights.get_or_compute(cache, "other", quiet)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        leaders = [
            in_thread(flights.get_or_compute, cache, "nested", nested),
            in_thread(flights.get_or_compute, cache, "other", need_main),
        ]
        assert nested.begun.wait(PATIENCE)
        wait_until(lambda: "other" in flights.keys())  # noqa: SIM118  (it is no dict)
        with deadlock("main"):
            flights.get_or_compute(cache, "main", need_other)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert leaders[0].result(PATIENCE) == "value"
    assert isinstance(leaders[1].exception(PATIENCE), CacheLoadDeadlock)


def test_loop_within_a_loader_does_not_wait_for_the_loader(cache, flights):
    def run(key):
        return asyncio.run(flights.get_or_compute_async(cache, key, quiet))

    with deadlock("k"):
        flights.get_or_compute(cache, "k", run)


# ---- whoever stops waiting ----


async def test_cancelled_waiter_leaves_the_others_alone(cache, flights):
    load = AsyncStarted()
    tasks = [asyncio.create_task(flights.get_or_compute_async(cache, "k", load)) for _ in range(3)]
    await until(lambda: waiting(flights) == 3)
    for cancelled in tasks[:2]:  # the one that has begun it, too
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    load.go_on.set()
    assert await tasks[2] == "value"
    assert load.cancelled == 0


async def test_last_cancelled_waiter_cancels_the_load(cache, flights):
    load = AsyncStarted()
    tasks = [asyncio.create_task(flights.get_or_compute_async(cache, "k", load)) for _ in range(3)]
    await until(lambda: waiting(flights) == 3)
    for cancelled in tasks:
        cancelled.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: load.cancelled == 1)
    await until(lambda: flights.load_failures == 1)
    assert len(flights) == 0
    load.go_on.set()
    assert await flights.get_or_compute_async(cache, "k", load) == "value"
    assert load.calls == 2


async def test_timeout_of_the_only_caller_cancels_the_load(cache, flights):
    load = AsyncStarted()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await flights.get_or_compute_async(cache, "k", load)
    await until(lambda: not flights._tasks)
    assert len(flights) == 0
    assert "k" not in cache


async def test_waiting_thread_keeps_the_load_of_a_cancelled_task_alive(cache, flights):
    load = AsyncStarted()
    leader = asyncio.create_task(flights.get_or_compute_async(cache, "k", load))
    await load.begun.wait()
    waiter = in_thread(flights.get_or_compute, cache, "k", quiet)
    await until(lambda: waiting(flights) == 2)
    leader.cancel()
    await asyncio.wait([leader])
    load.go_on.set()
    assert await asyncio.wrap_future(waiter) == "value"


async def test_waiter_takes_over_when_the_load_is_cancelled_under_it(cache, flights):
    load = AsyncStarted()
    first = asyncio.create_task(flights.get_or_compute_async(cache, "k", load))
    await load.begun.wait()
    others = [asyncio.create_task(flights.get_or_compute_async(cache, "k", load)) for _ in range(3)]
    thread = in_thread(flights.get_or_compute, cache, "k", str.upper)
    await until(lambda: waiting(flights) == 5)
    (computing,) = flights._tasks
    computing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first  # as if it had computed itself
    load.go_on.set()
    values = await asyncio.gather(*others, asyncio.wrap_future(thread))
    assert values in (["value"] * 4, ["K"] * 4)
    assert flights.loads == 2


async def test_load_that_is_cancelled_before_it_begins_is_taken_over(cache, flights):
    first = asyncio.create_task(flights.get_or_compute_async(cache, "k", quiet))
    await asyncio.sleep(0)
    (computing,) = flights._tasks
    computing.cancel()
    other = asyncio.create_task(flights.get_or_compute_async(cache, "k", upper_async))
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await other == "K"
    assert flights.loads == 1


async def test_loader_that_cancels_itself_is_tried_once_by_each(cache, flights):
    calls = []

    async def cancel(key):
        calls.append(key)
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    asking = [flights.get_or_compute_async(cache, "k", cancel) for _ in range(5)]
    async with asyncio.timeout(PATIENCE):
        ends = await asyncio.gather(*map(asyncio.create_task, asking), return_exceptions=True)
    assert {type(end) for end in ends} == {asyncio.CancelledError}
    assert len(calls) == 5


def test_waiters_take_over_from_an_interrupted_thread(cache, flights):
    load = Started(KeyboardInterrupt())
    leader = in_thread(flights.get_or_compute, cache, "k", load)
    assert load.begun.wait(PATIENCE)
    others = [in_thread(flights.get_or_compute, cache, "k", str.upper) for _ in range(5)]
    wait_until(lambda: waiting(flights) == 5)
    load.go_on.set()
    assert isinstance(leader.exception(PATIENCE), KeyboardInterrupt)
    assert [other.result(PATIENCE) for other in others] == ["K"] * 5
    assert flights.loads == 2


def test_thread_waits_no_longer_for_a_loop_that_is_closed(cache, flights, monkeypatch):
    monkeypatch.setattr("penstock.cache._flights.LOOK_EVERY", 0.01)
    loop = asyncio.new_event_loop()
    begun, end = threading.Event(), threading.Event()

    async def load(key):
        begun.set()
        while not end.is_set():
            await asyncio.sleep(0)
        loop.stop()
        await asyncio.sleep(PATIENCE)

    def run():
        leader = loop.create_task(flights.get_or_compute_async(cache, "k", load))
        loop.run_forever()
        loop.close()
        (computing,) = flights._tasks
        leader._log_destroy_pending = computing._log_destroy_pending = False

    running = in_thread(run)
    assert begun.wait(PATIENCE)
    waiter = in_thread(flights.get_or_compute, cache, "k", str.upper)
    other_loop = in_thread(asyncio.run, flights.get_or_compute_async(cache, "k", upper_async))
    wait_until(lambda: waiting(flights) == 3)
    end.set()
    assert waiter.result(PATIENCE) == other_loop.result(PATIENCE) == "K"
    running.result(PATIENCE)


async def upper_async(key):
    return key.upper()


def test_loop_that_was_left_is_no_deadlock_for_its_thread(cache, flights):
    loop = asyncio.new_event_loop()

    async def leave():
        load = AsyncStarted("late")
        asking = asyncio.create_task(flights.get_or_compute_async(cache, "k", load))
        await load.begun.wait()
        return load, asking

    load, asking = loop.run_until_complete(leave())
    assert flights.get_or_compute(cache, "k", str.upper) == "K"
    load.go_on.set()
    assert loop.run_until_complete(asking) == "late"
    assert cache["k"] == "K", "what was overtaken is not stored"
    loop.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_does_not_wait_for_threads_it_has_not(cache, flights):
    load = Started()
    leader = in_thread(flights.get_or_compute, cache, "k", load)
    assert load.begun.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        os._exit(0 if flights.get_or_compute(cache, "k", str.upper) == "K" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    load.go_on.set()
    assert leader.result(PATIENCE) == "value"


# ---- what is forgotten meanwhile ----


async def test_forgotten_value_reaches_who_waits_and_not_the_cache(cache, flights):
    load = AsyncStarted("old")
    before = [asyncio.create_task(flights.get_or_compute_async(cache, "k", load)) for _ in range(2)]
    await load.begun.wait()
    flights.forget("k")
    cache.delete("k")
    assert await flights.get_or_compute_async(cache, "k", upper_async) == "K"
    load.go_on.set()
    assert await asyncio.gather(*before) == ["old", "old"]
    assert cache["k"] == "K"


def test_forgetting_all_keeps_every_load_out_of_the_cache(cache, flights):
    loads = Started("a"), Started("b")
    leaders = [in_thread(flights.get_or_compute, cache, n, load) for n, load in enumerate(loads)]
    for load in loads:
        assert load.begun.wait(PATIENCE)
    flights.forget_all()
    assert flights.keys() == []
    for load in loads:
        load.go_on.set()
    assert [leader.result(PATIENCE) for leader in leaders] == ["a", "b"]
    assert len(cache) == 0


class Storing:
    """A cache in whose `set` something else happens, before or after."""

    def __init__(self, cache, before=lambda: None, after=lambda: None):
        self.cache, self.before, self.after = cache, before, after
        self.get, self.peek, self.delete = cache.get, cache.peek, cache.delete

    def set(self, key, value, *, ttl):
        self.before()
        self.cache.set(key, value, ttl=ttl)
        self.after()


def test_value_forgotten_while_it_is_stored_does_not_stay(cache, flights):
    def invalidate():
        flights.forget("k")
        cache.delete("k")

    storing = Storing(cache, before=lambda: in_thread(invalidate).result(PATIENCE))
    assert flights.get_or_compute(storing, "k", str.upper) == "K"
    assert peek(cache, "k") is MISSING


def test_value_set_after_it_was_forgotten_stays(cache, flights):
    def overtake():
        flights.forget("k")
        cache.set("k", "newer")

    storing = Storing(cache, after=lambda: in_thread(overtake).result(PATIENCE))
    assert flights.get_or_compute(storing, "k", str.upper) == "K"
    assert cache["k"] == "newer"


def test_flight_does_not_forget_itself_when_its_own_store_says_so(cache, flights):
    storing = Storing(cache, before=lambda: flights.forget("k"))  # as `set` of a cache with flights does
    assert flights.get_or_compute(storing, "k", str.upper) == "K"
    assert cache["k"] == "K"


def test_loader_may_clear_and_delete_and_set(cache, flights):
    def clear(key):
        flights.forget_all()
        cache.clear()
        cache["other"] = 1
        return "value"

    assert flights.get_or_compute(cache, "k", clear) == "value"
    assert dict(cache.items()) == {"other": 1}


def test_loader_may_let_go_of_the_cache(Cache):
    holder = {"cache": Cache(1), "flights": Flights()}

    def let_go(key):
        holder.clear()
        gc.collect()
        return "value"

    assert holder["flights"].get_or_compute(holder["cache"], "k", let_go) == "value"


def test_threads_that_ask_and_forget_never_see_what_was_before(cache, flights):
    """Whoever asks after an invalidation gets what was true then, or later; in pure Python after a moment."""
    truth = [0]
    stale = []
    end = threading.Event()

    def ask():
        while not end.is_set():
            known = truth[0]
            if flights.get_or_compute(cache, "k", lambda key: truth[0]) < known - 1:
                stale.append(known)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for _ in range(2000):
            truth[0] += 1
            flights.forget("k")
            cache.delete("k")
    finally:
        end.set()
        sys.setswitchinterval(switch)
        for thread in threads:
            thread.join(PATIENCE)
    assert stale == [] or type(cache).__module__.endswith("_py")
    assert flights.get_or_compute(cache, "k", lambda key: truth[0]) == 2000


# ---- by way of the cache ----


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda cache: cache.delete("k"), {}),
        (lambda cache: cache.pop("k", None), {}),
        (lambda cache: cache.clear(), {}),
        (lambda cache: cache.set("k", "newer"), {"k": "newer"}),
        (lambda cache: cache.set_many({"k": "newer"}), {"k": "newer"}),
    ],
)
def test_what_is_computed_from_before_a_change_is_not_stored_after_it(cache, change, left):
    def compute(key):
        change(cache)  # as another thread would meanwhile
        return "older"

    assert cache.get_or_compute("k", compute) == "older"
    assert dict(cache.items()) == left


def test_cache_counts_what_it_loads(cache):
    assert cache.get_or_compute("k", str.upper) == "K"
    assert cache.get_or_compute("k", quiet) == "K"
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("broken", lambda key: 1 / 0)
    stats = cache.stats()
    assert (stats.loads, stats.load_failures, stats.hits, stats.misses) == (2, 1, 1, 2)
    assert stats.load_seconds > 0


async def test_tasks_compute_through_the_cache(cache):
    async def upper(key):
        return key.upper()

    assert await cache.get_or_compute_async("k", upper, ttl=60) == "K"
    assert await cache.get_or_compute_async("k", quiet) == "K"
    assert 59 < cache.expires_in("k") <= 60
