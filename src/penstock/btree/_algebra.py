"""Set algebra of trees: by arrays where keys are numbers, by searches or one merge where they are objects.

Entries belong together when neither key is less than the other. What looks at keys only, intersection and
difference, takes a tree of any kind, a mapping (its keys) or any iterable of keys.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeAlias, TypeVar, cast

from penstock.btree._arguments import ARRAY_KEY_TYPES, KeyType, ValueType, items_list
from penstock.btree.btree import BTree, MapTree, MultiMapTree, SetTree
from penstock.errors import InvalidType, InvalidValue, shown

__all__ = [
    "SetAlgebra",
    "checked_side",
    "columns",
    "columns_of",
    "equal",
    "held",
    "joined",
    "keyed",
    "listed",
    "ordered",
    "type_of",
]

I = TypeVar("I")  # noqa: E741  # an item, as in BTree[K, I]
K = TypeVar("K")

Entries: TypeAlias = "MapTree[Any, Any] | MultiMapTree[Any, Any]"
Pair: TypeAlias = tuple[Any, Any]

FILL = 0.9  # of the nodes of a tree that is loaded
CHUNK = 4096  # entries that a join takes at a time
FEW = 16  # times more entries on the other side: then look-ups are cheaper than a merge

PLAIN: dict[str, tuple[type, ...]] = {"object": (str, bytes, int), "str": (str,), "bytes": (bytes,)}
"""By key type: types of keys whose `<` refuses nothing and runs no code of others."""

QUICK = {str, bytes, int, float}
"""Types of keys that are compared quickly: then a search for each key takes less than a merge of ours."""


if TYPE_CHECKING:
    Base = BTree
else:

    class Base(Generic[K, I]):
        """A BTree to type checkers; in fact not, so that a public class has the layout of its twin."""

        __slots__ = ()


class SetAlgebra(Base[K, I]):
    """Union, intersection and difference of the entries, as methods and as operators."""

    __slots__ = ()

    _united: ClassVar[tuple[type, ...]]  # what | and ^ take on their other side
    _matched: ClassVar[tuple[type, ...]]  # what & and - take

    @classmethod
    def _empty(cls, key_type: KeyType, value_type: ValueType | None) -> Self:
        """A tree without a call of the __init__ of a subclass."""
        raise NotImplementedError

    def update(self, other: Any, /) -> None:
        """Adds entries; each class says which."""
        raise NotImplementedError

    # ---- new trees

    def union(self, *others: Any) -> Self:
        """A new tree with the entries of this one and of all others, as `copy` and `update` make it.

        O(n) for those of the others, if they are trees of the same types; else O(n log n).
        """
        result = self.copy()
        for other in others:
            result.update(other)
        return result

    def intersection(self, *others: Iterable[K]) -> Self:
        """A new tree with the entries of this one whose keys all others have.

        Args:
            others: trees, mappings, or iterables of keys.

        Raises:
            TypeError: a key is none for this tree.
        """
        result = self if others else self.copy()
        for other in others:
            result = result._common(keyed(other, self.key_type))
        return result

    def difference(self, *others: Iterable[K]) -> Self:
        """A new tree with the entries of this one whose keys no other has.

        Args:
            others: trees, mappings, or iterables of keys.

        Raises:
            TypeError: a key is none for this tree.
        """
        result = self.copy()
        for other in others:
            keys = keyed(other, self.key_type)
            if len(keys) * FEW < len(result):
                result.delete_many(columns(keys)[0])
            else:
                result = result._those(keys, had=False)
        return result

    def symmetric_difference(self, other: Any, /) -> Self:
        """A new tree with the entries of either whose keys the other one does not have."""
        built = self._built(other)
        result = self.difference(built)
        result.update(built.difference(self))
        return result

    # ---- operators

    def __or__(self, other: Any) -> Self:
        return self.union(other) if takes(self._united, other) else NotImplemented

    def __ror__(self, other: Any) -> Self:
        return self._built(other).union(self) if takes(self._united, other) else NotImplemented

    def __and__(self, other: Any) -> Self:
        return self.intersection(other) if takes(self._matched, other) else NotImplemented

    def __rand__(self, other: Any) -> Self:
        return self._built(other).intersection(self) if takes(self._united, other) else NotImplemented

    def __sub__(self, other: Any) -> Self:
        return self.difference(other) if takes(self._matched, other) else NotImplemented

    def __rsub__(self, other: Any) -> Self:
        return self._built(other).difference(self) if takes(self._united, other) else NotImplemented

    def __xor__(self, other: Any) -> Self:
        return self.symmetric_difference(other) if takes(self._united, other) else NotImplemented

    def __rxor__(self, other: Any) -> Self:
        return self._built(other).symmetric_difference(self) if takes(self._united, other) else NotImplemented

    def __ior__(self, other: Any) -> Self:
        if not takes(self._united, other):
            return NotImplemented
        self.update(other)
        return self

    def __iand__(self, other: Any) -> Self:
        if not takes(self._matched, other):
            return NotImplemented
        self._keep(keyed(other, self.key_type))
        return self

    def __isub__(self, other: Any) -> Self:
        if not takes(self._matched, other):
            return NotImplemented
        self.delete_many(columns(keyed(other, self.key_type))[0])
        return self

    def __ixor__(self, other: Any) -> Self:
        if not takes(self._united, other):
            return NotImplemented
        self._toggle(other)
        return self

    # ---- what they are made of

    def _made(self, keys: Any, values: Any) -> Self:
        """A tree of the same class and types with these entries, which ascend."""
        tree = self._empty(self.key_type, self.value_type)
        tree._load_sorted(keys, values, FILL, False)
        return tree

    def _is_like(self, other: object) -> bool:
        """Whether `other` is a tree of the same kind and types, with each key once."""
        if not isinstance(other, SetTree | MapTree) or isinstance(self, MultiMapTree):
            return False
        return (other.key_type, other.value_type) == (self.key_type, self.value_type)

    def _built(self, other: Any) -> Self:
        """`other` as a tree of this one's kind and types."""
        if isinstance(other, SetAlgebra) and self._is_like(other):
            return cast("Self", other.snapshot())
        tree = self._empty(self.key_type, self.value_type)
        tree.update(other)
        return tree

    def _those(self, keys: BTree[K, Any], *, had: bool) -> Self:
        """A new tree with the entries whose keys `keys` has, or has not."""
        snapshot = self.snapshot()
        own_keys, values = columns(snapshot)
        wanted = held(own_keys, keys)
        if isinstance(own_keys, list):
            chosen = wanted if had else [not each for each in wanted]
            kept = [each if each is None else list(compress(each, chosen)) for each in (own_keys, values)]
        else:
            chosen = wanted if had else ~wanted
            kept = [each if each is None else each[chosen] for each in (own_keys, values)]
        return self._made(*kept)

    def _common(self, keys: BTree[K, Any]) -> Self:
        """A new tree with the entries whose keys `keys` has."""
        if len(keys) * FEW >= len(self) or isinstance(keys, MultiMapTree) or isinstance(self, MultiMapTree):
            return self._those(keys, had=True)
        snapshot = self.snapshot()
        few = columns(keys)[0]
        wanted = held(few, snapshot)
        if isinstance(few, list):
            # own keys, not their equals of the other side
            entries: list[Any] = [snapshot.floor_item(key) for key in compress(few, wanted)]
            if not isinstance(snapshot, MapTree):
                return self._made(entries, None)
            return self._made([key for key, _ in entries], [value for _, value in entries])
        few = few[wanted]
        return self._made(few, snapshot.get_many(few) if isinstance(snapshot, MapTree) else None)

    def _keep(self, keys: BTree[K, Any]) -> None:
        """Removes the entries whose keys `keys` has not."""
        self.delete_many(columns(self._those(keys, had=False))[0])

    def _toggle(self, other: Any) -> None:
        """Removes what both have, and adds what only the other one has: both or neither."""
        built, before = self._built(other), self.snapshot()
        added = built._those(before, had=False)
        self.delete_many(columns(built)[0])
        try:
            self.update(added)
        except BaseException:
            self.clear()
            self._load_sorted(*columns(before), FILL, False)
            raise


