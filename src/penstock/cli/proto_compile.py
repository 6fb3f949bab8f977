"""`penstock proto compile`: typed Python modules of .proto files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from penstock.cli.proto_schema import bytes_of_schema, import_option, printing, schema_errors
from penstock.cli.results import cannot_go_on

if TYPE_CHECKING:
    from penstock.protobuf.schema.descriptor_proto import FileDescriptorSet

__all__ = ["command"]

MARK = "`penstock proto compile`"  # stands in the first lines of each module
LONGEST_HEAD = 20_000

EXAMPLES = """\b
Examples:
  penstock proto compile shop.proto --out src
  penstock proto compile -I api api/shop/*.proto --out src/acme --package acme
  penstock proto compile shop.binpb --out src --arrays
"""


@click.command("compile", no_args_is_help=True, short_help="Write typed Python modules.", epilog=EXAMPLES)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Write the modules there.",
)
@import_option
@click.option("--arrays", is_flag=True, help="Have repeated numbers and bools as numpy arrays, not lists.")
@click.option(
    "--package",
    default="",
    metavar="NAME",
    help="The Python package that DIR is, if it is one: modules import each other from there.",
)
def command(
    files: tuple[Path, ...], out: Path, include: tuple[Path, ...], arrays: bool, package: str
) -> None:
    """Write a typed Python module for each FILE and for what it imports; protoc is not needed.

    FILE is a .proto file, or a descriptor set. shop/v1/order.proto becomes shop/v1/order_pb.py, by its name
    from the folder where it was found: see -I. Modules of google.protobuf are not written, as penstock has
    them. All is compiled before anything is written, and only generated files are written over.

    Exit code: 0 when the modules were written, 2 when the command or a file was wrong.
    """
    from penstock.protobuf.schema.generator import generate

    with schema_errors(files[0]), said("compiling"):
        modules = generate(descriptors_of(files, include), arrays=arrays, package=package)
    if not modules:
        raise cannot_go_on("there is nothing to write: the files define no messages or enums of their own.")
    refuse_to_lose(out, modules)
    try:
        for path, source in modules.items():
            write(out / path, source)
    except OSError as error:
        raise cannot_go_on(f"{error.filename or out}: {error.strerror}") from None
    with printing():
        for path in modules:
            click.echo(out / path)


def descriptors_of(files: tuple[Path, ...], include: tuple[Path, ...]) -> FileDescriptorSet:
    """All files in one set, those of `.proto` files with what they import."""
    from penstock.protobuf.compiler.files import compile_files
    from penstock.protobuf.schema.descriptor_proto import FileDescriptorSet

    texts = [each for each in files if each.suffix == ".proto"]
    found = compile_files(texts, include) if texts else FileDescriptorSet()
    known = {each.name for each in found.file}
    for path in files:
        if path.suffix != ".proto":
            new = [
                each
                for each in FileDescriptorSet.from_bytes(bytes_of_schema(path)).file
                if each.name not in known
            ]
            found.file.extend(new)
            known |= {each.name for each in new}
    return found


def refuse_to_lose(out: Path, modules: dict[str, str]) -> None:
    """Refuses to write over what somebody wrote by hand."""
    for path in modules:
        try:
            with (out / path).open(encoding="utf-8", errors="replace") as file:
                head = file.read(LONGEST_HEAD)
        except OSError:  # it is not there; if it is no file, writing it says so
            continue
        if MARK not in head:
            raise cannot_go_on(f"{out / path} was not generated, and would be lost. Choose another --out.")


def write(path: Path, source: str) -> None:
    """Writes the file whole or not at all, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(source, encoding="utf-8")
    os.replace(new, path)


@contextmanager
def said(what: str) -> Iterator[None]:
    """Says on a terminal what is going on; hundreds of files take seconds."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(Text(what)):
            yield
    else:
        yield
