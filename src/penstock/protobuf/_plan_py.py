"""What the fallback knows of a class of messages: how to make, read, write and compare its instances."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from penstock.protobuf._decoding_py import Branch, Entry, Reader, Schema, closed_of, is_closed, leaves_of
from penstock.protobuf._encoding_py import Writer, writer_of
from penstock.protobuf.declaration import DefaultField, describe, owner_of, slot
from penstock.protobuf.descriptors import FieldDescriptor, MessageDescriptor, Presence, Shape
from penstock.protobuf.fields import zero
from penstock.protobuf.limits import entry_cost, message_cost
from penstock.protobuf.required import demanding

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.protobuf._message_py import Message

    Get = Callable[[Any], Any]
    Put = Callable[[Any, Any], None]

__all__ = ["Plan", "plan_of"]


class Plan:
    """All that is known of a class before its first message is made."""

    __slots__ = (
        "_demanding",
        "blanks",
        "cls",
        "descriptor",
        "gets",
        "hidden",
        "makers",
        "puts",
        "schema",
        "writers",
    )

    def __init__(self, cls: type[Message], descriptor: MessageDescriptor) -> None:
        self.cls, self.descriptor = cls, descriptor
        link_oneofs(cls, descriptor)
        self.gets: dict[str, Get] = {each.name: getter(cls, each) for each in descriptor.fields}
        """Attribute -> what takes the value out of its slot, not a default instead."""
        self.puts: dict[str, Put] = {each.name: slot(cls, each.name).__set__ for each in descriptor.fields}
        """Attribute -> what puts a value there, whatever oneof it is in."""
        makers = {each.name: maker(each) for each in descriptor.fields}
        self.makers = [(name, make) for name, make in makers.items() if make is not None]
        scalars = [each for each in descriptor.fields if makers[each.name] is None]
        self.blanks = [
            (each.name, each.default if each.presence is Presence.IMPLICIT else None)
            for each in scalars
            if is_plain(cls, each)
        ]
        self.hidden = [self.puts[each.name] for each in scalars if not is_plain(cls, each)]
        self.schema = schema_of(self)
        by_number = descriptor.by_number.values()
        self.writers: tuple[Writer, ...] = tuple(writer_of(each, self.gets[each.name]) for each in by_number)

        self._demanding: bool | None = None

    @property
    def demanding(self) -> bool:
        """Whether its messages, or any within them, have required fields."""
        if self._demanding is None:
            self._demanding = demanding(self.cls)
        return self._demanding

    def clear(self, message: Message) -> None:
        """Makes every field what it is in a new message."""
        for name, value in self.blanks:  # setattr is three times as fast as a slot's __set__
            setattr(message, name, value)
        for put in self.hidden:
            put(message, None)
        for name, make in self.makers:
            setattr(message, name, make())

    def blank(self) -> Message:
        """A new message."""
        message = object.__new__(self.cls)
        message.__unknown__ = b""
        self.clear(message)
        return message


def plan_of(cls: type[Message]) -> Plan:
    """The plan of a class, made when it is first used.

    Raises:
        SchemaError: the class has no fields declared, or one of them cannot be resolved.
    """
    found = cls.__dict__.get("__plan__")
    if found is None:
        found = Plan(cls, describe(cls))
        type.__setattr__(cls, "__plan__", found)
    return cast("Plan", found)


def is_plain(cls: type[Message], field: FieldDescriptor) -> bool:
    """Whether its attribute is the slot itself, not something before it that knows a default or a oneof."""
    return getattr(cls, field.name) is slot(cls, field.name)


def getter(cls: type[Message], field: FieldDescriptor) -> Get:
    if is_plain(cls, field):
        return attrgetter(field.name)
    return slot(cls, field.name).__get__  # type: ignore[no-any-return]


def maker(field: FieldDescriptor) -> Callable[[], Any] | None:
    """What makes the value of a field that no two messages share; None for other fields."""
    if field.shape is Shape.MAP:
        return dict
    if field.array:
        import numpy as np

        from penstock.protobuf.arrays import DTYPE

        dtype = DTYPE[field.kind]
        return lambda: np.empty(0, dtype)
    return list if field.shape is Shape.REPEATED else None


class OneofField(DefaultField):
    """Sets the other members of its oneof to None when it is set to something else."""

    __slots__ = ("siblings",)

    def __init__(self, member: Any, default: Any, siblings: tuple[Any, ...]) -> None:
        super().__init__(member, default)
        self.siblings = siblings

    def __set__(self, message: Any, value: Any) -> None:
        self.member.__set__(message, value)
        if value is not None:
            for each in self.siblings:
                each.__set__(message, None)


def link_oneofs(cls: type[Message], descriptor: MessageDescriptor) -> None:
    """Puts an OneofField in place of each slot of a oneof's members, in the class that has them."""
    owner = owner_of(cls)
    for members in descriptor.oneofs.values():
        slots = {each.name: slot(owner, each.name) for each in members}
        for each in members:
            siblings = tuple(other for name, other in slots.items() if name != each.name)
            if not isinstance(owner.__dict__[each.name], OneofField):
                type.__setattr__(owner, each.name, OneofField(slots[each.name], each.default, siblings))


