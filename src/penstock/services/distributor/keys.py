"""Where handlers find what the application holds, and what is kept with a request."""

from typing import Any

from aiohttp import web

from penstock.ratelimit import TokenBucket
from penstock.ratelimit.middleware.aiohttp import RateLimitMiddleware
from penstock.services.distributor.inputs.streams import StreamInputs
from penstock.services.distributor.request_body import BodyRoom
from penstock.services.distributor.state import Distributor

__all__ = ["BODIES", "CLIENT_LIMITS", "DISTRIBUTOR", "LIMIT", "STREAMS"]

DISTRIBUTOR = web.AppKey("distributor", Distributor)
BODIES = web.AppKey("bodies", BodyRoom)
"""The room for bodies of requests that are not answered yet."""
STREAMS = web.AppKey("streams", StreamInputs)
"""The inputs that are no HTTP."""
CLIENT_LIMITS = web.AppKey("client_limits", list[RateLimitMiddleware])
"""The limit of clients' requests; empty when there is none."""


def request_key(name: str, kind: type) -> Any:
    """A key of what is kept with a request; aiohttp before 3.14 has strings only."""
    key_class = getattr(web, "RequestKey", None)
    return f"penstock.distributor.{name}" if key_class is None else key_class(name, kind)


LIMIT = request_key("limit", TokenBucket)
"""The TokenBucket of packets of the API key that was shown: `request.get(LIMIT)`; None when there is none."""
