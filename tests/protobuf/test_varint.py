"""Varints: what protobuf writes and reads, one at a time and as arrays, and everything that is none."""

import threading
from array import array
from importlib import import_module

import numpy as np
import pytest
from google.protobuf.internal import decoder, encoder, wire_format
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidType, InvalidValue
from penstock.protobuf.errors import DecodeError, EncodeError

LARGEST = 2**64 - 1
HUGE = pytest.param(1 << 40_000, id="huge")

SHORTEST = [
    (0, "00"),
    (1, "01"),
    (127, "7f"),
    (128, "8001"),
    (150, "9601"),
    (300, "ac02"),
    (16_383, "ff7f"),
    (16_384, "808001"),
    (2**32 - 1, "ffffffff0f"),
    (2**56 - 1, "ffffffffffffff7f"),
    (2**56, "808080808080808001"),
    (2**63 - 1, "ffffffffffffffff7f"),
    (2**63, "80808080808080808001"),
    (LARGEST, "ffffffffffffffffff01"),
]
ZIGZAGGED = [
    (0, 0),
    (-1, 1),
    (1, 2),
    (-2, 3),
    (2**31 - 1, 2**32 - 2),
    (-(2**31), 2**32 - 1),
    (2**63 - 1, 2**64 - 2),
    (-(2**63), 2**64 - 1),
]
NO_VARINTS = [
    ("80", 0, "the value is truncated"),
    ("01ff", 1, "the value is truncated"),
    ("01" * 100 + "80" * 9, 100, "the value is truncated"),
    ("80" * 10, 0, "a varint is longer than 10 bytes"),
    ("80" * 10 + "00", 0, "a varint is longer than 10 bytes"),
    ("01" * 27 + "80" * 10 + "01", 27, "a varint is longer than 10 bytes"),
    ("01" * 60 + "80" * 90 + "01" * 60, 60, "a varint is longer than 10 bytes"),
    ("01" * 60 + "80" * 12 + "01" * 60 + "80", 60, "a varint is longer than 10 bytes"),
]

bits = st.integers(0, 64).flatmap(lambda width: st.integers(0, (1 << width) - 1))
signed = bits.map(lambda word: word - 2**64 if word >= 2**63 else word) | st.integers(-200, 200)


@pytest.fixture(params=["c", "py"])
def varint(request):
    """The module of each twin: its six functions."""
    return twin(request.param)


def twin(impl):
    return import_module(f"penstock.protobuf._varint_{impl}")


BOTH = twin("c"), twin("py")


def by_google(words):
    """What Google's own encoder writes."""
    pieces = []
    for word in words:
        encoder._EncodeVarint(pieces.append, word, True)
    return b"".join(pieces)


@pytest.mark.parametrize(("value", "octets"), SHORTEST)
def test_value_is_written_as_its_shortest_varint_and_read_back(varint, value, octets):
    written = varint.encode_varint(value)
    assert written.hex() == octets
    assert varint.decode_varint(written) == (value, len(written))


def test_lengths_and_tags_of_the_order_of_example_44_are_read(varint):
    order = bytes.fromhex("088d3d12105749444745542d412d5052454d49554d180520b717")
    assert varint.decode_varint(order) == (1 << 3, 1)
    assert varint.decode_varint(order, 1) == (7821, 3)
    assert varint.decode_varint(order, 4) == (len("WIDGET-A-PREMIUM"), 5)
    assert varint.decode_varint(order, 24) == (2999, 26)
    assert varint.encode_varint(7821) == order[1:3]


@given(bits, st.binary(max_size=12), st.binary(max_size=12))
def test_one_varint_is_as_google_reads_and_writes_it(value, before, behind):
    for varint in BOTH:
        written = varint.encode_varint(value)
        assert written == by_google([value])
        data = before + written + behind
        assert varint.decode_varint(data, len(before)) == decoder._DecodeVarint(data, len(before))


@given(st.binary(min_size=1, max_size=14), st.integers(0, 14))
def test_twins_read_any_bytes_alike(data, position):
    found = []
    for varint in BOTH:
        try:
            found.append(varint.decode_varint(data, min(position, len(data))))
        except DecodeError as error:
            found.append((error.reason, error.offset))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("8000", 0),
        ("8180808000", 1),
        ("81808080808080808000", 1),
        ("ffffffffffffffffff7f", LARGEST),  # six bits above the 64th
        ("8080808080808080807e", 0),
    ],
)
def test_varint_may_be_longer_than_need_be_and_bits_above_the_64th_are_dropped(varint, octets, value):
    data = bytes.fromhex(octets)
    assert varint.decode_varint(data) == (value, len(data))
    assert varint.decode_varint(data + bytes(20)) == (value, len(data))
    assert varint.decode_varints(data * 20).tolist() == [value] * 20


