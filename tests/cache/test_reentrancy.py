"""What a cache calls may do anything to it, and threads may do so at once. See hammer.py."""

import gc

import pytest
from hammer import POLICIES, Storm, hammer

from penstock.cache import RemovalCause
from penstock.clock import NANOSECONDS, ManualClock
from twins import both_twins, load

MODULE = "penstock.cache.cache"
Cache = both_twins(MODULE)

every_policy = pytest.mark.parametrize("policy", POLICIES)


@every_policy
def test_code_that_calls_back_at_random_does_no_harm(Cache, policy):
    for seed in range(5):
        Storm(Cache, policy, seed).rage(150)


@every_policy
def test_eight_threads_lose_nothing_and_report_nothing_twice(Cache, policy):
    hammer(Cache, policy, 0.12)
    hammer(Cache, policy, 0.12, weighed=True, ttl=0.002)


class LastAct:
    """Does something when it is let go."""

    def __init__(self, act):
        self.act = act

    def __del__(self):
        self.act()


def test_destructor_of_an_expired_value_may_remove_who_would_be_popped_next(Cache):
    clock = ManualClock()
    cache = Cache(9, ttl=1, clock=clock)
    cache["a"] = LastAct(lambda: cache.pop("b", None))
    cache["b"] = LastAct(cache.clear)
    cache["c"] = LastAct(lambda: cache.set("d", 4))
    clock.advance(1)
    cache.set("e", 5, ttl=9)
    cache.popitem()
    cache._check()


@pytest.mark.parametrize(
    "options", [{"tti": 5}, {"weigher": lambda key, value: 0, "max_weight": 5}, {"policy": "lfu"}]
)
def test_destructors_may_use_a_cache_that_is_constructed_anew(Cache, options):
    def use():
        cache["x"] = 1
        cache["x"] = 2
        assert cache.get("x") == 2
        used.append(1)

    used = []
    cache = Cache(9, **options)
    cache["a"], cache["b"] = LastAct(use), LastAct(use)
    cache.__init__(3)
    assert used == [1, 1]
    assert dict(cache.items()) == {"x": 2}
    cache._check()


class Key:
    """One of many with one hash; when it is compared, something happens first."""

    def __init__(self, name, act=lambda: None):
        self.name, self.act = name, act

    def __hash__(self):
        return 1

    def __eq__(self, other):
        self.act()
        other.act()
        return self.name == other.name


def test_comparison_may_construct_the_cache_anew(Cache):
    for use in (Cache.get, Cache.delete, lambda cache, key: cache.set(key, 1), Cache.touch):
        cache = Cache(9, policy="tinylfu", tti=1)
        cache[Key("a")] = 1
        use(cache, Key("a", lambda cache=cache: cache.__init__(3, policy="lfu")))
        cache._check()
        assert cache.policy == "lfu"


def test_comparison_may_lower_the_weight_that_is_allowed(Cache):
    reports = []
    weights = {"weigher": lambda key, value: value, "max_weight": 9}
    cache = Cache(9, **weights, on_remove=lambda key, value, cause: reports.append((value, cause)))
    cache[Key("a")] = 1
    cache[Key("b", lambda: cache.resize(9, max_weight=3))] = 5
    assert reports == [(5, RemovalCause.SIZE)]
    assert cache.stats().rejections == 1
    cache._check()


def test_last_reference_may_go_while_the_cache_is_in_use(Cache):
    caches, gone = [Cache(2)], []

    def drop():
        caches.clear()
        gc.collect()

    caches[0][Key("a")] = LastAct(lambda: gone.append(1))
    assert caches[0].get(Key("b", drop)) is None
    gc.collect()
    assert gone == [1]


