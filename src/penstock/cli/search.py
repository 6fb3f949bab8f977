"""`penstock search`: full-text search over files, without a server."""

from importlib import import_module

import click

__all__ = ["command"]

COMMANDS = {"build": "penstock.cli.search_build", "query": "penstock.cli.search_query"}
"""Command name -> the module that holds it as `command`."""

EXAMPLES = """\b
Examples:
  penstock search build docs --out docs.idx
  penstock search query docs.idx token bucket
  penstock search build corpus.jsonl.xz --out corpus.idx --positions
  penstock search query corpus.idx '"boundary layer" +wing -helicopter'
"""


class SearchGroup(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(COMMANDS[cmd_name]).command
        return found


@click.group("search", cls=SearchGroup, short_help="Index texts, and search them.", epilog=EXAMPLES)
def command() -> None:
    """Index the texts of a folder or a JSONL file, and find the best ones for a query."""
