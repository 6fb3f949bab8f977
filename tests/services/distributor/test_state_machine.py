"""Anything in any order, and every accepted packet still ends exactly once: delivered, or a dead letter.

Hypothesis plays clients, analyzers, disks, people and restarts against a distributor whose memory holds
next to nothing, so that nearly every packet goes by the disk; a ledger of a few sets is the model.
"""

import asyncio
import os
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from penstock.services.distributor import backlog, fleet
from penstock.services.distributor.admission import NotStored
from penstock.services.distributor.books import Books
from penstock.services.distributor.carrier import DeliveryFailed
from penstock.services.distributor.config import AnalyzerConfig, Config, GroupConfig, Match
from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.letters import Letters
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import record
from penstock.services.distributor.spool import Spool, SpoolError
from penstock.services.distributor.state import Distributor
from services.distributor.fakes import FakeAnalyzers, Times, books, held_bytes, settled

IDS = ("a1", "a2", "a3", "b1", "b2")
analyzer_ids = st.sampled_from(IDS)
REQUESTS = {
    "n": st.integers(1, 25),
    "level": st.sampled_from(("INFO", "ERROR", "both")),
    "size": st.sampled_from((1, 200)),
    "as_records": st.booleans(),
}
SMALL = {
    (backlog, "MOST_HELD"): 5,
    (backlog, "CHUNK_PACKETS"): 4,
    (fleet, "CHUNK_PACKETS"): 4,
    (Books, "pause"): 0.001,
}


def analyzer_of(id_, weight=1.0, grouped=True):
    group = "b" if grouped and id_.startswith("b") else "default"
    return AnalyzerConfig(id_, f"http://127.0.0.1:1/{id_}", weight, group=group, tier=int(id_ == "a3"))


def config_of(analyzers, *, grouped=True, sticky=False):
    """Settings with which memory holds next to nothing."""
    rules = (GroupConfig("b", Match(level=("ERROR",))),) if grouped else ()
    return Config(
        analyzers=analyzers,
        groups=(*rules, GroupConfig("default", balance="sticky")) if sticky else rules,
        linger=0,
        health_interval=3600,
        accept_timeout=30,
        drain_timeout=0.01,
        batch_packets=3,
        max_memory_bytes=3000,
        errors_to_fall=3,
        dedupe_window=86_400,
    )


class Ledger(FakeAnalyzers):
    """Analyzers that write down what they have processed."""

    def __init__(self):
        super().__init__()
        self.processed = Counter()

    async def deliver(self, analyzer, packets):
        failures = await super().deliver(analyzer, packets)
        self.processed.update(packet.id for packet in packets if packet.id not in failures)
        return failures


class FailingSpool(Spool):
    """A spool that can neither be written nor read while it is told to fail, and notes what is delivered."""

    failing = False

    def __init__(self, folder, delivered):
        super().__init__(folder, "os")
        self.delivered = delivered

    def commit(self, change):
        self._require_health()
        super().commit(change)
        self.delivered |= {packet.id for packet in change.delivered}

    def read_backlog(self, *arguments):
        self._require_health()
        return super().read_backlog(*arguments)

    def _require_health(self):
        if self.failing:
            raise SpoolError("the spool cannot be used: it is told to fail")


