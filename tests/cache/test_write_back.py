"""Write-back cache: time is the event loop's, which jumps; journals are real files."""

import asyncio
import errno
import os
import random
import threading
from collections import Counter
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cache.stores import HeldStore
from penstock.cache import journal as journal_module
from penstock.cache import write_back as write_back_module
from penstock.cache._dirty import Change, DirtySet
from penstock.cache._room import Room
from penstock.cache.cache import Cache
from penstock.cache.codec import MsgpackCodec
from penstock.cache.journal import Journal, JournalError, JournalUnavailable
from penstock.cache.sqlite_store import SQLiteStore
from penstock.cache.write_back import NotStored, WriteBackCache, WriteBackClosed, doubling_delay
from penstock.clock import ManualClock
from penstock.errors import PenstockError
from virtual_time import VirtualTimeLoop, run_once, virtual_time

virtual = virtual_time()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store():
    return HeldStore()


async def soon():
    """Lets everything run that can run now."""
    for _ in range(10):
        await asyncio.sleep(0)


def writer(store, clock, **options):
    return closed_in_the_end(WriteBackCache(store, clock=clock, **options))


@asynccontextmanager
async def closed_in_the_end(cache):
    """Closes it at once if the test has failed, for the store may never take anything."""
    await cache.start()
    try:
        yield cache
    except BaseException:
        with suppress(NotStored):
            await cache.aclose(timeout=0)
        raise
    await cache.aclose()


# ---- writing


def test_write_returns_at_once_and_is_stored_after_the_interval(virtual, clock, store):
    async def main():
        async with writer(store, clock, flush_interval=0.05) as cache:
            await cache.set("a", 1)
            await asyncio.sleep(0.049)
            assert (store.entries, clock.now) == ({}, 49_000_000)
            await asyncio.sleep(0.002)
            assert store.entries == {"a": 1}

    virtual(main())


def test_writes_of_one_key_become_one(virtual, clock, store):
    async def main():
        async with writer(store, clock) as cache:
            for value in range(100):
                await cache.set("a", value)
            await cache.set("b", 1)
            await cache.flush()
            assert store.calls == [("set", ["a", "b"])]
            assert store.entries == {"a": 99, "b": 1}
            assert cache.stats().flushed == 2

    virtual(main())


def test_delete_is_a_write_too(virtual, clock):
    store = HeldStore({"a": 1, "b": 2})

    async def main():
        async with writer(store, clock) as cache:
            await cache.set("a", 3)
            await cache.delete("a")
            assert await cache.get("a", "gone") == "gone"
            await cache.delete_many(["b", "never there"])
            assert await cache.get_many(["a", "b"]) == {}
            assert store.entries == {"a": 1, "b": 2}
            await cache.flush()
            assert store.entries == {}
            assert await cache.get("b") is None

    virtual(main())


def test_full_batch_does_not_wait_for_the_interval(virtual, clock, store):
    async def main():
        async with writer(store, clock, flush_interval=60, max_batch=10) as cache:
            await cache.set_many({key: key for key in range(25)})
            await soon()
            assert [len(keys) for keys in store.keys_of("set")] == [10, 10]
            assert (cache.stats().dirty, clock.now) == (5, 0)

    virtual(main())


async def test_loop_of_writes_lets_the_flusher_run(store):
    async with closed_in_the_end(WriteBackCache(store, flush_interval=0.001)) as cache:
        for value in range(1_000_000):
            await cache.set("a", value)
            if store.entries:
                break
        assert store.entries


def test_none_is_a_value(virtual, clock, store):
    async def main():
        async with writer(store, clock) as cache:
            await cache.set("a", None)
            assert await cache.get("a", "default") is None
            await cache.flush()
            assert await cache.get("a", "default") is None
            assert store.entries == {"a": None}

    virtual(main())


# ---- reading


def test_dirty_values_are_read_though_the_cache_has_room_for_one(virtual, clock, store):
    async def main():
        async with writer(store, clock, maxsize=1) as cache:
            await cache.set_many({key: -key for key in range(50)})
            assert await cache.get_many(range(50)) == {key: -key for key in range(50)}
            assert not store.keys_of("get")

    virtual(main())


def test_clean_values_are_read_from_memory_then_from_the_store(virtual, clock, store):
    async def main():
        async with writer(store, clock, maxsize=2) as cache:
            await cache.set_many({"a": 1, "b": 2, "c": 3})
            await cache.flush()
            assert await cache.get("c") == 3
            assert not store.keys_of("get")
            assert await cache.get("a") == 1
            assert store.keys_of("get") == [["a"]]

    virtual(main())


def test_tasks_that_miss_one_key_ask_the_store_once(virtual, clock):
    store = HeldStore({"a": 1})
    store.latency = 0.005

    async def main():
        async with writer(store, clock) as cache:
            reads = [cache.get("a") for _ in range(1000)] + [cache.get_many(["a", "b"])]
            *values, both = await asyncio.gather(*reads)
            assert values == [1] * 1000
            assert both == {"a": 1}
            assert store.keys_of("get") == [["a"], ["b"]]

    virtual(main())


