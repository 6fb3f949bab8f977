"""The inputs over HTTP on a real socket, in front of a distributor that keeps what it is given in a list."""

import asyncio
import io
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import msgspec
from aiohttp import web

from penstock.services.distributor.admission import NotStored, TooFast
from penstock.services.distributor.config import Config
from penstock.services.distributor.inputs import dialect, elasticsearch
from penstock.services.distributor.inputs.figures import HTTP_INPUTS
from penstock.services.distributor.inputs.routes import add_inputs
from penstock.services.distributor.keys import BODIES, DISTRIBUTOR, LIMIT
from penstock.services.distributor.records import RecordBundler, RecordsReceipt
from penstock.services.distributor.request_body import BodyRoom
from penstock.services.problem_details import ProblemRunner, problem, problems_for_http_errors

OTHER_SITE = {"Origin": "http://evil.example"}


class Everywhere:
    """A router without rules."""

    trivial = True


class ListingDistributor:
    """Takes records as the distributor does, and keeps them."""

    def __init__(self, config):
        self.config = config
        self.draining = False
        self.status = "healthy"
        self.records = []
        self.calls = []  # (ids, limit)
        self.error = None  # what accepting raises, always
        self.errors = []  # or these, one after the other
        self._bundler = RecordBundler(config, Everywhere())

    async def accept_records(self, records, *, ids=None, limit=None):
        self.calls.append((ids, limit))
        if self.error is not None:
            raise self.error
        if self.errors:
            raise self.errors.pop(0)
        packets, refused = self._bundler.bundle(records, ids)
        for packet in packets:
            self.records += msgspec.json.decode(packet.body)["messages"]
        return RecordsReceipt(len(records) - len(refused), refused, [packet.id for packet in packets])

    def is_full(self):
        self.error = NotStored("10 packets are waiting already, the most that are held", 7)

    def is_asked_too_fast(self):
        self.error = TooFast("at most 5 packets a second are taken", 2.2)


class Service:
    """A client, and what the distributor behind the inputs was given."""

    def __init__(self, url, session, distributor, inputs):
        self.url, self.session, self.distributor, self.inputs = url, session, distributor, inputs
        self.port = int(url.rpartition(":")[2])

    @property
    def records(self):
        return self.distributor.records

    @property
    def texts(self):
        return [record["message"] for record in self.records]

    async def request(self, method, path, body=b"", headers=None, **options):
        async with self.session.request(
            method, self.url + path, data=io.BytesIO(body), headers=headers or {}, **options
        ) as answer:
            raw = await answer.read()
            json = msgspec.json.decode(raw) if raw[:1] in (b"{", b"[") else None
            return SimpleNamespace(status=answer.status, raw=raw, json=json, headers=answer.headers)

    async def post(self, path, body, headers=None, **options):
        return await self.request("POST", path, body, headers, **options)

    async def has_got(self, count):
        """Returns once so many records have come: of clients that go away without their answer."""
        async with asyncio.timeout(30):
            while len(self.records) < count:
                await asyncio.sleep(0.001)

    async def in_thread(self, call, *arguments):
        """What a client that knows no asyncio gives; thirty seconds at the most."""
        async with asyncio.timeout(30):
            return await asyncio.to_thread(call, *arguments)


@asynccontextmanager
async def serving(limit=None, **given):
    config = Config(**given)
    distributor = ListingDistributor(config)

    @web.middleware
    async def keeper_of_keys(request, handler):
        if status := request.headers.get("X-Refuse-With"):
            return dialect.refusal(request, int(status), "no key", {"WWW-Authenticate": "Bearer"})
        if limit is not None:
            request[LIMIT] = limit
        return await handler(request)

    app = web.Application(
        middlewares=[problems_for_http_errors, keeper_of_keys], client_max_size=config.max_body_bytes
    )
    app[DISTRIBUTOR] = distributor
    app[BODIES] = BodyRoom(config.max_receiving_bytes)
    app.router.add_get("/", root)
    add_inputs(app)
    runner = ProblemRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}".format(*runner.addresses[0])
        async with aiohttp.ClientSession() as session:
            yield Service(url, session, distributor, app[HTTP_INPUTS])
    finally:
        await runner.cleanup()


async def root(request):
    return elasticsearch.product(request) or problem(404, "no page here")
