"""The spool: every accepted packet on disk until it is delivered or a dead letter.

A `Change` is what happened since the last commit; `Spool.commit` stores it whole or not at all, as one entry
of the journal. Packets lie there; dead letters lie in a table beside it. In the data folder:

    lock                  held while a process uses the folder
    journal/              segments, appended to
    dead_letters.sqlite3  packets that were given up
    quarantine/           what could not be read
"""

import fcntl
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import msgspec

from penstock.clock import Clock
from penstock.errors import PenstockError
from penstock.services.distributor.change import Change, DeadLetter, Stored
from penstock.services.distributor.dead_letter_store import DeadLetterStore, Letter
from penstock.services.distributor.dead_letters import Failed
from penstock.services.distributor.journal.backlog import Backlog
from penstock.services.distributor.journal.entries import Owner, records_of
from penstock.services.distributor.journal.extents import Owned
from penstock.services.distributor.journal.files import DISK, Files, Memory
from penstock.services.distributor.journal.frames import NewerVersion
from penstock.services.distributor.journal.log import Journal
from penstock.services.distributor.journal.story import Event, story
from penstock.services.distributor.old_spool import OldSpool

__all__ = ["DAMAGED", "Backlog", "Event", "Owned", "Recovery", "Spool", "SpoolError"]

log = logging.getLogger(__name__)

T = TypeVar("T")

Durability = Literal["fsync", "os", "memory"]

DAMAGED = "its bytes on the disk are not what was written"
"""The error of a dead letter whose packet could not be read back."""

MAX_READ_BYTES = 16 * 1024 * 1024
"""Bytes of dead letters that are read into memory at a time."""
RESERVE_BYTES = 4 * 1024 * 1024
"""Held back on the disk, so that a full one does not keep packets from being noted as delivered."""
MEMORY_SEGMENT_BYTES = 4 * 1024 * 1024
"""Segments are no larger where they take memory, and none is kept for its story."""


class SpoolError(PenstockError, OSError):
    """The spool could not be read or written; what was to be stored is not stored."""


@dataclass(slots=True)
class Recovery:
    """What a spool held when it was opened."""

    last_seq: int
    """The highest number that a packet ever had."""
    packets: int
    """Packets neither delivered nor dead."""
    bytes: int
    """Of their bodies."""
    owners: dict[Owner, Owned]
    """Those that have never failed, by group and analyzer."""
    retrying: list[Stored]
    """Those that have failed, without their bodies."""
    quarantined: int
    """Places and files that could not be read and are in the quarantine since."""


