"""Charts as text: one inline SVG each, which needs no script, no network and no other file.

Every function is pure: figures in, `<svg>...</svg>` out, to put into a page or to save as a file of its
own. Each chart has a title and a description for screen readers, axes with units, and colours that are
told apart with any eyesight, on light and on dark; lines differ in their dashes too, points in their
shapes. A page that has a theme of its own sets the CSS variables `--chart-ink`, `--chart-faint`,
`--chart-grid` and `--chart-1` to `--chart-6`.

The size of the text has a bound whatever comes in: every function says what it leaves out, and texts are
cut to a length that can be read. Values must be finite and at most 1e15 from zero.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from html import escape
from itertools import groupby, pairwise
from typing import Literal

from penstock.errors import InvalidValue
from penstock.services.printable import one_line

__all__ = [
    "Axis",
    "Bucket",
    "Mark",
    "Series",
    "Span",
    "bar_chart",
    "histogram_chart",
    "line_chart",
    "percentile_chart",
    "scatter_chart",
    "step_chart",
    "timeline_chart",
]

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 74, 14, 40, 50
NAMES_LEFT = 190  # where names stand beside bars
ROW = 22  # of a legend, of a bar

LARGEST = 1e15
MOST_SERIES, MOST_BARS, MOST_LANES = 24, 60, 60
MOST_BUCKETS = 120
NARROW, GAP = 4, 0.8  # units of bars in a timeline
DOT = 3  # units within which points of a scatter chart count as one
NAME, BAR_NAME, SENTENCE = 40, 19, 400  # characters

COLOURS = 6
LIGHT = ("#0B7CC1", "#B86E00", "#028562", "#B0529E", "#C8384C", "#6570BF")
DARK = ("#56B4E9", "#E69F00", "#2DC79A", "#E08CCB", "#F2788A", "#A9B1F0")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "5 2 1 2 1 2", "1 2")

ALONE = "h2h-4"  # a point that has no other to go to

GRACE = 1e-9  # of a step, for ends that are ticks but for rounding

Shape = Callable[[int, int], str]
DOTS: tuple[Shape, ...] = (  # around a place, as path
    lambda x, y: f"M{x} {y}h0",
    lambda x, y: f"M{x - 2} {y - 2}l4 4m0-4l-4 4",
    lambda x, y: f"M{x - 3} {y}h6m-3-3v6",
    lambda x, y: f"M{x} {y - 2}l2 4h-4z",
    lambda x, y: f"M{x - 2} {y - 2}h4v4h-4z",
    lambda x, y: f"M{x - 3} {y}h6",
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across a chart at one value of an axis, such as a limit.

    Attributes:
        at: the value.
        label: what it is.
    """

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows. It reaches over all values, and further where it is told to.

    Attributes:
        label: what is measured.
        unit: in which unit, such as `ms`; empty for a count.
        scale: `log` for values that differ in magnitude, all >= 1e-15.
        low: a value that it reaches down to at least.
        high: a value that it reaches up to at least.
        marks: values to draw a line at.
    """

    label: str = ""
    unit: str = ""
    scale: Literal["linear", "log"] = "linear"
    low: float | None = None
    high: float | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """Points that belong together.

    Attributes:
        name: for the legend.
        xs: (n,) where they are; a line or step chart wants them in ascending order.
        ys: (n,) what they are; None is a gap.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many values there were from `low` to `high`."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Span:
    """Something that went on for a while.

    Attributes:
        begin: when.
        end: till when, >= begin.
        kind: gives the colour and stands in the legend; empty for neither.
        lane: name of the row where it is drawn; without one, the first row that is free.
    """

    begin: float
    end: float
    kind: str = ""
    lane: str | None = None


# ---- what can be drawn


def line_chart(
    title: str, series: Sequence[Series], *, x: Axis, y: Axis, description: str = "", height: int = HEIGHT
) -> str:
    """Points joined by lines.

    No more is written than can be seen: of the points of a series in one column of the picture the first,
    the least, the greatest and the last, which draw the same picture (M4: Jugel et al., VLDB 2014).

    Args:
        title: what it shows; the heading.
        series: at most 24, the others are counted in the heading.
        x: the axis of their xs.
        y: the axis of their ys.
        description: more, for who cannot see it.
        height: units, the width is 640.

    Raises:
        ValueError: a value is not finite or too large; a series has not as many ys as xs, or its xs
            descend; a value on a log axis is below 1e-15.
    """
    return curves(title, series, x, y, description, height, joined_by_lines)


