"""Parses options and default values of a `.proto` text, as far as they can be read without any names."""

from __future__ import annotations

from typing import Final, TypeAlias

from penstock.protobuf.compiler.numbers import double_text, float_text, float_value, single
from penstock.protobuf.compiler.places import Places
from penstock.protobuf.compiler.tokens import TokenKind, Tokens, integer_value
from penstock.protobuf.kinds import INTEGER_RANGE, Kind
from penstock.protobuf.schema.descriptor_proto import (
    EnumOptions,
    EnumValueOptions,
    ExtensionRangeOptions,
    FieldDescriptorProto,
    FieldOptions,
    FileOptions,
    MessageOptions,
    MethodOptions,
    OneofOptions,
    ServiceOptions,
    UninterpretedOption,
)

__all__ = ["MOST_BRACES", "OptionParser", "Options"]

Options: TypeAlias = (
    EnumOptions
    | EnumValueOptions
    | ExtensionRangeOptions
    | FieldOptions
    | FileOptions
    | MessageOptions
    | MethodOptions
    | OneofOptions
    | ServiceOptions
)

MOST_BRACES: Final = 100
"""Messages within each other in the value of an option."""
MOST_PARTS: Final = 32
"""Parts of the name of an option: each but the last is a message around the next."""
REPEATED: Final = FieldDescriptorProto.Label.LABEL_REPEATED


