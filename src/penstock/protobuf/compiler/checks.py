"""The rules that a `.proto` file must keep once its names are looked up.

Source: descriptor.proto, the language guides of proto2, proto3 and editions, and what protoc refuses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from penstock.protobuf.compiler.names import Names, Symbol
from penstock.protobuf.compiler.places import Parsed
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.fields import KEY_KINDS, LAST_NUMBER, camel_case
from penstock.protobuf.kinds import PACKABLE, Kind
from penstock.protobuf.message import Message
from penstock.protobuf.schema.descriptor_proto import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FeatureSet,
    FieldDescriptorProto,
    FileOptions,
    MessageOptions,
)

__all__ = ["Checks"]

Span = tuple[int, int]
"""The first and the last number of a range."""
NumberRange: TypeAlias = (
    DescriptorProto.ReservedRange | DescriptorProto.ExtensionRange | EnumDescriptorProto.EnumReservedRange
)
"""The range as it is declared; of an enum its `end` is the last number, of a message the one after it."""

REPEATED: Final = FieldDescriptorProto.Label.LABEL_REPEATED
REQUIRED: Final = FieldDescriptorProto.Label.LABEL_REQUIRED
OPTIONAL: Final = FieldDescriptorProto.Label.LABEL_OPTIONAL
IMPLICIT: Final = FeatureSet.FieldPresence.IMPLICIT
LEGACY_REQUIRED: Final = FeatureSet.FieldPresence.LEGACY_REQUIRED
CLOSED: Final = FeatureSet.EnumType.CLOSED
JsonFormat = FeatureSet.JsonFormat
LONG_INTEGERS: Final = (Kind.INT64, Kind.UINT64, Kind.SINT64, Kind.FIXED64, Kind.SFIXED64)
SUB_MESSAGES: Final = (Kind.MESSAGE, Kind.GROUP)


class Checks:
    """Checks one linked file.

    Args:
        names: all names.
        parsed: the file.
        extension_numbers: who has which number of an extended message, in all files; it grows here.
    """

    def __init__(self, names: Names, parsed: Parsed, extension_numbers: dict[tuple[str, int], str]) -> None:
        self.names, self.parsed, self.places = names, parsed, parsed.places
        self.extension_numbers = extension_numbers
        self.extension_ranges: dict[str, Ranges] = {}
        self.syntax = parsed.file.syntax or "proto2"

    def check_file(self, package: Symbol) -> None:
        """All of the file.

        Raises:
            SchemaError: a rule is broken.
        """
        file = self.parsed.file
        json = JsonFormat.LEGACY_BEST_EFFORT if self.syntax == "proto2" else JsonFormat.ALLOW
        json = json_format(file.options, json)
        features = None if file.options is None else file.options.features
        if features is not None and features.field_presence == LEGACY_REQUIRED:
            raise self.error(file, "all fields of a file cannot be LEGACY_REQUIRED")
        for message in file.message_type:
            self.check_message(message, package.children[message.name or ""], json)
        for enum in file.enum_type:
            self.check_enum(enum, package.children[enum.name or ""])
        for extension in file.extension:
            self.check_extension(extension, package.children[extension.name or ""])

    # Messages

    def check_message(self, message: DescriptorProto, symbol: Symbol, json: JsonFormat) -> None:
        """A message and all within it."""
        json = json_format(message.options, json)
        for field in message.field:
            self.check_field(field, symbol.children[field.name or ""])
        if is_map_entry(message):
            self.check_map_entry(message)
            return
        if message.extension_range and self.syntax == "proto3":
            raise self.error(message.extension_range[0], "proto3 has no extension ranges")
        if message.field and is_message_set(message):
            raise self.error(message.field[0], "a MessageSet must have no fields, only extensions")
        self.check_numbers(message)
        self.check_reserved_names(message, message.field)
        self.check_oneofs(message)
        if message.options is None or not message.options.deprecated_legacy_json_field_conflicts:
            self.check_json_names(message, json)
        for nested in message.nested_type:
            self.check_message(nested, symbol.children[nested.name or ""], json)
        for enum in message.enum_type:
            self.check_enum(enum, symbol.children[enum.name or ""])
        for extension in message.extension:
            self.check_extension(extension, symbol.children[extension.name or ""])

    def check_numbers(self, message: DescriptorProto) -> None:
        """No number stands twice, is reserved, or is left to extensions."""
        taken: dict[int, str] = {}
        reserved = self.ranges("reserved", message.reserved_range)
        for extension in message.extension_range:
            other = reserved.overlapped(span_of(extension))
            if other is not None:
                raise self.overlap(extension, "reserved", other)
        extensions = self.ranges("extensions", message.extension_range)
        for field in message.field:
            number = field.number or 0
            if number in taken:
                raise self.error(field, f"{taken[number]} has the number {number} already", "number")
            if number in reserved:
                raise self.error(field, f"the number {number} is reserved", "number")
            if number in extensions:
                raise self.error(field, f"the number {number} is left to extensions", "number")
            taken[number] = field.name or ""

    def ranges(self, what: str, declared: Sequence[NumberRange]) -> Ranges:
        """The ranges of one kind, none of which may overlap with another."""
        for pair in pairwise(sorted(declared, key=span_of)):
            (_, last), (first, _) = map(span_of, pair)
            if first <= last:
                above, below = sorted(pair, key=self.places.of)
                raise self.overlap(below, what, span_of(above))
        return Ranges(map(span_of, declared))

    def overlap(self, thing: NumberRange, what: str, other: Span) -> SchemaError:
        """That a range has numbers of another one."""
        return self.error(
            thing, f"{spelled(span_of(thing))} must not overlap with another range, {what} {spelled(other)}"
        )

    def check_reserved_names(
        self,
        owner: DescriptorProto | EnumDescriptorProto,
        named: Iterable[FieldDescriptorProto | EnumValueDescriptorProto],
    ) -> None:
        """No name is reserved twice, or used although it is reserved."""
        reserved: set[str] = set()
        for name in owner.reserved_name:
            if name in reserved:
                raise self.error(owner, f"{name} must be reserved once", f"reserved {name}")
            reserved.add(name)
        for each in named:
            if each.name in reserved:
                raise self.error(each, f"the name {each.name} is reserved")

    def check_oneofs(self, message: DescriptorProto) -> None:
        """Each oneof has a field."""
        used = {field.oneof_index for field in message.field}
        for index, oneof in enumerate(message.oneof_decl):
            if index not in used:
                raise self.error(oneof, f"a oneof must have a field, {oneof.name} has none")

    def check_json_names(self, message: DescriptorProto, json: JsonFormat) -> None:
        """No two fields have one name in JSON, neither by default nor as told."""
        for custom in (False, True):
            taken: dict[str, tuple[str, bool]] = {}
            for field in message.field:
                default = camel_case(field.name or "")
                is_custom = custom and field.json_name != default
                name = field.json_name if is_custom and field.json_name is not None else default
                other, other_is_custom = taken.setdefault(name, (field.name or "", is_custom))
                if other == field.name or (custom and not is_custom and not other_is_custom):
                    continue
                if json is JsonFormat.ALLOW or (is_custom and other_is_custom):
                    raise self.error(field, f"{other} has the name {name} in JSON already")

    def check_map_entry(self, entry: DescriptorProto) -> None:
        """Keys can be compared, and a value has a zero."""
        key, value = entry.field
        if key.type is None or Kind(key.type) not in KEY_KINDS:
            raise self.error(key, "the keys of a map must be integers, bool or string", "type")
        enum = self.names.absolute((value.type_name or "").removeprefix("."))
        if (
            enum is not None
            and isinstance(enum.thing, EnumDescriptorProto)
            and enum.thing.value[0].number != 0
        ):
            raise self.error(value, f"an enum in a map must begin with 0, {enum} does not", "type")

    # Fields

    def check_field(self, field: FieldDescriptorProto, symbol: Symbol) -> None:
        """What holds for each field, extensions included."""
        number, most = field.number or 0, LAST_NUMBER
        if field.extendee is not None and is_message_set(self.extended(field)):
            most = 0x7FFFFFFE
        if not 1 <= number <= most:
            raise self.error(field, f"a field number must be 1 to {most}, got {number}", "number")
        if 19_000 <= number <= 19_999:
            raise self.error(field, f"the numbers 19000 to 19999 are protobuf's own, got {number}", "number")
        name = field.json_name or ""
        if "\0" in name:
            raise self.error(field, "json_name must have no NUL characters", "json_name")
        if name.startswith("[") and name.endswith("]"):
            raise self.error(field, "json_name must not look like an extension's, [...]", "json_name")
        self.check_options(field)
        assert symbol.scope is not None
        if self.syntax != "editions":
            self.check_closed_enum(field)
        else:
            self.check_presence(field, symbol)
            if not is_map_entry(symbol.scope.thing):  # whose fields only repeat the features of the map
                self.check_features(field)

    def check_options(self, field: FieldDescriptorProto) -> None:
        """An option means something for the type of its field."""
        options = field.options
        if options is None:
            return
        kind = Kind(field.type or 0)
        if options.packed is not None and self.syntax == "editions":
            raise self.error(field, "editions write [features.repeated_field_encoding = ...] for packed")
        if options.packed and not (field.label == REPEATED and kind in PACKABLE):
            raise self.error(field, "only repeated numbers, bools and enums can be packed")
        if options.lazy and kind is not Kind.MESSAGE:
            raise self.error(field, "only messages can be lazy")
        if options.jstype and kind not in LONG_INTEGERS:
            raise self.error(field, "only integers of 64 bits have a jstype")

    def check_presence(self, field: FieldDescriptorProto, symbol: Symbol) -> None:
        """What the features of an edition say of presence agrees with the field."""
        presence = symbol.features.field_presence
        always_explicit = field.oneof_index is not None or field.extendee is not None
        if presence == IMPLICIT and field.label != REPEATED and not always_explicit:
            if field.default_value is not None:
                raise self.error(field, "a field of implicit presence must have no default", "default")
            self.check_closed_enum(field)
        if presence == LEGACY_REQUIRED and field.extendee is not None:
            raise self.error(field, "an extension must not be required")

    def check_closed_enum(self, field: FieldDescriptorProto) -> None:
        """A field without presence must be able to hold 0, and whatever else comes."""
        if Kind(field.type or 0) is not Kind.ENUM or self.syntax == "proto2":
            return
        enum = self.names.absolute((field.type_name or "").removeprefix("."))
        if enum is not None and enum.features.enum_type == CLOSED:
            raise self.error(field, f"the enum must be open, {enum} is closed", "type")

    def check_features(self, field: FieldDescriptorProto) -> None:
        """A feature that a field has itself must mean something for its type."""
        own = None if field.options is None else field.options.features
        if own is None:
            return
        kind, repeated = Kind(field.type or 0), field.label == REPEATED
        entry = self.map_entry(field)
        kinds = {kind} if entry is None else {Kind(each.type or 0) for each in entry.field}
        presence = own.field_presence
        wrong: Sequence[tuple[bool, str]] = (
            (
                presence is not None and field.oneof_index is not None,
                "a member of a oneof has no field_presence",
            ),
            (presence is not None and repeated, "a repeated field has no field_presence"),
            (
                presence is not None and presence != LEGACY_REQUIRED and field.extendee is not None,
                "an extension has no field_presence",
            ),
            (presence == IMPLICIT and kind in SUB_MESSAGES, "a message has no implicit field_presence"),
            (
                own.repeated_field_encoding is not None and not repeated,
                "only repeated fields have a repeated_field_encoding",
            ),
            (
                own.repeated_field_encoding == FeatureSet.RepeatedFieldEncoding.PACKED
                and kind not in PACKABLE,
                "only repeated numbers, bools and enums can be PACKED",
            ),
            (
                own.utf8_validation is not None and Kind.STRING not in kinds,
                "only strings have a utf8_validation",
            ),
            (
                own.message_encoding is not None and (kind not in SUB_MESSAGES or entry is not None),
                "only messages have a message_encoding",
            ),
        )
        for is_wrong, reason in wrong:
            if is_wrong:
                raise self.error(field, reason)

    def map_entry(self, field: FieldDescriptorProto) -> DescriptorProto | None:
        """The entries of a map, None for another field."""
        if Kind(field.type or 0) is not Kind.MESSAGE:
            return None
        found = self.names.absolute((field.type_name or "").removeprefix("."))
        thing = None if found is None else found.thing
        return thing if isinstance(thing, DescriptorProto) and is_map_entry(thing) else None

    # Extensions

    def check_extension(self, field: FieldDescriptorProto, symbol: Symbol) -> None:
        """A field of a message that another one declares."""
        self.check_field(field, symbol)
        extended, number = self.extended(field), field.number or 0
        name = (field.extendee or "").removeprefix(".")
        if number not in self.ranges_of(name, extended):
            raise self.error(field, f"{name} must leave the number {number} to extensions", "number")
        if field.label == REQUIRED:
            raise self.error(field, "an extension must not be required")
        if is_message_set(extended) and (
            Kind(field.type or 0) is not Kind.MESSAGE or field.label != OPTIONAL
        ):
            raise self.error(field, "an extension of a MessageSet must be an optional message", "type")
        is_option = name.startswith("google.protobuf.") and name.endswith("Options")
        if self.syntax == "proto3" and not is_option:
            raise self.error(field, "proto3 has no extensions, except of options", "extendee")
        other = self.extension_numbers.setdefault((name, number), symbol.full_name)
        if other != symbol.full_name:
            raise self.error(field, f"{other} has the number {number} of {name} already", "number")

    def ranges_of(self, name: str, extended: DescriptorProto) -> Ranges:
        """The numbers that a message leaves to extensions."""
        found = self.extension_ranges.get(name)
        if found is None:
            found = self.extension_ranges[name] = Ranges(map(span_of, extended.extension_range))
        return found

    def extended(self, field: FieldDescriptorProto) -> DescriptorProto:
        """The message that an extension extends."""
        found = self.names.absolute((field.extendee or "").removeprefix("."))
        assert found is not None
        assert isinstance(found.thing, DescriptorProto)
        return found.thing

    # Enums

    def check_enum(self, enum: EnumDescriptorProto, symbol: Symbol) -> None:
        """An enum and its values."""
        if not enum.value:
            raise self.error(enum, f"an enum must have a value, {enum.name} has none")
        if enum.value[0].number != 0 and symbol.features.enum_type != CLOSED:
            raise self.error(
                enum.value[0],
                f"the first value of an open enum must be 0, got {enum.value[0].number}",
                "number",
            )
        reserved = self.ranges("reserved", enum.reserved_range)
        self.check_reserved_names(enum, enum.value)
        self.check_enum_numbers(enum, reserved)
        is_excused = enum.options is not None and enum.options.deprecated_legacy_json_field_conflicts
        if not (is_excused and self.syntax == "proto2"):
            self.check_enum_names(enum)

    def check_enum_numbers(self, enum: EnumDescriptorProto, reserved: Ranges) -> None:
        """No number is reserved, or stands twice without leave."""
        allow_alias = None if enum.options is None else enum.options.allow_alias
        if allow_alias is False:
            raise self.error(enum, "allow_alias = false says nothing, leave it out")
        has_alias = False
        taken: dict[int, str] = {}
        for value in enum.value:
            number = value.number or 0
            if number in reserved:
                raise self.error(value, f"the number {number} is reserved", "number")
            if number in taken:
                has_alias = True
                if not allow_alias:
                    raise self.error(
                        value,
                        f"{taken[number]} is {number} already, write option allow_alias = true",
                        "number",
                    )
            taken[number] = value.name or ""
        if allow_alias and not has_alias:
            raise self.error(enum, f"{enum.name} allows aliases and has none")

    def check_enum_names(self, enum: EnumDescriptorProto) -> None:
        """Names must differ without the enum's own name before them, as some languages write them."""
        prefix = (enum.name or "").replace("_", "").lower()
        taken: dict[str, tuple[str, int]] = {}
        for value in enum.value:
            name = pascal_case(without_prefix(value.name or "", prefix))
            other, number = taken.setdefault(name, (value.name or "", value.number or 0))
            if other != value.name and number != value.number:
                raise self.error(value, f"{other} is {name} already, without the enum's name before it")

    def error(self, thing: Message, reason: str, part: str = "name") -> SchemaError:
        """What is wrong with a part of the file."""
        return self.parsed.source.error(self.places.of(thing, part), reason)


