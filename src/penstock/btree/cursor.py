"""Cursor: a gap between two entries of an ordered tree, from which to look, step and change both ways."""

from enum import Enum
from typing import Any, Generic, TypeVar

from penstock.btree.btree import BTree, MapTree, MultiMapTree, SetTree
from penstock.errors import InvalidValue, shown

__all__ = ["Cursor", "MapCursor", "MultiMapCursor", "SetCursor"]

I = TypeVar("I")  # noqa: E741  # an item, as in BTree[K, I]
K = TypeVar("K")
V = TypeVar("V")


class End(Enum):
    """The two gaps that have a name."""

    START = "start"
    END = "end"


class Cursor(Generic[K, I]):
    """A gap between two entries, before the first, or after the last; `tree.cursor()` makes one.

    It does not point to an entry, so there is nothing that could go away under it: it remembers a key and
    on which side of it the gap is, and finds the place again at each call, whatever was inserted or removed
    meanwhile, by itself or by others. An entry that others insert at the very gap comes on the side of that
    key on which it belongs.

    Every call is O(log n). Others may use the tree between two calls, no other thread during one.
    """

    __slots__ = ("_key", "_passed", "_tree")

    def __init__(self, tree: BTree[K, I], key: K | None = None) -> None:
        self._tree = tree
        self._key: Any = End.START
        self._passed = 0  # entries with that key that stand before the gap
        self.seek(key)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.index} of {self._tree!r}>"

    @property
    def index(self) -> int:
        """How many entries stand before the gap."""
        if isinstance(self._key, End):
            return 0 if self._key is End.START else len(self._tree)
        return self._tree.rank_right(self._key) if self._passed else self._tree.rank(self._key)

    # ---- going somewhere

    def seek(self, key: K | None, *, after: bool = False) -> None:
        """Goes to the gap before the first entry whose key is not less than `key`.

        Args:
            key: any key of the tree's type, there or not; None: the start.
            after: the gap after the last entry whose key is not greater, instead.

        Raises:
            TypeError: the tree cannot have such a key.
        """
        if key is None:
            self.to_start()
            return
        passed = self._tree.rank_right(key) - self._tree.rank(key)  # refuses what is no key
        self._key, self._passed = key, passed if after else 0

    def to_start(self) -> None:
        """Goes before the first entry."""
        self._key, self._passed = End.START, 0

    def to_end(self) -> None:
        """Goes after the last entry."""
        self._key, self._passed = End.END, 0

    # ---- looking and stepping

    def peek_next(self) -> I | None:
        """The item after the gap; None at the end."""
        if isinstance(self._key, End):
            return next(self._tree.range(limit=1), None) if self._key is End.START else None
        return self._tree.higher_item(self._key) if self._passed else self._tree.ceiling_item(self._key)

    def peek_prev(self) -> I | None:
        """The item before the gap; None at the start."""
        if isinstance(self._key, End):
            return next(self._tree.range(limit=1, reverse=True), None) if self._key is End.END else None
        return self._tree.floor_item(self._key) if self._passed else self._tree.lower_item(self._key)

    def next(self) -> I | None:
        """Steps over the item after the gap and returns it; None at the end, where it stays."""
        item = self.peek_next()
        if item is not None:
            self._key, self._passed = self._key_of(item), 1
        return item

    def prev(self) -> I | None:
        """Steps back over the item before the gap and returns it; None at the start, where it stays."""
        item = self.peek_prev()
        if item is not None:
            self._key, self._passed = self._key_of(item), 0
        return item

    # ---- changing

    def remove_next(self) -> I | None:
        """Removes the item after the gap and returns it; None at the end.

        Raises:
            TypeError: the tree is frozen.
        """
        item = self.peek_next()
        if item is not None:
            self._remove(self._key_of(item))
        return item

    def remove_prev(self) -> I | None:
        """Removes the item before the gap and returns it; None at the start.

        Raises:
            TypeError: the tree is frozen.
        """
        item = self.peek_prev()
        if item is not None:
            key = self._key_of(item)
            self._remove(key)
            self._key, self._passed = key, 0
        return item

    def _key_of(self, item: Any) -> Any:
        return item[0]

    def _remove(self, key: K) -> None:
        raise NotImplementedError

    def _check_fits(self, key: K) -> None:
        """Raises InvalidValue unless the key belongs into the gap."""
        if self._tree.rank(key) != self.index or key in self._tree:
            raise self._misplaced(key, "after")

    def _misplaced(self, key: K, after: str) -> InvalidValue:
        before, behind = self.peek_prev(), self.peek_next()
        bounds = []
        if before is not None:
            bounds.append(f"{after} {shown(self._key_of(before))}")
        if behind is not None:
            bounds.append(f"before {shown(self._key_of(behind))}")
        return InvalidValue(f"key must come {' and '.join(bounds)} at this cursor, got {shown(key)}")


