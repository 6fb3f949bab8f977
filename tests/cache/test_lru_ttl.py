"""What an LRU cache promises, on both twins."""

import copy
import csv
import gc
import lzma
import pickle
import random
import re
import sys
import threading
import weakref
from collections.abc import MutableMapping
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import datasets
from penstock import PenstockError
from penstock.cache import CacheStats, RemovalCause
from penstock.clock import NANOSECONDS, ManualClock
from twins import both_twins, load

MODULE = "penstock.cache.lru_ttl"
LRUCache = both_twins(MODULE)

EXPLICIT, REPLACED, SIZE, EXPIRED, CLEARED = RemovalCause


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


@pytest.fixture
def removed():
    """What `note` was told, as (key, value, cause)."""
    return []


@pytest.fixture
def note(removed):
    return lambda *entry: removed.append(entry)


@pytest.fixture
def unraisable(monkeypatch):
    """What went to sys.unraisablehook."""
    caught = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: caught.append(args.exc_value))
    return caught


class Key:
    """A key whose hash the test chooses, and whose comparison runs `on_compare` first."""

    def __init__(self, name, hashed=0, on_compare=None):
        self.name, self.hashed, self.on_compare = name, hashed, on_compare

    def __hash__(self):
        return self.hashed

    def __eq__(self, other):
        if not isinstance(other, Key):
            return NotImplemented
        for key in (self, other):
            if key.on_compare is not None:
                key.on_compare()
        return self.name == other.name

    def __repr__(self):
        return f"Key({self.name!r})"


# ---- a bounded mapping ----


def test_what_was_stored_is_found(LRUCache):
    cache = LRUCache(3)
    cache["a"] = 1
    cache.set("b", None)
    assert cache["a"] == 1
    assert cache["b"] is None
    assert cache.get("b", 7) is None
    assert cache.get("c") is None
    assert cache.get("c", 7) == 7
    assert "a" in cache
    assert "c" not in cache
    assert len(cache) == 2


def test_missing_keys_raise_key_error(LRUCache):
    cache = LRUCache(3)
    with pytest.raises(KeyError) as missing:
        cache["a", 1]
    assert missing.value.args == (("a", 1),)
    with pytest.raises(KeyError, match="'a'"):
        del cache["a"]
    with pytest.raises(KeyError, match="'a'"):
        cache.pop("a")
    with pytest.raises(KeyError, match=re.escape("popitem(): cache is empty")):
        cache.popitem()


def test_least_recently_used_entry_makes_room(LRUCache):
    cache = LRUCache(3)
    cache.update(a=1, b=2, c=3)
    assert cache["a"] == 1
    assert cache.get("b") == 2
    cache["d"] = 4
    assert list(cache.items()) == [("a", 1), ("b", 2), ("d", 4)]


def test_storing_again_is_a_use(LRUCache):
    cache = LRUCache(2)
    cache.update(a=1, b=2)
    cache["a"] = 3
    cache["c"] = 4
    assert list(cache.items()) == [("a", 3), ("c", 4)]


def test_cache_of_one_holds_the_last(LRUCache, note, removed):
    cache = LRUCache(1, on_remove=note)
    for number in range(4):
        cache[number] = number
        assert dict(cache.items()) == {number: number}
    assert removed == [(n, n, SIZE) for n in range(3)]


def test_looking_on_is_no_use_and_counts_nothing(LRUCache):
    cache = LRUCache(2)
    cache.update(a=1, b=2)
    assert "a" in cache
    assert "x" not in cache
    assert list(cache) == list(cache.keys()) == ["a", "b"]
    assert list(cache.values()) == [1, 2]
    assert list(cache.items()) == [("a", 1), ("b", 2)]
    assert ("a", 1) in cache.items()
    assert ("a", 2) not in cache.items()
    assert ("x", 1) not in cache.items()
    assert "a" not in cache.items()
    assert 1 in cache.values()
    assert 3 not in cache.values()
    assert len(cache.items()) == 2
    assert cache == {"a": 1, "b": 2}
    assert cache.stats() == CacheStats(0, 0, 0, 0, 2, 2)
    cache["c"] = 3
    assert list(cache) == ["b", "c"]


def test_equality_is_that_of_mappings(LRUCache):
    cache, other = LRUCache(5), LRUCache(9)
    cache.update(a=1, b=2)
    other.update(b=2, a=1)
    assert cache == other == {"a": 1, "b": 2}
    other["a"] = 5
    assert cache != other
    assert cache != [("a", 1), ("b", 2)]
    with pytest.raises(TypeError, match="unhashable type"):
        hash(cache)


