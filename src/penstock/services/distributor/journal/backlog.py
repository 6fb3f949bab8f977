"""Reading packets back from where they lie."""

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from zlib import crc32

from penstock.services.distributor.change import Stored
from penstock.services.distributor.journal.entries import SEQ, SIZE, Entry, Packets, numbers, offsets
from penstock.services.distributor.journal.extents import RETRYING, Extent, Extents
from penstock.services.distributor.journal.files import Files
from penstock.services.distributor.journal.frames import Frame, FrameReader
from penstock.services.distributor.journal.opening import entries_in

__all__ = ["Backlog", "BacklogReader", "Lying"]

log = logging.getLogger(__name__)

READ_ATTEMPTS = 20
"""After so many that failed, what the disk does not let be read is given up."""
UNKNOWN_CRC = 1
"""Of nothing, which has 0: what has it is not whole."""


@dataclass(slots=True)
class Backlog:
    """A part of the packets that wait on the disk."""

    packets: list[Stored] = field(default_factory=list)
    """In the order of their numbers, with their bodies."""
    after: int = 0
    """Where to go on: all that come have higher numbers."""
    done: bool = False
    """Whether nothing more was there."""
    damaged: list[Stored] = field(default_factory=list)
    """Those whose bytes are not what was written; without bodies."""


@dataclass(slots=True)
class Lying:
    """A packet as it lies on the disk."""

    packet: Stored
    """With its body, when that is what was written."""
    crc: int
    accepted_ms: int
    body: bytes
    """As it is on the disk."""

    def check(self) -> None:
        """Gives the packet its body, when that is what was written."""
        if len(self.body) == self.packet.size and crc32(self.body) == self.crc:
            self.packet.body = self.body


