"""The stores on the real thing: a SQLite file, a redis-server; and what all of them promise."""

import asyncio
import sqlite3
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cache.codec import MAX_KEY_BYTES, MsgpackCodec, Undecodable, decode_key, encode_key
from penstock.cache.redis_store import RedisStore
from penstock.cache.sqlite_store import SQLiteStore
from penstock.cache.store import MemoryStore, StoreClosed, StoreError
from penstock.errors import PenstockError

# ---- keys and values as bytes

KEYS = st.one_of(st.text(max_size=20), st.integers(), st.binary(max_size=20))


@given(keys=st.lists(KEYS, unique_by=lambda key: (type(key), key)))
def test_keys_come_back_and_no_two_share_their_bytes(keys):
    encoded = [encode_key(key) for key in keys]
    assert len(set(encoded)) == len(keys)
    assert [decode_key(data) for data in encoded] == keys


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        (1.5, TypeError, "a key must be a str, int or bytes, got float"),
        (None, TypeError, "a key must be a str, int or bytes, got NoneType"),
        ("\ud800", ValueError, "without lone surrogates"),
        (1 << 8192, ValueError, "an int key must have <= 8192 bits, got 8193"),
        ("k" * MAX_KEY_BYTES, ValueError, f"a key must have < {MAX_KEY_BYTES} bytes, got {MAX_KEY_BYTES}"),
    ],
)
def test_key_that_is_not_allowed_is_refused(key, kind, message):
    with pytest.raises(kind, match=message) as raised:
        encode_key(key)
    assert isinstance(raised.value, PenstockError)


@pytest.mark.parametrize("data", [b"", b"x", b"i", b"i01", b"i1_0", b"i" + b"9" * 9000, b"s\xff", b"I1"])
def test_bytes_that_are_no_key_are_refused(data):
    with pytest.raises(Undecodable, match="a stored key must be"):
        decode_key(data)


def test_codec_gives_plain_data_or_its_type_and_refuses_other_bytes():
    codec = MsgpackCodec()
    assert codec.decode(codec.encode({"a": (1, None)})) == {"a": [1, None]}
    assert MsgpackCodec(tuple[int, int]).decode(codec.encode([1, 2])) == (1, 2)
    with pytest.raises(Undecodable, match="must be MessagePack of its type"):
        MsgpackCodec(int).decode(codec.encode("text"))
    with pytest.raises(TypeError, match="a value must be of types that MessagePack has") as raised:
        codec.encode(object())
    assert isinstance(raised.value, PenstockError)
    with pytest.raises(ValueError, match="ints in a value must have <= 64 bits") as raised:
        codec.encode([1 << 64])
    assert isinstance(raised.value, PenstockError)


# ---- what every store promises


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    pytest.importorskip("redis")
    from redis_server import RedisServer

    with RedisServer(tmp_path_factory.mktemp("redis") / "store") as server:
        yield server


async def emptied(server):
    """A client of the server, which has nothing in it."""
    from redis.asyncio import Redis

    client = Redis(port=server.port)
    await client.flushall()
    return client


@pytest.fixture
async def redis_client(redis_server):
    async with await emptied(redis_server) as client:
        yield client


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.engine)])
async def store(request, tmp_path):
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "sqlite":
        made = SQLiteStore(tmp_path / "store.sqlite3")
    else:
        client = await emptied(request.getfixturevalue("redis_server"))
        made = RedisStore(client)
    yield made
    await made.aclose()
    if request.param == "redis":
        await client.aclose()


async def test_store_keeps_str_int_and_bytes_keys_apart(store):
    items = {
        "1": "str",
        1: "int",
        b"1": "bytes",
        "": "empty",
        b"": b"empty",
        -1: None,
        1 << 70: [1, {"a": 2.5}],
    }
    await store.set_many(items)
    assert await store.get_many([*items, "never there"]) == items
    await store.delete_many([1, "never there"])
    del items[1]
    assert await store.get_many([*items, 1]) == items


async def test_batch_of_any_size_is_stored_read_and_removed(store):
    for size in (0, 1, 15, 16, 17, 255, 256, 257, 1500):
        items = {key: str(key) for key in range(size)}
        await store.set_many(items)
        assert await store.get_many(list(items)) == items
        await store.delete_many(list(items))
        assert await store.get_many(list(items)) == {}


async def test_last_write_of_a_key_wins_and_writing_twice_is_as_good_as_once(store):
    for value in (1, 2, 2):
        await store.set_many({"a": value})
    assert await store.get_many(["a"]) == {"a": 2}


