"""Real log lines through the real clients of every protocol over HTTP arrive, equal and once each."""

import json
import logging
import os
import re
from itertools import islice

import cramjam
import graypy
import logging_loki
import pygelf
import pytest
import requests
import splunk_handler
import splunk_hec_handler
from elasticsearch import Elasticsearch, helpers
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from penstock.services.distributor.config import ApiKey
from services.distributor.inputs.arrival import arriving, log_lines
from services.distributor.inputs.test_input_loki import in_protobuf

ONE_BY_ONE = int(os.environ.get("PENSTOCK_RECORDS", "500"))
"""Records of clients that make a request of each, three hundred a second or so."""


def batches(lines, size=1000):
    rest = iter(lines)
    return iter(lambda: list(islice(rest, size)), [])


def through(handler, lines):
    """Logs lines by a handler of `logging`."""
    log = logging.Logger("arrival")
    log.addHandler(handler)
    for line in lines:
        log.warning("%s", line)
    handler.close()


def posted(url, bodies, status, headers=()):
    with requests.Session() as session:
        session.headers.update(headers)
        for body in bodies:
            answer = session.post(url, data=body)
            assert answer.status_code == status, answer.text


def send_ndjson(arrival, lines):
    bodies = (
        "".join(json.dumps({"message": line}) + "\n" for line in batch).encode() for batch in batches(lines)
    )
    posted(arrival.url + "/api/v1/ndjson", bodies, 202, {"Content-Type": "application/x-ndjson"})


def send_otlp(arrival, lines):
    exporter = OTLPLogExporter(arrival.url + "/v1/logs", compression=Compression.Gzip)
    provider = LoggerProvider(Resource({"service.name": "arrival"}))
    options = {"max_queue_size": len(lines) + 1, "schedule_delay_millis": 50}
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, **options))
    log = provider.get_logger("lines")
    for number, line in enumerate(lines):
        record = LogRecord(
            timestamp=1_700_000_000_000_000_000 + number, body=line, severity_number=SeverityNumber.WARN,
            severity_text="WARN", attributes={"number": number},
        )  # fmt: skip
        log.emit(record)
    provider.shutdown()


def send_loki(arrival, lines):
    handler = logging_loki.LokiHandler(
        url=arrival.url + "/loki/api/v1/push", tags={"app": "arrival"}, version="1"
    )
    through(handler, lines)
    handler.emitter.close()


def send_loki_protobuf(arrival, lines):
    """As Promtail and Alloy do."""
    bodies = (
        bytes(
            cramjam.snappy.compress_raw(
                in_protobuf([({"app": "arrival"}, [(1, line, {}) for line in batch])])
            )
        )
        for batch in batches(lines)
    )
    posted(arrival.url + "/loki/api/v1/push", bodies, 204, {"Content-Type": "application/x-protobuf"})


def send_elasticsearch(arrival, lines):
    with Elasticsearch(arrival.url) as client:
        actions = ({"_op_type": "create", "_index": "lines", "message": line} for line in lines)
        assert helpers.bulk(client, actions, chunk_size=1000) == (len(lines), [])


def send_splunk_batches(arrival, lines):
    handler = splunk_handler.SplunkHandler(
        "127.0.0.1", arrival.port, "a-token", "main",
        protocol="http", verify=False, flush_interval=3600, queue_size=0,
    )  # fmt: skip
    log = logging.Logger("arrival")
    log.addHandler(handler)
    for batch in batches(lines, 40):  # so few that it never puts some off for a second, as it reckons
        for line in batch:
            log.warning("%s", line)
        handler.force_flush()
    handler.close()
    handler.session.close()


def send_splunk(arrival, lines):
    handler = splunk_hec_handler.SplunkHecHandler("127.0.0.1", "a-token", port=arrival.port, proto="http")
    log = logging.Logger("arrival")
    log.addHandler(handler)
    for line in lines:
        log.warning({"message": line})
    handler.r.close()
    handler.close()


def send_splunk_raw(arrival, lines):
    bodies = ("\n".join(batch).encode() for batch in batches(lines))
    posted(arrival.url + "/services/collector/raw?source=arrival", bodies, 200)


def send_pygelf(arrival, lines):
    through(pygelf.GelfHttpHandler("127.0.0.1", arrival.port), lines)


def send_graypy(arrival, lines):
    through(graypy.GELFHTTPHandler("127.0.0.1", arrival.port), lines)


