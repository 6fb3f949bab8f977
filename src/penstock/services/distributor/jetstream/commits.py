"""Commits to JetStream: what came in and what has become of packets are stored apart, one after the other.

So a server that takes no more packets still notes those that are delivered, and becomes free.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from penstock.services.distributor.change import Change, Stored
from penstock.services.distributor.group_commit import Commits, Group, Undo
from penstock.services.distributor.jetstream.connection import Ack
from penstock.services.distributor.jetstream.spool import SharedSpool
from penstock.services.distributor.spool import SpoolError

__all__ = ["SharedCommits"]

log = logging.getLogger(__name__)


class SharedCommits(Commits):
    """Stores changes in a shared spool; the arguments are those of `GroupCommit`."""

    def __init__(
        self,
        spool: SharedSpool,
        *,
        prepare: Callable[[Change], Undo],
        apply: Callable[[Change], None],
        timeout: float,
    ) -> None:
        super().__init__(prepare=prepare, apply=apply, timeout=timeout)
        self._spool = spool
        self._settling = Group()

    def submit(self, change: Change, *, hurried: bool = False) -> asyncio.Future[None]:
        """As `Commits.submit`."""
        if hurried:
            return super().submit(change, hurried=True)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settling.change.add(change)
        self._settling.futures.append(future)
        self._wanted.set()
        return future

    async def run(self) -> None:
        """Commits until it is cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self._settling.futures:
                settling, self._settling = self._settling, Group()
                await self._settle(settling)
            if self._next.futures:
                coming, self._next = self._next, Group()
                await self._accept(coming)

    async def _settle(self, group: Group) -> None:
        change = group.change
        undo = self._prepare(change)
        try:
            await self._spool.settle(change)
        except Exception as error:
            failure = as_spool_error(error)
            self._spool.foreseen = Counter()
            undo(failure)
            group.resolve(failure)
            return
        self._done(change)
        group.resolve(None)

    async def _accept(self, group: Group) -> None:
        change = group.change
        undo = self._prepare(change)
        try:
            acks = await self._spool.publish(change.accepted, change.counters)
        except Exception as error:
            failure = as_spool_error(error)
            self._spool.foreseen = Counter()
            undo(failure)
            group.resolve(failure)
            return
        stored = [ack is not None and ack.is_stored for ack in acks]
        refusal = None
        if not all(stored):
            refusal = SpoolError(why_not(acks))
            packets, change.accepted = change.accepted, []
            change.accepted = [packet for packet, is_in in zip(packets, stored, strict=True) if not is_in]
            undo(refusal)  # the turns of all; those that are stored take them again
            change = of_new([packet for packet, is_in in zip(packets, stored, strict=True) if is_in])
            change.counters["unanswered"] = acks.count(None)
            self._prepare(change)
        leave_out_duplicates(change, [ack for ack in acks if ack is not None and ack.is_stored])
        self._done(change)
        group.resolve(refusal)

    def _done(self, change: Change) -> None:
        self._spool.note_stored(change)
        self._spool.foreseen = Counter()  # from now on it is counted
        self._apply(change)


def of_new(packets: list[Stored]) -> Change:
    """The change that packets are accepted."""
    counters = Counter(accepted=len(packets), messages_accepted=sum([one.messages for one in packets]))
    return Change(accepted=packets, counters=counters)


def leave_out_duplicates(change: Change, acks: list[Ack]) -> None:
    """Counts those as duplicates that another node has stored before; they are accepted, and there once."""
    for packet, ack in zip(change.accepted, acks, strict=True):
        if ack.duplicate:
            change.counters["accepted"] -= 1
            change.counters["messages_accepted"] -= packet.messages
            change.counters["duplicates"] += 1
            if packet.analyzer is not None:
                change.counters[f"first_assigned:{packet.analyzer}"] -= 1


def why_not(acks: list[Ack | None]) -> str:
    """Why packets were not stored, in words."""
    for ack in acks:
        if ack is not None and ack.error:
            return f"JetStream refuses packets: {ack.error.description}"
    return "NATS did not answer for some packets in time"


def as_spool_error(error: Exception) -> SpoolError:
    """The error as one of the spool."""
    if isinstance(error, SpoolError):
        return error
    log.error("the shared spool failed for a reason that nobody thought of", exc_info=error)
    return SpoolError(f"the spool failed: {error!r}")
