"""What moves when one ring takes the place of another, as exact ranges of hashes."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

if TYPE_CHECKING:
    from penstock.hashring.hash_ring import FrozenRing

__all__ = ["Move", "RingDiff", "ring_diff"]


class Move(NamedTuple):
    """The keys whose hash lies in a range go from one node to another."""

    start: int
    """The first hash of the range."""

    end: int
    """The last hash of the range."""

    source: str | None
    """The node that had them; None if there was none."""

    target: str | None
    """The node that gets them; None if there is none."""


class RingDiff(Sequence[Move]):
    """All ranges that move between two rings, ascending; none touch that move alike.

    `str` gives a table of what goes from where to where.

    Attributes:
        fraction: the share of the hash circle that moves, 0 to 1.
    """

    def __init__(self, moves: Sequence[Move], bits: int) -> None:
        self._moves = tuple(moves)
        self._circle = 1 << bits
        self.fraction = sum(move.end - move.start + 1 for move in moves) / self._circle

    @overload
    def __getitem__(self, index: int) -> Move: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Move]: ...

    def __getitem__(self, index: Any) -> Any:
        return self._moves[index]

    def __len__(self) -> int:
        return len(self._moves)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RingDiff):
            return NotImplemented
        return (self._moves, self._circle) == (other._moves, other._circle)

    def __hash__(self) -> int:
        return hash(self._moves)

    def __repr__(self) -> str:
        return f"<RingDiff of {len(self)} ranges, {self.fraction:.3%} of all hashes>"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def between(self) -> dict[tuple[str | None, str | None], float]:
        """The share of the circle that goes from one node to another, for each such pair."""
        hashes: dict[tuple[str | None, str | None], int] = {}
        for start, end, source, target in self._moves:
            hashes[source, target] = hashes.get((source, target), 0) + end - start + 1
        return {pair: count / self._circle for pair, count in hashes.items()}

    def _lines(self) -> Iterator[str]:
        yield f"{self.fraction:.3%} of all hashes move, in {len(self)} ranges"
        shares = sorted(self.between().items(), key=lambda item: -item[1])
        for (source, target), share in shares:
            yield f"  {share:8.3%}  {label(source):>28} -> {label(target)}"


def label(node: str | None) -> str:
    if node is None:
        return "(none)"
    return node if len(node) <= 28 else f"{node[:25]}..."


def ring_diff(old: "FrozenRing", new: "FrozenRing", bits: int) -> RingDiff:
    """The ranges of hashes, of `bits` bits, whose node is not the same in both rings."""
    last = (1 << bits) - 1
    ends = sorted({point for ring in (old, new) for point, _ in ring.points()} | {last})
    moves: list[Move] = []
    for start, end, source, target in zip(
        [0, *(end + 1 for end in ends)], ends, owners_at(old, ends), owners_at(new, ends), strict=False
    ):
        if source == target:
            continue
        if moves and moves[-1].end + 1 == start and moves[-1][2:] == (source, target):
            moves[-1] = moves[-1]._replace(end=end)
        else:
            moves.append(Move(start, end, source, target))
    return RingDiff(moves, bits)


def owners_at(ring: "FrozenRing", hashes: list[int]) -> list[str | None]:
    """The node of each hash."""
    if not len(ring):
        return [None] * len(hashes)
    import numpy as np

    positions = np.array(hashes, np.uint64) << np.uint64(64 - ring.hash.bits)
    return [ring.nodes[index] for index in ring.locate_many(positions).tolist()]
