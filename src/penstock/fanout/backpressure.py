"""Backpressure: a fan-out that watches how its work fares, and does less at once when that fares badly."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import NamedTuple, Protocol, TypeVar

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.fanout._fan_out import Slots, checked_count, checked_number, fan_out

__all__ = ["AimdLimit", "Change", "Law", "backpressure"]

T = TypeVar("T")
R = TypeVar("R")

LEAST_ROUND = 10  # results: a median of fewer says little
MOST_MEMORY = 1_000_000_000  # seconds
NOISE = 1_000_000  # ns: work that is faster than this varies by more than its own length


class Law(Protocol):
    """Decides how many may be in progress, from when work started, when it ended and whether it failed."""

    @property
    def limit(self) -> int:
        """How many may be in progress now, >= 1."""

    def start(self, now: int) -> None:
        """Work starts at `now`, ns."""

    def finish(self, started: int, now: int, failed: bool | None) -> None:
        """Work that started at `started` ends at `now`, ns; `failed` is None where it was cancelled."""


class Change(NamedTuple):
    """One step of a limit."""

    at: int
    """ns of the clock."""
    limit: int
    """What it became."""


class AimdLimit:
    """Additive increase, multiplicative decrease, as TCP finds its window.

    Results are judged in rounds: one round is as many results as the limit, at least 10, of work that started
    in it. A round is congested when more than `failure_share` of it failed, or when its median latency is
    above `tolerance` times the best median of the last `memory` seconds (and above that by a millisecond,
    which is noise). After a congested round the limit is multiplied by `backoff`; after any other it grows by
    one, and doubles as long as there has been no congested round at all. It does not grow while fewer are in
    progress than half of it: what is not used is not tested.

    It reads no clock and does no I/O: moments come in as int ns of one monotonic clock. Holds the latencies
    of one round.

    Args:
        initial: the limit at first, `minimum` to `maximum`.
        minimum: never less at once, >= 1.
        maximum: never more at once.
        backoff: share of the limit that is left after a congested round, > 0 and < 1.
        tolerance: how many times the best latency is still good, > 1.
        failure_share: share of failures that is still good, 0 to 1.
        memory: seconds until the best latency is forgotten, > 0 and <= 1e9; it is found anew then, so that a
            server that has become slower for good is not held against itself for ever.
        history: how many of the latest changes are kept, >= 0.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: a count is no int, another argument no number.

    Source: Chiu and Jain, Analysis of the Increase and Decrease Algorithms, 1989; Netflix concurrency-limits,
    AIMDLimit and WindowedLimit.
    """

    def __init__(
        self,
        *,
        initial: int = 10,
        minimum: int = 1,
        maximum: int = 1_000,
        backoff: float = 0.8,
        tolerance: float = 2.0,
        failure_share: float = 0.02,
        memory: float = 30.0,
        history: int = 1_000,
    ) -> None:
        self._minimum = checked_count("minimum", minimum)
        self._maximum = checked_count("maximum", maximum, least=minimum)
        checked_count("initial", initial, least=minimum)
        self._exact = checked_number("initial", initial, lambda n: n <= maximum, f"<= maximum, {maximum}")
        self._backoff = checked_number("backoff", backoff, lambda n: 0 < n < 1, "> 0 and < 1")
        self._tolerance = checked_number("tolerance", tolerance, lambda n: n > 1, "> 1")
        self._failure_share = checked_number("failure_share", failure_share, lambda n: 0 <= n <= 1, "0 to 1")
        checked_number("memory", memory, lambda n: 0 < n <= MOST_MEMORY, f"> 0 and <= {MOST_MEMORY} seconds")
        self._changes: deque[Change] = deque(maxlen=checked_count("history", history, least=0))
        self._best = RecentBest(round(memory * NANOSECONDS))
        self._in_flight = 0
        self._probing = True
        self._round_start: int | None = None
        self._most = 0
        self._latencies: list[int] = []
        self._failures = 0

    @property
    def limit(self) -> int:
        """How many may be in progress now."""
        return int(self._exact)

    @property
    def in_flight(self) -> int:
        """How many are in progress."""
        return self._in_flight

    @property
    def best(self) -> float | None:
        """The best median latency in memory, seconds; None before the first round has ended."""
        best = self._best.value
        return None if best is None else best / NANOSECONDS

    @property
    def history(self) -> tuple[Change, ...]:
        """The latest changes of the limit, oldest first."""
        return tuple(self._changes)

    def start(self, now: int) -> None:
        """Work starts at `now`, ns."""
        self._in_flight += 1
        self._most = max(self._most, self._in_flight)
        if self._round_start is None:
            self._round_start = now - 1

    def finish(self, started: int, now: int, failed: bool | None) -> None:
        """Work that started at `started` ends at `now`, ns; `failed` is None where it was cancelled."""
        self._in_flight -= 1
        if failed is None or self._round_start is None or started <= self._round_start:
            return  # what started before the limit changed tells about the limit of then
        if failed:
            self._failures += 1
        else:
            self._latencies.append(max(now - started, 0))  # of a success: to refuse may be quick or slow
        size = max(self.limit, LEAST_ROUND)
        if self._failures > self._failure_share * size:
            self._decrease(now)  # the rest of the round can make it no better
        elif self._failures + len(self._latencies) >= size:
            self._judge_latency(now)
        else:
            return
        self._new_round(now)

    def _new_round(self, start: int) -> None:
        self._round_start = start
        self._most = self._in_flight
        self._latencies.clear()
        self._failures = 0

    def _judge_latency(self, now: int) -> None:
        if self._latencies:
            latency = sorted(self._latencies)[len(self._latencies) // 2]
            best = self._best.of(latency, now)
            if latency > max(self._tolerance * best, best + NOISE):
                self._decrease(now)
                return
        if 2 * self._most >= self.limit:
            self._change(2 * self._exact if self._probing else self._exact + 1, now)

    def _decrease(self, now: int) -> None:
        self._probing = False
        self._change(self._exact * self._backoff, now)

    def _change(self, exact: float, now: int) -> None:
        before = self.limit
        self._exact = min(max(exact, self._minimum), self._maximum)
        if self.limit != before:
            self._changes.append(Change(now, self.limit))


class RecentBest:
    """The least value of the last `memory` ns, or of half of that: one number for each half."""

    __slots__ = ("_half", "_new", "_old", "_turn")

    def __init__(self, memory: int) -> None:
        self._half = max(memory // 2, 1)
        self._turn: int | None = None
        self._old: float | None = None
        self._new: float | None = None

    @property
    def value(self) -> float | None:
        """The least; None before the first."""
        if self._old is None or self._new is None:
            return self._new
        return min(self._old, self._new)

    def of(self, value: float, now: int) -> float:
        """The least, `value` at `now` among them."""
        if self._turn is None:
            self._turn = now
        halves = (now - self._turn) // self._half
        if halves >= 1:
            self._old, self._new = self._new if halves == 1 else None, None
            self._turn += halves * self._half
        self._new = value if self._new is None else min(self._new, value)
        return self._new if self._old is None else min(self._old, self._new)


def is_exception(result: object) -> bool:
    """Whether a result is an exception that the work has returned in place of raising it."""
    return isinstance(result, Exception)


def backpressure(
    work: Callable[[T], Awaitable[R]],
    items: Iterable[T] | AsyncIterable[T],
    *,
    law: Law | None = None,
    failed: Callable[[R], bool] = is_exception,
    ordered: bool = False,
    clock: Clock | None = None,
) -> AsyncGenerator[R, None]:
    """Does `work` on every item, as many at once as `law` allows by how it has fared, and yields the results.

    ::

        law = AimdLimit(maximum=200)
        async with aclosing(backpressure(fetch, urls, law=law)) as pages:
            async for page in pages:
                print(law.limit, law.in_flight)

    For work that many share, a server above all, whose limit nobody knows or that changes: the fan-out finds
    how much it bears and stays below. Where the limit is known, `bounded` is simpler and no worse.

    Work that fails should return its failure, so that the others go on and the law learns of it. An exception
    is raised to the consumer and ends everything, as with `bounded`; the law has counted it. Memory, closing
    and cancellation are those of `bounded`, with the limit of the moment: one that has shrunk takes effect as
    slots become free.

    Args:
        work: called with one item; runs in a task of its own.
        items: pulled one by one. A plain iterable should not block, the event loop waits for it.
        law: an `AimdLimit()` for None. Keep it to see what it does; one law serves one fan-out at a time.
        failed: whether a result is a failure; by default, when it is an exception.
        ordered: True for results in the order of their items; False as they finish.
        clock: what latencies are measured on, ns; the system's monotonic clock for None.

    Raises:
        ValueError: the law's limit is < 1: at once, or to the consumer when it becomes that.
        TypeError: the law's limit is no int.
    """
    law = AimdLimit() if law is None else law
    now = checked_clock(clock)
    slots = Slots(checked_count("limit of the law", law.limit))

    async def watched(item: T) -> R:
        started = now()
        law.start(started)
        outcome: bool | None = None
        try:
            result = await work(item)
            outcome = failed(result)
        except Exception:
            outcome = True
            raise
        finally:
            law.finish(started, now(), outcome)
            slots.limit = checked_count("limit of the law", law.limit)
        return result

    return fan_out(watched, items, slots, ordered)
