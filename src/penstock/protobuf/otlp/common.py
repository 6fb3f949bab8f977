"""Messages of opentelemetry/proto/common/v1/common.proto.

Made by `penstock proto compile`: change the schema, not this.

Copyright The OpenTelemetry Authors, Apache-2.0.
"""

from __future__ import annotations

from penstock.protobuf import Double, Int32, Int64, Message, UInt32, field

__all__ = ["AnyValue", "ArrayValue", "EntityRef", "InstrumentationScope", "KeyValue", "KeyValueList"]


class AnyValue(Message, package="opentelemetry.proto.common.v1"):
    """The message opentelemetry.proto.common.v1.AnyValue."""

    string_value: str | None = field(1, oneof="value")
    bool_value: bool | None = field(2, oneof="value")
    int_value: Int64 | None = field(3, oneof="value")
    double_value: Double | None = field(4, oneof="value")
    array_value: ArrayValue | None = field(5, oneof="value")
    kvlist_value: KeyValueList | None = field(6, oneof="value")
    bytes_value: bytes | None = field(7, oneof="value")
    string_value_strindex: Int32 | None = field(8, oneof="value")


class ArrayValue(Message, package="opentelemetry.proto.common.v1"):
    """The message opentelemetry.proto.common.v1.ArrayValue."""

    values: list[AnyValue] = field(1)


class KeyValueList(Message, package="opentelemetry.proto.common.v1"):
    """The message opentelemetry.proto.common.v1.KeyValueList."""

    values: list[KeyValue] = field(1)


class KeyValue(Message, package="opentelemetry.proto.common.v1"):
    """The message opentelemetry.proto.common.v1.KeyValue."""

    key: str = field(1)
    value: AnyValue | None = field(2)
    key_strindex: Int32 = field(3)


class InstrumentationScope(Message, package="opentelemetry.proto.common.v1"):
    """The message opentelemetry.proto.common.v1.InstrumentationScope."""

    name: str = field(1)
    version: str = field(2)
    attributes: list[KeyValue] = field(3)
    dropped_attributes_count: UInt32 = field(4)


class EntityRef(Message, package="opentelemetry.proto.common.v1"):
    """The message opentelemetry.proto.common.v1.EntityRef."""

    schema_url: str = field(1)
    type: str = field(2)
    id_keys: list[str] = field(3)
    description_keys: list[str] = field(4)
