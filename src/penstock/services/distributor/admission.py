"""Admission: which packets of a request may come in, and how many are in.

A packet is refused when it is invalid or there is no room for it, and answered without being stored
again when one of the same client's id has been stored, or is just being stored. A packet is in from
the moment it is admitted until it has been delivered or given up.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from penstock.cache import LRUCache
from penstock.clock import Clock
from penstock.errors import PenstockError
from penstock.ratelimit import TokenBucket
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import Config
from penstock.services.distributor.packet_scan import PacketReader
from penstock.services.distributor.packets import Refusal
from penstock.services.distributor.records import Bundle, RecordRouter, RecordsReceipt
from penstock.services.distributor.room import Room
from penstock.services.distributor.router import labels_in

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
    """More packets a second than the configuration, or the client's API key, allows."""


class Receipt(NamedTuple):
    """What became of the packets of a request; each is in exactly one of the lists."""

    accepted: list[str]
    """Ids, in the order of the request."""
    refused: list[Refusal]


ReceiptT = TypeVar("ReceiptT", Receipt, RecordsReceipt)


@dataclass(slots=True)
class Admitted(Generic[ReceiptT]):
    """What a request holds, before it is stored."""

    receipt: ReceiptT
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
        router: tells the group of each packet, and its key.
    """

    def __init__(self, config: Config, clock: Clock, router: RecordRouter) -> None:
        self._clock = clock
        self._known_ids = LRUCache[str, bool](config.dedupe_ids, ttl=config.dedupe_window, clock=clock)
        self._ids_being_stored: dict[str, list[Waiter] | None] = {}  # and who waits for that
        self._next_seq = 1
        self._room = Room(config, clock)
        self._bucket = bucket_of(config, clock)
        self._set_rules(config, router)

    def change(self, config: Config, router: RecordRouter) -> None:
        """Takes other limits and rules; the window in which ids are known stays as it was at the start."""
        if config.rate_limit != self._config.rate_limit or config.max_packets != self._config.max_packets:
            self._bucket = bucket_of(config, self._clock)
        self._room.change(config)
        self._set_rules(config, router)

    def _set_rules(self, config: Config, router: RecordRouter) -> None:
        self._config = config
        self._router = router
        self._reader = PacketReader(config)

    def resume(
        self, last_seq: int, packets: int, size: int, ids: Iterable[tuple[str, int]], now_ms: int
    ) -> None:
        """Goes on where the last process ended.

        Args:
            last_seq: the highest number ever given.
            packets: how many wait.
            size: bytes of their bodies.
            ids: those that clients chose, and when they were accepted, in unix milliseconds, oldest first.
            now_ms: the same of now.
        """
        self._next_seq = last_seq + 1
        self._room.count(packets, size)
        window_ms = round(self._config.dedupe_window * 1000)
        for id_, accepted_ms in ids:
            left_ms = accepted_ms + window_ms - now_ms
            self._known_ids.set(id_, True, ttl=min(max(left_ms, 1), window_ms) / 1000)

    # Coming in

    def admit(self, body: bytes, limit: TokenBucket | None = None) -> Admitted[Receipt]:
        """Decides about every packet of a request body; whatever is `fresh` counts as in from now on.

        Raises:
            UnreadableRequest: the body is no array of packets.
            TooFast: a rate limit says no.
        """
        packets, indexes, refused = self._reader.read(body)
        self._limit_rate(len(packets), limit)
        known = self._known_among(packets)
        fresh, full = self._fitting([packet for packet in packets if packet.id not in known])
        if full:
            refused += [
                Refusal(index, packet.id, "queue_full", full[packet.id])
                for index, packet in zip(indexes, packets, strict=True)
                if packet.id in full
            ]
            refused.sort(key=attrgetter("index"))
        self._route(fresh)
        self._take_in(fresh)
        accepted = [packet.id for packet in packets if packet.id not in full]
        return Admitted(Receipt(accepted, refused), fresh, len(known), self._waits_for(known))

    def admit_records(self, bundle: Bundle, limit: TokenBucket | None = None) -> Admitted[RecordsReceipt]:
        """Decides about records as `Intake.accept_records` has it; `fresh` counts as in from now on.

        Raises:
            TooFast: a rate limit says no.
            NotStored: there is no room for all of them.
        """
        packets, refused = bundle
        self._limit_rate(len(packets), limit)
        known = self._known_among(packets)
        fresh = [packet for packet in packets if packet.id not in known]
        size = sum([packet.size for packet in fresh])
        if fresh and not self._room.fits(len(fresh), size):
            raise NotStored(self._room.refuse(len(fresh), size), self.retry_after())
        self._room.count(len(fresh), size)
        self._take_in(fresh)
        accepted = sum([packet.messages for packet in packets])
        receipt = RecordsReceipt(accepted, refused, [packet.id for packet in packets])
        return Admitted(receipt, fresh, len(known), self._waits_for(known))

    @property
    def bucket(self) -> TokenBucket | None:
        """What limits the packets of all clients."""
        return self._bucket

    def _limit_rate(self, packets: int, limit: TokenBucket | None) -> None:
        """Takes as many tokens of the client's bucket and of the one of all, or none of either."""
        buckets = [bucket for bucket in (limit, self._bucket) if bucket is not None] if packets else ()
        for bucket in buckets:
            if wait := bucket.retry_after(min(packets, bucket.capacity)):
                raise TooFast(f"at most {bucket.rate:g} packets a second are taken", wait)
        for bucket in buckets:
            bucket.allow(min(packets, bucket.capacity))

    def _known_among(self, packets: list[Stored]) -> set[str]:
        """The ids whose packets were accepted in the window, or are being stored for another request."""
        being_stored, known = self._ids_being_stored, self._known_ids
        return {
            packet.id
            for packet in packets
            if packet.id_is_clients and (packet.id in being_stored or packet.id in known)
        }

    def _waits_for(self, ids: set[str]) -> list[Waiter]:
        """What is done when packets of these ids are stored, as far as they are not."""
        waits = []
        for id_ in ids:
            if id_ in self._ids_being_stored:
                waits.append(asyncio.get_running_loop().create_future())
                self._ids_being_stored[id_] = [*(self._ids_being_stored[id_] or ()), waits[-1]]
        return waits

    def _fitting(self, packets: list[Stored]) -> tuple[list[Stored], dict[str, str]]:
        """The packets that there is room for, which are in from now on; of the others, why not, by id."""
        room = self._room
        size = sum([packet.size for packet in packets])
        if room.fits(len(packets), size):
            room.count(len(packets), size)
            return packets, {}
        fitting: list[Stored] = []
        full: dict[str, str] = {}
        for place, packet in enumerate(packets):
            if room.fits(1, packet.size):
                room.count(1, packet.size)
                fitting.append(packet)
                continue
            full[packet.id] = why = room.refuse(1, packet.size)
            if room.is_shut:
                full |= dict.fromkeys([packet.id for packet in packets[place:]], why)
                break
        return fitting, full

    def number(self, packets: list[Stored]) -> None:
        """Gives packets numbers higher than all before; anew when others may be stored before them."""
        self._next_seq += len(packets)
        for seq, packet in enumerate(packets, self._next_seq - len(packets)):
            packet.seq = seq

    def _take_in(self, packets: list[Stored]) -> None:
        """Gives numbers to packets that are in, and takes note of their ids."""
        self.number(packets)
        self._ids_being_stored |= dict.fromkeys([packet.id for packet in packets if packet.id_is_clients])

    def _route(self, packets: list[Stored]) -> None:
        """Tells packets of the REST API their groups and keys."""
        if self._router.trivial:
            return
        for packet in packets:
            messages = labels_in(packet.body or b"")
            packet.group = self._router.group_of(messages)
            packet.key = self._router.key_of(packet.group, messages)

    def next_seq(self) -> int:
        """A number for a packet, higher than all before."""
        seq = self._next_seq
        self._next_seq += 1
        return seq

    def came_back(self, packets: int, size: int) -> None:
        """Counts in what comes in without being asked about, such as dead letters that are replayed."""
        self._room.count(packets, size)

    # Being stored, or not

    def stored(self, packets: Iterable[Stored]) -> None:
        """Fresh packets are stored: whoever sent the same ids meanwhile has their answer."""
        for packet in packets:
            if packet.id_is_clients:
                self._known_ids.set(packet.id, True)
                for waiter in self._ids_being_stored.pop(packet.id) or ():
                    if not waiter.done():
                        waiter.set_result(None)

    def not_stored(self, packets: Iterable[Stored], error: Exception) -> None:
        """Fresh packets could not be stored: they never were."""
        for packet in packets:
            self._room.count(-1, -packet.size)
            if packet.id_is_clients:
                for waiter in self._ids_being_stored.pop(packet.id) or ():
                    if not waiter.done():
                        waiter.set_exception(error)

    # Going out

    def left(self, packets: int, size: int) -> None:
        """Counts packets out: delivered or given up.

        Args:
            packets: how many.
            size: bytes of their bodies.
        """
        self._room.leave(packets, size)

    @property
    def packets(self) -> int:
        """Packets that are in."""
        return self._room.packets

    @property
    def bytes(self) -> int:
        """Bytes of their bodies."""
        return self._room.bytes

    def retry_after(self) -> float:
        """Seconds after which there is room again, at the pace at which packets leave."""
        return self._room.retry_after()

    def forget_old_ids(self) -> None:
        """Lets go of the ids that are older than the window."""
        self._known_ids.expire()


def bucket_of(config: Config, clock: Clock) -> TokenBucket | None:
    """What limits the packets of all clients; a request of the most packets fits into it."""
    if not config.rate_limit:
        return None
    return TokenBucket(config.rate_limit, max(config.rate_limit, config.max_packets), clock=clock)
