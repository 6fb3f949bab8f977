"""Messages of opentelemetry/proto/logs/v1/logs.proto.

Made by `penstock proto compile`: change the schema, not this.

Copyright The OpenTelemetry Authors, Apache-2.0.
"""

from __future__ import annotations

from penstock.protobuf import Enum, Fixed32, Fixed64, Message, UInt32, field
from penstock.protobuf.otlp.common import AnyValue, InstrumentationScope, KeyValue
from penstock.protobuf.otlp.resource import Resource

__all__ = ["LogRecord", "LogRecordFlags", "LogsData", "ResourceLogs", "ScopeLogs", "SeverityNumber"]


class SeverityNumber(Enum, package="opentelemetry.proto.logs.v1"):
    """The enum opentelemetry.proto.logs.v1.SeverityNumber."""

    SEVERITY_NUMBER_UNSPECIFIED = 0
    SEVERITY_NUMBER_TRACE = 1
    SEVERITY_NUMBER_TRACE2 = 2
    SEVERITY_NUMBER_TRACE3 = 3
    SEVERITY_NUMBER_TRACE4 = 4
    SEVERITY_NUMBER_DEBUG = 5
    SEVERITY_NUMBER_DEBUG2 = 6
    SEVERITY_NUMBER_DEBUG3 = 7
    SEVERITY_NUMBER_DEBUG4 = 8
    SEVERITY_NUMBER_INFO = 9
    SEVERITY_NUMBER_INFO2 = 10
    SEVERITY_NUMBER_INFO3 = 11
    SEVERITY_NUMBER_INFO4 = 12
    SEVERITY_NUMBER_WARN = 13
    SEVERITY_NUMBER_WARN2 = 14
    SEVERITY_NUMBER_WARN3 = 15
    SEVERITY_NUMBER_WARN4 = 16
    SEVERITY_NUMBER_ERROR = 17
    SEVERITY_NUMBER_ERROR2 = 18
    SEVERITY_NUMBER_ERROR3 = 19
    SEVERITY_NUMBER_ERROR4 = 20
    SEVERITY_NUMBER_FATAL = 21
    SEVERITY_NUMBER_FATAL2 = 22
    SEVERITY_NUMBER_FATAL3 = 23
    SEVERITY_NUMBER_FATAL4 = 24


class LogRecordFlags(Enum, package="opentelemetry.proto.logs.v1"):
    """The enum opentelemetry.proto.logs.v1.LogRecordFlags."""

    LOG_RECORD_FLAGS_DO_NOT_USE = 0
    LOG_RECORD_FLAGS_TRACE_FLAGS_MASK = 255


class LogsData(Message, package="opentelemetry.proto.logs.v1"):
    """The message opentelemetry.proto.logs.v1.LogsData."""

    resource_logs: list[ResourceLogs] = field(1)


class ResourceLogs(Message, package="opentelemetry.proto.logs.v1"):
    """The message opentelemetry.proto.logs.v1.ResourceLogs."""

    resource: Resource | None = field(1)
    scope_logs: list[ScopeLogs] = field(2)
    schema_url: str = field(3)


class ScopeLogs(Message, package="opentelemetry.proto.logs.v1"):
    """The message opentelemetry.proto.logs.v1.ScopeLogs."""

    scope: InstrumentationScope | None = field(1)
    log_records: list[LogRecord] = field(2)
    schema_url: str = field(3)


class LogRecord(Message, package="opentelemetry.proto.logs.v1"):
    """The message opentelemetry.proto.logs.v1.LogRecord."""

    time_unix_nano: Fixed64 = field(1)
    observed_time_unix_nano: Fixed64 = field(11)
    severity_number: SeverityNumber = field(2)
    severity_text: str = field(3)
    body: AnyValue | None = field(5)
    attributes: list[KeyValue] = field(6)
    dropped_attributes_count: UInt32 = field(7)
    flags: Fixed32 = field(8)
    trace_id: bytes = field(9)
    span_id: bytes = field(10)
    event_name: str = field(12)
