"""Write-through cache: store first, then cache, whatever happens in between."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.stores import HeldStore
from penstock.cache.cache import Cache
from penstock.cache.store import StoreClosed
from penstock.cache.write_through import WriteThroughCache
from penstock.clock import ManualClock
from virtual_time import run_in_virtual_time, virtual_time

virtual = virtual_time()


@pytest.fixture
def clock():
    return ManualClock()


async def soon():
    """Lets everything run that can run now."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_write_that_has_returned_is_in_the_store_and_read_from_memory():
    store = HeldStore()
    cache = WriteThroughCache(store)
    await cache.set("a", 1)
    await cache.set_many({"b": 2, "c": None})
    assert store.entries == {"a": 1, "b": 2, "c": None}
    assert await cache.get("a") == 1
    assert await cache.get("c", "default") is None
    assert await cache.get_many(["a", "b", "c"]) == store.entries
    assert store.calls == [("set", ["a"]), ("set", ["b", "c"])]


async def test_delete_removes_from_both():
    store = HeldStore({"a": 1, "b": 2, "c": 3})
    cache = WriteThroughCache(store)
    assert await cache.get_many("abc") == {"a": 1, "b": 2, "c": 3}
    await cache.delete("a")
    await cache.delete_many(["b", "b", "never there"])
    assert store.entries == {"c": 3}
    assert await cache.get_many("abc") == {"c": 3}
    assert store.keys_of("delete") == [["a"], ["b", "never there"]]


async def test_miss_asks_the_store_once_and_is_remembered():
    store = HeldStore({"a": 1})
    cache = WriteThroughCache(store)
    assert await asyncio.gather(*(cache.get("a") for _ in range(1000))) == [1] * 1000
    assert await cache.get("a") == 1
    assert store.calls == [("get", ["a"])]


async def test_what_the_store_does_not_have_is_asked_again():
    store = HeldStore()
    cache = WriteThroughCache(store)
    assert await cache.get("a", "default") == "default"
    store.entries["a"] = 1
    assert await cache.get("a") == 1


async def test_many_misses_are_one_question_without_those_that_are_asked_already():
    store = HeldStore({"a": 1, "b": 2, "c": 3})
    store.gate = asyncio.get_running_loop().create_future()
    cache = WriteThroughCache(store)
    reads = [asyncio.create_task(cache.get_many(keys)) for keys in ("ab", "bc", "ca")]
    await soon()
    store.gate.set_result(None)
    assert await asyncio.gather(*reads) == [{"a": 1, "b": 2}, {"b": 2, "c": 3}, {"c": 3, "a": 1}]
    assert store.calls == [("get", ["a", "b"]), ("get", ["c"])]


async def test_clock_of_ones_own_ends_the_time_of_an_entry(clock):
    store = HeldStore({"a": 1})
    cache = WriteThroughCache(store, ttl=60, clock=clock)
    await cache.get("a")
    clock.advance(59)
    await cache.get("a")
    assert len(store.calls) == 1
    clock.advance(1)
    await cache.get("a")
    assert len(store.calls) == 2


def test_entry_is_asked_for_again_when_its_time_is_over(virtual, clock):
    async def main():
        store = HeldStore({"a": 1})
        cache = WriteThroughCache(store, Cache(10, ttl=60, clock=clock))
        await cache.get("a")
        store.entries["a"] = "somebody else wrote this"
        assert await cache.get("a") == 1
        clock.advance(60)
        assert await cache.get("a") == "somebody else wrote this"

    virtual(main())


async def test_store_that_fails_leaves_the_cache_without_the_key_and_raises():
    store = HeldStore()
    cache = WriteThroughCache(store)
    await cache.set_many({"a": 1, "b": 2})
    store.mode = "half"
    with pytest.raises(OSError, match="half of it"):
        await cache.set_many({"a": 10, "b": 20})
    store.mode = "ok"
    assert await cache.get_many("ab") == {"a": 10, "b": 2}, "what the store has"
    store.poison = {"a"}
    with pytest.raises(OSError, match="down"):
        await cache.delete("a")
    store.poison = set()
    store.calls.clear()
    assert await cache.get("a") == 10
    assert store.calls == [("get", ["a"])]


async def test_error_of_a_read_reaches_every_reader_and_is_not_remembered():
    store = HeldStore({"a": 1})
    cache = WriteThroughCache(store)
    store.mode = "fail"
    for outcome in await asyncio.gather(cache.get("a"), cache.get("a"), return_exceptions=True):
        assert isinstance(outcome, OSError)
    assert len(store.calls) == 1
    store.mode = "ok"
    assert await cache.get("a") == 1


@pytest.mark.parametrize("fails", [False, True])
async def test_read_under_way_never_leaves_the_older_value_in_the_cache(fails):
    store = HeldStore({"a": "old"})
    cache = WriteThroughCache(store)
    store.gate = gate = asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(cache.get("a"))
    await soon()
    store.gate = None
    store.mode = "fail" if fails else "ok"
    await asyncio.gather(cache.set("a", "new"), return_exceptions=True)
    store.mode = "ok"
    store.entries["a"] = "new"  # a write that fails may have happened
    gate.set_result(None)
    assert await reading == "old", "it began before the write"
    assert await cache.get("a") == "new"


