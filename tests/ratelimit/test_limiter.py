"""What a keyed rate limiter promises, on both twins."""

import asyncio
import copy
import gc
import inspect
import pickle
import re
import sys
import threading
import weakref
from collections import deque
from contextlib import suppress

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from penstock.ratelimit import LimiterFull, LimiterStats, Quota, RateLimitExceeded
from penstock.ratelimit._token_bucket_py import TokenBucket
from twins import both_twins, load

MODULE = "penstock.ratelimit.limiter"
RateLimiter = both_twins(MODULE)

ALGORITHMS = ["token_bucket", "sliding_window", "sliding_counter", "fixed_window"]
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


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


def drain(limiter, key, n=1):
    taken = 0
    while limiter.allow(key, n):
        taken += n
    return taken


# ---- limits ----


@every_algorithm
def test_every_key_has_a_limit_of_its_own(RateLimiter, clock, algorithm):
    limiter = RateLimiter("5/second", algorithm=algorithm, clock=clock)
    for key in ("a", ("b", 1), 7, None, b"c"):
        assert drain(limiter, key) == 5
    assert len(limiter) == 5
    assert not limiter.allow("a")


def test_equal_keys_are_one_key(RateLimiter, clock):
    limiter = RateLimiter("2/second", clock=clock)
    assert limiter.allow("ab" + str(1))
    assert limiter.allow("ab" + str(1))
    assert not limiter.allow("ab1")
    assert limiter.allow(1)
    assert limiter.allow(1.0)
    assert not limiter.allow(True)
    assert len(limiter) == 2


@every_algorithm
def test_units_are_taken_together_or_not_at_all(RateLimiter, clock, algorithm):
    limiter = RateLimiter("5/second", algorithm=algorithm, clock=clock)
    assert limiter.allow("a", 3)
    assert not limiter.allow("a", 3)
    assert limiter.check("a", 2).remaining == 0


@every_algorithm
def test_several_quotas_are_taken_together_or_not_at_all(RateLimiter, clock, algorithm):
    limiter = RateLimiter("2/second, 3/minute", algorithm=algorithm, clock=clock)
    assert drain(limiter, "a") == 2
    clock.advance(2.5)
    assert limiter.allow("a")
    for _ in range(20):  # refused by the minute: none of these counts in the second
        assert not limiter.allow("a")
    refused = limiter.check("a")
    assert refused.limit == 3
    assert refused.window == 60
    limiter.refund("a", 1)
    assert limiter.allow("a")


def test_result_is_of_the_quota_with_the_longest_wait(RateLimiter, clock):
    limiter = RateLimiter("4/second", "10/minute", clock=clock)
    first = limiter.check("a")
    assert (first.allowed, first.limit, first.remaining, first.retry_after) == (True, 4, 3, 0.0)
    assert first.reset_after == 0.25
    assert limiter.check("a", 3).remaining == 0
    refused = limiter.check("a")
    assert (refused.allowed, refused.limit, refused.retry_after) == (False, 4, 0.25)
    clock.advance(1)
    assert limiter.allow("a", 4)
    clock.advance(1)
    shared = limiter.check("a", 2)
    assert (shared.limit, shared.remaining) == (10, 0)  # 2 of 4 are left there, 0 of 10 here
    refused = limiter.check("a", 3)
    assert (refused.limit, refused.window) == (10, 60)
    assert refused.retry_after == limiter.retry_after("a", 3)


def test_burst_is_what_a_token_bucket_gives_at_once(RateLimiter, clock):
    limiter = RateLimiter(Quota(10, burst=30), clock=clock)
    assert drain(limiter, "a") == 30
    clock.advance(1)
    assert drain(limiter, "a") == 10
    assert limiter.check("b").limit == 30
    assert limiter.check("b").window == 3.0


@every_algorithm
def test_retry_after_is_exact_to_the_nanosecond(RateLimiter, clock, algorithm):
    limiter = RateLimiter("7/second", "30/11s", algorithm=algorithm, clock=clock)
    for _ in range(20):
        clock.advance(0.3)
        drain(limiter, "a")
        wait = round(limiter.retry_after("a", 2) * NANOSECONDS)
        assert round(limiter.check("a", 2).retry_after * NANOSECONDS) == wait > 0
        clock.now += wait - 1
        assert not limiter.allow("a", 2)
        clock.now += 1
        assert limiter.retry_after("a", 2) == 0
        assert limiter.allow("a", 2)


@every_algorithm
def test_reset_after_is_when_the_key_is_idle(RateLimiter, clock, algorithm):
    limiter = RateLimiter("7/second", algorithm=algorithm, clock=clock)
    limiter.allow("a", 3)
    left = round(limiter.check("a", 2).reset_after * NANOSECONDS)
    clock.now += left - 1
    assert limiter.sweep() == 0
    clock.now += 2  # a hit of a sliding window counts up to and with its last nanosecond
    assert limiter.sweep() == 1


@every_algorithm
def test_peek_and_retry_after_take_nothing(RateLimiter, clock, algorithm):
    limiter = RateLimiter("2/second", algorithm=algorithm, clock=clock)
    assert limiter.peek("a").remaining == 2
    assert limiter.retry_after("a", 2) == 0
    assert len(limiter) == 0
    limiter.allow("a", 2)
    for _ in range(3):
        assert not limiter.peek("a")
        assert limiter.peek("a").count == 2
    assert limiter.stats()[:2] == (1, 0)


