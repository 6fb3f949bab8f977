"""Canonical URLs: the WHATWG's own tests for what links mean, real URLs, and what makes the same page."""

import json
import lzma

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import datasets
from penstock.services.scraper.urls import (
    MAX_LINK,
    MAX_URL,
    Canonicalizer,
    authority_of,
    host_of,
    joined,
    origin_of,
    target_of,
)

PLAIN = Canonicalizer(drop_tracking=False)
CRAWLERS = Canonicalizer(sort_query=True)

EXCEPTIONS: set[tuple[str, str | None]] = set()
"""Cases of the data that come out otherwise: none."""


def whatwg_cases(name):
    path = datasets.require(f"urls/{name}")
    return [case for case in json.loads(path.read_text()) if isinstance(case, dict)]


@pytest.mark.data
@pytest.mark.parametrize("name", ["wpt_urltestdata.json", "ada_extra_urltestdata.json"])
def test_a_link_means_what_the_standards_own_tests_say(name):
    cases = whatwg_cases(name)
    assert cases
    wrong = {
        (case["input"], case.get("base"))
        for case in cases
        if joined(case.get("base") or "", case["input"]) != (None if case.get("failure") else case["href"])
    }
    assert wrong == EXCEPTIONS


@pytest.mark.data
def test_every_url_of_the_standards_tests_has_one_canonical_form():
    for case in whatwg_cases("wpt_urltestdata.json"):
        for canonicalizer in (PLAIN, CRAWLERS):
            once = canonicalizer.canonical(case["input"], case.get("base") or "")
            if once is not None:
                assert canonicalizer.canonical(once) == once


@pytest.mark.data
def test_real_urls_have_one_canonical_form_and_keep_their_host():
    with lzma.open(datasets.require("urls/web_urls.txt.xz"), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    known = 0
    for url in lines:
        once = CRAWLERS.canonical(url)
        if once is None:
            continue
        known += 1
        assert CRAWLERS.canonical(once) == once
        assert once.isascii()
        assert len(once) <= MAX_URL
    assert known > 47_000


@given(st.text(max_size=60), st.sampled_from(["", "http://example.com/a/b?c=d"]))
@example("http://example.com/%%34%31", "")
@example("http://example.com/?a=%%37%65&utm_%73ource=1", "")
@example("http://example.com/;jsessionid=1;jsessionid=2", "")
@example("http://example.com/;jse;sid=1ssionid=2", "")
@example("http://example.com/%2e%2e/a", "")
@example("http://example.com/a/..;sid=1/b", "")
@example("http://example.com/a;sid=1//b", "")
@example("http://example.com//;sid=1/b", "")
@example("http://example.com/;sid=1/b/c", "")
@example("http://example.com/;sid=1//c", "")
@example("http://example.com?#", "")
def test_what_comes_out_goes_in_again_unchanged(text, base):
    for canonicalizer in (PLAIN, CRAWLERS):
        once = canonicalizer.canonical(text, base)
        if once is not None:
            assert canonicalizer.canonical(once) == once


@given(st.text(alphabet="sid=;abA%2e3f/?&=;.#@:[]\\ é\t", max_size=40))
def test_what_looks_like_a_url_goes_in_again_unchanged(text):
    for canonicalizer in (PLAIN, CRAWLERS):
        once = canonicalizer.canonical(f"http://example.com/{text}")
        if once is not None:
            assert canonicalizer.canonical(once) == once


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("https://example.com:8443/a", "https://example.com:8443/a"),
        ("http://example.com/a#b", "http://example.com/a"),
        ("http://example.com/a?", "http://example.com/a"),
        ("http://example.com/a/../b/./c", "http://example.com/b/c"),
        ("http://example.com/%7euser/%c3%a9", "http://example.com/~user/%C3%A9"),
        ("http://example.com/%41%2f", "http://example.com/A%2F"),
        ("http://example.com/100%", "http://example.com/100%25"),
        ("http://example.com/é", "http://example.com/%C3%A9"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://[::0001]/", "http://[::1]/"),
        ("http:\\\\example.com\\a", "http://example.com/a"),
        (" http://example.com/\na ", "http://example.com/a"),
        ("http://name:word@example.com/", "http://example.com/"),
    ],
)
def test_spellings_of_one_page_become_one(url, canonical):
    assert PLAIN.canonical(url) == canonical


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "ftp://example.com/", "mailto:a@example.com", "javascript:void(0)", "http://",
        "http://exa mple.com/", "http://example.com:99999/", "http://[::1/", "data:text/html,<a>", "\ud800",
        "http://example.com/\ud800", "http://example.com/" + "a" * MAX_URL,
    ],
)  # fmt: skip
def test_what_is_no_url_of_http_is_none(url):
    assert PLAIN.canonical(url) is None


