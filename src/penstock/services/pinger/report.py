"""Sinks that write results to a file, which is valid after every row.

Rows are written through as they come: a run that is interrupted, killed or still going leaves a file
that every reader of CSV or JSON takes, and `tail -f` follows it. No temporary file is renamed at the
end, so pipes and /dev/stdout work too.
"""

import csv
import json
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from penstock.services.pinger.model import PingResult

__all__ = ["CsvReport", "JsonReport"]


class CsvReport:
    """Writes the reference's CSV: `timestamp,url,status,latency_ms,error`, RFC 3339 and milliseconds.

    Args:
        path: created, or emptied.

    Raises:
        OSError: the file cannot be opened or written, here and in write().
    """

    def __init__(self, path: str | Path) -> None:
        with ExitStack() as on_failure:
            self._file = on_failure.enter_context(open(path, "w", encoding="utf-8", newline=""))
            self._rows = csv.writer(self._file, lineterminator="\n")
            self._rows.writerow(("timestamp", "url", "status", "latency_ms", "error"))
            self._file.flush()
            on_failure.pop_all()  # __exit__ closes from here on

    def write(self, result: PingResult) -> None:
        """Appends one row."""
        self._rows.writerow(
            (result.rfc3339, result.url, result.status, f"{result.latency_ms:.3f}", result.error)
        )
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class JsonReport:
    """Writes a JSON array with an object a line: the columns of the CSV, and `attempts`.

    Each row overwrites the closing bracket and brings its own, in one write; where the file cannot seek
    (a pipe), the bracket comes at the end.

    Args:
        path: created, or emptied.

    Raises:
        OSError: the file cannot be opened or written, here and in write().
    """

    CLOSING = b"\n]\n"

    def __init__(self, path: str | Path) -> None:
        self._separator = b"\n"
        with ExitStack() as on_failure:
            self._file = on_failure.enter_context(open(path, "wb"))
            self._seekable = self._file.seekable()
            self._write(b"[")
            on_failure.pop_all()  # __exit__ closes from here on

    def write(self, result: PingResult) -> None:
        """Appends one object to the array."""
        row = {
            "timestamp": result.rfc3339,
            "url": result.url,
            "status": result.status,
            "latency_ms": round(result.latency_ms, 3),
            "error": result.error,
            "attempts": result.attempts,
        }
        if self._seekable:
            self._file.seek(-len(self.CLOSING), os.SEEK_END)
        self._write(self._separator + json.dumps(row, ensure_ascii=False).encode())
        self._separator = b",\n"

    def _write(self, text: bytes) -> None:
        self._file.write(text + self.CLOSING if self._seekable else text)
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if not self._seekable:
                self._file.write(self.CLOSING)