@every_algorithm
def test_refund_gives_back_no_more_than_is_in_use(RateLimiter, clock, algorithm):
    limiter = RateLimiter("5/second", algorithm=algorithm, clock=clock)
    limiter.refund("a", 5)
    assert len(limiter) == 0
    limiter.allow("a", 3)
    limiter.refund("a", 1)
    assert limiter.peek("a").remaining == 3
    limiter.refund("a", 5)
    assert limiter.peek("a").remaining == 5
    assert drain(limiter, "a") == 5


@every_algorithm
def test_reset_forgets_what_a_key_has_used(RateLimiter, clock, algorithm):
    limiter = RateLimiter("2/second", algorithm=algorithm, clock=clock)
    drain(limiter, "a")
    drain(limiter, "b")
    limiter.reset("a")
    limiter.reset("unknown")
    assert drain(limiter, "a") == 2
    assert not limiter.allow("b")


@every_algorithm
def test_clear_forgets_everything_but_what_was_counted(RateLimiter, clock, algorithm):
    limiter = RateLimiter("2/second", algorithm=algorithm, clock=clock)
    drain(limiter, "a")
    limiter.set_quota("b", "1/s")
    limiter.clear()
    assert len(limiter) == 0
    assert drain(limiter, "a") == drain(limiter, "b") == 2
    assert limiter.stats()[:2] == (6, 3)


@every_algorithm
def test_clock_going_back_counts_as_standing_still(RateLimiter, clock, algorithm):
    limiter = RateLimiter("4/second", algorithm=algorithm, clock=clock)
    clock.advance(10)
    assert limiter.allow("a", 3)
    clock.advance(-9)
    assert limiter.peek("a").remaining == 1
    assert limiter.sweep() == 0
    assert drain(limiter, "a") == 1
    clock.advance(9)
    assert not limiter.allow("a")
    clock.advance(2)
    assert drain(limiter, "a") == 4


def test_forgotten_key_gains_nothing_by_a_clock_that_goes_back(RateLimiter, clock):
    limiter = RateLimiter("1/second; burst=10", clock=clock)
    limiter.allow("a", 8)
    clock.advance(8)
    assert limiter.sweep() == 1
    clock.advance(-7)
    assert drain(limiter, "a") == 10
    clock.advance(7)
    assert drain(limiter, "a") == 0


def test_system_clock_is_used_when_none_is_given(RateLimiter):
    limiter = RateLimiter("1/hour")
    assert limiter.allow("a")
    assert 3590 < limiter.retry_after("a") <= 3600


# ---- bad input ----


@pytest.mark.parametrize("method", ["allow", "check", "retry_after", "refund", "acquire"])
def test_n_that_can_never_be_allowed_is_refused(RateLimiter, clock, method):
    limiter = RateLimiter("5/second", "9/minute", clock=clock)
    limiter.allow("known")
    for key in ("known", "new"):
        call = getattr(limiter, method)
        for n in (0, -1, 6, 2**31, 2**32 + 1, 2**63, 2**64 + 1, -(2**70)):
            with pytest.raises(ValueError, match=f"n must be >= 1 and <= limit 5, got {n}") as refused:
                call(key, n)
            assert isinstance(refused.value, PenstockError)
        with pytest.raises(PenstockError, match="limit 5, got an int of 16610 bits"):
            call(key, 10**5000)
        for n in (True, 1.0, None, "1"):
            with pytest.raises(TypeError, match=f"n must be an int, got {type(n).__name__}"):
                call(key, n)
    assert len(limiter) == 1
    assert limiter.peek("known").remaining == 4


@pytest.mark.parametrize("method", ["allow", "check", "peek", "retry_after", "refund", "reset", "acquire"])
def test_unhashable_key_is_refused_as_by_a_dict(RateLimiter, method):
    limiter = RateLimiter("5/second")
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        getattr(limiter, method)([])
    assert limiter.stats() == LimiterStats(0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("quotas", "options", "error", "message"),
    [
        ((), {}, ValueError, "a limiter must have 1 to 8 quotas, got 0"),
        (("1/s",) * 9, {}, ValueError, "a limiter must have 1 to 8 quotas, got 9"),
        ((5,), {}, TypeError, "a quota must be a Quota or a string, got int"),
        (("1/s",), {"maxsize": 0}, ValueError, "maxsize must be >= 1 and <= 1073741824 keys, got 0"),
        (("1/s",), {"maxsize": 2**40}, ValueError, "maxsize must be >= 1 and <= 1073741824 keys"),
        (("1/s",), {"maxsize": 10**5000}, ValueError, "1073741824 keys, got an int of 16610 bits"),
        (("1/s",), {"maxsize": 1.5}, TypeError, "maxsize must be an integer, got float"),
        (("1/s",), {"on_full": "x"}, ValueError, "on_full must be one of evict_idle, reject, raise, got 'x'"),
        (("1/s",), {"clock": 5}, TypeError, "clock must be callable or None, got int"),
        (
            ("1/s",),
            {"algorithm": "gcra"},
            ValueError,
            f"algorithm must be one of {', '.join(ALGORITHMS)}, got 'gcra'",
        ),
        (
            ("5/s; burst=9",),
            {"algorithm": "fixed_window"},
            ValueError,
            "burst must be the limit, 5, for fixed_window, got 9",
        ),
    ],
)
def test_impossible_limiters_are_refused(RateLimiter, quotas, options, error, message):
    with pytest.raises(error, match=re.escape(message)) as refused:
        RateLimiter(*quotas, **options)
    assert isinstance(refused.value, PenstockError)


