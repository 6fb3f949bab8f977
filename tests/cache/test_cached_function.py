"""What `cached` promises, on both twins; what single flight promises is in test_flights.py."""

import asyncio
import contextlib
import contextvars
import copy
import functools
import gc
import inspect
import logging
import pickle
import threading
import traceback
import weakref
from collections.abc import Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module

import pytest

from penstock import PenstockError
from penstock.cache import Cache
from penstock.cache.cached_function import CacheInfo, CacheLoadDeadlock, cached
from penstock.clock import ManualClock

MODULE = "penstock.cache.cached_function"
REUSED = r"^cannot reuse already awaited coroutine$"
PATIENCE = 20  # seconds after which a test that hangs fails


@pytest.fixture(params=["c", "py"])
def CachedFunction(request):
    return import_module(f"penstock.cache._cached_function_{request.param}").CachedFunction


@pytest.fixture
def clock():
    return ManualClock(now=5_000_000_000)


@pytest.fixture
def calls():
    """What the function of a test was called with."""
    return []


@pytest.fixture
def square(CachedFunction, calls):
    def square(x):
        calls.append(x)
        return x * x

    return CachedFunction(square)


@pytest.fixture
def rate(calls):
    """A function whose results and errors the test lists, in order; the last one stays."""

    def rate(currency="EUR"):
        calls.append(currency)
        result = rate.results[0]
        if len(rate.results) > 1:
            del rate.results[0]
        if isinstance(result, Exception):
            raise result
        return result

    rate.results = [1, 2, 3, 4]
    return rate


@pytest.fixture
def async_rate(rate):
    async def async_rate(currency="EUR"):
        await asyncio.sleep(0)
        return rate(currency)

    async_rate.results = rate.results
    return async_rate


async def settle(function):
    """Until no refresh is under way."""
    async with asyncio.timeout(PATIENCE):
        while function._loading.flights.keys():
            await asyncio.sleep(0)


# ---- functions ----


def test_result_is_remembered(square, calls):
    assert [square(3), square(4), square(3)] == [9, 16, 9]
    assert calls == [3, 4]
    assert square.cache_info() == CacheInfo(hits=1, misses=2, maxsize=128, currsize=2)
    assert CacheInfo._fields == functools.lru_cache(abs).cache_info()._fields
    assert square.cache_parameters() == {"maxsize": 128, "typed": False}


def test_none_is_a_result(CachedFunction, calls):
    note = CachedFunction(calls.append)
    assert [note("a"), note("a")] == [None, None]
    assert calls == ["a"]


async def test_result_of_a_coroutine_function_is_remembered(CachedFunction, calls):
    @CachedFunction
    async def square(x):
        calls.append(x)
        await asyncio.sleep(0)
        return x * x

    assert [await square(3), await square(3)] == [9, 9]
    assert await asyncio.gather(square(3), square(4), square(4)) == [9, 16, 16]
    assert calls == [3, 4]


async def test_call_of_a_coroutine_function_is_a_coroutine(CachedFunction):
    @CachedFunction
    async def same(x):
        return x

    for _ in range(2):  # a miss, a hit
        coroutine = same(1)
        assert isinstance(coroutine, Coroutine)
        assert asyncio.iscoroutine(coroutine)
        assert await asyncio.create_task(coroutine) == 1
    coroutine = same(2)
    coroutine.close()  # was not awaited, and nothing happened
    assert same.cache_info().misses == 1


@pytest.fixture
def same_async(CachedFunction):
    @CachedFunction
    async def same(x):
        await asyncio.sleep(0)
        return x

    asyncio.run(same("there"))
    return same


@pytest.mark.parametrize("x", ["there", "absent"])
def test_coroutine_is_awaited_but_once(same_async, x):
    coroutine = same_async(x)
    assert asyncio.run(coroutine) == x
    with pytest.raises(RuntimeError, match=REUSED):
        coroutine.send(None)
    with pytest.raises(RuntimeError, match=REUSED):
        coroutine.throw(KeyError())
    coroutine.close()


def test_coroutine_of_a_hit_ends_at_its_first_step(same_async):
    with pytest.raises(StopIteration) as end:
        same_async("there").send(None)
    assert end.value.value == "there"


@pytest.mark.parametrize("x", ["there", "absent"])
def test_coroutine_that_has_not_begun_raises_what_is_thrown_into_it(same_async, x):
    before = same_async.cache_info()
    coroutine = same_async(x)
    with pytest.raises(KeyError, match="thrown"):
        coroutine.throw(KeyError("thrown"))
    with pytest.raises(RuntimeError, match=REUSED):
        coroutine.send(None)
    assert same_async.cache_info() == before


@pytest.mark.parametrize("x", ["there", "absent"])
def test_coroutine_that_is_closed_before_it_begins_does_nothing(same_async, x):
    before = same_async.cache_info()
    coroutine = same_async(x)
    coroutine.close()
    with pytest.raises(RuntimeError, match=REUSED):
        coroutine.send(None)
    assert same_async.cache_info() == before


