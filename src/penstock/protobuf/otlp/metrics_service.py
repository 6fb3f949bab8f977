"""Messages of opentelemetry/proto/collector/metrics/v1/metrics_service.proto.

Made by `penstock proto compile`: change the schema, not this.

Copyright The OpenTelemetry Authors, Apache-2.0.
"""

from __future__ import annotations

from penstock.protobuf import Int64, Message, field
from penstock.protobuf.otlp.metrics import ResourceMetrics

__all__ = ["ExportMetricsPartialSuccess", "ExportMetricsServiceRequest", "ExportMetricsServiceResponse"]


class ExportMetricsServiceRequest(Message, package="opentelemetry.proto.collector.metrics.v1"):
    """The message opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest."""

    resource_metrics: list[ResourceMetrics] = field(1)


class ExportMetricsServiceResponse(Message, package="opentelemetry.proto.collector.metrics.v1"):
    """The message opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceResponse."""

    partial_success: ExportMetricsPartialSuccess | None = field(1)


class ExportMetricsPartialSuccess(Message, package="opentelemetry.proto.collector.metrics.v1"):
    """The message opentelemetry.proto.collector.metrics.v1.ExportMetricsPartialSuccess."""

    rejected_data_points: Int64 = field(1)
    error_message: str = field(2)
