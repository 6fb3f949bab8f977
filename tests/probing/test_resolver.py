"""Names to addresses, with a lookup that tests can see into."""

import asyncio
import socket
import threading

import pytest

from penstock import PenstockError
from penstock.clock import ManualClock
from penstock.probing import resolver as resolver_module
from penstock.probing.resolver import Address, NameNotResolved, SystemResolver, literal


class Lookup:
    """In the place of getaddrinfo: every name has these addresses."""

    def __init__(self, *addresses, error=None):
        self.addresses = addresses
        self.error = error
        self.asked = []

    def __call__(self, host, port, family, kind, protocol):
        self.asked.append((host, family))
        if self.error is not None:
            raise self.error
        return [entry(address) for address in self.addresses]


def entry(address):
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 0, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def make(clock):
    made = []

    def make(lookup, **settings):
        made.append(SystemResolver(lookup=lookup, clock=clock, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def test_a_name_has_addresses_with_the_port_asked_for(make):
    resolver = make(Lookup("192.0.2.1", "2001:db8::1"))
    assert await resolver.resolve("a.example", 81) == [
        Address("192.0.2.1", 81, socket.AF_INET),
        Address("2001:db8::1", 81, socket.AF_INET6),
    ]


async def test_what_was_found_is_remembered_for_its_time_whatever_the_port(make, clock):
    lookup = Lookup("192.0.2.1")
    resolver = make(lookup, ttl=60)
    await resolver.resolve("a.example", 80)
    clock.advance(59)
    assert (await resolver.resolve("a.example", 443))[0].port == 443
    assert len(lookup.asked) == 1
    clock.advance(1)
    await resolver.resolve("a.example", 80)
    assert len(lookup.asked) == 2


async def test_what_was_not_found_is_asked_for_again(make):
    lookup = Lookup(error=socket.gaierror(socket.EAI_NONAME, "no"))
    resolver = make(lookup)
    for _ in range(2):
        with pytest.raises(NameNotResolved, match=r"^name not resolved: a\.example$") as refused:
            await resolver.resolve("a.example", 80)
        assert isinstance(refused.value, PenstockError)
        assert isinstance(refused.value, OSError)
    assert len(lookup.asked) == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UnicodeError("label too long"), "name not resolved: not a host name"),
        (OSError(5, "io"), "name not resolved: a.example"),
        (None, "name not resolved: a.example"),
    ],
)
async def test_a_name_without_addresses_is_not_resolved(make, error, words):
    with pytest.raises(NameNotResolved) as refused:
        await make(Lookup(error=error)).resolve("a.example", 80)
    assert str(refused.value) == words


async def test_families_are_asked_for_and_remembered_apart(make):
    lookup = Lookup("192.0.2.1")
    resolver = make(lookup)
    for family in (4, 6, 0):
        await resolver.resolve("a.example", 80, family)
    assert [family for _, family in lookup.asked] == [socket.AF_INET, socket.AF_INET6, socket.AF_UNSPEC]


async def test_an_address_asks_nobody(make):
    lookup = Lookup()
    resolver = make(lookup)
    assert await resolver.resolve("127.0.0.1", 80) == [Address("127.0.0.1", 80, socket.AF_INET)]
    assert await resolver.resolve("::1", 80) == [Address("::1", 80, socket.AF_INET6)]
    with pytest.raises(NameNotResolved, match=r"^name not resolved: ::1 is no IPv4 address$"):
        await resolver.resolve("::1", 80, 4)
    assert lookup.asked == []


async def test_those_who_want_the_same_name_share_a_question_and_may_leave(make):
    going = threading.Event()

    class Slow(Lookup):
        def __call__(self, *arguments):
            going.wait(30)
            return super().__call__(*arguments)

    lookup = Slow("192.0.2.1")
    resolver = make(lookup, threads=4)
    tasks = [asyncio.create_task(resolver.resolve("a.example", 80)) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    going.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(answer[0].ip == "192.0.2.1" for answer in answers[1:])
    assert len(lookup.asked) == 1


async def test_no_more_threads_ask_than_are_allowed(make):
    at_once, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2, timeout=30)

    def lookup(*arguments):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        both.wait()  # passes only when two ask
        with lock:
            at_once -= 1
        return [entry("192.0.2.1")]

    resolver = make(lookup, threads=2)
    await asyncio.gather(*(resolver.resolve(f"{n}.example", 80) for n in range(8)))
    assert most == 2


async def test_no_more_names_are_remembered_than_the_bound(make, monkeypatch):
    monkeypatch.setattr(resolver_module, "MAX_NAMES", 2)
    lookup = Lookup("192.0.2.1")
    resolver = make(lookup)
    for name in ("a", "b", "c", "b", "a"):
        await resolver.resolve(name, 80)
    assert [host for host, _ in lookup.asked] == ["a", "b", "c", "a"]


async def test_no_more_addresses_are_used_than_the_bound(make):
    resolver = make(Lookup(*(f"192.0.2.{n}" for n in range(200))))
    assert len(await resolver.resolve("a.example", 80)) == 16


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", Address("127.0.0.1", 80, socket.AF_INET)),
        ("::1", Address("::1", 80, socket.AF_INET6)),
        ("fe80::1%3", Address("fe80::1", 80, socket.AF_INET6, 3)),
        ("fe80::1%no-such-interface", None),
        ("127.0.0.1%3", None),
        ("127.1", None),
        ("example.com", None),
        ("a\0b", None),
        ("", None),
    ],
)
def test_a_literal_is_an_address_and_a_name_is_not(host, expected):
    assert literal(host, 80) == expected


def test_sockaddr_is_as_the_system_wants_it():
    assert Address("127.0.0.1", 80, socket.AF_INET).sockaddr == ("127.0.0.1", 80)
    assert Address("fe80::1", 80, socket.AF_INET6, 3).sockaddr == ("fe80::1", 80, 0, 3)


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"threads": 0}, "threads must be >= 1, got 0"), ({"ttl": -1}, "ttl must be >= 0 .*, got -1")],
)
def test_settings_out_of_their_range_are_refused(make, settings, why):
    with pytest.raises(ValueError, match=why):
        make(Lookup(), **settings)
