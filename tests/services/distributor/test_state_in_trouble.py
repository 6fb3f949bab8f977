"""What must hold when things go wrong at the same time: nothing lost, nothing stuck, the books right."""

import asyncio
import gc
import random
import threading
from collections import Counter

import msgspec
import pytest

from penstock.services.distributor.admission import NotStored
from penstock.services.distributor.books import Books
from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.spool import Spool, SpoolError
from penstock.services.distributor.state import Distributor, Parts
from services.distributor.fakes import (
    FakeAnalyzers,
    body_of,
    books,
    config_of,
    held_bytes,
    running,
    settled,
    until,
)


class TroubledSpool(Spool):
    """A spool whose commits fail while it is told to, and wait for a gate while there is one."""

    failing = False
    gate = None
    assigned = ()  # packets of each commit that had some to assign

    def commit(self, change):
        if self.gate is not None:
            assert self.gate.wait(60)
        if self.failing:
            raise SpoolError("the spool cannot be written: disk full")
        if change.assigned:
            self.assigned = (*self.assigned, len(change.assigned))
        super().commit(change)


class Bookkeepers(FakeAnalyzers):
    """They also write down what they have processed."""

    def __init__(self):
        super().__init__()
        self.processed = Counter()

    async def deliver(self, analyzer, packets):
        errors = await super().deliver(analyzer, packets)
        self.processed.update(packet.id for packet in packets if packet.id not in errors)
        return errors


def held_down_in(distributor):
    """Who is held down, as the spool remembers it."""
    overrides = distributor._spool.note("overrides") or {}
    return [id_ for id_, one in overrides.items() if one["state"] == "down"]


async def started(spool, analyzers, times, **settings):
    config = config_of(**settings)
    distributor = Distributor(config, spool, analyzers, clock=times.clock, wall=times.wall)
    await distributor.start()
    return distributor


# Stopping


async def test_drain_does_not_wait_for_an_analyzer_that_falls_meanwhile(tmp_path, analyzers):
    analyzers.gate = asyncio.Event()
    analyzers.broken["a1"] = "answered 500"
    settings = {"errors_to_fall": 1, "concurrency": 1, "batch_packets": 1, "drain_timeout": 60}
    async with running(tmp_path, analyzers, **settings) as distributor:
        await distributor.accept(body_of(40))
        await until(lambda: distributor.fleet["a1"].in_flight)
        draining = asyncio.create_task(distributor.drain())
        await asyncio.sleep(0)
        analyzers.gate.set()
        async with asyncio.timeout(60):
            await draining
        assert not distributor.fleet["a1"].is_up


async def test_closing_ends_when_what_stores_has_ended_by_an_error(tmp_path, analyzers, times):
    distributor = await started(Spool(tmp_path, "os"), analyzers, times, accept_timeout=0.1)
    distributor._books.commits._apply = None  # a fault of ours, such as no test has found yet
    with pytest.raises(NotStored):
        await distributor.accept(body_of(1))
    assert isinstance(await distributor.failed, TypeError), "and the service is told"
    async with asyncio.timeout(60):
        await distributor.aclose()


async def test_closing_with_a_full_disk_ends_and_says_so(tmp_path, analyzers, times, caplog):
    spool = TroubledSpool(tmp_path, "os")
    distributor = await started(spool, analyzers, times)
    spool.failing = True
    async with asyncio.timeout(60):
        await distributor.aclose()
    del distributor
    gc.collect()
    assert "disk full; the last figures are not stored" in caplog.text
    assert "never retrieved" not in caplog.text


