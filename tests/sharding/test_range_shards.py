"""Range shards: routing, scans over several shards, cursors, traffic."""

import asyncio
import base64
import re
import zlib
from datetime import UTC, date, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.sharding import DictShard, InvalidCursor, NoShard, Range, RangeShards, ShardError
from penstock.sharding.cursor import decode_cursor, encode_cursor
from sharding.shards import HeldShard, entries
from virtual_time import in_virtual_time


def three(**how):
    """Keys 1 to 30 in three shards."""
    shards = [HeldShard() for _ in range(3)]
    bounds = [(21, 30), (1, 10), (11, 20)]  # in no order
    ranges = [Range(first, last, shards[first // 10]) for first, last in bounds]
    return shards, RangeShards(ranges, **how)


async def filled(**how):
    shards, router = three(**how)
    await router.put_many((key, str(key)) for key in range(1, 31))
    return shards, router


# ---- the reference's example 33


async def test_reference_program_finds_what_it_finds_when_run_and_not_what_its_comments_say():
    shards = [DictShard() for _ in range(3)]
    router = RangeShards(
        [Range(1, 10000, shards[0]), Range(10001, 20000, shards[1]), Range(20001, 30000, shards[2])]
    )
    await router.put(500, {"name": "Alice", "plan": "free"})
    await router.put(15000, {"name": "Bob", "plan": "pro"})
    await router.put(25000, {"name": "Charlie", "plan": "enterprise"})
    assert [shards.index(router.route(key)) for key in (500, 15000, 25000)] == [0, 1, 2]
    assert await router.get(15000) == {"name": "Bob", "plan": "pro"}
    assert [row async for row in router.scan(9000, 11000)] == []  # the comment says 2


@pytest.mark.parametrize("key", [0, 30001, -5])
async def test_key_of_no_shard_is_answered_as_in_the_reference(key):
    router = RangeShards([Range(1, 30000, DictShard())])
    assert router.route(key) is None
    assert await router.get(key) is None
    assert not await router.delete(key)
    with pytest.raises(NoShard, match=f"^no shard configured for key={key}$") as raised:
        await router.put(key, {})
    assert isinstance(raised.value, LookupError)
    assert isinstance(raised.value, PenstockError)


async def test_rows_of_a_shard_are_sorted_where_the_reference_gives_them_in_random_order():
    _, router = await filled()
    assert [key async for key, _ in router.scan(5, 25)] == list(range(5, 26))


# ---- routing


async def test_each_key_lies_in_the_shard_of_its_range_and_nowhere_else():
    shards, router = await filled()
    assert [sorted(entries(shard)) for shard in shards] == [
        list(range(1, 11)),
        list(range(11, 21)),
        list(range(21, 31)),
    ]
    assert await router.count() == 30


async def test_batch_with_a_key_of_no_shard_stores_nothing():
    shards, router = three()
    with pytest.raises(NoShard, match="no shard configured for key=31"):
        await router.put_many([(1, "a"), (31, "b")])
    assert not any(map(entries, shards))


async def test_huge_keys_make_short_messages():
    _, router = three()
    with pytest.raises(NoShard, match=r"^no shard configured for key=an int of 3000001 bits$"):
        await router.put(1 << 3_000_000, "a")


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ({"timeout": 0}, ValueError, r"timeout must be > 0 and <= 1e\+09 seconds, got 0"),
        ({"timeout": float("nan")}, ValueError, r"timeout must be > 0 and <= 1e\+09 seconds, got nan"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds, got str"),
        ({"chunk_rows": 0}, ValueError, "chunk_rows must be >= 1 and <= 1000000, got 0"),
        ({"chunk_rows": 1_000_001}, ValueError, "chunk_rows must be >= 1 and <= 1000000, got 1000001"),
        ({"save_map": 1}, TypeError, "save_map must be callable, got int"),
        ({"epoch": 0}, ValueError, "epoch must be >= 1, got 0"),
    ],
)
async def test_setting_that_is_wrong_is_refused(how, kind, message):
    with pytest.raises(kind, match=message) as raised:
        three(**how)
    assert isinstance(raised.value, PenstockError)


async def test_error_of_a_shard_is_told_as_it_is():
    shards, router = await filled()
    shards[1].mode = "fail"
    assert await router.get(1) == "1"
    with pytest.raises(ShardError, match="the shard is down"):
        await router.get(11)


# ---- scans


async def test_range_scan_asks_only_the_shard_of_its_range():
    shards, router = await filled()
    shards[0].mode = shards[2].mode = "fail"
    assert [row async for row in router.range_scan(12, 14)] == [(12, "12"), (13, "13"), (14, "14")]
    with pytest.raises(ValueError, match=r"last must be in the range of first, \[11, 20\], got 21"):
        router.range_scan(12, 21)
    with pytest.raises(NoShard, match="no shard configured for key=0"):
        router.range_scan(0, 5)


@pytest.mark.parametrize(
    ("last", "kind", "message"),
    [
        (11, ValueError, r"last must be in the range of first, \[1, 10\], got 11"),
        (31, LookupError, "no shard configured for key=31"),
        ("a", TypeError, "key must be comparable with the bounds of the ranges"),
        (None, TypeError, "key must have an order, got None"),
        (float("nan"), ValueError, "key must not be NaN"),
    ],
)
async def test_range_scan_beyond_its_range_is_refused(last, kind, message):
    _, router = await filled()
    with pytest.raises(kind, match=message) as raised:
        router.range_scan(1, last)
    assert isinstance(raised.value, PenstockError)


async def test_scan_asks_only_shards_that_have_keys_between_its_bounds():
    shards, router = await filled()
    shards[0].mode = "fail"
    assert [key async for key, _ in router.scan(11, 25)] == list(range(11, 26))


@settings(max_examples=60)
@given(
    stored=st.sets(st.integers(-50, 50)),
    cuts=st.sets(st.integers(-50, 50), max_size=6),
    bounds=st.tuples(st.none() | st.integers(-60, 60), st.none() | st.integers(-60, 60)),
    limit=st.none() | st.integers(1, 40),
    page_rows=st.integers(1, 9),
    prefetch=st.integers(1, 4),
)
def test_scan_in_pieces_equals_a_sorted_dict(stored, cuts, bounds, limit, page_rows, prefetch):
    first, last = bounds

    async def run():
        edges = [-50, *sorted(cuts - {-50}), None]
        router = RangeShards(Range(low, None, HeldShard(), before=high) for low, high in pairwise(edges))
        await router.put_many((key, -key) for key in stored)
        expected = [
            (key, -key)
            for key in sorted(stored)
            if (first is None or key >= first) and (last is None or key <= last)
        ]
        how = {"page_rows": page_rows, "prefetch": prefetch}
        async with router.scan(first, last, limit=limit, **how) as scan:
            assert [row async for row in scan] == expected[:limit]
        seen, cursor = [], None
        while True:
            scan = router.scan(first, last, limit=limit or 7, cursor=cursor, **how)
            piece = [row async for row in scan]
            assert scan.rows == len(piece)
            seen += piece
            if not piece:
                break
            cursor = scan.cursor
        assert seen == expected

    asyncio.run(run())


@pytest.mark.parametrize("prefetch", [1, 2, 5])
async def test_scan_reads_no_more_ahead_than_it_may(prefetch):
    shards = [HeldShard() for _ in range(20)]
    router = RangeShards(Range(i * 100, i * 100 + 99, shard) for i, shard in enumerate(shards))
    await router.put_many((key, None) for key in range(2000))

    def pages():
        return sum(operation == "page" for shard in shards for operation, _ in shard.calls)

    async with router.scan(page_rows=10, prefetch=prefetch) as scan:
        taken = 0
        async for _ in scan:
            taken += 1
            for _ in range(5):
                await asyncio.sleep(0)  # whatever wants to read ahead may do so
            in_hands = -(-taken // 10)
            assert (
                pages() <= in_hands + prefetch + taken // 100
            )  # a full last page is followed by an empty one
    assert taken == 2000


@in_virtual_time
async def test_scan_reads_nothing_more_once_its_limit_is_in_hand():
    shards, router = await filled()
    async with router.scan(limit=5, prefetch=1) as scan:
        async for _ in scan:
            await asyncio.sleep(0.001)  # whatever wants to read ahead may do so
    assert scan.rows == 5
    assert [shard.calls.count(("page", 0)) for shard in shards] == [1, 0, 0]


@in_virtual_time
async def test_shards_are_read_at_the_same_time():
    shards, router = await filled()
    gate = asyncio.Event()
    for shard in shards:
        shard.gate = gate
    scan = router.scan(prefetch=3)
    row = asyncio.ensure_future(anext(scan))
    await asyncio.sleep(0.01)
    assert all(("page", 0) in shard.calls for shard in shards)
    gate.set()
    assert await row == (1, "1")
    await scan.aclose()


async def test_scan_goes_on_after_an_error():
    shards, router = await filled()
    shards[1].mode = "fail"
    scan = router.scan(page_rows=4)
    seen = []
    with pytest.raises(ShardError, match="the shard is down"):  # noqa: PT012
        async for key, _ in scan:
            seen.append(key)
    assert seen == list(range(1, 11))
    shards[1].mode = "ok"
    assert [key async for key, _ in scan] == list(range(11, 31))


@in_virtual_time
async def test_scan_goes_on_after_a_cancelled_step():
    shards, router = await filled()
    gate = shards[0].gate = asyncio.Event()
    scan = router.scan()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(scan), 0.01)
    gate.set()
    assert [key async for key, _ in scan] == list(range(1, 31))


async def test_closed_scan_leaves_no_task_behind():
    shards, router = await filled()
    shards[1].mode = "hang"
    before = asyncio.all_tasks()
    async with router.scan(page_rows=3) as scan:
        assert await anext(scan) == (1, "1")
    assert asyncio.all_tasks() == before
    with pytest.raises(StopAsyncIteration):
        await anext(scan)
    assert scan.cursor == encode_cursor(1)


@pytest.mark.parametrize("what", ["split", "merge", "move"])
async def test_scan_loses_no_row_and_doubles_none_when_the_map_changes_under_it(what):
    for turn in range(1, 30):
        _, router = await filled()
        scan = router.scan(page_rows=3)
        seen = [(await anext(scan))[0] for _ in range(turn)]
        if what == "split":
            await router.split(15, HeldShard())
        elif what == "merge":
            await router.merge(11)
        else:
            await router.move(15, HeldShard())
        seen += [key async for key, _ in scan]
        assert seen == list(range(1, 31)), turn


# ---- cursors


def forged(content):
    """A cursor with a right checksum over anything."""
    data = msgspec.msgpack.encode(content)
    checked = zlib.crc32(data).to_bytes(4, "big") + data
    return "1." + base64.urlsafe_b64encode(checked).rstrip(b"=").decode()


ATOMS = st.one_of(
    st.integers(),
    st.text(),
    st.binary(),
    st.floats(allow_nan=False),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(UTC)),
)
CURSOR_KEYS = st.recursive(ATOMS, lambda keys: st.lists(keys, max_size=3).map(tuple), max_leaves=5)


@given(key=CURSOR_KEYS)
def test_cursor_brings_back_its_key(key):
    cursor = encode_cursor(key)
    assert re.fullmatch(r"1\.[A-Za-z0-9_-]+", cursor)  # as it stands in a URL
    found = decode_cursor(cursor)
    assert found == key
    assert type(found) is type(key)


@given(text=st.text() | st.text().map("1.{}".format) | st.binary().map(lambda data: f"1.{data.hex()}"))
def test_text_that_is_no_cursor_is_refused(text):
    with pytest.raises(InvalidCursor, match="cursor must be") as raised:
        decode_cursor(text)
    assert isinstance(raised.value, ValueError)


@given(key=CURSOR_KEYS, data=st.data())
def test_damaged_cursor_is_refused(key, data):
    cursor = encode_cursor(key)
    place = data.draw(st.integers(2, len(cursor) - 1))
    for damaged in (
        cursor[:place],
        cursor[:place] + "!" + cursor[place:],
        cursor[:place] + "A" + cursor[place:],
    ):
        with pytest.raises(InvalidCursor):
            decode_cursor(damaged)


@pytest.mark.parametrize(
    ("cursor", "kind", "message"),
    [
        ("2.AAAA", ValueError, "cursor must be of version 1, got '2'"),
        ("", ValueError, "cursor must be one that a scan gave, got ''"),
        ("1." + "A" * 1_000_000, ValueError, "cursor must be one that a scan gave, got '1.AAA"),
        (b"1.AAAA", TypeError, "cursor must be a str, got bytes"),
        (encode_cursor(31), ValueError, "cursor must be of a scan with these bounds, got one at 31"),
        (encode_cursor(4), ValueError, "cursor must be of a scan with these bounds, got one at 4"),
        (encode_cursor("a"), ValueError, "cursor must be of a scan with these bounds, got one at 'a'"),
        (encode_cursor(float("nan")), ValueError, "cursor must be one that a scan gave"),
        (forged(["s", 5]), ValueError, "cursor must be one that a scan gave"),
        (forged(["s", None]), ValueError, "cursor must be one that a scan gave"),
        (forged(["(", [["s", 1]]]), ValueError, "cursor must be one that a scan gave"),
        (forged(["(", 5]), ValueError, "cursor must be one that a scan gave"),
        (forged(["t", 5]), ValueError, "cursor must be one that a scan gave"),
        (forged(["i", "ten"]), ValueError, "cursor must be one that a scan gave"),
        (forged(["x", 1]), ValueError, "cursor must be one that a scan gave"),
        (forged({"i": 1, "j": 2}), ValueError, "cursor must be one that a scan gave"),
        (forged(None), ValueError, "cursor must be one that a scan gave"),
    ],
)
async def test_cursor_of_something_else_is_refused(cursor, kind, message):
    _, router = await filled()
    with pytest.raises(kind, match=message) as raised:
        router.scan(5, 30, cursor=cursor)
    assert isinstance(raised.value, PenstockError)


async def test_cursor_of_a_key_that_no_cursor_can_hold_is_refused():
    router = RangeShards([Range(frozenset(), None, DictShard())])
    await router.put(frozenset({1}), "a")
    scan = router.scan()
    assert await anext(scan) == (frozenset({1}), "a")
    with pytest.raises(TypeError, match=r"a cursor must be of a key that is an int, .* got frozenset"):
        _ = scan.cursor


async def test_cursor_that_could_not_be_read_again_is_not_given():
    router = RangeShards([Range(None, None, DictShard([("x" * 100_000, 1)]))])
    scan = router.scan()
    assert [value async for _, value in scan] == [1]
    with pytest.raises(ValueError, match="a cursor must have <= 65536 characters, got a key that takes 13"):
        _ = scan.cursor
    longest = "x" * 49_000
    assert decode_cursor(encode_cursor(longest)) == longest


async def test_scan_that_has_given_nothing_has_no_cursor():
    _, router = three()
    scan = router.scan()
    assert [row async for row in scan] == []
    assert scan.cursor is None


async def test_cursor_goes_on_after_the_shard_was_split():
    _, router = await filled()
    scan = router.scan(2, 28, limit=12)
    seen = [key async for key, _ in scan]
    await router.split(14, HeldShard())
    await router.split(6, HeldShard())
    await router.merge(21)
    seen += [key async for key, _ in router.scan(2, 28, cursor=scan.cursor)]
    assert seen == list(range(2, 29))


@pytest.mark.parametrize(
    ("low", "high", "middle"),
    [
        (
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2027, 1, 1, tzinfo=UTC),
            datetime(2026, 6, 1, tzinfo=UTC),
        ),
        (date(2026, 1, 1), date(2027, 1, 1), date(2026, 6, 1)),
        (("a", 1), ("z", 9), ("m", 2)),
        (b"", b"\xff", b"m"),
        (-1.5, float("inf"), 0.0),
    ],
)
async def test_keys_may_be_of_any_type_that_has_an_order(low, high, middle):
    router = RangeShards([Range(low, high, DictShard())])
    await router.put_many([(low, 1), (high, 3), (middle, 2)])
    await router.split(middle, DictShard())
    scan = router.scan(low, high, limit=2)
    assert [value async for _, value in scan] == [1, 2]
    assert [row async for row in router.scan(low, high, cursor=scan.cursor)] == [(high, 3)]


