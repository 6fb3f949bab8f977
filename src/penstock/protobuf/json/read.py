"""ProtoJSON to messages: of each class one function, made when the class is first read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from penstock.protobuf import faults
from penstock.protobuf.declaration import describe
from penstock.protobuf.descriptors import FieldDescriptor, MessageDescriptor, Presence, Shape
from penstock.protobuf.errors import DecodeError
from penstock.protobuf.json import well_known
from penstock.protobuf.json.containers import array_reader, list_reader, map_reader
from penstock.protobuf.json.scalars import IGNORED, NULL_VALUE, key_reader, read_text, scalar_reader
from penstock.protobuf.json.state import Reading, Refused, shown, step
from penstock.protobuf.json.text import object_of
from penstock.protobuf.limits import message_cost

if TYPE_CHECKING:
    from penstock.protobuf.message import Message

__all__ = ["ANY", "SPECIAL", "reader_of"]

Read = Callable[[Any, Reading], Any]

ANY: Final = "google.protobuf.Any"
EMPTY: Final = "google.protobuf.Empty"
SPECIAL: Final = frozenset((ANY, *well_known.READERS))
"""Messages whose JSON is not the object of their fields: within an Any it stands under the name `value`."""


class FieldReader(NamedTuple):
    """How one field is read."""

    name: str
    read: Read
    place: str
    takes_null: bool


def reader_of(cls: type[Message]) -> Read:
    """The function that makes a message of this class of a JSON value."""
    made: Read | None = cls.__dict__.get("__json_reader__")
    if made is None:
        made = new_reader(cls)
        type.__setattr__(cls, "__json_reader__", made)
    return made


def new_reader(cls: type[Message]) -> Read:
    name = describe(cls).full_name
    if name == ANY:
        return any_reader(cls)
    if name in well_known.READERS:
        return well_known.READERS[name](cls)
    return message_reader(cls)


def message_reader(cls: type[Message]) -> Read:
    descriptor = describe(cls)
    cost = message_cost(descriptor)
    required = [each for each in descriptor.fields if each.presence is Presence.REQUIRED]
    oneofs = {each.name: name for name, members in descriptor.oneofs.items() for each in members}
    fields: Mapping[str, FieldReader] | None = None  # made at the first call: messages may contain themselves

    def read(value: Any, reading: Reading) -> Message:
        nonlocal fields
        if fields is None:
            fields = readers_by_name(descriptor)
        if type(value) is not dict:
            value = object_of(value)
        reading.begin(cost)
        given: dict[str, Any] = {}
        others: dict[str, Any] = {}
        nulls = 0
        for key, each in value.items():
            field = fields.get(key)
            if field is None:
                others[key] = each
                continue
            name, read_value, place, takes_null = field
            if each is None and not takes_null:
                nulls += 1
                continue
            try:
                given[name] = read_value(each, reading)
            except Refused as refused:
                refused.steps.append(place)
                raise
        if len(given) < len(value) and len(given) + len(others) + nulls < len(value):
            refuse_twice_named(fields, value)
        if reading.ignore_unknown:
            given = {name: each for name, each in given.items() if each is not IGNORED}
        if oneofs and len(given) > 1:
            check_oneofs(oneofs, given)
        for each in required:
            if each.name not in given:
                raise Refused(faults.REQUIRED, step_of(each))
        message = cls(**given)
        if others:
            read_extensions(message, others, reading)
        reading.depth -= 1
        return message

    return read


def refuse_twice_named(fields: Mapping[str, FieldReader], value: dict[str, Any]) -> None:
    """Refuses an object that has a field under both of its names."""
    keys: dict[str, str] = {}  # field -> the name it had first
    for key, each in value.items():
        if each is not None and key in fields and (first := keys.setdefault(fields[key].name, key)) != key:
            raise Refused(f"is named twice, as {first} and {key}", fields[key].place)


def check_oneofs(oneofs: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Refuses two fields of one oneof; `oneofs` has the oneof of each field that is in one."""
    taken: dict[str, str] = {}
    for name in given:
        oneof = oneofs.get(name)
        if oneof is not None and taken.setdefault(oneof, name) != name:
            raise Refused(f"only one of {taken[oneof]}, {name} can be set, they are the oneof {oneof}")


