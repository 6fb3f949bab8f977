"""How packets travel: as lines of JSON over HTTP, into files and to standard output, or over OTLP/HTTP.

`Carriers` is the `AnalyzerClient` of all of them; it looks at what an analyzer is `carried_by`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from penstock.services.distributor.carrier import AnalyzerClient, PacketFailure
from penstock.services.distributor.carriers.file import FileCarrier
from penstock.services.distributor.carriers.http import HttpCarrier
from penstock.services.distributor.carriers.lines import packet_line
from penstock.services.distributor.carriers.otlp import OtlpCarrier
from penstock.services.distributor.carriers.packing import CannotCarry, check_packing
from penstock.services.distributor.carriers.posting import FRAMING, Poster
from penstock.services.distributor.carriers.stdout import StdoutCarrier
from penstock.services.distributor.carriers.tls import context_of
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import AnalyzerConfig, Config

__all__ = ["CannotCarry", "Carriers", "check", "packet_line"]


class Carriers:
    """Carries packets to analyzers of every kind; an async context manager.

    Args:
        config: the settings.
    """

    def __init__(self, config: Config) -> None:
        self._poster = Poster(config)
        self._files = FileCarrier(config)
        self._stdout = StdoutCarrier(config)
        self._kinds: dict[str, AnalyzerClient] = {
            "http": HttpCarrier(self._poster),
            "otlp": OtlpCarrier(self._poster),
            "file": self._files,
            "stdout": self._stdout,
        }
        self._open = AsyncExitStack()

    async def __aenter__(self) -> "Carriers":
        await self._open.enter_async_context(self._poster)
        self._open.push_async_callback(self._files.aclose)
        self._open.push_async_callback(self._stdout.aclose)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def deliver(
        self, analyzer: AnalyzerConfig, packets: Sequence[Stored]
    ) -> Mapping[str, PacketFailure]:
        """See `AnalyzerClient`."""
        return await self._kinds[analyzer.carried_by].deliver(analyzer, packets)

    async def probe(self, analyzer: AnalyzerConfig) -> None:
        """See `AnalyzerClient`."""
        await self._kinds[analyzer.carried_by].probe(analyzer)

    async def forget(self, analyzer: AnalyzerConfig) -> None:
        """See `AnalyzerClient`."""
        await self._kinds[analyzer.carried_by].forget(analyzer)


def check(analyzer: AnalyzerConfig) -> None:
    """Whether packets can be carried to an analyzer from here, as far as its settings tell.

    Raises:
        CannotCarry: they cannot, in words for who wrote the settings.
    """
    if analyzer.carried_by not in ("http", "otlp"):
        return
    try:
        check_packing(analyzer.compression)
    except CannotCarry as error:
        raise CannotCarry(f"analyzer {analyzer.id}: {error}") from None
    check_headers(analyzer)
    if analyzer.ca_file or analyzer.cert_file:
        context_of(analyzer)


def check_headers(analyzer: AnalyzerConfig) -> None:
    for name, value in analyzer.headers.items():
        if name.lower() in FRAMING:
            raise CannotCarry(f"headers of analyzer {analyzer.id} must not set {name}")
        if not is_token(name):
            raise CannotCarry(f"headers of analyzer {analyzer.id} must have names of HTTP, got {name!r}")
        if any(sign in value for sign in "\r\n\0"):
            raise CannotCarry(f"header {name} of analyzer {analyzer.id} must be one line")


def is_token(name: str) -> bool:
    """Whether `name` is a token (RFC 9110, 5.6.2)."""
    return bool(name) and name.isascii() and all(sign.isalnum() or sign in "!#$%&'*+-.^_`|~" for sign in name)
