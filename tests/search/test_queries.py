"""Query objects: what each kind finds and what it scores, and what is refused when they are put together."""

import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidValue, PenstockError
from penstock.search.errors import QueryTooLarge
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
    Term,
)

TEXTS = {
    1: "the quick brown fox jumps over the lazy dog",
    2: "quick brown foxes",
    3: "a lazy dog sleeps",
    4: "brown bread and quick oats",
    5: "nothing of the kind",
}


@pytest.fixture
def index(InvertedIndex):
    index = InvertedIndex({"text": Text(), "n": Integer()}, positions=True)
    index.add_many(TEXTS, [{"text": text, "n": doc_id} for doc_id, text in TEXTS.items()])
    return index


def found(index, query):
    """Ids of all that match, in the order of adding; and the ways to find them agree."""
    hits = index.search(query, 10)
    ids = sorted(hits.ids.tolist())
    assert index.count(query) == len(ids)
    expected = dict(hits)
    assert index.scores(query).tolist() == [expected.get(doc_id, 0.0) for doc_id in TEXTS]
    return ids


def score(index, query, doc_id):
    return dict(index.search(query, 10))[doc_id]


A, B, C = Match("quick"), Match("lazy"), Match("dog")

FOUND = [
    (Match("quick zebra"), [1, 2, 4]),
    (Match(""), []),
    (Match("QUICK!"), [1, 2, 4]),
    (Term("quick"), [1, 2, 4]),
    (Term("QUICK"), []),
    (And(A, B), [1]),
    (And(A, B, C), [1]),
    (Or(A, B), [1, 2, 3, 4]),
    (Or(), []),
    (Or(A), [1, 2, 4]),
    (Or(A, B, C, minimum=2), [1, 3]),
    (Or(A, B, C, minimum=3), [1]),
    (Not(A), [3, 5]),
    (Not(Not(A)), [1, 2, 4]),
    (And(A, Not(B)), [2, 4]),
    (And(Not(A), Not(B)), [5]),
    (Or(A, Not(B)), [1, 2, 4, 5]),
    (And(A, Maybe(B)), [1, 2, 4]),
    (Maybe(B), [1, 2, 3, 4, 5]),
    (And(Maybe(A), Not(B)), [2, 4, 5]),
    (Phrase("quick brown"), [1, 2]),
    (Phrase("brown quick"), []),
    (Phrase("brown quick", slop=1), []),
    (Phrase("brown quick", slop=2), [1, 2, 4]),
    (Phrase("the the"), []),
    (Phrase("quick"), [1, 2, 4]),
    (Phrase(""), []),
    (Phrase("quick zebra"), []),
    (Prefix("fox"), [1, 2]),
    (Prefix("FOX"), [1, 2]),
    (Prefix("zebra"), []),
    (Fuzzy("fxo", 1), [1]),
    (Fuzzy("fox", 2), [1, 2, 3]),
    (Fuzzy("dgo", 0), []),
    (Fuzzy("BRWON", 1), [1, 2, 4]),
    (Boost(A, 3), [1, 2, 4]),
    (ConstScore(A, 3), [1, 2, 4]),
    (Range("n", 2, 4), [2, 3, 4]),
    (And(A, Range("n", 2)), [2, 4]),
    (Everything(), [1, 2, 3, 4, 5]),
    (And(Everything(), Not(A)), [3, 5]),
    (Match("quick", field="text"), [1, 2, 4]),
]


@pytest.mark.parametrize(("query", "expected"), FOUND, ids=lambda value: str(value))
def test_query_finds_what_it_says(index, query, expected):
    assert found(index, query) == expected
    assert found(index, index.parse(str(query), strict=True)) == expected


def test_operators_put_queries_together():
    assert And(A, B) == (A & B)
    assert And(A, B, C) == (A & B & C)
    assert Or(A, B, C) == (A | B | C)
    assert And(A, And(B, C)) == (A & (B & C))
    assert (A | B, minimum_of_two() | C) == (Or(A, B), Or(minimum_of_two(), C))
    assert Not(A) == ~A
    assert And(A, Not(B)) == (A & ~B)
    for other in (5, "quick", None):
        with pytest.raises(TypeError):
            A & other
        with pytest.raises(TypeError):
            A | other


def minimum_of_two():
    return Or(A, B, minimum=2)


def test_scores_of_clauses_are_added_up(index):
    alone = [score(index, query, 1) for query in (A, B)]
    assert score(index, And(A, B), 1) == pytest.approx(sum(alone), abs=1e-12)
    assert score(index, Or(A, B), 1) == pytest.approx(sum(alone), abs=1e-12)
    assert score(index, And(A, Maybe(B)), 1) == pytest.approx(sum(alone), abs=1e-12)
    assert score(index, And(A, Maybe(B)), 2) == score(index, A, 2)


def test_what_only_restricts_scores_nothing(index):
    assert {hit.score for hit in index.search(Not(A))} == {0.0}
    assert {hit.score for hit in index.search(Range("n", 1))} == {0.0}
    assert {hit.score for hit in index.search(Everything())} == {0.0}
    assert score(index, And(A, Range("n", 1), Not(Match("zebra"))), 1) == score(index, A, 1)


