"""The index of terms as a fixture, once per twin, and scorers of all kinds."""

from importlib import import_module

import pytest

from penstock.search.scoring import BM25, TFIDF

SCORERS = {
    "lucene": BM25(),
    "robertson": BM25(variant="robertson"),
    "atire": BM25(1.6, 0.4, "atire"),
    "bm25+": BM25(variant="bm25+"),
    "bm25l": BM25(1.5, 0.6, "bm25l"),
    "plain": TFIDF(),
    "classic": TFIDF("lucene"),
}


@pytest.fixture(params=["c", "py"])
def twin(request):
    """The module that holds the index of terms; one that was not built fails its tests."""
    return import_module(f"penstock.search._inverted_index_{request.param}")


@pytest.fixture(name="TermIndex")
def term_index(twin):
    return twin.TermIndex


@pytest.fixture(name="InvertedIndex")
def inverted_index(twin, monkeypatch):
    """What users see, made of one of the twins."""
    index = import_module("penstock.search.index")
    monkeypatch.setattr(index, "TermIndex", twin.TermIndex)
    return index.InvertedIndex


@pytest.fixture(params=SCORERS)
def scorer(request):
    """One of each kind of formula."""
    return SCORERS[request.param]