def test_read_under_way_never_puts_an_older_value_over_a_write(virtual, clock):
    store = HeldStore({"a": "old"})

    async def main():
        async with writer(store, clock) as cache:
            store.gate = asyncio.get_running_loop().create_future()
            reading = asyncio.create_task(cache.get("a"))
            await soon()
            await cache.set("a", "new")
            gate, store.gate = store.gate, None
            await cache.flush()
            gate.set_result(None)
            assert await reading == "old", "it began before the write"
            assert await cache.get("a") == "new"

    virtual(main())


def test_read_that_meets_a_write_on_its_way_back_returns_the_write(virtual, clock):
    store = HeldStore({"a": "old"})

    async def main():
        async with writer(store, clock) as cache:
            store.gate = asyncio.get_running_loop().create_future()
            reading = asyncio.create_task(cache.get("a"))
            deleted = asyncio.create_task(cache.get_many(["b"]))
            await soon()
            await cache.set("a", "new")
            await cache.delete("b")
            store.gate.set_result(None)
            assert await reading == "new"
            assert await deleted == {}

    virtual(main())


def test_store_that_cannot_be_read_raises_to_the_reader(virtual, clock, store):
    async def main():
        async with writer(store, clock) as cache:
            store.mode = "fail"
            with pytest.raises(OSError, match="the store is down"):
                await cache.get("a")
            store.mode = "ok"
            assert await cache.get("a", 0) == 0

    virtual(main())


def test_cancelled_reader_takes_nothing_from_the_others(virtual, clock):
    store = HeldStore({"a": 1})
    store.latency = 1

    async def main():
        async with writer(store, clock) as cache:
            first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
            await soon()
            first.cancel()
            assert await second == 1

    virtual(main())


# ---- back-pressure


def test_writes_wait_while_too_much_is_dirty_first_come_first_served(virtual, clock, store):
    store.latency = 0.01
    order = []

    async def write(cache, key):
        await cache.set(key, key)
        order.append(key)

    async def main():
        async with writer(store, clock, max_dirty=3, max_batch=2, flush_interval=60) as cache:
            tasks = [asyncio.create_task(write(cache, key)) for key in range(9)]
            await soon()
            assert order == [0, 1, 2]
            assert (cache.stats().dirty, cache.stats().waiting) == (3, 6)
            await cache.set(0, "a dirty key needs no room")
            await asyncio.gather(*tasks)
            assert order == list(range(9))
            assert clock.now < 1_000_000_000, "nobody waits for the interval then"
        assert store.entries == {0: "a dirty key needs no room"} | {key: key for key in range(1, 9)}

    virtual(main())


def test_writer_that_gives_up_waiting_writes_nothing_and_lets_the_next_one_in(virtual, clock, store):
    async def main():
        async with writer(store, clock, max_dirty=1) as cache:
            store.mode = "fail"
            await cache.set("a", 1)
            b, c = asyncio.create_task(cache.set("b", 2)), asyncio.create_task(cache.set("c", 3))
            await soon()
            b.cancel()
            store.mode = "ok"
            await c
            assert b.cancelled()
        assert store.entries == {"a": 1, "c": 3}

    virtual(main())


async def test_whoever_is_cancelled_in_the_moment_of_its_turn_gives_the_place_on():
    room = Room(1)
    await room.enter("a")
    b, c = asyncio.create_task(room.enter("b")), asyncio.create_task(room.enter("c"))
    await soon()
    room.leave("a")
    b.cancel()  # it has the place, and does not know yet
    await c
    assert b.cancelled()
    assert (room.visits("a"), room.visits("b"), room.visits("c"), room.waiting) == (0, 0, 1, 0)


# ---- stores that fail


def test_failing_store_is_asked_again_with_growing_delays_for_as_long_as_it_takes(virtual, clock, store):
    moments = []

    async def main():
        store.mode = "fail"
        async with writer(store, clock, flush_interval=0, max_batch=1) as cache:
            await cache.set("a", 1)
            while len(moments) < 12:
                await asyncio.sleep(0.01)
                if len(store.calls) > len(moments):
                    moments.append(clock.now / 1e9)
            stats = cache.stats()
            assert (stats.dirty, stats.failures, stats.flushed) == (1, 12, 0)
            assert stats.last_error == "StoreError: the store is down"
            assert stats.oldest_dirty == pytest.approx(clock.now / 1e9)
            store.mode = "ok"
            await cache.flush()
            assert cache.stats().oldest_dirty == 0.0
        assert store.entries == {"a": 1}

    virtual(main())
    delays = [later - earlier for earlier, later in pairwise(moments)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30], abs=0.02)


def test_usual_delay_doubles_up_to_half_a_minute():
    assert [doubling_delay(failures) for failures in (1, 2, 3, 9, 10, 10**9)] == [0.1, 0.2, 0.4, 25.6, 30, 30]


