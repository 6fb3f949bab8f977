"""Inputs of the distributor over HTTP: from the bytes of 1,000 records to what can be stored."""

import json

import cramjam

from penstock.protobuf.otlp import ExportLogsServiceRequest
from penstock.services.distributor.inputs import elasticsearch, gelf, loki, ndjson, otlp, splunk
from penstock.services.distributor.inputs.batch import Batch
from penstock.services.distributor.inputs.snappy import unsnapped, unsnapped_in_python

N = 1000
LINE = "Multiple login attempts detected for user_12345 from 192.168.1.100, attempt {}"
LINES = [LINE.format(number) for number in range(N)]
NS = 1_700_000_000_000_000_000


def as_lines(objects):
    return b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in objects)


def messages():
    for line in LINES:
        yield {
            "message": line,
            "level": "ERROR",
            "source": "security-monitor",
            "timestamp": "2025-01-25T20:30:45Z",
            "metadata": {"user_id": "user_12345"},
        }


def logged():
    for number, line in enumerate(LINES):
        yield {
            "time": 1_700_000_000_000 + number,
            "level": 30,
            "msg": line,
            "pid": 7,
            "user_id": "user_12345",
        }


def otlp_request():
    attribute = {"key": "user_id", "value": {"stringValue": "user_12345"}}
    records = [
        {
            "timeUnixNano": str(NS + number),
            "severityNumber": 17,
            "severityText": "ERROR",
            "body": {"stringValue": line},
            "attributes": [attribute],
        }
        for number, line in enumerate(LINES)
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "security-monitor"}}]}
    made = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}
    return json.dumps(made, separators=(",", ":")).encode()


def loki_request():
    values = [[str(NS + number), line] for number, line in enumerate(LINES)]
    stream = {"app": "security-monitor", "level": "error"}
    return json.dumps({"streams": [{"stream": stream, "values": values}]}).encode()


def push_request():
    """The same in protobuf."""
    entries = b"".join(
        field(2, field(1, b"\x08\x80\xe2\xcf\xaa\x06\x10\x01") + field(2, line.encode())) for line in LINES
    )
    return field(1, field(1, b'{app="security-monitor", level="error"}') + entries)


def field(number, data):
    size, length = len(data), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + data


def events():
    for number, line in enumerate(LINES):
        yield {"time": 1.7e9 + number, "host": "h1", "source": "security-monitor", "event": line}


def gelf_messages():
    for number, line in enumerate(LINES):
        yield {"version": "1.1", "host": "h1", "short_message": line, "level": 3, "timestamp": 1.7e9 + number}


def read_raw(body, batch):
    splunk.read_raw(body, {"host": "h1"}, batch)


def read_bulk(body, batch):
    elasticsearch.Bulk("logs").read(body, batch)


OTLP_JSON = otlp_request()
DOCUMENTS = as_lines(messages()).splitlines()
BODIES = {
    "ndjson, messages": (ndjson.read_lines, as_lines(messages())),
    "ndjson, objects": (ndjson.read_lines, as_lines(logged())),
    "otlp, protobuf": (otlp.read_protobuf, ExportLogsServiceRequest.from_json(OTLP_JSON).to_bytes()),
    "otlp, json": (otlp.read_json, OTLP_JSON),
    "loki, protobuf": (loki.read_protobuf, push_request()),
    "loki, json": (loki.read_json, loki_request()),
    "elasticsearch": (read_bulk, b"".join(b'{"create":{}}\n' + line + b"\n" for line in DOCUMENTS)),
    "splunk, events": (splunk.read_events, as_lines(events())),
    "splunk, raw": (read_raw, "\n".join(LINES).encode()),
    "gelf": (gelf.read_gelf, as_lines(gelf_messages())),
}


class Inputs:
    params, param_names = [list(BODIES)], ["input"]

    def setup(self, name):
        self.read, self.body = BODIES[name]

    def time_read_1k_records(self, name):
        batch = Batch(N, 1 << 24)
        self.read(self.body, batch)
        assert len(batch.records) == N


class Snappy:
    params, param_names = [["cramjam", "python"]], ["by"]

    def setup(self, by):
        self.unpack = unsnapped if by == "cramjam" else unsnapped_in_python
        self.block = bytes(cramjam.snappy.compress_raw(push_request()))

    def time_unpack_1k_lines(self, by):
        self.unpack(self.block, 1 << 24)
