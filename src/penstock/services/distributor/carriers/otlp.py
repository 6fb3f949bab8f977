"""Packets over OTLP/HTTP, the protocol of OpenTelemetry, to a Collector and whoever else speaks it.

    POST {url}          Content-Type: application/x-protobuf, an ExportLogsServiceRequest. The path of a URL
                        without one is /v1/logs. With a Content-Type of application/json among the analyzer's
                        headers, it is OTLP's JSON
    2xx                 received; partial_success tells how many records were rejected
    429, 502, 503, 504  nothing of it was processed, and it is sent again
    anything else       it is not sent again

Two rules of the protocol meet a promise of ours. What was rejected must not be sent again, so it becomes a
dead letter at once; and an answer tells how many records were rejected, not which, so all packets of that
delivery do: those that the receiver did take come twice if somebody replays them, and none is lost.

Nobody is asked for its health unless there is a health_url: OTLP has no such question.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from penstock.clock import Clock
from penstock.protobuf import DecodeError
from penstock.protobuf.otlp import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from penstock.services.distributor.carrier import DeliveryFailed, PacketFailure
from penstock.services.distributor.carriers.otlp_records import request_of
from penstock.services.distributor.carriers.posting import Answer, Poster
from penstock.services.distributor.carriers.verdict import MAX_WORDS
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import AnalyzerConfig
from penstock.services.printable import one_line

__all__ = ["OtlpCarrier"]

log = logging.getLogger(__name__)

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
RETRYABLE = (429, 502, 503, 504)


class Encoded(NamedTuple):
    """A request, ready to be sent."""

    body: bytes
    records: int
    wrong: dict[str, str]
    """What is wrong with packets that are not in it, by id."""


class OtlpCarrier:
    """Carries the messages of packets as log records.

    Args:
        poster: sends them.
        wall: Unix nanoseconds.
    """

    def __init__(self, poster: Poster, wall: Clock = time_ns) -> None:
        self._poster = poster
        self._wall = wall

    async def deliver(
        self, analyzer: AnalyzerConfig, packets: Sequence[Stored]
    ) -> Mapping[str, PacketFailure]:
        """See `AnalyzerClient`."""
        content_type = content_type_of(analyzer)
        encoded = await asyncio.to_thread(encode, packets, self._wall(), content_type)
        failures = {id_: never_again(why) for id_, why in encoded.wrong.items()}
        if not encoded.records:
            return failures
        try:
            answer = await self._poster.post(analyzer, encoded.body, content_type, logs_url(analyzer.url))
        except DeliveryFailed as error:
            if error.status is None or error.status < 500 or error.status in RETRYABLE:
                raise
            return refused(packets, str(error), error.status) | failures
        return self._rejected(analyzer, packets, encoded.records, answer) | failures

    def _rejected(
        self, analyzer: AnalyzerConfig, packets: Sequence[Stored], records: int, answer: Answer
    ) -> dict[str, PacketFailure]:
        said = partial_success(answer)
        if said is None:
            return {}
        words = one_line(said.error_message, MAX_WORDS)
        if said.rejected_log_records <= 0:
            if words:
                log.warning("analyzer %s took a delivery and says: %s", analyzer.id, words)
            return {}
        rejected = min(said.rejected_log_records, records)
        return refused(packets, f"rejected {rejected} of {records} log records: {words or 'no reason given'}")

    async def probe(self, analyzer: AnalyzerConfig) -> None:
        """Asks the `health_url`; well when there is none."""
        if analyzer.health_url:
            await self._poster.probe(analyzer)

    async def forget(self, analyzer: AnalyzerConfig) -> None:
        """See `AnalyzerClient`."""
        self._poster.forget(analyzer)


def encode(packets: Sequence[Stored], now_ns: int, content_type: str) -> Encoded:
    request, records, wrong = request_of(packets, now_ns)
    body = otlp_json(request) if content_type == JSON else request.to_bytes()
    return Encoded(body, records, wrong)


def otlp_json(request: ExportLogsServiceRequest) -> bytes:
    """OTLP's own JSON: as protobuf's, but trace and span ids are hexadecimal, and enums numbers."""
    document = request.to_dict()
    for resource, resource_made in zip(request.resource_logs, document.get("resourceLogs", ()), strict=True):
        for scope, scope_made in zip(resource.scope_logs, resource_made.get("scopeLogs", ()), strict=True):
            for record, made in zip(scope.log_records, scope_made.get("logRecords", ()), strict=True):
                made["severityNumber"] = int(record.severity_number)
                if record.trace_id:
                    made["traceId"] = record.trace_id.hex()
                if record.span_id:
                    made["spanId"] = record.span_id.hex()
    return msgspec.json.encode(document)


def content_type_of(analyzer: AnalyzerConfig) -> str:
    named = {name.lower(): value for name, value in analyzer.headers.items()}.get("content-type", "")
    return JSON if named.strip().lower() == JSON else PROTOBUF


def logs_url(url: str) -> str:
    """Where logs go: to the URL, or to the protocol's own path when it has none."""
    parts = urlsplit(url)
    return url if parts.path.strip("/") else parts._replace(path="/v1/logs").geturl()


def refused(packets: Sequence[Stored], why: str, status: int | None = None) -> dict[str, PacketFailure]:
    """The failures of a delivery of which nothing may be sent again."""
    return dict.fromkeys([packet.id for packet in packets], never_again(why, status))


def never_again(why: str, status: int | None = None) -> PacketFailure:
    return PacketFailure(one_line(why, MAX_WORDS), status, final=True)


def partial_success(answer: Answer) -> ExportLogsPartialSuccess | None:
    """What an answer of 2xx says beyond yes; None when that is all, or it cannot be read."""
    try:
        if answer.content_type.partition(";")[0].strip().lower() == JSON:
            if not answer.body:
                return None
            return ExportLogsServiceResponse.from_json(answer.body, ignore_unknown=True).partial_success
        return ExportLogsServiceResponse.from_bytes(answer.body).partial_success
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
