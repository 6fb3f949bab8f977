"""The arguments of an index of terms, checked, and the words for what is wrong; both twins read them here."""

from collections.abc import Sequence
from operator import index
from typing import Any

from penstock.errors import InvalidType, InvalidValue, shown
from penstock.search.errors import (
    DuplicateDocument,
    FrozenIndexError,
    IndexFileError,
    QueryTooLarge,
    UnknownDocument,
)
from penstock.search.plan import DEEPEST, GREATEST_WEIGHT, MOST_NODES
from penstock.search.scoring import Scorer

MOST_FIELDS = 16
MOST_COLUMNS = 64
LONGEST_TERM = 255  # code points
MOST_PHRASE_TERMS = 1_024
MOST_QUERY_WORDS = 1_024  # different ones of a query that is words only; further ones are passed over
GREATEST_SLOP = 1_000_000
MOST_DOCUMENTS = (1 << 32) - 2


# Whole numbers ------------------------------------------------------------------------------------------


def checked_int(name: str, value: object, least: int, most: int | None = None) -> int:
    """An int of at least `least` and, if given, at most `most`."""
    try:
        number = int(index(value))  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise InvalidType(f"{name} must be an int, got {shown(value)}") from None
    if number < least or (most is not None and number > most):
        rule = f">= {least}" if most is None else f"from {least} to {most}"
        raise InvalidValue(f"{name} must be {rule}, got {shown(value)}")
    return number


def checked_fields(fields: object) -> int:
    return checked_int("fields", fields, 1, MOST_FIELDS)


def checked_columns(columns: object) -> int:
    return checked_int("columns", columns, 0, MOST_COLUMNS)


def checked_k(k: object) -> int:
    return checked_int("k", k, 0)


def checked_minimum(minimum: object, least: int) -> int:
    """`least` is 0 for words, where it stands for all of them, and 1 for an `AnyNode`."""
    return checked_int("minimum", minimum, least)


def checked_field(field: object, fields: int) -> int:
    return checked_int("field", field, 0, fields - 1)


def checked_column(column: object, columns: int) -> int:
    if not columns:
        raise InvalidValue(f"column must be one of the index, which has none, got {shown(column)}")
    return checked_int("column", column, 0, columns - 1)


def checked_distance(distance: object) -> int:
    return checked_int("distance", distance, 0, 2)


def checked_most(most: object) -> int:
    return checked_int("most", most, 0)


# Documents ----------------------------------------------------------------------------------------------

LEAST_ID, GREATEST_ID = -(1 << 63), (1 << 63) - 1


def checked_id(doc_id: object, text_ids: bool | None) -> int | str:
    """An id to add. `text_ids`: whether ids of this index are texts; None if it had none so far."""
    if isinstance(doc_id, str):
        if text_ids is False:
            raise InvalidType(f"doc_id must be an int as the first one was, got {shown(doc_id)}")
        if not is_encodable(doc_id):
            raise InvalidValue(f"doc_id must be text that UTF-8 can hold, got {shown(doc_id)}")
        return str.__str__(doc_id)
    number = id_number(doc_id)
    if text_ids:
        raise InvalidType(f"doc_id must be a str as the first one was, got {shown(doc_id)}")
    if not LEAST_ID <= number <= GREATEST_ID:
        raise InvalidValue(f"doc_id must be from -2**63 to 2**63 - 1, got {shown(doc_id)}")
    return number


def id_to_find(doc_id: object) -> int | str:
    """An id to look up, whether an index can have it or not."""
    return str.__str__(doc_id) if isinstance(doc_id, str) else id_number(doc_id)


def id_number(doc_id: object) -> int:
    try:
        if not isinstance(doc_id, bool):
            return int(index(doc_id))  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        pass
    raise InvalidType(f"doc_id must be an int or a str, got {shown(doc_id)}")


def duplicate(doc_id: object) -> DuplicateDocument:
    return DuplicateDocument(f"doc_id must be new, got {shown(doc_id)}, which the index has")


def unknown(doc_id: object) -> UnknownDocument:
    return UnknownDocument(f"doc_id must be in the index, got {shown(doc_id)}")


def too_many_documents() -> InvalidValue:
    return InvalidValue(f"index must have at most {MOST_DOCUMENTS} documents, got one more")


def frozen_index() -> FrozenIndexError:
    return FrozenIndexError("index must not be frozen to be changed, got a frozen one")


def wrong_texts(texts: object) -> InvalidType:
    return InvalidType(f"texts must be a tuple, got {shown(texts)}")


def wrong_text_count(fields: int, given: int) -> InvalidValue:
    return InvalidValue(f"texts must have one entry for each of the {fields} fields, got {given}")


def no_rules() -> InvalidType:
    return InvalidType("texts must be lists of words where the index has no rules for words, got a str")


def wrong_text(text: object) -> InvalidType:
    return InvalidType(f"text must be a str, a sequence of words or None, got {shown(text)}")


def wrong_word(word: object) -> InvalidType:
    return InvalidType(f"term must be a str, got {shown(word)}")


def checked_query_term(term: object) -> str:
    """A word to look up, whether an index can have it or not."""
    if not isinstance(term, str):
        raise wrong_word(term)
    return term


def long_term(length: int) -> InvalidValue:
    return InvalidValue(f"term must have at most {LONGEST_TERM} code points, got {length}")


def unencodable_term(term: str) -> InvalidValue:
    return InvalidValue(f"term must be text that UTF-8 can hold, got {shown(term)}")


def checked_term(term: object) -> str:
    """A word of a document that is added."""
    if not isinstance(term, str):
        raise wrong_word(term)
    if len(term) > LONGEST_TERM:
        raise long_term(len(term))
    if not is_encodable(term):
        raise unencodable_term(term)
    return term


