"""A round: a distributor is loaded, tormented and killed, a few times over, and then judged.

All that a round decides comes from its seed. Two runs of a seed meet the same faults in the same order, not
at the same instruction: processes and disks are real.
"""

import asyncio
import json
import re
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import aiohttp

from services.distributor.processes import as_toml
from services.distributor.torture.faults import FOR_EVER, Faults, cut_power
from services.distributor.torture.moody import moody_analyzers
from services.distributor.torture.oracle import Oracle, judge
from services.distributor.torture.producers import Producer

ANALYZERS = 3
PACKINGS = ("none", "gzip", "zstd")
PRODUCERS = 4
PATIENCE = 1.0
"""Seconds after which the distributor gives up on an answer."""
HOUR = 3600 * 10**9
LATE = 0.3
"""Seconds by which the loop of the test may be late before its own answers count as unclear."""
ONE_PROBE, MOST_BACKOFF = 0.2, 0.4
DELIVERED_WITHIN = 20.0
"""Seconds that a fresh packet may take once the faults have stopped.

Twice the longest backoff and a probe are 1 second; the rest is for a machine that does other things too.
"""
DRAINED_WITHIN = 60.0


def settings_of(dice):
    """Settings under which as much as possible happens in little time."""
    return {
        "durability": dice.choice(("fsync", "fsync", "os")),
        "batch_packets": dice.choice((20, 50, 100)),
        "concurrency": dice.choice((1, 2, 4)),
        "linger": 0.005,
        "max_attempts": dice.choice((2, 3, 8)),
        "retry_first": 0.05,
        "retry_limit": MOST_BACKOFF,
        "retry_jitter": 0.2,
        "health_interval": ONE_PROBE,
        "analyzer_timeout": PATIENCE,
        "accept_timeout": 5.0,
        "drain_timeout": 3.0,
        "segment_bytes": 65_536,
        "keep_bytes": dice.choice((0, 131_072)),
        "max_memory_bytes": dice.choice((20_000, 32 * 1024 * 1024)),
        "max_pending": dice.choice((300, 2000)),
    }


class Tormented:
    """A started `penstock distribute` under the faults of a round."""

    def __init__(self, process, url):
        self.process, self.url = process, url

    def signal(self, number):
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def ended(self):
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def started(folder, settings, environment):
    """Starts the command; kills it at the end if it still runs."""
    file, log = folder / "distributor.toml", folder / "distributor.log"
    file.write_text(as_toml({"port": 0, "data_dir": str(folder / "data"), **settings}))
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "penstock", "distribute", "--config", str(file),
            stdout=asyncio.subprocess.PIPE, stderr=errors, env=environment,
        )  # fmt: skip
    try:
        yield Tormented(process, await address(process, log))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()


async def address(process, log):
    """The URL that the command says it listens on."""
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                return found[0]
    raise RuntimeError(f"the distributor did not start: {log.read_text()[-3000:]}")


