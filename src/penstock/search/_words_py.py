"""Text taken apart into words, pure Python. Its compiled twin does the same in csrc/words.c."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple
from unicodedata import combining, normalize

from penstock.errors import InvalidType, InvalidValue, shown
from penstock.search._arguments import checked_int

__all__ = ["WordRules", "WordSplitter"]

LONGEST = 255
"""Code points that a word can have; as in csrc/words.h."""


class WordRules(NamedTuple):
    """How text is taken apart: what parts words, what becomes of them, and which are passed over.

    Args:
        segmentation: `unicode`, the word boundaries of Unicode (UAX #29), or `ascii`, maximal runs of
            `[A-Za-z0-9]` with everything else between them.
        lower: whether text is lowered first, all of it.
        nfkc: whether text is brought into the form NFKC before that: `ﬁ` becomes `fi`, `①` becomes `1`.
        shortest: code points of the shortest words that are kept.
        longest: code points, 1 to 255; longer words are cut into pieces of so many.
        stop_words: words that are passed over, as they are after all of that.
    """

    segmentation: Literal["ascii", "unicode"] = "unicode"
    lower: bool = True
    nfkc: bool = False
    shortest: int = 1
    longest: int = LONGEST
    stop_words: frozenset[str] = frozenset()


class WordSplitter:
    """Takes text apart into words.

    With `unicode`, a word is what lies between two boundaries of UAX #29 and holds a letter, a digit, a kana
    or an ideograph. So `don't`, `3.14`, `a_b` and `example.com` are one word each; an ideograph is one alone,
    and so is a hiragana, and a letter of Thai, Lao, Khmer and Burmese, whose words nothing parts. A lone
    surrogate is in no word. Threads may share a splitter.

    Source: Unicode Standard Annex #29, 4.1; properties of Unicode 15.0.

    Args:
        rules: what parts words, and which are kept.

    Raises:
        ValueError: segmentation has another name, or longest is not between 1 and 255.
        TypeError: rules are no WordRules, or hold something of another type.
    """

    __slots__ = ("_pattern", "_rules")

    def __init__(self, rules: WordRules, /) -> None:
        checked = checked_rules(rules)
        if hasattr(self, "_rules"):
            raise initialised_twice()
        self._rules = checked
        self._pattern = RUNS if rules.segmentation == "ascii" else WORDS

    def words(self, text: str, /) -> list[str]:
        """The words of `text`, one after the other.

        Raises:
            TypeError: text is no str.
        """
        rules = self._rules
        text = prepared(rules, checked_text(text))
        if not text.isascii() and rules.segmentation == "unicode":
            return [word for word, _, _ in self._kept(text)]
        found: list[str] = self._pattern.findall(text.lower() if rules.lower else text)
        if rules.segmentation == "unicode" and "_" in text:
            found = [word for word in found if is_word(word)]
        if len(text) > rules.longest and any(len(word) > rules.longest for word in found):
            found = [piece for word in found for piece in pieces(word, rules.longest) if is_word(piece)]
        if rules.shortest > 1:
            found = [word for word in found if len(word) >= rules.shortest]
        if rules.stop_words:
            found = [word for word in found if word not in rules.stop_words]
        return found

    def spans(self, text: str, /) -> list[tuple[str, int, int]]:
        """The words of `text` and where they stand.

        Returns:
            word, start and end of each: `text[start:end]` is what it came of.

        Raises:
            TypeError: text is no str.
        """
        changed = prepared(self._rules, checked_text(text))
        return in_the_text_given(self._kept(changed), self._rules, text, changed)

    def _kept(self, text: str) -> list[tuple[str, int, int]]:
        """The words of a text that has been prepared, and where they stand in it."""
        _, lower, _, shortest, longest, stop_words = self._rules
        if lower and text.isascii():
            text = text.lower()
        kept = []
        for start, end in self._found(text):
            for at in range(start, end, longest):
                behind = end if end - at <= longest else at + longest
                word = text[at:behind]
                if behind - at >= shortest and is_word(word) and word not in stop_words:
                    kept.append((word, at, behind))
        return kept

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """What lies between boundaries and may be a word."""
        if self._rules.segmentation == "ascii" or text.isascii():
            for found in self._pattern.finditer(text):
                yield found.span()
            return
        for found in CLUSTERS.finditer(text):
            start, end = found.span()
            if found[0].isascii():
                yield start, end
                continue
            start = boundary_before(text, start, end)
            parts = parts_of if end - start > REMEMBERED else remembered_parts_of
            for at, behind in parts(text[start:end]):
                yield start + at, start + behind


RUNS = re.compile(r"[A-Za-z0-9]+")

WORDS = re.compile(
    r"[A-Za-z0-9_]+(?:(?:(?<=[A-Za-z])[:.'](?=[A-Za-z])|(?<=[0-9])[,;.'](?=[0-9]))[A-Za-z0-9_]+)*"
)
"""What lies between two boundaries of ASCII text, and is a word unless it is `_` alone."""

CLUSTERS = re.compile(
    r"(?:[A-Za-z0-9_\x80-\U0010ffff]+"
    r"|(?<=[A-Za-z])[:.'](?=[A-Za-z])"
    r"|(?<=[0-9])[,;.'](?=[0-9])"
    r"|[:.',;\"](?=[\x80-\U0010ffff])"
    r"|(?<=[\x80-\U0010ffff])[:.',;\"])+"
)
"""Parts of any text that no boundary, and nothing that is between, depends on what stands outside of them."""

PLAIN = re.compile(r"[APGN][APGNezf]*")
"""Classes of most clusters that are one word: letters and digits."""

TIED = re.compile(r"s*(?:[ezf]*z\*)*[ezf]*z[Pp]")
"""Classes of a joiner, after spaces or marks, and of the letter that it ties to what stands before (WB3c)."""

WORD = frozenset("APGHKNocp")
"""The classes of what makes a word of that in which it stands."""


class ClassesOfCodePoints(dict[int, str]):
    """The class, a letter that _word_breaks tells of, of each code point that was asked for."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.classes = ""

    def __missing__(self, point: int) -> str:
        if not self.starts:
            from penstock.search import _word_breaks  # here, for only who has more than ASCII pays for it

            self.classes = "".join(_word_breaks.CLASSES.split())
            self.starts = [int(start, 16) for start in _word_breaks.STARTS.split()]
        found = self[point] = self.classes[bisect_right(self.starts, point) - 1]
        return found


CLASS_OF = ClassesOfCodePoints()


def is_word(text: str) -> bool:
    """Whether something in it makes it a word, and a piece of a word one that is kept."""
    first = text[0]
    if first.isascii() and (first.isalnum() or text.isascii()):
        return first.isalnum() or any(map(str.isalnum, text))
    return not WORD.isdisjoint(text.translate(CLASS_OF))


def boundary_before(text: str, start: int, end: int) -> int:
    """The boundary in front of a cluster, for its first word may begin before it.

    That is so only if a joiner ties a letter that is a picture to what stands there, such as a space.
    """
    first = CLASS_OF[ord(text[start])]
    if start == 0 or not (first in PASSED_OVER or (first == "s" and text[start - 1] == " ")):
        return start
    if not TIED.match(text[start:end].translate(CLASS_OF)):
        return start
    start -= 1
    while start > 0 and CLASS_OF[ord(text[start])] == CLASS_OF[ord(text[start - 1])] == "s":  # WB3d
        start -= 1
    return start


def parts_of(cluster: str) -> list[tuple[int, int]]:
    """What lies between the boundaries of a cluster."""
    classes = cluster.translate(CLASS_OF)
    if PLAIN.fullmatch(classes):
        return [(0, len(cluster))]
    parts, at = [], 0
    while at < len(classes):
        behind = next_boundary(classes, at)
        parts.append((at, behind))
        at = behind
    return parts


REMEMBERED = 64
"""Code points of a cluster whose parts are remembered, for most words come often."""

remembered_parts_of = lru_cache(16_384)(parts_of)


def pieces(word: str, longest: int) -> list[str]:
    return [word[at : at + longest] for at in range(0, len(word), longest)]


# ---- the boundaries of UAX #29, over the classes of code points

LETTERS = frozenset("APGH")
EXTENDERS = ("e", "z", "f")
PASSED_OVER = frozenset(EXTENDERS)  # WB4
PICTURES = frozenset("P*p")
ENDS_OF_LINES = frozenset("rnw")
JOINED = {  # what needs no boundary in front of it, behind a class
    **dict.fromkeys("APGN", frozenset("APGHN_")),  # WB5, 8, 9, 10, 13a
    "H": frozenset("APGHN_'"),  # ... and 7a
    "K": frozenset("K_"),  # WB13, 13a
    "_": frozenset("APGHNK_"),  # WB13a, 13b
}
BRIDGES = {  # what parts not what is on both of its sides
    "'": (("APGH", "APGH"), ("N", "N")),  # WB6, 7, 11, 12
    "d": (("APGH", "APGH"), ("N", "N")),
    "l": (("APGH", "APGH"),),
    "m": (("N", "N"),),
    '"': (("H", "H"),),  # WB7b, 7c
}


def next_boundary(classes: str, start: int) -> int:
    """The boundary behind `start`, which is one."""
    n = len(classes)
    last = previous = classes[start]  # of what is not passed over; of what stands in front
    at = start + 1
    if last in "co" and classes[at : at + 1] not in EXTENDERS:  # most often, where there are ideographs
        return at
    if last in ENDS_OF_LINES:  # WB3, 3a, 3b
        return at + (last == "r" and classes[at : at + 1] == "n")
    odd = last == "R"  # an odd number of them, so that another one is the second of two
    while at < n:
        this = classes[at]
        if this in PASSED_OVER:
            previous = this
            at += 1
            continue
        if (previous == "z" and this in PICTURES) or (this == "R" and odd):  # WB3c; 15, 16
            odd = False
        elif this == previous == "s":  # WB3d
            pass
        elif this not in JOINED.get(last, ()):
            behind = behind_extenders(classes, at + 1)
            if behind == n or not bridges(last, this, classes[behind]):
                return at
            at, this = behind, classes[behind]
        elif this == "'":  # it goes with the Hebrew letter, and bridges perhaps
            behind = behind_extenders(classes, at + 1)
            if behind < n and classes[behind] in LETTERS:
                at, this = behind, classes[behind]
        last = previous = this
        at += 1
    return n


def behind_extenders(classes: str, at: int) -> int:
    while at < len(classes) and classes[at] in PASSED_OVER:
        at += 1
    return at


def bridges(last: str, this: str, behind: str) -> bool:
    return any(last in before and behind in after for before, after in BRIDGES.get(this, ()))


# ---- what both twins do before and after


def prepared(rules: WordRules, text: str) -> str:
    """`text` as the kernel takes it: normal and lowered, but ASCII, which it lowers by itself."""
    if type(text) is not str:
        text = str.__str__(text)  # whose methods do what theirs do
    if text.isascii():
        return text
    if rules.nfkc:
        text = normalize("NFKC", text)
    return text.lower() if rules.lower else text


def in_the_text_given(
    spans: list[tuple[str, int, int]], rules: WordRules, text: str, changed: str
) -> list[tuple[str, int, int]]:
    """Spans in what `prepared` has made of `text`, as spans in `text`."""
    if changed is text or (not rules.nfkc and len(changed) == len(text)):
        return spans  # lowering makes nothing shorter
    starts, ends = origins(rules, text)
    return [(word, starts[start], ends[end - 1]) for word, start, end in spans]


def origins(rules: WordRules, text: str) -> tuple[list[int], list[int]]:
    """Where what each code point of the prepared text came of starts and ends in `text`."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in units(text) if rules.nfkc else ((i, i + 1) for i in range(len(text))):
        part = text[start:end]
        if rules.nfkc:
            part = normalize("NFKC", part)
        size = len(part.lower()) if rules.lower else len(part)
        starts += [start] * size
        ends += [end] * size
    return starts, ends


def units(text: str) -> Iterator[tuple[int, int]]:
    """Parts of `text` that are brought into the form NFKC each by itself as they are all together."""
    start = 0
    for at in range(1, len(text)):
        if begins_anew(text[at]) and not melts(text[start:at], text[at]):
            yield start, at
            start = at
    if text:
        yield start, len(text)


def begins_anew(point: str) -> bool:
    """Whether it is no mark that is moved to what stands before it."""
    return point.isascii() or combining(normalize("NFKD", point)[0]) == 0


def melts(unit: str, point: str) -> bool:
    """Whether what stands before `point` becomes one with it, as the parts of a syllable of Hangul do."""
    if point.isascii():
        return False
    return normalize("NFKC", unit + point) != normalize("NFKC", unit) + normalize("NFKC", point)


# ---- arguments, for both twins


def checked_text(text: object) -> str:
    if not isinstance(text, str):
        raise InvalidType(f"text must be a str, got {type(text).__name__}")
    return text if type(text) is str else str.__str__(text)  # a subclass may make of it what it likes


def initialised_twice() -> InvalidValue:
    return InvalidValue("a WordSplitter must be initialised once, got a second time")


def checked_rules(rules: object) -> WordRules:
    """Rules of which every part is of its type and in its range.

    Raises:
        ValueError: segmentation has another name, or longest is not between 1 and 255.
        TypeError: rules are no WordRules, or hold something of another type.
    """
    if not isinstance(rules, WordRules):
        raise InvalidType(f"rules must be WordRules, got {shown(rules)}")
    if rules.segmentation not in ("ascii", "unicode"):
        raise InvalidValue(f"segmentation must be ascii or unicode, got {shown(rules.segmentation)}")
    shortest = checked_int("shortest", rules.shortest, 0, LONGEST)
    longest = checked_int("longest", rules.longest, 1, LONGEST)
    if not isinstance(rules.stop_words, frozenset):
        raise InvalidType(f"stop_words must be a frozenset of str, got {shown(rules.stop_words)}")
    for word in rules.stop_words:
        if not isinstance(word, str):
            raise InvalidType(f"stop_words must be a frozenset of str, got one with {shown(word)}")
    stop_words = frozenset(map(str.__str__, rules.stop_words))  # no words of a class of others
    return WordRules(rules.segmentation, bool(rules.lower), bool(rules.nfkc), shortest, longest, stop_words)
