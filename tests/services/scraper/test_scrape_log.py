"""What happens in a crawl is logged, counted and shown, in bounded words."""

import io
import json
import re
from datetime import UTC, datetime

import pytest

from penstock.clock import ManualClock
from penstock.services.scraper.log import JsonLog
from penstock.services.scraper.metrics import Metrics
from penstock.services.scraper.model import CrawlEvent, Page, Progress
from penstock.services.scraper.screen import StandingColumn, conclusion, line_of, standing
from penstock.services.scraper.summary import Summary

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
OK = Page(
    url="http://x/",
    status=200,
    title="Title",
    fetched_at="2026-01-02T03:04:05.678Z",
    elapsed_ms=12.5,
    length=100,
)
LONG = Page(url="http://x/l", status=200, error="longer than 9 bytes, the rest was left", length=9)
MISSING = Page(url="http://x/m", status=404, referrer="http://x/", elapsed_ms=1.0)
LOOP = Page(url="http://x/r", outcome="failed", status=302, error="redirect loop")
REFUSED = Page(url="http://x/p", outcome="refused", error="robots.txt disallows it")
DOUBLE = Page(url="http://x/d", outcome="duplicate", status=302)


def logged(*events):
    file = io.BytesIO()
    log = JsonLog(file, now=lambda: NOW)
    for event in events:
        log.write(event)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_log_says_what_is_known_and_leaves_out_the_rest():
    event = CrawlEvent("retry", "http://x/", "status 503", 503, 0.5, attempt=1)
    assert logged(event, CrawlEvent("stopping")) == [
        {
            "time": "2026-01-02T03:04:05.678Z",
            "level": "warning",
            "event": "retry",
            "url": "http://x/",
            "words": "status 503",
            "status": 503,
            "seconds": 0.5,
            "attempt": 1,
        },
        {"time": "2026-01-02T03:04:05.678Z", "level": "info", "event": "stopping"},
    ]


def test_log_is_a_line_an_event_whatever_servers_write():
    (line,) = logged(CrawlEvent("failed", "http://x/\n" + "y" * 9000, "a\n\x1b[31mb" + "z" * 9000))
    assert "\x1b" not in line["words"]
    assert (len(line["url"]), len(line["words"])) == (2_000, 500)


def test_log_closes_its_file_unless_it_is_another_ones():
    ours, theirs = io.BytesIO(), io.BytesIO()
    with JsonLog(ours), JsonLog(theirs, keep_open=True):
        pass
    assert (ours.closed, theirs.closed) == (True, False)


def test_summary_counts_failures_and_neither_refusals_nor_doubles():
    summary = Summary()
    for page in (OK, LONG, MISSING, LOOP, REFUSED, DOUBLE):
        summary.add_page(page)
    assert (summary.total, summary.failed, summary.size) == (6, 2, 109)
    assert summary.statuses == {200: 2, 404: 1, 302: 1}
    assert summary.errors == {"redirect loop": 1, "robots.txt disallows it": 1}
    assert [(link.url, link.reason, link.referrer) for link in summary.broken] == [
        ("http://x/m", "status 404", "http://x/"),
        ("http://x/r", "redirect loop", ""),
    ]


def test_lines_of_a_file_that_are_no_urls_are_counted_together():
    summary = Summary()
    for number in range(3):
        summary.add_page(Page(url="x", outcome="failed", error=f"line {number}: not a URL of http or https"))
    assert summary.errors == {"not a URL of http or https": 3}


def test_summary_is_bounded():
    summary = Summary()
    for number in range(3_000):
        summary.add_page(MISSING)
        summary.add_page(Page(url="u", outcome="refused", error=f"it asks to wait {number} s"))
        summary.observe(CrawlEvent("host given up", f"h{number}", "refused"))
        summary.observe(CrawlEvent("limit", words=f"{number} pages of h"))
    assert (len(summary.broken), len(summary.hosts_given_up), len(summary.limits)) == (1_000, 20, 20)
    assert (len(summary.errors), summary.errors["other reasons"]) == (51, 2_950)
    assert summary.failed == summary.events["limit"] == 3_000


def test_summary_knows_whether_the_time_ended_the_crawl():
    summary = Summary()
    summary.observe(CrawlEvent("limit", words="10 pages"))
    assert not summary.is_timed_out
    summary.observe(CrawlEvent("limit", words="5 s for the whole crawl"))
    assert summary.is_timed_out


