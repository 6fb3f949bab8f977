"""What the outcomes counts, and in how much memory."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.outcomes import Outcomes
from penstock.services.pinger.model import PingResult


def result(status=200, latency_ms=1.0, error=""):
    return PingResult(datetime.now(UTC), "http://x/", status, latency_ms, error, 1)


@pytest.fixture
def outcomes():
    return Outcomes()


def test_outcomes_are_counted_by_status_and_kind_of_error(outcomes):
    for status in (200, 200, 301, 404, 503):
        outcomes.add(result(status))
    outcomes.add(result(0, error="name not resolved: a"))
    outcomes.add(result(0, error="name not resolved: b"))
    assert outcomes.statuses == {200: 2, 301: 1, 404: 1, 503: 1}
    assert outcomes.errors == {"name not resolved": 2}
    assert (outcomes.total, outcomes.failed) == (7, 4)


def test_percentiles_are_of_answers_alone(outcomes):
    assert outcomes.percentile_ms(0.5) is None
    outcomes.add(result(0, latency_ms=9999.0, error="timed out after 10 s"))
    assert outcomes.percentile_ms(0.5) is None
    for latency in range(1, 101):
        outcomes.add(result(latency_ms=float(latency)))
    assert [outcomes.percentile_ms(share) for share in (0.01, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]


@given(st.lists(st.floats(0.001, 1e7), min_size=1), st.floats(0.001, 1))
def test_percentiles_are_right_to_three_digits(latencies, share):
    outcomes = Outcomes()
    for latency in latencies:
        outcomes.add(result(latency_ms=latency))
    within = [latency for latency in latencies if latency <= outcomes.percentile_ms(share) * 1.005]
    below = [latency for latency in latencies if latency < outcomes.percentile_ms(share) * 0.995]
    assert len(below) <= share * len(latencies) + 1e-9 <= len(within) + 2e-9


def test_memory_does_not_grow_with_the_results(outcomes):
    for step in range(100_000):
        outcomes.add(result(latency_ms=10 + step / 1200))
    assert len(outcomes._latencies) <= 900
