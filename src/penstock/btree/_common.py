"""What the map, the set and the multimap offer alike besides what the twins do."""

from collections.abc import Iterable, Iterator
from itertools import takewhile
from os import PathLike
from types import MemberDescriptorType
from typing import Any, Final, Self, TypeVar

from penstock.btree import tree_file
from penstock.btree._algebra import FILL, SetAlgebra, columns, type_of
from penstock.btree._arguments import KEY_TYPES, VALUE_TYPES, KeyType, ValueType
from penstock.btree._views import At
from penstock.errors import InvalidType, shown

__all__ = ["NOTHING", "OrderedTree"]

I = TypeVar("I")  # noqa: E741  # an item, as in BTree[K, I]
K = TypeVar("K")

NOTHING: Final = ()  # what a constructor gets by default; told by identity, so an empty tree costs no update

PREFIXED = {"object": (str, bytes, tuple), "str": (str,), "bytes": (bytes,)}
"""By key type: of what type a prefix may be."""


class OrderedTree(SetAlgebra[K, I]):
    """Places, prefixes, pickles and files of a tree."""

    __slots__ = ()

    @classmethod
    def _of_sorted(
        cls,
        keys: Iterable[K],
        values: Iterable[Any] | None,
        key_type: KeyType | None,
        value_type: ValueType | None,
        check: bool,
        fill: float,
    ) -> Self:
        """A tree of keys that ascend already; types that are None go by the arrays."""
        tree = cls._empty(
            type_of(keys, KEY_TYPES) if key_type is None else key_type,
            type_of(values, VALUE_TYPES) if value_type is None else value_type,
        )
        tree._load_sorted(keys, values, fill, check)
        return tree

    @property
    def at(self) -> At[I]:
        """The items by their place in the order: `t.at[i]`, and `t.at[i:j]` as a list."""
        return At(self)

    def prefix(self, prefix: Any, /) -> Iterator[I]:
        """The items whose key begins with `prefix`, ascending; O(log n) and what is taken.

        Args:
            prefix: a str or bytes that a key begins with, or a tuple of the first elements of a key.

        Raises:
            TypeError: keys of this tree cannot begin with that.
            RuntimeError: at a step, when the entries changed meanwhile.
        """
        possible = PREFIXED.get(self.key_type, ())
        if not possible:
            raise InvalidType(
                f"key_type must be 'object', 'str' or 'bytes' for a prefix, got {self.key_type!r}"
            )
        if not isinstance(prefix, possible):
            kinds = " or ".join(kind.__name__ for kind in possible)
            raise InvalidType(
                f"prefix must be of type {kinds} for key_type {self.key_type!r}, got {shown(prefix)}"
            )
        first: Any = prefix
        if not isinstance(prefix, tuple):
            return self.range(first, after_all(first))
        length = len(prefix)
        if self.value_type is None:
            return takewhile(lambda key: key[:length] == prefix, self.range(first))  # type: ignore[index]
        return takewhile(lambda item: item[0][:length] == prefix, self.range(first))  # type: ignore[index]

    # ---- files

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the tree to a file that `load` maps into memory: numbers only, key_type and value_type.

        The file appears whole or not at all; one of that name is replaced. See `penstock.btree.tree_file`.

        Raises:
            TypeError: keys or values are no numbers; pickle those.
            OSError: the file cannot be written.
        """
        tree_file.save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str], *, mmap: bool = True) -> Self:
        """The tree of a file that `save` wrote.

        Args:
            path: the file. Replace it, do not overwrite it, while it is mapped.
            mmap: map the file and read what is used, each page checked at its first use; False reads and
                checks everything at once.

        Raises:
            ValueError: the file is none of a tree of this class, of a newer version, or damaged.
            OSError: the file cannot be read.
        """
        return tree_file.load(cls, path, mmap=mmap)

    # ---- copies and pickles

    def __copy__(self) -> Self:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        attributes = attributes_of(self)
        if self.frozen:
            return frozen, (self.copy(), attributes)
        keys, values = columns(self)
        return empty, (type(self), self.key_type, self.value_type), (keys, values, attributes)

    def __setstate__(self, state: tuple[Any, Any, dict[str, Any]]) -> None:
        keys, values, attributes = state
        self._load_sorted(keys, values, FILL, True)
        set_attributes(self, attributes)

    def __repr__(self) -> str:
        length = len(self)
        types = self.key_type if self.value_type is None else f"{self.key_type} to {self.value_type}"
        state = ", frozen" if self.frozen else ""
        return f"<{type(self).__name__} of {length} {'entry' if length == 1 else 'entries'}, {types}{state}>"


def empty(cls: type[OrderedTree[Any, Any]], key_type: Any, value_type: Any) -> OrderedTree[Any, Any]:
    """An empty tree for what was pickled, of the chosen twin whichever has pickled it."""
    return cls._empty(key_type, value_type)


def frozen(tree: OrderedTree[Any, Any], attributes: dict[str, Any]) -> OrderedTree[Any, Any]:
    """The snapshot that was pickled."""
    snapshot = tree.snapshot()
    set_attributes(snapshot, attributes)
    return snapshot


def attributes_of(tree: OrderedTree[Any, Any]) -> dict[str, Any]:
    """What a subclass has added, in slots and in a __dict__; not what the twin has in its slots."""
    slots = [
        name
        for cls in type(tree).__mro__
        if issubclass(cls, OrderedTree)
        for name, member in vars(cls).items()
        if isinstance(member, MemberDescriptorType) and hasattr(tree, name)
    ]
    return {name: getattr(tree, name) for name in slots} | getattr(tree, "__dict__", {})


def set_attributes(tree: OrderedTree[Any, Any], attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        object.__setattr__(tree, name, value)


def after_all(prefix: Any) -> Any:
    """The least str or bytes that comes after all that begin with `prefix`; None: there is none."""
    if isinstance(prefix, bytes):
        head = prefix.rstrip(b"\xff")
        return head[:-1] + bytes((head[-1] + 1,)) if head else None
    text = prefix.rstrip("\U0010ffff")
    return text[:-1] + chr(ord(text[-1]) + 1) if text else None
