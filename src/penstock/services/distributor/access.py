"""Who may do what: API keys, where clients show them, and what they open.

A key is shown in the place that the client's protocol has for it; each of these is read on every route:

    Authorization: Bearer KEY                the REST API, OTLP, Loki
    Authorization: Basic base64(USER:KEY)    Loki, Elasticsearch, Splunk: the password is the key
    Authorization: ApiKey base64(ID:KEY)     Elasticsearch
    Authorization: Splunk KEY                Splunk HEC
    X-API-Key: KEY                           anything else

Never in a URL, which proxies and logs keep. Only digests are compared, and in constant time.
"""

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from penstock.clock import Clock, monotonic_ns
from penstock.ratelimit import TokenBucket
from penstock.services.distributor.config import ApiKey
from penstock.services.distributor.keys import LIMIT
from penstock.services.problem_details import problem

__all__ = ["Access", "Keyring", "keys_shown", "operating", "require_key"]

COLLECTOR_HEALTH = "/services/collector/health"
OPEN = frozenset({"/", "/livez", "/readyz", "/metrics", COLLECTOR_HEALTH, f"{COLLECTOR_HEALTH}/1.0"})
"""Paths that need no key. The page is among them: it holds nothing, and asks for the key itself."""
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="penstock"'}
MAX_SHOWN = 2048
"""Characters of a field in which a key is looked for."""

Refuse = Callable[[web.Request, int, str, dict[str, str] | None], web.StreamResponse]

OPERATING: set[Handler] = set()


class Access:
    """What one API key opens.

    Attributes:
        name: whose key it is.
        may_operate: whether it opens what changes the service.
        bucket: limits the packets that are sent with it; None when nothing does.
    """

    __slots__ = ("bucket", "digest", "key", "may_operate", "name")

    def __init__(self, key: ApiKey, max_packets: int, clock: Clock) -> None:
        self.key = key
        self.name = key.name
        self.may_operate = key.may_operate
        self.digest = key.digest
        rate = key.rate_limit
        self.bucket = None if rate is None else TokenBucket(rate, max(rate, max_packets), clock=clock)


class Keyring:
    """The API keys; does no I/O.

    Args:
        keys: those that there are; none means that everybody may do everything.
        max_packets: the largest request, which a limited key can always send at once.
        clock: nanoseconds.
    """

    def __init__(self, keys: Sequence[ApiKey], max_packets: int, clock: Clock = monotonic_ns) -> None:
        self._max_packets = max_packets
        self._clock = clock
        self._by_digest: dict[bytes, Access] = {}
        self.change(keys)

    def __len__(self) -> int:
        return len(self._by_digest)

    def change(self, keys: Sequence[ApiKey]) -> bool:
        """Takes these keys in place of the ones before; whether there is any difference.

        A key that stays keeps what it has used up.
        """
        kept = {access.key: access for access in self._by_digest.values()}
        all_ = [kept.get(key) or Access(key, self._max_packets, self._clock) for key in keys]
        self._by_digest = {access.digest: access for access in all_}
        return kept.keys() != set(keys)

    def holder_of(self, bucket: TokenBucket) -> str:
        """Whose key a bucket limits; empty when the key is no more."""
        return next((one.name for one in self._by_digest.values() if one.bucket is bucket), "")

    def find(self, shown: str) -> Access | None:
        """What a key opens; None when it is not one of ours."""
        digest = sha256(shown.encode("utf-8", "surrogateescape")).digest()
        access = self._by_digest.get(digest)
        # the look-up tells at most how a digest begins, of which nobody can make a key
        return access if access is not None and hmac.compare_digest(access.digest, digest) else None


def keys_shown(request: web.BaseRequest) -> Iterator[str]:
    """What may be a key among the fields of a request's head, the likeliest first."""
    authorization = request.headers.get("Authorization", "")[:MAX_SHOWN]
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    match scheme.lower():
        case "bearer" | "splunk":
            yield value
        case "basic":
            yield after_colon(value)
        case "apikey":
            yield after_colon(value)
            yield value  # which some clients send as it was given to them
    if "X-API-Key" in request.headers:
        yield request.headers["X-API-Key"][:MAX_SHOWN]


def after_colon(value: str) -> str:
    """The password or key of a pair in base64; empty when it is none."""
    try:
        return b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def operating(handler: Handler) -> Handler:
    """Marks a handler as one that changes the service: with keys, it needs one that may operate."""
    OPERATING.add(handler)
    return handler


def refused(
    request: web.Request, status: int, reason: str, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """Problem details, whatever was asked for."""
    return problem(status, reason, headers=headers)


def require_key(keyring: Keyring, refuse: Refuse = refused) -> Middleware:
    """Middleware: refuses who shows no valid key, but on paths that are open to all.

    While there are no keys, everybody may do everything.

    Args:
        keyring: the keys.
        refuse: makes the answer of a refusal, in the words of the route's protocol.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not keyring:
            return await handler(request)
        access = next(filter(None, map(keyring.find, keys_shown(request))), None)
        if access is None:
            if request.path in OPEN:
                return await handler(request)
            return refuse(
                request, 401, "show a valid API key, such as in Authorization: Bearer KEY", CHALLENGE
            )
        if request.match_info.handler in OPERATING and not access.may_operate:
            return refuse(request, 403, f"the API key of {access.name} must have may_operate for this", None)
        if access.bucket is not None:
            request[LIMIT] = access.bucket
        return await handler(request)

    return middleware
