"""Calls side by side."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar, cast

from penstock.sharding.shard import Shard

__all__ = ["entries_of", "together"]

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")

READERS = 8
"""Keys that are asked for at once: as many as PostgreSQLShard has connections."""

MISSING = cast(Any, object())


async def together(calls: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """All of them at once; the first failure cancels the others, and is raised when they have ended."""
    tasks: list[asyncio.Task[R]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def entries_of(shard: Shard[K, V], keys: Sequence[K]) -> dict[K, V]:
    """Those of these keys that a shard has."""
    found: dict[K, V] = {}
    left = iter(keys)

    async def read() -> None:
        for key in left:
            value = await shard.get(key, MISSING)
            if value is not MISSING:
                found[key] = cast(V, value)

    await together(read() for _ in range(min(READERS, len(keys))))
    return found