class Spool:
    """A folder with a journal and a table of dead letters, used by one thread of one process at a time.

    Whatever is found in the folder, it opens, as long as the folder is there and nobody else has it: what
    cannot be read is moved into the quarantine, and as long as nothing can be written every commit says so.

    Args:
        folder: made when missing. Locked against a second process.
        durability: `fsync` syncs every commit, `os` leaves that to the system, `memory` writes no file.
        segment_bytes: size of a file of the journal.
        keep_bytes: size of the part of the journal that is kept when nothing in it is needed any more.
        files: the file system of the journal.
        dedupe_ids: how many ids that clients chose are kept at the least.
        wall: unix nanoseconds.

    Raises:
        SpoolError: the folder cannot be made, another process uses it, or it is of a newer version.
    """

    def __init__(
        self,
        folder: Path,
        durability: Durability = "fsync",
        *,
        segment_bytes: int = 64 << 20,
        keep_bytes: int = 64 << 20,
        files: Files = DISK,
        dedupe_ids: int = 1_000_000,
        wall: Clock = time_ns,
    ) -> None:
        self._wall = wall
        self.letters_unread = False
        """Whether `failed` could not read them when it was asked last."""
        in_memory = durability == "memory"
        if in_memory:
            files, keep_bytes = Memory(), 0
            segment_bytes = min(segment_bytes, MEMORY_SEGMENT_BYTES)
        self._lock = -1 if in_memory else locked_folder(folder)
        self._letters = DeadLetterStore(None if in_memory else folder, durability, folder / "quarantine")
        self._letters_gone: set[int] = set()  # by the journal, but still in the table
        self._letters_in_doubt: set[int] = set()  # whether their packets are dead, while commits fail
        try:
            self._journal = Journal(
                folder / "journal",
                folder / "quarantine",
                files,
                durable=durability == "fsync",
                segment_bytes=segment_bytes,
                keep_bytes=keep_bytes,
                dedupe_ids=dedupe_ids,
                reserve_bytes=0 if in_memory else RESERVE_BYTES,
                may_remove=self._have_letters_gone,
            )
            if not in_memory:
                OldSpool(folder / "spool.sqlite3", self._journal, self._letters).take_over()
            self._agree_about_letters()
            self.recovery = self._recovered()
        except BaseException as error:
            self.close()
            if not isinstance(error, (OSError, sqlite3.Error, NewerVersion)):
                raise
            raise SpoolError(
                f"the spool {folder} cannot be used: {error};"
                " move the files away or choose another folder with --data-dir"
            ) from None

    def _agree_about_letters(self) -> None:
        """Removes the letters that are gone by the journal, and those of packets that it says are live."""
        self._letters_gone.update(self._journal.letters_gone)
        self._journal.letters_gone.clear()
        with suppress(SpoolError):
            letters = [seq for _, seq in self._read(self._letters.failed)]
            self._letters_gone.update(seq for seq in letters if self._journal.extents.state_of(seq))
            self._letters_gone.intersection_update(letters)
            self._journal.last_seq = max([self._journal.last_seq, *letters])
        self._have_letters_gone()

    def _recovered(self) -> Recovery:
        extents = self._journal.extents
        return Recovery(
            self._journal.last_seq,
            extents.packets,
            extents.bytes,
            {extents.names[number]: owned for number, owned in extents.owned.items() if owned.packets},
            self._retrying(),
            self._journal.quarantined + self._letters.mended,
        )

    def _retrying(self) -> list[Stored]:
        reader, retrying = self._journal.reader, self._journal.extents.retrying
        try:
            packets = [lying.packet for lying in reader.find(list(retrying))]
        except OSError as error:
            log.error("packets to be tried again cannot be read yet: %s", error)
            packets = [reader.unknown(seq).packet for seq in retrying]
        for packet in packets:
            packet.body, packet.size = None, retrying[packet.seq].size
        return packets

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the folder."""
        if hasattr(self, "_journal"):
            self._journal.close()
        self._letters.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # Reading

    def read_backlog(
        self, group: str, owner: str | None, after: int, packets: int, size_bytes: int
    ) -> Backlog:
        """The next packets of a group and owner that have never failed, with their bodies.

        Args:
            group: of analyzers.
            owner: the analyzer that they were assigned to when they were stored, or later; None: nobody.
            after: only packets with higher numbers.
            packets: how many at the most.
            size_bytes: no more once their bodies have this size; always one, while there are any.

        Raises:
            SpoolError: the disk does not let them be read.
        """
        number = self._journal.extents.known_number_of((group, owner))
        if number is None:
            return Backlog(after=after, done=True)
        return self._read(lambda: self._journal.reader.read(number, after, packets, size_bytes))

    def bodies(self, seqs: Sequence[int]) -> dict[int, bytes]:
        """The bodies of packets, by number; those are left out that are not what was written.

        Raises:
            SpoolError: the disk does not let them be read.
        """
        return self._read(lambda: self._bodies(seqs))

    def _bodies(self, seqs: Sequence[int]) -> dict[int, bytes]:
        found = [lying.packet for lying in self._journal.reader.find(seqs)]
        return {packet.seq: packet.body for packet in found if packet.body is not None}

    def client_ids(self, since_ms: int, limit: int) -> list[tuple[str, int]]:
        """The ids that clients chose, accepted since then, with their time: the newest, oldest first."""
        return self._read(lambda: self._journal.client_ids.newest(self._journal.segments, since_ms, limit))

    def counters(self) -> Counter[str]:
        """Every counter as of the last commit."""
        return Counter(self._journal.counters)

    def note(self, name: str) -> Any:
        """What was remembered under `name`, None when nothing was."""
        note = self._journal.notes.get(name)
        return None if note is None else msgspec.json.decode(note)

    def story(self, id_: str) -> list[Event]:
        """What the journal still knows of the packets of this id, oldest first; in any thread."""
        journal = self._journal
        return self._read(lambda: story(journal.files, journal.folder, list(journal.segments), id_))

    # Dead letters

    def failed(self) -> list[Failed]:
        """When every dead letter failed, by that time and then by number; none when they cannot be read."""
        self.letters_unread = False
        try:
            failed = self._letters.failed()
        except sqlite3.Error as error:
            log.error("the dead letters cannot be read: %s", error)
            self.letters_unread = True
            return []
        return [letter for letter in failed if self._is_there(letter.seq)]

    def failed_at_ms(self, seq: int) -> int | None:
        """When a dead letter failed, unix time in ms; None when there is no such letter."""
        if not self._is_there(seq):
            return None
        return self._read(lambda: self._letters.failed_at_ms(seq))

    def letter_bytes(self) -> int:
        """Bytes of the packets of all dead letters."""
        return self._letters.bytes

    def dead_letters(self, seqs: Sequence[int]) -> list[tuple[int, bytes, int, str, int]]:
        """These dead letters, in this order: seq, body, failures, error, unix time in ms.

        Those that are gone are left out, and the last ones once the bodies reach MAX_READ_BYTES.
        """
        return [
            (letter.seq, letter.body, letter.failures, letter.error, letter.failed_at_ms)
            for letter in self._letters_of(seqs)
        ]

    def letters_as_packets(self, seqs: Sequence[int]) -> list[tuple[int, Stored]]:
        """These letters, as `dead_letters` has them: number, and a packet without one that never failed."""
        return [
            (
                letter.seq,
                Stored(0, letter.id, letter.messages, len(letter.body), letter.body, group=letter.group),
            )
            for letter in self._letters_of(seqs)
        ]

    def _is_there(self, seq: int) -> bool:
        """Whether a letter of the table is one by the journal too."""
        return seq not in self._letters_gone and seq not in self._letters_in_doubt

    def _letters_of(self, seqs: Sequence[int]) -> list[Letter]:
        there = [seq for seq in seqs if self._is_there(seq)]
        return self._read(lambda: self._letters.letters(there, MAX_READ_BYTES))

    def _read(self, reading: Callable[[], T]) -> T:
        try:
            return reading()
        except (OSError, sqlite3.Error) as error:
            raise SpoolError(f"the spool cannot be read: {error}") from None

    # Writing

    def commit(self, change: Change) -> None:
        """Stores a change whole, as durably as the spool was told to.

        Raises:
            SpoolError: nothing of it is stored.
        """
        journal = self._journal
        self._refuse_used_numbers(change)
        try:
            records = records_of(
                change, journal.extents.number_of, self._failures_of, self._wall() // 1_000_000
            )
        except OverflowError as error:
            raise SpoolError(f"the spool cannot hold this: {error}") from None
        dead = [letter.packet.seq for letter in change.dead]
        try:
            letters = [self._letter(letter) for letter in change.dead]
            if letters:  # before the journal says that they are dead
                self._letters_gone.difference_update(dead)
                self._letters.put(letters)
            journal.append(records)
        except (OSError, sqlite3.Error) as error:
            self._letters_in_doubt.update(dead)
            raise SpoolError(f"the spool cannot be written: {error}") from None
        self._letters_gone.update(self._letters_in_doubt.difference(dead))
        self._letters_in_doubt.clear()
        self._letters_gone.update(letter.seq for letter in change.purged)
        self._letters_gone.update(replay.letter_seq for replay in change.replayed)
        self._have_letters_gone()
        journal.tidy()

    def _refuse_used_numbers(self, change: Change) -> None:
        seqs = [packet.seq for packet in change.accepted]
        seqs += [replay.packet.seq for replay in change.replayed]
        last = self._journal.last_seq
        if seqs and min(seqs) <= last:
            raise SpoolError(f"numbers of new packets must be > {last}, got {min(seqs)}")
        if len(set(seqs)) < len(seqs):
            raise SpoolError("numbers of new packets must differ, got one twice")

    def _failures_of(self, seq: int) -> int:
        attempted = self._journal.extents.retrying.get(seq)
        return attempted.failures if attempted else 0

    def _letter(self, dead: DeadLetter) -> Letter:
        packet = dead.packet
        body = packet.body if packet.body is not None else self._rest_of(packet)
        failures = self._failures_of(packet.seq) + 1
        return Letter(
            packet.seq,
            packet.id,
            packet.group,
            packet.messages,
            failures,
            dead.error,
            max(dead.failed_at_ms, 0),
            body,
        )

    def _rest_of(self, packet: Stored) -> bytes:
        """The body of a packet as it lies on the disk; when it is damaged, a message that quotes it."""
        for lying in self._journal.reader.find([packet.seq]):
            if lying.packet.body is not None:
                return lying.packet.body
            text = lying.body.decode(errors="replace")
            return msgspec.json.encode({"messages": [{"message": f"{DAMAGED}: {text}"}], "id": packet.id})
        raise OSError(f"packet {packet.id} is not in the journal")

    def _have_letters_gone(self) -> bool:
        """Removes the letters that are gone by the journal; whether that is done."""
        if self._letters_gone:
            try:
                self._letters.remove(sorted(self._letters_gone))
            except sqlite3.Error as error:
                log.error("dead letters cannot be removed yet: %s", error)
                return False
            self._letters_gone.clear()
        return True

    def forget_client_ids(self, before_ms: int) -> None:
        """Needs the ids no more that clients chose before then."""
        self._journal.client_ids.forget(before_ms)


def locked_folder(folder: Path) -> int:
    """A file descriptor that holds the folder's lock; the operating system drops it when the process ends."""
    try:
        if not folder.is_dir():
            DISK.make_folder(folder)
        lock = lock_file(folder)
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise SpoolError(f"the data folder {folder} cannot be used: {reason}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise SpoolError(
            f"the data folder {folder} is in use by another distributor;"
            " stop that one or choose another folder with --data-dir"
        ) from None
    return lock


def lock_file(folder: Path) -> int:
    """What to lock: a file, or where none can be written and none is, the folder."""
    with suppress(OSError):
        return os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    with suppress(OSError):
        return os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
