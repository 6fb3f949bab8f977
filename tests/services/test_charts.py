"""Charts are text that every browser reads, whatever the figures and names are."""

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.services.charts import (
    Axis,
    Bucket,
    Mark,
    Series,
    Span,
    bar_chart,
    histogram_chart,
    line_chart,
    percentile_chart,
    scatter_chart,
    step_chart,
    timeline_chart,
)

SVG = "{http://www.w3.org/2000/svg}"
TIME, LATENCY = Axis("time", "s"), Axis("latency", "ms")
POINTS = [line_chart, step_chart, scatter_chart]

HOSTILE = ["<script>alert(1)</script>", "]]>&amp;", "\"'>", "a\x00\x1b[31mb\ud800", "語" * 1000, ""]

values = st.floats(-1e15, 1e15) | st.floats(-1e-12, 1e-12) | st.integers(-5, 5).map(float)


def drawn(chart):
    """The root of a chart, which has to be XML."""
    return ET.fromstring(chart)


def texts(chart):
    return ["".join(text.itertext()) for text in drawn(chart).iter(f"{SVG}text")]


def paths(chart, style):
    return [path.get("d") for path in drawn(chart).iter(f"{SVG}path") if style in path.get("class").split()]


def of(chart, series, x=TIME, y=LATENCY, title="title"):
    return chart(title, series, x=x, y=y)


def every_chart(name):
    """One of each kind, with this name wherever there is one."""
    axis = Axis(name, name, marks=(Mark(1.0, name),))
    two = [Series(name, [0, 1], [1, 2]), Series(name, [0, 1], [2, 1])]
    yield from (chart(name, two, x=axis, y=axis, description=name) for chart in POINTS)
    yield bar_chart(name, [(name, 1), (name, 2)], value=axis, description=name)
    yield histogram_chart(name, [Bucket(0, 1, 2), Bucket(1, 2, 1)], x=axis, description=name)
    yield percentile_chart(name, [(name, [(0.5, 1), (0.99, 2), (1, 3)])], y=axis, description=name)
    yield timeline_chart(name, [Span(0, 1, name), Span(0, 2, f"other {name}")], x=axis, description=name)
    yield timeline_chart(name, [Span(0, 1, name, lane=name)], x=axis, description=name)


# Any chart


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_strangers_are_text_and_never_markup(name):
    for chart in every_chart(name):
        root = drawn(chart)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            "svg", "title", "desc", "style", "text", "path", "rect",
        }  # fmt: skip
        assert chart.isascii()
        assert len(chart) < 20_000


def test_it_says_what_it_is_to_who_cannot_see_it():
    for chart in every_chart("latency"):
        root = drawn(chart)
        assert (root.get("role"), root[0].tag, root[1].tag) == ("img", f"{SVG}title", f"{SVG}desc")
        assert root[0].text == root[1].text == "latency"


def test_without_a_description_it_tells_its_axes():
    chart = of(line_chart, [Series("a", [0, 10], [1, 8])])
    assert drawn(chart)[1].text == "Across: time (s) from 0 to 10; up: latency (ms) from 0 to 8"


def test_it_needs_nothing_from_elsewhere():
    for chart in every_chart("latency"):
        for word in ("<script", "href", "url(", "@import", "http:"):
            assert word not in chart.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_it_follows_the_light_and_the_colours_of_its_page():
    chart = of(line_chart, [Series("a", [0, 1], [0, 1])])
    assert "prefers-color-scheme:dark" in chart
    assert "var(--chart-ink" in chart


@pytest.mark.parametrize(
    "chart",
    [
        *(of(chart, []) for chart in POINTS),
        *(of(chart, [Series("a", [], [])]) for chart in POINTS),
        *(of(chart, [Series("a", [1, 2], [None, None])]) for chart in POINTS),
        bar_chart("title", [], value=LATENCY),
        histogram_chart("title", [], x=LATENCY),
        percentile_chart("title", [], y=LATENCY),
        percentile_chart("title", [("a", [])], y=LATENCY),
        timeline_chart("title", [], x=TIME),
    ],
)
def test_no_data_is_said_in_words(chart):
    assert texts(chart) == ["title", "no data"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.1e15, 10**400])
def test_what_cannot_be_drawn_is_refused_by_name(bad):
    calls = [
        *(lambda chart=chart: of(chart, [Series("a", [0, 1], [0, bad])]) for chart in POINTS),
        *(lambda chart=chart: of(chart, [Series("a", [0, bad], [0, 1])]) for chart in POINTS),
        lambda: bar_chart("t", [("a", bad)], value=LATENCY),
        lambda: histogram_chart("t", [Bucket(0, bad, 1)], x=LATENCY),
        lambda: percentile_chart("t", [("a", [(0.5, bad)])], y=LATENCY),
        lambda: timeline_chart("t", [Span(0, bad)], x=TIME),
        lambda: of(line_chart, [Series("a", [0], [0])], y=Axis(high=bad)),
        lambda: of(line_chart, [Series("a", [0], [0])], y=Axis(marks=(Mark(bad, "m"),))),
    ]
    for call in calls:
        with pytest.raises(PenstockError, match=r"must be|must have|must not|must end") as refused:
            call()
        assert isinstance(refused.value, ValueError)