async def test_what_is_read_while_it_closes_leaves_no_loose_end(tmp_path, analyzers, times):
    gate = threading.Event()

    class SlowlyRead(Spool):
        def read_backlog(self, *arguments):
            assert gate.wait(60)
            return super().read_backlog(*arguments)

    async with running(tmp_path, analyzers, times) as distributor:
        for id_ in distributor.fleet.members:
            distributor.control(id_, "down")
        await distributor.accept(body_of(5, prefix="p"))
    distributor = Distributor(
        config_of(), SlowlyRead(tmp_path, "os"), analyzers, clock=times.clock, wall=times.wall
    )
    await distributor.start()
    distributor.control("a1", "up")  # what nobody could take is read for it
    closing = asyncio.create_task(distributor.aclose())
    await until(lambda: distributor.draining)
    gate.set()
    await closing
    assert not distributor._tasks.running
    async with running(tmp_path, analyzers, times) as distributor:
        distributor.control("a1", None)
        await settled(distributor)
    assert len(analyzers.got) == 5


async def test_closing_twice_or_before_the_start_is_harmless(tmp_path, analyzers, times):
    never = Distributor(config_of(), Spool(tmp_path / "never", "os"), analyzers)
    await never.aclose()
    distributor = await started(Spool(tmp_path / "twice", "os"), analyzers, times)
    await distributor.aclose()
    await distributor.aclose()


# Health changes while packets are being stored


async def test_packets_stored_while_all_were_down_are_dealt_together_when_one_rises(
    tmp_path, analyzers, times
):
    spool = TroubledSpool(tmp_path, "os")
    distributor = await started(spool, analyzers, times)
    try:
        for analyzer in distributor.fleet.members.values():
            distributor.control(analyzer.config.id, "down")
        spool.gate = threading.Event()
        accepting = asyncio.create_task(distributor.accept(body_of(500, prefix="p")))
        await asyncio.sleep(0.01)  # the commit has begun, and nobody was up
        distributor.control("a2", None)
        spool.gate.set()
        await accepting
        await until(lambda: len(analyzers.got) == 500)
        assert spool.assigned == (500,)
        assert set(Counter(analyzers.ids()).values()) == {1}
        await settled(distributor)
        assert figures_of(distributor)["analyzers"]["a2"]["first_assigned"] == 500
    finally:
        await distributor.aclose()


async def test_packets_stored_while_their_analyzer_falls_go_elsewhere(tmp_path, analyzers, times):
    spool = TroubledSpool(tmp_path, "os")
    distributor = await started(spool, analyzers, times)
    try:
        spool.gate = threading.Event()
        accepting = asyncio.create_task(distributor.accept(body_of(100, prefix="p")))
        await asyncio.sleep(0.01)
        distributor.control("a1", "down")
        spool.gate.set()
        await accepting
        await settled(distributor)
        assert len(analyzers.ids()) == 100
        assert analyzers.ids("a1") == []
    finally:
        await distributor.aclose()


# Bounds and figures


async def test_bodies_of_packets_that_failed_do_not_pile_up_in_memory(tmp_path, analyzers, times):
    """Each attempt reads bodies back from the spool; those that failed must not stay."""
    for analyzer in ("a1", "a2", "a3", "a4"):
        analyzers.broken[analyzer] = "answered 500"
    settings = {"max_memory_bytes": 20_000, "batch_packets": 10, "errors_to_fall": 10_000}
    async with running(tmp_path, analyzers, times, **settings) as distributor:
        await distributor.accept(body_of(500, prefix="p", text="x" * 1000))
        await settled(distributor)
        assert held_bytes(distributor) == 0
        assert len(distributor.fleet.held) == distributor.retrying == 500
        analyzers.broken.clear()
        times.advance(2)
        distributor.tick()
        await settled(distributor)
        assert books(distributor)["delivered"] == 500
        assert held_bytes(distributor) == 0


async def test_no_counter_runs_back_while_it_is_being_stored(tmp_path, analyzers, times):
    spool = TroubledSpool(tmp_path, "os")
    distributor = await started(spool, analyzers, times)
    try:
        await distributor.accept(b"[{}, {}]")
        assert figures_of(distributor)["refused"] == 2
        spool.gate = threading.Event()
        accepting = asyncio.create_task(distributor.accept(body_of(1)))
        await asyncio.sleep(0.01)
        assert figures_of(distributor)["refused"] == 2
        spool.gate.set()
        await accepting
        assert figures_of(distributor)["refused"] == 2
        spool.failing = True
        await distributor.accept(b"[{}]")
        with pytest.raises(NotStored):
            await distributor.accept(body_of(1))
        assert figures_of(distributor)["refused"] == 3
        spool.failing = False
        await distributor.accept(body_of(1))
        assert figures_of(distributor)["refused"] == 3
    finally:
        await distributor.aclose()


