"""What a run says of itself: on the screen, in its file, and whether to believe it."""

import json
from base64 import b64decode
from dataclasses import replace

import pytest
from fake_engine import MS
from test_figures import answered, failed

from penstock import PenstockError
from penstock.clock import ManualClock
from penstock.observability.histogram import Histogram
from penstock.services.pinger.assertions import parse_assertion
from penstock.services.pinger.comparison import Tolerance, compared
from penstock.services.pinger.lag import Lag
from penstock.services.pinger.report import JsonReport
from penstock.services.pinger.summary import Recorder
from penstock.services.pinger.summary_file import HgrmFile, InvalidSummary, SummaryFile, read_summary_file
from penstock.services.pinger.words import cells, conclusion, in_columns, shortened


@pytest.fixture
def clock():
    return ManualClock(5_000 * MS)


def recorded(clock, *results, gap=0.1, **settings):
    recorder = Recorder(clock=clock, **settings)
    for result in results:
        recorder.started()
        clock.advance(gap)
        recorder.ended()
        recorder.add(result)
    return recorder


def words(summary, width=None):
    return "\n".join(line.text for line in conclusion(summary, width))


def test_summary_counts_and_times(clock):
    summary = recorded(clock, answered(total=87), answered(404), failed()).summary()
    assert summary.seconds == pytest.approx(0.3)
    assert summary.rate == pytest.approx(10)
    assert not summary.ok
    assert "status 200              1\nstatus 404              1\nconnection refused      1\n" in words(
        summary
    )
    assert "3 in 0.30 s, 2 failed; answers p50 20 ms, p99 87" in words(summary)


def test_run_that_went_well_is_ok_and_trusted(clock):
    summary = recorded(clock, answered()).summary()
    assert summary.ok
    assert summary.distrust == ()
    assert "UNTRUSTWORTHY" not in words(summary)


@pytest.mark.parametrize(
    ("late_ms", "total_ms", "trusted"),
    [(0.9, 1, True), (1.1, 1, False), (1.1, 20, False), (4, 100, True), (6, 100, False)],
)
def test_lag_of_more_than_a_millisecond_and_a_twentieth_of_the_median_is_not_trusted(
    clock, late_ms, total_ms, trusted
):
    recorder = recorded(clock, answered(total=total_ms))
    recorder.lag = Lag(round(late_ms * MS), 9 * MS, 100)
    summary = recorder.summary()
    assert (summary.distrust == ()) == trusted
    assert ("UNTRUSTWORTHY: this process was late by" in words(summary)) != trusted


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("shop", 4, "shop"),
        ("shops", 4, "sho…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("é" * 3, 3, "é" * 3),
    ],
)
def test_texts_are_shortened_to_the_cells_that_they_take(text, width, shown):
    assert shortened(text, width) == shown
    assert cells(shown) <= width


def test_columns_stand_below_each_other_whatever_the_script():
    lines = in_columns([("target", "pings"), ("日本語", "1"), ("shop", "12")])
    assert lines == ["target  pings", "日本語      1", "shop       12"]


@pytest.mark.parametrize(("left_out", "trusted"), [(0, True), (1, True), (2, False)])
def test_run_that_left_out_more_than_a_hundredth_is_not_trusted(clock, left_out, trusted):
    recorder = recorded(clock, *[answered()] * 100, load="open")
    recorder.leave_out(left_out)
    summary = recorder.summary()
    assert (summary.distrust == ()) == trusted
    assert (f"{left_out} that were due were not made: there was no free slot" in words(summary)) == (
        left_out > 0
    )
    assert ("UNTRUSTWORTHY: 2 pings that were due were not made, 2.0% of all" in words(summary)) != trusted


def test_rate_that_was_not_reached_is_not_trusted(clock):
    summary = recorded(clock, *[answered()] * 11, load="open", asked_rate=20).summary()
    assert summary.shortfall == pytest.approx(0.5)
    assert "10/s started of 20/s asked, 50.0% short" in words(summary)
    assert "UNTRUSTWORTHY: 50.0% of the asked rate was not reached" in words(summary)


