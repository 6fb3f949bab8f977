"""Deliveries over OTLP/HTTP, read with the official classes, to receivers that answer what they may."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from penstock.services.distributor.carrier import DeliveryFailed, PacketFailure
from penstock.services.distributor.carriers import Carriers
from penstock.services.distributor.carriers.otlp import encode
from penstock.services.distributor.carriers.otlp_records import severity, unix_nanoseconds
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import AnalyzerConfig, Config
from services.distributor.analyzer_servers import http_server, raw_server, response

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def packet(*messages, id_="p0", failures=0):
    body = msgspec.json.encode({"messages": list(messages), "id": id_})
    return Stored(1, id_, len(messages), len(body), body, failures=failures)


def hello(n=0):
    return {"message": "hello", "level": "INFO", "source": f"svc{n % 2}"}


def carried(*packets, content_type="application/x-protobuf"):
    """Packets as the official classes read them."""
    encoded = encode(packets, 77, content_type)
    assert not encoded.wrong
    return ExportLogsServiceRequest.FromString(encoded.body)


def record_of(message, **more):
    [resource] = carried(packet(message, **more)).resource_logs
    [scope] = resource.scope_logs
    [record] = scope.log_records
    return resource.resource, scope.scope, record


def values(attributes):
    return {one.key: value_of(one.value) for one in attributes}


def value_of(value):
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value_of(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return values(value.kvlist_value.values)
    return getattr(value, kind)


# Records


def test_message_becomes_a_record_with_all_that_it_says():
    metadata = {
        "user": "u1", "trace_id": TRACE_ID, "span_id": SPAN_ID, "trace_flags": 1, "event_name": "login",
        "observed_timestamp": "2025-01-25T20:30:46Z", "resource": {"host.name": "h1"},
        "scope": {"name": "lib", "version": "1.2", "attributes": {"a": 1}},
    }  # fmt: skip
    resource, scope, record = record_of(
        {
            "message": "hi", "level": "warning", "source": "svc", "id": "m1",
            "timestamp": "2025-01-25T21:30:45.000000001+01:00", "metadata": metadata,
        },
        id_="p7", failures=2,
    )  # fmt: skip
    assert values(resource.attributes) == {"service.name": "svc", "host.name": "h1"}
    assert (scope.name, scope.version, values(scope.attributes)) == ("lib", "1.2", {"a": 1})
    assert record.body.string_value == "hi"
    assert (record.severity_number, record.severity_text) == (13, "warning")
    assert record.time_unix_nano == 1_737_837_045_000_000_001
    assert record.observed_time_unix_nano == 1_737_837_046_000_000_000
    assert (record.trace_id.hex(), record.span_id.hex(), record.flags) == (TRACE_ID, SPAN_ID, 1)
    assert record.event_name == "login"
    assert values(record.attributes) == {
        "user": "u1", "log.record.uid": "m1", "penstock.packet.id": "p7", "penstock.packet.retry_count": 2,
    }  # fmt: skip


def test_numbers_that_the_otlp_input_keeps_and_attributes_with_names_of_fields_go_back_to_their_places():
    metadata = {
        "severity_number": 11, "dropped_attributes_count": 3, "scope": {"name": "lib"},
        "attributes": {"scope": "s", "trace_id": "t"},
    }  # fmt: skip
    _, scope, record = record_of({"message": "hi", "level": "INFO", "metadata": metadata})
    assert (record.severity_number, record.dropped_attributes_count, scope.name) == (11, 3, "lib")
    assert values(record.attributes) == {"scope": "s", "trace_id": "t", "penstock.packet.id": "p0"}


def test_message_with_nothing_but_a_text_becomes_a_record():
    resource, scope, record = record_of({"message": "hi"})
    assert values(resource.attributes) == {}
    assert scope.name == ""
    assert (record.severity_number, record.severity_text, record.time_unix_nano) == (9, "INFO", 0)
    assert record.observed_time_unix_nano == 77, "when it was sent"
    assert values(record.attributes) == {"penstock.packet.id": "p0"}


def test_what_only_looks_like_a_field_stays_an_attribute():
    metadata = {
        "trace_id": "0" * 32, "span_id": "xyz", "trace_flags": True, "event_name": 5,
        "observed_timestamp": "yesterday", "resource": "r", "scope": [], "severity_number": 99,
        "dropped_attributes_count": -1, "attributes": {"mine": 1, "scope": 2},
    }  # fmt: skip
    _, _, record = record_of({"message": "hi", "metadata": metadata})
    assert values(record.attributes) == metadata | {"penstock.packet.id": "p0"}
    assert (record.trace_id, record.span_id, record.flags, record.event_name) == (b"", b"", 0, "")


@pytest.mark.parametrize("text", ["1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z"])
def test_time_that_otlp_cannot_say_is_kept_as_it_was_written(text):
    _, _, record = record_of({"message": "hi", "timestamp": text})
    assert record.time_unix_nano == 0
    assert values(record.attributes)["timestamp"] == text


def test_every_resource_and_scope_is_there_once():
    scopes = [{"scope": {"name": "a"}}, {"scope": {"name": "b"}}, {}]
    batch = [
        packet(*[hello(n) | {"metadata": scopes[n % 3]} for n in range(12)], id_=f"p{i}") for i in range(2)
    ]
    request = carried(*batch)
    assert [values(one.resource.attributes)["service.name"] for one in request.resource_logs] == [
        "svc0", "svc1",
    ]  # fmt: skip
    for resource in request.resource_logs:
        assert sorted(scope.scope.name for scope in resource.scope_logs) == ["", "a", "b"]
    assert sum(len(s.log_records) for r in request.resource_logs for s in r.scope_logs) == 24


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text().map("m.{}".format), json_values, max_size=5))
def test_any_metadata_arrives_as_attributes(metadata):
    _, _, record = record_of({"message": "hi", "metadata": metadata})
    found = values(record.attributes)
    del found["penstock.packet.id"]
    assert found == json.loads(json.dumps(metadata))


def test_number_beyond_64_bits_and_what_is_nested_deeply_arrive_as_text():
    deep = []
    for _ in range(40):
        deep = [deep]
    _, _, record = record_of({"message": "hi", "metadata": {"big": 2**63, "deep": deep}})
    found = values(record.attributes)
    assert found["big"] == "9223372036854775808"
    for _ in range(16):
        [found["deep"]] = found["deep"]
    assert found["deep"] == "[" * 25 + "]" * 25


@given(st.datetimes(datetime(1970, 1, 2), datetime(2550, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_times_are_told_to_the_microsecond_whatever_their_zone(moment, offset):
    from datetime import timezone

    moment = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert unix_nanoseconds(moment.isoformat()) == since // timedelta(microseconds=1) * 1000


def test_leap_second_is_the_first_of_the_next_minute():
    assert unix_nanoseconds("2016-12-31T23:59:60Z") == unix_nanoseconds("2017-01-01T00:00:00z")


@pytest.mark.parametrize(
    ("level", "number"),
    [
        ("TRACE", 1), ("Debug", 5), ("info", 9), ("NOTICE", 10), ("WARNING", 13), ("warn", 13), ("ERROR", 17),
        ("CRITICAL", 18), ("ALERT", 19), ("EMERGENCY", 21), ("FATAL", 21), ("AUDIT", 0),
    ],
)  # fmt: skip
def test_levels_have_the_numbers_of_the_data_model(level, number):
    assert severity(level) == number


def test_json_has_hexadecimal_ids_and_numbers_for_severities():
    message = hello() | {"level": "AUDIT", "metadata": {"trace_id": TRACE_ID, "span_id": SPAN_ID}}
    document = json.loads(encode([packet(message, hello())], 77, "application/json").body)
    [scope] = document["resourceLogs"][0]["scopeLogs"]
    first, second = scope["logRecords"]
    assert (first["traceId"], first["spanId"], first["severityNumber"]) == (TRACE_ID, SPAN_ID, 0)
    assert (second["severityNumber"], "traceId" in second) == (9, False)
    official = MessageToDict(carried(packet(hello())), use_integers_for_enums=True)
    assert json.loads(encode([packet(hello())], 77, "application/json").body) == official


def test_packet_that_cannot_be_read_does_not_hold_up_the_others():
    broken = Stored(2, "p1", 1, 9, b'{"messages":[{"message":5}],"id":"p1"}')
    encoded = encode([packet(hello()), broken], 77, "application/x-protobuf")
    assert encoded.records == 1
    assert list(encoded.wrong) == ["p1"]


# Deliveries


async def delivered(analyzer, *batch):
    analyzer = msgspec.structs.replace(analyzer, kind="otlp")
    async with Carriers(Config()) as client:
        return await client.deliver(analyzer, batch or [packet(hello()), packet(hello(), hello(), id_="p1")])


def partly(rejected, words=""):
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = rejected
    answer.partial_success.error_message = words
    return answer.SerializeToString()


async def test_delivery_goes_to_the_path_of_the_protocol_unless_the_url_has_one():
    seen = []

    async def take(request):
        seen.append((request.path, request.content_type, await request.read()))
        return web.Response(body=b"", content_type="application/x-protobuf")

    async with http_server(take) as analyzer:
        assert await delivered(analyzer) == {}
        root = msgspec.structs.replace(analyzer, url=analyzer.url.removesuffix("packets"))
        assert await delivered(root) == {}
        assert await delivered(msgspec.structs.replace(root, url=root.url.rstrip("/"))) == {}
    assert [path for path, _, _ in seen] == ["/packets", "/v1/logs", "/v1/logs"]
    assert {kind for _, kind, _ in seen} == {"application/x-protobuf"}
    [resource] = ExportLogsServiceRequest.FromString(seen[0][2]).resource_logs
    assert len(resource.scope_logs[0].log_records) == 3


async def test_analyzer_that_wants_json_gets_it():
    seen = []

    async def take(request):
        seen.append((request.content_type, await request.json()))
        said = {"rejectedLogRecords": "3", "errorMessage": "no", "of a later version": True}
        return web.json_response({"partialSuccess": said, "and": 1})

    async with http_server(take, headers={"content-type": "application/json"}) as analyzer:
        failures = await delivered(analyzer)
    [(content_type, document)] = seen
    assert content_type == "application/json"
    assert len(document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]) == 3
    assert failures["p0"] == PacketFailure("rejected 3 of 3 log records: no", final=True)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (partly(3, "too old"), "rejected 3 of 3 log records: too old"),
        (partly(1), "rejected 1 of 3 log records: no reason given"),
        (partly(2**62), "rejected 3 of 3 log records: no reason given"),
    ],
)
async def test_records_that_were_rejected_cost_the_delivery_and_are_not_sent_again(said, words):
    """Which they were nobody says: all become dead letters, so that none is lost."""
    async with raw_server(response(said)) as analyzer:
        assert await delivered(analyzer) == dict.fromkeys(("p0", "p1"), PacketFailure(words, final=True))


@pytest.mark.parametrize("said", [b"", partly(0), partly(0, "use v2, please"), partly(-1), b"\xff", b"OK"])
async def test_2xx_that_rejects_nothing_means_delivered(said):
    async with raw_server(response(said)) as analyzer:
        assert await delivered(analyzer) == {}


@pytest.mark.parametrize("status", [429, 502, 503, 504, 400, 401, 413])
async def test_statuses_that_the_protocol_or_our_settings_decide_fail_the_delivery(status):
    answer = response(status=b"%d No" % status, headers=b"Retry-After: 9\r\n")
    async with raw_server(answer) as analyzer:
        with pytest.raises(DeliveryFailed) as failed:
            await delivered(analyzer)
    assert (failed.value.status, failed.value.retry_after) == (status, 9)


@pytest.mark.parametrize("status", [500, 501, 505])
async def test_other_statuses_of_5xx_are_not_tried_again(status):
    async with raw_server(response(status=b"%d No" % status)) as analyzer:
        failures = await delivered(analyzer)
    assert failures == dict.fromkeys(("p0", "p1"), PacketFailure(f"answered {status} No", status, final=True))


async def test_packets_that_cannot_be_written_fail_without_a_delivery():
    broken = Stored(2, "p1", 1, 9, b'{"messages":[{"message":5}],"id":"p1"}')
    nobody = AnalyzerConfig("a1", "http://127.0.0.1:9/")
    failures = await delivered(nobody, broken)
    assert failures["p1"].final
    assert "cannot be written as OTLP" in failures["p1"].error


async def test_health_is_asked_for_only_where_there_is_a_url_for_it():
    async with raw_server(response(status=b"503 Ill")) as analyzer, Carriers(Config()) as client:
        receiver = msgspec.structs.replace(analyzer, kind="otlp")
        await client.probe(receiver)
        with pytest.raises(DeliveryFailed, match="its health answered 503"):
            await client.probe(msgspec.structs.replace(receiver, health_url=analyzer.url))
