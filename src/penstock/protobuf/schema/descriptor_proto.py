"""Messages of google/protobuf/descriptor.proto.

Made by `penstock proto compile`: change the schema, not this.

Copyright 2008 Google Inc., BSD-3-Clause: https://github.com/protocolbuffers/protobuf/blob/main/LICENSE
"""

from __future__ import annotations

from penstock.protobuf import Double, Enum, Int32, Int64, Message, UInt64
from penstock.protobuf import field as field_

__all__ = [
    "DescriptorProto",
    "Edition",
    "EnumDescriptorProto",
    "EnumOptions",
    "EnumValueDescriptorProto",
    "EnumValueOptions",
    "ExtensionRangeOptions",
    "FeatureSet",
    "FeatureSetDefaults",
    "FieldDescriptorProto",
    "FieldOptions",
    "FileDescriptorProto",
    "FileDescriptorSet",
    "FileOptions",
    "GeneratedCodeInfo",
    "MessageOptions",
    "MethodDescriptorProto",
    "MethodOptions",
    "OneofDescriptorProto",
    "OneofOptions",
    "ServiceDescriptorProto",
    "ServiceOptions",
    "SourceCodeInfo",
    "SymbolVisibility",
    "UninterpretedOption",
]


class Edition(Enum, closed=True, package="google.protobuf"):
    """The enum google.protobuf.Edition."""

    EDITION_UNKNOWN = 0
    EDITION_LEGACY = 900
    EDITION_PROTO2 = 998
    EDITION_PROTO3 = 999
    EDITION_2023 = 1000
    EDITION_2024 = 1001
    EDITION_2026 = 1002
    EDITION_UNSTABLE = 9999
    EDITION_1_TEST_ONLY = 1
    EDITION_2_TEST_ONLY = 2
    EDITION_99997_TEST_ONLY = 99997
    EDITION_99998_TEST_ONLY = 99998
    EDITION_99999_TEST_ONLY = 99999
    EDITION_MAX = 2147483647


class SymbolVisibility(Enum, closed=True, package="google.protobuf"):
    """The enum google.protobuf.SymbolVisibility."""

    VISIBILITY_UNSET = 0
    VISIBILITY_LOCAL = 1
    VISIBILITY_EXPORT = 2


class FileDescriptorSet(Message, package="google.protobuf"):
    """The message google.protobuf.FileDescriptorSet."""

    file: list[FileDescriptorProto] = field_(1)


class FileDescriptorProto(Message, package="google.protobuf"):
    """The message google.protobuf.FileDescriptorProto."""

    name: str | None = field_(1, utf8=False)
    package: str | None = field_(2, utf8=False)
    dependency: list[str] = field_(3, utf8=False)
    public_dependency: list[Int32] = field_(10, packed=False)
    weak_dependency: list[Int32] = field_(11, packed=False)
    option_dependency: list[str] = field_(15, utf8=False)
    message_type: list[DescriptorProto] = field_(4)
    enum_type: list[EnumDescriptorProto] = field_(5)
    service: list[ServiceDescriptorProto] = field_(6)
    extension: list[FieldDescriptorProto] = field_(7)
    options: FileOptions | None = field_(8)
    source_code_info: SourceCodeInfo | None = field_(9)
    syntax: str | None = field_(12, utf8=False)
    edition: Edition | None = field_(14)


class DescriptorProto(Message, package="google.protobuf"):
    """The message google.protobuf.DescriptorProto."""

    class ExtensionRange(Message, full_name="google.protobuf.DescriptorProto.ExtensionRange"):
        """The message google.protobuf.DescriptorProto.ExtensionRange."""

        start: Int32 | None = field_(1)
        end: Int32 | None = field_(2)
        options: ExtensionRangeOptions | None = field_(3)

    class ReservedRange(Message, full_name="google.protobuf.DescriptorProto.ReservedRange"):
        """The message google.protobuf.DescriptorProto.ReservedRange."""

        start: Int32 | None = field_(1)
        end: Int32 | None = field_(2)

    name: str | None = field_(1, utf8=False)
    field: list[FieldDescriptorProto] = field_(2)
    extension: list[FieldDescriptorProto] = field_(6)
    nested_type: list[DescriptorProto] = field_(3)
    enum_type: list[EnumDescriptorProto] = field_(4)
    extension_range: list[DescriptorProto.ExtensionRange] = field_(5)
    oneof_decl: list[OneofDescriptorProto] = field_(8)
    options: MessageOptions | None = field_(7)
    reserved_range: list[DescriptorProto.ReservedRange] = field_(9)
    reserved_name: list[str] = field_(10, utf8=False)
    visibility: SymbolVisibility | None = field_(11)


