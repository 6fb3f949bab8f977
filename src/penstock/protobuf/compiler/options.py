"""What the options of a `.proto` file say: built-in ones, custom ones, and messages written as text.

An option is a field of FieldOptions, MessageOptions, ...; a custom one is an extension of it. Each value is
written in protobuf's own encoding, and the options are read back from the bytes, where custom options stay
among the unknown fields, as everywhere.

Source: https://protobuf.dev/programming-guides/proto3#customoptions, https://protobuf.dev/reference/protobuf/textformat-spec
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection
from typing import Any, Final, TypeVar, cast

from penstock.protobuf.compiler.names import Names, Symbol, SymbolKind
from penstock.protobuf.compiler.numbers import float_value, single
from penstock.protobuf.compiler.option_syntax import MOST_BRACES, Options
from penstock.protobuf.compiler.places import Parsed
from penstock.protobuf.compiler.tokens import TokenKind, Tokens, shortened
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.kinds import FIXED_SIZE, INTEGER_RANGE, WIRE_TYPE, Kind, WireType
from penstock.protobuf.schema.descriptor_proto import (
    DescriptorProto,
    EnumOptions,
    EnumValueOptions,
    ExtensionRangeOptions,
    FeatureSet,
    FieldDescriptorProto,
    FieldOptions,
    FileOptions,
    MessageOptions,
    MethodOptions,
    OneofOptions,
    ServiceOptions,
    UninterpretedOption,
)
from penstock.protobuf.varint import encode_varint, zigzag_encode

__all__ = ["OptionReader"]

AnyOptions = TypeVar("AnyOptions", bound=Options)

REPEATED: Final = FieldDescriptorProto.Label.LABEL_REPEATED
DELIMITED: Final = FeatureSet.MessageEncoding.DELIMITED
TRUE, FALSE = ("true", "True", "t", "1"), ("false", "False", "f", "0")
TARGETS: Final[dict[type[Any], FieldOptions.OptionTargetType]] = {
    FileOptions: FieldOptions.OptionTargetType.TARGET_TYPE_FILE,
    MessageOptions: FieldOptions.OptionTargetType.TARGET_TYPE_MESSAGE,
    FieldOptions: FieldOptions.OptionTargetType.TARGET_TYPE_FIELD,
    OneofOptions: FieldOptions.OptionTargetType.TARGET_TYPE_ONEOF,
    EnumOptions: FieldOptions.OptionTargetType.TARGET_TYPE_ENUM,
    EnumValueOptions: FieldOptions.OptionTargetType.TARGET_TYPE_ENUM_ENTRY,
    ServiceOptions: FieldOptions.OptionTargetType.TARGET_TYPE_SERVICE,
    MethodOptions: FieldOptions.OptionTargetType.TARGET_TYPE_METHOD,
    ExtensionRangeOptions: FieldOptions.OptionTargetType.TARGET_TYPE_EXTENSION_RANGE,
}
PACKING: Final = {
    Kind.DOUBLE: "<d",
    Kind.FLOAT: "<f",
    Kind.FIXED64: "<Q",
    Kind.FIXED32: "<I",
    Kind.SFIXED64: "<q",
    Kind.SFIXED32: "<i",
}
CLOSING: Final = {"{": "}", "<": ">"}


class OptionReader:
    """Interprets the options of one file.

    Args:
        names: all names.
        built_in: those of descriptor.proto, which `names` may lack.
        parsed: the file.
        visible: the files whose extensions it may use.
    """

    def __init__(self, names: Names, built_in: Names, parsed: Parsed, visible: Collection[str]) -> None:
        self.names, self.built_in, self.parsed, self.visible = names, built_in, parsed, visible

    def interpreted(self, options: AnyOptions, scope: Symbol, *, features: bool) -> AnyOptions:
        """The options with each uninterpreted one in its field.

        Args:
            options: of anything in the file.
            scope: where names of extensions are looked up.
            features: whether only the features are wanted, or only what else there is.

        Raises:
            SchemaError: there is no such option, or its value is none of its type.
        """
        told = [each for each in options.uninterpreted_option if is_feature(each) is features]
        if not told:
            return options
        if features and self.parsed.file.syntax != "editions":
            raise self.error(told[0], "features must be in a file that begins with an edition")
        rest = [each for each in options.uninterpreted_option if is_feature(each) is not features]
        schema = self.absolute(f"google.protobuf.{type(options).__name__}")
        assert schema is not None
        options.uninterpreted_option = []
        parts = [options.to_bytes()]
        taken: set[tuple[int, ...]] = set()
        target = TARGETS[type(options)]
        parts.extend(self.encoded(option, schema, scope, taken, target) for option in told)
        made = cast("AnyOptions", type(options).from_bytes(b"".join(parts)))
        made.uninterpreted_option = rest  # the same objects: their places are known
        return made

    def encoded(
        self,
        option: UninterpretedOption,
        schema: Symbol,
        scope: Symbol,
        taken: set[tuple[int, ...]],
        target: FieldOptions.OptionTargetType,
    ) -> bytes:
        """One option, as a field of the message `schema`."""
        path = self.path(option, schema, scope)
        for each in path:
            self.check_target(self.parsed.places.of(option), each, target)
        numbers = tuple(field_of(each).number or 0 for each in path)
        if field_of(path[-1]).label != REPEATED and numbers in taken:
            raise self.error(option, f"{title(option)} must be set once")
        taken.update(numbers[:length] for length in range(1, len(numbers) + 1))
        tokens = Tokens(self.parsed.source, self.parsed.places.of(option, "value"))
        value = ValueReader(self, tokens, scope, target).option_value(path[-1])
        for each in reversed(path[:-1]):
            value = record(each, value)
        return value

    def path(self, option: UninterpretedOption, schema: Symbol, scope: Symbol) -> list[Symbol]:
        """The fields from the options message down to the one that is set."""
        path: list[Symbol] = []
        around = schema
        for part in option.name:
            if path:
                around = self.message_of(option, path[-1])
            path.append(self.part(option, around, part, scope))
        return path

    def part(
        self, option: UninterpretedOption, around: Symbol, part: UninterpretedOption.NamePart, scope: Symbol
    ) -> Symbol:
        """The field of `around` that one part of a name means."""
        name = part.name_part or ""
        if part.is_extension:
            return self.extension(self.parsed.places.of(option), name, around, scope)
        found = around.children.get(name)
        if found is None or found.kind is not SymbolKind.FIELD or name == "uninterpreted_option":
            raise self.error(option, f"{around} has no option {shortened(name)}")
        if found.full_name == "google.protobuf.MessageOptions.map_entry":
            raise self.error(option, "map_entry is protobuf's own, write map<key, value>")
        return found

    def extension(self, offset: int, name: str, extended: Symbol, scope: Symbol) -> Symbol:
        """The extension of a message that a name means."""
        found = self.names.find(name, scope, self.visible, types=False)
        if found is None or found.kind is not SymbolKind.EXTENSION:
            raise self.parsed.source.error(
                offset, f"({shortened(name)}) is no extension that this file declares or imports"
            )
        if field_of(found).extendee != f".{extended}":
            extendee = (field_of(found).extendee or "").removeprefix(".")
            raise self.parsed.source.error(
                offset, f"({name}) extends {extendee}, it is no field of {extended}"
            )
        return found

    def message_of(self, option: UninterpretedOption, field: Symbol) -> Symbol:
        """The message that a field within the name of an option holds."""
        found = self.type_of(field)
        if found is None or found.kind is not SymbolKind.MESSAGE:
            raise self.error(option, f"{field} in {title(option)} is no message, it has no fields to set")
        if field_of(field).label == REPEATED:
            raise self.error(
                option, f"{field} in {title(option)} is repeated, write {field.name} = {{ ... }}"
            )
        return found

    def check_target(self, offset: int, field: Symbol, target: FieldOptions.OptionTargetType) -> None:
        """Some options, and parts of them, are for fields alone, or for files, ..."""
        options = field_of(field).options
        if options is not None and options.targets and target not in options.targets:
            what = target.name.removeprefix("TARGET_TYPE_").replace("_", " ").lower()
            raise self.parsed.source.error(offset, f"{field.name} is no option of a {what}")

    def type_of(self, field: Symbol) -> Symbol | None:
        """The message or enum that a field holds."""
        name = field_of(field).type_name
        return None if name is None else self.absolute(name.removeprefix("."))

    def absolute(self, full_name: str) -> Symbol | None:
        """What has this full name, in the files or in descriptor.proto."""
        return self.names.absolute(full_name) or self.built_in.absolute(full_name)

    def error(self, option: UninterpretedOption, reason: str) -> SchemaError:
        """What is wrong with an option."""
        return self.parsed.source.error(self.parsed.places.of(option), reason)


class ValueReader:
    """Reads values at a place of the text, by the fields that they are of, and writes them as bytes."""

    def __init__(
        self, options: OptionReader, tokens: Tokens, scope: Symbol, target: FieldOptions.OptionTargetType
    ) -> None:
        self.options, self.tokens, self.scope, self.target = options, tokens, scope, target

    def option_value(self, field: Symbol) -> bytes:
        """What stands after the `=` of an option."""
        if self.tokens.text == "[":
            raise self.tokens.expected("a value; a list stands within { } only")
        return record(field, self.value(field, 0))

    def message(self, schema: Symbol, depth: int) -> bytes:
        """`{ field: value ... }` or `< ... >`."""
        if depth > MOST_BRACES:
            raise self.tokens.error(f"the value of an option must be at most {MOST_BRACES} messages deep")
        closing = CLOSING.get(self.tokens.text)
        if closing is None:
            raise self.tokens.expected('"{"')
        self.tokens.advance()
        parts: list[bytes] = []
        taken: set[int] = set()
        while not self.tokens.skip(closing):
            parts.append(self.member(schema, depth, taken))
            if self.tokens.text in (",", ";"):
                self.tokens.advance()
        return b"".join(parts)

    def member(self, schema: Symbol, depth: int, taken: set[int]) -> bytes:
        """`name: value`, `[extension]: value`, or `[domain/type] { ... }` within an Any."""
        start = self.tokens.start
        if self.tokens.skip("["):
            name = self.tokens.take_dotted_name("the name of an extension", rooted=False)
            if self.tokens.text == "/":
                return self.any_value(name, schema, depth)
            self.tokens.take("]")
            field = self.options.extension(start, name, schema, self.scope)
        else:
            field = self.named_field(schema)
        self.options.check_target(start, field, self.target)
        number = field_of(field).number or 0
        if field_of(field).label != REPEATED:
            if number in taken:
                raise self.options.parsed.source.error(start, f"{field.name} must be set once")
            taken.add(number)
        is_message = Kind(field_of(field).type or 0) in (Kind.MESSAGE, Kind.GROUP)
        if not self.tokens.skip(":") and not (is_message and self.tokens.text in (*CLOSING, "[")):
            raise self.tokens.expected('":"')
        if not self.tokens.skip("["):
            return record(field, self.value(field, depth + 1))
        if field_of(field).label != REPEATED:
            raise self.tokens.error(f"{field.name} must be one value, it is not repeated")
        return self.rest_of_list(field, depth)

    def rest_of_list(self, field: Symbol, depth: int) -> bytes:
        parts: list[bytes] = []
        while not self.tokens.skip("]"):
            if parts:
                self.tokens.take(",")
            parts.append(record(field, self.value(field, depth + 1)))
        return b"".join(parts)

    def named_field(self, schema: Symbol) -> Symbol:
        start = self.tokens.start
        name = self.tokens.take_name("the name of a field")
        found = schema.children.get(name)
        if found is None or found.kind is not SymbolKind.FIELD:  # a group goes by the name of its message
            found = schema.children.get(name.lower())
            if found is None or found.kind is not SymbolKind.FIELD or not is_group_named(found, name):
                raise self.options.parsed.source.error(start, f"{schema} has no field {shortened(name)}")
        return found

    def any_value(self, domain: str, schema: Symbol, depth: int) -> bytes:
        """A message within an Any, written out."""
        start = self.tokens.start
        if schema.full_name != "google.protobuf.Any":
            raise self.tokens.error(
                f"a message of another type must be within google.protobuf.Any, not {schema}"
            )
        self.tokens.take("/")
        name = self.tokens.take_dotted_name("the full name of a message", rooted=False)
        self.tokens.take("]")
        self.tokens.skip(":")
        held = self.options.names.absolute(name)
        if held is None or held.kind is not SymbolKind.MESSAGE or not held.is_visible(self.options.visible):
            raise self.options.parsed.source.error(
                start, f"{shortened(name)} is no message that this file imports"
            )
        value = self.message(held, depth + 1)
        url = f"{domain}/{name}".encode()
        return b"\x0a" + delimited(url) + (b"\x12" + delimited(value) if value else b"")

    def value(self, field: Symbol, depth: int) -> bytes:
        """One value, without its tag."""
        kind = Kind(field_of(field).type or 0)
        if kind in (Kind.MESSAGE, Kind.GROUP):
            schema = self.options.type_of(field)
            assert schema is not None
            return self.message(schema, depth)
        if kind is Kind.ENUM:
            return self.enum_value(field, depth)
        if kind in INTEGER_RANGE:
            what = f"a value of {field.name}, {kind.name.lower()},"
            return encoded_integer(kind, self.tokens.take_integer(what, *INTEGER_RANGE[kind]))
        if kind in (Kind.DOUBLE, Kind.FLOAT):
            number = self.number(depth)
            return struct.pack(PACKING[kind], single(number) if kind is Kind.FLOAT else number)
        if kind is Kind.BOOL:
            return self.boolean(depth)
        if kind is Kind.STRING:
            return delimited(self.tokens.take_text(f"a string, {field.name}").encode())
        return delimited(self.tokens.take_bytes(f"a string, {field.name}"))

    def boolean(self, depth: int) -> bytes:
        known = 1 if depth == 0 else 4  # a message as text allows more ways to say it than an option
        word = self.tokens.text
        if word not in (*TRUE[:known], *FALSE[:known]):
            raise self.tokens.expected("true or false")
        self.tokens.advance()
        return b"\x01" if word in TRUE else b"\x00"

    def number(self, depth: int) -> float:
        tokens = self.tokens
        sign = -1.0 if tokens.skip("-") else 1.0
        word = tokens.text if depth == 0 else tokens.text.lower()
        if tokens.kind in (TokenKind.INTEGER, TokenKind.FLOAT):
            value = float_value(tokens.text)
        elif word in ("inf", "nan") or (depth > 0 and word == "infinity"):
            value = float(word)
        else:
            raise tokens.expected("a number, inf or nan")
        tokens.advance()
        return math.copysign(value, sign)

    def enum_value(self, field: Symbol, depth: int) -> bytes:
        symbol = self.options.type_of(field)
        assert symbol is not None
        if depth > 0 and self.tokens.kind is not TokenKind.NAME:
            number = self.tokens.take_integer(f"a value of {symbol}", *INTEGER_RANGE[Kind.ENUM])
            return encoded_integer(Kind.ENUM, number)
        found = symbol.values.get(self.tokens.text)
        if found is None:
            raise self.tokens.expected(f"a value of {symbol}")
        self.tokens.advance()
        return encoded_integer(Kind.ENUM, found)


def is_feature(option: UninterpretedOption) -> bool:
    return option.name[0].name_part == "features" and not option.name[0].is_extension


def field_of(symbol: Symbol) -> FieldDescriptorProto:
    assert isinstance(symbol.thing, FieldDescriptorProto)
    return symbol.thing


def is_group_named(field: Symbol, name: str) -> bool:
    told = field_of(field)
    return is_delimited(field) and (told.type_name or "").rpartition(".")[2] == name


def is_delimited(field: Symbol) -> bool:
    """Whether a sub-message stands between a start and an end tag."""
    told = field_of(field)
    if told.type == FieldDescriptorProto.Type.TYPE_MESSAGE:
        return field.features.message_encoding == DELIMITED and not is_map_field(field)
    return told.type == FieldDescriptorProto.Type.TYPE_GROUP


def is_map_field(field: Symbol) -> bool:
    assert field.scope is not None
    entry = field.scope.children.get((field_of(field).type_name or "").rpartition(".")[2])
    thing = None if entry is None else entry.thing
    return isinstance(thing, DescriptorProto) and thing.options is not None and bool(thing.options.map_entry)


def record(field: Symbol, value: bytes) -> bytes:
    """A field's tag and value."""
    told = field_of(field)
    number, kind = told.number or 0, Kind(told.type or 0)
    if is_delimited(field):
        return (
            encode_varint(number << 3 | WireType.START_GROUP)
            + value
            + encode_varint(number << 3 | WireType.END_GROUP)
        )
    tag = encode_varint(number << 3 | WIRE_TYPE[kind])
    return tag + (delimited(value) if kind is Kind.MESSAGE else value)


def delimited(value: bytes) -> bytes:
    return encode_varint(len(value)) + value


def encoded_integer(kind: Kind, value: int) -> bytes:
    if kind in FIXED_SIZE:
        return struct.pack(PACKING[kind], value)
    if kind in (Kind.SINT32, Kind.SINT64):
        return encode_varint(zigzag_encode(value))
    return encode_varint(value & 0xFFFFFFFFFFFFFFFF)


def title(option: UninterpretedOption) -> str:
    """An option as it is written."""
    parts = (f"({each.name_part})" if each.is_extension else each.name_part or "" for each in option.name)
    return shortened(".".join(parts))
