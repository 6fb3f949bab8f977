"""Whatever a page is made of, its title, links and texts come out, in bounded time and memory."""

import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import require
from penstock.errors import InvalidValue
from penstock.services.scraper.extract import (
    MAX_LINKS,
    MAX_TEXT,
    MAX_TITLE,
    MAX_VALUES,
    checked_selectors,
    descents,
    extract,
)

HERE = "http://site.example/dir/page"


def read(html, selectors=None, content_type="text/html; charset=utf-8"):
    body = html if isinstance(html, bytes) else html.encode()
    return extract(body, content_type, HERE, selectors or {})


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("<title> A &amp;\n\t B </title>", "A & B"),
        ("<body><svg><title>drawing</title></svg><title>page</title>", "page"),
        ("<title>first</title><title>second</title>", "first"),
        ("<p>none", ""),
        ("<title>a\x00b\u202ec</title>", "a\ufffdb\ufffdc"),
        ("<title>" + "long " * 1000, ("long " * 1000)[:MAX_TITLE]),
    ],
)
def test_title_is_the_pages_own_with_single_spaces(html, title):
    assert read(html).title == title


def test_links_are_those_of_all_elements_that_lead_to_pages_in_order_and_once():
    found = read(
        "<link rel='next stylesheet' href=/next><link rel=stylesheet href=/style.css>"
        "<meta http-equiv=Refresh content='5; URL=/refreshed'>"
        "<a href=' /a '>a</a><map><area href=/area></map><iframe src=/inside></iframe>"
        "<a href=/a>again</a><a>none</a>"
    )
    assert found.links == ["/next", "/refreshed", "/a", "/area", "/inside"]


@pytest.mark.parametrize(
    "reference",
    ["", "#top", "mailto:a@b", "javascript:go()", "JavaScript:go()", "data:,x", "tel:1", "x" * 9000],
)
def test_references_to_no_page_are_no_links(reference):
    assert read(f"<a href='{reference}'>x</a>").links == []


@pytest.mark.parametrize(
    "reference", ["?page=2", "//other.example/", "a:b/../c"[2:], "HTTP://x/", "./a#part"]
)
def test_other_references_are_links_as_they_are_written(reference):
    assert read(f"<a href='{reference}'>x</a>").links == [reference]


def test_links_marked_nofollow_are_told_apart():
    found = read("<a rel='external NoFollow' href=/a>a</a><a rel=external href=/b>b</a>")
    assert (found.links, found.marked_links) == (["/b"], ["/a"])


@pytest.mark.parametrize(
    ("html", "robots", "nofollow"),
    [
        ("<meta name=ROBOTS content='NoIndex, nofollow'>", "noindex, nofollow", True),
        ("<meta name=robots content=none>", "none", True),
        ("<meta name=penstock content=noindex><meta name=robots content=noindex>", "noindex", False),
        ("<meta name=description content=nofollow>", "", False),
    ],
)
def test_what_a_page_says_to_robots_is_told(html, robots, nofollow):
    found = read(html)
    assert (found.robots, found.nofollow) == (robots, nofollow)


@pytest.mark.parametrize(
    ("html", "base"),
    [
        ("", HERE),
        ("<base href=/other/>", "http://site.example/other/"),
        ("<base href='https://cdn.example/x'><base href=/second>", "https://cdn.example/x"),
        ("<base target=_top><base href=up/>", "http://site.example/dir/up/"),
        ("<base href='javascript:x'>", HERE),
        ("<base href='http://[broken'>", HERE),
    ],
)
def test_base_is_what_links_are_relative_to(html, base):
    assert read(html).base == base


def test_selectors_take_texts_and_attributes_in_the_order_of_the_page():
    html = "<h2> One\n <b>more</b></h2><img src=/i.png alt=x><h2>Two</h2><img alt='no source'>"
    selectors = {"heads": "h2", "images": "img@src", "alts": "img @ ALT", "none": "h5"}
    assert read(html, selectors).selected == {
        "heads": ["One more", "Two"],
        "images": ["/i.png"],
        "alts": ["x", "no source"],
        "none": [],
    }


@pytest.mark.parametrize(
    ("css", "number"),
    [("p", 0), (" a  b > c + d e ", 2), ("a[x='1 2 3'] b", 1), ("a, b c d , e", 2), ("a:has( b c ) d", 3)],
)
def test_descents_of_a_selector_are_counted(css, number):
    assert descents(css) == number


def test_selector_that_would_try_chains_of_ancestors_for_minutes_finds_nothing():
    html = "<h6></h6>" + "<div>" * 300 + "<p>x</p>" * 3_000
    found = read(
        html, {"long": "h6 div div div p", "chain": "div > div > div p:first-child", "short": "h6 p, div h6"}
    )
    assert found.selected == {"long": [], "chain": ["x"], "short": []}
    assert read("<main>" + "<div>" * 10 + "<p>x", {"long": "main div div div p"}).selected == {"long": ["x"]}


