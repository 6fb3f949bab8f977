"""Segments: what either twin packs both can map, and damaged bytes give errors, never wrong memory."""

from contextlib import suppress
from importlib import import_module
from random import Random
from struct import pack
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidValue
from penstock.search.errors import DuplicateDocument, IndexFileError
from penstock.search.plan import AnyNode, EveryNode, PhraseNode, TermNode
from penstock.search.scoring import BM25

IDS_IN_A_ROW, IDS_NEAR = 4, 8  # flags of a segment
TWINS = {impl: import_module(f"penstock.search._inverted_index_{impl}").TermIndex for impl in ("c", "py")}
directions = pytest.mark.parametrize(("writer", "reader"), [(a, b) for a in TWINS for b in TWINS])


def zipf_words(random, vocabulary, length):
    return [f"w{int(vocabulary ** random.random()) - 1}" for _ in range(length)]


def filled(impl, documents, *, fields=1, columns=0, positions=True, text_ids=False, seed=1, compact=False):
    """An index with some documents of random words, a third of which were deleted."""
    random = Random(seed)
    index = TWINS[impl](fields, columns, positions, None)
    for number in range(documents):
        doc_id = f"é{number}" if text_ids else number * 7 - 100
        texts = tuple(zipf_words(random, 3_000, random.randint(0, 40)) for _ in range(fields))
        index.add(doc_id, texts, tuple(random.getrandbits(64) for _ in range(columns)))
        if compact and number == documents // 2:
            index.compact()
    for doc_id in index.ids()[::3]:
        index.delete(doc_id)
    return index


