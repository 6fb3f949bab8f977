"""Plans: queries as an index of terms runs them, trees of nodes whose words are looked up as they are.

A document that a node matches has a score there:

    TermNode     holds the word in one of its fields                     its impact
    PhraseNode   holds the words one after the other, `slop` moves away  its impact
    AnyNode      at least `minimum` of the children match                sum of those that match
    AllNode      all children match (of none: no document)               sum of them
    ExceptNode   `child` matches, and none of `excluded`                 that of `child`
    MaskNode     its byte in the mask is not zero                        0
    ConstNode    `child` matches                                         `score`
    EveryNode    every document                                          0

`penstock.search.scoring` tells what an impact is. Whoever runs a plan checks it: at most `DEEPEST` levels and
`MOST_NODES` nodes, weights and scores from 0 to `GREATEST_WEIGHT`, weights of fields above 0 and up to that.
"""

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "DEEPEST",
    "GREATEST_WEIGHT",
    "MOST_NODES",
    "AllNode",
    "AnyNode",
    "ConstNode",
    "EveryNode",
    "ExceptNode",
    "MaskNode",
    "Node",
    "PhraseNode",
    "TermNode",
]

DEEPEST = 64
"""Levels that a plan can have."""

MOST_NODES = 65_536
"""Nodes that a plan can have."""

GREATEST_WEIGHT = 1e9
"""Greatest weight of a node or of a field, and greatest score of a `ConstNode`."""


class TermNode(NamedTuple):
    """A word, in one field or in several that count as one (BM25F).

    Attributes:
        words: (field, term, weight of the field) for each field, each field once.
        weight: boost, times how often the query has the word.
    """

    words: tuple[tuple[int, str, float], ...]
    weight: float = 1.0


class PhraseNode(NamedTuple):
    """Words of one field that follow one another.

    Word i at place p stands at p - i. The words' lists of p - i are walked together: with low and high the
    least and the greatest of their heads, if high - low <= slop and no two words stand at one place, the
    match counts 1 / (1 + high - low); then the list whose head is least (of equal ones the first) moves on;
    it ends where a list does. The sum, at most the length of the document, is the frequency of the phrase;
    its idf is the sum of those of its words.

    Attributes:
        field: number of the field.
        terms: the words in order; of none: no document.
        slop: how far apart from their places the words may stand, >= 0.
        weight: boost.
    """

    field: int
    terms: tuple[str, ...]
    slop: int = 0
    weight: float = 1.0


class AnyNode(NamedTuple):
    """At least `minimum` (1 or more) of the children."""

    minimum: int
    children: "tuple[Node, ...]"


class AllNode(NamedTuple):
    """All of the children."""

    children: "tuple[Node, ...]"


class ExceptNode(NamedTuple):
    """What `child` matches and none of `excluded` does."""

    child: "Node"
    excluded: "tuple[Node, ...]"


class MaskNode(NamedTuple):
    """Documents by a byte (or bool) for each live one, in the order of adding: not 0 where it matches."""

    mask: "Buffer"


class ConstNode(NamedTuple):
    """What `child` matches, with this score whatever that of `child` is."""

    child: "Node"
    score: float


class EveryNode(NamedTuple):
    """Every document."""


Node: TypeAlias = TermNode | PhraseNode | AnyNode | AllNode | ExceptNode | MaskNode | ConstNode | EveryNode
