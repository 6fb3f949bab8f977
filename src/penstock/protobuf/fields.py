"""How a class declares its fields: `order_id: UInt32 = field(1)`."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from penstock.protobuf import faults
from penstock.protobuf.descriptors import FieldDescriptor, Presence, Scalar, Shape
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import EncodeError, SchemaError
from penstock.protobuf.kinds import INTEGER_RANGE, PACKABLE, Kind
from penstock.protobuf.values import check_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BoolArray",
    "Declared",
    "Double",
    "DoubleArray",
    "EnumArray",
    "Fixed32",
    "Fixed32Array",
    "Fixed64",
    "Fixed64Array",
    "Float",
    "FloatArray",
    "Int32",
    "Int32Array",
    "Int64",
    "Int64Array",
    "SFixed32",
    "SFixed32Array",
    "SFixed64",
    "SFixed64Array",
    "SInt32",
    "SInt32Array",
    "SInt64",
    "SInt64Array",
    "UInt32",
    "UInt32Array",
    "UInt64",
    "UInt64Array",
    "camel_case",
    "field",
    "resolved",
    "zero",
]


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """Marks an annotation: repeated scalars of this kind, as a numpy array."""

    kind: Kind


Double = Annotated[float, Kind.DOUBLE]
Float = Annotated[float, Kind.FLOAT]
Int32 = Annotated[int, Kind.INT32]
Int64 = Annotated[int, Kind.INT64]
UInt32 = Annotated[int, Kind.UINT32]
UInt64 = Annotated[int, Kind.UINT64]
SInt32 = Annotated[int, Kind.SINT32]
SInt64 = Annotated[int, Kind.SINT64]
Fixed32 = Annotated[int, Kind.FIXED32]
Fixed64 = Annotated[int, Kind.FIXED64]
SFixed32 = Annotated[int, Kind.SFIXED32]
SFixed64 = Annotated[int, Kind.SFIXED64]

if TYPE_CHECKING:
    BoolArray = NDArray[np.bool_]
    DoubleArray = NDArray[np.float64]
    EnumArray = NDArray[np.int32]
    Fixed32Array = NDArray[np.uint32]
    Fixed64Array = NDArray[np.uint64]
    FloatArray = NDArray[np.float32]
    Int32Array = NDArray[np.int32]
    Int64Array = NDArray[np.int64]
    SFixed32Array = NDArray[np.int32]
    SFixed64Array = NDArray[np.int64]
    SInt32Array = NDArray[np.int32]
    SInt64Array = NDArray[np.int64]
    UInt32Array = NDArray[np.uint32]
    UInt64Array = NDArray[np.uint64]
else:  # numpy itself is imported when the first array is read or written
    BoolArray = Annotated[Any, ArrayOf(Kind.BOOL)]
    DoubleArray = Annotated[Any, ArrayOf(Kind.DOUBLE)]
    EnumArray = Annotated[Any, ArrayOf(Kind.ENUM)]
    Fixed32Array = Annotated[Any, ArrayOf(Kind.FIXED32)]
    Fixed64Array = Annotated[Any, ArrayOf(Kind.FIXED64)]
    FloatArray = Annotated[Any, ArrayOf(Kind.FLOAT)]
    Int32Array = Annotated[Any, ArrayOf(Kind.INT32)]
    Int64Array = Annotated[Any, ArrayOf(Kind.INT64)]
    SFixed32Array = Annotated[Any, ArrayOf(Kind.SFIXED32)]
    SFixed64Array = Annotated[Any, ArrayOf(Kind.SFIXED64)]
    SInt32Array = Annotated[Any, ArrayOf(Kind.SINT32)]
    SInt64Array = Annotated[Any, ArrayOf(Kind.SINT64)]
    UInt32Array = Annotated[Any, ArrayOf(Kind.UINT32)]
    UInt64Array = Annotated[Any, ArrayOf(Kind.UINT64)]

PLAIN = {bool: Kind.BOOL, float: Kind.DOUBLE, str: Kind.STRING, bytes: Kind.BYTES}
KEY_KINDS = frozenset(INTEGER_RANGE) - {Kind.ENUM} | {Kind.BOOL, Kind.STRING}
LAST_NUMBER = (1 << 29) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What `field()` was told; the annotation beside it says the rest."""

    number: int
    default: Scalar | None
    required: bool
    oneof: str | None
    packed: bool | None
    group: bool
    utf8: bool
    name: str | None
    json_name: str | None