def everything(index, fields=1, columns=0, positions=True):
    """All that an index tells but memory; of its documents, some."""
    some = index.ids()[:: len(index) // 60 + 1]
    told = [index.ids(), [index.cells(column) for column in range(columns)]]
    for field in range(fields):
        terms = index.terms(field, "", 1 << 30)
        told += [index.words_of(field), terms]
        told += [index.terms_of(doc_id, field) for doc_id in some]
        for doc_id in some:
            for term, _ in index.terms_of(doc_id, field)[:5]:
                told.append(index.frequency(doc_id, field, term))
                if positions:
                    told.append(index.places(doc_id, field, term))
        plan = AnyNode(1, tuple(TermNode(((field, term, 1.0),)) for term, _ in terms[:40]))
        told.append(index.scores(plan, BM25()))
        told.append(index.top(plan, BM25(), 10, None))
        if positions:
            told.append(index.top(PhraseNode(field, ("w0", "w1"), 3), BM25(), 100, None))
    return told


SHAPES = {
    "empty": (0, {}),
    "one document": (1, {"columns": 2}),
    "no positions": (2_000, {"positions": False}),
    "positions": (1_000, {}),
    "fields and columns": (400, {"fields": 3, "columns": 2}),
    "text ids": (400, {"text_ids": True, "columns": 1}),
}


@directions
@pytest.mark.parametrize("shape", SHAPES)
def test_segment_of_either_twin_is_the_same_index_in_both(writer, reader, shape):
    documents, options = SHAPES[shape]
    index = filled(writer, documents, **options, compact=True)
    told = {name: value for name, value in options.items() if name != "text_ids"}
    copy = TWINS[reader](told.get("fields", 1), told.get("columns", 0), told.get("positions", True), None)
    copy.map(index.pack())
    assert everything(copy, **told) == everything(index, **told)


@directions
def test_mapped_index_can_be_changed_and_packed_again(writer, reader):
    index = filled(writer, 300)
    copy = TWINS[reader](1, 0, True, None)
    copy.map(index.pack())
    for each in (index, copy):
        for doc_id in each.ids()[::2]:
            each.delete(doc_id)
        each.add(1_000_000, (["w0", "new", "w1"],))
    assert everything(copy) == everything(index)
    again = TWINS[writer](1, 0, True, None)
    again.map(copy.pack())
    assert everything(again) == everything(index)


@directions
def test_long_documents_long_terms_and_great_frequencies_come_back(writer, reader):
    index = TWINS[writer](1, 0, True, None)
    index.add(1, (["x"] * 70_000 + ["y"],))
    index.add(2, (["\U0001f600" * 255, "", "\0", "y"],))
    index.add(3, ([],))
    for number in range(4, 300):
        index.add(number, (["y"] * (number % 3 + 1),))
    copy = TWINS[reader](1, 0, True, None)
    copy.map(index.pack())
    assert everything(copy) == everything(index)
    assert copy.places(1, 0, "x") == list(range(70_000))


def test_ids_of_a_mapped_index_stay_of_their_kind(TermIndex):
    for impl in TWINS:
        index = TermIndex(1, 0, True, None)
        index.map(filled(impl, 10, text_ids=True).pack())
        with pytest.raises(TypeError, match="doc_id must be a str as the first one was, got 5"):
            index.add(5, (["x"],))
        index.add("x", (["x"],))


def test_segment_can_be_any_bytes_like_object(TermIndex):
    segment = filled("py", 50).pack()
    for kind in (bytes, bytearray, memoryview):
        index = TermIndex(1, 0, True, None)
        index.map(kind(segment))
        assert len(index) == len(filled("py", 50))


def test_bytes_of_a_mapped_segment_live_as_long_as_the_index(TermIndex):
    index = TermIndex(1, 0, True, None)
    index.map(bytes(bytearray(filled("py", 500).pack())))
    assert everything(index) == everything(filled("py", 500))


def test_index_that_had_documents_maps_nothing(TermIndex):
    index = filled("py", 5)
    other = TermIndex(1, 0, True, None)
    other.add(1, (["x"],))
    other.delete(1)
    with pytest.raises(InvalidValue, match="index must have had no document before it maps a segment, got 0"):
        other.map(index.pack())


@pytest.mark.parametrize(("fields", "columns", "positions"), [(2, 0, True), (1, 1, True), (1, 0, False)])
def test_segment_of_another_shape_is_refused(TermIndex, fields, columns, positions):
    index = TermIndex(fields, columns, positions, None)
    with pytest.raises(
        IndexFileError, match="segment must have the fields, columns and positions of the index"
    ):
        index.map(filled("py", 5).pack())
    assert len(index) == 0
    index.add(1, (["x"],) * fields, (0,) * columns)


# ---- damage ----


def ask(index):
    """Asks for all there is; a block that is found broken is an IndexFileError."""
    words = [term for term, _ in index.terms(0, "", 40)]
    plan = AnyNode(1, (*(TermNode(((0, word, 1.0),)) for word in words), EveryNode()))
    asked = [
        lambda: index.scores(plan, BM25()),
        lambda: index.top(plan, BM25(), 10, None),
        lambda: index.top_words(words, 1, BM25(), 3, None),
        lambda: index.top(PhraseNode(0, ("w0", "w1"), 2), BM25(), 5, None),
        lambda: [index.terms_of(doc_id, 0) for doc_id in index.ids()[:3]],
        lambda: [index.places(doc_id, 0, "w0") for doc_id in index.ids()[:3]],
        lambda: [index.delete(doc_id) for doc_id in index.ids()[:2]],
        lambda: [index.doc_freq(0, word) for word in words],
        lambda: index.pack(),
        lambda: index.compact(),
    ]
    for each in asked:
        with suppress(IndexFileError):
            each()


def map_and_ask(impl, segment):
    index = TWINS[impl](1, 0, True, None)
    with suppress(IndexFileError):
        index.map(segment)
        ask(index)


@pytest.fixture(scope="module")
def segments():
    return [filled("py", 150).pack(), filled("py", 12, text_ids=True).pack()]


@pytest.mark.parametrize("impl", TWINS)
def test_truncated_segment_is_refused(impl, segments):
    for segment in segments:
        for size in [*range(400), *range(400, len(segment), 97), len(segment) - 1]:
            index = TWINS[impl](1, 0, True, None)
            with pytest.raises(IndexFileError, match="segment must be whole and of this version"):
                index.map(segment[:size])
            assert len(index) == 0


@pytest.mark.parametrize("impl", TWINS)
def test_segment_with_something_behind_it_is_refused(impl, segments):
    for more in (b"\0", b"\0" * 64):
        with pytest.raises(IndexFileError):
            TWINS[impl](1, 0, True, None).map(segments[0] + more)


@pytest.mark.parametrize("impl", TWINS)
@pytest.mark.parametrize("at", [0, 7, 8, 12, 16, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 84, 147, 148, 255])
def test_flipped_byte_of_the_header_is_refused(impl, at, segments):
    for segment in segments:
        damaged = bytearray(segment)
        damaged[at] ^= 0xFF
        with pytest.raises(IndexFileError):
            TWINS[impl](1, 0, True, None).map(bytes(damaged))


@pytest.mark.parametrize("impl", TWINS)
@settings(max_examples=150)
@given(data=st.data())
def test_flipped_bytes_give_errors_or_answers(impl, segments, data):
    """Checksums are in the file around the segment: here some damage cannot be told from other contents."""
    damaged = bytearray(data.draw(st.sampled_from(segments)))
    places = data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4))
    for place in places:
        damaged[place] ^= data.draw(st.integers(1, 255))
    map_and_ask(impl, bytes(damaged))


@pytest.mark.parametrize("impl", TWINS)
def test_bytes_that_are_no_segment_are_refused(impl):
    for junk in (
        b"",
        b"PSSEGMNT",
        bytes(256),
        bytes(10_000),
        b"PSSEGMNT" + bytes(400),
        Random(1).randbytes(5_000),
    ):
        with pytest.raises(IndexFileError):
            TWINS[impl](1, 0, True, None).map(junk)


