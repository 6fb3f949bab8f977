"""What goes on the wire: an HTTP/1.1 request, encoded once and sent any number of times."""

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import penstock
from penstock.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from yarl import URL

__all__ = ["IDEMPOTENT", "MAX_HEAD", "MAX_URL", "InvalidRequest", "InvalidUrl", "Request", "checked_url"]

MAX_URL = 8192
"""Characters of a URL."""

MAX_HEAD = 65_536
"""Bytes of a request before its body."""

DEFAULT_PORTS = {"http": 80, "https": 443}

PLAIN_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/(?!\.)[A-Za-z0-9._~!$&'()*,;=:@-]*)*)"  # none begins with a dot: /../ is resolved
    r"(?:\?(?P<query>[A-Za-z0-9._~!$'()*,:@/?-][A-Za-z0-9._~!$&'()*,;=:@/?-]*))?"
)
"""What stands on the wire as it stands here; any other URL is brought into that form by yarl."""

NUMBERS = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)")
"""A host whose last label is a number: an IPv4 address, or none at all."""

IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(?:\.(?!$)|$)){4}")

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods that do the same when they come twice (RFC 9110, 9.2.2)."""

FRAMING = frozenset({"content-length", "transfer-encoding"})
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class InvalidUrl(InvalidValue):
    """A text is no URL that a request can be sent to."""


class InvalidRequest(InvalidValue):
    """A method, a header or a body is none that can be sent."""


def checked_url(text: str) -> "URL":
    """The http or https URL that `text` is.

    Raises:
        InvalidUrl: it is none; the message says why.
    """
    from yarl import URL

    check_characters(text)
    try:
        url = URL(text)
    except ValueError as error:
        raise InvalidUrl(str(error)[:200]) from None
    except IndexError:  # yarl's own, where brackets stand before an @ and nothing behind it
        raise InvalidUrl("no host") from None
    if url.scheme not in DEFAULT_PORTS:
        raise InvalidUrl("must start with http:// or https://")
    if not url.raw_host:
        raise InvalidUrl("no host")
    if url.port == 0:
        raise InvalidUrl("port must be 1 to 65535, got 0")
    return url


def check_characters(text: str) -> None:
    if len(text) > MAX_URL:
        raise InvalidUrl(f"longer than {MAX_URL} characters")
    if not text.isprintable() or " " in text:
        raise InvalidUrl("holds a space or a control character")


class Request:
    """One HTTP/1.1 request to a URL, ready to be sent as often as wanted.

    It names itself `penstock/VERSION`, accepts `*/*` in no encoding, and a user and password in the URL
    become `Authorization: Basic`; a header of the same name in `headers` stands in the place of either.

    Args:
        url: http or https, at most 8192 characters; its fragment is not sent.
        method: such as GET, sent as it is; not CONNECT, which asks for a tunnel.
        headers: names and values. Content-Length and Transfer-Encoding are not among them: the body says
            them.
        body: sent after the headers.
        keep_alive: whether the connection may be one that was used before, and may be used again.
        keep_body: bytes of the answer's body that are kept.
        max_body: bytes of the answer's body that are read; a longer one is left there.

    Attributes:
        url, method, body, keep_alive, keep_body, max_body: as they were given.
        scheme: http or https.
        host: where to connect to: a name, encoded as IDNA and in lower case, or an IP address without
            brackets.
        port: where to connect to.
        origin: scheme, host and port: requests with the same one may share a connection.
        target: path and query, percent-encoded.
        fields: the headers as they are sent, without what the body says.
        wire: all of it, bytes.

    Raises:
        InvalidUrl: `url` is none; a ValueError.
        InvalidRequest: a method or header holds what would break out of its line, or is one that is not
            allowed; a ValueError.
        TypeError: body is not bytes.
    """

    __slots__ = (
        "body",
        "fields",
        "host",
        "keep_alive",
        "keep_body",
        "max_body",
        "method",
        "origin",
        "port",
        "scheme",
        "target",
        "url",
        "wire",
    )

    def __init__(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        keep_alive: bool = False,
        keep_body: int = 0,
        max_body: int = 1 << 20,
    ) -> None:
        if not isinstance(body, bytes):
            raise InvalidType(f"body must be bytes, got {type(body).__name__}")
        for name, size in (("keep_body", keep_body), ("max_body", max_body)):
            if size < 0:
                raise InvalidRequest(f"{name} must be >= 0 bytes, got {size}")
        self.url = url
        self.method = checked_method(method)
        self.body = body
        self.keep_alive = keep_alive
        self.keep_body = keep_body
        self.max_body = max_body
        self.scheme, self.host, self.port, self.target, credentials = parsed(url)
        self.origin = (self.scheme, self.host, self.port)
        self.fields = self._fields(checked_headers(headers), credentials)
        self.wire = self._encoded()

    def __repr__(self) -> str:
        return f"Request({self.url!r}, method={self.method!r})"

    @property
    def authority(self) -> str:
        """The host and, where it is not the scheme's own, the port, as a Host header says them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def _fields(self, headers: Sequence[tuple[str, str]], credentials: str) -> tuple[tuple[str, str], ...]:
        given = {name.lower() for name, _ in headers}
        own = [
            ("Host", self.authority),
            ("User-Agent", f"penstock/{penstock.__version__}"),
            ("Accept", "*/*"),
        ]
        if credentials:
            own.append(("Authorization", credentials))
        if not self.keep_alive:
            own.append(("Connection", "close"))
        return (*(field for field in own if field[0].lower() not in given), *headers)

    def _encoded(self) -> bytes:
        lines = [
            f"{self.method} {self.target} HTTP/1.1",
            *(f"{name}: {value}" for name, value in self.fields),
        ]
        if self.body or self.method in WITH_BODY:
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join([*lines, "", ""]).encode()
        if len(head) > MAX_HEAD:
            raise InvalidRequest(f"headers must be at most {MAX_HEAD} bytes together, got {len(head)}")
        return head + self.body


