"""BTreeMap: a dict in the order of its keys."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Set
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

from penstock.btree._algebra import checked_side, columns, columns_of, equal, joined
from penstock.btree._arguments import KeyType, ValueType
from penstock.btree._common import NOTHING, OrderedTree
from penstock.btree._views import MapItems, MapKeys, MapValues
from penstock.btree.btree import MapTree, MultiMapTree
from penstock.btree.cursor import MapCursor

__all__ = ["BTreeMap"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


if TYPE_CHECKING:  # for type checkers it derives from what it is registered as, at the end

    class MapBase(OrderedTree[K, tuple[K, V]], MapTree[K, V], MutableMapping[K, V]):
        __slots__ = ()

else:

    class MapBase(OrderedTree[K, tuple[K, V]], MapTree[K, V]):
        __slots__ = ()


class BTreeMap(MapBase[K, V]):
    """A mapping in the order of its keys, with ranges, ranks, batches and snapshots.

    All that a dict does it does, in the order of the keys, and `t[k]` takes O(log n). Keys need `<`, no
    hash: two keys neither of which is less than the other are the same key. Numbers as keys and values, by
    `key_type` and `value_type`, take 8 bytes each and no objects, are searched much faster, and go in and
    out as numpy arrays.

        scores = BTreeMap({"ada": 36, "bob": 41})
        scores["eve"] = 12
        list(scores.range("b"))          # [("bob", 41), ("eve", 12)]
        scores.rank("eve")               # 2

    What changes the set of entries ends iterations over them with `TreeChanged`; iterate over `snapshot()`,
    which takes O(1), to change meanwhile, or from a thread while others write.

    `update`, `insert_many`, `delete_many` and the operators that change a tree do all or nothing; only
    between the two steps of `^=` may another thread see something else. `copy`, `snapshot`, `split_off` and
    set algebra return trees of the same class, made without a call of its `__init__` and without the
    attributes that a subclass may have added; a pickle keeps those. Never unpickle what others could have
    written.

    Set algebra goes by keys. A union is what `copy` and `update` make; an intersection has the own entries
    whose keys the other side has, a difference those whose keys it has not.

    Args:
        items: a mapping, another tree, or an iterable of pairs; of equal keys the last value counts.
        key_type: "object" for anything that `<` orders, "int64", "uint64", "float64", "str" or "bytes".
        value_type: "object" for anything, "int64" or "float64".

    Raises:
        TypeError: a key or a value has not the type, or keys have no order among each other.
        ValueError: a key is NaN, key_type or value_type is unknown, or an item is no pair.
        OverflowError: a key or a value does not fit.

    Sources: Bayer and McCreight, Organization and Maintenance of Large Ordered Indices, Acta Informatica
    1(3), 1972; Comer, The Ubiquitous B-Tree, ACM Computing Surveys 11(2), 1979; Rodeh, B-trees, Shadowing,
    and Clones, ACM Transactions on Storage 3(4), 2008 (copy on write).
    """

    __slots__ = ()

    _united: ClassVar[tuple[type, ...]] = (MapTree, Mapping)
    _matched: ClassVar[tuple[type, ...]] = (MapTree, MultiMapTree, Mapping, Set)

    def __init__(
        self,
        items: Mapping[K, V] | Iterable[tuple[K, V]] = (),
        *,
        key_type: KeyType = "object",
        value_type: ValueType = "object",
    ) -> None:
        super().__init__(key_type, value_type)
        if items is not NOTHING:
            self.update(items)

    @classmethod
    def _empty(cls, key_type: KeyType, value_type: ValueType | None) -> Self:
        tree = cls.__new__(cls)
        MapTree.__init__(tree, key_type, "object" if value_type is None else value_type)
        return tree

    @classmethod
    def from_sorted(
        cls,
        keys: Iterable[K],
        values: Iterable[V],
        *,
        key_type: KeyType | None = None,
        value_type: ValueType | None = None,
        check: bool = True,
        fill: float = 0.9,
    ) -> Self:
        """A map of keys that ascend already, in O(n).

        Args:
            keys: (n,) array or an iterable, strictly ascending.
            values: (n,) array or an iterable, as many.
            key_type: as in the class; None: by the dtype of an array of numbers, else "object".
            value_type: as in the class; None: as for the keys.
            check: False trusts the order of keys that are objects; ask `check()` if in doubt.
            fill: how full the nodes are made, in [0.5, 1.0]; 1.0 if nothing will be inserted.

        Raises:
            ValueError: keys do not ascend (UnsortedKeys), or keys and values are of different lengths.
            TypeError: a key or a value has not the type.
            OverflowError: a key or a value does not fit.
        """
        return cls._of_sorted(keys, values, key_type, value_type, check, fill)

    @classmethod
    def fromkeys(
        cls,
        keys: Iterable[K],
        value: V = None,  # type: ignore[assignment]  # as the values of dict.fromkeys
        *,
        key_type: KeyType = "object",
        value_type: ValueType = "object",
    ) -> Self:
        """A map that has the same value for each of some keys."""
        tree = cls._empty(key_type, value_type)
        listed = list(keys)
        tree.insert_many(listed, [value] * len(listed))
        return tree

    # ---- what makes it a mapping

    def keys(self) -> MapKeys[K]:
        """The keys, ascending: a view, also a set."""
        return MapKeys(self)

    def values(self) -> MapValues[V]:
        """The values, in the order of their keys: a view."""
        return MapValues(self)

    def items(self) -> MapItems[K, V]:
        """The pairs of key and value, in the order of the keys: a view, also a set."""
        return MapItems(self)

    def popitem(self) -> tuple[K, V]:
        """Removes and returns the last item, as `pop_last`. Raises KeyError when the tree is empty."""
        return self.pop_last()

    def update(  # type: ignore[override]  # one signature for all that a mapping's overloads take
        self, items: Mapping[K, V] | Iterable[tuple[K, V]] = (), /, **entries: V
    ) -> None:
        """Sets the values of many keys at once, all or none; of equal keys the last counts.

        Args:
            items: a mapping, another tree, or an iterable of pairs.
            entries: more, by keys that are names.

        Raises:
            TypeError: a key or a value has not the type, or keys have no order among each other.
            ValueError: a key is NaN, or an item is no pair.
            OverflowError: a key or a value does not fit.
        """
        keys, values, ascending = columns_of(items)
        if entries:
            keys, values, ascending = [*keys, *entries], [*values, *entries.values()], False
        self.insert_many(keys, values, sorted=ascending)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, MapTree):
            return len(self) == len(other) and all(
                equal(*pair) for pair in zip(columns(self), columns(other), strict=True)
            )
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        try:
            return bool(dict(self.range()) == dict(other.items()))
        except TypeError:  # a key without a hash: `other` has none such
            return False

    __hash__ = None  # type: ignore[assignment]

    # ---- more

    def cursor(self, key: K | None = None, /) -> MapCursor[K, V]:
        """A cursor in the gap before the first key that is not less than `key`; None: at the start."""
        return MapCursor(self, key)

    def merge_join(self, other: "MapTree[K, T] | MultiMapTree[K, T]", /) -> Iterator[tuple[K, V, T]]:
        """The entries whose keys both have, ascending: (key, value, value of `other`).

        Both as they are now: later changes do not show. One pass over both, or, where one is far smaller, a
        look-up for each of its keys.

        Raises:
            TypeError: `other` is no map or multimap, or has another key_type.
        """
        return joined(self.snapshot(), checked_side(other, self.key_type))


MutableMapping.register(BTreeMap)
