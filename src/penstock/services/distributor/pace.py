"""Pace: how many deliveries an analyzer gets at a time, and how large they may be."""

from math import fsum, inf, sqrt
from typing import Literal

from penstock.clock import NANOSECONDS, Clock

__all__ = ["Failure", "Pace"]

Failure = Literal["timeout", "refused", "overloaded", "error"]
"""Why a delivery failed: no answer in time, no connection, a wish for less (429, 503), or something else."""

ALPHA = 0.4  # Vector's: of the average, nine tenths are of the last five rounds
DEVIATIONS = 2.5  # Vector's: one in 160 rounds is so late by chance, were it the chance of the normal curve
DECREASE = 0.9  # Vector's
TOLERANCE = 0.02  # of the average: where answers hardly vary, a small lateness is no sign
ROUNDING = 1e-9  # of the average: the mean of equal numbers may be another number
CROWDED = 2.0  # times the quickest average: half of the time is waiting
RENEWED = 0.7  # times the average when one delivery went at a time
REGROWTH = 30.0  # seconds before a size that was refused is tried again


class Pace:
    """Finds how much an analyzer can take at a time from how long it takes.

    It begins with one delivery at a time. A round is as long as the first delivery that begins in it. When it
    ends, its answers are compared with the average of the rounds before:

    - They came no later, and as many deliveries were under way as may be: one more may be from now on.
    - They came later by more than 2.5 standard deviations: nine tenths of the deliveries may be.
    - The average itself has grown to twice the quickest that it ever was, however slowly: nine tenths too.
      What it is while one delivery goes at a time counts as quickest, so that an analyzer may become slower
      for good.
    - The average has fallen below seven tenths of what it was with one: it begins anew with one.

    A delivery that was not answered in time, or with a wish for less, costs a tenth at once, once a round.
    A refused connection and other errors say nothing of how much is too much; they are for the `Circuit`.

    Large deliveries take longer than small ones, and the more comes the larger they are. So only those are
    compared whose numbers of packets are of one power of two.

    When a delivery is refused for its size, the next ones have half as many bytes. They may have twice as
    many with every delivery that is taken, up to what was refused, and beyond that when 30 seconds have
    gone by. An analyzer that counts packets rather than bytes gets fewer of them in this way too.

    Args:
        most: deliveries at a time, >= 1.
        adaptive: whether `limit` moves at all; it is `most` otherwise.
        batch_packets: most packets in a delivery, >= 1.
        batch_bytes: most bytes, >= 1.
        clock: nanoseconds.

    Attributes:
        most: as it was given.
        most_bytes: `batch_bytes` as it was given.
        limit: deliveries that may be under way, 1 to `most`.
        batch_packets: packets that the next delivery may have.
        batch_bytes: bytes after which it is closed, >= 1.

    Source: Vector, adaptive request concurrency (src/sinks/util/adaptive_concurrency/controller.rs). There a
    round is as long as the average answer, which after a stall may be long; and nothing is compared with the
    quickest. Without that the limit creeps on where each step makes answers later by less than they vary: in
    five simulated minutes to 20 and more where one delivery is worked on at a time. With it, to 3 to 5.
    """

    __slots__ = (
        "_adaptive", "_clock", "_refused_at", "_refused_bytes", "_round", "_round_began", "_round_time",
        "_spared_until", "_usual", "_was_full", "batch_bytes", "batch_packets", "limit", "most", "most_bytes",
    )  # fmt: skip

    def __init__(
        self, *, most: int, adaptive: bool, batch_packets: int, batch_bytes: int, clock: Clock
    ) -> None:
        self.most = most
        self.limit = 1 if adaptive else most
        self.batch_packets = batch_packets
        self.batch_bytes = self.most_bytes = batch_bytes
        self._adaptive = adaptive
        self._clock = clock
        self._usual: dict[int, Usual] = {}  # by size of the delivery
        self._round: dict[int, list[float]] = {}
        self._round_began = self._spared_until = clock()
        self._round_time = 0.0
        self._was_full = False
        self._refused_bytes = self._refused_at = 0

    # What happened

    def started(self, in_flight: int) -> None:
        """A delivery has begun; with it, so many are under way."""
        if in_flight >= self.limit:
            self._was_full = True

    def succeeded(self, seconds: float, packets: int) -> None:
        """A delivery of so many packets was answered, so many seconds after it began."""
        if self.batch_bytes < self.most_bytes:
            self._grow_batch()
        if not self._adaptive:
            return
        self._round.setdefault(packets.bit_length(), []).append(seconds)
        now = self._clock()
        if now - round(seconds * NANOSECONDS) >= self._round_began:
            self._end_round(now)

    def failed(self, kind: Failure) -> None:
        """A delivery failed as a whole."""
        if self._adaptive and kind in ("timeout", "overloaded"):
            now = self._clock()
            if now >= self._spared_until:
                self._spared_until = now + round(self._round_time * NANOSECONDS)
                self._begin_round(now, int(self.limit * DECREASE))

    def too_large(self, packets: int, size_bytes: int) -> None:
        """A delivery of so many packets, which sum to so many bytes, was refused for its size."""
        if packets > 1:  # nothing smaller than one can be sent
            self._refused_bytes, self._refused_at = size_bytes, self._clock()
            self.batch_bytes = max(1, min(self.batch_bytes, size_bytes // 2))

    # How many at a time

    def _end_round(self, now: int) -> None:
        """Learns from the answers of a round."""
        later = allowed = usual = quickest = total = 0.0
        n, renewed = 0, False
        for size, answers in self._round.items():
            count, mean = len(answers), fsum(answers) / len(answers)
            n, total = n + count, total + count * mean
            known = self._usual.setdefault(size, Usual())
            if known.mean:
                later += count * (mean - known.mean)
                allowed += count * max(DEVIATIONS * sqrt(known.variance), TOLERANCE * known.mean)
            renewed |= known.add(mean, is_alone=self.limit == 1)
            usual, quickest = usual + count * known.mean, quickest + count * known.quickest
        self._round_time = total / n
        if renewed:
            limit = 1
        elif later > allowed or usual > CROWDED * quickest:
            limit = int(self.limit * DECREASE)
        else:
            limit = self.limit + (self._was_full and later <= ROUNDING * usual)
        self._begin_round(now, limit)

    def _begin_round(self, now: int, limit: int) -> None:
        self.limit = max(1, min(limit, self.most))
        self._round_began = now
        self._round.clear()
        self._was_full = False

    # How large

    def _grow_batch(self) -> None:
        waited = self._clock() - self._refused_at
        if 2 * self.batch_bytes < self._refused_bytes or waited >= REGROWTH * NANOSECONDS:
            self.batch_bytes = min(2 * self.batch_bytes, self.most_bytes)


class Usual:
    """How long deliveries of one size take: an average of rounds that fades, and how far rounds are from it.

    Attributes:
        mean: seconds; 0 before the first round.
        variance: of rounds around it.
        alone: what the mean was when last one delivery went at a time.
        quickest: the lowest that it has been since.
    """

    __slots__ = ("alone", "mean", "quickest", "variance")

    def __init__(self) -> None:
        self.mean = self.variance = 0.0
        self.alone = self.quickest = inf

    def add(self, seconds: float, is_alone: bool) -> bool:
        """Takes a round in; returns whether the analyzer has become another, much quicker one.

        Source: T. Finch, Incremental calculation of weighted mean and variance, 2009, section 9.
        """
        difference = seconds - self.mean
        part = ALPHA if self.mean else 1.0
        self.mean += part * difference
        self.variance = (1 - part) * (self.variance + part * difference * difference)
        is_renewed = self.mean <= RENEWED * self.alone < inf
        if is_alone:
            self.alone = self.quickest = self.mean
        elif self.mean < self.quickest:
            self.quickest = self.mean
        return is_renewed
