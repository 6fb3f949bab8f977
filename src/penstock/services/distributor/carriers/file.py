"""Packets into a file: a line of JSON each, appended, on the disk before they count as delivered.

The file is looked up before each delivery: one that was renamed or removed (logrotate) is made anew. What
could not be written whole is taken back, so a full disk leaves no half of a line.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from penstock.services.distributor.carrier import PacketFailure
from penstock.services.distributor.carriers.lines import packet_lines
from penstock.services.distributor.carriers.posting import failed, failed_by
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import AnalyzerConfig, Config

__all__ = ["AppendedFile", "FileCarrier"]

T = TypeVar("T")

MODE = 0o640  # logs are not for everybody
to_disk = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class FileCarrier:
    """Carries packets into files, each written by a thread of its own.

    Args:
        config: the settings.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._files: dict[tuple[str, str], FileThread] = {}

    async def deliver(
        self, analyzer: AnalyzerConfig, packets: Sequence[Stored]
    ) -> Mapping[str, PacketFailure]:
        """See `AnalyzerClient`."""
        lines = packet_lines(packets)
        await self._in_time(analyzer, lambda file: file.append(lines))
        return {}

    async def probe(self, analyzer: AnalyzerConfig) -> None:
        """It is well when the file can be opened."""
        await self._in_time(analyzer, lambda file: file.open())

    async def forget(self, analyzer: AnalyzerConfig) -> None:
        """See `AnalyzerClient`."""
        if (thread := self._files.pop((analyzer.id, analyzer.path), None)) is not None:
            await thread.aclose()

    async def aclose(self) -> None:
        """Closes all files."""
        files, self._files = self._files, {}
        for thread in files.values():
            await thread.aclose()

    async def _in_time(self, analyzer: AnalyzerConfig, work: Callable[["AppendedFile"], None]) -> None:
        key = analyzer.id, analyzer.path
        if (thread := self._files.get(key)) is None:
            thread = self._files[key] = FileThread(analyzer.path, self._config.durability == "fsync")
        timeout = analyzer.timeout or self._config.analyzer_timeout
        try:
            await asyncio.wait_for(thread.run(work), timeout)
        except TimeoutError:
            raise failed(f"{analyzer.path}: not written within {timeout:g} s") from None
        except OSError as error:
            raise failed_by(analyzer.path, error) from None


class FileThread:
    """A file, and the one thread that touches it, so that deliveries stand in it one after the other."""

    def __init__(self, path: str, durable: bool) -> None:
        self._file = AppendedFile(path, durable=durable)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analyzer file")

    async def run(self, work: Callable[["AppendedFile"], T]) -> T:
        """Has the thread do it; what waits for its turn when this is cancelled is not done at all."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._file)

    async def aclose(self) -> None:
        """Waits for what is being written, and closes the file."""
        await self.run(AppendedFile.close)
        self._thread.shutdown(wait=False)


class AppendedFile:
    """A file that whole deliveries are appended to; of one thread.

    Args:
        path: absolute; made when it is not there.
        durable: whether each delivery is on the disk when `append` returns.
    """

    def __init__(self, path: str, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._fd = -1
        self._is_regular = False

    def append(self, lines: bytes) -> None:
        """Writes whole lines; all of them or, as far as the disk lets it, none.

        Raises:
            OSError: they were not written.
        """
        self.open()
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._fd, memoryview(lines)[written:])
            if self._durable and self._is_regular:
                to_disk(self._fd)
        except OSError:
            self._take_back(written)
            self.close()  # opening it again looks whether a line was left half
            raise

    def open(self) -> None:
        """Opens the file unless it is open and still stands under its path.

        Raises:
            OSError: it cannot be opened, or is something that cannot be appended to.
        """
        if self._fd >= 0 and self._is_still_there():
            return
        self.close()
        is_new = not os.path.exists(self._path)
        # O_NONBLOCK: a pipe without a reader must not hold the thread for ever
        self._fd = os.open(
            self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, MODE
        )
        try:
            self._look_at_it()
            if is_new and self._durable:
                sync_folder(os.path.dirname(self._path))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file, if it is open."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _is_still_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _look_at_it(self) -> None:
        """Ends a line that a crash has left half, so that the next one is whole."""
        found = os.fstat(self._fd)
        self._is_regular = stat.S_ISREG(found.st_mode)
        if not self._is_regular and not stat.S_ISCHR(found.st_mode):
            raise OSError(None, "neither a file nor a device")
        if self._is_regular and found.st_size and os.pread(self._fd, 1, found.st_size - 1) != b"\n":
            os.write(self._fd, b"\n")

    def _take_back(self, written: int) -> None:
        """Cuts off what was written of a delivery, unless somebody else has appended to it since."""
        if not written or not self._is_regular:
            return
        try:
            end = os.lseek(self._fd, 0, os.SEEK_CUR)  # after our last write, wherever that was appended
            if os.fstat(self._fd).st_size == end:
                os.ftruncate(self._fd, end - written)
        except OSError:
            pass  # the next opening ends the line


def sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