@pytest.mark.parametrize(("octets", "offset", "reason"), NO_VARINTS)
def test_what_is_no_varint_is_refused_with_its_place(varint, octets, offset, reason):
    data = bytes.fromhex(octets)
    for read in (lambda: varint.decode_varint(data, offset), lambda: varint.decode_varints(data)):
        with pytest.raises(DecodeError) as caught:
            read()
        assert (caught.value.offset, caught.value.reason) == (offset, reason)
        assert str(caught.value) == f"byte {offset}: {reason}"


def test_there_is_no_varint_at_the_end(varint):
    with pytest.raises(DecodeError, match=r"^byte 3: the value is truncated$"):
        varint.decode_varint(b"abc", 3)


@pytest.mark.parametrize("position", [-1, 4, 2**63, -(2**64), HUGE])
def test_position_outside_of_the_data_is_refused(varint, position):
    with pytest.raises(InvalidValue, match=r"^position must be 0 to 3, got ") as caught:
        varint.decode_varint(b"abc", position)
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize("value", [-1, 2**64, -(2**64), HUGE])
def test_value_of_more_than_64_bits_is_refused(varint, value):
    shown = str(value) if value.bit_length() < 65 else f"an integer of {value.bit_length()} bits"
    with pytest.raises(EncodeError) as caught:
        varint.encode_varint(value)
    assert str(caught.value) == f"value must be 0 to 18446744073709551615, got {shown}"


def test_negative_value_is_written_as_its_twos_complement(varint):
    assert varint.encode_varint(-1 & LARGEST) == by_google([LARGEST])


@pytest.mark.parametrize("wrong", [1.0, "1", None, b"\x01"])
def test_what_is_no_int_is_refused(varint, wrong):
    kind = type(wrong).__name__
    for function in (varint.encode_varint, varint.zigzag_encode, varint.zigzag_decode):
        with pytest.raises(InvalidType, match=rf"^value must be an int, got {kind}$"):
            function(wrong)
    with pytest.raises(InvalidType, match=rf"^position must be an int, got {kind}$"):
        varint.decode_varint(b"abc", wrong)


def test_whatever_has_an_index_is_an_int(varint):
    assert varint.encode_varint(np.uint64(LARGEST)) == by_google([LARGEST])
    assert varint.encode_varint(True) == b"\x01"
    assert varint.decode_varint(b"\x00\x05", np.int8(1)) == (5, 2)
    assert varint.zigzag_encode(np.int64(-3)) == 5
    assert varint.zigzag_decode(np.uint8(5)) == -3


@pytest.mark.parametrize(("number", "word"), ZIGZAGGED)
def test_zigzag_counts_away_from_zero(varint, number, word):
    assert varint.zigzag_encode(number) == word
    assert varint.zigzag_decode(word) == number


@given(signed)
def test_zigzag_is_as_googles(number):
    for varint in BOTH:
        assert varint.zigzag_encode(number) == wire_format.ZigZagEncode(number)
        assert varint.zigzag_decode(varint.zigzag_encode(number)) == number


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, HUGE])
def test_numbers_of_more_than_64_bits_have_no_zigzag(varint, number):
    with pytest.raises(
        EncodeError, match=r"^value must be -9223372036854775808 to 9223372036854775807, got "
    ):
        varint.zigzag_encode(number)


@pytest.mark.parametrize("word", [-1, 2**64, HUGE])
def test_words_of_more_than_64_bits_are_no_zigzag(varint, word):
    with pytest.raises(InvalidValue, match=r"^value must be 0 to 18446744073709551615, got "):
        varint.zigzag_decode(word)


@given(st.lists(bits, max_size=200))
def test_array_is_written_and_read_as_its_values_one_by_one(words):
    expected = by_google(words)
    for varint in BOTH:
        assert varint.encode_varints(np.array(words, np.uint64)) == expected
        assert varint.encode_varints(words) == expected
        found = varint.decode_varints(expected)
        assert (found.dtype, found.tolist()) == (np.uint64, words)


@given(st.lists(bits, max_size=50), st.sampled_from(["uint64", "int64", "uint32", "int32", "bool"]))
def test_values_keep_what_fits_their_dtype(words, dtype):
    expected = np.array(words, np.uint64).astype(dtype)
    for varint in BOTH:
        found = varint.decode_varints(by_google(words), dtype=dtype)
        assert found.dtype == dtype
        assert found.tolist() == expected.tolist()


