"""What happens to a request that is limited: no I/O, and nothing of aiohttp or ASGI.

`RequestLimits.decide` turns a request into a `Decision`; a `RequestReader` tells it the few facts it wants to
know. Both middlewares only read requests and write answers.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from http import HTTPStatus
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypedDict, TypeVar
from urllib.parse import quote

import msgspec

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidType, InvalidValue
from penstock.ratelimit.middleware.client_ip import ClientIP, Forwarded
from penstock.ratelimit.result import RateLimitResult

__all__ = ["Decision", "Limiter", "OnError", "Options", "RequestLimits", "RequestReader"]

log = logging.getLogger("penstock.ratelimit.middleware")

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)

OnError = Literal["allow", "refuse", "raise"]

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
QUOTA_EXCEEDED_TITLE = "Request cannot be satisfied as assigned quota has been exceeded"
RETRY_BROKEN_LIMITER = 5  # seconds
SECONDS_BETWEEN_LOG_LINES = 60
MAX_POLICY_NAME = 200
ROUTE = re.compile(r"(?:[A-Z]+ )?/")
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Limiter(Protocol):
    """What a middleware asks: RateLimiter, SharedRateLimiter, RedisRateLimiter, or your own."""

    def check(self, key: Any, n: int = 1, /) -> RateLimitResult | Awaitable[RateLimitResult]:
        """Takes `n` units of `key`'s limit if they are there, and says what came of it.

        Raises:
            ValueError: the limit can never admit this, such as an `n` above it.
        """


class RequestReader(Protocol[R_contra]):
    """How the facts of one framework's requests are read."""

    def peer(self, request: R_contra) -> str | None:
        """Address of the connection's other end; None on a unix socket."""

    def field_lines(self, request: R_contra, name: str) -> Sequence[str]:
        """Values of the header's lines of this lower-case name, in their order."""

    def method(self, request: R_contra) -> str:
        """The HTTP method."""

    def route(self, request: R_contra) -> str | None:
        """Name of the route, one of a bounded number or compared only; None for none."""


class Decision(NamedTuple):
    """What becomes of a request."""

    headers: Mapping[str, str] = NO_HEADERS
    """Fields for the answer, whoever writes it."""
    status: int = 0
    """429 or 503 when the request is refused, 0 when it may pass."""
    body: bytes = b""
    """The refusal, application/problem+json."""
    result: RateLimitResult | None = None
    """What the limiter said; None when it was not asked or said nothing."""


PASSES = Decision()


class Options(TypedDict, Generic[R], total=False):
    """What both middlewares can be told."""

    key: Callable[[R], Hashable | None] | None
    """Whose limit a request counts against; None from it: not limited. Unless given, the client's IP address.
    What a client can choose freely makes no key: with a new one for each request it is never limited."""
    cost: int | Callable[[R], int]
    """Units that a request takes; 0: not limited. A cost above the limit is refused. 1 unless given."""
    exempt: Collection[str] | Callable[[R], bool]
    """Routes that are not limited, such as `("/livez",)`, or a function that says so of a request."""
    routes: Mapping[str, Limiter | None] | None
    """Limiters of single routes, as `"/login"` or `"POST /login"`, each in place of the common one; None: not
    limited. What is said of GET holds for HEAD too, unless HEAD is there itself."""
    policy_name: str
    """What the common limit is called in the header, printable ASCII, "default" unless given. The limit of a
    route has the route's name."""
    headers_on_pass: bool
    """Whether answers to requests that pass tell the limit too; True unless given."""
    on_error: OnError
    """What to do when the limiter raises: let requests pass ("allow", unless given), answer 503 ("refuse"),
    or let the error go on ("raise"). The log tells of the first two, once a minute."""
    trusted_proxies: Iterable[str]
    """Networks whose word about the client is believed; see `ClientIP`. Nobody unless given."""
    forwarded: Forwarded | None
    """The field that these write: "x-forwarded-for" (unless given), "forwarded", or None."""
    ipv4_prefix: int
    """Leading bits of an IPv4 address that clients are counted by, 32 unless given."""
    ipv6_prefix: int
    """Leading bits of an IPv6 address that clients are counted by, 64 unless given."""
    clock: Clock | None
    """Nanoseconds, for the log's once a minute. The limiter has its own."""


class Rule(NamedTuple):
    """A limit and what it is called."""

    limiter: Limiter
    policy_name: str


