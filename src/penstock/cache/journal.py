"""The journal of a write-back cache: every acknowledged write on disk until the store has it."""

import logging
import mmap
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple, NoReturn, get_args

from penstock.cache import _journal_records as records
from penstock.cache._journal_records import HEADER_BYTES, Flaw, Record, SegmentReader
from penstock.cache._seconds import LEAST_SECONDS, checked_seconds
from penstock.cache._settings import checked_count
from penstock.cache.codec import Codec, checked_codec
from penstock.errors import InvalidType, InvalidValue, PenstockError

__all__ = ["Journal", "JournalError", "JournalUnavailable", "Salvage"]

log = logging.getLogger(__name__)

Mode = Literal["always", "interval"]

SEGMENT_NAME = re.compile(r"([0-9]{8,18})\.journal")
NEW_FILE = os.O_CREAT | os.O_TRUNC | os.O_RDWR
MAX_INTERVAL = 3600.0
MAX_BYTES = 1 << 30
MIN_SEGMENT_BYTES = 4096


class JournalError(PenstockError, ValueError):
    """A journal is damaged, foreign or of another version; the message names the place and a way out."""


class JournalUnavailable(PenstockError, OSError):
    """A journal cannot be used or written at present; what was to be written is not acknowledged."""


class Write(NamedTuple):
    """One write that is to be recorded."""

    operation: int
    key: bytes
    value: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes in a segment."""
        return records.RECORD_BYTES + len(self.key) + len(self.value)


class Committed(NamedTuple):
    """What a commit tells: the number of its first record, and where the active segment begins."""

    first: int
    active_first: int
    size_bytes: int


class Salvage(NamedTuple):
    """What `Journal.salvage` did."""

    records: int
    """Writes that were readable; the next start replays them."""
    lost_bytes: int
    """Bytes of which nothing could be made."""
    set_aside: list[Path]
    """The old segments, whole, under new names; yours to look into and remove."""


@dataclass(slots=True)
class Segment:
    """A file with the records `first` to `last`; none while last < first."""

    path: Path
    first: int
    last: int
    size: int


class Journal:
    """A folder of segments: files to which writes are appended. Made for one write-back cache at a time.

    A segment that has grown past `segment_bytes` is followed by another, and removed once the store has all
    its writes; when the store has everything, the last one is emptied. A lock keeps a second process out.

    What a crash may do: in mode `always` a write is acknowledged once it is synced, so neither `kill -9` nor
    a power cut loses one. In mode `interval` it is acknowledged once the operating system has it: `kill -9`
    loses none, a power cut those of the last `interval` at most. Records that a crash left incomplete were
    not acknowledged; they are cut off at the next start and kept in a file beside the segment.

    When a write fails, as on a full disk, it is refused and taken back. When a sync fails, nobody knows what
    is on the disk, and asking again would not tell (Linux forgets the error): the journal then takes no more
    writes until the store has all that was accepted before, and begins anew with another file.

    Args:
        path: of the folder; made when missing.
        mode: `always` or `interval`.
        interval: seconds or timedelta between two syncs in mode `interval`, 0.001 to 3,600 s.
        codec: of values; None for MessagePack. Keys are str, int or bytes.
        segment_bytes: size after which another segment is begun.
        max_record_bytes: what key and value may have together.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument has the wrong type.

    Source: Pillai et al., All File Systems Are Not Created Equal, OSDI 2014; Rebello et al., Can
    Applications Recover from fsync Failures?, USENIX ATC 2020.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Mode = "always",
        interval: float | timedelta = 1.0,
        codec: Codec | None = None,
        segment_bytes: int = 16 << 20,
        max_record_bytes: int = 16 << 20,
    ) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidType(f"path must be a str or path, got {type(path).__name__}")
        if mode not in get_args(Mode):
            raise InvalidValue(f"mode must be always or interval, got {mode!r}")
        self.path = Path(path)
        self.mode: Mode = mode
        self.interval = checked_seconds("interval", interval, LEAST_SECONDS, MAX_INTERVAL)
        self.codec = checked_codec(codec)
        self._segment_bytes = checked_count(
            "segment_bytes", segment_bytes, MIN_SEGMENT_BYTES, MAX_BYTES, "bytes"
        )
        self._max_record_bytes = checked_record_bytes(max_record_bytes)
        self._files = ExitStack()  # of what is open: the lock and the active segment
        self._segments: list[Segment] = []  # the last one is active
        self._fd = -1
        self._salt = 0
        self._next = 1  # number of the next record
        self._synced = 0  # number up to which all records are safely on disk
        self._broken = ""  # why no write is taken

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r}, mode={self.mode!r})"

    @property
    def segment_bytes(self) -> int:
        """Size after which another segment is begun."""
        return self._segment_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self._segments)

    @property
    def unsynced(self) -> bool:
        """Whether there are records that a power cut could lose."""
        return self._synced < self._next - 1

    def require_size(self, write: Write) -> None:
        """Raises ValueError if a write is too large for a record."""
        length = len(write.key) + len(write.value)
        if length > self._max_record_bytes:
            raise InvalidValue(
                f"key and value must have <= {self._max_record_bytes} bytes together, got {length}"
            )

    # ---- opening

    def open(self) -> dict[bytes, Record]:
        """Takes the folder, reads what is in it and begins a new segment.

        Returns:
            The last record of each key, oldest first.

        Raises:
            JournalError: a segment is damaged, foreign or of another version. Nothing was changed.
            JournalUnavailable: another process has it, or the folder cannot be read and written.
        """
        if self._fd >= 0:
            raise JournalUnavailable(f"the journal {self.path} is in use by this process already")
        try:
            with ExitStack() as files:
                files.enter_context(locked(self.path))
                replayed = self._replay()
                self._begin_segment(files)
                self._files = files.pop_all()
        except OSError as error:
            self._fd = -1
            if isinstance(error, JournalUnavailable):
                raise
            raise JournalUnavailable(f"the journal {self.path} cannot be used: {error}") from error
        return replayed

    def close(self) -> None:
        """Closes the files and lets others have the folder. What is in it stays."""
        self._files.close()
        self._fd = -1
        self._segments = []

    def _replay(self) -> dict[bytes, Record]:
        self._segments, self._next, self._broken = [], 1, ""
        latest: dict[bytes, Record] = {}
        paths = segment_paths(self.path)
        for path in paths:
            with mapped(path) as data:
                segment = SegmentReader(data, self._max_record_bytes)
                if segment.flaw is None and self._segments and segment.first != self._next:
                    rule = f"the first record must have number {self._next}, got {segment.first}"
                    segment.flaw = Flaw(16, rule)
                for record in segment:
                    latest.pop(record.key, None)  # so that the order is that of the last records
                    latest[record.key] = record
                if segment.flaw and not (path is paths[-1] and is_torn(segment)):
                    refuse(path, segment.flaw)
                self._next = segment.next_number
                self._segments.append(Segment(path, segment.first, self._next - 1, segment.end))
        if paths:
            cut_tail(paths[-1], self._segments[-1].size)
        self._synced = self._next - 1
        return latest

    # ---- writing

    def commit(self, writes: Sequence[Write]) -> Committed:
        """Appends writes, all or none of them, and in mode `always` syncs them.

        Raises:
            JournalUnavailable: they are not to be acknowledged.
        """
        self._require_usable()
        active = self._segments[-1]
        if active.size >= self._segment_bytes:
            active = self._rotate()
        first = self._next
        data = b"".join(
            records.encode_record(self._salt, number, self._synced, *write)
            for number, write in enumerate(writes, first)
        )
        try:
            write_whole(self._fd, data)
        except OSError as error:
            self._take_back(active.size)
            raise JournalUnavailable(f"the journal {self.path} cannot be written: {error}") from error
        if self.mode == "always":
            self._sync(active.size)
        active.size += len(data)
        self._next += len(writes)
        active.last = self._next - 1
        if self.mode == "always":
            self._synced = active.last
        return Committed(first, active.first, self.size_bytes)

    def sync(self) -> None:
        """Has the disk take all that was written.

        Raises:
            JournalUnavailable: nobody knows whether it has; no more writes are taken.
        """
        self._require_usable()
        self._sync(self._segments[-1].size)
        self._synced = self._next - 1

    def release(self, number: int) -> None:
        """Removes what holds no record with this number or a higher one; the store has all of that.

        Raises:
            JournalUnavailable: a file cannot be removed, emptied or made; what is there stays good.
        """
        nothing_left = number >= self._next
        try:
            if nothing_left and self._broken:
                self._begin_anew()
                return
            while len(self._segments) > 1 and self._segments[0].last < number:
                self._segments[0].path.unlink(missing_ok=True)
                del self._segments[0]
                sync_folder(self.path)
            active = self._segments[-1]
            if nothing_left and active.size > HEADER_BYTES:
                # Not synced: after a power cut the old writes may be there again, and are stored once more.
                os.ftruncate(self._fd, HEADER_BYTES)
                active.size, active.last = HEADER_BYTES, active.first - 1
                self._synced = self._next - 1
        except OSError as error:
            raise JournalUnavailable(f"the journal {self.path} cannot be tidied up: {error}") from error

    def _require_usable(self) -> None:
        if self._fd < 0:
            raise JournalUnavailable(f"the journal {self.path} is not open")
        if self._broken:
            raise JournalUnavailable(
                f"the journal {self.path} takes no writes until the store has all earlier ones:"
                f" {self._broken}"
            )

    def _sync(self, good: int) -> None:
        try:
            sync_file(self._fd)
        except OSError as error:
            self._broken = f"a sync failed: {error}"
            self._take_back(good)
            raise JournalUnavailable(f"the journal {self.path} cannot be synced: {error}") from error

    def _take_back(self, size: int) -> None:
        """Cuts off what was refused, so that no later start replays it."""
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            self._broken = self._broken or f"a failed write could not be taken back: {error}"

    def _rotate(self) -> Segment:
        try:
            if self.unsynced:
                self.sync()  # only the last segment may have a torn tail
            return self._begin_segment(self._files)
        except JournalUnavailable:
            raise
        except OSError as error:
            raise JournalUnavailable(f"the journal {self.path} cannot be written: {error}") from error

    def _begin_segment(self, files: ExitStack) -> Segment:
        """Makes the next segment whole under another name, so that none is ever seen without its header."""
        last = self._segments[-1].path if self._segments else None
        number = segment_number(last) + 1 if last is not None else 1
        path = self.path / f"{number:08}.journal"
        salt = int.from_bytes(os.urandom(4), "little")
        header = records.encode_header(salt, self._next)
        fd = os.open(self.path / "new", NEW_FILE | os.O_APPEND, 0o600)
        try:
            write_whole(fd, header)
            sync_file(fd)
            os.rename(self.path / "new", path)
            sync_folder(self.path)
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)  # it must not follow a segment that gets more records
            raise
        if self._fd >= 0:
            os.close(self._fd)
        else:
            files.callback(lambda: os.close(self._fd))
        self._fd, self._salt = fd, salt
        self._segments.append(Segment(path, self._next, self._next - 1, len(header)))
        return self._segments[-1]

    def _begin_anew(self) -> None:
        """Replaces segments whose state nobody knows, once nothing in them is needed."""
        for segment in self._segments:
            segment.path.unlink(missing_ok=True)
        sync_folder(self.path)  # first: a crash must not leave an old, torn segment before a new one
        self._begin_segment(self._files)
        del self._segments[:-1]
        self._synced = self._next - 1
        self._broken = ""

    # ---- the way out

    @classmethod
    def salvage(cls, path: str | os.PathLike[str], *, max_record_bytes: int = 16 << 20) -> Salvage:
        """Makes a journal usable again that was refused: keeps every readable write, in order.

        What was damaged is lost, and so the store may end up with an older value of a key. The old segments
        are set aside under names that end in `.damaged`.

        Args:
            path: of the folder.
            max_record_bytes: as the journal has it.

        Raises:
            JournalUnavailable: another process has it, or the folder cannot be read and written.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise JournalUnavailable(f"the journal {folder} must be a folder")
        try:
            with locked(folder):
                return salvaged(folder, checked_record_bytes(max_record_bytes))
        except JournalUnavailable:
            raise
        except OSError as error:
            raise JournalUnavailable(f"the journal {folder} cannot be salvaged: {error}") from error


def salvaged(folder: Path, max_bytes: int) -> Salvage:
    paths = segment_paths(folder)
    if not paths:
        return Salvage(0, 0, [])
    kept = lost = 0
    fd = os.open(folder / "new", NEW_FILE, 0o600)
    try:
        write_whole(fd, records.encode_header(0, 1))
        for path in paths:
            with mapped(path) as data:
                segment = SegmentReader(data, max_bytes)
                lost += len(data) - (0 if segment.flaw else segment.end)
                for _, record in segment.readable_records():
                    kept += 1
                    lost -= record.size
                    write_whole(fd, records.encode_record(0, kept, kept - 1, *record[2:]))
        sync_file(fd)
    finally:
        os.close(fd)
    # The copy first: whenever this is interrupted, doing it again gives the same.
    os.rename(folder / "new", folder / f"{segment_number(paths[-1]) + 1:08}.journal")
    sync_folder(folder)
    aside = [path.with_name(f"{path.name}.damaged") for path in paths]
    for path, name in zip(paths, aside, strict=True):
        os.rename(path, name)
    sync_folder(folder)
    return Salvage(kept, lost, aside)


# ---- files


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, which the operating system drops when the process ends."""
    fcntl = file_locks()
    make_folder(folder)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalUnavailable(
                f"the journal {folder} is in use by another cache; give each its own folder"
            ) from None
        yield
    finally:
        os.close(lock)


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents, if they are missing, so that no power cut takes them back."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def file_locks() -> ModuleType:
    """The module fcntl, imported here so that penstock.cache can be imported where there is none.

    Raises:
        JournalUnavailable: there is none.
    """
    try:
        import fcntl
    except ImportError:
        raise JournalUnavailable(
            f"a journal needs a system with file locks (fcntl): {sys.platform} has none"
        ) from None
    return fcntl


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a file, of which no more is in memory than what is looked at."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            yield memoryview(b"")
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            yield view


