"""AnchorHash: even shares, lookups in a few steps, and a change moves only the keys that it must."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import msgspec

from penstock.errors import InvalidValue
from penstock.hashring.anchor_buckets import AnchorBuckets
from penstock.hashring.changing import Changing
from penstock.hashring.frozen import Frozen, HashName
from penstock.hashring.key_hash import KeyHash
from penstock.hashring.membership import (
    Nodes,
    checked_name,
    checked_nodes,
    checked_weight,
    place_for,
    place_of,
    shown,
)
from penstock.hashring.placement import own_lookups

__all__ = ["AnchorHash", "FrozenAnchor"]

LEAST_CAPACITY = 128  # unless said otherwise


class AnchorContent(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a snapshot of it holds."""

    nodes: list[tuple[str, int]]
    """Names, sorted, and the bucket of each."""
    removed: list[int]
    """Buckets that nodes have left, in that order."""
    capacity: int
    hash: Any
    seed: int


@own_lookups
class FrozenAnchor(Frozen, AnchorBuckets):
    """An AnchorHash that never changes: a snapshot of one, or made directly.

    Args, errors and source are those of AnchorHash.
    """

    __slots__ = ("_buckets", "_removed", "_weights")

    kind = "anchor"
    content_type = AnchorContent

    def __init__(
        self,
        nodes: Nodes = (),
        *,
        capacity: int | None = None,
        hash: HashName = "xxh3_64",
        seed: int = 0,
    ) -> None:
        names = checked_even(nodes)
        most = roomy(len(names)) if capacity is None else capacity
        self._settle(names, range(len(names)), (), most, KeyHash(hash, seed))

    def _settle(
        self,
        names: tuple[str, ...],
        buckets: Sequence[int],
        removed: Sequence[int],
        capacity: int,
        hash: KeyHash,
    ) -> None:
        removed = needed(len(names), removed)
        super().__init__(names, hash, capacity, buckets, removed)
        self._buckets, self._removed, self._weights = tuple(buckets), removed, (1.0,) * len(names)

    @classmethod
    def _over(
        cls,
        buckets: Mapping[str, int],
        removed: Sequence[int],
        capacity: int,
        hash: KeyHash,
    ) -> Self:
        names = tuple(sorted(buckets))
        placement = cls.__new__(cls)
        placement._settle(names, [buckets[name] for name in names], removed, capacity, hash)
        return placement

    # ---- what it would be with other members

    def with_nodes(self, nodes: Nodes, /) -> Self:
        """One of the same capacity over other nodes, of which those that are there already keep their keys.

        Those that leave do so in the order of their names, backwards; those that come, in that order.
        """
        names = checked_even(nodes)
        staying = set(names).intersection(self.nodes)
        leaving = [name for name in reversed(self.nodes) if name not in staying]
        return self._changed(leaving, [name for name in names if name not in staying])

    def with_node(self, name: str, weight: float = 1.0, /) -> Self:
        """One with one more node, which has the bucket that was left last. Takes O(capacity).

        Raises:
            ValueError: it is there already, there is no room for it, or an argument is out of its range.
            TypeError: an argument is of another type.
        """
        name = checked_name(name)
        refuse_uneven(name, weight)
        place_for(self.nodes, name)
        return self._changed([], [name])

    def without_node(self, name: str, /) -> Self:
        """One without one of its nodes. Takes O(capacity).

        Raises:
            LookupError: no node has that name.
        """
        return self._changed([self.nodes[place_of(self.nodes, name)]], [])

    def with_weight(self, name: str, weight: float, /) -> Self:
        """The same, as a node weighs 1.

        Raises:
            LookupError: no node has that name.
            ValueError: the weight is not 1.
            TypeError: the weight is no number.
        """
        place_of(self.nodes, name)
        refuse_uneven(name, weight)
        return self

    def _changed(self, leaving: Iterable[str], coming: Iterable[str]) -> Self:
        buckets = dict(zip(self.nodes, self._buckets, strict=True))
        removed = [*self._removed, *map(buckets.pop, leaving)]
        for name in coming:
            buckets[name] = removed.pop() if removed else len(buckets)
        return self._over(buckets, removed, self.capacity, self.hash)

    # ---- the same elsewhere

    def content(self) -> AnchorContent:
        """What its snapshot holds."""
        nodes = list(zip(self.nodes, self._buckets, strict=True))
        return AnchorContent(nodes, list(self._removed), self.capacity, self.hash.name, self.hash.seed)

    @classmethod
    def from_content(cls, content: AnchorContent) -> Self:
        """Builds it. Raises ValueError when a setting is not allowed."""
        checked_nodes(name for name, _ in content.nodes)  # refuses one that comes twice
        hash = KeyHash(content.hash, content.seed)
        return cls._over(dict(content.nodes), content.removed, content.capacity, hash)