def test_limiter_can_be_neither_copied_nor_pickled(RateLimiter):
    limiter = RateLimiter("5/second")
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="RateLimiter must not be copied or pickled"):
            attempt(limiter)


def test_repr_and_attributes_say_what_it_is(RateLimiter):
    limiter = RateLimiter("5/second", Quota(100, 60.0, burst=7), maxsize=9, on_full="reject", shadow=True)
    assert (
        repr(limiter) == "RateLimiter('5/second', '100/minute; burst=7', algorithm='token_bucket', maxsize=9)"
    )
    assert limiter.quotas == (Quota(5), Quota(100, 60.0, burst=7))
    assert (limiter.maxsize, limiter.on_full, limiter.shadow) == (9, "reject", True)
    assert bool(limiter)
    assert len(limiter) == 0


# ---- room ----


def test_idle_keys_are_swept_while_others_come(RateLimiter, clock):
    limiter = RateLimiter("10/second", maxsize=1_000, clock=clock)
    for number in range(20_000):  # each is idle a tenth of a second, a hundred keys, later
        clock.advance(0.001)
        assert limiter.allow(number)
        assert len(limiter) <= 400
    assert limiter.stats().evicted == 0


def test_sweep_forgets_all_idle_keys_and_only_those(RateLimiter, clock):
    limiter = RateLimiter("1/second", clock=clock)
    for number in range(5_000):
        limiter.allow(number)
    clock.advance(0.5)
    for number in range(5_000, 5_100):
        limiter.allow(number)
    clock.advance(0.5)
    assert limiter.sweep() > 0
    assert limiter.stats().swept == 5_000
    assert len(limiter) == 100
    assert not any(limiter.allow(number) for number in range(5_000, 5_100))


@every_algorithm
def test_sweep_gives_memory_back(clock, algorithm):
    limiter = load(MODULE, "c")("1/second", algorithm=algorithm, clock=clock)
    new = sys.getsizeof(limiter)
    for number in range(5_000):
        limiter.allow(number)
    assert sys.getsizeof(limiter) > new + 5_000 * 24
    clock.advance(0.9)
    limiter.allow("stays")
    clock.advance(1.1)
    limiter.allow("stays")
    limiter.sweep()
    assert sys.getsizeof(limiter) < new + 2_000
    clock.advance(2.1)
    assert limiter.sweep() == 1
    assert sys.getsizeof(limiter) == new


@every_algorithm
def test_limited_key_is_never_forgotten_however_many_others_come(RateLimiter, clock, algorithm):
    limiter = RateLimiter("2/minute", maxsize=100, algorithm=algorithm, clock=clock)
    assert drain(limiter, "victim") == 2
    for number in range(5_000):
        limiter.allow(number, 1 + number % 2)
        assert len(limiter) <= 100
    assert not limiter.allow("victim")


def test_full_of_limited_keys_refuses_newcomers_and_says_when_to_come(RateLimiter, clock):
    limiter = RateLimiter("1/second", maxsize=10, clock=clock)
    assert all(limiter.allow(number) for number in range(10))
    refused = limiter.check("new")
    assert (refused.allowed, refused.limit, refused.remaining) == (False, 1, 0)
    assert refused.retry_after == 1.0
    assert not limiter.allow("new")
    assert len(limiter) == 10
    clock.advance(1)
    assert limiter.allow("new")


def test_key_that_is_idle_first_makes_room(RateLimiter, clock):
    limiter = RateLimiter("5/second", maxsize=3, clock=clock)
    limiter.allow("a", 4)
    limiter.allow("b", 2)
    limiter.allow("c", 5)
    assert limiter.allow("d", 5)
    assert limiter.stats().evicted == 1
    assert limiter.peek("a").remaining == 1
    assert limiter.peek("b").remaining == 5  # forgotten
    assert not limiter.peek("c")


@every_algorithm
def test_reject_refuses_newcomers_until_a_key_is_idle(RateLimiter, clock, algorithm):
    limiter = RateLimiter("5/second", maxsize=2, on_full="reject", algorithm=algorithm, clock=clock)
    limiter.allow("a")
    limiter.allow("b", 2)
    refused = limiter.check("c")
    assert not refused
    assert len(limiter) == 2
    clock.now += round(refused.retry_after * NANOSECONDS) - 1
    assert not limiter.allow("c")
    clock.now += 1
    assert limiter.allow("c")
    assert limiter.stats().evicted == 0