class RequestLimits(Generic[R]):
    """Decides about requests; `Options` says what it can be told.

    Args:
        limiter: the common limit; None when only `routes` are limited.
        reader: tells it of requests.
        options: see `Options`.

    Raises:
        ValueError: an option is out of its range.
        TypeError: an option is of another type.
    """

    def __init__(
        self,
        limiter: Limiter | None,
        reader: RequestReader[R],
        *,
        key: Callable[[R], Hashable | None] | None = None,
        cost: int | Callable[[R], int] = 1,
        exempt: Collection[str] | Callable[[R], bool] = (),
        routes: Mapping[str, Limiter | None] | None = None,
        policy_name: str = "default",
        headers_on_pass: bool = True,
        on_error: OnError = "allow",
        trusted_proxies: Iterable[str] = (),
        forwarded: Forwarded | None = "x-forwarded-for",
        ipv4_prefix: int = 32,
        ipv6_prefix: int = 64,
        clock: Clock | None = None,
    ) -> None:
        if on_error not in ("allow", "refuse", "raise"):
            raise InvalidValue(f"on_error must be 'allow', 'refuse' or 'raise', got {on_error!r}")
        self._reader = reader
        self._clients = ClientIP(trusted_proxies, forwarded, ipv4_prefix=ipv4_prefix, ipv6_prefix=ipv6_prefix)
        self._key = self.client_key if key is None else checked_function("key", key)
        self._cost = checked_function("cost", cost) if callable(cost) else checked_cost(cost)
        self._is_exempt = checked_function("exempt", exempt) if callable(exempt) else None
        self._rule = rule_of(limiter, policy_name)
        self._rules = {checked_route(name): rule_of(each, name) for name, each in (routes or {}).items()}
        if not callable(exempt):
            self._rules |= dict.fromkeys(checked_exempt(exempt))
        self._rules_have_methods = any(not name.startswith("/") for name in self._rules)
        self._headers_on_pass = headers_on_pass
        self._on_error = on_error
        self._complaints = SeldomWarning(checked_clock(clock))
        self._counts = dict.fromkeys(("allowed", "refused", "not_limited", "errors"), 0)

    def stats(self) -> dict[str, int]:
        """Requests so far: `allowed` and `refused` by the limiter, `not_limited`, and limiter `errors`."""
        return dict(self._counts)

    def client_key(self, request: R) -> str:
        """What the client of this request is counted by, unless `key` says otherwise."""
        return key_of_client(self._reader, self._clients, request)

    async def decide(self, request: R) -> Decision:
        """Takes the request's cost from its limit; waits for nothing but a limiter that has to be awaited.

        Raises:
            Exception: whatever `key`, `cost` or `exempt` raise; what the limiter does with on_error="raise".
            TypeError: the cost is no int, or the limiter does not take such a key.
            ValueError: the cost is negative.
        """
        rule = self._rule_for(request)
        key = None if rule is None else self._key(request)
        cost = 0 if key is None else self._cost_of(request)
        if rule is None or not cost:
            self._counts["not_limited"] += 1
            return PASSES
        try:
            result = rule.limiter.check(key) if cost == 1 else rule.limiter.check(key, cost)
            if not isinstance(result, RateLimitResult) and hasattr(type(result), "__await__"):
                result = await result
        except TypeError:  # nothing that goes away by itself: a key that is not hashable, such as a list
            raise
        except ValueError as error:
            return self._never_admitted(rule, error)
        except Exception as error:
            if self._on_error == "raise":
                self._counts["errors"] += 1
                raise
            return self._without_limiter(error)
        return self._told(rule, result)  # type: ignore[arg-type]  # it is a result by now

    def _rule_for(self, request: R) -> Rule | None:
        if self._is_exempt is not None and self._is_exempt(request):
            return None
        if not self._rules:
            return self._rule
        rules, route = self._rules, self._reader.route(request)
        if self._rules_have_methods:
            method = self._reader.method(request).upper()  # frameworks may take `post` for POST
            for name in (f"{method} {route}", f"GET {route}") if method == "HEAD" else (f"{method} {route}",):
                if name in rules:
                    return rules[name]
        return self._rule if route is None else rules.get(route, self._rule)

    def _cost_of(self, request: R) -> int:
        return self._cost if isinstance(self._cost, int) else checked_cost(self._cost(request))

    def _told(self, rule: Rule, result: RateLimitResult) -> Decision:
        if result.allowed:
            self._counts["allowed"] += 1
            headers = result.headers(rule.policy_name) if self._headers_on_pass else NO_HEADERS
            return Decision(headers, result=result)
        self._counts["refused"] += 1
        headers = result.headers(rule.policy_name)
        detail = (
            f"at most {result.limit} in {result.window:g} s are allowed; "
            f"try again in {headers['Retry-After']} s"
        )
        return refusal(429, headers, quota_exceeded(rule, detail), result)

    def _never_admitted(self, rule: Rule, error: ValueError) -> Decision:
        """Refused whatever on_error says, or a client that can raise its cost would not be limited at all."""
        self._counts["refused"] += 1
        self._complaints.warn("a request that its limit can never admit is refused", error)
        detail = "this request costs more than its limit can ever allow; trying again does not help"
        return refusal(429, NO_HEADERS, quota_exceeded(rule, detail))

    def _without_limiter(self, error: Exception) -> Decision:
        self._counts["errors"] += 1
        if self._on_error == "allow":
            self._complaints.warn("the rate limiter failed, requests pass unlimited", error)
            return PASSES
        self._complaints.warn("the rate limiter failed, requests are refused", error)
        detail = "requests cannot be counted now, and so are not taken; try again later"
        return refusal(503, {"Retry-After": str(RETRY_BROKEN_LIMITER)}, problem(503, detail))


