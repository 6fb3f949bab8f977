"""One request: its turn, its attempts, its row."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace

import aiohttp

from penstock.clock import Clock, checked_clock
from penstock.resilience import ExponentialBackoff
from penstock.services.caller.flow import Flow
from penstock.services.caller.model import BadLine, Call, Request
from penstock.services.caller.pace import Gate, Pace
from penstock.services.caller.request_file import merged
from penstock.services.http_attempt import Answer, attempt
from penstock.services.printable import printable

__all__ = ["Caller", "before_sending"]

MAX_RETRY_AFTER = 300.0  # seconds; a server may not make us wait for ever

SAFE_TO_REPEAT = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")
"""Methods that do no more twice than once (RFC 9110, 9.2.2)."""


def before_sending() -> aiohttp.TraceConfig:
    """The hook by which a session asks the second gate; aiohttp awaits it before it writes the head."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(pass_gate)
    return trace


async def pass_gate(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    await context.trace_request_ctx.pass_gate()


class Caller:
    """Sends requests over one session, at a pace.

    Args:
        session: see open_session of http_attempt; with before_sending() among its traces.
        pace: when a request may be sent.
        flow: is told what happens.
        timeout: seconds for one attempt, waits for the limit not included, > 0.
        retries: further attempts, see `call`.
        backoff: seconds between attempts; a Retry-After is kept, up to five minutes.
        headers: of all requests.
        clock: returns int nanoseconds; None for the monotonic clock of the system.
        now: returns the wall time in UTC.
        sleep: waits between attempts.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        pace: Pace,
        flow: Flow,
        *,
        timeout: float,
        retries: int,
        backoff: ExponentialBackoff,
        headers: Mapping[str, str],
        clock: Clock | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.session = session
        self.pace = pace
        self.flow = flow
        self.timeout = timeout
        self.retries = retries
        self.backoff = backoff
        self.headers = headers
        self.clock = checked_clock(clock)
        self.now = now
        self.sleep = sleep

    async def call(self, request: Request | BadLine) -> Call:
        """The row of one request; no failure of its server raises.

        It is tried again after no answer, 429 and 5xx. A POST or PATCH might then be done twice, so it is
        tried again only where the server has said that it did nothing (429), or nothing was sent.
        """
        if isinstance(request, BadLine):
            why = printable(f"bad line: {request.why}")
            return Call(request.line, "", "", "", 0, 0.0, 0.0, self.now(), None, 0, 0, why)
        with self.flow.during("busy"):
            return await self._call(request)

    async def _call(self, request: Request) -> Call:
        waited = 0
        for attempts in range(1, self.retries + 2):
            waited += await self.wait_at(self.pace.turn)
            sending = Sending(self)
            began, start = self.now(), self.clock()
            answer = await attempt(
                self._exchange(request, sending), self.timeout, self.now, deadline=sending.deadline
            )
            elapsed = self.clock() - start - sending.waited
            waited += sending.waited
            if attempts > self.retries or not may_be_repeated(request, answer, sending):
                break
            with self.flow.during("pausing"):
                await self.sleep(max(self.backoff.delay(attempts), min(answer.retry_after, MAX_RETRY_AFTER)))
        return Call(
            line=request.line,
            label=request.label,
            method=request.method,
            url=request.url,
            status=answer.status,
            latency_ms=elapsed / 1e6,
            waited_ms=waited / 1e6,
            began_at=began,
            sent_at=sending.sent_at,
            attempts=attempts,
            size=answer.size,
            error=answer.error,
        )

    def _exchange(self, request: Request, sending: "Sending") -> aiohttp.client._RequestContextManager:
        headers = merged(self.headers, request.headers)
        if request.body_type and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = request.body_type
        return self.session.request(
            request.method,
            request.target,
            headers=headers,
            data=request.body,
            allow_redirects=False,
            skip_auto_headers=("Content-Type",),
            trace_request_ctx=sending,
        )

    async def wait_at(self, gate: Gate) -> int:
        """Passes a gate; returns the nanoseconds that it took."""
        start = self.clock()
        with self.flow.during("waiting"):
            await gate()
        return self.clock() - start


class Sending:
    """One attempt on its way.

    Attributes:
        deadline: of the attempt; stands still at the gate.
        waited: nanoseconds at the gate.
        sent_at: when the first byte was sent, UTC; None before.
    """

    def __init__(self, caller: Caller) -> None:
        self.deadline = asyncio.timeout(caller.timeout)
        self.waited = 0
        self.sent_at: datetime | None = None
        self._caller = caller

    async def pass_gate(self) -> None:
        """Waits until the request may be sent; the caller of this sends it at once."""
        loop, ends = asyncio.get_running_loop(), self.deadline.when()
        assert ends is not None
        left = ends - loop.time()
        self.deadline.reschedule(None)
        self.waited = await self._caller.wait_at(self._caller.pace.send)
        self.deadline.reschedule(loop.time() + left)
        self.sent_at = self._caller.now()
        self._caller.flow.count_sent()


def may_be_repeated(request: Request, answer: Answer, sending: Sending) -> bool:
    if not answer.may_pass:
        return False
    return request.method in SAFE_TO_REPEAT or answer.status == 429 or sending.sent_at is None
