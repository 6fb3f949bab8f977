"""Bucket maps, and the plans that lead from one to another with the fewest moves."""

import json
import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.sharding.buckets import (
    BucketMap,
    BucketMove,
    InvalidBucketMap,
    InvalidPlan,
    MigrationPlan,
    StalePlan,
    UnknownShard,
)

names = st.one_of(st.integers(-5, 20), st.text(st.characters(codec="utf-8"), min_size=1, max_size=4))
shard_lists = st.lists(names, min_size=1, max_size=8, unique=True)
weights = st.floats(1e-3, 1e3)


@st.composite
def maps(draw):
    shards = draw(shard_lists)
    owners = draw(st.lists(st.sampled_from(shards), min_size=len(shards), max_size=60))
    return BucketMap(tuple(owners), tuple(shards), epoch=draw(st.integers(0, 9)))


# ---- maps


def test_as_many_buckets_as_shards_are_plain_modulo():
    assert BucketMap.even(["a", "b", "c"], 3).owners == ("a", "b", "c")


def test_multiple_of_the_shards_deals_as_plain_modulo_does():
    assert BucketMap.even(range(4), 1024).owners == tuple(bucket % 4 for bucket in range(1024))


@given(shards=shard_lists, spare=st.integers(0, 50))
def test_even_map_is_even_to_one_bucket(shards, spare):
    counts = BucketMap.even(shards, len(shards) + spare).counts()
    assert list(counts) == shards
    assert max(counts.values()) - min(counts.values()) <= 1


def test_weighted_map_gives_each_its_weight():
    counts = BucketMap.even(["a", "b", "c"], 1000, weights={"a": 2, "c": 0.5}).counts()
    assert counts == {"a": 571, "b": 286, "c": 143}


@given(map_=maps())
def test_map_comes_back_from_its_bytes(map_):
    assert BucketMap.from_bytes(map_.to_bytes()) == map_


def test_ids_keep_their_type_in_bytes():
    map_ = BucketMap((0, "0"), hash=None)
    assert BucketMap.from_bytes(map_.to_bytes()).owners == (0, "0")


def test_map_of_a_real_cluster_can_be_written_down():
    owners = ("a",) * 5461 + ("b",) * 5462 + ("c",) * 5461
    map_ = BucketMap(owners, hash="crc16")
    assert map_.shards == ("a", "b", "c")
    assert map_.counts() == {"a": 5461, "b": 5462, "c": 5461}
    assert repr(map_) == ("BucketMap(16384 buckets, shards=['a', 'b', 'c'], hash='crc16', seed=0, epoch=0)")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: BucketMap(()), ValueError, "buckets must be >= 1 and <= 1048576, got 0"),
        (lambda: BucketMap(("a",), ("b",)), LookupError, "owners must be among the shards, got 'a'"),
        (lambda: BucketMap(("a",), ("a", "a")), ValueError, "id of a shard must be new, got 'a' again"),
        (lambda: BucketMap((1.5,)), TypeError, "id of a shard must be a str or int, got float"),
        (lambda: BucketMap((True,)), TypeError, "id of a shard must be a str or int, got bool"),
        (lambda: BucketMap(("",)), ValueError, "id of a shard must have 1 to 256 characters, got 0"),
        (lambda: BucketMap(("x" * 257,)), ValueError, "id of a shard must have 1 to 256 characters, got 257"),
        (lambda: BucketMap((10**5000,)), ValueError, "id of a shard must have <= 63 bits, got 16610"),
        (lambda: BucketMap(("\ud800",)), ValueError, "must have no lone surrogates"),
        (lambda: BucketMap(("a",), hash=7), TypeError, "hash must be a name or None, got int"),
        (lambda: BucketMap(("a",), seed=-1), ValueError, "seed must be >= 0"),
        (lambda: BucketMap(("a",), epoch=-1), ValueError, "epoch must be >= 0"),
        (lambda: BucketMap.even([], 4), ValueError, "shards must be at least one, got none"),
        (lambda: BucketMap.even("abc", 4), TypeError, "shards must be an iterable of ids, got str"),
        (lambda: BucketMap.even(["a", "b"], 1), ValueError, "buckets must be >= 2 and <= 1048576, got 1"),
        (
            lambda: BucketMap.even([1], 1 << 21),
            ValueError,
            "buckets must be >= 1 and <= 1048576, got 2097152",
        ),
    ],
)
def test_nonsense_makes_no_map(make, error, message):
    with pytest.raises(error, match=message) as refused:
        make()
    assert isinstance(refused.value, PenstockError)


# ---- plans


