"""Loki's push API: JSON and Snappy-packed protobuf say the same, and errors are lines of text."""

import gzip
import json
import logging

import cramjam
import logging_loki
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor.inputs.batch import Batch, Refused
from penstock.services.distributor.inputs.loki import labels_of, read_json, read_protobuf
from services.distributor.inputs.input_service import serving

PATH = "/loki/api/v1/push"
JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}
NS = 1_700_000_000_123_456_789


def push_request_class():
    """The messages of Loki's push.proto, made by Google's library, which shares nothing with ours."""
    file = descriptor_pb2.FileDescriptorProto(
        name="push.proto", package="logproto", syntax="proto3", dependency=["google/protobuf/timestamp.proto"]
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    text, message, once, often = (
        kinds.TYPE_STRING,
        kinds.TYPE_MESSAGE,
        kinds.LABEL_OPTIONAL,
        kinds.LABEL_REPEATED,
    )
    for name, fields in {
        "LabelPairAdapter": [("name", 1, text, once, ""), ("value", 2, text, once, "")],
        "EntryAdapter": [
            ("timestamp", 1, message, once, ".google.protobuf.Timestamp"),
            ("line", 2, text, once, ""),
            ("structuredMetadata", 3, message, often, ".logproto.LabelPairAdapter"),
            ("parsed", 4, message, often, ".logproto.LabelPairAdapter"),
        ],
        "StreamAdapter": [
            ("labels", 1, text, once, ""),
            ("entries", 2, message, often, ".logproto.EntryAdapter"),
            ("hash", 3, kinds.TYPE_UINT64, once, ""),
        ],
        "PushRequest": [("streams", 1, message, often, ".logproto.StreamAdapter")],
    }.items():
        made = file.message_type.add(name=name)
        for field, number, kind, label, type_name in fields:
            made.field.add(name=field, number=number, type=kind, label=label, type_name=type_name or None)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("logproto.PushRequest"))


PushRequest = push_request_class()


def in_json(streams):
    """Streams, as pairs of labels and entries (nanoseconds, line, metadata), in JSON."""
    made = []
    for labels, entries in streams:
        values = [[str(ns), line, *([metadata] if metadata else [])] for ns, line, metadata in entries]
        made.append({"stream": labels, "values": values})
    return json.dumps({"streams": made}).encode()


def in_protobuf(streams):
    """The same in protobuf, unpacked."""
    request = PushRequest()
    for labels, entries in streams:
        stream = request.streams.add(labels=go_labels(labels))
        for ns, line, metadata in entries:
            entry = stream.entries.add(line=line)
            entry.timestamp.seconds, entry.timestamp.nanos = divmod(ns, 10**9)
            for name, value in metadata.items():
                entry.structuredMetadata.add(name=name, value=value)
    return request.SerializeToString()


def go_labels(labels):
    return (
        "{"
        + ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())
        + "}"
    )


def snapped(data):
    return bytes(cramjam.snappy.compress_raw(data))


STREAMS = [
    (
        {"app": "billing", "level": "warn", "quote": 'a "b" \\ c'},
        [(NS, "one", {"trace": "t1"}), (NS + 1, "two", {})],
    ),
    ({"job": "cron"}, [(NS, "three", {"job": "other", "detected_level": "error"})]),
]
RECORDS = [
    {
        "message": "one", "level": "warn", "source": "billing", "timestamp": "2023-11-14T22:13:20.123456789Z",
        "metadata": {"app": "billing", "level": "warn", "quote": 'a "b" \\ c', "trace": "t1"},
    },
    {
        "message": "two", "level": "warn", "source": "billing", "timestamp": "2023-11-14T22:13:20.12345679Z",
        "metadata": {"app": "billing", "level": "warn", "quote": 'a "b" \\ c'},
    },
    {
        "message": "three", "level": "error", "source": "cron", "timestamp": "2023-11-14T22:13:20.123456789Z",
        "metadata": {
            "job": "cron", "detected_level": "error", "structured_metadata": {"job": "other"},
        },
    },
]  # fmt: skip


async def test_streams_in_json_become_records(service):
    answer = await service.post(PATH, in_json(STREAMS), JSON)
    assert (answer.status, answer.raw) == (204, b"")
    assert service.records == RECORDS


async def test_streams_in_snappy_protobuf_become_the_same_records(service):
    answer = await service.post(PATH, snapped(in_protobuf(STREAMS)), PROTOBUF)
    assert (answer.status, answer.raw) == (204, b"")
    assert service.records == RECORDS


async def test_snappy_may_be_named_and_json_may_be_packed(service):
    named = PROTOBUF | {"Content-Encoding": "snappy"}
    assert (await service.post(PATH, snapped(in_protobuf(STREAMS)), named)).status == 204
    packed = JSON | {"Content-Encoding": "gzip"}
    assert (await service.post(PATH, gzip.compress(in_json(STREAMS)), packed)).status == 204
    assert service.records == RECORDS * 2


