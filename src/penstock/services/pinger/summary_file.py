"""A run's summary as JSON: for machines, and to be compared with another run's."""

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from penstock.errors import InvalidValue
from penstock.observability.histogram import Histogram
from penstock.services.pinger.figures import PHASES, Figures
from penstock.services.pinger.summary import RunSummary
from penstock.services.row_files import rfc3339

__all__ = [
    "DEFINITIONS",
    "HgrmFile",
    "InvalidSummary",
    "SavedFigures",
    "SummaryFile",
    "read_summary_file",
    "summary_members",
]

PERCENTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999)
MAX_FILE_BYTES = 256 << 20
VERSION = 1

DEFINITIONS = {
    "total": "from when the ping was due to its last byte: waits, attempts and pauses included",
    "service": "from sending to the last byte of the last attempt",
    "latency": "the last attempt, from looking up the name to the last byte, redirects included",
}


class InvalidSummary(InvalidValue):
    """A file holds neither a summary nor results."""


class SummaryFile:
    """Where the summary of a run is to be written; opened before the run, so that it cannot be for nothing.

    Args:
        path: created, or emptied.

    Raises:
        OSError: it cannot be opened or written, here and in write().
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        with open(path, "wb"):
            pass

    def write(self, summary: RunSummary) -> None:
        """Writes it."""
        with open(self._path, "w", encoding="utf-8", errors="replace") as file:
            file.write(self._text(summary))

    def _text(self, summary: RunSummary) -> str:
        return json.dumps(summary_members(summary), ensure_ascii=False, indent=1) + "\n"


class HgrmFile(SummaryFile):
    """Where the percentiles of `total` are to be written, milliseconds, as HdrHistogram's plotters read them.

    Args:
        path: see SummaryFile.
    """

    def _text(self, summary: RunSummary) -> str:
        return summary.overall.total.hgrm(scale=1e6)


def summary_members(summary: RunSummary) -> dict[str, Any]:
    """What the JSON of a summary holds; times in milliseconds unless they say otherwise."""
    targets = [*summary.targets, *filter(None, [summary.targets.others])]
    return {
        "version": VERSION,
        "started_at": rfc3339(summary.started_at),
        "seconds": round(summary.seconds, 6),
        "engine": summary.engine,
        "load": summary.load,
        "asked_rate": summary.asked_rate,
        "rate": summary.rate,
        "shortfall": summary.shortfall,
        "interrupted": summary.interrupted,
        "ok": summary.ok,
        "trustworthy": not summary.distrust,
        "distrust": list(summary.distrust),
        "lag": {
            "p99_ms": summary.lag.p99 / 1e6,
            "max_ms": summary.lag.most / 1e6,
            "ticks": summary.lag.ticks,
        },
        "kernel_clock": summary.kernel_clock,
        "retries_refused": summary.retries_refused,
        "left_out": summary.left_out,
        "verdicts": [
            {"assertion": verdict.assertion, "severity": verdict.severity, "found": verdict.found}
            for verdict in summary.verdicts
        ],
        "in_flight": {"slice_ms": summary.slice_ns / 1e6, "most": list(summary.in_flight)},
        "definitions": DEFINITIONS,
        "overall": figures_members(summary.overall),
        "targets": [figures_members(figures) for figures in targets],
    }


def figures_members(figures: Figures) -> dict[str, Any]:
    return {
        "title": figures.title,
        "pings": figures.pings,
        "failed": figures.failed,
        "recovered": figures.recovered,
        "warned": figures.warned,
        "attempts": figures.attempts,
        "size": figures.size,
        "statuses": {str(status): count for status, count in sorted(figures.statuses.items())},
        "errors": dict(figures.errors.most_common()),
        "phases_mean_ms": {phase: figures.mean_phase(phase) * 1000 for phase in PHASES},
        "total_ms": times_members(figures.total),
        "service_ms": times_members(figures.service),
        "latency_ms": times_members(figures.latency),
    }


def times_members(times: Histogram) -> dict[str, Any] | None:
    """Percentiles in milliseconds, and the whole histogram (HdrHistogram V2, base64) in nanoseconds."""
    if not times.count:
        return None
    return {
        "min": (times.min or 0) / 1e6,
        "mean": (times.mean or 0) / 1e6,
        "stddev": (times.stddev or 0) / 1e6,
        **{f"p{share * 100:g}": (times.percentile(share) or 0) / 1e6 for share in PERCENTILES},
        "max": (times.max or 0) / 1e6,
        "hdr": b64encode(times.encode()).decode(),
    }


class SavedFigures:
    """Figures as a file holds them.

    Attributes:
        title: of the target, or empty for all.
        pings: counted.
        failed: that were not ok.
        total: nanoseconds of the answered ones.
    """

    def __init__(self, title: str, pings: int, failed: int, total: Histogram) -> None:
        self.title = title
        self.pings = pings
        self.failed = failed
        self.total = total

    @property
    def error_share(self) -> float:
        """Failed pings of all."""
        return self.failed / self.pings if self.pings else 0.0


def read_summary_file(path: str | Path) -> list[SavedFigures]:
    """The figures of all pings, then of each target, of a run whose summary or results are in a JSON file.

    Raises:
        InvalidSummary: it holds neither.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise InvalidSummary(f"{path} must be at most {MAX_FILE_BYTES} bytes")
    try:
        document = json.loads(content)
        if isinstance(document, list):
            return figures_of_rows(document)
        return [saved(document["overall"]), *map(saved, document["targets"])]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"{error}" if isinstance(error, InvalidValue) else type(error).__name__
        raise InvalidSummary(
            f"{path} must be a file of penstock ping --summary or --json, and is none ({reason})"
        ) from None


def saved(members: dict[str, Any]) -> SavedFigures:
    times = members["total_ms"]
    total = Histogram() if times is None else Histogram.decode(b64decode(times["hdr"], validate=True))
    return SavedFigures(str(members["title"]), int(members["pings"]), int(members["failed"]), total)


def figures_of_rows(rows: list[dict[str, Any]]) -> list[SavedFigures]:
    """The figures of the rows of --json."""
    overall = SavedFigures("", 0, 0, Histogram())
    by_title: dict[str, SavedFigures] = {}
    for row in rows:
        title = str(row.get("name") or row["url"])
        figures = by_title.setdefault(title, SavedFigures(title, 0, 0, Histogram()))
        failed = row["state"] == "failed" if "state" in row else not 0 < row["status"] < 400
        for one in (overall, figures):
            one.pings += 1
            one.failed += failed
            if row["status"]:
                one.total.record(round(row.get("total_ms", row["latency_ms"]) * 1e6))
    return [overall, *by_title.values()]
