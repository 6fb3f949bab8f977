"""OTLP/HTTP logs: `POST /v1/logs`, in protobuf or JSON.

    body                            the text; of what is no string, its compact JSON; without a body, the
                                    name of the event, or the attributes
    severity_text, severity_number  level
    time_unix_nano, or observed     timestamp
    service.name of the resource    source
    attributes                      metadata, under their own names
    all else that is set            metadata: trace_id and span_id (hexadecimal), trace_flags, event_name,
                                    observed_timestamp, severity_number when the level does not say it,
                                    dropped_attributes_count, and the objects resource and scope

An attribute with one of those last names stands in an object `attributes`.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import math
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
from aiohttp import web

from penstock.protobuf import DecodeError, Int32, field
from penstock.protobuf import Message as ProtoMessage
from penstock.protobuf.otlp import (
    AnyValue,
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
    InstrumentationScope,
    KeyValue,
    LogRecord,
    Resource,
)
from penstock.services.distributor.carriers.otlp_records import severity
from penstock.services.distributor.inputs import times
from penstock.services.distributor.inputs.batch import Batch, Refused
from penstock.services.distributor.inputs.body import require_few_values
from penstock.services.distributor.inputs.dialect import refusing_with
from penstock.services.distributor.inputs.levels import LONGEST_LEVEL, LONGEST_SOURCE, OTLP_LEVELS
from penstock.services.distributor.inputs.objects import DEFAULT_LEVEL, joined, metadata_of
from penstock.services.distributor.inputs.requests import Outcome, in_short, require_type, take
from penstock.services.distributor.inputs.wire import PIECE, Pieces
from penstock.services.distributor.packets import UNREADABLE, Message, in_words

__all__ = ["read_json", "read_protobuf", "refusal", "take_otlp"]

Encoding = Literal["protobuf", "json"]
ENCODINGS: dict[str, Encoding] = {"application/x-protobuf": "protobuf", "application/json": "json"}
TYPES = {encoding: kind for kind, encoding in ENCODINGS.items()}

IN_WORDS = {"inf": "Infinity", "-inf": "-Infinity"}

encode = msgspec.json.Encoder().encode


class Status(ProtoMessage, package="google.rpc"):
    """What an error is told by, in place of the response."""

    code: Int32 = field(1)
    message: str = field(2)


CODES = {400: 3, 401: 16, 403: 7, 413: 8, 415: 3, 429: 8, 503: 14}
"""google.rpc.Code by status of HTTP: INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, ..."""


def refusal(request: web.Request, status: int, reason: str) -> web.Response:
    """The answer to a request of which nothing was stored: a `Status`."""
    return answer_with(Status(code=CODES.get(status, 2), message=reason), encoding_of(request), status)


def encoding_of(request: web.Request) -> Encoding:
    """Of the request, in which it is answered; protobuf when it is neither."""
    return ENCODINGS.get(request.content_type, "protobuf")


def answer_with(message: ProtoMessage, encoding: Encoding, status: int = 200) -> web.Response:
    body = message.to_bytes() if encoding == "protobuf" else message.to_json().encode()
    return web.Response(status=status, body=body, content_type=TYPES[encoding])


@refusing_with(refusal)
async def take_otlp(request: web.Request) -> web.StreamResponse:
    """Stores log records: 200 all, or some and which not; 400 none."""
    require_type(request, ENCODINGS)
    encoding = encoding_of(request)
    outcome = await take(request, "otlp", read_protobuf if encoding == "protobuf" else read_json)
    return answer_with(response_of(outcome), encoding)


def response_of(outcome: Outcome) -> ExportLogsServiceResponse:
    refused = outcome.refused
    if not refused:
        return ExportLogsServiceResponse()
    error = in_short(refused, "log record")
    if not outcome.accepted:
        raise Refused(400, f"no log record was accepted: {error}")
    return ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=len(refused), error_message=error)
    )


# Requests

EMPTY = msgspec.Raw(b"{}")
LONGEST_ORIGIN = 1024 * 1024
"""Bytes of a resource or a scope in JSON."""


class ScopeLogsInJson(msgspec.Struct, rename="camel"):
    """Log records that are still JSON."""

    scope: msgspec.Raw = EMPTY
    log_records: list[msgspec.Raw] | None = None


class ResourceLogsInJson(msgspec.Struct, rename="camel"):
    """Log records of one resource that are still JSON."""

    resource: msgspec.Raw = EMPTY
    scope_logs: list[ScopeLogsInJson] | None = None


class RequestInJson(msgspec.Struct, rename="camel"):
    """An ExportLogsServiceRequest of which every log record is still JSON."""

    resource_logs: list[ResourceLogsInJson] | None = None


decode_request = msgspec.json.Decoder(RequestInJson).decode


def read_protobuf(body: bytes, batch: Batch) -> None:
    """Puts the log records of an ExportLogsServiceRequest into the batch, decoding one at a time."""
    pieces = Pieces(batch)
    for number, resource_logs in pieces.of(body, "ExportLogsServiceRequest"):
        if number == 1:
            read_resource_logs(resource_logs, pieces, batch)


def read_resource_logs(data: bytes, pieces: Pieces, batch: Batch) -> None:
    resource, scope_logs_ = fields_1_and_2(data, "ResourceLogs", pieces)
    origin = Origin(decoded(Resource, resource))
    for scope_logs in scope_logs_:
        read_scope_logs(scope_logs, origin, pieces, batch)


def read_scope_logs(data: bytes, origin: "Origin", pieces: Pieces, batch: Batch) -> None:
    scope, records = fields_1_and_2(data, "ScopeLogs", pieces)
    origin.enter(decoded(InstrumentationScope, scope))
    for piece in records:
        try:
            record = LogRecord.from_bytes(piece, PIECE)
        except DecodeError as error:
            batch.refuse(str(error))
        else:
            add(record, origin, hexadecimal, batch)


def fields_1_and_2(data: bytes, what: str, pieces: Pieces) -> tuple[bytes, list[bytes]]:
    """A message that others have in common, and those others."""
    common: list[bytes] = []
    others: list[bytes] = []
    for number, piece in pieces.of(data, what):
        if number <= 2:
            (common if number == 1 else others).append(piece)
    return b"".join(common), others  # what comes twice is merged, and joining is merging


def decoded(kind: type[ProtoMessage], data: bytes) -> Any:
    try:
        return kind.from_bytes(data, PIECE)
    except DecodeError as error:
        raise Refused(400, f"the body must be protobuf: {error}") from None


def read_json(body: bytes, batch: Batch) -> None:
    """Puts the log records of a request in JSON into the batch, decoding one at a time."""
    require_few_values(body)
    pieces = Pieces(batch)
    try:
        for resource_logs in decode_request(body).resource_logs or ():
            pieces.count_one()
            origin = Origin(of_json(Resource, resource_logs.resource))
            for scope_logs in resource_logs.scope_logs or ():
                pieces.count_one()
                origin.enter(of_json(InstrumentationScope, scope_logs.scope))
                for piece in scope_logs.log_records or ():
                    if not batch.refuses_as_too_long(memoryview(piece)):
                        read_record_in_json(piece, origin, batch)
    except UNREADABLE as error:
        what = "an ExportLogsServiceRequest in JSON"
        raise Refused(400, f"the body must be {what}: {in_words(error)}") from None


def of_json(kind: type[ProtoMessage], raw: msgspec.Raw) -> Any:
    if (length := len(memoryview(raw))) > LONGEST_ORIGIN:
        raise Refused(413, f"a {kind.__name__} must be at most {LONGEST_ORIGIN} bytes in JSON, got {length}")
    if (text := bytes(raw)) in (b"{}", b"null"):
        return kind()
    try:
        return kind.from_json(text, ignore_unknown=True)
    except DecodeError as error:
        raise Refused(400, f"the body must be an ExportLogsServiceRequest in JSON: {error}") from None


def read_record_in_json(piece: msgspec.Raw, origin: "Origin", batch: Batch) -> None:
    try:
        record = LogRecord.from_json(bytes(piece), ignore_unknown=True)
    except DecodeError as error:
        batch.refuse(str(error))
    else:
        add(record, origin, as_in_json, batch)


def hexadecimal(id_: bytes) -> str:
    return id_.hex()


def as_in_json(id_: bytes) -> str:
    """An id of OTLP's JSON: hexadecimal, which ProtoJSON took for base64; this takes it back."""
    return b64encode(id_).decode().rstrip("=")