async def test_read_that_begins_during_a_write_does_not_outlive_it():
    store = HeldStore({"a": "old"})
    cache = WriteThroughCache(store)
    loop = asyncio.get_running_loop()
    store.gate = write_gate = loop.create_future()
    writing = asyncio.create_task(cache.set("a", "new"))
    await soon()
    store.gate = read_gate = loop.create_future()
    reading = asyncio.create_task(cache.get("a"))
    await soon()
    store.gate = None
    write_gate.set_result(None)
    await writing
    read_gate.set_result(None)
    assert await reading == "old"
    assert await cache.get("a") == "new"


async def test_writes_of_one_key_reach_the_store_in_the_order_of_their_calls():
    store = HeldStore()
    cache = WriteThroughCache(store)
    store.gate = asyncio.get_running_loop().create_future()
    writes = [
        asyncio.create_task(work)
        for work in (
            cache.set("a", 1),
            cache.set_many({"a": 2, "b": 2}),
            cache.set("c", 3),
            cache.delete("b"),
        )
    ]
    await soon()
    assert store.calls == [("set", ["a"]), ("set", ["c"])], "other keys do not wait"
    store.gate.set_result(None)
    await asyncio.gather(*writes)
    assert store.calls[2:] == [("set", ["a", "b"]), ("delete", ["b"])]
    assert store.entries == await cache.get_many("abc") == {"a": 2, "c": 3}


async def test_write_goes_on_when_its_caller_is_cancelled():
    store = HeldStore({"a": "old"})
    cache = WriteThroughCache(store)
    await cache.get("a")
    store.gate = asyncio.get_running_loop().create_future()
    writing = asyncio.create_task(cache.set("a", "new"))
    await soon()
    writing.cancel()
    await asyncio.wait([writing])
    assert writing.cancelled()
    store.gate.set_result(None)
    await cache.set("a", "newest")
    assert store.keys_of("set") == [["a"], ["a"]]
    assert store.entries == {"a": "newest"}
    assert await cache.get("a") == "newest"


async def test_cancelled_reader_takes_nothing_from_the_others():
    store = HeldStore({"a": 1})
    cache = WriteThroughCache(store)
    store.gate = asyncio.get_running_loop().create_future()
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await soon()
    first.cancel()
    store.gate.set_result(None)
    assert await second == 1


async def test_aclose_waits_for_writes_and_later_calls_raise():
    store = HeldStore()
    store.gate = asyncio.get_running_loop().create_future()
    async with WriteThroughCache(store) as cache:
        writing = asyncio.create_task(cache.set("a", 1))
        reading = asyncio.create_task(cache.get("b"))
        await soon()
        asyncio.get_running_loop().call_soon(store.gate.set_result, None)
    assert store.entries == {"a": 1}
    await asyncio.gather(writing, reading, return_exceptions=True)
    assert len(asyncio.all_tasks()) == 1
    for call in (cache.get("a"), cache.set("a", 1), cache.delete_many(["a"])):
        with pytest.raises(StoreClosed):
            await call


@pytest.mark.parametrize("begun", [False, True])
async def test_reader_of_a_cache_that_is_closed_is_told_so_and_not_cancelled(begun):
    store = HeldStore()
    store.mode = "hang"
    cache = WriteThroughCache(store)
    reading = asyncio.create_task(cache.get("a"))
    for _ in range(10 if begun else 1):
        await asyncio.sleep(0)
    assert bool(store.calls) == begun
    await cache.aclose()
    with pytest.raises(StoreClosed, match="must be open until the store has answered"):
        await reading


async def test_value_given_by_mistake_in_place_of_a_cache_is_refused():
    with pytest.raises(ValueError, match="maxsize must be >= 1"):
        WriteThroughCache(HeldStore(), maxsize=0)
    with pytest.raises(ValueError, match="ttl must be > 0"):
        WriteThroughCache(HeldStore(), ttl=-1)


KEYS = st.sampled_from("abc")
CALLS = st.one_of(
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("set"), KEYS),
    st.tuples(st.just("delete"), KEYS),
)


@given(
    calls=st.lists(st.tuples(CALLS, st.integers(0, 3), st.booleans(), st.booleans()), max_size=25),
    latencies=st.randoms(use_true_random=False),
)
def test_cache_ends_with_what_the_store_ends_with(calls, latencies):
    """Any calls, at any moments, cancelled or not, to a store that answers late and fails now and then."""

    class Store(HeldStore):
        async def _answer(self, operation, keys):
            self.latency = latencies.randrange(4)
            await super()._answer(operation, keys)

    async def main():
        store = Store()
        cache = WriteThroughCache(store, maxsize=2)
        tasks = []
        for value, ((operation, key), pause, fails, cancelled) in enumerate(calls):
            store.poison = {key} if fails else set()
            arguments = (key, value) if operation == "set" else (key,)
            tasks.append(asyncio.create_task(getattr(cache, operation)(*arguments)))
            await asyncio.sleep(pause)
            if cancelled:
                tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        store.poison = set()
        for key in "abc":
            await cache.set(key + "'", 0)  # a write behind those that were cancelled
        while cache._writes:
            await asyncio.wait(set(cache._writes.values()))
        assert await cache.get_many("abc") == {
            key: store.entries[key] for key in "abc" if key in store.entries
        }
        await cache.aclose()

    run_in_virtual_time(main(), ManualClock())
