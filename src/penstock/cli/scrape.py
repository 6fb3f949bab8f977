"""`penstock scrape`: every page of a site, politely, once each."""

import asyncio
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, Protocol, cast

import click

from penstock.cli.durations import DURATION
from penstock.cli.program import INTERRUPTED, program
from penstock.cli.rates import request_rate
from penstock.cli.results import cannot_go_on, drawn, opened, ran_to_its_end, refuse_file_named_twice
from penstock.errors import PenstockError
from penstock.probing.engine import ENGINES
from penstock.services.http_url import MAX_URL
from penstock.services.line_reader import read_lines
from penstock.services.printable import printable
from penstock.services.scraper.config import ScrapeSettings
from penstock.services.scraper.log import JsonLog
from penstock.services.scraper.metrics import Metrics
from penstock.services.scraper.model import CrawlEvent, Page, Progress, Sink, Start
from penstock.services.scraper.report import CsvReport, JsonReport, NdjsonReport, SqliteReport
from penstock.services.scraper.screen import Screen
from penstock.services.scraper.summary import PRIVATE, Summary

if TYPE_CHECKING:  # it needs the libraries of the extra `scrape`
    from penstock.services.scraper.crawler import Crawler

__all__ = ["command"]

EXIT_FAILED = 1
TERMINATED = 128 + signal.SIGTERM
MAX_LINE_BYTES = 4 * MAX_URL
METRICS_INTERVAL = 5.0
MAX_SIZE = 1 << 50
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kmg]?)i?b?", re.ASCII | re.IGNORECASE)


def size_bytes(text: str) -> int:
    """Bytes: `500000`, `500K`, `5M`, `1.5GiB`; a K is 1,024."""
    found = SIZE.fullmatch(text.strip())
    size = 0 if found is None else int(float(found[1]) * UNITS[found[2].lower()])
    if not 1 <= size <= MAX_SIZE:
        raise click.BadParameter(f"{text!r} is no size such as 500K, 5M or 1G")
    return size


def pace(text: str) -> float | None:
    """Requests a second, or None for no limit."""
    return None if text.strip().lower() == "unlimited" else request_rate(text)


def pairs(separator: str, example: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], Any]:
    """A callback that cuts each value in two at its first separator."""

    def cut(
        ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
    ) -> tuple[tuple[str, str], ...]:
        cuts = [value.partition(separator) for value in values]
        for value, (name, found, rest) in zip(values, cuts, strict=True):
            if not (name.strip() and found and rest.strip()):
                raise click.BadParameter(f"{value!r} is not of the form {example}")
        return tuple((name.strip(), rest.strip()) for name, _, rest in cuts)

    return cut


MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)


def media_types(ctx: click.Context, param: click.Parameter, text: str | None) -> frozenset[str] | None:
    """Content types, with a comma between them."""
    if text is None:
        return None
    types = frozenset(part.strip().lower() for part in text.split(","))
    for each in sorted(types):
        if not MEDIA_TYPE.fullmatch(each):
            raise click.BadParameter(f"{each!r} is no content type such as text/html")
    return types


EXAMPLES = """\b
Examples:
  penstock scrape https://example.com --depth 2 --csv pages.csv
  penstock scrape https://example.com --select head=h1 --select img=img@src \\
      --ndjson pages.ndjson
  penstock scrape --urls-file urls.txt --depth 0 --rate 2 --sqlite pages.db
  penstock scrape https://example.com --sitemaps --state example.crawl
  penstock scrape --state example.crawl --json pages.json  # goes on with it
  penstock scrape http://127.0.0.1:8000/ --allow-private --check-links

\b
Exit codes:
  0    pages were fetched, and all had a status below 400; what robots.txt or
       another rule refused is no failure
  1    a page failed, a link is broken, nothing was fetched at all, or
       --timeout ended the crawl
  2    the command was wrong, or a file could not be read or written
  130  Ctrl-C (143: SIGTERM); the files hold what was done, and a --state can
       be gone on with
"""

FILE = click.Path(dir_okay=False)
FILE_OR_STDOUT = click.Path(dir_okay=False, allow_dash=True)


def number(least: int, most: int | None = None) -> click.IntRange:
    return click.IntRange(least, most)


