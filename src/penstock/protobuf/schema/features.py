"""What an edition, and the options of a file, a message or a field, say of how values travel.

Each feature is inherited: file, message, oneof, field. proto2 and proto3 are two sets of defaults.
Source: https://protobuf.dev/editions/features, descriptor.proto (FeatureSet, edition_defaults).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from penstock.protobuf.errors import SchemaError
from penstock.protobuf.schema.descriptor_proto import Edition, FeatureSet, FieldDescriptorProto

if TYPE_CHECKING:
    from penstock.protobuf.schema.descriptor_proto import (
        EnumOptions,
        FieldOptions,
        FileDescriptorProto,
        FileOptions,
        MessageOptions,
        OneofOptions,
    )

    Options = FileOptions | MessageOptions | OneofOptions | FieldOptions | EnumOptions

__all__ = ["Features", "features_of_field", "features_of_file", "overridden"]


class Features(NamedTuple):
    """The features that change the wire, each with a value."""

    field_presence: FeatureSet.FieldPresence
    enum_type: FeatureSet.EnumType
    repeated_field_encoding: FeatureSet.RepeatedFieldEncoding
    utf8_validation: FeatureSet.Utf8Validation
    message_encoding: FeatureSet.MessageEncoding


PROTO2: Final = Features(
    FeatureSet.FieldPresence.EXPLICIT,
    FeatureSet.EnumType.CLOSED,
    FeatureSet.RepeatedFieldEncoding.EXPANDED,
    FeatureSet.Utf8Validation.NONE,
    FeatureSet.MessageEncoding.LENGTH_PREFIXED,
)
PROTO3: Final = Features(
    FeatureSet.FieldPresence.IMPLICIT,
    FeatureSet.EnumType.OPEN,
    FeatureSet.RepeatedFieldEncoding.PACKED,
    FeatureSet.Utf8Validation.VERIFY,
    FeatureSet.MessageEncoding.LENGTH_PREFIXED,
)
EDITION_2023: Final = PROTO3._replace(field_presence=FeatureSet.FieldPresence.EXPLICIT)

SYNTAX: Final = {None: PROTO2, "": PROTO2, "proto2": PROTO2, "proto3": PROTO3}
EDITIONS: Final = {
    Edition.EDITION_PROTO2: PROTO2,
    Edition.EDITION_PROTO3: PROTO3,
    Edition.EDITION_2023: EDITION_2023,
    Edition.EDITION_2024: EDITION_2023,  # 2024 changed names, visibility and C++ only
}


def features_of_file(file: FileDescriptorProto) -> Features:
    """What holds for all of a file.

    Raises:
        SchemaError: its syntax or edition is none that is known here.
    """
    if file.syntax == "editions":
        defaults = EDITIONS.get(file.edition) if file.edition is not None else None
        named = f"edition {file.edition!r}"
    else:
        defaults, named = SYNTAX.get(file.syntax), f"syntax {file.syntax!r}"
    if defaults is None:
        raise SchemaError(
            f"{file.name}: a file must be proto2, proto3, edition 2023 or edition 2024, got {named}"
        )
    return overridden(defaults, file.options)


def overridden(inherited: Features, options: Options | None) -> Features:
    """What holds for that which has these options, within that for which `inherited` holds."""
    told = None if options is None else options.features
    if told is None:
        return inherited
    return Features(
        told.field_presence or inherited.field_presence,  # 0 is UNKNOWN in each of the enums
        told.enum_type or inherited.enum_type,
        told.repeated_field_encoding or inherited.repeated_field_encoding,
        told.utf8_validation or inherited.utf8_validation,
        told.message_encoding or inherited.message_encoding,
    )


def features_of_field(inherited: Features, field: FieldDescriptorProto) -> Features:
    """What holds for a field, with proto2's and proto3's own ways of saying the same."""
    found = overridden(inherited, field.options)
    if field.label == FieldDescriptorProto.Label.LABEL_REQUIRED:
        found = found._replace(field_presence=FeatureSet.FieldPresence.LEGACY_REQUIRED)
    elif field.proto3_optional:
        found = found._replace(field_presence=FeatureSet.FieldPresence.EXPLICIT)
    if field.options is not None and field.options.packed is not None:
        encoding = FeatureSet.RepeatedFieldEncoding
        found = found._replace(
            repeated_field_encoding=encoding.PACKED if field.options.packed else encoding.EXPANDED
        )
    return found