def test_one_bad_item_does_not_hold_back_the_others(virtual, clock, store):
    async def main():
        async with writer(store, clock) as cache:
            store.poison = {7}
            await cache.set_many({key: key for key in range(500)})
            await asyncio.sleep(1)
            assert store.entries == {key: key for key in range(500) if key != 7}
            assert cache.stats().dirty == 1
            await cache.set("more", 1)
            await asyncio.sleep(0.2)
            assert store.entries["more"] == 1
            await cache.delete(7)  # the way to be rid of it
            store.poison = set()
            await cache.flush()
            assert 7 not in store.entries

    virtual(main())


def test_many_bad_items_do_not_hold_back_the_others(virtual, clock, store):
    async def main():
        async with writer(store, clock) as cache:
            store.poison = set(range(0, 500, 50))
            await cache.set_many({key: key for key in range(500)})
            await asyncio.sleep(10)
            assert store.entries == {key: key for key in range(500) if key % 50}
            calls = len(store.calls)
            await asyncio.sleep(300)
            assert len(store.calls) - calls <= 10 * 12, "each bad item is tried at its growing distance"
            store.poison = set()

    virtual(main())


def test_store_that_is_down_is_not_flooded(virtual, clock, store):
    async def main():
        store.mode = "fail"
        async with writer(store, clock) as cache:
            await cache.set_many({key: key for key in range(5000)})
            await asyncio.sleep(600)
            assert len(store.calls) < 40
            store.mode = "ok"
            await cache.flush()
            assert len(store.entries) == 5000
            assert len(store.calls) < 150

    virtual(main())


def test_half_a_batch_is_written_again_whole(virtual, clock, store):
    async def main():
        async with writer(store, clock) as cache:
            store.mode = "half"
            await cache.set_many({key: key for key in range(100)})
            await asyncio.sleep(2)
            assert cache.stats().failures
            store.mode = "ok"
            await cache.flush()
        assert store.entries == {key: key for key in range(100)}

    virtual(main())


def test_hanging_store_is_cancelled_after_its_time(virtual, clock, store):
    async def main():
        async with writer(store, clock, store_timeout=5) as cache:
            store.mode = "hang"
            await cache.set("a", 1)
            await asyncio.sleep(5.06)
            assert cache.stats().last_error == "TimeoutError: no answer within 5 s"
            store.mode = "ok"
            await cache.flush()
        assert store.entries == {"a": 1}

    virtual(main())


def test_store_whose_own_task_was_cancelled_has_failed(virtual, clock, store):
    async def main():
        async with writer(store, clock) as cache:
            store.gate = asyncio.get_running_loop().create_future()
            store.gate.cancel()
            await cache.set("a", 1)
            await asyncio.sleep(1)
            assert cache.stats().last_error.startswith("CancelledError")
            store.gate = None
        assert store.entries == {"a": 1}

    virtual(main())


def test_delay_that_is_no_delay_is_replaced_by_the_usual_one(virtual, clock, store, caplog):
    async def main():
        async with writer(store, clock, retry_delay=lambda failures: float("nan")) as cache:
            store.mode = "fail"
            await cache.set("a", 1)
            await asyncio.sleep(1)
            store.mode = "ok"
        assert store.entries == {"a": 1}

    virtual(main())
    assert "retry_delay failed" in caplog.text


# ---- a key that is written while it is stored


def test_key_written_while_its_older_value_is_stored_stays_dirty(virtual, clock, store):
    async def main():
        async with writer(store, clock) as cache:
            await cache.set("a", 1)
            store.gate = asyncio.get_running_loop().create_future()
            flushing = asyncio.create_task(cache.flush())
            await soon()
            await cache.set("a", 2)
            gate, store.gate = store.gate, None
            gate.set_result(None)
            await flushing
            assert store.entries == {"a": 1}, "what was accepted before the flush"
            assert cache.stats().dirty == 1
            assert await cache.get("a") == 2
            await cache.flush()
            assert store.entries == {"a": 2}

    virtual(main())


def test_flush_waits_only_for_what_was_accepted_before_it(virtual, clock, store):
    store.latency = 0.01

    async def write_all_the_time(cache):
        for value in range(10_000):
            await cache.set("a", value)
            await asyncio.sleep(0.001)

    async def main():
        async with writer(store, clock) as cache:
            writing = asyncio.create_task(write_all_the_time(cache))
            await soon()
            await cache.flush()
            assert clock.now < 50_000_000
            writing.cancel()

    virtual(main())


def test_age_of_the_oldest_write_counts_from_the_first_one_that_is_not_stored(virtual, clock, store):
    async def main():
        async with writer(store, clock, flush_interval=60) as cache:
            await cache.set("a", 1)
            await asyncio.sleep(3)
            await cache.set("a", 2)
            assert cache.stats().oldest_dirty == pytest.approx(3)
            store.latency = 10
            flushing = asyncio.create_task(cache.flush())
            await asyncio.sleep(4)
            await cache.set("a", 3)
            await flushing
            assert cache.stats().oldest_dirty == pytest.approx(6)

    virtual(main())


# ---- the end


