"""Packets as log records of OpenTelemetry.

    message      body                    source     service.name of the resource
    level        severity, both          timestamp  time
    id           attribute log.record.uid
    metadata     attributes; but trace_id, span_id, trace_flags, event_name, observed_timestamp,
                 severity_number and dropped_attributes_count, where they are such, the fields of those names,
                 resource (an object) attributes of the resource, and scope (an object) name, version and
                 attributes of the scope. A member attributes, an object of such names alone, holds
                 attributes that are called so

That is the way back of the OTLP input: its records leave with what they came with, bodies as text.

Every record says in penstock.packet.id which packet it came in, and, from the second attempt on, in
penstock.packet.retry_count how many have failed: a receiver can tell what it has had before.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeGuard

import msgspec

from penstock.errors import PenstockError
from penstock.protobuf.otlp import (
    AnyValue,
    ArrayValue,
    ExportLogsServiceRequest,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
    LogRecord,
    Resource,
    ResourceLogs,
    ScopeLogs,
    SeverityNumber,
)
from penstock.services.distributor.change import Stored

__all__ = ["NotOtlp", "request_of", "severity", "unix_nanoseconds"]

SEVERITIES = {
    "TRACE": 1, "VERBOSE": 1, "FINEST": 1, "FINER": 3, "DEBUG": 5, "FINE": 5, "CONFIG": 7, "INFO": 9,
    "INFORMATION": 9, "INFORMATIONAL": 9, "NOTICE": 10, "WARN": 13, "WARNING": 13, "ERROR": 17, "ERR": 17,
    "SEVERE": 17, "CRITICAL": 18, "CRIT": 18, "ALERT": 19, "FATAL": 21, "PANIC": 21, "EMERGENCY": 21,
    "EMERG": 21,
}  # fmt: skip
"""As OpenTelemetry's data model maps syslog and the logging libraries, in its Appendix B."""

MAX_DEPTH = 16
"""Objects and arrays in one another that become values of their own; what is deeper is text.

Receivers stop at 100 messages in one another, of which every level here takes up to three.
"""
FIELDS = {
    "trace_id", "span_id", "trace_flags", "event_name", "observed_timestamp", "severity_number",
    "dropped_attributes_count", "resource", "scope",
}  # fmt: skip
"""Members of metadata that are more than attributes."""
INT64 = range(-(2**63), 2**63)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-]\d\d:\d\d))", re.ASCII
)


class NotOtlp(PenstockError, ValueError):
    """A packet cannot be written as OTLP."""


class Record(msgspec.Struct):
    """What is looked at in a message."""

    message: str
    level: str = "INFO"
    source: str = ""
    timestamp: str | None = None
    id: str | None = None
    metadata: dict[str, Any] = {}


class Parcel(msgspec.Struct):
    """What is looked at in a packet."""

    messages: list[Record]


DECODER = msgspec.json.Decoder(Parcel)
to_json = msgspec.json.Encoder().encode


def request_of(
    packets: Sequence[Stored], now_ns: int
) -> tuple[ExportLogsServiceRequest, int, dict[str, str]]:
    """The request that carries packets.

    Args:
        packets: with their bodies.
        now_ns: Unix nanoseconds, the time at which records were observed that do not say it themselves.

    Returns:
        The request, the number of records in it, and what is wrong with packets that are not in it, by id.
    """
    resources = Resources()
    wrong: dict[str, str] = {}
    count = 0
    for packet in packets:
        try:
            assert packet.body is not None
            records = DECODER.decode(packet.body).messages
            made = [(record, log_record(record, packet, now_ns)) for record in records]
        except (msgspec.DecodeError, UnicodeError, RecursionError, NotOtlp) as error:
            wrong[packet.id] = f"cannot be written as OTLP: {error}"
            continue
        for record, log in made:
            resources.logs_of(record).append(log)
        count += len(made)
    return ExportLogsServiceRequest(resource_logs=resources.all), count, wrong


class Resources:
    """The resources and scopes of a request, each there once."""

    def __init__(self) -> None:
        self.all: list[ResourceLogs] = []
        self._resources: dict[tuple[str, bytes], list[ScopeLogs]] = {}
        self._scopes: dict[tuple[str, bytes, bytes], list[LogRecord]] = {}

    def logs_of(self, record: Record) -> list[LogRecord]:
        """The list of records that `record` belongs into."""
        metadata = record.metadata
        resource = object_of(metadata, "resource") if metadata else {}
        scope = object_of(metadata, "scope") if metadata else {}
        key = record.source, to_json(resource) if resource else b"", to_json(scope) if scope else b""
        if (logs := self._scopes.get(key)) is None:
            one = ScopeLogs(scope=scope_of(scope))
            logs = self._scopes[key] = one.log_records
            self._scope_logs_of(key[:2], resource).append(one)
        return logs

    def _scope_logs_of(self, key: tuple[str, bytes], resource: dict[str, Any]) -> list[ScopeLogs]:
        if (scopes := self._resources.get(key)) is None:
            attributes = dict(resource)
            if key[0]:
                attributes.setdefault(
                    "service.name", key[0]
                )  # one that is there is a name too long for a source
            one = ResourceLogs(resource=Resource(attributes=key_values(attributes)))
            self.all.append(one)
            scopes = self._resources[key] = one.scope_logs
        return scopes


