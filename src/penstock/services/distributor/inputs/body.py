"""Bodies of requests: read, unpacked and split, within bounds that hold before anything is allocated."""

import re
import zlib
from collections.abc import Iterator

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from penstock.services.distributor.inputs.batch import Refused
from penstock.services.distributor.request_body import Hold, TooSlow, read_body
from penstock.services.problem_details import in_words

__all__ = ["body_of", "lines_of", "objects_of", "require_few_values", "unpacked"]

ENCODINGS = ("", "identity", "gzip", "deflate", "zstd")
"""That aiohttp unpacks, bounded, before the body is read here. It answers for zstd where it is missing."""

LINE = re.compile(rb"(?:[ \t\r\v\f]*+\n)*+([^\n]++)")  # after lines that are blank

# From where the last one ended to the next brace that is not in a string; possessive, so never twice.
TO_BRACE = re.compile(rb'[^"{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}]*+)*+([{}])', re.DOTALL)


MAX_DEPTH = 1000
"""Objects in one another, after which nobody reads on."""
MAX_SEPARATORS = 1 << 20
"""Commas and opening brackets of JSON that is read as a whole, so about as many values."""


async def body_of(
    request: web.Request, most: int, hold: Hold, within: float, encodings: tuple[str, ...] = ()
) -> bytes:
    """The body, unpacked from its Content-Encoding.

    Args:
        request: whose body nobody has read.
        most: bytes after unpacking.
        hold: grows by what comes.
        within: seconds in which all of it must have come.
        encodings: further ones, which the caller unpacks.

    Raises:
        Refused: it is too large, too slow, broken off or not in its encoding.
        NotStored: there is no room for it.
    """
    encoding = request.headers.get("Content-Encoding", "").lower()
    if encoding not in ENCODINGS and encoding not in encodings:
        raise Refused(415, f"Content-Encoding must be gzip, deflate, zstd or none, got {encoding[:100]}")
    if (request.content_length or 0) > most:
        raise too_large(most)
    try:
        return await read_body(request, most, hold, within)
    except web.HTTPRequestEntityTooLarge:
        raise too_large(most) from None
    except TooSlow as error:
        raise Refused(408, str(error), closing=True) from None
    except (web.RequestPayloadError, BadHttpMessage, ConnectionError) as error:
        request.content.feed_eof()  # or aiohttp tries to read the rest, and logs a traceback
        raise Refused(400, f"the body could not be read: {in_words(error)}", closing=True) from None


def too_large(most: int) -> Refused:
    return Refused(413, f"the body must be at most {most} bytes after decompression; send fewer records")


def unpacked(body: bytes, most: int) -> bytes:
    """What gzip or zlib packed, told by the first bytes; anything else as it is.

    Raises:
        Refused: it is too large or damaged.
    """
    if not body.startswith(b"\x1f\x8b") and body[:1] != b"\x78":
        return body
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either of the two
    try:
        whole = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise Refused(400, f"the body could not be unpacked: {error}") from None
    if len(whole) > most:
        raise too_large(most)
    if not unpacker.eof:
        raise Refused(400, "the body could not be unpacked: it breaks off")
    if unpacker.unused_data:
        raise Refused(400, "the body could not be unpacked: something follows what was packed")
    return whole


def require_few_values(body: bytes) -> None:
    """Refuses JSON of more values than a request needs: as objects, they take many times their size."""
    separators = body.count(b",") + body.count(b"{") + body.count(b"[")
    if separators > MAX_SEPARATORS:
        most = f"JSON must have at most {MAX_SEPARATORS} commas and opening brackets, got {separators}"
        raise Refused(413, f"{most}; send fewer records at once")


def lines_of(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, without their ends, and the number of each, from 1."""
    number, end = 1, 0
    while found := LINE.match(body, end):  # not finditer, which would look for a match from every byte
        number += body.count(b"\n", end, found.start(1))
        end = found.end()
        line = found[1].rstrip(b"\r")
        if line and not line.isspace():  # the last one may be blank
            yield number, line


def objects_of(body: bytes) -> Iterator[bytes]:
    """The JSON objects that stand one after the other, with white space between them or nothing.

    Nothing is looked into: what is not JSON comes as a piece in which a reader of JSON finds that out.
    """
    depth = start = end = 0
    while found := TO_BRACE.match(body, end):  # not finditer, as above
        end = found.end()
        depth += 1 if found[1] == b"{" else -1
        if depth <= 0:
            yield body[start:end].strip(b" \t\r\n")
            start, depth = end, 0
        elif depth > MAX_DEPTH:
            break
    if rest := body[start:].strip(b" \t\r\n"):
        yield rest
