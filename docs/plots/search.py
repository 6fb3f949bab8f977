"""The plots of the page on search: how fast it is beside other packages, and how well it ranks.

measure_search.py has measured what they show.
"""

import csv
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

SPEED, QUALITY = Path("search_speed.csv"), Path("search_quality.csv")  # Sphinx runs a plot where it lies

CONTESTANTS = {  # colour and marker, told apart with any eyesight, on white and on black
    "penstock": ("#0B7CC1", "o"),
    "tantivy": ("#C97B00", "s"),
    "bm25s, numba": ("#029E73", "^"),
    "bm25s, numpy": ("#7C86C9", "v"),
    "SQLite FTS5": ("#C266B0", "D"),
}

GOALS = {"rare": 8, "mid": 60, "common": 450}  # us

ANALYSES = {"plain": "#7C86C9", "english": "#0B7CC1"}

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


def panel(height: float) -> Axes:
    """An empty one, without a ground, for dark pages."""
    picture, axes = plt.subplots(figsize=(8.2, height), layout="constrained")
    for part in (picture, axes):
        part.patch.set_alpha(0)
    return axes


# ---- speed


def speed() -> None:
    """Microseconds of a query by class, and the goals."""
    rows = rows_of(SPEED)
    kinds = list(dict.fromkeys(row["queries"] for row in rows))
    with plt.rc_context(STYLE):
        axes = panel(3.6)
        for name, (colour, marker) in CONTESTANTS.items():
            times = {row["queries"]: float(row["mean_us"]) for row in rows if row["contestant"] == name}
            for place, kind in enumerate(kinds):
                axes.plot(times[kind], -place, color=colour, marker=marker, markersize=8, linestyle="none")
                if name == "penstock":
                    axes.annotate(f"{times[kind]:,.0f}", (times[kind], -place), (0, 8), color=colour,
                                  textcoords="offset points", ha="center", fontsize=9)  # fmt: skip
            axes.plot([], [], color=colour, marker=marker, markersize=7, linestyle="none", label=name)
        for place, kind in enumerate(kinds):
            if kind in GOALS:
                ends = [-place - 0.3, -place + 0.3]
                axes.plot([GOALS[kind]] * 2, ends, color=GREY, linestyle=":", linewidth=1.4)
        axes.plot([], [], color=GREY, linestyle=":", label="goal")
        axes.set_xscale("log")
        axes.set_xlabel("microseconds a query, one thread; less is better")
        axes.xaxis.set_major_formatter("{x:,g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_yticks([-place for place in range(len(kinds))], [f"{kind} words" for kind in kinds])
        axes.set_ylim(-len(kinds) + 0.4, 0.6)
        axes.grid(axis="y", color=GREY, alpha=0.25)
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))


# ---- quality


def quality() -> None:
    """nDCG@10 by collection and analysis; marks show the reference."""
    rows = rows_of(QUALITY)
    collections = list(dict.fromkeys(row["collection"] for row in rows))
    width = 0.36
    with plt.rc_context(STYLE):
        axes = panel(3.2)
        for side, (analysis, colour) in enumerate(ANALYSES.items()):
            found = [row for row in rows if row["analysis"] == analysis]
            places = [collections.index(row["collection"]) + (side - 0.5) * width for row in found]
            heights = [float(row["ndcg_at_10"]) for row in found]
            axes.bar(places, heights, width * 0.92, color=colour, alpha=0.75, label=f"penstock, {analysis}")
            for place, height, row in zip(places, heights, found, strict=True):
                axes.text(place, height + 0.015, f"{height:.4f}", ha="center", fontsize=8)
                ends = [place - width * 0.46, place + width * 0.46]
                axes.plot(ends, [float(row["reference"])] * 2, color="#D1495B", linewidth=1.6)
        axes.plot([], [], color="#D1495B", linewidth=1.6, label="reference")
        axes.set_xticks(range(len(collections)), collections)
        axes.set_ylabel("nDCG@10")
        axes.set_ylim(0, 0.8)
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
