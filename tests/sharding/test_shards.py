"""What every shard promises, on a dict, a SQLite file, a PostgreSQL database and ranges of shards."""

import asyncio
import itertools
import os
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.sharding import DictShard, Range, RangeShards, ShardClosed, ShardError, SQLiteShard, rows
from penstock.sharding.keys import MAX_KEY_BYTES, shown

KINDS = {
    "int": (int, st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
    "str": (str, st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)),
    "bytes": (bytes, st.binary(max_size=3)),
}
EXAMPLES = int(os.environ.get("PENSTOCK_EXAMPLES", "10"))
MIDDLES = {int: 0, str: "m", bytes: b"m"}


@pytest.fixture(
    params=["dict", "sqlite", pytest.param("postgres", marks=pytest.mark.engine), "ranges"],
)
def make_shard(request, tmp_path) -> Callable[[type], object]:
    """Makes an empty shard for keys of a type, in the event loop that uses it."""
    if request.param == "dict":
        return lambda kind: DictShard()
    if request.param == "sqlite":
        files = itertools.count()
        return lambda kind: SQLiteShard(tmp_path / f"{next(files)}.sqlite3", kind)
    if request.param == "ranges":
        return lambda kind: RangeShards(
            [
                Range(None, None, DictShard(), before=MIDDLES[kind]),
                Range(MIDDLES[kind], None, DictShard()),
            ]
        )
    from penstock.sharding.postgres_shard import PostgreSQLShard

    server = request.getfixturevalue("postgres_server")
    names = request.getfixturevalue("table_names")
    return lambda kind: PostgreSQLShard(server.dsn, kind, table=next(names), connections=2)


# ---- one entry


async def test_value_that_was_put_is_found_until_it_is_deleted(make_shard):
    async with make_shard(str) as shard:
        assert await shard.get("k") is None
        assert await shard.get("k", "none") == "none"
        await shard.put("k", {"name": "Alice", "tags": [1, None, 2.5]})
        assert await shard.get("k", "none") == {"name": "Alice", "tags": [1, None, 2.5]}
        await shard.put("k", "newer")
        assert await shard.get("k") == "newer"
        assert await shard.count() == 1
        assert await shard.delete("k")
        assert not await shard.delete("k")
        assert await shard.get("k") is None
        assert await shard.count() == 0


async def test_none_is_a_value_like_any_other(make_shard):
    async with make_shard(int) as shard:
        await shard.put(1, None)
        assert await shard.get(1, "none") is None
        assert await shard.page() == [(1, None)]


# ---- many entries


async def test_of_two_items_with_one_key_the_later_is_stored(make_shard):
    async with make_shard(int) as shard:
        await shard.put_many([(1, "a"), (2, "b"), (1, "c")])
        assert await shard.page() == [(1, "c"), (2, "b")]


async def test_deleting_many_counts_those_that_were_there(make_shard):
    async with make_shard(int) as shard:
        await shard.put_many((key, key) for key in range(-3, 3))
        assert await shard.delete_many([-3, 0, 0, 1, 99]) == 3
        assert [key for key, _ in await shard.page()] == [-2, -1, 2]


async def test_no_items_and_no_keys_are_no_work(make_shard):
    async with make_shard(int) as shard:
        await shard.put_many([])
        assert await shard.delete_many([]) == 0
        assert await shard.page() == []


async def test_thousands_of_entries_are_streamed_in_order(make_shard):
    async with make_shard(int) as shard:
        await shard.put_many((key * 7919 % 5003 - 2500, key) for key in range(5003))
        assert await shard.count() == 5003
        async with aclosing(rows(shard, -100, before=1000, page_rows=97)) as stream:
            assert [key async for key, _ in stream] == list(range(-100, 1000))