@click.command(
    "scrape",
    no_args_is_help=True,
    short_help="Fetch every page of a site, politely, once each.",
    epilog=EXAMPLES,
)
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option(
    "--urls-file",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
    metavar="F",
    help="Also begin with the URLs of this file, one a line; blank lines and # comments are skipped. "
    "- is standard input.",
)
@click.option(
    "--state",
    type=FILE,
    metavar="F",
    help="Keep what was fetched and what is still to be fetched in this file (SQLite), and go on from it if "
    "it is there: after Ctrl-C, a crash or kill -9 nothing that has a row is fetched again.",
)
@click.option(
    "--depth",
    type=number(0),
    metavar="N",
    help="Follow links up to so many steps from the URLs given; 0 fetches only those.  [default: no limit]",
)
@click.option(
    "--pages", type=number(1), default=10_000, show_default=True, metavar="N", help="Fetch at most so many."
)
@click.option("--pages-per-host", type=number(1), metavar="N", help="The same for each host.")
@click.option(
    "--scope",
    type=click.Choice(("host", "domain", "any")),
    default="host",
    show_default=True,
    help="Follow links to the hosts of the URLs given, to their subdomains too, or anywhere.",
)
@click.option(
    "--domains",
    multiple=True,
    metavar="D,...",
    help="Follow links to these domains and their subdomains as well; may be given again.",
)
@click.option("--sitemaps", is_flag=True, help="Also fetch the pages that the sitemaps of a site list.")
@click.option(
    "--select",
    "selectors",
    multiple=True,
    callback=pairs("=", "NAME=CSS, such as title=h1 or image=img@src"),
    metavar="NAME=CSS",
    help="Take the texts of these elements from each page, or with CSS@ATTRIBUTE an attribute of theirs; may "
    "be given again.",
)
@click.option(
    "--check-links",
    is_flag=True,
    help="Look for broken links: ask for pages outside the scope too, but do not read them.",
)
@click.option(
    "--rate",
    type=pace,
    default="10",
    show_default=True,
    metavar="R",
    help="Requests a second to one host, or a period: 5, 0.5, 30/minute, or unlimited. A Crawl-delay of its "
    "robots.txt slows it further, and so does a Retry-After.",
)
@click.option(
    "--burst",
    type=number(1, 1_000_000),
    default=1,
    show_default=True,
    metavar="N",
    help="Requests that a host may get at once after a pause.",
)
@click.option(
    "--per-host",
    type=number(1, 10_000),
    default=8,
    show_default=True,
    metavar="N",
    help="Requests in progress at once to one host.",
)
@click.option(
    "--concurrency",
    type=number(1, 10_000),
    default=32,
    show_default=True,
    metavar="N",
    help="Pages in progress at once in all.",
)
@click.option(
    "--request-timeout",
    type=DURATION,
    default="15s",
    show_default=True,
    metavar="TIME",
    help="For one request with its body: 1200ms, 15s, 2m, or plain seconds.",
)
@click.option("--timeout", type=DURATION, metavar="TIME", help="For the whole crawl; it ends as with Ctrl-C.")
@click.option(
    "--grace",
    type=DURATION,
    default="5s",
    show_default=True,
    metavar="TIME",
    help="For pages in flight to finish once the crawl is to end.",
)
@click.option(
    "--retries",
    type=number(0, 100),
    default=2,
    show_default=True,
    metavar="N",
    help="Further attempts where there was no answer, or 429, or 5xx; after up to 0.5 s, then up to twice "
    "that, up to 30 s, or when Retry-After says.",
)
@click.option(
    "--ignore-robots",
    is_flag=True,
    help="Do not ask for robots.txt. Only where the site is yours, or its owner agrees.",
)
@click.option(
    "--max-crawl-delay",
    type=DURATION,
    default="30s",
    show_default=True,
    metavar="TIME",
    help="A longer Crawl-delay of a robots.txt counts as this.",
)
@click.option("--follow-nofollow", is_flag=True, help="Follow links that are marked nofollow too.")
@click.option(
    "--allow-private",
    is_flag=True,
    help="Connect to private, loopback and link-local addresses too: for sites of your own network.",
)
@click.option(
    "--max-size",
    type=size_bytes,
    default="5M",
    show_default=True,
    metavar="SIZE",
    help="Of one page, compressed and decompressed; the rest is not read.",
)
@click.option(
    "--types",
    callback=media_types,
    metavar="T,...",
    help="Content types that are read for links and texts, as HTML; of others the head alone is.  [default: "
    "text/html,application/xhtml+xml]",
)
@click.option("--max-bytes", type=size_bytes, metavar="SIZE", help="Of all pages together.")
@click.option("--sort-query", is_flag=True, help="Take ?b=2&a=1 for the same page as ?a=1&b=2.")
@click.option(
    "--keep-tracking",
    is_flag=True,
    help="Keep utm_source, fbclid and the like in links; each is a page then.",
)
@click.option("--user-agent", metavar="TEXT", help="How to introduce yourself; robots.txt is read for it.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    callback=pairs(":", "'NAME: VALUE'"),
    metavar="'NAME: VALUE'",
    help="For every request, to every host; may be given again.",
)
@click.option(
    "--engine", type=click.Choice(ENGINES), default="auto", show_default=True, help="Makes the requests."
)
@click.option(
    "--on-interrupted",
    type=click.Choice(("refetch", "skip")),
    default="refetch",
    show_default=True,
    help="What to do with pages that were in flight when an earlier run was killed.",
)
@click.option(
    "--csv",
    "csv_path",
    type=FILE_OR_STDOUT,
    metavar="F",
    help="Write a CSV row per page. - is standard output, here and for --json and --ndjson; all else is then "
    "shown on standard error, without a line per page.",
)
@click.option(
    "--json", "json_path", type=FILE_OR_STDOUT, metavar="F", help="Write a JSON object per page, in an array."
)
@click.option(
    "--ndjson",
    "ndjson_path",
    type=FILE_OR_STDOUT,
    metavar="F",
    help="Write a JSON object per page, one a line.",
)
@click.option("--sqlite", "sqlite_path", type=FILE, metavar="F", help="Write a table of pages.")
@click.option(
    "--log",
    "log_path",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="F",
    help="Append a JSON object per event: fetches, retries, refusals, traps. - is standard error.",
)
@click.option(
    "--metrics",
    "metrics_path",
    type=FILE,
    metavar="F",
    help="Keep counters and timings in this file, for Prometheus' textfile collector.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show no line per page, only the bar and the summary.")
