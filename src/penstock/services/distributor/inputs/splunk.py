"""Splunk's HTTP Event Collector: `POST /services/collector`, `/services/collector/event` and `.../raw`.

The text of an event is its `event`: a string, or an object, which is read as a line of NDJSON is (ndjson.py).
`time` is the timestamp, `source` the source; `host`, `sourcetype`, `index` and the members of `fields` are
metadata. On the raw endpoint every line is an event, and those five are in the query.

Events before one that is refused are stored, it and those after it are not, and `invalid-event-number` says
which it is. What is answered with success is stored, so nobody has to ask for acknowledgments: they are off.

Source: https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data
"""

from collections.abc import Mapping

import msgspec
from aiohttp import web
from msgspec import UNSET

from penstock.services.distributor.inputs import times
from penstock.services.distributor.inputs.batch import Batch
from penstock.services.distributor.inputs.body import lines_of, objects_of
from penstock.services.distributor.inputs.dialect import refusing_with
from penstock.services.distributor.inputs.levels import LONGEST_LEVEL, LONGEST_SOURCE
from penstock.services.distributor.inputs.objects import (
    DEFAULT_LEVEL,
    OBJECT,
    TEXT_MARK,
    Members,
    NotAnObject,
    first_byte,
    joined,
    members_of,
    message_and_rest,
    metadata_of,
    number_in,
    text_in,
)
from penstock.services.distributor.inputs.requests import Outcome, in_short, take
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.distributor.packets import UNREADABLE, Message, in_words
from penstock.services.distributor.rest.answers import answer

__all__ = ["read_events", "refusal", "take_events", "take_raw", "tell_acks", "tell_health"]

TEXTS = {
    401: ("Invalid authorization", 3), 403: ("Invalid token", 4), 413: ("Request entity too large", 27),
    429: ("Server is busy", 9), 503: ("Server is busy", 9),
}  # fmt: skip
"""Text and code that clients know, by status."""
INVALID = ("Invalid data format", 6)

NO_EVENT = "event must be there"
BLANK_EVENT = "event must not be blank"
BAD_FIELDS = "fields must be an object"
EVENT_ERRORS = {
    NO_EVENT: ("Event field is required", 12),
    BLANK_EVENT: ("Event field cannot be blank", 13),
    BAD_FIELDS: ("Error in handling indexed fields", 15),
}
"""The same for what is wrong with one event."""

LEVEL = ("level", "severity")
QUERY = ("host", "sourcetype", "index")


def refusal(request: web.Request, status: int, reason: str) -> web.Response:
    """The answer to a request of which nothing was stored."""
    text, code = TEXTS.get(status, INVALID)
    return answer({"text": text, "code": code, "detail": reason}, status)


@refusing_with(refusal)
async def take_events(request: web.Request) -> web.StreamResponse:
    """Stores events: 200 all; 400 when one is invalid, and only those before it are stored."""
    outcome = await take(request, "splunk", read_events)
    return answer_of(request, outcome)


@refusing_with(refusal)
async def take_raw(request: web.Request) -> web.StreamResponse:
    """Stores an event a line."""
    query = request.query

    def read(body: bytes, batch: Batch) -> None:
        read_raw(body, query, batch)

    return answer_of(request, await take(request, "splunk", read))


def answer_of(request: web.Request, outcome: Outcome) -> web.Response:
    if outcome.refused:
        first = outcome.refused[0]
        text, code = EVENT_ERRORS.get(first.error, INVALID)
        detail = f"{outcome.accepted} events are stored; {in_short(outcome.refused, 'event')}"
        return answer(
            {"text": text, "code": code, "invalid-event-number": first.index, "detail": detail}, 400
        )
    if not outcome.accepted:
        return answer({"text": "No data", "code": 5}, 400)
    durability = {"X-Penstock-Durability": request.app[DISTRIBUTOR].config.accepted_when}
    return answer({"text": "Success", "code": 0}, headers=durability)


def read_events(body: bytes, batch: Batch) -> None:
    """Puts the records of events into the batch, up to the first that is invalid."""
    for one in objects_of(body):
        if batch.refuses_as_too_long(one):
            return
        try:
            batch.add(message_in(members_of(one)))
        except NotAnObject as error:
            batch.refuse(str(error))
        if batch.refused:
            return


def message_in(members: Members) -> Message:
    """The message of an event.

    Raises:
        NotAnObject: the event is invalid.
    """
    event = members.pop("event", None)
    if event is None or bytes(event) == b"null":
        raise NotAnObject(NO_EVENT)
    try:
        message, inner = message_and_members(event)
        fields = fields_of(members)
        set_level(message, fields)
        set_source_and_time(message, members)
    except UNREADABLE as error:
        raise NotAnObject(in_words(error)) from None
    whole = joined(joined(inner, fields, "fields"), members, "event_metadata")
    message.metadata = metadata_of(whole)
    return message


def message_and_members(event: msgspec.Raw) -> tuple[Message, Members]:
    """The message of what was logged, and what else that says."""
    if first_byte(event) == OBJECT:
        whole = bytes(event)
        return message_and_rest(members_of(whole), whole)
    text = text_in(event) if first_byte(event) == TEXT_MARK else bytes(event).decode()
    if not text or text.isspace():
        raise NotAnObject(BLANK_EVENT)
    return Message(text), {}


def fields_of(members: Members) -> Members:
    fields = members.pop("fields", None)
    if fields is None or bytes(fields) == b"null":
        return {}
    if first_byte(fields) != OBJECT:
        raise NotAnObject(BAD_FIELDS)
    return members_of(bytes(fields))


def set_level(message: Message, fields: Members) -> None:
    if message.level != DEFAULT_LEVEL:
        return
    for name in LEVEL:
        level = text_in(fields[name]) if name in fields else ""
        if 0 < len(level) <= LONGEST_LEVEL:
            message.level = level
            return


def set_source_and_time(message: Message, members: Members) -> None:
    """Takes both out of the members of an event, if they are such."""
    source = text_in(members["source"]) if "source" in members else ""
    if 0 < len(source) <= LONGEST_SOURCE and not message.source:
        message.source = source
        del members["source"]
    if "time" in members:
        raw = members["time"]
        if timestamp := times.of_seconds(text_in(raw) or number_in(raw)):
            message.timestamp = timestamp
            del members["time"]


def read_raw(body: bytes, query: Mapping[str, str], batch: Batch) -> None:
    """Puts a record a line into the batch; bytes that are no UTF-8 become U+FFFD."""
    metadata = metadata_of({name: query[name] for name in QUERY if query.get(name)})
    source = query.get("source", "")[:LONGEST_SOURCE]
    timestamp = times.of_seconds(query.get("time", "")) or UNSET
    for _, line in lines_of(body):
        batch.add(
            Message(line.decode("utf-8", "replace"), source=source, timestamp=timestamp, metadata=metadata)
        )


# What clients ask


@refusing_with(refusal)
async def tell_health(request: web.Request) -> web.StreamResponse:
    """Whether events are taken."""
    if request.app[DISTRIBUTOR].draining:
        return answer({"text": "Server is shutting down", "code": 23}, 503)
    return answer({"text": "HEC is healthy", "code": 17})


@refusing_with(refusal)
async def tell_acks(request: web.Request) -> web.StreamResponse:
    """That success means stored: there is nothing to ask for later."""
    return answer({"text": "ACK is disabled", "code": 14}, 400)
