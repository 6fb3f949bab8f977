"""Elasticsearch: `POST` or `PUT /_bulk` and `/{index}/_bulk`, and the little that its clients ask before.

`create` and `index` make a record of a document, which is read as a line of NDJSON is (ndjson.py); its
metadata has `_index`, and `_id` when the client chose one. `update` and `delete` are answered 400, each in
its place, for records are not changed. Every document has its own status in `items`; when nothing is taken
for now, the whole request is answered 429 or 503, and clients send it again.

Source: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
"""

import asyncio
from collections.abc import Mapping
from itertools import count
from secrets import token_hex
from time import monotonic
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from penstock.services.distributor.inputs.batch import Batch, Refused
from penstock.services.distributor.inputs.body import lines_of
from penstock.services.distributor.inputs.dialect import refusing_with
from penstock.services.distributor.inputs.objects import (
    Members,
    NotAnObject,
    joined,
    members_of,
    message_and_rest,
    metadata_of,
    text_in,
)
from penstock.services.distributor.inputs.requests import take
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.distributor.packets import UNREADABLE, in_words
from penstock.services.distributor.records import RecordRefusal

__all__ = ["Bulk", "product", "refusal", "take_bulk", "tell_health", "tell_license"]

PRODUCT = {"X-Elastic-Product": "Elasticsearch"}
"""Without which its clients refuse to talk."""
VERSION = "8.19.0"
"""Of the protocol: clients of 8 and of 9 speak it."""

RUN = token_hex(6)
NUMBERS = count(1)
"""Of ids that clients leave to us; unique, and nobody asks for them again."""

LONGEST_ACTION = 64 * 1024
"""Bytes of the line that says what is to be done with the next one."""
MANY_ITEMS = 1000
"""Of an answer that is written in a thread, so that others are answered meanwhile."""

ERRORS = {
    400: "illegal_argument_exception", 401: "security_exception", 403: "security_exception",
    413: "content_too_long_exception", 415: "media_type_header_exception",
    429: "es_rejected_execution_exception", 503: "unavailable_shards_exception",
}  # fmt: skip

COLOURS = {"healthy": "green", "degraded": "yellow", "unhealthy": "red"}

encode = msgspec.json.Encoder().encode
decode_metadata = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def refusal(request: web.Request, status: int, reason: str) -> web.Response:
    """The answer to a request of which nothing was stored."""
    error = {"type": ERRORS.get(status, "exception"), "reason": reason}
    return answer_to(request, {"error": {"root_cause": [error], **error}, "status": status}, status)


def answer_to(request: web.Request, body: object, status: int = 200) -> web.Response:
    """JSON, of the type that the client asked for if that is one of Elasticsearch's own."""
    wanted = request.headers.get("Accept", "")
    of_its_own = wanted.startswith("application/vnd.elasticsearch+json") and wanted.isprintable()
    kind = wanted.partition(",")[0] if of_its_own else "application/json"
    return web.Response(body=encode(body), status=status, headers={"Content-Type": kind, **PRODUCT})


# Bulk requests


class Item(NamedTuple):
    """A document, and what the client wants of it."""

    action: str
    where: str
    """Its index."""
    id: str

    def stored(self) -> dict[str, Any]:
        """That it is."""
        return {
            self.action: {
                "_index": self.where,
                "_id": self.id,
                "_version": 1,
                "result": "created",
                "_shards": {"total": 1, "successful": 1, "failed": 0},
                "_seq_no": 0,
                "_primary_term": 1,
                "status": 201,
            }
        }

    def refused(self, refusal: RecordRefusal) -> dict[str, Any]:
        """That it is not, and why."""
        too_large = refusal.code == "too_large"
        status, kind = (413, ERRORS[413]) if too_large else (400, "document_parsing_exception")
        error = {"type": kind, "reason": refusal.error}
        return {self.action: {"_index": self.where, "_id": self.id, "status": status, "error": error}}


