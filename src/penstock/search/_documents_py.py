"""Documents of the pure-Python index of terms: added, replaced, deleted, told."""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from threading import RLock
from typing import NamedTuple, TypeAlias

from penstock.search._arguments import (
    checked_cells,
    checked_column,
    checked_columns,
    checked_field,
    checked_fields,
    checked_id,
    checked_terms,
    duplicate,
    frozen_index,
    id_to_find,
    no_rules,
    unequal_cells,
    unequal_texts,
    unknown,
    wrong_text,
    wrong_text_count,
    wrong_texts,
)
from penstock.search._postings_py import Document, Field
from penstock.search._words_py import WordRules, WordSplitter

__all__ = ["DocId", "Documents", "Text"]

Text: TypeAlias = str | Sequence[str] | None
"""A field of a document: text that the rules take apart, its words, or nothing."""

DocId: TypeAlias = int | str


class Counted(NamedTuple):
    """The words of a field of a document, and how often it has each."""

    words: list[str]
    freqs: dict[str, int]


class Documents:
    """The documents of an index and their postings, which `TermIndex` searches; it tells the arguments."""

    __slots__ = (
        "_columns",
        "_documents",
        "_fields",
        "_frozen",
        "_lock",
        "_next",
        "_ordinals",
        "_positions",
        "_splitter",
        "_text_ids",
    )

    def __init__(self, fields: int, columns: int, positions: bool, rules: WordRules | None, /) -> None:
        self._fields = [Field() for _ in range(checked_fields(fields))]
        self._columns = checked_columns(columns)
        self._positions = bool(positions)
        self._splitter = None if rules is None else WordSplitter(rules)
        self._ordinals: dict[DocId, int] = {}  # of live documents
        self._documents: dict[int, Document] = {}  # by ordinal, which is in the order of adding
        self._next = 0  # ordinal; one that a document had is not given again
        self._text_ids: bool | None = None
        self._frozen = False
        self._lock = RLock()

    # Changing -----------------------------------------------------------------------------------------------

    def add(self, doc_id: DocId, texts: tuple[Text, ...], cells: tuple[int, ...] = (), /) -> None:
        """Adds a document; on any error it is not there, and its id is free.

        Args:
            doc_id: an int of 64 bits or a str; all of one kind, that of the first document.
            texts: for each field a str, which the rules take apart, its words, or None. Words have at most
                255 code points.
            cells: an unsigned int of 64 bits for each column.

        Raises:
            DuplicateDocument: there is a document of this id.
            FrozenIndexError: the index is frozen.
            InvalidType, InvalidValue: an argument is not allowed.
        """
        with self._lock:
            if self._frozen:
                raise frozen_index()
            doc_id = checked_id(doc_id, self._text_ids)
            if doc_id in self._ordinals:
                raise duplicate(doc_id)
            self._insert(doc_id, self._counted(texts), checked_cells(cells, self._columns))

    def replace(self, doc_id: DocId, texts: tuple[Text, ...], cells: tuple[int, ...] = (), /) -> None:
        """Adds a document in the place of the one of this id, if there is one; it is the last one then.

        Whoever searches meanwhile finds one of the two. On any error the old one stays.

        Args:
            doc_id: as for `add`.
            texts: as for `add`.
            cells: as for `add`.

        Raises:
            FrozenIndexError: the index is frozen.
            InvalidType, InvalidValue: an argument is not allowed.
        """
        with self._lock:
            if self._frozen:
                raise frozen_index()
            doc_id = checked_id(doc_id, self._text_ids)
            counted, numbers = self._counted(texts), checked_cells(cells, self._columns)
            self._remove(doc_id)
            self._insert(doc_id, counted, numbers)

    def add_many(
        self,
        ids: Sequence[DocId],
        texts: Sequence[str | tuple[Text, ...]],
        cells: Sequence[tuple[int, ...]] | None = None,
        /,
    ) -> None:
        """Adds documents one after the other; those before one that is refused stay.

        Args:
            ids: (n,) ids.
            texts: (n,) what `add` takes; if the index has one field, a str does too.
            cells: (n,) what `add` takes; None if there are no columns.

        Raises:
            DuplicateDocument, FrozenIndexError, InvalidType, InvalidValue: as `add`; or lengths differ.
        """
        if len(texts) != len(ids):
            raise unequal_texts(len(ids), len(texts))
        if cells is not None and len(cells) != len(ids):
            raise unequal_cells(len(ids), len(cells))
        one_field = len(self._fields) == 1
        with self._lock:
            for doc_id, text, numbers in zip(
                ids, texts, repeat(()) if cells is None else cells, strict=False
            ):
                self.add(doc_id, (text,) if one_field and isinstance(text, str) else text, numbers)  # type: ignore[arg-type]  # add checks it

    def begin_many(self) -> None:
        """Many documents are to come, until `end_many`."""

    def end_many(self, added: int, /) -> None:
        """They are there, so many of them; if they are worth it, they are packed. O(n) now and then."""

    def delete(self, doc_id: DocId, /) -> bool:
        """Removes a document; says whether it was there. O(its different words).

        Raises:
            FrozenIndexError: the index is frozen.
            InvalidType: `doc_id` is neither an int nor a str.
        """
        with self._lock:
            if self._frozen:
                raise frozen_index()
            return self._remove(id_to_find(doc_id))

    def _counted(self, texts: tuple[Text, ...]) -> list[Counted]:
        """The words of each field, checked."""
        if not isinstance(texts, tuple):
            raise wrong_texts(texts)
        texts = tuple(texts)  # of which nothing lies
        if len(texts) != len(self._fields):
            raise wrong_text_count(len(self._fields), len(texts))
        return [self._counted_text(text) for text in texts]

    def _counted_text(self, text: Text) -> Counted:
        if isinstance(text, str):
            if self._splitter is None:
                raise no_rules()
            words = self._splitter.words(text)
            return Counted(words, Counter(words))
        if text is None:
            return Counted([], {})
        if isinstance(text, bytes | bytearray | memoryview) or not isinstance(text, Sequence):
            raise wrong_text(text)
        words = checked_terms(text)
        return Counted(words, Counter(words))

    def _insert(self, doc_id: DocId, texts: list[Counted], cells: tuple[int, ...]) -> None:
        """Adds what has been checked."""
        ordinal = self._next
        try:
            postings = tuple(
                field.insert(ordinal, text.freqs, text.words, self._positions)
                for field, text in zip(self._fields, texts, strict=True)
            )
            self._documents[ordinal] = Document(doc_id, postings, cells)
            self._ordinals[doc_id] = ordinal
        except BaseException:  # an interrupt, or no memory
            self._ordinals.pop(doc_id, None)
            self._documents.pop(ordinal, None)
            for field, text in zip(self._fields, texts, strict=True):
                field.take_back(ordinal, text.freqs)
            raise
        self._next = ordinal + 1
        self._text_ids = isinstance(doc_id, str)

    def _remove(self, doc_id: DocId) -> bool:
        """Removes a document, if it is there."""
        ordinal = self._ordinals.pop(doc_id, None)
        if ordinal is None:
            return False
        document = self._documents.pop(ordinal)
        for field, terms in zip(self._fields, document.postings, strict=True):
            field.remove(ordinal, terms)
        return True

    # Documents ----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._documents)

    def __contains__(self, doc_id: object, /) -> bool:
        try:
            return id_to_find(doc_id) in self._ordinals
        except TypeError:
            return False

    def ids(self) -> list[DocId]:
        """(n,) ids of live documents in the order of adding."""
        with self._lock:
            return [document.doc_id for document in self._documents.values()]

    def cells(self, column: int, /) -> "array[int]":
        """(n,) uint64, the numbers of a column of live documents in the order of adding.

        Raises:
            InvalidValue: there is no such column.
        """
        column = checked_column(column, self._columns)
        with self._lock:
            return array("Q", [document.cells[column] for document in self._documents.values()])

    def mask_of(self, ids: Iterable[DocId], /) -> bytearray:
        """(n,) a byte for each live document in the order of adding, 1 if its id is among `ids`, else 0.

        Ids that the index does not have are passed over.
        """
        wanted = list(ids)
        with self._lock:
            found = {self._ordinals[doc_id] for doc_id in wanted if doc_id in self}
            return bytearray(ordinal in found for ordinal in self._documents)

    def _field(self, field: int) -> Field:
        return self._fields[checked_field(field, len(self._fields))]

    def _ordinal(self, doc_id: DocId) -> int:
        ordinal = self._ordinals.get(id_to_find(doc_id))
        if ordinal is None:
            raise unknown(doc_id)
        return ordinal
