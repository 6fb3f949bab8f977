"""The bytes in the files of an outbox; see `outbox` for what they mean."""

import struct
from collections.abc import Mapping
from zlib import crc32

from penstock.services.distributor.client.errand import Packed

__all__ = [
    "FRAME",
    "MAGIC",
    "SENT_BYTES",
    "bytes_behind",
    "framed",
    "sent_note",
    "unframed",
    "where_sent_ends",
]

MAGIC = b"penstock outbox 1\n"
FRAME = struct.Struct("<II")
CURSOR = struct.Struct("<QQ")
CHECKSUM = struct.Struct("<I")
SENT_BYTES = CHECKSUM.size + CURSOR.size
"""Of the note of how far packets were taken."""


def framed(packet: Packed) -> bytes:
    """A packet as it is written."""
    payload = b"%s %d\n%s" % (packet.id.encode(), packet.messages, packet.body)
    return FRAME.pack(len(payload), crc32(payload)) + payload


def unframed(payload: bytes) -> Packed | None:
    """The packet in a frame; None when it is none."""
    head, line_end, body = payload.partition(b"\n")
    id_, _, messages = head.partition(b" ")
    if not (line_end and messages.isdigit()):
        return None
    return Packed(id_.decode("ascii", "replace"), int(messages), body)


def sent_note(file: int, offset: int) -> bytes:
    """The note that packets were taken up to there."""
    cursor = CURSOR.pack(file, offset)
    return CHECKSUM.pack(crc32(cursor)) + cursor


def where_sent_ends(sent: bytes, first: int) -> tuple[int, int]:
    """File and offset of the first packet that was not taken, as far as the note of it tells."""
    if len(sent) == SENT_BYTES:
        (checksum,), cursor = CHECKSUM.unpack(sent[:4]), sent[4:]
        file, offset = CURSOR.unpack(cursor)
        if crc32(cursor) == checksum and file >= first:
            return file, offset
    return first, len(MAGIC)


def bytes_behind(sizes: Mapping[int, int], file: int, offset: int) -> int:
    """Bytes of packets behind a place, of files of these sizes."""
    return sum(
        max(size - (offset if number == file else len(MAGIC)), 0)
        for number, size in sizes.items()
        if number >= file
    )
