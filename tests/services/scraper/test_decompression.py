"""Content codings, undone within bounds."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.scraper.decompression import ACCEPT_ENCODING, MAX_MEMBERS, decompressed

TEXT = b"<title>the same again and again</title>" * 100


def raw_deflate(data):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), " GZIP "),
        (gzip.compress(TEXT), "x-gzip"),
        (gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:]), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (raw_deflate(TEXT), "deflate"),
        (gzip.compress(zlib.compress(TEXT)), "deflate, gzip"),
        (b"", ""),
    ],
)
def test_a_body_is_what_it_was(body, codings):
    assert decompressed(body, codings, len(TEXT)) == (TEXT if body else b"", "")


def test_a_bomb_is_left_at_the_bound():
    bomb = gzip.compress(b"\0" * 50_000_000)
    plain = decompressed(bomb, "gzip", 1000)
    assert plain == (b"\0" * 1000, "more than 1000 bytes decompressed, the rest was left")


def test_a_bomb_in_a_bomb_is_left_at_the_bound():
    bomb = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    assert (
        decompressed(bomb, "gzip, gzip", 100_000).error
        == "more than 100000 bytes decompressed, the rest was left"
    )


def test_more_parts_than_anyone_makes_are_left():
    body = gzip.compress(b"x") * (MAX_MEMBERS + 1)
    plain = decompressed(body, "gzip", 10_000)
    assert plain == (b"x" * MAX_MEMBERS, f"more than {MAX_MEMBERS} compressed parts, the rest was left")


def test_a_body_that_is_cut_short_keeps_what_there_is():
    plain = decompressed(gzip.compress(TEXT)[:-12], "gzip", 10_000)
    assert plain.error == "compressed body is cut short"
    assert TEXT.startswith(plain.body)
    assert plain.body


@pytest.mark.parametrize(
    ("body", "codings", "error"),
    [
        (TEXT, "gzip", "not compressed as it says"),
        (TEXT, "deflate", "not compressed as it says"),
        (TEXT, "lzma", "content coding not known: lzma"),
        (TEXT, "gzip, gzip, gzip, gzip", "more than 3 content codings"),
    ],
)
def test_what_cannot_be_undone_says_so(body, codings, error):
    assert decompressed(body, codings, 10_000) == (b"", error)


def test_junk_after_a_compressed_body_is_ignored_as_browsers_do():
    assert decompressed(gzip.compress(TEXT) + b"junk", "gzip", 10_000) == (TEXT, "")


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "gzip, deflate"]))
def test_no_bytes_raise(body, codings):
    assert len(decompressed(body, codings, 100).body) <= 100


def test_what_is_asked_for_can_be_undone():
    assert ACCEPT_ENCODING.startswith("gzip, deflate")
    for name in ACCEPT_ENCODING.split(", "):
        assert "not known" not in decompressed(b"x", name, 10).error
