"""Packets: submitting them, and what became of one."""

from typing import Any

from aiohttp import web

from penstock.services.distributor.admission import NotStored, Receipt, TooFast
from penstock.services.distributor.keys import BODIES, DISTRIBUTOR, LIMIT
from penstock.services.distributor.packets import UnreadableRequest
from penstock.services.distributor.rest.answers import answer, moment_told, retry_after
from penstock.services.distributor.rest.bodies import body_of
from penstock.services.distributor.spool import Event, SpoolError
from penstock.services.distributor.state import Distributor
from penstock.services.problem_details import problem

__all__ = ["answer_of", "receipt_told", "refusal_of", "submit_packets", "tell_story"]


async def submit_packets(request: web.Request) -> web.Response:
    """Stores the packets of the body: 202 all, 207 some, 422 or 503 none; nothing else is stored."""
    distributor = request.app[DISTRIBUTOR]
    with request.app[BODIES].hold() as hold:
        body = await body_of(request, hold)
        if isinstance(body, web.Response):
            return body
        try:
            receipt = await distributor.accept(body, limit=request.get(LIMIT))
        except (UnreadableRequest, NotStored) as error:
            return refusal_of(error)
    return answer_of(receipt, distributor)


def refusal_of(error: UnreadableRequest | NotStored) -> web.Response:
    """The answer to a request of which nothing was looked at, or nothing stored."""
    if isinstance(error, UnreadableRequest):
        return problem(400, str(error))
    if isinstance(error, TooFast):
        return problem(429, str(error), headers=retry_after(error.retry_after))
    return problem(503, f"{error}; send the same packets again", headers=retry_after(error.retry_after))


def answer_of(receipt: Receipt, distributor: Distributor) -> web.Response:
    """The reference's body, and what became of each refused packet."""
    accepted, refused = receipt
    body = receipt_told(receipt)
    durability: dict[str, str] = {"X-Penstock-Durability": distributor.config.accepted_when}
    if not refused:
        return answer(body, 202, durability)
    body["errors"] = [
        {"index": refusal.index, "id": refusal.id, "code": refusal.code, "error": refusal.error}
        for refusal in refused
    ]
    full = any(refusal.code == "queue_full" for refusal in refused)
    again = retry_after(distributor.admission.retry_after()) if full else {}
    if accepted:
        return answer(body, 207, durability | again)
    if full:
        return problem(503, "no packet was accepted: too many are waiting", headers=again, **body)
    return problem(422, "no packet was accepted: every one is invalid; see errors", **body)


def receipt_told(receipt: Receipt) -> dict[str, Any]:
    """The reference's body."""
    accepted, refused = receipt
    return {
        "total_packets": len(accepted) + len(refused),
        "successful": len(accepted),
        "failed": len(refused),
        "processed_packets": accepted,
    }


async def tell_story(request: web.Request) -> web.Response:
    """What became of a packet, the oldest event first, as far back as the journal reaches."""
    id_ = request.match_info["id"]
    try:
        events = await request.app[DISTRIBUTOR].story(id_)
    except SpoolError as error:
        return problem(503, str(error), headers=retry_after(1))
    if not events:
        return problem(404, f"the journal knows nothing of a packet {id_[:200]!r}, or no more")
    return answer({"id": id_, "events": [told(event) for event in events]})


def told(event: Event) -> dict[str, object]:
    """An event, without what it does not have."""
    members = {"analyzer": event.analyzer, "error": event.error, "attempt": event.attempt}
    said = {name: value for name, value in members.items() if value}
    return {"at": moment_told(event.at_ms), "what": event.what, **said}
