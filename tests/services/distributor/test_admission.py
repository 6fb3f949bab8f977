"""What may come in: rates, ids that are known, room, groups; without a spool and without a network."""

import asyncio
import json
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import ManualClock
from penstock.ratelimit import TokenBucket
from penstock.services.distributor.admission import Admission, NotStored, TooFast
from penstock.services.distributor.config import AnalyzerConfig, Config, GroupConfig, Match
from penstock.services.distributor.packets import Message, UnreadableRequest
from penstock.services.distributor.records import RecordBundler, record
from penstock.services.distributor.room import Room
from penstock.services.distributor.router import Router
from penstock.services.distributor.spool import SpoolError

ANALYZERS = (AnalyzerConfig("a", url="http://a/"), AnalyzerConfig("b", url="http://b/", group="errors"))
ERRORS = GroupConfig("errors", match=Match(min_level="ERROR"), balance="sticky")


@pytest.fixture
def clock():
    return ManualClock()


def admission(clock, **settings):
    config = Config(**settings)
    return Admission(config, clock, Router(config.groups))


def body_of(*ids, text="x", **message):
    packets = [{"messages": [{"message": text} | message]} | ({"id": id_} if id_ else {}) for id_ in ids]
    return json.dumps(packets).encode()


def records_of(count, **more):
    return [record(Message(f"line {number}", **more)) for number in range(count)]


def bundle_of(records, ids=None, **settings):
    return RecordBundler(Config(**settings), Router(())).bundle(records, ids)


def admit(admission, *ids, **more):
    """Admits packets that are stored at once, and returns their receipt."""
    admitted = admission.admit(body_of(*ids, **more))
    admission.stored(admitted.fresh)
    return admitted.receipt


# Numbers


def test_packets_are_numbered_in_order_from_where_the_last_process_ended(clock):
    gate = admission(clock)
    gate.resume(41, packets=3, size=100, ids=[], now_ms=0)
    assert [packet.seq for packet in gate.admit(body_of("a", "b")).fresh] == [42, 43]
    assert gate.next_seq() == 44
    assert [packet.seq for packet in gate.admit_records(bundle_of(records_of(1))).fresh] == [45]
    assert gate.packets == 6


def test_what_is_in_is_counted_until_it_has_left_or_was_not_stored(clock):
    gate = admission(clock)
    fresh = gate.admit(body_of("a", "b", None)).fresh
    assert (gate.packets, gate.bytes) == (3, sum(packet.size for packet in fresh))
    gate.stored(fresh[:2])
    gate.not_stored(fresh[2:], SpoolError("full"))
    assert gate.packets == 2
    gate.left(1, fresh[0].size)
    gate.came_back(1, 10)
    assert (gate.packets, gate.bytes) == (2, fresh[1].size + 10)


# Ids that are known


async def test_id_that_was_stored_is_accepted_and_not_stored_again(clock):
    gate = admission(clock)
    assert admit(gate, "a").accepted == ["a"]
    again = gate.admit(body_of("b", "a", "c"))
    assert again.receipt.accepted == ["b", "a", "c"]
    assert [packet.id for packet in again.fresh] == ["b", "c"]
    assert (again.duplicates, again.waits) == (1, [])


async def test_id_that_is_being_stored_is_waited_for(clock):
    gate = admission(clock)
    first = gate.admit(body_of("a"))
    second, third = gate.admit(body_of("a")), gate.admit(body_of("a", "b"))
    assert [packet.id for packet in second.fresh + third.fresh] == ["b"]
    assert not any(wait.done() for wait in second.waits + third.waits)
    gate.stored(first.fresh)
    await asyncio.gather(*second.waits, *third.waits)


async def test_whoever_waits_learns_that_it_was_not_stored_and_may_send_it_again(clock):
    gate = admission(clock)
    first, second = gate.admit(body_of("a")), gate.admit(body_of("a"))
    gate.not_stored(first.fresh, SpoolError("no room on the disk"))
    with pytest.raises(SpoolError, match="no room"):
        await second.waits[0]
    assert len(gate.admit(body_of("a")).fresh) == 1


