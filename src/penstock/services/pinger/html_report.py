"""The report of a run as one HTML page: what came of it, charts, every target. No script, no network."""

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from math import ceil, floor, log10
from pathlib import Path

from penstock.observability.histogram import Histogram
from penstock.services.charts import (
    Axis,
    Bucket,
    Series,
    histogram_chart,
    line_chart,
    percentile_chart,
    step_chart,
)
from penstock.services.pinger.durations import duration_words
from penstock.services.pinger.figures import PHASES, Figures
from penstock.services.pinger.model import PingResult
from penstock.services.pinger.over_time import OverTime, Slice
from penstock.services.pinger.summary import RunSummary
from penstock.services.row_files import rfc3339

__all__ = ["HtmlReport", "page_of"]

MOST_TARGETS = 200
MOST_REASONS = 30

MOST_STEPS = 120

PINGS_OF_A_SLICE = 20
"""On average, so that its percentiles say something."""

BINS = 12
"""Bars of a decade."""

PERCENTILES = (
    *(tenth / 10 for tenth in range(1, 10)),
    *(0.925, 0.95, 0.975, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999),
)

COLUMNS = ("target", "pings", "failed", "p50", "p90", "p99", "max", "where the time went, on average")

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing on the page may run, and nothing is fetched, whatever a server had in its answer."""

PHASE_NAMES = {"dns": "DNS", "connect": "connect", "tls": "TLS", "wait": "first byte", "transfer": "body"}


class HtmlReport:
    """Where the report of a run is to be written; opened before the run, so that it cannot be for nothing.

    Memory does not grow with the pings.

    Args:
        path: created, or emptied.

    Raises:
        OSError: it cannot be opened or written, here and in write_page().
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._over_time = OverTime()
        with open(path, "wb"):
            pass

    def write(self, result: PingResult) -> None:
        """Takes one result; a sink."""
        self._over_time.add(result)

    def write_page(self, summary: RunSummary) -> None:
        """Writes the page."""
        with open(self._path, "w", encoding="utf-8", errors="replace") as file:
            file.write(page_of(summary, self._over_time))


def page_of(summary: RunSummary, over_time: OverTime) -> str:
    """The page."""
    overall = summary.overall
    state = "bad" if not summary.ok else "warn" if summary.distrust or overall.warned else "good"
    style = files(__package__).joinpath("html_report.css").read_text(encoding="utf-8")
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>penstock ping, {rfc3339(summary.started_at)}</title>\n<style>\n{style}</style></head>\n",
            f'<body><main data-state="{state}">\n',
            *head(summary),
            *charts(summary, over_time),
            *targets(summary),
            *reasons(overall),
            DEFINITIONS,
            "</main></body></html>\n",
        ]
    )


def head(summary: RunSummary) -> Iterator[str]:
    overall = summary.overall
    yield "<header><h1>penstock <span>ping</span></h1>"
    yield f"<p>{rfc3339(summary.started_at)}, {duration_words(summary.seconds)}, "
    yield f"engine {escape(summary.engine)}, {summary.load} load{', interrupted' * summary.interrupted}</p>"
    yield "</header>\n<dl>"
    figures = [
        ("pings", f"{overall.pings:,}"),
        ("failed", f"{overall.failed:,}"),
        ("recovered", f"{overall.recovered:,}"),
        ("rate", "–" if summary.rate is None else rate_words(summary.rate)),
        *(
            (name, duration(overall.total, share))
            for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        ),
        ("lag p99", duration_words(summary.lag.p99 / 1e9)),
    ]
    for name, figure in figures:
        bad = ' class="bad"' if name == "failed" and overall.failed else ""
        yield f"<div{bad}><dt>{name}</dt><dd>{figure}</dd></div>"
    yield "</dl>\n"
    for reason in summary.distrust:
        yield f'<p class="note"><b>Do not trust these latencies:</b> {escape(reason)}.</p>\n'
    if summary.verdicts:
        yield '<ul class="verdicts">'
        for verdict in summary.verdicts:
            kind = {"ok": "good", "warn": "warn", "fail": "bad"}[verdict.severity]
            yield f'<li class="{kind}">{escape(str(verdict))}</li>'
        yield "</ul>\n"


def charts(summary: RunSummary, over_time: OverTime) -> Iterator[str]:
    took = summary.overall.total
    slice_s, slices = over_time.with_at_least(PINGS_OF_A_SLICE)
    yield '<section class="charts">\n'
    if slices:  # the load engine makes no rows
        yield figure(latency_over_time(slice_s, slices))
    yield figure(
        percentile_chart(
            "Latency by percentile",
            [
                (name, [(share, (times.percentile(share) or 0) / 1e6) for share in shares_of(times)])
                for name, times in (("total", took), ("service", summary.overall.service))
                if times.count
            ],
            y=Axis("latency", "ms", low=0),
        )
    )
    yield figure(
        histogram_chart(
            "Answers by latency",
            bins_of(took),
            x=Axis("latency", "ms", scale="log"),
            y=Axis("answers"),
        )
    )
    yield figure(in_flight(summary))
    if any(one.failed for one in slices):
        yield figure(failures_over_time(slice_s, slices))
    yield "</section>\n"


def bins_of(times: Histogram) -> list[Bucket]:
    """How many values there are in each twelfth of a decade, in milliseconds."""
    counts: Counter[int] = Counter()
    for bucket in times:
        counts[floor(BINS * log10(max(bucket.highest, 1)))] += bucket.n
    if not counts:
        return []
    return [
        Bucket(10 ** (place / BINS) / 1e6, 10 ** ((place + 1) / BINS) / 1e6, counts[place])
        for place in range(min(counts), max(counts) + 1)
    ]


