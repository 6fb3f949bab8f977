"""What a cache holds is let go when nobody can reach it, and memory comes back."""

import gc
import sys
import threading
import tracemalloc
import weakref

import pytest
from hammer import POLICIES

from twins import both_twins, load

MODULE = "penstock.cache.cache"
Cache = both_twins(MODULE)


class Thing:
    pass


def test_collector_sees_keys_values_and_arguments_of_a_compiled_cache():
    key, value = Thing(), Thing()
    notes = []
    listener = lambda *entry: notes.append(entry)  # noqa: E731
    weigher = lambda key, value: 1  # noqa: E731
    cache = load(MODULE, "c")(5, on_remove=listener, weigher=weigher, max_weight=9)
    cache[key] = value
    referents = gc.get_referents(cache)
    for held in (key, value, listener, weigher):
        assert any(each is held for each in referents)
    assert any(each is cache for each in gc.get_objects())
    del cache[key]
    assert not any(each is value for each in gc.get_referents(cache))


@pytest.mark.parametrize("policy", POLICIES)
def test_cycles_through_keys_values_and_listeners_are_collected(Cache, policy):
    def tangle():
        key, value, listener = Thing(), Thing(), Thing()
        listener.note = lambda *entry: listener
        cache = Cache(5, policy=policy, on_remove=listener.note, clock=lambda: id(listener))
        key.cache = value.cache = listener.cache = cache
        cache[key] = value
        cache["me"] = cache
        return [weakref.ref(each) for each in (cache, key, value, listener)]

    dead = tangle()
    gc.collect()
    assert [each() for each in dead] == [None] * 4


def test_weak_reference_is_dead_before_values_are_let_go(Cache):
    class Value:
        def __del__(self):
            seen.append(reference())

    seen = []
    cache = Cache(5)
    reference = weakref.ref(cache)
    cache["a"] = Value()
    del cache
    gc.collect()
    assert seen == [None]


def test_destructors_may_use_a_cache_that_is_being_collected(Cache):
    def tangle():
        class Untracked:
            """No slots, so the collector does not know it, and it ends when its holder does."""

            __slots__ = ()

            def __del__(self):
                uses.append(use(cache))

        cache = Cache(5, weigher=lambda key, value: 1, max_weight=5, on_remove=lambda *entry: cache)
        cache["untracked"] = Untracked()
        cache["me"] = cache

    def use(cache):
        cache["b"] = 1
        cache["b"] = 2
        return (
            cache.get("b"),
            cache.delete("b"),
            cache.expire(),
            cache.clear(),
            len(cache),
            cache.stats().size,
        )

    uses = []
    tangle()
    gc.collect()
    assert uses == [(2, True, 0, None, 0, 0)]


@pytest.mark.parametrize("kind", [lambda Cache: Cache, lambda Cache: type("Sub", (Cache,), {})])
def test_caches_within_caches_are_freed_without_deep_recursion(Cache, kind):
    def build_and_drop():
        outermost = made(1)
        for _ in range(100_000):
            inner, outermost = outermost, made(1)
            outermost[0] = inner
        del inner, outermost
        gc.collect()
        done.append(1)

    made, done = kind(Cache), []
    enabled = gc.isenabled()
    gc.disable()  # or it goes through all of them again and again
    stack = threading.stack_size(1 << 20)
    try:
        thread = threading.Thread(target=build_and_drop)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(stack)
        if enabled:
            gc.enable()
    assert done == [1]


@pytest.mark.parametrize("policy", POLICIES)
def test_clear_and_resize_give_memory_back(policy):
    def held():
        return tracemalloc.get_traced_memory()[0]

    cache = load(MODULE, "c")(100_000, policy=policy)
    numbers = [*range(30_000)]
    tracemalloc.start()
    try:
        empty = held()
        cache.update(zip(numbers, numbers, strict=True))
        full = held()
        assert full - empty > 30_000 * 40
        assert sys.getsizeof(cache) > 30_000 * 40
        cache.resize(3_000)
        assert held() - empty < (full - empty) * 0.5
        assert dict(cache.items()).keys() == set(cache)
        assert len(cache) == 3_000
        cache.clear()
        assert held() - empty < (full - empty) * 0.5
    finally:
        tracemalloc.stop()
    cache._check()


def test_huge_maxsize_costs_nothing_before_it_is_used(Cache):
    for policy in POLICIES:
        cache = Cache(1 << 30, policy=policy, weigher=lambda key, value: 1, max_weight=(1 << 62) - 1)
        cache.update(a=1, b=2)
        assert sys.getsizeof(cache) < 5_000


# ---- subclasses ----


def test_subclass_may_have_a_dict_slots_and_a_missing(Cache):
    class WithDict(Cache):
        def __missing__(self, key):
            self.missed = key
            return self.setdefault(key, len(key))

    class WithSlots(Cache):
        __slots__ = ("note",)

    cache = WithDict(3)
    assert cache["abc"] == 3
    assert cache.missed == "abc"
    assert cache.get("x") is None
    assert cache.__dict__ == {"missed": "abc"}
    slotted = WithSlots(3, ttl=5)
    slotted.note = slotted
    slotted["a"] = slotted
    assert slotted["a"] is slotted.note is slotted
    dead = weakref.ref(slotted)
    del slotted
    gc.collect()
    assert dead() is None


def test_methods_do_not_call_those_that_a_subclass_overrides(Cache):
    """As with dict: each call does its work, and none depends on how another is done."""

    class Odd(Cache):
        def get(self, key, default=None, /):
            raise AssertionError

        def delete(self, key, /):
            raise AssertionError

    cache = Odd(5)
    cache.update(a=1, b=2)
    assert cache.get_many("ab") == {"a": 1, "b": 2}
    del cache["a"]
    assert cache.pop("b") == 2


def test_cache_whose_init_did_not_run_fails_without_a_crash(Cache):
    cache = Cache.__new__(Cache)
    try:
        cache["a"] = 1
        assert cache.get("a") == 1
    except AttributeError as error:
        assert "_" in str(error)  # noqa: PT017  (the compiled twin need not raise)
