"""The messages and enums that some files define: found by name, and checked, before any becomes a class."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Final

from penstock.protobuf.errors import SchemaError
from penstock.protobuf.schema.descriptor_proto import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from penstock.protobuf.schema.features import Features, features_of_file, overridden

__all__ = [
    "Definition",
    "EnumDefinition",
    "MessageDefinition",
    "Scope",
    "define",
    "define_extensions",
    "resolve",
]

MOST_NESTED: Final = 64
"""Levels of messages defined within each other; protoc allows 32, and Python indents a module at most 99."""
LONGEST_NAME: Final = 1000
"""Characters of a name with all that is around it; else a long name around many would take all memory."""
MOST_VALUES: Final = 65_535
"""Values of an enum, each of which becomes a Python object."""
MOST_SHOWN: Final = 10
"""Files of a cycle that an error repeats."""

IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PACKAGE: Final = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)?")


@dataclass(slots=True, eq=False)
class Scope:
    """What fields are declared in: a message, or for extensions a package as well."""

    full_name: str
    """With package and outer messages, such as `shop.Order.Item`."""
    file: FileDescriptorProto
    features: Features
    """What holds for all that is within, as far as it says nothing else."""


@dataclass(slots=True, eq=False)
class Definition(Scope):
    """What a message and an enum have in common."""

    outer: MessageDefinition | None
    path: tuple[int, ...]
    """Where it stands in its file: field numbers and indexes, as in SourceCodeInfo."""

    @property
    def name(self) -> str:
        """Its name without what is around it."""
        return self.full_name.rpartition(".")[2]

    @property
    def outermost(self) -> Definition:
        """The definition at the top level of the file that this one is a part of."""
        found: Definition = self
        while found.outer is not None:
            found = found.outer
        return found


@dataclass(slots=True, eq=False)
class EnumDefinition(Definition):
    """An enum of the schema."""

    proto: EnumDescriptorProto
    names: frozenset[str]
    """Of its values."""


@dataclass(slots=True, eq=False)
class MessageDefinition(Definition):
    """A message of the schema, the entries of maps among them."""

    proto: DescriptorProto
    nested: list[Definition] = field(default_factory=list)
    """What is defined within it, enums first, each kind in the order of the file; no map entries."""

    @property
    def is_map_entry(self) -> bool:
        """Whether it stands for one entry of a map, and is no message of its own."""
        return self.proto.options is not None and bool(self.proto.options.map_entry)

    @property
    def is_message_set(self) -> bool:
        """Whether its extensions are written as items of a MessageSet."""
        return self.proto.options is not None and bool(self.proto.options.message_set_wire_format)


def define(files: Iterable[FileDescriptorProto]) -> dict[str, Definition]:
    """Full name -> definition, outer ones before inner ones.

    Raises:
        SchemaError: two things have one name, a name is none, files import each other, or messages are
            defined within each other more than 64 levels deep.
    """
    files = tuple(files)
    check_imports(files)
    found: dict[str, Definition] = {}
    for file in files:
        for each in of_file(file):
            other = found.setdefault(each.full_name, each)
            if other is not each:
                raise SchemaError(
                    f"{file.name}: {each.full_name} is defined twice, also in {other.file.name}"
                )
    return found


def define_extensions(
    files: Iterable[FileDescriptorProto], definitions: Mapping[str, Definition]
) -> dict[str, tuple[Scope, FieldDescriptorProto]]:
    """Full name of an extension -> where it is declared, and its field.

    Raises:
        SchemaError: two have one name, or a name is none.
    """
    found: dict[str, tuple[Scope, FieldDescriptorProto]] = {}

    def add(scope: Scope, extensions: Iterable[FieldDescriptorProto]) -> None:
        for each in extensions:
            full_name = joined(scope.file, scope.full_name, each.name)
            if found.setdefault(full_name, (scope, each))[1] is not each:
                raise SchemaError(f"{scope.file.name}: {full_name} is defined twice")

    for file in files:
        add(Scope(file.package or "", file, features_of_file(file)), file.extension)
    for each in definitions.values():
        if isinstance(each, MessageDefinition):
            add(each, each.proto.extension)
    return found


def check_imports(files: tuple[FileDescriptorProto, ...]) -> None:
    imports: dict[str, list[str]] = {}
    for file in files:
        if not file.name or not file.name.isprintable():
            raise SchemaError(f"each file of a descriptor set must have a printable name, got {file.name!r}")
        if file.name in imports:
            raise SchemaError(f"{file.name}: the descriptor set has two files of this name")
        imports[file.name] = file.dependency
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        shown = " -> ".join([*reversed(error.args[1])][:MOST_SHOWN])
        raise SchemaError(f"files must not import each other: {shown}") from None


def of_file(file: FileDescriptorProto) -> Iterator[Definition]:
    package = file.package or ""
    if not PACKAGE.fullmatch(package):
        raise SchemaError(f"{file.name}: a package must be identifiers joined by dots, got {package!r}")
    features = features_of_file(file)
    for index, enum in enumerate(file.enum_type):
        yield enum_definition(enum, file, features, None, package, (5, index))
    for index, message in enumerate(file.message_type):
        yield from message_definitions(message, file, features, None, package, (4, index))


def message_definitions(
    proto: DescriptorProto,
    file: FileDescriptorProto,
    inherited: Features,
    outer: MessageDefinition | None,
    scope: str,
    path: tuple[int, ...],
) -> Iterator[Definition]:
    """A message, then all that is defined within it."""
    full_name = joined(file, scope, proto.name)
    if len(path) > 2 * MOST_NESTED:
        raise SchemaError(
            f"{file.name}: messages must be nested at most {MOST_NESTED} levels deep, got {scope[:60]}..."
        )
    made = MessageDefinition(full_name, file, overridden(inherited, proto.options), outer, path, proto)
    if made.is_map_entry and (proto.nested_type or proto.enum_type):
        raise SchemaError(f"{full_name}: nothing can be defined within the entry of a map")
    if outer is not None and not made.is_map_entry:
        outer.nested.append(made)
    yield made
    for index, enum in enumerate(proto.enum_type):
        yield enum_definition(enum, file, made.features, made, full_name, (*path, 4, index))
    for index, message in enumerate(proto.nested_type):
        yield from message_definitions(message, file, made.features, made, full_name, (*path, 3, index))


def enum_definition(
    proto: EnumDescriptorProto,
    file: FileDescriptorProto,
    inherited: Features,
    outer: MessageDefinition | None,
    scope: str,
    path: tuple[int, ...],
) -> EnumDefinition:
    full_name = joined(file, scope, proto.name)
    features, names = overridden(inherited, proto.options), names_of_values(full_name, proto)
    made = EnumDefinition(full_name, file, features, outer, path, proto, names)
    if outer is not None:
        outer.nested.append(made)
    return made


def names_of_values(full_name: str, proto: EnumDescriptorProto) -> frozenset[str]:
    if not 1 <= len(proto.value) <= MOST_VALUES:
        raise SchemaError(f"{full_name}: an enum must have 1 to {MOST_VALUES} values, got {len(proto.value)}")
    names: set[str] = set()
    for each in proto.value:
        if not each.name or not IDENTIFIER.fullmatch(each.name) or each.number is None:
            raise SchemaError(
                f"{full_name}: a value must have a name of letters, digits and _, and a number, "
                f"got {each.name!r} = {each.number}"
            )
        if each.name in names:
            raise SchemaError(f"{full_name}: {each.name} is defined twice")
        names.add(each.name)
    return frozenset(names)


def joined(file: FileDescriptorProto, scope: str, name: str | None) -> str:
    if not name or not IDENTIFIER.fullmatch(name):
        raise SchemaError(f"{file.name}: a name must be letters, digits and _, got {name!r} in {scope!r}")
    full_name = f"{scope}.{name}" if scope else name
    if len(full_name) > LONGEST_NAME:
        raise SchemaError(
            f"{file.name}: a full name must have at most {LONGEST_NAME} characters, "
            f"got {len(full_name)}: {full_name[:60]}..."
        )
    return full_name


def resolve(name: str, scope: str, known: Container[str]) -> str | None:
    """The full name of the type that `name` means within `scope`, None if there is none.

    protoc writes full names with a leading dot; others are sought from the innermost scope outwards.
    """
    if name.startswith("."):
        return name[1:] if name[1:] in known else None
    while scope:
        if (found := f"{scope}.{name}") in known:
            return found
        scope = scope.rpartition(".")[0]
    return name if name in known else None
