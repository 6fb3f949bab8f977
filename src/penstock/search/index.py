"""InvertedIndex: documents in, the best of them for a query out.

    index = InvertedIndex()
    index.add(1, "Introduction to Python")
    index.add(2, "Machine learning with Python")
    for doc_id, score in index.search("python machine learning"):
        ...

Queries of other kinds than words are in query.py, their syntax in query_parser.py, scorers in scoring.py.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from penstock.errors import InvalidType, InvalidValue, shown
from penstock.search import index_file
from penstock.search._arguments import checked_id, checked_int, checked_k, checked_scorer, unknown
from penstock.search._index_config import GivenAnalyzers, contents_of, own_analyzers, restored_parts
from penstock.search.analyzer import Analyzer
from penstock.search.errors import IndexFileError
from penstock.search.expansion import Expansion, has_range, minimum_of
from penstock.search.explanation import Explanation, explained
from penstock.search.fields import Document, Field, Layout, checked_analyzer
from penstock.search.filters import mask_of, plain_ids, settled
from penstock.search.highlight import AFTER, BEFORE, highlighted
from penstock.search.hits import Hits
from penstock.search.inverted_index import TermIndex
from penstock.search.more_like import plan_like
from penstock.search.plan import Node
from penstock.search.query import Query
from penstock.search.query_parser import parse_query
from penstock.search.scoring import BM25, Scorer

if TYPE_CHECKING:
    from array import array

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer

__all__ = ["IndexStats", "InvertedIndex"]

T = TypeVar("T")
Self = TypeVar("Self", bound="InvertedIndex")
DocId: TypeAlias = int | str
AnyQuery: TypeAlias = str | Sequence[str] | Query
"""Words, which cannot be wrong; words as the index holds them; or a query."""

DEFAULT_SCORER = BM25()
CHUNK = 256  # documents that are added in one go
MOST_RESULTS = 1 << 27  # k times queries of one search_many
TRIES = 4  # at an answer that no change came between


@dataclass(frozen=True, slots=True)
class IndexStats:
    """What is in an index."""

    documents: int
    dead: int
    """Documents that were deleted, and whose memory a merge or `compact` will give back."""
    segments: int
    """Packed parts, beside the tail that documents are added to."""
    terms: int
    """Different words, counted once for each part that has them."""
    postings: int
    """Words of documents, each different one once a document; those of dead ones too."""
    words: Mapping[str, int]
    """Words of documents, by field."""
    average_words: Mapping[str, float]
    """Of a document, by field."""
    memory: Mapping[str, int]
    """Bytes by part; `mapped` are those of a file, which the system reads and drops as it likes."""


class InvertedIndex:
    """Documents by their words, in memory, with the best ones for a query found first.

    A document can be found as soon as `add` returns, and no more once `delete` does. Scores are exact: an
    index from which documents were deleted answers as one that never had them, and of equal scores the
    document that was added first comes first. Texts are not kept, only which words they have, and how often.

    Any number of threads may use an index at once. A child process that was forked while another thread did
    must not use it.

    Args:
        fields: what documents have, by name: `Text` is searched, `Number` and `Integer` are columns for
            `Range`. None: a document is one text.
        analyzer: what takes texts apart, or the name of one: "unicode" (words of any script in lower case),
            "ascii", "english" (stop words and stems), "reference", "keyword".
        scorer: `BM25` or `TFIDF`; a search may take another one.
        positions: keep where words stand, which phrases need; it takes about as much memory again.

    Raises:
        InvalidType, InvalidValue: an argument is not allowed.

    Example:
        >>> index = InvertedIndex({"title": Text(boost=2), "body": Text(), "year": Integer()}, positions=True)
        >>> index.add("a1", {"title": "Rainbows", "body": "Light and water", "year": 1998})
        >>> index.search(index.parse("+rainbow* +year:[1990 TO 2000]"), 10)
        <1 hits>

    Source: Zobel and Moffat, Inverted Files for Text Search Engines, 2006; csrc/inverted_index.h.
    """

    __slots__ = (
        "__weakref__",
        "_layout",
        "_plain",
        "_positions",
        "_quick",
        "_scorer",
        "_terms",
        "_top_words",
        "_version",
        "_writing",
    )

    def __init__(
        self,
        fields: Mapping[str, Field] | None = None,
        *,
        analyzer: Analyzer | str = "unicode",
        scorer: Scorer = DEFAULT_SCORER,
        positions: bool = False,
    ) -> None:
        self._begin(Layout(fields, checked_analyzer(analyzer)), checked_scorer(scorer), bool(positions))

    def _begin(self, layout: Layout, scorer: Scorer, positions: bool) -> None:
        self._layout = layout
        self._scorer = scorer
        self._positions = positions
        self._terms = TermIndex(len(layout.names), len(layout.columns), positions, layout.analyzer.rules)
        # what the commonest calls need, at hand
        self._plain = layout.plain
        self._quick = layout.lone and layout.native[0]
        self._top_words = self._terms.top_words
        # odd while documents change, and another after, which is made before: so nothing can fail to set it;
        # whoever needs two answers of one state looks at it
        self._version = 0
        self._writing = RLock()  # again, if a destructor changes the index while it is changed

    # Changing -----------------------------------------------------------------------------------------------

    def add(self, doc_id: DocId, document: Document, /) -> None:
        """Adds a document. If it is refused, nothing has changed.

        Args:
            doc_id: an int of 64 bits or a str; all of one kind, that of the first document.
            document: a text; or, in an index with fields, a mapping of fields to values, where what is
                missing or None is nothing. A sequence of words in place of a text is taken as it is.

        Raises:
            DuplicateDocument: there is a document of this id: `update` puts another in its place.
            UnknownField: the document has a field that the index has not.
            FrozenIndexError: the index is frozen.
            InvalidType, InvalidValue: an argument is not allowed.
        """
        if type(doc_id) is not int and type(doc_id) is not str:
            doc_id = checked_id(doc_id, None)
        if self._plain and type(document) is str:
            texts, cells = (document,), ()
        else:
            texts, cells = self._layout.taken_apart(document)  # type: ignore[assignment]
        with self._writing:
            after = version_after(self._version)
            self._version |= 1
            try:
                self._terms.add(doc_id, texts, cells)
            finally:
                self._version = after

    def add_many(
        self,
        ids: Iterable[DocId],
        documents: Iterable[Document],
        *,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Adds documents one after the other, faster than `add` does.

        They can be found as they come. If one is refused, those before it stay; the error's notes say how
        many. What was added by one call, if that is thousands, is packed at its end.

        Args:
            ids: (n,) ids, an array too.
            documents: (n,) what `add` takes.
            progress: called now and then with how many were added so far.

        Raises:
            InvalidValue: there are more ids than documents, or fewer.
            Exception: as `add`.
        """
        known = [len(each) for each in (ids, documents) if isinstance(each, Sized)]
        if len(known) == 2 and known[0] != known[1]:
            raise different_lengths(*known)
        before = len(self._terms)
        each_id = iter(plain_ids(ids, "ids") if hasattr(ids, "dtype") else ids)
        each_document = iter(documents)
        done = 0
        try:
            self._terms.begin_many()  # here, as Ctrl-C may come while it waits for a merge: it has begun then
            while True:
                some_ids = list(islice(each_id, CHUNK))
                some = list(islice(each_document, len(some_ids) or 1))
                self._add_some(some_ids[: len(some)], some[: len(some_ids)])
                done += min(len(some_ids), len(some))
                if len(some) != len(some_ids):
                    raise different_lengths(
                        done + (len(some) < len(some_ids)), done + (len(some) > len(some_ids))
                    )
                if not some:
                    return
                if progress is not None:
                    progress(done)
        except Exception as error:
            if done or len(self._terms) != before:
                error.add_note(f"documents before it were added; the index has {len(self._terms)} now")
            raise
        finally:
            self._terms.end_many(done)

    def _add_some(self, ids: list[DocId], documents: list[Document]) -> None:
        """Adds a few documents; what comes before one that is refused is added all the same."""
        texts: list[Any]
        cells: list[tuple[int, ...]] | None = None
        error: Exception | None = None
        if not set(map(type, ids)) <= {int, str}:
            for at, doc_id in enumerate(ids):
                try:
                    ids[at] = checked_id(doc_id, None)
                except Exception as refused:
                    error = refused
                    ids, documents = ids[:at], documents[:at]
                    break
        if self._plain and set(map(type, documents)) == {str}:
            texts = list[Any](documents)
        else:
            texts, cells = [], []
            try:
                for document in documents:
                    text, numbers = self._layout.taken_apart(document)
                    texts.append(text)
                    cells.append(numbers)
            except Exception as refused:
                error = refused
                ids = ids[: len(cells)]
                texts = texts[: len(cells)]
        with self._writing:
            after = version_after(self._version)
            self._version |= 1
            try:
                self._terms.add_many(ids, texts, cells)
            finally:
                self._version = after
        if error is not None:
            raise error

    def update(self, doc_id: DocId, document: Document, /) -> None:
        """Puts a document in the place of that with the same id, or adds it if there is none.

        Searches find the old one or the new one, never both or none. If the new one is refused, the old one
        stays. It counts as added last.

        Raises:
            Exception: as `add`, but for DuplicateDocument.
        """
        doc_id = checked_id(doc_id, None)
        texts, cells = self._layout.taken_apart(document)
        with self._writing:
            after = version_after(self._version)
            self._version |= 1
            try:
                self._terms.replace(doc_id, texts, cells)
            finally:
                self._version = after

    def delete(self, doc_id: DocId, /) -> bool:
        """Removes a document; says whether it was there.

        Raises:
            FrozenIndexError: the index is frozen.
        """
        with self._writing:
            after = version_after(self._version)
            self._version |= 1
            try:
                return self._terms.delete(doc_id)
            finally:
                self._version = after

    def compact(self) -> None:
        """Packs everything as densely as can be, and gives back the memory of deleted documents. O(n)."""
        self._terms.compact()

    def freeze(self) -> None:
        """Compacts, and refuses changes from then on."""
        self._terms.freeze()

    # Documents ----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._terms)

    def __contains__(self, doc_id: object) -> bool:
        return doc_id in self._terms

    def __repr__(self) -> str:
        return f"<InvertedIndex of {len(self):,} documents, fields: {', '.join(self._layout.fields)}>"

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.memory_usage()

    @property
    def ids(self) -> "NDArray[Any]":
        """(len,) ids in the order of adding: int64; object, if they are texts."""
        return Hits(self._terms.ids(), []).ids

    @property
    def fields(self) -> Mapping[str, Field]:
        """What documents have, by name; "text" alone if no fields were given."""
        return dict(self._layout.fields)

    @property
    def analyzer(self) -> Analyzer:
        """What takes texts apart that have no analyzer of their own."""
        return self._layout.analyzer

    @property
    def scorer(self) -> Scorer:
        """What scores hits, where a search names no other."""
        return self._scorer

    @property
    def positions(self) -> bool:
        """Whether it keeps where words stand."""
        return self._positions

    @property
    def frozen(self) -> bool:
        """Whether changes are refused."""
        return self._terms.frozen

    def column(self, name: str, /) -> "NDArray[Any]":
        """The numbers of a column, for masks: `index.search("words", filter=index.column("year") > 1990)`.

        Returns:
            (len,) float64 of a `Number`, NaN where there is none; int64 of an `Integer`, `Integer.missing`
            there. In the order of adding.

        Raises:
            UnknownField: there is no such column.
        """
        number, column = self._layout.column(name)
        return column.column(self._terms.cells(number))

    # Searching ----------------------------------------------------------------------------------------------

    def search(
        self,
        query: AnyQuery,
        k: int = 10,
        *,
        mode: str | int = "or",
        fields: Iterable[str] | Mapping[str, float] | None = None,
        filter: Any = None,
        offset: int = 0,
        scorer: Scorer | None = None,
        explain: bool = False,
    ) -> Hits:
        """The k best documents for a query, best first.

        Args:
            query: a str is words, whatever is in it: nothing that a visitor types can fail. `index.parse`
                makes a query of a text with a syntax. A list of words is taken as it is, not analyzed.
            k: how many hits at the most, >= 0.
            mode: of words, "or": one must be there, "and": all, or how many different ones must.
            fields: names of those to search; or boosts by name, which take the place of the fields' own.
                None: all.
            filter: which documents may be found: (len,) numpy array of bools in the order of adding; ids, in
                a set, a list or an array; or a query, such as a `Range`.
            offset: how many hits to pass over, for the next page.
            scorer: in place of the index's own.
            explain: whether the hits should have `explanations`.

        Returns:
            At most k hits.

        Raises:
            QueryTooLarge: the query stands for too many words.
            UnknownField: it names a field that the index has not.
            InvalidType, InvalidValue: an argument is not allowed.
        """
        if (
            self._quick
            and type(query) is str
            and filter is None
            and fields is None
            and scorer is None
            and not offset
            and not explain
            and (mode == "or" or mode == "and")
        ):
            ids, scores = self._top_words(query, 1 if mode == "or" else 0, self._scorer, k, None)
            return Hits(ids, scores)
        return self._search(query, k, mode, fields, filter, offset, scorer, explain)

    def _search(
        self,
        query: AnyQuery,
        k: int,
        mode: str | int,
        fields: Any,
        filter: Any,
        offset: int,
        scorer: Scorer | None,
        explain: bool,
    ) -> Hits:
        minimum = minimum_of(query, mode)
        weights = self._layout.weights(fields)
        chosen = self._scorer if scorer is None else checked_scorer(scorer)
        offset = checked_int("offset", offset, 0)
        most = checked_k(k) + offset
        within = settled(filter)

        def found() -> Hits:
            mask = None if within is None else self._mask(within)
            if fields is None and self._layout.lone and not isinstance(query, Query):
                words = self._words(query)
                ids, scores = self._terms.top_words(words, minimum, chosen, most, mask)
            else:
                ids, scores = self._terms.top(self._plan(query, minimum, weights), chosen, most, mask)
            reasons = None
            if explain:
                plan = self._plan(query, minimum, weights)
                names = self._layout.names
                reasons = [explained(self._terms, names, chosen, plan, doc_id) for doc_id in ids[offset:]]
            return Hits(ids[offset:], scores[offset:], reasons)

        if within is None and not explain and not has_range(query):
            return found()
        return self._unchanged(found)

    def search_many(
        self,
        queries: Sequence[AnyQuery],
        k: int = 10,
        *,
        mode: str | int = "or",
        threads: int | None = None,
    ) -> "tuple[NDArray[Any], NDArray[np.float64]]":
        """The k best documents for each of many queries, as arrays.

        Args:
            queries: (n,) what `search` takes.
            k: how many hits each at the most; k * n is at most 2^27.
            mode: as in `search`.
            threads: how many to search with, which live for this call; None: that which calls.

        Returns:
            (n, k) ids, int64 filled up with -1, or, if ids are texts, object filled up with None; and (n, k)
            float64 scores, filled up with 0.

        Raises:
            Exception: as `search`.
        """
        if isinstance(queries, str | bytes | Query):
            raise InvalidType(f"queries must be a sequence of queries, got {shown(queries)}")
        queries = list(queries)
        k = checked_k(k)
        if k * len(queries) > MOST_RESULTS:
            raise InvalidValue(f"k * queries must be <= {MOST_RESULTS}, got {k} * {len(queries)}")
        workers = 1 if threads is None else checked_int("threads", threads, 1)
        workers = min(workers, len(queries), 256)
        if workers <= 1:
            return self._many(queries, k, mode)
        from concurrent.futures import ThreadPoolExecutor  # only who asks for threads needs it

        import numpy as np

        # Some are slower than others; and an interrupt waits for the parts that are under way.
        size = min(-(-len(queries) // (4 * workers)), 1_024)
        parts = [queries[start : start + size] for start in range(0, len(queries), size)]
        with ThreadPoolExecutor(workers) as pool:
            ids, scores = zip(*pool.map(lambda part: self._many(part, k, mode), parts), strict=True)
        return np.concatenate(ids), np.concatenate(scores)

    def _many(
        self, queries: list[AnyQuery], k: int, mode: str | int
    ) -> "tuple[NDArray[Any], NDArray[np.float64]]":
        import numpy as np

        n = len(queries)
        if self._layout.lone and not any(isinstance(query, Query) for query in queries):
            minimum = minimum_of("", mode)
            words = [self._words(query) for query in queries]  # type: ignore[arg-type]  # none is a Query
            found_ids, found_scores = self._terms.top_many(words, minimum, self._scorer, k)
            width = len(found_scores) // n if n else 0
            block: NDArray[Any]
            if isinstance(found_ids, list):
                block, padding = np.array(found_ids, object), None
            else:
                block, padding = np.frombuffer(found_ids, np.int64), -1
            return (
                widened(block.reshape(n, width), k, padding),
                widened(np.frombuffer(found_scores, np.float64).reshape(n, width), k, 0.0),
            )
        hits = [self.search(query, k, mode=mode) for query in queries]
        some_id = next((each.id_list[0] for each in hits if each), None)
        if some_id is None:  # nothing was found: what ids would be is seen from the index
            some_id = next(iter(self._terms.ids()), None)
        texts = isinstance(some_id, str)
        ids = np.full((n, k), None if texts else -1, object if texts else np.int64)
        scores = np.zeros((n, k))
        for row, each in enumerate(hits):
            ids[row, : len(each)] = each.id_list
            scores[row, : len(each)] = each.score_list
        return ids, scores

    def scores(
        self,
        query: AnyQuery,
        *,
        mode: str | int = "or",
        fields: Iterable[str] | Mapping[str, float] | None = None,
        scorer: Scorer | None = None,
    ) -> "NDArray[np.float64]":
        """The score of every document.

        Returns:
            (len,) float64 in the order of adding, 0 where the query does not match.
        """
        import numpy as np

        minimum, weights = minimum_of(query, mode), self._layout.weights(fields)
        chosen = self._scorer if scorer is None else checked_scorer(scorer)

        def work() -> "array[float]":
            return self._terms.scores(self._plan(query, minimum, weights), chosen)

        found = self._unchanged(work) if has_range(query) else work()
        return np.frombuffer(found, np.float64) if found else np.zeros(0)

    def count(
        self,
        query: AnyQuery,
        *,
        mode: str | int = "or",
        fields: Iterable[str] | Mapping[str, float] | None = None,
        filter: Any = None,
    ) -> int:
        """How many documents a query matches."""
        minimum, weights = minimum_of(query, mode), self._layout.weights(fields)
        within = settled(filter)

        def matched() -> int:
            found = self._terms.matches(self._plan(query, minimum, weights))
            if within is None:
                return found.count(1)
            import numpy as np

            mask = np.frombuffer(memoryview(self._mask(within)).cast("B"), np.uint8)
            return int(np.count_nonzero(np.frombuffer(found, np.uint8).astype(bool) & (mask != 0)))

        return matched() if within is None and not has_range(query) else self._unchanged(matched)

    def more_like(
        self, doc_id: DocId | None = None, k: int = 10, *, text: Document | None = None, filter: Any = None
    ) -> Hits:
        """The k documents that are most like another, by the 25 words that say most about it.

        These are the words of the greatest frequency times idf, in any field, that another document has too.
        The index has no list of a document's words: `doc_id` costs a look at every word of the index (tens of
        milliseconds where there are 100,000), `text` only at its own.

        Args:
            doc_id: a document of the index, which is not among the hits.
            k: how many hits at the most.
            text: in place of `doc_id`, a document that the index need not have.
            filter: as in `search`.

        Raises:
            UnknownDocument: the index has no document of that id; a text is given as `text=`.
            InvalidType: neither of both is given, or both are.
        """
        k = checked_k(k)
        if (doc_id is None) == (text is None):
            raise InvalidType("more_like must be given doc_id, or text=, got neither or both")
        within = settled(filter)

        def found() -> Hits:
            plan = plan_like(self._terms, self._layout, self._scorer, doc_id, text)
            mask = None if within is None else self._mask(within)
            ids, scores = self._terms.top(plan, self._scorer, k + (doc_id is not None), mask)
            if doc_id in ids:
                at = ids.index(doc_id)
                del ids[at], scores[at]
            return Hits(ids[:k], scores[:k])

        return found() if within is None else self._unchanged(found)

    # Queries

    def parse(self, text: str, strict: bool = False) -> Query:
        """The query that a text in the syntax of penstock.search.query_parser stands for.

        What a word before a colon means depends on the fields of this index.

        Args:
            text: what somebody typed.
            strict: refuse what breaks the syntax, instead of making the best of it.

        Raises:
            QuerySyntaxError, QueryTooLarge: strict, and the text is wrong or stands for too much.

        Example:
            >>> index.search(index.parse('title:"big data" +cloud -rain year:>=2015'))
        """
        return parse_query(text, strict, schema=self._layout.schema(self._positions))

    def explain(
        self,
        query: AnyQuery,
        doc_id: DocId,
        *,
        mode: str | int = "or",
        fields: Iterable[str] | Mapping[str, float] | None = None,
        scorer: Scorer | None = None,
    ) -> Explanation:
        """Why a document scores as it does for a query; `print` shows it as a tree.

        Raises:
            UnknownDocument: there is no such document.
        """
        minimum, weights = minimum_of(query, mode), self._layout.weights(fields)
        chosen = self._scorer if scorer is None else checked_scorer(scorer)
        if doc_id not in self._terms:
            raise unknown(doc_id)
        return self._unchanged(
            lambda: explained(
                self._terms, self._layout.names, chosen, self._plan(query, minimum, weights), doc_id
            )
        )

    def highlight(
        self,
        query: AnyQuery,
        text: str,
        *,
        before: str = BEFORE,
        after: str = AFTER,
        field: str | None = None,
        fragment: int | None = None,
        escape: bool | None = None,
    ) -> str:
        """A text with marks round the words that a query looks for.

        Words are marked that the analyzer makes the same as those of the query, phrases as a whole, and what
        prefixes and near words stand for. The index itself is not asked, so the text may be any.

        Args:
            query: as in `search`.
            text: any text; `fields` of a document are highlighted one by one.
            before: what stands before what is marked.
            after: what stands behind it.
            field: whose analyzer to take, and only what the query looks for there. None: the first text, and
                all.
            fragment: characters of the piece to show, in which most of the query is; None: all of the text.
            escape: whether to write & < > and quotes of the text as HTML has them. None: if the marks are
                the usual.

        Returns:
            The text, with … where it was cut.

        Raises:
            UnknownField: there is no such field.
            InvalidType, InvalidValue: an argument is not allowed.
        """
        number = 0 if field is None else self._layout.number(field)
        minimum_of(query, "or")  # refuses what is no query
        return highlighted(
            query,
            text,
            self._layout.analyzers[number],
            before=before,
            after=after,
            field=field,
            fragment=fragment,
            escape=escape,
        )

    # Words

    def doc_freq(self, term: str, field: str | None = None) -> int:
        """How many documents have a word, as the index holds it.

        Args:
            term: the word.
            field: None for the one where most have it.

        Raises:
            UnknownField: there is no such field.
        """
        if field is not None:
            return self._terms.doc_freq(self._layout.number(field), term)
        return max(self._terms.doc_freq(number, term) for number in range(len(self._layout.names)))

    def terms(
        self, prefix: str = "", field: str | None = None, limit: int | None = None
    ) -> list[tuple[str, int]]:
        """(m,) (word, documents with it), ascending, of the words of a field that begin so.

        Args:
            prefix: as the index holds words.
            field: None for the first text.
            limit: how many at the most; those that most documents have. None: all.

        Raises:
            UnknownField: there is no such field.
        """
        number = 0 if field is None else self._layout.number(field)
        return self._terms.terms(
            number, prefix, (1 << 32) if limit is None else checked_int("limit", limit, 0)
        )

    # What queries and filters become

    def _words(self, query: str | Sequence[str]) -> str | Sequence[str]:
        """Words as the index of terms takes them, where there is one field."""
        return query if self._quick or not isinstance(query, str) else self._layout.analyzers[0].tokens(query)

    def _plan(self, query: AnyQuery, minimum: int, weights: Mapping[int, float]) -> Node:
        expansion = Expansion(self._terms, self._layout, self._positions, weights)
        return expansion.plan(query) if isinstance(query, Query) else expansion.words(query, minimum)

    def _mask(self, given: Any) -> "Buffer":
        if isinstance(given, Query):
            return self._terms.matches(self._plan(given, 1, self._layout.weights(None)))
        return mask_of(self._terms, given)

    def _unchanged(self, work: Callable[[], T]) -> T:
        """What `work` returns when no document came or went meanwhile, so that masks mean what they meant."""
        for _ in range(TRIES):
            version = self._version
            if version & 1:
                continue
            try:
                result = work()
            except Exception:
                if self._version == version:
                    raise
                continue
            if self._version == version:
                return result
        with self._writing:
            return work()

    # The whole ----------------------------------------------------------------------------------------------

    def memory_usage(self) -> int:
        """Bytes that the index takes, without what is mapped from a file."""
        return sum(size for part, size in self._terms.memory().items() if part != "mapped")

    def stats(self) -> IndexStats:
        """What is in the index, counted."""
        names = self._layout.names
        words = {name: self._terms.words_of(number) for number, name in enumerate(names)}
        documents = len(self._terms)
        counts = self._terms.statistics()
        return IndexStats(
            documents=documents,
            dead=counts["dead"],
            segments=counts["segments"],
            terms=counts["terms"],
            postings=counts["postings"],
            words=words,
            average_words={name: count / documents if documents else 0.0 for name, count in words.items()},
            memory=self._terms.memory(),
        )

    def save(self, path: str | PathLike[str], /) -> None:
        """Writes the index to a file, packed. Whatever fails, there is the old file or the new one, whole.

        An analyzer with a function of your own is not written: give it to `load` again.

        Raises:
            OSError: the file cannot be written; what was at `path` stays.
        """
        index_file.write(path, self._encoded())

    @classmethod
    def load(
        cls: type[Self],
        path: str | PathLike[str],
        /,
        *,
        mmap: bool = True,
        analyzer: GivenAnalyzers = None,
    ) -> Self:
        """The index of a file. It can be changed; the file stays as it is.

        Args:
            path: what `save` has written.
            mmap: use the file as it lies, without a copy of it in memory. It must not be overwritten or cut
                meanwhile; to rename another to its place, as `save` does, is all right.
            analyzer: the one with a function of your own that the index was made with; or, where fields have
                such, those by name.

        Raises:
            IndexFileError: the file is none of an index, of another version, cut short or damaged.
            InvalidValue: the index was made with an analyzer that is not given.
            OSError: the file cannot be read.
        """
        contents, segment = index_file.read(path, mmap=mmap)
        return cls._decoded(contents, segment, str(path), analyzer)

    def _encoded(self) -> tuple[bytes, bytes]:
        with self._writing:
            documents, segment = len(self._terms), self._terms.pack()
        contents = contents_of(self._layout, self._scorer, self._positions, documents, self._terms.frozen)
        return index_file.encoded(contents, segment)

    @classmethod
    def _decoded(
        cls: type[Self], contents: index_file.Contents, segment: memoryview, name: str, given: GivenAnalyzers
    ) -> Self:
        layout, scorer = restored_parts(contents, given, name)
        index = cls.__new__(cls)  # no __init__ of a subclass is run
        index._begin(layout, scorer, contents.positions)
        try:
            index._terms.map(segment)
        except IndexFileError as error:
            raise index_file.wrong(name, "hold a whole segment", str(error)) from None
        if len(index) != contents.documents:
            raise index_file.wrong(name, f"hold {contents.documents} documents", str(len(index)))
        if contents.frozen:
            index.freeze()
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        return unpickled, (type(self), b"".join(self._encoded()), own_analyzers(self._layout))


def unpickled(cls: type[Self], data: bytes, analyzers: Mapping[str, Analyzer]) -> Self:
    """The index of a pickle, which holds what a file of it does; analyzers of one's own beside."""
    contents, segment = index_file.decoded(memoryview(data), "pickle")
    return cls._decoded(contents, segment, "pickle", analyzers)


def version_after(version: int) -> int:
    """What `InvertedIndex._version` is after a change; one within another (in a destructor) leaves it odd."""
    return version if version & 1 else version + 2


def widened(block: "NDArray[Any]", k: int, padding: object) -> "NDArray[Any]":
    """(n, m) results as (n, k)."""
    import numpy as np

    n, width = block.shape
    if width == k:
        return block
    whole = np.full((n, k), padding, block.dtype)
    whole[:, :width] = block
    return whole


def different_lengths(ids: int, documents: int) -> InvalidValue:
    return InvalidValue(f"ids and documents must be of one length, got {ids} and {documents}")