def test_cache_is_a_mutable_mapping(LRUCache):
    cache = LRUCache(5)
    assert isinstance(cache, MutableMapping)
    assert LRUCache[str, int](5).maxsize == 5
    match cache:
        case {}:
            pass
        case _:
            pytest.fail("no mapping to a match statement")
    with pytest.raises(TypeError, match="not reversible"):
        reversed(cache)


def test_update_takes_mappings_pairs_and_keywords(LRUCache):
    cache = LRUCache(9)
    cache.update({"a": 1})
    cache.update([("b", 2)], c=3)
    assert cache == {"a": 1, "b": 2, "c": 3}


def test_setdefault_keeps_what_is_there(LRUCache):
    cache = LRUCache(2)
    assert cache.setdefault("a", 1) == 1
    assert cache.setdefault("a", 2) == 1
    assert cache.setdefault("b") is None
    assert cache.stats()[:2] == (1, 2)
    cache.setdefault("a", 3)
    cache["c"] = 4
    assert list(cache) == ["a", "c"]


def test_pop_and_delete_remove_and_count_no_lookup(LRUCache):
    cache = LRUCache(5)
    cache.update(a=1, b=2, c=3, d=None)
    assert cache.pop("a") == 1
    assert cache.pop("a", 9) == 9
    assert cache.pop("a", None) is None
    assert cache.pop("d") is None
    assert cache.delete("b") is True
    assert cache.delete("b") is False
    del cache["c"]
    assert len(cache) == 0
    assert cache.stats()[:2] == (0, 0)
    with pytest.raises(TypeError, match="pop takes a key and at most one default, got 2 defaults"):
        cache.pop("a", 1, 2)


def test_popitem_takes_the_least_recently_used(LRUCache):
    cache = LRUCache(3)
    cache.update(a=1, b=2, c=3)
    cache["a"]
    assert [cache.popitem() for _ in range(3)] == [("b", 2), ("c", 3), ("a", 1)]


def test_cleared_cache_goes_on_counting_and_storing(LRUCache):
    cache = LRUCache(2)
    cache.update(a=1, b=2, c=3)
    cache.get("b")
    cache.clear()
    assert len(cache) == 0
    assert cache.stats() == CacheStats(1, 0, 1, 0, 0, 2)
    cache.update(a=1, b=2)
    assert list(cache) == ["a", "b"]


def test_iteration_is_over_what_was_there_at_the_start(LRUCache):
    cache = LRUCache(3)
    cache.update(a=1, b=2, c=3)
    seen = []
    for key in cache:
        seen.append(key)
        cache[key * 2] = 0
        del cache[key * 2]
        cache.clear()
    assert seen == ["a", "b", "c"]


def test_stats_count_hits_misses_and_evictions(LRUCache):
    cache = LRUCache(2)
    assert cache.stats().hit_ratio == 0.0
    cache.update(a=1, b=2, c=3)
    cache.get("b")
    cache.get("a")
    cache["c"]
    with pytest.raises(KeyError):
        cache["a"]
    cache.setdefault("c")
    stats = cache.stats()
    assert stats == CacheStats(hits=3, misses=2, evictions=1, expirations=0, size=2, maxsize=2)
    assert stats.hit_ratio == 0.6


def test_hash_collisions_and_removals_keep_every_entry_reachable(LRUCache):
    cache, expected = LRUCache(64), {}
    chance = random.Random(4)
    for _ in range(3_000):
        name = chance.randrange(80)
        key = Key(name, hashed=[0, 1, 1 << 40, -2, name][name % 5])
        if chance.random() < 0.5:
            cache[key] = expected[key] = chance.random()
        else:
            assert cache.pop(key, None) == expected.pop(key, None)
        while len(expected) > 64:
            del expected[cache.popitem()[0]]
        assert len(cache) == len(expected)
    assert cache == expected


def test_equal_keys_of_different_types_are_one_key(LRUCache):
    cache = LRUCache(3)
    cache[1] = "int"
    cache[1.0] = "float"
    assert list(cache.items()) == [(1, "float")]
    assert repr(next(iter(cache))) == "1"


# ---- time to live ----


