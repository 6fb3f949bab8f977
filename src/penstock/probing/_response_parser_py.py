"""HTTP/1.1 response parser, pure Python. Its compiled twin does the same in csrc/http_response.c."""

import re
from collections.abc import Callable
from enum import IntEnum
from operator import index

from penstock.errors import InvalidType, InvalidValue, PenstockError

__all__ = ["BadResponse", "IncompleteResponse", "ResponseParser"]

MIN_HEAD, MAX_HEAD = 64, 1 << 24
MAX_SIZE = (1 << 63) - 1  # of a body, and of a chunk
MAX_FIELDS = 256
MAX_INTERIM = 16
MAX_DIGITS = 16  # of the size of a chunk, leading zeros included
SHOWN = 60  # bytes of a bad line that its error shows

START = b"HTTP/1."
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
HEX_DIGITS = b"0123456789abcdefABCDEF"
TEXT = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))


class BadResponse(PenstockError, ValueError):
    """The bytes are no HTTP/1.1 answer, or more of it than the bounds allow."""


class IncompleteResponse(BadResponse, EOFError):
    """The connection has ended before the answer."""


class Problem(IntEnum):
    """Why an answer was refused; the same numbers as in csrc/http_response.h."""

    BAD_START = 1
    BAD_STATUS = 2
    BAD_FIELD = 3
    FOLDED = 4
    LONG_HEAD = 5
    MANY_FIELDS = 6
    MANY_INTERIM = 7
    BAD_LENGTH = 8
    TWO_LENGTHS = 9
    BAD_CODING = 10
    TWO_FRAMINGS = 11
    BAD_CHUNK = 12
    LONG_CHUNKING = 13
    EARLY_END = 14


WORDS = {
    Problem.BAD_START: "an answer must begin with HTTP/1., got {shown}",
    Problem.BAD_STATUS: "a status line must be HTTP/1.0 or 1.1 and a status from 100 to 999, got {shown}",
    Problem.BAD_FIELD: "a header must be a name, a colon and a value without control characters, got {shown}",
    Problem.FOLDED: "a header must not go on in another line, got {shown}",
    Problem.LONG_HEAD: "the head must be <= {max_head} bytes, got more",
    Problem.MANY_FIELDS: f"headers must be <= {MAX_FIELDS}, got more",
    Problem.MANY_INTERIM: f"answers 1xx before the final one must be <= {MAX_INTERIM}, got more",
    Problem.BAD_LENGTH: "Content-Length must be digits, below 2**63, got {shown}",
    Problem.TWO_LENGTHS: "Content-Length must come once, got another {shown}",
    Problem.BAD_CODING: "Transfer-Encoding must be chunked, once, got {shown}",
    Problem.TWO_FRAMINGS: "Content-Length and Transfer-Encoding must not come together, got both",
    Problem.BAD_CHUNK: "a chunk must be its size in hex, below 2**63, CR LF, the data and CR LF, got {shown}",
    Problem.LONG_CHUNKING: "chunk extensions and trailers must be <= {max_head} bytes in all, got more",
    Problem.EARLY_END: "the answer must be whole when the connection ends, got {shown}",
}


def refusal(problem: int, shown: bytes, max_head: int) -> BadResponse:
    """The error for what was refused, which `shown` shows: a line, or a few bytes."""
    if problem not in (Problem.BAD_START, Problem.BAD_CHUNK):
        shown = shown.rstrip(b"\r\n")
    return BadResponse(WORDS[Problem(problem)].format(shown=repr(shown[:SHOWN])[1:], max_head=max_head))


def early_end(head_done: bool, size: int, begun: bool) -> IncompleteResponse:
    """The error for an answer of which so much has arrived."""
    got = f"its head and {size} bytes of body" if head_done else "a part of its head" if begun else "nothing"
    return IncompleteResponse(WORDS[Problem.EARLY_END].format(shown=got))


def checked_bounds(max_head: int, keep_body: int, max_body: int) -> tuple[int, int, int]:
    """The bounds of a parser as ints.

    Raises:
        ValueError: one is out of its range.
        TypeError: one is no int.
    """
    return (
        whole("max_head", max_head, MIN_HEAD, MAX_HEAD),
        whole("keep_body", keep_body, 0, MAX_SIZE),
        whole("max_body", max_body, 0, MAX_SIZE),
    )


