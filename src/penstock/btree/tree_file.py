"""Files of trees of numbers: written whole, mapped into memory, each page checked when it is first needed.

The twins write and read the same files. The compiled one maps a file: `load` reads its first page, a look-up
the few pages on its way, and what is changed is copied, so the file itself never changes. The pure-Python
one reads and checks the whole file at once, whatever `mmap` says.

A file appears whole or not at all: it is written beside its place, synced and renamed over it, so trees that
have mapped the one before keep that. Replace files in this way only: a file that is overwritten or cut while
it is mapped gives wrong entries or ends the process (SIGBUS). A mapped file stays open, by one descriptor,
until the last tree that shares nodes with it is gone.

A damaged page is found by its checksum. Someone who makes a file on purpose can make right checksums; then
a mapped tree still never reads outside the file, but keys may be out of order, which is found when everything
is read: `load(path, mmap=False)`, or `tree.check()`.

The format, version 1.0. Numbers have the byte order of the machine that wrote them; it is in the header, and
files of the other order are refused. A page has 1024 bytes. Page 0 is the header::

    0     8 bytes   magic: 0x89 "BTREE" 0x0d 0x0a
    8     uint32    byte order: 0x01020304
    12    uint16    major version, 1: files of a newer one are refused
    14    uint16    minor version, 0: a newer one adds only what may be passed over
    16    uint8     type of keys: 1 int64, 2 uint64, 3 float64
    17    uint8     type of values: 0 none, 1 int64, 2 float64
    18    uint8     flags: 1 equal keys may stand together (a multimap); else 0
    19    uint8     height: levels; 0 of an empty tree
    20    uint32    size of a page: 1024
    24    uint64    entries
    32    uint32    pages, with this one; the file has as many, and no byte more
    36    uint32    root: the last page; 0 of an empty tree
    40    uint16    of a leaf: room for entries, 59 with values, 119 without
    42    uint16        offset of its keys, 64
    44    uint16        offset of its values, 536; 0 without
    46    uint16        keys from one pivot to the next, 8 with values, 16 without
    48    uint16    of an inner node: room for children, 48
    50    uint16        offset of its keys, 64
    52    uint16        offset of its children, 440
    54    uint16        offset of its counts, 824
    56    8 bytes   zeros
    64    uint32    x 16: the first page of each level from the leaves up; 0 where there is none
    128   892 bytes zeros
    1020  uint32    CRC-32 of the 1020 bytes before

The leaves follow in order of their keys, then each level above, the root last. What a node leaves is zero::

    0     uint8     n: entries of a leaf, children of an inner node
    1     uint8     level; 0 is a leaf
    2     2 bytes   zeros
    4     uint32    CRC-32 of bytes 0 to 4 and 8 to 1024, with the number of the page for its start value
    8     int64     x 7: pivots, the key after every eighth (or sixteenth); 2^63 - 1 where there is none
    64    int64     keys, ascending; uint64 as key - 2^63; float64 as its bits, all but the sign flipped when
                    that is set; never NaN, never -0.0. In an inner node n - 1: the first key below each
                    child from the second on
    536   8 bytes   values of a leaf, each an int64 or a float64
    440   uint64    children: the number of the page * 2 + 1; consecutive pages
    824   uint32    counts: entries below each child

Nodes are a quarter full at the least, but for the root and the first and the last leaf.
"""

import os
from math import copysign
from mmap import ACCESS_READ, mmap
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

from penstock._whole_file import checked_path, opened, write_whole
from penstock.btree._tree_header import KEY_CODES, PAGE, VALUE_CODES, Header, check_checksums, wrong
from penstock.btree.errors import BrokenTree, TreeFileError
from penstock.errors import InvalidType

if TYPE_CHECKING:
    from penstock.btree.btree import BTree

__all__ = ["load", "save"]

T = TypeVar("T", bound="BTree[Any, Any]")

CHUNK = 1 << 20  # bytes that are read together


