"""BTreeSet: a set in the order of its keys."""

from collections.abc import Iterable, MutableSet, Set
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from penstock.btree._algebra import columns, equal, held, keyed, listed, ordered, takes
from penstock.btree._arguments import KeyType, ValueType
from penstock.btree._common import NOTHING, OrderedTree
from penstock.btree.btree import BTree, MultiMapTree, SetTree
from penstock.btree.cursor import SetCursor

__all__ = ["BTreeSet"]

K = TypeVar("K")


if TYPE_CHECKING:  # for type checkers it derives from what it is registered as, at the end

    class SetBase(OrderedTree[K, K], SetTree[K], MutableSet[K]):
        __slots__ = ()

else:

    class SetBase(OrderedTree[K, K], SetTree[K]):
        __slots__ = ()


class BTreeSet(SetBase[K]):
    """A set in the order of its keys, with ranges, ranks, batches and snapshots.

    All that a set does it does, in the order of the keys, each look-up in O(log n). Keys need `<`, no hash:
    two keys neither of which is less than the other are the same key. An item of this tree, where other
    trees have pairs, is the key itself. All else is as BTreeMap tells.

    Operators take sets on their other side, methods any iterable of keys. What cannot be a key of this tree
    is a TypeError there, also where a set would just not have it; `==` is False then.

    Args:
        keys: an iterable of keys, or another tree.
        key_type: "object" for anything that `<` orders, "int64", "uint64", "float64", "str" or "bytes".

    Raises:
        TypeError: a key has not the type, or keys have no order among each other.
        ValueError: a key is NaN, or key_type is unknown.
        OverflowError: a key does not fit.
    """

    __slots__ = ()

    _united: ClassVar[tuple[type, ...]] = (SetTree, Set)
    _matched: ClassVar[tuple[type, ...]] = (SetTree, Set)

    def __init__(self, keys: Iterable[K] = (), *, key_type: KeyType = "object") -> None:
        super().__init__(key_type)
        if keys is not NOTHING:
            self.update(keys)

    @classmethod
    def _empty(cls, key_type: KeyType, value_type: ValueType | None) -> Self:
        tree = cls.__new__(cls)
        SetTree.__init__(tree, key_type)
        return tree

    @classmethod
    def from_sorted(
        cls, keys: Iterable[K], *, key_type: KeyType | None = None, check: bool = True, fill: float = 0.9
    ) -> Self:
        """A set of keys that ascend already, in O(n).

        Args:
            keys: (n,) array or an iterable, strictly ascending.
            key_type: as in the class; None: by the dtype of an array of numbers, else "object".
            check: False trusts the order of keys that are objects; ask `check()` if in doubt.
            fill: how full the nodes are made, in [0.5, 1.0]; 1.0 if nothing will be inserted.

        Raises:
            ValueError: keys do not ascend (UnsortedKeys).
            TypeError: a key has not the type.
            OverflowError: a key does not fit.
        """
        return cls._of_sorted(keys, None, key_type, None, check, fill)

    # ---- what makes it a set

    def pop(self) -> K:
        """Removes and returns the last key, as `pop_last`. Raises KeyError when the tree is empty."""
        return self.pop_last()

    def update(self, *others: Iterable[K]) -> None:
        """Adds many keys; those of each argument all or none.

        Raises:
            TypeError: a key has not the type, or keys have no order among each other.
            ValueError: a key is NaN.
            OverflowError: a key does not fit.
        """
        for other in others:
            if isinstance(other, BTree):
                self.insert_many(columns(other)[0], sorted=True)
            else:
                keys, ascending = ordered(other, self.key_type)
                self.insert_many(keys, sorted=ascending)

    def intersection_update(self, *others: Iterable[K]) -> None:
        """Removes the keys that are not in all others."""
        for other in others:
            self._keep(keyed(other, self.key_type))

    def difference_update(self, *others: Iterable[K]) -> None:
        """Removes the keys that are in any of the others."""
        for other in others:
            self.delete_many(columns(keyed(other, self.key_type))[0])

    def symmetric_difference_update(self, other: Iterable[K], /) -> None:
        """Removes the keys that are in both, and adds those that are in `other` only.

        Both or neither, if an error ends it; another thread may see the tree between the two.
        """
        self._toggle(other)

    def isdisjoint(self, other: Iterable[K], /) -> bool:
        """Whether no key is in both."""
        return not self._common(keyed(other, self.key_type))

    def issubset(self, other: Iterable[K], /) -> bool:
        """Whether `other` has every key of this set."""
        keys = keyed(other, self.key_type)
        return len(self) <= len(keys) and len(self._common(keys)) == len(self)

    def issuperset(self, other: Iterable[K], /) -> bool:
        """Whether this set has every key of `other`."""
        keys = keyed(other, self.key_type)
        if len(self) < len(keys) and not isinstance(keys, MultiMapTree):  # which has a key more than once
            return False
        return all(listed(held(columns(keys)[0], self.snapshot())))

    def __le__(self, other: Any) -> bool:
        return self.issubset(other) if takes(self._matched, other) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        return self.issuperset(other) if takes(self._matched, other) else NotImplemented

    def __lt__(self, other: Any) -> bool:
        if not takes(self._matched, other):
            return NotImplemented
        return len(self) < len(other) and self.issubset(other)

    def __gt__(self, other: Any) -> bool:
        if not takes(self._matched, other):
            return NotImplemented
        return len(self) > len(other) and self.issuperset(other)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, SetTree):
            return len(self) == len(other) and equal(columns(self)[0], columns(other)[0])
        if not isinstance(other, Set):
            return NotImplemented
        try:
            return len(self) == len(other) and set(self) == set(other)
        except TypeError:  # a key without a hash: `other` has none such
            return False

    __hash__ = None  # type: ignore[assignment]

    # ---- more

    def cursor(self, key: K | None = None, /) -> SetCursor[K]:
        """A cursor in the gap before the first key that is not less than `key`; None: at the start."""
        return SetCursor(self, key)


MutableSet.register(BTreeSet)
