"""The report of a run as a page."""

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import ManualClock
from penstock.probing.exchange import Exchange, Phases
from penstock.services.pinger.html_report import HtmlReport, bins_of, page_of, rate_words
from penstock.services.pinger.model import Attempt, Hop, PingResult
from penstock.services.pinger.over_time import SLICES, OverTime
from penstock.services.pinger.summary import Recorder

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_ping(title, *, ms=10.0, after=0.0, status=200, error=""):
    took = round(ms * 1e6)
    last = Exchange(status=status, phases=Phases(connect=took // 4, wait=took // 2, total=took))
    hops = (Hop(f"http://{title}/", last),)
    return PingResult(
        MOMENT + timedelta(seconds=after),
        f"http://{title}/",
        status,
        ms,
        error,
        1,
        name=title,
        total=took,
        tries=(Attempt(hops, status, error),),
    )


def reported(pings):
    recorder, over_time = Recorder(clock=ManualClock()), OverTime()
    for ping in pings:
        recorder.started()
        recorder.ended()
        recorder.add(ping)
        over_time.add(ping)
    return page_of(recorder.summary(), over_time)


class Elements(HTMLParser):
    """Every element and its attributes, and that each is closed."""

    def __init__(self, page):
        super().__init__()
        self.found, self.open = [], []
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_tells_figures_targets_and_outcomes():
    pings = [a_ping("shop", ms=ms) for ms in (10, 20, 30)]
    pings += [a_ping("dead", status=0, error="connection refused"), a_ping("shop", status=404)]
    page = reported(pings)
    assert "<dt>pings</dt><dd>5</dd>" in page
    assert '<div class="bad"><dt>failed</dt><dd>2</dd>' in page
    assert "<th>status 404</th><td>1</td>" in page
    assert '<th class="bad">connection refused</th><td>1</td>' in page
    assert page.index('title="dead"') < page.index('title="shop"')  # the worst first
    assert "connect 4.5 ms, first byte 9 ms" in page or "connect 4.38 ms, first byte 8.75 ms" in page
    charts = [part.partition("</figure>")[0] for part in page.split("<figure>")[1:]]
    assert len(charts) == 5
    for chart in charts:
        assert ET.fromstring(chart).tag.endswith("svg")


def test_a_run_without_failures_has_no_chart_of_them():
    assert reported([a_ping("shop")]).count("<figure>") == 4


def test_a_run_without_pings_is_a_page_too():
    Elements(reported([]))


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=60))
def test_what_others_wrote_stays_text(text):
    page = reported([a_ping(text or "x"), a_ping("b", status=0, error=text or "failed")])
    found = Elements(page).found
    assert not [tag for tag, _ in found if tag in ("script", "img", "iframe", "link", "object")]
    assert not [name for _, attributes in found for name in attributes if name.startswith("on")]


def test_the_page_may_fetch_and_run_nothing():
    found = Elements(reported([a_ping("shop")])).found
    policies = [a["content"] for _, a in found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert not [a for _, a in found if "src" in a or "href" in a]


def test_the_page_has_a_bound_whatever_the_number_of_targets():
    pings = [a_ping(f"t{number}", ms=1 + number % 50, after=number) for number in range(3_000)]
    page = reported(pings)
    assert len(page) < 300_000
    assert "more, which did better" in page


@given(st.lists(st.tuples(st.floats(-10, 10_000), st.booleans()), max_size=200))
def test_slices_hold_every_ping_and_have_a_bound(pings):
    over_time = OverTime()
    for after, ok in pings:
        over_time.add(a_ping("shop", after=after, status=200 if ok else 500))
    assert len(over_time.slices) <= SLICES
    assert sum(one.good for one in over_time.slices) == sum(ok for _, ok in pings)
    assert sum(one.failed for one in over_time.slices) == sum(not ok for _, ok in pings)


def test_bins_hold_every_answer_and_lie_side_by_side():
    recorder = Recorder()
    for ms in (0.01, 0.5, 0.5, 3, 40, 500):
        recorder.add(a_ping("shop", ms=ms))
    bins = bins_of(recorder.overall.total)
    assert sum(one.count for one in bins) == 6
    assert all(one.high == pytest.approx(other.low) for one, other in pairwise(bins))
    assert bins[0].low <= 0.01 <= bins[0].high * 1.001


def test_a_file_that_cannot_be_written_is_told_before_the_run(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        HtmlReport(tmp_path / "none" / "report.html")


def test_the_file_is_there_and_whole_at_the_end(tmp_path):
    report, recorder = HtmlReport(tmp_path / "report.html"), Recorder()
    for ping in [a_ping("shop"), a_ping("ünïcode \ud800")]:
        report.write(ping)
        recorder.add(ping)
    report.write_page(recorder.summary())
    Elements((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_a_run_without_rows_has_no_chart_of_them_and_no_targets():
    recorder = Recorder(clock=ManualClock())
    recorder.overall.add(a_ping("shop"))
    page = page_of(recorder.summary(), OverTime())
    Elements(page)
    assert page.count("<figure>") == 3
    assert "Latency over time" not in page
    assert "<h2>Targets</h2>" not in page


@pytest.mark.parametrize(
    ("rate", "words"), [(0.5, "0.5/s"), (12.34, "12.3/s"), (1234.5, "1,234/s"), (123_456, "123,456/s")]
)
def test_a_rate_is_told_in_plain_figures(rate, words):
    assert rate_words(rate) == words


def test_slices_with_few_pings_are_put_together():
    over_time = OverTime()
    for number in range(1_000):
        over_time.add(a_ping("shop", after=number / 100, status=200 if number % 2 else 500))
    assert len(over_time.slices) == 200  # of 5 pings each
    slice_s, slices = over_time.with_at_least(20)
    assert (slice_s, len(slices)) == (pytest.approx(0.2), 50)
    assert {(one.good, one.failed) for one in slices} <= {(9, 10), (10, 9), (10, 10), (10, 11), (11, 10)}
    assert sum(one.took.count for one in slices) == 1_000
    assert over_time.with_at_least(5) == (over_time.slice_s, over_time.slices)


def test_of_few_pings_p90_is_drawn_where_p99_would_be_the_maximum():
    few = reported([a_ping("shop", ms=ms) for ms in range(1, 31)])
    many = reported([a_ping("shop", ms=ms % 50) for ms in range(1, 301)])
    for page, drawn, other in ((few, "p90", "p99"), (many, "p99", "p90")):
        chart = page.partition("Latency over time")[2].partition("</figure>")[0]
        assert f">{drawn}<" in chart
        assert f">{other}<" not in chart


def test_what_was_in_flight_is_drawn_with_its_peaks():
    recorder = Recorder(clock=(clock := ManualClock()))
    for number in range(400):
        for _ in range(7 if number == 333 else 1):
            recorder.started()
        clock.now += 5_000_000
        for _ in range(7 if number == 333 else 1):
            recorder.ended()
        recorder.add(a_ping("shop"))
        clock.now += 5_000_000
    chart = page_of(recorder.summary(), OverTime()).partition(">In flight<")[2].partition("</figure>")[0]
    assert re.search(">[78]</text>", chart)  # the axis reaches to the peak
