"""`penstock spool`: looks into the data folder of a distributor, and mends it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from penstock.cli.program import program
from penstock.cli.results import cannot_go_on
from penstock.services.distributor.journal.inspection import Inspection, NoSpool
from penstock.services.distributor.journal.opening import Fault
from penstock.services.distributor.spool import Spool, SpoolError
from penstock.services.printable import one_line, printable

__all__ = ["command"]

EXIT_FAULTY = 1
MAX_FAULTS = 20
"""Faults that are listed one by one."""

EXAMPLES = """\b
Examples:
  penstock spool check penstock-data
  penstock spool stats penstock-data
  penstock spool dump penstock-data | jq -c .packet
  penstock spool repair penstock-data --write
"""


@click.group("spool", short_help="Look into a distributor's data folder.", epilog=EXAMPLES)
def command() -> None:
    """Look into the data folder of a distributor: what waits in it, and whether it can all be read.

    Nothing is changed but by `repair --write`, so this may be done while the distributor is at work; then it
    shows one moment of it.
    """


folder_argument = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))


@command.command("check", short_help="Read everything, and tell what cannot be read.")
@folder_argument
def check(folder: Path) -> None:
    """Read every byte of a spool and check it; exit with 1 when something is wrong.

    What a crash left unfinished at the end is not wrong: it was never acknowledged. Nor is what lies in the
    quarantine already.
    """
    spool = inspected(folder)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("segment", "entries", "live", "bytes", "damaged", "faults"):
        table.add_column(name, justify="left" if name == "segment" else "right", no_wrap=True)
    damaged = 0
    with failures_in_words(folder):
        found = list(spool.segments())
    for facts in found:
        damaged += facts.damaged
        segment = facts.segment
        table.add_row(
            segment.name,
            f"{facts.entries:,}",
            f"{segment.packets:,}",
            f"{segment.end:,}",
            f"{facts.damaged:,}",
            f"{facts.faults:,}",
        )
    Console(width=80).print(table)
    tell_faults(spool)
    wrong = len(spool.faults) + damaged + tell_letters_fault(spool)
    packets = spool.found.extents.packets
    click.echo(
        f"{counted(packets, 'packet')} waiting, {counted(wrong, 'fault') if wrong else 'nothing wrong'}"
    )
    if wrong:
        sys.exit(EXIT_FAULTY)


@command.command("stats", short_help="Tell how much waits, and for whom.")
@folder_argument
def stats(folder: Path) -> None:
    """Tell how many packets wait, since when, for whom, and how full the segments are of them."""
    spool = inspected(folder)
    extents = spool.found.extents
    owners = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    owners.add_column("group", overflow="ellipsis", no_wrap=True)
    owners.add_column("analyzer", overflow="ellipsis", no_wrap=True)
    owners.add_column("packets", justify="right", no_wrap=True)
    owners.add_column("bytes", justify="right", no_wrap=True)
    named = [(*extents.names[number], owned) for number, owned in extents.owned.items() if owned.packets]
    for group, analyzer, owned in sorted(named, key=lambda row: (row[0], row[1] or "")):
        name = Text("not assigned", style="italic") if analyzer is None else Text(printable(analyzer))
        owners.add_row(Text(printable(group)), name, f"{owned.packets:,}", f"{owned.bytes:,}")
    if extents.retrying:
        size = sum(attempted.size for attempted in extents.retrying.values())
        owners.add_row("", Text("to be retried", style="italic"), f"{len(extents.retrying):,}", f"{size:,}")
    segments = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("segment", "size", "live packets", "live share"):
        segments.add_column(title, justify="left" if title == "segment" else "right", no_wrap=True)
    for segment in spool.found.segments:
        share = segment.size_bytes / max(segment.end, 1)
        segments.add_row(segment.name, decimal(segment.end), f"{segment.packets:,}", f"{share:.0%}")
    click.echo(f"{counted(extents.packets, 'packet')} of {decimal(extents.bytes)} waiting")
    with failures_in_words(folder):
        oldest_ms = spool.oldest_ms()
    if oldest_ms:
        click.echo(f"the oldest was accepted at {timestamp(oldest_ms)}")
    console = Console(width=80)
    if extents.packets:
        console.print(owners)
    console.print(segments)
    tell_faults(spool)


@command.command("dump", short_help="Write what waits as NDJSON.")
@folder_argument
@click.option(
    "--all", "everything", is_flag=True, help="What happened to every packet, instead of what waits."
)
@click.option("--letters", is_flag=True, help="The dead letters, instead of what waits.")
def dump(folder: Path, everything: bool, letters: bool) -> None:
    """Write what waits to standard output, a JSON object a line, with the packet in `packet`.

    A packet that is damaged on the disk has null there.
    """
    if everything and letters:
        raise click.UsageError("--all and --letters exclude each other.")
    spool = inspected(folder)
    rows: Iterator[dict[str, Any]] = packet_rows(spool)
    if everything or letters:
        rows = event_rows(spool) if everything else spool.letters()
    with failures_in_words(folder):
        for row in rows:
            if row.get("packet") is not None:
                row["packet"] = as_json(row["packet"])
            click.echo(msgspec.json.encode(row))


def packet_rows(spool: Inspection) -> Iterator[dict[str, Any]]:
    for lying in spool.live():
        packet = lying.packet
        yield {
            "seq": packet.seq,
            "id": packet.id,
            "group": packet.group,
            "analyzer": packet.analyzer,
            "failures": packet.failures,
            "accepted_at": timestamp(lying.accepted_ms) if lying.accepted_ms else None,
            "packet": packet.body,
        }


def event_rows(spool: Inspection) -> Iterator[dict[str, Any]]:
    for seq, id_, event in spool.events():
        row = {"at": timestamp(event.at_ms), "what": event.what, "seq": seq, "id": id_ or None}
        more = {"analyzer": event.analyzer, "error": event.error, "attempt": event.attempt}
        yield row | {name: value for name, value in more.items() if value}


def as_json(body: bytes) -> Any:
    """A packet as it is; as a string when it is no JSON."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")
    return msgspec.Raw(body)


