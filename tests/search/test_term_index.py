"""An index of terms: documents are there at once and gone at once, and all it tells is of those that live."""

from array import array
from importlib import import_module

import numpy as np
import pytest

from penstock.search.errors import DuplicateDocument, FrozenIndexError, UnknownDocument
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
from penstock.search.scoring import BM25, TFIDF
from penstock.search.words import WordRules

BEST = BM25()
RULES = WordRules("ascii")


def term(word, field=0, weight=1.0):
    return TermNode(((field, word, 1.0),), weight)


@pytest.fixture
def index(TermIndex):
    """Three documents of one field, with positions and one column."""
    index = TermIndex(1, 1, True, RULES)
    index.add(7, ("The quick brown fox",), (70,))
    index.add(3, ("The lazy dog sleeps, the fox jumps",), (30,))
    index.add(5, (["quick", "dogs"],), (50,))
    return index


def found(index, plan):
    return index.top(plan, BEST, 100, None)[0]


# ---- adding ----


def test_new_index_is_empty(TermIndex, scorer):
    index = TermIndex(2, 1, True, RULES)
    assert len(index) == 0
    assert index.ids() == []
    assert index.top(EveryNode(), scorer, 10, None) == ([], [])
    assert index.top(term("x"), scorer, 10, b"") == ([], [])
    assert index.top_words("x y", 1, scorer, 10, None) == ([], [])
    assert index.scores(term("x"), scorer) == array("d")
    assert index.matches(EveryNode()) == b""
    assert index.cells(0) == array("Q")
    assert index.terms(1, "", 10) == []
    assert index.words_of(1) == 0
    assert not index.frozen


def test_document_is_found_as_soon_as_it_was_added(index):
    assert index.top_words("jumps", 1, BEST, 10, None)[0] == [3]
    index.add(9, ("jumps",), (0,))
    assert index.top_words("jumps", 1, BEST, 10, None)[0] == [9, 3]
    assert 9 in index
    assert len(index) == 4


def test_documents_are_kept_in_the_order_of_adding(index):
    assert index.ids() == [7, 3, 5]
    assert index.cells(0) == array("Q", [70, 30, 50])


def test_text_is_taken_apart_by_the_rules_and_words_are_taken_as_they_are(index):
    index.add(1, (["New York", "", "QUICK", "é"],), (0,))
    assert [each[0] for each in index.terms(0, "", 100)] == sorted(
        [
            "the",
            "quick",
            "brown",
            "fox",
            "lazy",
            "dog",
            "sleeps",
            "jumps",
            "dogs",
            "New York",
            "",
            "QUICK",
            "é",
        ]
    )
    assert found(index, term("New York")) == [1]
    assert found(index, term("QUICK")) == [1]


def test_id_that_is_there_is_refused_and_nothing_changes(index):
    before = index.pack()
    with pytest.raises(DuplicateDocument, match="doc_id must be new, got 3, which the index has"):
        index.add(3, ("other words",), (1,))
    assert index.pack() == before


def test_id_is_free_again_once_its_document_was_deleted(index):
    assert index.delete(3)
    index.add(3, ("cats",), (31,))
    assert index.ids() == [7, 5, 3]
    assert index.cells(0) == array("Q", [70, 50, 31])
    assert index.doc_freq(0, "lazy") == 0


def test_document_without_words_is_there(TermIndex, scorer):
    index = TermIndex(2, 0, True, RULES)
    index.add_many(["empty", "none", "few"], [("", []), (None, None), ("a", None)])
    assert found(index, EveryNode()) == ["empty", "none", "few"]
    assert index.frequency("none", 1, "a") == (0, 0)
    assert index.top(term("a"), scorer, 10, None)[0] == ["few"]
    assert list(index.scores(term("a"), scorer))[:2] == [0.0, 0.0]


def test_ids_can_be_texts(TermIndex):
    index = TermIndex(1, 0, False, None)
    names = ["", "a", "日本", "a" * 1_000, "\0"]
    index.add_many(names, [(["x"],)] * len(names))
    assert index.ids() == names
    assert found(index, term("x")) == names
    assert all(name in index for name in names)
    assert "b" not in index
    assert 1 not in index


