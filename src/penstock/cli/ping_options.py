"""The options of `penstock ping`, in groups, and how their values are read."""

from collections.abc import Callable
from typing import Any

import click

from penstock.cli.durations import DURATION, Duration
from penstock.errors import InvalidValue
from penstock.services.pinger.assertions import Assertion, parse_assertion
from penstock.services.pinger.model import Severity

__all__ = [
    "Share",
    "how_many",
    "how_to_ask",
    "how_to_connect",
    "what_must_hold",
    "what_to_ping",
    "where_to_write",
]


class Headers(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """`Name: value`."""

    name = "header"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        name, colon, content = str(value).partition(":")
        if not colon or not name.strip():
            self.fail(f"{value!r} is not a header such as 'Accept: text/html'", param, ctx)
        return name.strip(), content.strip()


class Assertions(click.ParamType):  # type: ignore[type-arg]
    """An assertion of one severity."""

    name = "assertion"

    def __init__(self, severity: Severity) -> None:
        self.severity = severity

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Assertion:
        try:
            return parse_assertion(str(value), self.severity)
        except InvalidValue as error:
            self.fail(str(error), param, ctx)


class Rate(click.ParamType):  # type: ignore[type-arg]
    """Pings a second: `50`, `50/s`, `30/m`, `100/h`."""

    name = "rate"
    units = {"": 1, "s": 1, "m": 60, "h": 3600}  # noqa: RUF012

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        amount, _, unit = str(value).strip().lower().partition("/")
        try:
            rate = float(amount) / self.units[unit.strip()]
        except (ValueError, KeyError):
            rate = 0.0
        if not 1e-6 <= rate <= 1e6:
            self.fail(
                f"{value!r} is not a rate from 0.000001/s to 1000000/s such as 50, 50/s or 30/m", param, ctx
            )
        return rate


class Share(click.ParamType):  # type: ignore[type-arg]
    """Percent: `20%`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            share = float(str(value).removesuffix("%")) / 100
        except ValueError:
            share = -1.0
        if not 0 <= share <= 100:
            self.fail(f"{value!r} is not a share from 0% to 10000%", param, ctx)
        return share


class Gap(Duration):
    """A duration that may be 0."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return 0.0 if str(value).strip() in ("0", "0s", "0ms") else super().convert(value, param, ctx)


def options(*groups: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several decorators as one, the first of them on top."""

    def decorate(function: Any) -> Any:
        for group in reversed(groups):
            function = group(function)
        return function

    return decorate


FILE = click.Path(dir_okay=False)
READABLE = click.Path(exists=True, dir_okay=False, readable=True)

what_to_ping = options(
    click.option(
        "--urls-file",
        type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
        metavar="F",
        help="Also ping the URLs of this file, one a line; blank lines and # comments are skipped. "
        "- is standard input.",
    ),
    click.option(
        "--targets",
        "targets_file",
        type=READABLE,
        metavar="F",
        help="Also ping the targets of this TOML file: names, methods, headers, bodies, assertions.",
    ),
)

how_many = options(
    click.option(
        "--concurrency",
        type=click.IntRange(1, 10_000),
        default=8,
        show_default=True,
        metavar="N",
        help="URLs in progress at once.",
    ),
    click.option(
        "--count", type=click.IntRange(1), metavar="N", help="Ping each URL N times.  [default: once]"
    ),
    click.option("--duration", type=DURATION, metavar="TIME", help="Ping again and again, for so long."),
    click.option(
        "--rate",
        type=Rate(),
        metavar="N",
        help="Start N pings a second over all URLs, whether or not earlier ones have ended, such as 50 or "
        "30/m. Latency then counts from when a ping was due.",
    ),
    click.option(
        "--interval",
        type=DURATION,
        metavar="TIME",
        help="Ping each URL once in TIME, until --count, --duration or Ctrl-C.",
    ),
    click.option(
        "--gap",
        type=Gap(),
        metavar="TIME",
        help="Between two starts at least.  [default: 0.25 ms for new connections, 1 ms with aiohttp]",
    ),
    click.option(
        "--per-host", metavar="QUOTA", help="Pings of one host at most, such as 10/s or '100/m; burst=5'."
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        metavar="N",
        help="Processes that share the work.",
    ),
)

how_to_ask = options(
    click.option("--method", "-X", metavar="M", help="Of the request.  [default: GET, POST with --data]"),
    click.option(
        "--header", "-H", "headers", type=Headers(), multiple=True, metavar="'N: V'", help="Of the request."
    ),
    click.option("--data", "-d", metavar="TEXT", help="Body of the request; @F is a file."),
    click.option("--user", metavar="NAME:PASSWORD", help="Basic authentication."),
    click.option(
        "--timeout",
        type=DURATION,
        default="1200ms",
        show_default=True,
        metavar="TIME",
        help="For one attempt, with redirects and body: 1200ms, 1.5s, 2m, or plain seconds.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 100),
        default=0,
        show_default=True,
        metavar="N",
        help="Further attempts where there was no answer, or 429, or 5xx; 0.1 to 0.2 s later, then "
        "twice that, up to 10 s, or when Retry-After says; none where that is later.",
    ),
    click.option(
        "--retry-budget",
        type=Share(),
        default="20%",
        show_default=True,
        metavar="P",
        help="Retries for the pings of a host, after its first 10.",
    ),
    click.option("--no-follow", is_flag=True, help="A redirect is an answer."),
    click.option(
        "--max-body",
        type=click.IntRange(0, 1 << 30),
        default=1 << 20,
        show_default=True,
        metavar="BYTES",
        help="Of a body that are read; what is longer is left there.",
    ),
)

how_to_connect = options(
    click.option(
        "--engine",
        type=click.Choice(("auto", "aiohttp", "protocol", "socket", "load")),
        default="auto",
        show_default=True,
        help="What makes the requests; load is for much load on one plain http URL.",
    ),
    click.option("--http-keep-alive", "keep_alive", is_flag=True, help="Keep connections for the next ping."),
    click.option("--proxy", metavar="URL", help="HTTP proxy to ask."),
    click.option("-4", "family", flag_value=4, type=int, help="IPv4 alone."),
    click.option("-6", "family", flag_value=6, type=int, help="IPv6 alone."),
    click.option("--all-ips", is_flag=True, help="Ping every address of a name, each with its own row."),
    click.option("--source", metavar="IP", help="Address to connect from."),
    click.option(
        "--ca", type=READABLE, metavar="F", help="Trusted certificates, PEM, in place of the system's."
    ),
    click.option("--cert", type=READABLE, metavar="F", help="Our certificate, PEM."),
    click.option("--key", type=READABLE, metavar="F", help="Its key, PEM, where --cert does not hold it."),
    click.option("--insecure", is_flag=True, help="Believe any certificate."),
)

what_must_hold = options(
    click.option(
        "--assert",
        "failing",
        type=Assertions("fail"),
        multiple=True,
        metavar="A",
        help="Must hold: status==2xx, body~REGEX, header:NAME~REGEX, json:a.b==TEXT, tls<200ms, "
        "ttfb<50ms, cert>14d of each answer; p99<300ms, errors<1%, rate>=95 of the run.",
    ),
    click.option(
        "--warn", "warning", type=Assertions("warn"), multiple=True, metavar="A", help="Should hold."
    ),
)

where_to_write = options(
    click.option("--csv", "csv_path", type=FILE, metavar="F", help="Write a CSV row per ping."),
    click.option("--json", "json_path", type=FILE, metavar="F", help="Write a JSON object per ping."),
    click.option(
        "--ndjson", "ndjson_path", type=FILE, metavar="F", help="Write all fields, an object a line."
    ),
    click.option("--columns", metavar="A,B", help="Of these files; `all` for all of them."),
    click.option(
        "--summary", "summary_path", type=FILE, metavar="F", help="Write the run's figures as JSON."
    ),
    click.option(
        "--hgrm", "hgrm_path", type=FILE, metavar="F", help="Write the percentiles as HdrHistogram's .hgrm."
    ),
    click.option("--html", "html_path", type=FILE, metavar="F", help="Write a page with charts of the run."),
    click.option(
        "--prometheus",
        "prometheus_path",
        type=FILE,
        metavar="F",
        help="Write the last ping of each target for node_exporter's textfile collector.",
    ),
    click.option(
        "--log/--no-log",
        default=None,
        help="A line for each ping.  [default: without --rate and --duration]",
    ),
)
