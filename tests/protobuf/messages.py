"""Classes of messages for the tests, made for either twin."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from penstock.protobuf.enums import Enum
from penstock.protobuf.fields import (
    BoolArray,
    Double,
    DoubleArray,
    EnumArray,
    Fixed32,
    Fixed32Array,
    Fixed64,
    Fixed64Array,
    Float,
    FloatArray,
    Int32,
    Int32Array,
    Int64,
    Int64Array,
    SFixed32,
    SFixed32Array,
    SFixed64,
    SFixed64Array,
    SInt32,
    SInt32Array,
    SInt64,
    SInt64Array,
    UInt32,
    UInt32Array,
    UInt64,
    UInt64Array,
    field,
)


class Corpus(Enum):
    """An open enum."""

    UNSPECIFIED = 0
    WEB = 1
    NEWS = 2
    LAST = -1


class Color(Enum, closed=True):
    """A closed one, without a zero."""

    RED = 1
    GREEN = 2
    FAR = 200
    BELOW = -3


@cache
def order_class(Message: Any) -> Any:
    """Example 44's order: what a small message looks like."""

    class Order(Message, package="shop"):
        order_id: UInt32 = field(1)
        item_sku: str = field(2)
        quantity: UInt32 = field(3)
        price_cents: UInt32 = field(4)

    return Order


@cache
def user_classes(Message: Any) -> Any:
    """User, Address and Device: the measure of specs and benchmarks, 459 bytes with the values of `user`."""

    class Address(Message, package="users"):
        street: str = field(1)
        city: str = field(2)
        postcode: str = field(3)
        country: str = field(4)

    class Device(Message, package="users"):
        device_id: UInt64 = field(1)
        name: str = field(2)
        last_seen: Fixed64 = field(3)
        trusted: bool = field(4)

    class User(Message, package="users"):
        user_id: UInt64 = field(1)
        name: str = field(2)
        email: str = field(3)
        age: UInt32 = field(4)
        active: bool = field(5)
        score: Double = field(6)
        rating: Float = field(7)
        balance_cents: SInt64 = field(8)
        created_at: Fixed64 = field(9)
        time_zone_offset: Int32 = field(10)
        locale: str = field(11)
        about: str = field(12)
        settings: dict[str, str] = field(13)
        address: Address | None = field(14)
        devices: list[Device] = field(15)

    return SimpleNamespace(Address=Address, Device=Device, User=User)


def user(classes: Any) -> Any:
    """The User of 459 bytes: 8 scalars, 4 texts, a map of 3 entries, 6 sub-messages."""
    return classes.User(
        user_id=7_261_540_183_622,
        name="Margaret Hamilton",
        email="margaret.hamilton@example.org",
        age=42,
        active=True,
        score=98.625,
        rating=4.5,
        balance_cents=-129_950,
        created_at=1_764_410_400_000,
        time_zone_offset=-300,
        locale="en-US",
        about="Leads the team that writes the flight software of Apollo, and gave her trade its name.",
        settings={"theme": "dark", "language": "en", "newsletter": "weekly, on Mondays"},
        address=classes.Address(
            street="77 Massachusetts Avenue, Apt. 4", city="Cambridge", postcode="02139", country="US"
        ),
        devices=[
            classes.Device(
                device_id=9_001 + at, name=name, last_seen=1_764_410_400_000 - at * 86_400_000, trusted=at < 3
            )
            for at, name in enumerate(
                ["laptop at home", "phone", "tablet in the car", "desktop at work", "watch"]
            )
        ],
    )


