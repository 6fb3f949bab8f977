"""Fields: several texts searched as one, each with its boost and its analyzer, and columns of numbers."""

import math

import numpy as np
import pytest

from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.search.analyzer import Analyzer
from penstock.search.fields import Integer, Number, Text, UnknownField
from penstock.search.query import Match, Range, Term
from penstock.search.scoring import BM25

BOOKS = {
    1: {"title": "Water and light", "body": "rain rain rain"},
    2: {"title": "Rain", "body": "water falls from clouds"},
    3: {"title": "Clouds", "body": None},
    4: {"body": "light"},
}


@pytest.fixture
def books(InvertedIndex):
    index = InvertedIndex({"title": Text(boost=3), "body": Text()})
    index.add_many(BOOKS, BOOKS.values())
    return index


def test_word_is_found_in_every_field(books):
    assert set(books.search("rain").ids.tolist()) == {1, 2}
    assert set(books.search("light").ids.tolist()) == {1, 4}


def test_boost_counts_words_of_a_field_as_though_they_were_there_so_often(books, InvertedIndex):
    flat = InvertedIndex()
    for doc_id, book in BOOKS.items():
        title, body = book.get("title") or "", book.get("body") or ""
        flat.add(doc_id, " ".join([title] * 3 + [body]))
    for query in (
        "light",
        "clouds water",
    ):  # in one field of each document, so that frequencies of documents agree
        expected = dict(flat.search(query))
        found = dict(books.search(query))
        assert found.keys() == expected.keys()
    hits = books.search("clouds")
    n, df, average = 4, 1, (3 * 5 + 8) / 4  # documents, in the field where most have it, words
    frequency = {3: 3.0, 2: 1.0}
    length = {3: 3.0, 2: 7.0}
    idf = math.log(1 + (n - df + 0.5) / (df + 0.5))
    for doc_id, score in hits:
        f, size = frequency[doc_id], length[doc_id]
        assert score == pytest.approx(idf * f / (f + 1.2 * (0.25 + 0.75 * size / average)), abs=1e-12)


def test_fields_of_a_search_can_be_chosen_and_boosted(books):
    assert books.search("rain", fields=["title"]).ids.tolist() == [2]
    assert books.search("rain", fields=["body"]).ids.tolist() == [1]
    assert books.search("rain", fields={"title": 100, "body": 0.01}).ids.tolist()[0] == 2
    assert books.search("rain", fields={"title": 0.01, "body": 100}).ids.tolist()[0] == 1
    assert books.search("rain", fields=[]).ids.tolist() == []
    assert books.scores("rain", fields=["body"]).tolist()[1] == 0
    assert books.count("rain", fields=["body"]) == 1


def test_query_of_one_field_looks_there_alone(books):
    assert books.search(Match("rain", field="title")).ids.tolist() == [2]
    assert books.search(Term("rain", field="body")).ids.tolist() == [1]
    assert books.search(books.parse("body:(rain water)")).ids.tolist() == [1, 2]


def test_all_words_may_stand_in_different_fields(books):
    assert books.search("water rain", mode="and").ids.tolist() == [1, 2]
    assert books.search("clouds water rain", mode=3).ids.tolist() == [2]


def test_one_field_with_a_boost_scores_as_though_words_came_so_often(InvertedIndex):
    boosted, plain = InvertedIndex({"t": Text(2)}), InvertedIndex()
    for n, text in enumerate(["a b", "a a c d", "c"]):
        boosted.add(n, {"t": text})
        plain.add(n, f"{text} {text}")
    assert boosted.search("a c").scores.tolist() == plain.search("a c").scores.tolist()


def test_fields_have_their_own_analyzers(InvertedIndex):
    index = InvertedIndex(
        {
            "name": Text(analyzer="keyword"),
            "text": Text(analyzer=Analyzer(stop_words={"the"})),
            "code": Text(),
        }
    )
    index.add(1, {"name": "New York", "text": "the city", "code": "The X"})
    index.add(2, {"name": "York", "text": "new walls", "code": "Y"})
    assert index.search("New York").ids.tolist() == [1, 2]
    assert index.search(Match("New York", field="name")).ids.tolist() == [1]
    assert index.search(Match("the", field="text")).ids.tolist() == []
    assert index.search("the").ids.tolist() == [1]
    assert index.doc_freq("new", "text") == 1
    assert index.terms(field="text") == [("city", 1), ("new", 1), ("walls", 1)]


def test_analyzer_with_a_function_of_ones_own(InvertedIndex):
    index = InvertedIndex(analyzer=Analyzer(custom=lambda text: text.split("-")))
    index.add(1, "a b-c")
    assert index.search("c-z").ids.tolist() == [1]
    assert index.search("a").ids.tolist() == []
    assert index.doc_freq("a b") == 1


def test_words_in_place_of_a_text_are_taken_as_they_are(InvertedIndex):
    index = InvertedIndex({"t": Text()})
    index.add(1, {"t": ["New York", "X"]})
    index.add(2, {"t": ("x",)})
    assert index.search(["New York"]).ids.tolist() == [1]
    assert index.search("x").ids.tolist() == [2]


def test_phrase_is_looked_for_in_each_field(InvertedIndex):
    index = InvertedIndex({"title": Text(5), "body": Text()}, positions=True)
    index.add(1, {"title": "big", "body": "data is big data"})
    index.add(2, {"title": "big data"})
    assert index.search(index.parse('"big data"')).ids.tolist() == [2, 1]


