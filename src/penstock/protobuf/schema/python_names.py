"""What the names of a schema are called in Python, where most keep their name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from keyword import kwlist
from typing import Final

__all__ = ["KEYWORDS", "python_names"]

KEYWORDS: Final = frozenset(kwlist)
"""What no name can be in Python."""


def python_names(names: Sequence[str], reserved: AbstractSet[str] = KEYWORDS) -> dict[str, str]:
    """Name -> Python name, for names that share a scope; no two become one.

    One that is reserved gets an underscore behind it, and a number where that is not enough; underscores in
    front, which mean something to Python, are taken away.

    Args:
        names: letters, digits and underscores.
        reserved: what none of them may become, `KEYWORDS` included.
    """
    found = {name: name for name in names if name[0] != "_" and name not in reserved}
    if len(found) < len(names):
        rename((name for name in names if name not in found), found, reserved)
    return found


def rename(names: Iterable[str], found: dict[str, str], reserved: AbstractSet[str]) -> None:
    """Adds the names that cannot stay as they are."""
    taken = set(found)
    tried: dict[str, int] = {}
    for name in names:
        stem = name.lstrip("_")
        if not stem or stem[0].isdigit():
            stem = f"x{name}"
        candidate = stem
        while candidate in taken or candidate in reserved:
            tried[stem] = tried.get(stem, 0) + 1
            candidate = f"{stem}_" if tried[stem] == 1 else f"{stem}_{tried[stem]}"
        found[name] = candidate
        taken.add(candidate)
