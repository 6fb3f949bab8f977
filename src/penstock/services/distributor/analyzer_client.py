"""The protocol between the distributor and an analyzer, from the distributor's side.

POST {url}            Content-Type: application/x-ndjson, one packet a line:
{"messages": [...], "id": "...", "retry_count": 0}
2xx                   received; {"failed": [{"id": "...", "error": "..."}]} names packets that were
not processed and are to be tried again, any other body means none
anything else         nothing of it was processed

GET {health_url}      2xx: well
"""

from collections.abc import Mapping, Sequence

import aiohttp
import msgspec

from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.spool import Stored
from penstock.services.distributor.state import DeliveryFailed

__all__ = ["HttpAnalyzerClient", "PacketError", "Verdict", "packet_line"]

MAX_ANSWER_BYTES = 4 * 1024 * 1024
PROBE_TIMEOUT = 5.0
MAX_ERROR_LENGTH = 500
"""Characters of an analyzer's words that are kept."""


class PacketError(msgspec.Struct):
    """What an analyzer says of a packet that it did not process."""

    id: str
    error: str = "the analyzer gave no reason"


class Verdict(msgspec.Struct):
    """An analyzer's answer to a delivery."""

    failed: list[PacketError] = []


def packet_line(packet: Stored) -> bytes:
    """A packet as analyzers get it: its body, with the number of attempts that failed before this one."""
    assert packet.body is not None
    return packet.body[:-1] + b',"retry_count":%d}\n' % packet.failures


class HttpAnalyzerClient:
    """Delivers over HTTP on kept-alive connections; an async context manager."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._verdict = msgspec.json.Decoder(Verdict)

    async def __aenter__(self) -> "HttpAnalyzerClient":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=0, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(total=self._config.analyzer_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "penstock-distributor"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def deliver(self, analyzer: AnalyzerConfig, packets: Sequence[Stored]) -> Mapping[str, str]:
        """See `AnalyzerClient`."""
        body = b"".join([packet_line(packet) for packet in packets])
        headers = {"Content-Type": "application/x-ndjson"}
        try:
            async with self._session.post(analyzer.url, data=body, headers=headers) as answer:
                if not 200 <= answer.status < 300:
                    raise DeliveryFailed(f"answered {answer.status} {answer.reason}")
                return self._errors(await self._bounded_body(answer), packets)
        except TimeoutError:
            raise DeliveryFailed(f"no answer within {self._config.analyzer_timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise DeliveryFailed(in_words(error)) from None

    async def probe(self, analyzer: AnalyzerConfig) -> None:
        """See `AnalyzerClient`."""
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT)
        try:
            async with self._session.get(analyzer.probe_url, timeout=timeout) as answer:
                if not 200 <= answer.status < 300:
                    raise DeliveryFailed(f"its health answered {answer.status} {answer.reason}")
        except TimeoutError:
            raise DeliveryFailed(f"its health gave no answer within {PROBE_TIMEOUT:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise DeliveryFailed(in_words(error)) from None

    async def _bounded_body(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise DeliveryFailed(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)

    def _errors(self, body: bytes, packets: Sequence[Stored]) -> dict[str, str]:
        """The errors of packets that were in this delivery; an answer that is no verdict names none."""
        try:
            verdict = self._verdict.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        if not verdict.failed:
            return {}
        sent = {packet.id for packet in packets}
        return {failed.id: failed.error[:MAX_ERROR_LENGTH] for failed in verdict.failed if failed.id in sent}


def in_words(error: Exception) -> str:
    """Why a connection failed, for people."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"its name {error.host} is not known"
        case aiohttp.ClientConnectorError():
            return f"no connection: {error.os_error.strerror or error.os_error}"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection without an answer"
        case _:
            return f"{error}" or type(error).__name__
