"""The live tail: what listeners hear of packets, what they miss, and that nobody waits for them."""

import asyncio

import msgspec
import pytest

from penstock.services.distributor import live_tail
from penstock.services.distributor.live_tail import TailFilter
from services.distributor.fakes import body_of, running, settled


async def heard(tail):
    """Everything that a listener got; closes it."""
    tail.close()
    return [event async for event in tail]


async def test_listener_hears_of_every_packet_what_happens_to_it(tmp_path, analyzers, times):
    analyzers.failing["p-1"] = "crashed"
    settings = {"weights": {"a1": 1}, "max_attempts": 2}
    async with running(tmp_path, analyzers, times, **settings) as distributor:
        with distributor.subscribe() as tail:
            await distributor.accept(body_of(2, prefix="p"))
            await settled(distributor)
            times.advance(2)
            distributor.tick()
            await settled(distributor)
            events = await heard(tail)
    assert [(event.what, event.id, event.attempt, event.error) for event in events] == [
        ("accepted", "p-0", 0, ""), ("accepted", "p-1", 0, ""), ("delivered", "p-0", 1, ""),
        ("retry", "p-1", 1, "crashed"), ("dead", "p-1", 2, "crashed"),
    ]  # fmt: skip
    assert {event.analyzer for event in events} == {"a1"}
    assert msgspec.json.decode(events[0].body)["id"] == "p-0"


async def test_filter_leaves_only_what_is_wanted(tmp_path, analyzers):
    packets = [
        {"id": "e", "messages": [{"message": "x"}, {"message": "x", "level": "Error", "source": "billing"}]},
        {"id": "i", "messages": [{"message": "x", "source": "billing"}]},
    ]
    wanted = [
        (TailFilter(level=frozenset({"ERROR"})), {"e"}),
        (TailFilter(source=frozenset({"billing"})), {"e", "i"}),
        (TailFilter(level=frozenset({"INFO"}), source=frozenset({"billing"})), {"i"}),
        (TailFilter(analyzer=frozenset({"nobody"})), set()),
        (TailFilter(group=frozenset({"default"})), {"e", "i"}),
        (TailFilter(what=frozenset({"dead"})), set()),
        (TailFilter(sample=0.0), set()),
    ]
    async with running(tmp_path, analyzers) as distributor:
        tails = [distributor.subscribe(one) for one, _ in wanted]
        for tail in tails:
            tail.__enter__()
        await distributor.accept(msgspec.json.encode(packets))
        await settled(distributor)
        for tail, (_, ids) in zip(tails, wanted, strict=True):
            assert {event.id for event in await heard(tail)} == ids


async def test_packet_is_read_once_for_all_listeners_and_not_at_all_for_none_that_asks(
    tmp_path, analyzers, monkeypatch
):
    read = []

    def decode(body, real=live_tail.decode):
        read.append(body)
        return real(body)

    monkeypatch.setattr(live_tail, "decode", decode)
    async with running(tmp_path, analyzers) as distributor:
        wanted = [TailFilter(what=frozenset({"accepted"}), level=frozenset({"INFO"}))] * 3
        tails = [distributor.subscribe(one).__enter__() for one in [*wanted, TailFilter()]]
        await distributor.accept(body_of(5, prefix="p"))
        await settled(distributor)
        assert [len(await heard(tail)) for tail in tails] == [5, 5, 5, 10]
    assert len(read) == 5


async def test_listener_that_is_too_slow_misses_the_oldest_and_is_told_how_many(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        with distributor.subscribe(TailFilter(what=frozenset({"accepted"})), maxsize=3) as tail:
            await distributor.accept(body_of(10, prefix="p"))
            await settled(distributor)
            assert tail.dropped == 7
            assert [event.id for event in await heard(tail)] == ["p-7", "p-8", "p-9"]


async def test_listener_waits_for_what_comes_and_ends_with_the_service(tmp_path, analyzers):
    async def listen(tail):
        with tail:
            return [event.id async for event in tail]

    async with running(tmp_path, analyzers) as distributor:
        tail = distributor.subscribe(TailFilter(what=frozenset({"accepted"})))
        listening = asyncio.create_task(listen(tail))
        await asyncio.sleep(0)
        await distributor.accept(body_of(2, prefix="p"))
        await asyncio.sleep(0)
        assert not listening.done()
    assert await listening == ["p-0", "p-1"]


async def test_closed_listener_hears_nothing_more(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        with distributor.subscribe() as tail:
            pass
        tail.close()
        await distributor.accept(body_of(1))
        assert await heard(tail) == []
        with pytest.raises(StopAsyncIteration):
            await anext(aiter(tail))
