"""Which engine is opened, and how it connects."""

import asyncio
import socket
import sys

import pytest
from engines_under_test import KINDS, engine_kinds, opened
from serving import serving

from penstock.probing import Request, open_engine
from penstock.probing.engine import EngineSettings
from penstock.probing.resolver import Address, SystemResolver

on_engine = engine_kinds(*KINDS)


@pytest.mark.parametrize(
    ("name", "settings", "opens"),
    [
        ("auto", {}, "socket" if sys.platform == "linux" else "protocol"),
        ("auto", {"proxy": "http://127.0.0.1:3128"}, "aiohttp"),
        ("aiohttp", {}, "aiohttp"),
        ("protocol", {}, "protocol"),
    ],
)
async def test_auto_is_the_best_one_that_can_do_what_is_asked(name, settings, opens):
    async with open_engine(name, **settings) as engine:
        assert engine.name == opens


@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("curl", {}, "engine must be one of auto, aiohttp, protocol, socket, got 'curl'"),
        ("protocol", {"proxy": "http://h"}, "engine protocol knows no proxies: take auto or aiohttp"),
        ("auto", {"proxy": "socks5://h"}, "proxy must be the URL of an HTTP proxy: must start with"),
        ("auto", {"source": "localhost"}, "source must be an IP address, got 'localhost'"),
        ("auto", {"server_hostname": ""}, "server_hostname must be a name or an address, got ''"),
        ("auto", {"server_hostname": ".a"}, "server_hostname must be a name or an address, got '.a'"),
        ("auto", {"family": 5}, "family must be 4, 6, or 0 for both, got 5"),
        ("auto", {"connections": -1}, "connections must be >= 0, got -1"),
        ("auto", {"connecting": 0}, "connecting must be >= 1, got 0"),
    ],
)
async def test_what_cannot_be_done_is_refused(name, settings, why):
    with pytest.raises(ValueError, match=why):
        async with open_engine(name, **settings):
            pass


async def hello(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


def test_the_source_address_is_where_it_connects_from(on_engine):
    async def main(kind):
        came_from = []

        async def note(reader, writer):
            came_from.append(writer.get_extra_info("peername")[0])
            await hello(reader, writer)

        async with serving(note) as port, opened(kind, source="127.0.0.9") as engine:
            assert (await engine.exchange(Request(f"http://127.0.0.1:{port}/"), 30)).status == 200
            assert came_from == ["127.0.0.9"]

    on_engine(main)


def test_a_source_that_is_not_ours_is_a_failure_to_connect(on_engine):
    async def main(kind):
        async with serving(hello) as port, opened(kind, source="192.0.2.1") as engine:
            exchange = await engine.exchange(Request(f"http://127.0.0.1:{port}/"), 30)
            assert (exchange.failure, exchange.error) == ("connect", "cannot assign requested address")

    on_engine(main)


class Asked:
    def __init__(self):
        self.families = []

    async def resolve(self, host, port, family=0):
        self.families.append(family)
        return [Address("127.0.0.1", port, socket.AF_INET)]


@pytest.mark.parametrize(
    ("settings", "family"),
    [({}, 0), ({"family": 6}, 6), ({"source": "127.0.0.1"}, 4), ({"source": "::1"}, 6)],
)
def test_the_resolver_is_asked_for_addresses_that_can_be_used(settings, family):
    assert EngineSettings(resolver=Asked(), **settings).usable_family == family


def test_the_family_goes_to_the_resolver(on_engine):
    async def main(kind):
        asked = Asked()
        async with serving(hello) as port, opened(kind, resolver=asked, family=4) as engine:
            assert (await engine.exchange(Request(f"http://a.example:{port}/"), 30)).status == 200
            assert asked.families == [4]

    on_engine(main)


# Proxies


async def test_a_proxy_is_asked_for_the_whole_url():
    heads = []

    async def proxy(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    async with serving(proxy) as port, open_engine(proxy=f"http://user:pw@127.0.0.1:{port}") as engine:
        exchange = await engine.exchange(Request("http://no-such-host.invalid/a", keep_body=5), 30)
        assert (exchange.status, exchange.body) == (200, b"hello")
        assert heads[0].startswith(b"GET http://no-such-host.invalid/a HTTP/1.1\r\n")
        assert b"\r\nProxy-Authorization: Basic dXNlcjpwdw==\r\n" in heads[0]


async def test_a_proxy_that_refuses_a_tunnel_is_a_failure_of_the_proxy():
    async def proxy(reader, writer):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT example.com:443 ")
        writer.write(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")

    async with serving(proxy) as port, open_engine(proxy=f"http://127.0.0.1:{port}") as engine:
        exchange = await engine.exchange(Request("https://example.com/"), 30)
        assert (exchange.failure, exchange.may_pass) == ("proxy", True)
        assert exchange.error == "proxy answered 407 to the request for a tunnel"


async def test_a_proxy_that_is_not_there_is_a_failure_of_the_proxy():
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        async with open_engine(proxy=f"http://127.0.0.1:{dead.getsockname()[1]}") as engine:
            exchange = await engine.exchange(Request("http://example.com/"), 30)
            assert (exchange.failure, exchange.error) == ("proxy", "proxy: connection refused")


async def test_a_resolver_that_is_given_stays_open():
    names = SystemResolver(threads=1)
    async with open_engine(resolver=names):
        pass
    assert await names.resolve("localhost", 80)
    names.close()


def test_ipv6_is_connected_to_and_from(on_engine):
    async def main(kind):
        try:
            server = await asyncio.start_server(hello_and_close, "::1", 0)
        except OSError:
            pytest.skip("no IPv6 here")
        async with server, opened(kind, source="::1", family=6) as engine:
            exchange = await engine.exchange(
                Request(f"http://[::1]:{server.sockets[0].getsockname()[1]}/"), 30
            )
            assert (exchange.status, exchange.address) == (200, "::1")

    on_engine(main)


async def hello_and_close(reader, writer):
    await hello(reader, writer)
    writer.close()
    await writer.wait_closed()
