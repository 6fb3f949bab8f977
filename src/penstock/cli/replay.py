"""`penstock replay`: sends log files to a logs distributor."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import penstock.services.replay
from penstock.cli.distributor_api import advice, ca_file_option, cert_file_option, tls_context, to_option
from penstock.cli.durations import DURATION
from penstock.cli.program import INTERRUPTED
from penstock.cli.rates import per_second
from penstock.errors import InvalidValue, PenstockError
from penstock.ratelimit import TokenBucket
from penstock.services.printable import printable
from penstock.services.replay.files import UnreadableFile, find_files
from penstock.services.replay.packets import MAX_MESSAGES, MAX_PACKETS, Packer, Packet
from penstock.services.replay.reading import Reading
from penstock.services.replay.sender import KeyRefused, NotADistributor, Sender, Tally, Unreachable

__all__ = ["command"]

SAMPLE = Path(penstock.services.replay.__file__).parent / "sample"


def time_zone(name: str) -> ZoneInfo:
    """A zone by its name in the time zone database."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise click.BadParameter(
            f"{name!r} is no time zone; try UTC or a name such as Europe/Berlin"
        ) from None


EXAMPLES = """\b
Examples:
  penstock replay --sample
  penstock replay /var/log/nginx --timezone Europe/Berlin
  penstock replay old.log.1.gz events.jsonl.xz archive.tar.xz --rate 5000
  journalctl -o json | penstock replay - --to http://logs.example:8080
"""


@click.command(epilog=EXAMPLES)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@to_option
@click.option("--sample", is_flag=True, help="Send the few hundred real log lines that come with penstock.")
@click.option(
    "--rate",
    type=per_second,
    metavar="N",
    help="Send at most so many messages a second (a log line is a message). As fast as it goes if not given.",
)
@click.option(
    "--messages-per-packet",
    type=click.IntRange(1, MAX_MESSAGES),
    metavar="N",
    default=10,
    show_default=True,
    help="Messages in a packet; the distributor gives each packet to one analyzer.",
)
@click.option(
    "--packets-per-request",
    type=click.IntRange(1, MAX_PACKETS),
    metavar="N",
    default=100,
    show_default=True,
    help="Packets in an HTTP request.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    metavar="N",
    default=4,
    show_default=True,
    help="HTTP requests at the same time.",
)
@click.option(
    "--patience",
    type=DURATION,
    metavar="TIME",
    default="60s",
    show_default=True,
    help="Give up a distributor that takes nothing for so long: 60s, 5m, or plain seconds.",
)
@click.option(
    "--timezone",
    "zone",
    type=time_zone,
    metavar="ZONE",
    help="Zone of times that name none. Such times are left out if not given, as are times without a year.",
)
@click.option("--gzip", "compress", is_flag=True, help="Compress the requests.")
@click.option(
    "--key",
    metavar="KEY",
    envvar="PENSTOCK_API_KEY",
    help="API key that may send, if the distributor wants one; better in PENSTOCK_API_KEY.",
)
@ca_file_option
@cert_file_option
def command(
    files: tuple[Path, ...],
    url: str,
    sample: bool,
    rate: float | None,
    messages_per_packet: int,
    packets_per_request: int,
    concurrency: int,
    patience: float,
    zone: ZoneInfo | None,
    compress: bool,
    key: str | None,
    ca_file: str | None,
    cert_file: str | None,
) -> None:
    """Send text logs to a logs distributor, line by line.

    FILE is a log (plain text, syslog, JSON lines; as it is, .gz, .xz or .bz2), a tar archive of logs, a
    directory that is searched for logs, or - for standard input. Each line becomes a message with the
    level, source and time that it states. What the distributor has no room for is sent again; nothing
    is delivered twice.

    Exit status: 0 all accepted, 1 something refused, not delivered or not read, 2 wrong usage.
    """
    paths = paths_of(files, sample)
    if rate is not None:  # shorter bursts: a request holds a tenth of a second, at least one packet
        packets_per_request = int(max(1, min(packets_per_request, rate / 10 / messages_per_packet)))
    try:
        bucket = None if rate is None else TokenBucket(rate, messages_per_packet * packets_per_request)
    except PenstockError as error:
        raise click.UsageError(str(error)) from error
    reading = Reading(paths, zone)
    packer = Packer(messages_per_packet, packets_per_request)

    def tell_stall(why: str) -> None:
        complain(f"{url} takes nothing now ({why}); trying again for up to {patience:g} s", "Waiting")

    try:
        sender = Sender(
            url,
            concurrency=concurrency,
            bucket=bucket,
            patience=patience,
            compress=compress,
            api_key=key,
            context=tls_context(ca_file, cert_file) if urlsplit(url).scheme == "https" else None,
            on_stall=tell_stall,
        )
    except InvalidValue as error:  # the other arguments were looked at as options
        raise click.BadParameter(str(error), param_hint="--key") from None
    status = run(sender, reading, packer)
    show(reading, sender.tally, url)
    sys.exit(status)


def paths_of(files: tuple[Path, ...], sample: bool) -> list[Path]:
    if not files and not sample:
        raise click.UsageError("name a FILE, or - for standard input, or take --sample")
    try:
        return find_files([*files, *([SAMPLE] if sample else [])])
    except UnreadableFile as error:
        raise click.UsageError(str(error)) from error


def run(sender: Sender, reading: Reading, packer: Packer) -> int:
    """Sends everything; returns the exit status.

    Raises:
        ClickException: no distributor answers, so there is no outcome to show.
    """
    try:
        asyncio.run(send_all(sender, reading, packer))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Unreachable as error:
        raise click.ClickException(f"{printable(str(error))}; {advice(error.__cause__)}") from error
    except (NotADistributor, KeyRefused) as error:
        hint = "; say with --to where a penstock distributor is"
        if isinstance(error, KeyRefused):
            hint = " (--key, or PENSTOCK_API_KEY)"
        complaint = f"{printable(str(error))}{hint}"
        if not (sender.tally.accepted or sender.tally.refused):
            raise click.ClickException(complaint) from error
        complain(complaint)
        return 1
    except PenstockError as error:
        complain(str(error))
        return 1
    finally:
        reading.meter.close()
    for damage in reading.damaged:
        complain(damage)
    return 1 if sender.tally.refused or sender.tally.unanswered or reading.damaged else 0


async def send_all(sender: Sender, reading: Reading, packer: Packer) -> None:
    try:
        with progress_bar() as bar:
            await sender.send(watched(bar, packer.batches(reading.read()), reading, sender.tally))
    finally:
        reading.meter.stop()  # frees the thread that may be waiting for standard input


def progress_bar() -> Progress:
    """A bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def watched(
    bar: Progress, batches: Iterator[list[Packet]], reading: Reading, tally: Tally
) -> Iterator[list[Packet]]:
    """The batches; each moves the bar to the bytes read so far."""
    task = bar.add_task("starting", total=reading.size)
    for batch in batches:
        bar.update(
            task,
            completed=reading.meter.bytes_read,
            description=f"{tally.accepted:,} accepted, {tally.refused.total():,} refused",
        )
        yield batch


def show(reading: Reading, tally: Tally, url: str) -> None:
    """Prints what was read and what became of it."""
    seconds = max(tally.seconds, 1e-9)
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    table.add_row("lines read", f"{reading.lines:,}")
    table.add_row("blank lines", f"{reading.blank:,}")
    longer = reading.messages - (reading.lines - reading.blank)
    table.add_row(
        "messages", f"{reading.messages:,}", f"{longer:,} more by splitting long lines" if longer > 0 else ""
    )
    table.add_row("packets accepted", f"{tally.accepted:,}")
    table.add_row("packets refused", f"{tally.refused.total():,}", reasons(tally))
    if tally.unanswered:
        table.add_row("packets unanswered", f"{tally.unanswered:,}", "may have been accepted")
    table.add_row("packets sent again", f"{tally.retried:,}")
    table.add_row("seconds", f"{tally.seconds:,.2f}")
    table.add_row("packets/s accepted", f"{tally.accepted / seconds:,.0f}")
    table.add_row("messages/s accepted", f"{tally.accepted_messages / seconds:,.0f}")
    console = Console(width=80)
    console.print(Text(f"Replayed to {url}"))  # no markup: [fe80::1] is an address and not a style
    console.print(table)
    for refusal in tally.examples:
        text = f"{refusal.packet.origin}: {refusal.code}: {refusal.error}"
        console.print(Text(f"refused {printable(text)}"))


def reasons(tally: Tally) -> Text:
    return Text(printable(", ".join(f"{count:,} {code}" for code, count in tally.refused.most_common(5))))


def complain(text: str, kind: str = "Error") -> None:
    click.echo(f"{kind}: {printable(text)}", err=True)
