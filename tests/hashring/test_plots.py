"""The tables under the plots of the page on hash rings say what the placements do."""

import csv
import runpy
from pathlib import Path

import pytest

import penstock

PLOTS = Path(__file__).parents[2] / "docs" / "plots"

CLUSTERS = 2 if penstock.implementation == "c" else 1  # of those in the tables: one takes 10 s in Python
SIZES = [1, 10]  # of those that moves.csv has


@pytest.fixture(scope="module")
def plots():
    """What measure_placements.py defines; its functions see changes."""
    return runpy.run_path(str(PLOTS / "measure_placements.py"))["main"].__globals__


def rows_of(table):
    with (PLOTS / table).open(newline="") as lines:
        return list(csv.reader(lines))[1:]


def as_written(rows):
    return [list(map(str, row)) for row in rows]


def test_balance_is_what_the_table_says(plots, monkeypatch):
    monkeypatch.setitem(plots, "CLUSTERS", CLUSTERS)
    counted = as_written(plots["balance"]())
    assert counted == rows_of("balance.csv")[: len(counted)]


def test_moves_are_what_the_table_says(plots, monkeypatch):
    monkeypatch.setitem(plots, "CLUSTERS", CLUSTERS)
    monkeypatch.setitem(plots, "CLUSTER_SIZES", SIZES)
    counted = as_written(plots["moves"]())
    assert counted == [row for row in rows_of("moves.csv") if int(row[2]) in SIZES][: len(counted)]
