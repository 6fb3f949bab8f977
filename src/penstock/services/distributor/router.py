"""Routing: which group of analyzers a packet is for, and which key a sticky group holds it by."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Protocol

import msgspec
from msgspec import UNSET, UnsetType

from penstock.errors import InvalidValue
from penstock.services.distributor.config import DEFAULT_GROUP, GroupConfig, Match

__all__ = ["Routable", "Router", "labels_in", "labels_of"]

SEVERITIES = ("TRACE", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
SPELLINGS = {
    "VERBOSE": "TRACE", "FINEST": "TRACE", "FINER": "TRACE", "FINE": "DEBUG", "DBG": "DEBUG",
    "INFORMATION": "INFO", "INFORMATIONAL": "INFO", "WARN": "WARNING", "ERR": "ERROR", "SEVERE": "ERROR",
    "CRIT": "CRITICAL", "FATAL": "CRITICAL", "EMERG": "EMERGENCY", "PANIC": "EMERGENCY",
    "7": "DEBUG", "6": "INFO", "5": "NOTICE", "4": "WARNING", "3": "ERROR", "2": "CRITICAL", "1": "ALERT",
    "0": "EMERGENCY",
}  # fmt: skip
RANKS = {name: rank for rank, name in enumerate(SEVERITIES)}
RANKS |= {spelling: RANKS[name] for spelling, name in SPELLINGS.items()}

MOST_REMEMBERED = 10_000  # pairs of level and source, of at most 288 characters
LONGEST_KEY = 256  # characters; the key of a packet stays in memory as long as the packet


class Routable(Protocol):
    """What a rule may ask of a message; a `Message` has it, and so have its `Labels`."""

    @property
    def level(self) -> str:
        """As it was sent."""

    @property
    def source(self) -> str:
        """Empty where there is none."""

    @property
    def metadata(self) -> msgspec.Raw | UnsetType:
        """An object."""


class Labels(msgspec.Struct, gc=False):
    """Of a message that was checked before, what a rule may ask: read five times as fast as a `Message`."""

    level: str = "INFO"
    source: str = ""
    metadata: msgspec.Raw | UnsetType = UNSET


class Labelled(msgspec.Struct, gc=False):
    """A packet that was checked before, the same way."""

    messages: list[Labels]


labels_of = msgspec.json.Decoder(Labels).decode
"""What a rule may ask of the message that a record is."""
decode_labelled = msgspec.json.Decoder(Labelled).decode


def labels_in(body: bytes) -> list[Labels]:
    """What a rule may ask of the messages of a stored packet."""
    return decode_labelled(body).messages


class Router:
    """Tells the group of a packet: the first in order whose rule matches any of its messages.

    What a level and a source are good for is remembered, so that most messages cost one look into a dict.
    Metadata is decoded only where a rule asks for it and level and source leave it open: once a message,
    and of it only the members that rules name.

    Args:
        groups: in order. One that is called `default` and has an empty rule only says how the default group
            is balanced; its place does not matter.

    Raises:
        ValueError: a rule cannot be understood.

    Attributes:
        needs_messages: whether level, source or metadata of any message have to be looked at.
        trivial: whether every packet is the default group's and has no key, whatever is in it.
    """

    def __init__(self, groups: Sequence[GroupConfig]) -> None:
        named = [group for group in groups if group.id != DEFAULT_GROUP or group.match != Match()]
        self._groups = [group.id for group in named] + [DEFAULT_GROUP]
        members = MemberReader(name for group in named for name in group.match.metadata)
        self._rules = [Rule(group, members) for group in named]
        self._decode = members.decode
        self._remembered: dict[tuple[str, str], Outcome] = {}
        self._keys = {group.id: key_reader(group) for group in groups if group.balance == "sticky"}
        self._always = next((place for place, rule in enumerate(self._rules) if rule.is_empty), len(named))
        looks_at_rules = self._always > 0
        self.needs_messages = looks_at_rules or bool(self._keys)
        self.trivial = not self.needs_messages and self._groups[self._always] == DEFAULT_GROUP

    def group_of(self, messages: Sequence[Routable]) -> str:
        """The group of the packet that these messages are."""
        first = self._always
        for message in messages:
            if first == 0:
                break
            outcome = self._remembered.get((message.level, message.source))
            if outcome is None:
                outcome = self._outcome(message)
            place, in_question = outcome
            if in_question and in_question[0] < first:
                place = self._settled(message, place, in_question)
            if place < first:
                first = place
        return self._groups[first]

    def key_of(self, group: str, messages: Sequence[Routable]) -> str | None:
        """What a sticky group holds the packet by; None when it has no such key or the group none."""
        read = self._keys.get(group)
        return read(messages[0]) if read is not None and messages else None

    def _outcome(self, message: Routable) -> "Outcome":
        """What level and source of a message say, remembered."""
        level, source = message.level, message.source
        in_question = []
        place = self._always
        for index, rule in enumerate(self._rules[: self._always]):
            if not rule.allows(level, source):
                continue
            if rule.metadata is None:
                place = index
                break
            in_question.append(index)
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        outcome = self._remembered[level, source] = place, tuple(in_question)
        return outcome

    def _settled(self, message: Routable, place: int, in_question: tuple[int, ...]) -> int:
        """The first rule that matches a message, now that its metadata is looked into."""
        if message.metadata is UNSET:
            return place
        texts = self._decode(message.metadata)
        for index in in_question:
            matches = self._rules[index].metadata
            assert matches is not None
            if matches(texts):
                return index
        return place


Outcome = tuple[int, tuple[int, ...]]
"""The first rule that level and source fulfil, and the rules before it that metadata decides."""

Texts = Callable[[str], str | None]
"""Gives the text of a member of one message's metadata by its name; None where there is none."""


