"""Whatever the distributor answers, each packet is accepted once or refused with a reason."""

import asyncio
import gzip
import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from aiohttp import web

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from penstock.ratelimit import TokenBucket
from penstock.resilience.backoff import ExponentialBackoff
from penstock.services.replay.packets import Packer
from penstock.services.replay.parsers import Message
from penstock.services.replay.sender import GaveUp, NotADistributor, Sender, Unreachable
from stub_distributor import stub_distributor
from virtual_time import run_in_virtual_time

RUN = "run"


@pytest.fixture
async def stub():
    async with stub_distributor() as stub:
        yield stub


class Time:
    """A clock, and a sleep that moves it instead of waiting."""

    def __init__(self):
        self.clock = ManualClock(now=NANOSECONDS)
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def sender_to(time):
    def sender_to(url, **settings):
        settings.setdefault("backoff", ExponentialBackoff(0.5))
        settings.setdefault("concurrency", 1)
        return Sender(url, clock=time.clock, sleep=time.sleep, **settings)

    return sender_to


def batches(packets, packets_per_batch=10, messages_per_packet=1):
    texts = map(str, range(packets * messages_per_packet))
    messages = ((f"app.log:{text}", Message("INFO", text, "app.log")) for text in texts)
    return Packer(messages_per_packet, packets_per_batch, run=RUN).batches(messages)


def ids(*numbers):
    return [f"{RUN}-{number}" for number in numbers]


def sent_ids(stub):
    return [[packet["id"] for packet in body] for body in stub.bodies]


def answers(status, text="", **headers):
    async def answer(request, packets):
        return web.Response(status=status, text=text, headers=headers)

    return answer


def refuses(stub, codes):
    async def answer(request, packets):
        return stub.answer(packets, lambda index, packet: codes.get(index))

    return answer


async def test_every_packet_is_accepted_once_and_in_order(stub, sender_to):
    sender = sender_to(stub.url)
    await sender.send(batches(95, messages_per_packet=2))
    assert list(stub.packets) == ids(*range(1, 96))
    assert [message["message"] for message in stub.messages] == [str(n) for n in range(190)]
    assert (sender.tally.packets, sender.tally.accepted, sender.tally.accepted_messages) == (95, 95, 190)
    assert (sender.tally.refused.total(), sender.tally.unanswered, sender.tally.retried) == (0, 0, 0)


async def test_concurrent_requests_lose_and_double_nothing(stub, sender_to):
    sender = sender_to(stub.url, concurrency=8)
    await sender.send(batches(500))
    assert set(stub.packets) == set(ids(*range(1, 501)))
    assert (sender.tally.accepted, stub.repeated) == (500, 0)


async def test_no_more_requests_are_in_flight_than_asked_for(stub, sender_to):
    flying = most = 0

    async def linger(request, packets):
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.02)
        flying -= 1
        return stub.answer(packets)

    stub.script.extend([linger] * 20)
    await sender_to(stub.url, concurrency=3).send(batches(200))
    assert most == 3


async def test_batches_are_taken_only_when_one_can_be_sent(stub, sender_to):
    taken = 0

    def counted():
        nonlocal taken
        for batch in batches(100):
            taken += 1
            yield batch

    async def look(request, packets):
        seen.append(taken)
        return stub.answer(packets)

    seen = []
    stub.script.extend([look] * 10)
    await sender_to(stub.url).send(counted())
    assert seen == list(range(1, 11))


@pytest.mark.parametrize("status", [503, 429])
async def test_distributor_without_room_gets_the_same_packets_when_it_asks_for_them(
    stub, sender_to, time, status
):
    stub.script.append(answers(status, "draining", **{"Retry-After": "7"}))
    sender = sender_to(stub.url)
    await sender.send(batches(3))
    assert sent_ids(stub) == [ids(1, 2, 3)] * 2
    assert time.slept == [7]
    assert (sender.tally.accepted, sender.tally.retried) == (3, 3)


async def test_without_retry_after_the_waits_grow(stub, sender_to, time):
    stub.script.extend([answers(503), answers(500), answers(502), answers(408)])
    sender = sender_to(stub.url)
    await sender.send(batches(3))
    assert time.slept == [0.5, 1, 2, 4]
    assert sender.tally.accepted == 3


async def test_after_a_mixed_answer_only_packets_refused_for_room_are_sent_again(stub, sender_to):
    stub.script.append(refuses(stub, {1: "invalid", 2: "queue_full", 4: "queue_full"}))
    sender = sender_to(stub.url)
    await sender.send(batches(5))
    assert sent_ids(stub) == [ids(1, 2, 3, 4, 5), ids(3, 5)]
    assert sender.tally.accepted == 4
    assert sender.tally.refused == {"invalid": 1}
    (example,) = sender.tally.examples
    assert (example.packet.id, example.packet.origin, example.error) == (
        "run-2",
        "app.log:1",
        "it is invalid",
    )


