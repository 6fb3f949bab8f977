"""A distributor without a network: analyzers that do what a test tells them, on a clock that a test moves."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from penstock.clock import ManualClock
from penstock.services.distributor.carrier import DeliveryFailed, PacketFailure
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.spool import Spool
from penstock.services.distributor.state import Distributor

REFERENCE = {"a1": 0.4, "a2": 0.3, "a3": 0.2, "a4": 0.1}
START_NS = 1_700_000_000_000_000_000


def config_of(weights=REFERENCE, **settings):
    analyzers = tuple(
        AnalyzerConfig(id_, f"http://127.0.0.1:1/{id_}", weight) for id_, weight in weights.items()
    )
    defaults = {"linger": 0, "health_interval": 3600, "accept_timeout": 30}  # no test hangs on a busy machine
    return Config(analyzers=analyzers, **defaults | settings)


class FakeAnalyzers:
    """Client of analyzers that keep what they get, in the order of delivery."""

    def __init__(self):
        self.got = []  # (analyzer, packet id, retry count)
        self.broken = {}  # analyzer -> error of every delivery
        self.ill = {}  # analyzer -> error of every probe
        self.failing = {}  # packet id -> error
        self.gate = None  # an Event that deliveries wait for
        self.probes = 0
        self.forgotten = []
        self.begun = 0  # deliveries
        self.mixed_up = []  # ids of packets that came with the body of another one

    async def deliver(self, analyzer, packets):
        self.begun += 1
        if self.gate is not None:
            await self.gate.wait()
        if error := self.broken.get(analyzer.id):
            raise error if isinstance(error, DeliveryFailed) else DeliveryFailed(error, status_in(error))
        self.got += [(analyzer.id, packet.id, packet.failures) for packet in packets]
        self.mixed_up += [
            packet.id for packet in packets if msgspec.json.decode(packet.body)["id"] != packet.id
        ]
        return {
            packet.id: PacketFailure(self.failing[packet.id])
            for packet in packets
            if packet.id in self.failing
        }

    async def probe(self, analyzer):
        self.probes += 1
        if error := self.ill.get(analyzer.id):
            raise DeliveryFailed(error)

    async def forget(self, analyzer):
        self.forgotten.append(analyzer.id)

    def ids(self, analyzer=None):
        return [id_ for name, id_, _ in self.got if analyzer in (None, name)]


def status_in(error):
    """The status in words such as `answered 500`; None when there is none."""
    last = error.rpartition(" ")[2]
    return int(last) if last.isdigit() else None


class Times:
    """Monotonic and wall clock, moved together."""

    def __init__(self):
        self.clock = ManualClock(10**9)
        self.wall = ManualClock(START_NS)

    def advance(self, seconds):
        self.clock.advance(seconds)
        self.wall.advance(seconds)


@asynccontextmanager
async def running(folder, analyzers=None, times=None, config=None, durability="os", **settings):
    """A distributor at work on the spool in `folder`."""
    config = config or config_of(**settings)
    times = times or Times()
    spool = Spool(Path(folder), durability)
    distributor = Distributor(config, spool, analyzers or FakeAnalyzers(), clock=times.clock, wall=times.wall)
    await distributor.start()
    try:
        yield distributor
    finally:
        await distributor.aclose()
        assert not getattr(analyzers, "mixed_up", None)


def body_of(n, *, prefix=None, text="hello"):
    """A request of `n` packets, with ids of the client's when it has a prefix."""
    packets = [{"messages": [{"message": text}]} for _ in range(n)]
    if prefix is not None:
        for number, packet in enumerate(packets):
            packet["id"] = f"{prefix}-{number}"
    return msgspec.json.encode(packets)


async def until(condition):
    """Lets the event loop run until the condition holds; a minute at the most."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def held_bytes(distributor):
    """Bytes of bodies in memory, as the queues count them."""
    return sum(analyzer.queue.bytes for analyzer in distributor.fleet.members.values())


async def settled(distributor):
    """Nothing is on its way: every packet is delivered, dead, waiting for its retry or for an analyzer."""

    def is_settled():
        fleet = distributor.fleet
        return not any(len(one.queue) or one.in_flight for one in fleet.members.values()) and not any(
            source.reading or (source.packets and fleet.group_of(source.group).takers)
            for source in fleet.sources.values()
        )

    await until(is_settled)


def books(distributor):
    """The figures that must add up."""
    stats = figures_of(distributor)
    return {name: stats[name] for name in ("accepted", "delivered", "dead", "pending", "conservation_error")}
