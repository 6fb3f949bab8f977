"""The books: what happens is stored first and then so in memory, and what is said is what is on disk.

Everything that happens to a packet is a `Change`. It is prepared when its commit begins, which settles who
gets what is new, and applied when it is stored, in one place, `Books._apply`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from penstock.clock import Clock
from penstock.services.distributor.admission import Admission
from penstock.services.distributor.change import Change, Stored
from penstock.services.distributor.fleet import Fleet
from penstock.services.distributor.group_commit import Commits
from penstock.services.distributor.live_tail import LiveTail
from penstock.services.distributor.spool import SpoolError
from penstock.services.distributor.spool_like import SpoolLike

__all__ = ["Books", "in_the_books"]

log = logging.getLogger(__name__)

T = TypeVar("T")

MILLISECOND = 1_000_000


class Books:
    """Stores what happens, and has everybody who keeps something in memory agree with it.

    Args:
        spool: where packets are.
        make_commits: makes what stores changes there; see `GroupCommit`.
        fleet: says who gets new packets, and holds them.
        admission: counts what is in.
        tail: shows what happens.
        remembered: what people have said and changed, to hold over a restart.
        applied: told of every change, when the others know it.
        wall: unix nanoseconds.
        timeout: seconds that whoever sent packets waits.

    Attributes:
        commits: what stores changes.
        counters: every count as of the last commit.
        pause: seconds after which the spool is asked again that failed.
    """

    pause = 1.0

    def __init__(
        self,
        spool: SpoolLike,
        make_commits: Callable[..., Commits],
        fleet: Fleet,
        admission: Admission,
        tail: LiveTail,
        *,
        remembered: Callable[[], dict[str, Any]],
        applied: Callable[[Change], None],
        wall: Clock,
        timeout: float,
    ) -> None:
        self.commits = make_commits(spool, prepare=self._prepare, apply=self._apply, timeout=timeout)
        self.counters: Counter[str] = Counter()
        self._unsaved: Counter[str] = Counter()  # counted since, stored with the next change
        self._saving: Counter[str] = Counter()  # those of the change that is being stored
        self._spool = spool
        self._fleet = fleet
        self._admission = admission
        self._tail = tail
        self._remembered = remembered
        self._applied = applied
        self._wall = wall

    # Counting

    def count(self, name: str, amount: int = 1) -> None:
        """Adds to a counter, which is stored with the next change."""
        if amount:
            self._unsaved[name] += amount

    def counted(self) -> Counter[str]:
        """Every count since the spool was made, the last ones included, which are not stored yet."""
        return self.counters + self._unsaved + self._saving

    # Storing

    async def record(self, change: Change) -> None:
        """Stores what has happened already; a spool that fails is asked again until it succeeds."""
        await self._until_spool_does(partial(self.commits.submit, change))

    async def bodies(self, seqs: Sequence[int]) -> dict[int, bytes]:
        """The bodies of packets, as the spool has them, and as soon as it gives them."""
        read = partial(self._spool.bodies, seqs)
        return await self._until_spool_does(partial(self.commits.read, read))

    async def _until_spool_does(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the spool answers, asked again and again until it does not fail."""
        while True:
            try:
                return await ask()
            except SpoolError as error:
                log.error("%s; trying again in %g s", error, self.pause)
                await asyncio.sleep(self.pause)

    def _prepare(self, change: Change) -> Callable[[SpoolError], None]:
        """Assigns what has no analyzer yet, in the order of storing; returns what undoes it."""
        if change.notes:  # which may have been made before others that are stored already
            change.notes.update(self._remembered())
        fleet = self._fleet
        new = change.accepted + [replay.packet for replay in change.replayed] + change.assigned
        fleet.find_keys([replay.packet for replay in change.replayed])
        groups = fleet.served_by(new) if new else set()
        credits_before = fleet.credits(groups)
        if new:
            fleet.assign(new, change.counters)
            change.notes.update(fleet.credits(groups))
        for packet in [packet for packet in change.assigned if packet.analyzer is None]:
            fleet.leave(packet)  # all have fallen meanwhile
            change.assigned.remove(packet)
        self._saving, self._unsaved = self._unsaved, Counter()
        change.counters.update(self._saving)
        return partial(self._take_back, change, credits_before)

    def _take_back(self, change: Change, credits_before: dict[str, Any], error: SpoolError) -> None:
        self._fleet.restore(credits_before.get)
        self._unsaved.update(self._saving)
        self._saving = Counter()
        for packet in change.assigned:
            packet.analyzer = None
            self._fleet.leave(packet)
        self._admission.not_stored(change.accepted, error)

    def _apply(self, change: Change) -> None:
        """Makes what is held in memory agree with what has just been stored."""
        self.counters.update(change.counters)
        self._saving = Counter()
        self._tail.tell(change, self._wall() // MILLISECOND)
        if change.accepted:
            self._admission.stored(change.accepted)
            self._fleet.stored(change.accepted)
        if change.replayed:
            self._fleet.stored([replay.packet for replay in change.replayed])
        if change.assigned:
            self._fleet.stored(change.assigned)
        if change.delivered:
            self._forget(change.delivered)
        if change.dead:
            self._forget([letter.packet for letter in change.dead])
        self._applied(change)

    def _forget(self, packets: Sequence[Stored]) -> None:
        self._fleet.ended(packets)
        self._admission.left(len(packets), sum([packet.size for packet in packets]))


def in_the_books(counters: Counter[str]) -> int:
    """Packets that should be pending, by what was counted."""
    came = counters["accepted"] + counters["replayed"]
    return came - counters["delivered"] - counters["dead"] - counters["lost"]
