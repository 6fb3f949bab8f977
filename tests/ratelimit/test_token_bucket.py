"""What a token bucket promises, on both twins."""

import math
import re
import subprocess
import sys
import threading
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from twins import both_twins, load

MODULE = "penstock.ratelimit.token_bucket"
TokenBucket = both_twins(MODULE)

DAY = 86_400


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


def drain(bucket):
    taken = 0
    while bucket.allow():
        taken += 1
    return taken


def test_full_bucket_allows_its_capacity_and_no_more(TokenBucket, clock):
    bucket = TokenBucket(10, 5, clock=clock)
    assert drain(bucket) == 5
    assert bucket.tokens == 0


def test_tokens_come_back_at_the_rate(TokenBucket, clock):
    bucket = TokenBucket(10, 5, clock=clock)
    drain(bucket)
    clock.advance(0.2)
    assert bucket.tokens == 2
    assert drain(bucket) == 2


def test_idle_bucket_holds_no_more_than_its_capacity(TokenBucket, clock):
    bucket = TokenBucket(10, 5, clock=clock)
    clock.advance(100 * DAY)
    assert bucket.tokens == 5
    assert drain(bucket) == 5


def test_initial_tokens_are_there_at_the_start(TokenBucket, clock):
    bucket = TokenBucket(1, 5, initial=2.5, clock=clock)
    assert bucket.tokens == 2.5
    assert drain(bucket) == 2
    assert TokenBucket(1, 5, initial=0, clock=clock).tokens == 0


def test_several_tokens_are_taken_together_or_not_at_all(TokenBucket, clock):
    bucket = TokenBucket(1, 5, clock=clock)
    assert bucket.allow(3)
    assert not bucket.allow(3)
    assert bucket.tokens == 2
    assert bucket.allow(2)


def test_fractions_of_a_token_can_be_taken(TokenBucket, clock):
    bucket = TokenBucket(1, 1, clock=clock)
    assert bucket.allow(0.25)
    assert bucket.allow(Fraction(3, 4))
    assert not bucket.allow(0.25)


@pytest.mark.parametrize("rate", [7, 1 / 3, Fraction(1, 7), 999_983, 1_000_003.7])
def test_rate_does_not_drift_over_a_day(TokenBucket, clock, rate):
    bucket = TokenBucket(rate, 2_000_000, initial=0, clock=clock)
    given_away = 0
    for _ in range(DAY):
        clock.advance(1)
        whole = math.floor(bucket.tokens)
        if whole:
            assert bucket.allow(whole)
            given_away += whole
    assert given_away == math.floor(Fraction(rate) * DAY)


def test_retry_after_is_exact_to_the_nanosecond(TokenBucket, clock):
    bucket = TokenBucket(7, 3, clock=clock)
    drain(bucket)
    wait = round(bucket.retry_after(2) * NANOSECONDS)
    clock.now += wait - 1
    assert not bucket.allow(2)
    clock.now += 1
    assert bucket.retry_after(2) == 0
    assert bucket.allow(2)


def test_retry_after_takes_nothing(TokenBucket, clock):
    bucket = TokenBucket(1, 2, clock=clock)
    bucket.retry_after(2)
    assert bucket.tokens == 2


def test_clock_going_back_makes_no_tokens_and_takes_none(TokenBucket, clock):
    bucket = TokenBucket(1, 4, clock=clock)
    clock.advance(10)
    assert bucket.allow(4)
    clock.advance(-9)
    assert bucket.tokens == 0
    assert not bucket.allow()
    clock.advance(9)
    assert bucket.tokens == 0
    clock.advance(2)
    assert drain(bucket) == 2


def test_clock_from_before_the_bucket_counts_as_its_start(TokenBucket, clock):
    bucket = TokenBucket(1, 4, initial=1, clock=clock)
    clock.advance(-1000)
    assert bucket.tokens == 1
    assert drain(bucket) == 1


def test_system_clock_is_used_when_none_is_given(TokenBucket):
    bucket = TokenBucket(1e6, 1)
    assert bucket.allow()
    deadline = threading.Event()
    assert not deadline.wait(0.001)  # a thousand tokens' time
    assert bucket.allow()


def test_threads_share_a_bucket_exactly(TokenBucket, clock):
    bucket = TokenBucket(1, 10_000, clock=clock)
    taken = []

    def take():
        taken.append(sum(bucket.allow() for _ in range(5_000)))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 10_000