def with_one_id(segment, documents):
    """A segment (no columns, ids are numbers that do not follow one another) whose documents have one id."""
    near = segment[12] & IDS_NEAR
    size = 8 + 4 * documents if near else 8 * documents
    start = len(segment) - 64 - -(-size // 64) * 64
    one = segment[start : start + 8] + bytes(4 * documents) if near else bytes(size)
    return segment[:start] + one + segment[start + size :]


def map_and_delete(impl, segment):
    index = TWINS[impl](1, 0, True, None)
    index.map(segment)
    index.delete(0)  # the compiled one looks at ids that do not ascend when it needs them


def map_and_pack(impl, segment):
    index = TWINS[impl](1, 0, True, None)
    index.map(segment)
    index.pack()  # the compiled one looks at places when it needs them


@pytest.mark.parametrize("impl", TWINS)
@pytest.mark.parametrize("apart", [2, 1 << 40])
def test_segment_whose_documents_have_one_id_is_broken(impl, apart):
    index = TWINS["py"](1, 0, True, None)
    index.add_many([apart * number for number in range(50)], [(["x"],)] * 50)
    with pytest.raises(IndexFileError, match="segment must be whole"):
        map_and_delete(impl, with_one_id(index.pack(), 50))


IDS = {
    "that follow one another": (range(-3, 300), IDS_IN_A_ROW),
    "one": ([5], IDS_IN_A_ROW),
    "at the end of all": (range(2**63 - 40, 2**63), IDS_IN_A_ROW),
    "with gaps": (range(-2000, 2000, 7), IDS_NEAR),
    "that fall": (range(200, 0, -1), IDS_NEAR),
    "in disorder": ([3, 1, 2, 2**32, 9], IDS_NEAR),
    "as far apart as are near": ([-1, 2**32 - 2], IDS_NEAR),
    "further apart": ([-1, 2**32 - 1], 0),
    "at both ends": ([2**63 - 1, -(2**63), 0], 0),
    "none": ([], 0),
}


@pytest.mark.parametrize("kind", IDS)
@directions
def test_ids_come_back_whichever_way_they_lie(kind, writer, reader):
    ids, flag = IDS[kind]
    index = TWINS[writer](1, 0, False, None)
    index.add_many(ids, [(["x"],)] * len(ids))
    segment = index.pack()
    assert segment[12] == flag
    mapped = TWINS[reader](1, 0, False, None)
    mapped.map(segment)
    assert mapped.ids() == list(ids)
    assert all(doc_id in mapped for doc_id in ids)
    assert not any(doc_id in mapped for doc_id in {*range(-4, 310, 3), 2**62, -(2**63) + 1} - {*ids})
    for doc_id in ids[::2]:
        assert mapped.delete(doc_id)
        assert not mapped.delete(doc_id)
    mapped.compact()
    assert mapped.ids() == list(ids[1::2])
    for doc_id in ids[::2]:
        mapped.add(doc_id, (["y"],))
    assert mapped.ids() == [*ids[1::2], *ids[::2]]
    for doc_id in ids:
        with pytest.raises(DuplicateDocument):
            mapped.add(doc_id, (["z"],))


@pytest.mark.parametrize("impl", TWINS)
def test_ids_beyond_64_bits_are_broken(impl):
    for ids in (range(2**63 - 40, 2**63), range(2**63 - 79, 2**63, 2)):
        index = TWINS["py"](1, 0, True, None)
        index.add_many(ids, [(["x"],)] * 40)
        segment = index.pack()
        least = pack("<q", ids[0])
        assert segment.count(least) == 1
        with pytest.raises(IndexFileError, match="segment must be whole"):
            TWINS[impl](1, 0, True, None).map(segment.replace(least, pack("<q", ids[0] + 1)))


@pytest.mark.parametrize("impl", TWINS)
def test_segment_of_an_earlier_version_is_refused(impl, segments):
    with pytest.raises(IndexFileError, match="of this version"):
        TWINS[impl](1, 0, True, None).map(segments[0][:8] + b"\1" + segments[0][9:])


def test_many_documents_with_one_id_are_found_at_once():
    """It took half a minute: all of them have one hash."""
    many = TWINS["c"](1, 0, False, None)
    many.add_many(range(0, 2_000_000, 2), [(None,)] * 1_000_000)
    index = TWINS["c"](1, 0, False, None)
    index.map(with_one_id(many.pack(), len(many)))
    start = perf_counter()
    with pytest.raises(IndexFileError, match="segment must be whole"):
        index.delete(0)
    assert perf_counter() - start < 5


def test_place_without_end_is_found_at_once():
    """The fallback took minutes to put it together."""
    index = TWINS["py"](1, 0, True, None)
    index.add(1, (["x"] * 1_000_000,))
    segment = index.pack()
    places = b"\0" + b"\1" * 999_999
    assert places in segment
    damaged = segment.replace(places, b"\x81" * 1_000_000)
    start = perf_counter()
    for impl in TWINS:
        with pytest.raises(IndexFileError, match="segment must be whole"):
            map_and_pack(impl, damaged)
    assert perf_counter() - start < 10