def save(tree: "BTree[Any, Any]", path: str | PathLike[str]) -> None:
    """Writes a tree of numbers to a file; O(n), as fast as the disk takes it.

    Raises:
        TypeError: key_type or value_type is none of numbers.
        ValueError: `path` is something else than a file, or the tree is mapped from a file that is damaged.
        OSError: the file cannot be written; what was at `path` stays.
    """
    if tree.key_type not in KEY_CODES:
        raise not_numbers("key_type", "'int64', 'uint64' or 'float64'", tree.key_type)
    if tree.value_type not in VALUE_CODES:
        raise not_numbers("value_type", "'int64' or 'float64'", tree.value_type)
    write_whole(path, tree._save, not_a_file)


def load(cls: type[T], path: str | PathLike[str], *, mmap: bool = True) -> T:
    """The tree of a file, of class `cls`.

    Args:
        cls: a class of trees, of the kind that was saved.
        path: the file.
        mmap: map the file and look at pages when they are needed; False reads and checks everything.

    Raises:
        ValueError: the file is none of a tree of this kind, of a newer version, or damaged.
        OSError: the file cannot be read.
    """
    path = checked_path(path)
    fd, size = opened(path, not_a_file)
    try:
        header = Header.decode(os.read(fd, PAGE), size, path)
        tree = cls.__new__(cls)  # no __init__ of a subclass is run
        check_kind(tree, header, path)
        mapping = (mapped if mmap else copied)(fd, size, path)
    finally:
        os.close(fd)
    tree._map(mapping, path, header.key_type, header.value_type)
    if not mmap:
        judge(tree, path)
    return tree


def mapped(fd: int, size: int, path: str) -> mmap:
    try:
        return mmap(fd, size, access=ACCESS_READ)
    except ValueError:  # it has been cut meanwhile
        raise wrong(path, "size of the file", f"{size} bytes", "less") from None


def copied(fd: int, size: int, path: str) -> mmap:
    """A whole file in memory of the process, where nothing changes it; no more of it than is whole."""
    copy = mmap(-1, size)
    view = memoryview(copy)
    with open(fd, "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        for start in range(0, size, CHUNK):
            some = view[start : start + CHUNK]
            if file.readinto(some) != len(some):
                raise wrong(path, "size of the file", f"{size} bytes", "less")
            check_checksums(some, start // PAGE, path)
    return copy


def judge(tree: "BTree[Any, Any]", path: str) -> None:
    """Checks all that a mapped tree would take on trust: every page, the order of keys, no NaN and no -0.0.

    Raises:
        TreeFileError: a rule does not hold.
    """
    try:
        tree.check()
    except BrokenTree as error:
        raise TreeFileError(f"{error}, in {path!r}") from None
    if tree.key_type != "float64" or not tree:
        return
    # NaN and -0.0 stand nowhere else
    for item in (tree.first_item(), tree.last_item(), tree.lower_item(0.0)):
        key = item[0] if isinstance(item, tuple) else item
        if key is not None and (key != key or (key == 0.0 and copysign(1.0, key) < 0)):
            raise wrong(path, "a key", "neither NaN nor -0.0", key)


def check_kind(tree: "BTree[Any, Any]", header: Header, path: str) -> None:
    """Whether a file holds what an (empty) tree of some class can hold."""
    multi, values = hasattr(tree, "get_all"), tree.value_type is not None
    if (multi, values) != (header.multi, header.value_type is not None):
        kinds = {(False, True): "a map", (False, False): "a set", (True, True): "a multimap"}
        found = kinds.get((header.multi, header.value_type is not None), "a multiset")
        raise wrong(path, "the tree", f"{kinds[multi, values]} for {type(tree).__name__}", found)


def not_numbers(name: str, types: str, got: str | None) -> InvalidType:
    return InvalidType(f"{name} must be {types} for a file, got {got!r}: pickle the tree instead")


def not_a_file(path: str) -> TreeFileError:
    return TreeFileError(f"path must be a regular file, got {path!r}")
