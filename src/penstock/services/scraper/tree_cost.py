"""How much of a document may be given to a tree builder, so that no page holds it up.

Building a tree takes time in proportion to the page for the pages that people write, and for no others:
each tag may look at everything that is open, each attribute at all before it in its tag, each option at
all of its list, and each piece of text may bring back every formatting element that was left open. A
megabyte of `<div>` takes a minute, and eight kilobytes of `<b x1><b x2>...<p>x<p>x...` make a quarter of
a million nodes.
"""

import re
from functools import cache

__all__ = ["MAX_COST", "affordable"]

MAX_COST = 50_000_000
"""Looks at something open: a quarter of a second. Real pages of a megabyte cost a thirtieth of this."""

NODE_COST = 200
"""Looks that count for one node made again: it takes the time of less, and some 400 bytes."""

STEP_COST = 30
"""Looks that count for one that is made here, by the interpreter."""

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

ATTRIBUTE = re.compile(rb"""([^\s/>=]++)(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>]*+))?""")
CDATA = b"<![CDATA["

LONG_TAG = 4096
"""Bytes of attributes from which they are counted: fewer are too few to matter."""

MANY_NAMES = 200_000
"""Bytes of a page from which different names are counted."""
NAMES_A_LOOK = 10
"""Names of elements and attributes that the tree builder goes through in the time of a look."""

VOID = frozenset(
    b"area base basefont bgsound br col embed frame hr image img input keygen link meta param source track "
    b"wbr".split()
)
NEVER_DEEP = frozenset(b"body caption colgroup frameset head html option tbody td tfoot th thead tr".split())
"""Ignored, or closed by what follows: no more of them are open than of tables and the like."""
CLOSED_BY_THEIR_LIKE = {
    b"p": frozenset((b"p",)),
    b"li": frozenset((b"li",)),
    b"dd": frozenset((b"dd", b"dt")),
    b"dt": frozenset((b"dd", b"dt")),
}
FORMATTING = frozenset(b"b big code em font i nobr s small strike strong tt u".split())
RAW_TEXT = frozenset(b"iframe noembed noframes plaintext script style textarea title xmp".split())

BLOCKS = frozenset(
    b"address article aside blockquote button center dd details dialog dir div dl dt fieldset figcaption "
    b"figure footer form h1 h2 h3 h4 h5 h6 header hgroup li listing main menu nav noscript ol p pre search "
    b"section summary ul".split()
)
"""An end tag of another element, such as span, closes none of them; their own end tags close all within."""
BUT = b"noscript"
"""Is such a block, whose end tag closes no other."""
BARRIERS = frozenset(b"applet marquee object select table template".split())
"""What no end tag of another element closes."""
KEEPS_OPEN = {b"li": frozenset((b"ol", b"ul")), b"p": frozenset((b"button",))}
"""Further barriers to some end tags."""
LEAVES_WHAT_IS_WITHIN = FORMATTING | {b"a", b"form"}
"""Their end tags take them out of the blocks within, which stay open."""

FOREIGN = frozenset((b"svg", b"math"))
HTML_WITHIN = {
    b"": frozenset[bytes](),
    b"svg": frozenset((b"desc", b"foreignobject", b"title")),
    b"math": frozenset((b"mi", b"mn", b"mo", b"ms", b"mtext")),
}
"""Elements of drawings and formulas that hold HTML again."""
ENDS_FOREIGN = frozenset(
    b"b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing "
    b"menu meta nobr ol p pre ruby s small span strike strong sub sup table tt u ul var".split()
)
"""Tags of HTML that end a drawing or a formula."""


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
    elements = OpenElements()
    names: set[bytes] | None = set() if len(html) > MANY_NAMES else None
    at = 0
    while tag := TAG.search(html, at):
        at = tag.end()
        closing, name, attributes = tag.groups()
        if name is None:
            if elements.is_foreign and html.startswith(CDATA, tag.start()):
                at = end_of_text(html, at)
            continue
        name = name.lower()
        if names is not None and (attributes or name not in names):
            elements.cost += new_names(names, name, attributes) * len(names) // NAMES_A_LOOK
        if len(attributes) > LONG_TAG:
            elements.cost += len(ATTRIBUTE.findall(attributes)) ** 2 // 2
        if closing:
            elements.close(name)
        elif elements.open(name, attributes):
            at = end_of_raw_text(html, name, at)
        if elements.cost > MAX_COST:
            return tag.start()
    return len(html)


def new_names(names: set[bytes], tag: bytes, attributes: bytes) -> int:
    """Adds the names of a tag to those that were met; how many are new."""
    known = len(names)
    names.add(tag)
    names.update(ATTRIBUTE.findall(attributes))
    return len(names) - known


