"""What an index of terms refuses: on both twins with the same words, and nothing has changed then."""

import re

import numpy as np
import pytest

from penstock.errors import PenstockError
from penstock.search.errors import (
    DuplicateDocument,
    FrozenIndexError,
    IndexFileError,
    InvalidType,
    InvalidValue,
    QueryTooLarge,
    UnknownDocument,
)
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
from penstock.search.scoring import BM25
from penstock.search.words import WordRules

RULES = WordRules("ascii")
BEST = BM25()
FOX = TermNode(((0, "fox", 1.0),), 1.0)
LONG = "x" * 256


class Unshowable:
    def __repr__(self):
        raise RuntimeError("no")


def deep(levels):
    plan = FOX
    for _ in range(levels - 1):
        plan = ConstNode(plan, 1.0)
    return plan


def fields_of(*words):
    return TermNode(words, 1.0)


MAKING = {  # arguments of TermIndex
    "fields must be from 1 to 16, got 0": (0, 0, False, RULES),
    "fields must be from 1 to 16, got 17": (17, 0, False, RULES),
    "fields must be from 1 to 16, got -1": (-1, 0, False, RULES),
    "fields must be an int, got '1'": ("1", 0, False, RULES),
    "columns must be from 0 to 64, got 65": (1, 65, False, RULES),
    "columns must be from 0 to 64, got -1": (1, -1, False, RULES),
    "columns must be an int, got None": (1, None, False, RULES),
    "rules must be WordRules, got 'ascii'": (1, 0, False, "ascii"),
    "longest must be from 1 to 255, got 0": (1, 0, False, WordRules(longest=0)),
}

DOCUMENTS = {  # arguments of add and replace, for an index of two fields and one column
    "doc_id must be an int or a str, got None": (InvalidType, (None, ("a", "b"), (1,))),
    "doc_id must be an int or a str, got True": (InvalidType, (True, ("a", "b"), (1,))),
    "doc_id must be an int or a str, got 1.0": (InvalidType, (1.0, ("a", "b"), (1,))),
    "doc_id must be an int or a str, got b'a'": (InvalidType, (b"a", ("a", "b"), (1,))),
    "doc_id must be an int or a str, got <Unshowable>": (InvalidType, (Unshowable(), ("a", "b"), (1,))),
    "doc_id must be an int as the first one was, got 'a'": (InvalidType, ("a", ("a", "b"), (1,))),
    "doc_id must be from -2**63 to 2**63 - 1, got 9223372036854775808": (
        InvalidValue,
        (1 << 63, ("a", "b"), (1,)),
    ),
    "doc_id must be from -2**63 to 2**63 - 1, got -9223372036854775809": (
        InvalidValue,
        (-(1 << 63) - 1, ("a", "b"), (1,)),
    ),
    "texts must be a tuple, got ['a', 'b']": (InvalidType, (9, ["a", "b"], (1,))),
    "texts must be a tuple, got 'ab'": (InvalidType, (9, "ab", (1,))),
    "texts must have one entry for each of the 2 fields, got 1": (InvalidValue, (9, ("a",), (1,))),
    "texts must have one entry for each of the 2 fields, got 3": (InvalidValue, (9, ("a",) * 3, (1,))),
    "text must be a str, a sequence of words or None, got 1": (InvalidType, (9, ("a", 1), (1,))),
    "text must be a str, a sequence of words or None, got b'a'": (InvalidType, (9, ("a", b"a"), (1,))),
    "text must be a str, a sequence of words or None, got {'a'}": (InvalidType, (9, ("a", {"a"}), (1,))),
    "term must be a str, got 1": (InvalidType, (9, ("a", ["b", 1]), (1,))),
    "term must be a str, got ['b']": (InvalidType, (9, ("a", (["b"], "c")), (1,))),
    "term must have at most 255 code points, got 256": (InvalidValue, (9, ("a", ["b", LONG]), (1,))),
    "term must have at most 255 code points, got 1000": (
        InvalidValue,
        (9, ("a", ["\U0001f600" * 1000]), (1,)),
    ),
    r"term must be text that UTF-8 can hold, got 'a\ud800'": (InvalidValue, (9, ("a", ["a\ud800"]), (1,))),
    "cells must be a tuple, got [1]": (InvalidType, (9, ("a", "b"), [1])),
    "cells must have one number for each of the 1 columns, got 0": (InvalidValue, (9, ("a", "b"))),
    "cells must have one number for each of the 1 columns, got 2": (InvalidValue, (9, ("a", "b"), (1, 2))),
    "cell must be an int, got 1.0": (InvalidType, (9, ("a", "b"), (1.0,))),
    "cell must be from 0 to 2**64 - 1, got -1": (InvalidValue, (9, ("a", "b"), (-1,))),
    "cell must be from 0 to 2**64 - 1, got 18446744073709551616": (InvalidValue, (9, ("a", "b"), (1 << 64,))),
}

