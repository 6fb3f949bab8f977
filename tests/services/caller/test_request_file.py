"""Which lines are requests, and what is said of the others."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.services.caller.model import BadLine, Request
from penstock.services.caller.request_file import (
    MAX_LINE_BYTES,
    BadRequests,
    InvalidRequest,
    checked_header,
    count_requests,
    merged,
    read_requests,
    request_or_fault,
)
from penstock.services.line_reader import Line, LineSplitter


def line(text, number=1):
    return Line(number, text.encode(), text.strip())


def request(**members):
    return request_or_fault(line(json.dumps({"url": "http://x/", **members})))


async def read(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return [each async for each in read_requests(fd)]
    finally:
        os.close(fd)


async def test_bare_urls_are_gets_and_objects_are_whole_requests(tmp_path):
    path = tmp_path / "requests"
    path.write_text(
        "# first\n\nhttp://x/a\n"
        '{"method": "post", "url": "http://x/b", "headers": {"X-A": "1"}, "body": {"n": 1.50}, "id": "b"}\n'
        '{"url": "http://x/c", "id": 7}'
    )
    get, post, last = await read(path)
    assert (get.method, get.url, get.line, get.body) == ("GET", "http://x/a", 3, None)
    assert post == Request(
        "POST", "http://x/b", post.target, {"X-A": "1"}, b'{"n": 1.50}', "application/json", "b", 4
    )
    assert (last.method, last.label, last.line) == ("GET", "7", 5)
    assert count_requests(path) == 3


@pytest.mark.parametrize(
    ("body", "sent", "body_type"),
    [
        (None, None, ""),
        ("", b"", "text/plain; charset=utf-8"),
        ("tëxt\n", "tëxt\n".encode(), "text/plain; charset=utf-8"),
        ({"a": [1, "ü"]}, b'{"a": [1, "\\u00fc"]}', "application/json"),
        ([], b"[]", "application/json"),
        (0, b"0", "application/json"),
        (False, b"false", "application/json"),
    ],
)
def test_text_is_sent_as_text_and_any_other_value_as_it_stands(body, sent, body_type):
    written = request(body=body)
    assert (written.body, written.body_type) == (sent, body_type)


def test_numbers_of_a_body_keep_their_digits():
    text = '{"url": "http://x/", "body": {"n": 1.000000000000000000001, "big": 12345678901234567890123}}'
    assert b"1.000000000000000000001" in request_or_fault(line(text)).body
    assert b"12345678901234567890123" in request_or_fault(line(text)).body


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ftp://x/", "not a URL to call: must start with http:// or https://, got 'ftp://x/'"),
        ("GET http://x/", "not a URL to call: holds a space or a control character, got 'GET http://x/'"),
        ("http://x/\0", "holds a space or a control character, got 'http://x/\\x00'"),
        ("http:///path", "not a URL to call: no host"),
        ("[1]", "not a URL to call: must start with"),
        ('{"url": "http://x/"', "not a request to send: Input data was truncated"),
        ("{}", "Object missing required field `url`"),
        ('{"url": "http://x/", "verb": "GET"}', "Object contains unknown field `verb`"),
        ('{"url": 7}', "Expected `str`, got `int` - at `$.url`"),
        ('{"url": "http://x/", "method": "FETCH"}', "method must be one of GET, HEAD, POST, PUT, "),
        ('{"url": "http://x/", "method": "GET /\\r\\n"}', "got 'GET /\\r\\n'"),
        ('{"url": "http://x/", "headers": {"A": "b\\r\\nC: d"}}', "header A must hold no control characters"),
        ('{"url": "http://x/", "headers": {"A\\n": "b"}}', "a header's name must be letters, digits"),
        ('{"url": "http://x/", "headers": {"A": 1}}', "Expected `str`, got `int` - at `$.headers[...]`"),
        ('{"url": "http://x/", "headers": {"content-length": "9"}}', "header content-length follows from"),
        ('{"url": "http://x/", "headers": {"Transfer-Encoding": "chunked"}}', "follows from the body"),
        ('{"url": "http://x/", "id": "a\\nb"}', "id must be <= 200 printable characters, got 'a\\nb'"),
        ('{"url": "http://x/", "id": true}', "Expected `int | str`, got `bool`"),
        ('{"url": "http://x/", "body": "\\ud800"}', "not a request to send"),
        ('{"url": "http://x/", "body": ' + "[" * 9_000 + "]" * 9_000 + "}", "it is nested too deep"),
    ],
)
def test_line_that_is_no_request_says_which_rule_and_what_it_holds(text, why):
    bad = request_or_fault(line(text, 5))
    assert isinstance(bad, BadLine)
    assert bad.line == 5
    assert why in bad.why
    assert len(bad.why) < 500
    assert "\n" not in bad.why


async def test_line_that_is_no_utf8_is_refused_with_the_place(tmp_path):
    path = tmp_path / "requests"
    path.write_bytes(b"http://x/\xff\n")
    assert await read(path) == [
        BadLine(1, "a line must be UTF-8, got 'http://x/\N{REPLACEMENT CHARACTER}' (byte 9)")
    ]


async def test_line_over_a_mebibyte_is_refused_and_the_next_one_read(tmp_path):
    path = tmp_path / "requests"
    path.write_bytes(b"x" * 100_000_000 + b"\nhttp://after/\n")
    long, after = await read(path)
    assert long.why.startswith(f"a line must be <= {MAX_LINE_BYTES} bytes, got more: 'xxx")
    assert (after.url, after.line) == ("http://after/", 2)


def test_body_of_almost_a_mebibyte_is_taken():
    head, end = '{"url": "http://x/", "body": "', '"}'
    text = head + "b" * (MAX_LINE_BYTES - len(head + end)) + end
    assert len(request_or_fault(line(text)).body) == MAX_LINE_BYTES - len(head + end)
    assert isinstance(request_or_fault(line(text + " ")), BadLine)


def test_bad_lines_of_a_file_are_told_with_their_place_before_anything_else(tmp_path):
    path = tmp_path / "requests"
    path.write_text("http://x/\nnone\n\n" + "none\n" * 7)
    with pytest.raises(BadRequests) as refused:
        count_requests(path)
    first, *_, last = str(refused.value).splitlines()
    assert first == f"{path}:2: not a URL to call: must start with http:// or https://, got 'none'"
    assert last == f"{path}: and 3 more bad lines"
    assert isinstance(refused.value, PenstockError)
    assert isinstance(refused.value, ValueError)


def test_own_headers_go_before_those_of_all_requests():
    assert merged({"X-Key": "all", "Accept": "*/*"}, {"x-key": "own"}) == {"Accept": "*/*", "x-key": "own"}


@pytest.mark.parametrize("value", ["tab\tinside", "ünï", "", "a: b, c"])
def test_header_values_of_the_field_are_taken(value):
    checked_header("X-Value", value)


@given(st.text(max_size=10), st.text(max_size=10))
def test_no_header_that_is_taken_can_end_its_line(name, value):
    try:
        checked_header(name, value)
    except InvalidRequest:
        return
    assert not set(f"{name}: {value}") & set("\r\n\0")


@given(st.binary(max_size=60))
def test_any_line_is_a_request_or_a_fault(raw):
    for each in LineSplitter(MAX_LINE_BYTES).lines_in(raw + b"\n"):
        assert isinstance(request_or_fault(each), (Request, BadLine))
