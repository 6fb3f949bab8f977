"""Hash shards: where keys go, and that none is lost while buckets move."""

import asyncio
import itertools
from collections import Counter
from contextlib import AsyncExitStack, aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shards import HeldShard, entries

from penstock.errors import PenstockError
from penstock.hashring.key_hash import KeyHash
from penstock.sharding import DictShard, MigrationFailed, MigrationInProgress, ShardError, SQLiteShard
from penstock.sharding._routing import bucket_function
from penstock.sharding.buckets import BucketMap, MigrationPlan, StalePlan, UnknownShard
from penstock.sharding.hash_shards import HashShards
from penstock.sharding.scatter_gather import ShardsFailed, ShardTimeout
from ports import free_port
from redis_server import RedisServer
from virtual_time import in_virtual_time

USERS = {
    "user:alice": {"age": 30, "plan": "pro"},
    "user:bob": {"age": 25, "plan": "free"},
    "user:charlie": {"age": 35, "plan": "enterprise"},
    "user:diana": {"age": 28, "plan": "pro"},
    "user:eve": {"age": 22, "plan": "free"},
    "user:frank": {"age": 40, "plan": "enterprise"},
    "user:grace": {"age": 31, "plan": "pro"},
    "user:henry": {"age": 27, "plan": "free"},
}

TEXTS = ["a", "user:alice", "user:bob", "user:charlie", "привет", "кот", "0123456789abcdef0", "ÿ\x80x"]


@pytest.fixture(params=["dict", "sqlite", pytest.param("postgres", marks=pytest.mark.engine)])
def make_shard(request, tmp_path):
    """Makes an empty shard for str keys."""
    if request.param == "dict":
        return DictShard
    if request.param == "sqlite":
        files = itertools.count()
        return lambda: SQLiteShard(tmp_path / f"{next(files)}.sqlite3", str)
    from penstock.sharding.postgres_shard import PostgreSQLShard

    server = request.getfixturevalue("postgres_server")
    tables = request.getfixturevalue("table_names")
    return lambda: PostgreSQLShard(server.dsn, str, table=next(tables), connections=4)


def held(*names):
    return {name: HeldShard() for name in names}


def about_to_move(shards):
    """One bucket, which is at the first of the shards."""
    (first, shard), *others = shards.items()
    router = HashShards({first: shard}, buckets=1)
    for name, other in others:
        router.attach(name, other)
    return router


async def settle():
    """Lets every task run until it waits for something that only the test can bring about."""
    for _ in range(200):
        await asyncio.sleep(0)


async def writes_wait(shards):
    """Returns when a migration has come to its switch."""
    moving = shards._routing.moving
    while not any(group.closed for group in moving.values()):
        await asyncio.sleep(0)


async def everything(shards):
    """All entries, each of which must come once."""
    async with aclosing(shards.scatter_gather_all(page_rows=7)) as stream:
        found = [row async for row in stream]
    assert len({key for key, _ in found}) == len(found)
    return dict(found)


def assert_each_holds_its_own(shards):
    """Nothing but what the map says is in any (dict) shard."""
    for name, shard in shards.shards.items():
        assert all(shards.route(key) == name for key in entries(shard))


# ---- where keys go


async def test_example_34_of_the_reference(make_shard):
    async with HashShards([make_shard() for _ in range(4)], hash="md5-be32", buckets=4) as router:
        for key, user in USERS.items():
            await router.put(key, user)
        assert {key.removeprefix("user:"): router.route(key) for key in USERS} == {
            "alice": 3,
            "bob": 3,
            "charlie": 1,
            "diana": 0,
            "eve": 1,
            "frank": 3,
            "grace": 3,
            "henry": 1,
        }
        assert await router.get("user:alice") == {"age": 30, "plan": "pro"}
        assert await router.distribution_stats() == {0: 1, 1: 3, 2: 0, 3: 4}
        records = await everything(router)
        assert records == USERS
        assert sum(user["plan"] == "pro" for user in records.values()) == 3


@pytest.mark.parametrize("buckets", [4, 8, 1024])
def test_shards_that_divide_the_buckets_share_keys_as_modulo_does(buckets):
    router = HashShards([DictShard() for _ in range(4)], hash="md5-be32", buckets=buckets)
    hashed = KeyHash("md5-be32")
    assert all(router.route(f"key:{n}") == hashed(f"key:{n}") % 4 for n in range(1000))


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [(12, [4, 8, 11, 1, 11, 7, 6, 0]), (1000, [524, 428, 407, 341, 991, 843, 438, 884])],
)
def test_murmur2_makes_the_partitions_of_kafka(partitions, expected):
    """As aiokafka 0.14.0's DefaultPartitioner has them, for the bytes of UTF-8."""
    router = HashShards([DictShard()], hash="murmur2", buckets=partitions)
    assert [router.bucket_of(text) for text in TEXTS] == expected
    assert [router.bucket_of(text.encode()) for text in TEXTS] == expected


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (3, [1, 1, 0, 1, 0, 0, 2, 2]),
        (6, [1, 1, 0, 2, 0, 0, 3, 4]),
        (12, [1, 1, 11, 4, 11, 0, 6, 8]),
    ],
)
def test_murmur3_makes_the_token_ranges_of_cassandra(nodes, expected):
    """As cassandra-driver 3.30.1's Murmur3Token has them, on nodes with evenly spaced tokens."""
    router = HashShards(list(map(DictShard, [()] * nodes)), hash="murmur3-cassandra", buckets=nodes)
    assert [router.route(text) for text in TEXTS] == expected


