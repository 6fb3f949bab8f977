"""The forward protocol of Fluentd and Fluent Bit: what its messages say, and the handshake.

An event's text, level and so on are found as in other objects (`objects.py`); its tag is the source, if the
record names none, and its time the timestamp.

Source: Forward Protocol Specification v1.
"""

import base64
import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
from msgspec import UNSET

from penstock.errors import PenstockError
from penstock.services.distributor.inputs.long_text import RecordLengths
from penstock.services.distributor.inputs.msgpack import BadMessagePack, decoded, elements, split
from penstock.services.distributor.inputs.objects import NotAnObject, members_of, message_of
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import InvalidRecord

__all__ = ["BadForward", "Events", "Handshake", "ack", "events_of", "records_of"]

EVENT_TIME = 0  # the extension: seconds and nanoseconds, 32 bits each
LONGEST_SOURCE = 256
GZIP = 31  # windows of zlib, and the format
BINARY = re.compile(rb"[\xc4-\xc6]")  # bytes that begin binary data; Fluentd sends text as such

encode_json = msgspec.json.Encoder().encode
pack = msgspec.msgpack.Encoder().encode


class BadForward(PenstockError, ValueError):
    """What a client sent is none of the protocol's messages."""


@dataclass(frozen=True, slots=True)
class Events:
    """A message of the protocol."""

    tag: str
    entries: bytes
    """Pairs of time and record, one behind the other."""
    chunk: str | None = None
    """What to acknowledge it by; None: the client does not ask for that."""

    @property
    def ids(self) -> str | None:
        """Ids for its packets, so that sending it again stores nothing twice."""
        if self.chunk is None:
            return None
        named = f"{self.tag}\0{self.chunk}".encode("utf-8", "replace")
        return f"forward-{hashlib.sha256(named).hexdigest()[:40]}"


def ack(chunk: str) -> bytes:
    """Says that a chunk is stored."""
    return pack({"ack": chunk})


def events_of(frame: bytes, most: int) -> Events | None:
    """The events of a message in any of the four modes; None of a heartbeat.

    Args:
        frame: the whole message.
        most: bytes of entries after decompression.

    Raises:
        BadForward: it is none.
    """
    if frame == b"\xc0":
        return None
    try:
        count, at = elements(frame)
        parts = list(islice(split(frame, at), 5))
        if not 2 <= count <= 4 or len(parts) != count:
            raise BadForward(f"a message must be an array of 2 to 4, got {count}")
        tag = decoded(parts[0])
        if not isinstance(tag, str):
            raise BadForward(f"a tag must be a string, got {type(tag).__name__}")
        second = parts[1][0]
        if second & 0xF0 == 0x90 or second in (0xDC, 0xDD):
            return with_options(Events(tag, parts[1][elements(parts[1])[1] :]), parts[2:], most)
        if second & 0xE0 == 0xA0 or 0xC4 <= second <= 0xC6 or 0xD9 <= second <= 0xDB:
            return with_options(Events(tag, decoded(parts[1], bytes)), parts[2:], most)
        if count < 3:
            raise BadForward("a message of one event must have a record")
        return with_options(Events(tag, b"\x92" + parts[1] + parts[2]), parts[3:], most)
    except BadMessagePack as error:
        raise BadForward(f"a message must be whole MessagePack: {error}") from None


def with_options(events: Events, rest: list[bytes], most: int) -> Events:
    """Events as the options say that come behind them."""
    options = decoded(rest[0]) if rest else None
    if options is None:
        return events
    if not isinstance(options, dict) or len(rest) > 1:
        raise BadForward("options must be one map, or nil")
    compressed = options.get("compressed", "text")
    if compressed == "gzip":
        events = replace(events, entries=unpacked(events.entries, most))
    elif compressed != "text":
        raise BadForward(f"compressed must be gzip or text, got {str(compressed)[:40]!r}")
    chunk = options.get("chunk")
    if isinstance(chunk, bytes):
        chunk = base64.b64encode(chunk).decode()
    if chunk is not None and (not isinstance(chunk, str) or len(chunk) > 1024):
        raise BadForward("chunk must be a string of at most 1024 characters")
    return replace(events, chunk=chunk)


def unpacked(data: bytes, most: int) -> bytes:
    """All members of a gzip file, which Fluentd writes one behind the other.

    Raises:
        BadForward: it is none, or has more than `most` bytes in it.
    """
    out = bytearray()
    while data:
        member = zlib.decompressobj(GZIP)
        try:
            out += member.decompress(data, most - len(out) + 1)
        except zlib.error as error:
            raise BadForward(f"entries must be gzip, as their options say: {error}") from None
        if len(out) > most:
            raise BadForward(f"entries must be at most {most} bytes after decompression, got more")
        if not member.eof:
            raise BadForward("entries must be whole gzip, got a part of it")
        data = member.unused_data
    return bytes(out)


