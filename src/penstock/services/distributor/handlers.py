"""The REST API: request -> state -> answer, one function a route."""

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import islice
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from penstock.ratelimit.middleware.aiohttp import RateLimitMiddleware
from penstock.search import QuerySyntaxError, QueryTooLarge
from penstock.services.distributor.admission import NotStored, Receipt, TooFast
from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.fleet import UnknownAnalyzer
from penstock.services.distributor.letter_search import LetterRow
from penstock.services.distributor.packets import RFC_3339, UnreadableRequest
from penstock.services.distributor.spool import SpoolError
from penstock.services.distributor.state import Distributor
from penstock.services.problem_details import problem

__all__ = ["CLIENT_LIMITS", "DISTRIBUTOR", "add_routes"]

DISTRIBUTOR = web.AppKey("distributor", Distributor)
CLIENT_LIMITS = web.AppKey("client_limits", list[RateLimitMiddleware])
"""The limit of clients' requests; empty when there is none."""

BODY_ENCODINGS = ("", "identity", "gzip", "deflate")
MAX_DEAD_LETTERS_LISTED = 1000
MAX_QUERY = 1000
"""Characters of a search."""
MAX_MS_DIGITS = 15
"""Digits of unix milliseconds: enough for 30,000 years."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")

encode = msgspec.json.Encoder().encode


def add_routes(router: web.UrlDispatcher) -> None:
    """Every path that the service answers."""
    router.add_get("/", show_page)
    router.add_post("/api/v1/logs", submit_packets)
    router.add_get("/api/v1/health", tell_health)
    router.add_get("/api/v1/stats", tell_stats)
    router.add_get("/api/v1/analyzers", list_analyzers)
    router.add_post("/api/v1/analyzers/{id}/health", control_health)
    router.add_get("/api/v1/dead-letter", list_dead_letters)
    router.add_get("/livez", tell_alive)
    router.add_get("/readyz", tell_ready)
    router.add_get("/metrics", tell_metrics)


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON with a line end, so that curl leaves the prompt on a line of its own."""
    return web.Response(
        body=encode(body) + b"\n", status=status, content_type="application/json", headers=headers
    )


# Packets


async def submit_packets(request: web.Request) -> web.Response:
    """Stores the packets of the body: 202 all, 207 some, 422 or 503 none; nothing else is stored."""
    if wrong := wrong_content(request):
        return wrong
    distributor = request.app[DISTRIBUTOR]
    limit = distributor.config.max_body_bytes
    too_large = f"the body must be at most {limit} bytes after decompression; send fewer packets"
    if (request.content_length or 0) > limit:
        return problem(413, too_large)
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return problem(413, too_large)
    try:
        receipt = await distributor.accept(body)
    except UnreadableRequest as error:
        return problem(400, str(error))
    except TooFast as error:
        return problem(429, str(error), headers=retry_after(error.retry_after))
    except NotStored as error:
        return problem(503, f"{error}; send the same packets again", headers=retry_after(error.retry_after))
    return answer_of(receipt, distributor)


