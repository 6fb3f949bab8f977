"""What a person sees of a result."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console
from test_figures import answered, failed

from penstock.services.pinger.model import PingResult, Verdict
from penstock.services.pinger.plain_screen import PlainScreen
from penstock.services.pinger.screen import LoadScreen, line_of
from penstock.services.pinger.summary import Recorder
from penstock.services.pinger.words import line_of as plain_line_of

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


@pytest.mark.parametrize(
    ("result", "style", "remark"),
    [
        (answered(), "green", ""),
        (answered(304), "cyan", ""),
        (answered(404), "yellow", ""),
        (answered(500), "red", ""),
        (answered(attempts=2), "yellow", "recovered on try 2"),
        (answered(verdicts=[Verdict("cert>14d", "warn", "got 3.0 d")]), "yellow", "cert>14d: got 3.0 d"),
        (answered(verdicts=[Verdict("body~x", "fail", "got y")]), "red", "body~x: got y"),
        (failed(), "red", "connection refused"),
    ],
)
def test_state_of_a_ping_is_seen_by_its_colour_and_told_behind_the_url(result, style, remark):
    line = line_of(result)
    assert line.plain.endswith(f"http://x/  {remark}" if remark else "http://x/")
    assert line.spans[0].style == style
    assert plain_line_of(result) == line.plain


def test_pipe_gets_every_line_at_once_and_the_summary(capfd):
    screen, recorder = PlainScreen(), Recorder()
    for result in (answered(), failed()):
        recorder.add(result)
        screen.show(result)
        assert capfd.readouterr().out == line_of(result).plain + "\n"
    screen.conclude(recorder.summary())
    assert "2 in 0.00 s, 1 failed; answers p50 20" in capfd.readouterr().out


def test_pipe_gets_no_lines_where_none_are_wanted(capfd):
    PlainScreen(log=False).show(answered())
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("height", [5, 24, 100])
def test_live_figures_fit_their_terminal(height):
    recorder = Recorder()
    for number in range(60):
        recorder.started()
        recorder.add(answered(url=f"http://{'x' * 70}/{number % 30}"))
    screen = LoadScreen(recorder)
    screen._drawn_on = Console(file=io.StringIO(), force_terminal=True, width=80, height=height)
    lines = screen._picture().renderables
    assert len(lines) <= max(height - 2, 3)
    assert max(line.cell_len for line in lines) <= 80
    assert lines[-1].plain.startswith("in flight ")