def step_of(field: FieldDescriptor) -> str:
    return field.proto_name if field.proto_name.startswith("[") else f".{field.name}"


def read_extensions(message: Message, others: dict[str, Any], reading: Reading) -> None:
    """Puts extensions among the unknown fields of a message, where its bytes have them too."""
    known = reading.types.extensions_of(type(message))
    names = {each.json_name for each in describe(known).fields} if known else set()
    if not reading.ignore_unknown:
        for name in others:
            if name not in names:
                raise Refused(f"has no field {shown(name)}")
    if known:
        extensions = reader_of(known)({name: each for name, each in others.items() if name in names}, reading)
        data = extensions.to_bytes()
        reading.take(len(data))
        try:
            message.merge_from(data)
        except DecodeError as error:  # more than the limit of unknown fields
            raise Refused(error.reason) from None


def readers_by_name(descriptor: MessageDescriptor) -> dict[str, FieldReader]:
    """Names in JSON, and in the schema where no other field has them in JSON, -> fields."""
    made = {each: field_reader(each) for each in descriptor.fields}
    in_schema = {each.proto_name: reader for each, reader in made.items()}
    in_json = {each.json_name: reader for each, reader in reversed(made.items())}
    return in_schema | in_json


def field_reader(field: FieldDescriptor) -> FieldReader:
    read_one = value_reader(field)
    if field.shape is Shape.MAP:
        assert field.key is not None
        read = map_reader(key_reader(field.key), read_one)
    elif field.array:
        read = array_reader(field.kind, list_reader(read_one))
    elif field.shape is Shape.REPEATED:
        read = list_reader(read_one)
    else:
        read = read_one
    takes_null = field.shape is Shape.SINGULAR and (
        (field.message is not None and describe(field.message).full_name == well_known.VALUE)
        or (field.enum is not None and field.enum.__full_name__ == NULL_VALUE)
    )
    return FieldReader(field.name, read, step_of(field), takes_null)


def value_reader(field: FieldDescriptor) -> Read:
    """How one value of a field is read."""
    if field.message is not None:
        return reader_of(field.message)
    return scalar_reader(field.kind, field.enum)


def any_reader(cls: type[Message]) -> Read:
    cost = message_cost(describe(cls))

    def read(value: Any, reading: Reading) -> Message:
        value = object_of(value)
        reading.begin(cost)
        message = packed(cls, value, reading) if value else cls()
        reading.depth -= 1
        return message

    return read


def packed(cls: Callable[..., Message], value: dict[str, Any], reading: Reading) -> Message:
    """The Any of an object that is not empty."""
    url = value.get("@type")
    if not isinstance(url, str):
        raise Refused("must tell the type of its value under the name '@type'")
    with step("['@type']"):
        found = class_named(url, reading)
    full_name = describe(found).full_name
    body: Any = {name: each for name, each in value.items() if name != "@type"}
    if full_name in SPECIAL or (full_name == EMPTY and "value" in body):
        message = read_only_value(reader_of(found), body, reading)
    else:
        message = reader_of(found)(body, reading)
    data = message.to_bytes()
    reading.take(len(data))  # again for each Any around this one, as they copy it
    return cls(type_url=url, value=data)


def class_named(url: str, reading: Reading) -> type[Message]:
    prefix, _, full_name = read_text(url, reading).rpartition("/")
    if not (prefix and full_name):
        raise Refused(f"must be a URL that ends in the name of a type, got {shown(url)}")
    found = reading.types.find(full_name)
    if found is None:
        raise Refused(f"must be a type that types= tells of, got {shown(url)}")
    return found


def read_only_value(read: Read, body: dict[str, Any], reading: Reading) -> Any:
    """What stands under the name `value`, and nothing beside it."""
    if "value" not in body:
        raise Refused("must have its value under the name 'value'")
    if len(body) > 1 and not reading.ignore_unknown:
        raise Refused(f"has no field {shown(next(name for name in body if name != 'value'))}")
    with step("['value']"):
        return read(body["value"], reading)
