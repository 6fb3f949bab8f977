"""OTLP/HTTP logs: what the schema's own library writes is understood, and answered in its own words."""

import gzip
import json
import time
import zlib
from contextlib import suppress

import msgspec
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

from penstock.services.distributor.admission import NotStored, TooFast
from penstock.services.distributor.carriers.otlp_records import request_of as request_out
from penstock.services.distributor.change import Stored
from penstock.services.distributor.inputs.batch import Batch, Refused
from penstock.services.distributor.inputs.otlp import Status, read_json, read_protobuf
from services.distributor.inputs.input_service import serving

PATH = "/v1/logs"
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"


def attributes(**values):
    return [KeyValue(key=key.replace("__", "."), value=value) for key, value in values.items()]


def request_of(*records, resource=(), scope=None):
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add()
    resource_logs.resource.attributes.extend(resource)
    scope_logs = resource_logs.scope_logs.add()
    if scope:
        scope_logs.scope.name, scope_logs.scope.version = scope
    for record in records:
        scope_logs.log_records.add(**record)
    return request


def text(value):
    return AnyValue(string_value=value)


def as_json(request):
    """OTLP's JSON: ids in hexadecimal, enums as numbers."""
    made = json_format.MessageToDict(request, use_integers_for_enums=True)
    for resource_logs in made.get("resourceLogs", []):
        for scope_logs in resource_logs.get("scopeLogs", []):
            for record in scope_logs.get("logRecords", []):
                for name, value in (("traceId", TRACE), ("spanId", SPAN)):
                    if name in record:
                        record[name] = value
    return json.dumps(made).encode()


FULL = request_of(
    {
        "time_unix_nano": 1_700_000_000_123_456_789,
        "observed_time_unix_nano": 1_700_000_001_000_000_000,
        "severity_number": 10,
        "severity_text": "Notice",
        "body": text("hello"),
        "attributes": attributes(
            user=text("u1"), count=AnyValue(int_value=2**60), ok=AnyValue(bool_value=True),
            ratio=AnyValue(double_value=0.5), raw=AnyValue(bytes_value=b"\x00\xff"),
            nan=AnyValue(double_value=float("nan")), scope=text("mine"),
        ),
        "dropped_attributes_count": 3,
        "flags": 1,
        "trace_id": bytes.fromhex(TRACE),
        "span_id": bytes.fromhex(SPAN),
        "event_name": "user.login",
    },
    resource=attributes(service__name=text("auth"), host__name=text("h1")),
    scope=("lib", "1.2"),
)  # fmt: skip
FULL_RECORD = {
    "message": "hello",
    "level": "Notice",
    "source": "auth",
    "timestamp": "2023-11-14T22:13:20.123456789Z",
    "metadata": {
        "resource": {"host.name": "h1"},
        "scope": {"name": "lib", "version": "1.2"},
        "trace_id": TRACE,
        "span_id": SPAN,
        "trace_flags": 1,
        "event_name": "user.login",
        "observed_timestamp": "2023-11-14T22:13:21Z",
        "dropped_attributes_count": 3,
        "user": "u1",
        "count": 2**60,
        "ok": True,
        "ratio": 0.5,
        "raw": "AP8=",
        "nan": "NaN",
        "attributes": {"scope": "mine"},
    },
}


async def test_every_field_of_a_log_record_has_its_place_in_protobuf(service):
    answer = await service.post(PATH, FULL.SerializeToString(), PROTOBUF)
    assert (answer.status, answer.raw) == (200, b"")
    assert answer.headers["Content-Type"] == "application/x-protobuf"
    assert service.records == [FULL_RECORD]


