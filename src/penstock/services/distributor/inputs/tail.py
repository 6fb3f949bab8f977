"""Files that are followed: each line becomes a message, while files grow, are rotated, truncated and deleted.

Files are looked at twice a second; nothing of the system's is needed for that. A file is what its inode
says, not its name, and is read to its end after it was renamed or deleted, also while the service was not
there. Of one that was truncated after it had been copied (logrotate's `copytruncate`), the lines that
nobody had read yet are looked for in the copy, and the others are not read there again.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import glob
from pathlib import Path
from secrets import token_hex
from stat import S_ISREG

from penstock._whole_file import opened
from penstock.clock import Clock, monotonic_ns
from penstock.services.distributor.config import TailConfig
from penstock.services.distributor.inputs.long_text import RecordLengths
from penstock.services.distributor.inputs.storing import Storing
from penstock.services.distributor.inputs.tail_checkpoint import Checkpoint, Mark
from penstock.services.distributor.inputs.tail_file import TailedFile, crc_of, head_of

__all__ = ["Tails"]

log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks."""
MOST_RANGES = 8
"""Of one file, until others have their turn."""
MOST_FILES = 512
"""Open at a time; others wait until one of them is gone."""
SETTLED = 5 * 10**9
"""Nanoseconds after which a file that begins like another and does not grow is no copy in the making,"""
LOOKS = 2
"""when it was looked at so many times, and its original as well, which may be truncated by now."""
FORGOTTEN = 7 * 86_400.0
"""Seconds after which a file that is not there is no longer remembered."""

LATE = 2.0
"""Seconds after a truncation was seen before which its copy was last written to."""
MOST_TRUNCATED = 63
"""Truncated contents that are remembered, and one more."""

Key = tuple[int, int]
"""Device and inode."""


@dataclass(slots=True)
class Suspect:
    """A file that begins as one that is followed: perhaps a copy of it, after which that one is truncated."""

    fd: int
    path: str
    settings: TailConfig
    token: str  # of the original's contents
    since: int
    size: int = -1
    looks: int = 0  # at the folder, and so at its original too


