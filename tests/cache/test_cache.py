"""What a cache promises, on both twins."""

import gc
import random
import re
import sys
import threading
import weakref
from collections.abc import MutableMapping
from datetime import timedelta

import pytest

from penstock import PenstockError
from penstock.cache import RemovalCause
from penstock.clock import NANOSECONDS, ManualClock
from twins import both_twins, load

MODULE = "penstock.cache.cache"
Cache = both_twins(MODULE)

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


def counts(cache):
    """Hits, misses, evictions, expirations, size, maxsize."""
    stats = cache.stats()
    return (stats.hits, stats.misses, stats.evictions, stats.expirations, stats.size, stats.maxsize)


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


def test_what_was_stored_is_found(Cache):
    cache = Cache(3)
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


def test_missing_keys_raise_key_error(Cache):
    cache = Cache(3)
    with pytest.raises(KeyError) as missing:
        cache["a", 1]
    assert missing.value.args == (("a", 1),)
    with pytest.raises(KeyError, match="'a'"):
        del cache["a"]
    with pytest.raises(KeyError, match="'a'"):
        cache.pop("a")
    with pytest.raises(KeyError, match=re.escape("popitem(): cache is empty")):
        cache.popitem()


def test_least_recently_used_entry_makes_room(Cache):
    cache = Cache(3)
    cache.update(a=1, b=2, c=3)
    assert cache["a"] == 1
    assert cache.get("b") == 2
    cache["d"] = 4
    assert list(cache.items()) == [("a", 1), ("b", 2), ("d", 4)]


def test_storing_again_is_a_use(Cache):
    cache = Cache(2)
    cache.update(a=1, b=2)
    cache["a"] = 3
    cache["c"] = 4
    assert list(cache.items()) == [("a", 3), ("c", 4)]


def test_cache_of_one_holds_the_last(Cache, note, removed):
    cache = Cache(1, on_remove=note)
    for number in range(4):
        cache[number] = number
        assert dict(cache.items()) == {number: number}
    assert removed == [(n, n, SIZE) for n in range(3)]


def test_looking_on_is_no_use_and_counts_nothing(Cache):
    cache = Cache(2)
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
    assert counts(cache) == (0, 0, 0, 0, 2, 2)
    cache["c"] = 3
    assert list(cache) == ["b", "c"]


def test_equality_is_that_of_mappings(Cache):
    cache, other = Cache(5), Cache(9)
    cache.update(a=1, b=2)
    other.update(b=2, a=1)
    assert cache == other == {"a": 1, "b": 2}
    other["a"] = 5
    assert cache != other
    assert cache != [("a", 1), ("b", 2)]
    with pytest.raises(TypeError, match="unhashable type"):
        hash(cache)


def test_cache_is_a_mutable_mapping(Cache):
    cache = Cache(5)
    assert isinstance(cache, MutableMapping)
    assert Cache[str, int](5).maxsize == 5
    match cache:
        case {}:
            pass
        case _:
            pytest.fail("no mapping to a match statement")
    with pytest.raises(TypeError, match="not reversible"):
        reversed(cache)


def test_update_takes_mappings_pairs_and_keywords(Cache):
    cache = Cache(9)
    cache.update({"a": 1})
    cache.update([("b", 2)], c=3)
    assert cache == {"a": 1, "b": 2, "c": 3}


def test_setdefault_keeps_what_is_there(Cache):
    cache = Cache(2)
    assert cache.setdefault("a", 1) == 1
    assert cache.setdefault("a", 2) == 1
    assert cache.setdefault("b") is None
    assert cache.stats()[:2] == (1, 2)
    cache.setdefault("a", 3)
    cache["c"] = 4
    assert list(cache) == ["a", "c"]


def test_pop_and_delete_remove_and_count_no_lookup(Cache):
    cache = Cache(5)
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


def test_popitem_takes_the_least_recently_used(Cache):
    cache = Cache(3)
    cache.update(a=1, b=2, c=3)
    cache["a"]
    assert [cache.popitem() for _ in range(3)] == [("b", 2), ("c", 3), ("a", 1)]


def test_cleared_cache_goes_on_counting_and_storing(Cache):
    cache = Cache(2)
    cache.update(a=1, b=2, c=3)
    cache.get("b")
    cache.clear()
    assert len(cache) == 0
    assert counts(cache) == (1, 0, 1, 0, 0, 2)
    cache.update(a=1, b=2)
    assert list(cache) == ["a", "b"]


