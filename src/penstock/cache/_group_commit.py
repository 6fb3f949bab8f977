"""Group commit: all writes that come in while the disk is busy share the next sync."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from penstock.cache.journal import Committed, Journal, JournalUnavailable, Write

__all__ = ["GroupCommit", "Pending"]

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

MAX_GROUP = 4096  # writes
MAX_GROUP_BYTES = 4 << 20


class Pending(Generic[T]):
    """A write that is on its way into the journal.

    Attributes:
        write: as it is recorded.
        what: it means to whoever submitted it.
        future: done when it is recorded and applied, or refused.
    """

    __slots__ = ("future", "what", "write")

    def __init__(self, write: Write, what: T) -> None:
        self.write = write
        self.what = what
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class GroupCommit(Generic[T]):
    """Records writes through one thread, in the order in which they were submitted.

    What was recorded is applied, and what was not is given up, whether or not its caller still waits.

    Args:
        journal: used by the thread only, but for its settings.
        apply: called in the event loop, before the callers wake up, with what was recorded: the first
            number, and the writes.
        give_up: called with what was refused.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        apply: Callable[[Committed, list[Pending[T]]], None],
        give_up: Callable[[list[Pending[T]]], None],
    ) -> None:
        self._journal = journal
        self._apply = apply
        self._give_up = give_up
        self._queue: deque[Pending[T]] = deque()
        self._released = 0  # records with lower numbers are not needed any more
        self._sync_at: float | None = None  # when the loop's clock shows that
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")

    def submit(self, write: Write, what: T) -> asyncio.Future[None]:
        """A future that is done once the write is recorded and applied; JournalUnavailable if it is not.

        Cancelling it stops the waiting, not the writing.
        """
        pending = Pending(write, what)
        pending.future.add_done_callback(seen)
        self._queue.append(pending)
        self._idle.clear()
        self._wanted.set()
        return pending.future

    def release(self, number: int) -> None:
        """Has the journal let go of records with lower numbers, soon."""
        self._released = number
        self._wanted.set()

    async def idle(self) -> None:
        """Waits until everything submitted is recorded or refused."""
        await self._idle.wait()

    async def call(self, work: Callable[..., R], *arguments: Any) -> R:
        """What `work` returns, called in the journal's thread between two commits."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def stop(self) -> None:
        """Refuses what waits; nothing may be submitted any more."""
        left = list(self._queue)
        self._queue.clear()
        self._give_up(left)
        answer(left, JournalUnavailable(f"the journal {self._journal.path} was closed before it could write"))
        self._idle.set()

    async def aclose(self) -> None:
        """Closes the journal and ends the thread; `run` must have ended."""
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._journal.close)
        self._thread.shutdown(wait=False)
        await asyncio.shield(closing)

    async def run(self) -> None:
        """Records until it is cancelled."""
        while True:
            await self._wait()
            if group := self._next_group():
                await self._commit(group)
            if self._sync_at is not None and asyncio.get_running_loop().time() >= self._sync_at:
                self._sync_at = None
                await self._tidily(self._journal.sync)
            if self._released:
                number, self._released = self._released, 0
                await self._tidily(self._journal.release, number)
            if not self._queue:
                self._idle.set()

    async def _wait(self) -> None:
        if not self._queue:
            try:
                async with asyncio.timeout_at(self._sync_at):
                    await self._wanted.wait()
            except TimeoutError:  # time to sync
                pass
        self._wanted.clear()

    def _next_group(self) -> list[Pending[T]]:
        group: list[Pending[T]] = []
        size = 0
        while self._queue and len(group) < MAX_GROUP and size < MAX_GROUP_BYTES:
            pending = self._queue.popleft()
            group.append(pending)
            size += pending.write.size
        return group

    async def _commit(self, group: list[Pending[T]]) -> None:
        try:
            committed = await self.call(self._journal.commit, [pending.write for pending in group])
        except asyncio.CancelledError:
            answer(group, JournalUnavailable(f"the journal {self._journal.path} was closed in the middle"))
            raise
        except Exception as error:  # whatever it is, nobody may be left waiting
            if not isinstance(error, JournalUnavailable):
                log.exception("the journal %s failed for a reason that nobody thought of", self._journal.path)
            self._give_up(group)
            answer(group, error)
        else:
            if self._journal.mode == "interval" and self._sync_at is None:
                self._sync_at = asyncio.get_running_loop().time() + self._journal.interval
            answer(group, self._applied(committed, group))

    def _applied(self, committed: Committed, group: list[Pending[T]]) -> Exception | None:
        """Applies what was recorded; an error, such as one of the user's clock, goes to the callers."""
        try:
            self._apply(committed, group)
        except Exception as error:
            log.exception("the journal %s has writes that could not be applied", self._journal.path)
            return error
        return None

    async def _tidily(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            await self.call(work, *arguments)
        except JournalUnavailable as error:
            log.error("%s", error)


def answer(group: list[Pending[T]], error: Exception | None) -> None:
    """Tells everybody who still waits how it ended."""
    for pending in group:
        if pending.future.done():  # its caller has given up waiting
            continue
        if error is None:
            pending.future.set_result(None)
        else:
            pending.future.set_exception(error)


def seen(future: asyncio.Future[None]) -> None:
    """Looks at an error for a caller that has given up waiting."""
    if not future.cancelled():
        future.exception()
