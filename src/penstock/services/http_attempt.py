"""One attempt at an HTTP request: one request on the wire, and what came of it in plain words."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

import aiohttp

import penstock
from penstock.probing.send_once import NotSentAgain, send_once
from penstock.services.http_client import reason_of, retry_after_seconds
from penstock.services.printable import printable

__all__ = ["MAX_BODY_BYTES", "MAX_REDIRECTS", "Answer", "attempt", "failure", "open_session"]

MAX_BODY_BYTES = 1_048_576
"""Bytes of a body that are read; a longer one is left there and counts as answered."""

MAX_REDIRECTS = 10
"""Redirects that are followed where any are."""

MAX_ERROR = 200
"""Characters of an error's words."""

DNS_TTL = 60


def open_session(concurrency: int, *, traces: Sequence[aiohttp.TraceConfig] = ()) -> aiohttp.ClientSession:
    """A session for so many attempts at once; the caller closes it.

    Bodies are not decompressed, cookies not kept, proxies and .netrc of the environment not used: an
    answer is the URL's own server's. Connections are not kept: a server may close one just as it is used
    again, and then nobody knows what became of the request; and aiohttp has no bound on idle ones, so a
    list of 10,000 hosts would run out of file descriptors.

    Args:
        concurrency: connections at once.
        traces: aiohttp's hooks into the steps of a request.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency, force_close=True, ttl_dns_cache=DNS_TTL),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # attempt() has a finer one
        headers={"User-Agent": f"penstock/{penstock.__version__}"},
        middlewares=(send_once,),
        trace_configs=list(traces),
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt: a status, or 0 and an error.

    Attributes:
        status: of the answer, 0 when there was none, or not all of it.
        error: plain words when status is 0, else empty.
        may_pass: another attempt may go better.
        retry_after: seconds that the server asks for.
        size: bytes of the body that were read.
    """

    status: int = 0
    error: str = ""
    may_pass: bool = False
    retry_after: float = 0.0
    size: int = 0


async def attempt(
    exchange: AbstractAsyncContextManager[aiohttp.ClientResponse],
    timeout: float,  # noqa: ASYNC109 - it is told in the words of the failure
    now: Callable[[], datetime],
    *,
    deadline: asyncio.Timeout | None = None,
) -> Answer:
    """Sends one request and reads its answer; no failure of the server raises.

    Args:
        exchange: what a method of the session returns.
        timeout: seconds for everything, redirects and body included, > 0.
        now: returns the wall time in UTC, for a Retry-After that is a date.
        deadline: `asyncio.timeout(timeout)`, of whoever wants to move it meanwhile; None for an own one.
    """
    try:
        async with deadline or asyncio.timeout(timeout), exchange as response:
            size = await read_body(response)
            status, retry_after = response.status, response.headers.get("Retry-After")
    except Exception as error:
        return failure(error, timeout)
    if status < 100:  # 0 would look like no answer, and tell no reason
        return Answer(error="not a valid HTTP answer", may_pass=True)
    if status != 429 and status < 500:
        return Answer(status, size=size)
    wait = retry_after_seconds(retry_after, now()) or 0.0
    return Answer(status, may_pass=True, retry_after=wait, size=size)


async def read_body(response: aiohttp.ClientResponse) -> int:
    """Reads to the end of the body, or its first MAX_BODY_BYTES and hangs up; returns the bytes read."""
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size >= MAX_BODY_BYTES:
            response.close()
            break
    return size


HOPELESS = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.TooManyRedirects,
    aiohttp.RedirectClientError,
    UnicodeError,
)
"""What another attempt would only meet again."""


def failure(error: Exception, timeout: float) -> Answer:
    """An exception of an attempt, in words for people who do not know aiohttp."""
    lost = error.__cause__ if isinstance(error, NotSentAgain) else error
    if isinstance(lost, TimeoutError) and lost.errno is None:  # ours: those of the system have a number
        words = f"timed out after {timeout:g} s"
    elif isinstance(lost, aiohttp.TooManyRedirects):
        words = f"more than {MAX_REDIRECTS} redirects"
    else:
        words = reason_of(lost)
    return Answer(error=printable(words)[:MAX_ERROR], may_pass=not isinstance(lost, HOPELESS))