class Round:
    """One round, from its seed to its judgement.

    Args:
        seed: decides on everything.
        folder: new; the data folder, the settings and the log of the distributor are left in it.
        built: where the library of faults is kept.
        environment: of the processes.
    """

    def __init__(self, seed, folder, built, environment):
        self.seed = seed
        self.folder = folder
        self.dice = Random(seed)
        self.settings = settings_of(self.dice)
        self.lives = self.dice.choice((1, 1, 1, 2))
        self.oracle = Oracle()
        self.happened = Counter()
        self.faults = Faults(folder / "orders", folder / "data", built)
        self.environment = environment | self.faults.environment

    @property
    def in_flight(self):
        """Packets that can be in flight at a time."""
        return ANALYZERS * self.settings["concurrency"] * self.settings["batch_packets"]

    async def run(self):
        """Runs it and returns its judgement."""
        patience = self.settings["analyzer_timeout"]
        with self.faults:
            async with (
                moody_analyzers(self.oracle, Random(self.dice.random()), ANALYZERS, patience) as analyzers,
                watched_loop(self.happened),
            ):
                self.analyzers = analyzers
                self.settings["analyzers"] = [
                    {"id": f"a{n}", "url": analyzer.url, "weight": n + 1, "compression": packing}
                    for n, (analyzer, packing) in enumerate(zip(analyzers, PACKINGS, strict=True))
                ]
                self.producers = [
                    Producer(self.oracle, Random(self.dice.random()), f"producer{n}")
                    for n in range(PRODUCERS)
                ]
                for _ in range(self.lives):
                    await self.live_and_end()
                return await self.heal()

    # While it lasts

    async def live_and_end(self):
        """One life of the process, from its start, perhaps on a full disk, to an end of some kind."""
        fills = self.dice.random() < 0.1
        if fills:
            self.happened["start_on_full_disk"] += 1
            self.faults.order(room=0)
        async with started(self.folder, self.settings, self.environment) as process:
            load = asyncio.create_task(self.load(process.url))
            if fills:
                await self.look_at(process.url)
                await asyncio.sleep(0.3)
                self.faults.stop()
            for _ in range(self.dice.randint(1, 4)):
                await asyncio.sleep(self.dice.uniform(0.02, 0.25))
                await self.dice.choice(self.torments())(process)
            await asyncio.sleep(self.dice.uniform(0.0, 0.3))
            await self.dice.choice((self.kill, self.kill, self.crash, self.terminate))(process)
            load.cancel()
            await asyncio.wait([load])
            if not load.cancelled():
                await load  # it failed: that is an error of the test
        self.faults.stop()

    async def look_at(self, url):
        """Without room for anything new, what is there is told all the same."""
        async with aiohttp.ClientSession() as session:
            for path in ("health", "stats", "dead-letter"):
                async with session.get(f"{url}/api/v1/{path}") as answer:
                    if answer.status != 200:
                        self.oracle.surprises.append(f"{path} is answered {answer.status} on a full disk")

    async def load(self, url):
        timeout = aiohttp.ClientTimeout(total=8)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            for producer in self.producers:
                group.create_task(producer.produce(session, url))

    def torments(self):
        return (
            self.freeze, self.restart_analyzer, self.jump,
            partial(self.fail_disk, "disk_full", room=self.dice.choice((0, 500, 20_000))),
            partial(self.fail_disk, "failing_sync", failing_syncs=self.dice.choice((1, 3, FOR_EVER))),
            partial(self.fail_disk, "failing_write", failing_writes=self.dice.choice((1, 3, FOR_EVER))),
            partial(self.fail_disk, "short_writes", short_writes=1),
        )  # fmt: skip

    async def freeze(self, process):
        self.happened["freeze"] += 1
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(self.dice.uniform(0.05, 0.4))
        process.signal(signal.SIGCONT)

    async def fail_disk(self, name, process, **orders):
        self.happened[name] += 1
        self.faults.order(**orders)
        await asyncio.sleep(self.dice.uniform(0.05, 0.4))
        self.faults.stop()

    async def jump(self, process):
        self.happened["clock_jump"] += 1
        self.faults.order(wall_offset=self.dice.choice((-24 * HOUR, -HOUR, HOUR, 24 * HOUR)))

    async def restart_analyzer(self, process):
        self.happened["analyzer_restart"] += 1
        analyzer = self.dice.choice(self.analyzers)
        await analyzer.stop()
        await asyncio.sleep(self.dice.uniform(0.0, 0.3))
        await analyzer.start()

    # The ends

    async def kill(self, process):
        self.happened["kill"] += 1
        process.signal(signal.SIGKILL)
        await process.ended()
        self.perhaps_cut_power()

    async def crash(self, process):
        """The process dies between two of its writes and syncs."""
        self.happened["crash"] += 1
        self.faults.order(calls_to_live=self.dice.randint(0, 30))
        try:
            async with asyncio.timeout(5):
                await process.process.wait()
        except TimeoutError:  # nothing to write any more
            process.signal(signal.SIGKILL)
        await process.ended()
        self.perhaps_cut_power()

    def perhaps_cut_power(self):
        if self.settings["durability"] == "fsync" and self.dice.random() < 0.5:
            self.happened["power_cut"] += 1
            cut_power(self.faults, self.folder / "data", self.dice)

    async def terminate(self, process):
        self.happened["clean_stop"] += 1
        process.signal(signal.SIGTERM)
        code = await process.ended()
        assert code == 0, f"exit code {code} after SIGTERM, seed {self.seed}"

    # When it is over

    async def heal(self):
        """All faults stop; what was accepted must come out now."""
        for analyzer in self.analyzers:
            analyzer.moody = False
        timeout = aiohttp.ClientTimeout(total=30)
        async with (
            started(self.folder, self.settings, self.environment) as process,
            aiohttp.ClientSession(timeout=timeout) as session,
        ):
            async with asyncio.timeout(DRAINED_WITHIN):
                for producer in self.producers:
                    await producer.finish(session, process.url)
            seconds = await self.seconds_to_deliver(session, process.url)
            figures = await drained(session, process.url)
            letters = [letter async for letter in dead_letters(session, process.url)]
            dead = {self.oracle.token_of(letter["packet"]) for letter in letters}
            await self.terminate(process)
        self.happened["clean_stop"] -= 1  # that one is no torment
        result = judge(
            self.oracle, dead, figures, seed=self.seed, faults=+self.happened, in_flight=self.in_flight
        )
        result.seconds_to_deliver = seconds
        if seconds > DELIVERED_WITHIN:
            result.wrong.append(f"a fresh packet was not delivered within {DELIVERED_WITHIN:g} s")
        return result

    async def seconds_to_deliver(self, session, url):
        """How long a packet takes that is sent now."""
        loop = asyncio.get_running_loop()
        producer = Producer(self.oracle, self.dice, "fresh")
        token = self.oracle.next_token()
        began = loop.time()
        while loop.time() - began <= DELIVERED_WITHIN:
            if token not in self.oracle.obligations:
                await producer.send(session, url, [(token, f"fresh-{token}")])
            if token in self.oracle.fresh:
                return self.oracle.fresh[token] - began
            await asyncio.sleep(0.02)
        return loop.time() - began


async def drained(session, url):
    """The figures once nothing is pending, or what is pending stays so."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        async with session.get(f"{url}/api/v1/stats") as answer:
            figures = json.loads(await answer.read())
        if not figures["pending"] or loop.time() - began > DRAINED_WITHIN:
            return figures
        await asyncio.sleep(0.05)


async def dead_letters(session, url):
    """Every dead letter."""
    query = {"limit": "1000"}
    while True:
        async with session.get(f"{url}/api/v1/dead-letter", params=query) as answer:
            letters = json.loads(await answer.read())
        for letter in letters:
            yield letter
        if not letters:
            return
        query["before"] = str(letters[-1]["seq"])


@asynccontextmanager
async def watched_loop(happened):
    """Counts when this process was late: then its analyzers may have answered too late, without knowing."""

    async def watch():
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.05)
            if loop.time() - before > 0.05 + LATE:
                happened["test_was_late"] += 1

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def run_round(seed, folder, built, environment):
    """Runs one round in a loop of its own."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    return asyncio.run(Round(seed, folder, built, environment).run())
