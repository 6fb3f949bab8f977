"""`penstock proto list`: the messages and enums of a schema."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.cli.proto_schema import import_option, message_named, own_names, printing, read_schema
from penstock.protobuf.declaration import describe
from penstock.protobuf.descriptors import FieldDescriptor, Presence, Shape
from penstock.protobuf.kinds import PACKABLE, Kind

if TYPE_CHECKING:
    from penstock.protobuf.enums import Enum
    from penstock.protobuf.message import Message
    from penstock.protobuf.schema.schema import Schema

__all__ = ["command"]

MOST_NAMED = 4

EXAMPLES = """\b
Examples:
  penstock proto list shop.proto
  penstock proto list shop.proto Order
"""


@click.command("list", no_args_is_help=True, short_help="List the messages of a schema.", epilog=EXAMPLES)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("type_name", required=False, metavar="[TYPE]")
@import_option
def command(file: Path, type_name: str | None, include: tuple[Path, ...]) -> None:
    """List the messages and enums of FILE, a .proto file or a descriptor set.

    With TYPE, such as shop.Order or Order, list the fields of that message or the numbers of that enum.

    Exit code: 0, or 2 when the command or a file was wrong.
    """
    schema = read_schema(file, include)
    table = table_of(schema) if type_name is None else table_of_type(schema, type_name, file)
    console = Console(highlight=False)
    with printing():
        console.print(table, soft_wrap=not console.is_terminal)


def table_of(schema: Schema) -> Table:
    """A row for each message and enum."""
    table = Table("message or enum", box=box.SIMPLE_HEAD)
    table.add_column("fields", justify="right")
    for name in own_names(schema.messages):
        table.add_row(Text(name), str(len(describe(schema.messages[name]).fields)))
    for name in own_names(schema.enums):
        table.add_row(Text(name), Text(in_short(schema.enums[name].__proto_names__)))
    return table


def table_of_type(schema: Schema, name: str, file: Path) -> Table:
    """The fields of a message, or the numbers of an enum; a message goes first where both have the name."""
    ends = f".{name}"
    messages, enums = (
        [each for each in known if each == name or each.endswith(ends)]
        for known in (schema.messages, schema.enums)
    )
    if len(enums) == 1 and not messages:
        return table_of_numbers(schema.enums[enums[0]])
    return table_of_fields(message_named(schema, name, file))


def table_of_numbers(enum: type[Enum]) -> Table:
    """A row for each name of an enum."""
    title = f"{enum.__full_name__}, {'closed' if enum.__closed__ else 'open'}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("number", justify="right")
    table.add_column("name", overflow="fold")
    for name, number in enum.__proto_names__.items():
        table.add_row(str(number), Text(name))
    return table


def table_of_fields(message: type[Message]) -> Table:
    """A row for each field, by ascending number."""
    table = Table(title=describe(message).full_name, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("number", justify="right")
    for title in ("field", "type", ""):
        table.add_column(title, overflow="fold")
    for each in describe(message).by_number.values():
        table.add_row(str(each.number), Text(each.proto_name), Text(type_of(each)), Text(remarks_on(each)))
    return table


def type_of(field: FieldDescriptor) -> str:
    """The type of a field as a `.proto` file says it."""
    value = field.kind.name.lower()
    if field.message is not None:
        value = describe(field.message).full_name
    elif field.enum is not None:
        value = field.enum.__full_name__
    if field.key is not None:
        return f"map<{field.key.name.lower()}, {value}>"
    return f"repeated {value}" if field.shape is Shape.REPEATED else value


def remarks_on(field: FieldDescriptor) -> str:
    """What else there is to say of it."""
    remarks = [f"oneof {field.oneof}"] if field.oneof else []
    if field.presence is Presence.REQUIRED:
        remarks.append("required")
    elif field.presence is Presence.EXPLICIT and field.message is None and not field.oneof:
        remarks.append("optional")
    if field.has_declared_default:
        remarks.append(f"default {field.default!r}")
    if field.kind is Kind.GROUP:
        remarks.append("group")
    if field.shape is Shape.REPEATED and field.kind in PACKABLE and not field.packed:
        remarks.append("not packed")
    if field.name != field.proto_name:
        remarks.append(f"in Python {field.name}")
    return ", ".join(remarks)


def in_short(numbers: dict[str, int]) -> str:
    """The first names of an enum."""
    first = [f"{name} = {number}" for name, number in islice(numbers.items(), MOST_NAMED)]
    return ", ".join(first) + (", …" if len(numbers) > MOST_NAMED else "")
