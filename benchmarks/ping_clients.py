"""The clients of ping.py that are Python: each a process that prints what came of it as one line of JSON.

    python benchmarks/ping_clients.py {socket,protocol,aiohttp,load,bare-aiohttp,pool} [OPTIONS] URL

`socket`, `protocol` and `aiohttp` are penstock's engines, asked by `await engine.exchange(...)`; `load` is
penstock's Load; `pool` is penstock.fanout.bounded over the best engine; `bare-aiohttp` is aiohttp as its
documentation shows it. All keep `-k` requests in flight for `-d` seconds, or until there were `-n`.
"""

import argparse
import asyncio
import json
import resource
import ssl
import sys
import time
from contextlib import asynccontextmanager
from itertools import count, islice

import numpy as np

from penstock.observability import Histogram


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("client", choices=[*CLIENTS])
    parser.add_argument("url")
    parser.add_argument("-k", type=int, default=64, help="requests in flight")
    parser.add_argument("-d", type=float, help="seconds in which requests start")
    parser.add_argument("-n", type=int, help="requests")
    parser.add_argument("--cold", action="store_true", help="a new connection for each request")
    parser.add_argument("--ca", help="file of the certificate to trust")
    parser.add_argument("--numbered", action="store_true", help="ask for /NUMBER")
    parser.add_argument("--times", help="file for number, start and end of each request, in ns")
    given = parser.parse_args()
    if given.d is None and given.n is None:
        parser.error("give -d or -n")
    return given


class Taken:
    """The figures of a run."""

    def __init__(self, given):
        self.given = given
        self.histogram = Histogram()
        self.times = []
        self.errors = 0
        self.said = False

    def start(self):
        self.cpu = cpu_seconds()
        self.began = time.perf_counter()
        self.until = self.began + self.given.d if self.given.d is not None else float("inf")

    def record(self, number, exchange):
        """An exchange of penstock's."""
        self.histogram.record(exchange.phases.total)

    def add(self, number, exchange):
        """The same, and its times."""
        start = exchange.began + exchange.queued
        self.add_times(number, start, start + exchange.phases.total)

    def add_times(self, number, start, end):
        self.histogram.record(end - start)
        if self.given.times:
            self.times.append((number, start, end))

    def fail(self, error):
        self.errors += 1
        if not self.said:
            print(error, file=sys.stderr)
            self.said = True

    def show(self, **others):
        figures = {
            "requests": self.histogram.count,
            "errors": self.errors,
            "seconds": time.perf_counter() - self.began,
            "cpu": cpu_seconds() - self.cpu,
            "p50": self.histogram.percentile(0.5),
            "p99": self.histogram.percentile(0.99),
            "rss": peak_bytes(),
        }
        if self.given.times:
            np.array(self.times, np.int64).reshape(-1, 3).tofile(self.given.times)
        print(json.dumps(figures | others), flush=True)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_bytes():
    """The most memory that was resident; getrusage's figure begins with that of the process before exec."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


def urls(given):
    """Number and URL of each request, as many as are wanted."""
    numbers = count() if given.n is None else range(given.n)
    return ((number, f"{given.url.rstrip('/')}/{number}") for number in numbers)


def context(given):
    return ssl.create_default_context(cafile=given.ca) if given.ca else None


@asynccontextmanager
async def opened(name, given):
    from penstock.probing import open_engine

    async with open_engine(name, connections=given.k, ssl=context(given)) as engine:
        yield engine


def requests(given):
    """Number and request, one for each; the same one, unless they are numbered."""
    from penstock.probing import Request

    keep = not given.cold
    if not given.numbered:
        same = Request(given.url, keep_alive=keep)
        return ((number, same) for number in (count() if given.n is None else range(given.n)))
    made = [(n, Request(url, keep_alive=keep)) for n, url in islice(urls(given), given.n or 100_000)]
    return iter(made)


def by_engine(name):
    def run(given):
        asyncio.run(drive(name, given))

    return run


async def drive(name, given):
    taken, source = Taken(given), requests(given)
    record, now = (taken.add if given.times else taken.record), time.perf_counter
    async with opened(name, given) as engine:
        ask = engine.exchange

        async def work():
            for number, request in source:
                exchange = await ask(request, 10.0)
                if exchange.status == 200:
                    record(number, exchange)
                else:
                    taken.fail(exchange.error or f"status {exchange.status}")
                if now() >= until:
                    return

        taken.start()
        until = taken.until
        await asyncio.gather(*(work() for _ in range(given.k)))
        taken.show(clock=exchange_clock(name))


def exchange_clock(name):
    return "kernel" if name == "socket" else "user"


def pool(given):
    """A bounded pool, each request an item."""
    from penstock.cli.event_loop import run

    run(drive_pool(given))  # on uvloop where it is installed, as the lab's clients are


async def drive_pool(given):
    from penstock.fanout import bounded

    taken = Taken(given)
    async with opened("auto", given) as engine:
        taken.start()
        source = requests(given)

        async def ask(item):
            number, request = item
            return number, await engine.exchange(request, 10.0)

        async for number, exchange in bounded(ask, source, limit=given.k):
            if exchange.failure:
                taken.fail(exchange.error)
            else:
                taken.record(number, exchange)
        taken.show()


def load(given):
    from penstock.probing import Request
    from penstock.probing.load import Load

    taken = Taken(given)
    taken.start()
    request = Request(given.url, keep_alive=not given.cold)
    with Load(request, connections=given.k, duration=given.d, count=given.n, keep_alive=not given.cold) as it:
        figures = it.wait()
    taken.errors = figures.failed + figures.unsent
    taken.histogram.merge(figures.service)
    taken.show()


def bare_aiohttp(given):
    asyncio.run(drive_aiohttp(given))


async def drive_aiohttp(given):
    import aiohttp

    taken = Taken(given)
    connector = aiohttp.TCPConnector(limit=given.k, force_close=given.cold, ssl=context(given) or True)
    async with aiohttp.ClientSession(connector=connector) as session:
        source = urls(given) if given.numbered else ((number, given.url) for number, _ in urls(given))

        async def work():
            for number, url in source:
                start = time.monotonic_ns()
                try:
                    async with session.get(url) as answer:
                        await answer.read()
                        answer.raise_for_status()
                except (aiohttp.ClientError, TimeoutError) as error:
                    taken.fail(error)
                else:
                    taken.add_times(number, start, time.monotonic_ns())
                if time.perf_counter() >= taken.until:
                    return

        taken.start()
        await asyncio.gather(*(work() for _ in range(given.k)))
        taken.show()


CLIENTS = {
    "socket": by_engine("socket"),
    "protocol": by_engine("protocol"),
    "aiohttp": by_engine("aiohttp"),
    "load": load,
    "pool": pool,
    "bare-aiohttp": bare_aiohttp,
}


if __name__ == "__main__":
    given = arguments()
    CLIENTS[given.client](given)