def test_aclose_returns_when_everything_is_stored_and_later_calls_raise(virtual, clock, store):
    async def main():
        cache = WriteBackCache(store, clock=clock, flush_interval=60)
        await cache.start()
        await cache.set_many({key: key for key in range(1200)})
        store.mode = "fail"
        asyncio.get_running_loop().call_later(10, setattr, store, "mode", "ok")
        await cache.aclose()
        assert len(store.entries) == 1200
        for call in (
            cache.set("a", 1),
            cache.delete("a"),
            cache.get("a"),
            cache.flush(),
            cache.get_many("a"),
        ):
            with pytest.raises(WriteBackClosed, match="it is closed"):
                await call
        await cache.aclose()
        assert len(asyncio.all_tasks()) == 1

    virtual(main())


def test_aclose_that_runs_out_of_time_says_how_many_are_not_stored(virtual, clock, store):
    async def main():
        cache = WriteBackCache(store, clock=clock)
        await cache.start()
        await cache.set_many({"a": 1, "b": 2, "c": 3})
        store.mode = "hang"
        with pytest.raises(NotStored, match=r"within 5 s, got 3 keys left: they are lost") as raised:
            await cache.aclose(timeout=5)
        assert (raised.value.unstored, raised.value.journaled) == (3, False)
        assert isinstance(raised.value, TimeoutError)
        assert isinstance(raised.value, PenstockError)
        assert len(asyncio.all_tasks()) == 1

    virtual(main())


def test_cancelled_aclose_can_be_called_again(virtual, clock, store):
    async def main():
        cache = WriteBackCache(store, clock=clock)
        await cache.start()
        await cache.set("a", 1)
        store.mode = "fail"
        closing = asyncio.create_task(cache.aclose())
        await asyncio.sleep(1)
        closing.cancel()
        await asyncio.wait([closing])
        store.mode = "ok"
        await cache.aclose()
        assert store.entries == {"a": 1}

    virtual(main())


def test_aclose_that_runs_out_of_time_leaves_nobody_waiting(virtual, clock, store):
    async def main():
        cache = WriteBackCache(store, clock=clock)
        await cache.start()
        await cache.set("a", 1)
        store.mode = "fail"
        others = [asyncio.create_task(call) for call in (cache.flush(), cache.aclose(), cache.aclose(60))]
        await soon()
        with pytest.raises(NotStored):
            await cache.aclose(timeout=timedelta(seconds=5))
        for other in others:
            async with asyncio.timeout(60):
                with pytest.raises(WriteBackClosed, match="must be able to store, it was ended"):
                    await other
        await cache.aclose()
        assert (clock.now, len(asyncio.all_tasks())) == (5 * 10**9, 1)

    virtual(main())


def test_timeout_of_aclose_that_is_none_is_refused_and_nothing_is_closed(virtual, clock, store):
    async def main():
        async with writer(store, clock) as cache:
            for timeout, kind in [("5", TypeError), (-1, ValueError)]:
                with pytest.raises(kind, match="timeout must be"):
                    await cache.aclose(timeout)
            await cache.set("a", 1)
        assert store.entries == {"a": 1}

    virtual(main())


@pytest.mark.parametrize("begun", [False, True])
async def test_reader_of_a_cache_that_is_closed_is_told_so_and_not_cancelled(store, begun):
    store.mode = "hang"
    cache = WriteBackCache(store)
    await cache.start()
    reading = asyncio.create_task(cache.get("a"))
    for _ in range(10 if begun else 1):
        await asyncio.sleep(0)
    assert bool(store.calls) == begun
    await cache.aclose()
    with pytest.raises(WriteBackClosed, match="must be open until the store has answered"):
        await reading


@pytest.mark.parametrize("journaled", [False, True])
@pytest.mark.parametrize("begun", [False, True])
async def test_whoever_cancels_all_tasks_leaves_nobody_waiting_and_no_journal_locked(
    store, tmp_path, journaled, begun, caplog
):
    journal = tmp_path / "j" if journaled else None
    cache = WriteBackCache(store, journal=journal, flush_interval=60, max_dirty=1)
    await cache.start()
    if begun:
        await cache.set("a", 1)
        await soon()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await soon()
    async with asyncio.timeout(10):
        with pytest.raises(WriteBackClosed, match="must be open, it is broken"):
            await cache.set("b", 2)
        if begun:
            with pytest.raises(WriteBackClosed, match="must be able to store, it was ended"):
                await cache.aclose()
        await cache.aclose()
        async with WriteBackCache(store, journal=journal):
            pass
    assert store.entries == ({"a": 1} if begun and journaled else {})
    assert "no write is taken any more" in caplog.text