class ExtensionRangeOptions(Message, package="google.protobuf"):
    """The message google.protobuf.ExtensionRangeOptions."""

    class VerificationState(
        Enum, closed=True, full_name="google.protobuf.ExtensionRangeOptions.VerificationState"
    ):
        """The enum google.protobuf.ExtensionRangeOptions.VerificationState."""

        DECLARATION = 0
        UNVERIFIED = 1

    class Declaration(Message, full_name="google.protobuf.ExtensionRangeOptions.Declaration"):
        """The message google.protobuf.ExtensionRangeOptions.Declaration."""

        number: Int32 | None = field_(1)
        full_name: str | None = field_(2, utf8=False)
        type: str | None = field_(3, utf8=False)
        reserved: bool | None = field_(5)
        repeated: bool | None = field_(6)

    uninterpreted_option: list[UninterpretedOption] = field_(999)
    declaration: list[ExtensionRangeOptions.Declaration] = field_(2)
    features: FeatureSet | None = field_(50)
    verification: ExtensionRangeOptions.VerificationState = field_(3, default=VerificationState.UNVERIFIED)


class FieldDescriptorProto(Message, package="google.protobuf"):
    """The message google.protobuf.FieldDescriptorProto."""

    class Type(Enum, closed=True, full_name="google.protobuf.FieldDescriptorProto.Type"):
        """The enum google.protobuf.FieldDescriptorProto.Type."""

        TYPE_DOUBLE = 1
        TYPE_FLOAT = 2
        TYPE_INT64 = 3
        TYPE_UINT64 = 4
        TYPE_INT32 = 5
        TYPE_FIXED64 = 6
        TYPE_FIXED32 = 7
        TYPE_BOOL = 8
        TYPE_STRING = 9
        TYPE_GROUP = 10
        TYPE_MESSAGE = 11
        TYPE_BYTES = 12
        TYPE_UINT32 = 13
        TYPE_ENUM = 14
        TYPE_SFIXED32 = 15
        TYPE_SFIXED64 = 16
        TYPE_SINT32 = 17
        TYPE_SINT64 = 18

    class Label(Enum, closed=True, full_name="google.protobuf.FieldDescriptorProto.Label"):
        """The enum google.protobuf.FieldDescriptorProto.Label."""

        LABEL_OPTIONAL = 1
        LABEL_REPEATED = 3
        LABEL_REQUIRED = 2

    name: str | None = field_(1, utf8=False)
    number: Int32 | None = field_(3)
    label: FieldDescriptorProto.Label | None = field_(4)
    type: FieldDescriptorProto.Type | None = field_(5)
    type_name: str | None = field_(6, utf8=False)
    extendee: str | None = field_(2, utf8=False)
    default_value: str | None = field_(7, utf8=False)
    oneof_index: Int32 | None = field_(9)
    json_name: str | None = field_(10, utf8=False)
    options: FieldOptions | None = field_(8)
    proto3_optional: bool | None = field_(17)


class OneofDescriptorProto(Message, package="google.protobuf"):
    """The message google.protobuf.OneofDescriptorProto."""

    name: str | None = field_(1, utf8=False)
    options: OneofOptions | None = field_(2)


