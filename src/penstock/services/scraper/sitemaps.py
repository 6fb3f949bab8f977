"""Sitemaps: lists of pages that a site publishes, as XML, an index of others, a feed or plain text."""

import zlib
from collections.abc import Iterator
from xml.parsers import expat

from penstock.errors import PenstockError
from penstock.services.http_url import MAX_URL
from penstock.services.printable import one_line
from penstock.services.scraper.model import SitemapContent

__all__ = ["MAX_BYTES", "MAX_ENTRIES", "read_sitemap"]

MAX_ENTRIES = 50_000
"""URLs of one sitemap; the protocol allows no more."""

MAX_BYTES = 52_428_800
"""Bytes of one sitemap, unpacked; the protocol allows no more."""

MAX_ITEMS = 2_000_000
"""Elements, or lines, of one sitemap: some seconds. 50,000 pages in twenty languages have half as many."""

MAX_MARKUP = 1_000_000
"""Bytes of one tag or comment: the parser begins it anew with every chunk."""

MAX_MEMBERS = 1_000
"""Parts of one gzip file, one after the other."""

MAX_DEPTH = 64
MAX_WORDS = 200

CHUNK_BYTES = 65_536
GZIP = b"\x1f\x8b"
GZIP_FORMAT = 31  # for zlib: a head and a checksum as gzip has them

SITEMAP_NAMESPACES = (
    "http://www.sitemaps.org/schemas/sitemap/0.9",
    "https://www.sitemaps.org/schemas/sitemap/0.9",
    "http://www.google.com/schemas/sitemap/0.84",
    "",
)
ATOM = "http://www.w3.org/2005/Atom"


class UnreadSitemap(PenstockError, ValueError):
    """A sitemap, or the rest of it, is not read; the message says why."""


def read_sitemap(body: bytes, url: str) -> SitemapContent:
    """What a sitemap lists; never raises, whatever the bytes.

    Read are urlset and sitemapindex, RSS and Atom, and plain text with a URL a line; each as it is or in
    gzip, whatever its name says. Entities and attributes that the file declares itself are refused, so that a
    small file stays small.

    Args:
        body: as HTTP delivered it, content codings undone.
        url: of the sitemap; nothing depends on it.

    Source: the Sitemaps protocol 0.9.
    """
    listing = Listing()
    words = ""
    try:
        for chunk in unpacked(body):
            listing.read(chunk)
        listing.end()
    except UnreadSitemap as error:
        words = str(error)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the last two: an encoding that is none
        words = f"not well-formed: {one_line(str(error), MAX_WORDS)}"
    return SitemapContent(list(listing.pages), list(listing.sitemaps), words)


def unpacked(body: bytes) -> Iterator[bytes]:
    """The bytes of a sitemap in chunks; of a gzip file, those that are in it.

    Raises:
        UnreadSitemap: there are too many of them, or the gzip is damaged; what came before counts.
    """
    size = 0
    for chunk in unzipped(body) if body.startswith(GZIP) else chunks_of(body):
        size += len(chunk)
        if size > MAX_BYTES:
            raise UnreadSitemap(f"longer than {MAX_BYTES:,} bytes: the rest is left out")
        yield chunk


def chunks_of(body: bytes) -> Iterator[bytes]:
    return (body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES))


def unzipped(body: bytes) -> Iterator[bytes]:
    unzip = zlib.decompressobj(GZIP_FORMAT)
    members = 1
    try:
        for chunk in chunks_of(body):  # zlib copies what it leaves, so it gets little at once
            packed = chunk
            while packed:
                if unzip.eof:
                    if packed[:1] != GZIP[:1]:
                        return  # some pad their files
                    if members == MAX_MEMBERS:
                        raise UnreadSitemap(
                            f"more than {MAX_MEMBERS:,} parts of a gzip: the rest is left out"
                        )
                    members += 1
                    unzip = zlib.decompressobj(GZIP_FORMAT)
                yield unzip.decompress(packed, CHUNK_BYTES)
                packed = unzip.unconsumed_tail or unzip.unused_data
        while not unzip.eof and (rest := unzip.decompress(b"", CHUNK_BYTES)):
            yield rest
    except zlib.error as error:
        raise UnreadSitemap(f"damaged gzip: {one_line(str(error), MAX_WORDS)}") from None
    if not unzip.eof:
        raise UnreadSitemap("the gzip ends too early")


