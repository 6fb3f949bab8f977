"""Condition: tasks wait until something holds, and are woken when it does."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from penstock.fanout._fan_out import checked_count

__all__ = ["Condition"]

T = TypeVar("T")


class Condition:
    """Wakes tasks whose predicate has become true.

    ::

        stock, delivered = [], Condition()

        async def buy():
            await delivered.wait_for(lambda: stock)
            return stock.pop()

        def deliver(thing):
            stock.append(thing)
            delivered.notify()

    Unlike `asyncio.Condition` it needs no lock: the tasks of one event loop cannot disturb each other between
    two awaits, and a predicate does not await. And there is no wait without a predicate, because a
    notification that came a moment too early would be lost on it.

    What holds: the predicate is true when `wait_for` returns, with nothing run in between. A task is woken
    only when its own predicate is true, so `notify_all` wakes no herd. A notification is never lost: a task
    that was woken and is cancelled before it runs, or finds its predicate false again because another task
    was quicker, passes it on to the next in line, and keeps its own place if it stays. Tasks are looked at in
    the order in which they came; one whose predicate is true as it comes does not wait, and passes the line.

    Belongs to one event loop and its thread. To wait no longer than some time, put `asyncio.timeout`, or a
    `Context`, around it. Costs one future for each task that waits, and `notify` one call of a predicate
    for each that it looks at.
    """

    def __init__(self) -> None:
        self._waiters: dict[Waiter, None] = {}  # in the order in which they came

    def __len__(self) -> int:
        """How many tasks wait."""
        return len(self._waiters)

    async def wait_for(self, predicate: Callable[[], T]) -> T:
        """Waits until `predicate()` is true, and returns what it returned.

        Args:
            predicate: called now, at notifications and before the task goes on; quick, and without effects.

        Raises:
            Exception: what `predicate` raises, whenever it was called.
        """
        if value := predicate():
            return value
        waiter = Waiter(predicate)
        self._waiters[waiter] = None
        used = False
        try:
            while True:
                await waiter.woken
                if value := predicate():
                    used = True
                    return value
                waiter.woken = asyncio.get_running_loop().create_future()
                self.notify()  # somebody was quicker; what woke this one may be of use to another
        finally:
            del self._waiters[waiter]
            if waiter.woken.done() and not waiter.woken.cancelled() and not used:
                self.notify()

    def notify(self, n: int = 1) -> int:
        """Wakes at most `n` tasks whose predicates are true, the first that came first; returns how many.

        Call it after a change that may have made one true. Tasks that are awake already are not counted.

        Raises:
            ValueError: n < 1.
            TypeError: n is no int.
        """
        checked_count("n", n)
        return sum(1 for _ in islice(self._wake_those_who_can_go(), min(n, len(self))))

    def notify_all(self) -> int:
        """Wakes all tasks whose predicates are true; returns how many."""
        return sum(1 for _ in self._wake_those_who_can_go())

    def _wake_those_who_can_go(self) -> Iterator[None]:
        for waiter in self._waiters:
            if not waiter.woken.done() and waiter.can_go():
                waiter.woken.set_result(None)
                yield


class Waiter:
    """One task that waits: what for, and whether it has been woken and has not run yet."""

    __slots__ = ("_predicate", "woken")

    def __init__(self, predicate: Callable[[], object]) -> None:
        self._predicate = predicate
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def can_go(self) -> bool:
        """Whether its predicate is true, or raises: who waits is to get that, not who notifies."""
        try:
            return bool(self._predicate())
        except Exception:
            return True
