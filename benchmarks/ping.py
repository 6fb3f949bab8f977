"""Whether penstock's pinger keeps what it promises, beside Go's net/http, wrk, hey and bare aiohttp.

Every gate is one contest: the contestants in turn, round after round, each a process of its own on one core,
against a server on another, over loopback. A figure is the median of the runs during which the machine did
the least else. Throughput is measured on nginx (100 bytes, P-256 certificate); truth on a server in C that
answers after exactly 10 ms and keeps its own books, so that what a client reports can be held against what
the server did.

    python -m benchmarks.ping [--seconds 2] [--rounds 5] [--only GATE] [--nice -19] [--smoke]

Programs that are not installed take no part. A machine with one core, or a busy one, measures itself.
"""

import argparse
import csv
import os
import shutil
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from subprocess import PIPE
from typing import NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.ping_stage import (
    CLIENTS,
    SERVER_CORE,
    Server,
    Stage,
    Unable,
    middle,
    read_hey,
    read_json,
    read_wrk,
    words,
)

IN_FLIGHT = 64
DELAY_US = 10_000
FAN_OUT = 256
POOL, POOL_REQUESTS, POOL_DELAY_US = 15, 7_500, 2_000
PENSTOCK = [sys.executable, "-m", "penstock"]
SCRAPE_SITE = Path(__file__).parent / "scrape_site.py"
SCRAPY_CRAWL = Path(__file__).parent / "peers" / "scrapy_crawl.py"


def table_of(title, *columns):
    """An empty table; its first column is text, the others are figures."""
    table = Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        min_width=len(title),
    )
    for column in columns:
        left = column is columns[0]
        table.add_column(column, justify="left" if left else "right", no_wrap=left)
    return table


class Settings(NamedTuple):
    """How long to measure."""

    seconds: float
    rounds: int
    pings: int
    """For the gate on memory."""

    @property
    def whole_seconds(self):
        """For programs that know no others."""
        return max(1, round(self.seconds))


class Verdict(NamedTuple):
    """A gate, and whether it was passed; None where it could not be measured."""

    gate: str
    ours: str
    peer: str
    must: str
    met: bool | None
    beyond: str = ""
    """What more it could be, and whether it is."""


def client(kind, url, *options):
    return [sys.executable, str(CLIENTS), kind, *map(str, options), url], read_json


def goping(stage, url, *options):
    return [stage.goping(), *map(str, options), url], read_json


def wrk(settings, url):
    return [
        installed("wrk"),
        "-t1",
        f"-c{IN_FLIGHT}",
        f"-d{settings.whole_seconds}s",
        "--latency",
        url,
    ], read_wrk


def hey(settings, url, *options):
    return [installed("hey"), "-z", f"{settings.seconds}s", "-c", str(IN_FLIGHT), *options, url], read_hey


def installed(program):
    found = shutil.which(program)
    if found is None:
        raise Unable(f"{program} is not installed")
    return found


