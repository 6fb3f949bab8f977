"""The pages of a tree's file by numpy: how the fallback twin writes and reads them.

The format is described in `penstock.btree.tree_file`. Everything is read at once.
"""

import os
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.btree._tree_header import (
    CHILDREN,
    LEAST_CHILDREN,
    PAGE,
    Header,
    broken_page,
    check_checksums,
    checksum,
    wrong,
)
from penstock.btree.errors import TreeFileError
from penstock.errors import InvalidValue

if TYPE_CHECKING:
    from mmap import mmap

    from numpy.typing import NDArray

    from penstock.btree._btree_py import BTree

__all__ = ["read", "write"]

FILL = 0.9  # of the nodes that are written
CHUNK = 4096  # pages that are made together
NO_KEY = (1 << 63) - 1
HEAD = [("n", "u1"), ("level", "u1"), ("zeros", "u2"), ("checksum", "u4"), ("pivots", "i8", 7)]
LEAVES = {
    True: np.dtype([*HEAD, ("keys", "i8", 59), ("values", "u8", 59), ("rest", "u8", 2)]),
    False: np.dtype([*HEAD, ("keys", "i8", 119), ("rest", "u8", 1)]),
}
INNER = np.dtype(
    [
        *HEAD,
        ("keys", "i8", CHILDREN - 1),
        ("children", "u8", CHILDREN),
        ("counts", "u4", CHILDREN),
        ("rest", "u8", 1),
    ]
)


# Keys as a file has them ---------------------------------------------------------------------------------


def stored_keys(keys: "NDArray[Any]") -> "NDArray[np.int64]":
    """Numbers as int64 of the same order."""
    if keys.dtype == np.float64:
        return flipped((keys + 0.0).view(np.int64))  # -0.0 is 0.0
    if keys.dtype == np.uint64:
        return (keys ^ np.uint64(1 << 63)).view(np.int64)
    return keys


def real_keys(stored: "NDArray[np.int64]", key_type: str) -> "NDArray[Any]":
    """What `stored_keys` was given."""
    if key_type == "float64":
        return flipped(stored).view(np.float64)
    if key_type == "uint64":
        return stored.view(np.uint64) ^ np.uint64(1 << 63)
    return stored


def flipped(bits: "NDArray[np.int64]") -> "NDArray[np.int64]":
    return bits ^ ((bits >> 63) & NO_KEY)


def pivots_of(pages: "NDArray[Any]", n_keys: "NDArray[Any]") -> "NDArray[np.int64]":
    """The pivots that nodes with so many keys must have."""
    room = pages.dtype["keys"].shape[0]
    at = np.arange(1, 8) * (16 if room > 64 else 8)
    return np.where(at < n_keys[:, None], pages["keys"][:, np.minimum(at, room - 1)], NO_KEY)


def used(array: "NDArray[Any]", n: "NDArray[Any]") -> "NDArray[np.bool_]":
    """A mask of the first n places of each row."""
    return np.arange(array.shape[1]) < n[:, None]


# Writing --------------------------------------------------------------------------------------------------


def write(tree: "BTree[Any, Any]", fd: int) -> None:
    """Writes the file of a tree of numbers to a descriptor.

    Raises:
        OSError: it cannot be written.
    """
    arrays: Any = tree.range_arrays()
    keys, values = (arrays, None) if tree.value_type is None else arrays
    dtype = LEAVES[values is not None]
    levels = [sizes_of(len(keys), dtype["keys"].shape[0])] if len(keys) else []
    while levels and len(levels[-1]) > 1:
        levels.append(sizes_of(len(levels[-1]), CHILDREN))
    *starts, pages = np.cumsum([1, *map(len, levels)]).tolist()
    multi = hasattr(tree, "get_all")
    header = Header(tree.key_type, tree.value_type, multi, len(keys), pages, tuple(starts))
    write_all(fd, memoryview(header.encode()))
    firsts = stored_keys(keys)
    counts = np.ones(len(keys), np.int64)
    for level, sizes in enumerate(levels):
        ends = np.cumsum(sizes)
        for begin in range(0, len(sizes), CHUNK):
            some = sizes[begin : begin + CHUNK]
            last = int(ends[begin + len(some) - 1])
            below = slice(last - int(some.sum()), last)
            if level == 0:
                made = leaf_pages(dtype, some, firsts[below], None if values is None else values[below])
            else:
                made = inner_pages(level, some, firsts[below], counts[below], starts[level - 1] + below.start)
            write_pages(fd, made, starts[level] + begin)
        firsts = firsts[ends - sizes]
        counts = np.add.reduceat(counts, ends - sizes)


