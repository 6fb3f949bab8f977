"""The client for asyncio: what it sends arrives once, or it says what did not."""

import asyncio
import ssl
from datetime import UTC, datetime

import pytest
import trustme

from penstock.errors import InvalidValue, PenstockError
from penstock.services.distributor.client import DistributorClient, NotADistributor, NotDelivered
from services.distributor.client.scripted import scripted, some, taken
from services.distributor.serving import serving

AT_ONCE = {"Retry-After": "0"}


@pytest.fixture
def served():
    with scripted() as served:
        yield served


async def no_pause(seconds):
    """Waits as long as tests want to."""
    await asyncio.sleep(0)


def client_of(served, **settings):
    return DistributorClient(served.url, **{"linger": 0.0, "sleep": no_pause} | settings)


def packets(*texts, **fields):
    return [{**fields, "messages": [{"message": text}]} for text in texts]


# Packets


async def test_packets_are_sent_and_the_receipt_names_them(served):
    async with client_of(served, api_key="shop-key-0123456789") as client:
        receipt = await client.send([*packets("a", id="mine"), *packets("b")])
    assert receipt.accepted == list(served.packets)
    assert receipt.accepted[0] == "mine"
    assert (receipt.refused, served.texts, client.accepted) == ([], ["a", "b"], 2)
    assert served.heads[0][1]["Authorization"] == "Bearer shop-key-0123456789"


async def test_refused_packets_are_in_the_receipt_with_the_reason(served):
    served.script = [lambda got: some(got, {1: "invalid"})]
    async with client_of(served) as client:
        receipt = await client.send(packets("a", "b", "c"))
    assert served.texts == ["a", "c"]
    (refused,) = receipt.refused
    assert (refused.code, refused.error, b'"b"' in refused.packet) == ("invalid", "it is invalid", True)
    assert client.refused == 1


async def test_many_packets_go_in_several_requests_in_order(served):
    texts = [str(n) for n in range(1200)]
    async with client_of(served) as client:
        assert len((await client.send(packets(*texts))).accepted) == 1200
        await client.send(packets("x" * 600_000, "y" * 600_000, "z"))
    assert served.texts[:1200] == texts
    assert [len(request) for request in served.requests] == [500, 500, 200, 2, 1]


async def test_what_went_wrong_is_sent_again_with_the_same_ids(served):
    served.script = [
        (503, {"detail": "full"}, AT_ONCE), None, (500, b"oops"), (429, {}, {"Retry-After": "1"}),
        lambda got: some(got, {0: "queue_full"}), taken,
    ]  # fmt: skip
    async with client_of(served) as client:
        receipt = await client.send(packets("a", "b"))
    assert sorted(served.texts) == ["a", "b"]
    assert sorted(receipt.accepted) == sorted(served.packets)
    assert len({packet["id"] for request in served.requests for packet in request}) == 2


async def test_retry_after_is_obeyed(served):
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    served.script = [(503, {}, {"Retry-After": "7"}), (503, {}, {"Retry-After": "9999"})]
    async with client_of(served, sleep=pause, patience=1e6) as client:
        await client.send(packets("a"))
    assert pauses == [7, 300]


async def test_distributor_that_takes_nothing_is_given_up_and_what_is_left_can_be_sent_again(served):
    served.script = [taken, *[(503, {}, {"Retry-After": "5"})] * 3]
    async with client_of(served, patience=4.0) as client:
        with pytest.raises(NotDelivered, match="took nothing for 4 s: it answers 503") as told:
            await client.send(packets(*map(str, range(1100))))
        assert served.texts == list(map(str, range(500)))
        left = told.value.packets
        assert [packet["messages"][0]["message"] for packet in left] == list(map(str, range(500, 1100)))
        served.script = []
        await client.send(left)
    assert served.texts == list(map(str, range(1100)))


