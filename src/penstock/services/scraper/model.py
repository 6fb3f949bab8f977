"""What comes out of a scraper, and what happens meanwhile."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

__all__ = [
    "CrawlEvent",
    "EventKind",
    "Extract",
    "Extractor",
    "Observer",
    "Outcome",
    "Page",
    "Progress",
    "Sink",
    "SitemapContent",
    "SitemapReader",
    "Start",
]

Outcome = Literal["fetched", "failed", "refused", "duplicate", "given up", "interrupted"]
"""What became of a URL.

fetched: there was an answer, of whatever status. failed: no answer that counts, every attempt made.
refused: not asked for, by a rule (robots.txt, a private address, a domain that is not allowed).
duplicate: it redirects to a page that has a row of its own. given up: its host does not answer.
interrupted: it was in flight when an earlier run was killed, and is not to be asked for again."""


@dataclass(frozen=True, slots=True)
class Start:
    """A URL to begin with, as it was given: it may still be none.

    Attributes:
        url: the text.
        line: its line in the file it came from, from 1; None when it came from elsewhere.
    """

    url: str
    line: int | None = None


@dataclass(slots=True)
class Page:
    """The row of one URL.

    Attributes:
        url: a starting URL as it was given, with U+FFFD for what cannot be printed; else the canonical one.
        canonical: what it is the same as; no two rows have the same one. Empty for what is no URL.
        final_url: where redirects led, canonical; equal to `canonical` without any.
        outcome: what became of it.
        status: of the HTTP answer, after redirects; 0 when there was none, or not all of it.
        error: plain words when something is amiss, else empty. A page that was longer than what may be read
            has a status and words.
        depth: links from a starting URL, which has 0.
        referrer: the page that linked to it first, empty for starting URLs and those of sitemaps.
        from_sitemap: whether a sitemap named it.
        content_type: such as text/html, in lower case without parameters; empty when not told.
        charset: the encoding it was read in, empty when it was not read.
        length: bytes of the body, decompressed, as far as it was read; of what is not read, what its head
            says.
        title: its text, white space collapsed.
        links: links to other pages in it, as found.
        selected: texts by name of selector, in the order of the page.
        fetched_at: RFC 3339, UTC, milliseconds: when the last attempt began.
        elapsed_ms: milliseconds of the last attempt, redirects included; waiting for a turn is not.
        attempts: made, a redirect is none of its own.
        redirects: followed.
        robots: directives of the page for robots, such as noindex or nofollow, in lower case.
    """

    url: str
    canonical: str = ""
    final_url: str = ""
    outcome: Outcome = "fetched"
    status: int = 0
    error: str = ""
    depth: int = 0
    referrer: str = ""
    from_sitemap: bool = False
    content_type: str = ""
    charset: str = ""
    length: int = 0
    title: str = ""
    links: int = 0
    selected: dict[str, list[str]] = field(default_factory=dict)
    fetched_at: str = ""
    elapsed_ms: float = 0.0
    attempts: int = 0
    redirects: int = 0
    robots: str = ""

    @property
    def ok(self) -> bool:
        """Answered with a status below 400."""
        return 0 < self.status < 400

    @property
    def latency_ms(self) -> float:
        """Milliseconds that the answer took."""
        return self.elapsed_ms

    @property
    def rfc3339(self) -> str:
        """When it was fetched, as text."""
        return self.fetched_at


Sink = Callable[[Page], None]
"""Takes one page after the other, in the order in which they are committed; may not block for long."""


@dataclass(slots=True)
class Extract:
    """What a page holds.

    Attributes:
        title: white space collapsed, bounded.
        links: references to other pages as they are written, stripped, in order; those marked
            rel=nofollow are not among them. The scraper joins them to `base` and checks them.
        marked_links: the same of those that are.
        selected: texts by name of selector.
        encoding: name of the encoding it was read in.
        base: what links are relative to: the page's URL, or what its base element says.
        robots: directives of meta robots, lower case, joined with `, `.
        nofollow: whether those forbid to follow its links.
    """

    title: str = ""
    links: Sequence[str] = ()
    marked_links: Sequence[str] = ()
    selected: dict[str, list[str]] = field(default_factory=dict)
    encoding: str = ""
    base: str = ""
    robots: str = ""
    nofollow: bool = False


class Extractor(Protocol):
    """Reads pages. Never raises, whatever the bytes."""

    def __call__(
        self, body: bytes, content_type: str, base_url: str, selectors: Mapping[str, str]
    ) -> Extract:
        """What the page holds.

        Args:
            body: decompressed.
            content_type: the header as it came, parameters included; empty without one.
            base_url: of the page, after redirects.
            selectors: by name, CSS or CSS@attribute.
        """
        ...


@dataclass(slots=True)
class SitemapContent:
    """What a sitemap lists.

    Attributes:
        pages: URLs of pages, as written.
        sitemaps: URLs of further sitemaps, as written.
        error: plain words when it was not read to its end, else empty; what was read counts.
    """

    pages: Sequence[str] = ()
    sitemaps: Sequence[str] = ()
    error: str = ""


class SitemapReader(Protocol):
    """Reads sitemaps: XML, index, text, plain or in a .gz. Never raises, whatever the bytes."""

    def __call__(self, body: bytes, url: str) -> SitemapContent:
        """What the sitemap lists; `body` as HTTP delivered it, content codings undone."""
        ...


EventKind = Literal[
    "fetched", "failed", "refused", "duplicate", "given up", "interrupted",
    "retry", "redirect", "robots", "sitemap", "held back", "host given up", "trap", "limit", "stopping",
]  # fmt: skip
"""The first six are a page's outcome. robots and sitemap: one was read, or could not be. held back: a host
gets a pause, as it asked. trap: a link was not followed. limit: a limit of the crawl was reached. """


@dataclass(slots=True)
class CrawlEvent:
    """Something that happened, for logs and metrics.

    Attributes:
        kind: what.
        url: of whom.
        words: plain words, bounded and printable; may be empty.
        status: of the answer, 0 without one.
        seconds: how long it took, or how long it will wait.
        length: bytes of the body.
        attempt: of how many, from 1; 0 where there are none.
        depth: of the page.
    """

    kind: EventKind
    url: str = ""
    words: str = ""
    status: int = 0
    seconds: float = 0.0
    length: int = 0
    attempt: int = 0
    depth: int = 0


Observer = Callable[[CrawlEvent], None]
"""Takes one event after the other; may not block for long."""


@dataclass(slots=True)
class Progress:
    """How a crawl stands; changes while it runs. Counts are of this run, except where told.

    Attributes:
        done: rows committed, those of earlier runs included.
        earlier: rows of earlier runs.
        fetched: pages with an answer.
        failed: pages without.
        other: refused, duplicate, given up and interrupted ones.
        queued: URLs that wait for their turn.
        in_flight: pages being fetched.
        links: links seen, repeated ones included.
        bytes: bytes of bodies, as they came over the wire.
        retries: attempts after the first.
        hosts: hosts met.
        hosts_waiting: hosts that hold pages back now, for their pace, a Retry-After or a failure.
        hosts_given_up: hosts that no longer get requests.
        traps: links not followed since they look endless.
        state: what it is doing.
    """

    done: int = 0
    earlier: int = 0
    fetched: int = 0
    failed: int = 0
    other: int = 0
    queued: int = 0
    in_flight: int = 0
    links: int = 0
    bytes: int = 0
    retries: int = 0
    hosts: int = 0
    hosts_waiting: int = 0
    hosts_given_up: int = 0
    traps: int = 0
    state: Literal["starting", "crawling", "stopping", "stopped"] = "starting"