@pytest.mark.parametrize("kind", KINDS)
def test_pages_equal_a_sorted_dict(make_shard, kind):
    kind, keys = KINDS[kind]
    bound = st.none() | keys

    @settings(max_examples=EXAMPLES)
    @given(
        stored=st.dictionaries(keys, st.integers(0, 9), max_size=12),
        gone=st.lists(keys, max_size=3),
        pages=st.lists(st.tuples(bound, bound, bound, bound, st.integers(1, 6)), min_size=5, max_size=15),
    )
    def check(stored, gone, pages):
        async def run():
            async with make_shard(kind) as shard:
                await shard.put_many(stored.items())
                gone_now = [*list(stored)[::3], *gone]
                assert await shard.delete_many(gone_now) == len(stored.keys() & set(gone_now))
                left = sorted((key, value) for key, value in stored.items() if key not in gone_now)
                for first, last, after, before, limit in pages:
                    expected = [
                        (key, value)
                        for key, value in left
                        if (first is None or key >= first)
                        and (last is None or key <= last)
                        and (after is None or key > after)
                        and (before is None or key < before)
                    ]
                    page = await shard.page(first, last, after=after, before=before, limit=limit)
                    assert page == expected[:limit]

        asyncio.run(run())

    check()


async def test_calls_at_the_same_time_do_not_disturb_each_other(make_shard):
    async with make_shard(int) as shard:
        async with asyncio.TaskGroup() as tasks:
            for key in range(-50, 50):
                tasks.create_task(shard.put(key, key))
                tasks.create_task(shard.get(key))
        assert await shard.page() == [(key, key) for key in range(-50, 50)]


async def test_cancelled_writes_leave_a_shard_that_works(make_shard):
    async with make_shard(int) as shard:
        await shard.put(0, "first")
        writes = [asyncio.ensure_future(shard.put(0, number)) for number in range(20)]
        for turn, write in enumerate(writes):
            await asyncio.sleep(0.001 * (turn % 3))
            write.cancel()
        await asyncio.wait(writes)
        await shard.put(0, "last")
        assert await shard.get(0) == "last"
        await asyncio.sleep(0.05)
        assert await shard.get(0) == "last"


# ---- what is refused


@pytest.mark.parametrize(
    ("limit", "kind", "message"),
    [
        (0, ValueError, "limit must be >= 1 and <= 1000000 rows, got 0"),
        (10**6 + 1, ValueError, "limit must be >= 1 and <= 1000000 rows, got 1000001"),
        ("1", TypeError, "limit must be an int, got str"),
    ],
)
async def test_limit_of_no_row_or_too_many_is_refused(make_shard, limit, kind, message):
    async with make_shard(int) as shard:
        with pytest.raises(kind, match=message) as raised:
            await shard.page(limit=limit)
        assert isinstance(raised.value, PenstockError)


@pytest.mark.parametrize("key", [None, "text", b"bytes"])
async def test_key_of_another_type_is_refused_and_changes_nothing(make_shard, key):
    async with make_shard(int) as shard:
        await shard.put(1, "a")
        for write in (shard.put(key, "b"), shard.put_many([(5, "c"), (key, "b")])):
            with pytest.raises(TypeError):
                await write
        assert await shard.page() == [(1, "a")]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.engine)])
def make_database_shard(request, tmp_path):
    """Makes a shard in a table that stays the same for one test."""
    if request.param == "sqlite":
        return lambda kind, **how: SQLiteShard(tmp_path / "file.sqlite3", kind, **how)
    from penstock.sharding.postgres_shard import PostgreSQLShard

    server = request.getfixturevalue("postgres_server")
    name = next(request.getfixturevalue("table_names"))
    return lambda kind, **how: PostgreSQLShard(server.dsn, kind, **{"table": name} | how)


