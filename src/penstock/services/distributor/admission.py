"""Admission: which packets of a request may come in, and how many are in.

A packet is refused when it is invalid or there is no room for it, and answered without being stored
again when one of the same client's id has been stored, or is just being stored. A packet is in from
the moment it is admitted until it has been delivered or given up.
"""

import asyncio
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from penstock.cache import LRUCache
from penstock.clock import Clock
from penstock.errors import PenstockError
from penstock.ratelimit import TokenBucket
from penstock.services.distributor.config import Config
from penstock.services.distributor.packets import NewPacket, PacketReader, Refusal
from penstock.services.distributor.spool import Spool, SpoolError, Stored

__all__ = ["Admission", "Admitted", "NotStored", "Receipt", "TooFast"]

Waiter = asyncio.Future[None]


class NotStored(PenstockError, RuntimeError):
    """Nothing can be accepted now.

    Attributes:
        retry_after: seconds after which trying again makes sense.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooFast(NotStored):
    """More packets a second than the configuration allows."""


class Receipt(NamedTuple):
    """What became of the packets of a request; each is in exactly one of the lists."""

    accepted: list[str]
    """Ids, in the order of the request."""
    refused: list[Refusal]


@dataclass(slots=True)
class Admitted:
    """What a request holds, before it is stored."""

    receipt: Receipt
    fresh: list[Stored] = field(default_factory=list)
    """Accepted ones that are to be stored."""
    duplicates: int = 0
    """Accepted ones that need not be."""
    waits: list[Waiter] = field(default_factory=list)
    """Done when those duplicates are stored that another request is storing just now."""


class Admission:
    """Lets packets in and keeps count of them.

    Args:
        config: the limits.
        clock: nanoseconds.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._reader = PacketReader(config)
        self._bucket = (
            TokenBucket(config.rate_limit, max(config.rate_limit, config.max_packets), clock=clock)
            if config.rate_limit
            else None
        )
        self._known_ids = LRUCache[str, bool](config.dedupe_ids, ttl=config.dedupe_window, clock=clock)
        self._ids_being_stored: dict[str, list[Waiter]] = {}  # and who waits for that
        self._next_seq = 1
        self.packets = 0
        self.bytes = 0

    def resume(self, spool: Spool, now_ms: int) -> None:
        """Goes on where the last process ended: sequence numbers and the ids that clients chose."""
        self._next_seq = spool.last_seq() + 1
        window_ms = round(self._config.dedupe_window * 1000)
        for id_, accepted_ms in spool.client_ids(now_ms - window_ms, self._config.dedupe_ids):
            left_ms = accepted_ms + window_ms - now_ms
            self._known_ids.set(id_, True, ttl=min(max(left_ms, 1), window_ms) / 1000)

    def admit(self, body: bytes) -> Admitted:
        """Decides about every packet of a request body; whatever is `fresh` counts as in from now on.

        Raises:
            UnreadableRequest: the body is no array of packets.
            TooFast: the rate limit says no.
        """
        packets, refused = self._reader.read(body)
        self._limit_rate(len(packets))
        admitted = Admitted(Receipt([], refused))
        for packet in packets:
            if packet.id_is_clients and self._is_known(packet.id, admitted.waits):
                admitted.duplicates += 1
            elif full := self._what_is_full(packet):
                refused.append(Refusal(packet.index, packet.id, "queue_full", full))
                continue
            else:
                admitted.fresh.append(self._let_in(packet))
            admitted.receipt.accepted.append(packet.id)
        refused.sort(key=attrgetter("index"))
        return admitted

    def _limit_rate(self, packets: int) -> None:
        if packets and self._bucket is not None and not self._bucket.allow(packets):
            wait = self._bucket.retry_after(packets)
            raise TooFast(f"at most {self._config.rate_limit:g} packets a second are taken", wait)

    def _is_known(self, id_: str, waits: list[Waiter]) -> bool:
        """Whether a packet of this id was accepted in the window, or is being stored for another request."""
        waiting = self._ids_being_stored.get(id_)
        if waiting is None:
            return id_ in self._known_ids
        waits.append(asyncio.get_running_loop().create_future())
        waiting.append(waits[-1])
        return True

    def _what_is_full(self, packet: NewPacket) -> str:
        """Which bound the packet would break, in words; empty when it fits."""
        config = self._config
        if self.packets >= config.max_pending:
            return f"{config.max_pending} packets are waiting already, the most that are held"
        if self.bytes + len(packet.body) > config.max_pending_bytes:
            return f"{self.bytes} bytes are waiting already, at most {config.max_pending_bytes} are held"
        return ""

    def _let_in(self, packet: NewPacket) -> Stored:
        stored = Stored(
            self._next_seq, packet.id, packet.messages, len(packet.body), packet.body, packet.id_is_clients
        )
        self._next_seq += 1
        if stored.id_is_clients:
            self._ids_being_stored[stored.id] = []
        self.came_in(stored)
        return stored

    def came_in(self, packet: Stored) -> None:
        """Counts a packet as in."""
        self.packets += 1
        self.bytes += packet.size

    def went_out(self, packet: Stored) -> None:
        """Counts a packet as in no more."""
        self.packets -= 1
        self.bytes -= packet.size

    def stored(self, packet: Stored) -> None:
        """A fresh packet is stored: whoever sent the same id meanwhile has their answer."""
        if packet.id_is_clients:
            self._known_ids.set(packet.id, True)
            for waiter in self._ids_being_stored.pop(packet.id):
                if not waiter.done():
                    waiter.set_result(None)

    def not_stored(self, packet: Stored, error: SpoolError) -> None:
        """A fresh packet could not be stored: it never was."""
        self.went_out(packet)
        if packet.id_is_clients:
            for waiter in self._ids_being_stored.pop(packet.id):
                if not waiter.done():
                    waiter.set_exception(error)

    def forget_old_ids(self) -> None:
        """Lets go of the ids that are older than the window."""
        self._known_ids.expire()
