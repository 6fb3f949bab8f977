"""Sitemaps of every kind are read, and none of any kind takes more than its bounds."""

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.scraper import sitemaps
from penstock.services.scraper.sitemaps import MAX_BYTES, MAX_ENTRIES, read_sitemap

NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"
URL = "http://site.example/sitemap.xml"


def read(text):
    return read_sitemap(text if isinstance(text, bytes) else text.encode(), URL)


def urlset(*urls, namespace=f' xmlns="{NAMESPACE}"'):
    entries = "".join(f"<url><loc>{url}</loc><lastmod>2026-01-01</lastmod></url>" for url in urls)
    return f'<?xml version="1.0" encoding="UTF-8"?><urlset{namespace}>{entries}</urlset>'


def test_pages_of_a_urlset_come_in_order_and_once():
    found = read(urlset("http://a/", " \n http://b/?x=1&amp;y=2 ", "http://a/"))
    assert (found.pages, found.sitemaps, found.error) == (["http://a/", "http://b/?x=1&y=2"], [], "")


def test_sitemap_without_its_namespace_is_read_too():
    assert read(urlset("http://a/", namespace="")).pages == ["http://a/"]


def test_index_names_further_sitemaps():
    text = f'<sitemapindex xmlns="{NAMESPACE}"><sitemap><loc>http://a/1.xml.gz</loc></sitemap></sitemapindex>'
    found = read(text)
    assert (found.pages, found.sitemaps, found.error) == ([], ["http://a/1.xml.gz"], "")


def test_images_of_a_page_are_no_pages():
    image = '<image:image xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"><image:loc>http://i/</image:loc></image:image>'
    text = f'<urlset xmlns="{NAMESPACE}"><url><loc>http://a/</loc>{image}</url></urlset>'
    assert read(text).pages == ["http://a/"]


def test_feeds_are_read():
    rss = "<rss><channel><link>http://a/</link><item><link>http://a/1</link></item></channel></rss>"
    assert read(rss).pages == ["http://a/1"]
    atom = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><link href="http://a/"/><entry><link href="http://a/1"/>'
        '<link rel="edit" href="http://a/edit"/></entry></feed>'
    )
    assert read(atom).pages == ["http://a/1"]


def test_text_lists_a_url_a_line():
    assert read(
        "\ufeffhttp://a/\r\nno url\n\nHTTPS://b/\n" + "http://" + "x" * 9000 + "\nhttp://c/"
    ).pages == [
        "http://a/",
        "HTTPS://b/",
        "http://c/",
    ]


@pytest.mark.parametrize("text", [urlset("http://a/"), "http://a/\n"])
def test_gzip_is_told_by_its_bytes(text):
    found = read(gzip.compress(text.encode()))
    assert (found.pages, found.error) == (["http://a/"], "")


def test_other_encodings_of_xml_are_read():
    text = urlset("http://a/ü").replace("UTF-8", "{}")
    for encoding in ("iso-8859-1", "utf-16", "windows-1252"):
        assert read(text.format(encoding).encode(encoding)).pages == ["http://a/ü"]


@pytest.mark.parametrize(
    ("body", "pages", "words"),
    [
        (b"", [], "empty"),
        (b" \n\t", [], "empty"),
        (urlset("http://a/")[:-50].encode(), [], "not well-formed: no element found"),
        (urlset("http://a/", "http://b/")[:-50].encode(), ["http://a/"], "not well-formed: no element found"),
        (b"<urlset><url><loc>http://a/</loc></url><broken", ["http://a/"], "not well-formed: "),
        (b"<a>" * 100, [], "elements nested more than 64 deep"),
        (b"<?xml version='1.0' encoding='no-such-one'?><urlset/>", [], "not well-formed: unknown encoding"),
        (gzip.compress(b"http://a/\n")[:-9], [], "the gzip ends too early"),
        (b"\x1f\x8b broken", [], "damaged gzip: "),
        (
            b"<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><urlset><url><loc>&b;</loc></url>",
            [],
            "declares a itself, which no sitemap needs",
        ),
        (b"<!DOCTYPE x [<!ATTLIST b c CDATA 'd'>]><x/>", [], "declares b itself, which no sitemap needs"),
        (b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>", [], "declares a itself"),
    ],
)
def test_what_is_wrong_is_told_and_what_was_read_counts(body, pages, words):
    found = read(body)
    if words != "the gzip ends too early":
        assert found.pages == pages
    assert found.error.startswith(words)


def test_more_urls_than_allowed_are_left_out():
    found = read("".join(f"http://a/{n}\n" for n in range(MAX_ENTRIES + 1)))
    assert len(found.pages) == MAX_ENTRIES
    assert found.error == "more than 50,000 URLs: the rest is left out"


def test_bomb_of_gzip_is_read_to_its_bound_in_little_memory():
    bomb = gzip.compress(b"http://a/\n" + bytes(MAX_BYTES + 1))
    tracemalloc.start()
    found = read(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.pages, found.error) == (["http://a/"], "longer than 52,428,800 bytes: the rest is left out")
    assert peak < 5_000_000


@pytest.mark.parametrize(
    "begin", [b"<urlset><a b='", b"<urlset><!--", b"<urlset><", b"<?x ", b"<!DOCTYPE x [<!-- "]
)
def test_markup_without_end_is_not_waited_for(begin):
    chunks = [begin, *[b"y" * 60_000] * 20]
    assert (
        read(b"".join(chunks)).error == "a tag or comment of more than 1,000,000 bytes: the rest is left out"
    )


@pytest.mark.parametrize("body", [b"<x>" + b"<y/>" * 30, b"http://a/\n" + b"\n" * 30])
def test_more_elements_or_lines_than_allowed_are_left_out(body, monkeypatch):
    monkeypatch.setattr(sitemaps, "MAX_ITEMS", 30)
    assert read(body).error == "more than 30 elements or lines: the rest is left out"


@pytest.mark.parametrize("begin", ["\n", "\ufeff", "\ufeff \r\n", " " * 200_000])
def test_space_before_the_xml_does_not_matter(begin):
    found = read(begin + urlset("http://a/"))
    assert (found.pages, found.error) == (["http://a/"], "")


def test_gzip_of_several_parts_is_read_whole():
    one, two = (urlset("http://a/", "http://b/")[at].encode() for at in (slice(0, 99), slice(99, None)))
    assert read(gzip.compress(one) + gzip.compress(two)).pages == ["http://a/", "http://b/"]
    padded = read(gzip.compress(one + two) + bytes(512))
    assert (padded.pages, padded.error) == (["http://a/", "http://b/"], "")
    many = gzip.compress(b"http://a/\n") + gzip.compress(b"\n") * 1_000
    assert read(many).error == "more than 1,000 parts of a gzip: the rest is left out"


def test_url_that_is_too_long_is_none():
    assert read(urlset("http://a/" + "x" * 9000, "http://b/")).pages == ["http://b/"]


def test_chunks_of_any_size_read_the_same(monkeypatch):
    text = urlset(*(f"http://a/{n}" for n in range(50)))
    whole = read(text)
    for size in (1, 7, 100):
        monkeypatch.setattr(sitemaps, "CHUNK_BYTES", size)
        assert read(text) == whole
        assert read(gzip.compress(text.encode())) == whole


@given(st.binary(max_size=500))
def test_no_bytes_raise(body):
    read(body)
    read(b"<urlset>" + body)
    read(b"\x1f\x8b\x08\x00" + body)
    read(b"<?xml version='1.0' encoding='" + body)