class OpenElements:
    """What is open at a place of a page, as its tree builder has it or more, and what it cost to get there.

    Attributes:
        cost: looks at something open.

    Source: HTML Living Standard, 13.2.6, Tree construction.
    """

    __slots__ = ("_formatting", "_has_template", "_merged", "_names", "_options", "_spaces", "cost")

    def __init__(self) -> None:
        self.cost = 0
        self._names: list[bytes] = []
        self._spaces: list[bytes] = []  # of each: svg, math, or nothing for HTML
        self._formatting: dict[bytes, None] = {}
        self._options = 0  # of the list that is open
        self._has_template = False
        self._merged = 0  # attributes of html and body

    @property
    def is_foreign(self) -> bool:
        """Whether it is a drawing or a formula."""
        return bool(self._space())

    def open(self, name: bytes, attributes: bytes) -> bool:
        """A start tag; whether it begins text in which tags are none."""
        names = self._names
        self.cost += len(names) + NODE_COST * len(self._formatting)
        space = self._space()
        if space and (name in ENDS_FOREIGN or (name == b"font" and is_of_html(attributes))):
            self._leave_foreign()
            space = b""
        if space or name in FOREIGN:
            if not attributes.endswith(b"/"):
                self._push(name, space or name)
            return False
        if name in RAW_TEXT:
            return True
        if name in VOID:
            return False
        if name in NEVER_DEEP:
            self._count(name, attributes)
        elif name in FORMATTING:
            # those alike are brought back three times at most, and count once
            self._formatting[name + b" " + attributes] = None
            self._push(name, b"")
        else:
            if name in BLOCKS:
                self._close_like(CLOSED_BY_THEIR_LIKE.get(name, CLOSED_BY_THEIR_LIKE[b"p"]))
            elif name in BARRIERS:
                self._begin_list(name)
            self._push(name, b"")
        return False

    def close(self, name: bytes) -> None:
        """An end tag."""
        names = self._names
        self.cost += len(names)
        if name in FORMATTING:
            last = next((tag for tag in reversed(self._formatting) if tag.startswith(name + b" ")), None)
            self.cost += STEP_COST * len(self._formatting)
            if last is not None:
                del self._formatting[last]
        if names and names[-1] == name:
            self._pop(len(names) - 1)
        elif name in (b"p", b"br") and self._space():
            self._leave_foreign()
        elif not self._close_foreign(name):
            self._close_html(name)

    def _push(self, name: bytes, space: bytes) -> None:
        self._names.append(name)
        self._spaces.append(space)

    def _pop(self, index: int) -> None:
        """Closes an element, and all within."""
        del self._names[index:], self._spaces[index:]

    def _space(self) -> bytes:
        """What the next element will belong to."""
        space = self._spaces[-1] if self._spaces else b""
        return b"" if space and self._names[-1] in HTML_WITHIN[space] else space

    def _leave_foreign(self) -> None:
        while self._space():
            self._pop(len(self._names) - 1)

    def _count(self, name: bytes, attributes: bytes) -> None:
        """Counts what is not told by how deep it is."""
        if name == b"option":  # the tree builder looks at all of its list for the one that is chosen
            self._options += 1
            self.cost += self._options
        elif name in (b"html", b"body"):  # there is one, which gets the attributes of all
            number = len(ATTRIBUTE.findall(attributes))
            self.cost += number * self._merged
            self._merged += number

    def _begin_list(self, name: bytes) -> None:
        self._has_template = self._has_template or name == b"template"
        if name == b"select" and not self._has_template:  # a template may hold a list within a list
            self._options = 0

    def _close_like(self, names: frozenset[bytes]) -> None:
        """Closes the innermost block if it is one of these, as a start tag does."""
        for index in range(len(self._names) - 1, -1, -1):
            self.cost += STEP_COST
            if self._spaces[index]:
                return
            if self._names[index] in names:
                self._pop(index)
                return
            if self._names[index] in BLOCKS or self._names[index] in BARRIERS:
                return

    def _close_foreign(self, name: bytes) -> bool:
        """Closes an element of the drawing or formula that is open, if it has one of this name."""
        for index in range(len(self._names) - 1, -1, -1):
            self.cost += STEP_COST
            if not self._spaces[index]:
                return False
            if self._names[index] == name:
                self._pop(index)
                return True
        return False

    def _close_html(self, name: bytes) -> None:
        keeps_open = KEEPS_OPEN.get(name, frozenset())
        is_block = name != BUT and (name in BLOCKS or name in BARRIERS)
        holds_block = False
        for index in range(len(self._names) - 1, -1, -1):
            self.cost += STEP_COST
            each, space = self._names[index], self._spaces[index]
            if each == name and not space:
                break
            if each in HTML_WITHIN[space] or (not space and (each in BARRIERS or each in keeps_open)):
                return
            if each in BLOCKS and not space:
                if not is_block and name not in LEAVES_WHAT_IS_WITHIN:
                    return
                holds_block = True
        else:
            return
        if holds_block and name in LEAVES_WHAT_IS_WITHIN:
            del self._names[index], self._spaces[index]
        else:
            self._pop(index)


def is_of_html(attributes: bytes) -> bool:
    """Whether a font element with these attributes is none of a drawing."""
    return not {b"color", b"face", b"size"}.isdisjoint(ATTRIBUTE.findall(attributes.lower()))


def end_of_text(html: bytes, at: int) -> int:
    """Where the text ends that a CDATA section holds, whose first `>` is at `at`."""
    end = html.find(b"]]>", at - 2)
    return len(html) if end < 0 else end + 3


def end_of_raw_text(html: bytes, name: bytes, at: int) -> int:
    """Where the text ends that a script or the like holds from `at`."""
    found = raw_text_end(name).search(html, at)
    return len(html) if found is None else found.start()


@cache
def raw_text_end(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"</" + name + rb"(?=[\s/>])", re.IGNORECASE)
