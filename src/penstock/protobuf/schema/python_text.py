"""Python source as `ruff format` leaves it: what does not fit on a line is broken up at its brackets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final

__all__ = ["annotated", "bracketed", "docstring", "from_import", "import_order", "literal"]

DIGITS: Final = re.compile(r"(\d+)")
ESCAPED: Final = re.compile(r"\\(.)")


def bracketed(before: str, items: Sequence[str], after: str, width: int) -> str:
    """`before`, the items between them with commas, `after`; on one line, on three, or with a line an item.

    Args:
        before: what comes first: its indentation, and an opening bracket at its end.
        items: what stands between the brackets.
        after: the closing bracket and what comes behind.
        width: characters of a line.
    """
    inside = ", ".join(items)
    if len(before) + len(inside) + len(after) <= width or not items:
        return f"{before}{inside}{after}"
    indent = " " * (len(before) - len(before.lstrip()))
    if before.endswith("(") and len(indent) + 4 + len(inside) <= width:  # arguments may share a line
        return f"{before}\n{indent}    {inside}\n{indent}{after}"
    lines = f",\n{indent}    ".join(items)
    return f"{before}\n{indent}    {lines},\n{indent}{after}"


def annotated(
    indent: str, name: str, annotation: str, call: str, arguments: Sequence[str], width: int
) -> str:
    """The line or lines of `name: annotation = call(arguments)`."""
    start, whole = f"{indent}{name}: {annotation} = ", f"{call}({', '.join(arguments)})"
    can_break = annotation.endswith(("]", " | None"))
    if len(start) + len(call) + 1 <= width or (len(start) + 1 > width and not can_break):
        return bracketed(f"{start}{call}(", arguments, ")", width)
    if len(start) + 1 <= width:
        return f"{start}(\n{indent}    {whole}\n{indent})"
    before, bracket, inside = annotation.partition("[")
    opening, inner, closing = (f"{before}[", inside[:-1], "]") if bracket else ("(", annotation, ")")
    if len(indent) + 4 + len(inner) > width:
        inner = inner.replace(" | ", f"\n{indent}    | ")
        if ", " in inner:  # the two types of a map
            inner = inner.replace(", ", f",\n{indent}    ") + ","
    last = bracketed(f"{indent}{closing} = {call}(", arguments, ")", width)
    return f"{indent}{name}: {opening}\n{indent}    {inner}\n{last}"


def from_import(module: str, names: Iterable[str], width: int) -> str:
    """An import of some names, in isort's order."""
    ordered = sorted(names, key=import_order)
    line = f"from {module} import {', '.join(ordered)}"
    if len(line) <= width:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in ordered) + ")"


def import_order(name: str) -> tuple[int, list[tuple[int, str] | tuple[int, int]]]:
    """The order of isort: constants, classes, others; numbers in them by their value."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, [(0, int(part)) if part.isdigit() else (1, part) for part in DIGITS.split(name) if part]


def docstring(text: str, indent: str) -> str:
    """A docstring: a text of one line on one line, another with its end on a line of its own."""
    printable = "".join(sign if sign.isprintable() or sign in "\n\t" else " " for sign in text)
    lines = [line.rstrip().expandtabs() for line in printable.replace("\\", "\\\\").splitlines()]
    body = "\n".join(indent + line if line else "" for line in lines).strip().replace('"""', r"\"\"\"")
    if body.startswith('"'):
        body = f" {body}"
    if "\n" not in body:
        end = " " if body.endswith('"') else ""
        return f'{indent}"""{body}{end}"""\n'
    return f'{indent}"""{body}\n{indent}"""\n'


def literal(value: object) -> str:
    """A scalar as Python reads it back; text in double quotes, unless those would take more escapes."""
    if isinstance(value, float):
        return repr(value).replace("e+", "e") if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, IntEnum):
        return repr(int(value))
    text = repr(value)
    if not isinstance(value, (str, bytes)):
        return text
    start = text.index(text[-1])
    body = ESCAPED.sub(lambda escape: escape[1] if escape[1] == "'" else escape[0], text[start + 1 : -1])
    if body.count('"') > body.count("'"):
        return text
    return text[:start] + '"' + body.replace('"', r"\"") + '"'
