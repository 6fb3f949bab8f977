"""MessagePack from outside: taken apart as msgspec reads it, and never believed before it is there."""

import tracemalloc

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.services.distributor.inputs.msgpack import (
    DEEPEST,
    BadMessagePack,
    MessagePackStream,
    decoded,
    elements,
    split,
)

pack = msgspec.msgpack.encode

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False),
    st.text(max_size=300), st.binary(max_size=300),
    st.builds(msgspec.msgpack.Ext, st.integers(-128, -2), st.binary(max_size=40)),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=5), inner, max_size=20)
    ),
    max_leaves=40,
)


def plain(value):
    """As `decoded` gives it."""
    if isinstance(value, msgspec.msgpack.Ext):
        return value.code, bytes(value.data)
    if isinstance(value, list):
        return [plain(each) for each in value]
    return {key: plain(each) for key, each in value.items()} if isinstance(value, dict) else value


def raw(value):
    """As it is with strings as bytes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return [raw(each) for each in value]
    return {raw(key): raw(each) for key, each in value.items()} if isinstance(value, dict) else value


@settings(deadline=None)
@given(st.lists(VALUES, max_size=6), st.integers(1, 50))
def test_a_stream_in_chunks_comes_apart_into_its_objects(values, step):
    packed = [pack(value) for value in values]
    stream = MessagePackStream(10**6)
    whole = b"".join(packed)
    found = [each for at in range(0, len(whole), step) for each in stream.feed(whole[at : at + step])]
    assert found == packed
    assert list(split(whole)) == packed
    assert stream.held == 0


@settings(deadline=None)
@given(VALUES)
def test_what_msgspec_packs_is_decoded_both_ways(value):
    packed = pack(value)
    assert decoded(packed) == plain(value)
    assert decoded(packed, lambda text: text) == raw(plain(value))


@given(st.binary(max_size=200))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xc1")
def test_any_bytes_are_objects_or_refused(data):
    stream = MessagePackStream(1000)
    try:
        for each in stream.feed(data):
            decoded(each)
            decoded(each, bytes)
    except BadMessagePack:
        pass


strictly = msgspec.msgpack.Decoder(ext_hook=lambda kind, data: (kind, bytes(data))).decode


@given(st.one_of(st.binary(max_size=200), VALUES.map(pack)))
@example(b"\xd4\x00\x00")
def test_what_msgspec_reads_is_read_the_same(data):
    try:
        expected = strictly(data)
    except (msgspec.DecodeError, RecursionError):
        return
    assert list(split(data)) == [data]
    if "datetime" in repr(expected):  # an extension that is only told apart on the fast way
        return
    try:
        found = decoded(data, lambda text: text.decode())  # on the slow way, which replaces nothing here
    except BadMessagePack as error:
        assert "key" in str(error)  # noqa: PT017  (an array)
    else:
        assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    "claim",
    [b"\xc6\xff\xff\xff\xff", b"\xdb\x7f\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdf\x7f\xff\xff\xff",
     b"\x92\xdd\x00\x0f\x42\x40", b"\xc9\x00\xff\xff\xff\x00"],
)  # fmt: skip
def test_a_length_that_is_claimed_is_refused_before_anything_is_allocated(claim):
    tracemalloc.start()
    try:
        with pytest.raises(BadMessagePack, match=r"^an object must be at most 1000000 bytes"):
            list(MessagePackStream(10**6).feed(claim))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_an_object_of_the_greatest_size_is_taken_and_none_that_is_longer():
    packed = pack(b"x" * 995)
    assert list(MessagePackStream(len(packed)).feed(packed * 2)) == [packed, packed]
    with pytest.raises(BadMessagePack):
        list(MessagePackStream(len(packed) - 1).feed(packed))


def test_what_is_nested_too_deeply_is_refused():
    assert decoded(b"\x91" * DEEPEST + b"\x01", bytes) is not None
    with pytest.raises(BadMessagePack, match="nested"):
        decoded(b"\x91" * (DEEPEST + 1) + b"\x01", bytes)
    with pytest.raises(BadMessagePack, match="nested"):
        decoded(b"\x91" * 100_000 + b"\x01")


@pytest.mark.parametrize("key", [b"\x80", b"\x91\xa1\xff", b"\x81" * 40 + b"\x01" * 41])
def test_keys_that_are_arrays_or_maps_are_refused(key):
    with pytest.raises(BadMessagePack):
        decoded(b"\x81" + key + b"\xa1\xff")


def test_strings_that_are_no_utf_8_get_replacement_characters():
    assert decoded(b"\x81\xa2k\xff\xa3a\xe9b") == {"k\ufffd": "a\ufffdb"}


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x80", b"\xdc\x00", b"\xdd\x00\x00"])
def test_what_is_no_array_has_no_elements(data):
    with pytest.raises(BadMessagePack, match="array"):
        elements(data)
