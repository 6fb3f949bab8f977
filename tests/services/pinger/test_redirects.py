"""Where redirects lead, and what they take along."""

import pytest
from fake_engine import answer_of
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.probing.request import Request
from penstock.services.pinger.redirects import BadRedirect, next_request

FROM = "http://shop.example/a/b?x=1"


def follow(status, place, **request):
    headers = [] if place is None else [("Location", place)]
    return next_request(Request(FROM, **request), answer_of(status, headers=headers))


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("/c", "http://shop.example/c"),
        ("c", "http://shop.example/a/c"),
        ("?y=2", "http://shop.example/a/b?y=2"),
        ("../c", "http://shop.example/c"),
        ("//other.example/c", "http://other.example/c"),
        ("https://shop.example/", "https://shop.example/"),
        ("/c#part", "http://shop.example/c"),
        ("  /c  ", "http://shop.example/c"),
        ("/with space", "http://shop.example/with%20space"),
        ("/gr\xc3\xbcn", "http://shop.example/grün"),  # UTF-8 in a header, as Latin-1 reads it
    ],
)
def test_place_is_found_from_where_it_was_said(place, url):
    assert follow(302, place).url == url


@pytest.mark.parametrize(
    "place", ["ftp://x/", "javascript:alert(1)", "http://[::1", "http://x:99999/", "http://[]@/"]
)
def test_place_that_is_no_http_url_is_a_failure(place):
    with pytest.raises(BadRedirect, match="redirected to what is no http URL: ") as refused:
        follow(302, place)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize(("status", "place"), [(200, "/c"), (300, "/c"), (304, "/c"), (302, None), (301, "")])
def test_answer_that_is_no_redirect_leads_nowhere(status, place):
    assert follow(status, place) is None


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (302, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
def test_method_follows_the_rules_of_its_status(status, method, then):
    headers = [("Content-Type", "text/plain"), ("X-Kept", "1")]
    follower = follow(status, "/c", method=method, body=b"data", headers=headers)
    assert follower.method == then
    assert follower.body == (b"" if then != method else b"data")
    assert (("Content-Type", "text/plain") in follower.fields) == (then == method)
    assert ("X-Kept", "1") in follower.fields


SECRETS = [
    ("Authorization", "Basic eDp5"),
    ("Cookie", "a=1"),
    ("Proxy-Authorization", "x"),
    ("Accept", "text/x"),
]


def test_secrets_stay_with_their_origin():
    same = follow(302, "/c", headers=SECRETS)
    assert set(SECRETS) <= set(same.fields)


@pytest.mark.parametrize(
    "place",
    ["http://evil.example/", "https://shop.example/", "http://shop.example:81/", "http://evil.shop.example/"],
)
def test_secrets_do_not_follow_to_another_scheme_host_or_port(place):
    other = follow(302, place, headers=SECRETS)
    assert {name.lower() for name, _ in other.fields} & {
        "authorization",
        "cookie",
        "proxy-authorization",
    } == set()
    assert ("Accept", "text/x") in other.fields
    assert dict(other.fields)["Host"] == other.authority


def test_password_of_the_url_does_not_follow_to_another_host():
    answer = answer_of(302, headers=[("Location", "http://evil.example/")])
    other = next_request(Request("http://user:secret@shop.example/"), answer)
    assert "Authorization" not in dict(other.fields)


def test_bounds_and_connection_are_those_of_the_first_request():
    other = follow(302, "/c", keep_alive=True, keep_body=7, max_body=9)
    assert (other.keep_alive, other.keep_body, other.max_body) == (True, 7, 9)


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_any_place_leads_somewhere_or_is_refused(place):
    line = "".join(place.splitlines())
    try:
        follower = follow(302, line)
    except BadRedirect:
        return
    assert follower is None or follower.url.startswith("http")
