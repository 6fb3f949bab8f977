"""One URL: a GET with a timeout, tried again where that may help, and its failure in plain words."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from penstock.clock import Clock, monotonic_ns
from penstock.resilience import ExponentialBackoff
from penstock.services.http_attempt import MAX_REDIRECTS, Answer, attempt
from penstock.services.http_url import MAX_URL, InvalidUrl, checked_url
from penstock.services.pinger.model import PingResult, Target
from penstock.services.printable import printable

__all__ = ["Prober"]


class Prober:
    """Pings URLs over one session.

    Args:
        session: see open_session of http_attempt.
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
        for attempts in range(1, self.retries + 2):
            began, start = self.now(), self.clock()
            answer = await self._attempt(url)
            elapsed = self.clock() - start
            if not answer.may_pass or attempts > self.retries:
                break
            await self.sleep(self._pause(attempts, answer))
        return PingResult(began, shown, answer.status, elapsed / 1e6, answer.error, attempts)

    async def _attempt(self, url: URL) -> Answer:
        return await attempt(self.session.get(url, max_redirects=MAX_REDIRECTS + 1), self.timeout, self.now)

    def _pause(self, failures: int, answer: Answer) -> float:
        return max(self.backoff.delay(failures), min(answer.retry_after, self.backoff.limit))
