"""Files of indexes: one segment behind what must be known to search it, whole or not at all.

The format, version 1, little-endian::

    0     8 bytes   magic: 0x89 "PSINV" 0x0d 0x0a
    8     uint32    version, 1: any other is refused
    12    uint32    CRC-32 of all other bytes
    16    uint64    bytes of the file
    24    uint64    bytes of the JSON text, which begins at 64
    32    uint64    offset of the segment, a multiple of 64
    40    uint64    bytes of the segment, to the end of the file
    48    16 bytes  zeros
    64    JSON      `Contents`, then zeros up to the segment: csrc/search_segment.h

Loading reads the file once to verify its checksum (1 to 2 GB/s), so a bit that flipped is found, and looks
at the tables of the segment; then it is used as it lies, mapped or copied. A file that somebody made on
purpose can have a right checksum: it may give wrong hits, but is never read beyond its end.

A file appears whole or not at all: it is written beside its place, synced and renamed over it. An index that
has mapped the one before keeps that. Replace files in this way only: one that is overwritten or cut while it
is mapped gives wrong hits or ends the process. A process that is killed while it saves leaves `.NAME.*.new`
beside the file, which nobody needs.
"""

import os
from collections.abc import Sequence
from mmap import ACCESS_READ
from mmap import mmap as Mapping  # noqa: N812  # it is a class
from os import PathLike
from struct import Struct
from typing import Any
from zlib import crc32

import msgspec

from penstock._whole_file import checked_path, opened, write_whole
from penstock.search.errors import IndexFileError

__all__ = ["Contents", "FieldConfig", "decoded", "encoded", "read", "write"]

MAGIC = b"\x89PSINV\r\n"
VERSION = 1
HEADER = Struct("<8sIIQQQQ16x")
CHECKSUM = slice(12, 16)
MOST_JSON = 1 << 26  # bytes: stop words are in it
CHUNK = 1 << 24  # bytes that are checksummed in one go


class FieldConfig(msgspec.Struct, frozen=True):
    """A field of an index: its kind is "text", "number" or "integer"."""

    name: str
    kind: str
    boost: float = 1.0
    analyzer: dict[str, Any] | None = None
    """Of a text that has one of its own: `Analyzer.config()`; {} for one that cannot be written down."""


class Contents(msgspec.Struct, frozen=True):
    """What a file says of its index beside the segment."""

    fields: list[FieldConfig] | None
    """None: one text without a name."""
    analyzer: dict[str, Any]
    """`Analyzer.config()`; {} for one that cannot be written down."""
    scorer: dict[str, Any]
    positions: bool
    documents: int
    frozen: bool = False


