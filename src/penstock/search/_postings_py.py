"""Postings of the pure-Python index: for each term of a field, which documents hold it, and how often."""

from collections.abc import Mapping, Sequence
from sys import getsizeof
from typing import NamedTuple

__all__ = ["Document", "Field", "Postings"]


class Postings:
    """One term of a field. Documents are ordinals, ascending.

    Attributes:
        term: the word.
        freqs: how often each document that holds it does.
    """

    __slots__ = ("freqs", "term")

    def __init__(self, term: str) -> None:
        self.term = term
        self.freqs: dict[int, int] = {}


class Document(NamedTuple):
    """What an index knows of a document: its id, its terms in each field, and its cells."""

    doc_id: int | str
    postings: tuple[tuple[Postings, ...], ...]
    cells: tuple[int, ...]


class Field:
    """The terms of one field.

    Attributes:
        postings: by term.
        lengths: how many words each live document has.
        words: their sum.
        texts: the words of each live document, in order; empty if positions are not kept.
    """

    __slots__ = ("lengths", "postings", "texts", "words")

    def __init__(self) -> None:
        self.postings: dict[str, Postings] = {}
        self.lengths: dict[int, int] = {}
        self.words = 0
        self.texts: dict[int, tuple[str, ...]] = {}

    def doc_freq(self, term: str) -> int:
        """How many documents hold a term."""
        found = self.postings.get(term)
        return len(found.freqs) if found else 0

    def insert(
        self, ordinal: int, freqs: Mapping[str, int], words: Sequence[str], positions: bool
    ) -> tuple[Postings, ...]:
        """Adds a document; the postings that it is in now."""
        postings = self.postings
        get = postings.get
        terms = []
        for term, freq in freqs.items():
            found = get(term)
            if found is None:
                found = postings[term] = Postings(term)
            found.freqs[ordinal] = freq
            terms.append(found)
        if positions:  # each term as one str, which all documents share
            self.texts[ordinal] = tuple([postings[word].term for word in words])
        self.lengths[ordinal] = len(words)
        self.words += len(words)
        return tuple(terms)

    def take_back(self, ordinal: int, freqs: Mapping[str, int]) -> None:
        """Removes what there is of a document whose insertion was broken off. O(n)."""
        for term in freqs:
            found = self.postings.get(term)
            if found is not None:
                found.freqs.pop(ordinal, None)
                if not found.freqs:
                    del self.postings[term]
        self.texts.pop(ordinal, None)
        self.lengths.pop(ordinal, None)
        self.words = sum(self.lengths.values())

    def remove(self, ordinal: int, terms: Sequence[Postings]) -> None:
        """Removes a document from the postings that it is in."""
        for found in terms:
            del found.freqs[ordinal]
            if not found.freqs:
                del self.postings[found.term]
        self.words -= self.lengths.pop(ordinal)
        self.texts.pop(ordinal, None)

    def places(self, ordinal: int, terms: Sequence[str]) -> list[list[int]]:
        """(terms,) where a document has each of the terms, ascending. O(its words)."""
        places: dict[str, list[int]] = {term: [] for term in terms}
        for place, word in enumerate(self.texts[ordinal]):
            if word in places:
                places[word].append(place)
        return [places[term] for term in terms]

    def size_bytes(self) -> int:
        """Memory that it takes. O(terms)."""
        size = getsizeof(self.postings) + getsizeof(self.lengths) + getsizeof(self.words) * len(self.lengths)
        for term, found in self.postings.items():
            size += getsizeof(term) + getsizeof(found) + getsizeof(found.freqs)
        return size + getsizeof(self.texts) + sum(map(getsizeof, self.texts.values()))
