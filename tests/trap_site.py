"""A local web site built from real pages, and of everything that a crawler may get lost in.

Its hosts are 127.0.0.1 to 127.0.0.10, all on one port, each with a trap of its own:

    1  the site itself: pages, loops, calendars, session ids, bombs, endless bodies, doubles
    2  a robots.txt of random bytes      3  one of 10 MB             4  one that redirects for ever
    5  one that answers 500              6  every page takes a while 7  nothing is ever answered
    8  429 and Retry-After at first      9  every connection reset   10 a Crawl-delay, and a rule

It notes what it was asked, by whom and when, so that tests can prove obedience.
"""

import asyncio
import gzip
import random
import socket
import struct
import tarfile
from collections import Counter
from dataclasses import dataclass
from time import monotonic
from urllib.parse import parse_qs, urlsplit

HOSTS = range(1, 11)
CRAWL_DELAY = 0.3
RETRY_AFTER = 1
SLOWNESS = 0.2
BIG_ROBOTS = b"User-agent: *\nDisallow: /private/\n" + b"# filling\n" * 1_000_000 + b"Disallow: /\n"
BOMB = gzip.compress(bytes(200 << 20), 9)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came in."""

    host: int
    target: str
    at: float
    agent: str
    method: str


class TrapSite:
    """Serves the traps and the pages that it is given.

    Args:
        pages: name -> HTML of pages that lie under /pages/NAME.

    Attributes:
        asked: every request, in the order in which they came.
        held: set to let the answers to /held go.
    """

    def __init__(self, pages=None):
        self.pages = dict(pages or {})
        self.asked = []
        self.held = asyncio.Event()
        self._handlers = set()
        self._dice = random.Random(7)

    async def __aenter__(self):
        first = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = first.getsockname()[1]
        others = [socket.create_server((f"127.0.0.{host}", self.port), backlog=512) for host in HOSTS[1:]]
        self._servers = [
            await asyncio.start_server(self._serve, sock=sock, limit=1 << 20) for sock in (first, *others)
        ]
        return self

    async def __aexit__(self, *error):
        for server in self._servers:
            server.close()
        for handler in list(self._handlers):
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    def url(self, path="/", host=1):
        return f"http://127.0.0.{host}:{self.port}{path}"

    def counts(self, host=1):
        """How often each target of a host was asked for."""
        return Counter(asked.target for asked in self.asked if asked.host == host)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._handlers.add(task)
        host = int(writer.get_extra_info("sockname")[0].rpartition(".")[2])
        try:
            while await self._answer_one(host, reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the crawler has hung up, or the test is over
        finally:
            self._handlers.discard(task)
            writer.close()

    async def _answer_one(self, host, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.partition("\r\n")[0].split(" ")
        headers = dict(line.partition(": ")[::2] for line in head.lower().split("\r\n")[1:])
        self.asked.append(Asked(host, target, monotonic(), headers.get("user-agent", ""), method))
        keep = await self._respond(host, method, target, writer)
        await writer.drain()
        return keep and headers.get("connection") != "close"

    async def _respond(self, host, method, target, writer):
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        match host, path:
            case 9, _:
                reset(writer)
                return False
            case 7, _:
                await asyncio.Event().wait()
            case _, "/robots.txt":
                return await self._robots(host, writer)
            case 1, _:
                return await self._main(method, path, query, writer)
            case 8, _ if self.counts(8)[target] == 1 and path != "/":
                return answer(writer, b"wait", status=429, headers=f"Retry-After: {RETRY_AFTER}\r\n")
            case 6, _:
                await asyncio.sleep(SLOWNESS)
        return answer(writer, page(f"host {host}", *(f"/{name}" for name in "abcd"), "/private/secret"))

    async def _robots(self, host, writer):
        match host:
            case 1:
                return answer(writer, self._rules(), kind="text/plain")
            case 2:
                return answer(writer, self._dice.randbytes(4096), kind="text/plain")
            case 3:
                return answer(writer, BIG_ROBOTS, kind="text/plain")
            case 4:
                return answer(writer, status=302, headers="Location: /robots.txt\r\n")
            case 5:
                return answer(writer, status=500)
            case 10:
                text = f"User-agent: *\nCrawl-delay: {CRAWL_DELAY}\nDisallow: /private/\n"
                return answer(writer, text.encode(), kind="text/plain")
        return answer(writer, status=404)

    def _rules(self):
        return f"User-agent: *\nDisallow: /private/\nSitemap: {self.url('/sitemap.xml')}\n".encode()

    async def _main(self, method, path, query, writer):
        match path.split("/")[1:]:
            case [""]:
                return answer(writer, self._index())
            case ["pages", name] if name in self.pages:
                return answer(writer, self.pages[name], kind="text/html")
            case ["sitemap.xml"]:
                return answer(writer, self._sitemap(), kind="application/xml")
            case ["listed"]:
                return answer(writer, page("only in the sitemap"))
            case ["held"]:
                await self.held.wait()
                return answer(writer, page("held"))
            case ["private", *_]:
                return answer(writer, page("secret"))
            case ["loop"]:
                return answer(writer, status=302, headers="Location: /loop\r\n")
            case ["ping" | "pong" as side]:
                other = {"ping": "pong", "pong": "ping"}[side]
                return answer(writer, status=302, headers=f"Location: /{other}\r\n")
            case ["chain", number]:
                onward = f"/chain/{int(number) - 1}" if int(number) > 0 else "/end-of-chain"
                return answer(writer, status=301, headers=f"Location: {onward}\r\n")
            case ["away"]:
                return answer(writer, status=302, headers="Location: file:///etc/passwd\r\n")
            case ["to-private"]:
                return answer(writer, status=302, headers="Location: /private/by-redirect\r\n")
            case ["calendar", year, month]:
                month = int(year) * 12 + int(month)
                return answer(writer, page("month", f"/calendar/{month // 12}/{month % 12 + 1}"))
            case ["session"]:
                return answer(writer, page("session", f"/session?PHPSESSID={self._dice.getrandbits(64):x}"))
            case ["deeper", *rest]:
                return answer(writer, page("deeper", "/deeper/" + "x/" * (len(rest) + 1)))
            case ["search"]:
                queries = [f"/search?q={self._dice.getrandbits(40):x}" for _ in range(5)]
                return answer(writer, page("search", *queries))
            case ["endless"]:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<title>endless</title>")
                while True:
                    writer.write(b"<p>more" * 10_000)
                    await writer.drain()
            case ["bomb"]:
                return answer(writer, BOMB, headers="Content-Encoding: gzip\r\n")
            case ["no-gzip"]:
                return answer(writer, b"this is no gzip", headers="Content-Encoding: gzip\r\n")
            case ["too-long"]:
                head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9999\r\n\r\n"
                writer.write(head + b"<title>x")
                await writer.drain()
                return False
            case ["huge"]:
                return answer(writer, b"<title>huge</title>" + b"<p>words " * 1_000_000)
            case ["nested"]:
                return answer(writer, b"<title>nested</title><a href=/found>x</a>" + b"<div>" * 400_000)
            case ["picture"]:
                return answer(writer, bytes(100_000), kind="image/png")
            case ["document"]:
                return answer(writer, b"%PDF-1.7" + bytes(100_000), kind="application/pdf")
            case ["cyrillic"]:
                text = "<meta charset=koi8-r><title>привет</title>".encode("koi8-r")
                return answer(writer, text, kind="text/html")
            case ["mojibake"]:
                return answer(
                    writer, b"<title>gr\xfc\xdfe \xff</title>", kind="text/html; charset=no-such-one"
                )
            case ["cut"]:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
                await writer.drain()
                return False
            case ["garbage"]:
                writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\x00\xff\r\n\r\n")
                return False
            case ["silence"]:
                await asyncio.Event().wait()
            case ["error"]:
                return answer(writer, status=500)
            case ["missing" | "gone"]:
                return answer(writer, page("not found"), status=404)
            case ["found" | "end-of-chain" | "double"]:
                return answer(writer, page(path[1:]))
        return answer(writer, page("not found"), status=404)

    def _index(self):
        doubles = [
            "/double", "/double#part", "/./double", "/x/../double", "/%64ouble", "/double?utm_source=mail",
            f"HTTP://127.0.0.1:{self.port}/double", "\n/double\t",
        ]  # fmt: skip
        traps = [
            "/loop", "/ping", "/chain/3", "/chain/30", "/away", "/to-private", "/calendar/2026/1", "/session",
            "/deeper/", "/search", "/endless", "/bomb", "/no-gzip", "/too-long", "/huge", "/nested", "/cut",
            "/picture", "/document", "/cyrillic", "/mojibake", "/garbage", "/silence", "/error", "/missing",
            "/private/secret", "javascript:void(0)", "mailto:me@x.example", "http://[broken", "ftp://x.example/",
        ]  # fmt: skip
        return page("the site", *(f"/pages/{name}" for name in self.pages), *traps, *doubles)

    def _sitemap(self):
        entries = "".join(f"<url><loc>{self.url(path)}</loc></url>" for path in ("/listed", "/double"))
        return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</urlset>'.encode()


def page(title, *links):
    items = "".join(f'<li><a href="{link}">{number}</a>' for number, link in enumerate(links))
    return f"<!doctype html><title>{title}</title><h1>{title}</h1><ul>{items}</ul>".encode()


def answer(writer, body=b"", *, status=200, headers="", kind="text/html; charset=utf-8"):
    head = (
        f"HTTP/1.1 {status} Because\r\nContent-Type: {kind}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    return True


def reset(writer):
    """Closes so that the other side gets RST and not FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def real_pages(archive, most_bytes=60_000):
    """Real pages of at most so many bytes, by name."""
    with tarfile.open(archive) as pages:
        read = {m.name.split("/")[-2]: pages.extractfile(m).read() for m in pages if m.name.endswith(".html")}
    return {name: body for name, body in read.items() if len(body) <= most_bytes}
