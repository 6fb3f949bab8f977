"""What to search for to find documents that are like another."""

from collections import Counter
from collections.abc import Iterable
from heapq import nlargest

from penstock.search.fields import Document, Layout
from penstock.search.inverted_index import TermIndex
from penstock.search.plan import AnyNode, Node, TermNode
from penstock.search.scoring import Scorer

__all__ = ["LIKE_WORDS", "plan_like"]

LIKE_WORDS = 25
"""Words of a document by which others are found that are like it."""


def plan_like(
    terms: TermIndex, layout: Layout, scorer: Scorer, doc_id: int | str | None, text: Document | None
) -> Node:
    """Any of the words that say most about a document: those of the greatest frequency times idf.

    Args:
        terms: the index.
        layout: its fields.
        scorer: whose idf counts.
        doc_id: a document of the index; None: a text.
        text: a document that the index need not have.

    Raises:
        UnknownDocument: the index has no such document.
    """
    documents = len(terms)
    given = None if text is None else layout.taken_apart(text)[0]
    found: list[tuple[float, int, str]] = []
    for number, boost in enumerate(layout.boosts):
        freqs: Iterable[tuple[str, int]]
        if given is not None:
            words = given[number] or ()
            tokens = layout.analyzers[number].tokens(words) if isinstance(words, str) else words
            freqs = Counter(tokens).items()
        elif doc_id is not None:
            freqs = terms.terms_of(doc_id, number)
        for term, freq in freqs:
            df = terms.doc_freq(number, term)
            if df > (given is None):  # a word that this document alone has finds no other
                found.append((freq * scorer.idf(df, documents) * boost, number, term))
    best = nlargest(LIKE_WORDS, found)
    return AnyNode(1, tuple(TermNode(((number, term, layout.boosts[number]),)) for _, number, term in best))
