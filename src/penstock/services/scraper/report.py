"""Sinks that write the rows of pages to files, which are valid after every row."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from penstock.errors import PenstockError
from penstock.services.row_files import CsvRows, JsonLines, JsonRows
from penstock.services.scraper.model import Page

__all__ = ["COLUMNS", "CsvReport", "JsonReport", "NdjsonReport", "NotAReport", "SqliteReport"]

COLUMNS = (
    "url", "final_url", "outcome", "status", "error", "title", "length", "content_type", "charset", "depth",
    "links", "referrer", "from_sitemap", "fetched_at", "elapsed_ms", "attempts", "redirects", "robots",
    "canonical",
)  # fmt: skip
"""Of the CSV and the SQLite table, and members of the JSON objects; `selected` comes after them."""

SELECTED = "selected."

BETWEEN = " | "
"""Stands in a CSV cell between the texts that one selector found."""


class CsvReport(CsvRows[Page]):
    """Writes a row for each page, and a column for each selector.

    Args:
        path: see CsvRows; an int is a descriptor of standard output.
        selectors: names of the columns; one that the table has already gets `selected.` before it.
    """

    def __init__(self, path: str | Path | int, selectors: Iterable[str] = ()) -> None:
        self._selectors = tuple(selectors)
        super().__init__(path, [*COLUMNS, *map(column_of, self._selectors)], self._cells_of)

    def _cells_of(self, page: Page) -> list[object]:
        values = [getattr(page, name) for name in COLUMNS]
        texts = [BETWEEN.join(page.selected.get(name, ())) for name in self._selectors]
        return [int(value) if value is True or value is False else value for value in values] + texts


def column_of(selector: str) -> str:
    """The name of a selector's column; no two share one."""
    return f"{SELECTED}{selector}" if selector in COLUMNS or selector.startswith(SELECTED) else selector


class JsonReport(JsonRows[Page]):
    """Writes a JSON array with an object a line; `selected` is an object of lists.

    Args:
        path: see JsonRows; an int is a descriptor of standard output.
    """

    def __init__(self, path: str | Path | int) -> None:
        super().__init__(path, members)


def members(page: Page) -> dict[str, object]:
    return {name: getattr(page, name) for name in COLUMNS} | {"selected": page.selected}


class NdjsonReport(JsonLines[Page]):
    """Writes a JSON object a line: the members of JsonReport.

    Args:
        path: see JsonLines.
    """

    def __init__(self, path: str | Path | int) -> None:
        encode = msgspec.json.Encoder().encode
        super().__init__(path, lambda page: encode(members(page)))


class NotAReport(PenstockError, OSError):
    """A file that is to be written over is no report, and stays as it is."""


APPLICATION_ID = 0x70737067  # "pspg"
"""Marks a SQLite file as a report of pages."""

SCHEMA = """
DROP TABLE IF EXISTS pages;
DROP TABLE IF EXISTS selected;
CREATE TABLE pages (
    id           INTEGER PRIMARY KEY,
    url          TEXT    NOT NULL,
    final_url    TEXT    NOT NULL,
    outcome      TEXT    NOT NULL,
    status       INTEGER NOT NULL,
    error        TEXT    NOT NULL,
    title        TEXT    NOT NULL,
    length       INTEGER NOT NULL,
    content_type TEXT    NOT NULL,
    charset      TEXT    NOT NULL,
    depth        INTEGER NOT NULL,
    links        INTEGER NOT NULL,
    referrer     TEXT    NOT NULL,
    from_sitemap INTEGER NOT NULL,
    fetched_at   TEXT    NOT NULL,
    elapsed_ms   REAL    NOT NULL,
    attempts     INTEGER NOT NULL,
    redirects    INTEGER NOT NULL,
    robots       TEXT    NOT NULL,
    canonical    TEXT    NOT NULL
);
CREATE TABLE selected (
    page INTEGER NOT NULL REFERENCES pages,
    name TEXT    NOT NULL,
    nth  INTEGER NOT NULL,  -- in the order of the page, from 0
    text TEXT    NOT NULL
);
CREATE INDEX selected_of_page ON selected (page);
"""

ADD_PAGE = f"INSERT INTO pages ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
ADD_SELECTED = "INSERT INTO selected VALUES (?, ?, ?, ?)"


class SqliteReport:
    """Writes a table `pages` with a row for each page, and `selected` with one for each text.

    Each page is a transaction in the write-ahead log: who reads the file meanwhile sees whole pages, and a
    kill loses none. Only a crash of the whole machine may lose the last ones.

    Args:
        path: created; an earlier report is emptied, any other file is left alone.

    Raises:
        NotAReport: the file holds something else; an OSError.
        OSError: the file cannot be opened or written, here and in write().
    """

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        with Plain(self._path):
            self._database = sqlite3.connect(self._path, isolation_level=None)
            try:
                self._begin()
            except BaseException:
                self._database.close()
                raise

    def _begin(self) -> None:
        mark: int = self._database.execute("PRAGMA application_id").fetchone()[0]
        tables: int = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables and mark != APPLICATION_ID:
            raise NotAReport(0, "is a database, and no report of pages: name another file", self._path)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; {SCHEMA} COMMIT;")

    def write(self, page: Page) -> None:
        """Adds one page, in a transaction of its own unless it is within together()."""
        if self._database.in_transaction:
            self._add(page)
        else:
            with self.together():
                self._add(page)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Makes one transaction of all that is written within; of nothing when that fails."""
        with Plain(self._path):
            self._database.execute("BEGIN")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk may have ended it already
                    self._database.execute("ROLLBACK")
                raise

    def _add(self, page: Page) -> None:
        cursor = self._database.execute(ADD_PAGE, [getattr(page, name) for name in COLUMNS])
        if page.selected:
            self._database.executemany(ADD_SELECTED, texts_of(cursor.lastrowid, page.selected))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()


def texts_of(page: int | None, selected: Mapping[str, list[str]]) -> list[tuple[int | None, str, int, str]]:
    return [(page, name, nth, text) for name, texts in selected.items() for nth, text in enumerate(texts)]


class Plain:
    """Turns the errors of SQLite into those of files, which all sinks raise.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error):
            raise OSError(0, str(error), self._path) from error
