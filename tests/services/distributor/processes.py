"""The real `penstock distribute` as a process, and analyzers in the test that keep the books."""

import asyncio
import json
import re
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web


class Books:
    """What analyzers have processed, by packet id."""

    def __init__(self):
        self.processed = Counter()
        self.by_analyzer = Counter()
        self.fails = lambda id_, retry_count: False
        self.delay = 0.0


class PacketSeen(msgspec.Struct):
    id: str
    retry_count: int


@asynccontextmanager
async def analyzers(books, weights):
    """Analyzer servers on free ports; gives the settings that name them."""
    runners, settings = [], []
    for id_, weight in weights.items():
        runner = web.AppRunner(analyzer_app(id_, books), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        runners.append(runner)
        settings.append({"id": id_, "url": f"http://{host}:{port}/packets", "weight": weight})
    try:
        yield settings
    finally:
        for runner in runners:
            await runner.cleanup()


def analyzer_app(id_, books):
    decode = msgspec.json.Decoder(PacketSeen).decode_lines

    async def take(request):
        packets = decode(await request.read())
        if books.delay:
            await asyncio.sleep(books.delay)
        failed = [packet.id for packet in packets if books.fails(packet.id, packet.retry_count)]
        done = [packet.id for packet in packets if packet.id not in set(failed)]
        books.processed.update(done)
        books.by_analyzer[id_] += len(done)
        return web.json_response({"failed": [{"id": name, "error": "told to fail"} for name in failed]})

    async def well(request):
        return web.Response()

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/packets", take)
    app.router.add_get("/health", well)
    return app


class Process:
    """A started `penstock distribute`."""

    def __init__(self, process, url, output):
        self.process, self.url, self.output = process, url, output

    def kill(self):
        self.process.send_signal(signal.SIGKILL)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    async def ended(self):
        """The exit code."""
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def distributor(folder, settings, *arguments):
    """Starts the command on a free port with these settings; kills it at the end if it still runs."""
    file = folder / "distributor.toml"
    file.write_text(as_toml({"port": 0, "data_dir": str(folder / "data"), **settings}))
    log = (folder / "distributor.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock", "distribute", "--config", str(file), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=log,
    )  # fmt: skip
    try:
        yield Process(process, *await address(process))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()
        log.close()


def as_toml(settings):
    return "\n".join(f"{name} = {toml_value(value)}" for name, value in settings.items())


def toml_value(value):
    """JSON is TOML but for its objects."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {toml_value(inner)}' for name, inner in value.items())}}}"
    return json.dumps(value)


async def address(process):
    """The URL that the command says it listens on, and all it printed."""
    lines = []
    async with asyncio.timeout(30):
        while line := (await process.stdout.readline()).decode():
            lines.append(line)
            if line.startswith("Ctrl-C"):
                text = "".join(lines)
                return re.search(r"https?://127\.0\.0\.1:\d+", text)[0], text
    raise RuntimeError(f"the distributor did not start: {''.join(lines)}")


async def stats(session, url):
    async with session.get(f"{url}/api/v1/stats") as answer:
        return json.loads(await answer.read())


async def delivering(session, url):
    """Returns once deliveries are under way."""
    async with asyncio.timeout(30):
        while not any(one["in_flight"] for one in (await stats(session, url))["analyzers"].values()):
            await asyncio.sleep(0.01)


async def all_delivered(session, url):
    """The figures once nothing is pending any more."""
    async with asyncio.timeout(60):
        while (figures := await stats(session, url))["pending"]:
            await asyncio.sleep(0.02)
        return figures
