"""A simulated analyzer: a real HTTP server that takes its time and fails now and then.

For the first steps, demonstrations and tests: its clock and its dice are the only things that are not
real. Four of them are what the distributor starts when it is told of no others.

    POST /packets    packets, one a line; 200 with those that failed
    GET  /health     200, or 503 after POST /fail
    GET  /stats      what it has seen: deliveries, packets, messages, failed
    POST /fail, /heal  makes it ill and well again
"""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from aiohttp import web

from penstock.services.distributor.carriers.verdict import PacketError, Verdict
from penstock.services.distributor.config import AnalyzerConfig, Simulation
from penstock.services.listening import CannotListen
from penstock.services.problem_details import ProblemRunner, problem, problems_for_http_errors

__all__ = [
    "REFERENCE_FLEET",
    "SimulatedAnalyzer",
    "create_analyzer_app",
    "start_analyzer",
    "start_reference_fleet",
    "url_of",
]

REFERENCE_FLEET = (
    ("analyzer-a1", "Analyzer A", 0.4),
    ("analyzer-a2", "Analyzer B", 0.3),
    ("analyzer-a3", "Analyzer C", 0.2),
    ("analyzer-a4", "Analyzer D", 0.1),
)
"""Id, name and weight of each analyzer that is there by default."""

MAX_DELIVERY_BYTES = 64 * 1024 * 1024


class PacketSeen(msgspec.Struct):
    """What the simulation looks at in a packet."""

    id: str
    messages: list[msgspec.Raw]


class SimulatedAnalyzer:
    """What one simulated analyzer has seen, and how it fares.

    Args:
        simulation: how long it takes and how often it fails.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.is_ill = False
        self.deliveries = self.packets = self.messages = self.failed = 0
        self._random = Random(simulation.seed)
        self._decode = msgspec.json.Decoder(PacketSeen).decode_lines

    def process(self, body: bytes) -> Verdict:
        """Looks at every packet of a delivery and rolls the dice for it."""
        packets = self._decode(body)
        rate = self.simulation.failure_rate
        failed = [packet for packet in packets if rate and self._random.random() < rate]
        self.deliveries += 1
        self.packets += len(packets)
        self.messages += sum(len(packet.messages) for packet in packets)
        self.failed += len(failed)
        return Verdict([PacketError(packet.id, "analyzer crashed during processing") for packet in failed])


ANALYZER = web.AppKey("analyzer", SimulatedAnalyzer)


async def take_packets(request: web.Request) -> web.Response:
    analyzer = request.app[ANALYZER]
    if analyzer.is_ill:
        return problem(503, "this analyzer was told to be ill; POST /heal makes it well")
    body = await request.read()
    if analyzer.simulation.processing_time:
        await asyncio.sleep(analyzer.simulation.processing_time)
    try:
        verdict = analyzer.process(body)
    except msgspec.DecodeError as error:
        return problem(400, f"the body must be packets, one a line: {error}")
    return web.Response(body=msgspec.json.encode(verdict), content_type="application/json")


async def tell_health(request: web.Request) -> web.Response:
    if request.app[ANALYZER].is_ill:
        return problem(503, "this analyzer was told to be ill; POST /heal makes it well")
    return web.json_response({"status": "healthy"})


async def tell_stats(request: web.Request) -> web.Response:
    analyzer = request.app[ANALYZER]
    return web.json_response(
        {name: getattr(analyzer, name) for name in ("deliveries", "packets", "messages", "failed")}
    )


async def fall_ill(request: web.Request) -> web.Response:
    request.app[ANALYZER].is_ill = True
    return web.json_response({"status": "ill"})


async def heal(request: web.Request) -> web.Response:
    request.app[ANALYZER].is_ill = False
    return web.json_response({"status": "healthy"})


def create_analyzer_app(simulation: Simulation) -> web.Application:
    """The HTTP application of one simulated analyzer."""
    app = web.Application(middlewares=[problems_for_http_errors], client_max_size=MAX_DELIVERY_BYTES)
    app[ANALYZER] = SimulatedAnalyzer(simulation)
    app.router.add_post("/packets", take_packets)
    app.router.add_get("/health", tell_health)
    app.router.add_get("/stats", tell_stats)
    app.router.add_post("/fail", fall_ill)
    app.router.add_post("/heal", heal)
    return app


async def start_analyzer(
    simulation: Simulation, host: str = "127.0.0.1", port: int = 0
) -> tuple[web.AppRunner, str]:
    """Starts a simulated analyzer; returns what stops it (`cleanup()`) and the URL that takes packets.

    Raises:
        CannotListen: the address cannot be had.
    """
    runner = ProblemRunner(create_analyzer_app(simulation), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise CannotListen.because(error, host, port) from None
    return runner, f"{url_of(runner.addresses[0])}/packets"


def url_of(address: Sequence[Any]) -> str:
    """The URL of a socket's address, IPv4 or IPv6."""
    host, port = address[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def start_reference_fleet(simulation: Simulation) -> tuple[list[web.AppRunner], list[AnalyzerConfig]]:
    """Starts the four default analyzers on free loopback ports."""
    runners, analyzers = [], []
    for number, (id_, name, weight) in enumerate(REFERENCE_FLEET):
        seed = None if simulation.seed is None else simulation.seed + number
        runner, url = await start_analyzer(msgspec.structs.replace(simulation, seed=seed))
        runners.append(runner)
        analyzers.append(AnalyzerConfig(id_, url, weight, name))
    return runners, analyzers
