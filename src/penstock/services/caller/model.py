"""What goes into a caller and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from yarl import URL

from penstock.services.row_files import rfc3339

__all__ = ["BadLine", "Call", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to send.

    Attributes:
        method: in capitals.
        url: as it was given, printable.
        target: the same, parsed.
        headers: its own; they go before those of all requests.
        body: None for none.
        body_type: the Content-Type, where no header says another.
        label: what its row is called, or empty.
        line: in the file it came from, from 1; None when it came from elsewhere.
    """

    method: str
    url: str
    target: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    body_type: str = ""
    label: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no request, and why."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Call:
    """The row of one request.

    Attributes:
        line: in the file; None when it came from elsewhere.
        label: the request's, or empty.
        method: empty for a line that is no request.
        url: as it was given; empty for a line that is no request.
        status: of the HTTP answer; 0 when there was none, or not all of it.
        latency_ms: milliseconds of the last attempt, from connecting to the last byte, without the wait.
        waited_ms: milliseconds that the limit held it back, over all attempts.
        began_at: when the last attempt began, UTC.
        sent_at: when its first byte was sent, UTC; None when none was.
        attempts: made; 0 for a line that is no request.
        size: bytes of the body that were read in the last attempt.
        error: plain words when status is 0, else empty.
    """

    line: int | None
    label: str
    method: str
    url: str
    status: int
    latency_ms: float
    waited_ms: float
    began_at: datetime
    sent_at: datetime | None
    attempts: int
    size: int
    error: str

    @property
    def ok(self) -> bool:
        """Answered with a status below 400."""
        return 0 < self.status < 400

    @property
    def rfc3339(self) -> str:
        """The moment of the last attempt as text: UTC, milliseconds, `Z`."""
        return rfc3339(self.sent_at or self.began_at)
