"""Three distributors on one JetStream, one of them killed under load: nothing is lost, and shares stay exact.

A listener at the server writes down every packet that is published and the analyzer it was assigned to:
what the shares of first assignments are is told by nobody of those who are tested.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice

import aiohttp
import nats
import pytest

from nats_server import NatsServer
from services.distributor.processes import Books, analyzers, distributor, stats

pytestmark = pytest.mark.engine

PACKETS = int(os.environ.get("PENSTOCK_FLEET_PACKETS", "30000"))
KILLS = int(os.environ.get("PENSTOCK_FLEET_KILLS", "1"))
SEED = int(os.environ.get("PENSTOCK_KILL_SEED", "0")) or random.randrange(1, 10**9)
PATIENCE = 60 + PACKETS / 500

WEIGHTS = {"a1": 0.4, "a2": 0.3, "a3": 0.2, "a4": 0.1}
SETTINGS = {
    "batch_packets": 50,
    "concurrency": 2,
    "linger": 0.002,
    "retry_first": 0.05,
    "accept_timeout": 30,  # a busy machine is no failure here
    "analyzer_timeout": 30,
    "health_interval": 30,
    "spool_hold": 3,
}
IN_FLIGHT_AT_MOST = len(WEIGHTS) * SETTINGS["concurrency"] * SETTINGS["batch_packets"]
NODES = ("n1", "n2", "n3")
SENDERS = 6


class Listener:
    """Which packets were stored, and for whom; told by the server."""

    def __init__(self):
        self.assigned = {}  # packet id -> analyzer, of the first time
        self.published = Counter()

    async def hear(self, message):
        id_ = message.headers["Nats-Msg-Id"]
        self.published[id_] += 1
        self.assigned.setdefault(id_, message.subject.rpartition(".")[2])

    def furthest_from(self, weights):
        """How far the analyzer is from its share that is furthest from it, in packets."""
        got, total = Counter(self.assigned.values()), len(self.assigned)
        return max(abs(got[id_] - weight * total) for id_, weight in weights.items())


class Senders:
    """Send packets to nodes that are up; again, with the same ids, what was not answered."""

    def __init__(self, urls, packets):
        self.urls = urls  # by node; changed as nodes go and come
        self.acknowledged = set()
        self.lost_answers = 0
        self._numbers = iter(range(packets))
        self._dice = random.Random(SEED)

    async def send_all(self, session):
        await asyncio.gather(*(self._send(session) for _ in range(SENDERS)))

    async def _send(self, session):
        while numbers := list(islice(self._numbers, self._dice.choice((7, 33, 100, 101)))):
            packets = [
                {"id": f"p{number}", "messages": [{"message": f"log line {number}"}]} for number in numbers
            ]
            while not await self._answered(session, packets):
                await asyncio.sleep(0.02)

    async def _answered(self, session, packets):
        url = self.urls[self._dice.choice(list(self.urls))]
        try:
            async with session.post(f"{url}/api/v1/logs", json=packets) as answer:
                body = await answer.json(content_type=None)
                if answer.status != 202:
                    assert answer.status == 503, body
                    self.lost_answers += 1
                    return False
                self.acknowledged.update(body["processed_packets"])
                return True
        except (TimeoutError, aiohttp.ClientError, OSError):
            self.lost_answers += 1
            return False


@asynccontextmanager
async def listening(server):
    """What is published at a server while it is open."""
    listener = Listener()
    client = await nats.connect(server.url)
    await client.subscribe("penstock.packets.>", cb=listener.hear, pending_bytes_limit=0)
    await client.flush()
    try:
        yield listener
    finally:
        await client.close()


async def test_a_node_killed_under_load_loses_nothing_and_bends_no_share(tmp_path):
    books = Books()
    books.fails = lambda id_, retry_count: retry_count == 0 and int(id_[1:]) % 50 == 0  # 2 %, once
    with NatsServer(tmp_path / "nats") as server:
        async with (
            analyzers(books, WEIGHTS) as fleet,
            listening(server) as listener,
            AsyncExitStack() as stack,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
        ):
            settings = SETTINGS | {"analyzers": fleet, "spool": server.url}
            nodes = await asyncio.gather(
                *(start(stack, tmp_path / name, settings | {"node": name}) for name in NODES)
            )
            running = dict(zip(NODES, nodes, strict=True))
            senders = Senders({name: node.url for name, node in running.items()}, PACKETS)
            sending = asyncio.create_task(senders.send_all(session))
            dice = random.Random(SEED)
            for round_ in range(KILLS):
                await until(
                    lambda goal=PACKETS * (round_ + 1) // (KILLS + 1): len(senders.acknowledged) > goal
                )
                name = dice.choice(NODES)
                running[name].kill()
                del senders.urls[name]
                await running[name].ended()
                if round_ + 1 < KILLS:
                    settings_of = settings | {"node": name}
                    running[name] = await start(stack, tmp_path / name, settings_of)
                    senders.urls[name] = running[name].url
            await sending
            await until(lambda: senders.acknowledged <= books.processed.keys())
            await until_quiet(session, senders.urls)
            figures = [await stats(session, url) for url in senders.urls.values()]

    lost = senders.acknowledged - books.processed.keys()
    assert not lost, f"{len(lost)} lost, seed {SEED}"
    assert len(senders.acknowledged) == PACKETS
    duplicates = sum(books.processed.values()) - len(books.processed)
    assert duplicates <= KILLS * IN_FLIGHT_AT_MOST, f"seed {SEED}"
    lives = len(NODES) + KILLS - 1
    error = listener.furthest_from(WEIGHTS)
    assert error < lives + 2 * senders.lost_answers, f"seed {SEED}"
    assert all(one["pending"] == 0 for one in figures)
    print(
        f"{PACKETS} packets by {len(NODES)} nodes, {KILLS} killed: {len(lost)} lost, {duplicates} delivered"
        f" twice, shares off by {error:.1f} packets at most, {senders.lost_answers} answers lost,"
        f" conservation {figures[0]['fleet']['conservation_error']}, seed {SEED}"
    )


async def test_a_node_that_slept_too_long_delivers_nothing_that_others_have_got_meanwhile(tmp_path):
    """It had hundreds of packets in memory; only those that were on their way may come twice."""
    books = Books()
    books.delay = 0.05
    with NatsServer(tmp_path / "nats") as server:
        async with (
            analyzers(books, {"a1": 1}) as fleet,
            AsyncExitStack() as stack,
            aiohttp.ClientSession() as session,
        ):
            small = {"batch_packets": 10, "concurrency": 1, "spool_hold": 1}
            settings = SETTINGS | small | {"analyzers": fleet, "spool": server.url}
            sleeper = await start(stack, tmp_path / "n1", settings | {"node": "n1"})
            packets = [{"id": f"p{number}", "messages": [{"message": "hello"}]} for number in range(600)]
            async with session.post(f"{sleeper.url}/api/v1/logs", json=packets) as answer:
                assert answer.status == 202
            await until(lambda: books.processed)
            sleeper.process.send_signal(signal.SIGSTOP)
            other = await start(stack, tmp_path / "n2", settings | {"node": "n2"})
            await until(lambda: len(books.processed) == 600)
            sleeper.process.send_signal(signal.SIGCONT)
            await until_quiet(session, {"n1": sleeper.url, "n2": other.url})
    assert sum(books.processed.values()) - 600 <= 3 * small["batch_packets"]


async def test_a_node_that_is_told_to_stop_under_load_duplicates_nothing(tmp_path):
    books = Books()
    with NatsServer(tmp_path / "nats") as server:
        async with (
            analyzers(books, WEIGHTS) as fleet,
            AsyncExitStack() as stack,
            aiohttp.ClientSession() as session,
        ):
            # other nodes get what this one hands back, not what it was silent about
            settings = SETTINGS | {"analyzers": fleet, "spool": server.url, "spool_hold": 60}
            nodes = [await start(stack, tmp_path / name, settings | {"node": name}) for name in ("n1", "n2")]
            senders = Senders({"n1": nodes[0].url, "n2": nodes[1].url}, 10_000)
            sending = asyncio.create_task(senders.send_all(session))
            await until(lambda: len(senders.acknowledged) > 3000)
            del senders.urls["n1"]
            nodes[0].terminate()
            assert await nodes[0].ended() == 0
            await sending
            await until_quiet(session, senders.urls)
            await until(lambda: senders.acknowledged <= books.processed.keys())
    assert sum(books.processed.values()) == len(books.processed) == 10_000
    assert "durability NATS JetStream at nats://127.0.0.1:" in nodes[0].output


async def test_a_server_killed_under_load_loses_nothing(tmp_path):
    books = Books()
    with NatsServer(tmp_path / "nats") as server:
        async with (
            analyzers(books, WEIGHTS) as fleet,
            AsyncExitStack() as stack,
            aiohttp.ClientSession() as session,
        ):
            settings = SETTINGS | {"analyzers": fleet, "spool": server.url, "accept_timeout": 1}
            nodes = [await start(stack, tmp_path / name, settings | {"node": name}) for name in ("n1", "n2")]
            senders = Senders({"n1": nodes[0].url, "n2": nodes[1].url}, 10_000)
            sending = asyncio.create_task(senders.send_all(session))
            for goal in (2000, 6000):
                await until(lambda goal=goal: len(senders.acknowledged) > goal)
                server.stop()
                await asyncio.sleep(0.3)
                await asyncio.to_thread(server.start)
            await sending
            await until(lambda: senders.acknowledged <= books.processed.keys())
            await until_quiet(session, senders.urls)
    assert len(senders.acknowledged) == 10_000


async def start(stack, folder, settings):
    """A node as a process."""
    folder.mkdir(exist_ok=True)
    return await stack.enter_async_context(distributor(folder, settings))


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


async def until_quiet(session, urls):
    """Returns once nothing waits any more, by what every node says."""
    async with asyncio.timeout(PATIENCE):
        while any([(await stats(session, url))["pending"] for url in urls.values()]):
            await asyncio.sleep(0.1)