PLANS = {
    "plan must be made of nodes, got 'fox'": (InvalidType, "fox"),
    "plan must be made of nodes, got None": (InvalidType, AllNode((FOX, None))),
    "children of a node must be a tuple, got [": (InvalidType, AnyNode(1, [FOX])),
    "children of a node must be a tuple, got 'fox'": (InvalidType, AllNode("fox")),
    "excluded of a node must be a tuple, got [": (InvalidType, ExceptNode(FOX, [FOX])),
    "words of a node must be a tuple, got 'fox'": (InvalidType, TermNode("fox")),
    "words of a node must name at least one field, got none": (InvalidValue, TermNode(())),
    "words of a node must name each field once, got field 1 again": (
        InvalidValue,
        fields_of((1, "a", 1.0), (0, "a", 1.0), (1, "b", 2.0)),
    ),
    "word of a node must be a tuple, got 'fox'": (InvalidType, TermNode(("fox",))),
    "word of a node must be a tuple, got (0, 'fox')": (InvalidType, TermNode(((0, "fox"),))),
    "field must be from 0 to 1, got 2": (InvalidValue, fields_of((2, "fox", 1.0))),
    "field must be from 0 to 1, got -1": (InvalidValue, PhraseNode(-1, ("fox",))),
    "field must be an int, got '0'": (InvalidType, fields_of(("0", "fox", 1.0))),
    "term must be a str, got b'fox'": (InvalidType, fields_of((0, b"fox", 1.0))),
    "term must be a str, got 1": (InvalidType, PhraseNode(0, ("fox", 1))),
    "terms of a node must be a tuple, got 'fox'": (InvalidType, PhraseNode(0, "fox")),
    "weight of a field must be above 0 and up to 1e+09, got 0.0": (InvalidValue, fields_of((0, "fox", 0.0))),
    "weight of a field must be above 0 and up to 1e+09, got nan": (
        InvalidValue,
        fields_of((0, "fox", float("nan"))),
    ),
    "weight of a field must be above 0 and up to 1e+09, got 2000000000.0": (
        InvalidValue,
        fields_of((0, "fox", 2e9)),
    ),
    "weight of a field must be a number, got True": (InvalidType, fields_of((0, "fox", True))),
    "weight must be from 0 to 1e+09, got -1.0": (InvalidValue, FOX._replace(weight=-1.0)),
    "weight must be from 0 to 1e+09, got inf": (InvalidValue, FOX._replace(weight=float("inf"))),
    "weight must be a number, got '1'": (InvalidType, PhraseNode(0, ("fox",), 0, "1")),
    "score must be from 0 to 1e+09, got nan": (InvalidValue, ConstNode(FOX, float("nan"))),
    "score must be a number, got None": (InvalidType, ConstNode(FOX, None)),
    "slop must be from 0 to 1000000, got -1": (InvalidValue, PhraseNode(0, ("fox",), -1)),
    "slop must be from 0 to 1000000, got 1000001": (InvalidValue, PhraseNode(0, ("fox",), 1_000_001)),
    "slop must be an int, got 1.0": (InvalidType, PhraseNode(0, ("fox",), 1.0)),
    "minimum must be >= 1, got 0": (InvalidValue, AnyNode(0, (FOX,))),
    "minimum must be an int, got '1'": (InvalidType, AnyNode("1", (FOX,))),
    "mask must have one entry for each of the 2 documents, got 1": (InvalidValue, MaskNode(b"\1")),
    "mask must have one entry for each of the 2 documents, got 16": (
        InvalidValue,
        MaskNode(np.array([1, 0])),
    ),
    "mask must be contiguous bytes or bools, got 'ab'": (InvalidType, MaskNode("ab")),
    "mask must be contiguous bytes or bools, got array([": (InvalidType, MaskNode(np.zeros(4, bool)[::2])),
    "phrase must have at most 1024 words, got 1025": (QueryTooLarge, PhraseNode(0, ("fox",) * 1025)),
    "plan must have at most 64 levels, got more": (QueryTooLarge, deep(65)),
    "plan must have at most 65536 nodes, got more": (QueryTooLarge, AnyNode(1, (FOX,) * 65_536)),
}

