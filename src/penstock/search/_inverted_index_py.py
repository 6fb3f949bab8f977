"""An index of terms, pure Python. Its compiled twin does the same over csrc/inverted_index.c."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from itertools import compress, islice
from sys import getsizeof
from typing import TYPE_CHECKING

from penstock.search._arguments import (
    LONGEST_TERM,
    MOST_QUERY_WORDS,
    checked_distance,
    checked_field,
    checked_int,
    checked_k,
    checked_mask,
    checked_minimum,
    checked_most,
    checked_query,
    checked_query_term,
    checked_scorer,
    frozen_index,
    no_positions,
    not_empty,
    wrong_words,
)
from penstock.search._documents_py import DocId, Documents
from penstock.search._edit_distance_py import near_distance
from penstock.search._run_py import Run, best
from penstock.search._segment_py import packed, unpacked
from penstock.search.plan import AnyNode, Node, TermNode
from penstock.search.scoring import Scorer

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["TermIndex"]


class TermIndex(Documents):
    """Which documents hold which words: documents are words, or text to take apart, and queries are plans.

    Documents are searched from the moment `add` returns until `delete` does. Whatever the index tells of
    documents, frequencies and averages is of live ones: an index from which a document was deleted answers as
    one that never had it. Of documents with equal scores that which was added first comes first.

    Any number of threads may call everything at once.

    Args:
        fields: texts that a document has, 1 to 16.
        columns: numbers that a document has beside them, 0 to 64.
        positions: whether to keep where words stand, which phrases need.
        rules: how text is taken apart; None: documents and queries are sequences of words.

    Raises:
        InvalidValue: fields or columns are too many or too few.

    Source: Zobel and Moffat, Inverted Files for Text Search Engines, 2006.
    """

    __slots__ = ()

    # Searching ----------------------------------------------------------------------------------------------

    def top(
        self, plan: Node, scorer: Scorer, k: int, mask: "Buffer | None", /
    ) -> tuple[list[DocId], list[float]]:
        """The k best documents that a plan matches, best first.

        Args:
            plan: a tree of nodes.
            scorer: a `BM25` or a `TFIDF`.
            k: how many at the most, >= 0.
            mask: (n,) bytes or bools for live documents in the order of adding; only those with what is not 0
                can be found. None: all.

        Returns:
            (m,) ids, (m,) scores, m <= k.

        Raises:
            QueryTooLarge: the plan has too many nodes or levels.
            InvalidType, InvalidValue: an argument, a node or the length of the mask is not allowed.
        """
        k = checked_k(k)
        with self._lock:
            within = None if mask is None else set(self._masked(mask))
            scores = self._run(checked_scorer(scorer)).scores(plan, within)
            hits = best(scores, k)
            return [self._documents[ordinal].doc_id for ordinal in hits], [scores[hit] for hit in hits]

    def top_words(
        self, words: str | Sequence[str], minimum: int, scorer: Scorer, k: int, mask: "Buffer | None", /
    ) -> tuple[list[DocId], list[float]]:
        """The k best documents for words of the first field, best first.

        A word that comes more than once counts as often. Of more than 1,024 different words the first count,
        so that no text is too long a query.

        Args:
            words: a str, which the rules take apart, or words.
            minimum: how many different ones a document must hold; 0: all of them.
            scorer: as for `top`.
            k: as for `top`.
            mask: as for `top`.

        Returns:
            (m,) ids, (m,) scores, m <= k.

        Raises:
            InvalidType, InvalidValue: an argument or the length of the mask is not allowed.
        """
        return self.top(self._plan_of_words(words, minimum), scorer, k, mask)

    def top_many(
        self, queries: Sequence[str | Sequence[str]], minimum: int, scorer: Scorer, k: int, /
    ) -> "tuple[array[int] | list[str | None], array[float]]":
        """What `top_words` finds for each of many queries; k counts as `len` of the index if it is greater.

        Returns:
            (queries * k,) ids: int64, filled up with -1; or, if ids are texts, a list, filled up with None;
            and (queries * k,) float64 scores, filled up with 0.

        Raises:
            InvalidType, InvalidValue: as `top_words`; then there is no result at all.
        """
        k = checked_k(k)
        ids: list[DocId | None] = []
        scores = array("d")
        with self._lock:
            k = min(k, len(self._documents))
            nothing = None if self._text_ids else -1
            for words in queries:
                found, values = self.top_words(words, minimum, scorer, k, None)
                ids += found
                ids += [nothing] * (k - len(found))
                scores.extend(values)
                scores.extend([0.0] * (k - len(found)))
            return (ids if self._text_ids else array("q", ids)), scores  # type: ignore[arg-type,return-value]

    def scores(self, plan: Node, scorer: Scorer, /) -> "array[float]":
        """(n,) float64, scores of live documents in the order of adding, 0 where the plan does not match.

        Raises:
            QueryTooLarge, InvalidType, InvalidValue: as `top`.
        """
        with self._lock:
            scores = self._run(checked_scorer(scorer)).scores(plan, None)
            return array("d", [scores.get(ordinal, 0.0) for ordinal in self._documents])

    def matches(self, plan: Node, /) -> bytes:
        """(n,) a byte for each live document in the order of adding, 1 where the plan matches, else 0.

        Raises:
            QueryTooLarge, InvalidType, InvalidValue: as `top`.
        """
        with self._lock:
            matched = self._run(None).scores(plan, None)
            return bytes(ordinal in matched for ordinal in self._documents)

    def _run(self, scorer: Scorer | None) -> Run:
        return Run(self._fields, self._documents, self._positions, scorer)

    def _masked(self, mask: "Buffer") -> Iterator[int]:
        return compress(self._documents, checked_mask(mask, len(self._documents)))

    def _plan_of_words(self, words: str | Sequence[str], minimum: int) -> Node:
        minimum = checked_minimum(minimum, 0)
        if isinstance(words, str):
            if self._splitter is None:
                raise wrong_words(words)
            words = self._splitter.words(words)
        freqs = islice(Counter(checked_query(words)).items(), MOST_QUERY_WORDS)
        nodes = tuple(TermNode(((0, term, 1.0),), float(freq)) for term, freq in freqs)
        return AnyNode(minimum or max(len(nodes), 1), nodes)

    # Terms --------------------------------------------------------------------------------------------------

    def doc_freq(self, field: int, term: str, /) -> int:
        """How many documents hold a word in a field.

        Raises:
            InvalidType, InvalidValue: there is no such field, or `term` is no str.
        """
        with self._lock:
            return self._field(field).doc_freq(checked_query_term(term))

    def words_of(self, field: int, /) -> int:
        """How many words documents have in a field, all together.

        Raises:
            InvalidValue: there is no such field.
        """
        with self._lock:
            return self._field(field).words

    def terms(self, field: int, prefix: str, most: int, /) -> list[tuple[str, int]]:
        """(m,) (term, documents with it) of the terms of a field that begin with `prefix`, ascending.

        If there are more than `most`, those in most documents, of equal ones the first. O(terms).

        Raises:
            InvalidType, InvalidValue: an argument is not allowed.
        """
        most = checked_most(most)
        prefix = checked_query_term(prefix)
        with self._lock:
            postings = self._field(field).postings
            found = [(term, len(each.freqs)) for term, each in postings.items() if term.startswith(prefix)]
        if len(found) > most:
            found = nsmallest(most, found, key=lambda each: (-each[1], each[0]))
        return sorted(found)

    def near_terms(
        self, field: int, term: str, distance: int, prefix_length: int, most: int, /
    ) -> list[tuple[str, int, int]]:
        """(m,) (term, documents with it, distance) of the terms of a field that are like `term`, ascending.

        If there are more than `most`, the nearest, of these those in most documents, of equal ones the first.
        O(terms).

        Args:
            field: its number.
            term: what they are held against.
            distance: how many edits they may be away, 0 to 2: a code point more, less, another, or two
                neighbours swapped.
            prefix_length: code points at the start that must be equal.
            most: how many at the most.

        Raises:
            InvalidType, InvalidValue: an argument is not allowed.
        """
        distance, most = checked_distance(distance), checked_most(most)
        prefix_length = checked_int("prefix_length", prefix_length, 0)
        term = checked_query_term(term)
        if len(term) > LONGEST_TERM:
            return []
        with self._lock:
            postings = self._field(field).postings
            found = [
                (other, len(each.freqs), away)
                for other, each in postings.items()
                if (away := near_distance(term, other, distance, prefix_length)) is not None
            ]
        if len(found) > most:
            found = nsmallest(most, found, key=lambda each: (each[2], -each[1], each[0]))
        return sorted(found)

    def frequency(self, doc_id: DocId, field: int, term: str, /) -> tuple[int, int]:
        """How often a document has a word in a field, and how many words it has there.

        Raises:
            UnknownDocument: there is no such document.
            InvalidType, InvalidValue: there is no such field, or `term` is no str.
        """
        with self._lock:
            ordinal = self._ordinal(doc_id)
            found = self._field(field)
            postings = found.postings.get(checked_query_term(term))
            return postings.freqs.get(ordinal, 0) if postings else 0, found.lengths[ordinal]

    def places(self, doc_id: DocId, field: int, term: str, /) -> list[int]:
        """Where a document has a word in a field, ascending; words are counted from 0.

        Raises:
            UnknownDocument: there is no such document.
            InvalidType, InvalidValue: there is no such field, `term` is no str, or positions are not kept.
        """
        with self._lock:
            if not self._positions:
                raise no_positions()
            ordinal = self._ordinal(doc_id)
            return self._field(field).places(ordinal, [checked_query_term(term)])[0]

    def terms_of(self, doc_id: DocId, field: int, /) -> list[tuple[str, int]]:
        """(m,) (term, frequency) of the different words of a document in a field, ascending.

        Raises:
            UnknownDocument: there is no such document.
            InvalidValue: there is no such field.
        """
        with self._lock:
            ordinal = self._ordinal(doc_id)
            field = checked_field(field, len(self._fields))
            postings = self._documents[ordinal].postings[field]
            return sorted((each.term, each.freqs[ordinal]) for each in postings)

    # The whole ----------------------------------------------------------------------------------------------

    def compact(self) -> None:
        """Gives back the memory of deleted documents, and packs the others as densely as can be. O(n)."""

    def freeze(self) -> None:
        """Compacts, and refuses changes from then on."""
        with self._lock:
            self._frozen = True

    @property
    def frozen(self) -> bool:
        """Whether changes are refused."""
        return self._frozen

    def pack(self) -> bytes:
        """The documents as one segment (csrc/search_segment.h), the same for both twins to read. O(n)."""
        with self._lock:
            return packed(self._fields, self._documents, self._columns, self._positions, bool(self._text_ids))

    def map(self, segment: "Buffer", /) -> None:
        """Takes the documents of a segment into an index that had none so far.

        Args:
            segment: bytes that `pack` of either twin has made; they must not change while the index lives.

        Raises:
            IndexFileError: it is broken, or has other fields, columns or positions.
            FrozenIndexError: the index is frozen.
            InvalidValue: the index had documents.
        """
        with self._lock:
            if self._frozen:
                raise frozen_index()
            if self._next:
                raise not_empty(len(self._documents))
            loaded = unpacked(segment, len(self._fields), self._columns, self._positions)
            self._fields, self._documents, self._ordinals = loaded.fields, loaded.documents, loaded.ordinals
            self._next = len(self._documents)
            self._text_ids = loaded.text_ids if self._documents else None

    def memory(self) -> dict[str, int]:
        """Bytes that the index takes, by part. O(terms)."""
        with self._lock:
            terms = sum(field.size_bytes() for field in self._fields)
            ids = getsizeof(self._ordinals) + sum(map(getsizeof, self._ordinals))
            documents = getsizeof(self._documents) + sum(
                getsizeof(each) + getsizeof(each.postings) + sum(map(getsizeof, each.postings))
                for each in self._documents.values()
            )
            return {
                "segments": 0,
                "mapped": 0,
                "tail": terms + documents,
                "ids": ids,
                "other": getsizeof(self),
            }

    def statistics(self) -> dict[str, int]:
        """Counts of what is in the index: documents, dead documents, segments, terms, postings."""
        with self._lock:
            postings = [each.freqs for field in self._fields for each in field.postings.values()]
            return {
                "documents": len(self._documents),
                "dead": 0,
                "segments": 0,
                "terms": len(postings),
                "postings": sum(map(len, postings)),
            }
