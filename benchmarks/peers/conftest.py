"""A race: contestants in one process, in interleaved rounds, reported as ratios of medians."""

from collections.abc import Callable
from statistics import median
from time import perf_counter_ns

import pytest
from rich.console import Console
from rich.table import Table

ROUNDS = 15
ROUND_NS = 20_000_000

reports: list[Table] = []


@pytest.fixture
def race(benchmark):
    """race(title, {name: callable}) times one call of each, and penstock's also by pytest-benchmark.

    Each round runs every contestant once, in turn, for about 20 ms, so that what the machine does
    besides hits them alike; a contestant's figure is the median of its rounds. The contestant named
    `penstock` comes first and the others are shown as multiples of it. With --benchmark-disable one
    round of one call each shows that everything runs. A call that does many `operations` is reported
    by the operation.
    """

    def run(
        title: str, contestants: dict[str, Callable[[], object]], operations: int = 1
    ) -> dict[str, float]:
        full = not benchmark.disabled
        repeats = {name: calls_per_round(call) if full else 1 for name, call in contestants.items()}
        rounds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(ROUNDS if full else 1):
            for name, call in contestants.items():
                rounds[name].append(time_calls(call, repeats[name]) / repeats[name])
        medians = {name: median(times) / operations for name, times in rounds.items()}
        reports.append(report(title, medians))
        benchmark.extra_info.update(medians)
        benchmark.pedantic(contestants["penstock"], rounds=ROUNDS, iterations=repeats["penstock"])
        return medians

    return run


@pytest.fixture
def show():
    """show(table) prints a table with those of the races."""
    return reports.append


def time_calls(call: Callable[[], object], times: int) -> int:
    """Nanoseconds that `times` calls take, the loop included."""
    start = perf_counter_ns()
    for _ in range(times):
        call()
    return perf_counter_ns() - start


def calls_per_round(call: Callable[[], object]) -> int:
    times = 1
    while (taken := time_calls(call, times)) < ROUND_NS // 10:
        times *= 4
    return max(1, times * ROUND_NS // taken)


def report(title: str, medians: dict[str, float]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("contestant")
    table.add_column("ns", justify="right")
    table.add_column("times penstock", justify="right")
    for name, nanoseconds in medians.items():
        table.add_row(name, f"{nanoseconds:,.0f}", f"{nanoseconds / medians['penstock']:.2f}")
    return table


def pytest_terminal_summary():
    console = Console()
    for table in reports:
        console.print()
        console.print(table)
