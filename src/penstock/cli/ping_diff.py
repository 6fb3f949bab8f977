"""`penstock ping diff`: two runs beside each other, and whether the second is worse."""

import sys

import click

from penstock.cli.durations import DURATION
from penstock.cli.ping_options import Share
from penstock.cli.results import cannot_go_on
from penstock.errors import InvalidValue
from penstock.services.pinger.comparison import Change, Tolerance, compared
from penstock.services.pinger.summary_file import SavedFigures, read_summary_file
from penstock.services.pinger.words import in_columns, in_ms, shortened
from penstock.services.printable import printable

__all__ = ["command"]

EXIT_WORSE = 1
MAX_TITLE = 40

EXAMPLES = """\b
Examples:
  penstock ping http://127.0.0.1/ --rate 100 --duration 30s --summary a.json
  penstock ping http://127.0.0.1/ --rate 100 --duration 30s --summary b.json
  penstock ping diff a.json b.json --slower 20%
"""

FILE = click.Path(exists=True, dir_okay=False, readable=True)


@click.command("diff", no_args_is_help=True, short_help="Compare two runs.", epilog=EXAMPLES)
@click.argument("before", type=FILE)
@click.argument("after", type=FILE)
@click.option(
    "--slower",
    type=Share(),
    default="10%",
    show_default=True,
    metavar="P",
    help="A percentile may grow so much.",
)
@click.option(
    "--floor",
    type=DURATION,
    default="1ms",
    show_default=True,
    metavar="TIME",
    help="And so much in any case: fast answers vary by more than a share.",
)
@click.option(
    "--errors",
    type=Share(),
    default="0%",
    show_default=True,
    metavar="P",
    help="The share of failed pings may grow so much.",
)
@click.option("--all", "show_all", is_flag=True, help="Show what is not worse, too, for each target.")
def command(before: str, after: str, slower: float, floor: float, errors: float, show_all: bool) -> None:
    """Compare two runs by their files of --summary (or --json), and fail when the second is worse.

    Percentiles are of the time from when a ping was due to its last byte. One is judged where enough answers
    are slower than it to say so, five on either side: p50 from 10 answers on, p99 from 500.

    Exit code: 0 when nothing is worse, 1 when something is, 2 when a file could not be read.
    """
    tolerance = Tolerance(slower=slower, floor=round(floor * 1e9), errors=errors)
    changes = compared(read(before), read(after), tolerance)
    shown = [change for change in changes if show_all or change.worse or not change.title]
    rows = [("target", "figure", "before", "after", "change", ""), *map(row, shown)]
    for line in in_columns(rows):
        click.echo(line.rstrip())
    worse = sum(change.worse for change in changes)
    targets = len({change.title for change in changes if change.title})
    click.echo(f"\n{worse:,} of {len(changes):,} figures worse; {targets:,} targets are in both runs")
    sys.exit(EXIT_WORSE if worse else 0)


def read(path: str) -> list[SavedFigures]:
    try:
        return read_summary_file(path)
    except OSError as error:
        raise cannot_go_on(f"{path}: {error.strerror}") from None
    except InvalidValue as error:
        raise cannot_go_on(str(error)) from None


def row(change: Change) -> tuple[str, ...]:
    title = printable(change.title) or "all"
    shown = shortened(title, MAX_TITLE)
    growth = "" if change.growth is None else f"{change.growth:+.1%}"
    verdict = "WORSE" if change.worse else "" if change.judged else "too few"
    return (shown, change.figure, value(change, change.before), value(change, change.after), growth, verdict)


def value(change: Change, figure: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:.2%}" if change.figure == "errors" else f"{in_ms(figure / 1e9)} ms"