async def test_coroutine_that_waits_can_be_closed_and_thrown_into(same_async):
    for end in (lambda coroutine: coroutine.close(), lambda coroutine: coroutine.throw(KeyError("thrown"))):
        coroutine = same_async("absent")
        coroutine.send(None)
        with contextlib.suppress(KeyError):
            end(coroutine)
        with pytest.raises(RuntimeError, match=REUSED):
            coroutine.send(None)
        await settle(same_async)
        assert "absent" not in same_async.cache, "nobody waited for it any more"


def test_coroutine_that_is_never_awaited_is_told_of(same_async):
    with pytest.warns(RuntimeWarning, match="^coroutine '.*' was never awaited$"):
        same_async("there")


def test_coroutine_has_a_name_for_those_who_show_it(same_async):
    async def shown():
        task = asyncio.create_task(same_async("absent"))
        await asyncio.sleep(0)
        assert "same" in repr(task) or "_call_async" in repr(task)
        assert task.get_stack() is not None
        await task

    asyncio.run(shown())


def test_wrapper_looks_like_the_function(CachedFunction):
    def area(width: float, height: float = 1.0, /, *, unit: str = "m2") -> str:
        """The area."""
        return f"{width * height} {unit}"

    area.mark = "kept"
    wrapper = CachedFunction(area)
    assert (wrapper.__name__, wrapper.__doc__, wrapper.__module__) == ("area", "The area.", __name__)
    assert wrapper.__qualname__ == area.__qualname__
    assert wrapper.__wrapped__ is area
    assert wrapper.mark == "kept"
    assert inspect.signature(wrapper) == inspect.signature(area)
    assert not inspect.iscoroutinefunction(wrapper)
    assert repr(wrapper) == f"<cached {area!r}>"
    assert wrapper(2, unit="ha") == "2.0 ha"
    weakref.ref(wrapper)


def test_wrapper_of_a_coroutine_function_looks_like_one(CachedFunction):
    async def plain(x, *, y=1):
        return x

    class Callable:
        async def __call__(self, x):
            return x

    class Owner:
        method = CachedFunction(plain)

    partial = functools.partial(plain, y=2)
    for function in (plain, Callable(), partial, functools.partial(Callable(), 1), CachedFunction(plain)):
        assert inspect.iscoroutinefunction(CachedFunction(function)), function
    assert inspect.iscoroutinefunction(Owner().method)
    assert asyncio.iscoroutinefunction(CachedFunction(plain))
    assert inspect.signature(CachedFunction(plain)) == inspect.signature(plain)


@cached
def at_the_top(x):
    return x


def test_module_level_wrapper_is_pickled_by_name_and_copied_as_itself():
    assert pickle.loads(pickle.dumps(at_the_top)) is at_the_top
    assert copy.copy(at_the_top) is at_the_top
    assert copy.deepcopy(at_the_top) is at_the_top


def test_least_recently_used_result_goes(CachedFunction, calls):
    note = CachedFunction(calls.append, maxsize=2)
    for x in (1, 2, 1, 3, 1, 2):
        note(x)
    assert calls == [1, 2, 3, 2]
    assert note.cache_parameters()["maxsize"] == 2


def test_result_lives_for_its_ttl(CachedFunction, rate, clock):
    current = CachedFunction(rate, ttl=timedelta(seconds=10), clock=clock)
    assert current() == 1
    clock.advance(9.999)
    assert current() == 1
    clock.advance(0.001)
    assert current() == 2


def test_stacked_wrappers_each_have_their_own_cache(CachedFunction, square):
    outer = CachedFunction(square, maxsize=7)
    assert outer(3) == 9
    assert outer.cache is not square.cache
    assert (outer.cache_info().maxsize, square.cache_info().maxsize) == (7, 128)


def test_error_is_not_remembered_and_passes_unchanged(CachedFunction, rate):
    error = LookupError("no rate")
    rate.results = [error, 5]
    current = CachedFunction(rate)
    with pytest.raises(LookupError) as caught:
        current()
    assert caught.value is error
    assert current() == 5


def test_condition_decides_what_is_remembered(CachedFunction, rate, calls):
    rate.results = [None, 1, 2]
    current = CachedFunction(rate, condition=lambda value: value is not None)
    assert [current(), current(), current()] == [None, 1, 1]

    def refuse(value):
        raise ArithmeticError("cannot tell")

    with pytest.raises(ArithmeticError, match="cannot tell"):
        CachedFunction(rate, condition=refuse)()


# ---- keys ----


