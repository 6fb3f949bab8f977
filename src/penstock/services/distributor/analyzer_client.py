"""The protocol between the distributor and an analyzer, from the distributor's side.

    POST {url}          Content-Type: application/x-ndjson, one packet a line:
                        {"messages": [...], "id": "...", "retry_count": 0}
    2xx                 received; {"failed": [{"id": "...", "error": "..."}]} names packets that were not
                        processed and are to be tried again, a body without "failed" means none
    anything else       nothing of it was processed; redirects are not followed

    GET {health_url}    2xx: well

Whatever an analyzer answers, however long or broken, costs at most a failed delivery.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO

import aiohttp
import msgspec
from aiohttp.http_exceptions import HttpProcessingError

from penstock.services.distributor.carrier import DeliveryFailed
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.spool import Stored
from penstock.services.http_client import reason_of
from penstock.services.printable import one_line

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
            headers={"User-Agent": "penstock-distributor", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def deliver(self, analyzer: AnalyzerConfig, packets: Sequence[Stored]) -> Mapping[str, str]:
        """See `AnalyzerClient`."""
        lines = b"".join([packet_line(packet) for packet in packets])
        body = BytesIO(lines)  # which aiohttp sends piece by piece
        headers = {"Content-Type": "application/x-ndjson"}
        timeout = self._config.analyzer_timeout
        request = self._session.post(analyzer.url, data=body, headers=headers, allow_redirects=False)
        with failures_in_words(f"no answer within {timeout:g} s"):
            async with request as answer:
                if not 200 <= answer.status < 300:
                    raise failed(f"answered {answer.status} {answer.reason}")
                return self._errors(await bounded_body(answer), packets)

    async def probe(self, analyzer: AnalyzerConfig) -> None:
        """See `AnalyzerClient`."""
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT)
        request = self._session.get(analyzer.probe_url, timeout=timeout, allow_redirects=False)
        with failures_in_words(f"its health gave no answer within {PROBE_TIMEOUT:g} s"):
            async with request as answer:
                if not 200 <= answer.status < 300:
                    raise failed(f"its health answered {answer.status} {answer.reason}")

    def _errors(self, body: bytes, packets: Sequence[Stored]) -> dict[str, str]:
        """The errors of packets that were in this delivery; an answer that is no verdict names none."""
        try:
            verdict = self._verdict.decode(body)
        except msgspec.ValidationError as error:
            if "$.failed" in str(error):  # something failed, but what? Better delivered twice than lost
                raise failed(f"its answer cannot be read: {error}") from None
            return {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        if not verdict.failed:
            return {}
        sent = {packet.id for packet in packets}
        return {
            packet.id: one_line(packet.error, MAX_ERROR_LENGTH)
            for packet in verdict.failed
            if packet.id in sent
        }


async def bounded_body(answer: aiohttp.ClientResponse) -> bytes:
    if encoding := answer.headers.get("Content-Encoding"):  # it may name failures that we cannot read
        raise failed(f"its answer has Content-Encoding {encoding}, which was not asked for")
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise failed(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


@contextmanager
def failures_in_words(silence: str) -> Iterator[None]:
    """Turns what aiohttp raises into DeliveryFailed; `silence` says that nothing came in time."""
    try:
        yield
    except DeliveryFailed:
        raise
    except TimeoutError:
        raise failed(silence) from None
    except (aiohttp.ClientError, OSError, HttpProcessingError) as error:
        raise failed(reason_of(error)) from None


def failed(why: str) -> DeliveryFailed:
    return DeliveryFailed(one_line(why, MAX_ERROR_LENGTH))
