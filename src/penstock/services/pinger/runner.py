"""All targets: a schedule of turns, bounded fan-out to the probe, fan-in to the sinks."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing, nullcontext
from typing import TYPE_CHECKING, cast

from penstock.clock import Clock, monotonic_ns
from penstock.fanout import bounded
from penstock.probing import open_engine
from penstock.probing.engine import Engine, EngineName
from penstock.probing.resolver import SystemResolver
from penstock.services.pinger.addresses import PinnedResolver, every_address
from penstock.services.pinger.lag import LagGauge
from penstock.services.pinger.model import PingResult, Target
from penstock.services.pinger.probe import HostLimiter, Prober
from penstock.services.pinger.schedule import ALL, Share, Turn, schedule
from penstock.services.pinger.settings import Settings
from penstock.services.pinger.summary import Recorder, RunSummary
from penstock.timer import Timer

if TYPE_CHECKING:
    from penstock.ratelimit import RateLimiter

__all__ = ["Settings", "Sink", "ping_all", "recorder_of"]

Sink = Callable[[PingResult], None]
"""Takes one result after the other; may not block for long."""

MAX_NAME_LOOKUPS = 64
MAX_HOSTS = 100_000
KEPT_CONNECTIONS = 256


async def ping_all(
    targets: Iterable[Target] | AsyncIterable[Target],
    sinks: Sequence[Sink],
    settings: Settings | None = None,
    *,
    recorder: Recorder | None = None,
    share: Share = ALL,
    limiter: HostLimiter | None = None,
    engine: Engine | None = None,
    clock: Clock = monotonic_ns,
) -> RunSummary:
    """Pings every target and gives each result to every sink, in the order in which they finish.

    Targets are pulled as slots become free. When the task is cancelled, what is in progress gets no row.

    Args:
        targets: pulled one by one.
        sinks: called with each result, one after the other.
        settings: how to ping.
        recorder: watches the run, for who wants its summary also when it is cancelled; None for an own one.
        share: which turns of the run are this process's.
        limiter: keeps `per_host`; None for an own one.
        engine: makes the exchanges, and stays open; None for one that the settings ask for.
        clock: returns monotonic nanoseconds, the engine's.

    Raises:
        ValueError: the engine cannot do what is asked.
        Exception: whatever a sink or the source of the targets raises; the run ends there.
    """
    settings = settings or Settings()
    recorder = recorder or recorder_of(settings, clock)
    resolver = PinnedResolver(SystemResolver(min(settings.concurrency, MAX_NAME_LOOKUPS)))
    with ExitStack() as open_things:
        open_things.callback(resolver.close)
        timer = open_things.enter_context(Timer(clock=clock))
        async with opened(settings, resolver) if engine is None else nullcontext(engine) as engine:
            recorder.opened(engine.name, share.begin)
            limiter = host_limiter(settings) if limiter is None else limiter
            prober = Prober(engine, settings, limiter=limiter, clock=clock)
            if settings.all_ips:
                targets = every_address(targets, resolver, settings)
            gap = settings.gap_ns(engine.name)
            turns = schedule(
                targets,
                settings,
                timer,
                gap=gap,
                share=share,
                left_out=recorder.leave_out,
                clock=clock,
            )
            gauge = LagGauge(timer, clock)
            gauge.start()
            try:
                await _ping_turns(turns, prober, sinks, recorder, settings.concurrency)
            finally:
                gauge.stop()
                recorder.lag = gauge.lag
                recorder.retries_refused = prober.budget.refused
    return recorder.summary()


def recorder_of(settings: Settings, clock: Clock = monotonic_ns) -> Recorder:
    """What watches a run with these settings."""
    scheduled = settings.rate is not None or settings.interval is not None
    return Recorder("open" if scheduled else "closed", settings.rate, settings.assertions, clock)


def opened(settings: Settings, resolver: PinnedResolver) -> AbstractAsyncContextManager[Engine]:
    """The engine that the settings ask for."""
    return open_engine(
        cast("EngineName", settings.engine),
        resolver=resolver,
        connections=max(settings.concurrency, KEPT_CONNECTIONS) if settings.keep_alive else 0,
        ssl=settings.tls.context(),
        tls_facts=True,
        source=settings.source,
        family=settings.family,
        proxy=settings.proxy,
    )


def host_limiter(settings: Settings) -> "RateLimiter | None":
    """What keeps `per_host`; None where there is no such limit."""
    if settings.per_host is None:
        return None
    from penstock.ratelimit import RateLimiter

    return RateLimiter(settings.per_host, maxsize=MAX_HOSTS)


async def _ping_turns(
    turns: AsyncGenerator[Turn, None], prober: Prober, sinks: Sequence[Sink], recorder: Recorder, limit: int
) -> None:
    scheduled = recorder.load == "open"

    async def work(turn: Turn) -> PingResult:
        await prober.admit(turn.target)
        recorder.started()
        try:
            return await prober.ping(turn.target, turn.due if scheduled else None, turn.number)
        finally:
            recorder.ended()

    async with aclosing(turns), aclosing(bounded(work, turns, limit=limit)) as results:
        async for result in results:
            recorder.add(result)
            for sink in sinks:
                sink(result)