@given(map_=maps(), shards=shard_lists)
def test_plan_makes_the_map_even_with_the_fewest_moves(map_, shards):
    if len(shards) > len(map_.owners):
        return
    plan = map_.plan(shards)
    after = map_.after(plan.moves)
    counts = Counter(after.owners)
    buckets = len(map_.owners)
    assert set(counts) == set(shards)
    assert all(count in (buckets // len(shards), -(-buckets // len(shards))) for count in counts.values())
    assert len(plan) == fewest_moves(map_, shards)
    changed = {b for b in range(buckets) if map_.owners[b] != after.owners[b]}
    assert changed == {move.bucket for move in plan.moves}
    assert after.epoch == map_.epoch + 1


def fewest_moves(map_, shards):
    """A shard keeps no more than its share rounded down, or up: and only so many are rounded up."""
    held = Counter(map_.owners)
    low, rounded_up = divmod(len(map_.owners), len(shards))
    stay = sum(min(held[shard], low) for shard in shards)
    stay += min(rounded_up, sum(held[shard] > low for shard in shards))
    return len(map_.owners) - stay


@given(shards=st.integers(1, 12), more=st.integers(1, 6), spare=st.integers(0, 300))
def test_growing_moves_no_more_than_the_new_shards_take_and_only_to_them(shards, more, spare):
    buckets = shards + more + spare
    old = BucketMap.even(range(shards), buckets)
    plan = old.plan(range(shards + more))
    assert {move.target for move in plan.moves} == set(range(shards, shards + more))
    assert len(plan) <= more * math.ceil(buckets / (shards + more))


@given(shards=st.integers(2, 12), spare=st.integers(0, 300), gone=st.data())
def test_shrinking_moves_only_what_the_lost_shard_has(shards, spare, gone):
    old = BucketMap.even(range(shards), shards + spare)
    lost = gone.draw(st.integers(0, shards - 1))
    plan = old.plan([shard for shard in range(shards) if shard != lost])
    assert {move.bucket for move in plan.moves} == {
        bucket for bucket, owner in enumerate(old.owners) if owner == lost
    }


@given(map_=maps(), weighted=st.dictionaries(names, weights, min_size=1, max_size=8))
def test_weighted_plan_gives_each_its_share_to_one_bucket(map_, weighted):
    if len(weighted) > len(map_.owners):
        return
    plan = map_.plan(list(weighted), weighted)
    counts = Counter(map_.after(plan.moves).owners)
    whole = sum(map(Fraction, weighted.values()))
    for shard, weight in weighted.items():
        share = Fraction(weight) * len(map_.owners) / whole
        assert math.floor(share) <= counts[shard] <= math.ceil(share)


@given(map_=maps(), shards=shard_lists)
def test_plan_comes_back_from_its_bytes(map_, shards):
    if len(shards) > len(map_.owners):
        return
    plan = map_.plan(shards)
    assert MigrationPlan.from_bytes(plan.to_bytes()) == plan


def test_even_map_needs_no_moves():
    plan = BucketMap.even(["a", "b"], 64).plan(["a", "b"])
    assert len(plan) == 0
    assert plan.share == 0.0


def test_plan_prints_as_a_table():
    plan = BucketMap.even(["a", "b"], 12).plan(["a", "b", "c"])
    assert plan.share == pytest.approx(1 / 3)
    assert str(plan).splitlines() == [
        "from               to                  buckets   share  which",
        "a                  c                         2  16.67%  8, 10",
        "b                  c                         2  16.67%  9, 11",
        "total                                        4  33.33%  of 12",
    ]
    assert repr(plan) == "MigrationPlan(4 of 12 buckets, to shards ('a', 'b', 'c'))"


@given(map_=maps(), shards=shard_lists)
def test_table_has_at_most_80_columns(map_, shards):
    if len(shards) > len(map_.owners):
        return
    lines = str(map_.plan(shards)).splitlines()
    routes = {(move.source, move.target) for move in map_.plan(shards).moves}
    assert len(lines) == len(routes) + 2
    assert all(len(line) <= 80 for line in lines)


def test_table_has_at_most_80_columns_with_ids_and_numbers_as_long_as_they_may_be():
    move = BucketMove((1 << 20) - 1, "x" * 256, "new\n" * 20)
    plan = MigrationPlan((move,) * (1 << 20), (move.target,), 1 << 20, None, 0, 0)
    lines = str(plan).splitlines()
    assert max(map(len, lines)) <= 80
    assert "1,048,576 100.00%  1048575, 1048575, ..." in lines[1]


def test_what_is_left_of_a_plan_is_what_has_not_moved():
    old = BucketMap.even(["a", "b"], 12)
    plan = old.plan(["a", "b", "c"])
    halfway = old.after(plan.moves[:1])
    assert plan.left(old) == plan.moves
    assert plan.left(halfway) == plan.moves[1:]
    assert plan.left(old.after(plan.moves)) == ()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (BucketMap.even(["a", "b"], 13), "buckets of the plan must be 13, got 12"),
        (BucketMap.even(["a", "b"], 12, hash="xxh64"), "hash of the plan must be 'xxh64', got 'xxh3_64'"),
        (BucketMap.even(["a", "b"], 12, seed=1), "seed of the plan must be 1, got 0"),
        (BucketMap(("d",) * 12), "bucket 8 must be on shard 'a' or 'c', got 'd'"),
    ],
)
def test_plan_for_another_map_is_refused(other, message):
    plan = BucketMap.even(["a", "b"], 12).plan(["a", "b", "c"])
    with pytest.raises(StalePlan, match=message) as refused:
        plan.left(other)
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize(
    ("shards", "weighted", "error", "message"),
    [
        ([], None, ValueError, "shards must be at least one, got none"),
        (["a", "a"], None, ValueError, "id of a shard must be new, got 'a' again"),
        (list("abcdef"), None, ValueError, "shards must be <= 4 buckets, got 6"),
        (["a"], {"z": 1}, UnknownShard, "weights must be of the shards, got one of 'z'"),
        (["a"], {"a": 0}, ValueError, "weight of shard 'a' must be > 0 and <= 1e.06, got 0"),
        (["a"], {"a": math.nan}, ValueError, "weight of shard 'a' must be > 0 and <= 1e.06, got nan"),
        (["a"], {"a": 1e7}, ValueError, "weight of shard 'a' must be > 0 and <= 1e.06, got 10000000.0"),
        (["a"], {"a": "1"}, TypeError, "weight of shard 'a' must be a number, got str"),
    ],
)
def test_nonsense_makes_no_plan(shards, weighted, error, message):
    with pytest.raises(error, match=message) as refused:
        BucketMap.even(["a", "b"], 4).plan(shards, weighted)
    assert isinstance(refused.value, PenstockError)


