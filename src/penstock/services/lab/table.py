"""A comparison in figures, in 80 columns."""

from collections.abc import Callable, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from penstock.services.lab.comparison import Comparison
from penstock.services.lab.measured import Measured

__all__ = ["COLUMNS", "MORE_COLUMNS", "Column", "counted", "markdown", "notes", "table"]

MIB = 1024 * 1024
MOST_OUTCOMES = 12  # told one by one

Column = tuple[str, str, Callable[[Measured], str]]

COLUMNS: Sequence[Column] = (
    ("time", "s", lambda one: f"{one.seconds:.2f}"),
    ("good", "1/s", lambda one: f"{one.goodput:,.0f}"),
    ("mean", "ms", lambda one: of_answers(one, one.latency.mean)),
    ("p50", "ms", lambda one: of_answers(one, one.latency.p50)),
    ("p99", "ms", lambda one: of_answers(one, one.latency.p99)),
    ("errors", "%", lambda one: f"{100 * one.errors / max(one.requests, 1):.1f}"),
    ("at once", "most", lambda one: f"{one.peak_in_flight:,}"),
    ("memory", "MiB", lambda one: f"{one.cost.peak_rss / MIB:,.0f}"),
    ("CPU", "s", lambda one: f"{one.cost.cpu:.2f}"),
)
"""What the first table shows of a pattern."""

MORE_COLUMNS: Sequence[Column] = (
    ("p99.9", "ms", lambda one: of_answers(one, one.latency.p999)),
    ("server", "p99 ms", lambda one: of_answers(one, one.service.p99)),
    ("at once", "mean", lambda one: f"{one.mean_in_flight:,.1f}"),
    ("blocks", "most", lambda one: f"{one.cost.peak_blocks:,}"),
    ("gc runs", "", lambda one: f"{sum(one.cost.collections):,}"),
    ("gc", "ms", lambda one: in_digits(one.cost.collecting * 1000)),
)
"""What the second one shows."""


def of_answers(one: Measured, milliseconds: float) -> str:
    """A latency; a dash when nothing was answered."""
    return in_digits(milliseconds) if one.latency.max else "-"


def in_digits(value: float) -> str:
    """A figure to three digits or to the whole number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(comparison: Comparison) -> Group:
    """The figures of every pattern."""
    measured = comparison.measured
    return Group(
        in_columns(measured, COLUMNS),
        Text(),
        in_columns(measured, MORE_COLUMNS),
        Text(),
        outcomes(measured),
        Text(),
        *map(Text, notes(comparison)),
    )


def in_columns(measured: Sequence[Measured], columns: Sequence[Column]) -> Table:
    rows = Table(box=None, pad_edge=False, header_style="")
    rows.add_column("pattern\n", no_wrap=True)
    for name, unit, _ in columns:
        rows.add_column(f"{name}\n{unit}", justify="right", no_wrap=True)
    for one in measured:
        rows.add_row(one.pattern, *(cell(one) for _, _, cell in columns))
    return rows


def outcomes(measured: Sequence[Measured]) -> Table:
    """How many of each status and of each failure."""
    rows = Table(box=None, pad_edge=False, header_style="")
    rows.add_column("pattern", no_wrap=True)
    rows.add_column("outcomes")
    for one in measured:
        rows.add_row(one.pattern, counted(one))
    return rows


def markdown(comparison: Comparison) -> str:
    """The same as tables of Markdown, for a pull request or a wiki."""
    columns = [*COLUMNS, *MORE_COLUMNS]
    heads = [f"{name}, {unit}" if unit else name for name, unit, _ in columns]
    lines = [
        f"| pattern | {' | '.join(heads)} |",
        f"| --- |{' --: |' * len(columns)}",
        *(
            f"| {one.pattern} | {' | '.join(cell(one) for _, _, cell in columns)} |"
            for one in comparison.measured
        ),
        "",
        *(f"- {one.pattern}: {counted(one)}" for one in comparison.measured),
        "",
        *notes(comparison),
    ]
    return "\n".join(lines) + "\n"


def counted(one: Measured) -> str:
    """Outcomes and how many there were of each, the most first; the rare ones of many together."""
    counts = sorted(one.outcomes.items(), key=lambda outcome: -outcome[1])
    if len(counts) > MOST_OUTCOMES:
        rare = counts[MOST_OUTCOMES - 1 :]
        counts[MOST_OUTCOMES - 1 :] = [(f"{len(rare)} others", sum(count for _, count in rare))]
    return ", ".join(f"{name}: {count:,}" for name, count in counts) or "none"


def notes(comparison: Comparison) -> list[str]:
    """What one has to know to read the figures; lines of up to 80 characters."""
    settings, behaviour = comparison.settings, comparison.behaviour
    engines = ", ".join(sorted({one.engine for one in comparison.measured}))
    lines = [
        f"{settings.requests:,} requests each, {settings.workers} workers, rate-limited to "
        f"{settings.rate:,g}/s; engine {engines or 'none'}.",
        "Each pattern ran in a process of its own. Latency is from the begin of a",
        "request to its last byte, with waits in the client; server leaves those out.",
    ]
    if behaviour is None:
        return [*lines, "The server was yours."]
    lines.append(f"A fresh server for each, seed {behaviour.seed}, latency {behaviour.latency} of up to ")
    lines[-1] += f"{behaviour.max_latency:g} s."
    if behaviour.full_rate:
        lines.append(f"Answers take that long from {behaviour.full_rate:,g} requests/s on and less below:")
        lines.append("a client that asks slowly meets a server that is quick.")
    more = f", more with over {behaviour.overload:,} in flight" if behaviour.overload else ""
    lines.append(f"{100 * behaviour.error_rate:.3g} % of the requests fail in any case{more}.")
    if any(one.pattern == "rate-limited" for one in comparison.measured):
        lines.append("Rate-limited was told its rate; backpressure finds out what the server bears.")
    return lines
