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
    assert min(loading, key=lambda name: figures[name]["errors"]) == "backpressure"
