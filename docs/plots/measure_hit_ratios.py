"""Counts the hits of every policy on the recorded traces, for the plots of the page on policies.

    python docs/plots/measure_hit_ratios.py

writes hit_ratios.csv beside itself. It reads the traces as the tests do, so tests/datasets.py says where
they lie; tests/cache/test_hit_ratios.py holds the table to what the caches do. The optimum, which would
have to know the future, is the one that libcachesim has counted.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import traces
from penstock.cache import Cache
from penstock.cache.cache import Policy

TABLE = Path(__file__).with_name("hit_ratios.csv")
BY_BYTES = "libcachesim/cloudPhysicsIO"

ABSENT = object()

Row = tuple[str, int, str, int, int]  # trace, size, policy, hits, requests


def by_entries(name: str) -> Iterator[Row]:
    """The rows of one trace, at the sizes that libcachesim was asked for."""
    keys = traces.keys_of(name).tolist()
    optima = {
        row.size: row.hits for row in traces.references() if (row.trace, row.policy) == (name, "Belady")
    }
    for size, optimum in sorted(optima.items()):
        for policy in get_args(Policy):
            yield name, size, policy, hits_of(Cache(size, policy=policy), keys, keys), len(keys)
        yield name, size, "optimum", optimum, len(keys)


def by_bytes() -> Iterator[Row]:
    """The rows of cloudPhysicsIO, where an entry weighs its size."""
    keys, sizes = (column.tolist() for column in traces.requests_by_bytes())
    optima = {row.size_bytes: row.misses for row in traces.published_misses() if row.policy == "Belady"}
    for size, misses in sorted(optima.items()):
        for policy in get_args(Policy):
            cache = Cache(len(keys), policy=policy, weigher=lambda _, weight: weight, max_weight=size)
            yield BY_BYTES, size, policy, hits_of(cache, keys, sizes), len(keys)
        yield BY_BYTES, size, "optimum", len(keys) - misses, len(keys)


def hits_of(cache: Any, keys: list[int], values: list[int]) -> int:
    """Looks every key up, and stores what is not there."""
    hits = 0
    for key, value in zip(keys, values, strict=True):
        if cache.get(key, ABSENT) is ABSENT:
            cache[key] = value
        else:
            hits += 1
    return hits


def main() -> None:
    """Writes the table anew."""
    with TABLE.open("w", newline="") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(["trace", "size", "policy", "hits", "requests"])
        for name in traces.NAMES:
            table.writerows(by_entries(name))
        table.writerows(by_bytes())


if __name__ == "__main__":
    main()
