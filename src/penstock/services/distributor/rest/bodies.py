"""Reading a request's body: its type, its size, and what it holds."""

from typing import TypeVar

import msgspec
from aiohttp import web

from penstock.services.distributor.admission import NotStored
from penstock.services.distributor.keys import BODIES, DISTRIBUTOR
from penstock.services.distributor.request_body import Hold, TooSlow, read_body
from penstock.services.distributor.rest.answers import retry_after
from penstock.services.problem_details import problem

__all__ = ["body_of", "decoded", "refusal_for_room", "refusal_of_slow", "wrong_content"]

BODY_ENCODINGS = ("", "identity", "gzip", "deflate", "zstd")

T = TypeVar("T")


def wrong_content(request: web.Request) -> web.Response | None:
    """The refusal of a body that is not JSON, or packed in a way that is not understood."""
    if request.content_type != "application/json":
        return problem(
            415,
            f"Content-Type must be application/json, got {request.headers.get('Content-Type', 'none')}",
            headers={"Accept-Post": "application/json"},
        )
    encoding = request.headers.get("Content-Encoding", "").lower()
    if encoding not in BODY_ENCODINGS:
        return problem(
            415,
            f"Content-Encoding must be gzip, deflate, zstd or none, got {encoding}",
            headers={"Accept-Encoding": "gzip, deflate, zstd"},
        )
    return None


async def body_of(request: web.Request, hold: Hold) -> bytes | web.Response:
    """The bytes of a JSON body after decompression, for which `hold` has room, or the refusal of it."""
    if wrong := wrong_content(request):
        return wrong
    config = request.app[DISTRIBUTOR].config
    limit = config.max_body_bytes
    too_large = f"the body must be at most {limit} bytes after decompression; send fewer packets"
    if (request.content_length or 0) > limit:
        return problem(413, too_large)
    try:
        return await read_body(request, limit, hold, config.body_timeout)
    except web.HTTPRequestEntityTooLarge:
        return problem(413, too_large)
    except NotStored as error:
        return refusal_for_room(error)
    except TooSlow as error:
        return refusal_of_slow(error)


def refusal_for_room(error: NotStored) -> web.Response:
    """The answer to a body for which there is no room now."""
    return problem(503, f"{error}; send the same again", headers=retry_after(error.retry_after))


def refusal_of_slow(error: TooSlow) -> web.Response:
    """The answer to a body that did not come in time, after which the connection is closed."""
    answer = problem(408, str(error), headers={"Connection": "close"})
    answer.force_close()
    return answer


async def decoded(request: web.Request, kind: type[T], example: str) -> T | web.Response:
    """What a JSON body says, or the refusal of it; `example` shows what one looks like.

    A page of another site cannot send JSON without asking first, so this also keeps strangers' pages from
    operating the service.
    """
    with request.app[BODIES].hold() as hold:
        body = await body_of(request, hold)
        if isinstance(body, web.Response):
            return body
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return problem(400, f"the body must be {example}: {error}")