@pytest.mark.parametrize("nodes", [1, 2, 3, 7, 1000])
def test_token_ranges_end_with_the_token_of_their_node(nodes):
    class Tokens:
        name = "murmur3-cassandra"

        def __call__(self, token):
            return token

    bucket_of = bucket_function(Tokens(), nodes)
    width = 2**64 // nodes
    for node in range(nodes):
        assert bucket_of(node * width) == node
        assert bucket_of(node * width + 1) == (node + 1) % nodes
    assert bucket_of(2**64 - 1) == 0


@pytest.mark.engine
def test_crc16_makes_the_slots_of_a_real_redis_cluster(tmp_path):
    router = HashShards([DictShard() for _ in range(3)], hash="crc16")
    keys = [*TEXTS, "{user}.a", "{user}.b", "{}x", "{}{a}", "a{b}c{d}", "{", "}", "}{", "{{a}}", "x{y", ""]
    keys += [f"key:{number}" for number in range(2000)]
    cluster = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with RedisServer(tmp_path, *cluster) as server:
        client = server.client()
        assert [client.cluster("KEYSLOT", key) for key in keys] == [router.bucket_of(key) for key in keys]
    assert len(router.map.owners) == 16384


def test_any_hash_and_any_callable_will_do():
    for hash_ in ("xxh3_64", "xxh64", "murmur3_32", "sha256-be64", "ketama", KeyHash("xxh64", 7)):
        assert 0 <= HashShards([DictShard()], hash=hash_).bucket_of("key") < 1024
    by_length = HashShards([DictShard(), DictShard()], hash=len, buckets=2)
    assert [by_length.route(key) for key in ("", "a", b"ab", "abc")] == [0, 1, 0, 1]


def test_seed_changes_the_buckets():
    one, other = (HashShards([DictShard()], seed=seed) for seed in (1, 2))
    assert [one.bucket_of(n) for n in range(20)] != [other.bucket_of(n) for n in range(20)]
    assert one.bucket_of(7) == HashShards([DictShard()], hash=KeyHash("xxh3_64", 1)).bucket_of(7)


def test_weights_decide_how_much_a_shard_gets():
    router = HashShards({"small": DictShard(), "large": DictShard()}, weights={"large": 3})
    assert router.map.counts() == {"small": 256, "large": 768}
    assert router.map.epoch == 0


# ---- entries


async def test_entries_are_found_until_they_are_deleted(make_shard):
    async with HashShards({"a": make_shard(), "b": make_shard()}) as router:
        assert await router.get("k") is None
        assert await router.get("k", "none") == "none"
        await router.put("k", 1)
        assert await router.get("k") == 1
        assert await router.delete("k")
        assert not await router.delete("k")
        assert await router.get("k") is None


async def test_many_entries_go_to_all_shards_and_come_back(make_shard):
    items = {f"key {number}": number for number in range(300)}
    async with HashShards({"a": make_shard(), "b": make_shard(), "c": make_shard()}) as router:
        await router.put_many(items)
        await router.put_many((("again", 1), ("again", 2)))
        assert await router.get_many([*items, "not there", "again"]) == items | {"again": 2}
        assert sum((await router.distribution_stats()).values()) == 301
        assert await router.delete_many(["again", "not there", *list(items)[:100]]) == 101
        assert await everything(router) == dict(list(items.items())[100:])


async def test_many_entries_are_one_call_for_each_shard():
    shards = held("a", "b")
    router = HashShards(shards)
    await router.put_many((n, n) for n in range(100))
    assert [[operation for operation, _ in shard.calls] for shard in shards.values()] == [["put"], ["put"]]


async def test_stored_none_is_an_entry(make_shard):
    async with HashShards([make_shard()]) as router:
        await router.put("k", None)
        assert await router.get_many(["k", "other"]) == {"k": None}


async def test_failing_shard_fails_its_part_of_many_and_is_named():
    shards = held("good", "bad")
    router = HashShards(shards)
    shards["bad"].mode = "fail"
    items = {number: number for number in range(50)}
    with pytest.raises(ShardsFailed, match="1 of 2 shards failed: 'bad': ShardError: the shard is down"):
        await router.put_many(items)
    assert entries(shards["good"]) == {n: n for n in items if router.route(n) == "good"}
    with pytest.raises(ShardsFailed) as failed:
        await router.get_many(items)
    assert failed.value.result.values["good"] == entries(shards["good"])


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (1.5, TypeError, "key must be a str, bytes or int, got float"),
        (None, TypeError, "key must be a str, bytes or int, got NoneType"),
        (1 << 64, ValueError, "key must be >= -2.*63 and < 2.*64, got"),
        pytest.param(1 << 1_000_000, ValueError, "got an int of 1000001 bits", id="huge"),
        ("\ud800", UnicodeEncodeError, "surrogates not allowed"),
    ],
)
async def test_key_that_has_no_hash_is_refused_before_anything_is_stored(key, error, message):
    shards = held("a", "b")
    router = HashShards(shards)
    for call in (
        router.get(key),
        router.put(key, 1),
        router.delete(key),
        router.put_many([(1, 1), (key, 1)]),
    ):
        with pytest.raises(error, match=message) as refused:
            await call
        assert len(str(refused.value)) < 300
    assert [shard.calls for shard in shards.values()] == [[], []]


