"""Messages of opentelemetry/proto/collector/logs/v1/logs_service.proto.

Made by `penstock proto compile`: change the schema, not this.

Copyright The OpenTelemetry Authors, Apache-2.0.
"""

from __future__ import annotations

from penstock.protobuf import Int64, Message, field
from penstock.protobuf.otlp.logs import ResourceLogs

__all__ = ["ExportLogsPartialSuccess", "ExportLogsServiceRequest", "ExportLogsServiceResponse"]


class ExportLogsServiceRequest(Message, package="opentelemetry.proto.collector.logs.v1"):
    """The message opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest."""

    resource_logs: list[ResourceLogs] = field(1)


class ExportLogsServiceResponse(Message, package="opentelemetry.proto.collector.logs.v1"):
    """The message opentelemetry.proto.collector.logs.v1.ExportLogsServiceResponse."""

    partial_success: ExportLogsPartialSuccess | None = field(1)


class ExportLogsPartialSuccess(Message, package="opentelemetry.proto.collector.logs.v1"):
    """The message opentelemetry.proto.collector.logs.v1.ExportLogsPartialSuccess."""

    rejected_log_records: Int64 = field(1)
    error_message: str = field(2)