@given(st.lists(st.tuples(values, values), min_size=1, max_size=30))
def test_all_that_is_finite_can_be_drawn_within_the_picture(points):
    xs, ys = zip(*sorted(points), strict=True)
    for chart in POINTS:
        root = drawn(of(chart, [Series("a", xs, ys)]))
        for text in root.iter(f"{SVG}text"):
            assert len("".join(text.itertext())) < 60
            assert 0 <= float(text.get("x", "0")) <= 640
            assert 0 <= float(text.get("y", "0")) <= 300


# Points


def test_a_line_goes_through_its_points():
    (path,) = paths(of(line_chart, [Series("a", [0, 5, 10], [0, 10, 5])]), "line")
    assert path == "M74 250L350 40L626 145"


def test_a_step_holds_until_the_next_value():
    (path,) = paths(of(step_chart, [Series("a", [0, 5, 10], [0, 10, 5])]), "line")
    assert path == "M74 250H350V40H626V145"


def test_one_point_is_seen():
    for chart in (line_chart, step_chart):
        (path,) = paths(of(chart, [Series("a", [3], [4])]), "line")
        assert path.endswith("h2h-4")
    assert paths(of(scatter_chart, [Series("a", [3], [4])]), "dots")


def test_a_gap_is_not_bridged():
    (path,) = paths(of(line_chart, [Series("a", [0, 1, 2, 3, 4], [1, 1, None, 1, 1])]), "line")
    assert path.count("M") == 2


def test_a_gap_narrower_than_a_column_is_not_seen():
    xs = [n / 1000 for n in range(100_000)]
    ys = [None if n % 100 == 50 else 1.0 for n in range(100_000)]
    (path,) = paths(of(line_chart, [Series("a", xs, ys)]), "line")
    assert path.count("M") == 1


@pytest.mark.parametrize("chart", POINTS)
def test_the_text_does_not_grow_with_the_points(chart):
    n = 200_000
    xs = [i / n for i in range(n)]
    ys = [math.sin(i) for i in range(n)]
    assert len(of(chart, [Series("a", xs, ys)])) < 140_000


def test_thinning_keeps_the_peaks():
    ys = [0.0] * 100_000
    ys[61_234], ys[20_000] = 8.0, -3.0
    (path,) = paths(of(line_chart, [Series("a", range(100_000), ys)], y=Axis()), "line")
    heights = {float(part.split(" ")[1]) for part in path[1:].split("L")}
    assert len(heights) == 3  # zero, the peak and the trough
    assert min(heights) == 68  # 8 on an axis from -5 to 10, which is from 250 up to 40


@pytest.mark.parametrize("chart", [line_chart, step_chart])
def test_points_that_go_back_in_time_are_refused(chart):
    with pytest.raises(ValueError, match="the xs of 'a' must not descend"):
        of(chart, [Series("a", [1, 0], [1, 1])])


@pytest.mark.parametrize("chart", POINTS)
def test_as_many_xs_as_ys_are_asked_for(chart):
    with pytest.raises(ValueError, match="'a' must have as many xs as ys, got 1 and 2"):
        of(chart, [Series("a", [1], [1, 1])])


@pytest.mark.parametrize("chart", POINTS)
def test_a_log_axis_refuses_what_it_cannot_show(chart):
    with pytest.raises(ValueError, match="values on the log axis 'latency' must be >= 1e-15, got 0"):
        of(chart, [Series("a", [1, 2], [0, 1])], y=Axis("latency", scale="log"))


def test_a_log_axis_gives_each_power_of_ten_the_same_room():
    (path,) = paths(of(line_chart, [Series("a", [0, 1, 2], [1, 10, 100])], y=Axis(scale="log")), "line")
    assert path == "M74 250L350 145L626 40"


@pytest.mark.parametrize("chart", POINTS)
def test_of_too_many_series_the_others_are_counted(chart):
    many = [Series(f"s{n}", [0, 1], [n, n]) for n in range(40)]
    drawn_lines = paths(of(chart, many), "line") + paths(of(chart, many), "dots")
    assert len(drawn_lines) == 24
    assert texts(of(chart, many))[0] == "title (the first 24 of 40)"


def test_lines_of_one_colour_differ_in_their_dashes():
    many = [Series(f"s{n}", [0, 1], [n, n]) for n in range(12)]
    root = drawn(of(line_chart, many))
    looks = {(path.get("class"), path.get("stroke-dasharray")) for path in root.iter(f"{SVG}path")}
    assert len([look for look in looks if "line" in look[0].split()]) == 12