def command(
    urls: tuple[str, ...],
    urls_file: str | None,
    state: str | None,
    quiet: bool,
    csv_path: str | None,
    json_path: str | None,
    ndjson_path: str | None,
    sqlite_path: str | None,
    log_path: str | None,
    metrics_path: str | None,
    **options: Any,
) -> None:
    """Fetch the pages that URLs lead to, each once, and show a line for each.

    Every page gets a row: status, title, length, links, what was selected, and where it failed, why.
    Links are followed on the hosts of the URLs given. robots.txt is obeyed, each host gets at most 10
    requests a second and a pause when it asks for one, and links that lead nowhere, ever, are left alone:
    calendars, session ids, paths that repeat. Private addresses are refused. A page that is unsound (too
    long, a decompression bomb, endless) is read in part or not at all, and its row says so.
    """
    if not urls and urls_file is None and not (state and os.path.exists(state)):
        raise click.UsageError("Nothing to scrape: give URLs, or --urls-file F, or the --state F of a run.")
    for url in urls:
        if not url.lower().startswith(("http://", "https://")):
            raise click.UsageError(f"{url!r} is no URL of http or https; did you mean {'https://' + url!r}?")
    refuse_file_named_twice(
        "--urls-file, --state, --csv, --json, --ndjson, --sqlite, --log and --metrics",
        *(None if path == "-" else path for path in (urls_file, log_path)),
        *(state, csv_path, json_path, ndjson_path, sqlite_path, metrics_path),
    )
    reports = (csv_path, json_path, ndjson_path, sqlite_path)
    run = Run(settings_of(**options), state, quiet=quiet, gives_rows="-" in reports[:3])

    def work(files: ExitStack) -> Coroutine[Any, Any, None]:
        run.log = None if log_path is None else opened_log(files, log_path)
        run.metrics_path = metrics_path
        run.reports = reports_of(files, *reports, names=run.settings.selectors)
        return run.scrape(starts(urls, None if urls_file is None else opened(files, urls_file)))

    try:
        if not ran_to_its_end(work):
            run.ended_by = signal.SIGINT
    except PenstockError as error:
        raise cannot_go_on(str(error)) from None
    if not run.summary.total and run.ended_by is None and not run.summary.limits:
        raise cannot_go_on(f"{urls_file or state} holds no URLs: write one a line.")
    run.conclude()


