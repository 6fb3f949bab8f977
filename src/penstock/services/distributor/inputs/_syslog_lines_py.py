"""Syslog as it comes, made into records, in pure Python."""

import re
from collections.abc import Iterator

import msgspec

from penstock.errors import InvalidValue

__all__ = ["SyslogLines"]

EXTRA_BYTES = 16_384
"""Of a frame beside the longest text: its header. What is longer comes out as several records."""
SUFFIX_BYTES = 16_384
"""Most JSON that a record has behind its text; a header that needs more stays in the text."""
MOST_ELEMENTS = 32
MOST_PARAMETERS = 64  # of an element
LINE = -1  # what is left of a frame that a line feed or a NUL ends

LEVELS = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
)  # fmt: skip
UNKNOWN = 13  # user.notice: what a message without a priority counts as (RFC 3164, 4.3.3)
MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")

ENDS = b"\n\r\0"
COUNTED = re.compile(rb"([1-9][0-9]{0,8}) <")
MAYBE_COUNTED = re.compile(rb"[1-9](?:[0-9]{0,8}|[0-9]{0,8} )\Z")
END_OF_LINE = re.compile(rb"[\n\0]")

PRIORITY = re.compile(rb"<([0-9]{1,3})>")
TIME = (
    rb"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]"
    rb":(?:[0-5][0-9]|60)(?:\.[0-9]{1,9})?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
FIELD = rb"([^\x00-\x20\x7f]{1,255}) "
NAME = rb'[^\x00-\x20\x7f-\xff="\]]{1,64}'
VALUE = rb'"(?:[^"\\]|\\.)*"'
ELEMENT = rb"\[" + NAME + rb"(?: " + NAME + rb"=" + VALUE + rb")*\]"
RFC_5424 = re.compile(
    rb"1 (-|" + TIME + rb") " + 4 * FIELD + rb"(-|(?:" + ELEMENT + rb")+)(?: (?:\xef\xbb\xbf)?|\Z)", re.DOTALL
)
ELEMENTS = re.compile(rb"\[(" + NAME + rb")((?: " + NAME + rb"=" + VALUE + rb")*)\]", re.DOTALL)
PARAMETERS = re.compile(rb" (" + NAME + rb')="((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPED = re.compile(rb'\\(["\\\]])')
OLD_TIME = re.compile(
    rb"(" + rb"|".join(MONTHS) + rb") ([ 0-3]?[0-9]) ((?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60))"
    rb"(\.[0-9]{1,9})? "
)
NEW_TIME = re.compile(rb"(" + TIME + rb") ")
HOST = re.compile(FIELD)
TAG_FIRST = re.compile(
    rb"([^\x00-\x20\x7f:\[]{1,255})(?:\[([^\x00-\x20\x7f\]]{1,128})\]:? |: )"
)  # no host with colons
TAG = re.compile(rb"([^\x00-\x20\x7f:\[]{1,255})(?:\[([^\x00-\x20\x7f\]]{1,128})\]:? ?|: ?)")

encode = msgspec.json.Encoder().encode


class SyslogLines:
    """Makes records of what comes by syslog, by RFC 5424, by RFC 3164 and by neither.

    A record is the compact JSON of a message: the text, the level and, as metadata, the facility, all by
    the priority; the time; the name of the application as source; host, process, message id and
    structured data as metadata. Whatever of this cannot be read stays in the text, up to the whole of it:
    nothing that comes is thrown away. Bytes that are no UTF-8 become U+FFFD. Times by RFC 3164
    have no year and no zone: they get the latest year in which they are not two months ahead, and the zone
    of `set_date`.

    In a stream a frame is counted (`LENGTH SP MESSAGE`) or ended by a line feed or a NUL, told apart for
    each one. A frame or text that is too long comes out as several records, of which the others have all
    that the first has but for the text.

    No thread may use one while another does.

    Source: RFC 5424; RFC 3164; RFC 6587, 3.4.

    Args:
        most_text: bytes of the longest text, in UTF-8, 1 to 2^30.
        most_record: bytes of the longest record, 1 to 2^30; less than 64 KiB make longer ones all the same.

    Raises:
        ValueError: one of them is out of range.
    """

    __slots__ = (
        "_continued", "_first", "_left", "_month", "_most_frame", "_most_record", "_most_text", "_offset",
        "_suffix", "_wanted", "_year",
    )  # fmt: skip

    def __init__(self, most_text: int, most_record: int, /) -> None:
        self._most_text = checked_most("most_text", most_text)
        self._most_record = max(checked_most("most_record", most_record), 4 * SUFFIX_BYTES)
        self._most_frame = most_text + EXTRA_BYTES
        self._left = 0  # bytes of the frame, LINE, or 0 between two frames
        self._first = True  # nothing of the frame came out yet
        self._suffix = b""  # what the records of the frame have behind their texts
        self._wanted = 0
        self._continued = 0
        self.set_date(1970, 1, 0)

    @property
    def wanted(self) -> int:
        """Bytes that the next reading must be given, together with those left over, to get any further.

        0: as many as there are until a line feed or a NUL, or more than `most_frame`.
        """
        return self._wanted

    @property
    def most_frame(self) -> int:
        """Bytes of the longest frame that comes out as one, if its text is not too long."""
        return self._most_frame

    @property
    def continued(self) -> int:
        """Records so far that continue the one before."""
        return self._continued

    def set_date(self, year: int, month: int, offset: int, /) -> None:
        """Tells what day it is, for times by RFC 3164.

        Args:
            year: 1 to 9998.
            month: 1 to 12.
            offset: minutes by which the senders' clocks are ahead of UTC, less than a day.

        Raises:
            ValueError: one of them is out of range.
        """
        self._year, self._month, self._offset = checked_date(year, month, offset)

    def read(self, data: bytes, cut: bool = False, /) -> tuple[list[bytes], int]:
        """Takes a stream apart.

        Args:
            data: what the last reading left over, then what came since.
            cut: whether what is there of an unfinished frame comes out now; the rest then continues it.

        Returns:
            Records, in the order of the frames, and how many bytes of `data` are done with.
        """
        records: list[bytes] = []
        at, size = 0, len(data)
        self._wanted = 0
        while True:
            if self._left == 0:
                while at < size and data[at] in ENDS:
                    at += 1
                if at == size:
                    break
                counted = COUNTED.match(data, at)
                if counted is None and not cut and MAYBE_COUNTED.match(data, at):
                    break  # a few bytes more will tell
                self._left = int(counted[1]) if counted else LINE
                at = counted.end() - 1 if counted else at
                self._first = True
            end, behind = self._piece(data, at, cut)
            if end < 0:
                break
            ends = behind >= 0
            self._add(records, data[at:end], ends)
            if ends:
                self._left = 0
            elif self._left != LINE:
                self._left -= end - at
            at = behind if ends else end
        return records, at

    def datagram(self, data: bytes, /) -> list[bytes]:
        """The record of a datagram, or the several that it takes; none of one that is empty.

        Not for an object that reads a stream as well.
        """
        records: list[bytes] = []
        self._first = True
        self._add(records, data, True)
        return records

    def _piece(self, data: bytes, at: int, cut: bool) -> tuple[int, int]:
        """Where what can come out now ends, and where the next frame begins if it ends the frame, else -1.

        (-1, -1) where nothing can come out yet.
        """
        size, most = len(data), self._most_frame
        if self._left == LINE:
            end = END_OF_LINE.search(data, at, min(size, at + most + 1))
            if end is not None:
                return end.start(), end.end()
            if size - at > most:
                return whole_characters(data, at, at + most), -1
        else:
            if self._left <= most and size - at >= self._left:
                return at + self._left, at + self._left
            if self._left > most and size - at >= most:
                return whole_characters(data, at, at + most), -1
            self._wanted = min(self._left, most)
        return (size, -1) if cut and size > at else (-1, -1)

    def _add(self, records: list[bytes], piece: bytes, ends: bool) -> None:
        """Makes records of a piece of a frame; `ends`: nothing of it comes behind."""
        if ends:
            piece = piece.rstrip(ENDS)
        if not piece:
            return
        before = len(records) + self._first
        if self._first:
            text, self._suffix = self._taken_apart(piece)
            piece = text or piece
            self._first = False
        suffix = self._suffix
        most = self._most_record - len(suffix) - len('{"message":""')
        records.extend(b'{"message":' + part + suffix for part in parts(piece, self._most_text, most))
        self._continued += len(records) - before

    def _taken_apart(self, frame: bytes) -> tuple[bytes, bytes]:
        """The text of a frame, and what its records have behind their texts."""
        priority = PRIORITY.match(frame)
        number = int(priority[1]) if priority else UNKNOWN
        if priority is None or number > 191:
            return frame, suffix_of(UNKNOWN)
        at = priority.end()
        text, suffix = self._by_5424(frame, at, number) or self._by_3164(frame, at, number)
        if len(suffix) > SUFFIX_BYTES:
            return frame[at:], suffix_of(number)
        return text, suffix

    def _by_5424(self, frame: bytes, at: int, number: int) -> tuple[bytes, bytes] | None:
        header = RFC_5424.match(frame, at)
        if header is None:
            return None
        time, host, app, process, message_id, data = header.groups()
        metadata = [(b"host", host), (b"proc_id", process), (b"msg_id", message_id)]
        suffix = suffix_of(
            number,
            b"" if app == b"-" else app,
            b"" if time == b"-" else time,
            [(name, quoted(value)) for name, value in metadata if value != b"-"],
            b"" if data == b"-" else structured(data),
        )
        return frame[header.end() :], suffix

    def _by_3164(self, frame: bytes, at: int, number: int) -> tuple[bytes, bytes]:
        whole = frame[at:], suffix_of(number)
        header = NEW_TIME.match(frame, at)
        if header is not None:
            time = header[1]
        else:
            header = OLD_TIME.match(frame, at)
            time = self._dated(header) if header else b""
            if header is None or not time:
                return whole
        at = header.end()
        metadata = []
        tag = TAG_FIRST.match(frame, at)
        if tag is None:
            host = HOST.match(frame, at)
            if host is not None:
                metadata.append((b"host", quoted(host[1])))
                at = host.end()
                tag = TAG.match(frame, at)
        if tag is None:
            return frame[at:], suffix_of(number, b"", time, metadata)
        if tag[2] is not None:
            metadata.append((b"proc_id", quoted(tag[2])))
        return frame[tag.end() :], suffix_of(number, tag[1], time, metadata)

    def _dated(self, header: re.Match[bytes]) -> bytes:
        """A time by RFC 3164 as one by RFC 3339; empty if there is no such day."""
        month, day = MONTHS.index(header[1]) + 1, int(header[2])
        year = self._year + (month - self._month == -11) - (month - self._month > 1)
        if not 1 <= day <= days_of(year, month):
            return b""
        sign, minutes = "-" if self._offset < 0 else "+", abs(self._offset)
        zone = f"{sign}{minutes // 60:02}:{minutes % 60:02}" if minutes else "Z"
        clock, fraction = header[3].decode(), (header[4] or b"").decode()
        return f"{year:04}-{month:02}-{day:02}T{clock}{fraction}{zone}".encode()


def checked_most(name: str, value: int) -> int:
    """A limit that is in range."""
    if not 1 <= value <= 2**30:
        raise InvalidValue(f"{name} must be 1 to {2**30} bytes, got {value}")
    return value


def checked_date(year: int, month: int, offset: int) -> tuple[int, int, int]:
    """A date that is in range."""
    if not 1 <= year <= 9998:
        raise InvalidValue(f"year must be 1 to 9998, got {year}")
    if not 1 <= month <= 12:
        raise InvalidValue(f"month must be 1 to 12, got {month}")
    if not -1440 < offset < 1440:
        raise InvalidValue(f"offset must be less than 1440 minutes, got {offset}")
    return year, month, offset


def days_of(year: int, month: int) -> int:
    """Days of a month."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def whole_characters(data: bytes, start: int, end: int) -> int:
    """`end`, or the place up to three bytes before it where a character begins that goes on behind it."""
    for at in range(end - 1, max(end - 4, start), -1):
        if data[at] & 0xC0 != 0x80:
            width = 4 if data[at] >= 0xF0 else 3 if data[at] >= 0xE0 else 2 if data[at] >= 0xC0 else 1
            return at if at + width > end else end
    return end


def quoted(text: bytes) -> bytes:
    """Bytes as a string of JSON."""
    return encode(text.decode("utf-8", "replace"))


def parts(piece: bytes, most_text: int, most_json: int) -> Iterator[bytes]:
    """A text as strings of JSON, none of which is longer than both say: as few as it takes."""
    text = piece.decode("utf-8", "replace")
    whole = encode(text)
    if len(whole) - 2 <= min(most_text, most_json):
        yield whole
        return
    start, size, size_json = 0, 0, 0
    for at, character in enumerate(text):
        width, width_json = len(character.encode()), len(encode(character)) - 2
        if at > start and (size + width > most_text or size_json + width_json > most_json):
            yield encode(text[start:at])
            start, size, size_json = at, 0, 0
        size += width
        size_json += width_json
    yield encode(text[start:])


def suffix_of(
    number: int,
    source: bytes = b"",
    time: bytes = b"",
    metadata: list[tuple[bytes, bytes]] | None = None,
    data: bytes = b"",
) -> bytes:
    """What a record has behind its text."""
    suffix = b',"level":"%s","source":%s' % (LEVELS[number & 7].encode(), quoted(source))
    if time:
        suffix += b',"timestamp":"%s"' % time
    suffix += b',"metadata":{"facility":"%s"' % FACILITIES[number >> 3].encode()
    for name, value in metadata or ():
        suffix += b',"%s":%s' % (name, value)
    if data:
        suffix += b',"structured_data":' + data
    return suffix + b"}}"


def structured(data: bytes) -> bytes:
    """Structured data as an object of objects; as text where that has no room for it, or for all of it."""
    elements: list[bytes] = []
    names: set[bytes] = set()
    for element in ELEMENTS.finditer(data):
        found = [(each[1], each[2]) for each in PARAMETERS.finditer(element[2])]
        if len(found) > MOST_PARAMETERS or len({name for name, _ in found}) < len(found):
            return quoted(data)
        inside = b",".join(quoted(name) + b":" + quoted(ESCAPED.sub(rb"\1", value)) for name, value in found)
        elements.append(quoted(element[1]) + b":{" + inside + b"}")
        names.add(element[1])
    if len(elements) > MOST_ELEMENTS or len(names) < len(elements):
        return quoted(data)
    return b"{" + b",".join(elements) + b"}"
