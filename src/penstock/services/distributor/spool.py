"""The spool: every accepted packet on disk until it is delivered or a dead letter, in one SQLite file.

A `Change` is what happened since the last commit; `Spool.commit` stores it whole or not at all. Each
statement carries many rows and is stepped once: sqlite3 lets go of the GIL in every step, and a thread
that has to win it back from a busy event loop for each row would wait milliseconds a row.
"""

import fcntl
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import msgspec

from penstock.errors import PenstockError
from penstock.services.distributor.dead_letters import Failed

__all__ = ["Change", "DeadLetter", "Retry", "Spool", "SpoolError", "Stored"]

Durability = Literal["fsync", "os", "memory"]

SYNCHRONOUS = {"fsync": "FULL", "os": "NORMAL", "memory": "OFF"}
"""In WAL mode FULL syncs the log at every commit; NORMAL only before a checkpoint."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS packets (
    seq      INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL,
    messages INTEGER NOT NULL,
    analyzer TEXT,             -- whose it is, null while nobody was there to take it
    failures INTEGER NOT NULL, -- attempts that failed so far
    due_ms   INTEGER NOT NULL, -- unix time before which it is not tried again
    body     BLOB    NOT NULL
);
CREATE TABLE IF NOT EXISTS dead_letters (
    seq          INTEGER PRIMARY KEY,
    failures     INTEGER NOT NULL,
    error        TEXT    NOT NULL,
    failed_at_ms INTEGER NOT NULL,
    body         BLOB    NOT NULL
);
CREATE TABLE IF NOT EXISTS client_ids (
    id          TEXT PRIMARY KEY,
    accepted_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""

APPLICATION_ID = 0x70737031  # "psp1"
"""Marks a SQLite file as a spool; another number when the tables change."""

CHUNKS = (512, 32, 1)
"""Rows a statement carries; few sizes, so that each is prepared once and kept."""

MAX_READ_BYTES = 16 * 1024 * 1024
"""Bytes of dead letters that are read into memory at a time."""

CHECKPOINT_PAGES = 4000
"""Pages of 4 KiB in the log before SQLite moves them into the file."""


class SpoolError(PenstockError, OSError):
    """The spool could not be read or written; what was to be stored is not stored."""


@dataclass(slots=True, eq=False)
class Stored:
    """An accepted packet. Its body may be on disk only."""

    seq: int
    id: str
    messages: int
    size: int
    """Bytes of its body."""
    body: bytes | None
    id_is_clients: bool = False
    analyzer: str | None = None
    failures: int = 0
    due_ms: int = 0


class Retry(NamedTuple):
    """A packet that is to be tried again."""

    packet: Stored
    analyzer: str | None
    due_ms: int


class DeadLetter(NamedTuple):
    """A packet that is given up."""

    packet: Stored
    error: str
    failed_at_ms: int


@dataclass(slots=True)
class Change:
    """What happened to packets, to be stored in one transaction."""

    accepted: list[Stored] = field(default_factory=list)
    assigned: list[Stored] = field(default_factory=list)
    """Stored before, of nobody until now."""
    delivered: list[Stored] = field(default_factory=list)
    retried: list[Retry] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    purged: list[Failed] = field(default_factory=list)
    """Dead letters to remove."""
    counters: Counter[str] = field(default_factory=Counter)
    """What to add to each counter."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else to remember, as anything that JSON can carry."""

    def add(self, other: "Change") -> None:
        """Takes in a later change."""
        self.accepted += other.accepted
        self.assigned += other.assigned
        self.delivered += other.delivered
        self.retried += other.retried
        self.dead += other.dead
        self.purged += other.purged
        self.counters.update(other.counters)
        self.notes |= other.notes


