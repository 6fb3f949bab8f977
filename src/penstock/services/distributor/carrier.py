"""What the distributor asks of the network: to carry packets to an analyzer, and to ask how it is."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from penstock.errors import PenstockError
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import AnalyzerConfig

__all__ = ["AnalyzerClient", "DeliveryFailed", "PacketFailure"]


class DeliveryFailed(PenstockError, ConnectionError):
    """A delivery or a probe failed as a whole; the message says why in plain words.

    Attributes:
        status: what the analyzer answered, as a status of HTTP; None when it gave no answer that can be read.
        retry_after: seconds for which it asked to be left alone; None when it did not ask.
    """

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class PacketFailure(NamedTuple):
    """Why one packet of a delivery that was answered was not processed."""

    error: str
    status: int | None = None
    """What the analyzer says of the packet, as a status of HTTP; None: to be tried again."""
    retry_after: float | None = None
    """Seconds for which it asked not to be sent it."""
    final: bool = False
    """Whether the analyzer's protocol forbids to send it again: it is a dead letter at once."""


class AnalyzerClient(Protocol):
    """Carries packets to analyzers."""

    async def deliver(
        self, analyzer: AnalyzerConfig, packets: Sequence[Stored]
    ) -> Mapping[str, PacketFailure]:
        """Delivers packets, whose bodies are there, and returns the failures of those that failed, by id.

        Raises:
            DeliveryFailed: none of them arrived, as far as one can tell.
        """

    async def probe(self, analyzer: AnalyzerConfig) -> None:
        """Asks an analyzer whether it is well; one that cannot be asked is well.

        Raises:
            DeliveryFailed: it is not.
        """

    async def forget(self, analyzer: AnalyzerConfig) -> None:
        """Lets go of what is held for an analyzer that is no more: connections, files."""
