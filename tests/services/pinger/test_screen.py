"""What a person sees of a result."""

from datetime import UTC, datetime

import pytest

from penstock.services.pinger.model import PingResult
from penstock.services.pinger.screen import line_of

AT = datetime(2025, 1, 10, 14, 12, 3, 1_000, tzinfo=UTC)


def test_line_holds_time_status_latency_and_url():
    line = line_of(PingResult(AT, "https://example.com", 200, 87.231, "", 1))
    assert line.plain == "14:12:03.001Z  200       87.2 ms  https://example.com"


def test_line_of_a_failure_says_why_and_after_how_many_tries():
    line = line_of(PingResult(AT, "http://x/", 0, 1200.04, "connection refused", 3))
    assert line.plain == "14:12:03.001Z    0     1200.0 ms  http://x/  connection refused  3 tries"


@pytest.mark.parametrize("url", ["http://x/", "http://x/" + "y" * 500, "http://" + "語" * 100])
@pytest.mark.parametrize("error", ["", "connection refused", "name not resolved: " + "z" * 150])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_line_fits_the_width_that_there_is(url, error, width):
    line = line_of(PingResult(AT, url, 0 if error else 200, 31_536_000.0, error, 1), width)
    assert line.cell_len <= width
    assert line.plain.startswith("14:12:03.001Z  ")


def test_cut_line_still_shows_the_error_whole_when_it_can():
    line = line_of(PingResult(AT, "http://x/" + "y" * 500, 0, 1.0, "connection refused", 1), 80)
    assert line.plain.endswith("…  connection refused")


def test_uncut_line_is_whole():
    line = line_of(PingResult(AT, "http://x/" + "y" * 500, 200, 1.0, "", 1))
    assert line.plain.endswith("y" * 500)
