"""Documents that are like another."""

import pytest

from penstock.errors import InvalidType
from penstock.search.errors import UnknownDocument
from penstock.search.fields import Integer, Text

TEXTS = {
    1: "the cat chases the mouse in the house",
    2: "the mouse hides from the cat",
    3: "the dog sleeps",
    4: "stocks fell in the morning",
    5: "in the morning the stocks rose",
}


@pytest.fixture
def index(InvertedIndex):
    index = InvertedIndex()
    index.add_many(TEXTS, TEXTS.values())
    return index


def test_documents_with_the_same_rare_words_come_first(index):
    assert index.more_like(1).ids.tolist()[0] == 2
    assert index.more_like(4).ids.tolist()[0] == 5


def test_document_itself_is_left_out_and_k_are_found_nevertheless(index):
    assert 1 not in index.more_like(1, 10).ids.tolist()
    assert len(index.more_like(1, 2)) == 2
    assert len(index.more_like(1, 0)) == 0


def test_text_may_be_any(index):
    assert index.more_like(text="stocks in the morning", k=2).ids.tolist() == [4, 5]
    assert index.more_like(text="nothing known").ids.tolist() == []
    assert index.more_like(text="").ids.tolist() == []
    assert index.more_like(text=["mouse", "cat"], k=1).ids.tolist() == [2]


def test_text_of_a_document_finds_it_too(index):
    assert index.more_like(text=TEXTS[3]).ids.tolist()[0] == 3


def test_only_the_25_words_that_say_most_count(InvertedIndex):
    index = InvertedIndex()
    index.add_many(range(30), [f"w{n} w{n}" for n in range(30)])
    hits = index.more_like(text=" ".join(f"w{n}" for n in range(30)), k=100)
    assert len(hits) == 25


def test_words_of_every_field_count(InvertedIndex):
    index = InvertedIndex({"title": Text(), "body": Text(), "n": Integer()})
    index.add("a", {"title": "cats", "body": "purr", "n": 1})
    index.add("b", {"title": "dogs", "body": "purr"})
    index.add("c", {"title": "cats", "body": "meow"})
    index.add("d", {"title": "fish"})
    assert sorted(index.more_like("a").ids.tolist()) == ["b", "c"]
    assert index.more_like(text={"title": "fish"}).ids.tolist() == ["d"]


def test_id_is_never_taken_for_a_text(InvertedIndex):
    index = InvertedIndex()
    index.add("cat", "mouse")
    with pytest.raises(UnknownDocument, match="doc_id must be in the index, got 'dog'"):
        index.more_like("dog")
    assert len(index.more_like("cat")) == 0


def test_one_of_both_must_be_given(index):
    for arguments in ({}, {"doc_id": 1, "text": "x"}):
        with pytest.raises(
            InvalidType, match="more_like must be given doc_id, or text=, got neither or both"
        ):
            index.more_like(**arguments)