# ---- bytes that are not ours


PLAN = BucketMap.even(["a", "b"], 12).plan(["a", "b", "c"])
DOCUMENTS = [
    (BucketMap, InvalidBucketMap, BucketMap.even(["a", "b"], 4).to_bytes()),
    (MigrationPlan, InvalidPlan, PLAN.to_bytes()),
]


@pytest.mark.parametrize(("kind", "error", "data"), DOCUMENTS)
def test_truncated_bytes_are_refused(kind, error, data):
    for length in range(len(data)):
        with pytest.raises(error):
            kind.from_bytes(data[:length])


@pytest.mark.parametrize(("kind", "error", "data"), DOCUMENTS)
def test_another_version_is_refused_by_its_number(kind, error, data):
    newer = json.loads(data) | {"version": 2, "something": "new"}
    with pytest.raises(error, match="must be of version 1, got 2"):
        kind.from_bytes(json.dumps(newer).encode())


@pytest.mark.parametrize(("kind", "error", "data"), DOCUMENTS)
@given(junk=st.binary(max_size=40))
def test_junk_is_refused(kind, error, data, junk):
    with pytest.raises(error):
        kind.from_bytes(junk)


def test_one_kind_is_not_taken_for_the_other():
    with pytest.raises(InvalidPlan):
        MigrationPlan.from_bytes(DOCUMENTS[0][2])
    with pytest.raises(InvalidBucketMap):
        BucketMap.from_bytes(DOCUMENTS[1][2])


def test_bytes_must_be_bytes():
    with pytest.raises(TypeError, match="data must be bytes, got str"):
        BucketMap.from_bytes("{}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"owners": [0, 1, 2, 0]},
        {"owners": [0, -1, 0, 1]},
        {"owners": []},
        {"shards": ["a", "a"]},
        {"shards": ["a", 1.5]},
        {"seed": -1},
        {"epoch": 1 << 70},
        {"hash": 5},
        {"more": 1},
    ],
)
def test_damaged_map_is_refused(wrong):
    damaged = json.loads(DOCUMENTS[0][2]) | wrong
    with pytest.raises(InvalidBucketMap):
        BucketMap.from_bytes(json.dumps(damaged).encode())


@pytest.mark.parametrize(
    "wrong",
    [
        {"moves": [[3, 0, 2], [3, 1, 2]]},
        {"moves": [[4, 0, 2], [3, 1, 2]]},
        {"moves": [[12, 0, 2]]},
        {"moves": [[-1, 0, 2]]},
        {"moves": [[0, 2, 2]]},
        {"moves": [[0, 0, 3]]},
        {"moves": [[0, 0, 0]]},
        {"moves": [[0, 0]]},
        {"buckets": 0},
        {"buckets": 1 << 30},
        {"shards": []},
        {"shards": ["", "b", "c"]},
        {"sources": [True, "b"]},
        {"epoch": -1},
    ],
)
def test_damaged_plan_is_refused(wrong):
    damaged = json.loads(PLAN.to_bytes()) | wrong
    with pytest.raises(InvalidPlan):
        MigrationPlan.from_bytes(json.dumps(damaged).encode())


def test_move_says_where_from_and_where_to():
    assert PLAN.moves[0] == BucketMove(bucket=8, source="a", target="c")
