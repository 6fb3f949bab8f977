"""The planner counts what an index would visit, takes the cheapest way, and says why."""

from decimal import Decimal

import pytest

from penstock.btree.conditions import at_least, below, between, prefix
from penstock.btree.planner import INDEX_ROW, INDEX_START, KEY_ROW, TEST, plan_for
from penstock.btree.table import Table

SIZE = 10_000


@pytest.fixture(scope="module")
def orders():
    """Row n has n, a user of one in a thousand, a status of one in four, and no note."""
    statuses = ("done", "failed", "new", "paid")
    table = Table(
        {"n": n, "user": n * 7 % 1000, "status": statuses[n % 4], "note": None} for n in range(SIZE)
    )
    for columns in (("n",), ("user",), ("status",), ("status", "user")):
        table.create_index(*columns)
    return table


def test_selective_query_takes_the_index(orders):
    plan = orders.explain(user=5)
    assert (plan.index, plan.path.rows, plan.rows_at_most) == ("user", 10, 10)
    assert plan.path.cost == INDEX_START + 10 * KEY_ROW
    assert (plan.others[0].index, plan.others[0].rows, plan.others[0].cost) == (None, SIZE, SIZE)


def test_query_that_wants_most_rows_takes_the_scan(orders):
    plan = orders.explain(n=at_least(100))
    assert plan.index is None
    assert plan.others[0].rows == SIZE - 100
    assert (
        plan.reason
        == f"index n would visit 99% of the rows, and one costs {INDEX_ROW:g} times what a scan does"
    )


def test_small_table_is_scanned_even_for_one_row():
    table = Table([{"n": n} for n in range(20)])
    table.create_index("n")
    plan = table.explain(n=5)
    assert (plan.index, plan.others[0].rows) == (None, 1)
    assert plan.reason == "the table is so small that to begin with index n costs more than all rows"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.1, 2])
def test_planner_changes_its_mind_where_the_costs_cross(orders, share):
    crossing = (SIZE - INDEX_START) / INDEX_ROW
    wanted = round(crossing * share)
    plan = orders.explain(n=below(wanted))
    assert plan.path.rows == (wanted if share < 1 else SIZE)
    assert plan.index == ("n" if share < 1 else None)
    assert [path.cost for path in (plan.path, *plan.others)] == sorted(
        path.cost for path in (plan.path, *plan.others)
    )


def test_index_on_more_of_the_conditions_is_taken(orders):
    plan = orders.explain(status="failed", user=7)
    assert plan.index == "status_user"
    assert plan.path.answers == ("status", "user")
    assert plan.path.rows == orders.count(status="failed", user=7)
    assert {path.index: path.rows for path in plan.others} == {"user": 10, "status": 2500, None: SIZE}


def test_scan_tests_further_conditions_on_what_met_the_first(orders):
    plan = orders.explain(n=below(9000), user=at_least(0), note="x")
    assert plan.index is None
    assert plan.path.cost == SIZE + 2 * TEST * 9000
    assert orders.explain(n=below(9000)).path.cost == SIZE


