"""The history of the watch: every ping in a SQLite file, and the alerts that wait to be sent.

Pings are written in batches, each with the conditions and the alerts that it brought, in one transaction:
what is in the file survives `kill -9`, and an alert is there if and only if the ping that raised it is.
The methods block; they are called in a thread.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from math import ceil
from threading import Lock
from typing import NamedTuple

from penstock.errors import PenstockError
from penstock.observability.histogram import Histogram

__all__ = ["Alert", "Batch", "History", "HistoryError", "PingRow", "Slot", "used_alone"]

VERSION = 1
BUSY_SECONDS = 10.0
PRUNED_AT_ONCE = 10_000
HOUR_NS = 3_600_000_000_000
FAR = 1 << 62

SCHEMA = """
CREATE TABLE targets (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, condition TEXT, since REAL);
CREATE TABLE pings (
    target INTEGER NOT NULL, at INTEGER NOT NULL, good INTEGER NOT NULL, status INTEGER NOT NULL,
    total INTEGER NOT NULL, dns INTEGER NOT NULL, connect INTEGER NOT NULL, tls INTEGER NOT NULL,
    wait INTEGER NOT NULL, transfer INTEGER NOT NULL, attempts INTEGER NOT NULL, error TEXT,
    PRIMARY KEY (target, at)
) WITHOUT ROWID;
CREATE TABLE alerts (id INTEGER PRIMARY KEY, url TEXT NOT NULL, body TEXT NOT NULL, made REAL NOT NULL);
CREATE INDEX pings_by_age ON pings (at);
CREATE INDEX alerts_by_url ON alerts (url, id);
"""


class HistoryError(PenstockError, OSError):
    """The history cannot be opened, read or written."""


@contextmanager
def used_alone(path: str) -> Iterator[None]:
    """Holds a history for one watch: two would drop each other's alerts, and post others twice.

    The lock is a file beside it, and goes with the process; a system without such locks holds nothing.

    Raises:
        HistoryError: another watch holds it, or the folder cannot be written.
    """
    check_is_a_file(path)
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        lock = os.open(f"{path}-lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HistoryError(f"{path}: unable to open database file: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HistoryError(f"{path} is in use by another watch; give each its own history") from None
        yield
    finally:
        os.close(lock)


def check_is_a_file(path: str) -> None:
    if not path or path == ":memory:":
        raise HistoryError(f"a history must be a file, got {path!r}")


class PingRow(NamedTuple):
    """One ping as it is kept; durations in microseconds.

    `at` is in microseconds since 1970, and with `name` the key: a second ping of that moment replaces it.
    """

    name: str
    at: int
    good: bool
    status: int
    total: int
    dns: int
    connect: int
    tls: int
    wait: int
    transfer: int
    attempts: int
    error: str


class Alert(NamedTuple):
    """A message that waits to be posted."""

    id: int
    url: str
    body: str
    made: float
    """Seconds since 1970."""


@dataclass(slots=True)
class Batch:
    """What is written together.

    Attributes:
        pings: rows.
        conditions: by name: condition, and since when, seconds since 1970.
        alerts: (url, body, made).
    """

    pings: list[PingRow] = field(default_factory=list)
    conditions: dict[str, tuple[str, float]] = field(default_factory=dict)
    alerts: list[tuple[str, str, float]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.pings or self.conditions or self.alerts)


class Slot(NamedTuple):
    """The pings of a stretch of time; percentiles are of what good ones took, from when they were due."""

    start: float
    """Seconds since 1970."""
    good: int
    failed: int
    p50: int | None
    """Nanoseconds, as all that follow; None without a good ping."""
    p90: int | None
    p99: int | None
    slowest: int | None

    @property
    def uptime(self) -> float | None:
        """Good pings of all, 0 to 1; None without any."""
        pings = self.good + self.failed
        return self.good / pings if pings else None


class Tally:
    """Counts the pings of a slot."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.good = self.failed = 0
        self.took = Histogram(1_000, HOUR_NS, 2)

    def add(self, good: bool, seconds: float) -> None:
        self.good += good
        self.failed += not good
        if good:
            self.took.record(min(round(seconds * 1e9), self.took.limit))

    def slot(self) -> Slot:
        p50, p90, p99 = (self.took.percentile(share) for share in (0.5, 0.9, 0.99))
        return Slot(self.start, self.good, self.failed, p50, p90, p99, self.took.max)


