"""The index as its users see it: documents come, are found, change and go."""

import copy
import pickle
import threading

import numpy as np
import pytest

from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.search.analyzer import Analyzer
from penstock.search.errors import DuplicateDocument, FrozenIndexError, UnknownDocument
from penstock.search.fields import Integer, Number, Text, UnknownField
from penstock.search.query import Match, Phrase, Range, Term
from penstock.search.scoring import BM25, TFIDF

TEXTS = {
    1: "Introduction to Python",
    2: "Machine learning with Python",
    3: "Rust and machine code",
    4: "A python ate the mouse",
    5: "",
}


@pytest.fixture
def index(InvertedIndex):
    index = InvertedIndex()
    index.add_many(TEXTS, TEXTS.values())
    return index


def ids(hits):
    return hits.ids.tolist()


# Finding


def test_search_many_that_finds_nothing_is_filled_up_as_its_ids_are(InvertedIndex):
    index = InvertedIndex()
    index.add("a", "water")
    for queries in (["fire"], [Term("fire")]):
        ids, scores = index.search_many(queries, 2)
        assert ids.tolist() == [[None, None]]
        assert scores.tolist() == [[0, 0]]
    numbers = InvertedIndex()
    numbers.add(1, "water")
    assert numbers.search_many([Term("fire")], 1)[0].tolist() == [[-1]]


def test_best_documents_come_first(index):
    hits = index.search("python machine learning")
    assert ids(hits) == [2, 3, 1, 4]
    assert hits.scores.tolist() == sorted(hits.scores.tolist(), reverse=True)


def test_document_is_found_as_soon_as_it_was_added(index):
    assert not index.search("zebra")
    index.add(6, "zebra crossing")
    assert ids(index.search("zebra")) == [6]


def test_of_equal_scores_the_document_that_was_added_first_comes_first(InvertedIndex):
    index = InvertedIndex()
    index.add_many([9, 2, 5], ["same words"] * 3)
    assert ids(index.search("words")) == [9, 2, 5]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("or", [2, 3, 1, 4]), ("and", [2]), (1, [2, 3, 1, 4]), (2, [2]), (3, [])],
)
def test_mode_says_how_many_words_must_match(index, mode, expected):
    assert ids(index.search("machine python", mode=mode)) == expected
    assert index.count("machine python", mode=mode) == len(expected)
    found, _ = index.search_many(["machine python"], 4, mode=mode)
    assert [doc_id for doc_id in found[0].tolist() if doc_id >= 0] == expected


def test_repeated_words_of_a_query_count_as_often(index):
    once, twice = index.search("rust"), index.search("rust rust")
    assert twice.scores[0] == pytest.approx(2 * once.scores[0])
    assert ids(index.search("rust rust", mode=2)) == []


def test_offset_gives_the_next_page(index):
    every = index.search("python machine learning", 10)
    pages = [index.search("python machine learning", 2, offset=offset) for offset in (0, 2, 4)]
    assert [hit for page in pages for hit in page] == list(every)


def test_list_of_words_is_taken_as_it_is(index):
    assert ids(index.search(["python"])) == [1, 2, 4]
    assert ids(index.search(["Python"])) == []


def test_search_of_words_is_that_of_the_query_match(index):
    for text in ("python", "machine python zzz", "rust rust", ""):
        assert index.search(text) == index.search(Match(text)) == index.search(index.parse(text))


def test_scorer_of_a_search_takes_the_place_of_the_index_own(index, InvertedIndex):
    other = InvertedIndex(scorer=TFIDF())
    other.add_many(TEXTS, TEXTS.values())
    assert index.search("python rust", scorer=TFIDF()) == other.search("python rust")
    assert other.scorer == TFIDF()


def test_scores_are_those_of_hits_and_zero_for_others(index):
    hits = index.search("python machine")
    dense = index.scores("python machine")
    assert dense.shape == (5,)
    expected = dict(hits)
    assert dense.tolist() == [expected.get(doc_id, 0.0) for doc_id in index.ids.tolist()]


def test_count_with_a_filter(index):
    assert index.count("python") == 3
    assert index.count("python", filter={1, 3}) == 1
    assert index.count("python", filter=np.array([True, True, False, False, False])) == 2


# Many queries