def test_iteration_is_over_what_was_there_at_the_start(Cache):
    cache = Cache(3)
    cache.update(a=1, b=2, c=3)
    seen = []
    for key in cache:
        seen.append(key)
        cache[key * 2] = 0
        del cache[key * 2]
        cache.clear()
    assert seen == ["a", "b", "c"]


def test_stats_count_hits_misses_and_evictions(Cache):
    cache = Cache(2)
    assert cache.stats().hit_ratio == 0.0
    cache.update(a=1, b=2, c=3)
    cache.get("b")
    cache.get("a")
    cache["c"]
    with pytest.raises(KeyError):
        cache["a"]
    cache.setdefault("c")
    stats = cache.stats()
    assert counts(cache) == (3, 2, 1, 0, 2, 2)
    assert stats.hit_ratio == 0.6


def test_hash_collisions_and_removals_keep_every_entry_reachable(Cache):
    cache, expected = Cache(64), {}
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


def test_equal_keys_of_different_types_are_one_key(Cache):
    cache = Cache(3)
    cache[1] = "int"
    cache[1.0] = "float"
    assert list(cache.items()) == [(1, "float")]
    assert repr(next(iter(cache))) == "1"


# ---- time to live ----


def test_entry_expires_at_its_nanosecond(Cache, clock):
    cache = Cache(3, ttl=1.5, clock=clock)
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
    assert counts(cache) == (1, 1, 0, 1, 0, 3)


def test_hit_does_not_prolong_and_storing_does(Cache, clock):
    cache = Cache(3, ttl=10, clock=clock)
    cache.update(a=1, b=2)
    clock.advance(9)
    cache["a"]
    cache["b"] = 3
    clock.advance(1)
    assert dict(cache.items()) == {"b": 3}


@pytest.mark.parametrize("ttl", [2, 2.0, timedelta(seconds=2)])
def test_ttl_is_seconds_or_timedelta(Cache, clock, ttl):
    cache = Cache(3, ttl=ttl, clock=clock)
    assert cache.ttl is ttl
    cache["a"] = 1
    clock.now += 2 * NANOSECONDS - 1
    assert "a" in cache
    clock.now += 1
    assert "a" not in cache


def test_entry_may_have_its_own_ttl_or_none(Cache, clock):
    cache = Cache(9, ttl=10, clock=clock)
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


def test_ttl_can_be_given_where_the_cache_has_none(Cache, clock):
    cache = Cache(9, clock=clock)
    cache["a"] = 1
    cache.set("b", 2, ttl=1)
    clock.advance(1)
    assert dict(cache.items()) == {"a": 1}


def test_shortest_ttl_is_a_nanosecond_and_the_longest_outlives_int64(Cache, clock):
    cache = Cache(9, clock=clock)
    cache.set("short", 1, ttl=1e-300)
    assert "short" in cache
    clock.now += 1
    assert "short" not in cache
    clock.now = 2**63 - 10
    cache.set("long", 2, ttl=100 * 365 * 86_400)
    clock.now += 8
    assert cache["long"] == 2


def test_expire_drops_all_that_has_expired(Cache, clock, note, removed):
    cache = Cache(9, clock=clock, on_remove=note)
    for key, ttl in [("a", 3), ("b", 1), ("c", None), ("d", 2)]:
        cache.set(key, key.upper(), ttl=ttl)
    assert cache.expire() == 0
    clock.advance(2)
    assert cache.expire() == 2
    assert removed == [("b", "B", EXPIRED), ("d", "D", EXPIRED)]
    assert list(cache) == ["a", "c"]
    assert len(cache) == 2
    assert cache.stats().expirations == 2


def test_expired_victim_counts_as_expired_and_not_as_evicted(Cache, clock, note, removed):
    cache = Cache(2, clock=clock, on_remove=note)
    cache.set("a", 1, ttl=1)
    cache.set("b", 2)
    clock.advance(1)
    cache["c"] = 3
    cache["d"] = 4
    assert removed == [("a", 1, EXPIRED), ("b", 2, SIZE)]
    assert counts(cache)[2:4] == (1, 1)


def test_whoever_comes_across_an_expired_entry_removes_it(Cache, clock, note, removed):
    cache = Cache(9, ttl=1, clock=clock, on_remove=note)
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
    assert counts(cache)[:4] == (0, 2, 0, 6)


