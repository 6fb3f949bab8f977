"""The bytes of a journal: what a segment and its records look like, and what damage to them means.

A segment is a header and records, little endian:

    header    magic 8s, version u32, salt u32, number of its first record u64, CRC-32 of these u32
    record    marker 4s, CRC-32 of salt and all that follows u32,
              length of key and value u32, number u64, synced u64, operation u8, length of key u32,
              key, value

The salt is random, so that nobody can store a value that looks like a record. Records are numbered without a
gap. `synced` is the number up to which all records were safely on disk when
this one was written. It tells two kinds of damage apart. A bad record at the end, or one that a power cut
left as a hole between others that were never synced, had not been acknowledged: the tail is torn. A bad
record that a later one says was synced, or one of other bytes than a hole, was damaged afterwards.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

__all__ = [
    "DELETE",
    "HEADER_BYTES",
    "RECORD_BYTES",
    "SET",
    "Flaw",
    "Record",
    "SegmentReader",
    "encode_header",
    "encode_record",
]

SET: Final = 1
DELETE: Final = 2

MAGIC = b"PSTKJRNL"
VERSION = 1
MARKER = b"\xa7\x1ePJ"
PIECE = 1 << 12  # bytes that are copied at a time to look for a marker
SECTOR = 512  # bytes that a disk writes whole or not at all

HEAD = Struct("<8sIIQ")
CRC = Struct("<I")
RECORD = Struct("<IQQBI")
BODY_AT = len(MARKER) + CRC.size

HEADER_BYTES: Final = HEAD.size + CRC.size
RECORD_BYTES: Final = BODY_AT + RECORD.size
"""Bytes of a record besides its key and value."""


class Record(NamedTuple):
    """One write, as it was read."""

    number: int
    synced: int
    operation: int
    key: bytes
    value: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes in a segment."""
        return RECORD_BYTES + len(self.key) + len(self.value)


class Flaw(NamedTuple):
    """Where a segment is not as it must be, and the rule that is broken there."""

    offset: int
    rule: str
    intact: bool = False
    """Whether a whole record with the right CRC-32 is there all the same, which no crash leaves."""


def encode_header(salt: int, first: int) -> bytes:
    """The header of a segment whose first record gets the number `first`."""
    head = HEAD.pack(MAGIC, VERSION, salt, first)
    return head + CRC.pack(crc32(head))


def encode_record(salt: int, number: int, synced: int, operation: int, key: bytes, value: bytes) -> bytes:
    """The bytes of a record."""
    body = RECORD.pack(len(key) + len(value), number, synced, operation, len(key))
    crc = crc32(value, crc32(key, crc32(body, salt)))
    return b"".join((MARKER, CRC.pack(crc), body, key, value))


