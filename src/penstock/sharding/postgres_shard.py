"""A shard in one table of a PostgreSQL database. Needs `penstock[postgres]`."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Generic, Self, TypeVar

import asyncpg

from penstock.errors import InvalidType
from penstock.sharding._arguments import checked_seconds, checked_whole
from penstock.sharding._values import Decode, Encode, checked_callables, encoded, from_msgpack, to_msgpack
from penstock.sharding.keys import checked_kind, checked_sql_key
from penstock.sharding.shard import PAGE_ROWS, ShardClosed, ShardError, checked_limit
from penstock.sharding.sqlite_shard import checked_table

__all__ = ["PostgreSQLShard"]

K = TypeVar("K", int, str, bytes)
V = TypeVar("V")

COLUMN_TYPES = {int: "bigint", str: 'text COLLATE "C"', bytes: "bytea"}  # each sorts as Python does
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class PostgreSQLShard(Generic[K, V]):
    """Keeps entries in one table of a PostgreSQL database; a write that has returned is committed.

    A batch is one statement: all of it is stored or nothing. Connections are made when they are needed and
    kept; after a restart of the server the next call finds it again. Nothing is tried twice.

    Args:
        dsn: `postgresql://user@host/database`, of a database in UTF-8.
        keys: the type of all keys: int (64 bits), str or bytes.
        table: its name; made when missing, `key` its primary key and `value` of type bytea.
        encode: turns a value into bytes; MessagePack unless given.
        decode: turns the bytes back.
        connections: at most so many at once; calls beyond them wait.
        timeout: seconds for each call, in which it waits for a connection too; then as many for the server to
            give up what it is doing.

    Raises:
        ValueError: table is no plain name of at most 63 characters, keys another type, or a number too low.
        TypeError: an argument has the wrong type.
    """

    def __init__(
        self,
        dsn: str,
        keys: type[K],
        *,
        table: str = "shard",
        encode: Encode = to_msgpack,
        decode: Decode = from_msgpack,
        connections: int = 8,
        timeout: float = 10.0,
    ) -> None:
        checked_callables(encode, decode)
        if not isinstance(dsn, str):
            raise InvalidType(f"dsn must be a str, got {type(dsn).__name__}")
        self._kind: type = checked_kind(keys)
        self._table = checked_table(table)
        self._encode, self._decode = encode, decode
        self._dsn = dsn
        self._connections = checked_whole("connections", connections, 1)
        self._timeout = checked_seconds("timeout", timeout)
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._closed = False

    def __repr__(self) -> str:
        # not the dsn: it may have a password in it
        return f"<PostgreSQLShard of {self._kind.__name__} keys in table {self._table}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def get(self, key: K, default: V | None = None, /) -> V | None:
        """The value of a key, or `default` if it has none.

        Raises:
            ShardError: the database cannot be read.
            ValueError: the value cannot be decoded, or the key is not allowed.
            TypeError: the key is not of the shard's type.
        """
        statement = f"SELECT value FROM {self._table} WHERE key = $1"  # noqa: S608
        key = self._checked(key)
        async with self._connection() as connection:
            data = await connection.fetchval(statement, key)
        return default if data is None else self._decode(data)

    async def put(self, key: K, value: V, /) -> None:
        """Stores a value, in place of the one that the key may have.

        Raises:
            ShardError: it may be stored or not.
            ValueError: the key is not allowed.
            TypeError: the key is not of the shard's type.
        """
        await self.put_many(((key, value),))

    async def put_many(self, items: Iterable[tuple[K, V]], /) -> None:
        """Stores all items in one statement; of two with one key, the later.

        Raises:
            ShardError: all are stored or none.
            ValueError: a key is not allowed; nothing is stored, as below.
            TypeError: a key is not of the shard's type.
        """
        entries = {self._checked(key): encoded(value, self._encode) for key, value in items}
        ordered = sorted(entries)  # two batches that lock rows in one order never wait for each other
        statement = (
            f"INSERT INTO {self._table} SELECT * FROM unnest($1::{self._column}[], $2::bytea[])"  # noqa: S608
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )
        async with self._connection() as connection:
            await connection.execute(statement, ordered, [entries[key] for key in ordered])

    async def delete(self, key: K, /) -> bool:
        """Removes a key; whether it was there. Raises as `put` does."""
        return await self.delete_many((key,)) == 1

    async def delete_many(self, keys: Iterable[K], /) -> int:
        """Removes keys in one statement; how many were there. Raises as `put_many` does."""
        gone = sorted({self._checked(key) for key in keys})
        statement = (
            f"DELETE FROM {self._table} WHERE key IN (SELECT key FROM {self._table}"  # noqa: S608
            f" WHERE key = ANY($1::{self._column}[]) ORDER BY key FOR UPDATE)"
        )
        async with self._connection() as connection:
            status: str = await connection.execute(statement, gone)
        return int(status.removeprefix("DELETE "))

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
            ShardError: the database cannot be read.
            ValueError: a value cannot be decoded, or a bound is not allowed.
            TypeError: a bound is not of the shard's type.
        """
        bounds = [(">=", first), ("<=", last), (">", after), ("<", before)]
        given: list[tuple[str, Any]] = [(sign, self._checked(key)) for sign, key in bounds if key is not None]
        where = " AND ".join(f"key {sign} ${place}" for place, (sign, _) in enumerate(given, 2)) or "TRUE"
        statement = f"SELECT key, value FROM {self._table} WHERE {where} ORDER BY key LIMIT $1"  # noqa: S608
        limit = checked_limit(limit)
        async with self._connection() as connection:
            found = await connection.fetch(statement, limit, *(key for _, key in given))
        return [(key, self._decode(data)) for key, data in found]

    async def count(self) -> int:
        """Entries in the shard; PostgreSQL reads the whole table for it.

        Raises:
            ShardError: the database cannot be read.
        """
        async with self._connection() as connection:
            count: int = await connection.fetchval(f"SELECT count(*) FROM {self._table}")  # noqa: S608
        return count

    async def aclose(self) -> None:
        """Closes the connections once their calls are done, or when `timeout` seconds are over."""
        self._closed = True
        async with self._opening:
            pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(self._timeout):
                    await pool.close()
            except FAILURES:
                pool.terminate()

    @property
    def _column(self) -> str:
        return COLUMN_TYPES[self._kind].split()[0]

    def _checked(self, key: object) -> Any:
        return checked_sql_key(key, self._kind)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """A connection for one call.

        Raises:
            ShardClosed: the shard is closed.
            ShardError: whatever the server or the way to it failed with.
        """
        try:
            async with asyncio.timeout(self._timeout):
                pool = await self._opened()
                # the timeout is also that of its release, where a query that was given up is cancelled
                async with pool.acquire(timeout=self._timeout) as connection:
                    yield connection
        except FAILURES as error:
            if isinstance(error, (ShardError, ShardClosed)):
                raise
            what = f"{type(error).__name__}: {error}" if str(error) else f"no answer in {self._timeout} s"
            raise ShardError(f"the table {self._table} cannot be used: {what}") from error

    async def _opened(self) -> Any:
        async with self._opening:
            if self._closed:
                raise ShardClosed(f"the shard in table {self._table} is closed")
            if self._pool is None:
                pool = asyncpg.create_pool(
                    self._dsn,
                    min_size=0,
                    max_size=self._connections,
                    timeout=self._timeout,
                    reset=leave_as_it_is,
                )
                try:
                    await pool
                    async with pool.acquire() as connection:
                        await make_table(connection, self._table, self._kind)
                except BaseException:
                    pool.terminate()
                    raise
                self._pool = pool
            return self._pool