async def test_whoever_stopped_waiting_does_not_matter(clock):
    gate = admission(clock)
    first, second, third = (gate.admit(body_of("a", "b")) for _ in range(3))
    second.waits[0].cancel()
    third.waits[1].cancel()
    gate.stored(first.fresh[:1])
    gate.not_stored(first.fresh[1:], SpoolError("full"))
    outcomes = await asyncio.gather(*second.waits, *third.waits, return_exceptions=True)
    assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) == 2


def test_ids_are_known_for_the_window_only(clock):
    gate = admission(clock, dedupe_window=10)
    admit(gate, "a")
    clock.advance(9)
    assert gate.admit(body_of("a")).duplicates == 1
    clock.advance(2)
    gate.forget_old_ids()
    assert gate.admit(body_of("a")).duplicates == 0


def test_ids_of_an_earlier_process_are_known_for_what_is_left_of_the_window(clock):
    gate = admission(clock, dedupe_window=10)
    gate.resume(7, 0, 0, [("old", 1_000), ("young", 8_000)], now_ms=10_000)
    assert gate.admit(body_of("old", "young")).duplicates == 2
    clock.advance(2)
    admitted = gate.admit(body_of("old", "young"))
    assert [packet.id for packet in admitted.fresh] == ["old"]


def test_ids_of_ours_are_never_duplicates(clock):
    gate = admission(clock)
    for _ in range(3):
        admitted = gate.admit(body_of(None, None))
        assert (len(admitted.fresh), admitted.duplicates) == (2, 0)
        gate.stored(admitted.fresh)


# Rates


def test_rate_of_all_refuses_whole_requests_and_says_when(clock):
    gate = admission(clock, rate_limit=10, max_packets=10)
    admit(gate, *[None] * 10)
    with pytest.raises(TooFast, match="at most 10 packets a second") as refused:
        gate.admit(body_of(*[None] * 5))
    assert refused.value.retry_after == 0.5
    assert gate.packets == 10
    clock.advance(0.5)
    admit(gate, *[None] * 5)


def test_rate_of_a_client_is_beside_that_of_all_and_takes_nothing_of_it_when_it_refuses(clock):
    gate = admission(clock, rate_limit=10, max_packets=10)
    mine = TokenBucket(2, 4, clock=clock)
    for _ in range(2):
        gate.admit(body_of(None, None), mine)
    with pytest.raises(TooFast, match="at most 2 packets a second") as refused:
        gate.admit(body_of(None, None), mine)
    assert refused.value.retry_after == 1.0
    gate.admit(body_of(*[None] * 6))
    with pytest.raises(TooFast, match="at most 10 packets"):
        gate.admit(body_of(None))


def test_rate_of_all_takes_nothing_of_a_clients_when_it_refuses(clock):
    gate = admission(clock, rate_limit=1, max_packets=4)
    mine = TokenBucket(4, 4, clock=clock)
    gate.admit(body_of(*[None] * 4))
    with pytest.raises(TooFast, match="at most 1 packets"):
        gate.admit(body_of(None, None), mine)
    assert mine.tokens == 4


def test_request_that_is_larger_than_a_clients_burst_is_taken_from_a_full_bucket(clock):
    mine = TokenBucket(2, 2, clock=clock)
    gate = admission(clock)
    assert len(gate.admit(body_of(*[None] * 5), mine).fresh) == 5
    with pytest.raises(TooFast):
        gate.admit(body_of(None), mine)


def test_records_pay_by_the_packets_that_they_are_in(clock):
    mine = TokenBucket(1, 2, clock=clock)
    gate = admission(clock, max_messages=10)
    gate.admit_records(bundle_of(records_of(20), max_messages=10), mine)
    assert mine.tokens == 0
    with pytest.raises(TooFast):
        gate.admit_records(bundle_of(records_of(1)), mine)


