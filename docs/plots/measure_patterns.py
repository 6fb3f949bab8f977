"""Measures what each concurrency pattern costs, for the plots of the pages on fan-outs and on the lab.

    python docs/plots/measure_patterns.py

takes two minutes, runs `penstock lab compare` as it is by default, and writes patterns.csv (a row for each
pattern) and pattern_slices.csv (200 for each, in order of time) beside itself. Times and memory are those
of the machine on which it runs.
"""

import asyncio
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.services.lab.comparison import Comparison, compare
from penstock.services.lab.config import Behaviour
from penstock.services.lab.patterns import PATTERNS, Settings
from penstock.services.lab.screen import Screen

FIGURES, SLICES = (Path(__file__).with_name(name) for name in ("patterns.csv", "pattern_slices.csv"))

MIB = 1024 * 1024

Row = tuple[Any, ...]

FIGURES_HEAD = (
    "pattern", "seconds", "goodput", "mean_ms", "p50_ms", "p99_ms", "errors", "peak_in_flight", "memory_mib",
    "blocks", "collections", "collecting_ms", "cpu_seconds",
)  # fmt: skip
SLICES_HEAD = ("pattern", "at", "in_flight", "answers", "errors", "p50_ms", "p99_ms")


def figures(comparison: Comparison) -> Iterator[Row]:
    """A row for each pattern."""
    for one in comparison.measured:
        latency, cost = one.latency, one.cost
        yield (
            one.pattern,
            round(one.seconds, 2),
            round(one.goodput),
            round(latency.mean, 2),
            round(latency.p50, 2),
            round(latency.p99, 2),
            one.errors,
            one.peak_in_flight,
            round(cost.peak_rss / MIB, 1),
            cost.peak_blocks,
            sum(cost.collections),
            round(cost.collecting * 1000, 2),
            round(cost.cpu, 2),
        )


def slices(comparison: Comparison) -> Iterator[Row]:
    """A row for each part of the time of each pattern."""
    for one in comparison.measured:
        for part in one.slices:
            at = round(part.at, 4)
            yield one.pattern, at, part.in_flight, part.answers, part.errors, part.p50, part.p99


def write(path: Path, head: Row, rows: Iterator[Row]) -> None:
    """A table with its head."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(head)
        table.writerows(rows)


def main() -> None:
    """Measures and writes."""
    comparison = Comparison(Settings(), Behaviour())
    screen = Screen(len(PATTERNS))
    with screen:
        asyncio.run(compare(comparison, PATTERNS, screen))
    screen.conclude(comparison, interrupted=False)
    write(FIGURES, FIGURES_HEAD, figures(comparison))
    write(SLICES, SLICES_HEAD, slices(comparison))


if __name__ == "__main__":
    main()