def test_raise_raises_limiter_full(RateLimiter, clock):
    limiter = RateLimiter("5/second", maxsize=1, on_full="raise", clock=clock)
    limiter.allow("a")
    for method in ("allow", "check", "acquire"):
        with pytest.raises(LimiterFull, match="the limiter holds maxsize 1 keys, and none that may be"):
            getattr(limiter, method)("b")
    assert limiter.allow("a")
    assert limiter.peek("b")
    clock.advance(1)
    assert limiter.allow("b")


def test_full_table_costs_at_most_forty_bytes_a_key():
    limiter = load(MODULE, "c")("1/hour", maxsize=100_000)
    limiter.allow_many(range(100_000))
    assert len(limiter) == 100_000
    assert sys.getsizeof(limiter) <= 40 * 100_000


def test_colliding_hashes_are_told_apart(RateLimiter, clock):
    limiter = RateLimiter("2/second", maxsize=50, clock=clock)
    keys = [Key(number, hashed=7) for number in range(50)]
    for key in keys:
        assert drain(limiter, key) == 2
    for number in range(50):
        assert not limiter.allow(Key(number, hashed=7))
    for key in keys[::2]:
        limiter.reset(key)
    assert [limiter.peek(key).remaining for key in keys] == [2, 0] * 25


def test_chosen_ints_do_not_meet_in_the_table():
    """Multiples of what a table might multiply with, and of powers of two: all in time that a test has."""
    for step in (1, 2**20, 2**32, 2**40, 0x9E3779B97F4A7C15):
        limiter = load(MODULE, "c")("1/hour", maxsize=50_000)
        for number in range(50_000):
            limiter.allow(number * step & (2**61 - 1))
        assert len(limiter) == 50_000


# ---- own quotas ----


@every_algorithm
def test_key_may_have_quotas_of_its_own(RateLimiter, clock, algorithm):
    limiter = RateLimiter("2/second", algorithm=algorithm, clock=clock)
    limiter.set_quota("vip", "10/second", "100/minute")
    assert drain(limiter, "vip") == 10
    assert limiter.peek("vip").limit == 10
    assert limiter.allow("other", 2)
    with pytest.raises(ValueError, match="n must be >= 1 and <= limit 10, got 11"):
        limiter.allow("vip", 11)
    clock.advance(100)
    assert limiter.check("vip", 10)
    assert limiter.sweep() == 1  # the other one
    assert len(limiter) == 1
    assert limiter.remove_quota("vip")
    assert not limiter.remove_quota("vip")
    assert limiter.check("vip").limit == 2


@every_algorithm
def test_nobody_gains_by_a_change_of_quotas(RateLimiter, clock, algorithm):
    limiter = RateLimiter("5/second", algorithm=algorithm, clock=clock)
    limiter.allow("a", 3)
    limiter.set_quota("a", "10/second")
    assert limiter.peek("a").remaining == 7
    limiter.allow("a", 4)
    limiter.set_quota("a", "20/second", "8/minute")
    assert limiter.peek("a").remaining == 1
    limiter.set_quota("a", "2/second")
    assert not limiter.allow("a")
    limiter.remove_quota("a")
    assert limiter.peek("a").remaining == 3
    limiter.set_quota("a", "9/second")
    limiter.reset("a")
    assert drain(limiter, "a") == 9
    limiter.refund("a", 2)
    assert limiter.retry_after("a", 2) == 0


def test_own_quotas_are_bounded_by_maxsize(RateLimiter, clock):
    limiter = RateLimiter("5/second", maxsize=2, clock=clock)
    limiter.set_quota("a", "9/second")
    limiter.set_quota("b", "9/second")
    limiter.set_quota("a", "8/second")
    with pytest.raises(LimiterFull, match="maxsize 2 keys have quotas of their own"):
        limiter.set_quota("c", "9/second")
    assert len(limiter) == 2


def test_own_quotas_stay_when_there_is_no_room_to_carry_over(RateLimiter, clock):
    limiter = RateLimiter("1/second", maxsize=1, clock=clock)
    limiter.set_quota("a", "9/second")
    limiter.allow("a")
    limiter.allow("b")
    with pytest.raises(LimiterFull, match="the limiter holds maxsize 1 keys"):
        limiter.remove_quota("a")
    assert limiter.peek("a").remaining == 8


def test_impossible_own_quotas_are_refused_and_change_nothing(RateLimiter, clock):
    limiter = RateLimiter("5/second", algorithm="sliding_window", clock=clock)
    limiter.allow("a", 3)
    for quotas in ((), ("x",), ("5/s; burst=7",)):
        with pytest.raises(ValueError, match=r"quota|burst"):
            limiter.set_quota("a", *quotas)
    assert limiter.peek("a").remaining == 2


# ---- shadow ----


@every_algorithm
def test_shadow_refuses_nothing_and_counts_everything(RateLimiter, clock, algorithm):
    limiter = RateLimiter("2/second", algorithm=algorithm, shadow=True, clock=clock)
    assert all(limiter.allow("a") for _ in range(5))
    assert limiter.stats()[:2] == (2, 3)
    shown = limiter.check("a")
    assert shown.allowed
    assert shown.retry_after > 0
    assert limiter.peek("a").retry_after > 0
    assert limiter.allow_many(["a"] * 3).all()
    assert limiter.acquire("a", timeout=0)
    assert limiter.stats()[:2] == (2, 8)


