"""Where in a `.proto` text each part of its descriptor stands, for whoever finds a fault later."""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.protobuf.compiler.tokens import Source
from penstock.protobuf.message import Message
from penstock.protobuf.schema.descriptor_proto import FileDescriptorProto

__all__ = ["Parsed", "Places"]


class Places:
    """Where in the text each part of a descriptor was declared.

    Things are told apart by identity, and kept, so that no other thing takes theirs.
    """

    def __init__(self) -> None:
        self._offsets: dict[tuple[int, str], int] = {}
        self._kept: list[Message] = []

    def mark(self, thing: Message, offset: int, part: str = "name") -> None:
        """Remembers where `thing`, or a part of it, begins."""
        self._offsets[id(thing), part] = offset
        if part == "name":
            self._kept.append(thing)

    def of(self, thing: Message, part: str = "name") -> int:
        """Where `thing`, or that part of it, begins; 0 if nobody said."""
        return self._offsets.get((id(thing), part), self._offsets.get((id(thing), "name"), 0))


@dataclass
class Parsed:
    """A parsed text, with what is needed to complain about it later."""

    file: FileDescriptorProto
    source: Source
    places: Places = field(default_factory=Places)
