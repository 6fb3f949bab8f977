"""What lies in JetStream comes into memory, as there is room for it."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from penstock.services.distributor.backlog import Source
from penstock.services.distributor.change import Change, DeadLetter, Stored
from penstock.services.distributor.config import DEFAULT_GROUP
from penstock.services.distributor.filling import Filling
from penstock.services.distributor.jetstream.connection import Away, Refused
from penstock.services.distributor.jetstream.envelope import NoEnvelope, packet_in
from penstock.services.distributor.jetstream.fleet import SharedFleet
from penstock.services.distributor.jetstream.message import Message
from penstock.services.distributor.jetstream.orphans import Orphans, Place
from penstock.services.distributor.jetstream.pull import Pull, delivered
from penstock.services.distributor.jetstream.spool import SharedSpool
from penstock.services.distributor.jetstream.streams import Look

__all__ = ["Pulling"]

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000
LOOK_PAUSE = 0.5
"""Seconds between two looks at how much waits."""
QUOTED = 4096
"""Bytes that are kept of a message that is no packet."""


class Pulling(Filling):
    """Pulls what the fleet has room for; the arguments are those of `Filling`."""

    _fleet: SharedFleet

    def __init__(
        self,
        fleet: SharedFleet,
        spool: SharedSpool,
        *arguments: Any,
        looked: Callable[[Look], None],
        **more: Any,
    ) -> None:
        super().__init__(fleet, *arguments, **more)
        self._spool = spool
        self._looked = looked
        self._pulls: dict[tuple[str, str | None], Pull] = {}
        self._retry_pulls: dict[str, Pull] = {}
        self._to_assign: dict[tuple[str, str | None], list[Stored]] = {}
        self._is_started = False
        self._orphans = Orphans(spool.streams, spool.hold_time, spool.nodes.is_first, self._make_anew)

    # Asking

    def refill(self) -> None:
        """Asks for what there is room for now."""
        if self._is_over:
            return
        if not self._is_started:
            self._is_started = True
            self._spool.connection.on_ready.append(self._renew)
            self._spawn(self._look_for_ever(), "look at JetStream")
        for key, pull in self._pulls.items():
            source = self._fleet.source(*key)
            if not pull.is_asking and not source.reading and (room := self._fleet.room_for(source)):
                pull.ask(*room)
        for group, pull in self._retry_pulls.items():
            if not pull.is_asking and (room := self._fleet.room_for_retries(group)):
                pull.ask(*room)

    def stop(self) -> None:
        """Asks for nothing more, and hands back what still comes."""
        super().stop()
        for pull in [*self._pulls.values(), *self._retry_pulls.values()]:
            pull.stop()

    def _renew(self) -> None:
        """What was asked for over another connection does not come any more."""
        for pull in [*self._pulls.values(), *self._retry_pulls.values()]:
            pull.renew()

    async def _look_for_ever(self) -> None:
        """Sees to it that every packet is asked for by somebody, and how many there are."""
        while not self._is_over:
            await self._spool.connection.ready()
            try:
                look = await self._spool.streams.look()
                await self._make_pulls(look)
                await self._orphans.look(self._places(look))
            except (Away, Refused) as error:
                log.warning("JetStream cannot be looked at: %s", error)
            else:
                self._fleet.looked(self._packets_by_owner(look))
                self._looked(look)
                self.refill()
            await asyncio.sleep(LOOK_PAUSE)

    def _packets_by_owner(self, look: Look) -> dict[tuple[str, str | None], int]:
        names = self._spool.names
        prefix = f"{names.packet_subjects}."
        return {
            names.owner_of(subject): packets
            for subject, packets in look.by_subject.items()
            if subject.startswith(prefix)
        }

    def _places(self, look: Look) -> dict[Place, int]:
        """Where messages wait, and how many."""
        names = self._spool.names
        places = {}
        for subject, messages in look.by_subject.items():
            if subject.startswith(f"{names.packet_subjects}."):
                consumer = names.consumer_of(*names.owner_of(subject))
                places[Place(names.packets, consumer, subject)] = messages
            else:
                group = subject.removeprefix(f"{names.retry_subjects}.").replace("~", ".")
                places[Place(names.retries, names.consumer_of(group, None), subject)] = messages
        return places

    async def _make_anew(self, place: Place) -> None:
        """A consumer was deleted: what was asked of it does not come."""
        self._renew()
        await self._make_pulls(await self._spool.streams.look())

    async def _make_pulls(self, look: Look) -> None:
        """Makes the consumers of this fleet, and of analyzers that are no more and left something."""
        members = [(one.config.group, id_) for id_, one in self._fleet.members.items()]
        groups = [*self._fleet.groups]
        wanted = {*members, *((group, None) for group in groups), *self._packets_by_owner(look)}
        for key in wanted:
            await self._make_pull(*key)
        prefix = f"{self._spool.names.retry_subjects}."
        left = [subject.removeprefix(prefix) for subject in look.by_subject if subject.startswith(prefix)]
        for group in {*groups, *(name.replace("~", ".") for name in left)}:
            await self._make_retry_pull(group)

    async def _make_pull(self, group: str, owner: str | None) -> None:
        spool, key = self._spool, (group, owner)
        try:
            consumer = await spool.streams.consumer_of_packets(group, owner)
        except Refused as refusal:  # the others are none the worse for it
            log.error("packets of %s in group %s cannot be pulled: %s", owner, group, refusal)
            return
        if key not in self._pulls:
            arrived = partial(self._arrived, self._fleet.source(group, owner))
            self._pulls[key] = Pull(spool.connection, spool.names.packets, consumer, arrived, self.refill)

    async def _make_retry_pull(self, group: str) -> None:
        spool = self._spool
        try:
            consumer = await spool.streams.consumer_of_retries(group)
        except Refused as refusal:
            log.error("packets of group %s cannot be tried again: %s", group, refusal)
            return
        if group not in self._retry_pulls:
            self._retry_pulls[group] = Pull(
                spool.connection, spool.names.retries, consumer, self._retry_arrived, self.refill
            )

    # Taking

    def _arrived(self, source: Source, message: Message) -> None:
        packet = self._packet_in(message)
        if packet is None:
            return
        packet.group, packet.analyzer = source.group, source.owner
        if self._fleet.arrived(source, packet):
            waiting = self._to_assign.setdefault(source.key, [])
            if not waiting:
                asyncio.get_running_loop().call_soon(self._assign_those, source)
            waiting.append(packet)

    def _assign_those(self, source: Source) -> None:
        source.reading = True  # no more of them until these are assigned, and that is stored
        self._spawn(self._assign(source, self._to_assign.pop(source.key)), "assign")

    def _retry_arrived(self, message: Message) -> None:
        packet = self._packet_in(message)
        if packet is None:
            return
        wait_ms = packet.due_ms - self._wall() // MILLISECOND
        if wait_ms > 0:
            self._spool.give_back(packet.seq, wait_ms)
        else:
            self._fleet.retry_arrived(packet)

    def _packet_in(self, message: Message) -> Stored | None:
        """The packet that was pulled; None when there is none or nothing is taken any more."""
        seq = self._spool.hold(message.reply)
        if seq is None:
            return None
        if self._is_over:
            self._spool.give_back(seq, 0)
            return None
        try:
            return packet_in(message.data, seq)
        except NoEnvelope as error:
            self._spawn(self._give_up(seq, message, str(error)), "give up what is no packet")
            return None

    async def _give_up(self, seq: int, message: Message, error: str) -> None:
        """A message that nobody of us wrote becomes a dead letter, for a person to look at."""
        stream, place, *_ = delivered(message.reply)
        log.error("message %d of %s is given up: %s", place, stream, error)
        text = message.data[:QUOTED].decode(errors="replace") or "(empty)"
        id_ = f"{stream}-{place}"
        body = msgspec.json.encode({"messages": [{"message": text}], "id": id_})
        packet = Stored(seq, id_, 1, len(body), body, group=DEFAULT_GROUP)
        change = Change(dead=[DeadLetter(packet, error, self._wall() // MILLISECOND)])
        await self._record(change)
