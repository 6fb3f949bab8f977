"""One visit after the other: asks, follows redirects, reads the page and queues its links."""

import asyncio
import logging
from collections.abc import Iterable

from penstock.services.printable import one_line
from penstock.services.scraper.addresses import is_private_literal
from penstock.services.scraper.crawl import Crawl
from penstock.services.scraper.fetch import Answer
from penstock.services.scraper.model import Extract, Extractor, Outcome, Page
from penstock.services.scraper.politeness import Lane
from penstock.services.scraper.robots import MAX_ROBOTS_BYTES, robots_url
from penstock.services.scraper.rows import row_of
from penstock.services.scraper.site_files import MAX_SITEMAP_BYTES, SiteFiles
from penstock.services.scraper.traps import shape_of
from penstock.services.scraper.urls import authority_of, host_of, origin_of
from penstock.services.scraper.visit import NO_URL, Visit

__all__ = ["Visitor"]

log = logging.getLogger(__name__)

DEAD = frozenset({"dns", "connect", "proxy", "tls", "certificate", "timeout", "closed", "reset"})
"""Failures that make a host look dead when nothing else comes."""

UNREACHED = frozenset({"dns", "connect"})
"""Failures after which the host gets a pause: its next page would meet the same."""

LONG_PAGE = 100_000
"""Bytes of a page from which it is read in a thread: that takes milliseconds, and more if it is made to."""

MAX_LONG_PAGES = 2
"""Of those at once: each takes many times its size while it is read."""

SITEMAP_WAIT = 1.0
"""Seconds after which a sitemap that found no room asks again."""