def test_entry_expires_at_its_nanosecond(LRUCache, clock):
    cache = LRUCache(3, ttl=1.5, clock=clock)
    cache["a"] = 1
    clock.now += 1_499_999_999
    assert cache["a"] == 1
    assert "a" in cache
    clock.now += 1
    assert "a" not in cache
    assert list(cache) == list(cache.items()) == list(cache.values()) == []
    assert cache == {}
    assert len(cache) == 1
    assert cache.get("a") is None
    assert len(cache) == 0
    assert cache.stats() == CacheStats(1, 1, 0, 1, 0, 3)


def test_hit_does_not_prolong_and_storing_does(LRUCache, clock):
    cache = LRUCache(3, ttl=10, clock=clock)
    cache.update(a=1, b=2)
    clock.advance(9)
    cache["a"]
    cache["b"] = 3
    clock.advance(1)
    assert dict(cache.items()) == {"b": 3}


@pytest.mark.parametrize("ttl", [2, 2.0, timedelta(seconds=2)])
def test_ttl_is_seconds_or_timedelta(LRUCache, clock, ttl):
    cache = LRUCache(3, ttl=ttl, clock=clock)
    assert cache.ttl is ttl
    cache["a"] = 1
    clock.now += 2 * NANOSECONDS - 1
    assert "a" in cache
    clock.now += 1
    assert "a" not in cache


def test_entry_may_have_its_own_ttl_or_none(LRUCache, clock):
    cache = LRUCache(9, ttl=10, clock=clock)
    cache.set("short", 1, ttl=timedelta(microseconds=1))
    cache.set("cache's", 2)
    cache.set("cache's too", 3, ttl=...)
    cache.set("for ever", 4, ttl=None)
    clock.now += 999
    assert len(list(cache)) == 4
    clock.now += 1
    assert list(cache) == ["cache's", "cache's too", "for ever"]
    clock.advance(10)
    assert list(cache) == ["for ever"]
    clock.advance(3e9)
    assert cache["for ever"] == 4


def test_ttl_can_be_given_where_the_cache_has_none(LRUCache, clock):
    cache = LRUCache(9, clock=clock)
    cache["a"] = 1
    cache.set("b", 2, ttl=1)
    clock.advance(1)
    assert dict(cache.items()) == {"a": 1}


def test_shortest_ttl_is_a_nanosecond_and_the_longest_outlives_int64(LRUCache, clock):
    cache = LRUCache(9, clock=clock)
    cache.set("short", 1, ttl=1e-300)
    assert "short" in cache
    clock.now += 1
    assert "short" not in cache
    clock.now = 2**63 - 10
    cache.set("long", 2, ttl=100 * 365 * 86_400)
    clock.now += 8
    assert cache["long"] == 2


def test_expire_drops_all_that_has_expired(LRUCache, clock, note, removed):
    cache = LRUCache(9, clock=clock, on_remove=note)
    for key, ttl in [("a", 3), ("b", 1), ("c", None), ("d", 2)]:
        cache.set(key, key.upper(), ttl=ttl)
    assert cache.expire() == 0
    clock.advance(2)
    assert cache.expire() == 2
    assert removed == [("b", "B", EXPIRED), ("d", "D", EXPIRED)]
    assert list(cache) == ["a", "c"]
    assert len(cache) == 2
    assert cache.stats().expirations == 2


def test_expired_victim_counts_as_expired_and_not_as_evicted(LRUCache, clock, note, removed):
    cache = LRUCache(2, clock=clock, on_remove=note)
    cache.set("a", 1, ttl=1)
    cache.set("b", 2)
    clock.advance(1)
    cache["c"] = 3
    cache["d"] = 4
    assert removed == [("a", 1, EXPIRED), ("b", 2, SIZE)]
    assert cache.stats()[2:4] == (1, 1)


def test_whoever_comes_across_an_expired_entry_removes_it(LRUCache, clock, note, removed):
    cache = LRUCache(9, ttl=1, clock=clock, on_remove=note)
    cache.update(a=1, b=2, c=3, d=4, e=5, f=6)
    clock.advance(1)
    assert cache.get("a") is None
    assert not cache.delete("b")
    assert cache.pop("c", None) is None
    cache["d"] = "new"
    assert cache.setdefault("e", "new") == "new"
    assert removed == [(key, n, EXPIRED) for n, key in enumerate("abcde", 1)]
    assert cache.popitem() == ("d", "new")
    assert removed[5:] == [("f", 6, EXPIRED), ("d", "new", EXPLICIT)]
    assert cache == {"e": "new"}
    assert cache.stats()[:4] == (0, 2, 0, 6)


