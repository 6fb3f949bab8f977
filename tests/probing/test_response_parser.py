"""The HTTP/1.1 response parser: both twins against the RFCs, each other, and aiohttp's two parsers."""

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import pytest
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError
from aiohttp.http_parser import HttpResponseParser as HttpResponseParserC
from aiohttp.http_parser import HttpResponseParserPy
from aiohttp.streams import EMPTY_PAYLOAD
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.probing.response_parser import BadResponse, IncompleteResponse
from twins import both_twins, load

ResponseParser = both_twins("penstock.probing.response_parser")
ResponseParserC = load("penstock.probing.response_parser", "c")

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def parsed(parser, *pieces):
    """A parser that was fed the pieces; how many bytes it took of them."""
    return sum(parser.feed(piece) for piece in pieces)


# --- what it reads ---


def test_whole_answer_is_read_at_once(ResponseParser):
    parser = ResponseParser(keep_body=100)
    assert not parser.begun
    assert parser.feed(HELLO) == len(HELLO)
    assert parser.begun
    assert parser.head_done
    assert parser.done
    assert parser.keep_alive
    assert not parser.truncated
    assert (parser.status, parser.reason, parser.size, parser.body) == (200, "OK", 5, b"hello")
    assert parser.head == HELLO[:-5]
    parser.eof()  # the connection may end now


def test_answer_is_read_byte_by_byte(ResponseParser):
    parser = ResponseParser(keep_body=100)
    for at, byte in enumerate(HELLO):
        assert not parser.done
        assert not parser.keep_alive
        assert parser.head_done == (at >= len(HELLO) - 5)
        assert parser.feed(bytes([byte])) == 1
    assert parser.done
    assert parser.body == b"hello"


def test_bytes_behind_the_answer_are_not_taken(ResponseParser):
    parser = ResponseParser()
    assert parser.feed(HELLO + HELLO) == len(HELLO)
    assert parser.feed(HELLO) == 0
    parser.reset()
    assert parser.status == 0
    assert not parser.done
    assert parser.head == b""
    assert parser.reason == ""
    assert parser.feed(HELLO) == len(HELLO)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_anything_like_bytes_is_taken(ResponseParser, wrap):
    parser = ResponseParser()
    assert parser.feed(wrap(HELLO)) == len(HELLO)


def test_no_bytes_change_nothing(ResponseParser):
    parser = ResponseParser()
    assert parser.feed(b"") == 0
    assert not parser.begun


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", 200, "OK"),
        (b"HTTP/1.1 404 Not Found", 404, "Not Found"),
        (b"HTTP/1.1 204 ", 204, ""),
        (b"HTTP/1.1 200", 200, ""),
        (b"HTTP/1.1 999 \tno\xe9  ", 999, "\tno\xe9  "),
        (b"HTTP/1.0 500 x:y", 500, "x:y"),
    ],
)
def test_status_lines_are_read(ResponseParser, line, status, reason):
    parser = ResponseParser()
    parser.feed(line + b"\r\n\r\n")
    assert (parser.status, parser.reason) == (status, reason)


