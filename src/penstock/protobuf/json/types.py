"""Which classes a JSON text may name: by the `@type` of an Any, by the `[full name]` of an extension."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.errors import InvalidType
from penstock.protobuf.declaration import MessageMeta, declare, describe
from penstock.protobuf.descriptors import FieldDescriptor, MessageDescriptor

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from penstock.protobuf.message import Message
    from penstock.protobuf.schema.schema import Schema

__all__ = ["Types", "TypesGiven"]

TypesGiven: TypeAlias = "Schema | Iterable[type[Message]] | None"


class Types:
    """The classes that one call knows, beside the well-known ones.

    Args:
        given: what the caller gave as `types`; None stands for the schema that `root` came from, if any.
        root: the class of the outermost message.
    """

    __slots__ = ("classes", "given", "schema")

    def __init__(self, given: TypesGiven, root: type[Message]) -> None:
        if given is None:
            given = getattr(root, "__schema__", ())
        self.schema = given if is_schema(given) else None
        self.given = () if is_schema(given) else given
        self.classes: dict[str, type[Message]] | None = None  # of `given`, once one is asked for

    def find(self, full_name: str) -> type[Message] | None:
        """The class of a message, None if none is known by that name."""
        if self.classes is None:
            self.classes = by_name(self.given)
        if full_name in self.classes:
            return self.classes[full_name]
        for schema in (self.schema.messages if self.schema else {}, well_known()):
            if full_name in schema:
                found = schema[full_name]
                return found if isinstance(found, MessageMeta) else None  # type: ignore[return-value]
        return None

    def extensions_of(self, cls: type[Message]) -> type[Message] | None:
        """A class whose fields are the extensions of `cls`, called `[full name]` in JSON; None without any.

        A message keeps extensions among its unknown fields: those are what bytes of this class are.
        """
        if self.schema is None:
            return None
        known = cls.__dict__.get("__json_extensions__")
        if known is None or known[0] is not self.schema:
            known = (self.schema, extensions(self.schema, cls))
            if known[1] is not None:  # what it does not know is unknown
                type.__setattr__(known[1], "__json_extensions__", (self.schema, None))
            type.__setattr__(cls, "__json_extensions__", known)
        return known[1]


def is_schema(given: Schema | Iterable[type[Message]]) -> TypeIs[Schema]:
    if given == ():  # most often: the module of schemas need not be loaded to know
        return False
    from penstock.protobuf.schema.schema import Schema

    return isinstance(given, Schema)


def by_name(classes: Iterable[type[Message]]) -> dict[str, type[Message]]:
    if isinstance(classes, type) or not isinstance(classes, Iterable):
        raise InvalidType(f"types must be a Schema or classes of messages, got {classes!r}")
    made = {}
    for each in classes:
        if not isinstance(each, MessageMeta):
            raise InvalidType(f"types must be a Schema or classes of messages, got {each!r}")
        made[describe(each).full_name] = each
    return made


def well_known() -> dict[str, Any]:
    from penstock.protobuf.well_known import WELL_KNOWN  # most texts hold no Any

    return WELL_KNOWN


def extensions(schema: Schema, cls: type[Message]) -> type[Message] | None:
    described = describe(cls)
    if described.message_set:  # whose unknown fields are items, not the extensions themselves
        return None
    extended = described.full_name
    fields = tuple(
        called(full_name, field)
        for full_name, (extendee, field) in schema.extensions.items()
        if extendee == extended
    )
    if not fields:
        return None
    root = next(each for each in reversed(cls.__mro__) if isinstance(each, MessageMeta))
    names = [each.name for each in fields]
    hidden = MessageDescriptor(extended, fields)
    return declare(root, cls.__name__, names, lambda _: hidden, module=cls.__module__)  # type: ignore[arg-type]


def called(full_name: str, field: FieldDescriptor) -> FieldDescriptor:
    name = f"[{full_name}]"
    return replace(field, name=f"extension_{field.number}", proto_name=name, json_name=name)
