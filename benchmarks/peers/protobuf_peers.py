"""The same messages in every package: made at run time of penstock's descriptors, no generated code.

A contestant's `classes` has its classes as attributes, by the names of the messages; all are built with
keywords and read by attributes, so one piece of code builds, and one reads, the messages of all.
"""

import dataclasses
import enum
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType, SimpleNamespace, new_class
from typing import NamedTuple

import betterproto2
import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from penstock.protobuf._message_py import Message as PurePythonMessage
from penstock.protobuf.declaration import declare, describe
from penstock.protobuf.descriptors import MessageDescriptor, Presence, Shape
from penstock.protobuf.kinds import INTEGER_RANGE, Kind

try:
    import fastproto
except ImportError:  # it needs Python 3.12
    fastproto = None

PACKAGE = "bench"
NESTED = (Kind.MESSAGE, Kind.GROUP)


class Contestant(NamedTuple):
    """One package, and how it is called; encoders and decoders as directly as it allows."""

    name: str
    classes: SimpleNamespace
    encoder: Callable[[type], Callable[[object], bytes]]
    decoder: Callable[[type], Callable[[bytes], object]]


UPB = "protobuf (upb)"
BETTERPROTO2 = "betterproto2"
MSGPACK = "msgspec, msgpack"
MSGPACK_ARRAYS = "msgspec, msgpack arrays"
PURE_PYTHON = "penstock, pure Python"


def contestants_for(*roots):
    """Every package, penstock first, with the messages that penstock's classes `roots` reach."""
    messages, enums = reached(roots)
    ours = SimpleNamespace(**{each.__name__: each for each in messages})
    maps, arrays = (msgspec_classes(messages, array_like=each) for each in (False, True))
    found = [
        Contestant("penstock", ours, method("to_bytes"), method("from_bytes")),
        Contestant(UPB, upb_classes(messages, enums), method("SerializeToString"), method("FromString")),
        Contestant(BETTERPROTO2, betterproto2_classes(messages, enums), method("__bytes__"), method("parse")),
        Contestant(MSGPACK, maps, msgpack_encoder, msgpack_decoder),
        Contestant(MSGPACK_ARRAYS, arrays, msgpack_encoder, msgpack_decoder),
        Contestant(PURE_PYTHON, pure_python_classes(messages), method("to_bytes"), method("from_bytes")),
    ]
    if fastproto is not None:
        theirs = fastproto_classes(messages, enums)
        found.insert(2, Contestant("fastproto", theirs, method("to_bytes"), method("from_bytes")))
    return found


def method(name):
    return lambda cls: getattr(cls, name)


def msgpack_encoder(_):
    return msgspec.msgpack.Encoder().encode


def msgpack_decoder(cls):
    return msgspec.msgpack.Decoder(cls).decode


def plain(message, cls):
    """The data of any contestant's message as a dict of what Python has; `cls` is penstock's class of it."""
    return {each.name: plain_value(each, value_of(message, each)) for each in describe(cls).fields}


def value_of(message, field):
    if field.presence is not Presence.IMPLICIT and hasattr(message, "HasField"):
        return getattr(message, field.name) if message.HasField(field.name) else None
    return getattr(message, field.name)


def plain_value(field, value):
    if value is None:
        return None
    if field.shape is Shape.MAP:
        return {key: plain_single(field, each) for key, each in value.items()}
    if field.shape is Shape.REPEATED:
        return [plain_single(field, each) for each in value]
    return plain_single(field, value)


def plain_single(field, value):
    if field.message is not None:
        return plain(value, field.message)
    return int(value) if field.enum is not None else value


# ---- what there is to make


def reached(roots):
    """Classes of messages and enums: those of `roots` and of all fields below them, each once."""
    messages, enums, todo = {}, {}, list(roots)
    while todo:
        cls = todo.pop()
        if cls in messages:
            continue
        messages[cls] = describe(cls)
        for each in messages[cls].fields:
            todo += [each.message] if each.message is not None else []
            enums |= {each.enum: None} if each.enum is not None else {}
    return messages, list(enums)


def default_of(field):
    """What a field of a class with plain attributes is at first: a value, or what makes one."""
    if field.shape is Shape.MAP:
        return dict
    if field.shape is Shape.REPEATED:
        return list
    return None if field.presence is not Presence.IMPLICIT else field.default


def annotation_of(field, scalar, named):
    """Annotation of an attribute; `named` says how messages and enums are called there."""
    target = field.message or field.enum
    single = named(target) if target is not None else scalar(field.kind)
    if field.shape is Shape.MAP:
        return f"dict[{scalar(field.key)}, {single}]"
    if field.shape is Shape.REPEATED:
        return f"list[{single}]"
    return single if field.presence is Presence.IMPLICIT else f"{single} | None"


def python_type(kind):
    if kind in INTEGER_RANGE:
        return "int"
    return {Kind.BOOL: "bool", Kind.STRING: "str", Kind.BYTES: "bytes"}.get(kind, "float")


def module(name):
    """A module to define classes in, as annotations are resolved there."""
    return sys.modules.setdefault(f"bench_{name}", ModuleType(f"bench_{name}"))


# ---- penstock's fallback


def pure_python_classes(messages):
    made = {}

    def described_as(descriptor):
        def describe_again(_):
            fields = tuple(
                dataclasses.replace(each, message=made.get(each.message and each.message.__name__))
                for each in descriptor.fields
            )
            return MessageDescriptor(descriptor.full_name, fields)

        return describe_again

    for cls, descriptor in messages.items():
        names = [each.name for each in descriptor.fields]
        made[cls.__name__] = declare(
            PurePythonMessage, cls.__name__, names, described_as(descriptor), module="bench_pure_python"
        )
    return SimpleNamespace(**made)


