"""The journal itself: appending to segments, and letting go of those that are no longer needed.

Every start begins a new segment, when there is something to write: what lies there is never written to again,
and what a crash left at its end is passed over, as the header of the next segment says how far it counts.
"""

import errno
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from secrets import randbits

from penstock.services.distributor.journal.backlog import BacklogReader, Lying
from penstock.services.distributor.journal.client_ids import ClientIds
from penstock.services.distributor.journal.entries import (
    MAX_BODIES,
    MAX_PACKETS,
    SEQ,
    SIZE,
    Entry,
    Owner,
    Record,
    Snapshot,
    column,
    encoded,
    numbered,
    numbers,
    owner_of,
    packets_of,
)
from penstock.services.distributor.journal.extents import Segment
from penstock.services.distributor.journal.files import File, Files
from penstock.services.distributor.journal.frames import HEADER_BYTES, Header, framed
from penstock.services.distributor.journal.opening import Found, letters_gone_by, look_into
from penstock.services.distributor.journal.quarantine import Quarantine

__all__ = ["Journal"]

log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT)
RESERVE = "reserve"
TIDY_EVERY = 16
"""Commits after which it is found out anew whether there is much to tidy up."""
MAX_GARBAGE_SEGMENTS = 4
MAX_SEGMENTS = 256


