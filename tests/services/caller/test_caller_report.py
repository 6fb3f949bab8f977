"""What the rows and the screen of a caller say."""

import csv
import json
from datetime import UTC, datetime

import pytest

from penstock.clock import ManualClock
from penstock.services.caller.flow import Flow
from penstock.services.caller.model import Call
from penstock.services.caller.pace import Pace
from penstock.services.caller.report import COLUMNS, CsvReport, JsonReport
from penstock.services.caller.screen import conclusion, held_back, in_clock_words, in_figures, line_of
from penstock.services.caller.summary import Summary

AT = datetime(2025, 1, 10, 14, 12, 3, 1_999, tzinfo=UTC)
GOOD = Call(3, "a,b", "POST", "http://x/", 201, 12.3456, 200.0001, AT, AT, 2, 17, "")
BAD = Call(None, "", "GET", "http://y/", 0, 0.5, 0.0, AT, None, 1, 0, "connection refused")


def test_csv_has_a_row_for_each_call(tmp_path):
    with CsvReport(tmp_path / "csv") as report:
        report.write(GOOD)
        report.write(BAD)
    assert (tmp_path / "csv").read_text() == (
        "line,id,method,url,status,latency_ms,waited_ms,sent_at,attempts,bytes,error\n"
        '3,"a,b",POST,http://x/,201,12.346,200.000,2025-01-10T14:12:03.001Z,2,17,\n'
        ",,GET,http://y/,0,0.500,0.000,,1,0,connection refused\n"
    )


def test_json_holds_the_same(tmp_path):
    with CsvReport(tmp_path / "csv") as as_csv, JsonReport(tmp_path / "json") as as_json:
        for row in (GOOD, BAD):
            as_csv.write(row)
            as_json.write(row)
    good, bad = json.loads((tmp_path / "json").read_text())
    assert tuple(good) == COLUMNS
    assert (good["line"], good["latency_ms"], good["sent_at"]) == (3, 12.346, "2025-01-10T14:12:03.001Z")
    assert (bad["line"], bad["sent_at"]) == (None, None)
    rows = list(csv.DictReader((tmp_path / "csv").read_text().splitlines()))
    assert [row["error"] for row in rows] == [good["error"], bad["error"]]


def test_line_names_method_and_url_or_the_line_that_is_none():
    assert line_of(GOOD).plain == "14:12:03.001Z  201       12.3 ms  POST http://x/  2 tries"
    none = Call(7, "", "", "", 0, 0.0, 0.0, AT, None, 0, 0, "bad line: not a URL")
    assert line_of(none).plain == "14:12:03.001Z    0        0.0 ms  line 7  bad line: not a URL"


@pytest.mark.parametrize(
    ("limited", "full", "verdict"),
    [
        (9, 0, "limit 90% of the time, by --concurrency 1 0%"),
        (0, 9, "limit 0% of the time, by --concurrency 1 90%: slow answers, more at once may go faster"),
        (
            1,
            1,
            "limit 10% of the time, by --concurrency 1 10%: else the computer was busy, or requests were few",
        ),
    ],
)
def test_conclusion_says_how_fast_it_went_and_what_held_it_back(limited, full, verdict):
    clock = ManualClock()
    flow, summary = Flow(1, clock, cpu_clock=ManualClock()), Summary()
    for _ in range(12):
        flow.count_sent()
    with flow.during("busy"):
        clock.advance(full)
        with flow.during("waiting"):
            clock.advance(limited)
    clock.advance(10 - limited - full)
    summary.add_call(GOOD)
    summary.add_call(BAD)
    assert conclusion(Pace(5, 10), flow, summary) == [
        "2 requests in 10.00 s, 1 failed, 17 bytes read",
        "sent 12, 1 of them again, 1.2/s; the limit is 5/s, burst 10",
        "busiest second: 12 of 15 allowed",
        "latency p50 12.3 ms, p95 12.3 ms, p99 12.3 ms",
        "waited for the limit: 0.10 s on average, 0.20 s at most",
        f"held back by the {verdict}",
    ]


@pytest.mark.parametrize(
    ("computing", "verdict"),
    [
        (4, "90%: slow answers, more at once may go faster"),
        (6, "90%, by the processor here 60%"),
        (11, "90%, by the processor here 100%"),  # on two processors
    ],
)
def test_slow_answers_are_told_from_a_busy_processor(computing, verdict):
    clock, cpu_clock = ManualClock(), ManualClock()
    flow = Flow(1, clock, cpu_clock=cpu_clock)
    with flow.during("busy"):
        clock.advance(9)
    clock.advance(1)
    cpu_clock.advance(computing)
    assert (
        held_back(flow, flow.seconds)
        == f"held back by the limit 0% of the time, by --concurrency 1 {verdict}"
    )


def test_bad_line_is_shown_whole_on_a_narrow_screen():
    why = "bad line: not a request to send: Object contains unknown field `verb`, got '{\"verb\": 1}'"
    bad = Call(3, "", "", "", 0, 0.0, 0.0, GOOD.began_at, None, 0, 0, why)
    assert line_of(bad, 80).plain.endswith(f"line 3  {why}")


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0"), (0.05, "0.05"), (4.984, "4.98"), (12345.6, "12,346")]
)
def test_figures_are_short(number, words):
    assert in_figures(number) == words


@pytest.mark.parametrize(("left", "words"), [(0, "0:00"), (6.1, "0:07"), (754, "12:34"), (3723, "1:02:03")])
def test_time_left_is_told_as_clocks_do(left, words):
    assert in_clock_words(left) == words
