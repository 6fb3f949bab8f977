"""Texts that are too long for one record, as several: an input that cannot refuse them loses none."""

from collections.abc import Iterator

from msgspec import UNSET
from msgspec.structs import replace

from penstock.services.distributor.config import Config
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import record

__all__ = ["RecordLengths"]

AROUND = 512  # what a packet has around a record that is alone in it, and some more
MUCH = 2  # what stands in every part may be half of it
WORST_ESCAPE = 6  # bytes of JSON that a byte of text can take


class RecordLengths:
    """How long records may be.

    Args:
        config: the limits.
    """

    def __init__(self, config: Config) -> None:
        self.most_text = config.max_record_bytes
        """Bytes of a text, in UTF-8."""
        self.most_record = max(config.max_packet_bytes - AROUND, 1)
        """Bytes of a record, all of it."""

    def records(self, message: Message) -> list[bytes]:
        """A message as one record, or as several that differ by their texts only and together have all of it.

        Every one of those has all the metadata. Of a message of which that is much, the text is its JSON.

        Raises:
            InvalidRecord: it breaks a rule of messages.
        """
        whole = record(message)
        if len(whole) <= self.most_record:
            if len(message.message) * 4 <= self.most_text or len(message.message.encode()) <= self.most_text:
                return [whole]
            most = self.most_text
        else:
            most = self.most_text
            room = self.most_record - (len(whole) - len(message.message.encode()))
            if room < most:  # for the escapes, of which nobody knows where they are
                around = len(record(replace(message, message="x")))
                if around > self.most_record // MUCH:
                    message = replace(message, message=whole.decode(), metadata=UNSET)
                    around = len(record(replace(message, message="x")))
                most = max(min((self.most_record - around) // WORST_ESCAPE, self.most_text), 4)
        return [record(replace(message, message=part)) for part in parts(message.message, most)]


def parts(text: str, most_bytes: int) -> Iterator[str]:
    """A text in parts of at most so many bytes of UTF-8, at least 4."""
    encoded = text.encode()
    start = 0
    while start < len(encoded):
        end = min(start + most_bytes, len(encoded))
        while end < len(encoded) and encoded[end] & 0xC0 == 0x80:
            end -= 1
        yield encoded[start:end].decode()
        start = end
