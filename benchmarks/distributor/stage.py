"""What the rows play on: the distributor and its analyzers as processes, ended with the stage."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

from benchmarks.distributor.load import HASH_MASK

__all__ = ["Service", "Sink", "Stage", "Wrong"]

WEIGHTS = (40, 30, 20, 10)
ENVIRONMENT = os.environ | {"PYTHONHASHSEED": "0"}
PATIENCE = 120.0
"""Seconds for whatever should come to an end by itself."""
JIFFIES = os.sysconf("SC_CLK_TCK")


class Wrong(Exception):
    """Something was lost, or the books do not balance: no rate counts then."""


def started(stack, module, *arguments, environment=ENVIRONMENT, errors=subprocess.DEVNULL):
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=environment,
    )
    stack.callback(end, process)
    return process


def end(process):
    """Kills it; what is measured has been seen by then."""
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()


class Sink:
    """Four analyzers in one process."""

    def __init__(self, stack, ports=()):
        self.process = started(stack, "benchmarks.distributor.sink", *ports)
        if not (line := self.process.stdout.readline()):
            raise Wrong("the analyzers did not start")
        self.ports = json.loads(line)

    def ask(self, what):
        with urlopen(f"http://127.0.0.1:{self.ports[0]}/{what}", timeout=PATIENCE) as answer:
            return answer.read()

    def figures(self):
        return json.loads(self.ask("figures"))


class Service:
    """A distributor in a folder: started, killed, started again.

    Args:
        stack: ends the process.
        folder: of its data.
        ports: of its analyzers.
        settings: those that are not as usual.
    """

    def __init__(self, stack, folder, ports, settings):
        analyzers = [
            {"id": f"a{number}", "url": f"http://127.0.0.1:{port}/packets", "weight": weight}
            for number, (port, weight) in enumerate(zip(ports, WEIGHTS, strict=True))
        ]
        settings = {"port": 0, "data_dir": folder / "data", "analyzers": json.dumps(analyzers)} | settings
        self.environment = ENVIRONMENT | {
            f"PENSTOCK_DISTRIBUTOR_{name.upper()}": str(value) for name, value in settings.items()
        }
        self.stack, self.errors = stack, folder / "stderr"
        self.start()

    def start(self):
        """Returns once it accepts packets; `accepting_after` says how many seconds that took."""
        self.started_at = time.monotonic()
        with open(self.errors, "ab") as errors:
            self.process = started(
                self.stack, "penstock", "distribute", environment=self.environment, errors=errors
            )
        self.places = {}
        for line in self.process.stdout:
            name, _, place = line.strip().rpartition(" ")
            self.places[name.strip()] = place
            if name.startswith("analyzers"):
                break
        else:
            self.process.wait(PATIENCE)  # till it has said all
            raise Wrong(f"the distributor did not start: {self.errors.read_text()[-2000:]}")
        self.host, self.port = re.search(r"//([^/:]+):(\d+)/", self.places["packets"]).groups()
        self.stats()  # it answers
        self.accepting_after = time.monotonic() - self.started_at

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        end(self.process)

    def stats(self):
        with urlopen(f"http://{self.host}:{self.port}/api/v1/stats", timeout=PATIENCE) as answer:
            return json.load(answer)

    def load(self, *options, wait=True):
        """What a client says at its end; the process itself while it is not waited for."""
        process = started(
            self.stack, "benchmarks.distributor.load", "http", self.host, self.port, *options, errors=None
        )
        return told_by(process) if wait else process

    def syslog(self, *options):
        host, _, port = self.places["syslog tcp"].rpartition(":")
        return told_by(
            started(self.stack, "benchmarks.distributor.load", "syslog", host, port, *options, errors=None)
        )

    def until(self, condition, what, seconds=PATIENCE):
        """The first figures of which `condition` is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition(stats := self.stats()):
                return stats
            time.sleep(0.02)
        raise Wrong(f"not within {seconds:g} s: {what}; {stats}")

    def until_delivered(self, seconds=PATIENCE):
        stats = self.until(lambda stats: not stats["pending"], "everything is delivered", seconds)
        if stats["conservation_error"] or stats["delivered"] + stats["dead"] != stats["accepted"]:
            raise Wrong(f"the books do not balance: {stats}")
        return stats

    # What the kernel says of it

    def memory(self, field="VmRSS"):
        """Bytes in memory; the most ever with VmHWM."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / JIFFIES


def told_by(process):
    """What a client printed when it has ended."""
    said, _ = process.communicate()
    if process.returncode:
        raise Wrong(f"a client failed: {said[-500:]}")
    return json.loads(said)


class Stage(ExitStack):
    """A temporary folder, a sink and a distributor; nothing of them is left at the end."""

    def __enter__(self):
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
        return self

    def sink(self, ports=()):
        return Sink(self, ports)

    def unused_ports(self, count):
        """Ports that refuse connections until a sink listens there; nobody else is given them meanwhile."""
        sockets = [self.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the sink binds to it as well
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]

    def service(self, ports, **settings):
        return Service(self, self.folder, ports, settings)

    @staticmethod
    def require_all(sink, *loads):
        """Whether exactly what was acknowledged has arrived."""
        figures = sink.figures()
        accepted = sum(load["accepted"] for load in loads)
        hash_ = sum(load["hash"] for load in loads) & HASH_MASK
        if (figures["packets"], figures["hash"]) != (accepted, hash_):
            raise Wrong(f"{accepted} packets were acknowledged, {figures['packets']} others arrived")
