"""One target: its attempts, each with its redirects, tried again where that may help, and its row."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import pairwise
from typing import Protocol

from penstock.clock import NANOSECONDS, Clock, monotonic_ns
from penstock.probing.engine import Engine
from penstock.probing.exchange import Exchange
from penstock.probing.request import MAX_URL, InvalidRequest, InvalidUrl, Request
from penstock.services.pinger.assertions import Answer, Assertion
from penstock.services.pinger.model import Attempt, Hop, PingResult, Target, Verdict
from penstock.services.pinger.redirects import BadRedirect, next_request
from penstock.services.pinger.retry_budget import RetryBudget
from penstock.services.pinger.settings import CERTIFICATE_WARNING, Settings
from penstock.services.printable import printable
from penstock.services.retry_after import retry_after_seconds

__all__ = ["MAX_REDIRECTS", "PINNED", "HostLimiter", "Prober"]

MAX_REDIRECTS = 10
"""Redirects that are followed where any are."""

MAX_PREPARED = 1_024
"""Requests that are kept for the next ping of their target."""

MAX_PREPARED_BYTES = 64 << 20
"""Of their bodies together, where it is the run that says the body: each request holds its own."""

SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
"""Methods that do no more twice than once (RFC 9110, 9.2.2)."""

NOT_SENT = frozenset({"dns", "address", "connect", "proxy", "tls", "certificate"})
"""Failures before the request was sent."""

STAYS_SECURE = "redirects stay on https"

PINNED: ContextVar[tuple[str, str]] = ContextVar("PINNED", default=("", ""))
"""Host and address of the target that the running task pings; the address is empty for those of its name."""


class HostLimiter(Protocol):
    """Says when a host may be pinged again."""

    async def acquire_async(self, key: str, /) -> object:
        """Comes back when it may."""
        ...


class Prober:
    """Pings targets with one engine.

    Args:
        engine: makes the exchanges.
        settings: how.
        limiter: what `admit` asks; None for no limit.
        clock: returns monotonic nanoseconds, the engine's.
        now: returns the wall time in UTC.
        sleep: waits between attempts.

    Attributes:
        budget: of retries.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        *,
        limiter: HostLimiter | None = None,
        clock: Clock = monotonic_ns,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.limiter = limiter
        self.budget = RetryBudget(settings.retry_budget, max(10, settings.retries))
        self.clock = clock
        self.now = now
        self.sleep = sleep
        self._prepared: dict[int, Prepared] = {}
        self._most_prepared = min(MAX_PREPARED, MAX_PREPARED_BYTES // max(len(settings.body), 1))

    async def admit(self, target: Target) -> None:
        """Comes back when the host of a target may be pinged."""
        if self.limiter is not None:
            request = self._prepare(target).request
            if request is not None:
                await self.limiter.acquire_async(request.host)

    async def ping(self, target: Target, due: int | None = None, number: int = 1) -> PingResult:
        """The row of one ping; no failure of its server raises.

        Args:
            target: what to ping.
            due: monotonic nanoseconds at which it was to start; None for now.
            number: which ping of the target it is.
        """
        prepared = self._prepare(target)
        request = prepared.request
        if request is None:
            return self._refused(prepared, number)
        if target.address or PINNED.get()[1]:
            PINNED.set((request.host, target.address))
        start = self.clock()
        self.budget.ping(request.host)
        tries = await self._tries(request, prepared)
        return self._row(prepared, number, start, due, tries)

    def _prepare(self, target: Target) -> "Prepared":
        prepared = self._prepared.get(id(target))
        if prepared is None:
            if len(self._prepared) >= self._most_prepared:
                self._prepared.clear()
            # It holds the target: nothing else can come to have its id.
            prepared = self._prepared[id(target)] = Prepared(target, self.settings)
        return prepared

    def _refused(self, prepared: "Prepared", number: int) -> PingResult:
        target = prepared.target
        error, method = prepared.fault, target.method or self.settings.method
        return PingResult(
            self.now(),
            prepared.shown,
            0,
            0.0,
            error,
            0,
            target.name,
            method,
            target.line,
            target.labels,
            number,
        )

    async def _tries(self, request: Request, prepared: "Prepared") -> tuple[Attempt, ...]:
        tries: tuple[Attempt, ...] = ()
        while True:
            tries += (await self._attempt(request, prepared.timeout),)
            failed = tries[-1]
            if len(tries) > self.settings.retries or not prepared.may_be_repeated(failed):
                return tries
            pause = self._pause(len(tries), failed)
            if pause is None or not self.budget.retry(request.host):
                return tries
            for hop in failed.hops:
                forget(hop.exchange)
            await self.sleep(pause)

    async def _attempt(self, request: Request, timeout: float) -> Attempt:  # noqa: ASYNC109 - the engine's
        left, hops = timeout, []
        while True:
            exchange = await self.engine.exchange(request, left)
            hops.append(Hop(request.url, exchange))
            if not exchange.status or not self.settings.follow:
                return ended(hops, exchange.error, exchange.failure, left, timeout)
            try:
                follower = next_request(request, exchange)
            except BadRedirect as why:
                return Attempt(tuple(hops), 0, str(why))
            if follower is None:
                return Attempt(tuple(hops), exchange.status, "")
            if len(hops) > MAX_REDIRECTS:
                return Attempt(tuple(hops), 0, f"more than {MAX_REDIRECTS} redirects")
            left -= exchange.phases.total / NANOSECONDS
            if left <= 0:
                return Attempt(tuple(hops), 0, f"timed out after {timeout:g} s following redirects")
            forget(exchange)
            request = follower

    def _pause(self, failures: int, failed: Attempt) -> float | None:
        """Seconds until the next attempt; None where the server wants none within the longest pause."""
        backoff, last = self.settings.backoff, failed.hops[-1].exchange
        asked = retry_after_seconds(last.header("retry-after"), self.now()) if last.status else None
        if asked is not None and asked > backoff.limit:
            return None
        return max(backoff.delay(failures), asked or 0.0)

    def _row(
        self, prepared: "Prepared", number: int, start: int, due: int | None, tries: tuple[Attempt, ...]
    ) -> PingResult:
        target, attempt = prepared.target, tries[-1]
        first, last = attempt.hops[0].exchange, attempt.hops[-1].exchange
        ended_at = last.began + last.queued + last.phases.total
        latency = max(ended_at - first.began - queued(attempt), 0)
        if due is None:  # in a closed loop, what we held back ourselves was not due yet
            due = start + sum(map(queued, tries))
        total = max(ended_at - due, 0)
        verdicts = self._verdicts(prepared, attempt, latency, total) if attempt.status else ()
        return PingResult(
            datetime.fromtimestamp(first.started_at / NANOSECONDS, UTC),
            prepared.shown,
            attempt.status,
            latency / 1e6,
            attempt.error,
            len(tries),
            target.name,
            prepared.method,
            target.line,
            target.labels,
            number,
            total,
            max(tries[0].hops[0].exchange.began - due, 0),
            tries,
            verdicts,
            prepared.status_asserted,
            target.address,
        )

    def _verdicts(
        self, prepared: "Prepared", attempt: Attempt, latency: int, total: int
    ) -> tuple[Verdict, ...]:
        last = attempt.hops[-1].exchange
        if not prepared.assertions and last.tls is None and len(attempt.hops) == 1:
            return ()
        answer = Answer(attempt.hops, latency, total, last.started_at / NANOSECONDS)
        verdicts = [assertion.judge(answer) for assertion in prepared.assertions]
        if last.tls is not None and last.tls.not_after is not None and not prepared.certificate_asserted:
            verdicts.append(CERTIFICATE_WARNING.judge(answer))
        if left_https(attempt.hops):
            verdicts.append(Verdict(STAYS_SECURE, "warn", f"got {printable(attempt.hops[-1].url)[:100]}"))
        return tuple(verdicts)


class Prepared:
    """A target, and what all pings of it share.

    Attributes:
        target: as it was given.
        shown: its URL, printable.
        request: to send; None when it is no target.
        fault: why it is none, in plain words.
        timeout: seconds for one attempt.
        assertions: on each answer, the run's and its own.
        status_asserted: whether one of them is on the status.
        certificate_asserted: whether one of them is on the certificate.
    """

    __slots__ = (
        "assertions",
        "certificate_asserted",
        "fault",
        "method",
        "request",
        "shown",
        "status_asserted",
        "target",
        "timeout",
    )

    def __init__(self, target: Target, settings: Settings) -> None:
        self.target = target
        self.shown = printable(target.url[:MAX_URL])
        self.method = target.method or settings.method
        self.timeout = target.timeout or settings.timeout
        self.assertions = tuple(judged_by(settings.assertions, target.assertions))
        self.status_asserted = any(assertion.name == "status" for assertion in self.assertions)
        self.certificate_asserted = any(assertion.name == "cert" for assertion in self.assertions)
        self.fault = ""
        self.request: Request | None = None
        try:
            self.request = self._request(settings)
        except InvalidUrl as why:
            self.fault = self._in_words(f"invalid URL: {why}")
        except InvalidRequest as why:
            self.fault = self._in_words(f"invalid request: {why}")

    def may_be_repeated(self, attempt: Attempt) -> bool:
        """Whether another attempt may go better, and is harmless."""
        last: Exchange = attempt.hops[-1].exchange
        if attempt.status:
            if attempt.status != 429 and attempt.status < 500:
                return False
            if self._is_as_asserted(last):
                return False
        elif not last.may_pass or last.status:  # a redirect that leads nowhere will do so again
            return False
        return self.method in SAFE_TO_REPEAT or attempt.status == 429 or last.failure in NOT_SENT

    def _is_as_asserted(self, last: Exchange) -> bool:
        on_status = [assertion for assertion in self.assertions if assertion.name == "status"]
        return bool(on_status) and all(assertion.holds(last.status) for assertion in on_status)

    def _request(self, settings: Settings) -> Request:
        target = self.target
        own = {name.lower() for name, _ in target.headers}
        general = [field for field in settings.headers if field[0].lower() not in own]
        needs_body = any(assertion.needs == "body" for assertion in self.assertions)
        return Request(
            target.url,
            method=self.method,
            headers=[*general, *target.headers],
            body=settings.body if target.body is None else target.body,
            keep_alive=settings.keep_alive,
            keep_body=settings.max_body if needs_body else 0,
            max_body=settings.max_body,
        )

    def _in_words(self, fault: str) -> str:
        line = self.target.line
        return printable(fault if line is None else f"{fault} (line {line})")


def forget(exchange: Exchange) -> None:
    """Lets go of what a server could make large, where another request follows."""
    exchange.head = exchange.body = b""


def queued(attempt: Attempt) -> int:
    """Nanoseconds that its requests waited for their turn to connect."""
    return sum(hop.exchange.queued for hop in attempt.hops)


def judged_by(general: tuple[Assertion, ...], own: tuple[Assertion, ...]) -> list[Assertion]:
    """The assertions on an answer: its own, and the run's on what its own say nothing of."""
    subjects = {(assertion.name, assertion.key) for assertion in own}
    both = [a for a in general if (a.name, a.key) not in subjects] + list(own)
    return [assertion for assertion in both if not assertion.of_run]


def ended(hops: list[Hop], error: str, failure: str, left: float, timeout: float) -> Attempt:
    """An attempt whose last exchange ended it; its words tell the time of the whole attempt."""
    status = hops[-1].exchange.status
    if failure == "timeout" and left != timeout:
        error = error.replace(f"after {left:g} s", f"after {timeout:g} s", 1)
    return Attempt(tuple(hops), status, error)


def left_https(hops: tuple[Hop, ...]) -> bool:
    return any(
        here.url.startswith("https:") and there.url.startswith("http:") for here, there in pairwise(hops)
    )
