"""The head of an HTTP/1.1 request, read strictly: as much as the simulated server needs of it."""

import re
from dataclasses import dataclass

from penstock.errors import InvalidValue

__all__ = ["MAX_BODY", "MAX_HEAD", "BadRequest", "Head", "read_head"]

MAX_HEAD = 16_384
"""Bytes of a request line and headers."""

MAX_BODY = 65_536
"""Bytes of a body, which is read and thrown away."""

MAX_HEADERS = 100

MAX_TARGET = 8_192

REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}) ([!-~]+) HTTP/1\.([01])")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")
LENGTH = re.compile(rb"[0-9]{1,10}")


class BadRequest(InvalidValue):
    """A request that cannot be read; `status` is the answer's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """What a request asks for.

    Attributes:
        method: such as `GET`.
        path: of its target, without the query.
        body_bytes: how many follow.
        keep_alive: whether another request may follow.
    """

    method: str
    path: str
    body_bytes: int
    keep_alive: bool


def read_head(head: bytes) -> Head:
    """The request that a head is, without the empty line at its end.

    Raises:
        BadRequest: it is none, or more than the server takes.
    """
    first, *lines = head.split(b"\r\n")
    request = REQUEST_LINE.fullmatch(first)
    if request is None:
        raise BadRequest("the request line must be METHOD TARGET HTTP/1.1")
    if len(request[2]) > MAX_TARGET:
        raise BadRequest(f"the target must be at most {MAX_TARGET} bytes, got {len(request[2])}", 414)
    if len(lines) > MAX_HEADERS:
        raise BadRequest(f"there must be at most {MAX_HEADERS} headers, got {len(lines)}", 431)
    headers = headers_of(lines)
    if request[3] == b"1" and len(headers.get(b"host", [])) != 1:
        raise BadRequest("there must be one Host header")
    connection = b",".join(headers.get(b"connection", [])).lower()
    options = {option.strip() for option in connection.split(b",")}
    return Head(
        method=request[1].decode(),
        path=request[2].partition(b"?")[0].decode(),
        body_bytes=body_bytes(headers),
        keep_alive=b"close" not in options if request[3] == b"1" else b"keep-alive" in options,
    )


def headers_of(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        header = HEADER.fullmatch(line)
        if header is None:  # also one that is folded, or has a blank before the colon
            raise BadRequest("each header must be NAME: VALUE on a line of its own")
        headers.setdefault(header[1].lower(), []).append(header[2].rstrip())
    return headers


def body_bytes(headers: dict[bytes, list[bytes]]) -> int:
    if b"transfer-encoding" in headers:
        raise BadRequest("a body must come with its Content-Length, not in chunks", 501)
    lengths = set(headers.get(b"content-length", []))
    if not lengths:
        return 0
    length = lengths.pop()
    if lengths or not LENGTH.fullmatch(length):
        raise BadRequest("Content-Length must be one number")
    if int(length) > MAX_BODY:
        raise BadRequest(f"the body must be at most {MAX_BODY} bytes, got {int(length)}", 413)
    return int(length)