async def test_packets_that_are_all_wrong_are_refused_and_not_sent_again(stub, sender_to):
    stub.script.append(refuses(stub, dict.fromkeys(range(5), "too_large")))
    sender = sender_to(stub.url)
    await sender.send(batches(5))
    assert len(stub.bodies) == 1
    assert sender.tally.refused == {"too_large": 5}
    assert len(sender.tally.examples) == 3


async def test_a_full_answer_of_503_is_taken_packet_by_packet(stub, sender_to):
    stub.script.append(refuses(stub, {0: "queue_full", 1: "invalid", 2: "queue_full"}))
    sender = sender_to(stub.url)
    await sender.send(batches(3))
    assert sent_ids(stub) == [ids(1, 2, 3), ids(1, 3)]
    assert (sender.tally.accepted, sender.tally.refused) == (2, {"invalid": 1})


async def test_connection_lost_in_the_middle_of_an_answer_doubles_nothing(stub, sender_to):
    async def hang_up(request, packets):
        whole = stub.answer(packets).body  # it has accepted them
        response = web.StreamResponse(status=202, headers={"Content-Length": str(len(whole))})
        await response.prepare(request)
        await response.write(whole[:20])
        request.transport.abort()
        return response

    stub.script.append(hang_up)
    sender = sender_to(stub.url)
    await sender.send(batches(4))
    assert sent_ids(stub) == [ids(1, 2, 3, 4)] * 2
    assert (sender.tally.accepted, stub.repeated, len(stub.packets)) == (4, 4, 4)


async def test_connection_lost_before_any_answer_is_tried_again(stub, sender_to):
    async def hang_up(request, packets):
        request.transport.abort()
        return web.Response()

    stub.script.extend([hang_up, hang_up])
    sender = sender_to(stub.url)
    await sender.send(batches(4))
    assert (sender.tally.accepted, sender.tally.retried) == (4, 8)


async def test_answer_that_does_not_come_is_not_waited_for_for_ever(stub, sender_to):
    async def stall(request, packets):
        await asyncio.sleep(0.5)
        return web.Response()

    stub.script.append(stall)
    sender = sender_to(stub.url, timeout=0.1)
    await sender.send(batches(4))
    assert sender.tally.accepted == 4
    assert sender.tally.retried >= 4  # more where the machine itself takes longer than that


@pytest.mark.parametrize("status", [400, 413])
async def test_one_packet_that_spoils_a_request_is_found_and_the_others_are_accepted(stub, sender_to, status):
    async def spoiled(request, packets):
        if "run-6" in {packet["id"] for packet in packets}:
            return web.json_response(
                {"title": "No", "detail": "packet 6 is\nnot to my taste"},
                status=status,
                content_type="application/problem+json",
            )
        return stub.answer(packets)

    stub.script.extend([spoiled] * 30)
    sender = sender_to(stub.url)
    await sender.send(batches(10))
    assert set(stub.packets) == set(ids(1, 2, 3, 4, 5, 7, 8, 9, 10))
    assert sender.tally.refused == {f"http_{status}": 1}
    assert sender.tally.examples[0].error == "packet 6 is not to my taste"
    assert sender.tally.unanswered == 0


async def test_nothing_at_the_address_is_told_at_once(sender_to, unused_tcp_port, time):
    sender = sender_to(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(
        Unreachable, match=f"nothing answers at http://127.0.0.1:{unused_tcp_port}: "
    ) as refused:
        await sender.send(batches(40))
    assert isinstance(refused.value, PenstockError)
    assert isinstance(refused.value, ConnectionError)
    assert time.slept == []


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (404, "no such page", "answers 404: no such page"),
        (301, "", "answers 301: nothing"),
        (415, '{"detail": "JSON only"}', "answers 415: JSON only"),
        (202, "<html>", "answers 202 without the outcome of each packet: <html>"),
        (202, json.dumps({"total_packets": 9, "successful": 9, "failed": 0}), "without the outcome of each"),
        (
            207,
            json.dumps(
                {
                    "total_packets": 3,
                    "successful": 2,
                    "failed": 1,
                    "errors": [{"index": 3, "code": "invalid"}],
                }
            ),
            "without the outcome of each",
        ),
        (200, "x" * (5 << 20), "answers with more than 4194304 bytes"),
    ],
)
async def test_what_is_no_distributor_is_told_and_left_alone(stub, sender_to, status, text, said):
    stub.script.append(answers(status, text, Location="http://127.0.0.1:1/"))
    sender = sender_to(stub.url)
    with pytest.raises(NotADistributor, match=said):
        await sender.send(batches(3))
    assert len(stub.bodies) == 1
    assert sender.tally.unanswered == 3


