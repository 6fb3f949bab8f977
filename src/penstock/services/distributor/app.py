"""Where the parts of the distributor meet: the application, and its life from start to SIGTERM."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from penstock.ratelimit import Quota, RateLimiter
from penstock.ratelimit.middleware.aiohttp import RateLimitMiddleware
from penstock.services.distributor.analyzer_client import HttpAnalyzerClient
from penstock.services.distributor.config import Config
from penstock.services.distributor.handlers import CLIENT_LIMITS, DISTRIBUTOR, add_routes
from penstock.services.distributor.simulated import start_reference_fleet, url_of
from penstock.services.distributor.spool import Spool
from penstock.services.distributor.state import Distributor
from penstock.services.listening import CannotListen
from penstock.services.problem_details import ProblemRunner, problems_for_http_errors
from penstock.services.stop_signal import stop_signal

__all__ = ["CannotListen", "create_app", "serve"]

log = logging.getLogger(__name__)

MAX_CLIENTS = 100_000
"""Clients whose requests are counted at a time."""
UNLIMITED = ("/livez", "/readyz", "/metrics")

SAME_SIGNAL = 1.0
"""Seconds within which a second signal is taken for an echo of the first."""


def create_app(config: Config) -> web.Application:
    """The distributor as an application that any aiohttp runner can serve.

    It starts with the application and drains when that shuts down.

    Args:
        config: the settings; without analyzers, four simulated ones are started beside it.
    """
    limits = client_limits(config)
    app = web.Application(
        middlewares=[problems_for_http_errors, *limits], client_max_size=config.max_body_bytes
    )
    app[CLIENT_LIMITS] = limits
    add_routes(app.router)

    async def run_distributor(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            settings = config
            if not settings.analyzers:
                runners, analyzers = await start_reference_fleet(config.simulation)
                for runner in runners:
                    stack.push_async_callback(runner.cleanup)
                settings = msgspec.structs.replace(config, analyzers=tuple(analyzers))
            client = await stack.enter_async_context(HttpAnalyzerClient(settings))
            spool = stack.enter_context(Spool(Path(config.data_dir), config.durability))
            app[DISTRIBUTOR] = distributor = Distributor(settings, spool, client)
            stack.push_async_callback(distributor.aclose)
            await distributor.start()
            yield

    app.cleanup_ctx.append(run_distributor)
    return app


def client_limits(config: Config) -> list[RateLimitMiddleware]:
    """The limit of every client's requests, or nothing when there is none."""
    rate = config.client_rate_limit
    if rate is None:
        return []
    burst = config.client_burst or math.ceil(rate)
    limiter = RateLimiter(Quota(1, 1 / rate, burst=burst), maxsize=MAX_CLIENTS)
    return [RateLimitMiddleware(limiter, exempt=UNLIMITED, trusted_proxies=config.trusted_proxies)]


async def serve(
    config: Config, announce: Callable[[str, Distributor], None] = lambda url, distributor: None
) -> None:
    """Serves until SIGTERM or SIGINT: then refuses new packets, lets deliveries finish, stores, and returns.

    A second signal ends the waiting at once. Must run in the main thread.

    Args:
        config: the settings.
        announce: told the URL and the distributor once it accepts packets.

    Raises:
        CannotListen: the address cannot be had.
        SpoolError: the data folder cannot be used.
    """
    app = create_app(config)
    runner = ProblemRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen.because(error, config.host, config.port) from None
        distributor = app[DISTRIBUTOR]
        announce(url_of(runner.addresses[0]), distributor)
        await until_told_to_stop(distributor)
        log.info("draining: deliveries under way get %g s", config.drain_timeout)
        await or_second_signal(distributor.drain())
    finally:
        await runner.cleanup()
    log.info("stopped; %d packets wait for the next start", distributor.pending)


async def until_told_to_stop(distributor: Distributor) -> None:
    """Returns at the first signal; raises the error of a task without which the service cannot go on."""
    reasons: list[asyncio.Future[Any]] = [stop_signal(), distributor.failed]
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