@pytest.mark.parametrize(
    ("of_type", "key", "kind", "message"),
    [
        (int, 2**63, ValueError, "key must be >= -2\\*\\*63 and < 2\\*\\*63, got 9223372036854775808"),
        (int, -(2**63) - 1, ValueError, "got -9223372036854775809"),
        pytest.param(int, 1 << 3_000_000, ValueError, "got an int of 3000001 bits", id="huge"),
        (int, True, TypeError, "key must be of type int in this shard, got bool"),
        (int, 1.0, TypeError, "key must be of type int in this shard, got float"),
        (str, b"k", TypeError, "key must be of type str in this shard, got bytes"),
        (str, "\ud800", ValueError, "key must be Unicode without lone surrogates, got '\\\\ud800'"),
        (str, "a\0b", ValueError, "key must have no NUL in it, got 'a\\\\x00b'"),
        (str, "é" * 1301, ValueError, f"key must have <= {MAX_KEY_BYTES} bytes, got 2602"),
        (bytes, b"k" * 2601, ValueError, f"key must have <= {MAX_KEY_BYTES} bytes, got 2601"),
    ],
)
async def test_key_that_databases_do_not_sort_alike_is_refused(
    make_database_shard, of_type, key, kind, message
):
    async with make_database_shard(of_type) as shard:
        for call in (
            shard.get(key),
            shard.put(key, 1),
            shard.delete(key),
            shard.page(key),
            shard.page(after=key),
        ):
            with pytest.raises(kind, match=message) as raised:
                await call
            assert isinstance(raised.value, PenstockError)
        assert await shard.count() == 0


async def test_longest_keys_are_taken(make_database_shard):
    key = bytes(i * i % 251 for i in range(MAX_KEY_BYTES))  # nothing that could be packed
    async with make_database_shard(bytes) as shard:
        await shard.put(key, "long")
        assert await shard.page() == [(key, "long")]


async def test_value_that_cannot_be_encoded_is_refused(make_database_shard):
    async with make_database_shard(int) as shard:
        with pytest.raises(TypeError, match="a value must be of types that MessagePack has") as raised:
            await shard.put_many([(1, "good"), (2, object())])
        assert isinstance(raised.value, PenstockError)
        with pytest.raises(ValueError, match="ints in a value must have <= 64 bits"):
            await shard.put(1, 2**64)
        with pytest.raises(ValueError, match="texts in a value must have no lone surrogates") as raised:
            await shard.put(1, ["\ud800"])
        assert isinstance(raised.value, PenstockError)
        value = []
        value.append(value)
        with pytest.raises(ValueError, match="a value must not be nested so deep, or have itself in it"):
            await shard.put(1, value)
        assert await shard.count() == 0


@pytest.mark.parametrize("made", ["text", None, 5, [b"x"]])
async def test_encode_that_makes_no_bytes_is_told(make_database_shard, made):
    async with make_database_shard(int, encode=lambda value: value, decode=bytes) as shard:
        with pytest.raises(TypeError, match=f"encode must return bytes, got {type(made).__name__}") as raised:
            await shard.put_many([(1, b"good"), (2, made)])
        assert isinstance(raised.value, PenstockError)
        assert await shard.count() == 0


async def test_stored_bytes_that_are_no_value_are_told(make_database_shard):
    async with make_database_shard(int, encode=bytes, decode=bytes) as shard:
        await shard.put(1, b"\xc1")
    async with make_database_shard(int) as shard:
        with pytest.raises(ValueError, match="a stored value must be MessagePack") as raised:
            await shard.get(1)
        assert isinstance(raised.value, PenstockError)


async def test_entries_are_there_when_the_shard_is_opened_again(make_database_shard):
    async with make_database_shard(str) as shard:
        await shard.put_many([("b", 2), ("a", 1), ("ä", 3), ("Z", 0)])
    async with make_database_shard(str) as shard:
        assert await shard.page() == [("Z", 0), ("a", 1), ("b", 2), ("ä", 3)]


