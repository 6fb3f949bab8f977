"""OTLP, the protocol of OpenTelemetry: logs, traces and metrics, and how a client hands them to a collector.

`scripts/generate-protobuf` makes the classes of the official schemas. In JSON, OTLP departs from ProtoJSON:
trace and span ids are hexadecimal there, not base64.

Source: https://github.com/open-telemetry/opentelemetry-proto, Apache-2.0, The OpenTelemetry Authors.
"""

from penstock.protobuf.otlp.common import (
    AnyValue,
    ArrayValue,
    EntityRef,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from penstock.protobuf.otlp.logs import (
    LogRecord,
    LogRecordFlags,
    LogsData,
    ResourceLogs,
    ScopeLogs,
    SeverityNumber,
)
from penstock.protobuf.otlp.logs_service import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from penstock.protobuf.otlp.metrics import (
    AggregationTemporality,
    DataPointFlags,
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from penstock.protobuf.otlp.metrics_service import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from penstock.protobuf.otlp.resource import Resource
from penstock.protobuf.otlp.trace import ResourceSpans, ScopeSpans, Span, SpanFlags, Status, TracesData
from penstock.protobuf.otlp.trace_service import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

__all__ = [
    "AggregationTemporality",
    "AnyValue",
    "ArrayValue",
    "DataPointFlags",
    "EntityRef",
    "Exemplar",
    "ExponentialHistogram",
    "ExponentialHistogramDataPoint",
    "ExportLogsPartialSuccess",
    "ExportLogsServiceRequest",
    "ExportLogsServiceResponse",
    "ExportMetricsPartialSuccess",
    "ExportMetricsServiceRequest",
    "ExportMetricsServiceResponse",
    "ExportTracePartialSuccess",
    "ExportTraceServiceRequest",
    "ExportTraceServiceResponse",
    "Gauge",
    "Histogram",
    "HistogramDataPoint",
    "InstrumentationScope",
    "KeyValue",
    "KeyValueList",
    "LogRecord",
    "LogRecordFlags",
    "LogsData",
    "Metric",
    "MetricsData",
    "NumberDataPoint",
    "Resource",
    "ResourceLogs",
    "ResourceMetrics",
    "ResourceSpans",
    "ScopeLogs",
    "ScopeMetrics",
    "ScopeSpans",
    "SeverityNumber",
    "Span",
    "SpanFlags",
    "Status",
    "Sum",
    "Summary",
    "SummaryDataPoint",
    "TracesData",
]
