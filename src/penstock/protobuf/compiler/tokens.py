"""The words of a `.proto` text, and where each stands.

Source: https://protobuf.dev/reference/protobuf/edition-2023-spec, "Lexical Elements".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from enum import Enum
from functools import cached_property
from typing import Final

from penstock.protobuf.errors import SchemaError

__all__ = ["MOST_CHARACTERS", "Source", "TokenKind", "Tokens", "integer_value", "shortened"]

MOST_CHARACTERS: Final = 16 << 20
"""Characters of one text."""
LONGEST_NUMBER: Final = 1000
"""Characters of one number; a double needs 1,080 digits at most, and nobody writes them."""
LONGEST_SHOWN: Final = 100
"""Characters of a token, or of a name, that an error repeats."""


class TokenKind(Enum):
    """What a token is; the values are the groups of TOKEN."""

    NAME = "name"
    INTEGER = "integer"
    FLOAT = "float"
    STRING = "string"
    SYMBOL = "symbol"
    END = "end"


# A block comment must not hold the start of another: all quantifiers are possessive, so a text is read once.
SPACE: Final = re.compile(r"(?:[ \t\r\n\v\f]++|//[^\n]*+|/\*(?:[^*/]|\*(?!/)|/(?!\*))*+\*/)*+")
TOKEN: Final = re.compile(
    r"""(?P<name>[A-Za-z_][A-Za-z0-9_]*+)
      | (?P<number>\.?[0-9](?:[eE][+-]|[A-Za-z0-9_.])*+)
      | (?P<string>"(?:[^"\\\n\0]|\\[^\n\0])*+" | '(?:[^'\\\n\0]|\\[^\n\0])*+')
      | (?P<symbol>[!-~])""",
    re.VERBOSE,
)
INTEGER: Final = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")
FLOAT: Final = re.compile(r"(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?")
ESCAPE: Final = re.compile(
    rb"""\\(?: (?P<plain>[abfnrtv\\?'"])
             | (?P<octal>[0-7]{1,3})
             | [xX](?P<hex>[0-9a-fA-F]{1,2})
             | u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})
             | u(?P<short>[0-9a-fA-F]{4})
             | U(?P<long>[0-9a-fA-F]{8})
             | .? )""",
    re.VERBOSE | re.DOTALL,
)
PLAIN_ESCAPES: Final = dict(zip(b"abfnrtv\\?'\"", b"\a\b\f\n\r\t\v\\?'\"", strict=True))


class Source:
    """A text with its name, which turns an offset into a place for people.

    Raises:
        SchemaError: the text has more than 16 Mi characters.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        if len(text) > MOST_CHARACTERS:
            raise SchemaError(f"{name}: must have at most {MOST_CHARACTERS} characters, got {len(text)}")

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character, both from 0."""
        line = bisect_right(self.line_starts, offset) - 1
        return line, offset - self.line_starts[line]

    def error(self, offset: int, reason: str) -> SchemaError:
        """What is wrong at a character, as `orders.proto:3:12: ...`, line and column from 1."""
        line, column = self.position(offset)
        return SchemaError(f"{self.name}:{line + 1}:{column + 1}: {reason}")

    @cached_property
    def line_starts(self) -> list[int]:
        """The first character of each line."""
        return [0, *(each.end() for each in re.finditer("\n", self.text))]


class Tokens:
    """A cursor over the tokens of a text; it stands on one, and reads the next only when told.

    Attributes:
        kind: what the token is.
        text: as it is written, quotes and escapes included; empty at the end.
        start: its first character.
        end: the character after it.
        before: the character after the token before it; comments stand from there to `start`.
    """

    __slots__ = ("before", "end", "kind", "source", "start", "text")

    def __init__(self, source: Source, offset: int = 0) -> None:
        self.source = source
        self.end = offset
        if offset == 0 and source.text.startswith("\ufeff"):
            self.end = 1
        self.advance()

    def advance(self) -> None:
        """Goes to the next token.

        Raises:
            SchemaError: there is something that is no token.
        """
        text = self.source.text
        self.before = self.end
        gap = SPACE.match(text, self.end)
        assert gap is not None  # it matches nothing, too
        self.start = start = gap.end()
        found = TOKEN.match(text, start)
        if found is None:
            self._end_of_text(start)
            return
        self.end, self.text = found.end(), found.group()
        group = found.lastgroup
        if group == "name":
            self.kind = TokenKind.NAME
        elif group == "symbol":
            self.kind = TokenKind.SYMBOL
            if self.text in "\"'/":
                self._no_symbol(start)
        elif group == "string":
            self.kind = TokenKind.STRING
        else:
            self.kind = self._number_kind()

    def skip(self, text: str) -> bool:
        """Goes past this symbol or word, if the cursor stands on it."""
        if self.text != text:
            return False
        self.advance()
        return True

    def take(self, text: str) -> None:
        """Goes past this symbol or word, which must be here."""
        if self.text != text:
            raise self.expected(f'"{text}"')
        self.advance()

    def take_name(self, what: str) -> str:
        """Goes past an identifier."""
        if self.kind is not TokenKind.NAME:
            raise self.expected(what)
        name = self.text
        self.advance()
        return name

    def take_dotted_name(self, what: str, *, rooted: bool = True) -> str:
        """Goes past `a.b.c`, or `.a.b.c` where a root is allowed."""
        parts = [""] if rooted and self.skip(".") else []
        parts.append(self.take_name(what))
        while self.skip("."):
            parts.append(self.take_name("a name"))
        return ".".join(parts)

    def take_integer(self, what: str, least: int, most: int) -> int:
        """Goes past an integer; a minus before it is allowed where negative ones are."""
        start = self.start
        negative = least < 0 and self.skip("-")
        if self.kind is not TokenKind.INTEGER:
            raise self.expected(what)
        value = -integer_value(self.text) if negative else integer_value(self.text)
        if not least <= value <= most:
            raise self.source.error(start, f"{what} must be {least} to {most}, got {shortened(str(value))}")
        self.advance()
        return value

    def take_bytes(self, what: str) -> bytes:
        """Goes past one string, or several that are one."""
        if self.kind is not TokenKind.STRING:
            raise self.expected(what)
        parts = []
        while self.kind is TokenKind.STRING:
            parts.append(string_value(self.source, self.start, self.text))
            self.advance()
        return b"".join(parts)

    def take_text(self, what: str) -> str:
        """Goes past a string that must be UTF-8."""
        start = self.start
        try:
            return self.take_bytes(what).decode()
        except UnicodeDecodeError:
            raise self.source.error(start, f"{what} must be UTF-8") from None

    def expected(self, what: str) -> SchemaError:
        """What should stand here instead of this token."""
        return self.error(f"expected {what}, found {self.found()}")

    def error(self, reason: str) -> SchemaError:
        """What is wrong with this token."""
        return self.source.error(self.start, reason)

    def found(self) -> str:
        """The token, as an error calls it."""
        if self.kind is TokenKind.END:
            return "the end of the text"
        return shortened(self.text) if self.kind is TokenKind.STRING else f'"{shortened(self.text)}"'

    def _number_kind(self) -> TokenKind:
        if len(self.text) > LONGEST_NUMBER:
            raise self.error(f"a number must have at most {LONGEST_NUMBER} characters, got {len(self.text)}")
        if INTEGER.fullmatch(self.text):
            return TokenKind.INTEGER
        if FLOAT.fullmatch(self.text):
            if self.text.isdigit():
                raise self.error(f'a number that begins with 0 is octal, found "{shortened(self.text)}"')
            return TokenKind.FLOAT
        raise self.error(f'expected a number, found "{shortened(self.text)}"')

    def _end_of_text(self, start: int) -> None:
        if start < len(self.source.text):
            character = self.source.text[start]
            raise self.source.error(
                start,
                f"expected a token, found the character {character!a}, which only strings may hold",
            )
        self.kind, self.text, self.end = TokenKind.END, "", start

    def _no_symbol(self, start: int) -> None:
        """Refuses a quote that begins no string and `/*` that begins no comment."""
        text = self.source.text
        if self.text != "/":
            raise self.source.error(start, "a string must end on the line that it begins on")
        if text.startswith("/*", start):
            if text.find("*/", start + 2) < 0:
                raise self.source.error(start, 'a comment must end with "*/", found the end of the text')
            raise self.source.error(start, 'a comment must not hold another "/*"')


def integer_value(literal: str) -> int:
    """What a decimal, octal or hexadecimal literal stands for."""
    if literal[:2] in ("0x", "0X"):
        return int(literal, 16)
    return int(literal, 8) if literal[0] == "0" else int(literal)


def shortened(text: str) -> str:
    """A text as errors show it."""
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def string_value(source: Source, start: int, literal: str) -> bytes:
    """The bytes that a string literal, with its quotes, stands for.

    Raises:
        SchemaError: an escape that there is none of, or that names no character.
    """
    try:
        raw = literal[1:-1].encode(
            "utf-8", "surrogateescape"
        )  # bytes of a file that are no UTF-8 come through
    except UnicodeEncodeError:
        raise source.error(start, "a string must be Unicode text without lone surrogates") from None
    if b"\\" not in raw:
        return raw

    def unescaped(found: re.Match[bytes]) -> bytes:
        kind, digits = found.lastgroup, found.group(found.lastgroup or 0)
        if kind == "plain":
            return bytes((PLAIN_ESCAPES[digits[0]],))
        if kind == "low":
            high, low = int(found["high"], 16), int(digits, 16)
            return chr(0x10000 + ((high & 0x3FF) << 10 | low & 0x3FF)).encode()
        if kind is None:
            raise source.error(start, f"there is no escape {digits.decode('utf-8', 'replace')!a}")
        code = int(digits, 8 if kind == "octal" else 16)
        if kind in ("octal", "hex"):
            if code > 0xFF:
                raise source.error(
                    start, f"an escape must be one byte, at most \\377, found {digits.decode()}"
                )
            return bytes((code,))
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise source.error(start, f"an escape must name a Unicode character, found {digits.decode()}")
        return chr(code).encode()

    return ESCAPE.sub(unescaped, raw)
