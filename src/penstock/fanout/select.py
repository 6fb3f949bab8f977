"""Select: take from whichever of several sources is ready first."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable
from types import TracebackType
from typing import Any, Final

from penstock.errors import InvalidType, PenstockError
from penstock.fanout._fan_out import cancel_all, checked_number

__all__ = ["NothingReady", "Select", "SelectBusy", "SourcesEnded", "select"]

Source = AsyncIterable[Any] | Callable[[], Awaitable[Any]]
"""An async iterable, or an async function that returns one item a call, as `asyncio.Queue.get`."""

MISSING: Final[Any] = object()


class NothingReady(PenstockError, TimeoutError):
    """No source was ready in time."""


class SourcesEnded(PenstockError, EOFError):
    """All sources have ended and all their items have been taken."""


class SelectBusy(PenstockError, RuntimeError):
    """Two tasks take at the same time."""


def select(**sources: Source) -> "Select":
    """Several sources to take from, each under its name; see `Select`.

    ::

        async with select(orders=orders.get, ticks=ticks()) as ready:
            async for name, item in ready:
                ...

    Raises:
        TypeError: a source is neither an async iterable nor callable.
    """
    return Select(sources)


class Select:
    """Takes from whichever source is ready first, as the select statement of Go does from channels.

    One item at most is asked of each source in advance. Items are given out in the order in which they became
    ready, so a source that always has one takes turns with the others. Nothing is lost: an item that came
    while nobody waited, or for a `take` that ran into its timeout or was cancelled, is there for the next
    one; what is left when it closes is in `untaken`.

    A source that ends is left out from then on. The exception of a source, a CancelledError that is not the
    taker's own among them, is raised by the `take` that meets it, with a note that names the source; the
    others go on. One task takes at a time.

    Use it as an async context manager, or `aclose` it: that cancels what waits for the sources, and comes
    back when it has ended. The sources themselves are not closed.

    Args:
        sources: each an async iterable, or an async function that returns one item a call.

    Raises:
        TypeError: a source is neither.
    """

    def __init__(self, sources: dict[str, Source]) -> None:
        self._pulls = {name: puller(name, source) for name, source in sources.items()}
        self._idle = deque(self._pulls)  # names of sources of which nothing is asked yet
        self._pulling: dict[str, asyncio.Task[None]] = {}
        self._ready: deque[tuple[str, Any, BaseException | None]] = deque()
        self._waiter: asyncio.Future[None] | None = None

    async def take(self, *, timeout: float | None = None, default: Any = MISSING) -> Any:  # noqa: ASYNC109  # its own error
        """The name of a source and its item, the one that is ready first.

        Args:
            timeout: seconds to wait, None for as long as it takes, 0 for what is ready now.
            default: what is returned when the time is over; without one it raises.

        Raises:
            NothingReady: the time is over, and there is no default; a TimeoutError.
            SourcesEnded: all sources have ended; an EOFError.
            SelectBusy: another task is waiting in `take`; a RuntimeError.
            ValueError: timeout < 0, or NaN.
            TypeError: timeout is no number.
        """
        if timeout is not None:
            checked_number("timeout", timeout, lambda n: n >= 0, ">= 0 seconds or None")
        if self._waiter is not None:
            raise SelectBusy("select must be taken from by one task at a time, another one waits")
        self._pull()
        if not self._ready and self._pulling:
            await self._wait(timeout)
        if self._ready:
            return self._give()
        if not self._pulling:
            raise SourcesEnded("sources must have an item to take, all have ended")
        if default is MISSING:
            raise NothingReady(f"a source must be ready within {timeout} seconds, none was")
        return default

    def untaken(self) -> list[tuple[str, Any]]:
        """The items that sources have given and nobody has taken, by name, oldest first."""
        return [(name, item) for name, item, error in self._ready if error is None]

    async def aclose(self) -> None:
        """Stops waiting for the sources; `take` finds what is ready, and then that all have ended."""
        self._idle.clear()
        self._pulls.clear()
        try:
            await cancel_all(set(self._pulling.values()))
        finally:
            self._pulling.clear()  # of what was cancelled before it began
            self._wake()

    async def __aenter__(self) -> "Select":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> "Select":
        return self

    async def __anext__(self) -> tuple[str, Any]:
        try:
            name, item = await self.take()
        except SourcesEnded:
            raise StopAsyncIteration from None
        return name, item

    def _pull(self) -> None:
        """Asks every source for an item of which nothing is asked yet."""
        while self._idle:
            name = self._idle.popleft()
            task = asyncio.create_task(self._pull_one(name))
            if not task.done():  # as it is where the loop starts its tasks eagerly
                self._pulling[name] = task

    async def _pull_one(self, name: str) -> None:
        try:
            item = await self._pulls[name]()
        except StopAsyncIteration:
            self._pulls.pop(name, None)
        except Exception as error:
            self._fail(name, error)
        except asyncio.CancelledError as error:
            if name in self._pulls:  # closing leaves nothing there: somebody else has cancelled the source
                self._fail(name, error)
            raise
        else:
            self._ready.append((name, item, None))
        finally:
            self._pulling.pop(name, None)
            self._wake()

    def _fail(self, name: str, error: BaseException) -> None:
        self._pulls.pop(name, None)
        error.add_note(f"from source {name!r}")
        self._ready.append((name, None, error))

    async def _wait(self, timeout: float | None) -> None:  # noqa: ASYNC109  # counts turns of the loop for 0
        """Comes back when a source is ready, all have ended, or the time is over."""
        if timeout == 0:
            await asyncio.sleep(0)  # what is ready now says so within one turn of the loop
            return
        try:
            async with asyncio.timeout(timeout):
                while not self._ready and self._pulling:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        except TimeoutError:
            pass  # something may be ready all the same, by this very turn
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _give(self) -> tuple[str, Any]:
        name, item, error = self._ready.popleft()
        if error is not None:
            raise error
        if name in self._pulls:
            self._idle.append(name)
        return name, item


def puller(name: str, source: Source) -> Callable[[], Awaitable[Any]]:
    """A function that returns the source's next item, or raises StopAsyncIteration."""
    if isinstance(source, AsyncIterable):
        return aiter(source).__anext__
    if callable(source):
        return source
    raise InvalidType(f"source {name!r} must be an async iterable or a function, got {type(source).__name__}")
