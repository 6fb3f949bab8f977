"""What visitors and programs may throw at an index: it answers, or refuses clearly, in bounded time and
memory."""

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.search.analyzer import Analyzer
from penstock.search.errors import QueryTooLarge
from penstock.search.fields import Integer, Text
from penstock.search.query import And, Fuzzy, Match, Or, Phrase, Prefix, Range, Term

EXOTIC = [
    "\0",
    "a\0b",
    "\ud800",
    "a \udfff b",
    "\U0010ffff",
    "\u202eright to left",
    "é é",
    "İıſK",
    "ﬁ ﬂ",
    "👩‍👩‍👧‍👦 🇩🇪",
    "नमस्ते ภาษาไทย 東京 한국어",
    "\u200b\u200d\ufeff",
    "x" + "\u0301" * 1000,
    "\t\r\n\x0b\x0c\u2028",
]


@pytest.fixture
def index(InvertedIndex):
    index = InvertedIndex({"text": Text(), "n": Integer()}, positions=True)
    index.add_many(range(50), [{"text": f"common word{n} big data", "n": n} for n in range(50)])
    return index


# Words of visitors: nothing fails


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "the", '"', '"unclosed', "(((", "AND OR", "a:b:c", "+", "-", *EXOTIC], ids=ascii
)
def test_any_text_can_be_searched_for(index, text):
    for query in (text, index.parse(text), Match(text), Term(text), Phrase(text), [text], [text, text]):
        index.search(query)
        index.count(query)
        index.highlight(query, "some text")
        index.search_many([query, query])


@pytest.mark.parametrize("text", EXOTIC, ids=ascii)
def test_any_text_can_be_a_document_and_is_found_by_itself(InvertedIndex, text):
    for analyzer in ("unicode", "ascii", "reference", "keyword", Analyzer(nfkc=True, cjk="bigrams")):
        index = InvertedIndex(analyzer=analyzer)
        index.add(1, text)
        assert (index.search(text).ids.tolist() == [1]) == bool(index.analyzer.tokens(text))
        marked = index.highlight(text, text, before="[", after="]")
        assert (marked == text) == (not index.analyzer.spans(text))


@settings(max_examples=80)
@given(st.text(max_size=30), st.text(max_size=30))
def test_random_texts_are_documents_and_queries(text, query):
    from penstock.search.index import InvertedIndex

    index = InvertedIndex(positions=True)
    index.add_many([1, 2], [text, query])
    found = index.search(query).ids.tolist()
    assert (2 in found) == bool(index.analyzer.tokens(query))
    assert index.search(index.parse(query)) is not None
    assert index.search(Phrase(query)) is not None