class Distribution(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.before = {(module, name): getattr(module, name) for module, name in SMALL}
        for (module, name), value in SMALL.items():
            setattr(module, name, value)
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.analyzers, self.times = Ledger(), Times()
        self.accepted, self.delivered, self.purged = set(), set(), set()
        self.in_doubt = Counter()  # by id: kills after it was processed and before that was stored
        self.sent = 0
        self.requests = []
        self.config = config_of(tuple(map(analyzer_of, IDS, (4, 3, 2, 1, 1))))

    def run(self, work):
        return self.runner.run(work)

    async def start(self):
        self.spool = FailingSpool(Path(self.folder.name), self.delivered)
        self.distributor = Distributor(
            self.config, self.spool, self.analyzers, clock=self.times.clock, wall=self.times.wall
        )
        await self.distributor.start()

    @initialize()
    def begin(self):
        self.run(self.start())

    # What clients do

    def request(self, n, level, size, as_records):
        """A new request, that may be sent as often as one likes."""
        messages = [
            Message("x" * size, "ERROR" if level == "both" and k % 2 else level, f"s{k % 3}")
            for k in range(n)
        ]
        name = f"p{self.sent}"
        self.sent += n
        if as_records:
            request = self.send_records, name, [record(message) for message in messages]
        else:
            packets = [{"id": f"{name}.{k}", "messages": [one]} for k, one in enumerate(messages)]
            request = self.send_packets, name, msgspec.json.encode(packets)
        self.requests.append(request)
        return request

    async def send(self, request):
        send, name, what = request
        try:
            ids = await send(name, what)
        except NotStored:
            assert self.spool.failing
        else:
            self.accepted |= set(ids)

    async def send_packets(self, _name, body):
        receipt = await self.distributor.accept(body)
        assert not receipt.refused
        return receipt.accepted

    async def send_records(self, name, records):
        receipt = await self.distributor.accept_records(records, ids=name)
        assert (receipt.accepted, receipt.refused) == (len(records), [])
        return receipt.packets

    @rule(**REQUESTS)
    def accept(self, n, level, size, as_records):
        self.run(self.send(self.request(n, level, size, as_records)))

    @rule(back=st.integers(1, 5), times=st.integers(1, 2))
    @precondition(lambda self: self.requests)
    def send_again(self, back, times):
        """A client that did not hear an answer, or did not believe it."""
        self.run(self.sent_again(self.requests[-min(back, len(self.requests))], times))

    async def sent_again(self, request, times):
        await asyncio.gather(*(self.send(request) for _ in range(times)))

    @rule(steps=st.integers(0, 8), **REQUESTS)
    def kill_while_accepting(self, steps, n, level, size, as_records):
        """What became of the request nobody knows; the client sends it again."""
        self.run(self.killed_while_accepting(steps, self.request(n, level, size, as_records)))

    async def killed_while_accepting(self, steps, request):
        sending = asyncio.create_task(self.send(request))
        for _ in range(steps):
            await asyncio.sleep(0)
        await self.killed()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await self.start()
        await self.send(request)

    # What analyzers do

    @rule(id_=analyzer_ids, error=st.sampled_from((500, 413, 400, 404, 429, None)))
    def break_(self, id_, error):
        self.analyzers.broken[id_] = DeliveryFailed("broken", error)

    @rule(id_=analyzer_ids)
    def mend(self, id_):
        self.analyzers.broken.pop(id_, None)

    @rule()
    def stall(self):
        """From now on deliveries are under way until they are let go, or a restart ends them."""
        if self.analyzers.gate is None:
            self.analyzers.gate = asyncio.Event()

    @rule()
    def let_go(self):
        self.run(self.gate_opened())

    async def gate_opened(self):
        if self.analyzers.gate is not None:
            self.analyzers.gate.set()
            self.analyzers.gate = None
        await self.let_run()

    @rule(every=st.integers(2, 5))
    def fail_some(self, every):
        self.analyzers.failing = {f"p{k}.{k % 7}": "crashed" for k in range(0, self.sent, every)}

    @rule()
    def fail_none(self):
        self.analyzers.failing = {}

    @rule(ill=st.sets(analyzer_ids))
    def probe(self, ill):
        self.analyzers.ill = dict.fromkeys(ill, "ill")
        self.run(self.distributor.check_health())

    # What people do

    @rule(
        id_=analyzer_ids, what=st.sampled_from(("up", "drain", "down", None)), ttl=st.sampled_from((None, 5))
    )
    def control(self, id_, what, ttl):
        if id_ in self.distributor.fleet.members:
            self.run(self.controlled(id_, what, ttl))

    async def controlled(self, id_, what, ttl):
        self.distributor.control(id_, what, ttl if what else None)

    @rule(going=st.sampled_from((None, "a1", "a2", "b2")), weight=st.sampled_from((1.0, 5.0)))
    @precondition(lambda self: not self.spool.failing)
    def change_analyzers(self, going, weight):
        grouped = any(group.id == "b" for group in self.config.groups)
        analyzers = [analyzer_of(id_, weight, grouped) for id_ in IDS if id_ != going]
        self.run(self.distributor.change_analyzers(analyzers))

    @rule(weight=st.sampled_from((1.0, 2.0)), grouped=st.booleans(), sticky=st.booleans())
    @precondition(lambda self: not self.spool.failing)
    def reload(self, weight, grouped, sticky):
        analyzers = tuple(analyzer_of(id_, weight, grouped) for id_ in IDS)
        config = config_of(analyzers, grouped=grouped, sticky=sticky)
        self.run(self.distributor.reload(config))
        self.config = config

    @rule()
    @precondition(lambda self: not self.spool.failing)
    def replay(self):
        self.run(self.replayed())

    @rule(steps=st.integers(0, 8))
    @precondition(lambda self: not self.spool.failing)
    def kill_while_replaying(self, steps):
        self.run(self.killed_while_replaying(steps))

    async def killed_while_replaying(self, steps):
        await self.distributor.replay_dead_letters(Letters())
        for _ in range(steps):
            await asyncio.sleep(0)
        await self.killed()
        await self.start()

    async def replayed(self):
        replaying = await self.distributor.replay_dead_letters(Letters())
        await replaying.finished()
        assert not replaying.error

    @rule(limit=st.integers(1, 3))
    @precondition(lambda self: not self.spool.failing)
    def purge(self, limit):
        self.run(self.purge_newest(limit))

    async def purge_newest(self, limit):
        rows = await self.distributor.dead_letters(limit)
        assert await self.distributor.purge_dead_letters(Letters(seqs=[row[0] for row in rows])) == len(rows)
        self.purged |= {id_of(row) for row in rows}

    # What happens to machines

    @rule(failing=st.booleans())
    def disk(self, failing):
        self.spool.failing = failing

    @rule(seconds=st.sampled_from((0, 2, 5)))
    def time_passes(self, seconds):
        self.times.advance(seconds)
        self.run(self.let_run())

    async def let_run(self):
        self.distributor.tick()
        for _ in range(5):
            await asyncio.sleep(0)

    @rule()
    def restart(self):
        self.spool.failing = False
        self.run(self.distributor.aclose())
        self.run(self.start())

    @rule()
    def kill(self):
        self.run(self.killed())
        self.run(self.start())

    async def killed(self):
        """Whatever runs ends where it is; what the disk has it keeps."""
        one = self.distributor
        self.in_doubt.update(set(self.analyzers.processed) - self.delivered)
        for tasks in (one._committing, one._tasks, one._deliveries._dispatchers, one._deliveries._under_way):
            for task in tasks.running:
                task.cancel()
        for tasks in (one._committing, one._tasks, one._deliveries._dispatchers, one._deliveries._under_way):
            await tasks.cancel()
        one._books.commits.close()
        self.spool.close()

    # What must hold

    @rule()
    @precondition(lambda self: not self.spool.failing)
    def come_to_rest(self):
        self.run(self.at_rest())

    async def at_rest(self):
        await self.gate_opened()
        await settled(self.distributor)
        dead = {id_of(row) for row in await self.distributor.dead_letters(10_000)}
        figures = books(self.distributor)
        ended = self.delivered | dead | self.purged
        assert figures["conservation_error"] == 0
        assert figures["pending"] == len(self.accepted - ended)
        assert figures["pending"] == self.distributor.admission.packets
        assert len(self.distributor.fleet.held) == self.distributor.retrying
        assert held_bytes(self.distributor) == 0
        assert not self.analyzers.mixed_up
        assert ended <= self.accepted
        assert not dead & self.delivered
        processed = self.analyzers.processed
        assert processed.keys() - self.in_doubt.keys() <= self.delivered <= processed.keys()
        assert all(times <= 1 + self.in_doubt[id_] for id_, times in processed.items())
        ahead = [one["share_error_packets"] for one in figures_of(self.distributor)["analyzers"].values()]
        assert max(map(abs, ahead)) <= len(ahead) / 2

    def teardown(self):
        try:
            if hasattr(self, "distributor"):
                self.run(self.wind_up())
        finally:
            self.runner.close()
            self.folder.cleanup()
            for (module, name), value in self.before.items():
                setattr(module, name, value)

    async def wind_up(self):
        """All is mended, and everything that was accepted comes to its end."""
        self.spool.failing = False
        self.analyzers.broken, self.analyzers.failing, self.analyzers.ill = {}, {}, {}
        try:
            await self.gate_opened()
            for id_ in self.distributor.fleet.members:
                self.distributor.control(id_, None)
            async with asyncio.timeout(120):
                while self.distributor.pending:
                    self.times.advance(60)
                    self.distributor.tick()
                    await asyncio.sleep(0.001)
            await self.at_rest()
        finally:
            await self.distributor.aclose()


def id_of(row):
    return msgspec.json.decode(row[1])["id"]


Distribution.TestCase.settings = settings(
    max_examples=int(os.environ.get("PENSTOCK_STATE_EXAMPLES", "30")),
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestDistribution = Distribution.TestCase
