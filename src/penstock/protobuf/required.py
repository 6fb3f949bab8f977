"""Which required field of proto2 a message lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.protobuf import faults
from penstock.protobuf.declaration import describe, slot
from penstock.protobuf.descriptors import FieldDescriptor, Presence, Shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock.protobuf.message import Message

__all__ = ["demanding", "missing"]


def demanding(cls: type[Message]) -> bool:
    """Whether messages of the class, or any that they may hold, have required fields."""
    seen, waiting = {cls}, [cls]
    while waiting:
        for field in describe(waiting.pop()).fields:
            if field.presence is Presence.REQUIRED:
                return True
            if field.message is not None and field.message not in seen:
                seen.add(field.message)
                waiting.append(field.message)
    return False


def missing(message: Message, label: str) -> str | None:
    """The way to the first required field that is not set, None if all are.

    Fields count in the order in which they are written, a sub-message's own at its place.
    """
    stack = [steps(message, label)]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
            continue
        path, inner = found
        if inner is None:
            return path
        stack.append(steps(inner, path))
    return None


def steps(message: Message, path: str) -> Iterator[tuple[str, Message | None]]:
    """Each sub-message with the way to it, and None with the way to a required field that is not set."""
    for field in describe(message).by_number.values():
        value = slot(type(message), field.name).__get__(message)
        if value is None:
            if field.presence is Presence.REQUIRED:
                yield f"{path}.{field.name}", None
        elif field.message is not None:
            for place, inner in places(field, value):
                yield f"{path}.{field.name}{place}", inner


def places(field: FieldDescriptor, value: Any) -> Iterator[tuple[str, Message]]:
    """The messages that a field holds, each with its place in it."""
    if field.shape is Shape.MAP:
        yield from ((f"[{faults.shown_key(key)}]", each) for key, each in value.items())
    elif field.shape is Shape.REPEATED:
        yield from ((f"[{at}]", each) for at, each in enumerate(value))
    else:
        yield "", value
