"""Several quotas on one key, decided together or not at all; csrc/quotas.c does the same.

What a key has used is a tuple, the state of each quota, and is never changed: whoever changes what a key
has used puts another tuple in its place, and asks again when somebody else was faster.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

from penstock.clock import NANOSECONDS
from penstock.errors import InvalidValue
from penstock.ratelimit._result_py import RateLimitResult, result_of
from penstock.ratelimit._token_bucket_py import MAX_ELAPSED, SPEED_BITS, checked_pace
from penstock.ratelimit.quota import Quota

__all__ = ["ALGORITHMS", "Algorithm", "Quotas", "checked_algorithm", "numbers_of"]

Algorithm = Literal["token_bucket", "sliding_window", "sliding_counter", "fixed_window"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)  # in the order of ps_algorithm

MAX_MOMENT = 1 << 61  # nanoseconds from the epoch, 73 years; a window's clock stands still from then on

State = Any
"""What is used of one quota: an int, or a tuple of ints."""

States = tuple[State, ...]


def checked_algorithm(algorithm: object) -> Algorithm:
    """`algorithm`, when there is one of that name.

    Raises:
        ValueError: there is none.
    """
    for known in ALGORITHMS:
        if algorithm == known:
            return known
    raise InvalidValue(f"algorithm must be one of {', '.join(ALGORITHMS)}, got {algorithm!r}")


class Numbers(NamedTuple):
    """A quota in the numbers of csrc/quotas.h."""

    limit: int
    """Units at once."""
    window_ns: int
    """Nanoseconds in which `limit` units become available."""
    speed: int
    token: int
    depth: int


def numbers_of(quota: Quota, algorithm: Algorithm) -> Numbers:
    """The numbers by which `algorithm` decides.

    Raises:
        ValueError: the algorithm knows no bursts, and the quota has one.
    """
    if algorithm == "token_bucket":
        speed, token, depth, _ = checked_pace(quota.rate, quota.burst, None)
        return Numbers(quota.burst, round(quota.burst / quota.rate * NANOSECONDS), speed, token, depth)
    if quota.burst != quota.limit:
        raise InvalidValue(f"burst must be the limit, {quota.limit}, for {algorithm}, got {quota.burst}")
    return Numbers(quota.limit, quota.period_ns, 0, 0, 0)


class Rule(ABC):
    """One quota by one algorithm. `now` is nanoseconds on the clock."""

    __slots__ = ("epoch", "limit", "window_ns")
    unused: State
    """Of a key that was never used."""

    def __init__(self, numbers: Numbers, epoch: int) -> None:
        self.limit = numbers.limit
        self.window_ns = numbers.window_ns
        self.epoch = epoch

    @abstractmethod
    def take(self, state: State, now: int, n: int) -> State | None:
        """The state after `n` units are taken; None when there are too few."""

    @abstractmethod
    def wait(self, state: State, now: int, n: int) -> int:
        """Nanoseconds until `n` units are there."""

    @abstractmethod
    def reset(self, state: State, now: int) -> int:
        """Nanoseconds until nothing is in use."""

    @abstractmethod
    def remaining(self, state: State, now: int) -> int:
        """Whole units that are left."""

    @abstractmethod
    def refund(self, state: State, now: int, n: int) -> State:
        """The state after the last `n` units are given back."""

    def shown_reset(self, state: State, now: int) -> int:
        """What a result says of `reset`."""
        return self.reset(state, now)

    def moment(self, now: int) -> int:
        """Nanoseconds since the epoch, for a window."""
        return min(max(now - self.epoch, 0), MAX_MOMENT)


class TokenBucketRule(Rule):
    """State: the tick at which the bucket is full again."""

    __slots__ = ("depth", "speed", "token")
    unused = 0

    def __init__(self, numbers: Numbers, epoch: int) -> None:
        super().__init__(numbers, epoch)
        self.speed, self.token, self.depth = numbers.speed, numbers.token, numbers.depth

    def take(self, state: int, now: int, n: int) -> int | None:
        tick = self.tick(now)
        then = max(state, tick) + n * self.token
        return None if then - tick > self.depth else then

    def wait(self, state: int, now: int, n: int) -> int:
        return self._until(state, now, n * self.token)

    def reset(self, state: int, now: int) -> int:
        return self._until(state, now, self.depth)

    def remaining(self, state: int, now: int) -> int:
        missing = max(state - self.tick(now), 0)
        return max(self.depth - missing, 0) // self.token

    def refund(self, state: int, now: int, n: int) -> int:
        tick = self.tick(now)
        return max(state - n * self.token, tick) if state > tick else state

    def _until(self, full_at: int, now: int, cost: int) -> int:
        tick = self.tick(now)
        due = max(full_at, tick) + cost - self.depth
        return 0 if due <= tick else -(-(due << SPEED_BITS) // self.speed) - self._elapsed(now)

    def _elapsed(self, now: int) -> int:
        return min(max(now - self.epoch, 0), MAX_ELAPSED)

    def tick(self, now: int) -> int:
        """The tick of clock `now`."""
        return self._elapsed(now) * self.speed >> SPEED_BITS


Log = tuple[int, tuple[tuple[int, int], ...]]


class SlidingWindowRule(Rule):
    """State: the newest moment ever recorded, and moment and units of each hit, oldest first."""

    __slots__ = ()
    unused = (0, ())

    def take(self, state: Log, now: int, n: int) -> Log | None:
        moment = max(self.moment(now), state[0])
        counting = self._counting(state, moment)
        if units(counting) + n > self.limit:
            return None
        return moment, (*counting, (moment, n))

    def wait(self, state: Log, now: int, n: int) -> int:
        counting = self._counting(state, max(self.moment(now), state[0]))
        surplus = units(counting) + n - self.limit
        for moment, hit in counting:
            if surplus <= 0:
                break
            surplus -= hit
            if surplus <= 0:
                return moment + self.window_ns + 1 - self.moment(now)
        return 0

    def reset(self, state: Log, now: int) -> int:
        hits = state[1]
        return max(hits[-1][0] + self.window_ns + 1 - self.moment(now), 0) if hits else 0

    def shown_reset(self, state: Log, now: int) -> int:
        return max(self.reset(state, now) - 1, 0)  # the time for which the newest hit still counts

    def remaining(self, state: Log, now: int) -> int:
        return self.limit - units(self._counting(state, max(self.moment(now), state[0])))

    def refund(self, state: Log, now: int, n: int) -> Log:
        latest, hits = state
        while hits and n >= hits[-1][1]:
            n -= hits[-1][1]
            hits = hits[:-1]
        if hits and n:
            moment, hit = hits[-1]
            hits = (*hits[:-1], (moment, hit - n))
        return latest, hits

    def _counting(self, state: Log, moment: int) -> tuple[tuple[int, int], ...]:
        hits = state[1]
        gone = 0
        while gone < len(hits) and hits[gone][0] + self.window_ns < moment:
            gone += 1
        return hits[gone:]


def units(hits: tuple[tuple[int, int], ...]) -> int:
    return sum(hit for _, hit in hits)


Counts = tuple[int, int, int]


class FixedWindowRule(Rule):
    """State: number of the window, units in it, and units in the one before, 0 if it does not slide."""

    __slots__ = ()
    unused = (0, 0, 0)
    slides = False

    def take(self, state: Counts, now: int, n: int) -> Counts | None:
        (number, current, previous), passed = self._seen(state, now)
        return (number, current + n, previous) if self._holds(current, previous, passed, n) else None

    def wait(self, state: Counts, now: int, n: int) -> int:
        (number, current, previous), passed = self._seen(state, now)
        if self._holds(current, previous, passed, n):
            return 0
        room = self.limit - current - n
        if room < 0:  # not in this window, whose units are the previous ones of the next
            number, room, previous = number + 1, self.limit - n, current if self.slides else 0
        offset = 0 if previous <= room else self.window_ns - room * self.window_ns // previous
        return number * self.window_ns + offset - self.moment(now)

    def reset(self, state: Counts, now: int) -> int:
        (number, current, previous), _ = self._seen(state, now)
        windows = (2 if self.slides else 1) if current else 1 if previous else 0
        return (number + windows) * self.window_ns - self.moment(now) if windows else 0

    def remaining(self, state: Counts, now: int) -> int:
        (_, current, previous), passed = self._seen(state, now)
        weighed = -(-previous * (self.window_ns - passed) // self.window_ns)
        return max(self.limit - current - weighed, 0)

    def refund(self, state: Counts, now: int, n: int) -> Counts:
        number, current, previous = state
        if self._seen(state, now)[0][0] != number:
            return state
        return number, current - min(n, current), previous

    def _seen(self, state: Counts, now: int) -> tuple[Counts, int]:
        """The counts as they stand now, and the nanoseconds of their window that have passed."""
        number, current, _ = state
        present, passed = divmod(self.moment(now), self.window_ns)
        if present <= number:
            return state, passed if present == number else 0
        return (present, 0, current if self.slides and present == number + 1 else 0), passed

    def _holds(self, current: int, previous: int, passed: int, n: int) -> bool:
        room = self.limit - current - n
        return room >= 0 and previous * (self.window_ns - passed) <= room * self.window_ns


class SlidingCounterRule(FixedWindowRule):
    """The last window counts by the share of it that is still covered."""

    __slots__ = ()
    slides = True


RULES: dict[Algorithm, type[Rule]] = {
    "token_bucket": TokenBucketRule,
    "sliding_window": SlidingWindowRule,
    "sliding_counter": SlidingCounterRule,
    "fixed_window": FixedWindowRule,
}


class Quotas:
    """The quotas of a key as one.

    Attributes:
        most: the smallest limit: no n is above it.
        unused: what a key that was never used has used.
    """

    __slots__ = ("most", "rules", "unused")

    def __init__(self, numbers: Sequence[Numbers], algorithm: Algorithm, epoch: int) -> None:
        self.rules = tuple(RULES[algorithm](each, epoch) for each in numbers)
        self.most = min(rule.limit for rule in self.rules)
        self.unused: States = tuple(rule.unused for rule in self.rules)

    def take(self, states: States, now: int, n: int) -> States | None:
        """What is used after `n` units are taken of every quota; None when one has too few."""
        taken = []
        for rule, state in zip(self.rules, states, strict=True):
            after = rule.take(state, now, n)
            if after is None:
                return None
            taken.append(after)
        return tuple(taken)

    def wait(self, states: States, now: int, n: int) -> int:
        """Nanoseconds until every quota has `n` units."""
        return max(rule.wait(state, now, n) for rule, state in zip(self.rules, states, strict=True))

    def reset(self, states: States, now: int) -> int:
        """Nanoseconds until the key is idle."""
        return max(rule.reset(state, now) for rule, state in zip(self.rules, states, strict=True))

    def used(self, states: States, now: int) -> int:
        """The most units that any quota has in use."""
        pairs = zip(self.rules, states, strict=True)
        return max(rule.limit - rule.remaining(state, now) for rule, state in pairs)

    def refund(self, states: States, now: int, n: int) -> States:
        """What is used after the last `n` units are given back."""
        return tuple(rule.refund(state, now, n) for rule, state in zip(self.rules, states, strict=True))

    def charged(self, now: int, used: int) -> States:
        """What a new key has used that starts with `used` units, of each quota no more than its limit."""
        if not used:
            return self.unused
        return tuple(rule.take(rule.unused, now, min(used, rule.limit)) for rule in self.rules)

    def result(self, states: States, now: int, n: int, *, taken: bool, shadow: bool) -> RateLimitResult:
        """How the tightest quota stands, right after `n` units were `taken` or refused.

        That is the quota with the longest wait, and if none has to wait the one with the smallest share of
        its limit left; of equals the first.
        """
        pairs = list(zip(self.rules, states, strict=True))
        waits = [0 if taken else rule.wait(state, now, n) for rule, state in pairs]
        retry = max(waits)
        left = [rule.remaining(state, now) for rule, state in pairs]
        which = waits.index(retry) if retry else scarcest([rule.limit for rule in self.rules], left)
        rule, state = pairs[which]
        return result_of(
            shadow or not retry, rule.limit, left[which], retry, rule.shown_reset(state, now), rule.window_ns
        )


def scarcest(limits: list[int], left: list[int]) -> int:
    """Which has the smallest share left, the first of equals; compared in ints, as C does."""
    found = 0
    for i in range(1, len(limits)):
        if left[i] * limits[found] < left[found] * limits[i]:
            found = i
    return found