class Bulk:
    """Reads the body of a bulk request.

    Args:
        index: of documents that name none.

    Attributes:
        items: the documents, in their places.
    """

    def __init__(self, index: str = "") -> None:
        self.items: list[Item] = []
        self._index = index

    def read(self, body: bytes, batch: Batch) -> None:
        """Puts the record of every document into the batch.

        Raises:
            Refused: a line that should say what is to be done with the next one does not.
        """
        lines = lines_of(body)
        for number, line in lines:
            if len(line) > LONGEST_ACTION:
                raise Refused(
                    413, f"line {number}: an action must be at most {LONGEST_ACTION} bytes, got {len(line)}"
                )
            action, metadata = self._action_in(line, number)
            index = text_of(metadata, "_index") or self._index
            if not index:
                raise Refused(400, f"line {number}: an index is missing")
            id_ = text_of(metadata, "_id")
            self.items.append(Item(action, index, id_ or f"{RUN}{next(NUMBERS):x}"))
            if action == "delete":
                batch.refuse("records cannot be deleted")
                continue
            _, document = next(lines, (0, None))
            if document is None:
                raise Refused(400, f"line {number}: the document of the last action is missing")
            if action == "update":
                batch.refuse("records cannot be updated")
            elif not batch.refuses_as_too_long(document):
                add(document, {"_index": index} | ({"_id": id_} if id_ else {}), batch)

    def outcomes(self, refused: Mapping[int, RecordRefusal]) -> msgspec.Raw:
        """What became of the documents, as JSON: an array in their order.

        Args:
            refused: those that were not stored, by their places.
        """
        items = [
            encode(item.refused(refused[place]) if place in refused else item.stored())
            for place, item in enumerate(self.items)
        ]
        return msgspec.Raw(b"[%s]" % b",".join(items))

    def _action_in(self, line: bytes, number: int) -> tuple[str, Members]:
        try:
            [(action, metadata)] = decode_metadata(line).items()
            if action in ("create", "index", "update", "delete"):
                return action, decode_metadata(metadata)
        except UNREADABLE as error:
            raise Refused(400, f"line {number}: an action must be a JSON object: {in_words(error)}") from None
        except ValueError:
            pass
        raise Refused(400, f"line {number}: an action must be one of create, index, update, delete")


def text_of(members: Members, name: str) -> str:
    try:
        return text_in(members[name]) if name in members else ""
    except UNREADABLE:
        return ""


def add(document: bytes, origin: dict[str, str], batch: Batch) -> None:
    try:
        message, rest = message_and_rest(members_of(document), document)
    except NotAnObject as error:
        batch.refuse(str(error))
        return
    message.metadata = metadata_of(joined(origin, rest, "document"))
    batch.add(message)


@refusing_with(refusal)
async def take_bulk(request: web.Request) -> web.StreamResponse:
    """Stores documents: 200, with a status for each."""
    started = monotonic()
    bulk = Bulk(request.match_info.get("index", ""))
    outcome = await take(request, "elasticsearch", bulk.read)
    if not bulk.items:
        raise Refused(400, "request body is required")
    refused = {one.index: one for one in outcome.refused}
    if len(bulk.items) <= MANY_ITEMS:
        items = bulk.outcomes(refused)
    else:
        items = await asyncio.to_thread(bulk.outcomes, refused)
    took = round((monotonic() - started) * 1000)
    answer = answer_to(request, {"took": took, "errors": bool(refused), "items": items})
    answer.headers["X-Penstock-Durability"] = request.app[DISTRIBUTOR].config.accepted_when
    return answer


# What clients ask before


def product(request: web.Request) -> web.Response | None:
    """What Elasticsearch says at `/`, when a client asks for it there; None for those that want the page.

    Browsers, and people with curl, accept more than JSON; some clients do not say what they accept.
    """
    wanted = request.headers.get("Accept", "application/json")
    if "application/vnd.elasticsearch" not in wanted and not wanted.startswith("application/json"):
        return None
    return answer_to(
        request,
        {
            "name": "penstock",
            "cluster_name": "penstock",
            "cluster_uuid": "penstock-distributor",
            "version": {
                "number": VERSION,
                "build_flavor": "default",
                "minimum_wire_compatibility_version": "7.17.0",
                "minimum_index_compatibility_version": "7.0.0",
            },
            "tagline": "You Know, for Search",
        },
    )


@refusing_with(refusal)
async def tell_license(request: web.Request) -> web.StreamResponse:
    """The license that clients want to see before they send anything."""
    license_ = {"status": "active", "uid": "penstock", "type": "basic", "mode": "basic"}
    return answer_to(request, {"license": license_})


@refusing_with(refusal)
async def tell_health(request: web.Request) -> web.StreamResponse:
    """How the cluster is that clients believe in: green while all analyzers are up."""
    colour = COLOURS[request.app[DISTRIBUTOR].status]
    return answer_to(request, {"cluster_name": "penstock", "status": colour, "timed_out": False})
