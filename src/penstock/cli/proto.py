"""`penstock proto`: protobuf files and bytes, without protoc."""

from importlib import import_module

import click

__all__ = ["command"]

COMMANDS = {
    "compile": "penstock.cli.proto_compile",
    "decode": "penstock.cli.proto_decode",
    "list": "penstock.cli.proto_list",
}
"""Command name -> the module that holds it as `command`."""

EXAMPLES = """\b
Examples:
  penstock proto decode message.bin
  penstock proto decode message.bin --schema shop.proto --type shop.Order
  penstock proto list shop.proto
  penstock proto compile shop.proto --out src
"""


class ProtoGroup(click.Group):
    """Imports a command when it is asked for: decoding bytes without a schema needs none of the rest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(COMMANDS[cmd_name]).command
        return found


@click.group(
    "proto", cls=ProtoGroup, short_help="Read protobuf bytes, compile .proto files.", epilog=EXAMPLES
)
def command() -> None:
    """Read protobuf bytes, with or without their schema, and compile .proto files to typed Python."""