def parsed(url: str) -> tuple[str, str, int, str, str]:
    """Scheme, host, port, target and credentials of a URL."""
    check_characters(url)
    plain = PLAIN_URL.fullmatch(url)
    if plain and (plain["port"] is None or int(plain["port"]) <= 65_535):
        scheme, host = plain["scheme"], plain["host"].lower()
        port = int(plain["port"] or DEFAULT_PORTS[scheme])
        query = plain["query"]
        target = (plain["path"] or "/") if query is None else f"{plain['path'] or '/'}?{query}"
        return scheme, checked_host(host), port, target, ""
    full = checked_url(url)
    host = (full.raw_host or "").strip("[]")
    credentials = ""
    if full.raw_user is not None or full.raw_password is not None:
        pair = unquote_to_bytes(full.raw_user or "") + b":" + unquote_to_bytes(full.raw_password or "")
        credentials = f"Basic {b64encode(pair).decode()}"
    return full.scheme, checked_host(host), full.port or 80, full.raw_path_qs, credentials


def checked_host(host: str) -> str:
    """`host`; the numbers that inet_aton takes for an IPv4 address are refused: they hide which."""
    if NUMBERS.fullmatch(host) and not IPV4.fullmatch(host):
        raise InvalidUrl(f"host must be a name or an IP address, got {host[:100]!r}")
    return host


def checked_method(method: str) -> str:
    if not TOKEN.fullmatch(method) or len(method) > 32:
        raise InvalidRequest(f"method must be letters such as GET, got {method[:100]!r}")
    if method == "CONNECT":
        raise InvalidRequest("method must not ask for a tunnel, got 'CONNECT'")
    return method


def checked_headers(headers: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    for name, value in headers:
        if not TOKEN.fullmatch(name):
            raise InvalidRequest(
                f"header name must be letters, digits and signs such as -, got {name[:100]!r}"
            )
        if NO_VALUE.search(value):
            raise InvalidRequest(f"header {name[:100]} must hold no control character, got {value[:100]!r}")
        if not value.isascii():
            check_encodes(name, value)
        if name.lower() in FRAMING:
            raise InvalidRequest(f"header {name} is said by the body, and must not be given")
    return headers


def check_encodes(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"header {name[:100]} must be Unicode text, got {value[:100]!r}") from None
