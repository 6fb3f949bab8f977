"""Google's descriptors, printed as the `.proto` text that protoc would make them of."""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)

Field = FieldDescriptorProto
LABELS = {Field.LABEL_REPEATED: "repeated ", Field.LABEL_REQUIRED: "required "}


def printed(file: FileDescriptorProto) -> str:
    """The text of a file, with all options but custom ones.

    Members of a oneof come last, and a group gets a message of its own, as only descriptors do without.
    """
    edition = file.syntax == "editions"
    lines = ['edition = "2023";' if edition else f'syntax = "{file.syntax or "proto2"}";']
    if file.package:
        lines.append(f"package {file.package};")
    for index, name in enumerate(file.dependency):
        lines.append(f'import {"public " if index in file.public_dependency else ""}"{name}";')
    lines += statements(file.options)
    lines += extension_lines(file.extension, file.syntax)
    for service in file.service:
        lines += service_lines(service)
    for enum in file.enum_type:
        lines += enum_lines(enum)
    for message in file.message_type:
        lines += message_lines(message, file.syntax)
    return "\n".join(lines) + "\n"


def enum_lines(enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    yield from statements(enum.options)
    for value in enum.value:
        options = ", ".join(assignments(value.options))
        yield f"{value.name} = {value.number}{f' [{options}]' if options else ''};"
    for span in enum.reserved_range:
        yield f"reserved {span.start} to {span.end};"
    for name in enum.reserved_name:
        yield f'reserved "{name}";'
    yield "}"


def service_lines(service: ServiceDescriptorProto) -> Iterator[str]:
    yield f"service {service.name} {{"
    yield from statements(service.options)
    for method in service.method:
        taken = f"{'stream ' if method.client_streaming else ''}{method.input_type}"
        given = f"{'stream ' if method.server_streaming else ''}{method.output_type}"
        body = " ".join(statements(method.options))
        yield f"rpc {method.name} ({taken}) returns ({given})" + (
            f" {{ {body} }}" if method.HasField("options") else ";"
        )
    yield "}"


def extension_lines(extensions: Iterable[Any], syntax: str) -> Iterator[str]:
    for extension in extensions:
        yield f"extend {extension.extendee} {{ {field_line(extension, {}, syntax, in_oneof=False)} }}"


def message_lines(message: DescriptorProto, syntax: str) -> Iterator[str]:
    yield f"message {message.name} {{"
    yield from statements(message.options)
    entries = {each.name: each for each in message.nested_type if each.options.map_entry}
    yield from extension_lines(message.extension, syntax)
    for span in message.extension_range:
        yield f"extensions {span.start} to {span.end - 1};"
    for span in message.reserved_range:
        yield f"reserved {span.start} to {span.end - 1};"
    for name in message.reserved_name:
        yield f'reserved "{name}";'
    for enum in message.enum_type:
        yield from enum_lines(enum)
    for nested in message.nested_type:
        if nested.name not in entries:
            yield from message_lines(nested, syntax)
    members: dict[int, list[str]] = {}
    for field in message.field:
        in_oneof = field.HasField("oneof_index") and not field.proto3_optional
        line = field_line(field, entries, syntax, in_oneof=in_oneof)
        if in_oneof:
            members.setdefault(field.oneof_index, []).append(line)
        else:
            yield line
    for index, lines in members.items():
        oneof = message.oneof_decl[index]
        yield f"oneof {oneof.name} {{"
        yield from (*statements(oneof.options), *lines, "}")
    yield "}"


def field_line(field: Any, entries: dict[str, DescriptorProto], syntax: str, *, in_oneof: bool) -> str:
    entry = entries.get(field.type_name.rpartition(".")[2])
    label = LABELS.get(field.label, "")
    if field.proto3_optional or (not label and not in_oneof and syntax in ("", "proto2")):
        label = "optional "
    if entry is not None:
        key, value = entry.field
        label, type_ = "", f"map<{type_name(key)}, {type_name(value)}>"
    elif field.type == Field.TYPE_GROUP:
        return f"{label}group G{field.number} = {field.number} {{}}"
    else:
        type_ = type_name(field)
    options = list(assignments(field.options))
    if field.HasField("default_value"):
        options.append(f"default = {default(field)}")
    if field.HasField("json_name") and not field.extendee:
        options.append(f"json_name = {quoted(field.json_name)}")
    brackets = f" [{', '.join(options)}]" if options else ""
    return f"{label}{type_} {field.name} = {field.number}{brackets};"


def type_name(field: Any) -> str:
    return field.type_name or Field.Type.Name(field.type).removeprefix("TYPE_").lower()


def default(field: Any) -> str:
    if field.type == Field.TYPE_BYTES:
        return f'"{field.default_value}"'  # escaped already
    return quoted(field.default_value) if field.type == Field.TYPE_STRING else field.default_value


def quoted(text: str) -> str:
    return '"' + "".join(f"\\{byte:03o}" for byte in text.encode()) + '"'


def statements(options: Any) -> list[str]:
    return [f"option {each};" for each in assignments(options)]


def assignments(options: Any, prefix: str = "") -> Iterator[str]:
    for field, value in options.ListFields():
        name = prefix + field.name
        if field.message_type is not None:
            yield from assignments(value, f"{name}.")
        elif field.enum_type is not None:
            yield f"{name} = {field.enum_type.values_by_number[value].name}"
        elif isinstance(value, str):
            yield f"{name} = {quoted(value)}"
        else:
            yield f"{name} = {str(value).lower()}"
