"""`penstock ping`: one GET to each of many URLs."""

import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import ExitStack, aclosing
from typing import Any

import click

from penstock.cli.durations import DURATION
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
from penstock.services.outcomes import Outcomes
from penstock.services.pinger.model import Target
from penstock.services.pinger.report import CsvReport, JsonReport
from penstock.services.pinger.runner import Settings, Sink, ping_all
from penstock.services.pinger.screen import Screen
from penstock.services.pinger.targets import count_targets, read_targets

__all__ = ["command"]


EXAMPLES = """\b
Examples:
  penstock ping https://example.com https://example.org/health
  penstock ping --urls-file urls.txt --concurrency 64 --csv results.csv
  grep -o 'https://[^ ]*' notes | penstock ping --urls-file - --retries 2
"""


@click.command(
    "ping", no_args_is_help=True, short_help="GET every URL once, and write a row for each.", epilog=EXAMPLES
)
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option(
    "--urls-file",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
    metavar="F",
    help="Also ping the URLs of this file, one a line; blank lines and # comments are skipped. "
    "- is standard input.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    metavar="N",
    help="URLs in progress at once.",
)
@click.option(
    "--timeout",
    type=DURATION,
    default="1200ms",
    show_default=True,
    metavar="TIME",
    help="For one attempt, with redirects and body: 1200ms, 1.5s, 2m, or plain seconds.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=0,
    show_default=True,
    metavar="N",
    help="Further attempts where there was no answer, or 429, or 5xx; 0.1 to 0.2 s later, then "
    "twice that, up to 10 s, or when Retry-After says.",
)
@results_options("URL")
def command(
    urls: tuple[str, ...],
    urls_file: str | None,
    concurrency: int,
    timeout: float,
    retries: int,
    csv_path: str | None,
    json_path: str | None,
) -> None:
    """GET every URL once, show a line for each as it ends, and a outcomes.

    Every URL gets its row, also when it fails: status 0 and the reason in plain words. Latency runs from
    connecting to the last byte of the last attempt, in milliseconds; up to 1 MiB of a body is read and up
    to 10 redirects are followed.

    Exit code: 0 when every URL answered with a status below 400, 1 when one did not, 2 when the command
    was wrong or a file could not be read or written, 130 after Ctrl-C (the files then hold what was done).
    """
    if not urls and urls_file is None:
        raise click.UsageError("Nothing to ping: give URLs, or --urls-file F.")
    refuse_file_named_twice("--urls-file, --csv and --json", urls_file, csv_path, json_path)
    outcomes, screen = Outcomes(), Screen(total_if_known(urls, urls_file))
    settings = Settings(concurrency=concurrency, timeout=timeout, retries=retries)

    def work(files: ExitStack) -> Coroutine[Any, Any, None]:
        written = sinks_of(files, (CsvReport, csv_path), (JsonReport, json_path))
        sinks = [outcomes.add, *written, screen.show]  # in this order: what is on the screen is in the files
        fd = None if urls_file is None else opened(files, urls_file)
        return ping_on_screen(urls, fd, sinks, settings, screen)

    started = time.monotonic()
    interrupted = not ran_to_its_end(work)
    if not outcomes.total and not interrupted:
        raise cannot_go_on(f"{urls_file} holds no URLs: write one a line.")
    screen.conclude(outcomes, time.monotonic() - started, interrupted=interrupted)
    exit_by(outcomes, interrupted=interrupted)


def total_if_known(urls: tuple[str, ...], urls_file: str | None) -> int | None:
    """How many URLs there are, unless they come from a pipe."""
    if urls_file is None:
        return len(urls)
    return len(urls) + count_targets(urls_file) if is_regular(urls_file) else None


async def ping_on_screen(
    urls: tuple[str, ...], fd: int | None, sinks: list[Sink], settings: Settings, screen: Screen
) -> None:
    async with drawn(screen, settings.concurrency), aclosing(targets(urls, fd)) as source:
        await ping_all(source, sinks, settings)


async def targets(urls: tuple[str, ...], fd: int | None) -> AsyncGenerator[Target, None]:
    for url in urls:
        yield Target(url)
    if fd is not None:
        async with aclosing(read_targets(fd)) as lines:
            async for target in lines:
                yield target