def test_search_many_is_search_for_each(index):
    queries = ["python", "machine learning", "zzz", ""]
    found, scores = index.search_many(queries, 3)
    assert found.shape == scores.shape == (4, 3)
    assert found.dtype == np.int64
    assert scores.dtype == np.float64
    for query, row, values in zip(queries, found.tolist(), scores.tolist(), strict=True):
        hits = index.search(query, 3)
        padding = 3 - len(hits)
        assert row == ids(hits) + [-1] * padding
        assert values == hits.scores.tolist() + [0.0] * padding


def test_search_many_is_padded_to_k_when_the_index_is_smaller(index):
    found, scores = index.search_many(["python"], 8)
    assert found[0].tolist() == [1, 2, 4, -1, -1, -1, -1, -1]
    assert scores[0, 3:].tolist() == [0.0] * 5


def test_search_many_takes_queries_of_every_kind(index):
    found, _ = index.search_many(["python", ["rust"], Match("ate")], 1)
    assert found.tolist() == [[1], [3], [4]]


def test_search_many_with_texts_for_ids_pads_with_none(InvertedIndex):
    index = InvertedIndex()
    index.add("a", "one")
    for queries in (["one", "two"], [Match("one"), Match("two")]):
        found, scores = index.search_many(queries, 2)
        assert found.tolist() == [["a", None], [None, None]]
        assert scores.shape == (2, 2)


@pytest.mark.parametrize("threads", [1, 2, 7, 1000])
def test_search_many_gives_the_same_with_any_number_of_threads(index, threads):
    queries = ["python", "rust code", "mouse"] * 11
    alone, together = index.search_many(queries, 3), index.search_many(queries, 3, threads=threads)
    assert np.array_equal(alone[0], together[0])
    assert np.array_equal(alone[1], together[1])


def test_search_many_of_nothing(index, InvertedIndex):
    assert index.search_many([], 3)[0].shape == (0, 3)
    assert index.search_many(["python"], 0)[0].shape == (1, 0)
    assert InvertedIndex().search_many(["python"], 2)[0].tolist() == [[-1, -1]]


def test_search_many_refuses_what_would_not_fit_into_memory(index):
    with pytest.raises(InvalidValue, match=r"k \* queries must be <= 134217728, got 1000000000 \* 2"):
        index.search_many(["a", "b"], 10**9)
    with pytest.raises(InvalidType, match="queries must be a sequence of queries, got 'python'"):
        index.search_many("python")
    with pytest.raises(InvalidValue, match="threads must be >= 1, got 0"):
        index.search_many(["python"], threads=0)


# Changing


def test_deleted_document_was_never_there(index, InvertedIndex):
    assert index.delete(4) is True
    assert index.delete(4) is False
    other = InvertedIndex()
    other.add_many([1, 2, 3, 5], [TEXTS[doc_id] for doc_id in (1, 2, 3, 5)])
    assert 4 not in index
    assert len(index) == 4
    assert index.search("python machine") == other.search("python machine")
    assert index.doc_freq("python") == 2


def test_update_puts_a_document_in_the_place_of_another(index):
    index.update(2, "gardening")
    assert ids(index.search("learning")) == []
    assert ids(index.search("gardening")) == [2]
    assert len(index) == 5
    assert index.ids.tolist() == [1, 3, 4, 5, 2]


def test_update_adds_a_document_that_is_not_there(index):
    index.update(77, "gardening")
    assert 77 in index


def test_refused_update_leaves_the_old_document(index):
    before = index.search("machine learning")
    for refused in (5, b"bytes", ["ok", 7], ["x" * 300], ["\ud800"], None):
        with pytest.raises(PenstockError):
            index.update(2, refused)
    assert index.search("machine learning") == before
    assert index.ids.tolist() == [1, 2, 3, 4, 5]


def test_document_that_is_there_is_refused_and_changes_nothing(index):
    with pytest.raises(DuplicateDocument, match="doc_id must be new, got 2"):
        index.add(2, "gardening")
    with pytest.raises(ValueError, match="doc_id must be new"):
        index.add(2, "gardening")
    assert not index.search("gardening")


