"""Messages of opentelemetry/proto/collector/trace/v1/trace_service.proto.

Made by `penstock proto compile`: change the schema, not this.

Copyright The OpenTelemetry Authors, Apache-2.0.
"""

from __future__ import annotations

from penstock.protobuf import Int64, Message, field
from penstock.protobuf.otlp.trace import ResourceSpans

__all__ = ["ExportTracePartialSuccess", "ExportTraceServiceRequest", "ExportTraceServiceResponse"]


class ExportTraceServiceRequest(Message, package="opentelemetry.proto.collector.trace.v1"):
    """The message opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest."""

    resource_spans: list[ResourceSpans] = field(1)


class ExportTraceServiceResponse(Message, package="opentelemetry.proto.collector.trace.v1"):
    """The message opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse."""

    partial_success: ExportTracePartialSuccess | None = field(1)


class ExportTracePartialSuccess(Message, package="opentelemetry.proto.collector.trace.v1"):
    """The message opentelemetry.proto.collector.trace.v1.ExportTracePartialSuccess."""

    rejected_spans: Int64 = field(1)
    error_message: str = field(2)