def test_shadow_lets_newcomers_through_that_find_no_room(RateLimiter, clock):
    limiter = RateLimiter("1/second", maxsize=1, shadow=True, clock=clock)
    limiter.allow("a")
    assert limiter.allow("b")
    assert limiter.check("b").allowed
    assert len(limiter) == 1
    assert limiter.stats()[:2] == (1, 2)


# ---- batches ----


@every_algorithm
def test_allow_many_decides_as_a_loop_of_allow_would(RateLimiter, clock, algorithm):
    batch, single = (RateLimiter("3/second", "5/minute", algorithm=algorithm, clock=clock) for _ in range(2))
    keys = [f"client-{number * number % 7}" for number in range(50)]
    for n in (1, 2):
        answers = batch.allow_many(keys, n)
        assert answers.dtype == numpy.bool_
        assert answers.tolist() == [single.allow(key, n) for key in keys]
        clock.advance(1)
    assert batch.stats() == single.stats()


def test_allow_many_takes_lists_tuples_and_arrays(RateLimiter, clock):
    limiter = RateLimiter("1/second", clock=clock)
    assert limiter.allow_many([1, 2, 1]).tolist() == [True, True, False]
    assert limiter.allow_many((2, 3)).tolist() == [False, True]
    assert limiter.allow_many(numpy.array([3, 4], dtype=numpy.int64)).tolist() == [False, True]
    assert limiter.allow_many(numpy.array(["a", "a"])).tolist() == [True, False]
    assert limiter.allow_many(range(4, 6)).tolist() == [False, True]
    assert limiter.allow_many([]).shape == (0,)
    assert not limiter.allow("a")


def test_allow_many_reads_the_clock_once(RateLimiter, clock):
    def ticking():
        clock.now += NANOSECONDS
        return clock.now

    limiter = RateLimiter("1/second", clock=ticking)
    assert limiter.allow_many(["a"] * 3).tolist() == [True, False, False]


def test_allow_many_writes_into_out(RateLimiter, clock):
    limiter = RateLimiter("1/second", clock=clock)
    out = numpy.zeros(3, dtype=bool)
    assert limiter.allow_many(["a", "a", "b"], out=out) is out
    assert out.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (numpy.zeros(2, dtype=bool), ValueError, "out must have shape (3,), got (2,)"),
        (numpy.zeros((3, 1), dtype=bool), ValueError, "out must have shape (3,), got (3, 1)"),
        (numpy.zeros(6, dtype=bool)[::2], ValueError, "out must be contiguous and writeable"),
        (numpy.frombuffer(b"\0\0\0", dtype=bool), ValueError, "out must be contiguous and writeable"),
        (numpy.zeros(3, dtype=numpy.int8), TypeError, "out must be a numpy array of bool, got array of int8"),
        ([False] * 3, TypeError, "out must be a numpy array of bool, got list"),
    ],
)
def test_impossible_out_is_refused_and_nothing_decided(RateLimiter, out, error, message):
    limiter = RateLimiter("1/second")
    with pytest.raises(error, match=re.escape(message)):
        limiter.allow_many(["a", "b", "c"], out=out)
    assert len(limiter) == 0


def test_keys_that_are_no_sequence_are_refused(RateLimiter):
    limiter = RateLimiter("1/second")
    for keys in ("abc", b"abc", 5, {"a": 1}, iter(["a"])):
        with pytest.raises(TypeError, match=f"keys must be a list, a tuple .* got {type(keys).__name__}"):
            limiter.allow_many(keys)
    with pytest.raises(ValueError, match="keys must have one dimension, got 2"):
        limiter.allow_many(numpy.zeros((2, 2), dtype=int))


def test_error_within_a_batch_names_the_key_and_keeps_what_is_decided(RateLimiter, clock):
    limiter = RateLimiter("1/second", clock=clock)
    out = numpy.zeros(4, dtype=bool)
    with pytest.raises(TypeError, match="unhashable") as raised:
        limiter.allow_many(["a", "b", [], "c"], out=out)
    assert raised.value.__notes__ == [
        "allow_many: keys[2]; the keys before it are decided, the others are not"
    ]
    assert out.tolist() == [True, True, False, False]
    assert not limiter.allow("a")
    assert limiter.allow("c")
    with pytest.raises(ValueError, match="n must be >= 1 and <= limit 1, got 2"):
        limiter.allow_many(["d"], 2)


# ---- code of the user in the middle ----


def test_comparison_may_use_the_limiter(RateLimiter, clock):
    limiter = RateLimiter("100/second", maxsize=40, clock=clock)
    actions = deque(
        [
            lambda: [limiter.allow(("other", number)) for number in range(60)],
            limiter.sweep,
            limiter.clear,
            lambda: limiter.reset(Key("b", 1)),
            lambda: limiter.set_quota(Key("a", 1), "7/second"),
            lambda: limiter.remove_quota(Key("a", 1)),
        ]
        * 3
    )
    depth = 0

    def act():
        nonlocal depth
        if depth == 0 and actions:
            depth += 1
            actions.popleft()()
            depth -= 1

    for number in range(40):
        limiter.allow(Key("ab"[number % 2], 1, act))
        limiter.check(Key("c", 1, act))
        limiter.peek(Key("b", 1, act))
        limiter.refund(Key("b", 1, act))
        limiter.allow_many([Key("d", 1, act), "x"])
    assert not actions
    limiter.clear()
    assert drain(limiter, Key("a", 1), 10) == 100


