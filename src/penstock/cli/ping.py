"""`penstock ping`: one request to each of many URLs, or many to a few, and where the time went."""

import asyncio
import gc
import sys
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, aclosing
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Protocol

import click

from penstock.cli.ping_options import (
    how_many,
    how_to_ask,
    how_to_connect,
    what_must_hold,
    what_to_ping,
    where_to_write,
)
from penstock.cli.program import INTERRUPTED
from penstock.cli.results import (
    cannot_go_on,
    is_regular,
    kept_fresh,
    opened,
    ran_to_its_end,
    refuse_file_named_twice,
)
from penstock.errors import InvalidValue
from penstock.probing.request import Request
from penstock.services.pinger.model import PingResult, Target
from penstock.services.pinger.runner import Settings, Sink, ping_all, recorder_of
from penstock.services.pinger.settings import TlsSettings
from penstock.services.pinger.summary import Recorder, RunSummary
from penstock.services.pinger.targets import count_targets, read_targets

__all__ = ["command"]

SUBCOMMANDS = {"diff": "penstock.cli.ping_diff", "serve": "penstock.cli.ping_serve"}
"""First argument -> the module that holds it as `command`; any other is a URL."""

MAX_BODY_BYTES = 64 << 20
EXIT_FAILED = 1
USUAL_INTERVAL = 60.0

EXAMPLES = """\b
Examples:
  penstock ping https://example.com https://example.org/health
  penstock ping --urls-file urls.txt --concurrency 64 --csv results.csv
  grep -o 'https://[^ ]*' notes | penstock ping --urls-file - --retries 2
  penstock ping https://example.com --interval 1s --assert 'status==200'
  penstock ping http://127.0.0.1:8080/ --rate 200 --duration 30s \\
      --assert 'p99<300ms' --assert 'errors<1%' --summary run.json
  penstock ping --targets shops.toml --ndjson results.ndjson
  penstock ping diff yesterday.json run.json
"""


class Screen(Protocol):
    """Shows results and the summary."""

    def show(self, result: PingResult, /) -> None: ...
    async def keep_fresh(self) -> None: ...
    def conclude(self, summary: RunSummary, /) -> None: ...


