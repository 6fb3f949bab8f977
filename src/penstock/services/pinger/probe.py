"""One URL: a GET with a timeout, tried again where that may help, and its failure in plain words."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
from yarl import URL

import penstock
from penstock.clock import Clock, monotonic_ns
from penstock.errors import PenstockError
from penstock.resilience import ExponentialBackoff
from penstock.services.http_client import reason_of, retry_after_seconds
from penstock.services.http_url import MAX_URL, InvalidUrl, checked_url
from penstock.services.pinger.model import PingResult, Target
from penstock.services.printable import printable

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
                status, retry_after = response.status, response.headers.get("Retry-After")
        except Exception as error:
            return failure(error, self.timeout)
        if status != 429 and status < 500:
            return Answer(status)
        return Answer(status, may_pass=True, retry_after=retry_after_seconds(retry_after, self.now()) or 0.0)

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
