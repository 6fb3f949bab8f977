"""The spool that nodes share: what has happened to packets becomes messages and acknowledgements.

A node holds what it has pulled until the server has noted what became of it. Everything that follows from a
held packet is published under an id made of its origin in its stream, and only then is it acknowledged: what
is interrupted between the two is done again, and stored once.
"""

import asyncio
import hashlib
import logging
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from penstock.cache import LRUCache
from penstock.clock import Clock
from penstock.services.distributor.change import Change, Stored
from penstock.services.distributor.config import Config
from penstock.services.distributor.dead_letter_store import DeadLetterStore, Letter
from penstock.services.distributor.dead_letters import Failed
from penstock.services.distributor.jetstream.address import Names, parse_address
from penstock.services.distributor.jetstream.command_bucket import CommandBucket
from penstock.services.distributor.jetstream.connection import (
    Ack,
    Away,
    Connection,
    Outgoing,
    Problem,
    Refused,
)
from penstock.services.distributor.jetstream.envelope import letter_of, packet_of, retry_of
from penstock.services.distributor.jetstream.node import Nodes, name_of
from penstock.services.distributor.jetstream.pull import origin_of
from penstock.services.distributor.jetstream.streams import Look, Streams
from penstock.services.distributor.journal.story import Event
from penstock.services.distributor.spool import Recovery, SpoolError, locked_folder

__all__ = ["SharedSpool"]

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds that a start waits for NATS before it goes on without."""
MAX_READ_BYTES = 16 * 1024 * 1024
"""Bytes of dead letters that are read into memory at a time."""
ENVELOPE_BYTES = 16 * 1024
"""What a message may have beside the packet's body."""
REMEMBERED = 20_000
"""Messages that were settled last, and are known should they come again."""
OF_ALL = ("overrides", "analyzers")
"""Notes that commands stand for."""
TOO_LARGE = Ack(error=Problem(description="they are larger than max_payload of the server allows"))
IN_PROGRESS = b"+WPI"
NAK = b'-NAK {"delay": %d}'
BACK_AFTER_MS = 100
"""Milliseconds after which a packet that was handed back is handed out again."""
EXTENSIONS = 3
"""How often in the time that packets are held for a node it says that it is still at work."""


class Held(NamedTuple):
    """A message that was pulled and has not been settled."""

    reply: str
    """Where the server hears what becomes of it."""
    origin: str
    """What tells it from all others, at all nodes: see `origin_of`."""