class Spool:
    """One SQLite file in WAL mode, used by one thread of one process at a time.

    Args:
        folder: where `spool.sqlite3` lies; made when missing. Locked against a second process.
        durability: `fsync` syncs every commit, `os` leaves that to the system, `memory` writes no file.

    Raises:
        SpoolError: the folder cannot be written, another process uses it, or the file is no spool.
    """

    def __init__(self, folder: Path, durability: Durability = "fsync") -> None:
        self._lock = -1
        if durability == "memory":
            place = ":memory:"
        else:
            self._lock = locked_folder(folder)
            place = str(folder / "spool.sqlite3")
        try:
            self._db = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
            self._require_spool()
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            self._db.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
            self._make_tables()
        except sqlite3.Error as error:
            self.close()
            raise SpoolError(
                f"the spool {place} cannot be used: {error};"
                " move the file away or choose another folder with --data-dir"
            ) from None

    def _require_spool(self) -> None:
        """Refuses a database that is not empty and not ours."""
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and application != APPLICATION_ID:
            raise sqlite3.DatabaseError("it is no spool of this version")

    def _make_tables(self) -> None:
        self._db.executescript(f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; {SCHEMA} COMMIT;")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Moves the log into the file and lets go of the folder."""
        self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # Reading

    def pending(self) -> list[Stored]:
        """All packets neither delivered nor dead, in the order of acceptance, without their bodies."""
        rows = self._rows(
            "SELECT seq, id, messages, length(body), analyzer, failures, due_ms FROM packets ORDER BY seq"
        )
        return [
            Stored(seq, id_, messages, size, None, False, analyzer, failures, due_ms)
            for seq, id_, messages, size, analyzer, failures, due_ms in rows
        ]

    def last_seq(self) -> int:
        """The highest sequence number ever used by what is still here."""
        (row,) = self._rows(
            "SELECT coalesce(max(seq), 0)"
            " FROM (SELECT max(seq) AS seq FROM packets UNION ALL SELECT max(seq) FROM dead_letters)"
        )
        return int(row[0])

    def bodies(self, seqs: Sequence[int]) -> dict[int, bytes]:
        """The bodies of packets, by sequence number."""
        return dict(
            self._rows(
                "SELECT seq, body FROM packets WHERE seq IN (SELECT value FROM json_each(?))", as_json(seqs)
            )
        )

    def client_ids(self, since_ms: int, limit: int) -> list[tuple[str, int]]:
        """The ids that clients chose, accepted since then, with their time: the newest, oldest first."""
        rows = self._rows(
            "SELECT id, accepted_ms FROM client_ids WHERE accepted_ms >= ? ORDER BY accepted_ms DESC LIMIT ?",
            since_ms,
            limit,
        )
        return rows[::-1]

    def counters(self) -> Counter[str]:
        """Every counter as of the last commit."""
        return Counter(dict(self._rows("SELECT name, value FROM counters")))

    def note(self, name: str) -> Any:
        """What was remembered under `name`, None when nothing was."""
        rows = self._rows("SELECT value FROM notes WHERE name = ?", name)
        return msgspec.json.decode(rows[0][0]) if rows else None

    def failed(self) -> list[Failed]:
        """When every dead letter failed, by that time and then by number."""
        rows = self._rows("SELECT failed_at_ms, seq FROM dead_letters ORDER BY failed_at_ms, seq")
        return list(map(Failed._make, rows))

    def failed_at_ms(self, seq: int) -> int | None:
        """When a dead letter failed, unix time in ms; None when there is no such letter."""
        rows = self._rows("SELECT failed_at_ms FROM dead_letters WHERE seq = ?", seq)
        return int(rows[0][0]) if rows else None

    def dead_letters(self, seqs: Sequence[int]) -> list[tuple[int, bytes, int, str, int]]:
        """These dead letters, in this order: seq, body, failures, error, unix time in ms.

        Those that are gone are left out, and the last ones once the bodies reach MAX_READ_BYTES.
        """
        sizes = dict(
            self._rows(
                "SELECT seq, length(body) FROM dead_letters WHERE seq IN (SELECT value FROM json_each(?))",
                as_json(seqs),
            )
        )
        read, total = [], 0
        for seq in seqs:
            if total >= MAX_READ_BYTES:
                break
            if seq in sizes:
                read.append(seq)
                total += sizes[seq]
        rows = self._rows(
            "SELECT seq, body, failures, error, failed_at_ms FROM dead_letters"
            " WHERE seq IN (SELECT value FROM json_each(?))",
            as_json(read),
        )
        letters = {row[0]: row for row in rows}
        return [letters[seq] for seq in read]

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise SpoolError(f"the spool cannot be read: {error}") from None

    # Writing

    def commit(self, change: Change) -> None:
        """Stores a change whole, as durably as the spool was told to.

        Raises:
            SpoolError: nothing of it is stored.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._store(change)
            self._db.execute("COMMIT")
        except BaseException as error:  # whatever it is: no transaction may stay open
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise SpoolError(f"the spool cannot be written: {error}") from None
            raise

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _store(self, change: Change) -> None:
        self._insert(
            "INSERT INTO packets (seq, id, messages, analyzer, failures, due_ms, body) VALUES",
            [(p.seq, p.id, p.messages, p.analyzer, 0, 0, p.body) for p in change.accepted],
        )
        now_ms = int(time() * 1000)
        self._insert(
            "INSERT OR REPLACE INTO client_ids (id, accepted_ms) VALUES",
            [(p.id, now_ms) for p in change.accepted if p.id_is_clients],
        )
        if change.assigned:
            self._for_each(
                "UPDATE packets SET analyzer = json_extract(value, '$[1]') FROM json_each(?)"
                " WHERE seq = json_extract(value, '$[0]')",
                [(p.seq, p.analyzer) for p in change.assigned],
            )
        if change.retried:
            self._for_each(
                "UPDATE packets SET failures = failures + 1, analyzer = json_extract(value, '$[1]'),"
                " due_ms = json_extract(value, '$[2]') FROM json_each(?)"
                " WHERE seq = json_extract(value, '$[0]')",
                [(retry.packet.seq, retry.analyzer, retry.due_ms) for retry in change.retried],
            )
        if change.dead:
            self._for_each(
                "INSERT INTO dead_letters (seq, failures, error, failed_at_ms, body)"
                " SELECT seq, failures + 1, json_extract(value, '$[1]'), json_extract(value, '$[2]'), body"
                " FROM json_each(?) JOIN packets ON seq = json_extract(value, '$[0]')",
                [(dead.packet.seq, dead.error, dead.failed_at_ms) for dead in change.dead],
            )
        if change.purged:
            self._for_each(
                "DELETE FROM dead_letters WHERE seq IN (SELECT value FROM json_each(?))",
                [letter.seq for letter in change.purged],
            )
        gone = [packet.seq for packet in change.delivered] + [dead.packet.seq for dead in change.dead]
        if gone:
            self._for_each("DELETE FROM packets WHERE seq IN (SELECT value FROM json_each(?))", gone)
        self._insert(
            "INSERT INTO counters (name, value) VALUES",
            [(name, amount) for name, amount in change.counters.items() if amount],
            "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        )
        self._insert(
            "INSERT OR REPLACE INTO notes (name, value) VALUES",
            [(name, msgspec.json.encode(value)) for name, value in change.notes.items()],
        )

    def forget_client_ids(self, before_ms: int) -> None:
        """Removes the ids that clients chose before then."""
        try:
            self._db.execute("DELETE FROM client_ids WHERE accepted_ms < ?", (before_ms,))
        except sqlite3.Error as error:
            raise SpoolError(f"the spool cannot be written: {error}") from None

    def _insert(self, head: str, rows: Sequence[tuple[Any, ...]], tail: str = "") -> None:
        """One statement for as many rows as CHUNKS has a size for, until all are in."""
        start = 0
        while start < len(rows):
            size = next(size for size in CHUNKS if size <= len(rows) - start)
            chunk = rows[start : start + size]
            row = f"({', '.join('?' * len(chunk[0]))})"
            values = [value for values in chunk for value in values]
            self._db.execute(f"{head} {', '.join([row] * size)} {tail}", values)
            start += size

    def _for_each(self, statement: str, items: Iterable[Any]) -> None:
        self._db.execute(statement, (as_json(items),))


def as_json(items: Iterable[Any]) -> str:
    return msgspec.json.encode(items).decode()


def locked_folder(folder: Path) -> int:
    """A file descriptor that holds the folder's lock; the operating system drops it when the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise SpoolError(f"the data folder {folder} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise SpoolError(
            f"the data folder {folder} is in use by another distributor;"
            " stop that one or choose another folder with --data-dir"
        ) from None
    return lock
