"""`penstock limit`: every request of a file, no faster than a limit."""

import sys
from collections.abc import Coroutine
from contextlib import ExitStack, aclosing, nullcontext
from math import ceil
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from penstock.cli.durations import DURATION
from penstock.cli.program import INTERRUPTED
from penstock.cli.rates import request_rate
from penstock.cli.results import (
    cannot_go_on,
    drawn,
    exit_by,
    is_regular,
    opened,
    ran_to_its_end,
    refuse_file_named_twice,
    results_options,
    sinks_of,
)
from penstock.errors import PenstockError
from penstock.services.caller.flow import Flow
from penstock.services.caller.pace import Pace
from penstock.services.caller.report import CsvReport, JsonReport
from penstock.services.caller.request_file import BadRequests, checked_header, count_requests, read_requests
from penstock.services.caller.runner import Settings, Sink, call_all
from penstock.services.caller.screen import Screen
from penstock.services.caller.summary import Summary

__all__ = ["command"]


def headers_of(ctx: click.Context, param: click.Parameter, lines: tuple[str, ...]) -> dict[str, str]:
    """The headers that `NAME: VALUE` lines are."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise click.BadParameter(f"{line!r} is no header such as 'Authorization: Bearer abc'")
        try:
            checked_header(name.strip(), value.strip())
        except PenstockError as error:
            raise click.BadParameter(str(error)) from None
        headers[name.strip()] = value.strip()
    return headers


EXAMPLES = """\b
Examples:
  penstock limit urls.txt --rate 5 --burst 10
  penstock limit requests.jsonl --rate 100/minute --retries 3 --csv out.csv
  jq -c '{url, id}' items.json | penstock limit - --rate 0.5 -H "X-Key: abc"

\b
A file of requests:
  # a URL is a GET
  https://api.example/items?page=1
  {"method": "POST", "url": "https://api.example/items", "body": {"n": 1}}
  {"url": "https://api.example/me", "headers": {"X-Key": "b"}, "id": "me"}
"""


@click.command(
    "limit",
    no_args_is_help=True,
    short_help="Send every request of a file, no faster than a limit.",
    epilog=EXAMPLES,
)
@click.argument(
    "file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)
)
@click.option(
    "--rate",
    type=request_rate,
    required=True,
    metavar="R",
    help="Requests a second, or a period: 5, 0.5, 5/s, 100/minute, 1000/h.",
)
@click.option(
    "--burst",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Requests that may go at once after a pause.  [default: the rate a second, rounded up]",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    metavar="N",
    help="Requests in progress at once; where servers are slow, this holds the rate below the limit.",
)
@click.option(
    "--timeout",
    type=DURATION,
    default="10s",
    show_default=True,
    metavar="TIME",
    help="For one attempt, with its body: 1200ms, 1.5s, 2m, or plain seconds.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=0,
    show_default=True,
    metavar="N",
    help="Further attempts where there was no answer, or 429, or 5xx (POST and PATCH: only 429, or where "
    "nothing was sent); 0.1 to 0.2 s later, then twice that, up to 10 s, or when Retry-After says. Each "
    "counts against the limit.",
)
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    callback=headers_of,
    metavar="'NAME: VALUE'",
    help="For every request that has none of that name; may be given again.",
)
@results_options("request")
def command(
    file: str,
    rate: float,
    burst: int | None,
    concurrency: int,
    timeout: float,
    retries: int,
    headers: dict[str, str],
    csv_path: str | None,
    json_path: str | None,
) -> None:
    """Send every request of FILE (- is standard input) and never more than the limit allows.

    In any t seconds at most BURST + RATE * t requests are sent, retries included. Requests take their
    turns in the order of the file. Every request gets its row, also when it fails: status 0 and the reason
    in plain words. Redirects are answers and not followed; up to 1 MiB of a body is read.

    The whole file is checked before anything is sent; what comes from a pipe is checked as it comes.

    Exit code: 0 when every request was answered with a status below 400, 1 when one was not, 2 when the
    command or the file was wrong or a file could not be read or written, 130 after Ctrl-C (the files then
    hold what was done).
    """
    refuse_file_named_twice("FILE, --csv and --json", None if file == "-" else file, csv_path, json_path)
    try:
        pace = Pace(rate, max(1, ceil(rate)) if burst is None else burst)
        total = total_if_known(file)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BadRequests as error:
        raise cannot_go_on(f"nothing was sent.\n{error}") from None
    except PenstockError as error:
        raise click.UsageError(str(error)) from None
    settings = Settings(concurrency=concurrency, timeout=timeout, retries=retries, headers=headers)
    summary, flow = Summary(), Flow(concurrency)
    screen = Screen(total, pace, flow, summary)

    def work(files: ExitStack) -> Coroutine[Any, Any, None]:
        written = sinks_of(files, (CsvReport, csv_path), (JsonReport, json_path))
        sinks = [
            summary.add_call,
            *written,
            screen.show,
        ]  # in this order: what is on the screen is in the files
        return call_on_screen(opened(files, file), sinks, pace, settings, flow, screen)

    interrupted = not ran_to_its_end(work)
    if not summary.total and not interrupted:
        raise cannot_go_on(f"{file} holds no requests: write one a line.")
    screen.conclude(interrupted=interrupted)
    exit_by(summary, interrupted=interrupted)


def total_if_known(file: str) -> int | None:
    """How many requests there are, after a check of them all, unless they come from a pipe."""
    if not is_regular(file):
        return None
    console = Console(stderr=True)
    saying = console.status(Text(f"checking {file}")) if console.is_terminal else nullcontext()
    with saying:  # a million lines take ten seconds
        return count_requests(file)


async def call_on_screen(
    fd: int, sinks: list[Sink], pace: Pace, settings: Settings, flow: Flow, screen: Screen
) -> None:
    async with drawn(screen, settings.concurrency), aclosing(read_requests(fd)) as requests:
        await call_all(requests, sinks, pace, settings, flow=flow)
