"""What exponential backoff promises."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.resilience import ExponentialBackoff


def test_delay_doubles_with_each_failure():
    backoff = ExponentialBackoff(2)
    assert [backoff.delay(failures) for failures in (1, 2, 3)] == [2, 4, 8]


def test_delay_grows_by_the_factor():
    backoff = ExponentialBackoff(0.5, factor=3)
    assert [backoff.delay(failures) for failures in (1, 2, 3)] == [0.5, 1.5, 4.5]


def test_factor_of_one_keeps_the_delay():
    assert ExponentialBackoff(5, factor=1).delay(10**400) == 5


def test_no_delay_exceeds_the_limit():
    backoff = ExponentialBackoff(2, limit=10)
    assert [backoff.delay(failures) for failures in (2, 3, 4, 5)] == [4, 8, 10, 10]


@pytest.mark.parametrize("factor", [math.nextafter(1, 2), 2, 1e308])
def test_a_failure_count_of_any_size_stays_within_the_limit(factor):
    assert ExponentialBackoff(1, factor=factor).delay(10**400) == 60


@pytest.mark.parametrize(
    ("jitter", "least", "most"), [("none", 8, 8), ("equal", 4, 7.2), ("full", 0, 6.4)], ids=str
)
def test_jitter_leaves_nothing_half_or_all_to_chance(jitter, least, most):
    def third_delay(fraction):
        return ExponentialBackoff(2, jitter=jitter, random=lambda: fraction).delay(3)

    assert third_delay(0.0) == least
    assert third_delay(0.8) == pytest.approx(most)


def test_chance_is_applied_to_the_limited_delay():
    assert ExponentialBackoff(2, limit=10, jitter="full", random=lambda: 0.5).delay(99) == 5


@given(
    st.floats(1e-9, 1e6),
    st.floats(1, 1e6),
    st.floats(1, 1e6),
    st.sampled_from(["none", "equal", "full"]),
    st.integers(1, 10**30),
)
def test_every_delay_is_finite_and_within_its_bounds(first, factor, room, jitter, failures):
    limit = first * room
    whole = ExponentialBackoff(first, factor=factor, limit=limit).delay(failures)
    assert first <= whole <= limit
    delay = ExponentialBackoff(first, factor=factor, limit=limit, jitter=jitter).delay(failures)
    assert {"none": whole, "equal": whole / 2, "full": 0}[jitter] <= delay <= whole


@given(st.floats(1, 100), st.integers(1, 5000))
def test_delays_never_shrink_from_one_failure_to_the_next(factor, failures):
    backoff = ExponentialBackoff(0.1, factor=factor)
    assert backoff.delay(failures) <= backoff.delay(failures + 1)


@pytest.mark.parametrize(
    ("first", "settings", "message"),
    [
        (0, {}, "first must be > 0 seconds, got 0"),
        (-1.5, {}, "first must be > 0 seconds, got -1.5"),
        (math.nan, {}, "first must be finite, got nan"),
        (1, {"factor": 0.5}, "factor must be >= 1, got 0.5"),
        (1, {"factor": math.inf}, "factor must be finite, got inf"),
        (5, {"limit": 4}, "limit must be >= first 5 seconds, got 4"),
        (1, {"jitter": "some"}, "jitter must be none, equal or full, got 'some'"),
    ],
)
def test_impossible_settings_are_refused(first, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        ExponentialBackoff(first, **settings)
    assert isinstance(refused.value, PenstockError)


def test_what_is_no_number_is_refused():
    with pytest.raises(TypeError, match="first must be a number, got str"):
        ExponentialBackoff("2")
    with pytest.raises(TypeError, match="failures must be an int, got float"):
        ExponentialBackoff(2).delay(1.0)


@pytest.mark.parametrize("failures", [0, -3])
def test_a_delay_before_any_failure_is_refused(failures):
    with pytest.raises(ValueError, match=f"failures must be >= 1, got {failures}"):
        ExponentialBackoff(2).delay(failures)


def test_equal_settings_make_equal_backoffs():
    assert ExponentialBackoff(2, random=lambda: 0.5) == ExponentialBackoff(2)
    assert repr(ExponentialBackoff(2, jitter="full")) == (
        "ExponentialBackoff(first=2, factor=2.0, limit=60.0, jitter='full')"
    )