def test_ids_can_be_any_int_of_64_bits(TermIndex):
    index = TermIndex(1, 0, False, None)
    ids = [0, -1, -(1 << 63), (1 << 63) - 1]
    index.add_many(ids, [(["x"],)] * 4)
    assert index.ids() == found(index, term("x")) == ids
    assert 1 << 63 not in index
    assert not index.delete(1 << 64)
    assert "x" not in index


def test_add_many_takes_texts_alone_for_one_field(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    index.add_many([1, 2, 3], ["one two", ("two",), (["two", "three"],)])
    assert found(index, term("two")) == [2, 1, 3]


def test_documents_before_one_that_is_refused_stay(index):
    with pytest.raises(DuplicateDocument):
        index.add_many([11, 12, 5, 13], ["a", "b", "c", "d"], [(1,), (2,), (3,), (4,)])
    assert index.ids() == [7, 3, 5, 11, 12]
    assert index.cells(0) == array("Q", [70, 30, 50, 1, 2])
    index.add(13, ("d",), (4,))


@pytest.mark.parametrize("bad", [["ok", 1], ["ok", "x" * 256], ["ok", "\ud800"], 5])
def test_refused_document_leaves_no_trace(TermIndex, bad):
    index = TermIndex(2, 0, True, RULES)
    index.add(1, ("a b", "c"))
    before = index.pack()
    with pytest.raises((TypeError, ValueError)):
        index.add(2, ("a ok new", bad))
    assert index.pack() == before
    assert index.doc_freq(0, "new") == 0
    assert 2 not in index
    index.add(2, ("a ok new", "c"))
    assert index.doc_freq(0, "a") == 2


# ---- deleting ----


def test_deleted_document_is_in_no_answer(index):
    assert index.delete(3)
    assert not index.delete(3)
    assert 3 not in index
    assert index.ids() == [7, 5]
    assert found(index, term("fox")) == [7]
    assert found(index, EveryNode()) == [7, 5]
    assert index.doc_freq(0, "fox") == 1
    assert index.terms(0, "j", 10) == []
    assert index.words_of(0) == 6
    assert index.near_terms(0, "jumps", 1, 0, 10) == []
    assert len(index.scores(term("fox"), BEST)) == 2


def test_index_can_lose_all_documents_and_get_new_ones(index):
    for doc_id in index.ids():
        assert index.delete(doc_id)
    assert len(index) == index.words_of(0) == 0
    assert found(index, AnyNode(1, (term("fox"), EveryNode()))) == []
    index.compact()
    index.add(3, ("fox",), (1,))
    assert found(index, term("fox")) == [3]


# ---- searching ----


def test_best_documents_come_first_with_their_scores(index):
    ids, scores = index.top_words("lazy quick brown fox", 1, TFIDF(), 10, None)
    assert ids == [7, 3, 5]
    assert scores == sorted(scores, reverse=True)
    plan = AnyNode(1, tuple(map(term, ("lazy", "quick", "brown", "fox"))))
    everything = dict(zip(index.ids(), index.scores(plan, TFIDF()), strict=True))
    assert scores == [everything[doc_id] for doc_id in ids]


def test_k_bounds_how_many_are_found(index):
    assert index.top_words("quick fox", 1, BEST, 0, None) == ([], [])
    assert len(index.top_words("quick fox", 1, BEST, 2, None)[0]) == 2
    assert len(index.top_words("quick fox", 1, BEST, 1 << 62, None)[0]) == 3


def test_minimum_is_how_many_different_words_must_be_there(index):
    assert index.top_words("quick fox", 0, BEST, 10, None)[0] == [7]
    assert index.top_words("quick quick", 0, BEST, 10, None)[0] == [5, 7]
    assert index.top_words("quick quick", 2, BEST, 10, None)[0] == []
    assert sorted(index.top_words("the quick dog fox", 2, BEST, 10, None)[0]) == [3, 7]
    assert index.top_words("the quick dog fox", 3, BEST, 10, None)[0] in ([7, 3], [3, 7])
    assert index.top_words("fox nowhere", 0, BEST, 10, None)[0] == []
    assert index.top_words("", 0, BEST, 10, None) == ([], [])


def test_word_that_a_query_repeats_counts_as_often(index):
    once, twice = index.scores(term("fox"), BEST), index.scores(term("fox", weight=2.0), BEST)
    assert list(twice) == pytest.approx([2 * score for score in once])
    assert index.top_words(["fox", "fox"], 1, BEST, 10, None)[1] == sorted(filter(None, twice), reverse=True)


def test_unknown_and_impossible_words_match_nothing(index):
    for word in ("nowhere", "", "x" * 300, "\ud800", "x\ud800"):
        assert found(index, term(word)) == []
        assert index.top_words([word], 1, BEST, 10, None) == ([], [])
        assert index.doc_freq(0, word) == 0
        assert index.frequency(7, 0, word) == (0, 4)
        assert index.places(7, 0, word) == []
        assert index.near_terms(0, word, 0, 0, 10) == []
        assert index.terms(0, word, 0) == []
    assert index.top_words(["fox", "\ud800"], 0, BEST, 10, None)[0] == []
    assert len(index.top_words(["fox", "\ud800"], 1, BEST, 10, None)[0]) == 2


def test_words_behind_the_first_1024_different_ones_are_passed_over(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    index.add_many([1, 2], ["w1023 w1024", "w1024"])
    query = [f"w{number}" for number in range(3_000)]
    assert index.top_words(query, 1, BEST, 10, None)[0] == [1]
    assert index.top_words(" ".join(query), 1, BEST, 10, None)[0] == [1]
    ids, _ = index.top_many([query, "w1024"], 1, BEST, 2)
    assert list(ids) == [1, -1, 2, 1]


def test_mask_leaves_only_its_documents(index):
    for mask in (b"\1\0\1", bytearray([9, 0, 1]), np.array([True, False, True]), memoryview(b"\1\0\xff")):
        assert index.top_words("fox the quick", 1, BEST, 10, mask)[0] == [7, 5]
        assert index.top(EveryNode(), BEST, 10, mask)[0] == [7, 5]
        assert found(index, MaskNode(mask)) == [7, 5]
    index.delete(7)
    assert index.top_words("fox the quick", 1, BEST, 10, b"\1\0")[0] == [3]


def test_mask_does_not_change_scores(index):
    ids, scores = index.top_words("fox quick", 1, BEST, 10, None)
    for place, doc_id in enumerate(index.ids()):
        mask = bytes(number == place for number in range(3))
        assert index.top_words("fox quick", 1, BEST, 10, mask) == ([doc_id], [scores[ids.index(doc_id)]])


def test_mask_of_ids_has_a_byte_for_each_document(index):
    assert index.mask_of([5, 7, 8, "x", None, 1 << 70]) == bytearray([1, 0, 1])
    assert index.mask_of(iter([])) == bytearray(3)
    index.delete(7)
    assert index.mask_of({3}) == bytearray([1, 0])


def test_any_of_several_must_match_as_often_as_is_asked(index):
    the, quick, fox = term("the"), term("quick"), term("fox")
    assert sorted(found(index, AnyNode(1, (the, quick)))) == [3, 5, 7]
    assert sorted(found(index, AnyNode(2, (the, quick, fox)))) == [3, 7]
    assert found(index, AnyNode(3, (the, quick, fox))) == [7]
    assert found(index, AnyNode(4, (the, quick, fox))) == []
    assert found(index, AnyNode(1, ())) == []


def test_all_of_several_must_match(index):
    assert found(index, AllNode((term("the"), term("fox"), EveryNode()))) == [7, 3]
    assert found(index, AllNode((term("quick"), term("lazy")))) == []
    assert found(index, AllNode(())) == []


def test_excluded_documents_do_not_match_and_do_not_change_scores(index):
    plan = ExceptNode(
        AnyNode(1, (term("fox"), term("quick"))), (term("brown"), PhraseNode(0, ("quick", "dogs")))
    )
    assert found(index, plan) == [3]
    assert list(index.scores(plan, TFIDF())) == pytest.approx([0, index.scores(term("fox"), TFIDF())[1], 0])
    assert found(index, ExceptNode(EveryNode(), ())) == [7, 3, 5]


def test_constant_takes_the_place_of_a_score(index):
    assert index.top(ConstNode(term("fox"), 2.5), BEST, 10, None) == ([7, 3], [2.5, 2.5])
    assert index.top(ConstNode(term("fox"), 0.0), BEST, 10, None) == ([7, 3], [0.0, 0.0])


def test_documents_that_match_with_score_zero_are_found(index):
    assert index.top(EveryNode(), BEST, 2, None) == ([7, 3], [0.0, 0.0])
    assert index.top(term("fox", weight=0.0), BEST, 10, None) == ([7, 3], [0.0, 0.0])
    for number in range(100, 110):
        index.add(number, ("fox",), (0,))
    index.delete(5)
    assert index.top_words("fox", 1, TFIDF(), 3, None) == ([7, 3, 100], [0.0, 0.0, 0.0])  # in every document


def test_matches_are_told_without_a_scorer(index):
    assert index.matches(term("quick")) == b"\1\0\1"
    assert index.matches(ExceptNode(EveryNode(), (term("quick"),))) == b"\0\1\0"


def test_top_many_fills_up_what_is_not_there(index):
    ids, scores = index.top_many(["fox", "", "quick dogs", ["lazy"]], 1, BEST, 2)
    assert ids == array("q", [7, 3, -1, -1, 5, 7, 3, -1])
    assert list(scores)[2:4] == [0.0, 0.0]
    assert scores[7] == 0.0
    for number, query in enumerate(["fox", "", "quick dogs", ["lazy"]]):
        expected = index.top_words(query, 1, BEST, 2, None)[1]
        assert list(scores[2 * number : 2 * number + len(expected)]) == expected
    assert index.top_many([], 1, BEST, 2) == (array("q"), array("d"))
    assert len(index.top_many(["fox"], 1, BEST, 1 << 62)[0]) == len(index)


def test_top_many_of_text_ids_is_a_list(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    index.add_many(["a", "b"], ["fox", "dog"])
    assert index.top_many(["dog", "x"], 1, BEST, 2)[0] == ["b", None, None, None]


# ---- phrases ----


def test_phrase_is_words_in_order_one_behind_the_other(index):
    assert found(index, PhraseNode(0, ("quick", "brown", "fox"))) == [7]
    assert found(index, PhraseNode(0, ("brown", "quick"))) == []
    assert found(index, PhraseNode(0, ("quick", "fox"))) == []
    assert found(index, PhraseNode(0, ("fox",))) == [7, 3]
    assert found(index, PhraseNode(0, ())) == []
    assert found(index, PhraseNode(0, ("quick", "nowhere"))) == []


def test_slop_lets_words_stand_apart_or_swapped(index):
    assert found(index, PhraseNode(0, ("quick", "fox"), 1)) == [7]
    assert found(index, PhraseNode(0, ("lazy", "jumps"), 3)) == []
    assert found(index, PhraseNode(0, ("lazy", "jumps"), 4)) == [3]
    assert found(index, PhraseNode(0, ("brown", "quick"), 1)) == []
    assert found(index, PhraseNode(0, ("brown", "quick"), 2)) == [7]


def test_phrase_that_repeats_a_word_needs_it_at_two_places(TermIndex):
    index = TermIndex(1, 0, True, RULES)
    index.add_many([1, 2, 3], ["bye bye love", "bye love", "love bye x x x bye"])
    assert found(index, PhraseNode(0, ("bye", "bye"), 0)) == [1]
    assert found(index, PhraseNode(0, ("bye", "bye"), 3)) == [1, 3]


def test_farther_phrases_are_worth_less(TermIndex):
    index = TermIndex(1, 0, True, RULES)
    index.add_many([1, 2, 3], ["a x x b y", "a b x x y", "a x b x y"])
    ids, scores = index.top(PhraseNode(0, ("a", "b"), 5), BM25(b=0.0), 10, None)
    assert ids == [2, 3, 1]
    idf = BM25().idf(3, 3) * 2  # the sum of those of the words
    assert scores == pytest.approx([idf * f / (f + 1.2) for f in (1, 1 / 2, 1 / 3)])


# ---- fields ----


def test_fields_are_apart(TermIndex):
    index = TermIndex(2, 0, True, RULES)
    index.add(1, ("red", "blue green"))
    index.add(2, ("blue", "red"))
    assert found(index, term("red")) == [1]
    assert found(index, term("red", field=1)) == [2]
    assert index.doc_freq(1, "green") == 1
    assert index.words_of(0) == 2
    assert index.words_of(1) == 3
    assert index.top_words("blue", 1, BEST, 10, None)[0] == [2]
    assert index.terms(1, "", 10) == [("blue", 1), ("green", 1), ("red", 1)]
    assert index.terms_of(1, 1) == [("blue", 1), ("green", 1)]


def test_word_can_be_looked_for_in_several_fields_of_unlike_weight(TermIndex):
    index = TermIndex(2, 0, False, RULES)
    index.add_many([1, 2], [("x y", "red y"), ("red y", "x y")])
    assert found(index, TermNode(((0, "red", 3.0), (1, "red", 1.0)))) == [2, 1]
    assert found(index, TermNode(((0, "red", 1.0), (1, "red", 3.0)))) == [1, 2]
    ids, scores = index.top(TermNode(((0, "red", 1.0), (1, "red", 1.0))), BEST, 10, None)
    assert ids == [1, 2]
    assert scores[0] == scores[1]


# ---- terms and documents ----


def test_terms_are_in_order_of_their_code_points(TermIndex):
    index = TermIndex(1, 0, False, None)
    words = ["b", "a", "ab", "é", "日", "\U0001f600", "￿", "", "A", "z"]
    index.add(1, (words,))
    assert [word for word, _ in index.terms(0, "", 100)] == sorted(words)
    index.compact()
    assert [word for word, _ in index.terms(0, "", 100)] == sorted(words)
    assert index.terms(0, "a", 100) == [("a", 1), ("ab", 1)]


def test_terms_that_are_too_many_are_those_of_most_documents(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    index.add_many([1, 2, 3], ["aa ab ac b", "ab ac b", "ac b"])
    assert index.terms(0, "a", 2) == [("ab", 2), ("ac", 3)]
    assert index.terms(0, "", 1) == [("ac", 3)]
    assert index.terms(0, "", 0) == []


def test_near_terms_are_within_so_many_edits(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    index.add_many([1, 2], ["house mouse horse hose houses hsoue", "mouse moose"])
    assert index.near_terms(0, "house", 0, 0, 10) == [("house", 1, 0)]
    near = [("hose", 1, 1), ("horse", 1, 1), ("house", 1, 0), ("houses", 1, 1), ("mouse", 2, 1)]
    assert index.near_terms(0, "house", 1, 0, 10) == sorted(near)
    assert ("hsoue", 1, 2) in index.near_terms(0, "house", 2, 0, 10)
    assert ("mouse", 2, 1) not in index.near_terms(0, "house", 2, 1, 10)
    assert index.near_terms(0, "house", 2, 0, 2) == [("house", 1, 0), ("mouse", 2, 1)]
    assert index.near_terms(0, "house", 2, 0, 0) == []


def test_document_tells_its_words_their_number_and_places(index):
    assert index.terms_of(3, 0) == [
        ("dog", 1),
        ("fox", 1),
        ("jumps", 1),
        ("lazy", 1),
        ("sleeps", 1),
        ("the", 2),
    ]
    assert index.frequency(3, 0, "the") == (2, 7)
    assert index.frequency(3, 0, "quick") == (0, 7)
    assert index.places(3, 0, "the") == [0, 4]
    assert index.places(3, 0, "quick") == []


def test_document_that_is_not_there_tells_nothing(index):
    index.delete(3)
    for ask in (
        lambda: index.terms_of(3, 0),
        lambda: index.frequency(3, 0, "the"),
        lambda: index.places(3, 0, "the"),
        lambda: index.terms_of("x", 0),
    ):
        with pytest.raises(UnknownDocument, match="doc_id must be in the index, got"):
            ask()


# ---- the whole ----


def test_compacting_changes_no_answer(index):
    index.delete(7)
    plan = AnyNode(1, (term("quick"), term("fox"), PhraseNode(0, ("the", "fox"))))
    before = index.top(plan, BEST, 10, None), index.ids(), index.cells(0), index.terms(0, "", 100)
    index.compact()
    assert before == (index.top(plan, BEST, 10, None), index.ids(), index.cells(0), index.terms(0, "", 100))
    assert index.places(3, 0, "the") == [0, 4]
    index.add(7, ("quick again",), (71,))
    assert index.ids() == [3, 5, 7]
    assert index.statistics()["dead"] == 0


def test_frozen_index_answers_and_refuses_changes(index):
    plan = AnyNode(1, (term("quick"), term("fox")))
    before = index.top(plan, BEST, 10, None)
    index.freeze()
    assert index.frozen
    assert index.top(plan, BEST, 10, None) == before
    for change in (
        lambda: index.add(1, ("x",), (0,)),
        lambda: index.add_many([1], ["x"], [(0,)]),
        lambda: index.delete(7),
        lambda: index.delete(1),
        lambda: index.map(b""),
    ):
        with pytest.raises(FrozenIndexError, match="index must not be frozen to be changed"):
            change()
    index.compact()
    assert index.ids() == [7, 3, 5]


def test_frozen_index_gives_the_exact_best_for_any_scorer(TermIndex, scorer):
    index = TermIndex(1, 0, False, RULES)
    for i in range(3000):
        index.add(i, ([f"w{i * j % 7}" for j in range(1, 5 + i % 11)],))
    plan = AnyNode(1, (term("w1"), term("w3"), term("w5")))
    index.freeze()
    scores, there = index.scores(plan, scorer), index.matches(plan)
    best = sorted((i for i in range(3000) if there[i]), key=lambda i: (-scores[i], i))[:20]
    assert index.top(plan, scorer, 20, None) == (best, [scores[i] for i in best])


def test_statistics_count_what_lives(index):
    index.delete(5)
    index.compact()
    counts = index.statistics()
    assert counts["documents"] == 2
    assert counts["dead"] == 0
    assert counts["terms"] == 8
    assert counts["postings"] == 10


def added_at_once(index, ids):
    index.begin_many()
    index.add_many(ids, [([f"w{number % 97}", f"v{number}"],) for number in ids])
    index.end_many(len(ids))


def test_what_was_added_at_once_is_packed_at_its_end():
    index = import_module("penstock.search._inverted_index_c").TermIndex(1, 0, False, None)
    added_at_once(index, range(5_000))
    assert index.memory()["tail"] == 0
    assert index.memory()["ids"] < 5_000  # ids that ascend are found in the segment itself
    added_at_once(index, range(5_000, 12_000))  # more than there were: with them
    assert index.statistics()["segments"] == 1
    added_at_once(index, range(12_000, 17_000))  # fewer: beside them
    assert index.statistics()["segments"] == 2
    assert index.memory()["tail"] == 0
    added_at_once(index, range(17_000, 17_100))  # not worth it
    assert index.memory()["tail"] > 0
    assert index.ids() == list(range(17_100))
    assert index.doc_freq(0, "w5") == len(range(5, 17_100, 97))


def test_documents_that_live_are_found_by_id_wherever_they_went(TermIndex):
    index, living = TermIndex(1, 0, False, None), {}
    for ids in (range(0, 10_000, 2), range(9_999, 0, -2), [*range(20_000, 26_000), 5_000_000_000]):
        for doc_id in ids[::3]:
            living.pop(doc_id, None)
            index.delete(doc_id)
        new = [doc_id for doc_id in ids if doc_id not in living]
        added_at_once(index, new)
        living |= dict.fromkeys(new)
        for doc_id in list(living)[::5]:
            del living[doc_id]
            assert index.delete(doc_id)
        for doc_id in list(living)[::7]:
            index.replace(doc_id, (["again"],))
            living[doc_id] = living.pop(doc_id)
        assert index.ids() == list(living)
        assert all((doc_id in index) == (doc_id in living) for doc_id in range(26_001))


def test_memory_is_told_by_part(index):
    parts = index.memory()
    assert parts.keys() == {"segments", "mapped", "tail", "ids", "other"}
    assert sum(parts.values()) > 0
    assert min(parts.values()) >= 0
