"""What is found when a journal is opened. Nothing is written: whoever wants can look at any journal.

Entries are taken up in the order they were written. What cannot be read is skipped to the next frame that
can. What lies at the very end and is not whole was never acknowledged: a crash left it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from penstock.services.distributor.journal.entries import SEQ, SIZE, Entry, decoded, numbers, offsets
from penstock.services.distributor.journal.extents import Extents, Segment
from penstock.services.distributor.journal.files import File, Files
from penstock.services.distributor.journal.frames import (
    FRAME,
    FRAME_BYTES,
    HEADER_BYTES,
    MARKER,
    Frame,
    FrameReader,
    Gap,
    Header,
)

__all__ = ["Fault", "Found", "IdFile", "frames_of", "look_into"]

MAX_NUMBER = 4_000_000_000
"""Of a segment: it has 32 bits, and there is always room for more."""
SEGMENT_NAME = re.compile(r"([0-9]{10})\.(segment|ids)")


class Fault(NamedTuple):
    """Bytes of which nothing can be made."""

    name: str
    """Of the file."""
    offset: int
    end: int
    what: str
    """In plain words."""
    torn: bool = False
    """Whether it is what a crash leaves of something that was never acknowledged."""

    @property
    def whole_file(self) -> bool:
        """Whether nothing of the file can be read."""
        return self.offset == 0


class IdFile(NamedTuple):
    """What is kept of a segment that is gone: the ids that clients chose."""

    name: str
    header: Header
    end: int
    ids: int
    newest_ms: int


class Written(NamedTuple):
    """An entry, and where it lies."""

    entry: Entry
    frame: Frame


@dataclass(slots=True)
class Found:
    """All that a journal says."""

    extents: Extents = field(default_factory=Extents)
    segments: list[Segment] = field(default_factory=list)
    id_files: list[IdFile] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    notes: dict[str, bytes] = field(default_factory=dict)
    last_seq: int = 0
    last_number: int = 0
    """Of a segment, readable or not."""
    letters_gone: list[int] = field(default_factory=list)
    """Numbers of dead letters that were purged or replayed."""
    faults: list[Fault] = field(default_factory=list)
    unsure: list[Written] = field(default_factory=list)
    """The last commit, when nothing says that it was synced. It is not taken up yet."""

    def take_up_unsure(self) -> None:
        """Takes up the last commit where it lies."""
        if self.unsure:
            self.segments[-1].end = self.unsure[-1].frame.end
            apply(self, self.segments[-1], self.unsure)
            self.unsure = []


def look_into(files: Files, folder: Path) -> Found:
    """Reads a journal; whoever does not write it takes up the last commit too.

    Raises:
        NewerVersion: a segment is of a version that is not known here.
        OSError: the folder cannot be listed.
    """
    found = Found()
    for name in sorted(files.names(folder)):
        if match := SEGMENT_NAME.fullmatch(name):
            number = int(match[1])
            if number <= MAX_NUMBER:  # a file that somebody named so must not use up all numbers
                found.last_number = max(found.last_number, number)
            take_file(found, files, folder / name, number, match[2] == "ids")
    heed_ends_told_later(found.segments)
    for segment in found.segments:
        last = segment is found.segments[-1]
        try:
            file = files.open(folder / segment.name)
            try:
                read_segment(found, file, segment, last)
            finally:
                file.close()
        except OSError as error:
            segment.unread = True
            found.faults.append(Fault(segment.name, HEADER_BYTES, segment.end, f"cannot be read: {error}"))
    found.extents.forget_gone()
    return found


def take_file(found: Found, files: Files, path: Path, number: int, is_ids: bool) -> None:
    """Takes note of a file by its header."""
    try:
        size = files.size(path)
        file = files.open(path)
        try:
            header = Header.decoded(file.read(0, HEADER_BYTES))
            if header is not None and header.number == number <= MAX_NUMBER:
                if is_ids:
                    found.id_files.append(id_file(file, path.name, header, size))
                else:
                    found.segments.append(Segment(header, path.name, size))
                return
        finally:
            file.close()
    except OSError as error:
        found.faults.append(Fault(path.name, HEADER_BYTES, HEADER_BYTES, f"cannot be read: {error}"))
        return
    torn = size < HEADER_BYTES
    what = "ends within its header" if torn else "has no header that can be read"
    found.faults.append(Fault(path.name, 0, size, what, torn))


def id_file(file: File, name: str, header: Header, size: int) -> IdFile:
    count = newest_ms = 0
    for _, entry in entries_in(FrameReader(file, header, HEADER_BYTES, size)):
        if entry.packets is not None:
            count += sum(entry.packets.clients)
            newest_ms = max(newest_ms, entry.at_ms)
    return IdFile(name, header, size, count, newest_ms)


def heed_ends_told_later(segments: list[Segment]) -> None:
    """A segment ends where the next one says that it does."""
    for segment, following in pairwise(segments):
        if following.header.previous == segment.number:
            segment.end = min(segment.end, max(following.header.previous_end, HEADER_BYTES))


def read_segment(found: Found, file: File, segment: Segment, last: bool) -> None:
    """Takes up what a segment says."""
    commit: list[Written] = []  # that has begun
    held: list[Written] = []  # the last one that has ended, until it is known whether it was the last of all
    held_from = commit_from = HEADER_BYTES
    reader = FrameReader(file, segment.header, HEADER_BYTES, segment.end)
    faults = []
    for frame in reader:
        if isinstance(frame, Gap):
            torn = last and frame.end == segment.end and is_torn(reader, frame)
            faults.append(fault_of(segment, frame, torn))
            continue
        try:
            commit.append(Written(decoded(frame.entry), frame))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            faults.append(Fault(segment.name, frame.offset, frame.end, f"is no entry: {error}"))
            continue
        if not commit[-1].entry.more:
            apply(found, segment, held)
            held, held_from = commit, commit_from
            commit, commit_from = [], frame.end
    if last:
        held = cut_last(found, segment, reader, Tail(held, held_from, commit, commit_from, faults))
    else:
        found.faults += faults
    apply(found, segment, held + ([] if last else commit))


class Tail(NamedTuple):
    """What the end of a journal consists of."""

    held: list[Written]
    """The last commit that has ended."""
    held_from: int
    commit: list[Written]
    """One that has begun."""
    commit_from: int
    faults: list[Fault]


def cut_last(found: Found, segment: Segment, reader: FrameReader, tail: Tail) -> list[Written]:
    """Decides where the last segment ends; returns what is left to take up of it.

    Of the last commit nobody knows whether it was acknowledged: it counts when it is whole.
    """
    held, end = tail.held, tail.commit_from
    if not tail.commit and held and end == segment.end:
        is_whole = [written.entry.part for written in held] == list(range(len(held)))
        if not is_whole or not all(bodies_are_whole(reader, written) for written in held):
            held, end = [], tail.held_from
    if end < segment.end and not any(fault.end == segment.end for fault in tail.faults):
        found.faults.append(Fault(segment.name, end, segment.end, "is a part of a commit", torn=True))
    found.faults += [fault._replace(torn=fault.torn or fault.offset > end) for fault in tail.faults]
    segment.end = end
    if any(says_something(written.entry) for written in held):
        found.unsure, held = held, []
        segment.end = tail.held_from
    return held


def says_something(entry: Entry) -> bool:
    """Whether an entry is no mere sign that what lies before it was synced."""
    return entry != Entry(entry.at_ms) and entry.snapshot is None


def fault_of(segment: Segment, gap: Gap, torn: bool = False) -> Fault:
    what = "was left incomplete by a crash" if torn else "cannot be read"
    return Fault(segment.name, gap.offset, gap.end, what, torn)


def is_torn(reader: FrameReader, gap: Gap) -> bool:
    """Whether bytes at the end are the beginning of a frame, or nothing at all."""
    head = reader.read(gap.offset, FRAME_BYTES)
    if len(head) < FRAME_BYTES or not any(head):
        return True
    marker, _, entry_size, bodies_size = FRAME.unpack(head)
    return bool(marker == MARKER and gap.offset + FRAME_BYTES + entry_size + bodies_size > gap.end)


def bodies_are_whole(reader: FrameReader, written: Written) -> bool:
    packets = written.entry.packets
    if packets is None:
        return True
    starts = offsets(numbers(SIZE, packets.sizes))
    at = written.frame.bodies_at
    return all(
        crc32(reader.read(at + start, end - start)) == crc
        for start, end, crc in zip(starts, starts[1:], numbers(SIZE, packets.crcs), strict=False)
    )


def apply(found: Found, segment: Segment, commit: list[Written]) -> None:
    """Takes up a commit."""
    for entry, frame in commit:
        if entry.snapshot is not None:
            found.counters = Counter(entry.snapshot.counters)
            found.notes = dict(entry.snapshot.notes)
            found.last_seq = max(found.last_seq, entry.snapshot.last_seq)
        found.extents.apply(entry, segment, frame.offset, frame.end)
        if entry.packets is not None:
            found.last_seq = max(found.last_seq, numbers(SEQ, entry.packets.seqs)[-1])
        found.letters_gone += letters_gone_by(entry)
        found.counters.update(entry.counters)
        found.notes |= entry.notes


def letters_gone_by(entry: Entry) -> list[int]:
    """Numbers of the dead letters that are no more, as this entry says."""
    replayed = entry.replayed.letters if entry.replayed else b""
    return [*numbers(SEQ, replayed), *numbers(SEQ, entry.purged)]


def entries_in(frames: Iterable[Frame | Gap]) -> Iterator[tuple[Frame, Entry]]:
    """The entries that can be read."""
    for frame in frames:
        if isinstance(frame, Frame):
            try:
                entry = decoded(frame.entry)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            yield frame, entry


def frames_of(files: Files, folder: Path, name: str, header: Header, end: int) -> Iterator[Frame]:
    """The valid frames of a segment, the file being open meanwhile."""
    file = files.open(folder / name)
    try:
        for frame in FrameReader(file, header, HEADER_BYTES, end):
            if isinstance(frame, Frame):
                yield frame
    finally:
        file.close()
