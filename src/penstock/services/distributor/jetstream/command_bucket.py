"""What operators command at any node holds for all of them: a bucket has the last word about each analyzer.

    health.ANALYZER      held up, draining or down, until when, and why; or put back
    settings.ANALYZER    what it is instead of what the settings say; and what those said at that time

The bucket's revisions say which word is the last. A command of settings holds at the nodes whose settings say
of that analyzer what they said where the command was given: a node whose settings say something else by now
goes by them.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import time_ns
from typing import Any, NamedTuple

import msgspec

from penstock.clock import Clock
from penstock.errors import InvalidValue
from penstock.services.distributor.circuit import Override
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.jetstream.address import Names, token
from penstock.services.distributor.jetstream.commands import (
    Command,
    HealthCommand,
    SettingsCommand,
    command_in,
    with_commands,
)
from penstock.services.distributor.jetstream.connection import Away, Connection, Outgoing, Refused
from penstock.services.distributor.jetstream.message import Message
from penstock.services.distributor.jetstream.streams import COMMAND_BYTES, Streams

__all__ = ["CommandBucket"]

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000
PAUSE = 0.5
"""Seconds after which a command that could not be stored is tried again."""
KEPT_MS = 24 * 3600 * 1000
"""For how long a word stays that commands nothing any more, for nodes that were away."""
READ_AT_ONCE = 100
LARGEST = COMMAND_BYTES - 1024
"""Bytes of a command; the server counts a little more."""
SAID_MEANWHILE = 10071
"""JetStream's number of the error that another revision was expected."""
NEXT = 2**63
"""The revision of what is not in the bucket yet."""


class Told(NamedTuple):
    """A command in the bucket."""

    revision: int
    command: Command | None
    """None: nobody can read it."""


class Pending:
    """A command of this node that is not known to be in the bucket."""

    __slots__ = ("after", "command", "is_late", "trouble")

    def __init__(self, command: Command, after: int, is_late: bool) -> None:
        self.command = command
        self.after = after  # the revision that was the last when it was given
        self.is_late = is_late  # whether others may have been told something since
        self.trouble = ""  # why the bucket did not take it when it was last tried


