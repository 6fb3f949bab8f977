"""A scraper that is killed at any moment goes on without fetching twice what it had."""

import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from penstock.services.scraper.frontier import Store
from penstock.services.scraper.urls import target_of

PAGES = 300

SCRAPE = textwrap.dedent(
    """
    import asyncio, sys
    from penstock.services.scraper.config import ScrapeSettings
    from penstock.services.scraper.crawler import open_crawler
    from penstock.services.scraper.model import Start

    async def main(url, state, on_interrupted, name):
        settings = ScrapeSettings(
            rate=None, pages=None, allow_private=True, concurrency=8, max_chain=1000,
            on_interrupted=on_interrupted, user_agent=name,
        )
        async with open_crawler(settings, state=state) as crawler:
            await crawler.crawl([Start(url)], [])

    asyncio.run(main(*sys.argv[1:]))
    """
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = self.server.asked[self.headers["User-Agent"]]
        asked[self.path] += 1
        if asked.total() == self.server.alarm:
            self.server.rings.set()
        number = int(self.path[2:]) if self.path.startswith("/p") else 0
        links = "".join(f'<a href="/p{(number * 3 + step) % PAGES}">x</a>' for step in range(1, 9))
        body = b"" if self.path == "/robots.txt" else f"<title>{number}</title>{links}".encode()
        self.send_response(404 if self.path == "/robots.txt" else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Site(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = {"first": Counter(), "second": Counter()}
        self.alarm = 0
        self.rings = threading.Event()

    def handle_error(self, request, address):
        """A client that was killed is none of our business."""


@pytest.fixture(name="site")
def a_site():
    site = Site()
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    site.shutdown()
    thread.join()
    site.server_close()


def scrape(site, state, mode, name):
    url = f"http://127.0.0.1:{site.server_port}/"
    return subprocess.Popen([sys.executable, "-c", SCRAPE, url, state, mode, name])


def killed(site, state, mode, after):
    """The rows of a run that is killed once so many requests have come."""
    site.alarm = after
    process = scrape(site, state, mode, "first")
    try:
        assert site.rings.wait(60)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    site.alarm = 0
    store = Store(state)
    rows = list(store.rows())
    store.close()
    return rows


@pytest.mark.parametrize("after", [1, 120, 250])
def test_what_has_a_row_is_not_fetched_again(site, tmp_path, after):
    state = tmp_path / "site.crawl"
    rows = killed(site, state, "refetch", after)
    assert scrape(site, state, "refetch", "second").wait(60) == 0
    first, second = site.asked["first"], site.asked["second"]
    had = {target_of(row.canonical) for row in rows}
    assert not had & set(second)
    twice = [path for path in second if path in first and path != "/robots.txt"]
    assert len(twice) <= 8 + 60  # in flight at the kill, or answered and not yet committed
    assert max(second.values()) == 1
    assert len(check_rows(state, rows, {"fetched"})) == PAGES + 1


@pytest.mark.parametrize("after", [10, 200])
def test_nothing_at_all_is_fetched_twice_when_asked_for(site, tmp_path, after):
    state = tmp_path / "site.crawl"
    rows = killed(site, state, "skip", after)
    assert scrape(site, state, "skip", "second").wait(60) == 0
    both = site.asked["first"] + site.asked["second"]
    assert {path for path, times in both.items() if times > 1} <= {"/robots.txt"}
    found = check_rows(state, rows, {"fetched", "interrupted"})
    assert {path for path in both if path != "/robots.txt"} <= found  # what was lost has a row that says so


def check_rows(state, earlier, outcomes):
    """Every page has one row, and those of the first run are still there; returns the pages' paths."""
    store = Store(state)
    rows = list(store.rows())
    assert store.queued() == store.started() == []
    store.close()
    assert rows[: len(earlier)] == earlier
    assert {row.outcome for row in rows} <= outcomes
    assert len({row.canonical for row in rows}) == len(rows)
    return {target_of(row.canonical) for row in rows}