class Rule:
    """The rule of one group, compiled.

    Attributes:
        is_empty: whether everything matches it.
        metadata: whether the metadata of a message matches; None when the rule does not ask.
    """

    def __init__(self, group: GroupConfig, members: "MemberReader") -> None:
        match = group.match
        self.is_empty = match == Match()
        self._levels = frozenset(level.upper() for level in match.level)
        self._min_rank = min_rank(group)
        self._source = pattern(match.source) if match.source else None
        asked = [(name, pattern(patterns)) for name, patterns in match.metadata.items()]
        self.metadata = all_of(asked) if asked else None

    def allows(self, level: str, source: str) -> bool:
        """Whether level and source of a message hold."""
        if self._levels or self._min_rank is not None:
            level = level.upper()
            if self._levels and level not in self._levels:
                return False
            if self._min_rank is not None and rank_of(level) < self._min_rank:
                return False
        return self._source is None or self._source(source)


def min_rank(group: GroupConfig) -> int | None:
    """The rank of the lowest level that a group takes; None when it takes all.

    Raises:
        ValueError: there is no such level.
    """
    name = group.match.min_level
    if not name:
        return None
    rank = rank_of(name.upper())
    if rank < 0:
        raise InvalidValue(
            f"min_level of group {group.id} must be one of {', '.join(SEVERITIES)}, got {name[:100]!r}"
        )
    return rank


def rank_of(level: str) -> int:
    """The rank of a level in capitals, -1 for one that nobody knows.

    OTLP's finer steps, such as ERROR2, count as the level that they are steps of.
    """
    if level[:-1].isalpha() and level[-1] in "234":
        level = level[:-1]
    return RANKS.get(level, -1)


