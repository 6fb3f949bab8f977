"""What limiters raise."""

import copy
import pickle

import pytest

from penstock import PenstockError
from penstock.ratelimit import LimiterFull, RateLimitExceeded, RateLimitResult


def exceeded(key="alice", retry_after=9.5, window=10):
    return RateLimitExceeded(key, RateLimitResult(False, 5, 0, retry_after, window, window))


def test_message_says_what_is_allowed_to_whom_and_when():
    assert str(exceeded()) == "at most 5 in 10 s are allowed for 'alice', try again in 9.5 s"
    assert str(exceeded(key=None)) == "at most 5 in 10 s are allowed, try again in 9.5 s"
    assert str(exceeded(key=("10.0.0.1", 80))) == (
        "at most 5 in 10 s are allowed for ('10.0.0.1', 80), try again in 9.5 s"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0005, "0.0005"), (1.23456, "1.23"), (999.4, "999"), (999.6, "1000"), (86_400.7, "86401")],
)
def test_times_have_three_digits_and_no_exponent(seconds, text):
    assert str(exceeded(retry_after=seconds)).endswith(f"try again in {text} s")
    assert f"in {text} s are allowed" in str(exceeded(window=seconds))


def test_long_key_is_cut_short_in_the_message():
    message = str(exceeded(key="k" * 10**6))
    assert message == f"at most 5 in 10 s are allowed for '{'k' * 96}..., try again in 9.5 s"
    assert len(exceeded(key="k" * 10**6).key) == 10**6


def test_refusal_carries_key_and_result():
    error = exceeded()
    assert error.key == "alice"
    assert error.result == RateLimitResult(False, 5, 0, 9.5, 10, 10)
    assert error.retry_after == 9.5


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_refusal_can_be_copied_and_pickled(again):
    error = again(exceeded())
    assert type(error) is RateLimitExceeded
    assert (error.key, error.result, str(error)) == ("alice", exceeded().result, str(exceeded()))


def test_refusals_are_errors_of_penstock_and_runtime_errors():
    for cls in (RateLimitExceeded, LimiterFull):
        assert issubclass(cls, PenstockError)
        assert issubclass(cls, RuntimeError)
    assert str(pickle.loads(pickle.dumps(LimiterFull("full of 5 keys")))) == "full of 5 keys"
