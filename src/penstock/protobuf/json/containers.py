"""Lists, arrays and maps of ProtoJSON, both ways; each fault in one knows its index or its key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.protobuf import faults
from penstock.protobuf.json.scalars import IGNORED
from penstock.protobuf.json.state import Reading, Refused, Writing, shown
from penstock.protobuf.json.text import array_of, object_of
from penstock.protobuf.kinds import Kind
from penstock.protobuf.limits import ENTRY_COST, PACKED_ELEMENT_COST

__all__ = ["array_reader", "list_reader", "list_writer", "map_reader", "map_writer"]

Read = Callable[[Any, Reading], Any]
Write = Callable[[Any, Writing], Any]


def list_reader(read_one: Read) -> Read:
    """JSON array -> list, without elements whose enum has no such name."""

    def read(value: Any, reading: Reading) -> list[Any]:
        value = array_of(value)
        reading.take(len(value) * PACKED_ELEMENT_COST)
        made: list[Any] = []
        ignored = 0
        try:
            for each in value:
                element = read_one(each, reading)
                if element is IGNORED:
                    ignored += 1
                else:
                    made.append(element)
        except Refused as refused:
            refused.steps.append(f"[{len(made) + ignored}]")
            raise
        return made

    return read


def array_reader(kind: Kind, read_list: Read) -> Read:
    """JSON array -> numpy array."""
    import numpy as np

    from penstock.protobuf.arrays import DTYPE

    dtype = DTYPE[kind]
    return lambda value, reading: np.array(read_list(value, reading), dtype)


def map_reader(read_key: Read, read_one: Read) -> Read:
    """JSON object -> dict, without entries whose enum has no such name."""

    def read(value: Any, reading: Reading) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        reading.enter()  # an entry of a map is a message as well
        value = object_of(value)
        reading.take(len(value) * ENTRY_COST)
        for name, each in value.items():
            try:
                key = read_key(name, reading)
                if key in made:
                    raise Refused("stands in the map twice")
                element = read_one(each, reading)
            except Refused as refused:
                refused.steps.append(f"[{shown(name)}]")
                raise
            if element is not IGNORED:
                made[key] = element
        reading.depth -= 1
        return made

    return read


def list_writer(write_one: Write) -> Write:
    """List or numpy array -> JSON array."""

    def write(values: Any, writing: Writing) -> list[Any]:
        values = values if isinstance(values, (list, tuple)) else elements(values)
        made: list[Any] = []
        try:
            for each in values:
                made.append(write_one(each, writing))  # noqa: PERF401 - its length tells where a fault is
        except Refused as refused:
            refused.steps.append(f"[{len(made)}]")
            raise
        return made

    return write


def elements(values: Any) -> list[Any]:
    """The elements of a numpy array, as Python's own numbers."""
    if getattr(values, "ndim", None) != 1:
        raise Refused(faults.wrong_type("a list", values), wrong_type=True)
    made: list[Any] = values.tolist()
    return made


def map_writer(write_key: Callable[[Any, Writing], str], write_one: Write) -> Write:
    """Dict -> JSON object."""

    def write(values: Any, writing: Writing) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise Refused(faults.wrong_type("a dict", values), wrong_type=True)
        made: dict[str, Any] = {}
        writing.enter()  # an entry of a map is a message as well
        for key, value in tuple(values.items()):  # another thread may add to it
            try:
                made[write_key(key, writing)] = write_one(value, writing)
            except Refused as refused:
                refused.steps.append(f"[{key!r}]")
                raise
        writing.depth -= 1
        return made

    return write