def wrong_content(request: web.Request) -> web.Response | None:
    if request.content_type != "application/json":
        return problem(
            415,
            f"Content-Type must be application/json, got {request.headers.get('Content-Type', 'none')}",
            headers={"Accept-Post": "application/json"},
        )
    encoding = request.headers.get("Content-Encoding", "").lower()
    if encoding not in BODY_ENCODINGS:
        return problem(
            415,
            f"Content-Encoding must be gzip, deflate or none, got {encoding}",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    return None


def answer_of(receipt: Receipt, distributor: Distributor) -> web.Response:
    """The reference's body, and what became of each refused packet."""
    accepted, refused = receipt
    body: dict[str, Any] = {
        "total_packets": len(accepted) + len(refused),
        "successful": len(accepted),
        "failed": len(refused),
        "processed_packets": accepted,
    }
    durability: dict[str, str] = {"X-Penstock-Durability": distributor.config.durability}
    if not refused:
        return answer(body, 202, durability)
    body["errors"] = [
        {"index": refusal.index, "id": refusal.id, "code": refusal.code, "error": refusal.error}
        for refusal in refused
    ]
    full = any(refusal.code == "queue_full" for refusal in refused)
    again = retry_after(distributor.seconds_until_room()) if full else {}
    if accepted:
        return answer(body, 207, durability | again)
    if full:
        return problem(503, "no packet was accepted: too many are waiting", headers=again, **body)
    return problem(422, "no packet was accepted: every one is invalid; see errors", **body)


def retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


# What is going on


async def tell_health(request: web.Request) -> web.Response:
    distributor = request.app[DISTRIBUTOR]
    stats = figures_of(distributor)
    return answer(
        {
            "status": distributor.status,
            "uptime": in_go_style(distributor.uptime),
            "active_analyzers": stats["active_analyzers"],
            "total_analyzers": len(stats["analyzers"]),
            "timestamp": timestamp(),
        }
    )


async def tell_stats(request: web.Request) -> web.Response:
    distributor = request.app[DISTRIBUTOR]
    stats = figures_of(distributor) | limited_requests(request)
    return answer(stats | {"uptime": in_go_style(distributor.uptime), "timestamp": timestamp()})


def limited_requests(request: web.Request) -> dict[str, int]:
    return {"limited_requests": sum(limits.stats()["refused"] for limits in request.app[CLIENT_LIMITS])}


async def list_analyzers(request: web.Request) -> web.Response:
    analyzers = figures_of(request.app[DISTRIBUTOR])["analyzers"]
    return answer([{"id": id_} | analyzer for id_, analyzer in analyzers.items()])


async def tell_alive(request: web.Request) -> web.Response:
    return web.Response(text="alive\n")


async def tell_ready(request: web.Request) -> web.Response:
    """200 when packets are accepted and somebody is there to get them."""
    distributor = request.app[DISTRIBUTOR]
    if distributor.draining:
        return problem(503, "the distributor is shutting down")
    if not distributor.fleet.up:
        return problem(503, "no analyzer is up; packets are accepted and wait")
    return web.Response(text="ready\n")


METRICS = (
    ("accepted", "counter", "Packets stored."),
    ("messages_accepted", "counter", "Messages in the packets stored."),
    ("delivered", "counter", "Packets that an analyzer processed."),
    ("total_messages_routed", "counter", "Messages in the packets delivered."),
    ("dead", "counter", "Packets given up."),
    ("purged", "counter", "Dead letters removed to keep within the bound."),
    ("retries", "counter", "Deliveries of a packet that failed and were put off."),
    ("refused", "counter", "Packets refused."),
    ("limited_requests", "counter", "Requests refused as their client sent too many, since the start."),
    ("duplicates", "counter", "Packets answered as accepted that had been stored before."),
    ("pending", "gauge", "Packets stored and neither delivered nor given up."),
    ("conservation_error", "gauge", "accepted - delivered - dead - pending; anything but 0 is a fault."),
)

ANALYZER_METRICS = (
    ("is_healthy", "gauge", "Whether the analyzer gets packets."),
    ("processed_count", "counter", "Packets that it processed."),
    ("error_count", "counter", "Packets that it failed."),
    ("first_assigned", "counter", "Packets that were its own at first."),
    ("queued", "gauge", "Packets that wait for it."),
    ("in_flight", "gauge", "Packets on their way to it."),
)


async def tell_metrics(request: web.Request) -> web.Response:
    """The figures in the Prometheus text format 0.0.4."""
    stats = figures_of(request.app[DISTRIBUTOR]) | limited_requests(request)
    lines = []
    for field, kind, what in METRICS:
        name = f"penstock_distributor_{field.removeprefix('total_')}" + (
            "_total" if kind == "counter" else ""
        )
        lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}", f"{name} {stats[field]}"]
    for field, kind, what in ANALYZER_METRICS:
        name = f"penstock_analyzer_{field}" + ("_total" if kind == "counter" else "")
        lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
        lines += [f'{name}{{analyzer="{id_}"}} {int(one[field])}' for id_, one in stats["analyzers"].items()]
    text = "\n".join(lines) + "\n"
    return web.Response(
        body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


# Analyzers and dead letters


class HealthControl(msgspec.Struct, forbid_unknown_fields=True):
    """What a person wants of an analyzer."""

    healthy: bool


async def control_health(request: web.Request) -> web.Response:
    """Holds an analyzer down, or puts it back."""
    if wrong := wrong_content(request):  # a page of another site cannot send JSON without asking first
        return wrong
    distributor = request.app[DISTRIBUTOR]
    try:
        wanted = msgspec.json.decode(await request.read(), type=HealthControl)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return problem(400, f'the body must be {{"healthy": true}} or {{"healthy": false}}: {error}')
    try:
        analyzer = distributor.fleet[request.match_info["id"]]
    except UnknownAnalyzer as error:
        return problem(404, str(error))
    distributor.control_health(analyzer, wanted.healthy)
    return answer({"id": analyzer.config.id, "is_healthy": analyzer.is_up, "held_down": analyzer.held_down})


async def list_dead_letters(request: web.Request) -> web.Response:
    """Dead letters, those that failed last first: `?limit=` of them, 100 unless told.

    `?before=` the sequence number of one goes on after it; `?since=` and `?until=`, times, leave out what
    failed before the one, and what failed at or after the other. `?q=` leaves out what does not match a
    query; with `?order=relevance` the best match comes first.
    """
    distributor = request.app[DISTRIBUTOR]
    try:
        limit = bounded_query(request, "limit", 100, 1, MAX_DEAD_LETTERS_LISTED)
        before = bounded_query(request, "before", None, 1, 1 << 62)
        since_ms, until_ms = moment_in_query(request, "since"), moment_in_query(request, "until")
        query = search_in_query(request)
    except ValueError as error:
        return problem(400, str(error))
    try:
        if query is None:
            return answer(letters_listed(await distributor.dead_letters(limit, before, since_ms, until_ms)))
        found = await distributor.search_dead_letters(query, since_ms, until_ms)
        if request.query.get("order") == "relevance":
            letters = await distributor.letters([*islice(found.scores, limit)])
        else:
            letters = await distributor.dead_letters(limit, before, since_ms, until_ms, among=found.scores)
    except (QuerySyntaxError, QueryTooLarge) as error:
        return problem(400, f"q cannot be read: {error}")
    except SpoolError as error:
        return problem(503, str(error), headers=retry_after(1))
    told = {"Penstock-Found": str(len(found.scores)), "Penstock-Searched": str(found.searched)}
    return answer(letters_listed(letters, found.scores), headers=told)


def letters_listed(letters: Iterable[LetterRow], scores: Mapping[int, float] | None = None) -> list[object]:
    """Dead letters as they are answered; with the score of each when they were searched for."""
    return [
        {
            "seq": seq,
            "packet": msgspec.Raw(body[:-1] + b',"retry_count":%d}' % (failures - 1)),
            "final_error": error,
            "failed_at": timestamp(failed_at_ms / 1000),
            **({} if scores is None else {"score": round(scores[seq], 4)}),
        }
        for seq, body, failures, error, failed_at_ms in letters
    ]


def search_in_query(request: web.Request) -> str | None:
    """What is searched for; None when nothing is, or only white space."""
    query, order = request.query.get("q"), request.query.get("order", "time")
    if order not in ("time", "relevance"):
        raise ValueError(f"order must be time or relevance, got {order[:40]!r}")
    if query is None or not query.strip():
        if order == "relevance":
            raise ValueError("order=relevance needs a query: q must not be empty")
        return None
    if order == "relevance" and "before" in request.query:
        raise ValueError("before goes with order=time only; raise limit to see more of the best")
    if len(query) > MAX_QUERY:
        raise ValueError(f"q must have at most {MAX_QUERY} characters, got {len(query)}")
    return query


def bounded_query(request: web.Request, name: str, default: T, low: int, high: int) -> int | T:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and low <= int(text) <= high):
        raise ValueError(f"{name} must be a whole number, {low} to {high}, got {text[:40]!r}")
    return int(text)