@pytest.mark.parametrize("call", ["allow", "check", "peek", "reset", "set_quota", "remove_quota"])
@pytest.mark.parametrize("change", ["clear", "remove_quota", "fail"])
def test_comparison_may_take_own_quotas_away(RateLimiter, clock, call, change):
    limiter = RateLimiter("5/second", clock=clock)
    armed = False

    def act():
        nonlocal armed
        if not armed:
            return
        armed = False
        if change == "fail":
            raise RuntimeError("no answer")
        if change == "clear":
            limiter.clear()
            gc.collect()
        else:
            limiter.remove_quota(Key("own"))

    for _ in range(20):
        limiter.set_quota(Key("own"), "9/second")
        arguments = ("7/second",) if call == "set_quota" else ()
        armed = True
        with suppress(RuntimeError):
            getattr(limiter, call)(Key("own", on_compare=act), *arguments)
        armed = False
    limiter.clear()
    assert drain(limiter, Key("own")) == 5


def test_error_of_a_comparison_comes_through_and_takes_nothing(RateLimiter, clock):
    limiter = RateLimiter("5/second", clock=clock)
    limiter.allow(Key("a"))

    def fail():
        raise RuntimeError("no answer")

    for call in (limiter.allow, limiter.check, limiter.peek, limiter.reset, limiter.retry_after):
        with pytest.raises(RuntimeError, match="no answer"):
            call(Key("b", on_compare=fail))
    assert limiter.peek(Key("a")).remaining == 4
    assert len(limiter) == 1


def test_error_of_a_clock_comes_through_and_takes_nothing(RateLimiter, clock):
    limiter = RateLimiter("5/second", clock=lambda: clock())
    broken = limiter
    limiter.allow("a")
    now, clock = clock, lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        broken.allow("a")
    clock = now
    assert limiter.peek("a").remaining == 4


def test_destructor_of_a_forgotten_key_may_use_the_limiter(RateLimiter, clock):
    limiter = RateLimiter("1/second", maxsize=20, clock=clock)
    gone = []

    class Dying(Key):
        __hash__ = Key.__hash__

        def __del__(self):
            gone.append(self.name)
            limiter.allow(("after", self.name))

    for number in range(200):
        limiter.allow(Dying(number, number))
        clock.advance(0.2)
    limiter.sweep()
    limiter.clear()
    assert sorted(set(gone)) == list(range(200))
    assert len(limiter) <= 20


def test_keys_that_lead_back_to_the_limiter_are_collected(RateLimiter):
    limiter = RateLimiter("5/second")
    key = Key("a")
    key.limiter = limiter
    limiter.allow(key)
    limiter.set_quota(Key("b", 1), "9/second")
    gone = weakref.ref(limiter), weakref.ref(key)
    del limiter, key
    gc.collect()
    assert [each() for each in gone] == [None, None]


def test_keys_are_given_back(RateLimiter, clock):
    limiter = RateLimiter("1/second", maxsize=50, clock=clock)
    keys = [Key(number, number) for number in range(300)]
    held = [weakref.ref(key) for key in keys]
    for key in keys:
        limiter.allow(key)
    limiter.allow_many(keys)
    clock.advance(1)
    limiter.sweep()
    del keys, key
    assert [each() for each in held] == [None] * 300


def test_making_it_anew_forgets_everything(RateLimiter, clock):
    limiter = RateLimiter("1/second", clock=clock)
    limiter.allow("a")
    limiter.set_quota("b", "2/s")
    limiter.__init__("5/second", clock=clock)
    assert len(limiter) == 0
    assert drain(limiter, "a") == drain(limiter, "b") == 5


# ---- threads ----


@every_algorithm
def test_threads_share_a_limiter_exactly(RateLimiter, clock, algorithm):
    limiter = RateLimiter("1000/hour", "1500/day", algorithm=algorithm, clock=clock)
    taken = {key: [] for key in "abc"}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def take():
        for key, each in taken.items():
            each.append(sum(limiter.allow(key) for _ in range(250)))

    try:
        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert [sum(each) for each in taken.values()] == [1_000] * 3