def test_boost_multiplies_and_boosts_multiply_each_other(index):
    plain = score(index, A, 1)
    assert score(index, Boost(A, 3), 1) == pytest.approx(3 * plain)
    assert score(index, Boost(Boost(A, 3), 2), 1) == pytest.approx(6 * plain)
    assert score(index, Boost(And(A, B), 2), 1) == pytest.approx(2 * score(index, And(A, B), 1))
    assert score(index, Boost(A, 0), 1) == 0
    assert score(index, Boost(ConstScore(A, 3), 2), 1) == 6
    assert index.search(Boost(Boost(A, 1e9), 1e9)) == index.search(Boost(A, 1e9))


def test_const_score_is_the_same_for_every_document(index):
    assert {hit.score for hit in index.search(ConstScore(Or(A, B), 2.5))} == {2.5}


def test_prefix_scores_one_however_many_words_there_are(index):
    assert {hit.score for hit in index.search(Prefix("b"))} == {1.0}
    assert {hit.score for hit in index.search(Boost(Prefix("b"), 2.5))} == {2.5}


def test_near_word_weighs_less_the_more_edits_it_needs(index):
    exact = score(index, Term("foxes"), 2)
    assert score(index, Fuzzy("foxes"), 2) == exact
    assert score(index, Fuzzy("foxe", 1), 2) == pytest.approx(exact * (1 - 1 / 5))
    assert score(index, Fuzzy("fxe", 2), 2) == pytest.approx(exact * (1 - 2 / 5))


def test_near_words_as_short_as_their_edits_do_not_count(InvertedIndex):
    index = InvertedIndex()
    index.add_many([1, 2, 3, 4], ["b", "abc", "abcd", "x"])
    assert sorted(index.search(Fuzzy("ab", 2)).ids.tolist()) == [2, 3]  # b needs 1 edit, x 2


def test_near_words_are_found_in_every_field(InvertedIndex):
    index = InvertedIndex({"a": Text(), "b": Text()})
    index.add(1, {"a": "house"})
    index.add(2, {"b": "horse"})
    assert sorted(index.search(Fuzzy("hose", 1)).ids.tolist()) == [1, 2]
    assert index.search(Fuzzy("hose", 1, "b")).ids.tolist() == [2]
    assert sorted(index.search(Prefix("ho")).ids.tolist()) == [1, 2]


def test_words_are_taken_apart_as_documents_were(InvertedIndex):
    index = InvertedIndex(analyzer="english", positions=True)
    index.add(1, "the running of horses")
    assert index.search("run horse").ids.tolist() == [1]
    assert index.search(Match("runs")).ids.tolist() == [1]
    assert index.search(Term("running")).ids.tolist() == []
    assert index.search(Term("run")).ids.tolist() == [1]
    assert index.search(Phrase("run the horse")).ids.tolist() == [
        1
    ]  # words that are passed over leave no hole
    assert index.search(Fuzzy("horsse", 1)).ids.tolist() == [1]


def test_phrase_without_positions_is_refused_and_told_what_else_to_do(InvertedIndex):
    index = InvertedIndex()
    index.add(1, "big data")
    with pytest.raises(InvalidValue, match="index must be made with positions=True to look for phrases"):
        index.search(Phrase("big data"))
    assert index.search(Phrase("big")).ids.tolist() == [1]
    assert index.search(index.parse('"big data"')).ids.tolist() == [1]


def test_query_of_a_field_that_there_is_not_is_refused(index):
    for query in (
        Match("x", "nope"),
        Term("x", "nope"),
        Phrase("x y", field="nope"),
        Prefix("x", "nope"),
        Fuzzy("x", 1, "nope"),
    ):
        with pytest.raises(LookupError, match="field must be one of text, n, got 'nope'"):
            index.search(query)
    with pytest.raises(LookupError, match="column must be one of n, got 'nope'"):
        index.search(Range("nope", 1))
    with pytest.raises(LookupError, match="field must be one of text, which are text, got 'n', a column"):
        index.search(Prefix("x", "n"))


