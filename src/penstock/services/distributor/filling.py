"""What lies in the spool comes into memory, as there is room for it."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from penstock.clock import Clock
from penstock.services.distributor.backlog import BacklogLike, Source
from penstock.services.distributor.change import Change, DeadLetter, Stored
from penstock.services.distributor.fleet import Fleet
from penstock.services.distributor.group_commit import Commits, GroupCommit
from penstock.services.distributor.spool import DAMAGED, Spool, SpoolError

__all__ = ["Filling", "SpoolReading", "damaged_ones"]

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000


class Filling(ABC):
    """Has as much of what waits brought into memory as the fleet has room for.

    Args:
        fleet: says what there is room for, and takes it.
        commits: stores who got what.
        wall: unix nanoseconds.
        record: stores what has happened, however long that takes.
        spawn: starts a task.
        pause: seconds after which what failed is tried again.
    """

    def __init__(
        self,
        fleet: Fleet,
        commits: Commits,
        *,
        wall: Clock,
        record: Callable[[Change], Coroutine[Any, Any, None]],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        pause: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._commits = commits
        self._wall = wall
        self._record = record
        self._spawn = spawn
        self._pause = pause
        self._is_over = False

    def stop(self) -> None:
        """Brings nothing more; the next start does it."""
        self._is_over = True

    @abstractmethod
    def refill(self) -> None:
        """Has brought what there is room for now."""

    async def _assign(self, source: Source, packets: list[Stored]) -> None:
        """Deals packets that nobody was there to take; if that cannot be stored, they stay where they are."""
        try:
            await self._commits.submit(Change(assigned=packets))
        except SpoolError as error:
            log.error("%s; trying again in %g s", error, self._pause())
            await asyncio.sleep(self._pause())
        source.give_up_reading()
        self.refill()


class SpoolReading(Filling):
    """Has the spool read, between two commits.

    Args:
        fleet: says what is to be read, and takes what was.
        spool: where packets are.
        commits: reads between commits, and stores who got what.
        more: the other arguments of `Filling`.
    """

    def __init__(self, fleet: Fleet, spool: Spool, commits: GroupCommit, **more: Any) -> None:
        super().__init__(fleet, commits, **more)
        self._looks = commits
        self._spool = spool

    def refill(self) -> None:
        """Has read what there is room for now."""
        if self._is_over:
            return
        for source, after, packets, size_bytes in self._fleet.readings():
            self._looks.look(
                partial(self._spool.read_backlog, source.group, source.owner, after, packets, size_bytes),
                partial(self._came, source),
                partial(self._did_not_come, source),
            )

    def _came(self, source: Source, backlog: BacklogLike) -> None:
        if self._is_over:  # nobody would wait for what follows; the next start reads it again
            return
        to_assign, damaged = self._fleet.came(source, backlog)
        if damaged:
            change = damaged_ones(damaged, self._wall() // MILLISECOND)
            self._spawn(self._record(change), "give up damaged packets")
        if to_assign:
            self._spawn(self._assign(source, to_assign), "assign")
        self.refill()

    def _did_not_come(self, source: Source, error: SpoolError) -> None:
        if self._is_over:
            return
        log.error("%s; trying again in %g s", error, self._pause())
        self._spawn(self._read_later(source), "read again")

    async def _read_later(self, source: Source) -> None:
        await asyncio.sleep(self._pause())
        source.give_up_reading()
        self.refill()


def damaged_ones(packets: list[Stored], now_ms: int) -> Change:
    """Packets whose bodies cannot be read are given up."""
    change = Change(dead=[DeadLetter(packet, DAMAGED, now_ms) for packet in packets])
    change.counters["dead"] = len(packets)
    return change
