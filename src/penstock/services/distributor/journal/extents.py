"""Which packets are live, whose they are, and where they lie.

An extent is a stretch of a segment with the packets that it brought. Extents are in the order of their
packets' numbers, and no two of them overlap there, also not when one has been moved: that keeps its numbers
together. What is held of a packet is its state, two bytes.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from penstock.services.distributor.journal.entries import SEQ, SIZE, STATE, Entry, Owner, Packets, numbers
from penstock.services.distributor.journal.frames import Header

__all__ = ["GONE", "RETRYING", "Attempted", "Extent", "Extents", "Owned", "Segment"]

GONE = 0
"""State of a packet that is delivered, dead or somewhere else."""
RETRYING = 1
"""State of one that has failed; `Extents.retrying` knows more. A higher state is the number of an owner."""
FIRST_OWNER = 2
MAX_OWNERS = 65_000

EXTENT_PACKETS = 256
EXTENT_BYTES = 128 * 1024
"""An extent that has grown to either grows no more."""
MAX_HOLE = 64
"""Numbers that nobody has, within an extent whose numbers are not listed."""


@dataclass(slots=True, eq=False)
class Segment:
    """A file of the journal."""

    header: Header
    name: str
    end: int
    """Bytes of it that count."""
    packets: int = 0
    """Live ones in it."""
    ever: int = 0
    """All that were ever in it."""
    size_bytes: int = 0
    """Of their bodies."""
    client_ids: int = 0
    """Ids in it that clients chose."""
    newest_client_id_ms: int = 0
    unread: bool = False
    """Whether the disk did not let all of it be read."""

    @property
    def number(self) -> int:
        """Its place among the others."""
        return self.header.number


class Extent:
    """A stretch of a segment, and the states of the packets in it."""

    __slots__ = ("end", "first", "last", "live", "offset", "segment", "seqs", "states")

    def __init__(self, segment: Segment, offset: int, end: int, first: int, states: "array[int]") -> None:
        self.segment = segment
        self.offset = offset
        self.end = end
        self.first = first
        self.last = first + len(states) - 1
        self.states = states
        self.seqs: array[int] | None = None  # only where they are not one after the other
        self.live = 0

    def place(self, seq: int) -> int:
        """The place of a number in `states`; -1 when it is not here."""
        if self.seqs is None:
            return seq - self.first if self.first <= seq <= self.last else -1
        place = bisect_left(self.seqs, seq)
        return place if place < len(self.seqs) and self.seqs[place] == seq else -1

    def numbers_from(self, seq: int) -> Iterator[tuple[int, int]]:
        """Number and state of each live packet with a number of at least `seq`."""
        all_numbers: Sequence[int] = range(self.first, self.last + 1) if self.seqs is None else self.seqs
        for number, state in zip(all_numbers, self.states, strict=True):
            if state and number >= seq:
                yield number, state


class Attempted(NamedTuple):
    """A live packet that has failed."""

    owner: int
    failures: int
    due_ms: int
    size: int


@dataclass(slots=True)
class Owned:
    """Live packets that have never failed, of one owner."""

    packets: int = 0
    bytes: int = 0


class Extents:
    """All packets that a journal knows of."""

    def __init__(self) -> None:
        self._extents: list[Extent] = []  # in the order of numbers
        self._firsts: list[int] = []
        self._open: Extent | None = None  # the one that may grow
        self._numbers: dict[Owner, int] = {}
        self.names: dict[int, Owner] = {}
        self.owned: dict[int, Owned] = {}
        self.retrying: dict[int, Attempted] = {}
        self.packets = 0
        self.bytes = 0

    # Owners

    def number_of(self, owner: Owner) -> int:
        """The number of an owner, a new one if need be.

        Raises:
            OverflowError: there are too many.
        """
        number = self._numbers.get(owner)
        if number is None:
            number = max(self.names, default=FIRST_OWNER - 1) + 1
            if number > MAX_OWNERS:
                raise OverflowError(
                    f"owners of packets must be <= {MAX_OWNERS} since the start, got one more"
                )
            self._name(number, owner)
        return number

    def known_number_of(self, owner: Owner) -> int | None:
        """The number of an owner if it has any."""
        return self._numbers.get(owner)

    def _name(self, number: int, owner: Owner) -> None:
        self._numbers[owner] = number
        self.names[number] = owner
        self.owned[number] = Owned()

    def states_of(self, owners: bytes, names: dict[int, Owner]) -> "array[int]":
        """A column of owners with the numbers that are used here."""
        states = numbers(STATE, owners)
        other = {}
        for number, owner in names.items():
            if (
                owner not in self._numbers
                and number not in self.names
                and FIRST_OWNER <= number <= MAX_OWNERS
            ):
                self._name(number, owner)
            if (ours := self.number_of(owner)) != number:
                other[number] = ours
        if not other:
            return states
        return array(STATE, [other.get(number, number) for number in states])

    # What happens

    def apply(self, entry: Entry, segment: Segment, offset: int, end: int) -> None:
        """Takes note of what an entry says that lies there."""
        if entry.packets is not None:
            self._add(entry, entry.packets, segment, offset, end)
        if entry.assigned is not None:
            seqs = numbers(SEQ, entry.assigned.seqs)
            owners = self.states_of(entry.assigned.owners, entry.names)
            self._assign(seqs, owners, numbers(SIZE, entry.assigned.sizes))
        if entry.retried is not None:
            self._retry(
                numbers(SEQ, entry.retried.seqs),
                self.states_of(entry.retried.owners, entry.names),
                numbers(SIZE, entry.retried.failures),
                numbers(SEQ, entry.retried.due_ms),
                numbers(SIZE, entry.retried.sizes),
            )
        if entry.delivered is not None:
            self._end(numbers(SEQ, entry.delivered.seqs), numbers(SIZE, entry.delivered.sizes))
        if entry.dead is not None:
            self._end(numbers(SEQ, entry.dead.seqs), numbers(SIZE, entry.dead.sizes))

    def _add(self, entry: Entry, packets: Packets, segment: Segment, offset: int, end: int) -> None:
        seqs, sizes = numbers(SEQ, packets.seqs), numbers(SIZE, packets.sizes)
        owners = self.states_of(packets.owners, entry.names)
        if packets.moved:
            self._end(seqs, sizes)  # where they were
        states = owners
        if packets.failures:
            states = owners[:]
            failures, due_ms = numbers(SIZE, packets.failures), numbers(SEQ, packets.due_ms)
            for place, count in enumerate(failures):
                if count:
                    states[place] = RETRYING
                    self.retrying[seqs[place]] = Attempted(owners[place], count, due_ms[place], sizes[place])
        if packets.clients:
            segment.client_ids += sum(packets.clients)
            segment.newest_client_id_ms = max(segment.newest_client_id_ms, entry.at_ms)
        self._place(seqs, states, packets.moved, segment, offset, end)
        total = sum(sizes)
        segment.packets += len(seqs)
        segment.ever += len(seqs)
        segment.size_bytes += total
        self.packets += len(seqs)
        self.bytes += total
        for state, size in zip(states, sizes, strict=True):
            if state != RETRYING:
                owned = self.owned[state]
                owned.packets += 1
                owned.bytes += size

    def _place(
        self, seqs: "array[int]", states: "array[int]", moved: bool, segment: Segment, offset: int, end: int
    ) -> None:
        is_run = seqs[-1] - seqs[0] == len(seqs) - 1
        grown = self._open
        if is_run and not moved and grown is not None and self._may_grow(grown, segment, seqs[0]):
            grown.states.extend([GONE] * (seqs[0] - grown.last - 1))
            grown.states.extend(states)
            grown.last, grown.end = seqs[-1], end
            grown.live += len(seqs)
            return
        extent = Extent(segment, offset, end, seqs[0], states[:])
        extent.live = len(seqs)
        if not is_run:
            extent.seqs, extent.last = seqs, seqs[-1]
        if not moved:
            self._open = extent if is_run else None
        overlapping = self._take_out(seqs[0], seqs[-1])
        for piece in apart([extent, *overlapping]) if overlapping else [extent]:
            place = bisect_left(self._firsts, piece.first)
            self._firsts.insert(place, piece.first)
            self._extents.insert(place, piece)

    def _take_out(self, first: int, last: int) -> list[Extent]:
        """Takes out what shares numbers with a new extent; returns what of it is live.

        That is where packets were that have been moved, and after damage sometimes their neighbours.
        """
        start = bisect_right(self._firsts, first) - 1
        if start < 0 or self._extents[start].last < first:
            start += 1
        stop = bisect_right(self._firsts, last)
        taken = self._extents[start:stop]
        del self._extents[start:stop], self._firsts[start:stop]
        if self._open in taken:
            self._open = None
        return [extent for extent in taken if extent.live]

    def _may_grow(self, extent: Extent, segment: Segment, seq: int) -> bool:
        return (
            extent.segment is segment
            and len(extent.states) < EXTENT_PACKETS
            and extent.end - extent.offset < EXTENT_BYTES
            and 0 < seq - extent.last <= MAX_HOLE
        )

    def _end(self, seqs: Sequence[int], sizes: Sequence[int]) -> None:
        extent, ended, total = None, 0, 0
        for seq, size in zip(seqs, sizes, strict=True):
            if extent is None or not extent.first <= seq <= extent.last:
                extent = self.extent_of(seq)
                if extent is None:
                    continue
            place = seq - extent.first if extent.seqs is None else extent.place(seq)
            if place < 0 or not (state := extent.states[place]):
                continue
            extent.states[place] = GONE
            extent.live -= 1
            extent.segment.packets -= 1
            extent.segment.size_bytes -= size
            ended += 1
            total += size
            if state == RETRYING:
                del self.retrying[seq]
            else:
                self._disown(state, size)
        self.packets -= ended
        self.bytes -= total

    def _assign(self, seqs: Sequence[int], owners: Sequence[int], sizes: Sequence[int]) -> None:
        for seq, owner, size in zip(seqs, owners, sizes, strict=True):
            state = self.state_of(seq)
            if state == RETRYING:
                self.retrying[seq] = self.retrying[seq]._replace(owner=owner)
            elif state:
                self._set_state(seq, owner)
                self._disown(state, size)
                self.owned[owner].packets += 1
                self.owned[owner].bytes += size

    def _retry(
        self,
        seqs: Sequence[int],
        owners: Sequence[int],
        failures: Sequence[int],
        due_ms: Sequence[int],
        sizes: Sequence[int],
    ) -> None:
        for seq, owner, count, due, size in zip(seqs, owners, failures, due_ms, sizes, strict=True):
            state = self.state_of(seq)
            if not state:
                continue
            if state != RETRYING:
                self._set_state(seq, RETRYING)
                self._disown(state, size)
            self.retrying[seq] = Attempted(owner, count, due, size)

    def _set_state(self, seq: int, state: int) -> None:
        extent = self.extent_of(seq)
        assert extent is not None
        extent.states[extent.place(seq)] = state

    def _disown(self, owner: int, size: int) -> None:
        owned = self.owned[owner]
        owned.packets -= 1
        owned.bytes -= size

    # Asking

    def extent_of(self, seq: int) -> Extent | None:
        """The extent that has this number, live or not."""
        place = bisect_right(self._firsts, seq) - 1
        if place < 0:
            return None
        extent = self._extents[place]
        return extent if seq <= extent.last else None

    def state_of(self, seq: int) -> int:
        """The state of a packet."""
        extent = self.extent_of(seq)
        place = -1 if extent is None else extent.place(seq)
        return GONE if extent is None or place < 0 else extent.states[place]

    def after(self, seq: int) -> Iterator[Extent]:
        """The extents with live packets of higher numbers, in order; nothing may change meanwhile."""
        place = max(bisect_right(self._firsts, seq) - 1, 0)
        for number in range(place, len(self._extents)):
            extent = self._extents[number]
            if extent.live and extent.last > seq:
                yield extent

    def neighbours_in(self, segment: Segment) -> Iterator[Extent]:
        """Extents with live packets in a segment that follow one another; nothing may change meanwhile."""
        self.forget_gone()
        begun = False
        for extent in self._extents:
            if extent.segment is segment:
                begun = True
                yield extent
            elif begun:
                return

    def forget_gone(self) -> None:
        """Lets go of extents without live packets."""
        kept = [extent for extent in self._extents if extent.live]
        if self._open is not None and not self._open.live:
            self._open = None
        self._extents = kept
        self._firsts = [extent.first for extent in kept]

    def __len__(self) -> int:
        return len(self._extents)


def apart(extents: list[Extent]) -> list[Extent]:
    """The live packets of extents that share numbers, in as many extents as need be that do not."""
    packets = sorted(
        (seq, state, place) for place, extent in enumerate(extents) for seq, state in extent.numbers_from(0)
    )
    made = []
    for place, group in groupby(packets, itemgetter(2)):
        seqs, states, _ = zip(*group, strict=True)
        source = extents[place]
        extent = Extent(source.segment, source.offset, source.end, seqs[0], array(STATE, states))
        extent.seqs, extent.last, extent.live = array(SEQ, seqs), seqs[-1], len(seqs)
        made.append(extent)
    return made
