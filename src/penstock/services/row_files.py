"""Files of results, CSV and JSON, which are valid after every row.

Rows are written through as they come: a run that is interrupted, killed or still going leaves a file
that every reader of CSV or JSON takes, and `tail -f` follows it; so does one that meets a full disk. No
temporary file is renamed at the end, so pipes and /dev/stdout work too.
"""

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

__all__ = ["CsvRows", "JsonLines", "JsonRows", "Naming", "rfc3339"]

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


class WholeFile:
    """A file that a row is appended to whole, or not at all where the file can seek and the disk is full.

    Args:
        path: created, or emptied; an int is a descriptor of standard output.

    Raises:
        OSError: it cannot be opened or written, here and in every method; it bears the file's name.
    """

    def __init__(self, path: str | Path | int) -> None:
        self._naming = Naming(path)
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - close() closes it
        self.seekable = self._file.seekable()

    def append(self, row: bytes, *, over: bytes = b"") -> None:
        """Writes a row at the end, over what is there already."""
        with self._naming:
            if not self.seekable:
                self._put(row)
                return
            end = self._file.seek(-len(over), os.SEEK_END)
            try:
                self._put(row)
            except OSError:
                with suppress(OSError):  # the first one tells
                    self._file.seek(end)
                    self._put(over)  # which had room before
                    self._file.truncate()
                raise

    def close(self) -> None:
        with self._naming:
            self._file.close()

    def _put(self, text: bytes) -> None:
        rest = memoryview(text)
        while rest:  # a disk that is nearly full, or a pipe, takes it in parts
            rest = rest[self._file.write(rest) or 0 :]


class RowFile:
    """What all of them are: a file, open until the end of the context."""

    def __init__(self, path: str | Path | int) -> None:
        self._file = WholeFile(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class CsvRows(RowFile, Generic[Result]):
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
        super().__init__(path)
        self._cells = cells
        with ExitStack() as on_failure:
            on_failure.callback(self._file.close)
            self._append(columns)
            on_failure.pop_all()  # __exit__ closes from here on

    def write(self, result: Result) -> None:
        """Appends one row."""
        self._append(self._cells(result))

    def _append(self, cells: Sequence[object]) -> None:
        row = StringIO(newline="")
        csv.writer(row, lineterminator="\n").writerow(cells)
        self._file.append(row.getvalue().encode())


class JsonLines(RowFile, Generic[Result]):
    """Writes a JSON object a line.

    Args:
        path: created, or emptied; an int is a descriptor of standard output.
        encoded: the object of a result, as JSON without a line end.

    Raises:
        OSError: the file cannot be opened or written, here and in write().
    """

    def __init__(self, path: str | Path | int, encoded: Callable[[Result], bytes]) -> None:
        super().__init__(path)
        self._encoded = encoded

    def write(self, result: Result) -> None:
        """Appends one line."""
        self._file.append(self._encoded(result) + b"\n")


class JsonRows(RowFile, Generic[Result]):
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
        super().__init__(path)
        self._members = members
        self._separator = b"\n"
        self._closing = self.CLOSING if self._file.seekable else b""
        with ExitStack() as on_failure:
            on_failure.callback(self._file.close)
            self._file.append(b"[" + self._closing)
            on_failure.pop_all()  # __exit__ closes from here on

    def write(self, result: Result) -> None:
        """Appends one object to the array."""
        row = json.dumps(self._members(result), ensure_ascii=False).encode()
        self._file.append(self._separator + row + self._closing, over=self._closing)
        self._separator = b",\n"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._closing:
                self._file.append(self.CLOSING)
        finally:
            self._file.close()
