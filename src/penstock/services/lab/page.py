"""A comparison as a page: the figures, and plots of what happened over time. One file, without scripts."""

from collections.abc import Iterable, Iterator
from html import escape

from penstock.services.charts import (
    Axis,
    Series,
    Span,
    bar_chart,
    line_chart,
    percentile_chart,
    step_chart,
    timeline_chart,
)
from penstock.services.lab.comparison import Comparison
from penstock.services.lab.measured import Measured
from penstock.services.lab.patterns import PATTERNS
from penstock.services.lab.table import COLUMNS, MIB, MORE_COLUMNS, Column, counted, notes

__all__ = ["page"]

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #262626; --faint: #595959; --line: #d9d9d9 }
@media (prefers-color-scheme: dark) {
  :root { --ground: #161616; --ink: #ededed; --faint: #b3b3b3; --line: #3a3a3a }
}
body { margin: 0 auto; max-width: 1330px; padding: 1rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: .5rem 0 }
h2 { font-size: 1.15rem; margin: 2.5rem 0 0; border-top: 1px solid var(--line); padding-top: 1rem }
p { margin: .3rem 0; color: var(--faint); max-width: 46rem }
figure { margin: 0; min-width: 0 }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr));
  margin-top: 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { font-weight: 600; vertical-align: bottom }
th span { font-weight: 400; color: var(--faint) }
th:first-child, td:first-child, td.words { text-align: left }
""".strip()

TIME = Axis("time", "s", low=0)


def page(comparison: Comparison) -> str:
    """The HTML of a comparison, encoding UTF-8."""
    measured = comparison.measured
    names = ", ".join(one.pattern for one in measured)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>What concurrency costs: {escape(names)}</title><style>{STYLE}</style></head><body>",
        "<h1>What concurrency costs</h1>",
        *(f"<p>{escape(line)}</p>" for line in paragraphs(notes(comparison))),
        table_of(measured, [*COLUMNS, *MORE_COLUMNS]),
        charts(over_all(measured)),
    ]
    for one in measured:
        parts += [
            f'<h2 id="{escape(one.pattern)}">{escape(one.pattern)}</h2>',
            f"<p>{escape(words_of(one))}</p>",
            charts(over_time(one)),
        ]
    return "\n".join([*parts, "</body></html>", ""])


def paragraphs(lines: Iterable[str]) -> list[str]:
    """Lines that were broken for a terminal, joined where a sentence goes on."""
    joined: list[str] = []
    for line in lines:
        if joined and not joined[-1].endswith("."):
            joined[-1] += f" {line}"
        else:
            joined.append(line)
    return joined


def words_of(one: Measured) -> str:
    pattern = PATTERNS.get(one.pattern)
    what = pattern.words if pattern else ""
    return f"{what.capitalize()}. Outcomes: {counted(one)}."


def table_of(measured: list[Measured], columns: list[Column]) -> str:
    head = "".join(f"<th>{name}<br><span>{unit or '&nbsp;'}</span></th>" for name, unit, _ in columns)
    rows = "".join(
        f"<tr><td>{escape(one.pattern)}</td>"
        + "".join(f"<td>{escape(cell(one))}</td>" for _, _, cell in columns)
        + "</tr>"
        for one in measured
    )
    head = f"<thead><tr><th>pattern</th>{head}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{rows}</tbody></table></div>'


def charts(drawn: Iterable[str]) -> str:
    return '<div class="charts">' + "\n".join(f"<figure>{chart}</figure>" for chart in drawn) + "</div>"


def over_all(measured: list[Measured]) -> Iterator[str]:
    """The patterns side by side."""
    yield bar_chart(
        "Time for all requests", [(one.pattern, one.seconds) for one in measured], value=Axis("time", "s")
    )
    yield bar_chart(
        "Requests that failed",
        [(one.pattern, 100 * one.errors / max(one.requests, 1)) for one in measured],
        value=Axis("errors", "%"),
    )
    yield bar_chart(
        "Most memory of the client",
        [(one.pattern, one.cost.peak_rss / MIB) for one in measured],
        value=Axis("memory", "MiB"),
    )
    yield bar_chart(
        "Processor time of the client",
        [(one.pattern, one.cost.cpu) for one in measured],
        value=Axis("CPU", "s"),
    )
    yield percentile_chart(
        "Latency by percentile",
        [(one.pattern, positive(one.percentiles)) for one in measured],
        y=Axis("latency", "ms", "log"),
    )
    yield bar_chart(
        "Most requests at once",
        [(one.pattern, one.peak_in_flight) for one in measured],
        value=Axis("in flight"),
    )


def positive(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that a log axis can show."""
    return [(share, max(value, 0.001)) for share, value in points]


def over_time(one: Measured) -> Iterator[str]:
    """One pattern from its first request to its last."""
    at = [part.at for part in one.slices]
    yield timeline_chart(
        f"The first {len(one.first)} requests, each a bar",
        [Span(request.begin, request.end, request.outcome) for request in one.first],
        x=TIME,
    )
    yield step_chart(
        "Requests in flight",
        [Series("in flight", at, [part.in_flight for part in one.slices])],
        x=TIME,
        y=Axis("in flight", low=0),
    )
    yield line_chart(
        "Latency",
        [
            Series("p50", at, [part.p50 for part in one.slices]),
            Series("p99", at, [part.p99 for part in one.slices]),
        ],
        x=TIME,
        y=Axis("latency", "ms", low=0),
    )
    yield step_chart(
        "Errors",
        [Series("errors", at, [share_of_errors(part.errors, part.answers) for part in one.slices])],
        x=TIME,
        y=Axis("errors", "%", low=0),
    )


def share_of_errors(errors: int, answers: int) -> float | None:
    """Per cent; None where nothing ended."""
    return 100 * errors / answers if answers else None
