"""How even placements are and what moves in them: the plots of the page on hash rings.

measure_placements.py has counted what they show.
"""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import mean, median
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

BALANCE, MOVES = Path("balance.csv"), Path("moves.csv")  # Sphinx runs a plot in the folder where it lies

METHODS = {  # name -> colour and marker, told apart with any eyesight, on white and on black
    "modulo": ("#D1495B", "v"),
    "maglev": ("#C97B00", "^"),
    "ring": ("#0B7CC1", "D"),
    "jump": ("#7C86C9", "x"),
    "anchor": ("#029E73", "s"),
    "rendezvous": ("#C266B0", "o"),
}

GREY = "#7A7A7A"  # as far from white as from the black of the dark theme

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "font.sans-serif": ["DejaVu Sans"],
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], GREY),
}


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows that were measured, by column."""
    with table.open(newline="") as lines:
        return list(csv.DictReader(lines))


def clear(picture: Any, *panels: Axes) -> None:
    """Takes the ground away, for dark pages."""
    for part in (picture, *panels):
        part.patch.set_alpha(0)


# ---- balance against vnodes


def balance() -> None:
    """The share of the most and the least loaded of 100 nodes, over the points that each has."""
    rows = rows_of(BALANCE)
    with plt.rc_context(STYLE):
        picture, axes = plt.subplots(figsize=(8.2, 3.6), layout="constrained")
        clear(picture, axes)
        draw_shares(axes, rows, "most", METHODS["ring"][0])
        draw_shares(axes, rows, "least", METHODS["anchor"][0])
        axes.text(20, 1.95, "most loaded", color=METHODS["ring"][0])
        axes.text(20, 0.2, "least loaded", color=METHODS["anchor"][0])
        axes.axvline(160, color=GREY, linestyle=":", linewidth=1)
        axes.text(168, 3, "160, the default")
        axes.set_title("load of the most and the least loaded of 100 nodes", loc="left", fontsize=10)
        axes.set_xscale("log", base=2)
        ticks = [1 << n for n in range(0, 13, 2)]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xlabel("points a node (vnodes)")
        axes.set_ylabel("keys, × the mean")
        axes.set_xlim(1, ticks[-1])
        axes.set_ylim(0, 6)
        axes.set_yticks(range(7))
        axes.axhline(1, color=GREY, linewidth=0.8)


def draw_shares(axes: Axes, rows: list[dict[str, str]], column: str, colour: str) -> None:
    """The median of all sets of names as a line, and all of them as a band."""
    shares: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        shares[int(row["vnodes"])].append(float(row[column]))
    lowest, middle, highest = ([choose(each) for each in shares.values()] for choose in (min, median, max))
    axes.fill_between(list(shares), lowest, highest, color=colour, alpha=0.25, linewidth=0)
    axes.plot(list(shares), middle, color=colour, linewidth=1.8)


# ---- what moves


def moves() -> None:
    """Keys that move when a node is added: all of them, and those that need not."""
    with plt.rc_context(STYLE):
        picture, (moved, astray) = plt.subplots(1, 2, figsize=(8.2, 3.6), layout="constrained")
        clear(picture, moved, astray)
        draw_lines(moved, "moved", "all keys that move, %")
        draw_lines(astray, "astray", "keys that move needlessly, %")
        moved.legend(frameon=False, fontsize=9)
        astray.text(500, 0.018, "all others: none", ha="right", fontsize=9)
        picture.supxlabel("nodes, before one is added", fontsize=10)


def draw_lines(axes: Axes, column: str, title: str) -> None:
    """A line for each method over the number of nodes, the mean of all sets of names; 0 lies on the floor."""
    lines: dict[str, dict[int, list[float]]] = {method: defaultdict(list) for method in METHODS}
    for row in rows_of(MOVES):
        lines[row["method"]][int(row["nodes"])].append(100 * float(row[column]))
    for method, (colour, marker) in METHODS.items():
        percents = [mean(shares) for shares in lines[method].values()]
        axes.plot(
            list(lines[method]),
            percents,
            color=colour,
            marker=marker,
            markersize=4,
            linewidth=1.4,
            label=method,
        )
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xscale("log")
    axes.set_xticks([1, 10, 100], ["1", "10", "100"])
    axes.set_yscale("symlog", linthresh=0.1, linscale=0.3)
    axes.set_ylim(0, 110)
    axes.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
    axes.minorticks_off()