def field(
    number: int,
    /,
    *,
    default: Scalar | None = None,
    required: bool = False,
    oneof: str | None = None,
    packed: bool | None = None,
    group: bool = False,
    utf8: bool = True,
    name: str | None = None,
    json_name: str | None = None,
) -> Any:
    """A field of a `Message`, declared in the body of its class.

    Its annotation tells its type::

        class Point(Message):
            lat: Double = field(1)
            tags: list[str] = field(3)
            labels: dict[str, Int64] = field(4)
            parent: "Point | None" = field(6)
            samples: DoubleArray = field(9)

    `Int32`, `UInt64`, `SInt32`, `Fixed64`, `Float`, ... name the kinds of numbers; `bool`, `str`, `bytes` and
    `float` (a double) stand for themselves. `T | None` is a field that knows whether it was set, and is
    None while it was not; sub-messages are always that.

    Args:
        number: 1 to 536,870,911, but not 19,000 to 19,999; it alone names the field on the wire.
        default: what a scalar reads as until it is set, in place of zero (proto2). Such a field knows whether
            it was set.
        required: whether a message without it is incomplete (proto2).
        oneof: the name of the group of which at most one field is set; the field must be `T | None`.
        packed: whether repeated numbers stand back to back under one tag, as they do unless told otherwise.
        group: whether a sub-message stands between a start and an end tag (proto2 groups, DELIMITED).
        utf8: whether text, read or written, must be UTF-8; in proto2 it need not.
        name: its name in the schema, where that is another.
        json_name: its name in JSON; the lowerCamelCase of `name` unless given.

    Raises:
        ValueError: the number is none, or the arguments contradict each other.
    """
    if not isinstance(number, int) or isinstance(number, bool):
        raise SchemaError(f"a field number must be an integer, got {number!r}")
    if not 1 <= number <= LAST_NUMBER:
        raise SchemaError(f"a field number {faults.out_of_range(1, LAST_NUMBER, number)}")
    if 19_000 <= number <= 19_999:
        raise SchemaError(f"field numbers 19000 to 19999 are protobuf's own, got {number}")
    if required and oneof is not None:
        raise SchemaError(f"a member of a oneof cannot be required, got required=True, oneof={oneof!r}")
    return Declared(
        number=number,
        default=default,
        required=required,
        oneof=oneof,
        packed=packed,
        group=group,
        utf8=utf8,
        name=name,
        json_name=json_name,
    )


def resolved(owner: str, name: str, annotation: Any, told: Declared) -> FieldDescriptor:
    """The field `name` of the class `owner`, of its annotation (without forward references) and `field()`."""
    place = f"{owner}.{name}"
    plain, optional = without_none(annotation)
    shape, key, element = taken_apart(place, plain)
    kind, target, array = kind_of(place, element)
    if array:
        if shape is not Shape.SINGULAR:
            raise SchemaError(f"{place}: a list or dict holds no arrays, got {annotation!r}")
        shape = Shape.REPEATED
    if told.group:
        if kind is not Kind.MESSAGE or shape is Shape.MAP:
            raise SchemaError(f"{place}: group=True is for sub-messages, got {annotation!r}")
        kind = Kind.GROUP
    presence = presence_of(place, kind, shape, told, optional=optional)
    proto_name = told.name or name
    return FieldDescriptor(
        name=name,
        number=told.number,
        kind=kind,
        shape=shape,
        presence=presence,
        key=key,
        message=target if kind in (Kind.MESSAGE, Kind.GROUP) else None,
        enum=target if kind is Kind.ENUM else None,
        packed=packed_of(place, kind, shape, told),
        array=array,
        utf8=told.utf8,
        default=default_of(place, kind, target, shape, presence, told),
        oneof=told.oneof,
        proto_name=proto_name,
        json_name=json_name_of(place, told.json_name, proto_name),
    )


def json_name_of(place: str, told: str | None, proto_name: str) -> str:
    """The name of a field in JSON, which has no way to write lone surrogates."""
    name = told or camel_case(proto_name)
    if not name.isascii() and any("\ud800" <= each <= "\udfff" for each in name):
        raise SchemaError(f"{place}: its name in JSON {faults.lone_surrogates(name)}")
    return name


def without_none(annotation: Any) -> tuple[Any, bool]:
    """`T` and True for `T | None`, else the annotation and False."""
    if get_origin(annotation) in (Union, UnionType):
        rest = [each for each in get_args(annotation) if each is not NoneType]
        if len(rest) == 1:
            return rest[0], True
    return annotation, False


