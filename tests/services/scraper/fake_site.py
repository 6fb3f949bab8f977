"""Sites without a network: an engine that answers from a table, in virtual time, and keeps a log."""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field

from penstock.clock import ManualClock
from penstock.probing.exchange import Exchange, Phases
from penstock.services.scraper.config import ScrapeSettings
from penstock.services.scraper.crawler import Crawler
from penstock.services.scraper.extract import extract
from penstock.services.scraper.frontier import Store
from penstock.services.scraper.model import Start
from penstock.services.scraper.sitemaps import read_sitemap
from penstock.services.scraper.urls import authority_of
from virtual_time import VirtualTimeLoop

HTML = "text/html; charset=utf-8"


def html(*links, title="a page", head=""):
    anchors = "".join(f'<a href="{link}">x</a>' for link in links)
    return f"<html><head><title>{title}</title>{head}</head><body>{anchors}</body></html>"


@dataclass
class Reply:
    body: bytes | str = ""
    status: int = 200
    kind: str = HTML
    headers: dict = field(default_factory=dict)
    latency: float = 0.01
    failure: str = ""
    error: str = ""
    may_pass: bool = True


def page(*links, **more):
    return Reply(html(*links, **more))


def redirect(target, status=302):
    return Reply(status=status, headers={"Location": target})


def fails(failure, error, may_pass=True, latency=0.01):
    return Reply(failure=failure, error=error, may_pass=may_pass, latency=latency)


MISSING = Reply(html(title="not here"), 404)


class FakeSite:
    """An engine. `pages` maps URLs to a Reply, several of them (the last one stays) or a function."""

    name = "fake"

    def __init__(self, pages, clock=None):
        self.clock = clock or ManualClock(10**9)
        self.pages = {re.sub(r"^/", "http://e.com/", url): reply for url, reply in pages.items()}
        self.log = []
        self.requests = []
        self.in_flight = Counter()
        self.peak = Counter()

    async def aclose(self):
        pass

    def _reply(self, url):
        reply = self.pages.get(url)
        if reply is None:
            starts = (start for start in self.pages if start.endswith("*") and url.startswith(start[:-1]))
            reply = next((self.pages[start] for start in starts), MISSING)
        if isinstance(reply, list):
            reply = reply.pop(0) if len(reply) > 1 else reply[0]
        return reply(url) if callable(reply) else reply

    async def exchange(self, request, timeout):  # noqa: ASYNC109 - as engines have it
        self.log.append((self.clock() / 1e9, request.method, request.url))
        self.requests.append(request)
        host = authority_of(request.url)
        self.in_flight[host] += 1
        self.peak[host] = max(self.peak[host], self.in_flight[host])
        reply = self._reply(request.url)
        began = self.clock()
        try:
            if reply.latency > timeout:
                await asyncio.sleep(timeout)
                return Exchange(failure="timeout", error=f"timed out after {timeout:g} s", may_pass=True)
            await asyncio.sleep(reply.latency)
        finally:
            self.in_flight[host] -= 1
        phases = Phases(total=self.clock() - began)
        if reply.failure:
            return Exchange(
                failure=reply.failure,
                error=reply.error,
                may_pass=reply.may_pass,
                phases=phases,
                started_at=10**18,
            )
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body
        kept = b"" if request.method == "HEAD" else body[: request.keep_body]
        lines = {"Content-Type": reply.kind, "Content-Length": str(len(body))} | reply.headers
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return Exchange(
            status=reply.status,
            head=f"HTTP/1.1 {reply.status} X\r\n{head}\r\n".encode("latin-1"),
            body=kept,
            size=min(len(body), request.max_body) if request.method != "HEAD" else 0,
            truncated=request.method != "HEAD" and len(body) > request.max_body,
            phases=phases,
            started_at=10**18,
        )

    @property
    def urls(self):
        """What was asked for, in order, robots.txt not counted."""
        return [url for _, _, url in self.log if not url.endswith("/robots.txt")]

    def times(self, start):
        """Seconds when URLs that begin so were asked for."""
        return [at for at, _, url in self.log if url.startswith(start)]


DEFAULTS = {"rate": None, "pages": None, "per_host": 8, "retries": 0, "max_segments": 24}


class Run:
    """One crawl of a FakeSite: its rows, its events, its crawler."""

    def __init__(self, site, state=None, *, starts=("http://e.com/",), **settings):
        self.site = site
        self.rows = []
        self.events = []
        self.starts = [Start(start) if isinstance(start, str) else start for start in starts]
        self.settings = ScrapeSettings(**DEFAULTS | settings)
        self.state = state
        self.earlier = []
        self.crawler = None

    async def crawl(self, sinks=(), meanwhile=None):
        store = Store(self.state)
        try:
            self.crawler = Crawler(
                self.settings,
                store,
                self.site,
                extract=extract,
                read_sitemap=read_sitemap,
                observer=self.events.append,
                clock=self.site.clock,
            )
            self.earlier = list(self.crawler.earlier())
            if meanwhile is not None:
                helper = asyncio.create_task(meanwhile(self))
            await self.crawler.crawl(self.starts, [self.rows.append, *sinks])
            if meanwhile is not None:
                await helper
        finally:
            store.close()

    def may_pass(self):
        """Whether nothing goes on in another thread, which virtual time has to wait for."""
        if self.crawler is None:
            return True
        politeness = self.crawler._politeness
        is_loading = any(lane.is_loading for lane in politeness._lanes.values())
        is_busy = politeness.in_progress > self.site.in_flight.total()  # with something else than a request
        return self.crawler._frontier.is_idle and not is_loading and not is_busy

    def run(self, sinks=(), meanwhile=None):
        """The whole crawl, in virtual time; returns itself."""
        with asyncio.Runner(
            loop_factory=lambda: VirtualTimeLoop(self.site.clock, may_pass=self.may_pass)
        ) as runner:
            runner.run(asyncio.wait_for(self.crawl(sinks, meanwhile), 10_000_000))
        return self

    @property
    def by_url(self):
        return {row.canonical or row.url: row for row in self.rows}

    def told(self, kind):
        return [event for event in self.events if event.kind == kind]


def crawled(pages, /, **settings):
    """A crawl from http://e.com/ over a table of pages."""
    return Run(FakeSite(pages), **settings).run()
