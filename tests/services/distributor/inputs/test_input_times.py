"""Times of foreign protocols: exact, and none at all rather than a wrong one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor.inputs import times


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (1_700_000_000_100_000_000, "2023-11-14T22:13:20.1Z"),
        (253_402_300_799_999_999_999, "9999-12-31T23:59:59.999999999Z"),
        (253_402_300_800_000_000_000, None),
        (-62_135_596_800_000_000_000, "0001-01-01T00:00:00Z"),
        (-62_135_596_800_000_000_001, None),
    ],
)
def test_nanoseconds_are_kept_to_the_last(nanoseconds, text):
    assert times.of_nanoseconds(nanoseconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1700000000", "2023-11-14T22:13:20Z"),
        ("1700000000.5", "2023-11-14T22:13:20.5Z"),
        ("1.7e9", "2023-11-14T22:13:20Z"),
        ("17000000001E-1", "2023-11-14T22:13:20.1Z"),
        ("1700000000.1234567891", "2023-11-14T22:13:20.123456789Z"),
        ("1700000000000", None),
        ("1e99", None),
        ("1e-99", None),
        ("", None),
        ("1.", "1970-01-01T00:00:01Z"),
        ("NaN", None),
        ("9" * 30, None),
    ],
)
def test_seconds_are_read_as_json_writes_them(number, text):
    assert times.of_seconds(number) == text


@pytest.mark.parametrize("number", ["1700000000", "1700000000000", "1700000000000000", "1700000000000000000"])
def test_size_of_a_number_tells_its_unit(number):
    assert times.of_number(number) == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("number", ["7", "-1700000000", "5000000000", "1e300", "", "x"])
def test_number_that_is_no_time_of_today_is_none(number):
    assert times.of_number(number) is None


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("2025-01-25T20:30:45Z", "2025-01-25T20:30:45Z"),
        ("2025-01-25 20:30:45,123 +0200", "2025-01-25T20:30:45.123+02:00"),
        ("2025-01-25t20:30:45.5 UTC", "2025-01-25T20:30:45.5Z"),
        ("2025-01-25T20:30:45-07:30", "2025-01-25T20:30:45-07:30"),
        ("2025-01-25T20:30:45", None),
        ("2025-13-25T20:30:45Z", None),
        ("2025-01-25T24:30:45Z", None),
        ("2025-01-25T20:30:45.1234567890Z", None),
        ("2025-01-25T20:30:45Z ", None),
        ("yesterday", None),
    ],
)
def test_text_is_a_time_when_it_is_one_instant(written, text):
    assert times.of_text(written) == text


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_microsecond_comes_back(moment):
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    text = times.of_nanoseconds(since // timedelta(microseconds=1) * 1000)
    assert datetime.fromisoformat(text) == moment
    assert times.of_text(text) == text


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_none(text):
    for read in (times.of_text, times.of_seconds, times.of_number):
        assert read(text) is None or read(text).startswith(tuple("0123456789"))
