"""Looks up every name that a parsed `.proto` file uses, and fills in what protoc fills in.

Source: descriptor.proto, which says what each descriptor holds once protoc is done with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from penstock.protobuf.compiler.checks import Checks, is_map_entry
from penstock.protobuf.compiler.names import Names, Symbol, SymbolKind
from penstock.protobuf.compiler.options import OptionReader
from penstock.protobuf.compiler.parser import map_entry_name
from penstock.protobuf.compiler.places import Parsed
from penstock.protobuf.compiler.tokens import shortened
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.fields import camel_case
from penstock.protobuf.schema.descriptor_proto import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)

__all__ = ["Linker"]

FieldType = FieldDescriptorProto.Type
TYPE_OF: Final = {SymbolKind.MESSAGE: FieldType.TYPE_MESSAGE, SymbolKind.ENUM: FieldType.TYPE_ENUM}


class Linker:
    """Links files one after the other, each after those that it imports.

    Args:
        built_in: descriptor.proto, which tells what options there are.
    """

    def __init__(self, built_in: Parsed) -> None:
        self.names, self.built_in = Names(), Names()
        self.built_in.add_file(built_in)
        self.files: dict[str, FileDescriptorProto] = {}
        self.extension_numbers: dict[tuple[str, int], str] = {}

    def add(self, parsed: Parsed) -> Symbol:
        """Takes a file whose names are looked up already."""
        self.files[parsed.source.name] = parsed.file
        return self.names.add_file(parsed)

    def link(self, parsed: Parsed) -> None:
        """Looks up all names of a file, in place, and checks what can only be checked then.

        Raises:
            SchemaError: a name is not declared or not imported, or stands for the wrong thing, or another
                rule of protobuf is broken.
        """
        FileLinker(self, parsed, self.add(parsed)).link()

    def visible(self, file: FileDescriptorProto) -> set[str]:
        """The files whose names a file may use: itself, what it imports, and what those import publicly."""
        found = {file.name or ""}
        waiting = [*file.dependency, *file.option_dependency]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                imported = self.files[name]
                waiting.extend(imported.dependency[index] for index in imported.public_dependency)
        return found


class FileLinker:
    """Links one file.

    First come all types, then all options, as an option may be an extension that the file itself declares,
    then what depends on options.
    """

    def __init__(self, linker: Linker, parsed: Parsed, package: Symbol) -> None:
        self.names, self.parsed, self.package = linker.names, parsed, package
        self.file, self.places = parsed.file, parsed.places
        self.all_files = linker.files.keys()
        self.visible = linker.visible(parsed.file)
        self.options = OptionReader(linker.names, linker.built_in, parsed, self.visible)
        self.checks = Checks(linker.names, parsed, linker.extension_numbers)

    def link(self) -> None:
        """All of the file."""
        for message in self.file.message_type:
            self.link_types(message, self.child(self.package, message.name))
        for extension in self.file.extension:
            self.link_field(extension, self.package)
        for service in self.file.service:
            for method in service.method:
                self.link_method(method, self.child(self.package, service.name))
        self.interpret_options()
        self.checks.check_file(self.package)

    # Types

    def link_types(self, message: DescriptorProto, scope: Symbol) -> None:
        for field in message.field:
            self.link_field(field, scope)
        for extension in message.extension:
            self.link_field(extension, scope)
        for nested in message.nested_type:
            self.link_types(nested, self.child(scope, nested.name))

    def link_field(self, field: FieldDescriptorProto, scope: Symbol) -> None:
        if field.extendee is not None:
            extendee = self.find(field.extendee, scope, self.places.of(field, "extendee"))
            if extendee.kind is not SymbolKind.MESSAGE:
                raise self.error(
                    self.places.of(field, "extendee"), f"{extendee} must be a message to be extended"
                )
            field.extendee = f".{extendee}"
        if field.type_name is not None:
            self.link_field_type(field, scope)
        if field.json_name is None:
            field.json_name = camel_case(field.name or "")

    def link_field_type(self, field: FieldDescriptorProto, scope: Symbol) -> None:
        offset = self.places.of(field, "type")
        found = self.find(field.type_name or "", scope, offset)
        if is_map_entry(found.thing) and not (
            found.scope is scope and found.name == map_entry_name(field.name or "") and field.extendee is None
        ):
            raise self.error(offset, f"{found} is the entry of a map, write map<key, value>")
        field.type_name = f".{found}"
        if field.type != FieldType.TYPE_GROUP:
            field.type = TYPE_OF[found.kind]
        if field.default_value is None:
            return
        offset = self.places.of(field, "default")
        if found.kind is not SymbolKind.ENUM:
            raise self.error(offset, f"{field.name} must have no default, it is a message")
        if field.default_value not in found.values:
            raise self.error(
                offset, f"the default must be a value of {found}, got {shortened(field.default_value)}"
            )

    def link_method(self, method: MethodDescriptorProto, scope: Symbol) -> None:
        method.input_type = self.message_name(method.input_type or "", scope, self.places.of(method, "input"))
        method.output_type = self.message_name(
            method.output_type or "", scope, self.places.of(method, "output")
        )

    def message_name(self, name: str, scope: Symbol, offset: int) -> str:
        found = self.find(name, scope, offset)
        if found.kind is not SymbolKind.MESSAGE:
            raise self.error(offset, f"a method must take and return messages, {found} is {found.kind.value}")
        return f".{found}"

    def find(self, name: str, scope: Symbol, offset: int) -> Symbol:
        """The type that a name means."""
        found = self.names.find(name, scope, self.visible)
        if found is None:
            raise self.error(offset, self.why_unknown(name, scope))
        if found.kind not in TYPE_OF:
            raise self.error(
                offset, f"{shortened(name)} must be a message or an enum, it is {found.kind.value}"
            )
        return found

    def why_unknown(self, name: str, scope: Symbol) -> str:
        elsewhere = self.names.find(name, scope, self.all_files)
        if elsewhere is not None and elsewhere.file is not None:
            return f"{shortened(name)} is not imported, {elsewhere.file.source.name} declares it"
        if self.names.find(f".{name}", scope, self.visible) is not None:
            first = name.partition(".")[0]
            return f"{shortened(name)} is hidden by another {first}, further in: write .{shortened(name)}"
        return f"{shortened(name)} is declared nowhere in this file or what it imports"

    # Options

    def interpret_options(self) -> None:
        """Every option; features come first, as they tell how the values of others are written."""
        owners = list(self.owners_of_options())
        for features in (True, False):
            for owner, scope in owners:
                if owner.options is not None:
                    owner.options = self.options.interpreted(owner.options, scope, features=features)

    def owners_of_options(self) -> Iterator[tuple[Any, Symbol]]:
        """Whatever may have options, with the scope where they look for extensions."""
        file, package = self.file, self.package
        yield file, package
        for message in file.message_type:
            yield from self.owners_in_message(message, self.child(package, message.name))
        yield from self.owners_in_enums(file.enum_type, package)
        for extension in file.extension:
            yield extension, package
        for service in file.service:
            scope = self.child(package, service.name)
            yield service, scope
            for method in service.method:
                yield method, scope

    def owners_in_message(self, message: DescriptorProto, scope: Symbol) -> Iterator[tuple[Any, Symbol]]:
        yield message, scope
        for each in (*message.oneof_decl, *message.field, *message.extension, *message.extension_range):
            yield each, scope
        yield from self.owners_in_enums(message.enum_type, scope)
        for nested in message.nested_type:
            yield from self.owners_in_message(nested, self.child(scope, nested.name))

    def owners_in_enums(
        self, enums: Iterable[EnumDescriptorProto], scope: Symbol
    ) -> Iterator[tuple[Any, Symbol]]:
        for enum in enums:
            yield enum, scope
            for value in enum.value:
                yield value, scope

    def child(self, scope: Symbol, name: str | None) -> Symbol:
        return scope.children[name or ""]

    def error(self, offset: int, reason: str) -> SchemaError:
        return self.parsed.source.error(offset, reason)
