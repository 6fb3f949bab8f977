"""Once: a thing that is done one time, however many ask for it at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from penstock.errors import PenstockError
from penstock.fanout._fan_out import cancel_all

__all__ = ["Once", "OnceReentered", "SingleFlight"]

T = TypeVar("T")


class OnceReentered(PenstockError, RuntimeError):
    """The function asks for its own result, and would wait for itself for ever."""


class Once(Generic[T]):
    """Calls an async function one time; all who call the object get its result.

    ::

        connected = Once(connect)

        async def query(text):
            connection = await connected()
            ...

    Who calls while it runs waits for the same result; who calls later gets it at once. It runs in a task of
    its own, in a copy of the first caller's context. A caller that is cancelled leaves the others
    undisturbed; the last one that leaves cancels the function, and waits until it has ended.

    An exception is raised to all who wait. Then, as a rule, nothing has been done, so the next call tries
    again. With `keep_failure` it is done all the same, as with Go's `sync.Once`: the same exception is raised
    to every later call. A function that was cancelled has not been done in either case. Those who wait for
    one that somebody else cancels get the CancelledError, too.

    Args:
        function: an async function without arguments.
        keep_failure: whether an exception is as final as a result.
    """

    def __init__(self, function: Callable[[], Awaitable[T]], *, keep_failure: bool = False) -> None:
        self._function = function
        self._keep_failure = keep_failure
        self._flight: Flight[T] | None = None

    @property
    def done(self) -> bool:
        """Whether later calls get what there is, and the function is not called again."""
        return self._flight is not None and self._flight.landed and self._is_final(self._flight)

    async def __call__(self) -> T:
        """The result of the function, which is called if nobody has before.

        Raises:
            OnceReentered: the function itself calls this. Where it waits for another task that does, nothing
                can tell, and both wait for ever.
            Exception: what the function raises.
        """
        while (flight := self._flight) is not None and flight.left and not flight.landed:
            await flight.end()  # nobody wanted it any more; there are never two at work
        if flight is None or (flight.landed and not self._is_final(flight)):
            flight = self._flight = Flight(self._function)
        return await flight.result()

    def _is_final(self, flight: "Flight[T]") -> bool:
        return flight.succeeded or (self._keep_failure and flight.failed)


class SingleFlight:
    """One call for all who ask for the same key at the same time; nothing is remembered after it.

    ::

        flights = SingleFlight()
        page = await flights.do(url, lambda: fetch(url))

    As `Once` for each key, with its rules for callers that are cancelled and for exceptions, but the call is
    forgotten as soon as it has ended. To remember results, use a cache. Holds the keys of calls in progress.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight[Any]] = {}

    def __len__(self) -> int:
        """How many calls are in progress."""
        return len(self._flights)

    async def do(self, key: Hashable, function: Callable[[], Awaitable[T]]) -> T:
        """The result of the call for `key` that is in progress, or else of `function`, called now.

        Raises:
            OnceReentered: the function itself asks for its own key.
            Exception: what the function raises.
        """
        while (flight := self._flights.get(key)) is not None and flight.left and not flight.landed:
            await flight.end()
        if flight is None or flight.landed:
            flight = self._flights[key] = Flight(function)
            flight.task.add_done_callback(partial(self._forget, key, flight))
        result: T = await flight.result()
        return result

    def _forget(self, key: Hashable, flight: "Flight[Any]", _: object) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class Flight(Generic[T]):
    """One call of a function, and those who wait for it."""

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self.task = asyncio.create_task(called(function))
        self.left = False  # the last who waited has gone, and has cancelled it
        self._waiting = 0

    @property
    def landed(self) -> bool:
        """Whether it has ended."""
        return self.task.done()

    @property
    def failed(self) -> bool:
        """Whether it has ended with an exception."""
        return self.landed and not self.task.cancelled() and self.task.exception() is not None

    @property
    def succeeded(self) -> bool:
        """Whether it has ended with a result."""
        return self.landed and not self.task.cancelled() and self.task.exception() is None

    async def end(self) -> None:
        """Waits for its end, whatever that is."""
        if asyncio.current_task() is self.task:
            raise OnceReentered("function must not wait for its own result")
        await asyncio.wait([self.task])

    async def result(self) -> T:
        """Waits for its end. The last who is cancelled here cancels it."""
        if self.task.done():
            return self.task.result()
        self._waiting += 1
        try:
            await self.end()
        except asyncio.CancelledError:
            if self._waiting == 1:
                self.left = True
                await cancel_all({self.task})
            raise
        finally:
            self._waiting -= 1
        return self.task.result()


async def called(function: Callable[[], Awaitable[T]]) -> T:
    return await function()