def test_add_many_adds_what_comes_before_a_refused_document_and_says_how_many(index):
    with pytest.raises(DuplicateDocument) as caught:
        index.add_many([6, 7, 1, 8], ["six", "seven", "one", "eight"])
    assert caught.value.__notes__ == ["documents before it were added; the index has 7 now"]
    assert 7 in index
    assert 8 not in index


def test_add_many_adds_what_comes_before_a_document_that_cannot_be_taken_apart(InvertedIndex):
    index = InvertedIndex({"title": Text(), "n": Integer()})
    with pytest.raises(InvalidType, match=r"n must be an int or None, got 1\.5"):
        index.add_many("abc", [{"title": "x", "n": 1}, {"title": "y"}, {"n": 1.5}])
    assert index.ids.tolist() == ["a", "b"]


def test_add_many_adds_what_comes_before_an_id_that_is_none(InvertedIndex):
    index = InvertedIndex()
    with pytest.raises(InvalidType, match="doc_id must be an int or a str, got None"):
        index.add_many([1, np.int64(2), None, 3], ["one"] * 4)
    assert index.ids.tolist() == [1, 2]


def test_sequences_of_the_callers_are_read_before_the_index_is_locked(InvertedIndex):
    from collections import UserList

    index = InvertedIndex()

    class Asking(UserList):
        def __iter__(self):
            index.search("a", filter={1})
            return super().__iter__()

    index.add(1, Asking(["a", "b"]))
    index.update(1, Asking(["a", "c"]))
    index.add_many([2], [Asking(["a"])])
    assert index.search("a", filter={1, 2}).ids.tolist() == [2, 1]


def test_add_many_takes_iterators_and_arrays_and_tells_its_progress(InvertedIndex):
    index, seen = InvertedIndex(), []
    index.add_many(np.arange(1000), (f"number{n}" for n in range(1000)), progress=seen.append)
    assert len(index) == 1000
    assert seen[-1] == 1000
    assert seen == sorted(seen)
    assert ids(index.search("number999")) == [999]


@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize(("n", "m"), [(3, 2), (2, 3), (300, 299), (256, 257), (0, 1), (1, 0)])
def test_add_many_refuses_lists_of_different_lengths(InvertedIndex, kind, n, m):
    index = InvertedIndex()
    with pytest.raises(InvalidValue, match=f"ids and documents must be of one length, got {n} and {m}"):
        index.add_many(kind(list(range(n))), kind(["x"] * m))
    assert len(index) <= min(n, m)


def test_add_many_of_nothing_adds_nothing(InvertedIndex):
    index = InvertedIndex()
    index.add_many([], [])
    assert len(index) == 0


class Many:
    """An index of terms that is interrupted as soon as it knows that many documents are to come."""

    def __init__(self, terms):
        self.terms = terms
        self.under_way = 0

    def __len__(self):
        return len(self.terms)

    def begin_many(self):
        self.under_way += 1
        raise KeyboardInterrupt

    def end_many(self, added):
        self.under_way -= 1


def test_interrupted_add_many_ends_what_it_has_begun(index):
    many = index._terms = Many(index._terms)
    with pytest.raises(KeyboardInterrupt):
        index.add_many([6], ["six"])
    assert many.under_way == 0


def test_frozen_index_refuses_changes_and_answers_as_before(index):
    before = index.search("python machine")
    index.freeze()
    assert index.frozen
    for change in (
        lambda: index.add(9, "x"),
        lambda: index.add_many([9], ["x"]),
        lambda: index.update(1, "x"),
        lambda: index.delete(1),
    ):
        with pytest.raises(FrozenIndexError, match="index must not be frozen"):
            change()
    assert index.search("python machine") == before


def test_compact_changes_no_answer(index):
    index.delete(3)
    before = index.search("python machine code")
    index.compact()
    assert index.search("python machine code") == before
    assert index.stats().dead == 0


# What is in it


def test_length_ids_and_membership(index):
    assert len(index) == 5
    assert index.ids.tolist() == [1, 2, 3, 4, 5]
    assert 1 in index
    assert "1" not in index
    assert None not in index
    assert 1.5 not in index


def test_texts_can_be_ids(InvertedIndex):
    index = InvertedIndex()
    index.add("ä/1", "one")
    assert index.search("one")[0].doc_id == "ä/1"
    assert index.ids.dtype == object
    assert index.search("one").ids.dtype == object


