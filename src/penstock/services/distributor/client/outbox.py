r"""Where packets wait until the distributor has taken them: in memory, or in a folder.

A folder outlives processes. It holds a drawer for each that used it, so that any number may share it:

    FOLDER/5f1c20aa9b3e/          its drawer
        lock                      held (flock) as long as the process lives
        00000001.packets ...      packets, appended; a file goes when all in it were taken
        sent                      how far they were taken

Bytes that are not what was written are passed over, and their file is kept as .damaged.

    .packets    b"penstock outbox 1\n", then frames: u32 length, u32 CRC-32 of the rest, then
                b"ID MESSAGES\n" and the packet as JSON
    sent        u32 CRC-32 of the rest, u64 number of the file, u64 offset in it

Whoever finds the drawer of a process that is no more sends what is in it, with the ids that the packets
have. A torn frame ends a file: it was being written when the process was killed. All numbers are
little-endian.
"""

import fcntl
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Protocol
from zlib import crc32

from penstock.errors import PenstockError
from penstock.services.distributor.client.errand import Packed
from penstock.services.distributor.client.outbox_format import (
    FRAME,
    MAGIC,
    SENT_BYTES,
    bytes_behind,
    framed,
    sent_note,
    unframed,
    where_sent_ends,
)

__all__ = [
    "FileOutbox",
    "InUse",
    "MemoryOutbox",
    "Outbox",
    "abandoned_outboxes",
    "bytes_waiting",
    "new_drawer",
]

FILE_BYTES = 4 * 1024 * 1024
"""Size at which a file is followed by a new one."""
MAX_FRAME = 16 * 1024 * 1024
MAX_ATTEMPTS = 20
"""To make a drawer that nobody takes for an abandoned one."""
NAME = re.compile(r"\A[0-9]{8}\.packets\Z")


class InUse(PenstockError, RuntimeError):
    """Another process uses this drawer."""


class Outbox(Protocol):
    """Packets in their order. One thread adds, one takes."""

    def add(self, packets: Sequence[Packed]) -> int:
        """Takes in as many of these as there is room for, from the first on; returns how many.

        Raises:
            OSError: they cannot be written; those that could be are not told apart, and have the same ids.
        """

    def oldest(self, packets: int, size_bytes: int) -> list[Packed]:
        """The first ones, which stay: so many, or fewer once they reach the size."""

    def remove(self, packets: int) -> None:
        """Removes as many of the first ones; they were among those that `oldest` gave last."""

    def sync(self) -> None:
        """Returns when the disk has what was taken in."""

    def close(self) -> None:
        """Lets go of everything; what is in files stays there."""


