"""Many messages in one stream, each after a varint of its length: files, buffers and asyncio streams.

Google's libraries call this format delimited (`writeDelimitedTo`) or length-prefixed
(`parse_length_prefixed`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from penstock.errors import InvalidType
from penstock.protobuf import faults
from penstock.protobuf.errors import DecodeError
from penstock.protobuf.methods import MessageMethods
from penstock.protobuf.options import DEFAULT_OPTIONS, DecodeOptions
from penstock.protobuf.varint import encode_varint

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Generator, Iterator

    from penstock.protobuf.message import Message

__all__ = [
    "iter_delimited",
    "iter_delimited_async",
    "read_delimited",
    "read_delimited_async",
    "write_delimited",
    "write_delimited_async",
]

M = TypeVar("M", bound="Message")

CHUNK = 1 << 20  # bytes asked for at once: a length alone, without its message, allocates no more
LONGEST = 10  # bytes of a varint


class Readable(Protocol):
    """What messages are read from: a binary file, a pipe, the file of a socket."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes; none at the end."""


class Writable(Protocol):
    """What messages are written to."""

    def write(self, data: Any, /) -> int | None:
        """Writes the bytes, or the first of them, and tells how many; None stands for all of them."""


def write_delimited(file: Writable, message: Message) -> None:
    """Writes a message after its length.

    Raises:
        EncodeError: the message cannot be written; the file got nothing of it.
        TypeError: the file is none, or not binary, or `message` is no message.
        BlockingIOError: the file is one that does not block, and is full.
    """
    check_file(file, "write")
    left = memoryview(delimited(message))
    while left:
        written = file.write(left)
        if written is None and not isinstance(file, io.RawIOBase):
            return  # a file that somebody wrote: it took all, and tells nothing
        if not written:
            raise BlockingIOError("file must block until it has written, got one that does not")
        left = left[written:]


def read_delimited(file: Readable, cls: type[M], options: DecodeOptions | None = None) -> M | None:
    """The next message of a file, None if the file ends before one begins.

    Args:
        file: binary, at the length of a message; afterwards it is behind that message.
        cls: what the message is.
        options: the limits that it must keep; DecodeOptions() if None. Its length is held to `max_size`
            before more is read.

    Raises:
        DecodeError: it is no such message, or the file ends within it.
        TypeError: the file is none, or not binary, or `cls` is no class of a message.
        BlockingIOError: the file is one that does not block, and has nothing yet.
    """
    check_file(file, "read")
    check_class(cls)
    return next_message(file, cls, options, cls.__name__)


def iter_delimited(
    source: Readable | bytes | bytearray | memoryview, cls: type[M], options: DecodeOptions | None = None
) -> Iterator[M]:
    """The messages of a file, or of bytes, one after the other.

    Args:
        source: a binary file at the length of a message, or bytes, or what lends them.
        cls: what the messages are.
        options: the limits that each of them must keep; DecodeOptions() if None.

    Raises:
        DecodeError: one is no such message, or the end comes within it; `path` begins with the class and
            its index.
        TypeError: the source is neither a binary file nor bytes, or `cls` is no class of a message.
    """
    file = file_of(source)
    check_class(cls)
    at = 0
    while (message := next_message(file, cls, options, f"{cls.__name__}[{at}]")) is not None:
        yield message
        at += 1


async def write_delimited_async(writer: asyncio.StreamWriter, message: Message) -> None:
    """Writes a message after its length, and waits until the stream can take more.

    Raises:
        EncodeError: the message cannot be written; the stream got nothing of it.
        ConnectionError: the other side is gone.
    """
    writer.write(delimited(message))
    await writer.drain()


async def read_delimited_async(
    reader: asyncio.StreamReader, cls: type[M], options: DecodeOptions | None = None
) -> M | None:
    """The next message of a stream, None if it ends before one begins; see `read_delimited`.

    A call that is cancelled may have read a part of the message: the stream is of no use afterwards.
    """
    check_class(cls)
    return await next_message_async(reader, cls, options, cls.__name__)


async def iter_delimited_async(
    reader: asyncio.StreamReader, cls: type[M], options: DecodeOptions | None = None
) -> AsyncIterator[M]:
    """The messages of a stream, one after the other, as they come; see `iter_delimited`."""
    check_class(cls)
    at = 0
    while (message := await next_message_async(reader, cls, options, f"{cls.__name__}[{at}]")) is not None:
        yield message
        at += 1


def check_file(file: Any, method: str) -> None:
    """Refuses what would fail later, and less clearly, or with a part written."""
    if not hasattr(file, method):
        raise InvalidType(f"file must be a binary file, got {type(file).__name__}")
    if isinstance(file, io.TextIOBase):
        raise InvalidType(f"file must be binary, as open(path, {method[0] + 'b'!r}) is, got a text file")


def check_class(cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, MessageMethods)):
        raise InvalidType(f"cls must be the class of a message, got {type(cls).__name__}")


def file_of(source: Any) -> Readable:
    if hasattr(source, "read"):
        check_file(source, "read")
        return source  # type: ignore[no-any-return]
    try:
        return io.BytesIO(memoryview(source))
    except TypeError:
        raise InvalidType(f"source must be a binary file or bytes, got {type(source).__name__}") from None


def delimited(message: Message) -> bytes:
    if not isinstance(message, MessageMethods):  # an int has a `to_bytes`, too
        raise InvalidType(f"message must be a message, got {type(message).__name__}")
    data = message.to_bytes()
    return encode_varint(len(data)) + data


def next_message(file: Readable, cls: type[M], options: DecodeOptions | None, label: str) -> M | None:
    reading = incoming(cls, options, label)
    size = next(reading)
    try:
        while True:
            piece = file.read(size)
            if piece is None:
                raise BlockingIOError("file must block until it has read, got one that does not")
            size = reading.send(piece)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def next_message_async(
    reader: asyncio.StreamReader, cls: type[M], options: DecodeOptions | None, label: str
) -> M | None:
    reading = incoming(cls, options, label)
    size = next(reading)
    while True:
        piece = await reader.read(size)
        try:
            size = reading.send(piece)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def incoming(cls: type[M], options: DecodeOptions | None, label: str) -> Generator[int, bytes, M | None]:
    """Reads one message without doing so itself: yields how many bytes it wants, gets as many or fewer.

    None at all say that the stream is at its end.
    """
    size = bits = 0
    more = True
    while more:
        byte = yield 1
        if not byte:
            if bits:
                raise DecodeError("the stream ends within a length", path=label)
            return None
        if bits == 7 * LONGEST:
            raise DecodeError(faults.VARINT_TOO_LONG, path=label)
        size |= (byte[0] & 127) << bits
        bits += 7
        more = byte[0] >= 128
    most = (options or DEFAULT_OPTIONS).max_size
    if size > most:
        raise DecodeError(faults.too_large(most, size), path=label)
    content = bytearray()
    while len(content) < size:
        piece = yield min(CHUNK, size - len(content))
        if not piece:
            missing = size - len(content)
            raise DecodeError(f"the stream ends within it, {missing} of {size} bytes are missing", path=label)
        content += piece
    try:
        return cls.from_bytes(content, options)
    except DecodeError as error:
        path = label + error.path.removeprefix(cls.__name__)
        raise DecodeError(error.reason, offset=error.offset, path=path) from None
