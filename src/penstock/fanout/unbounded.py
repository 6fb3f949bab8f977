"""Unbounded fan-out: everything at once, however much there is."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from math import inf
from typing import TypeVar

from penstock.fanout._fan_out import Slots, fan_out

__all__ = ["unbounded"]

T = TypeVar("T")
R = TypeVar("R")


def unbounded(
    work: Callable[[T], Awaitable[R]], items: Iterable[T] | AsyncIterable[T], *, ordered: bool = False
) -> AsyncGenerator[R, None]:
    """Does `work` on every item at once and yields the results.

    ::

        async with aclosing(unbounded(fetch, few_urls)) as pages:
            async for page in pages:
                ...

    Only for items that are few and known: nothing holds it back. A plain iterable is pulled to its end before
    the first work begins, an async one as fast as it gives; every item then has a task, some 2 KiB beside
    what the work itself holds, and every result waits until it is taken. A slow consumer slows nothing down,
    and the other side, a server for one, gets all of it in one moment. An endless iterable never comes to its
    first result.

    Exceptions, closing and cancellation are those of `bounded`.

    Args:
        work: called with one item; runs in a task of its own.
        items: pulled without a pause; has to end.
        ordered: True for results in the order of their items; False as they finish.
    """
    return fan_out(work, items, Slots(inf), ordered)
