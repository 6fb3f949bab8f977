"""`penstock dead-letter`: the packets that a distributor has given up, to look at, to replay, to purge."""

import sys
from collections.abc import Callable, Iterable
from time import sleep
from typing import Any

import click
import msgspec
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from penstock.cli.distributor_api import DistributorApi, api_options
from penstock.cli.program import INTERRUPTED
from penstock.cli.rates import per_second
from penstock.services.printable import one_line, printable

__all__ = ["command"]

LETTERS = "/api/v1/dead-letter"
LOOK_INTERVAL = 0.2
"""Seconds between two looks at how far a replay is."""
MOST_LISTED = 1000
ID_WIDTH = 18


@click.group("dead-letter", short_help="Search, replay or purge what a distributor has given up.")
def command() -> None:
    """Look at the packets that a distributor has given up, replay or purge them.

    Exit status: 0 done, 1 the distributor refused or did not answer, 2 wrong usage.
    """


def time_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --since and --until."""
    since = click.option("--since", metavar="TIME", help="Those that failed then or later, as RFC 3339.")
    until = click.option("--until", metavar="TIME", help="Those that failed before then.")
    return since(until(command))


def choice_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """SEQ... and the options that choose letters: --query, --since, --until and --all."""
    seqs = click.argument("seqs", nargs=-1, type=click.IntRange(min=1), metavar="[SEQ]...")
    query = click.option("--query", "q", metavar="QUERY", help="Those that match, as `search` finds them.")
    everything = click.option("--all", "everything", is_flag=True, help="Every one.")
    return seqs(query(time_options(everything(command))))


limit_option = click.option(
    "--limit",
    type=click.IntRange(1, MOST_LISTED),
    metavar="N",
    default=20,
    show_default=True,
    help="At most so many.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="A line of JSON a letter, whole.")


@command.command("list")
@limit_option
@time_options
@json_option
@api_options
def list_letters(
    limit: int,
    since: str | None,
    until: str | None,
    as_json: bool,
    api: DistributorApi,
) -> None:
    """List dead letters, those that failed last first."""
    show(api.get(LETTERS, {"limit": limit, "since": since, "until": until}), as_json)


@command.command("search")
@click.argument("query")
@limit_option
@click.option("--best", is_flag=True, help="The best match first, not the last failed.")
@time_options
@json_option
@api_options
def search_letters(
    query: str,
    limit: int,
    best: bool,
    since: str | None,
    until: str | None,
    as_json: bool,
    api: DistributorApi,
) -> None:
    """Search dead letters by what they say.

    QUERY is words, +must, -not, "a phrase", prefix*, typo~ and fields such as level:error.
    """
    asked = {
        "q": query,
        "limit": limit,
        "since": since,
        "until": until,
        "order": "relevance" if best else None,
    }
    show(api.get(LETTERS, asked), as_json)


@command.command("get")
@click.argument("seq", type=click.IntRange(min=1))
@api_options
def get_letter(seq: int, api: DistributorApi) -> None:
    """Print one dead letter as JSON."""
    letter = api.get(f"{LETTERS}/{seq}")
    click.echo(msgspec.json.format(msgspec.json.encode(letter), indent=2).decode())


@command.command("replay")
@choice_options
@click.option(
    "--rate",
    type=per_second,
    metavar="N",
    help="At most so many a second. As fast as it goes if not given.",
)
@click.option("--dry-run", is_flag=True, help="Only tell how many it would be.")
@api_options
def replay_letters(
    seqs: tuple[int, ...],
    q: str | None,
    since: str | None,
    until: str | None,
    everything: bool,
    rate: float | None,
    dry_run: bool,
    api: DistributorApi,
) -> None:
    """Send dead letters on their way again, with their old ids.

    They become packets as they were when they came, with no attempt used up. Ctrl-C stops the rest.
    """
    chosen = choice(seqs, q, since, until, everything)
    if dry_run:
        matching = api.post(f"{LETTERS}/replay", chosen | {"dry_run": True})["matching"]
        click.echo(f"{counted(matching)} would be replayed")
        return
    try:
        progress = watched(
            api, api.post(f"{LETTERS}/replay", chosen | ({} if rate is None else {"rate": rate}))
        )
    except KeyboardInterrupt:
        progress = api.ask("DELETE", f"{LETTERS}/replay")
        click.echo(f"stopped; {counted(progress['replayed'])} replayed before")
        sys.exit(INTERRUPTED)
    gone = f", {progress['gone']:,} were gone" if progress["gone"] else ""
    click.echo(f"{counted(progress['replayed'])} replayed{gone}")
    if error := progress.get("error"):
        raise click.ClickException(one_line(error, 500))


def watched(api: DistributorApi, progress: dict[str, Any]) -> dict[str, Any]:
    """Follows a replay to its end, with a bar on standard error if that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=progress["total"])
        while not progress["done"]:
            sleep(LOOK_INTERVAL)
            progress = api.get(f"{LETTERS}/replay")
            bar.update(task, completed=progress["replayed"] + progress["gone"])
    return progress


