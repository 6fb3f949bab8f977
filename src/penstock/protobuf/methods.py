"""What every message can do that need not be fast; both twins of `Message` inherit it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidValue
from penstock.protobuf.declaration import describe, slot
from penstock.protobuf.descriptors import FieldDescriptor, Presence, Shape
from penstock.protobuf.kinds import Kind
from penstock.protobuf.options import MOST, DecodeOptions

if TYPE_CHECKING:
    from typing import Self

    from penstock.protobuf.json.types import TypesGiven
    from penstock.protobuf.message import Message

__all__ = ["MessageMethods", "initial"]


class MessageMethods:
    """Presence, ProtoJSON, repr and pickling."""

    __slots__ = ()

    def is_set(self, name: str, /) -> bool:
        """Whether the field would be written: set, if it knows that; else other than its zero, or not empty.

        Raises:
            ValueError: the message has no such field.
        """
        each = field_of(self, name)
        value = raw(self, each)
        if value is None:
            return False
        if each.shape is not Shape.SINGULAR:
            return not is_empty(value)
        if each.presence is not Presence.IMPLICIT:
            return True
        if each.kind is Kind.FLOAT and rounds_to_zero(value):
            return False
        return bool(value != each.default) or is_negative_zero(value)

    def which_oneof(self, name: str, /) -> str | None:
        """The field of the oneof `name` that is set, None if none is.

        Raises:
            ValueError: the message has no such oneof.
        """
        oneofs = describe(self).oneofs
        if name not in oneofs:
            raise InvalidValue(
                f"{type(self).__name__} has no oneof {name!r}, only {', '.join(oneofs) or 'none'}"
            )
        return next((each.name for each in oneofs[name] if raw(self, each) is not None), None)

    def clear_field(self, name: str, /) -> None:
        """Makes the field what it is in a new message.

        Raises:
            ValueError: the message has no such field.
        """
        each = field_of(self, name)
        setattr(self, each.name, initial(each))

    def to_dict(
        self,
        *,
        preserving_names: bool = False,
        including_defaults: bool = False,
        enums_as_integers: bool = False,
        types: TypesGiven = None,
    ) -> Any:
        """The JSON value of the message: a dict, or what a well-known type has instead; see `to_json`."""
        from penstock.protobuf.json import to_dict

        return to_dict(
            self,  # type: ignore[arg-type]
            preserving_names=preserving_names,
            including_defaults=including_defaults,
            enums_as_integers=enums_as_integers,
            types=types,
        )

    def to_json(
        self,
        *,
        preserving_names: bool = False,
        including_defaults: bool = False,
        enums_as_integers: bool = False,
        indent: int | None = None,
        types: TypesGiven = None,
    ) -> str:
        """The message as ProtoJSON.

        Integers of 64 bits are text, as JavaScript would round them; floats have the fewest digits that
        read back as the same value; bytes are base64, enums their names, Timestamp, Duration and the other
        well-known types what their documentation says. Unknown fields are left out, except extensions that
        `types` knows.

        Args:
            preserving_names: the names of the schema instead of their lowerCamelCase.
            including_defaults: also fields without presence that have their zero, empty lists and maps.
            enums_as_integers: numbers instead of names.
            indent: spaces a level; None writes one line.
            types: the classes that an Any may hold, beside the well-known types: a schema, which knows its
                extensions as well, or classes; unless given, the schema that the message came from.

        Raises:
            EncodeError: a value is out of its range, or JSON has no way to write it, or messages are nested
                more than 100 levels deep.
            TypeError: the same, where a value has another type than its field.

        Source: https://protobuf.dev/programming-guides/json
        """
        from penstock.protobuf.json import to_json

        return to_json(
            self,  # type: ignore[arg-type]
            preserving_names=preserving_names,
            including_defaults=including_defaults,
            enums_as_integers=enums_as_integers,
            indent=indent,
            types=types,
        )

    @classmethod
    def from_dict(cls, data: Any, /, *, ignore_unknown: bool = False, types: TypesGiven = None) -> Self:
        """The message that a JSON value stands for, as `to_dict` makes it; see `from_json`."""
        from penstock.protobuf.json import from_dict

        return from_dict(  # type: ignore[type-var]
            cls, data, ignore_unknown=ignore_unknown, types=types
        )

    @classmethod
    def from_json(
        cls, text: str | bytes, /, *, ignore_unknown: bool = False, types: TypesGiven = None
    ) -> Self:
        """The message that is written here in ProtoJSON.

        Names are those of JSON or those of the schema, numbers may stand in quotes, enums may be numbers,
        base64 may be of either alphabet, and null means that a field is not set.

        Args:
            text: at most 64 MiB, with 4,194,304 commas and opening brackets; messages and maps nested at most
                100 levels deep, that take, with their lists, at most 256 MiB as DecodeOptions reckons.
                Bytes are UTF-8.
            ignore_unknown: whether fields and enum names that the schema lacks are passed over.
            types: the classes that an Any may hold, as for `to_json`.

        Raises:
            DecodeError: it is no such message, or none within the limits; `path` says where.
            TypeError: the text is neither str nor bytes.
        """
        from penstock.protobuf.json import from_json

        return from_json(  # type: ignore[type-var]
            cls, text, ignore_unknown=ignore_unknown, types=types
        )

    def __repr__(self) -> str:
        return shown(self)

    def __copy__(self) -> Self:
        return self.copy()  # type: ignore[attr-defined, no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()  # type: ignore[attr-defined, no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return unpickled, (type(self), self.__getstate__())


MOST_SHOWN = 40  # messages, lists and dicts within each other; what is deeper is three dots
UNLIMITED = DecodeOptions(**MOST, partial=True)  # type: ignore[arg-type]


def shown(value: Any, around: tuple[Any, ...] = ()) -> str:
    """As it could be written in Python, its set fields only; three dots where it holds what it is in."""
    if not isinstance(value, MessageMethods | list | dict):
        return repr(value)
    if len(around) > MOST_SHOWN or any(each is value for each in around):
        return "..."
    inner = (*around, value)
    if isinstance(value, list):
        return f"[{', '.join(shown(each, inner) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {shown(each, inner)}' for key, each in value.items())}}}"
    fields = [each for each in describe(value).fields if value.is_set(each.name)]
    inside = ", ".join(f"{each.name}={shown(raw(value, each), inner)}" for each in fields)
    return f"{type(value).__name__}({inside})"


def unpickled(cls: type[Message], data: bytes) -> Message:
    """A message of its bytes, which were ours: no limits but those of the format."""
    return cls.from_bytes(data, UNLIMITED)


def field_of(message: MessageMethods, name: str) -> FieldDescriptor:
    fields = describe(message).by_name
    if name not in fields:
        raise InvalidValue(
            f"{type(message).__name__} has no field {name!r}, only {', '.join(fields) or 'none'}"
        )
    return fields[name]


def raw(message: Any, each: FieldDescriptor) -> Any:
    """What the slot of a field holds, None where it is not set, or was deleted."""
    try:
        return slot(type(message), each.name).__get__(message)
    except AttributeError:
        return None


def initial(each: FieldDescriptor) -> Any:
    """What the slot of a field holds in a new message."""
    if each.shape is Shape.MAP:
        return {}
    if each.array:
        import numpy as np

        from penstock.protobuf.arrays import DTYPE

        return np.empty(0, DTYPE[each.kind])
    if each.shape is Shape.REPEATED:
        return []
    return each.default if each.presence is Presence.IMPLICIT else None


def is_empty(value: Any) -> bool:
    """Whether a list, dict or array holds nothing; whatever else was put in its place is not empty."""
    try:
        return len(value) == 0
    except TypeError:
        return False


def is_negative_zero(value: Any) -> bool:
    """-0.0 equals 0.0, and is nevertheless written: its bits are not all zero."""
    return isinstance(value, float) and value == 0.0 and math.copysign(1.0, value) < 0


def rounds_to_zero(value: Any) -> bool:
    """Whether a double above zero is zero as the float32 that it is on the wire."""
    return isinstance(value, float) and 0.0 < value <= 2.0**-150
