"""Content codings of HTTP, undone within bounds: a small body may hold gigabytes."""

import zlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

__all__ = ["ACCEPT_ENCODING", "Plain", "decompressed"]

MAX_CODINGS = 3
"""Codings of one body, one on top of the other."""

MAX_MEMBERS = 100
"""Parts of one compressed body, one after the other."""


class Plain(NamedTuple):
    """A body without its codings.

    Attributes:
        body: what was made of it, up to the bound.
        error: plain words when that is not all, else empty.
    """

    body: bytes
    error: str = ""


def inflated(body: bytes, limit: int, window: int) -> Plain:
    """Undoes DEFLATE in the wrapping that `window` tells zlib; several gzip members make up one body."""
    parts: list[bytes] = []
    size = 0
    while body:
        if len(parts) == MAX_MEMBERS:  # each costs a copy of the rest
            return Plain(b"".join(parts), f"more than {MAX_MEMBERS} compressed parts, the rest was left")
        inflater = zlib.decompressobj(window)
        try:
            part = inflater.decompress(body, limit - size + 1)
        except zlib.error:
            return Plain(b"".join(parts), "" if parts else "not compressed as it says")
        parts.append(part)
        size += len(part)
        if size > limit:
            return Plain(b"".join(parts)[:limit], f"more than {limit} bytes decompressed, the rest was left")
        if not inflater.eof:
            return Plain(b"".join(parts), "compressed body is cut short")
        body = inflater.unused_data
    return Plain(b"".join(parts))


def gunzipped(body: bytes, limit: int) -> Plain:
    return inflated(body, limit, 16 + zlib.MAX_WBITS)


def undeflated(body: bytes, limit: int) -> Plain:
    """RFC 9110 means zlib's format, and some servers send the bare stream."""
    plain = inflated(body, limit, zlib.MAX_WBITS)
    if plain.error.startswith("not compressed"):
        return inflated(body, limit, -zlib.MAX_WBITS)
    return plain


CODINGS: dict[str, Callable[[bytes, int], Plain]] = {
    "gzip": gunzipped,
    "x-gzip": gunzipped,
    "deflate": undeflated,
}

if find_spec("compression") is not None:  # Python 3.14 brings it

    def unzstd(body: bytes, limit: int) -> Plain:
        from compression.zstd import (  # type: ignore[import-not-found,unused-ignore]
            ZstdDecompressor,
            ZstdError,
        )

        decompressor = ZstdDecompressor()
        try:
            plain = decompressor.decompress(body, limit + 1)
        except ZstdError:
            return Plain(b"", "not compressed as it says")
        if len(plain) > limit:
            return Plain(plain[:limit], f"more than {limit} bytes decompressed, the rest was left")
        return Plain(plain, "" if decompressor.eof else "compressed body is cut short")

    CODINGS["zstd"] = unzstd

ACCEPT_ENCODING = ", ".join(name for name in CODINGS if not name.startswith("x-"))
"""What is asked for: what can be undone."""


def decompressed(body: bytes, codings: str, limit: int) -> Plain:
    """A body without its codings; never raises, whatever the bytes.

    Args:
        body: as it came.
        codings: the Content-Encoding header, empty for none.
        limit: bytes of which no more are made, in no step.
    """
    names = [name for part in codings.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if len(names) > MAX_CODINGS:
        return Plain(b"", f"more than {MAX_CODINGS} content codings")
    for name in reversed(names):
        undo = CODINGS.get(name)
        if undo is None:
            return Plain(b"", f"content coding not known: {name[:40]}")
        body, error = undo(body, limit)
        if error:
            return Plain(body, error)
    return Plain(body)
