"""Scorers: what it is worth that a document holds a word.

    weight = boost * how often the query has the word * idf(documents with the word, documents) * factor
    impact = weight * saturation(frequency in the document, its length, average length) + weight * added

A document's score is the sum of its impacts. Documents that were deleted count nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log, sqrt
from typing import Any, ClassVar, Literal, get_args

from penstock.errors import InvalidType, InvalidValue

__all__ = ["BM25", "TFIDF", "Scorer", "scorer_of_config"]

BM25Variant = Literal["lucene", "robertson", "atire", "bm25+", "bm25l"]
TFIDFVariant = Literal["plain", "lucene"]

MOST = 1e6
"""Greatest k1 and delta: their sums and products stay finite."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """What `BM25` and `TFIDF` have in common. Kernels know formulas by number: no other can be added.

    Attributes:
        kernel: the number of the formula (csrc/search_scorer.h), k1, b, delta.
    """

    NAME: ClassVar[str]

    kernel: tuple[int, float, float, float] = field(init=False, repr=False, compare=False)

    def idf(self, documents_with_term: int, documents: int, /) -> float:
        """The weight of a word that so many of all documents hold; 0 if none does."""
        raise NotImplementedError

    @property
    def factor(self) -> float:
        """What each weight is multiplied by."""
        return 1.0

    @property
    def added(self) -> float:
        """What a document gets, times the weight, for having the word at all."""
        return 0.0

    def saturation(self, frequency: float, length: float, average: float, /) -> float:
        """How much of the weight a document gets.

        Args:
            frequency: how often it has the word, > 0.
            length: its words, >= `frequency`.
            average: words of a document on average.
        """
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Name and parameters, for JSON; `scorer_of_config` makes an equal scorer of it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class BM25(Scorer):
    """BM25 with exact lengths of documents.

        variant     idf                                       factor   saturation
        lucene      log(1 + (N - df + 0.5)/(df + 0.5))        1        f / (f + k1*(1 - b + b*n/a))
        robertson   log((N - df + 0.5)/(df + 0.5)), not < 0   1        the same
        atire       log(N/df)                                 k1 + 1   the same
        bm25+       log((N + 1)/df)                           k1 + 1   the same; d/(k1 + 1) is added
        bm25l       log((N + 1)/(df + 0.5))                   k1 + 1   x/(x + k1), x = f/(1 - b + b*n/a) + d

    Args:
        k1: how slowly further occurrences of a word lose worth, 0 (at once) to 1e6.
        b: how much the length of a document counts, 0 to 1.
        variant: the formula.
        delta: d of bm25+ (1 if not given) and bm25l (0.5), 0 to 1e6; others have none.

    Raises:
        InvalidValue: a parameter is not allowed.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009; Lv and Zhai,
    Lower-Bounding Term Frequency Normalization, 2011 (bm25+), and When Documents Are Very Long, BM25 Fails!,
    2011 (bm25l); Trotman et al., Improvements to BM25 and Language Models Examined, 2014 (atire); Kamphuis et
    al., Which BM25 Do You Mean?, 2020.
    """

    NAME: ClassVar[str] = "bm25"

    k1: float = 1.2
    b: float = 0.75
    variant: BM25Variant = "lucene"
    delta: float | None = None

    def __post_init__(self) -> None:
        variants = get_args(BM25Variant)
        if self.variant not in variants:
            raise InvalidValue(f"variant must be one of {', '.join(variants)}, got {self.variant!r}")
        if self.delta is None:
            object.__setattr__(self, "delta", {"bm25+": 1.0, "bm25l": 0.5}.get(self.variant, 0.0))
        elif self.variant not in ("bm25+", "bm25l") and self.delta != 0:
            raise InvalidValue(
                f"delta must be given for bm25+ and bm25l only, got {self.delta!r} for {self.variant}"
            )
        for name, most in (("k1", MOST), ("b", 1.0), ("delta", MOST)):
            object.__setattr__(self, name, checked_number(name, getattr(self, name), most))
        number = variants.index(self.variant)
        object.__setattr__(self, "kernel", (number, self.k1, self.b, float(self.delta or 0)))

    def idf(self, documents_with_term: int, documents: int, /) -> float:
        """The weight of a word that so many of all documents hold; 0 if none does."""
        df, n = documents_with_term, documents
        if df == 0:
            return 0.0
        match self.variant:
            case "lucene":
                return log(1 + (n - df + 0.5) / (df + 0.5))
            case "robertson":
                return log(max((n - df + 0.5) / (df + 0.5), 1.0))
            case "atire":
                return log(n / df)
            case "bm25+":
                return log((n + 1) / df)
            case "bm25l":
                return log((n + 1) / (df + 0.5))

    @property
    def factor(self) -> float:
        """What each weight is multiplied by."""
        return 1.0 if self.variant in ("lucene", "robertson") else self.k1 + 1

    @property
    def added(self) -> float:
        """What a document gets, times the weight, for having the word at all."""
        return float(self.delta or 0) / (self.k1 + 1) if self.variant == "bm25+" else 0.0

    def saturation(self, frequency: float, length: float, average: float, /) -> float:
        """How much of the weight a document gets, 0 to 1."""
        k1, b = self.k1, self.b
        if self.variant == "bm25l":
            x = frequency / ((1 - b) + (b / average if average else 0.0) * length) + float(self.delta or 0)
            return x / (x + k1)
        return frequency / (frequency + (k1 * (1 - b) + (k1 * b / average if average else 0.0) * length))

    def config(self) -> dict[str, Any]:
        """Name and parameters, for JSON; `scorer_of_config` makes an equal scorer of it."""
        return {"name": self.NAME, "k1": self.k1, "b": self.b, "variant": self.variant, "delta": self.delta}


@dataclass(frozen=True, slots=True)
class TFIDF(Scorer):
    """Term frequency, inverse document frequency.

        variant   idf                                saturation
        plain     log(N/df)                          f / n
        lucene    (1 + log((N + 1)/(df + 1)))^2      sqrt(f / n)

    Args:
        variant: "plain", or "lucene" for that of Lucene's ClassicSimilarity, with exact lengths.

    Raises:
        InvalidValue: there is no such variant.

    Source: Sparck Jones, A Statistical Interpretation of Term Specificity, 1972; Lucene's TFIDFSimilarity.
    """

    NAME: ClassVar[str] = "tfidf"

    variant: TFIDFVariant = "plain"

    def __post_init__(self) -> None:
        variants = get_args(TFIDFVariant)
        if self.variant not in variants:
            raise InvalidValue(f"variant must be one of {', '.join(variants)}, got {self.variant!r}")
        number = len(get_args(BM25Variant)) + variants.index(self.variant)
        object.__setattr__(self, "kernel", (number, 0.0, 0.0, 0.0))

    def idf(self, documents_with_term: int, documents: int, /) -> float:
        """The weight of a word that so many of all documents hold; 0 if none does."""
        df, n = documents_with_term, documents
        if df == 0:
            return 0.0
        if self.variant == "plain":
            return log(n / df)
        root = 1 + log((n + 1) / (df + 1))
        return root * root

    def saturation(self, frequency: float, length: float, average: float, /) -> float:
        """How much of the weight a document gets, 0 to 1; the average has no part in it."""
        return frequency / length if self.variant == "plain" else sqrt(frequency / length)

    def config(self) -> dict[str, Any]:
        """Name and parameters, for JSON; `scorer_of_config` makes an equal scorer of it."""
        return {"name": self.NAME, "variant": self.variant}


def checked_number(name: str, value: object, most: float) -> float:
    """A parameter as a float from 0 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"{name} must be a number, got {type(value).__name__}")
    if not 0 <= value <= most:
        raise InvalidValue(f"{name} must be from 0 to {most:g}, got {value!r}")
    return float(value)


def scorer_of_config(config: Mapping[str, Any]) -> Scorer:
    """The scorer that has this `config()`.

    Raises:
        InvalidValue: no scorer has it.
    """
    parameters = dict(config)
    name = parameters.pop("name", None)
    for kind in (BM25, TFIDF):
        if name == kind.NAME:
            try:
                return kind(**parameters)
            except (TypeError, InvalidType) as refused:
                raise InvalidValue(f"config must be that of a scorer, got {dict(config)!r}") from refused
    raise InvalidValue(f"config must be that of a scorer, got {dict(config)!r}")