def test_clock_is_read_only_once_something_can_expire(LRUCache, clock):
    reads = []

    def counting():
        reads.append(1)
        return clock()

    cache = LRUCache(2, clock=counting)
    cache.update(a=1, b=2, c=3)
    cache.get("a")
    cache.expire()
    list(cache)
    assert reads == []
    cache.set("a", 1, ttl=1)
    assert len(reads) == 1
    cache.get("a")
    assert len(reads) == 2


def test_error_of_a_clock_comes_through_and_changes_nothing(LRUCache, clock):
    def broken():
        raise RuntimeError("no time")

    source = clock
    cache = LRUCache(2, ttl=1, clock=lambda: source())
    cache["a"] = 1
    source = broken
    for use in (lambda: cache["a"], lambda: cache.set("b", 2), lambda: cache.pop("a"), cache.expire):
        with pytest.raises(RuntimeError, match="no time"):
            use()
    source = clock
    assert dict(cache.items()) == {"a": 1}
    assert cache.stats()[:2] == (0, 0)


def test_system_clock_is_used_when_none_is_given(LRUCache):
    cache = LRUCache(2, ttl=0.001)
    cache.set("b", 2, ttl=3600)
    cache["a"] = 1
    threading.Event().wait(0.002)  # the clock of the system moves only by itself
    assert dict(cache.items()) == {"b": 2}


# ---- on_remove ----


def test_every_removal_is_reported_with_its_cause(LRUCache, note, removed):
    cache = LRUCache(3, on_remove=note)
    cache.update(a=1, b=2, c=3)
    cache["a"] = 4
    cache["d"] = 5
    cache.pop("c")
    cache.delete("a")
    cache["e"] = 6
    del cache["e"]
    cache.update(f=7, g=8)
    cache.popitem()
    cache.clear()
    assert removed == [
        ("a", 1, REPLACED),
        ("b", 2, SIZE),
        ("c", 3, EXPLICIT),
        ("a", 4, EXPLICIT),
        ("e", 6, EXPLICIT),
        ("d", 5, EXPLICIT),
        ("f", 7, CLEARED),
        ("g", 8, CLEARED),
    ]


def test_on_remove_sees_the_cache_as_it_is_afterwards(LRUCache):
    seen = []
    cache = LRUCache(2, on_remove=lambda key, value, cause: seen.append((cause, dict(cache.items()))))
    cache.update(a=1, b=2)
    cache["c"] = 3
    cache["b"] = 4
    cache.delete("c")
    cache.clear()
    assert seen == [
        (SIZE, {"b": 2, "c": 3}),
        (REPLACED, {"c": 3, "b": 4}),
        (EXPLICIT, {"b": 4}),
        (CLEARED, {}),
    ]


def test_on_remove_may_store_and_delete(LRUCache):
    def keep_the_old(key, value, cause):
        if cause is not EXPLICIT and not key.startswith("old "):
            cache["old " + key] = value
            cache.delete("gone")

    cache = LRUCache(4, on_remove=keep_the_old)
    cache.update(a=1, b=2, gone=3)
    cache["b"] = 4
    assert dict(cache.items()) == {"a": 1, "b": 4, "old b": 2}
    cache.update(c=5, d=6)
    assert list(cache.items()) == [("c", 5), ("d", 6), ("old a", 1), ("old b", 4)]
    cache.clear()
    assert dict(cache.items()) == {"old c": 5, "old d": 6}


def test_on_remove_that_brings_an_expired_key_back_does_not_undo_the_miss(LRUCache, clock):
    cache = LRUCache(3, ttl=1, clock=clock, on_remove=lambda key, value, cause: cache.set(key, value + 1))
    cache["a"] = 1
    clock.advance(1)
    assert cache.get("a") is None
    assert cache.get("a") == 2


def test_errors_of_on_remove_go_to_the_unraisable_hook(LRUCache, unraisable):
    def fail(key, value, cause):
        raise error

    cache = LRUCache(1, on_remove=fail)
    for error in (ValueError("no"), KeyboardInterrupt()):
        cache["a"] = 1
        cache["b"] = 2
        assert dict(cache.items()) == {"b": 2}
        assert cache.pop("b") == 2
        assert unraisable == [error, error]
        unraisable.clear()


# ---- hostile keys and values ----


