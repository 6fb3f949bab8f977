"""Looking at the spool of a data folder without changing it, also while a distributor is at work on it."""

import fcntl
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from penstock.errors import PenstockError
from penstock.services.distributor.journal.backlog import BacklogReader, Lying
from penstock.services.distributor.journal.entries import SIZE, Entry, numbers, offsets
from penstock.services.distributor.journal.extents import Segment
from penstock.services.distributor.journal.files import DISK
from penstock.services.distributor.journal.frames import Frame, NewerVersion
from penstock.services.distributor.journal.opening import Fault, Found, entries_in, frames_of, look_into
from penstock.services.distributor.journal.quarantine import name_of_copy
from penstock.services.distributor.journal.story import Event, brought, happened

__all__ = ["Inspection", "NoSpool", "SegmentFacts"]


class NoSpool(PenstockError, ValueError):
    """A folder has no spool that can be looked at."""


@dataclass(slots=True)
class SegmentFacts:
    """What a segment consists of."""

    segment: Segment
    entries: int = 0
    damaged: int = 0
    """Packets, live or not, whose bytes are not what was written."""
    faults: int = 0


class Inspection:
    """What lies in a data folder.

    Args:
        folder: the data folder of a distributor.

    Raises:
        NoSpool: there is none, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        if not self.journal.is_dir():
            raise NoSpool(f"{folder} must be the data folder of a distributor, got no folder {self.journal}")
        self.in_use = is_locked(folder / "lock")
        self.has_old_spool = (folder / "spool.sqlite3").exists()
        try:
            self.found: Found = look_into(DISK, self.journal)
        except (OSError, NewerVersion) as error:
            raise NoSpool(f"the journal {self.journal} cannot be read: {error}") from None
        self.found.take_up_unsure()
        self.reader = BacklogReader(DISK, self.journal, self.found.extents)

    @property
    def faults(self) -> list[Fault]:
        """What is wrong; not what lies in the quarantine, or a crash left and was never acknowledged."""
        return [fault for fault in self.found.faults if not fault.torn and not self._is_aside(fault)]

    @property
    def put_aside(self) -> list[Fault]:
        """What was wrong: it lies in the quarantine too, and goes with its segment."""
        return [fault for fault in self.found.faults if not fault.torn and self._is_aside(fault)]

    def _is_aside(self, fault: Fault) -> bool:
        return (self.folder / "quarantine" / name_of_copy(fault)).exists()

    @property
    def torn(self) -> list[Fault]:
        """What a crash left of something that was never acknowledged."""
        return [fault for fault in self.found.faults if fault.torn]

    def segments(self) -> Iterator[SegmentFacts]:
        """Every segment, all of which is read for that."""
        faults = Counter(fault.name for fault in self.faults)
        for segment in self.found.segments:
            facts = SegmentFacts(segment, faults=faults[segment.name])
            file = DISK.open(self.journal / segment.name)
            try:
                for frame, entry in self._entries(segment):
                    facts.entries += 1
                    facts.damaged += damaged_bodies(entry, file.read(frame.bodies_at, frame.bodies_size))
            finally:
                file.close()
            yield facts

    def _entries(self, segment: Segment) -> Iterator[tuple[Frame, Entry]]:
        return entries_in(frames_of(DISK, self.journal, segment.name, segment.header, segment.end))

    def live(self) -> Iterator[Lying]:
        """Every live packet, in the order of their numbers; with its body when it is whole."""
        for extent in self.found.extents.after(0):
            yield from self.reader.in_extent(extent)

    def oldest_ms(self) -> int | None:
        """When the live packet of the lowest number was accepted, unix time; None when that is not known."""
        lying = next(self.live(), None)
        return lying.accepted_ms if lying else None

    def events(self) -> Iterator[tuple[int, str, Event]]:
        """All that the journal says of packets: number, id or nothing, and what happened."""
        for segment in self.found.segments:
            for _, entry in self._entries(segment):
                yield from events_of(entry)

    def letters(self) -> Iterator[dict[str, Any]]:
        """Every dead letter, by the time it failed.

        Raises:
            NoSpool: they cannot be read.
        """
        path = self.folder / "dead_letters.sqlite3"
        if not path.exists():
            return
        try:
            with closing(opened_to_read(path)) as db:
                yield from letters_in(db)
        except sqlite3.Error as error:
            raise NoSpool(f"the dead letters {path} cannot be read: {error}") from None

    def letters_fault(self) -> str:
        """What is wrong with the table of dead letters; empty when nothing is, or a distributor uses it."""
        path = self.folder / "dead_letters.sqlite3"
        if self.in_use or not path.exists() or not path.stat().st_size:
            return ""
        try:
            with closing(opened_to_read(path)) as db:
                (answer,) = db.execute("PRAGMA quick_check(1)").fetchone()
                return "" if answer == "ok" else str(answer)
        except sqlite3.Error as error:
            return str(error)


def opened_to_read(path: Path) -> sqlite3.Connection:
    """A SQLite file; no file is made beside it, unless a kill has left a log that must be read too."""
    log_file = path.with_name(f"{path.name}-wal")
    alone = not log_file.exists() or log_file.stat().st_size == 0
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}", uri=True)


def letters_in(db: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    rows = db.execute(
        "SELECT seq, id, grp, failures, error, failed_at_ms, body FROM dead_letters"
        " ORDER BY failed_at_ms, seq"
    )
    for seq, id_, group, failures, error, failed_at_ms, body in rows:
        yield {
            "seq": seq,
            "id": id_,
            "group": group,
            "failures": failures,
            "error": error,
            "failed_at_ms": failed_at_ms,
            "packet": body,
        }


def damaged_bodies(entry: Entry, bodies: bytes) -> int:
    if entry.packets is None:
        return 0
    starts = offsets(numbers(SIZE, entry.packets.sizes))
    return sum(
        crc32(bodies[start:end]) != crc
        for start, end, crc in zip(starts, starts[1:], numbers(SIZE, entry.packets.crcs), strict=False)
    )


def events_of(entry: Entry) -> Iterator[tuple[int, str, Event]]:
    if entry.packets is None or not entry.packets.moved:
        for seq, id_, event in brought(entry):
            yield seq, id_.decode(), event
    for seq, event in happened(entry):
        yield seq, "", event


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
