"""Bodies of requests: packed in every way, broken in every way, and bounded in all of them."""

import asyncio
import gzip
import json
import time
import tracemalloc
import zlib
from functools import cache

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.services.distributor.inputs.body import lines_of, objects_of
from services.distributor.inputs.input_service import OTHER_SITE, serving

LINE = b'{"message":"hello"}\n'
NDJSON = {"Content-Type": "application/x-ndjson"}
LOKI = json.dumps({"streams": [{"stream": {}, "values": [["1", "hello"]]}]}).encode()
BULK = b'{"create":{"_index":"i"}}\n{"message":"hello"}\n'
EVERY = [
    ("/api/v1/ndjson", LINE, NDJSON),
    ("/v1/logs", b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}',
     {"Content-Type": "application/json"}),
    ("/loki/api/v1/push", LOKI, {"Content-Type": "application/json"}),
    ("/_bulk", BULK, NDJSON),
    ("/services/collector/event", b'{"event":"hello"}', {}),
    ("/services/collector/raw", b"hello", {}),
    ("/gelf", b'{"short_message":"hello"}', {}),
]  # fmt: skip
PACKERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
    "identity": bytes,
}


@cache
def bomb(encoding):
    return PACKERS[encoding](b" " * 50_000_000)


@pytest.mark.parametrize(("path", "body", "headers"), EVERY)
@pytest.mark.parametrize("encoding", PACKERS)
async def test_every_input_unpacks_what_is_packed(service, path, body, headers, encoding):
    answer = await service.post(path, PACKERS[encoding](body), headers | {"Content-Encoding": encoding})
    assert answer.status < 300, answer.raw
    assert service.texts == ["hello"]


@pytest.mark.parametrize(("path", "body", "headers"), EVERY)
async def test_every_input_refuses_other_encodings(service, path, body, headers):
    answer = await service.post(path, body, headers | {"Content-Encoding": "compress"})
    assert (answer.status, service.records) == (415, [])


@pytest.mark.parametrize(("path", "body", "headers"), EVERY)
async def test_every_input_refuses_pages_of_other_sites(service, path, body, headers):
    answer = await service.post(path, body, headers | OTHER_SITE)
    assert (answer.status, service.records) == (403, [])


@pytest.mark.parametrize(("path", "body", "headers"), EVERY)
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
async def test_every_input_refuses_bombs(path, body, headers, encoding):
    async with serving(max_body_bytes=1_000_000) as service:
        packed = bomb(encoding)
        tracemalloc.start()
        answer = await service.post(path, packed, headers | {"Content-Encoding": encoding})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (answer.status, service.records) == (413, [])
        assert peak < 15_000_000  # of 50


@pytest.mark.parametrize(("path", "body", "headers"), EVERY)
async def test_every_input_refuses_a_body_that_is_too_large(path, body, headers):
    async with serving(max_body_bytes=1000) as service:
        answer = await service.post(path, body.ljust(1001), headers)
        assert (answer.status, service.records) == (413, [])


@pytest.mark.parametrize("path", ["/api/v1/ndjson", "/nowhere"])
async def test_bomb_is_not_unpacked_to_its_end_when_it_is_refused(service, path):
    packer = zlib.compressobj(wbits=31)
    start = packer.compress(b"x") + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(64 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    started = time.process_time()  # the client's little included
    answer = await service.post(path, start + piece * 100, NDJSON | {"Content-Encoding": "gzip"})
    await service.request("GET", "/services/collector/health")
    assert answer.status == (413 if path == "/api/v1/ndjson" else 404)
    assert time.process_time() - started < 4  # of 6.4 GiB


LONG = json.dumps({f"{number}": 1 for number in range(200_000)}).encode()
LONG_RECORDS = [
    ("/api/v1/ndjson", LONG + b"\n", NDJSON, 422),
    ("/v1/logs", b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[%s]}]}]}' % LONG,
     {"Content-Type": "application/json"}, 400),
    ("/v1/logs", b'{"resourceLogs":[{"resource":%s}]}' % LONG, {"Content-Type": "application/json"}, 413),
    ("/loki/api/v1/push", b'{"streams":[{"stream":{},"values":[["1","a",%s]]}]}' % LONG,
     {"Content-Type": "application/json"}, 400),
    ("/loki/api/v1/push", b'{"streams":[{"stream":%s,"values":[]}]}' % LONG,
     {"Content-Type": "application/json"}, 400),
    ("/i/_bulk", b'{"create":{}}\n' + LONG + b"\n", NDJSON, 200),
    ("/i/_bulk", b'{"create":' + LONG + b'}\n{"a":1}\n', NDJSON, 413),
    ("/services/collector/event", b'{"event":%s}' % LONG, {}, 400),
    ("/gelf", b'{"short_message":"hello",' + LONG[1:], {}, 413),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "headers", "status"), LONG_RECORDS)
