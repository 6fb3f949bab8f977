"""Every address of a name, each pinged for itself."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

from penstock.fanout import bounded
from penstock.probing.request import InvalidUrl, Request
from penstock.probing.resolver import Address, NameNotResolved, SystemResolver, literal
from penstock.services.pinger.model import Target
from penstock.services.pinger.probe import PINNED
from penstock.services.pinger.settings import Settings

__all__ = ["PinnedResolver", "every_address"]

LOOKUPS = 32


class PinnedResolver:
    """Resolves names, but for the task of a target with an address: there, its host has that one.

    Args:
        resolver: is asked otherwise.
    """

    def __init__(self, resolver: SystemResolver) -> None:
        self._resolver = resolver

    async def resolve(self, host: str, port: int, family: int = 0) -> Sequence[Address]:
        """See Resolver of penstock.probing."""
        pinned_host, pinned = PINNED.get()
        if pinned and host == pinned_host:  # a redirect may lead to another host
            address = literal(pinned, port)
            if address is None:
                raise NameNotResolved(f"name not resolved: {pinned} is no IP address")
            return [address]
        return await self._resolver.resolve(host, port, family)

    def close(self) -> None:
        """Asks no more."""
        self._resolver.close()


async def every_address(
    targets: Iterable[Target] | AsyncIterable[Target], resolver: PinnedResolver, settings: Settings
) -> AsyncGenerator[Target, None]:
    """A target for each address of each target's name; the target as it is where there is none.

    Args:
        targets: as they were given.
        resolver: is asked for the names, some at once.
        settings: its family.
    """

    async def expanded(target: Target) -> list[Target]:
        try:
            request = Request(target.url)
            addresses = await resolver.resolve(request.host, request.port, settings.family)
        except (InvalidUrl, NameNotResolved):  # its row will say why
            return [target]
        return [replace(target, address=address.ip) for address in addresses]

    async with aclosing(bounded(expanded, targets, limit=LOOKUPS, ordered=True)) as all_addresses:
        async for addresses in all_addresses:
            for target in addresses:
                yield target