class EnumDescriptorProto(Message, package="google.protobuf"):
    """The message google.protobuf.EnumDescriptorProto."""

    class EnumReservedRange(Message, full_name="google.protobuf.EnumDescriptorProto.EnumReservedRange"):
        """The message google.protobuf.EnumDescriptorProto.EnumReservedRange."""

        start: Int32 | None = field_(1)
        end: Int32 | None = field_(2)

    name: str | None = field_(1, utf8=False)
    value: list[EnumValueDescriptorProto] = field_(2)
    options: EnumOptions | None = field_(3)
    reserved_range: list[EnumDescriptorProto.EnumReservedRange] = field_(4)
    reserved_name: list[str] = field_(5, utf8=False)
    visibility: SymbolVisibility | None = field_(6)


class EnumValueDescriptorProto(Message, package="google.protobuf"):
    """The message google.protobuf.EnumValueDescriptorProto."""

    name: str | None = field_(1, utf8=False)
    number: Int32 | None = field_(2)
    options: EnumValueOptions | None = field_(3)


class ServiceDescriptorProto(Message, package="google.protobuf"):
    """The message google.protobuf.ServiceDescriptorProto."""

    name: str | None = field_(1, utf8=False)
    method: list[MethodDescriptorProto] = field_(2)
    options: ServiceOptions | None = field_(3)


class MethodDescriptorProto(Message, package="google.protobuf"):
    """The message google.protobuf.MethodDescriptorProto."""

    name: str | None = field_(1, utf8=False)
    input_type: str | None = field_(2, utf8=False)
    output_type: str | None = field_(3, utf8=False)
    options: MethodOptions | None = field_(4)
    client_streaming: bool = field_(5, default=False)
    server_streaming: bool = field_(6, default=False)


class FileOptions(Message, package="google.protobuf"):
    """The message google.protobuf.FileOptions."""

    class OptimizeMode(Enum, closed=True, full_name="google.protobuf.FileOptions.OptimizeMode"):
        """The enum google.protobuf.FileOptions.OptimizeMode."""

        SPEED = 1
        CODE_SIZE = 2
        LITE_RUNTIME = 3

    java_package: str | None = field_(1, utf8=False)
    java_outer_classname: str | None = field_(8, utf8=False)
    java_multiple_files: bool = field_(10, default=False)
    java_generate_equals_and_hash: bool | None = field_(20)
    java_string_check_utf8: bool = field_(27, default=False)
    optimize_for: FileOptions.OptimizeMode = field_(9, default=OptimizeMode.SPEED)
    go_package: str | None = field_(11, utf8=False)
    cc_generic_services: bool = field_(16, default=False)
    java_generic_services: bool = field_(17, default=False)
    py_generic_services: bool = field_(18, default=False)
    deprecated: bool = field_(23, default=False)
    cc_enable_arenas: bool = field_(31, default=True)
    objc_class_prefix: str | None = field_(36, utf8=False)
    csharp_namespace: str | None = field_(37, utf8=False)
    swift_prefix: str | None = field_(39, utf8=False)
    php_class_prefix: str | None = field_(40, utf8=False)
    php_namespace: str | None = field_(41, utf8=False)
    php_metadata_namespace: str | None = field_(44, utf8=False)
    ruby_package: str | None = field_(45, utf8=False)
    features: FeatureSet | None = field_(50)
    uninterpreted_option: list[UninterpretedOption] = field_(999)


class MessageOptions(Message, package="google.protobuf"):
    """The message google.protobuf.MessageOptions."""

    message_set_wire_format: bool = field_(1, default=False)
    no_standard_descriptor_accessor: bool = field_(2, default=False)
    deprecated: bool = field_(3, default=False)
    map_entry: bool | None = field_(7)
    deprecated_legacy_json_field_conflicts: bool | None = field_(11)
    features: FeatureSet | None = field_(12)
    uninterpreted_option: list[UninterpretedOption] = field_(999)