class OptionParser:
    """Reads options where the cursor stands, into `uninterpreted_option`.

    Args:
        tokens: the cursor of the parser of statements.
        places: where it remembers what stands where.
    """

    def __init__(self, tokens: Tokens, places: Places) -> None:
        self.tokens, self.places = tokens, places

    def parse_bracketed(self, options: Options) -> None:
        """`[name = value, ...]`."""
        self.tokens.take("[")
        while True:
            self.parse(options)
            if not self.tokens.skip(","):
                break
        self.tokens.take("]")

    def parse_of_field(self, new: FieldDescriptorProto, *, is_proto3: bool) -> None:
        """The same of a field, where two look like options and are none."""
        if not self.tokens.skip("["):
            return
        while True:
            if self.tokens.text == "default":
                self.parse_default(new, is_proto3=is_proto3)
            elif self.tokens.text == "json_name":
                self.parse_json_name(new)
            else:
                if new.options is None:
                    new.options = FieldOptions()
                self.parse(new.options)
            if not self.tokens.skip(","):
                break
        self.tokens.take("]")

    def parse_json_name(self, new: FieldDescriptorProto) -> None:
        """`json_name = "name"`."""
        if new.json_name is not None:
            raise self.tokens.error("json_name must be set once")
        if new.extendee is not None:
            raise self.tokens.error("an extension must have no json_name")
        self.tokens.advance()
        self.tokens.take("=")
        self.places.mark(new, self.tokens.start, "json_name")
        new.json_name = self.tokens.take_text("a string, the name in JSON")

    def parse_default(self, new: FieldDescriptorProto, *, is_proto3: bool) -> None:
        """`default = value`."""
        if new.default_value is not None:
            raise self.tokens.error("default must be set once")
        if is_proto3:
            raise self.tokens.error("proto3 has no default values")
        if new.label is REPEATED:
            raise self.tokens.error("a repeated field must have no default")
        self.tokens.advance()
        self.tokens.take("=")
        self.places.mark(new, self.tokens.start, "default")
        if new.type is None:  # an enum, as the linker will see: only it knows the names
            new.default_value = self.tokens.take_name("the name of an enum's value")
        else:
            new.default_value = self.parse_scalar_default(Kind(new.type))

    def parse_scalar_default(self, kind: Kind) -> str:
        """A default value, as descriptors have it."""
        if kind in INTEGER_RANGE:
            return str(self.tokens.take_integer("the default", *INTEGER_RANGE[kind]))
        if kind is Kind.BOOL:
            if self.tokens.text not in ("true", "false"):
                raise self.tokens.expected("true or false")
            return self.tokens.take_name("true or false")
        if kind is Kind.STRING:
            return self.tokens.take_text("a string, the default")
        if kind is Kind.BYTES:
            return c_escaped(self.tokens.take_bytes("a string, the default"))
        if kind in (Kind.DOUBLE, Kind.FLOAT):
            return self.parse_float_default(kind)
        raise self.tokens.error("a group must have no default")

    def parse_float_default(self, kind: Kind) -> str:
        """A number of any kind, inf or nan."""
        sign = -1.0 if self.tokens.skip("-") else 1.0
        token = self.tokens
        if token.kind in (TokenKind.INTEGER, TokenKind.FLOAT):
            value = sign * float_value(token.text)
        elif token.text in ("inf", "nan"):
            value = sign * float(token.text)
        else:
            raise token.expected("a number, inf or nan")
        token.advance()
        return float_text(single(value)) if kind is Kind.FLOAT else double_text(value)

    def parse(self, options: Options) -> None:
        """`name = value`, or `(custom.option).part = value`."""
        option = UninterpretedOption()
        self.places.mark(option, self.tokens.start)
        while True:
            if len(option.name) == MOST_PARTS:
                raise self.tokens.error(f"the name of an option must have at most {MOST_PARTS} parts")
            option.name.append(self.parse_name_part())
            if not self.tokens.skip("."):
                break
        self.tokens.take("=")
        self.places.mark(option, self.tokens.start, "value")
        self.parse_option_value(option)
        options.uninterpreted_option.append(option)

    def parse_name_part(self) -> UninterpretedOption.NamePart:
        """`name`, or `(package.extension)`."""
        if not self.tokens.skip("("):
            name = self.tokens.take_name("the name of an option")
            return UninterpretedOption.NamePart(name_part=name, is_extension=False)
        name = self.tokens.take_dotted_name("the name of an extension")
        self.tokens.take(")")
        return UninterpretedOption.NamePart(name_part=name, is_extension=True)

    def parse_option_value(self, option: UninterpretedOption) -> None:
        """What an option is set to, whatever its type will turn out to be."""
        tokens = self.tokens
        if tokens.kind is TokenKind.STRING:
            option.string_value = tokens.take_bytes("a string")
            return
        if tokens.text == "{":
            option.aggregate_value = self.parse_aggregate()
            return
        negative = tokens.skip("-")
        if tokens.kind is TokenKind.NAME:
            if negative and tokens.text not in ("inf", "nan"):
                raise tokens.expected("a number, inf or nan")
            if negative:
                option.double_value = -float(tokens.text)
            else:
                option.identifier_value = tokens.text
        elif tokens.kind is TokenKind.INTEGER:
            number = integer_value(tokens.text)
            if number <= (1 << 63 if negative else (1 << 64) - 1):
                if negative:
                    option.negative_int_value = -number
                else:
                    option.positive_int_value = number
            else:
                option.double_value = -float_value(tokens.text) if negative else float_value(tokens.text)
        elif tokens.kind is TokenKind.FLOAT:
            option.double_value = -float_value(tokens.text) if negative else float_value(tokens.text)
        else:
            raise tokens.expected("a value")
        tokens.advance()

    def parse_aggregate(self) -> str:
        """`{ ... }` as its tokens with a space between them; the braces are left out, as protoc does."""
        self.tokens.take("{")
        words: list[str] = []
        depth = 1
        while True:
            word = self.tokens.text
            if self.tokens.kind is TokenKind.END:
                raise self.tokens.expected('"}"')
            depth += (word == "{") - (word == "}")
            if depth > MOST_BRACES:
                raise self.tokens.error(f"the value of an option must be at most {MOST_BRACES} messages deep")
            self.tokens.advance()
            if depth == 0:
                return " ".join(words)
            words.append(word)


def c_escaped(value: bytes) -> str:
    """Bytes as descriptors write the default of a field of bytes. Source: absl::CEscape."""
    plain = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x22: '\\"', 0x27: "\\'", 0x5C: "\\\\"}
    return "".join(
        plain.get(each) or (chr(each) if 0x20 <= each < 0x7F else f"\\{each:03o}") for each in value
    )