def test_single_str_or_int_is_its_own_key(square):
    assert square.cache_key("a") == "a"
    assert square.cache_key(7) == 7


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (((1,), {}), ((True,), {})),
        (((1,), {}), ((1.0,), {})),
        (((1, 2), {}), (((1, 2),), {})),
        (((), {}), (((),), {})),
        (((1,), {"a": 2}), ((1, "a", 2), {})),
        (((), {"a": 1}), ((), {"b": 1})),
        (((), {"a": 1, "b": 2}), ((), {"a": 2, "b": 1})),
        ((("a",), {}), ((("a",),), {})),
    ],
)
def test_different_calls_have_different_keys(CachedFunction, first, second):
    wrapper = CachedFunction(lambda *args, **kwargs: object())
    keys = [wrapper.cache_key(*args, **kwargs) for args, kwargs in (first, second)]
    assert keys[0] != keys[1]
    results = [wrapper(*args, **kwargs) for args, kwargs in (first, second)]
    assert results[0] is not results[1]
    assert all(key in wrapper.cache for key in keys)


def test_order_of_named_arguments_makes_no_difference(CachedFunction):
    wrapper = CachedFunction(lambda **kwargs: object())
    assert wrapper(a=1, b=2) is wrapper(b=2, a=1)


def test_argument_may_be_called_self(CachedFunction):
    wrapper = CachedFunction(lambda **kwargs: kwargs)
    assert wrapper(self=1) == {"self": 1}
    assert wrapper.invalidate(self=1)


def test_typed_tells_equal_arguments_of_different_types_apart(CachedFunction):
    mixed = CachedFunction(lambda *args, **kwargs: object())
    assert mixed(0, 3) is mixed(0, 3.0)
    typed = CachedFunction(lambda *args, **kwargs: object(), typed=True)
    assert typed(0, 3) is not typed(0, 3.0)
    assert typed(3) is not typed(3.0)
    assert typed(3) is typed(3)
    assert typed(x=3, y=1) is typed(y=1, x=3)
    assert typed(x=3) is not typed(x=3.0)
    assert typed(3) is not typed(3, int)
    assert typed.cache_parameters()["typed"] is True


def test_key_function_says_what_the_key_is(CachedFunction, calls):
    note = CachedFunction(
        lambda items, *, strict=False: calls.append(items), key=lambda items, **_: tuple(items)
    )
    note([1, 2])
    note([1, 2], strict=True)
    assert calls == [[1, 2]]
    assert note.cache_key([3]) == (3,)
    assert note.invalidate([1, 2])


def test_unhashable_argument_is_a_type_error(square, calls):
    for call in (square, square.invalidate):
        with pytest.raises(TypeError, match="unhashable type: 'list'"):
            call([])
    assert calls == []


async def test_unhashable_argument_of_a_coroutine_function_is_a_type_error(CachedFunction):
    @CachedFunction
    async def same(x):
        return x

    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        await same([])


def test_arguments_whose_hash_or_comparison_raises_pass_their_error_on(square, CachedFunction):
    class Broken:
        def __hash__(self):
            raise ArithmeticError("no hash")

    class Incomparable:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            raise ArithmeticError("no comparison")

    name = CachedFunction(lambda x: type(x).__name__)
    with pytest.raises(ArithmeticError, match="no hash"):
        name(Broken())
    assert name(Incomparable()) == "Incomparable"
    with pytest.raises(ArithmeticError, match="no comparison"):
        name(Incomparable())
    assert name(1) == "int"


# ---- methods ----


@pytest.fixture
def Shop(CachedFunction):
    class Shop:
        def __init__(self, name):
            self.name, self.asked = name, 0

        @CachedFunction
        def price(self, item="tea"):
            """What it costs."""
            self.asked += 1
            return f"{item} of {self.name}"

        @CachedFunction
        async def stock(self, item):
            self.asked += 1
            return f"{item} of {self.name}"

        @staticmethod
        @CachedFunction
        def static(x):
            return [x]

        @classmethod
        @CachedFunction
        def of_class(cls, x):
            return [cls, x]

    return Shop


def test_method_remembers_for_each_object(Shop):
    north, south = Shop("north"), Shop("south")
    for _ in range(2):
        assert north.price("tea") == "tea of north"
        assert south.price("tea") == "tea of south"
        assert north.price() == "tea of north"
    assert (north.asked, south.asked) == (2, 1)
    assert Shop.price(north, "tea") == "tea of north"
    bound = north.price
    assert bound("tea") == "tea of north"
    assert north.asked == 2
    assert bound.__doc__ == "What it costs."
    assert inspect.ismethod(bound)
    assert str(inspect.signature(bound)) == "(item='tea')"


async def test_coroutine_method_remembers_for_each_object(Shop):
    north, south = Shop("north"), Shop("south")
    for _ in range(2):
        assert await north.stock("tea") == "tea of north"
        assert await Shop.stock(south, "tea") == "tea of south"
    assert (north.asked, south.asked) == (1, 1)


def test_method_works_through_super(Shop, CachedFunction):
    class Branch(Shop):
        @CachedFunction
        def price(self, item="tea"):
            return f"branch: {super().price(item)}"

    branch = Branch("north")
    assert branch.price("tea") == branch.price("tea") == "branch: tea of north"
    assert branch.asked == 1
    assert Shop.price(branch, "tea") == "tea of north"
    assert branch.asked == 1