@pytest.mark.parametrize(
    ("version", "headers", "stays"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"connection:\t CLOSE \r\n", False),
        (b"1.1", b"Connection: keep-alive, close\r\n", False),
        (b"1.1", b"Connection: keep-alive\r\nConnection: foo ,Close\r\n", False),
        (b"1.1", b"Connection: closed\r\n", True),
        (b"1.1", b"X-Connection: close\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_connection_stays_as_the_rfc_says(ResponseParser, version, headers, stays):
    parser = ResponseParser()
    parser.feed(b"HTTP/" + version + b" 200 OK\r\n" + headers + b"Content-Length: 0\r\n\r\n")
    assert parser.done
    assert parser.keep_alive is stays


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("framing", [b"", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_some_answers_have_no_body_whatever_they_say(ResponseParser, status, framing):
    parser = ResponseParser()
    head = b"HTTP/1.1 %d x\r\n" % status + framing + b"\r\n"
    assert parser.feed(head + b"rest") == len(head)
    assert parser.done
    assert parser.size == 0
    forbidden = status == 204 and framing != b""  # if a body comes, it must not be taken for the next answer
    assert parser.keep_alive is not forbidden


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_answer_to_head_has_no_body(ResponseParser, framing):
    parser = ResponseParser()
    parser.reset(head_request=True)
    parser.feed(OK + framing + b"\r\n")
    assert parser.done
    assert parser.keep_alive
    parser.reset()
    parser.feed(HELLO[:-1])
    assert not parser.done  # the next one has again


def test_body_without_length_ends_with_the_connection(ResponseParser):
    parser = ResponseParser(keep_body=3)
    parser.feed(OK + b"\r\nhello")
    assert parser.head_done
    assert not parser.done
    parser.eof()
    assert parser.done
    assert not parser.keep_alive
    assert (parser.size, parser.body) == (5, b"hel")


def test_chunks_are_put_together(ResponseParser):
    parser = ResponseParser(keep_body=100)
    answer = CHUNKED + b'5\r\nhello\r\n0006 \t;a="b;c"\r\n world\r\n0\r\nX-Trailer: 1\r\nY: 2\n\r\n'
    assert parser.feed(answer + b"more") == len(answer)
    assert parser.done
    assert parser.keep_alive
    assert (parser.size, parser.body) == (11, b"hello world")
    assert parser.head == CHUNKED


def test_chunks_in_http_1_0_end_the_connection(ResponseParser):
    parser = ResponseParser()
    parser.feed(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert parser.done
    assert not parser.keep_alive


def test_interim_answers_are_skipped(ResponseParser):
    parser = ResponseParser()
    early = (
        b"HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    )
    parser.feed(early)
    assert parser.begun
    assert not parser.head_done
    assert parser.status == 0
    assert parser.feed(HELLO) == len(HELLO)
    assert parser.head == HELLO[:-5]
    assert parser.size == 5


def test_switching_protocols_ends_what_can_be_read(ResponseParser):
    parser = ResponseParser()
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
    assert parser.feed(head + b"\x00\x01") == len(head)
    assert parser.done
    assert parser.status == 101
    assert not parser.keep_alive


def test_line_feeds_alone_end_lines_of_the_head(ResponseParser):
    parser = ResponseParser()
    answer = b"HTTP/1.1 200 OK\nContent-Length: 2\r\nX: y\n\nok"
    assert parser.feed(answer) == len(answer)
    assert parser.done
    assert parser.head == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\n"


def test_head_with_line_feeds_alone_has_the_bound_of_the_one_that_is_kept(ResponseParser):
    head = OK + b"X: " + b"x" * 100 + b"\r\n\r\n"
    for short, refused in ((0, False), (1, True)):
        parser = ResponseParser(max_head=len(head) - short)
        with pytest.raises(BadResponse) if refused else nullcontext():
            assert parser.feed(head.replace(b"\r", b"")) == len(head) - 3


# --- bounds ---


def test_body_is_read_up_to_its_bound(ResponseParser):
    for body in (b"Content-Length: 9\r\n\r\nhellohello", b"\r\nhellohello", b"Content-Length: 9\r\n\r\nhell"):
        parser = ResponseParser(max_body=4, keep_body=9)
        taken = parser.feed(OK + body)
        assert parser.truncated is (b"hello" in body)
        assert (parser.size, parser.body) == (4, b"hell")
        assert taken == len(OK + body.partition(b"hell")[0]) + 4
        assert not parser.keep_alive
        assert parser.done is parser.truncated


def test_body_as_long_as_its_bound_is_whole(ResponseParser):
    parser = ResponseParser(max_body=5)
    parser.feed(HELLO)
    assert parser.done
    assert not parser.truncated
    assert parser.keep_alive
    parser.reset()
    parser.feed(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
    assert parser.done
    assert not parser.truncated
    assert parser.keep_alive
    parser.reset()
    parser.feed(CHUNKED + b"5\r\nhello\r\n1\r\n")
    assert not parser.done
    assert parser.feed(b"!\r\n0\r\n\r\n") == 0
    assert parser.done
    assert parser.truncated
    assert not parser.keep_alive


def test_body_bound_of_nothing_takes_an_empty_body_only(ResponseParser):
    parser = ResponseParser(max_body=0)
    parser.feed(OK + b"Content-Length: 0\r\n\r\n")
    assert parser.done
    assert not parser.truncated
    parser.reset()
    parser.feed(HELLO)
    assert parser.done
    assert parser.truncated
    assert parser.size == 0


def test_head_is_taken_up_to_its_bound(ResponseParser):
    head = OK + b"X: " + b"x" * 100 + b"\r\n\r\n"
    parser = ResponseParser(max_head=len(head))
    assert parser.feed(head) == len(head)
    for pieces in ([head], [head[:50], head[50:]], [head[i : i + 1] for i in range(len(head))]):
        parser = ResponseParser(max_head=len(head) - 1)
        with pytest.raises(BadResponse, match=rf"^the head must be <= {len(head) - 1} bytes, got more$"):
            parsed(parser, *pieces)


def test_interim_heads_do_not_count_for_the_bound_of_the_final_one(ResponseParser):
    parser = ResponseParser(max_head=64)
    parser.feed(b"HTTP/1.1 102 Processing\r\nX: 12345678901234567890\r\n\r\n" * 16 + HELLO)
    assert parser.done


def test_headers_are_taken_up_to_their_bound(ResponseParser):
    parser = ResponseParser()
    parser.feed(OK + b"X: y\r\n" * 255 + b"Content-Length: 0\r\n\r\n")
    assert parser.done
    parser.reset()
    with pytest.raises(BadResponse, match=r"^headers must be <= 256, got more$"):
        parser.feed(OK + b"X: y\r\n" * 257)


def test_interim_answers_are_taken_up_to_their_bound(ResponseParser):
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    parser = ResponseParser()
    parser.feed(interim * 16 + HELLO)
    assert parser.done
    parser.reset()
    with pytest.raises(BadResponse, match=r"^answers 1xx before the final one must be <= 16, got more$"):
        parser.feed(interim * 17)


@pytest.mark.parametrize(
    "more",
    [
        b"5;" + b"x" * 64 + b"\r\n",
        b"1;x\r\n.\r\n" * 33,
        b"5" + b" " * 65,
        b"0\r\n" + b"T: x\r\n" * 11,
        b"0\r\n" + b"T" * 65,
    ],
)
def test_extensions_and_trailers_are_bounded_together(ResponseParser, more):
    expected = r"^chunk extensions and trailers must be <= 64 bytes in all, got more$"
    for size in (1, 7, len(more)):
        parser = ResponseParser(max_head=64)
        parser.feed(CHUNKED)
        with pytest.raises(BadResponse, match=expected):
            parsed(parser, *(more[at : at + size] for at in range(0, len(more), size)))


def test_chunks_themselves_are_not_bounded(ResponseParser):
    parser = ResponseParser(max_head=64)
    parser.feed(CHUNKED + b"1\r\n.\r\n" * 1000 + b"0\r\n\r\n")
    assert parser.done
    assert parser.size == 1000


# --- what it refuses ---

REFUSED = {
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", "an answer must begin with HTTP/1., got 'SSH-2.0'"),
    "empty line first": (b"\r\n" + HELLO, "an answer must begin with HTTP/1., got '\\r\\n'"),
    "HTTP/2": (b"HTTP/2.0 200 OK\r\n", "an answer must begin with HTTP/1., got 'HTTP/2.'"),
    "lower case": (b"http/1.1 200 OK\r\n", "an answer must begin with HTTP/1., got 'http/1.'"),
    "binary": (b"\x00\xff\x15\x03\x01\x00\x02\x02", "got '\\x00\\xff\\x15\\x03\\x01\\x00\\x02'"),
    "HTTP/1.2": (b"HTTP/1.2 200 OK\r\n", "a status line must be HTTP/1.0 or 1.1 and a status from"),
    "no status": (b"HTTP/1.1 OK\r\n", "and a status from 100 to 999, got 'HTTP/1.1 OK'"),
    "status 000": (b"HTTP/1.1 000 x\r\n", "got 'HTTP/1.1 000 x'"),
    "status 099": (b"HTTP/1.1 099 x\r\n", "got 'HTTP/1.1 099 x'"),
    "two digits": (b"HTTP/1.1 20 x\r\n", "got 'HTTP/1.1 20 x'"),
    "four digits": (b"HTTP/1.1 2000 x\r\n", "got 'HTTP/1.1 2000 x'"),
    "two spaces": (b"HTTP/1.1  200 x\r\n", "got 'HTTP/1.1  200 x'"),
    "tab": (b"HTTP/1.1\t200 x\r\n", "got 'HTTP/1.1\\t200 x'"),
    "bad reason": (b"HTTP/1.1 200 x\x00y\r\n", "got 'HTTP/1.1 200 x\\x00y'"),
    "CR in reason": (b"HTTP/1.1 200 x\ry\r\n", "got 'HTTP/1.1 200 x\\ry'"),
    "two CRs": (b"HTTP/1.1 200 x\r\r\n", "got 'HTTP/1.1 200 x'"),
    "no colon": (OK + b"Nonsense\r\n", "without control characters, got 'Nonsense'"),
    "no name": (OK + b": x\r\n", "got ': x'"),
    "space in name": (OK + b"Content Length: 5\r\n", "got 'Content Length: 5'"),
    "space before colon": (OK + b"Content-Length : 5\r\n", "got 'Content-Length : 5'"),
    "bad name": (OK + b"X\x80: 5\r\n", "got 'X\\x80: 5'"),
    "NUL in value": (OK + b"X: a\x00\r\n", "got 'X: a\\x00'"),
    "DEL in value": (OK + b"X: a\x7f\r\n", "got 'X: a\\x7f'"),
    "CR in value": (OK + b"X: a\rb\r\n", "got 'X: a\\rb'"),
    "long line": (OK + b"x" * 100 + b"\r\n", "got '" + "x" * 60 + "'"),
    "folded": (OK + b"X: a\r\n b\r\n", "a header must not go on in another line, got ' b'"),
    "folded with tab": (OK + b"X: a\r\n\tb\r\n", "a header must not go on in another line, got '\\tb'"),
    "fold first": (OK + b" X: a\r\n", "a header must not go on in another line, got ' X: a'"),
    "no length": (OK + b"Content-Length: \r\n", "must be digits, below 2**63, got 'Content-Length: '"),
    "sign": (OK + b"Content-Length: +5\r\n", "got 'Content-Length: +5'"),
    "below zero": (OK + b"Content-Length: -5\r\n", "got 'Content-Length: -5'"),
    "hex": (OK + b"Content-Length: 0x5\r\n", "got 'Content-Length: 0x5'"),
    "underscore": (OK + b"Content-Length: 1_0\r\n", "got 'Content-Length: 1_0'"),
    "inner space": (OK + b"Content-Length: 1 0\r\n", "got 'Content-Length: 1 0'"),
    "list": (OK + b"Content-Length: 5, 5\r\n", "got 'Content-Length: 5, 5'"),
    "2**63": (OK + b"Content-Length: 9223372036854775808\r\n", "got 'Content-Length: 9223372036854775808'"),
    "2**64 + 5": (OK + b"Content-Length: 18446744073709551621\r\n", "must be digits, below 2**63"),
    "huge": (OK + b"Content-Length: " + b"9" * 5000 + b"\r\n", "must be digits, below 2**63"),
    "twice": (OK + b"Content-Length: 5\r\ncontent-length: 5\r\n", "got another 'content-length: 5'"),
    "identity": (OK + b"Transfer-Encoding: identity\r\n", "must be chunked, once, got"),
    "gzip": (OK + b"Transfer-Encoding: gzip, chunked\r\n", "must be chunked, once, got"),
    "chunked twice": (OK + b"Transfer-Encoding: chunked\r\n" * 2, "must be chunked, once, got"),
    "xchunked": (OK + b"Transfer-Encoding: xchunked\r\n", "must be chunked, once, got"),
    "both framings": (CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n", "must not come together, got both"),
    "chunk of no size": (CHUNKED + b"\r\n", "a chunk must be its size in hex, below 2**63, CR LF, the data"),
    "chunk of bad size": (CHUNKED + b"zz\r\n", "got 'z'"),
    "chunk with prefix": (CHUNKED + b"0x5\r\n", "got 'x'"),
    "chunk with sign": (CHUNKED + b"-5\r\n", "got '-'"),
    "chunk after space": (CHUNKED + b" 5\r\n", "got ' '"),
    "chunk of 2**63": (CHUNKED + b"8000000000000000\r\n", "got '0'"),
    "chunk of 17 digits": (CHUNKED + b"00000000000000005\r\n", "got '5'"),
    "chunk with LF": (CHUNKED + b"5\nhello", "got '\\n'"),
    "extension with LF": (CHUNKED + b"5;a\nhello", "got '\\n'"),
    "extension with CR": (CHUNKED + b"5;a\rb", "got 'b'"),
    "chunk longer than said": (CHUNKED + b"4\r\nhello\r\n", "got 'o'"),
    "chunk with LF behind": (CHUNKED + b"5\r\nhello\n", "got '\\n'"),
    "chunk without CR LF": (CHUNKED + b"5\r\nhello0\r\n\r\n", "got '0'"),
    "bad trailer": (CHUNKED + b"0\r\nno trailer\r\n", "without control characters, got 'no trailer'"),
    "folded trailer": (CHUNKED + b"0\r\nX: y\r\n z\r\n", "a header must not go on in another line, got ' z'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_answer_is_refused_in_words(ResponseParser, case):
    answer, words = REFUSED[case]
    parser = ResponseParser()
    with pytest.raises(BadResponse) as caught:
        parser.feed(answer)
    assert words in str(caught.value)
    assert isinstance(caught.value, PenstockError)
    assert isinstance(caught.value, ValueError)
    assert not parser.done
    assert not parser.keep_alive


@pytest.mark.parametrize("case", REFUSED)
def test_bad_answer_is_refused_however_it_arrives(ResponseParser, case):
    parser = ResponseParser()
    with pytest.raises(BadResponse):
        parsed(parser, *(bytes([byte]) for byte in REFUSED[case][0]))


def test_refused_answer_stays_refused_until_the_reset(ResponseParser):
    parser = ResponseParser()
    words = "a header must not go on"
    with pytest.raises(BadResponse, match=words):
        parser.feed(OK + b" folded\r\n")
    for call in (lambda: parser.feed(HELLO), lambda: parser.feed(b""), parser.eof):
        with pytest.raises(BadResponse, match=words):
            call()
    parser.reset()
    assert parser.feed(HELLO) == len(HELLO)
    assert parser.done


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"", "got nothing"),
        (b"HTT", "got a part of its head"),
        (OK, "got a part of its head"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "got a part of its head"),
        (HELLO[:-1], "got its head and 4 bytes of body"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", "got its head and 5 bytes of body"),
    ],
)
def test_end_of_the_connection_within_the_answer_is_told(ResponseParser, start, words):
    parser = ResponseParser(keep_body=9)
    parser.feed(start)
    for _ in range(2):
        with pytest.raises(IncompleteResponse) as caught:
            parser.eof()
        assert str(caught.value) == f"the answer must be whole when the connection ends, {words}"
        assert isinstance(caught.value, EOFError)
        assert isinstance(caught.value, BadResponse)
    if start.endswith(b"hell"):
        assert (parser.status, parser.body) == (200, b"hell")  # what has arrived can still be read


@pytest.mark.parametrize("data", ["HTTP/1.1", None, 5, memoryview(b"HTTP")[::2]])
def test_what_is_not_like_bytes_is_refused(ResponseParser, data):
    parser = ResponseParser()
    with pytest.raises(TypeError) as caught:
        parser.feed(data)
    assert isinstance(caught.value, PenstockError)
    assert str(caught.value) == f"data must be bytes, or like them and contiguous, got {type(data).__name__}"


@pytest.mark.parametrize(
    ("bounds", "error", "words"),
    [
        ({"max_head": 63}, ValueError, "max_head must be >= 64 and <= 16777216 bytes, got 63"),
        ({"max_head": 2**24 + 1}, ValueError, "max_head must be >= 64 and <= 16777216 bytes, got 16777217"),
        ({"keep_body": -1}, ValueError, f"keep_body must be >= 0 and <= {2**63 - 1} bytes, got -1"),
        ({"max_body": 2**63}, ValueError, f"max_body must be >= 0 and <= {2**63 - 1} bytes, got {2**63}"),
        ({"max_body": 1 << 999}, ValueError, "got an int of 1000 bits"),
        ({"max_body": 1.0}, TypeError, "max_body must be an int, got float"),
        ({"max_head": None}, TypeError, "max_head must be an int, got NoneType"),
    ],
)  # fmt: skip
def test_bounds_out_of_their_range_are_refused(ResponseParser, bounds, error, words):
    with pytest.raises(error) as caught:
        ResponseParser(**bounds)
    assert words in str(caught.value)
    assert isinstance(caught.value, PenstockError)


# --- twins, and cuts ---

PIECES = [
    OK, b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 x\r\n",
    b"HTTP/2 ", b"Content-Length: 5\r\n", b"content-length: 0\r\n", b"Content-Length: 9223372036854775807\n",
    b"Content-Length:x\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: Chunked \n", b"Transfer-Encoding: gzip\r\n",
    b"Connection: close\r\n", b"Connection: a,Keep-Alive\r\n", b"X: y\r\n", b"X: \xff\t.\n", b" fold\r\n",
    b"X : y\r\n", b"\r\n", b"\n", b"\r", b"hello", b"5\r\nhello\r\n", b"5 ;a=b\r\nhello\r\n", b"5\nhello\r\n",
    b"0\r\n\r\n", b"0\r\n", b"7fffffffffffffff\r\n", b"8000000000000000\r\n", b"T: x\r\n", b"\x00",
]  # fmt: skip
soups = st.lists(st.sampled_from(PIECES), max_size=16).map(b"".join)
heads = st.lists(st.sampled_from(PIECES[6:19]), max_size=4).map(lambda lines: OK + b"".join(lines) + b"\r\n")
bodies = st.lists(st.sampled_from(PIECES[22:31]), max_size=6).map(b"".join)
answers = soups | st.tuples(heads, bodies).map(b"".join) | st.binary(max_size=40).map(lambda tail: OK + tail)


@st.composite
def mutated(draw):
    """An answer, perhaps with a byte changed, put in or left out."""
    answer = bytearray(draw(answers))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(answer)))
        answer[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(answer)


def cut(answer, places):
    edges = [0, *sorted({place % (len(answer) + 1) for place in places}), len(answer)]
    return [answer[start:stop] for start, stop in pairwise(edges)]


cuts = st.lists(st.integers(0, 2**16), max_size=8)
bounds = st.fixed_dictionaries(
    {
        "max_head": st.sampled_from([64, 100, 65_536]),
        "keep_body": st.integers(0, 9),
        "max_body": st.sampled_from([0, 4, 5, 10, 1 << 20]),
    }
)


def seen(parser):
    return (
        parser.head_done, parser.done, parser.begun, parser.status, parser.reason, parser.head, parser.size,
        parser.body, parser.keep_alive, parser.truncated,
    )  # fmt: skip


def outcome(parser, pieces):
    """All that a parser shows on its way."""
    shown = []
    try:
        for piece in pieces:
            taken = parser.feed(piece)
            shown.append((taken, seen(parser)))
        parser.eof()
    except BadResponse as error:
        shown.append((type(error), str(error)))
    return [*shown, seen(parser)]


@given(mutated(), cuts, bounds, st.booleans())
def test_twins_agree_on_every_answer(answer, places, bounds, head_request):
    pieces = cut(answer, places)
    compiled, plain = (load("penstock.probing.response_parser", impl)(**bounds) for impl in ("c", "py"))
    for _ in range(2):  # the second time with buffers that are there
        compiled.reset(head_request)
        plain.reset(head_request)
        assert outcome(compiled, pieces) == outcome(plain, pieces)


@given(mutated(), cuts, bounds, st.booleans())
def test_answer_is_the_same_however_it_is_cut(answer, places, bounds, head_request):
    for impl in ("c", "py"):
        results = []
        for pieces in ([answer], cut(answer, places)):
            parser = load("penstock.probing.response_parser", impl)(**bounds)
            parser.reset(head_request)
            *_, failed, shown = [None, *outcome(parser, pieces)]
            error = failed[0] if failed is not None and isinstance(failed[0], type) else None
            results.append((error, shown))
        assert results[0] == results[1]


# --- aiohttp's parsers as the oracle ---


@dataclass
class Told:
    """What an aiohttp parser makes of an answer; None where it refuses it."""

    status: int
    body: bytes
    keep_alive: bool


class Protocol(asyncio.Protocol):
    _reading_paused = False

    def pause_reading(self): ...
    def resume_reading(self, *, resume_parser=True): ...


def told_by(parser_class, answer):
    loop = asyncio.new_event_loop()
    try:
        parser = parser_class(
            Protocol(), loop, 1 << 16, max_line_size=1 << 16, max_field_size=1 << 16, max_headers=256,
            read_until_eof=True, auto_decompress=False,
        )  # fmt: skip
        messages, _, _ = parser.feed_data(answer)
        parser.feed_eof()
    except (HttpProcessingError, PayloadEncodingError):
        return None
    finally:
        loop.close()
    finals = [pair for pair in messages if pair[0].code == 101 or pair[0].code >= 200]
    if not finals:
        return None
    message, payload = finals[0]
    if payload.exception() is not None or not payload.is_eof():
        return None
    body = b"" if payload is EMPTY_PAYLOAD else payload.read_nowait()
    return Told(message.code, body, not message.should_close)


STRICTER = (
    "an answer must begin with HTTP/1.",  # they skip empty lines, and take other versions
    "a status line must be",  # such as HTTP/1.1 099
    "a header must be a name",  # lenient about control characters, for the sake of browsers' habits
    "a header must not go on in another line",
    "Content-Length must come once",  # the Python parser takes the first
    "Transfer-Encoding must be chunked, once",  # they take unknown codings
    "a chunk must be its size in hex",  # LF alone, and padding
)
"""Rules by which we refuse what an aiohttp parser takes; it never takes it to end elsewhere."""


def told_by_us(answer):
    parser = ResponseParserC(keep_body=1 << 16)
    try:
        taken = parser.feed(answer)
        parser.eof()
    except BadResponse as error:
        return None, len(answer), str(error)
    return Told(parser.status, parser.body, parser.keep_alive), taken, ""


@pytest.mark.parametrize("oracle", [HttpResponseParserC, HttpResponseParserPy])
@given(answer=mutated())
def test_aiohttp_reads_the_same(oracle, answer):
    ours, taken, why = told_by_us(answer)
    theirs = told_by(oracle, answer[:taken])  # they would go on with the next answer
    if ours is None:
        assert theirs is None or why.startswith(STRICTER)
    else:
        assert theirs is not None
        assert (theirs.status, theirs.body) == (ours.status, ours.body)
        assert theirs.keep_alive or not ours.keep_alive  # they forget that a body may end with the connection
