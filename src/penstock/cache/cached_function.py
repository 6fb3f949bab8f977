"""Decorator that remembers the results of functions, coroutine functions and methods."""

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from penstock._twins import twin
from penstock.cache._flights import CacheLoadDeadlock
from penstock.cache._loading import CacheInfo
from penstock.cache._settings import Policy
from penstock.clock import Clock

__all__ = ["CacheInfo", "CacheLoadDeadlock", "CachedFunction", "cached"]

if TYPE_CHECKING:
    from penstock.cache._cached_function_py import CachedFunction
else:
    CachedFunction = twin(__name__).CachedFunction

P = ParamSpec("P")
R = TypeVar("R")


@overload
def cached(function: Callable[P, R], /) -> CachedFunction[P, R]: ...
@overload
def cached(
    cache: Any = None,
    *,
    maxsize: int = 128,
    policy: Policy = "lru",
    ttl: float | timedelta | None = None,
    key: Callable[..., Any] | None = None,
    typed: bool = False,
    refresh_after: float | timedelta | None = None,
    stale_if_error: float | timedelta | None = None,
    cache_exceptions: type[Exception] | tuple[type[Exception], ...] = (),
    exception_ttl: float | timedelta | None = None,
    condition: Callable[[Any], object] | None = None,
    executor: Executor | None = None,
    clock: Clock | None = None,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...


def cached(cache: Any = None, **options: Any) -> Any:
    """Decorates a function so that it remembers its results: `@cached` or `@cached(ttl=60)`.

    Args:
        cache: a cache of penstock, which several functions may share; None for a new one.
        **options: the arguments of `CachedFunction`, which tells what they do.

    Returns:
        A `CachedFunction`; of a staticmethod or classmethod, one of those around it.

    Raises:
        ValueError: an argument is out of its range, or makes no sense without another.
        TypeError: an argument has the wrong type.
    """

    def decorate(function: Any) -> Any:
        if isinstance(function, (classmethod, staticmethod)):
            return type(function)(decorate(function.__func__))
        return CachedFunction(function, None if bare else cache, **options)

    bare = callable(cache) or isinstance(cache, classmethod)
    return decorate(cache) if bare else decorate
