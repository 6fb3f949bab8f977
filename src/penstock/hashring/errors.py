"""What a ring of nodes refuses."""

from penstock.errors import InvalidValue, PenstockError

__all__ = ["DuplicateNode", "EmptyRing", "InvalidSnapshot", "UnknownNode"]


class EmptyRing(PenstockError, LookupError):
    """There is no node that could get a key."""


class UnknownNode(PenstockError, LookupError):
    """No node has that name."""


class DuplicateNode(InvalidValue):
    """A node of that name is there already."""


class InvalidSnapshot(InvalidValue):
    """The bytes are no snapshot, one of another kind or version, or damaged."""
