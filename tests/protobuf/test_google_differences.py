"""Each place where Google's runtime and penstock are known to differ: when one no longer does, this tells."""

import struct

import pytest
from google.protobuf import json_format, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError as GoogleDecodeError
from google_differences import (
    STRICTER,
    has_broken_keys,
    has_broken_text,
    has_unknown_entries,
    has_unknown_within_entries,
    parsed_json,
    same_bytes,
    same_json,
    settled,
)
from random_messages import TWINS, World

from penstock.protobuf.errors import DecodeError
from penstock.protobuf.options import DecodeOptions

FILE = """
    name: "differences.proto" package: "fuzz" syntax: "proto2"
    enum_type { name: "Color" value { name: "NONE" number: 0 } value { name: "RED" number: 1 } }
    message_type { name: "Empty" }
    message_type {
      name: "M"
      field { name: "f" number: 1 label: LABEL_OPTIONAL type: TYPE_FLOAT }
      field { name: "t" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
      field { name: "m" number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".fuzz.M" }
      field { name: "g" number: 6 label: LABEL_OPTIONAL type: TYPE_GROUP type_name: ".fuzz.M" }
      field { name: "by_text" number: 4 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "M.TextEntry" }
      field { name: "by_int" number: 5 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: "M.IntEntry" }
      nested_type {
        name: "TextEntry" options { map_entry: true }
        field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
        field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_INT32 }
      }
      nested_type {
        name: "IntEntry" options { map_entry: true }
        field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_INT32 }
        field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_ENUM type_name: ".fuzz.Color" }
      }
    }
"""
WORLD = World.of(text_format.Parse(FILE, FileDescriptorProto()))
Google = WORLD.google("fuzz.M")


@pytest.fixture(params=TWINS)
def ours(request):
    return WORLD.ours(request.param, "fuzz.M")


@pytest.mark.parametrize("data", [b"\x00\x00", b"\x80\x00\x01", b"\x02\x01a", b"\x03\x04"])
@pytest.mark.parametrize("impl", TWINS)
def test_google_takes_field_number_zero_for_an_unknown_field_where_it_knows_none(impl, data):
    assert WORLD.google("fuzz.Empty").FromString(data).SerializeToString() == data
    with pytest.raises(GoogleDecodeError):
        Google.FromString(data)
    with pytest.raises(DecodeError) as caught:
        WORLD.ours(impl, "fuzz.Empty").from_bytes(data)
    assert caught.value.reason in STRICTER


def test_google_keeps_signalling_nans_that_python_has_not_seen(ours):
    data = b"\x0d" + struct.pack("<I", 0x7F800001)
    theirs = Google.FromString(data)
    assert theirs.SerializeToString() == data
    assert ours.from_bytes(data).to_bytes() == b"\x0d" + struct.pack("<I", 0x7FC00001)
    assert settled(theirs).SerializeToString() == ours.from_bytes(data).to_bytes()


def test_google_writes_keys_from_high_to_low_as_if_they_had_no_sign(ours):
    numbers = [-5, 0, 3, 200]
    message, theirs = ours(by_int=dict.fromkeys(numbers, 1)), Google(by_int=dict.fromkeys(numbers, 1))
    data = message.to_bytes(deterministic=True)
    assert data != theirs.SerializeToString(deterministic=True)
    assert same_bytes(data, theirs)
    assert not same_bytes(ours(by_int={-5: 1}).to_bytes(), theirs)
    entries = [b"\x2a" + bytes([len(each)]) + each for each in (
        b"\x08\xfb\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x01", b"\x08\x00\x10\x01", b"\x08\x03\x10\x01",
        b"\x08\xc8\x01\x10\x01")]  # fmt: skip
    assert data == b"".join(entries)


def test_google_loses_entries_with_a_field_that_no_entry_has(ours):
    data = b"\x2a\x06\x08\x07\x10\x01\x18\x05"
    theirs = Google.FromString(data)
    assert dict(theirs.by_int) == {}
    assert has_unknown_within_entries(theirs)
    assert ours.from_bytes(data).by_int == {7: 1}
    assert not has_unknown_within_entries(Google.FromString(data[:1] + b"\x04" + data[2:6]))


def test_google_writes_entries_that_are_unknown_anew(ours):
    data = b"\x2a\x04\x10\x09\x08\x07"  # the value comes first, and has no name
    theirs = Google.FromString(data)
    assert theirs.SerializeToString() == b"\x2a\x04\x08\x07\x10\x09"
    assert has_unknown_entries(theirs)
    assert not has_unknown_within_entries(theirs)
    assert ours.from_bytes(data).to_bytes() == data


def test_google_shows_text_that_is_no_utf8_as_bytes(ours):
    theirs = Google.FromString(b"\x12\x01\xff")
    assert theirs.t == b"\xff"
    assert has_broken_text(theirs)
    assert not has_broken_text(Google(t="é"))
    assert ours.from_bytes(b"\x12\x01\xff").t == "\udcff"


def test_google_cannot_find_the_value_of_a_key_that_is_no_utf8(ours):
    data = b"\x22\x05\x0a\x01\xff\x10\x01"
    theirs = Google.FromString(data)
    with pytest.raises(UnicodeDecodeError):
        dict(theirs.by_text)
    assert has_broken_keys(theirs)
    assert not has_broken_keys(Google(by_text={"é": 1}))
    assert ours.from_bytes(data).by_text == {"\udcff": 1}


def test_google_writes_subnormal_floats_with_more_digits(ours):
    message, theirs = ours(f=2.02e-43), Google(f=2.02e-43)
    assert message.to_dict() == {"f": 2.02e-43}
    assert json_format.MessageToDict(theirs) == {"f": 2.01787e-43}
    assert same_json(message.to_dict(), json_format.MessageToDict(theirs))
    assert not same_json({"f": 2.5e-43}, {"f": 2.01787e-43})


def test_google_does_not_read_the_greatest_float_that_it_writes(ours):
    theirs = Google(f=3.4028235e38)
    value = json_format.MessageToDict(theirs)
    with pytest.raises(json_format.ParseError, match="too large"):
        json_format.ParseDict(value, Google())
    assert parsed_json(Google, value) is None
    assert ours.from_dict(value).to_bytes() == theirs.SerializeToString()


@pytest.mark.parametrize(
    ("before", "behind"), [(b"\x33", b"\x34"), (b"\x4b", b"\x4c")], ids=["known", "unknown"]
)
def test_google_does_not_count_the_outermost_message_as_a_level(ours, before, behind):
    data = before * 100 + behind * 100
    assert Google.FromString(data).SerializeToString() == data
    with pytest.raises(GoogleDecodeError):
        Google.FromString(before + data + behind)
    with pytest.raises(DecodeError, match="must be nested at most 100 levels deep"):
        ours.from_bytes(data)
    assert ours.from_bytes(data, DecodeOptions(max_depth=101)).to_bytes() == data