class FieldOptions(Message, package="google.protobuf"):
    """The message google.protobuf.FieldOptions."""

    class CType(Enum, closed=True, full_name="google.protobuf.FieldOptions.CType"):
        """The enum google.protobuf.FieldOptions.CType."""

        STRING = 0
        CORD = 1
        STRING_PIECE = 2

    class JSType(Enum, closed=True, full_name="google.protobuf.FieldOptions.JSType"):
        """The enum google.protobuf.FieldOptions.JSType."""

        JS_NORMAL = 0
        JS_STRING = 1
        JS_NUMBER = 2

    class OptionRetention(Enum, closed=True, full_name="google.protobuf.FieldOptions.OptionRetention"):
        """The enum google.protobuf.FieldOptions.OptionRetention."""

        RETENTION_UNKNOWN = 0
        RETENTION_RUNTIME = 1
        RETENTION_SOURCE = 2

    class OptionTargetType(Enum, closed=True, full_name="google.protobuf.FieldOptions.OptionTargetType"):
        """The enum google.protobuf.FieldOptions.OptionTargetType."""

        TARGET_TYPE_UNKNOWN = 0
        TARGET_TYPE_FILE = 1
        TARGET_TYPE_EXTENSION_RANGE = 2
        TARGET_TYPE_MESSAGE = 3
        TARGET_TYPE_FIELD = 4
        TARGET_TYPE_ONEOF = 5
        TARGET_TYPE_ENUM = 6
        TARGET_TYPE_ENUM_ENTRY = 7
        TARGET_TYPE_SERVICE = 8
        TARGET_TYPE_METHOD = 9

    class EditionDefault(Message, full_name="google.protobuf.FieldOptions.EditionDefault"):
        """The message google.protobuf.FieldOptions.EditionDefault."""

        edition: Edition | None = field_(3)
        value: str | None = field_(2, utf8=False)

    class FeatureSupport(Message, full_name="google.protobuf.FieldOptions.FeatureSupport"):
        """The message google.protobuf.FieldOptions.FeatureSupport."""

        edition_introduced: Edition | None = field_(1)
        edition_deprecated: Edition | None = field_(2)
        deprecation_warning: str | None = field_(3, utf8=False)
        edition_removed: Edition | None = field_(4)
        removal_error: str | None = field_(5, utf8=False)

    ctype: FieldOptions.CType = field_(1, default=CType.STRING)
    packed: bool | None = field_(2)
    jstype: FieldOptions.JSType = field_(6, default=JSType.JS_NORMAL)
    lazy: bool = field_(5, default=False)
    unverified_lazy: bool = field_(15, default=False)
    deprecated: bool = field_(3, default=False)
    weak: bool = field_(10, default=False)
    debug_redact: bool = field_(16, default=False)
    retention: FieldOptions.OptionRetention | None = field_(17)
    targets: list[FieldOptions.OptionTargetType] = field_(19, packed=False)
    edition_defaults: list[FieldOptions.EditionDefault] = field_(20)
    features: FeatureSet | None = field_(21)
    feature_support: FieldOptions.FeatureSupport | None = field_(22)
    uninterpreted_option: list[UninterpretedOption] = field_(999)


class OneofOptions(Message, package="google.protobuf"):
    """The message google.protobuf.OneofOptions."""

    features: FeatureSet | None = field_(1)
    uninterpreted_option: list[UninterpretedOption] = field_(999)


class EnumOptions(Message, package="google.protobuf"):
    """The message google.protobuf.EnumOptions."""

    allow_alias: bool | None = field_(2)
    deprecated: bool = field_(3, default=False)
    deprecated_legacy_json_field_conflicts: bool | None = field_(6)
    features: FeatureSet | None = field_(7)
    uninterpreted_option: list[UninterpretedOption] = field_(999)


class EnumValueOptions(Message, package="google.protobuf"):
    """The message google.protobuf.EnumValueOptions."""

    deprecated: bool = field_(1, default=False)
    features: FeatureSet | None = field_(2)
    debug_redact: bool = field_(3, default=False)
    feature_support: FieldOptions.FeatureSupport | None = field_(4)
    uninterpreted_option: list[UninterpretedOption] = field_(999)


class ServiceOptions(Message, package="google.protobuf"):
    """The message google.protobuf.ServiceOptions."""

    features: FeatureSet | None = field_(34)
    deprecated: bool = field_(33, default=False)
    uninterpreted_option: list[UninterpretedOption] = field_(999)


