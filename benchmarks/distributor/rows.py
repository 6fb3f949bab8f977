"""The rows of the table: what is promised, and how it is measured.

A row is a function that gets a stage and the settings, and returns its figures. A rate is returned only when
what was acknowledged has been delivered, all of it and nothing twice, and the books balance.
"""

import random
import time
from timeit import repeat
from typing import NamedTuple

from benchmarks.distributor.stage import WEIGHTS, Stage, Wrong

__all__ = ["IN_ROUNDS", "ROWS", "Figure", "Settings", "median_of"]

MIB = 1 << 20
CONNECTIONS, ARRAY = 8, 100


class Settings(NamedTuple):
    """How much to do."""

    seconds: float = 10.0
    """How long a load lasts."""
    end_to_end_seconds: float = 10.0
    rounds: int = 5
    """Of rows that are short; their loads share `seconds`."""
    pending: int = 1_000_000
    """Packets that wait at the restart."""
    backlog_bytes: int = 1 << 30
    letters: int = 10_000
    kills: int = 3


class Figure(NamedTuple):
    """One promise, and what was measured."""

    name: str
    unit: str
    measured: float
    target: float
    floor: float
    more_is_better: bool = False
    note: str = ""
    rounds: int = 1
    least: float | None = None
    """Of all rounds, as is `most`; None when there was one."""
    most: float | None = None

    @property
    def ratio(self):
        """How many times the target; 1 or more is a hit."""
        if self.more_is_better:
            return self.measured / self.target
        if not self.measured:
            return float("inf") if self.target else 1.0
        return self.target / self.measured

    @property
    def verdict(self):
        if self.ratio >= 1:
            return "target"
        holds = self.measured >= self.floor if self.more_is_better else self.measured <= self.floor
        return "floor" if holds else "MISSED"


