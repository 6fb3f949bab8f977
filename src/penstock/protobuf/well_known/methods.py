"""What the well-known types can do beyond their fields; their generated classes derive from these."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from operator import index
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, TypeVar, cast, overload

from penstock.errors import InvalidType, InvalidValue
from penstock.protobuf.declaration import MessageMeta, describe
from penstock.protobuf.errors import SchemaError

if TYPE_CHECKING:
    from typing import Self

    from penstock.protobuf.message import Message
    from penstock.protobuf.options import DecodeOptions

    Base = Message  # what derives from these is one
else:
    Base = object

__all__ = ["AnyMethods", "DurationMethods", "TimestampMethods"]

SECOND_NS: Final = 1_000_000_000
MICROSECOND: Final = timedelta(microseconds=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # 0001-01-01T00:00:00Z, 9999-12-31T23:59:59Z
MOST_SECONDS: Final = 315_576_000_000  # 10,000 years

PREFIX: Final = "type.googleapis.com"

MOST_SHOWN: Final = 100
"""Characters of a name from elsewhere that an error repeats."""

Packed = TypeVar("Packed", bound="Message")


class TimestampMethods(Base):
    """A point in time, with and without Python's own types."""

    __slots__ = ()

    if TYPE_CHECKING:
        seconds: int = 0
        nanos: int = 0

    @classmethod
    def from_datetime(cls, when: datetime, /) -> Self:
        """The timestamp of a datetime that knows its time zone.

        Raises:
            ValueError: it knows none.
            TypeError: it is no datetime.
        """
        if not isinstance(when, datetime):
            raise InvalidType(f"a timestamp is made of a datetime, got {when!r}")
        if when.utcoffset() is None:
            raise InvalidValue(f"a datetime must know its time zone, as datetime.now(UTC) does, got {when}")
        return cls.from_nanoseconds((when - EPOCH) // MICROSECOND * 1000)

    @classmethod
    def from_nanoseconds(cls, since_epoch: int, /) -> Self:
        """The timestamp of nanoseconds since 1970-01-01 UTC, such as `time.time_ns()`.

        Raises:
            ValueError: it is not in the years 1 to 9999.
        """
        seconds, nanos = checked_timestamp(*divmod(integer(since_epoch), SECOND_NS))
        return cls(seconds=seconds, nanos=nanos)

    def to_datetime(self) -> datetime:
        """The datetime in UTC; what is smaller than a microsecond is cut off.

        Raises:
            ValueError: it is not in the years 1 to 9999, or its nanoseconds are not 0 to 999,999,999.
        """
        seconds, nanos = checked_timestamp(self.seconds, self.nanos)
        return EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)

    def to_nanoseconds(self) -> int:
        """Nanoseconds since 1970-01-01 UTC.

        Raises:
            ValueError: it is not in the years 1 to 9999, or its nanoseconds are not 0 to 999,999,999.
        """
        seconds, nanos = checked_timestamp(self.seconds, self.nanos)
        return seconds * SECOND_NS + nanos


