"""What each policy keeps: the plots of the page on policies, from what measure_hit_ratios.py has counted."""

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

TABLE = Path("hit_ratios.csv")  # Sphinx runs a plot in the folder where it lies

POLICIES = {  # name -> colour and marker, told apart with any eyesight, on white and on black
    "tinylfu": ("#C266B0", "o"),
    "s3fifo": ("#029E73", "s"),
    "sieve": ("#C97B00", "^"),
    "lfu": ("#D1495B", "v"),
    "lru": ("#0B7CC1", "D"),
    "fifo": ("#7C86C9", "x"),
}

GREY = "#7A7A7A"  # as far from white as from the black of the dark theme

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], GREY),
}

RECORDED = {  # trace -> what it is
    "arc/OLTP": "database, OLTP",
    "arc/P3": "disk of a workstation",
    "cache2k/web07": "pages of a web shop",
    "cache2k/orm-busy": "object-relational mapper",
    "corda/vaultservice": "ledger, each key thrice",
    "address/gcc": "memory of a compiler",
    "libcachesim/cloudPhysicsIO": "disk of a virtual machine",
}

MADE = {
    "lirs/2_pools": "two pools",
    "lirs/loop": "loop",
    "lirs/scan": "scan",
    "lirs/cpp": "cpp",
    "lirs/cs": "cscope",
    "lirs/gli": "glimpse",
    "lirs/ps": "postgres",
    "lirs/multi1": "cscope and cpp",
    "lirs/multi2": "cscope, cpp and postgres",
}

Curve = list[tuple[int, float]]  # size, and hits in per cent of the requests


def curves() -> dict[str, dict[str, Curve]]:
    """What was measured, by trace and policy."""
    measured: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(list))
    with TABLE.open(newline="") as lines:
        for row in csv.DictReader(lines):
            percent = 100 * int(row["hits"]) / int(row["requests"])
            measured[row["trace"]][row["policy"]].append((int(row["size"]), percent))
    return measured


def draw_curves(axes: Axes, by_policy: dict[str, Curve]) -> None:
    """A line for each policy, and a dotted one for the best that can be."""
    sizes, optimum = zip(*by_policy["optimum"], strict=True)
    axes.plot(sizes, optimum, color=GREY, linestyle=":", label="optimum")
    for policy, (colour, marker) in reversed(POLICIES.items()):
        _, percents = zip(*by_policy[policy], strict=True)
        axes.plot(
            sizes,
            percents,
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=1.3,
            alpha=0.9,
            label=policy,
        )
    axes.set_xscale("log")
    axes.set_xticks([sizes[0], sizes[-1]], [readable(sizes[0]), readable(sizes[-1])])
    axes.minorticks_off()
    axes.margins(x=0.06)


def readable(size: int) -> str:
    """A number of entries, or of bytes if it is as large as those of a cache by bytes."""
    return f"{size >> 20} MiB" if size >= 1 << 27 else f"{size:,}"


def draw_panels(traces: dict[str, str], columns: int) -> None:
    """A panel for each trace, and the names of the lines in one more; it has no ground of its own."""
    rows = -(-(len(traces) + 1) // columns)
    with plt.rc_context(STYLE):
        picture, grid = plt.subplots(rows, columns, figsize=(8.2, 2.3 * rows), layout="constrained")
        picture.patch.set_alpha(0)
        measured = curves()
        cells = list(grid.flat)
        for axes, (trace, title) in zip(cells, traces.items(), strict=False):
            axes.patch.set_alpha(0)
            axes.set_title(title, loc="left", fontsize=9)
            draw_curves(axes, measured[trace])
        lines, names = cells[0].get_legend_handles_labels()
        for axes in cells[len(traces) :]:
            axes.axis("off")
        cells[len(traces)].legend(lines[::-1], names[::-1], loc="upper left", frameon=False)
        picture.supxlabel("size of the cache", fontsize=9)
        picture.supylabel("hits, % of requests", fontsize=9)


def recorded() -> None:
    """Traces that were recorded at work."""
    draw_panels(RECORDED, columns=4)


def made() -> None:
    """The traces of the LIRS paper: loops, scans, and programs that mix them."""
    draw_panels(MADE, columns=5)
