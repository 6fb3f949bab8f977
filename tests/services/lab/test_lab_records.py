"""What is told of the requests of a run."""

import pytest

from penstock.probing.exchange import Exchange, Phases
from penstock.services.lab.records import Records, latencies_of, percentiles_of

MS = 1_000_000


def answered(status=200, service_ms=1.0):
    return Exchange(status=status, phases=Phases(wait=round(service_ms * MS)))


def recorded(*requests):
    """Records of (begin, end, exchange), in ms, in the order in which they ended."""
    records = Records()
    for _ in requests:
        records.begin()
    for begun, ended, exchange in requests:
        records.end(round(begun * MS), round(ended * MS), exchange)
    return records


def test_outcomes_are_counted_the_most_first():
    failed = Exchange(failure="timeout", error="no answer")
    requests = [(0, 1, answered(503)), (0, 1, answered()), (0, 1, failed), (0, 1, answered())]
    records = recorded(*requests)
    assert list(records.outcomes().items()) == [("200", 2), ("503", 1), ("timeout", 1)]
    assert records.good == 2


def test_latency_has_the_waits_in_the_client_and_service_has_not():
    records = recorded((0, 30, answered(service_ms=10)))
    assert latencies_of(records.latency).p50 == pytest.approx(30, rel=0.001)
    assert latencies_of(records.service).p50 == pytest.approx(10, rel=0.001)


def test_a_failure_has_no_latency():
    records = recorded((0, 9_000, Exchange(failure="timeout")), (0, 5, answered()))
    assert latencies_of(records.latency).max == pytest.approx(5, rel=0.001)


def test_without_answers_all_latencies_are_zero():
    records = recorded((0, 9_000, Exchange(failure="timeout")))
    assert set(latencies_of(records.latency).__struct_fields__) == {
        "mean",
        "p50",
        "p90",
        "p99",
        "p999",
        "max",
    }
    assert latencies_of(records.latency).p99 == 0
    assert percentiles_of(records.latency) == []


def test_percentiles_end_where_the_count_says_nothing_more():
    records = recorded(*((0, n + 1, answered()) for n in range(1000)))
    shares = [share for share, _ in percentiles_of(records.latency)]
    assert shares[0] == 0
    assert shares[-2:] == [0.999, 1.0]
    values = [value for _, value in percentiles_of(records.latency)]
    assert values == sorted(values)


def test_slices_tell_how_many_were_in_flight_and_how_they_fared():
    requests = [(0, 100, answered()), (0, 200, answered(503)), (150, 200, answered())]
    slices = recorded(*requests).slices()
    assert len(slices) == 200
    assert slices[0].at == 0
    assert [part.in_flight for part in slices[:99]] == [2] * 99
    assert {part.in_flight for part in slices[110:149]} == {1}
    assert {part.in_flight for part in slices[151:]} == {2}
    assert sum(part.answers for part in slices) == 3
    assert sum(part.errors for part in slices) == 1
    assert slices[-1].p50 == 50
    assert slices[-1].p99 == 200
    assert slices[50].p50 is None


def test_a_moment_that_ends_one_and_begins_another_is_no_overlap():
    slices = recorded((0, 100, answered()), (100, 200, answered())).slices()
    assert {part.in_flight for part in slices} == {1}


def test_the_first_requests_are_in_the_order_in_which_they_began():
    records = recorded((2, 3, answered()), (1, 4, answered(500)), *((9, 9, answered()) for _ in range(500)))
    first = records.first()
    assert [(each.begin, each.end, each.outcome) for each in first[:2]] == [
        (0, 0.003, "500"),
        (0.001, 0.002, "200"),
    ]
    assert len(first) == 240


def test_mean_in_flight_is_over_all_of_the_time():
    assert recorded((0, 500, answered()), (0, 1000, answered())).mean_in_flight(1.0) == 1.5


def test_nothing_recorded_is_nothing_told():
    records = Records()
    assert (records.slices(), records.first(), records.outcomes()) == ([], [], {})
    assert records.mean_in_flight(0.0) == 0


def test_most_at_once_is_kept():
    records = Records()
    records.begin()
    records.begin()
    records.end(0, MS, answered())
    records.begin()
    assert (records.in_flight, records.peak_in_flight) == (2, 2)
