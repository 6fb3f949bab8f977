"""A site to scrape: pages of a given size that link to each other, and a server that is not the bottleneck.

Every page has a menu and a footer that all pages share, paragraphs of words, and links to other pages
spread over the site, so that a crawl from the first page reaches all of them. The same arguments make the
same site.

    python benchmarks/scrape_site.py [--pages 1500] [--size 12288] [--links 30] [--port 0]

prints `PORT` once it serves on 127.0.0.1; `--write FOLDER` writes files for another server instead.
"""

import argparse
import asyncio
import random
from pathlib import Path

WORDS = """
the of and to in is that it was for on are with as his they be at one have this from or had by hot but some
what there we can out other were all your when up use word how said an each she which do their time
""".split()  # noqa: SIM905 - a list would take fifty lines

MENU = ("/", "/about.html", "/contact.html", "/help/index.html", "/news/index.html")


def build(pages: int = 1500, size: int = 12_288, links: int = 30, seed: int = 1) -> dict[str, bytes]:
    """Paths and their HTML: `pages` of them besides the first, in folders of 50."""
    chance = random.Random(seed)
    paths = ["/", *(f"/{number // 50}/page-{number}.html" for number in range(pages))]
    site = {}
    for number, path in enumerate(paths):
        targets = [paths[(number * links + step) % len(paths)] for step in range(1, links - len(MENU) + 1)]
        site[path] = page(path, targets, size, chance)
    for path in MENU[1:]:
        site[path] = page(path, targets, size, chance)
    return site


def page(path: str, targets: list[str], size: int, chance: random.Random) -> bytes:
    menu = "".join(f'<li><a href="{target}">{target.strip("/") or "home"}</a></li>\n' for target in MENU)
    parts = [
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n"
        f"<title>Page {path} &mdash; a site</title>\n<link rel=stylesheet href=/style.css></head>\n"
        f"<body><nav><ul>\n{menu}</ul></nav>\n<main><h1>Page {path}</h1>\n"
    ]
    length = len(parts[0])
    rest = list(targets)
    while length < size or rest:
        words = " ".join(chance.choices(WORDS, k=40))
        link = f' <a class="more" href="{rest.pop()}">{chance.choice(WORDS)} more</a>' if rest else ""
        part = f'<p class="text" id="p{len(parts)}">{words}{link} <em>{chance.choice(WORDS)}</em>.</p>\n'
        parts.append(part)
        length += len(part)
    parts.append("</main><footer>the end</footer></body></html>\n")
    return "".join(parts).encode()


def answer(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Site(asyncio.Protocol):
    """Answers from memory; keeps connections, knows GET alone."""

    answers: dict[bytes, bytes]
    missing = answer("404 Not Found", "text/html; charset=utf-8", b"<title>not here</title>")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            request, _, self.received = self.received.partition(b"\r\n\r\n")
            path = request.split(b" ", 2)[1]
            self.transport.write(self.answers.get(path, self.missing))


async def serve(site: dict[str, bytes], port: int) -> None:
    Site.answers = {
        path.encode(): answer("200 OK", "text/html; charset=utf-8", body) for path, body in site.items()
    }
    rules = b"User-agent: *\nDisallow: /private/\nDisallow: /*?print=\nAllow: /\n"
    Site.answers[b"/robots.txt"] = answer("200 OK", "text/plain", rules)
    server = await asyncio.get_running_loop().create_server(Site, "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def write(site: dict[str, bytes], folder: Path) -> None:
    for path, body in site.items():
        file = folder / (path.lstrip("/") or "index.html")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=1500)
    parser.add_argument("--size", type=int, default=12_288)
    parser.add_argument("--links", type=int, default=30)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    site = build(given.pages, given.size, given.links)
    if given.write is not None:
        write(site, given.write)
    else:
        asyncio.run(serve(site, given.port))


if __name__ == "__main__":
    main()