def moment_in_query(request: web.Request, name: str) -> int | None:
    """A time as unix milliseconds, which it may be given as, too; None when it is not given."""
    text = request.query.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= MAX_MS_DIGITS:
        return int(text)
    with_sign = re.sub(r" (?=[0-9]{2}:[0-9]{2}\Z)", "+", text)  # the + of an offset, read as a space in a URL
    if re.match(RFC_3339, with_sign):
        with suppress(ValueError):  # such as the 30th of February
            moment = datetime.fromisoformat(with_sign.upper())
            return (moment - EPOCH) // timedelta(milliseconds=1)
    raise ValueError(
        f"{name} must be a time as in RFC 3339, such as 2025-01-25T20:30:45Z, or unix milliseconds,"
        f" got {text[:40]!r}"
    )


# The page

PAGE = files("penstock.services.distributor").joinpath("page.html").read_bytes()
PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page itself carries the rest of its policy
    "X-Content-Type-Options": "nosniff",
}


async def show_page(request: web.Request) -> web.Response:
    return web.Response(body=PAGE, headers=PAGE_HEADERS)


# Words


def timestamp(unix: float | None = None) -> str:
    """RFC 3339 in UTC, to the second; now when no time is given."""
    moment = datetime.now(UTC) if unix is None else datetime.fromtimestamp(unix, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def in_go_style(seconds: float) -> str:
    """A duration as the reference prints it: 5m23.891s."""
    hours, rest = divmod(round(seconds, 3), 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{text}"
    return f"{minutes:.0f}m{text}" if minutes else text
