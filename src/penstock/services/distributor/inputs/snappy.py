"""Snappy's block format, unpacked: what Loki's clients pack their requests with.

`cramjam` does it where it is installed (`pip install 'penstock[snappy]'`), some hundred times faster than
the Python here. It refuses a few blocks that the format allows and no packer makes, such as a length of one
byte told in a byte of its own at the very end.

Source: https://github.com/google/snappy/blob/main/format_description.txt
"""

from importlib import import_module
from typing import Any

from penstock.services.distributor.inputs.batch import Refused

__all__ = ["unsnapped", "unsnapped_in_python"]

MAX_LENGTH_BYTES = 5
"""Of the length at the start: 32 bits, seven in each."""


def cramjam_if_installed() -> Any:
    try:
        return import_module("cramjam")
    except ImportError:
        return None


CRAMJAM = cramjam_if_installed()


def unsnapped(block: bytes, most: int) -> bytes:
    """What a block holds.

    Args:
        block: as one piece, not framed.
        most: bytes that it may hold; nothing is allocated for more.

    Raises:
        Refused: it holds more, or is damaged.
    """
    length, start = length_of(block)
    if length > most:
        raise Refused(413, f"the body must be at most {most} bytes after decompression, got {length}")
    if CRAMJAM is None:
        return unpacked(block, start, length)
    try:
        whole = bytes(CRAMJAM.snappy.decompress_raw(block))
    except CRAMJAM.DecompressionError as error:
        raise damaged(str(error)) from None
    if len(whole) != length:
        raise damaged(f"it must hold {length} bytes as it says, got {len(whole)}")
    return whole


def unsnapped_in_python(block: bytes, most: int) -> bytes:
    """As `unsnapped`, without `cramjam`."""
    length, start = length_of(block)
    if length > most:
        raise Refused(413, f"the body must be at most {most} bytes after decompression, got {length}")
    return unpacked(block, start, length)


def length_of(block: bytes) -> tuple[int, int]:
    """How many bytes a block says that it holds, and where it begins."""
    length = 0
    for place, byte in enumerate(block[:MAX_LENGTH_BYTES]):
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if length >= 1 << 32:
                break
            return length, place + 1
    raise damaged("it must begin with its length, in at most 32 bits")


def unpacked(block: bytes, start: int, length: int) -> bytes:
    """Literals and copies, one after the other, until the block ends; never more than `length` bytes."""
    whole = bytearray()
    position = start
    while position < len(block):
        tag = block[position]
        kind = tag & 3
        if kind == 0:
            size, position = literal(block, position)
            piece = block[position : position + size]
            position += size
            if len(piece) < size:
                raise damaged("it breaks off")
            whole += piece
        else:
            size, offset, position = copy(block, position, kind)
            if not 0 < offset <= len(whole):
                raise damaged(f"offset must be 1 to {len(whole)}, got {offset}")
            begin = len(whole) - offset
            piece = bytes(whole[begin : begin + size])
            whole += (piece * (size // len(piece) + 1))[:size]  # beyond the end, what was copied goes on
        if len(whole) > length:
            break
    if len(whole) != length:
        raise damaged(
            f"it must hold {length} bytes as it says, got {len(whole)}{'+' * (len(whole) > length)}"
        )
    return bytes(whole)


def literal(block: bytes, position: int) -> tuple[int, int]:
    """Bytes of a literal, and where they begin."""
    size = block[position] >> 2
    position += 1
    if size >= 60:  # so many bytes tell it
        width = size - 59
        size = int.from_bytes(block[position : position + width], "little")
        position += width
    return size + 1, position


def copy(block: bytes, position: int, kind: int) -> tuple[int, int, int]:
    """Bytes of a copy, how far back they are, and where the next piece begins."""
    tag = block[position]
    width = (0, 1, 2, 4)[kind]
    distance = block[position + 1 : position + 1 + width]
    if len(distance) < width:
        raise damaged("it breaks off")
    offset = int.from_bytes(distance, "little")
    if kind == 1:
        return 4 + (tag >> 2 & 7), (tag >> 5) << 8 | offset, position + 1 + width
    return (tag >> 2) + 1, offset, position + 1 + width


def damaged(reason: str) -> Refused:
    return Refused(400, f"the body must be a block of Snappy: {reason}")