def taken_apart(place: str, annotation: Any) -> tuple[Shape, Kind | None, Any]:
    """The shape, the kind of a map's keys, and the annotation of one value."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is list and len(inside) == 1:
        return Shape.REPEATED, None, inside[0]
    if origin is dict and len(inside) == 2:
        key, _, array = kind_of(place, inside[0])
        if key not in KEY_KINDS or array:
            raise SchemaError(f"{place}: a map's keys must be integers, bool or str, got {inside[0]!r}")
        return Shape.MAP, key, inside[1]
    return Shape.SINGULAR, None, annotation


def kind_of(place: str, annotation: Any) -> tuple[Kind, Any, bool]:
    """The kind, the class of a message or enum, and whether it is an array of that kind."""
    if get_origin(annotation) is Annotated:
        for mark in get_args(annotation)[1:]:
            if isinstance(mark, ArrayOf):
                return mark.kind, None, True
            if isinstance(mark, Kind):
                return mark, None, False
    if isinstance(annotation, type):
        if annotation in PLAIN:
            return PLAIN[annotation], None, False
        if issubclass(annotation, Enum):
            return Kind.ENUM, annotation, False
        if hasattr(annotation, "__describe__"):
            return Kind.MESSAGE, annotation, False
    if annotation is int:
        raise SchemaError(
            f"{place}: int says too little, write Int32, Int64, UInt32, UInt64, SInt32, Fixed64, ..."
        )
    raise SchemaError(f"{place}: no protobuf field can be {annotation!r}")


def presence_of(place: str, kind: Kind, shape: Shape, told: Declared, *, optional: bool) -> Presence:
    if shape is not Shape.SINGULAR:
        if optional or told.required or told.oneof is not None or told.default is not None:
            raise SchemaError(
                f"{place}: a list, array or dict is never None, required, in a oneof or with a default"
            )
        return Presence.IMPLICIT
    if told.required:
        return Presence.REQUIRED
    if told.oneof is not None and not optional:
        raise SchemaError(f"{place}: a member of a oneof must be `T | None`")
    if kind in (Kind.MESSAGE, Kind.GROUP) and not optional:
        raise SchemaError(f"{place}: a sub-message must be `T | None`, None while it is not set")
    return Presence.EXPLICIT if optional or told.default is not None else Presence.IMPLICIT


def packed_of(place: str, kind: Kind, shape: Shape, told: Declared) -> bool:
    packable = shape is Shape.REPEATED and kind in PACKABLE
    if told.packed and not packable:
        raise SchemaError(f"{place}: packed=True is for lists and arrays of numbers, bools and enums")
    return packable if told.packed is None else told.packed


def default_of(
    place: str, kind: Kind, target: Any, shape: Shape, presence: Presence, told: Declared
) -> Scalar | None:
    if shape is not Shape.SINGULAR or kind in (Kind.MESSAGE, Kind.GROUP):
        if told.default is not None:
            raise SchemaError(f"{place}: only scalars have a default, got {told.default!r}")
        return None
    if presence is Presence.IMPLICIT:
        return zero(kind, target)
    if told.default is None:
        return None
    try:
        checked: Scalar = check_of(kind, told.utf8)(told.default)
    except EncodeError as error:
        raise SchemaError(f"{place}: the default {error.reason}") from None
    if kind is Kind.STRING:
        return str(told.default)
    return member_of(place, target, checked) if kind is Kind.ENUM else checked


def member_of(place: str, enum: type[Enum], number: Any) -> Scalar:
    """The member with that number; a class may be declared before its enum is, with the number alone."""
    found: Scalar = enum._value2member_map_.get(number, number)
    if enum.__closed__ and not isinstance(found, enum):
        raise SchemaError(f"{place}: the default must be a member of {enum.__name__}, got {number}")
    return found


def zero(kind: Kind, enum: type[Enum] | None = None) -> Scalar:
    """What a scalar is while nothing was said of it: 0, False, "", b"", an enum's first member."""
    if kind is Kind.ENUM:
        return 0 if enum is None else first_or_zero(enum)
    if kind in INTEGER_RANGE:
        return 0
    zeros: dict[Kind, Scalar] = {Kind.BOOL: False, Kind.STRING: "", Kind.BYTES: b""}
    return zeros.get(kind, 0.0)


def first_or_zero(enum: type[Enum]) -> int:
    """The member of a closed enum that comes first; of an open one 0, if that has no name."""
    if enum.__closed__:
        return next(iter(enum))  # it has one, as Enum sees to
    return next((each for each in enum if each == 0), 0)


def camel_case(name: str) -> str:
    """The name in JSON of a field: `foo_bar` is `fooBar`. Source: protoc, ToJsonName."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
