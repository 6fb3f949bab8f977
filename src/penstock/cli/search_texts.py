"""The texts beside a search index, so that what was found can be shown: an SQLite file `INDEX.texts`.

The index does without it. It says which index it belongs to, and what belongs to another one is not shown.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from penstock.cli.search_documents import Document
from penstock.errors import PenstockError

__all__ = ["MAX_SHOWN", "Shown", "Texts", "TextsUnusable", "path_of_texts", "written_texts"]

MAX_SHOWN = 1 << 20
"""Characters of a document in which words are looked for to be highlighted."""

BATCH = 1_000
HEAD = 4_096  # bytes of an index that tell it from others: its check sum is among them

TABLES = """
CREATE TABLE texts (id TEXT PRIMARY KEY, title TEXT NOT NULL, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE belongs (size INTEGER NOT NULL, head BLOB NOT NULL);
"""


class TextsUnusable(PenstockError, OSError):
    """There are no texts, they cannot be read, or they belong to another index; the message says which."""


class Shown(NamedTuple):
    """What can be shown of a document."""

    title: str
    text: str


def path_of_texts(index: Path) -> Path:
    """Where the texts of an index are."""
    return index.with_name(f"{index.name}.texts")


class Writing:
    """Texts that are being written; a file that nobody reads until it is finished."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._partial.unlink(missing_ok=True)
        self._connection = sqlite3.connect(self._partial, isolation_level=None)
        self._batch: list[tuple[str, str, str]] = []

    def begin(self) -> None:
        """Makes the tables."""
        self._connection.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {TABLES} BEGIN;"
        )

    def add(self, document: Document) -> None:
        """Texts of one document more."""
        text = "\n".join(text for name, text in document.texts.items() if name != "title")
        self._batch.append((document.id, document.title, text))
        if len(self._batch) == BATCH:
            self._write()

    def finish(self, index: Path) -> None:
        """Puts the file in its place, as that of an index that is there already."""
        self._write()
        self._connection.execute("INSERT INTO belongs VALUES (?, ?)", mark_of(index))
        self._connection.execute("COMMIT")
        self._connection.close()
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())
        self._partial.replace(self._path)

    def discard(self) -> None:
        """Leaves nothing behind if it was not finished."""
        self._connection.close()
        self._partial.unlink(missing_ok=True)

    def _write(self) -> None:
        self._connection.executemany("INSERT INTO texts VALUES (?, ?, ?)", self._batch)
        self._batch.clear()


@contextmanager
def written_texts(path: Path) -> Iterator[Writing]:
    """Texts to be written, which are gone if the context ends before they were finished.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        writing = Writing(path)
        try:
            writing.begin()
            yield writing
        finally:
            writing.discard()
    except sqlite3.Error as error:
        raise OSError(None, str(error), str(path)) from error


class Texts:
    """The texts of an index, for reading.

    Raises:
        TextsUnusable: here and in `of`.
    """

    def __init__(self, index: Path) -> None:
        self._path = path_of_texts(index)
        if not self._path.is_file():
            raise TextsUnusable(f"{self._path} is not there, so titles and texts are not shown")
        self._connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
        with ExitStack() as on_failure:
            on_failure.callback(self._connection.close)
            with self._failures():
                marks = self._connection.execute("SELECT size, head FROM belongs LIMIT 2").fetchall()
            if marks != [mark_of(index)]:
                raise TextsUnusable(
                    f"{self._path} belongs to another index, so titles and texts are not shown"
                )
            on_failure.pop_all()

    def of(self, doc_id: str) -> Shown:
        """What can be shown of a document; nothing if it has none."""
        query = "SELECT substr(title, 1, ?), substr(text, 1, ?) FROM texts WHERE id = ?"
        with self._failures():
            row = self._connection.execute(query, (MAX_SHOWN, MAX_SHOWN, doc_id)).fetchone()
        return Shown("", "") if row is None else Shown(*map(str, row))

    def close(self) -> None:
        """Gives the file back."""
        self._connection.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise TextsUnusable(f"{self._path} cannot be read ({error}), so texts are not shown") from error


def mark_of(index: Path) -> tuple[int, bytes]:
    """What tells an index from another one."""
    with index.open("rb") as file:
        return index.stat().st_size, file.read(HEAD)