def test_clock_is_read_only_once_something_can_expire(Cache, clock):
    reads = []

    def counting():
        reads.append(1)
        return clock()

    cache = Cache(2, clock=counting)
    cache.update(a=1, b=2, c=3)
    cache.get("a")
    cache.expire()
    list(cache)
    assert reads == []
    cache.set("a", 1, ttl=1)
    assert len(reads) == 1
    cache.get("a")
    assert len(reads) == 2


def test_error_of_a_clock_comes_through_and_changes_nothing(Cache, clock):
    def broken():
        raise RuntimeError("no time")

    source = clock
    cache = Cache(2, ttl=1, clock=lambda: source())
    cache["a"] = 1
    source = broken
    for use in (lambda: cache["a"], lambda: cache.set("b", 2), lambda: cache.pop("a"), cache.expire):
        with pytest.raises(RuntimeError, match="no time"):
            use()
    source = clock
    assert dict(cache.items()) == {"a": 1}
    assert cache.stats()[:2] == (0, 0)


def test_system_clock_is_used_when_none_is_given(Cache):
    cache = Cache(2, ttl=0.001)
    cache.set("b", 2, ttl=3600)
    cache["a"] = 1
    threading.Event().wait(0.002)  # the clock of the system moves only by itself
    assert dict(cache.items()) == {"b": 2}


# ---- on_remove ----


def test_every_removal_is_reported_with_its_cause(Cache, note, removed):
    cache = Cache(3, on_remove=note)
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


def test_on_remove_sees_the_cache_as_it_is_afterwards(Cache):
    seen = []
    cache = Cache(2, on_remove=lambda key, value, cause: seen.append((cause, dict(cache.items()))))
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


def test_on_remove_may_store_and_delete(Cache):
    def keep_the_old(key, value, cause):
        if cause is not EXPLICIT and not key.startswith("old "):
            cache["old " + key] = value
            cache.delete("gone")

    cache = Cache(4, on_remove=keep_the_old)
    cache.update(a=1, b=2, gone=3)
    cache["b"] = 4
    assert dict(cache.items()) == {"a": 1, "b": 4, "old b": 2}
    cache.update(c=5, d=6)
    assert list(cache.items()) == [("c", 5), ("d", 6), ("old a", 1), ("old b", 4)]
    cache.clear()
    assert dict(cache.items()) == {"old c": 5, "old d": 6}


def test_on_remove_that_brings_an_expired_key_back_does_not_undo_the_miss(Cache, clock):
    cache = Cache(3, ttl=1, clock=clock, on_remove=lambda key, value, cause: cache.set(key, value + 1))
    cache["a"] = 1
    clock.advance(1)
    assert cache.get("a") is None
    assert cache.get("a") == 2


def test_errors_of_on_remove_go_to_the_unraisable_hook(Cache, unraisable):
    def fail(key, value, cause):
        raise error

    cache = Cache(1, on_remove=fail)
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
def test_unhashable_keys_and_failing_comparisons_change_nothing(Cache, use):
    def fail():
        raise RuntimeError("not comparable")

    cache = Cache(1)
    cache[Key("a")] = 1
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        use(cache, [])
    with pytest.raises(RuntimeError, match="not comparable"):
        use(cache, Key("b", on_compare=fail))
    assert dict(cache.items()) == {Key("a"): 1}
    assert counts(cache) == (0, 0, 0, 0, 1, 1)


def test_eviction_compares_no_keys(Cache):
    def fail():
        raise RuntimeError("compared")

    cache = Cache(2)
    for name in "abc":
        cache[Key(name, hashed=7)] = name
    survivors = list(cache)
    for key in survivors:
        key.on_compare = fail
    cache.update(x=1, y=2)
    assert dict(cache.items()) == {"x": 1, "y": 2}


def test_comparison_may_clear_the_cache(Cache):
    cache = Cache(100)
    cache.update((Key(n), n) for n in range(10))
    assert cache.get(Key(5, on_compare=cache.clear)) is None
    assert len(cache) == 0
    cache[Key(5)] = 5
    cache[Key(5, on_compare=cache.clear)] = 6
    assert dict(cache.items()) == {Key(5): 6}


def test_comparison_may_refill_the_cache(Cache):
    refills = []

    def refill():
        if len(refills) < 3:
            refills.append(1)
            cache.clear()
            cache.update((Key(("new", n)), n) for n in range(20))
            cache[Key("wanted")] = len(refills)

    cache = Cache(100)
    cache.update((Key(n), n) for n in range(10))
    wanted = Key("wanted", on_compare=refill)
    assert cache[wanted] == 3
    assert len(cache) == 21


