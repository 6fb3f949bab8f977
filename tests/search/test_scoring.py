"""Scores are those of the libraries and formulas whose names the scorers bear."""

import json
import math
import pickle
import re
from collections import Counter
from random import Random

import bm25s
import numpy as np
import pytest
import rank_bm25

from penstock.errors import InvalidType, InvalidValue
from penstock.search.plan import AnyNode, TermNode
from penstock.search.scoring import BM25, TFIDF, scorer_of_config


@pytest.fixture(scope="module")
def documents():
    random = Random(11)
    words = [f"w{number}" for number in range(120)]
    shares = [1 / (number + 1) for number in range(120)]
    return [random.choices(words, shares, k=random.randint(1, 40)) for _ in range(300)]


@pytest.fixture(scope="module")
def queries():
    random = Random(12)
    return [[f"w{int(120 ** random.random()) - 1}" for _ in range(random.randint(1, 5))] for _ in range(40)]


@pytest.fixture
def index(TermIndex, documents):
    index = TermIndex(1, 0, False, None)
    index.add_many(range(len(documents)), [(document,) for document in documents])
    return index


def any_of(words):
    return AnyNode(1, tuple(TermNode(((0, word, 1.0),), float(n)) for word, n in Counter(words).items()))


VARIANTS = [
    (variant, k1, b)
    for variant in ("lucene", "robertson", "atire", "bm25+", "bm25l")
    for k1, b in ((1.2, 0.75), (2.0, 0.3))
]


@pytest.mark.parametrize(("variant", "k1", "b"), VARIANTS)
def test_bm25_scores_are_those_of_bm25s(index, documents, queries, variant, k1, b):
    scorer = BM25(k1, b, variant)
    reference = bm25s.BM25(method=variant, k1=k1, b=b, delta=scorer.delta, dtype="float64")
    reference.index(documents, show_progress=False)
    for query in queries:
        expected = sum(held_scores(reference, documents, word) for word in query)
        assert np.asarray(index.scores(any_of(query), scorer)) == pytest.approx(expected, abs=1e-9), query


def held_scores(reference, documents, word):
    """Scores of documents that hold the word: for bm25l and bm25+ libraries give the others something too."""
    scores = reference.get_scores([word])
    return np.where([word in document for document in documents], scores, 0.0)


def test_atire_saturation_and_length_are_those_of_rank_bm25(index, documents, queries):
    """Its idf is another one: so words are weighed by it."""
    reference = rank_bm25.BM25Okapi(documents, k1=1.2, b=0.75)
    ours = BM25(1.2, 0.75, "atire")
    for query in queries:
        nodes = tuple(
            TermNode(((0, word, 1.0),), weight)
            for word in query
            if (df := index.doc_freq(0, word))
            and (weight := reference.idf[word] / ours.idf(df, len(documents))) >= 0
        )
        known = [word for word in query if reference.idf.get(word, -1) >= 0]
        expected = reference.get_scores(known)
        assert np.asarray(index.scores(AnyNode(1, nodes), ours)) == pytest.approx(expected, abs=1e-9)


def test_bm25_plus_is_that_of_rank_bm25(index, documents, queries):
    reference = rank_bm25.BM25Plus(documents, k1=1.2, b=0.75, delta=1)
    for word in {word for query in queries for word in query}:
        expected = held_scores(reference, documents, word)
        scores = np.asarray(index.scores(any_of([word]), BM25(1.2, 0.75, "bm25+")))
        assert scores == pytest.approx(expected, abs=1e-9)


def test_bm25l_is_that_of_rank_bm25(index, documents, queries):
    """It multiplies by the frequency once more, which the paper does not."""
    reference = rank_bm25.BM25L(documents, k1=1.5, b=0.75, delta=0.5)
    for word in {word for query in queries for word in query}:
        freqs = np.array([document.count(word) for document in documents])
        expected = held_scores(reference, documents, word) / np.maximum(freqs, 1)
        scores = np.asarray(index.scores(any_of([word]), BM25(1.5, 0.75, "bm25l")))
        assert scores == pytest.approx(expected, abs=1e-9)


def test_classic_tfidf_is_that_of_lucene(index, documents, queries):
    """sum over words of sqrt(tf) * idf^2 * 1/sqrt(length), idf = 1 + log((N + 1)/(df + 1))."""
    df = Counter(word for document in documents for word in set(document))
    for query in queries:
        expected = [
            sum(
                math.sqrt(document.count(word))
                * (1 + math.log((len(documents) + 1) / (df[word] + 1))) ** 2
                / math.sqrt(len(document))
                for word in query
                if word in document
            )
            for document in documents
        ]
        assert list(index.scores(any_of(query), TFIDF("lucene"))) == pytest.approx(expected, abs=1e-9)


