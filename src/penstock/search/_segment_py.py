"""Segments, written and read in pure Python: the format of csrc/search_segment.h, to the byte."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from struct import Struct, error, pack, unpack_from
from typing import TYPE_CHECKING, NamedTuple

from penstock.search._arguments import broken_segment, other_segment
from penstock.search._blocks_py import BLOCK, BRIEF, pack_list, pack_places, unpack_list, unpack_places
from penstock.search._postings_py import Document, Field, Postings
from penstock.search.errors import IndexFileError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Loaded", "packed", "unpacked"]

MAGIC, VERSION = b"PSSEGMNT", 2
HEADER = Struct("<8sIIQIIIIQQQQQ17I")
HEADER_SIZE = 256
HAS_POSITIONS, HAS_TEXT_IDS, HAS_IDS_IN_A_ROW, HAS_IDS_NEAR = 1, 2, 4, 8
KINDS_OF_IDS = 0, HAS_TEXT_IDS, HAS_IDS_IN_A_ROW, HAS_IDS_NEAR
GROUPED = 16  # terms of a group
GROUP = Struct("<QQ16I16H16B")
MOST_NEAR = (1 << 32) - 1
GREATEST_ID = (1 << 63) - 1
ALIGNED = 64
MOST_FIELDS, LONGEST_BYTES = 16, 1_020


class Loaded(NamedTuple):
    """What a segment holds. Documents have ordinals from 0."""

    fields: list[Field]
    documents: dict[int, Document]
    ordinals: dict[int | str, int]
    text_ids: bool


# Writing ------------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """Where the list and the text of a term begin; and its postings, if they are no more than 127, else 0."""

    list_at: int
    text_at: int
    brief: int


class Tables:
    """The parts of a segment that grow from term to term."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.lists = bytearray()
        self.texts = bytearray()
        self.places = bytearray()
        self.place_at: list[int] = []
        self.postings = 0

    def record(self, count: int) -> None:
        """A term whose text, list and positions begin where those so far end."""
        self.records.append(Record(len(self.lists), len(self.texts), count if count <= BRIEF else 0))
        self.place_at.append(len(self.places))
        self.postings += count

    def term(
        self,
        postings: Postings,
        numbers: Mapping[int, int],
        lengths: Mapping[int, int],
        places: Sequence[Sequence[int]],
    ) -> None:
        """Adds a term. `numbers`: of documents within the segment, by ordinal; `places`: of each posting."""
        freqs = list(postings.freqs.values())
        packed_list = pack_list(
            [numbers[ordinal] for ordinal in postings.freqs],
            freqs,
            [lengths[ordinal] for ordinal in postings.freqs],
        )
        if packed_list.aligned:
            pad(self.lists, 4)
        if len(places) > BLOCK:
            pad(self.places, 4)
        self.record(len(freqs))
        self.lists += packed_list.data
        self.texts += postings.term.encode()
        self.places += pack_places(places)


