"""The names that `.proto` files declare, as a tree, and what a name means at a place in it.

Source: descriptor.proto, FieldDescriptorProto.type_name: C++-like scoping, from the innermost scope outwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum
from functools import cached_property
from typing import Final, TypeAlias

from penstock.protobuf.compiler.places import Parsed
from penstock.protobuf.schema.definitions import LONGEST_NAME
from penstock.protobuf.schema.descriptor_proto import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    MethodDescriptorProto,
    OneofDescriptorProto,
    ServiceDescriptorProto,
)
from penstock.protobuf.schema.features import Features, features_of_field, features_of_file, overridden

__all__ = ["Names", "Symbol", "SymbolKind"]

Thing: TypeAlias = (
    DescriptorProto
    | EnumDescriptorProto
    | EnumValueDescriptorProto
    | FieldDescriptorProto
    | MethodDescriptorProto
    | OneofDescriptorProto
    | ServiceDescriptorProto
)


class SymbolKind(Enum):
    """What a name is the name of."""

    PACKAGE = "a package"
    MESSAGE = "a message"
    ENUM = "an enum"
    VALUE = "a value of an enum"
    FIELD = "a field"
    EXTENSION = "an extension"
    ONEOF = "a oneof"
    SERVICE = "a service"
    METHOD = "a method"


AGGREGATES: Final = (SymbolKind.PACKAGE, SymbolKind.MESSAGE, SymbolKind.ENUM, SymbolKind.SERVICE)
TYPES: Final = (SymbolKind.MESSAGE, SymbolKind.ENUM)


class Symbol:
    """A name within a scope, which is a symbol too; the outermost has no name."""

    def __init__(
        self, kind: SymbolKind, name: str, scope: Symbol | None, thing: Thing | None, file: Parsed | None
    ) -> None:
        self.kind, self.name, self.scope, self.thing, self.file = kind, name, scope, thing, file
        self.children: dict[str, Symbol] = {}
        self.files: set[str] = set()  # of a package: where it is declared

    @cached_property
    def full_name(self) -> str:
        """With its package and the messages around it."""
        outer = self.scope.full_name if self.scope is not None else ""
        return f"{outer}.{self.name}" if outer else self.name

    @cached_property
    def features(self) -> Features:
        """What holds for it; to be asked for only when the options around it are interpreted."""
        assert self.file is not None
        assert self.scope is not None
        around = self.scope.features if self.scope.thing is not None else features_of_file(self.file.file)
        thing = self.thing
        if isinstance(thing, FieldDescriptorProto):
            if thing.oneof_index is not None:
                assert isinstance(self.scope.thing, DescriptorProto)
                around = overridden(around, self.scope.thing.oneof_decl[thing.oneof_index].options)
            return features_of_field(around, thing)
        if isinstance(thing, (DescriptorProto, EnumDescriptorProto)):
            return overridden(around, thing.options)
        return around

    @cached_property
    def values(self) -> dict[str, int]:
        """Name -> number, of an enum."""
        assert isinstance(self.thing, EnumDescriptorProto)
        return {value.name or "": value.number or 0 for value in self.thing.value}

    def is_visible(self, visible: Collection[str]) -> bool:
        """Whether one of these files declares it."""
        if self.kind is SymbolKind.PACKAGE:
            return not self.files.isdisjoint(visible)
        return self.file is not None and self.file.source.name in visible

    def __str__(self) -> str:
        return self.full_name


class Names:
    """All names of a set of files."""

    def __init__(self) -> None:
        self.root = Symbol(SymbolKind.PACKAGE, "", None, None, None)

    def add_file(self, parsed: Parsed) -> Symbol:
        """Adds what a file declares, and returns the scope of its package.

        Raises:
            SchemaError: a name is taken, or too long.
        """
        file = parsed.file
        package = self.root
        if file.package:
            for name in file.package.split("."):
                package = self._package(package, name, parsed)
        for enum in file.enum_type:
            add_enum(package, enum, parsed)
        for message in file.message_type:
            add_message(package, message, parsed)
        for extension in file.extension:
            add(package, SymbolKind.EXTENSION, extension.name, extension, parsed)
        for service in file.service:
            own = add(package, SymbolKind.SERVICE, service.name, service, parsed)
            for method in service.method:
                add(own, SymbolKind.METHOD, method.name, method, parsed)
        return package

    def absolute(self, full_name: str) -> Symbol | None:
        """What has this full name."""
        return within(self.root, full_name.split("."))

    def find(
        self, name: str, scope: Symbol, visible: Collection[str], *, types: bool = True
    ) -> Symbol | None:
        """What a name means in a scope.

        Args:
            name: relative, or with a leading dot for a full name.
            scope: the message, service or package where it is used.
            visible: names of the files that may be meant.
            types: whether only a message or an enum can be meant.
        """
        if name.startswith("."):
            found = self.absolute(name[1:])
            return found if found is not None and found.is_visible(visible) else None
        first, *rest = name.split(".")
        around: Symbol | None = scope
        while around is not None:
            found = around.children.get(first)
            around = around.scope
            if found is None or not found.is_visible(visible):
                continue
            if not rest:
                if not types or found.kind in TYPES:
                    return found
            elif found.kind in AGGREGATES:  # the innermost hides those further out, whatever it holds
                inner = within(found, rest)
                return inner if inner is not None and inner.is_visible(visible) else None
        return None

    def _package(self, scope: Symbol, name: str, parsed: Parsed) -> Symbol:
        found = scope.children.get(name)
        if found is None:
            found = scope.children[name] = Symbol(SymbolKind.PACKAGE, name, scope, None, None)
            check_length(found, parsed, parsed.places.of(parsed.file, "package"))
        elif found.kind is not SymbolKind.PACKAGE:
            offset = parsed.places.of(parsed.file, "package")
            raise parsed.source.error(offset, f"{found} must be a package, it is {found.kind.value} already")
        found.files.add(parsed.source.name)
        return found


def within(scope: Symbol, names: Iterable[str]) -> Symbol | None:
    found: Symbol | None = scope
    for name in names:
        if found is None:
            return None
        found = found.children.get(name)
    return found


def add(scope: Symbol, kind: SymbolKind, name: str | None, thing: Thing, parsed: Parsed) -> Symbol:
    assert name is not None
    new = Symbol(kind, name, scope, thing, parsed)
    old = scope.children.setdefault(name, new)
    if old is not new:
        where = "" if old.file is None or old.file is parsed else f" in {old.file.source.name}"
        raise parsed.source.error(
            parsed.places.of(thing), f"{old} must be declared once, it is {old.kind.value} already{where}"
        )
    check_length(new, parsed, parsed.places.of(thing))
    return new


def check_length(new: Symbol, parsed: Parsed, offset: int) -> None:
    length = len(new.full_name)
    if length > LONGEST_NAME:
        raise parsed.source.error(
            offset, f"a full name must have at most {LONGEST_NAME} characters, got {length}"
        )


def add_message(scope: Symbol, message: DescriptorProto, parsed: Parsed) -> None:
    own = add(scope, SymbolKind.MESSAGE, message.name, message, parsed)
    for each in message.field:
        add(own, SymbolKind.FIELD, each.name, each, parsed)
    for oneof in message.oneof_decl:
        add(own, SymbolKind.ONEOF, oneof.name, oneof, parsed)
    for nested in message.nested_type:
        add_message(own, nested, parsed)
    for enum in message.enum_type:
        add_enum(own, enum, parsed)
    for extension in message.extension:
        add(own, SymbolKind.EXTENSION, extension.name, extension, parsed)


def add_enum(scope: Symbol, enum: EnumDescriptorProto, parsed: Parsed) -> None:
    """Adds an enum; its values are its neighbours, not its members, as in C++."""
    add(scope, SymbolKind.ENUM, enum.name, enum, parsed)
    for value in enum.value:
        add(scope, SymbolKind.VALUE, value.name, value, parsed)
