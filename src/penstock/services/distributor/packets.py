"""Packets as clients send them: the wire model, and what is said of packets that break its rules."""

import re
from collections.abc import Iterator
from itertools import count
from secrets import token_hex
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from penstock.errors import PenstockError

__all__ = ["Message", "Packet", "Refusal", "RefusalCode", "UnreadableRequest"]

RefusalCode = Literal["invalid", "too_large", "duplicate_in_request", "queue_full"]

Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
RFC_3339 = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]"
    r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])\Z"
)


class Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One log message. Time and metadata are checked, not converted: analyzers get them as they were sent."""

    message: Annotated[str, Meta(min_length=1)]
    level: Annotated[str, Meta(min_length=1, max_length=32)] = "INFO"
    source: Annotated[str, Meta(max_length=256)] = ""
    timestamp: Annotated[str, Meta(pattern=RFC_3339)] | UnsetType | None = UNSET
    """RFC 3339, with its offset."""
    id: Identifier | UnsetType | None = UNSET
    metadata: msgspec.Raw | UnsetType = UNSET
    """An object."""


class Packet(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Messages that travel together: accepted, delivered or refused as one."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    id: Identifier | None = None
    """The client's own; sending it again within the window is harmless. Made here when absent."""
    retry_count: int | UnsetType | None = UNSET
    """Ours to count: what a client sends is ignored."""


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A packet that was refused, and why."""

    index: int
    """Its place in the request."""
    id: str | None
    code: RefusalCode
    error: str


class UnreadableRequest(PenstockError, ValueError):
    """The body is no JSON array of packets at all; nothing of it was accepted."""


def own_ids() -> Iterator[str]:
    """Ids of ours: random for whoever asks, then counted; a uuid4 each costs 2 us."""
    return map(f"{token_hex(8)}-{{:x}}".format, count(1))  # no generator: threads may share it


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


LONGEST_WORDS = 300
"""Characters of what is said of an error, which may quote a name of any length."""


def in_words(error: Exception) -> str:
    """What is wrong with the JSON, for the person who sent it."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    words = re.sub(
        r"`str` matching regex '.*'", "a time as in RFC 3339, such as 2025-01-25T20:30:45Z", str(error)
    )
    return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}..."


def what_is_wrong_with_metadata(metadata: msgspec.Raw) -> str:
    """What JSON must be to be metadata and is not; empty when all is well."""
    raw = bytes(metadata)
    if not raw.startswith(b"{"):
        return "must be an object"
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and is_deeper_than(DEEPEST, raw):
        return f"must be nested at most {DEEPEST} levels deep"
    return ""


DEEPEST = 64
"""Levels of metadata, its own included: no reader of JSON gives up there."""

STRINGS = re.compile(rb'(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)++')  # and what is between two of them
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


def is_deeper_than(depth: int, raw: bytes) -> bool:
    """Whether JSON has more levels."""
    import numpy as np  # here, for few ever need it

    steps = np.frombuffer(STRINGS.sub(b"", raw).translate(STEPS, NO_BRACKETS), dtype=np.int8)
    return bool(steps.cumsum(dtype=np.int32).max(initial=0) > depth)
