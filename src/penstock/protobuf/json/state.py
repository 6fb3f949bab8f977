"""What one reading or one writing of ProtoJSON carries along, and how a fault in it finds its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from penstock.protobuf import faults

if TYPE_CHECKING:
    from penstock.protobuf.json.types import Types

__all__ = ["MAX_DEPTH", "Reading", "Writing", "shown", "step"]

MAX_DEPTH: Final = 100
"""Messages and entries of maps within each other, the outermost being level 1: as many as bytes may have."""
MAX_MEMORY: Final = 256 << 20
"""Bytes that the messages, lists and maps of one text may take, by the same estimate as for bytes; when a
message is written, the bytes of an Any, or of extensions, together with those of the ones around it."""
MOST_SHOWN: Final = 40
"""Characters of a wrong value that its error repeats."""


class Refused(Exception):
    """What is wrong with a value; every level that it passes on its way out adds a step to its path."""

    def __init__(self, reason: str, *steps: str, wrong_type: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wrong_type = reason, wrong_type
        self.steps = list(steps)  # from the value outwards

    def path(self, root: str) -> str:
        """The way from the outermost message to the value, such as `Order.items[2].quantity`."""
        return root + "".join(reversed(self.steps))


@contextmanager
def step(place: str) -> Iterator[None]:
    """A level whose faults have this step in their path; where time matters, `except` alone is faster."""
    try:
        yield
    except Refused as refused:
        refused.steps.append(place)
        raise


class Imprecise(Exception):
    """An integer was written in a way that the parser may have rounded."""


class Levels:
    """How deep we are in messages, and how many bytes of memory they may yet take."""

    __slots__ = ("depth", "memory")

    def __init__(self) -> None:
        self.depth = 0
        self.memory = MAX_MEMORY

    def take(self, size: int) -> None:
        """Called before so many bytes are made."""
        self.memory -= size
        if self.memory < 0:
            raise Refused(faults.too_much_memory(MAX_MEMORY))

    def enter(self) -> None:
        """Called at the start of a message or of a map; `depth` is lowered again at its end."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Refused(faults.too_deep(MAX_DEPTH))


class Reading(Levels):
    """One text, or dict, that is becoming a message."""

    __slots__ = ("ignore_unknown", "rounded", "types")

    def __init__(self, types: Types, *, ignore_unknown: bool, rounded: bool) -> None:
        super().__init__()
        self.types, self.ignore_unknown = types, ignore_unknown
        self.rounded = rounded  # whether a float may stand for a longer number of the text

    def begin(self, cost: int) -> None:
        """Called before a message is made: enters it, and takes its bytes from what is left."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Refused(faults.too_deep(MAX_DEPTH))
        self.memory -= cost  # as `take` does, at less than its price
        if self.memory < 0:
            raise Refused(faults.too_much_memory(MAX_MEMORY))


class Writing(Levels):
    """One message that is becoming a dict."""

    __slots__ = ("enums_as_integers", "including_defaults", "preserving_names", "types")

    def __init__(
        self, types: Types, *, preserving_names: bool, including_defaults: bool, enums_as_integers: bool
    ) -> None:
        super().__init__()
        self.types = types
        self.preserving_names = preserving_names
        self.including_defaults = including_defaults
        self.enums_as_integers = enums_as_integers


def shown(value: Any) -> str:
    """A wrong JSON value as its error repeats it: short, ASCII, no more than its type if it is large."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return ascii(value[:MOST_SHOWN]) + "..." * (len(value) > MOST_SHOWN)
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "an array"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (int, float, Decimal)):
        return str(value)[:MOST_SHOWN]
    return type(value).__name__