def latency_over_time(slice_s: float, slices: Sequence[Slice]) -> str:
    times = [place * slice_s for place in range(len(slices))]
    mean = sum(one.took.count for one in slices) / len(slices)
    tail, share = ("p99", 0.99) if mean >= 100 else ("p90", 0.9)  # of fewer, p99 is the maximum

    def curve(name: str, share: float) -> Series:
        found = (one.took.percentile(share) for one in slices)
        return Series(name, times, [None if value is None else value / 1e6 for value in found])

    return line_chart(
        "Latency over time",
        [curve("p50", 0.5), curve(tail, share), curve("max", 1.0)],
        x=Axis("since the beginning", "s", low=0),
        y=Axis("latency", "ms", low=0),
        description=f"slices of {duration_words(slice_s)}",
    )


def in_flight(summary: RunSummary) -> str:
    """The most in each slice; of slices that nobody could tell apart, the most of them."""
    together = ceil(len(summary.in_flight) / MOST_STEPS) or 1
    starts = range(0, len(summary.in_flight), together)
    return step_chart(
        "In flight",
        [
            Series(
                "pings",
                [place * summary.slice_ns / 1e9 for place in starts],
                [float(max(summary.in_flight[place : place + together])) for place in starts],
            )
        ],
        x=Axis("since the beginning", "s", low=0),
        y=Axis("in flight", low=0),
    )


def failures_over_time(slice_s: float, slices: Sequence[Slice]) -> str:
    times = [place * slice_s for place in range(len(slices))]
    return step_chart(
        "Failed pings",
        [Series("failed", times, [one.failed / slice_s for one in slices])],
        x=Axis("since the beginning", "s", low=0),
        y=Axis("failed", "1/s", low=0),
    )


def shares_of(times: Histogram) -> Sequence[float]:
    """The percentiles that so many values tell apart, and the maximum."""
    return [*(share for share in PERCENTILES if (1 - share) * times.count >= 1), 1.0]


def figure(chart: str) -> str:
    return f"<figure>{chart}</figure>\n"


def targets(summary: RunSummary) -> Iterator[str]:
    rows = [*summary.targets, *filter(None, [summary.targets.others])]
    if not rows:
        return
    rows.sort(key=lambda one: (-one.failed / max(one.pings, 1), -(one.total.percentile(0.99) or 0)))
    yield "<section><h2>Targets</h2><table><thead><tr>"
    yield "".join(f"<th>{name}</th>" for name in COLUMNS)
    yield "</tr></thead>\n<tbody>"
    longest = max(sum(one.mean_phase(phase) for phase in PHASES) for one in rows)
    for one in rows[:MOST_TARGETS]:
        yield target_row(one, longest)
    yield "</tbody></table>"
    if len(rows) > MOST_TARGETS:
        yield f'<p class="dim">and {len(rows) - MOST_TARGETS:,} more, which did better</p>'
    yield '<p class="dim keys">'
    yield " ".join(f'<i class="{phase}"></i> {name}' for phase, name in PHASE_NAMES.items())
    yield "</p></section>\n"


def target_row(one: Figures, longest: float) -> str:
    failed = f'<td class="bad">{one.failed:,}</td>' if one.failed else "<td>0</td>"
    times = "".join(f"<td>{duration(one.total, share)}</td>" for share in (0.5, 0.9, 0.99, 1.0))
    title = escape(one.title, quote=True)
    return (
        f'<tr><th scope="row" title="{title}">{title}</th><td>{one.pings:,}</td>{failed}{times}'
        f"<td>{phases_bar(one, longest)}</td></tr>\n"
    )


def phases_bar(one: Figures, longest: float) -> str:
    """The phases side by side, as long as they took; the longest target fills the room."""
    if not longest or not one.answered:
        return ""
    spent = [(phase, one.mean_phase(phase)) for phase in PHASES]
    said = ", ".join(f"{PHASE_NAMES[phase]} {duration_words(seconds)}" for phase, seconds in spent if seconds)
    parts = "".join(
        f'<i class="{phase}" style="width:{100 * seconds / longest:.2f}%"></i>'
        for phase, seconds in spent
        if seconds
    )
    return f'<div class="phases" role="img" aria-label="{said}" title="{said}">{parts}</div>'


def reasons(overall: Figures) -> Iterator[str]:
    yield '<section><h2>Outcomes</h2><table class="outcomes"><tbody>'
    for status, count in sorted(overall.statuses.items()):
        yield f"<tr><th>status {status}</th><td>{count:,}</td></tr>"
    for kind, count in overall.errors.most_common(MOST_REASONS):
        yield f'<tr><th class="bad">{escape(kind)}</th><td>{count:,}</td></tr>'
    yield "</tbody></table></section>\n"


def duration(times: Histogram, share: float) -> str:
    value = times.percentile(share)
    return "–" if value is None else duration_words(value / 1e9)


def rate_words(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.3g}/s"


DEFINITIONS = """<footer class="dim"><p><b>total</b>, and every latency where nothing else stands: from when
the ping was due to its last byte, waits, attempts and pauses included. <b>service</b>: from sending to the
last byte of the last attempt. <b>lag</b>: how late this process itself was, which its clock would call
latency.</p></footer>
"""