def test_static_and_class_methods_remember(Shop):
    class Branch(Shop):
        pass

    assert Shop.static(1) == [1]
    assert Shop.static(1) is Shop("north").static(1) is Branch.static(1)
    assert Shop.of_class(1) == [Shop, 1]
    assert Shop.of_class(1) is Shop("north").of_class(1)
    assert Branch.of_class(1) == [Branch, 1]
    assert Branch.of_class(1) is Branch("north").of_class(1)


def test_cache_keeps_no_object_alive(Shop):
    shop = Shop("north")
    shop.price("tea")
    witness = weakref.ref(shop)
    gc.disable()
    try:
        del shop
        assert witness() is None
    finally:
        gc.enable()
    assert Shop.price.cache_info().currsize == 1
    assert Shop("south").price("tea") == "tea of south"


async def test_cache_keeps_no_object_alive_after_a_coroutine(Shop):
    shop = Shop("north")
    await shop.stock("tea")
    witness = weakref.ref(shop)
    await asyncio.sleep(0)
    del shop
    gc.collect()
    assert witness() is None


def test_method_of_equal_objects_shares_results_as_with_functools(CachedFunction):
    class Point:
        def __init__(self, x):
            self.x = x

        def __eq__(self, other):
            return self.x == other.x

        def __hash__(self):
            return hash(self.x)

        @CachedFunction
        def norm(self):
            return object()

    first, second = Point(1), Point(1)
    assert first.norm() is second.norm()
    assert first.norm() is not Point(2).norm()


def test_method_of_unhashable_object_is_a_clear_type_error(CachedFunction):
    class Point:
        __hash__ = None

        @CachedFunction
        def norm(self):
            return 0

    with pytest.raises(
        PenstockError, match=r"^self must be hashable to be part of a key, got Point; "
    ) as caught:
        Point().norm()
    assert isinstance(caught.value, TypeError)


def test_method_of_object_without_weak_references_holds_it(CachedFunction):
    class Small:
        __slots__ = ("x",)

        @CachedFunction
        def same(self):
            return self

    small = Small()
    assert small.same() is small.same() is small
    assert Small.same.cache_key(small) == (small,)


def test_method_result_is_invalidated_through_the_class(Shop):
    shop = Shop("north")
    shop.price("tea")
    assert Shop.price.invalidate(shop, "tea")
    assert not shop.price.invalidate(shop, "tea")
    shop.price("tea")
    assert shop.asked == 2


# ---- invalidation ----


def test_invalidate_removes_one_result(square, calls):
    square(3)
    square(4)
    assert square.invalidate(3) is True
    assert square.invalidate(3) is False
    assert [square(3), square(4)] == [9, 16]
    assert calls == [3, 4, 3]


def test_cache_clear_removes_all_results(square, calls):
    square(3)
    square.cache_clear()
    square(3)
    assert calls == [3, 3]
    assert square.cache_info().currsize == 1


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("clear", [False, True])
async def test_what_was_computed_before_an_invalidation_is_not_remembered(CachedFunction, clear, shared):
    begun, go_on = asyncio.Event(), asyncio.Event()
    truth = ["old"]

    async def ask(x):
        answer = truth[0]
        begun.set()
        await go_on.wait()
        return answer

    ask = CachedFunction(ask, Cache(10) if shared else None)
    before = [asyncio.create_task(ask(1)) for _ in range(3)]
    await begun.wait()
    truth[0] = "new"
    if clear:
        ask.cache_clear()
    else:
        assert ask.invalidate(1) is False
    after = asyncio.create_task(ask(1))
    go_on.set()
    assert await asyncio.gather(*before) == ["old"] * 3
    assert await after == await ask(1) == "new"


def test_function_may_clear_its_cache_and_invalidate_itself(CachedFunction, calls):
    def untidy(x):
        calls.append(x)
        untidy.cache_clear()
        untidy.invalidate(x)
        return x

    untidy = CachedFunction(untidy)
    assert [untidy(1), untidy(1)] == [1, 1]
    assert calls == [1, 1], "what it says of the time before is not kept"


def test_function_may_delete_its_wrapper(CachedFunction):
    def last(x):
        del holder[0]
        gc.collect()
        return x

    holder = [CachedFunction(last)]
    assert holder[0](5) == 5


# ---- single flight ----


def test_a_thousand_threads_call_once(CachedFunction, calls):
    begun, go_on = threading.Event(), threading.Event()

    @CachedFunction
    def slow(x):
        calls.append(x)
        begun.set()
        assert go_on.wait(PATIENCE)
        return object()

    got = []
    stack = threading.stack_size(128 * 1024)
    try:
        threads = [threading.Thread(target=lambda: got.append(slow("k"))) for _ in range(1000)]
        for thread in threads:
            thread.start()
    finally:
        threading.stack_size(stack)
    assert begun.wait(PATIENCE)
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(got) == 1000
    assert len(set(map(id, got))) == 1
    assert calls == ["k"]