def pattern(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a text matches one of the patterns.

    A star gives way only until the piece behind it is found the first time, and never again: the time is at
    most the length of the text times that of the pattern.
    """
    wild = [text for text in patterns if "*" in text or "?" in text]
    plain = frozenset(patterns).difference(wild)
    if not wild:
        return plain.__contains__
    matches = re.compile("|".join(map(expression, wild)), re.DOTALL).fullmatch
    return lambda text: text in plain or matches(text) is not None


def expression(text: str) -> str:
    """A pattern as a regular expression that never goes back over what a star was given."""
    pieces = ["".join("." if sign == "?" else re.escape(sign) for sign in piece) for piece in text.split("*")]
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + f".*{last}"


def all_of(asked: Sequence[tuple[str, Callable[[str], bool]]]) -> Callable[[Texts], bool]:
    """Whether every member that is asked for is there and matches."""

    def matches(texts: Texts) -> bool:
        for name, fits in asked:  # all() over a generator takes twice the time
            text = texts(name)
            if text is None or not fits(text):
                return False
        return True

    return matches


class MemberReader:
    """Reads members of metadata by their names, and nothing else of it.

    `a.b` is the member `a.b` or, where there is none, member `b` of member `a`, by the same rule. A text is
    itself; numbers, true, false and null are as they are written; objects and arrays are no text.

    Args:
        names: of all members that will ever be asked for.

    Raises:
        ValueError: a name that JSON cannot write without an escape.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._level = Level(names)

    def decode(self, metadata: msgspec.Raw) -> Texts:
        """The members of one message's metadata; objects in it are decoded when they are asked for."""
        level = self._level
        members = level.decode(metadata)

        def text(name: str) -> str | None:
            return level.text(members, name)

        return text


class Level:
    """The members that are wanted of one object, and of the objects in it."""

    def __init__(self, names: Iterable[str]) -> None:
        wanted = sorted(set(names))
        inner: dict[str, list[str]] = {}
        for name in wanted:
            first, dot, rest = name.partition(".")
            if dot:
                inner.setdefault(first, []).append(rest)
        self._fields = dict(zip(sorted({*wanted, *inner}), (f"member_{n}" for n in count()), strict=False))
        self._inner = {first: Level(rests) for first, rests in inner.items()}
        self._decoder = msgspec.json.Decoder(members_type(self._fields))

    def decode(self, raw: msgspec.Raw) -> msgspec.Struct | None:
        """Its members; None when it is no object."""
        try:
            return self._decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            return None

    def text(self, members: msgspec.Struct | None, name: str) -> str | None:
        """The text of a member, or of a member of a member."""
        if members is None:
            return None
        value: msgspec.Raw | UnsetType = getattr(members, self._fields[name])
        if value is not UNSET:
            return text_of(value)
        first, dot, rest = name.partition(".")
        outer: msgspec.Raw | UnsetType = getattr(members, self._fields[first]) if dot else UNSET
        if outer is UNSET:
            return None
        level = self._inner[first]
        return level.text(level.decode(outer), rest)


def members_type(fields: dict[str, str]) -> type[msgspec.Struct]:
    """A type whose decoder passes over all members but these: metadata may have any number of them.

    Raises:
        ValueError: a name that JSON cannot write without an escape.
    """
    for name in fields:
        if msgspec.json.encode(name) != f'"{name}"'.encode():
            raise InvalidValue(
                f"names of metadata must be without quotes and control characters, got {name!r}"
            )
    return msgspec.defstruct(
        "Members",
        [(field, msgspec.Raw | UnsetType, UNSET) for field in fields.values()],
        rename={field: name for name, field in fields.items()},
    )


def text_of(raw: msgspec.Raw) -> str | None:
    """The text that a value is; None for an object or an array."""
    written = bytes(raw)
    if written[:1] == b'"':
        return decode_text(written)
    return None if written[:1] in (b"{", b"[") else written.decode()


decode_text = msgspec.json.Decoder(str).decode


def key_reader(group: GroupConfig) -> Callable[[Routable], str | None]:
    """How the key of a sticky group is read from a message.

    Raises:
        ValueError: there is no such key.
    """
    key = group.sticky_key
    if key == "source":
        return lambda message: message.source[:LONGEST_KEY] or None
    if key == "level":
        return lambda message: message.level.upper()
    name = key.removeprefix("metadata.")
    if name == key or not name:
        raise InvalidValue(
            f"sticky_key of group {group.id} must be source, level or metadata.NAME, got {key[:100]!r}"
        )
    members = MemberReader([name])

    def read(message: Routable) -> str | None:
        if message.metadata is UNSET:
            return None
        text = members.decode(message.metadata)(name)
        return text[:LONGEST_KEY] if text else None

    return read
