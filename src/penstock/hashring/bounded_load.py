"""A hash ring on which no node has to carry much more than its share at any time."""

from collections import defaultdict
from collections.abc import Iterable
from math import ceil
from threading import RLock
from typing import Any, Self

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring._key_hash_py import checked_keys
from penstock.hashring.frozen import HashName
from penstock.hashring.hash_ring import FrozenRing, HashRing
from penstock.hashring.key_hash import Key
from penstock.hashring.membership import Nodes, place_of, shown
from penstock.hashring.placement import own_lookups

__all__ = ["BoundedLoadRing"]

MIN_FACTOR, MAX_FACTOR = 1.001, 1000.0


@own_lookups
class BoundedLoadRing(HashRing):
    """A hash ring that counts what each node carries and passes on what would be too much.

    `acquire` gives a key to the first node in its order of preference that has room: that carries less than
    `factor` times its share by weight of all that is carried, rounded up. So a hot key, or an unlucky arc,
    spills over to the next nodes and no further. `release` gives the room back. The lookups of HashRing are
    there too and count nothing.

    Nodes may come and go. What a node carries that is removed is not counted any more, until it comes back;
    it can still be released. Threads may share a ring. A pickle or copy begins with nothing carried, and so
    does one `from_bytes`, which hold no factor: `of` takes one.

    Args:
        nodes, vnodes, hash, seed: as for HashRing.
        factor: how much more than its share a node may carry, 1.001 to 1000; 1.25 is usual. The lower, the
            more even the load, and the more keys go to other nodes than their first.

    Raises:
        ValueError, TypeError: as for HashRing; or factor is out of its range or no number.

    Source: V. Mirrokni, M. Thorup, M. Zadimoghaddam, Consistent hashing with bounded loads, SODA 2018.
        O(1) a call while there is room, O(nodes) when most are full.
    """

    __slots__ = ("_counted", "_factor", "_loads", "_lock", "_shares", "_total")

    def __init__(
        self,
        nodes: Nodes = (),
        *,
        factor: float = 1.25,
        vnodes: int | None = None,
        hash: HashName = "xxh3_64",
        seed: int = 0,
    ) -> None:
        super().__init__(nodes, vnodes=vnodes, hash=hash, seed=seed)
        self._begin(factor)

    @classmethod
    def of(cls, snapshot: FrozenRing, /, factor: float = 1.25) -> Self:
        """A ring that begins with the members of a snapshot, and nothing carried."""
        ring = super().of(snapshot)
        ring._begin(factor)
        return ring

    def _begin(self, factor: object) -> None:
        self._factor = checked_factor(factor)
        self._lock = RLock()  # a destructor or signal handler that runs meanwhile may release
        self._loads = defaultdict[str, int](int)  # of each node that carries something, also of removed ones
        self._counted: FrozenRing | None = None
        self._count(self.snapshot())

    @property
    def factor(self) -> float:
        """How much more than its share a node may carry."""
        return self._factor

    def acquire(self, key: Key, /) -> str:
        """The node that takes one more for `key`; it is counted until `release`.

        Raises:
            LookupError: there is no node.
            ValueError, TypeError: as for get_node.
        """
        ring = self.snapshot()
        first = ring.get_node(key)  # outside of the lock: a hash of the caller's own may run
        with self._lock:
            self._count(ring)
            if self._has_room(first):
                return self._take(first)
        nodes = ring.iter_nodes(key)
        with self._lock:
            self._count(ring)
            return self._take_first_with_room(nodes)

    def acquire_many(self, keys: Iterable[Key], /) -> list[str]:
        """The node of each key, as if `acquire` were called for one after the other.

        Raises:
            LookupError, ValueError, TypeError: as for get_many; nothing more is carried than before.
        """
        taken: list[str] = []
        try:
            for key in checked_keys(keys):
                taken.append(self.acquire(key))  # noqa: PERF401  (what was taken before an error goes back)
        except BaseException:
            for node in taken:
                self.release(node)
            raise
        return taken

    def release(self, node: str, /) -> None:
        """Takes one off what `node` carries.

        Raises:
            ValueError: it carries nothing.
        """
        with self._lock:
            if node not in self._loads:
                raise InvalidValue(f"node must carry something to be released, got {shown(node)}")
            self._loads[node] -= 1
            self._total -= node in self._shares
            if self._loads[node] == 0:
                del self._loads[node]

    def loads(self) -> dict[str, int]:
        """What each node carries; also those that are removed and carry something still."""
        ring = self.snapshot()
        with self._lock:
            return {**dict.fromkeys(ring.nodes, 0), **self._loads}

    def capacity(self, node: str, /) -> int:
        """The most that `node` would carry if one more came.

        Raises:
            LookupError: no node has that name.
        """
        ring = self.snapshot()
        place_of(ring.nodes, node)
        with self._lock:
            self._count(ring)
            return self._capacity(node)

    def __reduce__(self) -> Any:
        return type(self).of, (self.snapshot(), self._factor)

    # ---- with the lock held

    def _count(self, ring: FrozenRing) -> None:
        """Takes up the members of `ring`, unless it is what was taken up last."""
        if ring is self._counted:
            return
        weights = ring.weights
        whole = sum(weights.values())
        self._counted = ring
        self._shares = {node: self._factor * weight / whole for node, weight in weights.items()}
        self._total = sum(load for node, load in self._loads.items() if node in weights)

    def _capacity(self, node: str) -> int:
        return ceil((self._total + 1) * self._shares[node])

    def _has_room(self, node: str) -> bool:
        return self._loads.get(node, 0) < self._capacity(node)

    def _take(self, node: str) -> str:
        self._loads[node] += 1
        self._total += 1
        return node

    def _take_first_with_room(self, nodes: Iterable[str]) -> str:
        """There is one: together they have room for `factor` times what there is, and one more."""
        return self._take(next(node for node in nodes if self._has_room(node)))


def checked_factor(factor: object) -> float:
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise InvalidType(f"factor must be a number, got {type(factor).__name__}")
    if not MIN_FACTOR <= factor <= MAX_FACTOR:
        raise InvalidValue(f"factor must be >= {MIN_FACTOR} and <= {MAX_FACTOR:g}, got {shown(factor)}")
    return float(factor)