async def test_a_thousand_tasks_call_once(CachedFunction, calls):
    @CachedFunction
    async def slow(x):
        calls.append(x)
        await asyncio.sleep(0)
        return object()

    got = await asyncio.gather(*(slow("k") for _ in range(1000)))
    assert len(set(map(id, got))) == 1
    assert calls == ["k"]


async def test_function_that_needs_its_own_result_is_told(CachedFunction):
    endless = CachedFunction(lambda x: endless(x))

    @CachedFunction
    async def endless_async(x):
        return await endless_async(x)

    with pytest.raises(CacheLoadDeadlock):
        endless("k")
    with pytest.raises(CacheLoadDeadlock):
        await endless_async("k")


def test_recursion_over_other_arguments_works(CachedFunction):
    fibonacci = CachedFunction(lambda n: n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2))
    assert fibonacci(50) == 12586269025
    assert fibonacci.cache_info().misses == 51


async def test_timeout_of_one_caller_leaves_the_others_alone(CachedFunction):
    begun, go_on = asyncio.Event(), asyncio.Event()

    @CachedFunction
    async def slow(x):
        begun.set()
        await go_on.wait()
        return x

    patient = asyncio.create_task(slow(1))
    await begun.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await slow(1)
    go_on.set()
    assert await patient == 1


# ---- shared caches ----


def test_functions_that_share_a_cache_never_collide(CachedFunction, square):
    cache = Cache(10)
    double = CachedFunction(lambda x: 2 * x, cache)
    triple = CachedFunction(lambda x: 3 * x, cache)
    assert [double(5), triple(5), double(5), triple(5)] == [10, 15, 10, 15]
    assert double.cache is triple.cache is cache
    assert double.cache_info() == (2, 2, 10, 2)
    double.cache_clear()
    assert list(cache) == [triple.cache_key(5)]
    assert triple.invalidate(5)
    assert len(cache) == 0


def test_shared_cache_keeps_results_for_the_ttl_of_the_function(CachedFunction, rate, clock):
    cache = Cache(10, ttl=100, clock=clock)
    short = CachedFunction(rate, cache, ttl=10, clock=clock)
    as_the_cache = CachedFunction(rate, cache)
    assert [short(), as_the_cache()] == [1, 2]
    clock.advance(10)
    assert [short(), as_the_cache()] == [3, 2]
    clock.advance(90)
    assert as_the_cache() == 4


# ---- refresh_after ----


def test_due_result_is_refreshed_by_the_caller_that_meets_it(CachedFunction, rate, clock, calls):
    current = CachedFunction(rate, ttl=10, refresh_after=5, clock=clock)
    assert current() == 1
    clock.advance(4.999)
    assert current() == 1
    clock.advance(0.001)
    assert current() == 2
    clock.advance(5)
    assert current() == 3
    clock.advance(10)
    assert current() == 4
    assert len(calls) == 4


def test_others_get_the_old_result_while_one_refreshes(CachedFunction, clock):
    begun, go_on, results = threading.Event(), threading.Event(), iter([1, 2])

    @functools.partial(CachedFunction, ttl=10, refresh_after=5, clock=clock)
    def current():
        value = next(results)
        if value == 2:
            begun.set()
            assert go_on.wait(PATIENCE)
        return value

    assert current() == 1
    clock.advance(5)
    with ThreadPoolExecutor(1) as pool:
        refreshing = pool.submit(current)
        assert begun.wait(PATIENCE)
        assert [current() for _ in range(10)] == [1] * 10
        go_on.set()
        assert refreshing.result(PATIENCE) == 2
    assert current() == 2


async def test_due_result_of_a_coroutine_function_is_refreshed_in_the_background(
    CachedFunction, async_rate, clock, calls
):
    current = CachedFunction(async_rate, ttl=10, refresh_after=5, clock=clock)
    assert await current() == 1
    clock.advance(5)
    assert [await current() for _ in range(10)] == [1] * 10
    await settle(current)
    assert await current() == 2
    assert len(calls) == 2
    clock.advance(10)
    assert await current() == 3


async def test_background_refresh_goes_on_when_its_caller_is_cancelled(CachedFunction, clock):
    begun, go_on, results = asyncio.Event(), asyncio.Event(), iter([1, 2])

    async def current():
        value = next(results)
        if value == 2:
            begun.set()
            await go_on.wait()
        return value

    current = CachedFunction(current, ttl=10, refresh_after=5, clock=clock)
    await current()
    clock.advance(5)
    caller = asyncio.create_task(current())
    await begun.wait()
    gc.collect()  # nothing but the flight holds its task
    assert await caller == 1
    clock.advance(5)  # the old one is over: who comes now waits for the refresh
    waiter = asyncio.create_task(current())
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait([waiter])
    go_on.set()
    await settle(current)
    assert await current() == 2


