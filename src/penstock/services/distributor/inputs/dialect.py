"""How each route says no: in the words of its protocol, or by problem details."""

import functools
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from penstock.services.distributor.inputs.batch import Refused
from penstock.services.distributor.rest.answers import retry_after
from penstock.services.problem_details import problem

__all__ = ["Handler", "Refusal", "refusal", "refusing_with"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refusal = Callable[[web.Request, int, str], web.Response]
"""Makes the answer to a request of which nothing is stored, from its status and its reason."""

REFUSALS: dict[Handler, Refusal] = {}


def refusing_with(refuse: Refusal) -> Callable[[Handler], Handler]:
    """Lets a handler raise `Refused`, and all others refuse its requests in the words of its protocol."""

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def answering(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except Refused as refused:
                again = refused.retry_after
                answer = refusal(
                    request, refused.status, str(refused), None if again is None else retry_after(again)
                )
                if refused.closing:
                    answer.force_close()
                return answer

        REFUSALS[answering] = refuse
        return answering

    return decorate


def refusal(
    request: web.Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The answer to a request of which nothing is stored.

    Args:
        request: tells the route, and so the protocol.
        status: of HTTP, 400 to 599.
        detail: what is wrong, for the person who reads it.
        headers: more of them, such as Retry-After or WWW-Authenticate.
    """
    refuse = REFUSALS.get(request.match_info.handler)
    answer = problem(status, detail) if refuse is None else refuse(request, status, detail)
    answer.headers.update(headers or {})
    return answer
