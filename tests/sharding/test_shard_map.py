"""The map of ranges alone: which key is where, what is refused, and what a split or a merge makes of it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.sharding import DictShard, NoShard, Range, ShardMap

A, B, C, D = (DictShard() for _ in range(4))


def shown(shard_map):
    return " ".join(map(str, shard_map.ranges))


def test_ranges_are_sorted_whatever_order_they_come_in():
    shard_map = ShardMap([Range(20001, 30000, C), Range(1, 10000, A), Range(10001, 20000, B)])
    assert shown(shard_map) == "[1, 10000] [10001, 20000] [20001, 30000]"
    assert repr(shard_map) == "<ShardMap 1: [1, 10000] [10001, 20000] [20001, 30000]>"


def test_both_ends_of_a_range_belong_to_it():
    shard_map = ShardMap([Range(1, 10, A), Range(11, 20, B), Range(31, 40, C)])
    owners = {
        key: found and found.shard
        for key in (0, 1, 10, 11, 20, 21, 30, 31, 40, 41)
        for found in [shard_map.find(key)]
    }
    assert owners == {0: None, 1: A, 10: A, 11: B, 20: B, 21: None, 30: None, 31: C, 40: C, 41: None}


def test_range_without_a_bound_goes_on_for_ever():
    shard_map = ShardMap([Range("m", None, B), Range(None, None, A, before="m")])
    assert shown(shard_map) == "(, 'm') ['m', )"
    assert [shard_map.find(key).shard for key in ("", "lzzz", "m", "\U0010ffff")] == [A, A, B, B]


@pytest.mark.parametrize(
    ("ranges", "kind", "message"),
    [
        ([(1, 10), (10, 20)], ValueError, r"ranges must not overlap, got \[1, 10\] and \[10, 20\]"),
        ([(1, 10), (3, 4)], ValueError, r"ranges must not overlap, got \[1, 10\] and \[3, 4\]"),
        ([(1, 10), (1, 10)], ValueError, "ranges must not overlap"),
        ([(1, None), (5, 6)], ValueError, r"ranges must not overlap, got \[1, \) and \[5, 6\]"),
        ([(None, 3), (None, 6)], ValueError, r"ranges must not overlap, got \(, 3\] and \(, 6\]"),
        ([], ValueError, "ranges must have at least one range, got none"),
        ([(1, 2), ("a", "b")], TypeError, "bounds of ranges must be comparable"),
    ],
)
def test_ranges_that_make_no_map_are_refused(ranges, kind, message):
    with pytest.raises(kind, match=message) as raised:
        ShardMap([Range(first, last, A) for first, last in ranges])
    assert isinstance(raised.value, PenstockError)


def test_what_is_no_range_is_refused():
    with pytest.raises(TypeError, match="ranges must be Range objects, got tuple"):
        ShardMap([(1, 2, A)])


@pytest.mark.parametrize(
    ("bounds", "kind", "message"),
    [
        ({"first": 2, "last": 1}, ValueError, r"first must be <= last, or < before, got \[2, 1\]"),
        (
            {"first": 2, "last": None, "before": 2},
            ValueError,
            r"first must be <= last, or < before, got \[2, 2\)",
        ),
        ({"first": 1, "last": 2, "before": 3}, ValueError, "a range must have last or before, got 2 and 3"),
        ({"first": float("nan"), "last": 2}, ValueError, "key must not be NaN"),
        ({"first": 1, "last": "a"}, TypeError, "bounds of a range must be comparable"),
        ({"first": 1, "last": None, "before": "a"}, TypeError, "bounds of a range must be comparable"),
    ],
)
def test_range_that_has_no_keys_is_refused(bounds, kind, message):
    with pytest.raises(kind, match=message) as raised:
        Range(shard=A, **bounds)
    assert isinstance(raised.value, PenstockError)


@pytest.mark.parametrize(("epoch", "kind"), [(0, ValueError), (1.0, TypeError), (None, TypeError)])
def test_epoch_must_be_a_positive_int(epoch, kind):
    with pytest.raises(kind, match="epoch must be"):
        ShardMap([Range(1, 2, A)], epoch=epoch)


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        ("a", TypeError, "key must be comparable with the bounds of the ranges"),
        (None, TypeError, "key must have an order, got None"),
        (float("nan"), ValueError, "key must not be NaN"),
    ],
)
def test_key_that_has_no_place_among_the_bounds_is_refused(key, kind, message):
    with pytest.raises(kind, match=message) as raised:
        ShardMap([Range(1, 2, A)]).find(key)
    assert isinstance(raised.value, PenstockError)


def test_split_gives_the_upper_part_to_the_new_shard():
    shard_map = ShardMap([Range(1, 10, A), Range(11, 20, B)], epoch=7)
    new = shard_map.split(5, C)
    assert (shown(new), new.epoch) == ("[1, 4] [5, 10] [11, 20]", 8)
    assert [range_.shard for range_ in new.ranges] == [A, C, B]
    assert (shown(shard_map), shard_map.epoch) == ("[1, 10] [11, 20]", 7)


def test_split_of_keys_that_have_no_next_lower_one_leaves_no_gap():
    new = ShardMap([Range("a", "z", A)]).split("m", B).split("mm", C)
    assert shown(new) == "['a', 'm') ['m', 'mm') ['mm', 'z']"
    assert new.find("m" + "a" * 1000).shard is B


def test_merge_gives_the_range_to_the_shard_before_it():
    for at, shard_map in (
        (11, ShardMap([Range(1, 10, A), Range(11, 20, B)])),
        ("m", ShardMap([Range("a", "z", A)]).split("m", B)),
    ):
        merged = shard_map.merge(at)
        assert len(merged.ranges) == 1
        assert merged.ranges[0].shard is A
        assert (merged.ranges[0].first, merged.ranges[0].last) == (
            shard_map.ranges[0].first,
            shard_map.ranges[1].last,
        )


def test_move_gives_a_whole_range_to_another_shard():
    new = ShardMap([Range(1, 10, A), Range(11, 20, B)]).move(3, C)
    assert shown(new) == "[1, 10] [11, 20]"
    assert [range_.shard for range_ in new.ranges] == [C, B]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda m: m.split(0, C), NoShard, "no shard configured for key=0"),
        (
            lambda m: m.split(1, C),
            ValueError,
            r"at must be inside a range, got 1, the first key of \[1, 10\]",
        ),
        (lambda m: m.merge(1), ValueError, "at must be where a range begins that has one before it, got 1"),
        (lambda m: m.merge(12), ValueError, "at must be where a range begins that has one before it, got 12"),
        (lambda m: m.merge(31), ValueError, r"must touch, got \[11, 20\] and \[31, 40\]"),
        (lambda m: m.merge(25), NoShard, "no shard configured for key=25"),
        (lambda m: m.move(25, C), LookupError, "no shard configured for key=25"),
    ],
)
def test_change_that_the_map_does_not_allow_is_refused(change, kind, message):
    shard_map = ShardMap([Range(1, 10, A), Range(11, 20, B), Range(31, 40, C)])
    with pytest.raises(kind, match=message) as raised:
        change(shard_map)
    assert isinstance(raised.value, PenstockError)
    assert shard_map.epoch == 1


def test_ranges_that_only_seem_to_touch_are_not_merged():
    with pytest.raises(ValueError, match="ranges that are merged must touch"):
        ShardMap([Range("a", "m", A), Range("n", "z", B)]).merge("n")  # "mm" is in neither


KEYS = st.integers(-30, 30)
HALVES = st.integers(-60, 60).map(lambda n: n / 2)


@given(cuts=st.lists(HALVES, min_size=2, max_size=9, unique=True), data=st.data())
def test_any_key_is_found_where_a_look_at_each_range_finds_it(cuts, data):
    cuts.sort()
    ranges = []
    for low, high in pairwise(cuts):
        kind = data.draw(st.sampled_from(["closed below", "open", "gap"]))
        if kind == "closed below":
            ranges.append(Range(low, high - 0.25, A))
        elif kind == "open":
            ranges.append(Range(low, None, A, before=high))
    if data.draw(st.booleans()):
        ranges.append(Range(cuts[-1], None, A))
    if data.draw(st.booleans()):
        ranges.append(Range(None, None, A, before=cuts[0]))
    if not ranges:
        return
    shard_map = ShardMap(data.draw(st.permutations(ranges)))
    for quarter in range(-130, 131):
        key = quarter / 4
        inside = [
            range_
            for range_ in ranges
            if (range_.first is None or range_.first <= key)
            and (range_.last is None or key <= range_.last)
            and (range_.before is None or key < range_.before)
        ]
        assert shard_map.find(key) is (inside[0] if inside else None)


@given(steps=st.lists(st.tuples(st.booleans(), KEYS), max_size=20), kind=st.sampled_from([int, str, float]))
def test_splits_and_merges_never_lose_or_double_a_key(steps, kind):
    def as_key(number):
        return kind(number) if kind is not str else f"{number + 50:03}"

    shard_map = ShardMap([Range(as_key(-30), as_key(30), A)])
    for splits, number in steps:
        try:
            shard_map = shard_map.split(as_key(number), B) if splits else shard_map.merge(as_key(number))
        except ValueError:
            continue
        owned = [sum(as_key(n) in range_.span for range_ in shard_map.ranges) for n in range(-31, 32)]
        assert owned == [0, *[1] * 61, 0]
        assert all(shard_map.find(as_key(n)) is not None for n in range(-30, 31))
