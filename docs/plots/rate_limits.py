"""What each algorithm lets through: the plots of the page on rate limiting, from the limiters themselves."""

from collections.abc import Callable, Iterable

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from penstock.clock import NANOSECONDS, ManualClock
from penstock.ratelimit import RateLimiter

LIMIT = 10  # requests a second, and at once

ALGORITHMS = {  # name -> colour, told apart with any eyesight
    "token_bucket": "#0173B2",
    "sliding_window": "#029E73",
    "sliding_counter": "#DE8F05",
    "fixed_window": "#CC78BC",
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


def draw_sums(axes: Axes, requests: Moments, until: float) -> None:
    """Requests let through so far, a line for each algorithm."""
    for algorithm, colour in ALGORITHMS.items():
        moments = admitted(algorithm, requests)
        sums = [0, *range(1, len(moments) + 1), len(moments)]
        axes.step([0, *moments, until], sums, where="post", color=colour, label=algorithm, linewidth=1.8)
    axes.plot(
        [0, until], [LIMIT, LIMIT * (1 + until)], color="0.6", linestyle=":", label="burst + rate × time"
    )
    axes.set_ylabel("let through so far")
    axes.set_xlim(0, until)
    axes.set_ylim(bottom=0)


def draw_marks(axes: Axes, requests: Moments, until: float) -> None:
    """Each request as a mark, strong where it was let through."""
    for row, (algorithm, colour) in enumerate(ALGORITHMS.items()):
        passed = admitted(algorithm, requests)
        axes.plot(requests, [row] * len(requests), "|", color="0.85", markersize=16)
        axes.plot(passed, [row] * len(passed), "|", color=colour, markersize=16, markeredgewidth=1.6)
        axes.text(until, row, f"{len(passed)} ", ha="right", va="center", fontsize=9)
    axes.set_yticks(range(len(ALGORITHMS)), list(ALGORITHMS))
    axes.invert_yaxis()
    axes.set_xlim(0, until)


def figure(title: str, draw: Callable[[Axes, Moments, float], None], requests: Moments, until: float) -> None:
    """One picture of what the requests got."""
    _, axes = plt.subplots(figsize=(7.6, 3.0), layout="constrained")
    axes.set_title(f"{title} (limit: {LIMIT} a second)", loc="left", fontsize=10)
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes, requests, until)
    if draw is draw_sums:
        axes.legend(frameon=False, fontsize=8, loc="upper left")


def overload() -> None:
    """Three times the limit, all the time."""
    figure("30 requests a second", draw_sums, every(1 / 30, 0, 4), until=4)


def bursts() -> None:
    """Bursts after pauses of different lengths."""
    moments = [*every(0.005, 0.2, 0.3), *every(0.005, 0.7, 0.8), *every(0.005, 2.5, 2.6)]
    figure("20 at once, after 0.4 s again, after 1.7 s again", draw_marks, moments, until=3.2)


def boundary() -> None:
    """Bursts on both sides of the edge of a window."""
    moments = [*every(0.005, 0.9, 0.98), *every(0.005, 1.02, 1.1), *every(0.02, 1.5, 2.4)]
    figure("around the edge of a window, at 1.0 s", draw_marks, moments, until=2.6)