CALLS = {  # what else is asked of an index of two documents, 1 and 2
    "scorer must be a BM25 or a TFIDF, got 'bm25'": (InvalidType, lambda i: i.top(FOX, "bm25", 1, None)),
    "scorer must be a BM25 or a TFIDF, got None": (InvalidType, lambda i: i.scores(FOX, None)),
    "scorer must be a BM25 or a TFIDF, got 1": (InvalidType, lambda i: i.top_words("fox", 1, 1, 1, None)),
    "scorer must be a BM25 or a TFIDF, got <class": (InvalidType, lambda i: i.scores(EveryNode(), BM25)),
    "k must be >= 0, got -1": (InvalidValue, lambda i: i.top(FOX, BEST, -1, None)),
    "k must be >= 0, got -2": (InvalidValue, lambda i: i.top_words("fox", 1, BEST, -2, None)),
    "k must be >= 0, got -3": (InvalidValue, lambda i: i.top_many(["fox"], 1, BEST, -3)),
    "k must be an int, got 1.5": (InvalidType, lambda i: i.top_words("fox", 1, BEST, 1.5, None)),
    "minimum must be >= 0, got -1": (InvalidValue, lambda i: i.top_words("fox", -1, BEST, 1, None)),
    "minimum must be an int, got None": (InvalidType, lambda i: i.top_many(["fox"], None, BEST, 1)),
    "words must be a str or a sequence of str, got 1": (
        InvalidType,
        lambda i: i.top_words(1, 1, BEST, 1, None),
    ),
    "words must be a str or a sequence of str, got b'fox'": (
        InvalidType,
        lambda i: i.top_words(b"fox", 1, BEST, 1, None),
    ),
    "words must be a str or a sequence of str, got ['fox', 1]": (
        InvalidType,
        lambda i: i.top_words(["fox", 1], 1, BEST, 1, None),
    ),
    "words must be a str or a sequence of str, got None": (
        InvalidType,
        lambda i: i.top_many(["fox", None], 1, BEST, 1),
    ),
    "mask must have one entry for each of the 2 documents, got 3": (
        InvalidValue,
        lambda i: i.top_words("fox", 1, BEST, 1, b"\1\1\1"),
    ),
    "mask must have one entry for each of the 2 documents, got 0": (
        InvalidValue,
        lambda i: i.top(FOX, BEST, 1, np.zeros(0, bool)),
    ),
    "mask must be contiguous bytes or bools, got [True, False]": (
        InvalidType,
        lambda i: i.top_words("fox", 1, BEST, 1, [True, False]),
    ),
    "field must be from 0 to 1, got 2": (InvalidValue, lambda i: i.doc_freq(2, "fox")),
    "field must be from 0 to 1, got -1": (InvalidValue, lambda i: i.words_of(-1)),
    "field must be from 0 to 1, got 3": (InvalidValue, lambda i: i.terms(3, "", 1)),
    "field must be from 0 to 1, got 4": (InvalidValue, lambda i: i.near_terms(4, "fox", 1, 0, 1)),
    "field must be from 0 to 1, got 5": (InvalidValue, lambda i: i.frequency(1, 5, "fox")),
    "field must be from 0 to 1, got 6": (InvalidValue, lambda i: i.places(1, 6, "fox")),
    "field must be from 0 to 1, got 7": (InvalidValue, lambda i: i.terms_of(1, 7)),
    "field must be an int, got 'title'": (InvalidType, lambda i: i.doc_freq("title", "fox")),
    "term must be a str, got b'fox'": (InvalidType, lambda i: i.doc_freq(0, b"fox")),
    "term must be a str, got 1": (InvalidType, lambda i: i.terms(0, 1, 1)),
    "term must be a str, got 2": (InvalidType, lambda i: i.near_terms(0, 2, 1, 0, 1)),
    "term must be a str, got 3": (InvalidType, lambda i: i.frequency(1, 0, 3)),
    "term must be a str, got None": (InvalidType, lambda i: i.places(1, 0, None)),
    "most must be >= 0, got -1": (InvalidValue, lambda i: i.terms(0, "", -1)),
    "most must be an int, got None": (InvalidType, lambda i: i.near_terms(0, "fox", 1, 0, None)),
    "distance must be from 0 to 2, got 3": (InvalidValue, lambda i: i.near_terms(0, "fox", 3, 0, 1)),
    "distance must be from 0 to 2, got -1": (InvalidValue, lambda i: i.near_terms(0, "fox", -1, 0, 1)),
    "prefix_length must be >= 0, got -1": (InvalidValue, lambda i: i.near_terms(0, "fox", 1, -1, 1)),
    "prefix_length must be an int, got '1'": (InvalidType, lambda i: i.near_terms(0, "fox", 1, "1", 1)),
    "doc_id must be in the index, got 3": (UnknownDocument, lambda i: i.frequency(3, 0, "fox")),
    "doc_id must be in the index, got 'fox'": (UnknownDocument, lambda i: i.places("fox", 0, "fox")),
    r"doc_id must be in the index, got '\ud800'": (UnknownDocument, lambda i: i.terms_of("\ud800", 0)),
    "doc_id must be in the index, got 18446744073709551616": (
        UnknownDocument,
        lambda i: i.terms_of(1 << 64, 0),
    ),
    "doc_id must be an int or a str, got None": (InvalidType, lambda i: i.delete(None)),
    "doc_id must be an int or a str, got 1.0": (InvalidType, lambda i: i.frequency(1.0, 0, "fox")),
    "doc_id must be an int or a str, got False": (InvalidType, lambda i: i.places(False, 0, "fox")),
    "doc_id must be an int or a str, got [1]": (InvalidType, lambda i: i.terms_of([1], 0)),
    "column must be from 0 to 0, got 1": (InvalidValue, lambda i: i.cells(1)),
    "column must be an int, got 'price'": (InvalidType, lambda i: i.cells("price")),
    "texts must have one entry for each of the 2 ids, got 1": (
        InvalidValue,
        lambda i: i.add_many([8, 9], [("a", "b")], [(1,)]),
    ),
    "cells must have one entry for each of the 1 ids, got 2": (
        InvalidValue,
        lambda i: i.add_many([8], [("a", "b")], [(1,), (2,)]),
    ),
    "cells must have one number for each of the 1 columns, got 0": (
        InvalidValue,
        lambda i: i.add_many([8], [("a", "b")]),
    ),
    "texts must be a tuple, got 'a b'": (InvalidType, lambda i: i.add_many([8], ["a b"], [(1,)])),
    "doc_id must be new, got 2, which the index has": (
        DuplicateDocument,
        lambda i: i.add(2, ("a", "b"), (1,)),
    ),
    "index must have had no document before it maps a segment, got 2": (
        InvalidValue,
        lambda i: i.map(i.pack()),
    ),
}


