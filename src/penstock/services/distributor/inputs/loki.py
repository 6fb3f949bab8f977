"""Loki: `POST /loki/api/v1/push`, in JSON or as protobuf packed with Snappy.

A line is a record. Labels and structured metadata become its metadata; the label `level`,
`detected_level` or `severity` is its level too, and `service_name`, `app`, `job`, `service` or `logger` its
source, the first that is there.

Source: https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from penstock.protobuf import DecodeError, field
from penstock.protobuf import Message as ProtoMessage
from penstock.protobuf.well_known import Timestamp
from penstock.services.distributor.inputs import times
from penstock.services.distributor.inputs.batch import Batch, Refused
from penstock.services.distributor.inputs.body import require_few_values
from penstock.services.distributor.inputs.dialect import refusing_with
from penstock.services.distributor.inputs.levels import LONGEST_LEVEL, LONGEST_SOURCE
from penstock.services.distributor.inputs.objects import DEFAULT_LEVEL, joined, metadata_of
from penstock.services.distributor.inputs.requests import in_short, require_type, take
from penstock.services.distributor.inputs.snappy import unsnapped
from penstock.services.distributor.inputs.wire import PIECE, Pieces
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.distributor.packets import UNREADABLE, Message, in_words

__all__ = ["read_json", "read_protobuf", "refusal", "take_loki"]

JSON = "application/json"
TYPES = (JSON, "application/x-protobuf")

LEVEL = ("level", "detected_level", "severity")
SOURCE = ("service_name", "app", "job", "service", "logger")

NANOSECONDS = 1_000_000_000
LABEL = re.compile(
    r"""\s*+ ([a-zA-Z_:.][\w:./-]*+) \s*+ = \s*+ (?: "((?:[^"\\]|\\.)*+)" | `([^`]*+)` ) \s*+ (?:,|(?=\}))""",
    re.VERBOSE | re.DOTALL,
)
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def refusal(request: web.Request, status: int, reason: str) -> web.Response:
    """The answer to a request of which something was not stored: a line of text."""
    return web.Response(status=status, text=f"{reason}\n")


@refusing_with(refusal)
async def take_loki(request: web.Request) -> web.StreamResponse:
    """Stores lines: 204 all; 400 when some cannot be, and the others are stored, as Loki does."""
    require_type(request, TYPES)
    most = request.app[DISTRIBUTOR].config.max_body_bytes

    def read(body: bytes, batch: Batch) -> None:
        if request.content_type == JSON:
            read_json(body, batch)
        else:
            read_protobuf(unsnapped(body, most), batch)

    outcome = await take(request, "loki", read, encodings=("snappy",))
    if not outcome.refused:
        return web.Response(status=204)
    stored = f"{outcome.accepted} entries are stored, {len(outcome.refused)} are not"
    return refusal(request, 400, f"{stored}: {in_short(outcome.refused, 'entry')}")


# JSON


class Entry(msgspec.Struct, array_like=True, gc=False):
    """A line of a stream."""

    nanoseconds: str | int
    line: str
    metadata: dict[str, str] = {}


class Stream(msgspec.Struct):
    """Lines with the same labels; decoded a piece at a time, so that nobody waits for all of them."""

    stream: msgspec.Raw
    values: list[msgspec.Raw]


class PushRequest(msgspec.Struct):
    """The whole of a request."""

    streams: list[Stream]


LONGEST_LABELS = 64 * 1024
"""Bytes of the labels of a stream, in JSON."""

decode = msgspec.json.Decoder(PushRequest).decode
decode_labels = msgspec.json.Decoder(dict[str, str]).decode
decode_entry = msgspec.json.Decoder(Entry).decode


def read_json(body: bytes, batch: Batch) -> None:
    """Puts the lines of a request in JSON into the batch."""
    require_few_values(body)
    try:
        for stream in decode(body).streams:
            read_stream_in_json(stream, batch)
    except UNREADABLE as error:
        raise Refused(400, f"the body must be streams in JSON: {in_words(error)}") from None


