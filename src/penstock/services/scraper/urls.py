"""Canonical URLs: what is the same page, what a link means, and whose host it is.

URLs are parsed as browsers do, by Ada: what a link in a page means is what a browser would make of it.
On top come the rules of RFC 3986, 6.2.2, that browsers leave to servers, and those of crawlers:
fragments, tracking parameters and session ids do not make another page.
"""

import re
from collections.abc import Iterable

from penstock.cache import Cache

try:
    from ada_url import join_url, normalize_url
except ImportError as missing:  # pragma: no cover - the tests run with it
    raise ImportError(
        "the scraper needs ada-url, protego and selectolax: pip install 'penstock[scrape]'"
    ) from missing

__all__ = [
    "MAX_LINK",
    "MAX_URL",
    "Canonicalizer",
    "authority_of",
    "host_of",
    "joined",
    "origin_of",
    "target_of",
]

MAX_URL = 8192
"""Characters of a URL; longer ones are none."""

MAX_LINK = 2048
"""Characters of a link; longer ones are not followed. No page that people read has a longer name."""

is_plain = re.compile(
    r"https?:/ | (?!https?:)[a-z][a-z0-9+.-]*: | [^:?#/\\\x00-\x20]+(?:[/?#\x20]|\Z)",
    re.IGNORECASE | re.VERBOSE,
).match
"""Whether a reference surely is a whole URL or begins with a name; ` ?a` and `http:?a` are queries alone."""

CACHED = 32_768
CACHED_CHARACTERS = 16_000_000
"""References whose meaning is remembered, and their characters: most links of a site repeat on its pages."""

LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

TRACKING = frozenset(
    {"dclid", "fbclid", "gbraid", "gclid", "gclsrc", "igshid", "mc_cid", "mc_eid", "mkt_tok", "msclkid"}
    | {"oly_anon_id", "oly_enc_id", "s_cid", "twclid", "vero_id", "wbraid", "wickedid", "yclid"}
    | {"_ga", "_gl", "_hsenc", "_hsmi", "_openstat"}
)
"""Parameters that tell who linked, not what is meant; besides those that begin with utm_."""

SESSIONS = frozenset(
    {"jsessionid", "phpsessid", "aspsessionid", "sessionid", "session_id", "sessid"}
    | {"cfid", "cftoken", "oscsid", "zenid"}
)
"""Parameters that tell who asks."""

SESSION_IN_PATH = re.compile(r";(?:jsessionid|phpsessid|sid)=[^/;?]*", re.IGNORECASE)


def joined(base: str, reference: str) -> str | None:
    """What `reference` means in a document at `base`: an absolute URL as the WHATWG standard writes it.

    None where it means nothing. Any scheme may come out, and the fragment stays.

    Source: https://url.spec.whatwg.org, by way of Ada.
    """
    if len(reference) > MAX_URL:
        return None
    try:
        url: str = join_url(base, reference) if base else normalize_url(reference)
    except (ValueError, UnicodeError):  # UnicodeError: lone surrogates
        return None
    return url if len(url) <= MAX_URL else None


def origin_of(url: str) -> str:
    """Scheme, host and port of a canonical URL: `https://example.com:8443`."""
    return url[: path_at(url)]


def authority_of(url: str) -> str:
    """Host and port of a canonical URL, the port where it is not the scheme's own: `example.com:8443`."""
    return url[url.index("/") + 2 : path_at(url)]


def host_of(authority: str) -> str:
    """The host of `authority_of`, without the port; IPv6 in brackets."""
    if authority.endswith("]"):
        return authority
    return authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]


def target_of(url: str) -> str:
    """Path and query of a canonical URL."""
    return url[path_at(url) :]


def path_at(url: str) -> int:
    return url.index("/", url.index("/") + 2)  # a canonical URL has a path, at the least /