async def test_another_service_and_a_wrong_key_are_told_at_once(served):
    served.script = [(401, {"detail": "show a valid API key"}), (200, b"<html>hello")]
    async with client_of(served) as client:
        with pytest.raises(NotADistributor, match="it answers 401: show a valid API key"):
            await client.send(packets("a"))
        with pytest.raises(NotADistributor, match="it answers 200: <html>hello"):
            await client.send(packets("a"))


async def test_packet_that_is_no_json_is_a_type_error(served):
    async with client_of(served) as client:
        with pytest.raises(TypeError):
            await client.send([{"messages": [{"message": "x", "metadata": {"a": object()}}]}])
        assert (await client.send([])).accepted == []


# Messages


async def test_messages_are_gathered_into_packets_and_flushed(served):
    async with client_of(served, source="shop", linger=60.0) as client:
        for n in range(250):
            await client.log("INFO", f"line {n}")
        moment = datetime(2025, 1, 25, 20, 30, 45, tzinfo=UTC)
        await client.log("ERROR", "odd", source="till", metadata={"a": {1, 2}}, timestamp=moment)
        assert served.texts == []
        await client.flush()
        assert served.texts == [*(f"line {n}" for n in range(250)), "odd"]
        await client.flush()
    (request,) = served.requests
    assert [len(packet["messages"]) for packet in request] == [100, 100, 51]
    first, last = request[0]["messages"][0], request[-1]["messages"][-1]
    assert (first["level"], first["source"]) == ("INFO", "shop")
    assert datetime.fromisoformat(first["timestamp"]).tzinfo is not None
    assert last == {
        "level": "ERROR", "message": "odd", "source": "till", "timestamp": "2025-01-25T20:30:45+00:00",
        "metadata": {"a": [1, 2]},
    }  # fmt: skip


async def test_messages_are_sent_by_themselves_after_the_linger(served):
    async with client_of(served, linger=0.01) as client, asyncio.timeout(10):
        await client.log("INFO", "x")
        while not served.texts:
            await asyncio.sleep(0.005)


async def test_log_waits_while_the_buffer_is_full(served):
    served.gate.clear()
    async with client_of(served, max_buffered_bytes=10_000) as client, asyncio.timeout(20):
        texts = [f"{n:04} " + "x" * 995 for n in range(50)]

        async def log_all():
            for text in texts:
                await client.log("INFO", text)

        task = asyncio.create_task(log_all())
        while not served.heads:
            await asyncio.sleep(0.005)
        assert not task.done()
        assert client._buffered_bytes <= 10_000
        served.gate.set()
        await task
        await client.log("INFO", "y" * 50_000)
        await client.flush()
    assert served.texts[:50] == texts
    assert max(len(request) for request in served.requests) <= 10


async def test_refused_messages_are_told_and_hold_up_nobody(served, caplog):
    told = []
    served.script = [lambda got: some(got, {0: "invalid"})]
    async with client_of(served, on_refused=told.append) as client:
        await client.log("INFO", "bad")
        await client.flush()
        await client.log("INFO", "good")
    assert (served.texts, [one.code for one in told], client.refused) == (["good"], ["invalid"], 1)
    served.script = [lambda got: some(got, {0: "invalid"})]
    async with client_of(served) as client:
        await client.log("INFO", "bad")
    assert "the distributor refused packet" in caplog.text


async def test_callback_that_raises_is_logged_and_ends_nothing(served, caplog):
    def broken(refused):
        raise RuntimeError("oops")

    served.script = [lambda got: some(got, {0: "invalid"})]
    async with client_of(served, on_refused=broken) as client:
        await client.log("INFO", "bad")
        await client.flush()
        await client.log("INFO", "good")
    assert served.texts == ["good"]
    assert "on_refused failed" in caplog.text


async def test_messages_wait_for_a_distributor_that_comes_back(served):
    served.script = [None] * 5
    async with client_of(served) as client:
        await client.log("INFO", "x")
        await client.flush()
    assert served.texts == ["x"]
    assert len(served.requests) == 6


