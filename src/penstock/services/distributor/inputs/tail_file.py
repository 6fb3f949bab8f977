"""A file that is followed: how far it was read, and what of it can be stored next."""

import os
import re
import zlib
from collections.abc import Iterator
from hashlib import sha256
from secrets import token_hex

import msgspec

from penstock.services.distributor.config import TailConfig
from penstock.services.distributor.inputs._syslog_lines_py import whole_characters
from penstock.services.distributor.inputs.tail_checkpoint import Mark
from penstock.services.distributor.packets import Message

__all__ = ["TailedFile", "crc_of", "head_of"]

BLOCK = 256 * 1024
"""Bytes that are stored together, at the most; a longer line comes out as several messages."""
MOST_LINES = 10_000
"""Lines that are stored together, at the most."""
HEAD = 1024
"""First bytes, by which a file is known again."""
QUIET = 2 * 10**9
"""Nanoseconds without news after which a message of several lines is whole."""
GONE = 60 * 10**9
"""Nanoseconds without news after which a renamed file is let go,"""
DELETED = 5 * 10**9
"""and a deleted one."""


class TailedFile:
    """An open file.

    Args:
        fd: a descriptor that reads it; it is this object's to close.
        mark: what is known of it.
        settings: what becomes of its lines.
        now: nanoseconds.
    """

    def __init__(self, fd: int, mark: Mark, settings: TailConfig, now: int) -> None:
        self.fd = fd
        self.mark = mark
        self.settings = settings
        self.size = -1
        """Its bytes when it was last looked at."""
        self.gone = False
        """Whether it is no longer where the settings say."""
        self._changed_ns = -1
        self._news = now  # when it last changed
        self._continued_by = re.compile(settings.continued_by) if settings.continued_by else None
        self._metadata = msgspec.Raw(msgspec.json.encode({"path": mark.path}))

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self.fd)

    def look(self, now: int) -> bool:
        """Looks at it again, and says whether there is anything to read or to check."""
        status = os.fstat(self.fd)
        if (status.st_size, status.st_mtime_ns) != (self.size, self._changed_ns):
            self.size, self._changed_ns, self._news = status.st_size, status.st_mtime_ns, now
            return True
        return self.size > self.mark.offset

    def is_replaced(self) -> bool:
        """Whether it holds something else than what was read of it."""
        if self.size < self.mark.known:
            return True
        return head_of(self.fd, self.mark.head_bytes) != self.mark.head

    def begin_anew(self) -> None:
        """From its start, with ids of its own."""
        self.mark.token = token_hex(8)
        self.mark.offset = self.mark.end = self.mark.crc = self.mark.crc_from = self.mark.end_crc = 0
        self.mark.head, self.mark.head_bytes = "", 0

    def is_done(self, now: int) -> bool:
        """Whether it is gone, and nothing more is to be expected of it."""
        if not self.gone:
            return False
        return now - self._news >= (DELETED if os.fstat(self.fd).st_nlink == 0 else GONE)

    def next_range(self, now: int) -> bytes:
        """The bytes behind what is stored that can be stored next; empty when they must wait for more.

        A range that was begun before a restart is given again, just as it was.
        """
        mark = self.mark
        if mark.end:
            return os.pread(self.fd, mark.end - mark.offset, mark.offset)
        data = os.pread(self.fd, BLOCK, mark.offset)
        return data[: self._end_in(data, now)]

    def begin(self, data: bytes) -> str:
        """Marks a range as being stored, and returns the ids of its records."""
        mark = self.mark
        mark.end = mark.offset + len(data)
        mark.end_crc = zlib.crc32(data, mark.crc)
        if mark.head_bytes < min(HEAD, self.size):
            mark.head_bytes = min(HEAD, self.size)
            mark.head = head_of(self.fd, mark.head_bytes)
        return f"tail-{mark.token}-{mark.offset:x}-{mark.end:x}"

    def commit(self) -> None:
        """Marks a range as stored."""
        mark = self.mark
        mark.offset, mark.crc, mark.end, mark.end_crc = mark.end, mark.end_crc, 0, 0

    def messages(self, data: bytes) -> Iterator[Message]:
        """The messages of a range."""
        source = (self.settings.source or self.mark.path)[:256]
        for text in self._texts(data):
            yield Message(text, self.settings.level, source, metadata=self._metadata)

    def _end_in(self, data: bytes, now: int) -> int:
        """Where the messages end that are whole."""
        full = len(data) == BLOCK
        if self.is_done(now) and not full:
            return end_of_lines(data, len(data))
        end = data.rfind(b"\n") + 1
        if not end:
            return whole_characters(data, 0, len(data)) if full else 0
        end = end_of_lines(data, end)
        if self._continued_by is None or now - self._news >= QUIET:
            return end
        start = self._last_message(data[:end])
        return start or (end if full else 0)

    def _last_message(self, data: bytes) -> int:
        """Where the last message begins, to which more lines may belong."""
        start = len(data)
        while start:
            end, start = start, data.rfind(b"\n", 0, start - 1) + 1
            if not self._continues(text_of(data[start:end])):
                return start
        return 0

    def _continues(self, line: str) -> bool:
        return self._continued_by is not None and self._continued_by.search(line) is not None

    def _texts(self, data: bytes) -> Iterator[str]:
        lines: list[str] = []
        for raw in data.split(b"\n"):
            line = text_of(raw)
            if lines and not self._continues(line):
                yield "\n".join(lines)
                lines = []
            if line or lines:
                lines.append(line)
        if lines:
            yield "\n".join(lines)


def text_of(line: bytes) -> str:
    """A line as text, with U+FFFD for what is no UTF-8."""
    return line.rstrip(b"\r\n").decode("utf-8", "replace")


def end_of_lines(data: bytes, end: int) -> int:
    """`end`, or the end of the last line that is stored together with the others."""
    if data.count(b"\n", 0, end) <= MOST_LINES:
        return end
    at = 0
    for _ in range(MOST_LINES):
        at = data.index(b"\n", at) + 1
    return at


def head_of(fd: int, size: int) -> str:
    """What is kept of a file's first bytes."""
    return sha256(os.pread(fd, size, 0)).hexdigest() if size else ""


def crc_of(fd: int, start: int, end: int) -> int:
    """CRC-32 of a part of a file, as it is reckoned while one is read."""
    crc = 0
    while start < end and (data := os.pread(fd, min(end - start, 1 << 20), start)):
        crc = zlib.crc32(data, crc)
        start += len(data)
    return crc