class Journal:
    """Appends entries to segments in a folder, and knows where each live packet lies.

    Args:
        folder: where segments lie; made with the first one.
        quarantine: folder for what cannot be read.
        files: the file system.
        durable: whether what is appended is synced before that returns.
        segment_bytes: a segment that has this size is followed by another.
        keep_bytes: size of the segments that are kept although nothing in them is live.
        dedupe_ids: how many ids of clients are kept at the least.
        reserve_bytes: size of a file that is given up on a full disk, so that deliveries can be noted.
        may_remove: asked before a segment is removed; whether nothing is needed of it any more.

    Raises:
        NewerVersion: a segment is of a version that is not known here.
        OSError: the folder cannot be listed.
    """

    def __init__(
        self,
        folder: Path,
        quarantine: Path,
        files: Files,
        *,
        durable: bool,
        segment_bytes: int,
        keep_bytes: int,
        dedupe_ids: int,
        reserve_bytes: int = 0,
        may_remove: Callable[[], bool] = lambda: True,
    ) -> None:
        self.folder = folder
        self.files = files
        self._quarantine = Quarantine(files, folder, quarantine)
        self._durable = durable
        self._segment_bytes = segment_bytes
        self._keep_bytes = keep_bytes
        self._may_remove = may_remove
        self._active: File | None = None  # the last of the segments, which may grow
        self._stuck_at = -1
        self._tidied = 0
        self._wasteful = False
        self._removed_before = False
        self._reserve_bytes = reserve_bytes
        self._reserve_tried_at = -1
        self._has_reserve = RESERVE in files.names(folder)
        found = look_into(files, folder)
        self._take_up(found)
        self.reader = BacklogReader(files, folder, self.extents)
        self.letters_gone = found.letters_gone
        self.client_ids = ClientIds(files, folder, found.id_files, dedupe_ids, durable=durable)
        self.quarantined = sum(self._quarantine.set_aside(fault) for fault in found.faults)
        self._settle(found)

    def _take_up(self, found: Found) -> None:
        self.extents = found.extents
        self.counters: Counter[str] = found.counters
        self.notes = found.notes
        self.last_seq = found.last_seq
        self.segments = found.segments
        self._last_number = found.last_number

    def _settle(self, found: Found) -> None:
        """Writes the last commit again: it may be in the memory of the system only, and stands from now on.

        Syncing its file is not enough: where that has failed before, it may now succeed and do nothing.
        """
        if self._durable and found.unsure:
            try:
                records = self._read_again(found)
                self._begin(records)
                self.letters_gone += [seq for record in records for seq in letters_gone_by(record.entry)]
                found.unsure = []
                self._sign()
            except OSError as error:
                log.warning("the last commit cannot be written again: %s", error)
        found.take_up_unsure()
        self.last_seq = max(self.last_seq, found.last_seq)

    def _read_again(self, found: Found) -> list[Record]:
        file = self.files.open(self.folder / self.segments[-1].name)
        try:
            return [
                Record(written.entry, [file.read(written.frame.bodies_at, written.frame.bodies_size)])
                for written in found.unsure
            ]
        finally:
            file.close()

    def _sign(self) -> None:
        """Says that all before it was synced. Nothing is lost when this is."""
        if self._active is None:
            return
        segment = self.segments[-1]
        sign = framed(segment.header, segment.end, encoded(Entry(0)), 0)
        with suppress(OSError):
            self._active.write(segment.end, sign)
            segment.end += len(sign)

    def close(self) -> None:
        """Writes no more."""
        self._sign()
        self._retire()

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(segment.end for segment in self.segments)

    def next_number(self) -> int:
        """The number of a file that is not there yet; the folder is."""
        self.files.make_folder(self.folder)
        self._last_number += 1
        return self._last_number

    # Appending

    def append(self, records: Sequence[Record]) -> None:
        """Stores records, together, and takes note of what they say.

        Raises:
            OSError: nothing of them is stored.
        """
        try:
            places = self._write(records)
        except OSError as error:
            if error.errno not in FULL or not self._make_room(records):
                raise
            places = self._write(records)
        self._take_note(records, places)

    def _make_room(self, records: Sequence[Record]) -> bool:
        """Frees what can be done without; the reserve only for what lets packets end, and so frees more."""
        if self._remove_finished(0):
            return True
        if self._has_reserve and not any(record.bodies for record in records):
            self._has_reserve = False
            with suppress(OSError):
                self.files.remove(self.folder / RESERVE)
                return True
        return False

    def _keep_reserve(self) -> None:
        """Takes the reserve, when there is none; where there is no room, again with the next segment."""
        if self._has_reserve or not self._reserve_bytes or self._reserve_tried_at == self._last_number:
            return
        self._reserve_tried_at = self._last_number
        try:
            file = self.files.create(self.folder / RESERVE)
            try:
                file.write(0, bytes(self._reserve_bytes))
            finally:
                file.close()
            self._has_reserve = True
        except OSError:
            with suppress(OSError):
                self.files.remove(self.folder / RESERVE)

    def _take_note(self, records: Sequence[Record], places: list[int]) -> None:
        """Knows what records say that lie at these places, the last one being their end."""
        segment = self.segments[-1]
        segment.end = places[-1]
        for (entry, _), (offset, end) in zip(records, pairwise(places), strict=True):
            self.extents.apply(entry, segment, offset, end)
            if entry.packets is not None:
                self.last_seq = max(self.last_seq, numbers(SEQ, entry.packets.seqs)[-1])
            self.counters.update(entry.counters)
            self.notes.update(entry.notes)

    def _write(self, records: Sequence[Record]) -> list[int]:
        """Writes records where the journal ends; returns where each begins, and where the last one ends."""
        if self._active is not None and self.segments[-1].end >= self._segment_bytes:
            self._retire()
        file = self._begin() if self._active is None else self._active
        places = self._write_into(file, records)
        if not self._durable:
            return places
        try:
            file.sync()
        except OSError as error:
            # Nobody knows what the disk has of it, and asking again would not tell: Linux forgets the error.
            log.error("%s cannot be synced: %s", self.folder / self.segments[-1].name, error)
            self._retire()
            file = self._begin()
            places = self._write_into(file, records)
            try:
                file.sync()
            except OSError:
                self._retire()
                raise
        return places

    def _write_into(self, file: File, records: Sequence[Record]) -> list[int]:
        segment = self.segments[-1]
        data, places = laid_out(segment.header, segment.end, records)
        try:
            file.write(segment.end, data)
        except OSError:
            try:
                file.truncate(segment.end)
            except OSError:
                self._retire()
            raise
        return places

    def _begin(self, records: Sequence[Record] = ()) -> File:
        """Begins a segment with what must not be forgotten of the older ones, and with these records.

        It gets its name when it is whole: from then on it tells how far the one before it counts.
        """
        previous = self.segments[-1] if self.segments else None
        header = Header(
            self._last_number + 1,
            randbits(64),
            previous.number if previous else 0,
            previous.end if previous else 0,
        )
        snapshot = Entry(0, snapshot=Snapshot(self.last_seq, dict(self.counters), self.notes))
        data, places = laid_out(header, HEADER_BYTES, [Record(snapshot, []), *records])
        self.files.make_folder(self.folder)
        path = self.folder / f"{header.number:010}.segment"
        unnamed = path.with_suffix(".new")
        file = self.files.create(unnamed)
        try:
            file.write(0, header.encoded() + data)
            if self._durable:
                file.sync()
            self.files.rename(unnamed, path)
            if self._durable:
                self.files.sync_folder(self.folder)
        except OSError:
            file.close()
            for name in (unnamed, path):
                with suppress(OSError):
                    self.files.remove(name)
            raise
        self._last_number = header.number
        self._active = file
        self.segments.append(Segment(header, path.name, places[1]))
        self._take_note(records, places[1:])
        return file

    def _retire(self) -> None:
        """Writes no more to the last segment."""
        file, self._active = self._active, None
        if file is not None:
            with suppress(OSError):
                file.close()

    # Letting go

    def tidy(self) -> None:
        """Removes segments that are not needed, and moves a little out of those that stand in the way."""
        self._remove_finished(self._keep_bytes)
        self._keep_reserve()
        if self._is_wasteful() and self._last_number != self._stuck_at:
            try:
                self._relocate_some()
            except OSError as error:
                self._stuck_at = self._last_number  # until the next segment, not to say it at every commit
                log.error("packets cannot be moved out of an old segment: %s", error)

    def _remove_finished(self, keep_bytes: int) -> bool:
        """Removes the oldest segments while nothing in them is live; whether any was."""
        finished = []
        for segment in self.segments:
            if segment.packets or segment is self.segments[-1]:  # which has the counters
                break
            finished.append(segment)
        size = sum(segment.end for segment in finished)
        removed = False
        for segment in finished:
            if size <= keep_bytes:
                break
            size -= segment.end
            if not self._may_remove() or not self._remove(segment):
                break
            removed = True
        if removed:
            self.extents.forget_gone()
        return removed

    def _remove(self, segment: Segment) -> bool:
        try:
            if self._removed_before and self._durable:
                # The one before must be gone for good: this one may say what became of packets in it.
                self.files.sync_folder(self.folder)
            self.client_ids.keep_those_of(segment)
            if segment.unread:
                self._quarantine.move(segment.name)
            else:
                self.files.remove(self.folder / segment.name)
        except OSError as error:
            log.error("%s cannot be removed: %s", self.folder / segment.name, error)
            return False
        self._removed_before = True
        self.segments.remove(segment)
        return True

    def _is_wasteful(self) -> bool:
        """Whether there is much that is not live, behind something old that is; found out now and then."""
        self._tidied += 1
        if self._tidied % TIDY_EVERY == 0:
            total = self.size_bytes
            live = sum(
                segment.end * segment.packets // segment.ever for segment in self.segments if segment.ever
            )
            allowed = max(live, MAX_GARBAGE_SEGMENTS * self._segment_bytes) + self._keep_bytes
            too_many = MAX_SEGMENTS + 2 * total // self._segment_bytes
            self._wasteful = total - live > allowed or len(self.segments) > too_many
        return self._wasteful

    def _relocate_some(self) -> None:
        """Moves some live packets of the oldest segment that has any to the end of the journal."""
        victim = next(segment for segment in self.segments if segment.packets or segment is self.segments[-1])
        some: list[Lying] = []
        size = 0
        for extent in self.extents.neighbours_in(victim):
            for lying in self.reader.in_extent(extent):
                lying.packet.body = lying.body  # damaged or not
                size += len(lying.body)
                some.append(lying)
            if size >= MAX_BODIES or len(some) >= MAX_PACKETS:
                break
        if some and victim is not self.segments[-1]:
            self.append([moved(some, self.extents.number_of)])


def laid_out(header: Header, offset: int, records: Sequence[Record]) -> tuple[bytes, list[int]]:
    """Records as they are written from an offset on; and where each begins, and the last one ends."""
    pieces, places = [], [offset]
    for entry, bodies in records:
        size = sum(map(len, bodies))
        frame = framed(header, places[-1], encoded(entry), size)
        pieces += [frame, *bodies]
        places.append(places[-1] + len(frame) + size)
    return b"".join(pieces), places


def moved(some: list[Lying], number_of: Callable[[Owner], int]) -> Record:
    """Packets as they are, damaged ones too, in a new record."""
    packets = [lying.packet for lying in some]
    owners, names = numbered(map(owner_of, packets), number_of)
    columns, bodies = packets_of(
        packets,
        owners,
        failures=column(SIZE, [packet.failures for packet in packets]),
        due_ms=column(SEQ, [packet.due_ms for packet in packets]),
        accepted_ms=column(SEQ, [lying.accepted_ms for lying in some]),
    )
    columns.crcs = column(SIZE, [lying.crc for lying in some])
    columns.clients = b""  # the file of ids has them
    return Record(Entry(0, names=names, packets=columns), bodies)
