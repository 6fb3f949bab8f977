"""What is still to be fetched and what was fetched: one SQLite file, safe against a kill.

A page counts as fetched when its row is committed. Its row, the links that it led to and the end of its
wait are one transaction, so a run that is killed at any moment goes on from a moment that really was:
nothing with a row is fetched again, and nothing that was found is lost.

The file also is the set of all known URLs, however many: memory holds a window of the queue and the
URLs met last. Without a path the same happens in a file that SQLite makes, spills to when it grows, and
removes.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from penstock.cache import Cache
from penstock.errors import PenstockError
from penstock.services.printable import printable
from penstock.services.scraper.model import Page
from penstock.services.scraper.visit import KINDS, Visit

__all__ = ["Batch", "Frontier", "StateError", "Store"]

APPLICATION_ID = 0x70736372  # "pscr"
"""Marks a SQLite file as a scraper's state."""

VERSION = 1
"""Another number when the tables change."""

QUEUED, STARTED, DONE, CLAIMED = range(4)
"""States of a URL. A claimed one was met on the way of a redirect and belongs to the visit that met it."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS urls (
    id      INTEGER PRIMARY KEY,  -- in the order of discovery, which is breadth first
    url     TEXT    NOT NULL UNIQUE,
    host    TEXT    NOT NULL,
    kind    INTEGER NOT NULL,
    depth   INTEGER NOT NULL,
    chain   INTEGER NOT NULL,
    parent  INTEGER NOT NULL,
    given   TEXT    NOT NULL,
    sitemap INTEGER NOT NULL,
    state   INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS queue ON urls (host, id) WHERE state = 0;
CREATE TABLE IF NOT EXISTS rows (seq INTEGER PRIMARY KEY, id INTEGER NOT NULL, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS scope (host TEXT PRIMARY KEY) WITHOUT ROWID;
"""

ADD = """
INSERT OR IGNORE INTO urls (id, url, host, kind, depth, chain, parent, given, sitemap, state)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
       json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]'),
       json_extract(value, '$[9]')
FROM json_each(?)
"""
NEW = "SELECT json_group_array(id) FROM urls WHERE id >= ?"
ADD_ROWS = """
INSERT INTO rows (id, row) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
"""
SET_STATE = "UPDATE urls SET state = ? WHERE id IN (SELECT value FROM json_each(?))"
ADD_HOSTS = "INSERT OR IGNORE INTO scope SELECT value FROM json_each(?)"

FORGET_CLAIMS = """
DELETE FROM urls WHERE state = ? AND parent NOT IN (SELECT id FROM urls WHERE state = ?)
"""
ASKED = """
SELECT host, count(*) FROM urls JOIN rows USING (id)
WHERE json_extract(row, '$.attempts') > 0 OR json_extract(row, '$.fetched_at') <> ''
   OR json_extract(row, '$.outcome') = 'interrupted'
GROUP BY host
"""

LOAD = """
SELECT id, url, kind, depth, chain, parent, given, sitemap,
       coalesce((SELECT url FROM urls AS page WHERE page.id = urls.parent), '')
FROM urls WHERE state = 0 AND host = ? AND id > ? ORDER BY id LIMIT ?
"""

ROWS_AT_ONCE = 500

SEEN = 100_000
SEEN_CHARACTERS = 16_000_000
"""URLs met last that are known to be known without asking the file, and characters of theirs."""

MAX_PENDING = 5_000
"""Rows, or URLs that were found, that may wait for their commit before who brings them waits too."""


class StateError(PenstockError, OSError):
    """The state of a scraper cannot be read or written."""


@dataclass(slots=True)
class Batch:
    """What is committed together.

    Attributes:
        found: URLs that are to be queued, unless they are known.
        claimed: number, URL, number of the visit and who waits to hear whether it was new.
        started: numbers of visits that are about to be made.
        done: numbers of URLs that have been dealt with.
        rows: numbers and rows of pages, as JSON.
        pages: the same rows.
        hosts: that belong to the scope.
        waiting: who waits for the commit.
    """

    found: list[Visit] = field(default_factory=list)
    claimed: list["Claim"] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    rows: list[tuple[int, msgspec.Raw]] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    waiting: list["asyncio.Future[None]"] = field(default_factory=list)


