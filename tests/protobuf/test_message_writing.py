"""What messages write, on both twins, and which values they refuse to."""

import math
import struct
import sys
import threading
from collections import OrderedDict
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from messages import Corpus
from wire_bytes import delimited, nested, tag, varint

from penstock.protobuf.errors import EncodeError, EncodeTypeError
from penstock.protobuf.fields import Int32, field
from penstock.protobuf.options import DecodeOptions


def test_every_kind_is_written_as_the_encoding_says(Every):
    cases = {
        "double": (1.5, tag(1, 1) + struct.pack("<d", 1.5)),
        "float_": (1.5, tag(2, 5) + struct.pack("<f", 1.5)),
        "int32": (-2, tag(3, 0) + b"\xfe" + b"\xff" * 8 + b"\x01"),
        "int64": (-(2**63), tag(4, 0) + b"\x80" * 9 + b"\x01"),
        "uint32": (2**32 - 1, tag(5, 0) + b"\xff\xff\xff\xff\x0f"),
        "uint64": (2**64 - 1, tag(6, 0) + b"\xff" * 9 + b"\x01"),
        "sint32": (-(2**31), tag(7, 0) + b"\xff\xff\xff\xff\x0f"),
        "sint64": (-1, tag(8, 0) + b"\x01"),
        "fixed32": (2**32 - 1, tag(9, 5) + b"\xff" * 4),
        "fixed64": (1, tag(10, 1) + b"\x01" + bytes(7)),
        "sfixed32": (-1, tag(11, 5) + b"\xff" * 4),
        "sfixed64": (-2, tag(12, 1) + b"\xfe" + b"\xff" * 7),
        "boolean": (True, tag(13, 0) + b"\x01"),
        "text": ("é", tag(14, 2) + b"\x02\xc3\xa9"),
        "data": (b"\x00\xff", tag(15, 2) + b"\x02\x00\xff"),
        "corpus": (Corpus.LAST, tag(16, 0) + b"\xff" * 9 + b"\x01"),
        "inner": (None, b""),
        "far": (1, varint(536_870_911 << 3) + b"\x01"),
        "int32s": ([1, -1], delimited(33, b"\x01" + b"\xff" * 9 + b"\x01")),
        "sint32s": ([-1, 150], delimited(37, b"\x01\xac\x02")),
        "booleans": ([True, False], delimited(43, b"\x01\x00")),
        "texts": (["a", ""], delimited(44, b"a") + delimited(44, b"")),
        "unpacked": ([1, 2], tag(48, 0) + b"\x01" + tag(48, 0) + b"\x02"),
        "by_int": ({0: ""}, delimited(61, b"\x08\x00\x12\x00")),
        "by_bool": ({True: -1}, delimited(65, b"\x08\x01\x10" + b"\xff" * 9 + b"\x01")),
    }
    for name, (value, data) in cases.items():
        assert Every(**{name: value}).to_bytes() == data, name
        assert getattr(Every.from_bytes(data), name) == value, name


def test_fields_are_written_by_number_and_unknown_ones_after_them(Message):
    class Backwards(Message):
        last: Int32 = field(3)
        first: Int32 = field(1)

    message = Backwards.from_bytes(b"\x18\x03\x38\x01\x08\x01")
    assert message.to_bytes() == b"\x08\x01\x18\x03\x38\x01"


def test_deterministic_bytes_sort_maps_by_key(Every):
    message = Every(by_text=dict.fromkeys(["é", "z", "a", ""], 0), by_sint={3: b"", -1: b"", 0: b""})
    message.by_bool = {True: 1, False: 0}
    read = Every.from_bytes(message.to_bytes(deterministic=True))
    assert list(read.by_text) == ["", "a", "z", "é"]
    assert list(read.by_sint) == [-1, 0, 3]
    assert list(read.by_bool) == [False, True]
    assert list(Every.from_bytes(message.to_bytes()).by_text) == ["é", "z", "a", ""]


def test_lengths_of_sub_messages_are_right_at_every_size(Every):
    for size in [0, 1, 120, 121, 122, 123, 124, 125, 126, 127, 128, 16_370, 16_380, 16_390, 2_100_000]:
        message = Every(inner=Every(inners=[Every(data=b"x" * size)]))
        assert Every.from_bytes(message.to_bytes()).inner.inners[0].data == b"x" * size
        assert message.byte_size() == len(message.to_bytes())


