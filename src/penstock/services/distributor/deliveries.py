"""Deliveries: to each analyzer as many at a time, as large and as soon as it can take them.

One task an analyzer waits until there is something to deliver and nothing stands against it; each delivery is
a task of its own, so that a slow one holds up nobody else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from penstock.clock import NANOSECONDS, Clock
from penstock.services.distributor.analyzer import Analyzer
from penstock.services.distributor.carrier import AnalyzerClient, DeliveryFailed, PacketFailure
from penstock.services.distributor.change import Change, Stored
from penstock.services.distributor.delivery import DeliveryPolicy, Verdict
from penstock.services.distributor.filling import damaged_ones
from penstock.services.distributor.tasks import Tasks

__all__ = ["Deliveries", "Keeper"]

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000
BAD_REQUEST = 400
ALL_OF_ITS_TIME = 0.9
"""Which part of the timeout a delivery without an answer must have taken to have run out of time."""


class Keeper(NamedTuple):
    """What deliveries ask of who keeps the packets."""

    record: Callable[[Change], Awaitable[None]]
    """Stores what has happened, however long that takes."""
    bodies: Callable[[Sequence[int]], Awaitable[dict[int, bytes]]]
    """Reads bodies by number; those that cannot be read are left out."""
    health_changed: Callable[[Analyzer], None]
    """An analyzer gets packets now, or no more."""
    hand_over: Callable[[Sequence[Stored]], None]
    """Gives packets that are held to other analyzers."""
    took: Callable[[], None]
    """A batch was taken from a queue."""


class Deliveries:
    """Delivers what waits in the queues of analyzers.

    Args:
        client: carries packets to analyzers.
        policy: says what follows from answers.
        keeper: who keeps the packets.
        clock: nanoseconds, for what waits.
        wall: unix nanoseconds, for what is stored.
        failed: told of an error that nobody thought of.
    """

    def __init__(
        self,
        client: AnalyzerClient,
        policy: DeliveryPolicy,
        keeper: Keeper,
        *,
        clock: Clock,
        wall: Clock,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.policy = policy
        self._client = client
        self._keeper = keeper
        self._clock = clock
        self._wall = wall
        self._dispatching: dict[Analyzer, asyncio.Task[None]] = {}
        self._dispatchers = Tasks(failed)
        self._under_way = Tasks(failed)

    # Starting and stopping

    def start(self, analyzer: Analyzer) -> None:
        """Begins to deliver to an analyzer."""
        name = f"deliver to {analyzer.config.id}"
        self._dispatching[analyzer] = self._dispatchers.spawn(self._deliver_for_ever(analyzer), name)

    def stop(self, analyzer: Analyzer) -> None:
        """Begins no further deliveries to an analyzer; those under way go on."""
        self._dispatching.pop(analyzer).cancel()

    async def drain(self, seconds: float) -> None:
        """Begins nothing more and gives the deliveries under way so many seconds."""
        await self._dispatchers.cancel()
        await self._under_way.wait(seconds)

    async def aclose(self) -> None:
        """Ends all of them, whatever is under way."""
        await self._dispatchers.cancel()
        await self._under_way.cancel()

    # One analyzer

    async def _deliver_for_ever(self, analyzer: Analyzer) -> None:
        name = f"delivery to {analyzer.config.id}"
        while True:
            await self._until_it_may(analyzer)
            if analyzer.linger and len(analyzer.queue) < analyzer.pace.batch_packets:
                await self._linger(analyzer)
                if analyzer.obstacle(self._clock()) != 0:
                    continue
            batch = analyzer.take()
            self._under_way.spawn(self.deliver(analyzer, batch), name)
            self._keeper.took()

    @staticmethod
    async def _linger(analyzer: Analyzer) -> None:
        """Waits for packets that fill the delivery, and not once there are enough."""
        with suppress(TimeoutError):
            async with asyncio.timeout(analyzer.linger):
                while len(analyzer.queue) < analyzer.pace.batch_packets:
                    analyzer.wanted.clear()
                    await analyzer.wanted.wait()

    async def _until_it_may(self, analyzer: Analyzer) -> None:
        """Returns when there is something to deliver and nothing stands against it."""
        while True:
            analyzer.wanted.clear()
            wait = analyzer.obstacle(self._clock())
            if wait == 0:
                return
            if wait is None:
                await analyzer.wanted.wait()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await analyzer.wanted.wait()

    # One delivery

    async def deliver(self, analyzer: Analyzer, batch: list[Stored]) -> None:
        """One delivery and what follows from it, stored; until then it counts as in flight."""
        try:
            pieces = [await self._with_bodies(analyzer, batch)]
            while pieces:
                piece = pieces.pop()
                if not analyzer.circuit.may_deliver(0):  # it fell while a part of it was being delivered
                    self._give_back(analyzer, piece)
                    continue
                size = sum([packet.size for packet in piece])
                halves = await self._attempt(analyzer, piece)
                if halves:
                    pieces += reversed(halves)
                else:
                    analyzer.landed(len(piece), size)
        finally:
            analyzer.deliveries -= 1
            analyzer.wanted.set()
            self._keeper.took()

    async def _with_bodies(self, analyzer: Analyzer, batch: list[Stored]) -> list[Stored]:
        """The batch with the bodies that were on disk only, without what cannot be read any more."""
        missing = [packet for packet in batch if packet.body is None]
        if not missing:
            return batch
        bodies = await self._keeper.bodies([packet.seq for packet in missing])
        damaged = []
        for packet in missing:
            packet.body = bodies.get(packet.seq)
            if packet.body is None:
                damaged.append(packet)
            else:
                analyzer.queue.bytes += packet.size
        if damaged:
            await self._keeper.record(damaged_ones(damaged, self._wall() // MILLISECOND))
            analyzer.landed(len(damaged), 0)
        return [packet for packet in batch if packet.body is not None]

    def _give_back(self, analyzer: Analyzer, piece: list[Stored]) -> None:
        analyzer.landed(len(piece), sum([packet.size for packet in piece]))
        self._keeper.hand_over(piece)

    async def _attempt(self, analyzer: Analyzer, piece: list[Stored]) -> list[list[Stored]]:
        """Delivers once and stores what follows; or the halves that are to be delivered instead."""
        if not piece:
            return []
        started = self._clock()
        analyzer.pace.started(analyzer.deliveries)
        try:
            failures = await self._carried(analyzer, piece)
        except DeliveryFailed as error:
            verdict = self._judged(analyzer, piece, error, started)
            if verdict.change is None:
                return verdict.halves
            change = verdict.change
        else:
            analyzer.delivering.record_since(started)
            analyzer.pace.succeeded((self._clock() - started) / NANOSECONDS, len(piece))
            if analyzer.circuit.delivery_succeeded():
                self._keeper.health_changed(analyzer)
            now_ms = self._wall() // MILLISECOND
            change = self.policy.answered(analyzer.config.id, piece, failures, now_ms)
        await self._keeper.record(change)
        return []

    async def _carried(self, analyzer: Analyzer, piece: list[Stored]) -> Mapping[str, PacketFailure]:
        """The failures of a delivery that was answered, by id.

        An error that nobody thought of counts as a refusal: the packet that makes it ends alone as a dead
        letter, where it would end the service, and every one that is started after it.
        """
        try:
            return await self._client.deliver(analyzer.addressed, piece)
        except DeliveryFailed:
            raise
        except Exception as error:
            log.exception("a delivery to %s failed for a reason that nobody thought of", analyzer.config.id)
            raise DeliveryFailed(f"the delivery failed: {error!r}", BAD_REQUEST) from error

    def _judged(
        self, analyzer: Analyzer, piece: list[Stored], error: DeliveryFailed, started: int
    ) -> Verdict:
        """What follows from a failure, for the packets and for the analyzer."""
        now = self._clock()
        verdict = self.policy.failed(
            analyzer.config.id,
            piece,
            error,
            self._wall() // MILLISECOND,
            took_its_time=(now - started) / NANOSECONDS >= ALL_OF_ITS_TIME * analyzer.timeout,
        )
        if verdict.pace == "too_large":
            analyzer.pace.too_large(len(piece), sum([packet.size for packet in piece]))
        elif verdict.pace:
            analyzer.pace.failed(verdict.pace)
        if verdict.left_alone:
            until = now + round(verdict.left_alone * NANOSECONDS)
            analyzer.left_alone_until = max(analyzer.left_alone_until, until)
        analyzer.last_error = str(error)
        if verdict.counts_against and analyzer.circuit.delivery_failed():
            self._keeper.health_changed(analyzer)
        return verdict