def test_a_page_is_the_same_whoever_linked_to_it():
    url = "http://example.com/a?utm_source=x&id=1&FBCLID=2&gclid=3&PHPSESSID=4"
    assert CRAWLERS.canonical(url) == "http://example.com/a?id=1"
    assert CRAWLERS.canonical("http://example.com/a/..;sid=1/b") == "http://example.com/b"
    assert CRAWLERS.canonical("http://example.com/a;jsessionid=1F?x=1") == "http://example.com/a?x=1"
    assert CRAWLERS.canonical("http://example.com/a?utm_source=x") == "http://example.com/a"
    assert PLAIN.canonical(url) == url


def test_sorting_parameters_keeps_the_order_of_those_with_one_name():
    assert CRAWLERS.canonical("http://example.com/?b=2&a=9&b=1&a=3") == "http://example.com/?a=9&a=3&b=2&b=1"
    assert PLAIN.canonical("http://example.com/?b=2&a=1") == "http://example.com/?b=2&a=1"


def test_links_of_a_page_come_once_each_in_their_order():
    references = [
        "b.html", "/c", "?q=1", "#top", "", "//other.example/d", "http://example.com/x/b.html", "mailto:me",
        "../e", "c/../b.html", "http://[", "b.html#end",
    ]  # fmt: skip
    assert list(PLAIN.links("http://example.com/x/a.html?p=/y/", references)) == [
        "http://example.com/x/b.html",
        "http://example.com/c",
        "http://example.com/x/a.html?q=1",
        "http://other.example/d",
        "http://example.com/e",
    ]


def test_links_that_are_longer_than_any_name_are_not_followed():
    base = "http://e.com/"
    assert len(PLAIN.links(base, ["a" * (MAX_LINK - len(base)), "b" * MAX_LINK, "ä" * 600])) == 1


REFERENCES = [
    "a", "/a", "?a", "//h/a", "../a", "./a", "http:a", "http:/a", "\\a", "/\\h/a", " a", "\t/a", " ?a",
    "http:?a", "HTTPS:?a", "\x01?a", "http:", "https:#a", "\t#a", "http:\n?a", "h\nttp:?a", "mailto:a",
    "a:?b", "ä", "a b",
]  # fmt: skip
BASES = [
    "http://e.com/", "http://e.com/x/y", "http://e.com/x/v", "https://e.com/x/y?z=/w/", "http://f.com:8/x/",
]  # fmt: skip


@given(st.lists(st.sampled_from(REFERENCES), min_size=1), st.lists(st.sampled_from(BASES), min_size=1))
def test_remembered_meanings_are_those_of_each_page(references, bases):
    canonicalizer = Canonicalizer()
    for base in bases:
        meanings = (canonicalizer.canonical(reference, base) for reference in references)
        assert list(canonicalizer.links(base, references)) == list(dict.fromkeys(filter(None, meanings)))


@pytest.mark.parametrize(
    ("url", "origin", "authority", "host", "target"),
    [
        ("http://e.com/", "http://e.com", "e.com", "e.com", "/"),
        ("https://e.com:8/a?b=//c", "https://e.com:8", "e.com:8", "e.com", "/a?b=//c"),
        ("http://[::1]:8/a", "http://[::1]:8", "[::1]:8", "[::1]", "/a"),
        ("http://[::1]/", "http://[::1]", "[::1]", "[::1]", "/"),
    ],
)
def test_a_canonical_url_comes_apart(url, origin, authority, host, target):
    assert (origin_of(url), authority_of(url), host_of(authority_of(url)), target_of(url)) == (
        origin,
        authority,
        host,
        target,
    )
