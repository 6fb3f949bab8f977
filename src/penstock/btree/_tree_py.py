"""What the fallback's ordered trees have in common.

`_leaves_py` has the structure, and says what threads and code of the user may do to it; here is what it
means. A loop `while True` goes round again only if another thread was in the way.
"""

from builtins import sorted as in_order
from collections.abc import Callable, Iterable, Iterator
from itertools import compress, count, islice, pairwise
from operator import lt
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from penstock.btree._arguments import (
    ARRAY_KEY_TYPES,
    KEY_CHECKS,
    VALUE_CHECKS,
    KeyType,
    ValueType,
    base_class,
    changed_in_comparison,
    changed_in_iteration,
    check_ascending,
    check_lengths,
    checked_fill,
    checked_include,
    checked_index,
    checked_key_type,
    checked_limit,
    checked_value_type,
    empty_tree,
    frozen_tree,
    keys_list,
    not_empty,
    untyped_keys,
    values_list,
)
from penstock.btree._leaves_py import LEAF_MOST, Edits, Leaves, Place

if TYPE_CHECKING:
    import numpy as np  # loaded by the first call that makes an array: an import takes long
    from numpy.typing import NDArray

__all__ = ["ALL", "BTree"]

K = TypeVar("K")
T = TypeVar("T")
I = TypeVar("I")  # noqa: E741  # an item: the key of a set, the pair of a map

ALL = 1 << 62  # more entries than a leaf can have