class QueueExecutor(Executor):
    """Runs what it was given when the test says so."""

    def __init__(self):
        self.queue = []

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        self.queue.append((future, function, args, kwargs))
        return future

    def run(self):
        while self.queue:
            future, function, args, kwargs = self.queue.pop(0)
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)


def test_due_result_is_refreshed_in_the_executor(CachedFunction, rate, clock, calls):
    executor = QueueExecutor()
    current = CachedFunction(rate, ttl=10, refresh_after=5, executor=executor, clock=clock)
    assert current() == 1
    clock.advance(5)
    assert [current(), current(), current()] == [1, 1, 1]
    assert len(executor.queue) == 1
    executor.run()
    assert current() == 2
    assert len(calls) == 2


def test_refresh_that_no_executor_has_begun_is_no_reason_to_wait(CachedFunction, rate, clock):
    executor = QueueExecutor()
    current = CachedFunction(rate, ttl=10, refresh_after=5, executor=executor, clock=clock)
    assert current() == 1
    clock.advance(5)
    assert current() == 1
    clock.advance(5)
    assert current() == 2  # the refresh is still in the queue, the old result is over
    executor.run()
    assert current() == 2


def test_refresh_that_was_invalidated_before_it_began_is_not_made(CachedFunction, rate, clock, calls):
    executor = QueueExecutor()
    current = CachedFunction(rate, ttl=10, refresh_after=5, executor=executor, clock=clock)
    current()
    clock.advance(5)
    current()
    current.invalidate()
    executor.run()
    assert len(calls) == 1


def test_executor_refreshes_with_the_context_variables_of_the_caller(CachedFunction, clock):
    user = contextvars.ContextVar("user", default="nobody")
    with ThreadPoolExecutor(2) as executor:
        current = CachedFunction(user.get, ttl=10, refresh_after=5, executor=executor, clock=clock)
        assert current() == "nobody"
        clock.advance(5)
        user.set("ann")
        assert current() in ("nobody", "ann")
    assert current() == "ann"


@pytest.mark.parametrize("shut", [False, True])
def test_failed_refresh_is_logged_and_the_old_result_stays(CachedFunction, rate, clock, caplog, shut):
    executor = ThreadPoolExecutor(1) if shut else None
    if executor:
        executor.shutdown()
    rate.results = [1, OSError("bank closed")]
    current = CachedFunction(rate, ttl=10, refresh_after=5, executor=executor, clock=clock)
    assert current() == 1
    clock.advance(5)
    assert current() == 1
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("penstock.cache", logging.ERROR)
    assert record.getMessage() == f"refresh of {rate.__qualname__} failed, its old value stays"
    assert type(record.exc_info[1]) is (RuntimeError if shut else OSError)
    clock.advance(5)
    with pytest.raises(OSError, match="bank closed"):
        current()


async def test_failed_background_refresh_is_logged_and_the_old_result_stays(
    CachedFunction, async_rate, rate, clock, caplog
):
    rate.results[:] = [1, OSError("bank closed"), 3]
    current = CachedFunction(async_rate, ttl=10, refresh_after=5, clock=clock)
    assert await current() == 1
    clock.advance(5)
    assert await current() == 1
    await settle(current)
    assert [type(record.exc_info[1]) for record in caplog.records] == [OSError]
    assert current._loading.flights.load_failures == 1
    assert await current() == 1
    await settle(current)
    assert await current() == 3


async def test_value_that_condition_refuses_does_not_replace_the_old_one(CachedFunction, rate, clock):
    rate.results = [1, None, 3]
    current = CachedFunction(
        rate, ttl=10, refresh_after=5, clock=clock, condition=lambda value: value is not None
    )
    assert current() == 1
    clock.advance(5)
    assert current() is None
    assert current() == 3


def test_due_result_that_has_come_meanwhile_will_do(CachedFunction, rate, clock, calls):
    """A caller saw no result; before it could begin, one was stored and has become due."""
    current = CachedFunction(rate, ttl=10, refresh_after=5, clock=clock)
    assert current() == 1
    clock.advance(5)
    assert current._loading.missed(current.cache_key(), (), {}) == 1
    assert len(calls) == 1


# ---- stale_if_error ----


def test_old_result_is_returned_when_a_new_one_cannot_be_had(CachedFunction, rate, clock):
    rate.results = [1, OSError("bank closed"), OSError("bank closed"), 4]
    current = CachedFunction(rate, ttl=10, stale_if_error=5, clock=clock)
    assert current() == 1
    clock.advance(14.999)
    assert current() == 1
    clock.advance(0.001)
    with pytest.raises(OSError, match="bank closed"):
        current()
    assert current() == 4


