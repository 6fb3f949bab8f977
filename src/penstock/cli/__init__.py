"""The `penstock` command line: one module a command, imported when the command is used."""

from importlib import import_module
from typing import Any

import click

import penstock
from penstock.cli.program import INTERRUPTED, name_and_version

__all__ = ["main"]

COMMANDS = {
    "analyzer": "penstock.cli.analyzer",
    "dead-letter": "penstock.cli.dead_letter",
    "distribute": "penstock.cli.distribute",
    "lab": "penstock.cli.lab",
    "limit": "penstock.cli.limit",
    "ping": "penstock.cli.ping",
    "proto": "penstock.cli.proto",
    "replay": "penstock.cli.replay",
    "scrape": "penstock.cli.scrape",
    "search": "penstock.cli.search",
    "spool": "penstock.cli.spool",
}
"""Command name -> the module that holds it as `command`."""


class LazyGroup(click.Group):
    """Imports a command's module only when that command (or the list of all) is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; Ctrl-C ends it as it ends others, also while it is still being imported."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would say 1, which means that something failed
            ctx.exit(INTERRUPTED)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(penstock.__version__, message=name_and_version())
def main() -> None:
    """High-speed building blocks for Python backends, and the services made of them."""
