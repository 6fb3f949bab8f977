"""How far files were read: remembered across restarts, so that a kill neither loses a line nor repeats one.

Before records of a file are stored, the range of bytes that they come from is written down, and they are
stored with ids that name it. A process that finds such a range at its start reads just that range again:
what of it was stored before the kill is known by its ids, and not stored twice.
"""

import logging
import os
import time
from pathlib import Path

import msgspec

from penstock._whole_file import write_whole

__all__ = ["Checkpoint", "Mark"]

log = logging.getLogger(__name__)

NAME = "tail.json"
MOST_BYTES = 16 * 1024 * 1024


class Mark(msgspec.Struct, kw_only=True):
    """A file, how it is known again, and how far it was read."""

    path: str
    device: int
    inode: int
    """0: contents that were truncated, and may be in a copy."""
    token: str
    """Names these contents in ids: random, and another one after the file was truncated."""
    head: str = ""
    """SHA-256 of its first bytes,"""
    head_bytes: int = 0
    """and how many those are."""
    offset: int = 0
    """All before is stored."""
    end: int = 0
    """Where the range ends that begins at `offset` and is being stored; 0: none is."""
    crc: int = 0
    """CRC-32 of what was read, from `crc_from` to `offset`: another file with the same is a copy of it."""
    crc_from: int = 0
    end_crc: int = 0
    """The same to `end`, if there is one."""
    seen: float = 0.0
    """Unix time when it was there last."""

    @property
    def known(self) -> int:
        """Where what was read ends, whether it is stored or not."""
        return max(self.offset, self.end)

    @property
    def known_crc(self) -> int:
        """CRC-32 from `crc_from` to there."""
        return self.end_crc if self.end else self.crc


decode = msgspec.json.Decoder(list[Mark]).decode


class Checkpoint:
    """The file that the marks are in.

    Args:
        folder: where it is; None: marks are not kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / NAME if folder is not None else None

    def load(self) -> list[Mark] | None:
        """The marks; None where there never were any.

        A file that cannot be read is put aside: all is then read from the start, rather than nothing.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            if self._path.stat().st_size > MOST_BYTES:
                raise ValueError(f"it must be at most {MOST_BYTES} bytes")
            return decode(self._path.read_bytes())
        except (ValueError, OSError) as error:
            aside = self._path.with_name(f"{NAME}.bad-{time.time_ns()}")
            log.error(
                "%s is unreadable and put aside: %s; files are read from their start", self._path, error
            )
            try:
                self._path.rename(aside)
            except OSError:
                log.exception("%s cannot be put aside", self._path)
            return []

    def save(self, marks: list[Mark]) -> None:
        """Replaces all marks; they are on the disk when it returns.

        Raises:
            OSError: they are not.
        """
        if self._path is None:
            return
        text = msgspec.json.encode(marks)

        def write(fd: int) -> None:
            view = memoryview(text)
            while view:
                view = view[os.write(fd, view) :]

        write_whole(self._path, write, lambda path: OSError(f"{path} must be a regular file"))