def median_of(figures):
    """The figure of the round in the middle, the worse of two, with what the others measured."""
    ordered = sorted(figures, key=lambda one: one.ratio)
    if len(ordered) == 1:
        return ordered[0]
    amounts = [one.measured for one in ordered]
    middle = ordered[(len(ordered) - 1) // 2]
    return middle._replace(rounds=len(ordered), least=min(amounts), most=max(amounts))


def single(settings):
    """Requests of one packet from 64 clients."""
    with Stage() as stage:
        sink = stage.sink()
        service = stage.service(sink.ports)
        warm = service.load("--connections", 64, "--packets", 1, "--seconds", settings.seconds / 5)
        before = service.cpu_seconds()
        load = service.load("--connections", 64, "--packets", 1, "--seconds", settings.seconds)
        service.until_delivered()
        stage.require_all(sink, warm, load)
        cpu = (service.cpu_seconds() - before) / load["accepted"]
        p50, p99 = load["ms"]
        rate = load["requests"] / load["seconds"]
    yield Figure("1-packet requests", "/s", rate, 8000, 5000, True, f"p50 {p50:.1f} ms, {in_us(cpu)}")
    yield Figure("1-packet requests: p99", "ms", p99, 30, 50)


def arrays(settings):
    """Requests of 100 packets while nobody is there to take them: what is accepted, and how fast."""
    with Stage() as stage:
        ports = stage.unused_ports(4)
        service = stage.service(ports, max_pending=10**9, max_pending_bytes=10**11, health_interval=1)
        warm = service.load("--connections", CONNECTIONS, "--seconds", settings.seconds / 5)
        before = service.cpu_seconds()
        load = service.load("--connections", CONNECTIONS, "--seconds", settings.seconds)
        cpu = (service.cpu_seconds() - before) / load["accepted"]
        sink = stage.sink(ports)
        service.until_delivered()
        stage.require_all(sink, warm, load)
        rate = load["accepted"] / load["seconds"]
        megabytes = load["requests"] * load["request_bytes"] / load["seconds"] / 1e6
    yield Figure(
        "arrays of 100, packets", "/s", rate, 80_000, 50_000, True,
        f"{megabytes:.0f} MB/s, p99 {load['ms'][1]:.0f} ms, {in_us(cpu)}",
    )  # fmt: skip


def end_to_end(settings):
    """The same with four analyzers, until the last packet is delivered."""
    with Stage() as stage:
        sink = stage.sink()
        service = stage.service(sink.ports, max_pending_bytes=10**11)
        warm = service.load("--connections", CONNECTIONS, "--seconds", settings.end_to_end_seconds / 5)
        service.until_delivered()
        start, before = time.perf_counter(), service.cpu_seconds()
        load = service.load("--connections", CONNECTIONS, "--seconds", settings.end_to_end_seconds)
        stats = service.until_delivered()
        took = time.perf_counter() - start
        cpu = (service.cpu_seconds() - before) / load["accepted"]
        stage.require_all(sink, warm, load)
        off = max(abs(one["share_error_packets"]) for one in stats["analyzers"].values())
    yield Figure(
        "end to end, packets", "/s", load["accepted"] / took, 40_000, 25_000, True,
        f"shares off by {off:g} packets at most, {in_us(cpu)}",
    )  # fmt: skip


def syslog(settings):
    """Lines of syslog over TCP, kept in memory."""
    with Stage() as stage:
        sink = stage.sink()
        service = stage.service(
            sink.ports, durability="memory", syslog_tcp="127.0.0.1:0", max_pending_bytes=10**11
        )
        service.syslog("--seconds", settings.seconds / 5)
        stored = service.until_delivered()["inputs"]["syslog_tcp"]["stored"]
        before = service.cpu_seconds()
        load = service.syslog("--seconds", settings.seconds)
        most = stored + load["lines"]
        service.until(lambda stats: stats["inputs"]["syslog_tcp"]["stored"] >= most, "every line is stored")
        took = time.monotonic() - load["started"]
        stats = service.until_delivered()
        carried = load["lines"] / (time.monotonic() - load["started"])
        cpu = (service.cpu_seconds() - before) / load["lines"]
        if stats["messages_accepted"] != most or stats["total_messages_routed"] != most:
            raise Wrong(f"{most} lines were sent, the books say otherwise: {stats}")
    yield Figure(
        "syslog in memory, lines",
        "/s",
        load["lines"] / took,
        200_000,
        100_000,
        True,
        f"{carried:,.0f}/s until delivered, {in_us(cpu)}",
    )


def pick(settings):
    """Who gets the next packet, out of four analyzers."""
    from penstock.services.distributor.config import AnalyzerConfig, GroupConfig
    from penstock.services.distributor.shares import Shares

    analyzers = [
        AnalyzerConfig(f"a{number}", "http://127.0.0.1:1/", weight) for number, weight in enumerate(WEIGHTS)
    ]
    shares = Shares(analyzers, GroupConfig("default"), lambda id_: 0)
    packets = 1000
    seconds = min(repeat(lambda: shares.assign(packets), number=20, repeat=20)) / 20
    yield Figure("balancer pick", "ns", seconds / packets * 1e9, 60, 150, note="of 1,000 at a time")


def kill(settings):
    """Killed under load and started again: what is lost, and what comes twice."""
    with Stage() as stage:
        sink = stage.sink()
        sink.ask("remember")
        service = stage.service(sink.ports, batch_packets=100, concurrency=4)
        acknowledged, twice = set(), []
        chance = random.Random(2025)
        for number in range(settings.kills):
            ids = stage.folder / f"ids{number}"
            before, accepted = repeated(sink), service.stats()["accepted"]
            client = service.load("--patient", "--seconds", 60, "--packets", 20, "--ids", ids, wait=False)
            service.until(lambda stats, had=accepted: stats["accepted"] > had, "a client is served")
            time.sleep(0.5 + chance.random())
            service.kill()
            client.communicate()
            acknowledged |= set(ids.read_text().split())
            service.start()
            service.until_delivered()
            twice.append(repeated(sink) - before)
        arrived = set(sink.ask("ids").decode().split())
    note = f"of {len(acknowledged):,} in {settings.kills} kills"
    yield Figure("kill -9: packets lost", "", len(acknowledged - arrived), 0, 0, note=note)
    yield Figure("kill -9: packets twice", "", max(twice), 1600, 1600, note="at the worst kill")


def in_us(cpu):
    """CPU time of the service for each, which other work on the machine does not bend."""
    return f"{cpu * 1e6:.1f} us of CPU each"


def repeated(sink):
    """Packets that came more than once."""
    figures = sink.figures()
    return figures["packets"] - figures["distinct"]


def restart(settings):
    """Killed with many packets pending, and started again."""
    with Stage() as stage:
        ports = stage.unused_ports(4)
        service = stage.service(ports, max_pending=10**9, max_pending_bytes=10**11)
        load = service.load("--connections", CONNECTIONS, "--seconds", 600, "--most", settings.pending)
        service.kill()
        sink = stage.sink(ports)
        service.start()
        cpu = service.cpu_seconds()
        pending = service.stats()["pending"]
        service.until(lambda stats: stats["delivered"], "the first packet is delivered")
        first = sink.figures()["first_at"] - service.started_at
        service.until_delivered()
        stage.require_all(sink, load)
    note = f"{pending:,} pending, {cpu:.2f} s of CPU"
    yield Figure("1 M pending: accepts in", "s", service.accepting_after, 1, 5, note=note)
    yield Figure("1 M pending: delivers in", "s", first, 2, 5)


def backlog(settings):
    """A backlog as large as is allowed: memory, refusals, and whether all of it arrives after a kill."""
    with Stage() as stage:
        ports = stage.unused_ports(4)
        service = stage.service(
            ports, max_pending=10**9, max_pending_bytes=settings.backlog_bytes, health_interval=2
        )
        loads = [service.load("--connections", CONNECTIONS, "--seconds", 600, "--until-refused")]
        memory = service.memory()
        refused = service.load(
            "--connections", CONNECTIONS, "--packets", 1, "--seconds", settings.seconds / 5
        )
        loads.append(refused)
        held = service.stats()["pending_bytes"]
        service.kill()
        sink = stage.sink(ports)
        service.start()
        accepting, cpu = service.accepting_after, service.cpu_seconds()
        service.until_delivered(600)
        memory = max(memory, service.memory("VmHWM"))
        stage.require_all(sink, *loads)
    note = f"{held / MIB:,.0f} MiB waiting"
    yield Figure("1 GiB waiting: memory", "MiB", memory / MIB, 150, 256, note=note)
    yield Figure(
        "1 GiB waiting: accepts in", "s", accepting, 5, 5, note=f"{cpu:.2f} s of CPU, and all arrived"
    )
    yield Figure("refusal when full, p99", "ms", refused["refused_ms"][1], 10, 50)


def letters(settings):
    """Packets that are refused for good, all at once."""
    with Stage() as stage:
        sink = stage.sink()
        sink.ask("fail")
        service = stage.service(sink.ports)
        load = service.load("--seconds", 60, "--most", settings.letters)
        service.until(lambda stats: stats["dead"] >= load["accepted"], "every packet is a dead letter")
        took = time.monotonic() - sink.figures()["first_at"]
    each = took / load["accepted"] * 10_000
    yield Figure("10,000 dead letters", "s", each, 0.5, 2, note="accepting and refusing included")


def idle(settings):
    """Nothing to do."""
    with Stage() as stage:
        sink = stage.sink()
        service = stage.service(sink.ports)
        time.sleep(min(1.0, settings.seconds / 5))
        before, start = service.cpu_seconds(), time.monotonic()
        time.sleep(settings.seconds)
        busy = (service.cpu_seconds() - before) / (time.monotonic() - start)
        memory = service.memory()
    yield Figure("idle: memory", "MiB", memory / MIB, 60, 90)
    yield Figure("idle: CPU", "%", busy * 100, 0.5, 0.5)


ROWS = {
    row.__name__.replace("_", "-"): row
    for row in (single, arrays, end_to_end, syslog, pick, kill, restart, backlog, letters, idle)
}
IN_ROUNDS = {"single", "arrays", "syslog", "pick", "restart", "letters"}
"""Rows that are short; one run of such a row says more of the machine than of what is measured."""