def test_values_of_other_types_that_mean_the_same_are_taken(Every):
    class Seven:
        def __index__(self):
            return 7

    message = Every(int32=True, uint64=np.uint64(9), int64=Seven(), double=3, float_=np.float32(0.5))
    message.boolean, message.data = np.bool_(True), memoryview(b"ab")
    message.int32s, message.doubles = (1, 2), np.array([0.5, 1.5])
    message.datas = [bytearray(b"a"), memoryview(b"b")]
    read = Every.from_bytes(message.to_bytes())
    assert (read.int32, read.uint64, read.int64, read.double, read.float_) == (1, 9, 7, 3.0, 0.5)
    assert (read.boolean, read.data, read.int32s, read.doubles) == (True, b"ab", [1, 2], [0.5, 1.5])
    assert read.datas == [b"a", b"b"]


def test_double_beyond_a_float_is_infinite_as_in_c(Every):
    largest = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
    values = [largest, largest * (1 + 2**-26), largest * (1 + 2**-24), 1e300, -1e300, math.inf, -math.inf]
    read = Every.from_bytes(Every(floats=values).to_bytes()).floats
    assert read == [largest, largest, math.inf, math.inf, -math.inf, math.inf, -math.inf]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("int32", 2**31, "Every.int32 must be -2147483648 to 2147483647, got 2147483648"),
        ("int32", -(2**31) - 1, "Every.int32 must be -2147483648 to 2147483647, got -2147483649"),
        ("uint32", -1, "Every.uint32 must be 0 to 4294967295, got -1"),
        ("uint64", 2**64, "Every.uint64 must be 0 to 18446744073709551615, got an integer of 65 bits"),
        (
            "int64",
            10**100,
            "Every.int64 must be -9223372036854775808 to 9223372036854775807, got an integer of 333 bits",
        ),
        ("corpus", 2**31, "Every.corpus must be -2147483648 to 2147483647, got 2147483648"),
        ("double", 10**400, "Every.double must fit a float, got an integer of 1329 bits"),
        ("text", "a\ud800", "Every.text must be Unicode text without lone surrogates, got 'a\\ud800'"),
        ("fixed32s", [1, -1], "Every.fixed32s[1] must be 0 to 4294967295, got -1"),
        (
            "texts",
            ["", "\udc80"],
            "Every.texts[1] must be Unicode text without lone surrogates, got '\\udc80'",
        ),
        ("by_int", {2**31: "a"}, "Every.by_int keys must be -2147483648 to 2147483647, got 2147483648"),
        (
            "by_bool",
            {True: 2**63},
            "Every.by_bool[True] must be -9223372036854775808 to 9223372036854775807, got "
            "9223372036854775808",
        ),
    ],
)
def test_value_out_of_range_is_refused_with_its_place(Every, name, value, text):
    with pytest.raises(EncodeError) as caught:
        Every(**{name: value}).to_bytes()
    assert str(caught.value) == text
    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("int32", "1", "Every.int32 must be an int, got str"),
        ("int32", 1.0, "Every.int32 must be an int, got float"),
        ("int32", 0.0, "Every.int32 must be an int, got float"),
        ("double", "1", "Every.double must be a float, got str"),
        ("boolean", "yes", "Every.boolean must be a bool, got str"),
        ("text", b"a", "Every.text must be a str, got bytes"),
        ("data", "a", "Every.data must be bytes, got str"),
        ("texts", "abc", "Every.texts must be a list, got str"),
        ("texts", ["a", 1], "Every.texts[1] must be a str, got int"),
        ("int32s", 5, "Every.int32s must be a list, got int"),
        ("by_text", [("a", 1)], "Every.by_text must be a dict, got list"),
        ("by_text", {1: 1}, "Every.by_text keys must be a str, got int"),
        ("by_text", {"a": "b"}, "Every.by_text['a'] must be an int, got str"),
        ("inner", "a", "Every.inner must be an Every, got str"),
        ("inners", [None], "Every.inners[0] must be an Every, got NoneType"),
        ("by_name", {"a": 1}, "Every.by_name['a'] must be an Every, got int"),
    ],
)
def test_value_of_another_type_is_refused_with_its_place(Every, name, value, text):
    message = Every()
    setattr(message, name, value)
    with pytest.raises(EncodeTypeError) as caught:
        message.to_bytes()
    assert str(caught.value) == text
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, EncodeError)