class Tails:
    """Follows files.

    Args:
        settings: which files.
        storing: stores their lines.
        lengths: of records.
        folder: where is kept how far they were read; None: nowhere.
        clock: nanoseconds.
        wall: Unix time.
    """

    def __init__(
        self,
        settings: tuple[TailConfig, ...],
        storing: Storing,
        lengths: RecordLengths,
        *,
        folder: Path | None,
        clock: Clock = monotonic_ns,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._storing = storing
        self._lengths = lengths
        self._checkpoint = Checkpoint(folder)
        self._clock = clock
        self._wall = wall
        self._files: dict[Key, TailedFile] = {}
        self._suspects: dict[Key, Suspect] = {}
        self._absent: list[Mark] = []  # of files that were not found again
        self._truncated: list[Mark] = []  # of contents that may be in a copy, with the time as `seen`
        self._lock = threading.Lock()  # the folders are looked at in another thread
        self._unsaved = False
        self._told_of_most = False
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Finds the files, and begins to follow them."""
        self.open()
        await self._save()
        self._task = asyncio.create_task(self._run(), name="tail")

    async def aclose(self, within: float) -> None:
        """Ends; what is not stored `within` seconds is read again by the next process."""
        self._ending.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=within)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self.close()

    async def _run(self) -> None:
        while not self._ending.is_set():
            try:
                await self.poll()
            except OSError as error:
                log.error("files cannot be followed just now: %s", error)
            except Exception:  # ours to mend, but no reason to follow nothing any more
                log.exception("following files failed for a reason that nobody thought of")
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._ending.wait()

    # ---- what can be driven by hand ----

    def open(self) -> None:
        """Takes up the files that are there, where they were left."""
        marks = self._checkpoint.load()
        self._absent = [mark for mark in marks or () if mark.inode]
        self._truncated = [mark for mark in marks or () if not mark.inode]
        self._discover(self._found(), first=marks is None)
        self._find_moved()
        self._unsaved = True

    def close(self) -> None:
        """Lets go of all files."""
        with self._lock:
            for file in self._files.values():
                file.close()
            for suspect in self._suspects.values():
                os.close(suspect.fd)
            self._files.clear()
            self._suspects.clear()

    async def poll(self) -> None:
        """Looks at all files once, and stores what is new."""
        await asyncio.to_thread(self._survey)
        for key, file in tuple(self._files.items()):
            await self._read(file)
            if self._ending.is_set():
                break
            if file.is_done(self._clock()) and file.mark.offset >= file.size:
                file.close()
                del self._files[key]
                self._unsaved = True
        if self._unsaved:
            await self._save()

    # ---- finding files ----

    def _survey(self) -> None:
        """Finds what is new in the folders."""
        with self._lock:
            self._discover(self._found(), first=False)
            self._judge_suspects()

    def _found(self) -> list[tuple[str, TailConfig, os.stat_result]]:
        """The regular files that the settings name, each once."""
        found: dict[Key, tuple[str, TailConfig, os.stat_result]] = {}
        for settings in self._settings:
            for path in sorted(glob(settings.path, recursive=True)):
                with suppress(OSError):
                    status = os.stat(path)
                    if S_ISREG(status.st_mode):
                        found.setdefault(key_of(status), (path, settings, status))
        return list(found.values())

    def _discover(self, found: list[tuple[str, TailConfig, os.stat_result]], *, first: bool) -> None:
        """Begins to follow the files that were not there before."""
        present, known = set(), {mark.inode for mark in self._absent}
        for path, settings, status in sorted(found, key=lambda each: each[2].st_ino not in known):
            key = key_of(status)
            present.add(key)
            if key not in self._files and key not in self._suspects:
                self._add(path, settings, first=first)
        for key, file in self._files.items():
            file.gone = key not in present

    def _add(self, path: str, settings: TailConfig, *, first: bool) -> None:
        if len(self._files) + len(self._suspects) >= MOST_FILES:
            if not self._told_of_most:
                log.error(
                    "%s is not followed: %d files are, the most that are open at a time", path, MOST_FILES
                )
                self._told_of_most = True
            return
        try:
            fd, size = opened(path, OSError)
        except OSError as error:
            log.warning("%s cannot be followed: %s", path, error)
            return
        status = os.fstat(fd)
        if (mark := self._remembered(fd, status)) is not None:
            self._follow(fd, mark, settings)
        elif (then := self._copied(fd)) is not None:
            self._follow_copy(fd, then, settings)
        elif (original := self._original_of(fd, size)) is not None:
            self._suspects[key_of(status)] = Suspect(fd, path, settings, original.mark.token, self._clock())
        else:
            mark = new_mark(path, status)
            if first and settings.from_end:
                mark.offset = mark.crc_from = start_of_last_line(fd, size)
            self._follow(fd, mark, settings)

    def _follow(self, fd: int, mark: Mark, settings: TailConfig) -> TailedFile:
        mark.device, mark.inode = key = key_of(os.fstat(fd))
        file = TailedFile(fd, mark, settings, self._clock())
        self._files[key] = file
        self._unsaved = True
        return file

    def _remembered(self, fd: int, status: os.stat_result) -> Mark | None:
        """What an earlier process knew of a file. Devices may have other numbers after a restart."""
        same = [mark for mark in self._absent if mark.inode == status.st_ino]
        if not same:
            return None
        mark = min(same, key=lambda mark: mark.device != status.st_dev)
        self._absent.remove(mark)
        if status.st_size >= mark.known and head_of(fd, mark.head_bytes) == mark.head:
            return mark
        self._remember_truncated(mark)
        return None

    def _find_moved(self) -> None:
        """Takes up files that were renamed, or copied and truncated, while nobody looked: rotated ones."""
        for mark in (*self._absent, *self._truncated):
            settings = next((each for each in self._settings if mark_is_of(mark, each)), None)
            if settings is None:
                continue
            if not mark.inode:
                self._find_copy(mark, settings)
                continue
            for entry in entries_of(os.path.dirname(mark.path)):
                if entry.inode() != mark.inode:
                    continue
                with suppress(OSError):
                    fd, size = opened(entry.path, OSError)
                    known = key_of(os.fstat(fd)) in self._files
                    if not known and size >= mark.known and head_of(fd, mark.head_bytes) == mark.head:
                        self._absent.remove(mark)
                        self._follow(fd, mark, settings).gone = True
                        break
                    os.close(fd)

    # ---- copies ----

    def _original_of(self, fd: int, size: int) -> TailedFile | None:
        """The file that begins as this one does, as far as both are there."""
        for file in self._files.values():
            mark = file.mark
            common = min(size, mark.head_bytes)
            if common and mark.known > mark.crc_from and self._same_head(fd, file, common):
                return file
        return None

    @staticmethod
    def _same_head(fd: int, file: TailedFile, size: int) -> bool:
        mark = file.mark
        return head_of(fd, size) == (mark.head if size == mark.head_bytes else head_of(file.fd, size))

    def _copied(self, fd: int, token: str | None = None) -> Mark | None:
        """The contents that are in a file too, which are no longer where they were read."""
        status = os.fstat(fd)
        for then in self._truncated:
            if (
                token in (None, then.token)
                and status.st_size >= then.known
                and status.st_mtime <= then.seen + LATE
                and head_of(fd, then.head_bytes) == then.head
                and crc_of(fd, then.crc_from, then.known) == then.known_crc
            ):
                return then
        return None

    def _follow_copy(self, fd: int, then: Mark, settings: TailConfig) -> None:
        """Reads on in the copy of a file that was truncated, where that one's reading ended."""
        self._truncated.remove(then)
        self._follow(fd, then, settings)

    def _judge_suspects(self) -> None:
        """Follows those of which it is known now whether they are copies."""
        followed = {file.mark.token for file in self._files.values()}
        for key, suspect in tuple(self._suspects.items()):
            then = self._copied(suspect.fd, suspect.token)
            if then is not None:
                self._follow_copy(suspect.fd, then, suspect.settings)
            elif suspect.token not in followed or self._is_settled(suspect):
                self._follow(suspect.fd, new_mark(suspect.path, os.fstat(suspect.fd)), suspect.settings)
            else:
                continue
            del self._suspects[key]

    def _is_settled(self, suspect: Suspect) -> bool:
        size, now = os.fstat(suspect.fd).st_size, self._clock()
        if size != suspect.size:
            suspect.size, suspect.since, suspect.looks = size, now, 0
        suspect.looks += 1
        return suspect.looks > LOOKS and now - suspect.since >= SETTLED

    def _truncate(self, file: TailedFile) -> None:
        """Begins a file anew, and looks for what nobody had read of it before in a copy beside it."""
        with self._lock:
            then = copy(file.mark)
            file.begin_anew()
            self._unsaved = True
            self._remember_truncated(then)
            self._find_copy(then, file.settings)

    def _remember_truncated(self, then: Mark) -> None:
        """Keeps what is known of contents that are no longer where they were."""
        if then.known > then.crc_from and then.head_bytes:
            then.inode, then.seen = 0, self._wall()
            self._truncated = [*self._truncated[-MOST_TRUNCATED:], then]

    def _find_copy(self, then: Mark, settings: TailConfig) -> None:
        """Follows the copy of truncated contents that lies beside where they were, whatever it is called."""
        for entry in entries_of(os.path.dirname(then.path)) if then in self._truncated else ():
            with suppress(OSError):
                key = key_of(entry.stat())
                if key in self._files or key in self._suspects:
                    continue
                fd, _ = opened(entry.path, OSError)
                if self._copied(fd, then.token) is not None:
                    self._follow_copy(fd, then, settings)
                    return
                os.close(fd)

    # ---- reading ----

    async def _read(self, file: TailedFile) -> None:
        """Stores what is new in a file."""
        for _ in range(MOST_RANGES):
            if self._ending.is_set() or not file.look(self._clock()):
                return
            if file.is_replaced():
                log.info("%s was truncated or written anew: it is read from its start", file.mark.path)
                await asyncio.to_thread(self._truncate, file)
                continue
            data = file.next_range(self._clock())
            if not data:
                return
            await self._store(file, data)

    async def _store(self, file: TailedFile, data: bytes) -> None:
        ids = file.begin(data)
        await self._save()  # first the range, then its records: see tail_checkpoint.py
        records = [record for message in file.messages(data) for record in self._lengths.records(message)]
        if records:
            self._storing.figures.received += len(records)
            await self._storing.store(records, ids)
        file.commit()
        self._unsaved = True

    async def _save(self) -> None:
        now = self._wall()
        marks = [file.mark for file in self._files.values()]
        for mark in marks:
            mark.seen = now
        self._absent = [mark for mark in self._absent if now - mark.seen < FORGOTTEN]
        self._truncated = [mark for mark in self._truncated if now - mark.seen < FORGOTTEN]
        await asyncio.to_thread(self._checkpoint.save, marks + self._absent + self._truncated)
        self._unsaved = False


def new_mark(path: str, status: os.stat_result) -> Mark:
    """Of a file of which nothing was read."""
    return Mark(path=shown(path), device=status.st_dev, inode=status.st_ino, token=token_hex(8))


def key_of(status: os.stat_result) -> Key:
    """What a file is, whatever it is called."""
    return status.st_dev, status.st_ino


def shown(path: str) -> str:
    """A path as text that JSON can carry."""
    return os.fsencode(path).decode("utf-8", "replace")


def mark_is_of(mark: Mark, settings: TailConfig) -> bool:
    """Whether a file is one of those that the settings name."""
    return mark.path == settings.path or fnmatch(mark.path, settings.path)


def start_of_last_line(fd: int, size: int) -> int:
    """Where the last line begins that has no end yet; the end of the file if it is too long for one."""
    start = max(size - 65_536, 0)
    newline = os.pread(fd, size - start, start).rfind(b"\n")
    return start + newline + 1 if newline >= 0 else size


def entries_of(folder: str) -> Iterator[os.DirEntry[str]]:
    """The regular files of a folder; none of one that cannot be read."""
    try:
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_file(follow_symlinks=False):
                        yield entry
    except OSError as error:
        log.warning("the folder %s cannot be read: %s", folder, error)
