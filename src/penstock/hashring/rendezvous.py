"""Rendezvous hashing: shares are exact for any weights, and a change moves only the keys that it must."""

from typing import Any, Self

import msgspec

from penstock.hashring.changing import Changing
from penstock.hashring.frozen import HashName
from penstock.hashring.key_hash import KeyHash
from penstock.hashring.membership import Nodes, checked_nodes, unique
from penstock.hashring.placement import own_lookups
from penstock.hashring.rebuilt import Rebuilt
from penstock.hashring.rendezvous_bids import RendezvousBids

__all__ = ["FrozenRendezvous", "RendezvousHash"]


class RendezvousContent(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a snapshot of it holds."""

    nodes: list[tuple[str, float]]
    hash: Any
    seed: int


@own_lookups
class FrozenRendezvous(Rebuilt, RendezvousBids):
    """Rendezvous hashing over nodes that never change: a snapshot of a RendezvousHash, or made directly.

    Args, errors and source are those of RendezvousHash.
    """

    __slots__ = ("_weights",)

    kind = "rendezvous"
    content_type = RendezvousContent

    def __init__(self, nodes: Nodes = (), *, hash: HashName = "xxh3_64", seed: int = 0) -> None:
        names, weights = checked_nodes(nodes)
        super().__init__(names, KeyHash(hash, seed), weights)
        self._weights = weights

    def with_nodes(self, nodes: Nodes, /) -> Self:
        """One of the same settings over other nodes. Raises as the constructor does."""
        return type(self)(nodes, hash=self.hash.function or self.hash.name or "", seed=self.hash.seed)

    def content(self) -> RendezvousContent:
        """What its snapshot holds."""
        nodes = list(zip(self.nodes, self._weights, strict=True))
        return RendezvousContent(nodes, self.hash.name, self.hash.seed)

    @classmethod
    def from_content(cls, content: RendezvousContent) -> Self:
        """Builds it. Raises ValueError when a setting is not allowed."""
        return cls(unique(content.nodes), hash=content.hash, seed=content.seed)


@own_lookups
class RendezvousHash(Changing[FrozenRendezvous]):
    """Rendezvous hashing: every node bids for every key, and the highest bid gets it.

    A node gets exactly its share of keys, its weight over the sum of all, but for chance: weights may be any
    numbers, and need no more memory than equal ones. A node that is added takes its keys from all others and
    no other key moves; the keys of one that is removed go to the others by their weights; a higher weight
    only draws keys to its node. A lookup asks all nodes, about 2 ns each, so this is for hundreds of nodes
    rather than thousands. Equal members place alike, in whatever order they came; equal bids go to the name
    that sorts first. Threads may share it; lookups never wait.

    Args:
        nodes: names, or a mapping of name to weight.
        hash: of the keys, by any name that KeyHash knows, or a callable of bytes to an int below 2**64.
        seed: of the hash, if it has one.

    Raises:
        ValueError: an argument is out of its range, or a name comes twice.
        TypeError: an argument is of another type.

    Source: D. Thaler, C. V. Ravishankar, Using name-based mappings to increase hit rates, 1998; C.
    Schindelhauer, G. Schomaker, Weighted distributed hash tables, SPAA 2005: the logarithmic method.
    """

    __slots__ = ()

    frozen = FrozenRendezvous

    def __init__(self, nodes: Nodes = (), *, hash: HashName = "xxh3_64", seed: int = 0) -> None:
        super().__init__(FrozenRendezvous(nodes, hash=hash, seed=seed))
