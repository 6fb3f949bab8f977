"""One request for a page, and what its answer means to a crawl."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from penstock.probing.engine import Engine
from penstock.probing.exchange import Exchange, Failure
from penstock.probing.request import InvalidRequest, InvalidUrl, Request
from penstock.services.printable import one_line
from penstock.services.scraper.config import ScrapeSettings
from penstock.services.scraper.decompression import ACCEPT_ENCODING, decompressed

__all__ = ["Answer", "Fetcher", "Wanted"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})

MAX_WORDS = 200

BINARY = frozenset(
    {"7z", "aac", "apk", "avi", "avif", "bin", "bmp", "bz2", "css", "csv", "deb", "dmg", "doc", "docx", "eot"}
    | {
        "epub",
        "exe",
        "flac",
        "gif",
        "gz",
        "ico",
        "iso",
        "jar",
        "jpeg",
        "jpg",
        "js",
        "json",
        "m4a",
        "m4v",
        "mkv",
    }
    | {
        "mov",
        "mp3",
        "mp4",
        "mpeg",
        "mpg",
        "msi",
        "odp",
        "ods",
        "odt",
        "ogg",
        "ogv",
        "otf",
        "pdf",
        "png",
        "ppt",
    }
    | {"pptx", "ps", "rar", "rpm", "svg", "tar", "tgz", "tif", "tiff", "ttf", "wav", "webm", "webp", "wmv"}
    | {"woff", "woff2", "xls", "xlsx", "xz", "zip", "zst"}
)
"""Ends of paths that promise no page: of these the head alone is asked for first."""

Wanted = Literal["head", "page", "all"]
"""What of an answer: no more than its head; a body of a type that is read; a body of any type."""


@dataclass(slots=True)
class Answer:
    """What came of one request.

    Attributes:
        status: of the answer, 0 when there was none.
        failure: where it failed, empty when it did not.
        error: plain words when something is amiss, else empty.
        may_pass: whether another attempt may go better.
        retry_after: seconds that the server asks for; None when it asks for no wait.
        location: where it redirects to, as written; empty when it does not.
        content_type: the header as it came.
        body: decompressed; empty where it was not wanted.
        length: bytes of it; of what was not wanted, those that the head tells.
        robots: directives of X-Robots-Tag, in lower case.
        wants_get: whether it is one to HEAD, and GET has to tell the rest.
        size: bytes of the body on the wire.
        elapsed: nanoseconds.
        started_at: wall clock at the beginning, nanoseconds since 1970.
    """

    status: int = 0
    failure: Failure = ""
    error: str = ""
    may_pass: bool = False
    retry_after: float | None = None
    location: str = ""
    content_type: str = ""
    body: bytes = b""
    length: int = 0
    robots: str = ""
    wants_get: bool = False
    size: int = 0
    elapsed: int = 0
    started_at: int = 0

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.content_type.partition(";")[0].strip().lower()[:100]


class Fetcher:
    """Makes requests, one exchange each: no redirect is followed, nothing tried again.

    Whoever asks keeps the pace of a host, so what takes a second request is told and not done.

    Args:
        engine: makes the exchanges.
        settings: timeout, sizes, types and headers.
        now: returns the wall time in UTC, for a Retry-After that is a date.
    """

    def __init__(self, engine: Engine, settings: ScrapeSettings, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._timeout = settings.request_timeout
        self._max_size = settings.max_size
        self._types = settings.types
        self._now = now
        given = {name.lower() for name, _ in settings.headers}
        own = (
            ("User-Agent", settings.user_agent),
            ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("Accept-Encoding", ACCEPT_ENCODING),
        )
        self._headers = (*(field for field in own if field[0].lower() not in given), *settings.headers)
        Request("http://localhost/", headers=self._headers)  # raises now, not for every page

    async def fetch(
        self, url: str, wanted: Wanted = "page", *, max_size: int | None = None, by_get: bool = False
    ) -> Answer:
        """Asks for a canonical URL; no failure of network or server raises.

        Args:
            url: what is asked for.
            wanted: what of the answer is read.
            max_size: bytes of the body, compressed and decompressed; None for the setting.
            by_get: whether HEAD was tried and did not tell enough.
        """
        limit = self._max_size if max_size is None else max_size
        if not by_get and (wanted == "head" or (wanted == "page" and looks_binary(url))):
            return await self._head(url, wanted)
        if wanted == "head":
            limit = 0
        return self._answer(await self._get(url, limit), wanted, limit)

    async def _get(self, url: str, limit: int, method: str = "GET") -> Exchange:
        try:
            request = Request(
                url, method=method, headers=self._headers, keep_alive=True, keep_body=limit, max_body=limit
            )
        except (InvalidUrl, InvalidRequest) as error:  # of a redirect, perhaps
            return Exchange(failure="protocol", error=one_line(str(error), MAX_WORDS))
        return await self._engine.exchange(request, self._timeout)

    async def _head(self, url: str, wanted: Wanted) -> Answer:
        """HEAD; GET has to follow where its status may mean that HEAD is not liked, and for a page."""
        answer = self._answer(await self._get(url, 0, "HEAD"), "head", 0)
        if wanted == "head":
            answer.wants_get = answer.status in (403, 404, 405, 501)
        else:
            answer.wants_get = answer.status in (405, 501) or (answer.status == 200 and self._is_read(answer))
        return answer

    def _answer(self, exchange: Exchange, wanted: Wanted, limit: int) -> Answer:
        answer = Answer(
            status=exchange.status,
            failure=exchange.failure,
            error=one_line(exchange.error, MAX_WORDS),
            may_pass=exchange.may_pass,
            size=exchange.size,
            elapsed=exchange.phases.total,
            started_at=exchange.started_at,
        )
        if not exchange.status:
            return answer
        fields = fields_of(exchange.head)
        answer.content_type = fields.get("content-type", "")[:200]
        answer.robots = one_line(fields.get("x-robots-tag", "").lower(), MAX_WORDS)
        if exchange.status in REDIRECTS:
            answer.location = as_text(fields.get("location", ""))
        elif exchange.status == 429 or exchange.status >= 500:
            answer.may_pass = True
            answer.retry_after = self._retry_after(fields.get("retry-after"))
        self._read(answer, exchange, fields, wanted, limit)
        return answer

    def _read(
        self, answer: Answer, exchange: Exchange, fields: dict[str, str], wanted: Wanted, limit: int
    ) -> None:
        told = fields.get("content-length", "")
        answer.length = int(told[:18]) if told.isascii() and told.isdigit() else exchange.size
        if wanted == "head" or (wanted == "page" and not self._is_read(answer)):
            return
        answer.body = exchange.body
        if exchange.truncated:
            answer.error = f"longer than {limit} bytes, the rest was left"
        codings = fields.get("content-encoding", "")
        if codings and exchange.body:
            plain = decompressed(exchange.body, codings, limit)
            answer.body = plain.body
            answer.error = answer.error or plain.error
        answer.length = len(answer.body)

    def _is_read(self, answer: Answer) -> bool:
        return not answer.media_type or answer.media_type in self._types  # nothing told may be a page

    def _retry_after(self, header: str | None) -> float | None:
        from penstock.services.http_client import retry_after_seconds

        return retry_after_seconds(header, self._now())


def looks_binary(url: str) -> bool:
    """Whether the path of a canonical URL ends as those of pictures, archives and the like do."""
    path = url.partition("?")[0]
    name, dot, end = path[path.rindex("/") :].rpartition(".")
    return bool(dot and name) and end.lower() in BINARY


def fields_of(head: bytes) -> dict[str, str]:
    """Headers by name in lower case; of several with one name the first, but X-Robots-Tag joined."""
    fields: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        name = name.lower()
        if name == "x-robots-tag" and name in fields:
            fields[name] += f", {value.strip()}"
        elif colon and name not in fields:
            fields[name] = value.strip()
    return fields


def as_text(value: str) -> str:
    """A header's value that holds UTF-8, as some servers send it, though headers are Latin-1."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


def utc_now() -> datetime:
    """The wall time, with its zone."""
    return datetime.now(UTC)
