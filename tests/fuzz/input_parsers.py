"""The parsers of the inputs over HTTP: any bytes become records that are valid, or are refused."""

import gzip
import json
import zlib
from collections.abc import Callable

import cramjam
import msgspec

from fuzz.parsing import Parser
from penstock.protobuf.otlp import ExportLogsServiceRequest
from penstock.services.distributor.inputs import elasticsearch, gelf, loki, ndjson, otlp, splunk, times
from penstock.services.distributor.inputs.batch import Batch, Refused
from penstock.services.distributor.inputs.body import unpacked
from penstock.services.distributor.inputs.snappy import unsnapped, unsnapped_in_python
from penstock.services.distributor.packets import Message

MOST_RECORDS = 1000
MOST_BYTES = 1 << 20
MOST_UNPACKED = 1 << 16

decode = msgspec.json.Decoder(Message).decode

JSON_WORDS = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\n", b"null", b"true", b"\\u0000", b"\\ud800", b'\\"', b"{}",
    b"[]", b'"message":', b'"level":', b'"time":', b'"metadata":', b'"event":', b"\xff", b"\xc3\xbc",
    b"[" * 300, b'{"a":' * 300,
)  # fmt: skip
WIRE_WORDS = (
    b"\x0a", b"\x12", b"\x1a", b"\x2a", b"\x32", b"\xff\xff\xff\xff\x0f", b"\x0b", b"\x0c",
    b"\x80" * 10 + b"\x01", b"\x2a\x02" * 50,
)  # fmt: skip
LABEL_WORDS = tuple(b'\\ " ` = , { }'.split())


def reading(read: Callable[[bytes, Batch], None]) -> Callable[[bytes], None]:
    """Runs what puts records into a batch, and looks at each of them."""

    def run(data: bytes) -> None:
        batch = Batch(MOST_RECORDS, MOST_BYTES)
        status = refusal_of(read, data, batch)
        assert status in (0, 400, 413), status
        assert len(batch) <= MOST_RECORDS
        assert sum(map(len, batch.records)) <= MOST_BYTES
        for one in batch.records:
            assert b"\n" not in one
            assert decode(one).message
        if batch.records:
            json.loads(batch.records[-1])  # as others read JSON, too

    return run


def refusal_of(read: Callable[[bytes, Batch], None], data: bytes, batch: Batch) -> int:
    """The status with which a body is refused as a whole; 0 when it is not."""
    try:
        read(data, batch)
    except Refused as refused:
        return refused.status
    return 0


def run_bulk(data: bytes) -> None:
    """Every item of a bulk request has its place in the batch."""
    bulk = elasticsearch.Bulk("logs")

    def read(body: bytes, batch: Batch) -> None:
        bulk.read(body, batch)
        assert len(bulk.items) == len(batch)

    reading(read)(data)


def run_snappy(data: bytes) -> None:
    """The two that unpack agree, but that cramjam refuses some odd blocks that no packer makes."""
    outcomes = []
    for unpack in (unsnapped, unsnapped_in_python):
        try:
            outcomes.append(unpack(data, MOST_UNPACKED))
            assert len(outcomes[-1]) <= MOST_UNPACKED
        except Refused as refused:
            outcomes.append(refused.status)
    assert outcomes[0] in (400, outcomes[1])


def read_packed_gelf(data: bytes, batch: Batch) -> None:
    gelf.read_gelf(unpacked(data, MOST_UNPACKED), batch)


def read_packed_loki(data: bytes, batch: Batch) -> None:
    loki.read_protobuf(unsnapped(data, MOST_UNPACKED), batch)


def read_labels(data: bytes, batch: Batch) -> None:
    labels = loki.labels_of(data.decode("utf-8", "replace"))
    assert all(isinstance(value, str) for value in labels.values())
    json.dumps(labels).encode()