def test_threads_that_flood_do_not_free_a_limited_key(RateLimiter, clock):
    limiter = RateLimiter("2/hour", maxsize=64, clock=clock)
    drain(limiter, "victim")
    freed = []

    def flood(thread):
        for number in range(2_000):
            limiter.allow((thread, number), 1 + number % 2)
            if number % 100 == 0:
                freed.append(limiter.allow("victim"))
                limiter.sweep()

    threads = [threading.Thread(target=flood, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(freed)


# ---- waiting ----


def test_acquire_takes_what_is_there_at_once(RateLimiter, clock):
    limiter = RateLimiter("3/second", clock=clock)
    assert limiter.acquire("a", 2)
    assert limiter.acquire("a", timeout=0)
    assert not limiter.acquire("a", timeout=0)
    assert limiter.peek("a").remaining == 0
    assert limiter.acquire("b", timeout=0)


def test_acquire_waits_for_its_units(RateLimiter):
    limiter = RateLimiter("200/second; burst=1")
    assert limiter.acquire("a")
    assert all(limiter.acquire("a", timeout=30) for _ in range(5))
    assert limiter.stats().allowed == 6


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_impossible_timeout_is_refused_and_holds_nobody_up(RateLimiter, clock, timeout):
    limiter = RateLimiter("1/second", clock=clock)
    limiter.allow("a")
    with pytest.raises(ValueError, match="timeout must be >= 0 seconds or None"):
        limiter.acquire("a", timeout=timeout)
    with pytest.raises(ValueError, match="timeout must be >= 0 seconds or None"):
        asyncio.run(limiter.acquire_async("a", timeout=timeout))
    clock.advance(1)
    assert limiter.allow("a")


async def test_those_who_wait_are_served_in_order_and_before_others(RateLimiter):
    limiter = RateLimiter("50/second; burst=1")
    assert limiter.allow("a")
    served = []

    async def wait(name):
        assert await limiter.acquire_async("a")
        served.append(name)

    waiting = [asyncio.create_task(wait(name)) for name in range(5)]
    await asyncio.sleep(0)
    refused = limiter.check("a")
    assert not refused
    assert refused.retry_after > 0
    assert not limiter.peek("a")
    assert limiter.allow("b")
    await asyncio.gather(*waiting)
    assert served == list(range(5))
    assert limiter.retry_after("a") > 0  # taken by the last one


async def test_cancelled_wait_takes_nothing_and_lets_the_next_one_go(RateLimiter):
    limiter = RateLimiter("20/second; burst=2")
    assert limiter.allow("a", 2)
    first = asyncio.create_task(limiter.acquire_async("a", 2))
    second = asyncio.create_task(limiter.acquire_async("a", 1))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert limiter.stats().allowed == 2


def test_key_that_was_forgotten_while_somebody_waited_late_gains_nothing(RateLimiter, clock):
    """Whoever waits is granted at the moment that was due, but not at one before the key was forgotten."""
    limiter = RateLimiter("1/second; burst=10", clock=clock)
    start = clock()
    limiter.allow("a", 8)
    clock.advance(9)
    assert limiter.sweep() == 1
    assert limiter._take_at("a", 3, start + NANOSECONDS) == 0
    assert limiter.peek("a").remaining == 7


# ---- decorator ----


def test_decorated_function_raises_when_it_is_limited(RateLimiter, clock):
    limiter = RateLimiter("2/second", clock=clock)

    @limiter.limit()
    def greet(name, *, loud=False):
        """Says hello."""
        return f"hello {name}{'!' if loud else ''}"

    assert greet("a", loud=True) == "hello a!"
    assert greet("b") == "hello b"
    with pytest.raises(RateLimitExceeded) as refused:
        greet("c")
    assert refused.value.retry_after == 0.5
    assert refused.value.key == f"{__name__}.{greet.__qualname__}"
    assert (greet.__name__, greet.__doc__) == ("greet", "Says hello.")
    assert list(inspect.signature(greet).parameters) == ["name", "loud"]


def test_decorator_finds_the_key_in_the_arguments(RateLimiter, clock):
    limiter = RateLimiter("2/second", clock=clock)

    @limiter.limit(lambda user, **_: user, n=2)
    def fetch(user, **options):
        return user

    assert fetch("a", x=1) == "a"
    assert fetch("b") == "b"
    with pytest.raises(RateLimitExceeded, match="for 'a'"):
        fetch("a")


def test_constant_key_is_shared_by_functions(RateLimiter, clock):
    limiter = RateLimiter("2/second", clock=clock)
    first, second = limiter.limit("both")(lambda: 1), limiter.limit("both")(lambda: 2)
    assert (first(), second()) == (1, 2)
    with pytest.raises(RateLimitExceeded):
        first()


async def test_coroutine_function_stays_one(RateLimiter, clock):
    limiter = RateLimiter("1/second", clock=clock)

    @limiter.limit("k")
    async def fetch(value):
        return value

    assert inspect.iscoroutinefunction(fetch)
    assert await fetch(5) == 5
    with pytest.raises(RateLimitExceeded):
        await fetch(5)


async def test_decorated_functions_may_wait(RateLimiter):
    limiter = RateLimiter("100/second; burst=1")

    @limiter.limit("k", on_limited="wait")
    async def fetch():
        return 1

    @limiter.limit("k", on_limited="wait")
    def blocking():
        return 2

    assert [await fetch() for _ in range(3)] == [1, 1, 1]
    assert [blocking() for _ in range(3)] == [2, 2, 2]
    assert limiter.stats().allowed == 6


def test_impossible_decorations_are_refused(RateLimiter):
    limiter = RateLimiter("2/second")
    with pytest.raises(ValueError, match="on_limited must be raise or wait, got 'drop'"):
        limiter.limit(on_limited="drop")
    with pytest.raises(ValueError, match="n must be >= 1 and <= 1073741824, got 0"):
        limiter.limit(n=0)
    with pytest.raises(TypeError, match="n must be an int, got float"):
        limiter.limit(n=1.5)
    with pytest.raises(TypeError, match="unhashable"):
        limiter.limit([])
    with pytest.raises(TypeError, match="decorates functions"):
        limiter.limit()(5)

    async def numbers():
        yield 1

    with pytest.raises(TypeError, match="async generator"):
        limiter.limit()(numbers)


# ---- against an oracle, and each other ----

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["check"] * 4
            + [
                "allow",
                "peek",
                "retry_after",
                "refund",
                "reset",
                "sweep",
                "clear",
                "set_quota",
                "remove_quota",
            ]
        ),
        st.sampled_from("abcd"),
        st.integers(1, 3),
        st.integers(-(10**9), 2 * 10**9) | st.integers(0, 10),
    ),
    max_size=60,
)
quota_sets = st.lists(
    st.builds(Quota, st.integers(3, 12), st.sampled_from([0.5, 1.0, 7.0, 1e-6, 86_400.0])),
    min_size=1,
    max_size=3,
)


