"""One URL: a GET with a timeout, tried again where that may help, and its failure in plain words."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

import penstock
from penstock.clock import Clock, monotonic_ns
from penstock.errors import PenstockError
from penstock.resilience import ExponentialBackoff
from penstock.services.pinger.model import PingResult, Target, printable
from penstock.services.pinger.targets import MAX_URL, InvalidUrl, checked_url

__all__ = ["MAX_BODY_BYTES", "MAX_REDIRECTS", "Prober", "open_session"]

MAX_BODY_BYTES = 1_048_576
"""Bytes of a body that are read; a longer one is left there and counts as answered."""

MAX_REDIRECTS = 10
"""Redirects that are followed."""

MAX_ERROR = 200
"""Characters of an error's words."""

DNS_TTL = 60


def open_session(concurrency: int) -> aiohttp.ClientSession:
    """A session for so many probes at once; the caller closes it.

    Bodies are not decompressed, cookies not kept, proxies and .netrc of the environment not used: a row
    is about the URL's own server. Connections are not kept: see the package for what latency means, and
    aiohttp has no bound on idle ones, so a list of 10,000 hosts would run out of file descriptors.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency, force_close=True, ttl_dns_cache=DNS_TTL),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # Prober has a finer one
        headers={"User-Agent": f"penstock/{penstock.__version__}"},
        middlewares=(send_once,),
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt: a status, or 0 and an error."""

    status: int = 0
    error: str = ""
    may_pass: bool = False  # another attempt may go better
    retry_after: float = 0.0  # seconds that the server asks for


class Prober:
    """Pings URLs over one session.

    Args:
        session: see open_session.
        timeout: seconds for one attempt, redirects and body included, > 0.
        retries: further attempts after one that got no answer, or 429, or 5xx.
        backoff: seconds between attempts; a server's Retry-After is kept, up to the same limit.
        clock: returns monotonic nanoseconds.
        now: returns the wall time in UTC.
        sleep: waits between attempts.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout: float,
        retries: int,
        backoff: ExponentialBackoff,
        clock: Clock = monotonic_ns,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.session = session
        self.timeout = timeout
        self.retries = retries
        self.backoff = backoff
        self.clock = clock
        self.now = now
        self.sleep = sleep

    async def ping(self, target: Target) -> PingResult:
        """The row of one target; no failure of its server raises."""
        shown = printable(target.url[:MAX_URL])
        try:
            url = checked_url(target.url)
        except InvalidUrl as why:
            place = "" if target.line is None else f" (line {target.line})"
            return PingResult(self.now(), shown, 0, 0.0, printable(f"invalid URL: {why}{place}"), 0)
        for attempt in range(1, self.retries + 2):
            began, start = self.now(), self.clock()
            answer = await self._attempt(url)
            elapsed = self.clock() - start
            if not answer.may_pass or attempt > self.retries:
                break
            await self.sleep(self._pause(attempt, answer))
        return PingResult(began, shown, answer.status, elapsed / 1e6, answer.error, attempt)

    async def _attempt(self, url: URL) -> Answer:
        try:
            async with (
                asyncio.timeout(self.timeout),
                self.session.get(url, max_redirects=MAX_REDIRECTS + 1) as response,
            ):
                await read_body(response)
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except Exception as error:
            return failure(error, self.timeout)
        again = status == 429 or status >= 500
        return Answer(status, may_pass=again, retry_after=seconds(retry_after, self.now()) if again else 0.0)

    def _pause(self, failures: int, answer: Answer) -> float:
        return max(self.backoff.delay(failures), min(answer.retry_after, self.backoff.limit))


async def read_body(response: aiohttp.ClientResponse) -> None:
    """Reads to the end of the body, or its first MAX_BODY_BYTES and hangs up."""
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        if size >= MAX_BODY_BYTES:
            response.close()
            return


def seconds(retry_after: str, now: datetime) -> float:
    """Seconds that a Retry-After header asks for, number or date (RFC 9110, 10.2.3); else 0."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - now).total_seconds())
    except (ValueError, TypeError):  # no date; a date without a zone
        return 0.0


class NotSentAgain(PenstockError, aiohttp.ClientError, ConnectionError):
    """Wraps a lost connection, which aiohttp would answer with a second, uncounted GET."""


async def send_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Middleware that makes one attempt one request: retries are the Prober's, and counted."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise  # not sent at all, and not sent again
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise NotSentAgain from error


ERRNO_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "connection timed out",
    errno.EMFILE: "too many open files: lower the concurrency or raise `ulimit -n`",
}


def failure(error: Exception, timeout: float) -> Answer:
    """An exception of an attempt, in words for people who do not know aiohttp."""
    lost = error.__cause__ if isinstance(error, NotSentAgain) else error
    words, may_pass = explain(lost, timeout)
    return Answer(error=printable(words)[:MAX_ERROR], may_pass=may_pass)


def explain(error: BaseException | None, timeout: float) -> tuple[str, bool]:
    """Words for an exception, and whether another attempt may go better."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"name not resolved: {error.host}", True
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", error.certificate_error)
            return f"certificate refused: {reason}", False
        case aiohttp.ClientSSLError():
            return f"TLS failed: {error.os_error.strerror or error.os_error}", True
        case aiohttp.TooManyRedirects():
            return f"more than {MAX_REDIRECTS} redirects", False
        case aiohttp.RedirectClientError():
            return f"redirected to what is no http URL: {error}", False
        case aiohttp.ServerDisconnectedError():
            return "connection closed without an answer", True
        case aiohttp.ClientPayloadError():
            return "answer cut short", True
        case aiohttp.ClientResponseError():
            return "not a valid HTTP answer", True
        case OSError(errno=int(number)):
            return ERRNO_WORDS.get(number) or os.strerror(number).lower(), True
        case TimeoutError():
            return f"timed out after {timeout:g} s", True
        case UnicodeError():  # the idna codec, on a host such as a..b
            return "name not resolved: not a host name", False
        case _:
            return f"{type(error).__name__}: {error}", True
