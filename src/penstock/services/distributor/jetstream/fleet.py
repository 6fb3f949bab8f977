"""The fleet of analyzers as a node sees it whose packets lie in JetStream.

What is accepted here is held by nobody until it is pulled, here or elsewhere; what this node cannot place is
handed back.
"""

from collections.abc import Callable, Sequence
from typing import Any

from penstock.clock import Clock
from penstock.services.distributor.backlog import CHUNK_BYTES, CHUNK_PACKETS, Source
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import Config
from penstock.services.distributor.fleet import Fleet, KeyOf
from penstock.services.distributor.jetstream.spool import SharedSpool

__all__ = ["SharedFleet"]

LEAST_AHEAD = 200
"""Packets that are pulled for an analyzer ahead of time, at the least."""


class SharedFleet(Fleet):
    """See `Fleet`.

    Args:
        spool: where packets are.
        config: the settings.
        clock: nanoseconds.
        key_of: as for `Fleet`.
        figures: those of all nodes.
    """

    def __init__(
        self,
        spool: SharedSpool,
        config: Config,
        clock: Clock,
        key_of: KeyOf = lambda packet: None,
        *,
        figures: Callable[[], dict[str, Any]],
    ) -> None:
        self._spool = spool
        self._figures = figures
        super().__init__(config, clock, key_of)

    @property
    def pending(self) -> int:
        """Packets that are neither delivered nor given up, of all nodes."""
        return self._spool.waiting.packets

    # What was stored

    def stored(self, packets: Sequence[Stored]) -> None:
        """They are in the streams, and come from there."""
        self.ended(packets)

    def leave(self, packet: Stored) -> None:
        """Hands a packet back."""
        self.ended([packet])
        self._spool.give_back(packet.seq)

    def will_be_retried(self, packet: Stored) -> bool:
        """It is in the stream of those, and comes from there when it is due."""
        self.ended([packet])
        return False

    def move(self, packet: Stored) -> None:
        """As `Fleet.move`; what nobody is there for waits in the stream, which has its body."""
        if self.group_of(packet.group).takers:
            super().move(packet)
        else:
            self.leave(packet)

    # What was pulled

    def room_for(self, source: Source) -> tuple[int, int] | None:
        """How many packets and bytes of an owner's may be pulled; None while there is no room.

        An analyzer of its own gets as much ahead as is on its way to it: other nodes want something, too.
        """
        owner = self._owner_of(source)
        if owner is None:
            return self._chunk(source)
        ahead = max(owner.most_in_flight, LEAST_AHEAD)
        queued = len(owner.queue)
        if queued * 2 > ahead or not owner.queue.has_room:
            return None
        packets, size_bytes = owner.queue.chunk
        return min(packets, ahead - queued), size_bytes

    def room_for_retries(self, group: str) -> tuple[int, int] | None:
        """The same of packets of a group that are to be tried again."""
        if any(analyzer.queue.has_room for analyzer in self.group_of(group).takers):
            return CHUNK_PACKETS // 4, CHUNK_BYTES
        return None

    def arrived(self, source: Source, packet: Stored) -> bool:
        """Takes in a packet; whether it has to be assigned first."""
        self.held.add(packet.seq)
        if source.owner is None:
            self.find_keys([packet])
            return True
        owner = self._owner_of(source)
        if owner is None:
            self.hand_over([packet])
        else:
            owner.put(packet)
        return False

    def retry_arrived(self, packet: Stored) -> None:
        """A packet that failed is due."""
        self.held.add(packet.seq)
        self.find_keys([packet])
        self.move(packet)

    def forget_queued(self) -> list[Stored]:
        """Gives up what is in memory and not on its way; returns it."""
        packets = [packet for analyzer in self.members.values() for packet in analyzer.queue.take_all()]
        for group in self.groups.values():
            packets += group.waiting
            group.waiting.clear()
        self.ended(packets)
        return packets

    def looked(self, queued: dict[tuple[str, str | None], int]) -> None:
        """Takes note of how many packets of each owner wait in the streams, and are not here."""
        for key in queued:
            self.source(*key)
        for key, source in self.sources.items():
            owner = self._owner_of(source)
            here = 0 if owner is None else len(owner.queue) + owner.in_flight
            source.packets = max(0, queued.get(key, 0) - here)

    # Telling

    def missing(self, books: int) -> int:
        """Nothing: what one node has accepted another one delivers."""
        return 0

    def more_figures(self) -> dict[str, Any]:
        """What there is to be told of all nodes."""
        return self._figures()