def test_comparison_may_grow_the_cache_while_a_key_is_stored(Cache):
    cache = Cache(1_000)
    cache[Key("a")] = 1
    cache[Key("b", on_compare=lambda: cache.update((n, n) for n in range(1, 500)))] = 2
    assert len(cache) == 2 + 499
    assert cache[Key("a")] == 1
    assert cache[Key("b")] == 2


def test_comparison_may_store_the_key_that_is_being_stored(Cache, note, removed):
    def overtake():
        if not overtaken:
            overtaken.append(1)
            cache[Key("b")] = "first"

    overtaken = []
    cache = Cache(5, on_remove=note)
    cache[Key("a")] = 1
    cache[Key("b", on_compare=overtake)] = "second"
    assert list(cache.values()) == [1, "second"]
    assert [(value, cause) for _, value, cause in removed] == [("first", REPLACED)]


def test_destructors_of_values_may_use_the_cache(Cache):
    class Value:
        def __init__(self, name):
            self.name = name

        def __del__(self):
            cache["last words"] = self.name

    cache = Cache(2)
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


def test_collections_at_every_allocation_do_no_harm(Cache, clock):
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
    cache = Cache(20, ttl=5, clock=clock, on_remove=lambda *entry: list(cache.items()))
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


def test_cache_that_holds_itself_is_collected(Cache):
    class Value:
        pass

    def tangle():
        value, cache = Value(), Cache(5, on_remove=lambda *entry: cache)
        cache["me"] = cache
        cache[value] = value
        return weakref.ref(cache), weakref.ref(value)

    dead_cache, dead_value = tangle()
    gc.collect()
    assert dead_cache() is None
    assert dead_value() is None


def test_removed_keys_and_values_are_let_go(Cache):
    class Thing:
        pass

    things = [Thing() for _ in range(40)]
    alive = [weakref.ref(thing) for thing in things]
    cache = Cache(10)
    for n in range(20):
        cache[things[n]] = things[20 + n]
    for n in range(10, 15):
        del cache[things[n]]
    things.clear()
    cache.popitem()
    assert sum(thing() is not None for thing in alive) == 8
    cache.clear()
    assert all(thing() is None for thing in alive)


def test_deeply_nested_caches_are_freed_without_deep_recursion(Cache):
    outermost = Cache(1)
    for _ in range(20_000):
        inner, outermost = outermost, Cache(1)
        outermost[0] = inner
    del inner, outermost
    gc.collect()


def test_memory_grows_with_the_entries_and_not_with_maxsize(Cache):
    cache = Cache(1 << 30)
    assert sys.getsizeof(cache) < 1_000
    cache.update((n, n) for n in range(1_000))
    assert sys.getsizeof(cache) < 200_000


def test_compiled_entry_costs_at_most_60_bytes():
    cache = load(MODULE, "c")(50_000, ttl=60)
    cache.update((n, n) for n in range(50_000))
    assert sys.getsizeof(cache) / 50_000 <= 60


def test_construction_anew_forgets_everything(Cache):
    cache = Cache(5, ttl=3)
    cache.update(a=1)
    cache.get("a")
    cache.__init__(2)
    assert cache.ttl is None
    cache.update(x=1, y=2, z=3)
    assert dict(cache.items()) == {"y": 2, "z": 3}
    assert counts(cache) == (0, 0, 1, 0, 2, 2)


# ---- threads ----


def test_threads_share_a_cache_exactly(Cache):
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

    cache = Cache(20, on_remove=note)
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


def test_threads_agree_on_one_default(Cache):
    cache, start, got = Cache(2_000), threading.Barrier(4), []

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
def test_maxsize_out_of_range_is_refused(Cache, maxsize):
    message = f"maxsize must be >= 1 and <= 1073741824 entries, got {maxsize}"
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        Cache(maxsize)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize(
    "ttl", [0, -1, -0.5, float("nan"), float("inf"), 3.2e9, timedelta(0), timedelta(days=-1), timedelta.max]
)
def test_ttl_out_of_range_is_refused_and_changes_nothing(Cache, ttl):
    message = re.escape(f"ttl must be > 0 and <= 100 years, got {ttl!r}")
    with pytest.raises(ValueError, match=message) as refused:
        Cache(3, ttl=ttl)
    assert isinstance(refused.value, PenstockError)
    cache = Cache(3)
    with pytest.raises(ValueError, match=message):
        cache.set("a", 1, ttl=ttl)
    assert len(cache) == 0


