"""Every engine, both twins of each, on both event loops."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from penstock.probing.aiohttp_engine import AiohttpEngine
from penstock.probing.engine import EngineSettings
from penstock.probing.pooled_engine import PooledEngine
from penstock.probing.resolver import SystemResolver
from twins import load

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
KINDS = ("aiohttp", "protocol-c", "protocol-py", "socket-c", "socket-py")
POOLED = KINDS[1:]


@asynccontextmanager
async def opened(kind: str, **settings: Any):
    """An engine with these EngineSettings, and the system's resolver unless there is another."""
    own = SystemResolver(threads=2)
    settings = EngineSettings(**({"resolver": own} | settings))
    engine = made(kind, settings)
    try:
        yield engine
    finally:
        await engine.aclose()
        own.close()


def made(kind: str, settings: EngineSettings, **clocks: Any) -> Any:
    name, _, impl = kind.partition("-")
    if name == "aiohttp":
        return AiohttpEngine(settings)
    module = {"protocol": "penstock.probing.transports", "socket": "penstock.probing.sockets"}[name]
    return PooledEngine(name, settings, load(module, impl)(settings, **clocks))


def run_on(loop: str, main: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(60):  # a test that hangs fails
            return await main

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(bounded())


def engine_kinds(*kinds: str) -> Callable[..., Any]:
    """A fixture that is a function: it runs `main(kind)` on one of the loops, for each kind and loop."""

    @pytest.fixture(params=[(kind, loop) for kind in kinds for loop in LOOPS], ids="-".join, name="on_engine")
    def on_engine(request):
        kind, loop = request.param
        return lambda main: run_on(loop, main(kind))

    return on_engine