async def test_table_with_keys_of_another_type_is_refused(make_database_shard):
    async with make_database_shard(str) as shard:
        await shard.put("1", 1)
    with pytest.raises(ShardError, match="must have columns"):
        async with make_database_shard(int) as shard:
            await shard.get(1)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ({"table": "a b"}, ValueError, "table must be a plain name of at most 63 characters, got 'a b'"),
        ({"table": "t" * 64}, ValueError, "table must be a plain name of at most 63 characters"),
        ({"table": 1}, TypeError, "table must be a str, got int"),
        ({"encode": None}, TypeError, "encode must be callable, got NoneType"),
        ({"decode": "x"}, TypeError, "decode must be callable, got str"),
    ],
)
async def test_setting_that_is_wrong_is_refused(make_database_shard, how, kind, message):
    with pytest.raises(kind, match=message) as raised:
        make_database_shard(int, **how)
    assert isinstance(raised.value, PenstockError)


async def test_keys_of_no_type_that_databases_sort_are_refused(make_database_shard):
    with pytest.raises(ValueError, match=r"keys must be int, str or bytes, got <class 'float'>"):
        make_database_shard(float)


async def test_closed_shard_says_so(make_database_shard):
    shard = make_database_shard(int)
    await shard.put(1, 1)
    await shard.aclose()
    await shard.aclose()
    with pytest.raises(ShardClosed, match="is closed"):
        await shard.get(1)


async def test_words_of_sql_can_be_keys_and_values(make_database_shard):
    async with make_database_shard(str) as shard:
        await shard.put("'; DROP TABLE shard; --", "'; DROP TABLE shard; --")
        assert await shard.page() == [("'; DROP TABLE shard; --", "'; DROP TABLE shard; --")]


# ---- a dict


class Place(NamedTuple):
    x: float
    y: float


NAN = float("nan")


@pytest.mark.parametrize("key", [NAN, (1, NAN), (1, (2, NAN)), Place(1, NAN)])
async def test_nan_is_no_key(key):
    shard = DictShard([((1.5), "a")])
    for write in (shard.put(key, "b"), shard.put_many([(key, "b")])):
        with pytest.raises(ValueError, match="key must not be NaN, for it has no order") as raised:
            await write
        assert isinstance(raised.value, PenstockError)
    for bounds in ({"first": key}, {"last": key}, {"after": key}, {"before": key}):
        with pytest.raises(ValueError, match="key must not be NaN"):
            await shard.page(**bounds)
    assert await shard.count() == 1


@pytest.mark.parametrize(
    "key",
    [10**5000, (1, 10**5000), [{"key": 10**5000}], "x" * 10**6, b"x" * 10**6],
    ids=["int", "tuple", "dict", "str", "bytes"],
)
def test_whatever_a_key_is_a_message_shows_it_in_few_characters(key):
    assert len(shown(key)) < 80


async def test_dict_takes_keys_of_any_ordered_type():
    shard = DictShard([((2, "a"), 1), ((1, "z"), 2), ((1, "b"), 3)])
    assert [key for key, _ in await shard.page((1, "c"))] == [(1, "z"), (2, "a")]


# ---- a SQLite file


def test_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "text"
    path.write_text("no database" * 100)
    with pytest.raises(ShardError, match="cannot be used: file is not a database") as raised:
        SQLiteShard(path, int)
    assert isinstance(raised.value, OSError)


def test_table_that_takes_two_keys_for_one_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "file.sqlite3") as other:
        column = "key TEXT COLLATE NOCASE PRIMARY KEY NOT NULL"
        other.execute(f"CREATE TABLE shard ({column}, value BLOB NOT NULL) WITHOUT ROWID")
    other.close()
    with pytest.raises(ShardError, match=r"the keys in table shard of .* must be sorted as BINARY"):
        SQLiteShard(tmp_path / "file.sqlite3", str)


