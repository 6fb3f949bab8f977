"""JSON text to dicts, lists and scalars, within limits, and back."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any, Final, NoReturn

import msgspec

from penstock.protobuf import faults
from penstock.protobuf.json.scalars import precise
from penstock.protobuf.json.state import Refused, shown

__all__ = ["TOO_NESTED", "array_of", "object_of", "parsed", "written"]

MAX_SIZE: Final = 64 << 20
"""Bytes of a text (characters, of a `str`)."""
MAX_SEPARATORS: Final = 1 << 22
"""Commas and opening brackets, so about as many values."""
TOO_NESTED: Final = "must be nested less deep: the stack has no room for so many levels"

# The next one outside of text, or all that is left; possessive throughout, so that it never turns back.
SEPARATOR = re.compile(r"""(?:[^",\[{]++|"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z))*+([,\[{])|.+""", re.DOTALL)
NEGATIVE_ZERO = re.compile(r"-0(?![0-9.eE])")


class RepeatedName(dict[str, Any]):
    """An object of JSON in which a name stands twice; whoever needs it refuses it, and knows its path."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def parsed(text: str | bytes, *, exact: bool = False) -> Any:
    """The value that a JSON text stands for.

    Args:
        text: RFC 8259, without a byte order mark; bytes are UTF-8.
        exact: numbers with a fraction or an exponent become Decimal instead of the nearest float.

    Raises:
        Refused: it is no JSON, or more than the limits allow.
    """
    size = len(text) if isinstance(text, str) else memoryview(text).nbytes
    if size > MAX_SIZE:
        raise Refused(faults.too_large(MAX_SIZE, size))
    if not isinstance(text, str):
        try:
            text = bytes(text).decode()
        except UnicodeDecodeError:
            raise Refused(faults.NOT_UTF8) from None
    if separators(text) > MAX_SEPARATORS and has_too_many_separators(text):
        raise Refused(f"must have at most {MAX_SEPARATORS} commas and opening brackets")
    try:
        return decoder_of(text, exact=exact).decode(text)
    except json.JSONDecodeError as error:
        raise Refused(f"is no JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise Refused(TOO_NESTED) from None
    except ValueError:  # CPython's own bound, against the square time that many digits take
        raise Refused("has an integer of too many digits") from None


def written(value: Any, indent: int | None) -> str:
    """The JSON text of a value, on one line without spaces unless `indent` is given, in spaces a level."""
    text = msgspec.json.encode(value)
    return (text if indent is None else msgspec.json.format(text, indent=indent)).decode()


def object_of(value: Any) -> dict[str, Any]:
    """A value that must be an object, its names all different."""
    if isinstance(value, RepeatedName):
        raise Refused(f"has the name {shown(value.name)} twice")
    if not isinstance(value, dict):
        raise Refused(f"must be an object, got {shown(value)}")
    return value


def array_of(value: Any) -> list[Any] | tuple[Any, ...]:
    """A value that must be an array."""
    if not isinstance(value, (list, tuple)):
        raise Refused(f"must be an array, got {shown(value)}")
    return value


def separators(text: str) -> int:
    """How many commas and opening brackets a text has, those in its strings included."""
    return text.count(",") + text.count("{") + text.count("[")


def has_too_many_separators(text: str) -> bool:
    """The same for those outside of strings alone, one by one."""
    found = islice(SEPARATOR.finditer(text), MAX_SEPARATORS + 1)
    return sum(each.lastindex or 0 for each in found) > MAX_SEPARATORS


def decoder_of(text: str, *, exact: bool) -> json.JSONDecoder:
    if exact:
        return EXACT
    return SIGNED if "-0" in text and NEGATIVE_ZERO.search(text) else PLAIN


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else RepeatedName(twice(pairs))


def twice(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    return next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]


def constant(text: str) -> NoReturn:
    raise Refused(f"is no JSON: {text} stands in quotes")


def signed(text: str) -> int | float:
    """An integer; -0 is the one that only a float can hold."""
    return -0.0 if text == "-0" else int(text)


PLAIN = json.JSONDecoder(object_pairs_hook=unique, parse_constant=constant)
SIGNED = json.JSONDecoder(object_pairs_hook=unique, parse_constant=constant, parse_int=signed)
EXACT = json.JSONDecoder(
    object_pairs_hook=unique, parse_constant=constant, parse_int=signed, parse_float=precise
)