class Ranges:
    """Ranges of numbers that do not overlap, in order."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = sorted(spans)

    def overlapped(self, span: Span) -> Span | None:
        """A range that has a number of this one."""
        at = bisect_right(self._spans, span[1], key=lambda each: each[0])
        if at and self._spans[at - 1][1] >= span[0]:
            return self._spans[at - 1]
        return None

    def __contains__(self, number: int) -> bool:
        return self.overlapped((number, number)) is not None


def span_of(declared: NumberRange) -> Span:
    first, end = declared.start or 0, declared.end or 0
    return (first, end) if isinstance(declared, EnumDescriptorProto.EnumReservedRange) else (first, end - 1)


def spelled(span: Span) -> str:
    first, last = span
    return str(first) if first == last else f"{first} to {last}"


def json_format(options: FileOptions | MessageOptions | None, inherited: JsonFormat) -> JsonFormat:
    told = None if options is None or options.features is None else options.features.json_format
    return told or inherited


def is_map_entry(thing: Message | None) -> bool:
    """Whether it is the message of a map's entries."""
    return isinstance(thing, DescriptorProto) and thing.options is not None and bool(thing.options.map_entry)


def is_message_set(message: DescriptorProto) -> bool:
    return message.options is not None and bool(message.options.message_set_wire_format)


def without_prefix(name: str, prefix: str) -> str:
    """A name without `prefix`, whatever the case and the underscores; all of it if nothing would be left."""
    at = 0
    for wanted in prefix:
        while at < len(name) and name[at] == "_":
            at += 1
        if at == len(name) or name[at].lower() != wanted:
            return name
        at += 1
    return name[at:].lstrip("_") or name


def pascal_case(name: str) -> str:
    return "".join(part[:1].upper() + part[1:].lower() for part in name.split("_"))