def run_times(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (times.of_text, times.of_seconds, times.of_number):
        if (made := read(text)) is not None:
            message = {"message": "x", "timestamp": made}
            decode(json.dumps(message).encode())


def read_raw(data: bytes, batch: Batch) -> None:
    splunk.read_raw(data, {"host": "h", "source": "s", "time": "1700000000"}, batch)


def member(number: int, *inside: bytes) -> bytes:
    """A length-delimited field of protobuf, of less than 128 bytes."""
    data = b"".join(inside)
    return bytes([number << 3 | 2, len(data)]) + data


def snapped(data: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(data))


NDJSON = (
    b'{"message":"paid","level":"warn","source":"shop","timestamp":"2025-01-25T20:30:45Z","metadata":{"a":1}}\n',
    b'{"msg":"hi","level":30,"time":1700000000123,"err":{"stack":"a\\nb"}}\n{"log":"x"}\n\n{"a":[1,{"b":null}]}',
    b'{"log":{"level":"warn","logger":"l"},"@timestamp":"2025-01-25 20:30:45,2 +0200","message":"\xc3\xbc"}',
)
NESTED = {"kvlistValue": {"values": [{"key": "d", "value": {"bytesValue": "AP8="}}]}}
LOG_RECORD = {
    "timeUnixNano": "1700000000000000000",
    "severityNumber": 9,
    "severityText": "Info",
    "body": {"stringValue": "hello"},
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "flags": 1,
    "eventName": "e",
    "attributes": [
        {"key": "a", "value": {"intValue": "7"}},
        {"key": "b", "value": {"arrayValue": {"values": [{"doubleValue": 0.5}]}}},
        {"key": "c", "value": NESTED},
    ],
}
RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": "auth"}}]}
SCOPE_LOGS = {
    "scope": {"name": "lib", "version": "1"},
    "logRecords": [LOG_RECORD, {"body": {"boolValue": True}}],
}
OTLP_JSON = json.dumps({"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [SCOPE_LOGS]}]}).encode()
OTLP = ExportLogsServiceRequest.from_json(OTLP_JSON).to_bytes()
LABELS = b'{app="a", level="w\\"\\n\\x41\\u00e9", raw=`a\\b`}'
LOKI_JSON = (
    b'{"streams":[{"stream":{"app":"a","level":"warn"},"values":'
    b'[["1700000000000000000","one"],["1","two",{"t":"x"}]]}]}'
)
LOKI = member(
    1,
    member(1, LABELS),
    member(2, member(1, b"\x08\x80\xe2\xcf\xaa\x06\x10\x95\x9a\xef\x3a"), member(2, b"one")),
    member(2, member(1, b"\x08\x01"), member(2, b"two"), member(3, member(1, b"t"), member(2, b"x"))),
)
BULK = (
    b'{"create":{}}\n{"message":"one","a":1}\n'
    b'{"index":{"_index":"own","_id":"7"}}\n{"@timestamp":"2025-01-25T20:30:45Z"}\n'
    b'{"delete":{"_id":"1"}}\n{"update":{"_id":"1"}}\n{"doc":{}}\n'
)
EVENTS = (
    b'{"time":1700000000.123,"host":"h","source":"s","sourcetype":"t","index":"i","event":"hello",'
    b'"fields":{"level":"WARN"}}{"event":{"message":"m","user":"u"}}\n {"event":[1,2],"time":"7"}'
)
GELF = (
    b'{"version":"1.1","host":"h","short_message":"hi","full_message":"hi\\nall","level":4,'
    b'"timestamp":1385053862.3072,"_u":"1"}'
)
TIMES = b"2025-01-25T20:30:45.123Z|2025-01-25 20:30:45,5 +0200|1700000000.123|1.7e9|1700000000000000000"

PARSERS = {
    "ndjson": Parser(reading(ndjson.read_lines), NDJSON, JSON_WORDS),
    "otlp_protobuf": Parser(reading(otlp.read_protobuf), (OTLP, OTLP * 2), WIRE_WORDS),
    "otlp_json": Parser(reading(otlp.read_json), (OTLP_JSON,), JSON_WORDS),
    "loki_protobuf": Parser(reading(loki.read_protobuf), (LOKI, LOKI * 2), WIRE_WORDS),
    "loki_snappy": Parser(reading(read_packed_loki), (snapped(LOKI * 3),), WIRE_WORDS),
    "loki_json": Parser(reading(loki.read_json), (LOKI_JSON,), JSON_WORDS),
    "loki_labels": Parser(reading(read_labels), (LABELS, b'{a="b"}'), LABEL_WORDS),
    "snappy": Parser(run_snappy, (snapped(b"log line " * 40), snapped(OTLP), snapped(b"")), WIRE_WORDS),
    "elasticsearch_bulk": Parser(run_bulk, (BULK,), (*JSON_WORDS, b'{"create":{}}\n', b'{"index":{}}\n')),
    "splunk_events": Parser(reading(splunk.read_events), (EVENTS,), JSON_WORDS),
    "splunk_raw": Parser(reading(read_raw), (b"one\r\n\n  two\n\xffthree", b"\n" * 50), (b"\n", b"\r", b" ")),
    "gelf": Parser(
        reading(read_packed_gelf),
        (GELF, GELF * 2, zlib.compress(GELF), gzip.compress(GELF, mtime=0)),
        JSON_WORDS,
    ),
    "times": Parser(run_times, tuple(TIMES.split(b"|")), tuple(b"e . - + : Z T".split())),
}
