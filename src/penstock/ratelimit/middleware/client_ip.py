"""Client addresses: whose request this is, also when proxies stand in front of us.

Whoever talks to us can write any header. The address of the other end of the connection is known, and only if
it belongs to a proxy that we trust do we believe what that proxy has added: the last entry of the field. If
that is a trusted proxy too, its entry is the one before, and so on. The client is the first address on this
way that is no trusted proxy; what stands further left, anybody may have invented.

The way ends early, at the last proxy that was readable, when an entry is no address (`unknown`, `_hidden`,
garbage), longer than MAX_ENTRY characters, or the MAX_HOPS-th. Such requests share that proxy's key, so
nobody gets a key of their own by writing nonsense. Ports, brackets and zones do not count: they are cut off.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, NamedTuple

from penstock.errors import InvalidType, InvalidValue

__all__ = ["MAX_ENTRY", "MAX_HOPS", "NO_ADDRESS", "ClientIP", "Forwarded", "client_ip", "ip_key"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Forwarded = Literal["x-forwarded-for", "forwarded"]

NO_ADDRESS = "unix"
"""Key of peers without an IP address (unix sockets), and their name among the trusted proxies."""
MAX_HOPS = 32
"""Entries of the field that are looked at, from the right."""
MAX_ENTRY = 255
"""Characters of an entry."""
MAX_NETWORKS = 1000
REMEMBERED = 4096  # addresses; reading one takes some 5 us, finding it again 0.1

PORT = re.compile(r":(?:\d{1,5}|_[\w.-]+)", re.ASCII)
PAIR = re.compile(
    r"""[ \t]* (?: ([!#$%&'*+.^_`|~0-9a-z-]+) = (?: "((?:[^"\\]|\\.)*)" | ([^\s",;=]*) ) )?
        [ \t]* (?:;|\Z)""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
"""A pair of RFC 7239; values are taken without quotes too where the RFC wants them, around `[::1]`."""


class Hop(NamedTuple):
    """A machine on the way of a request."""

    ip: str | None
    key: str
    is_trusted: bool


class ClientIP:
    """Finds the client of a request from its peer and what trusted proxies say.

    Addresses are remembered, a few thousand of them, as reading one is slow. Threads may share it.

    Args:
        trusted_proxies: networks such as `"10.0.0.0/8"`, single addresses, or `"unix"` for peers that have
            no address, being a proxy on this machine; at most 1,000. Nobody unless told.
        forwarded: the field that these proxies write: `"x-forwarded-for"`, `"forwarded"` (RFC 7239), or None
            to read none. A proxy must append to it, or replace it; one that passes on what it got lets
            clients choose their address.
        ipv4_prefix: leading bits of an IPv4 address that make the key, 1 to 32.
        ipv6_prefix: leading bits of an IPv6 address that make the key, 1 to 128. A single customer commonly
            has all addresses of a /64.

    Raises:
        ValueError: one of them is out of its range or no network.
        TypeError: one of them is of another type.

    Source: RFC 7239; RFC 4291, sections 2.2 and 2.5.5; RFC 6177 for the size of a customer's network.
    """

    def __init__(
        self,
        trusted_proxies: Iterable[str] = (),
        forwarded: Forwarded | None = "x-forwarded-for",
        *,
        ipv4_prefix: int = 32,
        ipv6_prefix: int = 64,
    ) -> None:
        if forwarded not in ("x-forwarded-for", "forwarded", None):
            raise InvalidValue(f"forwarded must be 'x-forwarded-for', 'forwarded' or None, got {forwarded!r}")
        self._prefixes = checked_prefixes(ipv4_prefix, ipv6_prefix)
        names = checked_names(trusted_proxies)
        self._networks = tuple(network_of(name) for name in names if name != NO_ADDRESS)
        self._without_address = Hop(None, NO_ADDRESS, NO_ADDRESS in names)
        self._is_rfc7239 = forwarded == "forwarded"
        self._hop: Callable[[str], Hop | None] = lru_cache(REMEMBERED)(self._read_hop)
        self.field = forwarded if names else None
        """Name of the field that has to be handed to `of` and `key_of`; None when none is needed."""

    def of(self, peer: str | None, field_lines: Sequence[str] = ()) -> str | None:
        """The client's IP address, in its usual spelling; None when there is none, as on a unix socket.

        Never raises for what a client or proxy has written.

        Args:
            peer: address of the connection's other end; None or anything else that is no address is taken
                for a unix socket.
            field_lines: values of every field line of the name `field`, in their order.
        """
        return self._client(peer, field_lines).ip

    def key_of(self, peer: str | None, field_lines: Sequence[str] = ()) -> str:
        """What the client is counted by: its address, or its network as in `2001:db8::/64`; see `of`.

        `"unix"` when it has no address.
        """
        return self._client(peer, field_lines).key

    def _client(self, peer: str | None, field_lines: Sequence[str]) -> Hop:
        hop = self._readable_hop(peer) or self._without_address
        if not hop.is_trusted or self.field is None:
            return hop
        for entry in entries_from_the_right(field_lines, self._is_rfc7239):
            node = forwarded_for(entry) if self._is_rfc7239 else entry
            before = self._readable_hop(node)
            if before is None:
                return hop
            hop = before
            if not hop.is_trusted:
                return hop
        return hop

    def _readable_hop(self, node: str | None) -> Hop | None:
        return self._hop(node) if node and len(node) <= MAX_ENTRY else None

    def _read_hop(self, node: str) -> Hop | None:
        address = address_of(node)
        if address is None:
            return None
        is_trusted = any(address in network for network in self._networks)
        return Hop(str(address), network_key(address, *self._prefixes), is_trusted)


def client_ip(
    peer: str | None,
    field_lines: Iterable[str] = (),
    *,
    trusted_proxies: Iterable[str] = (),
    forwarded: Forwarded | None = "x-forwarded-for",
) -> str | None:
    """The client's IP address, as `ClientIP` finds it; keep a `ClientIP` where it is asked for often.

    Args:
        peer: address of the connection's other end, None for a unix socket.
        field_lines: values of every field line that `forwarded` names, in their order.
        trusted_proxies: networks, as for `ClientIP`.
        forwarded: the field that trusted proxies write.

    Raises:
        ValueError: trusted_proxies or forwarded are not possible. Never for `peer` or `field_lines`.
        TypeError: trusted_proxies are no strings.
    """
    return ClientIP(trusted_proxies, forwarded).of(peer, tuple(field_lines))


def ip_key(ip: str | Address, *, ipv4_prefix: int = 32, ipv6_prefix: int = 64) -> str:
    """What clients of this address are counted by: the address, or its network as in `2001:db8::/64`.

    An IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`) is the IPv4 address.

    Raises:
        ValueError: it is no address, or a prefix is out of its range.
        TypeError: a prefix is no int.
    """
    prefixes = checked_prefixes(ipv4_prefix, ipv6_prefix)
    address = address_of(str(ip)[: MAX_ENTRY + 1])
    if address is None:
        raise InvalidValue(f"ip must be an IPv4 or IPv6 address, got {ip!r:.80}")
    return network_key(address, *prefixes)


# Settings


def checked_prefixes(ipv4_prefix: int, ipv6_prefix: int) -> tuple[int, int]:
    for name, value, bits in (("ipv4_prefix", ipv4_prefix, 32), ("ipv6_prefix", ipv6_prefix, 128)):
        if type(value) is not int:
            raise InvalidType(f"{name} must be an int, got {type(value).__name__}")
        if not 1 <= value <= bits:
            raise InvalidValue(f"{name} must be >= 1 and <= {bits} bits, got {value}")
    return ipv4_prefix, ipv6_prefix


def checked_names(trusted_proxies: Iterable[str]) -> tuple[str, ...]:
    names = (trusted_proxies,) if isinstance(trusted_proxies, str) else tuple(trusted_proxies)
    for name in names:
        if not isinstance(name, str):
            raise InvalidType(f"trusted_proxies must be strings, got {type(name).__name__}")
    if len(names) > MAX_NETWORKS:
        raise InvalidValue(f"trusted_proxies must be at most {MAX_NETWORKS}, got {len(names)}")
    return names


def network_of(name: str) -> Network:
    try:
        network = ip_network(name)
    except ValueError as error:
        raise InvalidValue(
            f"trusted_proxies must be networks such as 10.0.0.0/8 or 2001:db8::/32, got {name!r}: {error}"
        ) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((mapped, network.prefixlen - 96))  # as the addresses are read
    return network


# Addresses


def address_of(node: str) -> Address | None:
    """The address that `node` spells; None when it is none.

    `192.0.2.1:80`, `[2001:db8::1]:80` and `fe80::1%eth0` are their addresses without port and zone.
    """
    node = node.strip(" \t")
    if node.startswith("["):
        host, bracket, port = node[1:].partition("]")
        is_possible = bool(bracket) and ":" in host
    elif node.count(":") == 1:
        host, colon, after = node.partition(":")
        port, is_possible = colon + after, True
    else:
        host, port, is_possible = node, "", True
    if not is_possible or (port and not PORT.fullmatch(port)):
        return None
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or (IPv6Address(int(address)) if address.scope_id else address)


def network_key(address: Address, ipv4_prefix: int, ipv6_prefix: int) -> str:
    prefix = ipv4_prefix if isinstance(address, IPv4Address) else ipv6_prefix
    free_bits = address.max_prefixlen - prefix
    if not free_bits:
        return str(address)
    return f"{type(address)(int(address) >> free_bits << free_bits)}/{prefix}"


# Fields


def entries_from_the_right(field_lines: Sequence[str], with_quotes: bool) -> Iterator[str | None]:
    """The entries of a list field from the last to the first, at most MAX_HOPS; None for one too long.

    Empty ones are left out, but count.
    """
    seen = 0
    for line in reversed(field_lines):
        end = len(line)
        while end >= 0 and seen < MAX_HOPS:
            seen += 1
            comma = comma_before(line, end, with_quotes)
            if end - comma - 1 > MAX_ENTRY:
                yield None
                return
            if entry := line[comma + 1 : end].strip(" \t"):
                yield entry
            end = comma


def comma_before(line: str, end: int, with_quotes: bool) -> int:
    """Index of the last comma of `line[:end]` outside of quotes; -1 when there is none.

    It looks at MAX_ENTRY + 1 characters, so a result that is further away says that the entry is too long. It
    goes from right to left: a quote that a client has left open cannot swallow what a proxy appended.
    """
    low = max(0, end - MAX_ENTRY - 1)
    if not with_quotes or line.find('"', low, end) < 0:
        return line.rfind(",", low, end)
    in_quotes = False
    for index in range(end - 1, low - 1, -1):
        if line[index] == '"' and not is_escaped(line, index):
            in_quotes = not in_quotes
        elif line[index] == "," and not in_quotes:
            return index
    return -1


def is_escaped(line: str, index: int) -> bool:
    """Whether an odd number of backslashes stands before."""
    before = line[max(0, index - MAX_ENTRY) : index]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def forwarded_for(entry: str | None) -> str | None:
    """The value of `for` in an entry of Forwarded; None when it has none, two, or cannot be read."""
    value, at = None, 0
    while entry and at < len(entry):
        pair = PAIR.match(entry, at)
        if pair is None:
            return None
        at = pair.end()
        if pair[1] and pair[1].lower() == "for":
            if value is not None:
                return None
            value = pair[3] if pair[2] is None else re.sub(r"\\(.)", r"\1", pair[2])
    return value
