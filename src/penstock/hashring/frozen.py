"""What every frozen placement has besides its lookups: weights, shares, a form in bytes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import msgspec

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring.errors import InvalidSnapshot
from penstock.hashring.membership import Nodes, shown
from penstock.hashring.placement import Placement
from penstock.hashring.snapshot import dumped, fingerprint_of, loaded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Frozen", "HashName"]

HashName = str | Callable[[bytes], int]
"""A hash that KeyHash knows by name, or a callable."""

if TYPE_CHECKING:
    Base = Placement
else:
    Base = object  # what it is mixed into is a placement already, of whichever twin

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: its multiples spread evenly over the circle
MAX_SAMPLES = 10_000_000


class Frozen(Base):
    """A frozen placement that knows how to be built again.

    Two are equal when they place every key alike: same kind, hash, nodes, weights and settings.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """The name of it in snapshots."""

    content_type: ClassVar[type[msgspec.Struct]]
    """What a snapshot of it holds."""

    _weights: tuple[float, ...]

    if TYPE_CHECKING:  # what each kind defines

        def content(self) -> Any:
            """What it takes to build it again, of `content_type`."""

        @classmethod
        def from_content(cls, content: Any) -> Self:
            """Builds it; ValueError when a setting is not allowed."""

        def with_nodes(self, nodes: Nodes, /) -> Self:
            """Its settings with other nodes."""

        def with_node(self, name: str, weight: float = 1.0, /) -> Self:
            """It and one more node."""

        def without_node(self, name: str, /) -> Self:
            """It without one of its nodes."""

        def with_weight(self, name: str, weight: float, /) -> Self:
            """It with another weight for one of its nodes."""

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each node."""
        return dict(zip(self.nodes, self._weights, strict=True))

    def distribution(self, samples: int = 65_536) -> dict[str, float]:
        """The share of keys that each node gets, counted at `samples` positions spread evenly.

        Raises:
            ValueError: samples is not 1 to 10,000,000.
            TypeError: samples is no int.
        """
        positions = even_positions(samples)
        if not self.nodes:
            return {}
        import numpy as np

        counts = np.bincount(self.locate_many(positions), minlength=len(self.nodes))
        return dict(zip(self.nodes, (counts / samples).tolist(), strict=True))

    def to_bytes(self) -> bytes:
        """A versioned snapshot, from which `from_bytes` builds an equal one in any process.

        Raises:
            TypeError: the hash is a callable, which has no name that is known elsewhere.
        """
        if self.hash.function is not None:
            raise InvalidType("hash must have a name to be written, got a callable")
        return dumped(self.kind, self.content())

    @classmethod
    def from_bytes(cls, data: bytes, /) -> Self:
        """What `to_bytes` has written.

        Raises:
            ValueError: it is of another kind or version, damaged, or holds what is not allowed.
            TypeError: data is no bytes.
        """
        content = loaded(data, cls.kind, cls.content_type)
        try:
            return cls.from_content(content)
        except (ValueError, TypeError) as error:
            raise InvalidSnapshot(f"content of a snapshot must be allowed: {error}") from error

    def fingerprint(self) -> str:
        """16 hexadecimal digits, the same for equal placements: to be compared between processes.

        Raises:
            TypeError: the hash is a callable.
        """
        return fingerprint_of(self.to_bytes())

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.content() == other.content() and self.hash == other.hash)

    def __hash__(self) -> int:
        return hash((self.kind, self.nodes, self._weights))

    def __reduce__(self) -> Any:
        return restored, (type(self), self.content(), self.hash.function)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.nodes)} nodes>"


def restored(cls: type[Frozen], content: Any, function: Any) -> Any:
    """A pickled placement; a callable hash travels beside its content."""
    return cls.from_content(content if function is None else msgspec.structs.replace(content, hash=function))


def even_positions(samples: object) -> "NDArray[np.uint64]":
    """Positions that are spread evenly over the hash circle.

    Raises:
        ValueError: samples is out of its range.
        TypeError: samples is no int.
    """
    import numpy as np

    if isinstance(samples, bool) or not isinstance(samples, int):
        raise InvalidType(f"samples must be an int, got {type(samples).__name__}")
    if not 1 <= samples <= MAX_SAMPLES:
        raise InvalidValue(f"samples must be >= 1 and <= {MAX_SAMPLES}, got {shown(samples)}")
    return np.arange(samples, dtype=np.uint64) * np.uint64(GOLDEN)
