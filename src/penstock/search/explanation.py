"""Why a document scores as it does: the numbers that went into it, down to the words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import frexp, ldexp

from penstock.search._run_py import children, phrase_frequency
from penstock.search.inverted_index import TermIndex
from penstock.search.plan import (
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

__all__ = ["Explanation", "explained"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A number and where it comes from; `str` shows the tree.

    Example:
        >>> print(index.explain("machine learning", 2))
        1.5297 sum of 2 of 2
          0.7648 machine in text
            0.8755 weight = boost 1 * idf 0.8755 of 2 among 5 documents
            0.8736 saturation of frequency 2 among 16 words, 14.8 on average
        ...
    """

    score: float
    """What this part gives: exactly the score of the hit at the top, a number of the formula further down."""
    text: str
    """What it is."""
    matched: bool = True
    """Whether the document matches this part."""
    details: "tuple[Explanation, ...]" = ()
    """What it is made of."""

    def __str__(self) -> str:
        return "\n".join(self._lines(0))

    def _lines(self, level: int) -> Iterator[str]:
        amount = f"{self.score:.4f}" if self.matched else "  no  "
        yield f"{'  ' * level}{amount} {self.text}"
        for each in self.details:
            yield from each._lines(level + 1)


def explained(
    terms: TermIndex, names: Sequence[str], scorer: Scorer, plan: Node, doc_id: int | str
) -> Explanation:
    """Why a plan gives a document the score that it gives.

    Args:
        terms: the index.
        names: of its fields.
        scorer: the scorer of the search.
        plan: what was searched for.
        doc_id: the document.

    Raises:
        UnknownDocument: there is no such document.
    """
    terms.frequency(doc_id, 0, "")  # which refuses an unknown document, whatever the plan
    return Explainer(terms, names, scorer, plan, doc_id).node(plan)


