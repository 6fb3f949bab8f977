"""The whole service on a loopback port, in the test's own process, with analyzers that keep the books."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from time import time_ns
from types import SimpleNamespace

import aiohttp
import msgspec
from aiohttp import web

from penstock.services.distributor.app import create_app
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.problem_details import ProblemRunner
from services.distributor.processes import Books, analyzers

WEIGHTS = {"a1": 0.4, "a2": 0.3, "a3": 0.2, "a4": 0.1}
JSON_TYPE = {"Content-Type": "application/json"}


class Wall:
    """A wall clock that tests set."""

    now_ms = 1_737_837_045_000  # 2025-01-25T20:30:45Z

    def __call__(self):
        return self.now_ms * 1_000_000


class Service:
    """A running distributor, a client session and raw connections to it."""

    def __init__(self, app, session, url, books):
        self.app, self.distributor = app, app[DISTRIBUTOR]
        self.session, self.url, self.books = session, url, books

    async def get(self, path, status=200, **options):
        async with self.session.get(self.url + path, **options) as answer:
            return checked(answer, status, await answer.read())

    async def post(self, path, body, status, headers=None, **options):
        headers = JSON_TYPE if headers is None else headers
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(self.url + path, data=data, headers=headers, **options) as answer:
            return checked(answer, status, await answer.read())

    async def ask(self, method, path, body=None, status=200, headers=None, **options):
        data = None if body is None else json.dumps(body).encode()
        headers = JSON_TYPE if headers is None else headers
        async with self.session.request(
            method, self.url + path, data=data, headers=headers, **options
        ) as answer:
            return checked(answer, status, await answer.read())

    async def logs(self, body, status, headers=None, **options):
        return await self.post("/api/v1/logs", body, status, headers, **options)

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))

    async def raw(self, request):
        """All that comes back for these bytes until the connection is closed."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            await writer.drain()
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()

    async def nothing_left(self):
        """All delivered; returns the figures."""
        async with asyncio.timeout(10):
            while (stats := (await self.get("/api/v1/stats")).json)["pending"]:
                await asyncio.sleep(0.005)
        return stats


def checked(answer, status, body):
    assert answer.status == status, body
    value = json.loads(body) if body and "json" in answer.content_type else None
    if status >= 400:
        assert answer.content_type == "application/problem+json"
        assert value["status"] == status
        assert value["title"]
        assert value["detail"]
    return SimpleNamespace(json=value, body=body, headers=answer.headers)


@asynccontextmanager
async def serving(folder, *, new_settings=lambda config: config, wall=time_ns, **settings):
    """A service with these settings; it ends with books in order and nothing of what was refused.

    `new_settings` is what a reload makes of them.
    """
    async with AsyncExitStack() as stack:
        books = Books()
        fleet = await stack.enter_async_context(analyzers(books, WEIGHTS))
        members = tuple(msgspec.convert(one, AnalyzerConfig) for one in fleet)
        defaults = {
            "analyzers": members, "data_dir": str(folder / "data"), "linger": 0, "durability": "os",
            "accept_timeout": 30, "max_body_bytes": 100_000, "retry_first": 0.01,
        }  # fmt: skip
        config = Config(**defaults | settings)
        app = create_app(config, settings=lambda: new_settings(config), wall=wall)
        runner = ProblemRunner(app, access_log=None, shutdown_timeout=0.2)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        session = await stack.enter_async_context(aiohttp.ClientSession())
        url = "http://{}:{}".format(*runner.addresses[0])
        service = Service(runner.app, session, url, books)
        service.runner = runner
        yield service
        stats = figures_of(service.distributor)
        assert stats["conservation_error"] == 0
        assert sum(books.processed.values()) <= stats["accepted"] + stats["replayed"]
