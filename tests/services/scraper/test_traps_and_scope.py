"""Links that look endless, and links that lead out."""

import pytest

from penstock.services.scraper.config import ScrapeSettings
from penstock.services.scraper.scope import Scope
from penstock.services.scraper.traps import Traps, shape_of


def traps(**bounds):
    return Traps(**{"max_segments": 8, "max_repeats": 2, "max_chain": 5, "max_variants": 3} | bounds)


def test_a_path_that_grows_forever_is_told():
    told = traps()
    assert told.words("http://e.com/1/2/3/4/5/6/7/8", 0) == ""
    assert told.words("http://e.com/1/2/3/4/5/6/7/8/9", 0) == "more than 8 segments in its path"


def test_a_path_that_repeats_itself_is_told():
    told = traps()
    assert told.words("http://e.com/a/b/a/b/", 0) == ""
    assert told.words("http://e.com/a/b/a/b/a", 0) == "a segment comes more than 2 times in its path"
    assert told.words("http://e.com/a//b//c//", 0) == ""  # empty segments are none


def test_too_many_queries_of_one_path_are_told():
    told = traps()
    for number in range(3):
        assert told.words(f"http://e.com/search?q={number}", 0) == ""
    assert told.words("http://e.com/search?q=3", 0) == "more than 3 queries of one path"
    assert told.words("http://e.com/search", 0) == ""
    assert told.words("http://e.com/other?q=3", 0) == ""
    assert told.words("http://f.com/search?q=3", 0) == ""


def test_a_calendar_is_told_by_its_chain():
    told = traps()
    assert told.words("http://e.com/2026/11", 5) == ""
    assert told.words("http://e.com/2026/12", 6) == "more than 5 pages in a row that differ in digits alone"
    assert shape_of("http://e.com/2026/12?day=31") == shape_of("http://e.com/1/1?day=0")


def scope(*hosts, **settings):
    return Scope(ScrapeSettings(**settings), hosts)


@pytest.mark.parametrize(
    ("settings", "inside", "outside"),
    [
        ({"scope": "host"}, ["www.e.com", "f.com:8080"], ["e.com", "a.www.e.com", "f.com", "f.com:80"]),
        (
            {"scope": "domain"},
            ["www.e.com", "e.com", "a.b.e.com", "e.com:9", "f.com"],
            ["xe.com", "com", "e.co"],
        ),
        ({"scope": "any"}, ["anything.example", "[::1]:80"], []),
        (
            {"domains": ("G.com.",)},
            ["g.com", "a.g.com:1", "www.e.com"],
            ["xg.com", "e.com", "g.com.evil.example"],
        ),
    ],
)
def test_links_lead_where_the_scope_lets_them(settings, inside, outside):
    allowed = scope("www.e.com", "f.com:8080", **settings)
    assert [host for host in inside if not allowed.holds(host)] == []
    assert [host for host in outside if allowed.holds(host)] == []


def test_a_host_that_was_outside_is_inside_once_it_is_added():
    allowed = scope("e.com")
    assert not allowed.holds("g.com")
    assert allowed.widen("g.com")
    assert allowed.holds("g.com")
    assert not allowed.widen("g.com")
    domain = scope("e.com", scope="domain")
    assert not domain.holds("a.g.com")
    assert domain.widen("g.com")
    assert domain.holds("a.g.com")
    assert not domain.widen("www.g.com")


def test_an_address_is_no_domain_with_subdomains():
    allowed = scope("127.0.0.1:80", scope="domain")
    assert allowed.holds("127.0.0.1:8080")
    assert not allowed.holds("0.0.1")
