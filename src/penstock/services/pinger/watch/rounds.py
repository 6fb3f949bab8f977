"""The turns of the watch: every target on its own beat, and never twice at once."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from penstock.clock import NANOSECONDS, Clock, monotonic_ns
from penstock.fanout import bounded
from penstock.services.pinger.model import PingResult, Target
from penstock.services.pinger.probe import Prober
from penstock.services.pinger.schedule import Turn, schedule
from penstock.timer import Timer

__all__ = ["ping_in_rounds"]


async def ping_in_rounds(
    targets: Sequence[Target],
    prober: Prober,
    take: Callable[[PingResult], None],
    *,
    clock: Clock = monotonic_ns,
) -> None:
    """Pings until it is cancelled.

    A turn that comes while the target is still being pinged is left out: a target that hangs takes one slot
    of all, whatever its interval and timeout. `number` of a result counts those that were left out too.

    Args:
        targets: each with its interval, or that of the prober's settings.
        prober: makes the pings.
        take: is called with each result.
        clock: returns monotonic nanoseconds, the prober's.
    """
    settings, busy = prober.settings, set[int]()

    async def ping(turn: Turn) -> PingResult:
        try:
            return await prober.ping(turn.target, turn.due, turn.number)
        finally:
            busy.discard(id(turn.target))

    with Timer(clock=clock) as timer:
        gap = settings.gap_ns(prober.engine.name)
        due = schedule(targets, settings, timer, gap=gap, clock=clock)
        turns = free_turns(due, busy, settings.interval or 1)
        async with aclosing(turns), aclosing(bounded(ping, turns, limit=settings.concurrency)) as results:
            async for result in results:
                take(result)


async def free_turns(
    turns: AsyncGenerator[Turn, None], busy: set[int], interval: float
) -> AsyncGenerator[Turn, None]:
    """The turns of targets that are not busy, which they are then, numbered by the beats since the first."""
    firsts: dict[int, int] = {}
    async with aclosing(turns):
        async for target, due, _ in turns:
            first = firsts.setdefault(id(target), due)
            if id(target) in busy:
                continue
            busy.add(id(target))
            beat = (target.interval or interval) * NANOSECONDS
            yield Turn(target, due, 1 + round((due - first) / beat))
