"""NDJSON: `POST /api/v1/ndjson`, a JSON object a line, each a record.

A line that is a `Message` is taken as it is. Of any other object, the text is its `message`, `msg`, `log`
or `text`, the level its `level` or `severity`, the source its `source`, `logger` or `service`, the time its
`timestamp`, `time`, `ts` or `@timestamp` (RFC 3339, or a number of seconds to nanoseconds since 1970), and
all else metadata. An object without a text is the text itself.

With an `Idempotency-Key`, sending the same lines again within the window stores nothing twice.
"""

from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from penstock.services.distributor.inputs.batch import Batch, Refused
from penstock.services.distributor.inputs.body import lines_of
from penstock.services.distributor.inputs.dialect import refusing_with
from penstock.services.distributor.inputs.objects import NotAnObject, members_of, message_of
from penstock.services.distributor.inputs.requests import Outcome, require_type, take
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.distributor.packets import UNREADABLE, Message
from penstock.services.distributor.rest.answers import answer
from penstock.services.problem_details import problem

__all__ = ["read_lines", "take_ndjson"]

TYPES = (
    "application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines",
    "application/x-jsonlines", "application/json-lines", "application/stream+json",
)  # fmt: skip
MAX_ERRORS = 1000
"""Refusals that an answer tells; how many more there are is a number."""
LONGEST_KEY = 100

decode_message = msgspec.json.Decoder(Message).decode


@refusing_with(lambda _, status, reason: problem(status, reason))
async def take_ndjson(request: web.Request) -> web.StreamResponse:
    """Stores a record a line: 202 all, 207 some, 422 none."""
    require_type(request, TYPES)
    outcome = await take(request, "ndjson", read_lines, key=idempotency_key(request))
    if not outcome.accepted and not outcome.refused:
        raise Refused(400, "the body must have at least one line that is not blank")
    body = body_of_answer(outcome)
    durability = {"X-Penstock-Durability": request.app[DISTRIBUTOR].config.accepted_when}
    if not outcome.refused:
        return answer(body, 202, durability)
    if outcome.accepted:
        return answer(body, 207, durability)
    return problem(422, "no line was accepted: every one is invalid; see errors", **body)


def idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise Refused(400, f"Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII characters")
    return key


def read_lines(body: bytes, batch: Batch) -> None:
    """Puts the record of every line into the batch; its place is the number of the line."""
    for number, line in lines_of(body):
        if batch.refuses_as_too_long(line, number):
            continue
        try:
            batch.add(message_in(line), number)
        except NotAnObject as error:
            batch.refuse(str(error), number)


def message_in(line: bytes) -> Message:
    if b'"message"' in line:
        with suppress(*UNREADABLE):  # another object, or none
            return decode_message(line)
    return message_of(members_of(line), line)


def body_of_answer(outcome: Outcome) -> dict[str, Any]:
    refused = outcome.refused
    body: dict[str, Any] = {
        "total_records": outcome.accepted + len(refused),
        "successful": outcome.accepted,
        "failed": len(refused),
    }
    if refused:
        body["errors"] = [
            {"line": one.index, "code": one.code, "error": one.error} for one in refused[:MAX_ERRORS]
        ]
        if len(refused) > MAX_ERRORS:
            body["errors_left_out"] = len(refused) - MAX_ERRORS
    return body
