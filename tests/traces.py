"""The recorded cache traces of the data, as arrays of keys, and the hits of others on them."""

import csv
import lzma
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import datasets

FOLDER = "cache_traces"

LIRS = tuple(
    f"lirs/{name}" for name in ("gli", "cs", "cpp", "ps", "multi1", "multi2", "scan", "2_pools", "loop")
)
NAMES = (
    *LIRS,
    "cache2k/web07",
    "corda/vaultservice",
    "address/gcc",
    "arc/OLTP",
    "arc/P3",
    "cache2k/orm-busy",
)  # from the shortest to the longest

IO_RECORD = np.dtype([("time", "<u4"), ("key", "<u8"), ("size_bytes", "<u4"), ("next_use", "<i8")])


class Reference(NamedTuple):
    """What libcachesim counted: the hits of one policy on one trace, at one size in entries."""

    trace: str
    size: int
    policy: str
    hits: int


class Misses(NamedTuple):
    """What libCacheSim's own tests assert on cloudPhysicsIO, at one size in bytes."""

    policy: str
    size_bytes: int
    misses: int


def keys_of(name: str) -> NDArray[np.int64]:
    """The keys that the trace asks for, in order.

    Args:
        name: one of NAMES.
    """
    family = name.partition("/")[0]
    return READERS[family](name)


def requests_by_bytes() -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """The keys of cloudPhysicsIO and the bytes of each, in order."""
    path = datasets.require(f"{FOLDER}/libcachesim/cloudPhysicsIO.oracleGeneral.bin.xz")
    records = np.frombuffer(lzma.decompress(path.read_bytes()), IO_RECORD)
    return records["key"], records["size_bytes"]


@cache
def references() -> tuple[Reference, ...]:
    """The hits of libcachesim 0.3.5 for every policy, trace and size."""
    rows = rows_of(datasets.require(f"{FOLDER}/reference_hit_ratios.csv"))
    return tuple(
        Reference(row["trace"], int(row["cache_size"]), row["policy"], int(row["hits"])) for row in rows
    )


@cache
def published_misses() -> tuple[Misses, ...]:
    """The misses that libCacheSim's own tests assert on cloudPhysicsIO."""
    rows = rows_of(datasets.require(f"{FOLDER}/libcachesim/published_miss_counts.csv"))
    return tuple(Misses(row["policy"], int(row["cache_size_bytes"]), int(row["misses"])) for row in rows)


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as lines:
        yield from csv.DictReader(lines)


def read_lirs(name: str) -> NDArray[np.int64]:
    """One decimal key a line; a line `*`, or an empty one, is no request."""
    words = text_of(f"{name}.trace.xz").split()
    return np.array([int(word) for word in words if word != "*"], np.int64)


def read_arc(name: str) -> NDArray[np.int64]:
    """`start count x number` a line: the keys from start on, count of them."""
    starts, counts, _, _ = np.fromstring(text_of(f"{name}.lis.xz"), np.int64, sep=" ").reshape(-1, 4).T
    before = np.cumsum(counts) - counts  # keys of the lines above
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def read_cache2k(name: str) -> NDArray[np.int64]:
    """32-bit big-endian integers."""
    return np.frombuffer(bytes_of(f"{name}.trace.xz"), ">i4").astype(np.int64)


def read_corda(name: str) -> NDArray[np.int64]:
    """64-bit big-endian integers."""
    return np.frombuffer(bytes_of(f"{name}.trace.xz"), ">i8").astype(np.int64)


def read_address(name: str) -> NDArray[np.int64]:
    """`operation 0xADDRESS n` a line; the address is the key."""
    lines = text_of(f"{name}.trace.xz").splitlines()
    return np.array([int(line.split()[1], 16) for line in lines], np.int64)


def text_of(name: str) -> str:
    return bytes_of(name).decode("ascii")


def bytes_of(name: str) -> bytes:
    return lzma.decompress(datasets.require(f"{FOLDER}/{name}").read_bytes())


READERS = {
    "lirs": read_lirs,
    "arc": read_arc,
    "cache2k": read_cache2k,
    "corda": read_corda,
    "address": read_address,
}
