"""What the parts of one crawl share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from penstock.clock import Clock
from penstock.services.scraper.config import ScrapeSettings
from penstock.services.scraper.fetch import Answer, Fetcher
from penstock.services.scraper.frontier import Frontier
from penstock.services.scraper.model import CrawlEvent, EventKind, Observer, Outcome, Page, Progress
from penstock.services.scraper.politeness import Lane, Politeness
from penstock.services.scraper.robots import Robots
from penstock.services.scraper.rows import row_of
from penstock.services.scraper.scope import Scope
from penstock.services.scraper.traps import Traps
from penstock.services.scraper.urls import Canonicalizer, authority_of
from penstock.services.scraper.visit import Visit

__all__ = ["Crawl"]


@dataclass(slots=True, eq=False)
class Crawl:
    """One crawl: its parts, and what all of them do.

    Attributes:
        settings: all limits.
        clock: returns int nanoseconds.
        frontier: what is known and queued.
        politeness: whose turn it is.
        fetcher: makes requests.
        canonicalizer: makes URLs canonical.
        traps: tells which links look endless.
        robots: the rules of every origin.
        scope: where links may lead.
        progress: how the crawl stands.
        observer: told of everything that happens; None for nobody.
        stop: ends the crawl gracefully.
        is_stopping: whether nothing new is to begin.
        told: what is told once, and has been.
    """

    settings: ScrapeSettings
    clock: Clock
    frontier: Frontier
    politeness: Politeness
    fetcher: Fetcher
    canonicalizer: Canonicalizer
    traps: Traps
    robots: Robots
    scope: Scope
    progress: Progress
    observer: Observer | None
    stop: Callable[[], None]
    is_stopping: bool = False
    told: set[str] = field(default_factory=set)

    def tell(
        self,
        kind: EventKind,
        url: str = "",
        words: str = "",
        *,
        status: int = 0,
        seconds: float = 0.0,
        length: int = 0,
        attempt: int = 0,
    ) -> None:
        """Tells the observer of something that is no row."""
        if self.observer is not None:
            self.observer(CrawlEvent(kind, url, words, status, seconds, length, attempt))

    def tell_once(self, kind: EventKind, words: str) -> None:
        """The same, and never again in the same words."""
        if words not in self.told:
            self.told.add(words)
            self.tell(kind, words=words)

    def meet(self, host: str) -> bool:
        """Makes room for a host, if there is any: each takes memory, and a wildcard of DNS has any number."""
        limit = self.settings.max_hosts
        if self.politeness.knows(host) or self.politeness.hosts < limit:
            self.politeness.lane(host)
            return True
        self.tell_once("limit", f"{limit} hosts met: links to others are dropped")
        return False

    def reach_limit(self, words: str) -> None:
        """Ends the crawl at one of its limits."""
        if not self.is_stopping:
            self.tell("limit", words=words)
            self.stop()

    def give_up(self, lane: Lane, words: str) -> None:
        """Asks nothing more of a host."""
        self.politeness.give_up(lane, words)
        self.tell("host given up", lane.host, words)

    def tries_again(self, visit: Visit, lane: Lane, answer: Answer) -> bool:
        """Puts a visit off to another attempt, if that may help and there is one left."""
        if not answer.may_pass or self.is_stopping or lane.given_up:
            return False
        settings, asked = self.settings, answer.retry_after
        if asked is not None and asked > settings.max_retry_after:
            self.give_up(lane, f"it asks to wait {asked:g} s")
            return False
        wait = asked or settings.backoff.delay(visit.attempt)
        if asked is not None or answer.status == 429:
            self.politeness.hold(lane, wait)
            self.tell("held back", lane.host, f"status {answer.status}", seconds=wait)
        if visit.attempt > settings.retries:
            return False
        self.progress.retries += 1
        words = answer.error or f"status {answer.status}"
        self.tell("retry", visit.at, words, status=answer.status, seconds=wait, attempt=visit.attempt)
        visit.begin_again(authority_of(visit.url))
        self.politeness.add_later(visit, wait)
        return True

    def send_on(self, visit: Visit, target: str, status: int) -> None:
        """Lets a visit go on where a redirect leads, as soon as it is that host's turn."""
        self.tell("redirect", visit.at, target, status=status)
        visit.hops.append(visit.at)
        visit.at, visit.host, visit.by_get = target, authority_of(target), False
        self.politeness.add_first(visit)

    def conclude(self, visit: Visit, outcome: Outcome, words: str, answer: Answer | None = None) -> None:
        """Ends a visit without a page."""
        if visit.kind == "sitemap":
            self.tell("sitemap", visit.url, words)
            self.frontier.finish(visit, None)
        else:
            self.report(visit, row_of(visit, outcome, words, answer or Answer()))

    def report(self, visit: Visit, page: Page) -> None:
        """Ends a visit with its row."""
        progress = self.progress
        if page.outcome == "fetched":
            progress.fetched += 1
        elif page.outcome == "failed":
            progress.failed += 1
        else:
            progress.other += 1
        self.frontier.finish(visit, page)
        if self.observer is not None:
            self.observer(
                CrawlEvent(
                    page.outcome,
                    page.canonical or page.url,
                    page.error,
                    page.status,
                    page.elapsed_ms / 1e3,
                    page.length,
                    page.attempts,
                    page.depth,
                )
            )