def test_megabyte_of_one_word_is_cut_and_found(InvertedIndex):
    index = InvertedIndex()
    index.add(1, "a" * 1_000_000)
    index.add(2, "b")
    assert index.search("a" * 1_000_000).ids.tolist() == [1]
    assert index.stats().words == {"text": -(-1_000_000 // 255) + 1}


def test_megabytes_of_words_are_a_query_of_the_first_1024(index):
    text = " ".join(f"word{n}" for n in range(49, 200_000))
    assert index.search(text).ids.tolist() == [49]
    assert index.search(Match(text)).ids.tolist() == [49]
    assert index.search(index.parse(text)) is not None
    late = " ".join(f"other{n}" for n in range(1_024)) + " word7"
    assert index.search(late).ids.tolist() == []
    assert index.search(late.split()).ids.tolist() == []
    assert index.search(late, fields=["text"]).ids.tolist() == []


def test_long_words_and_surrogates_match_nothing(index):
    for word in ("x" * 256, "x" * 1_000_000, "\ud800", "a\udfff"):
        for query in ([word], Term(word), Prefix(word), Fuzzy(word, 1)):
            assert index.search(query).ids.tolist() == []


# k and pages


@pytest.mark.parametrize("k", [0, 1, 50, 51, 10**6, 2**31, 2**63, 10**30])
def test_k_may_be_anything_from_zero(index, k):
    expected = min(k, 50)
    assert len(index.search("common", k)) == expected
    assert len(index.search("common", k, offset=10)) == max(min(k, 40), 0)
    assert len(index.search(Match("common"), k)) == expected
    assert len(index.more_like(1, k)) == min(k, 49)


def test_page_behind_the_last_is_empty(index):
    assert len(index.search("common", 10, offset=10**18)) == 0


# Bombs


def test_too_many_prefixes_are_refused_before_they_are_looked_up(index):
    assert len(index.search(Or(*[Prefix("w")] * 64))) == 10
    with pytest.raises(QueryTooLarge, match="query must have at most 64 prefixes and near words, got more"):
        index.search(Or(*[Prefix("w")] * 65))
    with pytest.raises(QueryTooLarge, match="at most 64 prefixes and near words"):
        index.search(And(Match("common"), Or(*[Fuzzy("word1", 2)] * 65)))
    assert len(index.search(index.parse("w* " * 1_000))) == 10


def test_prefix_of_more_than_1024_words_takes_the_most_frequent(InvertedIndex):
    index = InvertedIndex()
    index.add(0, " ".join(f"a{n}" for n in range(3_000)))
    index.add_many(range(1, 1_024), [f"a{n}" for n in range(1, 1_024)])
    index.add(5_000, "a2999 b")
    assert index.count(Prefix("a")) == 1_025  # a1 to a1023 are in two documents each, and so is a2999
    index.add(5_001, "zzz")
    assert index.count(Prefix("a")) == 1_025


def test_words_of_all_clauses_together_are_bounded(InvertedIndex):
    index = InvertedIndex()
    index.add(1, " ".join(f"a{n}" for n in range(2_000)))
    with pytest.raises(QueryTooLarge, match="query must stand for at most 32768 words, got more"):
        index.search(Or(*[Prefix("a")] * 40))
    text = " ".join(f"b{n}" for n in range(1_000))
    with pytest.raises(QueryTooLarge, match="query must stand for at most 32768 words, got more"):
        index.search(Or(*[Match(text)] * 40))


def test_too_many_phrases_and_words_of_phrases_are_refused(InvertedIndex):
    index = InvertedIndex({f"f{n}": Text() for n in range(16)}, positions=True)
    index.add(1, {"f3": "a b"})
    assert index.search(Or(*[Phrase("a b")] * 128)).ids.tolist() == [1]
    with pytest.raises(QueryTooLarge, match="query must have at most 128 phrases, got more"):
        index.search(Or(*[Phrase("a b")] * 129))
    with pytest.raises(QueryTooLarge, match="query must stand for at most 32768 words, got more"):
        index.search(Or(*[Phrase("a b " * 512)] * 3))
    assert index.search(index.parse('"a b" ' * 600)).ids.tolist() == [1]
    assert index.search(index.parse('"' + "a b " * 1_000 + '" "a b"')).ids.tolist() == [1]


def test_long_phrase_is_looked_for_in_pieces_of_64_words(InvertedIndex):
    index = InvertedIndex(positions=True)
    words = [f"w{n}" for n in range(2_000)]
    index.add(1, " ".join(words))
    index.add(2, " ".join(words[:100] + words[102:]))
    assert index.search(Phrase(" ".join(words))).ids.tolist() == [1]
    assert sorted(index.search(Phrase(" ".join(words[:65]))).ids.tolist()) == [1, 2]
    assert index.search(Phrase(" ".join(words[:102]))).ids.tolist() == [1]
    assert index.search(index.parse('"' + " ".join(words) + '"')).ids.tolist() == [1]


def test_phrase_of_repeated_words_ends_soon(InvertedIndex):
    index = InvertedIndex(positions=True)
    index.add(1, "a " * 3_000)
    assert index.search(Phrase("a " * 1_000)).ids.tolist() == [1]
    assert index.search(Phrase("a " * 9, slop=1_000_000)).ids.tolist() == [1]
    assert index.search(Phrase("a " * 1_000, slop=5)).ids.tolist() == [1]
    assert index.highlight(Phrase("a " * 1_000), "a " * 3_000).count("<mark>") == 1
    assert index.highlight(Phrase("a " * 9, slop=5), "a " * 3_000).count("<mark>") == 3_000


def test_document_has_a_phrase_of_repeated_words_if_it_has_each_as_often(InvertedIndex):
    index = InvertedIndex(positions=True)
    index.add_many([1, 2, 3], ["a b a", "a b", "b a b b"])
    for slop in (0, 1, 30):
        assert index.search(Phrase("a b a", slop=slop)).ids.tolist() == [1]
        assert index.search(Phrase("a " * 4, slop=slop)).ids.tolist() == []


@pytest.mark.parametrize("text", ["a-a^1e9", "(a^1e9 b)^1e9", "((a)^=1e9 b)^1e9", "w* " * 500, "w~ " * 500])
def test_lenient_queries_of_many_fields_can_be_searched_for(InvertedIndex, text):
    index = InvertedIndex({f"f{n}": Text(analyzer=Analyzer(min_length=1 + n)) for n in range(16)})
    index.add_many(range(300), [{f"f{n % 16}": f"a b word{n} " * 9} for n in range(300)])
    assert index.search(index.parse(text)) is not None


@settings(max_examples=60)
@given(st.text(st.sampled_from('wobidat12*~^"()+-: ANDOR[]nTO\\'), max_size=400))
def test_lenient_queries_can_be_searched_for_whatever_they_are(text):
    assert len(shared().search(shared().parse(text))) <= 10


def shared(made=[]):  # noqa: B006  # once for all examples
    from penstock.search.index import InvertedIndex

    if not made:
        made.append(InvertedIndex({"t": Text(), "n": Integer()}, positions=True))
        made[0].add_many(range(20), [{"t": f"word{n} big data", "n": n} for n in range(20)])
    return made[0]


def test_deep_queries_run(index):
    query = Match("common")
    for n in range(30):
        query = And(query, ~Match(f"word{n}")) if n % 2 else Or(query, Match(f"word{n}"))
    assert index.search(query).ids is not None
    assert index.explain(query, 40).score == index.scores(query)[40]


def test_memory_of_a_hostile_query_is_bounded(index):
    text = "x" * 5_000_000 + ' ("' * 100_000
    tracemalloc.start()
    try:
        index.search(index.parse(text))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


# Documents that cannot be


@pytest.mark.parametrize(
    "document", [None, 5, b"x", object(), {"text": 5}, {"x": "y"}, ["a", None], ["\ud800"], ["x" * 256]]
)
def test_refused_document_leaves_nothing_behind(InvertedIndex, document):
    index = InvertedIndex()
    index.add(1, "word")
    for add in (index.add, index.update, lambda doc_id, text: index.add_many([doc_id], [text])):
        with pytest.raises(PenstockError):
            add(2, document)
    assert len(index) == 1
    assert index.terms() == [("word", 1)]
    index.add(2, "word")
    assert len(index) == 2


def test_ranges_of_anything(index):
    dice = random.Random(1)
    bounds = [None, 0, -1, 49, 50, 2**63, -(2**63), 2**64 - 1, 0.5, -0.0, 1e300, float("inf"), float("-inf")]
    for _ in range(200):
        low, high = dice.choice(bounds), dice.choice(bounds)
        query = Range("n", low, high, dice.random() < 0.5, dice.random() < 0.5)
        expected = [
            n
            for n in range(50)
            if (query.low is None or n > query.low or (query.include_low and n == query.low))
            and (query.high is None or n < query.high or (query.include_high and n == query.high))
        ]
        assert sorted(index.search(query, 50).ids.tolist()) == expected, query
