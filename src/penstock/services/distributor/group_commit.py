"""Group commit: one write to the disk for everybody who is waiting for one."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from penstock.services.distributor.change import Change
from penstock.services.distributor.spool import SpoolError

__all__ = ["Commits", "GroupCommit", "NotInTime"]

log = logging.getLogger(__name__)

T = TypeVar("T")
Undo = Callable[[SpoolError], None]


class NotInTime(SpoolError, TimeoutError):
    """A change was not stored in time; it may still be stored later."""


class Group:
    """Changes that share a commit, and who waits for it."""

    __slots__ = ("change", "futures", "hurried", "timer")

    def __init__(self) -> None:
        self.change = Change()
        self.futures: list[asyncio.Future[None]] = []
        self.hurried: list[asyncio.Future[None]] = []
        self.timer: asyncio.TimerHandle | None = None

    def resolve(self, error: SpoolError | None) -> None:
        """Tells everybody who still waits how it ended."""
        if self.timer is not None:
            self.timer.cancel()
        for future in self.futures:
            if future.done():  # its caller has given up waiting
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def expire(self, timeout: float) -> None:
        """Tells those in a hurry that they need not wait any longer."""
        hurried, self.hurried, self.timer = self.hurried, [], None  # who comes from now on has a timer anew
        for future in hurried:
            if not future.done():
                future.set_exception(NotInTime(f"the packets were not stored within {timeout:g} s"))


class Look(NamedTuple):
    """A look at the spool after a commit, and who is told what it showed."""

    reading: Callable[[], Any]
    then: Callable[[Any], None]
    failed: Callable[[SpoolError], None]


class Commits(ABC):
    """Takes changes, and has all of them stored together that came in during the commit before.

    Whatever happens to the caller in the meantime, a change that was stored is also applied: `apply`
    runs in the event loop between the commit and the callers' waking up.

    Args:
        prepare: completes a merged change just before it is stored; returns what takes that back should
            the commit fail.
        apply: told of every change that was stored, in order.
        timeout: seconds that a caller in a hurry waits; one timer serves a whole group.
    """

    def __init__(
        self, *, prepare: Callable[[Change], Undo], apply: Callable[[Change], None], timeout: float
    ) -> None:
        self._prepare = prepare
        self._apply = apply
        self.timeout = timeout
        self._next = Group()
        self._wanted = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")

    @abstractmethod
    async def run(self) -> None:
        """Commits until it is cancelled."""

    def close(self) -> None:
        """Ends the thread; nothing may be waiting."""
        self._thread.shutdown()

    def submit(self, change: Change, *, hurried: bool = False) -> asyncio.Future[None]:
        """A future that is done once the change is stored and applied.

        It fails with SpoolError when the change is not stored and, for a caller in a hurry, with NotInTime
        when that takes too long. Cancelling it stops the waiting, not the storing.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        group = self._next
        group.change.add(change)
        group.futures.append(future)
        if hurried:
            group.hurried.append(future)
            if group.timer is None:
                group.timer = loop.call_later(self.timeout, group.expire, self.timeout)
        self._wanted.set()
        return future

    async def read(self, reading: Callable[[], T]) -> T:
        """What `reading` returns, called between two commits in the spool's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, reading)


class Committing(Protocol):
    """What stores a change; a `Spool` does."""

    def commit(self, change: Change) -> None:
        """Stores a change whole.

        Raises:
            SpoolError: nothing of it is stored.
        """


class GroupCommit(Commits):
    """Stores changes in the spool's own thread, which is asked nothing else meanwhile.

    Args:
        spool: where changes go.
        prepare: as for `Commits`, like the others.
        apply: the same.
        timeout: the same.
    """

    def __init__(
        self,
        spool: Committing,
        *,
        prepare: Callable[[Change], Undo],
        apply: Callable[[Change], None],
        timeout: float,
    ) -> None:
        super().__init__(prepare=prepare, apply=apply, timeout=timeout)
        self._spool = spool
        self._looks: deque[Look] = deque()
        self._is_failing = False

    async def run(self) -> None:
        """Commits until it is cancelled."""
        while True:
            await self._wanted.wait()
            if self._next.futures:
                group, self._next = self._next, Group()
                await self._commit(group)
            if self._looks:  # one at a time: somebody waits for the next commit
                await self._look(self._looks.popleft())
            if not (self._next.futures or self._looks):
                self._wanted.clear()

    async def _commit(self, group: Group) -> None:
        change = group.change
        undo = self._prepare(change)
        stored = await self.read(partial(result_or_error, partial(self._spool.commit, change)))
        error = stored if isinstance(stored, SpoolError) else None
        self._tell_when_it_turns(error)
        if error is None:
            self._apply(change)
        else:
            undo(error)
        group.resolve(error)

    def _tell_when_it_turns(self, error: SpoolError | None) -> None:
        """Has people know why clients are refused: once, not with every commit that fails."""
        if error is not None and not self._is_failing:
            log.error("packets cannot be stored and are refused: %s", error)
        elif error is None and self._is_failing:
            log.warning("packets are stored and accepted again")
        self._is_failing = error is not None

    async def _look(self, look: Look) -> None:
        seen = await self.read(partial(result_or_error, look.reading))
        (look.failed if isinstance(seen, SpoolError) else look.then)(seen)

    def look(
        self, reading: Callable[[], T], then: Callable[[T], None], failed: Callable[[SpoolError], None]
    ) -> None:
        """Calls `reading` in the spool's thread, and `then` with what it returned.

        What it saw is what had been applied, and nothing else: `then` is called after everything stored
        before the reading was applied, and before anything stored after it is.
        """
        self._looks.append(Look(reading, then, failed))
        self._wanted.set()


def result_or_error(reading: Callable[[], T]) -> T | SpoolError:
    """What it returns, or why it failed, as an error of the spool."""
    try:
        return reading()
    except SpoolError as error:
        return error
    except Exception as error:  # ours to mend, but no reason to leave every client waiting
        log.error("the spool failed for a reason that nobody thought of", exc_info=error)
        return SpoolError(f"the spool failed: {error!r}")