def test_arguments_of_the_wrong_type_are_refused(Cache):
    with pytest.raises(TypeError, match="maxsize must be an integer, got float"):
        Cache(3.0)
    with pytest.raises(TypeError, match="ttl must be seconds, a timedelta or None, got str"):
        Cache(3, ttl="1s")
    with pytest.raises(TypeError, match="on_remove must be callable or None, got int"):
        Cache(3, on_remove=1)
    with pytest.raises(TypeError, match="clock must be callable or None, got float"):
        Cache(3, clock=1.0)
    with pytest.raises(TypeError, match="ttl must be seconds, a timedelta or None, got list"):
        Cache(3).set("a", 1, ttl=[])


@pytest.mark.parametrize("name", ["ttl", "tti"])
def test_times_beyond_all_numbers_are_refused(Cache, name):
    for value in (10**400, -(10**400), float("-inf")):
        with pytest.raises(ValueError, match=f"{name} must be > 0 and <= 100 years"):
            Cache(3, **{name: value})


@pytest.mark.parametrize("jitter", [-0.1, 1, 1.5, float("nan"), float("inf")])
def test_jitter_out_of_range_is_refused(Cache, jitter):
    with pytest.raises(ValueError, match=re.escape(f"a fraction of the ttl, got {jitter!r}")):
        Cache(3, ttl=1, jitter=jitter)


def test_unknown_policies_are_refused(Cache):
    message = "policy must be one of lru, fifo, lfu, sieve, s3fifo, tinylfu, got 'mru'"
    with pytest.raises(ValueError, match=message):
        Cache(3, policy="mru")


def test_weigher_and_max_weight_need_each_other(Cache):
    with pytest.raises(ValueError, match="weigher and max_weight must be given together, got no weigher"):
        Cache(3, max_weight=3)
    with pytest.raises(ValueError, match="weigher and max_weight must be given together, got no max_weight"):
        Cache(3, weigher=len)
    with pytest.raises(ValueError, match="weigher and max_weight must be given together, got no weigher"):
        Cache(3).resize(3, max_weight=3)


@pytest.mark.parametrize("max_weight", [0, -1, 1 << 62])
def test_max_weight_out_of_range_is_refused(Cache, max_weight):
    with pytest.raises(ValueError, match=f"max_weight must be >= 1 and <= {(1 << 62) - 1} in all"):
        Cache(3, weigher=len, max_weight=max_weight)


def test_wrong_weights_are_refused_and_change_nothing(Cache):
    cache = Cache(3, weigher=lambda key, value: value, max_weight=9)
    cache["a"] = 1
    for key in ("a", "b"):
        with pytest.raises(ValueError, match="weigher must return a weight >= 0, got -1"):
            cache[key] = -1
        with pytest.raises(TypeError, match="weigher must return an integer, got float"):
            cache[key] = 1.5
        with pytest.raises(TypeError, match="weigher must return an integer, got NoneType"):
            cache.setdefault("c", None)
    assert dict(cache.items()) == {"a": 1}
    assert cache.weight == 1


def test_entry_too_heavy_is_rejected_with_what_was_there(Cache, note, removed):
    cache = Cache(3, weigher=lambda key, value: value, max_weight=9, on_remove=note)
    cache.update(a=1, b=2)
    cache["a"] = 10
    cache["c"] = 1 << 80
    assert removed == [("a", 1, REPLACED), ("a", 10, SIZE), ("c", 1 << 80, SIZE)]
    assert dict(cache.items()) == {"b": 2}
    assert (cache.stats().rejections, cache.stats().evictions, cache.weight) == (2, 0, 2)


def test_heaviest_weights_do_not_overflow(Cache):
    most = (1 << 62) - 1
    for policy in ("lru", "fifo", "lfu", "sieve", "s3fifo", "tinylfu"):
        cache = Cache(9, policy=policy, weigher=lambda key, value: value, max_weight=most)
        cache.update(a=most, b=0)
        cache["b"] = most
        assert cache.weight <= most
        cache["c"] = most + 1
        assert "c" not in cache
        cache._check()


def test_repr_names_maxsize_policy_and_ttl(Cache):
    assert repr(Cache(5)) == "Cache(maxsize=5, policy='lru', ttl=None)"
    assert repr(Cache(7, policy="sieve", ttl=1.5)) == "Cache(maxsize=7, policy='sieve', ttl=1.5)"
