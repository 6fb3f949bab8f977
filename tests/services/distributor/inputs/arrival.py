"""Real log lines through real clients and a whole distributor: what arrives at its analyzer is counted.

PENSTOCK_RECORDS is how many go through each protocol, 2,000 unless it is set:

    PENSTOCK_RECORDS=100000 pytest -o faulthandler_timeout=0 tests/services/distributor/inputs -k arriv
"""

import asyncio
import logging
import os
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import msgspec
from aiohttp import web

import penstock.services.replay
from datasets import DEFAULT, require
from penstock.services.distributor.app import create_app
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.problem_details import ProblemRunner
from penstock.services.replay.files import Meter, find_files, read_pieces

RECORDS = int(os.environ.get("PENSTOCK_RECORDS", "2000"))
SECONDS = 30 + RECORDS / 50
"""The longest that a protocol may take: clients that send a record a request take a few milliseconds each."""
SAMPLE = Path(penstock.services.replay.__file__).parent / "sample"


@cache
def log_lines(records=RECORDS):
    """Real log lines, none blank, from all over the data; from the shipped sample where it is missing."""
    data = require("logs") if os.environ.get("PENSTOCK_TEST_DATA") else DEFAULT / "logs"
    meter = Meter()
    try:
        files = find_files([data if data.exists() else SAMPLE])
        pieces = (piece.text.rstrip("\r\n") for file in files for piece in read_pieces(file, meter))
        lines = [text for text in pieces if text and not text.isspace()]
    finally:
        meter.close()
    step = max(1, len(lines) // records)
    return list(islice(cycle(lines[::step]), records))


class MessageSeen(msgspec.Struct):
    message: str
    level: str = "INFO"
    source: str = ""
    timestamp: str | None = None
    metadata: dict = {}


class PacketSeen(msgspec.Struct):
    id: str
    messages: list[MessageSeen]


class Arrival:
    """A running distributor, and the messages that have arrived at its analyzer."""

    def __init__(self, app, url):
        self.app, self.url = app, url
        self.port = int(url.rpartition(":")[2])
        self.messages = []
        self.packets = Counter()
        self._came = asyncio.Event()
        self._started = time.perf_counter()

    @property
    def distributor(self):
        return self.app[DISTRIBUTOR]

    def take(self, packets):
        for packet in packets:
            self.packets[packet.id] += 1
            self.messages += packet.messages
        self._came.set()

    async def sent_by(self, client, *arguments):
        """Runs a client that knows no asyncio in a thread of its own."""
        async with asyncio.timeout(SECONDS):
            return await asyncio.to_thread(client, *arguments)

    async def is_complete(self, lines):
        """Waits until nothing is under way, then every line must have arrived once and unchanged."""
        async with asyncio.timeout(SECONDS):
            while len(self.messages) < len(lines) or self.distributor.pending:
                self._came.clear()
                try:
                    async with asyncio.timeout(1):
                        await self._came.wait()
                except TimeoutError:
                    if not self.distributor.pending and len(self.messages) < len(lines):
                        break  # nothing will come any more
        expected, arrived = Counter(lines), Counter(message.message for message in self.messages)
        assert not (expected - arrived), f"lost: {list((expected - arrived).items())[:3]}"
        assert not (arrived - expected), f"too often, or changed: {list((arrived - expected).items())[:3]}"
        assert set(self.packets.values()) == {1}
        seconds = time.perf_counter() - self._started
        log = logging.getLogger("penstock.arrival")
        log.info("%d records in %.1f s, %.0f a second", len(lines), seconds, len(lines) / seconds)


@asynccontextmanager
async def arriving(folder, **settings):
    """A distributor of one analyzer, which is in this process, too.

    Args:
        folder: of the spool.
        settings: of `Config`, such as `syslog_tcp="127.0.0.1:0"`.
    """
    async with AsyncExitStack() as stack:
        holder = []
        analyzer = await stack.enter_async_context(sink(lambda packets: holder[0].take(packets)))
        defaults = {"data_dir": str(folder), "durability": "os", "linger": 0, "accept_timeout": 30}
        config = Config(analyzers=(AnalyzerConfig("sink", analyzer),), **defaults | settings)
        runner = ProblemRunner(create_app(config), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        holder.append(Arrival(runner.app, "http://{}:{}".format(*runner.addresses[0])))
        yield holder[0]


@asynccontextmanager
async def sink(take):
    """An analyzer that gives its packets to `take`; its URL."""
    decode = msgspec.json.Decoder(PacketSeen).decode_lines

    async def packets(request):
        take(decode(await request.read()))
        return web.Response()

    async def health(request):
        return web.Response()

    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/packets", packets)
    app.router.add_get("/health", health)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}/packets".format(*runner.addresses[0])
    finally:
        await runner.cleanup()
