"""The records of one request on their way to the spool, and the refusals of those that cannot go there."""

from collections.abc import Callable, Iterable
from typing import Literal

from penstock.errors import PenstockError
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import InvalidRecord, RecordRefusal, record

__all__ = ["Batch", "Refused"]


MAX_JSON = 2 * 1024 * 1024


class Refused(PenstockError, ValueError):
    """A request of which nothing is stored; the message says why.

    Attributes:
        status: of HTTP.
        retry_after: seconds after which trying again makes sense; None when it does not.
        closing: whether the connection cannot be used any more.
    """

    def __init__(
        self, status: int, message: str, *, retry_after: float | None = None, closing: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.closing = closing


class Batch:
    """Takes the messages of a request one by one; each is a record or refused, and has its place.

    Args:
        max_records: most records, refused ones included.
        max_bytes: most bytes of records. What they share in the request, such as the attributes of a
            resource, every one of them holds: a small request could make very much of it.
        max_json: most bytes of the JSON that a record is made of. As an object it takes many times its size,
            and nobody else is answered while one is decoded.
        cover: told how many bytes of records there are, while they become more; raises when that is too much
            for all requests together.

    Attributes:
        max_records: as given.
        records: as `Intake.accept_records` takes them.
        refused: with the place of each for its index.
    """

    __slots__ = (
        "_bytes", "_count", "_cover", "_max_bytes", "_max_json", "_places", "max_records", "records",
        "refused",
    )  # fmt: skip

    def __init__(
        self,
        max_records: int,
        max_bytes: int,
        max_json: int = MAX_JSON,
        *,
        cover: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.records: list[bytes] = []
        self.refused: list[RecordRefusal] = []
        self._places: list[int] = []  # of each record
        self.max_records = max_records
        self._max_bytes = max_bytes
        self._max_json = max_json
        self._cover = cover
        self._bytes = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, message: Message, place: int | None = None) -> None:
        """Takes a message that may still break a rule of messages; then it is refused.

        Args:
            message: with anything for its text, level, source, timestamp, id and metadata.
            place: what the client finds it by; how many came before it when None.

        Raises:
            Refused: too many, or too large all together.
        """
        place = self._count if place is None else place
        try:
            one = record(message)
        except InvalidRecord as error:
            self.refuse(str(error), place)
            return
        self._make_room(len(one))
        self.records.append(one)
        self._places.append(place)

    def refuses_as_too_long(self, json: bytes | memoryview, place: int | None = None) -> bool:
        """Whether JSON is longer than that of any record; then it is refused, and nobody need decode it.

        Raises:
            Refused: too many.
        """
        if len(json) <= self._max_json:
            return False
        self.refuse(
            f"a record must be at most {self._max_json} bytes as JSON, got {len(json)}", place, "too_large"
        )
        return True

    def refuse(
        self, error: str, place: int | None = None, code: Literal["too_large", "invalid"] = "invalid"
    ) -> None:
        """Counts one in that is no message at all.

        Raises:
            Refused: too many.
        """
        place = self._count if place is None else place
        self._make_room(0)
        self.refused.append(RecordRefusal(place, code, error))

    def refusals_with(self, more: Iterable[RecordRefusal]) -> list[RecordRefusal]:
        """All refusals in the order of their places: ours, and those of records by their index."""
        later = [RecordRefusal(self._places[one.index], one.code, one.error) for one in more]
        return sorted(self.refused + later, key=lambda one: one.index)

    def _make_room(self, size: int) -> None:
        if self._count >= self.max_records:
            raise Refused(413, f"a request must carry at most {self.max_records} records; send fewer at once")
        self._count += 1
        self._bytes += size
        if self._bytes > self._max_bytes:
            raise Refused(
                413,
                f"the records of a request must be at most {self._max_bytes} bytes as JSON, with all that"
                " they share repeated in each; send fewer at once",
            )
        self._cover(self._bytes)
