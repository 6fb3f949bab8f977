"""What the journal asks of a file system, and the two that it works on: the disk, and memory."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

__all__ = ["DISK", "Disk", "File", "Files", "Memory"]


class File(Protocol):
    """An open file. Every method raises OSError, and then nobody knows how much of it was done."""

    def write(self, offset: int, data: bytes) -> None:
        """Writes all of it from `offset` on."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on; fewer only at the end."""

    def sync(self) -> None:
        """Returns when the disk has what was written, and how much that is."""

    def truncate(self, size: int) -> None:
        """Cuts the file."""

    def close(self) -> None:
        """Lets go of it."""


class Files(Protocol):
    """A file system. Every method raises OSError."""

    def make_folder(self, folder: Path) -> None:
        """Makes a folder and its parents where they are missing."""

    def names(self, folder: Path) -> list[str]:
        """What is in a folder; nothing when there is none."""

    def size(self, path: Path) -> int:
        """Bytes of a file."""

    def create(self, path: Path) -> File:
        """A new file, empty, to read and write; a file of that name that is there is emptied."""

    def open(self, path: Path) -> File:
        """A file that is there, to read and sync."""

    def rename(self, path: Path, name: Path) -> None:
        """Gives a file another name, in place of the file that has it."""

    def remove(self, path: Path) -> None:
        """Removes a file."""

    def sync_folder(self, folder: Path) -> None:
        """Returns when the disk has the names of what is in a folder."""


class DiskFile:
    """A file of the operating system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, offset: int, data: bytes) -> None:
        """See `File`."""
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):  # a full disk takes a part first, and says so at the next call
            written += os.pwrite(self._descriptor, memoryview(data)[written:], offset + written)

    def read(self, offset: int, size: int) -> bytes:
        """See `File`."""
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size and (more := os.pread(self._descriptor, size - len(data), offset + len(data))):
            data += more
        return data

    def sync(self) -> None:
        """See `File`."""
        getattr(os, "fdatasync", os.fsync)(self._descriptor)

    def truncate(self, size: int) -> None:
        """See `File`."""
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """See `File`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


class Disk:
    """The file system of the operating system."""

    def make_folder(self, folder: Path) -> None:
        """See `Files`."""
        if not folder.is_dir():
            if not folder.parent.exists():
                self.make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            self.sync_folder(folder.parent)

    def names(self, folder: Path) -> list[str]:
        """See `Files`."""
        with suppress(FileNotFoundError):
            return os.listdir(folder)
        return []

    def size(self, path: Path) -> int:
        """See `Files`."""
        return path.stat().st_size

    def create(self, path: Path) -> File:
        """See `Files`."""
        return DiskFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640))

    def open(self, path: Path) -> File:
        """See `Files`."""
        # without O_NONBLOCK, a pipe of that name would be waited for
        return DiskFile(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))

    def rename(self, path: Path, name: Path) -> None:
        """See `Files`."""
        os.replace(path, name)

    def remove(self, path: Path) -> None:
        """See `Files`."""
        os.unlink(path)

    def sync_folder(self, folder: Path) -> None:
        """See `Files`."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


DISK = Disk()


class MemoryFile:
    """Bytes that go by a name while somebody has them."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    def write(self, offset: int, data: bytes) -> None:
        """See `File`."""
        self._data[offset:] = data

    def read(self, offset: int, size: int) -> bytes:
        """See `File`."""
        return bytes(memoryview(self._data)[offset : offset + size])

    def sync(self) -> None:
        """See `File`."""

    def truncate(self, size: int) -> None:
        """See `File`."""
        del self._data[size:]

    def close(self) -> None:
        """See `File`."""


class Memory:
    """Files that are gone with the process."""

    def __init__(self) -> None:
        self._files: dict[Path, bytearray] = {}

    def make_folder(self, folder: Path) -> None:
        """See `Files`."""

    def names(self, folder: Path) -> list[str]:
        """See `Files`."""
        return [path.name for path in self._files if path.parent == folder]

    def size(self, path: Path) -> int:
        """See `Files`."""
        return len(self._found(path))

    def create(self, path: Path) -> File:
        """See `Files`."""
        self._files[path] = bytearray()
        return MemoryFile(self._files[path])

    def open(self, path: Path) -> File:
        """See `Files`."""
        return MemoryFile(self._found(path))

    def rename(self, path: Path, name: Path) -> None:
        """See `Files`."""
        self._files[name] = self._found(path)
        del self._files[path]

    def remove(self, path: Path) -> None:
        """See `Files`."""
        self._found(path)
        del self._files[path]

    def sync_folder(self, folder: Path) -> None:
        """See `Files`."""

    def _found(self, path: Path) -> bytearray:
        try:
            return self._files[path]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory", str(path)) from None
