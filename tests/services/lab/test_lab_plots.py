"""The tables under the plots of the patterns are those that the script writes, and say what the pages say."""

import csv
import runpy
from collections import Counter
from pathlib import Path

import pytest

from penstock.services.lab.patterns import PATTERNS

PLOTS = Path(__file__).parents[3] / "docs" / "plots"


def rows_of(table):
    with (PLOTS / table).open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(PLOTS / "measure_patterns.py"))


def test_tables_have_every_pattern_and_the_columns_that_are_written(script):
    figures, slices = rows_of("patterns.csv"), rows_of("pattern_slices.csv")
    assert tuple(figures[0]) == script["FIGURES_HEAD"]
    assert tuple(slices[0]) == script["SLICES_HEAD"]
    assert [row["pattern"] for row in figures] == list(PATTERNS)
    assert Counter(row["pattern"] for row in slices) == dict.fromkeys(PATTERNS, 200)


def test_patterns_are_in_the_order_that_the_pages_tell():
    """Sequential is slowest, unbounded heaviest; backpressure fails least of those that know no rate."""
    figures = {
        row["pattern"]: {name: float(row[name]) for name in row if name != "pattern"}
        for row in rows_of("patterns.csv")
    }
    assert max(figures, key=lambda name: figures[name]["seconds"]) == "sequential"
    assert max(figures, key=lambda name: figures[name]["memory_mib"]) == "unbounded"
    assert max(figures, key=lambda name: figures[name]["blocks"]) == "unbounded"
    loading = ("unbounded", "bounded", "pipeline", "backpressure")
    fewest, *others = sorted(loading, key=lambda name: figures[name]["errors"])
    assert fewest == "backpressure"
    assert all(figures[other]["errors"] > 2 * figures[fewest]["errors"] for other in others)


def test_table_of_the_page_is_the_one_that_was_measured():
    page = (PLOTS.parent / "lab.md").read_text()
    for row in rows_of("patterns.csv"):
        time, goodput = float(row["seconds"]), int(row["goodput"])
        assert f".md) | {time:.1f} | {goodput:,} | " in page
        assert f" | {100 * int(row['errors']) / 7_500:.1f} % | {int(row['peak_in_flight']):,} | " in page
