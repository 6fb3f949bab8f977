"""What a search found."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from penstock.search.explanation import Explanation

__all__ = ["Hit", "Hits"]


class Hit(NamedTuple):
    """A document that was found."""

    doc_id: int | str
    score: float


class Hits(Sequence[Hit]):
    """Documents that were found, best first; of equal scores the one that was added first.

    A sequence of `Hit`. `ids` and `scores` are the same as arrays, made when they are asked for; `id_list`
    and `score_list` are what the search itself gave.
    """

    __slots__ = ("explanations", "id_list", "score_list")

    def __init__(
        self,
        id_list: list[int | str],
        score_list: list[float],
        explanations: "list[Explanation] | None" = None,
    ) -> None:
        self.id_list = id_list
        self.score_list = score_list
        self.explanations = explanations
        """For each hit why it scores so, if the search was asked to explain; else None."""

    @property
    def ids(self) -> "NDArray[Any]":
        """(n,) int64; object, if ids are texts."""
        import numpy as np

        if self.id_list and isinstance(self.id_list[0], str):
            return np.array(self.id_list, object)
        return np.array(self.id_list, np.int64)

    @property
    def scores(self) -> "NDArray[Any]":
        """(n,) float64, descending."""
        import numpy as np

        return np.array(self.score_list, np.float64)

    def __len__(self) -> int:
        return len(self.id_list)

    def __iter__(self) -> Iterator[Hit]:
        return map(Hit, self.id_list, self.score_list)

    @overload
    def __getitem__(self, at: int) -> Hit: ...

    @overload
    def __getitem__(self, at: slice) -> "Hits": ...

    def __getitem__(self, at: int | slice) -> "Hit | Hits":
        if isinstance(at, slice):
            explained = None if self.explanations is None else self.explanations[at]
            return Hits(self.id_list[at], self.score_list[at], explained)
        return Hit(self.id_list[at], self.score_list[at])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hits):
            return NotImplemented
        return self.id_list == other.id_list and self.score_list == other.score_list

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} hits>"
