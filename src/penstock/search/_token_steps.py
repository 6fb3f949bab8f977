"""What an analyzer does to tokens one after the other: pieces, possessives, bigrams and stems."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from threading import Lock
from typing import Any

from penstock.errors import InvalidType, InvalidValue, shown
from penstock.search._arguments import is_encodable
from penstock.search._words_py import CLASS_OF, LONGEST, PASSED_OVER

MOST_STEMS = 100_000  # words whose stems are remembered: some 10 MB
NEAR = 1_000  # code points behind a custom token in which the next is looked for
APOSTROPHES = "'\u2019\uff07"
POSSESSIVES = frozenset(mark + letter for mark in APOSTROPHES for letter in "sS")
CJK = frozenset("cGK")
"""Classes of Han, Hiragana, Katakana and Hangul."""

Span = tuple[str, int, int]
"""A token, and where it starts and ends; both are -1 where that is not known."""


class Stems(dict[str, str]):
    """The stem of each word that was asked for, until there are too many."""

    def __init__(self, language: str) -> None:
        self.stemmer = stemmer_of(language)
        self.lock = Lock()

    def __missing__(self, word: str) -> str:
        with self.lock:  # one thread at a time, for a stemmer works in its own memory
            stem: str = (self.stemmer.stemWord(word) or word)[:LONGEST] if is_encodable(word) else word
        if len(self) >= MOST_STEMS:
            self.clear()
        self[word] = stem
        return stem


def cut(spans: Iterable[Span], longest: int) -> Iterator[Span]:
    """Spans without a text left out, and of those that are too long pieces."""
    for word, start, end in spans:
        for at in range(0, len(word), longest):
            piece = word[at : at + longest]
            yield piece, *((start, end) if start < 0 else (start + at, start + at + len(piece)))


def custom_spans(custom: Callable[[str], Iterable[str]], text: str, placed: bool) -> Iterator[Span]:
    """What a function of the user makes of `text`, and where it stands if that is asked for."""
    behind = 0
    for token in custom(text):
        if not isinstance(token, str):
            raise InvalidType(f"custom must give str, got {shown(token)}")
        at = text.find(token, behind, behind + len(token) + NEAR) if placed else -1
        if at < 0:
            yield token, -1, -1
        else:
            behind = at + len(token)
            yield token, at, behind


def without_possessives(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """Spans without the `'s` at their ends, be it in the word or a word of its own."""
    for word, start, end in spans:
        if word[-2:] in POSSESSIVES and len(word) > 2:
            yield word[:-2], start, end - 2
        elif not (word in ("s", "S") and is_behind_apostrophe(text, start)):
            yield word, start, end


def is_behind_apostrophe(text: str, start: int) -> bool:
    """Whether an apostrophe, and a word before that, stands in front of `start`."""
    return start >= 2 and text[start - 1] in APOSTROPHES and text[start - 2].isalnum()


def is_cjk(word: str) -> bool:
    """Whether it is of Han, kana or Hangul alone."""
    if len(word) == 1:
        return CLASS_OF[ord(word)] in CJK
    return not word.isascii() and all(
        point in CJK or point in PASSED_OVER for point in word.translate(CLASS_OF)
    )


def bigrams(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans with Han, kana and Hangul that stand side by side in pairs, each in the next pair too."""
    run: list[Span] = []
    for span in spans:
        cjk = is_cjk(span[0])
        if run and not (cjk and run[-1][2] == span[1]):
            yield from pairs(run)
            run = []
        if cjk and len(span[0]) == 1:
            run.append(span)
        elif cjk:
            run += units(*span)
        else:
            yield span
    yield from pairs(run)


def units(word: str, start: int, _: int) -> Iterator[Span]:
    """Each code point with the marks that are set on it."""
    classes = word.translate(CLASS_OF)
    at = 0
    for behind in range(1, len(word) + 1):
        if behind == len(word) or classes[behind] not in PASSED_OVER:
            yield word[at:behind], start + at, start + behind
            at = behind


def pairs(run: list[Span]) -> Iterator[Span]:
    if len(run) == 1:
        yield run[0]
    for one, other in pairwise(run):
        yield (one[0] + other[0])[:LONGEST], one[1], other[2]  # longer only with hundreds of marks


def stemmer_of(language: str) -> Any:
    """PyStemmer's stemmer for a language."""
    try:
        import Stemmer  # type: ignore[import-not-found]  # only who stems needs it
    except ImportError as error:
        raise ImportError(
            f"stemmer {language!r} needs PyStemmer: pip install 'penstock[search]'", name="Stemmer"
        ) from error
    return Stemmer.Stemmer(one_of("stemmer", language, Stemmer.algorithms()), 0)


def one_of(what: str, value: object, names: Iterable[str]) -> str:
    if not isinstance(value, str):
        raise InvalidType(f"{what} must be a str, got {shown(value)}")
    if value not in names:
        raise InvalidValue(f"{what} must be one of {', '.join(names)}, got {shown(value)}")
    return value
