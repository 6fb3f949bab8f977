"""Filters: masks, ids and queries that say which documents may be found, without a part in scores."""

import numpy as np
import pytest

from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.search.fields import Integer, Text
from penstock.search.query import Match, Not, Range


@pytest.fixture
def index(InvertedIndex):
    index = InvertedIndex({"text": Text(), "n": Integer()})
    index.add_many(range(10, 20), [{"text": "word " * (1 + n % 3), "n": n} for n in range(10)])
    index.delete(13)
    return index


def ids(hits):
    return sorted(hits.ids.tolist())


EVEN = [10, 12, 14, 16, 18]


@pytest.mark.parametrize(
    "filter",
    [
        set(EVEN),
        frozenset(EVEN),
        EVEN,
        tuple(EVEN),
        dict.fromkeys(EVEN),
        range(10, 20, 2),
        np.array(EVEN),
        np.array(EVEN, np.int32),
        np.array(EVEN, object),
        [*EVEN, 13, 99, -1, "x", None, 1.5],
    ],
    ids=lambda value: type(value).__name__,
)
def test_ids_say_which_documents_may_be_found(index, filter):
    assert ids(index.search("word", 20, filter=filter)) == EVEN


def test_iterator_of_ids_is_read_once(index):
    assert ids(index.search("word", 20, filter=iter(EVEN))) == EVEN
    assert index.count("word", filter=iter(EVEN)) == 5


def test_mask_says_so_in_the_order_of_adding(index):
    assert ids(index.search("word", 20, filter=index.column("n") % 2 == 0)) == EVEN
    mask = np.zeros(18, bool)[::2]  # not contiguous
    mask[0] = True
    assert ids(index.search("word", 20, filter=mask)) == [10]
    assert ids(index.search("word", 20, filter=np.zeros(9, bool))) == []


def test_query_says_so_too(index):
    assert ids(index.search("word", 20, filter=Range("n", 2, 5))) == [12, 14, 15]
    assert ids(index.search("word", 20, filter=Not(Range("n", 1)))) == [10]
    assert ids(index.search("word", 20, filter=Match("nothing"))) == []


def test_filter_changes_no_score(index):
    every = dict(index.search("word", 20))
    for doc_id, score in index.search("word", 20, filter=set(EVEN)):
        assert score == every[doc_id]


def test_best_of_those_that_may_be_found_come_first(index):
    assert index.search("word", 1, filter={10, 12}).ids.tolist() == [12]
    assert index.search("word", 1, filter={10, 12}, offset=1).ids.tolist() == [10]


def test_every_kind_of_search_takes_a_filter(index):
    for query in ("word", ["word"], Match("word"), index.parse("+word -nothing")):
        assert ids(index.search(query, 20, filter={11, 12})) == [11, 12]
        assert index.count(query, filter={11, 12}) == 2
    assert ids(index.search("word", 20, filter={11, 12}, mode="and")) == [11, 12]
    assert ids(index.search("word", 20, filter={11, 12}, fields=["text"])) == [11, 12]
    assert ids(index.more_like(10, 20, filter={11, 12})) == [11, 12]


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        (np.zeros(10, bool), "filter must have one entry for each of the 9 documents, got 10"),
        (np.zeros(0, bool), "filter must have one entry for each of the 9 documents, got 0"),
        (
            np.zeros((9, 1), bool),
            r"filter must have one entry for each of the 9 documents, got shape \(9, 1\)",
        ),
        (np.zeros(9), r"filter must be a one-dimensional array of ids, got float64 of shape \(9,\)"),
        (
            np.zeros((3, 3), int),
            r"filter must be a one-dimensional array of ids, got int64 of shape \(3, 3\)",
        ),
        ([True, False], r"filter must be ids, got bools: numpy\.array\(filter\) makes them a mask"),
        ("abc", "filter must be a numpy array of bools, ids or a Query, got 'abc'"),
        (b"abc", "filter must be a numpy array of bools, ids or a Query, got b'abc'"),
        (5, "filter must be a numpy array of bools, ids or a Query, got 5"),
        (lambda doc_id: True, "filter must be a numpy array of bools, ids or a Query"),
    ],
)
def test_other_filters_are_refused(index, filter, message):
    with pytest.raises(PenstockError, match=message) as caught:
        index.search("word", filter=filter)
    assert isinstance(caught.value, InvalidType | InvalidValue)


def test_texts_are_ids_in_a_filter_too(InvertedIndex):
    index = InvertedIndex()
    index.add_many("abc", ["word"] * 3)
    for filter in ({"a", "c"}, ["a", "c", 5], np.array(["a", "c"]), np.array(["a", "c"], object)):
        assert ids(index.search("word", filter=filter)) == ["a", "c"]
