"""Reciprocal rank fusion: one ranking out of several, of which only the order counts."""

from collections.abc import Iterable

from penstock.errors import InvalidType, InvalidValue, shown
from penstock.search.hits import Hit, Hits

__all__ = ["rrf"]

Ranking = Hits | Iterable[Hit] | Iterable[tuple[int | str, float]] | Iterable[int | str]


def rrf(*rankings: Ranking, k: float = 60) -> list[Hit]:
    """The documents of all rankings by the sum of 1 / (k + rank), best first.

    For hits of words beside those of vectors, say, whose scores cannot be added up.

    Args:
        rankings: each best first: `Hits`, hits, (id, score) pairs, ids, or an array of ids. An id that comes
            again in a ranking counts once, at its first place.
        k: how much ranks at the top stand out; the less, the more. > 0.

    Returns:
        Every document once, with its sum for a score; of equal ones the one that came first, ranking by
        ranking.

    Raises:
        InvalidType: a ranking is none.
        InvalidValue: k is not above 0.

    Example:
        >>> rrf(index.search("cheap flights"), nearest_ids)[:10]

    Source: Cormack, Clarke and Buettcher, Reciprocal Rank Fusion Outperforms Condorcet, SIGIR 2009.
    """
    if isinstance(k, bool) or not isinstance(k, int | float):
        raise InvalidType(f"k must be a number, got {shown(k)}")
    if not k > 0:
        raise InvalidValue(f"k must be > 0, got {shown(k)}")
    scores: dict[int | str, float] = {}
    for ranking in rankings:
        for rank, doc_id in enumerate(dict.fromkeys(ids_of(ranking)), 1):
            scores[doc_id] = scores.get(doc_id, 0.0) + 1 / (k + rank)
    return [Hit(doc_id, scores[doc_id]) for doc_id in sorted(scores, key=scores.__getitem__, reverse=True)]


def ids_of(ranking: object) -> list[int | str]:
    """The ids of a ranking, in order."""
    if isinstance(ranking, Hits):
        return ranking.id_list
    tolist = getattr(ranking, "tolist", None)
    if callable(tolist):
        ranking = tolist()
    if isinstance(ranking, str | bytes) or not isinstance(ranking, Iterable):
        raise InvalidType(f"ranking must be hits or ids, got {shown(ranking)}")
    return [each[0] if isinstance(each, tuple | list) else each for each in ranking]
