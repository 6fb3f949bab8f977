"""Snappy's block format: what the reference packs is unpacked, and nothing is allocated for a lie."""

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor.inputs import snappy
from penstock.services.distributor.inputs.batch import Refused
from penstock.services.distributor.inputs.snappy import unsnapped, unsnapped_in_python

MOST = 1 << 20

repetitive = st.lists(st.sampled_from([b"log line ", b"ERROR", b"\x00", b"abcabcabc" * 9]), max_size=300).map(
    b"".join
)


@pytest.fixture(params=["cramjam", "python"])
def unpack(request):
    return unsnapped if request.param == "cramjam" else unsnapped_in_python


@given(repetitive | st.binary(max_size=300))
def test_what_was_packed_comes_out(data):
    block = bytes(cramjam.snappy.compress_raw(data))
    assert unsnapped(block, MOST) == unsnapped_in_python(block, MOST) == data


@given(repetitive, st.data())
def test_cramjam_takes_no_damage_that_python_refuses_and_makes_the_same_of_the_rest(data, draw):
    block = bytearray(cramjam.snappy.compress_raw(data))
    place = draw.draw(st.integers(0, len(block) - 1))
    block[place] = draw.draw(st.integers(0, 255))
    assert outcome(unsnapped, bytes(block)) in (400, outcome(unsnapped_in_python, bytes(block)))


def outcome(unpack, block):
    try:
        return unpack(block, MOST)
    except Refused as refused:
        return refused.status


def test_every_kind_of_piece_is_understood(unpack):
    literal = bytes([60 << 2, 99]) + b"x" * 100  # its length in a byte of its own
    near, far, farther = bytes([0x01, 100]), bytes([0x06, 4, 0]), bytes([0x0B, 1, 0, 0, 0])
    block = bytes([100 + 4 + 2 + 3]) + literal + near + far + farther
    assert unpack(block, MOST) == b"x" * 109


def test_copy_may_run_into_what_it_writes(unpack):
    assert unpack(bytes([9, 0x00, ord("a"), 0x01 | 4 << 2, 1]), MOST) == b"a" * 9


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\x80",
        b"\xff\xff\xff\xff\xff\x01",
        b"\x05\x00a",  # less than it says
        b"\x01\x04ab",  # more than it says
        b"\x04\x01\x01",  # copies from before its start
        b"\x05\x00a\x01\x00",  # from nowhere
        b"\x05\x10abc",  # a literal that breaks off
        b"\x05\xf0",  # a length that breaks off
        b"\x05\x00a\x02\x01",  # an offset that breaks off
    ],
)
def test_damaged_blocks_are_refused(unpack, block):
    with pytest.raises(Refused, match="block of Snappy") as refused:
        unpack(block, MOST)
    assert refused.value.status == 400


def test_block_that_says_it_holds_too_much_is_refused_before_it_is_unpacked(unpack):
    with pytest.raises(Refused, match="at most 1048576 bytes after decompression, got 4294967295") as refused:
        unpack(b"\xff\xff\xff\xff\x0f\x00a", MOST)
    assert refused.value.status == 413


def test_python_does_it_where_cramjam_is_missing(monkeypatch):
    monkeypatch.setattr(snappy, "CRAMJAM", None)
    assert unsnapped(bytes(cramjam.snappy.compress_raw(b"hello" * 50)), MOST) == b"hello" * 50