def encoded(contents: Contents, segment: bytes) -> tuple[bytes, bytes]:
    """The two parts of a file: all before the segment, and the segment."""
    text = msgspec.json.encode(contents)
    if len(text) > MOST_JSON:
        raise IndexFileError(
            f"analyzers of an index must take at most {MOST_JSON} bytes in a file, got {len(text)}"
        )
    offset = -(-(HEADER.size + len(text)) // 64) * 64
    head = bytearray(offset)
    HEADER.pack_into(head, 0, MAGIC, VERSION, 0, offset + len(segment), len(text), offset, len(segment))
    head[HEADER.size : HEADER.size + len(text)] = text
    head[CHECKSUM] = checksum(head, segment).to_bytes(4, "little")
    return bytes(head), segment


def decoded(data: memoryview, name: str) -> tuple[Contents, memoryview]:
    """What the bytes of a file say, and its segment.

    Args:
        data: (n,) bytes, read-only.
        name: of where they come from, for messages.

    Raises:
        IndexFileError: they are no file of an index, one of another version, cut short or damaged.
    """
    judge_header(data[: HEADER.size], len(data), name)
    _, _, expected, size, text_size, offset, segment_size = HEADER.unpack_from(data)
    if checksum(data[: HEADER.size], data[HEADER.size :]) != expected:
        raise wrong(name, "have the bytes of its checksum", "others: it is damaged")
    if (
        text_size > MOST_JSON
        or not HEADER.size + text_size <= offset <= size == offset + segment_size
        or offset % 64
    ):
        raise wrong(name, "have its parts one behind the other", f"{text_size}, {offset} and {segment_size}")
    try:
        contents = msgspec.json.decode(data[HEADER.size : HEADER.size + text_size], type=Contents)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise wrong(name, "say what its index is", str(error)) from None
    return contents, data[offset:]


def judge_header(head: bytes | memoryview, size: int, name: str) -> None:
    """Refuses what is no file of an index, by its first 64 bytes and its size, before all of it is read."""
    if len(head) < HEADER.size or head[:8] != MAGIC:
        raise wrong(name, f"begin with {MAGIC!r}", f"{bytes(head[:8])!r}")
    _, version, _, expected, *_ = HEADER.unpack_from(head)
    if version != VERSION:
        newer = ": a newer penstock reads it" if version > VERSION else ""
        raise wrong(name, f"be of version {VERSION}", f"{version}{newer}")
    if size != expected:
        raise wrong(name, f"have {expected} bytes", f"{size}: it was cut short or written over")


def checksum(head: bytes | bytearray | memoryview, rest: bytes | memoryview) -> int:
    """CRC-32 of a file but for the four bytes where it stands; `head` holds the header at the least."""
    found = crc32(head[CHECKSUM.stop :], crc32(head[: CHECKSUM.start]))
    view = memoryview(rest)
    for start in range(0, len(view), CHUNK):
        found = crc32(view[start : start + CHUNK], found)
    return found


# Disks --------------------------------------------------------------------------------------------------


def write(path: str | PathLike[str], parts: Sequence[bytes]) -> None:
    """Writes a file so that at any moment, whatever fails, there is the old one or the new one, whole.

    Raises:
        IndexFileError: `path` is something else than a file.
        OSError: it cannot be written; what was there stays.
    """

    def write_parts(fd: int) -> None:
        for part in parts:
            write_all(fd, part)

    write_whole(path, write_parts, not_a_file)


def write_all(fd: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(fd, view[:CHUNK]) :]


def read(path: str | PathLike[str], *, mmap: bool) -> tuple[Contents, memoryview]:
    """What a file says, and its segment, mapped or copied. The mapping lives as long as the segment.

    Raises:
        IndexFileError: as `decoded`, or `path` is something else than a file.
        OSError: the file cannot be read.
    """
    name = checked_path(path)
    fd, size = opened(name, not_a_file)
    try:
        if size < HEADER.size:
            raise wrong(name, f"have {HEADER.size} bytes at the least", str(size))
        judge_header(os.read(fd, HEADER.size), size, name)
        data = mapped(fd, size, name) if mmap else copied(fd, size, name)
    finally:
        os.close(fd)
    return decoded(data, name)


def mapped(fd: int, size: int, name: str) -> memoryview:
    try:
        return memoryview(Mapping(fd, size, access=ACCESS_READ))
    except ValueError:  # it has been cut meanwhile
        raise wrong(name, f"have {size} bytes", "less") from None


def copied(fd: int, size: int, name: str) -> memoryview:
    """A whole file in memory of the process; its segment stands at a multiple of 64 there too."""
    copy = memoryview(Mapping(-1, size))
    done = 0
    with open(fd, "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        while done < size:
            n = file.readinto(copy[done : done + CHUNK])
            if not n:
                raise wrong(name, f"have {size} bytes", str(done))
            done += n
    return copy.toreadonly()


def not_a_file(name: str) -> IndexFileError:
    return IndexFileError(f"path must be a regular file, got {name!r}")


def wrong(name: str, rule: str, got: str) -> IndexFileError:
    return IndexFileError(f"{name} must {rule} to be an index, got {got}")