def test_open_load_shows_service_times_beside(clock):
    summary = recorded(clock, answered(total=500, wait=10), load="open", asked_rate=None).summary()
    assert "answers p50 500 ms" in words(summary)
    assert "service time p50 10 ms, p99 10 ms" in words(summary)


def test_assertions_on_the_run_decide_it(clock):
    assertions = (
        parse_assertion("p99<10ms"),
        parse_assertion("errors<1%", "warn"),
        parse_assertion("status==200"),
    )
    summary = recorded(clock, answered(total=20), assertions=assertions).summary()
    assert [verdict.severity for verdict in summary.verdicts] == ["fail", "ok"]
    assert not summary.ok
    assert "assertion fail: p99<10ms: got 20 ms" in words(summary)


def test_targets_that_were_pinged_several_times_have_a_table(clock):
    once = recorded(clock, answered(url="http://a/"), answered(url="http://b/"))
    assert "http://a/" not in words(once.summary())
    twice = recorded(clock, *[answered(url=url) for url in ("http://a/", "http://b/") * 2])
    assert "http://a/      2       0" in words(twice.summary())


def test_table_shows_the_worst_of_many_targets(clock):
    rows = [answered(url=f"http://{n}/", total=n + 1) for n in range(30)] * 2 + [failed(url="http://bad/")]
    text = words(recorded(clock, *rows).summary())
    assert "http://bad/" in text
    assert "http://29/" in text
    assert "http://0/" not in text
    assert "and 11 targets that fared better" in text


@pytest.mark.parametrize("width", [80, 100, 200])
def test_summary_fits_its_width_but_for_words_that_are_longer(clock, width):
    rows = [answered(url=f"http://{'x' * 50}/{n}", total=n + 1) for n in range(30)] * 2
    recorder = recorded(clock, *rows)
    recorder.lag = Lag(MS // 2, MS, 100)
    assert max(len(line.text) for line in conclusion(recorder.summary(), width)) <= width


def test_recovered_warned_and_unretried_pings_are_told(clock):
    recorder = recorded(clock, answered(attempts=2))
    recorder.retries_refused = 3
    text = words(recorder.summary(interrupted=True))
    assert "1 failed at first and recovered on a later try" in text
    assert "3 retries not made: the budget of their host was used up" in text
    assert "Interrupted: what was in progress has no row." in text


def test_kernel_clock_is_claimed_only_where_every_answer_had_it(clock):
    kernel = answered()
    kernel.tries[-1].hops[-1].exchange.clock = "kernel"
    assert recorded(clock, kernel, failed()).summary().kernel_clock
    assert not recorded(clock, kernel, answered()).summary().kernel_clock
    assert not recorded(clock).summary().kernel_clock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.json"


def test_file_holds_the_figures_their_meaning_and_what_was_in_flight(clock, path):
    recorder = recorded(clock, answered(total=20), answered(total=40), failed(), load="open", asked_rate=10)
    recorder.lag = Lag(MS, 2 * MS, 100)
    SummaryFile(path).write(recorder.summary())
    members = json.loads(path.read_text())
    assert members["overall"]["pings"] == 3
    assert members["overall"]["errors"] == {"connection refused": 1}
    assert members["overall"]["total_ms"]["max"] == pytest.approx(40, rel=0.001)
    assert members["lag"] == {"p99_ms": 1.0, "max_ms": 2.0, "ticks": 100}
    assert members["in_flight"]["slice_ms"] == 5.0
    assert max(members["in_flight"]["most"]) == 1
    assert set(members["definitions"]) == {"total", "service", "latency"}
    assert [target["title"] for target in members["targets"]] == ["http://x/"]
    assert Histogram.decode(b64decode(members["overall"]["total_ms"]["hdr"])) == recorder.overall.total


def test_percentiles_can_be_plotted(clock, path):
    HgrmFile(path).write(recorded(clock, *(answered(total=ms) for ms in (20, 40, 40))).summary())
    lines = path.read_text().splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    last = [line.split() for line in lines if line and not line.startswith("#")][-1]
    assert (float(last[0]), float(last[1]), int(last[2])) == (pytest.approx(40, rel=0.001), 1, 3)


def test_file_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    with pytest.raises(FileNotFoundError):
        SummaryFile(tmp_path / "missing" / "run.json")


def saved(clock, path, *results):
    SummaryFile(path).write(recorded(clock, *results).summary())
    return read_summary_file(path)


def test_saved_figures_are_read_again(clock, path):
    overall, target = saved(clock, path, answered(total=20), failed())
    assert (overall.title, overall.pings, overall.failed, overall.error_share) == ("", 2, 1, 0.5)
    assert (target.title, target.total.count) == ("http://x/", 1)


def test_rows_are_read_too(path):
    with JsonReport(path) as report:
        for result in (answered(total=20), answered(404), failed()):
            report.write(result)
    overall, target = read_summary_file(path)
    assert (overall.pings, overall.failed, overall.total.count) == (3, 2, 2)
    assert target.title == "http://x/"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1]",
        "3",
        "null",
        "[" * 100_000,
        '{"overall": 3}',
        '{"overall": {"total_ms": {"hdr": "x"}}}',
        '[{"url": 1}]',
    ],
)
def test_file_that_is_no_run_is_refused(path, content):
    path.write_text(content)
    with pytest.raises(InvalidSummary, match="must be a file of penstock ping --summary or ") as refused:
        read_summary_file(path)
    assert isinstance(refused.value, PenstockError)