def takes(kinds: tuple[type, ...], other: object) -> bool:
    """Whether an operator takes what stands on its other side."""
    return isinstance(other, kinds)


def columns(tree: BTree[Any, Any]) -> tuple[Any, Any]:
    """The keys and the values of a tree: arrays where keys are numbers, else lists; of a set no values."""
    snapshot = tree.snapshot()  # the two belong together, whatever other threads do
    if snapshot.key_type in ARRAY_KEY_TYPES:
        arrays = snapshot.range_arrays()
        return (arrays, None) if snapshot.value_type is None else arrays
    if isinstance(snapshot, MapTree | MultiMapTree):
        return list(snapshot), list(snapshot.values_range())
    return list(snapshot), None


def keyed(keys: Any, key_type: KeyType) -> BTree[Any, Any]:
    """A tree that has these keys: a snapshot, if they are those of a tree of that type."""
    if isinstance(keys, BTree) and keys.key_type == key_type:
        return keys.snapshot()
    tree: SetTree[Any] = SetTree(key_type)
    ready, ascending = ordered(keys, key_type)
    tree.insert_many(ready, sorted=ascending)
    return tree


def ordered(keys: Any, key_type: KeyType) -> tuple[Any, bool]:
    """Keys for `insert_many`, and whether they ascend: those of one plain type are sorted here, by list.sort.

    Raises:
        TypeError: keys are no iterable.
    """
    if key_type in ARRAY_KEY_TYPES or hasattr(keys, "dtype"):
        return keys, False
    listed = items_list(keys, "keys")
    types = set(map(type, listed))
    if len(types) != 1 or types.pop() not in PLAIN.get(key_type, ()):
        return listed, False
    listed.sort()
    return listed, True


