"""Settings of the watch: a TOML file, then the environment, then flags; the last one wins.

Every field of `Config` is a key of the TOML file and, as `PENSTOCK_PING_<FIELD>`, a variable of the
environment (`webhooks` as JSON). The targets stand in a file of their own, see target_file.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from penstock.services.http_url import is_http_url
from penstock.services.settings import Settings

__all__ = ["Config", "load_config"]

Count = Annotated[int, Meta(ge=1, le=10**9)]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]  # a year
Days = Annotated[float, Meta(gt=0, le=3650)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the watch can be told; only `targets` must be."""

    targets: str = ""
    """Path of the TOML file of the targets."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8081
    """0 takes a free one; the start-up line tells which."""

    engine: Literal["auto", "aiohttp", "protocol", "socket"] = "auto"
    """What makes the requests."""
    interval: Annotated[float, Meta(ge=0.01, le=31_536_000)] = 30.0
    """Seconds from one ping of a target to its next, where the target does not say."""
    timeout: Seconds = 5.0
    """Seconds for one attempt, where the target does not say."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 0
    """Further attempts within one ping; one that was good on a later attempt counts as up, and is told."""
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 64
    """Pings in progress at once."""

    history: str = "penstock-ping.sqlite"
    """Path of the history; made when it is not there."""
    keep_days: Days = 30.0
    """Days for which a ping is kept."""
    max_pings: Count = 50_000_000
    """Most pings kept (about 80 bytes each); beyond it the oldest are dropped."""

    failures_to_fall: Annotated[int, Meta(ge=1, le=1000)] = 2
    """Failed pings in a row that mark a target down."""
    successes_to_rise: Annotated[int, Meta(ge=1, le=1000)] = 2
    """Good pings in a row that mark it up again."""
    webhooks: tuple[str, ...] = ()
    """URLs that every change is posted to, up to 16."""
    webhook_secret: str = ""
    """Signs what is posted, in X-Penstock-Signature; empty signs nothing."""

    probe: Literal["off", "targets", "any"] = "targets"
    """What `/probe` may ping: nothing, the URLs of the targets, or whatever a client asks for. The last lets
    every client send requests from here: for a port that only Prometheus reaches."""
    max_probes: Annotated[int, Meta(ge=1, le=10_000)] = 64
    """Pings for `/probe` in progress at once; more are answered 503."""

    def __post_init__(self) -> None:
        if len(self.webhooks) > 16:
            raise ValueError(f"webhooks must be at most 16, got {len(self.webhooks)}")
        for url in self.webhooks:
            if not is_http_url(url):
                raise ValueError(f"webhooks must be http:// or https:// URLs, got {url!r}")


load_config = Settings(Config, "PENSTOCK_PING_", ("webhooks",), {"webhooks": "--webhook"}).load
