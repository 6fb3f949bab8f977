"""Opens any log file as text: plain, gzip, xz, bzip2, tar archives, directories, standard input.

What a file is, is told by its first bytes and not by its name. Everything is streamed, so a file may
be larger than memory and an archive may unpack to any size.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import select
import stat
import tarfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

from penstock.errors import PenstockError

__all__ = ["MAX_LINE", "STDIN", "Meter", "Piece", "UnreadableFile", "find_files", "read_pieces"]

STDIN = Path("-")
"""Stands for standard input."""

MAX_LINE = 1 << 20
"""Characters that are taken as one line; a file without line ends must fit in memory too."""

MAX_LAYERS = 4
"""Layers of packing that are opened: a .gz in a .tar.xz has three. A gzip file can contain itself."""

XZ_MEMORY = 256 << 20
"""Bytes that unpacking xz may take; `xz -9` needs 65 MiB, but a file may ask for 4 GiB."""

CHUNK = 64 << 10
TAR_BLOCK = 512
MAX_TAR_READ = 1 << 20  # a tar header may claim gigabytes; those of real archives have some hundred bytes

LOG_NAME = re.compile(
    r"""(?ix)
    (?: .*[._-] )? (?: (?:sys)?logs? (?: [._-].* )?      # app.log.3.gz, syslog, apache_logs
                     | logfile.* | messages (?: [.-].* )?
                     | (?: jsonl | ndjson | txt | out | err ) (?: \. (?: gz | xz | bz2 ) )?
                     | tar (?: \. (?: gz | xz | bz2 ) )? | tgz | txz | tbz2? )"""
)
"""Names that a directory gives away; a file that is named itself may be called anything."""

NO_LOG = re.compile(r"(?i)\..*|(readme|licen[cs]e|notice|manifest|copying|changelog|lastlog|faillog)s?\b.*")
"""Names in a directory that are left alone: hidden ones, what accompanies data, and binary "logs"."""

FOREIGN = {b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "Zstandard", b"7z\xbc\xaf\x27\x1c": "7z"}

BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

BROKEN = (
    OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, ValueError, OverflowError,
    RecursionError,
)  # fmt: skip
"""What the readers of damaged files raise; tarfile recurses from a header that names the next one to that."""


class UnreadableFile(PenstockError, OSError):
    """A file that is not there, may not be read, is damaged or has a format that is not understood."""


class LogText(NamedTuple):
    """One log: a file, or one member of an archive."""

    name: str
    stream: io.TextIOWrapper


class Piece(NamedTuple):
    """A line of a log, or a piece of a line that is too long to be taken at once."""

    log: str
    number: int
    """Of the line, from 1."""
    text: str
    """With its newline, if the line ends here and does end in one."""
    starts_line: bool


class Meter:
    """Counts the bytes read from disk, and stops the reading.

    Attributes:
        bytes_read: as stored, so before unpacking.
    """

    def __init__(self) -> None:
        self.bytes_read = 0
        self._stopped = threading.Event()
        self._wake_receiver, self._wake_sender = os.pipe()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Every file ends here, at once: also a pipe that another thread is waiting at."""
        self._stopped.set()
        os.write(self._wake_sender, b"\0")

    def close(self) -> None:
        """Gives the file descriptors back; nothing may be reading any more."""
        os.close(self._wake_receiver)
        os.close(self._wake_sender)

    def wait_for_input(self, fd: int) -> None:
        """Returns when `fd` can be read without waiting, or when the reading was stopped."""
        select.select([fd, self._wake_receiver], [], [])


class MeteredFile(io.RawIOBase):
    """The bytes of a file, counted by a meter and ended by its stop."""

    def __init__(self, fd: int, meter: Meter) -> None:
        self._fd = fd
        self._meter = meter
        self._may_wait = not stat.S_ISREG(os.fstat(fd).st_mode)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._may_wait:
            self._meter.wait_for_input(self._fd)
        if self._meter.stopped:
            return 0
        size = os.readv(self._fd, [buffer])
        self._meter.bytes_read += size
        return size


class Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already, whole again."""

    def __init__(self, head: bytes, rest: io.BufferedIOBase) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._head[: len(buffer)] or self._rest.read1(len(buffer))  # what is there: a pipe may be slow
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


class UnpackedXZ(io.RawIOBase):
    """What an xz file contains, one stream or several; lzma.LZMAFile has no memory limit."""

    def __init__(self, packed: io.BufferedIOBase) -> None:
        self._packed = packed
        self._decompressor = lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = b""
        while not data:
            if self._decompressor.eof and not self._next_stream():
                return 0
            packed = self._packed.read1(CHUNK) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not packed:
                raise EOFError("the xz data ends too early")
            data = self._decompressor.decompress(packed, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _next_stream(self) -> bool:
        following = self._decompressor.unused_data or self._packed.read1(CHUNK)
        following = following.lstrip(b"\0")  # padding between streams
        if not following:
            return False
        self._packed = buffered(Rejoined(following, self._packed))
        self._decompressor = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
        return True


class ForwardOnly:
    """A stream as tarfile wants it, which seeks forward only and refuses to read a large piece at once."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise tarfile.ReadError("the archive would have to be read backwards")
        while self._position < position and self.read(min(CHUNK, position - self._position)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_TAR_READ:
            raise tarfile.ReadError(f"a tar header must have <= {MAX_TAR_READ} bytes, got {size}")
        data = self._stream.read(size)
        self._position += len(data)
        return data


def buffered(raw: io.RawIOBase) -> io.BufferedReader:
    return io.BufferedReader(raw, CHUNK)


def find_files(paths: list[Path]) -> list[Path]:
    """The files to read, in order: files as given, directories searched through, sorted by name.

    A directory gives the files whose names look like logs (see LOG_NAME and NO_LOG), from all levels.

    Raises:
        UnreadableFile: a path does not exist, may not be read, or is a directory without logs.
    """
    found: list[Path] = []
    for path in paths:
        if path == STDIN:
            found.append(path)
            continue
        require_readable(path)
        if path.is_dir():
            inside = sorted(logs_in(path))
            if not inside:
                raise UnreadableFile(
                    f"{path} has no file that looks like a log (*.log*, *.jsonl, *.txt, *.tar.xz ...); "
                    "name the files themselves"
                )
            found += inside
        else:
            found.append(path)
    return found


def require_readable(path: Path) -> None:
    if not path.exists():
        raise UnreadableFile(f"{path} does not exist; check the name, or give - to read standard input")
    if not os.access(path, os.R_OK):
        raise UnreadableFile(f"{path} may not be read by this user; change its permissions or the user")


def logs_in(directory: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not NO_LOG.fullmatch(name)]
        for name in names:
            path = Path(folder, name)
            if LOG_NAME.fullmatch(name) and not NO_LOG.fullmatch(name) and path.is_file():
                yield path


def read_pieces(path: Path, meter: Meter) -> Iterator[Piece]:
    """The lines of all logs in a file; a line of more than MAX_LINE characters in several pieces.

    Bytes that are no UTF-8 become U+FFFD; a byte order mark chooses UTF-8 or UTF-16 and is
    left out.

    Raises:
        UnreadableFile: the file is gone or damaged, after all lines before the damage.
    """
    try:
        fd = 0 if path == STDIN else os.open(path, os.O_RDONLY)
        try:
            name = "stdin" if path == STDIN else path.name
            for text in unpacked(name, buffered(MeteredFile(fd, meter)), MAX_LAYERS):
                yield from pieces(text)
        finally:
            if path != STDIN:
                os.close(fd)
    except UnreadableFile:
        raise
    except BROKEN as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UnreadableFile(f"{path} cannot be read to its end: {reason}") from error


def pieces(log: LogText) -> Iterator[Piece]:
    number = 0
    at_start = True
    while text := log.stream.readline(MAX_LINE):
        number += at_start
        yield Piece(log.name, number, text, at_start)
        at_start = text.endswith("\n")


def unpacked(name: str, stream: io.BufferedIOBase, layers: int) -> Iterator[LogText]:
    head = stream.read(TAR_BLOCK)
    whole = buffered(Rejoined(head, stream))
    is_tar = head[257:262] == b"ustar"
    layer = opened_layer(head, whole)
    if (is_tar or layer) and layers == 0:
        raise UnreadableFile(f"{name} is packed more than {MAX_LAYERS} times over; unpack it first")
    if is_tar:
        yield from members(name, whole, layers - 1)
    elif layer:
        yield from unpacked(name, layer, layers - 1)
    else:
        yield LogText(name, as_text(name, head, whole))


def opened_layer(head: bytes, whole: io.BufferedIOBase) -> io.BufferedIOBase | None:
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=whole)
    if head.startswith(b"\xfd7zXZ\x00"):
        return buffered(UnpackedXZ(whole))
    if head.startswith(b"BZh"):
        return bz2.BZ2File(whole)
    return None


def members(name: str, stream: io.BufferedIOBase, layers: int) -> Iterator[LogText]:
    archive = tarfile.TarFile(fileobj=cast("io.BufferedIOBase", ForwardOnly(stream)))
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # tarfile remembers every member that it has seen
        if member.issparse():
            raise UnreadableFile(f"{name} has the sparse file {member.name!r}; unpack the archive first")
        content = archive.extractfile(member) if member.isreg() else None
        if content:
            yield from unpacked(f"{name}/{member.name}", cast("io.BufferedIOBase", content), layers)


def as_text(name: str, head: bytes, whole: io.BufferedReader) -> io.TextIOWrapper:
    for magic, kind in FOREIGN.items():
        if head.startswith(magic):
            raise UnreadableFile(f"{name} is a {kind} file, which is not understood; unpack it first")
    encoding = next(
        (encoding for mark, encoding in BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8"
    )
    return io.TextIOWrapper(whole, encoding=encoding, errors="replace", newline="\n")
