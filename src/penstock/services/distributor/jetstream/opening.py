"""A distributor on a shared spool: where its parts meet."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import time_ns
from typing import Any, cast

from penstock.clock import Clock, monotonic_ns
from penstock.services.distributor.carrier import AnalyzerClient
from penstock.services.distributor.config import Config
from penstock.services.distributor.jetstream.commits import SharedCommits
from penstock.services.distributor.jetstream.connection import Away, Outgoing
from penstock.services.distributor.jetstream.distributor import SharedDistributor
from penstock.services.distributor.jetstream.fleet import SharedFleet
from penstock.services.distributor.jetstream.follower import Follower
from penstock.services.distributor.jetstream.letters import SharedLetters
from penstock.services.distributor.jetstream.node import WRITE_PAUSE, fleet_figures
from penstock.services.distributor.jetstream.pulling import Pulling
from penstock.services.distributor.jetstream.spool import SharedSpool
from penstock.services.distributor.jetstream.streams import Look
from penstock.services.distributor.shared_limits import SharedLimits
from penstock.services.distributor.state import Distributor, Parts

__all__ = ["shared_distributor"]

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000


class Node:
    """One node of a fleet: a distributor, and what it tells the others.

    Args:
        spool: shared.
        wall: unix nanoseconds.

    Attributes:
        distributor: it; None until it is made.
    """

    def __init__(self, spool: SharedSpool, wall: Clock) -> None:
        self.spool = spool
        self.distributor: SharedDistributor | None = None
        self._wall = wall
        self._followers = [
            Follower(spool.connection, spool.streams, stream, "last_per_subject", take)
            for stream, take in (
                (spool.names.nodes_stream, spool.nodes.take),
                (spool.names.commands_stream, spool.commands.take),
            )
        ]
        self._tasks: list[asyncio.Task[None]] = []
        spool.record = self._record
        spool.lapsed = self._lapsed

    @property
    def parts(self) -> Parts:
        """What a distributor on this spool is made of."""
        return Parts(
            fleet=partial(SharedFleet, self.spool, figures=self.figures),
            commits=SharedCommits,
            filling=partial(Pulling, looked=self._looked),
            letters=SharedLetters,
        )

    def start(self) -> None:
        """Begins to tell others and to listen to them."""
        works = [
            (self._write_for_ever(), "write figures"),
            (self.spool.commands.write_for_ever(), "tell commands"),
            *((follower.run(), "follow others") for follower in self._followers),
        ]
        for work, name in works:
            self._tasks.append(asyncio.create_task(work, name=name))

    async def aclose(self) -> None:
        """Writes the last commands and figures; the distributor has stopped."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.spool.nodes.own.is_over = True
        with suppress(Away):
            await self.spool.commands.write()
            await self._write()

    async def _write_for_ever(self) -> None:
        while True:
            with suppress(Away):
                await self._write()
            await asyncio.sleep(WRITE_PAUSE)

    async def _write(self) -> None:
        if self.distributor is not None and self.spool.connection.is_ready:
            await self.spool.nodes.write(self._counted(), self.spool.held)

    def _counted(self) -> Counter[str]:
        """Everything so far, with what is just being stored."""
        if self.distributor is None:
            return Counter()
        if self.spool.foreseen:
            return self.distributor.counters + self.spool.foreseen
        return self.distributor.counted()

    def _record(self) -> Outgoing:
        return self.spool.nodes.message(self._counted(), self.spool.held)

    def _lapsed(self) -> None:
        """Others deliver what is in memory here; what is on its way already may come twice."""
        if self.distributor is None:
            return
        packets = cast(SharedFleet, self.distributor.fleet).forget_queued()
        for packet in packets:
            self.spool.forget(packet.seq)
        log.warning(
            "nothing was heard of this node for too long: others get the %d packets it had taken",
            len(packets),
        )

    def _looked(self, look: Look) -> None:
        """Admission goes by what waits in the streams."""
        self.spool.waiting = look
        if self.distributor is not None:
            admission = self.distributor.admission
            admission.came_back(look.packets - admission.packets, look.bytes - admission.bytes)

    def figures(self) -> dict[str, Any]:
        """The figures of all nodes."""
        spool = self.spool
        return {
            "fleet": fleet_figures(
                spool.nodes.all(),
                spool.nodes.own.name,
                self._counted(),
                spool.held,
                spool.waiting.packets,
                self._wall() // MILLISECOND,
            )
        }


@asynccontextmanager
async def shared_distributor(
    config: Config,
    client: AnalyzerClient,
    *,
    clock: Clock = monotonic_ns,
    wall: Clock = time_ns,
    limits: SharedLimits | None = None,
) -> AsyncIterator[Distributor]:
    """A started distributor on the shared spool of the settings, while it is open.

    Args:
        config: the settings.
        client: carries packets to analyzers.
        clock: nanoseconds, for everything that waits.
        wall: unix nanoseconds, for everything that is stored.
        limits: those of several distributors.

    Raises:
        SpoolError: the data folder cannot be used, or nats-py is not installed.
    """
    async with SharedSpool(config, wall=wall) as spool:
        config = spool.fitted(config)
        node = Node(spool, wall)
        parts = node.parts._replace(limits=limits)
        distributor = SharedDistributor(config, spool, client, clock=clock, wall=wall, parts=parts)
        node.distributor = distributor
        try:
            await distributor.start()
            node.start()
            yield distributor
        finally:
            await distributor.aclose()
            await node.aclose()
