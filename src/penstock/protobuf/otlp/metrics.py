"""Messages of opentelemetry/proto/metrics/v1/metrics.proto.

Made by `penstock proto compile`: change the schema, not this.

Copyright The OpenTelemetry Authors, Apache-2.0.
"""

from __future__ import annotations

from penstock.protobuf import Double, Enum, Fixed64, Message, SFixed64, SInt32, UInt32, UInt64, field
from penstock.protobuf.otlp.common import InstrumentationScope, KeyValue
from penstock.protobuf.otlp.resource import Resource

__all__ = [
    "AggregationTemporality",
    "DataPointFlags",
    "Exemplar",
    "ExponentialHistogram",
    "ExponentialHistogramDataPoint",
    "Gauge",
    "Histogram",
    "HistogramDataPoint",
    "Metric",
    "MetricsData",
    "NumberDataPoint",
    "ResourceMetrics",
    "ScopeMetrics",
    "Sum",
    "Summary",
    "SummaryDataPoint",
]


class AggregationTemporality(Enum, package="opentelemetry.proto.metrics.v1"):
    """The enum opentelemetry.proto.metrics.v1.AggregationTemporality."""

    AGGREGATION_TEMPORALITY_UNSPECIFIED = 0
    AGGREGATION_TEMPORALITY_DELTA = 1
    AGGREGATION_TEMPORALITY_CUMULATIVE = 2


class DataPointFlags(Enum, package="opentelemetry.proto.metrics.v1"):
    """The enum opentelemetry.proto.metrics.v1.DataPointFlags."""

    DATA_POINT_FLAGS_DO_NOT_USE = 0
    DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK = 1


class MetricsData(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.MetricsData."""

    resource_metrics: list[ResourceMetrics] = field(1)


class ResourceMetrics(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.ResourceMetrics."""

    resource: Resource | None = field(1)
    scope_metrics: list[ScopeMetrics] = field(2)
    schema_url: str = field(3)


class ScopeMetrics(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.ScopeMetrics."""

    scope: InstrumentationScope | None = field(1)
    metrics: list[Metric] = field(2)
    schema_url: str = field(3)


class Metric(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.Metric."""

    name: str = field(1)
    description: str = field(2)
    unit: str = field(3)
    gauge: Gauge | None = field(5, oneof="data")
    sum: Sum | None = field(7, oneof="data")
    histogram: Histogram | None = field(9, oneof="data")
    exponential_histogram: ExponentialHistogram | None = field(10, oneof="data")
    summary: Summary | None = field(11, oneof="data")
    metadata: list[KeyValue] = field(12)


class Gauge(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.Gauge."""

    data_points: list[NumberDataPoint] = field(1)


class Sum(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.Sum."""

    data_points: list[NumberDataPoint] = field(1)
    aggregation_temporality: AggregationTemporality = field(2)
    is_monotonic: bool = field(3)


class Histogram(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.Histogram."""

    data_points: list[HistogramDataPoint] = field(1)
    aggregation_temporality: AggregationTemporality = field(2)


class ExponentialHistogram(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.ExponentialHistogram."""

    data_points: list[ExponentialHistogramDataPoint] = field(1)
    aggregation_temporality: AggregationTemporality = field(2)


class Summary(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.Summary."""

    data_points: list[SummaryDataPoint] = field(1)


class NumberDataPoint(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.NumberDataPoint."""

    attributes: list[KeyValue] = field(7)
    start_time_unix_nano: Fixed64 = field(2)
    time_unix_nano: Fixed64 = field(3)
    as_double: Double | None = field(4, oneof="value")
    as_int: SFixed64 | None = field(6, oneof="value")
    exemplars: list[Exemplar] = field(5)
    flags: UInt32 = field(8)


class HistogramDataPoint(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.HistogramDataPoint."""

    attributes: list[KeyValue] = field(9)
    start_time_unix_nano: Fixed64 = field(2)
    time_unix_nano: Fixed64 = field(3)
    count: Fixed64 = field(4)
    sum: Double | None = field(5)
    bucket_counts: list[Fixed64] = field(6)
    explicit_bounds: list[Double] = field(7)
    exemplars: list[Exemplar] = field(8)
    flags: UInt32 = field(10)
    min: Double | None = field(11)
    max: Double | None = field(12)


class ExponentialHistogramDataPoint(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.ExponentialHistogramDataPoint."""

    class Buckets(Message, full_name="opentelemetry.proto.metrics.v1.ExponentialHistogramDataPoint.Buckets"):
        """The message opentelemetry.proto.metrics.v1.ExponentialHistogramDataPoint.Buckets."""

        offset: SInt32 = field(1)
        bucket_counts: list[UInt64] = field(2)

    attributes: list[KeyValue] = field(1)
    start_time_unix_nano: Fixed64 = field(2)
    time_unix_nano: Fixed64 = field(3)
    count: Fixed64 = field(4)
    sum: Double | None = field(5)
    scale: SInt32 = field(6)
    zero_count: Fixed64 = field(7)
    positive: ExponentialHistogramDataPoint.Buckets | None = field(8)
    negative: ExponentialHistogramDataPoint.Buckets | None = field(9)
    flags: UInt32 = field(10)
    exemplars: list[Exemplar] = field(11)
    min: Double | None = field(12)
    max: Double | None = field(13)
    zero_threshold: Double = field(14)


class SummaryDataPoint(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.SummaryDataPoint."""

    class ValueAtQuantile(
        Message, full_name="opentelemetry.proto.metrics.v1.SummaryDataPoint.ValueAtQuantile"
    ):
        """The message opentelemetry.proto.metrics.v1.SummaryDataPoint.ValueAtQuantile."""

        quantile: Double = field(1)
        value: Double = field(2)

    attributes: list[KeyValue] = field(7)
    start_time_unix_nano: Fixed64 = field(2)
    time_unix_nano: Fixed64 = field(3)
    count: Fixed64 = field(4)
    sum: Double = field(5)
    quantile_values: list[SummaryDataPoint.ValueAtQuantile] = field(6)
    flags: UInt32 = field(8)


class Exemplar(Message, package="opentelemetry.proto.metrics.v1"):
    """The message opentelemetry.proto.metrics.v1.Exemplar."""

    filtered_attributes: list[KeyValue] = field(7)
    time_unix_nano: Fixed64 = field(2)
    as_double: Double | None = field(3, oneof="value")
    as_int: SFixed64 | None = field(6, oneof="value")
    span_id: bytes = field(4)
    trace_id: bytes = field(5)
