"""Explanations: the numbers behind a score, which add up to it to the last bit."""

import random

import pytest

from penstock.search.errors import UnknownDocument
from penstock.search.fields import Integer, Text
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
    Range,
)

QUERIES = [
    "a b c",
    ["a", "a", "b"],
    Match("a b b b"),
    And(Match("a"), Match("b")),
    And(Match("a"), Not(Match("c")), Maybe(Match("d"))),
    Or(Match("a"), Match("b"), Match("c"), minimum=2),
    Phrase("a b"),
    Phrase("a c", slop=3),
    Boost(Or(Match("a"), Phrase("b a")), 2.5),
    ConstScore(Match("a"), 0.1),
    Prefix("a"),
    Fuzzy("ab", 1),
    And(Range("n", 3, 40), Match("d")),
    Everything(),
    Match("a", field="title"),
]


@pytest.fixture
def index(InvertedIndex, scorer):
    dice = random.Random(49)
    index = InvertedIndex({"title": Text(2.5), "body": Text(), "n": Integer()}, scorer=scorer, positions=True)
    for n in range(60):
        title, body = (
            dice.choices(["a", "b", "c", "d", "ab", "abc"], k=dice.randrange(12)) for _ in range(2)
        )
        index.add(n, {"title": " ".join(title), "body": " ".join(body), "n": n})
    for n in range(0, 60, 7):
        index.delete(n)
    return index


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_explanation_is_the_score_to_the_last_bit(index, query):
    hits = index.search(query, 20, explain=True)
    assert [each.score for each in hits.explanations] == hits.score_list
    assert all(each.matched for each in hits.explanations)
    for doc_id, score in hits:
        assert index.explain(query, doc_id).score == score


def test_document_that_does_not_match_is_told_why(index):
    unmatched = next(iter(set(index.ids.tolist()) - set(index.search("c", 60).ids.tolist())))
    explanation = index.explain(And(Match("c"), Range("n", 0)), unmatched)
    assert not explanation.matched
    assert explanation.score == 0
    assert "no" in str(explanation)


def test_explanation_is_printed_as_a_tree(InvertedIndex):
    index = InvertedIndex()
    index.add_many([1, 2, 3], ["machine learning", "machine code for a machine", "poem"])
    text = str(index.explain("machine learning zebra", 2))
    assert "machine in text" in text
    assert "frequency 2 among 5 words, 2.667 on average" in text
    assert "  no   learning in text" in text
    assert "sum of 1 of 3 that match" in text


def test_details_add_up(InvertedIndex):
    index = InvertedIndex()
    index.add_many([1, 2, 3], ["machine learning", "machine code for a machine", "poem"])
    explanation = index.explain("machine learning", 1)
    assert explanation.score == sum(each.score for each in explanation.details)
    for word in explanation.details:
        weight, saturation = word.details
        assert word.score == pytest.approx(weight.score * saturation.score, abs=1e-12)


def test_filter_and_page_are_kept_to(index):
    hits = index.search("a b", 5, offset=2, filter=Range("n", 10, 50), explain=True)
    assert [each.score for each in hits.explanations] == hits.score_list
    assert len(hits[1:3].explanations) == 2
    assert index.search("a").explanations is None


def test_unknown_document_is_refused(index):
    for doc_id in (0, 999, "x", None):
        with pytest.raises(UnknownDocument, match="doc_id must be in the index"):
            index.explain("a", doc_id)
