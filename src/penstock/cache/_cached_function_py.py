"""Cached function, pure Python. Its compiled twin does the same with a vectorcall slot."""

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import timedelta
from functools import update_wrapper
from types import MethodType
from typing import Any, Generic, ParamSpec, TypeVar, overload
from weakref import ref

from penstock.cache._loading import (
    KEYWORDS,
    MARKS_OF_A_FUNCTION,
    CacheInfo,
    Loading,
    Options,
    Outcome,
    unhashable_owner,
    unwrapped,
)
from penstock.cache._settings import MISSING, Policy, check_callable
from penstock.clock import Clock

__all__ = ["CacheInfo", "CachedFunction"]

P = ParamSpec("P")
R = TypeVar("R")


class CachedFunction(Generic[P, R]):
    """A function that remembers its results; what the decorator `cached` makes.

    Of all calls with one key, from any number of threads, tasks and event loops, one computes while the
    others wait for it. Errors go to everyone who waits and are not remembered, unless `cache_exceptions`
    says so. A call that its own result depends on raises `CacheLoadDeadlock`.

    The key is the argument itself if it is a single str or int, else a tuple of the arguments, named ones
    sorted by name. In a method, a weak reference to the object stands for it, where there can be one, so
    the cache keeps no object alive. Arguments must be hashable, or `key` make them so. In a cache that
    functions share, the function is part of the key.

    Args:
        function: a function, coroutine function or method.
        cache: where results are kept, possibly by several functions; None for a new one.
        maxsize: entries that the new cache holds at most, >= 1.
        policy: which entry of the new cache goes when there is no room.
        ttl: time to live of a result, seconds or timedelta, > 0; None for what the cache says, for ever
            if it is new.
        key: called with the same arguments, returns what takes their place as the key.
        typed: whether arguments that are equal but of different type, such as 3 and 3.0, are different.
        refresh_after: age, > 0 and < ttl, at which a result is computed anew while calls still get the old
            one: in a task of the event loop for coroutine functions, else in `executor`, else by the
            first call that comes. An error is logged and the old result stays.
        stale_if_error: time, > 0, beyond ttl for which an old result stays and is returned when
            computing a new one fails.
        cache_exceptions: subclasses of Exception that are results too: remembered and raised again.
        exception_ttl: time to live of those, > 0; None for ttl.
        condition: called with a result, returns whether it is to be remembered.
        executor: computes refreshes of a function that is no coroutine function.
        clock: returns int nanoseconds that do not go back; None for the monotonic clock of the system.
            With a cache that has another one, give that one.

    Raises:
        ValueError: an argument is out of its range, or makes no sense without another.
        TypeError: an argument has the wrong type.
    """

    __qualname__: str
    __wrapped__: Callable[P, R]

    def __init__(
        self,
        function: Callable[P, R],
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
        condition: Callable[[R], object] | None = None,
        executor: Executor | None = None,
        clock: Clock | None = None,
    ) -> None:
        wrapped = unwrapped(function)
        update_wrapper(self, wrapped.function)  # first: a cached function brings the attributes of one
        if wrapped.awaited:
            for name in MARKS_OF_A_FUNCTION:
                vars(self).setdefault(name, getattr(wrapped.code, name))
        options = Options(
            cache,
            maxsize,
            policy,
            ttl,
            refresh_after,
            stale_if_error,
            cache_exceptions,
            exception_ttl,
            condition,
            executor,
            clock,
        )
        check_callable("key", key)
        self._key_of = key
        self._loading = Loading(wrapped, options)
        self._cache = self._loading.cache
        self._get = self._cache.get
        self._typed = bool(typed)
        self._awaited = wrapped.awaited
        self._owned = False  # it is no method, whose first argument is the object
        self._shared = cache is not None

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._awaited:
            return self._call_async(args, kwargs)  # type: ignore[return-value]  # R is a coroutine
        key = self._key(args, kwargs)
        value = self._get(key, MISSING)
        if value is MISSING:
            return self._loading.missed(key, args, kwargs)  # type: ignore[no-any-return]
        if type(value) is Outcome:
            return self._loading.found(value, key, args, kwargs)  # type: ignore[no-any-return]
        return value  # type: ignore[no-any-return]

    async def _call_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key = self._key(args, kwargs)
        value = self._get(key, MISSING)
        if value is MISSING:
            return await self._loading.missed_async(key, args, kwargs)
        if type(value) is Outcome:
            return await self._loading.found_async(value, key, args, kwargs)
        return value

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._key_of is not None:
            key = self._key_of(*args, **kwargs)
        else:
            key = key_of_call(args, kwargs, owned=self._owned, typed=self._typed)
        return (self, key) if self._shared else key

    def __set_name__(self, owner: type, name: str) -> None:
        self._owned = True

    @overload
    def __get__(self, owned_by: None, owner: type | None = None) -> "CachedFunction[P, R]": ...
    @overload
    def __get__(self, owned_by: object, owner: type | None = None) -> Callable[..., R]: ...

    def __get__(self, owned_by: object, owner: type | None = None) -> Any:
        return self if owned_by is None else MethodType(self, owned_by)

    def __repr__(self) -> str:
        return f"<cached {self.__wrapped__!r}>"

    def __reduce__(self) -> str:
        return str(self.__qualname__)

    def __copy__(self) -> "CachedFunction[P, R]":
        return self

    def __deepcopy__(self, memo: object) -> "CachedFunction[P, R]":
        return self

    @property
    def cache(self) -> Any:
        """The cache that holds the results."""
        return self._cache

    def cache_key(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The key of a call with these arguments; of a method, the object is the first.

        Raises:
            TypeError: an object cannot be part of a key.
        """
        return self._key(args, kwargs)

    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Removes the result of a call with these arguments; of a method, the object is the first.

        What is being computed for it meanwhile goes to those who wait for it, and is not remembered.

        Returns:
            Whether there was one.

        Raises:
            TypeError: an argument is not hashable.
        """
        return self._loading.forget(self._key(args, kwargs))

    def cache_clear(self) -> None:
        """Removes all results of this function; what the cache has counted stays.

        O(size of the cache) if it is shared.
        """
        self._loading.forget_all(self if self._shared else None)

    def cache_info(self) -> CacheInfo:
        """What the cache has counted, for all functions that share it, and how full it is."""
        stats = self._cache.stats()
        return CacheInfo(stats.hits, stats.misses, stats.maxsize, stats.size)

    def cache_parameters(self) -> dict[str, Any]:
        """The maxsize of the cache, and `typed`."""
        return {"maxsize": self._cache.maxsize, "typed": self._typed}


def key_of_call(args: tuple[Any, ...], kwargs: dict[str, Any], *, owned: bool, typed: bool) -> Any:
    """What stands for the arguments in a cache; of a method, with `owned`, the first is the object."""
    if len(args) == 1 and not kwargs and type(args[0]) in (str, int) and not typed:
        return args[0]
    key = (weak(args[0]), *args[1:]) if owned and args else args
    named = sorted(kwargs.items())
    if named:
        key = (*key, KEYWORDS, *(part for pair in named for part in pair))
    return (*key, *map(type, args), *(type(value) for _, value in named)) if typed else key


def weak(owner: Any) -> Any:
    """A weak reference to `owner`, or itself where there can be none."""
    if type(owner).__hash__ is None:
        raise unhashable_owner(owner)
    try:
        return ref(owner)
    except TypeError:
        return owner