@pytest.mark.parametrize("doc_id", [None, 1.5, True, b"x", (1,), 2**63, "\ud800"])
def test_other_ids_are_refused(InvertedIndex, doc_id):
    index = InvertedIndex()
    with pytest.raises(PenstockError, match="doc_id must be"):
        index.add(doc_id, "text")
    assert len(index) == 0


def test_ids_are_all_of_one_kind(index):
    with pytest.raises(InvalidType, match="doc_id must be an int as the first one was, got 'a'"):
        index.add("a", "text")


def test_numpy_numbers_are_ids(InvertedIndex):
    index = InvertedIndex()
    index.add(np.int64(3), "text")
    assert 3 in index
    assert type(index.search("text")[0].doc_id) is int


def test_words_and_their_document_frequencies(index):
    assert index.doc_freq("python") == 3
    assert index.doc_freq("Python") == 0
    assert index.terms("ma") == [("machine", 2)]
    assert index.terms(limit=1) == [("python", 3)]
    assert index.terms()[0] == ("a", 1)
    assert ("to", 1) in index.terms()


def test_stats_and_memory(index):
    stats = index.stats()
    assert stats.documents == 5
    assert stats.words == {"text": 16}
    assert stats.average_words == {"text": 3.2}
    assert stats.postings >= 16
    assert index.memory_usage() > 0
    assert index.__sizeof__() > index.memory_usage()


def test_repr_tells_the_size_and_no_contents(index):
    assert repr(index) == "<InvertedIndex of 5 documents, fields: text>"


def test_settings_can_be_read(InvertedIndex):
    index = InvertedIndex(
        {"title": Text(2), "n": Number}, analyzer="ascii", scorer=BM25(0.9, 0.4), positions=True
    )
    assert index.fields == {"title": Text(2), "n": Number()}
    assert index.analyzer == Analyzer("ascii")
    assert index.scorer == BM25(0.9, 0.4)
    assert index.positions
    assert not index.frozen


def test_empty_index_answers_everything_with_nothing(InvertedIndex):
    index = InvertedIndex(positions=True)
    assert list(index.search("x")) == []
    assert list(index.search(Phrase("x y"))) == []
    assert index.ids.tolist() == []
    assert index.scores("x").tolist() == []
    assert index.count("x") == 0
    assert index.terms() == []
    assert index.stats().average_words == {"text": 0.0}
    assert index.delete(1) is False
    with pytest.raises(UnknownDocument, match="doc_id must be in the index, got 1"):
        index.explain("x", 1)


# Copies


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))]
)
def test_copy_answers_the_same_and_is_another_index(index, copied):
    other = copied(index)
    assert other.search("python machine") == index.search("python machine")
    assert other.ids.tolist() == index.ids.tolist()
    other.add(9, "zebra")
    assert not index.search("zebra")


def test_pickle_keeps_fields_scorer_and_analyzers(InvertedIndex):
    index = InvertedIndex(
        {"title": Text(2), "body": Text(analyzer="reference"), "n": Integer()},
        scorer=TFIDF("lucene"),
        positions=True,
    )
    index.add("x", {"title": "an ox", "body": "an oxcart", "n": -3})
    other = pickle.loads(pickle.dumps(index))
    assert other.fields == index.fields
    assert other.scorer == index.scorer
    assert other.column("n").tolist() == [-3]
    assert other.search(Phrase("an ox", field="title")) == index.search(Phrase("an ox", field="title"))


# Threads


def test_masks_mean_what_they_meant_while_documents_come_and_go(InvertedIndex):
    index = InvertedIndex({"text": Text(), "even": Integer()})
    index.add_many(range(300), [{"text": "word", "even": 1 - n % 2} for n in range(300)])
    stop, failures = threading.Event(), []

    def change():
        n = 300
        while not stop.is_set():
            index.delete(n - 300)
            index.add(n, {"text": "word", "even": 1 - n % 2})
            n += 1

    def ask():
        for _ in range(60):
            for found in (
                index.search("word", 50, filter=Range("even", 1, 1)),
                index.search(Match("word") & Range("even", 1, 1), 50),
            ):
                failures.extend(doc_id for doc_id, _ in found if doc_id % 2)

    changer = threading.Thread(target=change)
    askers = [threading.Thread(target=ask) for _ in range(2)]
    for thread in (changer, *askers):
        thread.start()
    for thread in askers:
        thread.join()
    stop.set()
    changer.join()
    assert not failures


