"""Settings of the watch: a TOML file, then the environment, then flags; the last one wins.

Every field of `Config` is a key of the TOML file and, as `PENSTOCK_PING_<FIELD>`, a variable of the
environment (`webhooks` as JSON). The targets stand in a file of their own, see target_file.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock.errors import InvalidValue
from penstock.services.http_url import is_http_url

__all__ = ["Config", "load_config"]

ENVIRONMENT_PREFIX = "PENSTOCK_PING_"
JSON_FIELDS = ("webhooks",)  # in the environment
FLAGS = {"webhooks": "--webhook"}  # those that are not called as their field

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


def load_config(
    file: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """The settings out of `file`, `environment` (os.environ when None) and `flags`, later ones winning.

    Raises:
        ValueError: a setting is unknown, of the wrong type or out of range; the message names its place.
        OSError: the file cannot be read.
    """
    settings: dict[str, Any] = {}
    if file is not None:
        settings = from_toml(file)
    settings |= from_environment(os.environ if environment is None else environment)
    for name, value in (flags or {}).items():
        if value is not None:
            check(name, value, FLAGS.get(name) or f"--{name.replace('_', '-')}")
            settings[name] = value
    return converted(settings, "settings")


def from_toml(file: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = msgspec.toml.decode(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"{file}: no valid TOML: {error}") from None
    for name, value in settings.items():
        check(name, value, f"{file}: {name}")
    return settings


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings among the environment's variables; an unknown one with our prefix is an error."""
    settings: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        field = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        settings[field] = from_text(text, variable) if field in JSON_FIELDS else text
        check(field, settings[field], variable)
    return settings


def from_text(text: str, variable: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidValue(f"{variable} must be JSON: {error}") from None


def check(name: str, value: object, origin: str) -> None:
    """Refuses a setting that does not exist or has a value that is not allowed, by where it stands."""
    if name not in Config.__struct_fields__:
        raise InvalidValue(
            f"{origin} is no setting; there are: {', '.join(sorted(Config.__struct_fields__))}"
        )
    converted({name: value}, origin)


def converted(settings: Mapping[str, Any], origin: str) -> Config:
    try:
        return msgspec.convert(settings, Config, strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        raise InvalidValue(f"{origin}: {error}") from None
