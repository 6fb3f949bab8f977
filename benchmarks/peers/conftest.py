"""A race: contestants in one process, in interleaved rounds, reported as ratios of medians."""

from collections.abc import Callable
from statistics import median
from time import perf_counter_ns
from typing import NamedTuple

import pytest
from rich.console import Console
from rich.table import Table

MOST_ROUNDS, LEAST_ROUNDS = 75, 15
RACE_NS = 20_000_000_000  # for all rounds, unless LEAST_ROUNDS take longer
ROUND_NS = 4_000_000  # shorter than the turn that a busy machine gives a process
OPERATIONS = 1_000  # in one call, so that calling it weighs nothing
EMPTY_METHOD = 19.0  # ns, on the machine that the goals were set on

reports: list[Table] = []


def pytest_configure(config):
    # the timer of limits' MemoryStorage falls over entries that went meanwhile, in a thread of its own
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def race(benchmark):
    """race(title, {name: callable}) times one call of each, and penstock's also by pytest-benchmark.

    Each round runs every contestant once, in turn, for about 4 ms, so that what the machine does
    besides hits them alike; a contestant's figure is the median of its rounds. The contestant named
    `penstock` comes first and the others are shown as multiples of it. With --benchmark-disable one
    round of one call each shows that everything runs. A call that does many `operations` is reported
    by the operation.
    """

    def run(
        title: str, contestants: dict[str, Callable[[], object]], operations: int = 1
    ) -> dict[str, float]:
        times, repeats = interleaved(contestants, full=not benchmark.disabled)
        medians = {name: nanoseconds / operations for name, nanoseconds in times.items()}
        reports.append(report(title, medians))
        benchmark.extra_info.update(medians)
        benchmark.pedantic(contestants["penstock"], rounds=LEAST_ROUNDS, iterations=repeats["penstock"])
        return medians

    return run


@pytest.fixture
def show():
    """show(table) prints a table with those of the races."""
    return reports.append


@pytest.fixture
def smoke(pytestconfig):
    """Whether it is enough that everything runs."""
    return pytestconfig.getoption("benchmark_disable")


class Goal(NamedTuple):
    """A figure that penstock is held to."""

    call: Callable[[], object]
    operations: int
    """What one call does."""
    nanoseconds: float
    """The goal for one operation, on the machine that it was set on."""


@pytest.fixture
def goals(benchmark):
    """goals(title, {name: (call, operations, goal)}) shows each figure beside its goal and an empty C method.

    All are timed in one interleaved run, as in a race. A goal in nanoseconds holds for a machine; the
    multiple of an empty method hardly depends on it.
    """

    def run(title: str, contestants: dict[str, tuple[Callable[[], object], int, float]]) -> None:
        measures = {"empty method of a C type": Goal(empty_methods, OPERATIONS, EMPTY_METHOD)}
        measures |= {name: Goal(*goal) for name, goal in contestants.items()}
        calls = {name: goal.call for name, goal in measures.items()}
        times, _ = interleaved(calls, full=not benchmark.disabled)
        figures = {name: times[name] / goal.operations for name, goal in measures.items()}
        reports.append(report_goals(title, measures, figures))
        benchmark.extra_info.update(figures)
        benchmark.pedantic(empty_methods, rounds=1)

    return run


def interleaved(
    contestants: dict[str, Callable[[], object]], *, full: bool
) -> tuple[dict[str, float], dict[str, int]]:
    """The median nanoseconds of a call of each contestant, and how often each was called in a round."""
    repeats = {name: calls_per_round(call) if full else 1 for name, call in contestants.items()}
    rounds: dict[str, list[float]] = {name: [] for name in contestants}
    start = perf_counter_ns()
    for done in range(MOST_ROUNDS if full else 1):
        if done >= LEAST_ROUNDS and perf_counter_ns() - start > RACE_NS:
            break
        for name, call in contestants.items():
            rounds[name].append(time_calls(call, repeats[name]) / repeats[name])
    return {name: median(times) for name, times in rounds.items()}, repeats


def empty_methods() -> None:
    method = "".isascii
    for _ in range(OPERATIONS):
        method()


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


def report_goals(title: str, measures: dict[str, Goal], figures: dict[str, float]) -> Table:
    empty = next(iter(figures.values()))
    table = Table(title=title, title_justify="left")
    table.add_column("figure", no_wrap=True)
    for column in ("ns", "goal", "× empty", "goal", ""):
        table.add_column(column, justify="right")
    rows = []
    for name, goal in measures.items():
        ratio, wanted = figures[name] / empty, goal.nanoseconds / EMPTY_METHOD
        verdict = "" if name == next(iter(measures)) else "reached" if ratio <= wanted else "missed"
        row = [f"{figures[name]:,.1f}", f"{goal.nanoseconds:,.0f}", f"{ratio:.2f}", f"{wanted:.2f}", verdict]
        rows.append((name, *row))
    for row in sorted(rows, key=lambda row: ("", "missed", "reached").index(row[-1])):  # misses first
        table.add_row(*row)
    return table


def pytest_terminal_summary():
    console = Console()
    for table in reports:
        console.print()
        console.print(table)
