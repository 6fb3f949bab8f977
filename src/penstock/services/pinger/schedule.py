"""When which target is pinged."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from heapq import heapify, heappop, heapreplace
from itertools import count as count_from
from random import random as random_fraction
from typing import NamedTuple

from penstock.clock import NANOSECONDS, Clock, monotonic_ns
from penstock.errors import InvalidValue
from penstock.services.pinger.model import Target
from penstock.services.pinger.settings import Settings
from penstock.timer import Timer

__all__ = ["Share", "TooManyTargets", "Turn", "schedule"]

MAX_KEPT = 1_000_000
"""Targets that can be pinged more than once: they have to be remembered."""

SOURCE_WAITS_NS = 1_000_000
"""Longer than this, the next target had not been there: a file or list that is there takes less."""

Targets = Iterable[Target] | AsyncIterable[Target]


class TooManyTargets(InvalidValue):
    """There are more targets than can be remembered, and they would have to be."""


class Turn(NamedTuple):
    """A ping that is due.

    Attributes:
        target: what to ping.
        due: nanoseconds of the monotonic clock at which it was to start.
        number: which ping of the target it is, from 1.
    """

    target: Target
    due: int
    number: int


class Share(NamedTuple):
    """Which turns are this process's: of each `of`, the one at `place`.

    Attributes:
        place: from 0.
        of: processes that share the turns.
        begin: nanoseconds of the monotonic clock at which the run began, for all of them; None for now.
        stagger: nanoseconds after the beginning before which none of its turns starts.
    """

    place: int = 0
    of: int = 1
    begin: int | None = None
    stagger: int = 0


ALL = Share()


def nobody_asks(_count: int, /) -> None:
    """Counts nothing."""


async def schedule(
    targets: Targets,
    settings: Settings,
    timer: Timer,
    *,
    gap: int = 0,
    share: Share = ALL,
    left_out: Callable[[int], object] = nobody_asks,
    clock: Clock = monotonic_ns,
) -> AsyncGenerator[Turn, None]:
    """The turns of a run, each yielded when it may start.

    Without a rate or interval a turn is due when it is asked for: the loop is closed. With one, it is due
    when the schedule says so, however late it is asked for: the loop is open, and lateness counts.
    Turns start at least `gap` apart, also those that are late.

    Some that are due are left out: those of an interval that are late by more than the interval, and all that
    are still to start when the duration is over.

    Targets are read one by one as they are needed, and forgotten if they are pinged once only.

    Args:
        targets: in the order in which they take turns.
        settings: its count, duration, rate and interval.
        timer: waits.
        gap: nanoseconds.
        share: which turns are wanted.
        left_out: is told how many turns were due and are not made.
        clock: the timer's.

    Raises:
        TooManyTargets: more than a million are to be pinged more than once.
    """
    begin = clock() if share.begin is None else share.begin
    ends = None if settings.duration is None else begin + round(settings.duration * NANOSECONDS)
    if settings.interval is not None:
        turns = _at_intervals(targets, settings, begin, ends, left_out, clock)
    elif settings.rate is not None:
        turns = _at_rate(_rounds(targets, settings), settings.rate, begin, clock)
    else:
        turns = _when_asked(_rounds(targets, settings), clock)
    last_start = begin + share.stagger - gap
    async with aclosing(turns):
        passed = 0
        async for turn in turns:
            if ends is not None and max(turn.due, clock()) >= ends:
                if turn.due >= ends or settings.interval is None:
                    left_out(_still_due(turn, ends, settings, share))
                    return
                left_out(1)  # and so are the beats of others, which come now
                continue
            passed += 1
            if (passed - 1) % share.of != share.place:
                continue
            start = max(turn.due, last_start + gap)
            if start > clock():
                await timer.sleep_until(start)
            last_start = clock()
            yield turn if settings.rate or settings.interval else turn._replace(due=last_start)


def _still_due(turn: Turn, ends: int, settings: Settings, share: Share) -> int:
    """How many turns of a rate, from this one on, were due before the end of a run that has no other."""
    if settings.rate is None or settings.count is not None:
        return 0
    return max(round((ends - turn.due) * settings.rate / NANOSECONDS), 0) // share.of


async def _rounds(targets: Targets, settings: Settings) -> AsyncGenerator[tuple[Target, int], None]:
    """Every target once, then again, as often as it shall be; and how often it was."""
    kept: list[Target] = []
    async with aclosing(each(targets)) as source:
        async for target in source:
            if settings.repeats:
                keep(kept, target)
            yield target, 1
    if not kept:
        return
    rounds = count_from(2) if settings.count is None else range(2, settings.count + 1)
    for number in rounds:
        for target in kept:
            yield target, number


async def _when_asked(
    rounds: AsyncGenerator[tuple[Target, int], None], clock: Clock
) -> AsyncGenerator[Turn, None]:
    async with aclosing(rounds):
        async for target, number in rounds:
            yield Turn(target, clock(), number)


async def _at_rate(
    rounds: AsyncGenerator[tuple[Target, int], None], rate: float, begin: int, clock: Clock
) -> AsyncGenerator[Turn, None]:
    """Turns at a rate, from `begin` on; while a pipe is silent, nothing is due."""
    async with aclosing(rounds):
        place, asked = 0, clock()
        async for target, number in rounds:
            due = begin + round(place * NANOSECONDS / rate)
            silent = clock() - max(asked, due)
            if number == 1 and silent > SOURCE_WAITS_NS:  # later, they come from memory
                begin, due = begin + silent, due + silent
            yield Turn(target, due, number)
            place, asked = place + 1, clock()


async def _at_intervals(
    targets: Targets,
    settings: Settings,
    begin: int,
    ends: int | None,
    left_out: Callable[[int], object],
    clock: Clock,
) -> AsyncGenerator[Turn, None]:
    """Each target on its own beat. What was missed by more than a beat is left out."""
    kept = await collected(targets)
    beats = [round((target.interval or settings.interval or 1) * NANOSECONDS) for target in kept]
    firsts = first_beats(beats)
    due = [(begin + first, place, 1) for place, first in enumerate(firsts)]
    heapify(due)
    while due:
        at, place, number = due[0]
        now = clock() if ends is None else min(clock(), ends)
        missed = max((now - at) // beats[place] - 1, 0)
        at += missed * beats[place]
        left_out(missed)
        yield Turn(kept[place], at, number)
        if settings.count is not None and number >= settings.count:
            heappop(due)
        else:
            heapreplace(due, (at + beats[place], place, number + 1))


def first_beats(beats: list[int]) -> list[int]:
    """When each beat begins: the first at once, the others at random places spread over their interval."""
    return [
        round(beat * (place + random_fraction() * (place > 0)) / len(beats))
        for place, beat in enumerate(beats)
    ]


async def collected(targets: Targets) -> list[Target]:
    """All of the targets.

    Raises:
        TooManyTargets: there are more than a million.
    """
    kept: list[Target] = []
    async with aclosing(each(targets)) as source:
        async for target in source:
            keep(kept, target)
    return kept


def keep(kept: list[Target], target: Target) -> None:
    if len(kept) >= MAX_KEPT:
        raise TooManyTargets(f"targets that are pinged more than once must be <= {MAX_KEPT}, got more")
    kept.append(target)


async def each(targets: Targets) -> AsyncGenerator[Target, None]:
    """The targets, whichever kind of iterable they come in."""
    if isinstance(targets, AsyncIterable):
        async for target in targets:
            yield target
    else:
        for target in targets:
            yield target