async def leave_as_it_is(connection: Any) -> None:
    """Saves the round trip that would undo what no call of ours does: settings, locks, cursors."""


async def make_table(connection: Any, table: str, kind: type) -> None:
    """Makes the table where it is missing.

    Raises:
        ShardError: the database is not in UTF-8, or the table has other columns.
    """
    if (encoding := await connection.fetchval("SHOW server_encoding")) != "UTF8":
        raise ShardError(f"the database must be in UTF8, got {encoding}")
    async with connection.transaction():
        # of two that make one table at the same time one would fail, whatever IF NOT EXISTS says
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"penstock {table}")
        column = f"key {COLUMN_TYPES[kind]} PRIMARY KEY"
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({column}, value bytea NOT NULL)")
    columns = await connection.fetch(
        "SELECT attname, format_type(atttypid, NULL), collname FROM pg_attribute"
        " LEFT JOIN pg_collation ON pg_collation.oid = attcollation"
        " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        table,
    )
    of_type = COLUMN_TYPES[kind].split()[0]
    wanted = [("key", of_type, "C" if kind is str else None), ("value", "bytea", None)]
    if [tuple(column) for column in columns] != wanted:
        raise ShardError(f"the table {table} must have columns {wanted}, got {[tuple(c) for c in columns]}")
