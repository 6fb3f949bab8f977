"""Settings of the logs distributor: a TOML file, then the environment, then flags; the last one wins.

Every field of `Config` is a key of the TOML file and, as `PENSTOCK_DISTRIBUTOR_<FIELD>`, a variable of
the environment (those that are no number and no word, such as `analyzers`, as JSON).
"""

from hashlib import sha256
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta

from penstock.balancing import WeightedRoundRobin
from penstock.ratelimit.middleware import ClientIP
from penstock.services.distributor.jetstream.address import parse_address
from penstock.services.http_url import is_http_url
from penstock.services.settings import Settings

__all__ = [
    "DEFAULT_GROUP",
    "AnalyzerConfig",
    "ApiKey",
    "Config",
    "GroupConfig",
    "Match",
    "Simulation",
    "TailConfig",
    "TlsConfig",
    "load_config",
]

Count = Annotated[int, Meta(ge=1, le=10**12)]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]  # a year
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+\Z")]
Patterns = Annotated[tuple[str, ...], Meta(max_length=64)]
Rate = Annotated[float, Meta(gt=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1)]

DEFAULT_GROUP = "default"
"""The group of analyzers that gets what no other group's rule matches."""


class AnalyzerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One analyzer: where packets are carried to, and its share of the traffic."""

    id: Name
    url: str
    """Where packets go: `http://10.0.0.7:9000/packets`, `file:///var/log/packets.ndjson` or `stdout:`."""
    weight: Annotated[float, Meta(gt=0, le=1e9)] = 1.0
    """Its share, relative to the sum over the analyzers of its group and tier."""
    name: str = ""
    """What people call it; the id when empty."""
    health_url: str = ""
    """Where a GET that answers 2xx means healthy; `/health` on the same host when empty."""
    kind: Literal["", "http", "otlp", "file", "stdout"] = ""
    """What it speaks: packets over HTTP, OTLP/HTTP logs, or a line of JSON a packet to a file or to
    standard output; told by the URL when empty."""
    group: Name = DEFAULT_GROUP
    """The group that it belongs to."""
    tier: Annotated[int, Meta(ge=0, le=9)] = 0
    """Gets packets only while no analyzer of a lower tier of its group is up."""
    compression: Literal["none", "gzip", "zstd"] = "none"
    """How deliveries are packed."""
    headers: dict[str, str] = {}
    """Sent with every delivery and probe, such as `Authorization`."""
    rate_limit: Rate | None = None
    """Packets a second that it is sent at the most. None: no limit."""
    batch_packets: Count | None = None
    """Most packets in one delivery to it. None: as for all."""
    batch_bytes: Count | None = None
    """Size at which a delivery to it is closed. None: as for all."""
    linger: Annotated[float, Meta(ge=0, le=60)] | None = None
    """Seconds that a delivery to it waits for more packets. None: as for all."""
    concurrency: Annotated[int, Meta(ge=1, le=64)] | None = None
    """Deliveries to it at a time, at the most. None: as for all."""
    timeout: Seconds | None = None
    """Seconds after which a delivery to it has failed. None: as for all."""
    ca_file: str = ""
    """PEM file of the authorities that may sign its certificate; the system's when empty."""
    cert_file: str = ""
    """PEM file of the certificate that we show it, with its chain (mutual TLS)."""
    key_file: str = ""
    """PEM file of that certificate's key; in `cert_file` when empty."""

    def __post_init__(self) -> None:
        if not self.url:
            raise ValueError(f"url of analyzer {self.id} must not be empty")
        if self.carried_by in ("http", "otlp"):
            for field in ("url", "health_url"):
                self._must_be_http(field, getattr(self, field))
        elif self.carried_by == "file":
            if not self.path.startswith("/"):
                raise ValueError(
                    f"url of analyzer {self.id} must be file:///ABSOLUTE/PATH for a file, got {self.url!r}"
                )
        elif self.url != "stdout:":
            raise ValueError(
                f"url of analyzer {self.id} must be stdout: for standard output, got {self.url!r}"
            )
        if self.key_file and not self.cert_file:
            raise ValueError(f"key_file of analyzer {self.id} needs cert_file")

    def _must_be_http(self, field: str, value: str) -> None:
        if value and not is_http_url(value):
            others = "" if self.kind or field != "url" else "; file:///PATH and stdout: are possible, too"
            raise ValueError(
                f"{field} of analyzer {self.id} must be an http:// or https:// URL, got {value!r}{others}"
            )

    @property
    def carried_by(self) -> Literal["http", "otlp", "file", "stdout"]:
        """Its kind, told by its URL when it was not given."""
        if self.kind:
            return self.kind
        if self.url.startswith("file:"):
            return "file"
        return "stdout" if self.url.startswith("stdout:") else "http"

    @property
    def path(self) -> str:
        """The file of an analyzer that is one."""
        parts = urlsplit(self.url)
        return unquote(parts.path) if parts.scheme == "file" and parts.netloc in ("", "localhost") else ""

    @property
    def probe_url(self) -> str:
        """Where its health is asked for; empty when nobody can be asked."""
        if self.carried_by not in ("http", "otlp"):
            return ""
        return self.health_url or urlsplit(self.url)._replace(path="/health", query="", fragment="").geturl()

    @property
    def public_url(self) -> str:
        """The URL without user and password, for everybody to see."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rule about messages: every field that is given must hold. `*` and `?` in a pattern match any text."""

    level: Patterns = ()
    """Levels, one of which it must be; case does not matter."""
    min_level: str = ""
    """The lowest it may be: TRACE, DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL, ALERT or EMERGENCY."""
    source: Patterns = ()
    """Patterns, one of which its source must match."""
    metadata: dict[str, Patterns] = {}
    """Patterns by name of a member of its metadata, one of which that member must match."""


class GroupConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A group of analyzers, and which packets are theirs: the first group in order whose rule matches."""

    id: Name
    match: Match = Match()
    """A packet is of this group when any of its messages matches; every message matches an empty rule."""
    balance: Literal["weighted", "sticky"] = "weighted"
    """By exact shares, or all packets of one key to one analyzer while it is up and not overloaded."""
    sticky_key: str = "source"
    """The key: `source`, `level` or `metadata.NAME` of a packet's first message."""
    sticky_overload: Annotated[float, Meta(gt=1, le=100)] = 1.25
    """How many times its share, and 1,000 packets at least, may wait for one before keys go to the next."""


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that clients show, as `Authorization: Bearer KEY` or in their protocol's own place."""

    name: Name
    """Whose it is; what logs and figures call it."""
    key: Annotated[str, Meta(min_length=16, max_length=512, pattern=r"^[!-~]+\Z")] = ""
    """The key itself."""
    sha256: Annotated[str, Meta(pattern=r"^([0-9a-fA-F]{64})?\Z")] = ""
    """Or the SHA-256 of it in hexadecimal, so that the file holds no secret."""
    rate_limit: Rate | None = None
    """Packets a second that are taken with it, with bursts of one second; more are answered 429."""
    may_send: bool = True
    """Whether it opens the inputs: logs may be sent with it, by any protocol over HTTP."""
    may_read: bool = False
    """Whether it opens what tells of logs, whoever sent them: packets, the live tail, dead letters; and
    figures."""
    may_operate: bool = False
    """Whether it opens what changes the service, and all that may be read: analyzers, dead letters,
    configuration."""

    def __post_init__(self) -> None:
        if bool(self.key) == bool(self.sha256):
            raise ValueError(f"API key {self.name} must have either key or sha256")
        if not (self.may_send or self.may_read or self.may_operate):
            raise ValueError(f"API key {self.name} must have may_send, may_read or may_operate")

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the key."""
        return bytes.fromhex(self.sha256) if self.sha256 else sha256(self.key.encode()).digest()


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service shows its clients, and wants of them."""

    cert_file: str
    """PEM file of the certificate, with its chain."""
    key_file: str = ""
    """PEM file of its key; in `cert_file` when empty."""
    client_ca_file: str = ""
    """PEM file of the authorities of clients' certificates; then every client must show one (mutual TLS)."""


class TailConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files whose lines become messages, as they grow, are rotated and come anew."""

    path: Annotated[str, Meta(min_length=1)]
    """A path, or a pattern such as `/var/log/app/*.log`."""
    source: str = ""
    """The source of the messages; the file's path when empty."""
    level: Annotated[str, Meta(min_length=1, max_length=32)] = "INFO"
    """Their level."""
    from_end: bool = False
    """Whether files that are there at the very first start are read from their end on."""
    continued_by: str = ""
    """A regular expression of lines that belong to the message before them, such as `^\\s` for traces."""


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
    spool: str = ""
    """A server such as nats://10.0.0.5:4222 or nats://10.0.0.5:4222/PREFIX: packets are kept in JetStream,
    which any number of distributors share. Empty: in `data_dir`."""
    spool_replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    """Servers of a NATS cluster that keep each packet."""
    spool_hold: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    """Seconds after which packets that a distributor had taken and says nothing of go to another one."""
    node: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*\Z")] = ""
    """What this distributor is called among those of one spool. Empty: by its machine and `data_dir`."""
    redis_url: str = ""
    """A server such as redis://10.0.0.6:6379, by which limits of packets a second hold for all distributors
    of a spool together. Empty: for each of them."""

    analyzers: tuple[AnalyzerConfig, ...] = ()
    """Up to 64; none means four simulated ones with 40, 30, 20 and 10 % of the traffic."""
    simulation: Simulation = Simulation()

    groups: Annotated[tuple[GroupConfig, ...], Meta(max_length=64)] = ()
    """Groups of analyzers beside the default one, which gets what no rule here matches."""

    tls: TlsConfig | None = None
    """Serves HTTPS, and TLS for syslog and forward over TCP. None: plain."""
    api_keys: Annotated[tuple[ApiKey, ...], Meta(max_length=1000)] = ()
    """Keys, of which clients must show one that may do what they ask for, but for `/livez`, `/readyz` and
    `/metrics`. Empty: all may do everything."""
    syslog_tcp: str = ""
    """HOST:PORT for syslog over TCP, by RFC 5424 or 3164, octet-counted or a line each. Empty: none."""
    syslog_udp: str = ""
    """HOST:PORT for syslog over UDP. Empty: none."""
    forward: str = ""
    """HOST:PORT for the forward protocol of Fluentd and Fluent Bit. Empty: none."""
    forward_shared_key: str = ""
    """What forward clients must know; their handshake is asked for when it is not empty."""
    tail: Annotated[tuple[TailConfig, ...], Meta(max_length=64)] = ()
    """Files to follow."""

    max_body_bytes: Count = 16 * 1024 * 1024
    """Largest request, after decompression."""
    max_receiving_bytes: Count = 32 * 1024 * 1024
    """Most bytes of the requests of all clients that are held at a time, as far as they have come and until
    they are answered; more are refused with 503. Syslog over TCP and forward each have as much, and are not
    read from beyond it."""
    body_timeout: Seconds = 60.0
    """Seconds within which the body of a request must have come; after that it is answered 408. A message of
    the forward protocol has as long, and ends its connection."""
    max_packets: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    """Most packets in a request."""
    max_messages: Count = 1000
    """Most messages in a packet."""
    max_message_bytes: Count = 10_000
    """Longest text of a message, in UTF-8."""
    max_packet_bytes: Count = 1024 * 1024
    """Largest packet as compact JSON, metadata included."""
    max_records: Count = 100_000
    """Most records in a request by another input than the REST API."""
    max_record_bytes: Count = 256 * 1024
    """Longest text of a record that comes by another input than the REST API, in UTF-8."""
    accept_timeout: Seconds = 1.0
    """The longest that a client waits for its packets to be stored, in seconds."""

    rate_limit: Rate | None = None
    """Packets a second that are taken, with bursts of one second; more are answered 429. None: no limit."""

    client_rate_limit: Annotated[float, Meta(ge=0.001, le=1e6)] | None = None
    """Requests a second that each client's IP address may send (IPv6: each /64), except for `/livez`,
    `/readyz` and `/metrics`; more are answered 429. None: no limit."""
    client_burst: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """Requests that a client may send at once; None: those of one second, at least one."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of the proxies whose X-Forwarded-For tells the client, such as `10.0.0.0/8`; they append to it
    or replace it. Nobody's is believed unless told."""

    max_pending: Count = 10_000_000
    """Most packets accepted and not yet delivered; more are refused with 503."""
    max_pending_bytes: Count = 2 * 1024**3
    """Most bytes of such packets, which lie on disk."""
    low_water: Annotated[float, Meta(gt=0, le=1)] = 0.95
    """After either bound was reached, the share of it below which packets are taken again."""
    max_memory_bytes: Count = 32 * 1024 * 1024
    """Most bytes of such packets that are held in memory as well."""
    segment_bytes: Annotated[int, Meta(ge=65_536, le=2**31)] = 64 * 1024 * 1024
    """Size of a file of the journal; one is removed when all that it holds was delivered or given up."""
    keep_bytes: Annotated[int, Meta(ge=0, le=10**12)] = 64 * 1024 * 1024
    """Bytes of the journal that are kept after that, to tell what became of a packet."""
    max_dead_letters: Count = 100_000
    """Most dead letters kept; beyond it the oldest are purged, and counted."""
    max_dead_letter_bytes: Count = 1024**3
    """Most bytes of dead letters kept, in the same way."""
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
    concurrency: Annotated[int, Meta(ge=1, le=64)] = 4
    """Deliveries to one analyzer at a time, at the most."""
    adaptive_concurrency: bool = True
    """Whether fewer are made while an analyzer answers more slowly the more it gets."""
    analyzer_timeout: Seconds = 10.0
    """Seconds after which a delivery without an answer has failed."""
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 4
    """Attempts to deliver a packet before it becomes a dead letter."""
    retry_first: Seconds = 2.0
    """Seconds between the first attempt and the second; each further wait is twice as long."""
    retry_limit: Seconds = 60.0
    """The longest wait between two attempts, in seconds; a longer Retry-After of an analyzer is obeyed."""
    retry_jitter: Share = 0.0
    """Which part of each wait is random: 0.5 makes it half to all of what it would be."""
    retry_statuses: tuple[Annotated[int, Meta(ge=400, le=499)], ...] = (408, 425, 429)
    """Answers of 4xx after which a packet is tried again; after others it is a dead letter at once."""

    health_interval: Seconds = 10.0
    """Seconds between two probes of an analyzer."""
    probes_to_fall: Count = 2
    """Failed probes in a row that mark an analyzer down."""
    errors_to_fall: Count = 5
    """Failed deliveries in a row that mark an analyzer down."""
    probes_to_rise: Count = 1
    """Answered probes in a row after which one that is down gets a first delivery, alone, as a trial."""
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
        if self.max_receiving_bytes < self.max_body_bytes:
            raise ValueError(
                f"max_receiving_bytes must be at least max_body_bytes ({self.max_body_bytes}),"
                f" got {self.max_receiving_bytes}"
            )
        self._check_groups()
        if self.spool:
            parse_address(self.spool)
        for field in ("syslog_tcp", "syslog_udp", "forward"):
            listen_address(getattr(self, field), field)
        keys = [key.name for key in self.api_keys]
        if twice := sorted({name for name in keys if keys.count(name) > 1}):
            raise ValueError(f"names of api_keys must differ, got {', '.join(twice)} more than once")
        digests = {key.digest: key.name for key in self.api_keys}
        for key in self.api_keys:
            if (other := digests[key.digest]) != key.name:
                raise ValueError(f"api_keys must differ, got the same key for {key.name} and {other}")

    @property
    def accepted_when(self) -> Literal["fsync", "os", "memory", "jetstream"]:
        """What an accepted packet withstands: its durability, or that of JetStream."""
        return "jetstream" if self.spool else self.durability

    def _check_groups(self) -> None:
        groups = [group.id for group in self.groups]
        if twice := sorted({name for name in groups if groups.count(name) > 1}):
            raise ValueError(f"group ids must differ, got {', '.join(twice)} more than once")
        if not self.analyzers:
            if groups:
                raise ValueError("groups need analyzers: the simulated ones are all of the default group")
            return
        known = {*groups, DEFAULT_GROUP}
        for analyzer in self.analyzers:
            if analyzer.group not in known:
                raise ValueError(
                    f"group of analyzer {analyzer.id} must be one of {', '.join(sorted(known))},"
                    f" got {analyzer.group}"
                )
        for group in [*groups, DEFAULT_GROUP]:
            weights = {analyzer.id: analyzer.weight for analyzer in self.analyzers if analyzer.group == group}
            if not weights:
                raise ValueError(f"group {group} must have at least one analyzer")
            WeightedRoundRobin(weights)


def listen_address(text: str, field: str) -> tuple[str, int] | None:
    """HOST:PORT as what a socket binds; None when it is empty.

    Raises:
        ValueError: it is neither.
    """
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"{field} must be HOST:PORT, such as 127.0.0.1:5514, got {text[:100]!r}")
    return host, int(port)


AS_JSON = (
    "analyzers", "api_keys", "groups", "retry_statuses", "simulation", "tail", "tls", "trusted_proxies",
)  # fmt: skip

load_config = Settings(Config, "PENSTOCK_DISTRIBUTOR_", AS_JSON).load
