"""`penstock lab`: a simulated server, and what each concurrency pattern costs against it."""

import asyncio
import ipaddress
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from penstock.cli.durations import DURATION
from penstock.cli.event_loop import run
from penstock.cli.program import INTERRUPTED, name_and_version, program
from penstock.cli.results import cannot_go_on, refuse_file_named_twice
from penstock.errors import PenstockError
from penstock.services.lab.config import LATENCIES, Behaviour, Config

if TYPE_CHECKING:
    from penstock.probing.request import Request
    from penstock.services.lab.comparison import Comparison
    from penstock.services.lab.screen import Screen

__all__ = ["command"]

DEFAULTS, LISTENING = Behaviour(), Config()

SHARE = click.FloatRange(0, 1)
RATE = click.FloatRange(0, 1e9)


@click.group("lab", short_help="See what each concurrency pattern costs, on a simulated server.")
def command() -> None:
    """See what each concurrency pattern costs, on a server that behaves as you tell it."""


def behaviour_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that make up a Behaviour."""
    options = [
        click.option(
            "--latency",
            type=click.Choice(LATENCIES),
            default=DEFAULTS.latency,
            show_default=True,
            help="How long answers take: a random walk from 0 to --max-latency, or dice of another kind.",
        ),
        click.option(
            "--max-latency",
            type=DURATION,
            default=DEFAULTS.max_latency,
            show_default="300ms",
            metavar="TIME",
            help="The longest that an answer takes; the length of a constant one.",
        ),
        click.option(
            "--full-rate",
            type=RATE,
            default=DEFAULTS.full_rate,
            show_default=True,
            metavar="N",
            help="Requests a second from which on answers take that long. Below it they are faster in "
            "proportion. 0 when the rate does not matter.",
        ),
        click.option(
            "--error-rate",
            type=SHARE,
            default=DEFAULTS.error_rate,
            show_default=True,
            metavar="SHARE",
            help="Requests that fail with 500 whatever the load is.",
        ),
        click.option(
            "--overload",
            type=click.IntRange(0, 1_000_000),
            default=DEFAULTS.overload,
            show_default=True,
            metavar="N",
            help="In flight beyond which the server may fall into its error state, where half of the "
            "requests fail with 503; the more there are, the likelier and the longer. 0 for never.",
        ),
        click.option(
            "--servers",
            type=click.IntRange(0, 1_000_000),
            default=DEFAULTS.servers,
            metavar="N",
            help="Work on so many requests at once, the others wait; best with --full-rate 0.  "
            "[default: on all]",
        ),
        click.option(
            "--queue",
            type=click.IntRange(0, 1_000_000),
            default=DEFAULTS.queue,
            show_default=True,
            metavar="N",
            help="With --servers: more do not wait, they get 503.",
        ),
        click.option(
            "--limit",
            type=RATE,
            default=DEFAULTS.limit,
            metavar="N",
            help="Requests a second; what comes faster gets 429 and Retry-After.  [default: none]",
        ),
        click.option(
            "--hang",
            type=SHARE,
            default=DEFAULTS.hang,
            metavar="SHARE",
            help="Requests that are never answered.  [default: 0]",
        ),
        click.option(
            "--reset",
            type=SHARE,
            default=DEFAULTS.reset,
            metavar="SHARE",
            help="Requests whose connection is reset.  [default: 0]",
        ),
        click.option(
            "--seed",
            type=int,
            default=DEFAULTS.seed,
            show_default=True,
            metavar="N",
            help="Of all dice.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


Kind = TypeVar("Kind")


def checked(kind: Callable[..., Kind], **settings: Any) -> Kind:
    """A Behaviour or Settings of what was told on the command line."""
    try:
        return kind(**settings)
    except PenstockError as error:
        raise click.UsageError(str(error)) from None


SERVE_EXAMPLES = """\b
Examples:
  penstock lab serve
  penstock lab serve --latency constant --max-latency 2ms --full-rate 0 --overload 0
  penstock lab serve --latency lognormal --full-rate 0 --servers 8 --queue 100
  penstock lab serve --limit 500 --hang 0.001 --reset 0.01
