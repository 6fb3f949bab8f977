"""Dead letters of all nodes: each node follows their stream, and reads and searches its own copy."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import time_ns
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from penstock.services.distributor.change import Change
from penstock.services.distributor.dead_letter_store import Letter
from penstock.services.distributor.dead_letters import Failed
from penstock.services.distributor.jetstream.connection import Refused
from penstock.services.distributor.jetstream.envelope import NoEnvelope, opened
from penstock.services.distributor.jetstream.follower import Follower
from penstock.services.distributor.jetstream.message import Message
from penstock.services.distributor.jetstream.pull import Delivered, delivered
from penstock.services.distributor.jetstream.spool import SharedSpool
from penstock.services.distributor.letters import DeadLetters
from penstock.services.distributor.packets import UNREADABLE

__all__ = ["SharedLetters"]

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000
KEPT_MS = 24 * 3600 * 1000
"""For how long it is said that letters have gone, to nodes that were away."""


class SharedLetters(DeadLetters):
    """See `DeadLetters`; a letter's number is its place in the stream, the same for all nodes.

    What is stored here is seen here when it has come back by the stream: after some milliseconds.
    """

    _spool: SharedSpool

    def __init__(self, config: Any, spool: SharedSpool, *arguments: Any, **more: Any) -> None:
        super().__init__(config, spool, *arguments, **more)
        self._markers: deque[Delivered] = deque()  # of letters that have gone, the oldest first
        self._at_ms: dict[int, int] = {}  # when each letter failed
        self._follower = Follower(spool.connection, spool.streams, spool.names.dead, "all", self._take)

    def load(self) -> None:
        """Begins to follow the stream."""
        super().load()
        self._spawn(self._follower.run(), "follow dead letters")

    def apply(self, change: Change) -> None:
        """Takes in what has been stored; new letters come by the stream."""
        for replay in change.replayed:
            self._leaving.pop(replay.letter_seq, None)
        self._forget([letter.seq for letter in change.purged])
        self._forget([replay.letter_seq for replay in change.replayed])

    async def purge_excess(self) -> None:
        """Removes letters beyond the bounds, and what was said long ago of letters that have gone."""
        await super().purge_excess()
        last = None
        since_ms = time_ns() // MILLISECOND - KEPT_MS
        while self._markers and self._markers[0].at_ms < since_ms:
            last = self._markers.popleft()
        if last is not None:
            names = self._spool.names
            try:
                await self._spool.streams.forget_before(names.dead, names.gone, last.seq + 1)
            except Refused as refusal:
                log.warning("JetStream keeps what it was to forget: %s", refusal)

    async def _take(self, messages: Sequence[tuple[int, Message]]) -> None:
        """Takes in what the stream says: letters, and which of them have gone."""
        letters: dict[int, Letter] = {}
        gone: list[int] = []
        for seq, message in messages:
            if message.subject == self._spool.names.gone:
                gone += seqs_in(message.data)
                self._markers.append(delivered(message.reply))
            elif (letter := letter_in(seq, message.data)) is not None:
                letters[seq] = letter
        for seq in gone:
            letters.pop(seq, None)
        await self._commits.read(partial(self._spool.copy_letters, list(letters.values()), gone))
        self._index.add(Failed(letter.failed_at_ms, letter.seq) for letter in letters.values())
        self._at_ms |= {letter.seq: letter.failed_at_ms for letter in letters.values()}
        if self._search is not None:
            self._search.died(letters)
        self._forget(gone)

    def _forget(self, seqs: Sequence[int]) -> None:
        """Letters are gone; which of them were known does not matter."""
        known = [Failed(self._at_ms.pop(seq), seq) for seq in seqs if seq in self._at_ms]
        self._index.remove(known)
        if self._search is not None:
            self._search.purged(letter.seq for letter in known)


def letter_in(seq: int, data: bytes) -> Letter | None:
    """The letter of a message; None when there is none."""
    try:
        envelope, body = opened(data)
    except NoEnvelope:
        return None
    return Letter(
        seq,
        envelope.id,
        envelope.group,
        envelope.messages,
        envelope.failures,
        envelope.error,
        envelope.at_ms,
        body,
    )


def seqs_in(data: bytes) -> list[int]:
    """The numbers of letters that have gone."""
    try:
        return list(read_seqs(data))
    except UNREADABLE:
        return []


Seq = Annotated[int, Meta(ge=0, le=2**53)]

read_seqs: Callable[[bytes], list[int]] = msgspec.json.Decoder(list[Seq]).decode
