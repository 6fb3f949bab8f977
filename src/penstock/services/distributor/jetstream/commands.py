"""What operators command: how an analyzer is held, and what it is instead of what the settings say."""

import logging
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from penstock.errors import InvalidValue
from penstock.services.distributor.carriers import check
from penstock.services.distributor.circuit import Override
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.jetstream.address import token
from penstock.services.distributor.packets import UNREADABLE, in_words

__all__ = ["Command", "HealthCommand", "SettingsCommand", "command_in", "in_order", "with_commands"]

log = logging.getLogger(__name__)


UnixMs = Annotated[int, Meta(ge=0, le=10**15)]
"""Unix time; the bound is in the year 33658."""


class HealthCommand(msgspec.Struct, frozen=True):
    """Held in a state, or put back."""

    analyzer: str
    state: Override | None
    until_ms: UnixMs | None = None
    """Unix time at which it is over; None: when somebody says so."""
    reason: Annotated[str, Meta(max_length=500)] = ""
    node: str = ""
    """Which was told."""
    at_ms: UnixMs = 0

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        return f"health.{token(self.analyzer)}"


class SettingsCommand(msgspec.Struct, frozen=True):
    """An analyzer that was added, changed or removed."""

    analyzer: str
    base: AnalyzerConfig | None
    """What the settings said of it; None: nothing."""
    now: AnalyzerConfig | None
    """None: it is removed."""
    node: str = ""
    """Which was told."""
    at_ms: UnixMs = 0

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        return f"settings.{token(self.analyzer)}"


Command = HealthCommand | SettingsCommand


def command_in(key: str, data: bytes) -> Command:
    """The command that a key of the bucket holds.

    Raises:
        ValueError: it is none, or one of another analyzer.
    """
    kind: type[HealthCommand] | type[SettingsCommand]
    kind = SettingsCommand if key.startswith("settings.") else HealthCommand
    try:
        command = msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise InvalidValue(f"a command must be JSON of its kind: {in_words(error)}") from None
    ids = {command.analyzer}
    if isinstance(command, SettingsCommand):
        ids |= {one.id for one in (command.base, command.now) if one is not None}
    if command.key != key or len(ids) > 1:
        raise InvalidValue(
            f"a command must be of the analyzer of its key, got {', '.join(sorted(ids))[:200]}"
        )
    return command


def with_commands(config: Config, commands: Sequence[SettingsCommand]) -> Config:
    """Settings with the analyzers that are commanded instead of theirs.

    Where all commands together make no sense with these settings, the first ones count as far as they do.

    Args:
        config: the settings.
        commands: the last of each analyzer, the one that was given first before the others.
    """
    bases = {one.id: one for one in config.analyzers}
    holding = [one for one in commands if one.base == bases.get(one.analyzer) and can_be_carried(one.now)]
    try:
        return all_of(config, holding)
    except ValueError as error:
        log.error("the commands to change analyzers do not go together with the settings: %s", error)
    counting: list[SettingsCommand] = []
    for command in holding:
        try:
            all_of(config, [*counting, command])
        except ValueError as error:
            log.error("analyzer %s stays as it is: %s", command.analyzer, error)
        else:
            counting.append(command)
    return all_of(config, counting)


def all_of(config: Config, commands: Sequence[SettingsCommand]) -> Config:
    """Settings with all of these commands.

    Raises:
        ValueError: they make no sense together.
    """
    analyzers = {one.id: one for one in config.analyzers}
    for command in commands:
        if command.now is None:
            analyzers.pop(command.analyzer, None)
        else:
            analyzers[command.analyzer] = command.now
    if not analyzers and commands:
        raise InvalidValue("analyzers must be at least one, got none")
    ordered = in_order(config.analyzers, list(analyzers.values()))
    return msgspec.structs.replace(config, analyzers=ordered)


def in_order(
    named: Sequence[AnalyzerConfig], analyzers: Sequence[AnalyzerConfig]
) -> tuple[AnalyzerConfig, ...]:
    """Analyzers in an order that is the same at all nodes: those of the settings, then the others by id."""
    places = {one.id: place for place, one in enumerate(named)}
    return tuple(sorted(analyzers, key=lambda one: (places.get(one.id, len(places)), one.id)))


def can_be_carried(analyzer: AnalyzerConfig | None) -> bool:
    """Whether an analyzer can be reached from this machine, with its files and libraries."""
    if analyzer is None:
        return True
    try:
        check(analyzer)
    except ValueError as error:
        log.error("analyzer %s stays as it is: %s", analyzer.id, error)
        return False
    return True
