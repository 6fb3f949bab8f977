"""What limiters do with a clock of somebody else that returns what is no int nanoseconds."""

import time

import numpy
import pytest

from penstock import PenstockError
from penstock.clock import ManualClock
from penstock.ratelimit import ConcurrencyLimiter, Quota
from twins import load

ALGORITHMS = ["token_bucket", "sliding_window", "sliding_counter", "fixed_window"]
NAMES = [*ALGORITHMS, "TokenBucket", "SlidingWindow", "SlidingWindowCounter", "SharedRateLimiter"]


@pytest.fixture(params=["c", "py"])
def impl(request):
    return request.param


@pytest.fixture(params=NAMES)
def limiter(request, impl, tmp_path):
    """Makes a limiter of one unit every second by a clock, and returns its `allow` without arguments."""

    def make(clock):
        name = request.param
        if name == "TokenBucket":
            return load("penstock.ratelimit.token_bucket", impl)(1, 1, clock=clock).allow
        if name == "SlidingWindow":
            return load("penstock.ratelimit.sliding_window", impl)(1, clock=clock).allow
        if name == "SlidingWindowCounter":
            return load("penstock.ratelimit.window_counter", impl)(1, clock=clock).allow
        if name == "SharedRateLimiter":
            shared = load("penstock.ratelimit.shared_limiter", impl)
            keyed = shared(Quota(1), path=tmp_path / "shared", slots=32, clock=clock)
        else:
            keyed = load("penstock.ratelimit.limiter", impl)(Quota(1), algorithm=name, clock=clock)
        return lambda: keyed.allow("key")

    return make


@pytest.mark.parametrize("moment", [1.5, None, "1", float("nan"), [1]])
def test_clock_that_returns_no_int_is_an_error_and_takes_nothing(limiter, moment):
    clock = ManualClock(10**9)
    allow = limiter(clock)
    clock.now = moment
    with pytest.raises(TypeError, match=r"^clock must return int nanoseconds, got ") as refused:
        allow()
    assert isinstance(refused.value, PenstockError)
    clock.now = 10**9
    assert allow()


@pytest.mark.parametrize("moment", [1 << 63, -(1 << 63) - 1, 1 << 5000])
def test_clock_beyond_64_bits_is_an_error_and_takes_nothing(limiter, moment):
    clock = ManualClock(10**9)
    allow = limiter(clock)
    clock.now = moment
    with pytest.raises(
        ValueError, match=r"^clock must return nanoseconds of 64 bits, got an int of "
    ) as refused:
        allow()
    assert isinstance(refused.value, PenstockError)
    clock.now = 10**9
    assert allow()


def test_clock_of_seconds_is_refused_at_once(limiter):
    with pytest.raises(TypeError, match="clock must return int nanoseconds, got float"):
        limiter(time.monotonic)


def test_clock_may_return_integers_of_numpy(limiter):
    clock = ManualClock(10**9)
    allow = limiter(clock)
    clock.now = numpy.int64(10**9)
    assert allow()
    assert not allow()
    clock.now = numpy.int64(3 * 10**9 + 1)
    assert allow()


@pytest.mark.parametrize("start", [-(1 << 63), 0, (1 << 63) - 1])
def test_clock_that_jumps_to_the_ends_of_64_bits_mints_no_units(limiter, start):
    clock = ManualClock(start)
    allow = limiter(clock)
    assert allow()
    assert not allow()
    clock.now = -(1 << 63)
    assert not allow()
    clock.now = (1 << 63) - 1
    allowed = sum(allow() for _ in range(10))
    assert allowed == (start != clock.now)
    clock.now = -(1 << 63)
    assert not allow()


def test_concurrency_limiter_says_that_its_clock_returns_no_int():
    limiter = ConcurrencyLimiter(1, clock=time.monotonic)
    assert limiter.try_acquire()
    with pytest.raises(TypeError, match="clock must return int nanoseconds, got float"):
        limiter.acquire(timeout=0)
    assert limiter.waiting == 0
    limiter.release()
    assert limiter.acquire(timeout=0)
