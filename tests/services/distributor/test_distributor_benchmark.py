"""The benchmark of the distributor runs, and counts a rate only when nothing was lost."""

import asyncio
import json
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
        async with asyncio.timeout(60):
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
    assert "shares off by 0 packets" in progress


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
