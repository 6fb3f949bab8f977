"""Links that lead nowhere, ever: calendars without an end, session ids, paths that repeat.

None of these can be told for sure, so each rule is a bound, generous for sites made by people, and what
it keeps out is counted and logged.
"""

import re
from collections import Counter

from penstock.cache import Cache
from penstock.services.scraper.urls import target_of

__all__ = ["Traps", "shape_of"]

DIGITS = re.compile(r"[0-9]+")

PATHS = 65_536
"""Paths whose queries are counted; the least recently met are forgotten, and counted anew."""


def shape_of(url: str) -> str:
    """A URL with each run of digits as one 0: what the pages of a calendar have in common."""
    return DIGITS.sub("0", url)


class Traps:
    """Tells which links look endless.

    Args:
        max_segments: segments of a path, >= 1.
        max_repeats: times that a segment may come in a path, >= 1.
        max_chain: pages in a row of one shape, each found on the one before, >= 1.
        max_variants: queries of one path, >= 1.
    """

    def __init__(self, *, max_segments: int, max_repeats: int, max_chain: int, max_variants: int) -> None:
        self._max_segments = max_segments
        self._max_repeats = max_repeats
        self._max_chain = max_chain
        self._max_variants = max_variants
        self._variants: Cache[str, int] = Cache(PATHS)

    def words(self, url: str, chain: int) -> str:
        """Why a new link looks endless, in plain words; empty when it does not.

        Args:
            url: canonical, and not met before: each call counts as one more query of its path.
            chain: how many pages of its shape led to it, one found on the other.
        """
        if chain > self._max_chain:
            return f"more than {self._max_chain} pages in a row that differ in digits alone"
        path, _, query = target_of(url).partition("?")
        segments = path.split("/")
        if len(segments) - 1 > self._max_segments:
            return f"more than {self._max_segments} segments in its path"
        if len(segments) > self._max_repeats and self._repeats(segments):
            return f"a segment comes more than {self._max_repeats} times in its path"
        if query and self._is_one_variant_too_many(url.partition("?")[0]):
            return f"more than {self._max_variants} queries of one path"
        return ""

    def _repeats(self, segments: list[str]) -> bool:
        if len(set(segments)) == len(segments):
            return False
        counts = Counter(segment for segment in segments if segment)
        return any(count > self._max_repeats for count in counts.values())

    def _is_one_variant_too_many(self, path: str) -> bool:
        variants = self._variants.get(path, 0) + 1
        self._variants[path] = variants
        return variants > self._max_variants