class Contest:
    """Contestants in interleaved rounds; who cannot take part, or stops, says why."""

    def __init__(self, title, stage, server):
        self.title, self.stage, self.server = title, stage, server
        self.makers, self.samples, self.unable = {}, {}, {}

    def enter(self, name, make):
        """`make()` gives the command and who reads its words."""
        self.makers[name] = make

    def run(self, rounds):
        for _ in range(rounds):
            for name, make in self.makers.items():
                if name not in self.unable:
                    self.try_once(name, make)
        return self

    def try_once(self, name, make):
        try:
            sample = self.measure(*make())
        except Unable as error:
            self.unable[name] = str(error)
            self.samples.pop(name, None)
        else:
            self.samples.setdefault(name, []).append(sample)

    def measure(self, command, read):
        sample = self.stage.sample(command, read, self.server)
        failed, answered = sample.figures["errors"], sample.figures["requests"]
        if failed > answered // 100:
            raise Unable(f"{failed} of {failed + answered} requests failed: {sample.figures['said']}")
        return sample

    def figure(self, name, of):
        """The median of a figure of a contestant, None when it did not take part."""
        return middle(self.samples[name], of) if name in self.samples else None

    def rate(self, name):
        return self.figure(name, lambda sample: sample.figures["requests"] / sample.figures["seconds"])

    def cpu(self, name):
        """Processor seconds for ten thousand requests."""
        return self.figure(
            name, lambda sample: sample.figures.get("cpu", sample.cpu) / sample.figures["requests"] * 1e4
        )

    def wall(self, name):
        """Seconds from the start of the process to its end."""
        return self.figure(name, lambda sample: sample.figures["wall"])

    def milliseconds(self, name, key):
        return self.figure(name, lambda sample: sample.figures[key] / 1e6)

    def table(self):
        table = table_of(
            self.title, "contestant", "requests/s", "CPU s/10k", "p50 ms", "p99 ms", "others' CPU"
        )
        for name in sorted(self.samples, key=self.rate, reverse=True):
            table.add_row(
                name, f"{self.rate(name):,.0f}", f"{self.cpu(name):.3f}",
                *(f"{self.milliseconds(name, key):.3f}" for key in ("p50", "p99")),
                f"{self.figure(name, lambda sample: sample.foreign):.2f}",
            )  # fmt: skip
        return with_unable(table, self.unable)


def with_unable(table, unable):
    """The table, and below it who took no part, and why."""
    if unable:
        table.caption = "\n".join(f"{name} took no part: {why}" for name, why in unable.items())
        table.caption_justify = "left"
    return table


def compared(gate, rate, peer, factor, *, could=None):
    """A rate that must be at least `factor` times Go's; `could` is what more there is, and its rate."""
    must = f">= {factor:g} Go"
    if rate is None or peer is None:
        return Verdict(gate, shown(rate, "/s"), named("Go", shown(peer, "/s")), must, None)
    beyond = "" if could is None or could[1] is None else reached(could[0], rate >= could[1])
    ours = f"{rate:,.0f}/s, {rate / peer:.2f} Go"
    return Verdict(gate, ours, named("Go", shown(peer, "/s")), must, rate >= factor * peer, beyond)


def at_most(gate, value, peer, most, unit, digits=2, *, could=None, who="Go"):
    """A figure that must not be above `most`, and could be `could`."""
    met = None if value is None else value <= most
    beyond = "" if could is None or value is None else reached(f"<= {could:g}{unit}", value <= could)
    theirs = named(who, shown(peer, unit, digits))
    return Verdict(gate, shown(value, unit, digits), theirs, f"<= {most:g}{unit}", met, beyond)


