"""Packets as clients send them: the wire model, its limits, and an outcome for every packet."""

import re
from dataclasses import dataclass
from itertools import count
from secrets import token_hex
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import astuple

from penstock.errors import PenstockError
from penstock.services.distributor.config import Config

__all__ = ["Message", "NewPacket", "Packet", "PacketReader", "Refusal", "UnreadableRequest"]

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


@dataclass(frozen=True, slots=True)
class NewPacket:
    """A packet that passed every check, ready to be stored."""

    index: int
    """Its place in the request."""
    id: str
    id_is_clients: bool
    messages: int
    body: bytes
    """Compact JSON, id included."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A packet that was refused, and why."""

    index: int
    id: str | None
    code: RefusalCode
    error: str


class UnreadableRequest(PenstockError, ValueError):
    """The body is no JSON array of packets at all; nothing of it was accepted."""


class PacketReader:
    """Turns request bodies into packets that may be stored and refusals that say why not.

    Args:
        config: the limits.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._all = msgspec.json.Decoder(list[Packet])
        self._each = msgspec.json.Decoder(array_of_at_most(config.max_packets))
        self._one = msgspec.json.Decoder(Packet)
        self._encode = msgspec.json.Encoder().encode
        self._run = token_hex(8)  # our ids: random for this reader, then counted; a uuid4 each costs 2 us
        self._counter = count(1)

    def read(self, body: bytes) -> tuple[list[NewPacket], list[Refusal]]:
        """Every packet of `body` is in exactly one of the two lists, each in the order of the request.

        Raises:
            UnreadableRequest: malformed JSON, no array, an empty one, or too many packets.
        """
        packets: list[NewPacket] = []
        refusals: list[Refusal] = []
        ids: set[str] = set()
        for index, packet in enumerate(self._decoded(body)):
            checked = packet if isinstance(packet, Refusal) else self._checked(index, packet)
            if isinstance(checked, Refusal):
                refusals.append(checked)
            elif checked.id in ids:
                error = f"id {checked.id} is used by an earlier packet of this request"
                refusals.append(Refusal(index, checked.id, "duplicate_in_request", error))
            else:
                ids.add(checked.id)
                packets.append(checked)
        return packets, refusals

    def _decoded(self, body: bytes) -> list[Packet] | list[Packet | Refusal]:
        try:
            body.decode()  # the whole of it, also what is passed on without being looked into
            packets = self._all.decode(body)
        except msgspec.ValidationError:
            return self._decoded_one_by_one(body)
        except UNREADABLE as error:
            raise UnreadableRequest(f"the body must be JSON: {in_words(error)}") from None
        self._check_length(len(packets))
        return packets

    def _decoded_one_by_one(self, body: bytes) -> list[Packet | Refusal]:
        """The way through a request in which some packet is invalid: the others must not suffer."""
        try:
            raws = [raw for raw in astuple(self._each.decode(body)) if raw is not UNSET]
        except msgspec.ValidationError as error:
            raise UnreadableRequest(f"the body must be an array of packets: {error}") from None
        except UNREADABLE as error:
            raise UnreadableRequest(f"the body must be JSON: {in_words(error)}") from None
        self._check_length(len(raws), " or more")
        return [self._decoded_one(index, raw) for index, raw in enumerate(raws)]

    def _decoded_one(self, index: int, raw: msgspec.Raw) -> Packet | Refusal:
        try:
            return self._one.decode(raw)
        except UNREADABLE as error:
            advice = (
                "; what is not among the fields goes into metadata" if "unknown field" in str(error) else ""
            )
            return Refusal(index, None, "invalid", f"{in_words(error)}{advice}")

    def _check_length(self, length: int, or_more: str = "") -> None:
        if not 1 <= length <= self._config.max_packets:
            most = self._config.max_packets
            raise UnreadableRequest(f"a request must carry 1 to {most} packets, got {length}{or_more}")

    def _checked(self, index: int, packet: Packet) -> NewPacket | Refusal:
        id_of_client = packet.id
        if wrong := self._what_is_wrong(packet):
            return Refusal(index, id_of_client, *wrong)
        packet.id = id_of_client or f"{self._run}-{next(self._counter):x}"
        packet.retry_count = UNSET
        body = self._encode(packet)
        if b"\n" in body:  # white space in metadata; a packet is one line of what analyzers get
            body = msgspec.json.format(body, indent=-1)
        most = self._config.max_packet_bytes
        if len(body) > most:
            error = f"a packet must be at most {most} bytes as compact JSON, got {len(body)}"
            return Refusal(index, id_of_client, "too_large", error)
        return NewPacket(index, packet.id, id_of_client is not None, len(packet.messages), body)

    def _what_is_wrong(self, packet: Packet) -> tuple[RefusalCode, str] | None:
        """Which rule the types do not hold, as code and words; None when all is well."""
        most, most_bytes = self._config.max_messages, self._config.max_message_bytes
        if len(packet.messages) > most:
            return "too_large", f"messages must be at most {most}, got {len(packet.messages)}"
        for position, message in enumerate(packet.messages):
            if 4 * len(message.message) > most_bytes:  # else it cannot be too long, whatever is in it
                length = len(message.message.encode())
                if length > most_bytes:
                    return "too_large", f"message {position} must be at most {most_bytes} bytes, got {length}"
            if message.metadata is not UNSET and not is_object(message.metadata):
                return "invalid", f"metadata of message {position} must be an object"
        return None


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def array_of_at_most(length: int) -> type[msgspec.Struct]:
    """A type that takes an array of anything and reads `length` elements and one more.

    A list would hold every element of an array of millions before its length could be looked at.
    """
    fields = [(f"element_{index}", msgspec.Raw | UnsetType, UNSET) for index in range(length + 1)]
    return msgspec.defstruct("Elements", fields, array_like=True)


def in_words(error: Exception) -> str:
    """What is wrong with the JSON, for the person who sent it."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return re.sub(
        r"`str` matching regex '.*'", "a time as in RFC 3339, such as 2025-01-25T20:30:45Z", str(error)
    )


def is_object(value: msgspec.Raw) -> bool:
    return memoryview(value)[0] == ord("{")
