"""What a frame says: one entry for all that happened at a time, with columns of packets.

A column is an array of numbers, little endian. So an entry of a thousand packets is made, and read, in a few
steps for each column and not for each packet.
"""

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple
from zlib import crc32

import msgspec

from penstock.services.distributor.change import Change, Stored

__all__ = [
    "Assigned",
    "Dead",
    "Delivered",
    "Entry",
    "Owner",
    "Packets",
    "Record",
    "Replayed",
    "Retried",
    "Snapshot",
    "column",
    "decoded",
    "encoded",
    "numbers",
    "offsets",
    "packets_of",
    "records_of",
]

Owner = tuple[str, str | None]
"""Group and analyzer that a packet is for."""

MAX_BODIES = 512 * 1024
MAX_PACKETS = 2048
"""What one entry holds at the most of new packets, but one packet at the least: reading one reads all."""

SEQ, SIZE, STATE = "Q", "I", "H"
"""Typecodes of columns."""


class Packets(msgspec.Struct, omit_defaults=True, gc=False):
    """New packets, or ones that were moved from an older segment; their bodies follow the entry."""

    seqs: bytes = b""
    sizes: bytes = b""
    crcs: bytes = b""
    """CRC-32 of each body."""
    messages: bytes = b""
    owners: bytes = b""
    """Numbers of `Entry.names`."""
    id_sizes: bytes = b""
    ids: bytes = b""
    clients: bytes = b""
    """A byte each: whether the client chose the id. Empty: none did."""
    failures: bytes = b""
    """Of moved ones, that were tried before."""
    due_ms: bytes = b""
    accepted_ms: bytes = b""
    """Of moved ones."""

    @property
    def moved(self) -> bool:
        """Whether they lay in an older segment before."""
        return bool(self.accepted_ms)


class Assigned(msgspec.Struct, omit_defaults=True, gc=False):
    """Packets that have got an owner."""

    seqs: bytes
    sizes: bytes
    owners: bytes


class Delivered(msgspec.Struct, omit_defaults=True, gc=False):
    """Packets that are delivered."""

    seqs: bytes
    sizes: bytes
    owners: bytes


class Retried(msgspec.Struct, omit_defaults=True, gc=False):
    """Packets that failed and are to be tried again."""

    seqs: bytes
    sizes: bytes
    owners: bytes
    failures: bytes
    due_ms: bytes
    errors: list[str]


class Dead(msgspec.Struct, omit_defaults=True, gc=False):
    """Packets that were given up."""

    seqs: bytes
    sizes: bytes
    owners: bytes
    failures: bytes
    failed_ms: bytes
    errors: list[str]


class Replayed(msgspec.Struct, omit_defaults=True, gc=False):
    """Dead letters that became packets again."""

    letters: bytes
    seqs: bytes


class Snapshot(msgspec.Struct, omit_defaults=True, gc=False):
    """What older segments say and this one must not forget; the first entry of each segment."""

    last_seq: int
    counters: dict[str, int] = {}
    notes: dict[str, bytes] = {}


class Entry(msgspec.Struct, omit_defaults=True, gc=False):
    """What happened at a time."""

    at_ms: int
    part: int = 0
    """How many entries of the same commit come before it."""
    more: bool = False
    """Whether the next entry belongs to the same commit."""
    names: dict[int, Owner] = {}
    """What the numbers in the columns of owners mean."""
    packets: Packets | None = None
    replayed: Replayed | None = None
    assigned: Assigned | None = None
    delivered: Delivered | None = None
    retried: Retried | None = None
    dead: Dead | None = None
    purged: bytes = b""
    """Numbers of dead letters."""
    counters: dict[str, int] = {}
    """What to add to each."""
    notes: dict[str, bytes] = {}
    snapshot: Snapshot | None = None


class Record(NamedTuple):
    """An entry with the bodies that follow it."""

    entry: Entry
    bodies: list[bytes]


encoded = msgspec.msgpack.Encoder().encode
decoded = msgspec.msgpack.Decoder(Entry).decode

SWAPPED = sys.byteorder == "big"


def column(kind: str, values: Iterable[int]) -> bytes:
    """Numbers as a column.

    Raises:
        OverflowError: one is too large for it.
    """
    made = array(kind, values)
    if SWAPPED:
        made.byteswap()
    return made.tobytes()


def numbers(kind: str, data: bytes) -> "array[int]":
    """The numbers of a column."""
    made = array(kind, data)
    if SWAPPED:
        made.byteswap()
    return made


def offsets(sizes: Iterable[int]) -> list[int]:
    """Where each of things of these sizes begins, and where the last one ends."""
    return list(accumulate(sizes, initial=0))