class BacklogReader:
    """Reads live packets.

    Args:
        files: the file system.
        folder: of the journal.
        extents: where packets lie.
    """

    def __init__(self, files: Files, folder: Path, extents: Extents) -> None:
        self._files = files
        self._folder = folder
        self._extents = extents
        self._failures: Counter[Extent] = Counter()

    def read(self, owner: int, after: int, packets: int, size_bytes: int) -> Backlog:
        """The next packets of an owner that have never failed: at least one while there are any.

        Args:
            owner: its number.
            after: only packets with higher numbers.
            packets: how many at the most.
            size_bytes: no more once the bodies have this size.

        Raises:
            OSError: the disk does not let them be read.
        """
        backlog, size = Backlog(after=after), 0
        try:
            for lying in self._of_owner(owner, after):
                if len(backlog.packets) + len(backlog.damaged) >= packets or size >= size_bytes:
                    return backlog
                if lying.packet.body is not None:
                    backlog.packets.append(lying.packet)
                    size += lying.packet.size
                else:
                    backlog.damaged.append(lying.packet)
                backlog.after = lying.packet.seq
        except OSError:
            if backlog.after == after:
                raise
            return backlog  # with what could be read before
        backlog.done = True
        return backlog

    def _of_owner(self, owner: int, after: int) -> Iterator[Lying]:
        for extent in self._extents.after(after):
            if owner in extent.states:
                wanted = [seq for seq, state in extent.numbers_from(after + 1) if state == owner]
                yield from self._lying(extent, wanted)

    def find(self, seqs: Sequence[int]) -> Iterator[Lying]:
        """Those of these packets that are live.

        Raises:
            OSError: the disk does not let them be read.
        """
        by_extent: dict[Extent, list[int]] = {}
        for seq in sorted(seqs):
            extent = self._extents.extent_of(seq)
            if extent is not None and (place := extent.place(seq)) >= 0 and extent.states[place]:
                by_extent.setdefault(extent, []).append(seq)
        for extent, wanted in by_extent.items():
            yield from self._lying(extent, wanted)

    def in_extent(self, extent: Extent) -> Iterator[Lying]:
        """All live packets of an extent."""
        return self._lying(extent, [seq for seq, _ in extent.numbers_from(0)])

    def _lying(self, extent: Extent, wanted: list[int]) -> Iterator[Lying]:
        """Packets of an extent, whose numbers are ascending.

        Where the disk does not let them be read again and again, they are given up, so that those behind
        them do not wait for ever. Their segment is never removed, only put aside.
        """
        left = deque(wanted)
        try:
            yield from self._whole_ones(extent, left)
        except OSError as error:
            self._failures[extent] += 1
            if self._failures[extent] < READ_ATTEMPTS:
                raise
            extent.segment.unread = True
            log.error("%d packets of %s are given up: %s", len(left), extent.segment.name, error)
        while left:
            yield self.unknown(left.popleft())

    def _whole_ones(self, extent: Extent, left: deque[int]) -> Iterator[Lying]:
        """Packets that entries tell of, taken out of `left`, and those before them that none tells of."""
        if not left:
            return
        file = self._files.open(self._folder / extent.segment.name)
        try:
            reader = FrameReader(file, extent.segment.header, extent.offset, extent.end)
            for frame, entry in entries_in(reader):
                if entry.packets is None:
                    continue
                rows = Rows(reader, frame, entry, entry.packets)
                if rows.first > extent.last:
                    continue
                while left and left[0] <= rows.last:
                    seq = left[0]
                    place = rows.places.get(seq)
                    lying = self.unknown(seq) if place is None else rows.at(place, self._state_of(seq))
                    lying.check()
                    left.popleft()
                    yield lying
                if not left:
                    return
        finally:
            file.close()

    def _state_of(self, seq: int) -> tuple[str, str | None, int, int]:
        """Group, analyzer, failures and due time of a live packet."""
        state = self._extents.state_of(seq)
        if state == RETRYING:
            attempted = self._extents.retrying[seq]
            return *self._extents.names[attempted.owner], attempted.failures, attempted.due_ms
        return *self._extents.names[state], 0, 0

    def unknown(self, seq: int) -> Lying:
        """A packet of which only its number is known, since its entry cannot be read any more."""
        group, analyzer, failures, due_ms = self._state_of(seq)
        packet = Stored(seq, f"unknown-{seq}", 0, 0, None, False, group, None, analyzer, failures, due_ms)
        return Lying(packet, UNKNOWN_CRC, 0, b"")


class Rows:
    """The packets of an entry, one by one."""

    def __init__(self, reader: FrameReader, frame: Frame, entry: Entry, packets: Packets) -> None:
        self._reader = reader
        self._bodies_at = frame.bodies_at
        self._seqs = numbers(SEQ, packets.seqs)
        self.first, self.last = self._seqs[0], self._seqs[-1]
        self.places = {seq: place for place, seq in enumerate(self._seqs)}
        self._sizes = numbers(SIZE, packets.sizes)
        self._starts = offsets(self._sizes)
        self._crcs = numbers(SIZE, packets.crcs)
        self._messages = numbers(SIZE, packets.messages)
        self._ids = packets.ids
        self._id_starts = offsets(numbers(SIZE, packets.id_sizes))
        self._clients = packets.clients
        self._accepted_ms: Sequence[int] = (
            numbers(SEQ, packets.accepted_ms) if packets.moved else list(repeat(entry.at_ms, len(self._seqs)))
        )

    def at(self, place: int, state: tuple[str, str | None, int, int]) -> Lying:
        """The packet at this place, in this state."""
        group, analyzer, failures, due_ms = state
        size, start = self._sizes[place], self._bodies_at + self._starts[place]
        packet = Stored(
            self._seqs[place],
            self._ids[self._id_starts[place] : self._id_starts[place + 1]].decode(),
            self._messages[place],
            size,
            None,
            bool(self._clients and self._clients[place]),
            group,
            None,
            analyzer,
            failures,
            due_ms,
        )
        return Lying(packet, self._crcs[place], self._accepted_ms[place], self._reader.read(start, size))