class PingCommand(click.Command):
    """A command whose first argument may be the name of another one."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in SUBCOMMANDS:
            other: click.Command = import_module(SUBCOMMANDS[args[0]]).command
            return other.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(
    "ping",
    cls=PingCommand,
    no_args_is_help=True,
    short_help="Ping URLs: status, latency and where the time went.",
    epilog=EXAMPLES,
)
@click.argument("urls", nargs=-1, metavar="[URL]...")
@what_to_ping
@how_many
@how_to_ask
@how_to_connect
@what_must_hold
@where_to_write
def command(urls: tuple[str, ...], **given: Any) -> None:
    """Ping every URL, show a line for each as it ends, and a summary.

    Every ping gets its row, also when it fails: status 0 and the reason in plain words. Latency runs from
    looking up the name to the last byte, of the last attempt, in milliseconds; up to 1 MiB of a body is
    read and up to 10 redirects are followed. The summary counts from when a ping was due, so that waiting
    for a free slot is not hidden, and says how late this process itself was.

    Exit code: 0 when every URL answered with a status below 400 and all assertions hold, 1 when one did
    not, 2 when the command was wrong or a file could not be read or written, 130 after Ctrl-C (the files
    then hold what was done).

    More: penstock ping serve pings on schedule and keeps a history; penstock ping diff compares two runs.
    """
    if not urls and given["urls_file"] is None and given["targets_file"] is None:
        raise click.UsageError("Nothing to ping: give URLs, --urls-file F or --targets F.")
    refuse_file_named_twice(
        "--urls-file, --targets, --csv, --json, --ndjson, --summary, --hgrm, --html and --prometheus",
        *(given[name] for name in ("urls_file", "targets_file", *WRITTEN)),
    )
    for read in (given["ca"], given["cert"], given["key"], file_of(given["data"])):
        if read is not None:  # the certificate and its key may be one file
            refuse_file_named_twice(
                f"{read} and the files to be written", read, *(given[name] for name in WRITTEN)
            )
    if given["engine"] == "load" and any(given[name] is not None for name in WRITTEN_ROWS):
        raise click.UsageError(
            "--csv, --json, --ndjson and --prometheus need rows, and --engine load makes none: --summary F."
        )
    try:
        run = Run(urls, given)
        gc.freeze()  # what is here stays: the collector need not walk through it while answers are timed
        interrupted = not ran_to_its_end(run.work)
    except InvalidValue as error:
        raise cannot_go_on(str(error)) from None
    if not run.recorder.overall.pings and not interrupted and not run.fixed:
        raise cannot_go_on(f"{given['urls_file']} holds no URLs: write one a line.")
    summary = run.conclude(interrupted=interrupted)
    sys.exit(INTERRUPTED if interrupted else EXIT_FAILED if not summary.ok else 0)


WRITTEN_ROWS = ("csv_path", "json_path", "ndjson_path", "prometheus_path")
WRITTEN = (*WRITTEN_ROWS, "summary_path", "hgrm_path", "html_path")


class Run:
    """One run of the command.

    Args:
        urls: its arguments.
        given: its options.

    Raises:
        ValueError: an option has a value that is not allowed.
        ClickException: a file cannot be read.
    """

    def __init__(self, urls: tuple[str, ...], given: dict[str, Any]) -> None:
        self.given = given
        self.fixed = [*map(Target, urls), *targets_of_file(given["targets_file"])]
        self.urls_file: str | None = given["urls_file"]
        self.settings = settings_of(given, self.fixed)
        self.recorder = recorder_of(self.settings)
        self.screen = screen_of(self.recorder, self._total(), log=self._logs())
        self._at_the_end: list[tuple[str, Callable[[RunSummary], None]]] = []

    def work(self, files: ExitStack) -> Coroutine[Any, Any, None]:
        """Opens the files of the run; what is returned makes it."""
        sinks = self._sinks(files)
        fd = None if self.urls_file is None else opened(files, self.urls_file)
        return self._ping(fd, sinks)

    def conclude(self, *, interrupted: bool) -> RunSummary:
        """Writes the files that tell of the whole run, and shows its summary."""
        summary = self.recorder.summary(interrupted=interrupted)
        for path, write in self._at_the_end:
            try:
                write(summary)
            except OSError as error:
                raise cannot_go_on(f"{path}: {error.strerror}") from None
        try:
            self.screen.conclude(summary)
        except BrokenPipeError:
            raise  # whoever read our output has gone; click ends quietly
        except OSError as error:
            raise cannot_go_on(f"standard output: {error.strerror}") from None
        return summary

    async def _ping(self, fd: int | None, sinks: list[Sink]) -> None:
        async with (
            kept_fresh(self.screen),
            aclosing(targets(self.fixed, fd, self.settings.duration)) as source,
        ):
            if self.given["engine"] == "load":
                from penstock.services.pinger.load_run import load_all

                await load_all(source, self.settings, self.recorder, threads=self.given["workers"])
            elif self.given["workers"] > 1:
                from penstock.services.pinger.workers import ping_with_workers

                await ping_with_workers(source, sinks, self.settings, self.given["workers"], self.recorder)
            else:
                await ping_all(source, sinks, self.settings, recorder=self.recorder)

    def _sinks(self, files: ExitStack) -> list[Sink]:
        """In this order: what is on the screen is in the files."""
        columns = tuple(filter(None, map(str.strip, (self.given["columns"] or "").split(","))))
        paths = {name: self.given[name] for name in WRITTEN if self.given[name] is not None}
        sinks: list[Sink] = []
        if paths:
            from penstock.services.pinger.report import CsvReport, JsonReport, NdjsonReport

            kinds: dict[str, Callable[..., CsvReport | JsonReport | NdjsonReport]] = {
                "csv_path": CsvReport,
                "json_path": JsonReport,
                "ndjson_path": NdjsonReport,
            }
            for name, kind in kinds.items():
                if name in paths:
                    rows = kind(paths[name], columns)
                    files.enter_context(rows)
                    sinks.append(rows.write)
            from penstock.services.pinger.summary_file import HgrmFile, SummaryFile

            for name, file in (("summary_path", SummaryFile), ("hgrm_path", HgrmFile)):
                if name in paths:
                    self._at_the_end.append((paths[name], file(paths[name]).write))
            sinks += self._reports(paths)
        return [*sinks, self.screen.show]

    def _reports(self, paths: dict[str, str]) -> Iterator[Sink]:
        """What takes results and is written at the end."""
        if "html_path" in paths:
            from penstock.services.pinger.html_report import HtmlReport

            report = HtmlReport(paths["html_path"])
            self._at_the_end.append((paths["html_path"], report.write_page))
            yield report.write
        if "prometheus_path" in paths:
            from penstock.services.pinger.prometheus import PrometheusFile

            textfile = PrometheusFile(paths["prometheus_path"])
            self._at_the_end.append((paths["prometheus_path"], lambda _: textfile.close()))
            yield textfile.write

    def _total(self) -> int | None:
        """How many pings there will be, where it is known."""
        settings = self.settings
        if settings.duration is not None or (settings.interval is not None and settings.count is None):
            return None
        if self.urls_file is not None and not is_regular(self.urls_file):
            return None
        if self.urls_file is None:
            targets = len(self.fixed)
        elif at_a_terminal():  # else nobody sees it
            targets = len(self.fixed) + count_targets(self.urls_file)
        else:
            return None
        return None if settings.all_ips else targets * (settings.count or 1)

    def _logs(self) -> bool:
        if self.given["log"] is not None:
            return bool(self.given["log"])
        return (
            self.settings.rate is None and self.settings.duration is None and self.given["engine"] != "load"
        )


def settings_of(given: dict[str, Any], fixed: Sequence[Target]) -> Settings:
    """The settings that the options say."""
    body = body_of(given["data"])
    headers = list(given["headers"])
    if given["user"] is not None:
        headers.append(("Authorization", f"Basic {b64encode(as_given(given['user'])).decode()}"))
    interval = given["interval"]
    repeats = given["count"] is not None or given["duration"] is not None
    if interval is None and repeats and any(target.interval is not None for target in fixed):
        interval = USUAL_INTERVAL
    settings = Settings(
        concurrency=given["concurrency"],
        timeout=given["timeout"],
        retries=given["retries"],
        engine=given["engine"] if given["engine"] != "load" else "auto",
        keep_alive=given["keep_alive"],
        method=(given["method"] or ("GET" if given["data"] is None else "POST")).upper(),
        headers=tuple(headers),
        body=body,
        follow=not given["no_follow"],
        max_body=given["max_body"],
        count=given["count"],
        duration=given["duration"],
        rate=given["rate"],
        interval=interval,
        gap=given["gap"],
        per_host=given["per_host"],
        retry_budget=given["retry_budget"],
        assertions=(*given["failing"], *given["warning"]),
        all_ips=given["all_ips"],
        family=given["family"] or 0,
        source=given["source"],
        proxy=given["proxy"],
        tls=TlsSettings(given["ca"], given["cert"], given["key"], given["insecure"]),
    )
    # Else every URL would have the same fault in its row.
    Request("http://localhost/", method=settings.method, headers=settings.headers)
    return settings


def as_given(text: str) -> bytes:
    """The bytes of an argument, also where they are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def body_of(data: str | None) -> bytes:
    """The body that --data says: a text, or @F for what is in a file."""
    if data is None:
        return b""
    path = file_of(data)
    if path is None:
        return as_given(data)
    try:
        with open(path, "rb") as file:
            body = file.read(MAX_BODY_BYTES + 1)
    except OSError as error:
        raise cannot_go_on(f"{path}: {error.strerror}") from None
    if len(body) > MAX_BODY_BYTES:
        raise cannot_go_on(f"{path} must be at most {MAX_BODY_BYTES} bytes.")
    return body


