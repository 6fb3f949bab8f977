"""What the distributor asks of the network: to carry packets to an analyzer, and to ask how it is."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from penstock.errors import PenstockError
from penstock.services.distributor.config import AnalyzerConfig
from penstock.services.distributor.spool import Stored

__all__ = ["AnalyzerClient", "DeliveryFailed"]


class DeliveryFailed(PenstockError, ConnectionError):
    """A delivery or a probe failed as a whole; the message says why in plain words."""


class AnalyzerClient(Protocol):
    """Carries packets to analyzers."""

    async def deliver(self, analyzer: AnalyzerConfig, packets: Sequence[Stored]) -> Mapping[str, str]:
        """Delivers packets, whose bodies are there, and returns the errors of those that failed, by id.

        Raises:
            DeliveryFailed: none of them arrived, as far as one can tell.
        """

    async def probe(self, analyzer: AnalyzerConfig) -> None:
        """Asks an analyzer whether it is well.

        Raises:
            DeliveryFailed: it is not.
        """
