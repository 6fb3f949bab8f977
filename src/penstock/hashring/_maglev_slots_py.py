"""The slots of a Maglev table, pure Python. Its compiled twin does the same in csrc/maglev_slots.c."""

from collections.abc import Iterator, Sequence
from heapq import heapreplace
from math import inf
from typing import TYPE_CHECKING

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring._key_hash_py import KeyHash
from penstock.hashring._mix_py import mix64
from penstock.hashring._placement_py import Placement
from penstock.hashring.membership import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MaglevSlots"]

MAX_TABLE_SIZE = 5_000_011
MAX_TABLE_NODES = 65_535  # two bytes a slot

IDENTITIES = KeyHash("xxh3_64")
"""The hash of a node's name, from which its list of slots follows."""


def checked_table(size: object, nodes: int, weights: Sequence[float]) -> int:
    """The size of a table.

    Raises:
        ValueError: it is no prime, too large, or too small for the nodes; or the weights are not theirs.
        TypeError: it is no int.
    """
    if isinstance(size, bool) or not isinstance(size, int):
        raise InvalidType(f"table_size must be an int, got {type(size).__name__}")
    if not 2 <= size <= MAX_TABLE_SIZE:
        raise InvalidValue(f"table_size must be >= 2 and <= {MAX_TABLE_SIZE}, got {shown(size)}")
    if not is_prime(size):
        raise InvalidValue(f"table_size must be a prime, got {size}: the next one is {next_prime(size)}")
    if nodes > min(size, MAX_TABLE_NODES):
        raise InvalidValue(f"nodes must be <= {min(size, MAX_TABLE_NODES)} in a table of {size}, got {nodes}")
    if len(weights) != nodes or not all(0 < weight < inf for weight in weights):
        raise InvalidValue(f"weights must be > 0, one for each of {nodes} nodes, got {shown(weights)}")
    return size


def is_prime(n: int) -> bool:
    return n >= 2 and all(n % divisor for divisor in range(2, int(n**0.5) + 1))


def next_prime(n: int) -> int:
    while not is_prime(n):
        n += 1
    return n


def filled(size: int, identities: Sequence[int], weights: Sequence[float]) -> list[int]:
    """The node of each slot; csrc/maglev_slots.h has the rules."""
    slots = [-1] * size
    greatest = max(weights)
    lists = [slots_in_turn(size, identity) for identity in identities]
    due = [(0.0, node, 0) for node in range(len(identities))]  # when, who, and turns taken: a heap
    for _ in range(size):
        _, node, turns = due[0]
        slot = next(slot for slot in lists[node] if slots[slot] < 0)
        slots[slot] = node
        heapreplace(due, ((turns + 1) * (greatest / weights[node]), node, turns + 1))
    return slots


def slots_in_turn(size: int, identity: int) -> Iterator[int]:
    """All slots, in the order in which a node wants them."""
    slot, skip = identity % size, 1 + mix64(identity) % (size - 1)
    for _ in range(size):
        yield slot
        slot = (slot + skip) % size


class MaglevSlots(Placement):
    """The slots of a Maglev table: a key belongs to the node of the slot that its hash leads to.

    Args:
        nodes: names, sorted and checked.
        hash: of the keys.
        size: slots, a prime of at least as many as there are nodes.
        weights: of the nodes, checked.

    Raises:
        ValueError: the size is no prime, out of its range, or too small for the nodes.
        TypeError: the size is no int.

    Source: D. Eisenbud et al., Maglev: a fast and reliable software network load balancer, NSDI 2016. O(1) a
    lookup; about size * ln(size) to build.
    """

    __slots__ = ("_size", "_slots")

    def __init__(self, nodes: tuple[str, ...], hash: KeyHash, size: int, weights: Sequence[float], /) -> None:
        size = checked_table(size, len(nodes), weights)
        slots = filled(size, IDENTITIES.positions(nodes), weights) if nodes else []
        super().__init__(nodes, hash)
        self._size, self._slots = size, slots

    @property
    def table_size(self) -> int:
        """Slots of the table, a prime."""
        return self._size

    def slots(self) -> "NDArray[np.uint16]":
        """The node of each slot.

        Returns:
            (table_size,) uint16, indices into `nodes`, a copy; empty when there are no nodes.
        """
        import numpy as np

        return np.array(self._slots, np.uint16)

    def _locate(self, position: int) -> int:
        return self._slots[position % self._size]

    def _order(self, position: int, n: int) -> list[int]:
        order: dict[int, None] = {}
        slot = position % self._size
        while len(order) < n:
            order[self._slots[slot]] = None
            slot = (slot + 1) % self._size
        return list(order)