def test_a_mark_is_drawn_at_its_value_and_the_axis_reaches_it():
    chart = of(line_chart, [Series("a", [0, 1], [1, 2])], y=Axis("latency", marks=(Mark(10, "goal"),)))
    assert "goal" in texts(chart)
    assert paths(chart, "mark") == ["M74 40H626"]


# Bars


def test_bars_tell_their_values_in_figures():
    said = texts(bar_chart("time", [("a", 1234.5), ("b", 0.25), ("c", 0)], value=Axis("time", "s")))
    assert {"1,234 s", "0.25 s", "0 s"} <= set(said)


def test_a_negative_bar_is_refused():
    with pytest.raises(ValueError, match="the value of 'a' must be >= 0, got -1"):
        bar_chart("time", [("a", -1)], value=LATENCY)


def test_of_too_many_bars_the_others_are_counted():
    chart = bar_chart("time", [(f"b{n}", n) for n in range(1000)], value=LATENCY)
    assert texts(chart)[0] == "time (the first 60 of 1,000)"
    assert len(list(drawn(chart).iter(f"{SVG}rect"))) == 60


def test_a_long_name_keeps_its_ends():
    chart = bar_chart("time", [("https://example.com/a/long/way/to/7", 1)], value=LATENCY)
    assert "https://e…/way/to/7" in texts(chart)


def test_neighbouring_buckets_are_put_together_until_they_are_few():
    chart = histogram_chart("latency", [Bucket(n, n + 1, 3) for n in range(1000)], x=LATENCY)
    bars = list(drawn(chart).iter(f"{SVG}rect"))
    assert len(bars) == 112
    assert bars[0][0].text == "0 to 9 ms: 27"


@pytest.mark.parametrize(
    "buckets", [[Bucket(2, 1, 1)], [Bucket(0, 1, -1)], [Bucket(0, 2, 1), Bucket(1, 3, 1)]]
)
def test_buckets_that_make_no_histogram_are_refused(buckets):
    with pytest.raises(ValueError, match="bucket"):
        histogram_chart("latency", buckets, x=LATENCY)


# Percentiles


def test_each_nine_takes_the_same_room():
    chart = percentile_chart("latency", [("a", [(0, 1), (0.9, 2), (0.99, 3), (0.999, 4)])], y=Axis("ms"))
    (path,) = paths(chart, "line")
    assert path.startswith("M74 ")
    assert [part.split("V")[0] for part in path.split("H")[1:]] == ["258", "442", "626"]


def test_all_of_them_stand_where_the_last_share_below_one_does():
    chart = percentile_chart("latency", [("a", [(0, 1), (0.9, 2), (1, 4)])], y=Axis("ms"))
    (path,) = paths(chart, "line")
    assert path.endswith("H626V145H626V40")


def test_a_share_beyond_one_is_refused():
    with pytest.raises(ValueError, match="the shares of 'a' must be from 0 to 1"):
        percentile_chart("latency", [("a", [(99, 1)])], y=LATENCY)


# Timelines


def rows(chart):
    """How many rows have bars."""
    return len(
        {part.split("H")[0].split(" ")[1] for path in paths(chart, "fill") for part in path.split("M")[1:]}
    )


def test_what_overlaps_stands_in_different_rows_and_what_follows_in_one():
    assert rows(timeline_chart("t", [Span(0, 1), Span(1, 2), Span(2, 3)], x=TIME)) == 1
    assert rows(timeline_chart("t", [Span(0, 2), Span(1, 3), Span(2, 4)], x=TIME)) == 2


def test_what_is_too_short_to_be_seen_is_seen():
    (path,) = paths(timeline_chart("t", [Span(0, 1), Span(5, 5), Span(9, 10)], x=TIME), "fill")
    assert path.count("M") == 3


def test_what_follows_at_once_is_told_apart_while_it_is_wide_enough():
    (wide,) = paths(timeline_chart("t", [Span(n, n + 1) for n in range(20)], x=TIME), "fill")
    assert wide.count("M") == 20
    (narrow,) = paths(timeline_chart("t", [Span(n, n + 1) for n in range(2_000)], x=TIME), "fill")
    assert narrow.count("M") < 200


def test_named_lanes_keep_their_order_and_the_many_are_counted():
    chart = timeline_chart("phases", [Span(n, n + 1, lane=f"lane {n}") for n in range(100)], x=TIME)
    assert texts(chart)[0] == "phases (the first 60 of 100)"
    lanes = [text for text in texts(chart) if text.startswith("lane")]
    assert lanes == [f"lane {n}" for n in range(60)]


def test_thousands_at_once_share_rows():
    chart = timeline_chart("t", [Span(n / 1e4, 5 + n / 1e4) for n in range(7500)], x=TIME)
    assert rows(chart) == 60
    assert len(chart) < 40_000


def test_a_span_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="a span must end at or after its begin, got 2 to 1"):
        timeline_chart("t", [Span(2, 1)], x=TIME)
