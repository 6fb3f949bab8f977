"""Deliveries over HTTP, whatever is in them: connections, TLS, packing, and an answer that is bounded.

Connections are kept open, but not for long: many servers close one that was idle for 5 seconds, and a
delivery that meets such a close half-way cannot know what became of it. It has failed then, and is tried
again later like every other. It is not sent again at once: the server may have had it, and two attempts in a
row look to it like two deliveries.

Whatever an analyzer answers, however long or broken, costs at most a failed delivery.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from typing import NamedTuple

import aiohttp
import msgspec
from aiohttp.http_exceptions import HttpProcessingError

from penstock.services.distributor.carrier import DeliveryFailed
from penstock.services.distributor.carriers.packing import CannotCarry, packed
from penstock.services.distributor.carriers.tls import TlsContexts
from penstock.services.distributor.carriers.verdict import MAX_WAIT, MAX_WORDS
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.http_client import reason_of
from penstock.services.printable import one_line
from penstock.services.retry_after import retry_after_seconds

__all__ = ["FRAMING", "Answer", "Poster", "failed", "failed_by"]

MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_DETAIL_BYTES = 4096
"""Of an answer that says no, what is looked through for a reason."""
PROBE_TIMEOUT = 5.0
IDLE_TIMEOUT = 4.0
"""Seconds for which a connection is kept open without a delivery."""
PACK_IN_THREAD = 16 * 1024
"""Bytes from which on packing is left to a thread, so that the loop goes on."""
ONE_PIECE = 1024 * 1024
"""Bytes up to which a body is handed to aiohttp in one piece."""

FRAMING = frozenset(
    {"connection", "content-encoding", "content-length", "expect", "host", "transfer-encoding", "upgrade"}
)
"""Headers that say how a request is to be read; nobody sets them but who writes it."""


class Answer(NamedTuple):
    """An answer of 2xx."""

    content_type: str
    body: bytes


class Refused(msgspec.Struct):
    """The members, one of which most services put their reason into."""

    detail: str | None = None
    error: str | None = None
    message: str | None = None
    title: str | None = None


class Poster:
    """Sends bodies to analyzers on kept-alive connections; an async context manager.

    Args:
        config: the settings.
        now: the time, for analyzers that say until when they do not want to be asked.
    """

    def __init__(self, config: Config, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._config = config
        self._now = now
        self._tls = TlsContexts()

    async def __aenter__(self) -> "Poster":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=0, ttl_dns_cache=60, keepalive_timeout=IDLE_TIMEOUT
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "penstock-distributor", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def forget(self, analyzer: AnalyzerConfig) -> None:
        """Lets go of what is held for an analyzer; its connections close by themselves."""
        self._tls.forget(analyzer)

    async def post(
        self, analyzer: AnalyzerConfig, body: bytes, content_type: str, url: str | None = None
    ) -> Answer:
        """Sends a body, packed as the analyzer wants it, and returns its answer.

        Args:
            analyzer: who gets it.
            body: not packed.
            content_type: of `body`.
            url: where it goes; the analyzer's URL when None.

        Raises:
            DeliveryFailed: no answer, one that cannot be read, or one that is not 2xx.
        """
        timeout = analyzer.timeout or self._config.analyzer_timeout
        with failures_in_words(f"no answer within {timeout:g} s"):
            headers = own_headers(analyzer) | {"Content-Type": content_type}
            if analyzer.compression != "none":
                body = await packed_aside(body, analyzer)
                headers["Content-Encoding"] = analyzer.compression
            request = self._session.post(
                url or analyzer.url,
                data=body if len(body) <= ONE_PIECE else BytesIO(body),  # which is sent piece by piece
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout),
                ssl=await self._tls.get(analyzer),
            )
            async with request as answer:
                if not 200 <= answer.status < 300:
                    raise self._refusal(answer, "answered")
                return Answer(answer.headers.get("Content-Type", ""), await bounded_body(answer))

    async def probe(self, analyzer: AnalyzerConfig) -> None:
        """Asks an analyzer how it is.

        Raises:
            DeliveryFailed: it is not well.
        """
        with failures_in_words(f"its health gave no answer within {PROBE_TIMEOUT:g} s"):
            request = self._session.get(
                analyzer.probe_url,
                headers=own_headers(analyzer),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT),
                ssl=await self._tls.get(analyzer),
            )
            async with request as answer:
                if not 200 <= answer.status < 300:
                    raise self._refusal(answer, "its health answered")

    def _refusal(self, answer: aiohttp.ClientResponse, verb: str) -> DeliveryFailed:
        wait = retry_after_seconds(answer.headers.get("Retry-After"), self._now())
        return DeliveryFailed(
            one_line(f"{verb} {answer.status} {answer.reason}{detail_of(answer)}", MAX_WORDS),
            answer.status,
            min(wait, MAX_WAIT) if wait else None,
        )


def own_headers(analyzer: AnalyzerConfig) -> dict[str, str]:
    return {name: value for name, value in analyzer.headers.items() if name.lower() not in FRAMING}


async def packed_aside(body: bytes, analyzer: AnalyzerConfig) -> bytes:
    if len(body) < PACK_IN_THREAD:
        return packed(body, analyzer.compression)
    return await asyncio.to_thread(packed, body, analyzer.compression)


async def bounded_body(answer: aiohttp.ClientResponse) -> bytes:
    if encoding := answer.headers.get("Content-Encoding"):  # it may name failures that we cannot read
        raise failed(f"its answer has Content-Encoding {encoding}, which was not asked for")
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise failed(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def detail_of(answer: aiohttp.ClientResponse) -> str:
    """The reason in an answer that says no, after a colon; empty when none came with its head.

    Nothing more is waited for: an analyzer in trouble may never end its answer.
    """
    if answer.status < 400 or "json" not in answer.content_type:
        return ""
    try:
        said = msgspec.json.decode(answer.content.read_nowait(MAX_DETAIL_BYTES), type=Refused)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, aiohttp.ClientError, RuntimeError):
        return ""
    words = said.detail or said.error or said.message or said.title
    return f": {words}" if words else ""


@contextmanager
def failures_in_words(silence: str) -> Iterator[None]:
    """Turns what aiohttp raises into DeliveryFailed; `silence` says that nothing came in time."""
    try:
        yield
    except DeliveryFailed:
        raise
    except TimeoutError:
        raise failed(silence) from None
    except (aiohttp.ClientError, OSError, HttpProcessingError) as error:
        raise failed(reason_of(error)) from None
    except CannotCarry as error:
        raise failed(str(error)) from None
    except ValueError as error:  # headers that cannot be sent
        raise failed(f"the request cannot be made: {error}") from None


def failed(why: str) -> DeliveryFailed:
    """A failed delivery without an answer, or with one that cannot be read."""
    return DeliveryFailed(one_line(why, MAX_WORDS))


def failed_by(place: str, error: OSError) -> DeliveryFailed:
    """A delivery that the operating system did not let through, in its words."""
    return failed(f"{place}: {(error.strerror or str(error)).lower()}")
