"""An engine without a network: it answers as it is told, and moves a manual clock by what that takes."""

import asyncio
from collections import Counter

from penstock.probing.exchange import Exchange, Phases
from virtual_time import VirtualTimeLoop

MS = 1_000_000


def answer_of(status=200, *, headers=(), body=b"", facts=None, wait=10, queued=0, **phases):
    """An exchange with an answer; phases in milliseconds."""
    spent = {name: value * MS for name, value in {"wait": wait, **phases}.items()}
    head = "\r\n".join(
        [f"HTTP/1.1 {status} Because", *(f"{name}: {value}" for name, value in headers), "", ""]
    )
    return Exchange(
        status=status,
        head=head.encode("latin-1"),
        body=body,
        size=len(body),
        address="192.0.2.1",
        tls=facts,
        queued=queued * MS,
        phases=Phases(**spent, total=sum(spent.values())),
    )


def failure_of(failure, error, *, may_pass=True, total=10):
    """An exchange without an answer."""
    return Exchange(failure=failure, error=error, may_pass=may_pass, phases=Phases(total=total * MS))


class FakeEngine:
    """Answers each request with what `answer` returns for it.

    Attributes:
        requests: that it was given, in order.
        timeouts: of each.
        most: in progress at once.
    """

    name = "fake"

    def __init__(self, clock, answer=lambda request: answer_of()):
        self.clock = clock
        self.answer = answer
        self.requests = []
        self.timeouts = []
        self.most = self.now = 0
        self.closed = False

    async def exchange(self, request, timeout):  # noqa: ASYNC109
        self.requests.append(request)
        self.timeouts.append(timeout)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            exchange = self.answer(request)
            exchange.began = self.clock()
            exchange.started_at = 1_736_510_400_000_000_000 + self.clock()  # 2025-01-10 12:00
            await self._pass(exchange.queued + exchange.phases.total)
            return exchange
        finally:
            self.now -= 1

    async def _pass(self, nanoseconds):
        if isinstance(asyncio.get_running_loop(), VirtualTimeLoop):
            await asyncio.sleep(nanoseconds / 1e9)
        else:
            self.clock.now += nanoseconds

    async def aclose(self):
        self.closed = True

    @property
    def asked(self):
        """How often each URL was asked for."""
        return Counter(request.url for request in self.requests)
