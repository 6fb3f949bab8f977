"""Which addresses a scraper may connect to.

Names are judged by what they resolve to, at the moment of connecting: a name that resolves to a public
address when it is looked at and to 127.0.0.1 when it is used gains nothing.
"""

import ipaddress
from collections.abc import Sequence

from penstock.probing.resolver import Address, AddressRefused, Resolver

__all__ = ["PublicResolver", "is_private_literal", "is_public"]

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
COMPATIBLE = ipaddress.IPv6Network("::/96")  # IPv4-compatible, deprecated, and still routed by some
ISATAP = 0x5EFE
SPECIAL = (
    ipaddress.ip_network("192.0.0.0/24"),  # protocol assignments
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays, deprecated
    ipaddress.ip_network("3fff::/20"),  # documentation
)
"""What older versions of Python take for public."""


def is_public(text: str) -> bool:
    """Whether an IP address belongs to the public internet.

    Private, loopback, link-local (and with it the metadata services of clouds), shared, multicast, reserved
    and unspecified addresses do not, nor do IPv6 addresses that carry such an IPv4 address.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = carried(address)
        if inner is not None:
            return is_public(str(inner))
        if address in NAT64_LOCAL or address.is_site_local:
            return False
    if any(address in network for network in SPECIAL):  # one of the other version never is
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for.

    Mapped, 6to4, Teredo's client, NAT64, compatible, ISATAP.
    """
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    is_isatap = int(address) >> 32 & 0xFCFFFFFF == ISATAP  # two bits tell who assigned it (RFC 5214, 6.1)
    if is_isatap or address in NAT64 or (address in COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def is_private_literal(host: str) -> bool:
    """Whether a canonical URL's host is an IP address, and none of the public internet.

    Names are for the resolver to judge.
    """
    if host.startswith("["):
        return not is_public(host[1:-1])
    return host[-1:].isdigit() and host.replace(".", "").isdigit() and not is_public(host)


class PublicResolver:
    """Resolves names as another resolver does, and keeps what is not of the public internet to itself.

    Args:
        resolver: asked for every name.
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(self, host: str, port: int, family: int = 0) -> Sequence[Address]:
        """The public addresses of a host.

        Raises:
            NameNotResolved: it has none at all.
            AddressRefused: it has none that is public.
        """
        addresses = await self._resolver.resolve(host, port, family)
        public = [address for address in addresses if is_public(address.ip)]
        if addresses and not public:
            raise AddressRefused(f"{addresses[0].ip} is a private address: --allow-private lets it pass")
        return public
