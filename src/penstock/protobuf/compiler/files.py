"""Compiles `.proto` files: reads them and what they import, and links all of it."""

from __future__ import annotations

import os
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.errors import InvalidType
from penstock.protobuf.compiler.linker import Linker
from penstock.protobuf.compiler.parser import parse
from penstock.protobuf.compiler.places import Parsed
from penstock.protobuf.compiler.tokens import MOST_CHARACTERS, Source, shortened
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.schema.descriptor_proto import FileDescriptorProto, FileDescriptorSet

if TYPE_CHECKING:
    from penstock.protobuf.schema.schema import Schema

__all__ = ["compile_files", "compile_proto", "compile_text"]

TEXT_NAME: Final = "input.proto"
"""What a text without a file is called."""
BUNDLED: Final = "google.binpb"
"""A FileDescriptorSet of the files that come with protoc; scripts/bundle-protos writes it.

Copyright 2008 Google Inc., BSD-3-Clause: https://github.com/protocolbuffers/protobuf/blob/main/LICENSE
"""


def compile_proto(
    source: str | os.PathLike[str],
    *,
    include: Sequence[str | os.PathLike[str]] = (),
    arrays: bool | Collection[str] = False,
    module: str = "",
) -> Schema:
    """The classes of a `.proto` file and of all that it imports.

    ::

        schema = compile_proto('syntax = "proto3"; package shop; message Order { uint32 order_id = 1; }')
        Order = schema["shop.Order"]

    proto2, proto3 and the editions 2023 and 2024 are understood. `google/protobuf/*.proto` can always be
    imported. Not checked is what edition 2024 says of `local` names and of style.

    Args:
        source: the path of a file, or the text itself, which is a `str` with a line break, `;` or `{` in it.
        include: the folders where imports are looked for, in this order; a file's own folder unless one of
            these holds it.
        arrays: whether repeated numbers are numpy arrays, or the full names of the fields that are.
        module: what the classes say they come from.

    Raises:
        SchemaError: the text is no schema, or an import is missing; it begins with `name:line:column:`.
        TypeError: `include` is one path instead of a sequence of them.
        OSError: the file cannot be read.
    """
    from penstock.protobuf.schema.schema import build

    if isinstance(source, str) and any(each in source for each in "\n;{"):
        files = compile_text(source, include=include, comments=False)
    else:
        files = compile_files([source], include, comments=False)
    return build(files, arrays=arrays, module=module)


def compile_text(
    text: str,
    *,
    name: str = TEXT_NAME,
    include: Sequence[str | os.PathLike[str]] = (),
    comments: bool = True,
) -> FileDescriptorSet:
    """What protoc would write of a text and all that it imports, each file after its imports.

    Args:
        text: at most 16 Mi characters.
        name: what the file is called.
        include: see compile_proto.
        comments: see compile_files.

    Raises:
        SchemaError: see compile_proto.
    """
    loader = Loader(as_paths("include", include), comments=comments)
    loader.load(parse(Source(name, text), comments=comments))
    return loader.linked()


def compile_files(
    paths: Iterable[str | os.PathLike[str]],
    include: Sequence[str | os.PathLike[str]] = (),
    *,
    comments: bool = True,
) -> FileDescriptorSet:
    """What protoc would write with `--include_imports --include_source_info --retain_options`.

    Of the source info there are the places and comments of declarations, not of their parts; what is bundled
    has none.

    Args:
        paths: files; each is known by its path below the first folder of `include` that holds it.
        include: see compile_proto.
        comments: whether source info is wanted; without it they compile in two thirds of the time.

    Raises:
        SchemaError: see compile_proto.
        OSError: one of the files cannot be read.
    """
    given, roots = as_paths("paths", paths), as_paths("include", include)
    roots.extend(path.parent for path in given if below(roots, path) is None)
    loader = Loader(roots, comments=comments)
    for path in given:
        name = below(roots, path)
        assert name is not None  # its own folder is there, at least
        if name not in loader.files:
            loader.load(parse(read(name, path), comments=comments))
    return loader.linked()