def packed(
    fields: Sequence[Field],
    documents: Mapping[int, Document],
    columns: int,
    positions: bool,
    text_ids: bool,
) -> bytes:
    """The segment of these documents, in their order."""
    numbers = {ordinal: number for number, ordinal in enumerate(documents)}
    tables = Tables()
    field_terms = [0]
    for field in fields:
        places = all_places(field)
        for term in sorted(field.postings):
            tables.term(field.postings[term], numbers, field.lengths, places.get(term, ()))
        field_terms.append(len(tables.records))
    terms = len(tables.records)
    tables.record(0)  # where the last ones end
    field_terms += [terms] * (MOST_FIELDS + 1 - len(field_terms))
    ids = [document.doc_id for document in documents.values()]
    id_texts = [doc_id.encode() for doc_id in ids if isinstance(doc_id, str)]
    numbers_kind, id_numbers = packed_numbers([doc_id for doc_id in ids if isinstance(doc_id, int)])

    sections = [b"", bytes(tables.lists), packed_records(tables.records), bytes(tables.texts)]
    if positions:
        sections += [numbers_bytes("Q", tables.place_at), bytes(tables.places)]
    sections += [numbers_bytes("I", [field.lengths[each] for each in documents]) for field in fields]
    sections += [
        numbers_bytes("Q", [document.cells[column] for document in documents.values()])
        for column in range(columns)
    ]
    if text_ids:
        sections += [numbers_bytes("Q", list(accumulate(map(len, id_texts), initial=0))), b"".join(id_texts)]
    else:
        sections += [id_numbers]

    size = HEADER_SIZE + sum(-(-len(section) // ALIGNED) * ALIGNED for section in sections) + ALIGNED
    sections[0] = HEADER.pack(
        MAGIC,
        VERSION,
        HAS_POSITIONS * positions + (HAS_TEXT_IDS if text_ids else numbers_kind),
        size,
        len(documents),
        terms,
        len(fields),
        columns,
        tables.postings,
        len(tables.lists),
        len(tables.texts),
        len(tables.places),
        sum(map(len, id_texts)),
        *field_terms,
    ).ljust(HEADER_SIZE, b"\0")
    return b"".join(section + bytes(-len(section) % ALIGNED) for section in [*sections, bytes(ALIGNED)])


def packed_records(records: Sequence[Record]) -> bytes:
    """Records in groups, counted from where the first of each begins."""
    groups = []
    for start in range(0, len(records), GROUPED):
        group = records[start : start + GROUPED]
        first, rest = group[0], [0] * (GROUPED - len(group))
        groups.append(
            GROUP.pack(
                first.list_at,
                first.text_at,
                *(record.list_at - first.list_at for record in group),
                *rest,
                *(record.text_at - first.text_at for record in group),
                *rest,
                *(record.brief for record in group),
                *rest,
            )
        )
    return b"".join(groups)


def packed_numbers(ids: Sequence[int]) -> tuple[int, bytes]:
    """The flag of ids that are numbers, and their bytes."""
    if not ids:
        return 0, b""
    least = min(ids)
    if all(second == first + 1 for first, second in pairwise(ids)):
        return HAS_IDS_IN_A_ROW, numbers_bytes("q", [least])
    if max(ids) - least <= MOST_NEAR:
        steps = [number - least for number in ids]
        return HAS_IDS_NEAR, numbers_bytes("q", [least]) + numbers_bytes("I", steps)
    return 0, numbers_bytes("q", ids)


def all_places(field: Field) -> dict[str, list[list[int]]]:
    """Where each term stands in each of its documents, in their order; empty if positions are not kept."""
    places: dict[str, list[list[int]]] = {term: [] for term in field.postings} if field.texts else {}
    for ordinal, words in field.texts.items():
        terms = dict.fromkeys(words)
        for term, of_term in zip(terms, field.places(ordinal, list(terms)), strict=True):
            places[term].append(of_term)
    return places


def pad(data: bytearray, unit: int) -> None:
    data += bytes(-len(data) % unit)


def numbers_bytes(kind: str, numbers: Sequence[int]) -> bytes:
    return pack(f"<{len(numbers)}{kind}", *numbers)


# Reading ------------------------------------------------------------------------------------------------


def unpacked(segment: "Buffer", fields: int, columns: int, positions: bool) -> Loaded:
    """What a segment holds.

    Raises:
        IndexFileError: it is broken, or its fields, columns or positions are not those that are asked for.
    """
    try:
        reader = Reader(memoryview(segment).cast("B"))
        if (reader.fields, reader.columns, reader.positions) != (fields, columns, positions):
            raise other_segment()
        return reader.loaded()
    except IndexFileError:
        raise
    except (error, IndexError, ValueError):
        raise broken_segment() from None


class Term(NamedTuple):
    """A term that was read, and where it stands in each of its documents."""

    postings: Postings
    places: list[tuple[int, ...]]


class Reader:
    """A segment, taken apart from its beginning to its end."""

    def __init__(self, data: memoryview) -> None:
        magic, version, flags, size, *rest = HEADER.unpack_from(data)
        self.docs, self.terms, self.fields, self.columns, self.postings, *sizes = rest[:9]
        self.lists_size, self.text_size, self.places_size, self.id_size = sizes
        self.field_terms = rest[9:]
        self.data = data
        self.at = HEADER_SIZE
        self.positions = bool(flags & HAS_POSITIONS)
        self.text_ids = bool(flags & HAS_TEXT_IDS)
        self.kind_of_ids = flags & ~HAS_POSITIONS
        require(magic == MAGIC and version == VERSION and size == len(data))
        require(self.kind_of_ids in KINDS_OF_IDS and (self.docs > 0 or self.kind_of_ids <= HAS_TEXT_IDS))
        require(not any(data[HEADER.size : HEADER_SIZE]))
        require(1 <= self.fields <= MOST_FIELDS)
        require(self.positions or not self.places_size)
        require(self.text_ids or not self.id_size)
        require(ends(self.field_terms, self.terms) and self.field_terms[self.fields] == self.terms)

    def loaded(self) -> Loaded:
        """All that it holds."""
        lists = self.section(self.lists_size)
        records = self.records()
        texts = self.section(self.text_size)
        place_at = self.numbers("Q", self.terms + 1) if self.positions else [0] * (self.terms + 1)
        places = self.section(self.places_size)
        lengths = [self.numbers("I", self.docs) for _ in range(self.fields)]
        cells = [self.numbers("Q", self.docs) for _ in range(self.columns)]
        ids = self.ids()
        require(self.at + ALIGNED == len(self.data))

        require(records[-1].brief == 0)
        terms = zip(
            [record.brief for record in records],
            parts(texts, [record.text_at for record in records]),
            parts(lists, [record.list_at for record in records]),
            parts(places, place_at),
            strict=False,
        )
        found = [self.term(*each) for each in terms]
        require(sum(len(postings.freqs) for postings, _ in found) == self.postings)
        fields = [
            self.field(found[start:end], of_field)
            for (start, end), of_field in zip(pairwise(self.field_terms), lengths, strict=False)
        ]
        documents = {
            doc: Document(
                ids[doc], tuple(each[doc] for _, each in fields), tuple(each[doc] for each in cells)
            )
            for doc in range(self.docs)
        }
        ordinals = {doc_id: doc for doc, doc_id in enumerate(ids)}
        require(len(ordinals) == self.docs)  # no id is there twice
        return Loaded([field for field, _ in fields], documents, ordinals, self.text_ids)

    def records(self) -> list[Record]:
        """(terms + 1) records; behind them are zeros."""
        found: list[Record] = []
        for list_base, text_base, *numbers in GROUP.iter_unpack(
            self.section((self.terms // GROUPED + 1) * GROUP.size)
        ):
            lists, texts = numbers[:GROUPED], numbers[GROUPED : 2 * GROUPED]
            require(list_base <= self.lists_size and text_base <= self.text_size)
            found += [
                Record(list_base + list_at, text_base + text_at, brief)
                for list_at, text_at, brief in zip(lists, texts, numbers[2 * GROUPED :], strict=True)
            ]
            rest = self.terms % GROUPED + 1
        require(not any([*lists[rest:], *texts[rest:], *numbers[2 * GROUPED + rest :]]))
        return found[: self.terms + 1]

    def term(self, brief: int, text: memoryview, packed_list: memoryview, places: memoryview) -> Term:
        require(len(text) <= LONGEST_BYTES)
        postings = Postings(bytes(text).decode())
        docs, freqs = unpack_list(packed_list, brief, self.docs)
        postings.freqs = dict(zip(docs, freqs, strict=True))
        return Term(postings, unpack_places(places, freqs) if self.positions else [])

    def field(
        self, terms: Sequence[Term], lengths: Sequence[int]
    ) -> tuple[Field, list[tuple[Postings, ...]]]:
        """A field, and the postings that each document is in."""
        field = Field()
        field.postings = {postings.term: postings for postings, _ in terms}
        require(list(field.postings) == sorted(field.postings) and len(field.postings) == len(terms))
        field.lengths = dict(enumerate(lengths))
        field.words = sum(lengths)
        found: list[list[Postings]] = [[] for _ in range(self.docs)]
        words = [0] * self.docs
        for postings, _ in terms:
            for doc, freq in postings.freqs.items():
                found[doc].append(postings)
                words[doc] += freq
        require(words == list(lengths))
        if self.positions:
            field.texts = dict(enumerate(words_in_order(terms, lengths)))
        return field, [tuple(each) for each in found]

    def section(self, size: int) -> memoryview:
        """The next section, which has `size` bytes."""
        require(size <= len(self.data) - self.at)
        found = self.data[self.at : self.at + size]
        self.at += -(-size // ALIGNED) * ALIGNED
        return found

    def numbers(self, kind: str, count: int) -> tuple[int, ...]:
        row = Struct(f"<{kind}")
        return tuple(number for (number,) in row.iter_unpack(self.section(count * row.size)))

    def ids(self) -> Sequence[int | str]:
        if not self.text_ids:
            return self.id_numbers()
        at = self.numbers("Q", self.docs + 1)
        return [bytes(text).decode() for text in parts(self.section(self.id_size), at)]

    def id_numbers(self) -> Sequence[int]:
        if not self.kind_of_ids:
            return self.numbers("q", self.docs)
        near = self.kind_of_ids == HAS_IDS_NEAR
        section = self.section(8 + 4 * self.docs * near)
        (least,) = unpack_from("<q", section)
        steps = unpack_from(f"<{self.docs}I", section, 8) if near else range(self.docs)
        require(least + max(steps) <= GREATEST_ID)
        return [least + step for step in steps]


def words_in_order(terms: Sequence[Term], lengths: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """The words of each document, each at its place."""
    texts = [[""] * length for length in lengths]
    free = [bytearray(b"\1" * length) for length in lengths]
    for postings, places in terms:
        for doc, of_doc in zip(postings.freqs, places, strict=True):
            for place in of_doc:
                require(bool(free[doc][place]))
                free[doc][place] = 0
                texts[doc][place] = postings.term
    return map(tuple, texts)


def require(holds: bool) -> None:
    if not holds:
        raise broken_segment()


def parts(data: memoryview, at: Sequence[int]) -> Iterator[memoryview]:
    """What lies between each of these places and the next one; they are checked first."""
    require(ends(at, len(data)))
    return (data[start:end] for start, end in pairwise(at))


def ends(at: Sequence[int], size: int) -> bool:
    """Whether these places begin at 0, do not fall, and end at `size`."""
    return at[0] == 0 and at[-1] == size and all(first <= second for first, second in pairwise(at))
