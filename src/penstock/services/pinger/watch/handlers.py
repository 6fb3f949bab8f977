"""The API and the page of the watch: request -> state -> answer, one function a route."""

import asyncio
import re
from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import msgspec
from aiohttp import web

from penstock.observability.exposition import CONTENT_TYPE, Exposition
from penstock.services.pinger.durations import seconds_of
from penstock.services.pinger.model import PingResult, Target
from penstock.services.pinger.probe import Prober
from penstock.services.pinger.prometheus import labels_of, probe_figures
from penstock.services.pinger.watch.alerts import AlertSender
from penstock.services.pinger.watch.config import Config
from penstock.services.pinger.watch.history import History, HistoryError, Slot
from penstock.services.pinger.watch.recorder import Recorder
from penstock.services.pinger.watch.state import Watch, Watched, public_url, title
from penstock.services.problem_details import problem
from penstock.services.row_files import rfc3339

__all__ = ["PARTS", "Parts", "add_routes"]

MOST_TARGETS = 1_000
"""Of one answer."""

AT_ONCE = 25
"""Targets that are told before pings have their turn again: what holds them up is in their latency."""

MOST_SLOTS = 2_000

SCRAPE_MARGIN = 0.5
"""Seconds of Prometheus' own timeout that are left for the way of the answer."""

MODULES = {"http_2xx": "GET", "http_post_2xx": "POST"}
"""Those of blackbox_exporter's example configuration -> their method."""

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Parts:
    """What handlers work with.

    Attributes:
        config: the settings.
        watch: what is known of the targets.
        history: what is kept.
        recorder: between them.
        sender: of the alerts.
        prober: makes the pings of /probe.
        probes: its slots.
        asking: held by who asks the history, so that the others leave the threads to what is to be written.
    """

    config: Config
    watch: Watch
    history: History
    recorder: Recorder
    sender: AlertSender
    prober: Prober
    probes: asyncio.Semaphore
    asking: asyncio.Lock


PARTS = web.AppKey("parts", Parts)


def add_routes(router: web.UrlDispatcher) -> None:
    """Every path that the service answers."""
    router.add_get("/", show_page)
    router.add_get("/api/v1/targets", list_targets)
    router.add_get("/api/v1/targets/{name:[^/]+}/history", tell_history)  # braces too
    router.add_get("/probe", probe)
    router.add_get("/metrics", tell_metrics)
    router.add_get("/livez", tell_alive)
    router.add_get("/readyz", tell_ready)


def answer(body: object, status: int = 200) -> web.Response:
    """JSON with a line end, so that curl leaves the prompt on a line of its own."""
    return web.Response(body=encode(body) + b"\n", status=status, content_type="application/json")


class BadQuery(Exception):
    """A parameter of the query is not as it must be; becomes a problem, and nobody else sees it."""


# The targets


async def list_targets(request: web.Request) -> web.Response:
    """The targets, those that are down first."""
    watch = request.app[PARTS].watch
    try:
        limit = whole(request, "limit", 200, 1, MOST_TARGETS)
        offset = whole(request, "offset", 0, 0, 10**9)
    except BadQuery as why:
        return problem(400, str(why))
    now = datetime.now(UTC)
    ordered = sorted(watch, key=lambda watched: watched.condition != "down")
    targets = []
    for place, watched in enumerate(ordered[offset : offset + limit], 1):
        targets.append(members_of(watched, now.timestamp()))
        if place % AT_ONCE == 0:
            await asyncio.sleep(0)
    return answer(
        {
            "at": rfc3339(now),
            "total": len(watch),
            "down": watch.down,
            "targets": targets,
        }
    )


def members_of(watched: Watched, now: float) -> dict[str, Any]:
    target, since = watched.target, watched.since
    return {
        "name": title(target),
        "url": public_url(target.url),
        "labels": dict(target.labels),
        "condition": watched.condition,
        "since": rfc3339(since) if since else None,
        "uptime_24h": watched.uptime(now),
        "good": watched.good,
        "failed": watched.failed,
        "missed": watched.missed,
        "last": ping_members(watched.last) if watched.last else None,
        "bars": [[bar.start, bar.good, bar.failed, in_ms(bar.slowest * 1e9)] for bar in watched.bars],
        "points": [
            [round(point.at, 3), None if point.seconds is None else in_ms(point.seconds * 1e9)]
            for point in watched.points
        ],
    }