def settings_of(
    domains: tuple[str, ...],
    selectors: tuple[tuple[str, str], ...],
    ignore_robots: bool,
    follow_nofollow: bool,
    keep_tracking: bool,
    user_agent: str | None,
    types: frozenset[str] | None,
    **others: Any,
) -> ScrapeSettings:
    """The settings that the options mean.

    Raises:
        UsageError: one of them cannot be.
        ClickException: a library is missing.
    """
    try:
        from penstock.services.scraper.extract import checked_selectors
    except ImportError as error:
        raise cannot_go_on(f"{error}.") from None
    if len(dict(selectors)) < len(selectors):
        raise click.UsageError("--select gives two selectors one name; give each its own.")
    given: dict[str, Any] = {"user_agent": user_agent, "types": types}
    try:
        return ScrapeSettings(
            domains=tuple(name.strip() for part in domains for name in part.split(",") if name.strip()),
            selectors=checked_selectors(dict(selectors)),
            obey_robots=not ignore_robots,
            obey_nofollow=not follow_nofollow,
            drop_tracking=not keep_tracking,
            **{name: value for name, value in given.items() if value is not None},
            **others,
        )
    except PenstockError as error:
        raise click.UsageError(str(error)) from None


class Report(Protocol):
    """Writes rows to a file."""

    def write(self, page: Page, /) -> None: ...


def reports_of(
    files: ExitStack,
    csv_path: str | None,
    json_path: str | None,
    ndjson_path: str | None,
    sqlite_path: str | None,
    *,
    names: Any,
) -> list[Report]:
    """The files that the options name, opened on the stack."""
    reports: list[Report] = []
    if csv_path is not None:
        reports.append(files.enter_context(CsvReport(file_of(csv_path), names)))
    if json_path is not None:
        reports.append(files.enter_context(JsonReport(file_of(json_path))))
    if ndjson_path is not None:
        reports.append(files.enter_context(NdjsonReport(file_of(ndjson_path))))
    if sqlite_path is not None:
        reports.append(files.enter_context(SqliteReport(sqlite_path)))
    return reports


def file_of(path: str) -> str | int:
    """What a report opens: the file, or for `-` standard output, which it may close."""
    return os.dup(1) if path == "-" else path


def opened_log(files: ExitStack, path: str) -> JsonLog:
    """A log that is appended to a file, or to standard error for `-`."""
    file = cast(BinaryIO, sys.stderr.buffer if path == "-" else open(path, "ab"))  # noqa: SIM115 - JsonLog closes it
    return files.enter_context(JsonLog(file, keep_open=path == "-"))


async def starts(urls: tuple[str, ...], fd: int | None) -> AsyncGenerator[Start, None]:
    for url in urls:
        yield Start(url)
    if fd is not None:
        async with aclosing(read_lines(fd, MAX_LINE_BYTES)) as lines:
            async for line in lines:
                yield Start(line.text, line.number)


