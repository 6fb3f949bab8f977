"""What is a request, and what goes on the wire for it."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock
from penstock import PenstockError
from penstock.probing.request import PLAIN_URL, InvalidRequest, InvalidUrl, Request, checked_url

URL_CHARACTERS = "abcXYZ019-._~!$&'()*+,;=:@/?#%[]{}|^ü"


def test_the_wire_is_the_request_line_the_headers_and_the_body():
    request = Request("http://example.com:8080/a?b=c#d", method="POST", headers=[("X-A", "1")], body=b"hi")
    assert request.wire == (
        b"POST /a?b=c HTTP/1.1\r\n"
        b"Host: example.com:8080\r\n"
        b"User-Agent: penstock/" + penstock.__version__.encode() + b"\r\n"
        b"Accept: */*\r\n"
        b"Connection: close\r\n"
        b"X-A: 1\r\n"
        b"Content-Length: 2\r\n"
        b"\r\n"
        b"hi"
    )


def test_a_connection_that_may_be_kept_is_not_told_to_close():
    assert b"Connection" not in Request("http://example.com/", keep_alive=True).wire


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "target"),
    [
        ("http://example.com", "http", "example.com", 80, "/"),
        ("https://EXAMPLE.com/A/b", "https", "example.com", 443, "/A/b"),
        ("http://example.com?q", "http", "example.com", 80, "/?q"),
        ("http://example.com:81/a/../b", "http", "example.com", 81, "/b"),
        ("http://example.com/ü?ö=1", "http", "example.com", 80, "/%C3%BC?%C3%B6=1"),
        ("http://bücher.example/", "http", "xn--bcher-kva.example", 80, "/"),
        ("http://[::1]:8080/", "http", "::1", 8080, "/"),
        ("http://127.0.0.1/", "http", "127.0.0.1", 80, "/"),
        ("http://a_b.example/%41%20", "http", "a_b.example", 80, "/A%20"),
    ],
)
def test_a_url_says_where_to_connect_to_and_what_to_ask_for(url, scheme, host, port, target):
    request = Request(url)
    assert (request.scheme, request.host, request.port, request.target) == (scheme, host, port, target)
    assert request.origin == (scheme, host, port)
    assert request.url == url


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://[::1]:8080/", "[::1]:8080"),
        ("http://[::1]/", "[::1]"),
        ("https://h:443/", "h"),
        ("https://h:80/", "h:80"),
    ],
)
def test_the_host_header_names_what_is_not_the_scheme_s_own(url, host):
    assert ("Host", host) in Request(url).fields


def test_user_and_password_of_a_url_are_an_authorization():
    assert ("Authorization", "Basic dXNlcjpwYSBzcw==") in Request("http://user:pa%20ss@h/").fields
    given = Request("http://user:pa%20ss@h/", headers=[("authorization", "Bearer x")])
    assert [value for name, value in given.fields if name.lower() == "authorization"] == ["Bearer x"]


def test_headers_that_are_given_take_the_place_of_our_own():
    request = Request("http://h/", headers=[("user-agent", "me"), ("HOST", "other"), ("Accept", "text/html")])
    assert request.wire.count(b"\r\n") == 6
    assert b"user-agent: me\r\nHOST: other\r\nAccept: text/html\r\n" in request.wire


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("example.com", "must start with http:// or https://"),
        ("ftp://example.com", "must start with http:// or https://"),
        ("", "must start with http:// or https://"),
        ("http://", "no host"),
        ("http://[]@/", "no host"),
        ("http://u[]:p@", "no host"),
        ("http://host:0/", "port must be 1 to 65535, got 0"),
        ("http://host:99999/", "Port out of range 0-65535"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://a b/", "holds a space or a control character"),
        ("http://host/\r\nX: y", "holds a space or a control character"),
        ("http://host/\udcff", "holds a space or a control character"),
        ("http://host/" + "x" * 8192, "longer than 8192 characters"),
        ("http://2130706433/", "host must be a name or an IP address, got '2130706433'"),
        ("http://0x7f.1/", "host must be a name or an IP address, got '0x7f.1'"),
        ("http://127.1/", "host must be a name or an IP address, got '127.1'"),
        ("http://127.0.0.256/", "host must be a name or an IP address, got '127.0.0.256'"),
    ],
)
def test_what_is_no_url_is_refused_with_a_reason(url, why):
    with pytest.raises(InvalidUrl) as refused:
        Request(url)
    assert str(refused.value) == why
    assert isinstance(refused.value, PenstockError)
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"method": "GET /"}, "method must be letters such as GET, got 'GET /'"),
        ({"method": ""}, "method must be letters such as GET, got ''"),
        ({"method": "CONNECT"}, "method must not ask for a tunnel, got 'CONNECT'"),
        ({"headers": [("A b", "")]}, "header name must be letters, digits and signs such as -, got 'A b'"),
        ({"headers": [("A", "b\r\nC: d")]}, "header A must hold no control character, got 'b\\r\\nC: d'"),
        ({"headers": [("A", "b\0")]}, "header A must hold no control character, got 'b\\x00'"),
        ({"headers": [("A", "\udcff")]}, "header A must be Unicode text, got '\\udcff'"),
        (
            {"headers": [("content-length", "5")]},
            "header content-length is said by the body, and must not be given",
        ),
        ({"headers": [("A", "b" * 66_000)]}, "headers must be at most 65536 bytes together, got 66092"),
        ({"keep_body": -1}, "keep_body must be >= 0 bytes, got -1"),
        ({"max_body": -1}, "max_body must be >= 0 bytes, got -1"),
    ],
)
def test_what_would_break_out_of_its_line_is_refused(arguments, why):
    with pytest.raises(InvalidRequest) as refused:
        Request("http://h/", **arguments)
    assert str(refused.value) == why


def test_a_body_is_bytes():
    with pytest.raises(TypeError, match="body must be bytes, got str"):
        Request("http://h/", body="text")


@given(st.text(alphabet=URL_CHARACTERS, max_size=30))
def test_a_url_that_is_taken_as_it_is_is_what_yarl_makes_of_it(text):
    url = "http://" + text
    plain = PLAIN_URL.fullmatch(url)
    try:
        request = Request(url)
    except InvalidUrl:
        return
    full = checked_url(url)
    assert (request.host, request.port) == (full.raw_host.strip("[]"), full.port)
    assert request.target == full.raw_path_qs
    assert plain or full


@given(st.text(max_size=40))
def test_any_text_is_a_request_of_one_line_or_refused(text):
    try:
        wire = Request("https://host/" + text).wire
    except InvalidUrl:
        return
    assert wire.count(b"\r\n") == 6
    assert wire.split(b"\r\n")[0].count(b" ") == 2


def test_an_ascii_request_loads_no_url_library():
    code = (
        "import sys; from penstock.probing import Request; import penstock.probing.pooled_engine;"
        "import penstock.probing.sockets; Request('https://example.com/a?b=c');"
        "print({'yarl', 'aiohttp', 'numpy', 'rich', 'sqlite3'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "set()\n"
