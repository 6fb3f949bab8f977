"""One Python module of a schema, in the making."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING, Final

from penstock.protobuf.declaration import describe
from penstock.protobuf.descriptors import FieldDescriptor, Presence, Shape
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.fields import camel_case
from penstock.protobuf.kinds import PACKABLE, Kind
from penstock.protobuf.schema.definitions import Definition, EnumDefinition, MessageDefinition
from penstock.protobuf.schema.python_text import (
    annotated,
    bracketed,
    docstring,
    from_import,
    import_order,
    literal,
)

if TYPE_CHECKING:
    from penstock.protobuf.message import Message
    from penstock.protobuf.schema.descriptor_proto import FileDescriptorProto
    from penstock.protobuf.schema.schema import Schema

__all__ = ["GeneratedModule", "Plan"]

TYPE_NAME: Final = {
    Kind.DOUBLE: "Double",
    Kind.FLOAT: "Float",
    Kind.INT64: "Int64",
    Kind.UINT64: "UInt64",
    Kind.INT32: "Int32",
    Kind.FIXED64: "Fixed64",
    Kind.FIXED32: "Fixed32",
    Kind.UINT32: "UInt32",
    Kind.SFIXED32: "SFixed32",
    Kind.SFIXED64: "SFixed64",
    Kind.SINT32: "SInt32",
    Kind.SINT64: "SInt64",
    Kind.BOOL: "bool",
    Kind.STRING: "str",
    Kind.BYTES: "bytes",
}
"""Kind -> the type of a field of that kind."""

ARRAY_NAME: Final = {kind: f"{name}Array" for kind, name in TYPE_NAME.items()} | {
    Kind.BOOL: "BoolArray",
    Kind.ENUM: "EnumArray",
}
"""Kind -> the type of an array of that kind."""

BUILTINS: Final = frozenset(("bool", "bytes", "dict", "float", "list", "str"))
"""What a module uses without importing it."""

RUNTIME: Final = "penstock.protobuf"
"""Where the names that are no classes of the schema come from."""
PUBLIC: Final = {"penstock.protobuf.well_known.types": "penstock.protobuf.well_known"}
"""Module of a class -> module that it is imported from."""

FIELD_OF_MESSAGE: Final = 2
VALUE_OF_ENUM: Final = 2
"""Numbers in the paths of SourceCodeInfo: DescriptorProto.field, EnumDescriptorProto.value."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What all modules of one schema have in common.

    Args:
        schema: whose classes are written.
        top: name of a file -> what is at the top of it.
        paths: name of a file -> path of its module.
        package: the Python package that the modules stand in.
        mixins: full name of a message -> `module.Class` that it is derived from as well.
        known: full name -> class, of what comes from elsewhere.
        note: what stands below in the docstring of each module, such as a licence.
        width: characters of a line.
    """

    schema: Schema
    top: Mapping[str, Sequence[Definition]]
    paths: Mapping[str, str]
    package: str
    mixins: Mapping[str, str]
    known: Mapping[str, type[Message] | type[Enum]]
    note: str
    width: int

    def module_of(self, file_name: str) -> str:
        """The module of a file, as one imports it."""
        dotted = self.paths[file_name].removesuffix(".py").replace("/", ".")
        return f"{self.package}.{dotted}" if self.package else dotted


class GeneratedModule:
    """Collects its imports while its classes are written.

    A name within a class hides the same name outside it, from type checkers and from Python itself. So what
    is imported, built in or defined here is called otherwise where a field or an inner class has its name.
    """

    def __init__(self, plan: Plan, files: Sequence[FileDescriptorProto]) -> None:
        self.plan = plan
        self.files = {file.name or "": file for file in files}
        top = (each for name in self.files for each in plan.top[name])
        self.top = sorted(top, key=lambda each: isinstance(each, MessageDefinition))  # defaults name enums
        self.comments = {name: comments_of(file) for name, file in self.files.items()}
        self.inner_names = {name for each in self.top for name in names_within(each, plan.schema)}
        self.top_names = [self.class_name(each) for each in self.top]
        self.taken: set[str] = set(BUILTINS) | self.inner_names | set(self.top_names)
        self.imports: dict[tuple[str, str], str] = {}
        self.aliases: dict[str, str] = {}
        self.complete: set[Definition] = set()
        if len(set(self.top_names)) < len(self.top):
            raise SchemaError(f"{', '.join(self.files)} define two classes of one name for the same module")

    def source(self) -> str:
        """The text of the module."""
        statements = [(self.class_name(each), self.top_statement(each)) for each in self.top]
        classes = "\n\n".join(
            f"{text}\n\n{self.aliases[name]} = {name}\n" if name in self.aliases else text
            for name, text in statements  # all of them written, so that aliases and imports are complete
        )
        names = [literal(name) for name in sorted(self.top_names, key=import_order)]
        everything = bracketed("__all__ = [", names, "]", self.plan.width)
        return (
            f"{docstring(self.description(), '')}\nfrom __future__ import annotations\n\n"
            f"{self.import_lines()}\n{everything}\n\n\n{classes}"
        )

    def description(self) -> str:
        """The docstring of the module."""
        names = list(self.files)
        summary = f"Messages of {names[0]}."
        if len(names) > 1:
            summary = "Messages of several files.\n\n" + "\n".join(f"- {name}" for name in names)
        made = "Made by `penstock proto compile`: change the schema, not this."
        return "\n\n".join(part for part in (summary, made, self.plan.note) if part)

    def import_lines(self) -> str:
        """The imports, in isort's order: what is renamed stands on a line of its own."""
        plain: dict[str, list[str]] = {}
        statements: list[tuple[str, str, str]] = []  # module, first name, text
        for (module, name), local in self.imports.items():
            if local == name:
                plain.setdefault(module, []).append(name)
            else:
                statements.append((module, name, f"from {module} import {name} as {local}"))
        for module, names in plain.items():
            first = min(names, key=import_order)
            statements.append((module, first, from_import(module, names, self.plan.width)))
        statements.sort(key=lambda each: (each[0], import_order(each[1])))
        standard = "".join(f"{text}\n" for module, _, text in statements if module == "builtins")
        others = "".join(f"{text}\n" for module, _, text in statements if module != "builtins")
        return "\n".join(part for part in (standard, others) if part)

    def top_statement(self, definition: Definition) -> str:
        """The class of what is at the top of its file; from there on its enums can be named in defaults."""
        text = self.class_statement(definition, "")
        self.complete.add(definition)
        return text

    def class_statement(self, definition: Definition, indent: str) -> str:
        """The class of a message or enum, and what is within it."""
        if isinstance(definition, EnumDefinition):
            return self.enum(definition, indent)
        assert isinstance(definition, MessageDefinition)
        return self.message(definition, indent)

    def enum(self, definition: EnumDefinition, indent: str) -> str:
        """The class of an enum."""
        cls: type[Enum] = self.plan.schema[definition.full_name]
        members = dict(zip(cls.__proto_names__, cls.__members__, strict=True))
        told = [self.imported(RUNTIME, "Enum")]
        if cls.__closed__:
            told.append("closed=True")
        told.append(self.full_name(definition))
        if renamed := [(python, name) for name, python in members.items() if name != python]:
            pairs = ", ".join(f"{literal(python)}: {literal(name)}" for python, name in renamed)
            told.append(f"proto_names={{{pairs}}}")
        lines = [self.header(definition, told, indent)]
        for index, value in enumerate(definition.proto.value):
            lines.append(f"{indent}    {members[value.name or '']} = {value.number}\n")
            lines.append(self.comment(definition, (VALUE_OF_ENUM, index), indent))
        return "".join(lines)

    def message(self, definition: MessageDefinition, indent: str) -> str:
        """The class of a message: what is defined within it comes first, as its fields name it."""
        cls: type[Message] = self.plan.schema[definition.full_name]
        told = [self.imported(RUNTIME, "Message")]
        if definition.full_name in self.plan.mixins:
            module, _, name = self.plan.mixins[definition.full_name].rpartition(".")
            told.insert(0, self.imported(module, name))
        told.append(self.full_name(definition))
        described = describe(cls)
        if described.message_set:
            told.append("message_set=True")
        parts = [self.header(definition, told, indent)]
        inner = indent + "    "
        parts += [self.class_statement(each, inner) for each in definition.nested]
        fields = "".join(
            self.field(cls, each, inner) + self.comment(definition, (FIELD_OF_MESSAGE, index), indent)
            for index, each in enumerate(described.fields)
        )
        parts += [fields] if fields else []
        return "\n".join(parts)

    def header(self, definition: Definition, told: list[str], indent: str) -> str:
        """The class statement and its docstring."""
        first = bracketed(f"{indent}class {self.class_name(definition)}(", told, "):", self.plan.width)
        is_enum = isinstance(definition, EnumDefinition)
        comment = self.comments[definition.file.name or ""].get(definition.path)
        text = comment or f"The {'enum' if is_enum else 'message'} {definition.full_name}."
        return f"{first}\n{docstring(text, indent + '    ')}" + ("\n" if is_enum else "")

    def comment(self, definition: Definition, path: tuple[int, ...], indent: str) -> str:
        """What the schema remarks on a field or on a value of an enum, as a docstring below it."""
        text = self.comments[definition.file.name or ""].get((*definition.path, *path))
        return docstring(text, indent + "    ") if text else ""

    def class_name(self, definition: Definition) -> str:
        """What a class is called in Python, without the classes around it."""
        name: str = self.plan.schema[definition.full_name].__name__
        return name

    def full_name(self, definition: Definition) -> str:
        """The argument of a class statement that gives it its name in the schema."""
        package = definition.file.package or ""
        if definition.outer is None and self.class_name(definition) == definition.name and package:
            return f"package={literal(package)}"
        return f"full_name={literal(definition.full_name)}"

    def field(self, cls: type[Message], each: FieldDescriptor, indent: str) -> str:
        """The declaration of one field."""
        annotation = self.annotation(each)
        told = [str(each.number), *self.told(cls, each)]
        call = self.imported(RUNTIME, "field")
        return annotated(indent, each.name, annotation, call, told, self.plan.width) + "\n"

    def annotation(self, each: FieldDescriptor) -> str:
        """The type of a field, as a type checker and `resolved` understand it."""
        if each.array:
            return self.imported(RUNTIME, ARRAY_NAME[each.kind])
        target = each.message or each.enum
        one = self.reference(target) if target is not None else self.scalar(each.kind)
        if each.shape is Shape.REPEATED:
            return f"{self.builtin('list')}[{one}]"
        if each.key is not None:
            return f"{self.builtin('dict')}[{self.scalar(each.key)}, {one}]"
        is_optional = each.presence is Presence.EXPLICIT and not each.has_declared_default
        return f"{one} | None" if is_optional or each.oneof is not None else one

    def told(self, cls: type[Message], each: FieldDescriptor) -> list[str]:
        """The arguments of `field`: what the annotation does not say."""
        found = []
        if each.has_declared_default:
            found.append(f"default={self.default(cls, each)}")
        if each.presence is Presence.REQUIRED:
            found.append("required=True")
        if each.oneof is not None:
            found.append(f"oneof={literal(each.oneof)}")
        if each.shape is Shape.REPEATED and each.kind in PACKABLE and not each.packed:
            found.append("packed=False")
        if each.kind is Kind.GROUP:
            found.append("group=True")
        if not each.utf8:
            found.append("utf8=False")
        if each.proto_name != each.name:
            found.append(f"name={literal(each.proto_name)}")
        if each.json_name != camel_case(each.proto_name):
            found.append(f"json_name={literal(each.json_name)}")
        return found

    def default(self, cls: type[Message], each: FieldDescriptor) -> str:
        """The default; of an enum its member, where Python knows the enum by then, else its number."""
        if isinstance(each.default, float):
            return literal(each.default).replace("float(", f"{self.builtin('float')}(")
        if not isinstance(each.default, Enum):
            return literal(each.default)
        enum = type(each.default)
        if vars(cls).get(enum.__name__) is enum:
            return f"{enum.__name__}.{each.default.name}"
        is_known = not self.is_ours(enum) or self.definition_of(enum).outermost in self.complete
        if is_known:
            return f"{self.reference(enum)}.{each.default.name}"
        return literal(each.default)

    def scalar(self, kind: Kind) -> str:
        """The type of a value that is neither message nor enum."""
        name = TYPE_NAME[kind]
        return self.builtin(name) if name in BUILTINS else self.imported(RUNTIME, name)

    def reference(self, target: type[Message] | type[Enum]) -> str:
        """How a class is called here, where it is imported first if it is from elsewhere."""
        outermost, *inner = target.__qualname__.split(".")
        if full_name_of(target) in self.plan.known:
            outermost = self.imported(PUBLIC.get(target.__module__, target.__module__), outermost)
        elif not self.is_ours(target):
            file = self.definition_of(target).file
            outermost = self.imported(self.plan.module_of(file.name or ""), outermost)
        elif outermost in self.inner_names:
            if outermost not in self.aliases:
                self.aliases[outermost] = self.free_name(outermost)
            outermost = self.aliases[outermost]
        return ".".join((outermost, *inner))

    def builtin(self, name: str) -> str:
        """What a builtin is called here."""
        is_hidden = name in self.inner_names or name in self.top_names
        return self.imported("builtins", name) if is_hidden else name

    def imported(self, module: str, name: str) -> str:
        """What a name of another module is called here."""
        if (module, name) not in self.imports:
            self.imports[module, name] = self.free_name(name)
        return self.imports[module, name]

    def free_name(self, name: str) -> str:
        """The name, with as many underscores as it takes to be one that nothing else has."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def is_ours(self, target: type[Message] | type[Enum]) -> bool:
        """Whether this module defines a class."""
        return (
            full_name_of(target) not in self.plan.known and self.definition_of(target).file.name in self.files
        )

    def definition_of(self, target: type[Message] | type[Enum]) -> Definition:
        """What the schema says of a class of its own."""
        return self.plan.schema.definitions[full_name_of(target)]


def full_name_of(target: type[Message] | type[Enum]) -> str:
    return target.__full_name__ if issubclass(target, Enum) else describe(target).full_name


def names_within(definition: Definition, schema: Schema) -> Iterator[str]:
    """The attributes that the class of a message, and those within it, will have."""
    if isinstance(definition, MessageDefinition):
        yield from (each.name for each in describe(schema[definition.full_name]).fields)
        for each in definition.nested:
            yield schema[each.full_name].__name__
            yield from names_within(each, schema)


def comments_of(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Path within a file -> what is remarked on what stands there."""
    if file.source_code_info is None:
        return {}
    return {
        tuple(each.path): dedent(text).strip()
        for each in file.source_code_info.location
        if (text := each.leading_comments or each.trailing_comments)
    }