class Loader:
    """Reads files and what they import.

    Args:
        roots: folders to look in.
        comments: whether comments are kept.

    Attributes:
        files: name -> file, each after its imports.
    """

    def __init__(self, roots: Sequence[Path], *, comments: bool) -> None:
        self.roots, self.comments = roots, comments
        self.files: dict[str, Parsed] = {}

    def load(self, parsed: Parsed) -> None:
        """Takes a file and all that it imports, however long the chain of imports is.

        Raises:
            SchemaError: an import is missing, is no path, or leads back to the file that imports it.
        """
        waiting: dict[str, tuple[Parsed, Iterator[str]]] = {}
        current: Parsed | None = parsed
        while current is not None:
            name = current.source.name
            if name not in waiting:
                waiting[name] = current, iter((*current.file.dependency, *current.file.option_dependency))
            _, imports = waiting[name]
            missing = next((each for each in imports if each not in self.files), None)
            if missing is None:
                del waiting[name]
                self.files[name] = current
                current = next(reversed(waiting.values()))[0] if waiting else None
            elif missing in waiting:
                circle = " -> ".join([*list(waiting)[list(waiting).index(missing) :], missing])
                raise import_error(current, missing, f"files must not import each other: {circle}")
            else:
                current = self.find(missing, current)

    def find(self, name: str, importer: Parsed) -> Parsed:
        """The file that an import names."""
        if not is_inside(name):
            raise import_error(
                importer,
                name,
                f"an import must be a path within the include folders, got {shortened(name)!a}",
            )
        for root in self.roots:
            path = root / name
            try:
                if path.is_file():
                    return parse(read(name, path), comments=self.comments)
            except OSError as error:
                raise import_error(
                    importer, name, f"{shortened(name)} cannot be read: {error.strerror}"
                ) from None
        bundled = bundled_files().get(name)
        if bundled is None:
            looked = ", ".join(str(root) for root in self.roots) or "no folder, as include is empty"
            raise import_error(importer, name, f"{shortened(name)} is not found; looked in {looked}")
        return bundled

    def linked(self) -> FileDescriptorSet:
        """All files, with their names looked up."""
        linker = Linker(bundled_files()["google/protobuf/descriptor.proto"])
        for name, parsed in self.files.items():
            if parsed is bundled_files().get(name):
                linker.add(parsed)
            else:
                linker.link(parsed)
        return FileDescriptorSet(file=[parsed.file for parsed in self.files.values()])


@cache
def bundled_files() -> dict[str, Parsed]:
    """Name -> file, of the files that can be imported without being anywhere."""
    data = resources.files("penstock.protobuf.compiler").joinpath(BUNDLED).read_bytes()
    files: list[FileDescriptorProto] = FileDescriptorSet.from_bytes(data).file
    return {file.name or "": Parsed(file, Source(file.name or "", "")) for file in files}


def as_paths(name: str, paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Paths of an argument, which must not be one `str`: that would be a path a character."""
    if isinstance(paths, str):
        raise InvalidType(f"{name} must be a sequence of paths, got the str {shortened(paths)!r}")
    return [Path(each) for each in paths]


def import_error(importer: Parsed, name: str, reason: str) -> SchemaError:
    return importer.source.error(importer.places.of(importer.file, f"import {name}"), reason)


def is_inside(name: str) -> bool:
    """Whether an import is a path that cannot leave the folder it is looked for in."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and not any(each in name for each in "\\:\0")


def below(roots: Sequence[Path], path: Path) -> str | None:
    """The path from the first of these folders that holds a file, with slashes; None if none does."""
    absolute = Path(os.path.abspath(path))
    for root in roots:
        folder = Path(os.path.abspath(root))
        if absolute.is_relative_to(folder):
            return absolute.relative_to(folder).as_posix()
    return None


def read(name: str, path: Path) -> Source:
    """The text of a file; bytes that are no UTF-8, as in old comments, become lone surrogates."""
    with path.open("rb") as file:
        data = file.read(4 * MOST_CHARACTERS + 1)
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):  # as some shells and editors of Windows write it
        raise SchemaError(f"{name}:1:1: a file must be UTF-8, got UTF-16")
    return Source(name, data.decode("utf-8", "surrogateescape"))
