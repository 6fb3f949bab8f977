"""Schemas: the classes of messages and enums that descriptor sets and `.proto` files define."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from types import new_class
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from penstock.protobuf.declaration import declare
from penstock.protobuf.descriptors import FieldDescriptor, MessageDescriptor
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import DecodeError, SchemaError
from penstock.protobuf.message import Message
from penstock.protobuf.options import DecodeOptions
from penstock.protobuf.schema.definitions import (
    LONGEST_NAME,
    Definition,
    EnumDefinition,
    MessageDefinition,
    define,
    define_extensions,
)
from penstock.protobuf.schema.descriptor_proto import FeatureSet, FileDescriptorSet
from penstock.protobuf.schema.fields import FieldMaker
from penstock.protobuf.schema.python_names import KEYWORDS, python_names

if TYPE_CHECKING:
    from penstock.protobuf.schema.descriptor_proto import FileDescriptorProto

__all__ = ["NoSuchType", "Schema", "build", "load_descriptor_set"]

Made = TypeVar("Made")

LIMITS: Final = DecodeOptions(max_elements=1 << 24, max_memory=1 << 30, partial=True)
"""Descriptors take up to 16 times their bytes in memory; an option that is incomplete is of no interest."""

RESERVED_BY_MESSAGE: Final = KEYWORDS.union(dir(Message))
RESERVED_BY_ENUM: Final = KEYWORDS.union(dir(int), dir(Enum), ("mro", "name", "value"))


class NoSuchType(SchemaError, KeyError):
    """A schema has no message or enum of the name that was asked for."""

    __str__ = SchemaError.__str__  # KeyError shows its text in quotes


class Schema(Mapping[str, Any]):
    """The messages and enums of some files, by full name.

    ::

        schema = load_descriptor_set(Path("geo.binpb"))
        Point = schema["geo.Point"]
        data = Point(lat=52.5, lon=13.4).to_bytes()

    A class is made when it is first asked for, and is the same one ever after; one that is defined within a
    message is also an attribute of the class of that message. `google.protobuf.Timestamp` and the other
    well-known types are the classes of `penstock.protobuf.well_known`, in every schema.
    `load_descriptor_set` and `compile_proto` make schemas.

    Names that Python cannot have end in an underscore: the field `class` is the attribute `class_`.
    Extensions are no fields: what is read of them is kept among the unknown fields. Threads may share it.
    """

    def __init__(
        self,
        files: FileDescriptorSet,
        known: Mapping[str, Any],
        *,
        arrays: bool | Collection[str],
        module: str,
        root: type[Message] = Message,
    ) -> None:
        self._files = tuple(files.file)
        self._definitions = define(self._files)
        self._known = known
        self._module = module
        self._root = root
        self._trees: dict[str, dict[str, Any]] = {}
        self._names_of_files: dict[str, dict[str, str]] = {}
        self._fields = FieldMaker(self._definitions, known, self._class_of, arrays)
        for each in self._definitions.values():
            if isinstance(each, MessageDefinition):
                self._fields.check(each)
        self._names = {
            name: self._fields.is_enum(name)
            for name, each in self._definitions.items()
            if not (isinstance(each, MessageDefinition) and each.is_map_entry)
        }
        check_arrays(arrays, self._definitions)

    @property
    def files(self) -> tuple[FileDescriptorProto, ...]:
        """The files, as they were given; not to be changed."""
        return self._files

    @property
    def definitions(self) -> Mapping[str, Definition]:
        """What the files say of each message, each entry of a map and each enum, by full name."""
        return self._definitions

    @property
    def messages(self) -> Mapping[str, type[Message]]:
        """The messages alone, by full name."""
        return Classes([name for name, is_enum in self._names.items() if not is_enum], self._class_of)

    @property
    def enums(self) -> Mapping[str, type[Enum]]:
        """The enums alone, by full name."""
        return Classes([name for name, is_enum in self._names.items() if is_enum], self._class_of)

    @cached_property
    def extensions(self) -> Mapping[str, tuple[str, FieldDescriptor]]:
        """Full name of an extension -> full name of the message that it extends, and its field.

        Extensions stand among the unknown fields of a message; ProtoJSON alone knows them by their names.

        Raises:
            SchemaError: on access, an extension is declared that cannot be.
        """
        return {
            name: self._fields.make_extension(scope, proto)
            for name, (scope, proto) in define_extensions(self._files, self._definitions).items()
        }

    def __getitem__(self, full_name: str) -> Any:
        """The class of the message or enum `full_name`.

        Raises:
            NoSuchType: a SchemaError and KeyError; it names what is spelled alike.
        """
        if full_name not in self._names:
            raise NoSuchType(no_such(full_name, self._names))
        return self._class_of(full_name)

    def get(self, full_name: str, default: Any = None, /) -> Any:
        """The same, or `default`; nobody is told what is spelled alike, which takes a while to find."""
        return self._class_of(full_name) if full_name in self._names else default

    def __contains__(self, full_name: object) -> bool:
        return full_name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    __eq__ = object.__eq__  # comparing two by their items would make every class of both
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Schema of {len(self)} messages and enums in {len(self._files)} files>"

    def _class_of(self, full_name: str) -> Any:
        if full_name in self._known:
            return self._known[full_name]
        top = self._definitions[full_name].outermost
        tree = self._trees.get(top.full_name)
        if tree is None:  # of two threads that come here, the first one's classes win
            tree = self._trees.setdefault(top.full_name, self._tree(top))
        return tree[full_name]

    def _tree(self, top: Definition) -> dict[str, Any]:
        """The classes of a definition at the top of its file and of all that is defined within it."""
        classes: dict[str, Any] = {}
        self._add(classes, top, self._top_names(top.file)[top.name])
        return classes

    def _top_names(self, file: FileDescriptorProto) -> dict[str, str]:
        """What the messages and enums at the top of a file are called in Python."""
        key = file.name or ""
        if key not in self._names_of_files:
            names = [each.name or "" for each in file.enum_type]
            self._names_of_files[key] = python_names(
                [*names, *(each.name or "" for each in file.message_type)]
            )
        return self._names_of_files[key]

    def _add(self, classes: dict[str, Any], definition: Definition, qualname: str) -> Any:
        module = self._module or definition.file.package or definition.file.name or ""
        if isinstance(definition, EnumDefinition):
            made: Any = enum_class(definition, module, qualname)
        else:
            made = self._message_class(classes, cast("MessageDefinition", definition), module, qualname)
        classes[definition.full_name] = made
        return made

    def _message_class(
        self, classes: dict[str, Any], definition: MessageDefinition, module: str, qualname: str
    ) -> type[Message]:
        fields = [each.name or "" for each in definition.proto.field]
        names = python_names([*fields, *(each.name for each in definition.nested)], RESERVED_BY_MESSAGE)

        def describe(_: type[Message]) -> MessageDescriptor:
            fields = self._fields.make(definition, names)
            return MessageDescriptor(definition.full_name, fields, message_set=definition.is_message_set)

        made = declare(
            self._root,
            qualname.rpartition(".")[2],
            [names[each] for each in fields],
            describe,
            module=module,
            qualname=qualname,
        )
        type.__setattr__(made, "__schema__", self)  # where JSON finds what an Any in it may hold
        for each in definition.nested:
            inner = self._add(classes, each, f"{qualname}.{names[each.name]}")
            type.__setattr__(made, names[each.name], inner)
        return made


class Classes(Mapping[str, Made]):
    """Some of the classes of a schema, made when they are asked for."""

    def __init__(self, names: list[str], class_of: Callable[[str], Made]) -> None:
        self._names = dict.fromkeys(names)
        self._class_of = class_of

    def __getitem__(self, full_name: str) -> Made:
        if full_name not in self._names:
            raise NoSuchType(no_such(full_name, self._names))
        return self._class_of(full_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def load_descriptor_set(
    source: bytes | str | os.PathLike[str], *, arrays: bool | Collection[str] = False, module: str = ""
) -> Schema:
    """The schema of a descriptor set, which `protoc --descriptor_set_out --include_imports` writes.

    Args:
        source: the bytes of a FileDescriptorSet, or the path of a file with them; at most 64 MiB.
        arrays: True to have all repeated numbers and bools as numpy arrays; or the full names of the fields
            to have so, such as `geo.Track.samples`; enums (open ones) are arrays only where they are named.
        module: the module that the classes say they come from; pickle looks them up there by their names. The
            package of the schema unless given, which serves people, but not pickle.

    Raises:
        SchemaError: it is no descriptor set, or defines what cannot be; the text says where.
        OSError: the file cannot be read.
    """
    if isinstance(source, (str, os.PathLike)):
        name, data = os.fspath(source), read_bounded(Path(source))
    else:
        name, data = "the bytes", source
    try:
        files = FileDescriptorSet.from_bytes(data, LIMITS)
    except DecodeError as error:
        raise SchemaError(f"{name} must be a FileDescriptorSet: {error}") from error
    return build(files, arrays=arrays, module=module)


def build(files: FileDescriptorSet, *, arrays: bool | Collection[str] = False, module: str = "") -> Schema:
    """The schema of files that are descriptors already; otherwise as `load_descriptor_set`.

    Args:
        files: not to be changed afterwards.
        arrays: which repeated numbers are numpy arrays.
        module: the module that the classes say they come from.
    """
    from penstock.protobuf.well_known import WELL_KNOWN

    return Schema(files, WELL_KNOWN, arrays=arrays, module=module)


def read_bounded(path: Path) -> bytes:
    """The bytes of a file, one more than is allowed at most: that one is refused as too many."""
    with path.open("rb") as file:
        return file.read(LIMITS.max_size + 1)


def enum_class(definition: EnumDefinition, module: str, qualname: str) -> type[Enum]:
    names = python_names([each.name or "" for each in definition.proto.value], RESERVED_BY_ENUM)
    body: dict[str, Any] = {"__module__": module, "__qualname__": qualname}
    body |= {names[each.name or ""]: each.number for each in definition.proto.value}
    told = {
        "closed": definition.features.enum_type == FeatureSet.EnumType.CLOSED,
        "full_name": definition.full_name,
        "proto_names": {python: name for name, python in names.items() if python != name},
    }
    made = new_class(qualname.rpartition(".")[2], (Enum,), told, lambda namespace: namespace.update(body))
    return cast("type[Enum]", made)


def check_arrays(arrays: bool | Collection[str], definitions: Mapping[str, Definition]) -> None:
    """Refuses names of fields that are none, which would otherwise stay lists without a word."""
    if isinstance(arrays, bool):
        return
    if isinstance(arrays, str):
        raise SchemaError(f"arrays must be a bool or a collection of full names, got the str {arrays!r}")
    for name in arrays:
        owner = definitions.get(name.rpartition(".")[0])
        fields = owner.proto.field if isinstance(owner, MessageDefinition) else []
        if all(each.name != name.rpartition(".")[2] for each in fields):
            raise SchemaError(f"arrays must be full names of fields, such as geo.Track.samples, got {name!r}")


def no_such(full_name: object, names: Collection[str]) -> str:
    """That a name is not there, and which one may have been meant."""
    asked = str(full_name)[:LONGEST_NAME]  # it may be from elsewhere: looking for what is near takes time
    last = asked.rpartition(".")[2]
    near = [name for name in names if name.rpartition(".")[2] == last][:3]
    near = near or get_close_matches(asked, names, n=3)
    meant = f", did you mean {' or '.join(near)}?" if near else ""
    return f"the schema has no message or enum {asked!r}{meant}"