async def test_every_field_of_a_log_record_has_its_place_in_json(service):
    answer = await service.post(PATH, as_json(FULL), JSON)
    assert (answer.status, answer.json) == (200, {})
    assert answer.headers["Content-Type"] == "application/json"
    assert service.records == [FULL_RECORD]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"body": AnyValue(int_value=7)}, "7"),
        ({"body": AnyValue(bool_value=False)}, "false"),
        ({"body": AnyValue(array_value={"values": [text("a"), AnyValue(int_value=1)]})}, '["a",1]'),
        ({"body": AnyValue(kvlist_value={"values": attributes(a=text("b"))})}, '{"a":"b"}'),
        ({"event_name": "started"}, "started"),
        ({"attributes": attributes(a=AnyValue(int_value=1))}, '{"a":1}'),
    ],
)
async def test_text_is_the_body_or_what_else_says_most(service, record, message):
    await service.post(PATH, request_of(record).SerializeToString(), PROTOBUF)
    assert service.texts == [message]


@pytest.mark.parametrize(
    ("number", "level"), [(1, "TRACE"), (8, "DEBUG"), (9, "INFO"), (13, "WARN"), (17, "ERROR"), (24, "FATAL")]
)
async def test_severity_number_is_the_level_when_there_is_no_text(service, number, level):
    record = {"body": text("x"), "severity_number": number}
    await service.post(PATH, request_of(record).SerializeToString(), PROTOBUF)
    assert service.records[0]["level"] == level


async def test_severity_text_that_is_too_long_for_a_level_is_kept(service):
    record = {"body": text("x"), "severity_number": 17, "severity_text": "s" * 33}
    await service.post(PATH, request_of(record).SerializeToString(), PROTOBUF)
    assert (service.records[0]["level"], service.records[0]["metadata"]) == (
        "ERROR",
        {"severity_text": "s" * 33},
    )


async def test_resource_in_very_many_pieces_takes_no_square_time(service):
    resource_logs = (field_of(1, field_of(1, b"\x0a\x01k")) * 200_000) + field_of(2, b"")
    started = time.process_time()
    answer = await service.post(PATH, field_of(1, resource_logs), PROTOBUF)
    assert answer.status in (200, 400)
    assert time.process_time() - started < 10


async def test_time_of_observation_stands_in_for_a_missing_time(service):
    record = {"body": text("x"), "observed_time_unix_nano": 1_700_000_000_000_000_000}
    await service.post(PATH, request_of(record).SerializeToString(), PROTOBUF)
    assert service.records[0]["timestamp"] == "2023-11-14T22:13:20Z"


async def test_resource_in_two_pieces_behind_its_records_is_merged(service):
    behind = FULL.resource_logs[0]
    pieces = b"".join(
        field_of(2, scope.SerializeToString()) for scope in behind.scope_logs
    ) + b"".join(
        field_of(1, type(behind.resource)(attributes=[one]).SerializeToString())
        for one in behind.resource.attributes
    )  # fmt: skip
    await service.post(PATH, field_of(1, pieces), PROTOBUF)
    assert service.records == [FULL_RECORD]


def field_of(number, data):
    length, size = b"", len(data)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


async def test_some_refused_is_a_partial_success():
    async with serving(max_record_bytes=10) as service:
        request = request_of({"body": text("ok")}, {}, {"body": text("x" * 11)})
        answer = await service.post(PATH, request.SerializeToString(), PROTOBUF)
        assert answer.status == 200
        partial = ExportLogsServiceResponse.FromString(answer.raw).partial_success
        assert partial.rejected_log_records == 2
        assert "log record 1: a log record must have a body" in partial.error_message
        assert "log record 2: message must be at most 10 bytes, got 11" in partial.error_message
        answer = await service.post(PATH, as_json(request), JSON)
        assert answer.json["partialSuccess"]["rejectedLogRecords"] == "2"
        assert service.texts == ["ok", "ok"]


async def test_all_refused_is_bad(service):
    answer = await service.post(PATH, request_of({}, {}).SerializeToString(), PROTOBUF)
    assert answer.status == 400
    status = Status.from_bytes(answer.raw)
    assert (status.code, service.records) == (3, [])
    assert "no log record was accepted" in status.message