class History:
    """A history file; threads may share it.

    Args:
        path: made when it is not there.
        max_alerts: that wait at most, >= 1; beyond it the oldest are dropped, and counted.

    Attributes:
        dropped_alerts: by that bound, since it was opened.

    Raises:
        HistoryError: it cannot be opened, or is something else; here and, for what becomes of the disk
            later, in every method.
    """

    def __init__(self, path: str, *, max_alerts: int = 10_000) -> None:
        self.path = path
        self.max_alerts = max_alerts
        self.dropped_alerts = 0
        self._ids: dict[str, int] = {}
        self._writing, self._reading = Lock(), Lock()
        self._pings: int | None = None
        check_is_a_file(path)
        with self._in_words():
            self._writer = self._open()
            try:
                self._prepare()
                self._reader = self._open()
            except BaseException:
                self._writer.close()
                raise

    def close(self) -> None:
        """Closes the file; whoever still reads it has an error."""
        with suppress(sqlite3.ProgrammingError):  # closed before
            self._reader.interrupt()
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    def write(self, batch: Batch) -> None:
        """Writes a batch, whole or not at all."""
        with self._transaction():
            self._writer.executemany(
                "INSERT OR REPLACE INTO pings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(self._id(row.name), *row[1:-1], row.error or None) for row in batch.pings],
            )
            self._writer.executemany(
                "UPDATE targets SET condition = ?, since = ? WHERE id = ?",
                [(condition, since, self._id(name)) for name, (condition, since) in batch.conditions.items()],
            )
            self._writer.executemany("INSERT INTO alerts (url, body, made) VALUES (?, ?, ?)", batch.alerts)
            if batch.alerts:
                self._bound_alerts()
            if self._pings is not None:
                self._pings += len(batch.pings)

    def conditions(self) -> dict[str, tuple[str, float]]:
        """What was last known of each target, by name: condition, and since when."""
        with self._reading, self._in_words():
            rows = self._reader.execute(
                "SELECT name, condition, since FROM targets WHERE condition IS NOT NULL"
            )
            return {name: (condition, since) for name, condition, since in rows}

    def pings(self, name: str, since: float, until: float) -> Iterator[tuple[float, bool, float]]:
        """Moment, whether it was good, and seconds that it took, of a target's pings, oldest first."""
        with self._reading, self._in_words(), closing(self._select(name, since, until)) as rows:
            for at, good, total in rows:
                yield at / 1e6, bool(good), total / 1e6

    def bars(self, name: str, since: int, step: int) -> list[tuple[int, int, int, float]]:
        """Start, good pings, failed pings, and seconds of the slowest good one, of each step that had any.

        Args:
            name: of the target.
            since: seconds since 1970, a multiple of `step`.
            step: seconds.
        """
        with self._reading, self._in_words():
            rows = self._reader.execute(
                "SELECT at / (? * 1000000) * ?, sum(good), sum(1 - good), max(good * total) / 1e6 FROM pings"
                " WHERE target = (SELECT id FROM targets WHERE name = ?) AND at >= ? * 1000000 GROUP BY 1",
                (step, step, name, since),
            )
            return rows.fetchall()

    def latest(self, name: str, since: float, most: int) -> list[tuple[float, bool, float]]:
        """As pings(), but only the newest."""
        with self._reading, self._in_words():
            rows = self._reader.execute(
                "SELECT at / 1e6, good, total / 1e6 FROM pings"
                " WHERE target = (SELECT id FROM targets WHERE name = ?) AND at >= ?"
                " ORDER BY at DESC LIMIT ?",
                (name, round(since * 1e6), most),
            )
            return [(at, bool(good), seconds) for at, good, seconds in rows][::-1]

    def slots(self, name: str, since: float, until: float, step: float) -> tuple[Slot, list[Slot]]:
        """How a target did from `since` to `until`: as a whole, and in steps, those without a ping too.

        Memory is that of the steps, however many pings there are.

        Args:
            name: of the target.
            since: seconds since 1970.
            until: seconds since 1970, > since.
            step: seconds, > 0; the last step may be shorter.
        """
        whole, tally = Tally(since), Tally(since)
        slots: list[Slot] = []
        count = max(ceil((until - since) / step), 1)
        for at, good, seconds in self.pings(name, since, until):
            while len(slots) < min(int((at - since) / step), count - 1):
                slots.append(tally.slot())
                tally = Tally(since + len(slots) * step)
            whole.add(good, seconds)
            tally.add(good, seconds)
        while len(slots) < count:
            slots.append(tally.slot())
            tally = Tally(since + len(slots) * step)
        return whole.slot(), slots

    def next_alert(self, url: str) -> Alert | None:
        """The oldest alert that waits for a webhook; None without any."""
        with self._writing, self._in_words():  # who reads a year of pings holds up no alert
            row = self._writer.execute(
                "SELECT id, url, body, made FROM alerts WHERE url = ? ORDER BY id LIMIT 1", (url,)
            ).fetchone()
            return None if row is None else Alert(*row)

    def waiting_alerts(self) -> int:
        """How many alerts wait."""
        with self._reading, self._in_words():
            (count,) = self._reader.execute("SELECT count(*) FROM alerts").fetchone()
            return int(count)

    def forget_alert(self, number: int) -> None:
        """Forgets an alert that was taken."""
        with self._transaction():
            self._writer.execute("DELETE FROM alerts WHERE id = ?", (number,))

    def drop_alerts(self, urls: Sequence[str]) -> int:
        """Forgets the alerts for other webhooks than these; returns how many there were."""
        with self._transaction():
            wanted = ", ".join("?" * len(urls))
            return self._writer.execute(
                f"DELETE FROM alerts WHERE url NOT IN ({wanted})",  # noqa: S608 - question marks
                urls,
            ).rowcount

    def prune(self, before: float, most: int) -> int:
        """Drops pings from before a moment, and the oldest beyond so many; returns how many went.

        A part of them at a time: writing goes on in between. 0 when there was nothing to drop.
        """
        with self._transaction():
            if self._pings is None:  # once: it takes a second for every 30 million
                (self._pings,) = self._writer.execute("SELECT count(*) FROM pings").fetchone()
            dropped = self._drop(round(before * 1e6), PRUNED_AT_ONCE)
            too_many = min(self._pings - dropped - most, PRUNED_AT_ONCE - dropped)
            dropped += self._drop(FAR, too_many) if too_many > 0 else 0
            self._pings -= dropped
            return dropped

    def _drop(self, before: int, most: int) -> int:
        return self._writer.execute(
            "DELETE FROM pings WHERE (target, at) IN"
            " (SELECT target, at FROM pings WHERE at < ? ORDER BY at LIMIT ?)",
            (before, most),
        ).rowcount

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
        )
        # NORMAL: a batch survives the end of this process, and a power cut costs no more than the last ones.
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        return connection

    def _prepare(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        (tables,) = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            self._writer.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise HistoryError(f"{self.path} must be a history of pings of version {VERSION}, got {version}")
        self._ids = dict(self._writer.execute("SELECT name, id FROM targets"))

    def _id(self, name: str) -> int:
        found = self._ids.get(name)
        if found is None:
            self._writer.execute("INSERT OR IGNORE INTO targets (name) VALUES (?)", (name,))
            (found,) = self._writer.execute("SELECT id FROM targets WHERE name = ?", (name,)).fetchone()
            self._ids[name] = found
        return found

    def _bound_alerts(self) -> None:
        cursor = self._writer.execute(
            "DELETE FROM alerts WHERE id <= (SELECT id FROM alerts ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (self.max_alerts,),
        )
        self.dropped_alerts += cursor.rowcount

    def _select(self, name: str, since: float, until: float) -> sqlite3.Cursor:
        return self._reader.execute(
            "SELECT at, good, total FROM pings WHERE target = (SELECT id FROM targets WHERE name = ?)"
            " AND at >= ? AND at < ? ORDER BY at",
            (name, round(since * 1e6), round(until * 1e6)),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing, self._in_words():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._writer.execute("COMMIT")
            except BaseException:
                self._ids.clear()  # some may have been given in this transaction
                self._pings = None
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise HistoryError(f"{self.path}: {error}") from None
