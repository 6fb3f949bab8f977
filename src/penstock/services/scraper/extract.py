"""What a page holds: its title, its links, what it says to robots, and the texts that somebody asked for."""

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from math import comb
from typing import NamedTuple
from urllib.parse import urljoin

from penstock.errors import InvalidValue
from penstock.services.http_url import MAX_URL
from penstock.services.printable import printable
from penstock.services.scraper.encoding import as_utf8
from penstock.services.scraper.model import Extract
from penstock.services.scraper.tree_cost import affordable

try:
    from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError
except ImportError as missing:  # pragma: no cover - the tests run with it
    raise ImportError(
        "the scraper needs ada-url, protego, selectolax and webencodings: pip install 'penstock[scrape]'"
    ) from missing

__all__ = ["MAX_LINKS", "MAX_TEXT", "MAX_TITLE", "MAX_VALUES", "checked_selectors", "extract"]

MAX_LINKS = 10_000
"""Links of one page; what comes after them is left out."""

MAX_TITLE = 1_000
"""Characters of a title."""

MAX_VALUES = 1_000
"""Texts that one selector takes from one page."""

MAX_TEXT = 10_000
"""Characters of one of them."""

MAX_DIRECTIVES = 100
"""Things that a page may say to robots."""

MAX_CHARACTERS = 20_000_000
"""Characters that the selectors of one page go through; they count again for each element around."""

MAX_STEPS = 100_000_000
"""Looks at the brothers and sisters of elements that one selector may take; a fifth of a second."""

FEW_TAGS = 5_000
"""Of so many tags no selector takes more steps, however they are arranged."""

SIBLINGS = re.compile(r"~|:nth-|-of-type")
"""What makes a selector look at all siblings of each element, which takes the square of their number."""

MAX_CLIMBS = 20_000_000
"""Chains of ancestors that one selector may try in a page; a second or two."""

DESCENT = re.compile(r"(?<![\s>+~,(])\s+(?![\s>+~,)])|:has\(")
"""What makes a selector try the ancestors of each element, one after the other."""

NO_DESCENT = re.compile(r""""[^"]*"|'[^']*'|\[[^\]]*\]""")

MAX_SELECTORS = 100
MAX_CLIMB = 10
MAX_SELECTOR = 1_000

TOLD = (
    "title,base[href],a[href],area[href],link[href],meta[content],frame[src],iframe[src]"  # no element is two
)