def segment_paths(folder: Path) -> list[Path]:
    """The segments of a folder, oldest first."""
    paths = [path for path in folder.iterdir() if SEGMENT_NAME.fullmatch(path.name)]
    return sorted(paths, key=segment_number)


def segment_number(path: Path) -> int:
    return int(path.name.partition(".")[0])


def is_torn(segment: SegmentReader) -> bool:
    """Whether its flaw is a tail that a crash left; one in the header, which is made whole, never is."""
    return segment.flaw is not None and segment.flaw.offset >= HEADER_BYTES and segment.tail_is_torn()


def refuse(path: Path, flaw: Flaw) -> NoReturn:
    """Raises the error of a segment that must not be used as it is."""
    raise JournalError(
        f"{path}, offset {flaw.offset}: {flaw.rule}. Nothing was changed. Restore the folder from a copy, or"
        f" keep what is readable by Journal.salvage({str(path.parent)!r})"
    )


def cut_tail(path: Path, end: int) -> None:
    """Moves what lies behind the last good record into a file beside the segment."""
    size = path.stat().st_size
    if size == end:
        return
    aside = path.with_name(f"{path.name}.torn-{end}")
    with path.open("rb+") as file, aside.open("wb") as copy:
        file.seek(end)
        while piece := file.read(1 << 20):
            copy.write(piece)
        copy.flush()
        sync_file(copy.fileno())
        sync_folder(path.parent)
        file.truncate(end)
        sync_file(file.fileno())
    log.warning(
        "%s: the last %d bytes were left incomplete by a crash and never acknowledged; they are in %s now",
        path,
        size - end,
        aside.name,
    )


def write_whole(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_file(fd: int) -> None:
    """Has the disk take what was written to a file; on macOS the drive's own memory too."""
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):  # not every file system there can
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """Has the disk take which files are in a folder."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# ---- arguments


def checked_record_bytes(value: object) -> int:
    return checked_count("max_record_bytes", value, 1, MAX_BYTES, "bytes")