# Log records


class Origin:
    """Where log records come from, ready to be put into the metadata of each.

    Args:
        resource: of them all.
    """

    def __init__(self, resource: Resource) -> None:
        members = object_of(resource.attributes)
        service = members.get("service.name")
        self.source = service[:LONGEST_SOURCE] if isinstance(service, str) else ""
        if self.source == service:
            del members["service.name"]
        self._resource = members
        self.metadata: dict[str, Any] = {}

    def enter(self, scope: InstrumentationScope) -> None:
        """The next records are of this scope."""
        members: dict[str, Any] = {}
        if scope.name:
            members["name"] = scope.name
        if scope.version:
            members["version"] = scope.version
        if scope.attributes:
            members["attributes"] = object_of(scope.attributes)
        whole = {"resource": self._resource, "scope": members}
        self.metadata = {name: msgspec.Raw(encode(value)) for name, value in whole.items() if value}


def add(record: LogRecord, origin: Origin, text_of_id: Callable[[bytes], str], batch: Batch) -> None:
    attributes = object_of(record.attributes)
    own = origin.metadata | own_metadata(record, text_of_id)
    text = (
        text_of_body(record.body) or record.event_name or (encode(attributes).decode() if attributes else "")
    )
    if not text:
        batch.refuse("a log record must have a body, an event name or attributes")
        return
    nanoseconds = record.time_unix_nano or record.observed_time_unix_nano
    batch.add(
        Message(
            text,
            level_of(record),
            origin.source,
            times.of_nanoseconds(nanoseconds) if nanoseconds else msgspec.UNSET,
            metadata=metadata_of(joined(own, attributes, "attributes")),
        )
    )