class Canonicalizer:
    """Makes URLs canonical: two that are surely the same page become equal.

    Scheme and host in lower case, the host as IDNA, the scheme's own port and the fragment dropped, dot
    segments resolved, percent-encoding in its normal form (RFC 3986, 6.2.2: `%7e` is `~`, `%2f` is
    `%2F`, a lone `%` is `%25`), no empty query. User and password are dropped: they are no part of a
    page's name, and rows are shown to others. What comes out goes in again unchanged.

    Args:
        sort_query: whether parameters are sorted by name; equal names keep their order.
        drop_tracking: whether parameters of trackers, and session ids, are dropped.
    """

    def __init__(self, *, sort_query: bool = False, drop_tracking: bool = True) -> None:
        self._sort_query = sort_query
        self._drop_tracking = drop_tracking
        self._meanings: Cache[tuple[str, str], str] = Cache(
            CACHED, weigher=characters, max_weight=CACHED_CHARACTERS
        )

    def canonical(self, url: str, base: str = "") -> str | None:
        """The canonical form of a URL, relative ones read at `base`; None for what is none of HTTP."""
        absolute = joined(base, url)
        if absolute is None or not absolute.startswith(("http://", "https://")):
            return None
        return self._normal(absolute)

    def links(self, base: str, references: Iterable[str]) -> dict[str, None]:
        """The pages that a document refers to: canonical URLs in their order, each once.

        Args:
            base: what they are relative to, canonical.
            references: as they are written. Those that mean no http or https URL are left out, as are
                those that lead to the document itself by a fragment, and those beyond MAX_LINK.
        """
        folder, origin = folder_of(base), origin_of(base)
        meanings = self._meanings
        found: dict[str, None] = {}
        for reference in references:
            first = reference[:1]
            if first == "#" or not first or len(reference) > MAX_LINK:
                continue
            # Most depend on the folder alone, or the origin; queries, and what looks odd, on all of the base.
            key = (origin if first == "/" else folder if is_plain(reference) else base, reference)
            meaning = meanings.get(key)
            if meaning is None:
                meaning = meanings[key] = self.canonical(reference, base) or ""
            if meaning and len(meaning) <= MAX_LINK:
                found[meaning] = None
        return found

    def _normal(self, url: str) -> str:
        url = url.partition("#")[0]
        at = path_at(url)
        authority, target = url[:at], url[at:]
        if "@" in authority:
            authority = f"{authority[: authority.index('/') + 2]}{authority.rpartition('@')[2]}"
        if "%" in target:
            target = ESCAPED.sub(normal_escape, LONE_PERCENT.sub("%25", target))
        path, _, query = target.partition("?")
        if self._drop_tracking and ";" in path:
            path = without_session(authority, path)
        query = self._normal_query(query) if query else ""
        return f"{authority}{path}?{query}" if query else authority + path

    def _normal_query(self, query: str) -> str:
        parameters = query.split("&")
        if self._drop_tracking:
            parameters = [parameter for parameter in parameters if not is_tracking(parameter)]
        if self._sort_query:
            parameters.sort(key=name_of)
        return "&".join(parameters)


def characters(key: tuple[str, str], meaning: str) -> int:
    return len(key[1]) + len(meaning)


def without_session(authority: str, path: str) -> str:
    """A path without session ids; `/a/..;sid=1` becomes `/`, since what is left is a dot segment."""
    bare = SESSION_IN_PATH.sub("", path)
    if bare == path:
        return path
    url = joined(authority, bare)
    return path if url is None else target_of(url)


def folder_of(url: str) -> str:
    """A canonical URL up to the last slash of its path: what relative references depend on."""
    path = url.partition("?")[0]
    return path[: path.rindex("/") + 1]


def normal_escape(match: re.Match[str]) -> str:
    character = chr(int(match.group()[1:], 16))
    return character if character in UNRESERVED else match.group().upper()


def name_of(parameter: str) -> str:
    return parameter.partition("=")[0]


def is_tracking(parameter: str) -> bool:
    name = name_of(parameter).lower()
    return name in TRACKING or name in SESSIONS or name.startswith("utm_")