@pytest.fixture
def index(TermIndex):
    index = TermIndex(2, 1, True, RULES)
    index.add(1, ("quick fox", "fox"), (10,))
    index.add(2, ("lazy dog", None), (20,))
    return index


def refuses(kind, words, call):
    """`call` raises an error of this kind whose message begins with these words."""
    with pytest.raises(kind, match="^" + re.escape(words)) as refusal:
        call()
    assert isinstance(refusal.value, PenstockError)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 250


def state(index):
    return len(index), index.ids(), list(index.cells(0)), index.terms(0, "", 99), index.terms(1, "", 99)


@pytest.mark.parametrize("words", MAKING)
def test_index_is_not_made_with_wrong_arguments(TermIndex, words):
    refuses(PenstockError, words, lambda: TermIndex(*MAKING[words]))


@pytest.mark.parametrize("words", DOCUMENTS)
@pytest.mark.parametrize("way", ["add", "replace", "add_many"])
def test_document_is_refused_and_nothing_changes(index, way, words):
    before = state(index)
    kind, document = DOCUMENTS[words]
    if way == "add_many":
        doc_id, texts, cells = (*document, ())[:3]
        refuses(kind, words, lambda: index.add_many([doc_id], [texts], [cells]))
    else:
        refuses(kind, words, lambda: getattr(index, way)(*document))
    assert state(index) == before
    index.add(9, ("new", "new"), (1,))
    assert index.ids() == [1, 2, 9]