# ---- all shards


async def test_method_of_every_shard_is_called_by_name(make_shard):
    async with HashShards({"a": make_shard(), "b": make_shard()}, hash=len, buckets=2) as router:
        await router.put_many([("x", 1), ("xx", 2), ("xxx", 3)])
        assert (await router.scatter_gather("count")).values == {"a": 1, "b": 2}
        pages = await router.scatter_gather(lambda shard: shard.page(limit=1))
        assert pages.values == {"a": [("xx", 2)], "b": [("x", 1)]}


@in_virtual_time
async def test_hanging_shard_leaves_a_partial_result():
    shards = held("a", "b")
    router = HashShards(shards)
    await router.put_many((n, n) for n in range(20))
    shards["b"].mode = "hang"
    result = await router.scatter_gather("page", deadline=0.05, partial=True)
    assert result.values == {"a": await DictShard.page(shards["a"])}
    assert isinstance(result.errors["b"], ShardTimeout)
    with pytest.raises(ShardsFailed, match="1 of 2 shards failed: 'b'"):
        await router.scatter_gather("page", deadline=0.05)


@pytest.mark.engine
async def test_frozen_database_does_not_hold_up_the_others(postgres_server, table_names):
    from penstock.sharding.postgres_shard import PostgreSQLShard

    frozen = PostgreSQLShard(postgres_server.dsn, str, table=next(table_names), timeout=30)
    async with HashShards({"frozen": frozen, "quick": DictShard()}) as router:
        await router.put_many((f"key {number}", number) for number in range(100))
        started = asyncio.get_running_loop().time()
        postgres_server.freeze()
        try:
            result = await router.scatter_gather("count", deadline=0.5, partial=True)
        finally:
            postgres_server.thaw()
        assert asyncio.get_running_loop().time() - started < 10
        assert list(result.values) == ["quick"]
        assert isinstance(result.errors["frozen"], ShardTimeout)
        assert sum((await router.distribution_stats()).values()) == 100  # and it is well again


async def test_stream_of_all_entries_ends_with_the_error_of_a_shard():
    shards = held("a", "b")
    router = HashShards(shards)
    await router.put_many((n, n) for n in range(20))
    shards["b"].mode = "fail"
    with pytest.raises(ShardError, match="the shard is down"):
        await everything(router)


async def test_stream_that_is_left_halfway_leaves_nothing_behind():
    shards = held("a", "b", "c")
    router = HashShards(shards)
    await router.put_many((n, n) for n in range(100))
    async with aclosing(router.scatter_gather_all(page_rows=5)) as stream:
        shards["b"].mode = "hang"
        await anext(stream)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    shards["b"].mode = "ok"
    assert await router.sweep() == 0  # which waits for everybody who reads


async def test_stream_holds_no_more_than_two_pages_of_a_shard():
    shards = held("a")
    router = HashShards(shards)
    await router.put_many((n, n) for n in range(100))
    shards["a"].calls.clear()
    async with aclosing(router.scatter_gather_all(page_rows=10)) as stream:
        for taken in range(1, 31):
            await anext(stream)
            await settle()
            assert len(shards["a"].calls) <= (taken - 1) // 10 + 2


async def test_report_goes_by_the_buckets_of_each_shard():
    router = HashShards({"a": DictShard(), "b": DictShard()}, weights={"b": 3})
    await router.put_many((f"key {number}", 0) for number in range(20_000))
    report = await router.distribution_report()
    assert [load.expected for load in report.loads] == [5000.0, 15_000.0]
    assert report.verdict == "even"
    assert 0.95 < report.max_over_mean < 1.05


async def test_hash_that_clusters_keys_is_reported():
    router = HashShards([DictShard() for _ in range(4)], hash=len, buckets=4)
    await router.put_many((f"key {number}", 0) for number in range(1000))
    assert (await router.distribution_report()).verdict == "uneven"


# ---- moving buckets


