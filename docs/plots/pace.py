"""How the distributor finds the pace of an analyzer: the plot of the page on routing, from `Pace` itself."""

import heapq
from random import Random
from typing import Any

import matplotlib.pyplot as plt

from penstock.clock import NANOSECONDS, ManualClock
from penstock.services.distributor.pace import Pace

WORKERS = 8
SECONDS = 0.1  # that one delivery takes a worker
SLOWER, AGAIN, END = 40.0, 80.0, 120.0  # seconds: five times as slow from the first moment to the second
NOISE = 0.1  # deviation of the logarithm of what a delivery takes

BLUE, ORANGE = "#0B7CC1", "#C97B00"  # told apart with any eyesight, on white and black
GREY = "#7A7A7A"  # as far from white as from the black of the dark theme
FAINT = "#7A7A7A33"

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "font.sans-serif": ["DejaVu Sans"],
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], GREY),
}

Points = list[tuple[float, float]]


def delivered() -> tuple[Points, Points]:
    """What the limit was when a delivery was answered, and how long that took, with the moment of each.

    There is always more to deliver; deliveries that find no worker free wait in line.
    """
    clock, random = ManualClock(), Random(7)
    pace = Pace(most=64, adaptive=True, batch_packets=500, batch_bytes=1 << 20, clock=clock)
    free = [0] * WORKERS  # when each worker is done with what it has
    under_way: list[tuple[int, int]] = []
    limits: Points = []
    answers: Points = []
    while clock.now < END * NANOSECONDS:
        while len(under_way) < pace.limit:
            slow = 5 if SLOWER <= clock.now / NANOSECONDS < AGAIN else 1
            takes = round(slow * SECONDS * random.lognormvariate(0, NOISE) * NANOSECONDS)
            done = max(clock.now, heapq.heappop(free)) + takes
            heapq.heappush(free, done)
            heapq.heappush(under_way, (done, clock.now))
            pace.started(len(under_way))
        clock.now, began = heapq.heappop(under_way)
        took = (clock.now - began) / NANOSECONDS
        pace.succeeded(took, 500)
        limits.append((clock.now / NANOSECONDS, pace.limit))
        answers.append((clock.now / NANOSECONDS, took))
    return limits, answers


def limit() -> None:
    """The limit over time, above how long deliveries took."""
    limits, answers = delivered()
    with plt.rc_context(STYLE):
        picture, (above, below) = plt.subplots(2, 1, figsize=(8.2, 4.2), sharex=True, layout="constrained")
        picture.patch.set_alpha(0)
        for axes in (above, below):
            axes.patch.set_alpha(0)
            axes.axvspan(SLOWER, AGAIN, color=FAINT, linewidth=0)
        above.step(*zip(*limits, strict=True), where="post", color=BLUE)
        above.axhline(WORKERS, color=GREY, linestyle=":")
        above.text(END, WORKERS + 0.4, "worked on at a time", ha="right", va="bottom")
        above.text((SLOWER + AGAIN) / 2, 19, "five times as slow", ha="center", va="top")
        above.set_ylim(0, 20)
        above.set_title("deliveries under way, at the most", loc="left", fontsize=10)
        below.plot(*zip(*answers, strict=True), ".", markersize=2, color=ORANGE)
        below.set_ylim(0)
        below.set_title("seconds until a delivery is answered", loc="left", fontsize=10)
        below.set_xlabel("seconds")
