"""How a packet is written as a message: a line of what is known about it, then what is delivered."""

from typing import Annotated

import msgspec
from msgspec import Meta

from penstock.errors import PenstockError
from penstock.services.distributor.change import DeadLetter, Retry, Stored
from penstock.services.distributor.packets import UNREADABLE, in_words

__all__ = ["Envelope", "NoEnvelope", "letter_of", "opened", "packet_in", "packet_of", "retry_of"]


class NoEnvelope(PenstockError, ValueError):
    """A message that no distributor has written."""


LONGEST_ERROR = 1000
"""Characters of an error that are kept."""
Number = Annotated[int, Meta(ge=0, le=2**53)]
"""What everything that gets it can count with."""


class Envelope(msgspec.Struct, array_like=True, gc=False):
    """What is known about a packet beside its subject; fields that a later version adds come last."""

    id: str
    messages: Number
    id_is_clients: bool
    group: str
    failures: Number = 0
    """Attempts that failed."""
    at_ms: Number = 0
    """When it is to be tried again, or when it was given up: unix time."""
    analyzer: str | None = None
    """Who failed it last."""
    error: str = ""


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Envelope).decode


def packet_of(packet: Stored) -> bytes:
    """A packet that has never failed."""
    return written(Envelope(packet.id, packet.messages, packet.id_is_clients, packet.group), packet)


def retry_of(retry: Retry) -> bytes:
    """A packet that is to be tried again."""
    packet = retry.packet
    envelope = Envelope(
        packet.id,
        packet.messages,
        packet.id_is_clients,
        packet.group,
        packet.failures + 1,
        retry.due_ms,
        retry.analyzer,
        retry.error[:LONGEST_ERROR],
    )
    return written(envelope, packet)


def letter_of(letter: DeadLetter) -> bytes:
    """A packet that is given up."""
    packet = letter.packet
    envelope = Envelope(
        packet.id,
        packet.messages,
        packet.id_is_clients,
        packet.group,
        packet.failures + 1,
        max(letter.failed_at_ms, 0),
        packet.analyzer,
        letter.error[:LONGEST_ERROR],
    )
    return written(envelope, packet)


def written(envelope: Envelope, packet: Stored) -> bytes:
    return encode(envelope) + b"\n" + (packet.body or b"")


def opened(data: bytes) -> tuple[Envelope, bytes]:
    """What was written, and the packet's body.

    Raises:
        NoEnvelope: nobody of us wrote it.
    """
    line, newline, body = data.partition(b"\n")
    try:
        envelope = decode(line)
    except UNREADABLE as error:
        raise NoEnvelope(f"it is no packet of a distributor: {in_words(error)}") from None
    if not newline:
        raise NoEnvelope("it is no packet of a distributor: it has no second line")
    return envelope, body


def packet_in(data: bytes, seq: int) -> Stored:
    """The packet of a message, under a number of this node.

    Raises:
        NoEnvelope: nobody of us wrote it.
    """
    envelope, body = opened(data)
    return Stored(
        seq,
        envelope.id,
        envelope.messages,
        len(body),
        body,
        id_is_clients=envelope.id_is_clients,
        group=envelope.group,
        analyzer=envelope.analyzer,
        failures=envelope.failures,
        due_ms=envelope.at_ms,
    )
