"""Packets over HTTP: the protocol between the distributor and its own analyzers.

POST {url}          Content-Type: application/x-ndjson, one packet a line:
                    {"messages": [...], "id": "...", "retry_count": 0}
2xx                 received; {"failed": [{"id": "...", "error": "...", "status": 422}]} names packets
                    that were not processed, a body without "failed" means none. `status` says as one of
                    HTTP whether a packet is to be tried again, `retry_after` in how many seconds
anything else       nothing of it was processed; redirects are not followed, Retry-After is obeyed

GET {health_url}    2xx: well
"""

from collections.abc import Mapping, Sequence

from penstock.services.distributor.carrier import PacketFailure
from penstock.services.distributor.carriers.lines import packet_lines
from penstock.services.distributor.carriers.posting import Poster
from penstock.services.distributor.carriers.verdict import failures_of
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import AnalyzerConfig

__all__ = ["HttpCarrier"]


class HttpCarrier:
    """Carries packets as lines of JSON.

    Args:
        poster: sends them.
    """

    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    async def deliver(
        self, analyzer: AnalyzerConfig, packets: Sequence[Stored]
    ) -> Mapping[str, PacketFailure]:
        """See `AnalyzerClient`."""
        answer = await self._poster.post(analyzer, packet_lines(packets), "application/x-ndjson")
        return failures_of(answer.body, packets)

    async def probe(self, analyzer: AnalyzerConfig) -> None:
        """See `AnalyzerClient`."""
        await self._poster.probe(analyzer)

    async def forget(self, analyzer: AnalyzerConfig) -> None:
        """See `AnalyzerClient`."""
        self._poster.forget(analyzer)
