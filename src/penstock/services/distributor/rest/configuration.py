"""The configuration in force, and taking up a new one."""

import asyncio
import logging
from collections.abc import Callable, Sequence, Set
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from penstock.errors import PenstockError
from penstock.services.distributor.access import Keyring
from penstock.services.distributor.carriers import check
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.distributor.reloading import Difference
from penstock.services.distributor.rest.analyzers import differences_told
from penstock.services.distributor.rest.answers import answer
from penstock.services.distributor.rest.bodies import wrong_content
from penstock.services.distributor.state import Distributor
from penstock.services.distributor.tls import Certificates
from penstock.services.problem_details import problem

__all__ = ["SETTINGS", "SettingsInForce", "reload_config", "tell_config"]

log = logging.getLogger(__name__)

MASK = "***"


class SettingsInForce:
    """Reads the settings anew and puts them into force, whole or not at all; certificates in any case.

    Args:
        read: reads them from where they came from; None when they came from a program.
        keyring: takes the new API keys.
        certificates: looked at anew; None without TLS.
        watchers: of the live tail, ended when the keys change: nobody goes on watching with one that is gone.
    """

    def __init__(
        self,
        read: Callable[[], Config] | None,
        keyring: Keyring,
        certificates: Certificates | None,
        watchers: Set[asyncio.Task[Any]] = frozenset(),
    ) -> None:
        self._read = read
        self._keyring = keyring
        self._certificates = certificates
        self._watchers = watchers
        self.simulated: tuple[AnalyzerConfig, ...] = ()
        """What stands for the analyzers while the settings name none."""

    @property
    def has_keys(self) -> bool:
        """Whether clients must show an API key."""
        return bool(self._keyring)

    async def reload(self, distributor: Distributor) -> Sequence[Difference]:
        """What has become different.

        Raises:
            PenstockError: the new settings are wrong, or one of them needs a restart; the old ones stay.
            OSError: their file cannot be read.
        """
        if self._certificates is not None:
            self._certificates.reload_or_complain()
        if self._read is None:
            raise NotReadable("the settings came from a program, and cannot be read anew")
        config = self._read()
        if not config.analyzers:
            config = msgspec.structs.replace(config, analyzers=self.simulated)
        for analyzer in config.analyzers:
            check(analyzer)
        differences = await distributor.reload(config)
        if self._keyring.change(config.api_keys):
            for watcher in tuple(self._watchers):
                watcher.cancel()
        log.info(
            "settings were read anew; changed: %s", ", ".join(name for name, _, _ in differences) or "none"
        )
        return differences

    async def reload_or_complain(self, distributor: Distributor) -> None:
        """As `reload`; what is wrong is logged."""
        try:
            await self.reload(distributor)
        except (PenstockError, OSError) as error:
            log.error("%s; the settings from before go on", error)


class NotReadable(PenstockError, LookupError):
    """There is nothing to read settings from."""


SETTINGS = web.AppKey("settings", SettingsInForce)


async def reload_config(request: web.Request) -> web.Response:
    """Reads the settings anew, as SIGHUP does, and tells what has become different."""
    if wrong := wrong_content(
        request
    ):  # there is no body to read, but a page of another site cannot say this
        return wrong
    try:
        differences = await request.app[SETTINGS].reload(request.app[DISTRIBUTOR])
    except (PenstockError, OSError) as error:
        return problem(422, f"{error}; the settings from before go on")
    return answer({"changed": differences_told(differences)})


async def tell_config(request: web.Request) -> web.Response:
    """The settings in force, without what is secret in them."""
    return answer(masked(request.app[DISTRIBUTOR].config))


def masked(config: Config) -> dict[str, Any]:
    """Settings for everybody who may operate to see: keys, passwords and header fields are hidden."""
    told: dict[str, Any] = msgspec.to_builtins(config)
    if config.forward_shared_key:
        told["forward_shared_key"] = MASK
    for field in ("spool", "redis_url"):
        told[field] = without_password(told[field])
    for key in told["api_keys"]:
        key |= {field: MASK for field in ("key", "sha256") if key[field]}
    for analyzer, settings in zip(told["analyzers"], config.analyzers, strict=True):
        analyzer["url"] = settings.public_url
        if settings.headers:
            analyzer["headers"] = dict.fromkeys(settings.headers, MASK)
        if settings.health_url:
            analyzer["health_url"] = without_password(settings.health_url)
    return told


def without_password(url: str) -> str:
    """A URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
