"""GELF over HTTP: `POST /gelf`, an object, or several one after the other.

`short_message` is the text, `level` (of syslog) the level, `host` the source, `timestamp` the time; the
additional fields are metadata without their underscore, `full_message` is if it says more, and so is what
else is there. Bodies may be packed by gzip or zlib whatever their Content-Encoding says, as Graylog's clients
send them. Of several objects all are stored, or none.

Source: https://go2docs.graylog.org/current/getting_in_log_data/gelf.html
"""

from typing import Any

from aiohttp import web
from msgspec import Raw

from penstock.services.distributor.inputs import times
from penstock.services.distributor.inputs.batch import Batch, Refused
from penstock.services.distributor.inputs.body import objects_of, unpacked
from penstock.services.distributor.inputs.dialect import refusing_with
from penstock.services.distributor.inputs.levels import LONGEST_SOURCE, SYSLOG_LEVELS
from penstock.services.distributor.inputs.objects import (
    Members,
    NotAnObject,
    members_of,
    metadata_of,
    number_in,
    text_in,
)
from penstock.services.distributor.inputs.requests import in_short, take
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.distributor.packets import UNREADABLE, Message, in_words
from penstock.services.problem_details import problem

__all__ = ["read_gelf", "take_gelf"]

ENCODINGS = ("gzip,deflate", "gzip, deflate", "zlib")
"""What clients of Graylog say of bodies that are packed in one way only; they are told by their bytes."""


@refusing_with(lambda _, status, reason: problem(status, reason))
async def take_gelf(request: web.Request) -> web.StreamResponse:
    """Stores messages: 202 all."""
    most = request.app[DISTRIBUTOR].config.max_body_bytes

    def read(body: bytes, batch: Batch) -> None:
        read_gelf(unpacked(body, most), batch)

    outcome = await take(request, "gelf", read, encodings=ENCODINGS)
    if outcome.refused:  # as too large, when they were stored
        what = in_short(outcome.refused, "message", 1)
        raise Refused(413, f"{outcome.accepted} messages are stored; {what}")
    durability = {"X-Penstock-Durability": request.app[DISTRIBUTOR].config.accepted_when}
    return web.Response(status=202, headers=durability)


def read_gelf(body: bytes, batch: Batch) -> None:
    """Puts the records of messages into the batch.

    Raises:
        Refused: there is none, or one is invalid.
    """
    for one in objects_of(body):
        if batch.refuses_as_too_long(one):
            raise Refused(413, in_short(batch.refused, "message", 1))
        try:
            batch.add(message_in(members_of(one)))
        except NotAnObject as error:
            batch.refuse(str(error))
        if batch.refused:
            raise Refused(400, in_short(batch.refused, "message", 1))
    if not batch.records:
        raise Refused(400, "the body must be a GELF message, got none")


def message_in(members: Members) -> Message:
    """The message of an object.

    Raises:
        NotAnObject: it is no GELF message.
    """
    try:
        text = text_in(members.pop("short_message", Raw(b"null")))
        if not text or text.isspace():
            raise NotAnObject("short_message must be a text that is not blank")
        message = Message(text)
        members.pop("version", None)
        host = text_in(members["host"]) if "host" in members else ""
        if 0 < len(host) <= LONGEST_SOURCE:
            message.source = host
            del members["host"]
        set_level_and_time(message, members)
        if "full_message" in members and text_in(members["full_message"]) == text:
            del members["full_message"]
    except UNREADABLE as error:
        raise NotAnObject(in_words(error)) from None
    message.metadata = metadata_of(without_underscores(members))
    return message


def set_level_and_time(message: Message, members: Members) -> None:
    """Takes both out of the members of a message, if they are such."""
    if "level" in members:
        raw = members["level"]
        number = text_in(raw) or number_in(raw)
        if len(number) == 1 and number in "01234567":
            message.level = SYSLOG_LEVELS[int(number)]
            del members["level"]
    if "timestamp" in members:
        raw = members["timestamp"]
        if timestamp := times.of_seconds(text_in(raw) or number_in(raw)):
            message.timestamp = timestamp
            del members["timestamp"]


def without_underscores(members: Members) -> dict[str, Any]:
    """Additional fields by the names that they stand for; two that would have one name keep their own."""
    named: dict[str, Any] = {}
    for name, value in members.items():
        plain = name[1:] if name.startswith("_") and len(name) > 1 else name
        taken = plain in named or (plain != name and plain in members)
        named[name if taken else plain] = value
    return named
