"""Rendezvous hashing, pure Python. Its compiled twin does the same in csrc/rendezvous_bids.c."""

from collections import defaultdict
from collections.abc import Sequence
from heapq import nsmallest
from math import inf

from penstock.errors import InvalidValue
from penstock.hashring._key_hash_py import KeyHash
from penstock.hashring._mix_py import mix64
from penstock.hashring._placement_py import Placement
from penstock.hashring.membership import shown

__all__ = ["RendezvousBids"]

IDENTITIES = KeyHash("xxh3_64")
"""The hash of a node's name, with which it bids."""

LN2 = 0.69314718055994530942
SQRT_HALF = 0.70710678118654752440

Bid = tuple[float, int, int]
"""Arrival, draw with its sign changed, index: the least wins."""


def ln_inverse(draw: int) -> float:
    """-ln(u) of a draw: the very sum of csrc/rendezvous_bids.c, as it decides where keys live."""
    x = draw >> 16 << 1 | 1  # u = x / 2**49
    bits = x.bit_length()
    k = 49 - bits
    m = x / (1 << bits)
    if m < SQRT_HALF:
        m *= 2
        k += 1
    s = (m - 1) / (m + 1)
    z = s * s
    total = 1.0 / 21
    for divisor in (19, 17, 15, 13, 11, 9, 7, 5, 3, 1):
        total = total * z + 1.0 / divisor
    return k * LN2 - 2 * s * total


def checked_weights(weights: Sequence[float], nodes: int) -> None:
    """Refuses what is not one weight for each node.

    Raises:
        ValueError: there are more or fewer, or one is not above 0 and finite.
    """
    if len(weights) != nodes or not all(0 < weight < inf for weight in weights):
        raise InvalidValue(f"weights must be > 0, one for each of {nodes} nodes, got {shown(weights)}")


class RendezvousBids(Placement):
    """Nodes that bid for every key: the best bid gets it, and the order of bids is its order of preference.

    Args:
        nodes: names, sorted and checked.
        hash: of the keys.
        weights: of the nodes, checked.

    Raises:
        ValueError: there is not one weight for each node.

    Source: D. Thaler, C. V. Ravishankar, Using name-based mappings to increase hit rates, 1998; C.
    Schindelhauer, G. Schomaker, Weighted distributed hash tables, SPAA 2005. O(nodes) a lookup.
    """

    __slots__ = ("_classes",)

    def __init__(self, nodes: tuple[str, ...], hash: KeyHash, weights: Sequence[float], /) -> None:
        checked_weights(weights, len(nodes))
        classes: defaultdict[float, list[tuple[int, int]]] = defaultdict(list)
        for index, (identity, weight) in enumerate(zip(IDENTITIES.positions(nodes), weights, strict=True)):
            classes[weight].append((identity, index))
        super().__init__(nodes, hash)
        self._classes = classes

    def _locate(self, position: int) -> int:
        """Among nodes of one weight the highest draw wins, so that each weight needs one logarithm only."""
        bids: list[Bid] = []
        for weight, members in self._classes.items():
            draw, index = min((-mix64(position ^ identity), index) for identity, index in members)
            bids.append((ln_inverse(-draw) / weight, draw, index))
        return min(bids)[2]

    def _order(self, position: int, n: int) -> list[int]:
        bids: list[Bid] = []
        for weight, members in self._classes.items():
            for identity, index in members:
                draw = mix64(position ^ identity)
                bids.append((ln_inverse(draw) / weight, -draw, index))
        return [index for _, _, index in nsmallest(n, bids)]