def shown(value, unit, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def named(who, figure):
    return figure if figure == "-" else f"{who} {figure}"


def reached(what, yes):
    return f"{what}: {'yes' if yes else 'no'}"


# ---- how many


def keep_alive(stage, settings):
    server = stage.nginx()
    contest = Contest(f"Connections kept, {IN_FLIGHT} in flight", stage, server)
    enter_all(contest, stage, settings, server.url)
    contest.enter("wrk", lambda: wrk(settings, server.url))
    contest.run(settings.rounds)
    go, go_cpu = contest.rate("Go net/http"), contest.cpu("Go net/http")
    gates = []
    for what, name in (("exchange()", "penstock socket"), ("Load", "penstock Load")):
        could = (">= wrk", contest.rate("wrk"))
        gates += [
            compared(f"kept: {what}", contest.rate(name), go, 2.5, could=could),
            at_most(f"kept: {what}, CPU/10k", contest.cpu(name), go_cpu, 0.12, " s", 3, could=0.07),
        ]
    return gates, [contest.table()]


def enter_all(contest, stage, settings, url, *, cold=False, ca=None):
    """penstock's engines, Go, hey and bare aiohttp with the same work."""
    closed = ["-k", IN_FLIGHT, "-d", settings.seconds]
    python = [*closed, *(["--cold"] if cold else []), *(["--ca", ca] if ca else [])]
    golang = [
        "-k",
        IN_FLIGHT,
        "-d",
        f"{settings.seconds}s",
        *(["-cold"] if cold else []),
        *(["-ca", ca] if ca else []),
    ]
    for engine in ("socket", "protocol", "aiohttp"):
        contest.enter(f"penstock {engine}", lambda engine=engine: client(engine, url, *python))
    if ca is None:
        contest.enter("penstock Load", lambda: client("load", url, *python))
        contest.enter("hey", lambda: hey(settings, url, *(["-disable-keepalive"] if cold else [])))
    contest.enter("Go net/http", lambda: goping(stage, url, *golang))
    contest.enter("aiohttp", lambda: client("bare-aiohttp", url, *python))


def cold(stage, settings):
    server = stage.nginx()
    contest = Contest(f"A new connection each, {IN_FLIGHT} in flight", stage, server)
    enter_all(contest, stage, settings, server.url, cold=True)
    contest.run(settings.rounds)
    go = contest.rate("Go net/http")
    twice = None if go is None else 2 * go
    return [
        compared("cold TCP: exchange()", contest.rate("penstock socket"), go, 1),
        compared("cold TCP: Load", contest.rate("penstock Load"), go, 1, could=(">= 2 Go", twice)),
    ], [contest.table()]


def tls(stage, settings):
    server = stage.nginx()
    contest = Contest(f"A new connection and TLS 1.3 handshake each, {IN_FLIGHT} in flight", stage, server)
    enter_all(contest, stage, settings, server.tls_url, cold=True, ca=server.ca)
    contest.run(settings.rounds)
    go = contest.rate("Go net/http")
    more = None if go is None else 1.5 * go
    ours = contest.rate("penstock socket")
    return [compared("cold TLS: exchange()", ours, go, 0.7, could=(">= 1.5 Go", more))], [contest.table()]


# ---- how true


class Truth(Contest):
    """What clients report, held against the books of the server, in milliseconds.

    The first two requests of each connection, among them those that connect, are left out, for all alike.
    """

    def measure(self, command, read):
        times = self.stage.folder / "times"
        times.unlink(missing_ok=True)
        since = self.server.booked()
        sample = super().measure([part.replace("{times}", str(times)) for part in command], read)
        books = self.server.delays(since)
        truth = np.percentile((books[:, 2] - books[:, 1])[2 * IN_FLIGHT :], [50, 99]) / 1e6
        if times.exists():
            reported, after = self.told(np.fromfile(times, np.int64).reshape(-1, 3), books)
        else:
            reported, after = np.array([sample.figures["p50"], sample.figures["p99"]]) / 1e6, (None, None)
        told = {"error50": reported[0] - truth[0], "error99": reported[1] - truth[1]}
        return sample._replace(figures=sample.figures | told | {"after50": after[0], "after99": after[1]})

    @staticmethod
    def told(times, books):
        """The percentiles that a client reports, and of the time after the server had answered."""
        sent = dict(zip(books[:, 0].tolist(), books[:, 2].tolist(), strict=True))
        times = times[times[:, 0] >= 2 * IN_FLIGHT]
        after = [end - sent[number] for number, _, end in times.tolist()]
        reported = np.percentile(times[:, 2] - times[:, 1], [50, 99]) / 1e6
        return reported, np.percentile(after, [50, 99]) / 1e6

    def told_by(self, name, key):
        samples = self.samples.get(name, [])
        return (
            None
            if not samples or samples[0].figures[key] is None
            else self.figure(name, lambda s: s.figures[key])
        )

    def table(self):
        table = table_of(
            self.title, "contestant", "error p50 ms", "error p99", "after p50 ms", "after p99", "others' CPU"
        )
        for name in sorted(self.samples, key=lambda name: abs(self.told_by(name, "error50"))):
            cells = [self.told_by(name, key) for key in ("error50", "error99", "after50", "after99")]
            foreign = f"{self.figure(name, lambda s: s.foreign):.2f}"
            table.add_row(name, *("-" if cell is None else f"{cell:+.3f}" for cell in cells), foreign)
        return with_unable(table, self.unable)


def truth_contest(stage, settings, title):
    server = stage.truth_server(DELAY_US)
    contest = Truth(title, stage, server)
    numbered = ["-k", IN_FLIGHT, "-d", settings.seconds, "--numbered", "--times", "{times}"]
    golang = ["-k", IN_FLIGHT, "-d", f"{settings.seconds}s", "-numbered", "-times", "{times}"]
    for engine in ("socket", "protocol", "aiohttp"):
        contest.enter(f"penstock {engine}", lambda engine=engine: client(engine, server.url, *numbered))
    contest.enter(
        "penstock Load", lambda: client("load", server.url, "-k", IN_FLIGHT, "-d", settings.seconds)
    )
    contest.enter("Go net/http", lambda: goping(stage, server.url, *golang))
    contest.enter("aiohttp", lambda: client("bare-aiohttp", server.url, *numbered))
    contest.enter("wrk", lambda: wrk(settings, server.url))
    return contest


def truth_verdicts(contest, what, after50, beyond=(None, None, None, None)):
    def gate(name, key, most, could):
        value = contest.told_by("penstock socket", key)
        return at_most(
            f"{what}: {name}", value, contest.told_by("Go net/http", key), most, " ms", 3, could=could
        )

    return [
        *([gate("after p50", "after50", after50, beyond[0])] if after50 else []),
        gate("after p99", "after99", 0.1, beyond[1]),
        gate("error p50", "error50", 0.1, beyond[2]),
        gate("error p99", "error99", 1.0, beyond[3]),
    ]


def truth(stage, settings):
    contest = truth_contest(stage, settings, f"A server that answers after 10 ms, {IN_FLIGHT} in flight")
    contest.run(settings.rounds)
    return truth_verdicts(contest, "10 ms", 0.010, (0.005, 0.040, 0.05, 0.2)), [contest.table()]


def hogged(stage, settings):
    contest = truth_contest(stage, settings, "The same while another process wants the client's core")
    with stage.hog():
        contest.run(settings.rounds)
    return truth_verdicts(contest, "hogged", None), [contest.table()]


# ---- what users do


def fan_out(stage, settings):
    """The command with a file of many URLs, as it comes; the others start all at once."""
    server = stage.truth_server(DELAY_US)
    urls, rows = stage.folder / "urls", stage.folder / "rows.csv"
    urls.write_text("".join(f"{server.url}{number}\n" for number in range(FAN_OUT)))

    def read(_):
        with rows.open(newline="") as file:
            latencies = [float(row["latency_ms"]) for row in csv.DictReader(file) if row["status"] == "200"]
        rows.unlink()
        return {
            "requests": len(latencies), "errors": FAN_OUT - len(latencies), "seconds": 1.0,
            "p50": median(latencies) * 1e6, "p99": np.percentile(latencies, 99) * 1e6,
        }  # fmt: skip

    ping = [
        *PENSTOCK,
        "ping",
        "--urls-file",
        str(urls),
        "--concurrency",
        str(FAN_OUT),
        "--csv",
        str(rows),
        "--no-log",
    ]
    together = ["-k", FAN_OUT, "-n", FAN_OUT, "--numbered", "--cold"]
    golang = ["-k", FAN_OUT, "-n", FAN_OUT, "-numbered", "-cold"]
    contest = Contest(f"{FAN_OUT} cold pings of a server that answers after 10 ms", stage, server)
    contest.enter("penstock ping", lambda: (ping, read))
    contest.enter("Go net/http, at once", lambda: goping(stage, server.url, *golang))
    contest.enter("aiohttp, at once", lambda: client("bare-aiohttp", server.url, *together))
    contest.run(settings.rounds)
    go = contest.milliseconds("Go net/http, at once", "p50")
    ours = contest.milliseconds("penstock ping", "p50")
    table = table_of(contest.title, "contestant", "p50 ms", "p99 ms")
    for name in contest.samples:
        table.add_row(name, *(f"{contest.milliseconds(name, key):.2f}" for key in ("p50", "p99")))
    gates = [at_most(f"{FAN_OUT} cold: p50", ours, go, 10.6, " ms")]
    return gates, [with_unable(table, contest.unable)]


def pool(stage, settings):
    server = stage.truth_server(POOL_DELAY_US)
    contest = Contest(f"{POOL_REQUESTS:,} requests of 2 ms by a pool of {POOL}", stage, server)
    work = ["-k", POOL, "-n", POOL_REQUESTS]
    contest.enter("penstock bounded()", lambda: client("pool", server.url, *work))
    contest.enter("Go net/http", lambda: goping(stage, server.url, *work))
    contest.enter("aiohttp", lambda: client("bare-aiohttp", server.url, *work))
    contest.run(settings.rounds)
    ours, go = (
        contest.figure(name, lambda s: s.figures["seconds"]) for name in ("penstock bounded()", "Go net/http")
    )
    gates = [at_most(f"pool of {POOL}, {POOL_REQUESTS:,}", ours, go, 1.15, " s", could=1.05)]
    return gates, [contest.table()]


def scrape(stage, settings):
    """The command on a local site of 1,501 pages: robots.txt, state for resuming, selections, rows."""
    process = stage.started([sys.executable, str(SCRAPE_SITE)], SERVER_CORE, stdout=PIPE, text=True)
    site = Server(f"http://127.0.0.1:{int(process.stdout.readline())}/", process)
    rows, state = stage.folder / "pages.ndjson", stage.folder / "state"
    contest = Contest("A site of 1,501 pages, whole commands", stage, site)

    def read(_):
        pages = sum(1 for _ in rows.open())
        rows.unlink()
        for kept in stage.folder.glob("state*"):
            kept.unlink()
        return {"requests": pages, "errors": 0, "seconds": 1.0}

    def scrape_command():
        fast = ["--rate", "unlimited", "--per-host", "32", "--quiet", "--allow-private"]
        kept = ["--state", str(state), "--ndjson", str(rows), "--select", "heading=h1"]
        return [*PENSTOCK, "scrape", site.url, *fast, *kept], read

    contest.enter("penstock scrape", scrape_command)
    contest.enter("Scrapy", lambda: ([scrapy(), str(SCRAPY_CRAWL), site.url, str(rows)], read))
    contest.run((settings.rounds + 1) // 2)
    table = table_of(contest.title, "contestant", "seconds", "pages")
    for name in contest.samples:
        pages = contest.figure(name, lambda sample: sample.figures["requests"])
        table.add_row(name, f"{contest.wall(name):.2f}", f"{pages:,.0f}")
    gate = at_most(
        "scrape, 1,501 pages",
        contest.wall("penstock scrape"),
        contest.wall("Scrapy"),
        1.6,
        " s",
        could=1.2,
        who="Scrapy",
    )
    return [gate], [with_unable(table, contest.unable)]


def scrapy():
    """A Python that has Scrapy: SCRAPY_PYTHON, or this one."""
    found = os.environ.get("SCRAPY_PYTHON") or (sys.executable if find_spec("scrapy") else None)
    if found is None:
        raise Unable("scrapy is not installed")
    return found


def memory(stage, settings):
    """Resident memory of many pings; flat when the last half needs no more than the first."""
    server = stage.nginx()
    n = settings.pings
    contestants = {
        "ping --engine load": lambda: [
            *PENSTOCK, "ping", server.url, "--engine", "load",
            "--count", str(n), "--concurrency", str(IN_FLIGHT),
        ],
        "penstock socket": lambda: client("socket", server.url, "-k", IN_FLIGHT, "-n", n)[0],
        "Go net/http": lambda: goping(stage, server.url, "-k", IN_FLIGHT, "-n", n)[0],
    }  # fmt: skip
    table = table_of(f"Memory of {n:,} pings, MiB", "contestant", "last half", "first half")
    found, unable = {}, {}
    for name, make in contestants.items():
        try:
            found[name] = stage.memory(make())
        except Unable as error:
            unable[name] = str(error)
            continue
        table.add_row(name, *(f"{size / 2**20:.1f}" for size in found[name]))
    go = found.get("Go net/http", (None,))[0]
    go = None if go is None else go / 2**20
    gates = []
    for name in ("ping --engine load", "penstock socket"):
        last, before = found.get(name, (None, None))
        last = None if last is None else last / 2**20
        verdict = at_most(f"RSS: {name.removeprefix('penstock ')}", last, go, 60, " MiB", 0)
        growth = "" if last is None else f"{last - before / 2**20:+.1f} MiB in the last half"
        gates.append(verdict._replace(beyond=growth))
    return gates, [with_unable(table, unable)]


def start(stage, settings):
    """From the start of the command to its first byte at the server."""
    server = stage.truth_server(0)
    commands = {
        "penstock ping": [*PENSTOCK, "ping", server.url, "--no-log"],
        "Go net/http": [stage.goping(), "-k", "1", "-n", "1", server.url],
    }
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every start compiles every module
    for command in commands.values():
        words(stage.client(command))
    took = {name: [] for name in commands}
    for _ in range(max(3, 2 * settings.rounds)):
        for name, command in commands.items():
            since, began = server.booked(), time.monotonic_ns()
            words(stage.client(command))
            took[name].append((server.delays(since)[0, 1] - began) / 1e6)
    ours, go = (median(times) for times in took.values())
    return [at_most("start to first byte", ours, go, 150, " ms", 0, could=80)], []


GATES = {
    "keep-alive": keep_alive,
    "cold": cold,
    "tls": tls,
    "truth": truth,
    "hogged": hogged,
    "fan-out": fan_out,
    "pool": pool,
    "scrape": scrape,
    "memory": memory,
    "start": start,
}


def measured(names, settings, console):
    """The verdicts of gates; their tables are shown as they come."""
    verdicts = []
    for name in names:
        console.print(f"[dim]{name} ...[/dim]")
        try:
            with Stage() as stage:
                found, tables = GATES[name](stage, settings)
        except Unable as error:
            found, tables = [Verdict(name, f"not measured: {error}", "-", "", None)], []
        for table in tables:
            console.print(table)
        verdicts += found
    return verdicts


def summary(verdicts, smoke):
    """Misses first."""
    words = {None: "not measured", True: "met", False: "MISSED"}
    table = table_of("Gates", "gate", "penstock", "peer", "must", "")
    for verdict in sorted(verdicts, key=lambda verdict: {False: 0, None: 1, True: 2}[verdict.met]):
        said = "" if smoke else words[verdict.met]
        table.add_row(verdict.gate, verdict.ours, verdict.peer, verdict.must, said)
    return table


def beyond(verdicts):
    """What more they could be."""
    table = table_of("Beyond the gates", "gate", "penstock", "could be")
    for verdict in verdicts:
        if verdict.beyond:
            table.add_row(verdict.gate, verdict.ours, verdict.beyond)
    return table


def be_nice(niceness):
    """Of this process and all that it starts; Linux weighs sessions first, and processes within them."""
    os.setpriority(os.PRIO_PROCESS, 0, niceness)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2, help="how long each run lasts")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contestant")
    parser.add_argument("--pings", type=int, default=1_000_000, help="for the gate on memory")
    parser.add_argument("--only", choices=GATES, action="append", help="this gate alone; may be repeated")
    parser.add_argument("--smoke", action="store_true", help="as short as can be: does it run at all?")
    parser.add_argument("--nice", type=int, help="of all that is run: -19 goes before others, and needs root")
    given = parser.parse_args()
    if given.nice is not None:
        be_nice(given.nice)
    settings = Settings(0.3, 1, 2_000) if given.smoke else Settings(given.seconds, given.rounds, given.pings)
    console = Console(width=None if sys.stdout.isatty() else 80)
    try:
        verdicts = measured(given.only or GATES, settings, console)
    except KeyboardInterrupt:
        sys.exit(130)
    if not given.smoke:
        console.print(beyond(verdicts))
    console.print(summary(verdicts, given.smoke))
    if given.smoke:
        sys.exit(1 if any(verdict.ours == "-" for verdict in verdicts) else 0)
    sys.exit(0 if all(verdict.met for verdict in verdicts) else 1)


if __name__ == "__main__":
    main()
