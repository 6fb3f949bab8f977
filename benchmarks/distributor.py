"""How fast the logs distributor accepts and delivers, as a client sees it.

Starts the real commands as processes on loopback: four analyzers that answer at once, and the
distributor in durable mode. One lean client keeps a fixed number of connections busy, first with
requests of one packet, then with arrays of 100. Every packet is the reference's sample of three messages.
A rate counts only when what was acknowledged is delivered and the books balance.

    python benchmarks/distributor.py [--seconds 10] [--durability fsync] [--smoke]
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from statistics import quantiles
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table

SAMPLE = {
    "messages": [
        {
            "level": "INFO",
            "message": "User login successful",
            "source": "auth-service",
            "metadata": {
                "user_id": "user_12345",
                "ip_address": "192.168.1.100",
                "session_id": "sess_abc123",
            },
        },
        {
            "level": "DEBUG",
            "message": "Session token generated",
            "source": "auth-service",
            "metadata": {"user_id": "user_12345", "token_expiry": "2025-01-25T21:30:00Z"},
        },
        {
            "level": "ERROR",
            "message": "Multiple login attempts detected",
            "source": "security-monitor",
            "metadata": {
                "user_id": "user_12345",
                "attempt_count": 5,
                "last_attempt": "2025-01-25T20:25:00Z",
            },
        },
    ]
}
WEIGHTS = (40, 30, 20, 10)
LOADS = (
    # what, connections, packets a request, floor in packets a second
    ("single packets, 64 clients", 64, 1, 5_000),
    ("arrays of 100, 8 clients", 8, 100, 30_000),
)


class Client(asyncio.Protocol):
    """One connection that sends the same request again as soon as it was answered, until told to stop."""

    def __init__(self, request, latencies):
        self.request, self.latencies = request, latencies
        self.done = asyncio.get_running_loop().create_future()
        self.stopping = False
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport
        self.send()

    def send(self):
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data):
        self.received += data
        head, blank, body = self.received.partition(b"\r\n\r\n")
        if not blank or len(body) < int(re.search(rb"(?i)content-length: *(\d+)", head)[1]):
            return
        if not head.startswith(b"HTTP/1.1 202"):
            self.done.set_exception(RuntimeError(f"refused: {self.received[:500]!r}"))
            return
        self.received = b""
        self.latencies.append(time.perf_counter() - self.sent)
        if self.stopping:
            self.done.set_result(None)
            self.transport.close()
        else:
            self.send()


def request_of(packets, host, port):
    body = json.dumps([SAMPLE] * packets, separators=(",", ":")).encode()
    return (
        f"POST /api/v1/logs HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def drive(host, port, connections, packets, seconds):
    """Acknowledged requests a second, and the latencies of them all."""
    latencies = []
    loop = asyncio.get_running_loop()
    request = request_of(packets, host, port)
    clients = [
        (await loop.create_connection(lambda: Client(request, latencies), host, port))[1]
        for _ in range(connections)
    ]
    start = time.perf_counter()
    await asyncio.sleep(seconds)
    for client in clients:
        client.stopping = True
    await asyncio.gather(*(client.done for client in clients))
    return len(latencies), time.perf_counter() - start, latencies


def started(stack, *arguments):
    """A penstock command as a process, ended with the stack; returns what its output says of an address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    for line in process.stdout:
        if found := re.search(r"http://(127\.0\.0\.1):(\d+)", line):
            return found[1], int(found[2])
    raise RuntimeError(f"penstock {' '.join(arguments)} did not start")


def stats_of(host, port):
    with urlopen(f"http://{host}:{port}/api/v1/stats") as answer:
        return json.load(answer)


def wait_until_delivered(host, port):
    """The figures once nothing is pending; a minute at the most."""
    deadline = time.monotonic() + 60
    while (stats := stats_of(host, port))["pending"] and time.monotonic() < deadline:
        time.sleep(0.05)
    return stats


def run(seconds, durability):
    with ExitStack() as stack:
        analyzers = [
            started(stack, "analyzer", "--port", "0", "--processing-time", "0", "--failure-rate", "0")
            for _ in WEIGHTS
        ]
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        options = ["--port", "0", "--data-dir", folder, "--durability", durability]
        for number, ((host, port), weight) in enumerate(zip(analyzers, WEIGHTS, strict=True)):
            options += ["--analyzer", f"a{number}=http://{host}:{port}/packets@{weight}"]
        host, port = started(stack, "distribute", *options)
        for what, connections, packets, floor in LOADS:
            yield measure(host, port, what, connections, packets, floor, seconds)


def measure(host, port, what, connections, packets, floor, seconds):
    asyncio.run(drive(host, port, connections, packets, seconds / 5))  # warm-up
    before = wait_until_delivered(host, port)
    start = time.perf_counter()
    requests, took, latencies = asyncio.run(drive(host, port, connections, packets, seconds))
    after = wait_until_delivered(host, port)
    delivered_in = time.perf_counter() - start
    acknowledged = requests * packets
    if after["accepted"] - before["accepted"] != acknowledged:
        raise RuntimeError(f"{acknowledged} packets acknowledged, the books say otherwise: {after}")
    if after["conservation_error"] or after["pending"] or after["delivered"] != after["accepted"]:
        raise RuntimeError(f"the books do not balance: {after}")
    errors = [abs(one["share_error_packets"]) for one in after["analyzers"].values()]
    return {
        "what": what,
        "requests": requests / took,
        "packets": acknowledged / took,
        "floor": floor,
        "end_to_end": acknowledged / delivered_in,
        "p50": quantiles(latencies, n=100)[49] * 1000,
        "p99": quantiles(latencies, n=100)[98] * 1000,
        "share_error": max(errors),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="how long each load lasts")
    parser.add_argument("--durability", choices=["fsync", "os", "memory"], default="fsync")
    parser.add_argument("--smoke", action="store_true", help="half a second each: does it run at all?")
    arguments = parser.parse_args()
    seconds = 0.5 if arguments.smoke else arguments.seconds

    table = Table(
        title=f"distributor, durability {arguments.durability}, {seconds:g} s each", title_justify="left"
    )
    table.add_column("load")
    for column in ("packets/s", "floor", "x floor", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right")
    for row in run(seconds, arguments.durability):
        table.add_row(
            row["what"], f"{row['packets']:,.0f}", f"{row['floor']:,}",
            f"{row['packets'] / row['floor']:.2f}", f"{row['p50']:.1f}", f"{row['p99']:.1f}",
        )  # fmt: skip
        print(
            f"{row['what']}: {row['requests']:,.0f} requests/s acknowledged;"
            f" {row['end_to_end']:,.0f} packets/s until the last was delivered;"
            f" the books balance, shares are off by {row['share_error']:g} packets at most"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