class Listing:
    """Reads a sitemap chunk by chunk.

    Attributes:
        pages: URLs of pages, in order, each once.
        sitemaps: URLs of further sitemaps.
    """

    def __init__(self) -> None:
        self.pages: dict[str, None] = {}
        self.sitemaps: dict[str, None] = {}
        self._reader: XmlReader | TextReader | None = None
        self._items = 0

    def read(self, chunk: bytes) -> None:
        """Takes the next bytes.

        Raises:
            UnreadSitemap: there is more than may be read.
            ExpatError: it is no XML.
        """
        if self._reader is None:
            chunk = chunk.removeprefix(UTF8_MARK).lstrip()  # many begin with an empty line, which XML forbids
            if not chunk:
                return
            self._reader = XmlReader(self) if chunk.startswith(XML_BEGINS) else TextReader(self)
        self._reader.read(chunk)

    def end(self) -> None:
        """There are no more bytes; raises as read() does."""
        if self._reader is None:
            raise UnreadSitemap("empty")
        self._reader.end()

    def count(self, items: int) -> None:
        """Takes note of so many elements or lines, whatever they are.

        Raises:
            UnreadSitemap: there are too many.
        """
        self._items += items
        if self._items > MAX_ITEMS:
            raise UnreadSitemap(f"more than {MAX_ITEMS:,} elements or lines: the rest is left out")

    def add(self, entries: dict[str, None], text: str) -> None:
        """Takes a URL.

        Raises:
            UnreadSitemap: there are too many.
        """
        url = text.strip()
        if not url or len(url) > MAX_URL or url in entries:
            return
        if len(self.pages) + len(self.sitemaps) >= MAX_ENTRIES:
            raise UnreadSitemap(f"more than {MAX_ENTRIES:,} URLs: the rest is left out")
        entries[url] = None


UTF8_MARK = b"\xef\xbb\xbf"
XML_BEGINS = (b"<", b"\xff\xfe", b"\xfe\xff")


class TextReader:
    """A URL a line; other lines are no URLs and are left out."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._line = b""

    def read(self, chunk: bytes) -> None:
        *lines, self._line = (self._line + chunk).split(b"\n")
        self._listing.count(len(lines))
        for line in lines:
            self._add(line)
        self._line = self._line[: MAX_URL + 1]  # a line that is longer is none, however long it gets

    def end(self) -> None:
        self._add(self._line)

    def _add(self, line: bytes) -> None:
        url = line.decode("utf-8-sig", "replace").strip()
        if url.lower().startswith(("http://", "https://")):
            self._listing.add(self._listing.pages, url)


class XmlReader:
    """urlset, sitemapindex, RSS or Atom."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._open: list[str] = []
        self._text: list[str] | None = None
        self._left = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._stop
        self._parser.CharacterDataHandler = self._take
        self._parser.EntityDeclHandler = refuse_declaration
        self._parser.AttlistDeclHandler = refuse_declaration  # every element would get its attributes
        self._size = 0

    def read(self, chunk: bytes) -> None:
        self._parser.Parse(chunk, False)
        self._size += len(chunk)
        if self._size - self._parser.CurrentByteIndex > MAX_MARKUP:
            raise UnreadSitemap(f"a tag or comment of more than {MAX_MARKUP:,} bytes: the rest is left out")

    def end(self) -> None:
        self._parser.Parse(b"", True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise UnreadSitemap(f"elements nested more than {MAX_DEPTH} deep")
        self._listing.count(1)
        self._open.append(name)
        self._text = None
        if self._lists() is not None:
            self._text, self._left = [], MAX_URL + 1
        elif self._is_entry_link() and attributes.get("rel", "alternate") == "alternate":
            self._listing.add(self._listing.pages, attributes.get("href", ""))

    def _take(self, text: str) -> None:
        if self._text is not None and self._left > 0:
            self._text.append(text[: self._left])
            self._left -= len(text)

    def _stop(self, name: str) -> None:
        if self._text is not None:
            entries = self._lists()
            assert entries is not None
            self._listing.add(entries, "".join(self._text))
        self._text = None
        self._open.pop()

    def _is_entry_link(self) -> bool:
        return self._open[-2:] == [f"{ATOM} entry", f"{ATOM} link"]

    def _lists(self) -> dict[str, None] | None:
        """Where the text of the innermost element belongs; None where it is no URL."""
        if len(self._open) < 2:
            return None
        around, _, parent = self._open[-2].rpartition(" ")
        namespace, _, name = self._open[-1].rpartition(" ")
        if namespace in SITEMAP_NAMESPACES and around == namespace and name == "loc":
            return {"url": self._listing.pages, "sitemap": self._listing.sitemaps}.get(parent)
        return self._listing.pages if (parent, name) == ("item", "link") else None


def refuse_declaration(name: str, *declared: object) -> None:
    raise UnreadSitemap(f"declares {one_line(name, 40)} itself, which no sitemap needs")
