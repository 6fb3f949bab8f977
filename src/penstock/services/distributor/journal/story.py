"""What the journal knows of one packet, or of several that had its id."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from penstock.services.distributor.journal.entries import (
    SEQ,
    SIZE,
    STATE,
    Entry,
    numbers,
    offsets,
)
from penstock.services.distributor.journal.extents import Segment
from penstock.services.distributor.journal.files import Files
from penstock.services.distributor.journal.frames import Frame
from penstock.services.distributor.journal.opening import entries_in, frames_of

__all__ = ["Event", "brought", "happened", "story"]


class Event(NamedTuple):
    """Something that happened to a packet."""

    at_ms: int
    """Unix time."""
    what: str
    """`accepted`, `assigned`, `delivered`, `retry`, `dead`, `replayed` or `purged`."""
    analyzer: str | None = None
    error: str = ""
    attempt: int = 0
    """The number of the attempt that failed."""


def story(files: Files, folder: Path, segments: Sequence[Segment], id_: str) -> list[Event]:
    """What happened to the packets of an id, oldest first.

    Entries are searched for the bytes of the id and of the packets' numbers, and only those read that have
    them: 0.2 s or so for 1 GiB that the operating system has in memory.

    Raises:
        OSError: a segment cannot be read.
    """
    events: list[Event] = []
    wanted = id_.encode(errors="replace")
    seqs: dict[int, bytes] = {}
    for segment in segments:
        try:
            for frame in frames_of(files, folder, segment.name, segment.header, segment.end):
                if wanted in frame.entry or any(seq in frame.entry for seq in seqs.values()):
                    take_up(events, seqs, frame, wanted)
        except FileNotFoundError:  # removed meanwhile, so there is nothing of a live packet in it
            continue
    return events


def take_up(events: list[Event], seqs: dict[int, bytes], frame: Frame, wanted: bytes) -> None:
    """Adds what an entry says to the events, and the numbers of packets of that id to `seqs`."""
    for _, entry in entries_in([frame]):
        for seq, id_, event in brought(entry):
            if id_ == wanted:
                if seq not in seqs:  # else it was moved
                    events.append(event)
                seqs[seq] = seq.to_bytes(8, "little")
        events += [event for seq, event in happened(entry) if seq in seqs]


def brought(entry: Entry) -> Iterator[tuple[int, bytes, Event]]:
    """Number, id and event of every packet that an entry brings."""
    packets = entry.packets
    if packets is None:
        return
    replays = numbers(SEQ, entry.replayed.seqs) if entry.replayed else ()
    starts = offsets(numbers(SIZE, packets.id_sizes))
    owners = numbers(STATE, packets.owners)
    accepted_ms = numbers(SEQ, packets.accepted_ms)
    for place, seq in enumerate(numbers(SEQ, packets.seqs)):
        at_ms = accepted_ms[place] if packets.moved else entry.at_ms
        what = "replayed" if seq in replays else "accepted"
        id_ = packets.ids[starts[place] : starts[place + 1]]
        yield seq, id_, Event(at_ms, what, entry.names[owners[place]][1])


def happened(entry: Entry) -> Iterator[tuple[int, Event]]:
    """Number and event of every packet that an entry tells something of, but for those that it brings."""
    for what, ends in (("assigned", entry.assigned), ("delivered", entry.delivered)):
        if ends is not None:
            owners = numbers(STATE, ends.owners)
            for seq, owner in zip(numbers(SEQ, ends.seqs), owners, strict=True):
                yield seq, Event(entry.at_ms, what, entry.names[owner][1])
    for what, failed in (("retry", entry.retried), ("dead", entry.dead)):
        if failed is not None:
            owners = numbers(STATE, failed.owners)
            attempts = numbers(SIZE, failed.failures)
            for place, seq in enumerate(numbers(SEQ, failed.seqs)):
                analyzer = entry.names[owners[place]][1]
                yield seq, Event(entry.at_ms, what, analyzer, failed.errors[place], attempts[place])
    for seq in numbers(SEQ, entry.purged):
        yield seq, Event(entry.at_ms, "purged")