async def test_calls_of_many_tasks_do_not_disturb_each_other(store):
    async def work(number):
        await store.set_many({(f"{number}:{key}"): key for key in range(20)})
        assert len(await store.get_many([f"{number}:{key}" for key in range(20)])) == 20

    await asyncio.gather(*(work(number) for number in range(20)))


# ---- SQLite


async def test_sqlite_entries_outlive_the_store_and_are_synced(tmp_path):
    async with SQLiteStore(tmp_path / "s", table="entries") as store:
        await store.set_many({"a": [1, 2]})
        assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    async with SQLiteStore(tmp_path / "s", table="entries") as store, SQLiteStore(tmp_path / "s") as other:
        assert await store.get_many(["a"]) == {"a": [1, 2]}
        assert await other.get_many(["a"]) == {}


async def test_sqlite_batch_is_stored_whole_or_not_at_all(tmp_path):
    async with SQLiteStore(tmp_path / "s") as store:
        await store.set_many({"a": 1})
        refuse = "BEGIN SELECT raise(ABORT, 'no'); END"
        store._db.execute(f"CREATE TRIGGER no BEFORE INSERT ON cache WHEN new.key = x'736e6f' {refuse}")
        with pytest.raises(StoreError, match="cannot be used: no") as raised:
            await store.set_many(dict.fromkeys(range(300), 0) | {"a": 2, "no": 3})
        assert isinstance(raised.value, OSError)
        assert await store.get_many(["a", 0, 299, "no"]) == {"a": 1}
        await store.set_many({"a": 4})
        assert await store.get_many(["a"]) == {"a": 4}


async def test_sqlite_call_that_is_cancelled_comes_before_later_ones(tmp_path):
    async with SQLiteStore(tmp_path / "s") as store:
        for value in range(20):
            call = asyncio.create_task(store.set_many({"a": value, "b": "x" * 1000}))
            await asyncio.sleep(0)
            call.cancel()
            await store.set_many({"a": "later"})
            assert await store.get_many(["a"]) == {"a": "later"}


async def test_sqlite_file_of_others_is_refused(tmp_path):
    (tmp_path / "text").write_text("no database, but long enough to be looked at as one" * 50)
    with pytest.raises(StoreError, match="not a database"):
        SQLiteStore(tmp_path / "text")
    with pytest.raises(StoreError, match="unable to open"):
        SQLiteStore(tmp_path / "missing" / "s")
    with sqlite3.connect(tmp_path / "s") as db:
        db.execute("CREATE TABLE cache (name TEXT)")
    db.close()
    with pytest.raises(StoreError, match="no such column"):
        SQLiteStore(tmp_path / "s")


async def test_sqlite_value_of_another_codec_is_refused(tmp_path):
    async with (
        SQLiteStore(tmp_path / "s") as store,
        SQLiteStore(tmp_path / "s", codec=MsgpackCodec(int)) as other,
    ):
        await store.set_many({"a": "text"})
        with pytest.raises(Undecodable):
            await other.get_many(["a"])


async def test_closed_sqlite_store_takes_nothing(tmp_path):
    store = SQLiteStore(tmp_path / "s")
    await store.aclose()
    await store.aclose()
    with pytest.raises(StoreClosed, match="is closed"):
        await store.set_many({"a": 1})


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"table": "a; DROP TABLE cache"}, ValueError, "table must be a plain name"),
        ({"table": 1}, TypeError, "table must be a str, got int"),
        ({"path": 1}, TypeError, "path must be a str or path, got int"),
        ({"codec": "json"}, TypeError, "codec must have encode and decode, got str"),
    ],
)
def test_sqlite_argument_that_is_not_allowed_is_refused(tmp_path, options, kind, message):
    with pytest.raises(kind, match=message):
        SQLiteStore(**{"path": tmp_path / "s", **options})


# ---- Redis


@pytest.mark.engine
async def test_redis_entries_have_their_prefix_and_time(redis_client):
    async with (
        RedisStore(redis_client, "one:") as one,
        RedisStore(redis_client, "two:", ttl=timedelta(minutes=1)) as two,
    ):
        await one.set_many({"a": 1, 7: 2})
        await two.set_many({"a": 3, b"c": 4})
        assert sorted(await redis_client.keys()) == [b"one:i7", b"one:sa", b"two:bc", b"two:sa"]
        assert await redis_client.pttl("one:sa") == -1
        assert 59_000 < await redis_client.pttl("two:sa") <= 60_000
        await one.delete_many(["a"])
        assert await two.get_many(["a"]) == {"a": 3}


