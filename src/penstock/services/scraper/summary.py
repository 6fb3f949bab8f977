"""A sink that counts: pages, failures, broken links, and how the crawl ended."""

import re
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

from penstock.services.outcomes import Outcomes
from penstock.services.scraper.model import CrawlEvent, Page

__all__ = ["PRIVATE", "BrokenLink", "Summary"]

PRIVATE = "private address"
"""How pages are counted whose address was refused."""

FAILED = frozenset(("failed", "given up", "interrupted"))

MAX_BROKEN = 1_000
MAX_NOTES = 20
MAX_KINDS = 50

PLACE = re.compile(r"line \d+: ")
"""Begins the error of what stands in a file and is no URL."""


class BrokenLink(NamedTuple):
    """A page that failed, and one that links to it."""

    url: str
    reason: str
    referrer: str


class Summary(Outcomes):
    """Counts rows in memory that does not grow with them.

    Attributes:
        size: bytes of bodies, decompressed.
        hosts_given_up: hosts that no longer got requests, and why; the first ones.
        limits: limits that were reached, in words; the first ones.
        broken: the first pages that failed.
        events: events by kind.
        is_timed_out: whether the time for the whole crawl ended it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self.hosts_given_up: dict[str, str] = {}
        self.limits: dict[str, None] = {}
        self.broken: list[BrokenLink] = []
        self.events: Counter[str] = Counter()
        self.is_timed_out = False

    @property
    def is_sound(self) -> bool:
        """Whether pages were fetched, none failed, and there was time for all."""
        return bool(self.statuses) and not self.failed and not self.is_timed_out

    def add_page(self, page: Page) -> None:
        """Counts one row. What a rule refused and what is another page's double has not failed."""
        before = self.failed
        self.add(replace(page, error=self._kind_of(page)) if page.error else page)
        is_failed = page.outcome in FAILED or (page.outcome == "fetched" and not page.ok)
        self.failed = before + is_failed
        self.size += page.length
        if is_failed and len(self.broken) < MAX_BROKEN:
            self.broken.append(BrokenLink(page.url, page.error or f"status {page.status}", page.referrer))

    def _kind_of(self, page: Page) -> str:
        """What a page with something amiss is counted as: by its status, or by the reason without one."""
        if page.outcome == "fetched":
            return ""
        reason = PLACE.sub("", page.error, count=1)
        kind = PRIVATE if PRIVATE in reason else reason.partition(":")[0]
        return kind if kind in self.errors or len(self.errors) < MAX_KINDS else "other reasons"

    def observe(self, event: CrawlEvent) -> None:
        """Counts one event."""
        self.events[event.kind] += 1
        if event.kind == "host given up" and len(self.hosts_given_up) < MAX_NOTES:
            self.hosts_given_up.setdefault(event.url, event.words)
        elif event.kind == "limit":
            self.is_timed_out = self.is_timed_out or event.words.endswith("s for the whole crawl")
            if len(self.limits) < MAX_NOTES:
                self.limits.setdefault(event.words)
