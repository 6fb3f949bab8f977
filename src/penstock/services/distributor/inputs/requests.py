"""What every input over HTTP does with a request: read it, and have its records stored."""

import asyncio
import hashlib
from collections.abc import Callable, Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohttp import web

from penstock.services.distributor.admission import NotStored, TooFast
from penstock.services.distributor.inputs.batch import Batch, Refused
from penstock.services.distributor.inputs.body import body_of
from penstock.services.distributor.inputs.figures import HTTP_INPUTS
from penstock.services.distributor.keys import BODIES, DISTRIBUTOR, LIMIT
from penstock.services.distributor.records import RecordRefusal
from penstock.services.distributor.request_body import Hold

__all__ = ["LARGE_AT_ONCE", "LARGE_BODIES", "Outcome", "Read", "in_short", "require_type", "take"]

Read = Callable[[bytes, Batch], None]
"""Reads a body, after decompression, into a batch, and raises `Refused` when it cannot be read as a whole."""

ROOM = 4
"""How many times the largest body the records of one request may be, what they share repeated in each."""
JSON_ROOM = 2
"""How many times the largest packet the JSON of one record may be: characters may be written as `\\u00e9`."""
LARGE = 256 * 1024
"""Bytes of a body that is read in a thread, so that others are answered meanwhile."""
LARGE_AT_ONCE = 2
"""Of those, so that their objects do not fill the memory; reading more at once would not be quicker."""
LONGEST_KEY_IN_IDS = 60

LARGE_BODIES = web.AppKey("large_bodies", asyncio.Semaphore)


class Outcome(NamedTuple):
    """What became of the records of a request."""

    accepted: int
    refused: list[RecordRefusal]
    """In the order of their places."""


async def take(
    request: web.Request, name: str, read: Read, *, encodings: tuple[str, ...] = (), key: str | None = None
) -> Outcome:
    """Stores what `read` finds in the body of a request.

    Args:
        request: whose body nobody has read.
        name: of the input, in its figures.
        read: puts records into the batch.
        encodings: further ones, that `read` unpacks.
        key: with which the same body, sent again within the window, stores nothing twice.

    Raises:
        Refused: nothing was stored, as far as one can tell.
    """
    refuse_other_sites(request)
    try:
        with request.app[BODIES].hold() as hold:
            return await taken(request, name, read, hold, encodings=encodings, key=key)
    except TooFast as error:
        raise Refused(429, str(error), retry_after=error.retry_after) from None
    except NotStored as error:
        raise Refused(503, f"{error}; send the same again", retry_after=error.retry_after) from None


async def taken(
    request: web.Request, name: str, read: Read, hold: Hold, *, encodings: tuple[str, ...], key: str | None
) -> Outcome:
    """As `take`, while there is room for the body, or for its records where these are more."""
    config = request.app[DISTRIBUTOR].config
    body = await body_of(request, config.max_body_bytes, hold, config.body_timeout, encodings)
    most = min(ROOM * config.max_body_bytes, config.max_receiving_bytes)
    batch = Batch(config.max_records, most, JSON_ROOM * config.max_packet_bytes, cover=hold.cover)
    ids = None
    if len(body) > LARGE:
        async with request.app[LARGE_BODIES]:
            await asyncio.to_thread(read, body, batch)
            if key is not None:
                ids = await asyncio.to_thread(ids_of, key, body)
    else:
        read(body, batch)
        if key is not None:
            ids = ids_of(key, body)
    del body  # a large one need not be there as well while its records are stored
    outcome = Outcome(0, batch.refused)
    try:
        if batch.records:
            outcome = await stored(request, batch, ids)
    finally:
        request.app[HTTP_INPUTS].count(name, outcome.accepted, len(batch) - outcome.accepted)
    return outcome


def ids_of(key: str, body: bytes) -> str:
    """Ids of a client's key and what it sent with it: with something else, it is another request."""
    return f"{key[:LONGEST_KEY_IN_IDS]}-{hashlib.sha256(key.encode() + body).hexdigest()[:32]}"


async def stored(request: web.Request, batch: Batch, ids: str | None) -> Outcome:
    receipt = await request.app[DISTRIBUTOR].accept_records(batch.records, ids=ids, limit=request.get(LIMIT))
    return Outcome(receipt.accepted, batch.refusals_with(receipt.refused))


def refuse_other_sites(request: web.Request) -> None:
    """Pages of other sites may not send logs by their visitors' browsers, which always tell the origin."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise Refused(403, f"pages of other sites cannot send logs here, got Origin: {origin[:200]}")


def require_type(request: web.Request, types: Collection[str]) -> None:
    """Refuses a body of another type, with 415."""
    if request.content_type not in types:
        got = request.headers.get("Content-Type", "none")[:200]
        raise Refused(415, f"Content-Type must be {' or '.join(types)}, got {got}")


def in_short(refused: list[RecordRefusal], what: str, first: int = 0) -> str:
    """Refusals in one line, for protocols that have room for no more.

    Args:
        refused: at least one.
        what: a record is called.
        first: number of the first one.
    """
    shown = [f"{what} {one.index + first}: {one.error}" for one in refused[:10]]
    more = len(refused) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
