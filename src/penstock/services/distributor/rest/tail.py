"""Watching packets go by: server-sent events, which never slow a packet down.

Each event is one line of JSON. A watcher that does not keep up misses events and is told how many; nothing is
kept for it.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.distributor.live_tail import Tail, TailEvent, TailFilter
from penstock.services.distributor.rest.answers import moment_told
from penstock.services.problem_details import problem

__all__ = ["WATCHERS", "end_watching", "watch_packets"]

WATCHERS = web.AppKey("watchers", set[asyncio.Task[Any]])
MAX_WATCHERS = 16
MAX_FILTERS = 100
STALLED = 60.0
"""Seconds in which a watcher must take something; then another may have its place."""
HEARTBEAT = 15.0
"""Seconds without an event after which a comment shows that the connection lives."""
KINDS = ("accepted", "delivered", "retry", "dead", "replayed")
LISTS = ("what", "analyzer", "group", "level", "source")


async def watch_packets(request: web.Request) -> web.StreamResponse:
    """Events of packets as they happen.

    `?what=` (accepted, delivered, retry, dead, replayed), `?analyzer=`, `?group=`, `?level=` and `?source=`
    leave out others, each as often as wanted; `?sample=` is the share that is shown.
    """
    try:
        wanted = filter_in_query(request)
    except ValueError as error:
        return problem(400, str(error))
    watchers = request.app[WATCHERS]
    if len(watchers) >= MAX_WATCHERS:
        return problem(503, f"{MAX_WATCHERS} watch already, the most that may", headers={"Retry-After": "10"})
    task = asyncio.current_task()
    assert task is not None
    watchers.add(task)
    try:
        with request.app[DISTRIBUTOR].subscribe(wanted) as tail:
            return await stream(request, tail)
    finally:
        watchers.discard(task)


def filter_in_query(request: web.Request) -> TailFilter:
    """What is wanted.

    Raises:
        ValueError: it is not clear.
    """
    lists = {name: frozenset(request.query.getall(name, ())) for name in LISTS}
    if unknown := lists["what"] - set(KINDS):
        raise ValueError(f"what must be among {', '.join(KINDS)}, got {sorted(unknown)[0][:40]!r}")
    if sum(map(len, lists.values())) > MAX_FILTERS:
        raise ValueError(f"there must be at most {MAX_FILTERS} filters")
    lists["level"] = frozenset(map(str.upper, lists["level"]))
    text = request.query.get("sample", "1")
    try:
        sample = float(text)
    except ValueError:
        sample = 0.0
    if not 0 < sample <= 1:
        raise ValueError(f"sample must be a share > 0 and <= 1, got {text[:40]!r}")
    return TailFilter(**lists)._replace(sample=sample)  # type: ignore[arg-type]


async def stream(request: web.Request, tail: Tail) -> web.StreamResponse:
    """Sends events until the client has gone or the service stops."""
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(b": watching\n\n")
    try:
        async for lines in lines_of(tail):
            async with asyncio.timeout(STALLED):
                await response.write(lines)
    except ConnectionError:  # the watcher has gone
        pass
    except TimeoutError:  # it is there, and reads nothing
        if request.transport is not None:
            request.transport.abort()
    return response


async def lines_of(tail: Tail) -> AsyncIterator[bytes]:
    """What is sent: all events that wait, how many were missed, or a sign of life when there was nothing."""
    missed = 0
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT):
                events = await tail.some()
        except TimeoutError:
            yield b":\n\n"
            continue
        if not events:  # the distributor has ended it
            return
        lines = list(map(event_told, events))
        if tail.dropped != missed:
            lines.insert(0, b'event: missed\ndata: {"missed":%d}\n\n' % (tail.dropped - missed))
            missed = tail.dropped
        yield b"".join(lines)


def event_told(event: TailEvent) -> bytes:
    """An event in the form of server-sent events; JSON has no line ends of its own."""
    members: dict[str, Any] = {
        "at": moment_told(event.at_ms),
        "what": event.what,
        "id": event.id,
        "group": event.group,
    }
    members |= {name: value for name in ("analyzer", "error", "attempt") if (value := getattr(event, name))}
    if event.body is not None:
        members["packet"] = msgspec.Raw(event.body)
    return b"event: %s\ndata: %s\n\n" % (event.what.encode(), msgspec.json.encode(members))


async def end_watching(app: web.Application) -> None:
    """Ends every stream, so that nobody waits for those who watch when the service stops."""
    for task in app[WATCHERS].copy():
        task.cancel()
