"""The spool of earlier versions, one SQLite file with everything in it: taken over once, then put aside."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import DEFAULT_GROUP
from penstock.services.distributor.dead_letter_store import DeadLetterStore, Letter
from penstock.services.distributor.journal.entries import (
    SEQ,
    SIZE,
    Entry,
    Record,
    column,
    numbered,
    owner_of,
    packets_of,
)
from penstock.services.distributor.journal.log import Journal

__all__ = ["OldSpool"]

log = logging.getLogger(__name__)

APPLICATION_ID = 0x70737031  # "psp1"
ROWS_AT_ONCE = 500
TAKEN_OVER = "old spool taken over"
"""Note in the journal, stored with the last of what is taken over."""

PACKETS = (
    "SELECT seq, id, messages, analyzer, failures, due_ms, body FROM packets"
    " WHERE seq > ? ORDER BY seq LIMIT ?"
)
LETTERS = (
    "SELECT seq, failures, error, failed_at_ms, body FROM dead_letters WHERE seq > ? ORDER BY seq LIMIT ?"
)


class Named(msgspec.Struct):
    """What is asked of a letter's body."""

    id: str = ""
    messages: list[msgspec.Raw] = []


class OldSpool:
    """A SQLite file of an earlier version.

    Args:
        path: where it would be.
        journal: gets its packets, ids, counters and notes.
        letters: gets its dead letters.
    """

    def __init__(self, path: Path, journal: Journal, letters: DeadLetterStore) -> None:
        self._path = path
        self._journal = journal
        self._letters = letters

    def take_over(self) -> None:
        """Takes over everything, if there is such a file; after a crash the next start goes on.

        Raises:
            sqlite3.Error: the file cannot be read, or is no spool.
            OSError: the journal cannot be written.
        """
        if not self._path.exists():
            return
        if TAKEN_OVER not in self._journal.notes:
            with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
                (application,) = db.execute("PRAGMA application_id").fetchone()
                (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                if tables and application != APPLICATION_ID:
                    raise sqlite3.DatabaseError(f"{self._path.name} is no spool of an earlier version")
                if tables:
                    self._take_all(db)
        try:
            self._path.rename(self._path.with_name(f"{self._path.name}.imported"))
        except OSError as error:
            log.warning("%s was taken over and cannot be renamed: %s", self._path, error)

    def _take_all(self, db: sqlite3.Connection) -> None:
        letters = packets = 0
        for rows in pages(db, LETTERS, 0):
            self._letters.put([letter_of(*row) for row in rows])
            letters += len(rows)
        for rows in pages(db, PACKETS, self._journal.last_seq):
            stored = [
                Stored(
                    seq, id_, messages, len(body), body, analyzer=analyzer, failures=failures, due_ms=due_ms
                )
                for seq, id_, messages, analyzer, failures, due_ms, body in rows
            ]
            self._journal.append([self._record(stored)])
            packets += len(rows)
        self._take_the_rest(db)
        log.warning("%s: took over %d packets and %d dead letters", self._path, packets, letters)

    def _record(self, packets: list[Stored]) -> Record:
        owners, names = numbered(map(owner_of, packets), self._journal.extents.number_of)
        columns, bodies = packets_of(
            packets,
            owners,
            failures=column(SIZE, [packet.failures for packet in packets]),
            due_ms=column(SEQ, [packet.due_ms for packet in packets]),
        )
        return Record(Entry(0, names=names, packets=columns), bodies)

    def _take_the_rest(self, db: sqlite3.Connection) -> None:
        """Ids of clients, counters and notes, with the note that all is here now."""
        ids: dict[int, list[bytes]] = {}
        for id_, accepted_ms in db.execute("SELECT id, accepted_ms FROM client_ids ORDER BY accepted_ms"):
            ids.setdefault(accepted_ms, []).append(id_.encode())
        if ids:
            self._journal.client_ids.take(self._journal.next_number(), ids)
        counters = dict(db.execute("SELECT name, value FROM counters"))
        notes = dict(db.execute("SELECT name, value FROM notes"))
        done = Entry(0, counters=counters, notes=notes | {TAKEN_OVER: b"true"})
        self._journal.append([Record(done, [])])


def pages(db: sqlite3.Connection, statement: str, after: int) -> Iterator[list[tuple[Any, ...]]]:
    """Rows by ascending number, some at a time."""
    while rows := db.execute(statement, (after, ROWS_AT_ONCE)).fetchall():
        yield rows
        after = rows[-1][0]


def letter_of(seq: int, failures: int, error: str, failed_at_ms: int, body: bytes) -> Letter:
    """A dead letter, with what the old table did not tell."""
    try:
        named = msgspec.json.decode(body, type=Named)
    except (msgspec.DecodeError, UnicodeDecodeError):
        named = Named(f"unknown-{seq}")
    return Letter(seq, named.id, DEFAULT_GROUP, len(named.messages), failures, error, failed_at_ms, body)
