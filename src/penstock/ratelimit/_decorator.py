"""Decorator: a function that asks a limiter before each call. For every limiter that has keys."""

from collections.abc import Awaitable, Callable, Hashable
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

from penstock.errors import InvalidType, InvalidValue
from penstock.ratelimit.errors import RateLimitExceeded
from penstock.ratelimit.quota import whole
from penstock.ratelimit.result import RateLimitResult

__all__ = ["OnLimited", "limited"]

OnLimited = Literal["raise", "wait"]

P = ParamSpec("P")
R = TypeVar("R")


class KeyedLimiter(Protocol):
    """What the decorator needs of a limiter."""

    def check(self, key: Any, n: int = 1, /) -> RateLimitResult: ...
    def acquire(self, key: Any, n: int = 1, /) -> bool: ...
    def acquire_async(self, key: Any, n: int = 1, /) -> Awaitable[bool]: ...


def limited(
    limiter: KeyedLimiter, key: object, n: int, on_limited: OnLimited
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """What `RateLimiter.limit` returns.

    Raises:
        ValueError: on_limited or n is none that there is.
        TypeError: key is neither callable nor hashable, or n is no int.
    """
    if on_limited not in ("raise", "wait"):
        raise InvalidValue(f"on_limited must be raise or wait, got {on_limited!r}")
    whole("n", n)  # whether it is above the limit depends on the key
    if not callable(key):
        hash(key)  # here, and not at the first call

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if not callable(function):
            raise InvalidType(f"limit() decorates functions, not {type(function).__name__}: @x.limit()")
        if isasyncgenfunction(function):
            raise InvalidType("limit() decorates functions and coroutine functions, got an async generator")
        key_of = key_function(key, function)
        if iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
            wrapped: Callable[P, R] = wrapped_coroutine_function(limiter, function, key_of, n, on_limited)
            return wrapped
        return wrapped_function(limiter, function, key_of, n, on_limited)

    return decorate


def key_function(key: object, function: Callable[..., object]) -> Callable[..., Hashable]:
    """The key of a call, by its arguments."""
    if callable(key):
        return key
    if key is None and not hasattr(function, "__qualname__"):
        raise InvalidType(f"key must be given for what has no name of its own, a {type(function).__name__}")
    fixed = f"{function.__module__}.{function.__qualname__}" if key is None else key
    return lambda *args, **kwargs: fixed


def wrapped_function(
    limiter: KeyedLimiter,
    function: Callable[P, R],
    key_of: Callable[..., Hashable],
    n: int,
    on_limited: OnLimited,
) -> Callable[P, R]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        key = key_of(*args, **kwargs)
        if on_limited == "wait":
            limiter.acquire(key, n)
        else:
            raise_when_refused(limiter, key, n)
        return function(*args, **kwargs)

    return call


def wrapped_coroutine_function(
    limiter: KeyedLimiter, function: Any, key_of: Callable[..., Hashable], n: int, on_limited: OnLimited
) -> Any:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        key = key_of(*args, **kwargs)
        if on_limited == "wait":
            await limiter.acquire_async(key, n)
        else:
            raise_when_refused(limiter, key, n)
        return await function(*args, **kwargs)

    return call


def raise_when_refused(limiter: KeyedLimiter, key: Hashable, n: int) -> None:
    result = limiter.check(key, n)
    if not result:
        raise RateLimitExceeded(key, result)