@pytest.mark.parametrize("impl", ["c", "py"])
def test_signal_handler_may_use_the_bucket_it_interrupts(impl):
    """In a process of its own: a handler that waits for its own thread would hang this one."""
    code = f"""
import signal
from penstock.ratelimit._token_bucket_{impl} import TokenBucket

bucket = TokenBucket(1e9, 1_000)
handled = 0

def handle(number, frame):
    global handled
    handled += 1
    bucket.allow()
    if handled < 500:
        signal.setitimer(signal.ITIMER_REAL, 0.0002)

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0002)
while handled < 500:
    bucket.allow()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "rate must be > 0 and <= 1000000000 per second, got 0"),
        ((-1.5, 1), "rate must be > 0 and <= 1000000000 per second, got -1.5"),
        ((2e9, 1), "rate must be > 0 and <= 1000000000 per second, got 2000000000.0"),
        ((math.nan, 1), "rate must be finite, got nan"),
        ((1, math.inf), "capacity must be finite, got inf"),
        ((1, 0.5), "capacity must be >= 1 token, got 0.5"),
        ((1e-9, 2.0), "capacity / rate must be <= 36 years, got 2.0 / 1e-09"),
        ((10**5000, 1), "rate must be > 0 and <= 1000000000 per second, got an int of 16610 bits"),
        ((1, 10**5000), "capacity / rate must be <= 36 years, got an int of 16610 bits / 1"),
    ],
)
def test_impossible_buckets_are_refused(TokenBucket, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        TokenBucket(*arguments)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize("initial", [-1, 6])
def test_initial_outside_the_bucket_is_refused(TokenBucket, initial):
    with pytest.raises(ValueError, match=f"initial must be >= 0 and <= capacity 5, got {initial}"):
        TokenBucket(1, 5, initial=initial)


@pytest.mark.parametrize("method", ["allow", "retry_after"])
@pytest.mark.parametrize("n", [0, -1, 6, 5.000001, 10**30])
def test_n_that_can_never_be_allowed_is_refused(TokenBucket, clock, method, n):
    bucket = TokenBucket(1, 5, clock=clock)
    with pytest.raises(ValueError, match=f"n must be > 0 and <= capacity 5 tokens, got {n}"):
        getattr(bucket, method)(n)
    assert bucket.tokens == 5


def test_what_is_no_number_is_refused(TokenBucket):
    with pytest.raises(TypeError, match="rate must be a number, got str"):
        TokenBucket("7", 1)
    with pytest.raises(TypeError, match="n must be a number, got NoneType"):
        TokenBucket(7, 1).allow(None)


@pytest.mark.parametrize("n", [Decimal(1), Decimal("0.5"), 1 + 0j])
def test_numbers_of_other_kinds_are_refused_even_if_they_equal_one(TokenBucket, n):
    for method in ("allow", "retry_after"):
        with pytest.raises(TypeError, match=f"n must be a number, got {type(n).__name__}"):
            getattr(TokenBucket(7, 1), method)(n)


def test_clock_that_cannot_be_called_is_refused(TokenBucket):
    with pytest.raises(TypeError, match="clock must be callable or None, got int") as refused:
        TokenBucket(7, 1, clock=5)
    assert isinstance(refused.value, PenstockError)


def test_error_of_a_clock_comes_through_and_takes_nothing(TokenBucket, clock):
    def broken():
        raise RuntimeError("no time")

    source = clock
    bucket = TokenBucket(1, 1, clock=lambda: source())
    source = broken
    with pytest.raises(RuntimeError, match="no time"):
        bucket.allow()
    source = clock
    assert bucket.allow()


def test_repr_names_rate_and_capacity(TokenBucket):
    assert repr(TokenBucket(2.5, 10)) == "TokenBucket(rate=2.5, capacity=10)"


rates = st.one_of(
    st.floats(1e-6, 1e9),
    st.integers(1, 10**9),
    st.fractions(Fraction(1, 10**6), 10**6, max_denominator=10**6),
)
steps = st.lists(
    st.tuples(st.integers(-(10**10), 10**12), st.floats(0.001, 50) | st.integers(1, 50)), max_size=40
)


@given(rates, st.integers(50, 1_000), st.floats(0, 50), steps)
def test_twins_agree_to_the_last_bit(rate, capacity, initial, steps):
    clock = ManualClock()
    try:
        compiled, plain = (
            load(MODULE, impl)(rate, capacity, initial=initial, clock=clock) for impl in ("c", "py")
        )
    except ValueError:
        with pytest.raises(ValueError, match="36 years"):
            load(MODULE, "c")(rate, capacity, initial=initial, clock=clock)
        return
    for nanoseconds, n in steps:
        clock.now += nanoseconds
        assert compiled.tokens == plain.tokens
        assert compiled.retry_after(n) == plain.retry_after(n)
        assert compiled.allow(n) == plain.allow(n)


@given(st.integers(1, 10**6), st.integers(1, 100), st.lists(st.integers(0, 10**9), max_size=60))
def test_no_stretch_of_time_gets_more_than_rate_and_burst_allow(rate, capacity, gaps):
    clock = ManualClock()
    bucket = load(MODULE, "py")(rate, capacity, clock=clock)
    taken = 0
    for gap in gaps:
        clock.now += gap
        taken += sum(bucket.allow() for _ in range(5))
        assert taken <= capacity + Fraction(rate * clock.now, NANOSECONDS) + Fraction(1, 1000)
