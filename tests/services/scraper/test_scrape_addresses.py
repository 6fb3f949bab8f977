"""Private addresses are refused: as literals, behind names, in whatever spelling."""

import asyncio
import socket
from collections import Counter

import pytest

from penstock.probing.resolver import Address, AddressRefused, NameNotResolved
from penstock.services.scraper import addresses
from penstock.services.scraper.addresses import PublicResolver, is_private_literal, is_public
from penstock.services.scraper.config import ScrapeSettings
from penstock.services.scraper.crawler import open_crawler
from penstock.services.scraper.model import Start
from penstock.services.scraper.urls import Canonicalizer, authority_of, host_of

PRIVATE = [
    "127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "198.18.0.1",
    "192.0.2.1", "192.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
    "fec0::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::1",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "::127.0.0.1", "::7f00:1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "192.88.99.1", "192.0.0.8", "3fff::1", "5f00::1",
    "::ffff:0:7f00:1", "2606:4700::5efe:a00:1", "2606:4700::200:5efe:7f00:1", "no address", "",
]  # fmt: skip

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "172.32.0.1",
          "2606:4700::5efe:101:101"]  # fmt: skip


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


PUBLIC_ONE, PRIVATE_ONE = "127.0.0.2", "127.0.0.1"
"""The test takes one loopback address for public, since it has nothing else to connect to."""


class Rebinding:
    """Names as an attacker's DNS has them: rebound.example is public at first, and private from then on."""

    def __init__(self):
        self.asked = Counter()

    async def resolve(self, host, port, family=0):
        self.asked[host] += 1
        is_public_now = host.startswith(("public", "robots")) or (
            host == "rebound.example" and self.asked[host] == 1
        )
        ip = host if host[0].isdigit() else PUBLIC_ONE if is_public_now else PRIVATE_ONE
        return [Address(ip, port, socket.AF_INET)]


class Lure:
    """A site on a public and a private address that leads to the latter in every way there is."""

    def __init__(self):
        self.reached = Counter()

    async def __aenter__(self):
        first = socket.create_server((PRIVATE_ONE, 0))
        self.port = first.getsockname()[1]
        second = socket.create_server((PUBLIC_ONE, self.port))
        self.servers = [await asyncio.start_server(self.serve, sock=sock) for sock in (first, second)]
        return self

    async def __aexit__(self, *error):
        for server in self.servers:
            server.close()
            await server.wait_closed()

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        host = head.lower().partition("\r\nhost: ")[2].partition(":")[0]
        target = head.split(" ")[1]
        self.reached[writer.get_extra_info("sockname")[0], host, target] += 1
        writer.write(self.answer(host, target))
        await writer.drain()
        writer.close()

    def answer(self, host, target):
        private = f"http://private.example:{self.port}"
        literal = f"http://0x7f.1:{self.port}"
        body, status, location = "", 200, ""
        match host, target:
            case "robots.example", "/robots.txt":
                status, location = 302, f"{private}/robots.txt"
            case "public.example", "/robots.txt":
                body = f"Sitemap: {private}/map.xml\nSitemap: {literal}/map.xml\nSitemap: /moved.xml"
            case _, "/moved.xml" | "/moved":
                status, location = 302, f"{private}{target}"
            case _, "/to-literal":
                status, location = 301, f"{literal}/to-literal"
            case _, "/to-rebound":
                status, location = 307, f"http://rebound.example:{self.port}/second"
            case _, "/":
                links = ["/moved", "/to-literal", "/to-rebound", f"{private}/linked", f"{literal}/linked"]
                links += [f"{private}/file.pdf", f"http://rebound.example:{self.port}/first"]
                body = "".join(f"<a href={link}>x</a>" for link in links)
        kind = "text/plain" if target == "/robots.txt" else "text/html"
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        head += f"Location: {location}\r\n" * bool(location)
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize("engine", ["aiohttp", "protocol", "socket"])
async def test_no_request_of_any_kind_reaches_a_private_address(monkeypatch, engine):
    monkeypatch.setattr(addresses, "is_public", lambda ip: ip == PUBLIC_ONE)
    settings = ScrapeSettings(
        rate=None, scope="any", sitemaps=True, engine=engine, retries=0, request_timeout=30.0
    )
    rows, resolver = [], Rebinding()
    async with Lure() as lure, open_crawler(settings, resolver=resolver) as crawler:
        starts = [f"http://{host}.example:{lure.port}/" for host in ("public", "robots")]
        await crawler.crawl([Start(url) for url in starts], [rows.append])
    assert {ip for ip, _, _ in lure.reached} == {PUBLIC_ONE}
    assert resolver.asked["private.example"] >= 1
    assert resolver.asked["rebound.example"] >= 2
    refused = {row.canonical.partition(f":{lure.port}")[2] for row in rows if row.outcome == "refused"}
    assert refused >= {"/", "/moved", "/to-literal", "/linked", "/file.pdf", "/first"}
    assert all("is a private address" in row.error for row in rows if row.outcome == "refused")