# The tables by which messages are read.


def schema_of(plan: Plan) -> Schema:
    schema = Schema(plan.blank, message_cost(plan.descriptor))
    for field in plan.descriptor.fields:
        add_field(schema, field)
    return schema


def add_field(schema: Schema, field: FieldDescriptor) -> None:
    """Enters a field under each tag that it is read with."""
    if field.shape is Shape.MAP:
        schema.branches[field.tag] = map_branch(field)
    elif field.message is not None:
        schema.branches[field.tag] = message_branch(field, field.message)
    else:
        leaves = leaves_of(field)
        schema.leaves.update(leaves)
        schema.fields.update(dict.fromkeys(leaves, field))
        if is_closed(field):
            tag = field.number << 3
            schema.closed[tag], schema.fields[tag] = closed_of(field), field
        return
    schema.fields[field.tag] = field


def message_branch(field: FieldDescriptor, cls: type[Message]) -> Branch:
    name = field.name

    def enter_new(message: Any, schema: Schema) -> Any:
        inner = schema.blank()
        getattr(message, name).append(inner)
        return inner

    def enter_same(message: Any, schema: Schema) -> Any:
        inner = getattr(message, name)
        if inner is None:
            inner = schema.blank()
            setattr(message, name, inner)
        return inner

    enter = enter_new if field.shape is Shape.REPEATED else enter_same
    return Branch(field, lambda: plan_of(cls).schema, enter)


def map_branch(field: FieldDescriptor) -> Branch:
    name, cls = field.name, field.message

    def enter(_: Any, schema: Schema) -> Any:
        return schema.blank()

    def leave(reader: Reader, message: Any, entry: Entry, start: int, stop: int) -> None:
        if entry.unnamed:
            reader.count_unknown(field.number)
            reader.keep(message, start, stop)
            return
        if cls is not None and entry.value is None:
            entry.value = plan_of(cls).blank()
        getattr(message, name)[entry.key] = entry.value

    return Branch(field, lambda: entry_schema(field), enter, leave)


def entry_schema(field: FieldDescriptor) -> Schema:
    """How the entries of a map are read: messages of two fields, key and value."""
    assert field.key is not None
    no_key, no_value = zero(field.key), None if field.message else zero(field.kind, field.enum)
    value_fields = () if field.message is None else plan_of(field.message).descriptor.fields
    schema = Schema(lambda: Entry(no_key, no_value), entry_cost(field, value_fields))
    key = FieldDescriptor(name="key", number=1, kind=field.key, utf8=field.utf8)
    value = replace(field, name="value", number=2, shape=Shape.SINGULAR, key=None)
    add_field(schema, key)
    add_field(schema, value)
    return schema
