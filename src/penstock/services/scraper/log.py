"""A log of what happens in a crawl: a JSON object a line, for machines and for `jq`."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from penstock.services.printable import one_line
from penstock.services.row_files import rfc3339
from penstock.services.scraper.model import CrawlEvent

__all__ = ["JsonLog", "event_members"]

MAX_URL = 2_000
MAX_WORDS = 500

WARNINGS = frozenset(
    ("failed", "given up", "host given up", "held back", "retry", "trap", "limit", "interrupted")
)


class JsonLog:
    """Writes an object for each event: time, level, event, and what is known of it.

    Args:
        file: open for writing bytes; closed at the end of the context unless told otherwise.
        keep_open: leaves it open.
        now: returns the wall time in UTC.

    Raises:
        OSError: the file cannot be written, in write().
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        keep_open: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._file = file
        self._keep_open = keep_open
        self._now = now
        self._encoder = msgspec.json.Encoder()

    def write(self, event: CrawlEvent) -> None:
        """Appends one line, whole: two processes may append to one file."""
        line = {"time": rfc3339(self._now())} | event_members(event)
        self._file.write(self._encoder.encode(line) + b"\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._keep_open:
            with suppress(OSError):  # what could not be written has been told
                self._file.close()


def event_members(event: CrawlEvent) -> dict[str, object]:
    """What there is to say of an event; what is not known is left out.

    Every text is printable and bounded, whatever a server made of it.
    """
    members: dict[str, object] = {
        "level": "warning" if event.kind in WARNINGS or event.status >= 400 else "info",
        "event": event.kind,
    }
    known = {
        "url": one_line(event.url, MAX_URL),
        "words": one_line(event.words, MAX_WORDS),
        "status": event.status,
        "seconds": round(event.seconds, 6),
        "bytes": event.length,
        "attempt": event.attempt,
        "depth": event.depth,
    }
    return members | {name: value for name, value in known.items() if value}
