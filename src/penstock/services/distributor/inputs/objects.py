"""JSON objects that programs log, as messages: which member is the text, which the level, and so on.

Members keep the very bytes that they came in, so that no number is rounded and no text rewritten on the
way into metadata.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from penstock.errors import PenstockError
from penstock.services.distributor.inputs import times
from penstock.services.distributor.inputs.levels import LONGEST_LEVEL, LONGEST_SOURCE, level_of_number
from penstock.services.distributor.packets import UNREADABLE, Message, in_words

__all__ = [
    "OBJECT",
    "TEXT_MARK",
    "Members",
    "NotAnObject",
    "first_byte",
    "joined",
    "members_of",
    "message_and_rest",
    "message_of",
    "metadata_of",
    "number_in",
    "text_in",
]

Members = dict[str, Raw]

TEXT = ("message", "msg", "log", "text")
LEVEL = ("level", "severity", "log.level", "log_level", "levelname", "severity_text")
SOURCE = ("source", "logger", "logger_name", "log.logger", "service.name", "service")
TIME = ("timestamp", "time", "ts", "@timestamp")
"""Names, of which the first that holds something fitting is taken."""

DEFAULT_LEVEL = "INFO"

ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""A whole pair of surrogates, one that is alone, or any other escape."""

OBJECT, TEXT_MARK = b'{"'
NUMBER_MARKS = b"-0123456789"
"""The bytes with which JSON of these kinds begins."""

decode_members = msgspec.json.Decoder(Members).decode
decode_text = msgspec.json.Decoder(str).decode
encode = msgspec.json.Encoder().encode


class NotAnObject(PenstockError, ValueError):
    """What should be a JSON object is none."""


def members_of(text: bytes) -> Members:
    """The members of a JSON object.

    Raises:
        NotAnObject: it is none; the message says why.
    """
    try:
        return decode_members(text)
    except UNREADABLE as error:
        wrong = f"it must be a JSON object: {in_words(error)}"
    mended = ESCAPE.sub(whole_character, text)
    if mended == text:
        raise NotAnObject(wrong)
    try:
        return decode_members(mended)
    except UNREADABLE:
        raise NotAnObject(wrong) from None


def whole_character(escape: re.Match[bytes]) -> bytes:
    """An escape as it is, or U+FFFD for half of a pair: programs that cut texts cut emoji in two."""
    return b"\\ufffd" if escape[1] else escape[0]


def message_of(members: Members, whole: bytes) -> Message:
    """The message that an object logs; what has found no other place in it is its metadata.

    Args and errors are those of `message_and_rest`.
    """
    message, rest = message_and_rest(members, whole)
    message.metadata = metadata_of(rest)
    return message


def message_and_rest(members: Members, whole: bytes) -> tuple[Message, Members]:
    """The message that an object logs, without its metadata, and what that is: all that found no other place.

    An object without a text is the text itself, with the level, source and time that it states.

    Args:
        members: of the object; those that are found a place are taken out.
        whole: the object.

    Raises:
        NotAnObject: text in it is no Unicode.
    """
    try:
        text = taken_text(members, TEXT)
        level = taken_level(members)
        source = taken_text(members, SOURCE, LONGEST_SOURCE)
        timestamp = taken_time(members)
        nested = nested_log(members) if not (level and source) else {}
        message = Message(
            text or whole.decode(),
            level or nested.get("level") or DEFAULT_LEVEL,
            source or nested.get("logger", ""),
            timestamp or UNSET,
        )
        rest = with_own_metadata(members) if text else {}
    except UNREADABLE as error:
        raise NotAnObject(in_words(error)) from None
    return message, rest


def taken_text(members: Members, names: Iterable[str], most: int | None = None) -> str:
    """The first text under one of these names, no longer than `most`; empty when there is none."""
    for name in names:
        raw = members.get(name)
        if raw is not None and (text := text_in(raw)) and (most is None or len(text) <= most):
            del members[name]
            return text
    return ""


def taken_level(members: Members) -> str:
    """The level, by word or by number; empty when there is none."""
    for name in LEVEL:
        raw = members.get(name)
        if raw is None:
            continue
        level = text_in(raw)
        if not level and (number := number_in(raw)).isdigit() and len(number) < 4:
            level = level_of_number(int(number))
        if 0 < len(level) <= LONGEST_LEVEL:
            del members[name]
            return level
    return ""


def taken_time(members: Members) -> str | None:
    """The time, when it is one instant; else it stays where it is."""
    for name in TIME:
        raw = members.get(name)
        if raw is None:
            continue
        text = text_in(raw)
        if timestamp := times.of_text(text) if text else times.of_number(number_in(raw)):
            del members[name]
            return timestamp
    return None


def nested_log(members: Members) -> Mapping[str, str]:
    """Level and logger as the Elastic Common Schema nests them: `{"log": {"level": "error"}}`."""
    raw = members.get("log")
    if raw is None or first_byte(raw) != OBJECT:
        return {}
    inner = decode_members(raw)
    return {
        name: text
        for name, most in (("level", LONGEST_LEVEL), ("logger", LONGEST_SOURCE))
        if name in inner and (text := text_in(inner[name])) and len(text) <= most
    }


def with_own_metadata(members: Members) -> Members:
    """Members and those of their own `metadata`, unless two have one name."""
    own = members.get("metadata")
    if own is None or first_byte(own) != OBJECT:
        return members
    inner = decode_members(own)
    others = {name: value for name, value in members.items() if name != "metadata"}
    return members if others.keys() & inner.keys() else inner | others


def joined(members: Mapping[str, Any], more: Mapping[str, Any], under: str) -> dict[str, Any]:
    """Both together; those of `more` whose names are taken stand in an object of their own, `under`."""
    twice = members.keys() & more.keys()
    if not twice:
        return {**members, **more}
    whole = {**members, **{name: value for name, value in more.items() if name not in twice}}
    while under in whole:
        under += "_"
    return whole | {under: {name: more[name] for name in twice}}


def metadata_of(members: Mapping[str, Any]) -> Raw | UnsetType:
    """As a message holds it; nothing when there are none."""
    return Raw(encode(members)) if members else UNSET


def text_in(raw: Raw) -> str:
    """The string that it is; empty when it is something else."""
    return decode_text(raw) if first_byte(raw) == TEXT_MARK else ""


def number_in(raw: Raw) -> str:
    """The number that it is, as it is written; empty when it is something else."""
    view = memoryview(raw)
    return str(view, "ascii") if view[0] in NUMBER_MARKS and len(view) <= 64 else ""


def first_byte(raw: Raw) -> int:
    """With which its JSON begins, such as OBJECT."""
    return memoryview(raw)[0]
