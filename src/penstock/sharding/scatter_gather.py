"""Scatter-gather: the same question to all shards at once, and what came back in time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from penstock.errors import InvalidType, InvalidValue
from penstock.sharding._arguments import checked_seconds, checked_whole
from penstock.sharding._ids import ShardId
from penstock.sharding.keys import shown
from penstock.sharding.shard import ShardError, reason

__all__ = ["Deadline", "Gathered", "ShardTimeout", "ShardsFailed", "scatter_gather"]

S = TypeVar("S")
R = TypeVar("R")

Deadline = float | Mapping[ShardId, float] | None
"""Seconds for every shard, or for each; None, or a shard that is not named, waits without end."""

MAX_AT_ONCE = 100_000
LAST_WORDS = 0.05  # seconds that a cancelled call has to clean up before it is left to itself
NAMED = 5  # failed shards that a message names

laggards: set[asyncio.Task[Any]] = set()
"""Cancelled calls that did not end at once: held here, for a task that nobody holds may vanish half done."""


class ShardTimeout(ShardError, TimeoutError):
    """A shard did not answer by its deadline."""


class ShardsFailed(ShardError):
    """Shards failed or did not answer in time, and nobody asked for a partial result.

    Attributes:
        result: what the other shards answered, and why each failed.
    """

    def __init__(self, result: "Gathered[Any]") -> None:
        self.result = result
        super().__init__(failure_message(result))


@dataclass(frozen=True, slots=True)
class Gathered(Generic[R]):
    """What shards answered."""

    values: dict[ShardId, R]
    """The answer of each shard that gave one, in the order of the shards."""
    errors: dict[ShardId, BaseException]
    """Why each of the others gave none; ShardTimeout for one that was too late."""

    @property
    def complete(self) -> bool:
        """Whether every shard answered."""
        return not self.errors


async def scatter_gather(
    shards: Mapping[ShardId, S],
    call: Callable[[S], Awaitable[R]],
    *,
    deadline: Deadline = None,
    partial: bool = False,
    hedge_after: float | None = None,
    limit: int = 64,
) -> Gathered[R]:
    """Calls `call` with every shard and gathers the answers; one failure stops no other call.

    What is late is cancelled. A call that does not heed that (a driver that waits for a frozen server, say)
    is left behind after 50 ms: a deadline holds whatever a shard does, unless it blocks the event loop.
    When the caller is cancelled, all calls are.

    Args:
        shards: what to call `call` with, by the ids that the result shall have.
        call: returns an awaitable, such as `methodcaller("count")`.
        deadline: seconds from now until a shard's answer counts as a failure, waiting for a slot included;
            one number for all, or one for each shard.
        partial: True returns what there is; False raises if a shard has not answered.
        hedge_after: seconds after which a shard that has not answered is asked once more, and the first
            answer counts; None for never. Only for calls that may be made twice, such as reads. A failure
            before that is not tried again.
        limit: shards that are called at once, 1 to 100,000; the rest wait their turn.

    Raises:
        ShardsFailed: a shard failed or was late, and partial is False. It has the answers of the others.
        ValueError: a number is out of its range, or a deadline is of an unknown shard.
        TypeError: an argument has the wrong type.

    Source: J. Dean, L. Barroso, The Tail at Scale, CACM 2013, for hedged requests.
    """
    if not callable(call):
        raise InvalidType(f"call must be callable, got {type(call).__name__}")
    deadlines = checked_deadlines(deadline, shards)
    hedge = None if hedge_after is None else checked_seconds("hedge_after", hedge_after)
    slots = asyncio.Semaphore(checked_whole("limit", limit, 1, MAX_AT_ONCE))

    async def ask(shard: S) -> R:
        async with slots:
            return await (call(shard) if hedge is None else hedged(call, shard, hedge))

    outcomes = await asyncio.gather(
        *(within(deadlines.get(name), ask, shard) for name, shard in shards.items()),
        return_exceptions=True,
    )
    values: dict[ShardId, R] = {}
    errors: dict[ShardId, BaseException] = {}
    for name, outcome in zip(shards, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            errors[name] = outcome
        else:
            values[name] = outcome
    result = Gathered(values, errors)
    if errors and not partial:
        raise ShardsFailed(result)
    return result


async def within(seconds: float | None, ask: Callable[[S], Coroutine[Any, Any, R]], shard: S) -> R:
    """What `ask` returns or raises, in a task of its own that is not waited for any longer than that.

    Raises:
        ShardTimeout: the time is over; the call is cancelled.
    """
    task = asyncio.create_task(ask(shard))
    try:
        await asyncio.wait([task], timeout=seconds)
        if task.done():
            return task.result()
        raise ShardTimeout(f"a shard must answer within {seconds:g} seconds, got no answer")
    finally:
        await dismiss(task)


async def hedged(call: Callable[[S], Awaitable[R]], shard: S, after: float) -> R:
    """The first answer of a call and of a second one, which is made when the first takes too long."""

    async def once() -> R:
        return await call(shard)

    tasks = [asyncio.create_task(once())]
    try:
        done, _ = await asyncio.wait(tasks, timeout=after)
        if not done:
            tasks.append(asyncio.create_task(once()))
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if pending and all(failed(task) for task in done):
                await asyncio.wait(pending)
        return next((task for task in tasks if task.done() and not failed(task)), tasks[0]).result()
    finally:
        await dismiss(*tasks)


def failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


async def dismiss(*tasks: asyncio.Task[Any]) -> None:
    """Cancels what has not ended, and gives it a moment to do so."""
    pending = [task for task in tasks if not task.done()]
    for task in tasks:
        if task.done():
            forget(task)
        else:
            laggards.add(task)
            task.add_done_callback(forget)
            task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=LAST_WORDS)


def forget(task: asyncio.Task[Any]) -> None:
    laggards.discard(task)
    if not task.cancelled():
        task.exception()  # seen: nobody waits for it any more


def checked_deadlines(deadline: Deadline, shards: Mapping[ShardId, object]) -> dict[ShardId, float]:
    """The deadline of each shard that has one.

    Raises:
        ValueError: one is not > 0, or of a shard that is not there.
        TypeError: one is no number.
    """
    if deadline is None:
        return {}
    if not isinstance(deadline, Mapping):
        return dict.fromkeys(shards, checked_seconds("deadline", deadline))
    for name in deadline:
        if name not in shards:
            raise InvalidValue(f"deadline must be of a shard that is asked, got one of {shown(name)}")
    return {name: checked_seconds("deadline", seconds) for name, seconds in deadline.items()}


def failure_message(result: Gathered[Any]) -> str:
    total = len(result.values) + len(result.errors)
    reasons = [f"{shown(name)}: {reason(error)}" for name, error in islice(result.errors.items(), NAMED)]
    more = len(result.errors) - NAMED
    if more > 0:
        reasons.append(f"and {more} more")
    return f"{len(result.errors)} of {total} shards failed: {'; '.join(reasons)}"