def packets_of(
    packets: Sequence[Stored], owner_numbers: Iterable[int], **moved: bytes
) -> tuple[Packets, list[bytes]]:
    """Packets, with their bodies there, as columns."""
    bodies: list[bytes] = [packet.body or b"" for packet in packets]
    ids = [packet.id.encode() for packet in packets]
    clients = bytes([packet.id_is_clients for packet in packets])
    columns = Packets(
        seqs=column(SEQ, [packet.seq for packet in packets]),
        sizes=column(SIZE, map(len, bodies)),
        crcs=column(SIZE, map(crc32, bodies)),
        messages=column(SIZE, [packet.messages for packet in packets]),
        owners=column(STATE, owner_numbers),
        id_sizes=column(SIZE, map(len, ids)),
        ids=b"".join(ids),
        clients=clients if any(clients) else b"",
        **moved,
    )
    return columns, bodies


owner_of = attrgetter("group", "analyzer")


def records_of(
    change: Change, number_of: Callable[[Owner], int], failures_of: Callable[[int], int], at_ms: int
) -> list[Record]:
    """A change as records, to be stored together.

    Args:
        change: what happened.
        number_of: the number of an owner.
        failures_of: how often the packet of a number has failed before.
        at_ms: the time.
    """
    records = [
        new_packets(some, number_of, at_ms)
        for some in pieces(in_order(change.accepted + [replay.packet for replay in change.replayed]))
    ]
    rest = Entry(
        at_ms,
        purged=column(SEQ, [letter.seq for letter in change.purged]),
        counters={name: amount for name, amount in change.counters.items() if amount},
        notes={name: msgspec.json.encode(value) for name, value in change.notes.items()},
    )
    if change.replayed:
        rest.replayed = Replayed(
            column(SEQ, [replay.letter_seq for replay in change.replayed]),
            column(SEQ, [replay.packet.seq for replay in change.replayed]),
        )
    add_ends(rest, change, number_of, failures_of)
    if records:  # they share an entry, so that the commonest commit is a single one
        last = records[-1].entry
        rest.packets, rest.names = last.packets, rest.names | last.names
        records[-1] = Record(rest, records[-1].bodies)
    else:
        records = [Record(rest, [])]
    for part, record in enumerate(records):
        record.entry.part = part
        record.entry.more = part < len(records) - 1
    return records


def in_order(packets: list[Stored]) -> list[Stored]:
    """By number, as they come nearly always."""
    packets.sort(key=attrgetter("seq"))
    return packets


def pieces(packets: list[Stored]) -> Iterator[list[Stored]]:
    """Packets, as many at a time as an entry may hold."""
    if len(packets) <= MAX_PACKETS and sum([packet.size for packet in packets]) <= MAX_BODIES:
        if packets:
            yield packets
        return
    start, size = 0, 0
    for number, packet in enumerate(packets):
        if number > start and (size + packet.size > MAX_BODIES or number - start == MAX_PACKETS):
            yield packets[start:number]
            start, size = number, 0
        size += packet.size
    yield packets[start:]


def new_packets(packets: list[Stored], number_of: Callable[[Owner], int], at_ms: int) -> Record:
    owners, names = numbered(map(owner_of, packets), number_of)
    columns, bodies = packets_of(packets, owners)
    return Record(Entry(at_ms, names=names, packets=columns), bodies)


def numbered(
    owners: Iterable[Owner], number_of: Callable[[Owner], int]
) -> tuple[list[int], dict[int, Owner]]:
    """The numbers of owners, and what they mean."""
    owners = list(owners)
    by_owner = {owner: number_of(owner) for owner in set(owners)}
    return [by_owner[owner] for owner in owners], {number: owner for owner, number in by_owner.items()}


def add_ends(
    entry: Entry, change: Change, number_of: Callable[[Owner], int], failures_of: Callable[[int], int]
) -> None:
    """What became of packets that were stored before."""
    names: dict[int, Owner] = {}

    def places(packets: list[Stored], owners: Iterable[Owner]) -> tuple[bytes, bytes, bytes]:
        numbers_of_owners, new = numbered(owners, number_of)
        names.update(new)
        return (
            column(SEQ, [packet.seq for packet in packets]),
            column(SIZE, [packet.size for packet in packets]),
            column(STATE, numbers_of_owners),
        )

    if change.assigned:
        entry.assigned = Assigned(*places(change.assigned, map(owner_of, change.assigned)))
    if change.delivered:
        entry.delivered = Delivered(*places(change.delivered, map(owner_of, change.delivered)))
    if change.retried:
        packets = [retry.packet for retry in change.retried]
        entry.retried = Retried(
            *places(packets, [(retry.packet.group, retry.analyzer) for retry in change.retried]),
            failures_with_this(packets, failures_of),
            column(SEQ, [max(retry.due_ms, 0) for retry in change.retried]),
            [retry.error for retry in change.retried],
        )
    if change.dead:
        packets = [letter.packet for letter in change.dead]
        entry.dead = Dead(
            *places(packets, map(owner_of, packets)),
            failures_with_this(packets, failures_of),
            column(SEQ, [max(letter.failed_at_ms, 0) for letter in change.dead]),
            [letter.error for letter in change.dead],
        )
    entry.names = entry.names | names


def failures_with_this(packets: list[Stored], failures_of: Callable[[int], int]) -> bytes:
    return column(SIZE, [failures_of(packet.seq) + 1 for packet in packets])
