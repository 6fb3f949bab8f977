"""Where the parts of the distributor meet: the application, and its life from start to SIGTERM."""

import asyncio
import logging
import math
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from ipaddress import ip_address
from pathlib import Path
from time import time_ns
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from penstock.clock import Clock, monotonic_ns
from penstock.ratelimit import Quota, RateLimiter
from penstock.ratelimit.middleware.aiohttp import RateLimitMiddleware
from penstock.services.distributor.access import Keyring, require_key
from penstock.services.distributor.carrier import AnalyzerClient
from penstock.services.distributor.carriers import Carriers, check
from penstock.services.distributor.config import Config
from penstock.services.distributor.fast_path import FastPath
from penstock.services.distributor.handlers import add_routes
from penstock.services.distributor.inputs.dialect import refusal
from penstock.services.distributor.inputs.routes import add_inputs
from penstock.services.distributor.inputs.streams import StreamInputs
from penstock.services.distributor.jetstream.opening import shared_distributor
from penstock.services.distributor.keys import BODIES, CLIENT_LIMITS, DISTRIBUTOR, STREAMS
from penstock.services.distributor.request_body import BodyRoom
from penstock.services.distributor.rest.configuration import SETTINGS, SettingsInForce
from penstock.services.distributor.rest.tail import WATCHERS, end_watching
from penstock.services.distributor.shared_limits import SharedLimits
from penstock.services.distributor.simulated import start_reference_fleet, url_of
from penstock.services.distributor.spool import Spool
from penstock.services.distributor.state import Distributor, Parts
from penstock.services.distributor.tls import Certificates
from penstock.services.listening import CannotListen
from penstock.services.problem_details import ProblemRunner, problems_for_http_errors
from penstock.services.stop_signal import stop_signal

__all__ = ["CannotListen", "Listening", "create_app", "serve"]

log = logging.getLogger(__name__)

MAX_CLIENTS = 100_000
"""Clients whose requests are counted at a time."""
UNLIMITED = ("/livez", "/readyz", "/metrics")

LAST_ANSWERS = 1.0
"""Seconds that answers under way get at the end."""
SAME_SIGNAL = 1.0
"""Seconds within which a second signal is taken for an echo of the first."""


class Listening(NamedTuple):
    """A distributor that has started."""

    url: str
    """Where it answers over HTTP."""
    distributor: Distributor
    inputs: dict[str, str]
    """Where the inputs listen that are no HTTP, by the name of their setting."""


