"""Maglev: a lookup is one read of a table, and all nodes of a weight get the same share to 1 %."""

from typing import Any, Self

import msgspec

from penstock.hashring.changing import Changing
from penstock.hashring.frozen import HashName
from penstock.hashring.key_hash import KeyHash
from penstock.hashring.maglev_slots import MaglevSlots
from penstock.hashring.membership import Nodes, checked_nodes, unique
from penstock.hashring.placement import own_lookups
from penstock.hashring.rebuilt import Rebuilt

__all__ = ["FrozenMaglev", "MaglevTable"]

TABLE_SIZE = 65_537


class MaglevContent(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a snapshot of a table holds."""

    nodes: list[tuple[str, float]]
    table_size: int
    hash: Any
    seed: int


@own_lookups
class FrozenMaglev(Rebuilt, MaglevSlots):
    """A Maglev table that never changes: a snapshot of a MaglevTable, or made directly.

    Args, errors and source are those of MaglevTable.
    """

    __slots__ = ("_weights",)

    kind = "maglev"
    content_type = MaglevContent

    def __init__(
        self,
        nodes: Nodes = (),
        *,
        table_size: int = TABLE_SIZE,
        hash: HashName = "xxh3_64",
        seed: int = 0,
    ) -> None:
        names, weights = checked_nodes(nodes)
        super().__init__(names, KeyHash(hash, seed), table_size, weights)
        self._weights = weights

    def with_nodes(self, nodes: Nodes, /) -> Self:
        """A table of the same settings over other nodes. Raises as the constructor does."""
        how = self.hash.function or self.hash.name or ""
        return type(self)(nodes, table_size=self.table_size, hash=how, seed=self.hash.seed)

    def distribution(self, samples: int | None = None) -> dict[str, float]:
        """The share of the slots that each node has, exactly; with `samples`, counted at so many places.

        Raises:
            ValueError: samples is not 1 to 10,000,000.
            TypeError: samples is no int.
        """
        if samples is not None or not self.nodes:
            return super().distribution(1 if samples is None else samples)
        import numpy as np

        shares = np.bincount(self.slots(), minlength=len(self.nodes)) / self.table_size
        return dict(zip(self.nodes, shares.tolist(), strict=True))

    def content(self) -> MaglevContent:
        """What its snapshot holds."""
        nodes = list(zip(self.nodes, self._weights, strict=True))
        return MaglevContent(nodes, self.table_size, self.hash.name, self.hash.seed)

    @classmethod
    def from_content(cls, content: MaglevContent) -> Self:
        """Builds it. Raises ValueError when a setting is not allowed."""
        nodes = unique(content.nodes)
        return cls(nodes, table_size=content.table_size, hash=content.hash, seed=content.seed)


@own_lookups
class MaglevTable(Changing[FrozenMaglev]):
    """A Maglev table: which node gets a key, in one read, and with the most even shares of all.

    Nodes take turns to choose one of the slots that are free, each by a list of its own, and a key belongs to
    the node of the slot of its hash. Nodes of one weight hold the same number of slots or one more, so with
    100 slots or more to a node they differ by 1 % at most. When a node comes or goes, its keys move and a few
    others as well: with 65,537 slots at most 1 % of all, with 655,373 at most 0.4 %. A change builds the
    table anew, in about 5 ms for 65,537 slots. Equal members make equal tables, in whatever order they came.
    Threads may share a table; lookups never wait.

    Args:
        nodes: names, or a mapping of name to weight: a node holds slots in proportion, and 1 at least.
        table_size: slots, a prime <= 5,000,011 and >= nodes; 65,537 unless said otherwise. Choose one of at
            least 100 slots a node, now and later, as another size moves all keys. 2 bytes each.
        hash: of the keys, by any name that KeyHash knows, or a callable of bytes to an int below 2**64.
        seed: of the hash, if it has one.

    Raises:
        ValueError: an argument is out of its range, a name comes twice, or there are more nodes than slots or
            than 65,535.
        TypeError: an argument is of another type.

    Source: D. Eisenbud et al., Maglev: a fast and reliable software network load balancer, NSDI 2016; weights
    as in Envoy.
    """

    __slots__ = ()

    frozen = FrozenMaglev

    def __init__(
        self,
        nodes: Nodes = (),
        *,
        table_size: int = TABLE_SIZE,
        hash: HashName = "xxh3_64",
        seed: int = 0,
    ) -> None:
        super().__init__(FrozenMaglev(nodes, table_size=table_size, hash=hash, seed=seed))

    @property
    def table_size(self) -> int:
        """Slots of the table, a prime."""
        return self.snapshot().table_size

    def distribution(self, samples: int | None = None) -> dict[str, float]:
        """The share of the slots that each node has, exactly; with `samples`, counted at so many places.

        Raises:
            ValueError: samples is not 1 to 10,000,000.
            TypeError: samples is no int.
        """
        return self.snapshot().distribution(samples)
