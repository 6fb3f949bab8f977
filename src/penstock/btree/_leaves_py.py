"""The leaves of the fallback's trees: a B+tree of two levels, as sortedcontainers has it.

A leaf holds up to 1024 keys in order and their values, in two lists. Above the leaves lie one list of them
and one of the greatest key in each, so that two bisections find a key. What takes time in proportion to the
number of leaves, such as a split, happens once in hundreds of changes.

Two trees may share leaves. A leaf belongs to the tree whose `_owner` it carries; any other tree that comes
across it copies it before it writes to it. The lists above the leaves are copied at the first write, too.

Code of the user runs in two places only: in comparisons, and where the last reference to a key or a value
goes. Comparisons come first: what they found holds if `_changes` is what it was before them. Then all that
is new is made. Then comes the change itself, in statements without a call: CPython lets other threads, signal
handlers and, from 3.12 on, the collector in at calls and at loops only, so that none of them ever sees half a
change. What is removed is held until then, so that destructors run when all is done.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import accumulate
from sys import getsizeof
from typing import Any, Generic, Self, TypeVar

from penstock.btree._arguments import (
    KeyType,
    ValueType,
    broken_tree,
    changed_in_comparison,
    check_ascending,
    object_key,
)
from penstock.btree.errors import UnsortedKeys

__all__ = ["LEAF_MOST", "Edits", "Leaf", "Leaves", "Place"]

K = TypeVar("K")

LEAF_MOST = 1024  # entries
LEAF_LEAST = LEAF_MOST // 4  # but for the only leaf
ATTEMPTS = 8  # searches, each spoilt by a change, before a change in the search is an error

Edits = dict[int, tuple[list[Any], list[Any] | None]]
"""By leaf, its keys and values to be."""

Place = tuple[int, int]
"""A gap between entries: a leaf, and the entry in it that follows; (number of leaves, 0) is the end."""


class Leaf:
    """Keys in order and their values; not changed by anyone but its owner."""

    __slots__ = ("keys", "owner", "values")

    def __init__(self, keys: list[Any], values: list[Any] | None, owner: object) -> None:
        self.keys = keys
        self.values = values  # None in a set
        self.owner = owner


class Leaves(Generic[K]):
    """The structure without its meaning: entries at places, in an order that the caller vouches for."""

    __slots__ = (
        "__weakref__", "_changes", "_check_key", "_check_value", "_counts", "_frozen", "_key_type", "_leaves",
        "_length", "_maxima", "_owner", "_shared", "_value_type", "_writes",
    )  # fmt: skip

    _HAS_VALUES = True
    _MULTI = False  # whether equal keys may stand together

    _key_type: KeyType
    _value_type: ValueType
    _check_key: Callable[..., Any]
    _check_value: Callable[..., Any] | None
    """None where any value will do."""
    _frozen: bool

    _leaves: list[Leaf]
    _maxima: list[Any]
    _length: int
    _owner: object
    _shared: bool
    """Whether another tree has the same two lists."""
    _changes: int
    """Grows with every change of the set of entries."""
    _writes: int
    """Grows with every other change: a value replaced, a leaf copied."""
    _counts: list[int] | None
    """Of entries by leaf, a Fenwick tree from 1 on; made when it is asked for."""

    def __new__(cls, *args: object, **options: object) -> Self:
        self = super().__new__(cls)
        self._key_type = self._value_type = "object"
        self._check_key = object_key
        self._check_value = None
        self._frozen = self._shared = False
        self._leaves, self._maxima, self._counts = [], [], None
        self._owner = object()
        self._length = self._changes = self._writes = 0
        return self

    # Finding ---------------------------------------------------------------------------------------------

    def _find(self, key: K, attempt: int = 1) -> tuple[int, int, int, bool]:
        """The number of changes, the leaf and the place where `key` is or would be, and if it is there."""
        changes = self._changes
        try:
            at = bisect_left(self._maxima, key)
            if at < len(self._leaves):
                keys = self._leaves[at].keys
                place = bisect_left(keys, key)
                there = place < len(keys) and not key < keys[place]  # shorter only if comparisons lie
            else:
                place, there = 0, False
        except IndexError:  # bisect's, if a comparison has made the list shorter
            if self._changes == changes:
                raise
        if self._changes != changes:
            self._try_again(attempt)
            return self._find(key, attempt + 1)
        return changes, at, place, there

    def _seek(self, key: K, after: bool, attempt: int = 1) -> tuple[int, Place]:
        """The number of changes, and the gap before the first key not less; or `after`, greater."""
        changes = self._changes
        bisect = bisect_right if after else bisect_left
        try:
            at = bisect(self._maxima, key)
            place = 0
            if at < len(self._leaves):
                keys = self._leaves[at].keys
                place = bisect(keys, key)
                if place == len(keys):  # only if comparisons lie
                    at, place = at + 1, 0
        except IndexError:  # as above
            if self._changes == changes:
                raise
        if self._changes != changes:
            self._try_again(attempt)
            return self._seek(key, after, attempt + 1)
        return changes, (at, place)

    def _try_again(self, attempt: int) -> None:
        """Returns if the change that spoilt a search may have come from another thread.

        Keys that a type was given for compare themselves without code of the user, unless of a subclass.
        """
        if self._key_type == "object" or attempt >= ATTEMPTS:
            raise changed_in_comparison()

    def _index(self, place: Place) -> int:
        """How many entries lie before a place."""
        at, index = place
        if at >= len(self._leaves):
            return self._length
        if at:
            counts = self._counts or self._counted()
            while at:
                index += counts[at]
                at &= at - 1
        return index

    def _place(self, index: int) -> Place:
        """The place before entry `index`, 0 <= index <= length."""
        leaves = self._leaves
        if index >= self._length:
            return len(leaves), 0
        if index < len(leaves[0].keys):
            return 0, index
        counts = self._counts or self._counted()
        at, step = 0, 1 << (len(leaves).bit_length() - 1)
        while step:
            further = at + step
            if further < len(counts) and counts[further] <= index:
                index -= counts[further]
                at = further
            step >>= 1
        return at, index

    def _counted(self) -> list[int]:
        """The Fenwick tree over sizes of leaves: node i has the sum of the i & -i leaves before leaf i."""
        changes = self._changes
        counts = [0, *(len(leaf.keys) for leaf in self._leaves)]
        for node in range(1, len(counts)):
            above = node + (node & -node)
            if above < len(counts):
                counts[above] += counts[node]
        if self._changes == changes:
            self._counts = counts
        return counts

    # Changing --------------------------------------------------------------------------------------------

    def _own(self, at: int) -> None:
        """Copies leaf `at`, and the lists above, if they are shared: then this tree may write to them.

        Whoever wants to write looks again whether it may: another thread may have taken a snapshot meanwhile.
        """
        changes, writes, owner, leaves, maxima = (
            self._changes, self._writes, self._owner, self._leaves, self._maxima,
        )  # fmt: skip
        leaf = leaves[at]
        copied = Leaf(leaf.keys[:], None if leaf.values is None else leaf.values[:], owner)
        if self._shared:
            leaves, maxima = leaves[:], maxima[:]
        written = writes + 1
        if self._changes == changes and self._writes == writes and self._owner is owner:
            leaves[at] = copied
            self._leaves = leaves
            self._maxima = maxima
            self._shared = False
            self._writes = written

    def _set_value(self, changes: int, at: int, place: int, value: Any) -> bool:
        """Replaces a value. False, as of all that follow: another thread was there first, find it again."""
        if self._changes != changes:
            return False
        leaf = self._leaves[at]
        if leaf.owner is not self._owner:
            self._own(at)
            if self._changes != changes:
                return False
            leaf = self._leaves[at]
            if leaf.owner is not self._owner:
                return False
        self._writes += 1
        leaf.values[place] = value  # type: ignore[index]  # whoever calls this has values
        return True

    def _insert(self, changes: int, at: int, place: int, key: K, value: Any) -> bool:
        """Inserts an entry at a place."""
        if at == len(self._leaves):
            if not at:
                return self._insert_first(changes, key, value)
            if self._changes != changes:
                return False
            at -= 1
            place = len(self._leaves[at].keys)
        if self._changes != changes:
            return False
        leaf = self._leaves[at]
        if leaf.owner is not self._owner:
            self._own(at)
            if self._changes != changes:
                return False
            leaf = self._leaves[at]
        keys, values, counts = leaf.keys, leaf.values, self._counts
        size, length, changed = len(keys), self._length + 1, changes + 1
        new_key, new_value = (key,), (value,)
        # From here on nothing is called.
        if self._changes != changes or leaf.owner is not self._owner:
            return False
        try:
            keys[place:place] = new_key
            if values is not None:
                values[place:place] = new_value
        except MemoryError:
            del keys[place : place + len(keys) - size]
            raise
        if place == size:
            self._maxima[at] = key
        self._length = length
        self._changes = changed
        self._counts = None
        if size >= LEAF_MOST or counts is not None:
            self._tidy(changed, counts, at, 1)
        return True

    def _insert_first(self, changes: int, key: Any, value: Any) -> bool:
        if self._key_type == "object":
            bool(key < key)  # refuses what has no order
        leaf = Leaf([key], [value] if self._HAS_VALUES else None, self._owner)
        return self._replace_all(changes, self._writes, leaf.owner, [leaf])

    def _remove(self, changes: int, at: int, place: int) -> tuple[K, Any] | None:
        """Removes the entry at a place and returns it; None: find it again."""
        if self._changes != changes:
            return None
        leaf = self._leaves[at]
        if leaf.owner is not self._owner:
            self._own(at)
            if self._changes != changes:
                return None
            leaf = self._leaves[at]
        keys, values, counts = leaf.keys, leaf.values, self._counts
        size, length, changed = len(keys) - 1, self._length - 1, changes + 1
        if not size:
            return self._remove_last(changes, at)
        # From here on nothing is called, but a tuple may start a collection in 3.11.
        if self._changes != changes:
            return None
        removed = keys[place], None if values is None else values[place]
        if self._changes != changes or leaf.owner is not self._owner:
            return None
        del keys[place]
        if values is not None:
            try:
                del values[place]
            except MemoryError:
                keys[place:place] = removed[:1]
                raise
        if place == size:
            self._maxima[at] = keys[-1]
        self._length = length
        self._changes = changed
        self._counts = None
        if (size < LEAF_LEAST and size != length) or counts is not None:
            self._tidy(changed, counts, at, -1)
        return removed

    def _remove_last(self, changes: int, at: int) -> tuple[K, Any] | None:
        """Removes a leaf of one entry."""
        if self._changes != changes:
            return None
        writes, leaf = self._writes, self._leaves[at]
        removed = leaf.keys[0], None if leaf.values is None else leaf.values[0]
        return removed if self._splice(changes, writes, at, at + 1, []) else None

    def _tidy(self, changes: int, counts: list[int] | None, at: int, more: int) -> None:
        """What follows a change in one leaf: it may be too large or too small, and has another size.

        Without memory for that, all waits for the next change, which is no error: this one is done.
        """
        try:
            if counts is not None:
                node, size = at + 1, len(counts)
                while node < size:  # the counts are nobody else's meanwhile
                    counts[node] += more
                    node += node & -node
                if self._changes == changes:
                    self._counts = counts
            size = len(self._leaves[at].keys)
            if size > LEAF_MOST:
                self._split(at)
            elif size < LEAF_LEAST:
                self._join(at)
        except (MemoryError, IndexError):  # or another thread has removed the leaf
            return

    def _split(self, at: int) -> None:
        """Halves a leaf that is too large; the last one keeps more, as keys often come in order."""
        changes, writes = self._changes, self._writes
        leaf = self._leaves[at]
        size = len(leaf.keys)
        middle = size * 3 // 4 if at == len(self._leaves) - 1 else size // 2
        self._splice(changes, writes, at, at + 1, self._pieces(leaf.keys, leaf.values, [middle]))

    def _join(self, at: int) -> None:
        """Joins a leaf that is too small with a neighbour, and halves what is too much for one."""
        changes, writes, leaves = self._changes, self._writes, self._leaves
        if len(leaves) > 1:
            at = min(at, len(leaves) - 2)
            self._splice(changes, writes, at, at + 2, self._joined(leaves[at], leaves[at + 1]))

    def _joined(self, first: Leaf, second: Leaf) -> list[Leaf]:
        values = None if first.values is None or second.values is None else first.values + second.values
        return self._even_pieces(first.keys + second.keys, values, LEAF_MOST)

    def _pieces(self, keys: list[K], values: list[Any] | None, cuts: list[int]) -> list[Leaf]:
        """New leaves, from one cut to the next."""
        owner = self._owner
        return [
            Leaf(keys[start:stop], None if values is None else values[start:stop], owner)
            for start, stop in zip([0, *cuts], [*cuts, len(keys)], strict=True)
        ]

    def _even_pieces(self, keys: list[K], values: list[Any] | None, most: int) -> list[Leaf]:
        """New leaves of about one size, `most` or less."""
        number = -(-len(keys) // most)
        return self._pieces(keys, values, [len(keys) * i // number for i in range(1, number)]) if keys else []

    def _splice(self, changes: int, writes: int, first: int, stop: int, new: list[Leaf]) -> bool:
        """Puts new leaves in the place of leaves first to stop - 1."""
        owner, leaves, maxima = self._owner, self._leaves[:], self._maxima[:]
        more = sum(len(leaf.keys) for leaf in new) - sum(len(leaf.keys) for leaf in leaves[first:stop])
        leaves[first:stop] = new
        maxima[first:stop] = [leaf.keys[-1] for leaf in new]
        return self._replace(changes, writes, owner, leaves, maxima, self._length + more, changes + 1)

    def _replace_all(self, changes: int, writes: int, owner: object, leaves: list[Leaf]) -> bool:
        """Puts other leaves in the place of all. With as many entries, each must be where its key was."""
        maxima = [leaf.keys[-1] for leaf in leaves]
        length = sum(len(leaf.keys) for leaf in leaves)
        changed = changes if length == self._length else changes + 1
        return self._replace(changes, writes, owner, leaves, maxima, length, changed)

    def _replace(
        self,
        changes: int,
        writes: int,
        owner: object,
        leaves: list[Leaf],
        maxima: list[K],
        length: int,
        changed: int,
    ) -> bool:
        dropped, written = (self._leaves, self._maxima), writes + 1
        # From here on nothing is called.
        if self._changes != changes or self._writes != writes or self._owner is not owner:
            return False
        self._leaves = leaves
        self._maxima = maxima
        self._counts = None
        self._shared = False
        self._length = length
        self._changes = changed
        self._writes = written
        del dropped  # when all is done
        return True

    def _replace_some(self, changes: int, writes: int, edits: Edits) -> bool:
        """Gives leaves other entries: none, few or many."""
        owner, old, new = self._owner, self._leaves, list[Leaf]()
        if all(len(keys) == len(old[at].keys) for at, (keys, _) in edits.items()):  # all stay where they are
            new += old
            for at, (keys, values) in edits.items():
                new[at] = Leaf(keys, values, owner)
            return self._replace_all(changes, writes, owner, new)
        for at, leaf in enumerate(old):
            pieces = self._even_pieces(*edits[at], LEAF_MOST) if at in edits else [leaf]
            for piece in pieces:
                if new and min(len(piece.keys), len(new[-1].keys)) < LEAF_LEAST:
                    new[-1:] = self._joined(new[-1], piece)
                else:
                    new.append(piece)
        return self._replace_all(changes, writes, owner, new)

    def _remove_between(self, changes: int, start: Place, stop: Place) -> bool:
        """Removes the entries from one place to another."""
        writes, leaves = self._writes, self._leaves
        (first, begin), (last, end) = start, stop
        head = leaves[first]
        keys, values = head.keys[:begin], None if head.values is None else head.values[:begin]
        if last < len(leaves):
            tail = leaves[last]
            keys += tail.keys[end:]
            if values is not None and tail.values is not None:
                values += tail.values[end:]
        new = self._even_pieces(keys, values, LEAF_MOST)
        if not self._splice(changes, writes, first, last + 1, new):
            return False
        if new and len(keys) < LEAF_LEAST:
            self._tidy(changes, None, first, 0)
        return True

    def _split_off(self, changes: int, start: Place, other: "Leaves[K]") -> bool:
        """Moves the entries from a place on to `other`, an empty tree."""
        writes, owner, leaves = self._writes, self._owner, self._leaves
        at, place = start
        stay, leave = leaves[:at], leaves[at:]
        if place:
            low, high = self._pieces(leaves[at].keys, leaves[at].values, [place])
            stay.append(low)
            leave[0] = high
        other._owner = owner  # no leaf is in both, so each may write to those that it has
        if not (other._replace_all(0, 0, owner, leave) and self._replace_all(changes, writes, owner, stay)):
            return False
        if stay:
            self._tidy(changes, None, len(stay) - 1, 0)
        other._tidy(changes, None, 0, 0)
        return True

    # All of it -------------------------------------------------------------------------------------------

    def _share_with(self, other: "Leaves[K]") -> None:
        """Lets `other`, a new tree, have the same entries; from now on no leaf belongs to either."""
        owner = object()
        other._leaves = self._leaves
        other._maxima = self._maxima
        other._length = self._length
        other._shared = True
        self._shared = True
        self._owner = owner

    def _fill(self, changes: int, writes: int, keys: list[K], values: list[Any] | None, fill: float) -> bool:
        """Puts these entries, in order, in the place of all; leaves are `fill` full."""
        owner = self._owner
        if len(keys) == self._length:  # the same keys, which stay where they are
            new = self._pieces(keys, values, list(accumulate(len(leaf.keys) for leaf in self._leaves))[:-1])
        else:
            new = self._even_pieces(keys, values, int(LEAF_MOST * fill))
        return self._replace_all(changes, writes, owner, new)

    def _node_bytes(self) -> int:
        lists = [self._leaves, self._maxima, self._counts or []]
        for leaf in self._leaves:
            lists += [leaf.keys, leaf.values or []]
        return sum(map(getsizeof, lists)) + sum(map(getsizeof, self._leaves))

    def _check_structure(self) -> None:
        leaves, changes = self._leaves, self._changes
        if len(leaves) != len(self._maxima):
            raise broken_tree(
                f"each leaf has a greatest key, got {len(self._maxima)} for {len(leaves)} leaves"
            )
        entries = sum(len(leaf.keys) for leaf in leaves)
        if entries != self._length:
            raise broken_tree(f"the length counts the entries in leaves, got {self._length} for {entries}")
        before: list[K] = []
        for at, leaf in enumerate(leaves):
            keys = leaf.keys
            if not 0 < len(keys) <= 2 * LEAF_MOST:  # a split that was disturbed waits for the next insert
                raise broken_tree(f"a leaf holds 1 to {2 * LEAF_MOST} keys, got {len(keys)} in leaf {at}")
            if (leaf.values is not None) != self._HAS_VALUES or len(leaf.values or keys) != len(keys):
                raise broken_tree(f"every key in leaf {at} has a value if the tree has values")
            if self._maxima[at] is not keys[-1]:
                raise broken_tree(f"the greatest key of leaf {at} is its last")
            self._check_order(before + keys, at)
            before = keys[-1:]
        counts, self._counts = self._counts, None
        if counts is not None and counts != self._counted():
            raise broken_tree("the counts are the sizes of the leaves")
        if self._changes != changes:
            raise changed_in_comparison()

    def _check_order(self, keys: list[K], at: int) -> None:
        try:
            check_ascending(keys, strictly=not self._MULTI)
        except UnsortedKeys as unsorted:
            raise broken_tree(f"keys ascend, but in leaf {at} {unsorted}") from None
