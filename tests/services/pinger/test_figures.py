"""Counts and percentiles of pings, alone and added up."""

from datetime import UTC, datetime

import pytest
from fake_engine import MS, answer_of, failure_of

from penstock.services.pinger.figures import OTHER_KINDS, Figures, TargetFigures, Times
from penstock.services.pinger.model import Attempt, Hop, PingResult, Verdict

NOON = datetime(2025, 1, 10, 12, 0, tzinfo=UTC)


def answered(status=200, *, url="http://x/", total=20, attempts=1, verdicts=(), size=0, **phases):
    exchange = answer_of(status, body=bytes(size), **phases)
    tries = (Attempt((Hop(url, exchange),), status, ""),) * attempts
    latency = exchange.phases.total / MS
    more = {"total": round(total * MS), "tries": tries, "verdicts": tuple(verdicts)}
    return PingResult(NOON, url, status, latency, "", attempts, **more)


def failed(error="connection refused", url="http://x/"):
    tries = (Attempt((Hop(url, failure_of("connect", error)),), 0, error),)
    return PingResult(NOON, url, 0, 10.0, error, 1, tries=tries)


def figures_of(*results):
    figures = Figures()
    for result in results:
        figures.add(result)
    return figures


def test_every_state_is_counted():
    figures = figures_of(
        answered(),
        answered(404),
        answered(attempts=2),
        answered(verdicts=[Verdict("cert>14d", "warn", "got 3 d")]),
        answered(verdicts=[Verdict("body~x", "fail", "got y")]),
        failed(),
    )
    assert (figures.pings, figures.failed, figures.recovered, figures.warned) == (6, 3, 1, 1)
    assert figures.statuses == {200: 4, 404: 1}
    assert figures.errors == {"connection refused": 1}
    assert figures.attempts == 7
    assert figures.error_share == 0.5


def test_times_are_of_answers_alone():
    figures = figures_of(answered(total=20, wait=10, connect=3), answered(404, total=40, wait=30), failed())
    assert figures.percentile(1) == pytest.approx(0.040, rel=0.001)
    assert figures.least == pytest.approx(0.020, rel=0.001)
    assert figures.mean == pytest.approx(0.030, rel=0.001)
    assert figures.service.max == pytest.approx(30 * MS, rel=0.001)
    assert figures.mean_phase("wait") == 0.020
    assert figures.mean_phase("connect") == 0.0015


def test_without_an_answer_there_are_no_times():
    figures = figures_of(failed())
    assert (figures.percentile(0.5), figures.least, figures.most, figures.mean) == (None, None, None, None)
    assert figures.mean_phase("wait") == 0
    assert Figures().error_share is None


def test_added_up_is_as_counted_together():
    results = [answered(total=n, size=n) for n in range(1, 50)] + [failed(), answered(503)]
    together, first, second = figures_of(*results), figures_of(*results[:20]), figures_of(*results[20:])
    first.merge(second)
    for name in ("pings", "failed", "attempts", "size", "statuses", "errors", "phases", "total", "service"):
        assert getattr(first, name) == getattr(together, name)


@pytest.mark.parametrize("split", [0, 1, 63, 64, 65, 150])
def test_few_and_many_times_add_up_alike(split):
    values = [n * MS for n in range(1, 151)]
    together, first, second = Times(3), Times(3), Times(3)
    for number, value in enumerate(values):
        together.record(value)
        (first if number < split else second).record(value)
    first.merge(second)
    assert first.histogram == together.histogram
    assert first.histogram.count == 150


def test_times_of_somebody_else_are_taken_as_they_are():
    figures, times = Figures(), Times(3)
    times.record(7 * MS)
    figures.take_times(times.histogram, times.histogram, times.histogram)
    assert figures.percentile(0.5) == pytest.approx(0.007, rel=0.001)


def test_kinds_of_errors_are_bounded():
    figures = figures_of(*(failed(f"error {n}") for n in range(1000)))
    assert len(figures.errors) == 201
    assert figures.errors[OTHER_KINDS] == 800


def test_error_is_told_by_its_kind():
    assert figures_of(failed("name not resolved: a"), failed("name not resolved: b")).errors == {
        "name not resolved": 2
    }


def test_targets_are_counted_one_by_one_and_those_beyond_the_bound_together(monkeypatch):
    monkeypatch.setattr(TargetFigures, "MOST", 2)
    targets = TargetFigures()
    for url in ("http://a/", "http://b/", "http://c/", "http://d/", "http://a/"):
        targets.add(answered(url=url))
    assert [(one.title, one.pings) for one in targets] == [("http://a/", 2), ("http://b/", 1)]
    assert targets.others.pings == 2
    assert targets.get("http://c/") is None

    more = TargetFigures()
    more.merge(targets)
    more.merge(targets)
    assert [(one.title, one.pings) for one in more] == [("http://a/", 4), ("http://b/", 2)]
    assert more.others.pings == 4
