"""Group commit: one transaction for everybody who is waiting for one."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from penstock.services.distributor.spool import Change, Spool, SpoolError

__all__ = ["GroupCommit", "NotInTime"]

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
        for future in self.hurried:
            if not future.done():
                future.set_exception(NotInTime(f"the packets were not stored within {timeout:g} s"))


class GroupCommit:
    """Stores changes through one thread; all that come in during a commit make up the next one.

    Whatever happens to the caller in the meantime, a change that was stored is also applied: `apply`
    runs in the event loop between the commit and the callers' waking up.

    Args:
        spool: where changes go.
        prepare: completes a merged change just before it is stored; returns what takes that back should
            the commit fail.
        apply: told of every change that was stored, in order.
        timeout: seconds that a caller in a hurry waits; one timer serves a whole group.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        prepare: Callable[[Change], Undo],
        apply: Callable[[Change], None],
        timeout: float,
    ) -> None:
        self._spool = spool
        self._prepare = prepare
        self._apply = apply
        self._timeout = timeout
        self._next = Group()
        self._wanted = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")

    async def run(self) -> None:
        """Commits until it is cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            group, self._next = self._next, Group()
            group.resolve(await self._commit(group.change))

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
                group.timer = loop.call_later(self._timeout, group.expire, self._timeout)
        self._wanted.set()
        return future

    async def read(self, reading: Callable[[], T]) -> T:
        """What `reading` returns, called between two commits in the spool's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, reading)

    async def _commit(self, change: Change) -> SpoolError | None:
        undo = self._prepare(change)
        try:
            await self.read(lambda: self._spool.commit(change))
        except Exception as failure:
            error = (
                failure if isinstance(failure, SpoolError) else SpoolError(f"the spool failed: {failure!r}")
            )
            if error is not failure:  # ours to mend, but no reason to leave every client waiting
                log.error("a commit failed for a reason that nobody thought of", exc_info=failure)
            undo(error)
            return error
        self._apply(change)
        return None
