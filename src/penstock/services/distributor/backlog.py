"""What waits: for each analyzer a bounded part in memory, and of the rest nothing but a place in the spool.

A packet is either held, as an object in memory with its number in `Fleet.held`, or cold: counted by the
`Source` of its owner and found again by reading the spool from the source's place on. What is held is
left out of what was read, so a place may be moved back at any time, and nothing comes twice or never.
"""

import logging
from collections import deque
from collections.abc import Container, Sequence
from typing import NamedTuple, Protocol

from penstock.services.distributor.change import Stored

__all__ = ["CHUNK_BYTES", "CHUNK_PACKETS", "MOST_HELD", "BacklogLike", "Queue", "Reading", "Source"]

log = logging.getLogger(__name__)

MOST_HELD = 20_000
"""Packets that one queue holds in memory, at the most."""
CHUNK_PACKETS = 2000
"""Packets that are read from the spool in one go, between two commits."""
CHUNK_BYTES = 1024 * 1024
"""Bytes of them."""
NOWHERE = (1 << 63) - 1
"""The place of a source that has nothing cold."""


class BacklogLike(Protocol):
    """What `Spool.read_backlog` returns."""

    @property
    def packets(self) -> Sequence[Stored]:
        """Live packets in the order of their numbers, with bodies."""

    @property
    def damaged(self) -> Sequence[Stored]:
        """Live packets whose bodies cannot be read."""

    @property
    def after(self) -> int:
        """Where to go on."""

    @property
    def done(self) -> bool:
        """Whether there was nothing more."""


class Source:
    """The cold packets of one owner.

    Attributes:
        group: the group that they are for.
        owner: the analyzer that they belong to in the spool; None: nobody was there to take them.
        after: every one of them has a higher number.
        packets: how many there are.
        bytes: of their bodies.
        reading: whether some of them are on their way into memory.
    """

    __slots__ = ("_put_back", "after", "bytes", "group", "owner", "packets", "reading")

    def __init__(self, group: str, owner: str | None) -> None:
        self.group = group
        self.owner = owner
        self.after = NOWHERE
        self.packets = 0
        self.bytes = 0
        self.reading = False
        self._put_back = NOWHERE  # the same, of what came while some were being read

    @property
    def key(self) -> tuple[str, str | None]:
        """What tells it from others."""
        return self.group, self.owner

    def resume(self, packets: int, size: int) -> None:
        """Counts what the spool held at the start, wherever it lies."""
        self.packets += packets
        self.bytes += size
        self.after = 0

    def put(self, packet: Stored) -> None:
        """Leaves a stored packet to the spool."""
        packet.body = None
        self.packets += 1
        self.bytes += packet.size
        if packet.seq <= self.after:
            self.after = packet.seq - 1
        if packet.seq <= self._put_back:
            self._put_back = packet.seq - 1

    def begin(self) -> None:
        """Notes that some are being read from `after` on."""
        self.reading = True
        self._put_back = NOWHERE

    def end(self, backlog: BacklogLike, held: Container[int]) -> tuple[list[Stored], list[Stored]]:
        """Takes what was read, and what was damaged, without what is held already; these are cold no more."""
        self.reading = False
        packets = [packet for packet in backlog.packets if packet.seq not in held]
        damaged = [packet for packet in backlog.damaged if packet.seq not in held]
        self.packets -= len(packets) + len(damaged)
        self.bytes -= sum([packet.size for packet in packets]) + sum([packet.size for packet in damaged])
        self.after = min(backlog.after, self._put_back)
        if backlog.done and self._put_back == NOWHERE:
            self._end_of_spool()
        return packets, damaged

    def give_up_reading(self) -> None:
        """The reading failed; all are still there."""
        self.reading = False

    def _end_of_spool(self) -> None:
        if self.packets:  # a fault, which conservation_error shows; reading on would find nothing
            log.error(
                "%d packets of %s in group %s are not in the spool", self.packets, self.owner, self.group
            )
        self.packets = self.bytes = 0
        self.after = NOWHERE


class Reading(NamedTuple):
    """What to read from the spool for a source."""

    source: Source
    after: int
    packets: int
    size_bytes: int


class Queue:
    """Packets in memory that wait for one analyzer: those that have failed before come first.

    Args:
        most_bytes: of bodies, in the queue and under way. The packet that crosses it is still taken.

    Attributes:
        bytes: of bodies, in the queue and under way.
    """

    __slots__ = ("_failed", "_packets", "bytes", "most_bytes")

    def __init__(self, most_bytes: int) -> None:
        self._packets: deque[Stored] = deque()
        self._failed: deque[Stored] = deque()
        self.most_bytes = most_bytes
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._packets) + len(self._failed)

    @property
    def failed(self) -> int:
        """Those of them that have failed before."""
        return len(self._failed)

    @property
    def has_room(self) -> bool:
        """Whether one more packet may come in."""
        return self.bytes < self.most_bytes and len(self) < MOST_HELD

    @property
    def runs_low(self) -> bool:
        """Whether it is time to read more for it."""
        return self.has_room and (len(self) < CHUNK_PACKETS // 2 or self.bytes * 2 < self.most_bytes)

    @property
    def chunk(self) -> tuple[int, int]:
        """The packets and bytes to read for it: as many as it has room for, within bounds."""
        return (
            min(CHUNK_PACKETS, MOST_HELD - len(self)),
            max(1, min(CHUNK_BYTES, self.most_bytes - self.bytes)),
        )

    def put(self, packet: Stored) -> None:
        """Queues a packet, whether or not there is room."""
        (self._failed if packet.failures else self._packets).append(packet)
        if packet.body is not None:
            self.bytes += packet.size

    def put_what_fits(self, packets: Sequence[Stored]) -> int:
        """Queues the first of some packets, as long as there is room, and returns how many those are.

        None of them has failed before.
        """
        size = sum([packet.size for packet in packets])
        if len(self) + len(packets) <= MOST_HELD and self.bytes + size <= self.most_bytes:
            self._packets.extend(packets)
            self.bytes += size
            return len(packets)
        for place, packet in enumerate(packets):
            if not self.has_room:
                return place
            self.put(packet)
        return len(packets)

    def take(self, packets: int, size_bytes: int) -> list[Stored]:
        """The next batch: so many packets, or fewer once they reach the size. Their bytes still count."""
        failed, others = self._failed, self._packets
        batch: list[Stored] = []
        for _ in range(min(packets, len(self))):
            packet = failed.popleft() if failed else others.popleft()
            batch.append(packet)
            size_bytes -= packet.size
            if size_bytes <= 0:
                break
        return batch

    def let_go(self, packets: Sequence[Stored]) -> None:
        """Counts bodies no more that were taken."""
        self.bytes -= sum([packet.size for packet in packets if packet.body is not None])

    def take_all(self) -> list[Stored]:
        """Takes everything that waits, and counts it no more."""
        packets = [*self._failed, *self._packets]
        self._failed.clear()
        self._packets.clear()
        self.let_go(packets)
        return packets