@given(st.lists(signed, max_size=50), st.sampled_from(["int64", "int32"]))
def test_zigzagged_values_are_those_behind_it(numbers, dtype):
    expected = np.array(numbers, np.int64).astype(dtype)
    for varint in BOTH:
        octets = varint.encode_varints(expected, zigzag=True)
        assert octets == by_google(map(wire_format.ZigZagEncode, expected.tolist()))
        found = varint.decode_varints(octets, dtype=dtype, zigzag=True)
        assert (found.dtype, found.tolist()) == (np.dtype(dtype), expected.tolist())


@given(st.binary(max_size=300) | st.lists(st.sampled_from([b"\x01", b"\x80" * 9, b"\xff"])).map(b"".join))
def test_twins_read_batches_of_any_bytes_alike(data):
    found = []
    for varint in BOTH:
        try:
            found.append(varint.decode_varints(data).tolist())
        except DecodeError as error:
            found.append((error.reason, error.offset))
    assert found[0] == found[1]


@pytest.mark.parametrize("longest", [1, 2, 5, 10])
def test_long_batches_come_back_whole(varint, longest):
    words = np.random.default_rng(longest).integers(
        0, 1 << 7 * longest - 6 * (longest == 10), 30_000, np.uint64
    )
    octets = varint.encode_varints(words)
    assert octets == by_google(words.tolist())
    assert np.array_equal(varint.decode_varints(octets), words)
    for dtype in ("int32", "bool"):
        assert np.array_equal(varint.decode_varints(octets, dtype=dtype), words.astype(dtype))


@pytest.mark.parametrize("size", [*range(70), 127, 128, 129])
def test_runs_of_one_byte_may_have_any_length(varint, size):
    words = [*range(size), 300, 5]
    octets = varint.encode_varints(words)
    assert octets == by_google(words)
    assert varint.decode_varints(octets).tolist() == words


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", ">i4", ">i8", "uint8", "uint16", "uint32", "uint64", ">u8"]
)
def test_integers_of_any_width_are_written(varint, dtype):
    kind = np.dtype(dtype)
    values = np.array([0, 1, 100, np.iinfo(kind).min, np.iinfo(kind).max], kind)
    assert varint.encode_varints(values) == by_google(value & LARGEST for value in values.tolist())
    fitting = values[values <= 2**63 - 1]
    expected = by_google(map(wire_format.ZigZagEncode, fitting.tolist()))
    assert varint.encode_varints(fitting, zigzag=True) == expected


@pytest.mark.parametrize("zigzag", [False, True])
def test_bools_are_0_and_1(varint, zigzag):
    octets = bytes([zigzag + 1, 0, zigzag + 1])
    assert varint.encode_varints(np.array([True, False, True]), zigzag=zigzag) == octets
    assert varint.encode_varints([True, False, True], zigzag=zigzag) == octets


def test_values_may_have_gaps_between_them(varint):
    values = np.arange(-20, 20)
    assert varint.encode_varints(values[::-3]) == by_google(
        value & LARGEST for value in values[::-3].tolist()
    )


@pytest.mark.parametrize(
    "values",
    [
        [2**63, -1, 5],
        (LARGEST, -(2**63)),
        [np.uint64(7), np.int64(-7)],
        [True, 2**64 - 1],
        range(5, 300, 7),
        array("h", [-1, 5]),
        memoryview(array("Q", [2**63])),
        bytearray(b"\x05\xff"),
    ],
)
def test_sequences_and_buffers_are_values(varint, values):
    assert varint.encode_varints(values) == by_google(int(value) & LARGEST for value in values)


@pytest.mark.parametrize("nothing", [[], (), np.empty(0, np.int32), np.empty(0, bool), bytearray()])
def test_nothing_is_no_bytes(varint, nothing):
    assert varint.encode_varints(nothing) == b""
    assert varint.encode_varints(nothing, zigzag=True) == b""


