"""Records, each a message that came by another input than the REST API, and their bundling into packets."""

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

import msgspec

from penstock.errors import PenstockError
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import DEFAULT_GROUP, Config
from penstock.services.distributor.packets import (
    UNREADABLE,
    Message,
    in_words,
    own_ids,
    what_is_wrong_with_metadata,
)
from penstock.services.distributor.router import Routable, labels_of

__all__ = [
    "SLICE",
    "Bundle",
    "InvalidRecord",
    "RecordBundler",
    "RecordRefusal",
    "RecordRouter",
    "RecordsReceipt",
    "Steps",
    "record",
]

T = TypeVar("T")

LONGEST_IDS = 100
"""Characters of the ids that are used as they are given; of longer ones, their hash is."""
SLICE = 5000
"""Records that are routed or bundled in one go: 2 ms, or 8 where rules ask for metadata."""


class InvalidRecord(PenstockError, ValueError):
    """A message that breaks the rules of messages: it is no record."""


class RecordRefusal(msgspec.Struct, frozen=True, gc=False):
    """A record that was refused, and why."""

    index: int
    """Its place among the records that were given."""
    code: Literal["too_large", "invalid"]
    error: str


class RecordsReceipt(NamedTuple):
    """What became of records: those that are not in `refused` are accepted."""

    accepted: int
    refused: list[RecordRefusal]
    """In the order of the records."""
    packets: list[str]
    """Ids of the packets that the accepted ones are in."""


class RecordRouter(Protocol):
    """Which group of analyzers messages are for; the `Router` is one."""

    @property
    def trivial(self) -> bool:
        """Whether all of them are for the default group, without a key."""

    def group_of(self, messages: Sequence[Routable]) -> str:
        """The group of a packet of these messages."""

    def key_of(self, group: str, messages: Sequence[Routable]) -> str | None:
        """What the group holds them together by."""


class Bundle(NamedTuple):
    """Records as packets."""

    packets: list[Stored]
    """Without numbers yet."""
    refused: list[RecordRefusal]


Steps = Generator[None, None, T]
"""Work in steps of a few milliseconds: it pauses between two of them, and returns what it made."""

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Message).decode


def record(message: Message) -> bytes:
    """The compact JSON of a message, one line: what `Intake.accept_records` takes.

    Raises:
        InvalidRecord: a field breaks the rules of the REST API, but for the length of its text.
    """
    try:
        encoded = encode(message)
        if message.metadata is not msgspec.UNSET:
            encoded.decode()  # metadata is passed on without being looked into
            if wrong := what_is_wrong_with_metadata(message.metadata):
                raise InvalidRecord(f"metadata {wrong}")
            if b"\n" in encoded:
                encoded = msgspec.json.format(encoded, indent=-1)
        decode(encoded)
    except (*UNREADABLE, UnicodeEncodeError) as error:
        raise InvalidRecord(in_words(error)) from None
    return encoded


class RecordBundler:
    """Bundles records into packets, of which each is for one group of analyzers, and one key of it.

    The same records in the same order make the same packets as long as limits and rules stay.

    Args:
        config: the limits.
        router: tells groups and keys.
    """

    def __init__(self, config: Config, router: RecordRouter) -> None:
        self._config = config
        self._router = router
        self._own_ids = own_ids()

    def bundle(self, records: Sequence[bytes], ids: str | None = None) -> Bundle:
        """Every record is in exactly one packet, or in `refused`.

        Args:
            records: as `record` makes them.
            ids: makes the ids of the packets: `ids.0`, `ids.1` and so on.
        """
        bundling = self.bundling(records, ids)
        while True:
            try:
                next(bundling)
            except StopIteration as end:
                bundle: Bundle = end.value
                return bundle

    def bundling(self, records: Sequence[bytes], ids: str | None = None) -> Steps[Bundle]:
        """The same in steps."""
        id_of = self._ids_from(ids)
        room = self._config.max_packet_bytes - len(body_of(id_of(10**10), []))
        fitting, refused = yield from self._fitting(records, room)
        routed = yield from self._routed(fitting)
        packets: list[Stored] = []
        since = 0  # the last pause, in records
        for (group, key), together in routed.items():
            for chunk in self._chunks(together, room):
                id_ = id_of(len(packets))
                body = body_of(id_, chunk)
                packets.append(Stored(0, id_, len(chunk), len(body), body, ids is not None, group, key))
                since += len(chunk)
                if since >= SLICE:
                    since = 0
                    yield
        return Bundle(packets, refused)

    def _ids_from(self, ids: str | None) -> Callable[[int], str]:
        if ids is None:
            return lambda _: next(self._own_ids)
        if not 1 <= len(ids) <= LONGEST_IDS or not ids.isprintable():
            ids = hashlib.sha256(ids.encode("utf-8", "surrogatepass")).hexdigest()
        return lambda number: f"{ids}.{number}"

    def _fitting(
        self, records: Sequence[bytes], room: int
    ) -> Steps[tuple[Sequence[bytes], list[RecordRefusal]]]:
        """The records that may be stored, and refusals of the others."""
        if max(map(len, records), default=0) <= min(room, self._config.max_record_bytes):
            return records, []  # a text is never longer than its JSON
        fitting: list[bytes] = []
        refused: list[RecordRefusal] = []
        for index, one in enumerate(records):
            if index % SLICE == SLICE - 1:
                yield
            if wrong := self._what_is_too_large(one, room):
                refused.append(RecordRefusal(index, "too_large", wrong))
            else:
                fitting.append(one)
        return fitting, refused

    def _what_is_too_large(self, one: bytes, room: int) -> str:
        most = self._config.max_record_bytes
        if len(one) > most:
            length = len(decode(one).message.encode())
            if length > most:
                return f"message must be at most {most} bytes, got {length}"
        if len(one) > room:
            return f"a record must be at most {max(room, 0)} bytes as compact JSON, got {len(one)}"
        return ""

    def _routed(self, records: Sequence[bytes]) -> Steps[dict[tuple[str, str | None], Sequence[bytes]]]:
        """The records by group and key."""
        router = self._router
        if router.trivial or not records:
            return {(DEFAULT_GROUP, None): records}
        routed: dict[tuple[str, str | None], list[bytes]] = {}
        for start in range(0, len(records), SLICE):
            if start:
                yield
            for one in records[start : start + SLICE]:
                messages = (labels_of(one),)
                group = router.group_of(messages)
                routed.setdefault((group, router.key_of(group, messages)), []).append(one)
        return dict(routed)

    def _chunks(self, records: Sequence[bytes], room: int) -> Iterator[Sequence[bytes]]:
        """As few packets as the limits allow, each filled before the next is begun."""
        most = self._config.max_messages
        start = size = 0
        for index, length in enumerate(map(len, records)):
            if index - start == most or size + length > room:
                yield records[start:index]
                start, size = index, 0
            size += length + 1  # and a comma
        if start < len(records):
            yield records[start:]


def body_of(id_: str, records: Sequence[bytes]) -> bytes:
    """A packet as analyzers get it."""
    return b'{"messages":[%s],"id":%s}' % (b",".join(records), encode(id_))
