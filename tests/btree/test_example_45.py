"""Example 45: index scan, range scan and sequential scan of 100,000 orders, with the reference's own rows."""

import subprocess
import sys
from pathlib import Path

import pytest

from btree.go_random import digest_of, digest_of_go, orders
from penstock.btree import Table, between

PROGRAM = Path(__file__).parents[2] / "examples" / "btree_table.py"


@pytest.fixture(scope="module")
def rows():
    return orders()


@pytest.fixture(scope="module")
def table(rows):
    table = Table(rows)
    table.create_index("user_id")
    return table


def test_rows_are_those_that_go_makes(rows):
    assert digest_of(rows) == digest_of_go()


def test_user_5000_has_12_rows_by_index_and_by_scan(table):
    found = table.index_scan("user_id", 5000)
    assert len(found) == 12
    assert found == table.scan(lambda row: row["user_id"] == 5000) == table.scan(user_id=5000)
    assert found == table.select(user_id=5000)
    row_ids = [row["row_id"] for row in found]
    assert row_ids == sorted(row_ids)


def test_users_4000_to_4010_have_111_rows_by_value_and_row_id(table):
    found = table.index_range_scan("user_id", 4000, 4010)
    assert len(found) == 111
    order = [(row["user_id"], row["row_id"]) for row in found]
    assert order == sorted(order)
    scanned = table.scan(user_id=between(4000, 4010))
    assert sorted(scanned, key=lambda row: row["user_id"]) == found
    assert table.select(user_id=between(4000, 4010)) == scanned


def test_index_that_grows_row_by_row_is_the_one_made_at_once(rows, table):
    grown = Table()
    grown.create_index("user_id")
    for row in rows[:20_000]:
        grown.insert(row)
    at_once = Table(rows[:20_000])
    at_once.create_index("user_id")
    assert grown.index_range_scan("user_id") == at_once.index_range_scan("user_id")
    grown.check()
    table.check()


def test_planner_visits_12_rows_instead_of_100_000(table):
    plan = table.explain(user_id=5000)
    assert (plan.index, plan.path.rows) == ("user_id", 12)
    assert [(path.index, path.rows) for path in plan.others] == [(None, 100_000)]
    assert plan.others[0].cost / plan.path.cost > 300
    assert table.explain(user_id=between(1, 9_999)).index is None


def test_program_prints_the_lines_of_the_reference():
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM)], capture_output=True, text=True, timeout=120, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "Rows in table: 100000"
    for line, start in zip(
        lines[1:],
        ("Matching rows for user_id=5000: ", "Sequential scan:  ", "Index scan:       ", "Speedup: ", ""),
        strict=False,
    ):
        assert line.startswith(start)
    assert any(line.startswith("Range [4000,4010]: ") and line.endswith("found via index") for line in lines)
