"""From a query to a plan: words are taken apart, prefixes and near words looked up, ranges made masks.

Where several fields are searched, those of one analyzer count as one text, in which a field's words are
there as often as its boost says (BM25F). Fields of different analyzers are searched each on its own, and
scores added up.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from penstock.errors import InvalidType, InvalidValue, shown
from penstock.search._arguments import MOST_PHRASE_TERMS, MOST_QUERY_WORDS, checked_int
from penstock.search.analyzer import Analyzer
from penstock.search.errors import QueryTooLarge
from penstock.search.fields import Layout
from penstock.search.inverted_index import TermIndex
from penstock.search.plan import (
    GREATEST_WEIGHT,
    MOST_NODES,
    AllNode,
    AnyNode,
    ConstNode,
    EveryNode,
    ExceptNode,
    MaskNode,
    Node,
    PhraseNode,
    TermNode,
)
from penstock.search.query import (
    And,
    Boost,
    ConstScore,
    Everything,
    Fuzzy,
    Match,
    Maybe,
    Not,
    Or,
    Phrase,
    Prefix,
    Query,
    Range,
    Term,
    leaves,
)
from penstock.search.query_parser import number_of

__all__ = [
    "MOST_EXPANDED",
    "MOST_EXPANSIONS",
    "MOST_PHRASES",
    "Expansion",
    "has_range",
    "minimum_of",
    "near_weight",
    "word_of",
]

MOST_EXPANSIONS = 1_024
"""Words of the index that one prefix or near word stands for at the most."""

MOST_EXPANDED = 64
"""Prefixes and near words that a query can have."""

MOST_PHRASES = 128
"""Phrases that a query can have; each looks at the places of its words in all documents that have them."""

PIECE = 64
"""Words of a phrase that are looked for as one; walking through a phrase takes the square of them."""

NOTHING = AnyNode(1, ())

Group = tuple[Analyzer, list[tuple[int, float]]]


class Expansion:
    """Makes plans for one search of one index.

    Args:
        terms: the index of terms.
        layout: its fields.
        positions: whether it keeps positions.
        weights: fields to search, with their boosts.
    """

    __slots__ = ("expanded", "groups", "layout", "nodes", "phrases", "positions", "terms", "weights")

    def __init__(
        self, terms: TermIndex, layout: Layout, positions: bool, weights: Mapping[int, float]
    ) -> None:
        self.terms = terms
        self.layout = layout
        self.positions = positions
        self.weights = weights
        self.groups = layout.groups(weights)
        self.nodes = 0
        self.expanded = 0
        self.phrases = 0

    def plan(self, query: Query) -> Node:
        """The plan for a query.

        Raises:
            QueryTooLarge: it stands for too many words.
            UnknownField: it names a field that there is not.
            InvalidValue: it asks for what the index does not keep.
        """
        return self.node(query, 1.0)

    def words(self, words: str | Sequence[str], minimum: int) -> Node:
        """The plan for the words of a text, or words as they are: at least `minimum` of them, 0 for all."""
        found = []
        for analyzer, fields in self.groups:
            of_group = analyzer.tokens(words) if isinstance(words, str) else words
            nodes = self.each_word(of_group, fields, 1.0)
            found.append(AnyNode(minimum or max(len(nodes), 1), nodes))
        return any_of(found)

    # Queries of queries

    def node(self, query: Query, boost: float) -> Node:
        """A query as a node. boost: by which its scores are multiplied; 0 where they do not matter."""
        match query:
            case And():
                return self.all(query, boost)
            case Or(clauses=clauses, minimum=minimum):
                children = [self.node(clause, boost) for clause in clauses]
                return any_of(children) if minimum == 1 else AnyNode(minimum, tuple(children))
            case Not(clause=clause):
                return ExceptNode(EveryNode(), (self.node(clause, 0.0),))
            case Maybe(clause=clause):
                return AnyNode(1, (self.node(clause, boost), EveryNode()))
            case Boost(clause=clause, factor=factor):
                return self.node(clause, multiplied(boost, factor))
            case ConstScore(clause=clause, score=score):
                return ConstNode(self.node(clause, 0.0), multiplied(boost, score))
            case _:
                self.count(1)
                return self.leaf(query, boost)

    def all(self, query: And, boost: float) -> Node:
        """What matches all clauses, those that must not taken away."""
        children: list[Node] = []
        excluded: list[Node] = []
        for clause in query.clauses:
            if isinstance(clause, Not):
                excluded.append(self.node(clause.clause, 0.0))
                continue
            child = self.node(clause, boost)
            children += child.children if isinstance(child, AllNode) else (child,)
        found: Node = (
            EveryNode() if not children else children[0] if len(children) == 1 else AllNode(tuple(children))
        )
        return ExceptNode(found, tuple(excluded)) if excluded else found

    # Leaves

    def leaf(self, query: Query, boost: float) -> Node:
        """A clause that holds no others."""
        match query:
            case Match(text=text, field=name):
                if name in self.layout.columns:
                    return self.equal(text, name)
                return any_of(
                    any_of(self.each_word(analyzer.tokens(text), fields, boost))
                    for analyzer, fields in self.groups_of(name)
                )
            case Term(term=term, field=name):
                if name in self.layout.columns:
                    return self.equal(term, name)
                return any_of(self.term(term, fields, boost) for _, fields in self.groups_of(name))
            case Phrase():
                self.phrases += 1
                if self.phrases > MOST_PHRASES:
                    raise QueryTooLarge(f"query must have at most {MOST_PHRASES} phrases, got more")
                return any_of(self.phrase(query, group, boost) for group in self.groups_of(query.field))
            case Prefix():
                return self.prefix(query, boost)
            case Fuzzy():
                return self.fuzzy(query, boost)
            case Range():
                return self.range(query)
            case Everything():
                return EveryNode()
        raise InvalidValue(f"query must be made of the kinds in penstock.search, got {shown(query)}")

    def groups_of(self, name: str | None) -> list[Group]:
        """The fields to look in: the one that a clause names, or all that are searched."""
        if name is None:
            return self.groups
        number = self.layout.number(name)
        weight = self.weights.get(number, self.layout.boosts[number])
        return [(self.layout.analyzers[number], [(number, weight)])]

    def term(self, term: str, fields: Sequence[tuple[int, float]], boost: float) -> TermNode:
        """A word in fields that count as one."""
        return TermNode(tuple([(number, term, weight) for number, weight in fields]), boost)

    def each_word(
        self, words: Iterable[str], fields: Sequence[tuple[int, float]], boost: float
    ) -> tuple[TermNode, ...]:
        """A node for each different word, that weighs as often as it comes."""
        freqs = list(islice(Counter(words).items(), MOST_QUERY_WORDS))
        self.count(len(freqs))
        return tuple([self.term(word, fields, multiplied(boost, freq)) for word, freq in freqs])

    def phrase(self, query: Phrase, group: Group, boost: float) -> Node:
        """Words one after the other, in any of the fields."""
        analyzer, fields = group
        words = tuple(analyzer.tokens(query.text)[:MOST_PHRASE_TERMS])
        if not words:
            return NOTHING
        if len(words) == 1:
            return self.term(words[0], fields, boost)
        if not self.positions:
            raise InvalidValue(
                f"index must be made with positions=True to look for phrases, got {shown(query.text)}: "
                "And(Match(word), ...) asks for its words in any order"
            )
        self.count(len(fields) * len(words))
        return any_of(self.phrase_in(field, words, query.slop, boost) for field in fields)

    def phrase_in(self, field: tuple[int, float], words: tuple[str, ...], slop: int, boost: float) -> Node:
        """A phrase in one field; one so long that walking through it would take its time, in pieces."""
        number, weight = field
        pieces = Counter(words[start : start + PIECE] for start in range(0, len(words), PIECE))
        nodes = [
            PhraseNode(number, piece, slop, multiplied(multiplied(boost, weight), times))
            if len(piece) > 1
            else self.term(piece[0], [field], multiplied(boost, times))
            for piece, times in pieces.items()  # each once: of one word over and over they are the same
        ]
        return nodes[0] if len(nodes) == 1 else AllNode(tuple(nodes))

    def prefix(self, query: Prefix, boost: float) -> Node:
        """Any of the words that begin so, for a constant score."""
        self.expand()
        found: list[Node] = []
        groups = self.groups_of(query.field)
        most = MOST_EXPANSIONS // sum(len(fields) for _, fields in groups)
        for analyzer, fields in groups:
            prefix = analyzer.normalized(query.prefix)
            for number, _ in fields:  # each alone: in how many a word is does not matter
                words = self.terms.terms(number, prefix, most)
                self.count(len(words))
                found += [TermNode(((number, word, 1.0),), 0.0) for word, _ in words]
        return ConstNode(AnyNode(1, tuple(found)), boost)

    def fuzzy(self, query: Fuzzy, boost: float) -> Node:
        """Any of the words near one, each with its weight."""
        self.expand()
        found: list[Node] = []
        groups = self.groups_of(query.field)
        most = MOST_EXPANSIONS // sum(len(fields) for _, fields in groups)
        for analyzer, fields in groups:
            word = word_of(analyzer, query.word)
            near: dict[str, float] = {}
            for number, _ in fields:
                for term, _, distance in self.terms.near_terms(number, word, query.distance, 0, most):
                    near[term] = near_weight(term, distance)
            self.count(len(near))
            found += [self.term(term, fields, boost * weight) for term, weight in near.items() if weight > 0]
        return any_of(found)

    def range(self, query: Range) -> MaskNode:
        """Which documents there are now have a number in the range."""
        number, column = self.layout.column(query.column)
        ends = (query.include_low, query.include_high)
        values = column.column(self.terms.cells(number))
        return MaskNode(column.within(values, query.low, query.high, ends).tobytes())

    def equal(self, text: str, name: str) -> Node:
        """Documents whose number in a column is what a text says."""
        try:
            number = number_of(text)
        except ValueError:
            raise InvalidValue(
                f"{name} must be asked for a number or a range such as {name}:[10 TO 20], got {shown(text)}"
            ) from None
        return self.range(Range(name, number, number))

    # Bounds

    def count(self, nodes: int) -> None:
        """Refuses a query that stands for too much before it is built."""
        self.nodes += nodes
        if self.nodes > MOST_NODES // 2:  # those that join them are fewer
            raise QueryTooLarge(f"query must stand for at most {MOST_NODES // 2} words, got more")

    def expand(self) -> None:
        """Refuses too many clauses of which each goes through the words of the index."""
        self.expanded += 1
        if self.expanded > MOST_EXPANDED:
            raise QueryTooLarge(f"query must have at most {MOST_EXPANDED} prefixes and near words, got more")


def any_of(children: Iterable[Node]) -> Node:
    """At least one of the children; those of which one must match anyway are taken in."""
    found: list[Node] = []
    for child in children:
        found += child.children if isinstance(child, AnyNode) and child.minimum == 1 else (child,)
    return found[0] if len(found) == 1 else AnyNode(1, tuple(found))


def word_of(analyzer: Analyzer, text: str) -> str:
    """A text as the one word that it should be."""
    words = analyzer.tokens(text)
    return words[0] if len(words) == 1 else analyzer.normalized(text)


def near_weight(term: str, distance: int) -> float:
    """How much a word counts that so many edits away; not above 0: not at all."""
    return 1.0 - distance / len(term) if term else 0.0


def multiplied(boost: float, factor: float) -> float:
    """A boost within another, at most as great as a plan may have it: no query fails for that."""
    return min(boost * factor, GREATEST_WEIGHT)


# Queries -------------------------------------------------------------------------------------------------


def minimum_of(query: object, mode: str | int) -> int:
    """How many words must match, 0 for all of them; refuses what is no query."""
    if isinstance(query, Query):
        if mode != "or":
            raise InvalidValue(f"mode must be left out where a Query says what must match, got {shown(mode)}")
        return 1
    if not isinstance(query, Sequence) or isinstance(query, bytes | bytearray | memoryview):
        raise InvalidType(f"query must be a str, a sequence of words or a Query, got {shown(query)}")
    if mode == "or":
        return 1
    if mode == "and":
        return 0
    if isinstance(mode, bool) or not isinstance(mode, int):
        raise InvalidValue(f'mode must be "or", "and" or how many words must match, got {shown(mode)}')
    return checked_int("mode", mode, 1)


def has_range(query: object) -> bool:
    """Whether a query asks for numbers, which become a mask of the documents that there are."""
    return isinstance(query, Query) and any(
        isinstance(leaf, Range) or getattr(leaf, "field", None) is not None
        for leaf in leaves(query, wanted=False)
    )