@own_lookups
class AnchorHash(Changing[FrozenAnchor]):
    """AnchorHash: numbered buckets that come and go, each with a node, and no key moves that need not.

    All nodes get the same share but for chance, and a lookup takes about 1 + ln(capacity / nodes) steps. The
    keys of a node that is removed go evenly to those that are left. A node that is added has the bucket that
    was left last: its keys are what would move if it were removed. So where keys live hangs on the order of
    changes, and two processes agree if they made the same ones, or one began with the other's snapshot; then
    they are equal, and their fingerprints too. Nodes that were there from the start count as added in the
    order of their names. Threads may share it; lookups never wait. A change takes O(capacity).

    Args:
        nodes: names, or a mapping of name to weight; all weights are 1.
        capacity: the most nodes there can ever be, up to 2**24, at 16 bytes each. Another one moves all keys.
            None for four times the nodes, rounded up to a power of two, and 128 at least.
        hash: of the keys, by any name that KeyHash knows, or a callable of bytes to an int below 2**64.
        seed: of the hash, if it has one.

    Raises:
        ValueError: an argument is out of its range, a weight is not 1, a name comes twice, or there are more
            nodes than the capacity.
        TypeError: an argument is of another type.

    Source: G. Mendelson et al., AnchorHash: a scalable consistent hash, arXiv 1812.09674, 2020.
    """

    __slots__ = ()

    frozen = FrozenAnchor

    def __init__(
        self,
        nodes: Nodes = (),
        *,
        capacity: int | None = None,
        hash: HashName = "xxh3_64",
        seed: int = 0,
    ) -> None:
        super().__init__(FrozenAnchor(nodes, capacity=capacity, hash=hash, seed=seed))

    @property
    def capacity(self) -> int:
        """The most nodes there can ever be."""
        return self.snapshot().capacity


def checked_even(nodes: Nodes) -> tuple[str, ...]:
    """Names in their order.

    Raises:
        ValueError: a weight is not 1; and as for checked_nodes.
        TypeError: as for checked_nodes.
    """
    names, weights = checked_nodes(nodes)
    for name, weight in zip(names, weights, strict=True):
        refuse_uneven(name, weight)
    return names


def refuse_uneven(name: str, weight: float) -> None:
    if checked_weight(name, weight) != 1:
        raise InvalidValue(f"weight of {shown(name)} must be 1 in an AnchorHash, got {shown(weight)}")


def roomy(nodes: int) -> int:
    """The capacity that is taken when none is asked for."""
    capacity = LEAST_CAPACITY
    while capacity < 4 * nodes:
        capacity *= 2
    return capacity


def needed(nodes: int, removed: Sequence[int]) -> tuple[int, ...]:
    """What says more than that the highest were removed first, as those are that were never used.

    So that equal states look equal: used buckets that were left in that order count as never used.
    """
    highest, start = nodes + len(removed) - 1, 0
    while start < len(removed) and removed[start] == highest:
        highest, start = highest - 1, start + 1
    return tuple(removed[start:])