class MethodOptions(Message, package="google.protobuf"):
    """The message google.protobuf.MethodOptions."""

    class IdempotencyLevel(Enum, closed=True, full_name="google.protobuf.MethodOptions.IdempotencyLevel"):
        """The enum google.protobuf.MethodOptions.IdempotencyLevel."""

        IDEMPOTENCY_UNKNOWN = 0
        NO_SIDE_EFFECTS = 1
        IDEMPOTENT = 2

    deprecated: bool = field_(33, default=False)
    idempotency_level: MethodOptions.IdempotencyLevel = field_(
        34, default=IdempotencyLevel.IDEMPOTENCY_UNKNOWN
    )
    features: FeatureSet | None = field_(35)
    uninterpreted_option: list[UninterpretedOption] = field_(999)


class UninterpretedOption(Message, package="google.protobuf"):
    """The message google.protobuf.UninterpretedOption."""

    class NamePart(Message, full_name="google.protobuf.UninterpretedOption.NamePart"):
        """The message google.protobuf.UninterpretedOption.NamePart."""

        name_part: str = field_(1, required=True, utf8=False)
        is_extension: bool = field_(2, required=True)

    name: list[UninterpretedOption.NamePart] = field_(2)
    identifier_value: str | None = field_(3, utf8=False)
    positive_int_value: UInt64 | None = field_(4)
    negative_int_value: Int64 | None = field_(5)
    double_value: Double | None = field_(6)
    string_value: bytes | None = field_(7)
    aggregate_value: str | None = field_(8, utf8=False)


class FeatureSet(Message, package="google.protobuf"):
    """The message google.protobuf.FeatureSet."""

    class FieldPresence(Enum, closed=True, full_name="google.protobuf.FeatureSet.FieldPresence"):
        """The enum google.protobuf.FeatureSet.FieldPresence."""

        FIELD_PRESENCE_UNKNOWN = 0
        EXPLICIT = 1
        IMPLICIT = 2
        LEGACY_REQUIRED = 3

    class EnumType(Enum, closed=True, full_name="google.protobuf.FeatureSet.EnumType"):
        """The enum google.protobuf.FeatureSet.EnumType."""

        ENUM_TYPE_UNKNOWN = 0
        OPEN = 1
        CLOSED = 2

    class RepeatedFieldEncoding(
        Enum, closed=True, full_name="google.protobuf.FeatureSet.RepeatedFieldEncoding"
    ):
        """The enum google.protobuf.FeatureSet.RepeatedFieldEncoding."""

        REPEATED_FIELD_ENCODING_UNKNOWN = 0
        PACKED = 1
        EXPANDED = 2

    class Utf8Validation(Enum, closed=True, full_name="google.protobuf.FeatureSet.Utf8Validation"):
        """The enum google.protobuf.FeatureSet.Utf8Validation."""

        UTF8_VALIDATION_UNKNOWN = 0
        VERIFY = 2
        NONE = 3

    class MessageEncoding(Enum, closed=True, full_name="google.protobuf.FeatureSet.MessageEncoding"):
        """The enum google.protobuf.FeatureSet.MessageEncoding."""

        MESSAGE_ENCODING_UNKNOWN = 0
        LENGTH_PREFIXED = 1
        DELIMITED = 2

    class JsonFormat(Enum, closed=True, full_name="google.protobuf.FeatureSet.JsonFormat"):
        """The enum google.protobuf.FeatureSet.JsonFormat."""

        JSON_FORMAT_UNKNOWN = 0
        ALLOW = 1
        LEGACY_BEST_EFFORT = 2

    class EnforceNamingStyle(Enum, closed=True, full_name="google.protobuf.FeatureSet.EnforceNamingStyle"):
        """The enum google.protobuf.FeatureSet.EnforceNamingStyle."""

        ENFORCE_NAMING_STYLE_UNKNOWN = 0
        STYLE2024 = 1
        STYLE_LEGACY = 2
        STYLE2026 = 3

    class VisibilityFeature(Message, full_name="google.protobuf.FeatureSet.VisibilityFeature"):
        """The message google.protobuf.FeatureSet.VisibilityFeature."""

        class DefaultSymbolVisibility(
            Enum,
            closed=True,
            full_name="google.protobuf.FeatureSet.VisibilityFeature.DefaultSymbolVisibility",
        ):
            """The enum google.protobuf.FeatureSet.VisibilityFeature.DefaultSymbolVisibility."""

            DEFAULT_SYMBOL_VISIBILITY_UNKNOWN = 0
            EXPORT_ALL = 1
            EXPORT_TOP_LEVEL = 2
            LOCAL_ALL = 3
            STRICT = 4

    class ProtoLimitsFeature(Message, full_name="google.protobuf.FeatureSet.ProtoLimitsFeature"):
        """The message google.protobuf.FeatureSet.ProtoLimitsFeature."""

        class EnforceProtoLimits(
            Enum, closed=True, full_name="google.protobuf.FeatureSet.ProtoLimitsFeature.EnforceProtoLimits"
        ):
            """The enum google.protobuf.FeatureSet.ProtoLimitsFeature.EnforceProtoLimits."""

            PROTO_LIMITS_UNKNOWN = 0
            LEGACY_NO_EXPLICIT_LIMITS = 1
            PROTO_LIMITS2026 = 2

    field_presence: FeatureSet.FieldPresence | None = field_(1)
    enum_type: FeatureSet.EnumType | None = field_(2)
    repeated_field_encoding: FeatureSet.RepeatedFieldEncoding | None = field_(3)
    utf8_validation: FeatureSet.Utf8Validation | None = field_(4)
    message_encoding: FeatureSet.MessageEncoding | None = field_(5)
    json_format: FeatureSet.JsonFormat | None = field_(6)
    enforce_naming_style: FeatureSet.EnforceNamingStyle | None = field_(7)
    default_symbol_visibility: FeatureSet.VisibilityFeature.DefaultSymbolVisibility | None = field_(8)
    enforce_proto_limits: FeatureSet.ProtoLimitsFeature.EnforceProtoLimits | None = field_(9)


