"""Documents to be indexed: the text files of a folder, or the lines of a JSONL file, packed or not.

What cannot be taken is counted and told, and the rest is read on.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from penstock.errors import PenstockError
from penstock.services.printable import printable
from penstock.services.replay.files import Meter, Piece, UnreadableFile, read_pieces

__all__ = ["MAX_TEXT", "Document", "Reading"]

MAX_TEXT = 16 << 20
"""Characters of a line of JSONL, or of a text file; what is longer is left out."""

MAX_EXAMPLES = 5
TEXT_KINDS = frozenset([".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".tex", ".log"])
JSONL_KINDS = frozenset([".jsonl", ".ndjson"])
PACKED = frozenset([".gz", ".xz", ".bz2"])
IDS = ("_id", "id")
UNREADABLE = "\N{REPLACEMENT CHARACTER}"
HEADING = "#=*-~ \t"  # what marks up a title before and behind it


class Document(NamedTuple):
    """What is indexed, and shown."""

    id: str
    title: str
    texts: dict[str, str]
    """By name of the field."""


class Unfit(PenstockError, ValueError):
    """A document that cannot be taken; the message says why, in the same words for all of a kind."""


class Reading:
    """What there is to read, and what was read so far.

    Args:
        source: a folder or a JSONL file.
        out: what is being written, and is not read.
        id_field: of JSONL; None for `_id`, else `id`.
        fields: of JSONL, those whose texts are wanted.

    Attributes:
        read: documents.
        left_out: why documents were left out, and how many of them.
        examples: the first of these, with their places.
        damaged: for each file that could not be read to its end, and each folder not at all, what to tell.
        kinds: suffixes of files that were passed over, and how many there are.
        garbled: documents with bytes that are no UTF-8, each of which was read as U+FFFD.
        meter: of the bytes read.
    """

    def __init__(
        self, source: Path, out: Sequence[Path], id_field: str | None, fields: Sequence[str]
    ) -> None:
        self._source = source
        self._ids = IDS if id_field is None else (id_field,)
        self._fields = fields
        self.read = 0
        self.left_out: Counter[str] = Counter()
        self.examples: list[str] = []
        self.damaged: list[str] = []
        self.kinds: Counter[str] = Counter()
        self.garbled = 0
        self.meter = Meter()
        self._paths = self._found(out) if source.is_dir() else [source]

    @property
    def size(self) -> int:
        """Bytes of all files as stored, the scale of `meter.bytes_read`."""
        return sum(path.stat().st_size for path in self._paths if path.is_file())

    @property
    def files(self) -> int:
        """How many there are to read."""
        return len(self._paths)

    def documents(self) -> Iterator[tuple[str, Document]]:
        """Each document with its place."""
        for path in self._paths:
            read_file = (
                self._text_file if self._source.is_dir() and kind_of(path) in TEXT_KINDS else self._lines
            )
            try:
                yield from read_file(path)
            except UnreadableFile as error:
                self.damaged.append(str(error))

    def leave_out(self, place: str, reason: str) -> None:
        """Notes a document that cannot be taken."""
        self.left_out[reason] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{place}: {reason}")

    def _found(self, out: Sequence[Path]) -> list[Path]:
        """The files of a folder, from all levels, that have a kind which is read; hidden ones are none."""
        written = {path.resolve() for path in out}
        found = []
        for folder, folders, names in os.walk(self._source, onerror=self._closed):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder, name)
                if name.startswith(".") or path.resolve() in written:
                    continue
                if not path.is_file():
                    self.kinds["no file: a pipe, or a link to nothing"] += 1
                elif kind_of(path) in TEXT_KINDS | JSONL_KINDS:
                    found.append(path)
                else:
                    self.kinds[printable(path.suffix.lower()) or "no suffix"] += 1
        return found

    def _closed(self, error: OSError) -> None:
        self.damaged.append(f"{error.filename} cannot be read: {error.strerror}")

    # ---- text files

    def _text_file(self, path: Path) -> Iterator[tuple[str, Document]]:
        name = path_within(path, self._source)
        try:
            text = "".join(piece.text for piece in bounded(read_pieces(path, self.meter)))
            if "\0" in text:
                raise Unfit("it has NUL characters, as no text has")
        except Unfit as error:
            self.leave_out(printable(name), str(error))
            return
        heading, _, rest = text.lstrip().partition("\n")
        self.read += 1
        self.garbled += UNREADABLE in text
        title = heading.strip(HEADING + "\r")
        yield printable(name), Document(name, title, {"title": title, "text": rest})

    # ---- JSONL

    def _lines(self, path: Path) -> Iterator[tuple[str, Document]]:
        for log, number, line in lines_of(read_pieces(path, self.meter)):
            place = f"{printable(log)}:{number}"
            try:
                if line is None:
                    raise Unfit(TOO_LONG)
                if line.isspace():
                    continue
                document = self._document(decoded(line))
            except Unfit as error:
                self.leave_out(place, str(error))
            else:
                self.read += 1
                self.garbled += UNREADABLE in line
                yield place, document

    def _document(self, found: dict[str, Any]) -> Document:
        texts = {name: text_of(name, found[name]) for name in self._fields if found.get(name) is not None}
        if not texts:
            raise Unfit(f"it has no {' and no '.join(self._fields)}")
        title = found.get("title")
        return Document(self._id_of(found), title if isinstance(title, str) else "", texts)

    def _id_of(self, found: dict[str, Any]) -> str:
        for name in self._ids:
            value = found.get(name)
            if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
                return str(value)
            if value is not None:
                raise Unfit(f"its {name} is neither a text nor an integer")
        raise Unfit(f"it has no {' and no '.join(self._ids)}")


TOO_LONG = f"it is longer than {MAX_TEXT:,} characters"


def bounded(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces of one text."""
    size = 0
    for piece in pieces:
        size += len(piece.text)
        if size > MAX_TEXT:
            raise Unfit(TOO_LONG)
        yield piece


def lines_of(pieces: Iterator[Piece]) -> Iterator[tuple[str, int, str | None]]:
    """Whole lines, each with its file and its number; None for one that is too long."""
    for (log, number), parts in groupby(pieces, key=lambda piece: (piece.log, piece.number)):
        try:
            yield log, number, "".join(piece.text for piece in bounded(parts))
        except Unfit:
            yield log, number, None  # groupby passes over the rest of it


def decoded(line: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        raise Unfit("it is no JSON") from None
    if not isinstance(found, dict):
        raise Unfit("it is no JSON object")
    return found


def text_of(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n".join(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise Unfit(f"its {printable(name)} is no text")


def kind_of(path: Path) -> str:
    """The suffix that says what a file is, behind which may stand how it is packed."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def path_within(path: Path, folder: Path) -> str:
    """Its name from the folder on; what is no UTF-8 in it becomes U+FFFD."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "replace")