def step_chart(
    title: str, series: Sequence[Series], *, x: Axis, y: Axis, description: str = "", height: int = HEIGHT
) -> str:
    """Values that hold until the next one, such as what is in flight. Otherwise as line_chart()."""
    return curves(title, series, x, y, description, height, joined_by_steps)


def scatter_chart(
    title: str, series: Sequence[Series], *, x: Axis, y: Axis, description: str = "", height: int = HEIGHT
) -> str:
    """Points by themselves, such as each request's latency.

    Of the points of a series that lie within the same 3 x 3 units one is drawn. Otherwise as
    line_chart(), but xs may come in any order.
    """
    for each in series:
        check_lengths(each)
    plot = plot_of(title, series, x, y, description, height)
    plot.legend([each.name for each in series])
    by_size = sorted(enumerate(series[:MOST_SERIES]), key=lambda one: -len(one[1].xs))
    for number, each in by_size:  # the fewest last, on top of the others
        shape = DOTS[number % COLOURS]
        places = {
            plot.place(at, value, DOT)
            for at, value in zip(each.xs, each.ys, strict=True)
            if value is not None
        }
        dots = "".join(shape(*place) for place in sorted(places))
        plot.path(dots, f"dots {colour(number)}")
    return plot.text()


def bar_chart(title: str, bars: Sequence[tuple[str, float]], *, value: Axis, description: str = "") -> str:
    """A horizontal bar for each name, with its value in figures.

    Args:
        title: what it shows.
        bars: names and values, >= 0; of more than 60 the first are drawn and the others counted.
        value: the axis of the values.
        description: more, for who cannot see it.

    Raises:
        ValueError: a value is negative, not finite or too large.
    """
    for name, size in bars:
        if not finite(size, name) >= 0:
            raise InvalidValue(f"the value of {name!r} must be >= 0, got {size}")
    drawn = bars[:MOST_BARS]
    scale = scale_of(value, [0.0, *(size for _, size in drawn)] if drawn else [])
    plot = Plot(
        left_out(title, len(bars), MOST_BARS),
        description,
        TOP + BOTTOM + ROW * max(len(drawn), 2),
        scale,
        None,
        left=NAMES_LEFT,
    )
    for number, (name, size) in enumerate(drawn):
        y = TOP + number * ROW
        length = plot.across(size) - plot.left
        said = figure(size) + (f" {value.unit}" if value.unit else "")
        plot.label(plot.left - 6, y + 16, name, "end", most=BAR_NAME)
        plot.rect(plot.left, y + 2, length, ROW - 4, f"{name}: {said}", 0)
        room = plot.left + length > plot.right - 110
        plot.label(
            plot.left + length + (-5 if room else 5),
            y + 16,
            said,
            "end" if room else "start",
            "on" if room else "",
        )
    return plot.text()


def histogram_chart(
    title: str, buckets: Sequence[Bucket], *, x: Axis, y: Axis | None = None, description: str = ""
) -> str:
    """A bar for each bucket, as wide as its range.

    Of more than 120 buckets neighbours are put together until there are at most so many.

    Args:
        title: what it shows.
        buckets: in ascending order.
        x: the axis of their values; on a log axis each low must be > 0.
        y: the axis of the counts.
        description: more, for who cannot see it.

    Raises:
        ValueError: a bucket ends before it begins or before the one before it, or its count is negative.
    """
    for bucket in buckets:
        if not bucket.low <= bucket.high or bucket.count < 0:
            raise InvalidValue(f"a bucket must have low <= high and count >= 0, got {bucket}")
    if any(before.high > after.low for before, after in pairwise(buckets)):
        raise InvalidValue("buckets must be in ascending order and apart")
    buckets = merged(buckets)
    ends = [end for bucket in buckets for end in (bucket.low, bucket.high)]
    counts = [0.0, *(float(bucket.count) for bucket in buckets)] if buckets else []
    plot = Plot(title, description, HEIGHT, scale_of(x, ends), scale_of(y or Axis("count"), counts))
    for bucket in buckets:
        begin, end = plot.across(bucket.low), plot.across(bucket.high)
        top = plot.down(bucket.count)
        said = f"{figure(bucket.low)} to {figure(bucket.high)} {x.unit}: {bucket.count:,}"
        plot.rect(begin, top, max(end - begin - 0.5, 0.5), plot.bottom - top, said, 0)
    return plot.text()


