"""What the index of terms is held to: documents as lists of words, scored one by one in fractions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import frexp

from penstock.search.plan import (
    AllNode,
    AnyNode,
    ConstNode,
    EveryNode,
    ExceptNode,
    MaskNode,
    PhraseNode,
    TermNode,
)


def words_node(words: Sequence[str], minimum: int):
    """The plan that `top_words` runs."""
    counts = Counter(words)
    nodes = tuple(TermNode(((0, word, 1.0),), float(count)) for word, count in counts.items())
    return AnyNode(minimum or max(len(nodes), 1), nodes)


def nodes_of(node) -> Iterator[object]:
    """A node and all below it, each before those below it."""
    yield node
    below = {
        AnyNode: lambda: node.children,
        AllNode: lambda: node.children,
        ConstNode: lambda: (node.child,),
        ExceptNode: lambda: (node.child, *node.excluded),
    }.get(type(node), tuple)
    for child in below():
        yield from nodes_of(child)


@dataclass
class SearchModel:
    """An index that keeps its documents as they came and looks at each of them for every query."""

    fields: int = 1
    documents: dict[object, tuple[list[str], ...]] = field(default_factory=dict)

    def add(self, doc_id, texts):
        assert doc_id not in self.documents
        self.documents[doc_id] = tuple(list(text or ()) for text in texts)

    def delete(self, doc_id):
        return self.documents.pop(doc_id, None) is not None

    def doc_freq(self, number, term):
        return sum(term in texts[number] for texts in self.documents.values())

    def words_of(self, number):
        return sum(len(texts[number]) for texts in self.documents.values())

    def average(self, number):
        return self.words_of(number) / len(self.documents)

    def terms(self, number):
        """All terms of a field with the documents that hold them, ascending."""
        counts = Counter(term for texts in self.documents.values() for term in set(texts[number]))
        return sorted(counts.items())

    def scores(self, plan, scorer):
        """The score of each document, in the order of adding; None where the plan does not match."""
        run = _ModelRun(self, plan, scorer)
        return [run.score(plan, place, texts) for place, texts in enumerate(self.documents.values())]

    def top(self, plan, scorer, k, mask=None):
        found = [
            (-score, place)
            for place, score in enumerate(self.scores(plan, scorer))
            if score is not None and (mask is None or mask[place])
        ]
        best = sorted(found)[:k]
        ids = list(self.documents)
        return [ids[place] for _, place in best], [float(-score) for score, _ in best]


class _ModelRun:
    def __init__(self, model, plan, scorer):
        self.model, self.scorer = model, scorer
        most = 0.0
        for node in nodes_of(plan):
            if isinstance(node, TermNode | PhraseNode):
                most += self.weight(node) * (1 + scorer.added)
            elif isinstance(node, ConstNode):
                most += node.score
        self.unit = Fraction(2) ** (frexp(most)[1] - 51)

    def weight(self, node):
        model, scorer = self.model, self.scorer
        if isinstance(node, TermNode):
            df = max(model.doc_freq(number, term) for number, term, _ in node.words)
            return node.weight * scorer.idf(df, len(model.documents)) * scorer.factor
        idf = 0.0
        for term in node.terms:
            df = model.doc_freq(node.field, term)
            if not df:
                return 0.0
            idf += scorer.idf(df, len(model.documents))
        return node.weight * idf * scorer.factor

    def on_grid(self, value):
        """A number rounded to the nearest multiple of the unit, of two to the even one."""
        return round(Fraction(value) / self.unit) * self.unit

    def impact(self, node, frequency, length, average):
        weight = self.weight(node)
        share = self.scorer.saturation(frequency, length, average)
        return self.on_grid(weight * share + weight * self.scorer.added)

    def score(self, node, place, texts):
        match node:
            case TermNode():
                frequency = length = average = 0.0
                for number, term, share in node.words:
                    frequency += share * texts[number].count(term)
                    length += share * len(texts[number])
                    average += share * self.model.average(number)
                return self.impact(node, frequency, length, average) if frequency else None
            case PhraseNode():
                words = texts[node.field]
                frequency = min(phrase_matches(words, node.terms, node.slop), float(len(words)))
                if not frequency:
                    return None
                return self.impact(node, frequency, len(words), self.model.average(node.field))
            case AnyNode():
                found = self.found(node.children, place, texts)
                return sum(found) if len(found) >= node.minimum else None
            case AllNode():
                found = self.found(node.children, place, texts)
                return sum(found) if len(found) == len(node.children) > 0 else None
            case ExceptNode():
                return (
                    None if self.found(node.excluded, place, texts) else self.score(node.child, place, texts)
                )
            case MaskNode():
                return Fraction(0) if node.mask[place] else None
            case ConstNode():
                return None if self.score(node.child, place, texts) is None else self.on_grid(node.score)
            case EveryNode():
                return Fraction(0)

    def found(self, children, place, texts):
        scores = [self.score(child, place, texts) for child in children]
        return [score for score in scores if score is not None]


def phrase_matches(words, terms, slop):
    """The places of all words less where they stand in the phrase, merged: each is left once, in order."""
    starts = [[place - i for place, word in enumerate(words) if word == term] for i, term in enumerate(terms)]
    if not all(starts):
        return 0.0
    matches = 0.0
    for left, i in sorted((start, i) for i, of_word in enumerate(starts) for start in of_word):
        heads = (
            [
                left if j == i else next(start for start in of_word if (start, j) > (left, i))
                for j, of_word in enumerate(starts)
            ]
            if all(j == i or (of_word[-1], j) > (left, i) for j, of_word in enumerate(starts))
            else []
        )
        width = max(heads, default=0) - left
        if heads and width <= slop and len({head + j for j, head in enumerate(heads)}) == len(heads):
            matches += 1 / (1 + width)
        if left == starts[i][-1]:
            break
    return matches