# ---- traffic


async def test_report_shows_the_hot_range_and_where_to_split_it():
    _, router = await filled()
    router.reset_traffic()
    for number in range(1000):
        await router.get(21 + number % 10)
    for number in range(100):
        await router.put(1 + number % 10, "x")
    report = router.traffic()
    assert report.epoch == 1
    assert [(hot.reads, hot.writes) for hot in report.ranges] == [(0, 100), (0, 0), (1000, 0)]
    assert [round(hot.share, 3) for hot in report.ranges] == [0.091, 0.0, 0.909]
    assert report.hottest is report.ranges[2]
    assert 24 <= report.hottest.split_at <= 28
    assert report.ranges[1].split_at is None
    lines = str(report).splitlines()
    assert lines[0].split() == ["range", "reads", "writes", "share", "split", "at"]
    assert lines[2] == "[11, 20]      0       0   0.0%"
    assert lines[3].startswith("[21, 30]  1,000       0  90.9%  2")


async def test_one_hot_key_is_no_reason_for_a_split():
    _, router = await filled()
    router.reset_traffic()
    for _ in range(500):
        await router.get(25)
    assert router.traffic().hottest.split_at is None


async def test_scans_count_their_pages():
    _, router = await filled()
    router.reset_traffic()
    assert len([row async for row in router.scan(11, 20, page_rows=5)]) == 10
    assert [hot.reads for hot in router.traffic().ranges] == [0, 2, 0]


async def test_split_at_the_suggested_key_parts_the_traffic():
    shards, router = await filled()
    for number in range(2000):
        await router.get(21 + number % 10)
    await router.split(router.traffic().hottest.split_at, HeldShard())
    router.reset_traffic()
    for number in range(2000):
        await router.get(21 + number % 10)
    shares = [hot.share for hot in router.traffic().ranges]
    assert len(shares) == 4
    assert max(shares) <= 0.8
    assert shards[2].calls.count(("get", 1)) < 4000
