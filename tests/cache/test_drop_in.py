"""The caches with the constructors of cachetools do what code that uses cachetools expects of them."""

import pickle
from types import SimpleNamespace

import cachetools
import pytest

from penstock.cache import (
    FIFOCache,
    LFUCache,
    LRUCache,
    RemovalCause,
    S3FIFOCache,
    SieveCache,
    TinyLFUCache,
    TTLCache,
)
from penstock.clock import ManualClock

OF_ONE_POLICY = [FIFOCache, LFUCache, LRUCache, S3FIFOCache, SieveCache, TinyLFUCache]

every_class = pytest.mark.parametrize("kind", OF_ONE_POLICY, ids=lambda kind: kind.__name__)


@every_class
def test_class_takes_a_maxsize_and_names_its_policy(kind):
    cache = kind(2)
    cache.update(a=1, b=2, c=3)
    assert cache.policy == kind.__name__.removesuffix("Cache").lower()
    assert (len(cache), cache.maxsize, cache.currsize) == (2, 2, 2)
    assert cache.getsizeof("anything") == 1


@every_class
def test_getsizeof_bounds_the_sum_of_the_sizes(kind):
    cache = kind(10, len)
    cache.update(a="xxxx", b="xxxx")
    assert (cache.maxsize, cache.currsize, len(cache)) == (10, 8, 2)
    assert cache.getsizeof("xyz") == 3
    cache["c"] = "xxxx"
    assert cache.currsize <= 10
    assert len(cache) == 2


def test_same_is_evicted_as_in_cachetools():
    ours, theirs = LRUCache(3), cachetools.LRUCache(3)
    for n in range(200):
        assert ours.get(n % 5) == theirs.get(n % 5)
        key = n * 7 % 11 % 5
        ours[key] = theirs[key] = n
        assert set(ours) == set(theirs)  # dict(theirs) would be a use of each
        assert ours.currsize == theirs.currsize


def test_storing_again_is_no_reason_to_stay_for_fifo():
    cache = FIFOCache(2)
    cache.update(a=1, b=2)
    cache["a"] = 3
    cache["c"] = 4
    assert dict(cache.items()) == {"b": 2, "c": 4}


def test_value_larger_than_the_cache_is_reported_and_not_kept():
    removed = []
    cache = LRUCache(3, getsizeof=len, on_remove=lambda *entry: removed.append(entry))
    cache["a"] = "xxxx"
    assert "a" not in cache
    assert removed == [("a", "xxxx", RemovalCause.SIZE)]


def test_missing_of_a_subclass_is_called():
    class Squares(LRUCache):
        def __missing__(self, key):
            self[key] = key * key
            return self[key]

    cache = Squares(2)
    assert [cache[n] for n in (1, 2, 3)] == [1, 4, 9]
    assert list(cache) == [2, 3]
    assert cache.get(9) is None


def test_ttl_cache_goes_by_its_timer_in_seconds():
    time = SimpleNamespace(now=100.0)
    cache = TTLCache(2, 10, lambda: time.now)
    cache["a"] = 1
    time.now += 9.5
    assert cache["a"] == 1
    time.now += 0.5
    assert "a" not in cache
    assert (cache.maxsize, cache.ttl) == (2, 10)


def test_ttl_cache_takes_arguments_in_the_order_of_cachetools():
    cache = TTLCache(9, 5, None, len, clock=ManualClock())
    cache["a"] = "xxx"
    assert cache.currsize == 3
    assert cache.expires_in("a") == 5


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="getsizeof must be callable or None, got int"):
        LRUCache(3, 4)
    with pytest.raises(TypeError, match="timer must be callable or None, got float"):
        TTLCache(3, 4, 5.0)
    with pytest.raises(ValueError, match="maxsize must be >= 1"):
        LRUCache(0)


@pytest.mark.parametrize("make", [LRUCache, TinyLFUCache, lambda size: TTLCache(size, 60)])
def test_decorators_of_cachetools_work_over_it(make):
    calls = []

    @cachetools.cached(make(2))
    def square(n):
        calls.append(n)
        return n * n

    assert [square(n) for n in (2, 2, 3, 3)] == [4, 4, 9, 9]
    assert calls == [2, 3]
    assert square.cache.currsize == 2

    class Squares:
        def __init__(self):
            self.cache = make(2)

        @cachetools.cachedmethod(lambda self: self.cache)
        def of(self, n):
            calls.append(n)
            return n * n

    squares = Squares()
    assert [squares.of(5), squares.of(5)] == [25, 25]
    assert calls == [2, 3, 5]


def test_pickled_one_keeps_its_class_sizes_and_entries():
    cache = TTLCache(9, 60, getsizeof=len)
    cache.update(a="x", b="yyy")
    again = pickle.loads(pickle.dumps(cache))
    assert type(again) is TTLCache
    assert (again.maxsize, again.currsize, list(again.items())) == (9, 4, [("a", "x"), ("b", "yyy")])