def whole(name: str, value: int, least: int, most: int) -> int:
    """`value`, an int from `least` to `most`."""
    try:
        number = index(value)
    except TypeError:
        raise InvalidType(f"{name} must be an int, got {type(value).__name__}") from None
    if not least <= number <= most:
        shown = number if number.bit_length() <= 64 else f"an int of {number.bit_length()} bits"
        raise InvalidValue(f"{name} must be >= {least} and <= {most} bytes, got {shown}")
    return number


def not_bytes(data: object) -> InvalidType:
    """The error for what cannot be fed."""
    return InvalidType(f"data must be bytes, or like them and contiguous, got {type(data).__name__}")


class ResponseParser:
    """One HTTP/1.1 answer after the other, taken as they arrive in pieces of any size.

    Strict where a mistake changes where the answer ends, and bounded: csrc/http_response.h has the rules.
    Answers 1xx are skipped. Nothing is decompressed; the framing of chunks is taken off.

    Args:
        max_head: bytes that a head may have, 64 to 2**24; chunk extensions and trailers may have as many.
        keep_body: bytes of a body that are kept, the first ones.
        max_body: bytes of a body that are read; then the answer is done, and `truncated`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no int.

    Source: RFC 9112; RFC 9110, sections 5.5, 5.6, 8.6 and 15.
    """

    __slots__ = (
        "_begun", "_body", "_chunked", "_closes", "_digits", "_failure", "_fields", "_head", "_head_request",
        "_head_size", "_interim", "_keep_alive", "_left", "_length", "_limits", "_line_at", "_minor",
        "_reason", "_size", "_spare", "_status", "_stays", "_take", "_truncated",
    )  # fmt: skip

    def __init__(self, *, max_head: int = 65_536, keep_body: int = 0, max_body: int = 1 << 20) -> None:
        self._limits = checked_bounds(max_head, keep_body, max_body)
        self._take: Step | None = None
        self.reset()

    @property
    def head_done(self) -> bool:
        """Whether status, reason and head are those of the final answer."""
        return self._head_size > 0

    @property
    def done(self) -> bool:
        """Whether the answer is whole, or `truncated`."""
        return self._take is None and self._failure is None

    @property
    def begun(self) -> bool:
        """Whether any byte has arrived."""
        return self._begun

    @property
    def status(self) -> int:
        """Of the answer; 0 until its status line has arrived."""
        return self._status

    @property
    def reason(self) -> str:
        """What the server says beside the status, often nothing; Latin-1."""
        return self._reason.decode("latin-1")

    @property
    def head(self) -> bytes:
        """Status line and headers, the empty line included; empty until the head is done.

        They are as they came, but each line ends with CR LF, also where the server sent LF alone.
        """
        return bytes(self._head[: self._head_size])

    @property
    def size(self) -> int:
        """Bytes of the body that were read, the framing of chunks not counted."""
        return self._size

    @property
    def body(self) -> bytes:
        """The first `keep_body` bytes of the body."""
        return bytes(self._body)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection can be used again; False until the answer is done."""
        return self._keep_alive and self.done

    @property
    def truncated(self) -> bool:
        """Whether the body is longer than `max_body`; the rest was not read."""
        return self._truncated

    def reset(self, head_request: bool = False) -> None:
        """Forgets the answer and makes ready for another.

        Args:
            head_request: whether HEAD was asked for: then the answer has no body, whatever it says.
        """
        self._head_request = bool(head_request)
        self._begun = self._keep_alive = self._truncated = False
        self._size = self._interim = 0
        self._body = bytearray()
        self._failure: BadResponse | None = None
        self._spare = self._limits[0]  # bytes that chunk extensions and trailers may still take
        self._begin_head()

    def feed(self, data: bytes | bytearray | memoryview, /) -> int:
        """Takes bytes of the answer, up to its end.

        What lies behind the end is not the answer's: when nothing else was asked for on that connection, it
        had better not be used again.

        Returns:
            How many bytes it took: all, unless the answer is done.

        Raises:
            BadResponse: the answer breaks a rule; only `reset` helps.
            TypeError: data is not bytes-like, or not contiguous.
        """
        try:
            piece = bytes(memoryview(data).cast("B"))
        except TypeError:
            raise not_bytes(data) from None
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        self._begun = self._begun or len(piece) > 0
        at = 0
        while self._take is not None and at < len(piece):
            at = self._take(self, piece, at)
        return at

    def eof(self) -> None:
        """Tells that the connection has ended, which ends an answer that has no other end.

        Raises:
            IncompleteResponse: the answer is not whole; what has arrived can still be read.
            BadResponse: it broke a rule before.
        """
        if self._take is ResponseParser._take_until_close:
            self._take = None
        if self._take is not None:
            self._failure = early_end(self.head_done, self._size, self._begun)
            self._take = None
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    # What follows takes some bytes of data, from `at` on, and says where the next one is to take over.

    def _begin_head(self) -> None:
        self._take = ResponseParser._take_head
        self._head = bytearray()
        self._head_size = self._line_at = self._status = self._fields = 0
        self._reason = b""
        self._minor = self._closes = self._stays = self._chunked = False
        self._length: int | None = None

    def _take_head(self, data: bytes, at: int) -> int:
        newline = data.find(b"\n", at)
        stop = newline + 1 or len(data)
        begin = bytes(self._head[: len(START)])
        begin += data[at : min(stop, at + len(START) - len(begin))]
        if not START.startswith(begin):
            raise self._refuse(Problem.BAD_START, begin)
        line = data[at:stop]
        if newline >= 0 and (self._head[-1:] + line)[-2:] != b"\r\n":
            line = line[:-1] + b"\r\n"
        if len(line) > self._limits[0] - len(self._head):
            raise self._refuse(Problem.LONG_HEAD)
        self._head += line
        if newline >= 0:
            self._take_line(self._head[self._line_at :])
            self._line_at = len(self._head)  # 0 behind an answer 1xx
        return stop

    def _take_line(self, line: bytearray) -> None:
        text = line[:-2]
        if self._line_at == 0:
            self._take_status(text)
        elif text:
            self._take_field(text)
        else:
            self._end_head()

    def _take_status(self, line: bytearray) -> None:
        found = STATUS_LINE.fullmatch(line)
        if found is None:
            raise self._refuse(Problem.BAD_STATUS, line)
        self._minor = found[1] == b"1"
        self._status = int(found[2])
        self._reason = bytes(found[3] or b"")

    def _take_field(self, line: bytearray) -> None:
        name, value = self._field(line)
        match name.lower():
            case b"connection":
                options = {option.strip(b" \t").lower() for option in value.split(b",")}
                self._closes = self._closes or b"close" in options
                self._stays = self._stays or b"keep-alive" in options
            case b"content-length":
                self._take_length(value.strip(b" \t"), line)
            case b"transfer-encoding":
                if self._chunked or value.strip(b" \t").lower() != b"chunked":
                    raise self._refuse(Problem.BAD_CODING, line)
                self._chunked = True

    def _field(self, line: bytearray) -> tuple[bytes, bytes]:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise self._refuse(Problem.MANY_FIELDS)
        if line.startswith((b" ", b"\t")):
            raise self._refuse(Problem.FOLDED, line)
        found = FIELD.fullmatch(line)
        if found is None:
            raise self._refuse(Problem.BAD_FIELD, line)
        return found[1], found[2]

    def _take_length(self, value: bytes, line: bytearray) -> None:
        if self._length is not None:
            raise self._refuse(Problem.TWO_LENGTHS, line)
        digits = value.lstrip(b"0")  # int() of many digits is slow, and refused by Python
        if not value.isdigit() or len(digits) > 19 or int(value) > MAX_SIZE:
            raise self._refuse(Problem.BAD_LENGTH, line)
        self._length = int(digits or b"0")

    def _end_head(self) -> None:
        if self._chunked and self._length is not None:
            raise self._refuse(Problem.TWO_FRAMINGS)
        if self._status < 200 and self._status != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise self._refuse(Problem.MANY_INTERIM)
            self._begin_head()
            return
        self._head_size = len(self._head)
        self._fields = 0
        ends = self._chunked or self._length is not None or self._has_no_body()
        stays = self._minor or (self._stays and not self._chunked)  # RFC 9112, 6.1: no chunks in HTTP/1.0
        lies = self._status == 204 and (self._chunked or bool(self._length))  # it has no body, and says so
        self._keep_alive = ends and stays and not self._closes and not lies and self._status != 101
        self._take = self._body_step()

    def _has_no_body(self) -> bool:
        return self._head_request or self._status in (101, 204, 304)

    def _body_step(self) -> "Step | None":
        if self._has_no_body():
            return None
        if self._chunked:
            self._left = self._digits = 0
            return ResponseParser._take_chunk_size
        if self._length is None:
            return ResponseParser._take_until_close
        self._left = self._length
        return ResponseParser._take_counted if self._left else None

    def _take_until_close(self, data: bytes, at: int) -> int:
        return self._take_body(data, at, len(data) - at)

    def _take_counted(self, data: bytes, at: int) -> int:
        stop = self._take_body(data, at, self._left)
        self._left -= stop - at
        if self._left == 0:
            self._take = None
        return stop

    def _take_body(self, data: bytes, at: int, most: int) -> int:
        """Takes up to `most` bytes; past max_body the answer is over."""
        _, keep, max_body = self._limits
        size = min(len(data) - at, most)
        taken = min(size, max_body - self._size)
        self._body += data[at : at + min(taken, max(keep - self._size, 0))]
        self._size += taken
        if taken < size:
            self._truncated = True
            self._keep_alive = False
            self._take = None
        return at + taken

    def _take_chunk_size(self, data: bytes, at: int) -> int:
        digit = data[at : at + 1]
        if digit not in HEX_DIGITS:
            if self._digits == 0:
                raise self._refuse(Problem.BAD_CHUNK, digit)
            self._take = ResponseParser._take_chunk_space
            return at  # where the same byte is looked at again
        self._digits += 1
        self._left = self._left * 16 + int(digit, 16)
        if self._digits > MAX_DIGITS or self._left > MAX_SIZE:
            raise self._refuse(Problem.BAD_CHUNK, digit)
        return at + 1

    def _take_chunk_space(self, data: bytes, at: int) -> int:
        return self._take_chunk_extra(data, at, b" \t;")

    def _take_chunk_extra(self, data: bytes, at: int, allowed: bytes = TEXT) -> int:
        byte = data[at : at + 1]
        if byte == b"\r":
            self._take = ResponseParser._take_chunk_begin
            return at + 1
        if byte not in allowed:
            raise self._refuse(Problem.BAD_CHUNK, byte)
        if self._spare == 0:
            raise self._refuse(Problem.LONG_CHUNKING)
        self._spare -= 1
        if byte == b";":
            self._take = ResponseParser._take_chunk_extra
        return at + 1

    def _take_chunk_begin(self, data: bytes, at: int) -> int:
        more = ResponseParser._take_chunk_data if self._left else ResponseParser._take_trailers
        return self._expect(b"\n", data, at, more)

    def _take_chunk_data(self, data: bytes, at: int) -> int:
        stop = self._take_body(data, at, self._left)
        self._left -= stop - at
        if self._left == 0:
            self._take = ResponseParser._take_chunk_return
        return stop

    def _take_chunk_return(self, data: bytes, at: int) -> int:
        return self._expect(b"\r", data, at, ResponseParser._take_chunk_end)

    def _take_chunk_end(self, data: bytes, at: int) -> int:
        self._digits = 0
        return self._expect(b"\n", data, at, ResponseParser._take_chunk_size)

    def _expect(self, byte: bytes, data: bytes, at: int, after: "Step") -> int:
        if data[at : at + 1] != byte:
            raise self._refuse(Problem.BAD_CHUNK, data[at : at + 1])
        self._take = after
        return at + 1

    def _take_trailers(self, data: bytes, at: int) -> int:
        newline = data.find(b"\n", at)
        stop = newline + 1 or len(data)
        if stop - at > self._spare:
            raise self._refuse(Problem.LONG_CHUNKING)
        self._spare -= stop - at
        self._head += data[at:stop]
        if newline >= 0:
            line = self._head[self._head_size :]
            text = line[:-2] if line.endswith(b"\r\n") else line[:-1]
            if text:
                self._field(text)  # dropped: trailers may not change how the answer is framed
            else:
                self._take = None
            del self._head[self._head_size :]
        return stop

    def _refuse(self, problem: Problem, shown: bytes | bytearray = b"") -> BadResponse:
        self._failure = refusal(problem, bytes(shown), self._limits[0])
        self._take = None
        return self._failure


Step = Callable[[ResponseParser, bytes, int], int]
