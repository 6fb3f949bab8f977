"""The ids that clients chose: read from segments, and kept in a file of their own when a segment goes."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from secrets import randbits

from penstock.services.distributor.journal.entries import (
    SIZE,
    Entry,
    Packets,
    column,
    encoded,
    numbers,
    offsets,
)
from penstock.services.distributor.journal.extents import Segment
from penstock.services.distributor.journal.files import Files
from penstock.services.distributor.journal.frames import HEADER_BYTES, Header, framed
from penstock.services.distributor.journal.opening import IdFile, entries_in, frames_of

__all__ = ["ClientIds"]

log = logging.getLogger(__name__)


class ClientIds:
    """The ids of segments that are gone.

    Args:
        files: the file system.
        folder: of the journal.
        id_files: those that there are, oldest first.
        wanted: how many ids are kept at the least, while there are so many.
        durable: whether what is written is synced.
    """

    def __init__(
        self, files: Files, folder: Path, id_files: list[IdFile], wanted: int, *, durable: bool
    ) -> None:
        self._files = files
        self._folder = folder
        self._id_files = id_files
        self._wanted = wanted
        self._durable = durable
        self._since_ms = 0

    def newest(self, segments: Sequence[Segment], since_ms: int, limit: int) -> list[tuple[str, int]]:
        """The newest ids, accepted since then, with their time; oldest first.

        Args:
            segments: all that there are, which have the newest.
            since_ms: unix time.
            limit: how many at the most.

        Raises:
            OSError: a file cannot be read.
        """
        parts: list[list[tuple[str, int]]] = []
        left = limit
        sources: list[Segment | IdFile] = [*reversed(segments), *reversed(self._id_files)]
        for source in sources:
            newest_ms = source.newest_ms if isinstance(source, IdFile) else source.newest_client_id_ms
            if left > 0 and newest_ms >= since_ms:
                parts.append(self._ids_in(source, since_ms)[-left:])
                left -= len(parts[-1])
        return [id_ for ids in reversed(parts) for id_ in ids]

    def _ids_in(self, source: Segment | IdFile, since_ms: int) -> list[tuple[str, int]]:
        found = []
        for entry, packets in entries_with_ids(self._files, self._folder, source):
            if entry.at_ms < since_ms:
                continue
            starts = offsets(numbers(SIZE, packets.id_sizes))
            for place, is_clients in enumerate(packets.clients):
                if is_clients:
                    id_ = packets.ids[starts[place] : starts[place + 1]].decode()
                    found.append((id_, entry.at_ms))
        return found

    def keep_those_of(self, segment: Segment) -> None:
        """Writes the ids of a segment that is to go into a file beside it, when they are still wanted.

        Raises:
            OSError: that failed.
        """
        if segment.client_ids and segment.newest_client_id_ms >= self._since_ms:
            self._keep(segment.number, ids_of(self._files, self._folder, segment))
            segment.client_ids = 0

    def take(self, number: int, ids: Mapping[int, Sequence[bytes]]) -> None:
        """Takes ids, by the time they were accepted, from elsewhere.

        Args:
            number: of the file; no segment has it.
            ids: in the order of time.

        Raises:
            OSError: that failed.
        """
        entries = [
            Entry(
                at_ms,
                packets=Packets(
                    ids=b"".join(some), id_sizes=column(SIZE, map(len, some)), clients=b"\1" * len(some)
                ),
            )
            for at_ms, some in ids.items()
        ]
        self._keep(number, entries)

    def _keep(self, number: int, entries: Iterable[Entry]) -> None:
        made = write_id_file(self._files, self._folder, number, entries, durable=self._durable)
        self._id_files.append(made)
        self._remove_unwanted()

    def forget(self, before_ms: int) -> None:
        """Needs no ids any more that were accepted before then."""
        self._since_ms = max(self._since_ms, before_ms)
        self._remove_unwanted()

    def _remove_unwanted(self) -> None:
        """Removes files that are too old, or of more ids than are wanted."""
        kept, count = [], 0
        for source in reversed(self._id_files):
            if source.newest_ms >= self._since_ms and count < self._wanted:
                kept.append(source)
                count += source.ids
                continue
            try:
                self._files.remove(self._folder / source.name)
            except OSError as error:
                log.error("%s cannot be removed: %s", self._folder / source.name, error)
                kept.append(source)
        self._id_files = kept[::-1]


def entries_with_ids(files: Files, folder: Path, source: Segment | IdFile) -> Iterator[tuple[Entry, Packets]]:
    for _, entry in entries_in(frames_of(files, folder, source.name, source.header, source.end)):
        if entry.packets is not None and entry.packets.clients:
            yield entry, entry.packets


def ids_of(files: Files, folder: Path, segment: Segment) -> Iterator[Entry]:
    """The ids of a segment as entries of a file of ids."""
    for entry, packets in entries_with_ids(files, folder, segment):
        ids = Packets(ids=packets.ids, id_sizes=packets.id_sizes, clients=packets.clients)
        yield Entry(entry.at_ms, packets=ids)


def write_id_file(
    files: Files, folder: Path, number: int, entries: Iterable[Entry], *, durable: bool
) -> IdFile:
    """Writes a file of ids.

    Raises:
        OSError: that failed; what is there of the file does not matter.
    """
    name = f"{number:010}.ids"
    header = Header(number, randbits(64))
    pieces, end, ids, newest_ms = [header.encoded()], HEADER_BYTES, 0, 0
    for entry in entries:
        pieces.append(framed(header, end, encoded(entry), 0))
        end += len(pieces[-1])
        ids += sum(entry.packets.clients) if entry.packets else 0
        newest_ms = max(newest_ms, entry.at_ms)
    file = files.create(folder / name)
    try:
        file.write(0, b"".join(pieces))
        if durable:
            file.sync()
    finally:
        file.close()
    if durable:
        files.sync_folder(folder)
    return IdFile(name, header, end, ids, newest_ms)
