"""What follows from an analyzer's answer: delivered, tried again and when, given up, or sent in halves.

Pure logic. An answer of 2xx names the packets that failed. Any other, or none, is about the delivery as a
whole: a refusal of several packets may be about one of them, so they are sent again in halves, at once and
without using up an attempt, until the one at fault is alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import random as random_fraction
from typing import Literal

from penstock.resilience import ExponentialBackoff
from penstock.services.distributor.carrier import DeliveryFailed, PacketFailure
from penstock.services.distributor.change import Change, DeadLetter, Retry, Stored
from penstock.services.distributor.config import Config

__all__ = ["LONGEST_RETRY_AFTER", "DeliveryPolicy", "Verdict"]

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds that an analyzer's Retry-After counts at the most."""
ABOUT_THE_ANALYZER = frozenset({401, 402, 403, 404, 405, 407, 410, 421, 426})
"""Refusals that say something of where the packets were sent, not of what is in them."""
OVERLOADED = frozenset({408, 429, 503, 504})
TOO_LARGE = 413


@dataclass(slots=True)
class Verdict:
    """What follows from a delivery that failed as a whole."""

    change: Change | None = None
    """What happened to the packets; None when they are to be sent again in `halves`."""
    halves: list[list[Stored]] = field(default_factory=list)
    counts_against: bool = False
    """Whether it is an error of the analyzer, of which so many in a row mark it down."""
    left_alone: float = 0.0
    """Seconds for which the analyzer asked to be sent nothing."""
    pace: Literal["timeout", "refused", "overloaded", "error", "too_large", ""] = ""
    """What its pace has to know."""


class DeliveryPolicy:
    """Says what follows from answers.

    Args:
        config: the settings.
        random: returns a float in [0, 1); only asked when there is jitter.
    """

    def __init__(self, config: Config, random: Callable[[], float] = random_fraction) -> None:
        self._max_attempts = config.max_attempts
        self._again = frozenset(config.retry_statuses)
        self._jitter = config.retry_jitter
        self._backoff = ExponentialBackoff(
            config.retry_first, limit=max(config.retry_first, config.retry_limit)
        )
        self._random = random

    @property
    def longest_wait(self) -> float:
        """The longest that a packet waits when no analyzer asked for more, in seconds."""
        return self._backoff.limit

    def answered(
        self, analyzer: str, batch: Sequence[Stored], failures: Mapping[str, PacketFailure], now_ms: int
    ) -> Change:
        """What happened to the packets of a delivery that was answered.

        Args:
            analyzer: who answered.
            batch: what was delivered.
            failures: of those that failed, by the id of the packet.
            now_ms: unix time.
        """
        change = Change()
        if failures:
            for packet in batch:
                if (failure := failures.get(packet.id)) is None:
                    change.delivered.append(packet)
                else:
                    self._failed(change, analyzer, packet, failure, now_ms)
        else:
            change.delivered = list(batch)
        count(change, analyzer)
        return change

    def failed(
        self,
        analyzer: str,
        batch: Sequence[Stored],
        error: DeliveryFailed,
        now_ms: int,
        *,
        took_its_time: bool = False,
    ) -> Verdict:
        """What follows from a delivery that failed as a whole.

        Args:
            analyzer: who failed it.
            batch: what was to be delivered.
            error: why it failed.
            now_ms: unix time.
            took_its_time: whether the time ran out.
        """
        status, asked = error.status, bounded(error.retry_after)
        verdict = Verdict(pace=pace_of(status, took_its_time))
        if self._is_refusal(status):
            verdict.counts_against = status in ABOUT_THE_ANALYZER
            if len(batch) > 1:
                verdict.counts_against = False
                middle = len(batch) // 2
                verdict.halves = [list(batch[:middle]), list(batch[middle:])]
                return verdict
        else:
            verdict.left_alone = asked if status in (429, 503) else 0.0
            verdict.counts_against = status != 429 and not verdict.left_alone
        failure = PacketFailure(str(error), status, asked or None)
        verdict.change = change = Change()
        for packet in batch:
            self._failed(change, analyzer, packet, failure, now_ms)
        count(change, analyzer)
        return verdict

    def _is_refusal(self, status: int | None) -> bool:
        """Whether sending the same again cannot help."""
        return status is not None and 400 <= status < 500 and status not in self._again

    def _failed(
        self, change: Change, analyzer: str, packet: Stored, failure: PacketFailure, now_ms: int
    ) -> None:
        is_last = packet.failures + 1 >= self._max_attempts
        if is_last or failure.final or self._is_refusal(failure.status):
            change.dead.append(DeadLetter(packet, failure.error, now_ms))
            return
        wait = self._backoff.delay(packet.failures + 1)
        if self._jitter:
            wait *= 1 - self._jitter * self._random()
        wait = max(wait, bounded(failure.retry_after))
        change.retried.append(Retry(packet, analyzer, now_ms + round(wait * 1000), failure.error))


def pace_of(
    status: int | None, took_its_time: bool
) -> Literal["timeout", "refused", "overloaded", "error", "too_large", ""]:
    """What an analyzer's pace has to know of a delivery that failed."""
    if status is None:
        return "timeout" if took_its_time else "refused"
    if status == TOO_LARGE:
        return "too_large"
    if status in OVERLOADED:
        return "overloaded"
    return "error"


def bounded(retry_after: float | None) -> float:
    """Seconds that an analyzer asked for, as far as they are believed."""
    if retry_after is None or not retry_after > 0:
        return 0.0
    return min(retry_after, LONGEST_RETRY_AFTER)


def count(change: Change, analyzer: str) -> None:
    """Adds the figures of a delivery to its change."""
    change.counters.update(
        {
            "delivered": len(change.delivered),
            "messages_routed": sum([packet.messages for packet in change.delivered]),
            "retries": len(change.retried),
            "dead": len(change.dead),
            f"processed:{analyzer}": len(change.delivered),
            f"errors:{analyzer}": len(change.retried) + len(change.dead),
        }
    )
