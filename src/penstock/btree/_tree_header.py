"""The first page of a tree's file, and the words for a file that is not as it must be.

The format is described in `penstock.btree.tree_file`.
"""

import sys
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct
from zlib import crc32

from penstock.btree._arguments import MAX_LENGTH, KeyType, ValueType
from penstock.btree.errors import TreeFileError
from penstock.errors import shown

__all__ = ["Header", "broken_page"]

PAGE = 1024  # bytes
MAGIC = b"\x89BTREE\r\n"
ORDER = 0x01020304
MAJOR, MINOR = 1, 0
MULTI = 1
MAX_HEIGHT = 16  # levels
CHILDREN, LEAST_CHILDREN = 48, 12

KEY_CODES: dict[KeyType, int] = {"int64": 1, "uint64": 2, "float64": 3}
VALUE_CODES: dict[ValueType | None, int] = {None: 0, "int64": 1, "float64": 2}
LEAF = {True: (59, 64, 536, 8), False: (119, 64, 0, 16)}  # with values or without: room, keys, values, pivots
INNER = (CHILDREN, 64, 440, 824)  # room, keys, children, counts

LAYOUT = Struct("=8sIHH4BIQII8H8x16I892x")
CHECKSUM = Struct("=I")


def wrong(path: str, name: str, rule: str, value: object) -> TreeFileError:
    got = value if isinstance(value, str) else shown(value)
    return TreeFileError(f"{name} must be {rule}, got {got}, in {path!r}")


def broken_page(path: str, number: int) -> TreeFileError:
    """What to raise when a page is not what its checksum, its parent or the form of a node says.

    Number 0, which no node has: all pages are whole, but the keys on them are out of order.
    """
    if number == 0:
        return wrong(path, "keys", "in ascending order", "keys that are not")
    return wrong(path, f"page {number}", "a node as its checksum and its parent say", "a broken page")


def checksum(page: memoryview, number: int) -> int:
    """What a page other than the first has for its checksum."""
    return crc32(page[8:], crc32(page[:4], number))


def check_checksums(pages: memoryview, start: int, path: str) -> None:
    """Whether pages, the first of them number `start`, have their checksums; the header's is passed over.

    Raises:
        TreeFileError: one has not.
    """
    for i in range(0 if start else 1, len(pages) // PAGE):
        page = pages[i * PAGE : (i + 1) * PAGE]
        if CHECKSUM.unpack_from(page, 4)[0] != checksum(page, start + i):
            raise broken_page(path, start + i)


@dataclass(frozen=True, slots=True)
class Header:
    """What the first page tells."""

    key_type: KeyType
    value_type: ValueType | None
    multi: bool
    entries: int
    pages: int  # this one included
    starts: tuple[int, ...]  # the first page of each level, the leaves first

    @property
    def leaf_room(self) -> int:
        return LEAF[self.value_type is not None][0]

    def encode(self) -> bytes:
        geometry = (*LEAF[self.value_type is not None], *INNER)
        body = LAYOUT.pack(
            MAGIC,
            ORDER,
            MAJOR,
            MINOR,
            KEY_CODES[self.key_type],
            VALUE_CODES[self.value_type],
            MULTI if self.multi else 0,
            len(self.starts),
            PAGE,
            self.entries,
            self.pages,
            self.starts[-1] if self.starts else 0,
            *geometry,
            *self.starts,
            *[0] * (MAX_HEIGHT - len(self.starts)),
        )
        return body + CHECKSUM.pack(crc32(body))

    @classmethod
    def decode(cls, page: bytes, size: int, path: str) -> "Header":
        """The header of a file of `size` bytes that begins with `page`.

        Raises:
            TreeFileError: it is no file of a tree, one of a newer version or of another machine, or damaged.
        """
        if len(page) < PAGE:
            raise wrong(path, "the file", f"of {PAGE} bytes or more", f"{len(page)} bytes")
        magic, order, major, _, *rest = LAYOUT.unpack_from(page)
        if magic != MAGIC:
            raise wrong(path, "magic", repr(MAGIC), magic)
        if order != ORDER:
            raise wrong(path, "byte order", f"that of this machine, {sys.byteorder}", f"{order:#010x}")
        if major != MAJOR:
            raise wrong(path, "major version", f"{MAJOR}", major)
        (checksum,) = CHECKSUM.unpack_from(page, LAYOUT.size)
        if checksum != (computed := crc32(page[: LAYOUT.size])):
            raise wrong(path, "checksum of the header", f"{computed:#010x}", f"{checksum:#010x}")
        key_code, value_code, flags, height, page_bytes, entries, pages, root, *rest = rest
        key_type = next((name for name, code in KEY_CODES.items() if code == key_code), None)
        if key_type is None:
            raise wrong(path, "code of key_type", "1, 2 or 3", key_code)
        if value_code not in VALUE_CODES.values():
            raise wrong(path, "code of value_type", "0, 1 or 2", value_code)
        value_type = next(name for name, code in VALUE_CODES.items() if code == value_code)
        if flags & ~MULTI:
            raise wrong(path, "flags", "0 or 1", flags)
        if page_bytes != PAGE:
            raise wrong(path, "page size", f"{PAGE} bytes", page_bytes)
        geometry, starts = tuple(rest[:8]), tuple(rest[8:])
        if geometry != (expected := (*LEAF[value_type is not None], *INNER)):
            raise wrong(path, "offsets and room of nodes", f"{expected}", geometry)
        if pages * PAGE != size:
            raise wrong(path, "size of the file", f"{pages} pages of {PAGE} bytes", f"{size} bytes")
        header = cls(key_type, value_type, bool(flags & MULTI), entries, pages, starts[:height])
        header.check_levels(height, root, starts, path)
        return header

    def check_levels(self, height: int, root: int, starts: tuple[int, ...], path: str) -> None:
        """Each level has as many pages as it can have, and the leaves the room for the entries."""
        if height > MAX_HEIGHT or any(starts[height:]):
            raise wrong(path, "height", f"that of the levels, at most {MAX_HEIGHT}", height)
        if root != (self.pages - 1 if height else 0) or (height and starts[height - 1] != root):
            raise wrong(path, "root", "the last page", root)
        if not height:
            if self.entries or self.pages != 1:
                raise wrong(path, "entries", "0 without pages", self.entries)
            return
        counts = [end - start for start, end in zip(self.starts, (*self.starts[1:], self.pages), strict=True)]
        if self.starts[0] != 1 or not all(
            here >= (above * LEAST_CHILDREN if above > 1 else 2) for here, above in pairwise(counts)
        ):
            raise wrong(path, "pages of levels", f"{LEAST_CHILDREN} times those above or more", counts)
        leaves = counts[0]
        least = (leaves - 2) * (self.leaf_room // 4) + 2 if leaves > 2 else leaves
        if not least <= self.entries <= min(leaves * self.leaf_room, MAX_LENGTH):
            raise wrong(path, "entries", f"what {leaves} leaves can have", self.entries)
