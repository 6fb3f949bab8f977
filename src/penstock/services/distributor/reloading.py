"""Settings that change while the service runs: what differs, and what cannot."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from penstock.errors import InvalidValue, PenstockError
from penstock.services.distributor.config import AnalyzerConfig, Config

__all__ = ["CannotChange", "Difference", "Overlay", "differences", "require_changeable"]

log = logging.getLogger(__name__)

FIXED = (
    "host", "port", "data_dir", "durability", "spool", "spool_replicas", "spool_hold", "redis_url", "node",
    "simulation", "tls", "syslog_tcp", "syslog_udp", "forward", "forward_shared_key",
    "tail", "max_body_bytes", "max_receiving_bytes", "client_rate_limit", "client_burst", "trusted_proxies",
    "segment_bytes", "keep_bytes", "max_search_bytes", "dedupe_window", "dedupe_ids", "probes_to_fall",
    "errors_to_fall", "probes_to_rise",
)  # fmt: skip
"""Settings that are read once, at the start."""
SECRET = frozenset({"forward_shared_key", "api_keys", "headers"})
MASKED = "***"


class CannotChange(PenstockError, ValueError):
    """Settings that only a restart changes."""


class Difference(NamedTuple):
    """One setting before and after, as JSON can carry it; None where there is none."""

    name: str
    """Such as `linger`, or `analyzers.a1.weight`."""
    before: Any
    after: Any


def require_changeable(before: Config, after: Config) -> None:
    """Refuses what cannot change while the service runs.

    Raises:
        CannotChange: it names every such setting.
    """
    changed = [name for name in FIXED if getattr(before, name) != getattr(after, name)]
    if changed:
        raise CannotChange(f"{', '.join(changed)} cannot change while the service runs; restart it")


def differences(before: Config, after: Config) -> list[Difference]:
    """Every setting that is not the same, analyzers and groups one by one; secrets are masked."""
    found = []
    for name in Config.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old == new:
            continue
        if name in ("analyzers", "groups"):
            found += of_members(name, old, new)
        else:
            found.append(Difference(name, shown(name, old), shown(name, new)))
    return found


def of_members(name: str, before: Sequence[Any], after: Sequence[Any]) -> list[Difference]:
    """The differences of what has ids; of what there is before and after, field by field."""
    old, new = {one.id: one for one in before}, {one.id: one for one in after}
    found = []
    for id_ in [*old, *(id_ for id_ in new if id_ not in old)]:
        place = f"{name}.{id_}"
        if id_ not in old or id_ not in new:
            found.append(Difference(place, shown_member(old.get(id_)), shown_member(new.get(id_))))
            continue
        for field in old[id_].__struct_fields__:
            one, other = getattr(old[id_], field), getattr(new[id_], field)
            if one != other:
                found.append(Difference(f"{place}.{field}", shown(field, one), shown(field, other)))
    if not found:
        found.append(Difference(f"order of {name}", list(old), list(new)))
    return found


def shown_member(one: Any) -> Any:
    """An analyzer or a group, without its secrets."""
    if one is None:
        return None
    return {field: shown(field, value) for field, value in msgspec.to_builtins(one).items()}


def shown(field: str, value: Any) -> Any:
    """A value as JSON can carry it, for everybody to see."""
    if field in SECRET and value:
        return MASKED
    if field in ("url", "health_url"):
        return AnalyzerConfig("shown", value).public_url if value else value
    return msgspec.to_builtins(value)


class Overlay(msgspec.Struct, frozen=True):
    """Analyzers that were changed at run time, and those of the settings that they took the place of."""

    base: tuple[AnalyzerConfig, ...]
    now: tuple[AnalyzerConfig, ...]

    @classmethod
    def remembered(cls, note: Any, config: Config) -> "Overlay | None":
        """What was remembered over a restart, if nothing speaks against it.

        None when nothing was, nobody can read it, or the settings have changed since: their analyzers, or so
        much that the others do not go with them.
        """
        if note is None:
            return None
        try:
            overlay = msgspec.convert(note, cls)
            overlay.over(config)
        except ValueError as error:
            log.error("the analyzers that were changed at run time are forgotten: %s", error)
            return None
        return overlay if overlay.base == config.analyzers else None

    def over(self, config: Config) -> Config:
        """The settings with these analyzers; as they are when their analyzers are others than before.

        Raises:
            ValueError: those of now do not go with the other settings.
        """
        if config.analyzers != self.base:
            return config
        try:
            return msgspec.structs.replace(config, analyzers=self.now)
        except ValueError as error:
            raise InvalidValue(f"{error}, as analyzers were changed at run time") from None