@pytest.mark.parametrize("words", [words for words, (_, document) in DOCUMENTS.items() if document[0] == 9])
def test_replacement_that_is_refused_leaves_the_old_document(index, words):
    kind, (_, *rest) = DOCUMENTS[words]
    before = state(index)
    refuses(kind, words, lambda: index.replace(2, *rest))
    assert state(index) == before


@pytest.mark.parametrize("way", ["top", "scores", "matches"])
@pytest.mark.parametrize("words", PLANS)
def test_plan_that_is_not_allowed_is_refused(index, way, words):
    kind, plan = PLANS[words]
    calls = {
        "top": lambda: index.top(plan, BEST, 10, None),
        "scores": lambda: index.scores(plan, BEST),
        "matches": lambda: index.matches(plan),
    }
    refuses(kind, words, calls[way])


def test_plan_may_be_as_deep_and_large_as_is_allowed(index):
    assert index.top(deep(64), BEST, 10, None) == ([1], [1.0])
    assert index.top(AnyNode(1, (FOX,) * 65_535), BEST, 10, None)[0] == [1]
    assert index.top(PhraseNode(0, ("quick", "fox"), 1_000_000), BEST, 10, None)[0] == [1]
    assert index.matches(AnyNode(1 << 80, (FOX,))) == b"\0\0"


@pytest.mark.parametrize("words", CALLS)
def test_wrong_argument_is_refused_and_nothing_changes(index, words):
    before = state(index)
    kind, call = CALLS[words]
    refuses(kind, words, lambda: call(index))
    assert state(index) == before


def test_texts_need_rules(TermIndex):
    index = TermIndex(1, 0, False, None)
    words = "texts must be lists of words where the index has no rules for words, got a str"
    refuses(InvalidType, words, lambda: index.add(1, ("a b",)))
    refuses(InvalidType, words, lambda: index.add_many([1], ["a b"]))
    refuses(
        InvalidType,
        "words must be a str or a sequence of str, got 'a b'",
        lambda: index.top_words("a b", 1, BEST, 1, None),
    )
    index.add(1, (["a b"],))
    assert index.top_words(["a b"], 1, BEST, 1, None)[0] == [1]