async def test_damaged_record_is_refused_alone(service):
    good = request_of({"body": text("good")}).resource_logs[0].scope_logs[0].log_records[0]
    scope_logs = field_of(2, b"\x2a\x03\x0a\x01\xff") + field_of(2, good.SerializeToString())
    answer = await service.post(PATH, field_of(1, field_of(2, scope_logs)), PROTOBUF)
    partial = ExportLogsServiceResponse.FromString(answer.raw).partial_success
    assert (answer.status, partial.rejected_log_records, service.texts) == (200, 1, ["good"])


def sent_on(service):
    """What the records that came leave with by OTLP: the logs of one resource."""
    body = msgspec.json.encode({"id": "p", "messages": service.records})
    request, *_ = request_out([Stored(1, "p", len(service.records), len(body), body)], 1)
    [resource_logs] = request.resource_logs
    return resource_logs


@pytest.mark.parametrize(
    ("words", "number"), [("boom", 17), ("Information-ish", 9), ("ERROR", 5), ("", 18), ("INFO", 0)]
)
async def test_severity_leaves_as_it_came(service, words, number):
    """Through the distributor and out again: a word that only its sender knows does not lose its number."""
    await service.post(
        PATH,
        request_of(
            {"body": text("x"), "severity_text": words, "severity_number": number}
        ).SerializeToString(),
        PROTOBUF,
    )
    [record] = sent_on(service).scope_logs[0].log_records
    assert record.severity_number == (number or 9)
    assert record.severity_text == (words or "ERROR")


async def test_service_name_too_long_for_a_source_leaves_whole(service):
    request = request_of({"body": text("x")}, resource=attributes(service__name=text("s" * 300)))
    await service.post(PATH, request.SerializeToString(), PROTOBUF)
    [attribute] = sent_on(service).resource.attributes
    assert attribute.value.string_value == "s" * 300


async def test_damaged_record_is_refused_alone_in_json_too(service):
    records = b'{"body":{"stringValue":"good"}},{"timeUnixNano":"soon"},{"body":{"stringValue":"too"}}'
    answer = await service.post(
        PATH, b'{"resourceLogs":[{"resource":null,"scopeLogs":[{"logRecords":[%s]}]}]}' % records, JSON
    )
    assert (answer.status, service.texts) == (200, ["good", "too"])
    assert answer.json["partialSuccess"]["rejectedLogRecords"] == "1"


async def test_empty_pieces_of_json_are_counted_too():
    async with serving(max_records=10) as service:
        answer = await service.post(PATH, b'{"resourceLogs":[%s]}' % b",".join([b"{}"] * 51), JSON)
        assert answer.status == 413


async def test_empty_request_is_a_success(service):
    answer = await service.post(PATH, b"", PROTOBUF)
    assert (answer.status, answer.raw) == (200, b"")
    answer = await service.post(PATH, b"{}", JSON)
    assert (answer.status, answer.json) == (200, {})


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
@pytest.mark.parametrize(("trouble", "status", "code"), [("is_full", 503, 14), ("is_asked_too_fast", 429, 8)])
async def test_nothing_taken_for_now_is_told_as_a_status_of_rpc(service, kind, trouble, status, code):
    getattr(service.distributor, trouble)()
    body = FULL.SerializeToString() if kind is PROTOBUF else as_json(FULL)
    answer = await service.post(PATH, body, kind)
    assert answer.status == status
    assert int(answer.headers["Retry-After"]) >= 1
    told = Status.from_bytes(answer.raw) if kind is PROTOBUF else Status.from_json(answer.raw)
    assert told.code == code
    assert told.message


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff", PROTOBUF, 400),
        (b"\x0a\x05ab", PROTOBUF, 400),
        (b"{", JSON, 400),
        (b'{"resourceLogs":[{"resource":7}]}', JSON, 400),
        (b"[" * (1 << 20) + b",", JSON, 413),
        (b"", {"Content-Type": "text/plain"}, 415),
        (b"", PROTOBUF | {"Content-Encoding": "br"}, 415),
    ],
)
async def test_unreadable_requests_are_told_so(service, body, headers, status):
    answer = await service.post(PATH, body, headers, skip_auto_headers=["Content-Encoding"])
    assert answer.status == status
    assert service.records == []


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_packed_requests_are_understood(service, name, pack):
    await service.post(PATH, pack(FULL.SerializeToString()), PROTOBUF | {"Content-Encoding": name})
    assert service.records == [FULL_RECORD]


