"""The benchmark of the distributor runs, and counts a rate only when nothing was lost."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def rows(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.distributor import rows

    return rows


async def told_by(*arguments):
    """What a module of the benchmark prints, and what it says meanwhile."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, cwd=ROOT, stdout=-1, stderr=-1
    )
    try:
        async with asyncio.timeout(240):
            out, progress = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, progress.decode()
    return out.decode(), progress.decode()


async def test_smoke_measures_and_says_how_far_from_its_target_everything_is():
    only = [word for row in ("end-to-end", "letters", "pick") for word in ("--only", row)]
    out, progress = await told_by("benchmarks.distributor", "--smoke", "--json", *only)
    figures = {figure["name"]: figure for figure in json.loads(out)}
    assert list(figures) == ["end to end, packets", "10,000 dead letters", "balancer pick"]
    assert all(figure["measured"] > 0 for figure in figures.values())
    assert [figure["rounds"] for figure in figures.values()] == [1, 2, 2]
    assert all(
        figure["least"] <= figure["measured"] <= figure["most"] for figure in list(figures.values())[1:]
    )
    assert "shares off by 0 packets" in progress


@pytest.fixture
def runner(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.distributor import __main__ as runner

    return runner


def test_short_rows_are_run_in_turn_and_long_ones_once(rows, runner, monkeypatch):
    began = []

    def row(name, amounts):
        def run(settings):
            began.append((name, settings.seconds))
            yield rows.Figure(name, "/s", next(amounts), 10, 5, more_is_better=True)

        return run

    monkeypatch.setitem(runner.ROWS, "single", row("single", iter([30, 10, 20])))
    monkeypatch.setitem(runner.ROWS, "letters", row("letters", iter([1, 2, 3])))
    monkeypatch.setitem(runner.ROWS, "idle", row("idle", iter([4])))
    figures, wrong = runner.measured(["single", "idle", "letters"], rows.Settings(seconds=9, rounds=3))

    assert not wrong
    assert began == [("single", 3), ("idle", 9), ("letters", 3)] + [("single", 3), ("letters", 3)] * 2
    assert [(one.name, one.measured, one.rounds, one.least, one.most) for one in figures] == [
        ("single", 20, 3, 10, 30), ("idle", 4, 1, None, None), ("letters", 2, 3, 1, 3)
    ]  # fmt: skip
    assert [runner.spread(one) for one in figures] == ["±50%", "", "±50%"]


def test_row_that_went_wrong_once_counts_in_no_round(rows, runner, monkeypatch):
    began = []

    def fails_the_second_time(settings):
        began.append(settings)
        if len(began) == 2:
            raise rows.Wrong("something was lost")
        yield rows.Figure("x", "s", 1, 1, 1)

    monkeypatch.setitem(runner.ROWS, "single", fails_the_second_time)
    assert runner.measured(["single"], rows.Settings(rounds=4)) == ([], ["single"])
    assert len(began) == 2


@pytest.mark.parametrize(("more", "middle"), [(True, 2), (False, 3)])
def test_median_of_an_even_number_of_rounds_is_the_worse_of_the_two_in_the_middle(rows, more, middle):
    figures = [rows.Figure("x", "s", amount, 1, 1, more, note=str(amount)) for amount in (4, 1, 3, 2)]
    median = rows.median_of(figures)
    assert (median.measured, median.note, median.least, median.most) == (middle, str(middle), 1, 4)


@pytest.mark.parametrize(
    ("measured", "more", "verdict"),
    [(100, True, "target"), (99, True, "floor"), (49, True, "MISSED"), (100, False, "target"),
     (101, False, "floor"), (151, False, "MISSED"), (0, False, "target")],
)  # fmt: skip
def test_figure_says_whether_target_or_floor_holds(rows, measured, more, verdict):
    floor = 50 if more else 150
    assert rows.Figure("x", "s", measured, 100, floor, more).verdict == verdict


def test_nothing_is_as_few_as_nothing(rows):
    assert rows.Figure("lost", "packets", 0, 0, 0).ratio == 1
    assert rows.Figure("lost", "packets", 1, 0, 0).verdict == "MISSED"


def test_rate_does_not_count_when_something_else_arrived_than_was_acknowledged(rows):
    class Sink:
        def figures(self):
            return {"packets": 2, "hash": 7}

    rows.Stage.require_all(Sink(), {"accepted": 1, "hash": 3}, {"accepted": 1, "hash": 4})
    for accepted, hash_ in ((1, 7), (2, 8), (3, 7)):
        with pytest.raises(rows.Wrong, match="were acknowledged"):
            rows.Stage.require_all(Sink(), {"accepted": accepted, "hash": hash_})


def test_port_of_analyzers_that_are_not_there_yet_refuses_and_is_kept_for_them(rows):
    with rows.Stage() as stage:
        (port,) = stage.unused_ports(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with pytest.raises(OSError, match="already in use"), socket.socket() as somebody_else:
            somebody_else.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)):
            socket.create_connection(("127.0.0.1", port)).close()


def test_table_of_large_figures_fits_into_80_columns_and_shortens_nothing(rows, runner, capsys):
    figures = [
        rows.Figure("1 GiB waiting: accepts in", "s", 12.34, 5, 5),
        rows.Figure("syslog in memory, lines", "/s", 1_007_988, 200_000, 100_000, True, "", 5, 1, 2_620_768),
        rows.Figure("kill -9: packets twice", "", 1601, 1600, 1600),
    ]
    runner.Console(width=80).print(runner.table_of(figures, rounds=5))
    told = capsys.readouterr().out
    assert "…" not in told
    assert all(words in told for words in ("MISSED", "1,007,988 /s", "±160%", "median of 5"))
