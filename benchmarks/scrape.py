"""How many pages a second `penstock scrape` fetches with every feature on, Scrapy beside it.

A site of 1,505 pages (12 KB, 30 links each; benchmarks/scrape_site.py) is served from memory by a process
on one core, and crawled by the real command on another: robots.txt obeyed, URLs canonical and each fetched
once, a rate limiter a host, a state on disk that survives a kill, title and links of every page, one JSON
line a page. Time, CPU and memory are those of the whole process, its start included. Runs take turns; the
best counts, since what disturbs a run only ever makes it slower.

    python benchmarks/scrape.py [--rounds 5] [--engine auto] [--scrapy PYTHON] [--smoke]

`--scrapy` names a Python that has Scrapy; without it, this one is asked.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

FLOOR = 1_200
"""Pages a second on one core."""

SITE = Path(__file__).with_name("scrape_site.py")
SCRAPY = Path(__file__).parent / "peers" / "scrapy_crawl.py"


@dataclass
class Run:
    pages: int
    seconds: float
    cpu: float
    mib: float

    @property
    def rate(self):
        return self.pages / self.seconds


def pinned(core):
    """Keeps a child on one core, where the system can and there are two."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None
    cores = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cores[core]})


@contextmanager
def site(pages):
    process = subprocess.Popen(
        [sys.executable, SITE, "--pages", str(pages)], stdout=subprocess.PIPE, text=True, preexec_fn=pinned(0)
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
    finally:
        process.terminate()
        process.wait()


def penstock(url, folder, engine):
    fast = ["--rate", "unlimited", "--per-host", "32", "--concurrency", "32", "--pages", "100000"]
    kept = ["--state", f"{folder}/site.crawl", "--ndjson", f"{folder}/rows"]
    return [sys.executable, "-m", "penstock", "scrape", url, "--allow-private", "--quiet",
            "--engine", engine, *fast, *kept]  # fmt: skip


def measured(command, folder):
    """A process of its own, from its start to its end."""
    began = time.perf_counter()
    with open(f"{folder}/errors", "w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, preexec_fn=pinned(1))
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{command[0]} ended with {process.returncode}: {errors.read()}")
    with open(f"{folder}/rows", "rb") as rows:
        pages = sum(1 for _ in rows)
    return Run(pages, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def has_scrapy(python):
    return subprocess.run([python, "-c", "import scrapy"], capture_output=True, check=False).returncode == 0


def best_of(url, given):
    peers = {"penstock scrape": lambda folder: penstock(url, folder, given.engine)}
    if has_scrapy(given.scrapy):
        peers["Scrapy"] = lambda folder: [given.scrapy, SCRAPY, url, f"{folder}/rows"]
    best = {}
    for _ in range(1 if given.smoke else given.rounds):
        for name, command in peers.items():
            with tempfile.TemporaryDirectory() as folder:
                run = measured(command(folder), folder)
            if name not in best or run.seconds < best[name].seconds:
                best[name] = run
    return best


def show(best):
    table = Table(title="pages of 12 KB with 30 links, one core for the crawler")
    for column in ("crawler", "pages", "s", "pages/s", "CPU us a page", "MiB"):
        table.add_column(column, justify="left" if column == "crawler" else "right")
    for name, run in best.items():
        cpu = 1e6 * run.cpu / run.pages
        table.add_row(
            name, f"{run.pages:,}", f"{run.seconds:.2f}", f"{run.rate:,.0f}", f"{cpu:,.0f}", f"{run.mib:.0f}"
        )
    Console().print(table)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--scrapy", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--smoke", action="store_true", help="a small site once, to see that it runs")
    given = parser.parse_args()
    number = 50 if given.smoke else 1_500
    with site(number) as url:
        best = best_of(url, given)
    show(best)
    ours = best["penstock scrape"]
    if ours.pages != number + 5:  # Scrapy fetches the first page twice
        sys.exit(f"{ours.pages} pages of {number + 5}")
    if not given.smoke and ours.rate < FLOOR:
        sys.exit(f"{ours.rate:,.0f} pages/s; the floor is {FLOOR:,}. Load of this machine: {os.getloadavg()}")


if __name__ == "__main__":
    main()