@pytest.mark.parametrize("nothing", [b"", np.empty(0), memoryview(b"")])
def test_no_bytes_are_no_values(varint, nothing):
    found = varint.decode_varints(nothing, dtype="int32")
    assert (found.dtype, found.shape) == (np.int32, (0,))


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        (np.array([1.0]), InvalidType, "values must be integers or bools, got an array of float64"),
        (np.array(["1"]), InvalidType, "values must be integers or bools, got an array of <U1"),
        (np.array([1], object), InvalidType, "values must be integers or bools, got an array of object"),
        (array("d", [1.0]), InvalidType, "values must be integers or bools, got array"),
        (b"12", InvalidType, "values must be integers or bools, got bytes"),
        ("12", InvalidType, "values must be integers or bools, got str"),
        (None, InvalidType, "values must be integers or bools, got NoneType"),
        (iter([1]), InvalidType, "values must be integers or bools, got list_iterator"),
        ([1, 2.0], InvalidType, "value must be an int, got float"),
        ([1, None], InvalidType, "value must be an int, got NoneType"),
        (["1"], InvalidType, "value must be an int, got str"),
        ([[1], [2, 3]], InvalidType, "value must be an int, got list"),
        (5, InvalidValue, "values must have one dimension, got 0"),
        ([[1, 2], [3, 4]], InvalidValue, "values must have one dimension, got 2"),
        (np.zeros((2, 3), int), InvalidValue, "values must have one dimension, got 2"),
        (
            [1, 2**64],
            EncodeError,
            "value must be -9223372036854775808 to 18446744073709551615, got an integer of 65 bits",
        ),
        (
            [1, -(2**63) - 1],
            EncodeError,
            "value must be -9223372036854775808 to 18446744073709551615, got -9223372036854775809",
        ),
    ],
)
def test_values_that_are_no_integers_of_64_bits_are_refused(varint, values, error, text):
    with pytest.raises(error) as caught:
        varint.encode_varints(values)
    assert str(caught.value) == text


@pytest.mark.parametrize("values", [np.array([1, 2**63], np.uint64), [-1, 2**63], [2**63]])
def test_zigzag_of_a_value_beyond_63_bits_is_refused(varint, values):
    with pytest.raises(EncodeError, match=r"9223372036854775807, got 9223372036854775808$"):
        varint.encode_varints(values, zigzag=True)


@pytest.mark.parametrize("dtype", ["float64", "int8", ">i8", "nonsense", None, 5, "O"])
def test_other_dtypes_are_refused(varint, dtype):
    with pytest.raises(InvalidValue) as caught:
        varint.decode_varints(b"", dtype=dtype)
    assert str(caught.value) == f"dtype must be uint64, int64, uint32, int32 or bool, got {dtype!r}"


@pytest.mark.parametrize("dtype", ["uint64", "uint32", "bool"])
def test_zigzag_needs_a_signed_dtype(varint, dtype):
    with pytest.raises(InvalidValue, match=rf"^dtype must be int64 or int32 with zigzag, got '{dtype}'$"):
        varint.decode_varints(b"", dtype=dtype, zigzag=True)


@pytest.mark.parametrize("dtype", [np.int64, np.dtype("int64"), "i8", int])
def test_dtype_may_be_written_as_numpy_writes_it(varint, dtype):
    assert varint.decode_varints(b"\x05", dtype=dtype).dtype == np.int64


@pytest.mark.parametrize(
    "lend",
    [
        bytearray,
        memoryview,
        lambda data: np.frombuffer(data, np.uint8),
        lambda data: np.frombuffer(data, ">u2"),
        lambda data: array("H", data),
        lambda data: np.frombuffer(data, np.uint8).reshape(2, 2),
    ],
)
def test_whatever_lends_its_bytes_is_read(varint, lend):
    data = lend(b"\x05\xac\x02\x07")
    assert varint.decode_varint(data, 1) == (300, 3)
    assert varint.decode_varints(data).tolist() == [5, 300, 7]


@pytest.mark.parametrize("data", ["abc", 5, None, [1], memoryview(b"abcd")[::2], np.zeros((2, 3)).T])
def test_what_lends_no_contiguous_bytes_is_refused(varint, data):
    kind = type(data).__name__
    for read in (varint.decode_varint, varint.decode_varints):
        with pytest.raises(
            InvalidType, match=rf"^data must be bytes, or like them and contiguous, got {kind}$"
        ):
            read(data)


def test_array_that_changes_while_it_is_written_does_no_harm(varint):
    words = np.zeros(200_000, np.uint64)
    stop = threading.Event()

    def change():
        while not stop.is_set():
            words[:] = LARGEST
            words[:] = 0

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(20):
            try:
                octets = varint.encode_varints(words)
            except EncodeError as error:
                assert str(error) == "values must not change while they are written"  # noqa: PT017
            else:
                assert len(varint.decode_varints(octets)) == len(words)
    finally:
        stop.set()
        changer.join()


def test_bytes_that_change_while_they_are_read_do_no_harm(varint):
    data = bytearray(b"\x01" * 200_000)
    long = b"\x80" * 9 + b"\x01"
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for piece in (long, b"\x80" * 10, b"\x01" * 10):
                data[:] = piece * 20_000

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(40):
            try:
                assert len(varint.decode_varints(data)) <= len(data)
            except DecodeError as error:
                assert error.reason in {  # noqa: PT017
                    "data must not change while it is read",
                    "a varint is longer than 10 bytes",
                    "the value is truncated",
                }
    finally:
        stop.set()
        changer.join()