@pytest.mark.engine
async def test_redis_that_is_not_there_raises_store_error():
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    async with Redis(port=1, retry=Retry(NoBackoff(), 0)) as client, RedisStore(client) as store:
        with pytest.raises(StoreError, match="cannot be written"):
            await store.set_many({"a": 1})
        with pytest.raises(StoreError, match="cannot be read"):
            await store.get_many(["a"])


@pytest.mark.engine
async def test_redis_refusal_of_one_item_raises_and_the_others_may_be_stored(redis_client):
    async with RedisStore(redis_client) as store:
        await redis_client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreError, match="memory"):
                await store.set_many({"a": 1})
        finally:
            await redis_client.config_set("maxmemory", 0)
        await store.set_many({"a": 2})
        assert await store.get_many(["a"]) == {"a": 2}


@pytest.mark.engine
async def test_redis_never_executes_a_cancelled_write_after_a_later_one(redis_server, redis_client):
    """The server hangs; what it was sent meanwhile waits in a connection that the next write has it close."""
    async with RedisStore(redis_client) as store:
        for round_ in range(5):
            await store.set_many({"a": "before"})
            redis_server.freeze()
            try:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await store.set_many({"a": f"older {round_}"})
                later = asyncio.create_task(store.set_many({"a": "newer"}))
                await asyncio.sleep(0.01)
            finally:
                redis_server.thaw()
            await later
            names = [client["name"] for client in await redis_client.client_list()]
            assert names.count(store._name) == 1, "the connection of the older write is gone"
            assert await store.get_many(["a"]) == {"a": "newer"}


class LateProxy:
    """Stands before a server. What comes in while it is held reaches the server only when it is let go.

    Closed connections stay open towards the server, as they do when packets are late.
    """

    def __init__(self, port):
        self.port = port
        self.open = asyncio.Event()
        self.open.set()
        self.held = asyncio.Event()
        self.delivered = asyncio.Event()
        self.writers = []
        self.tasks = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.own_port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error):
        self.server.close()
        for writer in self.writers:
            writer.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader, writer):
        self.tasks.append(asyncio.current_task())
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers += [writer, to_writer]
        self.tasks.append(asyncio.create_task(self.pass_back(to_reader, writer)))
        while data := await reader.read(65536):
            if self.open.is_set():
                to_writer.write(data)
                continue
            self.held.set()
            await self.open.wait()
            to_writer.write(data)
            with suppress(ConnectionError):
                await to_writer.drain()
            self.delivered.set()

    async def pass_back(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)


@pytest.mark.engine
async def test_redis_never_executes_a_late_write_after_a_later_one(redis_server, redis_client):
    from redis.asyncio import Redis

    async with (
        LateProxy(redis_server.port) as proxy,
        Redis(port=proxy.own_port) as client,
        RedisStore(client) as store,
    ):
        await store.set_many({"a": "before"})
        at_once, proxy.open = proxy.open, asyncio.Event()
        late = proxy.open
        older = asyncio.create_task(store.set_many({"a": "older"}))
        await proxy.held.wait()
        older.cancel()
        await asyncio.wait([older])
        proxy.open = at_once  # for new connections; the old one still waits
        await store.set_many({"a": "newer"})
        late.set()
        await proxy.delivered.wait()
        await redis_client.ping()  # by now the server has read what was late, if it would
        assert await store.get_many(["a"]) == {"a": "newer"}


@pytest.mark.engine
async def test_closed_redis_store_takes_nothing_and_leaves_the_client_open(redis_client):
    store = RedisStore(redis_client)
    await store.set_many({"a": 1})
    await store.aclose()
    await store.aclose()
    with pytest.raises(StoreClosed):
        await store.get_many(["a"])
    assert await redis_client.ping()


@pytest.mark.engine
async def test_redis_argument_that_is_not_allowed_is_refused(redis_client):
    from redis.asyncio import Redis

    with pytest.raises(TypeError, match=r"client must be a redis\.asyncio\.Redis, got str"):
        RedisStore("redis://")
    async with Redis(decode_responses=True) as client:
        with pytest.raises(ValueError, match="decode_responses=False, got True"):
            RedisStore(client)
    for options, kind, message in [
        ({"prefix": b"x"}, TypeError, "prefix must be a str, got bytes"),
        ({"prefix": "x" * 257}, ValueError, "prefix must have <= 256 bytes, got 257"),
        ({"ttl": 0}, ValueError, "ttl must be > 0 and <= 100 years, got 0"),
        ({"ttl": "1"}, TypeError, "ttl must be seconds, a timedelta or None, got str"),
    ]:
        with pytest.raises(kind, match=message):
            RedisStore(redis_client, **options)