class MemoryOutbox:
    """Packets in memory.

    Args:
        max_bytes: room, in bytes of packets; one packet always fits.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._packets: deque[Packed] = deque()
        self._lock = Lock()

    def add(self, packets: Sequence[Packed]) -> int:
        """See `Outbox`."""
        with self._lock:
            for number, packet in enumerate(packets):
                if self._packets and self._bytes + len(packet.body) > self._max_bytes:
                    return number
                self._packets.append(packet)
                self._bytes += len(packet.body)
            return len(packets)

    def oldest(self, packets: int, size_bytes: int) -> list[Packed]:
        """See `Outbox`."""
        batch: list[Packed] = []
        with self._lock:
            for packet in self._packets:
                if len(batch) == packets or size_bytes <= 0:
                    break
                batch.append(packet)
                size_bytes -= len(packet.body)
        return batch

    def remove(self, packets: int) -> None:
        """See `Outbox`."""
        with self._lock:
            for _ in range(packets):
                self._bytes -= len(self._packets.popleft().body)

    def sync(self) -> None:
        """Nothing to do: memory is all there is."""

    def close(self) -> None:
        """Forgets all packets."""
        with self._lock:
            self._packets.clear()
            self._bytes = 0


class FileOutbox:
    """Packets in a drawer of their own; what `add` took is sent by a later process if this one is killed.

    It writes without syncing unless told: a kill loses nothing, a power cut what the operating system had not
    written yet.

    Args:
        drawer: the folder of this process; made when it is not there.
        max_bytes: room, in bytes of packets that wait; one packet fits where nothing waits.
        fsync: whether `add` returns only when the disk has the packets.
        file_bytes: size at which a file is followed by a new one.
        others: bytes of the same room that other drawers use; asked with every new file, and when it is full.

    Raises:
        InUse: another process has it.
        OSError: it cannot be used.
    """

    def __init__(
        self,
        drawer: Path,
        max_bytes: int,
        *,
        fsync: bool = False,
        file_bytes: int = FILE_BYTES,
        others: Callable[[], int] = lambda: 0,
    ) -> None:
        self._drawer = drawer
        self._max_bytes = max_bytes
        self._file_bytes = file_bytes
        self._fsync = fsync
        self._others = others
        self._others_bytes = 0
        self._changing = Lock()
        self._lock = locked(drawer)
        try:
            self._sizes = {int(path.name[:8]): path.stat().st_size for path in packet_files(drawer)}
            self._sent = os.open(drawer / "sent", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            os.close(self._lock)
            raise
        sent = os.pread(self._sent, SENT_BYTES, 0)
        self._file, self._offset = where_sent_ends(sent, min(self._sizes, default=1))
        if self._file not in self._sizes and self._offset > len(MAGIC):
            self._file, self._offset = (
                self._file + 1,
                len(MAGIC),
            )  # that one is gone; its number must not come again
        self._last = max([*self._sizes, self._file - 1])  # what earlier lives wrote is only read
        self._end = 0
        self._damaged: set[int] = set()
        self._writing = -1
        self._reading = -1
        self._reading_file = 0
        self._given: deque[tuple[int, int]] = deque()  # the file and the end of each packet that was given

    # Adding

    def add(self, packets: Sequence[Packed]) -> int:
        """See `Outbox`."""
        added, size = 0, 0
        frames: list[bytes] = []
        for packet in packets:
            frame = framed(packet)
            if not self._has_room(len(frame), size):
                break
            frames.append(frame)
            size += len(frame)
            if size >= self._file_bytes:
                added += self._append(frames)
                frames, size = [], 0
        return added + self._append(frames)

    def _has_room(self, size: int, before: int) -> bool:
        """Whether there is room for a frame behind some that will be written with it."""
        own = self._waiting_bytes() + before
        if own + self._others_bytes + size > self._max_bytes:
            self._others_bytes = self._others()
        return own + self._others_bytes + size <= self._max_bytes or not own

    def _waiting_bytes(self) -> int:
        """Bytes of what was not taken; as much again as a file has may lie on disk."""
        with self._changing:
            return bytes_behind(self._sizes, self._file, self._offset)

    def _append(self, frames: Sequence[bytes]) -> int:
        """Writes frames; how many there are."""
        if not frames:
            return 0
        data = b"".join(frames)
        if self._writing < 0 or self._end >= self._file_bytes:
            self._begin_file()
        try:
            write_all(self._writing, data)
            if self._fsync:
                os.fdatasync(self._writing)
        except OSError:
            with suppress(OSError):  # what is left of it is a torn frame, after which nothing may follow
                os.ftruncate(self._writing, self._end)
            os.close(self._writing)
            self._writing = -1
            raise
        with self._changing:
            self._end += len(data)
            self._sizes[self._last] = self._end
        return len(frames)

    def _begin_file(self) -> None:
        file = os.open(
            self._path(self._last + 1),
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC,
            0o600,
        )
        try:
            write_all(file, MAGIC)
            self._others_bytes = self._others()
        except OSError:
            os.close(file)
            with suppress(OSError):
                os.unlink(self._path(self._last + 1))
            raise
        if self._writing >= 0:
            os.close(self._writing)
        with self._changing:
            self._writing, self._end = file, len(MAGIC)
            self._last += 1
            self._sizes[self._last] = self._end

    def sync(self) -> None:
        """See `Outbox`."""
        if self._writing >= 0:
            os.fdatasync(self._writing)

    # Taking

    def oldest(self, packets: int, size_bytes: int) -> list[Packed]:
        """See `Outbox`."""
        batch: list[Packed] = []
        self._given.clear()
        for file, end, packet in self._packets_from(self._file, self._offset):
            batch.append(packet)
            self._given.append((file, end))
            size_bytes -= len(packet.body)
            if len(batch) == packets or size_bytes <= 0:
                break
        if not batch:
            self._remove_read_files()
        return batch

    def _packets_from(self, file: int, offset: int) -> Iterator[tuple[int, int, Packed]]:
        """Packets and where each ends, from a place on."""
        while True:
            with self._changing:
                last, end = self._last, self._end if self._writing >= 0 else self._sizes.get(self._last, 0)
            size = end if file == last else self._sizes.get(file, 0)
            while offset < size and (read := self._read(file, offset, size)) is not None:
                packet, offset = read
                if packet is not None:
                    yield file, offset, packet
            if file >= last:
                return
            file, offset = file + 1, len(MAGIC)

    def _read(self, file: int, offset: int, size: int) -> tuple[Packed | None, int] | None:
        """The packet at a place, None if it is damaged, and its end; nothing when it is torn."""
        if self._reading_file != file:
            self._close_reading()
            try:
                self._reading = os.open(self._path(file), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            self._reading_file = file
        head = os.pread(self._reading, FRAME.size, offset)
        if len(head) < FRAME.size:
            return None
        length, checksum = FRAME.unpack(head)
        end = offset + FRAME.size + length
        if length > MAX_FRAME or end > size:
            return None
        payload = os.pread(self._reading, length, offset + FRAME.size)
        packet = unframed(payload) if crc32(payload) == checksum else None
        if packet is None:
            self._damaged.add(file)
        return packet, end

    def remove(self, packets: int) -> None:
        """See `Outbox`."""
        with self._changing:
            for _ in range(packets):
                self._file, self._offset = self._given.popleft()
        with suppress(
            OSError
        ):  # on a full disk only what is removed now makes room; after a kill it is sent again
            os.pwrite(self._sent, sent_note(self._file, self._offset), 0)
        self._remove_files_before(self._file)

    def _remove_read_files(self) -> None:
        """Nothing is left in any file: all go but the one that is being written."""
        with self._changing:
            last = self._last + (self._writing < 0)
        self._remove_files_before(last)

    def _remove_files_before(self, file: int) -> None:
        with self._changing:
            old = [number for number in self._sizes if number < file]
        for number in old:
            if number == self._reading_file:
                self._close_reading()
            with suppress(OSError):  # what stays there lies before the place in `sent`
                if number in self._damaged:  # somebody may want to look at it
                    os.rename(self._path(number), self._path(number).with_suffix(".damaged"))
                else:
                    os.unlink(self._path(number))
            with self._changing:
                del self._sizes[number]

    def _close_reading(self) -> None:
        if self._reading >= 0:
            os.close(self._reading)
        self._reading, self._reading_file = -1, 0

    def close(self) -> None:
        """See `Outbox`; a drawer with nothing in it goes."""
        if self._lock < 0:
            return
        try:
            is_empty = not self.oldest(1, 1)
        except OSError:  # it cannot be read
            is_empty = False
        self._close_files()
        if is_empty and not self._damaged:
            for path in (*packet_files(self._drawer), self._drawer / "sent", self._drawer / "lock"):
                with suppress(OSError):
                    path.unlink()
            with suppress(OSError):
                self._drawer.rmdir()
        os.close(self._lock)
        self._lock = -1

    def forget(self) -> None:
        """Lets go of the files of another process, of which this one is a fork; they stay as they are."""
        self._close_files()
        os.close(self._lock)
        self._lock = -1

    def _close_files(self) -> None:
        self._close_reading()
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1
        os.close(self._sent)

    def _path(self, number: int) -> Path:
        return self._drawer / f"{number:08d}.packets"


def locked(drawer: Path) -> int:
    """The lock of a drawer, held as long as the descriptor is open."""
    drawer.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(drawer / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise InUse(f"{drawer} is in use by another process") from None
    return lock


def abandoned_outboxes(folder: Path, but: str = "") -> Iterator[FileOutbox]:
    """The drawers of processes that are no more, each locked for this one; the oldest first.

    Args:
        folder: where the drawers are.
        but: the name of one that is not wanted.
    """
    for drawer in sorted(drawers(folder), key=modified):
        if drawer.name != but:
            with suppress(InUse, OSError):  # of a process that lives, or went meanwhile
                yield FileOutbox(drawer, 0)


def bytes_waiting(folder: Path, but: str = "") -> int:
    """Bytes of packets that were not taken, in all drawers but the one of this name."""
    return sum(waiting_in(drawer) for drawer in drawers(folder) if drawer.name != but)


def waiting_in(drawer: Path) -> int:
    sizes = {}
    for path in packet_files(drawer):
        with suppress(OSError):
            sizes[int(path.name[:8])] = path.stat().st_size
    try:
        sent = (drawer / "sent").read_bytes()
    except OSError:
        sent = b""
    return bytes_behind(sizes, *where_sent_ends(sent, min(sizes, default=1)))


def drawers(folder: Path) -> list[Path]:
    with suppress(OSError):
        return [
            path for path in folder.iterdir() if re.fullmatch("[0-9a-f]{12}", path.name) and path.is_dir()
        ]
    return []


def packet_files(drawer: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in drawer.iterdir() if NAME.match(path.name))
    return []


def modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def new_drawer(folder: Path, max_bytes: int, *, fsync: bool = False) -> tuple[str, FileOutbox]:
    """A drawer for this process, and its name, which no other has.

    Raises:
        OSError: the folder cannot be used.
    """
    file_bytes = min(FILE_BYTES, max(max_bytes // 4, 1))
    for _ in range(MAX_ATTEMPTS):
        name = token_hex(6)
        others = partial(bytes_waiting, folder, but=name)
        with suppress(
            InUse, FileNotFoundError
        ):  # somebody took it for an abandoned one, which it was not yet
            return name, FileOutbox(
                folder / name, max_bytes, fsync=fsync, file_bytes=file_bytes, others=others
            )
    raise OSError(f"no drawer can be made in {folder}")


def write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