async def test_resource_that_every_record_repeats_cannot_fill_the_memory():
    async with serving(max_body_bytes=100_000) as service:
        records = [{"body": text("x")}] * 1000
        request = request_of(*records, resource=attributes(big=text("b" * 50_000)))
        answer = await service.post(PATH, request.SerializeToString(), PROTOBUF)
        assert answer.status == 413
        assert "repeated in each" in Status.from_bytes(answer.raw).message
        assert service.records == []


@pytest.mark.parametrize(
    "body", [b"\x0a\x00" * 40, b"\x0a\x28" + b"\x12\x00" * 20 + b"\x0a\x28" + b"\x12\x00" * 20]
)
async def test_more_empty_pieces_than_records_may_need_are_refused(body):
    async with serving(max_records=7) as service:
        answer = await service.post(PATH, body, PROTOBUF)
        assert answer.status == 413
        assert "at most 35 pieces" in Status.from_bytes(answer.raw).message


async def test_deeply_nested_body_is_refused(service):
    value = field_of(1, b"deep")
    for _ in range(60):
        value = field_of(5, field_of(1, value))
    answer = await service.post(PATH, field_of(1, field_of(2, field_of(2, field_of(5, value)))), PROTOBUF)
    assert answer.status == 400
    assert "nested" in Status.from_bytes(answer.raw).message


async def test_exporter_of_the_sdk_waits_as_long_as_it_is_told_and_sends_again(service):
    service.distributor.errors = [NotStored("full", 1), TooFast("too fast", 1)]
    exporter = OTLPLogExporter(service.url + PATH, timeout=20)
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))

    def send():
        provider.get_logger("l").emit(LogRecord(body="once", severity_number=SeverityNumber.INFO))
        provider.shutdown()

    await service.in_thread(send)
    assert (service.texts, len(service.distributor.calls)) == (["once"], 3)


values = st.recursive(
    st.builds(text, st.text(max_size=5))
    | st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1))
    | st.builds(AnyValue, double_value=st.floats(allow_nan=False))
    | st.builds(AnyValue, bytes_value=st.binary(max_size=4)),
    lambda inner: st.lists(inner, max_size=3).map(lambda many: AnyValue(array_value={"values": many})),
    max_leaves=5,
)
records = st.fixed_dictionaries(
    {"body": values},
    optional={
        "time_unix_nano": st.integers(0, 2**64 - 1),
        "severity_number": st.integers(0, 24),
        "severity_text": st.text(max_size=40),
        "attributes": st.dictionaries(st.text(max_size=4), values, max_size=3).map(
            lambda members: [KeyValue(key=key, value=value) for key, value in members.items()]
        ),
        "flags": st.integers(0, 255),
        "event_name": st.text(max_size=4),
    },
)


@given(st.lists(records, max_size=3))
def test_protobuf_and_json_give_the_same_records(made):
    request = request_of(*made)
    by_protobuf, by_json = Batch(10, 1 << 20), Batch(10, 1 << 20)
    read_protobuf(request.SerializeToString(), by_protobuf)
    read_json(as_json(request), by_json)
    assert [json.loads(one) for one in by_protobuf.records] == [json.loads(one) for one in by_json.records]
    assert len(by_protobuf) == len(made)


@given(st.binary(max_size=60))
def test_any_bytes_are_records_or_refused(data):
    batch = Batch(10, 1 << 20)
    for read in (read_protobuf, read_json):
        with suppress(Refused):
            read(data, batch)
    assert all(json.loads(one)["message"] for one in batch.records)
