"""A run with the load engine: only figures, no rows, and far more requests a second."""

import asyncio
from collections.abc import AsyncIterable, Iterable

from penstock.errors import InvalidValue
from penstock.probing.load import Load, LoadFigures
from penstock.probing.request import Request
from penstock.probing.resolver import Address, NameNotResolved, SystemResolver, literal
from penstock.services.pinger.figures import Figures
from penstock.services.pinger.lag import Lag
from penstock.services.pinger.model import Target
from penstock.services.pinger.probe import Prepared
from penstock.services.pinger.schedule import collected
from penstock.services.pinger.settings import Settings, TlsSettings
from penstock.services.pinger.summary import Recorder, RunSummary

__all__ = ["NoLoad", "load_all"]

LOOK_EVERY = 0.05

FAILURE_WORDS = {
    "connect": "connection refused or not made",
    "reset": "connection reset",
    "closed": "connection closed without an answer",
    "protocol": "not a valid HTTP answer",
}


class NoLoad(InvalidValue):
    """The load engine cannot do what is asked."""


async def load_all(
    targets: Iterable[Target] | AsyncIterable[Target],
    settings: Settings,
    recorder: Recorder,
    *,
    threads: int = 1,
) -> RunSummary:
    """Sends requests to the targets in turn, and gives the recorder the figures twenty times a second.

    A redirect is an answer, and nothing is tried again but what a server has not seen, for it had closed the
    kept connection. Without a rate the loop is closed and latencies are service times.

    Args:
        targets: all with plain http URLs.
        settings: `concurrency` is the number of connections; without `count` and `duration` it has no end.
        recorder: is given the figures.
        threads: that share the work.

    Raises:
        NoLoad: the load engine cannot do what is asked.
    """
    check_settings(settings)
    kept = await collected(targets)
    if not kept:
        return recorder.summary()
    requests = [request_of(target, settings) for target in kept]
    load = Load(
        requests,
        connections=settings.concurrency,
        threads=threads,
        rate=settings.rate,
        duration=settings.duration,
        count=None if settings.count is None else settings.count * len(requests),
        timeout=settings.timeout,
        keep_alive=settings.keep_alive,
        addresses=await addresses_of(requests, settings),
    )
    recorder.opened("load")
    async with load:
        watching = asyncio.create_task(watch(load, recorder, settings))
        try:
            await load.finished()
        finally:
            load.stop()
            watching.cancel()
            await asyncio.wait({watching})
            take(await load.finished(), recorder, settings)
    return recorder.summary()


def check_settings(settings: Settings) -> None:
    """Refuses what the load engine does not do, by the names of the settings."""
    usual = Settings()
    for name in ("retries", "interval", "gap", "per_host", "all_ips", "source", "proxy"):
        if getattr(settings, name) != getattr(usual, name):
            raise NoLoad(f"{name} must not be given with engine load, got {getattr(settings, name)!r}")
    if settings.tls != TlsSettings():
        raise NoLoad("tls must not be given with engine load: it speaks plain http")
    for assertion in settings.assertions:
        if not assertion.of_run:
            raise NoLoad(f"assertions must be on the run with engine load, got {assertion.text!r}")


def request_of(target: Target, settings: Settings) -> Request:
    prepared = Prepared(target, settings)
    if prepared.request is None:
        raise NoLoad(f"targets must be such that can be pinged, got {prepared.shown!r}: {prepared.fault}")
    return prepared.request


async def addresses_of(requests: list[Request], settings: Settings) -> dict[str, Address]:
    """Where to connect to for each host that is a name: its first address."""
    resolver, found = SystemResolver(), dict[str, Address]()
    try:
        for request in requests:
            if request.host not in found and literal(request.host, request.port) is None:
                found[request.host] = (await resolver.resolve(request.host, request.port, settings.family))[0]
    except NameNotResolved as error:
        raise NoLoad(str(error)) from None
    finally:
        resolver.close()
    return found


async def watch(load: Load, recorder: Recorder, settings: Settings) -> None:
    while True:
        take(load.snapshot(), recorder, settings)
        await asyncio.sleep(LOOK_EVERY)


def take(figures: LoadFigures, recorder: Recorder, settings: Settings) -> None:
    """Gives the recorder what the load has counted until now."""
    recorder.overall = overall_of(figures, settings)
    recorder.lag = Lag(figures.lag.percentile(0.99) or 0, figures.lag.max or 0, figures.lag.count)
    recorder.user_clock = figures.answered - figures.stamped
    recorder.starts, recorder.first_start = figures.started, figures.began_at
    recorder.last_start = figures.now
    recorder.in_flight.see(recorder.clock(), figures.in_flight)


def overall_of(figures: LoadFigures, settings: Settings) -> Figures:
    overall = Figures()
    overall.pings = figures.answered + figures.failed
    overall.attempts = figures.sent
    overall.size = figures.body_bytes
    overall.statuses.update(figures.statuses)
    words = {**FAILURE_WORDS, "timeout": f"timed out after {settings.timeout:g} s"}
    for failure, count in figures.failures.items():
        if count:
            overall.errors[words.get(failure, failure)] += count
    bad = sum(count for status, count in figures.statuses.items() if status >= 400)
    overall.failed = figures.failed + bad
    total = figures.total if settings.rate is not None else figures.service
    overall.take_times(total, figures.service, figures.service)
    return overall