@cache
def every_kind(Message: Any) -> Any:
    """A message with a field of each kind, in each shape, with and without presence."""

    class Every(Message, package="all"):
        double: Double = field(1)
        float_: Float = field(2, name="float")
        int32: Int32 = field(3)
        int64: Int64 = field(4)
        uint32: UInt32 = field(5)
        uint64: UInt64 = field(6)
        sint32: SInt32 = field(7)
        sint64: SInt64 = field(8)
        fixed32: Fixed32 = field(9)
        fixed64: Fixed64 = field(10)
        sfixed32: SFixed32 = field(11)
        sfixed64: SFixed64 = field(12)
        boolean: bool = field(13)
        text: str = field(14)
        data: bytes = field(15)
        corpus: Corpus = field(16)
        inner: "Every | None" = field(17)

        set_int: Int32 | None = field(21)
        set_double: Double | None = field(22)
        set_bool: bool | None = field(23)
        set_text: str | None = field(24)
        set_data: bytes | None = field(25)
        set_corpus: Corpus | None = field(26)

        doubles: list[Double] = field(31)
        floats: list[Float] = field(32)
        int32s: list[Int32] = field(33)
        int64s: list[Int64] = field(34)
        uint32s: list[UInt32] = field(35)
        uint64s: list[UInt64] = field(36)
        sint32s: list[SInt32] = field(37)
        sint64s: list[SInt64] = field(38)
        fixed32s: list[Fixed32] = field(39)
        fixed64s: list[Fixed64] = field(40)
        sfixed32s: list[SFixed32] = field(41)
        sfixed64s: list[SFixed64] = field(42)
        booleans: list[bool] = field(43)
        texts: list[str] = field(44)
        datas: list[bytes] = field(45)
        corpora: list[Corpus] = field(46)
        inners: "list[Every]" = field(47)
        unpacked: list[Int32] = field(48, packed=False)
        unpacked_doubles: list[Double] = field(49, packed=False)

        by_int: dict[Int32, str] = field(61)
        by_uint64: dict[UInt64, Double] = field(62)
        by_sint: dict[SInt64, bytes] = field(63)
        by_fixed: dict[Fixed32, bool] = field(64)
        by_bool: dict[bool, Int64] = field(65)
        by_text: dict[str, Corpus] = field(66)
        by_name: "dict[str, Every]" = field(67)

        either_text: str | None = field(71, oneof="either")
        either_int: Int32 | None = field(72, oneof="either")
        either_inner: "Every | None" = field(73, oneof="either")

        far: UInt32 = field(536_870_911)

    return Every


@cache
def arrays_class(Message: Any) -> Any:
    """A message with an array of each kind."""

    class Arrays(Message, package="all"):
        doubles: DoubleArray = field(1)
        floats: FloatArray = field(2)
        int32s: Int32Array = field(3)
        int64s: Int64Array = field(4)
        uint32s: UInt32Array = field(5)
        uint64s: UInt64Array = field(6)
        sint32s: SInt32Array = field(7)
        sint64s: SInt64Array = field(8)
        fixed32s: Fixed32Array = field(9)
        fixed64s: Fixed64Array = field(10)
        sfixed32s: SFixed32Array = field(11)
        sfixed64s: SFixed64Array = field(12)
        booleans: BoolArray = field(13)
        enums: EnumArray = field(14)
        unpacked: Int64Array = field(15, packed=False)
        unpacked_floats: FloatArray = field(16, packed=False)
        inner: "Arrays | None" = field(17)

    return Arrays


@cache
def old_class(Message: Any) -> Any:
    """A message as proto2 has them: required fields, defaults, groups, closed enums, text of any bytes."""

    class Old(Message, package="old"):
        key: Int32 = field(1, required=True)
        number: Int32 = field(2, default=41)
        text: str = field(3, default="none", utf8=False)
        color: Color = field(4, default=Color.GREEN)
        data: bytes = field(5, default=b"\xff")
        ratio: Double = field(6, default=0.5)
        flag: bool = field(7, default=True)
        group: "Old | None" = field(8, group=True)
        groups: "list[Old]" = field(9, group=True)
        colors: list[Color] = field(10, packed=False)
        packed_colors: list[Color] = field(11)
        color_by_name: dict[str, Color] = field(12)
        texts: list[str] = field(13, utf8=False)
        optional_color: Color | None = field(14)
        inner: "Old | None" = field(15)
        old_by_number: "dict[Int32, Old]" = field(16)

    return Old