def ping_members(ping: PingResult) -> dict[str, Any]:
    last = ping.last
    phases = {
        phase: in_ms(sum(getattr(hop.exchange.phases, phase) for hop in ping.hops))
        for phase in ("dns", "connect", "tls", "wait", "transfer")
    }
    return {
        "at": ping.rfc3339,
        "ok": ping.ok,
        "state": ping.state,
        "status": ping.status,
        "latency_ms": round(ping.latency_ms, 3),
        "total_ms": in_ms(ping.total),
        "phases_ms": phases,
        "attempts": ping.attempts,
        "why": ping.why,
        "address": last.address if last else "",
        "clock": last.clock if last else "user",
        "certificate_ends": last.tls.not_after if last and last.tls else None,
    }


async def tell_history(request: web.Request) -> web.Response:
    """How a target did, as a whole and in steps."""
    parts, name = request.app[PARTS], request.match_info["name"]
    if parts.watch.get(name) is None:
        return problem(404, f"no target is called {name[:200]!r}; GET /api/v1/targets lists them")
    now = datetime.now(UTC).timestamp()
    try:
        until = moment(request, "until", now, now)
        since = moment(request, "since", until - 86_400, now)
        if not since < until:
            raise BadQuery("since must be before until")
        step = seconds(request, "step", max((until - since) / 100, 1.0))
        if (until - since) / step > MOST_SLOTS:
            raise BadQuery(f"step must be such that there are at most {MOST_SLOTS} steps")
    except BadQuery as why:
        return problem(400, str(why))
    try:
        async with parts.asking:
            whole_period, slots = await asyncio.to_thread(parts.history.slots, name, since, until, step)
    except HistoryError as error:
        return problem(503, str(error))
    return answer(
        {
            "target": name,
            "since": rfc3339(datetime.fromtimestamp(since, UTC)),
            "until": rfc3339(datetime.fromtimestamp(until, UTC)),
            "step": step,
            **slot_members(whole_period),
            "steps": [
                {"start": rfc3339(datetime.fromtimestamp(slot.start, UTC)), **slot_members(slot)}
                for slot in slots
            ],
        }
    )


def slot_members(slot: Slot) -> dict[str, Any]:
    return {
        "good": slot.good,
        "failed": slot.failed,
        "uptime": slot.uptime,
        "p50_ms": in_ms(slot.p50),
        "p90_ms": in_ms(slot.p90),
        "p99_ms": in_ms(slot.p99),
        "max_ms": in_ms(slot.slowest),
    }


def in_ms(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / 1e6, 3)


# For Prometheus


async def probe(request: web.Request) -> web.Response:
    """Pings what the query names, and answers with the figures of that ping."""
    parts = request.app[PARTS]
    url, module = request.query.get("target", ""), request.query.get("module", "http_2xx")
    if parts.config.probe == "off":
        return problem(403, "probes are switched off; start the watch with --probe targets or --probe any")
    if not url:
        return problem(400, "the query must hold a target, as /probe?target=https://example.com/")
    if module not in MODULES:
        return problem(400, f"module must be one of {', '.join(MODULES)}, got {module[:100]!r}")
    target = probed(parts, url, MODULES[module])
    if target is None:
        return problem(403, "only targets of the watch may be probed; --probe any allows every URL")
    if parts.probes.locked():
        return problem(503, f"{parts.config.max_probes} probes are in progress", headers={"Retry-After": "1"})
    limit = scrape_timeout(request)
    timeout = min(target.timeout or parts.config.timeout, limit)
    async with parts.probes:
        prober = Prober(parts.prober.engine, parts.prober.settings)  # one that remembers nothing it is asked
        ping = await prober.ping(replace(target, timeout=timeout))
    return exposed(probe_figures([({}, ping)]))


def probed(parts: Parts, url: str, method: str) -> Target | None:
    """The target for a URL: one of the watch, with all that belongs to it; else as it comes, if allowed."""
    for watched in parts.watch:
        if url in (watched.target.url, watched.target.name):
            return watched.target
    if parts.config.probe != "any":
        return None
    return Target(url if "://" in url else f"http://{url}", method=method)  # as blackbox_exporter reads it


