"""One URL on its way to its row."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from penstock.services.scraper.model import Outcome

if TYPE_CHECKING:
    from penstock.services.scraper.politeness import Lane

__all__ = ["KINDS", "NO_URL", "Kind", "Visit"]

Kind = Literal["page", "check", "sitemap", "robots"]
"""page: fetched, read and reported. check: asked whether it is there, and reported. sitemap: read for pages.
robots: the rules of an origin; it is in no state and has no row, as a sitemap has none."""

KINDS: tuple[Kind, ...] = ("page", "check", "sitemap", "robots")
"""Their numbers in the state."""

NO_URL = "!"
"""Begins what stands in the place of a canonical URL, and is none."""


@dataclass(slots=True, eq=False)
class Visit:
    """One URL on its way to its row.

    Attributes:
        id: its number in the state, in the order of discovery; 0 for robots.
        url: canonical.
        host: authority of `at`.
        kind: what is to be done with it.
        depth: links from a starting URL.
        chain: pages of its shape that led to it, one found on the other.
        parent: id of the page that linked to it first, 0 for none.
        referrer: URL of that page, empty for none.
        given: the starting URL as it was given; empty for what was found.
        from_sitemap: whether a sitemap named it.
        at: where redirects have led so far, canonical.
        hops: where they came through.
        claims: URLs on the way that belong to this visit, and their numbers.
        by_get: whether HEAD was asked for and did not tell enough.
        attempt: the one that is made, from 1.
        spent: nanoseconds of this attempt so far.
        started_at: wall clock at the beginning of the attempt, nanoseconds since 1970.
        refusal: why it may not be fetched, in plain words.
        refused_as: what becomes of it then.
        lane: of its host, while it is in progress there.
    """

    id: int
    url: str
    host: str
    kind: Kind = "page"
    depth: int = 0
    chain: int = 0
    parent: int = 0
    referrer: str = ""
    given: str = ""
    from_sitemap: bool = False
    at: str = ""
    hops: list[str] = field(default_factory=list)
    claims: dict[str, int] = field(default_factory=dict)
    by_get: bool = False
    attempt: int = 1
    spent: int = 0
    started_at: int = 0
    refusal: str = ""
    refused_as: Outcome = "refused"
    lane: "Lane | None" = None

    def __post_init__(self) -> None:
        self.at = self.at or self.url

    def begin_again(self, host: str) -> None:
        """Another attempt, from the URL itself."""
        self.attempt += 1
        self.at, self.host, self.by_get, self.spent, self.started_at = self.url, host, False, 0, 0
        self.hops.clear()