"""


@command.command("serve", epilog=SERVE_EXAMPLES)
@click.option(
    "--host", metavar="HOST", default=LISTENING.host, show_default=True, help="Address to listen on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=LISTENING.port,
    show_default=True,
    help="Port to listen on, 0 for a free one.",
)
@behaviour_options
def serve(host: str, port: int, **settings: Any) -> None:
    """Serve the simulated server.

    GET /data is answered after a latency that walks at random and rises with the rate of requests; about
    1 % of them fail, and under load the server falls into an error state. The same seed and the same
    arrivals give the same answers. / tells its figures, /metrics tells them to Prometheus.

    Exit code: 0 after Ctrl-C or SIGTERM, once answers under way are given; 1 when it cannot listen; 2 when
    the command was wrong or standard output cannot be written.
    """
    from penstock.services.lab.app import serve as serve_lab

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    behaviour = checked(Behaviour, **settings)
    try:
        run(serve_lab(behaviour, Config(host=host, port=port), announce))
    except PenstockError as error:
        raise click.ClickException(str(error)) from None


def announce(url: str) -> None:
    """The lines that a person wants to see first."""
    with writing_to("standard output"):
        click.echo(name_and_version())
        click.echo(f"  answers  {url}/data")
        click.echo(f"  figures  {url}/")
        click.echo(f"  try      {program()} lab compare --url {url}/data")
        click.echo("Ctrl-C stops it.")


PATTERN_NAMES = ("sequential", "unbounded", "bounded", "backpressure", "pipeline", "rate-limited")
ENGINE_NAMES = ("auto", "socket", "protocol", "aiohttp")
REQUESTS, STRANGERS_REQUESTS = 7_500, 500

COMPARE_EXAMPLES = """\b
Examples:
  penstock lab compare --html comparison.html
  penstock lab compare --requests 1500 --patterns bounded,backpressure
  penstock lab compare --latency constant --max-latency 2ms --full-rate 0 --overload 0
  penstock lab compare --latency lognormal --full-rate 0 --servers 8 --overload 0
  penstock lab compare --url http://127.0.0.1:8000/ --json figures.json
"""


def pattern_names(ctx: click.Context, param: click.Parameter, text: str) -> tuple[str, ...]:
    """The names in a list with commas, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in PATTERN_NAMES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(PATTERN_NAMES)}")
    return names


