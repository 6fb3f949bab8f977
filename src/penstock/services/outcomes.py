"""A sink that counts: how many of each outcome, and how long answers took."""

from collections import Counter
from math import ceil
from typing import Protocol

__all__ = ["Outcome", "Outcomes"]


class Outcome(Protocol):
    """What became of one URL or request.

    Attributes:
        ok: answered with a status below 400.
        status: of the HTTP answer, 0 when there was none.
        latency_ms: milliseconds that the answer took.
        error: plain words when status is 0, else empty.
        attempts: requests made.
        rfc3339: the moment of the last one, as text.
    """

    @property
    def ok(self) -> bool: ...  # noqa: D102 - told above, as are the others
    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def latency_ms(self) -> float: ...  # noqa: D102
    @property
    def error(self) -> str: ...  # noqa: D102
    @property
    def attempts(self) -> int: ...  # noqa: D102
    @property
    def rfc3339(self) -> str: ...  # noqa: D102


class Outcomes:
    """Counts results in memory that does not grow with them.

    Attributes:
        statuses: answers by HTTP status.
        errors: failures by their kind, the words before a colon.
        failed: results that are not ok: failures, and statuses from 400.
    """

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.failed = 0
        self._latencies: Counter[float] = Counter()  # by three digits: at most 900 for each power of ten

    def add(self, result: Outcome) -> None:
        """Counts one result."""
        self.failed += not result.ok
        if result.error:
            self.errors[result.error.partition(":")[0]] += 1
        else:
            self.statuses[result.status] += 1
            self._latencies[float(f"{result.latency_ms:.3g}")] += 1

    @property
    def total(self) -> int:
        """Results counted."""
        return self.statuses.total() + self.errors.total()

    def percentile_ms(self, share: float) -> float | None:
        """Milliseconds within which that share of the answers came (nearest rank), to three digits.

        Args:
            share: > 0 and <= 1; 0.99 for the 99th percentile.

        Returns:
            None when there was no answer.
        """
        rank = ceil(share * self._latencies.total())
        for latency in sorted(self._latencies):
            rank -= self._latencies[latency]
            if rank <= 0:
                return latency
        return None
