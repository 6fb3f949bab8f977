"""Scan of a table against its index, over selectivity and size, and whether the planner knows the cheaper.

Rows hold four values in no order of the index; a query wants those whose value is below a bound, so a share
of the rows, scattered over the table. Both ways are taken in turn and medians of their CPU time count, as
the machine is shared; the ratio of the two is what to read. `cost` is the planner's estimate in row
visits, `chosen` what it takes; where that is the slower way, it says how much slower.

    python benchmarks/btree_table.py [--sizes 1000 10000 100000] [--rounds 9] [--csv FILE]
"""

import argparse
import csv
import math
import random
from dataclasses import astuple, dataclass, fields
from functools import partial
from itertools import pairwise
from statistics import median
from time import thread_time

import numpy as np
from rich.console import Console
from rich.table import Table as Printed

from penstock.btree import Table, below
from penstock.btree.planner import INDEX_ROW, INDEX_START

SIZES = (1_000, 10_000, 100_000)
SHARES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
EXAMPLE_45_GOAL = 300
WRONG_BY = 1.1
"""A choice counts as wrong when the other way is faster by more than this."""


@dataclass(frozen=True)
class Measured:
    """One query, taken both ways; its fields are the head of the CSV file."""

    rows_of_table: int
    share_of_rows: float
    matching_rows: int
    scan_us: float
    index_us: float
    estimated_scan_cost: float
    estimated_index_cost: float
    chosen: str

    @property
    def loss(self):
        """How much slower the way chosen is than the other one; 1 when it is the faster."""
        taken, other = (
            (self.scan_us, self.index_us) if self.chosen == "scan" else (self.index_us, self.scan_us)
        )
        return max(1.0, taken / other)


def orders(size):
    """A table whose column `number` has each of 0 to size - 1 once, in no order."""
    dice = random.Random(size)
    numbers = np.random.default_rng(size).permutation(size).tolist()
    table = Table(
        {"row_id": row_id, "number": number, "amount": dice.random() * 490.0, "status": dice.choice("abc")}
        for row_id, number in enumerate(numbers)
    )
    table.create_index("number")
    return table


def timed(work, times):
    start = thread_time()
    for _ in range(times):
        work()
    return (thread_time() - start) / times


def measured(sizes=SIZES, selectivities=SHARES, rounds=9):
    """Every size with every share of its rows, 1 row at the least."""
    for size in sizes:
        table = orders(size)
        for wanted in sorted({max(1, round(size * share)) for share in selectivities}):
            plan = table.explain(number=below(wanted))
            ways = {path.index: path for path in (plan.path, *plan.others)}
            queries = {index: partial(by, table, path, plan.conditions) for index, path in ways.items()}
            times = {index: [] for index in ways}
            repeats = {index: max(1, int(2e-3 / timed(query, 1))) for index, query in queries.items()}
            for _ in range(rounds):
                for index, query in queries.items():
                    times[index].append(timed(query, repeats[index]) * 1e6)
            yield Measured(
                size,
                wanted / size,
                wanted,
                median(times[None]),
                median(times["number"]),
                ways[None].cost,
                ways["number"].cost,
                "scan" if plan.index is None else "index",
            )


def by(table, path, conditions):
    """A query taken one way, which may be the dearer one; without the planning, which both ways need."""
    return table._rows_by(path, conditions)


def crossing(results):
    """The share of rows at which both ways take the same time, between the shares measured; None if never."""
    for one, next_one in pairwise(results):
        here, there = (math.log(each.index_us / each.scan_us) for each in (one, next_one))
        if here <= 0 < there:
            part = here / (here - there)
            return one.share_of_rows * (next_one.share_of_rows / one.share_of_rows) ** part
    return None


def printed(results):
    table = Printed(box=None, pad_edge=False)
    for name in ("rows", "matching", "share", "scan us", "index us", "index is", "cost", "chosen"):
        table.add_column(name, justify="left" if name == "chosen" else "right")
    for one in results:
        wrong = f"scan {one.loss:.1f}x slower" if one.chosen == "scan" else f"index {one.loss:.1f}x slower"
        table.add_row(
            f"{one.rows_of_table:,}",
            f"{one.matching_rows:,}",
            f"{one.share_of_rows:.2%}",
            f"{one.scan_us:,.1f}",
            f"{one.index_us:,.1f}",
            f"{one.scan_us / one.index_us:,.2f}x",
            f"{one.estimated_index_cost:,.0f}",
            one.chosen if one.loss < WRONG_BY else wrong,
        )
    return table


def constants(results):
    """INDEX_START and INDEX_ROW as these results have them: the largest table, few rows and half of them."""
    largest = max(one.rows_of_table for one in results)
    there = [one for one in results if one.rows_of_table == largest]
    visit = median(one.scan_us / largest for one in there if one.share_of_rows <= 0.1)
    half = min(there, key=lambda one: abs(one.share_of_rows - 0.5))
    start = min(there, key=lambda one: one.matching_rows).index_us / visit
    return start, (half.index_us / visit - start) / half.matching_rows


def example_45(rounds):
    """Seconds of a scan and of an index scan for a user's rows among 100,000, and how many they are."""
    dice = random.Random(42)
    table = Table({"row_id": row_id, "user_id": dice.randint(1, 10_000)} for row_id in range(100_000))
    table.create_index("user_id")
    ways = (partial(table.scan, user_id=5000), partial(table.index_scan, "user_id", 5000))
    scans, index_scans = [], []
    for _ in range(rounds):
        scans.append(timed(ways[0], 1))
        index_scans.append(timed(ways[1], 1000))
    return median(scans), median(index_scans), len(ways[1]())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--csv", metavar="FILE", help="writes the results there")
    options = parser.parse_args()
    console = Console(width=80)
    results = list(measured(options.sizes, rounds=options.rounds))
    console.print(printed(results))
    console.print()
    for size in options.sizes:
        found = crossing([one for one in results if one.rows_of_table == size])
        where = "nowhere" if found is None else f"at {found:.0%} of the rows"
        planned = max(0.0, (size - INDEX_START) / INDEX_ROW / size)
        console.print(f"{size:,} rows: both take the same time {where}, the planner thinks at {planned:.0%}")
    start, row = constants(results)
    console.print(
        f"INDEX_START is {INDEX_START:g}, here {start:.0f}; INDEX_ROW is {INDEX_ROW:g}, here {row:.2f}"
    )
    console.print(f"worst choice: {max(one.loss for one in results):.2f} times the time of the other way")
    scan, index_scan, found = example_45(options.rounds)
    console.print(
        f"example 45, {found} of 100,000 rows: scan {scan * 1e3:.2f} ms, by index {index_scan * 1e6:.2f} us,"
        f" {scan / index_scan:,.0f} times faster (goal: {EXAMPLE_45_GOAL})"
    )
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([field.name for field in fields(Measured)])
            writer.writerows(
                [f"{value:.6g}" if isinstance(value, float) else value for value in astuple(one)]
                for one in results
            )


if __name__ == "__main__":
    main()