class MapCursor(Cursor[K, tuple[K, V]]):
    """A cursor of a BTreeMap; its items are pairs."""

    __slots__ = ()
    _tree: MapTree[K, V]

    def insert(self, key: K, value: V) -> None:
        """Inserts an entry into the gap; the cursor stands after it then, so that what follows can go on.

        Raises:
            ValueError: the key does not belong there, or is there already.
            TypeError: the key or the value is none for this tree, or the tree is frozen.
        """
        self._check_fits(key)
        self._tree[key] = value
        self._key, self._passed = key, 1

    def _remove(self, key: K) -> None:
        del self._tree[key]


class SetCursor(Cursor[K, K]):
    """A cursor of a BTreeSet; its items are the keys."""

    __slots__ = ()
    _tree: SetTree[K]

    def insert(self, key: K) -> None:
        """Inserts a key into the gap; the cursor stands after it then, so that what follows can go on.

        Raises:
            ValueError: the key does not belong there, or is there already.
            TypeError: the key is none for this tree, or the tree is frozen.
        """
        self._check_fits(key)
        self._tree.add(key)
        self._key, self._passed = key, 1

    def _key_of(self, item: Any) -> Any:
        return item

    def _remove(self, key: K) -> None:
        self._tree.remove(key)


class MultiMapCursor(Cursor[K, tuple[K, V]]):
    """A cursor of a BTreeMultiMap; its items are pairs.

    Among entries of one key it remembers how many stand before it.
    """

    __slots__ = ()
    _tree: MultiMapTree[K, V]

    @property
    def index(self) -> int:
        """How many entries stand before the gap."""
        if isinstance(self._key, End) or not self._passed:
            return super().index
        return min(self._tree.rank(self._key) + self._passed, self._tree.rank_right(self._key))

    def peek_next(self) -> tuple[K, V] | None:
        """The item after the gap; None at the end."""
        at = self.index
        return self._tree.select(at) if at < len(self._tree) else None

    def peek_prev(self) -> tuple[K, V] | None:
        """The item before the gap; None at the start."""
        at = self.index
        return self._tree.select(at - 1) if at else None

    def next(self) -> tuple[K, V] | None:
        """Steps over the item after the gap and returns it; None at the end, where it stays."""
        at, item = self.index, self.peek_next()
        if item is not None:
            self._go(item[0], at + 1)
        return item

    def prev(self) -> tuple[K, V] | None:
        """Steps back over the item before the gap and returns it; None at the start, where it stays."""
        at, item = self.index, self.peek_prev()
        if item is not None:
            self._go(item[0], at - 1)
        return item

    def insert(self, key: K, value: V) -> None:
        """Inserts an entry into the gap; the cursor stands after it then, so that what follows can go on.

        Raises:
            ValueError: the key does not belong there: an entry stands after all with an equal key.
            TypeError: the key or the value is none for this tree, or the tree is frozen.
        """
        at = self.index
        if self._tree.rank_right(key) != at:
            raise self._misplaced(key, "not before")
        self._tree.add(key, value)
        self._go(key, at + 1)

    def remove_next(self) -> tuple[K, V] | None:
        """Removes the item after the gap and returns it; None at the end.

        Raises:
            TypeError: the tree is frozen.
        """
        at = self.index
        return self._tree.pop_at(at) if at < len(self._tree) else None

    def remove_prev(self) -> tuple[K, V] | None:
        """Removes the item before the gap and returns it; None at the start.

        Raises:
            TypeError: the tree is frozen.
        """
        at = self.index
        if not at:
            return None
        item = self._tree.pop_at(at - 1)
        self._go(item[0], at - 1)
        return item

    def _go(self, key: K, at: int) -> None:
        self._key, self._passed = key, at - self._tree.rank(key)
