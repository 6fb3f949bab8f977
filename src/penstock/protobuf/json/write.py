"""Messages to ProtoJSON: of each class one function, made when the class is first written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from penstock.protobuf import faults
from penstock.protobuf.declaration import describe, slot
from penstock.protobuf.descriptors import FieldDescriptor, Presence, Shape
from penstock.protobuf.errors import DecodeError
from penstock.protobuf.json import well_known
from penstock.protobuf.json.containers import list_writer, map_writer
from penstock.protobuf.json.read import ANY, SPECIAL, step_of
from penstock.protobuf.json.scalars import key_writer, scalar_writer, write_text
from penstock.protobuf.json.source import writer_source
from penstock.protobuf.json.state import MAX_DEPTH, Refused, Writing, shown, step
from penstock.protobuf.methods import is_negative_zero, raw
from penstock.protobuf.options import DecodeOptions

if TYPE_CHECKING:
    from penstock.protobuf.message import Message

__all__ = ["writer_of"]

Write = Callable[[Any, Writing], Any]

PARTIAL: Final = DecodeOptions(partial=True)


def writer_of(cls: type[Message]) -> Write:
    """The function that makes the JSON value of a message of this class."""
    made: Write | None = cls.__dict__.get("__json_writer__")
    if made is None:
        made = new_writer(cls)
        type.__setattr__(cls, "__json_writer__", made)
    return made


def new_writer(cls: type[Message]) -> Write:
    name = describe(cls).full_name
    if name == ANY:
        return checked(cls, write_any)
    if name in well_known.WRITERS:
        return checked(cls, well_known.WRITERS[name])
    return message_writer(cls)


def checked(cls: type[Message], write_body: Write) -> Write:
    def write(message: Any, writing: Writing) -> Any:
        if not isinstance(message, cls):
            raise no_instance(cls, message)
        return write_body(message, writing)

    return write


def message_writer(cls: type[Message]) -> Write:
    made: Write | None = None  # at the first call: messages may contain themselves

    def write(message: Any, writing: Writing) -> Any:
        nonlocal made
        if made is None:
            made = compiled(cls)
            type.__setattr__(cls, "__json_writer__", made)
        return made(message, writing)

    return write


def compiled(cls: type[Message]) -> Write:
    """The writer of a class as source of its own, with all that `source` has around it."""
    fields = list(describe(cls).by_number.values())
    writers = [value_writer(each) for each in fields]
    around: dict[str, Any] = {
        "cls": cls,
        "json_names": [each.json_name for each in fields],
        "proto_names": [each.proto_name for each in fields],
        "steps": [step_of(each) for each in fields],
        "defaults": [
            (at, write, default_of(each))
            for at, (each, write) in enumerate(zip(fields, writers, strict=True))
            if each.presence is Presence.IMPLICIT and not each.proto_name.startswith("[")
        ],
        "required": faults.REQUIRED,
        "max_depth": MAX_DEPTH,
        **{f"write_{at}": write for at, write in enumerate(writers)},
        **{f"zero_{at}": each.default for at, each in enumerate(fields)},
        **{f"slot_{at}": slot(cls, each.name).__get__ for at, each in enumerate(fields)},
        "no_instance": no_instance,
        "has_deleted_slot": has_deleted_slot,
        "restored": restored,
        "add_defaults": add_defaults,
        "write_extensions": write_extensions,
        "is_negative_zero": is_negative_zero,
        "Refused": Refused,
    }
    code = compile(writer_source(fields), f"<JSON writer of {cls.__name__}>", "exec")
    exec(code, around)  # noqa: S102 - no text from outside stands in it
    made: Write = around["write"]
    return made


def no_instance(cls: type[Message], message: Any) -> Refused:
    return Refused(faults.wrong_type(faults.a(cls.__name__), message), wrong_type=True)


def has_deleted_slot(message: Message) -> bool:
    return not all(hasattr(message, each.name) for each in describe(message).fields)


def restored(message: Message) -> Message:
    """The same message with its deleted slots as they were at first; they are not set."""
    values = {each.name: raw(message, each) for each in describe(message).fields}
    made = type(message)(**{name: value for name, value in values.items() if value is not None})
    made.merge_from(message.unknown_fields)
    return made


def add_defaults(
    made: dict[str, Any], names: list[str], defaults: list[tuple[int, Write, Any]], writing: Writing
) -> None:
    """Adds the fields without presence that are not set."""
    for at, write, default in defaults:
        if names[at] not in made:
            made[names[at]] = write(default, writing)


def write_extensions(message: Message, writing: Writing) -> dict[str, Any]:
    """What is known of the unknown fields."""
    known = writing.types.extensions_of(type(message))
    if known is None:
        return {}
    data = message.unknown_fields
    writing.take(len(data))
    try:
        extensions = known.from_bytes(data, PARTIAL)
    except DecodeError as error:
        raise Refused(f"has an extension that is none: {error}") from None
    written: dict[str, Any] = writer_of(known)(extensions, writing)
    writing.memory += len(data)
    return written


def value_writer(field: FieldDescriptor) -> Write:
    """How all of a field is written."""
    write_one = writer_of(field.message) if field.message else scalar_writer(field.kind, field.enum)
    if field.shape is Shape.MAP:
        assert field.key is not None
        return map_writer(key_writer(field.key), write_one)
    return list_writer(write_one) if field.shape is Shape.REPEATED else write_one


def default_of(field: FieldDescriptor) -> Any:
    """What a field without presence is while it is not set."""
    if field.shape is Shape.SINGULAR:
        return field.default
    return {} if field.shape is Shape.MAP else []


@well_known.level
def write_any(message: Any, writing: Writing) -> dict[str, Any]:
    url, data = well_known.slots(message, "type_url", "value")
    if not url and not data:
        return {}
    with step(".type_url"):
        url = write_text(url or "", writing)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise Refused(faults.wrong_type("bytes", data), ".value", wrong_type=True)
    full_name = url.rpartition("/")[2]
    found = writing.types.find(full_name)
    if found is None:
        raise Refused(f"must hold a type that types= tells of, got {shown(url)}")
    size = memoryview(data).nbytes
    writing.take(size)  # given back below: those of Anys within each other are there all at once
    try:
        held = found.from_bytes(data)
    except DecodeError as error:
        raise Refused(f"must hold a {full_name}: {error}") from None
    written = writer_of(found)(held, writing)
    writing.memory += size
    return {"@type": url, "value": written} if full_name in SPECIAL else {"@type": url, **written}
