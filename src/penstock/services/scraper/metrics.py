"""Counters and timings of a crawl, for Prometheus."""

from collections import Counter
from collections.abc import Callable

from penstock.observability import Exposition, Histogram
from penstock.services.scraper.model import CrawlEvent, Page, Progress

__all__ = ["Metrics"]

PREFIX = "penstock_scrape_"

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds, upper bounds; the same for everybody, so that histograms of many crawls can be added."""


class Metrics:
    """Counts rows and events, and tells them with the state of the crawl.

    Args:
        progress: returns how the crawl stands.
    """

    def __init__(self, progress: Callable[[], Progress]) -> None:
        self._progress = progress
        self._outcomes: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._times = Histogram()  # nanoseconds
        self._size = 0

    def add_page(self, page: Page) -> None:
        """Counts one row."""
        self._outcomes[page.outcome] += 1
        self._size += page.length
        if page.status:
            self._classes[f"{page.status // 100}xx"] += 1
            self._times.record(min(round(page.elapsed_ms * 1e6), self._times.highest))

    def observe(self, event: CrawlEvent) -> None:
        """Counts one event."""
        self._events[event.kind] += 1

    def exposition(self) -> Exposition:
        """All figures as they are now."""
        figures, progress = Exposition(), self._progress()
        for name, words, label, counts in (
            ("pages_total", "Pages by what became of them.", "outcome", self._outcomes),
            ("responses_total", "Answers by class of status.", "class", self._classes),
            ("events_total", "What happened.", "event", self._events),
        ):
            samples = [({label: value}, count) for value, count in sorted(counts.items())]
            figures.counter(PREFIX + name, words, samples)
        figures.histogram(
            f"{PREFIX}page_seconds",
            "Time of the last attempt at a page, redirects included.",
            [({}, self._times)],
            bounds=BUCKETS,
        )
        for name, words, value in (
            ("body_bytes_total", "Bytes of bodies, decompressed.", self._size),
            ("received_bytes_total", "Bytes of bodies, as they came.", progress.bytes),
            ("links_total", "Links seen, repeated ones included.", progress.links),
            ("retries_total", "Attempts after the first.", progress.retries),
            ("traps_total", "Links not followed since they look endless.", progress.traps),
        ):
            figures.counter(PREFIX + name, words, [({}, value)])
        for name, words, value in (
            ("queued", "URLs that wait for their turn.", progress.queued),
            ("in_flight", "Pages being fetched.", progress.in_flight),
            ("hosts", "Hosts met.", progress.hosts),
            ("hosts_waiting", "Hosts that hold pages back now.", progress.hosts_waiting),
            ("hosts_given_up", "Hosts that no longer get requests.", progress.hosts_given_up),
        ):
            figures.gauge(PREFIX + name, words, [({}, value)])
        return figures
