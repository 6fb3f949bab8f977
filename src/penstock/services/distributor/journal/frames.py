"""The bytes of a segment, and what damage to them means.

A segment is a header and frames, little endian:

    header  twice, in two sectors, so that no single bad spot takes the salt away:
            magic 8s, version u32, number u32, number of the segment before u32, how many of its bytes
            count u64, salt u64, CRC-32 of these u32
    frame   marker 4s, CRC-32 u32, length of the entry u32, length of the bodies u32, the entry, the bodies

The CRC-32 of a frame is that of the salt, the segment's number, the place of the frame in it, both lengths
and the entry. So a frame is only valid where it was written, and nobody who does not know the salt can send
a packet that looks like one. Each body has a CRC-32 of its own, which the entry holds: opening a journal
reads no bodies, and a bad spot costs one packet.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from penstock.errors import PenstockError
from penstock.services.distributor.journal.files import File

__all__ = ["FRAME_BYTES", "HEADER_BYTES", "Frame", "FrameReader", "Gap", "Header", "NewerVersion", "framed"]

MAGIC = b"penstkPJ"
VERSION = 1
MARKER = b"\xa7\x1eP\xf5"
"""No text in UTF-8 has it."""

HEAD = Struct("<8sIIIQQ")
CRC = Struct("<I")
FRAME = Struct("<4sIII")
SEED = Struct("<QQQII")

COPY_AT = 512
HEADER_BYTES: Final = 2 * COPY_AT
FRAME_BYTES: Final = FRAME.size

PIECE = 256 * 1024
"""Bytes that are read at a time."""


class NewerVersion(PenstockError, ValueError):
    """A segment is whole, and of a version that is not known here."""


class Header(NamedTuple):
    """What a segment begins with."""

    number: int
    salt: int
    previous: int = 0
    """Number of the segment before it."""
    previous_end: int = 0
    """Bytes of that one that count; what lies behind them was never acknowledged."""

    def encoded(self) -> bytes:
        """Its bytes, HEADER_BYTES of them."""
        head = HEAD.pack(MAGIC, VERSION, self.number, self.previous, self.previous_end, self.salt)
        return (head + CRC.pack(crc32(head))).ljust(COPY_AT, b"\0") * 2

    @classmethod
    def decoded(cls, data: bytes) -> "Header | None":
        """The header that these bytes hold; None when they hold none.

        Raises:
            NewerVersion: they hold one of another version.
        """
        for start in (0, COPY_AT):
            if len(data) < start + HEAD.size + CRC.size:
                continue
            magic, version, number, previous, previous_end, salt = HEAD.unpack_from(data, start)
            head = data[start : start + HEAD.size]
            if magic == MAGIC and CRC.unpack_from(data, start + HEAD.size) == (crc32(head),):
                if version != VERSION:
                    raise NewerVersion(f"the version of a segment must be {VERSION}, got {version}")
                return cls(number, salt, previous, previous_end)
        return None


class Frame(NamedTuple):
    """A valid frame."""

    offset: int
    entry: bytes
    bodies_size: int

    @property
    def bodies_at(self) -> int:
        """Where its bodies begin."""
        return self.offset + FRAME_BYTES + len(self.entry)

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.bodies_at + self.bodies_size


class Gap(NamedTuple):
    """Bytes between frames, or behind the last one, of which nothing can be made."""

    offset: int
    end: int


def seed(header: Header, offset: int, entry_size: int, bodies_size: int) -> int:
    return crc32(SEED.pack(header.salt, header.number, offset, entry_size, bodies_size))


def framed(header: Header, offset: int, entry: bytes, bodies_size: int) -> bytes:
    """The bytes of a frame at this place up to its bodies."""
    crc = crc32(entry, seed(header, offset, len(entry), bodies_size))
    return FRAME.pack(MARKER, crc, len(entry), bodies_size) + entry


class FrameReader:
    """Iterates over the frames of a segment, and the gaps between them; bodies are not read.

    Args:
        file: the segment.
        header: what it begins with.
        start: where a frame begins.
        end: where to stop; a frame that goes on behind it does not count.
    """

    def __init__(self, file: File, header: Header, start: int, end: int) -> None:
        self._file = file
        self._header = header
        self._start = start
        self._end = end
        self._piece = b""
        self._piece_at = 0

    def __iter__(self) -> Iterator[Frame | Gap]:
        offset, bad_from = self._start, -1
        while offset < self._end:
            frame = self._frame_at(offset)
            if frame is None:
                if bad_from < 0:
                    bad_from = offset
                offset = self._next_marker(offset + 1)
                continue
            if bad_from >= 0:
                yield Gap(bad_from, offset)
                bad_from = -1
            yield frame
            offset = frame.end
        if bad_from >= 0:
            yield Gap(bad_from, self._end)

    def _frame_at(self, offset: int) -> Frame | None:
        head = self.read(offset, FRAME_BYTES)
        if len(head) < FRAME_BYTES:
            return None
        marker, crc, entry_size, bodies_size = FRAME.unpack(head)
        if marker != MARKER or offset + FRAME_BYTES + entry_size + bodies_size > self._end:
            return None
        entry = self.read(offset + FRAME_BYTES, entry_size)
        if crc32(entry, seed(self._header, offset, entry_size, bodies_size)) != crc:
            return None
        return Frame(offset, entry, bodies_size)

    def _next_marker(self, offset: int) -> int:
        while offset < self._end:
            piece = self.read(offset, min(PIECE, self._end - offset))
            found = piece.find(MARKER)
            if found >= 0:
                return offset + found
            if len(piece) < PIECE:
                break
            offset += len(piece) - len(MARKER) + 1
        return self._end

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the segment, of which a piece is kept in memory; fewer at its end."""
        start = offset - self._piece_at
        if start < 0 or start + size > len(self._piece):
            self._piece = self._file.read(offset, min(max(size, PIECE), max(self._end - offset, 0)))
            self._piece_at, start = offset, 0
        return self._piece[start : start + size]