class Visitor:
    """Makes the visits of a crawl.

    Args:
        crawl: whose they are.
        extract: reads pages.
        site_files: reads robots.txt and sitemaps.
        asked: pages asked for in earlier runs.
    """

    def __init__(self, crawl: Crawl, extract: Extractor, site_files: SiteFiles, asked: int) -> None:
        self._crawl = crawl
        self._settings = crawl.settings
        self._extract = extract
        self._site_files = site_files
        self._asked = asked
        self._long_pages = asyncio.Semaphore(MAX_LONG_PAGES)

    def judge(self, visit: Visit, lane: Lane) -> Visit | None:
        """Whether a visit may be made, and what must be known before: the gate of Politeness."""
        if visit.kind == "robots" or lane.given_up:
            return visit
        if visit.url.startswith(NO_URL):
            visit.refusal, visit.refused_as = visit.url.removeprefix(f"{NO_URL}{visit.given} "), "failed"
            return visit
        limit = self._settings.pages_per_host
        if limit is not None and lane.taken >= limit and counts(visit):
            self._crawl.tell("limit", visit.url, f"{limit} pages of {lane.host}")
            self._crawl.politeness.close(lane)
            return None
        return self._robots_judge(visit, lane) if self._settings.obey_robots else visit

    def _robots_judge(self, visit: Visit, lane: Lane) -> Visit:
        robots, origin = self._crawl.robots, origin_of(visit.at)
        rules = robots.rules(origin, self._crawl.clock())
        if rules is None:
            return Visit(0, robots_url(origin), lane.host, "robots")
        if not robots.allows(rules, visit.at):
            visit.refusal, visit.refused_as = rules.refusal or "robots.txt disallows it", rules.outcome
        return visit

    async def make(self, visit: Visit) -> None:
        """Makes a visit that was taken from Politeness: up to its end, its next hop or its next attempt."""
        lane = self._crawl.politeness.lane(visit.host)
        if visit.kind == "robots":
            answer = Answer(error=lane.given_up) if lane.given_up else await self._fetch(visit, lane)
            await self._site_files.take_robots(visit, lane, answer)
        elif visit.refusal or lane.given_up:
            await asyncio.sleep(0)  # a thousand of them let others have a turn
            self._skip(visit, lane)
        elif self._has_room(visit, lane):
            if self._settings.on_interrupted == "skip" and counts(visit):
                await self._crawl.frontier.start(visit)
            await self._ask(visit, lane)

    def _has_room(self, visit: Visit, lane: Lane) -> bool:
        """Counts a page that is about to be asked for, unless there are as many as wanted."""
        if not counts(visit):
            return True
        limit = self._settings.pages
        if limit is not None and self._asked >= limit:
            self._crawl.reach_limit(f"{limit} pages")
            return False
        self._asked += 1
        lane.taken += 1
        return True

    def _skip(self, visit: Visit, lane: Lane) -> None:
        if visit.refusal:
            self._crawl.conclude(visit, visit.refused_as, visit.refusal)
        else:
            self._crawl.conclude(visit, "given up", f"host given up: {lane.given_up}")

    async def _ask(self, visit: Visit, lane: Lane) -> None:
        if visit.kind == "sitemap":
            with self._site_files.one_more() as has_room:
                if not has_room:
                    self._crawl.politeness.add_later(visit, SITEMAP_WAIT)
                    return
                answer = await self._fetch(visit, lane)
                if not await self._goes_on(visit, lane, answer):
                    await self._site_files.take_sitemap(visit, answer)
        else:
            answer = await self._fetch(visit, lane)
            if not await self._goes_on(visit, lane, answer):
                await self._read(visit, answer)

    async def _fetch(self, visit: Visit, lane: Lane) -> Answer:
        host, began = host_of(visit.host), self._crawl.clock()
        if not self._settings.allow_private and is_private_literal(host):
            return Answer(
                failure="address", error=f"{host} is a private address: --allow-private lets it pass"
            )
        fetch = self._crawl.fetcher.fetch
        match visit.kind:
            case "page":
                answer = await fetch(visit.at, by_get=visit.by_get)
            case "check":
                answer = await fetch(visit.at, "head", by_get=visit.by_get)
            case "sitemap":
                answer = await fetch(visit.at, "all", max_size=MAX_SITEMAP_BYTES)
            case "robots":
                answer = await fetch(visit.at, "all", max_size=MAX_ROBOTS_BYTES + 1)
        visit.spent += answer.elapsed
        visit.started_at = visit.started_at or answer.started_at
        self._count_bytes(answer)
        self._note_health(lane, answer, began)
        return answer

    def _count_bytes(self, answer: Answer) -> None:
        progress, limit = self._crawl.progress, self._settings.max_bytes
        progress.bytes += answer.size
        if limit is not None and progress.bytes >= limit:
            self._crawl.reach_limit(f"{limit} bytes")

    def _note_health(self, lane: Lane, answer: Answer, began: int) -> None:
        if answer.failure not in DEAD:
            lane.failures = 0
            return
        failures = self._crawl.politeness.failed(lane, began)
        if lane.given_up:
            return
        if failures >= self._settings.give_up_after:
            self._crawl.give_up(lane, answer.error)
        elif failures and answer.failure in UNREACHED:  # none: it began before one that came through since
            self._crawl.politeness.hold(lane, self._settings.backoff.delay(failures))

    async def _goes_on(self, visit: Visit, lane: Lane, answer: Answer) -> bool:
        """Whether an answer is dealt with: by another attempt, another URL, or a row for leading to none."""
        if answer.wants_get:
            visit.by_get = True
            self._crawl.politeness.add_first(visit)
            return True
        if self._crawl.tries_again(visit, lane, answer):
            return True
        if not answer.location:
            return False
        target = self._crawl.canonicalizer.canonical(answer.location, visit.at)
        words = self._forbids(visit, target)
        if target is None or words:
            outcome: Outcome = "refused" if words.startswith(OUTSIDE) else "failed"
            self._crawl.conclude(visit, outcome, words, answer)
        elif await self._owns(visit, target):
            self._crawl.send_on(visit, target, answer.status)
        else:
            visit.hops.append(visit.at)
            visit.at = target
            self._crawl.conclude(visit, "duplicate", "redirects to a page that has its own row", answer)
        return True

    def _forbids(self, visit: Visit, target: str | None) -> str:
        """Why a redirect is not followed, in plain words; empty when it is."""
        if target is None:
            return "redirected to what is no URL of http or https"
        if target == visit.at or target in visit.hops:
            return "redirect loop"
        if len(visit.hops) >= self._settings.max_redirects:
            return f"more than {self._settings.max_redirects} redirects"
        if not self._crawl.meet(authority_of(target)):
            return f"redirects to a host beyond the {self._settings.max_hosts} that may be met"
        if visit.kind == "page" and not self._crawl.scope.holds(authority_of(target)):
            if visit.depth or visit.from_sitemap:
                return f"{OUTSIDE}, to {one_line(target, 150)}"
            self._widen(target)  # a starting URL means what it leads to
        return ""

    def _widen(self, url: str) -> None:
        if self._crawl.scope.widen(authority_of(url)):
            self._crawl.frontier.widen(authority_of(url))

    async def _owns(self, visit: Visit, target: str) -> bool:
        """Whether what a redirect leads to is nobody else's: no page is fetched twice."""
        if visit.kind != "page" or target in visit.claims:
            return True
        return await self._crawl.frontier.claim(visit, target, authority_of(target))

    async def _read(self, visit: Visit, answer: Answer) -> None:
        """Makes the row of a page, and visits of its links."""
        if not answer.status:
            outcome: Outcome = "refused" if answer.failure == "address" else "failed"
            self._crawl.conclude(visit, outcome, answer.error, answer)
            return
        page = row_of(visit, "fetched", answer.error, answer)
        if answer.body and visit.kind == "page":
            settings, canonicalizer = self._settings, self._crawl.canonicalizer
            held = await self._held_by(visit, answer, page)
            page.title, page.charset, page.selected = held.title, held.encoding, held.selected
            page.robots = ", ".join(filter(None, (answer.robots, held.robots)))
            base = visit.at
            if held.base and held.base != base:
                base = canonicalizer.canonical(held.base, base) or base
            references = held.links if settings.obey_nofollow else [*held.links, *held.marked_links]
            links = canonicalizer.links(base, references[: settings.max_links])
            page.links = len(links)
            self._crawl.progress.links += len(links)
            forbidden = held.nofollow or "nofollow" in answer.robots or "none" in answer.robots
            if answer.status < 300 and not (forbidden and settings.obey_nofollow):
                self._follow(visit, links)
        self._crawl.report(visit, page)

    async def _held_by(self, visit: Visit, answer: Answer, page: Page) -> Extract:
        what = (answer.body, answer.content_type, visit.at, self._settings.selectors)
        try:
            if len(answer.body) <= LONG_PAGE:
                return self._extract(*what)
            async with self._long_pages:
                return await asyncio.to_thread(self._extract, *what)
        except Exception as error:  # it promises not to; were it to break that, one page is less than all
            log.exception("%s could not be read", visit.at)
            page.error = f"could not be read: {type(error).__name__}"
            return Extract()

    def _follow(self, visit: Visit, links: Iterable[str]) -> None:
        """Queues the links of a page that are new and lead where the crawl may go."""
        if self._settings.depth is not None and visit.depth >= self._settings.depth:
            return
        is_known = self._crawl.frontier.is_known
        found = (self._visit_of(visit, link) for link in links if not is_known(link))
        self._crawl.frontier.add(link for link in found if link is not None)

    def _visit_of(self, page: Visit, link: str) -> Visit | None:
        host, depth = authority_of(link), page.depth + 1
        is_inside = self._crawl.scope.holds(host)
        if not (is_inside or self._settings.check_links) or not self._crawl.meet(host):
            return None
        if not is_inside:
            return Visit(0, link, host, "check", depth, 0, page.id, page.at)
        chain = page.chain + 1 if shape_of(link) == shape_of(page.at) else 0
        words = self._crawl.traps.words(link, chain)
        if words:
            self._crawl.progress.traps += 1
            self._crawl.tell("trap", link, words)
            return None
        return Visit(0, link, host, "page", depth, chain, page.id, page.at)


OUTSIDE = "redirects outside the scope"


def counts(visit: Visit) -> bool:
    """Whether its next request makes one more page: neither its URL nor one after it was asked for yet."""
    return visit.kind in ("page", "check") and visit.attempt == 1 and not visit.hops and not visit.by_get