class BTree(Leaves[K], Generic[K, I]):
    """What ordered trees have in common: entries in the order of their keys.

    An item is the key in a set, and the pair `(key, value)` in a map or multimap. A bound of a range that is
    None is open. `len` is O(1); what looks for a key or an index takes O(log n) comparisons or steps.

    Keys are ordered by `<` alone: two keys neither of which is less than the other are one key. They must not
    change their order while they are in a tree. Comparisons run before anything changes: if one raises, the
    error passes and the tree is as it was; if one changes the tree, that is `TreeChanged`. Iterators raise
    `TreeChanged` at the next step when entries have come or gone; replaced values are seen. To change a tree
    while going over it, go over its `snapshot()`.

    Threads may share a tree: every call is one step for the others. While comparisons run code of their own,
    other threads may come between; if one changes the tree then, the call that compares raises `TreeChanged`.

    New trees that `copy`, `snapshot` or `split_off` give are of the same class, made without its `__init__`.

    Sources: Bayer and McCreight, Organization and Maintenance of Large Ordered Indexes, 1972; Comer, The
    Ubiquitous B-Tree, 1979; Rodeh, B-trees, Shadowing, and Clones, 2008.
    """

    __slots__ = ()

    def __init__(self) -> None:
        raise base_class()

    def _start(self, key_type: object, value_type: object) -> None:
        key_type, value_type = checked_key_type(key_type), checked_value_type(value_type)
        if self._frozen:
            raise frozen_tree()
        if self._length:
            raise not_empty(self._length)
        self._key_type = key_type
        self._value_type = value_type
        self._check_key = KEY_CHECKS[key_type]
        self._check_value = None if value_type == "object" else VALUE_CHECKS[value_type]

    @property
    def key_type(self) -> KeyType:
        """What the keys are: "object", "int64", "uint64", "float64", "str" or "bytes"."""
        return self._key_type

    @property
    def value_type(self) -> ValueType | None:
        """What the values are: "object", "int64" or "float64"; None for a set."""
        return self._value_type if self._HAS_VALUES else None

    @property
    def frozen(self) -> bool:
        """Whether this is a snapshot, which refuses to change."""
        return self._frozen

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        return self._length > 0

    def __contains__(self, key: object) -> bool:
        return self._find(self._check_key(key))[3]

    def __iter__(self) -> Iterator[K]:
        return self._walk_keys(self._changes, (0, 0), (len(self._leaves), 0), False)

    def __reversed__(self) -> Iterator[K]:
        return self._walk_keys(self._changes, (0, 0), (len(self._leaves), 0), True)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self._node_bytes()

    # Items -----------------------------------------------------------------------------------------------

    def _item(self, at: int, place: int) -> I:
        """The item at a place; calls nothing."""
        raise NotImplementedError

    def _removed_item(self, removed: tuple[Any, Any]) -> I:
        raise NotImplementedError

    def _walk(self, changes: int, start: Place, stop: Place, reverse: bool) -> Iterator[I]:
        """The items from one place to another, as long as the number of changes is this."""
        raise NotImplementedError

    def _walk_keys(self, changes: int, start: Place, stop: Place, reverse: bool) -> Iterator[K]:
        for at, first, last in self._runs(start, stop, reverse):
            if self._changes != changes:
                raise changed_in_iteration()
            keys = self._leaves[at].keys[first:last]
            for key in reversed(keys) if reverse else keys:
                if self._changes != changes:
                    raise changed_in_iteration()
                yield key
        if self._changes != changes:
            raise changed_in_iteration()

    def _runs(self, start: Place, stop: Place, reverse: bool = False) -> Iterator[tuple[int, int, int]]:
        """For each leaf between two places: which, its first entry, and the one after its last."""
        leaves = range(start[0], min(stop[0] + 1, len(self._leaves)))
        for at in reversed(leaves) if reverse else leaves:
            first = start[1] if at == start[0] else 0
            last = stop[1] if at == stop[0] else ALL
            yield at, first, last

    def _entries_at(self, start: int, stop: int) -> list[I]:
        """The items [start, stop) by index."""
        return list(self._walk(self._changes, self._place(start), self._place(stop), False))

    def first_item(self) -> I:
        """The item with the least key, in O(1).

        Raises:
            KeyError: the tree is empty.
        """
        try:
            return self._item(0, 0)
        except IndexError:
            raise empty_tree() from None

    def last_item(self) -> I:
        """The item with the greatest key, in O(1); of equal keys in a multimap, the last.

        Raises:
            KeyError: the tree is empty.
        """
        try:
            return self._item(-1, -1)
        except IndexError:
            raise empty_tree() from None

    def pop_first(self) -> I:
        """Removes the item with the least key and returns it.

        Raises:
            KeyError: the tree is empty.
            FrozenTree: the tree is a snapshot.
        """
        try:
            return self._pop_at(0)
        except IndexError:
            raise empty_tree() from None

    def pop_last(self) -> I:
        """Removes the item with the greatest key and returns it; of equal keys in a multimap, the last.

        Raises:
            KeyError: the tree is empty.
            FrozenTree: the tree is a snapshot.
        """
        try:
            return self._pop_at(-1)
        except IndexError:
            raise empty_tree() from None

    def floor_item(self, key: K, /) -> I | None:
        """The item with the greatest key <= `key`; of equal keys in a multimap the last. Else None."""
        return self._beside(key, True, -1)

    def ceiling_item(self, key: K, /) -> I | None:
        """The item with the least key >= `key`; of equal keys in a multimap the first. Else None."""
        return self._beside(key, False, 0)

    def lower_item(self, key: K, /) -> I | None:
        """The item with the greatest key < `key`; of equal keys in a multimap the last. Else None."""
        return self._beside(key, False, -1)

    def higher_item(self, key: K, /) -> I | None:
        """The item with the least key > `key`; of equal keys in a multimap the first. Else None."""
        return self._beside(key, True, 0)

    def _beside(self, key: Any, after: bool, step: int) -> I | None:
        """The item before (step -1) or behind (step 0) the gap at a key."""
        key = self._check_key(key)
        while True:
            changes, (at, place) = self._seek(key, after)
            item: I | None = None
            if step and not place:
                at -= 1  # and place - 1 is its last entry
            try:
                if 0 <= at < len(self._leaves):
                    item = self._item(at, place + step)
            except IndexError:
                if self._changes == changes:
                    raise
            if self._changes == changes:
                return item

    # By index --------------------------------------------------------------------------------------------

    def rank(self, key: K, /) -> int:
        """How many entries have a key < `key`; what bisect_left gives for a sorted list."""
        return self._rank(self._check_key(key), False)

    def rank_right(self, key: K, /) -> int:
        """How many entries have a key <= `key`; what bisect_right gives for a sorted list."""
        return self._rank(self._check_key(key), True)

    def _rank(self, key: K, after: bool) -> int:
        while True:
            changes, place = self._seek(key, after)
            try:
                index = self._index(place)
            except IndexError:
                if self._changes == changes:
                    raise
            if self._changes == changes:
                return index

    def select(self, index: int, /) -> I:
        """The item at `index` in the order of keys; a negative one counts from the end.

        Raises:
            IndexError: not -len <= index < len.
            InvalidType: index is no int.
        """
        while True:
            changes = self._changes
            try:
                item = self._item(*self._place(checked_index(index, self._length)))
            except IndexError:
                if self._changes == changes:
                    raise
            if self._changes == changes:
                return item

    def pop_at(self, index: int, /) -> I:
        """Removes the item at `index`, as of `select`, and returns it.

        Raises:
            IndexError: not -len <= index < len.
            InvalidType: index is no int.
            FrozenTree: the tree is a snapshot.
        """
        return self._pop_at(index)

    def _pop_at(self, index: int) -> I:
        if self._frozen:
            raise frozen_tree()
        while True:
            changes, removed = self._changes, None
            try:
                removed = self._remove(changes, *self._place(checked_index(index, self._length)))
            except IndexError:
                if self._changes == changes:
                    raise
            if removed is not None:
                return self._removed_item(removed)

    # Ranges ----------------------------------------------------------------------------------------------

    def _bounds(self, least: Any, most: Any, include: object) -> tuple[int, Place, Place]:
        """The number of changes, and where a range starts and stops."""
        with_min, with_max = checked_include(include)
        least = None if least is None else self._check_key(least, "min")
        most = None if most is None else self._check_key(most, "max")
        while True:
            changes = self._changes
            start = (0, 0) if least is None else self._seek(least, not with_min)[1]
            stop = (len(self._leaves), 0) if most is None else self._seek(most, with_max)[1]
            if self._changes == changes:
                return changes, start, max(start, stop)
            self._try_again(1)

    def count(
        self,
        min: K | None = None,  # noqa: A002  # the words of ranges
        max: K | None = None,  # noqa: A002
        *,
        include: tuple[bool, bool] = (True, False),
    ) -> int:
        """How many entries have a key between `min` and `max`, in O(log n); 0 if min > max.

        Args:
            min: the least key, None for no bound.
            max: the greatest key, None for no bound.
            include: whether keys equal to min, and to max, are in the range.
        """
        while True:
            changes, start, stop = self._bounds(min, max, include)
            try:
                number = self._index(stop) - self._index(start)
            except IndexError:
                if self._changes == changes:
                    raise
            if self._changes == changes:
                return number

    def range(
        self,
        min: K | None = None,  # noqa: A002
        max: K | None = None,  # noqa: A002
        *,
        include: tuple[bool, bool] = (True, False),
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[I]:
        """The items with keys between `min` and `max`: O(log n) to begin, O(1) for each.

        Args:
            min: the least key, None for no bound.
            max: the greatest key, None for no bound.
            include: whether keys equal to min, and to max, are in the range.
            reverse: from the greatest key to the least.
            limit: items at most, >= 0; None for all.

        Returns:
            An iterator; it raises `TreeChanged` when entries come or go meanwhile.
        """
        changes, start, stop = self._bounds(min, max, include)
        items = self._walk(changes, start, stop, bool(reverse))
        return items if limit is None else islice(items, checked_limit(limit))

    def keys_range(
        self,
        min: K | None = None,  # noqa: A002
        max: K | None = None,  # noqa: A002
        *,
        include: tuple[bool, bool] = (True, False),
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[K]:
        """The keys of what `range` gives for these arguments."""
        changes, start, stop = self._bounds(min, max, include)
        keys = self._walk_keys(changes, start, stop, bool(reverse))
        return keys if limit is None else islice(keys, checked_limit(limit))

    def range_arrays(
        self,
        min: K | None = None,  # noqa: A002
        max: K | None = None,  # noqa: A002
        *,
        include: tuple[bool, bool] = (True, False),
    ) -> Any:
        """The entries with keys between `min` and `max` as new arrays, for trees of typed keys.

        Args:
            min: the least key, None for no bound.
            max: the greatest key, None for no bound.
            include: whether keys equal to min, and to max, are in the range.

        Returns:
            (n,) keys for a set, `(keys, values)` of (n,) each for a map or multimap. Keys are int64, uint64
            or float64 as their type is; values int64, float64 or object.

        Raises:
            InvalidType: the key type is object, str or bytes.
        """
        if self._key_type not in ARRAY_KEY_TYPES:
            raise untyped_keys(self._key_type)
        while True:
            changes, start, stop = self._bounds(min, max, include)
            try:
                keys, values = self._gathered(start, stop)
            except IndexError:
                if self._changes == changes:
                    raise
            if self._changes == changes:
                break
        array = self._key_array(keys)
        return (array, self._value_array(values)) if self._HAS_VALUES else array

    def _gathered(self, start: Place, stop: Place) -> tuple[list[K], list[Any]]:
        """The keys and the values between two places."""
        keys: list[K] = []
        values: list[Any] = []
        for leaf, first, last in [
            (self._leaves[at], first, last) for at, first, last in self._runs(start, stop)
        ]:
            keys += leaf.keys[first:last]
            if leaf.values is not None:
                values += leaf.values[first:last]
        return keys, values

    def _key_array(self, keys: list[K]) -> "NDArray[Any]":
        import numpy as np

        return np.array(keys, self._key_type)

    def _value_array(self, values: list[Any]) -> "NDArray[Any]":
        import numpy as np

        return np.fromiter(values, self._value_type, len(values))

    # Many ------------------------------------------------------------------------------------------------

    def rank_many(self, keys: Iterable[K], /) -> "NDArray[np.int64]":
        """`rank` of each of `keys`.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.

        Returns:
            (n,) int64, entries.
        """
        import numpy as np

        return np.array(self._look_up(keys_list(keys, self._key_type), BTree.rank), np.int64)

    def contains_many(self, keys: Iterable[K], /) -> "NDArray[np.bool_]":
        """Whether each of `keys` is there.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.

        Returns:
            (n,) bool.
        """
        import numpy as np

        return np.array(self._look_up(keys_list(keys, self._key_type), BTree.__contains__), np.bool_)

    def _look_up(self, keys: list[K], look: Callable[[Any, K], T]) -> list[T]:
        """What `look(tree, key)` finds for each of the keys, all at one moment."""
        changes, writes = self._changes, self._writes
        found = [look(self, key) for key in keys]
        if self._changes != changes and self._key_type == "object":
            raise changed_in_comparison()
        if self._changes == changes and self._writes == writes:
            return found
        unchanging = self.snapshot()  # only now, as the tree has to copy what it writes to from here on
        return [look(unchanging, key) for key in keys]

    def delete_many(self, keys: Iterable[K], /) -> int:
        """Removes the entries of those of `keys` that are there, all of them or, if it fails, none.

        Args:
            keys: (n,) array or an iterable; for typed keys what makes an array of their type without loss.

        Returns:
            Entries removed; in a multimap all that have one of the keys.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        wanted = keys_list(keys, self._key_type)
        while True:
            changes = self._changes
            try:
                gone = self._places_of(wanted)
                writes = self._writes
                number = sum(map(len, gone.values()))
                if not gone or self._replace_some(changes, writes, self._without(gone)):
                    return number
            except IndexError:
                if self._changes == changes:
                    raise
            if self._changes != changes:
                self._try_again(1)

    def _places_of(self, keys: list[K]) -> dict[int, set[int]]:
        """Which entries, by leaf, have one of these keys."""
        found: dict[int, set[int]] = {}
        for key in keys:
            _, at, place, there = self._find(key)
            if there:
                found.setdefault(at, set()).add(place)
        return found

    def _without(self, gone: dict[int, set[int]]) -> Edits:
        """What is left of these leaves."""
        edits: Edits = {}
        for at, places in gone.items():
            leaf = self._leaves[at]
            stay = [place for place in range(len(leaf.keys)) if place not in places]
            values = leaf.values
            edits[at] = (
                [leaf.keys[place] for place in stay],
                None if values is None else [values[place] for place in stay],
            )
        return edits

    def delete_range(
        self,
        min: K | None = None,  # noqa: A002
        max: K | None = None,  # noqa: A002
        *,
        include: tuple[bool, bool] = (True, False),
    ) -> int:
        """Removes the entries with keys between `min` and `max`; whole nodes at a time.

        Args:
            min: the least key, None for no bound.
            max: the greatest key, None for no bound.
            include: whether keys equal to min, and to max, are in the range.

        Returns:
            Entries removed.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        while True:
            changes, start, stop = self._bounds(min, max, include)
            try:
                number = self._index(stop) - self._index(start)
                if start == stop or self._remove_between(changes, start, stop):
                    return number
            except IndexError:
                if self._changes == changes:
                    raise

    def clear(self) -> None:
        """Removes all entries.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        while self._length:
            self._replace_all(self._changes, self._writes, self._owner, [])

    def split_off(self, key: K, /) -> Self:
        """Moves the entries with keys >= `key` to a new tree of the same class and types, in O(log n).

        Returns:
            The tree with those entries.

        Raises:
            FrozenTree: the tree is a snapshot.
        """
        if self._frozen:
            raise frozen_tree()
        key = self._check_key(key)
        while True:
            changes, start = self._seek(key, False)
            other = self._empty_twin()
            try:
                if start[0] >= len(self._leaves) or self._split_off(changes, start, other):
                    return other
            except IndexError:
                if self._changes == changes:
                    raise

    def _empty_twin(self) -> Self:
        cls = type(self)
        other = cls.__new__(cls)
        BTree._start(other, self._key_type, self._value_type)
        return other

    def snapshot(self) -> Self:
        """The tree as it is now, in O(1): a frozen tree with the same entries, which never changes.

        The two share their nodes; whichever node the tree writes to later, it copies first. Any number of
        threads may read a snapshot. A snapshot's snapshot is itself.
        """
        if self._frozen:
            return self
        other = self.copy()
        other._frozen = True
        return other

    def copy(self) -> Self:
        """A tree of the same class with the same entries, in O(1); the two change apart.

        They share their nodes, and each copies a shared node before it writes to it. Keys and values are
        not copied. The copy of a snapshot can be changed.
        """
        other = self._empty_twin()
        self._share_with(other)
        return other

    __copy__ = copy

    # The judge -------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Looks whether every rule of the structure holds, the order of all keys too, in O(n).

        Raises:
            BrokenTree: one does not, the message says which; keys lie about their order, or have changed it.
            TreeFileError: a page of the tree's file is broken, the message says which.
        """
        self._check_structure()

    def stats(self) -> dict[str, Any]:
        """How the tree lies in memory, counted in O(n / 1000) or more.

        Returns:
            entries; height, levels of nodes; leaves and inner_nodes, how many; node_bytes, also of nodes that
            other trees have, too, but not of keys and values that are objects; shared_nodes, that other trees
            have or had; bytes_per_entry; fill, the used part of the room for entries in leaves.
        """
        leaves, length, size = self._leaves, self._length, self._node_bytes()
        return {
            "entries": length,
            "height": 2 if leaves else 0,
            "leaves": len(leaves),
            "inner_nodes": 1 if leaves else 0,
            "node_bytes": size,
            "shared_nodes": sum(leaf.owner is not self._owner for leaf in leaves),
            "bytes_per_entry": size / length if length else 0.0,
            "fill": length / (len(leaves) * LEAF_MOST) if leaves else 0.0,
        }

    # Loading, merging, files -----------------------------------------------------------------------------

    def _load_sorted(self, keys: Any, values: Any, fill: float, check: bool) -> None:
        """Fills the empty tree with entries in order, its leaves `fill` full, in O(n)."""
        fill = checked_fill(fill)
        listed = keys_list(keys, self._key_type)
        belonging = values_list(values, self._value_type) if self._HAS_VALUES else None
        if belonging is not None:
            check_lengths(len(listed), len(belonging))
        if self._frozen:
            raise frozen_tree()
        if self._length:
            raise not_empty(self._length)
        changes, writes = self._changes, self._writes
        if check or self._key_type != "object":
            self._check_first(listed)
            check_ascending(listed, strictly=not self._MULTI)
        if listed and not self._fill(changes, writes, listed, belonging, fill):
            raise changed_in_comparison()

    def _check_first(self, keys: list[Any]) -> None:
        """Refuses keys without an order, also if there is but one."""
        if keys and self._key_type == "object":
            bool(keys[0] < keys[0])

    def _put_many(self, keys: list[Any], values: list[Any] | None, is_sorted: bool) -> int:
        """Puts entries in, all or none; how many more there are."""
        if self._frozen:
            raise frozen_tree()
        if values is not None:
            check_lengths(len(keys), len(values))
        before = self._changes
        if is_sorted:
            check_ascending(keys, strictly=False)
        else:
            order = in_order(range(len(keys)), key=keys.__getitem__)
            keys = [keys[i] for i in order]
            values = None if values is None else [values[i] for i in order]
        self._check_first(keys)
        if not self._MULTI and not all_differ(keys):
            kept = runs_of_equals(keys)
            keys = [keys[first] for first, _ in kept]
            values = None if values is None else [values[last] for _, last in kept]
        if self._changes != before:
            self._try_again(1)
        while keys:
            changes = self._changes
            merge = self._merge_all if len(keys) * 4 >= self._length else self._merge_few
            try:
                added = merge(keys, values)
                if added is not None:
                    return added
            except IndexError:
                if self._changes == changes:
                    raise
            if self._changes != changes:
                self._try_again(1)
        return 0

    def _merge_all(self, keys: list[K], values: list[Any] | None) -> int | None:
        """Merges ascending keys into the tree, where they are many. Entries added; None: do it again."""
        changes, writes, length = self._changes, self._writes, self._length
        if length:
            everything = (0, 0), (len(self._leaves), 0)
            all_keys: list[Any] = [*self._gathered(*everything)[0], *keys]
            order = in_order(range(len(all_keys)), key=all_keys.__getitem__)  # two runs, so a merge
            keys = [all_keys[i] for i in order]
            if not self._MULTI and not all_differ(keys):
                kept = runs_of_equals(keys)
                keys = [keys[first] for first, _ in kept]
                order = [order[last] for _, last in kept]
            if self._changes != changes:
                return None
            writes = self._writes
            if values is not None:  # read now, as comparisons may have replaced some
                all_values = self._gathered(*everything)[1] + values
                values = [all_values[i] for i in order]
        added = len(keys) - length
        return added if self._fill(changes, writes, keys, values, 0.9) else None

    def _merge_few(self, keys: list[K], values: list[Any] | None) -> int | None:
        """Merges ascending keys into the leaves where they belong. Entries added; None: do it again."""
        changes = self._changes
        leaves = self._leaves
        gaps: dict[int, list[tuple[int, bool]]] = {}  # by leaf, before which entry, and whether in its place
        for key in keys:
            there = False
            if self._MULTI:
                at, place = self._seek(key, True)[1]
            else:
                _, at, place, there = self._find(key)
            if at >= len(leaves):
                at, place = at - 1, ALL
            gaps.setdefault(at, []).append((place, there))
        writes = self._writes
        if self._changes != changes:
            return None
        edits: Edits = {}
        index = 0
        for at, entries in gaps.items():
            leaf, done = self._leaves[at], 0
            new_keys: list[Any] = []
            new_values: list[Any] = []
            for place, there in entries:
                new_keys += leaf.keys[done:place]
                new_keys.append(leaf.keys[place] if there else keys[index])
                if values is not None and leaf.values is not None:
                    new_values += leaf.values[done:place]
                    new_values.append(values[index])
                done = place + there
                index += 1
            new_keys += leaf.keys[done:]
            new_values += (leaf.values or [])[done:]
            edits[at] = new_keys, None if values is None else new_values
        added = len(keys) - sum(there for entries in gaps.values() for _, there in entries)
        return added if self._replace_some(changes, writes, edits) else None

    def _save(self, fd: int) -> None:
        """Writes the file of the tree, for `tree_file`."""
        from penstock.btree import _tree_pages

        _tree_pages.write(self, fd)

    def _map(self, mapping: Any, path: str, key_type: KeyType, value_type: ValueType | None) -> None:
        """Takes the entries of a file, for `tree_file`; reads all of it."""
        from penstock.btree import _tree_pages

        self._start(key_type, value_type or "object")
        _tree_pages.read(self, mapping, path)


def all_differ(keys: list[Any]) -> bool:
    """Whether no two of ascending keys are equal, which is usual and quicker to see than where."""
    return all(map(lt, keys, islice(keys, 1, None)))


def runs_of_equals(keys: list[Any]) -> list[tuple[int, int]]:
    """The first and the last of every run of equal keys; these ascend."""
    starts = [0, *compress(count(1), map(lt, keys, islice(keys, 1, None)))] if keys else []
    return [(start, following - 1) for start, following in pairwise([*starts, len(keys)])]