class SharedSpool:
    """A spool on NATS JetStream; an async context manager that has nothing any more when it ends.

    Args:
        config: the settings.
        wall: unix nanoseconds.

    Attributes:
        connection: to NATS.
        names: what everything is called there.
        streams: makes the streams and consumers.
        nodes: what nodes tell each other.
        commands: what operators tell all of them.
        waiting: what waits in the streams, as far as this node knows.
        recovery: nothing: what waits comes by itself.
        hold_time: seconds after which others get what a node had taken and says nothing of.
        foreseen: counts of what is just being stored.
        record: makes this node's record, with what is just being stored.
        lapsed: called when this node has not been heard of for so long that others get what it had taken.

    Raises:
        SpoolError: another process uses the data folder, or nats-py is not installed.
    """

    def __init__(self, config: Config, *, wall: Clock = time_ns) -> None:
        require_nats()
        address = parse_address(config.spool)
        self.names = Names(address.prefix)
        self.recovery = Recovery(0, 0, 0, {}, [], 0)
        self.letters_unread = False
        self.waiting = Look()
        self.record: Callable[[], Outgoing] = lambda: self.nodes.message(self.foreseen, self.held)
        self.foreseen: Counter[str] = Counter()
        self.lapsed: Callable[[], None] = lambda: None
        self._config = config
        self.hold_time = config.spool_hold
        folder = Path(config.data_dir)
        self._lock = locked_folder(folder)
        self._copy = folder / "shared"
        shutil.rmtree(self._copy, ignore_errors=True)  # of dead letters, which come anew
        self._copy.mkdir()
        self._letters = DeadLetterStore(self._copy, "memory", self._copy / "quarantine")
        name = name_of(config)
        self.connection = Connection(address, name, self._set_up)
        self.streams = Streams(self.connection, self.names, config)
        self.nodes = Nodes(self.connection, self.streams, self.names, name, wall)
        self.commands = CommandBucket(self.connection, self.streams, self.names, name, wall)
        self._held: dict[int, Held] = {}  # what was pulled, by number
        self._by_origin: dict[str, int] = {}  # the same numbers, by where the messages come from
        self._settled = LRUCache[str, bool](REMEMBERED)  # the origins of what was settled last
        self._numbers = count(1)
        self._replaying: set[int] = set()  # letters that are packets again by this node, and letters still
        self._to_say: list[tuple[bytes, str]] = []

    # Coming and going

    async def __aenter__(self) -> Self:
        if not await self.connection.start(PATIENCE):
            log.warning("%s; packets are refused until then", self.connection.away())
        self._extending = asyncio.create_task(self._extend_for_ever(), name="hold packets")
        return self

    async def _set_up(self) -> None:
        await self.streams.make()
        await self.nodes.load()
        await self.commands.load()
        wanted = self._config.max_packet_bytes + ENVELOPE_BYTES
        if self.connection.max_payload < wanted:
            log.warning(
                "packets of more than %d bytes are refused: set max_payload of the server to %d or more",
                self._largest,
                wanted,
            )

    @property
    def _largest(self) -> int:
        """Bytes of the largest packet for which a message has room, whatever happens to it."""
        return max(1, self.connection.max_payload - ENVELOPE_BYTES)

    def fitted(self, config: Config) -> Config:
        """The settings, with no larger packets than the server takes, as far as that is known now."""
        if not self.connection.is_ready or config.max_packet_bytes <= self._largest:
            return config
        return msgspec.structs.replace(config, max_packet_bytes=self._largest)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._extending.cancel()
        await self.connection.take_what_comes()
        with suppress(Away):
            await self.connection.tell(self._replies(), NAK % 0)
        self._held.clear()
        await self.connection.aclose()
        with suppress(sqlite3.Error):
            self._letters.close()
        os.close(self._lock)

    def close(self) -> None:
        """Nothing yet: what is held is handed back when the context ends."""

    @property
    def held(self) -> int:
        """Packets that this node has pulled and that are neither delivered nor handed back."""
        return len(self._held)

    # What is remembered

    def counters(self) -> Counter[str]:
        """What earlier lives of this node have counted."""
        return self.nodes.begin()

    def note(self, name: str) -> Any:
        """What this node remembers under a name, None when nothing.

        What people have said is remembered for all nodes, in their commands.
        """
        if name == "overrides":
            return self.commands.overrides()
        return None if name in OF_ALL else self.nodes.own.notes.get(name)

    def client_ids(self, since_ms: int, limit: int) -> list[tuple[str, int]]:
        """None: JetStream knows the ids."""
        return []

    def forget_client_ids(self, before_ms: int) -> None:
        """Nothing: JetStream does it."""

    def bodies(self, seqs: Sequence[int]) -> dict[int, bytes]:
        """Never asked for: what is held has its body."""
        raise AssertionError(f"packets {list(seqs)} are held without their bodies")

    def story(self, id_: str) -> list[Event]:
        """Nothing: messages are found by their place only."""
        return []

    # What is held

    def hold(self, reply: str) -> int | None:
        """Takes note of a message that was pulled; returns the number of its packet.

        None when there is nothing more to do about it: the server may hand out again what is held here
        already, or was settled a moment ago.
        """
        origin = origin_of(reply)
        if (known := self._by_origin.get(origin)) is not None:
            self._held[known] = Held(reply, origin)
            return None
        if origin in self._settled:
            self._say(b"", reply)
            return None
        seq = -next(self._numbers)  # those of packets that come in here are positive
        self._held[seq] = Held(reply, origin)
        self._by_origin[origin] = seq
        return seq

    def _let_go(self, seq: int) -> Held | None:
        held = self._held.pop(seq, None)
        if held is not None:
            del self._by_origin[held.origin]
        return held

    def _replies(self) -> list[str]:
        return [held.reply for held in self._held.values()]

    def give_back(self, seq: int, after_ms: int = BACK_AFTER_MS) -> None:
        """Hands a packet back, to whoever pulls it so much later."""
        if (held := self._let_go(seq)) is not None:
            self._say(NAK % (after_ms * 1_000_000), held.reply)

    def _say(self, word: bytes, reply: str) -> None:
        """Says something about a message, soon."""
        if not self._to_say:
            asyncio.get_running_loop().call_soon(self._say_all)
        self._to_say.append((word, reply))

    def _say_all(self) -> None:
        words, self._to_say = self._to_say, []
        self.connection.spawn(self._tell_all(words))

    async def _tell_all(self, words: list[tuple[bytes, str]]) -> None:
        with suppress(Away):  # then they come again when their time is over
            for word, reply in words:
                await self.connection.tell([reply], word)

    def forget(self, seq: int) -> None:
        """Holds a packet no more that others have by now."""
        self._let_go(seq)

    async def _extend_for_ever(self) -> None:
        now = asyncio.get_running_loop().time
        extended = now()
        while True:
            await asyncio.sleep(self.hold_time / EXTENSIONS)
            if now() - extended >= self.hold_time:
                self.lapsed()
            with suppress(Away):
                await self.connection.tell(self._replies(), IN_PROGRESS)
                extended = now()

    # Storing

    async def publish(self, packets: Sequence[Stored], counters: Counter[str]) -> list[Ack | None]:
        """Stores new packets; what became of each, None where that is not known.

        Args:
            packets: with their analyzers.
            counters: what they add to each counter.

        Raises:
            SpoolError: none is stored.
        """
        subject = subjects_of(self.names)
        self.foreseen = counters
        largest = self._largest
        messages = [
            Outgoing(
                subject(packet.group, packet.analyzer),
                packet_of(packet),
                id_of(packet.id) if packet.id_is_clients else "",
            )
            for packet in packets
            if packet.size <= largest
        ]
        acks = await self.connection.publish([*messages, self.record()])
        if len(messages) == len(packets):
            return acks[:-1]
        answers = iter(acks)
        return [next(answers) if packet.size <= largest else TOO_LARGE for packet in packets]

    async def settle(self, change: Change) -> None:
        """Stores what has become of packets and dead letters; after a failure the same change may come again.

        Letters that others have purged or replayed meanwhile are taken out of the change.

        Raises:
            SpoolError: it is not known that all of it is stored.
        """
        await self._leave_out_gone(change)
        self.foreseen = change.counters
        outgoing, held = self._following(change)
        acks = [stored(ack) for ack in await self.connection.publish(outgoing)]
        self._leave_out_replayed(change, acks[len(held) :])
        held += [packet.seq for packet in change.delivered if packet.seq in self._held]
        by_consumer: dict[str, list[str]] = {}
        for seq in held:
            reply = self._held[seq].reply
            by_consumer.setdefault(consumer_in(reply), []).append(reply)
        if not await self.connection.confirm(by_consumer.values(), self.record()):
            raise Away("NATS did not confirm in time that packets are delivered")
        for seq in held:
            if (gone := self._let_go(seq)) is not None:
                self._settled.set(gone.origin, True)
        await self._remove_letters(change)

    def _following(self, change: Change) -> tuple[list[Outgoing], list[int]]:
        """What is to be published, and the numbers of what is to be acknowledged then."""
        names, subject = self.names, subjects_of(self.names)
        outgoing, held = [], []
        for retry in change.retried:
            seq = retry.packet.seq
            if seq in self._held:
                id_ = f"r/{self._held[seq].origin}"
                outgoing.append(Outgoing(names.retries_of(retry.packet.group), retry_of(retry), id_))
                held.append(seq)
        for letter in change.dead:
            seq = letter.packet.seq
            if seq in self._held:
                outgoing.append(Outgoing(names.letters, letter_of(letter), f"d/{self._held[seq].origin}"))
                held.append(seq)
        for packet in change.assigned:
            if packet.seq in self._held:
                id_ = f"a/{self._held[packet.seq].origin}"
                outgoing.append(Outgoing(subject(packet.group, packet.analyzer), packet_of(packet), id_))
                held.append(packet.seq)
        for letter_seq, packet in change.replayed:
            id_ = f"replay/{letter_seq}"
            outgoing.append(Outgoing(subject(packet.group, packet.analyzer), packet_of(packet), id_))
        return outgoing, held

    async def _leave_out_gone(self, change: Change) -> None:
        if not change.replayed:
            return
        there = await self._all(
            [self.streams.is_there(self.names.dead, replay.letter_seq) for replay in change.replayed]
        )
        gone = there.count(False)
        change.replayed = [
            replay for replay, is_there in zip(change.replayed, there, strict=True) if is_there
        ]
        change.counters["replayed"] -= gone

    def _leave_out_replayed(self, change: Change, acks: Sequence[Ack]) -> None:
        """Counts only those letters as replayed that no other node has made packets of at the same time."""
        for (letter_seq, packet), ack in zip(change.replayed, acks, strict=True):
            if not ack.duplicate:
                self._replaying.add(letter_seq)
            elif letter_seq not in self._replaying:
                change.counters["replayed"] -= 1
                if packet.analyzer is not None:
                    change.counters[f"first_assigned:{packet.analyzer}"] -= 1

    async def _remove_letters(self, change: Change) -> None:
        """Deletes letters that are purged or packets again, and tells the other nodes."""
        if not (change.purged or change.replayed):
            return
        dead = self.names.dead
        purged = await self._all([self.streams.delete(dead, letter.seq) for letter in change.purged])
        change.counters["purged"] -= purged.count(False)
        await self._all([self.streams.delete(dead, replay.letter_seq) for replay in change.replayed])
        self._replaying.difference_update([replay.letter_seq for replay in change.replayed])
        gone = [letter.seq for letter in change.purged] + [replay.letter_seq for replay in change.replayed]
        await self.connection.publish([Outgoing(self.names.gone, msgspec.json.encode(gone))])

    async def _all(self, asking: Sequence[Any]) -> list[bool]:
        """All answers, asked for together."""
        try:
            return list(await asyncio.gather(*asking))
        except Refused as refusal:
            raise SpoolError(f"JetStream refuses: {refusal}") from None

    def note_stored(self, change: Change) -> None:
        """Takes note of what is remembered, and of how much waits now."""
        notes = change.notes.items()
        self.nodes.own.notes |= {name: note for name, note in notes if name not in OF_ALL}
        waiting = self.waiting
        came = [*change.accepted, *(replay.packet for replay in change.replayed)]
        went = [*change.delivered, *(letter.packet for letter in change.dead)]
        waiting.packets = max(0, waiting.packets + len(came) - len(went))

    # Dead letters: a copy of what the stream holds

    def failed(self) -> list[Failed]:
        """None at the start: they come from the stream."""
        return []

    def failed_at_ms(self, seq: int) -> int | None:
        """When a dead letter failed, unix time in ms; None when there is no such letter."""
        return read_copy(lambda: self._letters.failed_at_ms(seq))

    def letter_bytes(self) -> int:
        """Bytes of the packets of all dead letters."""
        return self._letters.bytes

    def dead_letters(self, seqs: Sequence[int]) -> list[tuple[int, bytes, int, str, int]]:
        """As `Spool.dead_letters`."""
        return [
            (letter.seq, letter.body, letter.failures, letter.error, letter.failed_at_ms)
            for letter in read_copy(lambda: self._letters.letters(seqs, MAX_READ_BYTES))
        ]

    def letters_as_packets(self, seqs: Sequence[int]) -> list[tuple[int, Stored]]:
        """As `Spool.letters_as_packets`."""
        return [
            (
                letter.seq,
                Stored(0, letter.id, letter.messages, len(letter.body), letter.body, group=letter.group),
            )
            for letter in read_copy(lambda: self._letters.letters(seqs, MAX_READ_BYTES))
        ]

    def copy_letters(self, letters: Sequence[Letter], gone: Iterable[int]) -> None:
        """Takes letters into the copy, and others out of it."""
        if letters:
            read_copy(lambda: self._letters.put(letters))
        if seqs := list(gone):
            read_copy(lambda: self._letters.remove(seqs))


