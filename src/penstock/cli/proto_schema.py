"""What the `penstock proto` commands share: schema files, and one of the messages in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.results import cannot_go_on
from penstock.errors import PenstockError

if TYPE_CHECKING:
    from penstock.protobuf.message import Message
    from penstock.protobuf.schema.schema import Schema

__all__ = [
    "MAX_SCHEMA_BYTES",
    "bytes_of_schema",
    "import_option",
    "message_named",
    "own_names",
    "printing",
    "read_schema",
    "schema_errors",
]

MAX_SCHEMA_BYTES = 64 << 20
MOST_NAMED = 8
IS_MISSING = " is not found; looked in "  # as the compiler says of an import


def import_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option -I."""
    return click.option(
        "-I",
        "--include",
        "include",
        multiple=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="DIR",
        help="Look for imports there; may be repeated. So is the folder of FILE, unless a DIR holds it.",
    )(command)


def read_schema(path: Path, include: tuple[Path, ...]) -> Schema:
    """The messages of a `.proto` file, or of the descriptor set in a file of any other name.

    Raises:
        ClickException: the file cannot be read, or is none.
    """
    from penstock.protobuf.compiler.files import compile_proto
    from penstock.protobuf.schema.schema import load_descriptor_set

    with schema_errors(path):
        if path.suffix == ".proto":
            return compile_proto(path, include=include)
        return load_descriptor_set(bytes_of_schema(path))


@contextmanager
def schema_errors(path: Path) -> Iterator[None]:
    """Ends the command with what is wrong with a schema."""
    try:
        yield
    except OSError as error:
        raise cannot_go_on(f"{error.filename or path}: {error.strerror}") from None
    except PenstockError as error:
        if path.suffix == ".proto":
            hint = "\n-I DIR names the folder that imports start from." if IS_MISSING in str(error) else ""
            raise cannot_go_on(f"{error}{hint}") from None
        raise cannot_go_on(f"{error}\n{path} is read as a descriptor set: its name has no .proto.") from None


@contextmanager
def printing() -> Iterator[None]:
    """Ends the command when standard output takes no more, and says that it is standard output.

    A pipe whose reader has gone is left to click, which ends quietly.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise cannot_go_on(f"standard output: {error.strerror}") from None


def bytes_of_schema(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_SCHEMA_BYTES + 1)
    if len(data) > MAX_SCHEMA_BYTES:
        raise cannot_go_on(f"{path}: a descriptor set must be at most {MAX_SCHEMA_BYTES >> 20} MiB.")
    return data


def message_named(schema: Schema, name: str | None, path: Path) -> type[Message]:
    """The message of that name, with or without its package; the only one there is, when none is given.

    Raises:
        UsageError: there is no such message, or several could be meant.
    """
    if name is not None and name in schema.messages:
        return schema.messages[name]
    names = own_names(schema.messages)
    wanted = names if name is None else [each for each in names if each.endswith(f".{name}")]
    if len(wanted) == 1:
        return schema.messages[wanted[0]]
    if not names:
        raise click.UsageError(f"{path} declares no messages.")
    if name is None:
        raise click.UsageError(
            f"{path} declares {len(names):,} messages, choose one by --type: {listed(names)}."
        )
    if wanted:
        raise click.UsageError(f"{name!r} is several messages of {path}: say {listed(wanted)}.")
    near = [each for each in names if is_like(name, each)] or names
    raise click.UsageError(f"{path} declares no message {name!r}; it has {listed(near)}.")


def is_like(name: str, full_name: str) -> bool:
    """Whether somebody who wrote `name` may have meant this message, with or without its package."""
    return bool(get_close_matches(name, [full_name, full_name.rpartition(".")[2]]))


def own_names(known: Mapping[str, Any]) -> list[str]:
    """The names without those of Google's well-known messages, unless there are no others."""
    own = [name for name in known if not name.startswith("google.protobuf.")]
    return own or list(known)


def listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more:,} more (penstock proto list)" if more > 0 else "")