class FeatureSetDefaults(Message, package="google.protobuf"):
    """The message google.protobuf.FeatureSetDefaults."""

    class FeatureSetEditionDefault(
        Message, full_name="google.protobuf.FeatureSetDefaults.FeatureSetEditionDefault"
    ):
        """The message google.protobuf.FeatureSetDefaults.FeatureSetEditionDefault."""

        edition: Edition | None = field_(3)
        overridable_features: FeatureSet | None = field_(4)
        fixed_features: FeatureSet | None = field_(5)

    defaults: list[FeatureSetDefaults.FeatureSetEditionDefault] = field_(1)
    minimum_edition: Edition | None = field_(4)
    maximum_edition: Edition | None = field_(5)


class SourceCodeInfo(Message, package="google.protobuf"):
    """The message google.protobuf.SourceCodeInfo."""

    class Location(Message, full_name="google.protobuf.SourceCodeInfo.Location"):
        """The message google.protobuf.SourceCodeInfo.Location."""

        path: list[Int32] = field_(1)
        span: list[Int32] = field_(2)
        leading_comments: str | None = field_(3, utf8=False)
        trailing_comments: str | None = field_(4, utf8=False)
        leading_detached_comments: list[str] = field_(6, utf8=False)

    location: list[SourceCodeInfo.Location] = field_(1)


class GeneratedCodeInfo(Message, package="google.protobuf"):
    """The message google.protobuf.GeneratedCodeInfo."""

    class Annotation(Message, full_name="google.protobuf.GeneratedCodeInfo.Annotation"):
        """The message google.protobuf.GeneratedCodeInfo.Annotation."""

        class Semantic(Enum, closed=True, full_name="google.protobuf.GeneratedCodeInfo.Annotation.Semantic"):
            """The enum google.protobuf.GeneratedCodeInfo.Annotation.Semantic."""

            NONE = 0
            SET = 1
            ALIAS = 2

        path: list[Int32] = field_(1)
        source_file: str | None = field_(2, utf8=False)
        begin: Int32 | None = field_(3)
        end: Int32 | None = field_(4)
        semantic: GeneratedCodeInfo.Annotation.Semantic | None = field_(5)

    annotation: list[GeneratedCodeInfo.Annotation] = field_(1)
