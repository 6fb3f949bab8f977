"""Random messages of any schema, made with Google's classes and with ours, and seen alike through both."""

import math
import struct
from functools import cached_property, partial
from random import Random
from typing import Any

import numpy as np
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from random_schemas import MESSAGES
from random_values import scalar

from penstock.protobuf.declaration import describe
from penstock.protobuf.descriptors import Shape
from penstock.protobuf.kinds import Kind
from penstock.protobuf.schema import descriptor_proto
from penstock.protobuf.schema.defaults import single_precision
from penstock.protobuf.schema.schema import Schema
from twins import load

TWINS = {impl: load("penstock.protobuf.message", impl) for impl in ("c", "py")}


class World:
    """The messages of some files: as Google's classes, and as ours on either twin.

    Args:
        files: a file comes behind those that it imports.
        arrays: whether repeated numbers are numpy arrays in ours.
    """

    def __init__(self, files: FileDescriptorSet, *, arrays: bool = False) -> None:
        self.files, self.arrays = files, arrays

    @classmethod
    def of(cls, file: FileDescriptorProto, *, arrays: bool = False) -> "World":
        return cls(FileDescriptorSet(file=[file]), arrays=arrays)

    def __repr__(self) -> str:
        return f"World.of({'; '.join(str(each) for each in self.files.file)}, arrays={self.arrays})"

    @cached_property
    def pool(self) -> descriptor_pool.DescriptorPool:
        pool = descriptor_pool.DescriptorPool()
        for each in self.files.file:
            pool.Add(each)
        return pool

    @cached_property
    def schemas(self) -> dict[str, Schema]:
        files = descriptor_proto.FileDescriptorSet.from_bytes(self.files.SerializeToString())
        return {
            impl: Schema(files, {}, arrays=self.arrays, module="", root=root) for impl, root in TWINS.items()
        }

    def google(self, full_name: str) -> Any:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(full_name))

    def ours(self, impl: str, full_name: str) -> Any:
        return self.schemas[impl][full_name]


# A message as a tree: the names of the fields that are set, in their order, with their values.


def is_map(field: Any) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def value_field(field: Any) -> Any:
    """What tells of the values of a field, which may be a map."""
    return field.message_type.fields_by_name["value"] if is_map(field) else field


def random_tree(dice: Random, message: Any, depth: int = 0) -> dict[str, Any]:
    """A message of Google's descriptor `message`; nearly all of them have their required fields."""
    fields = list(message.fields)
    chosen = dice.sample(fields, min(len(fields), dice.randint(0 if depth else 1, 6 >> depth // 2)))
    if depth > 2:
        chosen = [each for each in chosen if value_field(each).message_type is None]
    if dice.random() < 0.9:
        chosen += [each for each in fields if each.is_required and each not in chosen]
    return {each.name: random_value(dice, each, depth) for each in chosen}


def random_value(dice: Random, field: Any, depth: int) -> Any:
    of = value_field(field)
    if is_map(field):
        key = field.message_type.fields_by_name["key"].type
        return {scalar(dice, key): single_value(dice, of, depth) for _ in range(dice.randint(0, 3))}
    if field.is_repeated:
        return [single_value(dice, of, depth) for _ in range(dice.randint(0, 3))]
    return single_value(dice, of, depth)


def single_value(dice: Random, field: Any, depth: int) -> Any:
    if field.type in MESSAGES:
        return random_tree(dice, field.message_type, depth + 1) if depth < 5 else {}
    if field.type == Kind.ENUM:
        if field.enum_type.is_closed or dice.random() < 0.7:
            return dice.choice(list(field.enum_type.values)).number
        return scalar(dice, Kind.INT32)
    return scalar(dice, field.type)


def fill_google(message: Any, tree: dict[str, Any]) -> Any:
    for name, value in tree.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        has_messages = value_field(field).message_type is not None
        if is_map(field):
            for key, each in value.items():
                if has_messages:
                    fill_google(getattr(message, name)[key], each)
                else:
                    getattr(message, name)[key] = each
        elif field.is_repeated:
            for each in value:
                if has_messages:
                    fill_google(getattr(message, name).add(), each)
                else:
                    getattr(message, name).append(each)
        elif has_messages:
            getattr(message, name).SetInParent()
            fill_google(getattr(message, name), value)
        else:
            setattr(message, name, value)
    return message


def ours_of(cls: Any, tree: dict[str, Any]) -> Any:
    """One of ours, with slots set one after the other."""
    fields = {each.proto_name: each for each in describe(cls).fields}
    message = cls()
    for name, value in tree.items():
        setattr(message, fields[name].name, converted(fields[name], value))
    return message


def converted(field: Any, value: Any) -> Any:
    if field.message is None:
        return value if field.shape is Shape.SINGULAR else type(value)(value)  # not the same list or dict
    if field.shape is Shape.MAP:
        return {key: ours_of(field.message, each) for key, each in value.items()}
    if field.shape is Shape.REPEATED:
        return [ours_of(field.message, each) for each in value]
    return ours_of(field.message, value)


# What is seen of a message through its attributes, as plain values: equal if nobody could tell them apart.


def plain(value: Any, kind: int = 0) -> Any:
    if isinstance(value, float):
        # a float of single precision is one when it is set in Google's classes, here when it is written
        value = single_precision(value) if kind == Kind.FLOAT else value
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, str):
        return value.encode(errors="surrogateescape")
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def seen_in_google(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value, messages = getattr(message, field.name), value_field(field).message_type is not None
        see = seen_in_google if messages else plain
        if is_map(field):
            found[field.name] = {plain(key): see(each) for key, each in value.items()}
        elif field.is_repeated:
            found[field.name] = [see(each) for each in value]
        elif not field.has_presence:
            found[field.name] = plain(value)
        elif message.HasField(field.name):
            found[field.name] = "set", see(value)
        elif field.has_default_value:
            found[field.name] = "default", plain(value)
    found["is set"] = {field.name for field, _ in message.ListFields()}
    for oneof in message.DESCRIPTOR.oneofs:
        if not is_synthetic(oneof):
            found[f"oneof {oneof.name}"] = message.WhichOneof(oneof.name)
    return found


def is_synthetic(oneof: Any) -> bool:
    """Whether it stands for an optional field of proto3, by the name that protoc gives it."""
    return len(oneof.fields) == 1 and oneof.name == f"_{oneof.fields[0].name}"


def seen_in_ours(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    descriptor = describe(message)
    for field in descriptor.fields:
        value, name = getattr(message, field.name), field.proto_name
        see = partial(plain, kind=field.kind) if field.message is None else seen_in_ours
        if field.shape is Shape.MAP:
            found[name] = {plain(key): see(each) for key, each in value.items()}
        elif field.shape is Shape.REPEATED:
            found[name] = [see(each) for each in (value.tolist() if isinstance(value, np.ndarray) else value)]
        elif field.presence.value == "implicit":
            found[name] = see(value)
        elif message.is_set(field.name):
            found[name] = "set", see(value)
        elif value is not None:
            found[name] = "default", plain(value)
    names = {each.name: each.proto_name for each in descriptor.fields}
    found["is set"] = {proto_name for name, proto_name in names.items() if message.is_set(name)}
    for oneof in descriptor.oneofs:
        found[f"oneof {oneof}"] = names.get(message.which_oneof(oneof))
    return found
