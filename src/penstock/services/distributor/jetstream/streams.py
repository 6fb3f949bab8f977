"""The streams and consumers of a shared spool, made when they are not there."""

import logging
from typing import Any, Literal

import msgspec

from penstock.services.distributor.config import Config
from penstock.services.distributor.jetstream.address import Names
from penstock.services.distributor.jetstream.connection import Connection, Refused

__all__ = ["COMMAND_BYTES", "ConsumerInfo", "Look", "StoredMessage", "Streams"]

log = logging.getLogger(__name__)

NANOSECONDS = 1_000_000_000
MOST_PULLED = 20_000
"""Packets of one analyzer that all nodes hold together, at the most."""
MOST_RETRIES = 100_000
"""The same of packets of a group that wait to be tried again."""
MOST_COMMANDS = 10_000
"""Commands that are kept: two of each analyzer that there was in the last day, at the least."""
COMMAND_BYTES = 256 * 1024
"""Bytes of one, with all that its settings say."""
MARGIN = 1.1
"""How much more the server takes than the nodes: they know with a delay how much there is."""
NO_MESSAGE = 10037
IN_USE = frozenset({10058, 10013, 10148})


class State(msgspec.Struct):
    """What a stream holds."""

    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    subjects: dict[str, int] = {}


class StreamInfo(msgspec.Struct):
    """What a server says of a stream."""

    state: State


class Look(msgspec.Struct):
    """What waits in the streams, at one time."""

    packets: int = 0
    bytes: int = 0
    by_subject: dict[str, int] = {}


class StoredMessage(msgspec.Struct):
    """A message of a stream."""

    seq: int
    data: bytes = b""


class Found(msgspec.Struct):
    """The answer to the question for a message."""

    message: StoredMessage


class Sequences(msgspec.Struct):
    """How far a consumer has come."""

    stream_seq: int = 0


class ConsumerInfo(msgspec.Struct):
    """What a server says of a consumer."""

    name: str
    delivered: Sequences
    ack_floor: Sequences
    """Everything up to it is acknowledged."""
    num_pending: int = 0
    """Messages that it has not given out."""
    num_ack_pending: int = 0
    """Those that it has, and that are not acknowledged."""


class ConsumerList(msgspec.Struct):
    """Some of the consumers of a stream."""

    total: int = 0
    consumers: list[ConsumerInfo] | None = None


read_consumer = msgspec.json.Decoder(ConsumerInfo).decode
read_info = msgspec.json.Decoder(StreamInfo).decode


