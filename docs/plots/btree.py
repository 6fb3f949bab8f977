"""The pictures of the page on ordered maps: a tree, a snapshot of one, and when an index pays."""

import csv
from collections import defaultdict
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

MEASURED = Path("scan_or_index.csv")  # Sphinx runs a plot in the folder where it lies

BLUE, ORANGE, GREEN = "#0B7CC1", "#C97B00", "#029E73"  # told apart with any eyesight, on white and on black
PURPLE = "#C266B0"

GREY = "#7A7A7A"  # as far from white as from the black of the dark theme

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], GREY),
}


# ---- a tree

LEAVES = (  # of a tree whose nodes are small enough to be drawn
    ((3, 5, 8, 9), (11, 12, 17), (20, 24, 26)),
    ((31, 33, 38), (40, 44, 47, 48), (50, 57)),
    ((64, 66, 68), (71, 75), (80, 86, 91, 95)),
)
WANTED = 47  # the key that is looked for
RANGE = (47, 69)  # the range that is gone through
CELL, HEIGHT, LEAF_GAP, NODE_GAP = 1.0, 1.0, 0.55, 1.25
LEVELS = (8.6, 4.6, 0.6)  # where the nodes of each level stand


def tree() -> None:
    """A tree of 29 entries: the path to a key, the counts that make its rank, and a range."""
    with plt.rc_context(STYLE):
        _, axes = blank(4.3)
        x = 0.0
        middles = []
        for leaves in LEAVES:
            ends = [x + at for at in accumulate(CELL * len(keys) + LEAF_GAP for keys in leaves)]
            below = []
            for keys, end in zip(leaves, ends, strict=True):
                draw_leaf(axes, end - LEAF_GAP - CELL * len(keys), keys)
                below.append(end - LEAF_GAP - CELL * len(keys) / 2)
            middles.append((x + ends[-1] - LEAF_GAP) / 2)
            draw_inner(axes, middles[-1], 1, [(keys[0], len(keys)) for keys in leaves], below, path(leaves))
            x = ends[-1] + NODE_GAP - LEAF_GAP
        children = [(leaves[0][0], sum(map(len, leaves))) for leaves in LEAVES]
        draw_inner(axes, middles[1], 0, children, middles, path([sum(leaves, ()) for leaves in LEAVES]))
        draw_words(axes, middles[1])
        axes.set_xlim(-0.4, x - NODE_GAP + 0.4)
        axes.set_ylim(-0.7, 10.8)


def path(nodes: Any) -> int | None:
    """Which of the nodes, given as their keys, has the key that is looked for."""
    return next((at for at, keys in enumerate(nodes) if WANTED in keys), None)


def draw_words(axes: Axes, middle: float) -> None:
    """What the colours and the rows mean."""
    left, right, top = -0.2, middle + 2 * CELL, LEVELS[0]
    label(axes, left, top + 1.5, f"t[{WANTED}]: down one path", BLUE)
    before = [sum(len(keys) for keys in LEAVES[0]), len(LEAVES[1][0]), LEAVES[1][1].index(WANTED)]
    label(
        axes,
        left,
        top + 0.5,
        f"rank({WANTED}) = {' + '.join(map(str, before))}: all that is left of it",
        ORANGE,
    )
    label(axes, left, top - 0.5, f"range{RANGE}: from leaf to leaf", GREEN)
    label(axes, right, top + 1.5, "least key below each child", GREY)
    label(axes, right, top + 0.5, "number of entries below it", GREY)
    label(axes, left, LEVELS[2] - 0.55, "leaves: keys side by side, then values", GREY)


def blank(height: float) -> tuple[Any, Axes]:
    """A picture without ground or axes."""
    picture, axes = plt.subplots(figsize=(8.2, height), layout="constrained")
    for part in (picture, axes):
        part.patch.set_alpha(0)
    axes.axis("off")
    return picture, axes


