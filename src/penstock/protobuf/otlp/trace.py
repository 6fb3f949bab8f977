"""Messages of opentelemetry/proto/trace/v1/trace.proto.

Made by `penstock proto compile`: change the schema, not this.

Copyright The OpenTelemetry Authors, Apache-2.0.
"""

from __future__ import annotations

from penstock.protobuf import Enum, Fixed32, Fixed64, Message, UInt32, field
from penstock.protobuf.otlp.common import InstrumentationScope, KeyValue
from penstock.protobuf.otlp.resource import Resource

__all__ = ["ResourceSpans", "ScopeSpans", "Span", "SpanFlags", "Status", "TracesData"]


class SpanFlags(Enum, package="opentelemetry.proto.trace.v1"):
    """The enum opentelemetry.proto.trace.v1.SpanFlags."""

    SPAN_FLAGS_DO_NOT_USE = 0
    SPAN_FLAGS_TRACE_FLAGS_MASK = 255
    SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK = 256
    SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK = 512


class TracesData(Message, package="opentelemetry.proto.trace.v1"):
    """The message opentelemetry.proto.trace.v1.TracesData."""

    resource_spans: list[ResourceSpans] = field(1)


class ResourceSpans(Message, package="opentelemetry.proto.trace.v1"):
    """The message opentelemetry.proto.trace.v1.ResourceSpans."""

    resource: Resource | None = field(1)
    scope_spans: list[ScopeSpans] = field(2)
    schema_url: str = field(3)


class ScopeSpans(Message, package="opentelemetry.proto.trace.v1"):
    """The message opentelemetry.proto.trace.v1.ScopeSpans."""

    scope: InstrumentationScope | None = field(1)
    spans: list[Span] = field(2)
    schema_url: str = field(3)


class Span(Message, package="opentelemetry.proto.trace.v1"):
    """The message opentelemetry.proto.trace.v1.Span."""

    class SpanKind(Enum, full_name="opentelemetry.proto.trace.v1.Span.SpanKind"):
        """The enum opentelemetry.proto.trace.v1.Span.SpanKind."""

        SPAN_KIND_UNSPECIFIED = 0
        SPAN_KIND_INTERNAL = 1
        SPAN_KIND_SERVER = 2
        SPAN_KIND_CLIENT = 3
        SPAN_KIND_PRODUCER = 4
        SPAN_KIND_CONSUMER = 5

    class Event(Message, full_name="opentelemetry.proto.trace.v1.Span.Event"):
        """The message opentelemetry.proto.trace.v1.Span.Event."""

        time_unix_nano: Fixed64 = field(1)
        name: str = field(2)
        attributes: list[KeyValue] = field(3)
        dropped_attributes_count: UInt32 = field(4)

    class Link(Message, full_name="opentelemetry.proto.trace.v1.Span.Link"):
        """The message opentelemetry.proto.trace.v1.Span.Link."""

        trace_id: bytes = field(1)
        span_id: bytes = field(2)
        trace_state: str = field(3)
        attributes: list[KeyValue] = field(4)
        dropped_attributes_count: UInt32 = field(5)
        flags: Fixed32 = field(6)

    trace_id: bytes = field(1)
    span_id: bytes = field(2)
    trace_state: str = field(3)
    parent_span_id: bytes = field(4)
    flags: Fixed32 = field(16)
    name: str = field(5)
    kind: Span.SpanKind = field(6)
    start_time_unix_nano: Fixed64 = field(7)
    end_time_unix_nano: Fixed64 = field(8)
    attributes: list[KeyValue] = field(9)
    dropped_attributes_count: UInt32 = field(10)
    events: list[Span.Event] = field(11)
    dropped_events_count: UInt32 = field(12)
    links: list[Span.Link] = field(13)
    dropped_links_count: UInt32 = field(14)
    status: Status | None = field(15)


class Status(Message, package="opentelemetry.proto.trace.v1"):
    """The message opentelemetry.proto.trace.v1.Status."""

    class StatusCode(Enum, full_name="opentelemetry.proto.trace.v1.Status.StatusCode"):
        """The enum opentelemetry.proto.trace.v1.Status.StatusCode."""

        STATUS_CODE_UNSET = 0
        STATUS_CODE_OK = 1
        STATUS_CODE_ERROR = 2

    message: str = field(2)
    code: Status.StatusCode = field(3)