def require_nats() -> None:
    """Says what to install when the client of NATS is not there, or one that cannot be used.

    Raises:
        SpoolError: so it is.
    """
    try:
        import nats.aio.client  # noqa: F401 -- whether it is there
    except ImportError:
        raise SpoolError("a spool on NATS needs nats-py: pip install 'penstock[nats]'") from None
    from nats.errors import Error

    try:
        from penstock.services.distributor.jetstream.wire import require_known

        require_known()
    except (Error, ImportError) as error:
        raise SpoolError(f"a spool on NATS needs another nats-py: {error}") from None


def read_copy(work: Callable[[], T]) -> T:
    """What it returns, its errors as those of a spool."""
    try:
        return work()
    except sqlite3.Error as error:
        raise SpoolError(f"the copy of the dead letters cannot be used: {error}") from None


def stored(ack: Ack | None) -> Ack:
    """The answer to a message that must be stored.

    Raises:
        SpoolError: it is not.
    """
    if ack is None:
        raise Away("NATS did not answer in time")
    if ack.error:
        raise SpoolError(f"JetStream refuses a packet: {ack.error.description}")
    return ack


def subjects_of(names: Names) -> Callable[[str, str | None], str]:
    """The subject of a group and an analyzer, each made once."""
    known: dict[tuple[str, str | None], str] = {}

    def subject(group: str, owner: str | None) -> str:
        found = known.get((group, owner))
        if found is None:
            found = known[group, owner] = names.packets_of(group, owner)
        return found

    return subject


def consumer_in(reply: str) -> str:
    """What two messages of one consumer have in common."""
    parts = reply.split(".")
    return ".".join(parts[: 6 if len(parts) > 9 else 4])


def id_of(client_id: str) -> str:
    """A packet's id as JetStream's; what a header cannot carry as it is, by its digest."""
    if client_id.isascii() and client_id.isprintable() and " " not in client_id:
        return f"c/{client_id}"
    return f"h/{hashlib.blake2b(client_id.encode(), digest_size=20).hexdigest()}"