def test_old_result_is_not_returned_when_a_new_one_can_be_had(CachedFunction, rate, clock):
    current = CachedFunction(rate, ttl=10, stale_if_error=5, clock=clock)
    assert current() == 1
    clock.advance(9.999)
    assert current() == 1
    clock.advance(0.001)
    assert current() == 2
    clock.advance(15)
    assert current() == 3


async def test_old_result_of_a_coroutine_function_is_returned_too(CachedFunction, async_rate, rate, clock):
    rate.results[:] = [1, OSError("bank closed"), 3]
    current = CachedFunction(async_rate, ttl=10, stale_if_error=5, clock=clock)
    assert await current() == 1
    clock.advance(10)
    assert await current() == 1
    assert await current() == 3


def test_deadlock_is_no_reason_for_an_old_result(CachedFunction, clock):
    first = [True]

    def endless():
        if first:
            first.clear()
            return 1
        return wrapper()

    wrapper = CachedFunction(endless, ttl=10, stale_if_error=10, clock=clock)
    assert wrapper() == 1
    clock.advance(10)
    with pytest.raises(CacheLoadDeadlock):
        wrapper()


def test_refresh_and_stale_work_together(CachedFunction, rate, clock, caplog):
    rate.results = [1, OSError(), OSError(), 4]
    current = CachedFunction(rate, ttl=10, refresh_after=5, stale_if_error=10, clock=clock)
    assert current() == 1
    clock.advance(5)
    assert current() == 1
    clock.advance(10)
    assert current() == 1
    assert current() == 4
    assert len(caplog.records) == 1, "only the refresh, of which nobody hears otherwise"


# ---- cache_exceptions ----


def test_listed_exceptions_are_remembered(CachedFunction, rate, clock, calls):
    rate.results = [KeyError("no such rate"), 2]
    current = CachedFunction(rate, ttl=60, cache_exceptions=LookupError, exception_ttl=10, clock=clock)
    for _ in range(3):
        with pytest.raises(KeyError, match="no such rate"):
            current()
    assert len(calls) == 1
    clock.advance(10)
    assert current() == 2


def test_other_exceptions_are_not_remembered(CachedFunction, rate, calls):
    rate.results = [OSError(), 2]
    current = CachedFunction(rate, cache_exceptions=(LookupError, ValueError))
    with contextlib.suppress(OSError):
        current()
    assert current() == 2


def test_exceptions_live_as_long_as_results_unless_told_otherwise(CachedFunction, rate, clock):
    rate.results = [KeyError(), 2]
    current = CachedFunction(rate, ttl=60, cache_exceptions=KeyError, clock=clock)
    with pytest.raises(KeyError):
        current()
    clock.advance(59)
    with pytest.raises(KeyError):
        current()
    clock.advance(1)
    assert current() == 2


async def test_exceptions_of_coroutine_functions_are_remembered(CachedFunction, async_rate, rate, calls):
    rate.results[:] = [KeyError("none"), 2]
    current = CachedFunction(async_rate, cache_exceptions=KeyError)
    for _ in range(3):
        with pytest.raises(KeyError, match="none"):
            await current()
    assert len(calls) == 1
    current.invalidate()
    assert await current() == 2


def test_remembered_exception_has_a_fresh_traceback_each_time(CachedFunction):
    def fail():
        local = Witness()
        witnesses.append(weakref.ref(local))
        raise KeyError("none")

    class Witness:
        pass

    witnesses = []
    wrapper = CachedFunction(fail, cache_exceptions=KeyError)
    with contextlib.suppress(KeyError):
        wrapper()
    gc.collect()
    assert witnesses[0]() is None, "the cache keeps no frame alive"
    lengths, errors = [], []
    for _ in range(5):
        try:
            wrapper()
        except KeyError as error:
            lengths.append(len(traceback.extract_tb(error.__traceback__)))
            errors.append(error)
    assert len(set(lengths)) == 1
    assert len(set(map(id, errors))) == 5
    assert all(error.__context__ is None for error in errors)


def test_exception_that_is_a_result_replaces_an_old_result(CachedFunction, rate, clock):
    """Gone is gone, and neither a failed refresh nor a reason to tell of what was."""
    rate.results = [1, KeyError("gone"), 3]
    current = CachedFunction(
        rate, ttl=10, stale_if_error=10, cache_exceptions=KeyError, exception_ttl=1, clock=clock
    )
    assert current() == 1
    clock.advance(10)
    for _ in range(2):
        with pytest.raises(KeyError, match="gone"):
            current()
    clock.advance(1)
    assert current() == 3


def test_exception_that_is_a_result_replaces_a_due_result(CachedFunction, rate, clock, caplog):
    rate.results = [1, KeyError("gone")]
    current = CachedFunction(rate, ttl=10, refresh_after=5, cache_exceptions=KeyError, clock=clock)
    assert current() == 1
    clock.advance(5)
    for _ in range(2):
        with pytest.raises(KeyError, match="gone"):
            current()
    assert caplog.records == []