async def test_writer_that_waits_for_a_journal_whose_task_is_cancelled_is_refused(tmp_path, monkeypatch):
    going, written = threading.Event(), threading.Event()
    real = Journal.commit

    def slow_commit(journal, writes):
        going.set()
        assert written.wait(10)
        return real(journal, writes)

    monkeypatch.setattr(Journal, "commit", slow_commit)
    cache = WriteBackCache(HeldStore(), journal=tmp_path)
    await cache.start()
    first = asyncio.create_task(cache.set("a", 1))
    await asyncio.to_thread(going.wait, 10)
    second = asyncio.create_task(cache.set("b", 2))
    await soon()
    for task in cache._tasks:
        task.cancel()
    async with asyncio.timeout(10):
        for write, why in [(first, "closed in the middle"), (second, "closed before it could write")]:
            with pytest.raises(JournalUnavailable, match=why):
                await write
        written.set()
        await cache.aclose()


async def test_cache_that_is_closed_while_it_starts_does_not_open(tmp_path, monkeypatch):
    going, opening = threading.Event(), threading.Event()
    real = Journal.open

    def slow_open(journal):
        going.set()
        assert opening.wait(10)
        return real(journal)

    monkeypatch.setattr(Journal, "open", slow_open)
    cache = WriteBackCache(HeldStore(), journal=tmp_path)
    starting = asyncio.create_task(cache.start())
    await asyncio.to_thread(going.wait, 10)
    await cache.aclose()
    opening.set()
    with pytest.raises(WriteBackClosed, match="must stay open while it starts, it is closed"):
        await starting
    assert len(asyncio.all_tasks()) == 1
    async with WriteBackCache(HeldStore(), journal=tmp_path):
        pass  # the folder is free


def test_writers_that_wait_when_it_closes_are_refused(virtual, clock, store):
    async def main():
        cache = WriteBackCache(store, clock=clock, max_dirty=1)
        await cache.start()
        store.mode = "fail"
        await cache.set("a", 1)
        waiting = asyncio.create_task(cache.set("b", 2))
        await soon()
        asyncio.get_running_loop().call_later(1, setattr, store, "mode", "ok")
        await cache.aclose()
        with pytest.raises(WriteBackClosed):
            await waiting
        assert store.entries == {"a": 1}

    virtual(main())


def test_cache_that_was_not_started_takes_nothing(virtual, clock, store):
    async def main():
        cache = WriteBackCache(store, clock=clock)
        with pytest.raises(WriteBackClosed, match="must be open, it is new"):
            await cache.set("a", 1)
        await cache.start()
        with pytest.raises(WriteBackClosed, match="must be started once, it is open"):
            await cache.start()
        await cache.aclose()

    virtual(main())


# ---- with a journal, on real files and in real time


async def test_acknowledged_writes_are_replayed_when_the_store_never_had_them(tmp_path):
    store = HeldStore({"gone": 0})
    store.mode = "fail"
    cache = WriteBackCache(store, journal=tmp_path)
    await cache.start()
    await cache.set("a", {"name": "Ann"})
    await cache.set_many({"b": [1, 2], 3: None, b"c": b"bytes"})
    await cache.delete("gone")
    with pytest.raises(NotStored, match="the journal has them for the next start"):
        await cache.aclose(timeout=0)

    store.mode = "ok"
    async with WriteBackCache(store, journal=tmp_path) as cache:
        assert await cache.get("a") == {"name": "Ann"}
        assert await cache.get("gone") is None
        assert cache.stats().replayed == 5
    assert store.entries == {"a": {"name": "Ann"}, "b": [1, 2], 3: None, b"c": b"bytes"}
    async with WriteBackCache(store, journal=tmp_path) as cache:
        assert cache.stats().replayed == 0


async def test_writers_that_come_together_share_a_sync(tmp_path, monkeypatch):
    syncs = 0

    def fsync(fd, real=os.fsync):
        nonlocal syncs
        syncs += 1
        real(fd)

    async with WriteBackCache(HeldStore(), journal=tmp_path, flush_interval=60) as cache:
        monkeypatch.setattr(journal_module.os, "fsync", fsync)
        await asyncio.gather(*(cache.set(key, key) for key in range(1000)))
        assert syncs <= 2
        before = syncs
        for key in range(10):
            await cache.set(key, "alone")
        assert syncs == before + 10


async def test_write_is_not_seen_before_it_is_recorded(tmp_path, monkeypatch):
    async with WriteBackCache(HeldStore(), journal=tmp_path) as cache:
        loop = asyncio.get_running_loop()
        seen = []

        def fsync(fd, real=os.fsync):
            seen.append(asyncio.run_coroutine_threadsafe(cache.get("a", "nothing"), loop).result())
            real(fd)

        monkeypatch.setattr(journal_module.os, "fsync", fsync)
        await cache.set("a", 1)
        monkeypatch.undo()
        assert seen == ["nothing"]
        assert await cache.get("a") == 1


async def test_full_disk_refuses_the_write_and_the_next_one_is_taken(tmp_path, monkeypatch):
    store = HeldStore()
    async with WriteBackCache(store, journal=tmp_path, max_dirty=2) as cache:

        def write(fd, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(journal_module.os, "write", write)
        for _ in range(5):
            with pytest.raises(JournalUnavailable, match="No space left"):
                await cache.set("a", 1)
        assert await cache.get("a") is None
        monkeypatch.undo()
        await cache.set("a", 2)
    assert store.entries == {"a": 2}


async def test_failed_sync_refuses_writes_until_all_is_stored_then_begins_anew(tmp_path, monkeypatch):
    store = HeldStore()
    store.mode = "fail"
    async with closed_in_the_end(
        WriteBackCache(store, journal=tmp_path, retry_delay=lambda _: 0.001)
    ) as cache:
        await cache.set("a", 1)

        def fsync(fd):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(journal_module.os, "fsync", fsync)
        with pytest.raises(JournalUnavailable, match="cannot be synced"):
            await cache.set("b", 2)
        monkeypatch.undo()
        with pytest.raises(JournalUnavailable, match="takes no writes until the store has all"):
            await cache.set("c", 3)
        assert await cache.get("a") == 1
        store.mode = "ok"
        assert await cache.get_many("abc") == {"a": 1}
        await cache.flush()
        await cache._commits.call(lambda: None)  # the release comes before it
        await cache.set("d", 4)
    assert store.entries == {"a": 1, "d": 4}


async def test_mode_interval_acknowledges_before_it_syncs_and_syncs_soon(tmp_path, monkeypatch):
    synced = asyncio.Event()
    loop = asyncio.get_running_loop()
    journal = Journal(tmp_path, mode="interval", interval=0.02)
    async with WriteBackCache(HeldStore(), journal=journal, flush_interval=60) as cache:

        def fsync(fd, real=os.fsync):
            loop.call_soon_threadsafe(synced.set)
            real(fd)

        monkeypatch.setattr(journal_module.os, "fsync", fsync)
        await cache.set("a", 1)
        assert not synced.is_set()
        async with asyncio.timeout(20):
            await synced.wait()


async def test_journal_stays_short_while_the_store_is_down(tmp_path):
    store = HeldStore()
    store.mode = "fail"
    journal = Journal(tmp_path, segment_bytes=4096)
    cache = WriteBackCache(store, journal=journal, max_dirty=100)
    await cache.start()
    await cache.set("old", "first")  # its record lies in the first segment
    for value in range(300):
        await asyncio.gather(*(cache.set(key, [value, "x" * 100]) for key in range(20)))
    await cache._commits.idle()
    assert cache.stats().journal_bytes < 10 * 4096
    with pytest.raises(NotStored):
        await cache.aclose(timeout=0)

    store.mode = "ok"
    async with WriteBackCache(store, journal=tmp_path):
        pass
    assert store.entries == {"old": "first"} | {key: [299, "x" * 100] for key in range(20)}


async def test_record_that_moves_never_comes_after_a_newer_write_of_its_key(tmp_path, monkeypatch):
    monkeypatch.setattr(write_back_module, "SEGMENTS", 0)  # records move whenever there is another segment
    store = HeldStore()
    store.mode = "fail"
    cache = WriteBackCache(store, journal=Journal(tmp_path, segment_bytes=4096))
    await cache.start()
    newest, moved, submit, dice = {}, [], cache._commits.submit, random.Random(1)

    def watched(record, what):
        if isinstance(what, Change):
            moved.append(what.key)
            assert record.value == newest[record.key], "an older value is recorded after a newer one"
        newest[record.key] = record.value
        return submit(record, what)

    cache._commits.submit = watched

    async def write(key, size):
        for value in range(200):
            await cache.set(key, [value, "x" * size])
            for _ in range(dice.randrange(30)):  # so that writes meet a commit in its every moment
                await asyncio.sleep(0)

    await cache.set("old", "it keeps every segment from its own on, until its record moves")
    await asyncio.gather(*(write(key, 300) for key in range(8)))
    assert moved
    with pytest.raises(NotStored):
        await cache.aclose(timeout=0)


def test_lowest_record_that_is_needed_is_that_of_the_longest_unwritten_key():
    dirty = DirtySet(0, 10)
    for record, key in enumerate("abac", 1):
        dirty.put(key, record, 0, record)
    assert dirty.first_record() == 2
    a_and_b = [change for change in dirty.take(0) if change.key in "ab"]
    dirty.stored([change for change in a_and_b if change.key == "b"], 0)
    assert dirty.first_record() == 3
    dirty.move_record(next(change for change in a_and_b if change.key == "a"), 5)
    assert dirty.first_record() == 4


async def test_cancelled_writer_does_not_take_its_write_back(tmp_path):
    store = HeldStore()
    async with WriteBackCache(store, journal=tmp_path, max_dirty=1) as cache:
        writing = asyncio.create_task(cache.set("a", 1))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        await cache.set("b", 2)
    assert store.entries == {"a": 1, "b": 2}


async def test_value_that_cannot_be_recorded_is_refused_at_once(tmp_path):
    journal = Journal(tmp_path, max_record_bytes=100)
    async with WriteBackCache(HeldStore(), journal=journal) as cache:
        for key, value, kind in [
            ("a", object(), TypeError),
            ("a", bytes(200), ValueError),
            (1.5, 1, TypeError),
            ("\ud800", 1, ValueError),
            ("k" * 70_000, 1, ValueError),
        ]:
            with pytest.raises(kind):
                await cache.set(key, value)
        assert cache.stats().dirty == 0


async def test_delete_that_no_start_could_read_is_refused(tmp_path):
    journal = Journal(tmp_path, max_record_bytes=100)
    async with WriteBackCache(HeldStore(), journal=journal) as cache:
        with pytest.raises(ValueError, match="key and value must have <= 100 bytes together, got 101"):
            await cache.delete("k" * 100)
        await cache.delete("k" * 99)


async def test_journal_of_another_codec_is_refused_and_stays(tmp_path):
    store = HeldStore()
    store.mode = "fail"
    cache = WriteBackCache(store, journal=tmp_path)
    await cache.start()
    await cache.set("a", "text")
    with pytest.raises(NotStored):
        await cache.aclose(timeout=0)
    other = WriteBackCache(store, journal=Journal(tmp_path, codec=MsgpackCodec(int)))
    with pytest.raises(JournalError, match="must fit the journal's codec"):
        await other.start()
    store.mode = "ok"
    async with WriteBackCache(store, journal=tmp_path):
        pass
    assert store.entries == {"a": "text"}


async def test_two_caches_never_share_a_journal(tmp_path):
    async with WriteBackCache(HeldStore(), journal=tmp_path):
        other = WriteBackCache(HeldStore(), journal=tmp_path)
        with pytest.raises(JournalUnavailable, match="in use"):
            await other.start()


async def test_journal_and_sqlite_work_together_under_load(tmp_path):
    async with SQLiteStore(tmp_path / "store.sqlite3") as store:
        async with WriteBackCache(store, journal=tmp_path / "j", flush_interval=0.001, max_dirty=64) as cache:

            async def write(writer):
                for value in range(50):
                    await cache.set(f"{writer}:{value % 7}", value)
                    assert await cache.get(f"{writer}:{value % 7}") == value

            await asyncio.gather(*(write(number) for number in range(20)))
        found = await store.get_many([f"{number}:{key}" for number in range(20) for key in range(7)])
    assert found == {f"{number}:{value % 7}": value for number in range(20) for value in range(43, 50)}


# ---- code of the user that raises


def test_weigher_that_raises_costs_the_memory_of_a_value_and_nothing_else(virtual, clock, store, caplog):
    def weigher(key, value):
        if value == "heavy":
            raise RuntimeError("no scales")
        return 1

    async def main():
        own = Cache(10, weigher=weigher, max_weight=10)
        async with writer(store, clock, cache=own, max_dirty=1) as cache:
            await cache.set("a", "light")
            await cache.flush()
            await cache.set("a", "heavy")
            await cache.set("b", 2)
            await cache.flush()
            assert dict(own.items()) == {"b": 2}
        assert store.entries == {"a": "heavy", "b": 2}

    virtual(main())
    assert "could not be remembered" in caplog.text


def test_clock_that_raises_ends_the_storing_and_leaves_nobody_waiting(virtual, clock, store, caplog):
    broken = False

    def read():
        if broken:
            raise RuntimeError("no time")
        return clock.now

    async def main():
        nonlocal broken
        cache = WriteBackCache(store, clock=read)
        await cache.start()
        await cache.set("a", 1)
        flushing = asyncio.create_task(cache.flush())
        broken = True
        with pytest.raises(WriteBackClosed, match="it has failed"):
            await flushing
        with pytest.raises(WriteBackClosed, match="it has failed"):
            await cache.aclose()
        assert len(asyncio.all_tasks()) == 1

    virtual(main())
    assert "no time" in caplog.text


# ---- arguments


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"flush_interval": -1}, ValueError, "flush_interval must be >= 0 and <= 86400 seconds, got -1"),
        ({"flush_interval": "1"}, TypeError, "flush_interval must be seconds or a timedelta, got str"),
        ({"max_dirty": 0}, ValueError, "max_dirty must be >= 1 and <= 16777216 keys, got 0"),
        ({"max_batch": 1.0}, TypeError, "max_batch must be an integer, got float"),
        (
            {"store_timeout": float("inf")},
            ValueError,
            "store_timeout must be >= 0.001 and <= 86400 seconds, got inf",
        ),
        ({"store_timeout": 0}, ValueError, "store_timeout must be >= 0.001 and <= 86400 seconds, got 0"),
        ({"retry_delay": 3}, TypeError, "retry_delay must be callable, got int"),
        ({"journal": 3}, TypeError, "path must be a str or path, got int"),
        ({"maxsize": 0}, ValueError, "maxsize must be >= 1"),
    ],
)
def test_argument_that_is_not_allowed_is_refused(store, options, kind, message):
    with pytest.raises(kind, match=message) as raised:
        WriteBackCache(store, **options)
    assert isinstance(raised.value, PenstockError)