def label(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """A line of text that begins at a place."""
    axes.text(x, y, text, color=colour, va="center", fontsize=8.5)


def cell(axes: Axes, x: float, y: float, text: str, colour: str | None = None) -> None:
    """A box with text, grey or in a colour."""
    frame = Rectangle(
        (x, y), CELL, HEIGHT, facecolor=colour or "none", alpha=0.28 if colour else 1, linewidth=0
    )
    axes.add_patch(frame)
    axes.add_patch(Rectangle((x, y), CELL, HEIGHT, facecolor="none", edgecolor=colour or GREY, linewidth=0.9))
    axes.text(x + CELL / 2, y + HEIGHT / 2, text, ha="center", va="center", fontsize=8, color=colour or GREY)


def draw_leaf(axes: Axes, x: float, keys: tuple[int, ...]) -> None:
    """A row of keys above a row of values."""
    for at, key in enumerate(keys):
        colour = None
        if RANGE[0] <= key < RANGE[1]:
            colour = GREEN
        elif WANTED in keys and key < WANTED:
            colour = ORANGE
        cell(axes, x + CELL * at, LEVELS[2] + HEIGHT, str(key), BLUE if key == WANTED else colour)
        cell(axes, x + CELL * at, LEVELS[2], "•", colour)


def draw_inner(
    axes: Axes,
    middle: float,
    level: int,
    children: list[tuple[int, int]],
    below: list[float],
    taken: int | None,
) -> None:
    """A row of keys above a row of counts, and a line to each child.

    `children` are their least keys, of which that of the first is not kept, and the numbers of their entries;
    `below` is where they stand. The child that is taken is blue, the counts left of it are orange.
    """
    left, y = middle - CELL * len(children) / 2, LEVELS[level]
    for at, (least, entries) in enumerate(children):
        x = left + CELL * at
        on_path, counted = at == taken, taken is not None and at < taken
        cell(axes, x, y + HEIGHT, str(least) if at else "", BLUE if on_path else None)
        cell(axes, x, y, str(entries), ORANGE if counted else None)
        colour, width = (BLUE, 1.8) if on_path else (GREY, 0.8)
        ends = [x + CELL / 2, below[at]], [y, LEVELS[level + 1] + 2 * HEIGHT]
        axes.plot(*ends, color=colour, linewidth=width)


# ---- a snapshot

FANOUT = 3
WIDTH, NODE_HEIGHT = 1.5, 0.75


def snapshot() -> None:
    """A tree and its snapshot after one write: what they share, and the path that was copied."""
    with plt.rc_context(STYLE):
        _, axes = blank(2.7)
        leaves = [(2.0 * at, 0.0) for at in range(9)]
        inner = [(leaves[3 * at + 1][0], 2.2) for at in range(3)]
        root = (inner[1][0], 4.4)
        for at, place in enumerate(leaves):
            line(axes, inner[at // FANOUT], place, GREY)
        for place in inner:
            line(axes, root, place, GREY)
        new_leaf, new_inner, new_root = (
            (leaves[8][0] + 2.4, 0.0),
            (inner[2][0] + 4.4, 2.2),
            (inner[2][0] + 2.2, 4.4),
        )
        for place in (*inner[:2], new_inner):
            line(axes, new_root, place, ORANGE)
        for place in (*leaves[6:8], new_leaf):
            line(axes, new_inner, place, ORANGE)
        for place in (root, *inner, *leaves):
            box(axes, place, GREY)
        for place in (new_root, new_inner, new_leaf):
            box(axes, place, ORANGE)
        axes.text(root[0] - 1.1, root[1] + NODE_HEIGHT / 2, "snapshot", ha="right", va="center", color=GREY)
        axes.text(
            new_root[0] + 1.1,
            new_root[1] + NODE_HEIGHT / 2,
            "tree, after one write",
            va="center",
            color=ORANGE,
        )
        axes.set_xlim(-0.9, new_leaf[0] + 2.4)
        axes.set_ylim(-0.1, 5.3)


def box(axes: Axes, place: tuple[float, float], colour: str) -> None:
    """A node, by the middle of its lower edge."""
    x, y = place
    corner = (x - WIDTH / 2, y)
    axes.add_patch(Rectangle(corner, WIDTH, NODE_HEIGHT, facecolor=colour, alpha=0.3, linewidth=0, zorder=2))
    frame = Rectangle(corner, WIDTH, NODE_HEIGHT, facecolor="none", edgecolor=colour, linewidth=1.1, zorder=3)
    axes.add_patch(frame)


def line(axes: Axes, upper: tuple[float, float], lower: tuple[float, float], colour: str) -> None:
    """From a node to one of its children."""
    ends = [upper[0], lower[0]], [upper[1], lower[1] + NODE_HEIGHT]
    axes.plot(*ends, color=colour, linewidth=0.9, zorder=1)


# ---- when an index pays

Row = dict[str, str]


def scan_or_index() -> None:
    """Milliseconds that a scan and an index take, over the share of the rows that is wanted."""
    tables: dict[int, list[Row]] = defaultdict(list)
    with MEASURED.open(newline="") as lines:
        for row in csv.DictReader(lines):
            tables[int(row["rows_of_table"])].append(row)
    with plt.rc_context(STYLE):
        picture, panels = plt.subplots(1, len(tables), figsize=(8.2, 3.3), layout="constrained", sharey=True)
        picture.patch.set_alpha(0)
        for axes, (size, rows) in zip(panels, sorted(tables.items()), strict=True):
            axes.patch.set_alpha(0)
            axes.set_title(f"{size:,} rows", loc="left", fontsize=9)
            draw_times(axes, rows)
        panels[0].set_ylabel("milliseconds")
        panels[len(tables) // 2].set_xlabel("rows wanted, % of the table")


def draw_times(axes: Axes, rows: list[Row]) -> None:
    """Two lines, and marks on what the planner takes."""
    rows = sorted(rows, key=lambda row: float(row["share_of_rows"]))
    shares = [100 * float(row["share_of_rows"]) for row in rows]
    for way, colour, marker in (("scan", ORANGE, "s"), ("index", BLUE, "o")):
        times = [float(row[f"{way}_us"]) / 1_000 for row in rows]
        axes.plot(shares, times, color=colour, linewidth=1.3, label=way)
        taken = [
            (share, time)
            for share, time, row in zip(shares, times, rows, strict=True)
            if row["chosen"] == way
        ]
        if taken:
            axes.scatter(*zip(*taken, strict=True), color=colour, marker=marker, s=18)
        below = way == "index"
        axes.text(
            shares[0], times[0] * (0.72 if below else 1.3), way, color=colour, va="top" if below else "bottom"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.set_ylim(0.0008, 20)
