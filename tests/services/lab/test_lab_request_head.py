"""Requests to the simulated server are read strictly and within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.services.lab.request_head import BadRequest, Head, read_head

HOST = b"\r\nHost: x"


@pytest.mark.parametrize(("head", "read"), [
    (b"GET /data HTTP/1.1" + HOST, Head("GET", "/data", 0, True)),
    (b"GET /data?a=/b HTTP/1.1" + HOST, Head("GET", "/data", 0, True)),
    (b"HEAD / HTTP/1.1\r\nhost:x\r\nConnection: Upgrade, Close", Head("HEAD", "/", 0, False)),
    (b"GET / HTTP/1.0", Head("GET", "/", 0, False)),
    (b"GET / HTTP/1.0\r\nConnection: keep-alive", Head("GET", "/", 0, True)),
    (b"POST /data HTTP/1.1\r\nContent-Length: 7" + HOST, Head("POST", "/data", 7, True)),
    (b"POST /data HTTP/1.1\r\nContent-Length: 7\r\nContent-Length: 7" + HOST, Head("POST", "/data", 7, True)),
])  # fmt: skip
def test_requests_are_read(head, read):
    assert read_head(head) == read


@pytest.mark.parametrize(("head", "status", "said"), [
    (b"", 400, "the request line must be METHOD TARGET HTTP/1.1"),
    (b"GET  /data HTTP/1.1" + HOST, 400, "request line"),
    (b"GET /data HTTP/2.0" + HOST, 400, "request line"),
    (b"GET /da\x00ta HTTP/1.1" + HOST, 400, "request line"),
    (b"GET /" + b"x" * 8192 + b" HTTP/1.1" + HOST, 414, "the target must be at most 8192 bytes, got 8193"),
    (b"\x16\x03\x01\x02\x00", 400, "request line"),
    (b"GET / HTTP/1.1", 400, "there must be one Host header"),
    (b"GET / HTTP/1.1" + HOST + HOST, 400, "there must be one Host header"),
    (b"GET / HTTP/1.1" + HOST + b"\r\n folded", 400, "each header must be NAME: VALUE"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nA : b", 400, "each header must be NAME: VALUE"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nA: b\nB: c", 400, "each header must be NAME: VALUE"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nA: b" * 100, 431, "there must be at most 100 headers, got 101"),
    (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked" + HOST, 501, "Content-Length, not in chunks"),
    (b"POST / HTTP/1.1\r\nContent-Length: -1" + HOST, 400, "Content-Length must be one number"),
    (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2" + HOST, 400, "Content-Length must be one"),
    (b"POST / HTTP/1.1\r\nContent-Length: 65537" + HOST, 413, "the body must be at most 65536 bytes"),
])  # fmt: skip
def test_what_is_no_request_is_refused_in_words(head, status, said):
    with pytest.raises(BadRequest) as refused:
        read_head(head)
    assert refused.value.status == status
    assert said in str(refused.value)
    assert isinstance(refused.value, PenstockError)
    assert isinstance(refused.value, ValueError)


@given(
    st.binary(max_size=300) | st.binary(max_size=60).map(lambda some: b"GET / HTTP/1.1\r\nHost: x\r\n" + some)
)
def test_any_bytes_are_read_or_refused(head):
    try:
        read = read_head(head)
    except BadRequest as error:
        read = error
    assert isinstance(read, Head) or 400 <= read.status <= 501
