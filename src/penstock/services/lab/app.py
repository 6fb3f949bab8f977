"""The life of the simulated server, from start to SIGTERM."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from penstock.clock import NANOSECONDS, monotonic_ns
from penstock.services.lab.config import Behaviour, Config
from penstock.services.lab.connection import Connection
from penstock.services.lab.site import Site
from penstock.services.listening import CannotListen
from penstock.services.stop_signal import stop_signal
from penstock.timer import Timer

__all__ = ["running", "serve"]

BACKLOG = 4_096
SWEEPS = 10  # for each idle timeout
DRAIN_LOOK = NANOSECONDS // 50


@asynccontextmanager
async def running(behaviour: Behaviour, config: Config) -> AsyncIterator[tuple[str, Site]]:
    """A server that listens until the context ends; gives its URL and what answers there.

    At the end answers under way get the drain timeout.

    Raises:
        CannotListen: the address cannot be had.
    """
    with Timer() as timer:
        site = Site(behaviour, config, timer, monotonic_ns)
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: Connection(site), config.host, config.port, backlog=BACKLOG
            )
        except OSError as error:
            raise CannotListen.because(error, config.host, config.port) from None
        sweeper = asyncio.create_task(sweep(site, timer, config.idle_timeout))
        try:
            yield url_of(server.sockets[0].getsockname()), site
        finally:
            server.close()
            await drain(site, timer, config.drain_timeout)
            sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await sweeper
            site.abort_all()
            await server.wait_closed()


async def serve(
    behaviour: Behaviour, config: Config, announce: Callable[[str], None] = lambda url: None
) -> None:
    """Serves until SIGTERM or SIGINT. Must run in the main thread.

    Args:
        behaviour: what becomes of requests.
        config: where it listens, and its bounds.
        announce: told the URL once it accepts connections.

    Raises:
        CannotListen: the address cannot be had.
    """
    told = stop_signal()
    async with running(behaviour, config) as (url, _):
        announce(url)
        await told


async def sweep(site: Site, timer: Timer, idle_timeout: float) -> None:
    while True:
        await timer.sleep_until(monotonic_ns() + round(idle_timeout / SWEEPS * NANOSECONDS))
        site.sweep()


async def drain(site: Site, timer: Timer, timeout: float) -> None:  # noqa: ASYNC109 - an upper bound, it does not raise
    """Waits until no request is in progress, so long at most."""
    site.is_draining = True
    end = monotonic_ns() + round(timeout * NANOSECONDS)
    while site.busy and monotonic_ns() < end:
        await timer.sleep_until(monotonic_ns() + DRAIN_LOOK)


def url_of(address: tuple[str, int]) -> str:
    """The URL of a socket's address, IPv4 or IPv6."""
    host, port = address[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
