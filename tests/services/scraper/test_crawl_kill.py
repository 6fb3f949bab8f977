"""A scraper that is killed, again and again, at any moment: the site's own log shows what was asked twice."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from penstock.services.scraper.frontier import Store
from penstock.services.scraper.urls import target_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")

PAGES = 300
REDIRECTS = range(0, PAGES, 10)
KILLS = 6

NURSERY = textwrap.dedent(
    """
    import asyncio, json, os, sys, traceback
    import penstock.services.scraper.extract, penstock.services.scraper.sitemaps
    from penstock.services.scraper.config import ScrapeSettings
    from penstock.services.scraper.crawler import open_crawler
    from penstock.services.scraper.model import Start

    async def scrape(url, state, on_interrupted, name):
        settings = ScrapeSettings(
            rate=None, pages=None, allow_private=True, concurrency=8, max_chain=1000,
            on_interrupted=on_interrupted, user_agent=name,
        )
        async with open_crawler(settings, state=state) as crawler:
            await crawler.crawl([Start(url)], [])

    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                asyncio.run(scrape(*json.loads(line)))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)
    """
)


class Nursery:
    """Starts scrapers as children of a process that has imported everything: in no time, one at once."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *arguments):
        """The pid of a scraper that begins now."""
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def status(self):
        """How the last one ended, as os.waitpid tells it; waits for that."""
        return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()


class Handler(BaseHTTPRequestHandler):
    """Pages /pN with eight links each; /rN leads by /qN to /sN, which a page links to as well."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.note(self.headers["User-Agent"], self.path)
        kind, digits = self.path[1:2], self.path[2:]
        number = int(digits) if digits.isdigit() else 0
        location = {"r": f"/q{number}", "q": f"/s{number}"}.get(kind) if digits.isdigit() else None
        body = b"" if location else f"<title>{number}</title>{links_of(number)}".encode()
        self.send_response(404 if self.path == "/robots.txt" else 302 if location else 200)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def links_of(number):
    links = [f"/p{(number * 3 + step) % PAGES}" for step in range(1, 9)]
    if number in REDIRECTS:
        links.append(f"/r{number}")
    if number - 5 in REDIRECTS:
        links.append(f"/s{number - 5}")
    return "".join(f'<a href="{link}">x</a>' for link in links)


class Site(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = defaultdict(Counter)  # by name of who asks
        self.alarm = 0
        self.rings = threading.Event()

    def note(self, name, path):
        asked = self.asked[name]
        asked[path] += 1
        if asked.total() == self.alarm:
            self.rings.set()

    def handle_error(self, request, address):
        """A client that was killed is none of our business."""


@pytest.fixture(name="nursery", scope="module")
def a_nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(name="site")
def a_site():
    site = Site()
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    site.shutdown()
    thread.join()
    site.server_close()


def run_killed(nursery, site, state, mode, name, after):
    """Kills a run once so many requests of its own have come; returns the rows that the state has then."""
    site.rings.clear()
    site.alarm = after
    child = nursery.start(f"http://127.0.0.1:{site.server_port}/", str(state), mode, name)
    try:
        assert site.rings.wait(60)
    finally:
        os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(nursery.status()) == signal.SIGKILL
    return rows_of(state)


def rows_of(state):
    store = Store(state)
    try:
        return list(store.rows())
    finally:
        store.close()


def killed_again_and_again(nursery, site, state, mode, seed):
    """The rows after each of some kills at random moments, and those after a run to the end."""
    dice = random.Random(seed)
    histories = [
        run_killed(nursery, site, state, mode, f"run{number}", dice.randint(1, 45)) for number in range(KILLS)
    ]
    site.alarm = 0
    nursery.start(f"http://127.0.0.1:{site.server_port}/", str(state), mode, f"run{KILLS}")
    assert nursery.status() == 0
    store = Store(state)
    assert store.queued() == store.started() == []
    store.close()
    histories.append(rows_of(state))
    for earlier, later in itertools.pairwise(histories):
        assert later[: len(earlier)] == earlier
    return histories


def owned(row):
    """Paths that a row speaks for: its own, and that to which it was redirected."""
    paths = {target_of(row.canonical)}
    return paths if row.outcome == "duplicate" else paths | {target_of(row.final_url)}


@pytest.mark.parametrize("seed", [1, 2])
def test_what_has_a_row_is_not_fetched_again_and_nothing_is_lost(nursery, site, tmp_path, seed):
    histories = killed_again_and_again(nursery, site, tmp_path / "site.crawl", "refetch", seed)
    for number, rows in enumerate(histories[:-1]):
        had = set().union(*map(owned, rows))
        for later in range(number + 1, KILLS + 1):
            assert not had & set(site.asked[f"run{later}"])
    last = histories[-1]
    assert {row.outcome for row in last} <= {"fetched", "duplicate"}
    assert all(row.status == (302 if row.outcome == "duplicate" else 200) for row in last)
    assert len({row.canonical for row in last}) == len(last)
    fetched = Counter(path for row in last if row.outcome == "fetched" for path in owned(row))
    pages = {"/", *(f"/p{number}" for number in range(PAGES)), *(f"/s{number}" for number in REDIRECTS)}
    assert pages <= set(fetched)
    assert max(fetched.values()) == 1
    assert {f"/r{number}" for number in REDIRECTS} <= {target_of(row.canonical) for row in last}
    assert all(max(asked.values()) == 1 for asked in site.asked.values())


@pytest.mark.parametrize("seed", [3, 4])
def test_nothing_at_all_is_fetched_twice_when_asked_for(nursery, site, tmp_path, seed):
    *_, last = killed_again_and_again(nursery, site, tmp_path / "site.crawl", "skip", seed)
    asked = sum(site.asked.values(), Counter())
    assert {path for path, times in asked.items() if times > 1} <= {"/robots.txt"}
    assert {row.outcome for row in last} <= {"fetched", "duplicate", "interrupted"}
    assert len({row.canonical for row in last}) == len(last)
    pages = {path for path in asked if path.startswith(("/p", "/r")) and path != "/robots.txt"}
    assert pages <= {target_of(row.canonical) for row in last}  # what was lost has a row that says so