def scope_of(scope: dict[str, Any]) -> InstrumentationScope:
    rest = dict(scope)
    name, version = text_of(rest, "name"), text_of(rest, "version")
    inner = rest.pop("attributes") if isinstance(rest.get("attributes"), dict) else {}
    return InstrumentationScope(name=name, version=version, attributes=key_values(rest | inner))


def log_record(record: Record, packet: Stored, now_ns: int) -> LogRecord:
    """One message as a log record."""
    log = LogRecord(
        severity_number=severity(record.level),
        severity_text=record.level,
        body=AnyValue(string_value=record.message),
    )
    extra: dict[str, Any] = {"penstock.packet.id": packet.id}
    if packet.failures:
        extra["penstock.packet.retry_count"] = packet.failures
    if record.id is not None:
        extra["log.record.uid"] = record.id
    if record.timestamp is not None:
        log.time_unix_nano = at = unix_nanoseconds(record.timestamp)
        if not at:
            extra["timestamp"] = record.timestamp
    rest = record.metadata
    if rest:
        rest = take_fields(log, dict(rest))
    if not log.observed_time_unix_nano:
        log.observed_time_unix_nano = now_ns
    log.attributes = key_values(rest | extra)
    return log


def take_fields(log: LogRecord, metadata: dict[str, Any]) -> dict[str, Any]:
    """Sets the fields that have a place of their own in a record; returns the metadata that is left."""
    if trace_id := hexadecimal(metadata.get("trace_id"), 16):
        log.trace_id = trace_id
        del metadata["trace_id"]
    if span_id := hexadecimal(metadata.get("span_id"), 8):
        log.span_id = span_id
        del metadata["span_id"]
    if is_number(flags := metadata.get("trace_flags"), 2**32):
        log.flags = flags
        del metadata["trace_flags"]
    if is_number(number := metadata.get("severity_number"), 25):
        log.severity_number = SeverityNumber(number)
        del metadata["severity_number"]
    if is_number(dropped := metadata.get("dropped_attributes_count"), 2**32):
        log.dropped_attributes_count = dropped
        del metadata["dropped_attributes_count"]
    log.event_name = text_of(metadata, "event_name")
    observed = metadata.get("observed_timestamp")
    if isinstance(observed, str) and (at := unix_nanoseconds(observed)):
        log.observed_time_unix_nano = at
        del metadata["observed_timestamp"]
    for name in ("resource", "scope"):
        if object_of(metadata, name):
            del metadata[name]
    namesakes = object_of(metadata, "attributes")
    if namesakes and namesakes.keys() <= FIELDS:
        del metadata["attributes"]
        return metadata | namesakes
    return metadata


def is_number(value: Any, below: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def object_of(metadata: dict[str, Any], name: str) -> dict[str, Any]:
    found = metadata.get(name)
    return found if isinstance(found, dict) else {}


def text_of(metadata: dict[str, Any], name: str) -> str:
    """Takes out a member that is a text; empty when there is none."""
    if not isinstance(metadata.get(name), str):
        return ""
    text: str = metadata.pop(name)
    return text


def hexadecimal(value: Any, size: int) -> bytes:
    """The bytes of an id, empty when it is none: of another length, or all zeros (W3C Trace Context)."""
    if not isinstance(value, str) or len(value) != 2 * size:
        return b""
    try:
        found = bytes.fromhex(value)
    except ValueError:
        return b""
    return found if len(found) == size and any(found) else b""


def severity(level: str) -> SeverityNumber:
    """The number of a level, 0 for one that is not known."""
    return SeverityNumber(SEVERITIES.get(level) or SEVERITIES.get(level.strip().upper(), 0))


def unix_nanoseconds(text: str) -> int:
    """A time of RFC 3339 as OTLP has it, to the nanosecond; 0, its "unknown", when it cannot say it."""
    match = TIME.fullmatch(text)
    if match is None:
        return 0
    day, hour_minute, seconds, digits, offset = match.groups()
    try:
        minute = datetime.fromisoformat(f"{day}T{hour_minute}{offset or '+00:00'}")
    except ValueError:
        return 0
    whole = (minute - EPOCH).total_seconds() + int(seconds)  # a leap second is the next minute's first
    nanoseconds = int(whole) * 1_000_000_000 + int((digits or "0").ljust(9, "0"))
    return nanoseconds if 0 < nanoseconds < 2**64 else 0


def key_values(values: dict[str, Any], depth: int = 0) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value, depth)) for key, value in values.items()]


def any_value(value: Any, depth: int) -> AnyValue:
    """What JSON can say as OTLP says it."""
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value) if value in INT64 else AnyValue(string_value=str(value))
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if value is None:
        return AnyValue()
    if depth >= MAX_DEPTH:
        return AnyValue(string_value=to_json(value).decode())
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(one, depth + 1) for one in value]))
    return AnyValue(kvlist_value=KeyValueList(values=key_values(value, depth + 1)))
