"""What goes into a pinger and what comes out of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from penstock.probing.exchange import Exchange
from penstock.services.row_files import rfc3339

if TYPE_CHECKING:
    from penstock.services.pinger.assertions import Assertion

__all__ = ["Attempt", "Hop", "PingResult", "Severity", "State", "Target", "Verdict"]

Severity = Literal["ok", "warn", "fail"]
"""How bad a broken assertion is."""

State = Literal["ok", "warned", "recovered", "failed"]
"""What became of a ping: `recovered` failed at first and was good on a later attempt."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL to ping, as it was given: it may still be none.

    Attributes:
        url: the text.
        line: its line in the file it came from, from 1; None when it came from elsewhere.
        name: what people call it; empty for its URL.
        method: of the request, in capitals; None for that of the run.
        headers: names and values, besides those of the run, whose equals they replace.
        body: of the request; None for that of the run.
        timeout: seconds for one attempt; None for that of the run.
        interval: seconds from one ping to the next; None for that of the run.
        assertions: that must hold, besides those of the run.
        labels: names and values, for reports.
        address: the IP address to connect to; empty for those of its name.
    """

    url: str
    line: int | None = None
    name: str = ""
    method: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    timeout: float | None = None
    interval: float | None = None
    assertions: "tuple[Assertion, ...]" = ()
    labels: tuple[tuple[str, str], ...] = ()
    address: str = ""


class Hop(NamedTuple):
    """One request of an attempt and what came of it: the first, or one that a redirect led to."""

    url: str
    exchange: Exchange


class Attempt(NamedTuple):
    """One attempt: its requests, which are one and one more for each redirect, and what came of it."""

    hops: tuple[Hop, ...]
    status: int
    """Of the last answer; 0 when there was none, or not all of it, or a redirect led nowhere."""
    error: str
    """Plain words when status is 0, else empty."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an assertion says of one answer, or of a run.

    Attributes:
        assertion: as it was written.
        severity: `ok` when it holds.
        found: what there was instead; empty when it holds.
    """

    assertion: str
    severity: Severity
    found: str = ""

    def __str__(self) -> str:
        return f"{self.assertion}: {self.found}" if self.found else self.assertion


@dataclass(frozen=True, slots=True)
class PingResult:
    """The row of one ping.

    Attributes:
        timestamp: when the last attempt began, UTC.
        url: as it was given, with U+FFFD for what cannot be printed.
        status: of the HTTP answer, after redirects; 0 when there was none, or not all of it.
        latency_ms: milliseconds of the last attempt, see the package; 0 when none was made.
        error: plain words when status is 0, else empty.
        attempts: how many were made, 0 for what is no URL.
        name: the target's, or empty.
        method: of the first request.
        line: the target's.
        labels: the target's.
        number: which ping of this target it is in the run, from 1.
        total: nanoseconds from the moment when it was due to its last byte: waiting for a slot, every attempt
            and the pauses between them are in it.
        late: nanoseconds from that moment to its first attempt.
        tries: every attempt, the last one last.
        verdicts: of the assertions on this answer; none when there was no answer.
        status_asserted: whether an assertion judged the status, so that one from 400 may be good.
        pinned: the IP address that its target asked for; empty where any of its name would do.
    """

    timestamp: datetime
    url: str
    status: int
    latency_ms: float
    error: str
    attempts: int
    name: str = ""
    method: str = "GET"
    line: int | None = None
    labels: tuple[tuple[str, str], ...] = ()
    number: int = 1
    total: int = 0
    late: int = 0
    tries: tuple[Attempt, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    status_asserted: bool = False
    pinned: str = ""

    @property
    def ok(self) -> bool:
        """Answered with a status below 400, or with one that was asserted, and no assertion failed."""
        if not self.status or self.severity == "fail":
            return False
        return self.status < 400 or self.status_asserted

    @property
    def severity(self) -> Severity:
        """The worst of the verdicts."""
        found = {verdict.severity for verdict in self.verdicts}
        return "fail" if "fail" in found else "warn" if "warn" in found else "ok"

    @property
    def state(self) -> State:
        """What became of it, in one word."""
        if not self.ok:
            return "failed"
        if self.attempts > 1:
            return "recovered"
        return "warned" if self.severity == "warn" else "ok"

    @property
    def why(self) -> str:
        """Why it is not simply good: its error, or the assertions that do not hold; empty when it is."""
        broken = (str(verdict) for verdict in self.verdicts if verdict.severity != "ok")
        return self.error or "; ".join(broken)

    @property
    def title(self) -> str:
        """What people call it: the target's name, or the URL; and its address where each is pinged."""
        title = self.name or self.url
        return f"{title} at {self.pinned}" if self.pinned else title

    @property
    def address(self) -> str:
        """The IP address that was connected to, or should have been; empty when none is known."""
        return (self.last.address if self.last else "") or self.pinned

    @property
    def hops(self) -> tuple[Hop, ...]:
        """Of the last attempt: its requests, redirects included; none when none was made."""
        return self.tries[-1].hops if self.tries else ()

    @property
    def last(self) -> Exchange | None:
        """The last request of the last attempt and what came of it; None when none was made."""
        return self.hops[-1].exchange if self.hops else None

    @property
    def service(self) -> int:
        """Nanoseconds from sending to the last byte, of the last attempt, all its requests added up."""
        return sum(hop.exchange.phases.service for hop in self.hops)

    @property
    def ttfb(self) -> int:
        """Nanoseconds from sending to the first byte, of the last request of the last attempt."""
        return self.last.phases.wait if self.last else 0

    @property
    def rfc3339(self) -> str:
        """The timestamp as text: UTC, milliseconds, `Z`."""
        return rfc3339(self.timestamp)
