"""AnchorHash, pure Python. Its compiled twin does the same in csrc/anchor_buckets.c."""

from collections.abc import Sequence

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring._key_hash_py import KeyHash
from penstock.hashring._mix_py import below, draw64
from penstock.hashring._placement_py import Placement
from penstock.hashring.membership import shown

__all__ = ["AnchorBuckets"]

MAX_CAPACITY = 1 << 24


def checked_capacity(capacity: object, nodes: int) -> int:
    """The most nodes there can ever be.

    Raises:
        ValueError: it is not 1 to MAX_CAPACITY, or there are more nodes already.
        TypeError: it is no int.
    """
    if isinstance(capacity, bool) or not isinstance(capacity, int):
        raise InvalidType(f"capacity must be an int, got {type(capacity).__name__}")
    if not 1 <= capacity <= MAX_CAPACITY:
        raise InvalidValue(f"capacity must be >= 1 and <= {MAX_CAPACITY} nodes, got {shown(capacity)}")
    if nodes > capacity:
        raise InvalidValue(f"nodes must be <= capacity, which is {capacity}, got {nodes}")
    return capacity


def checked_buckets(capacity: object, nodes: int, buckets: Sequence[int], removed: Sequence[int]) -> int:
    """The capacity, if a placement can be in that state.

    Raises:
        ValueError: the capacity is out of its range, or the buckets are not those of the nodes.
        TypeError: the capacity is no int.
    """
    most = checked_capacity(capacity, nodes)
    if len(buckets) != nodes:
        raise InvalidValue(f"buckets must be one for each of {nodes} nodes, got {len(buckets)}")
    used = [*buckets, *removed]
    if len(used) > most:
        raise InvalidValue(f"buckets and removed must be <= capacity, which is {most}, got {len(used)}")
    if not all(type(bucket) is int for bucket in used) or sorted(used) != list(range(len(used))):
        raise InvalidValue(f"buckets and removed must be all from 0 on, each once, got {shown(used)}")
    return most


class Anchor:
    """The buckets alone. csrc/anchor_buckets.h says what they do, and why keys stay."""

    __slots__ = ("capacity", "left", "slot_of", "slots", "successor")

    def __init__(self, capacity: int, first: int) -> None:
        """Those from `first` on are removed already, the highest first."""
        self.capacity = capacity
        self.left = [0] * first + list(range(first, capacity))  # when it was removed; 0 while it works
        self.successor = list(range(capacity))  # which took its slot then
        self.slots = list(range(first))  # all that work
        self.slot_of = list(range(first))

    def remove(self, bucket: int) -> None:
        last, slot = self.slots.pop(), self.slot_of[bucket]
        self.left[bucket], self.successor[bucket] = len(self.slots), last
        if last != bucket:
            self.slots[slot], self.slot_of[last] = last, slot

    def locate(self, position: int) -> int:
        bucket = below(draw64(position, 0), self.capacity)
        while left := self.left[bucket]:
            asked = below(draw64(position, bucket + 1), left)
            while self.left[asked] >= left:  # traces what was in slot `asked` then
                asked = self.successor[asked]
            bucket = asked
        return bucket

    def order(self, position: int, n: int) -> list[int]:
        """Each as if those before it were removed; the slots that this would change are kept aside."""
        if n == 0:
            return []
        bucket = self.locate(position)
        slot = self.slot_of[bucket]
        order, changed = [bucket], dict[int, int]()
        for left in range(len(self.slots) - 1, len(self.slots) - n, -1):
            changed[slot] = changed.get(left, self.slots[left])
            slot = below(draw64(position, bucket + 1), left)
            bucket = changed.get(slot, self.slots[slot])
            order.append(bucket)
        return order


class AnchorBuckets(Placement):
    """Numbered buckets, of which each node has one: a key goes on from a removed bucket to one that was left.

    Args:
        nodes: names, sorted and checked.
        hash: of the keys.
        capacity: buckets, with all that were never used.
        buckets: that of each node.
        removed: those that nodes have had and left, in that order. With `buckets` they are all from 0 on;
            those after them count as removed before, the highest first.

    Raises:
        ValueError: the capacity is out of its range, or the buckets are not such.
        TypeError: the capacity is no int.

    Source: G. Mendelson et al., AnchorHash: a scalable consistent hash, arXiv 1812.09674, 2020. About
    1 + ln(capacity / nodes) steps a lookup; O(capacity) to build.
    """

    __slots__ = ("_anchor", "_node_of")

    def __init__(
        self,
        nodes: tuple[str, ...],
        hash: KeyHash,
        capacity: int,
        buckets: Sequence[int],
        removed: Sequence[int],
        /,
    ) -> None:
        capacity = checked_buckets(capacity, len(nodes), buckets, removed)
        anchor = Anchor(capacity, len(nodes) + len(removed))
        for bucket in removed:
            anchor.remove(bucket)
        super().__init__(nodes, hash)
        self._anchor = anchor
        self._node_of = {bucket: node for node, bucket in enumerate(buckets)}

    @property
    def capacity(self) -> int:
        """The most nodes there can ever be."""
        return self._anchor.capacity

    def _locate(self, position: int) -> int:
        return self._node_of[self._anchor.locate(position)]

    def _order(self, position: int, n: int) -> list[int]:
        return [self._node_of[bucket] for bucket in self._anchor.order(position, n)]
