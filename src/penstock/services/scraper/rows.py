"""The row of a visit."""

from datetime import UTC, datetime

from penstock.clock import NANOSECONDS
from penstock.services.printable import one_line
from penstock.services.row_files import rfc3339
from penstock.services.scraper.fetch import Answer
from penstock.services.scraper.model import Outcome, Page
from penstock.services.scraper.visit import NO_URL, Visit

__all__ = ["row_of"]


def row_of(visit: Visit, outcome: Outcome, words: str, answer: Answer) -> Page:
    """What is known of a visit once its last answer is there; what the page holds comes on top.

    Args:
        visit: at the end of its redirects.
        outcome: what became of it.
        words: what is amiss, empty for nothing.
        answer: the last one; an empty one when nothing was asked.
    """
    is_url = not visit.url.startswith(NO_URL)
    was_asked = bool(answer.status or answer.failure or visit.hops)
    return Page(
        url=visit.given or visit.url,
        canonical=visit.url if is_url else "",
        final_url=visit.at if is_url else "",
        outcome=outcome,
        status=answer.status,
        error=words,
        depth=visit.depth,
        referrer=visit.referrer,
        from_sitemap=visit.from_sitemap,
        content_type=one_line(answer.media_type, 100),
        length=answer.length,
        fetched_at=moment(visit.started_at) if visit.started_at else "",
        elapsed_ms=round(visit.spent / 1e6, 3),
        attempts=visit.attempt if was_asked else visit.attempt - 1,
        redirects=len(visit.hops),
        robots=answer.robots,
    )


def moment(nanoseconds: int) -> str:
    """Wall clock nanoseconds as text: UTC, milliseconds."""
    return rfc3339(datetime.fromtimestamp(nanoseconds / NANOSECONDS, UTC))
