"""The fields of a message, made of what a schema says of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from penstock.protobuf.descriptors import FieldDescriptor, Presence, Scalar, Shape
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.fields import KEY_KINDS, LAST_NUMBER, json_name_of, zero
from penstock.protobuf.kinds import PACKABLE, Kind
from penstock.protobuf.schema.defaults import parsed_default
from penstock.protobuf.schema.definitions import (
    IDENTIFIER,
    LONGEST_NAME,
    Definition,
    EnumDefinition,
    MessageDefinition,
    Scope,
    resolve,
)
from penstock.protobuf.schema.descriptor_proto import FeatureSet, FieldDescriptorProto
from penstock.protobuf.schema.features import Features, features_of_field, overridden
from penstock.protobuf.schema.python_names import python_names

if TYPE_CHECKING:
    from penstock.protobuf.message import Message

__all__ = ["FieldMaker"]

MOST_FIELDS: Final = 65_535
"""Fields of a message; each is a slot of its instances."""

LAST_OF_MESSAGE_SET: Final = (1 << 31) - 2
"""The number of an extension of a MessageSet is a value on the wire, not a part of a tag."""

KINDS: Final = {int(kind): kind for kind in Kind}
"""FieldDescriptorProto.Type -> kind; a dict, as `Kind(number)` takes four times as long."""

MESSAGES: Final = frozenset((Kind.MESSAGE, Kind.GROUP))

REPEATED: Final = FieldDescriptorProto.Label.LABEL_REPEATED
OPTIONAL: Final = FieldDescriptorProto.Label.LABEL_OPTIONAL

PRESENCE: Final = {
    FeatureSet.FieldPresence.EXPLICIT: Presence.EXPLICIT,
    FeatureSet.FieldPresence.IMPLICIT: Presence.IMPLICIT,
    FeatureSet.FieldPresence.LEGACY_REQUIRED: Presence.REQUIRED,
}


class FieldMaker:
    """Checks and makes the fields of messages.

    Args:
        definitions: what the schema defines, by full name.
        known: the class of a message or enum that every schema has, by full name.
        class_of: makes the class of any of both.
        arrays: whether repeated numbers are arrays, or the full names of the fields that are.
    """

    def __init__(
        self,
        definitions: Mapping[str, Definition],
        known: Mapping[str, type[Message] | type[Enum]],
        class_of: Callable[[str], Any],
        arrays: bool | Collection[str],
    ) -> None:
        self.definitions = definitions
        self.known = known
        self.class_of = class_of
        self.arrays = arrays
        self.names = definitions.keys() | known.keys()

    def check(self, message: MessageDefinition) -> None:
        """Refuses fields that cannot be, without making any class.

        Raises:
            SchemaError: a name, number, type or default is none, or stands twice.
        """
        place, proto = message.full_name, message.proto
        if len(proto.field) > MOST_FIELDS:
            raise SchemaError(
                f"{place}: a message must have at most {MOST_FIELDS} fields, got {len(proto.field)}"
            )
        names = {each.name for each in proto.nested_type} | {each.name for each in proto.enum_type}
        for oneof in proto.oneof_decl:
            check_name(place, oneof.name, names)
        numbers: dict[int, str] = {}
        for each in proto.field:
            check_name(place, each.name, names)
            check_number(place, each, numbers)
            if each.json_name:
                json_name_of(f"{place}.{each.name}", each.json_name, "")
            kind, target = self.kind_and_target(message, each)
            if target is not None and (entry := self.map_entry(target)) is not None:
                self.check_map(message, each, entry)
            if each.oneof_index is not None:
                check_member(message, each)
            if each.default_value is not None:
                self.check_default(f"{place}.{each.name}", each, kind, target)

    def check_map(
        self, message: MessageDefinition, proto: FieldDescriptorProto, entry: MessageDefinition
    ) -> None:
        """Refuses an entry that is none, and a field that is not its map."""
        place = f"{message.full_name}.{proto.name}"
        if proto.label != REPEATED or entry.outer is not message:
            raise SchemaError(
                f"{place}: {entry.full_name} is the entry of a map, which no other field can have"
            )
        if sorted(each.number or 0 for each in entry.proto.field) != [1, 2]:
            raise SchemaError(f"{place}: the entry of a map must have the fields 1 and 2 and no other")
        if any(each.label == REPEATED for each in entry.proto.field):
            raise SchemaError(f"{place}: neither key nor value of a map can be repeated")
        key, _ = self.map_types(entry)
        if key not in KEY_KINDS:
            raise SchemaError(
                f"{place}: a map's keys must be integers, bool or string, got {key.name.lower()}"
            )

    def make(self, message: MessageDefinition, attributes: Mapping[str, str]) -> tuple[FieldDescriptor, ...]:
        """All fields of a message that was checked.

        Args:
            message: of this schema.
            attributes: name of a field in the schema -> in Python.
        """
        return tuple(self.made(message, each, attributes[each.name or ""]) for each in message.proto.field)

    def make_extension(self, scope: Scope, proto: FieldDescriptorProto) -> tuple[str, FieldDescriptor]:
        """The full name of the message that an extension extends, and its field.

        Raises:
            SchemaError: its name, number, type or default is none.
        """
        place = joined(scope.full_name, proto.name)
        extendee = resolve(proto.extendee or "", scope.full_name, self.names)
        if extendee is None or self.is_enum(extendee):
            raise SchemaError(
                f"{place}: what it extends must be a message of the files, got {shortened(proto.extendee)}"
            )
        last = LAST_OF_MESSAGE_SET if self.is_message_set(extendee) else LAST_NUMBER
        if proto.number is None or not 1 <= proto.number <= last:
            raise SchemaError(f"{place}: a field number must be 1 to {last}, got {proto.number}")
        [attribute] = python_names([proto.name or ""]).values()
        return extendee, self.made(scope, proto, attribute)

    def made(self, scope: Scope, proto: FieldDescriptorProto, attribute: str) -> FieldDescriptor:
        """One field, of a message or an extension."""
        assert proto.name is not None
        assert proto.number is not None
        place = joined(scope.full_name, proto.name)
        oneof, features = oneof_and_features(scope, proto)
        kind, target = self.kind_and_target(scope, proto)
        shape = Shape.REPEATED if proto.label == REPEATED else Shape.SINGULAR
        key = None
        if target is not None and (entry := self.map_entry(target)) is not None:
            shape = Shape.MAP
            key, (kind, target) = self.map_types(entry)
        elif kind is Kind.MESSAGE and features.message_encoding == FeatureSet.MessageEncoding.DELIMITED:
            kind = Kind.GROUP
        presence = presence_of(proto, kind, shape, oneof, features)
        found = self.class_of(target) if target is not None else None
        enum = found if kind is Kind.ENUM else None
        array = self.is_array(place, kind, shape, enum)
        if presence is not Presence.IMPLICIT:
            default = self.default(proto, kind, enum)
        else:
            default = zero(kind, enum) if shape is Shape.SINGULAR else None
        return FieldDescriptor(
            name=attribute,
            number=proto.number,
            kind=kind,
            shape=shape,
            presence=presence,
            key=key,
            message=found if kind in MESSAGES else None,
            enum=None if array else enum,
            packed=shape is Shape.REPEATED and kind in PACKABLE and is_packed(features),
            array=array,
            utf8=Kind.STRING not in (kind, key) or is_checked(features),
            default=default,
            oneof=oneof,
            proto_name=proto.name,
            json_name=json_name_of(place, proto.json_name, proto.name),
        )

    def kind_and_target(self, scope: Scope, proto: FieldDescriptorProto) -> tuple[Kind, str | None]:
        """The kind of a field, and the full name of its message or enum."""
        told = KINDS.get(proto.type or 0)
        if not proto.type_name:
            if told is None or told in MESSAGES or told is Kind.ENUM:
                raise SchemaError(
                    f"{joined(scope.full_name, proto.name)}: a field must have a type, got none"
                )
            return told, None
        target = resolve(proto.type_name, scope.full_name, self.names)
        if target is None:
            place, missing = joined(scope.full_name, proto.name), proto.type_name.lstrip(".")[:LONGEST_NAME]
            raise SchemaError(
                f"{place}: its type {missing} is not defined in {scope.file.name} nor in its imports "
                "(protoc needs --include_imports)"
            )
        is_enum = self.is_enum(target)
        kind = told or (Kind.ENUM if is_enum else Kind.MESSAGE)
        if (kind is Kind.ENUM) != is_enum or not (is_enum or kind in MESSAGES):
            place, what = joined(scope.full_name, proto.name), "an enum" if is_enum else "a message"
            raise SchemaError(f"{place}: {target} is {what}, not of the kind {kind.name.lower()}")
        return kind, target

    def is_enum(self, full_name: str) -> bool:
        """Whether a type is an enum, which is known before there is a class."""
        if full_name in self.known:
            return issubclass(self.known[full_name], Enum)
        return isinstance(self.definitions[full_name], EnumDefinition)

    def is_message_set(self, full_name: str) -> bool:
        """Whether the extensions of a message are MessageSet items, which have no tags of their own."""
        found = self.definitions.get(full_name)
        return isinstance(found, MessageDefinition) and found.is_message_set

    def map_entry(self, target: str) -> MessageDefinition | None:
        """What defines the entry of a map, if the type of a field is one."""
        found = self.definitions.get(target)
        return found if isinstance(found, MessageDefinition) and found.is_map_entry else None

    def map_types(self, entry: MessageDefinition) -> tuple[Kind, tuple[Kind, str | None]]:
        """The kind of the keys; kind and type of the values."""
        key, value = sorted(entry.proto.field, key=lambda each: each.number or 0)
        return self.kind_and_target(entry, key)[0], self.kind_and_target(entry, value)

    def check_default(self, place: str, proto: FieldDescriptorProto, kind: Kind, target: str | None) -> None:
        """Refuses a declared default that the field cannot have."""
        text = proto.default_value or ""
        if proto.label == REPEATED or kind in MESSAGES:
            raise SchemaError(f"{place}: only singular scalars have a default, got {shortened(text)}")
        if target is not None:
            if text not in self.names_of_values(target):
                raise SchemaError(
                    f"{place}: {target} has no value {shortened(text)} that could be the default"
                )
            return
        try:
            parsed_default(kind, text)
        except SchemaError as error:
            raise SchemaError(f"{place}: {error}") from None

    def names_of_values(self, full_name: str) -> Collection[str]:
        """The names of the values of an enum, without making its class."""
        if full_name in self.known:
            return cast("type[Enum]", self.known[full_name]).__proto_names__
        return cast("EnumDefinition", self.definitions[full_name]).names

    def default(self, proto: FieldDescriptorProto, kind: Kind, enum: type[Enum] | None) -> Scalar | None:
        """The declared default, None if there is none."""
        text = proto.default_value
        if text is None or enum is None:
            return None if text is None else parsed_default(kind, text)
        return enum(enum.__proto_names__[text])

    def is_array(self, place: str, kind: Kind, shape: Shape, enum: type[Enum] | None) -> bool:
        """Whether a field shall be an array; refuses to make one of what cannot be."""
        possible = shape is Shape.REPEATED and kind in PACKABLE
        if isinstance(self.arrays, bool):
            return self.arrays and possible and kind is not Kind.ENUM  # an array of enums has no names
        if place not in self.arrays:
            return False
        if not possible or (enum is not None and enum.__closed__):
            raise SchemaError(f"{place}: an array holds repeated numbers, bools or values of an open enum")
        return True


def shortened(text: str | None) -> str:
    return repr(text if text is None or len(text) <= 60 else f"{text[:60]}...")


def check_name(place: str, name: str | None, taken: set[str | None]) -> None:
    if not name or len(name) > LONGEST_NAME or not IDENTIFIER.fullmatch(name):
        raise SchemaError(
            f"{place}: a name must be at most {LONGEST_NAME} letters, digits and _, got {shortened(name)}"
        )
    if name in taken:
        raise SchemaError(f"{place}.{name} is defined twice")
    taken.add(name)


def check_number(place: str, proto: FieldDescriptorProto, taken: dict[int, str]) -> None:
    name, number = proto.name or "", proto.number
    if number is None or not 1 <= number <= LAST_NUMBER or 19_000 <= number <= 19_999:
        raise SchemaError(
            f"{place}.{name}: a field number must be 1 to {LAST_NUMBER} and not 19000 to 19999, got {number}"
        )
    if (other := taken.setdefault(number, name)) is not name:
        raise SchemaError(f"{place}: {other} and {name} have one field number, {number}")


def check_member(message: MessageDefinition, proto: FieldDescriptorProto) -> None:
    place, index = f"{message.full_name}.{proto.name}", proto.oneof_index
    if index is None or not 0 <= index < len(message.proto.oneof_decl):
        raise SchemaError(f"{place}: the message has no oneof of index {index}")
    if proto.label not in (None, OPTIONAL):
        raise SchemaError(f"{place}: a member of a oneof is neither repeated nor required")


def oneof_and_features(scope: Scope, proto: FieldDescriptorProto) -> tuple[str | None, Features]:
    """The oneof that a field is in; proto3's `optional` is written as a oneof of one, and is none."""
    if proto.oneof_index is None or not isinstance(scope, MessageDefinition):
        return None, features_of_field(scope.features, proto)
    oneof = scope.proto.oneof_decl[proto.oneof_index]
    features = features_of_field(overridden(scope.features, oneof.options), proto)
    return None if proto.proto3_optional else oneof.name, features


def presence_of(
    proto: FieldDescriptorProto, kind: Kind, shape: Shape, oneof: str | None, features: Features
) -> Presence:
    if shape is not Shape.SINGULAR:
        return Presence.IMPLICIT
    if oneof is not None or proto.extendee is not None:
        return Presence.EXPLICIT
    told = PRESENCE[features.field_presence]
    return Presence.EXPLICIT if told is Presence.IMPLICIT and kind in MESSAGES else told


def joined(scope: str, name: str | None) -> str:
    return f"{scope}.{name}" if scope else str(name)


def is_packed(features: Features) -> bool:
    return features.repeated_field_encoding == FeatureSet.RepeatedFieldEncoding.PACKED


def is_checked(features: Features) -> bool:
    return features.utf8_validation == FeatureSet.Utf8Validation.VERIFY
