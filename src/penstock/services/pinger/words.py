"""What people read of a run: a line for each result, and the summary in lines. Needs no terminal, no rich."""

from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import combining, east_asian_width

from penstock.services.pinger.durations import duration_words
from penstock.services.pinger.figures import PHASES, Figures
from penstock.services.pinger.in_flight import spark_line
from penstock.services.pinger.model import PingResult
from penstock.services.pinger.summary import RunSummary

__all__ = [
    "Line",
    "cells",
    "colour_of",
    "conclusion",
    "head_of",
    "headline",
    "in_columns",
    "in_figures",
    "in_ms",
    "line_of",
    "load_lines",
    "outcome_lines",
    "phase_lines",
    "remark_of",
    "shortened",
    "target_lines",
]

MOST_TARGETS = 20
SPARK_WIDTH = 60
TARGET_WIDTH = 32
WIDE = 130


class Line(NamedTuple):
    """A line of text and how it is drawn where there are colours."""

    text: str
    style: str = ""


def line_of(result: PingResult) -> str:
    """One line: time (UTC), status, latency, URL and, when it is not simply good, why."""
    when, status, latency = head_of(result)
    remark = remark_of(result)
    return f"{when}  {status}  {latency}  {result.url}{'  ' if remark else ''}{remark}"


def head_of(result: PingResult) -> tuple[str, str, str]:
    """The first columns of a line: time, status, latency."""
    return result.rfc3339[11:], f"{result.status:3}", f"{result.latency_ms:9.1f} ms"


def remark_of(result: PingResult) -> str:
    """What there is to say besides: the address, where several are pinged, why it failed, and how often."""
    if result.state == "recovered":
        tries = f"recovered on try {result.attempts}"
    else:
        tries = f"{result.attempts} tries" if result.attempts > 1 else ""
    return "  ".join(part for part in (result.pinned, result.why, tries) if part)