class Explainer:
    """Goes through a plan for one document."""

    def __init__(
        self, terms: TermIndex, names: Sequence[str], scorer: Scorer, plan: Node, doc_id: int | str
    ) -> None:
        self.terms = terms
        self.names = names
        self.scorer = scorer
        self.doc_id = doc_id
        self.documents = len(terms)
        self.at: int | None = (
            None  # where the document stands in the order of adding; found when first needed
        )
        most = 0.0  # that the plan can give, which the grid of scores follows from: csrc/search_scorer.h
        for node in nodes_of(plan):
            if isinstance(node, TermNode | PhraseNode):
                most += self.weight(node) * (1 + scorer.added)
            elif isinstance(node, ConstNode):
                most += node.score
        self.grid = ldexp(1.0, frexp(most)[1] + 1)

    def node(self, node: Node) -> Explanation:
        match node:
            case TermNode():
                return self.term(node)
            case PhraseNode():
                return self.phrase(node)
            case AnyNode(minimum=minimum, children=below):
                return self.sum(below, minimum)
            case AllNode(children=below):
                return self.sum(below, max(len(below), 1))
            case ExceptNode(child=child, excluded=excluded):
                return self.difference(child, excluded)
            case ConstNode(child=child, score=score):
                part = self.node(child)
                matched = part.matched
                constant = (score + self.grid) - self.grid
                return Explanation(
                    constant if matched else 0.0, "a constant for what matches", matched, (part,)
                )
            case MaskNode(mask=mask):
                return Explanation(0.0, "in a range of numbers", bool(memoryview(mask)[self.place()]))
            case EveryNode():
                return Explanation(0.0, "every document")

    def sum(self, below: Sequence[Node], minimum: int) -> Explanation:
        parts = tuple(self.node(each) for each in below)
        found = sum(part.matched for part in parts)
        matched = found >= minimum
        total = 0.0
        for part in parts:
            total += part.score if part.matched else 0.0
        needed = "" if minimum == 1 else f", {minimum} are needed"
        text = f"sum of {found} of {len(parts)} that match{needed}"
        return Explanation(total if matched else 0.0, text, matched, parts)

    def difference(self, child: Node, excluded: Sequence[Node]) -> Explanation:
        part = self.node(child)
        others = tuple(self.node(each) for each in excluded)
        matched = part.matched and not any(other.matched for other in others)
        text = f"the first matches, and none of {len(others)} others must"
        return Explanation(part.score if matched else 0.0, text, matched, (part, *others))

    # Words

    def term(self, node: TermNode) -> Explanation:
        terms, documents = self.terms, self.documents
        frequency = length = average = 0.0
        for field, term, share in node.words:
            freq, words = terms.frequency(self.doc_id, field, term)
            frequency += share * freq
            length += share * words
            average += share * (terms.words_of(field) / documents)
        df = self.doc_freq(node)
        shown = ", ".join(dict.fromkeys(term for _, term, _ in node.words))
        where = ", ".join(self.named(field, share) for field, _, share in node.words)
        idf = self.scorer.idf(df, documents)
        weight = self.weighed(node, idf, f"idf {idf:.4g} of {df} among {documents} documents")
        return self.impact(weight, f"{shown} in {where}", frequency, length, average)

    def phrase(self, node: PhraseNode) -> Explanation:
        terms, documents = self.terms, self.documents
        length = float(terms.frequency(self.doc_id, node.field, "")[1])
        average = terms.words_of(node.field) / documents
        places = [terms.places(self.doc_id, node.field, term) for term in node.terms]
        there = all(places) and bool(places)
        frequency = phrase_frequency(places, node.slop, int(length)) if there else 0.0
        idfs = [self.scorer.idf(terms.doc_freq(node.field, term), documents) for term in node.terms]
        text = f"idf {sum(idfs):.4g}, the sum of {len(idfs)} words', in {documents} documents"
        slop = f" within {node.slop}" if node.slop else ""
        what = f'"{" ".join(node.terms)}"{slop} in {self.names[node.field]}'
        return self.impact(self.weighed(node, 0.0, text), what, frequency, length, average)

    def impact(
        self, weight: Explanation, text: str, frequency: float, length: float, average: float
    ) -> Explanation:
        if not frequency:
            return Explanation(0.0, text, False)
        share = self.scorer.saturation(frequency, length, average)
        amounts = f"frequency {frequency:g} among {length:g} words, {average:.4g} on average"
        details = [weight, Explanation(share, f"saturation of {amounts}")]
        score = 0.0
        if weight.score:
            score = weight.score * share
            if added := weight.score * self.scorer.added:
                score += added
                details.append(Explanation(added, "added for having the word"))
            score = (score + self.grid) - self.grid
        return Explanation(score, text, True, tuple(details))

    def weighed(self, node: TermNode | PhraseNode, idf: float, text: str) -> Explanation:
        factor = "" if self.scorer.factor == 1 else f" * {self.scorer.factor:g}"
        return Explanation(self.weight(node), f"weight = boost {node.weight:g} * {text}{factor}")

    # Numbers of the index

    def weight(self, node: TermNode | PhraseNode) -> float:
        """As both twins compute it."""
        idf, documents = self.scorer.idf, self.documents
        if isinstance(node, TermNode):
            return node.weight * idf(self.doc_freq(node), documents) * self.scorer.factor
        whole = 0.0
        dfs = [self.terms.doc_freq(node.field, term) for term in node.terms]
        for df in dfs:
            whole += idf(df, documents)
        return node.weight * whole * self.scorer.factor if all(dfs) else 0.0

    def doc_freq(self, node: TermNode) -> int:
        return max(self.terms.doc_freq(field, term) for field, term, _ in node.words)

    def place(self) -> int:
        if self.at is None:
            self.at = self.terms.mask_of([self.doc_id]).index(1)
        return self.at

    def named(self, field: int, share: float) -> str:
        return self.names[field] if share == 1 else f"{self.names[field]} times {share:g}"


def nodes_of(plan: Node) -> Iterator[Node]:
    """All nodes, each before those below it."""
    yield plan
    for child in children(plan):
        yield from nodes_of(child)
