"""Files of results, CSV and JSON, which are valid after every row.

Rows are written through as they come: a run that is interrupted, killed or still going leaves a file
that every reader of CSV or JSON takes, and `tail -f` follows it. No temporary file is renamed at the
end, so pipes and /dev/stdout work too.
"""

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

__all__ = ["CsvRows", "JsonRows", "Naming", "rfc3339"]

Result = TypeVar("Result")


def rfc3339(moment: datetime) -> str:
    """A moment as text: UTC, milliseconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Naming:
    """Gives the errors of a file its name, which those of writing lack.

    Args:
        path: of the file; an int is a descriptor of standard output.
    """

    def __init__(self, path: str | Path | int) -> None:
        self._name = "standard output" if isinstance(path, int) else str(path)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = self._name


class CsvRows(Generic[Result]):
    """Writes a head and a row for each result.

    Args:
        path: created, or emptied; an int is a descriptor of standard output.
        columns: their names.
        cells: what a result has in each of them.

    Raises:
        OSError: the file cannot be opened or written, here and in write().
    """

    def __init__(
        self, path: str | Path | int, columns: Sequence[str], cells: Callable[[Result], Sequence[object]]
    ) -> None:
        self._cells = cells
        self._naming = Naming(path)
        with self._naming, ExitStack() as on_failure:
            self._file = on_failure.enter_context(open(path, "w", encoding="utf-8", newline=""))
            self._rows = csv.writer(self._file, lineterminator="\n")
            self._rows.writerow(columns)
            self._file.flush()
            on_failure.pop_all()  # __exit__ closes from here on

    def write(self, result: Result) -> None:
        """Appends one row."""
        with self._naming:
            self._rows.writerow(self._cells(result))
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._naming:
            self._file.close()


class JsonRows(Generic[Result]):
    """Writes a JSON array with an object a line.

    Each row overwrites the closing bracket and brings its own, in one write; where the file cannot seek
    (a pipe), the bracket comes at the end.

    Args:
        path: created, or emptied; an int is a descriptor of standard output.
        members: what the object of a result holds.

    Raises:
        OSError: the file cannot be opened or written, here and in write().
    """

    CLOSING = b"\n]\n"

    def __init__(self, path: str | Path | int, members: Callable[[Result], Mapping[str, object]]) -> None:
        self._members = members
        self._separator = b"\n"
        self._naming = Naming(path)
        with self._naming, ExitStack() as on_failure:
            self._file = on_failure.enter_context(open(path, "wb"))
            self._seekable = self._file.seekable()
            self._write(b"[")
            on_failure.pop_all()  # __exit__ closes from here on

    def write(self, result: Result) -> None:
        """Appends one object to the array."""
        row = json.dumps(self._members(result), ensure_ascii=False)
        with self._naming:
            if self._seekable:
                self._file.seek(-len(self.CLOSING), os.SEEK_END)
            self._write(self._separator + row.encode())
        self._separator = b",\n"

    def _write(self, text: bytes) -> None:
        self._file.write(text + self.CLOSING if self._seekable else text)
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._naming, self._file:
            if not self._seekable:
                self._file.write(self.CLOSING)
