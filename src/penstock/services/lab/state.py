"""What the simulated server does with each request: a function of its seed and of when requests came."""

from collections import Counter
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from math import ceil, exp
from random import Random
from typing import Literal

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.ratelimit import TokenBucket
from penstock.services.lab.config import Behaviour
from penstock.services.lab.latency import latency_model

__all__ = ["Answer", "ServerState"]

Fate = Literal["answer", "hang", "reset"]

RATE_WINDOW = 0.5  # seconds over which the rate of requests fades
SICKEN = 0.01  # chance of falling into the error state, for each request and each time `overload` beyond it
RECOVER = 0.05  # chance of leaving it, for each request, at `overload` in flight and below
FAILING = 0.5  # share of the requests that fail in it
FAILS_AFTER = 0.1  # an error takes so much of the time of an answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to happen to one request.

    Attributes:
        status: of the answer; 0 when there will be none.
        delay_ns: nanoseconds until then.
        fate: whether it is answered.
        retry_after: seconds to tell the client to wait; 0 for nothing to tell.
    """

    status: int
    delay_ns: int
    fate: Fate = "answer"
    retry_after: int = 0


class ServerState:
    """One for all requests, and for all connections.

    Latency walks on with each request and is scaled by the rate of requests over the last half second. The
    error state begins and ends by dice whose odds follow what is in flight: entered with a chance of 1 % a
    request for each time that `overload` is exceeded by, left with a chance of 5 % a request divided by the
    load. While it lasts half of the requests fail with 503. Each kind of dice has its own sequence, so the
    nth request meets the same point of the walk whatever else happens.

    What is in flight is what has not been answered by now according to its delay; a client that goes away
    earlier does not stop the work. Requests that hang are not counted. Memory grows with what is in flight.

    Args:
        behaviour: the settings.
        clock: nanoseconds; when requests come.

    Attributes:
        in_error_state: whether it is in trouble now.
        counts: answers by status; `hang` and `reset`, those without.
    """

    def __init__(self, behaviour: Behaviour, clock: Clock | None = None) -> None:
        self.behaviour = behaviour
        self.in_error_state = False
        self.counts: Counter[int | str] = Counter()
        self._clock = checked_clock(clock)
        self._next_share = latency_model(behaviour.latency, self._dice("latency"))
        self._fates, self._sickness, self._failures = map(self._dice, ("fates", "sickness", "failures"))
        self._departures: list[int] = []
        self._free_at = [0] * behaviour.servers  # when each server has done what it has been given
        self._rate, self._rate_at = 0.0, self._clock()
        limit = behaviour.limit
        self._bucket = TokenBucket(limit, max(1, ceil(limit / 10)), clock=self._clock) if limit else None

    def _dice(self, use: str) -> Random:
        return Random(f"{self.behaviour.seed}/{use}")

    @property
    def in_flight(self) -> int:
        """Requests that are being worked on, or wait for it."""
        return self._in_flight(self._clock())

    @property
    def rate(self) -> float:
        """Requests a second, lately."""
        return self._faded(self._clock())

    def arrive(self) -> Answer:
        """A request has come; what is to become of it."""
        now = self._clock()
        answer = self._answer(now)
        self.counts[answer.status or answer.fate] += 1
        if answer.fate == "answer":
            heappush(self._departures, now + answer.delay_ns)
        return answer

    def _answer(self, now: int) -> Answer:
        share = self._next_share()  # even when the request is refused: the walk goes on
        luck = self._fates.random()
        in_flight = self._in_flight(now) + 1
        self._rate, self._rate_at = self._faded(now) + 1 / RATE_WINDOW, now
        self._sicken_or_recover(in_flight)
        delay = self._delay(share)
        if self._bucket is not None and not self._bucket.allow():
            return Answer(429, 0, retry_after=max(1, ceil(self._bucket.retry_after())))
        failed = self._failed(luck, delay)
        if failed is not None:
            return failed
        return self._served(now, delay)

    def _failed(self, luck: float, delay: int) -> Answer | None:
        """The answer of a request that has no luck."""
        settings = self.behaviour
        if luck < settings.hang:
            return Answer(0, 0, "hang")
        if luck < settings.hang + settings.reset:
            return Answer(0, round(delay * FAILS_AFTER), "reset")
        if self.in_error_state and self._failures.random() < FAILING:
            return Answer(503, round(delay * FAILS_AFTER))
        if luck < settings.hang + settings.reset + settings.error_rate:
            return Answer(500, round(delay * FAILS_AFTER))
        return None

    def _served(self, now: int, delay: int) -> Answer:
        """The answer of a request that a server takes, as soon as one is free."""
        if not self._free_at:
            return Answer(200, delay)
        if len(self._departures) >= self.behaviour.servers + self.behaviour.queue:
            return Answer(503, 0, retry_after=1)
        done = max(now, self._free_at[0]) + delay
        heapreplace(self._free_at, done)
        return Answer(200, done - now)

    def _delay(self, share: float) -> int:
        """Nanoseconds of work at the rate of now."""
        full = self.behaviour.full_rate
        load = min(1.0, self._rate / full) if full else 1.0
        return round(share * self.behaviour.max_latency * load * NANOSECONDS)

    def _sicken_or_recover(self, in_flight: int) -> None:
        if not self.behaviour.overload:
            return
        load = in_flight / self.behaviour.overload
        luck = self._sickness.random()
        if self.in_error_state:
            self.in_error_state = luck >= RECOVER / max(1.0, load)
        else:
            self.in_error_state = luck < SICKEN * max(0.0, load - 1.0)

    def _in_flight(self, now: int) -> int:
        departures = self._departures
        while departures and departures[0] <= now:
            heappop(departures)
        return len(departures)

    def _faded(self, now: int) -> float:
        return self._rate * exp(-max(0, now - self._rate_at) / (RATE_WINDOW * NANOSECONDS))
