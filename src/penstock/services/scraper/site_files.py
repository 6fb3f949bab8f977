"""What a site says about itself: robots.txt and sitemaps."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from penstock.clock import NANOSECONDS
from penstock.services.scraper.crawl import Crawl
from penstock.services.scraper.fetch import Answer
from penstock.services.scraper.model import SitemapReader
from penstock.services.scraper.politeness import Lane
from penstock.services.scraper.robots import MAX_REDIRECTS, RobotsRules, agent_of, read_robots
from penstock.services.scraper.urls import authority_of, origin_of
from penstock.services.scraper.visit import Kind, Visit

__all__ = ["MAX_SITEMAP_BYTES", "SiteFiles"]

MAX_SITEMAP_BYTES = 50 * 1024 * 1024
"""Bytes of a sitemap, as its protocol has it."""

MAX_SITEMAPS_AT_ONCE = 4
"""Each may take a hundred megabytes while it is read."""

MAX_SITEMAP_DEPTH = 3
"""Indexes of sitemaps that lead to one another."""

AT_ONCE = 500
"""URLs of a sitemap that are looked at before others get a turn."""


class SiteFiles:
    """Takes the answers to what is asked of a site besides its pages.

    Args:
        crawl: whose site it is.
        read_sitemap: reads sitemaps.
    """

    def __init__(self, crawl: Crawl, read_sitemap: SitemapReader) -> None:
        self._crawl = crawl
        self._agent = agent_of(crawl.settings.user_agent)
        self._read_sitemap = read_sitemap
        self._sitemaps = 0

    @contextmanager
    def one_more(self) -> Iterator[bool]:
        """Whether one more sitemap may be fetched and read now; it counts until the context ends."""
        has_room = self._sitemaps < MAX_SITEMAPS_AT_ONCE
        self._sitemaps += has_room
        try:
            yield has_room
        finally:
            self._sitemaps -= has_room

    async def take_robots(self, visit: Visit, lane: Lane, answer: Answer) -> None:
        """Makes rules of an answer, unless it leads to another request."""
        if self._crawl.tries_again(visit, lane, answer):
            return
        if answer.location and len(visit.hops) < MAX_REDIRECTS:
            target = self._crawl.canonicalizer.canonical(answer.location, visit.at)
            is_known = target is None or target in (*visit.hops, visit.at)
            if target is not None and not is_known and self._crawl.meet(authority_of(target)):
                self._crawl.send_on(visit, target, answer.status)
                return
        self._obey(visit, await read_robots(answer, self._agent))

    def _obey(self, visit: Visit, rules: RobotsRules) -> None:
        crawl, origin = self._crawl, origin_of(visit.url)
        lane = crawl.politeness.lane(authority_of(visit.url))
        delay = min(rules.crawl_delay, crawl.settings.max_crawl_delay)
        crawl.robots.set(origin, rules, crawl.clock())
        crawl.tell("robots", visit.url, rules.refusal, seconds=delay)
        if delay:
            lane.crawl_delay = max(lane.crawl_delay, round(delay * NANOSECONDS))
            crawl.politeness.hold(lane, delay)
        if crawl.settings.sitemaps and not rules.refusal and crawl.scope.holds(lane.host):
            self.add_sitemaps(origin, rules.sitemaps)
        crawl.politeness.unblock(lane)

    def add_sitemaps(self, origin: str, named: Sequence[str] = ()) -> None:
        """Queues the sitemaps of an origin: those that it names, or the one that every site may have."""
        urls = (self._crawl.canonicalizer.canonical(url, f"{origin}/") for url in named or ("/sitemap.xml",))
        self._crawl.frontier.add(
            Visit(0, url, authority_of(url), "sitemap")
            for url in urls
            if url is not None and not self._crawl.frontier.is_known(url)
        )

    async def take_sitemap(self, visit: Visit, answer: Answer) -> None:
        """Queues what a sitemap lists and ends its visit."""
        crawl = self._crawl
        if not 200 <= answer.status < 300:
            crawl.conclude(visit, "failed", answer.error or f"status {answer.status}", answer)
            return
        content = await asyncio.to_thread(self._read_sitemap, answer.body, visit.at)
        words = content.error or f"{len(content.pages)} pages, {len(content.sitemaps)} sitemaps"
        crawl.tell("sitemap", visit.url, words, length=answer.length)
        if visit.depth < MAX_SITEMAP_DEPTH:
            await self._add_listed(visit, content.sitemaps, "sitemap")
        await self._add_listed(visit, content.pages, "page")
        crawl.frontier.finish(visit, None)

    async def _add_listed(self, sitemap: Visit, listed: Sequence[str], kind: Kind) -> None:
        for first in range(0, len(listed), AT_ONCE):
            await self._crawl.frontier.room()
            found = (self._visit_of(sitemap, text, kind) for text in listed[first : first + AT_ONCE])
            self._crawl.frontier.add(visit for visit in found if visit is not None)
            await asyncio.sleep(0)

    def _visit_of(self, sitemap: Visit, text: str, kind: Kind) -> Visit | None:
        url = self._crawl.canonicalizer.canonical(text, sitemap.at)
        if url is None or self._crawl.frontier.is_known(url):
            return None
        host = authority_of(url)
        if not self._crawl.scope.holds(host) or not self._crawl.meet(host):
            return None
        depth = sitemap.depth + 1 if kind == "sitemap" else 0
        return Visit(0, url, host, kind, depth, 0, sitemap.id, from_sitemap=kind == "page")
