"""Enums of a schema: integers with names."""

from enum import IntEnum
from typing import ClassVar

from penstock.protobuf.errors import SchemaError

__all__ = ["Enum"]


class Enum(IntEnum):
    """A protobuf enum; its members are integers, in messages and on the wire.

    An open enum (proto3) lets numbers through that it has no name for, as plain `int`. A closed one
    (proto2) leaves them among the unknown fields::

        class Corpus(Enum):
            UNSPECIFIED = 0
            WEB = 1

        class Color(Enum, closed=True):
            RED = 1

    Args of the class statement:
        closed: whether unknown numbers are unknown fields.
        package: the schema's package, a prefix of the full name.
        full_name: the whole name, instead.
        proto_names: attribute -> name in the schema, for names that are no Python attributes.
    """

    __full_name__: ClassVar[str]  # set on each class, beside the members
    __closed__: ClassVar[bool]
    __proto_names__: ClassVar[dict[str, int]]

    def __init_subclass__(
        cls,
        *,
        closed: bool = False,
        package: str = "",
        full_name: str = "",
        proto_names: dict[str, str] | None = None,
    ) -> None:
        renamed = proto_names or {}
        if closed and not cls.__members__:
            raise SchemaError(f"{cls.__name__}: a closed enum has a member, as its fields read as its first")
        cls.__full_name__ = full_name or (f"{package}.{cls.__name__}" if package else cls.__name__)
        cls.__closed__ = closed
        cls.__proto_names__ = {renamed.get(name, name): int(each) for name, each in cls.__members__.items()}
