"""Postings packed in blocks of 128, in pure Python, as csrc/posting_list.h and csrc/search_segment.h say."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from struct import Struct, pack, unpack, unpack_from
from typing import NamedTuple

from penstock.search._arguments import broken_segment

__all__ = ["BLOCK", "PackedList", "pack_list", "pack_places", "unpack_list", "unpack_places"]

BLOCK = 128  # postings of a block
BRIEF = 127  # postings that a list can have without a head
LANES = 4  # of a full block
PEAKS = 3
GREATEST_PEAK = 65_535
MOST_GAP_BITS, MOST_FREQ_BITS = 32, 31
MOST_PLACE = (1 << 32) - 1
COUNT = Struct("<I")
HEAD = Struct("<II6H")


class PackedList(NamedTuple):
    """The list of a term, and whether it must begin at a multiple of 4."""

    data: bytes
    aligned: bool


# Writing ------------------------------------------------------------------------------------------------


def pack_list(docs: Sequence[int], freqs: Sequence[int], lengths: Sequence[int]) -> PackedList:
    """Packs postings.

    Args:
        docs: (n,) numbers of documents, ascending.
        freqs: (n,) how often each has the term.
        lengths: (n,) how many words each has.
    """
    gaps = [doc - before - 1 for before, doc in pairwise([-1, *docs])]
    counts = [freq - 1 for freq in freqs]
    if len(docs) <= BRIEF:
        return PackedList(pack_block(gaps, counts), aligned=False)
    blocks = [range(start, min(start + BLOCK, len(docs))) for start in range(0, len(docs), BLOCK)]
    bodies = [
        pack_block(gaps[block.start : block.stop], counts[block.start : block.stop]) for block in blocks
    ]
    offsets = accumulate(map(len, bodies), initial=0)
    heads = [
        HEAD.pack(
            docs[block[-1]],
            offset,
            *peaks(freqs[block.start : block.stop], lengths[block.start : block.stop]),
        )
        for block, offset in zip(blocks, offsets, strict=False)
    ]
    return PackedList(b"".join([COUNT.pack(len(docs)), *heads, *bodies]), aligned=True)


def pack_block(gaps: Sequence[int], counts: Sequence[int]) -> bytes:
    gap_bits, count_bits = max(gaps).bit_length(), max(counts).bit_length()
    return bytes([gap_bits, count_bits]) + pack_values(gaps, gap_bits) + pack_values(counts, count_bits)


def pack_values(values: Sequence[int], bits: int) -> bytes:
    """A full block goes to four lanes, whose words alternate; another is one stream of bits."""
    if len(values) < BLOCK:
        return stream(values, bits)
    lanes = [unpack(f"<{bits}I", stream(values[lane::LANES], bits)) for lane in range(LANES)]
    return pack(f"<{LANES * bits}I", *(word for words in zip(*lanes, strict=True) for word in words))


def stream(values: Sequence[int], bits: int) -> bytes:
    """Values of so many bits one behind the other, from the lowest bit, in whole bytes."""
    whole = 0
    for value in reversed(values):
        whole = whole << bits | value
    return whole.to_bytes((len(values) * bits + 7) // 8, "little")


def peaks(freqs: Sequence[int], lengths: Sequence[int]) -> list[int]:
    """Up to three (frequency, length) so that each posting has one that is no less frequent and no longer."""
    front: list[tuple[int, int]] = []
    for freq, length in sorted(zip(freqs, lengths, strict=True), key=lambda each: (-each[0], each[1])):
        if not front or length < front[-1][1]:
            front.append((freq, length))
    groups = [front[len(front) * i // PEAKS : len(front) * (i + 1) // PEAKS] for i in range(PEAKS)]
    found = [min(each, GREATEST_PEAK) for group in groups if group for each in (group[0][0], group[-1][1])]
    return found + [0] * (2 * PEAKS - len(found))


def pack_places(places: Sequence[Sequence[int]]) -> bytes:
    """Positions of the postings of a term."""
    blocks = [
        b"".join(map(pack_places_of, places[start : start + BLOCK])) for start in range(0, len(places), BLOCK)
    ]
    if len(places) <= BLOCK:
        return b"".join(blocks)
    offsets = list(accumulate(map(len, blocks), initial=0))
    return pack(f"<{len(offsets)}I", *offsets) + b"".join(blocks)


def pack_places_of(places: Sequence[int]) -> bytes:
    """Distances from place to place, as variable-length numbers."""
    distances = [place - before for before, place in pairwise([0, *places])]
    if max(distances) < 128:
        return bytes(distances)
    packed = bytearray()
    for distance in distances:
        while distance > 127:
            packed.append(distance & 127 | 128)
            distance >>= 7
        packed.append(distance)
    return bytes(packed)


# Reading ------------------------------------------------------------------------------------------------


def unpack_list(data: memoryview, brief: int, documents: int) -> tuple[list[int], list[int]]:
    """Documents and frequencies of a list.

    Args:
        data: the list.
        brief: how many postings it has, up to 127; 0: it says so itself.
        documents: how many there are.

    Raises:
        IndexFileError: it is broken.
        struct.error: it ends too early.
    """
    count = brief or COUNT.unpack_from(data)[0]
    if count > documents or (brief > BRIEF if brief else count <= BRIEF):
        raise broken_segment()
    if brief:
        docs, freqs = unpack_block(data, count, -1)
        if docs[-1] >= documents:
            raise broken_segment()
        return docs, freqs
    blocks = -(-count // BLOCK)
    heads, bodies = data[COUNT.size :], data[COUNT.size + blocks * HEAD.size :]
    docs, freqs = [], []
    for block in range(blocks):
        last, offset, *_ = HEAD.unpack_from(heads, block * HEAD.size)
        more, of_them = unpack_block(
            bodies[offset:], min(BLOCK, count - block * BLOCK), docs[-1] if docs else -1
        )
        if more[-1] != last or last >= documents:
            raise broken_segment()
        docs += more
        freqs += of_them
    return docs, freqs


def unpack_block(data: memoryview, n: int, before: int) -> tuple[list[int], list[int]]:
    """A block of n postings behind the document `before`."""
    gap_bits, count_bits = unpack_from("<BB", data)
    if gap_bits > MOST_GAP_BITS or count_bits > MOST_FREQ_BITS:
        raise broken_segment()
    size = values_size(n, gap_bits)
    gaps = unpack_values(data[2 : 2 + size], n, gap_bits)
    counts = unpack_values(data[2 + size : 2 + size + values_size(n, count_bits)], n, count_bits)
    docs = list(accumulate((gap + 1 for gap in gaps), initial=before))[1:]
    return docs, [count + 1 for count in counts]


def values_size(n: int, bits: int) -> int:
    return (n * bits + 7) // 8


def unpack_values(data: memoryview, n: int, bits: int) -> list[int]:
    if len(data) < values_size(n, bits):
        raise broken_segment()
    if n < BLOCK:
        return list(values_of(data, n, bits))
    words = unpack(f"<{LANES * bits}I", data)
    values = [0] * n
    for lane in range(LANES):
        values[lane::LANES] = values_of(pack(f"<{bits}I", *words[lane::LANES]), n // LANES, bits)
    return values


def values_of(data: bytes | memoryview, n: int, bits: int) -> Iterator[int]:
    whole = int.from_bytes(data, "little")
    mask = (1 << bits) - 1
    return (whole >> shift & mask for shift in (range(0, n * bits, bits) if bits else [0] * n))


def unpack_places(data: memoryview, freqs: Sequence[int]) -> list[tuple[int, ...]]:
    """Positions of the postings of a term, as many as they are frequent.

    Raises:
        IndexFileError: they are broken.
        struct.error, IndexError: they end too early.
    """
    if len(freqs) <= BLOCK:
        return unpack_places_of(data, freqs)
    blocks = -(-len(freqs) // BLOCK)
    offsets = unpack_from(f"<{blocks + 1}I", data)
    bodies = data[4 * (blocks + 1) :]
    places: list[tuple[int, ...]] = []
    for block in range(blocks):
        body = bodies[offsets[block] : offsets[block + 1]]
        places += unpack_places_of(body, freqs[block * BLOCK : (block + 1) * BLOCK])
    return places


def unpack_places_of(data: memoryview, freqs: Sequence[int]) -> list[tuple[int, ...]]:
    at = 0
    found = []
    for freq in freqs:
        if freq > len(data) - at:
            raise broken_segment()
        place = 0
        places: list[int] = []
        for _ in range(freq):
            shift = distance = 0
            while (byte := data[at]) > 127 and shift < 28:  # at the fifth byte it ends or is broken
                distance |= (byte & 127) << shift
                shift += 7
                at += 1
            distance |= byte << shift
            at += 1
            if byte > 127 or distance > MOST_PLACE or (places and not distance):
                raise broken_segment()
            place += distance
            places.append(place)
        found.append(tuple(places))
    return found