class Streams:
    """Makes what there must be, and looks at what there is.

    Args:
        connection: to NATS.
        names: what everything is called.
        config: the settings.
    """

    def __init__(self, connection: Connection, names: Names, config: Config) -> None:
        self._connection = connection
        self._names = names
        self._config = config
        self._consumers: set[str] = set()

    async def make(self) -> None:
        """Makes the streams, or gives them these settings.

        Raises:
            Refused: the server does not want to.
            Away: it does not answer.
        """
        names, config = self._names, self._config
        window = round(config.dedupe_window * NANOSECONDS)
        queue = {"retention": "workqueue", "duplicate_window": window}
        bounds = {
            "discard": "new",
            "max_msgs": round(config.max_pending * MARGIN),
            "max_bytes": round(config.max_pending_bytes * MARGIN),
        }
        await self._stream(names.packets, [f"{names.packet_subjects}.*.*"], **queue, **bounds)
        await self._stream(names.retries, [f"{names.retry_subjects}.*"], **queue)
        await self._stream(names.dead, [names.letters, names.gone], duplicate_window=window)
        await self._bucket(names.nodes_stream, names.nodes)
        await self._bucket(
            names.commands_stream, names.commands, max_msgs=MOST_COMMANDS, max_msg_size=COMMAND_BYTES
        )
        self._consumers.clear()
        for stream in (names.packets, names.retries):
            await self._remove_consumers_ahead(stream)

    async def _remove_consumers_ahead(self, stream: str) -> None:
        """Deletes consumers that are further than their stream, to be made anew.

        A server that lost power may have lost the end of a stream and not how far its consumers were: they
        would pass over what is stored under the same numbers from now on.
        """
        consumers: list[ConsumerInfo] = []
        total = 1
        while len(consumers) < total:
            answer = await self._connection.request(f"CONSUMER.LIST.{stream}", {"offset": len(consumers)})
            page = msgspec.json.decode(answer, type=ConsumerList)
            consumers += page.consumers or ()
            total = page.total if page.consumers else 0
        last = (await self._state(stream)).last_seq  # after them: other nodes are at work
        for consumer in consumers:
            if max(consumer.delivered.stream_seq, consumer.ack_floor.stream_seq) > last:
                log.error("the end of %s was lost; %s begins anew", stream, consumer.name)
                await self.delete_consumer(stream, consumer.name)

    async def _bucket(self, stream: str, name: str, **settings: Any) -> None:
        await self._stream(
            stream,
            [f"$KV.{name}.>"],
            max_msgs_per_subject=1,
            allow_rollup_hdrs=True,
            deny_delete=True,
            discard="new",
            **settings,
        )

    async def _stream(self, name: str, subjects: list[str], **settings: Any) -> None:
        wanted = {
            "name": name,
            "subjects": subjects,
            "storage": "file",
            "num_replicas": self._config.spool_replicas,
            **settings,
        }
        try:
            await self._connection.request(f"STREAM.CREATE.{name}", wanted)
        except Refused as refusal:
            if refusal.code not in IN_USE:
                raise
            await self._connection.request(f"STREAM.UPDATE.{name}", wanted)

    async def consumer_of_packets(self, group: str, owner: str | None) -> str:
        """Makes the consumer of an analyzer's packets; returns its name."""
        names = self._names
        name = names.consumer_of(group, owner)
        await self._consumer(names.packets, name, names.packets_of(group, owner), MOST_PULLED)
        return name

    async def consumer_of_retries(self, group: str) -> str:
        """Makes the consumer of a group's packets that are tried again; returns its name."""
        names = self._names
        name = names.consumer_of(group, None)
        await self._consumer(names.retries, name, names.retries_of(group), MOST_RETRIES)
        return name

    async def _consumer(self, stream: str, name: str, subject: str, most: int) -> None:
        if f"{stream}.{name}" in self._consumers:
            return
        wanted = {
            "durable_name": name,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": round(self._config.spool_hold * NANOSECONDS),
            "max_deliver": -1,
            "max_ack_pending": most,
            "filter_subject": subject,
            "replay_policy": "instant",
        }
        question = {"stream_name": stream, "config": wanted}
        await self._connection.request(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", question)
        self._consumers.add(f"{stream}.{name}")

    async def consumer(self, stream: str, name: str) -> ConsumerInfo:
        """How a consumer stands."""
        return read_consumer(await self._connection.request(f"CONSUMER.INFO.{stream}.{name}"))

    async def delete_consumer(self, stream: str, name: str) -> None:
        """Deletes a consumer, to be made anew."""
        self._consumers.discard(f"{stream}.{name}")
        await self._connection.request(f"CONSUMER.DELETE.{stream}.{name}")

    async def count(self, stream: str, subject: str) -> int:
        """How many messages of a subject a stream holds."""
        return (await self._state(stream, subject)).subjects.get(subject, 0)

    async def follower(self, stream: str, since: int, policy: Literal["all", "last_per_subject"]) -> str:
        """Makes a consumer that only reads, and goes when nobody asks it; returns its name.

        Args:
            stream: what it reads.
            since: the number of the first message; 0: as the policy says.
            policy: all messages, or the last one of each subject.
        """
        start = (
            {"deliver_policy": "by_start_sequence", "opt_start_seq": since}
            if since
            else {"deliver_policy": policy}
        )
        wanted = {
            **start,
            "ack_policy": "none",
            "filter_subject": ">",
            "replay_policy": "instant",
            "inactive_threshold": 60 * NANOSECONDS,
            "num_replicas": 1,
            "mem_storage": True,
        }
        answer = await self._connection.request(
            f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": wanted}
        )
        name: str = msgspec.json.decode(answer)["name"]
        return name

    async def look(self) -> Look:
        """What waits now."""
        packets = await self._state(self._names.packets)
        retries = await self._state(self._names.retries)
        return Look(
            packets.messages + retries.messages,
            packets.bytes + retries.bytes,
            packets.subjects | retries.subjects,
        )

    async def _state(self, stream: str, subjects: str = ">") -> State:
        answer = await self._connection.request(f"STREAM.INFO.{stream}", {"subjects_filter": subjects})
        return read_info(answer).state

    async def subjects(self, stream: str) -> list[str]:
        """The subjects of which a stream holds something."""
        return list((await self._state(stream)).subjects)

    async def last(self, stream: str, subject: str) -> StoredMessage | None:
        """The last message of a subject; None when there is none."""
        try:
            answer = await self._connection.request(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
        except Refused as refusal:
            if refusal.code == NO_MESSAGE:
                return None
            raise
        return msgspec.json.decode(answer, type=Found).message

    async def is_there(self, stream: str, seq: int) -> bool:
        """Whether a stream holds a message of that number."""
        try:
            await self._connection.request(f"STREAM.MSG.GET.{stream}", {"seq": seq})
        except Refused as refusal:
            if refusal.code in (10037, 10043, 10057, 0):
                return False
            raise
        return True

    async def delete(self, stream: str, seq: int) -> bool:
        """Deletes a message; whether it was there."""
        try:
            await self._connection.request(f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": True})
        except Refused as refusal:
            if refusal.code in (10043, 10057, 0):
                return False
            raise
        return True

    async def forget_before(self, stream: str, subject: str, seq: int) -> None:
        """Deletes the messages of a subject with lower numbers."""
        await self._connection.request(f"STREAM.PURGE.{stream}", {"filter": subject, "seq": seq})