class SegmentReader:
    """Iterates over the records of a segment from the first to the last, or to the first flaw.

    Args:
        data: the whole segment; no more of it is copied than one checked record.
        max_bytes: of a record's key and value.

    Attributes:
        first: the least number that its first record may have.
        end: offset after the last good record so far.
        next_number: of the record that comes next.
        flaw: what ended the iteration before the end of the data, or is wrong with the header; or None.
    """

    def __init__(self, data: memoryview, max_bytes: int) -> None:
        self._data = data
        self._max_bytes = max_bytes
        self._salt = 0
        self.first = self.next_number = 0
        self.end = min(len(data), HEADER_BYTES)
        self.flaw = self._read_header()

    def _read_header(self) -> Flaw | None:
        data = self._data
        if len(data) < HEADER_BYTES:
            return Flaw(0, f"a segment must have a header of {HEADER_BYTES} bytes, got {len(data)}")
        magic, version, self._salt, self.first = HEAD.unpack_from(data)
        self.next_number = self.first
        if magic != MAGIC:
            return Flaw(0, f"a segment must begin with {MAGIC!r}, got {magic!r}")
        if version != VERSION:
            return Flaw(8, f"the version must be {VERSION}, got {version}")
        if CRC.unpack_from(data, HEAD.size) != (crc32(data[: HEAD.size]),):
            return Flaw(HEAD.size, "the header must match its CRC-32")
        return None

    def __iter__(self) -> Iterator[Record]:
        begun = False
        while self.flaw is None and self.end < len(self._data):
            record = self._record_at(self.end)
            if isinstance(record, str):
                self.flaw = Flaw(self.end, record, self._is_intact(self.end))
                return
            # A segment that was emptied begins with a later number than its header says.
            if record.number < self.next_number or (begun and record.number > self.next_number):
                rule = f"the record must have number {self.next_number}, got {record.number}"
                self.flaw = Flaw(self.end, rule, intact=True)
                return
            begun = True
            self.end += record.size
            self.next_number = record.number + 1
            yield record

    def readable_records(self) -> Iterator[tuple[int, Record]]:
        """What can be read behind `end`, whatever lies between: records and their offsets."""
        number = self.next_number
        at = self._next_marker(self.end)
        while at >= 0:
            record = self._record_at(at)
            if isinstance(record, Record) and record.number >= number:
                yield at, record
                number = record.number + 1
                at = self._next_marker(at + record.size)
            else:
                at = self._next_marker(at + 1)

    def tail_is_torn(self) -> bool:
        """Whether the bad record at `end` and all behind it were never acknowledged; of the last segment."""
        if self.flaw is not None and self.flaw.intact:
            return False
        readable = self.readable_records()
        begin, latest = next(readable, (0, None))
        if latest is None:
            return True
        for _, record in readable:
            latest = record
        return latest.synced < self.next_number and has_hole(self._data, self.end, begin)

    def _record_at(self, offset: int) -> Record | str:
        """The record at `offset`, or the rule that is broken there."""
        data = self._data
        left = len(data) - offset
        if left < RECORD_BYTES:
            return f"a record must have {RECORD_BYTES} bytes and more, got {left}"
        marker = bytes(data[offset : offset + len(MARKER)])
        if marker != MARKER:
            return f"a record must begin with {MARKER!r}, got {marker!r}"
        length, number, synced, operation, key_length = RECORD.unpack_from(data, offset + BODY_AT)
        if length > self._max_bytes:
            return f"a key and value must have <= {self._max_bytes} bytes, got {length}; see max_record_bytes"
        if length > left - RECORD_BYTES:
            return f"a record must be whole, got {left - RECORD_BYTES} of {length} bytes"
        start = offset + RECORD_BYTES
        end = start + length
        if not self._matches_crc(offset, end):
            return "a record must match its CRC-32"
        if operation not in (SET, DELETE) or key_length > length or synced >= number:
            return "a record must be of this version"  # the CRC is right: somebody meant something else by it
        value_at = start + key_length
        return Record(number, synced, operation, bytes(data[start:value_at]), bytes(data[value_at:end]))

    def _is_intact(self, offset: int) -> bool:
        """Whether there is a record, of whatever size and version."""
        if len(self._data) - offset < RECORD_BYTES or self._data[offset : offset + len(MARKER)] != MARKER:
            return False
        end = offset + RECORD_BYTES + RECORD.unpack_from(self._data, offset + BODY_AT)[0]
        return end <= len(self._data) and self._matches_crc(offset, end)

    def _matches_crc(self, offset: int, end: int) -> bool:
        crc = crc32(self._data[offset + BODY_AT : end], self._salt)
        return bool(CRC.unpack_from(self._data, offset + len(MARKER)) == (crc,))

    def _next_marker(self, start: int) -> int:
        """Offset of the next marker from `start` on; -1 for none."""
        while start < len(self._data):
            found = bytes(self._data[start : start + PIECE + len(MARKER) - 1]).find(MARKER)
            if found >= 0:
                return start + found
            start += PIECE
        return -1


def has_hole(data: memoryview, begin: int, end: int) -> bool:
    """Whether [begin, end) has nothing but zeros in one sector, or in its part of one."""
    while begin < end:
        stop = min(end, (begin // SECTOR + 1) * SECTOR)
        if stop - begin >= len(MARKER) and not any(data[begin:stop]):
            return True
        begin = stop
    return False