def level_and_source(arrival):
    return {(message.level, message.source) for message in arrival.messages}


async def test_ndjson_posted_by_requests_arrives(tmp_path):
    async with arriving(tmp_path) as arrival:
        await arrival.sent_by(send_ndjson, arrival, log_lines())
        await arrival.is_complete(log_lines())


async def test_otlp_sent_by_the_opentelemetry_sdk_arrives(tmp_path):
    async with arriving(tmp_path) as arrival:
        await arrival.sent_by(send_otlp, arrival, log_lines())
        await arrival.is_complete(log_lines())
        numbers = {message.metadata["number"] for message in arrival.messages}
        assert numbers == set(range(len(log_lines())))
        assert level_and_source(arrival) == {("WARN", "arrival")}


async def test_loki_json_sent_by_python_logging_loki_arrives(tmp_path):
    lines = log_lines(ONE_BY_ONE)
    async with arriving(tmp_path) as arrival:
        await arrival.sent_by(send_loki, arrival, lines)
        await arrival.is_complete(lines)
        assert level_and_source(arrival) == {("warning", "arrival")}


async def test_loki_protobuf_made_by_googles_library_and_snappy_arrives(tmp_path):
    async with arriving(tmp_path) as arrival:
        await arrival.sent_by(send_loki_protobuf, arrival, log_lines())
        await arrival.is_complete(log_lines())


async def test_bulk_sent_by_the_elasticsearch_client_arrives(tmp_path):
    async with arriving(tmp_path) as arrival:
        await arrival.sent_by(send_elasticsearch, arrival, log_lines())
        await arrival.is_complete(log_lines())


async def test_events_sent_by_splunk_handler_arrive(tmp_path):
    async with arriving(tmp_path) as arrival:
        await arrival.sent_by(send_splunk_batches, arrival, log_lines())
        await arrival.is_complete(log_lines())


async def test_events_sent_by_splunk_hec_handler_arrive(tmp_path):
    lines = log_lines(ONE_BY_ONE)
    async with arriving(tmp_path) as arrival:
        await arrival.sent_by(send_splunk, arrival, lines)
        await arrival.is_complete(lines)
        assert {message.level for message in arrival.messages} == {"WARNING"}


async def test_raw_lines_posted_to_splunks_collector_arrive(tmp_path):
    async with arriving(tmp_path) as arrival:
        await arrival.sent_by(send_splunk_raw, arrival, log_lines())
        await arrival.is_complete(log_lines())


@pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning"
)  # left to the collector by both handlers
@pytest.mark.parametrize("send", [send_pygelf, send_graypy])
async def test_gelf_sent_by_the_handlers_of_graylog_arrives(tmp_path, send):
    lines = log_lines(ONE_BY_ONE)
    async with arriving(tmp_path) as arrival:
        await arrival.sent_by(send, arrival, lines)
        await arrival.is_complete(lines)
        assert {message.level for message in arrival.messages} == {"WARNING"}


async def test_clients_with_a_key_in_their_protocols_place_are_let_in_and_others_are_not(tmp_path):
    key = "a-key-of-some-length"
    places = [
        ("/services/collector", b'{"event":"x"}', {"Authorization": f"Splunk {key}"}),
        ("/v1/logs", b"{}", {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}),
    ]
    async with arriving(tmp_path, api_keys=(ApiKey("one", key),)) as arrival:

        def send():
            for path, body, headers in places:
                assert requests.post(arrival.url + path, data=body, headers=headers).status_code == 200
                assert requests.post(arrival.url + path, data=body).status_code == 401
            body = json.dumps({"streams": [{"stream": {}, "values": [["1", "x"]]}]})
            options = {"data": body, "headers": {"Content-Type": "application/json"}}
            url = arrival.url + "/loki/api/v1/push"
            assert requests.post(url, auth=("me", key), **options).status_code == 204
            refused = requests.post(url, auth=("me", "no"), **options)
            assert refused.status_code == 401
            assert re.fullmatch(r"[^{]+\n", refused.text)
            for shown in ({"api_key": key}, {"basic_auth": ("me", key)}):
                with Elasticsearch(arrival.url, **shown) as client:
                    assert helpers.bulk(client, [{"_index": "i", "message": "x"}]) == (1, [])

        await arrival.sent_by(send)
        await arrival.is_complete(["x"] * 4)
