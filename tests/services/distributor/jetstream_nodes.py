"""Nodes of a fleet in one process, on a real nats-server, and the cable between a node and the server."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.jetstream.opening import shared_distributor
from ports import free_port
from services.distributor.fakes import REFERENCE, FakeAnalyzers, config_of

PATIENCE = 30


@asynccontextmanager
async def node(folder, spool, name="n1", analyzers=None, config=None, **settings):
    """A started distributor on a shared spool."""
    defaults = {
        "spool": spool,
        "node": name,
        "data_dir": str(folder / name),
        "spool_hold": 1,
        "max_pending_bytes": 2**26,
    }
    settings = defaults | settings
    config = config or config_of(settings.pop("weights", REFERENCE), **settings)
    async with shared_distributor(config, analyzers or FakeAnalyzers()) as distributor:
        yield distributor


@asynccontextmanager
async def nodes(folder, spool, names=("n1", "n2"), **settings):
    """Some of them, with the analyzers of all."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node(folder, spool, name, **settings)) for name in names]


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def quiet(*distributors):
    """Nothing waits any more, by what the server says to each of them."""
    for distributor in distributors:
        await until(lambda one=distributor: one.pending == 0)


def fleet_of(distributor):
    return figures_of(distributor)["fleet"]


async def balanced(distributor):
    """The fleet's figures once they add up."""
    await until(lambda: fleet_of(distributor)["conservation_error"] == 0)
    return fleet_of(distributor)


class Cable:
    """Leads to a server's port, and can be cut: then there is nobody at its own one.

    Attributes:
        port: where it is to be had, on 127.0.0.1.
    """

    def __init__(self, server_port):
        self._server_port = server_port
        self._ends = set()
        self._clients = set()
        self._tasks = set()
        self.port = free_port()

    async def __aenter__(self):
        await self.mend()
        return self

    async def __aexit__(self, *error):
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def mend(self):
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", self.port)

    def cut(self):
        self._server.close()
        for end in self._ends:
            end.transport.abort()

    def say(self, words):
        """Tells the clients something as if the server had."""
        for client in self._clients:
            client.write(words)

    async def _lead(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._ends.add(writer)
        self._clients.add(writer)
        there, here = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._ends.add(here)
        await asyncio.gather(carry(reader, here), carry(there, writer))
        self._ends -= {writer, here}
        self._clients.discard(writer)


async def carry(reader, writer):
    with suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
