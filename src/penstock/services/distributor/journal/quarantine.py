"""What cannot be read: copied into a folder of its own, before its segment goes."""

import errno
import logging
from contextlib import suppress
from pathlib import Path

from penstock.services.distributor.journal.files import Files
from penstock.services.distributor.journal.opening import Fault

__all__ = ["Quarantine", "name_of_copy"]

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 30
"""Of all files in a quarantine; beyond it nothing is copied there any more."""
PIECE = 1 << 20


def name_of_copy(fault: Fault) -> str:
    """The name, in a quarantine, of bytes of a file."""
    return f"{fault.name}-{fault.offset}"


class Quarantine:
    """A folder for bytes of which nothing can be made.

    Args:
        files: the file system.
        journal: folder that they come from.
        folder: made when it is needed.
    """

    def __init__(self, files: Files, journal: Path, folder: Path) -> None:
        self._files = files
        self._journal = journal
        self._folder = folder

    def set_aside(self, fault: Fault) -> bool:
        """Copies what cannot be read; whether it was not here yet, and no crash has left it."""
        where = f"{self._journal / fault.name}, bytes {fault.offset} to {fault.end}"
        if fault.torn:
            log.warning("%s: %s; it was never acknowledged", where, fault.what)
            if fault.whole_file:
                with suppress(OSError):
                    self._files.remove(self._journal / fault.name)
            return False
        try:
            is_new = self.move(fault.name) if fault.whole_file else self._copy(fault)
        except OSError as error:
            log.error("%s: %s; and it cannot be put into %s: %s", where, fault.what, self._folder, error)
            return True
        log.error("%s: %s; it is in %s now", where, fault.what, self._folder)
        return is_new

    def move(self, name: str) -> bool:
        """Moves a whole file here.

        Raises:
            OSError: that failed.
        """
        self._files.make_folder(self._folder)
        self._files.rename(self._journal / name, self._folder / name)
        return True

    def _copy(self, fault: Fault) -> bool:
        name = name_of_copy(fault)
        there = self._files.names(self._folder)
        if name in there:
            return False
        size = sum(self._files.size(self._folder / other) for other in there)
        if size + fault.end - fault.offset > MAX_BYTES:
            raise OSError(errno.EFBIG, f"the quarantine must be <= {MAX_BYTES} bytes, got {size} already")
        self._files.make_folder(self._folder)
        source, copy = self._files.open(self._journal / fault.name), self._files.create(self._folder / name)
        try:
            for offset in range(fault.offset, fault.end, PIECE):
                copy.write(offset - fault.offset, source.read(offset, min(PIECE, fault.end - offset)))
        finally:
            source.close()
            copy.close()
        return True