@command.command("purge")
@choice_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@api_options
def purge_letters(
    seqs: tuple[int, ...],
    q: str | None,
    since: str | None,
    until: str | None,
    everything: bool,
    yes: bool,
    api: DistributorApi,
) -> None:
    """Remove dead letters for good.

    It tells how many they are, and asks, before it does.
    """
    chosen = choice(seqs, q, since, until, everything)
    matching = api.post(f"{LETTERS}/purge", chosen)["matching"]
    if not matching:
        click.echo("no dead letter matches")
        return
    if not yes:
        click.confirm(f"Remove {counted(matching)} for good?", abort=True)
    purged = api.post(f"{LETTERS}/purge", chosen | {"dry_run": False})["purged"]
    click.echo(f"{counted(purged)} removed")


def choice(
    seqs: tuple[int, ...], q: str | None, since: str | None, until: str | None, everything: bool
) -> dict[str, Any]:
    """Which letters are meant, in the words of the API."""
    filters = {
        name: value for name, value in (("q", q), ("since", since), ("until", until)) if value is not None
    }
    if bool(seqs) + bool(filters) + everything != 1:
        raise click.UsageError(
            "name each by its SEQ, or choose by --query, --since and --until, or take --all"
        )
    return {"seqs": seqs} if seqs else filters or {"all": True}


def counted(letters: int) -> str:
    return "1 dead letter" if letters == 1 else f"{letters:,} dead letters"


def show(letters: list[dict[str, Any]], as_json: bool) -> None:
    """Prints letters: a table of 80 columns, or all that there is to them."""
    if as_json:
        for letter in letters:
            click.echo(msgspec.json.encode(letter).decode())
        return
    if not letters:
        click.echo("no dead letters")
        return
    ids = [id_ending(letter["packet"]["id"]) for letter in letters]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    # rich takes from every column alike where they do not fit, and a seq cut off is of no use
    table.add_column("seq", justify="right", min_width=max(len(str(letter["seq"])) for letter in letters))
    table.add_column("failed at", min_width=max(len(letter["failed_at"]) for letter in letters))
    table.add_column("packet", min_width=max(map(len, ids)))
    table.add_column("first message; error")
    for letter, id_ in zip(letters, ids, strict=True):
        error = one_line(letter["final_error"], 60)
        table.add_row(
            str(letter["seq"]),
            letter["failed_at"],
            Text(id_),
            Text(f"{first_message(letter['packet']['messages'])}; {error}", overflow="fold"),
        )
    Console(width=80).print(table)


def id_ending(id_: str) -> str:
    """An id in at most 18 characters: of those that a client makes, the ends differ."""
    text = printable(id_)
    return text if len(text) <= ID_WIDTH else f"…{text[1 - ID_WIDTH :]}"


def first_message(messages: Iterable[dict[str, Any]]) -> str:
    """The level of the first message, and how its text begins."""
    first = next(iter(messages))
    return f"{one_line(first.get('level', 'INFO'), 8)} {one_line(first['message'], 24)}"