async def test_grown_shards_hold_what_they_held_each_its_own(make_shard):
    items = {f"key {number}": number for number in range(500)}
    async with HashShards({"a": make_shard(), "b": make_shard()}) as router:
        await router.put_many(items)
        before = {key: router.route(key) for key in items}
        router.attach("c", make_shard())
        plan = router.plan(["a", "b", "c"])
        assert await router.get_many(items) == items  # nothing has moved yet
        reports = []
        await router.migrate(plan, progress=reports.append)
        assert await router.get_many(items) == items
        assert sum((await router.distribution_stats()).values()) == 500
        moving = {move.bucket for move in plan.moves}
        moved = [key for key in items if router.bucket_of(key) in moving]
        assert [key for key in items if router.route(key) != before[key]] == moved
        assert {router.route(key) for key in moved} == {"c"}
        assert (reports[-1].buckets_moved, reports[-1].buckets) == (len(plan), len(plan))
        assert reports[-1].keys_copied == len(moved)
        assert await router.sweep() == 0


async def test_emptied_shard_can_be_taken_away(make_shard):
    items = {f"key {number}": number for number in range(300)}
    async with HashShards({"a": make_shard(), "b": make_shard(), "c": make_shard()}) as router:
        await router.put_many(items)
        with pytest.raises(ValueError, match="a shard to detach must hold no buckets, got 'b' with 341"):
            router.detach("b")
        await router.migrate(router.plan(["a", "c"]))
        async with router.detach("b") as gone:
            assert await gone.count() == 0
        assert list(router.shards) == ["a", "c"]
        assert await everything(router) == items


async def test_writers_and_readers_notice_nothing_while_buckets_move(make_shard):
    """Grows and shrinks while each of several clients checks that it reads what it wrote last."""
    over = False
    operations = Counter()

    async def run_client(number, router, model):
        for turn in itertools.count():
            if over:
                return
            key = f"{number}:{turn * 7 % 40}"
            match turn % 4:
                case 0 | 1:
                    await router.put(key, turn)
                    model[key] = turn
                case 2:
                    assert await router.delete(key) == (key in model)
                    model.pop(key, None)
                case 3:
                    batch = {f"{number}:{turn * n % 40}": turn for n in range(5)}
                    await router.put_many(batch)
                    model.update(batch)
            assert await router.get(key) == model.get(key)
            operations[number] += 1
            await asyncio.sleep(0)

    async with HashShards({"a": make_shard(), "b": make_shard()}, buckets=64) as router:
        still = {f"still {number}": number for number in range(200)}
        await router.put_many(still)
        models = [{} for _ in range(4)]
        clients = [asyncio.create_task(run_client(n, router, model)) for n, model in enumerate(models)]
        router.attach("c", make_shard())
        for names in (["a", "b", "c"], ["c"], ["a", "c"], ["a", "b"]):
            before = operations.total()
            while operations.total() < before + 40:
                assert not any(client.done() for client in clients)
                await asyncio.sleep(0.001)
            await router.migrate(router.plan(names), batch=16, chunk_rows=20)
        over = True
        await asyncio.gather(*clients)
        expected = still.copy()
        for model in models:
            expected |= model
        assert await everything(router) == expected
        assert sum((await router.distribution_stats()).values()) == len(expected)
        assert router.map.counts() == {"a": 32, "b": 32, "c": 0}


@settings(max_examples=150)
@given(
    turns=st.tuples(*[st.integers(0, 4)] * 3),
    batch=st.integers(1, 20),
    page_rows=st.integers(1, 6),
    names=st.lists(st.lists(st.sampled_from("abc"), min_size=1, unique=True), min_size=1, max_size=3),
    script=st.lists(
        st.tuples(
            st.integers(0, 15),  # a key
            st.sampled_from(["put", "delete", "many", "cancelled put", "scan"]),
            st.integers(0, 6),  # turns of the loop before the next operation begins
        ),
        max_size=60,
    ),
)
def test_nothing_acknowledged_is_lost_however_calls_are_interleaved(turns, batch, page_rows, names, script):
    async def main():
        shards = held("a", "b", "c")
        router = HashShards(shards, buckets=12)
        model = dict.fromkeys(range(30), "old")
        await router.put_many(model)
        for shard, slow in zip(shards.values(), turns, strict=True):
            shard.turns = slow
        unsure = {}  # of a key whose write was cancelled: what it may hold
        busy = {key: asyncio.Lock() for key in range(30)}

        async def put(key, value):
            async with busy[key]:
                await router.put(key, value)
                model[key] = value
                unsure.pop(key, None)

        async def delete(key):
            async with busy[key]:
                await router.delete(key)
                model.pop(key, None)
                unsure.pop(key, None)

        async def many(key, value):
            keys = sorted({key, (key + 5) % 16, (key + 11) % 16})
            async with AsyncExitStack() as locks:
                for each in keys:
                    await locks.enter_async_context(busy[each])
                await router.put_many((each, value) for each in keys)
                for each in keys:
                    model[each] = value
                    unsure.pop(each, None)

        async def cancelled_put(key, value):
            async with busy[key]:
                unsure.setdefault(key, {model.get(key)}).add(value)
                try:
                    async with asyncio.timeout(0):
                        await router.put(key, value)
                except TimeoutError:
                    return
                model[key] = value
                del unsure[key]

        async def scan():
            found = await everything(router)
            assert {key: found.get(key) for key in range(16, 30)} == dict.fromkeys(range(16, 30), "old")

        async def write():
            running = []
            for number, (key, what, pause) in enumerate(script):
                match what:
                    case "put":
                        call = put(key, number)
                    case "delete":
                        call = delete(key)
                    case "many":
                        call = many(key, number)
                    case "cancelled put":
                        call = cancelled_put(key, number)
                    case _:
                        call = scan()
                running.append(asyncio.create_task(call))
                for _ in range(pause):
                    await asyncio.sleep(0)
            await asyncio.gather(*running)

        writing = asyncio.create_task(write())
        for each in names:
            await router.migrate(router.plan(each), batch=batch, chunk_rows=page_rows)
        await writing
        held_now = await everything(router)
        for key in range(30):
            if key in unsure:
                assert held_now.get(key) in unsure[key]
            else:
                assert held_now.get(key) == model.get(key)
        assert set(router.map.owners) == set(names[-1])
        await router.sweep()
        assert_each_holds_its_own(router)
        assert await router.get_many(range(30)) == held_now

    asyncio.run(main())


