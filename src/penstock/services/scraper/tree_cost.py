"""How much of a document may be given to a tree builder, so that no page holds it up.

Building a tree takes time in proportion to the page for the pages that people write, and for no others:
each tag may look at everything that is open, each attribute at all before it in its tag, and each piece
of text may bring back every formatting element that was left open. A megabyte of `<div>` takes a minute, and
eight kilobytes of `<b x1><b x2>...<p>x<p>x...` make a quarter of a million nodes.
"""

import re
from functools import cache

__all__ = ["MAX_COST", "affordable"]

MAX_COST = 50_000_000
"""Looks at something open: a quarter of a second. Real pages of a megabyte cost a thirtieth of this."""

NODE_COST = 200
"""Looks that count for one node made again: it takes the time of less, and some 400 bytes."""

SMALL = 16_384
FEW_TAGS = 400
"""A page of fewer bytes and tags costs less than MAX_COST whatever it holds."""

TAG = re.compile(
    rb"<(?:"
    rb"""(/?)([a-zA-Z][^\s/>]*+)((?:[^=>]++|=\s*+(?:"[^"]*+"|'[^']*+'|))*+)(?:>|\Z)"""
    rb"|!--(?:-?>|.*?--!?>|.*)"
    rb"|[!?/][^>]*+)",
    re.DOTALL,
)
"""A tag, or what is none though it looks so. What has no end goes on to the end of the page, here as in the
tree builder; so every byte is looked at once."""

ATTRIBUTE = re.compile(rb"""[^\s/>=]++(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>]*+))?""")

LONG_TAG = 4096
"""Bytes of attributes from which they are counted: fewer are too few to matter."""

VOID = frozenset(
    b"area base basefont bgsound br col embed frame hr img input link meta param source track wbr".split()
)
CLOSED_BY_THEIR_LIKE = frozenset(
    b"p li dt dd option optgroup td th tr tbody thead tfoot rb rp rt rtc".split()
)
FORMATTING = frozenset(b"b big code em font i nobr s small strike strong tt u".split())
RAW_TEXT = frozenset(b"iframe noembed noframes plaintext script style textarea title xmp".split())
FOREIGN = frozenset((b"svg", b"math"))

BARRIERS = frozenset(b"applet caption marquee math object svg table template".split())
"""What no end tag of another element closes."""

NEAR = 16
"""Open elements that an end tag may close at once; one that misses them by more is taken to close nothing."""


def affordable(html: bytes) -> bytes:
    """`html`, or its beginning where the whole would cost more than MAX_COST.

    The cost is estimated from the tags alone, and for pages that are not well formed too high rather than
    too low. Small pages are not looked at.
    """
    if len(html) <= SMALL and (
        html.count(b"<") <= FEW_TAGS or html.count(b"<") - html.count(b"</") <= FEW_TAGS
    ):
        return html
    return html[: affordable_bytes(html)]


def affordable_bytes(html: bytes) -> int:
    """Bytes of `html` up to the tag that costs too much."""
    stack: list[bytes] = []
    formatting: dict[bytes, None] = {}
    cost = at = 0
    is_foreign = False
    while tag := TAG.search(html, at):
        at = tag.end()
        closing, name, attributes = tag.groups()
        if name is None:
            continue
        name = name.lower()
        cost += len(stack) if closing else len(stack) + NODE_COST * len(formatting)
        if attributes is not None and len(attributes) > LONG_TAG:
            cost += len(ATTRIBUTE.findall(attributes)) ** 2 // 2
        if cost > MAX_COST:
            return tag.start()
        if closing:
            close(name, stack, formatting)
        elif name in FORMATTING:
            open_formatting(name, attributes, stack, formatting)
        elif name not in VOID and name not in CLOSED_BY_THEIR_LIKE:
            is_foreign = is_foreign or name in FOREIGN
            if name in RAW_TEXT and not is_foreign:  # within svg, a style holds elements
                at = end_of_raw_text(html, name, at)
            else:
                stack.append(name)
    return len(html)


def close(name: bytes, stack: list[bytes], formatting: dict[bytes, None]) -> None:
    """An end tag."""
    for distance in range(1, min(NEAR, len(stack)) + 1):
        if stack[-distance] == name:
            del stack[-distance:]
            break
        if stack[-distance] in BARRIERS:
            break
    if name in FORMATTING:
        last = next((tag for tag in reversed(formatting) if tag.startswith(name + b" ")), None)
        if last is not None:
            del formatting[last]


def open_formatting(
    name: bytes, attributes: bytes, stack: list[bytes], formatting: dict[bytes, None]
) -> None:
    """A start tag of what is brought back wherever it was not closed."""
    stack.append(name)
    formatting[name + b" " + attributes] = (
        None  # those alike are brought back three times at most, and count once
    )


def end_of_raw_text(html: bytes, name: bytes, at: int) -> int:
    """Where the text ends that a script or the like holds from `at`."""
    found = raw_text_end(name).search(html, at)
    return len(html) if found is None else found.start()


@cache
def raw_text_end(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"</" + name + rb"(?=[\s/>])", re.IGNORECASE)