@dataclass
class Run:
    """One run of the command.

    Attributes:
        settings: of the crawl.
        state: the file to go on from.
        quiet: whether to show no line for a page.
        gives_rows: whether standard output is for the rows alone.
        summary: what was counted.
        reports: files of rows.
        log: of events.
        metrics_path: file of counters.
        ended_by: the signal that ended it, None for none.
        seconds: that it took.
        crawler: once it is there.
    """

    settings: ScrapeSettings
    state: str | None
    quiet: bool
    gives_rows: bool = False
    summary: Summary = field(default_factory=Summary)
    reports: Sequence[Report] = ()
    log: JsonLog | None = None
    metrics_path: str | None = None
    ended_by: signal.Signals | None = None
    seconds: float = 0.0
    crawler: "Crawler | None" = None

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.progress)
        self.screen = Screen(self.progress, is_quiet=self.quiet or self.gives_rows, to_stderr=self.gives_rows)

    def progress(self) -> Progress:
        """How the crawl stands."""
        return Progress() if self.crawler is None else self.crawler.progress

    async def scrape(self, source: AsyncGenerator[Start, None]) -> None:
        """Fetches everything.

        Raises:
            ClickException: the state cannot be read or written.
        """
        from penstock.services.scraper.frontier import StateError

        try:
            async with aclosing(source):
                await self.crawl(source)
        except StateError as error:
            raise cannot_go_on(f"--state {self.state}: {error}") from None

    async def crawl(self, source: AsyncGenerator[Start, None]) -> None:
        """Fetches everything; the rows of earlier runs come first in the reports."""
        from penstock.services.scraper.crawler import open_crawler

        async with open_crawler(self.settings, state=self.state, observer=self.observe) as crawler:
            self.crawler = crawler
            self.report_earlier(crawler)
            began = time.monotonic()
            written: list[Sink] = [report.write for report in self.reports]
            sinks = [self.summary.add_page, self.metrics.add_page, *written, self.screen.show]
            try:
                with self.stopped_by_signals(crawler):
                    async with drawn(self.screen, self.settings.concurrency), self.metrics_written():
                        await crawler.crawl(source, sinks)
            finally:
                self.seconds = time.monotonic() - began

    def report_earlier(self, crawler: "Crawler") -> None:
        """Writes the rows of earlier runs, so that every report is of the whole crawl."""
        with ExitStack() as transactions:
            for report in self.reports:
                if isinstance(report, SqliteReport):
                    transactions.enter_context(report.together())
            for page in crawler.earlier():
                self.summary.add_page(page)
                for report in self.reports:
                    report.write(page)

    def observe(self, event: CrawlEvent) -> None:
        """Takes one event."""
        self.summary.observe(event)
        self.metrics.observe(event)
        if self.log is not None:
            self.log.write(event)

    @contextmanager
    def stopped_by_signals(self, crawler: "Crawler") -> Iterator[None]:
        """Lets the first SIGINT or SIGTERM end the crawl gracefully, and the second at once."""
        loop = asyncio.get_running_loop()

        def stop(number: signal.Signals) -> None:
            if self.ended_by is None:
                self.ended_by = number
                crawler.stop()
            else:
                crawler.stop(0)

        numbers: list[signal.Signals] = []
        with suppress(NotImplementedError):  # Windows: Ctrl-C cancels the task
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop, number)
                numbers.append(number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    @asynccontextmanager
    async def metrics_written(self) -> AsyncGenerator[None, None]:
        """Keeps the file of counters fresh, and whole at the end."""
        path = self.metrics_path
        if path is None:
            yield
            return
        self.metrics.exposition().write(
            path
        )  # now, and not in five seconds, it shows whether it can be written
        writing = asyncio.create_task(self.keep_writing(path))
        try:
            yield
        finally:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            self.metrics.exposition().write(path)

    async def keep_writing(self, path: str) -> None:
        """Writes the counters now and then; a full disk may have room again at the end."""
        while True:
            await asyncio.sleep(METRICS_INTERVAL)
            with suppress(OSError):
                self.metrics.exposition().write(path)

    def conclude(self) -> NoReturn:
        """Prints the summary and ends the command."""
        self.screen.conclude(self.summary, self.progress(), self.seconds, list(self.notes()))
        if self.ended_by is not None:
            sys.exit(TERMINATED if self.ended_by == signal.SIGTERM else INTERRUPTED)
        sys.exit(0 if self.summary.is_sound else EXIT_FAILED)

    def notes(self) -> Iterator[str]:
        """How the crawl ended, and how to go on."""
        refused = self.summary.errors[PRIVATE]
        if refused:
            yield f"{refused:,} refused for their private addresses: --allow-private lets them pass"
        if self.ended_by is not None:
            yield "Interrupted: what was in flight at the end has no row."
        if not self.progress().queued and self.ended_by is None:
            return
        if self.state is not None:
            yield f"Go on with: {printable(program())} {printable(shlex.join(sys.argv[1:]))}"
        elif self.ended_by is not None:
            yield "It begins anew next time; with --state F it could go on."