def percentile_chart(
    title: str,
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    *,
    y: Axis,
    description: str = "",
) -> str:
    """Values by percentile, where each tenth of what is left takes the same room, as HdrHistogram plots.

    Args:
        title: what it shows.
        lines: names, and for each its (share, value) with shares from 0 to 1, ascending; 1 is drawn where
            the last one below it is.
        y: the axis of the values.
        description: more, for who cannot see it.

    Raises:
        ValueError: as line_chart(); a share is not from 0 to 1.
    """
    series = []
    for name, points in lines:
        if not all(0 <= share <= 1 for share, _ in points):
            raise InvalidValue(f"the shares of {name!r} must be from 0 to 1")
        last = max((nines(share) for share, _ in points if share < 1), default=0.0)
        places = [nines(share) if share < 1 else last for share, _ in points]
        series.append(Series(name, places, [value for _, value in points]))
    most = max((place for each in series for place in each.xs), default=0.0)
    ticks = [(nines(share), said) for share, said in PERCENTILES if nines(share) <= max(most, 1) + 0.01]
    scale = Scale(Axis("percentile", "%"), 0.0, max(most, 1.0), ticks)
    return curves(title, series, scale, y, description, HEIGHT, joined_by_steps)


def timeline_chart(title: str, spans: Sequence[Span], *, x: Axis, description: str = "") -> str:
    """What was in flight: a bar for each span, in rows.

    Spans of one kind that are narrower than 4 units and less than one apart in a row are drawn as one. Spans
    without lanes that need more than 60 rows share them, and a shared row shows where any of them was. Of
    more than 60 named lanes the first are drawn and the others counted.

    Args:
        title: what it shows.
        spans: in any order.
        x: the axis of their times, linear.
        description: more, for who cannot see it.

    Raises:
        ValueError: a span ends before it begins, or a time is not finite.
    """
    for span in spans:
        if not finite(span.begin, title) <= finite(span.end, title):
            raise InvalidValue(f"a span must end at or after its begin, got {span.begin} to {span.end}")
    ordered = sorted(spans, key=lambda span: (span.begin, span.end))
    named = any(span.lane is not None for span in ordered)
    lanes = lanes_by_name(ordered) if named else lanes_as_free(ordered)
    count = max(lanes, default=-1) + 1
    rows = min(count, MOST_LANES)
    depth = ROW if named else max(4, min(ROW, 240 // max(rows, 1)))
    kinds = sorted(dict.fromkeys(span.kind for span in ordered), key=lambda kind: not kind)
    ends = [end for span in ordered for end in (span.begin, span.end)]
    heading = left_out(title, count, MOST_LANES) if named else title
    plot = Plot(
        heading,
        description,
        TOP + BOTTOM + max(rows * depth, 40),
        scale_of(x, ends, tight=True),
        None,
        left=NAMES_LEFT if named else 24,
    )
    plot.legend([kind for kind in kinds if kind])
    if named:
        names = list(dict.fromkeys(span.lane or "" for span in ordered))
        for row, name in enumerate(names[:MOST_LANES]):
            plot.label(plot.left - 6, plot.top + row * depth + 15, name, "end", most=BAR_NAME)
    bars: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for span, lane in zip(ordered, lanes, strict=True):
        if not named:
            lane = lane * rows // count
        if lane < rows:
            bars.setdefault((lane, span.kind), []).append((plot.across(span.begin), plot.across(span.end)))
    for (row, kind), ranges in bars.items():
        y = plot.top + row * depth + depth * 0.12
        path = "".join(
            f"M{short(a)} {short(y)}H{short(b)}v{short(depth * 0.76)}H{short(a)}z" for a, b in joined(ranges)
        )
        plot.path(path, f"fill {colour(kinds.index(kind))}")
    return plot.text()


# ---- rows and columns


def curves(
    title: str,
    series: Sequence[Series],
    x: "Axis | Scale",
    y: Axis,
    description: str,
    height: int,
    path_of: Callable[[list[tuple[float, float]]], str],
) -> str:
    """A chart of lines of some sort."""
    for each in series:
        check_lengths(each)
        if any(before > after for before, after in pairwise(each.xs)):
            raise InvalidValue(f"the xs of {each.name!r} must not descend")
    plot = plot_of(title, series, x, y, description, height)
    plot.legend([each.name for each in series], dashes=True)
    for number, each in enumerate(series[:MOST_SERIES] if plot.x else ()):
        runs = thinned(each, plot)
        path = "".join(path_of(run) for run in runs)
        plot.path(path, f"line {colour(number)}", dash=DASHES[number // 2 % COLOURS])
    return plot.text()


def plot_of(
    title: str, series: Sequence[Series], x: "Axis | Scale", y: Axis, description: str, height: int
) -> "Plot":
    """The plot that these series need, still without them."""
    xs = [at for each in series for at in each.xs]
    across = scale_of(x, xs, tight=True) if isinstance(x, Axis) else x
    up = scale_of(y, [value for each in series for value in each.ys if value is not None])
    heading = left_out(title, len(series), MOST_SERIES)
    return Plot(heading, description, height, across if up else None, up)


def thinned(series: Series, plot: "Plot") -> list[list[tuple[float, float]]]:
    """The places of a series between its gaps, four a column at most; a gap within a column is not seen."""
    runs: list[list[tuple[float, float]]] = [[]]
    gap = False  # since the last place
    pairs = zip(series.xs, series.ys, strict=True)
    for _, points in groupby(pairs, key=lambda point: math.floor(plot.across(point[0]))):
        places: list[tuple[float, float]] = []
        for at, value in points:
            if value is not None:
                places.append((plot.across(at), plot.down(value)))
            elif not places:
                gap = True
        if not places:
            continue
        if gap and runs[-1] and places[0][0] - runs[-1][-1][0] > 1:
            runs.append([])
        runs[-1] += extremes(places)
        gap = value is None
    return [run for run in runs if run]


def extremes(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The first, the lowest, the highest and the last, in their order, each once."""
    if len(points) <= 4:
        return points
    indices = range(len(points))
    lowest, highest = (choose(indices, key=lambda index: points[index][1]) for choose in (min, max))
    return [points[index] for index in sorted({0, lowest, highest, len(points) - 1})]


def joined_by_lines(points: list[tuple[float, float]]) -> str:
    begin, *others = points
    rest = "".join(f"L{short(x)} {short(y)}" for x, y in others) or ALONE
    return f"M{short(begin[0])} {short(begin[1])}{rest}"


def joined_by_steps(points: list[tuple[float, float]]) -> str:
    begin, *others = points
    rest = "".join(f"H{short(x)}V{short(y)}" for x, y in others) or ALONE
    return f"M{short(begin[0])} {short(begin[1])}{rest}"


def merged(buckets: Sequence[Bucket]) -> Sequence[Bucket]:
    """Neighbours together, until there are few enough."""
    group = -(-len(buckets) // MOST_BUCKETS)
    if group <= 1:
        return buckets
    groups = [buckets[at : at + group] for at in range(0, len(buckets), group)]
    return [Bucket(some[0].low, some[-1].high, sum(each.count for each in some)) for some in groups]


def lanes_by_name(spans: Iterable[Span]) -> list[int]:
    """The row of each span: that of its name, in the order in which the names come."""
    rows: dict[str, int] = {}
    return [rows.setdefault(span.lane or "", len(rows)) for span in spans]


def lanes_as_free(spans: Sequence[Span]) -> list[int]:
    """The row of each span: the first that is free when it begins."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    rows: list[int] = []
    for span in spans:
        while busy and busy[0][0] <= span.begin:
            heappush(free, heappop(busy)[1])
        row = heappop(free) if free else len(busy)
        heappush(busy, (span.end, row))
        rows.append(row)
    return rows


def joined(ranges: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Ranges with those together that overlap, or are too narrow to be told apart; none narrower than a unit.

    Wide ones that follow each other at once are kept apart by a line of the ground.
    """
    begin = end = -math.inf
    for a, b in sorted(ranges):
        together = a < end - GAP or (a < end + 1 and min(b - a, end - begin) < NARROW)
        if together:
            end = max(end, b)
            continue
        if end > -math.inf:
            yield begin, max(end - GAP if a < end + GAP else end, begin + 1)
        begin, end = a, b
    yield begin, max(end, begin + 1)


# ---- scales


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis with its ends and its ticks: values and what is written there."""

    axis: Axis
    low: float
    high: float
    ticks: list[tuple[float, str]]

    def share(self, value: float) -> float:
        """Where a value is, 0 at the low end and 1 at the high one."""
        if self.axis.scale == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def scale_of(axis: Axis, values: Sequence[float], *, tight: bool = False) -> Scale | None:
    """The scale that these values need; None without any. A tight one ends where they do, not at a tick."""
    if not values:
        return None
    told = [value for value in (axis.low, axis.high, *(mark.at for mark in axis.marks)) if value is not None]
    low, high = reach([*values, *told], axis.label)
    return log_scale(axis, low, high) if axis.scale == "log" else linear_scale(axis, low, high, tight)


def reach(values: Iterable[float], label: str) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for value in values:
        low, high = min(low, finite(value, label)), max(high, value)
    return low, high


def linear_scale(axis: Axis, low: float, high: float, tight: bool) -> Scale:
    if low == high == 0:
        high = 1.0
    if 0 <= low <= high / 3 or (low == high and low > 0):
        low = 0.0  # the room to zero says more than the detail
    if high - low <= max(abs(low), abs(high)) * 1e-9 + 1e-12:  # or the ticks would all read the same
        low, high = low - max(abs(low) / 2, 1e-9), high + max(abs(high) / 2, 1e-9)
    step = step_of((high - low) / 5)
    if tight:
        first, last = math.ceil(low / step - GRACE), math.floor(high / step + GRACE)
    else:
        first, last = math.floor(low / step + GRACE), math.ceil(high / step - GRACE)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = [(number * step, f"{number * step:,.{digits}f}") for number in range(first, last + 1)]
    return Scale(axis, low, high, ticks) if tight else Scale(axis, ticks[0][0], ticks[-1][0], ticks)


def step_of(least: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)


def log_scale(axis: Axis, low: float, high: float) -> Scale:
    if low < 1 / LARGEST:
        raise InvalidValue(f"values on the log axis {axis.label!r} must be >= {1 / LARGEST:g}, got {low}")
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    every = -(-(last - first) // 6)
    ticks = [(10.0**power, figure(10.0**power)) for power in range(first, last + 1, every)]
    return Scale(axis, 10.0**first, 10.0**last, ticks)


def nines(share: float) -> float:
    """0 for 0, 1 for 0.9, 2 for 0.99 and so on."""
    return -math.log10(1 - share)


PERCENTILES = ((0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99"),
               (0.99999, "99.999"), (0.999999, "99.9999"))  # fmt: skip


# ---- checks


def finite(value: float, name: str) -> float:
    """The value, which must be one that can be drawn.

    Raises:
        ValueError: it cannot.
    """
    if not -LARGEST <= value <= LARGEST:
        raise InvalidValue(
            f"values of {name!r} must be finite and at most {LARGEST:g} from zero, got {shown(value)}"
        )
    return value


def shown(value: float) -> str:
    """A number as an error message shows it, however large it is."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


def check_lengths(series: Series) -> None:
    if len(series.xs) != len(series.ys):
        raise InvalidValue(
            f"{series.name!r} must have as many xs as ys, got {len(series.xs)} and {len(series.ys)}"
        )


# ---- the picture


@dataclass
class Plot:
    """A picture in the making; without a scale where there should be one it says that there are no data.

    Args:
        title: the heading.
        description: for who cannot see it.
        height: units.
        x: the horizontal scale.
        y: the vertical one; None for rows.
        left: room at the left.
    """

    title: str
    description: str
    height: int
    x: Scale | None
    y: Scale | None
    left: int = LEFT
    top: int = TOP
    parts: list[str] = field(default_factory=list)

    @property
    def right(self) -> int:
        return WIDTH - RIGHT

    @property
    def bottom(self) -> int:
        return self.height - BOTTOM + self.top - TOP  # a legend moves both down

    def across(self, value: float) -> float:
        """Units from the left."""
        assert self.x is not None
        return self.left + self.x.share(value) * (self.right - self.left)

    def down(self, value: float) -> float:
        """Units from the top."""
        assert self.y is not None
        return self.bottom - self.y.share(value) * (self.bottom - self.top)

    def place(self, x: float, y: float, grid: int) -> tuple[int, int]:
        """Units from the left and from the top, on a grid."""
        return round(self.across(x) / grid) * grid, round(self.down(y) / grid) * grid

    def legend(self, names: Sequence[str], *, dashes: bool = False) -> None:
        """Names beside their colours, in rows above the plot; one name needs none."""
        names = [cut(one_line(name, SENTENCE), NAME) for name in names[:MOST_SERIES]]
        if len(names) < 2:
            return
        x, y = self.left, TOP - 2
        for number, name in enumerate(names):
            room = 36 + 11 * len(name)  # for the large letters of narrow pages
            if x + room > self.right and x > self.left:
                x, y = self.left, y + ROW
            dash = DASHES[number // 2 % COLOURS] if dashes else ""
            self.path(f"M{x} {y + 5.5}h18", f"key {colour(number)}", dash=dash)
            self.label(x + 23, y + 10, name, "start")
            x += room
        self.top = y + ROW

    def label(self, x: float, y: float, text: str, anchor: str, style: str = "", most: int = NAME) -> None:
        text = cut(one_line(text, SENTENCE), most)
        kind = f' class="{style}"' if style else ""
        self.parts.append(
            f'<text{kind} x="{short(x)}" y="{short(y)}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def path(self, path: str, style: str, dash: str = "") -> None:
        if path:
            dashes = f' stroke-dasharray="{dash}"' if dash else ""
            self.parts.append(f'<path class="{style}"{dashes} d="{path}"/>')

    def rect(self, x: float, y: float, width: float, height: float, said: str, number: int) -> None:
        """A bar that says what it is when it is pointed at."""
        size = f'x="{short(x)}" y="{short(y)}" width="{short(width)}" height="{short(height)}"'
        self.parts.append(f'<rect class="fill {colour(number)}" {size}>{titled(said)}</rect>')

    def text(self) -> str:
        """The picture."""
        height = self.height + self.top - TOP
        heading = f'<text class="heading" x="8" y="22">{escape(one_line(self.title, 64))}</text>'
        empty = self.x is None
        body = [nothing(height)] if empty else [*self.axes(), *self.parts, *self.marks()]
        said = one_line(self.description or self.in_words(), SENTENCE)
        picture = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="pschart" role="img" '
            f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
            f"{titled(self.title)}<desc>{escape(said)}</desc>"
            f"<style>{STYLE}</style>{heading}{''.join(body)}</svg>"
        )
        return picture.encode(
            "ascii", "xmlcharrefreplace"
        ).decode()  # right in whatever encoding the page has

    def in_words(self) -> str:
        if self.x is None:
            return "There are no data."
        scales = (("Across", self.x), ("up", self.y))
        return "; ".join(
            f"{way}: {name_of(scale.axis)} from {figure(scale.low)} to {figure(scale.high)}"
            for way, scale in scales
            if scale is not None
        )

    def axes(self) -> Iterator[str]:
        """The grid, the ticks and what they measure."""
        assert self.x is not None
        for number, (value, said) in enumerate(self.x.ticks):
            x = self.across(value)
            odd = " odd" if number % 2 and len(self.x.ticks) > 4 else ""
            yield f'<path class="grid" d="M{short(x)} {self.top}V{self.bottom}"/>'
            x, anchor = (WIDTH - 2.0, "end") if x > self.right - 6 else (x, "middle")
            place = f'x="{short(x)}" y="{self.bottom + 17}"'
            yield f'<text class="tick{odd}" {place} text-anchor="{anchor}">{said}</text>'
        if self.y is not None:
            for value, said in self.y.ticks:
                y = self.down(value)
                yield f'<path class="grid" d="M{self.left} {short(y)}H{self.right}"/>'
                place = f'x="{self.left - 6}" y="{short(y + 4)}"'
                yield f'<text class="tick" {place} text-anchor="end">{said}</text>'
            middle = (self.top + self.bottom) / 2
            yield (
                f'<text class="axis" transform="translate(15 {short(middle)}) rotate(-90)" '
                f'text-anchor="middle">{escape(name_of(self.y.axis))}</text>'
            )
        yield f'<path class="edge" d="M{self.left} {self.top}V{self.bottom}H{self.right}"/>'
        middle = (self.left + self.right) / 2
        yield f'<text class="axis" x="{short(middle)}" y="{self.bottom + 38}" text-anchor="middle">' + (
            f"{escape(name_of(self.x.axis))}</text>"
        )

    def marks(self) -> Iterator[str]:
        """The lines across."""
        for mark in self.x.axis.marks if self.x else ():
            x = self.across(mark.at)
            yield f'<path class="mark" d="M{short(x)} {self.top}V{self.bottom}"/>'
            side, gap = ("end", -4) if x > WIDTH / 2 else ("start", 4)
            place = f'x="{short(x + gap)}" y="{self.top + 12}"'
            yield f'<text {place} text-anchor="{side}">{label_of(mark)}</text>'
        for mark in self.y.axis.marks if self.y else ():
            y = self.down(mark.at)
            yield f'<path class="mark" d="M{self.left} {short(y)}H{self.right}"/>'
            yield f'<text x="{self.right - 2}" y="{short(y - 4)}" text-anchor="end">{label_of(mark)}</text>'


def cut(text: str, most: int) -> str:
    """So many characters of a text: its middle goes first, what tells URLs apart is at their ends."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}\N{HORIZONTAL ELLIPSIS}{text[half + 1 - most :]}"


def nothing(height: int) -> str:
    return f'<text class="axis" x="{WIDTH // 2}" y="{height // 2}" text-anchor="middle">no data</text>'


def titled(text: str) -> str:
    return f"<title>{escape(one_line(text, SENTENCE))}</title>"


def label_of(mark: Mark) -> str:
    return escape(one_line(mark.label, NAME))


def name_of(axis: Axis) -> str:
    """Label and unit."""
    unit = f" ({axis.unit})" if axis.unit and axis.label else axis.unit
    return one_line(f"{axis.label}{unit}", 80)


def left_out(title: str, count: int, most: int) -> str:
    """The title, with how much of it is not drawn."""
    return f"{one_line(title, NAME)} (the first {most} of {count:,})" if count > most else title


def colour(number: int) -> str:
    return f"c{number % COLOURS + 1}"


def short(value: float) -> str:
    """A coordinate to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")


def figure(value: float) -> str:
    """A value for people, to three digits; all of a whole number."""
    if value == 0 or (value == int(value) and abs(value) < 1e6) or abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"
    return f"{value:.3g}"


def colours(of: Sequence[str]) -> str:
    return "".join(f"--c{number}:var(--chart-{number},{tone});" for number, tone in enumerate(of, 1))


STYLE = (
    ".pschart{--ink:var(--chart-ink,#262626);--faint:var(--chart-faint,#595959);--grid:var(--chart-grid,#E3E3E3);"
    f"{colours(LIGHT)}"
    "max-width:100%;height:auto;font:13px system-ui,sans-serif}"
    "@media(prefers-color-scheme:dark){.pschart{--ink:var(--chart-ink,#EDEDED);--faint:var(--chart-faint,#B3B3B3);"
    f"--grid:var(--chart-grid,#3A3A3A);{colours(DARK)}}}}}"
    ".pschart text{fill:var(--ink)}.pschart .heading{font-weight:600;font-size:15px}"
    ".pschart .tick,.pschart .axis{fill:var(--faint)}.pschart .on{fill:#fff;font-weight:600}"
    ".pschart path{fill:none;stroke-linecap:round;stroke-linejoin:round}"
    ".pschart .grid{stroke:var(--grid)}.pschart .edge{stroke:var(--faint)}"
    ".pschart .mark{stroke:var(--ink);stroke-dasharray:4 4}"
    ".pschart .line{stroke-width:1.6}.pschart .dots{stroke-width:2.4;opacity:.8}.pschart .key{stroke-width:3}"
    ".pschart path.line,.pschart path.dots,.pschart path.key{stroke:var(--own)}"
    ".pschart .fill{fill:var(--own);stroke:none}"
    + "".join(f".pschart .c{number}{{--own:var(--c{number})}}" for number in range(1, COLOURS + 1))
    + "@media(prefers-color-scheme:dark){.pschart .on{fill:#111}}"
    "@media(max-width:560px){.pschart{font-size:17px}.pschart .heading{font-size:18px}"
    ".pschart .odd{display:none}}"
)