# Room


def test_packets_beyond_the_bound_are_refused_one_by_one_in_the_order_of_the_request(clock):
    gate = admission(clock, max_pending=5, max_messages=1)
    two = {"messages": [{"message": "x"}] * 2, "id": "two"}
    packets = [{"messages": [{"message": "x"}], "id": f"p{n}"} for n in range(8)]
    receipt = gate.admit(json.dumps([*packets[:6], two, *packets[6:]]).encode()).receipt
    assert receipt.accepted == [f"p{n}" for n in range(5)]
    assert [(one.index, one.id, one.code) for one in receipt.refused] == [
        (5, "p5", "queue_full"), (6, "two", "too_large"), (7, "p6", "queue_full"), (8, "p7", "queue_full"),
    ]  # fmt: skip
    assert "5 packets are waiting already, at most 5 are held" in receipt.refused[0].error


def test_known_packets_need_no_room(clock):
    gate = admission(clock, max_pending=2)
    admit(gate, "a", "b")
    receipt = admit(gate, "a", "c", "b")
    assert receipt.accepted == ["a", "b"]
    assert [one.id for one in receipt.refused] == ["c"]


def test_smaller_packet_may_fit_where_a_larger_one_did_not(clock):
    gate = admission(clock, max_pending_bytes=300)
    large, small = ({"messages": [{"message": "x" * n}], "id": f"p{n}"} for n in (250, 10))
    receipt = gate.admit(json.dumps([large, small]).encode()).receipt
    assert receipt.accepted == ["p10"]
    assert "bytes are waiting already, at most 300 are held" in receipt.refused[0].error


def test_after_it_was_full_nothing_comes_in_before_the_low_water_mark(clock):
    gate = admission(clock, max_pending=100, low_water=0.8)
    size = gate.admit(body_of(*[None] * 100)).fresh[0].size
    assert gate.admit(body_of(None)).fresh == []
    for left in (99, 90, 80):
        gate.left(gate.packets - left, size)
        refused = gate.admit(body_of(None)).receipt.refused
        assert refused[0].error.endswith("at most 100 are held, and more are taken below 80")
    gate.left(1, size)
    assert len(gate.admit(body_of(*[None] * 21)).fresh) == 21


def test_full_is_full_only_once_somebody_was_refused(clock):
    gate = admission(clock, max_pending=100, low_water=0.5)
    gate.admit(body_of(*[None] * 100))
    gate.left(1, 1)
    assert len(gate.admit(body_of(None)).fresh) == 1


def test_records_are_taken_all_or_none_but_for_those_that_are_refused(clock):
    limits = {"max_messages": 10, "max_record_bytes": 20}
    gate = admission(clock, max_pending=3, **limits)
    long = record(Message("x" * 21))
    admitted = gate.admit_records(bundle_of([*records_of(15), long], "a", **limits))
    assert admitted.receipt.accepted == 15
    assert [one.index for one in admitted.receipt.refused] == [15]
    assert admitted.receipt.packets == ["a.0", "a.1"] == [packet.id for packet in admitted.fresh]
    gate.stored(admitted.fresh)
    with pytest.raises(NotStored, match="2 packets are waiting already, at most 3 are held") as refused:
        gate.admit_records(bundle_of(records_of(15), "b", **limits))
    assert refused.value.retry_after >= 1
    assert gate.packets == 2
    assert gate.admit_records(bundle_of(records_of(15), "a", **limits)).duplicates == 2
    assert len(gate.admit_records(bundle_of(records_of(1))).fresh) == 1


async def test_records_of_an_id_that_is_being_stored_are_waited_for(clock):
    gate = admission(clock)
    first, second = (gate.admit_records(bundle_of(records_of(3), "chunk")) for _ in range(2))
    assert (second.fresh, second.duplicates, len(second.waits)) == ([], 1, 1)
    gate.stored(first.fresh)
    await second.waits[0]
    assert second.receipt == first.receipt


