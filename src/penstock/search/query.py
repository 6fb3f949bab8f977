"""Queries: what a document must have, as objects that can be put together.

    Match("climate change") & ~Term("hoax", field="title")
    And(Phrase("big data"), Range("year", 2015, None), Maybe(Match("spark")))

A query is frozen, hashable, and equal to one of the same parts. It knows nothing of an index: words are
taken apart by the index that is asked. `str(query)` writes it in the syntax of penstock.search.query_parser,
which reads it back. A query has at most 1,024 clauses and 32 levels, whoever puts it together, so that
running it ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from math import isnan
from re import compile as pattern
from typing import ClassVar, TypeAlias

from penstock.errors import InvalidType, InvalidValue, shown
from penstock.search._arguments import checked_slop, checked_weight
from penstock.search.errors import QueryTooLarge

__all__ = [
    "MOST_CLAUSES",
    "MOST_LEVELS",
    "And",
    "Boost",
    "ConstScore",
    "Everything",
    "Fuzzy",
    "Match",
    "Maybe",
    "Not",
    "Or",
    "Phrase",
    "Prefix",
    "Query",
    "Range",
    "Term",
]

MOST_CLAUSES = 1_024
"""Words, phrases, ranges and the like that a query can have."""

MOST_LEVELS = 32
"""Levels that a query can have; one that is a single word has 1."""

FIELD_NAME = pattern(r"[^\W\d][\w.-]{0,63}")
"""What a field may be called, so that `name:` can be told from other words with a colon."""

Number: TypeAlias = int | float


class Query:
    """What a document must have to be found, and what it then scores."""

    __slots__ = ()

    size: int
    """Clauses that are no clauses of others."""
    depth: int
    """Levels."""

    def __and__(self, other: "Query") -> "And":
        """Both: scores are added up. `a & b & c` is one `And` of three."""
        if not isinstance(other, Query):
            return NotImplemented
        return And(*(self.clauses if isinstance(self, And) else (self,)), other)

    def __or__(self, other: "Query") -> "Or":
        """One of both at the least: scores are added up. `a | b | c` is one `Or` of three."""
        if not isinstance(other, Query):
            return NotImplemented
        return Or(*(self.clauses if isinstance(self, Or) and self.minimum == 1 else (self,)), other)

    def __invert__(self) -> "Not":
        """What does not match."""
        return Not(self)

    def __repr__(self) -> str:
        """As code that makes it, without what is left to defaults."""
        name = type(self).__name__
        if isinstance(self, And | Or):
            parts = [repr(clause) for clause in self.clauses]
            if isinstance(self, Or) and self.minimum != 1:
                parts.append(f"minimum={self.minimum}")
            return f"{name}({', '.join(parts)})"
        given = [each for each in fields(self) if each.compare]  # type: ignore[arg-type]  # it is one
        parts = [repr(getattr(self, each.name)) for each in given[:1]]
        for each in given[1:]:
            if (value := getattr(self, each.name)) != each.default:
                parts.append(f"{each.name}={value!r}")
        return f"{name}({', '.join(parts)})"

    def __str__(self) -> str:
        return written(self)


class Leaf(Query):
    """A clause that holds no others."""

    __slots__ = ()
    size: ClassVar[int] = 1  # type: ignore[misc]  # of each alike
    depth: ClassVar[int] = 1  # type: ignore[misc]


# Words --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Match(Leaf):
    """The words of a text, taken apart as the index does with documents: one of them at the least.

    What `search` makes of a str. Words beyond the first 1,024 different ones are passed over.

    Args:
        text: any text.
        field: the field to look in; None for all text fields.
    """

    text: str
    field: str | None = None

    def __post_init__(self) -> None:
        check_text("text", self.text)
        check_field(self.field)


@dataclass(frozen=True, slots=True, repr=False)
class Term(Leaf):
    """A word exactly as the index holds it: lower case or a stem, where the analyzer makes words such.

    Args:
        term: the word.
        field: the field to look in; None for all text fields.
    """

    term: str
    field: str | None = None

    def __post_init__(self) -> None:
        check_text("term", self.term)
        check_field(self.field)


@dataclass(frozen=True, slots=True, repr=False)
class Phrase(Leaf):
    """The words of a text one after the other. The index must have been made with `positions=True`.

    Args:
        text: taken apart by the index. Words beyond the first 1,024 are passed over, and of more than 64
            each 64 are looked for as a phrase of their own.
        slop: how many places the words may be away from where the phrase has them, in all; 2 allows two
            neighbours to change places. With slop, places are tried once each, in order (csrc/search_plan.h),
            so of a phrase that has a word twice, such as "a b a", a match can be missed.
        field: the field to look in; None for all text fields.
    """

    text: str
    slop: int = 0
    field: str | None = None

    def __post_init__(self) -> None:
        check_text("text", self.text)
        object.__setattr__(self, "slop", checked_slop(self.slop))
        check_field(self.field)


@dataclass(frozen=True, slots=True, repr=False)
class Prefix(Leaf):
    """Words that begin so; a document that has one scores 1, however many it has.

    Of more than 1,024 words in the index those count that most documents hold.

    Args:
        prefix: what the words begin with, in any case if the analyzer lowers; not stemmed.
        field: the field to look in; None for all text fields.
    """

    prefix: str
    field: str | None = None

    def __post_init__(self) -> None:
        check_text("prefix", self.prefix)
        if not self.prefix:
            raise InvalidValue(
                "prefix must have at least 1 character, got none: Everything() matches every document"
            )
        check_field(self.field)


@dataclass(frozen=True, slots=True, repr=False)
class Fuzzy(Leaf):
    """Words at most `distance` edits away: a character more, less or another, or two neighbours swapped.

    A word counts the less the more edits it needs: times 1 - edits / its length. Of more than 1,024 words in
    the index the nearest count, and of these those that most documents hold.

    Args:
        word: the word, taken apart as the index does.
        distance: 0, 1 or 2.
        field: the field to look in; None for all text fields.
    """

    word: str
    distance: int = 2
    field: str | None = None

    def __post_init__(self) -> None:
        check_text("word", self.word)
        if type(self.distance) is not int:
            raise InvalidType(f"distance must be an int, got {shown(self.distance)}")
        if not 0 <= self.distance <= 2:
            raise InvalidValue(f"distance must be 0, 1 or 2, got {shown(self.distance)}")
        check_field(self.field)


# Other leaves -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Range(Leaf):
    """A number of a column between two others; scores 0. Documents without a number there are never in it.

    Args:
        column: a `Number` or `Integer` field.
        low: the least, None for no bound.
        high: the greatest, None for no bound.
        include_low: whether `low` itself is in the range.
        include_high: whether `high` itself is.
    """

    column: str
    low: Number | None = None
    high: Number | None = None
    include_low: bool = True
    include_high: bool = True

    def __post_init__(self) -> None:
        check_field(self.column)
        if self.column is None:
            raise InvalidType("column must be the name of a field, got None")
        for name, bound in (("low", self.low), ("high", self.high)):
            if bound is None:
                continue
            object.__setattr__(self, name, checked_bound(name, bound))
        for name in ("include_low", "include_high"):
            if type(getattr(self, name)) is not bool:
                raise InvalidType(f"{name} must be a bool, got {shown(getattr(self, name))}")
        # an open end has one way to be written
        object.__setattr__(self, "include_low", self.include_low or self.low is None)
        object.__setattr__(self, "include_high", self.include_high or self.high is None)


@dataclass(frozen=True, slots=True, repr=False)
class Everything(Leaf):
    """Every document; scores 0."""


# Queries made of others ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False, init=False)
class And(Query):
    """Documents that match every clause; scores are added up.

    A `Not` among the clauses takes away what it matches, a `Maybe` only adds to scores.

    Args:
        clauses: two or more.

    Raises:
        InvalidValue: there are fewer.
        QueryTooLarge: more than 1,024 clauses or 32 levels.
    """

    clauses: tuple[Query, ...]
    size: int = field(compare=False)
    depth: int = field(compare=False)

    def __init__(self, *clauses: Query) -> None:
        if len(clauses) < 2:
            raise InvalidValue(f"And must have at least 2 clauses, got {len(clauses)}: use the clause itself")
        object.__setattr__(self, "clauses", clauses)
        measure(self, clauses)


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Or(Query):
    """Documents that match at least `minimum` of the clauses; scores of those that match are added up.

    Args:
        clauses: any number; none match nothing.
        minimum: how many must match.

    Raises:
        InvalidValue: `minimum` is not from 1 to the number of clauses.
        QueryTooLarge: more than 1,024 clauses or 32 levels.
    """

    clauses: tuple[Query, ...]
    minimum: int = 1
    size: int = field(default=0, compare=False)
    depth: int = field(default=0, compare=False)

    def __init__(self, *clauses: Query, minimum: int = 1) -> None:
        if type(minimum) is not int:
            raise InvalidType(f"minimum must be an int, got {shown(minimum)}")
        most = max(1, len(clauses))
        if not 1 <= minimum <= most:
            raise InvalidValue(
                f"minimum must be from 1 to {most}, the number of clauses, got {shown(minimum)}"
            )
        object.__setattr__(self, "clauses", clauses)
        object.__setattr__(self, "minimum", minimum)
        measure(self, clauses)


@dataclass(frozen=True, slots=True, repr=False)
class Not(Query):
    """Documents that do not match; by itself it scores 0.

    Args:
        clause: what they must not match.
    """

    clause: Query
    size: int = field(init=False, compare=False)
    depth: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        measure(self, (self.clause,))


@dataclass(frozen=True, slots=True, repr=False)
class Maybe(Query):
    """Every document; those that match the clause score what it gives them. For a wish beside what must be.

    Args:
        clause: the wish.
    """

    clause: Query
    size: int = field(init=False, compare=False)
    depth: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        measure(self, (self.clause,))


@dataclass(frozen=True, slots=True, repr=False)
class Boost(Query):
    """What the clause matches, with its score times `factor`.

    Args:
        clause: any query.
        factor: 0 to 1e9; boosts within each other multiply, up to that.
    """

    clause: Query
    factor: float
    size: int = field(init=False, compare=False)
    depth: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", checked_weight("factor", self.factor))
        measure(self, (self.clause,))


@dataclass(frozen=True, slots=True, repr=False)
class ConstScore(Query):
    """What the clause matches, each with the same score.

    Args:
        clause: any query.
        score: 0 to 1e9.
    """

    clause: Query
    score: float = 1.0
    size: int = field(init=False, compare=False)
    depth: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", checked_weight("score", self.score))
        measure(self, (self.clause,))


# Checks -------------------------------------------------------------------------------------------------


def check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise InvalidType(f"{name} must be a str, got {shown(text)}")


def check_field(name: object) -> None:
    if name is None:
        return
    if not isinstance(name, str):
        raise InvalidType(f"field must be the name of a field, got {shown(name)}")
    if not FIELD_NAME.fullmatch(name):
        raise InvalidValue(
            f"field must be a letter or _ and up to 63 more, or digits, dots and hyphens, got {shown(name)}"
        )


def checked_bound(name: str, bound: object) -> Number:
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        item = getattr(bound, "item", None)  # of a numpy scalar
        bound = item() if callable(item) else bound
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise InvalidType(f"{name} must be a number or None, got {shown(bound)}")
    if isnan(bound):
        raise InvalidValue(f"{name} must be a number that can be compared, got NaN")
    if isinstance(bound, int) and abs(bound) >= 1 << 64:
        raise InvalidValue(f"{name} must be from -2**64 to 2**64, got {shown(bound)}")
    return bound


def measure(query: Query, clauses: tuple[Query, ...]) -> None:
    """Sets size and depth of a query made of others, which bounds it: a query too large never comes to be."""
    size, depth = 0, 0
    for clause in clauses:
        if not isinstance(clause, Query):
            raise InvalidType(f"clause must be a Query, got {shown(clause)}: Match(text) makes one of a text")
        size += max(clause.size, 1)
        depth = max(depth, clause.depth)
    if size > MOST_CLAUSES:
        raise QueryTooLarge(f"query must have at most {MOST_CLAUSES} clauses, got {size}")
    if depth + 1 > MOST_LEVELS:
        raise QueryTooLarge(f"query must have at most {MOST_LEVELS} levels, got {depth + 1}")
    object.__setattr__(query, "size", size)
    object.__setattr__(query, "depth", depth + 1)


def leaves(query: Query, *, wanted: bool = True) -> Iterator[Query]:
    """The clauses of a query that hold no others; `wanted`: without those below a `Not`."""
    match query:
        case And(clauses=clauses) | Or(clauses=clauses):
            for clause in clauses:
                yield from leaves(clause, wanted=wanted)
        case Not(clause=clause):
            if not wanted:
                yield from leaves(clause, wanted=wanted)
        case Maybe(clause=clause) | Boost(clause=clause) | ConstScore(clause=clause):
            yield from leaves(clause, wanted=wanted)
        case _:
            yield query


# Writing ------------------------------------------------------------------------------------------------

SPECIAL = pattern(r'[\s\\()\[\]{}"^~*:]')
SPECIAL_FIRST = pattern(r"[-+=<>]")
KEYWORDS = frozenset({"AND", "OR", "NOT"})


def written(query: Query) -> str:
    """A query in the syntax that parse_query reads; what it reads is equal, or means the same."""
    match query:
        case Or(clauses=clauses, minimum=minimum):
            text = " ".join(map(unit, clauses))
            return f"({text})~{minimum}" if minimum > 1 else text or "()"
        case And(clauses=clauses):
            text = " ".join(map(signed, clauses))
            must = any(not isinstance(clause, Not | Maybe) for clause in clauses)
            wish = any(isinstance(clause, Maybe) for clause in clauses)
            return text if must or not wish else f"+* {text}"
        case Not():
            return signed(query)
        case Maybe():
            return f"+* {signed(query)}"
        case Boost(clause=clause, factor=factor):
            return f"{unit(clause)}^{number(factor)}"
        case ConstScore(clause=clause, score=score):
            return f"{unit(clause)}^={number(score)}"
        case Everything():
            return "*"
        case Range():
            return range_text(query)
        case Match(text="", field=name) | Term(term="", field=name) | Fuzzy(word="", field=name):
            return in_field(name, '""')  # matches nothing either
        case Match(text=text, field=name):
            return in_field(name, word(text))
        case Term(term=text, field=name):
            return in_field(name, f"={word(text, first=False)}")
        case Prefix(prefix=text, field=name):
            return in_field(name, f"{word(text)}*")
        case Fuzzy(word=text, distance=distance, field=name):
            return in_field(name, f"{word(text)}~{distance}")
        case Phrase(text=text, slop=slop, field=name):
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            return in_field(name, f'"{quoted}"' + (f"~{slop}" if slop else ""))
    raise InvalidType(f"query must be one of penstock.search's, got {shown(query)}")


def unit(query: Query) -> str:
    """A query so that a sign or a boost beside it is for the whole of it."""
    grouped = isinstance(query, And | Not | Maybe) or (
        isinstance(query, Or) and query.minimum == 1 and query.clauses
    )
    return f"({written(query)})" if grouped else written(query)


def signed(clause: Query) -> str:
    """A clause of an And."""
    match clause:
        case Not(clause=inner):
            return f"-{unit(inner)}"
        case Maybe(clause=inner):
            return unit(inner)
    return f"+{unit(clause)}"


def in_field(name: str | None, text: str) -> str:
    return text if name is None else f"{name}:{text}"


def word(text: str, *, first: bool = True) -> str:
    """A text as one word: what would end it or mean something is escaped.

    first: whether it stands first in its clause.
    """
    plain = SPECIAL.sub(r"\\\g<0>", text)
    if first and (plain in KEYWORDS or SPECIAL_FIRST.match(plain)):
        return f"\\{plain}"
    return plain


def range_text(query: Range) -> str:
    low = "*" if query.low is None else number(query.low)
    high = "*" if query.high is None else number(query.high)
    opening, closing = "[" if query.include_low else "{", "]" if query.include_high else "}"
    return f"{query.column}:{opening}{low} TO {high}{closing}"


def number(value: Number) -> str:
    return repr(value)
