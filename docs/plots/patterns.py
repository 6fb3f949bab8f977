"""What each concurrency pattern costs: the plots of the pages on fan-outs and on the lab.

measure_patterns.py has measured what they show.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

FIGURES, SLICES = Path("patterns.csv"), Path("pattern_slices.csv")  # Sphinx runs a plot where it lies

BLUE, ORANGE, RED = "#0B7CC1", "#C97B00", "#D1495B"  # told apart with any eyesight, on white and on black

GREY = "#7A7A7A"  # as far from white as from the black of the dark theme

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "font.sans-serif": ["DejaVu Sans"],
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], GREY),
}

Row = dict[str, str]


def rows_of(table: Path) -> list[Row]:
    """The rows that were measured, by column."""
    with table.open(newline="") as lines:
        return list(csv.DictReader(lines))


def clear(picture: Any, *panels: Axes) -> None:
    """Takes the ground away, for dark pages."""
    for part in (picture, *panels):
        part.patch.set_alpha(0)


# ---- all of them


def overview() -> None:
    """Time, latency, errors and memory of every pattern."""
    rows = rows_of(FIGURES)
    total = 7_500
    with plt.rc_context(STYLE):
        picture, panels = plt.subplots(2, 2, figsize=(8.2, 4.6), layout="constrained", sharey=True)
        time, latency, errors, memory = panels.flat
        clear(picture, time, latency, errors, memory)
        draw_bars(time, rows, "time for all, s", lambda row: float(row["seconds"]))
        draw_bars(latency, rows, "p99 of latency, ms", lambda row: float(row["p99_ms"]))
        draw_bars(errors, rows, "requests that failed, %", lambda row: 100 * float(row["errors"]) / total)
        draw_bars(memory, rows, "most memory, MiB", lambda row: float(row["memory_mib"]))
        time.invert_yaxis()


def draw_bars(axes: Axes, rows: list[Row], title: str, value: Callable[[Row], float]) -> None:
    """A bar for each pattern, with its value in figures."""
    values = [value(row) for row in rows]
    axes.barh([row["pattern"] for row in rows], values, height=0.6, color=BLUE)
    for at, size in enumerate(values):
        axes.text(size, at, f" {size:,.0f}" if size >= 100 else f" {size:.3g}", va="center", fontsize=9)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlim(0, 1.18 * max(values))
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)


# ---- one over time


def over_time(pattern: str) -> None:
    """In flight, latency and errors of a pattern from its first request to its last."""
    rows = [row for row in rows_of(SLICES) if row["pattern"] == pattern]
    at = [float(row["at"]) for row in rows]
    with plt.rc_context(STYLE):
        picture, (in_flight, latency, errors) = plt.subplots(
            3, 1, figsize=(8.2, 4.6), layout="constrained", sharex=True, height_ratios=(3, 3, 2)
        )
        clear(picture, in_flight, latency, errors)
        in_flight.step(at, [int(row["in_flight"]) for row in rows], where="post", color=BLUE)
        for column, name, colour in (("p50_ms", "p50", BLUE), ("p99_ms", "p99", ORANGE)):
            values = [float(row[column]) if row[column] else float("nan") for row in rows]
            latency.plot(at, values, color=colour, linewidth=1.2, label=name)
        errors.step(at, [share_of_errors(row) for row in rows], where="post", color=RED, linewidth=1)
        for axes, title in ((in_flight, "in flight"), (latency, "latency, ms"), (errors, "errors, %")):
            axes.set_title(title, loc="left", fontsize=10)
            axes.set_ylim(bottom=0)
        latency.legend(frameon=False, fontsize=9, ncols=2, loc="upper right", bbox_to_anchor=(1, 1.25))
        errors.set_xlabel("seconds")
        errors.set_xlim(0, at[-1])


def share_of_errors(row: Row) -> float:
    """Per cent of what ended; 0 where nothing did."""
    return 100 * int(row["errors"]) / max(int(row["answers"]), 1)


def sequential() -> None:
    """One after the other."""
    over_time("sequential")


def unbounded() -> None:
    """All at once."""
    over_time("unbounded")


def bounded() -> None:
    """Fifteen at once."""
    over_time("bounded")


def backpressure() -> None:
    """As many as the server bears."""
    over_time("backpressure")


def pipeline() -> None:
    """Fifteen that fetch, one that judges."""
    over_time("pipeline")


def rate_limited() -> None:
    """At 500 a second."""
    over_time("rate-limited")