def test_retry_after_is_what_draining_to_the_mark_takes_at_the_pace_of_late(clock):
    gate = admission(clock, max_pending=1000, low_water=0.5)
    gate.admit(body_of(*[None] * 1000))
    gate.admit(body_of(None))
    assert gate.retry_after() == 10, "nothing leaves"
    for _ in range(5):
        gate.left(20, 20)
        clock.advance(1)
    gate.left(0, 0)
    assert gate.retry_after() == pytest.approx(400 / (100 / 6))
    clock.advance(100)
    assert gate.retry_after() == 10
    gate.left(1, 1)
    assert gate.retry_after() == 60, "not longer than that"
    gate.left(899, 1)
    assert gate.retry_after() == 1


def test_reload_takes_other_bounds_rates_limits_and_rules(clock):
    gate = admission(clock, max_pending=1)
    admit(gate, None)
    assert admit(gate, None).refused[0].code == "queue_full"
    config = Config(max_pending=2, rate_limit=5, max_messages=1, analyzers=ANALYZERS, groups=(ERRORS,))
    gate.change(config, Router(config.groups))
    admitted = gate.admit(body_of(None, level="ERROR"))
    assert [packet.group for packet in admitted.fresh] == ["errors"]
    gate.left(2, 2)
    two = [{"messages": [{"message": "x"}] * 2}]
    assert gate.admit(json.dumps(two).encode()).receipt.refused[0].code == "too_large"
    gate.change(Config(max_pending=2, rate_limit=5), Router(()))
    gate.admit(body_of(*[None] * 900))
    with pytest.raises(TooFast, match="at most 5 packets a second"):
        gate.admit(body_of(*[None] * 900))


@given(
    st.lists(st.tuples(st.integers(-30, 30), st.integers(1, 50)), max_size=60),
    st.sampled_from([0.3, 0.95, 1]),
)
def test_room_never_holds_more_than_its_bounds_and_opens_below_the_mark(steps, low_water):
    room = Room(Config(max_pending=100, max_pending_bytes=2000, low_water=low_water), ManualClock())
    refused = False
    for packets, size in steps:
        if packets < 0:
            leaving = min(-packets, room.packets)
            room.leave(leaving, min(leaving * size, room.bytes) if room.packets > leaving else room.bytes)
        elif room.fits(packets, packets * size):
            assert not (refused and room.is_shut)
            room.count(packets, packets * size)
        else:
            refused = True
            assert "are held" in room.refuse(packets, packets * size)
        assert 0 <= room.packets <= 100
        assert 0 <= room.bytes <= 2000
        if room.packets < 100 * low_water and room.bytes < 2000 * low_water:
            assert not room.is_shut


# Groups


def test_packet_is_of_the_first_group_that_any_of_its_messages_is_for(clock):
    gate = admission(clock, analyzers=ANALYZERS, groups=(ERRORS,))
    packets = [
        {"messages": [{"message": "x", "source": "s"}, {"message": "y", "level": "FATAL"}]},
        {"messages": [{"message": "x", "source": "s"}]},
    ]
    fresh = gate.admit(json.dumps(packets).encode()).fresh
    assert [(packet.group, packet.key) for packet in fresh] == [("errors", "s"), ("default", None)]


# Decisions are quick


def test_unreadable_request_changes_nothing(clock):
    gate = admission(clock, rate_limit=10)
    for _ in range(100):
        with pytest.raises(UnreadableRequest):
            gate.admit(b"[{}")
    assert gate.packets == 0


def test_decision_that_there_is_no_room_takes_a_few_milliseconds_at_most(clock):
    gate = admission(clock, max_pending=1)
    gate.admit(body_of(None, None))
    body = body_of(*[None] * 1000, text="x" * 1000)
    times = []
    for _ in range(20):
        start = perf_counter()
        receipt = gate.admit(body).receipt
        times.append(perf_counter() - start)
        assert len(receipt.refused) == 1000
    assert min(times) < 0.010, "seconds; 0.6 ms where nothing else runs"
