"""Where the parts of the watch meet: the application, and its life from start to SIGTERM."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any

from aiohttp import web

from penstock.probing import Engine, open_engine
from penstock.services.listening import CannotListen
from penstock.services.pinger.assertions import parse_assertion
from penstock.services.pinger.model import Target
from penstock.services.pinger.probe import Prober
from penstock.services.pinger.settings import Settings
from penstock.services.pinger.watch.alerts import AlertSender
from penstock.services.pinger.watch.config import Config
from penstock.services.pinger.watch.handlers import PARTS, Parts, add_routes
from penstock.services.pinger.watch.history import History, used_alone
from penstock.services.pinger.watch.recorder import Recorder
from penstock.services.pinger.watch.rounds import ping_in_rounds
from penstock.services.pinger.watch.state import Watch
from penstock.services.problem_details import ProblemRunner, problems_for_http_errors
from penstock.services.stop_signal import stop_signal

__all__ = ["create_app", "serve"]

log = logging.getLogger(__name__)

DAY = 86_400.0

FAILED = web.AppKey("failed", asyncio.Future[BaseException])
"""Done when a task has ended without which the watch cannot go on; its result is why."""


def create_app(config: Config, targets: Sequence[Target]) -> web.Application:
    """The watch as an application that any aiohttp runner can serve; it pings while that runs.

    Args:
        config: the settings.
        targets: what is watched.

    Raises:
        ValueError: two targets are called the same.
    """
    app = web.Application(middlewares=[problems_for_http_errors])
    add_routes(app.router)
    watch = Watch(targets, config.failures_to_fall, config.successes_to_rise)

    async def run_watch(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.enter_context(used_alone(config.history))
            history = await asyncio.to_thread(History, config.history)
            stack.callback(history.close)
            sender = AlertSender(history, config.webhooks, secret=config.webhook_secret)
            recorder = Recorder(
                watch,
                history,
                config.webhooks,
                wake_sender=sender.wake,
                keep=config.keep_days * DAY,
                max_pings=config.max_pings,
            )
            await recorder.restore()
            # Two engines: a probe need not wait while the targets' connections are in the making.
            prober, for_probes = [
                Prober(await stack.enter_async_context(opened(config)), settings)
                for settings in (ping_settings(config), probe_settings(config))
            ]
            probes = asyncio.Semaphore(config.max_probes)
            app[PARTS] = Parts(config, watch, history, recorder, sender, for_probes, probes, asyncio.Lock())
            app[FAILED] = asyncio.get_running_loop().create_future()
            for work in (
                recorder.run(),  # the last that is stopped: what the pings brought until then is written
                sender.run(),
                ping_in_rounds(targets, prober, recorder.add),
            ):
                task = asyncio.create_task(work)
                task.add_done_callback(lambda ended: note_failure(app[FAILED], ended))
                stack.push_async_callback(stopped, task)
            yield

    app.cleanup_ctx.append(run_watch)
    return app


def opened(config: Config) -> AbstractAsyncContextManager[Engine]:
    return open_engine(config.engine, tls_facts=True, connections=0)


def ping_settings(config: Config) -> Settings:
    """How the targets are pinged."""
    return Settings(
        concurrency=config.concurrency,
        timeout=config.timeout,
        retries=config.retries,
        engine=config.engine,
        interval=config.interval,
    )


def probe_settings(config: Config) -> Settings:
    """How /probe pings: as blackbox_exporter's http_2xx, and at once."""
    return Settings(
        timeout=config.timeout, engine=config.engine, assertions=(parse_assertion("status==2xx"),), gap=0.0
    )


def note_failure(failed: "asyncio.Future[BaseException]", task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and not failed.done():
        failed.set_result(task.exception() or RuntimeError("a task of the watch ended by itself"))


async def stopped(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):  # noted by note_failure
        await task


async def serve(
    config: Config, targets: Sequence[Target], announce: Callable[[str], None] = lambda url: None
) -> None:
    """Serves until SIGTERM or SIGINT, writes what there is, and returns. Must run in the main thread.

    Args:
        config: the settings.
        targets: what is watched.
        announce: told the URL once it is served.

    Raises:
        CannotListen: the address cannot be had.
        HistoryError: the history cannot be opened.
    """
    app = create_app(config, targets)
    runner = ProblemRunner(app, access_log=None, shutdown_timeout=1.0)
    try:
        await runner.setup()
        site = web.TCPSite(runner, config.host, config.port)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen.because(error, config.host, config.port) from None
        host, port = runner.addresses[0][:2]
        announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        reasons: list[asyncio.Future[Any]] = [stop_signal(), app[FAILED]]
        await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        if app[FAILED].done():
            raise app[FAILED].result()
    finally:
        await runner.cleanup()
    log.info("stopped")