class DurationMethods(Base):
    """A span of time, with and without Python's own types."""

    __slots__ = ()

    if TYPE_CHECKING:
        seconds: int = 0
        nanos: int = 0

    @classmethod
    def from_timedelta(cls, span: timedelta, /) -> Self:
        """The duration of a timedelta.

        Raises:
            ValueError: it is more than 10,000 years.
        """
        if not isinstance(span, timedelta):
            raise InvalidType(f"a duration is made of a timedelta, got {span!r}")
        return cls.from_nanoseconds(span // MICROSECOND * 1000)

    @classmethod
    def from_nanoseconds(cls, span: int, /) -> Self:
        """The duration of so many nanoseconds.

        Raises:
            ValueError: it is more than 10,000 years.
        """
        total = integer(span)
        sign = -1 if total < 0 else 1  # both parts carry it
        seconds, nanos = divmod(abs(total), SECOND_NS)
        seconds, nanos = checked_duration(sign * seconds, sign * nanos)
        return cls(seconds=seconds, nanos=nanos)

    def to_timedelta(self) -> timedelta:
        """The timedelta; what is smaller than a microsecond is cut off, towards zero.

        Raises:
            ValueError: it is more than 10,000 years, or its two parts have different signs.
        """
        seconds, nanos = checked_duration(self.seconds, self.nanos)
        sign = -1 if nanos < 0 else 1
        return timedelta(seconds=seconds, microseconds=sign * (abs(nanos) // 1000))

    def to_nanoseconds(self) -> int:
        """All of it in nanoseconds.

        Raises:
            ValueError: it is more than 10,000 years, or its two parts have different signs.
        """
        seconds, nanos = checked_duration(self.seconds, self.nanos)
        return seconds * SECOND_NS + nanos


class AnyMethods(Base):
    """A message of any type, as bytes with its name."""

    __slots__ = ()

    if TYPE_CHECKING:
        type_url: str = ""
        value: bytes = b""

    @classmethod
    def pack(cls, message: Message, /, *, prefix: str = PREFIX) -> Self:
        """An Any that holds the message.

        Args:
            message: kept as bytes, so what is changed later does not show.
            prefix: what stands before the full name in `type_url`.

        Raises:
            EncodeError: the message cannot be written.
        """
        return cls(
            type_url=f"{prefix}/{describe(message).full_name}",
            value=message.to_bytes(deterministic=True),
        )

    @property
    def type_name(self) -> str:
        """The full name of the message within, empty if there is none."""
        return self.type_url.rpartition("/")[2]

    def holds(self, message: type[Message], /) -> bool:
        """Whether the message within is of this class."""
        return self.type_name == describe(message).full_name

    @overload
    def unpack(self, types: type[Packed], options: DecodeOptions | None = None, /) -> Packed: ...

    @overload
    def unpack(self, types: Mapping[str, Any], options: DecodeOptions | None = None, /) -> Message: ...

    def unpack(self, types: Any, options: DecodeOptions | None = None, /) -> Any:
        """The message within.

        Args:
            types: its class; or a schema (or any mapping of full names to classes) that knows it.
            options: the limits of reading it.

        Raises:
            SchemaError: the message within is of another class, or the schema does not know it.
            DecodeError: its bytes are no such message.
        """
        name = self.type_name
        if isinstance(types, Mapping):
            found, wanted = types.get(name), "a message of the schema"
        else:
            found, wanted = types if self.holds(types) else None, f"a {describe(types).full_name}"
        if not isinstance(found, MessageMeta):  # bytes from elsewhere may name an enum, too
            raise SchemaError(f"Any must hold {wanted}, got {name[:MOST_SHOWN] or 'nothing'}")
        return cast("type[Message]", found).from_bytes(self.value, options)


def integer(value: SupportsIndex) -> int:
    """The Python int, which never overflows, of whatever is an integer, such as numpy's."""
    try:
        return index(value)
    except TypeError:
        raise InvalidType(f"seconds and nanoseconds must be integers, got {value!r}") from None


def checked_timestamp(told_seconds: SupportsIndex, told_nanos: SupportsIndex) -> tuple[int, int]:
    seconds, nanos = integer(told_seconds), integer(told_nanos)
    if not FIRST_SECOND <= seconds <= LAST_SECOND:
        raise InvalidValue(
            f"seconds must be {FIRST_SECOND} to {LAST_SECOND}, the years 1 to 9999, got {seconds}"
        )
    if not 0 <= nanos < SECOND_NS:
        raise InvalidValue(f"nanos must be 0 to {SECOND_NS - 1}, got {nanos}")
    return seconds, nanos


def checked_duration(told_seconds: SupportsIndex, told_nanos: SupportsIndex) -> tuple[int, int]:
    seconds, nanos = integer(told_seconds), integer(told_nanos)
    if not -MOST_SECONDS <= seconds <= MOST_SECONDS:
        raise InvalidValue(f"seconds must be {-MOST_SECONDS} to {MOST_SECONDS}, 10,000 years, got {seconds}")
    if not -SECOND_NS < nanos < SECOND_NS or seconds * nanos < 0:
        raise InvalidValue(
            f"nanos must be less than a second and have the sign of seconds, got {seconds} and {nanos}"
        )
    return seconds, nanos
