"""A file of requests: one a line, a URL or a JSON object, without blank lines and `#` comments.

    https://example.com/health
    {"method": "POST", "url": "https://example.com/orders", "body": {"item": 7}, "id": "order-7"}

`url` is the one member that must be there. `body` is text, or any other JSON value, which is sent as it
stands and as application/json unless a header says otherwise.
"""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import msgspec
from yarl import URL

from penstock.errors import InvalidValue
from penstock.services.caller.model import BadLine, Request
from penstock.services.http_url import InvalidUrl, checked_url
from penstock.services.line_reader import Line, lines_of, read_lines
from penstock.services.printable import one_line, printable

__all__ = [
    "MAX_LINE_BYTES",
    "BadRequests",
    "InvalidRequest",
    "checked_header",
    "count_requests",
    "read_requests",
]

MAX_LINE_BYTES = 1 << 20
"""Bytes of a line; longer ones are refused."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

MAX_LABEL = 200  # characters
MAX_SHOWN = 60  # characters of a line in an error
MAX_TOLD = 5  # bad lines of a file that are told one by one

FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
NO_FIELD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
FRAMING = ("content-length", "transfer-encoding")
"""Headers that follow from the body; another value would make the server misread this request or the next."""

TEXT, JSON = "text/plain; charset=utf-8", "application/json"


Value = TypeVar("Value")


class InvalidRequest(InvalidValue):
    """A line is no request, or a header is none."""


class BadRequests(InvalidValue):
    """A file has lines that are no requests; the message says which and why."""

    def __init__(self, path: str | Path, found: list[BadLine], count: int) -> None:
        told = [f"{path}:{bad.line}: {bad.why}" for bad in found]
        if count > len(found):
            told.append(f"{path}: and {count - len(found):,} more bad lines")
        super().__init__(printable("\0".join(told)).replace(printable("\0"), "\n"))


class Written(msgspec.Struct, forbid_unknown_fields=True):
    """A request as it stands in a file."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw(b"null")
    id: str | int = ""


async def read_requests(fd: int) -> AsyncGenerator[Request | BadLine, None]:
    """The requests of a file, pipe or terminal, read as they are needed.

    Args:
        fd: open for reading; stays open.
    """
    async with aclosing(read_lines(fd, MAX_LINE_BYTES)) as lines:
        async for line in lines:
            yield request_or_fault(line)


def count_requests(path: str | Path) -> int:
    """How many requests a regular file holds, after a look at every one of them.

    Raises:
        BadRequests: some of its lines are none.
    """
    count, bad, told = 0, 0, list[BadLine]()
    for line in lines_of(path, MAX_LINE_BYTES):
        request = request_or_fault(line)
        count += 1
        if isinstance(request, BadLine):
            bad += 1
            if len(told) < MAX_TOLD:
                told.append(request)
    if bad:
        raise BadRequests(path, told, bad)
    return count


def request_or_fault(line: Line) -> Request | BadLine:
    try:
        return request_of(line)
    except InvalidRequest as error:
        return BadLine(line.number, str(error))


def request_of(line: Line) -> Request:
    """The request that a line holds.

    Raises:
        InvalidRequest: it holds none.
    """
    if len(line.raw) > MAX_LINE_BYTES:
        raise InvalidRequest(f"a line must be <= {MAX_LINE_BYTES} bytes, got more: {shown(line.text)}")
    try:
        line.raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"a line must be UTF-8, got {shown(line.text)} (byte {error.start})") from None
    if not line.text.startswith("{"):
        return Request("GET", line.text, target_of(line.text), line=line.number)
    return request_written(line)


def request_written(line: Line) -> Request:
    written = decoded(line.text.encode(), Written, line)
    method = written.method.upper()
    if method not in METHODS:
        raise InvalidRequest(f"method must be one of {', '.join(METHODS)}, got {shown(written.method)}")
    for name, value in written.headers.items():
        checked_header(name, value)
    label = str(written.id)
    if len(label) > MAX_LABEL or not label.isprintable():
        raise InvalidRequest(f"id must be <= {MAX_LABEL} printable characters, got {shown(label)}")
    raw, body, body_type = bytes(written.body), None, ""
    if raw.startswith(b'"'):
        body, body_type = decoded(raw, str, line).encode(), TEXT
    elif raw != b"null":
        body, body_type = raw, JSON
    target = target_of(written.url)
    return Request(method, written.url, target, written.headers, body, body_type, label, line.number)


def decoded(text: bytes, kind: type[Value], line: Line) -> Value:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        why = one_line(str(error), 200)
    except RecursionError:
        why = "it is nested too deep"
    raise InvalidRequest(f"not a request to send: {why}, got {shown(line.text)}")


def target_of(url: str) -> URL:
    try:
        return checked_url(url)
    except InvalidUrl as why:
        raise InvalidRequest(f"not a URL to call: {one_line(str(why), 200)}, got {shown(url)}") from None


def checked_header(name: str, value: str) -> None:
    """Refuses what would end a header, or the head, or the request before its end.

    Raises:
        InvalidRequest: see above.
    """
    if not FIELD_NAME.fullmatch(name):
        raise InvalidRequest(f"a header's name must be letters, digits and hyphens, got {shown(name)}")
    if NO_FIELD_VALUE.search(value):
        raise InvalidRequest(f"header {name} must hold no control characters, got {shown(value)}")
    if name.lower() in FRAMING:
        raise InvalidRequest(f"header {name} follows from the body and must not be given, got {shown(value)}")


def merged(for_all: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The headers of all requests, where the request has none of that name, and its own."""
    taken = {name.lower() for name in own}
    return {name: value for name, value in for_all.items() if name.lower() not in taken} | dict(own)


def shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…")
