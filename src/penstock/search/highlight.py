"""A text with the words of a query marked in it, whole or the best piece of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape as escape_html
from typing import NamedTuple

from penstock.errors import InvalidType, shown
from penstock.search._arguments import checked_int
from penstock.search._edit_distance_py import near_distance
from penstock.search.analyzer import Analyzer
from penstock.search.expansion import near_weight, word_of
from penstock.search.query import Fuzzy, Match, Phrase, Prefix, Query, Term, leaves

__all__ = ["highlighted"]

BEFORE, AFTER, CUT = "<mark>", "</mark>", "…"
MOST_LOOKS = 500_000  # at places, to find one phrase with slop
LONGEST_SLOPPY = 16  # words of a phrase with slop; of a longer one each word is marked wherever it stands


class Mark(NamedTuple):
    """A piece of a text that is marked, and what for."""

    start: int
    end: int
    found: object


def highlighted(
    query: str | Sequence[str] | Query,
    text: str,
    analyzer: Analyzer,
    *,
    before: str = BEFORE,
    after: str = AFTER,
    field: str | None = None,
    fragment: int | None = None,
    escape: bool | None = None,
) -> str:
    """A text with marks round what a query looks for: `InvertedIndex.highlight` tells the rest."""
    if not isinstance(text, str):
        raise InvalidType(f"text must be a str, got {shown(text)}")
    for name, value in (("before", before), ("after", after)):
        if not isinstance(value, str):
            raise InvalidType(f"{name} must be a str, got {shown(value)}")
    if escape is None:
        escape = (before, after) == (BEFORE, AFTER)
    marks = Wanted(query, analyzer, field).marks(text)
    start, end = 0, len(text)
    if fragment is not None:
        start, end = best_piece(text, marks, checked_int("fragment", fragment, 1))
    written: Callable[[str], str] = escape_html if escape else str
    parts = [CUT if start > 0 else ""]
    at = start
    for mark in merged(marks):
        if mark.end <= start or mark.start >= end:
            continue
        left, right = max(mark.start, start), min(mark.end, end)
        parts += (written(text[at:left]), before, written(text[left:right]), after)
        at = right
    parts += (written(text[at:end]), CUT if end < len(text) else "")
    return "".join(parts)


class Wanted:
    """What a query looks for, in words as an analyzer makes them; what it must not find is not marked."""

    def __init__(self, query: str | Sequence[str] | Query, analyzer: Analyzer, field: str | None) -> None:
        self.analyzer = analyzer
        self.words: set[str] = set()
        self.prefixes: list[str] = []
        self.near: list[tuple[str, int]] = []
        self.phrases: list[tuple[tuple[str, ...], int]] = []
        if isinstance(query, Query):
            for leaf in leaves(query):
                if field is None or getattr(leaf, "field", None) in (None, field):
                    self.take(leaf)
        else:
            self.words.update(analyzer.tokens(query) if isinstance(query, str) else query)

    def take(self, leaf: Query) -> None:
        match leaf:
            case Match(text=text):
                self.words.update(self.analyzer.tokens(text))
            case Term(term=term):
                self.words.add(term)
            case Prefix(prefix=prefix):
                self.prefixes.append(self.analyzer.normalized(prefix))
            case Fuzzy(word=word, distance=distance):
                self.near.append((word_of(self.analyzer, word), distance))
            case Phrase(text=text, slop=slop):
                words = tuple(self.analyzer.tokens(text))
                if len(words) == 1 or (slop and len(words) > LONGEST_SLOPPY):
                    self.words.update(words)
                elif words:
                    self.phrases.append((words, slop))

    def marks(self, text: str) -> list[Mark]:
        """What is to be marked, in order; pieces may overlap."""
        spans = self.analyzer.spans(text)
        known: dict[str, bool] = {}
        found = []
        for word, start, end in spans:
            wanted = known.get(word)
            if wanted is None:
                wanted = known[word] = self.is_wanted(word)
            if wanted:
                found.append(Mark(start, end, word))
        places: dict[str, list[int]] = {word: [] for words, _ in self.phrases for word in words}
        if places:
            for place, (word, _, _) in enumerate(spans):
                if word in places:
                    places[word].append(place)
        for words, slop in dict.fromkeys(self.phrases):
            found += phrase_marks(spans, [places[word] for word in words], words, slop)
        return sorted(found, key=lambda mark: mark[:2])

    def is_wanted(self, word: str) -> bool:
        if word in self.words or any(map(word.startswith, self.prefixes)):
            return True
        return any(
            (away := near_distance(near, word, distance, 0)) is not None and near_weight(word, away) > 0
            for near, distance in self.near
        )


def phrase_marks(
    spans: Sequence[tuple[str, int, int]],
    places: Sequence[Sequence[int]],
    words: tuple[str, ...],
    slop: int,
) -> list[Mark]:
    """Where the words of a phrase stand as it has them; as one piece if nothing stands between.

    Where finding that out would take its time each word is marked, as long as all are there.
    """
    if slop and all(places) and sum(map(len, places)) * len(words) > MOST_LOOKS:
        return [
            Mark(*spans[place][1:], words)
            for each in dict(zip(words, places, strict=True)).values()
            for place in each
        ]
    found = matches(places, slop)
    if slop == 0:
        return [Mark(spans[at[0]][1], spans[at[-1]][2], words) for at in found]
    standing = {place for at in found for place in at}
    return [Mark(spans[place][1], spans[place][2], words) for place in standing]


def matches(places: Sequence[Sequence[int]], slop: int) -> Iterator[Sequence[int]]:
    """The places of a phrase's words, for each time that it is there: plan.PhraseNode tells when."""
    if not all(places):
        return
    if slop == 0:
        common = set(places[0])
        for word, each in enumerate(places):
            common &= {place - word for place in each}
        yield from (range(start, start + len(places)) for start in sorted(common))
        return
    at = [0] * len(places)
    while True:
        standing = [each[i] for each, i in zip(places, at, strict=True)]
        starts = [place - word for word, place in enumerate(standing)]
        low = min(starts)
        if max(starts) - low <= slop and len(set(standing)) == len(standing):
            yield standing
        word = starts.index(low)
        at[word] += 1
        if at[word] == len(places[word]):
            return


