"""What keeps aiohttp from sending a request twice."""

import aiohttp

from penstock.errors import PenstockError

__all__ = ["NotSentAgain", "send_once"]


class NotSentAgain(PenstockError, aiohttp.ClientError, ConnectionError):
    """Wraps a lost connection, which aiohttp would answer with a second, uncounted request."""


async def send_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Middleware that makes one attempt one request: retries are made outside, and counted."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise  # not sent at all, and not sent again
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise NotSentAgain from error