async def test_cancelled_at_any_moment_a_migration_loses_nothing_and_goes_on_later():
    for moment in itertools.count():
        shards = held("a", "b", "c")
        saved = []
        router = HashShards(shards, buckets=12, save_map=saved.append)
        saved.append(router.map)
        for shard in shards.values():
            shard.turns = 1
        items = {n: n for n in range(40)}
        await router.put_many(items)
        plan = router.plan(["c"])
        migrating = asyncio.create_task(router.migrate(plan, batch=4, chunk_rows=9))
        for _ in range(moment):
            await asyncio.sleep(0)
        if migrating.done():
            assert saved[-1] == router.map
            assert_each_holds_its_own(router)
            break
        migrating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await migrating
        assert saved[-1] == router.map
        assert await everything(router) == items
        gone = [key for key in items if key % 5 == 0]  # what was copied in vain must not come back
        assert await router.delete_many(gone) == len(gone)
        left = {key: value for key, value in items.items() if key not in gone}
        await router.migrate(plan)
        assert entries(shards["c"]) == left
        assert entries(shards["a"]) == entries(shards["b"]) == {}
    assert moment > 30


async def test_new_process_goes_on_with_the_saved_map_and_plan(tmp_path):
    written = tmp_path / "map"

    async def save_map(new):
        await asyncio.sleep(0)
        if new.epoch == 3:
            raise ConnectionError("the process ends here")
        written.write_bytes(new.to_bytes())

    shards = {name: DictShard() for name in "abc"}
    first = {name: shards[name] for name in "ab"}
    router = HashShards(first, buckets=64, hash="xxh64", seed=5, save_map=save_map)
    router.attach("c", shards["c"])
    items = {f"key {n}": n for n in range(200)}
    await router.put_many(items)
    plan = router.plan(["a", "b", "c"], {"c": 2})
    with pytest.raises(
        MigrationFailed, match="16 of 32 buckets have moved, and then came ConnectionError: the p"
    ):
        await router.migrate(plan, batch=8, concurrency=1)

    map_ = BucketMap.from_bytes(written.read_bytes())
    assert map_ == router.map
    assert map_.epoch == 2
    again = HashShards(shards, map=map_)
    assert again.hash == KeyHash("xxh64", 5)
    assert await everything(again) == items
    assert len(plan.left(again.map)) == 16
    with pytest.raises(MigrationFailed, match="UnexpectedRows: shard 'c' must have no rows of bucket"):
        await again.migrate(plan)  # they are no news to us, but might be the only ones
    assert await everything(again) == items
    assert await again.sweep() > 0
    await again.migrate(MigrationPlan.from_bytes(plan.to_bytes()))
    assert again.map.counts() == {"a": 16, "b": 16, "c": 32}
    assert await everything(again) == items
    assert_each_holds_its_own(again)


async def test_new_process_removes_what_has_moved_from_where_it_was():
    shards = {name: DictShard() for name in "ab"}
    router = HashShards(shards, buckets=8)
    plan = router.plan(["b"])
    await router.migrate(plan)
    moved = next(key for key in range(100) if router.bucket_of(key) == plan.moves[0].bucket)
    await router.put(moved, "new")
    await shards["a"].put(moved, "left behind by the end of the process")
    again = HashShards(shards, map=router.map)
    await again.migrate(plan)
    assert entries(shards["a"]) == {}
    assert entries(shards["b"]) == {moved: "new"}
    assert again.map.epoch == 1


async def test_process_that_forgot_the_saved_map_removes_nothing():
    shards = {name: DictShard() for name in "abc"}
    items = {n: n for n in range(200)}
    router = HashShards({name: shards[name] for name in "ab"}, buckets=32)
    await router.put_many(items)
    router.attach("c", shards["c"])
    plan = router.plan(["a", "b", "c"])
    await router.migrate(plan)
    held_by = {name: entries(shard) for name, shard in shards.items()}
    forgetful = HashShards({name: shards[name] for name in "ab"}, buckets=32)
    forgetful.attach("c", shards["c"])
    with pytest.raises(MigrationFailed, match="UnexpectedRows"):
        await forgetful.migrate(plan)
    assert {name: entries(shard) for name, shard in shards.items()} == held_by