def create_app(
    config: Config,
    *,
    certificates: Certificates | None = None,
    settings: Callable[[], Config] | None = None,
    clock: Clock = monotonic_ns,
    wall: Clock = time_ns,
) -> web.Application:
    """The distributor as an application that any aiohttp runner can serve.

    It starts with the application and drains when that shuts down.

    Args:
        config: the settings; without analyzers, four simulated ones are started beside it.
        certificates: for the inputs that are not HTTP; a runner's own site needs their `context`, too.
        settings: reads the settings anew, for a reload.
        clock: nanoseconds, for everything that waits.
        wall: unix nanoseconds, for everything that is stored.

    Raises:
        CannotCarry: an analyzer cannot be reached from here: a file of it is missing, or a library.
    """
    for analyzer in config.analyzers:
        check(analyzer)
    limits = client_limits(config)
    keyring = Keyring(config.api_keys, config.max_packets, clock)
    app = web.Application(
        middlewares=[problems_for_http_errors, *limits, require_key(keyring, refusal)],
        client_max_size=config.max_body_bytes,
    )
    app[CLIENT_LIMITS] = limits
    app[BODIES] = BodyRoom(config.max_receiving_bytes)
    watchers: set[asyncio.Task[Any]] = set()
    app[WATCHERS] = watchers
    app[SETTINGS] = in_force = SettingsInForce(settings, keyring, certificates, watchers)
    app.on_shutdown.append(end_watching)
    add_routes(app.router)
    add_inputs(app)

    async def run_distributor(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            members = config.analyzers
            if not members:
                runners, analyzers = await start_reference_fleet(config.simulation)
                for runner in runners:
                    stack.push_async_callback(runner.cleanup)
                members = in_force.simulated = tuple(analyzers)
            with_members = msgspec.structs.replace(config, analyzers=members)
            client = await stack.enter_async_context(Carriers(with_members))
            limits = None
            if config.redis_url:
                limits = await stack.enter_async_context(SharedLimits(config, keyring.holder_of))
            opening = shared_distributor if config.spool else own_distributor
            distributor = await stack.enter_async_context(
                opening(with_members, client, clock=clock, wall=wall, limits=limits)
            )
            app[DISTRIBUTOR] = distributor
            app[STREAMS] = streams = streams_of(with_members, distributor, certificates, clock)
            stack.push_async_callback(streams.aclose)
            await start(streams)
            if certificates is not None:
                watching = asyncio.create_task(certificates.reload_for_ever(), name="certificates")
                stack.callback(watching.cancel)
            yield

    app.cleanup_ctx.append(run_distributor)
    return app


@asynccontextmanager
async def own_distributor(
    config: Config, client: AnalyzerClient, *, clock: Clock, wall: Clock, limits: SharedLimits | None
) -> AsyncIterator[Distributor]:
    """A started distributor on a spool of its own, while it is open."""
    with Spool(
        Path(config.data_dir),
        config.durability,
        segment_bytes=config.segment_bytes,
        keep_bytes=config.keep_bytes,
        dedupe_ids=config.dedupe_ids,
        wall=wall,
    ) as spool:
        parts = Parts(limits=limits)
        distributor = Distributor(config, spool, client, clock=clock, wall=wall, parts=parts)
        try:
            await distributor.start()
            yield distributor
        finally:
            await distributor.aclose()


def streams_of(
    config: Config, distributor: Distributor, certificates: Certificates | None, clock: Clock
) -> StreamInputs:
    """The inputs that are no HTTP."""
    folder = None if config.durability == "memory" else Path(config.data_dir)
    context = certificates.context if certificates else None
    return StreamInputs(config, distributor, folder=folder, ssl=context, clock=clock)


async def start(streams: StreamInputs) -> None:
    """Begins to listen.

    Raises:
        CannotListen: an address cannot be had.
    """
    try:
        await streams.start()
    except OSError as error:
        raise CannotListen(error.strerror or str(error)) from None


def client_limits(config: Config) -> list[RateLimitMiddleware]:
    """The limit of every client's requests, or nothing when there is none."""
    rate = config.client_rate_limit
    if rate is None:
        return []
    burst = config.client_burst or math.ceil(rate)
    limiter = RateLimiter(Quota(1, 1 / rate, burst=burst), maxsize=MAX_CLIENTS)
    return [RateLimitMiddleware(limiter, exempt=UNLIMITED, trusted_proxies=config.trusted_proxies)]


async def serve(
    config: Config,
    announce: Callable[[Listening], None] = lambda listening: None,
    settings: Callable[[], Config] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT: then refuses new packets, lets deliveries finish, stores, and returns.

    A second signal ends the waiting at once. SIGHUP reads settings and certificates anew. Must run in the
    main thread.

    Args:
        config: the settings.
        announce: told what there is once packets are accepted.
        settings: reads the settings anew, for a reload.

    Raises:
        BadCertificate: the files of TLS cannot be used.
        CannotCarry: those of an analyzer cannot.
        CannotListen: an address cannot be had.
        SpoolError: the data folder cannot be used.
    """
    warn_of_strangers(config)
    certificates = Certificates(config.tls) if config.tls else None
    app = create_app(config, certificates=certificates, settings=settings)
    runner = ProblemRunner(app, access_log=None, shutdown_timeout=LAST_ANSWERS)
    await runner.setup()
    try:
        distributor = app[DISTRIBUTOR]
        async with listening(runner, config, certificates) as url:
            told = stop_signal()
            announce(Listening(url, distributor, app[STREAMS].addresses()))
            with reloading_on_hangup(
                app
            ):  # while it drains, too: a hang-up that nobody handles ends a process
                await until_told_to_stop(told, distributor)
                log.info("draining: deliveries under way get %g s", config.drain_timeout)
                await or_second_signal(drain(app))
    finally:
        await runner.cleanup()
    log.info("stopped; %d packets wait for the next start", distributor.pending)


@asynccontextmanager
async def listening(
    runner: web.AppRunner, config: Config, certificates: Certificates | None
) -> AsyncIterator[str]:
    """Has the address while it is open; gives the URL that leads to it."""
    context = certificates.context if certificates else None
    app, aiohttp_server = runner.app, runner.server
    assert aiohttp_server is not None

    def is_open() -> bool:
        return not (app[CLIENT_LIMITS] or app[SETTINGS].has_keys)

    fast_path = FastPath(app[DISTRIBUTOR], aiohttp_server, app[BODIES], is_open)
    try:
        server = await fast_path.loop.create_server(
            fast_path, config.host, config.port, backlog=1024, ssl=context
        )
    except OSError as error:
        raise CannotListen.because(error, config.host, config.port) from None
    try:
        url = url_of(server.sockets[0].getsockname())
        yield url if context is None else url.replace("http:", "https:", 1)
    finally:
        server.close()
        await fast_path.aclose(LAST_ANSWERS)


def warn_of_strangers(config: Config) -> None:
    """Says so when anybody on the network may do everything."""
    if (
        not config.api_keys
        and not (config.tls and config.tls.client_ca_file)
        and not is_loopback(config.host)
    ):
        log.warning(
            "anybody who reaches %s may send packets and operate the service: set api_keys",
            config.host,
        )


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def reloading_on_hangup(app: web.Application) -> Iterator[None]:
    """While it is open, SIGHUP reads the settings and the certificates anew."""
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(app[SETTINGS].reload_or_complain(app[DISTRIBUTOR]), name="reload")
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def drain(app: web.Application) -> None:
    """Stores what the inputs have read, refuses the rest, and lets deliveries finish."""
    await app[STREAMS].aclose()
    await app[DISTRIBUTOR].drain()


async def until_told_to_stop(told: asyncio.Future[None], distributor: Distributor) -> None:
    """Returns when it is told to; raises the error of a task without which the service cannot go on."""
    reasons: list[asyncio.Future[Any]] = [told, distributor.failed]
    await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    if distributor.failed.done():
        raise distributor.failed.result()


async def or_second_signal(work: Coroutine[Any, Any, None]) -> None:
    """Waits for `work` to end, or for a person to lose patience.

    A signal to a process group can arrive twice at once, by the kernel and by make: only what comes
    later is a second one.
    """
    task = asyncio.create_task(work)
    await asyncio.wait([task], timeout=SAME_SIGNAL)
    ends: list[asyncio.Future[None]] = [task, stop_signal()]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
