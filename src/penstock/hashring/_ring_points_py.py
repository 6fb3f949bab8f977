"""The points of a hash ring, pure Python. Its compiled twin does the same in csrc/ring_points.c."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import md5
from itertools import chain
from typing import TYPE_CHECKING, Literal

from penstock.errors import InvalidValue
from penstock.hashring._key_hash_py import KeyHash
from penstock.hashring._placement_py import Placement
from penstock.hashring.membership import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RingPoints", "Scheme"]

MAX_POINTS = 1 << 24

Scheme = Literal["replicas", "ketama", "ketama-weighted"]
"""Where the points of a node stand; csrc/virtual_nodes.h has the rules."""


def points_of(hash: KeyHash, scheme: Scheme, name: str, count: int) -> list[int]:
    """The positions of the points of a node.

    Raises:
        ValueError, TypeError: the hash is a callable, and returns what is no hash.
    """
    if scheme == "replicas":
        return [hash.position(f"{name}:replica_{i}".encode()) for i in range(count)]
    each = 4 if scheme == "ketama-weighted" else 1
    name = name.removesuffix(":11211")
    digests = (md5(f"{name}-{i}".encode(), usedforsecurity=False).digest() for i in range(count // each))
    return [
        int.from_bytes(digest[4 * j : 4 * j + 4], "little") << 32 for digest in digests for j in range(each)
    ]


def checked_total(counts: Iterable[int]) -> int:
    """The points of a ring.

    Raises:
        ValueError: there are more than MAX_POINTS.
    """
    total = sum(counts)
    if total > MAX_POINTS:
        raise InvalidValue(
            f"points of a ring must be <= {MAX_POINTS}, got {total}: fewer vnodes, or less weight"
        )
    return total


def checked_counts(counts: Sequence[int], nodes: int) -> int:
    """The points of a ring, of so many to each node.

    Raises:
        ValueError: there is not one count for each node, or there are no points, or more than MAX_POINTS.
    """
    if len(counts) != nodes:
        raise InvalidValue(f"counts must be one for each of {nodes} nodes, got {len(counts)}")
    total = checked_total(counts)
    if min(counts, default=0) < 0 or (nodes and not total):
        raise InvalidValue(f"counts must be >= 0, and some above, got {shown(counts)}")
    return total


class RingPoints(Placement):
    """The sorted points of a ring: a hash belongs to the owner of the first point that is not below it.

    Args:
        nodes: names, sorted and checked.
        hash: of the keys, and of the points of the scheme "replicas".
        scheme: where the points of a node stand.
        counts: points of each node, >= 0. A node without any gets no key, and comes last in every order.

    Raises:
        ValueError: there are more than 2**24 points, or none; or there is not one count for each node.
        ValueError, TypeError: the hash is a callable, and returns what is no hash.

    Source: D. Karger et al., Consistent hashing and random trees, STOC 1997. O(log points) a lookup here;
    compiled, about O(1).
    """

    __slots__ = ("_owners", "_points")

    def __init__(
        self, nodes: tuple[str, ...], hash: KeyHash, scheme: Scheme, counts: Sequence[int], /
    ) -> None:  # fmt: skip
        checked_counts(counts, len(nodes))
        pairs = sorted(
            (point, owner)
            for owner, (name, count) in enumerate(zip(nodes, counts, strict=True))
            for point in points_of(hash, scheme, name, count)
        )
        super().__init__(nodes, hash)
        self._points = [point for point, _ in pairs]
        self._owners = [owner for _, owner in pairs]

    def _begin_with(
        self, base: "RingPoints", nodes: tuple[str, ...], at: int, scheme: Scheme, count: int, /
    ) -> None:  # fmt: skip
        """Initialises it as `base` with one more node, nodes[at], of `count` points."""
        checked_total([len(base._points), count])
        added = [(point, at) for point in points_of(base.hash, scheme, nodes[at], count)]
        moved = [owner + (owner >= at) for owner in base._owners]
        pairs = sorted([*zip(base._points, moved, strict=True), *added])
        super().__init__(nodes, base.hash)
        self._points = [point for point, _ in pairs]
        self._owners = [owner for _, owner in pairs]

    def _begin_without(self, base: "RingPoints", nodes: tuple[str, ...], at: int, /) -> None:
        """Initialises it as `base` without its node `at`; some node is left."""
        kept = [
            (point, owner - (owner > at))
            for point, owner in zip(base._points, base._owners, strict=True)
            if owner != at
        ]
        super().__init__(nodes, base.hash)
        self._points = [point for point, _ in kept]
        self._owners = [owner for _, owner in kept]

    def _locate(self, position: int) -> int:
        return self._owners[self._place(position)]

    def _order(self, position: int, n: int) -> list[int]:
        order: dict[int, None] = {}
        at = self._place(position)
        clockwise = chain(range(at, len(self._owners)), range(at))
        for owner in chain((self._owners[i] for i in clockwise), range(len(self._nodes))):
            if len(order) == n:
                break
            order[owner] = None
        return list(order)

    def _place(self, position: int) -> int:
        place = bisect_left(self._points, position)
        return place if place < len(self._points) else 0

    def _arrays(self) -> "tuple[NDArray[np.uint64], NDArray[np.uint32]]":
        """The points, sorted, and the index of the owner of each; copies."""
        import numpy as np

        return np.array(self._points, np.uint64), np.array(self._owners, np.uint32)