@pytest.mark.parametrize(
    "use",
    [
        lambda cache, key: cache[key],
        lambda cache, key: cache.get(key),
        lambda cache, key: cache.set(key, 1),
        lambda cache, key: cache.setdefault(key, 1),
        lambda cache, key: cache.delete(key),
        lambda cache, key: cache.pop(key, None),
        lambda cache, key: key in cache,
    ],
)
def test_unhashable_keys_and_failing_comparisons_change_nothing(LRUCache, use):
    def fail():
        raise RuntimeError("not comparable")

    cache = LRUCache(1)
    cache[Key("a")] = 1
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        use(cache, [])
    with pytest.raises(RuntimeError, match="not comparable"):
        use(cache, Key("b", on_compare=fail))
    assert dict(cache.items()) == {Key("a"): 1}
    assert cache.stats() == CacheStats(0, 0, 0, 0, 1, 1)


def test_eviction_compares_no_keys(LRUCache):
    def fail():
        raise RuntimeError("compared")

    cache = LRUCache(2)
    for name in "abc":
        cache[Key(name, hashed=7)] = name
    survivors = list(cache)
    for key in survivors:
        key.on_compare = fail
    cache.update(x=1, y=2)
    assert dict(cache.items()) == {"x": 1, "y": 2}


def test_comparison_may_clear_the_cache(LRUCache):
    cache = LRUCache(100)
    cache.update((Key(n), n) for n in range(10))
    assert cache.get(Key(5, on_compare=cache.clear)) is None
    assert len(cache) == 0
    cache[Key(5)] = 5
    cache[Key(5, on_compare=cache.clear)] = 6
    assert dict(cache.items()) == {Key(5): 6}


def test_comparison_may_refill_the_cache(LRUCache):
    refills = []

    def refill():
        if len(refills) < 3:
            refills.append(1)
            cache.clear()
            cache.update((Key(("new", n)), n) for n in range(20))
            cache[Key("wanted")] = len(refills)

    cache = LRUCache(100)
    cache.update((Key(n), n) for n in range(10))
    wanted = Key("wanted", on_compare=refill)
    assert cache[wanted] == 3
    assert len(cache) == 21


def test_comparison_may_grow_the_cache_while_a_key_is_stored(LRUCache):
    cache = LRUCache(1_000)
    cache[Key("a")] = 1
    cache[Key("b", on_compare=lambda: cache.update((n, n) for n in range(1, 500)))] = 2
    assert len(cache) == 2 + 499
    assert cache[Key("a")] == 1
    assert cache[Key("b")] == 2


def test_comparison_may_store_the_key_that_is_being_stored(LRUCache, note, removed):
    def overtake():
        if not overtaken:
            overtaken.append(1)
            cache[Key("b")] = "first"

    overtaken = []
    cache = LRUCache(5, on_remove=note)
    cache[Key("a")] = 1
    cache[Key("b", on_compare=overtake)] = "second"
    assert list(cache.values()) == [1, "second"]
    assert [(value, cause) for _, value, cause in removed] == [("first", REPLACED)]


def test_destructors_of_values_may_use_the_cache(LRUCache):
    class Value:
        def __init__(self, name):
            self.name = name

        def __del__(self):
            cache["last words"] = self.name

    cache = LRUCache(2)
    cache["a"] = Value("replaced")
    cache["a"] = 1
    assert dict(cache.items()) == {"a": 1, "last words": "replaced"}
    cache["b"] = Value("deleted")
    del cache["b"]
    assert cache["last words"] == "deleted"
    cache.clear()
    cache["c"] = Value("evicted")
    cache.update(d=1, e=2)
    assert dict(cache.items()) == {"e": 2, "last words": "evicted"}
    cache["f"] = Value("cleared")
    cache.clear()
    assert dict(cache.items()) == {"last words": "cleared"}
    cache.set("g", Value("popped"))
    cache.popitem()
    cache.popitem()
    assert dict(cache.items()) == {"last words": "popped"}


def test_collections_at_every_allocation_do_no_harm(LRUCache, clock):
    class Restless:
        """In a cycle, so that the collector finds it, and busy with the cache when it does."""

        def __init__(self):
            self.self = self

        def __del__(self):
            key = chance.randrange(30)
            chance.choice(
                [cache.clear, cache.expire, lambda: cache.pop(key, None), lambda: cache.set(key, 1)]
            )()

    chance = random.Random(2)
    cache = LRUCache(20, ttl=5, clock=clock, on_remove=lambda *entry: list(cache.items()))
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for n in range(2_000):
            cache[n % 30] = Restless()
            cache.get(chance.randrange(30))
            clock.advance(0.1)
            if n % 100 == 0:
                list(cache.items())
                cache.expire()
                cache.clear()
            assert len(cache) <= 20
    finally:
        gc.set_threshold(*before)
        cache.clear()
        gc.collect()


