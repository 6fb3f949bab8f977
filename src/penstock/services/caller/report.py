"""Sinks that write rows to a file, which is valid after every row."""

from pathlib import Path

from penstock.services.caller.model import Call
from penstock.services.row_files import CsvRows, JsonRows, rfc3339

__all__ = ["COLUMNS", "CsvReport", "JsonReport"]

COLUMNS = (
    "line", "id", "method", "url", "status", "latency_ms", "waited_ms", "sent_at", "attempts", "bytes",
    "error",
)  # fmt: skip
"""Of the CSV, and members of the JSON objects."""


class CsvReport(CsvRows[Call]):
    """Writes a row for each call, with what is not known left empty.

    Args:
        path: see CsvRows.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, COLUMNS, cells)


class JsonReport(JsonRows[Call]):
    """Writes a JSON array with an object a line; what is not known is null.

    Args:
        path: see JsonRows.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, members)


def members(call: Call) -> dict[str, object]:
    sent_at = None if call.sent_at is None else rfc3339(call.sent_at)
    values = (
        call.line, call.label, call.method, call.url, call.status, round(call.latency_ms, 3),
        round(call.waited_ms, 3), sent_at, call.attempts, call.size, call.error,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def cells(call: Call) -> list[object]:
    milliseconds = {"latency_ms": f"{call.latency_ms:.3f}", "waited_ms": f"{call.waited_ms:.3f}"}
    return list((members(call) | milliseconds).values())
