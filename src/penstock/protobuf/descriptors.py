"""What a schema says of a message, once every name in it is resolved.

The declared class and the `.proto` text both end here, and both twins, JSON and the generator start here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum as PythonEnum
from functools import cached_property
from typing import TYPE_CHECKING

from penstock.protobuf.kinds import WIRE_TYPE, Kind, WireType

if TYPE_CHECKING:
    from penstock.protobuf.enums import Enum
    from penstock.protobuf.message import Message

__all__ = ["FieldDescriptor", "MessageDescriptor", "Presence", "Scalar", "Shape"]

Scalar = bool | int | float | str | bytes
"""A value that is no message."""


class Shape(PythonEnum):
    """How many values a field has."""

    SINGULAR = "singular"
    REPEATED = "repeated"
    MAP = "map"


class Presence(PythonEnum):
    """Whether a singular field knows that it was never set."""

    IMPLICIT = "implicit"
    """It does not: the default value is not written. Repeated fields and maps have this one."""
    EXPLICIT = "explicit"
    """It does: its slot holds None while it is not set."""
    REQUIRED = "required"
    """It does, and a message without it is incomplete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDescriptor:
    """One field of a message. Of a map, `kind`, `message` and `enum` tell of values, `key` of keys."""

    name: str
    """The Python attribute."""
    number: int
    """1 to 2^29 - 1."""
    kind: Kind
    shape: Shape = Shape.SINGULAR
    presence: Presence = Presence.IMPLICIT
    key: Kind | None = None
    """The kind of a map's keys: an integer kind, BOOL or STRING."""
    message: type[Message] | None = None
    """The class of a MESSAGE or GROUP."""
    enum: type[Enum] | None = None
    """The class of an ENUM."""
    packed: bool = False
    """Whether repeated values are written back to back; both ways are read."""
    array: bool = False
    """Whether repeated scalars are a numpy array instead of a list."""
    utf8: bool = True
    """Whether text must be UTF-8. Where it need not (proto2), other bytes become lone surrogates and back."""
    default: Scalar | None = None
    """What a singular scalar reads as while it is not set. Other than None for EXPLICIT and REQUIRED presence
    only if the schema declares one: such a field reads as this and is nevertheless not set."""
    oneof: str | None = None
    """The oneof that it is a member of."""
    proto_name: str = ""
    """Its name in the schema."""
    json_name: str = ""
    """Its name in ProtoJSON."""

    @property
    def wire_type(self) -> WireType:
        """The wire type that it is written with."""
        if self.shape is Shape.MAP or self.packed:
            return WireType.LENGTH_DELIMITED
        return WIRE_TYPE[self.kind]

    @property
    def tag(self) -> int:
        """Number and wire type, as they are written before each value."""
        return self.number << 3 | self.wire_type

    @property
    def has_declared_default(self) -> bool:
        """Whether it reads as something other than None while it knows that it is not set."""
        return self.presence is not Presence.IMPLICIT and self.default is not None


@dataclass(frozen=True)
class MessageDescriptor:
    """All fields of one message."""

    full_name: str
    """With its package, such as `geo.Point`."""
    fields: tuple[FieldDescriptor, ...]
    """In the order of their declaration, which is that of the slots of an instance."""
    message_set: bool = field(default=False, kw_only=True)
    """Whether it is a MessageSet of proto2; its extensions are read as unknown fields."""

    @cached_property
    def by_name(self) -> dict[str, FieldDescriptor]:
        """Python attribute -> field."""
        return {each.name: each for each in self.fields}

    @cached_property
    def by_number(self) -> dict[int, FieldDescriptor]:
        """Field number -> field, ascending: the order in which fields are written."""
        return {each.number: each for each in sorted(self.fields, key=lambda each: each.number)}

    @cached_property
    def oneofs(self) -> dict[str, tuple[FieldDescriptor, ...]]:
        """Name -> its members, in the order of their declaration."""
        found: dict[str, tuple[FieldDescriptor, ...]] = {}
        for each in self.fields:
            if each.oneof is not None:
                found[each.oneof] = (*found.get(each.oneof, ()), each)
        return found