# ---- memory ----


def test_cache_that_holds_itself_is_collected(LRUCache):
    class Value:
        pass

    def tangle():
        value, cache = Value(), LRUCache(5, on_remove=lambda *entry: cache)
        cache["me"] = cache
        cache[value] = value
        return weakref.ref(cache), weakref.ref(value)

    dead_cache, dead_value = tangle()
    gc.collect()
    assert dead_cache() is None
    assert dead_value() is None


def test_removed_keys_and_values_are_let_go(LRUCache):
    class Thing:
        pass

    things = [Thing() for _ in range(40)]
    alive = [weakref.ref(thing) for thing in things]
    cache = LRUCache(10)
    for n in range(20):
        cache[things[n]] = things[20 + n]
    for n in range(10, 15):
        del cache[things[n]]
    things.clear()
    cache.popitem()
    assert sum(thing() is not None for thing in alive) == 8
    cache.clear()
    assert all(thing() is None for thing in alive)


def test_deeply_nested_caches_are_freed_without_deep_recursion(LRUCache):
    outermost = LRUCache(1)
    for _ in range(20_000):
        inner, outermost = outermost, LRUCache(1)
        outermost[0] = inner
    del inner, outermost
    gc.collect()


def test_memory_grows_with_the_entries_and_not_with_maxsize(LRUCache):
    cache = LRUCache(1 << 30)
    assert sys.getsizeof(cache) < 1_000
    cache.update((n, n) for n in range(1_000))
    assert sys.getsizeof(cache) < 200_000


def test_compiled_entry_costs_at_most_60_bytes():
    cache = load(MODULE, "c")(50_000, ttl=60)
    cache.update((n, n) for n in range(50_000))
    assert sys.getsizeof(cache) / 50_000 <= 60


def test_compiled_cache_survives_that_the_collector_cleared_its_entries():
    """The collector may clear a dead cache's list before the destructor of a value uses the cache."""
    cache = load(MODULE, "c")(5)
    cache.update(a=1, b=2)
    for use in (
        lambda: cache.get("a"),
        lambda: cache.set("a", 2),
        lambda: cache.pop("a", None),
        lambda: list(cache.items()),
        cache.expire,
        cache.clear,
        lambda: cache.setdefault("a", 3),
    ):
        (entries,) = (held for held in gc.get_referents(cache) if type(held) is list)
        entries.clear()
        use()
        cache["b"] = 2
        assert cache["b"] == 2


def test_construction_anew_forgets_everything(LRUCache):
    cache = LRUCache(5, ttl=3)
    cache.update(a=1)
    cache.get("a")
    cache.__init__(2)
    assert cache.ttl is None
    cache.update(x=1, y=2, z=3)
    assert dict(cache.items()) == {"y": 2, "z": 3}
    assert cache.stats() == CacheStats(0, 0, 1, 0, 2, 2)


# ---- threads ----


def test_threads_share_a_cache_exactly(LRUCache):
    lock, removed, interval = threading.Lock(), [], sys.getswitchinterval()
    stored, lookups, keys, rounds = [], 4, range(60), 3_000

    def note(key, value, cause):
        with lock:
            removed.append(value)

    def work(seed):
        chance, mine = random.Random(seed), []
        for n in range(rounds):
            key, value = chance.choice(keys), (seed, n)
            for _ in range(lookups):
                cache.get(chance.choice(keys))
            match chance.randrange(8):
                case 0:
                    cache.delete(key)
                case 1:
                    cache.pop(key, None)
                case 2 if n % 50 == 0:
                    cache.clear()
                case 3:
                    list(cache.items())
                case _:
                    cache[key if n % 2 else Key(key)] = value
                    mine.append(value)
        with lock:
            stored.extend(mine)

    cache = LRUCache(20, on_remove=note)
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    stats = cache.stats()
    assert stats.hits + stats.misses == 4 * rounds * lookups
    assert len(cache) == len(list(cache.items())) <= 20
    assert sorted(removed + list(cache.values())) == sorted(stored)  # each once
    assert all(cache.get(key) == value for key, value in cache.items())