def records_of(events: Events, lengths: RecordLengths) -> Iterator[list[bytes]]:
    """The records of each event; none of one that is no event."""
    entries = split(events.entries)
    while True:
        try:
            entry = next(entries, None)
        except BadMessagePack:
            yield []  # what is behind it cannot be found
            return
        if entry is None:
            return
        try:
            event = decoded(entry)
            yield lengths.records(message_in(as_json(event) if BINARY.search(entry) else event, events.tag))
        except (BadMessagePack, BadForward, NotAnObject, InvalidRecord):
            yield []


def message_in(entry: Any, tag: str) -> Message:
    """The message of an event."""
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], dict):
        raise BadForward("an event must be an array of time and map")
    time, record = entry
    if isinstance(time, list) and len(time) == 2:  # Fluent Bit puts metadata beside the time
        time, about = time
        if isinstance(about, dict) and about and "metadata" not in record:
            record = {**record, "metadata": about}
    try:
        whole = encode_json(record)
    except (TypeError, UnicodeEncodeError, RecursionError):
        whole = encode_json(as_json(record))
    message = message_of(members_of(whole), whole)
    if not message.source:
        message.source = tag[:LONGEST_SOURCE]
    if message.timestamp is UNSET and (timestamp := timestamp_of(time)):
        message.timestamp = timestamp
    return message


def as_json(value: Any) -> Any:
    """The same with keys that JSON knows, and text where binary data is text."""
    if isinstance(value, dict):
        return {key_of(key): as_json(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [as_json(inside) for inside in value]
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            return value.decode()
    return value


def key_of(key: Any) -> str:
    """A key as text."""
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    if isinstance(key, tuple | list):
        raise BadForward("a key must be a scalar")
    return key if isinstance(key, str) else str(key)


def timestamp_of(time: Any) -> str:
    """An event's time as RFC 3339; empty when it is none."""
    seconds, nanoseconds = 0, 0
    if isinstance(time, tuple) and time[0] == EVENT_TIME and len(time[1]) == 8:
        seconds, nanoseconds = int.from_bytes(time[1][:4], "big"), int.from_bytes(time[1][4:], "big")
    elif isinstance(time, float) and 0 <= time < 2**33:
        seconds, nanoseconds = int(time), int(time % 1 * 1e6) * 1000
    elif isinstance(time, int) and not isinstance(time, bool):
        seconds = time
    else:
        return ""
    if not (0 <= seconds < 253_402_300_800 and nanoseconds < 10**9):
        return ""
    fraction = f".{nanoseconds:09}" if nanoseconds else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


class Handshake:
    """Lets in clients that know a key, which neither side sends.

    Args:
        shared_key: the key.
        hostname: what this server is called.
    """

    def __init__(self, shared_key: str, hostname: str) -> None:
        self._key = shared_key.encode()
        self._hostname = hostname
        self._nonce = secrets.token_bytes(16)

    def hello(self) -> bytes:
        """What the server says first."""
        return pack(["HELO", {"nonce": self._nonce, "auth": b"", "keepalive": True}])

    def answer(self, ping: bytes) -> tuple[bytes, str]:
        """What to answer the client's message, and why it is not let in; empty: it is.

        Raises:
            BadForward: it is no ping.
        """
        try:
            fields = decoded(ping, bytes)
        except BadMessagePack as error:
            raise BadForward(f"a ping must be whole MessagePack: {error}") from None
        if not (
            isinstance(fields, list)
            and len(fields) == 6
            and fields[0] == b"PING"
            and all(isinstance(field, bytes) for field in fields)
        ):
            raise BadForward("a handshake must go on with a ping")
        hostname, salt, digest = fields[1:4]
        reason = ""
        if hostname == self._hostname.encode():
            reason = "self_hostname and the server's name are the same"
        elif not hmac.compare_digest(digest, self._digest(salt, hostname)):
            reason = "shared_key mismatch"
        ours = self._digest(salt, self._hostname.encode()).decode() if not reason else ""
        return pack(["PONG", not reason, reason, self._hostname, ours]), reason

    def _digest(self, salt: bytes, hostname: bytes) -> bytes:
        return hashlib.sha512(salt + hostname + self._nonce + self._key).hexdigest().encode()