async def test_file_that_another_process_writes_to_can_be_read_and_then_written(tmp_path, monkeypatch):
    monkeypatch.setattr("penstock.sharding.sqlite_shard.BUSY_SECONDS", 0.05)
    async with SQLiteShard(tmp_path / "file.sqlite3", int) as shard:
        await shard.put(1, "old")
        other = sqlite3.connect(tmp_path / "file.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM shard")
        with pytest.raises(ShardError, match="cannot be used: database is locked"):
            await shard.put(1, "new")
        assert await shard.get(1) == "old"
        other.execute("ROLLBACK")
        other.close()
        await shard.put(1, "new")
        assert await shard.get(1) == "new"


async def test_batch_that_fails_halfway_stores_nothing(tmp_path):
    async with SQLiteShard(tmp_path / "file.sqlite3", int) as shard:
        await shard.put(1, "old")
        with sqlite3.connect(tmp_path / "file.sqlite3") as other:
            other.execute(
                "CREATE TRIGGER poison BEFORE INSERT ON shard WHEN new.key = 3"
                " BEGIN SELECT RAISE(ABORT, 'poison'); END"
            )
        other.close()
        with pytest.raises(ShardError, match="poison"):
            await shard.put_many([(1, "new"), (2, "new"), (3, "new")])
        assert await shard.page() == [(1, "old")]
        await shard.put(2, "later")
        assert await shard.count() == 2


# ---- a PostgreSQL database


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ({"dsn": b"postgresql://"}, TypeError, "dsn must be a str, got bytes"),
        ({"connections": 0}, ValueError, "connections must be >= 1, got 0"),
        ({"connections": 1.5}, TypeError, "connections must be an int, got float"),
        ({"timeout": 0}, ValueError, r"timeout must be > 0 and <= 1e\+09 seconds, got 0"),
        ({"timeout": None}, TypeError, "timeout must be a number of seconds, got NoneType"),
    ],
)
def test_setting_of_a_connection_that_is_wrong_is_refused(how, kind, message):
    from penstock.sharding.postgres_shard import PostgreSQLShard

    with pytest.raises(kind, match=message) as raised:
        PostgreSQLShard(**{"dsn": "postgresql://", "keys": int} | how)
    assert isinstance(raised.value, PenstockError)


def test_password_is_not_shown():
    from penstock.sharding.postgres_shard import PostgreSQLShard

    assert "secret" not in repr(PostgreSQLShard("postgresql://user:secret@host/database", int))


@pytest.mark.engine
async def test_server_that_is_not_there_is_told():
    from penstock.sharding.postgres_shard import PostgreSQLShard
    from ports import free_port

    async with PostgreSQLShard(f"postgresql://nobody@127.0.0.1:{free_port()}/none", int) as shard:
        with pytest.raises(ShardError, match="the table shard cannot be used: ConnectionRefusedError"):
            await shard.get(1)


@pytest.mark.engine
async def test_many_open_the_same_new_table_at_once(postgres_server, table_names):
    from penstock.sharding.postgres_shard import PostgreSQLShard

    name = next(table_names)
    async with AsyncExitStack() as stack:
        shards = [PostgreSQLShard(postgres_server.dsn, int, table=name, connections=1) for _ in range(8)]
        for shard in shards:
            await stack.enter_async_context(shard)
        await asyncio.gather(*(shard.put(key, key) for key, shard in enumerate(shards)))
        assert await shards[0].count() == 8


@pytest.mark.engine
async def test_server_that_hangs_fails_the_call_in_time_and_works_when_it_is_back(table_names):
    from penstock.sharding.postgres_shard import PostgreSQLShard
    from postgres_server import PostgreSQLServer

    with PostgreSQLServer() as server:
        async with PostgreSQLShard(server.dsn, int, timeout=30) as shard:
            await shard.put(1, "kept")
            server.freeze()
            shard._timeout = 0.5
            try:
                with pytest.raises(ShardError, match=r"no answer in 0\.5 s"):
                    await asyncio.wait_for(shard.get(1), 20)
            finally:
                server.thaw()
            shard._timeout = 30
            assert await shard.get(1) == "kept"