def colour_of(result: PingResult) -> str:
    """The style of a result's status."""
    match result.state:
        case "failed":
            return "yellow" if 400 <= result.status < 500 else "red"
        case "warned" | "recovered":
            return "yellow"
    return {2: "green", 3: "cyan"}.get(result.status // 100, "green")


def conclusion(summary: RunSummary, width: int | None = None) -> list[Line]:
    """The summary of a run.

    Args:
        summary: of it.
        width: cells of the terminal; None for lines as long as they come.
    """
    overall = summary.overall
    lines = [Line(""), *outcome_lines(overall)]
    if len(summary.targets) > 1 and any(figures.pings > 1 for figures in summary.targets):
        lines += [Line(""), *target_lines(summary, width), Line("")]
    lines.append(Line(headline(summary)))
    lines += [Line(text) for text in (*load_lines(summary), *phase_lines(overall), *state_lines(summary))]
    spark = spark_line(list(summary.in_flight), min(SPARK_WIDTH, (width or 80) - 26))
    if spark and max(summary.in_flight) > 1:
        lines.append(Line(f"in flight {spark} at most {max(summary.in_flight):,}"))
    if summary.lag.ticks:
        lines.append(
            Line(
                f"lag of this process: p99 {duration_words(summary.lag.p99 / 1e9)}, "
                f"most {duration_words(summary.lag.most / 1e9)}"
            )
        )
    lines += [Line(f"UNTRUSTWORTHY: {reason}", "bold yellow") for reason in summary.distrust]
    for verdict in summary.verdicts:
        style = {"ok": "green", "warn": "yellow", "fail": "bold red"}[verdict.severity]
        lines.append(Line(f"assertion {verdict.severity}: {verdict}", style))
    if summary.interrupted:
        lines.append(Line("Interrupted: what was in progress has no row."))
    return lines


def outcome_lines(overall: Figures) -> list[Line]:
    """How many there were of each status and each kind of error."""
    rows = [(f"status {status}", f"{count:,}") for status, count in sorted(overall.statuses.items())]
    styles = [status_colour(status) for status in sorted(overall.statuses)]
    for kind, count in overall.errors.most_common():
        rows.append((kind, f"{count:,}"))
        styles.append("red")
    texts = in_columns([("outcome", "count"), *rows])
    return [Line(texts[0]), *map(Line, texts[1:], styles)]


def target_lines(summary: RunSummary, width: int | None) -> list[Line]:
    """The figures of each target; of the worst ones where there are many."""
    figures = list(summary.targets)
    if summary.targets.others is not None:
        figures.append(summary.targets.others)
    left_out = len(figures) - MOST_TARGETS
    if left_out > 0:
        figures.sort(key=lambda one: (one.failed, one.most or 0.0), reverse=True)
        figures = figures[:MOST_TARGETS]
    wide = width is None or width >= WIDE
    head = ["target", "pings", "failed", "p50 ms", "p90 ms", "p99 ms", "max ms"]
    head += [f"{phase}" for phase in PHASES] if wide else []
    texts = in_columns([head, *(target_row(one, wide) for one in figures)])
    styles = ["red" if one.failed else "" for one in figures]
    more = [Line(f"and {left_out:,} targets that fared better")] if left_out > 0 else []
    return [Line(texts[0]), *map(Line, texts[1:], styles), *more]


def target_row(one: Figures, wide: bool) -> list[str]:
    title = shortened(one.title, TARGET_WIDTH)
    times = [one.percentile(share) for share in (0.5, 0.9, 0.99)] + [one.most]
    row = [title, f"{one.pings:,}", f"{one.failed:,}", *map(in_ms, times)]
    if wide:
        row += [in_ms(one.mean_phase(phase) if one.answered else None) for phase in PHASES]
    return row


def headline(summary: RunSummary) -> str:
    """How many in what time, how many failed, and how long answers took since they were due."""
    overall = summary.overall
    half, most = (overall.percentile(share) for share in (0.5, 0.99))
    answers = "" if half is None else f"; answers p50 {in_ms(half)} ms, p99 {in_ms(most)} ms"
    return f"{overall.pings:,} in {summary.seconds:.2f} s, {overall.failed:,} failed{answers}"


def load_lines(summary: RunSummary) -> list[str]:
    """Of an open load: whether it was reached, and what its latencies are without waiting for a turn."""
    if summary.load == "closed":
        return []
    lines = []
    if summary.asked_rate is not None and summary.rate is not None:
        short = f", {summary.shortfall:.1%} short" if summary.shortfall > 0.0005 else ""
        lines.append(
            f"{in_figures(summary.rate)}/s started of {in_figures(summary.asked_rate)}/s asked{short}"
        )
    if summary.left_out:
        lines.append(f"{summary.left_out:,} that were due were not made: there was no free slot in time")
    service = summary.overall.service
    half, most = service.percentile(0.5), service.percentile(0.99)
    if half is not None and most is not None:
        lines.append(
            f"service time p50 {in_ms(half / 1e9)} ms, p99 {in_ms(most / 1e9)} ms "
            "(since sent; above, since due)"
        )
    return lines


def phase_lines(overall: Figures) -> list[str]:
    """Where the time of an answer went on average."""
    if not overall.answered:
        return []
    parts = [f"{phase} {in_ms(overall.mean_phase(phase))}" for phase in PHASES if overall.phases[phase]]
    return [f"on average {', '.join(parts)} ms"] if parts else []


def state_lines(summary: RunSummary) -> list[str]:
    overall, lines = summary.overall, []
    if overall.recovered:
        lines.append(f"{overall.recovered:,} failed at first and recovered on a later try")
    if overall.warned:
        lines.append(f"{overall.warned:,} good with a warning")
    if summary.retries_refused:
        lines.append(f"{summary.retries_refused:,} retries not made: the budget of their host was used up")
    return lines


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, the first column to the left and the others to the right."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            padding + text if place else text + padding
            for place, (text, padding) in enumerate(zip(row, paddings(row, widths), strict=True))
        )
        for row in rows
    ]


def paddings(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The spaces that each text of a row is short of its column's width."""
    return [" " * (width - cells(text)) for text, width in zip(row, widths, strict=True)]


def cells(text: str) -> int:
    """How many cells of a terminal a text takes: two for each sign of Chinese and its like."""
    if text.isascii():
        return len(text)
    return sum((1 + (east_asian_width(sign) in "WF")) * (not combining(sign)) for sign in text)


def shortened(text: str, width: int) -> str:
    """The beginning of a text, with an ellipsis, where it takes more cells than `width`."""
    if cells(text) <= width:
        return text
    kept = text[: width - 1]
    while cells(kept) >= width:
        kept = kept[:-1]
    return kept + "…"


def in_ms(seconds: float | None) -> str:
    """Milliseconds to three digits: `0.213`, `87.2`, `1,204`; `-` for none."""
    if seconds is None:
        return "-"
    return in_figures(seconds * 1000)


def in_figures(number: float) -> str:
    """Three digits, or all that stand before the point: `0.05`, `4.98`, `12,345`."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def status_colour(status: int) -> str:
    return {2: "green", 3: "cyan", 4: "yellow"}.get(status // 100, "red")