# ---- arguments ----


@pytest.mark.parametrize("name", ["ttl", "refresh_after", "stale_if_error", "exception_ttl"])
@pytest.mark.parametrize(
    "value",
    [0, -1, float("nan"), float("inf"), 10**20, timedelta(0), timedelta(days=-1)],
    ids=lambda value: str(value)[:9],
)
def test_duration_out_of_range_is_refused(CachedFunction, name, value):
    options = {"ttl": 60, "cache_exceptions": KeyError, name: value}
    with pytest.raises(ValueError, match=rf"^{name} must be > 0 and <= 100 years, got ") as caught:
        CachedFunction(abs, **options)
    assert isinstance(caught.value, PenstockError)


@pytest.mark.parametrize("name", ["ttl", "refresh_after", "stale_if_error", "exception_ttl"])
def test_duration_of_another_type_is_refused(CachedFunction, name):
    with pytest.raises(TypeError, match=f"^{name} must be seconds, a timedelta or None, got str$"):
        CachedFunction(abs, **{name: "60"})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"maxsize": 0}, ValueError, r"^maxsize must be >= 1"),
        ({"maxsize": None}, TypeError, r"^maxsize must be an integer, got NoneType$"),
        ({"policy": "best"}, ValueError, r"^policy must be .*, got 'best'$"),
        ({"cache": {}}, TypeError, r"^cache must be a cache of penstock or None, got dict$"),
        ({"key": 5}, TypeError, r"^key must be callable or None, got int$"),
        ({"condition": 5}, TypeError, r"^condition must be callable or None, got int$"),
        ({"executor": 5}, TypeError, r"^executor must be a concurrent.futures.Executor or None, got int$"),
        ({"clock": 5}, TypeError, r"^clock must be callable or None, got int$"),
        (
            {"cache_exceptions": "all"},
            TypeError,
            r"^cache_exceptions must be subclasses of Exception, got 'all'$",
        ),
        ({"cache_exceptions": (KeyError, KeyboardInterrupt)}, TypeError, r"got <class 'KeyboardInterrupt'>$"),
        ({"exception_ttl": 5}, ValueError, r"^cache_exceptions must be given with exception_ttl, got \(\)$"),
        ({"stale_if_error": 5}, ValueError, r"^ttl must be given with stale_if_error, got None$"),
        ({"ttl": 5, "refresh_after": 5}, ValueError, r"^refresh_after must be < ttl 5, got 5$"),
    ],
)
def test_wrong_option_is_refused_when_the_function_is_decorated(CachedFunction, options, error, message):
    with pytest.raises(error, match=message) as caught:
        CachedFunction(abs, **options)
    assert isinstance(caught.value, PenstockError)


async def async_generator():
    yield 1


def generator():
    yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (5, "^cached decorates functions, got int$"),
        (staticmethod(abs), "^cached decorates functions, got staticmethod$"),
        (generator, "^cached decorates functions whose results can be used again, got a generator$"),
        (async_generator, "^cached decorates functions whose results can be used again, got a generator$"),
    ],
)
def test_what_cannot_be_cached_is_refused(CachedFunction, function, message):
    with pytest.raises(TypeError, match=message):
        CachedFunction(function)


def test_executor_of_a_coroutine_function_is_refused(CachedFunction, async_rate):
    with pytest.raises(ValueError, match=r"^executor must be None for a coroutine function"):
        CachedFunction(async_rate, ttl=10, refresh_after=5, executor=QueueExecutor())


# ---- the decorator ----


def test_decorator_takes_options_or_none():
    @cached
    def bare(x):
        return [x]

    @cached()
    def empty(x):
        return [x]

    @cached(maxsize=3, ttl=60)
    def full(x):
        return [x]

    cache = Cache(5)

    @cached(cache)
    def shared(x):
        return [x]

    for function, maxsize in ((bare, 128), (empty, 128), (full, 3), (shared, 5)):
        assert function(1) is function(1)
        assert function.cache_info().maxsize == maxsize
    assert shared.cache is cache


def test_decorator_goes_above_staticmethod_and_classmethod():
    class Shop:
        @cached
        @staticmethod
        def static(x):
            return [x]

        @cached(maxsize=2)
        @classmethod
        def of_class(cls, x):
            return [cls, x]

        @cached
        @classmethod
        async def bare(cls, x):
            return [cls, x]

    class Branch(Shop):
        pass

    assert Shop.static(1) is Shop().static(1) is Branch.static(1)
    assert Shop.static.invalidate(1)
    assert Shop.of_class(1) is Shop().of_class(1)
    assert Branch().of_class(1) == [Branch, 1]
    assert Shop.of_class.cache_info().maxsize == 2
    assert asyncio.run(Branch.bare(1)) == [Branch, 1]
    assert inspect.iscoroutinefunction(Shop.bare)


def test_decorator_refuses_unknown_options():
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_size'"):
        cached(max_size=5)(abs)
