"""GELF over HTTP: what Graylog's clients send, packed as they pack it."""

import gzip
import json
import logging
import zlib

import graypy
import pygelf
import pytest

from services.distributor.inputs.input_service import serving

PATH = "/gelf"
MESSAGE = {
    "version": "1.1", "host": "h1", "short_message": "hello", "full_message": "hello\nworld", "level": 4,
    "timestamp": 1385053862.3072, "_user": "u1", "_n": 7, "facility": "app",
}  # fmt: skip
RECORD = {
    "message": "hello", "level": "WARNING", "source": "h1", "timestamp": "2013-11-21T17:11:02.3072Z",
    "metadata": {"full_message": "hello\nworld", "user": "u1", "n": 7, "facility": "app"},
}  # fmt: skip


def gelf(*messages):
    return "\n".join(json.dumps(one) for one in messages).encode()


async def test_message_becomes_a_record(service):
    answer = await service.post(PATH, gelf(MESSAGE))
    assert (answer.status, answer.raw) == (202, b"")
    assert answer.headers["X-Penstock-Durability"] == "fsync"
    assert service.records == [RECORD]


@pytest.mark.parametrize("encoding", ["gzip,deflate", None])
@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress])
async def test_packed_message_is_told_by_its_bytes(service, pack, encoding):
    headers = {"Content-Encoding": encoding} if encoding else {}
    answer = await service.post(PATH, pack(gelf(MESSAGE)), headers, skip_auto_headers=["Content-Type"])
    assert (answer.status, service.records) == (202, [RECORD])


async def test_packed_message_may_say_so(service):
    await service.post(PATH, gzip.compress(gelf(MESSAGE)), {"Content-Encoding": "gzip"})
    assert service.records == [RECORD]


async def test_several_messages_may_come_at_once(service):
    answer = await service.post(PATH, gelf(MESSAGE, MESSAGE | {"short_message": "two"}))
    assert (answer.status, service.texts) == (202, ["hello", "two"])


async def test_fields_that_would_have_one_name_keep_their_own(service):
    await service.post(PATH, gelf({"short_message": "x", "line": 1, "_line": 2, "_": 3, "__a": 4, "host": 5}))
    assert service.records[0]["metadata"] == {"line": 1, "_line": 2, "_": 3, "_a": 4, "host": 5}


@pytest.mark.parametrize("level", [8, -1, 1.5, "DEBUG"])
async def test_level_that_is_none_is_kept(service, level):
    await service.post(PATH, gelf({"short_message": "x", "level": level}))
    assert (service.records[0]["level"], service.records[0]["metadata"]) == ("INFO", {"level": level})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "must be a GELF message"),
        (b"{}", "short_message must be a text"),
        (b'{"short_message": " "}', "short_message must be a text"),
        (b'{"short_message": 7}', "short_message must be a text"),
        (b"[1]", "must be a JSON object"),
        (b"{oops}", "must be a JSON object"),
        (gelf(MESSAGE) + b"{}", "message 2: short_message"),
        (b"\x1f\x8bxxxx", "could not be unpacked"),
        (zlib.compress(b"{}")[:-2], "breaks off"),
        (zlib.compress(b"{}") + b"more", "something follows"),
    ],
)
async def test_bad_request_is_told_why_and_stores_nothing(service, body, reason):
    answer = await service.post(PATH, body)
    assert (answer.status, service.records) == (400, [])
    assert reason in answer.json["detail"]


async def test_bomb_is_refused():
    async with serving(max_body_bytes=100_000) as service:
        answer = await service.post(
            PATH, zlib.compress(b" " * 1_000_000), {"Content-Encoding": "gzip,deflate"}
        )
        assert (answer.status, service.records) == (413, [])


async def test_message_that_is_too_long_is_told():
    async with serving(max_record_bytes=10) as service:
        answer = await service.post(PATH, gelf({"short_message": "ok"}, {"short_message": "x" * 11}))
        assert answer.status == 413
        assert answer.json["detail"] == (
            "1 messages are stored; message 2: message must be at most 10 bytes, got 11"
        )
        assert service.texts == ["ok"]


@pytest.mark.parametrize(("trouble", "status"), [("is_full", 503), ("is_asked_too_fast", 429)])
async def test_nothing_taken_for_now_is_told(service, trouble, status):
    getattr(service.distributor, trouble)()
    answer = await service.post(PATH, gelf(MESSAGE))
    assert answer.status == status
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("handler_of", [
    lambda port: pygelf.GelfHttpHandler("127.0.0.1", port, compress=True, include_extra_fields=True),
    lambda port: pygelf.GelfHttpHandler("127.0.0.1", port, compress=False, include_extra_fields=True),
    lambda port: graypy.GELFHTTPHandler("127.0.0.1", port),
    lambda port: graypy.GELFHTTPHandler("127.0.0.1", port, compress=False),
])  # fmt: skip
@pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning"
)  # the handlers leave theirs to the collector
async def test_handlers_of_graylog_are_understood(service, handler_of):
    handler = handler_of(service.port)
    log = logging.Logger("orders")
    log.addHandler(handler)
    await service.in_thread(lambda: log.error("cannot pay", extra={"user": "u1"}))
    handler.close()
    await service.has_got(1)  # they do not wait for the answer
    [record] = service.records
    assert (record["message"], record["level"]) == ("cannot pay", "ERROR")
    assert record["metadata"]["user"] == "u1"
    assert record["source"]