class Nested:
    """An index of terms that is changed once more while a document is added, as a destructor may do."""

    def __init__(self, index):
        self.terms = index._terms
        self.index = index
        self.versions = []

    def add(self, *arguments):
        self.index.delete(1)
        self.versions.append(self.index._version)
        self.terms.add(*arguments)

    def delete(self, doc_id):
        self.versions.append(self.index._version)
        return self.terms.delete(doc_id)


def test_change_within_a_change_does_not_end_it(index):
    """Whoever reads meanwhile looks at the version, which is odd until all is done."""
    before = index._version
    nested = index._terms = Nested(index)
    index.add(6, "six")
    assert all(version & 1 for version in nested.versions)
    assert len(nested.versions) == 2
    assert not index._version & 1
    assert index._version > before


# Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": -1}, "k must be >= 0, got -1"),
        ({"k": 1.5}, r"k must be an int, got 1\.5"),
        ({"mode": "xor"}, 'mode must be "or", "and" or how many words must match, got \'xor\''),
        ({"mode": 0}, "mode must be >= 1, got 0"),
        ({"mode": True}, 'mode must be "or", "and" or how many words must match, got True'),
        ({"offset": -1}, "offset must be >= 0, got -1"),
        ({"scorer": "bm25"}, "scorer must be a BM25 or a TFIDF, got 'bm25'"),
        ({"fields": ["title"]}, "field must be one of text, got 'title'"),
        ({"fields": "text"}, "fields must be names or a mapping of names to boosts, got 'text'"),
        ({"fields": 5}, "fields must be names or a mapping of names to boosts, got 5"),
        ({"fields": {"text": 0}}, "weight of a field must be above 0"),
        ({"filter": 5}, "filter must be a numpy array of bools, ids or a Query, got 5"),
    ],
)
def test_wrong_argument_of_a_search_is_refused(index, arguments, message):
    with pytest.raises(PenstockError, match=message):
        index.search("python", **arguments)


@pytest.mark.parametrize("query", [None, 5, b"python", {"python"}, ["python", 5]])
def test_what_is_no_query_is_refused(index, query):
    for ask in (index.search, index.count, index.scores, lambda query: index.search_many([query])):
        with pytest.raises(InvalidType, match="must be a str"):
            ask(query)


def test_mode_with_a_query_is_refused(index):
    with pytest.raises(InvalidValue, match="mode must be left out where a Query says what must match"):
        index.search(Match("python"), mode="and")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fields": []}, "fields must be a mapping"),
        ({"fields": {}}, "fields must hold 1 to 16 of text, got 0"),
        ({"fields": {"n": Number()}}, "fields must hold 1 to 16 of text, got 0"),
        ({"fields": {f"f{n}": Text() for n in range(17)}}, "fields must hold 1 to 16 of text, got 17"),
        ({"fields": {"t": Text()} | {f"n{n}": Number() for n in range(65)}}, "at most 64 of numbers, got 65"),
        ({"fields": {"t": "text"}}, "field t must be a Text, a Number or an Integer, got 'text'"),
        ({"fields": {"a b": Text()}}, "field must be a letter or _ and up to 63 more"),
        ({"fields": {5: Text()}}, "field must be the name of a field, got 5"),
        ({"analyzer": 5}, "analyzer must be an Analyzer or the name of one, got 5"),
        ({"scorer": None}, "scorer must be a BM25 or a TFIDF, got None"),
    ],
)
def test_wrong_argument_of_an_index_is_refused(InvertedIndex, arguments, message):
    with pytest.raises(PenstockError, match=message):
        InvertedIndex(**arguments)


def test_unknown_field_is_a_lookup_error(index):
    with pytest.raises(LookupError):
        index.search("x", fields=["nope"])
    with pytest.raises(UnknownField, match="column must be one of none, got 'n'"):
        index.column("n")
    with pytest.raises(UnknownField, match="field must be one of text, got 'title'"):
        index.add(9, {"title": "x"})
