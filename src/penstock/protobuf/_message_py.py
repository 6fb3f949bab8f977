"""Messages, pure Python: `_plan_py` knows classes, `_decoding_py` reads, `_encoding_py` writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from penstock.errors import InvalidType, InvalidValue
from penstock.protobuf import faults
from penstock.protobuf._decoding_py import Reader
from penstock.protobuf._encoding_py import Writer, encode
from penstock.protobuf._plan_py import Plan, plan_of
from penstock.protobuf._trees_py import copied, equal, make_ready, unknown_of
from penstock.protobuf._varint_py import octets_of
from penstock.protobuf._wire_py import Bytes
from penstock.protobuf.declaration import MessageMeta
from penstock.protobuf.descriptors import FieldDescriptor, MessageDescriptor, Shape
from penstock.protobuf.errors import DecodeError, EncodeTypeError
from penstock.protobuf.methods import UNLIMITED, MessageMethods
from penstock.protobuf.options import DEFAULT_OPTIONS, DecodeOptions
from penstock.protobuf.required import missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Message"]


class Message(MessageMethods, metaclass=MessageMeta):
    """A protobuf message; derive from it to declare one.

    Each field has an annotation, which tells its type, and a number, which names it on the wire::

        class Order(Message, package="shop"):
            order_id: UInt32 = field(1)
            tags: list[str] = field(2)
            note: str | None = field(3)

    An instance has a slot for each field and nothing else. What was not set is the zero of its type, an
    empty list, dict or array of its own, or None for `T | None`. Values are checked when they are written,
    not when they are set. Of a oneof, setting one member to other than None sets the others to None.

    Messages are trees: one that holds itself cannot be written, and its memory may never be freed. Threads
    may read and write a message at the same time, as they may a list; bytes made meanwhile are those of
    some mixture of its states.

    Args:
        fields: values by name; None leaves a field as it is in a new message. A list, dict or array is kept,
            not copied; another iterable for a repeated field becomes a list.

    Raises:
        TypeError: the message has no field of that name.
        ValueError: two members of one oneof are given.
        SchemaError: the class declares no possible message; found out when it is first used.
    """

    __slots__ = ("__unknown__",)

    def __init__(self, /, **fields: Any) -> None:
        plan = plan_of(type(self))
        self.__unknown__ = b""  # the tags and values of unknown fields
        plan.clear(self)
        for name, value in fields.items():
            if name not in plan.puts:
                raise no_such_field(plan.cls, plan.descriptor, name)
            if value is not None:
                plan.puts[name](self, given(plan.descriptor.by_name[name], value))
        if plan.descriptor.oneofs:
            check_oneofs(plan.cls, plan.descriptor, fields)

    @property
    def unknown_fields(self) -> bytes:
        """The fields that were read without being in the schema: tags and values, in the order they came."""
        return unknown_of(self)

    def to_bytes(self, *, deterministic: bool = False) -> bytes:
        """The message in protobuf's wire format: fields ascending by number, then the unknown ones.

        Args:
            deterministic: whether maps are sorted by their keys (numbers by value, text by its UTF-8 bytes)
                instead of written in their own order.

        Raises:
            EncodeError: a value is out of its range, text is no Unicode, a required field is not set, or the
                message is nested more than 1000 levels deep; `path` says where.
            TypeError: a value has another type than its field (EncodeTypeError, which is an EncodeError).

        Source: https://protobuf.dev/programming-guides/encoding
        """
        return encode(self, writers_of, type(self).__name__, sort=deterministic)

    @classmethod
    def from_bytes(cls, data: Bytes, options: DecodeOptions | None = None, /) -> Self:
        """The message that was written as these bytes, which are copied where they are kept.

        Args:
            data: bytes, or whatever lends them in one piece.
            options: the limits it must keep, and what becomes of unknown fields; DecodeOptions() if None.

        Raises:
            DecodeError: it is no such message, or is above a limit; `offset` and `path` say where.
            TypeError: data has no contiguous buffer.
        """
        return decoded(plan_of(cls), data, checked_options(options), cls.__name__)  # type: ignore[return-value]

    def merge_from(self, other: Self | Bytes, options: DecodeOptions | None = None, /) -> None:
        """Adds another message to this one, as if its bytes followed those of this one.

        Scalars that the other has set replace those here, lists are extended, maps updated, sub-messages
        merged. Nothing is shared with the other afterwards. Required fields need not be there yet.

        Args:
            other: a message of the same class, or bytes of one.
            options: the limits that such bytes must keep; DecodeOptions() if None.

        Raises:
            DecodeError: the bytes are refused; the message is as it was before.
            EncodeError: the other message cannot be written; this one is as it was before.
            TypeError: the other is no message of this class, nor bytes.
        """
        checked, label = checked_options(options), type(self).__name__
        if isinstance(other, Message):
            if type(other) is not type(self):
                raise InvalidType(f"other {faults.wrong_type(f'{faults.a(label)} or bytes', other)}")
            data, checked = other.__getstate__(), UNLIMITED
        else:
            data = whole(other, checked, label)
        schema = plan_of(type(self)).schema
        Reader(data, checked).read(schema, schema.blank(), label)
        make_ready(self)
        Reader(data, checked).read(schema, self, label)

    def byte_size(self) -> int:
        """The length of `to_bytes()`, which it has to make.

        Raises:
            EncodeError: as `to_bytes`.
        """
        return len(self.to_bytes())

    def __getstate__(self) -> bytes:
        """The bytes that pickle keeps; required fields may be unset."""
        return encode(self, writers_of, type(self).__name__, sort=False, partial=True)

    @classmethod
    def encode_many(cls, messages: Iterable[Message], /) -> tuple[bytes, NDArray[Any]]:
        """The bytes of all messages back to back, and where each begins.

        Args:
            messages: n of this class.

        Returns:
            The bytes, and (n + 1,) int64: message i is at offsets[i] to offsets[i + 1].

        Raises:
            EncodeError: as `to_bytes`; `path` starts with the class and the index.
        """
        import numpy as np

        plan_of(cls)  # the root has no messages of its own
        parts = []
        for at, each in enumerate(messages):
            label = f"{cls.__name__}[{at}]"
            if not issubclass(type(each), cls):  # isinstance believes a Mock
                raise EncodeTypeError(faults.wrong_type(faults.a(cls.__name__), each), path=label)
            parts.append(encode(each, writers_of, label, sort=False))
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return b"".join(parts), offsets

    @classmethod
    def decode_many(
        cls,
        data: Bytes | Sequence[Bytes],
        offsets: NDArray[Any] | None = None,
        options: DecodeOptions | None = None,
        /,
    ) -> list[Self]:
        """The messages that `encode_many` made this of, or one of each buffer of a sequence.

        Args:
            data: all bytes back to back, with `offsets`; or a sequence of n buffers, without.
            offsets: (n + 1,) integers that do not go down, the first and last within data.
            options: the limits that each message must keep; DecodeOptions() if None.

        Returns:
            n messages.

        Raises:
            DecodeError: one is no such message; `path` starts with the class and the index, `offset` counts
                from the first byte of that message.
            ValueError: the offsets go down or lie outside of data.
            TypeError: data has no contiguous buffer, or offsets are no integers.
        """
        plan, checked = plan_of(cls), checked_options(options)
        found: list[Any] = [
            decoded(plan, each, checked, f"{cls.__name__}[{at}]")
            for at, each in enumerate(buffers(data) if offsets is None else parts_of(data, offsets))
        ]
        return found

    def copy(self) -> Self:
        """A message of the same class with equal fields, sharing no list, dict, array or message with it.

        Raises:
            EncodeError: it is nested more than 1000 levels deep.
        """
        return copied(self)  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message) or type(self) is not type(other):
            return NotImplemented
        return equal(self, other)

    __hash__ = None  # type: ignore[assignment]


def writers_of(cls: type[Message]) -> tuple[Writer, ...]:
    return plan_of(cls).writers


def no_such_field(cls: type, descriptor: MessageDescriptor, name: str) -> InvalidType:
    known = ", ".join(descriptor.by_name) or "none"
    return InvalidType(f"{cls.__name__} has no field {name!r}, only {known}")


def given(field: FieldDescriptor, value: Any) -> Any:
    """What a slot gets of an argument: a list of anything that is to be repeated, but for text and bytes."""
    if field.shape is not Shape.REPEATED or field.array or isinstance(value, list | str | bytes):
        return value
    return list(value) if isinstance(value, Iterable) else value


def check_oneofs(cls: type, descriptor: MessageDescriptor, fields: dict[str, Any]) -> None:
    """Refuses two members of one oneof."""
    for oneof, members in descriptor.oneofs.items():
        if sum(fields.get(each.name) is not None for each in members) > 1:
            names = ", ".join(each.name for each in members)
            raise InvalidValue(f"{cls.__name__}: only one of {names} can be set, they are the oneof {oneof}")


def decoded(plan: Plan, data: Bytes, options: DecodeOptions, label: str) -> Message:
    message = plan.blank()
    Reader(whole(data, options, label), options).read(plan.schema, message, label)
    if plan.demanding and not options.partial:
        path = missing(message, label)
        if path is not None:
            raise DecodeError(faults.REQUIRED, path=path)
    return message


def whole(data: Bytes, options: DecodeOptions, label: str) -> bytes:
    """The input as bytes that nobody changes; it is copied if it has a size that is allowed."""
    if type(data) is bytes:
        return data
    view = octets_of(data)
    if len(view) > options.max_size:
        raise DecodeError(faults.too_large(options.max_size, len(view)), path=label)
    return bytes(view)


def checked_options(options: DecodeOptions | None) -> DecodeOptions:
    if options is None:
        return DEFAULT_OPTIONS
    if not isinstance(options, DecodeOptions):
        raise InvalidType(f"options {faults.wrong_type('a DecodeOptions', options)}")
    return options


def buffers(data: Any) -> Sequence[Bytes]:
    if isinstance(data, bytes | bytearray | memoryview):
        raise InvalidType(
            f"offsets must be given with {type(data).__name__}, or a sequence of buffers without"
        )
    return data  # type: ignore[no-any-return]


def parts_of(data: Any, offsets: Any) -> Iterator[Bytes]:
    """The bytes of each message."""
    from penstock.protobuf.arrays import checked_offsets

    view = octets_of(data)
    bounds = checked_offsets(offsets, len(view)).tolist()
    return (view[start:stop] for start, stop in pairwise(bounds))
