"""Analyzers: what becomes of a text before its words are indexed or looked for."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Self
from unicodedata import normalize

from penstock.errors import InvalidType, InvalidValue, shown
from penstock.search._arguments import checked_int
from penstock.search._token_steps import (
    Span,
    Stems,
    bigrams,
    custom_spans,
    cut,
    is_cjk,
    one_of,
    without_possessives,
)
from penstock.search._words_py import LONGEST, checked_text, in_the_text_given
from penstock.search.stop_words import STOP_WORDS
from penstock.search.words import WordRules, WordSplitter

__all__ = ["Analyzer"]

NAMES = ("unicode", "ascii", "reference", "english", "keyword")
POSSESSIVE = re.compile(r"['\u2019\uff07][sS](?![A-Za-z0-9])")  # where one may be
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Options(NamedTuple):
    """What an analyzer was made with, checked; equal analyzers have equal ones."""

    name: str
    lowercase: bool
    nfkc: bool
    stop_words: frozenset[str]
    stemmer: str | None
    strip_possessives: bool
    cjk: str | None
    min_length: int
    max_length: int
    custom: Callable[[str], Iterable[str]] | None


class Analyzer:
    """Takes a text apart into the tokens by which it is found.

    A text goes through these steps, all but the second only if they are asked for: the form NFKC and lower
    case; words; `'s` removed; bigrams; words that are too short, and stop words, passed over; stems. The text
    of a query goes through the same. An analyzer never changes; it can be compared, hashed, pickled and
    shared between threads.

        >>> Analyzer().tokens("Don't panic: 3.14 is Ludolph's number")
        ["don't", 'panic', '3.14', 'is', "ludolph's", 'number']
        >>> Analyzer("ascii").tokens("state-of-the-art")
        ['state', 'of', 'the', 'art']

    Args:
        name: what parts words.

            - `unicode`: the word boundaries of Unicode (UAX #29), see `WordSplitter`.
            - `ascii`: words are maximal runs of `[A-Za-z0-9]`; all else parts them.
            - `reference`: the same, and words of less than 3 letters are passed over.
            - `english`: as `Analyzer.english()` makes it.
            - `keyword`: nothing; the whole text is one token.
        lowercase: whether letters are lowered.
        nfkc: whether text is brought into the form NFKC, so that `ﬁ` is found as `fi` and `①` as `1`.
        stop_words: words that are passed over, or `english`, the list of Lucene. None: none.
        stemmer: a language that Snowball has a stemmer for, such as `english`, or `porter`: then
            `connections` is found as `connected` is. It needs PyStemmer.
        strip_possessives: whether `'s` at the end of a word is removed, as English has it.
        cjk: `bigrams` makes Han, kana and Hangul that stand side by side into pairs that overlap, for a
            language that does not part its words; what stands alone is a token alone.
        min_length: code points, 1 to `max_length`; shorter words are passed over, but not what `cjk` makes.
        max_length: code points, 1 to 255; longer words are cut into pieces of so many.
        custom: a function that takes the text apart in the place of what `name` says; it is called with the
            text lowered, and in the form NFKC, if those are asked for.

    Raises:
        ValueError: a name that there is not, or a number out of its range.
        TypeError: an argument of another type.
        ImportError: a stemmer without PyStemmer.

    Sources: Unicode Standard Annex #29; M. F. Porter, An Algorithm for Suffix Stripping, 1980; Apache Lucene,
    CJKBigramFilter and EnglishPossessiveFilter.
    """

    __slots__ = ("_all_words", "_options", "_rules", "_splitter", "_stems")

    def __init__(
        self,
        name: str = "unicode",
        *,
        lowercase: bool = True,
        nfkc: bool = False,
        stop_words: str | Iterable[str] | None = None,
        stemmer: str | None = None,
        strip_possessives: bool = False,
        cjk: Literal["bigrams"] | None = None,
        min_length: int = 1,
        max_length: int = LONGEST,
        custom: Callable[[str], Iterable[str]] | None = None,
    ) -> None:
        name = one_of("name", name, NAMES)
        if name == "english":
            name, strip_possessives = "unicode", True
            stop_words = "english" if stop_words is None else stop_words
            stemmer = "porter" if stemmer is None else stemmer
        if custom is not None and not callable(custom):
            raise InvalidType(f"custom must be a function of a text, got {shown(custom)}")
        longest = checked_int("max_length", max_length, 1, LONGEST)
        shortest = checked_int("min_length", min_length, 1, longest)
        if name == "reference":
            shortest = max(shortest, min(3, longest))
        options = Options(
            name,
            bool(lowercase),
            bool(nfkc),
            checked_stop_words(stop_words, bool(lowercase), bool(nfkc)),
            stemmer,
            bool(strip_possessives),
            None if cjk is None else one_of("cjk", cjk, ("bigrams",)),
            shortest,
            longest,
            custom,
        )
        self._set(options)

    def _set(self, options: Options) -> None:
        segmentation: Literal["ascii", "unicode"] = "unicode" if options.name == "unicode" else "ascii"
        rules = WordRules(
            segmentation,
            options.lowercase,
            options.nfkc,
            options.min_length,
            options.max_length,
            options.stop_words,
        )
        self._options = options
        self._stems = None if options.stemmer is None else Stems(options.stemmer)
        self._splitter = WordSplitter(rules)
        self._all_words = WordSplitter(WordRules(segmentation, False, False, 1, options.max_length))
        native = options.custom is None and options.name != "keyword"
        more = options.stemmer is not None or options.strip_possessives or options.cjk is not None
        self._rules = rules if native and not more else None

    @classmethod
    def english(cls, name: str = "unicode") -> Self:
        """For English: no stop words, no `'s`, and Porter's stemmer; as Lucene's EnglishAnalyzer."""
        return cls(name, stop_words="english", stemmer="porter", strip_possessives=True)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        """The analyzer of which `config` was the `config()`.

        Raises:
            ValueError: there is a key that no analyzer has, or a value that none takes.
            TypeError: a value of another type.
            ImportError: a stemmer without PyStemmer.
        """
        known = [key for key in Options._fields if key != "custom"]
        for key in config:
            if key not in known:
                raise InvalidValue(
                    f"config of an analyzer must have keys of {', '.join(known)}, got {shown(key)}"
                )
        return cls(**config)

    def config(self) -> dict[str, Any]:
        """All that it was made with, for JSON.

        Raises:
            ValueError: it has a custom function, which cannot be written down.
        """
        if self._options.custom is not None:
            raise InvalidValue(
                f"an analyzer must have no custom function to be saved, got {shown(self._options.custom)}"
            )
        config = self._options._asdict()
        del config["custom"]
        config["stop_words"] = name_of(self._options.stop_words) or sorted(self._options.stop_words)
        return config

    @property
    def rules(self) -> WordRules | None:
        """All that it does, if a WordSplitter can do it alone; else None, and `tokens` is to be called."""
        return self._rules

    @property
    def is_custom(self) -> bool:
        """Whether a function of the user takes texts apart."""
        return self._options.custom is not None

    def normalized(self, text: str) -> str:
        """`text` in the form NFKC and in lower case if the analyzer has it so; nothing else is done.

        Raises:
            TypeError: text is no str.
        """
        text = checked_text(text)
        if self._options.nfkc and not text.isascii():
            text = normalize("NFKC", text)
        return text.lower() if self._options.lowercase else text

    def tokens(self, text: str) -> list[str]:
        """The tokens of `text`, in the order in which they stand there.

        Raises:
            TypeError: text is no str, or a custom function gave what is none.
        """
        text = checked_text(text)
        if self._is_plain(text):
            words = self._splitter.words(text)
        else:
            words = [word for word, _, _ in self._spans(self.normalized(text))]
        stems = self._stems
        return words if stems is None else [stems[word] for word in words]

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        """The tokens of `text` and where they stand.

        What a custom function gives is looked for from one to the next; what is not there, as it stands, is
        left out.

        Returns:
            token, start and end of each: `text[start:end]` is what it came of.

        Raises:
            TypeError: text is no str, or a custom function gave what is none.
        """
        if self._rules is not None:
            return self._splitter.spans(text)
        text = checked_text(text)
        changed = self.normalized(text)
        spans = [span for span in self._spans(changed, placed=True) if span[1] >= 0]
        if not text.isascii():
            rules = WordRules(lower=self._options.lowercase, nfkc=self._options.nfkc)
            spans = in_the_text_given(spans, rules, text, changed)
        stems = self._stems
        return spans if stems is None else [(stems[word], start, end) for word, start, end in spans]

    def _is_plain(self, text: str) -> bool:
        """Whether a WordSplitter alone finds the words of `text`, and only stems are left to do."""
        options = self._options
        return self._rules is not None or (
            options.custom is None
            and options.name != "keyword"
            and (options.cjk is None or text.isascii())
            and not (options.strip_possessives and POSSESSIVE.search(text))
        )

    def _spans(self, text: str, *, placed: bool = False) -> list[Span]:
        """The tokens of a normalized text, but for their stems; start is -1 where it is not known."""
        options = self._options
        found: Iterable[Span]
        if options.custom is not None:
            found = cut(custom_spans(options.custom, text, placed), options.max_length)
        elif options.name == "keyword":
            found = cut([(LONE_SURROGATE.sub("\ufffd", text), 0, len(text))], options.max_length)
        else:
            found = self._all_words.spans(text)
        if options.strip_possessives:
            found = without_possessives(text, found)
        if options.cjk is None:
            found = (span for span in found if len(span[0]) >= options.min_length)
        else:
            found = bigrams(span for span in found if len(span[0]) >= options.min_length or is_cjk(span[0]))
        return [span for span in found if span[0] not in options.stop_words]

    def __repr__(self) -> str:
        options, plain = self._options._asdict(), PLAIN._asdict()
        options["stop_words"] = name_of(self._options.stop_words) or options["stop_words"]
        given = [
            f"{key}={value!r}" for key, value in options.items() if key != "name" and value != plain[key]
        ]
        return f"Analyzer({', '.join([repr(self._options.name), *given])})"

    def __eq__(self, other: object) -> bool:
        return self._options == other._options if isinstance(other, Analyzer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, tuple(self._options)


PLAIN = Options("unicode", True, False, frozenset(), None, False, None, 1, LONGEST, None)


def restored(*options: Any) -> Analyzer:
    """An analyzer from a pickle, which names this function."""
    given = Options(*options)._asdict()
    return Analyzer(given.pop("name"), **given)


# ---- arguments


def checked_stop_words(words: object, lowercase: bool, nfkc: bool) -> frozenset[str]:
    """Stop words in the form in which words come out."""
    if words is None:
        return frozenset()
    if isinstance(words, str):
        return STOP_WORDS[one_of("stop_words", words, STOP_WORDS)]
    if not isinstance(words, Iterable):
        raise InvalidType(
            f"stop_words must be None, the name of a list or an iterable of str, got {shown(words)}"
        )
    found = []
    for word in words:
        if not isinstance(word, str):
            raise InvalidType(f"stop_words must be of str, got {shown(word)}")
        normal = normalize("NFKC", word) if nfkc else word
        found.append(normal.lower() if lowercase else str(normal))
    return frozenset(found)


def name_of(words: frozenset[str]) -> str | None:
    """The name of a list of stop words; None if it has none."""
    return next((name for name, listed in STOP_WORDS.items() if listed == words), None)