class CommandBucket:
    """The commands that are in force, and the telling of one's own.

    A command that is given while there is no connection holds here at once, and everywhere when there is one
    again; but if others have been told something about the same analyzer meanwhile, that holds here, too.

    Args:
        connection: to NATS.
        streams: has the bucket.
        names: what everything is called.
        node: this node's name.
        wall: unix nanoseconds.
    """

    def __init__(
        self, connection: Connection, streams: Streams, names: Names, node: str, wall: Clock = time_ns
    ) -> None:
        self._connection = connection
        self._streams = streams
        self._names = names
        self._node = node
        self._wall = wall
        self._told: dict[str, Told] = {}
        self._pending: dict[str, Pending] = {}
        self._wanted = asyncio.Event()
        self._news: set[str] = set()  # keys whose last word is another one than was obeyed
        self._has_news = asyncio.Event()

    # Giving commands

    def hold(self, analyzer: str, state: Override | None, ttl: float | None, reason: str) -> None:
        """An analyzer is held in a state, or put back: says so to all."""
        now_ms = self._now_ms
        until_ms = None if state is None or ttl is None else now_ms + round(ttl * 1000)
        self._give(HealthCommand(analyzer, state, until_ms, reason if state else "", self._node, now_ms))

    def change(self, named: Sequence[AnalyzerConfig], before: Config, after: Config) -> None:
        """Analyzers were added, changed or removed: says so to all.

        Args:
            named: those of the settings.
            before: what was in force.
            after: what is in force now.

        Raises:
            ValueError: one of them is too large to be told; none is.
        """
        given: list[Command] = []
        bases = {one.id: one for one in named}
        old, new = ({one.id: one for one in config.analyzers} for config in (before, after))
        for id_ in {**old, **new}:
            if old.get(id_) == new.get(id_):
                continue
            given.append(SettingsCommand(id_, bases.get(id_), new.get(id_), self._node, self._now_ms))
            if id_ not in new and self.health_of(id_) is not None:  # should one of this id come again
                given.append(HealthCommand(id_, None, node=self._node, at_ms=self._now_ms))
        for command in given:
            if (size := len(msgspec.json.encode(command))) > LARGEST:
                raise InvalidValue(
                    f"analyzer {command.analyzer} must be up to {LARGEST} bytes, as it was and is to be, "
                    f"for all distributors to be told, got {size}"
                )
        for command in given:
            self._give(command)

    def _give(self, command: Command) -> None:
        key = command.key
        self._pending[key] = Pending(command, self._revision(key), not self._connection.is_ready)
        self._wanted.set()

    async def write_for_ever(self) -> None:
        """Puts commands of this node into the bucket."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._connection.ready()
            await self.write()
            if self._pending:
                self._wanted.set()
                await asyncio.sleep(PAUSE)

    async def write(self) -> None:
        """Tries once to put what is pending into the bucket."""
        for key, pending in list(self._pending.items()):
            if not (pending.is_late and self._gives_way(key, pending)):
                await self._write(key, pending)

    def _gives_way(self, key: str, pending: Pending) -> bool:
        """Whether a command that comes late is not the last word any more."""
        told = self._told.get(key)
        if told is None or told.revision == pending.after:
            return False
        if told.command != pending.command:
            log.warning("%s: what was commanded here while NATS was away gives way to another node's", key)
            self._mark([key])
        self._end(key, pending)
        return True

    async def _write(self, key: str, pending: Pending) -> None:
        after = self._revision(key) if pending.is_late else None
        pending.is_late = True  # should this attempt fail
        content = msgspec.json.encode(pending.command)
        try:
            [ack] = await self._connection.publish([Outgoing(self._names.command(key), content, after=after)])
        except Away:
            return
        if ack is None:
            return
        if ack.error is not None:
            if ack.error.err_code != SAID_MEANWHILE and ack.error.description != pending.trouble:
                pending.trouble = ack.error.description
                log.error("%s: the other nodes are not told yet: %s", key, pending.trouble)
            return
        if ack.seq > self._revision(key):
            self._told[key] = Told(ack.seq, pending.command)
        else:
            self._mark([key])
        self._end(key, pending)
        with suppress(Away, Refused):
            await self._tidy()

    def _end(self, key: str, pending: Pending) -> None:
        if self._pending.get(key) is pending:
            del self._pending[key]

    async def _tidy(self) -> None:
        """Deletes what commands nothing, and has been heard by everybody who is to hear it."""
        since_ms = self._now_ms - KEPT_MS
        for key, (revision, command) in list(self._told.items()):
            if command is not None and command.at_ms < since_ms and is_over(command, since_ms):
                subject = self._names.command(key)
                await self._streams.forget_before(self._names.commands_stream, subject, revision + 1)
                self._told.pop(key, None)

    # Hearing them

    async def load(self) -> None:
        """Reads the whole bucket; what is not there any more commands nothing.

        Raises:
            Away, Refused: it cannot be read now.
        """
        stream = self._names.commands_stream
        prefix = self._names.command("")
        found: dict[str, Told] = {}
        subjects = await self._streams.subjects(stream)
        for start in range(0, len(subjects), READ_AT_ONCE):
            some = subjects[start : start + READ_AT_ONCE]
            messages = await asyncio.gather(*[self._streams.last(stream, subject) for subject in some])
            for subject, message in zip(some, messages, strict=True):
                if message is not None:
                    found[subject.removeprefix(prefix)] = self._read(subject, message.seq, message.data)
        before, self._told = self._told, found
        self._mark([key for key, told in found.items() if told != before.get(key)])
        gone = before.keys() - found.keys()
        self._mark([key for key in gone if not is_over(before[key].command, self._now_ms)])

    async def take(self, messages: Sequence[tuple[int, Message]]) -> None:
        """Takes in what the bucket says."""
        prefix = self._names.command("")
        for revision, message in messages:
            key = message.subject.removeprefix(prefix)
            if revision > self._revision(key):
                self._told[key] = self._read(message.subject, revision, message.data)
                self._mark([key])

    def _read(self, subject: str, revision: int, data: bytes) -> Told:
        try:
            return Told(revision, command_in(subject.removeprefix(self._names.command("")), data))
        except ValueError as error:
            if data:  # a key that was deleted is empty
                log.warning("%s: %s", subject, error)
            return Told(revision, None)

    def _mark(self, keys: Iterable[str]) -> None:
        self._news.update(keys)
        if self._news:
            self._has_news.set()

    def again(self, analyzers: Iterable[str]) -> None:
        """These analyzers are there now: what is commanded of their health has to be obeyed."""
        keys = [f"health.{token(id_)}" for id_ in analyzers]
        self._mark([key for key in keys if key in self._told])

    async def news(self) -> set[str]:
        """The keys of commands that others have given, once there are some; each is told once.

        One's own command that is not in the bucket yet stands above them.
        """
        while not self._news:
            self._has_news.clear()
            await self._has_news.wait()
        return self.take_news()

    def take_news(self) -> set[str]:
        """As `news`, at once."""
        news, self._news = self._news, set()
        return {key for key in news if key not in self._pending}

    # What is in force

    def _command(self, key: str) -> tuple[int, Command | None]:
        if (pending := self._pending.get(key)) is not None:
            return NEXT, pending.command
        return self._told.get(key, (0, None))

    def _revision(self, key: str) -> int:
        told = self._told.get(key)
        return 0 if told is None else told.revision

    def health_of(self, analyzer: str) -> HealthCommand | None:
        """What is commanded of an analyzer's health, None when nothing."""
        _, command = self._command(f"health.{token(analyzer)}")
        return command if isinstance(command, HealthCommand) and command.state is not None else None

    def overrides(self) -> dict[str, Any]:
        """All of that, as `Health.restore` takes it."""
        found = {}
        for key in {**self._told, **self._pending}:
            _, command = self._command(key)
            if isinstance(command, HealthCommand) and command.state is not None:
                found[command.analyzer] = {
                    "state": command.state,
                    "until_ms": command.until_ms,
                    "reason": command.reason,
                }
        return found

    def over(self, config: Config) -> Config:
        """Settings with the analyzers that are commanded instead of theirs."""
        commands = []
        for key in {**self._told, **self._pending}:
            revision, command = self._command(key)
            if isinstance(command, SettingsCommand) and not is_over(command, self._now_ms):
                commands.append((revision, key, command))
        commands.sort(key=lambda one: one[:2])
        return with_commands(config, [command for _, _, command in commands])

    @property
    def _now_ms(self) -> int:
        return self._wall() // MILLISECOND


def is_over(command: Command | None, now_ms: int) -> bool:
    """Whether a command is as if nobody had ever said anything."""
    if isinstance(command, HealthCommand):
        return command.state is None or (command.until_ms is not None and command.until_ms <= now_ms)
    return command is None or command.base == command.now
