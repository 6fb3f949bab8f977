"""Protobuf requests, read a piece at a time: as objects, a whole one could take many times its size."""

from collections.abc import Iterator

from penstock.protobuf import DecodeError, DecodeOptions, WireReader
from penstock.services.distributor.inputs.batch import Batch, Refused

__all__ = ["PIECE", "Pieces"]

PIECE = DecodeOptions(max_elements=1 << 16, max_memory=32 << 20, unknown="drop")
"""What one piece, such as a log record, may ask for."""

PIECES_PER_RECORD = 5
"""What a record may stand in alone: a resource, a scope, ..."""


class Pieces:
    """Takes the messages of one request apart; counts what they consist of, for an empty piece has two bytes.

    Args:
        batch: that the records of the request go to.
    """

    def __init__(self, batch: Batch) -> None:
        self._most = self._left = PIECES_PER_RECORD * batch.max_records

    def count_one(self) -> None:
        """Counts a piece.

        Raises:
            Refused: there are too many.
        """
        self._left -= 1
        if self._left < 0:
            raise Refused(413, f"a request must have at most {self._most} pieces; send fewer records")

    def of(self, data: bytes, what: str) -> Iterator[tuple[int, bytes]]:
        """Number and content of each length-delimited field of a message.

        Args:
            data: the message.
            what: it is called.

        Raises:
            Refused: it is no message, or there are too many pieces.
        """
        try:
            for number, _, value in WireReader(data):
                if isinstance(value, bytes):
                    self.count_one()
                    yield number, value
        except DecodeError as error:
            raise Refused(400, f"the body must be protobuf: {what}: {error}") from None