def test_phrases_need_positions(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    index.add(1, ("a b",))
    words = "positions must be kept by the index for this, got an index without"
    refuses(InvalidValue, words, lambda: index.top(PhraseNode(0, ("a", "b")), BEST, 1, None))
    refuses(InvalidValue, words, lambda: index.matches(AllNode((EveryNode(), PhraseNode(0, ("a", "b"))))))
    refuses(InvalidValue, words, lambda: index.places(1, 0, "a"))


def test_columns_are_only_those_of_the_index(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    refuses(InvalidValue, "column must be one of the index, which has none, got 0", lambda: index.cells(0))
    refuses(
        InvalidValue,
        "cells must have one number for each of the 0 columns, got 1",
        lambda: index.add(1, ("a",), (1,)),
    )


def test_ids_are_of_the_kind_of_the_first(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    refuses(
        InvalidValue,
        r"doc_id must be text that UTF-8 can hold, got '\ud800'",
        lambda: index.add("\ud800", ("a",)),
    )
    refuses(InvalidType, "term must be a str, got 1", lambda: index.add("a", ([1],)))  # it was never there
    index.add(1, ("a",))
    refuses(
        InvalidType, "doc_id must be an int as the first one was, got 'a'", lambda: index.add("a", ("a",))
    )
    assert index.delete(1)
    refuses(
        InvalidType, "doc_id must be an int as the first one was, got 'a'", lambda: index.add("a", ("a",))
    )

    index = TermIndex(1, 0, False, RULES)
    index.add("a", ("a",))
    refuses(InvalidType, "doc_id must be a str as the first one was, got 1", lambda: index.add(1, ("a",)))
    refuses(InvalidType, "doc_id must be a str as the first one was, got 1", lambda: index.replace(1, ("a",)))
    refuses(
        InvalidType, "doc_id must be a str as the first one was, got 2", lambda: index.add_many([2], ["a"])
    )
    assert not index.delete(1)
    assert 1 not in index


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i.add(3, ("a", "b"), (1,)),
        lambda i: i.replace(1, ("a", "b"), (1,)),
        lambda i: i.add_many([3], [("a", "b")], [(1,)]),
        lambda i: i.delete(1),
        lambda i: i.delete(99),
        lambda i: i.map(b""),
    ],
)
def test_frozen_index_refuses_every_change(index, change):
    index.freeze()
    before = state(index)
    words = "index must not be frozen to be changed, got a frozen one"
    refuses(FrozenIndexError, words, lambda: change(index))
    assert state(index) == before
    assert index.frozen


def test_segments_are_refused_unless_they_are_whole_and_fit(TermIndex, index):
    broken = "segment must be whole and of this version, got one that is not"
    other = "segment must have the fields, columns and positions of the index, got others"
    segment = index.pack()
    for bytes_ in (b"", b"x", segment[:-1], segment + b"\0", b"\0" * len(segment)):
        empty = TermIndex(2, 1, True, RULES)
        refuses(IndexFileError, broken, lambda empty=empty, bytes_=bytes_: empty.map(bytes_))
        empty.add("now of the other kind", (None, None), (1,))
        assert len(empty) == 1
    refuses(IndexFileError, other, lambda: TermIndex(1, 1, True, RULES).map(segment))
    with pytest.raises(TypeError, match="bytes-like object is required, not 'str'"):
        TermIndex(2, 1, True, RULES).map("segment")


def test_documents_in_front_of_a_refused_one_stay(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    texts = [f"word{n % 7}" for n in range(200)]
    refuses(InvalidType, "term must be a str, got 1", lambda: index.add_many(range(201), [*texts, ([1],)]))
    assert index.ids() == list(range(200))
    refuses(
        DuplicateDocument,
        "doc_id must be new, got 150, which the index has",
        lambda: index.add_many([200, 201, 150, 202], ["a", "b", "c", ([1],)]),
    )
    assert index.ids() == list(range(202))
    refuses(
        DuplicateDocument,
        "doc_id must be new, got 300, which the index has",
        lambda: index.add_many([300, 300], ["a", "b"]),
    )
    assert len(index) == 203
