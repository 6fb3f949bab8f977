"""A shard in one table of a SQLite file."""

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

from penstock.errors import InvalidType, InvalidValue
from penstock.sharding._values import Decode, Encode, checked_callables, encoded, from_msgpack, to_msgpack
from penstock.sharding.keys import checked_kind, checked_sql_key, shown
from penstock.sharding.shard import PAGE_ROWS, ShardClosed, ShardError, checked_limit

__all__ = ["SQLiteShard"]

K = TypeVar("K", int, str, bytes)
V = TypeVar("V")
R = TypeVar("R")

TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")  # PostgreSQL takes 63 characters
COLUMN_TYPES = {int: "INTEGER", str: "TEXT COLLATE BINARY", bytes: "BLOB"}  # each sorts as Python does
KEY_ORDERS = (
    "SELECT coll FROM pragma_index_list(?) AS index_, pragma_index_xinfo(index_.name) AS column_"
    " WHERE origin = 'pk' AND column_.key"
)
BUSY_SECONDS = 5.0  # to wait for another process that writes to the file


class SQLiteShard(Generic[K, V]):
    """Keeps entries in one table of a SQLite file, in WAL mode; a write that has returned is on the disk.

    A batch is one transaction: all of it is stored or nothing. The file is read and written by one thread,
    so nothing blocks the event loop, and what a cancelled call still does comes before later calls.
    Several shards, also of other processes, may use the file, each its own table.

    Args:
        path: of the file; made when missing, but not its folder. It is opened at once.
        keys: the type of all keys: int (64 bits), str or bytes.
        table: its name; made when missing, `key` its primary key and `value` a BLOB.
        encode: turns a value into bytes; MessagePack unless given.
        decode: turns the bytes back.

    Raises:
        ShardError: the file cannot be used, or its table holds keys of another type.
        ValueError: table is no plain name of at most 63 characters, keys another type.
        TypeError: an argument has the wrong type.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        keys: type[K],
        *,
        table: str = "shard",
        encode: Encode = to_msgpack,
        decode: Decode = from_msgpack,
    ) -> None:
        checked_callables(encode, decode)
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidType(f"path must be a str or path, got {type(path).__name__}")
        self._path = os.fspath(path)
        self._kind: type = checked_kind(keys)
        self._table = checked_table(table)
        self._encode, self._decode = encode, decode
        self._db = opened(self._path, self._table, self._kind)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-shard")
        self._closed = False

    def __repr__(self) -> str:
        return f"SQLiteShard({self._path!r}, {self._kind.__name__}, table={self._table!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def get(self, key: K, default: V | None = None, /) -> V | None:
        """The value of a key, or `default` if it has none.

        Raises:
            ShardError: the file cannot be read.
            ValueError: the value cannot be decoded, or the key is not allowed.
            TypeError: the key is not of the shard's type.
        """
        found = await self._run(self._select, "WHERE key = ?", [self._checked(key)])
        return self._decode(found[0][1]) if found else default

    async def put(self, key: K, value: V, /) -> None:
        """Stores a value, in place of the one that the key may have.

        Raises:
            ShardError: it may be stored or not.
            ValueError: the key is not allowed.
            TypeError: the key is not of the shard's type.
        """
        await self.put_many(((key, value),))

    async def put_many(self, items: Iterable[tuple[K, V]], /) -> None:
        """Stores all items in one transaction; of two with one key, the later.

        Raises:
            ShardError: all are stored or none.
            ValueError: a key is not allowed; nothing is stored, as below.
            TypeError: a key is not of the shard's type.
        """
        rows = [(self._checked(key), encoded(value, self._encode)) for key, value in items]
        statement = (
            f"INSERT INTO {self._table} VALUES (?, ?)"  # noqa: S608
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )
        await self._run(self._change, statement, rows)

    async def delete(self, key: K, /) -> bool:
        """Removes a key; whether it was there. Raises as `put` does."""
        return await self.delete_many((key,)) == 1

    async def delete_many(self, keys: Iterable[K], /) -> int:
        """Removes keys in one transaction; how many were there. Raises as `put_many` does."""
        rows = [(self._checked(key),) for key in keys]
        return await self._run(self._change, f"DELETE FROM {self._table} WHERE key = ?", rows)  # noqa: S608

    async def page(
        self,
        first: K | None = None,
        last: K | None = None,
        *,
        after: K | None = None,
        before: K | None = None,
        limit: int = PAGE_ROWS,
    ) -> list[tuple[K, V]]:
        """The lowest entries within bounds, sorted by key, in one statement.

        Args:
            first: the lowest key that counts; None for no such bound, as in the other three.
            last: the highest key that counts.
            after: keys up to this one do not count.
            before: keys from this one on do not count.
            limit: entries at most, 1 to a million. Fewer mean that there are no more.

        Raises:
            ShardError: the file cannot be read.
            ValueError: a value cannot be decoded, or a bound is not allowed.
            TypeError: a bound is not of the shard's type.
        """
        bounds = [(">=", first), ("<=", last), (">", after), ("<", before)]
        given: list[tuple[str, Any]] = [(sign, self._checked(key)) for sign, key in bounds if key is not None]
        where = " AND ".join(f"key {sign} ?" for sign, _ in given) or "TRUE"
        values = [*(key for _, key in given), checked_limit(limit)]
        found = await self._run(self._select, f"WHERE {where} ORDER BY key LIMIT ?", values)
        return [(key, self._decode(data)) for key, data in found]

    async def count(self) -> int:
        """Entries in the shard; SQLite reads the whole table for it.

        Raises:
            ShardError: the file cannot be read.
        """
        return await self._run(self._count)

    async def aclose(self) -> None:
        """Closes the file once everything under way is done; its thread ends."""
        if not self._closed:
            self._closed = True
            closing = asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
            self._thread.shutdown(wait=False)
            await asyncio.shield(closing)

    def _checked(self, key: object) -> Any:
        return checked_sql_key(key, self._kind)

    async def _run(self, work: Callable[..., R], *arguments: Any) -> R:
        if self._closed:
            raise ShardClosed(f"the shard {self._path} is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except sqlite3.Error as error:
            raise ShardError(f"the shard {self._path} cannot be used: {error}") from error

    # ---- in the thread ----

    def _select(self, condition: str, values: list[Any]) -> list[tuple[Any, bytes]]:
        return self._db.execute(f"SELECT key, value FROM {self._table} {condition}", values).fetchall()  # noqa: S608

    def _count(self) -> int:
        count: int = self._db.execute(f"SELECT count(*) FROM {self._table}").fetchone()[0]  # noqa: S608
        return count

    def _change(self, statement: str, rows: list[tuple[Any, ...]]) -> int:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            changed = self._db.executemany(statement, rows).rowcount if rows else 0
            self._db.execute("COMMIT")
        except BaseException:  # whatever it is: no transaction may stay open
            with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise
        return changed


def checked_table(table: object) -> str:
    """`table`, if it can be the plain name of a table in every database.

    Raises:
        ValueError: it is not.
        TypeError: it is no str.
    """
    if not isinstance(table, str):
        raise InvalidType(f"table must be a str, got {type(table).__name__}")
    if not TABLE_NAME.fullmatch(table):
        raise InvalidValue(f"table must be a plain name of at most 63 characters, got {shown(table)}")
    return table


def opened(path: str, table: str, kind: type) -> sqlite3.Connection:
    """A connection in WAL mode whose commits are synced, with the table made.

    Raises:
        ShardError: the file cannot be used, or the table has other columns or another order.
    """
    db = None
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # in WAL mode: the log is synced at every commit
        column = f"key {COLUMN_TYPES[kind]} PRIMARY KEY NOT NULL"
        db.execute(f"CREATE TABLE IF NOT EXISTS {table} ({column}, value BLOB NOT NULL) WITHOUT ROWID")
        columns = [(name, of_type) for _, name, of_type, *_ in db.execute(f"PRAGMA table_info({table})")]
        orders = db.execute(KEY_ORDERS, (table,)).fetchall()
    except sqlite3.Error as error:
        if db is not None:
            db.close()
        raise ShardError(f"the shard {path} cannot be used: {error}") from error
    wanted = [("key", COLUMN_TYPES[kind].split()[0]), ("value", "BLOB")]
    if columns != wanted:
        db.close()
        raise ShardError(f"the table {table} of {path} must have columns {wanted}, got {shown(columns)}")
    if any(order != "BINARY" for (order,) in orders):
        db.close()
        raise ShardError(f"the keys in table {table} of {path} must be sorted as BINARY, got {shown(orders)}")
    return db
