"""Messages of opentelemetry/proto/resource/v1/resource.proto.

Made by `penstock proto compile`: change the schema, not this.

Copyright The OpenTelemetry Authors, Apache-2.0.
"""

from __future__ import annotations

from penstock.protobuf import Message, UInt32, field
from penstock.protobuf.otlp.common import EntityRef, KeyValue

__all__ = ["Resource"]


class Resource(Message, package="opentelemetry.proto.resource.v1"):
    """The message opentelemetry.proto.resource.v1.Resource."""

    attributes: list[KeyValue] = field(1)
    dropped_attributes_count: UInt32 = field(2)
    entity_refs: list[EntityRef] = field(3)
