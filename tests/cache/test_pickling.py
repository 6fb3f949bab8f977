"""A cache is pickled with its entries and the time that they have left, by either twin for either."""

import base64
import copy
import os
import pickle
import subprocess
import sys

import pytest
from hammer import POLICIES

from penstock.clock import NANOSECONDS, ManualClock
from twins import both_twins

Cache = both_twins("penstock.cache.cache")


def heavy(key, value):
    return len(value)


@pytest.mark.parametrize("policy", POLICIES)
def test_copy_has_the_same_arguments_entries_and_times(Cache, policy):
    clock = ManualClock(now=7 * NANOSECONDS)
    cache = Cache(20, policy=policy, ttl=9, tti=5, weigher=heavy, max_weight=30, clock=clock)
    cache.update((n, "x" * (n % 3)) for n in range(15))
    cache.set("own", "x", ttl=2)
    clock.advance(1)
    cache.get(3)
    for make in (copy.copy, type(cache).copy):
        other = make(cache)
        assert list(other.items()) == list(cache.items())
        assert [other.expires_in(key) for key in other] == [cache.expires_in(key) for key in cache]
        assert (other.policy, other.ttl, other.tti, other.max_weight) == (policy, 9, 5, 30)
        assert other.weight == cache.weight
        assert other.stats().hits == 0
        other["new"] = "y"
        assert "new" not in cache
        other._check()


def test_deep_copy_copies_the_values(Cache):
    cache = Cache(5)
    cache["a"] = [1]
    copy.deepcopy(cache)["a"].append(2)
    assert cache["a"] == [1]


def test_expired_entries_are_not_pickled_and_others_keep_their_time(Cache):
    clock = ManualClock()
    cache = Cache(5, clock=clock)
    cache.set("short", 1, ttl=1)
    cache.set("long", 2, ttl=1_000)
    cache["for ever"] = 3
    clock.advance(1)
    again = pickle.loads(pickle.dumps(cache))
    assert dict(again.items()) == {"long": 2, "for ever": 3}
    assert 900 < again.expires_in("long") <= 999
    assert again.expires_in("for ever") is None


@pytest.mark.parametrize("impl", ["c", "py"])
def test_process_with_the_other_twin_reads_it(Cache, impl):
    cache = Cache(5, policy="s3fifo", ttl=60)
    cache.update(a=1, b=[2])
    pickled = base64.b64encode(pickle.dumps(cache)).decode()
    code = f"""
import base64, pickle, penstock
cache = pickle.loads(base64.b64decode("{pickled}"))
print(penstock.implementation, type(cache).__module__, cache.policy, cache.ttl, list(cache.items()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PENSTOCK_IMPL": impl},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.split(maxsplit=4) == [
        impl,
        f"penstock.cache._cache_{impl}",
        "s3fifo",
        "60",
        "[('a', 1), ('b', [2])]\n",
    ]


@pytest.mark.parametrize("again", [lambda cache: pickle.loads(pickle.dumps(cache)), copy.deepcopy])
def test_cache_that_holds_itself_holds_itself_again(Cache, again):
    cache = Cache(3)
    cache["itself"] = cache
    other = again(cache)
    assert other["itself"] is other
    assert other is not cache
