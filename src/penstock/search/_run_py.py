"""Plans run over the postings of the pure-Python index: which documents match, and their scores.

Scores are the same to the last bit as those of csrc/search_run.c, in whatever order impacts are added: each
is rounded to a grid that all of their sums lie on (csrc/search_scorer.h).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from heapq import heapify, heapreplace, nlargest
from itertools import chain, compress
from math import frexp, ldexp, sqrt

from penstock.search._arguments import (
    MOST_PHRASE_TERMS,
    checked_field,
    checked_field_weight,
    checked_mask,
    checked_minimum,
    checked_query_term,
    checked_slop,
    checked_weight,
    deep_plan,
    large_plan,
    long_phrase,
    no_positions,
    no_words,
    repeated_field,
    wrong_node,
    wrong_node_part,
)
from penstock.search._postings_py import Document, Field
from penstock.search.plan import (
    DEEPEST,
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
from penstock.search.scoring import Scorer

__all__ = ["Run", "best", "phrase_frequency"]

LONG, PLAIN, CLASSIC = (
    4,
    5,
    6,
)  # numbers of formulas, as `Scorer.kernel` has them; those below are BM25's usual one


class Run:
    """One run of a plan. Without a scorer only the documents that match count; their scores are 0."""

    def __init__(
        self,
        fields: Sequence[Field],
        documents: Mapping[int, Document],
        positions: bool,
        scorer: Scorer | None,
    ) -> None:
        self.fields = fields
        self.documents = documents
        self.positions = positions
        self.scorer = scorer
        self.formula = scorer.kernel if scorer else (PLAIN, 0.0, 0.0, 0.0)
        self.grid = 0.0
        self.nodes = 0

    def scores(self, plan: Node, within: Set[int] | None) -> dict[int, float]:
        """The scores of documents that match, of those in `within` if that is given, by ordinal.

        Raises:
            QueryTooLarge, InvalidType, InvalidValue: the plan is not allowed.
        """
        most = self._checked(plan, 0.0, 1)  # the most that the plan can give
        self.grid = ldexp(1.0, frexp(most)[1] + 1)
        return self._scores(plan, within)

    # Checking -----------------------------------------------------------------------------------------------

    def _checked(self, node: Node, most: float, level: int) -> float:
        """Checks a node and those below it; `most`, and what they can give added to it, in order."""
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise large_plan()
        if level > DEEPEST:
            raise deep_plan()
        match node:
            case TermNode():
                self._check_term(node)
                most += self._most(self._weight(node))
            case PhraseNode():
                self._check_phrase(node)
                most += self._most(self._weight(node))
            case ConstNode():
                most += checked_weight("score", node.score)
            case MaskNode():
                checked_mask(node.mask, len(self.documents))
            case AnyNode():
                checked_minimum(node.minimum, 1)
            case AllNode() | ExceptNode() | EveryNode():
                pass
            case _:
                raise wrong_node(node)
        for child in children(node):
            most = self._checked(child, most, level + 1)
        return most

    def _check_term(self, node: TermNode) -> None:
        checked_weight("weight", node.weight)
        if not isinstance(node.words, tuple):
            raise wrong_node_part("words", node.words)
        if not node.words:
            raise no_words()
        seen = set()
        for word in node.words:
            if not isinstance(word, tuple) or len(word) != 3:
                raise wrong_node_part("word", word)
            field = checked_field(word[0], len(self.fields))
            checked_query_term(word[1])
            checked_field_weight(word[2])
            if field in seen:
                raise repeated_field(field)
            seen.add(field)

    def _check_phrase(self, node: PhraseNode) -> None:
        checked_weight("weight", node.weight)
        checked_field(node.field, len(self.fields))
        checked_slop(node.slop)
        if not isinstance(node.terms, tuple):
            raise wrong_node_part("terms", node.terms)
        if len(node.terms) > MOST_PHRASE_TERMS:
            raise long_phrase(len(node.terms))
        for term in node.terms:
            checked_query_term(term)
        if not self.positions:
            raise no_positions()

    # Weights ------------------------------------------------------------------------------------------------

    def _weight(self, node: TermNode | PhraseNode) -> float:
        """Boost times idf times what the scorer multiplies by; 0 if no document can match."""
        if self.scorer is None:
            return 0.0
        idf, documents = self.scorer.idf, len(self.documents)
        if isinstance(node, TermNode):
            df = max(self.fields[field].doc_freq(term) for field, term, _ in node.words)
            return node.weight * idf(df, documents) * self.scorer.factor
        dfs = [self.fields[node.field].doc_freq(term) for term in node.terms]
        whole = 0.0
        for df in dfs:  # not sum(), which rounds in another way from Python 3.12 on
            whole += idf(df, documents)
        return node.weight * whole * self.scorer.factor if all(dfs) else 0.0

    def _most(self, weight: float) -> float:
        return weight * (1 + self.scorer.added) if self.scorer else 0.0

    def _average(self, field: int) -> float:
        return self.fields[field].words / len(self.documents)

    def _impacts(
        self, weight: float, average: float, freqs: Iterable[float], lengths: Iterable[int | float]
    ) -> list[float]:
        """What a leaf is worth to documents, for their frequencies and lengths."""
        if self.scorer is None or weight == 0:
            return [0.0 for _ in freqs]
        variant, k1, b, delta = self.formula
        grid, added = self.grid, weight * self.scorer.added
        pairs = zip(freqs, lengths, strict=True)
        if variant == PLAIN:
            return [(weight * (f / n) + grid) - grid for f, n in pairs]
        if variant == CLASSIC:
            return [(weight * sqrt(f / n) + grid) - grid for f, n in pairs]
        if variant == LONG:
            flat, slope = 1 - b, b / average if average else 0.0
            shares = (f / (flat + slope * n) + delta for f, n in pairs)
            return [(weight * (x / (x + k1)) + grid) - grid for x in shares]
        flat, slope = k1 * (1 - b), k1 * b / average if average else 0.0
        if added:
            return [(weight * (f / (f + (flat + slope * n))) + added + grid) - grid for f, n in pairs]
        return [(weight * (f / (f + (flat + slope * n))) + grid) - grid for f, n in pairs]

    # Nodes --------------------------------------------------------------------------------------------------

    def _scores(self, node: Node, within: Set[int] | None) -> dict[int, float]:
        """Scores of documents that match, of those in `within` if that is given."""
        match node:
            case TermNode():
                return self._term(node, within)
            case PhraseNode():
                return self._phrase(node, within)
            case AnyNode():
                return self._any(node, within)
            case AllNode():
                return self._all(node, within)
            case ExceptNode():
                scores = self._scores(node.child, within)
                for excluded in node.excluded:
                    for doc in self._scores(excluded, scores.keys()):
                        del scores[doc]
                return scores
            case MaskNode():
                view = checked_mask(node.mask, len(self.documents))
                return dict.fromkeys(common(set(compress(self.documents, view)), within), 0.0)
            case ConstNode():
                score = (node.score + self.grid) - self.grid if self.scorer else 0.0
                return dict.fromkeys(self._scores(node.child, within), score)
            case EveryNode():
                return dict.fromkeys(common(self.documents.keys(), within), 0.0)

    def _term(self, node: TermNode, within: Set[int] | None) -> dict[int, float]:
        weight = self._weight(node)
        if len(node.words) == 1 and node.words[0][2] == 1:
            field, term, _ = node.words[0]
            postings = self.fields[field].postings.get(term)
            if postings is None:
                return {}
            freqs, lengths = postings.freqs, self.fields[field].lengths
            docs = common(freqs.keys(), within)
            values = freqs.values() if within is None else [freqs[doc] for doc in docs]
            impacts = self._impacts(weight, self._average(field), values, map(lengths.__getitem__, docs))
            return dict(zip(docs, impacts, strict=True))
        return self._term_in_fields(node, weight, within)

    def _term_in_fields(self, node: TermNode, weight: float, within: Set[int] | None) -> dict[int, float]:
        """A word in fields that count as one text, in which each is there as often as it weighs."""
        average = 0.0
        freqs: dict[int, float] = {}
        for field, term, share in node.words:
            average += share * self._average(field) if self.documents else 0.0
            postings = self.fields[field].postings.get(term)
            if postings is not None:
                for doc in common(postings.freqs.keys(), within):
                    freqs[doc] = freqs.get(doc, 0.0) + share * postings.freqs[doc]
        lengths = [0.0] * len(freqs)
        for field, _, share in node.words:
            of_field = self.fields[field].lengths
            lengths = [length + share * of_field[doc] for length, doc in zip(lengths, freqs, strict=True)]
        impacts = self._impacts(weight, average, freqs.values(), lengths)
        return dict(zip(freqs, impacts, strict=True))

    def _phrase(self, node: PhraseNode, within: Set[int] | None) -> dict[int, float]:
        field = self.fields[node.field]
        found = [field.postings.get(term) for term in node.terms]
        words = [postings for postings in found if postings is not None]
        if not found or len(words) < len(found):
            return {}
        docs = common(min((postings.freqs for postings in words), key=len).keys(), within)
        for postings in words:
            docs = docs & postings.freqs.keys()
        for term, times in Counter(node.terms).items():
            if times > 1:  # no two of its words stand at one place
                freq_of = field.postings[term].freqs
                docs = {doc for doc in docs if freq_of[doc] >= times}
        freqs = {
            doc: phrase_frequency(field.places(doc, node.terms), node.slop, field.lengths[doc])
            for doc in docs
        }
        freqs = {doc: freq for doc, freq in freqs.items() if freq}
        lengths = [field.lengths[doc] for doc in freqs]
        impacts = self._impacts(self._weight(node), self._average(node.field), freqs.values(), lengths)
        return dict(zip(freqs, impacts, strict=True))

    def _any(self, node: AnyNode, within: Set[int] | None) -> dict[int, float]:
        if node.minimum > len(node.children):
            return {}
        if node.minimum == len(node.children):
            return self._all(AllNode(node.children), within)
        found = [self._scores(child, within) for child in node.children]
        found.sort(
            key=len, reverse=True
        )  # sums are the same in any order, and the greatest need not be added
        scores = dict(found[0])
        score_of = scores.get
        for other in found[1:]:
            for doc, score in other.items():
                scores[doc] = score_of(doc, 0.0) + score
        if node.minimum == 1:
            return scores
        matched = Counter(chain.from_iterable(found))
        return {doc: score for doc, score in scores.items() if matched[doc] >= node.minimum}

    def _all(self, node: AllNode, within: Set[int] | None) -> dict[int, float]:
        scores: dict[int, float] | None = None
        for child in sorted(node.children, key=self._at_most):
            found = self._scores(child, within if scores is None else scores.keys())
            scores = found if scores is None else {doc: scores[doc] + score for doc, score in found.items()}
        return scores or {}

    def _at_most(self, node: Node) -> int:
        """A bound of how many documents a node matches, so that few are looked at first."""
        match node:
            case TermNode():
                return sum(self.fields[field].doc_freq(term) for field, term, _ in node.words)
            case PhraseNode():
                return min((self.fields[node.field].doc_freq(term) for term in node.terms), default=0)
            case AnyNode():
                return sum(map(self._at_most, node.children))
            case AllNode():
                return min(map(self._at_most, node.children), default=0)
            case ExceptNode() | ConstNode():
                return self._at_most(node.child)
            case _:
                return len(self.documents)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes below a node, in order."""
    match node:
        case AnyNode() | AllNode():
            below = node.children
            name = "children"
        case ExceptNode():
            below, name = node.excluded, "excluded"
        case ConstNode():
            return (node.child,)
        case _:
            return ()
    if not isinstance(below, tuple):
        raise wrong_node_part(name, below)
    return (node.child, *below) if isinstance(node, ExceptNode) else below


