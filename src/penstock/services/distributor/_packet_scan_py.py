"""Request bodies taken apart into packets, by msgspec. The compiled twin does it in csrc/packet_scan.c."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import Config
from penstock.services.distributor.packets import (
    UNREADABLE,
    Packet,
    Refusal,
    RefusalCode,
    UnreadableRequest,
    in_words,
    own_ids,
    what_is_wrong_with_metadata,
)

__all__ = ["PacketReader", "Reading"]


class Reading(NamedTuple):
    """What a request body holds: every packet of it is in exactly one of the lists."""

    packets: list[Stored]
    """Those that may be stored, in the order of the request; without numbers yet."""
    indexes: Sequence[int]
    """The places of those in the request."""
    refused: list[Refusal]


class PacketReader:
    """Turns request bodies into packets that may be stored and refusals that say why not.

    A packet becomes one line of compact JSON: what was sent, with the members of each object in the order of
    its fields, `level` and `source` where they were missing, an id, and no `retry_count`.

    Args:
        config: the limits.
    """

    def __init__(self, config: Config, /) -> None:
        self._config = config
        self._all = msgspec.json.Decoder(list[Packet])
        self._each = msgspec.json.Decoder(array_of_at_most(config.max_packets))
        self._one = msgspec.json.Decoder(Packet)
        self._encode = msgspec.json.Encoder().encode
        self._own_ids = own_ids()

    def read(self, body: bytes, /) -> Reading:
        """Reads all packets of a request.

        Raises:
            UnreadableRequest: malformed JSON, no array, an empty one, or too many packets.
        """
        packets: list[Stored] = []
        indexes: list[int] = []
        refused: list[Refusal] = []
        ids: set[str] = set()
        for index, packet in enumerate(self._decoded(body)):
            checked = packet if isinstance(packet, Refusal) else self._checked(index, packet)
            if isinstance(checked, Refusal):
                refused.append(checked)
            elif checked.id in ids:
                refused.append(used_twice(index, checked.id))
            else:
                ids.add(checked.id)
                packets.append(checked)
                indexes.append(index)
        return Reading(packets, indexes, refused)

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
            return invalid(index, error)

    def _read_one(self, index: int, raw: bytes) -> Stored | Refusal:
        """The outcome of one packet of a request that is well-formed otherwise.

        Raises:
            DecodeError: the request is malformed; so it is with RecursionError.
        """
        try:
            packet = self._one.decode(raw)
        except msgspec.ValidationError as error:
            return invalid(index, error)
        return self._checked(index, packet)

    def _check_length(self, length: int, or_more: str = "") -> None:
        if not 1 <= length <= self._config.max_packets:
            most = self._config.max_packets
            raise UnreadableRequest(f"a request must carry 1 to {most} packets, got {length}{or_more}")

    def _checked(self, index: int, packet: Packet) -> Stored | Refusal:
        id_of_client = packet.id
        if wrong := self._what_is_wrong(packet):
            return Refusal(index, id_of_client, *wrong)
        packet.id = id_of_client or next(self._own_ids)
        packet.retry_count = UNSET
        body = self._encode(packet)
        if any(message.metadata is not UNSET for message in packet.messages):
            body = msgspec.json.format(
                body, indent=-1
            )  # white space in metadata, of which lines are the worst
        most = self._config.max_packet_bytes
        if len(body) > most:
            error = f"a packet must be at most {most} bytes as compact JSON, got {len(body)}"
            return Refusal(index, id_of_client, "too_large", error)
        return Stored(0, packet.id, len(packet.messages), len(body), body, id_of_client is not None)

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
            if message.metadata is not UNSET and (wrong := what_is_wrong_with_metadata(message.metadata)):
                return "invalid", f"metadata of message {position} {wrong}"
        return None


def without_white_space(body: bytes) -> bytes:
    try:
        return msgspec.json.format(body, indent=-1)
    except RecursionError as error:  # it could be read with a little less on the stack
        raise UnreadableRequest(f"the body must be JSON: {in_words(error)}") from None


def invalid(index: int, error: Exception) -> Refusal:
    """The refusal of a packet whose types are wrong."""
    advice = "; what is not among the fields goes into metadata" if "unknown field" in str(error) else ""
    return Refusal(index, None, "invalid", f"{in_words(error)}{advice}")


def used_twice(index: int, id_: str) -> Refusal:
    """The refusal of a packet whose id another one of the same request has."""
    return Refusal(
        index, id_, "duplicate_in_request", f"id {id_} is used by an earlier packet of this request"
    )


def array_of_at_most(length: int) -> type[msgspec.Struct]:
    """A type that takes an array of anything and reads `length` elements and one more.

    A list would hold every element of an array of millions before its length could be looked at.
    """
    fields = [(f"element_{index}", msgspec.Raw | UnsetType, UNSET) for index in range(length + 1)]
    return msgspec.defstruct("Elements", fields, array_like=True)