# Documents


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("text", "document must be a mapping of fields to values, got 'text'"),
        ({"title": 5}, "title must be a text or a sequence of words, got 5"),
        ({"title": b"x"}, "title must be a text or a sequence of words, got b'x'"),
        ({"title": {"x"}}, "title must be a text or a sequence of words"),
        ({"titel": "x"}, "field must be one of title, body, got 'titel'"),
        ({"title": ["x", 5]}, "term must be a str, got 5"),
    ],
)
def test_document_that_does_not_fit_is_refused(books, document, message):
    with pytest.raises(PenstockError, match=message):
        books.add(9, document)
    assert 9 not in books
    assert len(books) == 4


def test_text_alone_is_no_document_of_an_index_with_fields(InvertedIndex):
    index = InvertedIndex({"t": Text()})
    for add in (index.add, index.update, lambda doc_id, text: index.add_many([doc_id], [text])):
        with pytest.raises(InvalidType, match="document must be a mapping of fields to values, got 'x'"):
            add(1, "x")


def test_document_without_any_field_is_a_document(books):
    books.add(9, {})
    assert 9 in books


# Columns


@pytest.fixture
def goods(InvertedIndex):
    index = InvertedIndex({"name": Text(), "price": Number(), "stock": Integer()})
    index.add("a", {"name": "thing", "price": 9.5, "stock": 3})
    index.add("b", {"name": "thing", "price": 20})
    index.add("c", {"name": "thing", "stock": -7})
    index.add("d", {"name": "thing", "price": math.inf, "stock": 2**63 - 1})
    return index


def test_columns_come_in_the_order_of_adding(goods):
    assert goods.column("price").tolist()[:2] == [9.5, 20.0]
    assert math.isnan(goods.column("price")[2])
    assert goods.column("stock").tolist() == [3, Integer.missing, -7, 2**63 - 1]
    goods.delete("b")
    assert goods.column("stock").tolist() == [3, -7, 2**63 - 1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Range("price", 9.5, 20), "ab"),
        (Range("price", 9.5, 20, include_low=False), "b"),
        (Range("price", 9.5, 20, include_high=False), "a"),
        (Range("price", 9), "abd"),
        (Range("price", None, 9.5), "a"),
        (Range("price"), "abd"),
        (Range("price", math.inf), "d"),
        (Range("stock"), "acd"),
        (Range("stock", 0), "ad"),
        (Range("stock", 2.5, 3.5), "a"),
        (Range("stock", 3, 3.0), "a"),
        (Range("stock", 3, None, include_low=False), "d"),
        (Range("stock", 3.0, None, include_low=False), "d"),
        (Range("stock", None, 3, True, False), "c"),
        (Range("stock", None, -7.5), ""),
        (Range("stock", None, -6.5), "c"),
        (Range("stock", 2**63 - 1), "d"),
        (Range("stock", 2**63 - 1, None, include_low=False), ""),
        (Range("stock", 2**63), ""),
        (Range("stock", None, -(2**63)), ""),
        (Range("stock", None, -(2**63) - 1), ""),
        (Range("stock", -math.inf, math.inf), "acd"),
        (Range("stock", math.inf), ""),
        (Range("stock", 1e300), ""),
        (Range("stock", 5, 4), ""),
    ],
)
def test_range_holds_what_lies_between(goods, query, expected):
    assert "".join(goods.search(query).ids.tolist()) == expected
    assert goods.count(query) == len(expected)


def test_number_behind_the_name_of_a_column_is_a_range(goods):
    assert goods.search(goods.parse("+thing +stock:3")).ids.tolist() == ["a"]
    assert goods.search(goods.parse("+thing +price:>=20")).ids.tolist() == ["b", "d"]
    assert goods.search(Match("3", field="stock")).ids.tolist() == ["a"]
    with pytest.raises(
        InvalidValue, match=r"stock must be asked for a number or a range such as stock:\[10 TO 20\]"
    ):
        goods.search(Match("three", field="stock"))


@pytest.mark.parametrize("value", ["5", [1], True, 1j, object()])
def test_what_is_no_number_is_refused(goods, value):
    with pytest.raises(InvalidType, match="price must be a number or None"):
        goods.add("z", {"price": value})
    with pytest.raises(InvalidType, match="stock must be an int or None"):
        goods.add("z", {"stock": 1.5})
    assert "z" not in goods


@pytest.mark.parametrize("value", [2**63, -(2**63), 10**400])
def test_number_that_does_not_fit_is_refused(goods, value):
    with pytest.raises(InvalidValue, match=r"stock must be from -2\*\*63 \+ 1 to 2\*\*63 - 1"):
        goods.add("z", {"stock": value})


def test_numpy_numbers_fit(goods):
    goods.add("z", {"price": np.float32(0.5), "stock": np.int8(-1)})
    assert goods.column("price")[-1] == 0.5
    assert goods.column("stock")[-1] == -1


def test_column_is_no_text_and_text_no_column(goods):
    with pytest.raises(
        UnknownField, match="field must be one of text, which are name, got 'price', a column"
    ):
        goods.search("x", fields=["price"])
    with pytest.raises(UnknownField, match="column must be one of price, stock, got 'name'"):
        goods.search(Range("name", 1, 2))


def test_text_takes_only_boosts_above_zero_and_analyzers():
    for boost in (0, -1, math.nan, math.inf, 1e10):
        with pytest.raises(InvalidValue, match="weight of a field must be above 0"):
            Text(boost)
    with pytest.raises(InvalidType, match="analyzer must be an Analyzer or the name of one, got 5"):
        Text(analyzer=5)


def test_scorer_without_lengths_scores_by_occurrence_alone(InvertedIndex):
    index = InvertedIndex({"t": Text()}, scorer=BM25(k1=0))
    index.add(1, {"t": "a a a b"})
    index.add(2, {"t": "a"})
    assert len(set(index.search("a").scores.tolist())) == 1