# Alone


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: And(), "And must have at least 2 clauses, got 0"),
        (lambda: And(A), "And must have at least 2 clauses, got 1: use the clause itself"),
        (lambda: And(A, "b"), r"clause must be a Query, got 'b': Match\(text\) makes one of a text"),
        (lambda: Or(A, B, minimum=3), "minimum must be from 1 to 2, the number of clauses, got 3"),
        (lambda: Or(A, minimum=0), "minimum must be from 1 to 1"),
        (lambda: Or(A, minimum=1.0), "minimum must be an int"),
        (lambda: Match(5), "text must be a str, got 5"),
        (lambda: Match("a", 5), "field must be the name of a field, got 5"),
        (lambda: Match("a", "a b"), "field must be a letter or _"),
        (lambda: Prefix(""), "prefix must have at least 1 character"),
        (lambda: Fuzzy("a", 3), "distance must be 0, 1 or 2, got 3"),
        (lambda: Fuzzy("a", True), "distance must be an int, got True"),
        (lambda: Phrase("a", -1), "slop must be from 0 to 1000000, got -1"),
        (lambda: Boost(A, -1), "factor must be from 0 to 1e\\+09, got -1"),
        (lambda: Boost(A, math.nan), "factor must be from 0"),
        (lambda: Boost(A, "2"), "factor must be a number, got '2'"),
        (lambda: ConstScore(A, math.inf), "score must be from 0"),
        (lambda: Range("n", "1"), "low must be a number or None, got '1'"),
        (lambda: Range("n", math.nan), "low must be a number that can be compared, got NaN"),
        (lambda: Range("n", 1, 10**30), r"high must be from -2\*\*64 to 2\*\*64"),
        (lambda: Range(None), "column must be the name of a field, got None"),
        (lambda: Range("n", 1, 2, 3), "include_low must be a bool, got 3"),
        (lambda: Not("a"), "clause must be a Query, got 'a'"),
    ],
)
def test_wrong_part_of_a_query_is_refused(make, message):
    with pytest.raises(PenstockError, match=message):
        make()


def test_queries_are_frozen_hashable_and_equal_by_their_parts():
    one, other = And(Match("a"), Or(B, C, minimum=2)), And(Match("a"), Or(B, C, minimum=2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != And(Match("a"), Or(B, C))
    assert Match("a") != Term("a")
    with pytest.raises(AttributeError):
        one.clauses = ()
    assert pickle.loads(pickle.dumps(one)) == one


def test_numpy_numbers_are_bounds_of_a_range():
    import numpy as np

    assert Range("n", np.int64(1), np.float64(2.5)) == Range("n", 1, 2.5)
    assert type(Range("n", np.int64(1)).low) is int


def test_query_with_too_many_clauses_or_levels_is_refused():
    And(*[A] * 1_024)
    with pytest.raises(QueryTooLarge, match="query must have at most 1024 clauses, got 1025"):
        Or(*[A] * 1_025)
    with pytest.raises(QueryTooLarge, match="got 2048"):
        And(Or(*[A] * 1_024), Or(*[A] * 1_024))
    query = A
    for _ in range(31):
        query = Not(query)
    with pytest.raises(QueryTooLarge, match="query must have at most 32 levels, got 33"):
        Not(query)
    with pytest.raises(QueryTooLarge, match="at most 1024 clauses, got 1025"):
        Or(*[Or()] * 1_025)


# Against a plain model

WORDS = "abcde"
LEAVES = st.sampled_from(
    [*map(Match, WORDS), Match("a b"), Match("zzz"), Or(), Everything(), Range("n", 3, 6), Phrase("a b")]
)
QUERIES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda clauses: And(*clauses)),
        st.lists(inner, min_size=2, max_size=3).map(lambda clauses: Or(*clauses)),
        st.lists(inner, min_size=2, max_size=3).map(lambda clauses: Or(*clauses, minimum=2)),
        st.builds(Not, inner),
        st.builds(Maybe, inner),
        st.builds(Boost, inner, st.sampled_from([0, 0.5, 2])),
        st.builds(ConstScore, inner, st.sampled_from([0, 1.5])),
    ),
    max_leaves=6,
)


def is_found(query, n, words):
    match query:
        case Match(text=text):
            return any(word in words for word in text.split())
        case Phrase():
            return "a b" in " ".join(words)
        case Everything():
            return True
        case Range(low=low, high=high):
            return low <= n <= high
        case And(clauses=clauses):
            return all(is_found(each, n, words) for each in clauses)
        case Or(clauses=clauses, minimum=minimum):
            return sum(is_found(each, n, words) for each in clauses) >= minimum
        case Not(clause=clause):
            return not is_found(clause, n, words)
        case Maybe():
            return True
        case Boost(clause=clause) | ConstScore(clause=clause):
            return is_found(clause, n, words)


@pytest.mark.parametrize("impl", ["c", "py"])
@settings(max_examples=60)
@given(texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=4), max_size=8), query=QUERIES)
def test_queries_find_what_a_plain_model_finds(impl, texts, query):
    with pytest.MonkeyPatch.context() as patch:
        from importlib import import_module

        module = import_module("penstock.search.index")
        patch.setattr(module, "TermIndex", import_module(f"penstock.search._inverted_index_{impl}").TermIndex)
        index = module.InvertedIndex({"text": Text(), "n": Integer()}, positions=True)
        index.add_many(
            range(len(texts)), [{"text": " ".join(words), "n": n} for n, words in enumerate(texts)]
        )
        expected = [n for n, words in enumerate(texts) if is_found(query, n, words)]
        hits = index.search(query, 100, explain=True)
        assert sorted(hits.ids.tolist()) == expected
        assert [each.score for each in hits.explanations] == hits.scores.tolist()
        assert index.count(query) == len(expected)
        assert index.search(index.parse(str(query), strict=True), 100) == hits or "-" in str(query)