def read_stream_in_json(stream: Stream, batch: Batch) -> None:
    if (length := len(memoryview(stream.stream))) > LONGEST_LABELS:
        raise Refused(400, f"labels of a stream must be at most {LONGEST_LABELS} bytes, got {length}")
    labels = decode_labels(stream.stream)
    for value in stream.values:
        if batch.refuses_as_too_long(memoryview(value)):
            continue
        entry = decode_entry(value)
        try:
            nanoseconds = int(entry.nanoseconds)
        except ValueError:
            batch.refuse(f"its time must be nanoseconds since 1970, got {str(entry.nanoseconds)[:40]!r}")
        else:
            add(entry.line, nanoseconds, labels, entry.metadata, batch)


# Protobuf


class LabelPair(ProtoMessage, package="logproto"):
    """A member of structured metadata."""

    name: str = field(1)
    value: str = field(2)


class EntryAdapter(ProtoMessage, package="logproto"):
    """A line of a stream."""

    timestamp: Timestamp | None = field(1)
    line: str = field(2)
    structured_metadata: list[LabelPair] = field(3)
    parsed: list[LabelPair] = field(4)


def read_protobuf(body: bytes, batch: Batch) -> None:
    """Puts the lines of a PushRequest into the batch, decoding one at a time."""
    pieces = Pieces(batch)
    for number, stream in pieces.of(body, "PushRequest"):
        if number == 1:
            read_stream(stream, pieces, batch)


def read_stream(data: bytes, pieces: Pieces, batch: Batch) -> None:
    labels, entries = "", []
    for number, piece in pieces.of(data, "Stream"):
        if number == 1:
            labels = piece.decode("utf-8", "replace")
        elif number == 2:
            entries.append(piece)
    known = labels_of(labels)
    for piece in entries:
        try:
            entry = EntryAdapter.from_bytes(piece, PIECE)
        except DecodeError as error:
            batch.refuse(str(error))
            continue
        time = entry.timestamp or Timestamp()
        metadata = {pair.name: pair.value for pair in (*entry.parsed, *entry.structured_metadata)}
        add(entry.line, time.seconds * NANOSECONDS + time.nanos, known, metadata, batch)


def labels_of(text: str) -> dict[str, str]:
    """The labels of a stream, which protobuf has as a text: `{app="billing", level="warn"}`.

    Raises:
        Refused: it is something else.
    """
    labels: dict[str, str] = {}
    inside = text.strip()
    if inside in ("", "{}"):
        return labels
    position = 1
    while inside.startswith("{") and (found := LABEL.match(inside, position)):
        name, quoted, raw = found.groups()
        labels[name] = raw if quoted is None else ESCAPE.sub(unescaped, quoted)
        position = found.end()
    if inside[position:].strip() != "}" or not labels:
        raise Refused(400, f'labels of a stream must be as in {{app="billing"}}, got {text[:200]!r}')
    return labels


def unescaped(found: re.Match[str]) -> str:
    """A character that Go wrote with a backslash."""
    *numbers, octal, letter = found.groups()
    if letter:
        return ESCAPED.get(letter, letter)
    code = int(octal, 8) if octal else int(next(filter(None, numbers)), 16)
    return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else "\N{REPLACEMENT CHARACTER}"


# Either


def add(
    line: str, nanoseconds: int, labels: Mapping[str, str], metadata: Mapping[str, str], batch: Batch
) -> None:
    whole: dict[str, Any] = joined(labels, metadata, "structured_metadata") if metadata else dict(labels)
    timestamp = times.of_nanoseconds(nanoseconds) if nanoseconds else None
    batch.add(
        Message(
            line,
            first_of(LEVEL, LONGEST_LEVEL, metadata, labels) or DEFAULT_LEVEL,
            first_of(SOURCE, LONGEST_SOURCE, labels, metadata),
            timestamp or msgspec.UNSET,
            metadata=metadata_of(whole),
        )
    )


def first_of(names: tuple[str, ...], most: int, *places: Mapping[str, str]) -> str:
    """The first text under one of the names that is no longer than `most`; empty when there is none."""
    for name in names:
        for place in places:
            if (text := place.get(name, "")) and len(text) <= most:
                return text
    return ""