async def test_shard_that_comes_while_a_map_is_saved_stays():
    async def save_map(new):
        if "d" not in router.shards:
            router.attach("d", DictShard())

    router = HashShards({"a": DictShard(), "b": DictShard()}, buckets=8, save_map=save_map)
    await router.migrate(router.plan(["a"]))
    assert router.map.counts() == {"a": 8, "b": 0, "d": 0}
    assert list(router.shards) == ["a", "b", "d"]


async def test_failing_target_fails_the_migration_and_no_writer():
    shards = held("a", "b")
    router = HashShards(shards, buckets=8)
    await router.migrate(router.plan(["a"]))
    items = {n: n for n in range(100)}
    await router.put_many(items)
    old = router.map
    shards["b"].mode, shards["b"].only = "fail", ("put",)
    with pytest.raises(
        MigrationFailed, match="0 of 8 buckets have moved, and then came ShardError"
    ) as failed:
        await router.migrate(router.plan(["b"]))
    assert isinstance(failed.value.__cause__, ShardError)
    assert router.map == old
    await router.put(5, "new")
    assert await everything(router) == items | {5: "new"}
    shards["b"].mode = "ok"
    await router.migrate(router.plan(["b"]))
    assert entries(shards["b"]) == items | {5: "new"}


async def test_hanging_target_holds_up_the_migration_and_no_writer():
    shards = held("a", "b")
    router = HashShards(shards, buckets=8)
    await router.migrate(router.plan(["a"]))
    await router.put_many((n, n) for n in range(100))
    shards["b"].mode, shards["b"].only = "hang", ("put",)
    migrating = asyncio.create_task(router.migrate(router.plan(["b"])))
    await settle()
    assert ("put", 100) in shards["b"].calls
    for n in range(100):
        await router.put(n, "new")
        assert await router.get(n) == "new"
    migrating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await migrating
    assert await everything(router) == dict.fromkeys(range(100), "new")


@in_virtual_time
async def test_write_that_is_under_way_when_the_migration_begins_is_waited_for():
    shards = held("a", "b")
    router = about_to_move(shards)
    await router.put("k", "old")
    shards["a"].gate, shards["a"].only = asyncio.Event(), ("put",)
    write = asyncio.create_task(router.put("k", "new"))
    await settle()
    migrating = asyncio.create_task(router.migrate(router.plan(["b"]), pause=0.01))
    await asyncio.sleep(0.05)  # longer than a pause: no writer waits meanwhile
    assert not migrating.done()
    shards["a"].gate.set()
    await write
    await migrating
    assert entries(shards["b"]) == {"k": "new"}


@in_virtual_time
async def test_pause_is_the_longest_that_writes_are_held_up():
    shards = held("a", "b")
    router = about_to_move(shards)
    await router.put("k", "old")

    class Target(DictShard):
        """Has a write begin at the source that does not end, as the copy comes in."""

        async def put_many(self, items):
            await super().put_many(items)
            shards["a"].mode, shards["a"].only = "hang", ("put",)
            writing.append(asyncio.create_task(router.put("k", "hangs")))
            await settle()

    writing = []
    router.attach("target", Target())
    router.detach("b")
    migrating = asyncio.create_task(router.migrate(router.plan(["target"]), pause=0.2))
    await writes_wait(router)
    shards["a"].mode = "ok"
    held_up = asyncio.create_task(router.put("k", "held up"))
    await settle()
    assert not held_up.done()
    with pytest.raises(MigrationFailed, match=r"ShardTimeout: writes must wait <= 0\.2 seconds") as failed:
        await migrating
    assert isinstance(failed.value.__cause__, ShardTimeout)
    await held_up
    assert router.route("k") == "a"
    assert await router.get("k") == "held up"
    writing[0].cancel()


@in_virtual_time
async def test_target_that_heeds_no_cancellation_holds_up_no_writer():
    shards = held("a")
    router = about_to_move(shards)
    await router.put("k", "old")
    release = asyncio.Event()
    writes, cancelled = [], []

    class Target(DictShard):
        """Has a write begin at the source as the copy comes in, and never comes back with what it wrote."""

        async def put_many(self, items):
            if not writes:
                shards["a"].gate, shards["a"].only = asyncio.Event(), ("put",)
                writes.append(asyncio.create_task(router.put("k", "written meanwhile")))
                await settle()
            else:
                while not release.is_set():
                    try:
                        await release.wait()
                    except asyncio.CancelledError:
                        cancelled.append(True)
            await super().put_many(items)

    router.attach("target", Target())
    migrating = asyncio.create_task(router.migrate(router.plan(["target"]), pause=0.1))
    await writes_wait(router)
    shards["a"].gate.set()
    while not cancelled:
        await asyncio.sleep(0.01)
    await asyncio.wait_for(router.put("k", "newest"), 5)
    assert not migrating.done()
    release.set()
    with pytest.raises(MigrationFailed, match="came ShardTimeout"):
        await migrating
    assert router.route("k") == "a"
    assert await router.get("k") == "newest"
    await router.migrate(router.plan(["target"]))
    assert await router.get("k") == "newest"