@given(st.sampled_from(ALGORITHMS), quota_sets, quota_sets, steps)
def test_twins_agree_decision_by_decision(algorithm, quotas, own, steps):
    clock = ManualClock(now=5 * NANOSECONDS)
    compiled, plain = (load(MODULE, impl)(*quotas, algorithm=algorithm, clock=clock) for impl in ("c", "py"))
    for method, key, n, passed in steps:
        clock.now += passed
        arguments = {
            "peek": (key,), "reset": (key,), "remove_quota": (key,), "sweep": (), "clear": (),
            "set_quota": (key, *own),
        }.get(method, (key, n))  # fmt: skip
        answers = [getattr(limiter, method)(*arguments) for limiter in (compiled, plain)]
        if method != "sweep":  # some were swept before, not the same
            assert repr(answers[0]) == repr(answers[1])
    assert compiled.stats()[:2] == plain.stats()[:2]
    assert compiled.sweep() >= 0
    plain.sweep()
    assert len(compiled) == len(plain)


class OneBucketEach(RuleBasedStateMachine):
    """The compiled limiter against a dict of buckets, and a clock that only the limiter sees going back."""

    keys = st.integers(0, 30)

    @initialize(rate=st.integers(1, 50), burst=st.integers(1, 20))
    def make(self, rate, burst):
        self.clock, self.steady = ManualClock(10**9), ManualClock(10**9)
        self.rate, self.burst = rate, burst
        self.limiter = load(MODULE, "c")(Quota(rate, burst=burst), clock=self.clock)
        self.buckets = {}

    def bucket(self, key):
        if key not in self.buckets:
            self.buckets[key] = TokenBucket(self.rate, self.burst, clock=self.steady)
        return self.buckets[key]

    @rule(passed=st.integers(-(10**9), 2 * 10**9))
    def time_passes(self, passed):
        self.clock.now += passed
        self.steady.now = max(self.steady.now, self.clock.now)

    @rule(key=keys, n=st.integers(1, 20))
    def one_asks(self, key, n):
        if n <= self.burst:
            # a bucket that is made later has its epoch later, where a tick may begin elsewhere
            wait = self.bucket(key).retry_after(n)
            if not 0 < wait < 3e-9:
                assert self.limiter.allow(key, n) == self.bucket(key).allow(n)

    @rule(keys=st.lists(keys, max_size=30))
    def many_ask(self, keys):
        close = [key for key in keys if 0 < self.bucket(key).retry_after() < 3e-9]
        if not close:
            expected = [self.bucket(key).allow() for key in keys]
            assert self.limiter.allow_many(keys).tolist() == expected

    @rule()
    def all_is_swept(self):
        self.limiter.sweep()

    @rule(key=keys)
    def one_is_reset(self, key):
        self.limiter.reset(key)
        self.buckets.pop(key, None)

    @invariant()
    def nobody_is_forgotten_who_has_used_something(self):
        if hasattr(self, "limiter"):
            used = sum(bucket.tokens < self.burst - 1e-6 for bucket in self.buckets.values())
            assert len(self.limiter) >= used


TestOneBucketEach = OneBucketEach.TestCase
TestOneBucketEach.settings = settings(max_examples=60, stateful_step_count=40)


@settings(max_examples=60)
@given(
    st.sampled_from(["token_bucket", "sliding_window"]),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 5), st.booleans()), max_size=80),
)
def test_no_stretch_of_time_gets_more_than_the_quota(algorithm, limit, requests):
    for impl in ("c", "py"):
        clock = ManualClock()
        limiter = load(MODULE, impl)(
            Quota(limit), algorithm=algorithm, maxsize=3, on_full="reject", clock=clock
        )
        granted = []
        for gap, n, floods in requests:
            clock.now += gap
            if n <= limit and limiter.allow("key", n):
                granted.append((clock.now, n))
            for other in range(8 if floods else 0):
                limiter.allow(other, limit)
        for i, (start, _) in enumerate(granted):
            taken = 0
            for moment, n in granted[i:]:
                if algorithm == "sliding_window" and moment - start > NANOSECONDS:
                    break
                taken += n
                refilled = 0 if algorithm == "sliding_window" else limit * (moment - start) / NANOSECONDS
                assert taken <= limit + refilled + 1e-6