def test_threads_agree_on_one_default(LRUCache):
    cache, start, got = LRUCache(2_000), threading.Barrier(4), []

    def ask(thread):
        start.wait()
        got.append([cache.setdefault(n, (thread, n)) for n in range(1_000)])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] == got[1] == got[2] == got[3] == list(cache.values())


# ---- arguments ----


@pytest.mark.parametrize("maxsize", [0, -1, (1 << 30) + 1])
def test_maxsize_out_of_range_is_refused(LRUCache, maxsize):
    message = f"maxsize must be >= 1 and <= 1073741824 entries, got {maxsize}"
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        LRUCache(maxsize)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize(
    "ttl", [0, -1, -0.5, float("nan"), float("inf"), 3.2e9, timedelta(0), timedelta(days=-1), timedelta.max]
)
def test_ttl_out_of_range_is_refused_and_changes_nothing(LRUCache, ttl):
    message = re.escape(f"ttl must be > 0 and <= 100 years, got {ttl!r}")
    with pytest.raises(ValueError, match=message) as refused:
        LRUCache(3, ttl=ttl)
    assert isinstance(refused.value, PenstockError)
    cache = LRUCache(3)
    with pytest.raises(ValueError, match=message):
        cache.set("a", 1, ttl=ttl)
    assert len(cache) == 0


def test_arguments_of_the_wrong_type_are_refused(LRUCache):
    with pytest.raises(TypeError, match="maxsize must be an integer, got float"):
        LRUCache(3.0)
    with pytest.raises(TypeError, match="ttl must be seconds, a timedelta or None, got str"):
        LRUCache(3, ttl="1s")
    with pytest.raises(TypeError, match="on_remove must be callable or None, got int"):
        LRUCache(3, on_remove=1)
    with pytest.raises(TypeError, match="clock must be callable or None, got float"):
        LRUCache(3, clock=1.0)
    with pytest.raises(TypeError, match="ttl must be seconds, a timedelta or None, got list"):
        LRUCache(3).set("a", 1, ttl=[])


def test_copies_are_refused_with_advice(LRUCache):
    cache = LRUCache(3)
    cache["a"] = 1
    for refuses in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=re.escape("copy its entries: dict(cache.items())")):
            refuses(cache)
    assert dict(cache.items()) == {"a": 1}


def test_repr_names_maxsize_and_ttl(LRUCache):
    assert repr(LRUCache(5)) == "LRUCache(maxsize=5, ttl=None)"
    assert repr(LRUCache(7, ttl=1.5)) == "LRUCache(maxsize=7, ttl=1.5)"


# ---- against a model ----


class Model:
    """What a cache is, in the fewest words: a dict in order of use, searched from end to end."""

    def __init__(self, maxsize, ttl, clock):
        self.maxsize, self.ttl, self.clock = maxsize, ttl, clock
        self.entries, self.removed, self.counts = {}, [], [0, 0, 0, 0]

    def live(self, key):
        return key in self.entries and self.clock() < self.entries[key][1]

    def remove(self, key, cause):
        cause = cause if cause is CLEARED or self.live(key) else EXPIRED
        value, _ = self.entries.pop(key)
        self.counts[2] += cause is SIZE
        self.counts[3] += cause is EXPIRED
        self.removed.append((key, value, cause))

    def get(self, key):
        live = self.live(key)
        self.counts[0 if live else 1] += 1
        if live:
            self.entries[key] = self.entries.pop(key)
            return self.entries[key][0]
        if key in self.entries:
            self.remove(key, EXPIRED)
        return None

    def set(self, key, value, ttl):
        if key in self.entries:
            self.remove(key, REPLACED)
        elif len(self.entries) == self.maxsize:
            self.remove(next(iter(self.entries)), SIZE)
        self.entries[key] = value, float("inf") if ttl is None else self.clock() + ttl * NANOSECONDS

    def delete(self, key):
        live = self.live(key)
        if key in self.entries:
            self.remove(key, EXPLICIT)
        return live

    def expire(self):
        expired = [key for key in self.entries if not self.live(key)]
        for key in expired:
            self.remove(key, EXPIRED)
        return len(expired)

    def items(self):
        return [(key, value) for key, (value, _) in self.entries.items() if self.live(key)]


class Crowded(int):
    """An int that shares its hash with every second other one."""

    def __hash__(self):
        return int(self) % 2


keys = st.integers(0, 9) | st.integers(0, 9).map(Crowded) | st.integers(0, 3).map(lambda n: n << 32)
values = st.integers()
ttls = st.none() | st.integers(1, 5)


