"""Hash ring: a few keys move when a node comes or goes, and only those that must."""

from collections.abc import Sequence
from math import floor
from struct import pack, unpack
from typing import Any, Self

import msgspec

from penstock.errors import InvalidType, InvalidValue
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
    unique,
)
from penstock.hashring.placement import own_lookups
from penstock.hashring.ring_diff import RingDiff, ring_diff
from penstock.hashring.ring_points import RingPoints, Scheme

__all__ = ["FrozenRing", "HashRing"]

VNODES = 160
MAX_VNODES = 1_000_000
KETAMA_POINTS = 100  # of a server, in libmemcached
KETAMA_WEIGHTED_POINTS = 160


class RingContent(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a snapshot of a ring holds."""

    nodes: list[tuple[str, float]]
    vnodes: int
    hash: Any
    seed: int


@own_lookups
class FrozenRing(Frozen, RingPoints):
    """A hash ring that never changes: a snapshot of a HashRing, or made directly.

    Args, errors and source are those of HashRing. Building takes O(points); a lookup takes about O(1) with
    the compiled twin.
    """

    __slots__ = ("_scheme", "_vnodes", "_weights")

    kind = "ring"
    content_type = RingContent

    def __init__(
        self, nodes: Nodes = (), *, vnodes: int | None = None, hash: HashName = "xxh3_64", seed: int = 0
    ) -> None:  # fmt: skip
        names, weights = checked_nodes(nodes)
        scheme = scheme_of(hash)
        if scheme != "replicas":
            hash = "ketama"
        vnodes = checked_vnodes(scheme, vnodes)
        super().__init__(names, KeyHash(hash, seed), scheme, counts_of(scheme, vnodes, names, weights))
        self._describe(scheme, vnodes, weights)

    def _describe(self, scheme: Scheme, vnodes: int, weights: tuple[float, ...]) -> None:
        self._scheme, self._vnodes, self._weights = scheme, vnodes, weights

    @property
    def vnodes(self) -> int:
        """Points of a node of weight 1."""
        return self._vnodes

    # ---- what it would be with other members

    def with_nodes(self, nodes: Nodes, /) -> Self:
        """A ring of the same settings over other nodes. Raises as the constructor does."""
        return type(self)(nodes, **self._settings())

    def with_node(self, name: str, weight: float = 1.0, /) -> Self:
        """A ring with one more node. Takes O(points), a merge.

        Raises:
            ValueError: it is there already, or an argument is out of its range.
            TypeError: an argument is of another type.
        """
        name = checked_name(name)
        weight = checked_weight(name, weight)
        at = place_for(self.nodes, name)
        names = (*self.nodes[:at], name, *self.nodes[at:])
        weights = (*self._weights[:at], weight, *self._weights[at:])
        if self._is_rebuilt():
            return self.with_nodes(dict(zip(names, weights, strict=True)))
        ring = self._successor(weights)
        [count] = counts_of(self._scheme, self.vnodes, [name], [weight])
        ring._begin_with(self, names, at, self._scheme, count)
        return ring

    def without_node(self, name: str, /) -> Self:
        """A ring without one of its nodes. Takes O(points).

        Raises:
            LookupError: no node has that name.
        """
        at = place_of(self.nodes, name)
        names = (*self.nodes[:at], *self.nodes[at + 1 :])
        weights = (*self._weights[:at], *self._weights[at + 1 :])
        if self._is_rebuilt() or not names:
            return self.with_nodes(dict(zip(names, weights, strict=True)))
        ring = self._successor(weights)
        ring._begin_without(self, names, at)
        return ring

    def with_weight(self, name: str, weight: float, /) -> Self:
        """A ring with another weight for one of its nodes.

        Raises:
            LookupError: no node has that name.
            ValueError: the weight is out of its range.
            TypeError: the weight is no number.
        """
        place_of(self.nodes, name)
        weight = checked_weight(name, weight)
        if self._is_rebuilt() or len(self.nodes) == 1:
            return self.with_nodes({**self.weights, name: weight})
        return self.without_node(name).with_node(name, weight)

    def _is_rebuilt(self) -> bool:
        """Whether the points of one node depend on all others; and there is nothing to merge with."""
        return self._scheme == "ketama-weighted" or not self.nodes

    def _successor(self, weights: tuple[float, ...]) -> Self:
        ring = type(self).__new__(type(self))
        ring._describe(self._scheme, self.vnodes, weights)
        return ring

    def _settings(self) -> dict[str, Any]:
        content = self.content()
        vnodes = self.vnodes if self._scheme == "replicas" else None
        function = self.hash.function
        return {
            "vnodes": vnodes,
            "hash": content.hash if function is None else function,
            "seed": content.seed,
        }

    # ---- where things are

    def points(self) -> list[tuple[int, str]]:
        """Each point of the circle, ascending, and the node that owns the arc before it."""
        points, owners = self._arrays()
        values = (points >> (64 - self.hash.bits)).tolist()
        return [(value, self.nodes[owner]) for value, owner in zip(values, owners.tolist(), strict=True)]

    def distribution(self, samples: int | None = None) -> dict[str, float]:
        """The share of the hash circle that each node owns: exactly, or counted at `samples` places.

        Raises:
            ValueError: samples is not 1 to 10,000,000.
            TypeError: samples is no int.
        """
        if samples is not None or len(self.nodes) < 2:
            return super().distribution(1 if samples is None else samples)
        import numpy as np

        points, owners = self._arrays()
        if points[0] == points[-1]:  # all in one place: the whole circle is one arc
            return dict.fromkeys(self.nodes, 0.0) | {self.nodes[owners[0]]: 1.0}
        arcs = np.diff(points, prepend=points[-1:])  # round the circle: the difference is modulo 2**64
        shares = np.bincount(owners, weights=arcs.astype(float), minlength=len(self.nodes)) / 2.0**64
        return dict(zip(self.nodes, shares.tolist(), strict=True))

    def diff(self, other: "FrozenRing | HashRing") -> RingDiff:
        """What moves, and from where to where, if `other` takes the place of this ring.

        Raises:
            ValueError: the other ring hashes keys differently, so that no range of hashes tells.
            TypeError: other is no ring.
        """
        frozen = other.snapshot() if isinstance(other, HashRing) else other
        if not isinstance(frozen, FrozenRing):
            raise InvalidType(f"other must be a ring, got {type(other).__name__}")
        if self.hash != frozen.hash:
            raise InvalidValue(f"other must hash keys by {self.hash!r}, got {frozen.hash!r}")
        return ring_diff(self, frozen, self.hash.bits)

    # ---- the same elsewhere

    def content(self) -> RingContent:
        """What its snapshot holds."""
        name = self.hash.name if self._scheme == "replicas" else self._scheme
        return RingContent(
            list(zip(self.nodes, self._weights, strict=True)), self.vnodes, name, self.hash.seed
        )

    @classmethod
    def from_content(cls, content: RingContent) -> Self:
        """Builds it. Raises ValueError when a setting is not allowed."""
        vnodes = None if content.hash in ("ketama", "ketama-weighted") else content.vnodes
        return cls(unique(content.nodes), vnodes=vnodes, hash=content.hash, seed=content.seed)


@own_lookups
class HashRing(Changing[FrozenRing]):
    """A consistent hash ring: which node gets a key, with few keys moving when nodes come and go.

    Every node stands at many points of a circle of hashes, and a key belongs to the first point that is not
    below its hash. A node that is added takes keys from all others, 1/n of them, and no other key moves; one
    that is removed gives its keys to the others. Equal members make equal rings, in whatever order they came;
    equal points belong to the name that sorts first. Threads may share a ring; lookups never wait.

    Args:
        nodes: names, or a mapping of name to weight. A node has `vnodes * weight` points, at least 1.
        vnodes: points of a node of weight 1, 160 unless said otherwise. With n of them, the shares of nodes
            differ by about 1 / sqrt(n).
        hash: a frozen hash, "xxh3_64", "xxh64", "murmur3_32", "sha256-be64" or any other that KeyHash knows,
            or a callable of bytes to an int below 2**64. Point i of a node is the hash of "NAME:replica_i".
            "ketama" and "ketama-weighted" place servers "HOST:PORT" as libmemcached does; their points are
            fixed, and the weights of the latter are whole numbers.
        seed: of the hash, if it has one: a secret one keeps others from choosing keys of one node.

    Raises:
        ValueError: an argument is out of its range, a name comes twice, or there would be over 2**24 points.
        TypeError: an argument is of another type.

    Source: D. Karger et al., Consistent hashing and random trees, STOC 1997; libmemcached 1.1.4.
    """

    __slots__ = ()

    frozen = FrozenRing

    def __init__(
        self, nodes: Nodes = (), *, vnodes: int | None = None, hash: HashName = "xxh3_64", seed: int = 0
    ) -> None:  # fmt: skip
        super().__init__(FrozenRing(nodes, vnodes=vnodes, hash=hash, seed=seed))

    @property
    def vnodes(self) -> int:
        """Points of a node of weight 1."""
        return self.snapshot().vnodes

    def points(self) -> list[tuple[int, str]]:
        """Each point of the circle, ascending, and the node that owns the arc before it."""
        return self.snapshot().points()

    def distribution(self, samples: int | None = None) -> dict[str, float]:
        """The share of the hash circle that each node owns: exactly, or counted at `samples` places.

        Raises:
            ValueError: samples is not 1 to 10,000,000.
            TypeError: samples is no int.
        """
        return self.snapshot().distribution(samples)

    def diff(self, other: "FrozenRing | HashRing") -> RingDiff:
        """What moves, and from where to where, if `other` takes the place of this ring.

        Raises:
            ValueError: the other ring hashes keys differently, so that no range of hashes tells.
            TypeError: other is no ring.
        """
        return self.snapshot().diff(other)


def scheme_of(hash: object) -> Scheme:
    """Which rule places the points of a node."""
    if hash == "ketama":
        return "ketama"
    return "ketama-weighted" if hash == "ketama-weighted" else "replicas"


def checked_vnodes(scheme: Scheme, vnodes: object) -> int:
    if scheme != "replicas":
        if vnodes is not None:
            raise InvalidValue(f"vnodes must be left out with hash={scheme!r}, got {shown(vnodes)}")
        return KETAMA_POINTS if scheme == "ketama" else KETAMA_WEIGHTED_POINTS
    if vnodes is None:
        return VNODES
    if isinstance(vnodes, bool) or not isinstance(vnodes, int):
        raise InvalidType(f"vnodes must be an int, got {type(vnodes).__name__}")
    if not 1 <= vnodes <= MAX_VNODES:
        raise InvalidValue(f"vnodes must be >= 1 and <= {MAX_VNODES}, got {shown(vnodes)}")
    return vnodes


def counts_of(
    scheme: Scheme, vnodes: int, names: Sequence[str], weights: Sequence[float]
) -> list[int]:  # fmt: skip
    """The points of each node."""
    if scheme == "ketama":
        return [even(name, weight) * KETAMA_POINTS for name, weight in zip(names, weights, strict=True)]
    if scheme == "ketama-weighted":
        return ketama_counts(names, weights)
    return [points_for(vnodes, weight) for weight in weights]


def points_for(vnodes: int, weight: float) -> int:
    return max(1, floor(vnodes * weight + 0.5))


def even(name: str, weight: float) -> int:
    if weight != 1:
        raise InvalidValue(
            f"weight of {shown(name)} must be 1 with hash='ketama', got {weight:g}: use 'ketama-weighted'"
        )
    return 1


def ketama_counts(names: Sequence[str], weights: Sequence[float]) -> list[int]:
    """The points of each server, in the single precision in which libmemcached counts them."""
    for name, weight in zip(names, weights, strict=True):
        if weight < 1 or weight != floor(weight):
            raise InvalidValue(
                f"weight of {shown(name)} must be a whole number with hash='ketama-weighted', got {weight:g}"
            )
    total = single(sum(weights))
    counts = []
    for weight in weights:
        share = single(single(weight) / total)
        digests = single(single(single(share * KETAMA_WEIGHTED_POINTS) / 4) * len(names))
        counts.append(floor(single(digests + 0.0000000001)) * 4)
    return counts


def single(number: float) -> float:
    """The nearest number of single precision."""
    return float(unpack("f", pack("f", number))[0])
