"""Settings of the logs distributor: a TOML file, then the environment, then flags; the last one wins.

Every field of `Config` is a key of the TOML file and, as `PENSTOCK_DISTRIBUTOR_<FIELD>`, a variable of
the environment (`analyzers`, `simulation` and `trusted_proxies` as JSON).
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from penstock.balancing import WeightedRoundRobin
from penstock.ratelimit.middleware import ClientIP
from penstock.services.http_url import is_http_url
from penstock.services.settings import Settings

__all__ = ["AnalyzerConfig", "Config", "Simulation", "load_config"]

Count = Annotated[int, Meta(ge=1, le=10**12)]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]  # a year
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+\Z")]


class AnalyzerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One analyzer: an HTTP endpoint and its share of the traffic."""

    id: Name
    url: str
    """Where packets are posted, such as http://10.0.0.7:9000/packets."""
    weight: Annotated[float, Meta(gt=0, le=1e9)] = 1.0
    """Its share, relative to the sum over all analyzers."""
    name: str = ""
    """What people call it; the id when empty."""
    health_url: str = ""
    """Where a GET that answers 2xx means healthy; `/health` on the same host when empty."""

    def __post_init__(self) -> None:
        if not self.url:
            raise ValueError(f"url of analyzer {self.id} must not be empty")
        for field in ("url", "health_url"):
            value = getattr(self, field)
            if value and not is_http_url(value):
                raise ValueError(
                    f"{field} of analyzer {self.id} must be an http:// or https:// URL, got {value!r}"
                )

    @property
    def probe_url(self) -> str:
        """Where its health is asked for."""
        return self.health_url or urlsplit(self.url)._replace(path="/health", query="", fragment="").geturl()

    @property
    def public_url(self) -> str:
        """The URL without user and password, for everybody to see."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the built-in analyzers behave."""

    processing_time: Annotated[float, Meta(ge=0, le=60)] = 0.1
    """Seconds that a delivery of packets takes."""
    failure_rate: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Probability that a packet fails."""
    seed: int | None = None
    """Makes the failures the same in every run."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the distributor can be told; the defaults are a working service with simulated analyzers."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """0 takes a free one; the start-up line tells which."""
    data_dir: str = "penstock-data"
    """Folder of the spool; made when it is not there."""
    durability: Literal["fsync", "os", "memory"] = "fsync"
    """When a packet counts as accepted: on the disk, in the operating system's hands (survives a kill
    of the process, not a power cut), or in memory only."""

    analyzers: tuple[AnalyzerConfig, ...] = ()
    """Up to 64; none means four simulated ones with 40, 30, 20 and 10 % of the traffic."""
    simulation: Simulation = Simulation()

    max_body_bytes: Count = 16 * 1024 * 1024
    """Largest request, after decompression."""
    max_packets: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    """Most packets in a request."""
    max_messages: Count = 1000
    """Most messages in a packet."""
    max_message_bytes: Count = 10_000
    """Longest text of a message, in UTF-8."""
    max_packet_bytes: Count = 1024 * 1024
    """Largest packet as compact JSON, metadata included."""
    accept_timeout: Seconds = 1.0
    """The longest that a client waits for its packets to be stored, in seconds."""

    rate_limit: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    """Packets a second that are taken, with bursts of one second; more are answered 429. None: no limit."""

    client_rate_limit: Annotated[float, Meta(ge=0.001, le=1e6)] | None = None
    """Requests a second that each client's IP address may send (IPv6: each /64), except for `/livez`,
    `/readyz` and `/metrics`; more are answered 429. None: no limit."""
    client_burst: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """Requests that a client may send at once; None: those of one second, at least one."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of the proxies whose X-Forwarded-For tells the client, such as `10.0.0.0/8`; they append to it
    or replace it. Nobody's is believed unless told."""

    max_pending: Count = 100_000
    """Most packets accepted and not yet delivered; more are refused with 503."""
    max_pending_bytes: Count = 256 * 1024 * 1024
    """Most bytes of such packets, which lie on disk."""
    max_memory_bytes: Count = 64 * 1024 * 1024
    """Most bytes of such packets that are held in memory as well."""
    max_dead_letters: Count = 100_000
    """Most dead letters kept; beyond it the oldest are purged, and counted."""
    max_search_bytes: Count = 256 * 1024 * 1024
    """Most memory for searching dead letters, from the first search on; beyond it the oldest are left out."""
    dedupe_window: Seconds = 600.0
    """Seconds for which a packet id that a client chose is known."""
    dedupe_ids: Count = 1_000_000
    """Most such ids known at a time."""

    batch_packets: Count = 500
    """Most packets in one delivery."""
    batch_bytes: Count = 1024 * 1024
    """A delivery is closed when it has reached this size."""
    linger: Annotated[float, Meta(ge=0, le=1)] = 0.02
    """Seconds that a delivery waits for more packets to fill it."""
    concurrency: Annotated[int, Meta(ge=1, le=64)] = 2
    """Deliveries to one analyzer at a time."""
    analyzer_timeout: Seconds = 10.0
    """Seconds after which a delivery without an answer has failed."""
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 4
    """Attempts to deliver a packet before it becomes a dead letter."""
    retry_first: Seconds = 2.0
    """Seconds between the first attempt and the second; each further wait is twice as long."""
    retry_limit: Seconds = 60.0
    """The longest wait between two attempts, in seconds."""

    health_interval: Seconds = 10.0
    """Seconds between two probes of an analyzer."""
    probes_to_fall: Count = 2
    """Failed probes in a row that mark an analyzer down."""
    errors_to_fall: Count = 5
    """Failed deliveries in a row that mark an analyzer down."""
    drain_timeout: Seconds = 10.0
    """Seconds that deliveries under way get to finish on SIGTERM."""

    def __post_init__(self) -> None:
        if len(self.analyzers) > 64:
            raise ValueError(f"analyzers must be at most 64, got {len(self.analyzers)}")
        ids = [analyzer.id for analyzer in self.analyzers]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"analyzer ids must differ, got {', '.join(twice)} more than once")
        ClientIP(self.trusted_proxies)  # raises what is wrong with them
        if self.analyzers:
            WeightedRoundRobin({analyzer.id: analyzer.weight for analyzer in self.analyzers})


load_config = Settings(Config, "PENSTOCK_DISTRIBUTOR_", ("analyzers", "simulation", "trusted_proxies")).load