def held(keys: Any, tree: BTree[Any, Any]) -> Any:
    """Whether a tree has each of some ascending keys: a list of bools if they are a list, else an array."""
    if not isinstance(keys, list):
        return tree.contains_many(keys)
    if len(keys) * FEW < len(tree) or (keys and type(keys[0]) in QUICK):
        return tree.contains_many(keys).tolist()
    others = list(tree)
    length, at = len(others), 0
    wanted = []
    for key in keys:
        while at < length and others[at] < key:
            at += 1
        wanted.append(at < length and not key < others[at])
    return wanted


def joined(left: Entries, right: Entries) -> Iterator[tuple[Any, Any, Any]]:
    """Each entry of `left` with each of `right` that has its key: (key, value, value of right), by one pass.

    Where one side is far smaller, its keys are looked up in the other.
    """
    if len(left) * FEW < len(right):
        for key, value in left.range():
            for other in right.values_range(key, key, include=(True, True)):
                yield key, value, other
    elif len(right) * FEW < len(left):
        for match, others in groups(right.range()):
            for key, value in left.range(match, match, include=(True, True)):
                for other in others:
                    yield key, value, other
    elif left.key_type in ARRAY_KEY_TYPES and isinstance(left, MapTree) and isinstance(right, MapTree):
        keys, values = columns(left)
        found = right.contains_many(keys)
        keys, values = keys[found], values[found]
        for first in range(0, len(keys), CHUNK):
            some = keys[first : first + CHUNK]
            others = right.get_many(some)
            yield from zip(some.tolist(), values[first : first + CHUNK].tolist(), listed(others), strict=True)
    else:
        for first in range(0, len(left), CHUNK):
            entries = left._entries_at(first, first + CHUNK)
            yield from joined_entries(
                entries, right.range(entries[0][0], entries[-1][0], include=(True, True))
            )


def listed(values: Any) -> list[Any]:
    """A column as a list, whether it is one or an array."""
    return values if isinstance(values, list) else list(values.tolist())


def joined_entries(left: list[Pair], right: Iterable[Pair]) -> Iterator[tuple[Any, Any, Any]]:
    """As `joined`: entries in order with entries in order."""
    matches = groups(right)
    match, others = next(matches, (None, ()))
    for key, value in left:
        while others and match < key:
            match, others = next(matches, (None, ()))
        if not others:
            return
        if not key < match:
            for other in others:
                yield key, value, other


def groups(entries: Iterable[Pair]) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Each key with its values, of entries in order."""
    iterator = iter(entries)
    for key, value in iterator:
        values = [value]
        for after, another in iterator:
            if key < after:
                yield key, values
                key, values = after, []
            values.append(another)
        yield key, values


def checked_side(other: object, key_type: KeyType) -> Entries:
    """The other side of a join, as it is now.

    Raises:
        TypeError: it is no map and no multimap with keys of that type.
    """
    if not isinstance(other, MapTree | MultiMapTree):
        raise InvalidType(f"other must be a BTreeMap or a BTreeMultiMap, got {shown(other)}")
    if other.key_type != key_type:
        raise InvalidType(f"other must have key_type {key_type!r}, got {other.key_type!r}")
    return other.snapshot()


def columns_of(items: Any) -> tuple[Any, Any, bool]:
    """Keys and values of what an update takes, and whether they ascend.

    Args:
        items: a map or multimap, a mapping, or an iterable of pairs.

    Raises:
        TypeError: it is none of these.
        ValueError: an item is no pair.
    """
    if isinstance(items, MapTree | MultiMapTree):
        return *columns(items), True
    if type(items) is dict:
        return list(items), list(items.values()), False
    if hasattr(items, "keys"):
        keys = list(items.keys())
        return keys, [items[key] for key in keys], False
    try:
        iterator = iter(items)
    except TypeError:
        raise InvalidType(f"items must be a mapping or an iterable of pairs, got {shown(items)}") from None
    keys, values = [], []
    for item in iterator:
        try:
            key, value = item
        except (TypeError, ValueError):
            raise InvalidValue(
                f"items must be pairs of a key and a value, got {shown(item)} at index {len(keys)}"
            ) from None
        keys.append(key)
        values.append(value)
    return keys, values, False


def type_of(array: Any, types: tuple[str, ...]) -> Any:
    """The type for what an array holds, one of `types`; "object" for what is no array of numbers."""
    dtype = getattr(array, "dtype", None)
    kind = getattr(dtype, "kind", "O")
    if kind == "f":
        return "float64"
    if kind == "u" and "uint64" in types:
        return "uint64"
    return "int64" if kind in "iu" else "object"


def equal(these: Any, those: Any) -> bool:
    """Whether two columns of one length are equal, as lists are: what is the same object is equal."""
    if isinstance(these, list) or isinstance(those, list) or these.dtype != those.dtype or these.dtype == "O":
        return listed(these) == listed(those)  # numbers of two types as Python's, which are compared exactly
    return bool((these == those).all())