def file_of(data: str | None) -> str | None:
    """The file that --data names; None where it does not."""
    return data[1:] if data is not None and data.startswith("@") else None


def targets_of_file(path: str | None) -> tuple[Target, ...]:
    if path is None:
        return ()
    from penstock.services.pinger.target_file import read_target_file

    try:
        return read_target_file(path)
    except OSError as error:
        raise cannot_go_on(f"{path}: {error.strerror}") from None


def at_a_terminal() -> bool:
    """Whether somebody watches; a stream that was closed before the start is None."""
    return any(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))


def screen_of(recorder: Recorder, total: int | None, *, log: bool) -> Screen:
    """What shows the run: plain where nobody watches it at a terminal, which saves starting rich."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every encoding has bars, or the signs of a URL
    if not at_a_terminal():
        from penstock.services.pinger.plain_screen import PlainScreen

        return PlainScreen(log=log)
    from penstock.services.pinger import screen

    return screen.Screen(total, recorder) if log else screen.LoadScreen(recorder)


async def targets(
    fixed: Sequence[Target], fd: int | None, duration: float | None
) -> AsyncGenerator[Target, None]:
    until = None if duration is None else asyncio.get_running_loop().time() + duration
    for target in fixed:
        yield target
    if fd is not None:
        async with aclosing(read_targets(fd, until=until)) as lines:
            async for target in lines:
                yield target