@command.command(
    "compare", epilog=COMPARE_EXAMPLES, short_help="Run every pattern, and show which costs what."
)
@click.option(
    "--requests",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help=f"For each pattern.  [default: {REQUESTS}, {STRANGERS_REQUESTS} with a --url elsewhere]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 10_000),
    default=15,
    show_default=True,
    metavar="N",
    help="Requests at once, where a pattern has a fixed bound; backpressure begins with as many.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.001, 1e6),
    default=500.0,
    show_default=True,
    metavar="N",
    help="Requests a second of rate-limited. It does not find out what the server bears, you tell it.",
)
@click.option(
    "--patterns",
    callback=pattern_names,
    default=",".join(PATTERN_NAMES),
    metavar="NAMES",
    help="Which ones, with commas between them, in this order.  [default: all]",
)
@click.option(
    "--timeout", type=DURATION, default="30s", show_default=True, metavar="TIME", help="For one request."
)
@click.option(
    "--engine",
    type=click.Choice(ENGINE_NAMES),
    default="auto",
    show_default=True,
    help="What makes the requests.",
)
@click.option(
    "--url",
    metavar="URL",
    help="GET this, on a server of yours, in place of the simulated one. One on another machine gets at "
    f"most {STRANGERS_REQUESTS} requests from each pattern.",
)
@click.option("--uncapped", is_flag=True, help="Lifts that cap; for a server that is yours to break.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), metavar="F", help="Write all figures.")
@click.option(
    "--markdown", "markdown_path", type=click.Path(dir_okay=False), metavar="F", help="Write the table."
)
@click.option(
    "--html", "html_path", type=click.Path(dir_okay=False), metavar="F", help="Write a page with plots."
)
@behaviour_options
def compare(
    requests: int | None,
    workers: int,
    rate: float,
    patterns: tuple[str, ...],
    timeout: float,
    engine: Any,
    url: str | None,
    uncapped: bool,
    json_path: str | None,
    markdown_path: str | None,
    html_path: str | None,
    **behaviour: Any,
) -> None:
    """Run every concurrency pattern against the simulated server, and tell what each costs.

    Each pattern makes the same requests, in a process of its own and to a server that has just begun, with
    the same seed. Told are latency, time, goodput, errors, requests at once, memory, garbage collections
    and processor time; --html plots them over time. All six take one and a half minutes: sequential
    needs the longest, although the server is quicker for whoever asks less often.

    Exit code: 0 when every pattern was measured, whatever its errors; 1 when one could not be; 2 when the
    command was wrong, or a file or standard output cannot be written; 130 after Ctrl-C (the files then hold
    what was done).
    """
    from penstock.services.lab.comparison import Comparison
    from penstock.services.lab.patterns import Settings
    from penstock.services.lab.screen import Screen

    refuse_file_named_twice("--json, --markdown and --html", json_path, markdown_path, html_path)
    most = checked_requests(url, requests, uncapped)
    settings = checked(
        Settings, url=url or "", requests=most, workers=workers, rate=rate, timeout=timeout, engine=engine
    )
    if url:
        refuse_behaviour(behaviour)
    comparison = Comparison(settings, None if url else checked(Behaviour, **behaviour))
    with ExitStack() as files:
        reports = [
            (opened_for_writing(files, path), write)
            for path, write in ((json_path, as_json), (markdown_path, as_markdown), (html_path, as_html))
            if path is not None
        ]
        screen = Screen(len(patterns))
        try:
            interrupted = not compared(comparison, patterns, screen)
        finally:  # also when a pattern failed: the others have been measured
            write_reports(comparison, reports)
    sys.exit(INTERRUPTED if interrupted else 0)


def compared(comparison: "Comparison", patterns: Sequence[str], screen: "Screen") -> bool:
    """Runs the comparison and prints what was measured; False when Ctrl-C ended it."""
    from penstock.services.lab.comparison import compare as compare_patterns

    interrupted = False
    try:
        with screen:
            asyncio.run(compare_patterns(comparison, patterns, screen))
    except KeyboardInterrupt:
        interrupted = True
    except PenstockError as error:
        raise click.ClickException(str(error)) from None
    finally:
        with writing_to("standard output"):
            screen.conclude(comparison, interrupted=interrupted)
    return not interrupted


def refuse_behaviour(names: Iterable[str]) -> None:
    """Says that a server of the user's does not behave as these options tell it, if one was given."""
    ctx = click.get_current_context()
    for name in names:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is about the simulated server, --url takes its place.")


def checked_requests(url: str | None, requests: int | None, uncapped: bool) -> int:
    """How many requests each pattern makes; a stranger's server is not to be broken by mistake."""
    if url is None:
        return requests or REQUESTS
    from penstock.probing.request import Request

    try:
        asked = Request(url)
    except PenstockError as error:
        raise click.BadParameter(f"{url!r}: {error}", param_hint="--url") from None
    if uncapped or is_here(asked):
        return requests or REQUESTS
    if (requests or 0) > STRANGERS_REQUESTS:
        raise click.UsageError(
            f"{asked.host} is on another machine: each pattern sends it at most {STRANGERS_REQUESTS} "
            f"requests, got --requests {requests}. --uncapped lifts that, for a server that is yours."
        )
    return requests or STRANGERS_REQUESTS


def is_here(request: "Request") -> bool:
    """Whether a request stays on this machine."""
    if request.host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(request.host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def opened_for_writing(files: ExitStack, path: str) -> IO[bytes]:
    """A file that was emptied now, so that nobody waits for minutes to hear that it cannot be written."""
    try:
        return files.enter_context(open(path, "wb"))
    except OSError as error:
        raise cannot_go_on(f"{path}: {error.strerror}") from None


def as_json(comparison: "Comparison") -> bytes:
    return comparison.as_json()


def as_markdown(comparison: "Comparison") -> bytes:
    from penstock.services.lab.table import markdown

    return markdown(comparison).encode()


def as_html(comparison: "Comparison") -> bytes:
    from penstock.services.lab.page import page

    return page(comparison).encode()


Report = Callable[["Comparison"], bytes]


def write_reports(comparison: "Comparison", reports: Sequence[tuple[IO[bytes], Report]]) -> None:
    """Writes each of the files; also the others where one cannot be written."""
    with ExitStack() as each:
        for file, report in reversed(reports):
            each.callback(write_report, file, report, comparison)


def write_report(file: IO[bytes], report: Report, comparison: "Comparison") -> None:
    with writing_to(file.name):
        file.write(report(comparison))
        file.flush()


@contextmanager
def writing_to(name: str) -> Iterator[None]:
    """Says in words that something cannot be written."""
    try:
        yield
    except OSError as error:
        raise cannot_go_on(f"{name}: {error.strerror}") from None
