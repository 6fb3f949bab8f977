r"""The syntax of queries: what people type into a search box, and a little more.

    big data            one of the words at the least, more is better
    "big data"          one after the other; "big data"~2: up to 2 places away from that
    +must -not maybe    must be there, must not, makes better
    a AND b, a OR b, NOT a, (a OR b) AND c
    (a b c)~2           at least 2 of them
    title:word          in one field; title:(a b), title:"big data"
    pre*                words that begin so; * alone is every document
    word~  word~1       at most 2 edits away, at most 1
    =word               exactly as the index holds it, not taken apart
    word^2.5            counts 2.5 times as much; (a b)^=1 scores 1
    price:[10 TO 20]    from 10 to 20; price:{10 TO 20} without the bounds; price:[10 TO *], price:>=10,
    price:10 \\:                  a backslash takes the meaning from what follows

AND binds its neighbours first; then, within a group, +, - and nothing say what each part is. Names of
operators are in capitals. Lenient parsing, the default, never fails: what breaks the syntax is taken as
words or passed over. Strict parsing raises, and says where and what was expected.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from re import Pattern
from re import compile as pattern
from typing import Literal, NamedTuple, NoReturn

from penstock.errors import InvalidType, shown
from penstock.search.errors import QuerySyntaxError, QueryTooLarge
from penstock.search.query import (
    FIELD_NAME,
    MOST_CLAUSES,
    And,
    Boost,
    ConstScore,
    Everything,
    Fuzzy,
    Match,
    Maybe,
    Not,
    Or,
    Phrase,
    Prefix,
    Query,
    Range,
    Term,
)

__all__ = ["Schema", "parse_query"]

FieldKind = Literal["text", "number"]

LENIENT_LENGTH = 4_096  # characters of a text that lenient parsing looks at
LENIENT_EXPANDED = 16  # prefixes and near words; further ones are taken as words
LENIENT_PHRASES = 16  # further ones are taken as words, too
LENIENT_LEVELS = 7  # of parentheses; further ones are passed over
STRICT_LEVELS = 31
STRICT_LENGTH = 1 << 17
EXCERPT = 30  # characters of the text in a message


@dataclass(frozen=True, slots=True)
class Schema:
    """What a parser must know of an index to tell `title:word` from a word with a colon.

    Args:
        kinds: "text" or "number" for each field.
        positions: whether the index can look for phrases.
    """

    kinds: Mapping[str, FieldKind] = field(default_factory=dict)
    positions: bool = True


def parse_query(text: str, strict: bool = False, *, schema: Schema | None = None) -> Query:
    """The query that a text in the syntax above stands for.

    Args:
        text: what somebody typed. Lenient parsing looks at the first 4,096 characters.
        strict: refuse what breaks the syntax, instead of making the best of it.
        schema: fields that there are; `index.parse` gives it. None: any name before a colon is that of a
            field.

    Returns:
        A query; of an empty text one that matches nothing.

    Raises:
        QuerySyntaxError: strict, and the text breaks the syntax; `position` tells where.
        QueryTooLarge: strict, and it has more than 1,024 clauses, 32 levels or 131,072 characters.

    Example:
        >>> parse_query('title:"big data" +must -not')
        And(Maybe(Phrase('big data', field='title')), Match('must'), Not(Match('not')))
    """
    if not isinstance(text, str):
        raise InvalidType(f"text must be a str, got {shown(text)}")
    if strict and len(text) > STRICT_LENGTH:
        raise QueryTooLarge(f"query must have at most {STRICT_LENGTH} characters, got {len(text)}")
    return Parser(text if strict else text[:LENIENT_LENGTH], strict, schema).query()


class Part(NamedTuple):
    """A clause of a group and its sign: "+", "-" or ""."""

    sign: str
    query: Query


class Failed(Exception):
    """Lenient parsing cannot go on here as it thought; never leaves this module."""


ENDS_WORD = frozenset('()[]{}"^~')
NUMBER = pattern(r"[-+]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,5})?|[-+]?inf")
FACTOR = pattern(r"(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,5})?")
DIGITS = pattern(r"[0-9]{1,9}")
BOUND = pattern(r"[^\s\[\]{}()\"]+")
COMPARISON = pattern(r"(>=|<=|>|<)\s*")


class Parser:
    """Reads one text from left to right, one level of parentheses in another."""

    def __init__(self, text: str, strict: bool, schema: Schema | None) -> None:
        self.text = text
        self.strict = strict
        self.schema = schema
        self.at = 0
        self.size = 0  # clauses so far
        self.expanded = 0  # of them, prefixes and near words
        self.phrases = 0
        self.ignored = 0  # opening parentheses that were passed over

    # What is wrong

    def fail(self, expected: str, at: int | None = None) -> NoReturn:
        """Raises that something else was expected here."""
        at = self.at if at is None else at
        if not self.strict:
            raise Failed
        found = self.text[at : at + EXCERPT]
        got = repr(found + ("..." if at + EXCERPT < len(self.text) else "")) if found else "its end"
        raise QuerySyntaxError(f"query must have {expected} at position {at}, got {got}", at)

    # Groups

    def query(self) -> Query:
        found = self.group(None, 0)
        if self.at < len(self.text):  # only strict parsing stops before the end, at a parenthesis
            self.fail("a ( before )")
        return Or() if found is None else found

    def group(self, name: str | None, depth: int) -> Query | None:
        """What stands up to a closing parenthesis or the end; None: nothing."""
        chains: list[list[Part]] = []  # what AND joins
        operator, operator_at = "", 0
        while self.more(depth):
            start = self.at
            keyword = self.keyword("AND") or self.keyword("OR")
            if keyword:
                if self.strict and (operator or not chains):
                    self.fail(f"a clause before {keyword}", start)
                operator, operator_at = keyword, start
                continue
            part = self.clause(name, depth)
            if part is None:
                continue
            if operator == "AND" and chains:
                chains[-1].append(part)
            elif operator == "OR" and part.sign == "-" and chains:
                chains.append([Part("", self.made(Not, part.query))])
            else:
                chains.append([part])
            operator = ""
        if self.strict and operator:
            self.fail(f"a clause after {operator}", operator_at + len(operator))
        parts = [self.joined(chain) for chain in chains]
        return self.grouped(parts) if parts else None

    def more(self, depth: int) -> bool:
        """Whether a clause follows; passes over spaces, and leniently over what closes nothing."""
        while True:
            self.spaces()
            if self.at == len(self.text):
                return False
            if self.text[self.at] != ")":
                return True
            if self.strict or (depth and not self.ignored):
                return False
            self.ignored = max(0, self.ignored - 1)
            self.at += 1

    def joined(self, chain: list[Part]) -> Part:
        """The clauses between which AND stands, as one."""
        if len(chain) == 1:
            return chain[0]
        clauses = [self.made(Not, part.query) if part.sign == "-" else part.query for part in chain]
        return Part("", self.made(And, *clauses))

    def grouped(self, parts: list[Part]) -> Query:
        """The query that parts with their signs make."""
        signs = {part.sign for part in parts}
        wishes = [part.query for part in parts if not part.sign]
        if signs == {""}:
            return self.made(Or, *wishes) if len(wishes) > 1 else wishes[0]
        clauses: list[Query] = []
        for part in parts:
            if part.sign == "-":
                clauses.append(self.made(Not, part.query))
            elif part.sign == "+":
                clauses.append(part.query)
            elif "+" in signs:
                clauses.append(self.made(Maybe, part.query))
            elif wishes:  # none of the parts must be there, so one of the wishes must
                clauses.append(self.made(Or, *wishes) if len(wishes) > 1 else wishes[0])
                wishes = []
        return self.made(And, *clauses) if len(clauses) > 1 else clauses[0]

    def made(self, kind: Callable[..., Query], *clauses: Query) -> Query:
        """A query made of others. One that is too large is cut leniently: its first clause stands for it."""
        try:
            return kind(*clauses)
        except QueryTooLarge:
            if self.strict:
                raise
            return clauses[0]

    # Clauses

    def clause(self, name: str | None, depth: int) -> Part | None:
        """A clause with its sign; None: nothing was there to be taken."""
        start = self.at
        sign = self.sign()
        if self.size >= MOST_CLAUSES:
            if self.strict:
                raise QueryTooLarge(f"query must have at most {MOST_CLAUSES} clauses, got more")
            self.at = len(self.text)
            return None
        try:
            query = self.boosted(self.primary(name, depth))
        except Failed:
            self.at = max(self.at, start + 1)
            return None
        if self.strict and not (
            self.at == len(self.text) or self.text[self.at].isspace() or self.peek() == ")"
        ):
            self.fail("a space or the end")
        return None if query is None else Part(sign, query)

    def sign(self) -> str:
        sign = ""
        while True:
            if self.keyword("NOT"):
                if self.strict and sign == "+":
                    self.fail("no NOT after +")
                sign = "" if sign == "-" else "-"
                self.spaces()
            elif self.peek() in ("+", "-") and self.at < len(self.text):
                mark = self.text[self.at]
                after = self.text[self.at + 1 : self.at + 2]
                if self.strict and (not after or after.isspace() or after in "+-)" or sign == "+"):
                    self.fail(f"a clause right after {mark}", self.at + 1)
                self.at += 1
                if after and not after.isspace():
                    if mark == "-":
                        sign = "" if sign == "-" else "-"
                    elif not sign:
                        sign = "+"
            else:
                return sign

    def primary(self, name: str | None, depth: int, *, fields: bool = True) -> Query | None:
        """A word, phrase, range or group, without what stands behind it.

        fields: whether the name of a field may stand before it.
        """
        at, text = self.at, self.text
        if at == len(text):
            self.fail("a clause")
        char = text[at]
        if char == "(":
            return self.parentheses(name, depth)
        if char == '"':
            return self.phrase(name)
        if char in "[{":
            return self.range(name)
        if char in "<>" and (name is not None and self.kind(name) != "text"):
            return self.comparison(name)
        if char == "*" and self.stands_alone(at):
            self.at += 1
            self.size += 1
            if text.startswith(":*", self.at) and self.stands_alone(self.at + 1):
                self.at += 2
            return Everything()
        if char in "]}^~)":
            self.fail("a word, a phrase or a group")
        return self.word(name, depth, fields=fields)

    def parentheses(self, name: str | None, depth: int) -> Query | None:
        start = self.at
        self.at += 1
        if depth >= (STRICT_LEVELS if self.strict else LENIENT_LEVELS):
            if self.strict:
                raise QueryTooLarge(
                    f"query must have at most {STRICT_LEVELS} parentheses in one another, got more"
                )
            self.ignored += 1
            return None
        found = self.group(name, depth + 1)
        if self.peek() == ")":
            self.at += 1
        elif self.strict:
            self.fail(f"a closing ) (for the one opened at {start})")
        if self.peek() == "~":
            found = self.at_least(found)
        if found is None and self.strict:
            self.size += 1
            return Or()
        return found

    def at_least(self, found: Query | None) -> Query | None:
        """A group behind which ~n stands."""
        start = self.at
        self.at += 1
        digits = self.token(DIGITS)
        if isinstance(found, Or) and found.minimum == 1 and digits and 1 <= int(digits) <= len(found.clauses):
            return Or(*found.clauses, minimum=int(digits))
        if self.strict:
            self.fail("after a group of clauses ~ and how many of them must match", start)
        return found

    # Words and phrases

    def word(self, name: str | None, depth: int, *, fields: bool) -> Query | None:
        start = self.at
        exact = self.peek() == "=" and self.at + 1 < len(self.text)
        if exact:
            self.at += 1
        text, colon = self.characters(fields=fields and not exact)
        if colon and (field_name := self.field_name(text, start)) is not None:
            return self.in_field(field_name, depth)
        if colon:  # no field: a word with a colon in it
            self.at = start
            text, _ = self.characters(fields=False)
        if not text:
            self.fail("a word after =" if exact else "a word", start)
        if exact and (name is None or self.kind(name) != "number"):
            self.size += 1
            return Term(text, name)
        if self.peek() == "*" and self.ends_word(self.at + 1):
            self.at += 1
            return self.expanding(Prefix(text, name), text, name, start)
        if self.peek() == "*":
            if self.strict:
                self.fail("the end of the word after *", self.at + 1)
            while self.peek() == "*":
                self.at += 1
            return self.matching(text, name, start)
        if self.peek() == "~":
            self.at += 1
            return self.expanding(Fuzzy(text, self.distance(), name), text, name, start)
        return self.matching(text, name, start)

    def matching(self, text: str, name: str | None, start: int) -> Query:
        self.size += 1
        if name is not None and self.kind(name) == "number":
            try:
                bound = number_of(text)
                return Range(name, bound, bound)
            except (ValueError, Failed):
                if self.strict:
                    self.fail(f"a number or a range for {name}", start)
        return Match(text, self.searched(name))

    def searched(self, name: str | None) -> str | None:
        """The field to look for words in: leniently none where a column was named."""
        return None if not self.strict and name is not None and self.kind(name) == "number" else name

    def expanding(self, query: Query, text: str, name: str | None, start: int) -> Query:
        self.size += 1
        self.expanded += 1
        if not self.strict and (self.expanded > LENIENT_EXPANDED or self.searched(name) != name):
            return Match(text, self.searched(name))
        self.check_text(name, start)
        return query

    def check_text(self, name: str | None, start: int) -> None:
        """Refuses strictly what only fields of text can be asked for."""
        if self.strict and name is not None and self.kind(name) == "number":
            self.fail(f"a number or a range for {name}", start)

    def distance(self) -> int:
        start = self.at
        digits = self.token(DIGITS)
        if digits is None:
            return 2
        if self.strict and int(digits) > 2:
            self.fail("0, 1 or 2 edits", start)
        if not self.strict and self.peek() == ".":  # a similarity, as older engines had it
            self.at += 1
            self.token(DIGITS)
            return 2
        return min(int(digits), 2)

    def phrase(self, name: str | None) -> Query:
        start = self.at
        self.at += 1
        characters: list[str] = []
        while self.at < len(self.text) and self.text[self.at] != '"':
            if self.text[self.at] == "\\" and self.at + 1 < len(self.text):
                self.at += 1
            characters.append(self.text[self.at])
            self.at += 1
        if self.at < len(self.text):
            self.at += 1
        elif self.strict:
            self.fail(f'a closing " (for the one opened at {start})')
        text = "".join(characters)
        self.check_text(name, start)
        slop = self.slop()
        self.size += 1
        if not self.strict:
            if name is not None and self.kind(name) == "number":
                return Match(text)
            self.phrases += 1
            if self.phrases > LENIENT_PHRASES:
                return Match(text, name)
            if self.schema is not None and not self.schema.positions:
                words = [Match(each, name) for each in text.split()[: MOST_CLAUSES - self.size + 1]]
                self.size += max(len(words) - 1, 0)
                return self.made(And, *words) if len(words) > 1 else Match(text, name)
        return Phrase(text, slop, name)

    def slop(self) -> int:
        if self.peek() != "~":
            return 0
        self.at += 1
        digits = self.token(DIGITS)
        if digits is None:
            if self.strict:
                self.fail("how many places away, a number")
            return 0
        if int(digits) > 1_000_000:
            if self.strict:
                self.fail("at most 1000000 places", self.at - len(digits))
            return 1_000_000
        return int(digits)

    def characters(self, *, fields: bool) -> tuple[str, bool]:
        """A word without its escapes; and whether it ended at a colon that may be that of a field."""
        text, escaped = self.text, False
        characters: list[str] = []
        while self.at < len(text):
            char = text[self.at]
            if char == "\\":
                if self.at + 1 == len(text):
                    if self.strict:
                        self.fail("a character after \\", self.at + 1)
                else:
                    self.at += 1
                    char = text[self.at]
                    escaped = True
            elif char.isspace() or char in ENDS_WORD or char == "*":
                break
            elif char == ":" and fields and characters and not escaped:
                return "".join(characters), True
            characters.append(char)
            self.at += 1
        return "".join(characters), False

    # Fields and columns

    def kind(self, name: str) -> FieldKind | None:
        """Of a field; None: nobody knows."""
        return None if self.schema is None else self.schema.kinds.get(name)

    def field_name(self, text: str, start: int) -> str | None:
        """The name of a field that stands before the colon here; None: it is none."""
        if not FIELD_NAME.fullmatch(text):
            return None
        if self.schema is not None and text not in self.schema.kinds:
            if self.strict:
                names = ", ".join(self.schema.kinds)
                self.fail(f"one of the fields {names} before :, or \\:", start)
            return None
        after = self.text[self.at + 1 : self.at + 2]
        if not after or after.isspace() or after in ")]}^~:":
            if self.strict:
                self.fail(f"a clause right after {text}:", self.at + 1)
            return None
        return text

    def in_field(self, name: str, depth: int) -> Query | None:
        """What stands behind a colon."""
        self.at += 1
        if self.peek() in "<>" or (self.peek() == "=" and self.kind(name) == "number"):
            found = self.comparison(name)
            if found is not None:
                return found
        if self.peek() in "+-" and self.kind(name) != "number":
            if self.strict:
                self.fail(f"a word, a phrase, a range or a group after {name}:")
            self.at += 1
        return self.primary(name, depth, fields=False)

    def comparison(self, name: str) -> Query | None:
        """`>=10` behind the name of a column; leniently None where it is something else."""
        start = self.at
        if self.peek() == "=":
            self.at += 1
            operator = "="
        else:
            found = COMPARISON.match(self.text, self.at)
            assert found
            self.at = found.end()
            operator = found[1]
        try:
            if self.kind(name) == "text":
                self.fail(f"no comparison for {name}, a field of text,", start)
            bound = self.number()
        except Failed:
            self.at = start + 1
            return None
        self.size += 1
        if operator == "=":
            return Range(name, bound, bound)
        if operator[0] == ">":
            return Range(name, bound, None, include_low=operator == ">=")
        return Range(name, None, bound, include_high=operator == "<=")

    def range(self, name: str | None) -> Query | None:
        start = self.at
        if name is None or self.kind(name) == "text":
            self.fail("the name of a column and : before a range" if name is None else f"words for {name}")
        include_low = self.text[self.at] == "["
        self.at += 1
        try:
            low = self.bound()
            self.spaces()
            if not self.keyword("TO"):
                self.fail("TO")
            self.spaces()
            high = self.bound()
            self.spaces()
            if self.peek() not in ("]", "}") or self.at == len(self.text):
                self.fail("] or }")
        except Failed:
            self.at = start
            raise
        include_high = self.text[self.at] == "]"
        self.at += 1
        self.size += 1
        return Range(name, low, high, include_low, include_high)

    def bound(self) -> int | float | None:
        self.spaces()
        if self.peek() == "*":
            self.at += 1
            return None
        return self.number()

    def number(self) -> int | float:
        start = self.at
        text = self.token(BOUND) or ""
        try:
            return number_of(text)
        except ValueError:
            self.fail("a number", start)

    # What stands behind a clause

    def boosted(self, query: Query | None) -> Query | None:
        while self.peek() == "^":
            start = self.at
            self.at += 1
            const = self.peek() == "="
            self.at += const
            digits = self.token(FACTOR)
            factor = float(digits) if digits else 1.0
            if not digits or not 0 <= factor <= 1e9:
                if self.strict:
                    self.fail("a number from 0 to 1e9 after ^", start + 1)
                factor = min(factor, 1e9)
            if query is None:
                continue
            if not self.strict and isinstance(query, Boost | ConstScore):
                continue  # one is enough
            query = self.made(
                partial(ConstScore, score=factor) if const else partial(Boost, factor=factor), query
            )
        return query

    # Characters

    def peek(self) -> str:
        return self.text[self.at : self.at + 1] or "\0"

    def spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def token(self, shape: Pattern[str]) -> str | None:
        found = shape.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[0]

    def keyword(self, name: str) -> str:
        """The name if it stands here as a word of its own, which is passed over; else nothing."""
        end = self.at + len(name)
        if not self.text.startswith(name, self.at) or not (
            end == len(self.text) or self.text[end].isspace() or self.text[end] in '()"'
        ):
            return ""
        self.at = end
        return name

    def ends_word(self, at: int) -> bool:
        return at >= len(self.text) or self.text[at].isspace() or self.text[at] in ")^"

    def stands_alone(self, at: int) -> bool:
        before = self.text[at - 1] if at else " "
        alone = before.isspace() or before in "(+-:"
        return alone and (self.ends_word(at + 1) or self.text.startswith(":*", at + 1))


def number_of(text: str) -> int | float:
    """A number as the syntax has it.

    Raises:
        ValueError: it is none.
    """
    if not NUMBER.fullmatch(text):
        raise ValueError(text)
    if text.lstrip("+-").isdigit():
        whole = int(text)
        if abs(whole) < 1 << 64:
            return whole
    return float(text)