def test_plain_tfidf_is_share_of_the_document_times_logarithm_of_rarity(index, documents, queries):
    df = Counter(word for document in documents for word in set(document))
    for query in queries:
        expected = [
            sum(
                document.count(word) / len(document) * math.log(len(documents) / df[word])
                for word in query
                if word in document
            )
            for document in documents
        ]
        assert list(index.scores(any_of(query), TFIDF())) == pytest.approx(expected, abs=1e-9)


def test_word_in_weighted_fields_counts_as_one_text_that_repeats_them(TermIndex, scorer):
    """BM25F: a field of weight 3 is as though its text were there three times."""
    random = Random(3)
    pairs = [
        (random.choices("abcd", k=random.randint(0, 4)), random.choices("abcdefgh", k=random.randint(1, 6)))
        for _ in range(60)
    ]
    fields, joined = TermIndex(2, 0, False, None), TermIndex(1, 0, False, None)
    for number, (title, body) in enumerate(pairs):
        fields.add(number, (title, body))
        joined.add(number, (title * 3 + body,))
    # df is the greatest of the fields: the same only where one field has the word whenever the other does
    plan, plain = TermNode(((0, "e", 3.0), (1, "e", 1.0))), TermNode(((0, "e", 1.0),))
    expected = list(joined.scores(plain, scorer))
    assert sum(score > 0 for score in expected) > 10
    assert list(fields.scores(plan, scorer)) == pytest.approx(expected, rel=1e-12)


# ---- the scorers themselves ----


def test_added_and_factor_are_those_of_the_table():
    assert [
        BM25(1.5, variant=each).factor for each in ("lucene", "robertson", "atire", "bm25+", "bm25l")
    ] == [
        1,
        1,
        2.5,
        2.5,
        2.5,
    ]
    assert BM25(1.5, variant="bm25+", delta=0.5).added == 0.2
    assert BM25(variant="bm25l").added == BM25().added == TFIDF().added == TFIDF().factor - 1 == 0


def test_delta_has_the_default_of_its_variant():
    assert [BM25(variant=each).delta for each in ("lucene", "bm25+", "bm25l")] == [0.0, 1.0, 0.5]


def test_idf_of_robertson_is_never_negative():
    assert BM25(variant="robertson").idf(9, 10) == 0


@pytest.mark.parametrize("each", [BM25(), BM25(2.0, 0.1, "bm25l", 0.25), TFIDF(), TFIDF("lucene")])
def test_scorer_comes_back_from_its_config_and_from_a_pickle(each):
    assert scorer_of_config(json.loads(json.dumps(each.config()))) == each
    assert pickle.loads(pickle.dumps(each)) == each
    assert hash(scorer_of_config(each.config())) == hash(each)


def test_word_that_no_document_holds_weighs_nothing(scorer):
    assert scorer.idf(0, 10) == 0


def test_saturation_rises_with_frequency_and_falls_with_length(scorer):
    for length in (1, 10, 1_000):
        values = [scorer.saturation(frequency, length, 20.0) for frequency in range(1, length + 1)]
        assert values == sorted(values)
        assert all(0 < value <= 1 for value in values)
    values = [scorer.saturation(1, length, 20.0) for length in range(1, 50)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k1": -1}, InvalidValue, "k1 must be from 0 to 1e+06, got -1"),
        ({"k1": math.nan}, InvalidValue, "k1 must be from 0 to 1e+06, got nan"),
        ({"k1": math.inf}, InvalidValue, "k1 must be from 0 to 1e+06, got inf"),
        ({"k1": "1"}, InvalidType, "k1 must be a number, got str"),
        ({"b": 1.5}, InvalidValue, "b must be from 0 to 1, got 1.5"),
        (
            {"variant": "bm26"},
            InvalidValue,
            "variant must be one of lucene, robertson, atire, bm25+, bm25l, got 'bm26'",
        ),
        ({"delta": 1.0}, InvalidValue, "delta must be given for bm25+ and bm25l only, got 1.0 for lucene"),
        ({"delta": -1.0, "variant": "bm25+"}, InvalidValue, "delta must be from 0 to 1e+06, got -1.0"),
    ],
)
def test_parameters_that_are_not_allowed_are_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        BM25(**arguments)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"name": "bm26"},
        {"name": "bm25", "k2": 1},
        {"name": "tfidf", "variant": "x"},
        {"name": "bm25", "k1": "x"},
    ],
)
def test_config_of_no_scorer_is_refused(config):
    with pytest.raises(InvalidValue):
        scorer_of_config(config)


def test_tfidf_of_another_variant_is_refused():
    with pytest.raises(InvalidValue, match="variant must be one of plain, lucene, got 'classic'"):
        TFIDF("classic")
