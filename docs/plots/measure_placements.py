"""Measures how evenly placements share keys out, and how many move, for the plots of the page on hash rings.

    python docs/plots/measure_placements.py

writes balance.csv and moves.csv beside itself. All hashes are frozen, so it writes the same wherever it runs;
tests/hashring/test_plots.py holds the tables to what the placements do.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from penstock.hashring import (
    AnchorHash,
    FrozenRing,
    HashRing,
    MaglevTable,
    RendezvousHash,
    jump_hash_many,
)

BALANCE, MOVES = (Path(__file__).with_name(name) for name in ("balance.csv", "moves.csv"))

CLUSTERS = 25  # sets of names: shares are a matter of luck with the names
NODES = 100
VNODES = [1 << n for n in range(13)]

KEYS = np.arange(100_000, dtype=np.uint64)
HASHES = np.random.default_rng(35).integers(0, 1 << 64, len(KEYS), np.uint64)  # for what hashes no keys
CLUSTER_SIZES = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500]

Row = tuple[Any, ...]


def names(count: int, cluster: int = 0) -> list[str]:
    """Names that sort in their order."""
    return [f"node-{cluster}-{n:03}" for n in range(count)]


# ---- balance


def balance() -> Iterator[Row]:
    """Points a node, set of names; the shares of the most and the least loaded as multiples of the mean."""
    for cluster in range(CLUSTERS):
        for vnodes in VNODES:
            shares = FrozenRing(names(NODES, cluster), vnodes=vnodes).distribution().values()
            yield vnodes, cluster, f"{max(shares) * NODES:.4f}", f"{min(shares) * NODES:.4f}"


# ---- moves


def moves() -> Iterator[Row]:
    """Set of names, method, nodes before one was added; the shares of keys that moved, and that moved astray.

    Those astray moved between old nodes.
    """
    for cluster in range(CLUSTERS):
        for nodes in CLUSTER_SIZES:
            for method, place in METHODS.items():
                before, after = place(names(nodes + 1, cluster))
                changed = before != after
                astray = changed & (after != nodes)
                yield cluster, method, nodes, f"{changed.mean():.5f}", f"{astray.mean():.5f}"


def placed(make: Callable[[list[str]], Any]) -> Callable[[list[str]], Any]:
    """The numbers of the nodes of all keys, before and after the last one was added."""

    def place(nodes: list[str]) -> tuple[Any, Any]:
        placement = make(nodes[:-1])
        before = placement.get_many(KEYS)  # names are numbered as they sort, so a number keeps its meaning
        placement.add_node(nodes[-1])
        return before, placement.get_many(KEYS)

    return place


def jumped(nodes: list[str]) -> tuple[Any, Any]:
    """As placed, by jump hash."""
    return jump_hash_many(HASHES, len(nodes) - 1), jump_hash_many(HASHES, len(nodes))


def taken_modulo(nodes: list[str]) -> tuple[Any, Any]:
    """As placed, by the remainder."""
    return HASHES % np.uint64(len(nodes) - 1), HASHES % np.uint64(len(nodes))


METHODS = {
    "modulo": taken_modulo,
    "ring": placed(HashRing),
    "maglev": placed(MaglevTable),
    "rendezvous": placed(RendezvousHash),
    "anchor": placed(AnchorHash),
    "jump": jumped,
}


def main() -> None:
    """Writes both tables anew."""
    write(BALANCE, ["vnodes", "cluster", "most", "least"], balance())
    write(MOVES, ["cluster", "method", "nodes", "moved", "astray"], moves())


def write(path: Path, columns: list[str], rows: Iterator[Row]) -> None:
    """A table as CSV."""
    with path.open("w", newline="") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)


if __name__ == "__main__":
    main()
