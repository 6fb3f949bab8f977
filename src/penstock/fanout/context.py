"""Context: deadline, cancellation and values that go down with the calls that serve one request."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final
from weakref import WeakSet

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, PenstockError
from penstock.fanout._fan_out import checked_number
from penstock.timer import MAX_MOMENT, SHORTEST_WAIT, wake

__all__ = ["Context", "ContextCancelled", "ContextInUse", "DeadlineExceeded"]

NEVER: Final = MAX_MOMENT
ENDED = "its block has ended"
NO_KEY: Final = object()


class ContextCancelled(PenstockError, RuntimeError):
    """The context, or one that it descends from, was cancelled."""


class DeadlineExceeded(PenstockError, TimeoutError):
    """The deadline of the context has passed."""


class ContextInUse(PenstockError, RuntimeError):
    """A context was entered a second time."""


class Context:
    """Says how long work may go on, and carries what belongs to it; handed down from caller to callee.

    ::

        async def handle(request):
            async with Context().with_timeout(2.0) as context:
                return await load(context, request.user)

        async def load(context, user):
            async with context.with_timeout(5.0) as patient:    # still not beyond the 2 s
                return await query(user, timeout=patient.remaining())

    A context is over when it is cancelled, when its deadline passes, or when the one it descends from is
    over. So a child never outlives its parent, and what happens to a child does not concern the parent.
    `async with` runs its body under the context: if that is over meanwhile, the body is cancelled, as by
    `asyncio.timeout`, and `DeadlineExceeded` or `ContextCancelled` is raised in its place; when the body has
    ended, the context is over. One that is over already raises at once, and the body does not begin. Each is
    entered once; tasks that run side by side enter a child each.

    `Context()` is a root: without deadline, over only when cancelled. A context costs nothing but its memory
    while nobody is in it or waits for it, and needs no event loop then. A parent does not keep its children
    alive. It belongs to one thread.

    Args:
        clock: what deadlines are measured on, ns, by all that descend from it; the system's monotonic clock
            for None.

    Source: Go's package context.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = checked_clock(clock)
        self._parent: Context | None = None
        self._deadline = NEVER
        self._key: object = NO_KEY
        self._value: object = None
        self._reason: str | None = None  # why it was cancelled
        self._children: WeakSet[Context] = WeakSet()
        self._watches: set[Watch] = set()
        self._entered = False
        self._scope: Scope | None = None  # while the body runs

    def with_cancel(self) -> "Context":
        """A child that can be cancelled alone."""
        return self._child(self._deadline)

    def with_timeout(self, seconds: float) -> "Context":
        """A child whose deadline is `seconds` from now, or the parent's if that is earlier.

        Raises:
            ValueError: seconds < 0, or NaN.
            TypeError: seconds is no number.
        """
        checked_number("seconds", seconds, lambda n: n >= 0, ">= 0")
        now = self._clock()
        return self._child(now + round(min(seconds * NANOSECONDS, NEVER - now)))

    def with_deadline(self, at_ns: int) -> "Context":
        """A child whose deadline is `at_ns` of the clock, or the parent's if that is earlier.

        Raises:
            TypeError: `at_ns` is no int.
        """
        if not isinstance(at_ns, int):
            raise InvalidType(f"at_ns must be an int, got {type(at_ns).__name__}")
        return self._child(at_ns)

    def with_value(self, key: object, value: object) -> "Context":
        """A child that carries `value`; it hides a value that the parent carries under the same key."""
        child = self._child(self._deadline)
        child._key, child._value = key, value
        return child

    def value(self, key: object, default: Any = None) -> Any:
        """What this context, or the nearest one that it descends from, carries under `key`."""
        context: Context | None = self
        while context is not None:
            if context._key == key:
                return context._value
            context = context._parent
        return default

    @property
    def deadline(self) -> int | None:
        """When it is over, ns of the clock; None for no deadline."""
        return None if self._deadline == NEVER else self._deadline

    def remaining(self) -> float | None:
        """Seconds until it is over: 0.0 when it is, None without a deadline. What `asyncio.timeout` takes."""
        if self.done:
            return 0.0
        if self._deadline == NEVER:
            return None
        return max(self._deadline - self._clock(), 0) / NANOSECONDS

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return self._reason is not None or (self._deadline != NEVER and self._clock() >= self._deadline)

    @property
    def error(self) -> ContextCancelled | DeadlineExceeded | None:
        """Why it is over; None while it is not."""
        if self._reason is not None:
            return ContextCancelled(f"context must not be over, it was cancelled: {self._reason}")
        if self.done:
            return DeadlineExceeded("context must not be over, its deadline has passed")
        return None

    def check(self) -> None:
        """Does nothing while the context lasts; for loops that compute and do not await.

        Raises:
            DeadlineExceeded: the deadline has passed.
            ContextCancelled: it was cancelled.
        """
        if (error := self.error) is not None:
            raise error

    def cancel(self, reason: str = "no reason was given") -> None:
        """Ends this context and all that descend from it; nothing where it is over."""
        if self.done:
            return
        family = [self]
        while family:  # no recursion: a chain of contexts may be long
            context = family.pop()
            if not context.done:
                context._reason = reason
                for watch in tuple(context._watches):
                    watch.over()
                family.extend(context._children)

    async def wait(self) -> None:
        """Comes back when the context is over."""
        if self.done:
            return
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watch = Watch(self, partial(wake, over))
        try:
            await over
        finally:
            watch.close()

    async def __aenter__(self) -> "Context":
        if self._entered:
            raise ContextInUse("context must be entered once, it was entered before; enter a child")
        self.check()
        self._entered = True
        self._scope = Scope(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope, self._scope = self._scope, None
        assert scope is not None
        over = self.error
        interrupted = scope.close()
        self.cancel(ENDED)
        if interrupted and over is not None and kind is asyncio.CancelledError:
            try:
                raise over from error
            finally:
                del over  # its traceback holds this frame: a cycle, for the collector only to free

    def _child(self, deadline: int) -> "Context":
        child = Context(clock=self._clock)
        child._parent = self
        child._deadline = min(deadline, self._deadline)
        child._reason = self._reason
        self._children.add(child)
        return child


class Watch:
    """Calls back in a turn of its own when a context is over, once."""

    def __init__(self, context: Context, callback: Callable[[], object]) -> None:
        self._context = context
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        context._watches.add(self)
        self._wait()

    def over(self) -> None:
        """The context is over."""
        self.close()
        self._handle = self._loop.call_soon(self._callback)

    def close(self) -> None:
        """It will not call back any more."""
        self._context._watches.discard(self)
        if self._handle is not None:
            self._handle.cancel()

    def _wait(self) -> None:
        deadline = self._context.deadline
        if deadline is not None:
            wait = max(deadline - self._context._clock(), SHORTEST_WAIT)
            self._handle = self._loop.call_later(wait / NANOSECONDS, self._look)

    def _look(self) -> None:
        if self._context.done:
            self.over()
        else:
            self._wait()  # the loop was early, as uvloop is


class Scope:
    """The body of an `async with`: cancelled when the context is over."""

    def __init__(self, context: Context) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._interrupted = False
        self._watch = Watch(context, self._interrupt)

    def _interrupt(self) -> None:
        self._interrupted = True
        self._task.cancel()

    def close(self) -> bool:
        """Ends the watch. Whether a cancellation of the body came from the context, and from nobody else."""
        self._watch.close()
        del self._watch  # it holds this, too
        return self._interrupted and self._task.uncancel() <= self._cancelling
