"""How to ping."""

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Literal

from penstock.errors import InvalidValue
from penstock.services.pinger.assertions import Assertion, parse_assertion
from penstock.services.request_settings import RequestSettings

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["CERTIFICATE_WARNING", "LONGEST_RUN", "Settings", "TlsSettings"]

CERTIFICATE_WARNING = parse_assertion("cert>14d", "warn")
"""Judges every https answer, unless an assertion on the certificate stands in its place."""

LONGEST_RUN = 31_536_000
"""Seconds of the longest duration and interval: a year."""

COLD_GAPS_NS = {"aiohttp": 1_000_000}
COLD_GAP_NS = 250_000
"""What making a connection costs this process, and more: connections made closer together delay each other,
and the delay would be in their figures."""


def why(error: OSError) -> str:
    """The reason of a file that cannot be used; OpenSSL's is `[SSL] PEM lib (_ssl.c:3905)`."""
    words = str(error.strerror or error)
    return re.sub(r"^\[[^]]*\] | \(_ssl\.c.*\)$", "", words).lower()


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How servers are believed, and how we show who we are.

    Attributes:
        ca: path of a file of trusted certificates, PEM; None for those of the system.
        cert: path of our certificate, PEM; None for none.
        key: path of its key; None where `cert` holds it too.
        insecure: whether any certificate is believed.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    insecure: bool = False

    def context(self) -> "SSLContext | None":
        """What engines take; None where nothing is special, then each makes its own when it is first needed.

        Raises:
            ValueError: a file cannot be read, or does not hold what it should.
        """
        if self == TlsSettings():
            return None
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise InvalidValue(f"ca must be a PEM file, got {self.ca!r}: {why(error)}") from None
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.key, password="")  # which keeps OpenSSL from asking
            except OSError as error:
                raise InvalidValue(
                    "cert and key must be a PEM certificate and its key without a password, "
                    f"got {self.cert!r} and {self.key!r}: {why(error)}"
                ) from None
        return context


@dataclass(frozen=True, slots=True)
class Settings(RequestSettings):
    """How to ping: see RequestSettings; another attempt follows no answer, 429 and 5xx.

    Attributes:
        engine: see open_engine of penstock.probing.
        keep_alive: whether connections are kept for the next request of their host. Else each request makes
            its own, and so all rows of a host mean the same.
        method: of requests, in capitals.
        headers: of requests, names and values.
        body: of requests.
        follow: whether redirects are followed, up to 10.
        max_body: bytes of a body that are read, >= 0; a longer one is left there and counts as answered.
        count: pings of each target, >= 1; None for one, or for no end where there is a duration or interval.
        duration: seconds after which no ping is started, > 0; None for no such end.
        rate: pings to start each second, over all targets, > 0; None to start the next when one has ended.
        interval: seconds from one ping of a target to its next, > 0; None for no such schedule.
        gap: seconds between two starts at least, >= 0; None for 1/rate, or what a new connection costs.
        per_host: pings of one host, a quota such as `10/s`; None for no limit.
        retry_budget: retries for each ping of a host, see RetryBudget.
        assertions: on each answer, and on the run.
        all_ips: whether every address of a name is pinged, each with its own row.
        family: 4 or 6 for IPv4 or IPv6 alone, 0 for both.
        source: IP address to connect from, None for the system's choice.
        proxy: URL of an HTTP proxy, None for none.
        tls: how to speak TLS.
    """

    timeout: float = 1.2
    engine: str = "auto"
    keep_alive: bool = False
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    follow: bool = True
    max_body: int = 1 << 20
    count: int | None = None
    duration: float | None = None
    rate: float | None = None
    interval: float | None = None
    gap: float | None = None
    per_host: str | None = None
    retry_budget: float = 0.2
    assertions: tuple[Assertion, ...] = ()
    all_ips: bool = False
    family: Literal[0, 4, 6] = 0
    source: str | None = None
    proxy: str | None = None
    tls: TlsSettings = field(default=TlsSettings())

    def __post_init__(self) -> None:
        RequestSettings.__post_init__(self)
        if self.count is not None and self.count < 1:
            raise InvalidValue(f"count must be >= 1, got {self.count!r}")
        for name in ("duration", "interval"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds <= LONGEST_RUN:
                raise InvalidValue(f"{name} must be > 0 and <= {LONGEST_RUN} seconds, got {seconds!r}")
        if self.rate is not None and not 1e-6 <= self.rate <= 1e6:
            raise InvalidValue(f"rate must be >= 0.000001 and <= 1000000 a second, got {self.rate!r}")
        if self.gap is not None and not (self.gap >= 0 and isfinite(self.gap)):
            raise InvalidValue(f"gap must be >= 0 seconds and finite, got {self.gap!r}")
        if self.rate is not None and self.interval is not None:
            raise InvalidValue("rate and interval must not both be given: each says when a ping starts")
        if self.tls.key is not None and self.tls.cert is None:
            raise InvalidValue(f"key must come with its cert, got {self.tls.key!r} alone")
        if self.max_body < 0:
            raise InvalidValue(f"max_body must be >= 0 bytes, got {self.max_body!r}")
        if self.all_ips and (self.keep_alive or self.proxy is not None):
            raise InvalidValue(
                "all_ips must be without keep_alive and proxy: its connections are to an address"
            )

    @property
    def repeats(self) -> bool:
        """Whether a target may be pinged more than once."""
        return self.interval is not None or self.duration is not None or (self.count or 1) > 1

    def gap_ns(self, engine: str) -> int:
        """Nanoseconds between two starts at least, with the engine of that name."""
        if self.gap is not None:
            return round(self.gap * 1e9)
        if self.rate is not None or self.keep_alive:
            return 0  # the schedule of the rate is the pace; a kept connection costs nothing
        return COLD_GAPS_NS.get(engine, COLD_GAP_NS)