class Claim(NamedTuple):
    """A URL on the way of a redirect."""

    id: int
    url: str
    host: str
    visit: Visit
    is_new: "asyncio.Future[bool]"


class Statements(NamedTuple):
    """A batch as JSON, one text for each statement; empty for nothing to do.

    Each statement carries all its rows and is stepped once: sqlite3 lets go of the GIL in every step, and
    a thread that has to win it back from a busy event loop for each row would wait milliseconds a row.
    """

    first_id: int
    urls: str
    rows: str
    started: str
    done: str
    hosts: str


class Store:
    """The file; every method may take a while.

    Args:
        path: made when it is not there; None for a file of SQLite's own that goes with this object.

    Raises:
        StateError: the file cannot be opened, is something else, or another run has it.
    """

    def __init__(self, path: str | Path | None) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(
                "" if path is None else path, isolation_level=None, check_same_thread=False, timeout=0.5
            )
        except sqlite3.Error as error:
            raise self._failure(error) from None
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        run = self._db.execute
        try:
            # Nobody else needs the file meanwhile, and two runs of one state would fetch everything twice.
            run("PRAGMA locking_mode = EXCLUSIVE")
            (marked,), (version,) = (
                run("PRAGMA application_id").fetchone(),
                run("PRAGMA user_version").fetchone(),
            )
            is_empty = run("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
            if not is_empty and (marked, version) != (APPLICATION_ID, VERSION):
                raise StateError(f"{self._path} is no state of a scraper, or one of another version")
            # A commit survives the kill of this process; a power cut may take the last ones, as a whole.
            run(f"PRAGMA journal_mode = {'MEMORY' if self._path is None else 'WAL'}")
            run(f"PRAGMA synchronous = {'OFF' if self._path is None else 'NORMAL'}")
            run(f"PRAGMA application_id = {APPLICATION_ID}")
            run(f"PRAGMA user_version = {VERSION}")
            self._db.executescript(SCHEMA)
            run("BEGIN IMMEDIATE")
            run(FORGET_CLAIMS, (CLAIMED, STARTED))  # who claimed them starts again
            run("COMMIT")
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def commit(self, batch: Statements) -> list[int]:
        """Stores a batch, whole or not at all; returns the numbers of the URLs that were new."""
        run = self._db.execute
        try:
            run("BEGIN IMMEDIATE")
            new: list[int] = []
            if batch.urls:
                run(ADD, (batch.urls,))
                new = msgspec.json.decode(run(NEW, (batch.first_id,)).fetchone()[0])
            if batch.rows:
                run(ADD_ROWS, (batch.rows,))
            for state, numbers in ((STARTED, batch.started), (DONE, batch.done)):
                if numbers:
                    run(SET_STATE, (state, numbers))
            if batch.hosts:
                run(ADD_HOSTS, (batch.hosts,))
            run("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                run("ROLLBACK")
            raise self._failure(error) from None
        return new

    def load(self, host: str, after: int, limit: int) -> list[Visit]:
        """Queued URLs of a host, in the order of their discovery, those after a number."""
        return [
            Visit(
                number,
                url,
                host,
                KINDS[kind],
                depth,
                chain,
                parent,
                referrer,
                given,
                from_sitemap=bool(sitemap),
            )
            for number, url, kind, depth, chain, parent, given, sitemap, referrer in self._all(
                LOAD, (host, after, limit)
            )
        ]

    def started(self) -> list[Visit]:
        """URLs that were in flight when an earlier run was killed, and are marked so, with their claims."""
        statement = LOAD.replace("state = 0 AND host = ?", f"state = {STARTED} AND ? = ''")
        claims: dict[int, dict[str, int]] = {}
        for number, url, owner in self._all("SELECT id, url, parent FROM urls WHERE state = ?", (CLAIMED,)):
            claims.setdefault(owner, {})[url] = number
        visits = []
        for number, url, kind, depth, chain, parent, given, sitemap, referrer in self._all(
            statement, ("", 0, -1)
        ):
            visits.append(
                Visit(number, url, "", KINDS[kind], depth, chain, parent, referrer, given, bool(sitemap))
            )
            visits[-1].claims = claims.get(number, {})
        return visits

    def queue_started(self) -> None:
        """Marks those as queued; their claims are forgotten."""
        self._all("UPDATE urls SET state = ? WHERE state = ?", (QUEUED, STARTED))
        self._all("DELETE FROM urls WHERE state = ?", (CLAIMED,))

    def queued(self) -> list[tuple[str, int]]:
        """Hosts, and how many of their URLs are queued."""
        return self._all("SELECT host, count(*) FROM urls WHERE state = 0 GROUP BY host ORDER BY min(id)")

    def asked(self) -> list[tuple[str, int]]:
        """Hosts, and for how many of the URLs with rows they were asked: not all rows took a request."""
        return self._all(ASKED)

    def hosts(self) -> list[str]:
        """Hosts that belong to the scope."""
        return [host for (host,) in self._all("SELECT host FROM scope")]

    def last_id(self) -> int:
        """The highest number given so far."""
        return int(self._all("SELECT coalesce(max(id), 0) FROM urls")[0][0])

    def count(self) -> tuple[int, int]:
        """URLs known, and rows."""
        urls, rows = self._all("SELECT (SELECT count(*) FROM urls), (SELECT count(*) FROM rows)")[0]
        return urls, rows

    def rows(self) -> Iterator[Page]:
        """Rows in the order in which they were committed."""
        last = 0
        while rows := self._all(
            "SELECT seq, row FROM rows WHERE seq > ? ORDER BY seq LIMIT ?", (last, ROWS_AT_ONCE)
        ):
            for _, row in rows:
                yield self._page(row)
            last = rows[-1][0]

    def _page(self, row: str) -> Page:
        try:
            return decoded(row)
        except msgspec.DecodeError as error:
            raise StateError(f"{self._path or 'the state'} holds a row that is none: {error}") from None

    def _all(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def _failure(self, error: sqlite3.Error) -> StateError:
        where = self._path or "the scraper's temporary state"
        if "locked" in str(error):
            return StateError(f"{where} is in use by another run: wait for it, or name another file")
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            return StateError(f"{where} is no state of a scraper: name another file")
        return StateError(f"{where} cannot be read or written: {error}")


encode = msgspec.json.Encoder().encode
decoded = msgspec.json.Decoder(Page).decode


def encoded(page: Page) -> bytes:
    """A row as JSON; lone surrogates, which UTF-8 does not know, become U+FFFD in the row itself."""
    try:
        return encode(page)
    except UnicodeEncodeError:
        for name in ("url", "error", "title", "referrer", "content_type", "charset", "robots"):
            setattr(page, name, printable(getattr(page, name)))
        page.selected = {
            printable(name): [printable(text) for text in texts] for name, texts in page.selected.items()
        }
        return encode(page)


def text_of(values: Sequence[object]) -> str:
    return encode(values).decode() if values else ""


Committed = Callable[[list[Page], list[Visit]], None]
"""Told of each commit: the rows, and the visits that are new and to be made."""


class Frontier:
    """What is known and what is queued; commits in groups, in a thread of its own.

    Everything that comes in during a commit makes up the next one. Its methods are called on one event
    loop; `run` must be running for anything to be stored.

    Args:
        store: where everything is kept; the caller closes it.
        committed: called after each commit, on the event loop.
        max_known: URLs that may be known; more are dropped.
    """

    def __init__(self, store: Store, committed: Committed, *, max_known: int) -> None:
        self._store = store
        self._committed = committed
        self._max_known = max_known
        self._next_id = store.last_id() + 1
        self._known = store.count()[0]
        self._seen: Cache[str, None] = Cache(
            SEEN, weigher=lambda url, _: len(url), max_weight=SEEN_CHARACTERS
        )
        self._batch = Batch()
        self._wanted = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="frontier")
        self._failure: BaseException | None = None
        self.dropped = 0
        self.committing = False

    @property
    def is_idle(self) -> bool:
        """Whether everything is stored."""
        return not self.committing and not self._wanted.is_set()

    async def run(self) -> None:
        """Commits until it is cancelled.

        Raises:
            StateError: a batch could not be stored; nothing will be any more.
            Exception: whatever `committed` raises; likewise.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            batch, self._batch = self._batch, Batch()
            self._room.set()
            self.committing = True
            try:
                new = await loop.run_in_executor(self._thread, self._store.commit, self._statements(batch))
                self.committing = False
                self._apply(batch, set(new))
            except BaseException as error:
                self.committing = False
                self._fail(batch, error)
                raise

    async def room(self) -> None:
        """Waits while too much waits to be stored; who adds or finishes asks for it before."""
        while not self._room.is_set():
            await self._room.wait()
            self._check()

    async def stored(self) -> None:
        """Waits until all that came in so far is stored."""
        self._check()
        if self.is_idle:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._batch.waiting.append(future)
        self._want()
        await future

    def is_known(self, url: str) -> bool:
        """Whether a canonical URL surely is known; when it is not sure, the commit tells."""
        return url in self._seen

    def add(self, visits: Iterable[Visit]) -> None:
        """Queues URLs that turn out to be new; gives them their numbers."""
        for visit in visits:
            if self._known + len(self._batch.found) >= self._max_known:
                self.dropped += 1
                continue
            visit.id = self._new_id()
            self._seen[visit.url] = None
            self._batch.found.append(visit)
        if self._batch.found:
            self._want()
        if len(self._batch.found) >= MAX_PENDING:
            self._room.clear()

    def claim(self, visit: Visit, url: str, host: str) -> "asyncio.Future[bool]":
        """Makes a URL on the way of a redirect the visit's own; tells whether it was new."""
        is_new: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._batch.claimed.append(Claim(self._new_id(), url, host, visit, is_new))
        self._seen[url] = None
        self._want()
        return is_new

    def start(self, visit: Visit) -> "asyncio.Future[None]":
        """Marks a visit as about to be made; the future is done when that is stored."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._batch.started.append(visit.id)
        self._batch.waiting.append(future)
        self._want()
        return future

    def finish(self, visit: Visit, page: Page | None) -> None:
        """The visit is over; its row, if it has one, is to be stored."""
        batch = self._batch
        batch.done.append(visit.id)
        batch.done.extend(visit.claims.values())
        if page is not None:
            batch.rows.append((visit.id, msgspec.Raw(encoded(page))))
            batch.pages.append(page)
        if len(batch.done) >= MAX_PENDING:
            self._room.clear()
        self._want()

    def widen(self, host: str) -> None:
        """Adds a host to the scope, for this run and those that go on from it."""
        self._batch.hosts.append(host)
        self._want()

    async def load(self, host: str, after: int, limit: int) -> list[Visit]:
        """Queued URLs of a host."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._store.load, host, after, limit)

    def close(self) -> None:
        """Ends the thread, after what it does now."""
        self._thread.shutdown()

    def _new_id(self) -> int:
        number = self._next_id
        self._next_id += 1
        return number

    def _want(self) -> None:
        self._check()
        self._wanted.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise StateError(str(self._failure)) from self._failure

    def _statements(self, batch: Batch) -> Statements:
        urls: list[tuple[object, ...]] = [
            (
                visit.id, visit.url, visit.host, KINDS.index(visit.kind), visit.depth, visit.chain,
                visit.parent, visit.given, int(visit.from_sitemap), QUEUED,
            )
            for visit in batch.found
        ]  # fmt: skip
        urls += [
            (claim.id, claim.url, claim.host, 0, claim.visit.depth, 0, claim.visit.id, "", 0, CLAIMED)
            for claim in batch.claimed
        ]
        first = min((batch.found[0].id if batch.found else self._next_id, *(c.id for c in batch.claimed)))
        return Statements(
            first,
            text_of(urls),
            text_of(batch.rows),
            text_of(batch.started),
            text_of(batch.done),
            text_of(batch.hosts),
        )

    def _apply(self, batch: Batch, new: set[int]) -> None:
        self._known += len(new)
        for claim in batch.claimed:
            if claim.id in new:
                claim.visit.claims[claim.url] = claim.id
            if not claim.is_new.done():
                claim.is_new.set_result(claim.id in new)
        for future in batch.waiting:
            if not future.done():
                future.set_result(None)
        self._committed(batch.pages, [visit for visit in batch.found if visit.id in new])

    def _fail(self, batch: Batch, error: BaseException) -> None:
        self._failure = error
        self._room.set()
        for lost in (batch, self._batch):
            futures: list[asyncio.Future[Any]] = [*lost.waiting, *(claim.is_new for claim in lost.claimed)]
            for future in futures:
                if isinstance(error, asyncio.CancelledError):
                    future.cancel()
                elif not future.done():
                    future.set_exception(StateError(str(error)))