def merged(marks: Iterable[Mark]) -> list[Mark]:
    """Marks of which none overlap, in order."""
    found: list[Mark] = []
    for mark in marks:
        if mark.start == mark.end:
            continue
        if found and mark.start < found[-1].end:
            if mark.end > found[-1].end:
                found[-1] = found[-1]._replace(end=mark.end)
        else:
            found.append(mark)
    return found


def best_piece(text: str, marks: Sequence[Mark], size: int) -> tuple[int, int]:
    """Start and end of the piece of a text in which most different things are found, then most of all."""
    if len(text) <= size:
        return 0, len(text)
    start, end = fullest(marks, size) if marks else (0, 0)
    end = min(end, start + size)
    left = max(0, min(start - (size - (end - start)) // 2, len(text) - size))
    # not to cut words: up to a space on either side, if there is one before what was found
    if left > 0 and not text[left - 1].isspace():
        space = next((at for at in range(left, start) if text[at].isspace()), None)
        left = left if space is None else space + 1
    right = min(left + size, len(text))
    if right < len(text) and not text[right].isspace():
        space = next((at for at in range(right - 1, end, -1) if text[at].isspace()), None)
        right = right if space is None else space
    return left, right


def fullest(marks: Sequence[Mark], size: int) -> tuple[int, int]:
    """From the first to the last of the marks that lie within `size` and are worth most."""
    counts: dict[object, int] = {}
    best, place, behind = (0, 0), (marks[0].start, marks[0].end), 0
    for first, mark in enumerate(marks):
        while behind < len(marks) and (behind == first or marks[behind].end - mark.start <= size):
            counts[marks[behind].found] = counts.get(marks[behind].found, 0) + 1
            behind += 1
        worth = (len(counts), behind - first)
        if worth > best:
            best = worth
            place = (mark.start, max(each.end for each in marks[first:behind]))
        counts[mark.found] -= 1
        if not counts[mark.found]:
            del counts[mark.found]
    return place
