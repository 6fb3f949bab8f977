"""Bodies of requests as they come: read within a bound, and unpacked a piece at a time."""

import asyncio

from aiohttp import web

__all__ = ["read_body"]

PIECE = 512 * 1024
"""Bytes that are unpacked at once. aiohttp unpacks as many as a whole body may have, several times over."""


async def read_body(request: web.Request, most: int) -> bytes:
    """The body, after what aiohttp unpacks.

    Args:
        request: whose body nobody has read.
        most: bytes that it may have; few more are ever held.

    Raises:
        HTTPRequestEntityTooLarge: it has more.
    """
    if "Content-Encoding" not in request.headers:
        return await request.read()
    content = request.content
    content.set_read_chunk_size(min(PIECE, most + 1))
    body = bytearray()
    while piece := await content.readany():
        body += piece
        if len(body) > most:
            raise web.HTTPRequestEntityTooLarge(most, len(body))
        if content.at_eof():  # what has come whole is taken, even when its client does not wait for an answer
            break
        await asyncio.sleep(0)  # others have a turn, though nothing need be waited for
    return bytes(body)
