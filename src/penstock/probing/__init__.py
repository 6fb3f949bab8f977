"""Probing: one HTTP request on one connection, and where its time went.

    request.py          what goes on the wire: parsed, checked and encoded once, sent any number of times
    exchange.py         what came of it: status, phases, sizes, what TCP and TLS say of the connection
    engine.py           the interface of the engines, and which one fits
    aiohttp_engine.py   one over aiohttp
    send_once.py        what keeps aiohttp from sending a request twice
    pooled_engine.py    two over connections of our own: names, turns, and which connection
    pool.py             all of a connection but what moves its bytes
    sockets.py          own sockets move them, and the kernel says when they came
    transports.py       the event loop moves them
    response_parser.py  HTTP/1.1 answers, strict and bounded
    load.py             whole runs without Python between the requests
    resolver.py         names to addresses
    turns.py            how many connections are in the making at once
    idle.py             which ones wait for their next request
    moments.py          when each step was made, and the phases that come of it
    stamps.py           times of the kernel, and whether to believe them
    failures.py         why there is no answer, in the same words everywhere
    tcp.py  tls.py      what is known of a connection

An engine makes exactly one exchange of one request: it follows no redirect, tries nothing again and
decompresses nothing. What wants that stands above and does it for every engine alike.
"""

from penstock.probing.engine import ENGINES, Engine, EngineName, open_engine
from penstock.probing.exchange import Exchange, Failure, Phases, TcpFacts, TlsFacts
from penstock.probing.request import InvalidRequest, InvalidUrl, Request
from penstock.probing.resolver import Address, AddressRefused, NameNotResolved, Resolver, SystemResolver

__all__ = [
    "ENGINES",
    "Address",
    "AddressRefused",
    "Engine",
    "EngineName",
    "Exchange",
    "Failure",
    "InvalidRequest",
    "InvalidUrl",
    "NameNotResolved",
    "Phases",
    "Request",
    "Resolver",
    "SystemResolver",
    "TcpFacts",
    "TlsFacts",
    "open_engine",
]