async def test_entries_that_cannot_be_stored_are_named_and_the_others_stored():
    async with serving(max_record_bytes=10) as service:
        streams = [({"a": "b"}, [(NS, "good", {}), (NS, "", {}), (NS, "x" * 11, {}), (NS, "also", {})])]
        for body, headers in ((in_json(streams), JSON), (snapped(in_protobuf(streams)), PROTOBUF)):
            answer = await service.post(PATH, body, headers)
            assert answer.status == 400
            assert answer.headers["Content-Type"].startswith("text/plain")
            words = answer.raw.decode()
            assert words.startswith("2 entries are stored, 2 are not: entry 1: ")
            assert "entry 2: message must be at most 10 bytes, got 11" in words
        assert service.texts == ["good", "also"] * 2


@pytest.mark.parametrize("time", ["soon", "12.5", ""])
async def test_entry_without_a_time_in_nanoseconds_is_refused(service, time):
    body = json.dumps({"streams": [{"stream": {}, "values": [[time, "line"]]}]}).encode()
    answer = await service.post(PATH, body, JSON)
    assert answer.status == 400
    assert b"nanoseconds" in answer.raw


@pytest.mark.parametrize(("trouble", "status"), [("is_full", 503), ("is_asked_too_fast", 429)])
async def test_nothing_taken_for_now_is_told_in_text(service, trouble, status):
    getattr(service.distributor, trouble)()
    answer = await service.post(PATH, in_json(STREAMS), JSON)
    assert answer.status == status
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", JSON, 400),
        (b'{"streams": 1}', JSON, 400),
        (b'{"streams":[{"stream":{"a":1},"values":[]}]}', JSON, 400),
        (
            b'{"streams":[{"labels":"{}","entries":[{"ts":"2025-01-25T20:30:45Z","line":"of before 0.4"}]}]}',
            JSON,
            400,
        ),
        (b'{"streams":[' + b"{}," * (1 << 19) + b"{}]}", JSON, 413),
        (b"no snappy", PROTOBUF, 400),
        (snapped(b"\xff\xff"), PROTOBUF, 400),
        (b"\xff\xff\xff\xff\x0f", PROTOBUF, 413),
        (b"x", {"Content-Type": "text/plain"}, 415),
    ],
)
async def test_unreadable_requests_are_told_so(service, body, headers, status):
    answer = await service.post(PATH, body, headers)
    assert (answer.status, service.records) == (status, [])


async def test_labels_that_every_line_repeats_cannot_fill_the_memory():
    async with serving(max_body_bytes=100_000) as service:
        streams = [({"big": "b" * 50_000}, [(NS, "x", {})] * 1000)]
        answer = await service.post(PATH, snapped(in_protobuf(streams)), PROTOBUF)
        assert (answer.status, service.records) == (413, [])


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("{}", {}),
        ("", {}),
        ('{a="b"}', {"a": "b"}),
        ('{a="b",}', {"a": "b"}),
        ('{ a = "b" , c="}\\"," }', {"a": "b", "c": '}",'}),
        (r'{a="\n\t\\\x41\u00e9\U0001F600\101\ud800"}', {"a": "\n\t\\A\u00e9\U0001f600A\ufffd"}),
        ("{a=`raw \\n`}", {"a": "raw \\n"}),
    ],
)
def test_labels_are_read_as_go_writes_them(text, labels):
    assert labels_of(text) == labels


@pytest.mark.parametrize(
    "text", ["a", "{a}", '{a="b"', '{a="b"} x', '{a="b"c="d"}', '{="b"}', "{a='b'}", '"', "{{}}"]
)
def test_labels_that_are_none_are_refused(text):
    with pytest.raises(Refused, match="labels of a stream"):
        labels_of(text)


names = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
entries = st.tuples(st.integers(1, 2**62), texts, st.dictionaries(names, texts, max_size=2))


@given(
    st.lists(st.tuples(st.dictionaries(names, texts, max_size=3), st.lists(entries, max_size=3)), max_size=3)
)
def test_protobuf_and_json_give_the_same_records(streams):
    by_protobuf, by_json = Batch(100, 1 << 20), Batch(100, 1 << 20)
    read_protobuf(in_protobuf(streams), by_protobuf)
    read_json(in_json(streams), by_json)
    assert by_protobuf.records == by_json.records
    assert len(by_protobuf) == len(by_json) == sum(len(lines) for _, lines in streams)


async def test_handler_of_python_logging_loki_is_understood(service):
    handler = logging_loki.LokiHandler(url=service.url + PATH, tags={"app": "shop"}, version="1")
    log = logging.Logger("orders")
    log.addHandler(handler)
    try:
        await service.in_thread(log.warning, "cannot pay %s", "ü")
    finally:
        handler.emitter.close()
        handler.close()
    [record] = service.records
    assert (record["message"], record["level"], record["source"]) == ("cannot pay ü", "warning", "shop")
    assert record["metadata"] == {"app": "shop", "severity": "warning", "logger": "orders"}
    assert record["timestamp"].startswith("20")
