"""Random schemas: files that protoc would accept, as Google's descriptors.

Each is one file of proto2, proto3 or edition 2023, with two enums and one to three messages, which may hold
each other and themselves.
"""

from random import Random
from typing import Any

from google.protobuf.descriptor_pb2 import (
    EDITION_2023,
    DescriptorProto,
    EnumDescriptorProto,
    FeatureSet,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from random_values import normal, scalar

from penstock.protobuf.kinds import INTEGER_RANGE, PACKABLE, Kind

PACKAGE = "fuzz"
MESSAGES = frozenset((Kind.MESSAGE, Kind.GROUP))
KEYS = sorted(frozenset(INTEGER_RANGE) - {Kind.ENUM} | {Kind.BOOL, Kind.STRING})

NUMBERS = [1, 2, 3, 4, 15, 16, 17, 100, 2047, 2048, 18_999, 20_000, 70_000, (1 << 29) - 1]
ENUM_NUMBERS = [0, 1, 2, 3, -1, 63, 64, 127, 128, 300, -(2**31), 2**31 - 1]
NAMES = ["class", "copy", "_private", "camelCase", "two_words", "x_2", "CAPITALS"]
"""Of fields; what Python, JSON or `Message` itself have another use for."""

EXPLICIT, IMPLICIT, REQUIRED = (
    FeatureSet.FieldPresence.Value(name) for name in ("EXPLICIT", "IMPLICIT", "LEGACY_REQUIRED")
)
FILE_FEATURES = {
    "field_presence": [EXPLICIT, IMPLICIT],
    "enum_type": [FeatureSet.OPEN, FeatureSet.CLOSED],
    "repeated_field_encoding": [FeatureSet.PACKED, FeatureSet.EXPANDED],
    "utf8_validation": [FeatureSet.VERIFY, FeatureSet.NONE],
    "message_encoding": [FeatureSet.LENGTH_PREFIXED, FeatureSet.DELIMITED],
}


def random_file(dice: Random) -> FileDescriptorProto:
    """A file; all in it is named `fuzz.`."""
    file = FileDescriptorProto(
        name="fuzz.proto", package=PACKAGE, syntax=dice.choice(["proto2", "proto3", "editions"])
    )
    if file.syntax == "editions":
        file.edition = EDITION_2023
        draw_features(dice, file.options.features, FILE_FEATURES)
    for at in range(2):
        fill_enum(dice, file, file.enum_type.add(name=f"E{at}"))
    for at in range(dice.randint(1, 3)):
        file.message_type.add(name=f"M{at}")
    for message in file.message_type:
        Filling(dice, file, message).fill()
    return file


def draw_features(dice: Random, features: FeatureSet, possible: dict[str, list[int]]) -> None:
    """Sets some features, leaves others as they are inherited."""
    for name, values in possible.items():
        if (value := dice.choice([0, *values])) != 0:
            setattr(features, name, value)


def feature(file: FileDescriptorProto, options: Any, name: str) -> int:
    """What a feature is for a field or an enum with these options, in a file of edition 2023."""
    for told in (options.features, file.options.features):
        if told.HasField(name):
            return int(getattr(told, name))
    return FILE_FEATURES[name][0]  # the first is the edition's default


def is_closed(file: FileDescriptorProto, enum: EnumDescriptorProto) -> bool:
    if file.syntax == "editions":
        return feature(file, enum.options, "enum_type") == FeatureSet.CLOSED
    return file.syntax == "proto2"


def fill_enum(dice: Random, file: FileDescriptorProto, enum: EnumDescriptorProto) -> None:
    if file.syntax == "editions":
        draw_features(dice, enum.options.features, {"enum_type": FILE_FEATURES["enum_type"]})
    found = dice.sample(ENUM_NUMBERS, dice.randint(1, 5))
    if not is_closed(file, enum):  # a zero first
        found = [0, *(each for each in found if each != 0)]
    if dice.randint(1, 5) == 5:
        enum.options.allow_alias = True
        found.append(found[0])
    for at, number in enumerate(found):
        enum.value.add(name=f"{enum.name}_{at}", number=number)


class Filling:
    """Gives a message its fields."""

    def __init__(self, dice: Random, file: FileDescriptorProto, message: DescriptorProto) -> None:
        self.dice, self.file, self.message = dice, file, message
        self.is_edition = file.syntax == "editions"

    def chance(self, of: int) -> bool:
        """One of so many times."""
        return self.dice.randint(1, of) == of

    def fill(self) -> None:
        numbers = self.dice.sample(NUMBERS, self.dice.choice([0, 1, 2, 3, 4, 5, 6, 7]))
        oneofs: list[list[FieldDescriptorProto]] = [[], []]
        for number in numbers:
            field = self.message.field.add(number=number, name=self.name(number))
            field.label = FieldDescriptorProto.LABEL_OPTIONAL
            shape = self.dice.choice(["singular", "singular", "repeated", "map", "oneof"])
            if shape == "map":
                self.make_map(field)
                continue
            if shape == "repeated":
                field.label = FieldDescriptorProto.LABEL_REPEATED
            self.set_type(field, self.dice.choice(self.kinds()))
            if shape == "oneof":
                oneofs[self.dice.randint(0, 1)].append(field)
            self.set_encoding(field)
            if shape != "repeated":
                self.set_presence(field, in_oneof=shape == "oneof")
                self.set_default(field)
        self.declare_oneofs([each for each in oneofs if each])

    def name(self, number: int) -> str:
        taken = {each.name for each in self.message.field}
        name = self.dice.choice(NAMES) if self.chance(6) else ""
        return f"f{number}" if not name or name in taken else name

    def kinds(self) -> list[Kind]:
        """GROUP is a type in proto2 only; elsewhere it is a MESSAGE that is DELIMITED."""
        return [kind for kind in Kind if kind is not Kind.GROUP or self.file.syntax == "proto2"]

    def set_type(self, field: FieldDescriptorProto, kind: Kind) -> None:
        field.type = kind.value
        if kind in MESSAGES:
            field.type_name = f".{PACKAGE}.{self.dice.choice(list(self.file.message_type)).name}"
        elif kind is Kind.ENUM:
            field.type_name = f".{PACKAGE}.{self.dice.choice(list(self.file.enum_type)).name}"

    def enum_of(self, field: FieldDescriptorProto) -> EnumDescriptorProto:
        return next(each for each in self.file.enum_type if field.type_name.endswith(each.name))

    def make_map(self, field: FieldDescriptorProto) -> None:
        field.label = FieldDescriptorProto.LABEL_REPEATED
        entry = self.message.nested_type.add(name=f"{field.name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        key = entry.field.add(name="key", number=1, label=FieldDescriptorProto.LABEL_OPTIONAL)
        value = entry.field.add(name="value", number=2, label=FieldDescriptorProto.LABEL_OPTIONAL)
        key.type = self.dice.choice(KEYS).value
        self.set_type(value, self.dice.choice([kind for kind in Kind if kind is not Kind.GROUP]))
        if value.type == Kind.ENUM and self.enum_of(value).value[0].number != 0:
            value.type = Kind.INT32.value  # the enum of a map's values begins with 0
            value.ClearField("type_name")
        field.type = Kind.MESSAGE.value
        field.type_name = f".{PACKAGE}.{self.message.name}.{entry.name}"
        if self.is_edition and Kind.STRING in (key.type, value.type):
            self.choose(field, "utf8_validation")
            for each in (key, value):  # as protoc does
                each.options.CopyFrom(field.options)

    def choose(self, field: FieldDescriptorProto, name: str) -> None:
        draw_features(self.dice, field.options.features, {name: FILE_FEATURES[name]})

    def set_encoding(self, field: FieldDescriptorProto) -> None:
        repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
        packable = repeated and field.type in PACKABLE
        if not self.is_edition:
            if packable and self.chance(2):
                field.options.packed = self.dice.random() < 0.5
        elif packable:
            self.choose(field, "repeated_field_encoding")
        elif field.type == Kind.STRING:
            self.choose(field, "utf8_validation")
        elif field.type in MESSAGES:
            self.choose(field, "message_encoding")

    def set_presence(self, field: FieldDescriptorProto, *, in_oneof: bool) -> None:
        if in_oneof:
            return
        if self.file.syntax == "proto3":
            field.proto3_optional = field.type not in MESSAGES and self.chance(3)
        elif self.chance(8):
            if self.is_edition:
                field.options.features.field_presence = REQUIRED
            else:
                field.label = FieldDescriptorProto.LABEL_REQUIRED
        elif self.is_edition and field.type not in MESSAGES:
            self.choose(field, "field_presence")
            if field.type == Kind.ENUM and is_closed(self.file, self.enum_of(field)):
                field.options.features.field_presence = EXPLICIT  # a closed enum always has presence

    def set_default(self, field: FieldDescriptorProto) -> None:
        implicit = self.is_edition and feature(self.file, field.options, "field_presence") == IMPLICIT
        if self.file.syntax == "proto3" or implicit or field.type in MESSAGES or not self.chance(4):
            return
        if field.type == Kind.ENUM:
            field.default_value = self.dice.choice(list(self.enum_of(field).value)).name
        else:
            field.default_value = default_text(field.type, self.default(field.type))

    def default(self, kind: int) -> Any:
        return normal(self.dice, kind) if kind in (Kind.FLOAT, Kind.DOUBLE) else scalar(self.dice, kind)

    def declare_oneofs(self, oneofs: list[list[FieldDescriptorProto]]) -> None:
        """proto3's optional fields are oneofs of one, and come last."""
        for at, members in enumerate(oneofs):
            self.message.oneof_decl.add(name=f"oneof{at}")
            for each in members:
                each.oneof_index = at
        for each in self.message.field:
            if each.proto3_optional:
                each.oneof_index = len(self.message.oneof_decl)
                self.message.oneof_decl.add(name=f"_{each.name}")


def default_text(kind: int, value: Any) -> str:
    """As protoc writes a default into a descriptor."""
    if kind == Kind.BOOL:
        return str(value).lower()
    if kind == Kind.BYTES:
        return "".join(f"\\{byte:03o}" for byte in value)
    if kind == Kind.STRING:
        return str(value)
    if kind in INTEGER_RANGE:
        return str(int(value))
    return repr(float(value))