def test_histogram_that_is_none_is_refused(clock, path):
    SummaryFile(path).write(recorded(clock, answered()).summary())
    members = json.loads(path.read_text())
    members["overall"]["total_ms"]["hdr"] = "AAAA"
    path.write_text(json.dumps(members))
    with pytest.raises(InvalidSummary):
        read_summary_file(path)


def compared_totals(clock, path, before, after, **tolerance):
    first = saved(clock, path, *(answered(total=ms) for ms in before))
    second = saved(clock, path, *(answered(total=ms) for ms in after))
    return {
        change.figure: change
        for change in compared(first, second, Tolerance(**tolerance))
        if not change.title
    }


def test_slower_run_is_worse(clock, path):
    changes = compared_totals(clock, path, [20] * 20, [24] * 20)
    assert changes["p50"].worse
    assert changes["p50"].growth == pytest.approx(0.2, abs=0.01)
    assert not changes["errors"].worse


@pytest.mark.parametrize(
    ("before", "after", "tolerance"),
    [
        ([20] * 20, [21] * 20, {}),
        ([1] * 20, [1.9] * 20, {}),
        ([20] * 20, [24] * 20, {"slower": 0.3}),
        ([20] * 20, [5] * 20, {}),
    ],
)
def test_what_is_tolerated_is_not_worse(clock, path, before, after, tolerance):
    assert not any(
        change.worse for change in compared_totals(clock, path, before, after, **tolerance).values()
    )


def test_percentile_of_too_few_answers_is_not_judged(clock, path):
    changes = compared_totals(clock, path, [20] * 20, [90] * 20)
    assert (changes["p50"].judged, changes["p99"].judged) == (True, False)
    assert not changes["p99"].worse
    assert compared_totals(clock, path, [20] * 500, [90] * 500)["p99"].worse


def test_more_failures_are_worse(clock, path):
    first = saved(clock, path, *[answered()] * 99, failed())
    second = saved(clock, path, *[answered()] * 98, failed(), failed())
    changes = {change.figure: change for change in compared(first, second, Tolerance())}
    assert changes["errors"].worse
    assert not any(change.worse for change in compared(first, second, Tolerance(errors=0.02)))


def test_targets_of_one_run_alone_are_not_compared(clock, path):
    first = saved(clock, path, answered(url="http://a/"))
    second = saved(clock, path, answered(url="http://b/"))
    assert {change.title for change in compared(first, second, Tolerance())} == {""}


@pytest.mark.parametrize("name", ["slower", "floor", "errors"])
def test_impossible_tolerance_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be >= 0, got -1"):
        replace(Tolerance(), **{name: -1})
