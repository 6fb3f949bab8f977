"""Files that are there whole or not at all: written beside their place, synced, and renamed over it."""

import os
from collections.abc import Callable
from contextlib import suppress
from os import PathLike
from secrets import token_hex
from stat import S_ISREG

from penstock.errors import InvalidType, shown

__all__ = ["checked_path", "opened", "write_whole"]


def write_whole(
    path: str | PathLike[str], write: Callable[[int], object], not_a_file: Callable[[str], Exception]
) -> None:
    """Writes a file so that at any moment, whatever fails, there is the old one or the new one, whole.

    A link is followed, and stays one; a file keeps its mode. After a kill the new one may be left beside the
    old, as `.NAME.*.new`.

    Args:
        path: the file, which may be there.
        write: writes all of it to the descriptor that it is given.
        not_a_file: the error to raise where `path` is something else than a regular file.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    target = os.path.realpath(checked_path(path))
    mode = None
    with suppress(FileNotFoundError):
        status = os.stat(target)
        if not S_ISREG(status.st_mode):
            raise not_a_file(target)
        mode = status.st_mode & 0o777
    folder, name = os.path.split(target)
    beside = os.path.join(folder, f".{name[:48]}.{token_hex(8)}.new")  # cut: a long name has no room for more
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        error.filename = target  # not a name that the caller has never heard of
        raise
    try:
        try:
            write(fd)
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(beside, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Makes a rename last, where folders can be synced."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # to write, but not to list
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def opened(path: str, not_a_file: Callable[[str], Exception]) -> tuple[int, int]:
    """A descriptor that reads a regular file, which the caller closes, and the file's size in bytes.

    Raises:
        OSError: it cannot be opened.
    """
    # not to wait at a pipe that nobody writes to
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(fd)
        if not S_ISREG(status.st_mode):
            raise not_a_file(path)
    except BaseException:
        os.close(fd)
        raise
    return fd, status.st_size


def checked_path(path: str | PathLike[str]) -> str:
    """A path as a str.

    Raises:
        InvalidType: it is none.
    """
    try:
        name = os.fspath(path)
    except TypeError:
        name = None
    if not isinstance(name, str):
        raise InvalidType(f"path must be a str or a path, got {shown(path)}")
    return name
