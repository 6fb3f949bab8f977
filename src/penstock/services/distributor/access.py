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
from typing import Literal

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from penstock.clock import Clock, monotonic_ns
from penstock.ratelimit import TokenBucket
from penstock.services.distributor.config import ApiKey
from penstock.services.distributor.keys import LIMIT
from penstock.services.problem_details import problem

__all__ = [
    "Access",
    "Keyring",
    "Need",
    "keys_shown",
    "need_of",
    "open_to_all",
    "open_to_every_key",
    "operating",
    "require_key",
    "sending",
]

Need = Literal["nothing", "a key", "may_send", "may_read", "may_operate"]
"""What a client must have for a route: nothing, any key, or one with that right."""

NEEDS: dict[Handler, Need] = {}
"""What is not said here needs a key that may read: a route that nobody thought of opens no logs."""
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="penstock"'}
MAX_SHOWN = 2048
"""Characters of a field in which a key is looked for."""

Refuse = Callable[[web.Request, int, str, dict[str, str] | None], web.StreamResponse]


class Access:
    """What one API key opens.

    Attributes:
        name: whose key it is.
        bucket: limits the packets that are sent with it; None when nothing does.
    """

    __slots__ = ("_rights", "bucket", "digest", "key", "name")

    def __init__(self, key: ApiKey, max_packets: int, clock: Clock) -> None:
        self.key = key
        self.name = key.name
        self.digest = key.digest
        rate = key.rate_limit
        self.bucket = None if rate is None else TokenBucket(rate, max(rate, max_packets), clock=clock)
        self._rights: dict[Need, bool] = {
            "nothing": True,
            "a key": True,
            "may_send": key.may_send,
            "may_read": key.may_read or key.may_operate,
            "may_operate": key.may_operate,
        }

    def opens(self, need: Need) -> bool:
        """Whether the key is enough for a route that needs this."""
        return self._rights[need]


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


# What a route needs


def open_to_all(handler: Handler) -> Handler:
    """Marks a handler as one that needs no key: it tells nothing of what is sent, nor of who sends."""
    NEEDS[handler] = "nothing"
    return handler


def open_to_every_key(handler: Handler) -> Handler:
    """Marks a handler as one that any key opens."""
    NEEDS[handler] = "a key"
    return handler


def sending(handler: Handler) -> Handler:
    """Marks a handler as one that takes logs, or that their senders ask first."""
    NEEDS[handler] = "may_send"
    return handler


def operating(handler: Handler) -> Handler:
    """Marks a handler as one that changes the service, or tells its settings."""
    NEEDS[handler] = "may_operate"
    return handler


def need_of(handler: Handler) -> Need:
    """What a client must have to be answered by a handler, while there are keys."""
    return NEEDS.get(handler, "may_read")


def refused(
    request: web.Request, status: int, reason: str, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """Problem details, whatever was asked for."""
    return problem(status, reason, headers=headers)


def require_key(keyring: Keyring, refuse: Refuse = refused) -> Middleware:
    """Middleware: refuses who shows no valid key, or one that is not enough for the route.

    While there are no keys, everybody may do everything.

    Args:
        keyring: the keys.
        refuse: makes the answer of a refusal, in the words of the route's protocol.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not keyring:
            return await handler(request)
        need = need_for(request)
        access = next(filter(None, map(keyring.find, keys_shown(request))), None)
        if access is None:
            if need == "nothing":
                return await handler(request)
            return refuse(
                request, 401, "show a valid API key, such as in Authorization: Bearer KEY", CHALLENGE
            )
        if not access.opens(need):
            return refuse(request, 403, f"the API key of {access.name} must have {need} for this", None)
        if access.bucket is not None:
            request[LIMIT] = access.bucket
        return await handler(request)

    return middleware


def need_for(request: web.Request) -> Need:
    """What the request needs; any key is told that a path is not there, or does not take the method."""
    found = request.match_info
    return need_of(found.handler) if found.http_exception is None else "a key"