# ---- Google's runtime


def upb_classes(messages, enums):
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file_of(messages, enums))
    names = {cls.__name__: pool.FindMessageTypeByName(f"{PACKAGE}.{cls.__name__}") for cls in messages}
    return SimpleNamespace(**{name: message_factory.GetMessageClass(each) for name, each in names.items()})


def file_of(messages, enums):
    file = descriptor_pb2.FileDescriptorProto(name=f"{'_'.join(each.__name__ for each in messages)}.proto")
    file.package, file.syntax = PACKAGE, "proto3"
    for each in enums:
        made = file.enum_type.add(name=each.__name__)
        for name, number in each.__proto_names__.items():
            made.value.add(name=f"{each.__name__}_{name}", number=number)
    for cls, descriptor in messages.items():
        add_fields(file.message_type.add(name=cls.__name__), descriptor)
    return file


def add_fields(made, descriptor):
    for name in descriptor.oneofs:
        made.oneof_decl.add(name=name)
    for each in descriptor.fields:
        add_field(made, each)


def add_field(made, field):
    added = made.field.add(name=field.name, number=field.number)
    added.label = added.LABEL_OPTIONAL if field.shape is Shape.SINGULAR else added.LABEL_REPEATED
    if field.oneof is not None:
        added.oneof_index = [each.name for each in made.oneof_decl].index(field.oneof)
    elif field.presence is Presence.EXPLICIT and field.kind not in NESTED:
        added.proto3_optional, added.oneof_index = True, len(made.oneof_decl)
        made.oneof_decl.add(name=f"_{field.name}")
    if field.shape is not Shape.MAP:
        set_type(added, field)
        return
    entry = made.nested_type.add(name="".join(part.title() for part in field.name.split("_")) + "Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=int(field.key), label=added.LABEL_OPTIONAL)
    set_type(entry.field.add(name="value", number=2, label=added.LABEL_OPTIONAL), field)
    added.type, added.type_name = added.TYPE_MESSAGE, f".{PACKAGE}.{made.name}.{entry.name}"


def set_type(told, field):
    told.type = int(field.kind)
    target = field.message or field.enum
    if target is not None:
        told.type_name = f".{PACKAGE}.{target.__name__}"


# ---- the others


def betterproto2_classes(messages, enums):
    home = module("betterproto2")
    for each in enums:
        members = dict(each.__proto_names__)  # a class statement: its Enum cannot be called for a new one
        setattr(
            home, each.__name__, new_class(each.__name__, (betterproto2.Enum,), {}, partial(filled, members))
        )
    for cls, descriptor in messages.items():
        fields = [
            (each.name, annotation_of(each, python_type, attribute_name), betterproto2_field(each, home))
            for each in descriptor.fields
        ]
        made = dataclasses.make_dataclass(
            cls.__name__, fields, bases=(betterproto2.Message,), eq=False, repr=False
        )
        made.__module__ = home.__name__
        setattr(home, cls.__name__, made)
    return namespace_of(home, messages)


def filled(members, namespace):
    for name, value in members.items():
        namespace[name] = value


def attribute_name(target):
    return target.__name__


def betterproto2_field(field, home):
    kind = "message" if field.kind is Kind.MESSAGE else field.kind.name.lower()
    if field.shape is Shape.MAP:
        return betterproto2.field(
            field.number, "map", map_meta=betterproto2.map_meta(field.key.name.lower(), kind)
        )
    return betterproto2.field(
        field.number,
        kind,
        default_factory=None if field.enum is None else lambda: getattr(home, field.enum.__name__)(0),
        group=field.oneof,
        optional=field.presence is Presence.EXPLICIT,
        repeated=field.shape is Shape.REPEATED,
    )


def fastproto_classes(messages, enums):
    home = module("fastproto")
    for each in enums:
        setattr(home, each.__name__, enum.IntEnum(each.__name__, dict(each.__proto_names__)))
    for told, (cls, descriptor) in zip(file_of(messages, enums).message_type, messages.items(), strict=True):
        fields = [
            (each.name, annotation_of(each, python_type, attribute_name), fastproto_field(each, home))
            for each in descriptor.fields
        ]
        made = dataclasses.make_dataclass(cls.__name__, fields, bases=(fastproto.Message,), slots=True)
        made.__module__ = home.__name__
        setattr(home, cls.__name__, fastproto.message(told.SerializeToString())(made))
    return namespace_of(home, messages)


def fastproto_field(field, home):
    default = default_of(field)
    if callable(default):
        return dataclasses.field(default_factory=default)
    if field.enum is not None and default is not None:
        default = getattr(home, field.enum.__name__)(int(default))
    return dataclasses.field(default=default)


def msgspec_classes(messages, *, array_like):
    """Structs; as maps by name, without what has its default, as protobuf leaves it out, or by position."""
    home = module(f"msgspec_{array_like}")
    for cls, descriptor in messages.items():
        fields = [
            (each.name, annotation_of(each, python_type, integer_or_name), msgspec_default(each))
            for each in descriptor.fields
        ]
        made = msgspec.defstruct(
            cls.__name__,
            fields,
            module=home.__name__,
            omit_defaults=True,
            kw_only=True,
            array_like=array_like,
        )
        setattr(home, cls.__name__, made)
    return namespace_of(home, messages)


def integer_or_name(target):
    return "int" if issubclass(target, enum.IntEnum) else target.__name__


def msgspec_default(field):
    default = default_of(field)
    if callable(default):
        return msgspec.field(default_factory=default)
    return int(default) if isinstance(default, enum.IntEnum) else default


def namespace_of(home, messages):
    return SimpleNamespace(**{cls.__name__: getattr(home, cls.__name__) for cls in messages})