async def test_write_that_was_cancelled_too_late_is_carried_like_any_other():
    shards = held("a", "b")
    router = about_to_move(shards)
    await router.put("k", "old")
    shards["b"].gate = asyncio.Event()
    migrating = asyncio.create_task(router.migrate(router.plan(["b"])))
    await settle()
    shards["a"].mode, shards["a"].only = "late", ("put",)
    write = asyncio.create_task(router.put("k", "new"))
    await settle()
    write.cancel()
    await asyncio.wait([write])
    shards["b"].gate.set()
    await migrating
    assert entries(shards["b"]) == {"k": "new"}


async def test_reads_that_began_at_the_old_shard_find_what_was_there():
    shards = held("a", "b")
    router = about_to_move(shards)
    await router.put("k", "value")
    shards["a"].gate, shards["a"].only = asyncio.Event(), ("get",)
    read = asyncio.create_task(router.get("k"))
    await settle()
    migrating = asyncio.create_task(router.migrate(router.plan(["b"])))
    await settle()
    assert not migrating.done()
    shards["a"].gate.set()
    assert await read == "value"
    await migrating
    assert entries(shards["a"]) == {}


async def test_stream_that_began_before_a_migration_has_every_entry_once():
    shards = held("a", "b")
    router = HashShards(shards, buckets=32)
    items = {n: n for n in range(200)}
    await router.put_many(items)
    await router.migrate(router.plan(["a"]))
    found = []
    async with aclosing(router.scatter_gather_all(page_rows=10)) as stream:
        found.append(await anext(stream))
        migrating = asyncio.create_task(router.migrate(router.plan(["b"])))
        await settle()
        assert not migrating.done()  # rows at the old shard stay until the stream has passed
        async for row in stream:
            found.append(row)
            await asyncio.sleep(0)
    await migrating
    assert sorted(found) == sorted(items.items())
    assert entries(shards["b"]) == items


async def test_writes_faster_than_they_can_be_carried_fail_the_migration_and_not_the_memory(monkeypatch):
    monkeypatch.setattr("penstock.sharding._routing.MAX_CHANGED", 100)
    shards = held("a", "b")
    router = about_to_move(shards)
    await router.put(0, 0)
    shards["b"].gate, shards["b"].only = asyncio.Event(), ("put",)
    migrating = asyncio.create_task(router.migrate(router.plan(["b"])))
    await settle()
    await router.put_many((n, n) for n in range(101))
    shards["b"].gate.set()
    with pytest.raises(
        MigrationFailed, match="TooManyWrites: keys written while a page of rows is moved must be"
    ):
        await migrating
    assert router.route(0) == "a"
    assert await router.get(100) == 100


async def test_keys_written_again_and_again_are_not_too_many(monkeypatch):
    monkeypatch.setattr("penstock.sharding._routing.MAX_CHANGED", 100)
    shards = held("a", "b")
    router = about_to_move(shards)
    await router.put(0, 0)
    shards["b"].gate, shards["b"].only = asyncio.Event(), ("put",)
    migrating = asyncio.create_task(router.migrate(router.plan(["b"])))
    await settle()
    for turn in range(2):
        await router.put_many((n, turn) for n in range(100))
    shards["b"].gate.set()
    await migrating
    assert await shards["b"].count() == 100
    assert await router.get(0) == 1


@pytest.mark.engine
async def test_database_killed_as_the_target_loses_nothing_and_the_plan_goes_on_after_it_is_back(tmp_path):
    from penstock.sharding.postgres_shard import PostgreSQLShard
    from postgres_server import PostgreSQLServer

    with PostgreSQLServer() as server:
        source = SQLiteShard(tmp_path / "source", str)
        target = PostgreSQLShard(server.dsn, str, timeout=10)
        async with HashShards({"source": source}, buckets=64) as router:
            router.attach("target", target)
            items = {f"key {n}": n for n in range(600)}
            await router.put_many(items)
            plan = router.plan(["target"])

            def kill(progress):
                nonlocal running
                if progress.buckets_moved >= 16 and running:
                    running = False
                    server.kill()

            running = True

            with pytest.raises(MigrationFailed, match="of 64 buckets have moved"):
                await router.migrate(plan, progress=kill, batch=8, chunk_rows=50)
            left = len(plan.left(router.map))
            assert 0 < left <= 48
            await asyncio.to_thread(server.start)
            assert await router.get_many(items) == items
            new = dict.fromkeys(list(items)[::3], -1)
            await router.put_many(new)
            await router.migrate(plan)
            assert await everything(router) == items | new
            assert await source.count() == 0


# ---- what is refused


async def test_second_migration_must_wait():
    shards = held("a", "b")
    router = HashShards(shards, buckets=4)
    await router.put_many((n, n) for n in range(20))
    shards["b"].gate = asyncio.Event()
    first = asyncio.create_task(router.migrate(router.plan(["b"])))
    await settle()
    with pytest.raises(MigrationInProgress, match="migrate must wait until the migration is over"):
        await router.migrate(router.plan(["a"]))
    with pytest.raises(MigrationInProgress):
        await router.sweep()
    with pytest.raises(MigrationInProgress):
        router.detach("a")
    shards["b"].gate.set()
    await first
    await router.migrate(router.plan(["a"]))


