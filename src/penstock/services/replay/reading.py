"""Reads log files as messages, and counts what it reads."""

from collections.abc import Iterator
from datetime import tzinfo
from pathlib import Path

from penstock.services.replay.files import Meter, UnreadableFile, read_pieces
from penstock.services.replay.parsers import Message, parse, split

__all__ = ["Reading"]


class Reading:
    """What there is to read, and what was read so far.

    Args:
        paths: files as `penstock.services.replay.files.find_files` gives them.
        zone: of times that name no zone; None when it is not known, they are then left out.

    Attributes:
        lines: lines read, blank ones among them.
        blank: lines of white space only, which make no message.
        messages: messages made of the others; a long line makes several.
        damaged: for each file that could not be read to its end, what to tell the user.
    """

    def __init__(self, paths: list[Path], zone: tzinfo | None = None) -> None:
        self._paths = paths
        self._zone = zone
        self.meter = Meter()
        self.lines = 0
        self.blank = 0
        self.messages = 0
        self.damaged: list[str] = []

    @property
    def size(self) -> int | None:
        """Bytes of all files as stored, the scale of `meter.bytes_read`; None if a stream is among them."""
        if not all(path.is_file() for path in self._paths):
            return None
        return sum(path.stat().st_size for path in self._paths)

    def read(self) -> Iterator[tuple[str, Message]]:
        """Every message with its origin as `file:line`; a damaged file ends early, the others go on."""
        for path in self._paths:
            if self.meter.stopped:
                return
            try:
                yield from self._read_file(path)
            except UnreadableFile as error:
                if not self.meter.stopped:  # a file that was stopped ends anywhere
                    self.damaged.append(str(error))

    def _read_file(self, path: Path) -> Iterator[tuple[str, Message]]:
        so_far_blank = False
        for log, number, piece, starts_line in read_pieces(path, self.meter):
            if starts_line:
                self.lines += 1
                self.blank += 1  # until something stands in it
                so_far_blank = True
            text = without_end(piece)
            if not text or text.isspace():
                continue
            self.blank -= so_far_blank
            so_far_blank = False
            for message in split(parse(text, log, self._zone)):
                self.messages += 1
                yield f"{log}:{number}", message


def without_end(line: str) -> str:
    """The line without its end, and without the NULs around it: holes that truncating an open log leaves."""
    if line.endswith("\n"):
        line = line[:-1].removesuffix("\r")
    return line.strip("\0")
