"""What an ordered tree refuses."""

from penstock.errors import InvalidValue, PenstockError

__all__ = [
    "BrokenTree",
    "FrozenTree",
    "KeyOverflow",
    "TreeChanged",
    "TreeFileError",
    "TreeFull",
    "UnsortedKeys",
]


class KeyOverflow(PenstockError, OverflowError):
    """A key, a bound of a range or a value lies outside what its type can hold; nothing is ever wrapped."""


class TreeFull(PenstockError, OverflowError):
    """A tree has as many entries as it can have, 2^32 - 2."""


class UnsortedKeys(InvalidValue):
    """Keys that were said to be sorted are not."""


class TreeChanged(PenstockError, RuntimeError):
    """The entries of a tree changed while it was iterated over, or while its keys were compared."""


class FrozenTree(PenstockError, TypeError):
    """A snapshot was asked to change; its `copy()` can."""


class BrokenTree(PenstockError, AssertionError):
    """`check()` found a rule of the structure that does not hold: keys lie about their order, or a bug."""


class TreeFileError(PenstockError, ValueError):
    """A file that holds no tree, one of another kind or version, or a damaged one."""