@pytest.mark.parametrize("rows", [0, 1, 60, 61, 200])
def test_plan_says_why_whatever_the_size(rows):
    table = Table([{"n": n} for n in range(rows)])
    table.create_index("n")
    for condition in (-1, at_least(0), at_least(rows // 2), at_least(rows - 1)):
        plan = table.explain(n=condition)
        assert plan.reason in " ".join(str(plan).split())
    too_small = "the table is so small that to begin with index n costs more than all rows"
    assert (table.explain(n=at_least(0)).reason == too_small) == (rows <= INDEX_START)


def test_reason_tells_what_it_costs_to_begin_where_that_decides():
    table = Table([{"n": n} for n in range(200)])
    table.create_index("n")
    wanted = int(180 / INDEX_ROW)
    assert table.explain(n=below(wanted)).reason == (
        f"index n would visit {wanted / 200:.0%} of the rows, and one costs {INDEX_ROW:g} times"
        " what a scan does, to begin as much as 60"
    )


def test_plan_fits_a_terminal_of_80_columns():
    names = [f"a_column_with_a_long_name_{number}" for number in range(6)]
    table = Table([dict.fromkeys(names, n) for n in range(2000)])
    for name in names:
        table.create_index(name)
    plan = table.explain_analyze({name: between(5, 10**100) if name == names[3] else 7 for name in names})
    lines = str(plan).splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(str(plan).split()).count("instead of") == 5
    assert all(line.startswith("  ") for line in lines[1:])


def test_condition_that_no_index_answers_is_tested_and_costs(orders):
    plan = orders.explain(user=5, note="x")
    assert plan.index == "user"
    assert plan.path.cost == INDEX_START + 10 * (KEY_ROW + TEST)
    assert "then tests note" in str(plan)
    assert orders.select(user=5, note="x") == []


def test_counts_are_exact_for_every_kind_of_condition(orders):
    for conditions in (
        {"n": between(100, 200)}, {"n": between(100, 200, include=(False, False))}, {"status": prefix("f")},
        {"status": "new", "user": below(500)}, {"status": "new", "user": at_least(990)}, {"user": -1},
    ):  # fmt: skip
        plan = orders.explain(conditions)
        assert plan.rows_at_most == len(orders.scan(conditions)), conditions


def test_counts_follow_the_rows():
    table = Table([{"n": n % 10} for n in range(1000)])
    table.create_index("n")
    table.update(0, n=5)
    table.delete(5)
    table.insert({"n": 5})
    table.insert({"n": 5})
    assert table.explain(n=5).rows_at_most == 102


def test_plan_tells_all_ways_and_why():
    table = Table([{"n": n, "town": "oslo"} for n in range(1000)])
    for column in table.columns:
        table.create_index(column)
    table.create_index("town", "n", name="both")
    table.insert({"n": 1000})
    assert str(table.explain(n=5)) == (
        "select where n = 5, of 1,001 rows\n"
        f"  index n: 1 row to visit, cost {INDEX_START + KEY_ROW:.0f}\n"
        f"  because index n visits 0.10% of the rows, {1001 / (INDEX_START + KEY_ROW):,.1f} times"
        " cheaper than a scan\n"
        "  instead of scan of the table: 1,001 rows to visit, cost 1,001\n"
        "  not index town: no condition is on town\n"
        "  not index both: no condition is on town"
    )
    assert str(table.explain()).splitlines()[0] == "select where anything, of 1,001 rows"
    asked = str(table.explain(n=between(1, 3, include=(False, True)), town=prefix("o")))
    assert asked.startswith("select where n > 1 and <= 3, town begins with 'o', of")


def test_index_that_is_of_no_use_says_why(orders):
    assert orders.explain(user="x").unusable == {
        "n": "no condition is on n",
        "user": "'x' is no int64 for it to look up",
        "status": "no condition is on status",
        "status_user": "no condition is on status",
    }
    assert orders.explain(user=None).unusable["user"] == "it cannot tell where user is absent"
    assert (
        orders.explain(status=prefix("")).unusable["status"] == "it cannot tell where status begins with ''"
    )
    assert orders.explain(note=5).reason == "no index answers any of the conditions"


def test_keys_that_do_not_compare_leave_the_query_to_the_scan():
    table = Table([{"v": (n, "a")} for n in range(100)])
    table.create_index("v")
    plan = table.explain(v=5)
    assert plan.index is None
    assert plan.unusable["v"].startswith("its keys do not compare with the conditions: '<' not supported")
    assert table.select(v=5) == []


def test_comparison_that_raises_leaves_the_query_to_the_scan():
    table = Table([{"v": Decimal(n)} for n in range(100)])
    table.create_index("v")
    nan = Decimal("nan")  # cannot be ordered, but equals nothing
    assert table.select(v=nan) == table.scan(v=nan) == []
    assert table.explain(v=nan).unusable["v"].startswith("its keys do not compare with the conditions")


def test_analyzing_takes_every_way_and_times_it(orders):
    plan = orders.explain_analyze(status="failed", user=7)
    assert plan.found == len(orders.scan(status="failed", user=7))
    assert all(path.seconds > 0 for path in (plan.path, *plan.others))
    lines = str(plan).splitlines()
    assert lines[2] == f"    found {plan.found} rows"
    assert sum(" ms" in line for line in lines) == 4
    assert orders.explain(user=7).path.seconds is None


def test_plan_of_an_empty_table_is_a_scan():
    plan = plan_for(0, [], {})
    assert (plan.index, plan.path.cost, plan.rows_at_most) == (None, 0, 0)
    table = Table()
    table.create_index("n")
    assert table.explain(n=5).index is None
    assert table.explain_analyze(n=5).found == 0
