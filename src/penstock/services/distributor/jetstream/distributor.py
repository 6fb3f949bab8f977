"""A distributor among others: what operators command at one of them, all of them do."""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.errors import InvalidValue, PenstockError
from penstock.services.distributor.circuit import LONGEST_OVERRIDE, Override
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.jetstream.address import token
from penstock.services.distributor.jetstream.commands import in_order
from penstock.services.distributor.jetstream.spool import SharedSpool
from penstock.services.distributor.reloading import Difference
from penstock.services.distributor.state import Distributor

__all__ = ["SharedDistributor"]

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000
ALMOST_OVER = 0.001
"""Seconds that a command still holds whose time is over when it is heard."""


class SharedDistributor(Distributor):
    """See `Distributor`; the arguments are the same, but for the spool.

    Analyzers that were changed at run time are those of the commands, not a note of this node.
    """

    def __init__(self, config: Config, spool: SharedSpool, *arguments: Any, **more: Any) -> None:
        self._commands = spool.commands
        self._named = config.analyzers  # by the settings
        self._commands.take_news()  # which is obeyed from the start
        super().__init__(self._commands.over(config), spool, *arguments, **more)

    async def start(self) -> None:
        """As `Distributor.start`."""
        await super().start()
        self._tasks.spawn(self._obey_for_ever(), "obey commands")

    # Giving commands

    def control(
        self, analyzer_id: str, state: Override | None, ttl: float | None = None, reason: str = ""
    ) -> None:
        """As `Distributor.control`, for all nodes."""
        super().control(analyzer_id, state, ttl, reason)
        self._commands.hold(analyzer_id, state, ttl, reason)

    async def change_analyzers(self, analyzers: Sequence[AnalyzerConfig]) -> list[Difference]:
        """As `Distributor.change_analyzers`, for all nodes whose settings say the same of what is changed."""
        if not analyzers:
            raise InvalidValue("analyzers must be at least one, got none")
        config = msgspec.structs.replace(self.config, analyzers=in_order(self._named, analyzers))
        if not self.draining:  # else it is refused, for the only reason that there may be
            self._commands.change(self._named, self.config, config)
        return await self._work_with(config)

    async def reload(self, config: Config) -> list[Difference]:
        """As `Distributor.reload`; an analyzer of which the settings say something else goes by them."""
        before, self._named = self._named, config.analyzers
        try:
            return await self._work_with(self._commands.over(config))
        except PenstockError:
            self._named = before
            raise

    async def _work_with(self, config: Config) -> list[Difference]:
        there = {one.id for one in self.config.analyzers}
        came = [one.id for one in config.analyzers if one.id not in there]
        self._commands.again(came)
        return await super().reload(config)

    # Obeying them

    async def _obey_for_ever(self) -> None:
        while True:
            news = await self._commands.news()
            if any(key.startswith("settings.") for key in news):
                await self._obey_settings()
            for id_ in [*self.fleet.members]:
                if f"health.{token(id_)}" in news:
                    self._obey_health(id_)

    async def _obey_settings(self) -> None:
        config = self._commands.over(msgspec.structs.replace(self.config, analyzers=self._named))
        if config.analyzers == self.config.analyzers:
            return
        try:
            differences = await self._work_with(config)
        except PenstockError as error:
            log.error("what was commanded at another node cannot be done here: %s", error)
            return
        changed = ", ".join(name for name, _, _ in differences)
        log.info("analyzers are others by a command at another node; changed: %s", changed)

    def _obey_health(self, analyzer_id: str) -> None:
        command = self._commands.health_of(analyzer_id)
        if command is None:
            super().control(analyzer_id, None)
            return
        left = None
        if command.until_ms is not None:
            left = (command.until_ms - self._wall() // MILLISECOND) / 1000
            left = min(max(left, ALMOST_OVER), LONGEST_OVERRIDE)
        super().control(analyzer_id, command.state, left, command.reason)
