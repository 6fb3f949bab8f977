"""A store in one table of a SQLite file."""

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

from penstock.cache.codec import Codec, checked_codec, encode_key
from penstock.cache.store import StoreClosed, StoreError
from penstock.errors import InvalidType, InvalidValue

__all__ = ["SQLiteStore"]

K = TypeVar("K", bound=str | int | bytes)
V = TypeVar("V")
T = TypeVar("T")
R = TypeVar("R")

TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
BUSY_SECONDS = 5.0  # to wait for another process that writes to the file

CHUNKS = (256, 16, 1)
"""Rows a statement carries. Few sizes, so that each is prepared once and kept; and few statements, for
sqlite3 lets go of the GIL in each, and a thread may have to wait milliseconds to win it back."""


class SQLiteStore(Generic[K, V]):
    """Keeps entries in one table of a SQLite file, in WAL mode; a write that has returned is on the disk.

    A batch is one transaction: all of it is stored or nothing. The file is read and written by one thread,
    so nothing blocks the event loop, and what a cancelled call still does comes before later calls.
    Several stores, also of other processes, may use the file, each its own table or the same one.

    Args:
        path: of the file; made when missing, but not its folder. It is opened at once.
        table: its name; made when missing: `key BLOB PRIMARY KEY, value BLOB NOT NULL`.
        codec: of values; None for MessagePack. Keys are str, int or bytes.

    Raises:
        StoreError: the file cannot be used, or is no SQLite file.
        ValueError: table is no plain name of at most 64 characters.
        TypeError: an argument has the wrong type.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, table: str = "cache", codec: Codec | None = None
    ) -> None:
        self._codec = checked_codec(codec)
        self._table = checked_table(table)
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidType(f"path must be a str or path, got {type(path).__name__}")
        self._path = os.fspath(path)
        self._db = opened(self._path, self._table)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-store")
        self._closed = False

    def __repr__(self) -> str:
        return f"SQLiteStore({self._path!r}, table={self._table!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def get_many(self, keys: Collection[K], /) -> dict[K, V]:
        """The entries that exist of these keys.

        Raises:
            StoreError: the file cannot be read.
            ValueError: a value cannot be decoded.
        """
        names = {encode_key(key): key for key in keys}
        rows = await self._run(self._select, list(names))
        return {names[name]: self._codec.decode(data) for name, data in rows}

    async def set_many(self, items: Mapping[K, V], /) -> None:
        """Stores all items in one transaction.

        Raises:
            StoreError: nothing is stored.
        """
        rows = [(encode_key(key), self._codec.encode(value)) for key, value in items.items()]
        await self._run(self._upsert, rows)

    async def delete_many(self, keys: Collection[K], /) -> None:
        """Removes the entries of these keys in one transaction.

        Raises:
            StoreError: nothing is removed.
        """
        await self._run(self._delete, [encode_key(key) for key in keys])

    async def aclose(self) -> None:
        """Closes the file once everything under way is done; its thread ends."""
        if not self._closed:
            self._closed = True
            closing = asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
            self._thread.shutdown(wait=False)
            await asyncio.shield(closing)

    async def _run(self, work: Callable[[T], R], argument: T) -> R:
        if self._closed:
            raise StoreClosed(f"the store {self._path} is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, argument)
        except sqlite3.Error as error:
            raise StoreError(f"the store {self._path} cannot be used: {error}") from error

    # ---- in the thread ----

    def _select(self, names: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        rows: list[tuple[bytes, bytes]] = []
        for chunk in chunks(names):
            places = ", ".join("?" * len(chunk))
            statement = f"SELECT key, value FROM {self._table} WHERE key IN ({places})"  # noqa: S608
            rows += self._db.execute(statement, chunk)
        return rows

    def _upsert(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        self._change(
            (
                f"INSERT INTO {self._table} VALUES {', '.join(['(?, ?)'] * len(chunk))}"  # noqa: S608
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [part for row in chunk for part in row],
            )
            for chunk in chunks(rows)
        )

    def _delete(self, names: Sequence[bytes]) -> None:
        self._change(
            (f"DELETE FROM {self._table} WHERE key IN ({', '.join('?' * len(chunk))})", chunk)  # noqa: S608
            for chunk in chunks(names)
        )

    def _change(self, statements: Iterator[tuple[str, Sequence[Any]]]) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for statement, values in statements:
                self._db.execute(statement, values)
            self._db.execute("COMMIT")
        except BaseException:  # whatever it is: no transaction may stay open
            with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise


def checked_table(table: object) -> str:
    if not isinstance(table, str):
        raise InvalidType(f"table must be a str, got {type(table).__name__}")
    if not TABLE_NAME.fullmatch(table):
        raise InvalidValue(f"table must be a plain name of at most 64 characters, got {table!r}")
    return table


def opened(path: str, table: str) -> sqlite3.Connection:
    """A connection in WAL mode whose commits are synced, with the table made.

    Raises:
        StoreError: the file cannot be used.
    """
    db = None
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # in WAL mode: the log is synced at every commit
        db.execute(f"CREATE TABLE IF NOT EXISTS {table} (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
        db.execute(f"SELECT key, value FROM {table} LIMIT 0")  # noqa: S608  (a foreign table may lack them)
    except sqlite3.Error as error:
        if db is not None:
            db.close()
        raise StoreError(f"the store {path} cannot be used: {error}") from error
    return db


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    start = 0
    while start < len(items):
        size = next(size for size in CHUNKS if size <= len(items) - start)
        yield items[start : start + size]
        start += size
