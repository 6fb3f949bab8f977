"""Python modules of schemas: what `penstock proto compile` writes.

A file `shop/v1/order.proto` becomes the module `shop/v1/order_pb.py`: the suffix keeps it apart from a folder
`shop/v1/order`, and from modules of the standard library such as `struct`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from penstock.protobuf.errors import SchemaError
from penstock.protobuf.schema.definitions import define
from penstock.protobuf.schema.generated_module import GeneratedModule, Plan
from penstock.protobuf.schema.schema import Schema
from penstock.protobuf.well_known import WELL_KNOWN

if TYPE_CHECKING:
    from penstock.protobuf.schema.definitions import Definition
    from penstock.protobuf.schema.descriptor_proto import FileDescriptorProto, FileDescriptorSet

__all__ = ["generate", "module_path"]


def module_path(file_name: str) -> str:
    """The path of the module of a file: `a/b-c.proto` gives `a/b_c_pb.py`.

    Raises:
        SchemaError: the name is no relative path.
    """
    parts = file_name.removesuffix(".proto").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise SchemaError(f"the name of a file must be a relative path without . and .., got {file_name!r}")
    names = [re.sub(r"\W", "_", part, flags=re.ASCII) for part in (*parts[:-1], f"{parts[-1]}_pb")]
    return "/".join(f"_{name}" if name[0].isdigit() or iskeyword(name) else name for name in names) + ".py"


def generate(
    files: FileDescriptorSet,
    wanted: Collection[str] | None = None,
    *,
    arrays: bool | Collection[str] = False,
    package: str = "",
    path_of: Callable[[str], str] = module_path,
    mixins: Mapping[str, str] | None = None,
    known: Mapping[str, Any] = WELL_KNOWN,
    note: str = "",
    line_length: int = 88,
) -> dict[str, str]:
    """The Python modules of a schema, with the comments of its files where the descriptors have them.

    Args:
        files: the schema, with all that it imports.
        wanted: the names of the files to make modules of; all but those of well-known types unless given.
        arrays: which repeated numbers are numpy arrays, as in `load_descriptor_set`.
        package: the Python package that the modules will stand in; modules import each other from there.
        path_of: name of a file -> path of its module; files may share one.
        mixins: full name of a message -> `module.Class` that its class is derived from as well.
        known: full name -> class, of what comes from elsewhere; the well-known types unless given.
        note: what stands below in the docstring of each module, such as a licence.
        line_length: characters of a line; the rest is as `ruff format` would have it.

    Returns:
        Path of each module, with `/` between its parts -> its source.

    Raises:
        SchemaError: the files define what cannot be, or a wanted one is not among them.
    """
    by_name = {file.name or "": file for file in files.file}
    definitions = define(files.file)
    if wanted is None:
        top_level = [each for each in definitions.values() if each.outer is None]
        wanted = {each.file.name or "" for each in top_level if each.full_name not in known}
    if missing := [name for name in wanted if name not in by_name]:
        raise SchemaError(f"wanted must be names of files in the descriptor set, got {missing[0]!r}")
    elsewhere = {
        full_name: cls
        for full_name, cls in known.items()
        if full_name not in definitions or definitions[full_name].file.name not in wanted
    }
    schema = Schema(files, elsewhere, arrays=arrays, module="")
    top: dict[str, list[Definition]] = {name: [] for name in by_name}
    for each in schema.definitions.values():
        if each.outer is None:
            top[each.file.name or ""].append(each)
    paths = {name: path_of(name) for name in by_name}
    modules: dict[str, list[FileDescriptorProto]] = {}
    for name, file in by_name.items():
        if name in wanted and top[name]:
            modules.setdefault(paths[name], []).append(file)
    plan = Plan(schema, top, paths, package, mixins or {}, elsewhere, note, line_length)
    return {path: GeneratedModule(plan, together).source() for path, together in modules.items()}
