"""The settings of a scraper: every limit, with its unit and its default."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Literal

import penstock
from penstock.errors import InvalidValue
from penstock.probing.engine import ENGINES, EngineName
from penstock.resilience import ExponentialBackoff

__all__ = ["ScrapeSettings"]

BACKOFF = ExponentialBackoff(0.5, limit=30.0, jitter="full")

Scope = Literal["host", "domain", "any"]
"""Where links may lead: to the hosts of the starting URLs; to those, without `www.`, and their subdomains; or
anywhere. No list of public suffixes is asked, which would grow stale: `domains` names what else is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeSettings:
    """How to crawl. A number that is None means no limit.

    Attributes:
        concurrency: pages in progress at once, 1 to 10,000.
        per_host: requests in progress at once to one host (name and port), >= 1.
        rate: requests a second to one host, > 0; redirects and retries count too.
        burst: requests that a host may get at once before the rate holds, >= 1.
        request_timeout: seconds for one request, body included, > 0.
        timeout: seconds for the whole crawl, > 0.
        grace: seconds that pages in flight get to finish once the crawl is to stop, >= 0.
        retries: further attempts where there was no answer, or 429, or 5xx, >= 0.
        backoff: seconds between attempts.
        max_retry_after: seconds of a Retry-After that are waited for; a host that asks for more gives its
            pages rows with that answer, > 0.
        max_redirects: followed for one page, >= 0.
        give_up_after: failed connections in a row after which a host gets no more requests, >= 1.
        depth: links that are followed from a starting URL, >= 0; 0 fetches only those.
        pages: fetched in all, >= 1, those of earlier runs and links that are checked included.
        pages_per_host: fetched from one host, >= 1.
        max_bytes: bytes of bodies in all, as they come, >= 1.
        max_size: bytes of one body, compressed and decompressed, >= 1; the rest is left there.
        max_known: URLs that are remembered in all; links beyond are counted and dropped, >= 1.
        max_hosts: hosts that are met in all; links to further ones are dropped, >= 1.
        max_links: links of one page that are looked at, >= 0.
        scope: where links may lead.
        domains: further domains they may lead to, with their subdomains.
        obey_robots: whether robots.txt is asked for and obeyed.
        robots_ttl: seconds that a robots.txt holds, > 0.
        max_crawl_delay: seconds of a Crawl-delay that are obeyed; more counts as this, >= 0.
        sitemaps: whether sitemaps that robots.txt names, or /sitemap.xml, are read for pages.
        obey_nofollow: whether links marked nofollow, and all those of a page that says so, are left alone.
        types: content types that are read for links and texts; of others only the head is told.
        sort_query: whether ?b=2&a=1 is the same page as ?a=1&b=2.
        drop_tracking: whether utm_source, fbclid and the like are dropped from links.
        max_segments: segments of a path, >= 1; deeper ones look endless.
        max_repeats: times that a segment may come in a path, >= 1.
        max_chain: pages in a row, each found on the one before, whose URLs differ in digits alone, >= 1; more
            look like a calendar.
        max_variants: queries of one path that are followed, >= 1; more look endless.
        allow_private: whether private, loopback and link-local addresses may be connected to.
        check_links: whether pages outside the scope are asked for too (by HEAD), not read: for broken links.
        selectors: texts to take from each page: name to CSS, or CSS@attribute.
        user_agent: how it introduces itself; robots.txt is read for the name in it, which comes before the
            first slash, or after `compatible;`.
        headers: further headers of every request.
        engine: auto, aiohttp, protocol or socket.
        on_interrupted: what happens to pages that were in flight when an earlier run was killed: `refetch`
            asks again, `skip` gives them a row that says so. With `skip` no page is ever asked for twice, at
            the price of a commit before each request.
    """

    concurrency: int = 32
    per_host: int = 8
    rate: float | None = 10.0
    burst: int = 1
    request_timeout: float = 15.0
    timeout: float | None = None
    grace: float = 5.0
    retries: int = 2
    backoff: ExponentialBackoff = BACKOFF
    max_retry_after: float = 120.0
    max_redirects: int = 10
    give_up_after: int = 5
    depth: int | None = None
    pages: int | None = 10_000
    pages_per_host: int | None = None
    max_bytes: int | None = None
    max_size: int = 5 * 1024 * 1024
    max_known: int = 10_000_000
    max_hosts: int = 100_000
    max_links: int = 5_000
    scope: Scope = "host"
    domains: tuple[str, ...] = ()
    obey_robots: bool = True
    robots_ttl: float = 86_400.0
    max_crawl_delay: float = 30.0
    sitemaps: bool = False
    obey_nofollow: bool = True
    types: frozenset[str] = frozenset({"text/html", "application/xhtml+xml"})
    sort_query: bool = False
    drop_tracking: bool = True
    max_segments: int = 24
    max_repeats: int = 3
    max_chain: int = 200
    max_variants: int = 1_000
    allow_private: bool = False
    check_links: bool = False
    selectors: Mapping[str, str] = field(default_factory=dict)
    user_agent: str = f"penstock/{penstock.__version__}"
    headers: tuple[tuple[str, str], ...] = ()
    engine: EngineName = "auto"
    on_interrupted: Literal["refetch", "skip"] = "refetch"

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name in AT_LEAST and value is not None:
                require_at_least(setting.name, value, AT_LEAST[setting.name])
            if setting.name in ABOVE_ZERO and value is not None and not (value > 0 and isfinite(value)):
                raise InvalidValue(f"{setting.name} must be > 0 and finite, got {value!r}")
            if setting.name in AT_MOST and value is not None and value > AT_MOST[setting.name]:
                raise InvalidValue(f"{setting.name} must be <= {AT_MOST[setting.name]}, got {value!r}")
        if self.rate is not None and self.rate < 1 / MAX_SECONDS:
            raise InvalidValue(f"rate must be >= {1 / MAX_SECONDS} requests a second, got {self.rate!r}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise InvalidValue(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if not self.user_agent.isprintable() or not self.user_agent.partition("/")[0].strip():
            raise InvalidValue(f"user_agent must be printable and begin with a name, got {self.user_agent!r}")


MAX_SECONDS = 1_000_000_000
"""Thirty years; what counts nanoseconds in 64 bits can take it."""

AT_LEAST = {
    "concurrency": 1,
    "per_host": 1,
    "burst": 1,
    "grace": 0,
    "retries": 0,
    "max_redirects": 0,
    "give_up_after": 1,
    "depth": 0,
    "pages": 1,
    "pages_per_host": 1,
    "max_bytes": 1,
    "max_size": 1,
    "max_known": 1,
    "max_hosts": 1,
    "max_links": 0,
    "max_crawl_delay": 0,
    "max_segments": 1,
    "max_repeats": 1,
    "max_chain": 1,
    "max_variants": 1,
}

AT_MOST = {
    "concurrency": 10_000,
    "rate": 1_000_000_000,
    "request_timeout": MAX_SECONDS,
    "timeout": MAX_SECONDS,
    "grace": MAX_SECONDS,
    "max_retry_after": MAX_SECONDS,
    "robots_ttl": MAX_SECONDS,
    "max_crawl_delay": MAX_SECONDS,
}

ABOVE_ZERO = ("rate", "request_timeout", "timeout", "max_retry_after", "robots_ttl")

CHOICES = {
    "engine": ENGINES,
    "scope": ("host", "domain", "any"),
    "on_interrupted": ("refetch", "skip"),
}


def require_at_least(name: str, value: float, least: int) -> None:
    if not (value >= least and isfinite(value)):
        raise InvalidValue(f"{name} must be >= {least} and finite, got {value!r}")