async def test_distributor_that_takes_nothing_is_given_up_after_patience(stub, sender_to, time):
    stub.script.extend([answers(503, **{"Retry-After": "10"})] * 20)
    sender = sender_to(stub.url, patience=35)
    with pytest.raises(GaveUp, match="has accepted nothing for 40 seconds"):
        await sender.send(batches(3))
    assert time.slept == [10] * 4
    assert sender.tally.unanswered == 3
    assert sender.tally.seconds == 40


async def test_each_stall_is_told_once_with_its_reason(stub, sender_to, time):
    told = []
    stalls = [answers(503, **{"Retry-After": "10"})] * 3
    takes = refuses(stub, {})
    full = answers(
        503, '{"title": "Service Unavailable", "detail": "the disk is full"}', **{"Retry-After": "10"}
    )
    stub.script.extend([*stalls, takes, answers(503), takes, full, *stalls])  # half a second is no stall
    await sender_to(stub.url, on_stall=told.append).send(batches(30))
    assert told == ["it answers 503", "it answers 503: the disk is full"]


async def test_slow_distributor_is_not_given_up_while_it_takes_something(stub, sender_to, time):
    for _ in range(8):
        stub.script.append(refuses(stub, dict.fromkeys(range(1, 10), "queue_full")))
        stub.script.append(answers(503, **{"Retry-After": "30"}))
    sender = sender_to(stub.url, patience=35)
    await sender.send(batches(10))
    assert sender.tally.accepted == 10
    assert sum(time.slept) >= 240


async def test_retry_after_may_be_a_date(stub, sender_to, time):
    noon = datetime(2025, 1, 25, 12, tzinfo=UTC)
    stub.script.append(answers(503, **{"Retry-After": "Sat, 25 Jan 2025 12:00:20 GMT"}))
    await sender_to(stub.url, now=lambda: noon).send(batches(1))
    assert time.slept == [20]


async def test_compressed_answer_is_not_unpacked(stub, sender_to):
    bomb = gzip.compress(bytes(50 << 20))

    async def answer(request, packets):
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    stub.script.append(answer)
    tracemalloc.start()
    try:
        with pytest.raises(NotADistributor):
            await sender_to(stub.url).send(batches(1))
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("header", ["-1", "nan", "inf", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_retry_after_that_asks_for_no_wait_is_not_followed(stub, sender_to, time, header):
    stub.script.append(answers(503, **{"Retry-After": header}))
    await sender_to(stub.url).send(batches(1))
    assert time.slept == [0.5]


async def test_retry_after_cannot_stop_us_for_ever(stub, sender_to, time):
    stub.script.append(answers(503, **{"Retry-After": "99999999999"}))
    await sender_to(stub.url).send(batches(1))
    assert time.slept == [300]


class WatchedBucket(TokenBucket):
    """Knows whether somebody waits for it."""

    waiting = False

    async def acquire_async(self, n):
        self.waiting = True
        try:
            return await super().acquire_async(n)
        finally:
            self.waiting = False


def test_rate_counts_messages_and_holds_for_repetitions_too():
    clock = ManualClock()
    bucket = WatchedBucket(50, 20, initial=0, clock=clock)

    async def main():
        async with stub_distributor() as stub:
            stub.script.append(answers(503, **{"Retry-After": "0"}))
            sender = Sender(stub.url, concurrency=1, bucket=bucket, clock=clock)
            await sender.send(batches(50, packets_per_batch=4, messages_per_packet=5))
            return sender.tally

    tally = run_in_virtual_time(main(), clock, may_pass=lambda: bucket.waiting)
    assert tally.accepted_messages == 250
    assert tally.seconds == pytest.approx(270 / 50)


async def test_bodies_are_compressed_when_asked(stub, sender_to):
    await sender_to(stub.url, compress=True).send(batches(3))
    assert stub.encodings == ["gzip"]
    assert [message["message"] for message in stub.messages] == ["0", "1", "2"]


async def test_cancelled_sending_leaves_nothing_running_and_knows_what_is_unanswered(stub, sender_to):
    arrived = asyncio.Event()

    async def stall(request, packets):
        arrived.set()
        await asyncio.sleep(600)
        return web.Response()

    stub.script.extend([stall] * 2)
    sender = sender_to(stub.url, concurrency=2)
    sending = asyncio.create_task(sender.send(batches(40)))
    await arrived.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not [task for task in asyncio.all_tasks() if "Sender._work" in repr(task)]
    assert sender.tally.unanswered == sender.tally.packets in (10, 20)


async def test_error_while_reading_comes_through(stub, sender_to):
    def broken():
        yield from batches(10)
        raise RuntimeError("disk on fire")

    with pytest.raises(ExceptionGroup) as raised:
        await sender_to(stub.url).send(broken())
    assert raised.group_contains(RuntimeError, match="disk on fire")