@command.command("repair", short_help="Put aside what cannot be read.")
@folder_argument
@click.option("--write", is_flag=True, help="Do it, instead of telling what would be done.")
def repair(folder: Path, write: bool) -> None:
    """Put what cannot be read into the folder `quarantine`, as every start of the distributor does."""
    spool = inspected(folder)
    tell_faults(spool)
    letters = tell_letters_fault(spool)
    faults = len(spool.faults) + letters
    if not faults:
        click.echo("nothing to repair")
    elif not write:
        click.echo(
            f"{counted(faults, 'fault')} would be put into {folder / 'quarantine'};"
            f" {program()} spool repair {folder} --write does it"
        )
    else:
        try:
            with Spool(folder, "fsync") as opened:
                recovery = opened.recovery
        except SpoolError as error:
            raise cannot_go_on(str(error)) from None
        click.echo(
            f"{recovery.quarantined} put into {folder / 'quarantine'},"
            f" {counted(recovery.packets, 'packet')} waiting"
        )


def inspected(folder: Path) -> Inspection:
    """A data folder that has a spool, with what must be said of it at once."""
    try:
        spool = Inspection(folder)
    except NoSpool as error:
        raise cannot_go_on(str(error)) from None
    if spool.in_use:
        click.echo(f"warning: a distributor is at work on {folder}; this is one moment of it", err=True)
    if spool.has_old_spool:
        click.echo("warning: spool.sqlite3 is of an earlier version; the next start takes it over", err=True)
    return spool


@contextmanager
def failures_in_words(folder: Path) -> Iterator[None]:
    """Ends the command with a message where a file cannot be read, or has gone meanwhile."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (NoSpool, OSError) as error:
        raise cannot_go_on(f"{folder} cannot be read to its end: {error}") from None


def tell_faults(spool: Inspection) -> None:
    """The faults, and what a crash left."""
    for fault in spool.faults[:MAX_FAULTS]:
        click.echo(in_words(fault))
    if len(spool.faults) > MAX_FAULTS:
        click.echo(f"and {len(spool.faults) - MAX_FAULTS} more")
    for fault in spool.put_aside[:MAX_FAULTS]:
        click.echo(f"{in_words(fault)} (in the quarantine)")
    for fault in spool.torn[:MAX_FAULTS]:
        click.echo(f"{in_words(fault)} (never acknowledged)")


def tell_letters_fault(spool: Inspection) -> bool:
    """What is wrong with the dead letters; whether anything is."""
    fault = spool.letters_fault()
    if fault:
        click.echo(f"dead_letters.sqlite3: {one_line(fault, 200)}")
    return bool(fault)


def in_words(fault: Fault) -> str:
    return f"{fault.name}, bytes {fault.offset:,} to {fault.end:,}: {one_line(fault.what, 200)}"


def counted(number: int, name: str) -> str:
    return f"1 {name}" if number == 1 else f"{number:,} {name}s"


def timestamp(unix_ms: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC."""
    return (
        datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