async def test_failure_to_store_is_told_to_all_who_wait_and_leaves_no_loose_end(
    tmp_path, analyzers, times, caplog
):
    spool = TroubledSpool(tmp_path, "os")
    spool.failing = True
    distributor = await started(spool, analyzers, times)
    try:
        calls = [distributor.accept(body_of(n, prefix="p")) for n in (1, 2, 3, 1)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, NotStored) and "disk full" in str(answer) for answer in answers)
        del calls, answers
        gc.collect()
        assert "never retrieved" not in caplog.text
        assert distributor.admission._ids_being_stored == {}
        assert distributor.admission.packets == distributor.admission.bytes == 0
        spool.failing = False
        assert len((await distributor.accept(body_of(3, prefix="p"))).accepted) == 3
    finally:
        await distributor.aclose()


async def test_request_that_waits_for_another_ones_packets_is_answered_in_time(tmp_path, analyzers, times):
    spool = TroubledSpool(tmp_path, "os")
    distributor = await started(spool, analyzers, times, accept_timeout=0.05)
    try:
        spool.gate = threading.Event()
        calls = [distributor.accept(body_of(n, prefix="p")) for n in (1, 2)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert ["not stored within 0.05 s" in str(answer) for answer in answers] == [True, True]
        spool.gate.set()
        await until(lambda: sorted(analyzers.ids()) == ["p-0", "p-1"])
    finally:
        await distributor.aclose()


# Restarts with other settings and other times


class SlowLimits:
    """Shared limits that the first request waits for, and the others not."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.asked = 0

    async def take(self, packets, of_all, of_key):
        self.asked += 1
        if self.asked == 1:
            await self.gate.wait()


async def test_request_that_waits_for_shared_limits_is_stored_after_others_that_came_later(
    tmp_path, analyzers, times
):
    limits = SlowLimits()
    spool = Spool(tmp_path, "os")
    distributor = Distributor(
        config_of(), spool, analyzers, clock=times.clock, wall=times.wall, parts=Parts(limits=limits)
    )
    await distributor.start()
    first = asyncio.create_task(distributor.accept(body_of(3, prefix="p")))
    await until(lambda: limits.asked)
    await distributor.accept(body_of(3, prefix="q"))
    limits.gate.set()
    assert (await first).accepted == ["p-0", "p-1", "p-2"]
    await settled(distributor)
    assert len(analyzers.got) == 6
    await distributor.aclose()


async def test_client_that_goes_while_shared_limits_are_asked_leaves_nothing_behind(
    tmp_path, analyzers, times
):
    limits = SlowLimits()
    spool = Spool(tmp_path, "os")
    distributor = Distributor(
        config_of(), spool, analyzers, clock=times.clock, wall=times.wall, parts=Parts(limits=limits)
    )
    await distributor.start()
    gone = asyncio.create_task(distributor.accept(body_of(3, prefix="p")))
    await until(lambda: limits.asked)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert (distributor.admission.packets, distributor.admission.bytes) == (0, 0)
    await distributor.accept(body_of(3, prefix="p"))
    await settled(distributor)
    assert len(analyzers.got) == 3
    await distributor.aclose()


async def test_pending_packets_of_an_analyzer_that_is_gone_go_to_the_others(tmp_path, analyzers, times):
    analyzers.gate = asyncio.Event()
    analyzers.failing = {f"p-{n}": "crashed" for n in range(50)}
    async with running(tmp_path, analyzers, times, drain_timeout=0.01) as distributor:
        await distributor.accept(body_of(100, prefix="p"))
    analyzers.gate = None
    async with running(tmp_path, analyzers, times, weights={"a1": 1, "new": 1}) as distributor:
        await settled(distributor)
        analyzers.failing = {}
    times.advance(2)
    async with running(tmp_path, analyzers, times, weights={"new": 1}) as distributor:
        await until(lambda: books(distributor)["pending"] == 0)
        assert books(distributor) == {
            "accepted": 100, "delivered": 100, "dead": 0, "pending": 0, "conservation_error": 0,
        }  # fmt: skip
        assert {name for name, _, retry_count in analyzers.got if retry_count} == {"new"}


async def test_what_a_person_holds_down_stays_down_over_a_restart_until_put_back(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        for id_ in ("a1", "a2"):
            distributor.control(id_, "down")
        distributor.control("a2", None)
        await until(lambda: held_down_in(distributor) == ["a1"])
    async with running(tmp_path, analyzers, weights={"a1": 1, "a2": 1}) as distributor:
        await distributor.check_health()
        assert [id_ for id_, one in figures_of(distributor)["analyzers"].items() if one["held_down"]] == [
            "a1"
        ]
        assert not distributor.fleet["a1"].is_up
        await distributor.accept(body_of(4, prefix="p"))
        await settled(distributor)
        assert len(analyzers.ids("a2")) == len(analyzers.ids()) == 4
        distributor.control("a1", None)
        await until(lambda: held_down_in(distributor) == [])
    async with running(tmp_path, analyzers, weights={"a2": 1}) as distributor:
        assert not any(one["held_down"] for one in figures_of(distributor)["analyzers"].values())


@pytest.mark.parametrize("jump", [-86_400, 86_400])
async def test_wall_clock_that_jumps_over_a_restart_delays_no_retry_beyond_the_limit(
    tmp_path, analyzers, times, jump
):
    analyzers.failing["p-0"] = "crashed"
    async with running(tmp_path, analyzers, times) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
    times.wall.advance(jump)
    async with running(tmp_path, analyzers, times) as distributor:
        times.clock.advance(60)
        distributor.tick()
        await until(lambda: len(analyzers.got) == 2)


async def test_two_packets_of_one_id_in_a_delivery_are_both_kept(tmp_path, analyzers, times):
    """An id that we gave, used by a client for another packet: errors go by id, packets do not."""
    analyzers.gate = asyncio.Event()
    async with running(tmp_path, analyzers, times, weights={"a1": 1}, concurrency=1) as distributor:
        await distributor.accept(body_of(1))
        await until(lambda: distributor.fleet["a1"].in_flight == 1)
        [ours] = (await distributor.accept(body_of(1))).accepted
        theirs = [{"id": ours, "messages": [{"message": "another"}]}]
        await distributor.accept(msgspec.json.encode(theirs))
        analyzers.failing[ours] = "crashed"
        analyzers.gate.set()
        await settled(distributor)
        assert books(distributor)["pending"] == 2
        analyzers.failing = {}
        times.advance(2)
        distributor.tick()
        await settled(distributor)
        assert books(distributor) == {
            "accepted": 3, "delivered": 3, "dead": 0, "pending": 0, "conservation_error": 0,
        }  # fmt: skip


async def test_dead_letters_are_listed_and_purged_only_once_that_is_stored(
    tmp_path, analyzers, times, monkeypatch
):
    monkeypatch.setattr(Books, "pause", 0.001)
    spool = TroubledSpool(tmp_path, "os")
    distributor = await started(spool, analyzers, times, max_attempts=1, max_dead_letters=1)
    try:
        analyzers.failing = {f"p-{n}": "crashed" for n in range(3)}
        analyzers.gate = asyncio.Event()
        await distributor.accept(body_of(3, prefix="p"))
        spool.failing = True
        analyzers.gate.set()
        await until(lambda: len(analyzers.got) == 3)
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert await distributor.dead_letters(10) == []
        spool.failing = False
        await settled(distributor)
        stored = spool.failed()
        assert len(stored) == 3
        assert [seq for seq, *_ in await distributor.dead_letters(10)] == [seq for _, seq in stored[::-1]]
        spool.failing = True
        cleaning = asyncio.create_task(distributor.clean_up())
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert len(await distributor.dead_letters(10)) == len(spool.failed()) == 3
        spool.failing = False
        await cleaning
        assert len(await distributor.dead_letters(10)) == len(spool.failed()) == 1
    finally:
        await distributor.aclose()


# Everything at once


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_every_packet_is_delivered_once_or_dead(tmp_path, times, monkeypatch, seed):
    """Failing packets, analyzers and disks, people at the controls, restarts: the ledger stays right."""
    analyzers = Bookkeepers()
    monkeypatch.setattr(Books, "pause", 0.001)
    dice = random.Random(seed)
    acknowledged, unsure = set(), set()
    settings = {"batch_packets": 7, "max_memory_bytes": 3000, "drain_timeout": 60, "errors_to_fall": 3}
    sent = 0
    for _ in range(3):
        spool = TroubledSpool(tmp_path, "os")
        distributor = await started(spool, analyzers, times, **settings)
        for _ in range(60):
            match dice.randrange(9):
                case 0 | 1 | 2:
                    n = dice.choice((1, 3, 30))
                    body = body_of(n, prefix=f"p{sent}", text="x" * dice.choice((1, 100)))
                    sent += 1
                    try:
                        receipt = await distributor.accept(body)
                    except NotStored:
                        unsure |= {packet["id"] for packet in msgspec.json.decode(body)}
                    else:
                        acknowledged |= set(receipt.accepted)
                        chosen = [id_ for id_ in receipt.accepted if dice.random() < 0.2]
                        analyzers.failing |= dict.fromkeys(chosen, "crashed")
                case 3:
                    id_ = dice.choice(list(distributor.fleet.members))
                    distributor.control(id_, dice.choice((None, "down", "up", "drain")))
                case 4:
                    analyzers.broken = {
                        id_: "answered 500" for id_ in ("a1", "a2", "a3") if dice.random() < 0.4
                    }
                case 5:
                    analyzers.ill = {id_: "ill" for id_ in distributor.fleet.members if dice.random() < 0.3}
                    await distributor.check_health()
                case 6:
                    times.advance(dice.choice((1, 2, 5)))
                    distributor.tick()
                case 7:
                    analyzers.failing = dict(list(analyzers.failing.items())[::2])
                case 8:
                    spool.failing = dice.random() < 0.4
            if dice.random() < 0.5:
                await asyncio.sleep(dice.choice((0, 0.001, 0.003)))
        spool.failing = False
        analyzers.broken, analyzers.ill = {}, {}
        await distributor.aclose()

    async with running(tmp_path, analyzers, times, **settings) as distributor:
        for analyzer in distributor.fleet.members.values():
            distributor.control(analyzer.config.id, None)

        def all_done():
            times.advance(60)
            distributor.tick()
            return books(distributor)["pending"] == 0

        await until(all_done)
        figures = figures_of(distributor)
        dead = {msgspec.json.decode(body)["id"] for _, body, *_ in await distributor.dead_letters(1000, None)}
        assert distributor.admission.packets == distributor.admission.bytes == held_bytes(distributor) == 0

    processed = set(analyzers.processed)
    assert set(analyzers.processed.values()) == {1}
    assert not processed & dead
    assert acknowledged <= processed | dead <= acknowledged | unsure
    assert len(acknowledged) > 100
    assert figures["conservation_error"] == 0
    assert figures["dead"] == len(dead)
    assert figures["accepted"] == figures["delivered"] + figures["dead"]
    assert sum(one["first_assigned"] for one in figures["analyzers"].values()) == figures["accepted"]
    assert sum(one["processed_count"] for one in figures["analyzers"].values()) == figures["delivered"]
