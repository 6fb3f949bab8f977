"""One batch of packets on its way to the distributor: what to send next, and what an answer means.

Every packet has an id, and a distributor that gets an id again answers as it did at first and delivers
nothing twice. So whatever goes wrong on the way, a packet is sent again:

    202, 207, 422   each packet has its outcome; those refused with queue_full are sent again
    429, 503        sent again after the Retry-After of the answer, or the backoff
    other 5xx, 408, a lost connection, no answer in time   sent again after the backoff
    413, and 400 of a distributor   the batch is halved and both halves are sent; a single packet is refused
    anything else   NotADistributor; sending again may help when a person has done something about it
"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from penstock.resilience import ExponentialBackoff
from penstock.services.distributor.client.errors import NotADistributor, RefusedPacket
from penstock.services.printable import one_line

__all__ = ["BACKOFF", "Errand", "Packed", "PostAnswer"]

OUTCOMES = (202, 207, 422)
TRY_AGAIN = (408, 429, 500, 502, 503, 504)
MAX_RETRY_AFTER = 300.0
"""Seconds; a server may not make us wait for ever."""
BACKOFF = ExponentialBackoff(0.2, limit=15.0, jitter="equal")


class Packed(NamedTuple):
    """A packet in the form that is sent."""

    id: str
    messages: int
    body: bytes
    """Compact JSON, id included."""


class PostAnswer(NamedTuple):
    """What came back for a request."""

    status: int
    retry_after: float | None
    """Seconds."""
    body: bytes


class ErrorTold(msgspec.Struct):
    """One of the `errors` in an answer."""

    index: int
    code: str
    error: str = ""


class OutcomeTold(msgspec.Struct):
    """The body of an answer that has an outcome for each packet."""

    total_packets: int
    successful: int
    failed: int
    errors: list[ErrorTold] = []

    def is_of(self, packets: int) -> bool:
        """Whether it can be about a request of so many packets."""
        indices = {error.index for error in self.errors}
        return (
            self.total_packets == packets == self.successful + self.failed
            and len(indices) == len(self.errors) == self.failed
            and all(0 <= index < packets for index in indices)
        )


class Errand:
    """Carries a batch until each packet is accepted or refused; does no I/O and keeps the order.

    Args:
        packets: the batch.
        backoff: seconds between tries when the answer names none.

    Attributes:
        accepted: packets that the distributor has taken.
        refused: packets that it will not take.
        failures: tries in a row that brought nothing.
        why: why the last of them did not.
    """

    def __init__(self, packets: Sequence[Packed], backoff: ExponentialBackoff = BACKOFF) -> None:
        self._todo = deque([list(packets)] if packets else [])
        self.backoff = backoff
        self.accepted: list[Packed] = []
        self.refused: list[RefusedPacket] = []
        self.failures = 0
        self.why = ""

    @property
    def next(self) -> list[Packed]:
        """What to send now; empty when all is done."""
        return self._todo[0] if self._todo else []

    @property
    def left(self) -> list[Packed]:
        """Whatever has no outcome yet, in order."""
        return [packet for batch in self._todo for packet in batch]

    def body(self) -> bytes:
        """The body of the request that sends `next`."""
        return b"[" + b",".join([packet.body for packet in self.next]) + b"]"

    def lost(self, why: str) -> float:
        """The request got no answer; seconds to wait before it is made again."""
        self.failures += 1
        self.why = why
        return self.backoff.delay(self.failures)

    def answered(self, answer: PostAnswer) -> float:
        """The request was answered; seconds to wait before the next one.

        Raises:
            NotADistributor: by nobody who takes packets; everything is still `left`.
        """
        packets = self.next
        if answer.status == 413 or (answer.status == 400 and is_problem(answer)):
            self._halve(answer)
            return 0.0
        told = outcome_of(answer, len(packets))
        if told is None:
            if answer.status not in TRY_AGAIN:
                self.lost(f"it answers {answer.status}: {excerpt(answer.body)}")
                raise NotADistributor(self.why)
            again = packets
        else:
            again = self._settle(packets, told, answer.status in TRY_AGAIN)
        self._todo.popleft()
        if not again:
            self.failures = 0
            return 0.0
        self._todo.appendleft(again)
        if len(again) < len(packets):
            self.failures = 0
        delay = self.lost(f"it answers {answer.status}: {excerpt(answer.body)}")
        return delay if answer.retry_after is None else min(answer.retry_after, MAX_RETRY_AFTER)

    def _settle(self, packets: list[Packed], told: OutcomeTold, none_taken: bool) -> list[Packed]:
        """Sorts packets by their outcomes; returns those that are to be sent again."""
        failed = {error.index: error for error in told.errors}
        again = []
        for index, packet in enumerate(packets):
            error = failed.get(index)
            if error is None and not none_taken:
                self.accepted.append(packet)
            elif error is None or error.code == "queue_full":
                again.append(packet)
            else:
                self.refused.append(RefusedPacket(packet.id, error.code, error.error, packet.body))
        return again

    def _halve(self, answer: PostAnswer) -> None:
        """Finds the packet that spoils a batch: each half is sent alone, down to single packets."""
        packets = self._todo.popleft()
        if len(packets) == 1:
            code = f"http_{answer.status}"
            self.refused.append(RefusedPacket(packets[0].id, code, excerpt(answer.body), packets[0].body))
            return
        middle = len(packets) // 2
        self._todo.extendleft([packets[middle:], packets[:middle]])


def outcome_of(answer: PostAnswer, packets: int) -> OutcomeTold | None:
    """The outcome of each packet, if the answer tells it."""
    if answer.status not in OUTCOMES and answer.status not in TRY_AGAIN:
        return None
    try:
        told = msgspec.json.decode(answer.body, type=OutcomeTold)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return told if told.is_of(packets) else None


def is_problem(answer: PostAnswer) -> bool:
    """Whether it tells its status as RFC 9457 has it; 400 is said by much that is no distributor."""
    with suppress(msgspec.DecodeError, ValueError, RecursionError):
        return msgspec.json.decode(answer.body, type=dict[str, object]).get("status") == answer.status
    return False


def excerpt(body: bytes) -> str:
    """What an answer says, in one short line: the detail or title of RFC 9457, or its first words."""
    text = body[:2_000].decode(errors="replace")
    with suppress(msgspec.DecodeError, ValueError, RecursionError):
        told = msgspec.json.decode(body, type=dict[str, object])
        text = str(told.get("detail") or told.get("title") or text)
    return one_line(text, 200) or "nothing"