def scrape_timeout(request: web.Request) -> float:
    """Seconds that Prometheus waits for this answer, less the margin."""
    text = request.headers.get("X-Prometheus-Scrape-Timeout-Seconds", "")
    if not re.fullmatch(r"\d{1,6}(\.\d{0,9})?", text, re.ASCII):
        return 3600.0
    return max(float(text) - SCRAPE_MARGIN, 0.05)


async def tell_metrics(request: web.Request) -> web.Response:
    """The last ping of every target, and what the watch does."""
    # In a thread: thousands of targets take long to write down, and pings must not wait for that.
    return await asyncio.to_thread(metrics, request.app[PARTS])


def metrics(parts: Parts) -> web.Response:
    watch = parts.watch
    figures = probe_figures((labels_of(one.last), one.last) for one in watch if one.last is not None)
    named = [({"target": title(one.target)}, one) for one in watch]
    figures.gauge(
        "penstock_ping_up",
        "1 for a target that is held for up, 0 for down; none for one that waits.",
        ((labels, one.condition == "up") for labels, one in named if one.condition != "waiting"),
    )
    figures.counter("penstock_ping_good_total", "Good pings.", ((at, one.good) for at, one in named))
    figures.counter("penstock_ping_failed_total", "Failed pings.", ((at, one.failed) for at, one in named))
    figures.counter(
        "penstock_ping_missed_total", "Pings that were left out.", ((at, one.missed) for at, one in named)
    )
    figures.counter("penstock_ping_lost_total", "Pings lost to the history.", [({}, parts.recorder.lost)])
    add_alerts(figures, parts)
    return exposed(figures)


def add_alerts(figures: Exposition, parts: Parts) -> None:
    sender = parts.sender
    figures.counter("penstock_alerts_sent_total", "Alerts that were taken.", [({}, sender.sent)])
    figures.counter("penstock_alerts_failed_total", "Attempts that were not.", [({}, sender.failed)])
    dropped = sender.given_up + parts.history.dropped_alerts
    figures.counter("penstock_alerts_dropped_total", "Alerts too old, or too many.", [({}, dropped)])


def exposed(figures: Exposition) -> web.Response:
    return web.Response(body=str(figures).encode(), headers={"Content-Type": CONTENT_TYPE})


# The service itself


async def tell_alive(request: web.Request) -> web.Response:
    return answer({"status": "alive"})


async def tell_ready(request: web.Request) -> web.Response:
    """Not ready while the history cannot be written: pings go on, and would be lost."""
    trouble = request.app[PARTS].recorder.trouble
    if trouble:
        return problem(503, f"pings are not kept: {trouble}")
    return answer({"status": "ready"})


async def show_page(request: web.Request) -> web.Response:
    text, policy = page()
    return web.Response(
        text=text,
        content_type="text/html",
        headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"},
    )


@cache
def page() -> tuple[str, str]:
    """The page, and what it may do: run its own style and script, and ask this service."""
    text = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    style, script = (
        b64encode(sha256(match[1].encode()).digest()).decode()
        for match in (re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "script"))
        if match
    )
    return text, (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self';"
        f" img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'"
    )


# Queries


def whole(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not least <= int(text) <= most:
        raise BadQuery(f"{name} must be a whole number from {least} to {most}, got {text[:40]!r}")
    return int(text)


def seconds(request: web.Request, name: str, default: float) -> float:
    text = request.query.get(name)
    if text is None:
        return default
    found = seconds_of(text)
    if found is None or not 1 <= found <= 31_536_000:
        raise BadQuery(f"{name} must be a duration of 1s to a year, such as 5m, got {text[:40]!r}")
    return found


def moment(request: web.Request, name: str, default: float, now: float) -> float:
    """Seconds since 1970 of a moment: RFC 3339, seconds since 1970, or a duration ago."""
    text = request.query.get(name)
    if text is None:
        return default
    ago = seconds_of(text)
    if ago is not None:
        return max(now - ago, 0.0)
    if re.fullmatch(r"\d{1,11}(\.\d{0,9})?", text, re.ASCII):
        return min(float(text), MOST_MOMENT)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadQuery(
            f"{name} must be RFC 3339 with its zone, seconds since 1970, or a duration ago such as 24h,"
            f" got {text[:40]!r}"
        )
    return min(max(found.timestamp(), 0.0), MOST_MOMENT)


MOST_MOMENT = 253_402_300_799.0
"""The end of the year 9999."""
