"""Dead letters on the disk: a table in a SQLite file.

A letter is here before the journal says that its packet is dead, and goes after the journal has said that it
is purged or replayed. So the journal alone decides, and a crash between the two is mended at the start.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from penstock.services.distributor.dead_letters import Failed

__all__ = ["DeadLetterStore", "Letter"]

log = logging.getLogger(__name__)

T = TypeVar("T")

APPLICATION_ID = 0x70736C31  # "psl1"
SYNCHRONOUS = {"fsync": "FULL", "os": "NORMAL", "memory": "OFF"}
"""In WAL mode FULL syncs the log at every commit; NORMAL only before a checkpoint."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS dead_letters (
    seq          INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL,
    grp          TEXT    NOT NULL, -- of analyzers that the packet was for
    messages     INTEGER NOT NULL,
    failures     INTEGER NOT NULL,
    error        TEXT    NOT NULL,
    failed_at_ms INTEGER NOT NULL,
    body         BLOB    NOT NULL
);
"""

INSERT = "INSERT OR REPLACE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
DELETE = "DELETE FROM dead_letters WHERE seq IN (SELECT value FROM json_each(?))"
LETTERS = "SELECT * FROM dead_letters WHERE seq IN (SELECT value FROM json_each(?))"
SIZES = "SELECT seq, length(body) FROM dead_letters WHERE seq IN (SELECT value FROM json_each(?))"
ALL_BYTES = "SELECT coalesce(sum(length(body)), 0) FROM dead_letters"
FAILED = "SELECT failed_at_ms, seq FROM dead_letters ORDER BY failed_at_ms, seq"
FAILED_AT = "SELECT failed_at_ms FROM dead_letters WHERE seq = ?"
FORWARDS = "SELECT * FROM dead_letters WHERE seq > ? ORDER BY seq LIMIT ?"
BACKWARDS = "SELECT * FROM dead_letters WHERE seq < ? ORDER BY seq DESC LIMIT ?"

SAVED_AT_ONCE = 100
"""Letters of a damaged file that are read at a time."""


class Letter(NamedTuple):
    """A packet that was given up."""

    seq: int
    id: str
    group: str
    messages: int
    failures: int
    error: str
    failed_at_ms: int
    body: bytes


class DeadLetterStore:
    """Dead letters, in one SQLite file in WAL mode; every method raises sqlite3.Error.

    A file that is damaged is moved into the quarantine, and what can be read of it into a new one. One that
    cannot be opened at present is tried again at the next call.

    Args:
        folder: where `dead_letters.sqlite3` lies; None keeps them in memory.
        durability: `fsync` syncs every change, `os` leaves that to the system.
        quarantine: folder for a damaged file.
    """

    def __init__(
        self, folder: Path | None, durability: Literal["fsync", "os", "memory"], quarantine: Path
    ) -> None:
        self._path = None if folder is None else folder / "dead_letters.sqlite3"
        self._durability = durability
        self._quarantine = quarantine
        self._db: sqlite3.Connection | None = None
        self.bytes = 0
        self.mended = 0
        """Damaged files so far."""

    def close(self) -> None:
        """Moves SQLite's log into the file and lets go of it."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    # Opening

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            try:
                self._db = self._connected(":memory:" if self._path is None else str(self._path))
            except sqlite3.OperationalError:
                if self._path is None or not self._may_be_read_as_it_is(self._path):
                    raise
                place = f"{self._path.absolute().as_uri()}?mode=ro&immutable=1"
                self._db = sqlite3.connect(place, uri=True, check_same_thread=False)
            (self.bytes,) = self._db.execute(ALL_BYTES).fetchone()
        return self._db

    def _connected(self, place: str) -> sqlite3.Connection:
        db = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
        try:
            # The folder is ours alone; so SQLite needs no file beside, for which a full disk has no room.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {SYNCHRONOUS[self._durability]}")
            db.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
            (application,) = db.execute("PRAGMA application_id").fetchone()
            if application != APPLICATION_ID:
                db.executescript(f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; {SCHEMA} COMMIT;")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _may_be_read_as_it_is(self, path: Path) -> bool:
        """Whether all is in the file itself, so that it can be read where nothing can be written."""
        return not self._is_empty(path) and self._is_empty(path.with_name(f"{path.name}-wal"))

    @staticmethod
    def _is_empty(path: Path) -> bool:
        try:
            return path.stat().st_size == 0
        except OSError:
            return True

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` does with the database, once more if that has to be mended first."""
        try:
            return work(self._opened())
        except sqlite3.OperationalError:
            self.close()  # it may be one that can only be read, and be opened better the next time
            raise
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError or self._path is None:
                raise  # it is not the file's fault
            log.error("%s is damaged: %s", self._path, error)
            self._mend(self._path)
        return work(self._opened())

    def _mend(self, path: Path) -> None:
        """Moves a damaged file away, and what can be read of it into a new one."""
        self.close()
        self.mended += 1
        damaged = self._moved_aside(path)
        saved = 0
        new = self._opened()
        with closing(sqlite3.connect(damaged, isolation_level=None)) as old:
            for letters in readable(old):
                new.executemany(INSERT, letters)
                saved += len(letters)
        (self.bytes,) = new.execute(ALL_BYTES).fetchone()
        log.error("%s has the damaged file; %d dead letters could be read", damaged, saved)

    def _moved_aside(self, path: Path) -> Path:
        try:
            self._quarantine.mkdir(exist_ok=True)
            number = sum(1 for other in self._quarantine.iterdir() if other.name.startswith(path.name))
            damaged = self._quarantine / f"{path.name}-{number}"
            for suffix in ("-wal", "-shm", ""):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.rename(damaged.with_name(damaged.name + suffix))
        except OSError as error:
            raise sqlite3.OperationalError(f"{path} is damaged and cannot be moved away: {error}") from None
        return damaged

    # Changing

    def put(self, letters: Sequence[Letter]) -> None:
        """Stores letters, all or none."""
        self._do(lambda db: self._put(db, letters))

    def _put(self, db: sqlite3.Connection, letters: Sequence[Letter]) -> None:
        replaced = size_of(db, [letter.seq for letter in letters])
        with transaction(db):
            db.executemany(INSERT, letters)
        self.bytes += sum(len(letter.body) for letter in letters) - replaced

    def remove(self, seqs: Sequence[int]) -> None:
        """Removes letters, those of these numbers that there are."""
        if self._db is None and self._path is not None and self._is_empty(self._path):
            return
        self._do(lambda db: self._remove(db, seqs))

    def _remove(self, db: sqlite3.Connection, seqs: Sequence[int]) -> None:
        size = size_of(db, seqs)
        with transaction(db):
            db.execute(DELETE, (as_json(seqs),))
        self.bytes -= size

    # Asking

    def failed(self) -> list[Failed]:
        """When every letter failed, by that time and then by number."""
        return list(map(Failed._make, self._rows(FAILED)))

    def failed_at_ms(self, seq: int) -> int | None:
        """When a letter failed, unix time in ms; None when there is no such letter."""
        rows = self._rows(FAILED_AT, seq)
        return int(rows[0][0]) if rows else None

    def letters(self, seqs: Sequence[int], max_bytes: int) -> list[Letter]:
        """These letters, in this order, those that there are; no further ones once they have `max_bytes`."""
        sizes = dict(self._rows(SIZES, as_json(seqs)))
        read: list[int] = []
        total = 0
        for seq in seqs:
            if total >= max_bytes:
                break
            if seq in sizes:
                read.append(seq)
                total += sizes[seq]
        rows = self._rows(LETTERS, as_json(read))
        letters = {row[0]: Letter._make(row) for row in rows}
        return [letters[seq] for seq in read]

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        if self._db is None and self._path is not None and self._is_empty(self._path):
            return []  # without making the file
        return self._do(lambda db: db.execute(statement, values).fetchall())


class transaction:  # noqa: N801 -- read as a word in front of a block
    """All that is done in its block is stored, or nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def size_of(db: sqlite3.Connection, seqs: Sequence[int]) -> int:
    """Bytes of the bodies of these letters."""
    return sum(size for _, size in db.execute(SIZES, (as_json(seqs),)))


def readable(db: sqlite3.Connection) -> Iterable[list[tuple[Any, ...]]]:
    """What can be read of a damaged table: from its beginning to the damage, and from its end back to it."""
    last = -1
    with suppress(sqlite3.Error):
        while rows := some_rows(db, FORWARDS, last):
            last = rows[-1][0]
            yield rows
        return
    before = 2**63 - 1
    with suppress(sqlite3.Error):
        while rows := some_rows(db, BACKWARDS, before):
            before = rows[-1][0]
            yield [row for row in rows if row[0] > last]
            if before <= last:
                return


def some_rows(db: sqlite3.Connection, statement: str, beyond: int) -> list[tuple[Any, ...]]:
    return db.execute(statement, (beyond, SAVED_AT_ONCE)).fetchall()


def as_json(items: Iterable[Any]) -> str:
    return msgspec.json.encode(list(items)).decode()