def test_place_of_a_refused_value_leads_through_lists_and_maps(Every):
    message = Every(inners=[Every(), Every(by_name={"a": Every(either_inner=Every(int32s=[0, "x"]))})])
    with pytest.raises(EncodeTypeError) as caught:
        message.to_bytes()
    assert caught.value.path == "Every.inners[1].by_name['a'].either_inner.int32s[1]"
    assert caught.value.reason == "must be an int, got str"


def test_bytes_of_a_derived_class_are_those_that_it_holds(Every):
    class Odd(bytes):
        def __bytes__(self):
            return b"other"

    assert Every.from_bytes(Every(data=Odd(b"own"), datas=[Odd(b"own")]).to_bytes()) == Every(
        data=b"own", datas=[b"own"]
    )


@pytest.mark.parametrize("name", ["double", "float_", "set_double"])
def test_fraction_beyond_a_double_is_refused(Every, name):
    with pytest.raises(EncodeError, match=rf"^Every\.{name} must fit a float, got a Fraction$"):
        Every(**{name: Fraction(10**400)}).to_bytes()


def test_ordered_dict_is_written_as_a_dict_is(Every):
    entries = OrderedDict({1: "a", 2: "b"})
    entries.move_to_end(1)
    assert Every(by_int=entries).to_bytes() == Every(by_int={1: "a", 2: "b"}).to_bytes()


def test_message_of_another_class_is_refused(Every, Order):
    with pytest.raises(EncodeTypeError, match=r"Every\.inner must be an Every, got Order"):
        Every(inner=Order()).to_bytes()


def test_message_of_a_derived_class_is_taken(Every):
    class Handy(Every):
        def doubled(self):
            return self.int32 * 2

    message = Every(inner=Handy(int32=4))
    assert Every.from_bytes(message.to_bytes()).inner.int32 == 4
    assert Handy.from_bytes(message.inner.to_bytes()).doubled() == 8


def test_message_within_itself_is_refused_by_what_walks_through_it(Every):
    message = Every()
    message.inner = message
    for walk in (message.to_bytes, message.copy, message.byte_size, partial(message.merge_from, b"")):
        with pytest.raises(
            EncodeError, match="must be nested at most 1000 levels deep: does it contain itself"
        ):
            walk()
    message.inner = None


def test_thousand_levels_are_written_read_copied_and_compared_and_one_more_is_refused(Every):
    message = Every.from_bytes(nested(1000), DecodeOptions(max_depth=1000))
    assert message.to_bytes() == nested(1000)
    assert message.copy() == message
    with pytest.raises(EncodeError, match="at most 1000 levels"):
        Every(inner=message).to_bytes()


def test_exception_of_a_value_passes_through(Every):
    class Broken:
        def __index__(self):
            raise RuntimeError("no number today")

    with pytest.raises(RuntimeError, match="no number today"):
        Every(int32=Broken()).to_bytes()


def test_message_changed_while_it_is_written_gives_bytes_that_can_be_read(Every):
    class Meddler:
        def __init__(self, message):
            self.message = message

        def __index__(self):
            self.message.texts.extend(["x" * 200] * 50)
            self.message.by_text["new"] = 1
            self.message.inner = None
            return 5

    inner = Every(texts=["a"], by_text={"a": 1})
    inner.int32 = Meddler(inner)
    inner.far = 77
    outer = Every(inner=inner, far=7)
    read = Every.from_bytes(outer.to_bytes())
    assert (read.far, read.inner.far, read.inner.int32) == (7, 77, 5)


def test_list_that_grows_while_it_is_written_comes_to_an_end(Every):
    class Breeder:
        def __init__(self, values):
            self.values = values

        def __index__(self):
            self.values.append(self)
            return 1

    message = Every()
    message.int32s.append(Breeder(message.int32s))
    message.unpacked.append(Breeder(message.unpacked))
    read = Every.from_bytes(message.to_bytes())
    assert (read.int32s, read.unpacked) == ([1], [1])


def test_message_changed_by_another_thread_while_it_is_written_gives_bytes_that_can_be_read(Every):
    message = Every(inners=[Every(text="a" * at) for at in range(50)], far=9)
    stop = threading.Event()

    def meddle():
        while not stop.is_set():
            message.inners.append(Every(text="b" * 300))
            message.inners[3].text = "c" * 500
            del message.inners[5]

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        for _ in range(100):
            assert Every.from_bytes(message.to_bytes()).far == 9
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(before)
