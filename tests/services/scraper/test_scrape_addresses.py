"""Private addresses are refused: as literals, behind names, in whatever spelling."""

import socket

import pytest

from penstock.probing.resolver import Address, AddressRefused, NameNotResolved
from penstock.services.scraper.addresses import PublicResolver, is_private_literal, is_public
from penstock.services.scraper.urls import Canonicalizer, authority_of, host_of

PRIVATE = [
    "127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "198.18.0.1",
    "192.0.2.1", "192.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
    "fec0::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::1",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "::127.0.0.1", "::7f00:1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "no address", "",
]  # fmt: skip

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "172.32.0.1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_public_internet_is_told(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_public_internet_is_told(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "017700000001", "0", "[::1]", "[::ffff:7f00:1]",
     "[fe80::1]", "①②⑦.0.0.1", "169.254.169.254."],
)  # fmt: skip
def test_a_literal_is_known_in_every_spelling(host):
    url = Canonicalizer().canonical(f"http://{host}/")
    assert is_private_literal(host_of(authority_of(url)))


@pytest.mark.parametrize("host", ["example.com", "1.1.1.1", "[2606:4700::1111]", "localhost", "a1", "x.1a"])
def test_names_and_public_literals_are_no_private_ones(host):
    assert not is_private_literal(host)


class Names:
    def __init__(self, *ips):
        self.ips = ips

    async def resolve(self, host, port, family=0):
        if not self.ips:
            raise NameNotResolved(f"name not resolved: {host}")
        return [Address(ip, port, socket.AF_INET6 if ":" in ip else socket.AF_INET) for ip in self.ips]


async def test_a_name_keeps_its_public_addresses_alone():
    resolver = PublicResolver(Names("10.0.0.1", "1.1.1.1", "::1", "2606:4700::1111"))
    assert [address.ip for address in await resolver.resolve("a.example", 80)] == [
        "1.1.1.1",
        "2606:4700::1111",
    ]


async def test_a_name_of_private_addresses_alone_is_refused_with_the_address():
    with pytest.raises(
        AddressRefused, match=r"^10\.0\.0\.1 is a private address: --allow-private lets it pass$"
    ):
        await PublicResolver(Names("10.0.0.1", "::1")).resolve("rebound.example", 80)


async def test_a_name_that_does_not_resolve_is_not_resolved():
    with pytest.raises(NameNotResolved):
        await PublicResolver(Names()).resolve("nowhere.example", 80)
