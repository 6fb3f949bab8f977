"""Groups messages into packets and packets into batches, within the limits of the distributor."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import uuid4

import msgspec

from penstock.errors import InvalidValue
from penstock.services.replay.parsers import Message

__all__ = ["MAX_MESSAGES", "MAX_PACKETS", "Packer", "Packet"]

MAX_MESSAGES = 1_000
"""Messages that the distributor takes in one packet."""

MAX_PACKETS = 1_000
"""Packets that the distributor takes in one request."""

PACKET_BYTES = (1 << 20) - (128 << 10)
"""Of the 1 MiB that the distributor takes as one packet; it adds ids and times to the messages."""

BATCH_BYTES = 4 << 20
"""Of the 16 MiB that the distributor takes as one request; some requests are in memory at once."""

encode = msgspec.json.Encoder().encode


class Packet(NamedTuple):
    """A packet ready to be sent, any number of times."""

    id: str
    body: bytes
    """JSON, with the id inside."""
    messages: int
    origin: str
    """Where its first line stands, as `file:line`."""


class Packer:
    """Turns messages into packets with ids that no other packet has, and packets into batches.

    Args:
        messages_per_packet: at most, 1 to 1,000; fewer where they would be too large together.
        packets_per_batch: at most, 1 to 1,000; a batch is sent as one request.
        run: begins every id, unique to this run; None for a new UUID.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self, messages_per_packet: int = 10, packets_per_batch: int = 100, run: str | None = None
    ) -> None:
        if not 1 <= messages_per_packet <= MAX_MESSAGES:
            raise InvalidValue(
                f"messages_per_packet must be >= 1 and <= {MAX_MESSAGES}, got {messages_per_packet}"
            )
        if not 1 <= packets_per_batch <= MAX_PACKETS:
            raise InvalidValue(
                f"packets_per_batch must be >= 1 and <= {MAX_PACKETS}, got {packets_per_batch}"
            )
        self._messages_per_packet = messages_per_packet
        self._packets_per_batch = packets_per_batch
        self._run = uuid4().hex if run is None else run
        self._packets = 0

    def batches(self, messages: Iterable[tuple[str, Message]]) -> Iterator[list[Packet]]:
        """The messages as batches, in order; reads no more of them than the next batch needs.

        Args:
            messages: (origin, message) pairs; a message is at most 512 KiB as JSON.
        """
        batch: list[Packet] = []
        size = 0
        for packet in self._packed(messages):
            if batch and size + len(packet.body) > BATCH_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(packet)
            size += len(packet.body)
            if len(batch) == self._packets_per_batch:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _packed(self, messages: Iterable[tuple[str, Message]]) -> Iterator[Packet]:
        encoded: list[bytes] = []
        size = 0
        first = ""
        for origin, message in messages:
            data = encode(message)
            if encoded and size + len(data) > PACKET_BYTES:
                yield self._packet(encoded, first)
                encoded, size = [], 0
            if not encoded:
                first = origin
            encoded.append(data)
            size += len(data) + 1
            if len(encoded) == self._messages_per_packet:
                yield self._packet(encoded, first)
                encoded, size = [], 0
        if encoded:
            yield self._packet(encoded, first)

    def _packet(self, encoded: list[bytes], origin: str) -> Packet:
        self._packets += 1
        name = f"{self._run}-{self._packets}"
        body = b'{"id":%b,"messages":[%b]}' % (encode(name), b",".join(encoded))
        return Packet(name, body, len(encoded), origin)