class TwinsAndModel(RuleBasedStateMachine):
    """Both twins and the model on one clock: same results, same order, same reports, same counts."""

    @initialize(maxsize=st.integers(1, 12), ttl=ttls)
    def begin(self, maxsize, ttl):
        self.clock = ManualClock()
        self.model = Model(maxsize, ttl, self.clock)
        self.removed = {"c": [], "py": []}
        self.caches = [
            load(MODULE, impl)(
                maxsize, ttl=ttl, clock=self.clock, on_remove=lambda *entry, log=log: log.append(entry)
            )
            for impl, log in self.removed.items()
        ]

    def agree(self, call, expected):
        assert [call(cache) for cache in self.caches] == [expected] * 2

    @rule(key=keys, value=values)
    def store(self, key, value):
        for cache in self.caches:
            cache[key] = value
        self.model.set(key, value, self.model.ttl)

    @rule(key=keys, value=values, ttl=ttls)
    def store_for(self, key, value, ttl):
        self.agree(lambda cache: cache.set(key, value, ttl=ttl), None)
        self.model.set(key, value, ttl)

    @rule(key=keys)
    def get(self, key):
        self.agree(lambda cache: cache.get(key), self.model.get(key))

    @rule(key=keys, value=values)
    def setdefault(self, key, value):
        there = self.model.get(key)
        if there is None:
            self.model.set(key, value, self.model.ttl)
        self.agree(lambda cache: cache.setdefault(key, value), value if there is None else there)

    @rule(key=keys)
    def contains(self, key):
        self.agree(lambda cache: key in cache, self.model.live(key))

    @rule(key=keys)
    def delete(self, key):
        self.agree(lambda cache: cache.delete(key), self.model.delete(key))

    @rule(key=keys)
    def pop(self, key):
        value = self.model.entries[key][0] if self.model.live(key) else None
        self.model.delete(key)
        self.agree(lambda cache: cache.pop(key, None), value)

    @rule()
    def popitem(self):
        popped = None
        while popped is None and self.model.entries:
            key, (value, _) = next(iter(self.model.entries.items()))
            if self.model.delete(key):
                popped = key, value
        if popped is None:
            for cache in self.caches:
                with pytest.raises(KeyError):
                    cache.popitem()
        else:
            self.agree(lambda cache: cache.popitem(), popped)

    @rule()
    def clear(self):
        self.agree(lambda cache: cache.clear(), None)
        for key in list(self.model.entries):
            self.model.remove(key, CLEARED)

    @rule()
    def expire(self):
        self.agree(lambda cache: cache.expire(), self.model.expire())

    @rule(seconds=st.integers(1, 3))
    def let_time_pass(self, seconds):
        self.clock.advance(seconds)

    @invariant()
    def all_are_the_same(self):
        if not hasattr(self, "model"):
            return
        self.agree(lambda cache: list(cache.items()), self.model.items())
        self.agree(len, len(self.model.entries))
        self.agree(
            lambda cache: cache.stats(),
            CacheStats(*self.model.counts, len(self.model.entries), self.model.maxsize),
        )
        assert self.removed["c"] == self.removed["py"] == self.model.removed


TestTwinsAgainstTheModel = TwinsAndModel.TestCase
TestTwinsAgainstTheModel.settings = settings(max_examples=60, stateful_step_count=60)


# ---- real requests ----


@pytest.mark.data
@pytest.mark.parametrize("trace", ["gli", "cs", "cpp", "ps", "multi1", "multi2", "2_pools"])
def test_hits_on_real_traces_are_those_of_the_reference(LRUCache, trace):
    traces = datasets.require("cache_traces")
    with lzma.open(traces / "lirs" / f"{trace}.trace.xz", "rt") as lines:
        requests = [line.strip() for line in lines if line.strip() not in ("", "*")]
    with (traces / "reference_hit_ratios.csv").open() as rows:
        reference = [
            (int(row["cache_size"]), int(row["hits"]))
            for row in csv.DictReader(rows)
            if row["trace"] == f"lirs/{trace}" and row["policy"] == "LRU"
        ]
    assert len(reference) == 5
    for size, hits in reference:
        cache = LRUCache(size)
        for key in requests:
            cache.setdefault(key, key)
        stats = cache.stats()
        assert (stats.hits, stats.hits + stats.misses) == (hits, len(requests))