NO_LINK = re.compile(r"#|(?!https?:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)
"""How references begin that lead to no other page: a place in this one, mailto:, javascript:, data: ..."""

REFRESH = re.compile(
    r"""\s*+[\d.]*+[\s;,]*+url\s*+=\s*+(?:"([^"]*)|'([^']*)|(.*))""", re.IGNORECASE | re.DOTALL
)

SELF_CLOSED = re.compile(rb"<(script|style|title|textarea|iframe)\b([^<>]*)/>", re.IGNORECASE)
"""Ends at once in XHTML, while HTML would take the rest of the page for its text."""

ATTRIBUTE = re.compile(r"(.*[^@\s])\s*@\s*([A-Za-z_:][-\w:.]*)\s*", re.DOTALL)

SPACE = " \t\n\f\r"


class Selection(NamedTuple):
    """What is taken of a page: the texts of elements, or of one of their attributes."""

    css: str
    attribute: str | None


def extract(body: bytes, content_type: str, base_url: str, selectors: Mapping[str, str]) -> Extract:
    """What a page holds; never raises, whatever the bytes.

    Every count and length is bounded, and so is the time: of a page that is made to hold up its reader, only
    the beginning is read (see tree_cost). The GIL is free while the tree is built.

    Args:
        body: decompressed; anything at all.
        content_type: the header as it came, parameters included; empty without one.
        base_url: of the page, after redirects.
        selectors: by name, CSS or CSS@attribute, as checked_selectors() takes them.
    """
    html, encoding = as_utf8(body, content_type)
    found = Extract(encoding=encoding, base=base_url)
    if "xhtml" in content_type[:100].lower():
        html = SELF_CLOSED.sub(rb"<\1\2></\1>", html)
    try:
        tree = LexborHTMLParser(affordable(html))
    except (SelectolaxError, ValueError, MemoryError):
        return found
    links: dict[str, None] = {}
    marked: dict[str, None] = {}
    directives: list[str] = []
    has_base = has_title = False
    for node in tree.css(TOLD):
        tag, attributes = node.tag, node.attributes
        match tag:
            case "a" | "area":
                is_marked = "rel" in attributes and "nofollow" in words(attributes["rel"])
                add_link(marked if is_marked else links, attributes["href"])
            case "link":
                read_link_element(links, attributes)
            case "meta":
                read_meta(found, links, directives, attributes)
            case "frame" | "iframe":
                add_link(links, attributes["src"])
            case "base" if not has_base:
                has_base = True
                found.base = base_of(attributes["href"], base_url)
            case "title" if not has_title and not is_in_drawing(node):
                has_title = True
                found.title = normal(node.text(), MAX_TITLE)
    found.links, found.marked_links = list(links), list(marked)
    found.robots = ", ".join(list(dict.fromkeys(directives))[:MAX_DIRECTIVES])
    found.nofollow = "nofollow" in directives or "none" in directives
    if selectors:
        found.selected = select(tree, selectors, html.count(b"<"))
    return found


def add_link(links: dict[str, None], reference: str | None) -> None:
    """Takes what a link says, unless it leads nowhere else."""
    if reference is None or len(links) >= MAX_LINKS:
        return
    reference = reference.strip(SPACE)
    if reference and len(reference) <= MAX_URL and not NO_LINK.match(reference):
        links[reference] = None


def read_link_element(links: dict[str, None], attributes: Mapping[str, str | None]) -> None:
    """Takes the pages that a link element names as the next and the one before."""
    kinds = words(attributes.get("rel"))
    reference = (attributes["href"] or "").strip(SPACE)
    if "nofollow" not in kinds and not kinds.isdisjoint(("next", "prev")):
        add_link(links, reference)


def read_meta(
    found: Extract, links: dict[str, None], directives: list[str], attributes: Mapping[str, str | None]
) -> None:
    """Takes what a meta element says to robots, and where it leads to."""
    content = attributes["content"] or ""
    if (attributes.get("name") or "").strip(SPACE).lower() in ("robots", "penstock"):
        directives += [word for part in content[:MAX_TEXT].lower().split(",") if (word := normal(part, 100))]
    elif (attributes.get("http-equiv") or "").lower() == "refresh" and (target := REFRESH.match(content)):
        add_link(links, target[1] or target[2] or target[3])


def words(text: str | None) -> set[str]:
    return set(text.lower().split()) if text else set()


def base_of(reference: str | None, base_url: str) -> str:
    """What links are relative to: what a base element says, itself relative to the page's URL."""
    try:
        base = urljoin(base_url, (reference or "").strip(SPACE))
    except ValueError:
        return base_url
    return base if len(base) <= MAX_URL and base.lower().startswith(("http://", "https://")) else base_url


def is_in_drawing(title: LexborNode) -> bool:
    """Whether a title is that of a drawing in the page and not the page's own."""
    parent = title.parent
    for _ in range(MAX_CLIMB):
        if parent is None or parent.tag in ("head", "body"):
            return False
        if parent.tag == "svg":
            return True
        parent = parent.parent
    return False


def normal(text: str, length: int) -> str:
    """`text` with single spaces, without what cannot be printed, and no longer than so many characters."""
    return printable(" ".join(text[: 4 * length].split()))[:length]


def select(tree: LexborHTMLParser, selectors: Mapping[str, str], tags: int) -> dict[str, list[str]]:
    """The texts that the selectors find, by their names, in the order of the page.

    Args:
        tree: the page.
        selectors: by name, CSS or CSS@attribute.
        tags: of the page, at most.
    """
    left = MAX_CHARACTERS
    is_crowded = tags > FEW_TAGS and any(map(SIBLINGS.search, selectors.values())) and steps(tree) > MAX_STEPS
    depths = depths_of(tree) if any(descents(selection(each).css) > 1 for each in selectors.values()) else {}
    selected: dict[str, list[str]] = {}
    for name, selector in selectors.items():
        selected[name] = values = []
        css, attribute = selection(selector)
        if (is_crowded and SIBLINGS.search(css)) or climbs(depths, descents(css)) > MAX_CLIMBS:
            continue
        for node in found_by(tree, css)[:MAX_VALUES]:
            text = node.text() if attribute is None else node.attributes.get(attribute)
            if text is None:
                continue
            left -= len(text)
            values.append(normal(text, MAX_TEXT))
            if left < 0:
                return selected
    return selected


def steps(tree: LexborHTMLParser) -> int:
    """Looks at siblings that a selector may take in this page."""
    if tree.root is None:
        return 0
    parents = (node.parent for node in tree.root.traverse())
    children = Counter(parent.mem_id for parent in parents if parent is not None)
    return sum(number * number for number in children.values())


@lru_cache(maxsize=1024)
def descents(css: str) -> int:
    """How many times a selector goes from an element to any of its ancestors."""
    return max(len(DESCENT.findall(one.strip())) for one in NO_DESCENT.sub("", css).split(","))


def depths_of(tree: LexborHTMLParser) -> dict[int, int]:
    """How many elements there are of each depth."""
    if tree.root is None:
        return {}
    depth_of: dict[int, int] = {}
    for node in tree.root.traverse():
        parent = node.parent
        depth_of[node.mem_id] = 1 + (0 if parent is None else depth_of.get(parent.mem_id, 0))
    return Counter(depth_of.values())


def climbs(depths: Mapping[int, int], descents: int) -> int:
    """Chains of so many ancestors that a selector may try in a page of these depths; one is always cheap."""
    return sum(number * comb(depth, descents) for depth, number in depths.items()) if descents > 1 else 0


def found_by(tree: LexborHTMLParser, css: str) -> list[LexborNode]:
    try:
        return list(tree.css(css))
    except SelectolaxError:  # checked_selectors() has refused it, if it was asked
        return []


@lru_cache(maxsize=1024)
def selection(selector: str) -> Selection:
    """What CSS or CSS@attribute asks for."""
    found = ATTRIBUTE.fullmatch(selector)
    return Selection(selector, None) if found is None else Selection(found[1], found[2].lower())


def checked_selectors(selectors: Mapping[str, str]) -> dict[str, str]:
    """The selectors, if they are such that extract() understands.

    Raises:
        InvalidValue: one of them is not; the message says which.
    """
    if len(selectors) > MAX_SELECTORS:
        raise InvalidValue(f"selectors must be at most {MAX_SELECTORS}, got {len(selectors)}")
    empty = LexborHTMLParser("")
    for name, selector in selectors.items():
        if not name or not name.isprintable() or len(name) > 100:
            raise InvalidValue(f"the name of a selector must be 1 to 100 printable characters, got {name!r}")
        if len(selector) > MAX_SELECTOR:
            raise InvalidValue(
                f"selector {name} must be at most {MAX_SELECTOR} characters, got {len(selector)}"
            )
        try:
            empty.css(selection(selector).css)
        except SelectolaxError:
            raise InvalidValue(
                f"selector {name} must be CSS such as h1, or CSS@attribute such as img@src, got {selector!r}"
            ) from None
    return dict(selectors)
