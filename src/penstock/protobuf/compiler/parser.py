"""Parses a `.proto` text into the descriptor of a file, whose names are not looked up yet.

Source: https://protobuf.dev/reference/protobuf/edition-2023-spec, and those of proto2 and proto3 beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from penstock.protobuf.compiler.comments import Comments, Path
from penstock.protobuf.compiler.option_syntax import OptionParser, Options
from penstock.protobuf.compiler.places import Parsed
from penstock.protobuf.compiler.tokens import Source, TokenKind, Tokens, shortened
from penstock.protobuf.kinds import INTEGER_RANGE, Kind
from penstock.protobuf.message import Message
from penstock.protobuf.schema.descriptor_proto import (
    DescriptorProto,
    Edition,
    EnumDescriptorProto,
    EnumOptions,
    EnumValueDescriptorProto,
    EnumValueOptions,
    ExtensionRangeOptions,
    FieldDescriptorProto,
    FieldOptions,
    FileDescriptorProto,
    FileOptions,
    MessageOptions,
    MethodDescriptorProto,
    MethodOptions,
    OneofDescriptorProto,
    OneofOptions,
    ServiceDescriptorProto,
    ServiceOptions,
    SourceCodeInfo,
    SymbolVisibility,
    UninterpretedOption,
)

__all__ = ["map_entry_name", "parse", "parse_proto"]

MOST_NESTED: Final = 32
"""Messages within each other, as in protoc."""
MOST_RANGE_OPTIONS: Final = 10_000
"""Ranges of one statement times their options, as each range gets all of them."""
INT32: Final = INTEGER_RANGE[Kind.INT32]
MAX: Final = INT32[1]
LAST_NUMBER: Final = (1 << 29) - 1
EDITIONS: Final = {"2023": Edition.EDITION_2023, "2024": Edition.EDITION_2024}
SCALARS: Final = {
    kind.name.lower(): FieldDescriptorProto.Type(kind)
    for kind in Kind
    if kind not in (Kind.GROUP, Kind.MESSAGE, Kind.ENUM)
}
GROUP: Final = FieldDescriptorProto.Type.TYPE_GROUP
LABELS: Final = {
    "optional": FieldDescriptorProto.Label.LABEL_OPTIONAL,
    "required": FieldDescriptorProto.Label.LABEL_REQUIRED,
    "repeated": FieldDescriptorProto.Label.LABEL_REPEATED,
}
OPTIONAL, REQUIRED, REPEATED = LABELS.values()
VISIBILITIES: Final = {
    "export": SymbolVisibility.VISIBILITY_EXPORT,
    "local": SymbolVisibility.VISIBILITY_LOCAL,
}


@dataclass
class MapTypes:
    """The two types of `map<key, value>`, each a scalar type or the name of another."""

    key: FieldDescriptorProto.Type | str
    value: FieldDescriptorProto.Type | str


def parse_proto(text: str, name: str = "input.proto") -> FileDescriptorProto:
    """The file that a `.proto` text describes, as it is written: no import is read, no name is looked up.

    Names of types are relative, whether one is a message or an enum is open, options are uninterpreted.

    Args:
        text: at most 16 Mi characters; messages are nested at most 32 deep.
        name: what the file is called in the descriptor and in errors.

    Raises:
        SchemaError: the text follows no grammar of proto2, proto3 or the editions 2023 and 2024; it begins
            with `name:line:column:`.
    """
    return parse(Source(name, text), comments=True).file


def parse(source: Source, *, comments: bool = False) -> Parsed:
    """The same, with the places of all declarations, and without comments unless they are wanted.

    Raises:
        SchemaError: see parse_proto.
    """
    parser = Parser(source, comments=comments)
    parser.parse_file()
    return parser.parsed


class Parser:
    """Recursive descent over the tokens of one text; each method reads one rule of the grammar."""

    def __init__(self, source: Source, *, comments: bool) -> None:
        self.tokens = Tokens(source)
        self.file = FileDescriptorProto(name=source.name)
        self.parsed = Parsed(self.file, source)
        self.places = self.parsed.places
        self.options = OptionParser(self.tokens, self.places)
        self.comments = Comments(self.tokens) if comments else None
        self.syntax = "proto2"
        self.imported: set[str] = set()

    # Files

    def parse_file(self) -> None:
        """The whole text."""
        root = self.begin(())
        if self.tokens.text in ("syntax", "edition"):
            self.parse_syntax()
        statements: dict[str, Callable[[], None]] = {
            "import": self.parse_import,
            "package": self.parse_package,
            "message": lambda: self.parse_message(self.file.message_type, (4,), 1),
            "enum": lambda: self.parse_enum(self.file.enum_type, (5,)),
            "service": self.parse_service,
            "extend": lambda: self.parse_extend(self.file.extension, (7,), self.file.message_type, (4,), 1),
            "option": lambda: self.parse_option_statement(self.file, FileOptions),
        }
        while self.tokens.kind is not TokenKind.END:
            if self.skip_empty():
                continue
            statement = statements.get(self.tokens.text)
            if statement is not None:
                statement()
            elif not self.parse_visible(self.file, (), 1):
                raise self.tokens.expected("import, package, option, message, enum, service or extend")
        if self.comments is not None:
            if root is not None:
                self.comments.end(root)
            self.file.source_code_info = SourceCodeInfo(location=self.comments.locations)

    def parse_syntax(self) -> None:
        keyword = self.tokens.text
        location = self.begin((12,))  # for editions too, as in protoc
        self.tokens.advance()
        self.tokens.take("=")
        start = self.tokens.start
        name = self.tokens.take_text(f"a string, the {keyword}")
        if keyword == "syntax":
            if name not in ("proto2", "proto3"):
                raise self.parsed.source.error(
                    start, f'syntax must be "proto2" or "proto3", got {shortened(name)!a}'
                )
            self.syntax = name
            if name == "proto3":
                self.file.syntax = name
        else:
            if name not in EDITIONS:
                known = " or ".join(f'"{each}"' for each in EDITIONS)
                raise self.parsed.source.error(start, f"edition must be {known}, got {shortened(name)!a}")
            self.syntax = self.file.syntax = "editions"
            self.file.edition = EDITIONS[name]
        self.end_statement(location)

    def parse_package(self) -> None:
        if self.file.package is not None:
            raise self.tokens.error(f"there must be one package, {self.file.package} is it already")
        location = self.begin((2,))
        self.tokens.advance()
        self.places.mark(self.file, self.tokens.start, "package")
        self.file.package = self.tokens.take_dotted_name("the name of the package", rooted=False)
        self.end_statement(location)

    def parse_import(self) -> None:
        location = self.begin(())
        self.tokens.advance()
        file = self.file
        kind = self.tokens.text if self.tokens.text in ("public", "weak", "option") else ""
        if kind == "option" and not self.is_2024:
            raise self.tokens.error("import option must be in edition 2024 or newer")
        if kind == "weak" and self.is_2024:
            raise self.tokens.error(
                "import weak must be in edition 2023 or older, newer ones write import option"
            )
        if kind:
            self.tokens.advance()
        into, number = (file.option_dependency, 15) if kind == "option" else (file.dependency, 3)
        if location is not None:
            location.path = [number, len(into)]
        start = self.tokens.start
        name = self.tokens.take_text("a string, the path of the file to import")
        if name in self.imported:
            raise self.parsed.source.error(start, f"{shortened(name)} must be imported once")
        self.imported.add(name)
        if kind == "public":
            file.public_dependency.append(len(into))
        elif kind == "weak":
            file.weak_dependency.append(len(into))
        self.places.mark(file, start, f"import {name}")
        into.append(name)
        self.end_statement(location)

    def parse_visible(self, owner: FileDescriptorProto | DescriptorProto, path: Path, depth: int) -> bool:
        """`export` or `local` before a message or an enum; False if there is none."""
        visibility = VISIBILITIES.get(self.tokens.text)
        if visibility is None or not self.is_2024:
            return False
        self.tokens.advance()
        is_file = isinstance(owner, FileDescriptorProto)
        messages = owner.message_type if isinstance(owner, FileDescriptorProto) else owner.nested_type
        if self.tokens.text == "message":
            self.parse_message(messages, (*path, 4 if is_file else 3), depth)
            messages[-1].visibility = visibility
        elif self.tokens.text == "enum":
            self.parse_enum(owner.enum_type, (*path, 5 if is_file else 4))
            owner.enum_type[-1].visibility = visibility
        else:
            raise self.tokens.expected("message or enum")
        return True

    # Messages

    def parse_message(self, into: list[DescriptorProto], path: Path, depth: int) -> None:
        """`message Name { ... }`."""
        path = (*path, len(into))
        location = self.begin(path)
        self.tokens.advance()
        message = DescriptorProto()
        self.places.mark(message, self.tokens.start)
        message.name = self.tokens.take_name("the name of the message")
        into.append(message)
        self.parse_message_body(message, path, location, depth)

    def parse_message_body(
        self, message: DescriptorProto, path: Path, location: SourceCodeInfo.Location | None, depth: int
    ) -> None:
        if depth > MOST_NESTED:
            raise self.tokens.error(f"messages must be nested at most {MOST_NESTED} levels deep")
        nested, within = (message.nested_type, (*path, 3)), depth + 1
        statements: dict[str, Callable[[], None]] = {
            "message": lambda: self.parse_message(*nested, within),
            "enum": lambda: self.parse_enum(message.enum_type, (*path, 4)),
            "extend": lambda: self.parse_extend(message.extension, (*path, 6), *nested, within),
            "extensions": lambda: self.parse_extension_ranges(message, path),
            "reserved": lambda: self.parse_reserved(message, path),
            "option": lambda: self.parse_option_statement(message, MessageOptions),
            "oneof": lambda: self.parse_oneof(message, path, within),
        }
        self.begin_block(location)
        while not self.end_block("message"):
            if self.skip_empty():
                continue
            statement = statements.get(self.tokens.text)
            if statement is not None:
                statement()
            elif not self.parse_visible(message, path, within):
                self.parse_labelled_field(FieldDescriptorProto(), message.field, (*path, 2), *nested, within)
        self.end(location)
        add_synthetic_oneofs(message)
        self.end_ranges(message)

    def parse_labelled_field(
        self,
        new: FieldDescriptorProto,
        into: list[FieldDescriptorProto],
        path: Path,
        messages: list[DescriptorProto],
        messages_path: Path,
        depth: int,
    ) -> None:
        """A field of a message or an extension, which may begin with a label."""
        path = (*path, len(into))
        location = self.begin(path)
        start = self.tokens.start
        label = LABELS.get(self.tokens.text)
        if label is not None:
            self.check_label(label)
            self.tokens.advance()
            new.label = label
            if label is OPTIONAL and self.syntax == "proto3":
                new.proto3_optional = True
        self.places.mark(new, start, "label")
        into.append(new)
        self.parse_field(new, path, location, messages, messages_path, depth)

    def check_label(self, label: FieldDescriptorProto.Label) -> None:
        if label is REQUIRED and self.syntax == "proto3":
            raise self.tokens.error("proto3 has no required fields")
        if label is not REPEATED and self.syntax == "editions":
            presence = "LEGACY_REQUIRED" if label is REQUIRED else "EXPLICIT"
            raise self.tokens.error(
                f"editions have no {self.tokens.text} fields, write [features.field_presence = {presence}]"
            )

    def parse_field(
        self,
        new: FieldDescriptorProto,
        path: Path,
        location: SourceCodeInfo.Location | None,
        messages: list[DescriptorProto],
        messages_path: Path,
        depth: int,
    ) -> None:
        """A field from its type on."""
        map_types = self.parse_field_type(new)
        name_start = self.tokens.start
        self.places.mark(new, name_start)
        new.name = self.tokens.take_name("the name of the field")
        self.tokens.take("=")
        self.places.mark(new, self.tokens.start, "number")
        new.number = self.tokens.take_integer("the number of the field", 0, MAX)
        self.options.parse_of_field(new, is_proto3=self.syntax == "proto3")
        if new.type == GROUP:
            self.parse_group(new, name_start, location, messages, messages_path, depth)
            return
        self.end_statement(location)
        if map_types is not None:
            self.add_map_entry(new, map_types, messages)

    def parse_field_type(self, new: FieldDescriptorProto) -> MapTypes | None:
        """The type of a field; of a map both its types, while its entry has no name yet."""
        self.places.mark(new, self.tokens.start, "type")
        start, word = self.tokens.start, self.tokens.text
        if word == "map" and self.tokens.kind is TokenKind.NAME:
            self.tokens.advance()
            if self.tokens.text == "<":
                return self.parse_map_types(new, start)
            type_: FieldDescriptorProto.Type | str = self.rest_of_name("map")
        else:
            type_ = self.parse_type()
        if new.label is None:
            if self.syntax == "proto2":
                raise self.parsed.source.error(start, "expected optional, required or repeated")
            new.label = OPTIONAL
        set_type(new, type_)
        return None

    def parse_map_types(self, new: FieldDescriptorProto, start: int) -> MapTypes:
        for refused, what in (
            (new.oneof_index is not None, "a member of a oneof must be no map"),
            (new.label is not None, "a map must have no label"),
            (new.extendee is not None, "an extension must be no map"),
        ):
            if refused:
                raise self.parsed.source.error(start, what)
        new.label = REPEATED
        self.tokens.take("<")
        key = self.parse_type(group=False)
        self.tokens.take(",")
        value = self.parse_type(group=False)
        self.tokens.take(">")
        return MapTypes(key, value)

    def parse_type(self, *, group: bool = True) -> FieldDescriptorProto.Type | str:
        """The name of a scalar type, `group`, or the name of a message or enum."""
        word = self.tokens.text
        scalar = SCALARS.get(word)
        if scalar is not None:
            self.tokens.advance()
            return scalar
        if word == "group" and group:
            if self.syntax != "proto2":
                raise self.tokens.error(
                    "groups must be in proto2 files; editions write [features.message_encoding = DELIMITED]"
                )
            self.tokens.advance()
            return GROUP
        return self.tokens.take_dotted_name("a type")

    def rest_of_name(self, first: str) -> str:
        parts = [first]
        while self.tokens.skip("."):
            parts.append(self.tokens.take_name("a name"))
        return ".".join(parts)

    def parse_group(
        self,
        new: FieldDescriptorProto,
        name_start: int,
        location: SourceCodeInfo.Location | None,
        messages: list[DescriptorProto],
        messages_path: Path,
        depth: int,
    ) -> None:
        """The body of a group, which is a field and its message in one."""
        assert new.name is not None
        if not "A" <= new.name[0] <= "Z":
            raise self.parsed.source.error(
                name_start, f"a group must begin with a capital letter, got {shortened(new.name)}"
            )
        group = DescriptorProto(name=new.name)
        self.places.mark(group, name_start)
        new.type_name, new.name = new.name, new.name.lower()
        path = (*messages_path, len(messages))
        messages.append(group)
        own = self.begin(path)
        if own is not None and location is not None:
            own.span = list(location.span)
        self.parse_message_body(group, path, own, depth)
        self.end(location)

    def add_map_entry(
        self, new: FieldDescriptorProto, types: MapTypes, messages: list[DescriptorProto]
    ) -> None:
        """The message of the entries of a map, which nobody writes out."""
        assert new.name is not None
        start = self.places.of(new)
        entry = DescriptorProto(name=map_entry_name(new.name), options=MessageOptions(map_entry=True))
        self.places.mark(entry, start)
        for number, (name, type_) in enumerate((("key", types.key), ("value", types.value)), 1):
            part = FieldDescriptorProto(name=name, number=number, label=OPTIONAL)
            set_type(part, type_)
            self.places.mark(part, start)
            self.places.mark(part, self.places.of(new, "type"), "type")
            features = [each for each in uninterpreted(new) if each.name[0].name_part == "features"]
            if features:
                part.options = FieldOptions(uninterpreted_option=features)
            entry.field.append(part)
        new.type_name = entry.name
        messages.append(entry)

    def parse_oneof(self, message: DescriptorProto, path: Path, depth: int) -> None:
        """`oneof name { ... }`."""
        index = len(message.oneof_decl)
        location = self.begin((*path, 8, index))
        self.tokens.advance()
        oneof = OneofDescriptorProto()
        self.places.mark(oneof, self.tokens.start)
        oneof.name = self.tokens.take_name("the name of the oneof")
        message.oneof_decl.append(oneof)
        self.begin_block(location)
        while not self.end_block("oneof"):
            if self.skip_empty():
                continue
            if self.tokens.text == "option":
                self.parse_option_statement(oneof, OneofOptions)
                continue
            if self.tokens.text in LABELS:
                raise self.tokens.error("a member of a oneof must have no label")
            new = FieldDescriptorProto(label=OPTIONAL, oneof_index=index)
            field_path = (*path, 2, len(message.field))
            field_location = self.begin(field_path)
            message.field.append(new)
            self.parse_field(new, field_path, field_location, message.nested_type, (*path, 3), depth)
        self.end(location)

    def parse_extend(
        self,
        into: list[FieldDescriptorProto],
        path: Path,
        messages: list[DescriptorProto],
        messages_path: Path,
        depth: int,
    ) -> None:
        """`extend Message { ... }`."""
        location = self.begin(path)
        self.tokens.advance()
        start = self.tokens.start
        extendee = self.tokens.take_dotted_name("the name of the message to extend")
        self.begin_block(location)
        empty = True
        while not self.end_block("extend"):
            if self.skip_empty():
                continue
            empty = False
            new = FieldDescriptorProto(extendee=extendee)
            self.places.mark(new, start, "extendee")
            self.parse_labelled_field(new, into, path, messages, messages_path, depth)
        if empty:
            raise self.parsed.source.error(start, "extend must have a field")
        self.end(location)

    def parse_extension_ranges(self, message: DescriptorProto, path: Path) -> None:
        """`extensions 4, 20 to max;`, whose options are those of each range."""
        location = self.begin((*path, 5))
        self.tokens.advance()
        first = len(message.extension_range)
        while True:
            new = DescriptorProto.ExtensionRange()
            self.places.mark(new, self.tokens.start)
            new.start, last = self.parse_range("a field number", 1)
            new.end = last + 1
            message.extension_range.append(new)
            if not self.tokens.skip(","):
                break
        if self.tokens.text == "[":
            shared = ExtensionRangeOptions()
            self.options.parse_bracketed(shared)
            ranges = message.extension_range[first:]
            copies = len(ranges) * len(shared.uninterpreted_option)
            if copies > MOST_RANGE_OPTIONS:
                reason = f"ranges must share at most {MOST_RANGE_OPTIONS} options in all, got {copies}"
                raise self.parsed.source.error(self.places.of(ranges[0]), reason)
            for each in ranges:
                each.options = ExtensionRangeOptions(uninterpreted_option=list(shared.uninterpreted_option))
        self.end_statement(location)

    def end_ranges(self, message: DescriptorProto) -> None:
        """Writes out what `max` is: the last int32 in a MessageSet, whose extensions may have any number."""
        most = MAX if is_message_set(message) else LAST_NUMBER + 1
        for reserved in message.reserved_range:
            reserved.end = most if reserved.end == MAX + 1 else reserved.end
        for each in message.extension_range:
            each.end = most if each.end == MAX + 1 else each.end
            assert each.end is not None
            if each.end > most:
                raise self.parsed.source.error(
                    self.places.of(each), f"an extension must have a number of at most {most - 1}"
                )

    def parse_range(self, what: str, least: int) -> tuple[int, int]:
        """`4`, `4 to 9` or `4 to max`: the first and the last number."""
        start = self.tokens.start
        first = self.tokens.take_integer(what, least, MAX)
        if not self.tokens.skip("to"):
            last = first
        elif self.tokens.skip("max"):
            return first, MAX
        else:
            last = self.tokens.take_integer(f"{what} or max", least, MAX - 1)
        if last < first:
            raise self.parsed.source.error(
                start, f"a range must not end before it begins, got {first} to {last}"
            )
        return first, last

    def parse_reserved(self, into: DescriptorProto | EnumDescriptorProto, path: Path) -> None:
        """`reserved 2, 9 to 11;`, `reserved "a", "b";` or, in editions, `reserved a, b;`."""
        is_enum = isinstance(into, EnumDescriptorProto)
        line = self.begin((*path, 0))
        self.tokens.advance()
        kind = self.tokens.kind
        if kind in (TokenKind.STRING, TokenKind.NAME):
            number = 5 if is_enum else 10
            self.parse_reserved_names(into, kind)
        else:
            number = 4 if is_enum else 9
            self.parse_reserved_numbers(into)
        if line is not None:
            line.path[-1] = number
        self.end_statement(line)

    def parse_reserved_names(self, into: DescriptorProto | EnumDescriptorProto, kind: TokenKind) -> None:
        if kind is TokenKind.NAME and self.syntax != "editions":
            raise self.tokens.expected("a number or a string")
        if kind is TokenKind.STRING and self.syntax == "editions":
            raise self.tokens.expected("a number or a name, editions write names without quotes")
        while True:
            start, what = self.tokens.start, "a reserved name"
            name = self.tokens.take_name(what) if kind is TokenKind.NAME else self.tokens.take_text(what)
            self.places.mark(into, start, f"reserved {name}")
            into.reserved_name.append(name)
            if not self.tokens.skip(","):
                return

    def parse_reserved_numbers(self, into: DescriptorProto | EnumDescriptorProto) -> None:
        while True:
            start = self.tokens.start
            if isinstance(into, EnumDescriptorProto):
                first, last = self.parse_range("a number of the enum", INT32[0])
                value = EnumDescriptorProto.EnumReservedRange(start=first, end=last)
                self.places.mark(value, start)
                into.reserved_range.append(value)
            else:
                first, last = self.parse_range("a field number", 1)
                number = DescriptorProto.ReservedRange(start=first, end=last + 1)
                self.places.mark(number, start)
                into.reserved_range.append(number)
            if not self.tokens.skip(","):
                return

    # Enums

    def parse_enum(self, into: list[EnumDescriptorProto], path: Path) -> None:
        """`enum Name { ... }`."""
        path = (*path, len(into))
        location = self.begin(path)
        self.tokens.advance()
        enum = EnumDescriptorProto()
        self.places.mark(enum, self.tokens.start)
        enum.name = self.tokens.take_name("the name of the enum")
        into.append(enum)
        self.begin_block(location)
        while not self.end_block("enum"):
            if self.skip_empty():
                continue
            if self.tokens.text == "option":
                self.parse_option_statement(enum, EnumOptions)
            elif self.tokens.text == "reserved":
                self.parse_reserved(enum, path)
            else:
                self.parse_enum_value(enum, path)
        self.end(location)

    def parse_enum_value(self, enum: EnumDescriptorProto, path: Path) -> None:
        location = self.begin((*path, 2, len(enum.value)))
        value = EnumValueDescriptorProto()
        self.places.mark(value, self.tokens.start)
        value.name = self.tokens.take_name("the name of a value")
        enum.value.append(value)
        self.tokens.take("=")
        self.places.mark(value, self.tokens.start, "number")
        value.number = self.tokens.take_integer("the number of the value", *INT32)
        if self.tokens.text == "[":
            value.options = EnumValueOptions()
            self.options.parse_bracketed(value.options)
        self.end_statement(location)

    # Services

    def parse_service(self) -> None:
        """`service Name { ... }`."""
        path = (6, len(self.file.service))
        location = self.begin(path)
        self.tokens.advance()
        service = ServiceDescriptorProto()
        self.places.mark(service, self.tokens.start)
        service.name = self.tokens.take_name("the name of the service")
        self.file.service.append(service)
        self.begin_block(location)
        while not self.end_block("service"):
            if self.skip_empty():
                continue
            if self.tokens.text == "option":
                self.parse_option_statement(service, ServiceOptions)
            else:
                self.parse_method(service, path)
        self.end(location)

    def parse_method(self, service: ServiceDescriptorProto, path: Path) -> None:
        location = self.begin((*path, 2, len(service.method)))
        self.tokens.take("rpc")
        method = MethodDescriptorProto()
        self.places.mark(method, self.tokens.start)
        method.name = self.tokens.take_name("the name of the method")
        service.method.append(method)
        method.input_type, is_stream = self.parse_method_type(method, "input")
        if is_stream:
            method.client_streaming = True
        self.tokens.take("returns")
        method.output_type, is_stream = self.parse_method_type(method, "output")
        if is_stream:
            method.server_streaming = True
        if self.tokens.text != "{":
            self.end_statement(location)
            return
        method.options = MethodOptions()  # protoc keeps an empty block too
        self.begin_block(location)
        while not self.end_block("method"):
            if not self.skip_empty():
                self.parse_option_statement(method, MethodOptions)
        self.end(location)

    def parse_method_type(self, method: MethodDescriptorProto, part: str) -> tuple[str, bool]:
        self.tokens.take("(")
        is_stream = self.tokens.skip("stream")
        self.places.mark(method, self.tokens.start, part)
        name = self.tokens.take_dotted_name("the name of a message")
        self.tokens.take(")")
        return name, is_stream

    # Options

    def parse_option_statement(self, owner: Message, kind: type[Options]) -> None:
        """`option name = value;`, of what is around it."""
        self.tokens.take("option")
        options: Options | None = owner.options  # type: ignore[attr-defined]
        if options is None:
            options = owner.options = kind()  # type: ignore[attr-defined]
        self.options.parse(options)
        self.end_statement(None)

    # Statements, and the comments around them

    @property
    def is_2024(self) -> bool:
        return self.file.edition is not None and self.file.edition >= Edition.EDITION_2024

    def begin(self, path: Path) -> SourceCodeInfo.Location | None:
        return None if self.comments is None else self.comments.begin(path)

    def end(self, location: SourceCodeInfo.Location | None) -> None:
        if self.comments is not None and location is not None:
            self.comments.end(location)

    def begin_block(self, location: SourceCodeInfo.Location | None) -> None:
        self.end_header("{", location)

    def end_statement(self, location: SourceCodeInfo.Location | None) -> None:
        self.end_header(";", location)
        self.end(location)

    def end_header(self, symbol: str, location: SourceCodeInfo.Location | None) -> None:
        if self.comments is None or self.tokens.text != symbol:
            self.tokens.take(symbol)
        else:
            self.comments.end_header(location)

    def skip_empty(self) -> bool:
        """Goes past a lone `;`."""
        if self.tokens.text != ";":
            return False
        self.end_header(";", None)
        return True

    def end_block(self, what: str) -> bool:
        """Goes past a `}`, if the block ends here."""
        if self.tokens.text == "}":
            if self.comments is None:
                self.tokens.advance()
            else:
                self.comments.end_scope()
            return True
        if self.tokens.kind is TokenKind.END:
            raise self.tokens.expected(f'"}}" at the end of the {what}')
        return False


def set_type(new: FieldDescriptorProto, type_: FieldDescriptorProto.Type | str) -> None:
    if isinstance(type_, str):
        new.type_name = type_
    else:
        new.type = type_


def uninterpreted(thing: FieldDescriptorProto) -> list[UninterpretedOption]:
    return [] if thing.options is None else thing.options.uninterpreted_option


def map_entry_name(name: str) -> str:
    """`foo_bar` makes `FooBarEntry`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_")) + "Entry"


def add_synthetic_oneofs(message: DescriptorProto) -> None:
    """Gives each optional field of proto3 a oneof of its own, after those that were written."""
    if not any(each.proto3_optional for each in message.field):
        return
    taken = {each.name for each in message.field} | {each.name for each in message.oneof_decl}
    for each in message.field:
        if each.proto3_optional:
            assert each.name is not None
            name = each.name if each.name.startswith("_") else f"_{each.name}"
            while name in taken:
                name = f"X{name}"
            taken.add(name)
            each.oneof_index = len(message.oneof_decl)
            message.oneof_decl.append(OneofDescriptorProto(name=name))


def is_message_set(message: DescriptorProto) -> bool:
    """Whether the options, uninterpreted as they are, say so."""
    options = [] if message.options is None else message.options.uninterpreted_option
    return any(
        [part.name_part for part in each.name] == ["message_set_wire_format"]
        and each.identifier_value == "true"
        for each in options
    )
