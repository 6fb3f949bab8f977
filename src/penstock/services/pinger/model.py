"""What goes into a pinger and what comes out of it."""

from dataclasses import dataclass
from datetime import datetime

from penstock.services.row_files import rfc3339

__all__ = ["PingResult", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A URL to ping, as it was given: it may still be none.

    Attributes:
        url: the text.
        line: its line in the file it came from, from 1; None when it came from elsewhere.
    """

    url: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class PingResult:
    """The row of one URL.

    Attributes:
        timestamp: when the last attempt began, UTC.
        url: as it was given, with U+FFFD for what cannot be printed.
        status: of the HTTP answer, after redirects; 0 when there was none, or not all of it.
        latency_ms: milliseconds of the last attempt, see the package; 0 when none was made.
        error: plain words when status is 0, else empty.
        attempts: requests made, 0 for what is no URL.
    """

    timestamp: datetime
    url: str
    status: int
    latency_ms: float
    error: str
    attempts: int

    @property
    def ok(self) -> bool:
        """Answered with a status below 400."""
        return 0 < self.status < 400

    @property
    def rfc3339(self) -> str:
        """The timestamp as text: UTC, milliseconds, `Z`."""
        return rfc3339(self.timestamp)