def key_of_client(reader: RequestReader[R], clients: ClientIP, request: R) -> str:
    """What `clients` counts the client of a request by."""
    lines = reader.field_lines(request, clients.field) if clients.field else ()
    return clients.key_of(reader.peer(request), lines)


# Refusals


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, result: RateLimitResult | None = None
) -> Decision:
    return Decision({**headers, "Content-Type": "application/problem+json"}, status, body, result)


def quota_exceeded(rule: Rule, detail: str) -> bytes:
    return problem(
        429,
        detail,
        type=QUOTA_EXCEEDED,
        title=QUOTA_EXCEEDED_TITLE,
        **{"violated-policies": [rule.policy_name]},
    )


def problem(status: int, detail: str, **members: object) -> bytes:
    """An object of RFC 9457."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return msgspec.json.encode(body | members) + b"\n"


class SeldomWarning:
    """Logs a warning at most once a minute, so that a flood of requests is no flood of log lines."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_at: int | None = None
        self._unsaid = 0

    def warn(self, what: str, error: Exception) -> None:
        now = self._clock()
        if self._next_at is not None and now < self._next_at:
            self._unsaid += 1
            return
        self._next_at = now + SECONDS_BETWEEN_LOG_LINES * NANOSECONDS
        unsaid, self._unsaid = self._unsaid, 0
        reason = " ".join(str(error).split())[:200]  # one line, whatever a key may hold
        others = f"; {unsaid} more since the last line" if unsaid else ""
        log.warning("%s: %s: %s%s", what, type(error).__name__, reason, others)


# Options


def checked_function(name: str, function: Any) -> Any:
    if not callable(function):
        raise InvalidType(f"{name} must be callable, got {type(function).__name__}")
    if iscoroutinefunction(function):
        raise InvalidType(f"{name} must be a plain function, got a coroutine function")
    return function


def checked_cost(cost: object) -> int:
    if type(cost) is not int:
        raise InvalidType(f"cost must be an int, got {type(cost).__name__}")
    if cost < 0:
        raise InvalidValue(f"cost must be >= 0 units, got {cost}")
    return cost


def checked_exempt(routes: Collection[str]) -> Collection[str]:
    if isinstance(routes, str):
        raise InvalidType("exempt must be several routes or a function, got a string")
    return [checked_route(route) for route in routes]


def checked_route(name: str) -> str:
    if not isinstance(name, str):
        raise InvalidType(f"a route must be a string, got {type(name).__name__}")
    if not ROUTE.match(name):
        raise InvalidValue(f"a route must be such as '/login' or 'POST /login', got {name!r:.80}")
    return name


def rule_of(limiter: Limiter | None, name: str) -> Rule | None:
    """The rule of a limiter: its policy name may hold no more than RFC 9651 lets a string hold."""
    policy_name = quote(name, safe=PRINTABLE)
    if not 1 <= len(policy_name) <= MAX_POLICY_NAME:
        raise InvalidValue(f"policy_name must be 1 to {MAX_POLICY_NAME} characters, got {name!r:.80}")
    if limiter is None:
        return None
    if not callable(getattr(limiter, "check", None)):
        raise InvalidType(f"limiter must have check(key, n), got {type(limiter).__name__}")
    return Rule(limiter, policy_name)