async def test_plan_of_other_buckets_or_unknown_shards_is_refused():
    router = HashShards({"a": DictShard(), "b": DictShard()}, buckets=12)
    with pytest.raises(UnknownShard, match="id of a shard must be one of 'a', 'b', got 'c'"):
        await router.migrate(router.plan(["a", "b", "c"]))
    with pytest.raises(StalePlan, match="buckets of the plan must be 12, got 13"):
        await router.migrate(BucketMap.even(["a", "b"], 13).plan(["a"]))
    with pytest.raises(TypeError, match="plan must be a MigrationPlan, got list"):
        await router.migrate([])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"batch": 0}, "batch must be >= 1"),
        ({"concurrency": 0}, "concurrency must be >= 1"),
        ({"chunk_rows": 0}, "chunk_rows must be >= 1"),
        ({"chunk_rows": 1_000_001}, "chunk_rows must be >= 1 and <= 1000000"),
        ({"pause": 0}, "pause must be > 0"),
    ],
)
async def test_migration_with_nonsense_is_refused(how, message):
    router = HashShards([DictShard(), DictShard()])
    with pytest.raises(ValueError, match=message):
        await router.migrate(router.plan([0]), **how)
    await router.migrate(router.plan([0]))  # the refused one is not under way


def two():
    return {"a": DictShard(), "b": DictShard()}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: HashShards({}), ValueError, "shards must be at least one, got none"),
        (lambda: HashShards([]), ValueError, "shards must be at least one, got none"),
        (lambda: HashShards([DictShard()] * 2), ValueError, "a shard must have one id, got 0 and 1"),
        (lambda: HashShards("ab"), TypeError, "shards must be a mapping or a sequence, got str"),
        (lambda: HashShards({1.5: DictShard()}), TypeError, "id of a shard must be a str or int, got float"),
        (lambda: HashShards(two(), hash="md4"), ValueError, "name must be one of xxh3_64, .*, got 'md4'"),
        (lambda: HashShards(two(), hash="crc16", seed=1), ValueError, "seed of crc16 must be 0"),
        (lambda: HashShards(two(), hash=KeyHash(), seed=1), ValueError, "seed must be 0 beside a KeyHash"),
        (lambda: HashShards(two(), buckets=1), ValueError, "buckets must be >= 2 and <= 1048576, got 1"),
        (lambda: HashShards(two(), buckets=2.0), TypeError, "buckets must be an int, got float"),
        (
            lambda: HashShards(two(), hash="crc16", buckets=16385),
            ValueError,
            "buckets must be >= 2 and <= 16384, got 16385",
        ),
        (lambda: HashShards(two(), weights={"z": 1}), LookupError, "weights must be of the shards"),
        (lambda: HashShards(two(), save_map=1), TypeError, "save_map must be callable, got int"),
        (lambda: HashShards(two(), map=b""), TypeError, "map must be a BucketMap, got bytes"),
        (
            lambda: HashShards(two(), map=BucketMap(("a", "z"))),
            LookupError,
            "id of a shard must be one of 'a', 'b', got 'z'",
        ),
        (
            lambda: HashShards(two(), map=BucketMap(("a", "b")), buckets=2),
            ValueError,
            "map must come without seed, buckets and weights, which it has",
        ),
        (
            lambda: HashShards(two(), map=BucketMap(("a", "b")), hash="xxh64"),
            ValueError,
            r"hash must be that of the map, 'xxh3_64' with seed 0, got KeyHash\('xxh64'\)",
        ),
        (
            lambda: HashShards(two(), map=BucketMap(("a", "b"), hash=None)),
            ValueError,
            "hash must be the callable that the map was made with, got none",
        ),
    ],
)
def test_nonsense_makes_no_shards(make, error, message):
    with pytest.raises(error, match=message) as refused:
        make()
    assert isinstance(refused.value, PenstockError)


def test_map_of_a_callable_comes_with_the_callable():
    router = HashShards(two(), map=BucketMap(("a", "b"), hash=None), hash=len)
    assert [router.route(key) for key in ("", "x")] == ["a", "b"]


def test_shard_is_attached_once_and_detached_when_known():
    router = HashShards(two())
    with pytest.raises(ValueError, match="id of a shard must be new, got 'a' again"):
        router.attach("a", DictShard())
    with pytest.raises(UnknownShard, match="id of a shard must be one of 'a', 'b', got 'c'"):
        router.detach("c")
    extra = DictShard()
    router.attach("c", extra)
    with pytest.raises(ValueError, match="a shard must have one id, got 'c' and 'd' of the same"):
        router.attach("d", extra)
    assert router.map.counts()["c"] == 0
    assert router.detach("c") is extra
    assert list(router.shards) == ["a", "b"]


def test_shards_tell_what_they_are():
    assert repr(HashShards(two())) == "<HashShards of 1024 buckets on 2 shards>"