async def test_json_longer_than_any_record_is_refused_unread(path, body, headers, status):
    async with serving(max_packet_bytes=500_000) as service:
        answer = await service.post(path, body, headers)
        assert (answer.status, service.records) == (status, [])
        assert b"must be at most" in answer.raw


@pytest.mark.parametrize(
    ("encoding", "damage"),
    [("gzip", b"no gzip at all"), ("zstd", b"x")],
)
async def test_body_that_is_not_in_its_encoding_is_bad(service, encoding, damage):
    answer = await service.post("/api/v1/ndjson", damage, NDJSON | {"Content-Encoding": encoding})
    assert (answer.status, service.records) == (400, [])
    assert "could not be read" in answer.json["detail"]


async def test_body_that_breaks_off_stores_nothing(service):
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = "POST /services/collector/raw HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b"one line\n")
    writer.write_eof()
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()
    await writer.wait_closed()
    assert service.records == []


async def test_records_are_counted_by_input(service):
    await service.post("/api/v1/ndjson", LINE + b"oops\n" + LINE, NDJSON)
    await service.post("/api/v1/ndjson", b"oops\n", NDJSON)
    await service.post("/services/collector/raw", b"a\nb")
    await service.post("/gelf", b"unreadable")
    service.distributor.is_full()
    await service.post("/_bulk", BULK, NDJSON)
    assert service.inputs.figures() == {
        "ndjson": {"received": 4, "stored": 2, "refused": 2},
        "splunk": {"received": 2, "stored": 2, "refused": 0},
        "elasticsearch": {"received": 1, "stored": 0, "refused": 1},
    }


async def test_every_input_takes_large_bodies_in_a_thread_and_answers_others_meanwhile(service):
    body = LINE * 90_000
    large = asyncio.create_task(service.post("/api/v1/ndjson", body, NDJSON))
    answers = []
    while not large.done():
        answers.append((await service.request("GET", "/services/collector/health")).status)
    assert (await large).json["successful"] == 90_000
    assert answers
    assert set(answers) == {200}


PROBLEM = {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": "no key"}
SECURITY = {"type": "security_exception", "reason": "no key"}
REFUSALS = [
    ("/api/v1/ndjson", PROBLEM),
    ("/v1/logs", {"code": 16, "message": "no key"}),
    ("/loki/api/v1/push", "no key\n"),
    ("/_bulk", {"error": {"root_cause": [SECURITY], **SECURITY}, "status": 401}),
    ("/index/_bulk", {"error": {"root_cause": [SECURITY], **SECURITY}, "status": 401}),
    ("/services/collector", {"text": "Invalid authorization", "code": 3, "detail": "no key"}),
    ("/gelf", PROBLEM),
    ("/nowhere", PROBLEM),
]


@pytest.mark.parametrize(("path", "expected"), REFUSALS)
async def test_others_refuse_in_the_words_of_the_route(service, path, expected):
    answer = await service.post(path, b"", {"X-Refuse-With": "401", "Content-Type": "application/json"})
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert (answer.raw.decode() if isinstance(expected, str) else answer.json) == expected


@given(st.lists(st.binary(max_size=6)))
def test_lines_are_those_that_are_not_blank_with_their_numbers(parts):
    body = b"\n".join(parts)
    expected = [
        (number, line.rstrip(b"\r"))
        for number, line in enumerate(body.split(b"\n"), 1)
        if line.rstrip(b"\r") and not line.rstrip(b"\r").isspace()
    ]
    assert list(lines_of(body)) == expected


objects = st.dictionaries(
    st.text(max_size=4), st.text(max_size=6) | st.dictionaries(st.text(max_size=2), st.text())
)


@settings(max_examples=50)
@given(st.lists(objects), st.sampled_from(["", "\n", " \r\n "]), st.booleans())
def test_objects_are_found_wherever_one_ends(many, between, ascii_only):
    body = between.join(json.dumps(one, ensure_ascii=ascii_only) for one in many).encode()
    assert [json.loads(one) for one in objects_of(body)] == many


@given(st.binary())
def test_no_byte_is_left_out_of_objects(body):
    assert (
        b"".join(b"".join(objects_of(body)).split()) == b"".join(body.split())
        or b"\x0b" in body
        or b"\x0c" in body
    )


@pytest.mark.parametrize(
    "body", [b'"' * (1 << 20), b"{" * (1 << 24), b'{"\\' * (1 << 18), b"}" * (1 << 16), b"\n" * (1 << 24)]
)
def test_time_of_splitting_grows_with_the_body_alone(body):
    started = time.process_time()
    assert sum(1 for _ in objects_of(body)) <= len(body)
    assert sum(1 for _ in lines_of(body)) <= 1
    assert time.process_time() - started < 5
