"""A page is read in the encoding that browsers would read it in."""

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import require
from penstock.services.scraper.encoding import PRESCAN_BYTES, as_utf8, encoding_of

LATER = b"<!-- " + b"x" * PRESCAN_BYTES + b" --><meta charset=iso-8859-2>"


@pytest.mark.parametrize(
    ("body", "header", "encoding"),
    [
        (b"\xef\xbb\xbf<meta charset=koi8-r>", "text/html; charset=euc-jp", "utf-8"),
        (b"\xff\xfea\0", "text/html; charset=euc-jp", "utf-16le"),
        (b"\xfe\xff\0a", "", "utf-16be"),
        (b"<meta charset=koi8-r>", 'text/html; CHARSET = "EUC-JP"; q=1', "euc-jp"),
        (b"<meta charset=koi8-r>", "text/html;charset=no-such-one", "koi8-r"),
        (b"<meta charset=koi8-r>", "text/html; charset=", "koi8-r"),
        (b"<META Charset = 'KOI8-R'>", "", "koi8-r"),
        (b"<meta content='text/html; charset=koi8-r' http-equiv=Content-Type>", "", "koi8-r"),
        (b"<meta content='text/html; charset=koi8-r'>", "", "utf-8"),
        (b"<!-- <meta charset=koi8-r> --><meta charset=euc-kr>", "", "euc-kr"),
        (b"<!--><meta charset=koi8-r>", "", "koi8-r"),
        (b"<p title='<meta charset=koi8-r>'><meta charset=euc-kr>", "", "euc-kr"),
        (b"<meta charset=koi8-r charset=euc-kr>", "", "koi8-r"),
        (b"<meta charset=koi8-r", "", "utf-8"),
        (b"<meta charset=utf-16>", "", "utf-8"),
        (b"<meta charset=x-user-defined>", "", "windows-1252"),
        (b"<meta charset=iso-8859-1>", "", "windows-1252"),
        (LATER, "", "utf-8"),
        (b"gr\xfc\xdfe", "", "windows-1252"),
        ("grüße".encode(), "", "utf-8"),
        ("grüße".encode()[:-3], "", "utf-8"),  # cut within a character
        (b"", "", "utf-8"),
    ],
)
def test_encoding_is_that_of_mark_then_header_then_meta_then_what_it_decodes_as(body, header, encoding):
    assert encoding_of(body, header) == encoding


@pytest.mark.parametrize(
    ("body", "header", "text"),
    [
        ("grüße".encode("windows-1252"), "", "grüße"),
        ("привет".encode("koi8-r"), "text/html; charset=koi8-r", "привет"),
        ("日本".encode("shift_jis"), "text/html; charset=shift_jis", "日本"),
        ("\ufeffgrüße".encode("utf-16-le"), "", "grüße"),
        ("\ufeffgrüße".encode(), "", "grüße"),
        (b"a\xffb", "text/html; charset=euc-jp", "a\ufffdb"),
    ],
)
def test_text_comes_in_utf8_without_its_mark(body, header, text):
    assert as_utf8(body, header)[0].decode() == text


def test_page_in_utf8_is_not_copied():
    body = "grüße".encode()
    assert as_utf8(body, "")[0] is body


@given(st.binary(max_size=300), st.text(max_size=40))
def test_no_bytes_and_no_header_raise(body, header):
    as_utf8(body, header)
    as_utf8(b"<meta charset=" + body, f"text/html; charset={header}")


@given(
    st.lists(
        st.sampled_from(
            [b"<meta ", b"charset", b"=", b"'", b'"', b">", b"utf-7", b"<!--", b"-->", b"/", b" "]
        )
    )
)
def test_no_markup_raises(parts):
    as_utf8(b"".join(parts), "")


@pytest.mark.data
def test_html5lib_encoding_tests_pass():
    wrong = [
        (data[:200], expected, encoding_of(data, ""))
        for data, expected in html5lib_cases()
        if encoding_of(data, "") not in expected
    ]
    assert wrong == []


def html5lib_cases():
    """Pages and the encodings that they may be told to be in.

    The tests want windows-1252 where nothing is said; a page in ASCII may as well be UTF-8. Left out are
    pages that scripts write, and comments of 8 KB before the meta element.
    """
    with tarfile.open(require("html/html5lib_tests.tar.xz")) as archive:
        for member in archive:
            if member.name.endswith(".dat") and "scripted" not in member.name:
                for case in archive.extractfile(member).read().split(b"#data\n")[1:]:
                    data, _, expected = case.partition(b"\n#encoding\n")
                    name = expected.split(b"\n")[0].strip().decode().lower()
                    if not data.startswith((b"<!-- 8192", b"<!-- 8193", b"<!-- multi-script")):
                        yield data, {name, "utf-8"} if name == "windows-1252" and data.isascii() else {name}