def checked_terms(words: Sequence[object]) -> list[str]:
    """The words of a document that is added; the first that is not allowed is refused."""
    terms: list[str] = list(words)  # type: ignore[arg-type]  # what is no str is found below
    try:
        allowed = max(map(len, terms), default=0) <= LONGEST_TERM and is_encodable("".join(terms))
    except TypeError:
        allowed = False
    if not allowed:
        for word in terms:
            checked_term(word)
    return terms


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can hold it: it can all but lone surrogates."""
    if str.isascii(text):
        return True
    try:
        str.encode(text)
    except UnicodeEncodeError:
        return False
    return True


def checked_cells(cells: object, columns: int) -> tuple[int, ...]:
    """One unsigned 64-bit number for each column."""
    if not isinstance(cells, tuple):
        raise InvalidType(f"cells must be a tuple, got {shown(cells)}")
    cells = tuple(cells)  # of which nothing lies
    if len(cells) != columns:
        raise InvalidValue(f"cells must have one number for each of the {columns} columns, got {len(cells)}")
    return tuple(checked_cell(cell) for cell in cells)


def checked_cell(cell: object) -> int:
    try:
        number = int(index(cell))  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise InvalidType(f"cell must be an int, got {shown(cell)}") from None
    if not 0 <= number < 1 << 64:
        raise InvalidValue(f"cell must be from 0 to 2**64 - 1, got {shown(cell)}")
    return number


def unequal_texts(ids: int, texts: int) -> InvalidValue:
    return InvalidValue(f"texts must have one entry for each of the {ids} ids, got {texts}")


def unequal_cells(ids: int, cells: int) -> InvalidValue:
    return InvalidValue(f"cells must have one entry for each of the {ids} ids, got {cells}")


# Queries ------------------------------------------------------------------------------------------------


def checked_mask(mask: Any, documents: int) -> memoryview:
    """The bytes of a mask, one for each live document."""
    try:
        view = memoryview(mask)
        if view.format != "B" or view.ndim != 1 or not view.c_contiguous:
            view = view.cast("B")
    except TypeError:
        raise InvalidType(f"mask must be contiguous bytes or bools, got {shown(mask)}") from None
    if len(view) != documents:
        raise wrong_mask_length(documents, len(view))
    return view


def wrong_mask_length(documents: int, given: int) -> InvalidValue:
    return InvalidValue(f"mask must have one entry for each of the {documents} documents, got {given}")


def wrong_mask(mask: object) -> InvalidType:
    return InvalidType(f"mask must be contiguous bytes or bools, got {shown(mask)}")


def checked_scorer(scorer: object) -> Scorer:
    if not isinstance(scorer, Scorer):
        raise InvalidType(f"scorer must be a BM25 or a TFIDF, got {shown(scorer)}")
    return scorer


def checked_weight(name: str, weight: object) -> float:
    """A weight of a node ("weight"), or the score of a `ConstNode` ("score")."""
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise InvalidType(f"{name} must be a number, got {shown(weight)}")
    if not 0 <= weight <= GREATEST_WEIGHT:
        raise InvalidValue(f"{name} must be from 0 to {GREATEST_WEIGHT:g}, got {shown(weight)}")
    return float(weight)


def checked_field_weight(weight: object) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise InvalidType(f"weight of a field must be a number, got {shown(weight)}")
    if not 0 < weight <= GREATEST_WEIGHT:
        raise InvalidValue(
            f"weight of a field must be above 0 and up to {GREATEST_WEIGHT:g}, got {shown(weight)}"
        )
    return float(weight)


def wrong_words(words: object) -> InvalidType:
    return InvalidType(f"words must be a str or a sequence of str, got {shown(words)}")


def checked_query(words: object) -> Sequence[str]:
    """Words of a query that come as a sequence."""
    if isinstance(words, bytes | bytearray | memoryview) or not isinstance(words, Sequence):
        raise wrong_words(words)
    for word in words:
        if not isinstance(word, str):
            raise wrong_words(words)
    return words


def wrong_node(node: object) -> InvalidType:
    return InvalidType(f"plan must be made of nodes, got {shown(node)}")


def wrong_node_part(name: str, value: object) -> InvalidType:
    return InvalidType(f"{name} of a node must be a tuple, got {shown(value)}")


def repeated_field(field: int) -> InvalidValue:
    return InvalidValue(f"words of a node must name each field once, got field {field} again")


def no_words() -> InvalidValue:
    return InvalidValue("words of a node must name at least one field, got none")


def checked_slop(slop: object) -> int:
    return checked_int("slop", slop, 0, GREATEST_SLOP)


def no_positions() -> InvalidValue:
    return InvalidValue("positions must be kept by the index for this, got an index without")


def long_phrase(terms: int) -> QueryTooLarge:
    return QueryTooLarge(f"phrase must have at most {MOST_PHRASE_TERMS} words, got {terms}")


def deep_plan() -> QueryTooLarge:
    return QueryTooLarge(f"plan must have at most {DEEPEST} levels, got more")


def large_plan() -> QueryTooLarge:
    return QueryTooLarge(f"plan must have at most {MOST_NODES} nodes, got more")


# Segments -----------------------------------------------------------------------------------------------


def not_empty(documents: int) -> InvalidValue:
    return InvalidValue(f"index must have had no document before it maps a segment, got {documents}")


def broken_segment() -> IndexFileError:
    return IndexFileError("segment must be whole and of this version, got one that is not")


def other_segment() -> IndexFileError:
    return IndexFileError("segment must have the fields, columns and positions of the index, got others")