async def test_entries_are_remembered_by_the_clock_that_is_given(clock):
    store = HeldStore({"a": 1})
    async with WriteBackCache(store, ttl=60, clock=clock) as cache:
        await cache.get("a")
        clock.advance(59)
        await cache.get("a")
        assert len(store.calls) == 1
        clock.advance(1)
        await cache.get("a")
        assert len(store.calls) == 2


def test_timedelta_and_a_cache_of_ones_own_are_welcome(virtual, clock, store):
    async def main():
        own = Cache(5)
        async with writer(store, clock, cache=own, flush_interval=timedelta(milliseconds=1)) as cache:
            await cache.set("a", 1)
            await cache.flush()
            assert dict(own.items()) == {"a": 1}

    virtual(main())


# ---- against a model


KEYS = st.integers(0, 11)


class WriteBackMachine(RuleBasedStateMachine):
    """Random calls, stores and moments against a dict that every accepted write changes at once."""

    def __init__(self):
        super().__init__()
        self.clock = ManualClock()
        self.loop = VirtualTimeLoop(self.clock)
        self.store = OrderedStore()
        self.cache = WriteBackCache(
            self.store,
            maxsize=3,
            max_dirty=5,
            max_batch=3,
            flush_interval=1,
            store_timeout=4,
            clock=self.clock,
        )
        self.model = {}
        self.version = 0
        self.waiting = []  # writes that wait for room, with their keys
        self.flushes = []
        self.run(self.cache.start())

    def run(self, work):
        return self.loop.run_until_complete(work)

    def begin(self, key, work, change):
        """A write; if it must wait, it changes the model when it has got room."""

        async def write():
            await work
            change()

        self.waiting.append((key, self.loop.create_task(write())))
        self.settle()

    def settle(self):
        run_once(self.loop)
        for _, task in self.waiting:
            if task.done():
                task.result()
        self.waiting = [(key, task) for key, task in self.waiting if not task.done()]
        for flush, before in self.flushes:
            if flush.done():
                flush.result()
                for key, (version, deletes) in before.items():
                    stored = self.store.newest.get(key, 0) >= version
                    assert stored or self.store.deletes[key] > deletes, "flushed too early"
        self.flushes = [(flush, before) for flush, before in self.flushes if not flush.done()]

    @rule(key=KEYS)
    def set(self, key):
        self.version += 1
        value = self.version
        self.begin(key, self.cache.set(key, value), lambda: self.model.__setitem__(key, value))

    @rule(key=KEYS)
    def delete(self, key):
        self.begin(key, self.cache.delete(key), lambda: self.model.pop(key, None))

    @rule(keys=st.lists(KEYS, max_size=4))
    def get(self, keys):
        """Reads see the last write; a store that gives no answer is no answer."""
        if self.store.mode in ("ok", "half"):
            expected = {key: self.model[key] for key in keys if key in self.model}
            poisoned = self.store.poison & set(keys)
            try:
                found = self.run(self.cache.get_many(keys))
            except OSError:
                assert poisoned
            else:
                assert found == expected

    @rule(mode=st.sampled_from(["ok", "ok", "fail", "half", "hang"]), poison=st.sets(KEYS, max_size=2))
    def change_store(self, mode, poison):
        self.store.mode = mode
        self.store.poison = poison

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 40.0]))
    def wait(self, seconds):
        self.run(asyncio.sleep(seconds))
        self.settle()

    @rule()
    def flush(self):
        dirty = [key for key in self.model if key in self.cache._dirty]
        before = {key: (self.model[key], self.store.deletes[key]) for key in dirty}
        self.flushes.append((self.loop.create_task(self.cache.flush()), before))
        self.settle()

    @rule(chosen=st.integers(0, 20))
    def cancel_a_waiting_write(self, chosen):
        if self.waiting:
            _, task = self.waiting.pop(chosen % len(self.waiting))
            task.cancel()
            run_once(self.loop)
            assert task.cancelled()
            self.settle()

    @invariant()
    def no_more_is_dirty_than_allowed(self):
        self.settle()
        stats = self.cache.stats()
        assert stats.dirty <= 5
        assert stats.dirty == 5 or not stats.waiting
        assert stats.waiting == len(self.waiting)

    def teardown(self):
        try:
            self.store.mode, self.store.poison = "ok", set()
            while self.waiting:
                self.wait(1)
            self.run(self.cache.aclose())
            self.settle()
            assert self.store.entries == self.model
            assert not asyncio.all_tasks(self.loop)
        finally:
            self.loop.close()


class OrderedStore(HeldStore):
    """Notices when an older value of a key is stored after a newer one; values are growing numbers."""

    __slots__ = ("deletes", "newest")

    def __init__(self):
        super().__init__()
        self.newest = {}
        self.deletes = Counter()

    async def delete_many(self, keys):
        await super().delete_many(keys)
        self.deletes.update(keys)

    async def set_many(self, items):
        for key, value in items.items():
            assert value >= self.newest.get(key, 0), "an older value came after a newer one"
        try:
            await super().set_many(items)
        finally:
            self.newest |= {key: value for key, value in items.items() if self.entries.get(key) == value}


TestWriteBackMachine = WriteBackMachine.TestCase