def test_listener_may_grow_a_cache_while_others_wait_to_be_reported(Cache):
    def refill(key, value, cause):
        if not refilled:  # the other 199 wait, and keep their slots
            refilled.append(1)
            cache.update((("new", n), n) for n in range(200))
            cache.resize(2_000)
            cache.update((("more", n), n) for n in range(900))
            cache._check()
        reported.append(value)

    for policy in POLICIES:
        refilled, reported = [1], []
        cache = Cache(200, policy=policy, on_remove=refill)
        cache.update((n, -n) for n in range(200))
        reported.clear()
        refilled.clear()
        cache.clear()
        assert sorted(reported) == sorted(-n for n in range(200))
        assert len(cache) == 1_100
        cache._check()


def test_lfu_counts_on_in_a_cache_that_was_made_larger():
    """Each entry of a full cache may be used a different number of times, and one more still comes."""
    cache = load(MODULE, "c")(10, policy="lfu")
    cache.update((n, n) for n in range(10))
    cache.resize(1_000)
    cache[10] = 10
    for n in range(11):
        for _ in range(n + 3):
            cache.get(n)
    assert list(cache) == list(range(11))
    cache._check()


def test_stats_in_a_listener_count_all_that_has_left(Cache):
    seen = []
    cache = Cache(
        9,
        weigher=lambda key, value: value,
        max_weight=9,
        on_remove=lambda key, value, cause: seen.append((cache.stats().evictions, len(cache))),
    )
    cache.update(a=3, b=3, c=3)
    cache["d"] = 9
    assert seen == [(3, 1)] * 3


def test_clock_that_goes_back_prolongs_and_breaks_nothing(Cache):
    clock = ManualClock(now=50 * NANOSECONDS)
    cache = Cache(9, ttl=2, tti=1, clock=clock)
    cache["a"] = 1
    clock.now = -(10**18)
    assert cache["a"] == 1
    cache["b"] = 2
    assert cache.expires_in("b") == 1
    clock.now = 50 * NANOSECONDS
    assert dict(cache.items()) == {}
    assert cache.expire() == 2
    cache._check()


def test_clock_may_begin_the_cache_anew_in_the_middle_of_a_resize(Cache):
    def clock():
        if armed:
            armed.clear()
            cache.__init__(9, weigher=lambda key, value: 1, max_weight=5)
        return 0

    armed = []
    cache = Cache(9, ttl=1, clock=clock)
    cache["a"] = 1
    armed.append(True)
    cache.resize(4)
    assert (cache.maxsize, cache.max_weight) == (4, 5)
    cache.update(dict.fromkeys("abcdef"))
    assert (len(cache), cache.weight) == (4, 4)
    cache._check()


def test_popitem_in_the_middle_of_a_removal_takes_another_entry(monkeypatch):
    """A destructor can run between any two steps of the pure-Python twin."""
    twin, popped = load(MODULE, "py"), []
    swap = twin._swap_chain

    def interrupted(cache, *chains):
        if not popped:
            popped.append(None)
            popped.append(cache.popitem())
        return swap(cache, *chains)

    cache = twin(3)
    cache.update(a=1, b=2, c=3)
    monkeypatch.setattr(twin, "_swap_chain", interrupted)
    assert cache.delete("a")
    assert popped[1] == ("b", 2)
    assert dict(cache.items()) == {"c": 3}
    cache._check()


def test_failed_allocations_leave_a_compiled_cache_as_it_was():
    testcapi = pytest.importorskip(
        "_testcapi", reason="this Python has no allocator that can be made to fail"
    )
    failures = 0
    for policy in POLICIES:
        cache = load(MODULE, "c")(1_000, policy=policy, tti=9)
        for n in range(300):
            before, key, start = list(cache.items()), ("key", n), n % 4
            try:
                testcapi.set_nomemory(start, start + 1)
                cache[key] = n
            except MemoryError:
                failures += 1
                testcapi.remove_mem_hooks()
                assert list(cache.items()) == before
                cache[key] = n
            finally:
                testcapi.remove_mem_hooks()
            cache._check()
        assert dict(cache.items()) == {("key", n): n for n in range(300)}
    assert failures > 10