def common(docs: Set[int], within: Set[int] | None) -> Set[int]:
    """Those of `docs` that are in `within` too; `docs` itself if that is None."""
    return docs if within is None else docs & within


def phrase_frequency(places: Sequence[Sequence[int]], slop: int, length: int) -> float:
    """How often a document has a phrase: `PhraseNode` tells.

    Args:
        places: (words,) where each word stands, ascending, at least one place for each.
        slop: how far apart from their places the words may stand.
        length: words of the document.
    """
    if slop == 0:
        starts = [[place - word for place in of_word] for word, of_word in enumerate(places)]
        return float(min(len(set(starts[0]).intersection(*starts[1:])), length))
    later = [iter(of_word) for of_word in places]
    heads = [(next(of_word) - word, word) for word, of_word in enumerate(later)]
    taken = dict(Counter(start + word for start, word in heads))  # places where the heads stand
    high = max(heads)[0]
    heapify(heads)
    frequency = 0.0
    while True:
        low, word = heads[0]
        if high - low <= slop and len(taken) == len(places):  # no place is taken by two words
            frequency += 1 / (1 + high - low)
        place = next(later[word], None)
        if place is None:
            return min(frequency, float(length))
        left = low + word
        if taken[left] == 1:
            del taken[left]
        else:
            taken[left] -= 1
        taken[place] = taken.get(place, 0) + 1
        heapreplace(heads, (place - word, word))
        if place - word > high:
            high = place - word


def best(scores: Mapping[int, float], k: int) -> list[int]:
    """The k documents of the greatest scores, of equal ones the first."""
    if k == 0:
        return []
    docs: Iterable[int] = scores
    if k < len(scores):
        least = nlargest(k, scores.values())[-1]
        docs = [doc for doc, score in scores.items() if score >= least]
    return sorted(docs, key=lambda doc: (-scores[doc], doc))[:k]