def own_metadata(record: LogRecord, text_of_id: Callable[[bytes], str]) -> dict[str, Any]:
    """What a log record has beside its attributes."""
    own: dict[str, Any] = {}
    if record.trace_id:
        own["trace_id"] = text_of_id(record.trace_id)
    if record.span_id:
        own["span_id"] = text_of_id(record.span_id)
    if record.flags:
        own["trace_flags"] = record.flags
    if record.event_name:
        own["event_name"] = record.event_name
    if record.observed_time_unix_nano:
        own["observed_timestamp"] = times.of_nanoseconds(record.observed_time_unix_nano)
    if record.severity_number and record.severity_number != severity(level_of(record)):
        own["severity_number"] = int(record.severity_number)
    if len(record.severity_text) > LONGEST_LEVEL:
        own["severity_text"] = record.severity_text
    if record.dropped_attributes_count:
        own["dropped_attributes_count"] = record.dropped_attributes_count
    return own


def level_of(record: LogRecord) -> str:
    text = record.severity_text
    if text and len(text) <= LONGEST_LEVEL:
        return text
    return level_of_severity(record.severity_number) or DEFAULT_LEVEL


def level_of_severity(number: int) -> str:
    """The level of a severity number; empty when there is none."""
    return OTLP_LEVELS[(number - 1) // 4] if 1 <= number <= 4 * len(OTLP_LEVELS) else ""


def text_of_body(body: AnyValue | None) -> str:
    if body is None:
        return ""
    value = value_of(body)
    return value if isinstance(value, str) else "" if value is None else encode(value).decode()


def object_of(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {each.key: value_of(each.value) for each in attributes}


def value_of(any_: AnyValue | None) -> Any:
    """A value as JSON has it: bytes in base64, what is no number of JSON in words, as in ProtoJSON."""
    if any_ is None:
        return None
    if (text := any_.string_value) is not None:
        return text
    if (number := any_.int_value) is not None:
        return number
    if (double := any_.double_value) is not None:
        return double if math.isfinite(double) else IN_WORDS.get(str(double), "NaN")
    if (flag := any_.bool_value) is not None:
        return flag
    if (array := any_.array_value) is not None:
        return [value_of(each) for each in array.values]
    if (mapping := any_.kvlist_value) is not None:
        return object_of(mapping.values)
    if (data := any_.bytes_value) is not None:
        return b64encode(data).decode()
    return None
