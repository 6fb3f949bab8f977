"""What each algorithm lets through: the plots of the page on rate limiting, from the limiters themselves."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from penstock.clock import NANOSECONDS, ManualClock
from penstock.ratelimit import RateLimiter

LIMIT = 10  # requests a second, and at once

ALGORITHMS = {  # name -> colour, told apart with any eyesight, on white and on black
    "token_bucket": "#0B7CC1",
    "sliding_window": "#029E73",
    "sliding_counter": "#C97B00",
    "fixed_window": "#C266B0",
}

GREY = "#7A7A7A"  # as far from white as from the black of the dark theme
FAINT = "#7A7A7A59"

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "font.sans-serif": ["DejaVu Sans"],
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], GREY),
}

Moments = list[float]


def every(interval: float, start: float, end: float) -> Moments:
    """Moments from `start` on, `interval` seconds apart."""
    return [start + interval * i for i in range(round((end - start) / interval))]


def admitted(algorithm: str, requests: Iterable[float]) -> Moments:
    """The moments, of those of the requests, at which the limiter lets one through."""
    clock = ManualClock()
    limiter = RateLimiter(f"{LIMIT}/second", algorithm=algorithm, clock=clock)
    passed = []
    for moment in requests:
        clock.now = round(moment * NANOSECONDS)
        if limiter.allow("a client"):
            passed.append(moment)
    return passed


def apart(heights: list[float], gap: float) -> list[float]:
    """The heights, in rising order, moved up until there is a `gap` between each and the next."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    return moved


def draw_sums(axes: Axes, requests: Moments, until: float) -> None:
    """Requests let through so far, a line for each algorithm, with its name and sum at its end."""
    bound = LIMIT * (1 + until)
    axes.plot([0, until], [LIMIT, bound], color=GREY, linestyle=":")
    ends = [(bound, "burst + rate × time", GREY)]
    for algorithm, colour in ALGORITHMS.items():
        moments = admitted(algorithm, requests)
        sums = [0, *range(1, len(moments) + 1), len(moments)]
        axes.step([0, *moments, until], sums, where="post", color=colour, linewidth=1.8)
        ends.append((len(moments), f"{algorithm}, {len(moments)}", colour))
    ends.sort()
    heights = apart([end - 1 for end, _, _ in ends], gap=bound / 14)
    for height, (_, name, colour) in zip(heights, ends, strict=True):
        axes.text(until, height, f"  {name}", color=colour, va="center")
    axes.set_ylabel("let through so far")
    axes.set_xlim(0, until)
    axes.set_ylim(0, bound * 1.06)


def draw_marks(axes: Axes, groups: list[Moments], start: float, until: float) -> None:
    """Each request as a mark, strong where it was let through, and how many were above each group."""
    requests = [moment for group in groups for moment in group]
    for row, (algorithm, colour) in enumerate(ALGORITHMS.items()):
        passed = admitted(algorithm, requests)
        axes.eventplot(requests, lineoffsets=row, linelengths=0.3, linewidths=1, colors=FAINT)
        axes.eventplot(passed, lineoffsets=row, linelengths=0.62, linewidths=1.4, colors=colour)
        for group in groups:
            count = len(set(group) & set(passed))
            axes.text(group[0], row - 0.38, str(count), color=colour, fontweight="bold")
    axes.set_yticks(range(len(ALGORITHMS)), list(ALGORITHMS))
    for label, colour in zip(axes.get_yticklabels(), ALGORITHMS.values(), strict=True):
        label.set_color(colour)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(start, until)
    axes.set_ylim(len(ALGORITHMS) - 0.5, -0.75)


@contextmanager
def figure(title: str) -> Iterator[Axes]:
    """One picture of what requests got, to be drawn on; it has no ground of its own, for dark pages."""
    with plt.rc_context(STYLE):
        picture, axes = plt.subplots(figsize=(8.2, 3.4), layout="constrained")
        picture.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        axes.set_title(f"{title}; the limit is {LIMIT} a second", loc="left", fontsize=10)
        axes.set_xlabel("seconds")
        yield axes


def overload() -> None:
    """Three times the limit, all the time."""
    with figure("30 requests a second") as axes:
        draw_sums(axes, every(1 / 30, 0, 4), until=4)


def bursts() -> None:
    """Bursts after pauses of different lengths."""
    with figure("20 requests at 0.2 s, at 0.7 s and at 2.5 s") as axes:
        draw_marks(axes, [every(0.005, start, start + 0.1) for start in (0.2, 0.7, 2.5)], 0, 2.8)


def boundary() -> None:
    """Bursts on both sides of the edge of a window, then a load that stays."""
    groups = [every(0.01, 0.85, 0.95), every(0.01, 1.05, 1.15), every(0.02, 1.5, 2.5)]
    with figure("10 requests at 0.85 s, 10 at 1.05 s, then 50 a second") as axes:
        for edge in (1, 2):
            axes.axvline(edge, color=GREY, linestyle=":", linewidth=1)
        draw_marks(axes, groups, 0.7, 2.6)
