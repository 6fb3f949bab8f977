"""Sinks that write results to a file, which is valid after every row."""

from pathlib import Path

from penstock.services.pinger.model import PingResult
from penstock.services.row_files import CsvRows, JsonRows

__all__ = ["CsvReport", "JsonReport"]


class CsvReport(CsvRows[PingResult]):
    """Writes the reference's CSV: `timestamp,url,status,latency_ms,error`, RFC 3339 and milliseconds.

    Args:
        path: see CsvRows.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, ("timestamp", "url", "status", "latency_ms", "error"), cells)


class JsonReport(JsonRows[PingResult]):
    """Writes a JSON array with an object a line: the columns of the CSV, and `attempts`.

    Args:
        path: see JsonRows.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, members)


def cells(result: PingResult) -> tuple[object, ...]:
    return (result.rfc3339, result.url, result.status, f"{result.latency_ms:.3f}", result.error)


def members(result: PingResult) -> dict[str, object]:
    return {
        "timestamp": result.rfc3339,
        "url": result.url,
        "status": result.status,
        "latency_ms": round(result.latency_ms, 3),
        "error": result.error,
        "attempts": result.attempts,
    }
