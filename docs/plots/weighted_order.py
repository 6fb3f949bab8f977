"""The order in which members are picked by weight: the plot of the page on balancing, from the policies."""

from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import matplotlib.pyplot as plt

from penstock.balancing import Balancer, ExactWeighted, Policy, SmoothWeighted

WEIGHTS = {"A": 5, "B": 2, "C": 1}
COLOURS = {"A": "#0B7CC1", "B": "#C97B00", "C": "#029E73"}  # told apart with any eyesight, on white and black
PICKS = 24

GREY = "#7A7A7A"  # as far from white as from the black of the dark theme

STYLE: Any = {
    "font.size": 10,
    "font.sans-serif": ["DejaVu Sans"],
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], GREY),
}


def bursts() -> Iterator[str]:
    """A list in which each member stands as often as its weight, read in a circle."""
    return cycle([name for name, weight in WEIGHTS.items() for _ in range(weight)])


def picks(policy: Policy[str]) -> Iterator[str]:
    """What a balancer picks."""
    return iter(Balancer(WEIGHTS, policy=policy).pick_many(PICKS))


def order() -> None:
    """A row of picks for each way to follow the weights."""
    rows = {
        "each as often as it weighs": bursts(),
        "SmoothWeighted, as nginx": picks(SmoothWeighted()),
        "ExactWeighted": picks(ExactWeighted()),
    }
    with plt.rc_context(STYLE):
        picture, axes = plt.subplots(figsize=(8.2, 2.3), layout="constrained")
        picture.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        for row, sequence in enumerate(rows.values()):
            for turn, name in enumerate(islice(sequence, PICKS), 1):
                axes.barh(row, 0.9, left=turn - 0.45, height=0.72, color=COLOURS[name])
                axes.text(turn, row, name, color="white", ha="center", va="center", fontweight="bold")
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_xticks(range(1, PICKS + 1, sum(WEIGHTS.values())))
        axes.tick_params(length=0)
        axes.invert_yaxis()
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title("weights of 5, 2 and 1", loc="left", fontsize=10)
        axes.set_xlabel("picks")
