"""Records whose senders cannot be told that there is no room: kept until they are stored."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from secrets import token_hex

from penstock.services.distributor.admission import NotStored
from penstock.services.distributor.inputs.intake import Intake

__all__ = ["InputFigures", "Storing"]

log = logging.getLogger(__name__)

SHORTEST_WAIT, LONGEST_WAIT = 0.05, 10.0
"""Seconds between two attempts to store the same records."""


@dataclass(slots=True)
class InputFigures:
    """What became of the records of an input: all received are stored, refused, dropped or still held."""

    received: int = 0
    stored: int = 0
    refused: int = 0
    """By the rules of records, or no record at all."""
    dropped: int = 0
    """For want of room, or because the process had to end."""
    lost: int = 0
    """Datagrams that the system threw away before they could be read; not among those received."""
    connections: int = 0
    """Open now."""
    held_bytes: int = 0
    """Bytes that were read and are not stored yet."""

    def as_dict(self) -> dict[str, int]:
        """By name."""
        return asdict(self)


class Storing:
    """Stores the records of one input, again and again until they are stored.

    Args:
        name: of the input.
        intake: takes records.
        sleep: waits for so many seconds.
        can_read_again: whether records that are given up can be had again from where they came.
    """

    def __init__(
        self,
        name: str,
        intake: Intake,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        can_read_again: bool = False,
    ) -> None:
        self.name = name
        self.figures = InputFigures()
        self._intake = intake
        self._sleep = sleep
        self._can_read_again = can_read_again
        self._run = token_hex(6)
        self._counter = count(1)

    def ids(self) -> str:
        """New ids for records, so that an attempt which was stored after all is not stored again."""
        return f"{self.name}-{self._run}-{next(self._counter):x}"

    async def store(self, records: Sequence[bytes], ids: str | None = None) -> None:
        """Returns when all of them are stored or refused; counts them as dropped when it is cancelled."""
        ids = ids or self.ids()
        told = False
        try:
            while (wait := await self._attempt(records, ids, quiet=told)) is not None:
                told = True
                await self._sleep(min(max(wait, SHORTEST_WAIT), LONGEST_WAIT))
        except BaseException as error:
            if self._can_read_again:
                self.figures.received -= len(records)
            else:
                self.figures.dropped += len(records)
            if not isinstance(error, asyncio.CancelledError):
                log.exception("%d records of %s cannot be stored", len(records), self.name)
            raise

    async def _attempt(self, records: Sequence[bytes], ids: str, *, quiet: bool) -> float | None:
        """Seconds until the next attempt makes sense; None after one that succeeded."""
        try:
            receipt = await self._intake.accept_records(records, ids=ids)
        except NotStored as error:
            if not quiet:
                log.warning("%s waits: %s", self.name, error)
            return error.retry_after
        self.figures.stored += receipt.accepted
        self.figures.refused += len(receipt.refused)
        if receipt.refused:
            first = receipt.refused[0]
            log.warning("%d records of %s refused: %s", len(receipt.refused), self.name, first.error)
        return None
