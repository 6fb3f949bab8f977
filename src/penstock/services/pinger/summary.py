"""A sink that counts: how many of each outcome, and how long answers took."""

from collections import Counter
from math import ceil

from penstock.services.pinger.model import PingResult

__all__ = ["Summary"]


class Summary:
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

    def add(self, result: PingResult) -> None:
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
