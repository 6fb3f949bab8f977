"""How the members of a placement change: all classes whose nodes come and go do it alike."""

from collections.abc import Callable
from typing import Any, ClassVar, Generic, Self, TypeVar

from penstock.errors import InvalidType
from penstock.hashring.frozen import Frozen
from penstock.hashring.membership import Nodes, checked_nodes
from penstock.hashring.placement import Lookups

__all__ = ["Changing"]


F = TypeVar("F", bound=Frozen)


class Changing(Lookups, Generic[F]):
    """A placement whose nodes come and go while threads look keys up.

    A change makes a new frozen placement and then exchanges the current one for it; changes that meet are
    made one after the other, none is lost, and no lookup ever waits. No lock is held while a hash of the
    caller's own runs.
    """

    __slots__ = ()

    frozen: ClassVar[type[Frozen]]
    """The class of its snapshots."""

    @classmethod
    def of(cls, snapshot: Any, /) -> Self:
        """One that begins with the members of a snapshot, and with its settings."""
        if not isinstance(snapshot, cls.frozen):
            raise InvalidType(f"snapshot must be a {cls.frozen.__name__}, got {type(snapshot).__name__}")
        placement = cls.__new__(cls)
        Lookups.__init__(placement, snapshot)
        return placement

    @classmethod
    def from_bytes(cls, data: bytes, /) -> Self:
        """One that begins with a snapshot that `to_bytes` has written.

        Raises:
            ValueError: it is of another kind or version, damaged, or holds what is not allowed.
            TypeError: data is no bytes.
        """
        return cls.of(cls.frozen.from_bytes(data))

    def snapshot(self) -> F:
        """The current members as a frozen placement: hashable, and the same for ever."""
        return self._current  # type: ignore[return-value]

    def add_node(self, name: str, weight: float = 1.0) -> None:
        """Adds a node; it takes its share of keys from all others.

        Args:
            name: of at most 1,024 bytes.
            weight: its share compared with that of others, 1e-6 to 1e6.

        Raises:
            ValueError: it is there already, or an argument is out of its range; nothing changed.
            TypeError: an argument is of another type; nothing changed.
        """
        self._change(lambda current: current.with_node(name, weight))

    def remove_node(self, name: str) -> None:
        """Removes a node; its keys go to the others.

        Raises:
            LookupError: no node has that name; nothing changed.
        """
        self._change(lambda current: current.without_node(name))

    def set_weight(self, name: str, weight: float) -> None:
        """Gives a node another weight.

        Raises:
            LookupError: no node has that name; nothing changed.
            ValueError: the weight is out of its range; nothing changed.
            TypeError: the weight is no number; nothing changed.
        """
        self._change(lambda current: current.with_weight(name, weight))

    def update(self, nodes: Nodes) -> None:
        """Exchanges all nodes at once, as one change.

        Args:
            nodes: names, or a mapping of name to weight, of all nodes from now on.

        Raises:
            ValueError, TypeError: as for the constructor; nothing changed.
        """
        weights = dict(zip(*checked_nodes(nodes), strict=True))  # once: the change may have to be made again
        self._change(lambda current: current.with_nodes(weights))

    def _change(self, change: Callable[[F], F]) -> None:
        while True:
            current: Any = self._current
            if self._replace(current, change(current)):
                return

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each node."""
        return self.snapshot().weights

    def distribution(self, samples: int = 65_536) -> dict[str, float]:
        """The share of keys that each node gets, as its snapshot says."""
        return self.snapshot().distribution(samples)

    def fingerprint(self) -> str:
        """16 hexadecimal digits, the same for equal members and settings: compare them between processes.

        Raises:
            TypeError: the hash is a callable.
        """
        return self.snapshot().fingerprint()

    def to_bytes(self) -> bytes:
        """A versioned snapshot, from which `from_bytes` builds an equal one in any process.

        Raises:
            TypeError: the hash is a callable.
        """
        return self.snapshot().to_bytes()

    def __reduce__(self) -> Any:
        return type(self).of, (self.snapshot(),)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} nodes>"
