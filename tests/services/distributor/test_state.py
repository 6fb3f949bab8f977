"""What the distributor promises about packets, without a network and on a clock moved by hand."""

import asyncio
import threading
from collections import Counter

import msgspec
import pytest

from penstock.services.distributor import letters
from penstock.services.distributor.admission import NotStored, TooFast
from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.packets import UnreadableRequest
from penstock.services.distributor.spool import Spool, SpoolError
from penstock.services.distributor.state import Distributor
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

# Accepting and delivering


async def test_accepted_packets_are_delivered(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        receipt = await distributor.accept(body_of(10, prefix="p"))
        assert receipt.accepted == [f"p-{n}" for n in range(10)]
        assert receipt.refused == []
        await settled(distributor)
        assert sorted(analyzers.ids()) == sorted(receipt.accepted)
        assert books(distributor) == {
            "accepted": 10, "delivered": 10, "dead": 0, "pending": 0, "conservation_error": 0,
        }  # fmt: skip


async def test_packet_without_an_id_gets_one_that_no_other_has(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        first = await distributor.accept(body_of(1000))
    async with running(tmp_path, analyzers) as distributor:
        second = await distributor.accept(body_of(1000))
    assert len({*first.accepted, *second.accepted}) == 2000


async def test_hundred_thousand_packets_are_shared_exactly(tmp_path, analyzers):
    """Shown by 3: first assignments of 100,000 packets are exactly 40, 30, 20 and 10 %."""
    async with running(tmp_path, analyzers, max_pending=1_000_000, max_packets=1000) as distributor:
        requests = [body_of(1000, text="x") for _ in range(100)]
        await asyncio.gather(*(distributor.accept(request) for request in requests))
        await settled(distributor)
        figures = figures_of(distributor)["analyzers"]
        assert {id_: one["first_assigned"] for id_, one in figures.items()} == {
            "a1": 40_000, "a2": 30_000, "a3": 20_000, "a4": 10_000,
        }  # fmt: skip
        assert Counter(name for name, _, _ in analyzers.got) == {
            "a1": 40_000, "a2": 30_000, "a3": 20_000, "a4": 10_000,
        }  # fmt: skip
        assert all(one["share_error_packets"] == 0 for one in figures.values())


async def test_every_ten_packets_are_shared_exactly_over_restarts(tmp_path, analyzers):
    for _ in range(5):
        async with running(tmp_path, analyzers) as distributor:
            await distributor.accept(body_of(3))
            await settled(distributor)
            await distributor.accept(body_of(5))
            await settled(distributor)
    assert Counter(name for name, _, _ in analyzers.got) == {"a1": 16, "a2": 12, "a3": 8, "a4": 4}


async def test_body_reaches_the_analyzer_as_it_was_sent(tmp_path):
    seen = []

    class Keeping(FakeAnalyzers):
        async def deliver(self, analyzer, packets):
            seen.extend(packet.body for packet in packets)
            return {}

    message = {
        "level": "INFO", "message": "ünïcödé \u2028 \n", "source": "s", "id": "m1",
        "timestamp": "2025-01-25T20:30:45.123456789Z",
        "metadata": {"big": 123456789012345678901234567890, "deep": {"a": [1, None, True]}},
    }  # fmt: skip
    async with running(tmp_path, Keeping()) as distributor:
        await distributor.accept(
            msgspec.json.format(msgspec.json.encode([{"id": "p", "messages": [message]}]))
        )
        await settled(distributor)
    assert msgspec.json.decode(seen[0]) == {"id": "p", "messages": [message]}
    assert b"\n" not in seen[0]


async def test_caller_that_gives_up_waiting_loses_nothing(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        call = asyncio.create_task(distributor.accept(body_of(1, prefix="p")))
        await asyncio.sleep(0)
        call.cancel()
        await until(lambda: analyzers.ids() == ["p-0"])
        assert books(distributor)["conservation_error"] == 0


# Duplicates


async def test_same_id_sent_again_is_accepted_and_not_delivered_twice(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times) as distributor:
        await distributor.accept(body_of(2, prefix="p"))
        await settled(distributor)
        receipt = await distributor.accept(body_of(3, prefix="p"))
        assert receipt.accepted == ["p-0", "p-1", "p-2"]
        await settled(distributor)
        assert sorted(analyzers.ids()) == ["p-0", "p-1", "p-2"]
        assert figures_of(distributor)["duplicates"] == 2


async def test_same_id_sent_at_the_same_time_is_stored_once(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        receipts = await asyncio.gather(*(distributor.accept(body_of(1, prefix="p")) for _ in range(20)))
        assert all(receipt.accepted == ["p-0"] for receipt in receipts)
        await settled(distributor)
        assert analyzers.ids() == ["p-0"]


async def test_ids_are_known_over_a_restart_until_the_window_has_passed(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
    times.wall.now = 10**9 * (times.wall.now // 10**9)
    async with running(tmp_path, analyzers, times) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
        assert analyzers.ids() == ["p-0"]
        times.advance(distributor.config.dedupe_window + 1)
        await distributor.clean_up()
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
        assert analyzers.ids() == ["p-0", "p-0"]


async def test_same_id_twice_in_a_request_is_refused_the_second_time(tmp_path, analyzers):
    packet = {"id": "p", "messages": [{"message": "x"}]}
    async with running(tmp_path, analyzers) as distributor:
        receipt = await distributor.accept(msgspec.json.encode([packet, packet]))
        assert receipt.accepted == ["p"]
        assert [(refusal.index, refusal.code) for refusal in receipt.refused] == [(1, "duplicate_in_request")]


# Retries and dead letters


async def test_failed_packet_is_tried_again_after_2_4_and_8_seconds_and_then_given_up(
    tmp_path, analyzers, times
):
    analyzers.failing["p-0"] = "crashed"
    async with running(tmp_path, analyzers, times) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
        for attempt, delay in enumerate((2, 4, 8), start=1):
            assert len(analyzers.got) == attempt
            times.advance(delay - 0.001)
            distributor.tick()
            await settled(distributor)
            assert len(analyzers.got) == attempt, "too early"
            times.advance(0.001)
            distributor.tick()
            await settled(distributor)
        assert [retry_count for _, _, retry_count in analyzers.got] == [0, 1, 2, 3]
        assert books(distributor) == {
            "accepted": 1, "delivered": 0, "dead": 1, "pending": 0, "conservation_error": 0,
        }  # fmt: skip
        [(_, body, failures, error, failed_at_ms)] = await distributor.dead_letters(10, None)
        assert msgspec.json.decode(body)["id"] == "p-0"
        assert (failures, error) == (4, "crashed")
        assert failed_at_ms == times.wall.now // 10**6


async def test_retry_goes_to_another_analyzer_when_there_is_one(tmp_path, analyzers, times):
    analyzers.failing["p-0"] = "crashed"
    async with running(tmp_path, analyzers, times) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
        times.advance(2)
        distributor.tick()
        await settled(distributor)
        (first, _, _), (second, _, _) = analyzers.got
        assert first != second


async def test_retries_bend_no_share(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times) as distributor:
        analyzers.failing = {f"p-{n}": "crashed" for n in range(0, 1000, 3)}
        await distributor.accept(body_of(1000, prefix="p"))
        await settled(distributor)
        analyzers.failing = {}
        times.advance(2)
        distributor.tick()
        await settled(distributor)
        await distributor.accept(body_of(1000))
        await settled(distributor)
        stats = figures_of(distributor)
        assert stats["delivered"] == 2000
        assert [one["first_assigned"] for one in stats["analyzers"].values()] == [800, 600, 400, 200]


async def test_only_the_failed_packets_of_a_delivery_are_retried(tmp_path, analyzers, times):
    analyzers.failing["p-1"] = "crashed"
    async with running(tmp_path, analyzers, times, weights={"a1": 1}) as distributor:
        await distributor.accept(body_of(3, prefix="p"))
        await settled(distributor)
        del analyzers.failing["p-1"]
        times.advance(2)
        distributor.tick()
        await settled(distributor)
        assert Counter(analyzers.ids()) == {"p-0": 1, "p-1": 2, "p-2": 1}


async def test_retries_and_their_times_survive_a_restart(tmp_path, analyzers, times):
    analyzers.failing["p-0"] = "crashed"
    async with running(tmp_path, analyzers, times) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
    times.advance(1.5)
    async with running(tmp_path, analyzers, times) as distributor:
        await settled(distributor)
        assert len(analyzers.got) == 1
        times.advance(0.499)
        distributor.tick()
        await settled(distributor)
        assert len(analyzers.got) == 1
        times.advance(0.001)
        distributor.tick()
        await settled(distributor)
        assert analyzers.got[-1][1:] == ("p-0", 1)


async def test_oldest_dead_letters_are_purged_and_counted_beyond_the_bound(tmp_path, analyzers, times):
    analyzers.failing = {f"p-{n}": "crashed" for n in range(5)}
    async with running(tmp_path, analyzers, times, max_attempts=1, max_dead_letters=3) as distributor:
        await distributor.accept(body_of(5, prefix="p"))
        await settled(distributor)
        await distributor.clean_up()
        letters = await distributor.dead_letters(10, None)
        assert [msgspec.json.decode(body)["id"] for _, body, *_ in letters] == ["p-4", "p-3", "p-2"]
        assert figures_of(distributor)["purged"] == 2
        assert books(distributor)["conservation_error"] == 0


async def dead_ids(distributor, *query):
    letters = await distributor.dead_letters(100, *query)
    return [msgspec.json.decode(body)["id"] for _, body, *_ in letters]


async def fail_in_turn(distributor, analyzers, times, seconds):
    """One packet after the other becomes a dead letter, the wall clock moved before each."""
    for number, moved in enumerate(seconds):
        times.wall.advance(moved)
        analyzers.failing[f"p{number}-0"] = "crashed"
        await distributor.accept(body_of(1, prefix=f"p{number}"))
        await settled(distributor)


async def test_dead_letters_are_in_the_order_of_failing_over_a_restart_too(tmp_path, analyzers, times):
    settings = {"max_attempts": 1, "max_dead_letters": 3}
    async with running(tmp_path, analyzers, times, **settings) as distributor:
        await fail_in_turn(distributor, analyzers, times, [10, -4, 0, 1, -7])  # at 10, 6, 6, 7 and 0 seconds
        assert await dead_ids(distributor) == ["p0-0", "p3-0", "p2-0", "p1-0", "p4-0"]
        whole = await distributor.dead_letters(100)
    async with running(tmp_path, analyzers, times, **settings) as distributor:
        assert await distributor.dead_letters(100) == whole
        await distributor.clean_up()
        assert await dead_ids(distributor) == ["p0-0", "p3-0", "p2-0"], "those that failed first are purged"
    async with running(tmp_path, analyzers, times, **settings) as distributor:
        assert await dead_ids(distributor) == ["p0-0", "p3-0", "p2-0"]
        assert figures_of(distributor)["purged"] == 2


async def test_page_after_a_letter_holds_what_failed_before_it(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times, max_attempts=1, max_dead_letters=4) as distributor:
        await fail_in_turn(distributor, analyzers, times, [10, -4, 0, 1, -7])
        seqs = [seq for seq, *_ in await distributor.dead_letters(100)]
        for place, seq in enumerate(seqs):
            assert [after for after, *_ in await distributor.dead_letters(2, seq)] == seqs[
                place + 1 : place + 3
            ]
        last = seqs[-1]
        await distributor.clean_up()
        assert await distributor.dead_letters(100, last) == [], "what came after it is purged, too"


async def test_two_clean_ups_at_once_purge_and_count_once(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times, max_attempts=1, max_dead_letters=2) as distributor:
        await fail_in_turn(distributor, analyzers, times, [1, 1, 1, 1, 1])
        await asyncio.gather(*(distributor.clean_up() for _ in range(3)))
        assert await dead_ids(distributor) == ["p4-0", "p3-0"]
        assert figures_of(distributor)["purged"] == 3


async def test_many_dead_letters_are_purged_in_commits_of_a_few(tmp_path, analyzers, times, monkeypatch):
    monkeypatch.setattr(letters, "MAX_PURGED_AT_ONCE", 2)
    async with running(tmp_path, analyzers, times, max_attempts=1, max_dead_letters=1) as distributor:
        await fail_in_turn(distributor, analyzers, times, [1] * 8)
        commits = []
        commit = distributor._spool.commit
        monkeypatch.setattr(
            distributor._spool, "commit", lambda change: (commits.append(len(change.purged)), commit(change))
        )
        await asyncio.gather(*(distributor.clean_up() for _ in range(3)))
        assert await dead_ids(distributor) == ["p7-0"]
        assert [count for count in commits if count] == [2, 2, 2, 1]
        assert figures_of(distributor)["purged"] == 7


# Health


async def test_analyzer_is_down_after_two_failed_probes_and_gets_nothing(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        await until(lambda: analyzers.probes == 4)
        analyzers.ill["a1"] = "no answer"
        await distributor.check_health()
        assert distributor.fleet["a1"].is_up
        await distributor.check_health()
        assert not distributor.fleet["a1"].is_up
        assert distributor.status == "degraded"
        await distributor.accept(body_of(600))
        await settled(distributor)
        assert Counter(name for name, _, _ in analyzers.got) == {"a2": 300, "a3": 200, "a4": 100}
        analyzers.ill.clear()
        await distributor.check_health()
        assert distributor.fleet["a1"].is_up
        assert distributor.status == "healthy"


async def test_analyzer_is_down_after_five_failed_deliveries_in_a_row(tmp_path, analyzers, times):
    analyzers.broken["a1"] = "answered 500"
    async with running(tmp_path, analyzers, times, weights={"a1": 1, "a2": 1}) as distributor:
        for round_ in range(5):
            assert distributor.fleet["a1"].is_up, round_
            await distributor.accept(body_of(2))
            await settled(distributor)
        assert not distributor.fleet["a1"].is_up
        assert distributor.fleet["a1"].last_error == "answered 500"
        times.advance(10)
        distributor.tick()
        await settled(distributor)
        assert books(distributor)["delivered"] == 10


async def test_queue_of_an_analyzer_that_falls_goes_to_the_others(tmp_path, analyzers):
    analyzers.gate = asyncio.Event()
    async with running(tmp_path, analyzers, concurrency=1, batch_packets=10) as distributor:
        await distributor.accept(body_of(1000, prefix="p"))
        await until(lambda: analyzers.begun == 4)
        distributor.control("a1", "down")
        analyzers.gate.set()
        await settled(distributor)
        assert len(analyzers.ids("a1")) == 10, "only what was on its way"
        assert len(set(analyzers.ids())) == len(analyzers.ids()) == 1000


async def test_packets_wait_while_no_analyzer_is_up_and_use_up_no_attempt(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times) as distributor:
        for analyzer in distributor.fleet.members.values():
            distributor.control(analyzer.config.id, "down")
        assert distributor.status == "unhealthy"
        receipt = await distributor.accept(body_of(10, prefix="p"))
        assert len(receipt.accepted) == 10
        times.advance(1000)
        distributor.tick()
        await asyncio.sleep(0.01)
        assert analyzers.got == []
        for analyzer in distributor.fleet.members.values():
            distributor.control(analyzer.config.id, None)
        await until(lambda: len(analyzers.got) == 10)
        assert {retry_count for _, _, retry_count in analyzers.got} == {0}
        await settled(distributor)
        assert sum(one["first_assigned"] for one in figures_of(distributor)["analyzers"].values()) == 10


async def test_packets_that_nobody_could_take_survive_a_restart(tmp_path, analyzers):
    async with running(tmp_path, analyzers, probes_to_fall=1) as distributor:
        await until(lambda: analyzers.probes == 4)
        analyzers.ill = dict.fromkeys(distributor.fleet.members, "no answer")
        await distributor.check_health()
        await distributor.accept(body_of(10, prefix="p"))
        analyzers.ill = {}
    async with running(tmp_path, analyzers) as distributor:
        await until(lambda: len(analyzers.got) == 10)
        await settled(distributor)
        shares = [one["first_assigned"] for one in figures_of(distributor)["analyzers"].values()]
        assert shares == [4, 3, 2, 1]


async def test_analyzer_held_down_by_a_person_stays_down_when_its_probe_succeeds(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        distributor.control("a1", "down")
        await distributor.check_health()
        assert not distributor.fleet["a1"].is_up
        distributor.control("a1", None)
        assert distributor.fleet["a1"].is_up


async def test_share_error_stays_below_two_packets_while_analyzers_come_and_go(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        for round_ in range(100):
            id_ = f"a{round_ % 4 + 1}"
            distributor.control(id_, "down")
            await distributor.accept(body_of(7))
            distributor.control(id_, None)
            await distributor.accept(body_of(7))
        await settled(distributor)
        analyzers_ = figures_of(distributor)["analyzers"].values()
        assert max(abs(one["share_error_packets"]) for one in analyzers_) < 2
        assert books(distributor) == {
            "accepted": 1400, "delivered": 1400, "dead": 0, "pending": 0, "conservation_error": 0,
        }  # fmt: skip


# Bounds


async def test_packets_beyond_the_bound_are_refused_one_by_one(tmp_path, analyzers):
    analyzers.gate = asyncio.Event()
    async with running(tmp_path, analyzers, max_pending=5) as distributor:
        receipt = await distributor.accept(body_of(8, prefix="p"))
        assert receipt.accepted == [f"p-{n}" for n in range(5)]
        assert {refusal.code for refusal in receipt.refused} == {"queue_full"}
        assert [refusal.index for refusal in receipt.refused] == [5, 6, 7]
        analyzers.gate.set()
        await settled(distributor)
        receipt = await distributor.accept(body_of(8, prefix="p"))
        assert len(receipt.accepted) == 8, "five known ones and three that have room now"
        assert books(distributor)["accepted"] == 8


async def test_bytes_beyond_the_bound_are_refused(tmp_path, analyzers):
    analyzers.gate = asyncio.Event()
    async with running(tmp_path, analyzers, max_pending_bytes=1000) as distributor:
        receipt = await distributor.accept(body_of(10, text="x" * 200))
        assert 0 < len(receipt.accepted) < 10
        assert all("bytes are waiting" in refusal.error for refusal in receipt.refused)
        analyzers.gate.set()


async def test_bodies_beyond_the_memory_bound_lie_on_disk_until_they_are_delivered(tmp_path, analyzers):
    analyzers.gate = asyncio.Event()
    async with running(tmp_path, analyzers, max_memory_bytes=5000, batch_packets=3) as distributor:
        await distributor.accept(body_of(100, prefix="p", text="x" * 500))
        assert 0 < held_bytes(distributor) < 5000 + 4 * 600, "each queue may take one packet beyond its part"
        assert len(distributor.fleet.held) < 16
        assert books(distributor)["pending"] == 100
        analyzers.gate.set()
        await settled(distributor)
        assert sorted(analyzers.ids()) == sorted(f"p-{n}" for n in range(100))
        assert held_bytes(distributor) == 0
        assert distributor.fleet.held == set()
        assert distributor.admission.bytes == distributor.admission.packets == 0


async def test_rate_limit_refuses_whole_requests_and_says_when_to_come_back(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times, rate_limit=10, max_packets=10) as distributor:
        await distributor.accept(body_of(10))
        with pytest.raises(TooFast, match="at most 10 packets a second") as refused:
            await distributor.accept(body_of(5))
        assert refused.value.retry_after == 0.5
        times.advance(0.5)
        assert len((await distributor.accept(body_of(5))).accepted) == 5


async def test_unreadable_request_stores_nothing(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        with pytest.raises(UnreadableRequest):
            await distributor.accept(b'[{"messages": [{"message": "x"}]}')
        assert books(distributor)["accepted"] == 0


# Storing


class FailingSpool(Spool):
    failing = False

    def commit(self, change):
        if self.failing:
            raise SpoolError("the spool cannot be written: disk full")
        super().commit(change)


async def test_full_disk_refuses_packets_and_nothing_is_counted_or_delivered(tmp_path, analyzers, times):
    spool = FailingSpool(tmp_path, "os")
    distributor = Distributor(config_of(), spool, analyzers, clock=times.clock, wall=times.wall)
    await distributor.start()
    try:
        spool.failing = True
        with pytest.raises(NotStored, match="disk full"):
            await distributor.accept(body_of(7, prefix="p"))
        assert books(distributor) == {
            "accepted": 0, "delivered": 0, "dead": 0, "pending": 0, "conservation_error": 0,
        }  # fmt: skip
        assert distributor.admission.packets == 0
        spool.failing = False
        receipt = await distributor.accept(body_of(10, prefix="p"))
        assert len(receipt.accepted) == 10
        await settled(distributor)
        shares = [one["first_assigned"] for one in figures_of(distributor)["analyzers"].values()]
        assert shares == [4, 3, 2, 1], "what was not stored has cost no share"
    finally:
        await distributor.aclose()


class SlowSpool(Spool):
    """Its commits wait for a gate."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.gate = threading.Event()

    def commit(self, change):
        assert self.gate.wait(60)
        super().commit(change)


async def test_slow_disk_is_answered_in_time_and_loses_nothing(tmp_path, analyzers, times):
    spool = SlowSpool(tmp_path, "os")
    config = config_of(accept_timeout=0.01)
    distributor = Distributor(config, spool, analyzers, clock=times.clock, wall=times.wall)
    await distributor.start()
    try:
        with pytest.raises(NotStored, match=r"not stored within 0\.01 s"):
            await distributor.accept(body_of(1, prefix="p"))
        spool.gate.set()
        await until(lambda: analyzers.ids() == ["p-0"])
    finally:
        spool.gate.set()
        await distributor.aclose()


async def test_shutting_down_refuses_new_packets_and_finishes_deliveries(tmp_path, analyzers):
    analyzers.gate = asyncio.Event()
    async with running(tmp_path, analyzers) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await until(lambda: any(a.in_flight for a in distributor.fleet.members.values()))
        draining = asyncio.create_task(distributor.drain())
        await asyncio.sleep(0)
        with pytest.raises(NotStored, match="shutting down"):
            await distributor.accept(body_of(1))
        analyzers.gate.set()
        await draining
        assert analyzers.ids() == ["p-0"]
        assert books(distributor)["pending"] == 0


async def test_clean_stop_and_restart_deliver_every_packet_once(tmp_path, analyzers):
    for round_ in range(5):
        async with running(tmp_path, analyzers, batch_packets=7) as distributor:
            await distributor.accept(body_of(200, prefix=f"r{round_}"))
    async with running(tmp_path, analyzers) as distributor:
        await settled(distributor)
        assert Counter(analyzers.ids()).most_common(1)[0][1] == 1
        assert len(analyzers.ids()) == 1000
        assert books(distributor) == {
            "accepted": 1000, "delivered": 1000, "dead": 0, "pending": 0, "conservation_error": 0,
        }  # fmt: skip