def sizes_of(items: int, room: int) -> "NDArray[np.int64]":
    """How many of so many items go to each node, as from_sorted places them."""
    nodes = -(-items // ceil(room * FILL))
    return items // nodes + (np.arange(nodes) < items % nodes)


def leaf_pages(
    dtype: "np.dtype[Any]", sizes: "NDArray[Any]", keys: "NDArray[Any]", values: "NDArray[Any] | None"
) -> "NDArray[Any]":
    pages = np.zeros(len(sizes), dtype)
    pages["n"] = sizes
    pages["keys"][used(pages["keys"], sizes)] = keys
    if values is not None:
        pages["values"][used(pages["values"], sizes)] = values.view(np.uint64)
    pages["pivots"] = pivots_of(pages, sizes)
    return pages


def inner_pages(
    level: int, sizes: "NDArray[Any]", firsts: "NDArray[Any]", counts: "NDArray[Any]", child: int
) -> "NDArray[Any]":
    pages = np.zeros(len(sizes), INNER)
    pages["n"] = sizes
    pages["level"] = level
    pages["children"][used(pages["children"], sizes)] = references(child, len(firsts))
    pages["counts"][used(pages["counts"], sizes)] = counts
    has_key = np.ones(len(firsts), bool)
    has_key[np.cumsum(sizes) - sizes] = False  # none stands before the first child
    pages["keys"][used(pages["keys"], sizes - 1)] = firsts[has_key]
    pages["pivots"] = pivots_of(pages, sizes - 1)
    return pages


def references(page: int, n: int) -> "NDArray[np.uint64]":
    return np.arange(page, page + n, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def write_pages(fd: int, pages: "NDArray[Any]", number: int) -> None:
    view = pages.view(np.uint8).data
    pages["checksum"] = [checksum(view[i * PAGE : (i + 1) * PAGE], number + i) for i in range(len(pages))]
    write_all(fd, view)


def write_all(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]


# Reading --------------------------------------------------------------------------------------------------


def read(tree: "BTree[Any, Any]", mapping: "mmap", path: str) -> None:
    """Loads the entries of a file into an empty tree of its types, after a look at every page.

    Raises:
        TreeFileError: the file is damaged, or its keys are out of order.
    """
    view = memoryview(mapping)
    header = Header.decode(bytes(view[:PAGE]), len(view), path)
    check_checksums(view, 0, path)
    leaves = pages_of(view, header, 0)
    n = leaves["n"].astype(np.int64)
    check_good(shape_is_good(leaves, 0, n, 1), 1, path)
    sums = n
    for level, start in enumerate(header.starts[1:], 1):
        pages = pages_of(view, header, level)
        check_good(inner_is_good(pages, header, level, sums), start, path)
        sums = pages["counts"].sum(axis=1, dtype=np.int64)
    if int(sums.sum()) != header.entries:
        raise wrong(path, "entries", "what its pages have", header.entries)
    keys = real_keys(leaves["keys"][used(leaves["keys"], n)], header.key_type)
    values = None
    if header.value_type is not None:
        values = leaves["values"][used(leaves["values"], n)].view(header.value_type)
    try:
        tree._load_sorted(keys, values, FILL, True)
    except InvalidValue as error:  # out of order, or NaN
        raise TreeFileError(f"{error}, in {path!r}") from None


def pages_of(view: memoryview, header: Header, level: int) -> "NDArray[Any]":
    dtype = INNER if level else LEAVES[header.value_type is not None]
    if not header.starts:
        return np.zeros(0, dtype)
    start, end = (*header.starts, header.pages)[level : level + 2]
    return np.frombuffer(view, dtype, end - start, start * PAGE)


def check_good(good: "NDArray[np.bool_]", start: int, path: str) -> None:
    if not good.all():
        raise broken_page(path, start + int(np.argmin(good)))


def shape_is_good(pages: "NDArray[Any]", level: int, n: "NDArray[Any]", least: int) -> "NDArray[np.bool_]":
    """Of each page: is it of the level, n within bounds, do pivots fit, and is what is not used zero?"""
    n_keys = n - 1 if level else n
    room = pages.dtype["children" if level else "keys"].shape[0]
    good: NDArray[np.bool_] = (pages["level"] == level) & (pages["zeros"] == 0) & (n >= least) & (n <= room)
    good &= (pages["pivots"] == pivots_of(pages, n_keys)).all(axis=1) & (pages["rest"] == 0).all(axis=1)
    for name in {"keys", "values", "children", "counts"} & set(pages.dtype.names or ()):
        array = pages[name]
        good &= ((array == 0) | used(array, n_keys if name == "keys" else n)).all(axis=1)
    return good


def inner_is_good(
    pages: "NDArray[Any]", header: Header, level: int, sums: "NDArray[np.int64]"
) -> "NDArray[np.bool_]":
    """Of each page: is its shape good, and has it the children that are next, with their entries?"""
    n = pages["n"].astype(np.int64)
    good = shape_is_good(pages, level, n, LEAST_CHILDREN if level + 1 < len(header.starts) else 2)
    firsts = np.cumsum(n) - n
    for i in range(CHILDREN):
        at = firsts + i
        child = ((header.starts[level - 1] + at) * 2 + 1).astype(np.uint64)
        fits = (pages["children"][:, i] == child) & (
            pages["counts"][:, i] == sums[np.minimum(at, len(sums) - 1)]
        )
        good &= (i >= n) | (fits & (at < len(sums)))
    good[-1] &= firsts[-1] + n[-1] == len(sums)
    return good
