"""Counters and timings of a crawl in the text format of Prometheus."""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from penstock.services.scraper.model import CrawlEvent, Page, Progress

__all__ = ["Metrics", "TextFile"]

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
        self._within = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self._size = 0

    def add_page(self, page: Page) -> None:
        """Counts one row."""
        self._outcomes[page.outcome] += 1
        self._size += page.length
        if page.status:
            self._classes[f"{page.status // 100}xx"] += 1
            seconds = page.elapsed_ms / 1e3
            self._within[bisect_left(BUCKETS, seconds)] += 1
            self._seconds += seconds

    def observe(self, event: CrawlEvent) -> None:
        """Counts one event."""
        self._events[event.kind] += 1

    def text(self) -> str:
        """All metrics, in the text format 0.0.4."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from family(
            "pages_total", "counter", "Pages by what became of them.", "outcome", self._outcomes
        )
        yield from family("responses_total", "counter", "Answers by class of status.", "class", self._classes)
        yield from family("events_total", "counter", "What happened.", "event", self._events)
        yield from self._histogram()
        progress = self._progress()
        for name, kind, words, value in (
            ("body_bytes_total", "counter", "Bytes of bodies, decompressed.", self._size),
            ("received_bytes_total", "counter", "Bytes of bodies, as they came.", progress.bytes),
            ("links_total", "counter", "Links seen, repeated ones included.", progress.links),
            ("retries_total", "counter", "Attempts after the first.", progress.retries),
            ("traps_total", "counter", "Links not followed since they look endless.", progress.traps),
            ("queued", "gauge", "URLs that wait for their turn.", progress.queued),
            ("in_flight", "gauge", "Pages being fetched.", progress.in_flight),
            ("hosts", "gauge", "Hosts met.", progress.hosts),
            ("hosts_waiting", "gauge", "Hosts that hold pages back now.", progress.hosts_waiting),
            ("hosts_given_up", "gauge", "Hosts that no longer get requests.", progress.hosts_given_up),
        ):
            yield from head(name, kind, words)
            yield f"{PREFIX}{name} {value}"

    def _histogram(self) -> Iterator[str]:
        name = "page_seconds"
        yield from head(name, "histogram", "Time of the last attempt at a page, redirects included.")
        total = 0
        for bound, count in zip((*BUCKETS, "+Inf"), self._within, strict=True):
            total += count
            yield f'{PREFIX}{name}_bucket{{le="{bound}"}} {total}'
        yield f"{PREFIX}{name}_sum {self._seconds:.6f}"
        yield f"{PREFIX}{name}_count {total}"


PREFIX = "penstock_scrape_"


def head(name: str, kind: str, words: str) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {words}"
    yield f"# TYPE {PREFIX}{name} {kind}"


def family(name: str, kind: str, words: str, label: str, counts: Counter[str]) -> Iterator[str]:
    yield from head(name, kind, words)
    for value, count in sorted(counts.items()):
        yield f'{PREFIX}{name}{{{label}="{value}"}} {count}'


class TextFile:
    """A file for the textfile collector of Prometheus' node exporter: whole at every moment.

    Args:
        path: where it appears.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = os.fspath(path)

    def write(self, text: str) -> None:
        """Puts a new file in the place of the old one.

        Raises:
            OSError: it cannot be written; the old one stays.
        """
        temporary = f"{self._path}.{os.getpid()}"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, self._path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise
