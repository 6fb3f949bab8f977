"""Packing messages into packets with ids of their own."""

from collections.abc import Iterable, Iterator
from itertools import count
from secrets import token_hex

from penstock.services.distributor.client.errand import Packed

__all__ = ["Packer"]

MAX_MESSAGES = 100
"""Messages in a packet."""
MAX_BYTES = 128 * 1024
"""Bytes after which a packet is closed."""


class Packer:
    """Makes packets of messages.

    Args:
        name: how ids begin; it must be unlike that of every other packer.
        first: the number that the first id ends with.
    """

    def __init__(self, name: str = "", first: int = 1) -> None:
        self._name = name or token_hex(8)
        self._numbers: Iterator[int] = count(first)

    def new_id(self) -> str:
        """The id of the next packet."""
        return f"{self._name}-{next(self._numbers):x}"

    def pack(self, messages: Iterable[bytes]) -> list[Packed]:
        """Packets that hold these messages, in their order."""
        packets, some, size = [], [], 0
        for message in messages:
            some.append(message)
            size += len(message)
            if len(some) == MAX_MESSAGES or size >= MAX_BYTES:
                packets.append(self._closed(some))
                some, size = [], 0
        if some:
            packets.append(self._closed(some))
        return packets

    def _closed(self, messages: list[bytes]) -> Packed:
        id_ = self.new_id()
        body = b'{"id":"%s","messages":[%s]}' % (id_.encode(), b",".join(messages))
        return Packed(id_, len(messages), body)