def test_at_sign_within_an_attribute_selector_is_no_attribute():
    assert read("<a href='me@x'>mail</a>", {"mail": "a[href*='e@x']"}).selected == {"mail": ["mail"]}


@pytest.mark.parametrize(
    ("selectors", "words"),
    [
        ({"a": "div["}, "selector a must be CSS such as h1, or CSS@attribute such as img@src, got 'div['"),
        ({"a": ""}, "selector a must be CSS"),
        ({"": "h1"}, "the name of a selector must be 1 to 100 printable characters, got ''"),
        ({"a": "b" * 2000}, "selector a must be at most 1000 characters, got 2000"),
        ({str(n): "b" for n in range(101)}, "selectors must be at most 100, got 101"),
    ],
)
def test_selectors_that_cannot_be_are_refused(selectors, words):
    with pytest.raises(InvalidValue) as refused:
        checked_selectors(selectors)
    assert words in str(refused.value)


def test_selector_that_was_not_checked_selects_nothing():
    assert read("<p>x", {"bad": "p[", "good": "p"}).selected == {"bad": [], "good": ["x"]}


def test_links_values_and_texts_are_bounded():
    html = "".join(f"<a href=/{n}>{n}</a>" for n in range(MAX_LINKS + 10)) + "<p>" + "y" * (MAX_TEXT + 10)
    found = read(html, {"links": "a@href", "text": "p"})
    assert len(found.links) == MAX_LINKS
    assert len(found.selected["links"]) == MAX_VALUES
    assert [len(text) for text in found.selected["text"]] == [MAX_TEXT]


def test_what_a_page_says_to_robots_is_bounded():
    found = read(
        "".join(f"<meta name=robots content=a{n},b{n}>" for n in range(10_000))
        + "<meta name=robots content=none>"
    )
    assert len(found.robots.split(", ")) == 100
    assert found.nofollow


def test_text_that_is_selected_again_and_again_is_bounded_in_all():
    html = "<div>" * 1000 + "x" * 100_000
    assert len(read(html, {"all": "div"}).selected["all"]) == 201  # of 100,000 characters each


@given(
    st.binary(max_size=2000),
    st.sampled_from(["", "text/html", "text/html; charset=utf-16", "x; charset=gbk"]),
)
def test_no_bytes_raise_and_all_that_is_told_can_be_encoded(body, content_type):
    found = extract(body, content_type, HERE, {"all": "*", "links": "a@href"})
    json.dumps([found.title, found.links, found.selected, found.base, found.robots]).encode()
    "".join([found.title, *found.links, found.base, *found.selected["all"]]).encode()


TAGS = [
    "a href=x", "b", "/b", "p", "/p", "table", "td", "/table", "svg", "title", "/title", "select", "template",
    "form", "base href='//[x'", "meta name=robots content='\0'", "frameset", "script", "/script", "!--",
    "math",
]  # fmt: skip


@given(st.lists(st.sampled_from(TAGS), max_size=200))
def test_no_soup_of_tags_raises(tags):
    read("".join(f"<{tag}>t" for tag in tags), {"p": "p", "deep": "p b a"})


@pytest.mark.data
def test_real_pages_have_their_titles_and_links():
    with tarfile.open(require("html/readability_source.tar.xz")) as archive:
        pages = {
            m.name.split("/")[-2]: archive.extractfile(m).read() for m in archive if m.name.endswith(".html")
        }
    with tarfile.open(require("html/readability_expected.tar.xz")) as archive:
        expected = {
            m.name.split("/")[-2]: json.load(archive.extractfile(m))
            for m in archive
            if m.name.endswith(".json")
        }
    assert len(pages) == 129
    found = {name: read(page, {"paragraphs": "p"}, "text/html") for name, page in pages.items()}
    alike = {name for name in pages if likeness(expected[name]["title"], found[name].title)}
    assert len(alike) >= 110, sorted(
        set(pages) - alike
    )  # readability takes some titles from metadata and headings
    assert all(page.encoding for page in found.values())
    assert sum(len(page.links) for page in found.values()) > 14_000


def likeness(expected, title):
    """Whether the words of one title are all in the other."""
    one, other = ({*text.lower().split()} for text in (expected or "", title))
    return one <= other or other <= one


@pytest.mark.data
def test_html5lib_tokenizer_tests_do_not_crash_it():
    ran = 0
    with tarfile.open(require("html/html5lib_tests.tar.xz")) as archive:
        for member in archive:
            if "tokenizer" in member.name and member.name.endswith(".test"):
                for case in json.load(archive.extractfile(member)).get("tests", ()):
                    read(case["input"].encode("utf-8", "surrogatepass"), {"all": "*"})
                    ran += 1
    assert ran > 1_000