async def test_flush_gives_up_and_the_messages_stay(served):
    served.gate.clear()
    async with client_of(served, patience=0.1) as client:
        await client.log("INFO", "x")
        with pytest.raises(NotDelivered, match=r"took nothing for 0\.1 s"):
            await client.flush()
        served.gate.set()
        await client.log("INFO", "y")
        async with asyncio.timeout(10):
            while len(served.texts) < 2:
                await asyncio.sleep(0.005)
    assert served.texts == ["x", "y"]


async def test_flush_gives_up_a_distributor_that_is_tried_again_and_again(served):
    served.script = [(503, {}, {"Retry-After": "0"})] * 100_000
    async with client_of(served, patience=0.3) as client:
        await client.log("INFO", "x")
        async with asyncio.timeout(20):
            with pytest.raises(NotDelivered, match=r"took nothing for 0\.3 s: it answers 503"):
                await client.flush()
        served.script = []
    assert served.texts == ["x"]


async def test_close_delivers_or_raises_what_is_left(served):
    served.script = [(404, {})] * 1000
    client = await client_of(served).__aenter__()
    await client.log("INFO", "x")
    await client.log("INFO", "y")
    with pytest.raises(NotDelivered, match="it answers 404") as told:
        await client.aclose()
    left = [message["message"] for packet in told.value.packets for message in packet["messages"]]
    assert left == ["x", "y"]
    await client.aclose()
    served.script = []
    async with client_of(served) as other:
        await other.send(told.value.packets)
    assert served.texts == ["x", "y"]


async def test_error_of_the_program_is_told_before_that_of_closing(served):
    served.script = [(404, {})] * 1000

    async def fail():
        async with client_of(served) as client:
            await client.log("INFO", "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_cancelled_send_leaves_the_client_usable(served):
    served.gate.clear()
    async with client_of(served) as client:
        task = asyncio.create_task(client.send(packets("a", id="p1")))
        while not served.heads:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        served.gate.set()
        await client.send(packets("a", id="p1"))
    assert served.texts == ["a"]


async def test_https_is_checked():
    authority = trustme.CA()
    server, context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(context)
    with scripted(context=server) as served:
        async with client_of(served, context=context) as client:
            await client.send(packets("a"))
        async with client_of(served, patience=0.01) as client:
            with pytest.raises(NotDelivered, match="certificate refused"):
                await client.send(packets("b"))
        assert served.texts == ["a"]


@pytest.mark.parametrize(
    "settings", [{"url": "h:80"}, {"linger": -1}, {"patience": 0}, {"timeout": 0}, {"max_buffered_bytes": 0}]
)
def test_argument_out_of_its_range_is_refused(settings):
    with pytest.raises(InvalidValue, match=next(iter(settings))):
        DistributorClient(**{"url": "http://h"} | settings)


async def test_client_must_be_entered_and_times_must_have_a_zone(served):
    with pytest.raises(PenstockError, match="must be entered"):
        await client_of(served).log("INFO", "x")
    async with client_of(served) as client:
        with pytest.raises(InvalidValue, match="timestamp must have its zone"):
            await client.log("INFO", "x", timestamp=datetime(2025, 1, 25))  # noqa: DTZ001


async def test_with_a_real_distributor_every_message_is_stored(tmp_path):
    async with serving(tmp_path) as service:
        async with DistributorClient(service.url, linger=0.01) as client:
            for n in range(5000):
                await client.log("INFO", f"line {n}", metadata={"n": n})
            receipt = await client.send(packets("one more", id="mine"))
            again = await client.send(packets("one more", id="mine"))
        assert (receipt.accepted, again.accepted) == (["mine"], ["mine"])
        stats = await service.nothing_left()
        assert (stats["messages_accepted"], stats["duplicates"]) == (5001, 1)