def test_time_that_ended_the_crawl_is_known_after_many_other_limits():
    summary = Summary()
    for number in range(100):
        summary.observe(CrawlEvent("limit", words=f"3 pages of h{number}"))
    summary.observe(CrawlEvent("limit", words="5 s for the whole crawl"))
    summary.add_page(OK)
    assert (summary.is_timed_out, summary.is_sound) == (True, False)


def test_metrics_are_prometheus_text():
    metrics = Metrics(lambda: Progress(queued=7, bytes=55, hosts=2))
    for page in (OK, MISSING, REFUSED):
        metrics.add_page(page)
    metrics.observe(CrawlEvent("retry"))
    text = str(metrics.exposition())
    assert 'penstock_scrape_pages_total{outcome="fetched"} 2\n' in text
    assert 'penstock_scrape_pages_total{outcome="refused"} 1\n' in text
    assert 'penstock_scrape_responses_total{class="4xx"} 1\n' in text
    assert 'penstock_scrape_events_total{event="retry"} 1\n' in text
    assert 'penstock_scrape_page_seconds_bucket{le="0.005"} 1\n' in text
    assert 'penstock_scrape_page_seconds_bucket{le="0.025"} 2\n' in text
    assert 'penstock_scrape_page_seconds_bucket{le="+Inf"} 2\n' in text
    assert float(re.search(r"page_seconds_sum (.+)", text)[1]) == pytest.approx(0.0135, rel=0.001)
    assert "penstock_scrape_queued 7\n" in text
    assert "penstock_scrape_received_bytes_total 55\n" in text
    line = re.compile(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"\\]*"\})? [-+.\de]+')
    assert all(line.fullmatch(each) for each in text.splitlines())


@pytest.mark.parametrize(
    ("page", "line"),
    [
        (OK, "03:04:05.678Z  200      12.5 ms  http://x/  Title"),
        (LOOP, "               302       0.0 ms  http://x/r  redirect loop"),
        (REFUSED, "                 0       0.0 ms  http://x/p  robots.txt disallows it"),
    ],
)
def test_line_says_when_status_how_long_what_and_why(page, line):
    assert line_of(page).plain == line


def test_line_fits_and_keeps_most_of_its_url():
    page = Page(url="http://x/" + "y" * 200, status=200, title="t" * 200, fetched_at=OK.fetched_at)
    line = line_of(page, 80)
    assert line.cell_len == 80
    assert line.plain.count("y") > 10
    assert line.plain.count("t") > 5


def test_markup_in_titles_is_text():
    page = Page(url="http://x/", status=200, title="[red]bold[/red]", fetched_at=OK.fetched_at)
    assert "[red]bold[/red]" in line_of(page).plain


def test_standing_tells_the_pace_of_the_last_seconds():
    clock = ManualClock()
    column = StandingColumn(lambda: Progress(done=1_234, queued=56, in_flight=8), clock)
    for _ in range(20):
        clock.advance(0.5)
        for _ in range(50):
            column.count()
        text = column.render(None).plain
    assert text == "1,234 done  100/s  56 queued  8 in flight"


def test_standing_names_what_holds_it_up():
    progress = Progress(failed=2, hosts_waiting=3, state="stopping")
    assert standing(progress, 0.5) == "0 done  0.5/s  0 queued  0 in flight  2 failed  3 hosts wait  stopping"


def test_conclusion_tells_this_run_from_earlier_ones():
    summary = Summary()
    for page in (OK, OK, MISSING):
        summary.add_page(page)
    summary.observe(CrawlEvent("host given up", "y:80", "connection refused"))
    summary.observe(CrawlEvent("limit", words="3 pages"))
    assert conclusion(summary, Progress(earlier=1, hosts=1, retries=4, queued=9), 2.0) == [
        "3 pages, 1 of them in earlier runs, 1 failed, 200 bytes read",
        "2.00 s, 1.0 pages/s, 1 host",
        "answers p50 12.5 ms, p95 12.5 ms, p99 12.5 ms",
        "4 more attempts",
        "9 URLs still queued",
        "gave up y:80: connection refused",
        "limit reached: 3 pages",
    ]
